//! Envelopes that are for someone else, of someone else, changed, cut, moved or replayed. Each costs its sender that message,
//! with a reason, and its neighbours arrive.

use hyphal::{
    Filter, Incoming, MessageId, NodeId, NodeType, Priority, Reason, StreamError, UnixTime, UnknownTypes,
};
use hyphal_core::aead::{ChaChaPoly, TAG_LEN};
use hyphal_core::identity;
use hyphal_core::noise::{KeyPair, Secret};
use hyphal_core::seal::Binding;
use hyphal_core::sign::SignedBytes;
use hyphal_core::wire::envelope::{EnvelopeHeader, SIGNATURE_LEN};
use hyphal_core::wire::hello::NetworkTag;
use hyphal_core::wire::message::{FRAGMENT_LEN, MessageHeader, Part};
use hyphal_core::wire::seal::{self, CHUNK_LEN, HEAD_LEN};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::hand::{Hand, Papers, hello, message, message_header, messages, wall_time};
use crate::scene::{ECHO, MALLORY, NETWORK, Scene, identity as seeded, soon};

#[tokio::test]
async fn sound_envelopes_of_each_kind_arrive() {
    let mut scene = Scene::new().await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
    let drafts = [(false, false), (true, false), (false, true), (true, true)];

    for (sequence, (seal, sign)) in (1..).zip(drafts) {
        let draft = Draft { seal, sign, sequence, ..Draft::to(scene.victim.id()) };
        hand.send(&whole(sequence, &draft.bytes())).await;

        let delivered = scene.delivered().await;
        assert_eq!((delivered.kind, &delivered.payload[..]), (0x1000, &b"hello"[..]));
        assert_eq!(delivered.id, MessageId { epoch: hello().boot_id, sequence });
        assert_eq!((delivered.is_encrypted, delivered.is_signed), (seal, sign));
        let evidence = delivered.envelope().map(|bytes| hyphal::verify_signed(NETWORK, bytes).unwrap());
        assert_eq!(evidence.map(|envelope| envelope.source_node_id), sign.then(|| seeded(MALLORY).id()));
    }
    assert_eq!(scene.victim.counters().received_dropped, []);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn envelopes_of_others_for_others_or_that_contradict_their_message_are_dropped_each_for_its_reason() {
    let victim = |scene: &Scene| scene.victim.id();
    type Change = fn(&mut EnvelopeHeader, &Scene);
    let cases: [(Reason, Change); 8] = [
        // As a relay would send it.
        (Reason::ForeignSource, |header, scene| header.source_node_id = scene.friend.id()),
        (Reason::ForeignSource, |header, scene| header.source_node_id = scene.victim.id()),
        (Reason::NotForMe, |header, scene| header.target_node_id = Some(scene.friend.id())),
        (Reason::BadEnvelope, |header, _| header.target_node_id = None),
        (Reason::BadEnvelope, |header, _| header.priority = Priority::Critical),
        (Reason::BadEnvelope, |header, _| header.ttl = 0),
        (Reason::BadEnvelope, |header, _| header.message_id.epoch += 1),
        (Reason::BadEnvelope, |header, _| header.payload_len += 1),
    ];
    for (case, (reason, change)) in cases.into_iter().enumerate() {
        let mut scene = Scene::new().await;
        let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
        let mut header = Draft::to(victim(&scene)).header();
        change(&mut header, &scene);
        let bytes = [encoded(&header).as_slice(), b"hello"].concat();

        hand.send(&messages(&[(full(1), &bytes), (message_header(2), b"I am Mallory")])).await;

        assert_eq!(scene.delivered().await.payload, "I am Mallory", "case {case}");
        scene.assert_envelopes_refused(reason, 1).await;
        assert_eq!(scene.closed_in_all(), 0);
    }
}

#[tokio::test]
async fn bytes_that_are_no_envelope_are_dropped() {
    let mut scene = Scene::new().await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
    let sound = Draft::to(scene.victim.id()).bytes();
    let forms =
        [vec![], vec![1], sound[..99].to_vec(), [&sound[..], b"x"].concat(), [&[2], &sound[1..]].concat()];

    for (sequence, bytes) in (1..).zip(&forms) {
        hand.send(&whole(sequence, bytes)).await;
    }
    hand.send(&message(9, b"sound")).await;

    assert_eq!(scene.delivered().await.payload, "sound");
    scene.assert_envelopes_refused(Reason::BadEnvelope, forms.len() as u64).await;
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_seal_for_someone_else_moved_or_changed_is_dropped() {
    let mut scene = Scene::new().await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
    let victim = scene.victim.id();
    let sealed = Draft { seal: true, ..Draft::to(victim) };
    // What the friend could read, in an envelope to the victim.
    let of_friend = Draft { seal: true, ..Draft::to(scene.friend.id()) }.bytes();
    let retargeted = [&sealed.bytes()[..100], &of_friend[100..]].concat();
    // From an envelope of another id.
    let other = Draft { sequence: 77, ..sealed };
    let moved = [&sealed.bytes()[..100], &other.bytes()[100..]].concat();
    // The same of another time.
    let mut delayed = sealed.bytes();
    delayed[90] ^= 1;
    let mut bent = sealed.bytes();
    *bent.last_mut().unwrap() ^= 1;
    // Made in another network, and by somebody who is not Mallory.
    let foreign = Draft { network: NetworkTag::of("other"), ..sealed }.bytes();
    let by_echo = Draft { seed: ECHO, ..sealed }.bytes();
    let in_mallorys_name = [&sealed.bytes()[..100], &by_echo[100..]].concat();
    // A plaintext that claims to be sealed.
    let mut claimed = sealed.header();
    claimed.payload_len = 60;
    let claimed = [encoded(&claimed).as_slice(), &[1; 60]].concat();
    let forms = [retargeted, moved, delayed, bent, foreign, in_mallorys_name, claimed];

    for (sequence, bytes) in (1..).zip(&forms) {
        hand.send(&whole(sequence, bytes)).await;
    }
    hand.send(&whole(99, &sealed.bytes())).await;

    assert_eq!(scene.delivered().await.payload, "hello");
    scene.assert_envelopes_refused(Reason::BadSeal, forms.len() as u64).await;
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_signature_over_another_envelope_of_another_network_or_by_another_key_is_dropped() {
    let mut scene = Scene::new().await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
    let signed = Draft { sign: true, ..Draft::to(scene.victim.id()) };
    let signature = |draft: &Draft<'_>| draft.bytes().split_off(draft.bytes().len() - SIGNATURE_LEN);
    let with = |signature: &[u8]| {
        let bytes = signed.bytes();
        [&bytes[..bytes.len() - SIGNATURE_LEN], signature].concat()
    };
    let mut bent = signed.bytes();
    bent[104] ^= 1;
    // S + L is the other solution that everybody can compute.
    let mut malleable = signature(&signed);
    let mut carry = 0;
    for (place, order) in malleable[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*place) + u16::from(order) + carry;
        (*place, carry) = (sum as u8, sum >> 8);
    }
    let mut low_order = [0; SIGNATURE_LEN];
    low_order[0] = 1;
    let forms = [
        with(&signature(&Draft { sequence: 77, ..signed })),
        with(&signature(&Draft { network: NetworkTag::of("other"), ..signed })),
        with(&signature(&Draft { seed: ECHO, source: signed.source, ..signed })),
        with(&malleable),
        with(&low_order),
        with(&[0; SIGNATURE_LEN]),
        bent,
    ];

    for (sequence, bytes) in (1..).zip(&forms) {
        hand.send(&whole(sequence, bytes)).await;
    }
    hand.send(&whole(99, &signed.bytes())).await;

    assert_eq!(scene.delivered().await.payload, "hello");
    scene.assert_envelopes_refused(Reason::BadSignature, forms.len() as u64).await;
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn an_envelope_that_came_before_is_a_duplicate_in_any_message_and_session() {
    let mut scene = Scene::new().await;
    let papers = Papers::new();
    let mut hand = Hand::shake(scene.address(), &papers).await;
    let envelope = Draft { seal: true, sign: true, ..Draft::to(scene.victim.id()) }.bytes();
    hand.send(&whole(1, &envelope)).await;
    assert_eq!(scene.delivered().await.payload, "hello");

    hand.send(&whole(2, &envelope)).await;
    let mut later = Hand::shake(scene.address(), &papers).await;
    later.send(&whole(3, &envelope)).await;
    later.send(&message(4, b"another")).await;

    assert_eq!(scene.delivered().await.payload, "another");
    scene.assert_envelopes_refused(Reason::Duplicate, 2).await;
    scene.assert_friend_is_unharmed().await;
}

/// Who has heard it, as the target or on the way, cannot send it on as its own.
#[tokio::test]
async fn an_envelope_that_another_peer_replays_is_foreign() {
    let mut scene = Scene::new().await;
    let envelope = Draft { seal: true, sign: true, ..Draft::to(scene.victim.id()) }.bytes();
    let mut echo = Hand::shake(scene.address(), &Papers::of(ECHO)).await;

    echo.send(&messages(&[(full(1), &envelope), (message_header(2), b"I am Echo")])).await;

    assert_eq!(scene.delivered().await.source, seeded(ECHO).id());
    scene.assert_dropped(Reason::ForeignSource, 1);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_type_that_is_refused_is_refused_inside_a_seal_too() {
    let mut scene = Scene::with(|victim| victim.unknown_types(UnknownTypes::Refuse)).await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
    let unassigned = Draft { seal: true, kind: 0x0E00, ..Draft::to(scene.victim.id()) };

    hand.send(&whole(1, &unassigned.bytes())).await;
    hand.send(&message(2, b"after")).await;

    assert_eq!(scene.delivered().await.payload, "after");
    scene.assert_envelopes_refused(Reason::UnknownType, 1).await;
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn what_nodes_say_among_themselves_is_refused_in_envelopes() {
    let mut scene = Scene::new().await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
    let plain = Draft::to(scene.victim.id());
    let lane = Draft { seal: true, kind: 0x0D00, ..plain };
    let revocations = Draft { sign: true, kind: 0x0A01, sequence: plain.sequence + 1, ..plain };

    hand.send(&whole(1, &lane.bytes())).await;
    hand.send(&whole(2, &revocations.bytes())).await;
    hand.send(&message(3, b"after")).await;

    assert_eq!(scene.delivered().await.payload, "after");
    scene.assert_envelopes_refused(Reason::UnknownType, 2).await;
    scene.assert_friend_is_unharmed().await;
}

/// What is done to the chunks of a large seal, and whether it shows before the message is whole.
#[tokio::test]
async fn a_large_seal_whose_chunks_are_moved_changed_or_missing_is_dropped_and_its_stream_says_so() {
    const SEALED: usize = CHUNK_LEN + TAG_LEN;
    let at = |index: usize| 100 + HEAD_LEN + index * SEALED;
    type Damage = fn(&mut Vec<u8>, &dyn Fn(usize) -> usize);
    let damages: [(&str, Damage, usize); 6] = [
        ("swapped", |bytes, at| (0..SEALED).for_each(|byte| bytes.swap(at(0) + byte, at(1) + byte)), 0),
        ("repeated", |bytes, at| bytes.copy_within(at(0)..at(1), at(1)), 1),
        ("changed in the last", |bytes, at| bytes[at(2)] ^= 1, 2),
        ("changed in the head", |bytes, _| bytes[120] ^= 1, 0),
        ("the last but one left out and the last lengthened", |bytes, at| bytes[at(1)..].fill(0), 1),
        ("a tag cut to pieces", |bytes, at| bytes[at(1) - 1] = !bytes[at(1) - 1], 0),
    ];
    for (name, damage, sound_chunks) in damages {
        let mut scene = Scene::new().await;
        let mut streams = scene.victim.subscribe_streams(Filter::all().source(seeded(MALLORY).id()));
        let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
        let payload = vec![7; 3 * CHUNK_LEN];
        let draft = Draft { seal: true, payload: &payload, ..Draft::to(scene.victim.id()) };
        let mut bytes = draft.bytes();
        damage(&mut bytes, &at);

        send_in_parts(&mut hand, 1, &bytes).await;
        hand.send(&message(2, b"sound")).await;

        assert_eq!(scene.delivered().await.payload, "sound", "{name}");
        scene.assert_envelopes_refused(Reason::BadSeal, 1).await;
        let incoming = soon(streams.recv()).await.unwrap();
        if name == "changed in the head" {
            assert!(matches!(incoming, Incoming::Message(_)), "no stream begins");
            continue;
        }
        let Incoming::Stream(mut stream) = incoming else { panic!("{name}: no stream") };
        for _ in 0..sound_chunks {
            assert_eq!(soon(stream.next()).await.unwrap().unwrap().len(), CHUNK_LEN, "{name}");
        }
        let end = soon(stream.next()).await;
        assert_eq!(end, Some(Err(StreamError::Refused(Reason::BadSeal))), "{name}");
        assert_eq!(soon(stream.next()).await, None);
    }
}

#[tokio::test]
async fn a_large_message_with_a_bad_signature_is_dropped_and_its_stream_never_gives_the_end() {
    for seal in [false, true] {
        let mut scene = Scene::new().await;
        let mut streams = scene.victim.subscribe_streams(Filter::all().source(seeded(MALLORY).id()));
        let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
        let payload = vec![7; 3 * CHUNK_LEN];
        let draft = Draft { seal, sign: true, payload: &payload, ..Draft::to(scene.victim.id()) };
        let mut bytes = draft.bytes();
        *bytes.last_mut().unwrap() ^= 1;

        send_in_parts(&mut hand, 1, &bytes).await;
        hand.send(&message(2, b"sound")).await;

        assert_eq!(scene.delivered().await.payload, "sound");
        scene.assert_envelopes_refused(Reason::BadSignature, 1).await;
        let Some(Incoming::Stream(mut stream)) = soon(streams.recv()).await else { panic!("no stream") };
        assert!(stream.is_signed() && stream.is_encrypted() == seal);
        let mut len = 0;
        let end = loop {
            match soon(stream.next()).await.unwrap() {
                Ok(part) => len += part.len(),
                Err(error) => break error,
            }
        };
        assert_eq!(end, StreamError::Refused(Reason::BadSignature));
        assert!(len < payload.len(), "the last piece waits for the signature");
    }
}

/// An envelope whose header says another length than its parts, and one that ends before its header does.
#[tokio::test]
async fn parts_that_are_no_envelope_together_are_dropped_for_readers_of_streams_too() {
    let mut scene = Scene::new().await;
    let mut streams = scene.victim.subscribe_streams(Filter::all().source(seeded(MALLORY).id()));
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
    let payload = vec![7; 2 * CHUNK_LEN];
    let draft = Draft { seal: true, payload: &payload, ..Draft::to(scene.victim.id()) };
    let mut shorter = draft.bytes();
    shorter.truncate(2 * CHUNK_LEN);

    send_in_parts(&mut hand, 1, &shorter).await;
    let header = MessageHeader { part: Some(Part { total: 99, offset: 0 }), ..full(2) };
    hand.send(&messages(&[(header, &draft.bytes()[..99])])).await;
    hand.send(&message(3, b"sound")).await;

    assert_eq!(scene.delivered().await.payload, "sound");
    scene.assert_envelopes_refused(Reason::BadEnvelope, 2).await;
    let Some(Incoming::Message(sound)) = soon(streams.recv()).await else { panic!("a stream has begun") };
    assert_eq!(sound.payload, "sound");
    scene.assert_friend_is_unharmed().await;
}

/// What Mallory, or whoever `seed` is, puts into an envelope.
#[derive(Clone, Copy)]
struct Draft<'p> {
    seed: u8,
    source: NodeId,
    target: NodeId,
    network: NetworkTag,
    seal: bool,
    sign: bool,
    sequence: u64,
    kind: u16,
    payload: &'p [u8],
    timestamp: UnixTime,
}

impl Draft<'_> {
    fn to(target: NodeId) -> Self {
        // A node type is as good as any: every hand says the same hello.
        assert_eq!(hello().node_type, NodeType::Hyphae);
        Self {
            seed: MALLORY,
            source: seeded(MALLORY).id(),
            target,
            network: NetworkTag::of(NETWORK),
            seal: false,
            sign: false,
            sequence: 1,
            kind: 0x1000,
            payload: b"hello",
            timestamp: wall_time(),
        }
    }

    fn header(&self) -> EnvelopeHeader {
        let plain_len = self.payload.len() as u32;
        EnvelopeHeader {
            message_id: MessageId { epoch: hello().boot_id, sequence: self.sequence },
            source_node_id: self.source,
            target_node_id: Some(self.target),
            timestamp: self.timestamp,
            ttl: 60,
            priority: Priority::Medium,
            is_encrypted: self.seal,
            is_signed: self.sign,
            message_type: if self.seal { 0 } else { self.kind },
            payload_len: if self.seal { seal::sealed_len(plain_len).unwrap() } else { plain_len },
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let (identity, header) = (seeded(self.seed), self.header());
        let mut bytes = encoded(&header);
        if self.seal {
            let secret = Secret::from_bytes(*identity.static_secret());
            let ours = KeyPair::from_parts(secret, *identity.static_public());
            let theirs = identity::static_of_id(&self.target).unwrap();
            let binding = Binding { network: self.network, header: &header, ours: &ours, theirs: &theirs };
            let mut sealed = vec![0; header.payload_len as usize];
            let random = &mut ChaCha20Rng::seed_from_u64(self.sequence);
            binding.seal::<ChaChaPoly>(self.kind, self.payload, random, &mut sealed).unwrap();
            bytes.extend(sealed);
        } else {
            bytes.extend(self.payload);
        }
        if self.sign {
            let mut hash = SignedBytes::new(self.network);
            hash.update(&bytes);
            bytes.extend(hash.sign(&identity).unwrap());
        }
        bytes
    }
}

fn encoded(header: &EnvelopeHeader) -> Vec<u8> {
    let mut bytes = vec![0; header.encoded_len()];
    header.encode(&mut bytes).unwrap();
    bytes
}

fn full(sequence: u64) -> MessageHeader {
    MessageHeader { full: true, kind: 0, ..message_header(sequence) }
}

/// A record with one whole envelope.
fn whole(sequence: u64, bytes: &[u8]) -> Vec<u8> {
    messages(&[(full(sequence), bytes)])
}

async fn send_in_parts(hand: &mut Hand, sequence: u64, bytes: &[u8]) {
    let total = bytes.len() as u32;
    for (index, part) in bytes.chunks(FRAGMENT_LEN).enumerate() {
        let offset = (index * FRAGMENT_LEN) as u32;
        let header = MessageHeader { part: Some(Part { total, offset }), ..full(sequence) };
        hand.send(&messages(&[(header, part)])).await;
    }
}

/// L, the order of the base point, in little-endian.
const ORDER: [u8; 32] = [
    0xED, 0xD3, 0xF5, 0x5C, 0x1A, 0x63, 0x12, 0x58, 0xD6, 0x9C, 0xF7, 0xA2, 0xDE, 0xF9, 0xDE, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];
