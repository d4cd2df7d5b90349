//! The text form of a [`NodeId`]: a Bech32m string (BIP 350) with the human-readable part `hy`.
//!
//! ```text
//!   hy1 | 52 symbols: the 256 bits of the id, first bit first, then 4 zero bits | 6 symbols: checksum
//! ```
//!
//! The checksum finds every error in up to four symbols, so every typo and every swap of neighbours; of other damage it
//! misses one in 2^30, and the four zero bits leave one in 2^34. Whether the id can be a node's is not decided here.

use core::fmt;
use core::str::FromStr;

use crate::ids::NodeId;

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = to_symbols(self.as_bytes());
        let checksum = checksum(&values) ^ BECH32M;
        let mut text = [0; NodeId::TEXT_LEN];
        text[..PREFIX.len()].copy_from_slice(PREFIX);
        for (place, value) in text[PREFIX.len()..].iter_mut().zip(&values) {
            *place = ALPHABET[usize::from(*value)];
        }
        for (index, place) in text[NodeId::TEXT_LEN - CHECKSUM_SYMBOLS..].iter_mut().enumerate() {
            *place = ALPHABET[(checksum >> (5 * (CHECKSUM_SYMBOLS - 1 - index))) as usize & 31];
        }
        f.pad(core::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

/// Reads the text form; upper and lower case are the same here, as some phones begin with a capital.
///
/// Only the text is judged: whether the id can be a node's is [`static_of_id`](super::static_of_id)'s question.
impl FromStr for NodeId {
    type Err = BadNodeId;

    fn from_str(text: &str) -> Result<Self, BadNodeId> {
        let mut letters = text.chars();
        let is_prefixed = PREFIX.iter().all(|expected| {
            letters.next().is_some_and(|letter| letter.eq_ignore_ascii_case(&char::from(*expected)))
        });
        if !is_prefixed {
            return Err(BadNodeId::Prefix);
        }

        let mut values = [0; SYMBOLS];
        let mut found = PREFIX.len();
        for (index, symbol) in letters.enumerate() {
            found += 1;
            let value = value_of(symbol).ok_or(BadNodeId::Symbol { symbol, position: found })?;
            if let Some(place) = values.get_mut(index) {
                *place = value;
            }
        }
        if found != Self::TEXT_LEN {
            return Err(BadNodeId::Length { found });
        }
        if residue(&values) != BECH32M {
            return Err(BadNodeId::Checksum);
        }
        from_symbols(&values).map(Self::from_bytes).ok_or(BadNodeId::Padding)
    }
}

impl NodeId {
    /// Characters of the text form, prefix and checksum included; all of them ASCII.
    pub const TEXT_LEN: usize = PREFIX.len() + SYMBOLS;
}

/// What is wrong with the text of a node id, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadNodeId {
    /// It does not begin with `hy1`.
    Prefix,
    /// A character that ids do not use.
    Symbol {
        /// The character.
        symbol: char,
        /// Its place in the text; the first character has position 1.
        position: usize,
    },
    /// Characters are missing, or there are too many.
    Length {
        /// How many characters there are; there should be [`NodeId::TEXT_LEN`].
        found: usize,
    },
    /// The checksum does not match: at least one character is wrong.
    Checksum,
    /// The checksum matches, but the four bits after the id are not zero: no node writes this.
    Padding,
}

impl fmt::Display for BadNodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix => f.write_str("a node id begins with 'hy1' (the digit one)"),
            Self::Symbol { symbol, position } => {
                write!(f, "{symbol:?} at position {position} does not belong in a node id")?;
                match symbol.to_ascii_lowercase() {
                    'b' => f.write_str("; is it an '8' or a '6'?"),
                    'i' | '1' => f.write_str("; is it an 'l'?"),
                    'o' => f.write_str("; is it a '0'?"),
                    _ => Ok(()),
                }
            }
            Self::Length { found } => {
                write!(f, "a node id has {} characters, this has {found}", NodeId::TEXT_LEN)
            }
            Self::Checksum => {
                f.write_str("the node id's checksum does not match; compare it letter by letter")
            }
            Self::Padding => f.write_str("the text is not a node id, though its checksum matches"),
        }
    }
}

