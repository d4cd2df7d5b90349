//! The frame, protocol section 2: what a stream carries before a session is up. Nothing in it is authenticated.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | length: bytes that follow this field |
//! | 4 | 2 | flags: 0-3 version, 4-6 compression, 7 checksum present, 8-11 kind, 12-15 zero |
//! | 6 | 8 | message id |
//! | 14 | n | payload |
//! | 14+n | 4 | CRC-32 (ISO-HDLC) of all bytes before it, if flagged |
//!
//! A header and a payload length determine the header's bytes, so a handshake's prologue can be computed from values.

use core::ops::Range;

use crc::{CRC_32_ISO_HDLC, Crc};

use super::{
    cursor::{Reader, Writer},
    hello::Versions,
    reason::Reason,
};
use crate::ids::Hint;

/// The version that this module writes, and the only one it reads beyond length, version and id.
pub const VERSION: u8 = 1;
/// Bytes before the payload.
pub const HEADER_LEN: usize = 14;
/// The longest frame in all while the peer is not authenticated.
pub const MAX_UNAUTHENTICATED: usize = 1536;
/// The longest frame in all that can be represented.
pub const MAX_LEN: usize = 16 << 20;

/// What a frame's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// First message of an XX handshake.
    Xx1 = 1,
    /// Second message of an XX handshake.
    Xx2 = 2,
    /// Third message of an XX handshake.
    Xx3 = 3,
    /// First message of a KK handshake, behind the [hint](split_hint_mut).
    Kk1 = 4,
    /// Second message of a KK handshake.
    Kk2 = 5,
    /// A cookie, to be returned with the first message: on datagram links only.
    Retry = 6,
    /// A [`Refusal`] in the clear.
    Refusal = 15,
}

/// How a frame's payload is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Compression {
    /// Not at all; the only one allowed before authentication.
    #[default]
    None = 0,
    /// LZ4.
    Lz4 = 1,
    /// Zstandard.
    Zstd = 2,
}

/// All of a frame but its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the payload is.
    pub kind: Kind,
    /// Names the attempt: random, chosen by the initiator, repeated in every frame of the handshake.
    pub id: u64,
    /// Whether a CRC-32 follows the payload.
    pub checksum: bool,
    /// How the payload is compressed; the codec does not unpack it.
    pub compression: Compression,
}

impl Header {
    /// A header without checksum and compression.
    pub const fn new(kind: Kind, id: u64) -> Self {
        Self { kind, id, checksum: false, compression: Compression::None }
    }

    /// Bytes of the whole frame around a payload of `payload_len`.
    pub const fn frame_len(&self, payload_len: usize) -> usize {
        let trailer = if self.checksum { CHECKSUM_LEN } else { 0 };
        payload_len.saturating_add(HEADER_LEN + trailer)
    }

    /// The header's bytes in front of a payload of `payload_len`, as a prologue binds them.
    ///
    /// The length field of a frame beyond 4 GiB, which no encoder writes, saturates.
    pub fn to_bytes(&self, payload_len: usize) -> [u8; HEADER_LEN] {
        let flags = u16::from(VERSION)
            | (self.compression as u16) << COMPRESSION_SHIFT
            | if self.checksum { CHECKSUM } else { 0 }
            | (self.kind as u16) << KIND_SHIFT;
        let length = u32::try_from(self.frame_len(payload_len) - LENGTH_LEN).unwrap_or(u32::MAX);
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        bytes[4..6].copy_from_slice(&flags.to_be_bytes());
        bytes[6..].copy_from_slice(&self.id.to_be_bytes());
        bytes
    }

    /// Writes the frame around a copy of `payload`; returns its length, or `None` if it does not fit `out` or [`MAX_LEN`].
    pub fn encode(&self, payload: &[u8], out: &mut [u8]) -> Option<usize> {
        out.get_mut(HEADER_LEN..)?.get_mut(..payload.len())?.copy_from_slice(payload);
        self.encode_around(payload.len(), out)
    }

