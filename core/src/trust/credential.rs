//! From a certificate to evidence: who holds a [`Credential`] has checked a signature.

use crate::identity::{self, Identity, NotOwnKey};
use crate::ids::{NodeId, NodeType, Roles};
use crate::time::UnixTime;
use crate::wire::certificate::Certificate;
use crate::wire::hello::NetworkTag;
use crate::wire::reason::Reason;

/// What a certificate says of a node, after its signature has verified.
///
/// Made by [`verify`](Self::verify) only. It says nothing of whether the authority is trusted, of the time or of
/// revocations: see [`Authorities::admits`](super::Authorities::admits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential {
    authority: NodeId,
    serial: u64,
    node_type: NodeType,
    roles: Roles,
    not_before: UnixTime,
    not_after: UnixTime,
}

impl Credential {
    /// What certificate `serial` of some authority proves of a node, for tests of those who judge and have no keys.
    #[cfg(test)]
    pub(crate) fn sample(node: NodeId, serial: u64) -> Self {
        let network = NetworkTag::of("garden");
        let authority = Identity::from_seed(&[1; 32]).expect("the seed has a sign bit of 0");
        let certificate = Certificate {
            authority: authority.id(),
            serial,
            node,
            node_type: NodeType::Hyphae,
            roles: Roles::NONE,
            not_before: UnixTime::from_micros(0),
            not_after: UnixTime::from_micros(1),
            signature: [0; 64],
        };
        let signed = sign_certificate(&authority, network, certificate).expect("the key is its own");
        Self::verify(&signed, network, &node, NodeType::Hyphae).expect("just signed")
    }

    /// Verifies a certificate that the node `id`, which calls itself a `node_type`, presents in this network.
    ///
    /// # Errors
    /// [`Reason::BadCertificate`] if it is for another node or its signature does not verify (strictly, see
    /// [`identity::verify`]), which is also the answer to one of another network; [`Reason::WrongRole`] if it is for another
    /// type of node.
    pub fn verify(
        certificate: &Certificate,
        network: NetworkTag,
        id: &NodeId,
        node_type: NodeType,
    ) -> Result<Self, Reason> {
        let Certificate { authority, serial, node, roles, not_before, not_after, .. } = *certificate;
        if node != *id {
            return Err(Reason::BadCertificate);
        }
        identity::verify(&authority, &certificate.signed(network), &certificate.signature)
            .map_err(|_| Reason::BadCertificate)?;
        if certificate.node_type != node_type {
            return Err(Reason::WrongRole);
        }
        Ok(Self { authority, serial, node_type, roles, not_before, not_after })
    }

    /// Who vouches for the node.
    pub const fn authority(&self) -> NodeId {
        self.authority
    }

    /// The certificate's number among those of the authority.
    pub const fn serial(&self) -> u64 {
        self.serial
    }

    /// What the node is.
    pub const fn node_type(&self) -> NodeType {
        self.node_type
    }

    /// What it may do.
    pub const fn roles(&self) -> Roles {
        self.roles
    }

    /// From when the certificate holds.
    pub const fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// When it expires.
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }
}

/// Makes `certificate` one of this authority in this network: sets its authority and its signature.
///
/// # Errors
/// [`NotOwnKey`] from an identity whose key is a delegated one.
pub fn sign_certificate(
    authority: &Identity,
    network: NetworkTag,
    certificate: Certificate,
) -> Result<Certificate, NotOwnKey> {
    let certificate = Certificate { authority: authority.id(), ..certificate };
    Ok(Certificate { signature: authority.sign(&certificate.signed(network))?, ..certificate })
}
