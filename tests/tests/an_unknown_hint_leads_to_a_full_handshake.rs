//! A hint counts once. Whoever comes with another one, or is told so by a forger, goes on with XX on the same link, and the
//! same node must answer.

use std::collections::BTreeMap;

use hyphal_core::{
    ids::Hint,
    session::{Expect, Resumption},
    wire::{
        frame::{Header, Kind, Refusal},
        reason::Reason,
    },
};
use hyphal_lab::{
    link::header,
    network::Side,
    pair::{Pair, Setup, acquaintance},
    seed::Seed,
    subject::{Subject, converse},
};

const HINT: Hint = Hint::from_bytes([7; Hint::LEN]);
/// Frames of KK and XX, and a refusal.
const KK: [usize; 2] = [109, 91];
const XX: [usize; 3] = [46, 139, 117];
const REFUSAL: usize = 24;

#[test]
fn a_known_hint_takes_two_flights() {
    let mut pair = pair(Seed::of(1), true);

    let (opener, target) = written(&mut pair);

    assert_eq!(kinds(&opener, &KK[..1]), [Kind::Kk1 as u8]);
    assert_eq!(kinds(&target, &KK[1..]), [Kind::Kk2 as u8]);
    assert!(KK.iter().sum::<usize>() - 2 * 14 <= 180, "the handshake with its hellos");
}

#[test]
fn an_unknown_hint_is_refused_and_xx_follows_on_the_same_link() {
    let mut pair = pair(Seed::of(1), false);
    pair.send(Side::Opener, header(1), b"all the same").expect("there is room");
    pair.drive_until_up();

    let (opener, target) = written(&mut pair);

    assert_eq!(
        kinds(&opener, &[KK[0], XX[0], XX[2]]),
        [Kind::Kk1, Kind::Xx1, Kind::Xx3].map(|kind| kind as u8)
    );
    assert_eq!(kinds(&target, &[REFUSAL, XX[1]]), [Kind::Refusal, Kind::Xx2].map(|kind| kind as u8));
    assert_eq!(pair.target().link.hints, [HINT]);
    assert_ne!(opener[6..14], opener[KK[0] + 6..KK[0] + 14], "another attempt, another id");
    assert_ne!(opener[22..54], opener[KK[0] + 14..KK[0] + 46], "and another ephemeral");
}

#[test]
fn a_hint_that_was_used_is_unknown() {
    let seed = Seed::of(2);
    let mut responder = Subject::accepting(&seed);
    let expect = Expect::Resume(Resumption { peer: acquaintance(&responder.identity), hint: HINT });
    let mut given = BTreeMap::from([(HINT, acquaintance(&Subject::dialling(&seed).identity))]);

    let mut answers = Vec::new();
    for _ in 0..2 {
        responder = Subject::accepting(&seed);
        responder.given = given;
        let mut initiator = Subject::dialling_for(&seed, expect);
        responder.hear(&initiator.say());
        answers.push(responder.say()[4]);
        given = responder.given;
    }

    assert_eq!(answers, [Kind::Kk2, Kind::Refusal].map(|kind| kind as u8));
}

#[test]
fn a_hint_is_used_up_even_if_what_follows_it_is_forged() {
    let (mut initiator, mut responder) = subjects();
    let mut first = initiator.say();
    *first.last_mut().expect("a frame") ^= 1;

    responder.hear(&first);

    assert_eq!(responder.link.closed_for(), Some(Reason::Forged));
    assert!(responder.say().is_empty() && responder.given.is_empty());
}

#[test]
fn a_second_hint_on_the_same_link_ends_it() {
    let (mut initiator, mut responder) = subjects();
    responder.given.clear();
    let first = initiator.say();
    responder.hear(&first);
    assert_eq!(responder.say().len(), REFUSAL);

    responder.hear(&first);

    assert_eq!(responder.link.closed_for(), Some(Reason::UnexpectedFrame));
}

#[test]
fn a_forged_refusal_in_the_place_of_the_answer_costs_a_round_trip() {
    let (mut initiator, mut responder) = subjects();
    let first = initiator.say();

    initiator.hear(&refusal(Reason::UnknownHint, &first));
    converse(&mut initiator, &mut responder);

    assert!(initiator.link.session.is_up() && responder.link.session.is_up());
    assert_eq!(initiator.link.up.map(|(_, id)| id), Some(responder.identity.id()));
}

