//! One peer as the node knows it: its session, when it is dialled next, and what the user has not been told yet.
//!
//! It draws waits and keeps deadlines, but never looks at another peer. What is told to the user is derived by comparing
//! the present with what was told last, so it needs no queue. Invariant: a peer that leaves has no session;
//! it stays only until its last action and events are polled and its dial, if one is outstanding, is answered for.

use super::{
    Action, NodeEvent, Removal,
    config::{Config, PeerConfig, Trust},
};
use crate::{
    backoff::{self, Backoff},
    breaker::{self, Breaker},
    health::{self, Health},
    ids::{Acquaintance, Hint, Hints, NodeId, Resumption},
    recovery::{Recovery, recover_from_error},
    time::{Duration, Instant},
    trust::Credential,
    wire::reason::Reason,
};
use rand_core::Rng;

/// A session with a peer, as the node needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRef {
    /// The runtime's name for the session, unique among all sessions of this node's life.
    pub token: u64,
    /// The boot id of the peer's hello.
    pub boot_id: u64,
    /// Whether this node dialled.
    pub dialled: bool,
    /// The session's [hints](crate::session::Session::hints), for a node that shall keep them; a listing shows none.
    pub hints: Option<Hints>,
    /// What the peer's certificate is worth, or what is wrong with it; without meaning where none is asked for.
    pub credential: Result<Credential, Reason>,
    /// When the certificate expires, as far as this node can tell: under [`Trust::Certified`] the session ends then.
    pub certified_until: Option<Instant>,
}

/// What a link observed since its last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkReport {
    /// A round trip measured since the last report.
    pub rtt: Option<Duration>,
    /// Heartbeats missed in a row, as of this report.
    pub missed_heartbeats: u32,
    /// What failed since the last report: refused messages, stalls.
    pub failures: u32,
    /// Messages confirmed since the last report.
    pub confirmed: u64,
    /// Messages whose fate stayed open since the last report, because their session ended.
    pub unconfirmed: u64,
}

/// A peer in the listing: state and counters at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Who it is.
    pub id: NodeId,
    /// What the user decided about it; `None` for a stranger that connected in.
    pub config: Option<PeerConfig>,
    /// The verdict on it.
    pub health: health::State,
    /// What its breaker lets pass.
    pub breaker: breaker::State,
    /// The session that is up.
    pub session: Option<SessionRef>,
    /// Since when a session is up.
    pub connected_since: Option<Instant>,
    /// Whether and when this node dials it.
    pub dial: DialStatus,
    /// Smoothed round trip time of the session, once measured.
    pub rtt: Option<health::Rtt>,
    /// What went well: see [`Health::successes`].
    pub successes: u64,
    /// What went wrong: see [`Health::failures`].
    pub failures: u64,
    /// Sessions that came up so far.
    pub sessions: u64,
    /// Messages confirmed, from link reports.
    pub confirmed: u64,
    /// Messages whose fate stayed open, from link reports.
    pub unconfirmed: u64,
    /// Why the last session ended or the last dial failed.
    pub last_reason: Option<Reason>,
}

/// Whether and when a peer is dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialStatus {
    /// Not at all: a session is up, or the peer is not to be dialled.
    Idle,
    /// At this moment, or when the breaker allows it if that is later.
    At(Instant),
    /// As soon as the runtime polls for it.
    Due,
    /// The runtime is dialling.
    Outstanding,
    /// Not before the configuration of the peer changes.
    GivenUp,
}

/// One peer of a node; opaque to a [`Table`](super::Table).
#[derive(Clone, Debug)]
pub struct Peer {
    pub(super) id: NodeId,
    config: Option<PeerConfig>,
    session: Option<Up>,
    dial: DialStatus,
    backoff: Backoff,
    breaker: Breaker,
    health: Health,
    sessions: u64,
    confirmed: u64,
    unconfirmed: u64,
    last_reason: Option<Reason>,
    hints: KeptHints,
    close: Option<(u64, Reason)>,
    leaving: Option<Removal>,
    told: Told,
}

#[derive(Clone, Copy, Debug)]
struct Up {
    session: SessionRef,
    since: Instant,
}

