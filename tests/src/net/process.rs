//! A running node: its control plane, and for each stream a session that serves it.

use std::collections::BTreeMap;

use hyphal_core::{
    aead::ChaChaPoly,
    filter::Filter,
    ids::{MessageId, NodeId, Priority},
    node::{Action, GrowingTable, LinkReport, NO_CERTIFICATE, Node, NodeEvent, SessionRef, Standing},
    outbox::{Header, Payload},
    session::{Resumption, Session},
    time::Instant,
    trust::Credential,
    wire::{delivery, reason::Reason, revocation::REVOCATIONS},
};
use rand_chacha::ChaCha8Rng;

use crate::{
    lanes::{Disk, Lanes},
    link::{Delivered, LabOutbox, LinkEnd, Reading, lab_outbox, reliable},
    network::{Side, StreamId, VirtualNetwork},
    papers::{Papers, Unheard},
    transcript::Fingerprint,
};

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
    pub(super) links: BTreeMap<StreamId, Link>,
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

pub(super) struct Link {
    pub(super) side: Side,
    token: u64,
    pub(super) end: LinkEnd,
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

impl Link {
    /// Whether the session counts for this peer, or will.
    fn is_of(&self, id: NodeId) -> bool {
        self.counts_for == Some(id) || self.inherits_from == Some(id)
    }
}

impl Process {
    pub(super) fn new(node: Node<GrowingTable, ChaCha8Rng>, boot_id: u64, disk: Option<&Disk>) -> Self {
        Self {
            node,
            events: Vec::new(),
            dials: Vec::new(),
            delivered: Vec::new(),
            filtered: Vec::new(),
            unheard: Vec::new(),
            boot_id,
            lanes: disk.map(Lanes::restore),
            peers: BTreeMap::new(),
            links: BTreeMap::new(),
            next_token: 1,
            next_sequence: 0,
            spare: lab_outbox(),
        }
    }

    /// Gives the node its end of a stream, with the session on it; `dialling` is whom it dialled.
    pub(super) fn add_link(
        &mut self,
        stream: StreamId,
        side: Side,
        session: Session<ChaChaPoly>,
        dialling: Option<NodeId>,
    ) {
        let link = Link {
            side,
            token: self.next_token,
            end: LinkEnd::new(session),
            credential: NO_CERTIFICATE,
            dialling,
            counts_for: None,
            inherits_from: None,
            own_outbox: lab_outbox(),
        };
        self.next_token += 1;
        self.links.insert(stream, link);
    }

    /// Closes the sessions that count for a peer.
    pub(super) fn close_sessions(&mut self, now: Instant, peer: NodeId, reason: Reason) {
        for link in self.links.values_mut().filter(|link| link.counts_for == Some(peer)) {
            link.end.session.close(now, reason);
        }
    }

    /// The number of its next message.
    pub(super) fn next_sequence(&mut self) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        sequence
    }

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

    pub(super) fn link(&mut self, stream: StreamId) -> &mut Link {
        self.links.get_mut(&stream).expect("the link lives")
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let of_links = self.links.values().filter_map(|link| {
            let outbox = link.counts_for.and_then(|id| self.peers.get(&id)).map(|peer| &peer.outbox);
            link.end.session.poll_timeout(outbox.unwrap_or(&link.own_outbox))
        });
        let of_outboxes = self.peers.values().filter_map(|peer| peer.outbox.poll_timeout());
        of_links.chain(of_outboxes).chain(self.node.poll_timeout()).min()
    }

    pub(super) fn serve_deadlines(&mut self, now: Instant) -> bool {
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

    pub(super) fn read(
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
    pub(super) fn feed(&mut self, now: Instant, disk: &mut Option<Disk>) {
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

    pub(super) fn review(&mut self, now: Instant, papers: &Papers) {
        self.node.review(now, |credential| papers.confirms(now, credential));
    }

    /// Gives a list to every peer that is here.
    pub(super) fn pass_on(&mut self, now: Instant, list: &[u8]) {
        let here: Vec<NodeId> = self.links.values().filter_map(|link| link.counts_for).collect();
        here.into_iter().for_each(|id| self.send_list(now, id, list));
    }

    fn send_list(&mut self, now: Instant, id: NodeId, list: &[u8]) {
        let sequence = self.next_sequence();
        let header = Header { kind: REVOCATIONS, priority: Priority::Critical, ..reliable(sequence) };
        self.peer(id).outbox.push(now, header, Payload::Copied(list)).expect("the outbox has room");
    }

    pub(super) fn hear_events(&mut self, now: Instant, papers: &Papers) -> bool {
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

    pub(super) fn transmit(&mut self, now: Instant, network: &mut VirtualNetwork, buffer: &mut [u8]) -> bool {
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
    pub(super) fn poll_actions(&mut self, now: Instant) -> Vec<(NodeId, Option<Resumption>)> {
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
    pub(super) fn bury(&mut self) -> Vec<(StreamId, Side)> {
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

    pub(super) fn lose(&mut self, stream: StreamId) {
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
