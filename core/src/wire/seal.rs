//! The payload of an encrypted envelope, protocol section 16: what is sealed to its target, in one of two forms.
//!
//! | form 1: up to 16,384 bytes | size | form 2: more | size |
//! |---|---|---|---|
//! | 1 | 1 | 2 | 1 |
//! | Noise message: ephemeral | 32 | Noise message: ephemeral | 32 |
//! | type, sealed | 2 | type, sealed | 2 |
//! | plaintext, sealed | n | tag | 16 |
//! | tag | 16 | chunks: each 16,384 bytes of plaintext (the last 1 to 16,384), sealed, and a tag | n + 16 each |
//!
//! The length of a sealed payload alone says which form it has and where its chunks end, so a plaintext has one form.

use super::reason::Reason;
use crate::aead::TAG_LEN;

/// The most plaintext that is sealed whole, and the plaintext of each chunk but the last.
pub const CHUNK_LEN: usize = 16_384;
/// Bytes of form 2 before its chunks; what form 1 adds to its plaintext.
pub const HEAD_LEN: usize = PLAINTEXT_AT + TAG_LEN;
/// Where the plaintext of form 1 begins.
pub const PLAINTEXT_AT: usize = TYPE_AT + TYPE_LEN;
/// Where the Noise message begins, behind the form.
pub const NOISE_AT: usize = 1;
/// Where the sealed type begins.
pub const TYPE_AT: usize = NOISE_AT + 32;
/// Bytes of the sealed type.
pub const TYPE_LEN: usize = 2;

/// How a plaintext is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    /// In the Noise message itself.
    Whole = 1,
    /// In chunks that follow a Noise message without any of it.
    Chunks = 2,
}

impl Form {
    /// The form of a plaintext of this length.
    pub const fn of(plain_len: u32) -> Self {
        if plain_len as usize <= CHUNK_LEN { Self::Whole } else { Self::Chunks }
    }

    /// The byte that a sealed payload begins with.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// Bytes of the seal of a plaintext of this length; `None` if that is no length of a payload.
pub const fn sealed_len(plain_len: u32) -> Option<u32> {
    let chunks = match Form::of(plain_len) {
        Form::Whole => 0,
        Form::Chunks => plain_len.div_ceil(CHUNK_LEN as u32) * TAG_LEN as u32,
    };
    match plain_len.checked_add(HEAD_LEN as u32) {
        Some(len) => len.checked_add(chunks),
        None => None,
    }
}

/// The longest plaintext whose seal has at most this length; `None` if not even an empty one's has.
pub const fn longest(sealed_len: u32) -> Option<u32> {
    let Some(rest) = sealed_len.checked_sub(HEAD_LEN as u32) else { return None };
    let sealed_chunk = (CHUNK_LEN + TAG_LEN) as u32;
    let in_last = (rest % sealed_chunk).saturating_sub(TAG_LEN as u32);
    let in_chunks = rest / sealed_chunk * CHUNK_LEN as u32 + in_last;
    // Up to one chunk, form 1 saves a tag.
    let whole = if rest as usize <= CHUNK_LEN { rest } else { CHUNK_LEN as u32 };
    Some(if in_chunks > whole { in_chunks } else { whole })
}

/// The form and the plaintext's length of a sealed payload of this length.
///
/// # Errors
/// [`Reason::BadSeal`] if no plaintext has a seal of this length.
pub const fn plain_len(sealed_len: u32) -> Result<(Form, u32), Reason> {
    let Some(rest) = sealed_len.checked_sub(HEAD_LEN as u32) else { return Err(Reason::BadSeal) };
    if rest as usize <= CHUNK_LEN {
        return Ok((Form::Whole, rest));
    }
    let sealed_chunk = (CHUNK_LEN + TAG_LEN) as u32;
    let tags = rest.div_ceil(sealed_chunk) * TAG_LEN as u32;
    // A last chunk with nothing but a tag, or a single chunk, is of no plaintext.
    let last = rest % sealed_chunk;
    if rest <= sealed_chunk || last != 0 && last <= TAG_LEN as u32 {
        return Err(Reason::BadSeal);
    }
    Ok((Form::Chunks, rest - tags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_has_one_seal_and_every_other_length_is_refused() {
        let interesting = (0..200).chain(16_300..16_500).chain(32_700..33_000).chain(49_000..49_400);
        let mut sealed: std::vec::Vec<u32> = std::vec![];
        for len in interesting {
            let with_seal = sealed_len(len).unwrap();
            assert_eq!(plain_len(with_seal), Ok((Form::of(len), len)));
            sealed.push(with_seal);
        }

        for len in (0..251).chain(16_351..16_551) {
            assert_eq!(plain_len(len).is_ok(), sealed.contains(&len), "{len}");
        }
        for len in (0..300).chain(16_300..16_700).chain(32_700..33_000) {
            let longest = longest(len);
            let fits = |plain: u32| sealed_len(plain).is_some_and(|sealed| sealed <= len);
            assert_eq!(longest.is_some(), fits(0), "{len}");
            assert!(longest.is_none_or(|longest| fits(longest) && !fits(longest + 1)), "{len}: {longest:?}");
        }
        assert_eq!(sealed_len(u32::MAX - 20), None);
        assert!(plain_len(u32::MAX).is_ok());
    }
}
