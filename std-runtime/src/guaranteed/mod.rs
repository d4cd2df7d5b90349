//! Guaranteed messages: between the senders and the store, the store and the outboxes, arriving records and the filters.
//!
//! ```text
//!   send ─▶ number ─▶ store ─▶ accepted ─▶ [in memory or read again] ─▶ outbox ─▶ session ─▶ peer
//!                                 ▲                                                           │
//!          receipt ◀── fate ◀─────┴────────────────── LaneState ◀── durable ◀── commit ◀── application
//! ```
//!
//! What may be sent, taken and acknowledged is decided by the lanes of the core; here are the store, the clocks and the
//! links. Messages to absent peers are in the store only. One lock for what goes out to a peer and one for what comes in,
//! taken before the lock of its outbox, never held while anyone waits.
//!
//! Invariant: a message is accepted when it is durable, and has one fate. What a peer is told has arrived is durable here.

mod arrival;
mod incoming;
mod outgoing;
mod sending;
#[cfg(test)]
mod tests;
mod unclaimed;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use hyphal_core::ids::{MessageId, NodeId, Priority, Reliability};
use hyphal_core::outbox::{Header, Payload, Ticket};
use hyphal_core::time::Instant;
use hyphal_core::wire::reason::Reason;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use self::arrival::Fate;
pub(crate) use self::arrival::{Arrival, Hold};
pub(crate) use self::incoming::HandingOut;
use self::incoming::Incoming;
pub(crate) use self::outgoing::Called;
use self::outgoing::{Accepted, Outgoing, Storing, Terms};
pub(crate) use self::sending::{Convoy, send};
pub(crate) use self::unclaimed::Unclaimed;
use crate::clock;
use crate::counters::{Fates, Sent};
use crate::error::SendError;
use crate::hub::Hub;
use crate::locked::Locked;
use crate::peer::{Lane, Peer};
use crate::signal::Signal;
use crate::store::{LaneKey, Room, Store, StoreCounters, StoreFailure, StoreHoldings};

/// All lanes of a node that keeps Guaranteed messages.
#[derive(Debug)]
pub(crate) struct Guaranteed {
    keeper: Arc<Keeper>,
    peers: RwLock<Peers>,
    unclaimed: Unclaimed,
}

#[derive(Debug)]
struct Peers {
    by_id: HashMap<NodeId, Arc<Lanes>>,
    /// Of lanes that nobody needed any more.
    retired: Sent,
    retired_fates: Fates,
    /// How many there may be until those that nobody needs are sought.
    prune_at: usize,
}

/// What all lanes share.
#[derive(Debug)]
struct Keeper {
    store: Store,
    runtime: Handle,
    /// A message was stored that expires before all others.
    expiry: Notify,
    /// Something has come to its end that whoever shuts the node down may wait for.
    moved: Arc<Notify>,
    /// Times that a peer said that it takes nothing of a lane.
    refused_lanes: AtomicU64,
}

/// The lanes to and from one peer, one of each class in each direction.
#[derive(Debug)]
pub(crate) struct Lanes {
    id: NodeId,
    keeper: Arc<Keeper>,
    /// Whether the link should look here.
    has_work: AtomicBool,
    outgoing: Mutex<Outgoing>,
    incoming: Mutex<Incoming>,
}

/// The link whose session carries the lanes.
#[derive(Debug)]
struct Attached {
    token: u64,
    signal: Arc<Signal>,
    /// Whether the peer keeps Guaranteed messages.
    keeps: bool,
}

impl Guaranteed {
    /// The lanes of a store, and what waits in them. `moved` is told of what a shutdown waits for.
    pub(crate) async fn open(
        store: Store,
        unclaimed: Unclaimed,
        moved: Arc<Notify>,
    ) -> Result<Self, StoreFailure> {
        let keeper = Keeper {
            store: store.clone(),
            runtime: Handle::current(),
            expiry: Notify::new(),
            moved,
            refused_lanes: AtomicU64::new(0),
        };
        let keeper = Arc::new(keeper);
        let mut peers = HashMap::new();
        for stored in store.send_lanes() {
            let node = stored.key.node;
            let lanes: &Arc<Lanes> =
                peers.entry(node).or_insert_with(|| Arc::new(Lanes::new(node, Arc::clone(&keeper))));
            let mut from = stored.base;
            lanes.outgoing().restore(&stored);
            loop {
                let messages = store.read(stored.key, from, RESTORED, RESTORED_BYTES).await?;
                let Some((last, _)) = messages.last() else { break };
                from = last.saturating_add(1);
                lanes.outgoing().restore_messages(stored.key.class, &messages);
            }
        }
        let (retired, retired_fates) = (Sent::default(), Fates::default());
        let peers = Peers { by_id: peers, retired, retired_fates, prune_at: PRUNE_AT };
        Ok(Self { keeper, peers: RwLock::new(peers), unclaimed })
    }

