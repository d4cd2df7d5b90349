//! A place in a byte string that moves as fields are read or written, so that every offset appears once.
//!
//! The reader answers [`Reason::Malformed`] where a field is cut short: by then the outer length is known to be complete.
//! The writer answers `None` where the caller's buffer is full, and has then written an unspecified part of it.

use super::{reason::Reason, varint};

/// Reads fields from the front of a byte string.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The bytes not read yet, for a look ahead.
    #[inline]
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(super) fn u8(&mut self) -> Result<u8, Reason> {
        let (&first, rest) = self.rest.split_first().ok_or(Reason::Malformed)?;
        self.rest = rest;
        Ok(first)
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Result<u16, Reason> {
        self.array().map(|bytes| u16::from_be_bytes(*bytes))
    }

    #[inline]
    pub(super) fn u32(&mut self) -> Result<u32, Reason> {
        self.array().map(|bytes| u32::from_be_bytes(*bytes))
    }

    #[inline]
    pub(super) fn u64(&mut self) -> Result<u64, Reason> {
        self.array().map(|bytes| u64::from_be_bytes(*bytes))
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, Reason> {
        if let Some((&first, rest)) = self.rest.split_first()
            && first < 0x80
        {
            self.rest = rest;
            return Ok(u64::from(first));
        }
        let (value, used) = varint::decode(self.rest)?.ok_or(Reason::Malformed)?;
        self.rest = self.rest.get(used..).ok_or(Reason::Malformed)?;
        Ok(value)
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Reason> {
        let (first, rest) = self.rest.split_first_chunk().ok_or(Reason::Malformed)?;
        self.rest = rest;
        Ok(first)
    }

    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Reason> {
        let (first, rest) = self.rest.split_at_checked(len).ok_or(Reason::Malformed)?;
        self.rest = rest;
        Ok(first)
    }

    /// As [`take`](Self::take), with a length as it stands in the bytes.
    #[inline]
    pub(super) fn take_u64(&mut self, len: u64) -> Result<&'a [u8], Reason> {
        self.take(usize::try_from(len).map_err(|_| Reason::Malformed)?)
    }

    #[inline]
    pub(super) fn take_rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }
}

/// Writes fields to the front of a buffer.
#[derive(Debug)]
pub(super) struct Writer<'b> {
    buf: &'b mut [u8],
    at: usize,
}

impl<'b> Writer<'b> {
    #[inline]
    pub(super) const fn new(buf: &'b mut [u8]) -> Self {
        Self { buf, at: 0 }
    }

    #[inline]
    pub(super) const fn written(&self) -> usize {
        self.at
    }

    #[inline]
    pub(super) fn u8(&mut self, value: u8) -> Option<()> {
        *self.buf.get_mut(self.at)? = value;
        self.at += 1;
        Some(())
    }

    #[inline]
    pub(super) fn u16(&mut self, value: u16) -> Option<()> {
        self.bytes(&value.to_be_bytes())
    }

    #[inline]
    pub(super) fn u32(&mut self, value: u32) -> Option<()> {
        self.bytes(&value.to_be_bytes())
    }

    #[inline]
    pub(super) fn u64(&mut self, value: u64) -> Option<()> {
        self.bytes(&value.to_be_bytes())
    }

    #[inline]
    pub(super) fn varint(&mut self, value: u64) -> Option<()> {
        self.at += varint::encode(value, self.buf.get_mut(self.at..)?)?;
        Some(())
    }

    #[inline]
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Option<()> {
        let room = self.buf.get_mut(self.at..)?.get_mut(..bytes.len())?;
        room.copy_from_slice(bytes);
        self.at += bytes.len();
        Some(())
    }
}
