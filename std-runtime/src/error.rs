//! What can go wrong at the surface of the library, told by what the caller can do about it.
//!
//! Noise from the network is no error: it is dropped, counted and logged, see [`Counters`](crate::Counters).

use std::fmt;
use std::io;
use std::path::PathBuf;

use hyphal_core::ids::NodeId;
use hyphal_core::node;
use hyphal_core::outbox;
use hyphal_core::time::UnixTime;

use crate::address::{BadEndpoint, Endpoint};
use crate::delegation::shown;
use crate::store::StoreError;
use crate::trust::TrustError;

/// Why a message was not accepted for sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// There is no peer with this id: add it, or wait until it connects.
    UnknownPeer,
    /// The queue to the peer is full: wait, or send less.
    QueueFull,
    /// The payload is too long: split it.
    TooLong {
        /// The longest payload that this peer takes, in bytes.
        max: u32,
    },
    /// The message type belongs to no family; receivers refuse it.
    UnknownType,
    /// No node can have the peer's id, so nothing can be sealed to it: check the id.
    BadKey,
    /// A broadcast was to be sealed, which only a message to one peer can be: send it to each, or do not seal it.
    SealedBroadcast,
    /// A message was to be signed by a node that has a delegated key only: send it unsigned, or from where the node's own key is.
    DelegatedKey,
    /// The message type is one that nodes use among themselves: choose another.
    ReservedType,
    /// This node keeps no Guaranteed messages: give it a store.
    NoStore,
    /// The peer keeps no Guaranteed messages: give it a store, or send with another reliability.
    NotKept,
    /// The store of Guaranteed messages is full: wait until peers have acknowledged, or raise its limit.
    StoreFull,
    /// The disk of the store of Guaranteed messages is full: make room on it, and send again. The store goes on by itself.
    DiskFull,
    /// The disk of the store of Guaranteed messages fails: see the log, and start the node anew when it is repaired.
    StoreFailed,
    /// A Guaranteed message cannot be sent so: to one peer, with `send_direct` or in a batch.
    NotGuaranteed,
    /// The node has been shut down.
    Closed,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPeer => f.write_str("there is no peer with this id; add it first"),
            Self::QueueFull => f.write_str("the queue to the peer is full; wait or send less"),
            Self::TooLong { max } => write!(f, "the payload is longer than {max} bytes; split it"),
            Self::UnknownType => {
                f.write_str("the message type belongs to no family; choose one of a known family")
            }
            Self::BadKey => {
                f.write_str("no node can have the peer's id, so nothing can be sealed to it; check the id")
            }
            Self::SealedBroadcast => {
                f.write_str("a broadcast cannot be sealed; send it to each peer, or do not seal it")
            }
            Self::DelegatedKey => f.write_str(
                "this node has a delegated key, which cannot sign; send it unsigned, or from where the node's own key is",
            ),
            Self::ReservedType => {
                f.write_str("nodes use the message type among themselves; choose one of the application's")
            }
            Self::NoStore => f.write_str(
                "this node keeps no Guaranteed messages; give it a store (store.directory, NodeBuilder::store)",
            ),
            Self::NotKept => f.write_str(
                "the peer keeps no Guaranteed messages; give it a store, or send with another reliability",
            ),
            Self::StoreFull => {
                f.write_str("the store is full; wait until peers have acknowledged, or raise store.bytes")
            }
            Self::DiskFull => f.write_str(
                "the disk of the store of Guaranteed messages is full; make room on it, and send again",
            ),
            Self::StoreFailed => f.write_str(
                "the disk of the store of Guaranteed messages fails; see the log, and start the node anew when it is \
                 repaired",
            ),
            Self::NotGuaranteed => f.write_str(
                "a Guaranteed message goes to one peer, with send_direct or in a batch; send it so, or with another \
                 reliability",
            ),
            Self::Closed => f.write_str("the node has been shut down"),
        }
    }
}

impl std::error::Error for SendError {}

impl From<outbox::SendError> for SendError {
    fn from(error: outbox::SendError) -> Self {
        match error {
            outbox::SendError::QueueFull => Self::QueueFull,
            outbox::SendError::TooLong { max } => Self::TooLong { max },
        }
    }
}

/// A batch ended early: the messages before the one that failed were accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchError {
    /// How many messages were accepted, from the first on.
    pub accepted: u64,
    /// Why the next one was not.
    pub error: SendError,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} messages were accepted, the next one was not: {}", self.accepted, self.error)
    }
}

