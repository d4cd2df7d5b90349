//! A network of whole nodes: control plane, sessions, outboxes and filters, dialling each other over virtual streams.
//!
//! The driver does what a runtime does and decides nothing itself. A session runs on an outbox of its own until the node
//! has said that it stays, so that of two sessions with one peer only one ever writes the peer's messages.

use std::{collections::BTreeMap, ops::Range};

use hyphal_core::{
    filter::Filter,
    identity::Identity,
    ids::{MessageId, NodeId, Priority},
    node::{
        Action, Config, GrowingTable, LinkReport, NO_CERTIFICATE, Node, NodeEvent, PeerConfig, SessionRef,
        Standing, Trust,
    },
    outbox::{Header, Payload, SendError, Ticket},
    session::{self, Expect, Resumption, Session},
    time::{Duration, Instant, UnixTime},
    trust::{Credential, Policy},
    wire::{delivery, reason::Reason, revocation::REVOCATIONS},
};
use rand_chacha::ChaCha8Rng;

use crate::{
    lanes::{Disk, Handed, Lanes},
    link::{Delivered, LabOutbox, LinkEnd, Reading, lab_outbox, reliable},
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

/// A running node.
pub struct Process {
    /// The control plane.
    pub node: Node<GrowingTable, ChaCha8Rng>,
    /// What the node told, and when.
    pub events: Vec<(Instant, NodeEvent)>,
    /// Whom it dialled, and when.
    pub dials: Vec<(Instant, NodeId)>,
    /// What its application received, from whom.
    pub delivered: Vec<(NodeId, Delivered)>,
    /// What its filters kept from the application, and why.
    pub filtered: Vec<(MessageId, Reason)>,
    /// Why it did not take revocation lists, in order.
    pub unheard: Vec<Unheard>,
    /// The epoch of its messages.
    pub boot_id: u64,
    /// The lanes of Guaranteed messages, if it keeps any.
    pub lanes: Option<Lanes>,
    peers: BTreeMap<NodeId, Peer>,
    links: BTreeMap<StreamId, Link>,
    next_token: u64,
    next_sequence: u64,
    /// Stands for a link's own outbox while that is in use.
    spare: LabOutbox,
}

/// What a node keeps for a peer across sessions.
struct Peer {
    outbox: LabOutbox,
    filter: Filter,
    reported: (u64, u64),
}

struct Link {
    side: Side,
    token: u64,
    end: LinkEnd,
    /// What the peer's certificate is worth.
    credential: Result<Credential, Reason>,
    /// Whom this node dialled, until the dial is answered for.
    dialling: Option<NodeId>,
    /// The peer whose outbox the session writes, once the node has said that it stays.
    counts_for: Option<NodeId>,
    /// The peer whose outbox a session that makes way for this one still has.
    inherits_from: Option<NodeId>,
    own_outbox: LabOutbox,
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
        inhabited.process = Some(Process {
            node,
            events: Vec::new(),
            dials: Vec::new(),
            delivered: Vec::new(),
            filtered: Vec::new(),
            unheard: Vec::new(),
            boot_id,
            lanes: inhabited.disk.as_ref().map(Lanes::restore),
            peers: BTreeMap::new(),
            links: BTreeMap::new(),
            next_token: 1,
            next_sequence: 0,
            spare: lab_outbox(),
        });
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
        for link in self.process(home).links.values_mut().filter(|link| link.counts_for == Some(peer)) {
            link.end.session.close(now, reason);
        }
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
        let sequence = process.next_sequence;
        process.next_sequence += 1;
        process.peer(to).outbox.push(now, Header { sequence, ..header }, Payload::Copied(payload))
    }

    /// The virtual clock.
    pub const fn now(&self) -> Instant {
        self.network.now()
    }

    /// The hash of everything that crossed the network and reached the applications, with its times.
    pub const fn fingerprint(&self) -> (Fingerprint, Fingerprint) {
        (self.network.fingerprint(), self.fingerprint)
    }

    /// Runs until `is_there` holds, at most for `bound` of virtual time; says whether it came to hold.
    pub fn drive_until(&mut self, bound: Duration, mut is_there: impl FnMut(&mut Self) -> bool) -> bool {
        let until = self.now().after(bound);
        loop {
            self.settle();
            if is_there(self) {
                return true;
            }
            if self.now() >= until {
                return false;
            }
            let next = self.poll_timeout().map_or(until, |at| at.min(until));
            self.advance(next);
        }
    }

    /// Runs for `span` of virtual time.
    pub fn drive_for(&mut self, span: Duration) {
        self.drive_until(span, |_| false);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let of_processes = self.homes.iter().filter_map(|home| home.process.as_ref()?.poll_timeout());
        of_processes.chain(self.network.poll_timeout()).min()
    }

    fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 10_000, "the nodes find no rest");
            let mut any = false;
            for home in 0..self.homes.len() {
                any |= self.turn(home);
            }
            if !any {
                return;
            }
        }
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
        let link = Link {
            side,
            token: process.next_token,
            end: LinkEnd::new(session),
            credential: NO_CERTIFICATE,
            dialling: expect.and_then(|expect| expect.id()),
            counts_for: None,
            inherits_from: None,
            own_outbox: lab_outbox(),
        };
        process.next_token += 1;
        process.links.insert(stream, link);
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

    fn forget(&mut self, stream: StreamId, side: Side) {
        if let Some(homes) = self.streams.get_mut(&stream) {
            homes[side as usize] = None;
        }
    }
}

