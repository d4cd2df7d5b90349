//! Two sessions with their outboxes and filters over one stream, driven under the virtual clock until nothing moves.
//!
//! The driver does what both runtimes do, in any order of polling that a test asks for. It admits whom [`End::verdict`]
//! admits, delivers what the filter lets through, and acknowledges at once unless the end is told to be slow.

use std::collections::BTreeMap;

use hyphal_core::{
    aead::ChaChaPoly,
    filter::Filter,
    identity::Identity,
    ids::{Acquaintance, Hint, MessageId, NodeId, NodeType},
    outbox::{Header, Payload, SendError, Ticket},
    profile::Security,
    session::{Config, Credentials, Expect, Mark, Offer, Session, Wall},
    time::{Duration, Instant, TimeQuality, UnixTime},
    wire::{hello::NetworkTag, message::Methods, reason::Reason},
};

use crate::{
    drive::Drive,
    link::{Delivered, LabOutbox, LinkEnd, Reading, lab_outbox},
    network::{Arrival, Side, StreamConditions, StreamId, VirtualNetwork},
    papers::Papers,
    seed::{Chance, Seed},
    transcript::Fingerprint,
};

/// How a [`Pair`] begins. Change the fields that a test is about.
pub struct Setup {
    /// The link between both ends.
    pub conditions: StreamConditions,
    /// The ends, the one that dials first.
    pub ends: [EndSetup; 2],
    /// Whom the dialling end expects.
    pub expect: Expect,
    /// In which order the driver polls.
    pub order: Order,
    /// The length of the buffer that records are written into.
    pub buffer: usize,
}

/// How one end of a [`Pair`] begins.
pub struct EndSetup {
    /// Who it is.
    pub identity: Identity,
    /// What it says in its hello, and its limits.
    pub config: Config,
    /// Its wall clock.
    pub wall: Wall,
    /// What it answers to whoever proves an identity.
    pub verdict: Result<(), Reason>,
    /// What it shows of itself, and admits others by before it answers so; if it goes by certificates.
    pub papers: Option<Papers>,
    /// The hints that it keeps, and whom it gave them to.
    pub given: BTreeMap<Hint, Acquaintance>,
}

/// In which order the driver polls the machines. No order may change what happens.
#[derive(Clone, Debug)]
pub enum Order {
    /// Deadlines, input, events, output; the dialling end first.
    Fixed,
    /// Another one each time.
    Shuffled(Box<Chance>),
}

impl Order {
    /// A random order that `seed` gives.
    pub fn shuffled(seed: &Seed) -> Self {
        Self::Shuffled(Box::new(seed.generator("order")))
    }
}

impl Setup {
    /// Two strangers with fresh identities in the same network, on a good link.
    pub fn new(seed: &Seed) -> Self {
        let mut chance = seed.generator("identities");
        Self {
            conditions: StreamConditions::default(),
            ends: [EndSetup::new(&mut chance), EndSetup::new(&mut chance)],
            expect: Expect::Anyone,
            order: Order::Fixed,
            buffer: 16 * 1024,
        }
    }

    /// The end that dials.
    pub const fn opener(&mut self) -> &mut EndSetup {
        &mut self.ends[0]
    }

    /// The end that is dialled.
    pub const fn target(&mut self) -> &mut EndSetup {
        &mut self.ends[1]
    }
}

impl EndSetup {
    fn new(chance: &mut Chance) -> Self {
        Self {
            identity: Identity::generate(chance.generator()),
            config: lab_config(chance.below(u64::MAX)),
            wall: Wall { time: UnixTime::from_micros(1_800_000_000_000_000), quality: TimeQuality::Synced },
            verdict: Ok(()),
            papers: None,
            given: BTreeMap::new(),
        }
    }

