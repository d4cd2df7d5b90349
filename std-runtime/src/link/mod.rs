//! One session on one line, in one task that carries bytes both ways.
//!
//! ```text
//!   turn:  orders, consumed records, events ─▶ read and open ─▶ deliver ─▶ due timers ─▶ seal and write
//!   if neither direction moved:  give the buffers back, wait for line, wake-up or timer
//! ```
//!
//! A turn reads at most one buffer and writes at most one, so neither direction starves the other, and it reads the clock
//! once. It reads before it lets a deadline pass or a failed write end the link: a host that stood still for a while finds
//! bytes that came in time. The outbox is locked once per written buffer and once per received record, never while the task waits.
//! What a link does not do: move bytes (the [`Line`]), judge peers (`control`), choose what is sent next (the outbox), know
//! who subscribes (`inflow`).

mod datagram;
mod kind;
mod stream;

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyphal_core::ids::{Hint, NodeId};
use hyphal_core::node::{NO_CERTIFICATE, SessionRef};
use hyphal_core::outbox::SharedStorage;
use hyphal_core::session::{Closed, Event, Mark, Messages, Offer};
use hyphal_core::time::Instant;
use hyphal_core::trust::Credential;
use hyphal_core::wire::reason::Reason;
use tokio::sync::oneshot;
use tokio::time::Sleep;

use self::datagram::EarlyRecord;
pub(crate) use self::datagram::UdpLine;
#[cfg(unix)]
pub(crate) use self::datagram::{SerialLine, beginning};
pub(crate) use self::kind::{LinkSession, OnDatagrams, OnStream};
pub(crate) use self::stream::StreamLine;
use crate::address::Endpoint;
use crate::buffers::Pool;
use crate::control::{Admitted, Command, PeerUp};
use crate::farewell;
use crate::hub::{Attempt, Hub, Seat};
use crate::inflow::{Contents, Inflow};
use crate::peer::{Outbox, Peer};
use crate::pulse::{Pulse, Settled};
use crate::receipt::ReceiptLedger;
use crate::signal::Signal;

/// A line with a session on it.
pub(crate) struct Link<L: Line> {
    desk: Desk<L::Session>,
    line: L,
}

/// What moves a session's bytes, and keeps those that are under way.
pub(crate) trait Line: Send + 'static {
    /// The session that it is made for.
    type Session: LinkSession;

    /// Takes what was read, or reads more, and hands it to the session; ready if anything moved.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        desk: &mut Desk<Self::Session>,
    ) -> Poll<io::Result<Turn>>;

    /// Has what is due sealed, and writes it; ready with whether anything moved.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        desk: &mut Desk<Self::Session>,
    ) -> Poll<io::Result<bool>>;

    /// Whether everything that was sealed has been written.
    fn is_flushed(&self) -> bool;

    /// Nothing moves for a while: gives the buffers back.
    fn rest(&mut self, pool: &Pool);

    /// Ends the line so that the peer can read what was written last.
    fn close(self, why: Closed) -> impl Future<Output = ()> + Send;
}

/// The session, and everyone whom it concerns: what of a link does not depend on how bytes move.
pub(crate) struct Desk<S> {
    pub(crate) hub: Arc<Hub>,
    /// The other end.
    remote: Endpoint,
    session: Box<S>,
    origin: Origin,
    token: u64,
    signal: Arc<Signal>,
    /// Once the control task has let the session stay.
    peer: Option<Arc<Peer>>,
    /// What the peer's certificate is worth, whoever has signed it, since its offer.
    credential: Result<Credential, Reason>,
    /// Who has proven to be at the other end, before and whether or not it is let in.
    offered: Option<NodeId>,
    /// Whether the session gets the peer's lane as soon as the one that makes way for it has let go.
    awaits_lane: bool,
    /// Whether the control task has been asked.
    is_announced: bool,
    /// Since when the peer has taken no byte of those that wait.
    stalled_since: Option<Instant>,
    inflow: Inflow,
    pulse: Pulse,
    due_at: Option<Instant>,
    /// Turns that have put a due deadline off because they found something to read.
    put_off: u32,
    closed: Option<Closed>,
    /// Why the line takes nothing any more; what came before that is still read.
    broken: Option<io::Error>,
    /// When a closed link stops trying to write its last bytes.
    abandon_at: Option<Instant>,
    /// What came with the peer's proof, until the session is let in.
    early: Option<Box<EarlyRecord>>,
}

/// Who opened the link.
pub(crate) enum Origin {
    /// This node, to reach that peer.
    Dialled(NodeId),
    /// The peer; the places that the link takes up.
    Accepted { _seat: Seat, attempt: Option<Attempt> },
}

