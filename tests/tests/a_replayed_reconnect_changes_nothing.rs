//! The first message of a reconnect can be caught and sent again. Until the initiator's first record has verified the
//! responder is not up, keeps the session that it has, and tells nobody of anything.

use std::collections::BTreeMap;

use hyphal_core::{
    ids::Hint,
    node::{Config, NodeEvent, PeerConfig},
    session::{Expect, Resumption},
    time::{Duration, Instant},
    wire::{control::Control, reason::Reason},
};
use hyphal_lab::{
    drive::Drive,
    link::header,
    net::{Home, Net},
    network::{Side, StreamConditions, StreamId},
    pair::acquaintance,
    seed::Seed,
    subject::Subject,
};

const TRAVELLER: Home = 0;
const SERVER: Home = 1;
/// The first frame of KK, and the second with Accept behind it.
const FIRST: usize = 109;
const ANSWER: usize = 91 + 21;

#[test]
fn while_the_old_session_still_stands() {
    let (mut net, caught) = caught(&Seed::of(1));
    let before = session_and_events(&mut net);

    let stream = net.intrude(SERVER);
    net.network.write_stream(stream, Side::Opener, &caught);
    net.drive_for(Duration::from_secs(2));

    assert_eq!(net.network.stream_written(stream, Side::Target).len(), ANSWER);
    assert_eq!(session_and_events(&mut net), before);
    assert_eq!(net.process(SERVER).sessions_up(), 1);

    // Nor later: the attempt ends in time, and nobody hears of that either.
    net.drive_for(Duration::from_secs(4));
    net.network.write_stream(stream, Side::Opener, b"too late");
    net.drive_for(Duration::from_secs(1));
    assert_eq!(net.network.stream_written(stream, Side::Target).len(), ANSWER);
}

#[test]
fn nor_does_a_record_that_the_attacker_makes_up() {
    let (mut net, caught) = caught(&Seed::of(2));
    let before = session_and_events(&mut net);
    let stream = net.intrude(SERVER);
    net.network.write_stream(stream, Side::Opener, &caught);
    net.drive_for(Duration::from_millis(10));

    let record = [&[20][..], &[0x5A; 20]].concat();
    net.network.write_stream(stream, Side::Opener, &record);
    net.drive_for(Duration::from_secs(1));

    assert_eq!(net.network.stream_written(stream, Side::Target).len(), ANSWER, "nobody to say more to");
    assert_eq!(session_and_events(&mut net), before);
}

#[test]
fn a_second_replay_meets_an_unknown_hint() {
    let (mut net, caught) = caught(&Seed::of(3));
    let answer = |net: &mut Net| {
        let stream = net.intrude(SERVER);
        net.network.write_stream(stream, Side::Opener, &caught);
        net.drive_for(Duration::from_millis(10));
        net.network.stream_written(stream, Side::Target).to_vec()
    };

    let (first, second) = (answer(&mut net), answer(&mut net));

    assert_eq!((first.len(), second.len()), (ANSWER, 24));
    assert_eq!(second[14..16], Reason::UnknownHint.code().to_be_bytes());
}

#[test]
fn the_true_node_still_comes_back() {
    let (mut net, caught) = caught(&Seed::of(4));
    let stream = net.intrude(SERVER);
    net.network.write_stream(stream, Side::Opener, &caught);
    net.intercepts = false;

    net.send(TRAVELLER, SERVER, header(0), b"back").expect("there is room");
    net.drive_for(Duration::from_secs(20));

    assert_eq!(net.process(SERVER).delivered.len(), 1);
    assert_eq!((net.process(TRAVELLER).sessions_up(), net.process(SERVER).sessions_up()), (1, 1));
    let told = &net.process(SERVER).events;
    assert!(!told.iter().any(|(_, event)| matches!(event, NodeEvent::PeerDown { .. })), "{told:?}");
}

