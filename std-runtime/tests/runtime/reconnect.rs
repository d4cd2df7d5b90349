//! Nodes that had a session come back to each other by what it left them, and recognise each other after a restart.

use hyphal::{Event, Identity, Node, Reason, SendOptions};
use hyphal_core::wire::frame::Kind;

use crate::page::until;
use crate::pair::{builder, find, identity, listening, tcp_port, up, within};
use crate::relay::Relay;

const XX: [Option<u8>; 2] = [Some(Kind::Xx1 as u8), Some(Kind::Xx2 as u8)];
const KK: [Option<u8>; 2] = [Some(Kind::Kk1 as u8), Some(Kind::Kk2 as u8)];
const REFUSED_HINT: [Option<u8>; 2] = [Some(Kind::Kk1 as u8), Some(Kind::Refusal as u8)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_link_comes_back_by_its_hint_again_and_again() {
    let left = listening(builder()).await;
    let relay = Relay::to(tcp_port(&left)).await;
    let right = builder().peer(left.id(), relay.address.to_string()).start().await.unwrap();
    let mut events = right.events();
    is_up(&right).await;

    let mut expected = vec![XX];
    for _ in 0..3 {
        // Its hint is of use once both ends have the session.
        within(until(|| left.counters().sessions == expected.len() as u64)).await;
        relay.cut_all();
        // The other end may notice only that the next session takes the place of the lost one.
        find(&mut events, |event| matches!(event, Event::PeerDown { .. })).await;
        up(&mut events, left.id()).await;
        expected.push(KK);
        assert_eq!(relay.first_kinds(), expected);
    }

    left.send_direct(right.id(), 1, "still here", SendOptions::default()).await.unwrap();
    assert_eq!(within(right.recv()).await.unwrap().payload, "still here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_refuses_the_hint_and_goes_on_with_a_full_handshake_on_the_same_connection() {
    let seed = *identity().seed().unwrap();
    let living = || builder().identity(Identity::from_seed(&seed).unwrap());
    let first = listening(living()).await;
    let relay = Relay::to(tcp_port(&first)).await;
    let other = builder().peer(first.id(), relay.address.to_string()).start().await.unwrap();
    let mut events = other.events();
    let boot_before = is_up(&other).await;

    let second = listening(living()).await;
    relay.retarget(tcp_port(&second));
    drop(first);
    find(&mut events, |event| matches!(event, Event::PeerDown { .. })).await;
    up(&mut events, second.id()).await;

    assert_eq!(relay.first_kinds(), [XX, REFUSED_HINT]);
    assert_ne!(is_up(&other).await, boot_before);
    other.send_direct(second.id(), 1, "again", SendOptions::default()).await.unwrap();
    assert_eq!(within(second.recv()).await.unwrap().payload, "again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_takes_the_place_of_its_dead_process_before_that_falls_silent() {
    let seed = *identity().seed().unwrap();
    let living = || builder().identity(Identity::from_seed(&seed).unwrap());
    let survivor = listening(builder()).await;
    let mut events = survivor.events();
    let relay = Relay::to(tcp_port(&survivor)).await;
    let first = living().peer(survivor.id(), relay.address.to_string()).start().await.unwrap();
    let victim = first.id();
    up(&mut events, victim).await;
    let boot_before = is_up(&survivor).await;

    relay.freeze_all();
    drop(first);
    let second = living().peer(survivor.id(), survivor.local_addrs()[0].to_string()).start().await.unwrap();
    second.send_direct(survivor.id(), 1, "here again", SendOptions::default()).await.unwrap();
    assert_eq!(within(survivor.recv()).await.unwrap().payload, "here again");
    within(async {
        while survivor.counters().closed.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;

    assert_eq!(survivor.counters().closed, [(Reason::Replaced, 1)]);
    assert_ne!(is_up(&survivor).await, boot_before);
    assert_eq!(survivor.peers().await[0].status.last_reason, None, "it was never down");
}

/// Waits until the only peer has a session, and gives the peer's boot id.
async fn is_up(node: &Node) -> u64 {
    within(async {
        loop {
            if let Some(session) = node.peers().await.first().and_then(|peer| peer.status.session) {
                return session.boot_id;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}