impl Link {
    /// Whether the session counts for this peer, or will.
    fn is_of(&self, id: NodeId) -> bool {
        self.counts_for == Some(id) || self.inherits_from == Some(id)
    }
}

impl Process {
    /// The outbox to a peer.
    pub fn outbox(&mut self, id: NodeId) -> &mut LabOutbox {
        &mut self.peer(id).outbox
    }

    /// Sessions that are up, whether or not they count.
    pub fn sessions_up(&self) -> usize {
        self.links.values().filter(|link| link.end.session.is_up()).count()
    }

    fn peer(&mut self, id: NodeId) -> &mut Peer {
        let fresh = || Peer { outbox: lab_outbox(), filter: Filter::new(), reported: (0, 0) };
        self.peers.entry(id).or_insert_with(fresh)
    }

    fn link(&mut self, stream: StreamId) -> &mut Link {
        self.links.get_mut(&stream).expect("the link lives")
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let of_links = self.links.values().filter_map(|link| {
            let outbox = link.counts_for.and_then(|id| self.peers.get(&id)).map(|peer| &peer.outbox);
            link.end.session.poll_timeout(outbox.unwrap_or(&link.own_outbox))
        });
        let of_outboxes = self.peers.values().filter_map(|peer| peer.outbox.poll_timeout());
        of_links.chain(of_outboxes).chain(self.node.poll_timeout()).min()
    }

