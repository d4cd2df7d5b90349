//! One link to one peer: handshake, records, acknowledgements, liveness. It never sees another session.
//!
//! ```text
//!                                   Accept verified
//!              ┌──────▶ AwaitAccept ──────────────────┐    the initiator
//!              │                                      ▼
//!   Handshake ─┼────────────────────────────────────▶ Up   the responder of XX, whose first record is Accept
//!       │      │           first record verified      ▲
//!       │      └──────▶ AwaitProof ───────────────────┘    the responder of KK, whose first record is Accept
//!       │ refused            │ Reject, Close             │ close(), broken rule, silence
//!       ▼                    ▼                           ▼
//!   Farewell ──── last bytes written, or a second passed ───────────▶ Closed
//! ```
//!
//! Message 1 of KK can be a replay. So until the initiator's first record has verified, the responder says nothing but
//! message 2 and Accept, and nobody hears of a peer.
//!
//! A session that makes way for another, because it is a day old or because two crossed, says Drain at both ends and closes
//! once nothing is under way.
//!
//! Invariant: each call leaves the session consistent, in any order of calls; after `Closed` nothing happens any more,
//! and everything unacknowledged in the outbox has been reported as unconfirmed.

mod acks;
mod clock;
mod credit;
mod datagram;
mod parts;
mod pulse;
mod renewal;
mod spread;
mod up;

use rand_core::CryptoRng;

use crate::aead::Aead;
use crate::handshake::{self, Finished, Handshake, Heard, LinkKind, Refused, Tell};
use crate::ids::{Acquaintance, Hint, Hints, NodeId};
use crate::outbox::{Outbox, Storage};
use crate::record::{KeyLife, Sealer};
use crate::time::{Duration, Instant};
use crate::wire::control::Control;
use crate::wire::frame::Refusal;
use crate::wire::reason::Reason;
use crate::wire::record as layout;

pub use crate::handshake::{Config, Counterpart, Credentials, Expect, Offer, Resumption};
pub use crate::record::SessionKeys;
pub use crate::time::Wall;
pub use crate::wire::datagram::ConnectionId;
pub use datagram::{DatagramSession, MAX_DATAGRAM, Path};
pub use up::{Mark, Message, Messages};

use up::{Content, Opened, Up};

/// The shortest buffer that [`Session::poll_transmit`] writes into.
pub const MIN_TRANSMIT: usize = 512;

/// The longest record that [`Session::poll_transmit`] writes, with its length field: one part of a message.
pub const MAX_TRANSMIT: usize = up::MAX_SEALED_LEN + layout::MAX_LENGTH_LEN;

/// How long the last bytes of a session may wait to be written.
const FAREWELL: Duration = Duration::from_secs(1);

/// One link to one peer, over a stream.
///
/// The outbox that is passed when the session comes up is started by it, and settled when it ends. A caller who knows the
/// peer only by its offer, or decides later which of two sessions stays, passes an empty outbox until then and starts the
/// peer's own with [`attach`](Session::attach).
pub struct Session<A> {
    config: Config,
    state: State<A>,
    /// The peer of a session that is up, until the caller has heard of it, even if the session ends before.
    came_up: Option<NodeId>,
    closed: Option<Closed>,
    key_log: KeyLog,
}

/// Whether the caller may have the session's keys.
#[derive(Clone, Copy)]
enum KeyLog {
    Refused,
    Asked,
    /// They are there, in the session whose handshake's frames bear this id.
    Due(u64),
}

enum State<A> {
    Handshake { handshake: Handshake<A>, deadline_at: Instant },
    AwaitAccept { up: Up<A>, deadline_at: Instant },
    AwaitProof { up: Up<A>, deadline_at: Instant },
    Up { up: Up<A> },
    Farewell { words: Words<A>, deadline_at: Instant, why: Closed },
    Closed,
}

/// The last thing that a session says.
#[expect(clippy::large_enum_variant, reason = "a state lives in place: there is no heap to box it")]
enum Words<A> {
    Refusal { frame_id: u64, refusal: Refusal },
    Reject { sealer: Sealer<A>, refusal: Refusal },
    Close { up: Up<A>, reason: Reason },
}