    /// Writes header and checksum around the payload that already stands at `buf[HEADER_LEN..][..payload_len]`.
    ///
    /// Returns the frame's length, or `None` if it does not fit `buf` or [`MAX_LEN`].
    pub fn encode_around(&self, payload_len: usize, buf: &mut [u8]) -> Option<usize> {
        let frame_len = self.frame_len(payload_len);
        if frame_len > MAX_LEN {
            return None;
        }
        let frame = buf.get_mut(..frame_len)?;
        *frame.first_chunk_mut()? = self.to_bytes(payload_len);
        if self.checksum {
            let (covered, trailer) = frame.split_last_chunk_mut::<CHECKSUM_LEN>()?;
            *trailer = CRC.checksum(covered).to_be_bytes();
        }
        Some(frame_len)
    }
}

/// One frame, its payload borrowed as `&[u8]` or `&mut [u8]`.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<P> {
    /// All but the payload.
    pub header: Header,
    /// The payload as it was sent, not unpacked.
    pub payload: P,
}

/// What stands at the front of received bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded<P> {
    /// The beginning of a frame; decode again when `need` bytes are there in all.
    Incomplete {
        /// Bytes in all that are surely needed; as soon as the length is known, the length of the frame.
        need: usize,
    },
    /// A whole frame.
    Frame {
        /// The frame.
        frame: Frame<P>,
        /// Its bytes.
        used: usize,
    },
    /// A whole frame of another protocol version, of which only this much can be understood.
    Foreign {
        /// The version in its flags.
        version: u8,
        /// Its message id, to answer it.
        id: u64,
        /// Its bytes.
        used: usize,
    },
}

/// The frame at the front of `bytes`, at most `max` bytes long in all.
///
/// A length out of bounds is refused from its four bytes on, before anything more is awaited.
pub fn decode(bytes: &[u8], max: usize) -> Result<Decoded<&[u8]>, Reason> {
    Ok(match parse(bytes, max)? {
        Parsed::Incomplete { need } => Decoded::Incomplete { need },
        Parsed::Foreign { version, id, used } => Decoded::Foreign { version, id, used },
        Parsed::Frame { header, payload, used } => {
            let payload = bytes.get(payload).ok_or(Reason::Malformed)?;
            Decoded::Frame { frame: Frame { header, payload }, used }
        }
    })
}

/// As [`decode`], with a payload that can be decrypted in place.
pub fn decode_mut(bytes: &mut [u8], max: usize) -> Result<Decoded<&mut [u8]>, Reason> {
    Ok(match parse(bytes, max)? {
        Parsed::Incomplete { need } => Decoded::Incomplete { need },
        Parsed::Foreign { version, id, used } => Decoded::Foreign { version, id, used },
        Parsed::Frame { header, payload, used } => {
            let payload = bytes.get_mut(payload).ok_or(Reason::Malformed)?;
            Decoded::Frame { frame: Frame { header, payload }, used }
        }
    })
}

/// Parts the payload of a [`Kind::Kk1`] frame into the hint, its first [`Hint::LEN`] bytes, and the Noise message.
///
/// [`Reason::Malformed`] if it is shorter than a hint.
pub fn split_hint_mut(payload: &mut [u8]) -> Result<(Hint, &mut [u8]), Reason> {
    let (hint, message) = payload.split_first_chunk_mut().ok_or(Reason::Malformed)?;
    Ok((Hint::from_bytes(*hint), message))
}

/// A refusal in the clear (kind 15): a hint that may fail an attempt or add backoff, and nothing else.
///
/// A control message's Reject has the same form, but is authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason's code, perhaps one that a newer version knows; see [`reason`](Self::reason).
    pub code: u16,
    /// What the reason calls for; zero where the protocol names nothing.
    pub detail: u64,
}

impl Refusal {
    /// Bytes of a refusal.
    pub const LEN: usize = 10;

    /// A refusal for `reason` without detail.
    pub const fn new(reason: Reason) -> Self {
        Self { code: reason.code(), detail: 0 }
    }

    /// [`Reason::Version`], with the versions that this node speaks.
    pub const fn version(ours: Versions) -> Self {
        Self { code: Reason::Version.code(), detail: (ours.lowest as u64) << 8 | ours.highest as u64 }
    }

