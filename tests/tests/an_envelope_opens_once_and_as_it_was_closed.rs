//! Envelopes between nodes: each opens once, at its target, as its source closed it, whatever links do. What is changed, cut,
//! moved, sent on or sent again is dropped with its reason, and costs nobody a session.

use hyphal_core::{
    aead::TAG_LEN,
    identity::Identity,
    ids::{MessageId, NodeId},
    node::{Config, PeerConfig, Trust},
    time::Duration,
    wire::{
        envelope::{EnvelopeHeader, SIGNATURE_LEN},
        hello::NetworkTag,
        reason::Reason,
        seal::{CHUNK_LEN, HEAD_LEN},
    },
};
use hyphal_lab::{
    drive::Drive,
    envelopes::{Draft, Opened, Opener, carrier},
    link::{Delivered, header},
    net::{Home, Net},
    network::{Side, StreamConditions},
    pair::{Pair, Setup},
    seed::{Chance, Seed},
};

const HEADER_LEN: usize = EnvelopeHeader::MAX_LEN;
/// Plain, sealed, signed, both.
const FORMS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

#[test]
fn over_links_that_break_again_and_again() {
    for seed in Seed::series(4) {
        let mut net = nodes(&seed, 2);
        let mut chance = seed.generator("moves");
        let mut texts = Vec::new();

        for number in 0..40_u64 {
            let (seal, sign) = FORMS[chance.index(4)];
            let len = chance.index(600);
            let text = [&number.to_be_bytes()[..], &chance.bytes(len)].concat();
            let bytes = closed(&mut net, &mut chance, 0, 1, number, &Draft { seal, sign, ..plain(&text) });
            net.send(0, 1, carrier(0), &bytes).expect("there is room");
            texts.push(text);
            if chance.below(5) == 0 {
                let stream = *net.streams().last().expect("they have met");
                let written = net.network.stream_written(stream, Side::Target).len();
                net.network.cut_stream_after(stream, Side::Target, written + chance.index(2000));
            }
            net.drive_for(chance.span(Duration::from_millis(200)));
        }
        net.drive_for(Duration::from_secs(60));

        let (source, target) = (net.id(0), net.identity(1).clone());
        let mut opener = Opener::new(&target);
        let opened: Vec<_> =
            received(&mut net, 1).iter().map(|(_, message)| opener.open(source, message)).collect();
        let expected: Vec<_> =
            texts.into_iter().map(|payload| Ok(Opened { kind: 0x1000, payload })).collect();
        assert_eq!(opened, expected);
        assert!(net.process(1).dials.len() > 1, "links broke");
    }
}

/// Without a seal or a signature nothing but the session vouches for what says nothing of the way that it comes.
#[test]
fn and_not_with_a_flipped_bit_where_seal_signature_or_session_tell() {
    for seed in Seed::series(4) {
        let mut chance = seed.generator("bits");
        for (seal, sign) in FORMS {
            let mut pair = Pair::up(&seed);
            let sound =
                pair_envelope(&seed, &mut pair, &mut chance, &Draft { seal, sign, ..plain(b"hello") });
            let mut places: Vec<usize> = (0..sound.len()).collect();
            chance.shuffle(&mut places);
            places.truncate(40);
            let mut expected = Vec::new();
            for (sequence, place) in (1..).zip(&places) {
                let mut bent = sound.clone();
                let mask = 1 << chance.below(8);
                bent[*place] ^= mask;
                expected.push(refusal(*place, mask, seal, sign, sound.len()));
                pair.send(Side::Opener, carrier(sequence), &bent).expect("there is room");
            }
            pair.drive_for(Duration::from_secs(1));

            let target = Setup::new(&seed).target().identity.clone();
            let source = pair.opener().id;
            for ((message, expected), place) in pair.target().delivered.iter().zip(&expected).zip(&places) {
                // Each as if it were the first: a duplicate is told before the rest is looked at.
                let opened = Opener::new(&target).open(source, message);
                assert_eq!(opened.err(), *expected, "byte {place}, seal {seal}, sign {sign}");
            }
            assert_eq!(pair.target().delivered.len(), places.len());
            assert!(pair.target().link.session.is_up() && pair.opener().link.session.is_up());
        }
    }
}

