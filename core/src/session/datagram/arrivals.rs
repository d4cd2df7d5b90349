//! What this end owes a datagram peer in acknowledgements: which records have arrived, and with which the application is
//! done. Counts records; knows no bytes.
//!
//! Arrived is told soon, as the peer's loss detection and window live on it; done is told when the application says so,
//! and lets the peer forget the messages. A record that is not taken here is never acknowledged.

use super::replay::Replay;
use crate::time::{Duration, Instant};
use crate::wire::ranges::Ranges;

/// How long an acknowledgement waits for company, as `max_ack_delay` of RFC 9000, section 18.2.
pub(super) const DELAY: Duration = Duration::from_millis(25);

/// Eliciting records that may wait without an acknowledgement, RFC 9000, section 13.2.2, and records that may wait without
/// the word that the application is done with them.
const PROMPT: u8 = 2;

#[derive(Clone, Debug)]
pub(super) struct Arrivals {
    replay: Replay,
    /// When the newest record arrived.
    newest_at: Instant,
    held: Held,
    /// With how much the peer knows the application to be done.
    told_done: u64,
    /// Eliciting records since the last acknowledgement.
    unacknowledged: u8,
    /// When waiting for company ends.
    due_at: Option<Instant>,
    /// The waiting is over.
    is_urgent: bool,
}

/// What the peer should be told.
#[derive(Clone, Debug)]
pub(super) struct Acknowledgement {
    /// The application is done with all records below this that are among the ranges, or were before.
    pub(super) done: u64,
    pub(super) ranges: Ranges,
}

impl Arrivals {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            replay: Replay::default(),
            newest_at: now,
            held: Held::default(),
            told_done: 0,
            unacknowledged: 0,
            due_at: None,
            is_urgent: false,
        }
    }

    pub(super) fn newest(&self) -> Option<u64> {
        self.replay.newest()
    }

    /// Whether record `counter` may be taken.
    pub(super) fn is_fresh(&self, counter: u64) -> bool {
        self.replay.is_fresh(counter)
    }

    /// Record `counter`, which is fresh, is taken. With messages it is held until the application is done with all bytes up
    /// to `held_through` of all messages in the order in which they arrived.
    pub(super) fn handle_record(
        &mut self,
        now: Instant,
        counter: u64,
        is_eliciting: bool,
        held_through: Option<u64>,
    ) {
        let follows = self.newest().map_or(counter == 0, |newest| counter == newest + 1);
        if self.newest().is_none_or(|newest| counter > newest) {
            self.newest_at = now;
        }
        self.replay.take(counter);
        if let Some(through) = held_through {
            self.held.push(through, counter);
        }
        if !is_eliciting {
            return;
        }
        self.unacknowledged = self.unacknowledged.saturating_add(1);
        // A gap, or a record that fills one: RFC 9000, section 13.2.1.
        if self.unacknowledged >= PROMPT || !follows {
            self.is_urgent = true;
        } else {
            self.wait(now);
        }
    }

    /// The peer waits for the acknowledgement of what was taken last.
    pub(super) fn hurry(&mut self) {
        self.is_urgent = true;
    }

    /// The application is done with all bytes of messages up to `through`.
    pub(super) fn handle_consumed(&mut self, now: Instant, through: u64) {
        if !self.held.release(through) {
            return;
        }
        if self.done().saturating_sub(self.told_done) >= PROMPT.into() {
            self.is_urgent = true;
        } else {
            self.wait(now);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.due_at.is_some_and(|at| at <= now) {
            self.is_urgent = true;
        }
    }

    /// Whether the application is done with all messages that came.
    pub(super) fn is_settled(&self) -> bool {
        self.held.len == 0
    }

    /// Whether an acknowledgement must go out now, alone if need be.
    pub(super) fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    /// When it becomes urgent.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.due_at.filter(|_| !self.is_urgent)
    }

    /// What the next record should acknowledge, if the peer waits for it.
    pub(super) fn pending(&self, now: Instant) -> Option<Acknowledgement> {
        if self.is_urgent || self.due_at.is_some() { self.current(now) } else { None }
    }

    /// What has arrived and is done, whether or not the peer waits for it.
    pub(super) fn current(&self, now: Instant) -> Option<Acknowledgement> {
        let ranges = Ranges::new(now.since(self.newest_at), self.replay.ranges())?;
        Some(Acknowledgement { done: self.done(), ranges })
    }

    /// A record with the current acknowledgement was written.
    pub(super) fn handle_sent(&mut self) {
        self.told_done = self.done();
        self.unacknowledged = 0;
        self.due_at = None;
        self.is_urgent = false;
    }

    /// The application is done with all records below this that have arrived.
    fn done(&self) -> u64 {
        let after_newest = || self.newest().map_or(0, |newest| newest + 1);
        self.held.lowest().unwrap_or_else(after_newest)
    }

    fn wait(&mut self, now: Instant) {
        self.due_at.get_or_insert(now.after(DELAY));
    }
}

