//! Bad input from the network is bounded, counted, and harms nobody else.

use std::time::Duration;

use hyphal::{Event, HealthState, Limits, Node, Reason, SendError, SendOptions, Timeouts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::pair::{builder, dialling, find, identity, listening, tcp_port, up, within};

async fn closed_for(node: &Node, reason: Reason) {
    within(async {
        while !node.counters().closed.iter().any(|(closed, _)| *closed == reason) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_connections_from_one_address_are_limited_and_a_peer_is_not_disturbed() {
    let mut limits = Limits::default();
    limits.connections_per_address = 20;
    let node = listening(builder().limits(limits)).await;
    let mut events = node.events();
    let peer = dialling(builder(), &node).await;
    up(&mut events, peer.id()).await;

    let mut connections = Vec::new();
    for _ in 0..500 {
        connections.push(TcpStream::connect(tcp_port(&node)).await.unwrap());
    }
    let mut told = Vec::new();
    within(connections.last_mut().unwrap().read_to_end(&mut told)).await.unwrap();
    within(async {
        while node.counters().accepted < 501 {
            tokio::task::yield_now().await;
        }
    })
    .await;

    assert_eq!(node.counters().refused, [(Reason::Limit, 481)]);
    assert_eq!(told[14..16], Reason::Limit.code().to_be_bytes(), "the refusal says why");
    peer.send_direct(node.id(), 1, "still here", SendOptions::default()).await.unwrap();
    assert_eq!(within(node.recv()).await.unwrap().payload, "still here");
}

#[tokio::test]
async fn garbage_ends_its_own_connection_only() {
    let node = listening(builder()).await;
    let mut stream = TcpStream::connect(tcp_port(&node)).await.unwrap();

    stream.write_all(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n").await.unwrap();

    closed_for(&node, Reason::TooLong).await;
}

#[tokio::test]
async fn a_length_of_four_gibibytes_is_refused_at_once() {
    let node = listening(builder()).await;
    let mut stream = TcpStream::connect(tcp_port(&node)).await.unwrap();

    stream.write_all(&[0xFF; 4]).await.unwrap();

    closed_for(&node, Reason::TooLong).await;
    let mut rest = Vec::new();
    within(stream.read_to_end(&mut rest)).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_says_nothing_ends_with_the_handshake_timeout() {
    let mut timeouts = Timeouts::default();
    timeouts.handshake = Duration::from_millis(200);
    let node = listening(builder().timeouts(timeouts)).await;

    let _silent = TcpStream::connect(tcp_port(&node)).await.unwrap();

    closed_for(&node, Reason::HandshakeTimeout).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_that_gives_its_place_to_an_added_peer_is_forgotten_at_once() {
    let mut limits = Limits::default();
    limits.peers = 1;
    let node = listening(builder().limits(limits)).await;
    let mut events = node.events();
    let stranger = dialling(builder(), &node).await;
    let id = stranger.id();
    up(&mut events, id).await;
    drop(stranger);
    find(&mut events, |event| matches!(event, Event::Health { to: HealthState::Suspect, .. })).await;

    node.add_peer(identity().id(), None).await.unwrap();

    assert_eq!(node.send_direct(id, 1, "you", SendOptions::default()).await, Err(SendError::UnknownPeer));
}
