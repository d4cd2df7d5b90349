//! The control task: it owns the core's `Node`, hears of peers from links, and has its actions carried out.
//!
//! It never sees a message. It tells links by their signals, which never block, and they tell it through one bounded
//! channel, so neither can wait for the other in a circle.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use getrandom::SysRng;
use hyphal_core::ids::{Acquaintance, Hint, NodeId};
use hyphal_core::node::{
    self, Action, DialStatus, GrowingTable, LinkReport, NodeEvent, Outcome, PeerConfig, PeerStatus,
    SessionRef, Standing, Trust,
};
use hyphal_core::profile::Terms;
use hyphal_core::time::{Instant, UnixTime};
use hyphal_core::trust::{Credential, Revocations};
use hyphal_core::wire::hello::NetworkTag;
use hyphal_core::wire::reason::Reason;
use rand_core::UnwrapErr;
use tokio::sync::{mpsc, oneshot};

use crate::address::Endpoint;
use crate::dial;
use crate::error::{AddPeerError, PeerError, ReloadError};
use crate::event::Event;
use crate::hub::Hub;
use crate::peer::Peer;
use crate::roster::Reloaded;
use crate::signal::Signal;
use crate::trust::{TrustState, TrustWarning, persist};

pub(crate) type CoreNode = node::Node<GrowingTable, UnwrapErr<SysRng>>;

/// What links and applications ask of the control task.
pub(crate) enum Command {
    Judge {
        id: NodeId,
        dialled: bool,
        /// What the peer's certificate is worth, whoever has signed it.
        credential: Result<Credential, Reason>,
        reply: oneshot::Sender<Result<(), Reason>>,
    },
    /// Whom a hint was given to, and the key that stood for it then, once.
    TakeHint {
        hint: Hint,
        reply: oneshot::Sender<Option<Acquaintance>>,
    },
    PeerUp(PeerUp),
    PeerDown {
        id: NodeId,
        token: u64,
        reason: Reason,
    },
    Report {
        id: NodeId,
        token: u64,
        report: LinkReport,
    },
    DialFailed {
        id: NodeId,
        reason: Reason,
        /// How long the peer wants to be left alone.
        least_wait: Duration,
    },
    AddPeer {
        id: NodeId,
        endpoint: Option<Endpoint>,
        reply: oneshot::Sender<Result<(), AddPeerError>>,
    },
    RemovePeer {
        id: NodeId,
        reply: oneshot::Sender<Result<(), PeerError>>,
    },
    Reload {
        /// Read and checked.
        trust: Box<TrustState>,
        peers: Vec<(NodeId, Option<Endpoint>)>,
        reply: oneshot::Sender<Result<Reloaded, ReloadError>>,
    },
    UpdateHealth {
        id: NodeId,
        outcome: Outcome,
        reply: oneshot::Sender<Result<(), PeerError>>,
    },
    /// Takes settings that were read and checked in the place of those that count.
    SetTrust {
        trust: Box<TrustState>,
        reply: oneshot::Sender<()>,
    },
    /// Takes a revocation list that has verified, and passes it on if it is kept.
    Adopt {
        list: Revocations<Bytes>,
        from: NodeId,
        is_kept: bool,
        /// Hears when the list counts, or was no news any more.
        done: oneshot::Sender<()>,
    },
    Peers {
        reply: oneshot::Sender<Vec<(PeerStatus, Option<Endpoint>)>>,
    },
    /// Closes all sessions and ends the task.
    Shutdown,
}

/// A link has a session and asks whether it stays.
pub(crate) struct PeerUp {
    pub(crate) id: NodeId,
    pub(crate) session: SessionRef,
    pub(crate) terms: Terms,
    /// The key that the peer has proven, and until when it stands for it, if it is a delegated one.
    pub(crate) key: ([u8; 32], Option<UnixTime>),
    pub(crate) signal: Arc<Signal>,
    /// Who the peer is and what becomes of the session, or why it is to be closed.
    pub(crate) reply: oneshot::Sender<Result<Admitted, Reason>>,
}

