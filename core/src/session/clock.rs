//! How old a received message is, without synchronised clocks.
//!
//! Every record carries the sender's session time. The smallest difference between our time and the sender's is the
//! shortest way a record ever took; what a record exceeds it by, it spent waiting in some queue on the way. The minimum
//! leaks upwards slowly, so that two oscillators which drift apart do not turn into an ever growing age.

use crate::time::{Duration, Instant};

/// One unit of the clock field of a record, in microseconds.
pub(crate) const UNIT: u64 = 16_000;

/// How fast the minimum may rise: 1/4,096, above the drift of any two quartz crystals (2 x 100 ppm).
const LEAK_SHIFT: u32 = 12;

/// The sender's side: its session time as it goes on the wire.
pub(crate) fn stamp(established_at: Instant, now: Instant) -> u16 {
    (now.since(established_at).as_micros() as u64 / UNIT) as u16
}

/// The receiver's estimate of one peer's session clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerClock {
    established_at: Instant,
    /// Up to when the minimum has leaked.
    leaked_at: Instant,
    /// The peer's clock in units, unwrapped.
    ticks: u64,
    /// The least of our session time minus the peer's, in microseconds; negative when the peer's session began earlier.
    offset: Option<i64>,
}

impl PeerClock {
    pub(crate) fn new(established_at: Instant) -> Self {
        Self { established_at, leaked_at: established_at, ticks: 0, offset: None }
    }

    /// Takes the clock field of a record that arrived at `now` and says how long the record was on its way beyond the shortest way.
    pub(crate) fn handle_stamp(&mut self, now: Instant, stamp: u16) -> Duration {
        // Records of a stream arrive in order, and so do the newest of a datagram link: the clock only ever runs forward.
        self.ticks += u64::from(stamp.wrapping_sub(self.ticks as u16));
        self.judge(now, self.ticks)
    }

    /// The same for a record that a newer one has overtaken.
    pub(crate) fn handle_late_stamp(&mut self, now: Instant, stamp: u16) -> Duration {
        self.judge(now, self.ticks.saturating_sub(u64::from((self.ticks as u16).wrapping_sub(stamp))))
    }

    fn judge(&mut self, now: Instant, ticks: u64) -> Duration {
        let ours = micros(now.since(self.established_at));
        let theirs = i64::try_from(ticks.saturating_mul(UNIT)).unwrap_or(i64::MAX);
        let seen = ours.saturating_sub(theirs);
        // Only whole microseconds leak; the rest of the span counts again, or a busy link would never leak at all.
        let leak = micros(now.since(self.leaked_at)) >> LEAK_SHIFT;
        self.leaked_at = self.leaked_at.after(Duration::from_micros((leak as u64) << LEAK_SHIFT));
        let offset = self.offset.map_or(seen, |offset| offset.saturating_add(leak).min(seen));
        self.offset = Some(offset);
        // The field counts whole units: what lies below one unit is rounding, not waiting.
        let waited = u64::try_from(seen.saturating_sub(offset)).unwrap_or(0);
        Duration::from_micros(if waited < UNIT { 0 } else { waited })
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1_000)
    }

    #[test]
    fn a_record_that_waited_on_the_way_is_older_than_one_that_did_not() {
        let mut clock = PeerClock::new(at(1_000));

        let prompt = clock.handle_stamp(at(1_160), stamp(at(0), at(160)));
        let late = clock.handle_stamp(at(3_320), stamp(at(0), at(320)));

        assert_eq!(prompt, Duration::ZERO);
        // The leak of two seconds is below a millisecond.
        assert!(late > Duration::from_millis(1_999) && late <= Duration::from_secs(2), "{late:?}");
    }

    #[test]
    fn a_record_that_was_overtaken_is_as_old_as_it_waited_and_moves_no_clock() {
        let mut clock = PeerClock::new(at(0));
        let wrap = 65_536 * 16;
        clock.handle_stamp(at(wrap - 1600), stamp(at(0), at(wrap - 1600)));
        clock.handle_stamp(at(wrap + 160), stamp(at(0), at(wrap + 160)));

        let late = clock.handle_late_stamp(at(wrap + 160), stamp(at(0), at(wrap - 160)));
        let next = clock.handle_stamp(at(wrap + 320), stamp(at(0), at(wrap + 320)));

        assert!(late > Duration::from_millis(319) && late <= Duration::from_millis(320), "{late:?}");
        assert_eq!(next, Duration::ZERO);
    }

    #[test]
    fn the_clock_field_may_wrap() {
        let mut clock = PeerClock::new(at(0));
        let wrap = 65_536 * 16;
        clock.handle_stamp(at(wrap - 160), stamp(at(0), at(wrap - 160)));

        let waited = clock.handle_stamp(at(wrap + 160), stamp(at(0), at(wrap + 160)));

        assert_eq!(waited, Duration::ZERO);
    }

    #[test]
    fn a_slow_oscillator_does_not_make_messages_old() {
        let mut clock = PeerClock::new(at(0));
        // The peer's clock loses 200 ppm; one record a minute for a day.
        let worst = (1..=1_440u64)
            .map(|minute| {
                let now = minute * 60_000;
                clock.handle_stamp(at(now), stamp(at(0), at(now - now / 5_000)))
            })
            .max();

        assert!(worst < Some(Duration::from_millis(40)), "{worst:?}");
    }

    #[test]
    fn a_busy_link_leaks_as_much_as_a_quiet_one() {
        let mut clock = PeerClock::new(at(0));
        // The same oscillator, a record every other millisecond for two hours.
        let worst = (1..=3_600_000u64)
            .map(|record| {
                let now = record * 2;
                clock.handle_stamp(at(now), stamp(at(0), at(now - now / 5_000)))
            })
            .max();

        assert!(worst < Some(Duration::from_millis(40)), "{worst:?}");
    }
}
