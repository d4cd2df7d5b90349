//! The control plane of a node: which peers there are, whom to dial when, and which of two sessions stays.
//!
//! It joins the policy with the leaves (`backoff`, `breaker`, `health`, `recovery`) for every peer. It never sees a
//! payload, a ciphertext, an address or a secret; links tell it `PeerUp`, `PeerDown` and one report per heartbeat.
//!
//! The life of a peer, beside its [health]:
//!
//! ```text
//!              add_peer              poll_action: Dial            handle_peer_up
//!   (unknown) ─────────▶ Due ───────────────────────▶ Outstanding ──────────────▶ session
//!        │                ▲                              │   ▲                       │
//!        │ connects in    │ handle_timeout               │   └ also connects in      │
//!        ▼                │                              ▼ handle_dial_failed        │
//!     session             └────────────────────── At(wait by recovery) ◀─────────────┘ handle_peer_down
//! ```
//!
//! Laws, each held by a test: polls may come in any order and number; on `Err` nothing has changed; after
//! `handle_timeout(t)` a deadline lies after `t`; at most one session per peer, and both ends keep the same one; at most
//! one dial to a peer is outstanding, also if it was removed and added again meanwhile. What is told is derived by comparison, so it is bounded by the table: a peer's
//! states between two polls are told as the last one, and the counters of the listing tell the rest.

mod config;
mod peer;
mod table;
#[cfg(test)]
mod tests;

pub use config::{Config, PeerConfig, Trust};
pub use peer::{DialStatus, LinkReport, Peer, PeerStatus, SessionRef};
#[cfg(feature = "alloc")]
pub use table::GrowingTable;
pub use table::{FixedTable, Full, Table};

use crate::{
    breaker, health,
    ids::{Acquaintance, Hint, NodeId, Resumption},
    time::{Duration, Instant},
    trust::Credential,
    wire::reason::Reason,
};
use rand_core::CryptoRng;

/// The control plane of one node. The runtime feeds it with `handle_*` and carries out what `poll_*` returns.
///
/// Each [`Action::Dial`] is answered by exactly one call for that id: [`handle_peer_up`](Self::handle_peer_up) with
/// `dialled`, or [`handle_dial_failed`](Self::handle_dial_failed). After every `handle_*` or change of peers the runtime
/// polls actions and events until there are none, and then asks for the deadline.
#[derive(Debug)]
pub struct Node<T, R> {
    own: NodeId,
    config: Config,
    table: T,
    rng: R,
    /// Entries with an action, with an event, with a session, that may give their place away: so that an empty poll or a
    /// question for room does not walk the table.
    actions: usize,
    events: usize,
    sessions: usize,
    evictable: usize,
    /// Where the next walk begins, so that a busy peer starves no other one.
    action_cursor: usize,
    event_cursor: usize,
    /// Not later than the earliest deadline of any peer.
    wake_at: Option<Instant>,
    evicted: u64,
    last_evicted: Option<NodeId>,
}

/// What the runtime is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect to this peer, as the initiator.
    Dial {
        /// Whom to dial; expect this id in the handshake.
        id: NodeId,
        /// What is left of an earlier session, for a handshake in one round trip.
        resumption: Option<Resumption>,
    },
    /// Close this session with this reason; [`Node::handle_peer_down`] need not be called for it.
    Close {
        /// The peer at its other end.
        id: NodeId,
        /// The session.
        token: u64,
        /// What to tell the peer.
        reason: Reason,
    },
}

/// What happened to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// A session is up; before, there was none. A session that takes the place of another one is not told.
    PeerUp {
        /// The peer.
        id: NodeId,
    },
    /// The session ended and no other one took its place.
    PeerDown {
        /// The peer.
        id: NodeId,
        /// Why.
        reason: Reason,
    },
    /// The verdict on a peer changed.
    Health {
        /// The peer.
        id: NodeId,
        /// The verdict told before.
        from: health::State,
        /// The verdict at this moment.
        to: health::State,
    },
    /// A breaker changed.
    Breaker {
        /// The peer.
        id: NodeId,
        /// The state told before.
        from: breaker::State,
        /// The state at this moment.
        to: breaker::State,
    },
    /// A peer is no longer in the list; the last event about it.
    PeerRemoved {
        /// The peer.
        id: NodeId,
        /// Who removed it.
        removal: Removal,
    },
}