/// Why and by whom a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The reason, this end's or the one that the peer gave.
    pub reason: Reason,
    /// Whether the peer ended it.
    pub by_peer: bool,
    /// What came with a rejection: see docs/protocol.md, sections 2 and 8; else zero.
    pub detail: u64,
}

/// A fact about the session, from [`Session::poll_event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Both ends are proven and admitted; messages flow.
    Up(NodeId),
    /// A round trip to the peer and back, application not included.
    Rtt(Duration),
    /// The end. No further event follows.
    Closed(Closed),
}

/// What [`Session::handle_input`] made of the bytes.
#[derive(Debug)]
pub struct Input<'d> {
    /// Bytes taken from the front of the input.
    pub used: usize,
    /// What they were.
    pub received: Received<'d>,
}

/// What arrived.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is no heap to put an offer on, and one in a session's life"
)]
pub enum Received<'d> {
    /// The input ends within a frame or record: call again with more bytes behind the same ones. `used` is 0.
    NeedMore,
    /// Taken; there is nothing for the application.
    Absorbed,
    /// The peer names this hint; the session waits for [`Session::handle_hint`] and then for the same bytes again. `used` is 0.
    Hint(Hint),
    /// A peer has shown its key; the session waits for [`Session::handle_verdict`].
    Offer(Offer),
    /// Messages, opened in place.
    Messages(Messages<'d>),
    /// Refused, with the reason; the session says the same to the peer where the protocol allows it, and ends.
    Dropped(Reason),
}

