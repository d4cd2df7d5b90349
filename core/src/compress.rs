//! LZ4 for single messages: the block format, in and out of slices of the caller, without heap and without history.
//!
//! It decides nothing about messages: which may be compressed is [`Family::is_compressible`]'s, for whom is the session's.
//! Decompression takes no memory beside the output; compression keeps a table on the stack, 8 KiB for originals below
//! 64 KiB and 16 KiB for longer ones, so a small device may well do the one and not the other.
//!
//! Invariant: nothing is ever written beyond the slice that the caller gave, whatever the input is.
//!
//! [`Family::is_compressible`]: crate::wire::family::Family::is_compressible

use lz4_flex::block;

use crate::wire::message::MAX_COMPRESSED_LEN;
use crate::wire::reason::Reason;

/// The longest input of either direction: 16 MiB. Above it, lengths within a block could overflow a 32-bit machine.
pub const MAX_LEN: usize = 1 << 24;

/// How long the output of [`pack`] must be for an original of `len` bytes, whatever they are.
pub const fn room_for(len: usize) -> usize {
    block::get_maximum_output_size(len)
}

/// Compresses `original` into `out`, which must be at least [`room_for`] its length, and gives the compressed length.
///
/// `None` if that is not [worth](is_worth) it, or `original` is longer than [`MAX_LEN`], or `out` too short; what
/// `out` holds then is of no meaning.
pub fn pack(original: &[u8], out: &mut [u8]) -> Option<usize> {
    if original.len() > MAX_LEN {
        return None;
    }
    let len = block::compress_into(original, out).ok()?;
    is_worth(original.len(), len).then_some(len)
}

/// Decompresses `packed` into `original`, which is exactly as long as the original is said to be.
///
/// # Errors
/// [`Reason::BadCompression`] if `packed` is no LZ4 block of exactly that many bytes; what `original` holds then is of no
/// meaning.
pub fn unpack(packed: &[u8], original: &mut [u8]) -> Result<(), Reason> {
    if packed.len() > MAX_LEN || !is_possible(packed.len(), original.len()) {
        return Err(Reason::BadCompression);
    }
    match block::decompress_into(packed, original) {
        Ok(len) if len == original.len() => Ok(()),
        _ => Err(Reason::BadCompression),
    }
}

/// Whether a message gets shorter by compression from `original` to `packed` bytes, what says so included.
pub const fn is_worth(original: usize, packed: usize) -> bool {
    packed.saturating_add(MAX_COMPRESSED_LEN) < original
}

/// Whether an LZ4 block of `packed` bytes can hold `original` bytes at all: ask before making room for them.
pub const fn is_possible(packed: usize, original: usize) -> bool {
    original <= packed.saturating_mul(MOST_PER_BYTE)
}

/// A byte of a match's length stands for at most so many bytes (LZ4 block format).
const MOST_PER_BYTE: usize = 255;

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_core::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn repetitive_bytes_come_back_from_fewer() {
        let original =
            b"temperature=21.5 humidity=40 temperature=21.6 humidity=41 temperature=21.7 humidity=40";

        let packed = packed(original).unwrap();

        assert!(packed.len() < original.len());
        assert_eq!(unpacked(&packed, original.len()).unwrap(), original);
    }

    #[test]
    fn what_gets_no_shorter_is_left_as_it_is() {
        let mut noise = [0; 1000];
        ChaCha8Rng::seed_from_u64(5).fill_bytes(&mut noise);

        assert_eq!(packed(&noise), None);
        assert_eq!(packed(b""), None);
        assert_eq!(packed(b"a"), None);
        assert_eq!(packed(&[0; 16]), None);
    }

    #[test]
    fn an_output_that_is_too_short_is_refused_and_not_overrun() {
        let original = [0; 1000];

        assert_eq!(pack(&original, &mut [0; 100]), None);
        assert_eq!(pack(&original, &mut []), None);
    }

    #[test]
    fn a_length_that_is_not_the_originals_is_refused_in_either_direction() {
        let packed = packed(&[b'x'; 4096]).unwrap();

        for wrong in [0, 1, 4095, 4097, 100_000] {
            assert_eq!(unpacked(&packed, wrong), Err(Reason::BadCompression), "{wrong}");
        }
    }

    #[test]
    fn a_bomb_writes_no_more_than_the_room_it_names() {
        let bomb = packed(&vec![0; 1 << 20]).unwrap();

        assert!(bomb.len() < 5000);
        assert_eq!(unpacked(&bomb, 1000), Err(Reason::BadCompression));
        assert!(!is_possible(bomb.len(), 1 << 24));
        assert!(is_possible(bomb.len(), 1 << 20));
    }

    #[test]
    fn truncated_blocks_are_refused() {
        let original: Vec<u8> = (0..2000_u32).flat_map(|i| (i / 3).to_be_bytes()).collect();
        let packed = packed(&original).unwrap();

        for len in 0..packed.len() {
            assert_eq!(unpacked(&packed[..len], original.len()), Err(Reason::BadCompression), "{len}");
        }
    }

    #[test]
    fn a_match_that_reaches_before_the_beginning_is_refused() {
        // One literal, then a match of four bytes, five bytes back or none back.
        for offset in [5, 0] {
            let packed = [0x10, b'a', offset, 0, 0x50, 1, 2, 3, 4, 5];
            assert_eq!(unpacked(&packed, 10), Err(Reason::BadCompression));
        }
    }

    proptest! {
        #[test]
        fn any_original_that_packs_comes_back(original in compressible()) {
            if let Some(packed) = packed(&original) {
                prop_assert!(is_worth(original.len(), packed.len()));
                prop_assert_eq!(unpacked(&packed, original.len()), Ok(original));
            }
        }

        #[test]
        fn garbage_neither_panics_nor_fills_more_than_it_may(
            garbage in prop::collection::vec(any::<u8>(), 0..300),
            len in 0_usize..2000,
        ) {
            let mut room = vec![0xA5; len + 64];

            let _ = unpack(&garbage, &mut room[..len]);

            prop_assert!(room[len..].iter().all(|byte| *byte == 0xA5));
        }

        #[test]
        fn a_damaged_block_neither_panics_nor_fills_more_than_it_may(
            original in compressible(),
            at in any::<prop::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let Some(mut packed) = packed(&original) else { return Ok(()) };
            let at = at.index(packed.len());
            packed[at] ^= 1 << bit;

            let _ = unpacked(&packed, original.len());
        }
    }

    fn compressible() -> impl Strategy<Value = Vec<u8>> {
        let word = prop::collection::vec(any::<u8>(), 1..20);
        prop::collection::vec((word, 1_usize..40), 0..20)
            .prop_map(|words| words.iter().flat_map(|(word, times)| word.repeat(*times)).collect())
    }

    fn packed(original: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![0; room_for(original.len())];
        let len = pack(original, &mut out)?;
        out.truncate(len);
        Some(out)
    }

    fn unpacked(packed: &[u8], len: usize) -> Result<Vec<u8>, Reason> {
        let mut original = vec![0; len];
        unpack(packed, &mut original).map(|()| original)
    }
}
