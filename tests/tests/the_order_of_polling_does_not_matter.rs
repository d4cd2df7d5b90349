//! The sans-IO contract: polls may come in any order and number, deadlines lie ahead once they were served, and what fails
//! changes nothing.

use hyphal_core::{
    ids::Priority,
    outbox::{Counters, Header, Payload, SendError, SharedStorage},
    session::MIN_TRANSMIT,
    time::{Duration, Instant},
    wire::reason::Reason,
};
use hyphal_lab::{
    drive::Drive,
    link::header,
    network::Side,
    pair::{Order, Pair, Setup},
    seed::Seed,
    subject::{Subject, converse},
};

/// What a run leaves behind, times and piggybacked acknowledgements aside.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    delivered: [Vec<(Priority, u64, Vec<u8>)>; 2],
    counters: [Counters; 2],
    reasons: [Option<(Reason, bool)>; 2],
    are_idle: bool,
}

#[test]
fn any_order_delivers_the_same_and_ends_in_the_same_state() {
    let expected = outcome(Order::Fixed);
    assert_eq!(expected.delivered.each_ref().map(Vec::len), [120, 120]);

    for seed in Seed::series(60) {
        assert_eq!(outcome(Order::shuffled(&seed)), expected);
    }
}

/// One fixed conversation; only the order of polling differs.
fn outcome(order: Order) -> Outcome {
    let seed = Seed::of(1);
    let mut chance = seed.generator("messages");
    let mut setup = Setup::new(&seed);
    setup.order = order;
    let mut pair = Pair::up_with(&seed, setup);
    for sequence in 0..120 {
        for side in Side::BOTH {
            let priority = Priority::ALL[chance.index(4)];
            let len = chance.index(300);
            let payload = chance.bytes(len);
            pair.send(side, Header { priority, ..header(sequence) }, &payload).expect("there is room");
        }
        pair.drive_for(Duration::from_millis(2));
    }
    pair.drive_for(Duration::from_secs(5));
    let are_idle = Side::BOTH.iter().all(|side| pair.end(*side).outbox.is_idle());
    pair.close(Side::Target, Reason::Shutdown);
    assert!(pair.drive_until_closed());
    Outcome {
        delivered: Side::BOTH.map(|side| {
            let delivered = &pair.end(side).delivered;
            delivered.iter().map(|one| (one.priority, one.id.sequence, one.payload.clone())).collect()
        }),
        counters: Side::BOTH.map(|side| pair.end(side).outbox.counters()),
        reasons: Side::BOTH
            .map(|side| pair.end(side).link.closed.map(|(_, closed)| (closed.reason, closed.by_peer))),
        are_idle,
    }
}

#[test]
fn polling_more_often_than_needed_changes_nothing() {
    let seed = Seed::of(2);
    let mut subjects = [Subject::dialling(&seed), Subject::accepting(&seed)];
    let mut impatient = [Subject::dialling(&seed), Subject::accepting(&seed)];

    for _ in 0..8 {
        let said = subjects.each_mut().map(Subject::say);
        let said_impatiently = impatient.each_mut().map(|subject| {
            for _ in 0..3 {
                subject.wait(Duration::ZERO);
                subject.hear(&[]);
                assert_eq!(subject.link.session.poll_event(), None);
            }
            let said = subject.say();
            assert!(subject.say().is_empty());
            said
        });
        assert_eq!(said, said_impatiently);
        for pair in [&mut subjects, &mut impatient] {
            let [one, other] = pair;
            one.hear(&said[1]);
            other.hear(&said[0]);
        }
    }
    assert!(subjects.iter().chain(&impatient).all(|subject| subject.link.session.is_up()));
}

#[test]
fn a_deadline_that_was_served_lies_ahead() {
    for seed in Seed::series(100) {
        let mut chance = seed.generator("steps");
        let (mut one, mut other) = (Subject::dialling(&seed), Subject::accepting(&seed));
        for step in 0..60 {
            match chance.index(5) {
                0 => one.send(header(step), b"one"),
                1 => other.send(header(step), b"other"),
                2 => converse(&mut one, &mut other),
                _ => {}
            }
            let subject =
                if chance.happens(hyphal_lab::seed::Odds::percent(50)) { &mut one } else { &mut other };
            let due_at = subject.link.session.poll_timeout(&subject.outbox);
            let span = match due_at {
                Some(at) if chance.happens(hyphal_lab::seed::Odds::percent(50)) => at.since(subject.now()),
                _ => chance.span(Duration::from_millis(400)),
            };
            subject.wait(span);
            // What waits to be written is due now; whoever writes it has served the deadline.
            let said = subject.say();
            let now = subject.now();
            let next = subject.link.session.poll_timeout(&subject.outbox);
            assert!(next.is_none_or(|at| at > now), "{next:?} is not after {now:?}");
            let hearer = if std::ptr::eq(subject, &one) { &mut other } else { &mut one };
            hearer.hear(&said);
        }
    }
}

#[test]
fn a_buffer_that_is_too_short_takes_nothing() {
    let seed = Seed::of(3);
    let (mut one, mut other) = (Subject::dialling(&seed), Subject::accepting(&seed));
    let now = one.now();
    let written = one.link.session.poll_transmit(now, &mut one.outbox, &mut [0; MIN_TRANSMIT - 1]);

    assert_eq!(written, None);
    converse(&mut one, &mut other);
    assert!(one.link.session.is_up());
}

#[test]
fn a_refused_push_changes_nothing() {
    let mut outbox = hyphal_core::outbox::Outbox::new(SharedStorage::new(2, 10));
    let now = Instant::ZERO;
    outbox.push(now, header(1), Payload::Copied(b"12345")).expect("there is room");
    let before = format!("{outbox:?}");

    let too_long = outbox.push(now, header(2), Payload::Copied(b"12345678901"));
    let too_much = outbox.push(now, header(2), Payload::Copied(b"123456"));

    assert_eq!(too_long, Err(SendError::TooLong { max: 10 }));
    assert_eq!(too_much, Err(SendError::QueueFull));
    assert_eq!(format!("{outbox:?}"), before);
}
