//! Random bytes, and mutated true conversations, against both roles in every state: no panic, no false delivery, no state
//! that never ends, and no more work than the bytes are worth.

use hyphal_core::time::Duration;
use hyphal_lab::{
    link::header,
    seed::{Chance, Odds, Seed},
    subject::{Subject, converse},
};

/// The only payload that is ever sent.
const SENT: &[u8] = b"the truth";

#[test]
fn random_bytes_in_any_state() {
    for seed in Seed::series(4000) {
        let mut chance = seed.generator("hostile");
        let mut subject = subject_in_some_state(&seed, &mut chance);

        for _ in 0..1 + chance.index(5) {
            // A third of the time the length of a true frame.
            let len = [46, 139, 117][chance.index(3)];
            let len = if chance.happens(Odds::percent(33)) { len } else { chance.index(600) };
            let mut bytes = chance.bytes(len);
            make_length_plausible(&mut bytes, &mut chance);
            hear_in_pieces(&mut subject, &bytes, &mut chance);
            subject.say();
            subject.wait(chance.span(Duration::from_millis(100)));
        }

        assert_harmless(&mut subject);
    }
}

#[test]
fn mutated_conversations_in_either_role() {
    let seed = Seed::of(1);
    let (to_accepting, to_dialling) = transcript(&seed);
    for seed in Seed::series(4000) {
        let mut chance = seed.generator("mutations");
        let (mut subject, said) = if chance.happens(Odds::percent(50)) {
            (Subject::accepting(&Seed::of(1)), &to_accepting)
        } else {
            (Subject::dialling(&Seed::of(1)), &to_dialling)
        };
        let mut pieces = said.clone();
        for _ in 0..1 + chance.index(3) {
            mutate(&mut pieces, &mut chance);
        }

        subject.say();
        for piece in pieces {
            hear_in_pieces(&mut subject, &piece, &mut chance);
            subject.say();
        }

        assert_harmless(&mut subject);
    }
}

#[test]
fn the_conversation_without_mutations_is_a_true_one() {
    let seed = Seed::of(1);
    let (to_accepting, _) = transcript(&seed);
    let mut subject = Subject::accepting(&seed);

    for piece in to_accepting {
        subject.hear(&piece);
        subject.say();
    }

    // Equal seeds give equal keys: the replay to the very same state is the original.
    assert_eq!(subject.delivered.len(), 1);
    assert_eq!(subject.delivered[0].payload, SENT);
}

/// What each role heard in a conversation: a handshake and one message each way.
fn transcript(seed: &Seed) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut dialling, mut accepting) = (Subject::dialling(seed), Subject::accepting(seed));
    let (mut to_accepting, mut to_dialling) = (Vec::new(), Vec::new());
    for round in 0..6 {
        if round == 3 {
            dialling.send(header(1), SENT);
            accepting.send(header(1), SENT);
        }
        let said = dialling.say();
        accepting.hear(&said);
        let answered = accepting.say();
        dialling.hear(&answered);
        to_accepting.push(said);
        to_dialling.push(answered);
    }
    assert_eq!((dialling.delivered.len(), accepting.delivered.len()), (1, 1));
    (to_accepting, to_dialling)
}

fn subject_in_some_state(seed: &Seed, chance: &mut Chance) -> Subject {
    let (mut dialling, mut accepting) = (Subject::dialling(seed), Subject::accepting(seed));
    let steps = chance.index(6);
    for step in 0..steps {
        match step {
            0 => accepting.hear(&dialling.say()),
            1 => dialling.hear(&accepting.say()),
            2 => accepting.hear(&dialling.say()),
            3 => dialling.hear(&accepting.say()),
            _ => converse(&mut dialling, &mut accepting),
        }
    }
    if chance.happens(Odds::percent(50)) { dialling } else { accepting }
}

/// Half of all garbage pretends to be a frame of the length that it has, so that it gets past the first check.
fn make_length_plausible(bytes: &mut [u8], chance: &mut Chance) {
    if bytes.len() < 14 || chance.happens(Odds::percent(50)) {
        return;
    }
    let length = (bytes.len() - 4) as u32;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes[4] = [1, 2, 3, 15, 0][chance.index(5)];
    bytes[5] = [1, 1, 1, 0x81, 0x11, 2][chance.index(6)];
}

fn mutate(pieces: &mut Vec<Vec<u8>>, chance: &mut Chance) {
    let at = chance.index(pieces.len());
    let len = pieces[at].len();
    match chance.index(7) {
        0 if len > 0 => pieces[at][chance.index(len)] ^= 1 << chance.index(8),
        1 => pieces[at].truncate(chance.index(len + 1)),
        2 => {
            let garbage = chance.bytes(8);
            let place = chance.index(len + 1);
            pieces[at].splice(place..place, garbage);
        }
        3 => pieces.swap(at, 0),
        4 => {
            let again = pieces[at].clone();
            pieces.push(again);
        }
        5 => {
            pieces.remove(at);
            pieces.push(Vec::new());
        }
        _ if len > 1 => {
            let (start, end) = (chance.index(len), chance.index(len));
            pieces[at].drain(start.min(end)..start.max(end));
        }
        _ => {}
    }
}

fn hear_in_pieces(subject: &mut Subject, mut bytes: &[u8], chance: &mut Chance) {
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(1 + chance.index(bytes.len()));
        subject.hear(piece);
        bytes = rest;
    }
}

/// Nothing false was delivered, what is unread is bounded, and left alone the session ends.
fn assert_harmless(subject: &mut Subject) {
    assert!(subject.delivered.len() <= 1);
    assert!(subject.delivered.iter().all(|delivered| delivered.payload == SENT));
    for _ in 0..20 {
        subject.wait(Duration::from_secs(1));
        subject.say();
    }
    assert!(subject.link.session.is_closed(), "a session outlived a peer that says nothing");
    assert!(subject.link.closed.is_some());
    assert_eq!(subject.outbox.in_flight(), 0);
}
