//! What messages of the families say that nodes themselves speak: a body for each message type, and a registry of all.
//!
//! A body is one byte of version and the fields in postcard's encoding, `docs/families.md` shows each. It is the payload of
//! an ordinary message; sessions and links know nothing of it, so a node that does not know a family, a type or a version
//! hands on the bytes as they are. Versions do not grow by fields at their end: another layout is another version.
//!
//! A message type is declared once, in the file of its family, and its documentation is written from that declaration. A
//! family is a file and its line in [`FAMILIES`]. The ranges of types are in [`wire::family`](crate::wire::family).
//!
//! ```
//! use hyphal_core::family::{Body, Unreadable, heartbeat::Heartbeat};
//!
//! let heartbeat = Heartbeat { sequence: 7, uptime: 3600, load: None };
//! let mut buf = [0; Heartbeat::MAX_LEN];
//! let len = heartbeat.encode(&mut buf).unwrap();
//!
//! assert_eq!(Heartbeat::decode(Heartbeat::KIND, &buf[..len]), Ok(heartbeat));
//! // What a newer node may send.
//! buf[0] = 9;
//! let unreadable = Unreadable::Version { version: 9, bytes: &buf[1..len] };
//! assert_eq!(Heartbeat::decode(Heartbeat::KIND, &buf[..len]), Err(unreadable));
//! ```

pub mod configuration;
pub mod health;
pub mod heartbeat;
pub mod status;

mod body;
mod field;

use core::fmt;

use crate::wire::family::Family;

pub use body::{Body, Unreadable};
pub use field::{Field, Octets, Percent, Text};

/// The families whose messages have bodies, in the order of their numbers.
pub const FAMILIES: &[FamilySheet] = &[heartbeat::SHEET, status::SHEET, configuration::SHEET, health::SHEET];

/// One family in the registry.
#[derive(Clone, Copy, Debug)]
pub struct FamilySheet {
    /// Which family it is; its range of types is in the table of families.
    pub family: Family,
    /// What it is for, a line or more.
    pub doc: &'static str,
    /// Its messages, in the order of their numbers.
    pub messages: &'static [MessageSheet],
}

/// One message type in the registry.
#[derive(Clone, Copy, Debug)]
pub struct MessageSheet {
    /// The message type.
    pub kind: u16,
    /// The version of the body that this build writes and reads.
    pub version: u8,
    /// The name of the body in the code.
    pub name: &'static str,
    /// What it says, a line or more.
    pub doc: &'static str,
    /// The most bytes that a body takes up.
    pub max_len: usize,
    /// Its fields, in the order in which they are written.
    pub fields: &'static [FieldSheet],
    /// Whether a payload is such a body; for those who do not know the type.
    pub check: for<'a> fn(&'a [u8]) -> Result<(), Unreadable<'a>>,
}

impl MessageSheet {
    /// What the registry knows of a message type; `None` for types whose messages are opaque to this build.
    pub fn of(kind: u16) -> Option<&'static Self> {
        FAMILIES.iter().flat_map(|family| family.messages).find(|message| message.kind == kind)
    }
}

/// One field of a body in the registry.
#[derive(Clone, Copy, Debug)]
pub struct FieldSheet {
    /// The name in the code.
    pub name: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// Writes what may stand in it.
    pub describe: fn(&mut fmt::Formatter<'_>) -> fmt::Result,
}

impl fmt::Display for FieldSheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.describe)(f)
    }
}
