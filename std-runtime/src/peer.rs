//! What the senders, the link and the control task share of one peer: its outbox, and the line of those who wait for room.
//!
//! One short lock, taken once per batch, never held while anyone waits, or is called: a waker may do anything. Senders that wait
//! are served in the order in which they came. Invariant: at most one link owns the lane; a link that lost it must not touch the outbox any more.

use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyphal_core::aead::Cipher;
use hyphal_core::filter;
use hyphal_core::full::SeenIds;
use hyphal_core::identity;
use hyphal_core::ids::{NodeId, Reliability};
use hyphal_core::outbox::{self, SharedStorage, Ticket};
use hyphal_core::profile::{Compression, Terms};
use hyphal_core::time::UnixTime;
use hyphal_core::wire::reason::Reason;
use hyphal_core::wire::revocation::REVOCATIONS;
use tokio::sync::watch;

use crate::compression::{Codec, Methods, Taker};
use crate::counters::{ByReliability, Fates, Sent, Tally};
use crate::error::SendError;
use crate::guaranteed::{HandingOut, Lanes};
use crate::locked::{Awaited, Locked, News};
use crate::message::Overflow;
use crate::pulse::Settled;
use crate::receipt::ReceiptLedger;
use crate::signal::Signal;

pub(crate) type Outbox = outbox::Outbox<SharedStorage<ReceiptLedger>>;

/// One peer of this node.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) tally: Tally,
    /// The round trip time measured last; `None` without a session.
    pub(crate) rtt: watch::Sender<Option<Duration>>,
    /// What seals the records of its session; `None` without one.
    pub(crate) cipher: watch::Sender<Option<Cipher>>,
    /// What is sealed to it and by it, once that was needed or a session has shown it; and until when, if it is delegated.
    static_key: Mutex<Option<([u8; 32], Option<UnixTime>)>>,
    /// Its lanes of Guaranteed messages, if this node keeps any.
    pub(crate) lanes: Option<Arc<Lanes>>,
    /// Its ended sessions whose messages wait for room in queues.
    pub(crate) leftovers: AtomicUsize,
    lane: Mutex<Lane>,
    arrivals: Mutex<Arrivals>,
}

impl Peer {
    pub(crate) fn new(id: NodeId, max_messages: usize, max_bytes: usize) -> Self {
        let storage = SharedStorage::with_ledger(max_messages, max_bytes, ReceiptLedger::default());
        let lane = Lane {
            outbox: Outbox::new(storage),
            line: Line::default(),
            owner: None,
            heir: None,
            reported: Settled::default(),
            is_known: false,
            closed: None,
            takes: Methods::ALL,
            terms: None,
            low_messages: max_messages / 2,
            low_bytes: max_bytes / 2,
        };
        Self {
            id,
            tally: Tally::default(),
            rtt: watch::Sender::new(None),
            cipher: watch::Sender::new(None),
            static_key: Mutex::default(),
            lanes: None,
            leftovers: AtomicUsize::new(0),
            lane: Mutex::new(lane),
            arrivals: Mutex::default(),
        }
    }

    /// The key that the peer seals with: that of the last session, which may be a delegated one, or else the id's own; `None`
    /// if its id is none that a node can have.
    pub(crate) fn static_key(&self) -> Option<[u8; 32]> {
        let mut known = self.static_key.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = identity::static_of_id(&self.id).ok().map(|key| (key, None));
        }
        known.map(|(key, _)| key)
    }

    /// The key that messages to the peer are sealed to: the same, unless it is a delegated one that has ended. Whoever stole
    /// that would read what is sealed to it later, too.
    pub(crate) fn sealing_key(&self, now: UnixTime) -> Option<[u8; 32]> {
        let known = *self.static_key.lock().unwrap_or_else(PoisonError::into_inner);
        match known {
            Some((_, Some(until))) if until <= now => identity::static_of_id(&self.id).ok(),
            _ => self.static_key(),
        }
    }

    /// A session has proven which key stands for the peer: its own, or one that is delegated until then.
    pub(crate) fn handle_proven_key(&self, key: [u8; 32], until: Option<UnixTime>) {
        *self.static_key.lock().unwrap_or_else(PoisonError::into_inner) = Some((key, until));
    }

    pub(crate) fn lane(&self) -> Locked<'_, Lane> {
        Locked::new(&self.lane)
    }

    /// Which messages of this peer were seen; only its link asks.
    pub(crate) fn arrivals(&self) -> MutexGuard<'_, Arrivals> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A link begins to give messages of the peer to applications.
    pub(crate) fn hand_out(&self) -> Option<HandingOut<'_>> {
        self.lanes.as_deref().map(Lanes::hand_out)
    }

    /// What became of the messages sent to the peer, by their reliability.
    pub(crate) fn fates(&self) -> ByReliability {
        let mut fates = self.lane().fates();
        if let Some(lanes) = &self.lanes {
            fates.guaranteed = lanes.fates();
        }
        fates
    }

    /// What became of the messages sent to the peer.
    pub(crate) fn sent(&self) -> Sent {
        let mut sent = self.lane().sent();
        if let Some(lanes) = &self.lanes {
            sent.add(&lanes.sent());
        }
        sent
    }
}

