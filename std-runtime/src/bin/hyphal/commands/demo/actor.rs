//! One node of the demo, in its own process: it does what it is ordered to, reports what happens, and keeps book and log.
//!
//! ```text
//!   orders (stdin) ─▶ loop ─▶ talker: sends, writes the book     watcher: events ─▶ reports (stdout)
//!                             receiver: writes the log           pinger: round trips
//!                             keeper: reads large messages part by part, checks their sums, writes the log
//! ```
//!
//! The loop never waits for a message, so that the end of its input always ends the process.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};
use crc::{CRC_32_ISO_HDLC, Crc, Table};
use hyphal::address::{BadEndpoint, Endpoint};
use hyphal::keyfile;
use hyphal::{
    Event, Events, Filter, Incoming, IncomingStream, Node, NodeId, Payload, Priority, Receipt, Reliability,
    SendError, SendOptions, StreamSubscription, Timeouts,
};
use hyphal_core::{backoff, breaker, health, node};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::ledger::{Arrival, Book, Fate, Log};
use super::script::{self, Addresses, LIVES, NETWORK, NODES, Order, Report, Setup, Transport};
use crate::output::{Exit, Failure};

/// Runs one node until it is told to quit or its input ends.
pub(crate) fn run() -> Result<Exit, Failure> {
    let mut input = io::stdin().lock();
    let mut line = String::new();
    input.read_line(&mut line).map_err(broken)?;
    let setup: Setup = serde_json::from_str(&line)
        .map_err(|_| Failure::new(Exit::Usage, "this command is a part of the demo", "run: hyphal demo"))?;
    drop(input);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(broken)?.block_on(act(&setup))
}

async fn act(setup: &Setup) -> Result<Exit, Failure> {
    let actor = match Actor::start(setup).await {
        Ok(actor) => Arc::new(actor),
        Err(failure) => {
            tell(&Report::Failed { message: failure.message.clone() }).map_err(broken)?;
            return Err(failure);
        }
    };
    let mut orders = orders();
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let events = actor.node.events();
    actor.spawn(&mut tasks, |actor| actor.watch(events));
    actor.spawn(&mut tasks, Actor::receive);
    actor.spawn(&mut tasks, Actor::ping);
    tell(&Report::Ready { addresses: actor.addresses()? }).map_err(broken)?;
    loop {
        match orders.recv().await {
            Some(Order::Meet { addresses }) => {
                actor.meet(&addresses).await?;
            }
            Some(Order::Talk) => {
                let stopped = stopped.clone();
                actor.spawn(&mut tasks, |actor| actor.talk(stopped));
            }
            Some(Order::Expect) => {
                let large = actor.node.subscribe_streams(Filter::all().kind(LARGE));
                actor.spawn(&mut tasks, |actor| actor.keep(large));
                tell(&Report::Expecting).map_err(broken)?;
            }
            Some(Order::Transfer { peer }) => {
                actor.spawn(&mut tasks, move |actor| actor.transfer(peer));
            }
            Some(Order::Account) => {
                let waits_us = take(&actor.waits_us);
                tell(&Report::Waits { waits_us }).map_err(broken)?;
            }
            Some(Order::Confide { peer }) => {
                actor.spawn(&mut tasks, move |actor| actor.confide(peer, QUESTION, ASKED));
            }
            Some(Order::Promise { peer }) => {
                for lane in 0..PROMISES_AT_ONCE {
                    actor.spawn(&mut tasks, move |actor| actor.promise(peer, lane));
                }
            }
            Some(Order::Deliver) => actor.spawn(&mut tasks, Actor::deliver),
            Some(Order::Expire { peer }) => actor.spawn(&mut tasks, move |actor| actor.expire(peer)),
            Some(Order::Stop) => {
                stop.send_replace(true);
            }
            Some(Order::Quit) => {
                actor.node.shutdown(FAREWELL).await;
                return Ok(Exit::Done);
            }
            None => {
                remove_files(setup);
                return Ok(Exit::Failed);
            }
        }
    }
}