    /// What it proves itself with.
    pub fn credentials(&self) -> Credentials<'_> {
        let own = Credentials::from(&self.identity);
        self.papers.as_ref().map_or(own, |papers| papers.credentials(&self.identity))
    }

    /// What it answers to an offer.
    ///
    /// # Errors
    /// Why it does not admit the peer.
    pub fn answer(&self, now: Instant, offer: &Offer) -> Result<(), Reason> {
        admit(self.papers.as_ref(), now, offer).and(self.verdict)
    }
}

/// Whether somebody's certificate admits him, if this end goes by certificates.
fn admit(papers: Option<&Papers>, now: Instant, offer: &Offer) -> Result<(), Reason> {
    let Some(papers) = papers else { return Ok(()) };
    papers.admits(now, papers.credential(offer)).map(drop)
}

/// The node as one knows it who had a session with it.
pub fn acquaintance(identity: &Identity) -> Acquaintance {
    Acquaintance { id: identity.id(), key: *identity.static_public() }
}

/// What nodes of the lab say of themselves: messages and records up to 16 KiB, a heartbeat each second.
pub fn lab_config(boot_id: u64) -> Config {
    Config {
        network: NetworkTag::of("lab"),
        node_type: NodeType::Sclerotia,
        boot_id,
        max_message: 16_000,
        max_record: 16_384,
        window: 1 << 20,
        compression: Methods::NONE,
        keeps_guaranteed: false,
        heartbeat: Duration::from_secs(1),
        handshake_timeout: Duration::from_secs(5),
        max_skew: Duration::from_secs(30),
        security: Security::Minimal,
    }
}

/// One end of a [`Pair`].
pub struct End {
    /// Who it is.
    pub id: NodeId,
    /// The epoch of its messages.
    pub boot_id: u64,
    /// Its session.
    pub link: LinkEnd,
    /// What it sends, and what became of it.
    pub outbox: LabOutbox,
    /// What it has seen.
    pub filter: Filter,
    /// What it answers to an offer.
    pub verdict: Result<(), Reason>,
    /// What it admits others by before it answers so, if it goes by certificates.
    pub papers: Option<Papers>,
    /// The hints that it keeps, and whom it gave them to; each is forgotten when it is asked for.
    pub given: BTreeMap<Hint, Acquaintance>,
    /// Whether its application takes messages without ever being done with them.
    pub hoards: bool,
    /// Up to where it has hoarded.
    pub hoarded: Option<Mark>,
    /// What its application received, in order.
    pub delivered: Vec<Delivered>,
    /// The parts of messages that came, in order.
    pub parts: Vec<Delivered>,
    /// What its filter kept from the application, and why.
    pub filtered: Vec<(MessageId, Reason)>,
}

impl End {
    fn new(setup: &EndSetup, session: Session<ChaChaPoly>) -> Self {
        Self {
            id: setup.identity.id(),
            boot_id: setup.config.boot_id,
            link: LinkEnd::new(session),
            outbox: lab_outbox(),
            filter: Filter::new(),
            verdict: setup.verdict,
            papers: setup.papers.clone(),
            given: setup.given.clone(),
            hoards: false,
            hoarded: None,
            delivered: Vec::new(),
            parts: Vec::new(),
            filtered: Vec::new(),
        }
    }

    /// The payloads that the application received, in order.
    pub fn payloads(&self) -> Vec<&[u8]> {
        self.delivered.iter().map(|delivered| delivered.payload.as_slice()).collect()
    }

    fn take(&mut self, now: Instant, mark: Mark, messages: Vec<Delivered>) {
        for message in messages {
            let Some(message) = self.join(message) else { continue };
            match self.filter.check(message.id, message.priority, message.age, message.ttl) {
                Ok(()) => self.delivered.push(message),
                Err(reason) => self.filtered.push((message.id, reason)),
            }
        }
        if self.hoards {
            self.hoarded = Some(mark);
        } else {
            self.link.session.handle_consumed(now, mark);
        }
    }

