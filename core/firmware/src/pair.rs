//! Two complete nodes in one image: control plane, session and outbox each, joined by two byte queues.
//!
//! One dials the other because its node says so, both prove who they are, exchange messages that are acknowledged, and part
//! in good order. Time is counted, not measured, and randomness is seeded: a run repeats bit for bit. A device has a
//! true random source in the seed's place.

use hyphal_core::aead::ChaChaPoly;
use hyphal_core::identity::Identity;
use hyphal_core::ids::{NodeId, NodeType, Priority};
use hyphal_core::node::{self, Action, FixedTable, NO_CERTIFICATE, Node, PeerConfig, SessionRef, Standing};
use hyphal_core::outbox::{FixedStorage, Header, Payload, TinyOutbox};
use hyphal_core::profile::Security;
use hyphal_core::session::{Config, Event, Expect, Messages, Received, Session, Wall};
use hyphal_core::time::{Duration, Instant};
use hyphal_core::wire::hello::NetworkTag;
use hyphal_core::wire::message::Methods;
use hyphal_core::wire::reason::Reason;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::require;

pub(crate) fn two_nodes_exchange_acknowledged_messages() -> Result<(), &'static str> {
    let mut alice = End::new(1, 0);
    let mut bob = End::new(2, 0);
    let mut line = Line::new();
    alice
        .node
        .add_peer(line.now, bob.identity.id(), PeerConfig { dial: true, removed_after: None })
        .map_err(full)?;
    bob.node
        .add_peer(line.now, alice.identity.id(), PeerConfig { dial: false, removed_after: None })
        .map_err(full)?;
    alice.dial(line.now)?;
    bob.accept(line.now);

    for sequence in 0..MESSAGES {
        alice.push(line.now, sequence)?;
        bob.push(line.now, sequence)?;
    }
    line.run(&mut alice, &mut bob, |alice, bob| alice.is_done() && bob.is_done())?;
    require(alice.expected == MESSAGES && bob.expected == MESSAGES, "a message is missing or came twice")?;

    alice.session.close(line.now, Reason::Shutdown);
    line.run(&mut alice, &mut bob, |alice, bob| alice.session.is_closed() && bob.session.is_closed())?;
    require(bob.parted == Some(Reason::Shutdown), "the peer did not hear why the session ended")
}

pub(crate) fn a_stranger_is_refused() -> Result<(), &'static str> {
    let mut stranger = End::new(3, 0);
    let mut bob = End::new(2, 1);
    let mut line = Line::new();
    let to_bob = PeerConfig { dial: true, removed_after: None };
    stranger.node.add_peer(line.now, bob.identity.id(), to_bob).map_err(full)?;
    stranger.dial(line.now)?;
    bob.accept(line.now);

    line.run(&mut stranger, &mut bob, |stranger, bob| {
        stranger.session.is_closed() && bob.session.is_closed()
    })?;

    require(!stranger.was_up && !bob.was_up, "a session came up with a node that nobody added")
}

/// Messages in each direction.
const MESSAGES: u64 = 8;

/// One node with all it needs.
struct End {
    identity: Identity,
    config: Config,
    rng: ChaCha8Rng,
    node: Node<FixedTable<1>, ChaCha8Rng>,
    session: Session<ChaChaPoly>,
    outbox: TinyOutbox,
    /// The sequence of the message that must arrive next.
    expected: u64,
    was_up: bool,
    parted: Option<Reason>,
}

impl End {
    fn new(seed: u64, boot: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let identity = Identity::generate(&mut rng);
        let config = Config {
            network: NetworkTag::of("firmware"),
            node_type: NodeType::Hyphae,
            boot_id: seed << 8 | boot,
            max_message: 256,
            max_record: RECORD as u16,
            window: RECORD as u32,
            compression: Methods::NONE,
            keeps_guaranteed: false,
            heartbeat: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(5),
            max_skew: Duration::from_secs(60),
            security: Security::Minimal,
        };
        let node = Node::new(
            identity.id(),
            node::Config::default(),
            FixedTable::new(),
            ChaCha8Rng::from_rng(&mut rng),
        );
        let session = Session::accept(Instant::ZERO, Wall::default(), &identity, config, &mut rng);
        let outbox = TinyOutbox::new(FixedStorage::new());
        Self { identity, config, rng, node, session, outbox, expected: 0, was_up: false, parted: None }
    }