/// A session that was not refused.
pub(crate) struct Admitted {
    /// Its peer, whose lane belongs to the link from here on, or as soon as a session that it crossed has let go of it.
    pub(crate) peer: Arc<Peer>,
    /// Whether it crossed another one and makes way for it: it gets no lane, and takes what is under way to it.
    pub(crate) is_retired: bool,
}

/// The control task's own state.
pub(crate) struct Control {
    hub: Arc<Hub>,
    node: CoreNode,
    commands: mpsc::Receiver<Command>,
    links: HashMap<u64, Arc<Signal>>,
    endpoints: HashMap<NodeId, Endpoint>,
    /// When queues without a session are next searched for expired messages.
    sweep_at: Option<Instant>,
    /// When certificates are next looked at again.
    review_at: Option<Instant>,
    /// What the log was told to be amiss.
    warned: Vec<TrustWarning>,
}

impl Control {
    pub(crate) fn new(hub: Arc<Hub>, node: CoreNode, commands: mpsc::Receiver<Command>) -> Self {
        Self {
            hub,
            node,
            commands,
            links: HashMap::new(),
            endpoints: HashMap::new(),
            sweep_at: None,
            review_at: None,
            warned: Vec::new(),
        }
    }

    /// Runs until the node is shut down.
    pub(crate) async fn run(mut self) {
        self.review(self.hub.clock.now());
        loop {
            let now = self.hub.clock.now();
            if self.review_at.is_some_and(|at| at <= now) {
                self.review(now);
            }
            self.node.handle_timeout(now);
            self.carry_out();
            self.sweep(now);
            let due_at =
                [self.node.poll_timeout(), self.sweep_at, self.review_at].into_iter().flatten().min();
            tokio::select! {
                command = self.commands.recv() => match command {
                    None | Some(Command::Shutdown) => break,
                    Some(command) => self.handle_command(command),
                },
                () = until(&self.hub, due_at) => {}
                () = self.hub.unattended.notified() => self.plan_sweep(),
            }
        }
        for signal in self.links.values() {
            signal.close(Reason::Shutdown);
        }
    }

    /// Adds a peer before the task runs.
    pub(crate) fn add_peer(&mut self, id: NodeId, endpoint: Option<Endpoint>) -> Result<(), AddPeerError> {
        let endpoint = endpoint.map(checked).transpose()?;
        let config = PeerConfig { dial: endpoint.is_some(), ..PeerConfig::default() };
        self.node.add_peer(self.hub.clock.now(), id, config)?;
        self.forget_evicted();
        match endpoint {
            Some(endpoint) => self.endpoints.insert(id, endpoint),
            None => self.endpoints.remove(&id),
        };
        self.hub.peer_or_new(id).lane().handle_added();
        Ok(())
    }

