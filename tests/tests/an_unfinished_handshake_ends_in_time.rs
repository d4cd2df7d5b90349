//! A peer that connects and says nothing, or too little, or too slowly, holds a session for the handshake's time at most.

use hyphal_core::{time::Instant, wire::reason::Reason};
use hyphal_lab::{
    network::Side,
    pair::{Pair, Setup},
    seed::Seed,
};

const TIMEOUT: Instant = Instant::from_micros(5_000_000);

#[test]
fn a_peer_that_says_nothing() {
    for side in Side::BOTH {
        let mut pair = Pair::new(&Seed::of(1));
        pair.network.let_bytes_vanish(pair.stream, side.other());

        assert!(pair.drive_until_closed());

        assert_eq!(pair.end(side).link.closed_for(), Some(Reason::HandshakeTimeout));
        assert_eq!(pair.end(side).link.closed.map(|(at, _)| at), Some(TIMEOUT));
    }
}

#[test]
fn a_peer_that_says_one_byte_a_second() {
    let seed = Seed::of(2);
    let mut setup = Setup::new(&seed);
    setup.conditions.bandwidth = Some(1);
    let mut pair = Pair::with(&seed, setup);

    assert!(pair.drive_until_closed());

    for side in Side::BOTH {
        assert_eq!(pair.end(side).link.closed_for(), Some(Reason::HandshakeTimeout));
        assert_eq!(pair.end(side).link.closed.map(|(at, _)| at), Some(TIMEOUT));
    }
}

#[test]
fn a_peer_that_falls_silent_at_any_byte_of_the_handshake() {
    // The initiator's two frames, all but their last byte.
    for offset in 0..46 + 117 {
        let mut pair = Pair::new(&Seed::of(3));
        pair.network.vanish_after(pair.stream, Side::Opener, offset);

        assert!(pair.drive_until_closed());

        assert_eq!(pair.target().link.closed_for(), Some(Reason::HandshakeTimeout), "after byte {offset}");
        assert_eq!(pair.target().link.up, None);
        assert_eq!(pair.opener().link.up, None);
    }
}
