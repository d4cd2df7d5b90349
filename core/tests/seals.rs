//! Seals and signatures: the golden vectors of `vectors/seals.json`, and what is refused.
//!
//! The vectors were computed from `docs/protocol.md`, section 16, by a program that shares no code with this crate.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::hint::black_box;
use std::time::Instant;

use hyphal_core::aead::{Aead, ChaChaPoly, Forged, TAG_LEN};
use hyphal_core::identity::{self, Identity};
use hyphal_core::ids::{MessageId, NodeId, Priority};
use hyphal_core::noise::{KeyPair, Secret};
use hyphal_core::seal::{Binding, SealError};
use hyphal_core::sign::{self, SignedBytes};
use hyphal_core::time::UnixTime;
use hyphal_core::wire::envelope::{Envelope, EnvelopeHeader, SIGNATURE_LEN};
use hyphal_core::wire::hello::NetworkTag;
use hyphal_core::wire::reason::Reason;
use hyphal_core::wire::seal::{self as layout, CHUNK_LEN, HEAD_LEN};
use rand_core::{TryCryptoRng, TryRng};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use sha2::{Digest, Sha256};

const KIND: u16 = 0x1000;

#[test]
fn a_small_sealed_and_signed_envelope_is_the_vector() {
    let vectors = vectors();
    let (source, target) = (Node::of(0x01), Node::of(0x81));
    let header = EnvelopeHeader { is_signed: true, ..header(12, 42) };
    assert_eq!(encoded(&header), vectors["small_header"]);

    let payload = source.seal(&target, &header, b"good morning");
    let signed = [vectors["small_header"].as_slice(), &payload].concat();

    assert_eq!(payload, vectors["small_payload"]);
    assert_eq!(Sha256::digest(&signed).as_slice(), vectors["small_signed_hash"]);
    assert_eq!(source.sign(&signed).as_slice(), vectors["small_signature"]);
    let whole = [signed.as_slice(), &vectors["small_signature"]].concat();
    let envelope = sign::verify_envelope(network(), &whole).unwrap();
    assert_eq!(envelope.header(), Some(header));
    let mut payload = envelope.payload.to_vec();
    let opened = target.binding(source.public(), &header).open::<ChaChaPoly>(&mut payload).unwrap();
    assert_eq!((opened.kind, &*opened.plaintext), (KIND, b"good morning".as_slice()));
}

#[test]
fn a_large_sealed_envelope_is_the_vector_and_opens_whole_and_in_chunks() {
    let vectors = vectors();
    let (source, target) = (Node::of(0x01), Node::of(0x81));
    let plaintext = vec![0x5A; CHUNK_LEN + 1];
    let header = header(CHUNK_LEN + 1, 43);
    assert_eq!(encoded(&header), vectors["large_header"]);

    let payload = source.seal(&target, &header, &plaintext);

    let (head, chunks) = payload.split_at(HEAD_LEN);
    let (first, last) = chunks.split_at(CHUNK_LEN + TAG_LEN);
    assert_eq!(head, vectors["large_head"]);
    assert_eq!(Sha256::digest(first).as_slice(), vectors["large_first_chunk_sha256"]);
    assert_eq!(last, vectors["large_last_chunk"]);
    let binding = target.binding(source.public(), &header);
    let opened = open(&binding, &payload).map(|(_, plaintext)| plaintext);
    assert_eq!(opened.as_ref(), Ok(&plaintext));
    let (kind, chunks) = open_in_chunks(&binding, &payload);
    assert_eq!((kind, chunks.concat()), (KIND, plaintext));
    assert_eq!(chunks.len(), 2);
}

