//! The health of one peer: counts, smoothed round trip time and a verdict. It knows outcomes and times, not how they came.
//!
//! ```text
//!                                 reports: missed heartbeats, slow, failing
//!                       Healthy ───────────────────────────────────────────▶ Degraded
//!                        ▲ ▲ ▲ ◀─────────────── a good report ──────────────── │
//!          session up    │ │ └────────────────────────────┐                    │
//!        ┌───────────────┘ │ session lost                 │ session up         │ session lost
//!        │                 ▼                              │                    │
//!   (added) ────────▶ Suspect ──────────────────────────▶ Down                 │
//!                        ▲     `down_dials` failed dials                       │
//!                        │     or `down_after` without a session               │
//!                        └─────────────────────────────────────────────────────┘
//! ```
//!
//! Invariant: Healthy and Degraded have a session, Suspect and Down have none.

use crate::time::{Duration, Instant};
use core::fmt;

/// The numbers of [`Health`]; shared by all peers of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Heartbeats missed in a row that make a peer Degraded; 0 counts as 1.
    pub degraded_missed: u32,
    /// A smoothed round trip time from which a peer is Degraded.
    pub degraded_rtt: Duration,
    /// Failures not made good by successes that make a peer Degraded; 0 counts as 1.
    pub degraded_failures: u32,
    /// Failed dials in a row after which a peer without a session is Down; 0 counts as 1.
    pub down_dials: u32,
    /// How long a peer without a session stays Suspect.
    pub down_after: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            degraded_missed: 1,
            degraded_rtt: Duration::from_secs(2),
            degraded_failures: 3,
            down_dials: 3,
            down_after: Duration::from_secs(30),
        }
    }
}

/// The verdict on a peer, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// A session is up and works well.
    Healthy,
    /// A session is up; it misses heartbeats, is slow or fails.
    Degraded,
    /// There is no session, and it is too early to give the peer up.
    Suspect,
    /// There is no session after several attempts or a long time.
    Down,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Suspect => "suspect",
            Self::Down => "down",
        })
    }
}

/// What a session observed since its last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// A round trip measured since the last report.
    pub rtt: Option<Duration>,
    /// Heartbeats missed in a row, as of this report.
    pub missed: u32,
    /// What failed since the last report: refused or undeliverable messages, stalls.
    pub failures: u32,
}

/// Health of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    phase: Phase,
    successes: u64,
    failures: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Up(Up),
    Suspect { since: Instant, failed_dials: u32 },
    Down { since: Instant },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Up {
    rtt: Option<Rtt>,
    missed: u32,
    strikes: u32,
    degraded: bool,
}

impl Health {
    /// The health of a peer that became known at `now` and has no session.
    pub const fn new(now: Instant) -> Self {
        Self { phase: Phase::Suspect { since: now, failed_dials: 0 }, successes: 0, failures: 0 }
    }

    /// A session came up, or another one took its place: Healthy, whatever was before.
    pub fn handle_session_up(&mut self) {
        self.successes = self.successes.saturating_add(1);
        self.phase = Phase::Up(Up::default());
    }

    /// The session ended: Suspect at once. `failed` tells a lost or silent link from an orderly end.
    pub fn handle_session_end(&mut self, now: Instant, failed: bool) {
        self.failures = self.failures.saturating_add(u64::from(failed));
        if let Phase::Up(_) = self.phase {
            self.phase = Phase::Suspect { since: now, failed_dials: 0 };
        }
    }

    /// An attempt to reach the peer failed.
    pub fn handle_dial_failed(&mut self, policy: &Policy, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if let Phase::Suspect { failed_dials, .. } = &mut self.phase {
            *failed_dials = failed_dials.saturating_add(1);
            if *failed_dials >= policy.down_dials {
                self.phase = Phase::Down { since: now };
            }
        }
    }

