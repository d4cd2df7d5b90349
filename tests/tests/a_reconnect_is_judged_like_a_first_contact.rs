//! A hint names an acquaintance, and an acquaintance is not a friend: policy, network, clock and limits are asked again.

use hyphal_core::{
    ids::Hint,
    node::{Config, PeerConfig},
    session::{Expect, Resumption},
    time::{Duration, UnixTime},
    wire::{frame::Kind, hello::NetworkTag, reason::Reason},
};
use hyphal_lab::{
    drive::Drive,
    link::header,
    net::Net,
    network::{Side, StreamConditions},
    pair::{Pair, Setup, acquaintance},
    seed::Seed,
};

const HINT: Hint = Hint::from_bytes([7; Hint::LEN]);
const SECOND: usize = 91;

#[test]
fn by_a_responder_who_tells_why() {
    refused_by_responder(Reason::Untrusted, |setup| setup.target().verdict = Err(Reason::Untrusted));
    refused_by_responder(Reason::Limit, |setup| setup.target().verdict = Err(Reason::Limit));
    refused_by_responder(Reason::Network, |setup| {
        setup.target().config.network = NetworkTag::of("elsewhere");
    });
    refused_by_responder(Reason::ClockSkew, |setup| {
        setup.opener().wall.time = UnixTime::from_micros(1_700_000_000_000_000);
        setup.opener().config.max_skew = Duration::from_secs(1_000_000_000);
    });
}

#[test]
fn by_an_initiator_who_says_nothing() {
    for (reason, change) in [
        (Reason::Untrusted, (|setup| setup.opener().verdict = Err(Reason::Untrusted)) as fn(&mut Setup)),
        (Reason::ClockSkew, |setup| {
            setup.target().wall.time = UnixTime::from_micros(1);
            setup.target().config.max_skew = Duration::from_secs(1 << 40);
        }),
    ] {
        let mut pair = refused(change);

        assert_eq!(
            (pair.opener().link.closed_for(), pair.opener().link.closed_by_peer_for()),
            (Some(reason), None)
        );
        assert_eq!(pair.target().link.closed_for(), Some(Reason::LinkLost));
    }
}

#[test]
fn another_node_that_somehow_knows_the_hint_cannot_answer() {
    let mut pair = refused(|setup| {
        let other = hyphal_core::identity::Identity::generate(Seed::of(77).generator("other").generator());
        setup.target().identity = other;
    });

    assert_eq!(pair.target().link.closed_for(), Some(Reason::Forged));
    assert_eq!(pair.opener().link.closed_for(), Some(Reason::LinkLost));
}

#[test]
fn another_node_cannot_use_the_hint() {
    let mut pair = refused(|setup| {
        let other = hyphal_core::identity::Identity::generate(Seed::of(77).generator("other").generator());
        setup.opener().identity = other;
    });

    assert_eq!(pair.target().link.closed_for(), Some(Reason::Forged));
}

#[test]
fn a_peer_that_was_removed_is_refused_and_its_hints_are_forgotten() {
    let mut net = Net::new(&Seed::of(2), StreamConditions::default());
    net.settle_node(Config::default());
    net.settle_node(Config::default());
    net.introduce(0, 1, PeerConfig::default());
    net.introduce(1, 0, PeerConfig { dial: false, ..PeerConfig::default() });
    net.drive_for(Duration::from_secs(20));
    let id = net.id(0);

    net.process(1).node.remove_peer(&id).expect("it is known");
    net.drive_for(Duration::from_secs(3600));

    let kinds: Vec<u8> =
        net.streams().iter().map(|stream| net.network.stream_written(*stream, Side::Opener)[4]).collect();
    assert!(kinds.len() >= 2 && kinds.iter().all(|kind| *kind == Kind::Xx1 as u8), "{kinds:?}");
    assert_eq!(net.process(1).sessions_up(), 0);
    let server = net.id(1);
    let told = net.process(0).node.peer(&server).and_then(|peer| peer.last_reason);
    assert_eq!(told, Some(Reason::Untrusted));
}

/// Both ends fail for `reason`, the initiator by what the responder said behind its second message.
fn refused_by_responder(reason: Reason, change: impl FnOnce(&mut Setup)) {
    let mut pair = refused(change);

    assert_eq!(pair.target().link.closed_for(), Some(reason));
    assert_eq!(pair.target().link.closed_by_peer_for(), None);
    assert_eq!(pair.opener().link.closed_by_peer_for(), Some(reason));
    let said = pair.network.stream_written(pair.stream, Side::Target);
    assert_eq!(
        (said.len(), usize::from(said[SECOND])),
        (SECOND + 1 + 3 + 11 + 16, 30),
        "a Reject, no Accept"
    );
}

fn refused(change: impl FnOnce(&mut Setup)) -> Pair {
    let seed = Seed::of(1);
    let mut setup = Setup::new(&seed);
    setup.expect = Expect::Resume(Resumption { peer: acquaintance(&setup.target().identity), hint: HINT });
    let opener = acquaintance(&setup.opener().identity);
    setup.target().given.insert(HINT, opener);
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
        assert_eq!(end.outbox.queued(), 1, "what was to be sent waits for another session");
    }
    pair
}