/// What a turn leaves to do.
pub(crate) enum Turn {
    /// Something moved: another turn.
    Busy,
    /// A deadline has passed, or the line broke: another turn, after the runtime has looked whether anything came before it.
    Late,
    /// Nothing can move at the moment.
    Idle,
    /// The peer names a hint; whose it is decides how the handshake goes on.
    Hint(Hint),
    /// The peer has proven itself and awaits the verdict.
    Offer(Box<Offer>),
    /// The session is up and must be announced.
    Up,
    Closed(Closed),
}

impl<L: Line> Link<L> {
    pub(crate) fn new(
        hub: Arc<Hub>,
        line: L,
        remote: Endpoint,
        mut session: L::Session,
        origin: Origin,
    ) -> Self {
        if hub.plan.key_log.is_some() {
            session.log_keys();
        }
        let signal = Arc::new(Signal::default());
        let token = hub.next_token();
        let desk = Desk {
            token,
            inflow: Inflow::new(Arc::clone(&signal), token, Arc::clone(&hub.budget)),
            pulse: Pulse::new(hub.plan.session.heartbeat),
            hub,
            remote,
            session: Box::new(session),
            origin,
            signal,
            peer: None,
            credential: NO_CERTIFICATE,
            offered: None,
            awaits_lane: false,
            is_announced: false,
            stalled_since: None,
            due_at: None,
            put_off: 0,
            closed: None,
            broken: None,
            abandon_at: None,
            early: None,
        };
        Self { desk, line }
    }

    /// Runs the link until it has ended and everyone concerned knows.
    pub(crate) async fn run(mut self) {
        let why = self.serve().await;
        self.desk.settle(why).await;
        // An unfinished handshake is left without a word that the peer should have time to read.
        if self.desk.is_announced || why.reason != Reason::Shutdown {
            self.line.close(why).await;
        }
    }

