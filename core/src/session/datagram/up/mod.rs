//! The established session over datagrams: one record in, one record out, and what keeps both ends in step though records
//! are lost, come late, or twice.
//!
//! It is not the session's life: that is decided a level above. Messages stay in the outbox until the peer is done with
//! them; what flies is named in [`Sent`], and what is lost is written anew into the next record.
//!
//! Invariant: a record is checked as a whole before anything of it takes effect, and what is not taken is not acknowledged.

mod incoming;
mod outgoing;

use super::Path;
use super::arrivals::Arrivals;
use super::body::SLACK;
use super::loss::{Load, Sent};
use super::parted::Parted;
use super::route::Route;
use super::rtt::Rtt;
use super::window::Window;
use crate::aead::{Aead, TAG_LEN};
use crate::handshake::{Config, Counterpart, Finished};
use crate::ids::Hints;
use crate::outbox::{Outbox, Storage};
use crate::record::{KeyLife, PhasedOpener, Sealer, SessionKeys};
use crate::session::credit::{self, Grant};
use crate::session::message::Mark;
use crate::session::standing::Standing;
use crate::time::{Duration, Instant};
use crate::wire::datagram::{ConnectionId, MAX_LEN, MAX_PREAMBLE_LEN};
use crate::wire::message;
use crate::wire::reason::Reason;
use crate::wire::record as layout;

pub(super) use incoming::{Content, Opened, Unopened};

/// Bytes of a record around its body, without acknowledgement, credit and heartbeat, and a long connection id.
const BARE_OVERHEAD: usize = MAX_PREAMBLE_LEN + layout::MIN_HEADER_LEN + TAG_LEN;

/// Probe timeouts for which the key before the current one is kept: RFC 9001, section 6.5.
const KEPT_TIMEOUTS: u32 = 3;

pub(super) struct Up<A, const N: usize> {
    standing: Standing,
    own_cid: ConnectionId,
    sealer: Sealer<A>,
    opener: PhasedOpener<A>,
    arrivals: Arrivals,
    /// The newest record whose acknowledgement was taken: what it says is done, an older one may know less of.
    newest_ack: Option<u64>,
    sent: Sent<N>,
    rtt: Rtt,
    window: Window,
    /// What the peer takes beside all that it had taken when it said so.
    credit: u64,
    grant: Grant,
    parted: Parted,
    route: Route,
    /// Only the pace keeps a record with a load from being written.
    waits_for_pace: bool,
}

impl<A: Aead, const N: usize> Up<A, N> {
    pub(super) fn new(
        now: Instant,
        config: &Config,
        finished: &Finished,
        own_cid: ConnectionId,
        route: Route,
        rtt: Rtt,
    ) -> Self {
        let peer = finished.peer;
        Self {
            standing: Standing::new(now, finished),
            own_cid,
            sealer: Sealer::new(
                now,
                peer.cipher(),
                &finished.sending,
                KeyLife::of(peer.terms().security.rekey_after()),
            ),
            opener: PhasedOpener::new(peer.cipher(), &finished.receiving),
            arrivals: Arrivals::new(now),
            newest_ack: None,
            sent: Sent::new(now),
            rtt,
            window: Window::new(now),
            // Before it has said anything, the peer takes one record.
            credit: peer.hello().max_record.into(),
            grant: Grant::new(config.window, config.max_record.max(layout::MIN_MAX_LEN)),
            parted: Parted::default(),
            route,
            waits_for_pace: false,
        }
    }

    /// Accept has verified: session time starts here.
    pub(super) fn handle_accept(&mut self, now: Instant, opened: &Opened<'_>) {
        self.standing.handle_accept(now);
        self.arrivals.handle_record(now, opened.counter, true, None);
        self.standing.clock.handle_stamp(now, opened.header.clock);
    }

    /// The initiator has proven that it takes part, with a record of its own.
    pub(super) fn handle_proof(&mut self, now: Instant, from: Path) {
        if from == self.route.path() {
            self.route.handle_proof();
        }
        self.standing.handle_proof(now);
    }

    pub(super) fn peer(&self) -> &Counterpart {
        &self.standing.peer
    }