#[test]
fn a_signed_broadcast_in_clear_is_the_vector() {
    let vectors = vectors();
    let source = Node::of(0x01);
    let mut envelope = Envelope {
        message_id: MessageId { epoch: 0x1122_3344_5566_7788, sequence: 44 },
        source_node_id: source.id(),
        target_node_id: None,
        timestamp: UnixTime::from_micros(1_700_000_000_000_000),
        ttl: 60,
        priority: Priority::Low,
        is_encrypted: false,
        payload: b"hello",
        signature: Some(&[0; SIGNATURE_LEN]),
        message_type: KIND,
    };
    let mut bytes = vec![0; envelope.encoded_len()];
    envelope.encode(&mut bytes).unwrap();
    let signed = bytes[..envelope.signed_len()].to_vec();

    let signature = source.sign(&signed);

    assert_eq!(signed, vectors["broadcast_signed_bytes"]);
    assert_eq!(signature.as_slice(), vectors["broadcast_signature"]);
    envelope.signature = Some(&signature);
    let whole = [signed.as_slice(), &signature].concat();
    assert_eq!(sign::verify_envelope(network(), &whole), Ok(envelope));
}

#[test]
fn every_length_around_the_forms_and_chunks_opens_to_what_was_sealed() {
    let (source, target) = (Node::of(0x01), Node::of(0x81));
    for len in
        [0, 1, CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 1, 2 * CHUNK_LEN, 2 * CHUNK_LEN + 1, 5 * CHUNK_LEN - 1]
    {
        let plaintext: Vec<u8> = (0..len).map(|index| index as u8).collect();
        let header = header(len, 1);

        let mut payload = source.seal(&target, &header, &plaintext);

        let opened = target.binding(source.public(), &header).open::<ChaChaPoly>(&mut payload).unwrap();
        assert_eq!((opened.kind, &*opened.plaintext), (KIND, plaintext.as_slice()), "{len} bytes");
    }
}

#[test]
fn a_seal_for_someone_else_or_from_someone_else_does_not_open() {
    let (source, target, third) = (Node::of(0x01), Node::of(0x81), Node::of(0x21));
    for len in [12, CHUNK_LEN + 1] {
        let header = header(len, 1);
        let payload = source.seal(&target, &header, &vec![7; len]);

        let by_third = open(&third.binding(source.public(), &header), &payload);
        let from_third = open(&target.binding(third.public(), &header), &payload);
        let by_source = open(&source.binding(target.public(), &header), &payload);

        assert_eq!([by_third.err(), from_third.err(), by_source.err()], [Some(Reason::BadSeal); 3]);
    }
}

#[test]
fn a_seal_moved_to_any_other_envelope_or_network_does_not_open() {
    let (source, target) = (Node::of(0x01), Node::of(0x81));
    let changes: [fn(&mut EnvelopeHeader); 9] = [
        |header| header.message_id.epoch += 1,
        |header| header.message_id.sequence += 1,
        |header| header.source_node_id = Node::of(0x21).id(),
        |header| header.target_node_id = Some(Node::of(0x21).id()),
        |header| header.target_node_id = None,
        |header| header.timestamp = UnixTime::from_micros(1),
        |header| header.ttl = 0,
        |header| header.priority = Priority::Critical,
        |header| header.is_signed = true,
    ];
    for len in [12, CHUNK_LEN + 1] {
        let header = header(len, 1);
        let payload = source.seal(&target, &header, &vec![7; len]);
        for (index, change) in changes.into_iter().enumerate() {
            let mut moved = header;
            change(&mut moved);

            let opened = open(&target.binding(source.public(), &moved), &payload);

            assert_eq!(opened.err(), Some(Reason::BadSeal), "change {index}");
        }
        let elsewhere =
            Binding { network: NetworkTag::of("other"), ..target.binding(source.public(), &header) };
        assert_eq!(open(&elsewhere, &payload).err(), Some(Reason::BadSeal));
        let in_clear = EnvelopeHeader { is_encrypted: false, ..header };
        let opened = open(&target.binding(source.public(), &in_clear), &payload);
        assert_eq!(opened.err(), Some(Reason::BadSeal));
    }
}