/// The records that the application holds, in groups in the order in which they arrived.
///
/// A bounded ring: when it is full the newest record joins the group before it, and both are done with the later of them.
/// That costs promptness, never truth.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    groups: [Group; Held::MAX],
    oldest: usize,
    len: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Group {
    /// Bytes of all messages up to the end of the group.
    through: u64,
    /// The lowest counter in it.
    lowest: u64,
}

impl Held {
    const MAX: usize = 16;

    fn push(&mut self, through: u64, counter: u64) {
        if self.len == Self::MAX {
            let newest = &mut self.groups[(self.oldest + self.len - 1) % Self::MAX];
            *newest = Group { through, lowest: newest.lowest.min(counter) };
        } else {
            self.groups[(self.oldest + self.len) % Self::MAX] = Group { through, lowest: counter };
            self.len += 1;
        }
    }

    /// Removes the groups that end at `through` or before, and says whether there was one.
    fn release(&mut self, through: u64) -> bool {
        let before = self.len;
        while self.len > 0 && self.groups[self.oldest].through <= through {
            self.oldest = (self.oldest + 1) % Self::MAX;
            self.len -= 1;
        }
        self.len < before
    }

    fn lowest(&self) -> Option<u64> {
        (0..self.len).map(|i| self.groups[(self.oldest + i) % Self::MAX].lowest).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    const NOW: Instant = Instant::from_micros(5);

    #[test]
    fn every_second_eliciting_record_is_acknowledged_at_once_and_a_single_one_soon() {
        let mut arrivals = Arrivals::new(NOW);

        arrivals.handle_record(NOW, 0, true, None);
        assert!(!arrivals.is_urgent());
        assert_eq!(arrivals.due_at(), Some(NOW.after(DELAY)));

        arrivals.handle_record(NOW, 1, true, None);
        assert!(arrivals.is_urgent());
    }

    #[test]
    fn a_gap_and_what_fills_it_are_acknowledged_at_once() {
        let mut arrivals = Arrivals::new(NOW);
        arrivals.handle_record(NOW, 0, true, None);
        arrivals.handle_sent();

        arrivals.handle_record(NOW, 2, true, None);
        assert!(arrivals.is_urgent());
        arrivals.handle_sent();

        arrivals.handle_record(NOW, 1, true, None);
        assert!(arrivals.is_urgent());
    }

    #[test]
    fn records_that_elicit_nothing_owe_nothing_and_are_acknowledged_with_the_next() {
        let mut arrivals = Arrivals::new(NOW);

        arrivals.handle_record(NOW, 0, false, None);
        assert!(arrivals.pending(NOW).is_none());

        arrivals.handle_record(NOW.after(DELAY), 1, true, None);
        let told = arrivals.pending(NOW.after(DELAY * 2)).unwrap();
        assert_eq!(told.ranges.iter().collect::<Vec<_>>(), [0..=1]);
        assert_eq!((told.done, told.ranges.delay), (2, DELAY));
    }

    #[test]
    fn what_the_application_holds_is_not_done_even_if_it_came_late() {
        let mut arrivals = Arrivals::new(NOW);
        arrivals.handle_record(NOW, 0, true, Some(10));
        arrivals.handle_record(NOW, 2, true, Some(20));
        arrivals.handle_record(NOW, 1, true, Some(30));
        assert_eq!(arrivals.pending(NOW).unwrap().done, 0);

        arrivals.handle_consumed(NOW, 20);
        assert_eq!(arrivals.pending(NOW).unwrap().done, 1);

        arrivals.handle_consumed(NOW, 30);
        assert_eq!(arrivals.pending(NOW).unwrap().done, 3);
        assert!(arrivals.is_settled());
    }

    proptest! {
        /// However much is joined, nothing that the application holds is ever called done, and in the end everything is.
        #[test]
        fn done_is_never_more_than_the_truth(order in Just((0..40_u64).collect::<Vec<_>>()).prop_shuffle(), takes in prop::collection::vec(0..5_usize, 40)) {
            let (mut arrivals, mut holding, mut through) = (Arrivals::new(NOW), vec![], 0);

            for (counter, take) in order.into_iter().zip(takes) {
                through += 7;
                holding.push((through, counter));
                arrivals.handle_record(NOW, counter, true, Some(through));
                let taken = holding.drain(..take.min(holding.len())).next_back();
                if let Some((through, _)) = taken {
                    arrivals.handle_consumed(NOW, through);
                }
                let lowest = holding.iter().map(|&(_, counter)| counter).min();
                let told = arrivals.pending(NOW).unwrap().done;
                prop_assert!(lowest.is_none_or(|lowest| told <= lowest), "{} is not done, {} told", lowest.unwrap(), told);
            }
            arrivals.handle_consumed(NOW, through);
            prop_assert!(arrivals.is_settled());
            prop_assert_eq!(arrivals.pending(NOW).unwrap().done, 40);
        }
    }
}
