//! The scene of every test: a victim that listens, and a friend whose traffic with it must never suffer.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use hyphal::metrics::Exposition;
use hyphal::{
    Counters, Filter, Identity, Message, Node, NodeBuilder, NodeId, Reason, SendOptions, Subscription,
    Timeouts, Trust,
};
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing::{Dispatch, Level};

/// A victim and its friend, with a session up between them.
pub(crate) struct Scene {
    pub(crate) victim: Node,
    pub(crate) friend: Node,
    pub(crate) log: Log,
    from_friend: Subscription,
    from_others: Subscription,
    exchanged: u32,
}

impl Scene {
    /// With all defaults, but for a victim that trusts everybody.
    pub(crate) async fn new() -> Self {
        Self::with(|victim| victim).await
    }

    pub(crate) async fn with(configure: impl FnOnce(NodeBuilder) -> NodeBuilder) -> Self {
        let log = Log::capture();
        let friend_id = identity(FRIEND).id();
        let others = [MALLORY, ECHO].map(|seed| identity(seed).id());
        let victim = Node::builder()
            .identity(identity(VICTIM))
            .network(NETWORK)
            .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
            .known_peer(friend_id)
            .timeouts(timeouts())
            .trust(Trust::Open);
        let victim = configure(victim).start().await.unwrap();
        let address = victim.local_addrs()[0].clone();
        let friend = Node::builder()
            .identity(identity(FRIEND))
            .network(NETWORK)
            .peer(victim.id(), address)
            .timeouts(timeouts())
            .start()
            .await
            .unwrap();
        let from_friend = victim.subscribe(Filter::all().source(friend_id));
        let from_others = victim.subscribe(others.into_iter().fold(Filter::all(), Filter::source));
        let mut scene = Self { victim, friend, log, from_friend, from_others, exchanged: 0 };
        scene.exchange().await;
        scene
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.victim.local_addrs()[0].socket_addr().unwrap()
    }

    /// One message each way between the victim and its friend, acknowledged by the applications.
    pub(crate) async fn exchange(&mut self) {
        self.exchanged += 1;
        let text = format!("exchange {}", self.exchanged);
        let (friend, victim) = (self.friend.id(), self.victim.id());
        let options = SendOptions::default();

        soon(self.friend.send_direct(victim, 1, text.as_str(), options)).await.unwrap();
        let there = soon(self.from_friend.recv()).await.unwrap();
        soon(self.victim.send_direct(friend, 1, there.payload, options)).await.unwrap();
        let back = soon(self.friend.recv()).await.unwrap();

        assert_eq!(back.payload, text);
    }

    /// Exchanges once more, over the session of the beginning.
    pub(crate) async fn assert_friend_is_unharmed(&mut self) {
        self.exchange().await;
        let Counters { dialled, closed, received_dropped, .. } = self.friend.counters();
        assert_eq!((dialled, closed, received_dropped), (1, vec![], vec![]));
    }

    /// The next message that the victim receives from somebody else than the friend.
    pub(crate) async fn delivered(&mut self) -> Message {
        soon(self.from_others.recv()).await.unwrap()
    }

    /// The next message that the victim receives from the friend, outside of an exchange.
    pub(crate) async fn delivered_by_friend(&mut self) -> Message {
        soon(self.from_friend.recv()).await.unwrap()
    }

    /// The victim ended exactly `count` connections, all of them for `reason`, and its log says so.
    pub(crate) fn assert_closed(&self, reason: Reason, count: u64) {
        assert_eq!(self.victim.counters().closed, [(reason, count)]);
        self.log.assert_names(reason);
    }

    /// How many connections the victim ended for `reason`.
    pub(crate) fn closed(&self, reason: Reason) -> u64 {
        count(&self.victim.counters().closed, reason)
    }

    /// How many connections the victim ended.
    pub(crate) fn closed_in_all(&self) -> u64 {
        self.victim.counters().closed.iter().map(|(_, count)| count).sum()
    }

    /// How many messages of others than the friend were delivered to the victim's application.
    pub(crate) fn received_from_others(&self) -> u64 {
        self.victim.counters().received - u64::from(self.exchanged)
    }

    /// The victim dropped exactly `count` messages, all of them for `reason`.
    pub(crate) fn assert_dropped(&self, reason: Reason, count: u64) {
        assert_eq!(self.victim.counters().received_dropped, [(reason, count)]);
    }