/// Why a peer left the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Removal {
    /// [`Node::remove_peer`] was called.
    ByUser,
    /// It stayed Down for too long.
    Unhealthy,
}

/// Which sessions stay after one came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The session that came up is the only one.
    Keep,
    /// The session that came up stays; close the one with this token with [`Reason::Replaced`].
    ReplaceOld(u64),
    /// The session that came up stays. Retire the one with this token, which crossed it, with [`Reason::Replaced`]: it
    /// keeps the peer's outbox until it has ended.
    RetireOld(u64),
    /// Close the session that came up with this reason; it never counted.
    CloseNew(Reason),
    /// Retire the session that came up with [`Reason::Replaced`]: it crossed another one, which stays. It gets no outbox, but
    /// the peer may have sent messages over it.
    RetireNew,
}

/// The application's verdict on an exchange with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It went well.
    Success,
    /// It failed.
    Failure,
}

/// Why a peer was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddPeerError {
    /// The id is this node's own: check the list of peers.
    OwnId,
    /// All places are taken by configured peers, peers with a session, or peers with something left to poll.
    Full,
}

impl core::fmt::Display for AddPeerError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::OwnId => "the peer's id is this node's own; check the list of peers",
            Self::Full => "the table of peers is full; remove a peer or configure more room",
        })
    }
}

impl core::error::Error for AddPeerError {}

/// There is no peer with this id: add it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownPeer;

impl core::fmt::Display for UnknownPeer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("there is no peer with this id; add it first")
    }
}

impl core::error::Error for UnknownPeer {}

impl<T: Table, R: CryptoRng> Node<T, R> {
    /// A node named `own` whose peers live in `table`; the waits are drawn from `rng`.
    pub fn new(own: NodeId, config: Config, table: T, rng: R) -> Self {
        Self {
            own,
            config,
            table,
            rng,
            actions: 0,
            events: 0,
            sessions: 0,
            evictable: 0,
            action_cursor: 0,
            event_cursor: 0,
            wake_at: None,
            evicted: 0,
            last_evicted: None,
        }
    }

    /// This node's own id.
    pub const fn id(&self) -> NodeId {
        self.own
    }

    /// Adds a peer, or configures a known one anew: one that waited or was given up is dialled at once.
    ///
    /// A full table gives the place of the stranger that has been without a session for the longest time.
    pub fn add_peer(&mut self, now: Instant, id: NodeId, config: PeerConfig) -> Result<(), AddPeerError> {
        if id == self.own {
            return Err(AddPeerError::OwnId);
        }
        match self.find(&id) {
            Ok(index) => self.update(index, |peer, _, _| {
                if peer.is_leaving() {
                    peer.revive(now, Some(config));
                } else {
                    peer.configure(now, config);
                }
            }),
            Err(_) => self.insert(Peer::new(now, id, Some(config))).map_err(|Full| AddPeerError::Full)?,
        }
        Ok(())
    }

    /// Removes a peer: its session is closed, it is not dialled, and under [`Trust::Pinned`] not admitted any more.
    ///
    /// The place in the table is free when the actions and events about the peer have been polled, and a dial to it that is
    /// outstanding has been answered for.
    pub fn remove_peer(&mut self, id: &NodeId) -> Result<(), UnknownPeer> {
        let index = self.find_present(id).ok_or(UnknownPeer)?;
        self.update(index, |peer, _, _| peer.leave(Removal::ByUser));
        Ok(())
    }

