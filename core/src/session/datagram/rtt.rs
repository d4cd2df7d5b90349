//! The round trip to a datagram peer and what follows from it: RFC 9002, section 5 and the spans of section 6.

use super::arrivals;
use crate::time::Duration;

/// The least span that timers tell apart, `kGranularity` of RFC 9002, section 6.1.2.
const GRANULARITY: Duration = Duration::from_millis(1);

/// What is assumed before anything was measured, `kInitialRtt` of RFC 9002, section 6.2.2: three of it make the first
/// timeout one second.
const INITIAL: Duration = Duration::from_millis(333);

/// How far timeouts double.
const MAX_DOUBLINGS: u32 = 6;

#[derive(Clone, Copy, Debug)]
pub(super) struct Rtt {
    smoothed: Duration,
    variation: Duration,
    latest: Duration,
    least: Option<Duration>,
}

impl Default for Rtt {
    fn default() -> Self {
        Self { smoothed: INITIAL, variation: INITIAL / 2, latest: INITIAL, least: None }
    }
}

impl Rtt {
    /// Takes a sample of which the peer says that it kept the record for `delay`: section 5.3.
    pub(super) fn handle_sample(&mut self, latest: Duration, delay: Duration) {
        self.latest = latest;
        let Some(least) = self.least else {
            (self.least, self.smoothed, self.variation) = (Some(latest), latest, latest / 2);
            return;
        };
        let least = least.min(latest);
        self.least = Some(least);
        let delay = delay.min(arrivals::DELAY);
        let adjusted = if latest >= least + delay { latest - delay } else { latest };
        self.variation = (self.variation * 3 + self.smoothed.abs_diff(adjusted)) / 4;
        self.smoothed = (self.smoothed * 7 + adjusted) / 8;
    }

    /// The path is another one: what was measured says nothing of it, RFC 9002, section 5 and RFC 9000, section 9.4.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    pub(super) fn smoothed(&self) -> Duration {
        self.smoothed
    }

    /// How much earlier than an acknowledged record a missing one must have been sent to count as lost: section 6.1.2.
    pub(super) fn loss_delay(&self) -> Duration {
        (self.latest.max(self.smoothed) * 9 / 8).max(GRANULARITY)
    }

    /// The probe timeout after `count` that brought no answer: section 6.2.1.
    pub(super) fn probe_timeout(&self, count: u32) -> Duration {
        self.timeout(arrivals::DELAY) * (1 << count.min(MAX_DOUBLINGS))
    }

    /// The timeout of handshake packets, which are answered without delay.
    pub(super) fn handshake_timeout(&self, count: u32) -> Duration {
        self.timeout(Duration::ZERO) * (1 << count.min(MAX_DOUBLINGS))
    }

    /// A span without any acknowledgement that means persistent congestion: section 7.6.1.
    pub(super) fn persistent_congestion(&self) -> Duration {
        self.timeout(arrivals::DELAY) * 3
    }

    fn timeout(&self, answer_delay: Duration) -> Duration {
        self.smoothed + (self.variation * 4).max(GRANULARITY) + answer_delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_first_timeout_is_a_second_and_doubles() {
        let rtt = Rtt::default();

        assert_eq!(rtt.handshake_timeout(0), ms(999));
        assert_eq!(rtt.handshake_timeout(2), ms(3996));
    }

    #[test]
    fn the_first_sample_counts_as_it_is_and_later_ones_by_an_eighth() {
        let mut rtt = Rtt::default();

        rtt.handle_sample(ms(80), ms(20));
        assert_eq!((rtt.smoothed, rtt.variation), (ms(80), ms(40)));

        rtt.handle_sample(ms(160), Duration::ZERO);
        assert_eq!((rtt.smoothed, rtt.variation), (ms(90), ms(50)));
        assert_eq!(rtt.loss_delay(), ms(180));
        assert_eq!(rtt.probe_timeout(1), ms((90 + 200 + 25) * 2));
    }

    #[test]
    fn the_peers_delay_is_taken_off_as_far_as_it_is_credible() {
        let mut rtt = Rtt::default();
        rtt.handle_sample(ms(80), Duration::ZERO);

        rtt.handle_sample(ms(100), ms(20));
        assert_eq!(rtt.smoothed, ms(80));

        // More than it may wait, or more than the least round trip leaves, is not believed.
        rtt.handle_sample(ms(180), ms(500));
        assert_eq!(rtt.smoothed, (ms(80) * 7 + ms(155)) / 8);
        let before = rtt.smoothed;
        rtt.handle_sample(ms(90), ms(20));
        assert_eq!(rtt.smoothed, (before * 7 + ms(90)) / 8);
    }
}
