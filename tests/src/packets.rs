//! Two datagram sessions over a packet pipe, with the gate of the dialled end, driven under the virtual clock.
//!
//! The sibling of [`Pair`](crate::pair::Pair): it puts parts together in any order, delivers what the filter lets through,
//! and knows addresses: what is sent to where nobody is goes astray, and is counted.

use std::collections::{BTreeMap, VecDeque};

use hyphal_core::{
    aead::ChaChaPoly,
    filter::Filter,
    gate::{Admission, Gate, REPLY_LEN},
    ids::{Acquaintance, Hint, MessageId, NodeId},
    outbox::{Header, Payload, SendError, Ticket},
    session::{
        Closed, ConnectionId, DatagramSession, Event, Expect, MAX_DATAGRAM, Mark, Message, Path, Received,
    },
    time::{Duration, Instant},
    wire::reason::Reason,
};

use crate::{
    drive::Drive,
    link::{Delivered, LabOutbox, lab_outbox},
    network::{Arrival, PacketConditions, PipeId, Side, VirtualNetwork},
    pair::{EndSetup, Setup},
    seed::{Chance, Seed},
};

/// A session of the lab: up to 128 records with messages under way.
pub type LabSession = DatagramSession<ChaChaPoly, 128>;

/// Where the dialling end of a [`PacketPair`] is.
pub const OPENER: Path = Path { address: [1; 16], port: 1001 };
/// Where the dialled end is.
pub const TARGET: Path = Path { address: [2; 16], port: 2002 };

/// How a [`PacketPair`] begins.
pub struct PacketSetup {
    /// The pipe between both ends.
    pub conditions: PacketConditions,
    /// The ends, the one that dials first.
    pub ends: [EndSetup; 2],
    /// Whom the dialling end expects.
    pub expect: Expect,
    /// Whether both ends are those of a line, without addresses and gate.
    pub line: bool,
}

impl PacketSetup {
    /// Two strangers with fresh identities in the same network, on a good pipe.
    pub fn new(seed: &Seed) -> Self {
        let Setup { ends, .. } = Setup::new(seed);
        Self { conditions: PacketConditions::default(), ends, expect: Expect::Anyone, line: false }
    }
}

/// One end of a [`PacketPair`].
pub struct PacketEnd {
    setup: EndSetup,
    /// Who it is.
    pub id: NodeId,
    /// Its session; the dialled end has none before somebody was admitted.
    pub session: Option<LabSession>,
    /// Where it sends from, and is reached.
    pub address: Path,
    /// What it sends, and what became of it.
    pub outbox: LabOutbox,
    /// What it has seen.
    pub filter: Filter,
    /// The hints that it keeps, and whom it gave them to; each is forgotten when it is asked for.
    pub given: BTreeMap<Hint, Acquaintance>,
    /// Whether its application takes messages without ever being done with them.
    pub hoards: bool,
    /// What its application received, in order.
    pub delivered: Vec<Delivered>,
    /// What its filter kept from the application, and why.
    pub filtered: Vec<(MessageId, Reason)>,
    /// Why datagrams were dropped, in order.
    pub dropped: Vec<Reason>,
    /// Measured round trips, in order.
    pub round_trips: Vec<Duration>,
    /// When the session came up, and with whom.
    pub up: Option<(Instant, NodeId)>,
    /// When and how the session ended.
    pub closed: Option<(Instant, Closed)>,
    /// Every datagram that it sent, with its address.
    pub sent: Vec<(Path, Vec<u8>)>,
    /// Bytes that came to it from each address.
    pub heard: BTreeMap<Path, usize>,
    /// How many sessions it opened for others.
    pub accepted: usize,
    inbox: VecDeque<(Path, Vec<u8>)>,
    assemblies: BTreeMap<MessageId, Assembly>,
    /// Where the last record ends that the application was given.
    mark: Option<Mark>,
}

/// A message whose parts come in any order.
struct Assembly {
    payload: Vec<u8>,
    is_there: Vec<bool>,
}