    async fn serve(&mut self) -> Closed {
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        let mut turns = 0_u32;
        loop {
            let now = self.desk.hub.clock.now();
            match poll_fn(|cx| Poll::Ready(self.turn(cx, now))).await {
                Turn::Busy => {
                    turns += 1;
                    if turns.is_multiple_of(TURNS) {
                        self.desk.due_at = self.desk.poll_timeout(now);
                        tokio::task::yield_now().await;
                    }
                }
                Turn::Late => tokio::task::yield_now().await,
                Turn::Idle => self.rest(now, timer.as_mut()).await,
                Turn::Hint(hint) => self.desk.ask_owner(hint).await,
                Turn::Offer(offer) => self.desk.ask_verdict(&offer).await,
                Turn::Up => self.desk.announce().await,
                Turn::Closed(why) => return why,
            }
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>, now: Instant) -> Turn {
        let Self { desk, line } = self;
        desk.take_orders(now);
        if desk.poll_events(now) {
            return Turn::Up;
        }
        if let Some(why) = desk.closed
            && (line.is_flushed() || desk.broken.is_some() || desk.abandon_at.is_some_and(|at| at <= now))
        {
            return Turn::Closed(why);
        }

        let mut has_moved = false;
        if desk.closed.is_none() {
            match line.poll_read(cx, now, desk) {
                Poll::Ready(Ok(Turn::Busy)) => has_moved = true,
                Poll::Ready(Ok(turn)) => return turn,
                Poll::Ready(Err(error)) => return desk.lose(&error),
                Poll::Pending => {}
            }
        }
        if desk.due_at.is_some_and(|at| at <= now) {
            // What a deadline waits for may be among the bytes that wait to be read. The runtime may not have looked at the
            // line since they came, so it gets the opportunity once, even if there seems to be nothing.
            match desk.put_off {
                0 if !has_moved => {
                    desk.put_off = 1;
                    return Turn::Late;
                }
                MOST_PUT_OFF.. => desk.handle_timeout(now),
                _ if has_moved => desk.put_off += 1,
                _ => desk.handle_timeout(now),
            }
            has_moved = true;
        }
        if desk.broken.is_some() && has_moved {
            return Turn::Busy;
        }
        if let Some(error) = desk.broken.take() {
            return desk.lose(&error);
        }
        match line.poll_write(cx, now, desk) {
            Poll::Ready(Ok(moved)) => has_moved |= moved,
            Poll::Ready(Err(error)) if desk.closed.is_some() => return desk.lose(&error),
            Poll::Ready(Err(error)) => {
                // The peer may have said why before it left, and the runtime may not have looked at the line since.
                desk.broken = Some(error);
                return Turn::Late;
            }
            Poll::Pending => {}
        }
        // A peer's key that is none shows when its answer is written, and ends the session there.
        if has_moved || desk.closed.is_none() && desk.session.is_closed() { Turn::Busy } else { Turn::Idle }
    }

    /// Nothing can move: gives the buffers back and waits until something may.
    async fn rest(&mut self, now: Instant, mut timer: Pin<&mut Sleep>) {
        let Self { desk, line } = self;
        line.rest(&desk.hub.pool);
        desk.due_at = desk.poll_timeout(now);
        if let Some(at) = desk.due_at {
            let at = desk.hub.clock.deadline(at);
            // A timer that fires early costs one turn; setting it anew each time would cost every turn.
            if timer.deadline() > at || timer.is_elapsed() {
                timer.as_mut().reset(at);
            }
        }
        let mut woken = pin!(desk.signal.woken());
        let mut ended = pin!(desk.hub.control.closed());
        let is_unknown = desk.is_unknown();
        let mut has_looked = false;
        // The line has this task's waker since the turn found it not ready, so a second poll means that something woke it.
        poll_fn(|cx| {
            let is_woken = woken.as_mut().poll(cx).is_ready()
                || timer.as_mut().poll(cx).is_ready()
                || is_unknown && ended.as_mut().poll(cx).is_ready();
            if is_woken || std::mem::replace(&mut has_looked, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl<S: LinkSession> Desk<S> {
    /// Does what the application and the control task want.
    fn take_orders(&mut self, now: Instant) {
        // Before a close, which carries the last acknowledgement.
        if let Some(mark) = self.inflow.poll_consumed() {
            self.session.handle_consumed(now, mark);
        }
        self.session.handle_released(self.signal.released());
        if let Some(reason) = self.signal.take_close() {
            self.with_outbox(|session, outbox| session.close(now, outbox, reason));
        }
        if self.is_forgotten() {
            self.with_outbox(|session, outbox| session.close(now, outbox, Reason::Shutdown));
        }
        if self.signal.take_retire() {
            self.with_outbox(|session, outbox| session.retire(now, outbox, Reason::Replaced));
        }
        if self.awaits_lane {
            self.take_lane();
        }
        if let Some(peer) = &self.peer
            && let Some(lanes) = &peer.lanes
            && !self.awaits_lane
        {
            lanes.feed(&self.hub, peer, self.token, now);
        }
        if self.signal.take_ping() {
            self.session.handle_ping_request();
        }
        if self.inflow.is_waiting()
            && let Some(peer) = &self.peer
        {
            self.inflow.retry(&self.hub, peer, now);
        }
    }

    /// Takes note of what happened in the session; says whether it came up and must be announced.
    fn poll_events(&mut self, now: Instant) -> bool {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Up(_) => return true,
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
        false
    }

    /// Writes the keys down, if the user wants them and they are new.
    fn log_keys(&mut self) {
        if let Some(key_log) = &self.hub.plan.key_log
            && let Some(keys) = self.session.poll_keys()
            && let Err(error) = key_log.write(&keys)
        {
            tracing::warn!(%error, "cannot write the key log");
        }
    }

    /// Bytes were read from the line.
    fn count_received(&self, len: usize) {
        self.hub.tally.traffic.bytes_received.fetch_add(len as u64, Relaxed);
        if let Some(peer) = &self.peer {
            peer.tally.bytes_received.fetch_add(len as u64, Relaxed);
        }
    }

    /// The line took bytes.
    fn count_sent(&mut self, len: usize) {
        self.stalled_since = None;
        self.hub.tally.traffic.bytes_sent.fetch_add(len as u64, Relaxed);
        if let Some(peer) = &self.peer {
            peer.tally.bytes_sent.fetch_add(len as u64, Relaxed);
        }
    }

    /// The line takes no bytes at the moment.
    fn handle_full_line(&mut self, now: Instant) {
        self.stalled_since.get_or_insert(now);
    }

    /// Admits the messages of a record, whose bytes begin at `base`; `None` if nobody is to have them.
    fn admit(&mut self, messages: Messages<'_>, base: usize) -> Option<(Mark, Contents)> {
        // Without a peer the session is on its way out: it was not let in.
        let peer = self.peer.as_ref()?;
        let mark = messages.mark();
        Some((mark, self.inflow.admit(&self.hub, peer, messages, base)))
    }

    /// Delivers what came before the session was let in.
    fn deliver_early(&mut self, now: Instant) {
        let (Some(early), Some(peer)) = (self.early.take(), &self.peer) else { return };
        let EarlyRecord { mark, messages, bytes } = *early;
        let messages = messages.iter().map(|early| early.message(&bytes));
        let contents = self.inflow.admit(&self.hub, peer, messages, bytes.as_ptr().addr());
        self.inflow.deliver(&self.hub, peer, now, mark, bytes, contents);
    }

    /// Hands the admitted messages of a record to all who want them.
    fn deliver(&mut self, now: Instant, mark: Mark, bytes: Bytes, contents: Contents) {
        if let Some(peer) = &self.peer {
            self.inflow.deliver(&self.hub, peer, now, mark, bytes, contents);
        }
    }

    /// Bytes were refused; the session does what follows from it.
    fn tell_refused(&self, reason: Reason) {
        tracing::debug!(address = %self.remote, reason = reason.name(), "bytes refused: {reason}");
    }

    /// Whether the session is up and the control task does not know yet.
    fn is_news(&self) -> bool {
        !self.is_announced && self.session.is_up()
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
        self.put_off = 0;
        self.with_outbox(|session, outbox| session.handle_timeout(now, outbox));
        self.tell_if_drained();
        if let Some(peer) = &self.peer {
            self.inflow.handle_timeout(&self.hub, peer, now);
        }
        if self.stalled_since.is_some_and(|since| since.after(self.hub.plan.timeouts.write_stall) <= now) {
            self.stalled_since = None;
            self.end(Reason::Stalled, false);
        }
        if let Some(peer) = &self.peer
            && let Some(report) = self.pulse.poll_report(now, || settled(peer, self.token))
        {
            let command = Command::Report { id: peer.id, token: self.token, report };
            // A control task that is behind hears the same numbers with the next report.
            if self.hub.control.try_send(command).is_err() {
                self.pulse.handle_unsent(&report);
            }
        }
        self.due_at = self.poll_timeout(now);
    }

    /// Whether the control task does not know of this link, and cannot order it to close.
    fn is_unknown(&self) -> bool {
        self.peer.is_none() && self.closed.is_none()
    }

    /// Whether the node ended before the control task knew of this link.
    fn is_forgotten(&self) -> bool {
        self.is_unknown() && self.hub.control.is_closed()
    }

    fn poll_timeout(&mut self, now: Instant) -> Option<Instant> {
        let session_at = self.with_outbox(|session, outbox| session.poll_timeout(outbox));
        // What is due and waits for the line to take bytes is not worth a busy loop.
        let session_at = session_at.map(|at| at.max(now.after(SHORTEST_WAIT)));
        let stalled_at = self.stalled_since.map(|since| since.after(self.hub.plan.timeouts.write_stall));
        let report_at = self.peer.as_ref().and(self.pulse.poll_timeout());
        let inflow_at = self.inflow.poll_timeout();
        [session_at, stalled_at, report_at, inflow_at, self.abandon_at].into_iter().flatten().min()
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
        self.credential = offer.credential(self.hub.plan.session.network);
        let (id, dialled, credential) = (offer.id(), offer.dialled(), self.credential);
        self.offered = Some(id);
        let command = Command::Judge { id, dialled, credential, reply };
        let verdict = match self.hub.control.send(command).await {
            Ok(()) => verdict.await.unwrap_or(Err(Reason::Shutdown)),
            Err(_) => Err(Reason::Shutdown),
        };
        if let Origin::Accepted { attempt, .. } = &mut self.origin {
            *attempt = None;
        }
        let now = self.hub.clock.now();
        self.with_outbox(|session, outbox| session.handle_verdict(now, outbox, verdict));
        self.log_keys();
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
                credential: self.credential,
                certified_until: None,
            },
            terms: *offer.terms(),
            key: (*offer.key(), offer.delegated_until()),
            signal: Arc::clone(&self.signal),
            reply,
        });
        let standing = match self.hub.control.send(command).await {
            Ok(()) => standing.await.unwrap_or(Err(Reason::Shutdown)),
            Err(_) => Err(Reason::Shutdown),
        };
        let now = self.hub.clock.now();
        match standing {
            Ok(Admitted { peer, is_retired }) => {
                self.pulse.handle_up(now, offer.terms().heartbeat);
                self.peer = Some(peer);
                self.awaits_lane = !is_retired;
                if is_retired {
                    self.with_outbox(|session, outbox| session.retire(now, outbox, Reason::Replaced));
                }
                self.deliver_early(now);
            }
            Err(reason) => self.with_outbox(|session, outbox| session.close(now, outbox, reason)),
        }
    }

    /// Starts the peer's outbox for the session, if it is this link's by now.
    fn take_lane(&mut self) {
        let Some((peer, offer)) = self.peer.as_ref().zip(self.session.peer()) else { return };
        let mut lane = peer.lane();
        if lane.is_owned_by(self.token) {
            lane.handle_methods(offer.hello().methods(), &self.hub.codec);
            self.session.attach(&mut lane.outbox);
            peer.cipher.send_replace(Some(offer.cipher()));
            self.awaits_lane = false;
            drop(lane);
            if let Some(lanes) = &peer.lanes {
                lanes.handle_session_start(self.token, &self.signal, offer.hello().keeps_guaranteed());
            }
        }
    }

    /// The line broke.
    fn lose(&mut self, error: &io::Error) -> Turn {
        tracing::debug!(address = %self.remote, %error, "connection ended");
        self.with_outbox(|session, outbox| session.handle_link_lost(outbox));
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
        self.with_outbox(|session, outbox| session.handle_link_lost(outbox));
        while self.session.poll_event().is_some() {}
        self.closed = Some(Closed { reason, by_peer, detail: 0 });
        self.abandon_at = Some(Instant::ZERO);
    }

    /// Lets go of the peer and tells the control task and the log how the link ended.
    async fn settle(&mut self, why: Closed) {
        let reason = why.reason;
        // The line may linger, and what was held for it is wanted elsewhere.
        if let Some(peer) = &self.peer
            && self.inflow.close(&self.hub, peer)
        {
            let new = Inflow::new(Arc::clone(&self.signal), self.token, Arc::clone(&self.hub.budget));
            let left = std::mem::replace(&mut self.inflow, new);
            self.hub.spawn(left.hand_over(Arc::clone(&self.hub), Arc::clone(peer)));
        }
        if self.peer.is_none() {
            self.hub.tally.failed.add(reason, 1);
        }
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
                // What the detail says depends on the reason: of Busy it is a wait in milliseconds.
                let millis = if reason == Reason::Busy { why.detail } else { 0 };
                Some(Command::DialFailed { id: *id, reason, least_wait: Duration::from_millis(millis) })
            }
            (None, _) => None,
        };
        if let Some(command) = told {
            // Without a control task nobody needs to know.
            let _ = self.hub.control.send(command).await;
        }
        let expected = match &self.origin {
            Origin::Dialled(id) => Some(*id),
            Origin::Accepted { .. } => self.offered,
        };
        farewell::write_log(&self.hub, expected, &self.remote, self.peer.is_some(), why);
    }

    /// Runs `act` with the session and the outbox of the peer, while the link owns it, else with an empty outbox that is
    /// thrown away. An outbox that became the link's a moment ago belongs to the session only once that has started it.
    fn with_outbox<R>(&mut self, act: impl FnOnce(&mut S, &mut Outbox) -> R) -> R {
        if let Some(peer) = &self.peer {
            let mut lane = peer.lane();
            if lane.is_owned_by(self.token) && !self.awaits_lane {
                let result = act(&mut self.session, &mut lane.outbox);
                lane.call_waiting();
                return result;
            }
        }
        let mut nobodys = Outbox::new(SharedStorage::with_ledger(0, 0, ReceiptLedger::default()));
        act(&mut self.session, &mut nobodys)
    }
}

/// Lets go of the peer's lane, if the link still owns it; gives what its outbox settled last.
fn release(peer: &Peer, token: u64) -> Settled {
    let mut lane = peer.lane();
    let was_owner = lane.is_owned_by(token);
    lane.detach(token);
    let settled = if was_owner {
        if !lane.is_attached() {
            peer.rtt.send_replace(None);
            peer.cipher.send_replace(None);
        }
        lane.take_settled()
    } else {
        Settled::default()
    };
    drop(lane);
    if let Some(lanes) = &peer.lanes {
        lanes.handle_session_end(token);
    }
    settled
}

/// What the outbox settled since it was reported last, if that is this link's business.
fn settled(peer: &Peer, token: u64) -> Settled {
    let mut lane = peer.lane();
    if lane.is_owned_by(token) { lane.take_settled() } else { Settled::default() }
}

/// The end of a connection about which the session has nothing better to say.
const LINK_LOST: Closed = Closed { reason: Reason::LinkLost, by_peer: true, detail: 0 };

/// Turns, of at most 256 KiB each, after which other tasks get their turn.
const TURNS: u32 = 4;

/// Turns in a row that may find something to read before a deadline passes: enough for the longest record.
const MOST_PUT_OFF: u32 = 16;

/// The shortest wait for something that is due and cannot be done yet.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
