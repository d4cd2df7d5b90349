//! A network of whole nodes: control plane, sessions, outboxes and filters, dialling each other over virtual streams.
//!
//! The driver does what a runtime does and decides nothing itself. A session runs on an outbox of its own until the node
//! has said that it stays, so that of two sessions with one peer only one ever writes the peer's messages.

mod process;

use std::{collections::BTreeMap, ops::Range};

use hyphal_core::{
    identity::Identity,
    ids::{NodeId, Priority},
    node::{Config, GrowingTable, Node, PeerConfig, Trust},
    outbox::{Header, Payload, SendError, Ticket},
    session::{self, Expect, Resumption, Session},
    time::{Duration, Instant, UnixTime},
    trust::Policy,
    wire::reason::Reason,
};

pub use self::process::Process;
use crate::{
    drive::Drive,
    lanes::{Disk, Handed, Lanes},
    network::{Arrival, Side, StreamConditions, StreamId, VirtualNetwork},
    pair::lab_config,
    papers::{Authority, Papers, Unheard},
    seed::{Chance, Seed},
    transcript::Fingerprint,
};

/// Names a place in the network where a node lives, one process after another.
pub type Home = usize;

/// Whole nodes in a virtual network.
pub struct Net {
    /// The network; its clock is everybody's clock.
    pub network: VirtualNetwork,
    /// How often the sessions of nodes that dial or are dialled from now on let themselves be heard.
    pub heartbeat: Duration,
    /// Whether somebody on the path keeps everything that is written to streams which are dialled from now on.
    pub intercepts: bool,
    conditions: StreamConditions,
    homes: Vec<Inhabited>,
    /// Which node each end of a stream belongs to, while it lives.
    streams: BTreeMap<StreamId, [Option<Home>; 2]>,
    chance: Chance,
    buffer: Vec<u8>,
    fingerprint: Fingerprint,
}

struct Inhabited {
    identity: Identity,
    config: Config,
    papers: Papers,
    /// Where it keeps Guaranteed messages, if it does.
    disk: Option<Disk>,
    process: Option<Process>,
}

impl Net {
    /// A network without nodes whose links are as `conditions` says.
    pub fn new(seed: &Seed, conditions: StreamConditions) -> Self {
        Self {
            network: VirtualNetwork::new(seed),
            heartbeat: lab_config(0).heartbeat,
            intercepts: false,
            conditions,
            homes: Vec::new(),
            streams: BTreeMap::new(),
            chance: seed.generator("nodes"),
            buffer: vec![0; 16 * 1024],
            fingerprint: Fingerprint::default(),
        }
    }

    /// Settles a node with a fresh identity and starts it.
    pub fn settle_node(&mut self, config: Config) -> Home {
        let identity = Identity::generate(self.chance.generator());
        self.settle_identity(identity, config)
    }

    /// Settles a node with this identity, perhaps one that lives elsewhere too, and starts it.
    pub fn settle_identity(&mut self, identity: Identity, config: Config) -> Home {
        self.homes.push(Inhabited { identity, config, papers: Papers::default(), disk: None, process: None });
        self.start(self.homes.len() - 1);
        self.homes.len() - 1
    }

    /// Settles a node with a certificate of `authority`, which admits whom the same authority certifies, and starts it.
    pub fn settle_member(&mut self, authority: &Authority, serial: u64, valid: Range<UnixTime>) -> Home {
        let home = self.settle_node(Config { trust: Trust::Certified, ..Config::default() });
        let certificate = authority.certificate(serial, self.id(home), valid);
        *self.papers(home) =
            Papers { certificate: Some(certificate), ..Papers::of(authority, Policy::default()) };
        home
    }

    /// The identity of the node that lives at `home`.
    pub fn identity(&self, home: Home) -> &Identity {
        &self.homes[home].identity
    }

    /// The id of the node that lives at `home`.
    pub fn id(&self, home: Home) -> NodeId {
        self.homes[home].identity.id()
    }

    /// What the node at `home` shows of itself and admits others by.
    pub fn papers(&mut self, home: Home) -> &mut Papers {
        &mut self.homes[home].papers
    }

    /// The node at `home` keeps Guaranteed messages from its next sessions on.
    pub fn give_disk(&mut self, home: Home) {
        let disk = Disk::default();
        self.process(home).lanes = Some(Lanes::restore(&disk));
        self.homes[home].disk = Some(disk);
    }

    /// Where the node at `home` keeps Guaranteed messages.
    ///
    /// # Panics
    /// If it keeps none.
    pub fn disk(&self, home: Home) -> &Disk {
        self.homes[home].disk.as_ref().expect("it keeps Guaranteed messages")
    }

