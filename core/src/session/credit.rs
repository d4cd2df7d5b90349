//! How much each end may send before the other's application is done with what came: the credit of both directions.
//!
//! Credit counts the bodies of message records since the session began, in total, so that an update that is late or comes
//! twice does no harm. A short body counts as [`LEAST`], as what a receiver keeps of each record is never less. Datagram peers
//! are told what is left of it, beside what has arrived, as both ends may think otherwise of what was lost.

/// What the body of the shortest record with messages counts as.
const LEAST: usize = 64;

/// What a record with messages counts as.
#[inline]
pub(super) fn cost(body_len: usize) -> u64 {
    if body_len == 0 { 0 } else { body_len.max(LEAST) as u64 }
}

/// The longest body that `credit` takes of which so much is `spent`.
#[inline]
pub(super) fn room(credit: u64, spent: u64) -> usize {
    let room = usize::try_from(credit.saturating_sub(spent)).unwrap_or(usize::MAX);
    if room < LEAST { 0 } else { room }
}

/// What the peer of a stream lets this end send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    limit: u64,
    spent: u64,
}

impl Allowance {
    /// Before it has said anything, the peer takes one record.
    pub(super) fn new(peers_max_record: u16) -> Self {
        Self { limit: u64::from(peers_max_record), spent: 0 }
    }

    /// The peer takes so much in total; less than before changes nothing.
    #[inline]
    pub(super) fn handle_credit(&mut self, total: u64) {
        self.limit = self.limit.max(total);
    }

    /// The longest body that may be sent.
    #[inline]
    pub(super) fn room(&self) -> usize {
        room(self.limit, self.spent)
    }

    /// A record with a body of so many bytes was written.
    #[inline]
    pub(super) fn handle_sent(&mut self, body_len: usize) {
        self.spent = self.spent.saturating_add(cost(body_len));
    }
}

/// What this end lets the peer send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    /// The most that is held for the application.
    window: u64,
    max_record: u64,
    /// The total that the peer knows of.
    told: u64,
    received: u64,
    consumed: u64,
}

impl Grant {
    /// Holds at most `window`, and one record in any case.
    pub(super) fn new(window: u32, max_record: u16) -> Self {
        let max_record = u64::from(max_record);
        Self {
            window: u64::from(window).max(max_record),
            max_record,
            told: max_record,
            received: 0,
            consumed: 0,
        }
    }

    /// Whether the peer may send such a record.
    #[inline]
    pub(super) fn allows(&self, body_len: usize) -> bool {
        self.received.saturating_add(cost(body_len)) <= self.told
    }

    /// A record came; gives what came in total.
    #[inline]
    pub(super) fn handle_received(&mut self, body_len: usize) -> u64 {
        self.received = self.received.saturating_add(cost(body_len));
        self.received
    }

    /// The application is done with so much in total; says whether that is more than before.
    #[inline]
    pub(super) fn handle_consumed(&mut self, total: u64) -> bool {
        let before = self.consumed;
        self.consumed = before.max(total.min(self.received));
        self.consumed > before
    }

    /// What the next record should say, if it is worth its bytes.
    #[inline]
    pub(super) fn pending(&self) -> Option<u64> {
        let raise = self.raise();
        // A peer that has not enough left for any record may be waiting for the last byte.
        let is_short = self.told - self.received < self.max_record;
        (raise >= self.window / 4 || raise > 0 && is_short).then_some(self.told + raise)
    }

    /// What the peer may send in total, worth its bytes or not: where an update can be lost it is said again and again.
    pub(super) fn total(&self) -> u64 {
        self.told + self.raise()
    }

    /// How much of that has not come.
    pub(super) fn left(&self) -> u64 {
        self.total() - self.received
    }

    /// What the peer was told last.
    pub(super) fn told(&self) -> u64 {
        self.told
    }

    /// Whether the peer must hear of it now, in a record of its own if need be.
    #[inline]
    pub(super) fn is_urgent(&self) -> bool {
        self.raise() >= self.window / 2
    }

    /// The peer was told `total`.
    #[inline]
    pub(super) fn handle_sent(&mut self, total: u64) {
        self.told = self.told.max(total);
    }

    #[inline]
    fn raise(&self) -> u64 {
        self.consumed.saturating_add(self.window).saturating_sub(self.told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_starts_with_one_record_and_hears_of_the_window_at_once() {
        let mut grant = Grant::new(10_000, 1000);

        assert!(grant.allows(1000) && !grant.allows(1001));
        assert_eq!((grant.pending(), grant.is_urgent()), (Some(10_000), true));
        grant.handle_sent(10_000);

        assert!(grant.allows(10_000) && !grant.allows(10_001));
        assert_eq!((grant.pending(), grant.is_urgent()), (None, false));
    }

    #[test]
    fn an_update_waits_for_company_until_half_of_the_window_is_free_again() {
        let mut grant = told(10_000, 1000);
        grant.handle_received(6000);

        let steps = [2499, 2500, 4999, 5000].map(|consumed| {
            grant.handle_consumed(consumed);
            (grant.pending(), grant.is_urgent())
        });

        assert_eq!(
            steps,
            [(None, false), (Some(12_500), false), (Some(14_999), false), (Some(15_000), true)]
        );
    }

    #[test]
    fn a_peer_that_has_less_than_a_record_left_hears_of_every_byte() {
        let mut grant = told(10_000, 1000);
        grant.handle_received(9001);

        grant.handle_consumed(1);

        assert_eq!(grant.pending(), Some(10_001));
    }

    #[test]
    fn no_more_than_came_can_be_consumed() {
        let mut grant = told(10_000, 1000);
        grant.handle_received(100);

        grant.handle_consumed(u64::MAX);
        grant.handle_consumed(5);

        assert_eq!(grant.raise(), 100);
    }

    #[test]
    fn a_window_smaller_than_a_record_counts_as_one() {
        let mut grant = Grant::new(0, 1000);

        assert_eq!(grant.pending(), None);
        assert_eq!(grant.handle_received(1000), 1000);
        assert!(!grant.allows(1) && grant.allows(0));
        grant.handle_consumed(1000);
        assert_eq!((grant.pending(), grant.is_urgent()), (Some(2000), true));
    }

    #[test]
    fn short_records_count_as_what_they_cost_the_receiver() {
        let (mut allowance, mut grant) = (Allowance::new(1000), Grant::new(1000, 1000));
        let mut sent = 0;

        while allowance.room() > 0 {
            assert!(grant.allows(1));
            grant.handle_received(1);
            allowance.handle_sent(1);
            sent += 1;
        }

        assert_eq!(sent, 1000 / LEAST);
        assert!(!grant.allows(1));
    }

    #[test]
    fn credit_that_goes_backwards_changes_nothing() {
        let mut allowance = Allowance::new(1000);

        allowance.handle_credit(5000);
        allowance.handle_credit(10);
        allowance.handle_sent(4000);

        assert_eq!(allowance.room(), 1000);
    }

    fn told(window: u32, max_record: u16) -> Grant {
        let mut grant = Grant::new(window, max_record);
        grant.handle_sent(window.into());
        grant
    }
}
