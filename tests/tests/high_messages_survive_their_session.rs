//! A High message is delivered once and confirmed, wherever its session is cut, as long as another one follows.

use hyphal_core::{ids::Priority, outbox::Header, time::Duration};
use hyphal_lab::{drive::Drive, link::reliable, network::Side, pair::Pair, seed::Seed};

#[test]
fn what_was_not_acknowledged_waits_for_the_next_session_in_order() {
    let mut pair = Pair::up(&Seed::of(1));
    pair.target().hoards = true;
    for sequence in 0..100 {
        let header = Header { priority: Priority::High, ..reliable(sequence) };
        pair.send(Side::Opener, header, b"keep me").expect("there is room");
    }
    pair.drive_for(Duration::from_secs(1));
    assert_eq!((pair.opener().outbox.in_flight(), pair.opener().outbox.queued()), (100, 0));

    pair.network.cut_stream(pair.stream);
    pair.drive_for(Duration::from_secs(1));

    let outbox = &mut pair.opener().outbox;
    assert_eq!((outbox.in_flight(), outbox.queued(), outbox.counters().unconfirmed), (0, 100, 0));
    let now = hyphal_core::time::Instant::from_micros(2_000_000);
    for sequence in 0..100 {
        let next = outbox.next(now).expect("it waits");
        assert_eq!(next.header.sequence, sequence);
        outbox.take(usize::MAX);
    }
}
