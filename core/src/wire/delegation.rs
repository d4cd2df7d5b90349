//! A delegation, protocol section 9: a node lets another key than its own stand for it in handshakes, for a while.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 32 | the node's id |
//! | 32 | 8 | not before, microseconds since 1970 |
//! | 40 | 8 | not after, microseconds since 1970, later than not before |
//! | 48 | 64 | the node's Ed25519 signature |
//!
//! The key itself is not part of it: it is the static key of the handshake that the delegation comes in. Whether the
//! signature is the node's, `identity` decides.

use super::cursor::{Reader, Writer};
use super::envelope::SIGNATURE_LEN;
use super::reason::Reason;
use crate::ids::NodeId;
use crate::time::UnixTime;

/// One node's word that a certain key stands for it. Holding one proves nothing: see `identity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delegation {
    /// For whom the key stands, and who has signed.
    pub id: NodeId,
    /// From when on.
    pub not_before: UnixTime,
    /// Until when; at that moment it is over.
    pub not_after: UnixTime,
    /// The Ed25519 signature over [`signed_bytes`](Self::signed_bytes).
    pub signature: [u8; SIGNATURE_LEN],
}

impl Delegation {
    /// Bytes of a delegation.
    pub const LEN: usize = NodeId::LEN + 2 * size_of::<u64>() + SIGNATURE_LEN;
    /// Bytes of what is signed.
    pub const SIGNED_LEN: usize = LABEL.len() + KEY_LEN + 2 * size_of::<u64>();

    /// What the node signs: `hyphal/1 delegation` | the X25519 key | not before | not after.
    ///
    /// The node's id is part of every Ed25519 signature, so it does not stand here.
    pub fn signed_bytes(
        key: &[u8; KEY_LEN],
        not_before: UnixTime,
        not_after: UnixTime,
    ) -> [u8; Self::SIGNED_LEN] {
        joined([LABEL, key, &not_before.as_micros().to_be_bytes(), &not_after.as_micros().to_be_bytes()])
    }

    /// The bytes of the delegation.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let Self { id, not_before, not_after, signature } = self;
        let (not_before, not_after) = (not_before.as_micros(), not_after.as_micros());
        joined([id.as_bytes(), &not_before.to_be_bytes(), &not_after.to_be_bytes(), signature])
    }

    /// Reads a delegation that is all of `bytes`; [`Reason::Malformed`] if it has another length or is never valid.
    pub fn decode(bytes: &[u8]) -> Result<Self, Reason> {
        let mut r = Reader::new(bytes);
        let delegation = Self {
            id: NodeId::from_bytes(*r.array()?),
            not_before: UnixTime::from_micros(r.u64()?),
            not_after: UnixTime::from_micros(r.u64()?),
            signature: *r.array()?,
        };
        let is_sound = r.is_empty() && delegation.not_before < delegation.not_after;
        if is_sound { Ok(delegation) } else { Err(Reason::Malformed) }
    }

    /// When it is time for the next one: a quarter of its span before the end.
    pub fn renew_at(&self) -> UnixTime {
        let (from, until) = (self.not_before.as_micros(), self.not_after.as_micros());
        UnixTime::from_micros(until.saturating_sub(until.saturating_sub(from) / 4))
    }

    /// Whether it is valid at this moment: not before its first, and before its last.
    pub fn is_valid_at(&self, time: UnixTime) -> bool {
        self.not_before <= time && time < self.not_after
    }
}

const LABEL: &[u8; 19] = b"hyphal/1 delegation";
/// Bytes of an X25519 key.
const KEY_LEN: usize = 32;

/// The fields one after another, which are as long as the array.
fn joined<const LEN: usize>(fields: [&[u8]; 4]) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    let mut w = Writer::new(&mut bytes);
    for field in fields {
        w.bytes(field).expect("the array is as long as its fields");
    }
    bytes
}