#[test]
fn a_seal_with_any_bit_of_it_bent_does_not_open() {
    let (source, target) = (Node::of(0x01), Node::of(0x81));
    let small = (header(3, 1), 0..HEAD_LEN + 3);
    let large = (header(CHUNK_LEN + 1, 1), HEAD_LEN - 1..HEAD_LEN + 2);
    for (header, places) in [small, large] {
        let len = layout::plain_len(header.payload_len).unwrap().1 as usize;
        let payload = source.seal(&target, &header, &vec![7; len]);
        for place in places {
            for bit in 0..8 {
                let mut bent = payload.clone();
                bent[place] ^= 1 << bit;

                let opened = open(&target.binding(source.public(), &header), &bent);

                // X25519 ignores the highest bit of a key; the hash over the message does not.
                assert_eq!(opened.err(), Some(Reason::BadSeal), "byte {place}, bit {bit}");
            }
        }
    }
}

#[test]
fn a_seal_cut_or_lengthened_does_not_open_even_under_a_header_of_that_length() {
    let (source, target) = (Node::of(0x01), Node::of(0x81));
    for len in [12, 3 * CHUNK_LEN] {
        let header = header(len, 1);
        let payload = source.seal(&target, &header, &vec![7; len]);
        let cuts =
            [0, 1, HEAD_LEN - 1, HEAD_LEN, payload.len() - CHUNK_LEN.min(len) - TAG_LEN, payload.len() - 1];
        for cut in cuts {
            let told = open(&target.binding(source.public(), &header), &payload[..cut]);
            let shorter = EnvelopeHeader { payload_len: cut as u32, ..header };
            let untold = open(&target.binding(source.public(), &shorter), &payload[..cut]);

            assert_eq!([told.err(), untold.err()], [Some(Reason::BadSeal); 2], "cut at {cut}");
        }
        for more in [1, TAG_LEN + 1, CHUNK_LEN + TAG_LEN] {
            let mut longer = payload.clone();
            longer.extend(vec![0; more]);
            let header = EnvelopeHeader { payload_len: longer.len() as u32, ..header };

            let opened = open(&target.binding(source.public(), &header), &longer);

            assert_eq!(opened.err(), Some(Reason::BadSeal), "{more} more");
        }
    }
}

#[test]
fn chunks_reordered_repeated_left_out_or_of_another_message_do_not_open() {
    let (source, target) = (Node::of(0x01), Node::of(0x81));
    let header = header(4 * CHUNK_LEN, 1);
    let payload = source.seal(&target, &header, &vec![7; 4 * CHUNK_LEN]);
    let other = source.seal(&target, &EnvelopeHeader { ttl: 61, ..header }, &vec![7; 4 * CHUNK_LEN]);
    let chunk = |payload: &[u8], index| {
        let at = HEAD_LEN + index * (CHUNK_LEN + TAG_LEN);
        payload[at..at + CHUNK_LEN + TAG_LEN].to_vec()
    };
    let orders = [[1, 0, 2, 3], [0, 2, 1, 3], [0, 0, 1, 3], [0, 1, 3, 3], [0, 1, 3, 2], [3, 1, 2, 0]];

    for order in orders {
        let mut shuffled = payload[..HEAD_LEN].to_vec();
        order.iter().for_each(|index| shuffled.extend(chunk(&payload, *index)));
        let opened = open(&target.binding(source.public(), &header), &shuffled);
        assert_eq!(opened.err(), Some(Reason::BadSeal), "{order:?}");
    }
    for index in 0..4 {
        let mut mixed = payload.clone();
        let at = HEAD_LEN + index * (CHUNK_LEN + TAG_LEN);
        mixed[at..at + CHUNK_LEN + TAG_LEN].copy_from_slice(&chunk(&other, index));
        let opened = open(&target.binding(source.public(), &header), &mixed);
        assert_eq!(opened.err(), Some(Reason::BadSeal), "chunk {index} of another message");
    }
}

