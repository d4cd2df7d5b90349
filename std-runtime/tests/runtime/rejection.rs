//! Whoever is not let in learns why, at both ends.

use hyphal::{Node, Reason, StartError, Trust};

use crate::pair::{builder, dialling, listening, within};
use crate::port::Port;

/// Waits until the first peer of `node` has failed for some reason.
async fn failure(node: &Node) -> Reason {
    within(async {
        loop {
            if let Some(reason) = node.peers().await.first().and_then(|peer| peer.status.last_reason) {
                return reason;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

async fn closed(node: &Node) -> Vec<(Reason, u64)> {
    within(async {
        loop {
            let closed = node.counters().closed;
            if !closed.is_empty() {
                return closed;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn a_stranger_is_rejected_by_a_pinning_node_and_both_know_why() {
    let pinning = listening(builder().trust(Trust::Pinned)).await;

    let stranger = dialling(builder(), &pinning).await;

    assert_eq!(failure(&stranger).await, Reason::Untrusted);
    assert_eq!(closed(&pinning).await, [(Reason::Untrusted, 1)]);
}

#[tokio::test]
async fn a_node_of_another_network_is_rejected_and_both_know_why() {
    let here = listening(builder()).await;

    let elsewhere = dialling(builder().network("another"), &here).await;

    assert_eq!(failure(&elsewhere).await, Reason::Network);
    assert_eq!(closed(&here).await, [(Reason::Network, 1)]);
}

#[tokio::test]
async fn an_address_where_another_node_answers_is_refused() {
    let here = listening(builder()).await;
    let expected = crate::pair::identity().id();

    let node = builder().peer(expected, here.local_addrs()[0].to_string()).start().await.unwrap();

    assert_eq!(failure(&node).await, Reason::UnexpectedId);
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_unreachable() {
    let port = Port::reserve();
    let expected = crate::pair::identity().id();

    let node = builder().peer(expected, port.address.to_string()).start().await.unwrap();

    assert_eq!(failure(&node).await, Reason::Unreachable);
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_says_so() {
    let here = listening(builder()).await;

    let error = builder().listen(here.local_addrs()[0].clone()).start().await.unwrap_err();

    assert!(matches!(error, StartError::Listen { .. }));
    assert!(error.to_string().contains("in use"), "{error}");
}