impl core::error::Error for BadNodeId {}

/// Bech32's human-readable part and separator.
const PREFIX: &[u8; 3] = b"hy1";
/// Bech32's symbols in order of value: of `0 o`, `1 i l` and `8 b` only one each occurs.
const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const DATA_SYMBOLS: usize = (NodeId::LEN * 8).div_ceil(5);
const CHECKSUM_SYMBOLS: usize = 6;
const SYMBOLS: usize = DATA_SYMBOLS + CHECKSUM_SYMBOLS;
/// What Bech32m's polynomial leaves over a valid string.
const BECH32M: u32 = 0x2BC8_30A3;

fn value_of(symbol: char) -> Option<u8> {
    let index = ALPHABET.iter().position(|known| char::from(*known).eq_ignore_ascii_case(&symbol))?;
    u8::try_from(index).ok()
}

/// The id's bits in groups of five, first bit first, filled up with zero bits.
fn to_symbols(id: &[u8; NodeId::LEN]) -> [u8; DATA_SYMBOLS] {
    let mut values = [0; DATA_SYMBOLS];
    for (index, value) in values.iter_mut().enumerate() {
        let bit = index * 5;
        let next = id.get(bit / 8 + 1).copied().unwrap_or(0);
        let window = u16::from_be_bytes([id[bit / 8], next]);
        *value = (window >> (11 - bit % 8)) as u8 & 31;
    }
    values
}

/// The inverse of [`to_symbols`]; none if a bit after the id is set.
fn from_symbols(values: &[u8; SYMBOLS]) -> Option<[u8; NodeId::LEN]> {
    let mut id = [0; NodeId::LEN];
    let mut places = id.iter_mut();
    let (mut window, mut bits) = (0_u16, 0);
    for value in &values[..DATA_SYMBOLS] {
        window = (window << 5 | u16::from(*value)) & 0x0FFF;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            *places.next()? = (window >> bits) as u8;
        }
    }
    (window & ((1 << bits) - 1) == 0).then_some(id)
}

/// BIP 350's checksum of `hy` and these values before the final exclusive or, six symbols in the low 30 bits.
fn checksum(values: &[u8; DATA_SYMBOLS]) -> u32 {
    let mut with_room = [0; SYMBOLS];
    with_room[..DATA_SYMBOLS].copy_from_slice(values);
    residue(&with_room)
}

