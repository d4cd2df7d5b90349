//! Two of the smallest nodes, with fixed outboxes and fixed tables, handshake, talk both ways and part without allocating
//! once: the proof that a microcontroller without a heap runs the same code.
//!
//! The link between them is a pair of arrays, since the virtual network itself allocates.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use hyphal_core::{
    aead::ChaChaPoly,
    filter::Filter,
    identity::Identity,
    ids::{NodeId, Priority},
    node::{
        self, Action, FixedTable, LinkReport, NO_CERTIFICATE, Node, NodeEvent, PeerConfig, SessionRef,
        Standing,
    },
    outbox::{Header, Payload, TinyOutbox},
    session::{Closed, Config, Event, Expect, Received, Session, Wall},
    time::{Duration, Instant},
    wire::reason::Reason,
};
use hyphal_lab::{pair::lab_config, seed::Seed};
use rand_chacha::ChaCha8Rng;

#[test]
fn from_the_dial_to_the_goodbye() {
    let seed = Seed::of(1);
    let mut chance = seed.generator("nodes");
    let identities = [Identity::generate(chance.generator()), Identity::generate(chance.generator())];
    let ids = [identities[0].id(), identities[1].id()];
    let mut rng = chance.generator().clone();
    let nodes = [Tiny::new(ids[0], ids[1], &mut rng), Tiny::new(ids[1], ids[0], &mut rng)];

    let before = allocations();
    let [told, heard] = live(nodes, &identities, &mut rng);
    let after = allocations();

    assert_eq!(after - before, 0, "allocations");
    assert_eq!((told.received, heard.received), (40, 40));
    assert_eq!((told.outbox.counters().confirmed, heard.outbox.counters().confirmed), (40, 40));
    assert_eq!(told.closed.map(|closed| (closed.reason, closed.by_peer)), Some((Reason::Shutdown, false)));
    assert_eq!(heard.closed.map(|closed| (closed.reason, closed.by_peer)), Some((Reason::Shutdown, true)));
}

#[test]
fn the_counter_counts() {
    let before = allocations();

    drop(std::hint::black_box(Box::new(1)));

    assert_eq!(allocations() - before, 1);
}

/// A whole node with one peer.
struct Tiny {
    peer: NodeId,
    node: Node<FixedTable<2>, ChaCha8Rng>,
    outbox: TinyOutbox,
    filter: Filter,
    wire: Wire,
    received: u32,
    closed: Option<Closed>,
}

/// Bytes that came and were not used yet.
struct Wire {
    bytes: [u8; 2048],
    len: usize,
}

impl Tiny {
    fn new(own: NodeId, peer: NodeId, rng: &mut ChaCha8Rng) -> Self {
        let mut node = Node::new(own, node::Config::default(), FixedTable::new(), rng.clone());
        node.add_peer(Instant::ZERO, peer, PeerConfig::default()).expect("there is room for two");
        Self {
            peer,
            node,
            outbox: TinyOutbox::new(Default::default()),
            filter: Filter::new(),
            wire: Wire { bytes: [0; 2048], len: 0 },
            received: 0,
            closed: None,
        }
    }

    fn say_something(&mut self, now: Instant, sequence: u64) {
        let priority = Priority::ALL[sequence as usize % 4];
        let header = Header { kind: 0x1000, priority, sequence, ttl: 60, ..Header::default() };
        self.outbox.push(now, header, Payload::Copied(b"a small reading")).expect("there is room");
    }