    /// Puts a roster in the place of the one in force. Checks all of it first: on `Err` nothing has changed.
    fn reload(
        &mut self,
        trust: TrustState,
        peers: Vec<(NodeId, Option<Endpoint>)>,
    ) -> Result<Reloaded, ReloadError> {
        // Removals that are not told yet must not count as peers, nor take a peer away again.
        self.carry_out();
        let mut wanted = BTreeMap::new();
        for (id, endpoint) in peers {
            let own = (id == self.node.id()).then_some(AddPeerError::OwnId);
            let endpoint = own.map_or_else(|| endpoint.map(checked).transpose(), Err);
            wanted.insert(id, endpoint.map_err(|error| ReloadError::Peer { id, error })?);
        }
        let listed: BTreeMap<_, _> = self.node.peers().map(|status| (status.id, status)).collect();
        let is_configured = |id: &NodeId| listed.get(id).is_some_and(|status| status.config.is_some());
        let (before, from, to) = (self.hub.trust(), self.node.trust(), trust.policy());
        let mut expected = trust.clone();
        expected.authorities.inherit(&before.authorities);
        let reloaded = Reloaded {
            trust: (to != from).then_some((from, to)),
            certificates: !expected.is_like(&before),
            added: wanted.keys().filter(|id| !is_configured(id)).copied().collect(),
            changed: wanted
                .iter()
                .filter(|(id, endpoint)| is_configured(id) && self.endpoints.get(id) != endpoint.as_ref())
                .map(|(id, _)| *id)
                .collect(),
            removed: listed
                .keys()
                .filter(|id| is_configured(id) && !wanted.contains_key(id))
                .copied()
                .collect(),
        };
        // A dial that is outstanding keeps its place until it is answered.
        let is_freed = |id: &&NodeId| listed[*id].dial != DialStatus::Outstanding;
        let is_expelled = |status: &&PeerStatus| status.config.is_none() && status.session.is_some();
        let expelled = match to {
            Trust::Pinned => {
                listed.values().filter(is_expelled).filter(|status| !wanted.contains_key(&status.id)).count()
            }
            // Who has a certificate may stay.
            Trust::Open | Trust::Certified => 0,
        };
        let room = self.node.room() + reloaded.removed.iter().filter(is_freed).count() + expelled;
        // Absent strangers have counted as room.
        let needs_room = |id: &&NodeId| listed.get(id).is_none_or(|status| status.session.is_none());
        if reloaded.added.iter().filter(needs_room).count() > room {
            return Err(ReloadError::Full { room });
        }

        for id in &reloaded.removed {
            let removed = self.node.remove_peer(id);
            debug_assert!(removed.is_ok(), "it is in the listing");
        }
        self.carry_out();
        // Before the policy: a stranger that becomes a peer keeps its session.
        let (present, absent): (Vec<_>, Vec<_>) =
            reloaded.added.iter().chain(&reloaded.changed).partition(|id| listed.contains_key(id));
        self.add_all(present, &wanted)?;
        self.set_trust(self.hub.clock.now(), trust);
        self.add_all(absent, &wanted)?;
        self.carry_out();
        Ok(reloaded)
    }

    fn add_all(
        &mut self,
        ids: Vec<&NodeId>,
        wanted: &BTreeMap<NodeId, Option<Endpoint>>,
    ) -> Result<(), ReloadError> {
        for id in ids {
            let endpoint = wanted.get(id).cloned().flatten();
            self.add_peer(*id, endpoint).map_err(|error| ReloadError::Peer { id: *id, error })?;
        }
        Ok(())
    }

    fn handle_command(&mut self, command: Command) {
        let now = self.hub.clock.now();
        // Whoever asked and went away does not need the answer.
        match command {
            Command::Judge { id, dialled, credential, reply } => {
                let credential = self.vet(&id, credential);
                let _ = reply.send(self.node.judge(&id, dialled, &credential));
            }
            Command::TakeHint { hint, reply } => {
                let _ = reply.send(self.node.take_hint(&hint));
            }
            Command::PeerUp(up) => self.handle_peer_up(now, up),
            Command::PeerDown { id, token, reason } => {
                self.links.remove(&token);
                self.node.handle_peer_down(now, &id, token, reason);
                self.plan_sweep();
            }
            Command::Report { id, token, report } => self.node.handle_report(&id, token, &report),
            Command::DialFailed { id, reason, least_wait } => {
                self.node.handle_dial_refused(now, &id, reason, least_wait);
            }
            Command::AddPeer { id, endpoint, reply } => {
                // A removal that is not told yet must not take the peer away again.
                self.carry_out();
                let _ = reply.send(self.add_peer(id, endpoint));
            }
            Command::RemovePeer { id, reply } => {
                let removed = self.node.remove_peer(&id).map_err(|_| PeerError::UnknownPeer);
                // A peer that is not in the table may have messages in the store.
                let had_lanes = self.hub.guaranteed.as_ref().is_some_and(|guaranteed| guaranteed.remove(&id));
                let removed = if had_lanes { Ok(()) } else { removed };
                self.carry_out();
                let _ = reply.send(removed);
            }
            Command::Reload { trust, peers, reply } => {
                let _ = reply.send(self.reload(*trust, peers));
            }
            Command::UpdateHealth { id, outcome, reply } => {
                let updated = self.node.update_peer_health(now, &id, outcome);
                let _ = reply.send(updated.map_err(|_| PeerError::UnknownPeer));
            }
            Command::SetTrust { trust, reply } => {
                self.set_trust(now, *trust);
                let _ = reply.send(());
            }
            Command::Adopt { list, from, is_kept, done } => {
                self.adopt(now, list, &from, is_kept);
                let _ = done.send(());
            }
            Command::Peers { reply } => {
                let endpoint = |status: &PeerStatus| self.endpoints.get(&status.id).cloned();
                let _ = reply.send(self.node.peers().map(|status| (status, endpoint(&status))).collect());
            }
            Command::Shutdown => {}
        }
    }

