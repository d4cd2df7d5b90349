//! How a session makes way for another: for a fresh handshake when it is old, or for the one that crossed it. Decides when;
//! writes no bytes and closes nothing.
//!
//! An end that retires says Drain and takes no more messages; the other does the same at once. When each has heard the other's
//! Drain and nothing is under way, the session closes and nothing is in doubt. Whoever holds on to messages for too long
//! ends the waiting: then what is under way is unconfirmed, as after any close.

use super::spread::Spread;
use crate::time::{Duration, Instant};
use crate::wire::reason::Reason;

/// The age at which a session makes way for a fresh handshake at the latest; each does so up to a twentieth earlier.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// How long what is under way may take to be acknowledged then.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
pub(super) struct Renewal {
    stage: Stage,
    /// When the next stage is due by age or for lack of patience.
    due_at: Instant,
    /// The peer sends no more messages.
    peer_drains: bool,
    /// What the session closes with in the end.
    reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Young,
    /// Drain is still to be written.
    Owing,
    Draining,
}

impl Renewal {
    pub(super) fn new(established_at: Instant, spread: Spread) -> Self {
        let due_at = established_at.after(MAX_AGE - spread.early(MAX_AGE));
        Self { stage: Stage::Young, due_at, peer_drains: false, reason: Reason::Worn }
    }

    /// This end has decided that the session makes way, whatever its age.
    pub(super) fn retire(&mut self, now: Instant, reason: Reason) {
        self.reason = reason;
        if self.stage == Stage::Young {
            self.begin(now);
        }
    }

    /// The peer's Drain.
    pub(super) fn handle_drain(&mut self, now: Instant) {
        self.peer_drains = true;
        if self.stage == Stage::Young {
            self.begin(now);
        }
    }

    /// This end's Drain was written.
    pub(super) fn handle_sent(&mut self) {
        self.stage = Stage::Draining;
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.stage == Stage::Young && self.due_at <= now {
            self.begin(now);
        }
    }

    pub(super) fn due_at(&self) -> Instant {
        self.due_at
    }

    /// Whether this end still sends messages.
    pub(super) fn is_young(&self) -> bool {
        self.stage == Stage::Young
    }

    pub(super) fn owes_drain(&self) -> bool {
        self.stage == Stage::Owing
    }

    /// What the session closes with when it has made way.
    pub(super) fn reason(&self) -> Reason {
        self.reason
    }

    /// Whether the peer has promised to send no more messages.
    pub(super) fn peer_drains(&self) -> bool {
        self.peer_drains
    }

    /// Whether neither end sends messages any more.
    pub(super) fn is_agreed(&self) -> bool {
        self.stage == Stage::Draining && self.peer_drains
    }

    /// Whether the peer took too long.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.stage != Stage::Young && self.due_at <= now
    }

    fn begin(&mut self, now: Instant) {
        self.stage = Stage::Owing;
        self.due_at = now.after(PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_micros(5);

    #[test]
    fn a_session_is_young_for_a_day() {
        let mut renewal = Renewal::new(NOW, Spread::LATEST);

        renewal.handle_timeout(NOW.after(MAX_AGE - Duration::from_micros(1)));
        assert!(renewal.is_young());

        renewal.handle_timeout(NOW.after(MAX_AGE));
        assert!(renewal.owes_drain() && !renewal.is_agreed());
    }

    #[test]
    fn both_drains_make_it_agreed_in_either_order() {
        let mut first = Renewal::new(NOW, Spread::LATEST);
        first.handle_timeout(NOW.after(MAX_AGE));
        first.handle_sent();
        first.handle_drain(NOW.after(MAX_AGE));
        let mut second = Renewal::new(NOW, Spread::LATEST);
        second.handle_drain(NOW);
        assert!(second.owes_drain());
        second.handle_sent();

        assert!(first.is_agreed() && second.is_agreed());
    }

    #[test]
    fn a_retired_session_drains_at_any_age_and_keeps_its_reason() {
        let mut renewal = Renewal::new(NOW, Spread::LATEST);

        renewal.retire(NOW, Reason::Replaced);
        renewal.handle_sent();
        renewal.handle_drain(NOW);

        assert!(renewal.is_agreed());
        assert_eq!(renewal.reason(), Reason::Replaced);
    }

    #[test]
    fn who_retires_a_session_that_drains_already_changes_its_reason_only() {
        let mut renewal = Renewal::new(NOW, Spread::LATEST);
        renewal.handle_drain(NOW);
        renewal.handle_sent();

        renewal.retire(NOW.after(PATIENCE), Reason::Replaced);

        assert!(renewal.is_agreed() && renewal.is_over(NOW.after(PATIENCE)));
        assert_eq!(renewal.reason(), Reason::Replaced);
    }

    #[test]
    fn patience_begins_with_draining_and_is_not_renewed() {
        let mut renewal = Renewal::new(NOW, Spread::LATEST);

        renewal.handle_drain(NOW);
        renewal.handle_sent();
        renewal.handle_drain(NOW.after(PATIENCE / 2));

        assert!(!renewal.is_over(NOW.after(PATIENCE / 2)));
        assert!(renewal.is_over(NOW.after(PATIENCE)));
    }
}