/// The last chunk is sealed as the last, any other as another: an end that is not the end does not open as one.
#[test]
fn a_chunk_sealed_as_the_last_opens_nowhere_else() {
    let (source, target) = (Node::of(0x01), Node::of(0x81));
    // Two lengths whose second chunk is full: once it is the last, once not. Same key if the head were the same; so the
    // head is taken from the shorter one and its header forged to the longer.
    let (short, long) = (header(2 * CHUNK_LEN, 1), header(3 * CHUNK_LEN, 1));
    let payload = source.seal(&target, &short, &vec![7; 2 * CHUNK_LEN]);
    let mut head = *payload.first_chunk().unwrap();

    let forged = target.binding(source.public(), &long).begin_open::<ChaChaPoly>(&mut head.clone());
    let (_, mut opening) =
        target.binding(source.public(), &short).begin_open::<ChaChaPoly>(&mut head).unwrap();
    let (first, last) = payload[HEAD_LEN..].split_at(CHUNK_LEN + TAG_LEN);

    assert_eq!(forged.err(), Some(Reason::BadSeal));
    assert_eq!(opening.open(&mut last.to_vec()).err(), Some(Reason::BadSeal), "the last one first");
    assert!(opening.open(&mut first.to_vec()).is_ok());
    assert_eq!(opening.open(&mut first.to_vec()).err(), Some(Reason::BadSeal), "the first one again");
    assert!(opening.open(&mut last.to_vec()).is_ok());
    assert_eq!(opening.next_len(), 0);
    assert_eq!(opening.open(&mut last.to_vec()).err(), Some(Reason::BadSeal), "nothing follows the last");
}

/// Whoever has the chunks' key, as source and target do, still cannot make another chunk the last, or the last another.
#[test]
fn a_chunk_with_a_forged_final_flag_does_not_open() {
    let vectors = vectors();
    let (source, target) = (Node::of(0x01), Node::of(0x81));
    let header = header(CHUNK_LEN + 1, 43);
    let aead = ChaChaPoly::new(vectors["large_chunk_key"].as_slice().try_into().unwrap());
    let mut first = vec![0x5A; CHUNK_LEN + TAG_LEN];
    let mut last = vec![0x5A; 1 + TAG_LEN];
    let head = || <[u8; HEAD_LEN]>::try_from(vectors["large_head"].as_slice()).unwrap();
    let binding = target.binding(source.public(), &header);

    let (_, mut opening) = binding.begin_open::<ChaChaPoly>(&mut head()).unwrap();
    aead.seal(0, &[1], &mut first);
    assert_eq!(opening.open(&mut first).err(), Some(Reason::BadSeal));
    first.fill(0x5A);
    aead.seal(0, &[0], &mut first);
    assert!(opening.open(&mut first).is_ok());
    aead.seal(1, &[0], &mut last);
    assert_eq!(opening.open(&mut last.clone()).err(), Some(Reason::BadSeal));
    last[0] = 0x5A;
    aead.seal(1, &[1], &mut last);
    assert!(opening.open(&mut last).is_ok());
}

#[test]
fn a_seal_under_a_low_order_or_twisted_key_is_an_error_and_such_an_ephemeral_does_not_open() {
    let (source, target) = (Node::of(0x01), Node::of(0x81));
    let header = header(3, 1);
    let mut twisted = [0; 32];
    twisted[0] = 2;
    for bad in [[0; 32], twisted] {
        let mut payload = vec![0; header.payload_len as usize];
        let sealed = source.binding(&bad, &header).seal::<ChaChaPoly>(KIND, b"abc", &mut Stuck, &mut payload);
        let mut forged = source.seal(&target, &header, b"abc");
        forged[1..33].copy_from_slice(&bad);
        let opened = open(&target.binding(source.public(), &header), &forged);

        assert_eq!(sealed, Err(SealError::BadKey));
        assert_eq!(opened.err(), Some(Reason::BadSeal));
    }
}

