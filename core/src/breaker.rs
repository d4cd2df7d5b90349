//! The circuit breaker of one peer. Pure: it knows times and outcomes, not bytes.
//!
//! ```text
//!            `threshold` failures           after `cooldown`
//!   Closed ───────────────────────▶ Open ──────────────────▶ HalfOpen
//!      ▲                             ▲        one failure       │
//!      └──────── one success ────────┴──────────────────────────┘
//! ```
//!
//! Failures count in a row: one success in Closed clears them. Outcomes that arrive while it is open change nothing;
//! they belong to attempts that began earlier. Invariant: nothing but the passing of `cooldown` leaves Open.

use crate::time::{Duration, Instant};
use core::fmt;

/// The numbers of a [`Breaker`]; shared by all peers of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Failures in a row that open the breaker; 0 counts as 1.
    pub threshold: u32,
    /// How long an open breaker allows nothing.
    pub cooldown: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { threshold: 5, cooldown: Duration::from_secs(10) }
    }
}

/// What a breaker lets pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Everything passes.
    #[default]
    Closed,
    /// Nothing passes until the cooldown is over.
    Open,
    /// One trial may pass; its outcome decides.
    HalfOpen,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        })
    }
}

/// The circuit breaker of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    position: Position,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { position: Position::Closed { failures: 0 } }
    }
}

impl Breaker {
    /// Whether an attempt may begin. In HalfOpen the caller makes one attempt at a time.
    pub fn allows(&self, now: Instant) -> bool {
        match self.position {
            Position::Closed { .. } | Position::HalfOpen => true,
            Position::Open { until } => now >= until,
        }
    }

    /// An attempt succeeded.
    pub fn handle_success(&mut self, now: Instant) {
        self.handle_timeout(now);
        if !matches!(self.position, Position::Open { .. }) {
            self.position = Position::Closed { failures: 0 };
        }
    }

    /// An attempt failed.
    pub fn handle_failure(&mut self, policy: &Policy, now: Instant) {
        self.handle_timeout(now);
        self.position = match self.position {
            Position::Closed { failures } if failures.saturating_add(1) < policy.threshold => {
                Position::Closed { failures: failures + 1 }
            }
            Position::Closed { .. } | Position::HalfOpen => {
                Position::Open { until: now.after(policy.cooldown) }
            }
            open @ Position::Open { .. } => open,
        };
    }

    /// Goes from Open to HalfOpen if the cooldown is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Position::Open { until } = self.position
            && now >= until
        {
            self.position = Position::HalfOpen;
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due: the end of the cooldown.
    pub const fn poll_timeout(&self) -> Option<Instant> {
        match self.position {
            Position::Open { until } => Some(until),
            Position::Closed { .. } | Position::HalfOpen => None,
        }
    }

    /// What the breaker lets pass, as of the last call that told it the time.
    pub const fn state(&self) -> State {
        match self.position {
            Position::Closed { .. } => State::Closed,
            Position::Open { .. } => State::Open,
            Position::HalfOpen => State::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { threshold: 3, cooldown: Duration::from_secs(10) };

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn opened_at(seconds: u64) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..POLICY.threshold {
            breaker.handle_failure(&POLICY, at(seconds));
        }
        breaker
    }

    #[test]
    fn threshold_failures_in_a_row_open_it() {
        let mut breaker = Breaker::default();
        breaker.handle_failure(&POLICY, at(0));
        breaker.handle_failure(&POLICY, at(0));
        let before = breaker.state();

        breaker.handle_failure(&POLICY, at(0));

        assert_eq!(before, State::Closed);
        assert_eq!(breaker.state(), State::Open);
        assert!(!breaker.allows(at(9)));
    }

    #[test]
    fn a_success_between_failures_starts_the_count_again() {
        let mut breaker = Breaker::default();
        breaker.handle_failure(&POLICY, at(0));
        breaker.handle_failure(&POLICY, at(0));

        breaker.handle_success(at(0));
        breaker.handle_failure(&POLICY, at(0));
        breaker.handle_failure(&POLICY, at(0));

        assert_eq!(breaker.state(), State::Closed);
    }

    #[test]
    fn it_is_half_open_after_the_cooldown() {
        let mut breaker = opened_at(0);
        assert_eq!(breaker.poll_timeout(), Some(at(10)));

        breaker.handle_timeout(at(10));

        assert_eq!(breaker.state(), State::HalfOpen);
        assert!(breaker.allows(at(10)));
        assert_eq!(breaker.poll_timeout(), None);
    }

    #[test]
    fn one_success_closes_a_half_open_one() {
        let mut breaker = opened_at(0);
        breaker.handle_timeout(at(10));

        breaker.handle_success(at(11));

        assert_eq!(breaker, Breaker::default());
    }

    #[test]
    fn one_failure_opens_a_half_open_one_for_another_cooldown() {
        let mut breaker = opened_at(0);
        breaker.handle_timeout(at(10));

        breaker.handle_failure(&POLICY, at(11));

        assert_eq!(breaker.state(), State::Open);
        assert_eq!(breaker.poll_timeout(), Some(at(21)));
    }

    #[test]
    fn outcomes_while_open_neither_close_it_nor_extend_the_cooldown() {
        let mut breaker = opened_at(0);

        breaker.handle_success(at(5));
        breaker.handle_failure(&POLICY, at(6));

        assert_eq!(breaker, opened_at(0));
    }
}
