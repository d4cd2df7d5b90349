//! What a user decides about a node's peers. Plain values; the defaults are the documented ones.

use crate::{backoff, breaker, health, time::Duration};

/// The numbers and the policy of a [`Node`](super::Node).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whom this node admits.
    pub trust: Trust,
    /// Sessions that may be up at once, over all peers.
    pub max_sessions: usize,
    /// Waits between dials of a peer that failed.
    pub backoff: backoff::Policy,
    /// When a failing peer is not dialled for a while.
    pub breaker: breaker::Policy,
    /// When a peer counts as Degraded or Down.
    pub health: health::Policy,
    /// The wait after a rejection that will not pass soon, as another network or a missing permission.
    pub long_wait: Duration,
    /// How long a stranger (a peer that connected in and was never added) may be Down before it is removed.
    pub strangers_removed_after: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            trust: Trust::default(),
            max_sessions: usize::MAX,
            backoff: backoff::Policy::default(),
            breaker: breaker::Policy::default(),
            health: health::Policy::default(),
            long_wait: Duration::from_secs(5 * 60),
            strangers_removed_after: Some(Duration::from_secs(24 * 60 * 60)),
        }
    }
}

/// Whom a node admits after the handshake has proved who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Every node of the same network.
    Open,
    /// Only peers that were added.
    #[default]
    Pinned,
    /// Nodes with a certificate that the caller's [`Authorities`](crate::trust::Authorities) admit, added or not.
    Certified,
}

/// What a user decides about one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// Whether this node dials the peer whenever there is no session; needs an address that the runtime knows.
    pub dial: bool,
    /// How long the peer may be Down before it is removed; `None` keeps it for ever.
    pub removed_after: Option<Duration>,
}

impl Default for PeerConfig {
    fn default() -> Self {
        Self { dial: true, removed_after: None }
    }
}
