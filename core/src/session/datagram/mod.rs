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
mod flight;
mod loss;
mod replay;
mod route;
mod rtt;
mod up;
mod window;

#[cfg(test)]
mod tests;

use rand_core::CryptoRng;

use super::{Closed, Event, FAREWELL, Mark, Received};
use crate::aead::{Aead, TAG_LEN};
use crate::handshake::{
    self, Config, Counterpart, Credentials, Expect, Finished, Handshake, Heard, LinkKind, Refused, Tell,
};
use crate::ids::{Acquaintance, Hints, NodeId};
use crate::outbox::{Outbox, Storage};
use crate::record::{KeyLife, Sealer, SessionKeys};
use crate::time::{Instant, Wall};
use crate::wire::control::Control;
use crate::wire::datagram::{self, ConnectionId, MAX_LEN, Packet, Preamble, Truncated};
use crate::wire::frame::{self, Decoded, Header, Kind, Refusal};
use crate::wire::reason::Reason;
use crate::wire::record::{Body, RecordHeader};

use flight::{Cookie, Flight};
use route::Route;
use rtt::Rtt;
use up::{Content, Unopened, Up};

/// Where a datagram comes from or goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// The address; of IPv4 in its mapped form.
    pub address: [u8; 16],
    /// The port.
    pub port: u16,
}

impl Path {
    /// Whether this is a line with two ends, which has no addresses: the default. Nobody can be flooded over it by a forged
    /// source, so there first packets are not padded and nothing is limited.
    pub fn is_line(&self) -> bool {
        *self == Self::default()
    }
}

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
    AwaitAccept { up: Up<A, N>, flight: Option<Flight>, frame_id: u64, deadline_at: Instant },
    AwaitProof { up: Up<A, N>, flight: Option<Flight>, frame_id: u64, accept: Accept, deadline_at: Instant },
    Up { up: Up<A, N> },
    Farewell { words: Words, path: Path, deadline_at: Instant, why: Closed },
    Closed,
}

/// A handshake on its way.
struct Attempt<A> {
    handshake: Handshake<A>,
    dialled: bool,
    flight: Option<Flight>,
    /// What the next flight answers.
    heard: Option<Kind>,
    cookie: Cookie,
    route: Route,
    rtt: Rtt,
    /// Messages that did not verify.
    forgeries: u8,
    deadline_at: Instant,
}

/// Accept, repeated until the initiator is heard.
struct Accept {
    is_owed: bool,
    due_at: Instant,
    timeouts: u32,
}