    /// Admits other peers from here on. Sessions with those that are not admitted any more are closed, as
    /// [`Reason::Untrusted`] or for want of a certificate, and forgotten: they cannot come back by a hint.
    ///
    /// To be followed by [`review`](Self::review) under [`Trust::Certified`].
    pub fn set_trust(&mut self, now: Instant, trust: Trust) {
        self.config.trust = trust;
        for index in 0..self.table.len() {
            let peer = self.table.peer(index);
            let credential =
                peer.and_then(Peer::session).map_or(NO_CERTIFICATE, |session| session.credential);
            if let Err(reason) = self.trusts(peer, &credential) {
                self.update(index, |peer, config, rng| peer.expel(config, now, reason, rng));
            }
        }
    }

    /// Asks `confirm` again about each session's certificate under [`Trust::Certified`], and closes the sessions of which it
    /// says why not. Else it answers when the certificate expires, as [`SessionRef::certified_until`].
    ///
    /// Call it when a revocation list or the authorities have changed, and from time to time, as a wall clock may jump.
    pub fn review(&mut self, now: Instant, confirm: impl Fn(&Credential) -> Result<Option<Instant>, Reason>) {
        if self.config.trust == Trust::Certified {
            for index in 0..self.table.len() {
                self.update(index, |peer, config, rng| peer.review(config, now, &confirm, rng));
            }
        }
    }

    /// Whom this node admits.
    pub const fn trust(&self) -> Trust {
        self.config.trust
    }

    /// Takes the application's verdict on an exchange; it counts for the health and the breaker of the peer.
    pub fn update_peer_health(
        &mut self,
        now: Instant,
        id: &NodeId,
        outcome: Outcome,
    ) -> Result<(), UnknownPeer> {
        let index = self.find_present(id).ok_or(UnknownPeer)?;
        self.update(index, |peer, config, _| peer.outcome(config, now, outcome == Outcome::Success));
        Ok(())
    }

