//! A message whose time to live has passed is dropped wherever it is: in the queue, or on the way.

use hyphal_core::{outbox::Header, time::Duration, wire::reason::Reason};
use hyphal_lab::{drive::Drive, link::header, network::Side, pair::Pair, seed::Seed};

#[test]
fn in_the_queue_it_is_dropped_at_its_time_and_counted() {
    let mut pair = Pair::new(&Seed::of(1));
    pair.network.pause_reading(pair.stream, Side::Target);
    pair.send(Side::Opener, Header { ttl: 1, ..header(1) }, b"short").expect("there is room");
    pair.send(Side::Opener, Header { ttl: 0, ..header(2) }, b"for ever").expect("there is room");

    pair.drive_for(Duration::from_millis(999));
    let before = pair.opener().outbox.counters().expired;
    pair.drive_for(Duration::from_millis(1));
    let after = pair.opener().outbox.counters().expired;
    pair.network.resume_reading(pair.stream, Side::Target);
    pair.drive_until_up();
    pair.drive_for(Duration::from_millis(10));

    assert_eq!((before, after), (0, 1));
    assert_eq!(pair.target().payloads(), [b"for ever"]);
}

#[test]
fn on_the_way_it_is_dropped_by_the_receiver_without_any_synchronised_clock() {
    let mut pair = Pair::up(&Seed::of(2));
    pair.drive_for(Duration::from_secs(1));
    pair.network.pause_reading(pair.stream, Side::Target);
    pair.send(Side::Opener, Header { ttl: 1, ..header(1) }, b"short").expect("there is room");
    pair.send(Side::Opener, Header { ttl: 9, ..header(2) }, b"long").expect("there is room");

    pair.drive_for(Duration::from_secs(2));
    pair.network.resume_reading(pair.stream, Side::Target);
    pair.drive_for(Duration::from_millis(100));

    assert_eq!(pair.target().payloads(), [b"long"]);
    let reasons: Vec<Reason> = pair.target().filtered.iter().map(|(_, reason)| *reason).collect();
    assert_eq!(reasons, [Reason::Expired]);
    let age = pair.target().delivered[0].age;
    assert!(age.abs_diff(Duration::from_secs(2)) < Duration::from_millis(40), "{age:?}");
}

#[test]
fn the_age_counts_the_wait_in_the_queue() {
    let mut pair = Pair::new(&Seed::of(3));
    pair.network.pause_reading(pair.stream, Side::Target);
    pair.send(Side::Opener, header(1), b"patient").expect("there is room");
    pair.drive_for(Duration::from_secs(3));

    pair.network.resume_reading(pair.stream, Side::Target);
    pair.drive_for(Duration::from_secs(1));

    let age = pair.target().delivered[0].age;
    assert!(age.abs_diff(Duration::from_secs(3)) < Duration::from_millis(40), "{age:?}");
}