/// The receive filters of a peer: direct messages and broadcasts are numbered in different orders.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    pub(crate) direct: filter::Filter,
    pub(crate) broadcast: filter::Filter,
    envelopes: Option<Box<SeenIds<SEEN>>>,
}

impl Arrivals {
    /// The filter of broadcasts or of direct messages.
    pub(crate) fn of(&mut self, broadcast: bool) -> &mut filter::Filter {
        if broadcast { &mut self.broadcast } else { &mut self.direct }
    }

    /// The envelopes that came last.
    pub(crate) fn envelopes(&mut self) -> &mut SeenIds<SEEN> {
        self.envelopes.get_or_insert_default()
    }
}

/// Envelopes of one peer whose ids are remembered (protocol section 16).
const SEEN: usize = 1024;

/// The way out to a peer.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) outbox: Outbox,
    line: Line,
    owner: Option<Owner>,
    /// The link that takes over when the owner, whose session makes way for it, lets go.
    heir: Option<Owner>,
    /// What was reported of the outbox's counters, by whichever link.
    reported: Settled,
    /// Whether the user has added the peer, or it is a stranger that connected.
    is_known: bool,
    /// Why nothing is accepted any more.
    closed: Option<SendError>,
    /// How the peer of this session, or of the last, takes messages compressed; one that was never here, as it will.
    takes: Methods,
    /// What this session, or the last, runs by.
    terms: Option<Terms>,
    low_messages: usize,
    low_bytes: usize,
}

impl Awaited for Lane {
    #[inline]
    fn take_news(&mut self) -> News {
        let Self { outbox, line, .. } = self;
        News { called: std::mem::take(&mut line.called), outcomes: outbox.ledger().take_outcomes() }
    }
}

/// The link that empties the outbox.
#[derive(Debug)]
struct Owner {
    token: u64,
    signal: Arc<Signal>,
}

impl Lane {
    /// Runs `push` if it is this sender's turn, or does with the sender what `overflow` says: puts it in line to be woken
    /// when its turn may be, sends it away, or lets it go first, as it makes room for itself.
    pub(crate) fn poll_push<T>(
        &mut self,
        cx: &Context<'_>,
        place: &mut Option<u64>,
        overflow: Overflow,
        push: impl FnOnce(&mut Self) -> Result<T, SendError>,
    ) -> Poll<Result<T, SendError>> {
        if let Some(error) = self.closed {
            self.line.leave(place);
            return Poll::Ready(Err(error));
        }
        if overflow != Overflow::Wait {
            let is_turn = overflow == Overflow::Shed || self.line.is_turn_of(*place);
            let result = if is_turn { push(self) } else { Err(SendError::QueueFull) };
            self.line.leave(place);
            return Poll::Ready(result);
        }
        if self.line.is_turn_of(*place) {
            match push(self) {
                Err(SendError::QueueFull) => {}
                result => {
                    self.line.leave(place);
                    return Poll::Ready(result);
                }
            }
        }
        self.line.wait(place, cx.waker());
        Poll::Pending
    }

    /// The same for a sender that waits only while a session is up: without one it takes what it can get at once.
    pub(crate) fn poll_push_attached<T>(
        &mut self,
        cx: &Context<'_>,
        place: &mut Option<u64>,
        push: impl FnOnce(&mut Self) -> Result<T, SendError>,
    ) -> Poll<Result<T, SendError>> {
        let polled = self.poll_push(cx, place, Overflow::Wait, push);
        if polled.is_pending() && !self.is_attached() {
            self.line.leave(place);
            return Poll::Ready(Err(SendError::QueueFull));
        }
        polled
    }

