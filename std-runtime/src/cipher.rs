//! The server's implementation of the protocol's ciphers, by *ring*.
//!
//! ChaCha20-Poly1305 is the same function as the portable one of the core, about four times as fast on 64-byte records;
//! the two are held equal by a test. AES-256-GCM is for records, on machines with instructions for it.

use hyphal_core::aead::{Aead, Cipher, Forged, TAG_LEN};
use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

/// Either cipher in place, with the nonce layouts of the Noise specification.
pub(crate) struct RingCipher {
    cipher: Cipher,
    key: LessSafeKey,
}

impl Aead for RingCipher {
    fn new(key: &[u8; 32]) -> Self {
        Self::record(Cipher::ChaCha20Poly1305, key)
    }

    fn record(cipher: Cipher, key: &[u8; 32]) -> Self {
        let algorithm = match cipher {
            Cipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
            Cipher::Aes256Gcm => &AES_256_GCM,
        };
        let key = UnboundKey::new(algorithm, key).expect("32 bytes are the key length of both ciphers");
        Self { cipher, key: LessSafeKey::new(key) }
    }

    fn has_fast_aes() -> bool {
        has_aes_instructions()
    }

    fn seal(&self, nonce: u64, ad: &[u8], buf: &mut [u8]) {
        let len = buf.len().checked_sub(TAG_LEN).expect("the buffer has room for the tag");
        let (plaintext, room) = buf.split_at_mut(len);
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(nonce), Aad::from(ad), plaintext)
            .expect("a record is shorter than the 64 GiB of either cipher");
        room.copy_from_slice(tag.as_ref());
    }

    fn open(&self, nonce: u64, ad: &[u8], buf: &mut [u8]) -> Result<(), Forged> {
        match self.key.open_in_place(self.nonce(nonce), Aad::from(ad), buf) {
            Ok(_) => Ok(()),
            Err(_) => Err(Forged),
        }
    }
}

impl RingCipher {
    /// Four zero bytes, then the counter, in the order of bytes of the cipher (Noise specification, sections 12.3 and 12.4).
    fn nonce(&self, counter: u64) -> Nonce {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&match self.cipher {
            Cipher::ChaCha20Poly1305 => counter.to_le_bytes(),
            Cipher::Aes256Gcm => counter.to_be_bytes(),
        });
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Whether the processor has what *ring* needs for AES and for GCM's hash; without it ChaCha20-Poly1305 is faster.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn has_aes_instructions() -> bool {
    std::is_x86_feature_detected!("aes") && std::is_x86_feature_detected!("pclmulqdq")
}

/// Whether the processor has what *ring* needs for AES and for GCM's hash; without it ChaCha20-Poly1305 is faster.
#[cfg(target_arch = "aarch64")]
fn has_aes_instructions() -> bool {
    std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull")
}