    /// Stores a Guaranteed message from one node to another, and says which number it has.
    ///
    /// # Panics
    /// If the node does not run or keeps none.
    pub fn send_guaranteed(&mut self, from: Home, to: Home, class: Priority, payload: &[u8]) -> u64 {
        let (to, epoch) = (self.id(to), self.chance.below(u64::MAX));
        let (lanes, disk) = self.lanes(from);
        lanes.accept(disk, to, class, epoch, payload)
    }

    /// The application of the node at `home` has committed a message that it holds.
    ///
    /// # Panics
    /// If the node does not run, keeps none, or the application does not hold so many.
    pub fn commit(&mut self, home: Home, at: usize) -> Handed {
        let (lanes, disk) = self.lanes(home);
        lanes.commit(disk, at)
    }

    fn lanes(&mut self, home: Home) -> (&mut Lanes, &mut Disk) {
        let Inhabited { process, disk, .. } = &mut self.homes[home];
        let lanes = process.as_mut().and_then(|process| process.lanes.as_mut());
        lanes.zip(disk.as_mut()).expect("it runs and keeps Guaranteed messages")
    }

    /// The operator of the node at `home` gives it a revocation list.
    ///
    /// # Errors
    /// As [`Papers::take_list`].
    pub fn publish(&mut self, home: Home, list: &[u8]) -> Result<(), Unheard> {
        let now = self.now();
        let Inhabited { papers, process, .. } = &mut self.homes[home];
        papers.take_list(list)?;
        if let Some(process) = process {
            process.review(now, papers);
            process.pass_on(now, list);
        }
        Ok(())
    }

    /// The node at `home` looks at all certificates again, as it does from time to time.
    pub fn review(&mut self, home: Home) {
        let now = self.now();
        let Inhabited { papers, process, .. } = &mut self.homes[home];
        process.as_mut().expect("the node runs").review(now, papers);
    }

    /// The node that runs at `home`.
    ///
    /// # Panics
    /// If it does not run.
    pub fn process(&mut self, home: Home) -> &mut Process {
        self.homes[home].process.as_mut().expect("the node runs")
    }

    /// Adds the node at `peer` to the list of the one at `home`.
    pub fn introduce(&mut self, home: Home, peer: Home, config: PeerConfig) {
        let (now, id) = (self.now(), self.id(peer));
        self.process(home).node.add_peer(now, id, config).expect("there is room for the peer");
    }

    /// Starts the node at `home`: a new boot id, no peers, nothing in its outboxes.
    pub fn start(&mut self, home: Home) {
        let rng = self.chance.generator().clone();
        let boot_id = self.chance.below(u64::MAX);
        let inhabited = &mut self.homes[home];
        let node = Node::new(inhabited.identity.id(), inhabited.config, GrowingTable::new(100), rng);
        inhabited.process = Some(Process::new(node, boot_id, inhabited.disk.as_ref()));
    }

    /// Kills the node at `home`; its system closes its streams. What it left behind is returned for the books.
    pub fn kill(&mut self, home: Home) -> Process {
        let process = self.homes[home].process.take().expect("the node runs");
        for (stream, link) in &process.links {
            self.network.close_stream(*stream, link.side);
            self.forget(*stream, link.side);
        }
        process
    }

    /// The machine at `home` loses power: nobody hears from it again, nor that it is gone.
    pub fn unplug(&mut self, home: Home) -> Process {
        let process = self.homes[home].process.take().expect("the node runs");
        for (stream, link) in &process.links {
            self.network.let_bytes_vanish(*stream, link.side);
            self.forget(*stream, link.side);
        }
        process
    }

    /// The node at `home` notices that its links are gone; the other ends of them do not, as after a change of networks.
    pub fn displace(&mut self, home: Home) {
        let process = self.homes[home].process.as_mut().expect("the node runs");
        for stream in process.links.keys().copied().collect::<Vec<_>>() {
            for side in Side::BOTH {
                self.network.let_bytes_vanish(stream, side);
            }
            process.lose(stream);
        }
    }

    /// The node at `home` ends its session with `peer` in good order.
    pub fn close_session(&mut self, home: Home, peer: NodeId, reason: Reason) {
        let now = self.now();
        self.process(home).close_sessions(now, peer, reason);
    }

    /// Somebody who is no node opens a stream to the node at `home`, as its opener.
    pub fn intrude(&mut self, home: Home) -> StreamId {
        let stream = self.network.open_stream(self.conditions);
        self.streams.insert(stream, [None, Some(home)]);
        self.open_link(home, stream, Side::Target, None);
        stream
    }

    /// All streams in the order in which they were opened.
    pub fn streams(&self) -> Vec<StreamId> {
        self.streams.keys().copied().collect()
    }