    /// Runs `push` at once, unless nothing is accepted or others wait.
    pub(crate) fn try_push<T>(
        &mut self,
        push: impl FnOnce(&mut Self) -> Result<T, SendError>,
    ) -> Result<T, SendError> {
        match self.closed {
            Some(error) => Err(error),
            None if !self.line.is_turn_of(None) => Err(SendError::QueueFull),
            None => push(self),
        }
    }

    /// Runs `push` at once, unless nothing is accepted: for a sender that makes room for itself.
    pub(crate) fn push_first<T>(
        &mut self,
        push: impl FnOnce(&mut Self) -> Result<T, SendError>,
    ) -> Result<T, SendError> {
        match self.closed {
            Some(error) => Err(error),
            None => push(self),
        }
    }

    /// Keeps a place in line for a sender that will wait.
    pub(crate) fn reserve_place(&mut self) -> Option<u64> {
        let mut place = None;
        self.line.wait(&mut place, Waker::noop());
        place
    }

    /// A sender goes away without having had its turn.
    pub(crate) fn leave_line(&mut self, mut place: Option<u64>) {
        self.line.leave(&mut place);
    }

    /// Calls the sender whose turn it is, if there is room again: as soon as it is worth it where a link makes more and more of
    /// it, else whenever there may be some.
    pub(crate) fn call_waiting(&mut self) {
        if !self.line.is_empty() && (!self.is_attached() || self.has_much_room()) {
            self.line.call();
        }
    }

    fn has_much_room(&self) -> bool {
        self.outbox.queued() <= self.low_messages
            && self.outbox.queued_bytes() <= self.low_bytes
            // What is retained takes room, too, and there may be much of it at all times: an eighth of all must be free.
            && self.outbox.held() <= self.low_messages * SharedStorage::<()>::HELD * 7 / 4
            && self.outbox.held_bytes() <= self.low_bytes / 4 * 7
    }

    /// Wakes the link, if there is one; says whether.
    pub(crate) fn wake_link(&self) -> bool {
        self.owner.as_ref().map(|owner| owner.signal.wake()).is_some()
    }

    /// Whether a session is up.
    pub(crate) fn is_attached(&self) -> bool {
        self.owner.is_some()
    }

    /// Whether anything is accepted.
    pub(crate) fn check_open(&self) -> Result<(), SendError> {
        self.closed.map_or(Ok(()), Err)
    }

    /// The user has added the peer.
    pub(crate) fn handle_added(&mut self) {
        self.is_known = true;
    }

    /// Whether broadcasts are meant for the peer: strangers, of whom there may be many, get them only while they are here.
    pub(crate) fn takes_broadcasts(&self) -> bool {
        self.is_known || self.is_attached()
    }

    /// The link whose session stays.
    pub(crate) fn signal(&self) -> Option<&Arc<Signal>> {
        self.heir.as_ref().or(self.owner.as_ref()).map(|link| &link.signal)
    }

    /// Whether the link of this token owns the lane.
    pub(crate) fn is_owned_by(&self, token: u64) -> bool {
        self.owner.as_ref().is_some_and(|owner| owner.token == token)
    }

    /// Hands the lane to a link whose session stays; what an older session left in flight becomes unconfirmed.
    pub(crate) fn hand_to(&mut self, token: u64, signal: Arc<Signal>) {
        self.end_session();
        self.owner = Some(Owner { token, signal });
        self.heir = None;
    }

    /// The session of the owner ended.
    pub(crate) fn end_session(&mut self) {
        self.outbox.handle_session_end();
    }

    /// The peer says how it takes messages compressed. What is queued otherwise is decompressed: it left from here so,
    /// and its original counts in the queue, so that there is room for it.
    pub(crate) fn handle_methods(&mut self, takes: Methods, codec: &Codec) {
        self.takes = takes;
        self.outbox.unpack(takes, |compressed, packed| codec.unpack(compressed, packed).ok());
    }

    /// The profile of the pair is known from here on.
    pub(crate) fn handle_terms(&mut self, terms: Terms) {
        self.terms = Some(terms);
    }

    /// What this session, or the last one, runs by.
    pub(crate) fn terms(&self) -> Option<&Terms> {
        self.terms.as_ref()
    }

    /// How reliable a message to the peer is, if its sender wants `wanted`: where he does not say, as the profile of the pair
    /// does, and before that is known as High.
    #[inline]
    pub(crate) fn reliability(&self, wanted: Option<Reliability>) -> Reliability {
        wanted.unwrap_or_else(|| self.terms.as_ref().map_or(Reliability::High, |terms| terms.reliability))
    }

