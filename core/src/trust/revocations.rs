//! From the bytes of a revocation list to evidence: who holds [`Revocations`] has checked a signature.

use crate::identity::{self, Identity};
use crate::ids::NodeId;
use crate::wire::hello::NetworkTag;
use crate::wire::reason::Reason;
use crate::wire::revocation::{ListHeader, RevocationList};

/// A revocation list whose signature has verified, in the bytes in which it came: so it can be kept and passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocations<B> {
    header: ListHeader,
    bytes: B,
}

impl<B: AsRef<[u8]>> Revocations<B> {
    /// Verifies a list of whichever authority it names, in this network.
    ///
    /// # Errors
    /// [`Reason::Malformed`], [`Reason::TooLong`] as [`RevocationList::decode`]; [`Reason::BadSignature`].
    pub fn verify(bytes: B, network: NetworkTag) -> Result<Self, Reason> {
        let list = RevocationList::decode(bytes.as_ref())?;
        let header = *list.header();
        identity::verify(&header.authority, &list.signed(network), list.signature())?;
        Ok(Self { header, bytes })
    }

    /// What the list says of itself.
    pub const fn header(&self) -> &ListHeader {
        &self.header
    }

    /// The list.
    pub fn list(&self) -> RevocationList<'_> {
        RevocationList::layout(self.bytes.as_ref()).expect("the bytes were decoded when they were verified")
    }

    /// The list's bytes.
    pub const fn bytes(&self) -> &B {
        &self.bytes
    }

    /// Whether the certificate with this serial is revoked.
    pub fn contains(&self, serial: u64) -> bool {
        self.list().contains(serial)
    }
}

/// Writes a list of this authority in this network to `out`, and returns its length.
///
/// `None` if it does not fit, there are too many serials or they do not rise, it is stale from the start, or the identity is
/// not the owner of its key, who alone can sign.
pub fn sign_revocations(
    authority: &Identity,
    network: NetworkTag,
    header: ListHeader,
    serials: &[u64],
    out: &mut [u8],
) -> Option<usize> {
    let id: NodeId = authority.id();
    let header = ListHeader { authority: id, ..header };
    RevocationList::encode(&header, serials, network, out, |signed| authority.sign(signed).ok())
}