#[test]
fn and_not_again_in_this_session_the_next_one_or_after_any_other() {
    for seed in Seed::series(3) {
        let mut net = nodes(&seed, 2);
        let mut chance = seed.generator("replay");
        let draft = Draft { seal: true, sign: true, ..plain(b"pay me") };
        let bytes = closed(&mut net, &mut chance, 0, 1, 7, &draft);

        for _ in 0..3 {
            for _ in 0..2 {
                net.send(0, 1, carrier(0), &bytes).expect("there is room");
            }
            net.send(0, 1, header(0), b"a neighbour").expect("there is room");
            net.drive_for(Duration::from_secs(1));
            let stream = *net.streams().last().expect("they have met");
            net.network.cut_stream(stream);
            net.drive_for(Duration::from_secs(5));
        }

        let (source, target) = (net.id(0), net.identity(1).clone());
        let mut opener = Opener::new(&target);
        let opened: Vec<_> =
            received(&mut net, 1).iter().map(|(_, message)| opener.open(source, message)).collect();
        assert_eq!(opened[0], Ok(Opened { kind: 0x1000, payload: b"pay me".to_vec() }));
        assert_eq!(opened[1..], [const { Err(Reason::Duplicate) }; 5]);
        assert_eq!(net.process(1).delivered.len(), 6 + 3, "the neighbours arrive");
    }
}

#[test]
fn and_at_nobody_but_its_target_from_nobody_but_its_source() {
    const SOURCE: Home = 0;
    const TARGET: Home = 1;
    const OTHER: Home = 2;
    for seed in Seed::series(2) {
        for (seal, sign) in FORMS {
            let mut net = nodes(&seed, 3);
            let mut chance = seed.generator("moved");
            let draft = Draft { seal, sign, ..plain(b"for one") };
            let bytes = closed(&mut net, &mut chance, SOURCE, TARGET, 7, &draft);
            // With another target, source, or of another message in its header.
            let readdressed = closed(&mut net, &mut chance, SOURCE, OTHER, 7, &draft);
            let moved_to_other = [&readdressed[..HEADER_LEN], &bytes[HEADER_LEN..]].concat();
            let taken_over = {
                let of_other = closed(&mut net, &mut chance, OTHER, TARGET, 7, &draft);
                [&of_other[..HEADER_LEN], &bytes[HEADER_LEN..]].concat()
            };
            let foreign = Draft { network: NetworkTag::of("another"), ..draft };
            let foreign = closed(&mut net, &mut chance, SOURCE, TARGET, 8, &foreign);

            let attempts = [
                (SOURCE, OTHER, &bytes, Some(Reason::NotForMe)),
                (OTHER, TARGET, &bytes, Some(Reason::ForeignSource)),
                (SOURCE, OTHER, &moved_to_other, broken(seal, sign)),
                (OTHER, TARGET, &taken_over, broken(seal, sign)),
                (SOURCE, TARGET, &foreign, broken(seal, sign)),
                (SOURCE, TARGET, &bytes, None),
            ];
            for (number, (from, to, bytes, expected)) in attempts.into_iter().enumerate() {
                net.send(from, to, carrier(0), bytes).expect("there is room");
                net.drive_for(Duration::from_secs(1));

                let (peer, identity) = (net.id(from), net.identity(to).clone());
                let (source, message) = received(&mut net, to).pop().expect("it arrived");
                assert_eq!(source, peer);
                let opened = Opener::new(&identity).open(source, &message);
                assert_eq!(opened.err(), expected, "attempt {number}, seal {seal}, sign {sign}");
            }
            for home in [SOURCE, TARGET, OTHER] {
                assert_eq!(net.process(home).node.sessions(), 2, "nobody loses a session");
            }
        }
    }
}

