//! A running node takes another roster, as a whole or not at all; who is not in it any more is let go.

use std::time::Duration;

use hyphal::address::Endpoint;
use hyphal::{
    AddPeerError, Event, Node, NodeId, Outcome, Reason, ReloadError, Reloaded, Removal, Roster, SendOptions,
    Trust, TrustError,
};

use crate::page::until;
use crate::pair::{builder, dialling, find, identity, listening, pair, up, within};

#[tokio::test]
async fn peers_are_added_removed_and_moved_while_the_others_keep_their_sessions() {
    let (stays, goes, comes) =
        (listening(builder()).await, listening(builder()).await, listening(builder()).await);
    let node = dialling(builder(), &stays).await;
    let mut events = node.events();
    node.add_peer(goes.id(), Some(address(&goes))).await.unwrap();
    up_all(&node, &mut events, &[&stays, &goes]).await;
    let session = session_of(&node, stays.id()).await;

    let reloaded = node.reload(roster(&[&stays, &comes])).await.unwrap();

    assert_eq!((&reloaded.added[..], &reloaded.removed[..]), (&[comes.id()][..], &[goes.id()][..]));
    assert_eq!((reloaded.trust, reloaded.changed.len()), (Some((Trust::Open, Trust::Pinned)), 0));
    let removed = Event::Removed { peer: goes.id(), removal: Removal::ByUser };
    let mut has_come = false;
    find(&mut events, |event| {
        has_come |= *event == Event::PeerUp { peer: comes.id() };
        *event == removed
    })
    .await;
    if !has_come {
        up(&mut events, comes.id()).await;
    }
    assert_eq!(session_of(&node, stays.id()).await, session, "nothing was heard of it");
    assert_eq!(node.reload(roster(&[&stays, &comes])).await, Ok(Reloaded::default()), "nothing is new");
}

#[tokio::test]
async fn strangers_go_when_the_node_becomes_pinned_and_come_back_when_it_is_open() {
    let node = listening(builder()).await;
    let mut events = node.events();
    let listed = dialling(builder(), &node).await;
    let stranger = dialling(builder(), &node).await;
    let mut of_stranger = stranger.events();
    up_all(&node, &mut events, &[&listed, &stranger]).await;

    let roster = Roster::new(Trust::Pinned).known_peer(listed.id());
    let reloaded = node.reload(roster.clone()).await.unwrap();

    assert_eq!(reloaded.added, [listed.id()]);
    let (peer, reason) = (stranger.id(), Reason::Untrusted);
    find(&mut events, |event| *event == Event::PeerDown { peer, reason }).await;
    find(&mut of_stranger, |event| *event == Event::PeerDown { peer: node.id(), reason }).await;
    assert!(session_of(&node, listed.id()).await.is_some(), "it became a peer before the policy counted");
    within(until(|| !node.counters().closed.is_empty())).await;
    assert_eq!(node.counters().closed, [(Reason::Untrusted, 1)]);

    node.set_trust(Trust::Open).await.unwrap();
    stranger.add_peer(node.id(), Some(address(&node))).await.unwrap();
    up(&mut events, stranger.id()).await;
}

#[tokio::test]
async fn a_roster_with_a_mistake_changes_nothing() {
    let (left, right) = pair().await;
    let (own, wrong) = (left.id(), identity().id());
    let nowhere: Endpoint = "127.0.0.1:0".parse().unwrap();
    let pinned = || Roster::new(Trust::Pinned).known_peer(identity().id());
    let before = left.peers().await;

    for (roster, id, error) in [
        (pinned().known_peer(own), own, AddPeerError::OwnId),
        (pinned().peer(wrong, nowhere).unwrap(), wrong, AddPeerError::Endpoint),
    ] {
        assert_eq!(left.reload(roster).await, Err(ReloadError::Peer { id, error }));
    }
    assert!(Roster::new(Trust::Open).peer(wrong, "no endpoint at all").is_err());

    let ids = |peers: &[hyphal::PeerInfo]| {
        peers.iter().map(|peer| (peer.status.id, peer.status.session)).collect::<Vec<_>>()
    };
    assert_eq!(ids(&left.peers().await), ids(&before));
    left.send_direct(right.id(), 0, "still here", SendOptions::default()).await.unwrap();
    assert_eq!(within(right.recv()).await.unwrap().payload, "still here");
}