#[test]
fn what_the_header_does_not_describe_is_not_sealed() {
    let (source, target) = (Node::of(0x01), Node::of(0x81));
    let sealed = |header: EnvelopeHeader, plaintext: &[u8]| {
        let mut payload = vec![0; header.payload_len as usize];
        source.binding(target.public(), &header).seal::<ChaChaPoly>(KIND, plaintext, &mut Stuck, &mut payload)
    };
    let usual = header(3, 1);

    assert_eq!(sealed(usual, b"abc"), Ok(()));
    assert_eq!(sealed(usual, b"abcd"), Err(SealError::Mismatch));
    assert_eq!(sealed(EnvelopeHeader { is_encrypted: false, ..usual }, b"abc"), Err(SealError::Mismatch));
    assert_eq!(sealed(EnvelopeHeader { target_node_id: None, ..usual }, b"abc"), Err(SealError::Mismatch));
    assert_eq!(sealed(EnvelopeHeader { message_type: KIND, ..usual }, b"abc"), Err(SealError::Mismatch));
}

/// A source of randomness that is stuck, as on a device that was just switched on.
#[test]
fn a_stuck_random_source_repeats_no_key_for_another_envelope() {
    let (source, target) = (Node::of(0x01), Node::of(0x81));
    let ephemeral = |header: EnvelopeHeader| source.seal(&target, &header, b"abc")[1..33].to_vec();
    let usual = header(3, 1);

    let keys = [
        ephemeral(usual),
        ephemeral(EnvelopeHeader { message_id: MessageId { epoch: 1, sequence: 1 }, ..usual }),
        ephemeral(EnvelopeHeader { message_id: MessageId { sequence: 2, ..usual.message_id }, ..usual }),
        ephemeral(EnvelopeHeader { timestamp: UnixTime::from_micros(1), ..usual }),
    ];

    for (index, key) in keys.iter().enumerate() {
        assert!(!keys[..index].contains(key), "{index}");
    }
}

