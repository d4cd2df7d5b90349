//! Reaching a peer and telling why not: the session that comes up, or the reason that the node heard, with its remedy.

use std::time::Duration;

use hyphal::{Node, NodeId, Reason, Recovery, recover_from_error};
use tokio::time::Instant;

/// Why there is no session, in words: what happened, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Obstacle {
    /// What the node heard; `None` if nothing was heard in time.
    pub(crate) reason: Option<Reason>,
    /// One clause about the peer, as "it belongs to another network".
    pub(crate) message: String,
    /// What to do; empty if there is nothing to say.
    pub(crate) remedy: String,
}

/// Waits for a session with `peer`; the first failed attempt decides, or `deadline`.
pub(crate) async fn session(
    node: &Node,
    network: &str,
    peer: NodeId,
    deadline: Instant,
) -> Result<(), Obstacle> {
    let ended = tokio::time::timeout_at(deadline, async {
        loop {
            let Some(status) = status(node, peer).await else { return Some(Reason::PeerRemoved) };
            if status.session.is_some() {
                return None;
            }
            if status.last_reason.is_some() {
                return status.last_reason;
            }
            tokio::time::sleep(LOOK).await;
        }
    });
    match ended.await {
        Ok(None) => Ok(()),
        Ok(Some(reason)) => Err(Obstacle::new(Some(reason), &node.id(), network)),
        Err(_) => Err(obstacle(node, network, peer).await),
    }
}

/// Resolves when the peer, or this node, refuses the session for a reason that a further attempt would not change.
pub(crate) async fn refusal(node: &Node, network: &str, peer: NodeId) -> Obstacle {
    loop {
        match status(node, peer).await {
            Some(status) if status.session.is_none() => {
                if let Some(reason) = status.last_reason.filter(|reason| is_lasting(*reason)) {
                    return Obstacle::new(Some(reason), &node.id(), network);
                }
            }
            _ => {}
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What stands between this node and the peer at this moment.
pub(crate) async fn obstacle(node: &Node, network: &str, peer: NodeId) -> Obstacle {
    let reason = status(node, peer).await.and_then(|status| status.last_reason);
    Obstacle::new(reason, &node.id(), network)
}

/// Whether a session with the peer is up.
pub(crate) async fn is_up(node: &Node, peer: NodeId) -> bool {
    status(node, peer).await.is_some_and(|status| status.session.is_some())
}

async fn status(node: &Node, peer: NodeId) -> Option<hyphal::PeerStatus> {
    node.peers().await.into_iter().map(|peer| peer.status).find(|status| status.id == peer)
}

fn is_lasting(reason: Reason) -> bool {
    matches!(recover_from_error(reason), Recovery::RetryLater | Recovery::GiveUp)
}

/// How often the listing of peers is looked at: a failed attempt alone is no event.
const LOOK: Duration = Duration::from_millis(20);

impl Obstacle {
    fn new(reason: Option<Reason>, own: &NodeId, network: &str) -> Self {
        let (message, remedy) = match reason {
            None => ("it did not answer in time".into(), "check the address, or wait longer"),
            Some(Reason::Unreachable) => (
                "it cannot be reached".into(),
                "check that its node runs and listens there, and that no firewall is between",
            ),
            Some(Reason::Untrusted) => (
                format!("its trust policy does not admit this node, {own}"),
                "add that id to peers or trust.admit of the peer, or use a key that it admits",
            ),
            Some(Reason::Network) => (
                format!("it belongs to another network than '{network}'"),
                "use the same network name at both ends: --network",
            ),
            Some(Reason::UnexpectedId) => (
                "another node answers there".into(),
                "check the id and the address: `hyphal id` on that machine prints its id",
            ),
            Some(Reason::OwnId) => (
                "this node itself answers there".into(),
                "give each node its own key, or use --ephemeral-key",
            ),
            Some(Reason::ClockSkew) => {
                ("its clock and this one are too far apart".into(), "synchronise the clocks of both machines")
            }
            Some(Reason::Version) => {
                ("it speaks no version of the protocol that this node speaks".into(), "upgrade the older one")
            }
            Some(Reason::HandshakeTimeout) => (
                "something answers there and does not finish the handshake".into(),
                "check that a Hyphal node listens on that port",
            ),
            Some(Reason::Malformed | Reason::TooLong | Reason::UnexpectedFrame | Reason::Checksum) => (
                "what answers there does not speak this protocol".into(),
                "check that a Hyphal node listens on that port",
            ),
            Some(Reason::Busy | Reason::Limit) => (
                format!("it refuses the connection: {}", said(reason)),
                "try again later, or raise its limits",
            ),
            Some(Reason::Replaced) => (
                "another process with the same key took the session".into(),
                "give each process its own key, or use --ephemeral-key",
            ),
            Some(_) => (format!("there is no session with it: {}", said(reason)), ""),
        };
        Self { reason, message, remedy: remedy.to_owned() }
    }
}

fn said(reason: Option<Reason>) -> String {
    reason.map(|reason| reason.to_string()).unwrap_or_default()
}