    /// How messages are compressed for the peer, as far as is known.
    pub(crate) fn taker(&self) -> Taker {
        let wants = self.terms.map_or(Compression::Medium, |terms| terms.compression);
        Taker { methods: self.takes, wants }
    }

    /// The same, but an owner whose session makes way keeps the lane until it has heard of all that it has in flight.
    pub(crate) fn bequeath_to(&mut self, token: u64, signal: Arc<Signal>) {
        if self.owner.is_some() {
            self.heir = Some(Owner { token, signal });
        } else {
            self.hand_to(token, signal);
        }
    }

    /// The link's session ended. An heir takes the lane and is told.
    pub(crate) fn detach(&mut self, token: u64) {
        self.heir.take_if(|heir| heir.token == token);
        if self.is_owned_by(token) {
            self.end_session();
            self.owner = self.heir.take();
            if let Some(heir) = &self.owner {
                heir.signal.wake();
                return;
            }
            if !self.is_known {
                self.outbox.clear_broadcasts(Reason::PeerGone);
            }
            // A session begins with the newest lists: these would come twice, and a shutdown would wait for them.
            self.outbox.clear_type(REVOCATIONS, Reason::Cancelled);
            // Not all of those in line wait for an absent peer.
            self.line.call_all();
        }
    }

    /// Drops a message that has not left as a whole; says whether it was there. Its first parts may have left.
    pub(crate) fn cancel(&mut self, ticket: Ticket) -> bool {
        let is_cancelled = self.outbox.cancel(ticket);
        if is_cancelled {
            // Whether or not the link makes more room.
            self.line.call();
            self.wake_link();
        }
        is_cancelled
    }

    /// Accepts nothing more; whoever waits hears `error`.
    pub(crate) fn close(&mut self, error: SendError) {
        self.closed = Some(error);
        self.line.call_all();
    }

    /// The peer was removed: drops what is queued and lets go of the link.
    pub(crate) fn abandon(&mut self, reason: Reason) {
        self.close(SendError::UnknownPeer);
        self.owner = None;
        self.heir = None;
        // What was in flight and would be written again goes, too.
        self.end_session();
        self.outbox.clear(reason);
    }

    /// What the outbox settled since this was asked last.
    pub(crate) fn take_settled(&mut self) -> Settled {
        let outbox::Counters { confirmed, unconfirmed, .. } = self.outbox.counters();
        let before = std::mem::replace(&mut self.reported, Settled { confirmed, unconfirmed });
        Settled { confirmed: confirmed - before.confirmed, unconfirmed: unconfirmed - before.unconfirmed }
    }

    /// What became of the messages, but for guests.
    pub(crate) fn fates(&mut self) -> ByReliability {
        let (all, best_effort) = (self.outbox.counters(), self.outbox.best_effort_counters());
        let settled = self.count_guests();
        let guests = &self.outbox.ledger().guests;
        let dropped = drops(&all).into_iter().zip(drops(&best_effort));
        let high =
            dropped.map(|((reason, all), (_, others))| (reason, all - others - guests.dropped(reason)));
        ByReliability {
            high: Fates {
                sent: all.pushed - best_effort.pushed - all.withdrawn - settled.sent,
                confirmed: all.confirmed - best_effort.confirmed - settled.confirmed,
                unconfirmed: all.unconfirmed - best_effort.unconfirmed - settled.unconfirmed,
                dropped: high.filter(|&(_, count)| count != 0).collect(),
                requeued: all.requeued,
                ..Fates::default()
            },
            best_effort: Fates {
                sent: best_effort.pushed,
                confirmed: best_effort.confirmed,
                unconfirmed: best_effort.unconfirmed,
                dropped: drops(&best_effort).into_iter().filter(|&(_, count)| count != 0).collect(),
                ..Fates::default()
            },
            ..ByReliability::default()
        }
    }

    /// What the outbox counts of guests: they wait elsewhere, and are counted there.
    fn count_guests(&mut self) -> Sent {
        let staying = std::mem::take(&mut self.outbox.ledger().guests);
        let guests = staying.count(|ticket| self.outbox.written(ticket) == u32::MAX);
        self.outbox.ledger().guests = staying;
        guests
    }

    pub(crate) fn sent(&mut self) -> Sent {
        let (counters, guests) = (self.outbox.counters(), self.count_guests());
        Sent {
            sent: counters.pushed - counters.withdrawn - guests.sent,
            confirmed: counters.confirmed - guests.confirmed,
            expired: counters.expired - guests.expired,
            dropped: counters.dropped() - counters.expired - guests.dropped,
            unconfirmed: counters.unconfirmed - guests.unconfirmed,
            queued: self.outbox.queued() as u64 - guests.queued,
            in_flight: self.outbox.in_flight() - guests.in_flight,
            ..Sent::default()
        }
    }
}

