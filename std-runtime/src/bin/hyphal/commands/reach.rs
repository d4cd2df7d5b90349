//! Reaching a peer and telling why not: the session that comes up, or the reason that the node heard, with its remedy.

use std::time::Duration;

use hyphal::address::Endpoint;
use hyphal::{Node, NodeId, PeerInfo, Reason, Recovery, recover_from_error};
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
            let info = info(node, peer).await;
            let Some(known) = &info else {
                return Some(Obstacle::new(Some(Reason::PeerRemoved), None, &node.id(), network));
            };
            if known.status.session.is_some() {
                return None;
            }
            if known.status.last_reason.is_some() {
                return Some(Obstacle::of(info.as_ref(), &node.id(), network));
            }
            tokio::time::sleep(LOOK).await;
        }
    });
    match ended.await {
        Ok(None) => Ok(()),
        Ok(Some(obstacle)) => Err(obstacle),
        Err(_) => Err(obstacle(node, network, peer).await),
    }
}

/// Resolves when the peer, or this node, refuses the session for a reason that a further attempt would not change.
pub(crate) async fn refusal(node: &Node, network: &str, peer: NodeId) -> Obstacle {
    loop {
        let info = info(node, peer).await.filter(|info| info.status.session.is_none());
        if info.as_ref().and_then(|info| info.status.last_reason).is_some_and(is_lasting) {
            return Obstacle::of(info.as_ref(), &node.id(), network);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What stands between this node and the peer at this moment.
pub(crate) async fn obstacle(node: &Node, network: &str, peer: NodeId) -> Obstacle {
    Obstacle::of(info(node, peer).await.as_ref(), &node.id(), network)
}

/// Whether a session with the peer is up.
pub(crate) async fn is_up(node: &Node, peer: NodeId) -> bool {
    info(node, peer).await.is_some_and(|info| info.status.session.is_some())
}

async fn info(node: &Node, peer: NodeId) -> Option<PeerInfo> {
    node.peers().await.into_iter().find(|info| info.status.id == peer)
}

fn is_lasting(reason: Reason) -> bool {
    matches!(recover_from_error(reason), Recovery::RetryLater | Recovery::GiveUp)
}

/// How often the listing of peers is looked at: a failed attempt alone is no event.
const LOOK: Duration = Duration::from_millis(20);

impl Obstacle {
    /// By what the node knows of the peer.
    fn of(info: Option<&PeerInfo>, own: &NodeId, network: &str) -> Self {
        let reason = info.and_then(|info| info.status.last_reason);
        Self::new(reason, info.and_then(|info| info.endpoint.as_ref()), own, network)
    }

    fn new(reason: Option<Reason>, endpoint: Option<&Endpoint>, own: &NodeId, network: &str) -> Self {
        let (message, remedy) = match reason {
            None => ("it did not answer in time".into(), "check the address, or wait longer"),
            Some(Reason::Unreachable) if matches!(endpoint, Some(Endpoint::Serial { .. })) => (
                "the serial line to it cannot be opened".into(),
                "check that the device is there and serial, that this user may open it, and that nothing else has it open",
            ),
            Some(Reason::Unreachable) => {
                // Whoever reads it may have named the peer by its id alone.
                let there = endpoint.map_or_else(|| "there".to_owned(), |endpoint| format!("at {endpoint}"));
                let remedy =
                    format!("check that its node runs and listens {there}, and that no firewall is between");
                return Self { reason, message: "it cannot be reached".into(), remedy };
            }
            Some(Reason::Untrusted) => (
                format!("its trust policy does not admit this node, {own}"),
                "add that id to peers or trust.admit of the peer, or use a key that it admits; where certificates count, name \
                 the same authorities at both ends (trust.authorities)",
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
            Some(Reason::DelegationExpired) => (
                "a delegated key has ended at one end, has not begun, or meets a node without a clock".into(),
                "make a new one where that node's own key is: hyphal key delegate; and look at both clocks",
            ),
            Some(Reason::BadDelegation) => (
                "the delegation of a key is not genuine, at one end or the other".into(),
                "make a new one where that node's own key is: hyphal key delegate",
            ),
            Some(Reason::NoCertificate) => (
                "one end asks for a certificate, and the other has none".into(),
                "issue one where the authority is, hyphal ca issue ID, and name its file in trust.certificate",
            ),
            Some(Reason::BadCertificate) => (
                "a certificate is damaged, or for another node or network, at one end or the other".into(),
                "look at both ends: hyphal doctor; issue it anew where the authority is: hyphal ca issue ID",
            ),
            Some(Reason::CertificateExpired) => (
                "a certificate has expired, at one end or the other".into(),
                "renew it where the authority is, hyphal ca renew ID, and put it in the old one's place; or a clock is wrong",
            ),
            Some(Reason::CertificateNotYetValid) => (
                "a certificate is not valid yet at one end, or a clock is wrong".into(),
                "synchronise the clocks of both machines, and that of the authority",
            ),
            Some(Reason::Revoked) => (
                "the authority has revoked a certificate, this node's or its".into(),
                "hyphal ca list says whose, where the authority is; a node that may come back gets a new one: hyphal ca issue ID",
            ),
            Some(Reason::WrongRole) => (
                "a certificate is for another type of node, or lacks a role that the other end asks for"
                    .into(),
                "compare node_type and trust.roles of both ends with hyphal ca list; change it with hyphal ca renew ID",
            ),
            Some(Reason::StaleList) => (
                "the authority's revocation list is overdue at one end, which therefore admits nobody new"
                    .into(),
                "sign a newer one where the authority is, hyphal ca revoke --refresh, and copy it to trust.revocations there",
            ),
            Some(Reason::Version) => {
                ("it speaks no version of the protocol that this node speaks".into(), "upgrade the older one")
            }
            // No connection comes before the handshake on these, so that silence looks like this as well.
            Some(Reason::HandshakeTimeout) if matches!(endpoint, Some(Endpoint::Udp(_))) => (
                "nothing answers there, or it does not finish the handshake".into(),
                "check that a Hyphal node listens on that UDP port, and that no firewall is between",
            ),
            Some(Reason::HandshakeTimeout) if matches!(endpoint, Some(Endpoint::Serial { .. })) => (
                "nothing answers on the line, or it does not finish the handshake".into(),
                "check that a Hyphal node listens at its other end, with the same baud rate",
            ),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_about_certificates_and_delegations_says_what_to_do() {
        let cases = [
            (Reason::NoCertificate, "has none", "trust.certificate"),
            (Reason::BadCertificate, "another node or network", "hyphal doctor"),
            (Reason::CertificateExpired, "has expired", "hyphal ca renew ID"),
            (Reason::CertificateNotYetValid, "not valid yet", "clocks"),
            (Reason::Revoked, "has revoked", "hyphal ca issue ID"),
            (Reason::WrongRole, "lacks a role", "trust.roles"),
            (Reason::StaleList, "is overdue", "hyphal ca revoke --refresh"),
            (Reason::Untrusted, "does not admit", "trust.authorities"),
            (Reason::BadDelegation, "not genuine", "hyphal key delegate"),
            (Reason::DelegationExpired, "has ended", "hyphal key delegate"),
        ];
        for (reason, problem, remedy) in cases {
            let obstacle = Obstacle::new(Some(reason), None, &NodeId::from_bytes([7; 32]), "garden");

            assert!(obstacle.message.contains(problem), "{reason:?}: {}", obstacle.message);
            assert!(obstacle.remedy.contains(remedy), "{reason:?}: {}", obstacle.remedy);
        }
    }

    #[test]
    fn of_an_address_that_cannot_be_reached_it_is_said_which() {
        let endpoint = "peer.example:4857".parse().unwrap();
        let reason = Some(Reason::Unreachable);

        let obstacle = Obstacle::new(reason, Some(&endpoint), &NodeId::from_bytes([7; 32]), "garden");

        assert!(obstacle.remedy.contains("listens at peer.example:4857,"), "{}", obstacle.remedy);
    }

    #[test]
    fn a_reason_without_words_of_its_own_is_said_as_the_protocol_says_it() {
        let obstacle = Obstacle::new(Some(Reason::Silent), None, &NodeId::from_bytes([7; 32]), "garden");

        assert_eq!(obstacle.message, format!("there is no session with it: {}", Reason::Silent));
    }
}
