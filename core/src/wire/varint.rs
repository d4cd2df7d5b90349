//! Unsigned LEB128, protocol section 1: seven bits a byte, least significant first, shortest form only.
//!
//! One value has exactly one encoding, so that nothing can hide in a longer one.

use super::reason::Reason;

/// Bytes of the longest varint.
pub const MAX_LEN: usize = 10;

/// Bytes that `value` takes.
#[inline]
pub const fn len(value: u64) -> usize {
    if value < 0x80 {
        return 1;
    }
    (64 - value.leading_zeros() as usize).div_ceil(7)
}

/// Writes `value` to the front of `out` and returns its length; `None` if it does not fit.
#[inline]
pub fn encode(value: u64, out: &mut [u8]) -> Option<usize> {
    if value < 0x80 {
        *out.first_mut()? = low_byte(value);
        return Some(1);
    }
    let used = len(value);
    let mut rest = value;
    let (last, others) = out.get_mut(..used)?.split_last_mut()?;
    for byte in others {
        *byte = 0x80 | low_byte(rest & 0x7F);
        rest >>= 7;
    }
    *last = low_byte(rest);
    Some(used)
}

/// The value at the front of `bytes` and its length; `None` if more bytes are needed.
///
/// [`Reason::Malformed`] if the value is not below 2^64 or not in its shortest form.
#[inline]
pub fn decode(bytes: &[u8]) -> Result<Option<(u64, usize)>, Reason> {
    match bytes.first() {
        None => Ok(None),
        Some(&first) if first < 0x80 => Ok(Some((u64::from(first), 1))),
        Some(_) => decode_long(bytes),
    }
}

fn decode_long(bytes: &[u8]) -> Result<Option<(u64, usize)>, Reason> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(MAX_LEN).enumerate() {
        let is_last = byte < 0x80;
        if index == MAX_LEN - 1 && byte > 1 {
            return Err(Reason::Malformed);
        }
        value |= u64::from(byte & 0x7F) << (7 * index);
        if is_last {
            let is_shortest = byte != 0;
            return if is_shortest { Ok(Some((value, index + 1))) } else { Err(Reason::Malformed) };
        }
    }
    Ok(None)
}

#[inline]
const fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}