    fn dial(&mut self, now: Instant) -> Result<(), &'static str> {
        self.node.handle_timeout(now);
        let Some(Action::Dial { id, resumption }) = self.node.poll_action() else {
            return Err("the node did not want to dial");
        };
        let Self { identity, config, rng, .. } = self;
        let expect = resumption.map_or(Expect::Id(id), Expect::Resume);
        self.session = Session::connect(now, Wall::default(), &*identity, *config, expect, rng);
        Ok(())
    }

    fn accept(&mut self, now: Instant) {
        self.session = Session::accept(now, Wall::default(), &self.identity, self.config, &mut self.rng);
    }

    fn push(&mut self, now: Instant, sequence: u64) -> Result<(), &'static str> {
        let header = Header { kind: 1, priority: Priority::High, sequence, ttl: 60, ..Header::default() };
        let pushed = self.outbox.push(now, header, Payload::Copied(&sequence.to_be_bytes()));
        pushed.map(drop).map_err(|_| "the outbox refused a message")
    }

    fn is_done(&self) -> bool {
        self.expected == MESSAGES && self.outbox.counters().confirmed == MESSAGES
    }

    /// What a runtime does when its link is readable or writable, or a deadline has passed.
    fn drive(&mut self, now: Instant, read: &mut Pipe, write: &mut Pipe) -> Result<(), &'static str> {
        let mut at = 0;
        while at < read.len {
            let input = self.session.handle_input(now, &mut self.outbox, &mut read.bytes[at..read.len]);
            at += input.used;
            match input.received {
                Received::NeedMore => break,
                Received::Absorbed | Received::Dropped(_) => {}
                Received::Hint(hint) => self.session.handle_hint(self.node.take_hint(&hint)),
                Received::Offer(offer) => {
                    let verdict = self.node.judge(&offer.id(), offer.dialled(), &NO_CERTIFICATE);
                    self.session.handle_verdict(now, &mut self.outbox, verdict);
                }
                Received::Messages(messages) => {
                    let mark = messages.mark();
                    self.expected = self.expected.max(count_in_order(self.expected, messages)?);
                    self.session.handle_consumed(now, mark);
                }
            }
        }
        read.drop_front(at);

        if self.session.poll_timeout(&self.outbox).is_some_and(|at| at <= now) {
            self.session.handle_timeout(now, &mut self.outbox);
        }
        if let Some(len) = self.session.poll_transmit(now, &mut self.outbox, write.room()) {
            write.len += len;
        }
        while let Some(event) = self.session.poll_event() {
            self.on_event(now, event)?;
        }
        Ok(())
    }

    fn on_event(&mut self, now: Instant, event: Event) -> Result<(), &'static str> {
        match event {
            Event::Up(id) => {
                self.was_up = true;
                let offer = self.session.peer().ok_or("a session is up without a peer")?;
                let session = SessionRef {
                    token: TOKEN,
                    boot_id: offer.hello().boot_id,
                    dialled: offer.dialled(),
                    hints: self.session.hints(),
                    credential: NO_CERTIFICATE,
                    certified_until: None,
                };
                let standing = self.node.handle_peer_up(now, id, session);
                require(standing == Standing::Keep, "the node did not keep its only session")
            }
            Event::Rtt(_) => Ok(()),
            Event::Closed(closed) => {
                self.parted = Some(closed.reason);
                let peer: Option<NodeId> = self.node.peers().next().map(|peer| peer.id);
                if let (true, Some(peer)) = (self.was_up, peer) {
                    self.node.handle_peer_down(now, &peer, TOKEN, closed.reason);
                }
                Ok(())
            }
        }
    }
}

/// The name of an end's only session.
const TOKEN: u64 = 1;

/// The sequence after those in `messages`, each of which must carry its own as payload.
fn count_in_order(mut expected: u64, messages: Messages<'_>) -> Result<u64, &'static str> {
    for message in messages {
        let is_next = message.id.sequence == expected && message.payload == expected.to_be_bytes().as_slice();
        require(is_next, "a message came out of order or changed")?;
        expected += 1;
    }
    Ok(expected)
}

/// The link between two ends, and the time on both.
struct Line {
    now: Instant,
    forth: Pipe,
    back: Pipe,
}

impl Line {
    fn new() -> Self {
        Self { now: Instant::ZERO, forth: Pipe::new(), back: Pipe::new() }
    }

    /// Lets both ends work, 10 ms a turn, until `is_over`.
    fn run(
        &mut self,
        left: &mut End,
        right: &mut End,
        is_over: impl Fn(&End, &End) -> bool,
    ) -> Result<(), &'static str> {
        for _turn in 0..TURNS {
            self.now = self.now.after(Duration::from_millis(10));
            left.drive(self.now, &mut self.back, &mut self.forth)?;
            right.drive(self.now, &mut self.forth, &mut self.back)?;
            if is_over(left, right) {
                return Ok(());
            }
        }
        Err("it was not over after ten seconds")
    }
}

const TURNS: u32 = 1000;

/// The largest record that these ends take: two of them wait in each direction at most.
const RECORD: usize = 1024;

/// Bytes on their way to one end.
struct Pipe {
    bytes: [u8; 2 * RECORD],
    len: usize,
}

impl Pipe {
    fn new() -> Self {
        Self { bytes: [0; 2 * RECORD], len: 0 }
    }

    fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.len..]
    }

    fn drop_front(&mut self, count: usize) {
        self.bytes.copy_within(count..self.len, 0);
        self.len -= count;
    }
}

fn full(_: node::AddPeerError) -> &'static str {
    "the table of peers took no peer"
}
