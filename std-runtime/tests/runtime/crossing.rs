//! Two nodes that dial each other at once end with one session, and no message is lost, doubted or repeated over it.

use hyphal::{Node, NodeId, Outcome, Reason, SendOptions};

use crate::pair::{builder, within};

const MESSAGES: u32 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crossing_dials_lose_no_message() {
    cross("tcp://127.0.0.1:0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crossing_dials_over_datagrams_lose_no_message() {
    cross("udp://127.0.0.1:0").await;
}

async fn cross(endpoint: &str) {
    let over_datagrams = endpoint.starts_with("udp:");
    let mut crossed = 0;
    for round in 0..30 {
        let (left, right) = (builder().listen(endpoint), builder().listen(endpoint));
        let (left, right) = (left.start().await.unwrap(), right.start().await.unwrap());
        let (to_left, to_right) = (left.local_addrs()[0].clone(), right.local_addrs()[0].clone());

        let (of_left, of_right) = tokio::join!(
            left.add_peer(right.id(), Some(to_right)),
            right.add_peer(left.id(), Some(to_left)),
        );
        of_left.and(of_right).unwrap();
        let (out, back, at_right, at_left) = within(async {
            tokio::join!(
                send_all(&left, right.id()),
                send_all(&right, left.id()),
                receive_all(&right),
                receive_all(&left)
            )
        })
        .await;

        assert_eq!((at_right, at_left), (MESSAGES, MESSAGES), "round {round}");
        assert_eq!((out, back), (MESSAGES, MESSAGES), "round {round}");
        within(only_one_session(&left, &right)).await;
        for node in [&left, &right] {
            assert_eq!(node.counters().sent.unconfirmed, 0);
            // Over datagrams what is thought lost on a busy machine may come twice.
            let dropped = node.counters().received_dropped;
            let is_repeated = |reason| over_datagrams && reason == Reason::Duplicate;
            assert!(dropped.iter().all(|(reason, _)| is_repeated(*reason)), "{dropped:?}");
        }
        crossed += usize::from(left.counters().closed.iter().any(|(reason, _)| *reason == Reason::Replaced));
    }
    assert!(crossed > 0, "no dials crossed, so this proves nothing");
}

/// Sends as soon as there is a peer; gives the number of confirmed messages.
async fn send_all(from: &Node, to: NodeId) -> u32 {
    let mut receipts = Vec::new();
    for n in 0..MESSAGES {
        let payload = n.to_be_bytes();
        receipts.push(from.send_direct_tracked(to, 1, &payload, SendOptions::default()).await.unwrap().1);
        tokio::task::yield_now().await;
    }
    let mut delivered = 0;
    for receipt in receipts {
        delivered += u32::from(receipt.await == Outcome::Delivered);
    }
    delivered
}

/// Receives until every message has come once and in order, and goes on so that the last one is confirmed.
async fn receive_all(at: &Node) -> u32 {
    for n in 0..MESSAGES {
        assert_eq!(at.recv().await.unwrap().payload, n.to_be_bytes().as_slice());
    }
    // Coming back for more confirms the last one.
    let none = tokio::time::timeout(std::time::Duration::from_millis(1), at.recv()).await;
    assert!(none.is_err(), "a message came twice");
    MESSAGES
}

/// Waits until both nodes have given up all sessions but one that both keep.
async fn only_one_session(left: &Node, right: &Node) {
    loop {
        let (of_left, of_right) = (left.peers().await, right.peers().await);
        let session = |peers: &[hyphal::PeerInfo]| peers[0].status.session.map(|session| session.dialled);
        let (dialled, accepted) = (session(&of_left), session(&of_right));
        if dialled.is_some() && dialled == accepted.map(|dialled| !dialled) {
            return;
        }
        tokio::task::yield_now().await;
    }
}
