//! Above the handshake nobody sees which key a node came with: its own and a delegated one have the same id, over streams and
//! datagrams, at either end, in either handshake, and a key can be changed for another one.

use hyphal_core::{
    identity::Identity,
    ids::{Hint, NodeId},
    node::{self, PeerConfig, Trust},
    session::{Expect, Resumption},
    time::{Duration, UnixTime},
    wire::{frame::Kind, reason::Reason},
};
use hyphal_lab::{
    drive::Drive,
    link::header,
    net::Net,
    network::{Side, StreamConditions},
    packets::{PacketPair, PacketSetup},
    pair::{EndSetup, Pair, Setup, acquaintance},
    seed::Seed,
};

const HINT: Hint = Hint::from_bytes([7; Hint::LEN]);
/// The wall clock of the lab.
const NOW: u64 = 1_800_000_000_000_000;
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn at_either_end_and_at_both_over_a_stream() {
    for who in [[true, false], [false, true], [true, true]] {
        let seed = Seed::of(1);
        let mut setup = Setup::new(&seed);
        let ids = replace_keys(&mut setup.ends, who, HOUR);
        setup.expect = Expect::Id(ids[1]);

        let mut pair = Pair::up_with(&seed, setup);

        assert_eq!(pair.opener().link.up.map(|(_, id)| id), Some(ids[1]));
        assert_eq!(pair.target().link.up.map(|(_, id)| id), Some(ids[0]));
        let peer = *pair.target().link.session.peer().expect("it is up");
        assert_eq!(peer.delegated_until().is_some(), who[0]);
        pair.send(Side::Opener, header(1), b"as ever").expect("there is room");
        pair.drive_for(Duration::from_secs(1));
        assert_eq!(pair.target().payloads(), [b"as ever"]);
    }
}

#[test]
fn at_either_end_and_at_both_over_datagrams() {
    for who in [[true, false], [false, true], [true, true]] {
        let seed = Seed::of(2);
        let mut setup = PacketSetup::new(&seed);
        let ids = replace_keys(&mut setup.ends, who, HOUR);
        setup.expect = Expect::Id(ids[1]);
        let mut pair = PacketPair::with(&seed, setup);

        pair.drive_until_up();

        assert_eq!(pair.opener().up.map(|(_, id)| id), Some(ids[1]));
        assert_eq!(pair.target().up.map(|(_, id)| id), Some(ids[0]));
        pair.send(Side::Target, header(1), b"as ever").expect("there is room");
        pair.drive_for(Duration::from_secs(1));
        assert_eq!(pair.opener().payloads(), [b"as ever"]);
    }
}

#[test]
fn in_a_reconnect_too_because_the_key_is_kept_with_the_hint() {
    for who in [[false, false], [true, false], [false, true], [true, true]] {
        let seed = Seed::of(3);
        let mut setup = Setup::new(&seed);
        let ids = replace_keys(&mut setup.ends, who, HOUR);
        expect_again(&mut setup);

        let mut pair = Pair::up_with(&seed, setup);

        assert_eq!(pair.target().link.up.map(|(_, id)| id), Some(ids[0]));
        let hints = pair.opener().link.session.hints().expect("it is up");
        let peer = *pair.opener().link.session.peer().expect("it is up");
        assert_eq!((&hints.key, peer.id()), (peer.key(), ids[1]));
        assert_eq!(pair.network.stream_written(pair.stream, Side::Opener)[4], Kind::Kk1 as u8);
        assert_eq!(pair.network.stream_written(pair.stream, Side::Target)[4], Kind::Kk2 as u8, "no refusal");
    }
}

#[test]
fn in_a_reconnect_over_datagrams() {
    let seed = Seed::of(4);
    let mut setup = PacketSetup::new(&seed);
    let ids = replace_keys(&mut setup.ends, [true, true], HOUR);
    let [opener, target] = [0, 1].map(|end: usize| acquaintance(&setup.ends[end].identity));
    setup.ends[1].given = [(HINT, opener)].into();
    setup.expect = Expect::Resume(Resumption { peer: target, hint: HINT });
    let mut pair = PacketPair::with(&seed, setup);

    pair.drive_until_up();

    assert_eq!(pair.target().up.map(|(_, id)| id), Some(ids[0]));
    assert!(pair.now().as_micros() <= 4_000, "one round trip: {:?}", pair.now());
}

