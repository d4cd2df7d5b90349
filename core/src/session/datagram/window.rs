//! How much may be under way to a datagram peer: NewReno as in RFC 9002, section 7, in bytes of datagrams.
//!
//! ```text
//!   SlowStart ── loss ──▶ Recovery ── a record sent in it is acknowledged ──▶ CongestionAvoidance
//!       ▲                     ▲                                                   │      │
//!       │                     └─────────────────────── loss ──────────────────────┘      │
//!       └──────────────────────── persistent congestion ─────────────────────────────────┘
//! ```

use crate::time::{Duration, Instant};
use crate::wire::datagram::MAX_LEN;

/// Ten datagrams: section 7.2.
const INITIAL: u64 = 10 * MAX_LEN as u64;
/// Two datagrams: section 7.2.
const LEAST: u64 = 2 * MAX_LEN as u64;
/// Beyond what any path of a session needs; it bounds the sums.
const MOST: u64 = 1 << 30;

#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    size: u64,
    in_flight: u64,
    threshold: u64,
    recovery_since: Option<Instant>,
    /// Acknowledged bytes that are not a whole step of growth yet.
    credit: u64,
    pacer: Pacer,
}

impl Window {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            size: INITIAL,
            in_flight: 0,
            threshold: u64::MAX,
            recovery_since: None,
            credit: 0,
            pacer: Pacer { left: INITIAL, at: now },
        }
    }

    /// Whether the window has room for one more datagram.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight + MAX_LEN as u64 <= self.size
    }

    /// When the next datagram may leave without making a burst: section 7.7.
    pub(super) fn paced_at(&self, rtt: Duration) -> Instant {
        self.pacer.free_at(self.size, rtt)
    }

    /// A record of `len` bytes was sent.
    pub(super) fn handle_sent(&mut self, now: Instant, len: u64, rtt: Duration) {
        self.in_flight += len;
        self.pacer.handle_sent(now, len, self.size, rtt);
    }

    /// A record of `len` bytes that was sent at `sent_at` has arrived: section 7.3.
    pub(super) fn handle_arrived(&mut self, sent_at: Instant, len: u64) {
        // Growth without need would leave a window that no path has carried: section 7.8.
        let is_used = self.in_flight * 2 >= self.size;
        self.in_flight = self.in_flight.saturating_sub(len);
        if self.recovery_since.is_some_and(|since| sent_at <= since) || !is_used {
            return;
        }
        if self.size < self.threshold {
            self.size = (self.size + len).min(MOST);
            return;
        }
        self.credit += len;
        if self.credit >= self.size {
            self.credit -= self.size;
            self.size = (self.size + MAX_LEN as u64).min(MOST);
        }
    }

    /// A record of `len` bytes is lost; what becomes of the window is decided once for all that were, in
    /// [`handle_congestion`](Self::handle_congestion).
    pub(super) fn handle_lost(&mut self, len: u64) {
        self.in_flight = self.in_flight.saturating_sub(len);
    }

    /// Records are lost, the last of which was sent at `sent_at`: section 7.3.2.
    pub(super) fn handle_congestion(&mut self, now: Instant, sent_at: Instant) {
        if self.recovery_since.is_some_and(|since| sent_at <= since) {
            return;
        }
        self.recovery_since = Some(now);
        self.threshold = (self.size / 2).max(LEAST);
        self.size = self.threshold;
        self.credit = 0;
    }

    /// Nothing arrived for so long that the path has changed: section 7.6.2.
    pub(super) fn handle_persistent_congestion(&mut self) {
        self.size = LEAST;
        self.recovery_since = None;
        self.credit = 0;
    }

    /// The path is another one: RFC 9000, section 9.4. What is under way stays so.
    pub(super) fn reset(&mut self, now: Instant) {
        *self = Self { in_flight: self.in_flight, ..Self::new(now) };
    }
}

/// Lets bursts of ten datagrams, or of a millisecond at the path's rate, go and then so many as the path carries.
#[derive(Clone, Copy, Debug)]
struct Pacer {
    left: u64,
    at: Instant,
}

impl Pacer {
    fn handle_sent(&mut self, now: Instant, len: u64, window: u64, rtt: Duration) {
        *self = Self { left: self.left_at(now, window, rtt).saturating_sub(len), at: now };
    }