fn wrong(error: &dyn std::error::Error) -> Failure {
    Failure::new(Exit::Failed, error.to_string(), "")
}

/// How long the last acknowledgements may take to leave.
const FAREWELL: Duration = Duration::from_secs(1);

struct Actor {
    own: usize,
    ids: Vec<NodeId>,
    node: Node,
    book: Book,
    log: Log,
    /// Guaranteed messages that were accepted, and those that came.
    promises: Log,
    kept: Log,
    promised: AtomicU64,
    rtts_us: Mutex<Vec<u64>>,
    /// How long Critical messages were under way while large ones were.
    waits_us: Mutex<Vec<u64>>,
}

impl Actor {
    async fn start(setup: &Setup) -> Result<Self, Failure> {
        let identity = keyfile::read(&setup.key(setup.index))?;
        let ids = setup.ids.iter().map(|id| id.parse()).collect::<Result<Vec<NodeId>, _>>();
        let ids = ids.map_err(|error| Failure::new(Exit::Usage, error.to_string(), ""))?;
        let mut timeouts = Timeouts::default();
        timeouts.heartbeat = HEARTBEAT;
        timeouts.handshake = HANDSHAKE;
        let mut builder = Node::builder().network(NETWORK).timeouts(timeouts);
        for endpoint in Transport::ALL.iter().filter_map(|transport| setup.listen.of(*transport)) {
            builder = builder.listen(endpoint);
        }
        // Every node knows the others from the start, so that none is refused for having met them first.
        for id in ids.iter().filter(|id| **id != identity.id()) {
            builder = builder.known_peer(*id);
        }
        if let Some(directory) = setup.store(setup.index) {
            builder = builder.store(directory);
        }
        let started = builder.identity(identity).peer_policy(policy()).start().await;
        Ok(Self {
            own: setup.index,
            ids,
            node: started.map_err(|error| Failure::new(Exit::Failed, error.to_string(), ""))?,
            book: Book::create(&setup.book(setup.index, setup.life)).map_err(broken)?,
            log: Log::create(&setup.log(setup.index, setup.life)).map_err(broken)?,
            promises: Log::create(&setup.promises(setup.index, setup.life)).map_err(broken)?,
            kept: Log::create(&setup.kept(setup.index, setup.life)).map_err(broken)?,
            promised: AtomicU64::new(0),
            rtts_us: Mutex::default(),
            waits_us: Mutex::default(),
        })
    }

    /// Where it listens.
    fn addresses(&self) -> Result<Addresses, Failure> {
        let local = self.node.local_addrs();
        let tcp = local.iter().find(|endpoint| matches!(endpoint, Endpoint::Tcp(_)));
        let udp = local.iter().find(|endpoint| matches!(endpoint, Endpoint::Udp(_)));
        let udp = udp.ok_or_else(|| Failure::new(Exit::Failed, "it has no UDP port", ""))?;
        Ok(Addresses { tcp: tcp.map(Endpoint::to_string), udp: udp.to_string() })
    }

    /// Connects to all others over what carries the session of each pair, so that both ends dial the same kind of port.
    async fn meet(&self, addresses: &[Addresses]) -> Result<(), Failure> {
        for (peer, addresses) in addresses.iter().enumerate().filter(|(peer, _)| *peer != self.own) {
            let address = addresses.of(Transport::between(self.own, peer));
            let address = address.ok_or_else(|| Failure::new(Exit::Failed, "a peer has no such port", ""))?;
            let endpoint = address.parse().map_err(|error: BadEndpoint| wrong(&error))?;
            self.node.add_peer(self.ids[peer], Some(endpoint)).await.map_err(|error| wrong(&error))?;
        }
        Ok(())
    }

