//! Which message types are compressed and how, as a person writes it: `0x1000=auto`, `8192-8447=zstd`.
//!
//! A [`Rule`] never names a type whose family must not be compressed: who makes one hears so, and nobody checks again.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use hyphal_core::wire::family::Family;
use hyphal_core::wire::message::Method;

/// Message types that a node compresses for peers that take it, and how.
///
/// Compress only what no stranger can choose a part of: the length of a compressed message tells how alike its parts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    first: u16,
    last: u16,
    /// `None` leaves it to the profile of the pair.
    method: Option<Method>,
}

impl Rule {
    /// Compresses messages of these types.
    ///
    /// # Errors
    /// [`BadRule::NoKinds`] for an empty range; [`BadRule::Forbidden`] if a family is in it that is never compressed.
    pub fn new(kinds: RangeInclusive<u16>, method: Method) -> Result<Self, BadRule> {
        Self::with(kinds, Some(method))
    }

    /// Compresses messages of these types as the profile of each pair says (docs/profiles.md).
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn auto(kinds: RangeInclusive<u16>) -> Result<Self, BadRule> {
        Self::with(kinds, None)
    }

    fn with(kinds: RangeInclusive<u16>, method: Option<Method>) -> Result<Self, BadRule> {
        let (first, last) = (*kinds.start(), *kinds.end());
        if kinds.is_empty() {
            return Err(BadRule::NoKinds { first, last });
        }
        let overlaps = |range: &RangeInclusive<u16>| first <= *range.end() && *range.start() <= last;
        let forbidden =
            Family::RANGES.iter().find(|(range, family, _)| !family.is_compressible() && overlaps(range));
        if let Some((range, family, _)) = forbidden {
            return Err(BadRule::Forbidden { family: *family, first: *range.start(), last: *range.end() });
        }
        Ok(Self { first, last, method })
    }

    /// How; `None` if the profile of the pair says.
    pub fn method(&self) -> Option<Method> {
        self.method
    }

    /// The message types.
    pub fn kinds(&self) -> RangeInclusive<u16> {
        self.first..=self.last
    }

    pub(super) fn names(&self, kind: u16) -> bool {
        self.first <= kind && kind <= self.last
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.first)?;
        if self.last != self.first {
            write!(f, "-{:#06x}", self.last)?;
        }
        write!(f, "={}", self.method.map_or(AUTO, Method::name))
    }
}

impl FromStr for Rule {
    type Err = BadRule;

    fn from_str(text: &str) -> Result<Self, BadRule> {
        let (kinds, method) = text.split_once('=').ok_or(BadRule::Form)?;
        let method = method.trim();
        let method = match Method::ALL.into_iter().find(|known| known.name() == method) {
            None if method != AUTO => return Err(BadRule::Method),
            method => method,
        };
        let (first, last) = kinds.split_once('-').unwrap_or((kinds, kinds));
        Self::with(number(first)?..=number(last)?, method)
    }
}

/// The word for a method that the profile chooses.
const AUTO: &str = "auto";

fn number(text: &str) -> Result<u16, BadRule> {
    let text = text.trim();
    let number = match text.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|_| BadRule::Kind)
}

/// Why there is no such [`Rule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadRule {
    /// It is not of the form `TYPE=METHOD` or `TYPE-TYPE=METHOD`.
    Form,
    /// A type is no number of 16 bits.
    Kind,
    /// There is no such method.
    Method,
    /// The last type is less than the first.
    NoKinds {
        /// The first type.
        first: u16,
        /// The last type.
        last: u16,
    },
    /// Messages of this family are never compressed.
    Forbidden {
        /// The family.
        family: Family,
        /// Its first type.
        first: u16,
        /// Its last type.
        last: u16,
    },
}

impl std::error::Error for BadRule {}

impl fmt::Display for BadRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("there is no '=' between types and method"),
            Self::Kind => f.write_str("a message type is a number from 0 to 65535, or from 0x0 to 0xffff"),
            Self::Method => f.write_str("the methods are lz4, zstd and auto"),
            Self::NoKinds { first, last } => write!(f, "there is no type from {first:#06x} to {last:#06x}"),
            Self::Forbidden { family, first, last } => {
                write!(
                    f,
                    "messages of the family {family}, {first:#06x} to {last:#06x}, are never compressed"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_they_are_written() {
        for (text, kinds, method) in [
            ("0x1000=lz4", 0x1000..=0x1000, Some(Method::Lz4)),
            ("0x2000-0x20ff=zstd", 0x2000..=0x20FF, Some(Method::Zstd)),
            ("0x0000=auto", 0..=0, None),
        ] {
            let rule: Rule = text.parse().unwrap();

            assert_eq!((rule.kinds(), rule.method()), (kinds, method));
            assert_eq!(rule.to_string(), text);
        }
        assert_eq!("4096 - 4097 = lz4".parse(), Rule::new(0x1000..=0x1001, Method::Lz4));
    }

    #[test]
    fn what_is_no_rule_is_told_why() {
        for (text, why) in [
            ("lz4", BadRule::Form),
            ("0x1000=gzip", BadRule::Method),
            ("0x10000=lz4", BadRule::Kind),
            ("all=lz4", BadRule::Kind),
            ("-1=lz4", BadRule::Kind),
            ("2-1=lz4", BadRule::NoKinds { first: 2, last: 1 }),
        ] {
            assert_eq!(text.parse::<Rule>(), Err(why), "{text}");
        }
    }

    #[test]
    fn security_and_configuration_are_never_compressed() {
        for text in
            ["0x0300=lz4", "0x03ff=zstd", "0x0a00-0x0aff=lz4", "0x0b00-0xffff=lz4", "0x0000-0xffff=zstd"]
        {
            let rule = text.parse::<Rule>();

            let is_forbidden = matches!(rule, Err(BadRule::Forbidden { .. }));
            assert_eq!(is_forbidden, text != "0x0b00-0xffff=lz4", "{text}: {rule:?}");
        }
        let error = "0x0a00=lz4".parse::<Rule>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "messages of the family security, 0x0a00 to 0x0aff, are never compressed"
        );
    }
}
