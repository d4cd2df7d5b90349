//! What every established session rests on, whichever line carries it: who the peer is, whether it is still there, and for
//! how long the session may go on. It knows no records but by what their headers say.

use super::clock::{self, PeerClock};
use super::pulse::Pulse;
use super::renewal::Renewal;
use super::spread::Spread;
use crate::handshake::{Counterpart, Finished};
use crate::ids::Hints;
use crate::record;
use crate::time::{Duration, Instant};
use crate::wire::reason::Reason;

pub(super) struct Standing {
    pub(super) peer: Counterpart,
    pub(super) hints: Hints,
    /// When session time began.
    established_at: Instant,
    pub(super) clock: PeerClock,
    spread: Spread,
    pub(super) pulse: Pulse,
    pub(super) renewal: Renewal,
}

impl Standing {
    pub(super) fn new(now: Instant, finished: &Finished) -> Self {
        let spread = Spread::of(record::places(&finished.sending));
        Self {
            peer: finished.peer,
            hints: finished.hints,
            established_at: now,
            clock: PeerClock::new(now),
            spread,
            pulse: Pulse::new(now, finished.peer.terms(), spread),
            renewal: Renewal::new(now, spread),
        }
    }

    /// Accept has verified: session time starts here.
    pub(super) fn handle_accept(&mut self, now: Instant) {
        self.established_at = now;
        self.clock = PeerClock::new(now);
        self.pulse = Pulse::new(now, self.peer.terms(), self.spread);
        self.renewal = Renewal::new(now, self.spread);
    }

    /// The initiator's first record has verified. Its silence counts from here.
    pub(super) fn handle_proof(&mut self, now: Instant) {
        self.pulse = Pulse::new(now, self.peer.terms(), self.spread);
    }

    /// What a record that is written at `now` says of the time.
    pub(super) fn stamp(&self, now: Instant) -> u16 {
        clock::stamp(self.established_at, now)
    }

    /// Why the session cannot go on, if the peer is gone, stands still, or may be here no longer.
    pub(super) fn failure(&self, now: Instant) -> Option<Reason> {
        if self.pulse.is_silent(now) {
            Some(Reason::Silent)
        } else if self.pulse.is_stalled(now) {
            Some(Reason::Stalled)
        } else if self.peer.expires_at().is_some_and(|at| at <= now) {
            Some(Reason::DelegationExpired)
        } else {
            None
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.pulse.handle_timeout(now);
        self.renewal.handle_timeout(now);
    }

    /// What the session closes with if it should have made way and the peer keeps it from ending in good order.
    pub(super) fn overdue(&self, now: Instant) -> Option<Reason> {
        self.renewal.is_over(now).then(|| self.renewal.reason())
    }

    pub(super) fn due_at(&self) -> Instant {
        let always = self.pulse.due_at().min(self.renewal.due_at());
        self.peer.expires_at().map_or(always, |at| always.min(at))
    }

    pub(super) fn poll_rtt(&mut self) -> Option<Duration> {
        self.pulse.poll_rtt()
    }
}