/// On other processors nobody has measured it.
#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes_instructions() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use getrandom::SysRng;
    use hyphal_core::aead::ChaChaPoly;
    use hyphal_core::identity::Identity;
    use hyphal_core::ids::NodeType;
    use hyphal_core::outbox::{FixedStorage, Header, Outbox, Payload};
    use hyphal_core::profile::Security;
    use hyphal_core::session::{Config, Event, Expect, Received, Session, Wall};
    use hyphal_core::time::Instant;
    use hyphal_core::wire::hello::NetworkTag;
    use hyphal_core::wire::message::Methods;
    use hyphal_core::wire::reason::Reason;
    use rand_core::UnwrapErr;

    use super::*;

    const CIPHERS: [Cipher; 2] = [Cipher::ChaCha20Poly1305, Cipher::Aes256Gcm];
    const NOW: Instant = Instant::from_micros(1);

    #[test]
    fn both_implementations_open_what_the_other_sealed() {
        let key = [7; 32];
        let (ring, portable) = (RingCipher::new(&key), ChaChaPoly::new(&key));
        for len in [0, 1, 15, 16, 64, 1000, 65_000] {
            let plaintext: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let mut by_ring = [plaintext.clone(), vec![0; TAG_LEN]].concat();
            let mut by_portable = by_ring.clone();

            ring.seal(len as u64, b"header", &mut by_ring);
            portable.seal(len as u64, b"header", &mut by_portable);

            assert_eq!(by_ring, by_portable);
            assert_eq!(portable.open(len as u64, b"header", &mut by_ring), Ok(()));
            assert_eq!(by_ring[..len], plaintext);
            assert_eq!(ring.open(len as u64, b"header", &mut by_portable), Ok(()));
            assert_eq!(by_portable[..len], plaintext);
        }
    }

    #[test]
    fn another_nonce_key_cipher_header_or_bit_does_not_open() {
        for (cipher, other) in [(CIPHERS[0], CIPHERS[1]), (CIPHERS[1], CIPHERS[0])] {
            let key = RingCipher::record(cipher, &[7; 32]);
            let mut sealed = vec![1; 64 + TAG_LEN];
            key.seal(5, b"header", &mut sealed);

            assert_eq!(key.open(6, b"header", &mut sealed.clone()), Err(Forged));
            assert_eq!(key.open(5, b"Header", &mut sealed.clone()), Err(Forged));
            for stranger in [RingCipher::record(cipher, &[8; 32]), RingCipher::record(other, &[7; 32])] {
                assert_eq!(stranger.open(5, b"header", &mut sealed.clone()), Err(Forged));
            }
            assert_eq!(key.open(5, b"header", &mut sealed[..10].to_vec()), Err(Forged));
            assert_eq!(key.open(5, b"header", &mut sealed.clone()), Ok(()));
            sealed[3] ^= 1;
            assert_eq!(key.open(5, b"header", &mut sealed), Err(Forged));
        }
    }

    #[test]
    fn a_record_under_aes_is_that_of_the_document() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/tests/vectors/transcript.json");
        let values: BTreeMap<String, String> =
            serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let [key, record, plaintext] =
            ["initiator_aes_record_key", "initiator_aes_record_1", "initiator_record_0_plaintext"]
                .map(|name| unhex(&values[name]));
        let cipher = RingCipher::record(Cipher::Aes256Gcm, key.as_slice().try_into().unwrap());
        let mut sealed = [&plaintext[..], &[0; TAG_LEN]].concat();

        cipher.seal(1, &record[..1], &mut sealed);

        assert_eq!(sealed, record[1..]);
    }

    #[test]
    fn sessions_use_aes_if_both_ends_have_it_fast() {
        assert_eq!(agreed::<Fast, Fast>(Ok(())), Ok(Cipher::Aes256Gcm));
        assert_eq!(agreed::<Fast, Slow>(Ok(())), Ok(Cipher::ChaCha20Poly1305));
        assert_eq!(agreed::<Slow, Fast>(Ok(())), Ok(Cipher::ChaCha20Poly1305));
        assert_eq!(agreed::<Fast, ChaChaPoly>(Ok(())), Ok(Cipher::ChaCha20Poly1305));
    }

    #[test]
    fn a_rejection_is_understood_under_either_cipher() {
        assert_eq!(agreed::<Fast, Fast>(Err(Reason::Untrusted)), Err(Reason::Untrusted));
        assert_eq!(agreed::<Fast, Slow>(Err(Reason::Untrusted)), Err(Reason::Untrusted));
    }

    /// Both ciphers, whatever this machine has: software AES is slow and not wrong.
    struct Pretending<const HAS_FAST_AES: bool>(RingCipher);
    type Fast = Pretending<true>;
    type Slow = Pretending<false>;

    impl<const HAS_FAST_AES: bool> Aead for Pretending<HAS_FAST_AES> {
        fn new(key: &[u8; 32]) -> Self {
            Self(RingCipher::new(key))
        }

        fn record(cipher: Cipher, key: &[u8; 32]) -> Self {
            Self(RingCipher::record(cipher, key))
        }

        fn has_fast_aes() -> bool {
            HAS_FAST_AES
        }

        fn seal(&self, nonce: u64, ad: &[u8], buf: &mut [u8]) {
            self.0.seal(nonce, ad, buf);
        }

        fn open(&self, nonce: u64, ad: &[u8], buf: &mut [u8]) -> Result<(), Forged> {
            self.0.open(nonce, ad, buf)
        }
    }

    struct End<A> {
        session: Session<A>,
        outbox: Outbox<FixedStorage<1024, 4>>,
        verdict: Result<(), Reason>,
        received: Vec<Vec<u8>>,
    }

    impl<A: Aead> End<A> {
        fn new(session: Session<A>, verdict: Result<(), Reason>) -> Self {
            Self { session, outbox: Outbox::new(FixedStorage::default()), verdict, received: Vec::new() }
        }

        fn say(&mut self) -> Vec<u8> {
            let (mut said, mut buf) = (Vec::new(), [0; 2048]);
            while let Some(len) = self.session.poll_transmit(NOW, &mut self.outbox, &mut buf) {
                said.extend_from_slice(&buf[..len]);
            }
            said
        }

        fn hear(&mut self, mut bytes: Vec<u8>) {
            while !bytes.is_empty() {
                let input = self.session.handle_input(NOW, &mut self.outbox, &mut bytes);
                let used = input.used;
                match input.received {
                    Received::NeedMore => panic!("whole frames and records are said"),
                    Received::Hint(_) => self.session.handle_hint(None),
                    Received::Offer(_) => {
                        self.session.handle_verdict(NOW, &mut self.outbox, self.verdict);
                    }
                    Received::Messages(messages) => {
                        self.received.extend(messages.map(|message| message.payload.to_vec()));
                    }
                    Received::Absorbed | Received::Dropped(_) => {}
                }
                bytes.drain(..used);
            }
        }
    }

    /// Two sessions in memory and a message both ways; their cipher, or why the first was not let in by the second.
    fn agreed<A: Aead, B: Aead>(verdict: Result<(), Reason>) -> Result<Cipher, Reason> {
        let config = Config {
            network: NetworkTag::of("test"),
            node_type: NodeType::Sclerotia,
            boot_id: 1,
            max_message: 1024,
            max_record: 2048,
            window: 1 << 16,
            compression: Methods::NONE,
            keeps_guaranteed: false,
            heartbeat: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(5),
            max_skew: Duration::from_secs(60),
            security: Security::Minimal,
        };
        let rng = &mut UnwrapErr(SysRng);
        let (ours, theirs) = (Identity::generate(rng), Identity::generate(rng));
        let a = Session::<A>::connect(NOW, Wall::default(), &ours, config, Expect::Anyone, rng);
        let b = Session::<B>::accept(NOW, Wall::default(), &theirs, config, rng);
        let (mut a, mut b) = (End::new(a, Ok(())), End::new(b, verdict));
        for round in 0..6 {
            if round == 4 && a.session.is_up() {
                let header = Header { kind: 7, sequence: 1, ..Header::default() };
                a.outbox.push(NOW, header, Payload::Copied(b"there")).unwrap();
                b.outbox.push(NOW, header, Payload::Copied(b"and back")).unwrap();
            }
            b.hear(a.say());
            a.hear(b.say());
        }
        if let Some(Event::Closed(closed)) = a.session.poll_event() {
            return Err(closed.reason);
        }
        assert_eq!((b.received, a.received), (vec![b"there".to_vec()], vec![b"and back".to_vec()]));
        let [ours, theirs] = [a.session.peer(), b.session.peer()].map(|peer| peer.unwrap().cipher());
        assert_eq!(ours, theirs);
        Ok(ours)
    }

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }
}