    /// Whether the certificate of a peer that has proven itself admits it; it is counted.
    fn vet(&self, id: &NodeId, credential: Result<Credential, Reason>) -> Result<Credential, Reason> {
        let (trust, accepted) = (self.hub.trust(), &self.hub.tally.traffic.vetting.certificates_accepted);
        let credential = trust.admits(credential, self.hub.wall());
        match credential {
            // Nobody has asked for one.
            Err(Reason::NoCertificate) if trust.policy() != Trust::Certified => {}
            Err(reason) => self.hub.note_vetting(id, |vetting| vetting.certificates_refused.add(reason)),
            // For the peer it counts with the session: before its first one, a stranger is no peer.
            Ok(_) => drop(accepted.fetch_add(1, Ordering::Relaxed)),
        }
        credential
    }

    fn handle_peer_up(&mut self, now: Instant, up: PeerUp) {
        let PeerUp { id, session, terms, key, signal, reply } = up;
        let (trust, wall) = (self.hub.trust(), self.hub.wall());
        let credential = trust.admits(session.credential, wall);
        let certified_until = trust.expires_at(&credential, now, wall);
        let session = SessionRef { credential, certified_until, ..session };
        let standing = self.node.handle_peer_up(now, id, session);
        match standing {
            Standing::CloseNew(reason) => {
                let _ = reply.send(Err(reason));
                return;
            }
            Standing::ReplaceOld(token) => {
                if let Some(old) = self.links.remove(&token) {
                    old.close(Reason::Replaced);
                }
            }
            Standing::RetireOld(token) => {
                if let Some(old) = self.links.get(&token) {
                    old.retire();
                }
            }
            Standing::Keep | Standing::RetireNew => {}
        }
        self.forget_evicted();
        let peer = self.hub.peer_or_new(id);
        if credential.is_ok() {
            peer.tally.vetting.certificates_accepted.fetch_add(1, Ordering::Relaxed);
        }
        self.links.insert(session.token, Arc::clone(&signal));
        // Before anybody hears that the peer is here: what is sealed then is sealed to this key.
        peer.handle_proven_key(key.0, key.1);
        peer.lane().handle_terms(terms);
        self.hub.tally.sessions.fetch_add(1, Ordering::Relaxed);
        match standing {
            Standing::RetireNew => {}
            Standing::RetireOld(_) => peer.lane().bequeath_to(session.token, signal),
            _ => peer.lane().hand_to(session.token, signal),
        }
        let peer_to_tell = Arc::clone(&peer);
        let _ = reply.send(Ok(Admitted { peer, is_retired: standing == Standing::RetireNew }));
        for (_, list) in trust.authorities.iter() {
            if let Some(list) = list {
                self.hub.send_revocations(&peer_to_tell, list.bytes().clone());
            }
        }
    }