    fn serve_deadlines(&mut self, now: Instant) -> bool {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return false;
        }
        self.node.handle_timeout(now);
        assert!(self.node.poll_timeout().is_none_or(|at| at > now), "the node's deadline lies ahead");
        for peer in self.peers.values_mut() {
            peer.outbox.handle_timeout(now);
        }
        self.with_links(|link, outbox| link.end.session.handle_timeout(now, outbox));
        true
    }

    fn read(
        &mut self,
        now: Instant,
        papers: &mut Papers,
        disk: &mut Option<Disk>,
        fingerprint: &mut Fingerprint,
    ) -> bool {
        let mut readings = Vec::new();
        self.with_links(|link, outbox| match link.end.read(now, outbox) {
            Reading::Done => {}
            reading => readings.push((link.token, reading)),
        });
        let any = !readings.is_empty();
        for (token, reading) in readings {
            let link = self.links.values_mut().find(|link| link.token == token).expect("it was just read");
            match reading {
                Reading::Hint(hint) => link.end.session.handle_hint(self.node.take_hint(&hint)),
                Reading::Offer(offer) => {
                    link.credential = papers.credential(&offer);
                    let credential = papers.admits(now, link.credential);
                    let verdict = self.node.judge(&offer.id(), offer.dialled(), &credential);
                    link.end.session.handle_verdict(now, &mut link.own_outbox, verdict);
                }
                Reading::Messages { mark, messages } => {
                    link.end.session.handle_consumed(now, mark);
                    let source = link.end.up.map(|(_, id)| id).expect("messages come from a proven peer");
                    for message in messages {
                        fingerprint.note(now, &message.payload);
                        let filter = &mut self.peer(source).filter;
                        match filter.check(message.id, message.priority, message.age, message.ttl) {
                            Ok(()) if message.kind == REVOCATIONS => {
                                self.hear_list(now, papers, token, &message.payload);
                            }
                            Ok(()) if is_of_lane(&message) => {
                                self.hear_lane(now, disk, token, source, &message);
                            }
                            Ok(()) => self.delivered.push((source, message)),
                            Err(reason) => self.filtered.push((message.id, reason)),
                        }
                    }
                }
                Reading::Done | Reading::Absorbed | Reading::Dropped(_) => {}
            }
        }
        any
    }

    /// A word about a lane, or one of its messages.
    fn hear_lane(
        &mut self,
        now: Instant,
        disk: &mut Option<Disk>,
        token: u64,
        source: NodeId,
        message: &Delivered,
    ) {
        let heard = match (&mut self.lanes, disk) {
            (Some(lanes), Some(disk)) if message.number.is_none() => {
                lanes.handle_word(disk, source, token, message)
            }
            (Some(lanes), _) => lanes.take(source, token, message),
            (None, _) => Err(Reason::NotKept),
        };
        if let Err(reason) = heard {
            self.filtered.push((message.id, reason));
            let link = self.links.values_mut().find(|link| link.token == token);
            if let (Reason::Malformed | Reason::Violation, Some(link)) = (reason, link) {
                link.end.session.close(now, reason);
            }
        }
    }

    /// Has the lanes put into the outboxes what they have to say and may send.
    fn feed(&mut self, now: Instant, disk: &mut Option<Disk>) {
        let Self { lanes: Some(lanes), peers, next_sequence, .. } = self else { return };
        let Some(disk) = disk else { return };
        for (id, peer) in peers {
            lanes.feed(disk, now, *id, &mut peer.outbox, next_sequence);
        }
    }

    fn hear_list(&mut self, now: Instant, papers: &mut Papers, token: u64, list: &[u8]) {
        match papers.take_list(list) {
            Ok(()) => {
                self.review(now, papers);
                self.pass_on(now, list);
            }
            Err(unheard) => {
                self.unheard.push(unheard);
                let link = self.links.values_mut().find(|link| link.token == token);
                if let (Unheard::Forged(_), Some(link)) = (unheard, link) {
                    link.end.session.close(now, Reason::Violation);
                }
            }
        }
    }

    fn review(&mut self, now: Instant, papers: &Papers) {
        self.node.review(now, |credential| papers.confirms(now, credential));
    }

    /// Gives a list to every peer that is here.
    fn pass_on(&mut self, now: Instant, list: &[u8]) {
        let here: Vec<NodeId> = self.links.values().filter_map(|link| link.counts_for).collect();
        here.into_iter().for_each(|id| self.send_list(now, id, list));
    }

    fn send_list(&mut self, now: Instant, id: NodeId, list: &[u8]) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let header = Header { kind: REVOCATIONS, priority: Priority::Critical, ..reliable(sequence) };
        self.peer(id).outbox.push(now, header, Payload::Copied(list)).expect("the outbox has room");
    }

    fn hear_events(&mut self, now: Instant, papers: &Papers) -> bool {
        let mut any = false;
        for stream in self.links.keys().copied().collect::<Vec<_>>() {
            let round_trips = self.link(stream).end.round_trips.len();
            let was_up = self.link(stream).end.up.is_some();
            if self.link(stream).end.note_events(now) {
                any = true;
                if !was_up && self.link(stream).end.up.is_some() && self.link(stream).end.closed.is_none() {
                    self.on_up(now, papers, stream);
                }
                if self.link(stream).end.round_trips.len() > round_trips {
                    self.report(stream);
                }
                if let Some((_, closed)) = self.link(stream).end.closed {
                    self.on_closed(now, stream, closed.reason);
                }
            }
        }
        while let Some(event) = self.node.poll_event() {
            any = true;
            self.events.push((now, event));
        }
        any
    }

    fn on_up(&mut self, now: Instant, papers: &Papers, stream: StreamId) {
        let link = self.link(stream);
        let (id, dialled) = (link.end.up.expect("it came up").1, link.side == Side::Opener);
        let Some(offer) = link.end.session.peer() else { return };
        let (token, boot_id) = (link.token, offer.hello().boot_id);
        link.dialling = None;
        let hints = link.end.session.hints();
        let credential = papers.admits(now, link.credential);
        let certified_until =
            credential.and_then(|credential| papers.confirms(now, &credential)).ok().flatten();
        let session = SessionRef { token, boot_id, dialled, hints, credential, certified_until };
        self.peer(id);
        match self.node.handle_peer_up(now, id, session) {
            Standing::CloseNew(reason) => {
                self.link(stream).end.session.close(now, reason);
                return;
            }
            Standing::RetireNew => self.link(stream).end.session.retire(now, Reason::Replaced),
            Standing::Keep => self.attach(id, stream),
            Standing::ReplaceOld(token) => {
                for old in self.links.values_mut().filter(|link| link.is_of(id)) {
                    old.counts_for = None;
                    old.inherits_from = None;
                    if old.token == token {
                        old.end.session.close(now, Reason::Replaced);
                    }
                }
                self.attach(id, stream);
            }
            Standing::RetireOld(token) => {
                if let Some(old) = self.links.values_mut().find(|link| link.token == token) {
                    old.end.session.retire(now, Reason::Replaced);
                }
                if self.links.values().any(|link| link.counts_for == Some(id)) {
                    self.link(stream).inherits_from = Some(id);
                } else {
                    self.attach(id, stream);
                }
            }
        }
        papers.lists().iter().for_each(|list| self.send_list(now, id, list));
    }

    fn attach(&mut self, id: NodeId, stream: StreamId) {
        if let (Some(link), Some(peer)) = (self.links.get_mut(&stream), self.peers.get_mut(&id)) {
            link.counts_for = Some(id);
            link.inherits_from = None;
            link.end.session.attach(&mut peer.outbox);
            let keeps = link.end.session.peer().is_some_and(|offer| offer.hello().keeps_guaranteed());
            if let Some(lanes) = self.lanes.as_mut().filter(|_| keeps) {
                lanes.handle_session_start(id, link.token);
            }
        }
    }

    fn report(&mut self, stream: StreamId) {
        let link = self.link(stream);
        let (token, rtt) = (link.token, link.end.round_trips.last().copied());
        let Some(id) = link.counts_for else { return };
        let peer = self.peer(id);
        let counters = peer.outbox.counters();
        let (confirmed, unconfirmed) =
            std::mem::replace(&mut peer.reported, (counters.confirmed, counters.unconfirmed));
        let report = LinkReport {
            rtt,
            confirmed: counters.confirmed - confirmed,
            unconfirmed: counters.unconfirmed - unconfirmed,
            ..LinkReport::default()
        };
        self.node.handle_report(&id, token, &report);
    }

    fn on_closed(&mut self, now: Instant, stream: StreamId, reason: Reason) {
        self.report(stream);
        let link = self.link(stream);
        let (token, dialling, counts_for) = (link.token, link.dialling.take(), link.counts_for.take());
        let inherits_from = link.inherits_from.take();
        if let (Some(id), Some(lanes)) = (counts_for, &mut self.lanes) {
            lanes.handle_session_end(id, token);
        }
        if let Some(id) = counts_for.or(inherits_from) {
            self.node.handle_peer_down(now, &id, token, reason);
        } else if let Some(id) = dialling {
            self.node.handle_dial_failed(now, &id, reason);
        }
        let heir =
            self.links.iter().find(|(_, link)| counts_for.is_some() && link.inherits_from == counts_for);
        if let (Some(id), Some(heir)) = (counts_for, heir.map(|(stream, _)| *stream)) {
            self.attach(id, heir);
        }
    }

    fn transmit(&mut self, now: Instant, network: &mut VirtualNetwork, buffer: &mut [u8]) -> bool {
        let mut any = false;
        let streams: Vec<StreamId> = self.links.keys().copied().collect();
        let mut streams = streams.into_iter();
        self.with_links(|link, outbox| {
            let stream = streams.next().expect("as many streams as links");
            while network.stream_room(stream, link.side) >= buffer.len()
                && let Some(len) = link.end.session.poll_transmit(now, outbox, buffer)
            {
                any = true;
                network.write_stream(stream, link.side, &buffer[..len]);
            }
        });
        any
    }

    /// Carries out what the node asks for, except dials, which it answers.
    fn poll_actions(&mut self, now: Instant) -> Vec<(NodeId, Option<Resumption>)> {
        let mut dials = Vec::new();
        while let Some(action) = self.node.poll_action() {
            match action {
                Action::Dial { id, resumption } => {
                    self.dials.push((now, id));
                    dials.push((id, resumption));
                }
                Action::Close { token, reason, .. } => {
                    if let Some(link) = self.links.values_mut().find(|link| link.token == token) {
                        link.end.session.close(now, reason);
                    }
                }
            }
        }
        dials
    }

    /// Removes the links whose sessions have ended, and names their streams.
    fn bury(&mut self) -> Vec<(StreamId, Side)> {
        let over = |link: &Link| link.end.closed.is_some();
        let dead = self
            .links
            .iter()
            .filter(|(_, link)| over(link))
            .map(|(stream, link)| (*stream, link.side))
            .collect();
        self.links.retain(|_, link| !over(link));
        dead
    }

    fn lose(&mut self, stream: StreamId) {
        let link = self.links.get_mut(&stream).expect("the link lives");
        let peer = link.counts_for.and_then(|id| self.peers.get_mut(&id));
        let outbox = peer.map_or(&mut link.own_outbox, |peer| &mut peer.outbox);
        link.end.session.handle_link_lost(outbox);
    }

    fn with_links(&mut self, mut each: impl FnMut(&mut Link, &mut LabOutbox)) {
        for link in self.links.values_mut() {
            match link.counts_for.and_then(|id| self.peers.get_mut(&id)) {
                Some(peer) => each(link, &mut peer.outbox),
                None => {
                    std::mem::swap(&mut link.own_outbox, &mut self.spare);
                    each(link, &mut self.spare);
                    std::mem::swap(&mut link.own_outbox, &mut self.spare);
                }
            }
        }
    }
}

fn is_of_lane(message: &Delivered) -> bool {
    message.number.is_some() || delivery::is_delivery(message.kind)
}