#[test]
fn until_the_delegation_ends_and_the_session_with_it() {
    for who in [[true, false], [false, true], [true, true]] {
        let seed = Seed::of(5);
        let mut setup = Setup::new(&seed);
        replace_keys(&mut setup.ends, who, Duration::from_secs(30));

        let mut pair = Pair::up_with(&seed, setup);
        pair.drive_for(Duration::from_secs(29));
        assert!(pair.opener().link.session.is_up() && pair.target().link.session.is_up());
        assert!(pair.drive_until_closed());

        assert!(pair.now().as_micros() <= 31_000_000, "{:?}", pair.now());
        for side in Side::BOTH {
            assert_eq!(pair.end(side).link.closed_for(), Some(Reason::DelegationExpired));
        }
    }
}

#[test]
fn until_the_delegation_ends_over_datagrams() {
    let seed = Seed::of(6);
    let mut setup = PacketSetup::new(&seed);
    replace_keys(&mut setup.ends, [false, true], Duration::from_secs(30));
    let mut pair = PacketPair::with(&seed, setup);
    pair.drive_until_up();

    pair.drive_for(Duration::from_secs(29));
    assert!(pair.opener().closed.is_none() && pair.target().closed.is_none());
    pair.drive_for(Duration::from_secs(2));

    let closed = [pair.opener().closed, pair.target().closed].map(|closed| closed.map(|(_, why)| why.reason));
    assert_eq!(closed, [Some(Reason::DelegationExpired); 2]);
}

#[test]
fn with_a_peer_that_noticed_nothing_of_a_new_key_and_whose_hint_is_of_no_use_any_more() {
    for changed in [0, 1] {
        let seed = Seed::of(7);
        let mut setup = Setup::new(&seed);
        let owner = setup.ends[changed].identity.clone();
        replace_keys(&mut setup.ends, [true, true], HOUR);
        expect_again(&mut setup);
        setup.ends[changed].identity = delegated(&owner, 3, HOUR);
        let mut pair = Pair::with(&seed, setup);

        assert!(pair.drive_until_closed());

        assert_eq!(pair.target().link.closed_for(), Some(Reason::Forged));
        assert_eq!((pair.opener().link.up, pair.target().link.up), (None, None));
    }
}

#[test]
fn in_the_place_of_the_key_before_with_one_session_for_the_pair() {
    let seed = Seed::of(9);
    let mut net = Net::new(&seed, StreamConditions::default());
    let open = node::Config { trust: Trust::Open, ..node::Config::default() };
    let server = net.settle_node(open);
    let original = net.settle_node(node::Config::default());
    let mut chance = seed.generator("delegated");
    // The clock of these nodes stands at the beginning of time.
    let (from, until) = (UnixTime::default(), UnixTime::from_micros(NOW));
    let delegated = [0, 1]
        .map(|_| net.identity(original).delegate(from, until, chance.generator()).expect("it is an own key"));
    let id = net.id(original);
    net.introduce(original, server, PeerConfig::default());
    net.drive_for(Duration::from_secs(1));
    net.kill(original);

    for identity in delegated {
        let renewed = net.settle_identity(identity, node::Config::default());
        net.introduce(renewed, server, PeerConfig::default());
        net.drive_for(Duration::from_secs(1));

        let boot_id = net.process(renewed).boot_id;
        let status = net.process(server).node.peer(&id).expect("it is the same node");
        assert_eq!(status.session.map(|session| session.boot_id), Some(boot_id));
        assert_eq!(net.process(server).sessions_up(), 1);
        assert_eq!(net.process(server).node.peers().count(), 1);
        net.unplug(renewed);
    }
}

/// Gives new keys to some ends, which stand for the nodes that these are; says who both are.
fn replace_keys(ends: &mut [EndSetup; 2], who: [bool; 2], span: Duration) -> [NodeId; 2] {
    for (number, (end, _)) in (1..).zip(ends.iter_mut().zip(who)).filter(|(_, (_, is_replaced))| *is_replaced)
    {
        end.identity = delegated(&end.identity, number, span);
    }
    [ends[0].identity.id(), ends[1].identity.id()]
}

/// The key `number`, which stands for the node from a second ago on.
fn delegated(own: &Identity, number: u64, span: Duration) -> Identity {
    let micros = u64::try_from(span.as_micros()).expect("a span of this century");
    let (from, until) = (UnixTime::from_micros(NOW - 1_000_000), UnixTime::from_micros(NOW + micros));
    let mut chance = Seed::of(number).generator("delegated");
    own.delegate(from, until, chance.generator()).expect("it is an own key")
}

/// The end that dials has a hint of the other, who knows it.
fn expect_again(setup: &mut Setup) {
    let [opener, target] = [0, 1].map(|end: usize| acquaintance(&setup.ends[end].identity));
    setup.expect = Expect::Resume(Resumption { peer: target, hint: HINT });
    setup.target().given.insert(HINT, opener);
}