#[test]
fn and_in_chunks_only_whole_and_in_their_order() {
    const SEALED: usize = CHUNK_LEN + TAG_LEN;
    const AT: fn(usize) -> usize = |chunk| HEADER_LEN + HEAD_LEN + chunk * SEALED;
    type Damage = fn(&mut Vec<u8>);
    let damages: [(Damage, Option<Reason>); 8] = [
        (|_| {}, None),
        (|bytes| (0..SEALED).for_each(|byte| bytes.swap(AT(0) + byte, AT(1) + byte)), Some(Reason::BadSeal)),
        (|bytes| bytes.copy_within(AT(0)..AT(1), AT(1)), Some(Reason::BadSeal)),
        (|bytes| bytes[AT(2)] ^= 1, Some(Reason::BadSeal)),
        (|bytes| bytes.truncate(AT(2)), Some(Reason::BadEnvelope)),
        // Cut where a chunk ends, with a header that says so.
        (
            |bytes| {
                bytes.truncate(AT(2));
                let len = u32::try_from(bytes.len() - HEADER_LEN).expect("a short envelope");
                bytes[HEADER_LEN - 4..HEADER_LEN].copy_from_slice(&len.to_be_bytes());
            },
            Some(Reason::BadSeal),
        ),
        (|bytes| bytes.push(0), Some(Reason::BadEnvelope)),
        (|bytes| bytes[HEADER_LEN] = 1, Some(Reason::BadSeal)),
    ];
    let seed = Seed::of(1);
    let mut chance = seed.generator("chunks");
    let text = chance.bytes(2 * CHUNK_LEN + 100);
    let mut setup = Setup::new(&seed);
    setup.conditions = StreamConditions::weather(&seed);
    setup.ends.iter_mut().for_each(|end| end.config.max_message = 100_000);
    let mut pair = Pair::up_with(&seed, setup);
    let sound = pair_envelope(&seed, &mut pair, &mut chance, &Draft { seal: true, ..plain(&text) });

    for (sequence, (damage, _)) in (1..).zip(&damages) {
        let mut bytes = sound.clone();
        damage(&mut bytes);
        pair.send(Side::Opener, carrier(sequence), &bytes).expect("there is room");
    }
    pair.drive_for(Duration::from_secs(60));

    let target = Setup::new(&seed).target().identity.clone();
    let source = pair.opener().id;
    let opened: Vec<_> = pair
        .target()
        .delivered
        .iter()
        .map(|message| Opener::new(&target).open(source, message).map(|opened| opened.payload == text))
        .collect();
    let expected: Vec<_> = damages.iter().map(|(_, reason)| reason.map_or(Ok(true), Err)).collect();
    assert_eq!(opened, expected);
    assert!(pair.target().link.session.is_up() && pair.opener().link.session.is_up());
}

/// Why an envelope is refused in which one byte is changed.
fn refusal(place: usize, mask: u8, seal: bool, sign: bool, len: usize) -> Option<Reason> {
    const FLAG_ENCRYPTED: u8 = 1 << 3;
    match place {
        // A seal that is not called one is a payload of no type, if nobody has signed that it is one.
        1 if mask == FLAG_ENCRYPTED && seal => sign.then_some(Reason::BadSignature),
        // Its version, flags, the epoch of its id, its ttl and length, which the message and the session tell, too.
        0 | 1 | 4..12 | 92..HEADER_LEN => Some(Reason::BadEnvelope),
        // A type that could be read.
        2 | 3 if seal => Some(Reason::BadEnvelope),
        20..52 => Some(Reason::ForeignSource),
        52..84 => Some(Reason::NotForMe),
        _ if sign && place >= len - SIGNATURE_LEN => Some(Reason::BadSignature),
        // Type, sequence, timestamp and payload.
        _ => broken(seal, sign),
    }
}

/// Why an envelope is refused that is not as it was closed. The signature is looked at first.
fn broken(seal: bool, sign: bool) -> Option<Reason> {
    sign.then_some(Reason::BadSignature).or(seal.then_some(Reason::BadSeal))
}

/// Whom it is for, and which it is, is filled in when it is closed.
fn plain(payload: &[u8]) -> Draft<'_> {
    Draft::new(NodeId::from_bytes([0; NodeId::LEN]), MessageId { epoch: 0, sequence: 0 }, payload)
}

/// Closes a draft at one node for another.
fn closed(
    net: &mut Net,
    chance: &mut Chance,
    from: Home,
    to: Home,
    sequence: u64,
    draft: &Draft<'_>,
) -> Vec<u8> {
    let id = MessageId { epoch: net.process(from).boot_id, sequence };
    Draft { target: net.id(to), id, ..*draft }.close(net.identity(from), chance)
}

/// Closes a draft at the dialling end for the dialled one.
fn pair_envelope(seed: &Seed, pair: &mut Pair, chance: &mut Chance, draft: &Draft<'_>) -> Vec<u8> {
    let source: Identity = Setup::new(seed).opener().identity.clone();
    let id = MessageId { epoch: pair.opener().boot_id, sequence: 77 };
    Draft { target: pair.target().id, id, ..*draft }.close(&source, chance)
}

/// The envelopes that a node has received, and from whom.
fn received(net: &mut Net, home: Home) -> Vec<(NodeId, Delivered)> {
    net.process(home).delivered.iter().filter(|(_, message)| message.full).cloned().collect()
}

/// Nodes that all have sessions with each other.
fn nodes(seed: &Seed, count: usize) -> Net {
    let mut net = Net::new(seed, StreamConditions::weather(seed));
    for home in 0..count {
        net.settle_node(Config { trust: Trust::Open, ..Config::default() });
        (0..home).for_each(|peer| net.introduce(home, peer, PeerConfig::default()));
    }
    let all_met = move |net: &mut Net| (0..count).all(|home| net.process(home).node.sessions() == count - 1);
    assert!(net.drive_until(Duration::from_secs(5), all_met), "they meet");
    net
}
