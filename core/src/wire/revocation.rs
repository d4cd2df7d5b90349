//! The revocation list, protocol section 17: the serials of an authority's certificates that hold no more.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | version of this form: 1 |
//! | 1 | 32 | authority: its node id |
//! | 33 | 8 | version of the list, rising with each one that the authority signs |
//! | 41 | 8 | issued at, microseconds since 1970 |
//! | 49 | 8 | next update: when a newer list is due, later than issued at |
//! | 57 | 2 | count of serials, at most 4,096 |
//! | 59 | 8 each | serials, rising |
//! | after | 64 | Ed25519 signature of the authority |
//!
//! Bytes only: a list that decodes proves nothing, see [`trust`](crate::trust).

use super::{
    cursor::{Reader, Writer},
    hello::NetworkTag,
    reason::Reason,
    statement,
};
use crate::{ids::NodeId, time::UnixTime};

/// The type of the message that carries a revocation list from node to node.
pub const REVOCATIONS: u16 = 0x0A01;

/// What a list says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListHeader {
    /// Who signed it.
    pub authority: NodeId,
    /// Its number among the authority's lists: the highest counts.
    pub version: u64,
    /// When it was signed.
    pub issued_at: UnixTime,
    /// When a newer one is due; from then on it is stale.
    pub next_update: UnixTime,
}

/// A revocation list in its bytes, verified or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevocationList<'a> {
    header: ListHeader,
    body: &'a [u8],
    serials: &'a [u8],
    signature: &'a [u8; SIGNATURE_LEN],
}

impl<'a> RevocationList<'a> {
    /// Serials that a list holds at most. An authority leaves those out whose certificates have expired.
    pub const MAX_SERIALS: usize = 4096;
    /// Bytes of the longest list.
    pub const MAX_LEN: usize = Self::len_with(Self::MAX_SERIALS);

    /// Bytes of a list with so many serials.
    pub const fn len_with(serials: usize) -> usize {
        HEADER_LEN + serials * SERIAL_LEN + SIGNATURE_LEN
    }

    /// Reads a list to the end of `bytes`.
    ///
    /// # Errors
    /// [`Reason::TooLong`] for more serials than a list may hold, [`Reason::Malformed`] for everything else that is wrong
    /// with the bytes.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Reason> {
        let list = Self::layout(bytes)?;
        let ListHeader { issued_at, next_update, .. } = list.header;
        if issued_at < next_update && list.serials().is_sorted_by(|a, b| a < b) {
            Ok(list)
        } else {
            Err(Reason::Malformed)
        }
    }

    /// The parts of a list, which may be in any order and at any times; enough for bytes that were decoded before.
    pub(crate) fn layout(bytes: &'a [u8]) -> Result<Self, Reason> {
        let mut r = Reader::new(bytes);
        if r.u8()? != VERSION {
            return Err(Reason::Malformed);
        }
        let header = ListHeader {
            authority: NodeId::from_bytes(*r.array()?),
            version: r.u64()?,
            issued_at: UnixTime::from_micros(r.u64()?),
            next_update: UnixTime::from_micros(r.u64()?),
        };
        let count = usize::from(r.u16()?);
        if count > Self::MAX_SERIALS {
            return Err(Reason::TooLong);
        }
        let serials = r.take(count * SERIAL_LEN)?;
        let signature = r.array()?;
        let body = bytes.get(..Self::len_with(count) - SIGNATURE_LEN).ok_or(Reason::Malformed)?;
        if r.is_empty() { Ok(Self { header, body, serials, signature }) } else { Err(Reason::Malformed) }
    }

    /// Writes a list with a signature that `sign` makes of the bytes it is given, and returns its length.
    ///
    /// `None` if it does not fit `out`, there are too many serials or they do not rise, or it is stale from the start.
    pub fn encode(
        header: &ListHeader,
        serials: &[u64],
        network: NetworkTag,
        out: &mut [u8],
        sign: impl FnOnce(&[u8]) -> Option<[u8; SIGNATURE_LEN]>,
    ) -> Option<usize> {
        let is_good = serials.len() <= Self::MAX_SERIALS
            && serials.is_sorted_by(|a, b| a < b)
            && header.issued_at < header.next_update;
        if !is_good {
            return None;
        }
        let mut w = Writer::new(out);
        w.u8(VERSION)?;
        w.bytes(header.authority.as_bytes())?;
        w.u64(header.version)?;
        w.u64(header.issued_at.as_micros())?;
        w.u64(header.next_update.as_micros())?;
        w.u16(u16::try_from(serials.len()).ok()?)?;
        serials.iter().try_for_each(|serial| w.u64(*serial))?;
        let len = w.written();
        let signature = sign(&statement::of(LABEL, network, out.get(..len)?))?;
        out.get_mut(len..len + SIGNATURE_LEN)?.copy_from_slice(&signature);
        Some(len + SIGNATURE_LEN)
    }

    /// What the list says of itself.
    pub const fn header(&self) -> &ListHeader {
        &self.header
    }

    /// The serials that hold no more, rising.
    pub fn serials(&self) -> impl ExactSizeIterator<Item = u64> + 'a {
        let (serials, _) = self.serials.as_chunks();
        serials.iter().map(|serial| u64::from_be_bytes(*serial))
    }

    /// Whether the certificate with this serial is revoked.
    pub fn contains(&self, serial: u64) -> bool {
        let (serials, _) = self.serials.as_chunks::<SERIAL_LEN>();
        serials.binary_search_by_key(&serial, |bytes| u64::from_be_bytes(*bytes)).is_ok()
    }

    /// The authority's signature over [`signed`](Self::signed).
    pub const fn signature(&self) -> &'a [u8; SIGNATURE_LEN] {
        self.signature
    }

    /// What the authority signs of it, in this network.
    pub fn signed(&self, network: NetworkTag) -> [u8; statement::LEN] {
        statement::of(LABEL, network, self.body)
    }
}

const VERSION: u8 = 1;
const LABEL: &[u8; 20] = b"hyphal/1 revocations";
const SIGNATURE_LEN: usize = 64;
const SERIAL_LEN: usize = 8;
const HEADER_LEN: usize = 1 + NodeId::LEN + 8 + 8 + 8 + 2;