    /// Runs a part of the node beside the others; if it cannot go on, the demo hears of it.
    fn spawn<F>(self: &Arc<Self>, tasks: &mut JoinSet<()>, part: impl FnOnce(Arc<Self>) -> F)
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let part = part(Arc::clone(self));
        tasks.spawn(async move {
            if let Err(error) = part.await {
                // A demo that does not listen any more has ended, and the end of the input follows.
                let _ = tell(&Report::Failed { message: error.to_string() });
            }
        });
    }

    /// Tells of every session: of those, too, that came up before anybody watched, as with nodes that dial one that comes back.
    async fn watch(self: Arc<Self>, mut events: Events) -> io::Result<()> {
        for peer in self.node.peers().await.iter().filter(|peer| peer.status.session.is_some()) {
            tell(&Report::Up { peer: self.index(peer.status.id)? })?;
        }
        while let Some(event) = events.recv().await {
            let report = match event {
                Event::PeerUp { peer } => Report::Up { peer: self.index(peer)? },
                Event::PeerDown { peer, reason } => {
                    Report::Down { peer: self.index(peer)?, reason: reason.to_string() }
                }
                Event::Health { peer, to, .. } => {
                    Report::Health { peer: self.index(peer)?, state: to.into() }
                }
                Event::Breaker { peer, to, .. } => {
                    Report::Breaker { peer: self.index(peer)?, state: to.into() }
                }
                _ => continue,
            };
            tell(&report)?;
        }
        Ok(())
    }

    /// Logs every message before it comes back for more, so that whatever is acknowledged is in the log.
    async fn receive(self: Arc<Self>) -> io::Result<()> {
        let mut answers = JoinSet::new();
        while let Some(message) = self.node.recv().await {
            let source = self.index(message.source)?;
            if message.kind == PROMISE {
                self.kept.delivered(Arrival { source, id: message.id })?;
                continue;
            }
            if message.kind == URGENT
                && let Some(sent_at) = message.payload.first_chunk()
            {
                // Both ends are processes of one machine, with one clock.
                let waited = micros_now().saturating_sub(u64::from_le_bytes(*sent_at));
                self.waits_us.lock().unwrap_or_else(PoisonError::into_inner).push(waited);
            }
            self.log.delivered(Arrival { source, id: message.id })?;
            if matches!(message.kind, QUESTION | ANSWER) && message.is_encrypted && message.is_signed {
                tell(&Report::Opened)?;
                if message.kind == QUESTION {
                    answers.spawn(Arc::clone(&self).confide(source, ANSWER, ANSWERED));
                }
            }
        }
        settle(answers).await
    }

    /// Sends a message sealed and signed; a question is answered by one that is, too.
    async fn confide(self: Arc<Self>, peer: usize, kind: u16, text: &'static [u8]) -> io::Result<()> {
        let mut fates = JoinSet::new();
        self.send(peer, kind, text.into(), confidential(), &mut fates).await?;
        settle(fates).await?;
        tell(&Report::Confided)
    }

    /// Sends Guaranteed messages one after another, and notes each when it is accepted, until its process is killed.
    async fn promise(self: Arc<Self>, peer: usize, lane: usize) -> io::Result<()> {
        let priority = Priority::ALL[lane % Priority::ALL.len()];
        let options = SendOptions::default().reliability(Reliability::Guaranteed).priority(priority).ttl(0);
        loop {
            let sent = self.node.send_direct(self.ids[peer], PROMISE, PROMISED, options).await;
            let id = sent.map_err(io::Error::other)?;
            self.promises.delivered(Arrival { source: self.own, id })?;
            let count = self.promised.fetch_add(1, Ordering::Relaxed) + 1;
            if count.is_multiple_of(REPORT_EVERY as u64) {
                tell(&Report::Promised { count })?;
            }
        }
    }

    /// Waits until all Guaranteed messages are acknowledged.
    async fn deliver(self: Arc<Self>) -> io::Result<()> {
        let mut ticks = ticks(PING_PACE);
        while self.node.counters().sent.stored > 0 {
            ticks.tick().await;
        }
        tell(&Report::Delivered)
    }

    /// Logs large messages whose checksum is right; another one stays unlogged, and counts as lost.
    async fn keep(self: Arc<Self>, mut large: StreamSubscription) -> io::Result<()> {
        while let Some(incoming) = large.recv().await {
            let Incoming::Stream(mut stream) = incoming else { continue };
            if is_sound(&mut stream).await {
                self.log.delivered(Arrival { source: self.index(stream.source())?, id: stream.id() })?;
            }
        }
        Ok(())
    }

    async fn ping(self: Arc<Self>) -> io::Result<()> {
        let mut ticks = ticks(PING_PACE);
        for peer in (0..NODES).cycle().filter(|peer| *peer != self.own) {
            ticks.tick().await;
            if let Ok(Ok(rtt)) = timeout(Duration::from_secs(1), self.node.ping(self.ids[peer])).await {
                let rtt = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
                self.rtts_us.lock().unwrap_or_else(PoisonError::into_inner).push(rtt);
            }
        }
        Ok(())
    }

    /// Sends messages of all priorities and sizes, every fifth to all peers, until it is stopped; then waits for their fates.
    ///
    /// One after another, so that at most one message of a killed node is without an id in its book.
    async fn talk(self: Arc<Self>, mut stopped: watch::Receiver<bool>) -> io::Result<()> {
        let noise: Vec<u8> = (0..=u8::MAX).cycle().take(LONGEST).collect();
        let mut ticks = ticks(PACE);
        let mut fates = JoinSet::new();
        for count in 0_usize.. {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|is_stopped| *is_stopped) => break,
                _ = ticks.tick() => {}
            }
            let payload = Payload::Copied(&noise[..SIZES[count % SIZES.len()]]);
            let options = SendOptions::default().priority(Priority::ALL[count % Priority::ALL.len()]);
            if count % BROADCAST_EVERY == 0 {
                self.broadcast(payload, options, &mut fates).await?;
            } else {
                let others = NODES - 1;
                let target = (self.own + 1 + (count - count / BROADCAST_EVERY) % others) % NODES;
                self.send(target, KIND, payload, options, &mut fates).await?;
            }
            if count % REPORT_EVERY == 0 {
                tell(&Report::Sent { count: count as u64 + 1 })?;
            }
            while let Some(settled) = fates.try_join_next() {
                settled??;
            }
        }
        settle(fates).await?;
        tell(&Report::Settled { rtts_us: take(&self.rtts_us) })
    }

    /// Sends messages that nobody can take within their time to live.
    async fn expire(self: Arc<Self>, peer: usize) -> io::Result<()> {
        let mut fates = JoinSet::new();
        for priority in Priority::ALL {
            let options = SendOptions::default().priority(priority).ttl(1);
            for payload in [&b"too late"[..], b""] {
                self.send(peer, KIND, payload.into(), options, &mut fates).await?;
            }
        }
        settle(fates).await?;
        tell(&Report::Expired)
    }

    /// Sends large messages one after another, and a Critical one every millisecond until the last of them is taken.
    async fn transfer(self: Arc<Self>, peer: usize) -> io::Result<()> {
        let large = large_message();
        let mut ticks = ticks(URGENT_PACE);
        let mut urgent = JoinSet::new();
        for _ in 0..TRANSFERS {
            let mut fates = JoinSet::new();
            let payload = Payload::Shared(large.clone());
            self.send(peer, LARGE, payload, SendOptions::default(), &mut fates).await?;
            let mut settled = std::pin::pin!(settle(fates));
            loop {
                tokio::select! {
                    settled = &mut settled => break settled?,
                    _ = ticks.tick() => {
                        let now = micros_now().to_le_bytes();
                        let options = SendOptions::default().priority(Priority::Critical);
                        self.send(peer, URGENT, (&now).into(), options, &mut urgent).await?;
                    }
                }
            }
        }
        settle(urgent).await?;
        tell(&Report::Transferred)
    }

    async fn send(
        self: &Arc<Self>,
        target: usize,
        kind: u16,
        payload: Payload<'_>,
        options: SendOptions,
        fates: &mut Fates,
    ) -> io::Result<()> {
        let number = self.book.attempt(Some(target))?;
        match self.node.send_direct_tracked(self.ids[target], kind, payload, options).await {
            Ok((id, receipt)) => {
                self.book.sent(number, id)?;
                self.follow(number, target, receipt, fates);
                Ok(())
            }
            Err(error) => self.book.settle(number, target, error.into()),
        }
    }

    async fn broadcast(
        self: &Arc<Self>,
        payload: Payload<'_>,
        options: SendOptions,
        fates: &mut Fates,
    ) -> io::Result<()> {
        let number = self.book.attempt(None)?;
        match self.node.broadcast_tracked(KIND, payload, options).await {
            Ok(broadcast) => {
                self.book.sent(number, broadcast.id)?;
                for (peer, receipt) in broadcast.accepted {
                    if let Some(receipt) = receipt {
                        self.follow(number, self.index(peer)?, receipt, fates);
                    }
                }
                for (peer, error) in broadcast.refused {
                    self.book.settle(number, self.index(peer)?, error.into())?;
                }
                Ok(())
            }
            Err(error) => self.refuse_for_all(number, error),
        }
    }

    fn refuse_for_all(&self, number: u64, error: SendError) -> io::Result<()> {
        (0..NODES)
            .filter(|target| *target != self.own)
            .try_for_each(|target| self.book.settle(number, target, error.into()))
    }

    /// Writes what becomes of a message into the book as soon as it is known.
    fn follow(self: &Arc<Self>, number: u64, target: usize, receipt: Receipt, fates: &mut Fates) {
        let actor = Arc::clone(self);
        fates.spawn(async move { actor.book.settle(number, target, Fate::from(receipt.await)) });
    }

    fn index(&self, id: NodeId) -> io::Result<usize> {
        let index = self.ids.iter().position(|known| *known == id);
        index.ok_or_else(|| io::Error::other(format!("a stranger came by: {id}")))
    }
}