    fn free_at(&self, window: u64, rtt: Duration) -> Instant {
        if self.left >= MAX_LEN as u64 {
            return self.at;
        }
        // Until half a burst is there again, so that not every datagram costs a timer.
        let lacking = u128::from(INITIAL / 2 - self.left) * rtt.as_micros() * 4;
        let micros = lacking.div_ceil(u128::from(window) * 5);
        self.at.after(Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)))
    }

    fn left_at(&self, now: Instant, window: u64, rtt: Duration) -> u64 {
        let burst = carried(Duration::from_millis(1), window, rtt).max(INITIAL);
        self.left.saturating_add(carried(now.since(self.at), window, rtt)).min(burst)
    }
}

/// Bytes that a path carries in `span`, a quarter more than the window gives, as section 7.7 recommends.
fn carried(span: Duration, window: u64, rtt: Duration) -> u64 {
    let bytes = span.as_micros().saturating_mul(u128::from(window) * 5) / (rtt.as_micros().max(1) * 4);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_micros(1_000_000);
    const RTT: Duration = Duration::from_millis(100);
    const LEN: u64 = MAX_LEN as u64;

    #[test]
    fn slow_start_doubles_in_a_round_trip() {
        let mut window = full(NOW);

        (0..10).for_each(|_| window.handle_arrived(NOW, LEN));

        assert_eq!((window.size, window.in_flight), (14 * LEN, 0), "it stops when the window is not used");
        let mut window = full(NOW);
        for _ in 0..10 {
            window.handle_arrived(NOW, LEN);
            while window.has_room() {
                window.handle_sent(NOW, LEN, RTT);
            }
        }
        assert_eq!(window.size, 20 * LEN);
    }

    #[test]
    fn a_loss_halves_the_window_once_and_recovery_lets_nothing_grow() {
        let mut window = full(NOW);

        window.handle_lost(LEN);
        window.handle_congestion(NOW.after(RTT), NOW);
        window.handle_congestion(NOW.after(RTT * 2), NOW);
        window.handle_arrived(NOW, LEN);

        assert_eq!(window.size, 5 * LEN);
    }

    #[test]
    fn after_recovery_the_window_grows_by_a_datagram_in_a_round_trip() {
        let mut window = full(NOW);
        window.handle_congestion(NOW, NOW);
        let later = NOW.after(RTT);

        for _ in 0..5 {
            window.handle_arrived(later, LEN);
            window.handle_sent(later, LEN, RTT);
        }

        assert_eq!(window.size, 6 * LEN);
    }

    #[test]
    fn persistent_congestion_leaves_two_datagrams_and_slow_start_up_to_the_threshold() {
        let mut window = full(NOW);
        window.handle_congestion(NOW, NOW);
        window.handle_persistent_congestion();

        assert_eq!(window.size, 2 * LEN);
        window.handle_arrived(NOW, LEN);
        assert_eq!(window.size, 3 * LEN);
    }

    #[test]
    fn a_burst_is_ten_datagrams_and_the_rest_of_a_window_follows_within_the_round_trip() {
        let mut window = Window { size: 40 * LEN, ..Window::new(NOW) };
        let (mut now, mut sent) = (NOW, 0);

        while window.paced_at(RTT) <= now && window.has_room() {
            window.handle_sent(now, LEN, RTT);
            sent += 1;
        }
        assert_eq!(sent, 10);

        while window.has_room() {
            now = now.max(window.paced_at(RTT));
            window.handle_sent(now, LEN, RTT);
        }
        assert!(now > NOW && now < NOW.after(RTT), "{now:?}");
    }

    #[test]
    fn a_near_peer_is_not_paced_at_all() {
        let mut window = Window { size: 1000 * LEN, ..Window::new(NOW) };
        let near = Duration::from_micros(200);
        window.handle_sent(NOW, 10 * LEN, near);

        assert!(window.paced_at(near) <= NOW.after(near));
    }

    /// A window whose every byte is in flight since `now`.
    fn full(now: Instant) -> Window {
        let mut window = Window::new(now);
        (0..10).for_each(|_| window.handle_sent(now, LEN, RTT));
        window
    }
}
