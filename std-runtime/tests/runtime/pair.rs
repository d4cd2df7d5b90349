//! Nodes on loopback for tests: fresh identities, sessions that outlive whatever stands still on a busy machine, and waiting for
//! what the test is about.

use std::net::SocketAddr;
use std::time::Duration;

use getrandom::SysRng;
use hyphal::{Event, Events, Identity, Node, NodeBuilder, NodeId, Reason, Timeouts, Trust};
use rand_core::UnwrapErr;

/// Long enough for a busy machine; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn identity() -> Identity {
    Identity::generate(&mut UnwrapErr(SysRng))
}

/// A builder that trusts its network and waits so long that a busy machine ends nothing which a test wants to last.
pub(crate) fn builder() -> NodeBuilder {
    Node::builder().identity(identity()).network("test").trust(Trust::Open).timeouts(timeouts())
}

/// No session and no handshake ends because a thread, or the whole process, gets no turn for some seconds.
pub(crate) fn timeouts() -> Timeouts {
    let mut timeouts = Timeouts::default();
    timeouts.heartbeat = Duration::from_secs(60);
    timeouts.handshake = Duration::from_secs(60);
    timeouts.write_stall = Duration::from_secs(60);
    timeouts
}

/// A builder whose sessions end after 2 s of silence, for tests that are about silence. On a busy machine more of them may end
/// so, and others follow: what takes one session for granted does not hold between such nodes.
pub(crate) fn alert() -> NodeBuilder {
    let mut timeouts = Timeouts::default();
    timeouts.heartbeat = Duration::from_millis(500);
    builder().timeouts(timeouts)
}

/// A node that listens.
pub(crate) async fn listening(builder: NodeBuilder) -> Node {
    builder.listen("127.0.0.1:0").start().await.unwrap()
}

/// The TCP port that a node listens on.
pub(crate) fn tcp_port(node: &Node) -> SocketAddr {
    node.local_addrs()[0].socket_addr().unwrap()
}

/// A node that dials `other`.
pub(crate) async fn dialling(builder: NodeBuilder, other: &Node) -> Node {
    builder.peer(other.id(), other.local_addrs()[0].to_string()).start().await.unwrap()
}

/// Two nodes with a session between them.
pub(crate) async fn pair() -> (Node, Node) {
    between(listening(builder()).await, builder()).await
}

/// A node that listens and one that dials it, with a session between them that either has begun to send in.
pub(crate) async fn between(left: Node, right: NodeBuilder) -> (Node, Node) {
    let right = dialling(right, &left).await;
    sending(&left, right.id()).await;
    sending(&right, left.id()).await;
    (left, right)
}

/// Waits until the node has begun to send to `peer` in a session: it knows what the peer takes.
pub(crate) async fn sending(node: &Node, peer: NodeId) {
    within(async {
        // What seals the records is known when the session has the queue.
        while node.peers().await.iter().all(|other| other.status.id != peer || other.cipher.is_none()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Why the only peer of `node` could not be reached, or was lost, last.
pub(crate) async fn first_reason(node: &Node) -> Reason {
    within(async {
        loop {
            if let Some(reason) = node.peers().await[0].status.last_reason {
                return reason;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// Waits until the session with `peer` is up.
pub(crate) async fn up(events: &mut Events, peer: NodeId) {
    find(events, |event| *event == Event::PeerUp { peer }).await;
}

/// Waits for an event.
pub(crate) async fn find(events: &mut Events, mut is_it: impl FnMut(&Event) -> bool) -> Event {
    within(async {
        loop {
            let event = events.recv().await.expect("the node runs");
            if is_it(&event) {
                return event;
            }
        }
    })
    .await
}

/// Fails the test instead of hanging.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens in time")
}
