//! One connection and its session, in one task that carries bytes both ways.
//!
//! ```text
//!   turn:  orders, consumed records, due timers, events ─▶ seal and write ─▶ read and open ─▶ deliver
//!   if neither direction moved:  give the buffers back, wait for socket, wake-up or timer
//! ```
//!
//! A turn writes at most one buffer and reads at most one, so neither direction starves the other, and it reads the clock
//! once. The outbox is locked once per written buffer and once per received record, never while the task waits.
//! What a link does not do: judge peers (`control`), choose what is sent next (the outbox), know who subscribes (`inflow`).

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyphal_core::ids::{Hint, NodeId};
use hyphal_core::node::SessionRef;
use hyphal_core::outbox::{self, SharedStorage};
use hyphal_core::session::{Closed, Event, MAX_TRANSMIT, Offer, Received, Session};
use hyphal_core::time::Instant;
use hyphal_core::wire::reason::Reason;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::Sleep;

use crate::buffers::{ReadBuffer, WriteBuffer};
use crate::cipher::RingCipher;
use crate::control::{Command, PeerUp};
use crate::farewell;
use crate::hub::{Attempt, Hub, Seat};
use crate::inflow::{Arrival, Inflow};
use crate::peer::{Outbox, Peer};
use crate::pulse::Pulse;
use crate::receipt::ReceiptLedger;
use crate::signal::Signal;

/// A connection with a session on it.
pub(crate) struct Link {
    hub: Arc<Hub>,
    stream: TcpStream,
    address: SocketAddr,
    session: Box<Session<RingCipher>>,
    origin: Origin,
    token: u64,
    signal: Arc<Signal>,
    /// Once the control task has let the session stay.
    peer: Option<Arc<Peer>>,
    /// Whether the control task has been asked.
    is_announced: bool,
    reading: ReadBuffer,
    /// Whether what was read may hold another whole record.
    has_unparsed: bool,
    writing: WriteBuffer,
    /// Since when the peer has taken no byte of those that wait.
    stalled_since: Option<Instant>,
    inflow: Inflow,
    pulse: Pulse,
    due_at: Option<Instant>,
    closed: Option<Closed>,
    /// When a closed link stops trying to write its last bytes.
    abandon_at: Option<Instant>,
}

/// Who opened the connection.
pub(crate) enum Origin {
    /// This node, to reach that peer.
    Dialled(NodeId),
    /// The peer; the places that the connection takes up.
    Accepted { _seat: Seat, attempt: Option<Attempt> },
}

/// What a turn leaves to do.
enum Turn {
    /// Something moved: another turn.
    Busy,
    /// Nothing can move at the moment.
    Idle,
    /// The peer names a hint; whose it is decides how the handshake goes on.
    Hint(Hint),
    /// The peer has proven itself and awaits the verdict.
    Offer(Offer),
    /// The session is up and must be announced.
    Up,
    Closed(Closed),
}

impl Link {
    pub(crate) fn new(
        hub: Arc<Hub>,
        stream: TcpStream,
        address: SocketAddr,
        session: Session<RingCipher>,
        origin: Origin,
    ) -> Self {
        let signal = Arc::new(Signal::default());
        Self {
            token: hub.next_token(),
            inflow: Inflow::new(Arc::clone(&signal)),
            pulse: Pulse::new(hub.plan.session.heartbeat),
            hub,
            stream,
            address,
            session: Box::new(session),
            origin,
            signal,
            peer: None,
            is_announced: false,
            reading: ReadBuffer::new(),
            has_unparsed: false,
            writing: WriteBuffer::default(),
            stalled_since: None,
            due_at: None,
            closed: None,
            abandon_at: None,
        }
    }

    /// Runs the link until it has ended and everyone concerned knows.
    pub(crate) async fn run(mut self) {
        let why = self.serve().await;
        self.settle(why).await;
        // An unfinished handshake is left without a word that the peer should have time to read.
        if self.is_announced || why.reason != Reason::Shutdown {
            farewell::linger(self.stream, why).await;
        }
    }