/// BIP 173's `polymod` over the expanded human-readable part and these values.
fn residue(values: &[u8; SYMBOLS]) -> u32 {
    const GENERATOR: [u32; 5] = [0x3B6A_57B2, 0x2650_8E6D, 0x1EA1_19FA, 0x3D42_33DD, 0x2A14_62B3];
    let [h, y, _] = *PREFIX;
    let expanded = [h >> 5, y >> 5, 0, h & 31, y & 31];
    expanded.iter().chain(values).fold(1, |state: u32, value| {
        let top = state >> 25;
        let shifted = (state & 0x01FF_FFFF) << 5 ^ u32::from(*value);
        GENERATOR.iter().enumerate().fold(shifted, |state, (bit, generator)| {
            if top >> bit & 1 == 1 { state ^ generator } else { state }
        })
    })
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::{String, ToString};
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::identity::Identity;

    #[test]
    fn every_single_typo_is_detected() {
        for identity in identities(3) {
            let text = identity.id().to_string();
            for place in PREFIX.len()..text.len() {
                for symbol in ALPHABET {
                    let mut typo = text.clone().into_bytes();
                    if typo[place] != *symbol {
                        typo[place] = *symbol;
                        assert_eq!(parse(&typo), Err(BadNodeId::Checksum));
                    }
                }
            }
        }
    }

    #[test]
    fn every_swap_of_neighbours_is_detected() {
        for identity in identities(50) {
            let text = identity.id().to_string().into_bytes();
            for place in 0..text.len() - 1 {
                let mut swapped = text.clone();
                swapped.swap(place, place + 1);
                if swapped != text {
                    assert!(parse(&swapped).is_err(), "{}", String::from_utf8_lossy(&swapped));
                }
            }
        }
    }

    #[test]
    fn a_text_without_the_prefix_is_refused() {
        for text in ["", "h", "hy", "hz1qqqq", "bc1qqqq", " hy1qqq", "üy1qqq"] {
            assert_eq!(text.parse::<NodeId>(), Err(BadNodeId::Prefix), "{text:?}");
        }
    }

    #[test]
    fn a_text_of_the_wrong_length_is_refused_with_the_length() {
        let text = NodeId::from_bytes([5; 32]).to_string();

        for len in PREFIX.len()..NodeId::TEXT_LEN {
            assert_eq!(parse(&text.as_bytes()[..len]), Err(BadNodeId::Length { found: len }));
        }
        assert_eq!(format!("{text}qq").parse::<NodeId>(), Err(BadNodeId::Length { found: 63 }));
    }

    #[test]
    fn a_character_that_ids_do_not_use_is_named_with_its_position() {
        let text = NodeId::from_bytes([5; 32]).to_string();
        for symbol in ['1', 'b', 'i', 'O', ' ', '-', 'ü', '\u{1F344}'] {
            let typo: String =
                text.chars().enumerate().map(|(index, c)| if index == 10 { symbol } else { c }).collect();

            assert_eq!(typo.parse::<NodeId>(), Err(BadNodeId::Symbol { symbol, position: 11 }));
        }

        let message = BadNodeId::Symbol { symbol: 'o', position: 11 }.to_string();
        assert_eq!(message, "'o' at position 11 does not belong in a node id; is it a '0'?");
        assert_eq!(format!("{text}\n").parse::<NodeId>().unwrap_err().to_string(), {
            "'\\n' at position 62 does not belong in a node id"
        });
    }

    #[test]
    fn set_bits_after_the_id_are_refused() {
        let mut values = [0; SYMBOLS];
        values[DATA_SYMBOLS - 1] = 1;
        let sum = residue(&values) ^ BECH32M;
        for (index, value) in values[DATA_SYMBOLS..].iter_mut().enumerate() {
            *value = (sum >> (5 * (5 - index))) as u8 & 31;
        }
        let text: Vec<u8> =
            PREFIX.iter().copied().chain(values.iter().map(|value| ALPHABET[usize::from(*value)])).collect();

        assert_eq!(parse(&text), Err(BadNodeId::Padding));
    }

    /// The data part of `abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx`, a valid string of BIP 350.
    #[test]
    fn the_alphabet_is_that_of_bip_350() {
        let descending = "l7aum6echk45nj3s0wdvt2fg8x9yrzpq";

        let values: Vec<u8> = descending.chars().map(|symbol| value_of(symbol).unwrap()).collect();

        assert_eq!(values, (0..32).rev().collect::<Vec<u8>>());
    }

    #[test]
    fn the_text_can_be_padded_to_a_column() {
        let id = NodeId::from_bytes([9; 32]);

        assert_eq!(format!("{id:<64}|"), format!("{id}   |"));
    }

    proptest! {
        #[test]
        fn every_id_survives_its_text_in_either_case(bytes: [u8; 32]) {
            let id = NodeId::from_bytes(bytes);
            let text = id.to_string();

            prop_assert_eq!(text.len(), NodeId::TEXT_LEN);
            prop_assert_eq!(text.parse(), Ok(id));
            prop_assert_eq!(text.to_uppercase().parse(), Ok(id));
        }

        #[test]
        fn up_to_four_wrong_symbols_are_detected(
            bytes: [u8; 32],
            changes in prop::collection::vec((3..NodeId::TEXT_LEN, 0..32_usize), 1..=4),
        ) {
            let text = NodeId::from_bytes(bytes).to_string();
            let mut typo = text.clone().into_bytes();
            changes.iter().for_each(|(place, value)| typo[*place] = ALPHABET[*value]);

            prop_assert_eq!(parse(&typo).is_err(), typo != text.as_bytes());
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = text.parse::<NodeId>();
            let _ = format!("hy1{text}").parse::<NodeId>();
        }
    }

    fn identities(count: usize) -> Vec<Identity> {
        (1..).filter_map(|seed| Identity::from_seed(&[seed; 32]).ok()).take(count).collect()
    }

    fn parse(text: &[u8]) -> Result<NodeId, BadNodeId> {
        core::str::from_utf8(text).unwrap().parse()
    }
}
