//! Optional fields, protocol section 4: how hellos and control messages grow without a new version.
//!
//! | size | field |
//! |---|---|
//! | 1 | type in bits 0-6; bit 7: critical, who does not know it must refuse |
//! | varint | length |
//! | length | value |

use super::{
    cursor::{Reader, Writer},
    reason::Reason,
    varint,
};

/// Bit 7 of the type byte: a receiver that does not know the type refuses the whole.
const CRITICAL: u8 = 0x80;

/// One optional field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// The type, 0 to 127.
    pub kind: u8,
    /// Whether a receiver that does not know the type must refuse.
    pub critical: bool,
    /// The value.
    pub value: &'a [u8],
}

impl Tlv<'_> {
    /// Bytes that a field with a value of `value_len` bytes takes.
    pub const fn len_with(value_len: usize) -> usize {
        1 + varint::len(value_len as u64) + value_len
    }

    pub(super) fn encode(&self, w: &mut Writer<'_>) -> Option<()> {
        w.u8(self.kind & !CRITICAL | if self.critical { CRITICAL } else { 0 })?;
        w.varint(u64::try_from(self.value.len()).ok()?)?;
        w.bytes(self.value)
    }

    /// `Ok` for a field that may be skipped by those who do not know it.
    pub(super) const fn skip(&self) -> Result<(), Reason> {
        if self.critical { Err(Reason::UnknownCritical) } else { Ok(()) }
    }
}

/// Reads fields to the end of `bytes`; refuses a type that comes twice.
#[derive(Clone, Debug)]
pub(super) struct Tlvs<'a> {
    reader: Reader<'a>,
    seen: u128,
}

impl<'a> Tlvs<'a> {
    pub(super) const fn new(reader: Reader<'a>) -> Self {
        Self { reader, seen: 0 }
    }

    pub(super) fn next(&mut self) -> Result<Option<Tlv<'a>>, Reason> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let first = self.reader.u8()?;
        let kind = first & !CRITICAL;
        let bit = 1_u128 << kind;
        if self.seen & bit != 0 {
            return Err(Reason::Malformed);
        }
        self.seen |= bit;
        let len = self.reader.varint()?;
        let value = self.reader.take_u64(len)?;
        Ok(Some(Tlv { kind, critical: first & CRITICAL != 0, value }))
    }
}