type Fates = JoinSet<io::Result<()>>;

async fn settle(mut fates: Fates) -> io::Result<()> {
    while let Some(settled) = fates.join_next().await {
        settled??;
    }
    Ok(())
}

/// How confidential messages are sent: the play waits for them, so they outlive a session that ends.
fn confidential() -> SendOptions {
    SendOptions::default().reliability(Reliability::High).ttl(0).seal(true).sign(true)
}

/// A large message: the checksum of what follows it, and noise.
fn large_message() -> Bytes {
    let noise = (0_u32..).map(|i| i.wrapping_mul(0x9E37_79B9).to_le_bytes());
    let noise: Vec<u8> = noise.flatten().take(LARGE_LEN - size_of::<u32>()).collect();
    let mut message = BytesMut::with_capacity(LARGE_LEN);
    message.put_u32_le(CHECKSUM.checksum(&noise));
    message.put_slice(&noise);
    message.freeze()
}

/// Whether a large message arrives whole and as it was sent.
async fn is_sound(stream: &mut IncomingStream) -> bool {
    let mut digest = CHECKSUM.digest();
    let mut announced = None;
    let is_whole = stream.total() as usize == LARGE_LEN;
    while stream.received() < stream.total() {
        let Some(Ok(part)) = stream.next().await else { return false };
        match announced {
            Some(_) => digest.update(&part),
            // No first part is so short that the checksum does not fit.
            None => match part.split_first_chunk() {
                Some((checksum, rest)) => {
                    announced = Some(u32::from_le_bytes(*checksum));
                    digest.update(rest);
                }
                None => return false,
            },
        }
    }
    is_whole && announced == Some(digest.finalize())
}

