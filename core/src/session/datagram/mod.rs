//! One link to one peer over datagrams, which are lost, come late, come twice, and come from anybody.
//!
//! ```text
//!                     ┌─▶ AwaitAccept ── Accept verified ─────────┐        the initiator
//!   connect()         │   repeats its last flight                 ▼
//!   accept()          │                                           Up
//!   Handshake ────────┤                                           ▲
//!   repeats a flight  └─▶ AwaitProof ─── first record verified ───┘        the responder
//!       │ refused         repeats Accept    │ Reject, Close       │ close(), broken rule, silence
//!       ▼                                   ▼                     ▼
//!   Farewell ──────────────── last words written ─────────────────────────▶ Closed
//! ```
//!
//! It is the stream session's sibling: the same handshake, heartbeats, clock and renewal; other records, because nothing
//! here comes in order. What does not verify is dropped and counted, and never ends a session.
//!
//! Invariant: as of the stream session; and no address that has not answered gets more bytes than it sent, or three times
//! as many if a proven peer seems to have moved there.

mod arrivals;
mod attempt;
mod body;
mod farewell;
mod flight;
mod loss;
mod parted;
mod replay;
mod route;
mod rtt;
mod unheard;
mod up;
mod window;

#[cfg(test)]
mod tests;

use rand_core::CryptoRng;

use super::outcome::admission;
use super::questions::questions;
use super::{Closed, Event, Mark, Received};
use crate::aead::Aead;
use crate::handshake::{Config, Counterpart, Credentials, Expect, Finished, Handshake, LinkKind, Refused};
use crate::ids::{Acquaintance, Hints, NodeId};
use crate::outbox::{Outbox, Storage};
use crate::record::SessionKeys;
use crate::time::{Instant, Wall};
use crate::wire::datagram::{self, ConnectionId, MAX_LEN};
use crate::wire::reason::Reason;

use attempt::{Attempt, attempt_of};
use farewell::Farewell;
use flight::Flight;
use route::Route;
use unheard::{AwaitAccept, AwaitProof, Last};
use up::{Content, Unopened, Up};

pub use route::Path;

/// One link to one peer, over datagrams; `N` records with messages can be under way, at most and at least 5.
///
/// Driven like the stream [`Session`](super::Session), with the same rules for outboxes. Differences: datagrams come whole
/// into [`handle_datagram`](Self::handle_datagram), each write of [`poll_transmit`](Self::poll_transmit) is one datagram to
/// [`path`](Self::path), and a message stays in the outbox until the peer is done with it. Messages of one priority can
/// arrive in another order than they were sent.
pub struct DatagramSession<A, const N: usize> {
    config: Config,
    own_cid: ConnectionId,
    /// Where the last datagram was meant to go.
    path: Path,
    state: State<A, N>,
    /// The peer of a session that is up, until the caller has heard of it, even if the session ends before.
    came_up: Option<NodeId>,
    closed: Option<Closed>,
    logs_keys: bool,
    keys: Option<SessionKeys>,
}

enum State<A, const N: usize> {
    Handshake(Attempt<A>),
    AwaitAccept(AwaitAccept<A, N>),
    AwaitProof(AwaitProof<A, N>),
    Up { up: Up<A, N> },
    Farewell(Farewell),
    Closed,
}