    /// All peers with their states and counters, in order of id.
    pub fn peers(&self) -> impl Iterator<Item = PeerStatus> + '_ {
        (0..self.table.len())
            .filter_map(|index| self.table.peer(index))
            .filter(|peer| !peer.is_leaving())
            .map(Peer::status)
    }

    /// One peer with its state and counters.
    pub fn peer(&self, id: &NodeId) -> Option<PeerStatus> {
        self.table.peer(self.find_present(id)?).map(Peer::status)
    }

    /// Peers that could be added to the table, some of them in the place of absent strangers.
    pub fn room(&self) -> usize {
        self.table.capacity() - self.table.len() + self.evictable
    }

    /// Sessions that are up.
    pub const fn sessions(&self) -> usize {
        self.sessions
    }

    /// Strangers whose place in the full table went to another peer.
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The stranger whose place the last added or connected peer took, once; no event tells of it.
    ///
    /// Each [`add_peer`](Self::add_peer) and [`handle_peer_up`](Self::handle_peer_up) evicts at most one: poll after each.
    pub const fn poll_evicted(&mut self) -> Option<NodeId> {
        self.last_evicted.take()
    }

    /// Whether this node talks to an authenticated peer; `dialled` tells that this node is the initiator, `credential` what the
    /// peer's certificate is worth, by this node's authorities, where the policy is [`Trust::Certified`]; else it means nothing.
    ///
    /// Call it when a handshake offers a peer. It changes nothing, so limits are checked again when the session is up.
    pub fn judge(
        &self,
        id: &NodeId,
        dialled: bool,
        credential: &Result<Credential, Reason>,
    ) -> Result<(), Reason> {
        if *id == self.own {
            return Err(Reason::OwnId);
        }
        let known = self.find_present(id).and_then(|index| self.table.peer(index));
        if known.is_none() && dialled {
            return Err(Reason::PeerRemoved);
        }
        self.trusts(known, credential)?;
        match known {
            None if self.find(id).is_err() && !self.has_room() => return Err(Reason::Limit),
            _ => {}
        }
        let replaces = known.is_some_and(|peer| peer.session().is_some());
        if !replaces && self.sessions >= self.config.max_sessions {
            return Err(Reason::Limit);
        }
        Ok(())
    }

    /// Whom this hint was given to, and which key stood for it then, once: it is forgotten by the question.
    ///
    /// Call it when a session receives a hint; whoever names one has proven nothing yet. It walks the table.
    pub fn take_hint(&mut self, hint: &Hint) -> Option<Acquaintance> {
        let index = (0..self.table.len())
            .find(|index| self.table.peer(*index).is_some_and(|peer| peer.is_known_by(hint)))?;
        self.update(index, |peer, _, _| peer.handle_hint_used());
        self.table.peer(index).map(Peer::acquaintance)
    }

    /// A session is up at this end; says which one stays.
    ///
    /// The rule for two sessions of one pair: with another boot id of the peer the later one wins; of two that crossed
    /// (one dialled by each end) the one whose initiator has the smaller id; of two by the same initiator the newer. Only
    /// sessions that came up within [`CROSSING`] of each other can have crossed: an older one gives way, because the peer
    /// would not dial if it still had it.
    ///
    /// Of two that crossed both ends may have sent messages over either, so the one that goes is retired and loses none. In
    /// all other cases the peer has given the old one up.
    pub fn handle_peer_up(&mut self, now: Instant, id: NodeId, session: SessionRef) -> Standing {
        if let Err(reason) = self.judge(&id, session.dialled, &session.credential) {
            self.end_refused_dial(now, &id, session, reason);
            return Standing::CloseNew(reason);
        }
        let index = match self.find(&id) {
            Ok(index) => index,
            Err(_) => {
                if let Err(Full) = self.insert(Peer::new(now, id, None)) {
                    return Standing::CloseNew(Reason::Limit);
                }
                let Ok(index) = self.find(&id) else { return Standing::CloseNew(Reason::Limit) };
                index
            }
        };
        let old = self.table.peer(index).and_then(Peer::session);
        if old.is_some_and(|old| old.token == session.token) {
            return Standing::Keep;
        }
        let is_young = self.table.peer(index).is_some_and(|peer| peer.session_age(now) <= CROSSING);
        let has_crossed = is_young && old.is_some_and(|old| crossed(&old, &session));
        if has_crossed && !wins(&self.own, &id, &session) {
            self.end_refused_dial(now, &id, session, Reason::Replaced);
            return Standing::RetireNew;
        }
        let replaced = self.update(index, |peer, _, _| {
            if peer.is_leaving() {
                peer.revive(now, None);
            }
            peer.session_up(now, session)
        });
        let replace = if has_crossed { Standing::RetireOld } else { Standing::ReplaceOld };
        replaced.map_or(Standing::Keep, replace)
    }

    /// A session ended. One that was replaced, refused or closed by an action is known to have ended; that changes nothing.
    pub fn handle_peer_down(&mut self, now: Instant, id: &NodeId, token: u64, reason: Reason) {
        if let Ok(index) = self.find(id) {
            self.update(index, |peer, config, rng| peer.session_down(config, now, token, reason, rng));
            self.drop_if_gone(index);
        }
    }

    /// A link reports what it observed, once per heartbeat and once after its end.
    ///
    /// The counts are added whatever became of the session; the rest only counts while it is the peer's session.
    pub fn handle_report(&mut self, id: &NodeId, token: u64, report: &LinkReport) {
        if let Some(index) = self.find_present(id) {
            self.update(index, |peer, config, _| peer.report(config, token, report));
        }
    }

    /// The dial that [`Action::Dial`] asked for led to no session; [`recovery`](crate::recovery) decides when the next is due.
    ///
    /// A reason from a cleartext refusal is a hint that anyone on the path can forge: pass `Busy`, `Version` or `Limit` as they
    /// are, and any other as [`Reason::Busy`], so that a forger cannot make this node give a peer up.
    pub fn handle_dial_failed(&mut self, now: Instant, id: &NodeId, reason: Reason) {
        self.handle_dial_refused(now, id, reason, Duration::ZERO);
    }

    /// The same where the peer asked for a wait of at least `least`, as the detail of [`Reason::Busy`] does.
    ///
    /// Of that 30 s count at most, since anyone on the path can forge a cleartext refusal. A wait that is longer anyway stays.
    pub fn handle_dial_refused(&mut self, now: Instant, id: &NodeId, reason: Reason, least: Duration) {
        let least = least.min(MOST_DEFERRED);
        if let Ok(index) = self.find(id) {
            self.update(index, |peer, config, rng| peer.dial_failed(config, now, reason, least, rng));
            self.drop_if_gone(index);
        }
    }

    /// Moves everything whose time has come: dials, cooldowns, Suspect to Down, removals.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.wake_at.is_none_or(|wake_at| wake_at > now) {
            return;
        }
        self.wake_at = None;
        for index in 0..self.table.len() {
            self.update(index, |peer, config, rng| peer.advance(config, now, rng));
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; it may be early, never late.
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.wake_at
    }

    /// The next thing to do, until there is none.
    pub fn poll_action(&mut self) -> Option<Action> {
        if self.actions == 0 {
            return None;
        }
        let index = self.find_from(self.action_cursor, Peer::has_action)?;
        self.action_cursor = index.saturating_add(1);
        let action = self.update(index, |peer, _, _| peer.take_action());
        self.drop_if_gone(index);
        action
    }

    /// The next thing that happened, until there is none.
    pub fn poll_event(&mut self) -> Option<NodeEvent> {
        if self.events == 0 {
            return None;
        }
        let index = self.find_from(self.event_cursor, Peer::has_event)?;
        let event = self.update(index, |peer, _, _| peer.take_event());
        // Stays at a peer until all about it is told: its events follow each other.
        self.event_cursor = index;
        self.drop_if_gone(index);
        event
    }

    /// A session that this node dialled is not kept, so its dial is over.
    fn end_refused_dial(&mut self, now: Instant, id: &NodeId, session: SessionRef, reason: Reason) {
        if session.dialled
            && let Ok(index) = self.find(id)
        {
            self.update(index, |peer, config, rng| peer.dial_superseded(config, now, reason, rng));
            self.drop_if_gone(index);
        }
    }

    /// Changes one peer and keeps the counts and the deadline true; the only way to an entry's `&mut`.
    fn update<O: Default>(
        &mut self,
        index: usize,
        change: impl FnOnce(&mut Peer, &Config, &mut R) -> O,
    ) -> O {
        let Some(peer) = self.table.peer_mut(index) else { return O::default() };
        let before = Tally::of(peer);
        let output = change(peer, &self.config, &mut self.rng);
        let after = Tally::of(peer);
        let deadline = peer.deadline(&self.config);
        self.count(before, after);
        self.wake_at = earlier(self.wake_at, deadline);
        output
    }

    fn count(&mut self, before: Tally, after: Tally) {
        self.actions = self.actions + after.actions - before.actions;
        self.events = self.events + after.events - before.events;
        self.sessions = self.sessions + after.sessions - before.sessions;
        self.evictable = self.evictable + after.evictable - before.evictable;
    }

    fn insert(&mut self, peer: Peer) -> Result<(), Full> {
        if self.table.len() >= self.table.capacity() {
            let evicted = self.evictable().ok_or(Full)?;
            self.last_evicted = self.table.peer(evicted).map(|peer| peer.id);
            self.remove(evicted);
            self.evicted = self.evicted.saturating_add(1);
        }
        let (Ok(index) | Err(index)) = self.find(&peer.id);
        let tally = Tally::of(&peer);
        let deadline = peer.deadline(&self.config);
        self.table.insert(index, peer)?;
        for cursor in [&mut self.action_cursor, &mut self.event_cursor] {
            *cursor += usize::from(index < *cursor);
        }
        self.count(Tally::default(), tally);
        self.wake_at = earlier(self.wake_at, deadline);
        Ok(())
    }

    fn remove(&mut self, index: usize) {
        if let Some(peer) = self.table.peer(index) {
            let tally = Tally::of(peer);
            self.table.remove(index);
            for cursor in [&mut self.action_cursor, &mut self.event_cursor] {
                *cursor -= usize::from(index < *cursor);
            }
            self.count(tally, Tally::default());
        }
    }

    fn drop_if_gone(&mut self, index: usize) {
        if self.table.peer(index).is_some_and(Peer::is_gone) {
            self.remove(index);
        }
    }

    /// Whether the policy admits a peer, as far as anything is known of it.
    fn trusts(&self, known: Option<&Peer>, credential: &Result<Credential, Reason>) -> Result<(), Reason> {
        match self.config.trust {
            Trust::Open => Ok(()),
            Trust::Pinned if known.is_some_and(Peer::is_configured) => Ok(()),
            Trust::Pinned => Err(Reason::Untrusted),
            Trust::Certified => credential.map(drop),
        }
    }

    fn has_room(&self) -> bool {
        self.table.len() < self.table.capacity() || self.evictable > 0
    }

    /// The stranger that has been without a session for the longest time.
    fn evictable(&self) -> Option<usize> {
        (0..self.table.len())
            .filter_map(|index| Some((self.table.peer(index)?.evictable_since()?, index)))
            .min()
            .map(|(_, index)| index)
    }

    /// The first peer of which `question` holds, in a circle from `cursor` on.
    fn find_from(&self, cursor: usize, question: impl Fn(&Peer) -> bool) -> Option<usize> {
        let cursor = if cursor < self.table.len() { cursor } else { 0 };
        (cursor..self.table.len())
            .chain(0..cursor)
            .find(|index| self.table.peer(*index).is_some_and(&question))
    }

    /// Where the peer is, or where it would be inserted.
    fn find(&self, id: &NodeId) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.table.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.table.peer(middle) {
                Some(peer) if peer.id == *id => return Ok(middle),
                Some(peer) if peer.id < *id => low = middle + 1,
                _ => high = middle,
            }
        }
        Err(low)
    }

    /// Where the peer is, unless it is leaving.
    fn find_present(&self, id: &NodeId) -> Option<usize> {
        self.find(id).ok().filter(|index| self.table.peer(*index).is_some_and(|peer| !peer.is_leaving()))
    }
}

