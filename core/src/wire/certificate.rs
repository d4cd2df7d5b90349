//! The certificate, protocol section 17: an authority's word on what a node is and may do, and from when to when.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | version of this form: 1 |
//! | 1 | 32 | authority: its node id |
//! | 33 | 8 | serial: of all certificates of the authority, this one's |
//! | 41 | 32 | node id |
//! | 73 | 1 | node type |
//! | 74 | 4 | roles, one bit each |
//! | 78 | 8 | not before, microseconds since 1970 |
//! | 86 | 8 | not after, later than not before |
//! | 94 | 64 | Ed25519 signature of the authority |
//!
//! Bytes only: a certificate that decodes proves nothing, see [`trust`](crate::trust).

use super::{
    cursor::{Reader, Writer},
    hello::NetworkTag,
    reason::Reason,
    statement,
};
use crate::{
    ids::{NodeId, NodeType, Roles},
    time::UnixTime,
};

/// A certificate, verified or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Who signed it.
    pub authority: NodeId,
    /// Its number among the authority's certificates, by which it is revoked.
    pub serial: u64,
    /// Whom it is for.
    pub node: NodeId,
    /// What that node is.
    pub node_type: NodeType,
    /// What it may do.
    pub roles: Roles,
    /// From when it holds.
    pub not_before: UnixTime,
    /// Until when; at this moment it has expired.
    pub not_after: UnixTime,
    /// The authority's signature over [`signed`](Self::signed).
    pub signature: [u8; SIGNATURE_LEN],
}

impl Certificate {
    /// Bytes of a certificate.
    pub const LEN: usize = BODY_LEN + SIGNATURE_LEN;

    /// The certificate's bytes.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (body, signature) = bytes.split_at_mut(BODY_LEN);
        self.write(body).expect("the length is that of all fields");
        signature.copy_from_slice(&self.signature);
        bytes
    }

    /// Reads a certificate, which has exactly [`LEN`](Self::LEN) bytes.
    ///
    /// # Errors
    /// [`Reason::BadCertificate`] for another length or version, a node type that there is not, or an end before the start.
    pub fn decode(bytes: &[u8]) -> Result<Self, Reason> {
        let bad = |_| Reason::BadCertificate;
        let mut r = Reader::new(bytes);
        if bytes.len() != Self::LEN || r.u8().map_err(bad)? != VERSION {
            return Err(Reason::BadCertificate);
        }
        let certificate = Self {
            authority: NodeId::from_bytes(*r.array().map_err(bad)?),
            serial: r.u64().map_err(bad)?,
            node: NodeId::from_bytes(*r.array().map_err(bad)?),
            node_type: NodeType::from_code(r.u8().map_err(bad)?).ok_or(Reason::BadCertificate)?,
            roles: Roles::from_bits(r.u32().map_err(bad)?),
            not_before: UnixTime::from_micros(r.u64().map_err(bad)?),
            not_after: UnixTime::from_micros(r.u64().map_err(bad)?),
            signature: *r.array().map_err(bad)?,
        };
        if certificate.not_before >= certificate.not_after {
            return Err(Reason::BadCertificate);
        }
        Ok(certificate)
    }

    /// What the authority signs of it, in this network.
    pub fn signed(&self, network: NetworkTag) -> [u8; statement::LEN] {
        let mut body = [0; BODY_LEN];
        self.write(&mut body).expect("the length is that of all fields");
        statement::of(LABEL, network, &body)
    }

    fn write(&self, body: &mut [u8]) -> Option<()> {
        let mut w = Writer::new(body);
        w.u8(VERSION)?;
        w.bytes(self.authority.as_bytes())?;
        w.u64(self.serial)?;
        w.bytes(self.node.as_bytes())?;
        w.u8(self.node_type as u8)?;
        w.u32(self.roles.bits())?;
        w.u64(self.not_before.as_micros())?;
        w.u64(self.not_after.as_micros())
    }
}

const VERSION: u8 = 1;
const LABEL: &[u8; 20] = b"hyphal/1 certificate";
const SIGNATURE_LEN: usize = 64;
const BODY_LEN: usize = 1 + NodeId::LEN + 8 + NodeId::LEN + 1 + 4 + 8 + 8;