#[test]
fn a_signature_over_another_envelope_another_network_or_by_another_key_is_refused() {
    let (source, third) = (Node::of(0x01), Node::of(0x21));
    let (bytes, signed_len) = signed_envelope(&source, 1, b"pay ten");
    let (other, _) = signed_envelope(&source, 2, b"pay ten");
    let of_other = [&bytes[..signed_len], &other[signed_len..]].concat();
    let by_third = [&bytes[..signed_len], &third.sign(&bytes[..signed_len])].concat();

    assert!(sign::verify_envelope(network(), &bytes).is_ok());
    assert_eq!(sign::verify_envelope(network(), &of_other), Err(Reason::BadSignature));
    assert_eq!(sign::verify_envelope(network(), &by_third), Err(Reason::BadSignature));
    assert_eq!(sign::verify_envelope(NetworkTag::of("other"), &bytes), Err(Reason::BadSignature));
    for place in 0..bytes.len() {
        let mut bent = bytes.clone();
        bent[place] ^= 0x10;
        assert!(sign::verify_envelope(network(), &bent).is_err(), "byte {place}");
    }
    for cut in 0..bytes.len() {
        assert!(sign::verify_envelope(network(), &bytes[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn an_envelope_without_a_signature_is_no_evidence() {
    let header = EnvelopeHeader { is_encrypted: false, payload_len: 0, ..header(0, 1) };

    assert_eq!(sign::verify_envelope(network(), &encoded(&header)), Err(Reason::BadSignature));
}

/// What a node signs for one use is worth nothing in another: labels differ.
#[test]
fn the_signature_of_the_bytes_themselves_is_none_of_the_envelope() {
    let source = Node::of(0x01);
    let (bytes, signed_len) = signed_envelope(&source, 1, b"pay ten");
    let forged = [&bytes[..signed_len], &source.identity.sign(&bytes[..signed_len]).unwrap()].concat();

    assert_eq!(sign::verify_envelope(network(), &forged), Err(Reason::BadSignature));
}

#[test]
fn bytes_that_come_in_pieces_have_the_signature_of_the_whole() {
    let source = Node::of(0x01);
    let bytes: Vec<u8> = (0..1000).map(|index| index as u8).collect();
    let mut pieces = SignedBytes::new(network());
    for piece in bytes.chunks(7) {
        pieces.update(piece);
    }

    assert_eq!(pieces.clone().verify(&source.id(), &source.sign(&bytes)), Ok(()));
    assert_eq!(pieces.sign(&source.identity), Ok(source.sign(&bytes)));
}

/// `cargo test --release -p hyphal-core --features precomputed-tables --test seals -- --ignored --nocapture`
#[test]
#[ignore = "measures"]
#[expect(clippy::print_stdout, reason = "the figures are its result")]
fn what_sealing_and_signing_cost() {
    let (source, target) = (Node::of(0x01), Node::of(0x81));
    for len in [64, 1 << 20] {
        let header = header(len, 1);
        let plaintext = vec![7; len];
        let sealed = source.seal(&target, &header, &plaintext);
        let signed = [encoded(&header).as_slice(), &sealed].concat();
        let signature = source.sign(&signed);
        let verify = || {
            let mut hash = SignedBytes::new(network());
            hash.update(&signed);
            hash.verify(&source.id(), &signature).unwrap();
        };
        let rounds = if len < 1000 { 5 } else { 1 };
        let mut out = vec![0; sealed.len()];

        let seal = micros(rounds, || source.seal_into::<ChaChaPoly>(&target, &header, &plaintext, &mut out));
        let seal_by_ring =
            micros(rounds, || source.seal_into::<Ring>(&target, &header, &plaintext, &mut out));
        let open = micros(rounds, || drop(open(&target.binding(source.public(), &header), &sealed)));
        let open_by_ring = micros(rounds, || {
            let mut payload = sealed.clone();
            target.binding(source.public(), &header).open::<Ring>(&mut payload).unwrap();
        });
        let sign = micros(rounds, || _ = black_box(source.sign(&signed)));
        let verify = micros(rounds, verify);

        println!(
            "{len} bytes, us each: seal {seal:.0} (ring {seal_by_ring:.0}), open {open:.0} (ring {open_by_ring:.0}), sign {sign:.0}, verify {verify:.0}"
        );
    }
}

/// The best of many short runs, so that what else the machine does counts little.
#[expect(clippy::disallowed_methods, reason = "what is measured is time")]
fn micros(rounds: u32, mut act: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..100 {
        let start = Instant::now();
        (0..rounds).for_each(|_| act());
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds));
    }
    best
}

/// ChaCha20-Poly1305 as servers have it.
struct Ring(LessSafeKey);

impl Aead for Ring {
    fn new(key: &[u8; 32]) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).unwrap()))
    }

    fn seal(&self, nonce: u64, ad: &[u8], buf: &mut [u8]) {
        let (text, room) = buf.split_at_mut(buf.len() - TAG_LEN);
        let tag = self.0.seal_in_place_separate_tag(ring_nonce(nonce), Aad::from(ad), text).unwrap();
        room.copy_from_slice(tag.as_ref());
    }

    fn open(&self, nonce: u64, ad: &[u8], buf: &mut [u8]) -> Result<(), Forged> {
        self.0.open_in_place(ring_nonce(nonce), Aad::from(ad), buf).map(|_| ()).map_err(|_| Forged)
    }
}

fn ring_nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

struct Node {
    identity: Identity,
    pair: KeyPair,
}

impl Node {
    /// The node whose seed counts up from `first`, as the example's in the document do.
    fn of(first: u8) -> Self {
        let mut seed: [u8; 32] = core::array::from_fn(|index| first + index as u8);
        let identity = loop {
            match Identity::from_seed(&seed) {
                Ok(identity) => break identity,
                Err(_) => seed[31] ^= 0xFF,
            }
        };
        let pair =
            KeyPair::from_parts(Secret::from_bytes(*identity.static_secret()), *identity.static_public());
        Self { identity, pair }
    }

    fn id(&self) -> NodeId {
        self.identity.id()
    }

    fn public(&self) -> &[u8; 32] {
        self.pair.public()
    }