/// What the newest session left for the next one.
#[derive(Clone, Copy, Debug, Default)]
struct KeptHints {
    /// With which this node dials next.
    own: Option<Hint>,
    /// With which the peer dials this node next.
    peers: Option<Hint>,
    /// The key that stood for the peer; of no meaning without a hint.
    key: [u8; 32],
    /// The dial that is outstanding names `own`.
    is_lent: bool,
    /// When they are forgotten, once the session is over.
    until: Option<Instant>,
}

impl KeptHints {
    fn of(hints: Hints) -> Self {
        Self { own: Some(hints.own), peers: Some(hints.peers), key: hints.key, is_lent: false, until: None }
    }

    /// The dial is over, and its hint with it, unless nobody was reached to hear it.
    fn handle_dial_over(&mut self, reason: Reason) {
        if core::mem::take(&mut self.is_lent) && reason != Reason::Unreachable {
            self.own = None;
        }
    }

    /// The session is over, and its hints live on for a while.
    fn handle_session_end(&mut self, now: Instant, reason: Reason) {
        if self.own.is_some() || self.peers.is_some() {
            self.until = Some(now.after(HINTS_KEPT));
        }
        self.handle_end(reason);
    }

    /// A session or dial ended for `reason`: where the ends disagree, or the peer's process ends, nothing is left.
    fn handle_end(&mut self, reason: Reason) {
        let disagree = matches!(recover_from_error(reason), Recovery::RetryLater | Recovery::GiveUp);
        if disagree || reason == Reason::Shutdown {
            *self = Self::default();
        }
    }
}

/// How long hints are kept after the end of their session.
const HINTS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// What the user knows from events so far.
#[derive(Clone, Copy, Debug)]
struct Told {
    up: bool,
    ended: Option<Reason>,
    health: health::State,
    breaker: breaker::State,
    leaving: bool,
}

impl Peer {
    pub(super) fn new(now: Instant, id: NodeId, config: Option<PeerConfig>) -> Self {
        let health = Health::new(now);
        let breaker = Breaker::default();
        let mut peer = Self {
            id,
            config: None,
            session: None,
            dial: DialStatus::Idle,
            backoff: Backoff::default(),
            breaker,
            health,
            sessions: 0,
            confirmed: 0,
            unconfirmed: 0,
            last_reason: None,
            hints: KeptHints::default(),
            close: None,
            leaving: None,
            told: Told {
                up: false,
                ended: None,
                health: health.state(),
                breaker: breaker.state(),
                leaving: false,
            },
        };
        if let Some(config) = config {
            peer.configure(now, config);
        }
        peer
    }

    /// Takes a new configuration; a peer that had been given up or waits is dialled as soon as the breaker allows.
    pub(super) fn configure(&mut self, now: Instant, config: PeerConfig) {
        self.config = Some(config);
        self.backoff.reset();
        if self.dial != DialStatus::Outstanding {
            self.dial =
                if config.dial && self.session.is_none() { DialStatus::Due } else { DialStatus::Idle };
            self.hold_dial(now);
        }
    }

    /// Takes a due dial back while the breaker is open.
    fn hold_dial(&mut self, now: Instant) {
        if self.dial == DialStatus::Due && !self.breaker.allows(now) {
            self.dial = DialStatus::At(now);
        }
    }

    /// Becomes known again before it was gone; a session that is to be closed still will be, and a dial that is outstanding
    /// counts as this addition's.
    pub(super) fn revive(&mut self, now: Instant, config: Option<PeerConfig>) {
        let fresh = Self::new(now, self.id, config);
        let dial = if self.dial == DialStatus::Outstanding { self.dial } else { fresh.dial };
        *self = Self { dial, close: self.close, told: Told { leaving: false, ..self.told }, ..fresh };
    }