impl PacketEnd {
    fn new(setup: EndSetup, address: Path) -> Self {
        Self {
            id: setup.identity.id(),
            given: setup.given.clone(),
            setup,
            session: None,
            address,
            outbox: lab_outbox(),
            filter: Filter::new(),
            hoards: false,
            delivered: Vec::new(),
            filtered: Vec::new(),
            dropped: Vec::new(),
            round_trips: Vec::new(),
            up: None,
            closed: None,
            sent: Vec::new(),
            heard: BTreeMap::new(),
            accepted: 0,
            inbox: VecDeque::new(),
            assemblies: BTreeMap::new(),
            mark: None,
        }
    }

    /// The payloads that the application received, in order.
    pub fn payloads(&self) -> Vec<&[u8]> {
        self.delivered.iter().map(|delivered| delivered.payload.as_slice()).collect()
    }

    /// Bytes that it sent to an address.
    pub fn bytes_to(&self, path: Path) -> usize {
        self.sent.iter().filter(|(to, _)| *to == path).map(|(_, bytes)| bytes.len()).sum()
    }

    /// The application is done with all that it holds.
    pub fn consume(&mut self, now: Instant) {
        self.hoards = false;
        if let (Some(mark), Some(session)) = (self.mark.take(), &mut self.session) {
            session.handle_consumed(now, mark);
        }
    }

    /// There is another session, which knows nothing of the one before.
    fn begin(&mut self) {
        self.up = None;
        self.closed = None;
        self.mark = None;
        self.assemblies.clear();
    }

    fn take(&mut self, now: Instant, message: &Message<'_>) {
        let payload = match message.part {
            None => message.payload.to_vec(),
            Some(part) => {
                let total = part.total as usize;
                let assembly = self
                    .assemblies
                    .entry(message.id)
                    .or_insert_with(|| Assembly { payload: vec![0; total], is_there: vec![false; total] });
                let span = part.offset as usize..part.offset as usize + message.payload.len();
                assembly.payload[span.clone()].copy_from_slice(message.payload);
                assembly.is_there[span].fill(true);
                if !assembly.is_there.iter().all(|is_there| *is_there) {
                    return;
                }
                self.assemblies.remove(&message.id).map(|whole| whole.payload).unwrap_or_default()
            }
        };
        match self.filter.check(message.id, message.priority, message.age, message.ttl) {
            Ok(()) => self.delivered.push(Delivered {
                at: now,
                id: message.id,
                kind: message.kind,
                priority: message.priority,
                broadcast: message.broadcast,
                ttl: message.ttl,
                age: message.age,
                full: message.full,
                number: message.number,
                part: None,
                compressed: message.compressed,
                payload,
            }),
            Err(reason) => self.filtered.push((message.id, reason)),
        }
    }

    fn note_events(&mut self, now: Instant) -> bool {
        let Some(session) = &mut self.session else { return false };
        let mut any = false;
        while let Some(event) = session.poll_event() {
            any = true;
            assert!(self.closed.is_none(), "{event:?} after the end");
            match event {
                Event::Up(peer) => {
                    assert_eq!(self.up.replace((now, peer)), None, "a session comes up once");
                }
                Event::Rtt(round_trip) => self.round_trips.push(round_trip),
                Event::Closed(closed) => self.closed = Some((now, closed)),
            }
        }
        any
    }

    /// Hears one datagram as from `from`.
    fn hear(&mut self, now: Instant, from: Path, datagram: &mut [u8]) {
        *self.heard.entry(from).or_default() += datagram.len();
        let Some(session) = &mut self.session else { return };
        // A hint is asked about once, and the datagram given again.
        let mut copy = datagram.to_vec();
        let received = match session.handle_datagram(now, &mut self.outbox, from, datagram) {
            Received::Hint(hint) => {
                session.handle_hint(self.given.remove(&hint));
                session.handle_datagram(now, &mut self.outbox, from, &mut copy)
            }
            received => received,
        };
        match received {
            Received::NeedMore => panic!("a datagram is all there"),
            Received::Absorbed => {}
            Received::Hint(_) => panic!("a hint is asked about once"),
            Received::Offer(offer) => {
                let answer = self.setup.answer(now, &offer);
                session.handle_verdict(now, &mut self.outbox, answer);
            }
            Received::Dropped(reason) => self.dropped.push(reason),
            Received::Messages(messages) => {
                let mark = messages.mark();
                for message in messages {
                    self.take(now, &message);
                }
                self.mark = Some(mark);
                if !self.hoards {
                    self.consume(now);
                }
            }
        }
    }
}

