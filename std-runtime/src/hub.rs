//! What all tasks of a node share. It decides nothing: peers are judged by `control`, messages move in links and lanes.
//!
//! Invariant: tasks hold the hub, and the hub holds no task alive: when the last [`Node`](crate::Node) goes, all are aborted.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use hyphal_core::identity::Identity;
use hyphal_core::ids::{MessageId, NodeId, Priority, Reliability};
use hyphal_core::noise::{KeyPair, Secret};
use hyphal_core::outbox::{Header, Payload};
use hyphal_core::session::{self, Wall};
use hyphal_core::time::TimeQuality;
use hyphal_core::wire::message::DEFAULT_TTL;
use hyphal_core::wire::reason::Reason;
use hyphal_core::wire::revocation::REVOCATIONS;
use tokio::sync::{Notify, OnceCell, broadcast, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use crate::assembly::Budget;
use crate::buffers::Pool;
use crate::clock::{self, Clock};
use crate::compression::{Codec, Rule};
use crate::control::Command;
use crate::counters::{ByReliability, NodeTally, Sent, Vetting};
use crate::event::Event;
use crate::guaranteed::Guaranteed;
use crate::key_log::KeyLog;
use crate::log::Throttle;
use crate::message::{Batch, Entry};
use crate::options::{Limits, TcpOptions, Timeouts, UnknownTypes};
use crate::peer::Peer;
use crate::queue::{Delivery, Queue};
use crate::subscription::{Filter, Registry};
use crate::trust::{Arriving, Subject, TrustState};
use crate::udp::{self, UdpPort};

/// The shared state of one node.
pub(crate) struct Hub {
    pub(crate) plan: Plan,
    /// What is sealed to this node opens with, and what it seals itself.
    pub(crate) static_pair: KeyPair,
    pub(crate) clock: Clock,
    pub(crate) pool: Pool,
    pub(crate) registry: Arc<Registry>,
    pub(crate) codec: Arc<Codec>,
    pub(crate) inbox: Inbox,
    /// For large messages that arrive.
    pub(crate) budget: Arc<Budget>,
    pub(crate) tally: NodeTally,
    pub(crate) control: mpsc::Sender<Command>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) sequence: AtomicU64,
    /// Broadcasts are numbered and queued one after another, so that every peer gets them in the order of their numbers.
    pub(crate) broadcasts: Mutex<()>,
    /// A message was queued for a peer without a session, where no link sees to its time to live.
    pub(crate) unattended: Notify,
    /// While draining: an outbox may have become idle. Tells everybody who waits.
    pub(crate) drained: Arc<Notify>,
    /// The lanes of Guaranteed messages, if this node keeps any.
    pub(crate) guaranteed: Option<Guaranteed>,
    pub(crate) is_draining: AtomicBool,
    /// The numbers as the node ended.
    pub(crate) last_sent: OnceCell<Sent>,
    pub(crate) doors: Doors,
    /// Lines about rejected connections.
    pub(crate) rejections: Throttle,
    /// Revocation lists from peers that do not count yet.
    pub(crate) lists: Arc<Arriving>,
    trust: RwLock<Arc<TrustState>>,
    peers: RwLock<Peers>,
    retired: Mutex<Retired>,
    tokens: AtomicU64,
    /// The sockets that this node dials over UDP from, one for IPv4 and one for IPv6, once they are needed.
    dialling: Mutex<[Option<Arc<UdpPort>>; 2]>,
    tasks: Mutex<JoinSet<()>>,
}

/// All peers, and the same as a list that is made when it is asked for.
#[derive(Default)]
struct Peers {
    by_id: HashMap<NodeId, Arc<Peer>>,
    list: Option<Arc<[Arc<Peer>]>>,
}

/// What became of the messages to peers that were removed, but for Guaranteed ones.
#[derive(Default)]
struct Retired {
    sent: Sent,
    fates: ByReliability,
}

/// What the builder has chosen and checked.
pub(crate) struct Plan {
    pub(crate) identity: Identity,
    pub(crate) session: session::Config,
    pub(crate) quality: TimeQuality,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    pub(crate) tcp: TcpOptions,
    pub(crate) unknown_types: UnknownTypes,
    /// The message types that are compressed.
    pub(crate) rules: Vec<Rule>,
    pub(crate) key_log: Option<KeyLog>,
}

