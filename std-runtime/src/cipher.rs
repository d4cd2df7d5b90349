//! The server's implementation of the protocol's cipher: ChaCha20-Poly1305 by *ring*.
//!
//! Same function as the portable one of the core, about four times as fast on 64-byte records; it is not another cipher
//! suite. The two are held equal by a test.

use hyphal_core::aead::{Aead, Forged, TAG_LEN};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

/// ChaCha20-Poly1305 in place, with the nonce layout of the Noise specification.
pub(crate) struct RingChaChaPoly {
    key: LessSafeKey,
}

impl Aead for RingChaChaPoly {
    fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).expect("32 bytes are the cipher's key length");
        Self { key: LessSafeKey::new(key) }
    }

    fn seal(&self, nonce: u64, ad: &[u8], buf: &mut [u8]) {
        let len = buf.len().checked_sub(TAG_LEN).expect("the buffer has room for the tag");
        let (plaintext, room) = buf.split_at_mut(len);
        let tag = self
            .key
            .seal_in_place_separate_tag(noise_nonce(nonce), Aad::from(ad), plaintext)
            .expect("a record is shorter than the cipher's 256 GiB");
        room.copy_from_slice(tag.as_ref());
    }

    fn open(&self, nonce: u64, ad: &[u8], buf: &mut [u8]) -> Result<(), Forged> {
        match self.key.open_in_place(noise_nonce(nonce), Aad::from(ad), buf) {
            Ok(_) => Ok(()),
            Err(_) => Err(Forged),
        }
    }
}

/// Four zero bytes, then the counter in little-endian (Noise specification, section 12.3).
fn noise_nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use hyphal_core::aead::ChaChaPoly;

    use super::*;

    #[test]
    fn both_implementations_open_what_the_other_sealed() {
        let key = [7; 32];
        let (ring, portable) = (RingChaChaPoly::new(&key), ChaChaPoly::new(&key));
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
    fn another_nonce_key_header_or_bit_does_not_open() {
        let cipher = RingChaChaPoly::new(&[7; 32]);
        let mut sealed = vec![1; 64 + TAG_LEN];
        cipher.seal(5, b"header", &mut sealed);

        assert_eq!(cipher.open(6, b"header", &mut sealed.clone()), Err(Forged));
        assert_eq!(cipher.open(5, b"Header", &mut sealed.clone()), Err(Forged));
        assert_eq!(RingChaChaPoly::new(&[8; 32]).open(5, b"header", &mut sealed.clone()), Err(Forged));
        assert_eq!(cipher.open(5, b"header", &mut sealed[..10].to_vec()), Err(Forged));
        sealed[3] ^= 1;
        assert_eq!(cipher.open(5, b"header", &mut sealed), Err(Forged));
    }
}
