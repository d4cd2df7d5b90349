//! Messages in a record, protocol section 6: many small ones, back to back, each saying only what differs from the last.
//!
//! `flags 1 | [type varint] | [length varint] | [sequence varint] | [extension] | payload`
//!
//! | bit | flag |
//! |---|---|
//! | 0-1 | priority |
//! | 2 | broadcast |
//! | 3 | same type as the message before |
//! | 4 | last: the payload runs to the end of the record |
//! | 5 | explicit sequence |
//! | 6 | extension: 1 byte of bits, then the fields that they name |
//! | 7 | full: the payload is an [`Envelope`](super::envelope::Envelope) and holds the type |
//!
//! | extension bit | field |
//! |---|---|
//! | 0 | ttl varint |
//! | 1 | age varint |
//! | 2 | [`Part`]: total varint, offset varint |
//! | 3 | [`Compressed`]: method 1, original length varint |
//! | 4 | number varint |
//!
//! This is the hot path: a 16 KiB record holds 240 messages. A body is checked as a whole before its first message is
//! delivered ([`check`]), so a record is taken or refused, never half. What a full message's envelope says is not looked at
//! here: its bytes may come in parts, and a wrong one costs that message, not the record.

mod compressed;
mod decoder;
mod encoder;
mod layout;

use core::num::NonZeroU64;

use super::varint;
use crate::ids::Priority;

pub use compressed::{Compressed, Method, Methods};
pub use decoder::{Checked, Messages, check};
pub use encoder::{Encoder, Place};

/// The ttl of a message that names none, seconds.
pub const DEFAULT_TTL: u32 = 60;
/// The longest bytes before a payload: flags, type, length, sequence, extension with ttl, age, part, compression and number.
pub const MAX_OVERHEAD: usize =
    1 + 3 + varint::MAX_LEN + varint::MAX_LEN + 1 + 5 + 5 + (5 + 5) + (1 + 5) + varint::MAX_LEN;
/// The most payload bytes of one part; a longer message is sent in several.
pub const FRAGMENT_LEN: usize = 16_384;
/// The longest bytes that say how a payload is compressed, where it would need no extension otherwise.
pub const MAX_COMPRESSED_LEN: usize = 1 + (1 + 5);

/// What a message says about itself beside its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageHeader {
    /// How urgent it is.
    pub priority: Priority,
    /// Whether it is for every peer of the sender.
    pub broadcast: bool,
    /// The message type, see [`family`](super::family); 0 in a full message, whose envelope says it.
    pub kind: u16,
    /// Whether the whole payload is an [`Envelope`](super::envelope::Envelope) in canonical form.
    pub full: bool,
    /// Counts the sender's messages since its boot id.
    pub sequence: u64,
    /// Seconds after which it is worthless; 0 = never.
    pub ttl: u32,
    /// How long it had waited when it was written, in [`TICK`](super::record::TICK)s.
    pub age: u32,
    /// Which part of a message's payload this is, if not all of it.
    pub part: Option<Part>,
    /// How the whole payload is compressed, if it is; a full one never is.
    pub compressed: Option<Compressed>,
    /// The number of a Guaranteed message in its lane.
    pub number: Option<NonZeroU64>,
}

impl Default for MessageHeader {
    /// A message of regular priority for one peer that says nothing which a message need not say.
    fn default() -> Self {
        Self {
            priority: Priority::default(),
            broadcast: false,
            kind: 0,
            full: false,
            sequence: 0,
            ttl: DEFAULT_TTL,
            age: 0,
            part: None,
            compressed: None,
            number: None,
        }
    }
}

/// The place of some of a message's payload in the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Part {
    /// Bytes of the whole payload as it is sent, after compression.
    pub total: u32,
    /// Where these bytes begin in it.
    pub offset: u32,
}

impl Part {
    /// Whether the sender gives the message up: nothing of it follows, and what was sent is worthless.
    #[inline]
    pub const fn is_abandonment(&self) -> bool {
        self.offset == self.total
    }

    /// Where these `len` bytes end in the whole; `None` if no such part may be written.
    #[inline]
    pub fn end(&self, len: usize) -> Option<u32> {
        let end = self.offset.checked_add(u32::try_from(len).ok()?)?;
        let is_sound = self.total > 0 && end <= self.total && (len > 0 || self.is_abandonment());
        is_sound.then_some(end)
    }
}

/// One message of a checked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it says about itself.
    pub header: MessageHeader,
    /// Its bytes, or those of this part of it.
    pub payload: &'a [u8],
}