    async fn serve(&mut self) -> Closed {
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        let mut turns = 0_u32;
        loop {
            let now = self.hub.clock.now();
            match poll_fn(|cx| Poll::Ready(self.turn(cx, now))).await {
                Turn::Busy => {
                    turns += 1;
                    if turns.is_multiple_of(TURNS) {
                        tokio::task::yield_now().await;
                    }
                }
                Turn::Idle => self.rest(now, timer.as_mut()).await,
                Turn::Hint(hint) => self.ask_owner(hint).await,
                Turn::Offer(offer) => self.ask_verdict(&offer).await,
                Turn::Up => self.announce().await,
                Turn::Closed(why) => return why,
            }
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>, now: Instant) -> Turn {
        // Before a close, which carries the last acknowledgement.
        if let Some(mark) = self.inflow.poll_consumed() {
            self.session.handle_consumed(now, mark);
        }
        if let Some(reason) = self.signal.take_close() {
            self.session.close(now, reason);
        }
        if self.is_forgotten() {
            self.session.close(now, Reason::Shutdown);
        }
        if self.signal.take_ping() {
            self.session.handle_ping_request();
        }
        if self.inflow.is_blocked() && self.inflow.retry(&self.hub) {
            self.session.handle_resume(now);
        }
        if self.due_at.is_some_and(|at| at <= now) {
            self.handle_timeout(now);
        }
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Up(_) => return Turn::Up,
                Event::Rtt(rtt) => {
                    self.pulse.handle_rtt(rtt);
                    if let Some(peer) = &self.peer {
                        peer.rtt.send_replace(Some(rtt));
                    }
                }
                Event::Closed(why) => {
                    self.closed = Some(why);
                    self.abandon_at = Some(now.after(farewell::PATIENCE));
                }
            }
        }
        if let Some(why) = self.closed
            && (self.writing.is_empty() || self.abandon_at.is_some_and(|at| at <= now))
        {
            return Turn::Closed(why);
        }