impl<A: Aead, const N: usize> DatagramSession<A, N> {
    /// Opens a session to `path`. `expect` says who may answer, and by which handshake; `own_cid` is what the records to this
    /// end are addressed with, for whoever hands out the datagrams of a socket.
    ///
    /// Draws as [`Session::connect`](super::Session::connect) does.
    #[expect(clippy::too_many_arguments, reason = "a stream session's, and the two facts of a datagram link")]
    pub fn connect<'c>(
        now: Instant,
        wall: Wall,
        credentials: impl Into<Credentials<'c>>,
        config: Config,
        path: Path,
        own_cid: ConnectionId,
        expect: Expect,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let link = LinkKind::Datagram(own_cid);
        let handshake = Handshake::initiator(now, credentials.into(), config, wall, expect, link, rng);
        Self::new(now, config, own_cid, true, Route::dialled(path), handshake)
    }

    /// Opens a session for somebody who has sent a first packet from `path`, where a [gate](crate::gate) has admitted it or
    /// there is no need of one; the packet itself goes to [`handle_datagram`](Self::handle_datagram) next.
    pub fn accept<'c>(
        now: Instant,
        wall: Wall,
        credentials: impl Into<Credentials<'c>>,
        config: Config,
        path: Path,
        own_cid: ConnectionId,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let link = LinkKind::Datagram(own_cid);
        let handshake = Handshake::responder(now, credentials.into(), config, wall, link, rng);
        Self::new(now, config, own_cid, false, Route::accepted(path), handshake)
    }

    fn new(
        now: Instant,
        config: Config,
        own_cid: ConnectionId,
        dialled: bool,
        route: Route,
        handshake: Handshake<A>,
    ) -> Self {
        let deadline_at = now.after(config.handshake_timeout);
        let path = route.path();
        Self {
            config,
            own_cid,
            path,
            state: State::Handshake(Attempt::new(handshake, dialled, route, deadline_at)),
            came_up: None,
            closed: None,
            logs_keys: false,
            keys: None,
        }
    }

    /// As [`Session::log_keys`](super::Session::log_keys).
    pub const fn log_keys(&mut self) {
        self.logs_keys = true;
    }

    /// As [`Session::poll_keys`](super::Session::poll_keys).
    pub fn poll_keys(&mut self) -> Option<SessionKeys> {
        self.keys.take()
    }

    /// Takes one datagram, whole, that came from `from`.
    ///
    /// Records are opened in place, so the bytes are changed. What the received messages borrow is `datagram`. After
    /// [`Received::Hint`] the session waits for [`handle_hint`](Self::handle_hint) and then for the same datagram again;
    /// [`Received::NeedMore`] is never given. What is dropped ends the session only if [`is_closed`](Self::is_closed), or a
    /// farewell, follows.
    pub fn handle_datagram<'d, S: Storage>(
        &mut self,
        now: Instant,
        outbox: &mut Outbox<S>,
        from: Path,
        datagram: &'d mut [u8],
    ) -> Received<'d> {
        match datagram::is_handshake(datagram) {
            true => self.handle_packet(now, outbox, from, datagram),
            false => self.handle_record(now, outbox, from, datagram),
        }
    }

    /// Whom the hint in question was given to, if anybody: then comes the same datagram again.
    pub fn handle_hint(&mut self, owner: Option<Acquaintance>) {
        if let State::Handshake(attempt) = &mut self.state {
            attempt.handshake.handle_hint(owner);
        }
    }

    /// Answers the offer, as in [`Session::handle_verdict`](super::Session::handle_verdict).
    pub fn handle_verdict<S: Storage>(
        &mut self,
        now: Instant,
        outbox: &mut Outbox<S>,
        verdict: Result<(), Reason>,
    ) {
        let State::Handshake(attempt) = &mut self.state else { return };
        match attempt.handshake.handle_verdict(verdict) {
            Ok(None) => {}
            Ok(Some(finished)) => self.on_finished(now, &finished),
            Err(refused) => {
                let _ = self.on_refused(now, outbox, refused);
            }
        }
    }

    /// Does what is due at `now`; a deadline that [`poll_timeout`](Self::poll_timeout) gives afterwards lies after `now`,
    /// unless something waits to be written.
    pub fn handle_timeout<S: Storage>(&mut self, now: Instant, outbox: &mut Outbox<S>) {
        if self.attempt_deadline().is_some_and(|at| at <= now) {
            self.end(outbox, Closed::here(Reason::HandshakeTimeout));
        }
        match &mut self.state {
            State::Handshake(attempt) => attempt.handle_timeout(now),
            State::AwaitAccept(waiting) => waiting.handle_timeout(now),
            State::AwaitProof(waiting) => waiting.handle_timeout(now),
            State::Up { up } => {
                if let Some(reason) = up.handle_timeout(now) {
                    self.close(now, outbox, reason);
                }
            }
            State::Farewell(farewell) if farewell.deadline_at() <= now => {
                let why = farewell.why();
                self.end(outbox, why);
            }
            State::Farewell(_) | State::Closed => {}
        }
        outbox.handle_timeout(now);
    }

    /// Writes the next datagram to `buf` and says how long it is; `None` when there is nothing to send. It goes to
    /// [`path`](Self::path).
    ///
    /// Needs [`MAX_DATAGRAM`] bytes.
    pub fn poll_transmit<S: Storage>(
        &mut self,
        now: Instant,
        outbox: &mut Outbox<S>,
        buf: &mut [u8],
    ) -> Option<usize> {
        let buf = buf.get_mut(..MAX_DATAGRAM)?;
        match &mut self.state {
            State::Handshake(_) => self.poll_handshake(now, outbox, buf),
            State::AwaitAccept(waiting) => {
                self.path = waiting.up.path();
                waiting.poll_transmit(now, buf)
            }
            State::AwaitProof(waiting) => {
                self.path = waiting.up.path();
                waiting.poll_transmit(now, buf)
            }
            State::Up { up } => {
                if let Some(reason) = up.reason_to_end(outbox) {
                    self.close(now, outbox, reason);
                    return self.poll_transmit(now, outbox, buf);
                }
                self.path = up.path();
                up.poll_record(now, outbox, buf)
            }
            State::Farewell(farewell) => {
                let len = farewell.poll_transmit(buf)?;
                self.path = farewell.path();
                if farewell.is_final() {
                    let why = farewell.why();
                    self.end(outbox, why);
                }
                Some(len)
            }
            State::Closed => None,
        }
    }

    /// Where the datagram that [`poll_transmit`](Self::poll_transmit) wrote last goes.
    pub fn path(&self) -> Path {
        self.path
    }

    /// When [`handle_timeout`](Self::handle_timeout) or [`poll_transmit`](Self::poll_transmit) has something to do next, if nothing else happens.
    pub fn poll_timeout<S: Storage>(&self, outbox: &Outbox<S>) -> Option<Instant> {
        let own = match &self.state {
            State::Handshake(attempt) => attempt.flight.as_ref().and_then(Flight::due_at),
            State::AwaitAccept(waiting) => waiting.due_at(),
            State::AwaitProof(waiting) => waiting.due_at(),
            State::Up { up } => Some(up.deadline_at()),
            State::Farewell(farewell) => Some(farewell.deadline_at()),
            State::Closed => return None,
        };
        [own, self.attempt_deadline(), outbox.poll_timeout()].into_iter().flatten().min()
    }

    questions!(Up<A, N>);

    /// Ends the session in good order: the peer hears `reason`, if the one datagram that says so arrives. Queued messages
    /// stay in the outbox; what flies is settled as unconfirmed.
    pub fn close<S: Storage>(&mut self, now: Instant, outbox: &mut Outbox<S>, reason: Reason) {
        let farewell = match &mut self.state {
            State::Up { up } | State::AwaitProof(AwaitProof { up, .. }) => Farewell::close(now, up, reason),
            State::Handshake(_) | State::AwaitAccept(_) => None,
            State::Farewell(_) | State::Closed => return,
        };
        match farewell {
            Some(farewell) => {
                outbox.handle_session_end();
                self.state = State::Farewell(farewell);
            }
            None => self.end(outbox, Closed::here(reason)),
        }
    }

    /// As [`Session::retire`](super::Session::retire): what is lost is still sent again.
    pub fn retire<S: Storage>(&mut self, now: Instant, outbox: &mut Outbox<S>, reason: Reason) {
        match &mut self.state {
            State::Up { up } => up.retire(now, reason),
            _ => self.close(now, outbox, reason),
        }
    }

    /// Names the attempt, as [`peek`](datagram::peek) finds it in the handshake packets for this session; 0 while it does
    /// not know, and after the handshake's end.
    pub fn frame_id(&self) -> u64 {
        match &self.state {
            State::Handshake(attempt) => attempt.handshake.frame_id(),
            State::AwaitAccept(waiting) => waiting.last.frame_id,
            State::AwaitProof(waiting) => waiting.last.frame_id,
            _ => 0,
        }
    }

    fn handle_packet<'d, S: Storage>(
        &mut self,
        now: Instant,
        outbox: &mut Outbox<S>,
        from: Path,
        datagram: &'d mut [u8],
    ) -> Received<'d> {
        let (frame_id, kind) = match attempt_of(datagram) {
            Ok(found) => found,
            Err(reason) => return Received::Dropped(reason),
        };
        let repeated = match &mut self.state {
            State::Handshake(attempt) => {
                attempt.route.handle_received(from, datagram.len());
                if from != attempt.route.path() {
                    return Received::Dropped(Reason::UnexpectedFrame);
                }
                match attempt.handle_packet(now, frame_id, kind, datagram) {
                    Ok(received) => return received,
                    Err(refused) => return Received::Dropped(self.on_refused(now, outbox, refused)),
                }
            }
            State::AwaitAccept(waiting) => waiting.handle_packet(from, datagram.len(), frame_id, kind),
            State::AwaitProof(waiting) => waiting.handle_packet(from, datagram.len(), frame_id, kind),
            State::Farewell(farewell) => farewell.handle_packet(from),
            State::Up { .. } | State::Closed => false,
        };
        if repeated { Received::Absorbed } else { Received::Dropped(Reason::UnexpectedFrame) }
    }

    fn handle_record<'d, S: Storage>(
        &mut self,
        now: Instant,
        outbox: &mut Outbox<S>,
        from: Path,
        datagram: &'d mut [u8],
    ) -> Received<'d> {
        let (State::AwaitAccept(AwaitAccept { up, .. })
        | State::AwaitProof(AwaitProof { up, .. })
        | State::Up { up }) = &mut self.state
        else {
            return Received::Dropped(Reason::UnexpectedFrame);
        };
        up.route().handle_received(from, datagram.len());
        let opened = match up.open(now, datagram) {
            Ok(opened) => opened,
            Err(Unopened::Stray(reason)) => return Received::Dropped(reason),
            Err(Unopened::Broken(reason)) => {
                self.close(now, outbox, reason);
                return Received::Dropped(reason);
            }
        };
        if let State::AwaitAccept(AwaitAccept { up, .. }) = &mut self.state {
            return match admission(opened.control()) {
                Ok(()) => {
                    up.handle_accept(now, &opened);
                    self.come_up(outbox);
                    Received::Absorbed
                }
                Err(why) => {
                    self.end(outbox, why);
                    Received::Dropped(why.reason)
                }
            };
        }
        if let State::AwaitProof(AwaitProof { up, .. }) = &mut self.state {
            up.handle_proof(now, from);
            self.come_up(outbox);
        }
        let State::Up { up } = &mut self.state else { return Received::Absorbed };
        match up.handle_record(now, &self.config, outbox, from, &opened) {
            Ok(Content::Nothing) => Received::Absorbed,
            Ok(Content::Messages(messages)) => Received::Messages(messages),
            Ok(Content::Dropped(reason)) => Received::Dropped(reason),
            Ok(Content::Close { code }) => {
                self.end(outbox, Closed::by_peer(code));
                Received::Absorbed
            }
            Err(reason) => {
                self.close(now, outbox, reason);
                Received::Dropped(reason)
            }
        }
    }

    fn poll_handshake<S: Storage>(
        &mut self,
        now: Instant,
        outbox: &mut Outbox<S>,
        buf: &mut [u8],
    ) -> Option<usize> {
        let State::Handshake(attempt) = &mut self.state else { return None };
        let end = match attempt.poll_flight(now, buf) {
            Ok(Some(Ok(finished))) => {
                self.on_finished(now, &finished);
                return self.poll_transmit(now, outbox, buf);
            }
            Ok(Some(Err(refused))) => Some(refused),
            Ok(None) => None,
            Err(refused) => {
                let _ = self.on_refused(now, outbox, refused);
                return None;
            }
        };
        let len = attempt.poll_packet(now, buf);
        self.path = attempt.route.path();
        if let Some(refused) = end {
            let _ = self.on_refused(now, outbox, refused);
        } else if attempt.drop_refusal() && !self.path.is_line() {
            // An unknown hint. On a line the same session goes on; elsewhere the next attempt comes to the gate.
            self.end(outbox, Closed::here(Reason::UnknownHint));
        }
        len
    }

    /// The handshake is over, with a last flight if it is this end's.
    fn on_finished(&mut self, now: Instant, finished: &Finished) {
        let State::Handshake(attempt) = &mut self.state else { return };
        let Attempt { route, rtt, deadline_at, dialled, .. } = *attempt;
        let frame_id = attempt.handshake.frame_id();
        let last = Last { flight: attempt.flight.take(), frame_id, deadline_at };
        let up = Up::new(now, &self.config, finished, self.own_cid, route, rtt);
        if self.logs_keys {
            self.keys = Some(up.keys(frame_id));
        }
        self.state = match dialled {
            true => State::AwaitAccept(AwaitAccept::new(up, last)),
            false => State::AwaitProof(AwaitProof::new(now, up, last)),
        };
    }

    fn come_up<S: Storage>(&mut self, outbox: &mut Outbox<S>) {
        if let State::AwaitAccept(AwaitAccept { up, .. }) | State::AwaitProof(AwaitProof { up, .. }) =
            core::mem::replace(&mut self.state, State::Closed)
        {
            up.start(outbox);
            self.came_up = Some(up.peer().id());
            self.state = State::Up { up };
        }
    }

    /// Ends the handshake, telling the peer where it can be told.
    fn on_refused<S: Storage>(&mut self, now: Instant, outbox: &mut Outbox<S>, refused: Refused) -> Reason {
        let (reason, why) = (refused.reason, Closed::from(&refused));
        let path = match &self.state {
            State::Handshake(attempt) => attempt.route.path(),
            _ => self.path,
        };
        match Farewell::refuse::<A>(now, refused, path) {
            Some(farewell) => self.state = State::Farewell(farewell),
            None => self.end(outbox, why),
        }
        reason
    }

    /// When the handshake ends, whatever has become of it.
    fn attempt_deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Handshake(attempt) => Some(attempt.deadline_at),
            State::AwaitAccept(waiting) => Some(waiting.last.deadline_at),
            State::AwaitProof(waiting) => Some(waiting.last.deadline_at),
            State::Up { .. } | State::Farewell(_) | State::Closed => None,
        }
    }
}

/// The longest datagram that a session writes, and what [`DatagramSession::poll_transmit`] needs.
pub const MAX_DATAGRAM: usize = MAX_LEN;
