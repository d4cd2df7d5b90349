//! The envelope in canonical form, protocol section 7: what a message says about itself, complete and unchanging.
//!
//! | size | field |
//! |---|---|
//! | 1 | version: 1 |
//! | 1 | flags: bits 0-1 priority, 2 broadcast, 3 encrypted, 4 signature present, 5-7 zero |
//! | 2 | message type; 0 if encrypted |
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
//! seals and signatures and verifies neither. [`EnvelopeHeader`] is all before the payload: what a seal is bound to, and
//! what a stream shows first.

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
/// The message type of an encrypted envelope: the true one is sealed.
pub const SEALED_TYPE: u16 = 0;

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
    /// What the payload means, see [`family`](super::family); 0 if that is sealed.
    pub message_type: u16,
}

/// All that stands before an envelope's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvelopeHeader {
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
    /// Whether a signature follows the payload.
    pub is_signed: bool,
    /// What the payload means; 0 if that is sealed.
    pub message_type: u16,
    /// Bytes of the payload.
    pub payload_len: u32,
}

impl<'a> Envelope<'a> {
    /// Bytes of the canonical form.
    pub const fn encoded_len(&self) -> usize {
        let signature_len = if self.signature.is_some() { SIGNATURE_LEN } else { 0 };
        self.signed_len() + signature_len
    }

    /// Bytes before the signature: what it covers. The flag that announces it is among them.
    pub const fn signed_len(&self) -> usize {
        header_len(self.target_node_id.is_some()) + self.payload.len()
    }

    /// All before the payload; `None` if the payload is 4 GiB or more.
    pub fn header(&self) -> Option<EnvelopeHeader> {
        Some(EnvelopeHeader {
            message_id: self.message_id,
            source_node_id: self.source_node_id,
            target_node_id: self.target_node_id,
            timestamp: self.timestamp,
            ttl: self.ttl,
            priority: self.priority,
            is_encrypted: self.is_encrypted,
            is_signed: self.signature.is_some(),
            message_type: self.message_type,
            payload_len: u32::try_from(self.payload.len()).ok()?,
        })
    }

    /// Writes the canonical form and returns its length.
    ///
    /// `None` if it does not fit `out`, the payload is 4 GiB or more, or the envelope is encrypted and a broadcast or of a
    /// type that can be read.
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
        let header = EnvelopeHeader::read(&mut r)?;
        let payload = r.take_u64(u64::from(header.payload_len))?;
        let signature = if header.is_signed { Some(r.array()?) } else { None };
        if !r.is_empty() {
            return Err(Reason::Malformed);
        }
        Ok(Self {
            message_id: header.message_id,
            source_node_id: header.source_node_id,
            target_node_id: header.target_node_id,
            timestamp: header.timestamp,
            ttl: header.ttl,
            priority: header.priority,
            is_encrypted: header.is_encrypted,
            payload,
            signature,
            message_type: header.message_type,
        })
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) -> Option<()> {
        self.header()?.write(w)?;
        w.bytes(self.payload)?;
        if let Some(signature) = self.signature {
            w.bytes(signature)?;
        }
        Some(())
    }
}

impl EnvelopeHeader {
    /// Bytes of the longest header: one with a target.
    pub const MAX_LEN: usize = header_len(true);

    /// Bytes of a header with or without a target.
    pub const fn len_with(has_target: bool) -> usize {
        header_len(has_target)
    }

    /// Bytes of the header.
    pub const fn encoded_len(&self) -> usize {
        header_len(self.target_node_id.is_some())
    }

    /// Bytes of the whole envelope in canonical form.
    pub const fn envelope_len(&self) -> u64 {
        let signature_len = if self.is_signed { SIGNATURE_LEN } else { 0 };
        self.payload_len as u64 + (self.encoded_len() + signature_len) as u64
    }

    /// Writes the header to the front of `out` and returns its length.
    ///
    /// `None` if it does not fit, or the envelope is encrypted and a broadcast or of a type that can be read.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let mut w = Writer::new(out);
        self.write(&mut w)?;
        Some(w.written())
    }

    /// Reads the header at the front of `bytes` and says how long it is; `None` if more bytes are needed to tell.
    ///
    /// [`Reason::Version`] for another version of the form, [`Reason::Malformed`] for what no header is.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, Reason> {
        let is_broadcast = match bytes {
            [VERSION, flags, ..] => flags & BROADCAST != 0,
            [] | [VERSION] => return Ok(None),
            _ => return Err(Reason::Version),
        };
        let len = header_len(!is_broadcast);
        let Some(bytes) = bytes.get(..len) else { return Ok(None) };
        Ok(Some((Self::read(&mut Reader::new(bytes))?, len)))
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Reason> {
        if r.u8()? != VERSION {
            return Err(Reason::Version);
        }
        let flags = r.u8()?;
        let is_broadcast = flags & BROADCAST != 0;
        let is_encrypted = flags & ENCRYPTED != 0;
        let message_type = r.u16()?;
        if flags & RESERVED != 0 || is_encrypted && (is_broadcast || message_type != SEALED_TYPE) {
            return Err(Reason::Malformed);
        }
        Ok(Self {
            message_id: MessageId { epoch: r.u64()?, sequence: r.u64()? },
            source_node_id: NodeId::from_bytes(*r.array()?),
            target_node_id: if is_broadcast { None } else { Some(NodeId::from_bytes(*r.array()?)) },
            timestamp: UnixTime::from_micros(r.u64()?),
            ttl: r.u32()?,
            priority: Priority::ALL[usize::from(flags & PRIORITY_MASK)],
            is_encrypted,
            is_signed: flags & SIGNED != 0,
            message_type,
            payload_len: r.u32()?,
        })
    }

    fn write(&self, w: &mut Writer<'_>) -> Option<()> {
        if self.is_encrypted && (self.target_node_id.is_none() || self.message_type != SEALED_TYPE) {
            return None;
        }
        let mut flags = self.priority as u8;
        for (bit, is_set) in [
            (BROADCAST, self.target_node_id.is_none()),
            (ENCRYPTED, self.is_encrypted),
            (SIGNED, self.is_signed),
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
        w.u32(self.payload_len)
    }
}

const fn header_len(has_target: bool) -> usize {
    let target_len = if has_target { NodeId::LEN } else { 0 };
    1 + 1 + 2 + 16 + NodeId::LEN + target_len + 8 + 4 + 4
}

const VERSION: u8 = 1;
const PRIORITY_MASK: u8 = 0b11;
const BROADCAST: u8 = 1 << 2;
const ENCRYPTED: u8 = 1 << 3;
const SIGNED: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;