    /// Trusts whom the new settings say, and closes the sessions with all others. Newer lists than those read stay.
    fn set_trust(&mut self, now: Instant, mut trust: TrustState) {
        let before = self.hub.trust();
        let news = trust.newer_lists_than(&before);
        self.hub.tally.lists_from_files.fetch_add(news, Ordering::Relaxed);
        let read: Vec<_> = trust.authorities.iter().map(|(_, list)| list.map(version)).collect();
        trust.authorities.inherit(&before.authorities);
        put_back(&trust, self.hub.plan.session.network, &read);
        let policy = trust.policy();
        let is_new = policy != before.policy() || !trust.is_like(&before);
        self.hub.set_trust(trust);
        self.node.set_trust(now, policy);
        self.warned.clear();
        self.review(now);
        if is_new {
            self.dial_again(now);
        }
        self.carry_out();
        for (_, list) in self.hub.trust().authorities.iter() {
            if let Some(list) = list {
                self.pass_on(list.bytes());
            }
        }
    }

    /// Peers that had refused this node's certificate, or whose own was refused, may not do so again: nobody waits any longer.
    fn dial_again(&mut self, now: Instant) {
        let is_waiting = |status: &PeerStatus| matches!(status.dial, DialStatus::At(_) | DialStatus::GivenUp);
        let waiting: Vec<_> = self.node.peers().filter(is_waiting).collect();
        for status in waiting {
            if let Some(config) = status.config.filter(|config| config.dial && status.session.is_none()) {
                let configured = self.node.add_peer(now, status.id, config);
                debug_assert!(configured.is_ok(), "it is in the listing");
            }
        }
    }