    /// The session reports. A clean report counts as one success and makes good one failure.
    pub fn handle_report(&mut self, policy: &Policy, report: &Report) {
        let Phase::Up(up) = &mut self.phase else { return };
        if report.missed == 0 && report.failures == 0 {
            self.successes = self.successes.saturating_add(1);
            up.strikes = up.strikes.saturating_sub(1);
        } else {
            let missed_one = u32::from(report.missed > up.missed);
            self.failures =
                self.failures.saturating_add(u64::from(report.failures.saturating_add(missed_one)));
            up.strikes = up.strikes.saturating_add(report.failures);
        }
        up.missed = report.missed;
        if let Some(sample) = report.rtt {
            up.rtt = Some(up.rtt.map_or_else(|| Rtt::first(sample), |rtt| rtt.with(sample)));
        }
        up.judge(policy);
    }

    /// The application's own verdict on one exchange with the peer. A success makes good all failures of the session.
    pub fn handle_outcome(&mut self, policy: &Policy, succeeded: bool) {
        self.successes = self.successes.saturating_add(u64::from(succeeded));
        self.failures = self.failures.saturating_add(u64::from(!succeeded));
        if let Phase::Up(up) = &mut self.phase {
            up.strikes = if succeeded { 0 } else { up.strikes.saturating_add(1) };
            up.judge(policy);
        }
    }

    /// Goes from Suspect to Down if the time is over.
    pub fn handle_timeout(&mut self, policy: &Policy, now: Instant) {
        if self.poll_timeout(policy).is_some_and(|down_at| now >= down_at) {
            self.phase = Phase::Down { since: now };
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due: when a Suspect peer goes Down.
    pub const fn poll_timeout(&self, policy: &Policy) -> Option<Instant> {
        match self.phase {
            Phase::Suspect { since, .. } => Some(since.after(policy.down_after)),
            Phase::Up(_) | Phase::Down { .. } => None,
        }
    }

    /// The verdict.
    pub const fn state(&self) -> State {
        match self.phase {
            Phase::Up(Up { degraded: false, .. }) => State::Healthy,
            Phase::Up(Up { degraded: true, .. }) => State::Degraded,
            Phase::Suspect { .. } => State::Suspect,
            Phase::Down { .. } => State::Down,
        }
    }

    /// Since when the peer has been Down, if it is.
    pub const fn down_since(&self) -> Option<Instant> {
        match self.phase {
            Phase::Down { since } => Some(since),
            Phase::Up(_) | Phase::Suspect { .. } => None,
        }
    }

    /// Since when the peer has been Suspect or Down, if it is.
    pub const fn absent_since(&self) -> Option<Instant> {
        match self.phase {
            Phase::Suspect { since, .. } | Phase::Down { since } => Some(since),
            Phase::Up(_) => None,
        }
    }

    /// What went well so far: sessions that came up, clean reports, the application's successes.
    pub const fn successes(&self) -> u64 {
        self.successes
    }

    /// What went wrong so far: lost sessions, failed dials, missed heartbeats, reported failures, the application's failures.
    pub const fn failures(&self) -> u64 {
        self.failures
    }

    /// The smoothed round trip time of the present session, once one was measured.
    pub const fn rtt(&self) -> Option<Rtt> {
        match self.phase {
            Phase::Up(up) => up.rtt,
            Phase::Suspect { .. } | Phase::Down { .. } => None,
        }
    }
}

impl Up {
    fn judge(&mut self, policy: &Policy) {
        self.degraded = self.missed >= policy.degraded_missed.max(1)
            || self.strikes >= policy.degraded_failures.max(1)
            || self.rtt.is_some_and(|rtt| rtt.smoothed >= policy.degraded_rtt);
    }
}

/// A round trip time smoothed as in RFC 6298, section 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtt {
    /// SRTT: seven eighths of the past and one eighth of each new sample.
    pub smoothed: Duration,
    /// RTTVAR: the smoothed distance between samples and SRTT.
    pub variation: Duration,
}

impl Rtt {
    /// The estimate after the first sample (RFC 6298, 2.2).
    pub fn first(sample: Duration) -> Self {
        Self { smoothed: sample, variation: sample / 2 }
    }

