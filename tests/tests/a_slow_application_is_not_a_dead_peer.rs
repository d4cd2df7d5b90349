//! An end whose application does not come back holds no more than its window, is not taken for dead, and misses nothing.

use hyphal_core::{ids::Priority, outbox::Header, time::Duration};
use hyphal_lab::{
    drive::Drive,
    link::header,
    network::Side,
    pair::{Pair, Setup},
    seed::Seed,
};

/// What the slow end holds at most, in bytes of records.
const WINDOW: u32 = 32 * 1024;

#[test]
fn a_pause_of_a_minute_holds_the_sender_back_and_loses_nothing() {
    let mut pair = slow_pair();
    for sequence in 0..100 {
        pair.send(Side::Opener, header(sequence), &[0; 1000]).expect("there is room");
    }

    pair.drive_for(Duration::from_secs(50));
    let held = pair.target().delivered.len();
    let waiting = pair.opener().outbox.queued();
    pair.target().hoards = false;
    pair.consume(Side::Target);
    pair.drive_for(Duration::from_secs(1));

    assert_eq!(held + waiting, 100);
    assert!(held * 1000 <= WINDOW as usize, "{held} messages are more than the window");
    assert!(held * 1000 > WINDOW as usize / 2, "{held} messages leave the window unused");
    let sequences: Vec<u64> = pair.target().delivered.iter().map(|delivered| delivered.id.sequence).collect();
    assert_eq!(sequences, (0..100).collect::<Vec<_>>());
    assert!(pair.opener().link.session.is_up());
    assert!(pair.target().link.session.is_up());
    assert_eq!(pair.opener().outbox.counters().confirmed, 100);
}

#[test]
fn a_sender_without_credit_still_acknowledges_and_answers() {
    let mut pair = slow_pair();
    for sequence in 0..100 {
        pair.send(Side::Opener, header(sequence), &[0; 1000]).expect("there is room");
    }
    pair.drive_for(Duration::from_secs(1));

    pair.send(Side::Target, header(0), b"the other way").expect("there is room");
    pair.drive_for(Duration::from_secs(1));

    assert_eq!(pair.opener().payloads(), [b"the other way"]);
    assert_eq!(pair.target().outbox.counters().confirmed, 1);
    assert!(!pair.opener().link.round_trips.is_empty());
}

#[test]
fn a_long_message_is_held_back_in_its_midst_and_arrives_whole() {
    let mut pair = slow_pair();
    let payload: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
    let header = Header { priority: Priority::Low, ..header(1) };
    pair.send(Side::Opener, header, &payload).expect("there is room");

    let mut most = 0;
    for _ in 0..100 {
        let before: usize = pair.target().parts.iter().map(|part| part.payload.len()).sum();
        pair.drive_for(Duration::from_millis(200));
        let after: usize = pair.target().parts.iter().map(|part| part.payload.len()).sum();
        most = most.max(after - before);
        pair.consume(Side::Target);
    }

    assert!(most <= WINDOW as usize, "{most} bytes came while nothing was consumed");
    assert_eq!(pair.target().payloads(), [&payload[..]]);
}

/// A pair whose target takes messages and is never done with them.
fn slow_pair() -> Pair {
    let seed = Seed::of(1);
    let mut setup = Setup::new(&seed);
    setup.target().config.window = WINDOW;
    setup.target().config.max_message = 1 << 20;
    let mut pair = Pair::up_with(&seed, setup);
    pair.target().hoards = true;
    pair
}
