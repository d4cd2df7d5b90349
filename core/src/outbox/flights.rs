//! The records that carry unacknowledged messages of one outbox, oldest first, without the messages.
//!
//! A bounded ring: when it is full the newest record joins the one before, so that both are confirmed with the later.
//! That costs promptness of confirmations, never their truth.

use super::{CLASSES, Ticket};
use crate::ids::Priority;

/// The record being filled and those that are written and not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Flights {
    /// What was taken into the record that is not written yet; its counter is unset.
    open: Flight,
    /// Whether there is any.
    is_open: bool,
    ring: [Flight; Flights::MAX],
    oldest: u8,
    len: u8,
}

impl Flights {
    /// Eight keep an outbox small (384 bytes) and still confirm in steps of an eighth of what is under way.
    pub(super) const MAX: usize = 8;

    /// Adds a message to the open record.
    #[inline]
    pub(super) fn board(&mut self, ticket: Ticket) {
        self.open.messages += 1;
        self.board_retained(ticket);
    }

    /// Adds a message that the storage keeps, and counts.
    #[inline]
    pub(super) fn board_retained(&mut self, ticket: Ticket) {
        self.is_open = true;
        self.open.through[ticket.class as usize] = ticket.ordinal;
    }

    /// Closes the open record, if it carries a message.
    #[inline]
    pub(super) fn depart(&mut self, counter: u64) {
        if !core::mem::take(&mut self.is_open) {
            return;
        }
        let mut flight = core::mem::take(&mut self.open);
        flight.counter = counter;
        if usize::from(self.len) == Self::MAX {
            self.ring[self.at(self.len - 1)].join(&flight);
        } else {
            self.ring[self.at(self.len)] = flight;
            self.len += 1;
        }
    }

    /// Removes the oldest written record if its counter is less than `through`.
    pub(super) fn land(&mut self, through: u64) -> Option<Flight> {
        let oldest = self.ring[self.at(0)];
        if self.len == 0 || oldest.counter >= through {
            return None;
        }
        self.oldest = (self.oldest + 1) % Self::MAX as u8;
        self.len -= 1;
        Some(oldest)
    }

    /// Removes all records, the open one too, as one.
    pub(super) fn ground(&mut self) -> Flight {
        let mut all = Flight::default();
        for i in 0..self.len {
            all.join(&self.ring[self.at(i)]);
        }
        all.join(&self.open);
        *self = Self::default();
        all
    }

    /// Messages in all records, the open one too, but for those that the storage keeps.
    pub(super) fn messages(&self) -> u64 {
        self.open.messages + (0..self.len).map(|i| self.ring[self.at(i)].messages).sum::<u64>()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0 && !self.is_open
    }

    /// The place in the ring of the `i`-th oldest.
    #[inline]
    fn at(&self, i: u8) -> usize {
        usize::from(self.oldest + i) % Self::MAX
    }
}

/// One record, or several that were joined.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flight {
    counter: u64,
    /// Those that the storage does not keep.
    pub(super) messages: u64,
    /// The ordinal of the last message of each class; 0 = none.
    through: [u64; CLASSES],
}

impl Flight {
    /// The classes that the record carries, each with the ordinal of its last message.
    pub(super) fn watermarks(&self) -> impl Iterator<Item = (Priority, u64)> {
        Priority::ALL.into_iter().zip(self.through).filter(|&(_, through)| through != 0)
    }

    /// The ordinal of the last message of the class; 0 if there is none.
    pub(super) fn through(&self, class: Priority) -> u64 {
        self.through[class as usize]
    }

    fn join(&mut self, later: &Self) {
        self.counter = later.counter;
        self.messages += later.messages;
        for (mine, theirs) in self.through.iter_mut().zip(later.through) {
            *mine = theirs.max(*mine);
        }
    }
}
