//! An end that is through with the handshake and has not heard from the other since: what it said last is repeated, until
//! the first record of the other end shows that it arrived.
//!
//! The initiator repeats its last flight; the responder owes Accept too, which is a record and so written anew each time.

use super::Path;
use super::flight::{Cookie, Flight};
use super::rtt::Rtt;
use super::up::Up;
use crate::aead::Aead;
use crate::time::Instant;
use crate::wire::frame::Kind;

/// The initiator's wait for Accept.
pub(super) struct AwaitAccept<A, const N: usize> {
    pub(super) up: Up<A, N>,
    pub(super) last: Last,
}

/// The responder's wait for a record, which proves that the initiator takes part.
pub(super) struct AwaitProof<A, const N: usize> {
    pub(super) up: Up<A, N>,
    pub(super) last: Last,
    accept: Accept,
}

/// The end of the handshake.
pub(super) struct Last {
    /// The last flight, if it was this end's.
    pub(super) flight: Option<Flight>,
    /// Names the attempt.
    pub(super) frame_id: u64,
    /// When the waiting is in vain.
    pub(super) deadline_at: Instant,
}

/// Accept, repeated until the initiator is heard.
struct Accept {
    is_owed: bool,
    due_at: Instant,
    timeouts: u32,
}

impl<A: Aead, const N: usize> AwaitAccept<A, N> {
    pub(super) fn new(up: Up<A, N>, last: Last) -> Self {
        Self { up, last }
    }

    /// A handshake packet of this or another attempt came: says whether it calls for the last flight again.
    pub(super) fn handle_packet(&mut self, from: Path, len: usize, frame_id: u64, kind: Kind) -> bool {
        self.up.route().handle_received(from, len);
        frame_id == self.last.frame_id && self.last.handle_repetition(kind)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.last.handle_timeout(now);
    }

    pub(super) fn due_at(&self) -> Option<Instant> {
        self.last.due_at()
    }

    pub(super) fn poll_transmit(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize> {
        self.last.poll_packet(now, &mut self.up, buf)
    }
}

impl<A: Aead, const N: usize> AwaitProof<A, N> {
    pub(super) fn new(now: Instant, up: Up<A, N>, last: Last) -> Self {
        Self { up, last, accept: Accept { is_owed: true, due_at: now, timeouts: 0 } }
    }

    /// A handshake packet of this or another attempt came: says whether it calls for Accept again.
    pub(super) fn handle_packet(&mut self, from: Path, len: usize, frame_id: u64, kind: Kind) -> bool {
        self.up.route().handle_received(from, len);
        let is_own = frame_id == self.last.frame_id && matches!(kind, Kind::Xx3 | Kind::Kk1);
        if is_own {
            self.accept.is_owed = true;
            self.last.handle_repetition(kind);
        }
        is_own
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.last.handle_timeout(now);
        self.accept.handle_timeout(now);
    }

    pub(super) fn due_at(&self) -> Option<Instant> {
        [self.last.due_at(), self.accept.due_at()].into_iter().flatten().min()
    }

    pub(super) fn poll_transmit(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize> {
        if let Some(len) = self.last.poll_packet(now, &mut self.up, buf) {
            return Some(len);
        }
        if !self.accept.is_owed {
            return None;
        }
        self.accept.handle_written(now, self.up.rtt());
        self.up.write_accept(now, buf)
    }
}

impl Last {
    fn handle_repetition(&mut self, kind: Kind) -> bool {
        self.flight.as_mut().is_some_and(|flight| flight.handle_repetition(kind))
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(flight) = &mut self.flight {
            flight.handle_timeout(now);
        }
    }

    fn due_at(&self) -> Option<Instant> {
        self.flight.as_ref().and_then(Flight::due_at)
    }

    /// Writes the flight again, if it is owed.
    fn poll_packet<A: Aead, const N: usize>(
        &mut self,
        now: Instant,
        up: &mut Up<A, N>,
        buf: &mut [u8],
    ) -> Option<usize> {
        let rtt = *up.rtt();
        let room = up.route().room();
        let len = self.flight.as_mut()?.poll_packet(now, &rtt, &Cookie::default(), false, room, buf)?;
        up.route().handle_sent(len);
        Some(len)
    }
}

impl Accept {
    fn handle_timeout(&mut self, now: Instant) {
        if self.due_at <= now && !self.is_owed {
            self.is_owed = true;
            self.timeouts = self.timeouts.saturating_add(1);
        }
    }

    fn handle_written(&mut self, now: Instant, rtt: &Rtt) {
        self.is_owed = false;
        self.due_at = now.after(rtt.handshake_timeout(self.timeouts));
    }

    fn due_at(&self) -> Option<Instant> {
        (!self.is_owed).then_some(self.due_at)
    }
}