    /// The same of envelopes, which are counted as such, too, for all and for Mallory.
    pub(crate) async fn assert_envelopes_refused(&self, reason: Reason, count: u64) {
        self.assert_dropped(reason, count);
        let (name, mallory) = (reason.name(), identity(MALLORY).id());
        self.assert_shown(&format!("hyphal_envelopes_refused_total{{reason=\"{name}\"}} {count}")).await;
        let labels = format!("peer=\"{mallory}\",reason=\"{name}\"");
        self.assert_shown(&format!("hyphal_peer_envelopes_refused_total{{{labels}}} {count}")).await;
    }

    /// The page of the victim's numbers has this line.
    pub(crate) async fn assert_shown(&self, line: &str) {
        let page = Exposition::default();
        self.victim.snapshot().await.record(&page, usize::MAX);
        let page = page.to_string();
        assert!(page.lines().any(|shown| shown == line), "{line}\n{page}");
    }

    /// Bytes that the victim has read, the friend's included.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.victim.counters().bytes_received
    }

    /// Whether a session of the victim with `id` is up.
    pub(crate) async fn is_up(&self, id: NodeId) -> bool {
        self.victim.peers().await.iter().any(|peer| peer.status.id == id && peer.status.session.is_some())
    }
}

/// What the nodes of a test wrote to their logs. Tests run on one thread, so the log is theirs alone.
pub(crate) struct Log {
    text: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

/// Where there is only one subscriber, whichever thread comes to a line of the program first decides with its own whether anybody wants
/// it, once and for all; the thread of a test that has ended has none. With these there are more, and all are asked.
static OTHERS: LazyLock<[Dispatch; 2]> =
    LazyLock::new(|| [(); 2].map(|()| Dispatch::new(NoSubscriber::default())));

impl Log {
    fn capture() -> Self {
        LazyLock::force(&OTHERS);
        let text = Arc::default();
        let sink = Sink(Arc::clone(&text));
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::DEBUG)
            .with_ansi(false)
            .with_writer(move || sink.clone())
            .finish();
        Self { text, _guard: tracing::subscriber::set_default(subscriber) }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.text.lock().unwrap().clone()).unwrap()
    }

    /// A line gives `reason` by its name and in words.
    pub(crate) fn assert_names(&self, reason: Reason) {
        let text = self.text();
        let name = format!("reason=\"{}\"", reason.name());
        let is_named = |line: &str| line.contains(&name) && line.contains(&reason.to_string());
        assert!(text.lines().any(is_named), "no line names {name}:\n{text}");
    }

    /// How many lines were written at `level` that name `reason`.
    pub(crate) fn count(&self, level: Level, reason: Reason) -> usize {
        let name = format!("reason=\"{}\"", reason.name());
        let text = self.text();
        text.lines().filter(|line| line.contains(level.as_str()) && line.contains(&name)).count()
    }
}

#[derive(Clone)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn count(counts: &[(Reason, u64)], reason: Reason) -> u64 {
    counts.iter().find(|(counted, _)| *counted == reason).map_or(0, |(_, count)| *count)
}

/// The identity number `seed`: always the same one. About every second seed is no key, so the next one that is counts.
pub(crate) fn identity(seed: u8) -> Identity {
    (0..=u8::MAX)
        .find_map(|more| Identity::from_seed(&[[seed; 16], [more; 16]].concat().try_into().unwrap()).ok())
        .unwrap()
}

/// Timeouts that a test's thread may stand still for as long as a busy machine makes it, without an end to any session.
pub(crate) fn timeouts() -> Timeouts {
    let mut timeouts = Timeouts::default();
    timeouts.handshake = Duration::from_secs(300);
    timeouts.heartbeat = Duration::from_secs(300);
    timeouts
}

/// What `act` gives, or a failed test: nothing here takes for ever.
pub(crate) async fn soon<T>(act: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, act).await.expect("it happens within half a minute")
}

pub(crate) const NETWORK: &str = "hostile";
pub(crate) const VICTIM: u8 = 1;
pub(crate) const FRIEND: u8 = 2;
/// The peer that breaks the rules.
pub(crate) const MALLORY: u8 = 3;
/// Another one, for when it takes two.
pub(crate) const ECHO: u8 = 4;

const PATIENCE: Duration = Duration::from_secs(30);
