//! What an outbox needs of the place where it keeps its messages: four queues, and behind each what was taken of it and is
//! not settled. A storage moves messages and tells their fates; it decides nothing.

use core::num::NonZeroU64;

use super::NEVER;
use super::fate::{Fate, Ledger, Ticket};
use crate::ids::{Priority, Reliability};
use crate::time::Instant;
use crate::wire::message::Compressed;

/// What the outbox must know of a message beside its payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The message type; 0 of a full message.
    pub kind: u16,
    /// Whether the payload is an [`Envelope`](crate::wire::envelope::Envelope) in canonical form. Such a one is never compressed.
    pub full: bool,
    /// The class in which the message queues.
    pub priority: Priority,
    /// Whether the message goes to every peer.
    pub broadcast: bool,
    /// What is done for the message when a session ends before its acknowledgement.
    pub reliability: Reliability,
    /// The number in the message's id.
    pub sequence: u64,
    /// Seconds from `push` after which the message is worthless; 0 = it never expires.
    pub ttl: u32,
    /// How the payload is compressed, if it is.
    pub compressed: Option<Compressed>,
    /// The number of a Guaranteed message in its lane.
    pub number: Option<NonZeroU64>,
}

impl Header {
    /// Bytes of the payload before its compression; 0 if it is not compressed.
    #[inline]
    pub(super) fn original(&self) -> u32 {
        self.compressed.map_or(0, |compressed| compressed.original)
    }
}

/// A payload on its way into a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a, S> {
    /// Bytes that the storage copies.
    Copied(&'a [u8]),
    /// Bytes that the storage shares with others who hold them.
    Shared(S),
}

impl<S: AsRef<[u8]>> Payload<'_, S> {
    /// The bytes.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Shared(bytes) => bytes.as_ref(),
        }
    }
}

/// A queued message without its payload, as a [`Storage`] keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// As it was pushed.
    pub header: Header,
    /// The message's number within its class.
    pub ordinal: u64,
    /// When it was pushed.
    pub pushed_at: Instant,
}

impl Entry {
    /// The name of the message.
    #[inline]
    pub const fn ticket(&self) -> Ticket {
        Ticket { class: self.header.priority, ordinal: self.ordinal }
    }

    #[inline]
    pub(super) fn expires_at(&self) -> Instant {
        if self.header.ttl == 0 {
            return NEVER;
        }
        let life = u64::from(self.header.ttl) * 1_000_000;
        Instant::from_micros(self.pushed_at.as_micros().saturating_add(life))
    }

    #[inline]
    pub(super) fn has_expired(&self, now: Instant) -> bool {
        self.header.ttl != 0 && now >= self.expires_at()
    }
}

/// What is to become of a queued message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep,
    /// It goes, and this is its fate.
    Drop(Fate),
    /// It goes without a word.
    Withdraw,
}

/// Where an outbox keeps its messages: four first-in first-out queues, bounded together in messages and bytes.
///
/// A message's queue is that of its priority.
pub trait Storage {
    /// A payload that is stored without being copied.
    type Shared: AsRef<[u8]>;
    /// Who learns the messages' fates.
    type Ledger: Ledger;

    /// Appends a message to its queue. The caller has asked [`has_room`](Self::has_room).
    fn push(&mut self, entry: Entry, payload: Payload<'_, Self::Shared>);
    /// The oldest message of the queue.
    fn front(&self, class: Priority) -> Option<(&Entry, &[u8])>;
    /// Removes the oldest message of the queue.
    fn pop(&mut self, class: Priority) -> Option<Entry>;
    /// Asks `verdict` for every message of the queue, oldest first, removes those that are not to stay and tells the ledger.
    fn drop_where(&mut self, class: Priority, verdict: impl FnMut(&Entry) -> Verdict);
    /// Asks `original` for every message of the queue and, where it gives one, keeps that payload in place of the old one.
    ///
    /// What is not compressed any more weighs as much as before. A storage without shared payloads does nothing.
    fn replace_where(
        &mut self,
        _class: Priority,
        _original: impl FnMut(&mut Header, &[u8]) -> Option<Self::Shared>,
    ) {
    }
    /// What a payload of this length counts in [`bytes`](Self::bytes) and [`has_room`](Self::has_room): at least its length.
    fn weight(_header: &Header, payload_len: usize) -> usize {
        payload_len
    }
    /// Messages in the queue.
    fn len(&self, class: Priority) -> usize;
    /// Messages in all queues.
    fn messages(&self) -> usize;
    /// Whether all queues are empty.
    #[inline]
    fn is_empty(&self) -> bool {
        self.messages() == 0
    }
    /// Payload bytes in all queues.
    fn bytes(&self) -> usize;
    /// Payload bytes in the queue.
    fn bytes_in(&self, class: Priority) -> usize;
    /// Its Guaranteed messages, and their payload bytes.
    fn guaranteed_in(&self, class: Priority) -> (usize, usize);
    /// Whether a payload of this length could be pushed if so many messages with so many bytes were in the queues, beside those
    /// that are retained.
    fn has_room_beside(&self, messages: usize, bytes: usize, len: usize) -> bool;
    /// Whether a payload of this length can be pushed now.
    #[inline]
    fn has_room(&self, len: usize) -> bool {
        self.has_room_beside(self.messages(), self.bytes(), len)
    }
    /// The longest payload that an empty storage takes.
    fn max_payload(&self) -> u32;
    /// Moves the oldest message of the queue to the retained ones of its class, behind those that are there.
    fn retain(&mut self, class: Priority);
    /// The first retained message of the class whose ordinal is at least `from`.
    fn retained(&self, class: Priority, from: u64) -> Option<(&Entry, &[u8])>;
    /// Removes a retained message.
    fn forget(&mut self, class: Priority, ordinal: u64);
    /// Removes the retained messages of a class up to an ordinal, and says how many they were: BestEffort ones, and others.
    fn forget_through(&mut self, class: Priority, ordinal: u64) -> (u64, u64);
    /// Moves all retained messages of a class to the front of its queue, in their order.
    fn requeue(&mut self, class: Priority);
    /// Whether none of a class is retained.
    #[inline]
    fn retains_none(&self, class: Priority) -> bool {
        self.retained_len() == 0 || self.retained(class, 0).is_none()
    }
    /// Retained messages of all classes. They take room like queued ones, and count in nothing else.
    fn retained_len(&self) -> usize;
    /// Their payload bytes.
    fn retained_bytes(&self) -> usize;
    /// Gives back memory that empty queues do not need.
    fn release(&mut self);
    /// The ledger.
    fn ledger(&mut self) -> &mut Self::Ledger;
}