    /// The lanes of a peer, made if there were none.
    pub(crate) fn lanes(&self, id: NodeId) -> Arc<Lanes> {
        if let Some(lanes) = self.known(&id) {
            return lanes;
        }
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Lanes::new(id, Arc::clone(&self.keeper)));
        peers.prune();
        Arc::clone(peers.by_id.entry(id).or_insert_with(new))
    }

    /// The user has removed the peer: what waits for it fails, and its lanes end. Says whether there were any.
    pub(crate) fn remove(&self, id: &NodeId) -> bool {
        self.known(id).is_some_and(|lanes| lanes.close(Reason::PeerGone))
    }

    /// Messages that nobody receives.
    pub(crate) fn unclaimed(&self) -> &Unclaimed {
        &self.unclaimed
    }

    /// What became of all Guaranteed messages, and how many are stored.
    pub(crate) fn sent(&self) -> Sent {
        let mut sent = self.peers.read().unwrap_or_else(PoisonError::into_inner).retired;
        self.all().iter().for_each(|lanes| sent.add(&lanes.sent()));
        sent
    }

    /// The same as fates, with what was sent again.
    pub(crate) fn fates(&self) -> Fates {
        let mut fates = self.peers.read().unwrap_or_else(PoisonError::into_inner).retired_fates.clone();
        self.all().iter().for_each(|lanes| fates.add(&lanes.fates()));
        fates
    }

    /// Times that a peer said that it takes nothing of a lane.
    pub(crate) fn refused_lanes(&self) -> u64 {
        self.keeper.refused_lanes.load(Ordering::Relaxed)
    }

    /// What the store has done.
    pub(crate) fn store_counters(&self) -> StoreCounters {
        self.keeper.store.counters()
    }

    /// What the store holds.
    pub(crate) fn store_holdings(&self) -> StoreHoldings {
        self.keeper.store.holdings()
    }

    /// Sees to the time to live of what is stored, until the node ends.
    pub(crate) async fn watch_expiry(hub: Arc<Hub>) {
        let Some(guaranteed) = &hub.guaranteed else { return };
        loop {
            let earlier = guaranteed.keeper.expiry.notified();
            let now = clock::wall_time();
            let next = guaranteed.all().iter().filter_map(|lanes| lanes.expire(now)).min();
            let pause = next.map(|at| Duration::from_micros(at.saturating_sub(now.as_micros())));
            tokio::select! {
                () = earlier => {}
                // The node ends.
                () = hub.control.closed() => return,
                // A clock that is set shows within the longest pause.
                () = tokio::time::sleep(pause.unwrap_or(LONGEST_PAUSE).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)) => {}
            }
            // Many messages that are stored one after another are one search.
            tokio::time::sleep(SHORTEST_PAUSE).await;
        }
    }

    /// Whether nothing is on its way that a session could still bring to its end.
    pub(crate) fn is_settled(&self) -> bool {
        self.unclaimed.finish_handing_out();
        self.all().iter().all(|lanes| lanes.is_settled())
    }

    /// Writes what was asked for, and what the application has acknowledged by now, and gives the store to others.
    pub(crate) async fn close(&self) {
        self.all().iter().for_each(|lanes| lanes.save_last());
        self.keeper.store.close().await;
    }

    fn known(&self, id: &NodeId) -> Option<Arc<Lanes>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).by_id.get(id).cloned()
    }

    fn all(&self) -> Vec<Arc<Lanes>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).by_id.values().cloned().collect()
    }
}

impl Peers {
    /// Forgets the lanes of peers that are gone, unless there is something in them that this node sends, or that somebody
    /// holds: strangers may come and go as they like.
    fn prune(&mut self) {
        if self.by_id.len() < self.prune_at {
            return;
        }
        let (retired, retired_fates) = (&mut self.retired, &mut self.retired_fates);
        self.by_id.retain(|_, lanes| {
            let outgoing = lanes.outgoing();
            let is_needed = !outgoing.is_unused() || Arc::strong_count(lanes) > 1;
            if !is_needed {
                retired.add(&outgoing.sent());
                retired_fates.add(&outgoing.fates());
            }
            is_needed
        });
        self.prune_at = PRUNE_AT.max(2 * self.by_id.len());
    }
}

impl Lanes {
    fn new(id: NodeId, keeper: Arc<Keeper>) -> Self {
        Self {
            id,
            keeper,
            has_work: AtomicBool::new(false),
            outgoing: Mutex::default(),
            incoming: Mutex::default(),
        }
    }

    /// The link of this token has the peer's outbox, and its session is up. `keeps`: the peer keeps Guaranteed messages.
    pub(crate) fn handle_session_start(self: &Arc<Self>, token: u64, signal: &Arc<Signal>, keeps: bool) {
        self.incoming().handle_session_start();
        let attached = Attached { token, signal: Arc::clone(signal), keeps };
        let mut outgoing = self.outgoing();
        outgoing.handle_session_start(attached);
        if !keeps {
            outgoing.fail_all(Reason::NotKept);
        }
        self.remove_left(&mut outgoing);
        self.has_work.store(true, Ordering::Release);
    }

