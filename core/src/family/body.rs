//! A body: one byte that says its version, then its fields one after the other as postcard writes them.
//!
//! Invariant: one value has one encoding. What is read was written by the same rules, to the byte: no field beyond its
//! bounds, no number in more bytes than it needs, nothing left over.

use core::fmt;

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

/// What a message of one type says.
pub trait Body<'a>: Serialize + Deserialize<'a> {
    /// The message type.
    const KIND: u16;
    /// The version that this build writes and reads.
    const VERSION: u8;
    /// The most bytes that an encoded body takes up: a buffer of this length always suffices.
    const MAX_LEN: usize;

    /// Writes the body to the front of `buf` and says how long it is; `None` if it does not fit.
    fn encode(&self, buf: &mut [u8]) -> Option<usize> {
        let (version, fields) = buf.split_first_mut()?;
        *version = Self::VERSION;
        // The buffer is all that can be wanting: fields cannot be wrong and have no lengths that are not known.
        postcard::to_slice(self, fields).ok().map(|written| 1 + written.len())
    }

    /// Reads the payload of a message of the type `kind`.
    ///
    /// # Errors
    /// See [`Unreadable`]; nothing of the payload is to be believed then.
    fn decode(kind: u16, payload: &'a [u8]) -> Result<Self, Unreadable<'a>> {
        if kind != Self::KIND {
            return Err(Unreadable::Kind(kind));
        }
        let (&version, bytes) = payload.split_first().ok_or(Unreadable::Malformed)?;
        if version != Self::VERSION {
            return Err(Unreadable::Version { version, bytes });
        }
        let body: Self = postcard::from_bytes(bytes).map_err(|_| Unreadable::Malformed)?;
        // postcard reads numbers that are longer than they need be, and stops before what is left over.
        match postcard::serialize_with_flavor(&body, Same { rest: bytes }) {
            Ok(true) => Ok(body),
            _ => Err(Unreadable::Malformed),
        }
    }
}

/// Why a payload is not the body that was asked for. It arrived as it was sent; only its meaning is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable<'a> {
    /// The message is of another type, this one.
    Kind(u16),
    /// The body is of a version that this build does not read: take what `bytes` are, or ask for a newer build.
    Version {
        /// The version that the sender wrote.
        version: u8,
        /// What follows the version, as it was sent.
        bytes: &'a [u8],
    },
    /// The body breaks the rules of its version; its sender is at fault.
    Malformed,
}

impl fmt::Display for Unreadable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "the message is of the type {kind:#06x}"),
            Self::Version { version, .. } => {
                write!(f, "the body is of version {version}, which this build does not read")
            }
            Self::Malformed => f.write_str("the body breaks the rules of its version"),
        }
    }
}

impl core::error::Error for Unreadable<'_> {}

/// Takes an encoding and says whether it is `rest`, without room for it.
struct Same<'a> {
    rest: &'a [u8],
}

impl Flavor for Same<'_> {
    type Output = bool;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.rest = self.rest.strip_prefix(bytes).ok_or(postcard::Error::SerializeBufferFull)?;
        Ok(())
    }

    fn finalize(self) -> postcard::Result<bool> {
        Ok(self.rest.is_empty())
    }
}

/// Declares what messages of one type say: number and version, documentation, fields; `SHEET` is their line in the registry.
macro_rules! message {
    (
        $(#[doc = $doc:literal])+
        #[kind = $kind:literal, version = $version:literal]
        pub struct $name:ident $(<$life:lifetime>)? {
            $(
                $(#[doc = $field_doc:literal])+
                $(#[serde($borrow:ident)])?
                pub $field:ident: $type:ty,
            )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub struct $name $(<$life>)? {
            $(
                $(#[doc = $field_doc])+
                $(#[serde($borrow)])?
                pub $field: $type,
            )+
        }

        impl<'a> $crate::family::Body<'a> for $name $(<$life>)? {
            const KIND: u16 = $kind;
            const VERSION: u8 = $version;
            const MAX_LEN: usize = 1 $(+ <$type as $crate::family::Field>::MAX_LEN)+;
        }

        impl $(<$life>)? $name $(<$life>)? {
            /// The message in the registry.
            #[allow(elided_lifetimes_in_paths, reason = "some bodies borrow from the payload and some do not")]
            pub(super) const SHEET: $crate::family::MessageSheet = $crate::family::MessageSheet {
                kind: $kind,
                version: $version,
                name: stringify!($name),
                doc: concat!($($doc, "\n"),+),
                max_len: <Self as $crate::family::Body<'_>>::MAX_LEN,
                fields: &[$($crate::family::FieldSheet {
                    name: stringify!($field),
                    doc: concat!($($field_doc),+),
                    describe: <$type as $crate::family::Field>::describe,
                }),+],
                check: |payload| <$name as $crate::family::Body<'_>>::decode($kind, payload).map(|_| ()),
            };
        }
    };
}
pub(super) use message;
