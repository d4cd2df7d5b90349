//! What becomes of messages: told one by one or in ranges to a ledger, and counted.
//!
//! Invariant of the counters: `pushed == confirmed + unconfirmed + dropped + withdrawn + in flight + queued`, after every
//! call of the outbox.

use crate::ids::{Priority, Reliability};
use crate::wire::reason::Reason;

/// Names a message within its outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The class in which the message queues.
    pub class: Priority,
    /// Counts the messages of the class, from 1.
    pub ordinal: u64,
}

/// What became of one or many messages. Each message meets exactly one fate; only a Guaranteed one that is withdrawn meets
/// none here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The peer acknowledged every message of the class from `first` to `last` that has met no fate before.
    Confirmed {
        /// The class.
        class: Priority,
        /// The ordinal of the first message that this tells of.
        first: u64,
        /// The ordinal of the last one.
        last: u64,
    },
    /// Every message of the class from `first` to `last` that has met no fate before was written, or was about to be, was
    /// not acknowledged, and will not be written again: it may or may not have been delivered.
    Unconfirmed {
        /// The class.
        class: Priority,
        /// The ordinal of the first message that this tells of.
        first: u64,
        /// The ordinal of the last one.
        last: u64,
    },
    /// One message was dropped from the queue, never written as a whole.
    Dropped {
        /// Which one.
        ticket: Ticket,
        /// Why.
        reason: Reason,
    },
}

impl Fate {
    /// One message is unconfirmed.
    pub(super) const fn unconfirmed(Ticket { class, ordinal }: Ticket) -> Self {
        Self::Unconfirmed { class, first: ordinal, last: ordinal }
    }
}

/// Someone who wants to know the fate of every message, as a caller who waits for a confirmation.
pub trait Ledger {
    /// Takes note of a fate. Called while the outbox is in use, so it must be quick and must not block.
    fn settle(&mut self, fate: Fate);

    /// All Guaranteed messages that had met no fate were withdrawn, as the session ended.
    fn handle_withdrawn(&mut self) {}
}

impl Ledger for () {
    #[inline]
    fn settle(&mut self, _: Fate) {}
}

/// What became of all messages of an outbox. Each field only rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Queued by `push`.
    pub pushed: u64,
    /// Taken into a record, however often; later confirmed, unconfirmed or withdrawn, or still in flight or queued again.
    pub written: u64,
    /// Acknowledged by the peer.
    pub confirmed: u64,
    /// Written, not acknowledged, and given up.
    pub unconfirmed: u64,
    /// In flight when their session ended, and queued again.
    pub requeued: u64,
    /// Guaranteed ones that were queued or in flight when their session ended or the peer was removed.
    pub withdrawn: u64,
    /// Dropped since their time to live had passed.
    pub expired: u64,
    /// Dropped since the peer takes no message that long.
    pub peer_limit: u64,
    /// Dropped since the peer was removed.
    pub peer_gone: u64,
    /// Dropped since the sender wanted it no more.
    pub cancelled: u64,
    /// Dropped by `make_room` for the sake of others.
    pub shed: u64,
    /// Dropped by `clear` for any other reason.
    pub cleared: u64,
}

impl Counters {
    /// All that were dropped, whatever the reason.
    pub const fn dropped(&self) -> u64 {
        self.expired + self.peer_limit + self.peer_gone + self.cancelled + self.shed + self.cleared
    }

    /// These and those of other messages.
    const fn with(self, other: Self) -> Self {
        Self {
            pushed: self.pushed + other.pushed,
            written: self.written + other.written,
            confirmed: self.confirmed + other.confirmed,
            unconfirmed: self.unconfirmed + other.unconfirmed,
            requeued: self.requeued + other.requeued,
            withdrawn: self.withdrawn + other.withdrawn,
            expired: self.expired + other.expired,
            peer_limit: self.peer_limit + other.peer_limit,
            peer_gone: self.peer_gone + other.peer_gone,
            cancelled: self.cancelled + other.cancelled,
            shed: self.shed + other.shed,
            cleared: self.cleared + other.cleared,
        }
    }

    pub(super) fn count_drop(&mut self, reason: Reason) {
        *match reason {
            Reason::Expired => &mut self.expired,
            Reason::PeerLimit => &mut self.peer_limit,
            Reason::PeerGone => &mut self.peer_gone,
            Reason::Cancelled => &mut self.cancelled,
            Reason::Shed => &mut self.shed,
            _ => &mut self.cleared,
        } += 1;
    }
}

/// The counters of BestEffort messages, and those of all that are retained for their own sake: two sets, since a set for each
/// reliability takes more of a small device than it is worth.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) best_effort: Counters,
    pub(super) kept: Counters,
}

impl Books {
    /// Where a message of this reliability is counted.
    #[inline]
    pub(super) fn of(&mut self, reliability: Reliability) -> &mut Counters {
        match reliability {
            Reliability::BestEffort => &mut self.best_effort,
            Reliability::High | Reliability::Guaranteed => &mut self.kept,
        }
    }

    pub(super) const fn total(&self) -> Counters {
        self.best_effort.with(self.kept)
    }
}