    /// The estimate after a further sample (RFC 6298, 2.3).
    pub fn with(self, sample: Duration) -> Self {
        Self {
            variation: weighted(self.variation, 3, self.smoothed.abs_diff(sample)),
            smoothed: weighted(self.smoothed, 7, sample),
        }
    }
}

/// `(weight * past + sample) / (weight + 1)`, without overflow.
fn weighted(past: Duration, weight: u32, sample: Duration) -> Duration {
    (past / (weight + 1)).saturating_mul(weight).saturating_add(sample / (weight + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn policy() -> Policy {
        Policy::default()
    }

    fn up() -> Health {
        let mut health = Health::new(at(0));
        health.handle_session_up();
        health
    }

    #[test]
    fn a_peer_begins_suspect_and_is_healthy_when_a_session_is_up() {
        let mut health = Health::new(at(0));
        let begin = health.state();

        health.handle_session_up();

        assert_eq!((begin, health.state()), (State::Suspect, State::Healthy));
        assert_eq!(health.successes(), 1);
    }

    #[test]
    fn a_lost_session_makes_suspect_at_once_and_counts_a_failure() {
        let mut health = up();

        health.handle_session_end(at(5), true);

        assert_eq!((health.state(), health.failures()), (State::Suspect, 1));
        assert_eq!(health.poll_timeout(&policy()), Some(at(35)));
    }

    #[test]
    fn missed_heartbeats_degrade_and_a_good_report_heals() {
        let mut health = up();

        health.handle_report(&policy(), &Report { missed: 1, ..Report::default() });
        let missed = health.state();
        health.handle_report(&policy(), &Report::default());

        assert_eq!((missed, health.state()), (State::Degraded, State::Healthy));
    }

    #[test]
    fn a_high_smoothed_rtt_degrades() {
        let mut health = up();

        health.handle_report(&policy(), &Report { rtt: Some(Duration::from_secs(3)), ..Report::default() });

        assert_eq!(health.state(), State::Degraded);
    }

    #[test]
    fn failures_degrade_and_clean_reports_make_them_good_one_by_one() {
        let mut health = up();
        health.handle_report(&policy(), &Report { failures: 4, ..Report::default() });

        health.handle_report(&policy(), &Report::default());
        let after_one = health.state();
        health.handle_report(&policy(), &Report::default());

        assert_eq!((after_one, health.state()), (State::Degraded, State::Healthy));
        assert_eq!((health.successes(), health.failures()), (3, 4));
    }

    #[test]
    fn failures_told_by_the_application_degrade_until_it_tells_a_success() {
        let mut health = up();
        for _ in 0..3 {
            health.handle_outcome(&policy(), false);
        }
        let failed = health.state();

        health.handle_outcome(&policy(), true);

        assert_eq!((failed, health.state()), (State::Degraded, State::Healthy));
    }

    #[test]
    fn enough_failed_dials_make_down() {
        let mut health = Health::new(at(0));
        health.handle_dial_failed(&policy(), at(1));
        health.handle_dial_failed(&policy(), at(2));
        let before = health.state();

        health.handle_dial_failed(&policy(), at(3));

        assert_eq!((before, health.state()), (State::Suspect, State::Down));
        assert_eq!(health.down_since(), Some(at(3)));
    }

    #[test]
    fn enough_time_without_a_session_makes_down() {
        let mut health = Health::new(at(0));

        health.handle_timeout(&policy(), at(29));
        let before = health.state();
        health.handle_timeout(&policy(), at(30));

        assert_eq!((before, health.state()), (State::Suspect, State::Down));
    }

    #[test]
    fn a_session_brings_a_down_peer_back_to_healthy() {
        let mut health = Health::new(at(0));
        health.handle_timeout(&policy(), at(30));

        health.handle_session_up();

        assert_eq!((health.state(), health.down_since()), (State::Healthy, None));
    }

    #[test]
    fn the_rtt_is_smoothed_as_rfc_6298_says() {
        let first = Rtt::first(Duration::from_millis(80));

        let second = first.with(Duration::from_millis(160));

        assert_eq!(first.variation, Duration::from_millis(40));
        assert_eq!(second.variation, Duration::from_millis(50));
        assert_eq!(second.smoothed, Duration::from_millis(90));
    }

    #[test]
    fn extreme_rtt_samples_do_not_overflow() {
        let rtt = Rtt::first(Duration::MAX).with(Duration::MAX).with(Duration::ZERO).with(Duration::MAX);

        assert!(rtt.smoothed <= Duration::MAX);
    }
}