/// The last thing that a session says, sealed.
struct Words {
    bytes: [u8; Words::MAX],
    len: usize,
    is_owed: bool,
    /// How often it is said again to a peer that has not heard it.
    repeats: u8,
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
        let attempt = Attempt {
            handshake,
            dialled,
            flight: None,
            heard: None,
            cookie: Cookie::default(),
            route,
            rtt: Rtt::default(),
            forgeries: 0,
            deadline_at: now.after(config.handshake_timeout),
        };
        let path = route.path();
        Self {
            config,
            own_cid,
            path,
            state: State::Handshake(attempt),
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
            Ok(Some(finished)) => self.on_finished(now, &finished, None),
            Err(refused) => {
                let _ = self.on_refused(now, outbox, refused);
            }
        }
    }

    /// Starts `outbox` for this session, if the session is up.
    pub fn attach<S: Storage>(&self, outbox: &mut Outbox<S>) {
        if let State::Up { up } = &self.state {
            up.start(outbox);
        }
    }

    /// The application is done with the messages of the record that `mark` ends and of all that arrived before it.
    pub fn handle_consumed(&mut self, now: Instant, mark: Mark) {
        if let State::Up { up } = &mut self.state {
            up.handle_consumed(now, mark);
        }
    }

    /// As [`Session::handle_released`](super::Session::handle_released).
    pub fn handle_released(&mut self, total: u64) {
        if let State::Up { up } = &mut self.state {
            up.handle_released(total);
        }
    }

    /// The caller wants a round trip measured at once, not only with the next heartbeat.
    pub fn handle_ping_request(&mut self) {
        if let State::Up { up } = &mut self.state {
            up.handle_ping_request();
        }
    }

    /// Does what is due at `now`; a deadline that [`poll_timeout`](Self::poll_timeout) gives afterwards lies after `now`,
    /// unless something waits to be written.
    pub fn handle_timeout<S: Storage>(&mut self, now: Instant, outbox: &mut Outbox<S>) {
        match &mut self.state {
            State::Handshake(Attempt { deadline_at, .. })
            | State::AwaitAccept { deadline_at, .. }
            | State::AwaitProof { deadline_at, .. }
                if *deadline_at <= now =>
            {
                let reason = Reason::HandshakeTimeout;
                self.end(outbox, Closed { reason, by_peer: false, detail: 0 });
            }
            State::Handshake(Attempt { flight, .. }) | State::AwaitAccept { flight, .. } => {
                if let Some(flight) = flight {
                    flight.handle_timeout(now);
                }
            }
            State::AwaitProof { flight, accept, .. } => {
                if let Some(flight) = flight {
                    flight.handle_timeout(now);
                }
                accept.handle_timeout(now);
            }
            State::Up { up } if up.is_silent(now) => self.close(now, outbox, Reason::Silent),
            State::Up { up } if up.is_stalled(now) => self.close(now, outbox, Reason::Stalled),
            State::Up { up } if up.is_expired(now) => self.close(now, outbox, Reason::DelegationExpired),
            State::Up { up } => {
                up.handle_timeout(now);
                if up.is_overdue(now) {
                    let reason = up.reason_to_retire();
                    self.close(now, outbox, reason);
                }
            }
            State::Farewell { deadline_at, why, .. } if *deadline_at <= now => {
                let why = *why;
                self.end(outbox, why);
            }
            State::Farewell { .. } | State::Closed => {}
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
            State::Handshake(attempt) => {
                if attempt.flight.is_none() {
                    match attempt.handshake.poll_flight(buf) {
                        Ok(None) => return None,
                        Ok(Some(handshake::Flight { len, end })) => {
                            let flight = Flight::new(now, &buf[..len], attempt.heard);
                            return self.on_flight(now, outbox, flight, end, buf);
                        }
                        Err(refused) => {
                            let _ = self.on_refused(now, outbox, refused);
                            return None;
                        }
                    }
                }
                let len = attempt.poll_packet(now, buf)?;
                self.path = attempt.route.path();
                Some(len)
            }
            State::AwaitAccept { up, flight, .. } => {
                let len = poll_packet(now, up, flight, buf)?;
                self.path = up.path();
                Some(len)
            }
            State::AwaitProof { up, flight, accept, .. } => {
                self.path = up.path();
                if let Some(len) = poll_packet(now, up, flight, buf) {
                    return Some(len);
                }
                if !accept.is_owed {
                    return None;
                }
                accept.handle_written(now, up.rtt());
                up.write_accept(now, buf)
            }
            State::Up { up } => {
                if up.is_worn() || up.is_drained(outbox) {
                    let reason = if up.is_worn() { Reason::Worn } else { up.reason_to_retire() };
                    self.close(now, outbox, reason);
                    return self.poll_transmit(now, outbox, buf);
                }
                self.path = up.path();
                up.poll_record(now, outbox, buf)
            }
            State::Farewell { words, path, why, .. } => {
                if !core::mem::take(&mut words.is_owed) {
                    return None;
                }
                self.path = *path;
                let (len, why) = (words.len, *why);
                buf[..len].copy_from_slice(&words.bytes[..len]);
                if words.repeats == 0 {
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
        let flight_due_at = |flight: &Option<Flight>| flight.as_ref().and_then(Flight::due_at);
        let own = match &self.state {
            State::Handshake(Attempt { flight, deadline_at, .. })
            | State::AwaitAccept { flight, deadline_at, .. } => {
                [Some(*deadline_at), flight_due_at(flight), None]
            }
            State::AwaitProof { flight, accept, deadline_at, .. } => {
                [Some(*deadline_at), flight_due_at(flight), accept.due_at()]
            }
            State::Farewell { deadline_at, .. } => [Some(*deadline_at), None, None],
            State::Up { up } => [Some(up.deadline_at()), None, None],
            State::Closed => return None,
        };
        own.into_iter().flatten().chain(outbox.poll_timeout()).min()
    }

    /// The next fact that the caller has not heard yet.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(peer) = self.came_up.take() {
            return Some(Event::Up(peer));
        }
        if let State::Up { up } = &mut self.state
            && let Some(rtt) = up.poll_rtt()
        {
            return Some(Event::Rtt(rtt));
        }
        self.closed.take().map(Event::Closed)
    }

    /// Ends the session in good order: the peer hears `reason`, if the one datagram that says so arrives. Queued messages
    /// stay in the outbox; what flies is settled as unconfirmed.
    pub fn close<S: Storage>(&mut self, now: Instant, outbox: &mut Outbox<S>, reason: Reason) {
        let why = Closed { reason, by_peer: false, detail: 0 };
        match &mut self.state {
            State::Up { up } | State::AwaitProof { up, .. } => {
                let mut words = Words::new(0);
                let path = up.path();
                match up.write_close(now, reason, &mut words.bytes) {
                    Some(len) => {
                        words.len = len;
                        outbox.handle_session_end();
                        self.state = State::Farewell { words, path, deadline_at: now.after(FAREWELL), why };
                    }
                    None => self.end(outbox, why),
                }
            }
            State::Handshake(_) | State::AwaitAccept { .. } => self.end(outbox, why),
            State::Farewell { .. } | State::Closed => {}
        }
    }

    /// As [`Session::retire`](super::Session::retire): what is lost is still sent again.
    pub fn retire<S: Storage>(&mut self, now: Instant, outbox: &mut Outbox<S>, reason: Reason) {
        match &mut self.state {
            State::Up { up } => up.retire(now, reason),
            _ => self.close(now, outbox, reason),
        }
    }

    /// The link under the session is gone, as a socket that was closed.
    pub fn handle_link_lost<S: Storage>(&mut self, outbox: &mut Outbox<S>) {
        let why = match &self.state {
            State::Farewell { why, .. } => *why,
            _ => Closed { reason: Reason::LinkLost, by_peer: true, detail: 0 },
        };
        self.end(outbox, why);
    }

    /// Whether messages can flow.
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// Whether the session has ended; nobody needs its connection id any more.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Names the attempt, as [`peek`](datagram::peek) finds it in the handshake packets for this session; 0 while it does
    /// not know, and after the handshake's end.
    pub fn frame_id(&self) -> u64 {
        match &self.state {
            State::Handshake(attempt) => attempt.handshake.frame_id(),
            State::AwaitAccept { frame_id, .. } | State::AwaitProof { frame_id, .. } => *frame_id,
            _ => 0,
        }
    }

    /// The proven peer, once the session is up.
    pub fn peer(&self) -> Option<&Counterpart> {
        match &self.state {
            State::Up { up } => Some(up.peer()),
            _ => None,
        }
    }

    /// What the session leaves for the next one of the pair, once it is up.
    pub fn hints(&self) -> Option<Hints> {
        match &self.state {
            State::Up { up } => Some(up.hints()),
            _ => None,
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
            State::AwaitAccept { up, flight, frame_id: own, .. } => {
                up.route().handle_received(from, datagram.len());
                frame_id == *own && flight.as_mut().is_some_and(|flight| flight.handle_repetition(kind))
            }
            State::AwaitProof { up, flight, frame_id: own, accept, .. } => {
                up.route().handle_received(from, datagram.len());
                let is_own = frame_id == *own && matches!(kind, Kind::Xx3 | Kind::Kk1);
                if is_own {
                    accept.is_owed = true;
                    if let Some(flight) = flight {
                        flight.handle_repetition(kind);
                    }
                }
                is_own
            }
            State::Farewell { words, path, .. } => {
                let is_deaf = from == *path && words.repeats > 0;
                if is_deaf {
                    words.repeats -= 1;
                    words.is_owed = true;
                }
                is_deaf
            }
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
        let (State::AwaitAccept { up, .. } | State::AwaitProof { up, .. } | State::Up { up }) =
            &mut self.state
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
        if let State::AwaitAccept { up, .. } = &mut self.state {
            let why = match opened.control() {
                Some(Ok(Control::Accept)) => {
                    up.handle_accept(now, &opened);
                    self.come_up(outbox);
                    return Received::Absorbed;
                }
                Some(Ok(Control::Reject(refusal))) => {
                    let reason = refusal.reason().unwrap_or(Reason::Unspecified);
                    Closed { reason, by_peer: true, detail: refusal.detail }
                }
                Some(Ok(Control::Close { code })) => {
                    let reason = Reason::from_code(code).unwrap_or(Reason::Unspecified);
                    Closed { reason, by_peer: true, detail: 0 }
                }
                Some(Err(reason)) => Closed { reason, by_peer: false, detail: 0 },
                // A responder says nothing else before it has heard of us.
                Some(Ok(Control::Drain)) | None => {
                    Closed { reason: Reason::Violation, by_peer: false, detail: 0 }
                }
            };
            self.end(outbox, why);
            return Received::Dropped(why.reason);
        }
        if let State::AwaitProof { up, .. } = &mut self.state {
            up.handle_proof(now, from);
            self.come_up(outbox);
        }
        let State::Up { up } = &mut self.state else { return Received::Absorbed };
        match up.handle_record(now, &self.config, outbox, from, &opened) {
            Ok(Content::Nothing) => Received::Absorbed,
            Ok(Content::Messages(messages)) => Received::Messages(messages),
            Ok(Content::Dropped(reason)) => Received::Dropped(reason),
            Ok(Content::Close { code }) => {
                let reason = Reason::from_code(code).unwrap_or(Reason::Unspecified);
                self.end(outbox, Closed { reason, by_peer: true, detail: 0 });
                Received::Absorbed
            }
            Err(reason) => {
                self.close(now, outbox, reason);
                Received::Dropped(reason)
            }
        }
    }

    /// A flight is written for the first time.
    fn on_flight<S: Storage>(
        &mut self,
        now: Instant,
        outbox: &mut Outbox<S>,
        flight: Flight,
        end: Option<Result<Finished, Refused>>,
        buf: &mut [u8],
    ) -> Option<usize> {
        let State::Handshake(attempt) = &mut self.state else { return None };
        match end {
            None => {
                let is_refusal = flight.is_refusal();
                attempt.flight = Some(flight);
                let len = attempt.poll_packet(now, buf);
                self.path = attempt.route.path();
                if is_refusal {
                    // An unknown hint. On a line the same session goes on; elsewhere the next attempt comes to the gate.
                    attempt.flight = None;
                    if !self.path.is_line() {
                        let reason = Reason::UnknownHint;
                        self.end(outbox, Closed { reason, by_peer: false, detail: 0 });
                    }
                }
                len
            }
            Some(Ok(finished)) => {
                self.on_finished(now, &finished, Some(flight));
                self.poll_transmit(now, outbox, buf)
            }
            Some(Err(refused)) => {
                attempt.flight = Some(flight);
                let len = attempt.poll_packet(now, buf);
                self.path = attempt.route.path();
                let _ = self.on_refused(now, outbox, refused);
                len
            }
        }
    }

    /// The handshake is over, with a last flight if it is this end's.
    fn on_finished(&mut self, now: Instant, finished: &Finished, flight: Option<Flight>) {
        let State::Handshake(attempt) = &self.state else { return };
        let Attempt { route, rtt, deadline_at, dialled, .. } = *attempt;
        let frame_id = attempt.handshake.frame_id();
        let up = Up::new(now, &self.config, finished, self.own_cid, route, rtt);
        if self.logs_keys {
            self.keys = Some(up.keys(frame_id));
        }
        self.state = match dialled {
            true => State::AwaitAccept { up, flight, frame_id, deadline_at },
            false => {
                let accept = Accept { is_owed: true, due_at: now, timeouts: 0 };
                State::AwaitProof { up, flight, frame_id, accept, deadline_at }
            }
        };
    }

    fn come_up<S: Storage>(&mut self, outbox: &mut Outbox<S>) {
        if let State::AwaitAccept { up, .. } | State::AwaitProof { up, .. } =
            core::mem::replace(&mut self.state, State::Closed)
        {
            up.start(outbox);
            self.came_up = Some(up.peer().id());
            self.state = State::Up { up };
        }
    }

    /// Ends the handshake, telling the peer where it can be told.
    fn on_refused<S: Storage>(&mut self, now: Instant, outbox: &mut Outbox<S>, refused: Refused) -> Reason {
        let Refused { reason, detail, by_peer, tell } = refused;
        let why = Closed { reason, by_peer, detail };
        let refusal = Refusal { code: reason.code(), detail };
        let words = match tell {
            Tell::Nothing => None,
            Tell::Cleartext(frame_id) => Words::refusal(frame_id, &refusal),
            Tell::Sealed(cipher, key, cid) => {
                Words::reject(&mut Sealer::<A>::new(now, cipher, &key, KeyLife::of(None)), cid, refusal)
            }
        };
        match words {
            Some(words) => {
                let path = self.attempt_path();
                self.state = State::Farewell { words, path, deadline_at: now.after(FAREWELL), why };
            }
            None => self.end(outbox, why),
        }
        reason
    }

    fn attempt_path(&self) -> Path {
        match &self.state {
            State::Handshake(attempt) => attempt.route.path(),
            _ => self.path,
        }
    }

    /// The last transition. Everything that the peer has not acknowledged is settled as unconfirmed.
    fn end<S: Storage>(&mut self, outbox: &mut Outbox<S>, why: Closed) {
        if !self.is_closed() {
            self.state = State::Closed;
            self.closed = Some(why);
            outbox.handle_session_end();
        }
    }
}

/// The longest datagram that a session writes, and what [`DatagramSession::poll_transmit`] needs.
pub const MAX_DATAGRAM: usize = MAX_LEN;

/// Messages that may fail to verify in one handshake: each costs what a true one costs.
const MOST_FORGERIES: u8 = 8;

impl<A: Aead> Attempt<A> {
    fn handle_packet<'d>(
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
            self.rtt.handle_sample(round_trip, core::time::Duration::ZERO);
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

    fn poll_packet(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize> {
        let flight = self.flight.as_mut()?;
        // So that nobody can answer with more than what it got.
        let pads = self.dialled && self.heard.is_none() && !self.route.path().is_line();
        let len = flight.poll_packet(now, &self.rtt, &self.cookie, pads, self.route.room(), buf)?;
        self.route.handle_sent(len);
        Some(len)
    }
}

/// Writes the last flight of a handshake again, if it is owed.
fn poll_packet<A: Aead, const N: usize>(
    now: Instant,
    up: &mut Up<A, N>,
    flight: &mut Option<Flight>,
    buf: &mut [u8],
) -> Option<usize> {
    let rtt = *up.rtt();
    let room = up.route().room();
    let len = flight.as_mut()?.poll_packet(now, &rtt, &Cookie::default(), false, room, buf)?;
    up.route().handle_sent(len);
    Some(len)
}

/// The attempt and the kind of a handshake packet's frame.
fn attempt_of(datagram: &[u8]) -> Result<(u64, Kind), Reason> {
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

impl Words {
    const MAX: usize = 256;
    /// How often a Reject is repeated to an initiator that repeats itself.
    const REPEATS: u8 = 3;

    fn new(repeats: u8) -> Self {
        Self { bytes: [0; Self::MAX], len: 0, is_owed: true, repeats }
    }

    fn refusal(frame_id: u64, refusal: &Refusal) -> Option<Self> {
        let mut words = Self::new(0);
        let mut payload = [0; Refusal::LEN];
        refusal.encode(&mut payload)?;
        words.len = Packet::encode(&Header::new(Kind::Refusal, frame_id), &payload, &mut words.bytes)?;
        Some(words)
    }

    fn reject<A: Aead>(sealer: &mut Sealer<A>, cid: ConnectionId, refusal: Refusal) -> Option<Self> {
        let mut words = Self::new(Self::REPEATS);
        let preamble = Preamble { phase: false, cid, counter: Truncated::of(0, None) };
        let at = preamble.encode(&mut words.bytes)?;
        let header = RecordHeader { body: Body::Control, ..RecordHeader::default() };
        let mut end = at + header.encode(&mut words.bytes[at..])?;
        end += Control::Reject(refusal).encode(&mut words.bytes[end..])? + TAG_LEN;
        let (preamble, sealed) = words.bytes[..end].split_at_mut(at);
        sealer.seal(preamble, sealed);
        words.len = end;
        Some(words)
    }
}
