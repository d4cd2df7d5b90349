//! Over a bad pipe every message arrives once, in bounded time, and the sender knows it.

use std::collections::BTreeSet;

use hyphal_core::{ids::Priority, outbox::Header, time::Duration};
use hyphal_lab::{
    drive::Drive,
    link::reliable,
    network::{PacketConditions, Side},
    packets::PacketPair,
    seed::{Odds, Seed},
};

const BAD: PacketConditions = PacketConditions {
    delay: Duration::from_millis(10),
    jitter: Duration::from_millis(4),
    loss: Odds::percent(10),
    reorder: Odds::percent(10),
    held_back: Duration::from_millis(15),
    duplicate: Odds::percent(10),
    bandwidth: None,
    largest: 1200,
};

#[test]
fn a_good_pipe_carries_messages_both_ways() {
    let seed = Seed::of(1);
    let mut pair = PacketPair::up(&seed, PacketConditions::default());

    pair.send(Side::Opener, reliable(1), b"to the target").unwrap();
    pair.send(Side::Target, reliable(1), b"to the opener").unwrap();
    pair.drive_for(Duration::from_millis(100));

    assert_eq!(pair.target().payloads(), [b"to the target"]);
    assert_eq!(pair.opener().payloads(), [b"to the opener"]);
    assert_eq!(pair.opener().outbox.counters().confirmed, 1);
    assert_eq!(pair.target().outbox.counters().confirmed, 1);
}

#[test]
fn a_bad_pipe_delivers_every_small_message_once() {
    for seed in Seed::series(12) {
        let mut pair = PacketPair::up(&seed, BAD);
        let mut chance = seed.generator("messages");
        let mut expected = BTreeSet::new();

        for sequence in 0..600_u64 {
            let class = Priority::ALL[chance.index(4)];
            let header = Header { priority: class, ..reliable(sequence) };
            let mut payload = sequence.to_be_bytes().to_vec();
            payload.resize(8 + chance.index(300), 7);
            pair.send(Side::Opener, header, &payload).unwrap();
            expected.insert(payload);
        }
        let is_done = pair.drive_until(Duration::from_secs(20), |pair| {
            let counters = pair.opener().outbox.counters();
            counters.confirmed == counters.pushed
        });

        let target = pair.target();
        let delivered: Vec<_> = target.delivered.iter().map(|delivered| delivered.payload.clone()).collect();
        assert_eq!(
            delivered.len(),
            expected.len(),
            "seed {:?}: filtered {:?}",
            seed.number(),
            target.filtered
        );
        assert_eq!(delivered.into_iter().collect::<BTreeSet<_>>(), expected);
        assert!(is_done, "{:?}", pair.opener().outbox.counters());
        assert!(pair.opener().outbox.is_idle());
        assert_eq!(pair.opener().outbox.ledger().confirmed().len(), 600);
    }
}

#[test]
fn a_bad_pipe_delivers_long_messages_in_parts_and_short_ones_between_them() {
    for seed in Seed::series(8) {
        let mut pair = PacketPair::up(&seed, BAD);
        let long: Vec<_> = (0..4_u8).map(|i| vec![i; 15_000 + usize::from(i)]).collect();

        for (i, payload) in long.iter().enumerate() {
            let class = if i % 2 == 0 { Priority::Low } else { Priority::Medium };
            pair.send(Side::Target, Header { priority: class, ..reliable(i as u64) }, payload).unwrap();
        }
        pair.send(Side::Target, Header { priority: Priority::Critical, ..reliable(9) }, b"now").unwrap();
        let is_done = pair.drive_until(Duration::from_secs(20), |pair| pair.target().outbox.is_idle());

        assert!(is_done, "{:?}", pair.target().outbox.counters());
        let first_whole = pair.opener().delivered.iter().position(|delivered| delivered.payload == b"now");
        assert!(
            first_whole < Some(4),
            "what is urgent does not wait for the long ones, even if it is lost once"
        );
        let delivered: BTreeSet<_> = pair.opener().payloads().into_iter().map(<[u8]>::to_vec).collect();
        assert!(long.iter().all(|payload| delivered.contains(payload)));
        assert_eq!(pair.opener().delivered.len(), 5);
        assert_eq!(pair.target().outbox.counters().confirmed, 5);
    }
}

#[test]
fn a_payload_of_1100_bytes_travels_whole_both_ways_even_with_gaps_to_tell_of() {
    for conditions in [PacketConditions::default(), BAD] {
        let mut pair = PacketPair::up(&Seed::of(3), conditions);
        let before = [pair.opener().sent.len(), pair.target().sent.len()];

        for sequence in 0..200 {
            for side in Side::BOTH {
                pair.send(side, reliable(sequence), &[sequence as u8; 1100]).unwrap();
            }
        }
        let is_done = pair.drive_until(Duration::from_secs(20), |pair| {
            pair.opener().outbox.is_idle() && pair.target().outbox.is_idle()
        });

        assert!(is_done, "{:?}", pair.opener().outbox.counters());
        for (side, before) in Side::BOTH.into_iter().zip(before) {
            let end = pair.end(side);
            assert_eq!(end.delivered.len(), 200);
            let halves = end.sent[before..].iter().filter(|(_, bytes)| (200..1100).contains(&bytes.len()));
            assert_eq!(halves.count(), 0, "nothing is cut");
        }
    }
}

#[test]
fn messages_in_parts_follow_each_other_at_the_pace_of_the_path_and_not_of_timers() {
    let mut pair = PacketPair::up(&Seed::of(4), PacketConditions::default());
    let begun_at = pair.now();

    for sequence in 0..40 {
        pair.send(Side::Opener, reliable(sequence), &[sequence as u8; 15_000]).unwrap();
    }
    let is_done = pair.drive_until(Duration::from_secs(20), |pair| pair.opener().outbox.is_idle());

    assert!(is_done, "{:?}", pair.opener().outbox.counters());
    assert_eq!(pair.target().delivered.len(), 40);
    // A round trip takes 2 ms of virtual time, and the first messages wait for the window to grow.
    let span = pair.now().since(begun_at);
    assert!(span < Duration::from_millis(40 * 5), "{span:?}");
}

#[test]
fn a_session_comes_up_over_a_bad_pipe_in_most_attempts_and_ends_in_time_in_the_others() {
    let mut up = 0;
    for seed in Seed::series(40) {
        let mut pair = PacketPair::with(
            &seed,
            hyphal_lab::packets::PacketSetup {
                conditions: BAD,
                ..hyphal_lab::packets::PacketSetup::new(&seed)
            },
        );

        let is_up = pair.drive_until(Duration::from_secs(6), |pair| {
            pair.opener().up.is_some() && pair.target().up.is_some()
        });

        up += usize::from(is_up);
        assert!(is_up || pair.opener().closed.is_some(), "seed {}", seed.number());
    }
    assert!(up >= 36 || std::env::var_os("HYPHAL_LAB_SEED").is_some(), "{up} of 40");
}