    fn binding<'a>(&'a self, theirs: &'a [u8; 32], header: &'a EnvelopeHeader) -> Binding<'a> {
        Binding { network: network(), header, ours: &self.pair, theirs }
    }

    fn seal(&self, target: &Self, header: &EnvelopeHeader, plaintext: &[u8]) -> Vec<u8> {
        let theirs = identity::static_of_id(&target.id()).unwrap();
        let mut payload = vec![0; header.payload_len as usize];
        self.binding(&theirs, header).seal::<ChaChaPoly>(KIND, plaintext, &mut Stuck, &mut payload).unwrap();
        payload
    }

    fn seal_into<A: Aead>(&self, target: &Self, header: &EnvelopeHeader, plaintext: &[u8], out: &mut [u8]) {
        self.binding(target.public(), header).seal::<A>(KIND, plaintext, &mut Stuck, out).unwrap();
    }

    fn sign(&self, bytes: &[u8]) -> [u8; SIGNATURE_LEN] {
        let mut signed = SignedBytes::new(network());
        signed.update(bytes);
        signed.sign(&self.identity).unwrap()
    }
}

fn network() -> NetworkTag {
    NetworkTag::of("example")
}

/// From the first node of the document's example to the second, sealed, with a plaintext of this length.
fn header(plain_len: usize, sequence: u64) -> EnvelopeHeader {
    EnvelopeHeader {
        message_id: MessageId { epoch: 0x1122_3344_5566_7788, sequence },
        source_node_id: Node::of(0x01).id(),
        target_node_id: Some(Node::of(0x81).id()),
        timestamp: UnixTime::from_micros(1_700_000_000_000_000),
        ttl: 60,
        priority: Priority::Medium,
        is_encrypted: true,
        is_signed: false,
        message_type: 0,
        payload_len: layout::sealed_len(plain_len as u32).unwrap(),
    }
}

fn encoded(header: &EnvelopeHeader) -> Vec<u8> {
    let mut bytes = vec![0; header.encoded_len()];
    assert_eq!(header.encode(&mut bytes), Some(bytes.len()));
    assert_eq!(EnvelopeHeader::decode(&bytes), Ok(Some((*header, bytes.len()))));
    bytes
}

fn open(binding: &Binding<'_>, payload: &[u8]) -> Result<(u16, Vec<u8>), Reason> {
    let mut payload = payload.to_vec();
    binding.open::<ChaChaPoly>(&mut payload).map(|opened| (opened.kind, opened.plaintext.to_vec()))
}

fn open_in_chunks(binding: &Binding<'_>, payload: &[u8]) -> (u16, Vec<Vec<u8>>) {
    let mut head = *payload.first_chunk().unwrap();
    let (kind, mut opening) = binding.begin_open::<ChaChaPoly>(&mut head).unwrap();
    let (mut rest, mut chunks) = (&payload[HEAD_LEN..], vec![]);
    while let len @ 1.. = opening.next_len() {
        let mut chunk = rest[..len].to_vec();
        rest = &rest[len..];
        chunks.push(opening.open(&mut chunk).unwrap().to_vec());
    }
    assert!(rest.is_empty());
    (kind, chunks)
}

/// A signed envelope in clear, and how many of its bytes the signature covers.
fn signed_envelope(source: &Node, sequence: u64, payload: &[u8]) -> (Vec<u8>, usize) {
    let header = EnvelopeHeader {
        source_node_id: source.id(),
        is_encrypted: false,
        is_signed: true,
        message_type: KIND,
        payload_len: payload.len() as u32,
        ..header(0, sequence)
    };
    let signed = [encoded(&header).as_slice(), payload].concat();
    let signature = source.sign(&signed);
    ([signed.as_slice(), &signature].concat(), signed.len())
}

/// Gives the document's 32 bytes at every draw.
struct Stuck;

impl TryRng for Stuck {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("keys are drawn as bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("keys are drawn as bytes")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.iter_mut().zip(0xA1..).for_each(|(byte, value)| *byte = value);
        Ok(())
    }
}

impl TryCryptoRng for Stuck {}

fn vectors() -> BTreeMap<String, Vec<u8>> {
    let vectors: BTreeMap<String, String> = serde_json::from_str(include_str!("vectors/seals.json")).unwrap();
    vectors.into_iter().map(|(name, hex)| (name, unhex(&hex))).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
