//! The bytes before a message's payload: flags, lengths and extension. Both directions read the table in the module above.

use super::{Compressed, DEFAULT_TTL, MessageHeader, Part};
use crate::ids::Priority;
use crate::wire::cursor::Writer;
use crate::wire::varint;

#[derive(Clone, Copy)]
pub(super) struct Flags(pub(super) u8);

impl Flags {
    #[inline]
    pub(super) const fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    #[inline]
    pub(super) fn priority(self) -> Priority {
        Priority::ALL[usize::from(self.0 & PRIORITY_MASK)]
    }

    /// Whether the message takes nothing but flags, length and perhaps an extension before its payload.
    #[inline]
    pub(super) const fn is_brief(self) -> bool {
        self.0 & (SAME_KIND | LAST | EXPLICIT | FULL) == SAME_KIND
    }

    /// Whether the message says its type.
    #[inline]
    pub(super) const fn has_kind(self) -> bool {
        self.0 & (SAME_KIND | FULL) == 0
    }
}

/// The bytes that say what form a message has.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub(super) flags: Flags,
    /// The bits of the extension; 0 where there is none.
    pub(super) extension: u8,
}

impl Form {
    /// Writes what is before the payload of a brief message and gives its length; `None` if the extension names more.
    #[inline]
    pub(super) fn write_brief(
        self,
        len: u8,
        ttl: u8,
        age: u8,
        head: &mut [u8; BRIEF_OVERHEAD],
    ) -> Option<usize> {
        let (rest, overhead) = match self.extension {
            0 => ([0, 0, 0], 2),
            TTL => ([TTL, ttl, 0], 4),
            AGE => ([AGE, age, 0], 4),
            TTL_AND_AGE => ([TTL_AND_AGE, ttl, age], 5),
            _ => return None,
        };
        let [extension, first, second] = rest;
        *head = [self.flags.0, len, extension, first, second];
        Some(overhead)
    }

    /// Bytes before the payload.
    #[inline]
    pub(super) fn overhead(self, header: &MessageHeader, payload_len: usize) -> usize {
        let mut len = 1;
        if self.flags.has_kind() {
            len += varint::len(u64::from(header.kind));
        }
        if !self.flags.has(LAST) {
            len += length_len(payload_len);
        }
        if self.flags.has(EXPLICIT) {
            len += varint::len(header.sequence);
        }
        if self.flags.has(EXTENSION) {
            len += 1;
            if header.ttl != DEFAULT_TTL {
                len += varint::len(u64::from(header.ttl));
            }
            if header.age != 0 {
                len += varint::len(u64::from(header.age));
            }
            if let Some(Part { total, offset }) = header.part {
                len += varint::len(u64::from(total)) + varint::len(u64::from(offset));
            }
            if let Some(Compressed { original, .. }) = header.compressed {
                len += 1 + varint::len(u64::from(original));
            }
            if let Some(number) = header.number {
                len += varint::len(number.get());
            }
        }
        len
    }

    #[inline]
    pub(super) fn write(self, header: &MessageHeader, payload_len: usize, out: &mut [u8]) -> Option<()> {
        let mut w = Writer::new(out);
        w.u8(self.flags.0)?;
        if self.flags.has_kind() {
            w.varint(u64::from(header.kind))?;
        }
        if !self.flags.has(LAST) {
            w.varint(u64::try_from(payload_len).ok()?)?;
        }
        if self.flags.has(EXPLICIT) {
            w.varint(header.sequence)?;
        }
        if self.flags.has(EXTENSION) {
            let present = self.extension;
            w.u8(present)?;
            if present & TTL != 0 {
                w.varint(u64::from(header.ttl))?;
            }
            if present & AGE != 0 {
                w.varint(u64::from(header.age))?;
            }
            if let Some(Part { total, offset }) = header.part {
                w.varint(u64::from(total))?;
                w.varint(u64::from(offset))?;
            }
            if let Some(Compressed { method, original }) = header.compressed {
                w.u8(method.code())?;
                w.varint(u64::from(original))?;
            }
            if let Some(number) = header.number {
                w.varint(number.get())?;
            }
        }
        Some(())
    }
}

/// The bits of the extension that a message needs.
#[inline]
pub(super) fn extension_of(header: &MessageHeader) -> u8 {
    let mut present = 0;
    for (bit, is_present) in [
        (TTL, header.ttl != DEFAULT_TTL),
        (AGE, header.age != 0),
        (PART, header.part.is_some()),
        (COMPRESSED, header.compressed.is_some()),
        (NUMBER, header.number.is_some()),
    ] {
        present |= if is_present { bit } else { 0 };
    }
    present
}

/// What a message may refer back to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Previous {
    /// The type of the message before in this record, or [`NO_KIND`].
    pub(super) kind: u32,
    /// The sequence of the message before in this direction of the session.
    pub(super) sequence: Option<u64>,
}

/// The type of no message: above all of them.
pub(super) const NO_KIND: u32 = u32::MAX;

impl Previous {
    #[inline]
    pub(super) fn of(header: &MessageHeader) -> Self {
        // The type of a full message is not known before it is whole, and may be sealed.
        let kind = if header.full { NO_KIND } else { u32::from(header.kind) };
        Self { kind, sequence: Some(header.sequence) }
    }

    #[inline]
    pub(super) fn next_sequence(&self) -> Option<u64> {
        self.sequence?.checked_add(1)
    }
}

/// The value as a varint of one byte, if it takes only one.
#[inline]
pub(super) fn one_byte(value: impl TryInto<u8>) -> Option<u8> {
    value.try_into().ok().filter(|&byte| byte < 0x80)
}

#[inline]
pub(super) const fn length_len(payload_len: usize) -> usize {
    varint::len(payload_len as u64)
}

/// The most bytes before the payload of a brief message: flags, length and extension with time to live and age, a byte each.
pub(super) const BRIEF_OVERHEAD: usize = 5;

/// The time to live of a brief message that names none.
pub(super) const BRIEF_TTL: u8 = DEFAULT_TTL as u8;

pub(super) const PRIORITY_MASK: u8 = 0b11;
pub(super) const BROADCAST: u8 = 1 << 2;
pub(super) const SAME_KIND: u8 = 1 << 3;
pub(super) const LAST: u8 = 1 << 4;
pub(super) const EXPLICIT: u8 = 1 << 5;
pub(super) const EXTENSION: u8 = 1 << 6;
pub(super) const FULL: u8 = 1 << 7;

pub(super) const TTL: u8 = 1 << 0;
pub(super) const AGE: u8 = 1 << 1;
pub(super) const PART: u8 = 1 << 2;
pub(super) const COMPRESSED: u8 = 1 << 3;
pub(super) const NUMBER: u8 = 1 << 4;
pub(super) const TTL_AND_AGE: u8 = TTL | AGE;
