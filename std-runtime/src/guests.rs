//! Messages that go through a peer's outbox and are accounted for elsewhere: Guaranteed ones, which their lanes count, and
//! what nodes say among themselves. So the numbers of an outbox are the application's once these are taken out.

use std::collections::{BTreeMap, VecDeque};

use hyphal_core::ids::Priority;
use hyphal_core::outbox::{Fate, Ticket};
use hyphal_core::wire::reason::Reason;

use crate::counters::Sent;

/// The guests of one outbox: those that have no fate, and the fates of the others.
#[derive(Debug, Default)]
pub(crate) struct Guests {
    /// Their ordinals, rising.
    staying: [VecDeque<u64>; Priority::ALL.len()],
    /// Fates, and all that had one as `sent`.
    settled: Sent,
    /// Those that were dropped, by reason.
    drops: BTreeMap<Reason, u64>,
}

impl Guests {
    /// One was pushed just now.
    pub(crate) fn handle_pushed(&mut self, ticket: Ticket) {
        self.staying[ticket.class as usize].push_back(ticket.ordinal);
    }

    /// Whether none is queued or in flight.
    pub(crate) fn is_empty(&self) -> bool {
        self.staying.iter().all(VecDeque::is_empty)
    }

    /// The outbox tells of a fate, which may be that of guests.
    pub(crate) fn settle(&mut self, fate: Fate) {
        let (class, first, last) = match fate {
            Fate::Confirmed { class, first, last } | Fate::Unconfirmed { class, first, last } => {
                (class, first, last)
            }
            Fate::Dropped { ticket, .. } => (ticket.class, ticket.ordinal, ticket.ordinal),
        };
        let staying = &mut self.staying[class as usize];
        if staying.is_empty() {
            return;
        }
        let from = staying.partition_point(|ordinal| *ordinal < first);
        let to = staying.partition_point(|ordinal| *ordinal <= last);
        let count = staying.drain(from..to).len() as u64;
        self.settled.sent += count;
        if let Fate::Dropped { reason, .. } = fate
            && count > 0
        {
            *self.drops.entry(reason).or_default() += count;
        }
        *match fate {
            Fate::Confirmed { .. } => &mut self.settled.confirmed,
            Fate::Unconfirmed { .. } => &mut self.settled.unconfirmed,
            Fate::Dropped { reason: Reason::Expired, .. } => &mut self.settled.expired,
            Fate::Dropped { .. } => &mut self.settled.dropped,
        } += count;
    }

    /// The session ended: all that stay are withdrawn from the outbox.
    pub(crate) fn handle_withdrawn(&mut self) {
        // An outbox that rests holds no memory.
        self.staying = Default::default();
    }

    /// How many were dropped for this reason.
    pub(crate) fn dropped(&self, reason: Reason) -> u64 {
        self.drops.get(&reason).copied().unwrap_or(0)
    }

    /// What the numbers of the outbox have of guests. `has_left` says of one that stays whether all of it was taken.
    pub(crate) fn count(&self, has_left: impl Fn(Ticket) -> bool) -> Sent {
        let mut count = self.settled;
        for (class, staying) in Priority::ALL.into_iter().zip(&self.staying) {
            let left = staying.partition_point(|&ordinal| has_left(Ticket { class, ordinal }));
            count.sent += staying.len() as u64;
            count.in_flight += left as u64;
            count.queued += (staying.len() - left) as u64;
        }
        count
    }
}