    fn adopt(&mut self, now: Instant, list: Revocations<Bytes>, from: &NodeId, is_kept: bool) {
        let mut trust = TrustState::clone(&self.hub.trust());
        let (header, bytes) = (*list.header(), list.bytes().clone());
        // Several peers may have sent it at once.
        if let Err(reason) = trust.authorities.adopt(list) {
            self.hub.note_vetting(from, |vetting| vetting.lists_refused.add(reason));
            return;
        }
        self.hub.note_vetting(from, |vetting| vetting.lists_adopted.fetch_add(1, Ordering::Relaxed));
        self.hub.set_trust(trust);
        tracing::info!(authority = %header.authority, version = header.version, "a newer revocation list counts");
        self.review(now);
        self.carry_out();
        if is_kept {
            self.pass_on(&bytes);
        } else {
            self.hub.tally.lists_unkept.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives a list to every peer that is here.
    fn pass_on(&self, list: &Bytes) {
        for peer in self.hub.peers().iter() {
            self.hub.send_revocations(peer, list.clone());
        }
    }

    /// Looks at all certificates again: a list, the settings or the wall clock may have changed.
    fn review(&mut self, now: Instant) {
        let (trust, wall) = (self.hub.trust(), self.hub.wall());
        self.node.review(now, |credential| {
            trust.authorities.confirms(credential, wall)?;
            Ok(trust.authorities.expires_at(credential, now, wall))
        });
        let warnings = trust.warnings(wall);
        for warning in warnings.iter().filter(|warning| !self.warned.contains(warning)) {
            tracing::warn!("{warning}");
        }
        self.warned = warnings;
        let looks_again = trust.policy() == Trust::Certified || trust.own().is_some();
        // Peers end their sessions when it expires, and the log has to say why.
        let own_until = trust.own().and_then(|own| trust.authorities.expires_at(own, now, wall));
        let at = now.after(REVIEW_PAUSE);
        self.review_at =
            looks_again.then(|| own_until.filter(|until| *until > now).map_or(at, |until| at.min(until)));
    }

    /// Does what the node wants done and tells what happened.
    fn carry_out(&mut self) {
        while let Some(action) = self.node.poll_action() {
            match action {
                Action::Dial { id, resumption } => match self.endpoints.get(&id) {
                    Some(endpoint) => {
                        self.hub.spawn(dial::dial(Arc::clone(&self.hub), id, resumption, endpoint.clone()));
                    }
                    None => {
                        let now = self.hub.clock.now();
                        self.node.handle_dial_failed(now, &id, Reason::Unreachable);
                    }
                },
                Action::Close { token, reason, .. } => {
                    if let Some(link) = self.links.remove(&token) {
                        link.close(reason);
                    }
                }
            }
        }
        while let Some(event) = self.node.poll_event() {
            self.tell(event);
        }
    }

    fn tell(&mut self, event: NodeEvent) {
        match event {
            NodeEvent::PeerUp { id } => {
                let terms = self.hub.peer(&id).and_then(|peer| peer.lane().terms().copied());
                let profile = terms.map(tracing::field::display);
                tracing::info!(peer = %id, profile, "peer is up");
            }
            NodeEvent::PeerDown { id, reason } => {
                tracing::info!(peer = %id, reason = reason.name(), "peer is down: {reason}");
            }
            NodeEvent::Health { id, from, to } => tracing::debug!(peer = %id, ?from, ?to, "peer health"),
            NodeEvent::Breaker { id, from, to } => tracing::debug!(peer = %id, ?from, ?to, "circuit breaker"),
            NodeEvent::PeerRemoved { id, removal } => {
                tracing::info!(peer = %id, ?removal, "peer removed");
                self.endpoints.remove(&id);
                self.hub.remove_peer(&id);
            }
        }
        // Nobody needs to watch.
        let _ = self.hub.events.send(Event::from(event));
    }

    /// A stranger that gave way in a full table is told of by no event.
    fn forget_evicted(&mut self) {
        if let Some(id) = self.node.poll_evicted() {
            self.hub.remove_peer(&id);
        }
    }

    fn plan_sweep(&mut self) {
        let at = self.hub.clock.now().after(SWEEP_PAUSE);
        self.sweep_at = Some(self.sweep_at.map_or(at, |planned| planned.min(at)));
    }

    /// Sees to the time to live of messages whose peers have no link.
    fn sweep(&mut self, now: Instant) {
        if self.sweep_at.is_none_or(|at| at > now) {
            return;
        }
        let mut next_at: Option<Instant> = None;
        for peer in self.hub.peers().iter() {
            let mut lane = peer.lane();
            if lane.is_attached() {
                continue;
            }
            lane.outbox.handle_timeout(now);
            lane.call_waiting();
            if let Some(at) = lane.outbox.poll_timeout() {
                next_at = Some(next_at.map_or(at, |next| next.min(at)));
            }
        }
        if self.hub.is_draining.load(Ordering::Relaxed) {
            self.hub.drained.notify_waiters();
            // What is called back meanwhile, or goes with its peer, is told by nobody.
            next_at = Some(now);
        }
        self.sweep_at = next_at.map(|at| at.max(now.after(SWEEP_PAUSE)));
    }
}

fn version(list: &Revocations<Bytes>) -> u64 {
    list.header().version
}

/// Keeps the lists that count where older ones were read, or none: after a restart an old list would let back in whom a newer one
/// has revoked.
fn put_back(trust: &TrustState, network: NetworkTag, read: &[Option<u64>]) {
    let Some(directory) = trust.settings.revocations.clone() else { return };
    for ((authority, list), read) in trust.authorities.iter().zip(read) {
        let Some(list) = list.filter(|list| *read < Some(version(list))).cloned() else { continue };
        if let Some(read) = read {
            let newest = version(&list);
            tracing::warn!(
                "the revocation list of authority {authority} in {} has version {read} and is older than the one in force: version {newest} is put back",
                directory.display()
            );
        }
        let directory = directory.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = persist(&directory, network, &list) {
                tracing::error!("the newest revocation list is not kept: {error}");
            }
        });
    }
}

/// The endpoint, if a peer can be dialled there.
fn checked(endpoint: Endpoint) -> Result<Endpoint, AddPeerError> {
    endpoint.dialable().ok().filter(Endpoint::is_supported).ok_or(AddPeerError::Endpoint)
}

async fn until(hub: &Hub, due_at: Option<Instant>) {
    match due_at {
        Some(at) => tokio::time::sleep_until(hub.clock.deadline(at)).await,
        None => std::future::pending().await,
    }
}

/// The time between two looks at all certificates: how long a jump of the wall clock may go unnoticed.
const REVIEW_PAUSE: Duration = Duration::from_secs(60);

/// The least time between two searches through all queues without a session.
const SWEEP_PAUSE: Duration = Duration::from_millis(100);
