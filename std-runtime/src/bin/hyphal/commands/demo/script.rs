//! What the demo and its nodes say to each other: one JSON object a line, over the standard input and output of a node.
//!
//! Peers are named by their index, 0 to 4. A node whose standard input ends was left alone, and ends too.

use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How many nodes there are.
pub(super) const NODES: usize = 5;

/// The nodes' network.
pub(super) const NETWORK: &str = "hyphal-demo";

/// What carries the sessions with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    pub(super) const ALL: [Self; 2] = [Self::Tcp, Self::Udp];

    /// What carries the sessions of each node. The one on UDP has no TCP port, and dials the others at their UDP ports.
    pub(super) const OF_NODES: [Self; NODES] = [Self::Tcp, Self::Tcp, Self::Tcp, Self::Udp, Self::Tcp];

    /// What carries the session of two nodes.
    pub(super) fn between(a: usize, b: usize) -> Self {
        if [a, b].iter().any(|node| Self::OF_NODES[*node] == Self::Udp) { Self::Udp } else { Self::Tcp }
    }

    /// Where a node listens when it is started first.
    pub(super) fn free_port(self) -> &'static str {
        match self {
            Self::Tcp => "tcp://127.0.0.1:0",
            Self::Udp => "udp://127.0.0.1:0",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Where a node listens: a port of UDP, and of TCP unless it is the one on UDP.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Addresses {
    pub(super) tcp: Option<String>,
    pub(super) udp: String,
}

impl Addresses {
    /// Free ports for a node that carries its sessions over this.
    pub(super) fn free(transport: Transport) -> Self {
        let tcp = (transport == Transport::Tcp).then(|| Transport::Tcp.free_port().to_owned());
        Self { tcp, udp: Transport::Udp.free_port().to_owned() }
    }

    pub(super) fn of(&self, transport: Transport) -> Option<&str> {
        match transport {
            Transport::Tcp => self.tcp.as_deref(),
            Transport::Udp => Some(&self.udp),
        }
    }
}

/// What a node is, its first line of input.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Setup {
    /// Which node it is.
    pub(super) index: usize,
    /// How often it was started, this time included.
    pub(super) life: u32,
    /// Where keys, books and logs lie.
    pub(super) directory: PathBuf,
    /// The ids of all nodes, in the order of their indices.
    pub(super) ids: Vec<String>,
    /// The endpoints to listen at.
    pub(super) listen: Addresses,
}

impl Setup {
    /// The identity key of a node.
    pub(super) fn key(&self, index: usize) -> PathBuf {
        self.directory.join(format!("node-{index}.key"))
    }

    /// What a node sent in one of its lives, and what became of it.
    pub(super) fn book(&self, index: usize, life: u32) -> PathBuf {
        self.directory.join(format!("node-{index}-{life}.book"))
    }

    /// What a node received in one of its lives.
    pub(super) fn log(&self, index: usize, life: u32) -> PathBuf {
        self.directory.join(format!("node-{index}-{life}.log"))
    }
}

impl Setup {
    /// The directory where a node keeps Guaranteed messages, if it does.
    pub(super) fn store(&self, index: usize) -> Option<PathBuf> {
        KEEPERS.contains(&index).then(|| self.directory.join(format!("node-{index}.store")))
    }

    /// Guaranteed messages that a node had accepted in one of its lives.
    pub(super) fn promises(&self, index: usize, life: u32) -> PathBuf {
        self.directory.join(format!("node-{index}-{life}.promises"))
    }

    /// Guaranteed messages that a node received in one of its lives.
    pub(super) fn kept(&self, index: usize, life: u32) -> PathBuf {
        self.directory.join(format!("node-{index}-{life}.kept"))
    }
}

/// The nodes that keep Guaranteed messages: who sends them, and to whom.
pub(super) const KEEPERS: [usize; 2] = [0, 4];

/// How many lives a node has at most.
pub(super) const LIVES: u32 = 2;

/// What a node is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// Connect to the others, who listen here, in the order of all indices.
    Meet { addresses: Vec<Addresses> },
    /// Send messages to the others until told to stop.
    Talk,
    /// Send messages to an absent peer that live for a second only.
    Expire { peer: usize },
    /// Get ready for large messages.
    Expect,
    /// Send large messages to a peer, and Critical ones meanwhile.
    Transfer { peer: usize },
    /// Tell how long the Critical messages were under way.
    Account,
    /// Ask a peer something, sealed and signed, and get its answer so.
    Confide { peer: usize },
    /// Send Guaranteed messages to a peer, for as long as it lives.
    Promise { peer: usize },
    /// Tell when no Guaranteed message waits any more.
    Deliver,
    /// Send nothing more and tell when the fate of every message is known.
    Stop,
    /// End in good order.
    Quit,
}

/// What a node tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Report {
    /// It listens here.
    Ready { addresses: Addresses },
    /// A session is up.
    Up { peer: usize },
    /// A session ended.
    Down { peer: usize, reason: String },
    /// The verdict on a peer changed.
    Health { peer: usize, state: Health },
    /// The circuit breaker of a peer changed.
    Breaker { peer: usize, state: Breaker },
    /// So many messages were sent in this life, broadcasts counted once.
    Sent { count: u64 },
    /// The fate of every message of [`Order::Expire`] is known.
    Expired,
    /// It is ready for large messages.
    Expecting,
    /// The fate of every message of [`Order::Transfer`] is known.
    Transferred,
    /// How long Critical messages were under way to it during the transfer, in microseconds.
    Waits { waits_us: Vec<u64> },
    /// A message came that was sealed and signed.
    Opened,
    /// The fate of a message that was sealed and signed is known.
    Confided,
    /// So many Guaranteed messages were accepted in this life.
    Promised { count: u64 },
    /// No Guaranteed message waits any more.
    Delivered,
    /// The fate of every message is known; the round trips measured, in microseconds.
    Settled { rtts_us: Vec<u64> },
    /// It cannot go on.
    Failed { message: String },
}

/// [`hyphal::HealthState`] as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Health {
    Healthy,
    Degraded,
    Suspect,
    Down,
}

impl From<hyphal::HealthState> for Health {
    fn from(state: hyphal::HealthState) -> Self {
        match state {
            hyphal::HealthState::Healthy => Self::Healthy,
            hyphal::HealthState::Degraded => Self::Degraded,
            hyphal::HealthState::Suspect => Self::Suspect,
            hyphal::HealthState::Down => Self::Down,
        }
    }
}

/// [`hyphal::BreakerState`] as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Breaker {
    Closed,
    Open,
    HalfOpen,
}

impl From<hyphal::BreakerState> for Breaker {
    fn from(state: hyphal::BreakerState) -> Self {
        match state {
            hyphal::BreakerState::Closed => Self::Closed,
            hyphal::BreakerState::Open => Self::Open,
            hyphal::BreakerState::HalfOpen => Self::HalfOpen,
        }
    }
}

/// One line of either direction, its end included.
pub(super) fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}