    /// A session took the place of none or of an older one, whose token is returned.
    pub(super) fn session_up(&mut self, now: Instant, session: SessionRef) -> Option<u64> {
        let replaced = self.token().or(self.close.take().map(|(token, _)| token));
        self.hints = session.hints.map(KeptHints::of).unwrap_or_default();
        let session = SessionRef { hints: None, ..session };
        self.session = Some(Up { session, since: now });
        self.sessions = self.sessions.saturating_add(1);
        if session.dialled || self.dial != DialStatus::Outstanding {
            self.dial = DialStatus::Idle;
        }
        self.breaker.handle_success(now);
        self.health.handle_session_up();
        replaced
    }

    /// The dial that is outstanding led to a session that was not kept.
    pub(super) fn dial_superseded(
        &mut self,
        config: &Config,
        now: Instant,
        reason: Reason,
        rng: &mut impl Rng,
    ) {
        if self.dial == DialStatus::Outstanding {
            self.hints.handle_dial_over(reason);
            self.dial = DialStatus::Idle;
            if self.leaving.is_none() {
                self.schedule(config, now, reason, rng);
            }
        }
    }

    /// The session with this token ended; any other one has been settled before.
    pub(super) fn session_down(
        &mut self,
        config: &Config,
        now: Instant,
        token: u64,
        reason: Reason,
        rng: &mut impl Rng,
    ) {
        if self.close.is_some_and(|(closing, _)| closing == token) {
            self.close = None;
        }
        let Some(up) = self.session.take_if(|up| up.session.token == token) else { return };
        let failed = recover_from_error(reason).is_failure();
        self.told.ended = Some(reason);
        self.last_reason = Some(reason);
        self.hints.handle_session_end(now, reason);
        self.backoff.handle_session_end(&config.backoff, now.since(up.since));
        self.health.handle_session_end(now, failed);
        if failed {
            self.breaker.handle_failure(&config.breaker, now);
        }
        if self.dial != DialStatus::Outstanding {
            self.schedule(config, now, reason, rng);
        }
    }

    pub(super) fn dial_failed(
        &mut self,
        config: &Config,
        now: Instant,
        reason: Reason,
        least_wait: Duration,
        rng: &mut impl Rng,
    ) {
        if self.dial != DialStatus::Outstanding {
            return;
        }
        if self.leaving.is_some() {
            self.dial = DialStatus::Idle;
            return;
        }
        self.last_reason = Some(reason);
        self.hints.handle_dial_over(reason);
        self.hints.handle_end(reason);
        // A dial that lost against a crossing session has reached the peer: that does not speak against it.
        if reason != Reason::Replaced {
            self.health.handle_dial_failed(&config.health, now);
            self.breaker.handle_failure(&config.breaker, now);
        }
        self.schedule(config, now, reason, rng);
        if let DialStatus::At(at) = &mut self.dial {
            *at = (*at).max(now.after(least_wait));
        }
    }

    pub(super) fn report(&mut self, config: &Config, token: u64, report: &LinkReport) {
        self.confirmed = self.confirmed.saturating_add(report.confirmed);
        self.unconfirmed = self.unconfirmed.saturating_add(report.unconfirmed);
        if self.token() == Some(token) {
            let LinkReport { rtt, missed_heartbeats: missed, failures, .. } = *report;
            self.health.handle_report(&config.health, &health::Report { rtt, missed, failures });
        }
    }

    pub(super) fn outcome(&mut self, config: &Config, now: Instant, succeeded: bool) {
        self.health.handle_outcome(&config.health, succeeded);
        if succeeded {
            self.breaker.handle_success(now);
        } else {
            self.breaker.handle_failure(&config.breaker, now);
            self.hold_dial(now);
        }
    }

    /// Begins to leave: the session is to be closed, and what is left to tell is told before the entry goes.
    pub(super) fn leave(&mut self, removal: Removal) {
        if let Some(up) = self.session.take() {
            self.close = Some((up.session.token, Reason::PeerRemoved));
            self.told.ended = Some(Reason::PeerRemoved);
            self.last_reason = Some(Reason::PeerRemoved);
        }
        self.hints = KeptHints::default();
        if self.dial != DialStatus::Outstanding {
            self.dial = DialStatus::Idle;
        }
        self.leaving = Some(removal);
    }