impl Hub {
    /// `drained` is told when something has come to its end that a shutdown waits for.
    pub(crate) fn new(
        plan: Plan,
        trust: TrustState,
        guaranteed: Option<Guaranteed>,
        drained: Arc<Notify>,
        control: mpsc::Sender<Command>,
    ) -> Self {
        let limits = plan.limits;
        let tally = NodeTally::default();
        let codec = Arc::new(Codec::new(plan.rules.clone()));
        let identity = &plan.identity;
        let static_secret = Secret::from_bytes(*identity.static_secret());
        let static_pair = KeyPair::from_parts(static_secret, *identity.static_public());
        Self {
            plan,
            static_pair,
            clock: Clock::start(),
            pool: Pool::default(),
            registry: Arc::new(Registry::new(Arc::clone(&tally.traffic), Arc::clone(&codec))),
            codec,
            inbox: Inbox::new(Queue::new(limits.queue_batches, limits.queue_bytes)),
            budget: Arc::new(Budget::new(limits.assembly_bytes, limits.max_message)),
            tally,
            control,
            events: broadcast::Sender::new(crate::event::KEPT),
            sequence: AtomicU64::new(1),
            broadcasts: Mutex::default(),
            unattended: Notify::new(),
            drained,
            guaranteed,
            is_draining: AtomicBool::new(false),
            last_sent: OnceCell::new(),
            doors: Doors::default(),
            rejections: Throttle::default(),
            lists: Arc::default(),
            trust: RwLock::new(Arc::new(trust)),
            peers: RwLock::default(),
            retired: Mutex::default(),
            tokens: AtomicU64::new(1),
            dialling: Mutex::default(),
            tasks: Mutex::default(),
        }
    }

    /// Gives what is in an inbox that nobody reads to the subscription that is being made, as far as it takes it. The rest is dropped, as
    /// what comes later is: it would keep its session from acknowledging anything that comes after it. What is Guaranteed waits
    /// elsewhere.
    pub(crate) fn empty_unread_inbox(&self, claim: Option<(&Filter, &Queue)>) {
        if self.inbox.is_open() {
            return;
        }
        for Delivery { batch, consumption, .. } in self.inbox.queue.take_unheld() {
            let source = batch.source();
            let is_wanted = |entry: &Entry| {
                claim.is_some_and(|(filter, _)| {
                    filter.takes_from(&source) && filter.takes(entry.kind, entry.priority)
                })
            };
            let (wanted, others): (Vec<_>, Vec<_>) = batch.entries.iter().copied().partition(is_wanted);
            if let Some((_, queue)) = claim.filter(|_| !wanted.is_empty()) {
                let batch = Batch { entries: wanted, ..batch };
                queue.push_over(Delivery { batch, stream: None, consumption, hold: None });
            }
            self.note_unreceived(&source, others.len() as u64);
        }
    }

    /// Counts messages of a peer that nobody receives, in total and for the peer, if it is known.
    pub(crate) fn note_unreceived(&self, source: &NodeId, count: u64) {
        if let Some(peer) = self.peer(source) {
            peer.tally.drop_messages(Reason::NoReceiver, count);
        }
        self.tally.traffic.drop_messages(Reason::NoReceiver, count);
    }

