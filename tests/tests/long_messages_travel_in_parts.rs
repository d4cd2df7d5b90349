//! A message longer than a record arrives whole, in order, and lets urgent ones pass between its parts.

use hyphal_core::{
    ids::Priority,
    outbox::{Header, SendError},
    time::Duration,
    wire::message::{FRAGMENT_LEN, Part},
};
use hyphal_lab::{
    drive::Drive,
    link::header,
    network::Side,
    pair::{Pair, Setup},
    seed::Seed,
};

#[test]
fn messages_of_any_length_arrive_whole_and_in_order_and_are_confirmed() {
    let lengths = [0, 16_000, 16_300, 16_384, 16_385, 20_000, 32_768, 300_000, 1];
    for max_record in [512, 1200, 16_384, u16::MAX] {
        let mut pair = pair(max_record);
        let payloads: Vec<Vec<u8>> = lengths.map(text).to_vec();
        for (sequence, payload) in (0..).zip(&payloads) {
            pair.send(Side::Opener, header(sequence), payload).expect("there is room");
        }

        pair.drive_for(Duration::from_secs(60));

        let arrived = pair.target().payloads();
        assert!(
            arrived == payloads,
            "records of {max_record}: {} of {} arrived",
            arrived.len(),
            payloads.len()
        );
        assert_eq!(pair.opener().outbox.counters().confirmed, 9);
        assert!(pair.target().parts.iter().all(|part| part.payload.len() <= FRAGMENT_LEN));
    }
}

#[test]
fn a_message_that_fits_one_record_is_not_cut() {
    let mut pair = pair(u16::MAX);
    pair.send(Side::Opener, header(0), &text(FRAGMENT_LEN)).expect("there is room");

    pair.drive_for(Duration::from_secs(1));

    assert_eq!(pair.target().payloads().len(), 1);
    assert!(pair.target().parts.is_empty());
}

#[test]
fn an_urgent_message_waits_for_one_part_at_most() {
    let mut pair = pair(u16::MAX);
    pair.send(Side::Opener, of(Priority::Low, 0), &text(200_000)).expect("there is room");
    let mut bytes = vec![0; 1 << 16];
    let now = pair.now();
    let opener = pair.opener();
    let len = opener.link.session.poll_transmit(now, &mut opener.outbox, &mut bytes).expect("a part");
    assert!(len < FRAGMENT_LEN + 100);
    pair.inject(Side::Target, &bytes[..len]);

    pair.send(Side::Opener, of(Priority::Critical, 1), b"now").expect("there is room");
    let opener = pair.opener();
    let len = opener.link.session.poll_transmit(now, &mut opener.outbox, &mut bytes).expect("a record");
    pair.inject(Side::Target, &bytes[..len]);
    pair.settle();

    assert_eq!(pair.target().payloads()[0], b"now");
    assert_eq!(pair.target().parts.len(), 1, "one part was under way already");
    pair.drive_for(Duration::from_secs(10));
    assert_eq!(pair.target().payloads()[1], text(200_000));
}

#[test]
fn messages_of_all_priorities_are_unfinished_at_a_time() {
    let mut pair = pair(u16::MAX);
    let mut bytes = vec![0; 1 << 16];
    for (sequence, priority) in (0..).zip(Priority::ALL) {
        pair.send(Side::Opener, of(priority, sequence), &text(100_000)).expect("there is room");
        let now = pair.now();
        let opener = pair.opener();
        let len = opener.link.session.poll_transmit(now, &mut opener.outbox, &mut bytes).expect("a part");
        pair.inject(Side::Target, &bytes[..len]);
    }

    pair.drive_for(Duration::from_secs(10));

    assert_eq!(pair.target().payloads().len(), 4);
    let offsets: Vec<_> = pair.target().parts[..4].iter().map(|part| part.part).collect();
    assert_eq!(offsets, [Some(Part { total: 100_000, offset: 0 }); 4]);
}

#[test]
fn the_sender_learns_before_the_first_byte_that_a_message_is_too_long() {
    let mut pair = pair(u16::MAX);

    let refused = pair.send(Side::Opener, header(0), &text((1 << 19) + 1));

    assert_eq!(refused, Err(SendError::TooLong { max: 1 << 19 }));
    assert_eq!(pair.opener().outbox.counters().pushed, 0);
}

#[test]
fn a_cancelled_message_is_abandoned_and_the_session_goes_on() {
    let mut pair = pair(u16::MAX);
    let ticket = pair.send(Side::Opener, header(0), &text(200_000)).expect("there is room");
    let mut bytes = vec![0; 1 << 16];
    let now = pair.now();
    let opener = pair.opener();
    let len = opener.link.session.poll_transmit(now, &mut opener.outbox, &mut bytes).expect("a part");
    pair.inject(Side::Target, &bytes[..len]);

    assert!(pair.opener().outbox.cancel(ticket));
    pair.send(Side::Opener, header(1), &text(20_000)).expect("there is room");
    pair.drive_for(Duration::from_secs(5));

    assert_eq!(pair.target().payloads(), [text(20_000)]);
    let offsets: Vec<_> =
        pair.target().parts.iter().filter_map(|part| part.part).map(|part| part.offset).collect();
    assert_eq!(offsets, [0, 200_000, 0, 16_384]);
    assert!(pair.opener().link.session.is_up());
}

fn of(priority: Priority, sequence: u64) -> Header {
    Header { priority, ..header(sequence) }
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

/// A pair whose ends take records of `max_record` and messages of 512 KiB.
fn pair(max_record: u16) -> Pair {
    let seed = Seed::of(u64::from(max_record));
    let mut setup = Setup::new(&seed);
    for end in &mut setup.ends {
        end.config.max_message = 1 << 19;
        end.config.max_record = max_record;
    }
    setup.buffer = 1 << 16;
    setup.conditions.window = 1 << 18;
    let mut pair = Pair::up_with(&seed, setup);
    // What was said at once is heard.
    pair.drive_for(Duration::from_millis(100));
    pair
}