#[tokio::test]
async fn more_peers_than_there_is_room_for_are_refused_as_a_whole() {
    let mut limits = hyphal::Limits::default();
    limits.peers = 3;
    let node = listening(builder().limits(limits)).await;
    let mut events = node.events();
    let stranger = dialling(builder(), &node).await;
    up(&mut events, stranger.id()).await;
    let many = |trust, count| (0..count).fold(Roster::new(trust), |all, _| all.known_peer(identity().id()));

    let refused = node.reload(many(Trust::Open, 3)).await;

    assert_eq!(refused, Err(ReloadError::Full { room: 2 }));
    assert_eq!(node.peers().await.len(), 1);
    assert_eq!(node.reload(many(Trust::Open, 2)).await.unwrap().added.len(), 2);
    let others = node.reload(many(Trust::Open, 2)).await.unwrap();
    assert_eq!((others.added.len(), others.removed.len()), (2, 2), "who goes makes room for who comes");
    assert_eq!(node.reload(many(Trust::Pinned, 3)).await.unwrap().added.len(), 3, "as do strangers");
}

#[tokio::test]
async fn an_edit_of_the_address_while_the_peer_is_dialled_counts_for_the_next_dial() {
    let peer = listening(builder()).await;
    // It takes the connection and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut timeouts = hyphal::Timeouts::default();
    timeouts.handshake = Duration::from_millis(500);
    let wrong: Endpoint = silent.local_addr().unwrap().into();
    let node = builder().timeouts(timeouts).peer(peer.id(), wrong).start().await.unwrap();
    let mut events = node.events();
    let _dialled = within(silent.accept()).await.unwrap();

    let reloaded = node.reload(roster(&[&peer])).await.unwrap();

    assert_eq!((reloaded.changed, reloaded.added.len()), (vec![peer.id()], 0));
    up(&mut events, peer.id()).await;
}

#[tokio::test]
async fn a_peer_that_is_removed_during_a_transfer_ends_it_with_its_reason() {
    let (left, right) = pair().await;
    left.add_peer(right.id(), None).await.unwrap();
    let mut streams = right.subscribe_streams(hyphal::Filter::all());
    let payload = vec![7; 8 << 20];
    let (_, receipt) =
        left.send_direct_tracked(right.id(), 0, payload, SendOptions::default()).await.unwrap();
    let _incoming = within(streams.recv()).await.expect("its first part is there");
    let mut of_right = right.events();

    let reloaded = left.reload(Roster::new(Trust::Pinned)).await.unwrap();

    assert_eq!(reloaded.removed, [right.id()]);
    assert!(!matches!(within(receipt).await, Outcome::Delivered));
    let (peer, reason) = (left.id(), Reason::PeerRemoved);
    find(&mut of_right, |event| *event == Event::PeerDown { peer, reason }).await;
    assert!(left.peers().await.is_empty());
}

#[tokio::test]
async fn a_storm_of_rosters_ends_with_the_last_one() {
    let (one, other) = (listening(builder()).await, listening(builder()).await);
    let node = builder().start().await.unwrap();
    let mut events = node.events();

    for round in 0..50 {
        let peers: &[&Node] = match round % 3 {
            0 => &[&one],
            1 => &[&other],
            _ => &[],
        };
        node.reload(roster(peers)).await.unwrap();
    }
    node.reload(roster(&[&one, &other])).await.unwrap();

    up_all(&node, &mut events, &[&one, &other]).await;
    assert_eq!(node.peers().await.len(), 2);
}

#[tokio::test]
async fn a_node_that_was_shut_down_takes_no_roster() {
    let node = builder().start().await.unwrap();

    node.shutdown(Duration::ZERO).await;

    assert_eq!(node.reload(Roster::default()).await, Err(ReloadError::Closed));
    assert!(matches!(node.set_trust(Trust::Open).await, Err(TrustError::Closed)));
}

/// A pinned roster that dials these.
fn roster(peers: &[&Node]) -> Roster {
    let add = |roster: Roster, peer: &&Node| roster.peer(peer.id(), address(peer)).unwrap();
    peers.iter().fold(Roster::new(Trust::Pinned), add)
}

fn address(node: &Node) -> Endpoint {
    node.local_addrs()[0].clone()
}

/// What distinguishes the session with a peer, if there is one.
async fn session_of(node: &Node, id: NodeId) -> Option<u64> {
    let peers = node.peers().await;
    peers.iter().find(|peer| peer.status.id == id)?.status.session.map(|session| session.token)
}

/// Waits until sessions with all of them are up.
async fn up_all(node: &Node, events: &mut hyphal::Events, peers: &[&Node]) {
    for peer in peers {
        while session_of(node, peer.id()).await.is_none() {
            find(events, |event| matches!(event, Event::PeerUp { .. })).await;
        }
    }
}
