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
mod farewell;
mod message;
mod outcome;
mod parts;
mod pulse;
mod questions;
mod renewal;
mod spread;
mod standing;
mod up;

use rand_core::CryptoRng;

use crate::aead::Aead;
use crate::handshake::{Finished, Handshake, Heard, LinkKind, Refused};
use crate::ids::{Acquaintance, Hints, NodeId};
use crate::outbox::{Outbox, Storage};
use crate::time::Instant;
use crate::wire::control::Control;
use crate::wire::reason::Reason;
use crate::wire::record as layout;

pub use crate::handshake::{Config, Counterpart, Credentials, Expect, Offer, Resumption};
pub use crate::record::SessionKeys;
pub use crate::time::Wall;
pub use crate::wire::datagram::ConnectionId;
pub use datagram::{DatagramSession, MAX_DATAGRAM, Path};
pub use message::{Mark, Message, Messages};
pub use outcome::{Closed, Event, Input, Received};

use farewell::Farewell;
use outcome::admission;
use questions::questions;
use up::{Content, Opened, Up};

/// The shortest buffer that [`Session::poll_transmit`] writes into.
pub const MIN_TRANSMIT: usize = 512;

/// The longest record that [`Session::poll_transmit`] writes, with its length field: one part of a message.
pub const MAX_TRANSMIT: usize = up::MAX_SEALED_LEN + layout::MAX_LENGTH_LEN;

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
    Farewell(Farewell<A>),
    Closed,
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
                let (used, control) = match up.open(&self.config, bytes) {
                    Ok(None) => return Input { used: 0, received: Received::NeedMore },
                    Ok(Some(opened)) => (opened.used, opened.control()),
                    Err(reason) => (all, Some(Err(reason))),
                };
                match admission(control) {
                    Ok(()) => {
                        self.on_accept(now, outbox);
                        Input { used, received: Received::Absorbed }
                    }
                    // Whoever answers without the keys is not the peer: there is nobody to say it to.
                    Err(why) => {
                        self.end(outbox, why);
                        let used = if why.by_peer { used } else { all };
                        Input { used, received: Received::Dropped(why.reason) }
                    }
                }
            }
            State::AwaitProof { up, .. } => {
                let all = bytes.len();
                let opened = match up.open(&self.config, bytes) {
                    Ok(None) => return Input { used: 0, received: Received::NeedMore },
                    Ok(Some(opened)) => opened,
                    Err(reason) => {
                        self.end(outbox, Closed::here(reason));
                        return Input { used: all, received: Received::Dropped(reason) };
                    }
                };
                let used = opened.used;
                match opened.control() {
                    // The peer has taken part, and does not stay: then it never was here.
                    Some(Ok(Control::Close { code })) => {
                        let why = Closed::by_peer(code);
                        self.end(outbox, why);
                        Input { used, received: Received::Dropped(why.reason) }
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
                        self.end(outbox, Closed::by_peer(code));
                        Input { used, received: Received::Absorbed }
                    }
                    Err(reason) => self.fail(now, reason, all),
                }
            }
            State::Farewell(_) | State::Closed => Input { used: bytes.len(), received: Received::Absorbed },
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

    /// Does what is due at `now`; a deadline that [`poll_timeout`](Self::poll_timeout) gives afterwards lies after `now`,
    /// unless something waits to be written.
    pub fn handle_timeout<S: Storage>(&mut self, now: Instant, outbox: &mut Outbox<S>) {
        match &mut self.state {
            State::Handshake { deadline_at, .. }
            | State::AwaitAccept { deadline_at, .. }
            | State::AwaitProof { deadline_at, .. }
                if *deadline_at <= now =>
            {
                self.end(outbox, Closed::here(Reason::HandshakeTimeout));
            }
            State::Up { up } => {
                if let Some(reason) = up.handle_timeout(now) {
                    self.close(now, reason);
                }
            }
            State::Farewell(farewell) if farewell.deadline_at() <= now => {
                let why = farewell.why();
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
                if let Some(reason) = up.reason_to_end(outbox) {
                    self.close(now, reason);
                    return self.poll_transmit(now, outbox, buf);
                }
                up.poll_record(now, outbox, buf)
            }
            State::Farewell(farewell) => {
                let (len, why) = (farewell.write(now, buf), farewell.why());
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
            | State::AwaitProof { deadline_at, .. } => Some(*deadline_at),
            State::Farewell(farewell) => Some(farewell.deadline_at()),
            State::Up { up, .. } => Some(up.deadline_at()),
            State::Closed => return None,
        };
        [own, outbox.poll_timeout()].into_iter().flatten().min()
    }

    questions!(Up<A>);

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
                self.closed = Some(Closed::here(reason));
            }
            State::Farewell(_) | State::Closed => {}
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
        up.start(outbox);
        self.came_up = Some(up.peer().id());
        self.state = State::Up { up };
    }

    fn on_refused(&mut self, now: Instant, refused: Refused, used: usize) -> Input<'static> {
        let (reason, why) = (refused.reason, Closed::from(&refused));
        match Farewell::refuse(now, refused) {
            Some(farewell) => self.state = State::Farewell(farewell),
            None => {
                self.state = State::Closed;
                self.closed = Some(why);
            }
        }
        Input { used, received: Received::Dropped(reason) }
    }

    /// Ends a session that has keys by this end's decision, telling the peer.
    fn fail(&mut self, now: Instant, reason: Reason, used: usize) -> Input<'static> {
        if let State::Up { up } | State::AwaitProof { up, .. } =
            core::mem::replace(&mut self.state, State::Closed)
        {
            self.state = State::Farewell(Farewell::close(now, up, reason));
        }
        Input { used, received: Received::Dropped(reason) }
    }
}