fn take(samples: &Mutex<Vec<u64>>) -> Vec<u64> {
    std::mem::take(&mut *samples.lock().unwrap_or_else(PoisonError::into_inner))
}

fn micros_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn ticks(pace: Duration) -> tokio::time::Interval {
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Numbers that let an absence run its course, from Suspect to an open breaker, within about a second.
fn policy() -> node::Config {
    node::Config {
        backoff: backoff::Policy { cap: Duration::from_millis(400), ..backoff::Policy::default() },
        // The lost session and three failed dials.
        breaker: breaker::Policy { threshold: 4, cooldown: Duration::from_secs(2) },
        // The time is for a peer that is not dialled often enough, because its breaker opened before.
        health: health::Policy {
            down_dials: 3,
            down_after: Duration::from_millis(1500),
            ..health::Policy::default()
        },
        ..node::Config::default()
    }
}

const HEARTBEAT: Duration = Duration::from_millis(250);

/// Nobody answers at the UDP port of a dead node, and a dial fails only when this time is over.
const HANDSHAKE: Duration = Duration::from_millis(500);

/// The time between two messages of a node.
const PACE: Duration = Duration::from_millis(4);

/// The time between two measurements of a round trip.
const PING_PACE: Duration = Duration::from_millis(20);

/// The first message type of applications.
const KIND: u16 = 0;

/// The type of large messages, and of the Critical ones that have to get past them.
const LARGE: u16 = 1;
const URGENT: u16 = 2;

/// A confidential question and its answer.
const QUESTION: u16 = 3;
const ANSWER: u16 = 4;
const ASKED: &[u8] = b"Who knows of this?";
const ANSWERED: &[u8] = b"You, and I.";

/// The type of Guaranteed messages, what they say, and how many are about to be accepted at any time.
const PROMISE: u16 = 5;
const PROMISED: &[u8] = b"what was accepted arrives";
const PROMISES_AT_ONCE: usize = 16;

const LARGE_LEN: usize = 16 << 20;
const TRANSFERS: usize = 10;

/// The time between two Critical messages.
const URGENT_PACE: Duration = Duration::from_millis(1);

const CHECKSUM: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

const LONGEST: usize = 60 * 1024;

/// Nine sizes, four priorities, every fifth a broadcast: numbers without a common divisor, so that all combinations occur.
const SIZES: [usize; 9] = [0, 1, 16, 64, 300, 1024, 4096, 16 * 1024, LONGEST];
const BROADCAST_EVERY: usize = 5;

const REPORT_EVERY: usize = 10;

/// Orders as they come in. The thread ends with the process: nothing else can interrupt its reading.
fn orders() -> mpsc::Receiver<Order> {
    let (sender, orders) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Some(order) = line.ok().and_then(|line| serde_json::from_str(&line).ok()) else { return };
            if sender.blocking_send(order).is_err() {
                return;
            }
        }
    });
    orders
}

fn tell(report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(&script::line(report)?)?;
    out.flush()
}

/// The demo died without a word: the nodes clear up after it. Only files that it made, by their names.
fn remove_files(setup: &Setup) {
    let of_life = |index, life| {
        let (promises, kept) = (setup.promises(index, life), setup.kept(index, life));
        [setup.book(index, life), setup.log(index, life), promises, kept]
    };
    let of_node = |index| (1..=LIVES).flat_map(move |life| of_life(index, life)).chain([setup.key(index)]);
    for store in (0..NODES).filter_map(|index| setup.store(index)) {
        let _ = std::fs::remove_dir_all(store);
    }
    let files: Vec<PathBuf> = (0..NODES).flat_map(of_node).collect();
    for file in files {
        // Another node may have been faster, and the last one finds the directory empty.
        let _ = std::fs::remove_file(file);
    }
    let _ = std::fs::remove_dir(&setup.directory);
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn broken(error: io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("a node of the demo cannot go on: {error}"), "")
}