    /// The link of this token has let go of the peer's outbox.
    pub(crate) fn handle_session_end(&self, token: u64) {
        self.outgoing().handle_session_end(token);
        self.keeper.moved.notify_waiters();
    }

    /// Puts into the outbox what is to be said and what may be sent, as far as there is room.
    ///
    /// The link calls this in each of its turns; mostly there is nothing to do.
    #[inline]
    pub(crate) fn feed(self: &Arc<Self>, hub: &Hub, peer: &Peer, token: u64, now: Instant) {
        if self.has_work.load(Ordering::Acquire) {
            self.feed_outbox(hub, peer, token, now);
        }
    }

    #[cold]
    fn feed_outbox(self: &Arc<Self>, hub: &Hub, peer: &Peer, token: u64, now: Instant) {
        let outgoing = self.outgoing();
        if outgoing.attached().is_none_or(|attached| attached.token != token) {
            // A link whose session makes way leaves the work to the one that has the outbox.
            return;
        }
        // Under the lock, under which another link gets the outbox: this one must not take its work away.
        self.has_work.store(false, Ordering::Release);
        drop(outgoing);
        let is_done = self.tell_states(hub, peer, token, now) & self.send_messages(hub, peer, token, now);
        if !is_done {
            // There is another turn when the outbox has got shorter.
            self.has_work.store(true, Ordering::Release);
        }
    }

    /// What became of the messages to the peer, and how many are stored.
    pub(crate) fn sent(&self) -> Sent {
        self.outgoing().sent()
    }

    /// The same as fates, with what was sent again.
    pub(crate) fn fates(&self) -> Fates {
        self.outgoing().fates()
    }

    fn is_settled(&self) -> bool {
        let attached = self.outgoing().attached().map(|attached| attached.token);
        !self.incoming().is_moving(attached) && !self.outgoing().is_moving()
    }

    /// The link has something to do here.
    fn call_link(&self, outgoing: &Outgoing) {
        self.has_work.store(true, Ordering::Release);
        if let Some(attached) = outgoing.attached() {
            attached.signal.wake();
        }
        self.keeper.moved.notify_waiters();
    }

    /// Room in the store for a payload of `len` bytes, as soon as there is some.
    pub(crate) async fn reserve(&self, len: usize) -> Result<Room, SendError> {
        Ok(self.keeper.store.reserve(len).await?)
    }

    /// Room in the store for a payload of `len` bytes, if there is some.
    pub(crate) fn try_reserve(&self, len: usize) -> Result<Room, SendError> {
        Ok(self.keeper.store.try_reserve(len)?)
    }

    /// Takes note of a message that its sender hears to be refused, if that is since the store has no room for it.
    pub(crate) fn note_refused(&self, error: SendError) -> SendError {
        if error == SendError::StoreFull {
            self.keeper.store.count_full();
        }
        error
    }

    fn key(&self, class: Priority) -> LaneKey {
        LaneKey { node: self.id, class }
    }

    fn outgoing(&self) -> Locked<'_, Outgoing> {
        Locked::new(&self.outgoing)
    }

    fn incoming(&self) -> MutexGuard<'_, Incoming> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether another message of the family delivery, the last of which had this ticket, may be queued: one waits at most.
fn may_tell(lane: &Lane, last: Option<Ticket>, len: usize) -> bool {
    last.is_none_or(|ticket| lane.outbox.written(ticket) == u32::MAX) && lane.outbox.space_for(len)
}

/// Queues a message of the family delivery.
fn tell(hub: &Hub, lane: &mut Lane, now: Instant, kind: u16, body: &[u8]) -> Option<Ticket> {
    let header = Header {
        kind,
        priority: Priority::Critical,
        // It is worth nothing beyond its session.
        reliability: Reliability::Guaranteed,
        sequence: hub.sequence.fetch_add(1, Ordering::Relaxed),
        ttl: 0,
        ..Header::default()
    };
    let ticket = lane.outbox.push(now, header, Payload::Copied(body)).ok()?;
    lane.outbox.ledger().guests.handle_pushed(ticket);
    Some(ticket)
}

impl From<StoreFailure> for SendError {
    fn from(failure: StoreFailure) -> Self {
        match failure {
            StoreFailure::Full | StoreFailure::TooLong => Self::StoreFull,
            StoreFailure::DiskFull => Self::DiskFull,
            StoreFailure::Broken => Self::StoreFailed,
            // Its lane has ended with its peer.
            StoreFailure::NoLane => Self::UnknownPeer,
            StoreFailure::Closed => Self::Closed,
        }
    }
}

/// The id of a Guaranteed message.
fn message_id(epoch: u64, number: u64) -> MessageId {
    MessageId { epoch, sequence: number }
}

/// Messages, and their bytes, that are read at once when the store is opened.
const RESTORED: usize = 1024;
const RESTORED_BYTES: usize = 1 << 20;

/// Peers beyond which those without need of lanes are sought.
const PRUNE_AT: usize = 1024;

const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long after a write that failed it is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