/// What one peer adds to the node's counts.
#[derive(Clone, Copy, Default)]
struct Tally {
    actions: usize,
    events: usize,
    sessions: usize,
    evictable: usize,
}

impl Tally {
    fn of(peer: &Peer) -> Self {
        Self {
            actions: usize::from(peer.has_action()),
            events: usize::from(peer.has_event()),
            sessions: usize::from(peer.session().is_some()),
            evictable: usize::from(peer.evictable_since().is_some()),
        }
    }
}

/// What the certificate of a peer is worth that has shown none, or that nobody has asked for one.
pub const NO_CERTIFICATE: Result<Credential, Reason> = Err(Reason::NoCertificate);

/// How long two dials that passed each other can take to come up: a generous handshake timeout.
pub const CROSSING: Duration = Duration::from_secs(10);

/// The longest wait that a peer can impose.
const MOST_DEFERRED: Duration = Duration::from_secs(30);

/// Whether each end dialled one of two young sessions.
fn crossed(old: &SessionRef, new: &SessionRef) -> bool {
    old.boot_id == new.boot_id && old.dialled != new.dialled
}

/// Whether the session stays of two that crossed. Both ends decide alike, since each sees the other's `dialled` negated.
fn wins(own: &NodeId, peer: &NodeId, session: &SessionRef) -> bool {
    let own_dials_win = own < peer;
    session.dialled == own_dials_win
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}
