//! What happened to peers, for whoever wants to watch. Bounded: a slow watcher misses the oldest events and is told so.

use hyphal_core::ids::NodeId;
use hyphal_core::node::{NodeEvent, Removal};
use hyphal_core::wire::reason::Reason;
use hyphal_core::{breaker, health};
use tokio::sync::broadcast;

/// Something that happened to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A session is up; before, there was none.
    PeerUp {
        /// The peer.
        peer: NodeId,
    },
    /// The session ended and no other one took its place.
    PeerDown {
        /// The peer.
        peer: NodeId,
        /// Why.
        reason: Reason,
    },
    /// The verdict on a peer changed.
    Health {
        /// The peer.
        peer: NodeId,
        /// The verdict before.
        from: health::State,
        /// The verdict from here on.
        to: health::State,
    },
    /// The circuit breaker of a peer changed.
    Breaker {
        /// The peer.
        peer: NodeId,
        /// The state before.
        from: breaker::State,
        /// The state from here on.
        to: breaker::State,
    },
    /// A peer is no longer in the list; the last event about it.
    Removed {
        /// The peer.
        peer: NodeId,
        /// Who removed it.
        removal: Removal,
    },
    /// This many events were missed, because the watcher was slow.
    Missed(u64),
}

impl From<NodeEvent> for Event {
    fn from(event: NodeEvent) -> Self {
        match event {
            NodeEvent::PeerUp { id } => Self::PeerUp { peer: id },
            NodeEvent::PeerDown { id, reason } => Self::PeerDown { peer: id, reason },
            NodeEvent::Health { id, from, to } => Self::Health { peer: id, from, to },
            NodeEvent::Breaker { id, from, to } => Self::Breaker { peer: id, from, to },
            NodeEvent::PeerRemoved { id, removal } => Self::Removed { peer: id, removal },
        }
    }
}

/// Events from the moment of [`Node::events`](crate::Node::events) on.
#[derive(Debug)]
pub struct Events {
    pub(crate) receiver: broadcast::Receiver<Event>,
}

impl Events {
    /// The next event; `None` when the node is gone. Cancellation safe.
    pub async fn recv(&mut self) -> Option<Event> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Event::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// Events that a watcher may lie behind.
pub(crate) const KEPT: usize = 1024;
