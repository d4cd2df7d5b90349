//! The receiving end of a lane: which numbers came, and which of them may be acknowledged.
//!
//! ```text
//!   (new) ── take ─▶ taken ── commit ─▶ done ── snapshot, durable, handle_saved ─▶ saved: acknowledged
//!     ▲                │
//!     └─── release ────┘
//! ```
//! What the application will never get is refused: it stays taken until the next session, so that it cannot be taken after its
//! sender was told, and is released then. The sender settles it.
//!
//! Invariant: what [`state`](ReceiveLane::state) tells is durable, or was settled by the sender itself; a number that is
//! taken, done or saved is not taken again.

use super::window::{Bits, Window};
use crate::ids::Priority;
use crate::wire::delivery::{Arrived, Lane, LaneState};
use crate::wire::reason::Reason;

/// What a receiver remembers of a lane: about half a kilobyte.
#[derive(Clone, Debug)]
pub struct ReceiveLane {
    class: Priority,
    epoch: u64,
    /// Of numbers below, this filter knows nothing.
    since: u64,
    /// What the application has committed.
    done: Window,
    /// What the application has and has not committed.
    taken: Bits,
    /// What of `done` is durable.
    saved: Window,
}

impl ReceiveLane {
    /// A filter for a lane that this node knows nothing of, or only an earlier life of. It is to be saved before it is
    /// told to the sender.
    ///
    /// Whatever may have been sent before is unknown to it.
    pub fn open(lane: &Lane) -> Self {
        let arrived = Arrived { since: lane.fresh, base: lane.fresh, bits: [0; Arrived::WORDS] };
        Self::restore(lane.class, lane.epoch, &arrived)
    }

    /// A filter as it was saved.
    pub fn restore(class: Priority, epoch: u64, arrived: &Arrived) -> Self {
        let done = Window::of(arrived);
        Self { class, epoch, since: arrived.since, saved: done.clone(), done, taken: Bits::default() }
    }

    /// What names this life of the lane.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The sender speaks of this lane, in this life: it has settled everything below the base that it names.
    ///
    /// `is_first`: it is the first word of this session, before any message. Later ones may be late.
    ///
    /// # Errors
    /// [`Reason::LaneUnknown`] if the first word says of a number that came that it was never sent: the sender has lost its
    /// memory, so its next numbers would be taken for old ones. Nothing has changed.
    pub fn handle_lane(&mut self, lane: &Lane, is_first: bool) -> Result<(), Reason> {
        if is_first && self.has_come_from(lane.fresh) {
            return Err(Reason::LaneUnknown);
        }
        let before = self.done.base();
        self.done.raise_to(lane.base);
        // A crash may undo this, and the next session repeats it: the sender's word is as good as the disk's.
        self.saved.raise_to(lane.base);
        self.taken.clear_span(before, self.done.base());
        Ok(())
    }

    /// Whether a message of this number may be taken.
    ///
    /// # Errors
    /// [`Reason::Duplicate`] if it came before. [`Reason::Violation`] if it lies beyond the window: a sender keeps to that.
    pub fn check(&self, number: u64) -> Result<(), Reason> {
        if self.done.contains(number) {
            return Err(Reason::Duplicate);
        }
        if number >= self.done.end() {
            return Err(Reason::Violation);
        }
        if self.taken.has(number) { Err(Reason::Duplicate) } else { Ok(()) }
    }

    /// A message of this number goes to the application.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn take(&mut self, number: u64) -> Result<(), Reason> {
        self.check(number)?;
        self.taken.set(number);
        Ok(())
    }

    /// Whether the application has the message, or has refused it in this session.
    pub fn has_taken(&self, number: u64) -> bool {
        self.is_within(number) && self.taken.has(number)
    }

    /// The application let go of a message that it had not committed: it may come again.
    pub fn release(&mut self, number: u64) {
        if self.is_within(number) {
            self.taken.clear(number);
        }
    }

    /// The application has committed a message; says whether that is to be saved.
    pub fn commit(&mut self, number: u64) -> bool {
        if !self.is_within(number) || !self.taken.has(number) {
            return false;
        }
        let before = self.done.base();
        self.done.insert(number);
        self.taken.clear(number);
        self.taken.clear_span(before, self.done.base());
        true
    }

    /// Whether something is done and not saved.
    pub fn is_unsaved(&self) -> bool {
        self.done != self.saved
    }

    /// What is to be saved, and then to be named in [`handle_saved`](Self::handle_saved).
    pub fn snapshot(&self) -> Arrived {
        self.done.told(self.since)
    }

    /// A snapshot is durable. Snapshots are saved in the order in which they were made.
    pub fn handle_saved(&mut self, snapshot: &Arrived) {
        let told_by_sender = self.saved.base();
        self.saved = Window::of(snapshot);
        self.saved.raise_to(told_by_sender);
    }

    /// What the sender may hear.
    pub fn state(&self) -> LaneState {
        LaneState { class: self.class, epoch: self.epoch, arrived: Some(self.saved.told(self.since)) }
    }

    /// Whether this number or one above it came, be it that the application has not committed it.
    fn has_come_from(&self, number: u64) -> bool {
        let from = number.max(self.done.base());
        self.done.base() > number
            || (from..self.done.end()).any(|number| self.done.contains(number) || self.taken.has(number))
    }

    /// Whether the number has a place in the window: neither old nor beyond it.
    const fn is_within(&self, number: u64) -> bool {
        self.done.base() <= number && number < self.done.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_that_has_forgotten_what_the_application_still_holds_is_refused() {
        let forgetful = Lane { class: Priority::High, epoch: 1, base: 1, fresh: 1 };
        let mut lane = ReceiveLane::open(&forgetful);
        lane.take(1).unwrap();

        assert_eq!(lane.handle_lane(&forgetful, true), Err(Reason::LaneUnknown));

        assert_eq!(lane.handle_lane(&forgetful, false), Ok(()), "a word that comes late");
        assert_eq!(lane.handle_lane(&Lane { fresh: 2, ..forgetful }, true), Ok(()));
        lane.release(1);
        assert_eq!(lane.handle_lane(&forgetful, true), Ok(()));
    }
}
