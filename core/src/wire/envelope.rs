//! The envelope in canonical form, protocol section 7: what a message says about itself, complete and unchanging.
//!
//! | size | field |
//! |---|---|
//! | 1 | version: 1 |
//! | 1 | flags: bits 0-1 priority, 2 broadcast, 3 encrypted, 4 signature present, 5-7 zero |
//! | 2 | message type |
//! | 8 + 8 | message id: epoch, sequence |
//! | 32 | source node id |
//! | 32 | target node id, unless broadcast |
//! | 8 | timestamp |
//! | 4 | ttl |
//! | 4 | payload length |
//! | n | payload |
//! | 64 | signature, if present |
//!
//! Canonical: one envelope has one encoding, so a decoded one encodes to the bytes that were received. The codec reads
//! a signature and does not verify it.

use super::{
    cursor::{Reader, Writer},
    reason::Reason,
};
use crate::{
    ids::{MessageId, NodeId, Priority},
    time::UnixTime,
};

/// Bytes of an Ed25519 signature.
pub const SIGNATURE_LEN: usize = 64;

/// A message with all that applications see of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Unique together with the source.
    pub message_id: MessageId,
    /// Who wrote the message.
    pub source_node_id: NodeId,
    /// Whom it is for; `None` is a broadcast.
    pub target_node_id: Option<NodeId>,
    /// When it was written.
    pub timestamp: UnixTime,
    /// Seconds after which it is worthless; 0 = never.
    pub ttl: u32,
    /// How urgent it is.
    pub priority: Priority,
    /// Whether the payload is sealed to the target. A broadcast never is.
    pub is_encrypted: bool,
    /// What the application wrote, or its seal.
    pub payload: &'a [u8],
    /// The source's signature over all bytes before it, unverified.
    pub signature: Option<&'a [u8; SIGNATURE_LEN]>,
    /// What the payload means, see [`family`](super::family).
    pub message_type: u16,
}

impl<'a> Envelope<'a> {
    /// Bytes of the canonical form.
    pub const fn encoded_len(&self) -> usize {
        let signature_len = if self.signature.is_some() { SIGNATURE_LEN } else { 0 };
        self.signed_len() + signature_len
    }

    /// Bytes before the signature: what it covers. The flag that announces it is among them.
    pub const fn signed_len(&self) -> usize {
        let target_len = if self.target_node_id.is_some() { NodeId::LEN } else { 0 };
        FIXED_LEN + target_len + self.payload.len()
    }

    /// Writes the canonical form and returns its length.
    ///
    /// `None` if it does not fit `out`, the payload is 4 GiB or more, or the envelope is an encrypted broadcast.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let mut w = Writer::new(out);
        self.write(&mut w)?;
        Some(w.written())
    }

    /// Reads a canonical form that fills `bytes`.
    ///
    /// [`Reason::Version`] for another version of the form, else [`Reason::Malformed`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Reason> {
        let mut r = Reader::new(bytes);
        if r.u8()? != VERSION {
            return Err(Reason::Version);
        }
        let flags = r.u8()?;
        let is_broadcast = flags & BROADCAST != 0;
        let is_encrypted = flags & ENCRYPTED != 0;
        if flags & RESERVED != 0 || is_broadcast && is_encrypted {
            return Err(Reason::Malformed);
        }
        let message_type = r.u16()?;
        let message_id = MessageId { epoch: r.u64()?, sequence: r.u64()? };
        let source_node_id = NodeId::from_bytes(*r.array()?);
        let target_node_id = if is_broadcast { None } else { Some(NodeId::from_bytes(*r.array()?)) };
        let timestamp = UnixTime::from_micros(r.u64()?);
        let ttl = r.u32()?;
        let payload_len = r.u32()?;
        let payload = r.take_u64(u64::from(payload_len))?;
        let signature = if flags & SIGNED != 0 { Some(r.array()?) } else { None };
        if !r.is_empty() {
            return Err(Reason::Malformed);
        }
        Ok(Self {
            message_id,
            source_node_id,
            target_node_id,
            timestamp,
            ttl,
            priority: Priority::ALL[usize::from(flags & PRIORITY_MASK)],
            is_encrypted,
            payload,
            signature,
            message_type,
        })
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) -> Option<()> {
        if self.is_encrypted && self.target_node_id.is_none() {
            return None;
        }
        let mut flags = self.priority as u8;
        for (bit, is_set) in [
            (BROADCAST, self.target_node_id.is_none()),
            (ENCRYPTED, self.is_encrypted),
            (SIGNED, self.signature.is_some()),
        ] {
            flags |= if is_set { bit } else { 0 };
        }
        w.u8(VERSION)?;
        w.u8(flags)?;
        w.u16(self.message_type)?;
        w.u64(self.message_id.epoch)?;
        w.u64(self.message_id.sequence)?;
        w.bytes(self.source_node_id.as_bytes())?;
        if let Some(target) = &self.target_node_id {
            w.bytes(target.as_bytes())?;
        }
        w.u64(self.timestamp.as_micros())?;
        w.u32(self.ttl)?;
        w.u32(u32::try_from(self.payload.len()).ok()?)?;
        w.bytes(self.payload)?;
        if let Some(signature) = self.signature {
            w.bytes(signature)?;
        }
        Some(())
    }
}

const VERSION: u8 = 1;
const PRIORITY_MASK: u8 = 0b11;
const BROADCAST: u8 = 1 << 2;
const ENCRYPTED: u8 = 1 << 3;
const SIGNED: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;
/// All but target, payload and signature.
const FIXED_LEN: usize = 1 + 1 + 2 + 16 + NodeId::LEN + 8 + 4 + 4;