/// Two datagram sessions over one pipe.
pub struct PacketPair {
    /// The network; its clock is the clock of both ends.
    pub network: VirtualNetwork,
    pipe: PipeId,
    ends: [PacketEnd; 2],
    /// Whether nothing that is sent from now on arrives.
    pub is_dark: bool,
    /// What stands before the dialled end's sessions.
    pub gate: Gate,
    ephemerals: Chance,
    /// Every reply of the gate: to whom, and how many bytes.
    pub replies: Vec<(Path, usize)>,
}

impl PacketPair {
    /// A pair that begins as `setup` says; the handshake begins with the first drive.
    pub fn with(seed: &Seed, setup: PacketSetup) -> Self {
        let mut network = VirtualNetwork::new(seed);
        let pipe = network.open_pipe(setup.conditions);
        let mut ephemerals = seed.generator("ephemerals");
        let gate = Gate::new(ephemerals.generator());
        let [opener, target] = setup.ends;
        let (from, to) = if setup.line { (Path::default(), Path::default()) } else { (OPENER, TARGET) };
        let mut ends = [PacketEnd::new(opener, from), PacketEnd::new(target, to)];
        let own = &ends[0].setup;
        let cid = ConnectionId::new(&[7]).expect("an id of one byte");
        let (now, rng) = (network.now(), ephemerals.generator());
        let (credentials, config) = (own.credentials(), own.config);
        ends[0].session =
            Some(LabSession::connect(now, own.wall, credentials, config, to, cid, setup.expect, rng));
        Self { network, pipe, ends, is_dark: false, gate, ephemerals, replies: Vec::new() }
    }

    /// Two strangers on a pipe of these conditions, whose handshake is over.
    pub fn up(seed: &Seed, conditions: PacketConditions) -> Self {
        let mut pair = Self::with(seed, PacketSetup { conditions, ..PacketSetup::new(seed) });
        pair.drive_until_up();
        pair
    }

    /// The end that dialled.
    pub const fn opener(&mut self) -> &mut PacketEnd {
        &mut self.ends[0]
    }

    /// The end that was dialled.
    pub const fn target(&mut self) -> &mut PacketEnd {
        &mut self.ends[1]
    }

    /// One end.
    pub const fn end(&mut self, side: Side) -> &mut PacketEnd {
        &mut self.ends[side as usize]
    }

    /// The dialling end dials again; its session, and what the peer's had sent of unfinished messages, is over.
    pub fn redial(&mut self, expect: Expect) {
        let (now, to) = (self.now(), self.ends[1].address);
        let end = &mut self.ends[0];
        let cid = ConnectionId::new(&[7]).expect("an id of one byte");
        let (own, rng) = (&end.setup, self.ephemerals.generator());
        let (credentials, config) = (own.credentials(), own.config);
        end.session = Some(LabSession::connect(now, own.wall, credentials, config, to, cid, expect, rng));
        end.begin();
    }

    /// Queues a message at one end.
    ///
    /// # Errors
    /// As [`Outbox::push`](hyphal_core::outbox::Outbox::push).
    pub fn send(&mut self, from: Side, header: Header, payload: &[u8]) -> Result<Ticket, SendError> {
        let now = self.now();
        self.end(from).outbox.push(now, header, Payload::Copied(payload))
    }

    /// Ends the session of one end in good order.
    pub fn close(&mut self, side: Side, reason: Reason) {
        let now = self.now();
        let end = self.end(side);
        if let Some(session) = &mut end.session {
            session.close(now, &mut end.outbox, reason);
        }
    }