    /// Is not admitted any more: the session is to be closed for `reason`, and nothing is left of it for a next one.
    ///
    /// It says nothing about how well the peer is.
    pub(super) fn expel(&mut self, config: &Config, now: Instant, reason: Reason, rng: &mut impl Rng) {
        self.hints = KeptHints::default();
        let Some(up) = self.session.take() else { return };
        self.close = Some((up.session.token, reason));
        self.told.ended = Some(reason);
        self.last_reason = Some(reason);
        self.health.handle_session_end(now, false);
        if self.dial != DialStatus::Outstanding {
            self.schedule(config, now, reason, rng);
        }
    }

    /// Asks again whether the certificate of the session's peer holds; the answer is until when.
    pub(super) fn review(
        &mut self,
        config: &Config,
        now: Instant,
        confirm: impl FnOnce(&Credential) -> Result<Option<Instant>, Reason>,
        rng: &mut impl Rng,
    ) {
        let Some(up) = &mut self.session else { return };
        match up.session.credential.and_then(|credential| confirm(&credential)) {
            Ok(until) => up.session.certified_until = until,
            Err(reason) => self.expel(config, now, reason, rng),
        }
    }

    /// Moves everything whose time has come.
    pub(super) fn advance(&mut self, config: &Config, now: Instant, rng: &mut impl Rng) {
        if self.leaving.is_some() {
            return;
        }
        if self.certified_until(config).is_some_and(|until| now >= until) {
            self.expel(config, now, Reason::CertificateExpired, rng);
        }
        self.breaker.handle_timeout(now);
        if self.session.is_some() && self.breaker.state() == breaker::State::HalfOpen {
            // A session that outlived the cooldown is the trial, and it succeeded.
            self.breaker.handle_success(now);
        }
        self.health.handle_timeout(&config.health, now);
        if self.hints.until.is_some_and(|until| now >= until) {
            self.hints = KeptHints::default();
        }
        if self.removal_at(config).is_some_and(|at| now >= at) {
            self.leave(Removal::Unhealthy);
        } else if let DialStatus::At(at) = self.dial
            && now >= at
            && self.breaker.allows(now)
        {
            self.dial = DialStatus::Due;
        }
    }