    /// The message, if it came as a whole or this is its last part.
    fn join(&mut self, message: Delivered) -> Option<Delivered> {
        let Some(part) = message.part else { return Some(message) };
        let is_last = part.end(message.payload.len()) == Some(part.total) && !part.is_abandonment();
        let id = message.id;
        self.parts.push(message.clone());
        if !is_last {
            return None;
        }
        let payload = self.parts.iter().filter(|part| part.id == id).flat_map(|part| part.payload.clone());
        // A message that began anew in another session came from its start again: the last bytes are the whole.
        let payload: Vec<u8> = payload.collect();
        let whole = payload[payload.len() - part.total as usize..].to_vec();
        Some(Delivered { part: None, payload: whole, ..message })
    }
}

/// Two sessions over one stream.
pub struct Pair {
    /// The network; its clock is the clock of both ends.
    pub network: VirtualNetwork,
    /// The stream between them.
    pub stream: StreamId,
    ends: [End; 2],
    order: Order,
    buffer: Vec<u8>,
    fingerprint: Fingerprint,
}

/// The moves of the driver for one end.
#[derive(Clone, Copy, Debug)]
enum Move {
    Timeout,
    Read,
    Events,
    Transmit,
}

impl Pair {
    /// Two strangers on a good link; the handshake begins with the first drive.
    pub fn new(seed: &Seed) -> Self {
        Self::with(seed, Setup::new(seed))
    }

    /// A pair that begins as `setup` says.
    pub fn with(seed: &Seed, setup: Setup) -> Self {
        let mut network = VirtualNetwork::new(seed);
        let stream = network.open_stream(setup.conditions);
        let now = network.now();
        let mut chance = seed.generator("ephemerals");
        let [opener, target] = setup.ends;
        let rng = chance.generator();
        let dialling =
            Session::connect(now, opener.wall, opener.credentials(), opener.config, setup.expect, rng);
        let dialled = Session::accept(now, target.wall, target.credentials(), target.config, rng);
        let ends = [End::new(&opener, dialling), End::new(&target, dialled)];
        Self {
            network,
            stream,
            ends,
            order: setup.order,
            buffer: vec![0; setup.buffer],
            fingerprint: Fingerprint::default(),
        }
    }

    /// A pair whose handshake is over.
    pub fn up(seed: &Seed) -> Self {
        Self::up_with(seed, Setup::new(seed))
    }

    /// A pair that began as `setup` says and whose handshake is over.
    pub fn up_with(seed: &Seed, setup: Setup) -> Self {
        let mut pair = Self::with(seed, setup);
        pair.drive_until_up();
        pair
    }

    /// The end that dialled.
    pub const fn opener(&mut self) -> &mut End {
        &mut self.ends[0]
    }

    /// The end that was dialled.
    pub const fn target(&mut self) -> &mut End {
        &mut self.ends[1]
    }

    /// One end.
    pub const fn end(&mut self, side: Side) -> &mut End {
        &mut self.ends[side as usize]
    }

    /// The hash of everything that crossed the network and reached the applications, with its times.
    pub const fn fingerprint(&self) -> (Fingerprint, Fingerprint) {
        (self.network.fingerprint(), self.fingerprint)
    }

    /// Queues a message at one end.
    ///
    /// # Errors
    /// As [`Outbox::push`](hyphal_core::outbox::Outbox::push).
    pub fn send(&mut self, from: Side, header: Header, payload: &[u8]) -> Result<Ticket, SendError> {
        let now = self.now();
        self.end(from).outbox.push(now, header, Payload::Copied(payload))
    }

    /// The application of one end is done with all that it hoarded.
    pub fn consume(&mut self, side: Side) {
        let now = self.now();
        let end = self.end(side);
        if let Some(mark) = end.hoarded.take() {
            end.link.session.handle_consumed(now, mark);
        }
    }

    /// Ends the session of one end in good order.
    pub fn close(&mut self, side: Side, reason: Reason) {
        let now = self.now();
        self.end(side).link.session.close(now, reason);
    }