/// What an outbox gave up, in the order of the reasons.
fn drops(counters: &outbox::Counters) -> [(Reason, u64); 6] {
    // By field, so that another one is not forgotten here.
    let outbox::Counters {
        pushed: _,
        written: _,
        confirmed: _,
        unconfirmed: _,
        requeued: _,
        withdrawn: _,
        expired,
        peer_limit,
        peer_gone,
        cancelled,
        shed,
        cleared,
    } = *counters;
    [
        // The runtime clears an outbox for nothing else.
        (Reason::Shutdown, cleared),
        (Reason::Expired, expired),
        (Reason::Shed, shed),
        (Reason::PeerGone, peer_gone),
        (Reason::PeerLimit, peer_limit),
        (Reason::Cancelled, cancelled),
    ]
}

/// Senders that wait for room, in the order in which they came.
#[derive(Debug, Default)]
struct Line {
    next: u64,
    waiting: VecDeque<(u64, Waker)>,
    /// Those that are called when the lane is unlocked.
    called: Vec<Waker>,
}

impl Line {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether nobody else comes first.
    fn is_turn_of(&self, place: Option<u64>) -> bool {
        self.waiting.front().is_none_or(|(first, _)| place == Some(*first))
    }

    /// Takes a place at the end, or keeps the one that the sender has.
    fn wait(&mut self, place: &mut Option<u64>, waker: &Waker) {
        match place.and_then(|place| self.find(place)) {
            Some(at) => self.waiting[at].1.clone_from(waker),
            None => {
                *place = Some(self.next);
                self.waiting.push_back((self.next, waker.clone()));
                self.next += 1;
            }
        }
    }

    /// Gives the place up and calls whoever is first then.
    fn leave(&mut self, place: &mut Option<u64>) {
        if let Some(at) = place.take().and_then(|place| self.find(place)) {
            self.waiting.remove(at);
            self.call();
        }
    }

    fn call(&mut self) {
        self.called.extend(self.waiting.front().map(|(_, waker)| waker.clone()));
    }

    fn call_all(&mut self) {
        self.called.extend(self.waiting.iter().map(|(_, waker)| waker.clone()));
    }

    fn find(&self, place: u64) -> Option<usize> {
        self.waiting.binary_search_by_key(&place, |(place, _)| *place).ok()
    }
}

/// A sender's place in line, given up when the sender goes away.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) peer: Arc<Peer>,
    pub(crate) number: Option<u64>,
}

impl Place {
    pub(crate) fn new(peer: Arc<Peer>) -> Self {
        Self { peer, number: None }
    }

    /// See [`Lane::poll_push`].
    pub(crate) fn poll_push<T>(
        &mut self,
        cx: &Context<'_>,
        overflow: Overflow,
        push: impl FnOnce(&mut Lane) -> Result<T, SendError>,
    ) -> Poll<Result<T, SendError>> {
        self.peer.lane().poll_push(cx, &mut self.number, overflow, push)
    }