    /// Hears everything on the wire, does what is due, and writes what there is to say to `other`.
    fn turn(&mut self, now: Instant, session: &mut Session<ChaChaPoly>, other: &mut Wire) {
        session.handle_timeout(now, &mut self.outbox);
        self.node.handle_timeout(now);
        let mut used = 0;
        loop {
            let input =
                session.handle_input(now, &mut self.outbox, &mut self.wire.bytes[used..self.wire.len]);
            used += input.used;
            match input.received {
                Received::NeedMore => break,
                Received::Absorbed if input.used == 0 => break,
                Received::Absorbed => {}
                Received::Hint(hint) => session.handle_hint(self.node.take_hint(&hint)),
                Received::Offer(offer) => {
                    let verdict = self.node.judge(&offer.id(), offer.dialled(), &NO_CERTIFICATE);
                    session.handle_verdict(now, &mut self.outbox, verdict);
                }
                Received::Messages(messages) => {
                    let mark = messages.mark();
                    for message in messages {
                        let verdict =
                            self.filter.check(message.id, message.priority, message.age, message.ttl);
                        assert_eq!(verdict, Ok(()));
                        assert_eq!(message.payload, b"a small reading");
                        self.received += 1;
                    }
                    session.handle_consumed(now, mark);
                }
                Received::Dropped(reason) => panic!("dropped for {reason:?}"),
            }
        }
        self.wire.bytes.copy_within(used..self.wire.len, 0);
        self.wire.len -= used;
        self.hear_events(now, session);
        while other.len + 512 <= other.bytes.len()
            && let Some(len) = session.poll_transmit(now, &mut self.outbox, &mut other.bytes[other.len..])
        {
            other.len += len;
        }
        self.hear_events(now, session);
    }

    fn hear_events(&mut self, now: Instant, session: &mut Session<ChaChaPoly>) {
        while let Some(event) = session.poll_event() {
            match event {
                Event::Up(id) => {
                    let offer = session.peer().expect("it is up");
                    let boot_id = offer.hello().boot_id;
                    let reference = SessionRef {
                        token: 1,
                        boot_id,
                        dialled: offer.dialled(),
                        hints: session.hints(),
                        credential: NO_CERTIFICATE,
                        certified_until: None,
                    };
                    assert_eq!(self.node.handle_peer_up(now, id, reference), Standing::Keep);
                    assert_eq!(self.node.poll_event(), Some(NodeEvent::PeerUp { id }));
                }
                Event::Rtt(rtt) => {
                    let report = LinkReport { rtt: Some(rtt), ..LinkReport::default() };
                    self.node.handle_report(&self.peer, 1, &report);
                }
                Event::Closed(closed) => {
                    self.closed = Some(closed);
                    self.node.handle_peer_down(now, &self.peer, 1, closed.reason);
                }
            }
        }
        while self.node.poll_event().is_some() {}
    }
}

/// Both nodes from the dial of the first to its goodbye, a millisecond at a time.
fn live([mut one, mut two]: [Tiny; 2], identities: &[Identity; 2], rng: &mut ChaCha8Rng) -> [Tiny; 2] {
    let mut now = Instant::ZERO;
    one.node.handle_timeout(now);
    assert_eq!(one.node.poll_action(), Some(Action::Dial { id: two.node.id(), resumption: None }));
    let config = Config { max_record: 512, max_message: 256, ..lab_config(1) };
    let wall = Wall::default();
    let mut dialling = Session::connect(now, wall, &identities[0], config, Expect::Id(one.peer), rng);
    let mut accepting = Session::accept(now, wall, &identities[1], Config { boot_id: 2, ..config }, rng);
    for round in 0..1000 {
        now = now.after(Duration::from_millis(1));
        if (100..500).contains(&round) && round % 10 == 0 {
            one.say_something(now, round / 10);
            two.say_something(now, round / 10);
        }
        if round == 900 {
            dialling.close(now, Reason::Shutdown);
        }
        one.turn(now, &mut dialling, &mut two.wire);
        two.turn(now, &mut accepting, &mut one.wire);
    }
    [one, two]
}

/// The system's allocator, counting for each thread on its own, so that tests do not count each other.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn allocations() -> u64 {
    ALLOCATIONS.get()
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract; counting does not allocate
// (the cell is const-initialised and needs no destructor) and does not touch the memory.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are those of `System::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` with this layout, as all of ours do.
        unsafe { System.dealloc(pointer, layout) }
    }
}