    /// Gives `bytes` to one end's session as if its peer had written them.
    pub fn inject(&mut self, to: Side, bytes: &[u8]) {
        self.end(to).link.handle_bytes(bytes);
    }

    /// Runs until both sessions are up.
    ///
    /// # Panics
    /// If they are not within ten virtual seconds.
    pub fn drive_until_up(&mut self) {
        let are_up = self.drive_until(Duration::from_secs(10), |pair| {
            pair.ends.iter().all(|end| end.link.up.is_some() && end.link.session.is_up())
        });
        assert!(are_up, "not up: {:?} and {:?}", self.ends[0].link.closed, self.ends[1].link.closed);
    }

    /// Runs until both sessions have ended; says whether they did within ten virtual minutes.
    pub fn drive_until_closed(&mut self) -> bool {
        let closed = |pair: &mut Self| pair.ends.iter().all(|end| end.link.closed.is_some());
        self.drive_until(Duration::from_secs(600), closed)
    }

    fn make(&mut self, side: Side, step: Move) -> bool {
        let now = self.now();
        let end = &mut self.ends[side as usize];
        match step {
            Move::Timeout => {
                let is_due = end.link.session.poll_timeout(&end.outbox).is_some_and(|at| at <= now);
                if is_due {
                    end.link.session.handle_timeout(now, &mut end.outbox);
                }
                is_due && end.link.session.poll_timeout(&end.outbox).is_none_or(|at| at > now)
            }
            Move::Read => match end.link.read(now, &mut end.outbox) {
                Reading::Done => false,
                Reading::Absorbed | Reading::Dropped(_) => true,
                Reading::Hint(hint) => {
                    end.link.session.handle_hint(end.given.remove(&hint));
                    true
                }
                Reading::Offer(offer) => {
                    let verdict = admit(end.papers.as_ref(), now, &offer).and(end.verdict);
                    end.link.session.handle_verdict(now, &mut end.outbox, verdict);
                    true
                }
                Reading::Messages { mark, messages } => {
                    for message in &messages {
                        self.fingerprint.note(now, &message.payload);
                    }
                    end.take(now, mark, messages);
                    true
                }
            },
            Move::Events => {
                let any = end.link.note_events(now);
                if any && end.link.closed.is_some() {
                    self.network.close_stream(self.stream, side);
                }
                any
            }
            Move::Transmit => {
                if self.network.stream_room(self.stream, side) < self.buffer.len() {
                    return false;
                }
                let Some(len) = end.link.session.poll_transmit(now, &mut end.outbox, &mut self.buffer) else {
                    return false;
                };
                self.network.write_stream(self.stream, side, &self.buffer[..len]);
                true
            }
        }
    }
}

impl Drive for Pair {
    fn now(&self) -> Instant {
        self.network.now()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let of_ends = self.ends.iter().filter_map(|end| end.link.session.poll_timeout(&end.outbox));
        of_ends.chain(self.network.poll_timeout()).min()
    }

    fn step(&mut self) -> bool {
        let mut moves = [
            (Side::Opener, Move::Timeout),
            (Side::Opener, Move::Read),
            (Side::Opener, Move::Events),
            (Side::Opener, Move::Transmit),
            (Side::Target, Move::Timeout),
            (Side::Target, Move::Read),
            (Side::Target, Move::Events),
            (Side::Target, Move::Transmit),
        ];
        if let Order::Shuffled(chance) = &mut self.order {
            chance.shuffle(&mut moves);
        }
        let mut any = false;
        for (side, step) in moves {
            any |= self.make(side, step);
        }
        any
    }

    fn advance(&mut self, until: Instant) {
        match self.network.poll_arrival(until) {
            Some(Arrival::Bytes { to, bytes, .. }) => self.ends[to as usize].link.handle_bytes(&bytes),
            Some(Arrival::Ended { to, .. }) => {
                let end = &mut self.ends[to as usize];
                end.link.session.handle_link_lost(&mut end.outbox);
            }
            Some(Arrival::Packet { .. }) | None => {}
        }
    }
}
