//! Silence of four heartbeats of the peer ends a session, whichever direction of the link died, and no sooner.

use hyphal_core::{time::Duration, wire::reason::Reason};
use hyphal_lab::{drive::Drive, link::header, network::Side, pair::Pair, seed::Seed};

#[test]
fn a_half_open_link_ends_for_the_side_that_hears_nothing() {
    for side in Side::BOTH {
        let mut pair = Pair::up(&Seed::of(1));
        pair.drive_for(Duration::from_secs(10));
        let died_at = pair.now();
        pair.network.let_bytes_vanish(pair.stream, side.other());

        assert!(pair.drive_until_closed());

        let (at, closed) = pair.end(side).link.closed.expect("it is closed");
        let silence = at.since(died_at);
        assert_eq!(closed.reason, Reason::Silent);
        // The last sign of life came up to one heartbeat before the link died, or was 1 ms from arriving.
        let expected = Duration::from_secs(3)..=Duration::from_millis(4001);
        assert!(expected.contains(&silence), "after {silence:?}");
        assert_eq!(pair.end(side.other()).link.closed_by_peer_for(), Some(Reason::Silent));
    }
}

#[test]
fn a_link_dead_both_ways_ends_for_both_and_leaves_what_was_sent_unconfirmed() {
    let mut pair = Pair::up(&Seed::of(2));
    for side in Side::BOTH {
        pair.network.let_bytes_vanish(pair.stream, side);
        pair.send(side, header(1), b"into the void").expect("there is room");
    }

    assert!(pair.drive_until_closed());

    for side in Side::BOTH {
        let end = pair.end(side);
        assert_eq!(end.link.closed_for(), Some(Reason::Silent));
        assert_eq!(end.outbox.counters().unconfirmed, 1);
        assert_eq!(end.outbox.in_flight(), 0);
    }
}