    /// The earliest moment at which [`advance`](Self::advance) would change something.
    pub(super) fn deadline(&self, config: &Config) -> Option<Instant> {
        if self.leaving.is_some() {
            return None;
        }
        let cooled_at = self.breaker.poll_timeout();
        let dial_at = match self.dial {
            DialStatus::At(at) => Some(cooled_at.map_or(at, |cooled_at| at.max(cooled_at))),
            _ => None,
        };
        [
            self.certified_until(config),
            dial_at,
            cooled_at,
            self.hints.until,
            self.health.poll_timeout(&config.health),
            self.removal_at(config),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// When the session's certificate expires, if that ends it.
    fn certified_until(&self, config: &Config) -> Option<Instant> {
        self.session?.session.certified_until.filter(|_| config.trust == Trust::Certified)
    }

    fn removal_at(&self, config: &Config) -> Option<Instant> {
        let span = self.config.map_or(config.strangers_removed_after, |peer| peer.removed_after)?;
        Some(self.health.down_since()?.after(span))
    }

    fn schedule(&mut self, config: &Config, now: Instant, reason: Reason, rng: &mut impl Rng) {
        if self.session.is_some() || !self.config.is_some_and(|peer| peer.dial) {
            self.dial = DialStatus::Idle;
            return;
        }
        self.dial = match recover_from_error(reason) {
            Recovery::GiveUp => DialStatus::GivenUp,
            Recovery::RetryLater => DialStatus::At(now.after(backoff::spread(config.long_wait, rng))),
            Recovery::Reconnect
            | Recovery::RetrySoon
            | Recovery::CloseSession
            | Recovery::DropMessage
            | Recovery::SlowDown
            | Recovery::Ignore => DialStatus::At(now.after(self.backoff.next_wait(&config.backoff, rng))),
        };
    }

    pub(super) fn is_known_by(&self, hint: &Hint) -> bool {
        self.hints.peers.as_ref() == Some(hint)
    }

    pub(super) fn handle_hint_used(&mut self) {
        self.hints.peers = None;
    }

    /// Whom the session of the hints has proven, and by which key.
    pub(super) const fn acquaintance(&self) -> Acquaintance {
        Acquaintance { id: self.id, key: self.hints.key }
    }

    pub(super) fn has_action(&self) -> bool {
        self.close.is_some() || self.dial == DialStatus::Due
    }

    pub(super) fn take_action(&mut self) -> Option<Action> {
        if let Some((token, reason)) = self.close.take() {
            return Some(Action::Close { id: self.id, token, reason });
        }
        if self.dial == DialStatus::Due {
            self.dial = DialStatus::Outstanding;
            self.hints.is_lent = self.hints.own.is_some();
            let peer = self.acquaintance();
            let resumption = self.hints.own.map(|hint| Resumption { peer, hint });
            return Some(Action::Dial { id: self.id, resumption });
        }
        None
    }

    pub(super) fn has_event(&self) -> bool {
        let told = &self.told;
        told.ended.is_some()
            || told.up != self.session.is_some()
            || if self.leaving.is_some() {
                !told.leaving
            } else {
                told.health != self.health.state() || told.breaker != self.breaker.state()
            }
    }

    pub(super) fn take_event(&mut self) -> Option<NodeEvent> {
        let id = self.id;
        if let Some(reason) = self.told.ended {
            // A session that came and went unseen is told as both, so that every PeerDown follows a PeerUp.
            if core::mem::replace(&mut self.told.up, true) {
                self.told.up = false;
                self.told.ended = None;
                return Some(NodeEvent::PeerDown { id, reason });
            }
            return Some(NodeEvent::PeerUp { id });
        }
        if self.session.is_some() && !self.told.up {
            self.told.up = true;
            return Some(NodeEvent::PeerUp { id });
        }
        if let Some(removal) = self.leaving {
            return (!core::mem::replace(&mut self.told.leaving, true))
                .then_some(NodeEvent::PeerRemoved { id, removal });
        }
        let health = self.health.state();
        if health != self.told.health {
            let from = core::mem::replace(&mut self.told.health, health);
            return Some(NodeEvent::Health { id, from, to: health });
        }
        let breaker = self.breaker.state();
        if breaker != self.told.breaker {
            let from = core::mem::replace(&mut self.told.breaker, breaker);
            return Some(NodeEvent::Breaker { id, from, to: breaker });
        }
        None
    }

    /// Whether the peer left, everything about it was polled, and no dial to it is outstanding.
    pub(super) fn is_gone(&self) -> bool {
        let is_dialled = self.dial == DialStatus::Outstanding;
        self.is_leaving() && !is_dialled && !self.has_action() && !self.has_event()
    }

    pub(super) const fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    pub(super) const fn is_configured(&self) -> bool {
        self.config.is_some()
    }

    /// How long the session has been up; zero without one.
    pub(super) fn session_age(&self, now: Instant) -> Duration {
        self.session.map_or(Duration::ZERO, |up| now.since(up.since))
    }

    pub(super) const fn session(&self) -> Option<SessionRef> {
        match self.session {
            Some(up) => Some(up.session),
            None => None,
        }
    }

    pub(super) fn token(&self) -> Option<u64> {
        self.session().map(|session| session.token)
    }

    /// Since when this stranger has no session, if nothing about it is left to tell: it may give its place away.
    pub(super) fn evictable_since(&self) -> Option<Instant> {
        let keeps = self.is_configured() || self.is_leaving() || self.close.is_some() || self.has_event();
        if keeps { None } else { self.health.absent_since() }
    }

    pub(super) fn status(&self) -> PeerStatus {
        PeerStatus {
            id: self.id,
            config: self.config,
            health: self.health.state(),
            breaker: self.breaker.state(),
            session: self.session(),
            connected_since: self.session.map(|up| up.since),
            dial: self.dial,
            rtt: self.health.rtt(),
            successes: self.health.successes(),
            failures: self.health.failures(),
            sessions: self.sessions,
            confirmed: self.confirmed,
            unconfirmed: self.unconfirmed,
            last_reason: self.last_reason,
        }
    }
}