    /// Gives a datagram to one end as if it had come from `from` just now.
    pub fn inject(&mut self, to: Side, from: Path, datagram: &[u8]) {
        self.ends[to as usize].inbox.push_back((from, datagram.to_vec()));
    }

    /// Runs until both sessions are up.
    ///
    /// # Panics
    /// If they are not within ten virtual seconds.
    pub fn drive_until_up(&mut self) {
        let are_up = self.drive_until(Duration::from_secs(10), |pair| {
            pair.ends.iter().all(|end| end.session.as_ref().is_some_and(LabSession::is_up))
        });
        assert!(are_up, "not up: {:?} and {:?}", self.ends[0].closed, self.ends[1].closed);
    }

    fn turn(&mut self, side: Side) -> bool {
        let now = self.now();
        let mut any = false;
        while let Some((from, mut datagram)) = self.ends[side as usize].inbox.pop_front() {
            any = true;
            if self.needs_gate(side) && !self.pass_gate(now, from, &datagram) {
                continue;
            }
            self.ends[side as usize].hear(now, from, &mut datagram);
            // Sessions tell that they are up before anything else is asked of them.
            self.ends[side as usize].note_events(now);
        }
        let end = &mut self.ends[side as usize];
        let Some(session) = &mut end.session else { return any };
        if session.poll_timeout(&end.outbox).is_some_and(|at| at <= now) {
            session.handle_timeout(now, &mut end.outbox);
        }
        let mut buffer = [0; MAX_DATAGRAM];
        if let Some(len) = session.poll_transmit(now, &mut end.outbox, &mut buffer) {
            let to = session.path();
            end.sent.push((to, buffer[..len].to_vec()));
            if self.ends[side.other() as usize].address == to && !self.is_dark {
                self.network.send_packet(self.pipe, side, &buffer[..len]);
            }
            return true;
        }
        let is_due = session.poll_timeout(&end.outbox).is_some_and(|at| at <= now);
        assert!(!is_due, "what is due was polled, and is due again");
        end.note_events(now) || any
    }

    /// Whether a datagram for an end comes to its gate: it has no session, or one that ended.
    fn needs_gate(&self, side: Side) -> bool {
        let end = &self.ends[side as usize];
        side == Side::Target && end.session.as_ref().is_none_or(LabSession::is_closed)
    }

    fn pass_gate(&mut self, now: Instant, from: Path, datagram: &[u8]) -> bool {
        let end = &mut self.ends[1];
        if !from.is_line() {
            let mut reply = [0; REPLY_LEN];
            match self.gate.handle_datagram(now, from, datagram, &mut reply) {
                Admission::Ignore(reason) => {
                    end.dropped.push(reason);
                    return false;
                }
                Admission::Reply(len) => {
                    *end.heard.entry(from).or_default() += datagram.len();
                    self.replies.push((from, len));
                    if from == self.ends[0].address {
                        self.network.send_packet(self.pipe, Side::Target, &reply[..len]);
                    }
                    return false;
                }
                Admission::Admit => {}
            }
        }
        let (own, rng) = (&end.setup, self.ephemerals.generator());
        let cid = ConnectionId::new(&[8, 9]).expect("an id of two bytes");
        end.session = Some(LabSession::accept(now, own.wall, own.credentials(), own.config, from, cid, rng));
        end.accepted += 1;
        end.begin();
        true
    }
}

impl Drive for PacketPair {
    fn now(&self) -> Instant {
        self.network.now()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let of_ends = self.ends.iter().filter_map(|end| end.session.as_ref()?.poll_timeout(&end.outbox));
        of_ends.chain(self.network.poll_timeout()).min()
    }

    fn step(&mut self) -> bool {
        let mut any = false;
        for side in Side::BOTH {
            any |= self.turn(side);
        }
        any
    }

    fn advance(&mut self, until: Instant) {
        if let Some(Arrival::Packet { to, bytes, .. }) = self.network.poll_arrival(until) {
            let from = self.ends[to.other() as usize].address;
            self.ends[to as usize].inbox.push_back((from, bytes));
        }
    }
}
