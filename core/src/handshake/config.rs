//! What a node brings to every handshake: what it says of itself, what it demands, and what it proves itself with.

use crate::identity::Identity;
use crate::ids::NodeType;
use crate::profile::Security;
use crate::time::Duration;
use crate::wire::certificate::Certificate;
use crate::wire::hello::NetworkTag;
use crate::wire::message::Methods;

/// What a node says of itself in every handshake, and what it demands of the other end.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The network; a peer of another one is rejected.
    pub network: NetworkTag,
    /// What this node is in the network.
    pub node_type: NodeType,
    /// Random 64 bits drawn at every boot: the epoch of this node's message ids.
    pub boot_id: u64,
    /// The longest message payload that this node takes, in bytes.
    pub max_message: u32,
    /// The longest record that this node takes, in bytes after its length field; less than 512 counts as 512.
    pub max_record: u16,
    /// Bytes of received messages that this node holds at most while its application is not done with them; less than
    /// `max_record` counts as that.
    pub window: u32,
    /// The methods of compression that this node takes: what its hello announces, and all that a peer may use.
    pub compression: Methods,
    /// Whether this node keeps Guaranteed messages: takes those of peers, and remembers durably what came of them.
    pub keeps_guaranteed: bool,
    /// How often this node lets a peer hear from it: 10 ms to 655 s, the nearest of which counts.
    pub heartbeat: Duration,
    /// How long a handshake may take in all.
    pub handshake_timeout: Duration,
    /// How far two synchronised clocks may lie apart.
    pub max_skew: Duration,
    /// The least security of this end's sessions; [`Minimal`](Security::Minimal) leaves it to the profile of the pair.
    pub security: Security,
}

impl Config {
    /// The shortest heartbeat interval; a shorter one counts as this.
    pub const MIN_HEARTBEAT: Duration = Duration::from_millis(10);
}

/// What a node proves itself with in a handshake. An [`Identity`] alone will do where nobody asks for certificates.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'i> {
    /// The key that is the node.
    pub identity: &'i Identity,
    /// What an authority says of it: shown to every peer.
    pub certificate: Option<&'i Certificate>,
}

impl<'i> From<&'i Identity> for Credentials<'i> {
    fn from(identity: &'i Identity) -> Self {
        Self { identity, certificate: None }
    }
}
