//! How long to wait before dialling a peer again: exponential, with full jitter. Pure: it knows counts, not times.
//!
//! The ceiling doubles with every attempt from `floor` to `cap`, and each wait is drawn evenly between `floor` and
//! the ceiling, so that nodes which lost the same peer at once do not come back at once. Invariant: every wait lies in
//! `floor..=cap`, and only a session that lived for `settled_after` takes the count back to zero: a peer that
//! accepts and drops connections keeps waiting longer.
//!
//! Source: "Exponential Backoff and Jitter", AWS Architecture Blog, 2015 (full jitter; the floor is ours).

use crate::time::Duration;
use rand_core::Rng;

/// The numbers of a [`Backoff`]; shared by all peers of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The shortest wait, and what the ceiling starts from.
    pub floor: Duration,
    /// The longest wait; a value below `floor` counts as `floor`.
    pub cap: Duration,
    /// A session that lived this long proves the peer well: the next loss starts again from `floor`.
    pub settled_after: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            floor: Duration::from_millis(100),
            cap: Duration::from_secs(30),
            settled_after: Duration::from_secs(10),
        }
    }
}

impl Policy {
    /// The longest wait that may follow `attempts` waits since the peer was last well.
    fn ceiling(&self, attempts: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempts.saturating_add(1)).unwrap_or(u32::MAX);
        self.floor.saturating_mul(factor).min(self.cap).max(self.floor)
    }
}

/// How often one peer was waited for since it was last well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// Draws the wait before the next attempt and counts it.
    pub fn next_wait(&mut self, policy: &Policy, rng: &mut impl Rng) -> Duration {
        let ceiling = policy.ceiling(self.attempts);
        self.attempts = self.attempts.saturating_add(1);
        policy.floor.saturating_add(drawn_up_to(ceiling.saturating_sub(policy.floor), rng))
    }

    /// A session ended after it had lived for `lived`; forgets the attempts if that was long enough.
    pub fn handle_session_end(&mut self, policy: &Policy, lived: Duration) {
        if lived >= policy.settled_after {
            self.attempts = 0;
        }
    }

    /// Forgets all attempts, as when the user configured the peer anew.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Waits drawn since the peer was last well.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }
}

/// `span` and up to a quarter more: long fixed waits also must not end for all nodes at once.
pub fn spread(span: Duration, rng: &mut impl Rng) -> Duration {
    span.saturating_add(drawn_up_to(span / 4, rng))
}

/// A whole number of microseconds, drawn evenly from `0..=span`.
fn drawn_up_to(span: Duration, rng: &mut impl Rng) -> Duration {
    let choices = u128::from(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)) + 1;
    // Multiply and shift maps 64 random bits to the range; its bias of choices / 2^64 is of no concern for a wait.
    let drawn = (u128::from(rng.next_u64()) * choices) >> 64;
    Duration::from_micros(u64::try_from(drawn).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

    #[test]
    fn the_ceiling_doubles_from_the_floor_up_to_the_cap() {
        let policy = Policy::default();

        let ceilings: std::vec::Vec<_> = (0..10).map(|n| policy.ceiling(n).as_millis()).collect();

        assert_eq!(ceilings, [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
        assert_eq!(policy.ceiling(u32::MAX), policy.cap);
    }

    #[test]
    fn the_jitter_uses_the_whole_range() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let policy = Policy::default();
        let mut backoff = Backoff { attempts: 20 };

        let waits: std::vec::Vec<_> = (0..1000).map(|_| backoff.next_wait(&policy, &mut rng)).collect();

        assert!(waits.iter().any(|wait| *wait < Duration::from_secs(2)));
        assert!(waits.iter().any(|wait| *wait > Duration::from_secs(28)));
    }

    #[test]
    fn a_short_session_keeps_the_count_and_a_long_one_clears_it() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let policy = Policy::default();
        let mut backoff = Backoff::default();
        backoff.next_wait(&policy, &mut rng);

        backoff.handle_session_end(&policy, Duration::from_secs(9));
        let after_short = backoff.attempts();
        backoff.handle_session_end(&policy, Duration::from_secs(10));

        assert_eq!(after_short, 1);
        assert_eq!(backoff.attempts(), 0);
    }

    proptest! {
        #[test]
        fn every_wait_lies_between_floor_and_cap(seed: u64, floor in 0..1_000_000_u64, more in 0..100_000_000_u64, attempts: u32) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let policy = Policy {
                floor: Duration::from_micros(floor),
                cap: Duration::from_micros(floor + more),
                ..Policy::default()
            };

            let wait = Backoff { attempts }.next_wait(&policy, &mut rng);

            prop_assert!(wait >= policy.floor && wait <= policy.cap);
        }
    }
}