    /// The reason, if this version knows it.
    pub const fn reason(&self) -> Option<Reason> {
        Reason::from_code(self.code)
    }

    /// The versions that the refusing node speaks, if that is the reason and the detail is one.
    pub fn versions(&self) -> Option<Versions> {
        let [0, 0, 0, 0, 0, 0, lowest, highest] = self.detail.to_be_bytes() else { return None };
        if self.code != Reason::Version.code() {
            return None;
        }
        Versions::new(lowest, highest)
    }

    /// Writes the refusal; `None` if `out` is shorter than [`LEN`](Self::LEN).
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let mut w = Writer::new(out);
        self.write(&mut w)?;
        Some(w.written())
    }

    /// Reads a frame's payload; [`Reason::Malformed`] if it is not [`LEN`](Self::LEN) bytes.
    pub fn decode(payload: &[u8]) -> Result<Self, Reason> {
        let mut r = Reader::new(payload);
        let refusal = Self::read(&mut r)?;
        if r.is_empty() { Ok(refusal) } else { Err(Reason::Malformed) }
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) -> Option<()> {
        w.u16(self.code)?;
        w.u64(self.detail)
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, Reason> {
        Ok(Self { code: r.u16()?, detail: r.u64()? })
    }
}

enum Parsed {
    Incomplete { need: usize },
    Frame { header: Header, payload: Range<usize>, used: usize },
    Foreign { version: u8, id: u64, used: usize },
}

fn parse(bytes: &[u8], max: usize) -> Result<Parsed, Reason> {
    let mut r = Reader::new(bytes);
    let Ok(length) = r.u32() else { return Ok(Parsed::Incomplete { need: HEADER_LEN }) };
    let used = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(LENGTH_LEN);
    if used > max.min(MAX_LEN) {
        return Err(Reason::TooLong);
    }
    if used < HEADER_LEN {
        return Err(Reason::Malformed);
    }
    let Some(frame) = bytes.get(..used) else { return Ok(Parsed::Incomplete { need: used }) };
    let flags = r.u16()?;
    let id = r.u64()?;
    let [_, version] = (flags & VERSION_MASK).to_be_bytes();
    if version != VERSION {
        return Ok(Parsed::Foreign { version, id, used });
    }
    // The checksum is judged before the other flags: a damaged frame is reported as damaged.
    let checksum = flags & CHECKSUM != 0;
    let mut payload = HEADER_LEN..used;
    if checksum {
        let (covered, trailer) = frame.split_last_chunk::<CHECKSUM_LEN>().ok_or(Reason::Malformed)?;
        if covered.len() < HEADER_LEN {
            return Err(Reason::Malformed);
        }
        if CRC.checksum(covered) != u32::from_be_bytes(*trailer) {
            return Err(Reason::Checksum);
        }
        payload.end = covered.len();
    }
    if flags & RESERVED != 0 {
        return Err(Reason::Malformed);
    }
    let compression = match flags >> COMPRESSION_SHIFT & 7 {
        0 => Compression::None,
        1 => Compression::Lz4,
        2 => Compression::Zstd,
        _ => return Err(Reason::Compression),
    };
    let kind = match flags >> KIND_SHIFT & 15 {
        1 => Kind::Xx1,
        2 => Kind::Xx2,
        3 => Kind::Xx3,
        4 => Kind::Kk1,
        5 => Kind::Kk2,
        6 => Kind::Retry,
        15 => Kind::Refusal,
        _ => return Err(Reason::Malformed),
    };
    Ok(Parsed::Frame { header: Header { kind, id, checksum, compression }, payload, used })
}

const LENGTH_LEN: usize = 4;
const CHECKSUM_LEN: usize = 4;
const VERSION_MASK: u16 = 0x000F;
const COMPRESSION_SHIFT: u16 = 4;
const CHECKSUM: u16 = 1 << 7;
const KIND_SHIFT: u16 = 8;
const RESERVED: u16 = 0xF000;

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
