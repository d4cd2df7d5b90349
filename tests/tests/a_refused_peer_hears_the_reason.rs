//! Each rejection is typed: who refuses knows why, and so does the other end wherever the protocol allows telling it.
//!
//! A responder tells in its first record. An initiator that refuses message 2 just stops: a word more would show who it is.

use hyphal_core::{
    ids::NodeId,
    outbox::Counters,
    session::Expect,
    time::{Duration, TimeQuality, UnixTime},
    wire::{hello::NetworkTag, reason::Reason},
};
use hyphal_lab::{
    link::header,
    network::Side,
    pair::{Pair, Setup},
    seed::Seed,
};

/// Frames 1 and 3 of the initiator, and frame 2 of the responder.
const FIRST: usize = 14 + 32;
const SECOND: usize = 14 + 32 + 48 + 29 + 16;
const THIRD: usize = 14 + 48 + 39 + 16;

#[test]
fn a_peer_of_another_network() {
    refused_by_responder(Reason::Network, |setup| {
        setup.target().config.network = NetworkTag::of("elsewhere");
    });
}

#[test]
fn a_peer_that_the_policy_does_not_trust() {
    refused_by_responder(Reason::Untrusted, |setup| setup.target().verdict = Err(Reason::Untrusted));
}

#[test]
fn a_peer_beyond_the_limit() {
    refused_by_responder(Reason::Limit, |setup| setup.target().verdict = Err(Reason::Limit));
}

#[test]
fn a_peer_whose_clock_is_wrong_hears_the_right_time() {
    // The initiator tolerates more, or it would have refused first.
    let mut pair = refused_by_responder(Reason::ClockSkew, |setup| {
        setup.opener().wall.time = UnixTime::from_micros(1_700_000_000_000_000);
        setup.opener().config.max_skew = Duration::from_secs(1_000_000_000);
    });

    let detail = pair.opener().link.closed.map(|(_, closed)| closed.detail);
    assert_eq!(detail, Some(1_800_000_000_000_000));
}

#[test]
fn a_wrong_clock_that_nothing_disciplines_is_no_reason() {
    for quality in [TimeQuality::None, TimeQuality::Unsynced] {
        let seed = Seed::of(1);
        let mut setup = Setup::new(&seed);
        setup.opener().wall.time = UnixTime::from_micros(1);
        setup.opener().wall.quality = quality;

        Pair::up_with(&seed, setup);
    }
}

#[test]
fn an_initiator_refuses_another_node_than_the_expected_one() {
    refused_by_initiator(Reason::UnexpectedId, |setup| {
        setup.expect = Expect::Id(NodeId::from_bytes([7; 32]));
    });
}

#[test]
fn an_initiator_refuses_a_wrong_clock() {
    refused_by_initiator(Reason::ClockSkew, |setup| setup.target().wall.time = UnixTime::from_micros(1));
}

#[test]
fn an_initiator_refuses_its_own_id() {
    refused_by_initiator(Reason::OwnId, |setup| {
        setup.target().identity = setup.opener().identity.clone();
    });
}

#[test]
fn an_initiator_refuses_a_peer_that_its_policy_does_not_trust() {
    refused_by_initiator(Reason::Untrusted, |setup| setup.opener().verdict = Err(Reason::Untrusted));
}

/// Both ends fail for `reason`, the initiator by what the responder said; no message moved.
fn refused_by_responder(reason: Reason, change: impl FnOnce(&mut Setup)) -> Pair {
    let mut pair = refused(change);

    assert_eq!(pair.target().link.closed_for(), Some(reason));
    assert_eq!(pair.target().link.closed_by_peer_for(), None);
    assert_eq!(pair.opener().link.closed_by_peer_for(), Some(reason));
    assert_eq!(pair.network.stream_written(pair.stream, Side::Opener).len(), FIRST + THIRD);
    pair
}

/// The initiator fails for `reason` and says nothing, not even its key; the responder sees the link end.
fn refused_by_initiator(reason: Reason, change: impl FnOnce(&mut Setup)) {
    let mut pair = refused(change);

    assert_eq!(pair.opener().link.closed_for(), Some(reason));
    assert_eq!(pair.opener().link.closed_by_peer_for(), None);
    assert_eq!(pair.target().link.closed_for(), Some(Reason::LinkLost));
    assert_eq!(pair.network.stream_written(pair.stream, Side::Opener).len(), FIRST);
    assert_eq!(pair.network.stream_written(pair.stream, Side::Target).len(), SECOND);
}

fn refused(change: impl FnOnce(&mut Setup)) -> Pair {
    let seed = Seed::of(1);
    let mut setup = Setup::new(&seed);
    change(&mut setup);
    let mut pair = Pair::with(&seed, setup);
    for side in Side::BOTH {
        pair.send(side, header(1), b"secret").expect("there is room");
    }

    assert!(pair.drive_until_closed());

    for side in Side::BOTH {
        let end = pair.end(side);
        assert_eq!(end.link.up, None);
        assert!(end.delivered.is_empty());
        assert_eq!(end.outbox.counters(), Counters { pushed: 1, ..Counters::default() });
        assert_eq!(end.outbox.queued(), 1, "what was to be sent waits for another session");
    }
    pair
}
