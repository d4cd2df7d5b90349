//! Running a scene under the virtual clock: everybody does what there is to do, then time goes to the next moment.

use hyphal_core::time::{Duration, Instant};

/// Machines in a virtual network, whose clock is everybody's clock.
pub trait Drive {
    /// The virtual clock.
    fn now(&self) -> Instant;

    /// When something happens next without anybody's doing.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Polls every machine once; says whether any had something to do at this moment.
    fn step(&mut self) -> bool;

    /// Moves the clock to the next arrival in the network, at most to `until`, and gives it to whom it is for.
    fn advance(&mut self, until: Instant);

    /// Polls the machines until none has anything to do at this moment.
    ///
    /// # Panics
    /// If they find no rest.
    fn settle(&mut self) {
        let rounds = (0..MOST_ROUNDS).find(|_| !self.step());
        assert!(rounds.is_some(), "the machines find no rest");
    }

    /// Runs until `is_there` holds, at most for `bound` of virtual time; says whether it came to hold.
    fn drive_until(&mut self, bound: Duration, mut is_there: impl FnMut(&mut Self) -> bool) -> bool
    where
        Self: Sized,
    {
        let until = self.now().after(bound);
        loop {
            self.settle();
            if is_there(self) {
                return true;
            }
            if self.now() >= until {
                return false;
            }
            let next = self.poll_timeout().map_or(until, |at| at.min(until));
            self.advance(next);
        }
    }

    /// Runs for `span` of virtual time.
    fn drive_for(&mut self, span: Duration)
    where
        Self: Sized,
    {
        self.drive_until(span, |_| false);
    }
}

/// Beyond what any scene needs at one moment.
const MOST_ROUNDS: u32 = 10_000;
