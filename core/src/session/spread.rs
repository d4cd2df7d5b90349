//! What keeps sessions that came up in the same instant from beating and ending in the same instant.
//!
//! A node that restarts, or a switch that does, brings up hundreds of sessions at once. Each end of each session takes its
//! own place in every interval, derived from its sending key: no randomness is drawn, and nobody else can tell it ahead.

use crate::time::Duration;

/// The places of one end of a session, each a fraction of 2^32.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    heartbeat: u32,
    renewal: u32,
}

impl Spread {
    /// Every session at the end of every interval.
    #[cfg(test)]
    pub(super) const LATEST: Self = Self { heartbeat: u32::MAX, renewal: 0 };

    /// The places that eight bytes give of which nobody else knows.
    pub(super) const fn of([a, b, c, d, e, f, g, h]: [u8; 8]) -> Self {
        Self { heartbeat: u32::from_le_bytes([a, b, c, d]), renewal: u32::from_le_bytes([e, f, g, h]) }
    }

    /// How long after the first heartbeat the second follows: more than nothing and at most `interval`.
    pub(super) fn first_interval(&self, interval: Duration) -> Duration {
        portion(interval, u64::from(self.heartbeat) + 1).max(Duration::from_micros(1))
    }

    /// How much earlier than after `age` a session is renewed: at most a twentieth of it.
    pub(super) fn early(&self, age: Duration) -> Duration {
        portion(age / 20, u64::from(self.renewal))
    }
}

/// `of_2_32` / 2^32 of `span`.
fn portion(span: Duration, of_2_32: u64) -> Duration {
    let micros = (span.as_micros() * u128::from(of_2_32)) >> 32;
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_lie_within_their_intervals_and_all_over_them() {
        let interval = Duration::from_secs(10);
        let mut tenths = [0; 10];
        for n in 0..=255 {
            let spread = Spread::of([7, 0, 0, n, 9, 9, 9, n]);
            let first = spread.first_interval(interval);

            assert!(first > Duration::ZERO && first <= interval);
            assert!(spread.early(interval) < interval / 20);
            tenths[(first.as_micros() as usize - 1) / 1_000_000] += 1;
        }

        assert!(tenths.iter().all(|count| *count > 10), "{tenths:?}");
    }

    #[test]
    fn the_extremes_are_the_whole_interval_and_an_instant() {
        let interval = Duration::from_millis(100);

        assert_eq!(Spread::LATEST.first_interval(interval), interval);
        let earliest = Spread { heartbeat: 0, renewal: u32::MAX };
        assert_eq!(earliest.first_interval(interval), Duration::from_micros(1));
    }
}