    /// Queues a message from one node to another; its sequence is the sender's next.
    ///
    /// # Errors
    /// As [`Outbox::push`](hyphal_core::outbox::Outbox::push).
    pub fn send(
        &mut self,
        from: Home,
        to: Home,
        header: Header,
        payload: &[u8],
    ) -> Result<Ticket, SendError> {
        let (now, to) = (self.now(), self.id(to));
        let process = self.process(from);
        let sequence = process.next_sequence();
        process.outbox(to).push(now, Header { sequence, ..header }, Payload::Copied(payload))
    }

    /// The hash of everything that crossed the network and reached the applications, with its times.
    pub const fn fingerprint(&self) -> (Fingerprint, Fingerprint) {
        (self.network.fingerprint(), self.fingerprint)
    }

    /// Everything that the node at `home` has to do at this moment; says whether there was anything.
    fn turn(&mut self, home: Home) -> bool {
        let now = self.now();
        let Inhabited { papers, disk, process, .. } = &mut self.homes[home];
        let Some(process) = process else { return false };
        let mut any = process.serve_deadlines(now);
        any |= process.read(now, papers, disk, &mut self.fingerprint);
        any |= process.hear_events(now, papers);
        process.feed(now, disk);
        any |= process.transmit(now, &mut self.network, &mut self.buffer);
        any |= process.hear_events(now, papers);
        for (stream, side) in process.bury() {
            self.network.close_stream(stream, side);
            self.forget(stream, side);
        }
        let dials = self.process(home).poll_actions(now);
        any |= !dials.is_empty();
        for (id, resumption) in dials {
            self.dial(home, id, resumption);
        }
        any
    }

    fn dial(&mut self, home: Home, id: NodeId, resumption: Option<Resumption>) {
        let now = self.now();
        let target = (0..self.homes.len()).find(|at| self.id(*at) == id && self.homes[*at].process.is_some());
        let Some(target) = target else {
            self.process(home).node.handle_dial_failed(now, &id, Reason::Unreachable);
            return;
        };
        let stream = self.network.open_stream(self.conditions);
        self.streams.insert(stream, [Some(home), Some(target)]);
        if self.intercepts {
            Side::BOTH.into_iter().for_each(|side| self.network.let_bytes_vanish(stream, side));
        }
        let expect = resumption.map_or(Expect::Id(id), Expect::Resume);
        self.open_link(home, stream, Side::Opener, Some(expect));
        self.open_link(target, stream, Side::Target, None);
    }

    /// Gives the node at `home` its end of a stream; whoever dialled expects somebody.
    fn open_link(&mut self, home: Home, stream: StreamId, side: Side, expect: Option<Expect>) {
        let now = self.now();
        let Inhabited { identity, papers, disk, process, .. } = &mut self.homes[home];
        let process = process.as_mut().expect("the node runs");
        let config = session::Config {
            heartbeat: self.heartbeat,
            node_type: papers.node_type,
            keeps_guaranteed: disk.is_some(),
            ..lab_config(process.boot_id)
        };
        let (wall, credentials) = (papers.wall(now), papers.credentials(identity));
        let rng = self.chance.generator();
        let session = match expect {
            Some(expect) => Session::connect(now, wall, credentials, config, expect, rng),
            None => Session::accept(now, wall, credentials, config, rng),
        };
        process.add_link(stream, side, session, expect.and_then(|expect| expect.id()));
    }

    fn forget(&mut self, stream: StreamId, side: Side) {
        if let Some(homes) = self.streams.get_mut(&stream) {
            homes[side as usize] = None;
        }
    }
}

impl Drive for Net {
    fn now(&self) -> Instant {
        self.network.now()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let of_processes = self.homes.iter().filter_map(|home| home.process.as_ref()?.poll_timeout());
        of_processes.chain(self.network.poll_timeout()).min()
    }

    fn step(&mut self) -> bool {
        let mut any = false;
        for home in 0..self.homes.len() {
            any |= self.turn(home);
        }
        any
    }

    fn advance(&mut self, until: Instant) {
        let home_at = |net: &mut Self, stream: StreamId, to: Side| {
            let home = net.streams.get(&stream)?[to as usize]?;
            net.homes[home]
                .process
                .as_mut()
                .filter(|process| process.links.contains_key(&stream))
                .map(|_| home)
        };
        match self.network.poll_arrival(until) {
            Some(Arrival::Bytes { stream, to, bytes }) => {
                if let Some(home) = home_at(self, stream, to) {
                    self.process(home).link(stream).end.handle_bytes(&bytes);
                }
            }
            Some(Arrival::Ended { stream, to }) => {
                if let Some(home) = home_at(self, stream, to) {
                    self.process(home).lose(stream);
                }
            }
            Some(Arrival::Packet { .. }) | None => {}
        }
    }
}
