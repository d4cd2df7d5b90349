//! The record, protocol section 5: the length field around it and the header inside the seal. Sealing itself is elsewhere.
//!
//! `length varint (1-3 bytes) | sealed { header | body }`, the header being:
//!
//! | size | field |
//! |---|---|
//! | 1 | kind: bits 0-1 body (0 messages, 1 control), 2 ack, 3 credit, 4 ping, 5 pong present, 6 rekey, 7 zero |
//! | 2 | clock: 16 ms units of the sender's session time, modulo 2^16 |
//! | varint | ack, if present |
//! | varint | credit, if present |
//! | 1 | ping token, if present |
//! | 1 | pong token, if present |

use core::time::Duration;

use super::{
    cursor::{Reader, Writer},
    reason::Reason,
    varint,
};
use crate::aead::TAG_LEN;

/// Unit of a record's clock and of a message's age.
pub const TICK: Duration = Duration::from_millis(16);
/// Bytes of the longest length field.
pub const MAX_LENGTH_LEN: usize = 3;
/// The longest record that a length field can name: bytes after it.
pub const MAX_LEN: usize = (1 << 21) - 1;
/// What every node takes at least: bytes after the length field.
pub const MIN_MAX_LEN: u16 = 512;
/// The shortest record: a bare header and the tag.
pub const MIN_LEN: usize = MIN_HEADER_LEN + TAG_LEN;

/// What follows the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// Zero or more messages.
    #[default]
    Messages,
    /// One control message.
    Control,
}

/// What precedes the body inside the seal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordHeader {
    /// What follows.
    pub body: Body,
    /// The records after this one use the next key.
    pub rekey: bool,
    /// The sender's session time in [`TICK`]s, modulo 2^16.
    pub clock: u16,
    /// The sender is done with all records whose counter is less.
    pub ack: Option<u64>,
    /// Bytes of record bodies that the sender lets the receiver send: in total, or over datagrams beside what has arrived.
    pub credit: Option<u64>,
    /// A token to be returned.
    pub ping: Option<u8>,
    /// The token of the ping that this answers.
    pub pong: Option<u8>,
}

impl RecordHeader {
    /// Bytes of the longest header.
    pub const MAX_LEN: usize = MIN_HEADER_LEN + 2 * varint::MAX_LEN + 2;

    /// Bytes that the header takes.
    #[inline]
    pub fn encoded_len(&self) -> usize {
        MIN_HEADER_LEN
            + self.ack.map_or(0, varint::len)
            + self.credit.map_or(0, varint::len)
            + usize::from(self.ping.is_some())
            + usize::from(self.pong.is_some())
    }

    /// Writes the header and returns its length; `None` if it does not fit.
    #[inline]
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let mut kind = match self.body {
            Body::Messages => BODY_MESSAGES,
            Body::Control => BODY_CONTROL,
        };
        for (bit, is_present) in [
            (ACK, self.ack.is_some()),
            (CREDIT, self.credit.is_some()),
            (PING, self.ping.is_some()),
            (PONG, self.pong.is_some()),
            (REKEY, self.rekey),
        ] {
            kind |= if is_present { bit } else { 0 };
        }
        let mut w = Writer::new(out);
        w.u8(kind)?;
        w.u16(self.clock)?;
        if let Some(ack) = self.ack {
            w.varint(ack)?;
        }
        if let Some(credit) = self.credit {
            w.varint(credit)?;
        }
        if let Some(ping) = self.ping {
            w.u8(ping)?;
        }
        if let Some(pong) = self.pong {
            w.u8(pong)?;
        }
        Some(w.written())
    }

    /// Splits a record's plaintext into header and body.
    #[inline]
    pub fn decode(plaintext: &[u8]) -> Result<(Self, &[u8]), Reason> {
        let mut r = Reader::new(plaintext);
        let kind = r.u8()?;
        if kind & RESERVED != 0 {
            return Err(Reason::Malformed);
        }
        let body = match kind & BODY_MASK {
            BODY_MESSAGES => Body::Messages,
            BODY_CONTROL => Body::Control,
            _ => return Err(Reason::Malformed),
        };
        let clock = r.u16()?;
        let ack = if kind & ACK != 0 { Some(r.varint()?) } else { None };
        let credit = if kind & CREDIT != 0 { Some(r.varint()?) } else { None };
        let ping = if kind & PING != 0 { Some(r.u8()?) } else { None };
        let pong = if kind & PONG != 0 { Some(r.u8()?) } else { None };
        let rekey = kind & REKEY != 0;
        Ok((Self { body, rekey, clock, ack, credit, ping, pong }, r.take_rest()))
    }
}

/// Bytes of the length field of a record with `sealed_len` bytes after it.
#[inline]
pub const fn length_len(sealed_len: usize) -> usize {
    varint::len(sealed_len as u64)
}

/// Writes the length field; `None` if it does not fit `out`, or `sealed_len` is beyond [`MAX_LEN`].
#[inline]
pub fn encode_length(sealed_len: usize, out: &mut [u8]) -> Option<usize> {
    if sealed_len > MAX_LEN {
        return None;
    }
    varint::encode(u64::try_from(sealed_len).ok()?, out)
}

/// The length at the front of a stream and the bytes of its field; `None` if more bytes are needed.
///
/// [`Reason::TooLong`] beyond `max` bytes after the field, [`Reason::Malformed`] below [`MIN_LEN`].
#[inline]
pub fn decode_length(bytes: &[u8], max: usize) -> Result<Option<(usize, usize)>, Reason> {
    let field = bytes.get(..MAX_LENGTH_LEN).unwrap_or(bytes);
    let Some((length, used)) = varint::decode(field)? else {
        // Three continued bytes already name more than `MAX_LEN`.
        return if bytes.len() < MAX_LENGTH_LEN { Ok(None) } else { Err(Reason::TooLong) };
    };
    let sealed_len = usize::try_from(length).map_err(|_| Reason::TooLong)?;
    if sealed_len > max.min(MAX_LEN) {
        return Err(Reason::TooLong);
    }
    if sealed_len < MIN_LEN {
        return Err(Reason::Malformed);
    }
    Ok(Some((sealed_len, used)))
}

/// Bytes of the header of a record that says nothing beside its kind and time.
pub const MIN_HEADER_LEN: usize = 3;
const BODY_MASK: u8 = 0b11;
const BODY_MESSAGES: u8 = 0;
const BODY_CONTROL: u8 = 1;
const ACK: u8 = 1 << 2;
const CREDIT: u8 = 1 << 3;
const PING: u8 = 1 << 4;
const PONG: u8 = 1 << 5;
const REKEY: u8 = 1 << 6;
const RESERVED: u8 = 1 << 7;
