//! Whom a node admits and whom it dials: the part of its configuration that can be replaced while it runs.
//!
//! A roster is replaced as a whole or not at all: the control task checks all of a new one before any of it counts.

use hyphal_core::ids::NodeId;
use hyphal_core::node::Trust;

use crate::address::{BadEndpoint, Endpoint};
use crate::config::Config;
use crate::trust::TrustSettings;

/// Whom a node admits and whom it dials, for [`Node::reload`](crate::Node::reload).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    pub(crate) trust: TrustSettings,
    pub(crate) peers: Vec<(NodeId, Option<Endpoint>)>,
}

impl Roster {
    /// A roster without peers. `trust` is a policy, or all settings.
    pub fn new(trust: impl Into<TrustSettings>) -> Self {
        Self { trust: trust.into(), peers: Vec::new() }
    }

    /// Keeps a session with `id`, dialled at `endpoint`, beside those named before; of two with one id the later counts.
    ///
    /// # Errors
    /// [`BadEndpoint`] if `endpoint` is a text that is none.
    pub fn peer<E: TryInto<Endpoint>>(mut self, id: NodeId, endpoint: E) -> Result<Self, BadEndpoint>
    where
        E::Error: Into<BadEndpoint>,
    {
        self.peers.push((id, Some(endpoint.try_into().map_err(Into::into)?)));
        Ok(self)
    }

    /// Knows `id` without dialling it.
    #[must_use]
    pub fn known_peer(mut self, id: NodeId) -> Self {
        self.peers.push((id, None));
        self
    }
}

impl From<&Config> for Roster {
    fn from(config: &Config) -> Self {
        let dialled = config.peers.iter().map(|peer| (peer.id, Some(peer.endpoint.clone())));
        // A peer with an address may also be listed among the admitted; it is dialled then.
        let admitted = config.trust.admit.iter().filter(|id| config.peers.iter().all(|peer| peer.id != **id));
        Self {
            trust: TrustSettings::from(&config.trust),
            peers: admitted.map(|id| (*id, None)).chain(dialled).collect(),
        }
    }
}

/// What a new roster changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// The policy before and from here on, if it changed.
    pub trust: Option<(Trust, Trust)>,
    /// Whether anything else about trust changed: authorities, what is asked of certificates, the own certificate, a newer
    /// revocation list.
    pub certificates: bool,
    /// Peers that are in the roster now, strangers that connected before included.
    pub added: Vec<NodeId>,
    /// Peers that are dialled elsewhere from here on, or no more, or now. Their sessions stay.
    pub changed: Vec<NodeId>,
    /// Peers that are not in the roster any more; their sessions are closed.
    pub removed: Vec<NodeId>,
}

impl Reloaded {
    /// Whether the new roster says what the old one said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
