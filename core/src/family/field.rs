//! What a field of a body can hold. Types carry the bounds, so that a value that exists is within them, on its way out as on
//! its way in, and the longest body of a message is known at compile time.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A type that can be a field of a body.
pub trait Field {
    /// The most bytes that a value takes up.
    const MAX_LEN: usize;

    /// Says in the words of `docs/families.md` what may stand in the field.
    ///
    /// # Errors
    /// Those of the formatter.
    fn describe(f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// Text of at most `MAX` bytes, borrowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<'a, const MAX: usize>(&'a str);

impl<'a, const MAX: usize> Text<'a, MAX> {
    /// The text; `None` if it is longer than `MAX` bytes.
    pub const fn new(text: &'a str) -> Option<Self> {
        if text.len() <= MAX { Some(Self(text)) } else { None }
    }

    /// As much of the text as there is room for, cut between characters.
    pub fn cut(text: &'a str) -> Self {
        Self(&text[..text.floor_char_boundary(MAX)])
    }

    /// The text itself.
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

impl<const MAX: usize> fmt::Display for Text<'_, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl<const MAX: usize> Serialize for Text<'_, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de: 'a, 'a, const MAX: usize> Deserialize<'de> for Text<'a, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(<&str>::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("a text is too long"))
    }
}

impl<const MAX: usize> Field for Text<'_, MAX> {
    const MAX_LEN: usize = len_of(MAX) + MAX;

    fn describe(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "text, at most {MAX} bytes")
    }
}

/// At most `MAX` bytes, borrowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Octets<'a, const MAX: usize>(&'a [u8]);

impl<'a, const MAX: usize> Octets<'a, MAX> {
    /// The bytes; `None` if there are more than `MAX`.
    pub const fn new(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() <= MAX { Some(Self(bytes)) } else { None }
    }

    /// The bytes themselves.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

impl<const MAX: usize> Serialize for Octets<'_, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a, const MAX: usize> Deserialize<'de> for Octets<'a, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(<&[u8]>::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("too many bytes"))
    }
}

impl<const MAX: usize> Field for Octets<'_, MAX> {
    const MAX_LEN: usize = len_of(MAX) + MAX;

    fn describe(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes, at most {MAX}")
    }
}

/// A part of a whole, 0 to 100.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Percent(u8);

impl Percent {
    /// The part; `None` above 100.
    pub const fn new(percent: u8) -> Option<Self> {
        if percent <= 100 { Some(Self(percent)) } else { None }
    }

    /// The number, 0 to 100.
    pub const fn value(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u8::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("more than 100 %"))
    }
}

impl Field for Percent {
    const MAX_LEN: usize = 1;

    fn describe(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one byte, 0 to 100")
    }
}

impl Field for u32 {
    const MAX_LEN: usize = 5;

    fn describe(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("u32")
    }
}

impl Field for u64 {
    const MAX_LEN: usize = 10;

    fn describe(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("u64")
    }
}

impl<T: Field> Field for Option<T> {
    const MAX_LEN: usize = 1 + T::MAX_LEN;

    fn describe(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("optional ")?;
        T::describe(f)
    }
}

/// How long the varint of a length of at most `max` is.
const fn len_of(max: usize) -> usize {
    let mut len = 1;
    let mut rest = max >> 7;
    while rest != 0 {
        len += 1;
        rest >>= 7;
    }
    len
}

/// Declares an enumeration that can be a field of a body: it is written as the place of its value in the list, from 0.
macro_rules! choice {
    (
        $(#[doc = $doc:literal])+
        pub enum $name:ident {
            $( $(#[doc = $value_doc:literal])+ $value:ident, )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $( $(#[doc = $value_doc])+ $value, )+
        }

        impl $name {
            /// Every value, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$value),+];

            /// The name as it stands in the code and in `docs/families.md`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$value => stringify!($value),)+
                }
            }
        }

        impl $crate::family::Field for $name {
            // The number of a value is one byte: there are at most 128.
            const MAX_LEN: usize = {
                assert!(Self::ALL.len() <= 128);
                1
            };

            fn describe(f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                let docs = [$(concat!($($value_doc),+)),+];
                for (at, (value, doc)) in Self::ALL.iter().zip(docs).enumerate() {
                    let gap = if at == 0 { "" } else { "; " };
                    write!(f, "{gap}{at} {}:{}", value.name(), doc.trim_end_matches('.'))?;
                }
                Ok(())
            }
        }
    };
}
pub(super) use choice;