    /// See [`Lane::poll_push_attached`].
    pub(crate) fn poll_push_attached<T>(
        &mut self,
        cx: &Context<'_>,
        push: impl FnOnce(&mut Lane) -> Result<T, SendError>,
    ) -> Poll<Result<T, SendError>> {
        self.peer.lane().poll_push_attached(cx, &mut self.number, push)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.number.is_some() {
            self.peer.lane().leave_line(self.number.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::Ordering::Relaxed;
    use std::task::Wake;

    use hyphal_core::ids::Priority;
    use hyphal_core::outbox::{Header, Payload};
    use hyphal_core::time::Instant;

    use super::*;
    use crate::receipt::Receipt;

    /// Without a link nobody empties the queue to its half.
    #[test]
    fn a_waiting_sender_is_called_when_a_message_is_called_back() {
        let (peer, calls) = (full_peer(0), Arc::new(Calls::default()));
        let waker = Waker::from(Arc::clone(&calls));
        let (cx, mut place) = (Context::from_waker(&waker), Place::new(Arc::clone(&peer)));
        assert!(place.poll_push(&cx, Overflow::Wait, |lane| push_one(lane, 0)).is_pending());

        assert!(peer.lane().cancel(Ticket { class: Priority::Medium, ordinal: 2 }));

        assert_eq!(calls.0.load(Relaxed), 1);
        assert!(place.poll_push(&cx, Overflow::Wait, |lane| push_one(lane, 0)).is_ready());
    }

    #[test]
    fn a_waiting_sender_is_called_when_a_message_expires_and_there_is_no_link() {
        let (peer, calls) = (full_peer(1), Arc::new(Calls::default()));
        let waker = Waker::from(Arc::clone(&calls));
        let (cx, mut place) = (Context::from_waker(&waker), Place::new(Arc::clone(&peer)));
        assert!(place.poll_push(&cx, Overflow::Wait, |lane| push_one(lane, 0)).is_pending());

        let mut lane = peer.lane();
        lane.outbox.handle_timeout(Instant::from_micros(2_000_000));
        lane.call_waiting();
        drop(lane);

        assert_eq!(calls.0.load(Relaxed), 1);
    }

    /// A waker may send itself, or ask what became of a message.
    #[test]
    fn nobody_is_called_or_told_under_the_lock() {
        let peer = full_peer(0);
        let tracked = peer.lane().outbox.ledger().track(Ticket { class: Priority::Medium, ordinal: 1 }, 1);
        let mut receipt = pin!(Receipt::new(tracked, Arc::clone(&peer)));
        let calls = Arc::new(Unlocked { peer: Arc::clone(&peer), calls: AtomicUsize::new(0) });
        let waker = Waker::from(Arc::clone(&calls));
        let (mut cx, mut place) = (Context::from_waker(&waker), Place::new(Arc::clone(&peer)));
        assert!(place.poll_push(&cx, Overflow::Wait, |lane| push_one(lane, 0)).is_pending());
        assert!(receipt.as_mut().poll(&mut cx).is_pending());

        peer.lane().abandon(Reason::PeerGone);

        assert_eq!(calls.calls.load(Relaxed), 2, "the sender that waits, and who has the receipt");
    }

    struct Unlocked {
        peer: Arc<Peer>,
        calls: AtomicUsize,
    }

    impl Wake for Unlocked {
        fn wake(self: Arc<Self>) {
            self.calls.fetch_add(usize::from(self.peer.lane.try_lock().is_ok()), Relaxed);
        }
    }

    /// A peer with no room, the last of whose messages lives so many seconds.
    fn full_peer(ttl: u32) -> Arc<Peer> {
        let peer = Peer::new(NodeId::from_bytes([1; 32]), 4, 1000);
        for ttl in [0, 0, 0, ttl] {
            push_one(&mut peer.lane(), ttl).unwrap();
        }
        Arc::new(peer)
    }

    fn push_one(lane: &mut Lane, ttl: u32) -> Result<Ticket, SendError> {
        let header = Header { ttl, priority: Priority::Medium, ..Header::default() };
        Ok(lane.outbox.push(Instant::ZERO, header, Payload::Copied(b"x"))?)
    }

    #[derive(Default)]
    struct Calls(AtomicUsize);

    impl Wake for Calls {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// The session ends its outbox before its link lets go of the lane; whoever looks in between must not find what is gone.
    #[test]
    fn guests_are_in_no_numbers_whether_they_stay_are_withdrawn_or_were_dropped() {
        let peer = Peer::new(NodeId::from_bytes([1; 32]), 10, 1000);
        let mut lane = peer.lane();
        let push = |lane: &mut Lane, reliability, ttl| {
            let header = Header { priority: Priority::High, reliability, ttl, ..Header::default() };
            let ticket = lane.outbox.push(Instant::ZERO, header, Payload::Copied(b"x")).unwrap();
            if reliability == Reliability::Guaranteed {
                lane.outbox.ledger().guests.handle_pushed(ticket);
            }
        };
        let (guest, own) = (Reliability::Guaranteed, Reliability::High);
        let sent = |lane: &mut Lane| (lane.sent().sent, lane.fates().high.sent, lane.fates().dropped());

        push(&mut lane, guest, 0);
        assert_eq!(sent(&mut lane), (0, 0, vec![]), "it stays");
        lane.outbox.handle_session_end();
        assert_eq!(sent(&mut lane), (0, 0, vec![]), "it is withdrawn");
        push(&mut lane, guest, 1);
        push(&mut lane, own, 1);
        lane.outbox.handle_timeout(Instant::from_micros(2_000_000));
        assert_eq!(sent(&mut lane), (1, 1, vec![(Reason::Expired, 1)]), "its lane tells of its end");
    }
}