    pub(super) fn hints(&self) -> Hints {
        self.standing.hints
    }

    /// The keys, which are the first ones until a record was received.
    pub(super) fn keys(&self, frame_id: u64) -> SessionKeys {
        SessionKeys::of_datagrams(frame_id, self.standing.peer.dialled(), &self.sealer, &self.opener)
    }

    /// Has the outbox send to this peer.
    pub(super) fn start<S: Storage>(&self, outbox: &mut Outbox<S>) {
        outbox.handle_datagram_session_start(self.max_message(), self.piece_len());
        outbox.handle_methods(self.standing.peer.hello().methods());
    }

    pub(super) fn path(&self) -> Path {
        self.route.path()
    }

    pub(super) fn route(&mut self) -> &mut Route {
        &mut self.route
    }

    pub(super) fn rtt(&self) -> &Rtt {
        &self.rtt
    }

    /// The longest payload that the peer takes.
    fn max_message(&self) -> u32 {
        self.standing.peer.hello().max_message
    }

    /// The longest payload that one record surely takes, if it carries nothing else.
    fn piece_len(&self) -> u16 {
        // A hello allows no less than 512.
        self.max_datagram().saturating_sub((BARE_OVERHEAD + SLACK + message::MAX_OVERHEAD) as u16)
    }

    fn max_datagram(&self) -> u16 {
        self.standing.peer.terms().record.min(MAX_LEN as u16)
    }

    pub(super) fn handle_consumed(&mut self, now: Instant, mark: Mark) {
        self.arrivals.handle_consumed(now, mark.bytes);
        self.handle_released(mark.bytes);
    }

    pub(super) fn handle_released(&mut self, total: u64) {
        if self.grant.handle_consumed(total) && self.grant.is_urgent() {
            // A ping, as what is not answered is told again.
            self.standing.pulse.handle_ping_request();
        }
    }

    /// The longest body that the peer takes: all that flies may come before it.
    fn credit_room(&self) -> usize {
        credit::room(self.credit, self.sent.flying_cost())
    }

    pub(super) fn handle_ping_request(&mut self) {
        self.standing.pulse.handle_ping_request();
    }

    /// Does what is due, and says with which reason the session ends if it cannot go on.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Reason> {
        if let Some(reason) = self.standing.failure(now) {
            return Some(reason);
        }
        self.arrivals.handle_timeout(now);
        self.standing.handle_timeout(now);
        self.opener.handle_timeout(now);
        self.sent.handle_timeout(now, &self.rtt, &mut self.window);
        self.standing.overdue(now)
    }

    /// With which reason the session ends: its keys are worn, or it has made way and each end is done with all of the other's.
    pub(super) fn reason_to_end<S: Storage>(&self, outbox: &Outbox<S>) -> Option<Reason> {
        if self.sealer.is_worn() {
            return Some(Reason::Worn);
        }
        let is_drained = self.standing.renewal.is_agreed()
            && outbox.in_flight() == 0
            && self.arrivals.is_settled()
            && !self.sent.carries(|load| *load == Load::Drain);
        is_drained.then(|| self.standing.renewal.reason())
    }

    /// The session makes way for another one.
    pub(super) fn retire(&mut self, now: Instant, reason: Reason) {
        self.standing.renewal.retire(now, reason);
    }

    pub(super) fn deadline_at(&self) -> Instant {
        let paced_at = self.waits_for_pace.then(|| self.window.paced_at(self.rtt.smoothed()));
        let sometimes = [self.arrivals.due_at(), self.opener.due_at(), self.sent.due_at(&self.rtt), paced_at];
        sometimes.into_iter().flatten().fold(self.standing.due_at(), Instant::min)
    }

    pub(super) fn poll_rtt(&mut self) -> Option<Duration> {
        self.standing.poll_rtt()
    }
}

#[cfg(test)]
impl<A: Aead, const N: usize> Up<A, N> {
    /// Has the next acknowledgement name a record that never came.
    pub(super) fn pretend_to_have_received(&mut self, now: Instant, counter: u64) {
        self.arrivals.handle_record(now, counter, true, None);
    }
}
