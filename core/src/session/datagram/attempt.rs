//! A handshake on its way over datagrams: each flight is repeated until it is answered, and what does not verify does not end it,
//! as the true answer may still come.
//!
//! It is not the handshake itself, which knows neither loss nor addresses. Invariant: at most one flight is under way, and
//! it is the last one that the handshake has written.

use super::flight::{Cookie, Flight};
use super::route::Route;
use super::rtt::Rtt;
use crate::aead::Aead;
use crate::handshake::{self, Finished, Handshake, Heard, Refused};
use crate::session::Received;
use crate::time::{Duration, Instant};
use crate::wire::datagram::{self, Packet};
use crate::wire::frame::{self, Decoded, Kind};
use crate::wire::reason::Reason;

/// Messages that may fail to verify in one handshake: each costs what a true one costs.
const MOST_FORGERIES: u8 = 8;

pub(super) struct Attempt<A> {
    pub(super) handshake: Handshake<A>,
    pub(super) dialled: bool,
    pub(super) flight: Option<Flight>,
    /// What the next flight answers.
    heard: Option<Kind>,
    cookie: Cookie,
    pub(super) route: Route,
    pub(super) rtt: Rtt,
    /// Messages that did not verify.
    forgeries: u8,
    pub(super) deadline_at: Instant,
}

impl<A: Aead> Attempt<A> {
    pub(super) fn new(handshake: Handshake<A>, dialled: bool, route: Route, deadline_at: Instant) -> Self {
        Self {
            handshake,
            dialled,
            flight: None,
            heard: None,
            cookie: Cookie::default(),
            route,
            rtt: Rtt::default(),
            forgeries: 0,
            deadline_at,
        }
    }

    /// Takes the handshake packet in `datagram`, of a frame of `kind` that bears `frame_id`.
    pub(super) fn handle_packet<'d>(
        &mut self,
        now: Instant,
        frame_id: u64,
        kind: Kind,
        datagram: &mut [u8],
    ) -> Result<Received<'d>, Refused> {
        let stray = Ok(Received::Dropped(Reason::UnexpectedFrame));
        if !self.handshake.awaits(kind, frame_id) {
            let is_own = frame_id == self.handshake.frame_id();
            let repeats = is_own && self.flight.as_mut().is_some_and(|flight| flight.handle_repetition(kind));
            return if repeats { Ok(Received::Absorbed) } else { stray };
        }
        let Some(frame) = Packet::decode(datagram).ok().and_then(|packet| packet.frame_mut(datagram)) else {
            return stray;
        };
        if kind == Kind::Retry {
            let taken = cookie_of(frame).is_some_and(|cookie| self.cookie.take(cookie));
            let Some(flight) = self.flight.as_mut().filter(|_| taken) else { return stray };
            flight.handle_retry();
            return Ok(Received::Absorbed);
        }
        match self.handshake.handle_bytes(frame) {
            Ok(Heard::NeedMore) => stray,
            Ok(Heard::Hint(hint)) => Ok(Received::Hint(hint)),
            Ok(Heard::Absorbed(_)) => {
                self.on_heard(now, kind);
                Ok(Received::Absorbed)
            }
            Ok(Heard::Offer(_, offer)) => {
                self.on_heard(now, kind);
                Ok(Received::Offer(offer))
            }
            // Somebody else's, as the true one may still come.
            Err(refused) if self.handshake.awaits(kind, frame_id) && self.forgeries < MOST_FORGERIES => {
                self.forgeries += 1;
                Ok(Received::Dropped(refused.reason))
            }
            Err(refused) => Err(refused),
        }
    }

    /// A packet had its turn, and the last flight its answer.
    fn on_heard(&mut self, now: Instant, kind: Kind) {
        if let Some(round_trip) = self.flight.as_ref().and_then(|flight| flight.round_trip(now)) {
            self.rtt.handle_sample(round_trip, Duration::ZERO);
        }
        self.flight = None;
        self.heard = Some(kind);
        match kind {
            // It was sent in answer to what only who receives there can know.
            Kind::Xx3 => self.route.handle_proof(),
            // Another attempt begins.
            Kind::Refusal => (self.heard, self.cookie) = (None, Cookie::default()),
            _ => {}
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some(flight) = &mut self.flight {
            flight.handle_timeout(now);
        }
    }

    /// Has the handshake write its next flight, if none is under way, and gives what the handshake ends with it, if it does.
    ///
    /// `buf` is where the flight is written, for a moment; [`poll_packet`](Self::poll_packet) sends it.
    pub(super) fn poll_flight(
        &mut self,
        now: Instant,
        buf: &mut [u8],
    ) -> Result<Option<Result<Finished, Refused>>, Refused> {
        if self.flight.is_some() {
            return Ok(None);
        }
        let Some(handshake::Flight { len, end }) = self.handshake.poll_flight(buf)? else { return Ok(None) };
        self.flight = Some(Flight::new(now, &buf[..len], self.heard));
        Ok(end)
    }

    /// Writes the packet with the flight that is under way to `buf`, if it is owed.
    pub(super) fn poll_packet(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize> {
        let flight = self.flight.as_mut()?;
        // So that nobody can answer with more than what it got.
        let pads = self.dialled && self.heard.is_none() && !self.route.path().is_line();
        let len = flight.poll_packet(now, &self.rtt, &self.cookie, pads, self.route.room(), buf)?;
        self.route.handle_sent(len);
        Some(len)
    }

    /// Whether the flight under way refuses an attempt, and so was said for good.
    pub(super) fn drop_refusal(&mut self) -> bool {
        self.flight.take_if(|flight| flight.is_refusal()).is_some()
    }
}

/// The attempt and the kind of a handshake packet's frame.
pub(super) fn attempt_of(datagram: &[u8]) -> Result<(u64, Kind), Reason> {
    match datagram::peek(datagram, 0)? {
        datagram::Peek::Handshake { frame_id, kind } => Ok((frame_id, kind)),
        datagram::Peek::Record { .. } => Err(Reason::UnexpectedFrame),
    }
}

/// The payload of a retry.
fn cookie_of(frame: &[u8]) -> Option<&[u8]> {
    match frame::decode(frame, frame::MAX_UNAUTHENTICATED) {
        Ok(Decoded::Frame { frame, .. }) => Some(frame.payload),
        _ => None,
    }
}
