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

impl NodeType {
    /// The type with this number on the wire, which is its discriminant.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Sclerotia),
            2 => Some(Self::Rhizomorph),
            3 => Some(Self::Hyphae),
            _ => None,
        }
    }
}

/// What an authority lets a node do: a set of 32 roles. Bits 0 to 15 are the protocol's, 16 to 31 each network's own.
///
/// The text form names the roles, separated by commas: `relay,service`; a role without a name is `role-N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Roles(u32);

impl Roles {
    /// No role.
    pub const NONE: Self = Self(0);

    /// The roles with a name, and their bits.
    pub const NAMED: [(&'static str, u8); 6] =
        [("relay", 0), ("gateway", 1), ("service", 2), ("storage", 3), ("time", 4), ("operator", 5)];

    /// The set of these bits.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits of the set.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The role of this name, `role-0` to `role-31` included.
    pub fn named(name: &str) -> Option<Self> {
        let known = Self::NAMED.iter().find(|(known, _)| *known == name).map(|(_, bit)| *bit);
        let bit = known.or_else(|| name.strip_prefix("role-")?.parse().ok().filter(|bit| *bit < 32))?;
        Some(Self(1 << bit))
    }

    /// Whether all of `others` are in this set.
    pub const fn contain(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// The roles of both sets.
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether there is no role.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for bit in (0..32_u8).filter(|bit| self.0 >> bit & 1 == 1) {
            f.write_str(core::mem::replace(&mut separator, ","))?;
            match Self::NAMED.iter().find(|(_, known)| *known == bit) {
                Some((name, _)) => f.write_str(name)?,
                None => write!(f, "role-{bit}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn every_role_has_a_name_that_reads_back() {
        for bit in 0..32 {
            let role = Roles::from_bits(1 << bit);

            assert_eq!(Roles::named(&role.to_string()), Some(role));
            assert_eq!(Roles::named(&std::format!("role-{bit}")), Some(role));
        }
        for name in ["", "Relay", "role-", "role-32", "role--1", "relay,time"] {
            assert_eq!(Roles::named(name), None, "{name}");
        }
        assert_eq!(Roles::from_bits(0b1_0000_0000_0000_0101).to_string(), "relay,service,role-16");
    }
}