#[test]
fn after_a_forged_refusal_nobody_else_can_answer() {
    let (mut initiator, _) = subjects();
    let mut other = Subject::accepting(&Seed::of(99));
    let first = initiator.say();

    initiator.hear(&refusal(Reason::UnknownHint, &first));
    converse(&mut initiator, &mut other);

    assert_eq!(initiator.link.closed_for(), Some(Reason::UnexpectedId));
    assert_eq!((initiator.link.up, other.link.up), (None, None));
}

#[test]
fn a_forged_refusal_beside_the_true_answer_ends_the_link_and_nothing_comes_up() {
    let (mut initiator, mut responder) = subjects();
    let first = initiator.say();
    responder.hear(&first);

    initiator.hear(&refusal(Reason::UnknownHint, &first));
    converse(&mut initiator, &mut responder);

    assert_eq!(initiator.link.closed_for(), Some(Reason::UnexpectedFrame));
    assert_eq!((initiator.link.up, responder.link.up), (None, None));
}

#[test]
fn any_other_refusal_ends_the_attempt() {
    let unknown = Reason::UnknownHint;
    for (reason, ends_as) in [
        (Reason::Busy, Reason::Busy),
        (Reason::Limit, Reason::Limit),
        (Reason::PeerRemoved, Reason::Busy),
        (Reason::Untrusted, Reason::Busy),
    ] {
        let (mut initiator, _) = subjects();
        let first = initiator.say();
        initiator.hear(&refusal(reason, &first));
        assert_eq!(initiator.link.closed_by_peer_for(), Some(ends_as));
    }
    // Without the attempt's id, and a second time.
    let (mut initiator, _) = subjects();
    initiator.say();
    initiator.hear(&refusal(unknown, &[0; 14]));
    assert_eq!(initiator.link.closed_by_peer_for(), Some(Reason::Busy));
    let (mut initiator, _) = subjects();
    let first = initiator.say();
    initiator.hear(&refusal(unknown, &first));
    let second = initiator.say();
    initiator.hear(&refusal(unknown, &second));
    assert_eq!(initiator.link.closed_by_peer_for(), Some(Reason::Busy));
}

fn pair(seed: Seed, is_known: bool) -> Pair {
    let mut setup = Setup::new(&seed);
    setup.expect = Expect::Resume(Resumption { peer: acquaintance(&setup.target().identity), hint: HINT });
    let opener = acquaintance(&setup.opener().identity);
    if is_known {
        setup.target().given.insert(HINT, opener);
    }
    Pair::up_with(&seed, setup)
}

/// A dialler with a hint, and the node that it dials, which knows the hint.
fn subjects() -> (Subject, Subject) {
    let seed = Seed::of(3);
    let mut responder = Subject::accepting(&seed);
    let expect = Expect::Resume(Resumption { peer: acquaintance(&responder.identity), hint: HINT });
    let initiator = Subject::dialling_for(&seed, expect);
    responder.given.insert(HINT, acquaintance(&initiator.identity));
    (initiator, responder)
}

fn refusal(reason: Reason, first: &[u8]) -> Vec<u8> {
    let id = u64::from_be_bytes(first[6..14].try_into().expect("eight bytes"));
    let mut payload = [0; Refusal::LEN];
    Refusal::new(reason).encode(&mut payload).expect("it fits");
    let mut frame = vec![0; REFUSAL];
    Header::new(Kind::Refusal, id).encode(&payload, &mut frame).expect("it fits");
    frame
}

fn written(pair: &mut Pair) -> (Vec<u8>, Vec<u8>) {
    let [opener, target] = Side::BOTH.map(|side| pair.network.stream_written(pair.stream, side).to_vec());
    (opener, target)
}

/// The kinds of frames of these lengths at the start of `bytes`.
fn kinds(bytes: &[u8], lens: &[usize]) -> Vec<u8> {
    let mut rest = bytes;
    let mut kind = |len: &usize| {
        let (frame, after) = rest.split_at(*len);
        assert_eq!(usize::try_from(u32::from_be_bytes(frame[..4].try_into().expect("four"))), Ok(len - 4));
        rest = after;
        frame[4]
    };
    lens.iter().map(&mut kind).collect()
}