        let wrote = match self.poll_write(cx, now) {
            Poll::Ready(Ok(moved)) => moved,
            Poll::Ready(Err(error)) => return self.lose(&error),
            Poll::Pending => false,
        };
        if self.closed.is_some() {
            return if wrote { Turn::Busy } else { Turn::Idle };
        }
        // A peer's key that is none shows when its answer is written, and ends the session there.
        if self.session.is_closed() {
            return Turn::Busy;
        }
        // Writing may have let the peer run first, and a round trip that began with this turn must not take no time.
        let now = if wrote { self.hub.clock.now() } else { now };
        match self.poll_read(cx, now) {
            Poll::Ready(Ok(turn)) => turn,
            Poll::Ready(Err(error)) => self.lose(&error),
            Poll::Pending if wrote => Turn::Busy,
            Poll::Pending => Turn::Idle,
        }
    }

    /// Seals what is due into a buffer and writes it; ready with whether anything moved.
    fn poll_write(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<io::Result<bool>> {
        if self.writing.is_empty() {
            self.fill(now);
            if self.writing.is_empty() {
                return Poll::Ready(Ok(false));
            }
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, self.writing.pending());
        match written {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(len)) => {
                self.writing.advance(len);
                self.stalled_since = None;
                self.hub.tally.traffic.bytes_sent.fetch_add(len as u64, Relaxed);
                if let Some(peer) = &self.peer {
                    peer.tally.bytes_sent.fetch_add(len as u64, Relaxed);
                }
                Poll::Ready(Ok(true))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.stalled_since.get_or_insert(now);
                Poll::Pending
            }
        }
    }

    /// Seals as many full records as the buffer holds.
    fn fill(&mut self, now: Instant) {
        let Self { hub, session, peer, token, writing, .. } = self;
        with_outbox(peer.as_deref(), *token, |outbox| {
            loop {
                let room = writing.room(&hub.pool);
                if room.len() < MAX_TRANSMIT {
                    break;
                }
                let Some(len) = session.poll_transmit(now, outbox, room) else { break };
                writing.fill(len);
            }
        });
    }

    /// Takes what was read, or reads more; ready if anything moved.
    fn poll_read(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<io::Result<Turn>> {
        if self.has_unparsed && !self.inflow.is_blocked() {
            return Poll::Ready(Ok(self.parse(now)));
        }
        if self.inflow.is_blocked() {
            return Poll::Pending;
        }
        self.reading.make_room(&self.hub.pool);
        let bytes = &mut self.reading.bytes;
        let room = bytes.capacity() - bytes.len();
        let len = ready!(pin!(self.stream.read_buf(bytes)).poll(cx))?;
        if len == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.reading.handle_read(len, room);
        self.hub.tally.traffic.bytes_received.fetch_add(len as u64, Relaxed);
        if let Some(peer) = &self.peer {
            peer.tally.bytes_received.fetch_add(len as u64, Relaxed);
        }
        Poll::Ready(Ok(self.parse(now)))
    }

    /// Takes all whole frames and records that were read, until a queue is full or somebody must be asked.
    fn parse(&mut self, now: Instant) -> Turn {
        let Self { hub, session, peer, token, reading, inflow, .. } = self;
        self.has_unparsed = true;
        while !reading.bytes.is_empty() {
            if inflow.is_blocked() {
                session.handle_pause();
                return Turn::Busy;
            }
            let base = reading.bytes.as_ptr().addr();
            let input = with_outbox(peer.as_deref(), *token, |outbox| {
                session.handle_input(now, outbox, &mut reading.bytes)
            });
            let used = input.used;
            match input.received {
                Received::NeedMore => break,
                Received::Absorbed => reading.advance(used),
                // The same bytes are given again, once the answer is there.
                Received::Hint(hint) => return Turn::Hint(hint),
                Received::Offer(offer) => {
                    reading.advance(used);
                    return Turn::Offer(offer);
                }
                Received::Messages(messages) => match peer {
                    Some(peer) => {
                        let mark = messages.mark();
                        let arrivals = inflow.admit(hub, peer, messages, base);
                        let bytes = if arrivals.iter().any(Arrival::is_in_record) {
                            reading.take(used)
                        } else {
                            reading.advance(used);
                            Bytes::new()
                        };
                        inflow.deliver(hub, peer, mark, bytes, arrivals);
                    }
                    // The session is on its way out: it was not let in.
                    None => reading.advance(used),
                },
                Received::Dropped(reason) => {
                    reading.advance(used);
                    tracing::debug!(address = %self.address, reason = reason.name(), "bytes refused: {reason}");
                }
            }
            if !self.is_announced && session.is_up() {
                return Turn::Busy;
            }
        }
        if inflow.is_blocked() {
            session.handle_pause();
        }
        self.has_unparsed = false;
        self.tell_if_drained();
        Turn::Busy
    }

    /// Whoever shuts the node down waits for outboxes that have nothing left to send or to hear of.
    fn tell_if_drained(&self) {
        if let Some(peer) = &self.peer
            && self.hub.is_draining.load(Relaxed)
            && peer.lane().outbox.is_idle()
        {
            self.hub.drained.notify_waiters();
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        let Self { session, peer, token, .. } = self;
        with_outbox(peer.as_deref(), *token, |outbox| session.handle_timeout(now, outbox));
        self.tell_if_drained();
        if self.stalled_since.is_some_and(|since| since.after(self.hub.plan.timeouts.write_stall) <= now) {
            self.stalled_since = None;
            self.end(Reason::Stalled, false);
        }
        if let Some(peer) = &self.peer
            && let Some(report) = self.pulse.poll_report(now, || peer.lane().outbox.counters())
        {
            let command = Command::Report { id: peer.id, token: self.token, report };
            // A control task that is behind hears the same numbers with the next report.
            if self.hub.control.try_send(command).is_err() {
                self.pulse.handle_unsent(&report);
            }
        }
    }

    /// Nothing can move: gives the buffers back and waits until something may.
    async fn rest(&mut self, now: Instant, mut timer: Pin<&mut Sleep>) {
        self.reading.rest(&self.hub.pool);
        self.writing.rest(&self.hub.pool);
        self.due_at = self.poll_timeout(now);
        if let Some(at) = self.due_at {
            let at = self.hub.clock.deadline(at);
            // A timer that fires early costs one turn; setting it anew each time would cost every turn.
            if timer.deadline() > at || timer.is_elapsed() {
                timer.as_mut().reset(at);
            }
        }
        let mut woken = pin!(self.signal.woken());
        let mut ended = pin!(self.hub.control.closed());
        let is_unknown = self.is_unknown();
        let mut has_looked = false;
        // The socket has this task's waker since the turn found it not ready, so a second poll means that something woke it.
        poll_fn(|cx| {
            let is_woken = woken.as_mut().poll(cx).is_ready()
                || timer.as_mut().poll(cx).is_ready()
                || is_unknown && ended.as_mut().poll(cx).is_ready();
            if is_woken || std::mem::replace(&mut has_looked, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Whether the control task does not know of this link, and cannot order it to close.
    fn is_unknown(&self) -> bool {
        self.peer.is_none() && self.closed.is_none()
    }

    /// Whether the node ended before the control task knew of this link.
    fn is_forgotten(&self) -> bool {
        self.is_unknown() && self.hub.control.is_closed()
    }

    fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let Self { session, peer, token, .. } = self;
        let session_at = with_outbox(peer.as_deref(), *token, |outbox| session.poll_timeout(outbox));
        // What is due and waits for the socket to take bytes is not worth a busy loop.
        let session_at = session_at.map(|at| at.max(now.after(SHORTEST_WAIT)));
        let stalled_at = self.stalled_since.map(|since| since.after(self.hub.plan.timeouts.write_stall));
        let report_at = self.peer.as_ref().and(self.pulse.poll_timeout());
        [session_at, stalled_at, report_at, self.abandon_at].into_iter().flatten().min()
    }

    /// Asks whose the hint is. The peer waits meanwhile, and nothing else is due.
    async fn ask_owner(&mut self, hint: Hint) {
        let (reply, owner) = oneshot::channel();
        let owner = match self.hub.control.send(Command::TakeHint { hint, reply }).await {
            Ok(()) => owner.await.unwrap_or(None),
            Err(_) => None,
        };
        self.session.handle_hint(owner);
    }

    /// Asks whether the peer may come in. The peer waits meanwhile, and nothing else is due.
    async fn ask_verdict(&mut self, offer: &Offer) {
        let (reply, verdict) = oneshot::channel();
        let command = Command::Judge { id: offer.id(), dialled: offer.dialled(), reply };
        let verdict = match self.hub.control.send(command).await {
            Ok(()) => verdict.await.unwrap_or(Err(Reason::Shutdown)),
            Err(_) => Err(Reason::Shutdown),
        };
        if let Origin::Accepted { attempt, .. } = &mut self.origin {
            *attempt = None;
        }
        let now = self.hub.clock.now();
        let Self { session, peer, token, .. } = self;
        with_outbox(peer.as_deref(), *token, |outbox| session.handle_verdict(now, outbox, verdict));
    }

    /// Tells the control task of the session, which decides whether it stays.
    async fn announce(&mut self) {
        self.is_announced = true;
        let Some(offer) = self.session.peer().copied() else { return };
        let (reply, standing) = oneshot::channel();
        let command = Command::PeerUp(PeerUp {
            id: offer.id(),
            session: SessionRef {
                token: self.token,
                boot_id: offer.hello().boot_id,
                dialled: offer.dialled(),
                hints: self.session.hints(),
            },
            signal: Arc::clone(&self.signal),
            reply,
        });
        let standing = match self.hub.control.send(command).await {
            Ok(()) => standing.await.unwrap_or(Err(Reason::Shutdown)),
            Err(_) => Err(Reason::Shutdown),
        };
        let now = self.hub.clock.now();
        match standing {
            Ok(peer) => {
                let mut lane = peer.lane();
                if lane.is_owned_by(self.token) {
                    self.session.attach(&mut lane.outbox);
                    peer.cipher.send_replace(Some(offer.cipher()));
                }
                self.pulse.handle_up(now, lane.outbox.counters());
                drop(lane);
                self.peer = Some(peer);
            }
            Err(reason) => self.session.close(now, reason),
        }
    }

    /// The connection broke.
    fn lose(&mut self, error: &io::Error) -> Turn {
        tracing::debug!(address = %self.address, %error, "connection ended");
        let Self { session, peer, token, .. } = self;
        with_outbox(peer.as_deref(), *token, |outbox| session.handle_link_lost(outbox));
        let mut why = self.closed;
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Up(_) if !self.is_announced => self.is_announced = true,
                Event::Closed(closed) => why = Some(closed),
                _ => {}
            }
        }
        Turn::Closed(why.unwrap_or(LINK_LOST))
    }

    /// Ends the session at once, without a word to the peer.
    fn end(&mut self, reason: Reason, by_peer: bool) {
        let Self { session, peer, token, .. } = self;
        with_outbox(peer.as_deref(), *token, |outbox| session.handle_link_lost(outbox));
        while session.poll_event().is_some() {}
        self.closed = Some(Closed { reason, by_peer, detail: 0 });
        self.abandon_at = Some(Instant::ZERO);
    }

    /// Lets go of the peer and tells the control task and the log how the link ended.
    async fn settle(&mut self, why: Closed) {
        let reason = why.reason;
        self.hub.tally.closed.add(reason, 1);
        let told = match (&self.peer, &self.origin) {
            (Some(peer), _) => {
                let report = self.pulse.last_report(release(peer, self.token));
                let report = Command::Report { id: peer.id, token: self.token, report };
                let _ = self.hub.control.send(report).await;
                Some(Command::PeerDown { id: peer.id, token: self.token, reason })
            }
            // A session that was announced and not let in is known to have ended.
            (None, Origin::Dialled(id)) if !self.is_announced => {
                Some(Command::DialFailed { id: *id, reason })
            }
            (None, _) => None,
        };
        if let Some(command) = told {
            // Without a control task nobody needs to know.
            let _ = self.hub.control.send(command).await;
        }
        let expected = match &self.origin {
            Origin::Dialled(id) => Some(*id),
            Origin::Accepted { .. } => self.peer.as_ref().map(|peer| peer.id),
        };
        farewell::write_log(&self.hub, expected, self.address, self.peer.is_some(), why);
    }
}

/// Lets go of the peer's lane, if the link still owns it; gives the outbox's counters.
fn release(peer: &Peer, token: u64) -> outbox::Counters {
    let mut lane = peer.lane();
    if lane.is_owned_by(token) {
        lane.detach(token);
        peer.rtt.send_replace(None);
        peer.cipher.send_replace(None);
    }
    lane.outbox.counters()
}

/// Runs `act` with the outbox of the peer while the link owns it, else with an empty one that is thrown away.
fn with_outbox<R>(peer: Option<&Peer>, token: u64, act: impl FnOnce(&mut Outbox) -> R) -> R {
    if let Some(peer) = peer {
        let mut lane = peer.lane();
        if lane.is_owned_by(token) {
            let result = act(&mut lane.outbox);
            lane.call_waiting();
            return result;
        }
    }
    act(&mut Outbox::new(SharedStorage::with_ledger(0, 0, ReceiptLedger::default())))
}

/// The end of a connection about which the session has nothing better to say.
const LINK_LOST: Closed = Closed { reason: Reason::LinkLost, by_peer: true, detail: 0 };

/// Turns, of at most 256 KiB each, after which other tasks get their turn.
const TURNS: u32 = 4;

/// The shortest wait for something that is due and cannot be done yet.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
