//! Nodes over UDP on loopback: the same messages, receipts and ends as over TCP.

use std::time::{Duration, Instant};

use hyphal::address::Endpoint;
use hyphal::{
    Event, Identity, Limits, Node, NodeBuilder, Outcome, Outgoing, Priority, Reason, Reliability, SendOptions,
};
use hyphal_core::session::MAX_DATAGRAM;
use hyphal_core::wire::datagram::Packet;
use hyphal_core::wire::frame::{Header, Kind};
use rand_core::{Rng, SeedableRng};
use tokio::net::UdpSocket;

use crate::pair::{alert, between, builder, dialling, find, first_reason, identity, timeouts, up, within};
use crate::weather::{Relay, Weather};

async fn listening() -> Node {
    builder().listen("udp://127.0.0.1:0").start().await.unwrap()
}

async fn pair() -> (Node, Node) {
    between(listening().await, builder()).await
}

/// A first packet of this kind with a random message of `N` bytes.
fn made_up<const N: usize>(kind: Kind, rng: &mut impl Rng) -> [u8; MAX_DATAGRAM] {
    let mut packet = [0; MAX_DATAGRAM];
    let at = Packet::encode_header(&[], &mut packet).unwrap();
    let mut message = [0; N];
    rng.fill_bytes(&mut message);
    Header::new(kind, rng.next_u64()).encode(&message, &mut packet[at..]).unwrap();
    packet
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_all_priorities_arrive_unchanged_both_ways() {
    let (left, right) = pair().await;
    assert!(matches!(left.local_addrs(), [Endpoint::Udp(_)]), "{:?}", left.local_addrs());

    for (from, to) in [(&left, &right), (&right, &left)] {
        for priority in Priority::ALL {
            for size in [0, 1, 64, 700, 1000] {
                let payload: Vec<u8> = (0..size).map(|i| (i * 7 % 251) as u8).collect();
                let options = SendOptions::default().priority(priority);

                let id = within(from.send_direct(to.id(), 7, &payload, options)).await.unwrap();
                let message = within(to.recv()).await.unwrap();

                assert_eq!((message.id, message.source, message.priority), (id, from.id(), priority));
                assert_eq!(message.payload, payload);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_arrives_complete_and_every_message_once() {
    let (left, right) = pair().await;
    let count = 50_000_u64;
    let (sender, to) = (left.clone(), right.id());
    let sending = tokio::spawn(async move {
        sender.send_batch(to, (0..count).map(|number| Outgoing::new(5, number.to_be_bytes().to_vec()))).await
    });

    let mut seen = vec![false; count as usize];
    for _ in 0..count {
        let message = within(right.recv()).await.unwrap();
        let number = u64::from_be_bytes(message.payload[..].try_into().unwrap());
        assert!(!std::mem::replace(&mut seen[number as usize], true), "{number} came twice");
    }

    assert_eq!(sending.await.unwrap(), Ok(count));
    assert!(seen.iter().all(|seen| *seen));
}

#[tokio::test]
async fn a_receipt_says_delivered_and_a_ping_is_answered() {
    let began = Instant::now();
    let (left, right) = pair().await;

    let (_, receipt) =
        left.send_direct_tracked(right.id(), 1, "hello", SendOptions::default()).await.unwrap();
    within(right.recv()).await.unwrap();
    let comes_back = tokio::spawn({
        let right = right.clone();
        async move { right.recv().await }
    });

    assert_eq!(within(receipt).await, Outcome::Delivered);
    assert!(within(left.ping(right.id())).await.unwrap() <= began.elapsed());
    comes_back.abort();
}

#[tokio::test]
async fn a_node_that_ends_says_so_to_its_peers() {
    let (left, right) = pair().await;
    let mut events = right.events();

    within(left.shutdown(Duration::ZERO)).await;

    let down = find(&mut events, |event| matches!(event, Event::PeerDown { .. })).await;
    assert_eq!(down, Event::PeerDown { peer: left.id(), reason: Reason::Shutdown });
}

/// Two nodes with a relay between them.
async fn relayed(weather: Weather, seed: u64) -> (Node, Node, Relay) {
    relayed_between([builder(), builder()], weather, seed).await
}

async fn relayed_between(
    [left, right]: [NodeBuilder; 2],
    weather: Weather,
    seed: u64,
) -> (Node, Node, Relay) {
    let left = left.listen("udp://127.0.0.1:0").start().await.unwrap();
    let mut events = left.events();
    let relay = Relay::start(left.local_addrs()[0].socket_addr().unwrap(), weather, seed).await;
    let right = right.peer(left.id(), relay.endpoint()).start().await.unwrap();
    up(&mut events, right.id()).await;
    (left, right, relay)
}

/// Messages that another session would bring if this one ended.
async fn send_and_receive(from: &Node, to: &Node, count: u64) {
    let (sender, id) = (from.clone(), to.id());
    let sending = tokio::spawn(async move {
        let options = SendOptions::default().reliability(Reliability::High);
        let payload = |number: u64| [&number.to_be_bytes()[..], &[7; PAYLOAD - 8]].concat();
        let message = |number| Outgoing { options, ..Outgoing::new(5, payload(number)) };
        sender.send_batch(id, (0..count).map(message)).await
    });
    let mut seen = vec![false; count as usize];
    for _ in 0..count {
        let message = within(to.recv()).await.unwrap();
        let number = u64::from_be_bytes(message.payload[..8].try_into().unwrap());
        assert!(!std::mem::replace(&mut seen[number as usize], true), "{number} came twice");
    }
    assert_eq!(sending.await.unwrap(), Ok(count));
}

/// Bytes of one of those messages.
const PAYLOAD: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_network_that_loses_doubles_and_reorders_every_message_arrives_once() {
    for seed in 1..=3 {
        let weather = Weather { lost: 50, doubled: 50, late: 100 };
        let (left, right, relay) = relayed(weather, seed).await;

        send_and_receive(&right, &left, 2000).await;
        send_and_receive(&left, &right, 2000).await;

        assert!(relay.carried() as usize * MAX_DATAGRAM > 4000 * PAYLOAD, "what arrived went through it");
        assert_eq!((left.counters().closed, right.counters().closed), (vec![], vec![]));
    }
}

#[tokio::test]
async fn a_peer_that_gets_another_port_keeps_its_session() {
    let (left, right, relay) = relayed(Weather::default(), 0).await;
    send_and_receive(&right, &left, 10).await;

    relay.rebind().await;
    send_and_receive(&right, &left, 10).await;
    send_and_receive(&left, &right, 10).await;

    assert_eq!((left.counters().accepted, right.counters().dialled), (1, 1));
}

#[tokio::test]
async fn a_network_that_is_cut_ends_the_session_and_another_one_follows() {
    let (left, right, relay) = relayed_between([alert(), alert()], Weather::default(), 0).await;
    let mut events = right.events();

    relay.cut(true);
    let down = find(&mut events, |event| matches!(event, Event::PeerDown { .. })).await;
    relay.cut(false);
    up(&mut events, left.id()).await;

    assert_eq!(down, Event::PeerDown { peer: left.id(), reason: Reason::Silent });
    send_and_receive(&right, &left, 10).await;
}

#[tokio::test]
async fn a_restarted_node_is_found_again_at_its_port() {
    let seed = *identity().seed().unwrap();
    let restarting = || alert().identity(Identity::from_seed(&seed).unwrap());
    let first = restarting().listen("udp://127.0.0.1:0").start().await.unwrap();
    let (id, endpoint) = (first.id(), first.local_addrs()[0].clone());
    let other = builder().peer(id, endpoint.clone()).start().await.unwrap();
    let mut events = other.events();
    if other.peers().await[0].status.session.is_none() {
        up(&mut events, id).await;
    }

    drop(first);
    // At once, so that no other socket of this machine gets the port meanwhile.
    let second = within(async {
        loop {
            match restarting().listen(endpoint.clone()).start().await {
                Ok(node) => return node,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    find(&mut events, |event| matches!(event, Event::PeerDown { .. })).await;
    up(&mut events, id).await;

    send_and_receive(&other, &second, 10).await;
}

/// From one socket, as many made-up first packets as it can send: nobody's address was shown, so nothing is kept for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_made_up_handshakes_costs_no_state_and_harms_nobody() {
    let (left, right) = pair().await;
    let target = left.local_addrs()[0].socket_addr().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(11);
    let (mut sent, mut answered) = (0, 0);

    for _ in 0..3000 {
        let packet = made_up::<32>(Kind::Xx1, &mut rng);
        socket.send_to(&packet, target).await.unwrap();
        sent += packet.len();
        let mut answer = [0; 2048];
        while let Ok((len, _)) = socket.try_recv_from(&mut answer) {
            answered += len;
        }
    }
    if answered == 0 {
        // The node has had no turn yet.
        answered += within(socket.recv(&mut [0; 2048])).await.unwrap();
    }
    send_and_receive(&right, &left, 100).await;

    assert!(0 < answered && answered < sent / 10, "{answered} of {sent}");
    assert_eq!((left.counters().accepted, left.counters().closed), (1, vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_first_packets_of_a_reconnect_take_a_bounded_number_of_places() {
    let mut limits = Limits::default();
    limits.handshakes = 8;
    let left = builder().limits(limits).listen("udp://127.0.0.1:0").start().await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(12);

    for _ in 0..500 {
        socket
            .send_to(&made_up::<95>(Kind::Kk1, &mut rng), left.local_addrs()[0].socket_addr().unwrap())
            .await
            .unwrap();
    }
    // Somebody else comes in meanwhile.
    let mut events = left.events();
    let right = dialling(builder(), &left).await;
    up(&mut events, right.id()).await;

    send_and_receive(&right, &left, 10).await;
}

/// Anybody can write another's address on a message 1 of KK: such packets cost that address none of its own attempts.
#[tokio::test]
async fn made_up_first_packets_of_a_reconnect_lock_nobody_out_whose_address_they_name() {
    let left = listening().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(14);
    for _ in 0..500 {
        socket
            .send_to(&made_up::<95>(Kind::Kk1, &mut rng), left.local_addrs()[0].socket_addr().unwrap())
            .await
            .unwrap();
        // Each is answered, so it has been dealt with.
        within(socket.recv(&mut [0; 100])).await.unwrap();
    }

    let mut events = left.events();
    let right = dialling(builder(), &left).await;
    up(&mut events, right.id()).await;

    assert_eq!((right.counters().dialled, right.counters().closed), (1, vec![]));
}

#[tokio::test]
async fn garbage_is_counted_and_nothing_else() {
    let (left, right) = pair().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(13);

    for len in (0..1500).step_by(7) {
        let mut datagram = vec![0; len];
        rng.fill_bytes(&mut datagram);
        socket.send_to(&datagram, left.local_addrs()[0].socket_addr().unwrap()).await.unwrap();
    }
    send_and_receive(&right, &left, 10).await;

    let counters = left.counters();
    assert!(!counters.strays.is_empty());
    assert_eq!((counters.accepted, counters.closed), (1, vec![]));
    // On a busy machine the friend may hear too late that a message has come, and send it again.
    let dropped = counters.received_dropped;
    assert!(dropped.iter().all(|(reason, _)| *reason == Reason::Duplicate), "{dropped:?}");
}

#[tokio::test]
async fn an_address_where_nobody_answers_is_told() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut timeouts = timeouts();
    timeouts.handshake = Duration::from_millis(300);
    let endpoint = Endpoint::Udp(silent.local_addr().unwrap().into());
    let node = builder().timeouts(timeouts).peer(identity().id(), endpoint).start().await.unwrap();

    let reason = first_reason(&node).await;

    assert_eq!(reason, Reason::HandshakeTimeout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_many_datagrams_arrive_whole_over_a_bad_network() {
    let weather = Weather { lost: 20, doubled: 20, late: 50 };
    let (left, right, _relay) = relayed(weather, 21).await;

    for size in [2000_usize, 20_000, 200_000] {
        let payload: Vec<u8> = (0..size).map(|i| (i * 7 % 251) as u8).collect();
        right.send_direct(left.id(), 1, &payload, SendOptions::default()).await.unwrap();
        assert_eq!(within(left.recv()).await.unwrap().payload, payload);
    }
}