impl<A: Aead> Session<A> {
    /// Opens a session on a link that this end dialled. `expect` says who may answer, and by which handshake.
    ///
    /// Draws the attempt's id and what the ephemeral key is made of from `rng`, twice if the first hint may be unknown to
    /// the peer; nothing is random in a session after that.
    pub fn connect<'c>(
        now: Instant,
        wall: Wall,
        credentials: impl Into<Credentials<'c>>,
        config: Config,
        expect: Expect,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let link = LinkKind::Stream;
        Self::new(now, config, Handshake::initiator(now, credentials.into(), config, wall, expect, link, rng))
    }

    /// Opens a session on a link that the other end dialled.
    pub fn accept<'c>(
        now: Instant,
        wall: Wall,
        credentials: impl Into<Credentials<'c>>,
        config: Config,
        rng: &mut impl CryptoRng,
    ) -> Self {
        Self::new(
            now,
            config,
            Handshake::responder(now, credentials.into(), config, wall, LinkKind::Stream, rng),
        )
    }

    fn new(now: Instant, config: Config, handshake: Handshake<A>) -> Self {
        let deadline_at = now.after(config.handshake_timeout);
        Self {
            config,
            state: State::Handshake { handshake, deadline_at },
            came_up: None,
            closed: None,
            key_log: KeyLog::Refused,
        }
    }

    /// From now on [`poll_keys`](Self::poll_keys) hands out the keys, once. To be called before the handshake is over, and only
    /// for a user who wants to decrypt recordings: whoever gets them can read everything that the session carries.
    pub const fn log_keys(&mut self) {
        self.key_log = KeyLog::Asked;
    }

    /// The first keys of the session, once they are there and if [`log_keys`](Self::log_keys) was called. Poll it after
    /// each [`poll_transmit`](Self::poll_transmit) and [`handle_verdict`](Self::handle_verdict) and before any further input.
    pub fn poll_keys(&mut self) -> Option<SessionKeys> {
        let KeyLog::Due(frame_id) = self.key_log else { return None };
        self.key_log = KeyLog::Refused;
        match &self.state {
            State::AwaitAccept { up, .. } | State::AwaitProof { up, .. } | State::Up { up } => {
                Some(up.keys(frame_id))
            }
            _ => None,
        }
    }

    fn on_keys(&mut self, frame_id: u64) {
        if matches!(self.key_log, KeyLog::Asked) {
            self.key_log = KeyLog::Due(frame_id);
        }
    }

    /// Takes bytes from the link, at most one frame or record of them; call it again with the rest.
    ///
    /// Records are opened in place, so the bytes are changed. What the received messages borrow is `bytes`.
    pub fn handle_input<'d, S: Storage>(
        &mut self,
        now: Instant,
        outbox: &mut Outbox<S>,
        bytes: &'d mut [u8],
    ) -> Input<'d> {
        match &mut self.state {
            State::Handshake { handshake, .. } => match handshake.handle_bytes(bytes) {
                Ok(Heard::NeedMore) => Input { used: 0, received: Received::NeedMore },
                Ok(Heard::Absorbed(used)) => Input { used, received: Received::Absorbed },
                Ok(Heard::Hint(hint)) => Input { used: 0, received: Received::Hint(hint) },
                Ok(Heard::Offer(used, offer)) => Input { used, received: Received::Offer(offer) },
                Err(refused) => self.on_refused(now, refused, bytes.len()),
            },
            State::AwaitAccept { up, .. } => {
                let all = bytes.len();
                let answer = match up.open(&self.config, bytes) {
                    Ok(None) => return Input { used: 0, received: Received::NeedMore },
                    Ok(Some(opened)) => (opened.used, opened.control()),
                    Err(reason) => (all, Some(Err(reason))),
                };
                let reason = match answer {
                    (used, Some(Ok(Control::Accept))) => {
                        self.on_accept(now, outbox);
                        return Input { used, received: Received::Absorbed };
                    }
                    (used, Some(Ok(Control::Reject(refusal)))) => {
                        let reason = refusal.reason().unwrap_or(Reason::Unspecified);
                        self.end(outbox, Closed { reason, by_peer: true, detail: refusal.detail });
                        return Input { used, received: Received::Dropped(reason) };
                    }
                    // A responder may let us in and at once prefer another session: it says so without an Accept.
                    (used, Some(Ok(Control::Close { code }))) => {
                        let reason = Reason::from_code(code).unwrap_or(Reason::Unspecified);
                        self.end(outbox, Closed { reason, by_peer: true, detail: 0 });
                        return Input { used, received: Received::Dropped(reason) };
                    }
                    (_, Some(Err(reason))) => reason,
                    (_, Some(Ok(Control::Drain)) | None) => Reason::Violation,
                };
                // Whoever answers without the keys is not the peer: there is nobody to say it to.
                self.end(outbox, Closed { reason, by_peer: false, detail: 0 });
                Input { used: all, received: Received::Dropped(reason) }
            }
            State::AwaitProof { up, .. } => {
                let all = bytes.len();
                let opened = match up.open(&self.config, bytes) {
                    Ok(None) => return Input { used: 0, received: Received::NeedMore },
                    Ok(Some(opened)) => opened,
                    Err(reason) => {
                        self.end(outbox, Closed { reason, by_peer: false, detail: 0 });
                        return Input { used: all, received: Received::Dropped(reason) };
                    }
                };
                let used = opened.used;
                match opened.control() {
                    // The peer has taken part, and does not stay: then it never was here.
                    Some(Ok(Control::Close { code })) => {
                        let reason = Reason::from_code(code).unwrap_or(Reason::Unspecified);
                        self.end(outbox, Closed { reason, by_peer: true, detail: 0 });
                        Input { used, received: Received::Dropped(reason) }
                    }
                    Some(Ok(_)) => self.fail(now, Reason::Violation, all),
                    Some(Err(reason)) => self.fail(now, reason, all),
                    // Messages must find a caller who knows the peer.
                    None if opened.has_messages() => self.fail(now, Reason::Violation, all),
                    None => match self.on_proof(now, outbox, &opened) {
                        Ok(()) => Input { used, received: Received::Absorbed },
                        Err(reason) => self.fail(now, reason, all),
                    },
                }
            }
            State::Up { up, .. } => {
                let all = bytes.len();
                let opened = match up.open(&self.config, bytes) {
                    Ok(None) => return Input { used: 0, received: Received::NeedMore },
                    Ok(Some(opened)) => opened,
                    Err(reason) => return self.fail(now, reason, all),
                };
                let used = opened.used;
                match up.handle_record(now, &self.config, outbox, &opened) {
                    Ok(Content::Nothing) => Input { used, received: Received::Absorbed },
                    Ok(Content::Messages(messages)) => Input { used, received: Received::Messages(messages) },
                    Ok(Content::Close { code }) => {
                        let reason = Reason::from_code(code).unwrap_or(Reason::Unspecified);
                        self.end(outbox, Closed { reason, by_peer: true, detail: 0 });
                        Input { used, received: Received::Absorbed }
                    }
                    Err(reason) => self.fail(now, reason, all),
                }
            }
            State::Farewell { .. } | State::Closed => {
                Input { used: bytes.len(), received: Received::Absorbed }
            }
        }
    }

    /// Answers whose the hint is, for the frame that is given to [`handle_input`](Self::handle_input) again: a known peer goes
    /// on with one round trip, and anyone else with a full handshake. The owner is whom an earlier session has proven, by the
    /// key that it proved.
    ///
    /// A hint counts once: whoever keeps hints has forgotten this one when asked about it. Without one in question nothing
    /// happens.
    pub fn handle_hint(&mut self, owner: Option<Acquaintance>) {
        if let State::Handshake { handshake, .. } = &mut self.state {
            handshake.handle_hint(owner);
        }
    }

    /// Answers the offer: lets the peer in, or refuses it with a reason that it hears where the protocol allows it.
    ///
    /// Without an open offer nothing happens.
    pub fn handle_verdict<S: Storage>(
        &mut self,
        now: Instant,
        outbox: &mut Outbox<S>,
        verdict: Result<(), Reason>,
    ) {
        let State::Handshake { handshake, deadline_at } = &mut self.state else { return };
        let deadline_at = *deadline_at;
        match handshake.handle_verdict(verdict) {
            Ok(None) => {}
            Ok(Some(finished)) => {
                let frame_id = handshake.frame_id();
                self.on_keys(frame_id);
                self.on_finished(now, outbox, &finished, deadline_at);
            }
            Err(refused) => {
                let _ = self.on_refused(now, refused, 0);
            }
        }
    }

    /// Starts `outbox` for this session, if the session is up: its messages flow from the next [`poll_transmit`](Self::poll_transmit) on.
    pub fn attach<S: Storage>(&self, outbox: &mut Outbox<S>) {
        if let State::Up { up, .. } = &self.state {
            outbox.handle_session_start(up.max_message());
            outbox.handle_methods(up.peer().hello().methods());
        }
    }

    /// The application is done with the messages of the record that `mark` ends and of all before it: the peer may know,
    /// and may send more.
    pub fn handle_consumed(&mut self, now: Instant, mark: Mark) {
        if let State::Up { up, .. } = &mut self.state {
            up.handle_consumed(now, mark);
        }
    }

    /// The caller wants a round trip measured at once, not only with the next heartbeat.
    pub fn handle_ping_request(&mut self) {
        if let State::Up { up, .. } = &mut self.state {
            up.handle_ping_request();
        }
    }

    /// The application is done with so many bytes of messages in total, in whatever order: the peer may send more.
    ///
    /// Counted as in [`Mark::bytes`], of which each record adds its part. For callers whose applications take messages out of
    /// order; [`handle_consumed`](Self::handle_consumed) gives credit for all up to its mark by itself.
    pub fn handle_released(&mut self, total: u64) {
        if let State::Up { up, .. } = &mut self.state {
            up.handle_released(total);
        }
    }

    /// Does what is due at `now`; a deadline that [`poll_timeout`](Self::poll_timeout) gives afterwards lies after `now`,
    /// unless something waits to be written.
    pub fn handle_timeout<S: Storage>(&mut self, now: Instant, outbox: &mut Outbox<S>) {
        match &mut self.state {
            State::Handshake { deadline_at, .. }
            | State::AwaitAccept { deadline_at, .. }
            | State::AwaitProof { deadline_at, .. }
                if *deadline_at <= now =>
            {
                let reason = Reason::HandshakeTimeout;
                self.end(outbox, Closed { reason, by_peer: false, detail: 0 });
            }
            State::Up { up, .. } if up.is_silent(now) => self.close(now, Reason::Silent),
            State::Up { up, .. } if up.is_stalled(now) => self.close(now, Reason::Stalled),
            State::Up { up, .. } if up.is_expired(now) => self.close(now, Reason::DelegationExpired),
            State::Up { up, .. } => {
                up.handle_timeout(now);
                if up.is_overdue(now) {
                    let reason = up.reason_to_retire();
                    self.close(now, reason);
                }
            }
            State::Farewell { deadline_at, why, .. } if *deadline_at <= now => {
                let why = *why;
                self.end(outbox, why);
            }
            _ => {}
        }
        outbox.handle_timeout(now);
    }

    /// Writes the next frame or record to `buf` and says how long it is; `None` when there is nothing to send.
    ///
    /// Needs at least [`MIN_TRANSMIT`] bytes; in a longer buffer more messages share a record. A message that does not
    /// fit is written in parts.
    pub fn poll_transmit<S: Storage>(
        &mut self,
        now: Instant,
        outbox: &mut Outbox<S>,
        buf: &mut [u8],
    ) -> Option<usize> {
        if buf.len() < MIN_TRANSMIT {
            return None;
        }
        match &mut self.state {
            State::Handshake { handshake, deadline_at } => {
                let deadline_at = *deadline_at;
                let flight = match handshake.poll_flight(buf) {
                    Ok(flight) => flight?,
                    Err(refused) => {
                        let _ = self.on_refused(now, refused, 0);
                        return None;
                    }
                };
                match flight.end {
                    None => {}
                    Some(Ok(finished)) => {
                        let frame_id = handshake.frame_id();
                        self.on_keys(frame_id);
                        self.on_finished(now, outbox, &finished, deadline_at);
                    }
                    Some(Err(refused)) => {
                        let _ = self.on_refused(now, refused, 0);
                    }
                }
                Some(flight.len)
            }
            State::AwaitProof { up, .. } => up.poll_accept(now, buf),
            State::Up { up, .. } => {
                if up.is_worn() || up.is_drained(outbox) {
                    let reason = if up.is_worn() { Reason::Worn } else { up.reason_to_retire() };
                    self.close(now, reason);
                    return self.poll_transmit(now, outbox, buf);
                }
                up.poll_record(now, outbox, buf)
            }
            State::Farewell { words, why, .. } => {
                let why = *why;
                let len = words.write(now, buf);
                self.end(outbox, why);
                Some(len)
            }
            State::AwaitAccept { .. } | State::Closed => None,
        }
    }

    /// The longest buffer that [`poll_transmit`](Self::poll_transmit) can make use of with this peer.
    pub fn transmit_len(&self) -> usize {
        match &self.state {
            State::Up { up, .. } => {
                MAX_TRANSMIT.min(usize::from(up.peer().terms().record) + layout::MAX_LENGTH_LEN)
            }
            _ => MIN_TRANSMIT,
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) or [`poll_transmit`](Self::poll_transmit) has something to do next, if nothing else happens.
    pub fn poll_timeout<S: Storage>(&self, outbox: &Outbox<S>) -> Option<Instant> {
        let own = match &self.state {
            State::Handshake { deadline_at, .. }
            | State::AwaitAccept { deadline_at, .. }
            | State::AwaitProof { deadline_at, .. }
            | State::Farewell { deadline_at, .. } => Some(*deadline_at),
            State::Up { up, .. } => Some(up.deadline_at()),
            State::Closed => return None,
        };
        [own, outbox.poll_timeout()].into_iter().flatten().min()
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

    /// Ends the session in good order: the peer hears `reason`. Queued messages stay in the outbox.
    ///
    /// The close is written by the next [`poll_transmit`](Self::poll_transmit); drain the outbox before, if it shall be empty.
    pub fn close(&mut self, now: Instant, reason: Reason) {
        match &self.state {
            State::Up { .. } | State::AwaitProof { .. } => {
                let _ = self.fail(now, reason, 0);
            }
            State::Handshake { .. } | State::AwaitAccept { .. } => {
                self.state = State::Closed;
                self.closed = Some(Closed { reason, by_peer: false, detail: 0 });
            }
            State::Farewell { .. } | State::Closed => {}
        }
    }

    /// The session makes way for another one with the same peer: it sends no more messages, goes on taking and acknowledging
    /// those of the peer, and closes with `reason` when nothing is under way in either direction, after 5 s at the latest.
    ///
    /// Queued messages stay in the outbox. It is for the session to use until it has ended; then attach the other one to it.
    pub fn retire(&mut self, now: Instant, reason: Reason) {
        match &mut self.state {
            State::Up { up, .. } => up.retire(now, reason),
            _ => self.close(now, reason),
        }
    }

    /// The link under the session is gone, at an end of file or an error.
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

    /// Whether the session has ended; the link under it can be closed.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// The proven peer, once the session is up.
    pub fn peer(&self) -> Option<&Counterpart> {
        match &self.state {
            State::Up { up, .. } => Some(up.peer()),
            _ => None,
        }
    }

    /// With which hints either end may dial the other next, while the session is up. Each counts once.
    pub fn hints(&self) -> Option<Hints> {
        match &self.state {
            State::Up { up } => Some(up.hints()),
            _ => None,
        }
    }

    /// The handshake is over. Who is sure of the other end is up.
    fn on_finished<S: Storage>(
        &mut self,
        now: Instant,
        outbox: &mut Outbox<S>,
        finished: &Finished,
        deadline_at: Instant,
    ) {
        let up = Up::new(now, &self.config, finished);
        match (finished.peer.dialled(), finished.owes_proof) {
            (true, _) => self.state = State::AwaitAccept { up, deadline_at },
            (false, true) => self.state = State::AwaitProof { up, deadline_at },
            (false, false) => self.come_up(outbox, up),
        }
    }

    fn on_proof<S: Storage>(
        &mut self,
        now: Instant,
        outbox: &mut Outbox<S>,
        opened: &Opened<'_>,
    ) -> Result<(), Reason> {
        if let State::AwaitProof { mut up, .. } = core::mem::replace(&mut self.state, State::Closed) {
            up.handle_proof(now);
            self.come_up(outbox, up);
        }
        let State::Up { up } = &mut self.state else { return Ok(()) };
        let handled = up.handle_record(now, &self.config, outbox, opened).map(drop);
        if handled.is_err() {
            // It ends before anybody has heard of it.
            self.came_up = None;
        }
        handled
    }

    fn on_accept<S: Storage>(&mut self, now: Instant, outbox: &mut Outbox<S>) {
        if let State::AwaitAccept { mut up, .. } = core::mem::replace(&mut self.state, State::Closed) {
            up.handle_accept(now);
            self.come_up(outbox, up);
        }
    }

    fn come_up<S: Storage>(&mut self, outbox: &mut Outbox<S>, up: Up<A>) {
        outbox.handle_session_start(up.max_message());
        outbox.handle_methods(up.peer().hello().methods());
        self.came_up = Some(up.peer().id());
        self.state = State::Up { up };
    }

    fn on_refused(&mut self, now: Instant, refused: Refused, used: usize) -> Input<'static> {
        let Refused { reason, detail, by_peer, tell } = refused;
        let why = Closed { reason, by_peer, detail };
        let refusal = Refusal { code: reason.code(), detail };
        let words = match tell {
            Tell::Nothing => {
                self.state = State::Closed;
                self.closed = Some(why);
                return Input { used, received: Received::Dropped(reason) };
            }
            Tell::Cleartext(frame_id) => Words::Refusal { frame_id, refusal },
            Tell::Sealed(cipher, key, _) => {
                Words::Reject { sealer: Sealer::new(now, cipher, &key, KeyLife::of(None)), refusal }
            }
        };
        self.state = State::Farewell { words, deadline_at: now.after(FAREWELL), why };
        Input { used, received: Received::Dropped(reason) }
    }

    /// Ends a session that has keys by this end's decision, telling the peer.
    fn fail(&mut self, now: Instant, reason: Reason, used: usize) -> Input<'static> {
        if let State::Up { up } | State::AwaitProof { up, .. } =
            core::mem::replace(&mut self.state, State::Closed)
        {
            let why = Closed { reason, by_peer: false, detail: 0 };
            let words = Words::Close { up, reason };
            self.state = State::Farewell { words, deadline_at: now.after(FAREWELL), why };
        }
        Input { used, received: Received::Dropped(reason) }
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

impl<A: Aead> Words<A> {
    fn write(&mut self, now: Instant, buf: &mut [u8]) -> usize {
        match self {
            Self::Refusal { frame_id, refusal } => handshake::write_refusal(refusal, *frame_id, buf),
            Self::Reject { sealer, refusal } => {
                up::write_control(sealer, Control::Reject(*refusal), 0, None, buf)
            }
            Self::Close { up, reason } => up.write_close(now, *reason, buf),
        }
    }
}