impl std::error::Error for BatchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Why a node did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The builder was given no identity.
    NoIdentity,
    /// The builder was given no network name.
    NoNetwork,
    /// A number is outside of what the protocol or the runtime can do.
    OutOfRange {
        /// Which one.
        field: &'static str,
        /// What it may be.
        allowed: &'static str,
    },
    /// A configured peer cannot be added.
    Peer {
        /// Which one.
        id: NodeId,
        /// Why.
        error: AddPeerError,
    },
    /// The key log cannot be opened, or others can read it.
    KeyLog {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The store of Guaranteed messages cannot be opened.
    Store(StoreError),
    /// What the builder was given as an endpoint is none.
    Endpoint(BadEndpoint),
    /// An endpoint cannot be listened on, as when another process uses the port.
    Listen {
        /// Which one.
        endpoint: Endpoint,
        /// What the operating system says.
        error: io::Error,
    },
    /// What the node was told about trust, or a file that this names, is wrong.
    Trust(TrustError),
    /// The operating system gives no random bytes.
    NoRandomness,
    /// A security of High signs every message, and the node's key is a delegated one, which signs nothing.
    DelegatedKey,
    /// The node's key is a delegated one that does not count at this moment, or this machine's clock is wrong.
    DelegationExpired {
        /// From when on the key counts.
        not_before: UnixTime,
        /// Until when.
        not_after: UnixTime,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIdentity => f.write_str("the node has no identity; load or generate one"),
            Self::NoNetwork => f.write_str("the node has no network name; choose the one that its peers use"),
            Self::OutOfRange { field, allowed } => write!(f, "{field} is out of range; it may be {allowed}"),
            Self::Peer { id, error } => write!(f, "peer {id} cannot be added: {error}"),
            Self::Endpoint(error) => write!(f, "an endpoint is wrong: {error}"),
            Self::Listen { endpoint, error } if error.kind() == io::ErrorKind::AddrInUse => {
                let (noun, user) = match endpoint {
                    Endpoint::Memory(_) => ("name", "node"),
                    _ => ("port", "process"),
                };
                write!(
                    f,
                    "cannot listen on {endpoint}: the {noun} is in use; stop the other {user} or choose another {noun}"
                )
            }
            Self::KeyLog { path, error } => write!(f, "cannot use the key log {}: {error}", path.display()),
            Self::Store(error) => error.fmt(f),
            Self::Listen { endpoint, error } => write!(f, "cannot listen on {endpoint}: {error}"),
            Self::Trust(error) => error.fmt(f),
            Self::NoRandomness => f.write_str("the operating system gives no random bytes"),
            Self::DelegatedKey => {
                f.write_str("a security of High signs every message, and a delegated key signs none")
            }
            Self::DelegationExpired { not_before, not_after } => write!(
                f,
                "the node's key is a delegated one, valid from {} until {} only",
                shown(*not_before),
                shown(*not_after)
            ),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen { error, .. } | Self::KeyLog { error, .. } => Some(error),
            Self::Peer { error, .. } => Some(error),
            Self::Endpoint(error) => Some(error),
            Self::Store(error) => Some(error),
            Self::Trust(error) => Some(error),
            _ => None,
        }
    }
}

/// Why a roster was not taken; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReloadError {
    /// A peer of it cannot be added.
    Peer {
        /// Which one.
        id: NodeId,
        /// Why.
        error: AddPeerError,
    },
    /// It names more peers than there is room for: name fewer, or raise the limit at the next start.
    Full {
        /// Peers for which there is room beside those that connected and are here.
        room: usize,
    },
    /// Its trust is wrong, or a file that this names.
    Trust {
        /// What is wrong.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// The node has been shut down.
    Closed,
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer { id, error } => write!(f, "peer {id} cannot be added: {error}"),
            Self::Full { room } => write!(f, "there is room for {room} further peers only; name fewer"),
            Self::Trust { problem, .. } => f.write_str(problem),
            Self::Closed => f.write_str("the node has been shut down"),
        }
    }
}

impl std::error::Error for ReloadError {}

impl From<TrustError> for ReloadError {
    fn from(error: TrustError) -> Self {
        match error {
            TrustError::Closed => Self::Closed,
            error => Self::Trust { problem: error.to_string(), remedy: error.remedy() },
        }
    }
}

/// Why a peer was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddPeerError {
    /// The id is this node's own: check the list of peers.
    OwnId,
    /// The limit of peers is reached: remove one, or raise the limit.
    Full,
    /// The endpoint cannot be dialled: its port is 0, or this build has no such transport.
    Endpoint,
    /// The node has been shut down.
    Closed,
}

impl fmt::Display for AddPeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnId => "the id is this node's own; check the list of peers",
            Self::Full => "the limit of peers is reached; remove one or raise the limit",
            Self::Endpoint => "the endpoint cannot be dialled; check its port and its transport",
            Self::Closed => "the node has been shut down",
        })
    }
}

impl std::error::Error for AddPeerError {}

impl From<node::AddPeerError> for AddPeerError {
    fn from(error: node::AddPeerError) -> Self {
        match error {
            node::AddPeerError::OwnId => Self::OwnId,
            node::AddPeerError::Full => Self::Full,
        }
    }
}

/// Why something about a peer could not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerError {
    /// There is no peer with this id: add it, or wait until it connects.
    UnknownPeer,
    /// There is no session with the peer, or it ended meanwhile: try again when it is up.
    NotConnected,
    /// The node has been shut down.
    Closed,
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownPeer => "there is no peer with this id; add it first",
            Self::NotConnected => "there is no session with the peer; wait until it is up",
            Self::Closed => "the node has been shut down",
        })
    }
}

impl std::error::Error for PeerError {}