    pub(crate) fn peer(&self, id: &NodeId) -> Option<Arc<Peer>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).by_id.get(id).cloned()
    }

    /// All peers as of this moment.
    pub(crate) fn peers(&self) -> Arc<[Arc<Peer>]> {
        if let Some(list) = &self.peers.read().unwrap_or_else(PoisonError::into_inner).list {
            return Arc::clone(list);
        }
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        let Peers { by_id, list } = &mut *peers;
        Arc::clone(list.get_or_insert_with(|| by_id.values().cloned().collect()))
    }

    /// The peer of this id, made if there was none.
    pub(crate) fn peer_or_new(&self, id: NodeId) -> Arc<Peer> {
        if let Some(peer) = self.peer(&id) {
            return peer;
        }
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        peers.list = None;
        let new = || {
            let mut peer = Peer::new(id, self.plan.limits.outbox_messages, self.plan.limits.outbox_bytes);
            peer.lanes = self.guaranteed.as_ref().map(|guaranteed| guaranteed.lanes(id));
            Arc::new(peer)
        };
        Arc::clone(peers.by_id.entry(id).or_insert_with(new))
    }

    /// Forgets a peer. What was queued for it is dropped, and its counts stay in the node's.
    pub(crate) fn remove_peer(&self, id: &NodeId) {
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        let Some(peer) = peers.by_id.remove(id) else { return };
        peers.list = None;
        drop(peers);
        let mut lane = peer.lane();
        lane.abandon(Reason::PeerGone);
        let (sent, fates) = (lane.sent(), lane.fates());
        drop(lane);
        // Its link has lost the lane, and who waits for an answer keeps the peer alive.
        peer.rtt.send_replace(None);
        peer.cipher.send_replace(None);
        let mut retired = self.retired();
        retired.sent.add(&sent);
        retired.fates.add(&fates);
    }

    /// What became of the messages to all peers, removed ones included.
    pub(crate) fn sent(&self) -> Sent {
        let mut sent = self.retired().sent;
        self.peers().iter().for_each(|peer| sent.add(&peer.lane().sent()));
        if let Some(guaranteed) = &self.guaranteed {
            sent.add(&guaranteed.sent());
        }
        sent
    }

    /// The same by reliability.
    pub(crate) fn fates(&self) -> ByReliability {
        let mut fates = self.retired().fates.clone();
        self.peers().iter().for_each(|peer| fates.add(&peer.lane().fates()));
        if let Some(guaranteed) = &self.guaranteed {
            fates.guaranteed.add(&guaranteed.fates());
        }
        fates
    }

    /// The id of the message with this number.
    pub(crate) fn message_id(&self, sequence: u64) -> MessageId {
        MessageId { epoch: self.plan.session.boot_id, sequence }
    }

    /// Whom the node trusts at this moment, and what it shows of itself.
    pub(crate) fn trust(&self) -> Arc<TrustState> {
        Arc::clone(&self.trust.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Only the control task changes it, so that nothing is lost between its reading and its writing.
    pub(crate) fn set_trust(&self, trust: TrustState) {
        *self.trust.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(trust);
    }

    /// Whom settings of trust are for: this node.
    pub(crate) fn subject(&self) -> Subject {
        let Plan { identity, session, .. } = &self.plan;
        Subject { id: identity.id(), node_type: session.node_type, network: session.network }
    }

    /// The wall clock for a handshake.
    pub(crate) fn wall(&self) -> Wall {
        match self.plan.quality {
            TimeQuality::None => Wall::default(),
            quality => Wall { time: clock::wall_time(), quality },
        }
    }

    /// Queues a revocation list for a peer that is here. One that does not get it now gets it with its next session.
    pub(crate) fn send_revocations(&self, peer: &Peer, list: Bytes) {
        let mut lane = peer.lane();
        if !lane.is_attached() {
            return;
        }
        let now = self.clock.now();
        let header = Header {
            kind: REVOCATIONS,
            priority: Priority::Critical,
            broadcast: false,
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed),
            ttl: DEFAULT_TTL,
            compressed: None,
            reliability: Reliability::High,
            full: false,
            number: None,
        };
        lane.outbox.make_room(now, list.len(), Priority::Critical);
        match lane.outbox.push(now, header, Payload::Shared(list)) {
            Ok(_) => {
                self.note_vetting(&peer.id, |vetting| vetting.lists_sent.fetch_add(1, Ordering::Relaxed));
                lane.wake_link();
            }
            Err(error) => {
                self.note_vetting(&peer.id, |vetting| vetting.lists_unsent.fetch_add(1, Ordering::Relaxed));
                tracing::debug!(peer = %peer.id, ?error, "the peer cannot take the revocation list");
            }
        }
    }

    /// Counts something about certificates or lists, in total and for the peer, if it is known.
    pub(crate) fn note_vetting<R>(&self, id: &NodeId, note: impl Fn(&Vetting) -> R) {
        if let Some(peer) = self.peer(id) {
            note(&peer.tally.vetting);
        }
        note(&self.tally.traffic.vetting);
    }

    /// A name for a link, unique in this node's life.
    pub(crate) fn next_token(&self) -> u64 {
        self.tokens.fetch_add(1, Ordering::Relaxed)
    }

    /// The socket from which `address` is dialled over UDP.
    pub(crate) fn dialling_port(self: &Arc<Self>, address: SocketAddr) -> io::Result<Arc<UdpPort>> {
        let mut ports = self.dialling.lock().unwrap_or_else(PoisonError::into_inner);
        let port = &mut ports[usize::from(address.is_ipv6())];
        if let Some(port) = port {
            return Ok(Arc::clone(port));
        }
        let opened = UdpPort::bind(udp::anywhere(address))?;
        self.spawn(Arc::clone(&opened).receive(Arc::clone(self), None));
        Ok(Arc::clone(port.insert(opened)))
    }

    /// Runs a task that ends with the node.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut tasks = self.tasks();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task)
    }

    /// Ends all tasks at once.
    pub(crate) fn abort(&self) {
        self.tasks().abort_all();
    }

    /// All tasks, for whoever waits for their end.
    pub(crate) fn take_tasks(&self) -> JoinSet<()> {
        std::mem::take(&mut self.tasks())
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn retired(&self) -> MutexGuard<'_, Retired> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queue of messages that no subscription takes.
///
/// It is open until a subscription is made, and again once somebody receives from it: a node that only uses
/// subscriptions must not stall on a message that none of them takes.
pub(crate) struct Inbox {
    pub(crate) queue: Arc<Queue>,
    is_read: AtomicBool,
    has_subscriptions: AtomicBool,
}

impl Inbox {
    fn new(queue: Queue) -> Self {
        Self {
            queue: Arc::new(queue),
            is_read: AtomicBool::new(false),
            has_subscriptions: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.is_read.load(Ordering::Relaxed) || !self.has_subscriptions.load(Ordering::Relaxed)
    }

    /// Somebody receives from the inbox; says whether nobody did before.
    pub(crate) fn handle_read(&self) -> bool {
        !self.is_read.load(Ordering::Relaxed) && !self.is_read.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn handle_subscription(&self) {
        self.has_subscriptions.store(true, Ordering::Relaxed);
    }
}

/// How many connections of which kind are open, and whether another one may come in.
#[derive(Default)]
pub(crate) struct Doors {
    visitors: Mutex<Visitors>,
}

#[derive(Default)]
struct Visitors {
    all: Count,
    by_address: HashMap<IpAddr, Count>,
}

/// Connections, and how many of them have not finished their handshake.
#[derive(Clone, Copy, Default)]
struct Count {
    connections: usize,
    handshakes: usize,
}

impl Visitors {
    /// Changes the counts of all and of the address, if there is one.
    fn count(&mut self, address: Option<IpAddr>, change: impl Fn(&mut Count)) {
        change(&mut self.all);
        let Some(address) = address else { return };
        let here = self.by_address.entry(address).or_default();
        change(here);
        if here.connections == 0 && here.handshakes == 0 {
            self.by_address.remove(&address);
        }
    }
}

impl Doors {
    /// Lets a connection in, or says why not: [`Reason::Limit`] or, if it passes soon, [`Reason::Busy`].
    ///
    /// Connections that come from no IP address, because they begin within this process, are limited in all only.
    pub(crate) fn admit(hub: &Arc<Hub>, address: Option<IpAddr>) -> Result<(Seat, Attempt), Reason> {
        let address = address.map(origin);
        let limits = &hub.plan.limits;
        let mut visitors = hub.doors.visitors();
        let known = address.and_then(|address| visitors.by_address.get(&address));
        let here = known.copied().unwrap_or_default();
        if visitors.all.connections >= limits.connections
            || here.connections >= limits.connections_per_address
        {
            return Err(Reason::Limit);
        }
        let share = (limits.handshakes / HANDSHAKE_SHARE).max(1);
        if visitors.all.handshakes >= limits.handshakes || here.handshakes >= share {
            return Err(Reason::Busy);
        }
        visitors.count(address, |count| {
            count.connections += 1;
            count.handshakes += 1;
        });
        drop(visitors);
        Ok((Seat { hub: Arc::clone(hub), address }, Attempt { hub: Arc::clone(hub), address }))
    }

    /// Whether half of the places for handshakes are taken.
    pub(crate) fn is_crowded(&self, hub: &Hub) -> bool {
        self.visitors().all.handshakes * 2 >= hub.plan.limits.handshakes
    }

    /// How many connections that peers opened there are, and how many of them have not finished their handshake.
    pub(crate) fn occupied(&self) -> (usize, usize) {
        let Count { connections, handshakes } = self.visitors().all;
        (connections, handshakes)
    }

    fn visitors(&self) -> MutexGuard<'_, Visitors> {
        self.visitors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One address takes at most one part in so many of the places for handshakes, so that it cannot keep the others out.
const HANDSHAKE_SHARE: usize = 4;

/// The place of a connection that a peer opened, given back when it ends.
pub(crate) struct Seat {
    hub: Arc<Hub>,
    address: Option<IpAddr>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hub.doors.visitors().count(self.address, |count| count.connections -= 1);
    }
}

/// The place of a handshake that a peer began, given back when it has proven itself or failed.
pub(crate) struct Attempt {
    hub: Arc<Hub>,
    address: Option<IpAddr>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.hub.doors.visitors().count(self.address, |count| count.handshakes -= 1);
    }
}

/// What counts as one address: an IPv4 address or an IPv6 /64, which one customer has at least.
pub(crate) fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}
