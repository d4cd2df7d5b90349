//! The names of things: which node, which message. Plain values; what proves them lives in `identity` and `handshake`.

use core::fmt;

/// A node's name: its Ed25519 public key, 32 bytes. Holding one proves nothing; a finished handshake does.
///
/// The text form is [`Display`](fmt::Display) and [`FromStr`](core::str::FromStr), see `identity`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; NodeId::LEN]);

impl NodeId {
    /// Bytes of an id.
    pub const LEN: usize = 32;

    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes of the id.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What names a peer in the first frame of a reconnect, once, to nobody but the other end of an earlier session.
///
/// Both ends derive it from that session's keys. To anyone else it is eight random bytes; who sees it first can spoil it,
/// which costs a round trip. `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hint([u8; Hint::LEN]);

impl Hint {
    /// Bytes of a hint.
    pub const LEN: usize = 8;

    /// The hint with these bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes of the hint.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hint(..)")
    }
}

/// What one session leaves to its two ends for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hints {
    /// With which this end may dial the peer next.
    pub own: Hint,
    /// With which the peer may dial this end next.
    pub peers: Hint,
    /// The X25519 key that stood for the peer: by either hint the next handshake is with this key.
    pub key: [u8; 32],
}

/// A node that an earlier session has proven, and the X25519 key that stood for it there: its own or a delegated one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acquaintance {
    /// The node.
    pub id: NodeId,
    /// The key.
    pub key: [u8; 32],
}

/// What is left of a session for the next one: the handshake takes one round trip, if the peer still has its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumption {
    /// The peer.
    pub peer: Acquaintance,
    /// This end's hint: to be used once.
    pub hint: Hint,
}

/// A message's name, unique together with its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// Random 64 bits that the source drew when it booted.
    pub epoch: u64,
    /// Counts the source's messages since then.
    pub sequence: u64,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.epoch, self.sequence)
    }
}

/// How urgent a message is. The outbox writes Critical first and lets no class starve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Priority {
    /// Routine updates, heartbeats, metrics.
    Low = 0,
    /// Regular operations.
    #[default]
    Medium = 1,
    /// Consensus, economic, quick.
    High = 2,
    /// Security alerts and failures: at once.
    Critical = 3,
}

impl Priority {
    /// All classes, least urgent first: `ALL[p as usize] == p`.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];
}

/// How much is done for a message when its session ends before it was acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reliability {
    /// Nothing: it was written once, and may or may not have arrived.
    #[default]
    BestEffort = 0,
    /// It is kept until it is acknowledged, and written again in later sessions, until its time to live ends.
    High = 1,
    /// As High, and it outlives restarts of both ends.
    Guaranteed = 2,
}

impl Reliability {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::BestEffort, Self::High, Self::Guaranteed];

    /// The name as it stands in logs, configuration and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BestEffort => "best-effort",
            Self::High => "high",
            Self::Guaranteed => "guaranteed",
        }
    }
}

/// What a node is in the network; the pair of types decides the profile of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum NodeType {
    /// A heavy server.
    Sclerotia = 1,
    /// A relay.
    Rhizomorph = 2,
    /// A client, phone or device.
    #[default]
    Hyphae = 3,
}