#[test]
fn messages_in_the_first_record_break_a_rule() {
    let (mut initiator, mut responder) = subjects();
    responder.hear(&initiator.say());
    initiator.send(header(1), b"not yet");
    initiator.hear(&responder.say());
    let records = initiator.say();

    // The initiator itself puts them behind its proof.
    let proof = 1 + usize::from(records[0]);
    assert!(records.len() > proof);
    responder.hear(&records[..proof]);
    assert!(responder.link.up.is_some() && responder.delivered.is_empty());
    responder.hear(&records[proof..]);
    assert_eq!(responder.delivered.len(), 1);
}

#[test]
fn a_close_in_the_place_of_the_proof_leaves_no_trace() {
    let (mut initiator, mut responder) = subjects();
    responder.hear(&initiator.say());
    initiator.hear(&responder.say());

    initiator.link.session.close(initiator.now(), Reason::Replaced);
    let close = initiator.say();
    assert_eq!(
        close.len(),
        1 + 3 + 16 + Control::close(Reason::Replaced).encode(&mut [0; 16]).expect("it fits")
    );
    responder.hear(&close);

    assert_eq!(responder.link.closed_by_peer_for(), Some(Reason::Replaced));
    assert_eq!(responder.link.up, None);
}

#[test]
fn until_the_proof_the_responder_says_nothing_and_ends_in_time() {
    let (mut initiator, mut responder) = subjects();
    responder.send(header(1), b"for the peer alone");
    responder.hear(&initiator.say());

    assert_eq!(responder.say().len(), ANSWER);
    responder.wait(Duration::from_millis(4_999));
    assert!(responder.say().is_empty());
    assert_eq!((responder.link.up, responder.link.closed), (None, None));
    responder.wait(Duration::from_millis(1));

    assert!(responder.say().is_empty());
    assert_eq!(responder.link.closed_for(), Some(Reason::HandshakeTimeout));
    assert_eq!(responder.link.up, None);
}

/// A dialler with a hint, and the node that it dials, which knows the hint.
fn subjects() -> (Subject, Subject) {
    let (seed, hint) = (Seed::of(5), Hint::from_bytes([7; Hint::LEN]));
    let mut responder = Subject::accepting(&seed);
    let initiator = Subject::dialling_for(
        &seed,
        Expect::Resume(Resumption { peer: acquaintance(&responder.identity), hint }),
    );
    responder.given = BTreeMap::from([(hint, acquaintance(&initiator.identity))]);
    (initiator, responder)
}

/// A node that changed its network, whose first frame was caught on the way back to a server that has noticed nothing.
fn caught(seed: &Seed) -> (Net, Vec<u8>) {
    let mut net = Net::new(seed, StreamConditions::default());
    net.heartbeat = Duration::from_secs(60);
    for _ in 0..2 {
        net.settle_node(Config::default());
    }
    net.introduce(TRAVELLER, SERVER, PeerConfig::default());
    net.introduce(SERVER, TRAVELLER, PeerConfig { dial: false, ..PeerConfig::default() });
    net.drive_for(Duration::from_secs(20));
    net.intercepts = true;
    net.displace(TRAVELLER);
    let written = |net: &Net, stream: StreamId| net.network.stream_written(stream, Side::Opener).to_vec();
    let is_caught = net.drive_until(Duration::from_secs(2), |net| {
        net.streams().get(1).is_some_and(|stream| !written(net, *stream).is_empty())
    });
    assert!(is_caught);
    let first = written(&net, net.streams()[1]);
    assert_eq!(first.len(), FIRST);
    (net, first)
}

/// The session that the server has, and all that it told.
fn session_and_events(net: &mut Net) -> (Option<u64>, Vec<(Instant, NodeEvent)>) {
    let id = net.id(TRAVELLER);
    let server = net.process(SERVER);
    let session = server.node.peer(&id).and_then(|peer| peer.session);
    (session.map(|session| session.token), server.events.clone())
}
