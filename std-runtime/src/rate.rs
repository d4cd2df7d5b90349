//! How often each address may begin something. Bounded, whatever addresses are made up.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use hyphal_core::time::Instant;

/// A bucket of tokens for each IPv4 address or IPv6 /64, and one for all that find no room.
#[derive(Debug)]
pub(crate) struct Rate {
    buckets: HashMap<IpAddr, Bucket>,
    others: Bucket,
    /// When full buckets are next looked for: a search for each made-up address would be what a flood wants.
    sweep_at: Instant,
    /// The most that may come at once.
    burst: u32,
    /// The time after which a further one may come.
    interval: Duration,
}

/// When the bucket is full again: each token taken lies one interval later.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    full_at: Instant,
}

impl Rate {
    pub(crate) fn new(burst: u32, interval: Duration) -> Self {
        let others = Bucket { full_at: Instant::ZERO };
        Self { buckets: HashMap::new(), others, sweep_at: Instant::ZERO, burst, interval }
    }

    /// Whether `origin` (see [`origin`](crate::hub::origin)) may begin something now; counts it if so.
    pub(crate) fn allows(&mut self, now: Instant, origin: IpAddr) -> bool {
        if self.buckets.len() >= MOST && !self.buckets.contains_key(&origin) {
            if self.sweep_at <= now {
                self.sweep_at = now.after(SWEEP_PAUSE);
                self.buckets.retain(|_, bucket| bucket.full_at > now);
                self.buckets.shrink_to(MOST / 8);
            }
            if self.buckets.len() >= MOST {
                return self.others.take(now, self.burst, self.interval);
            }
        }
        let bucket = self.buckets.entry(origin).or_insert(Bucket { full_at: now });
        bucket.take(now, self.burst, self.interval)
    }
}

impl Bucket {
    fn take(&mut self, now: Instant, burst: u32, interval: Duration) -> bool {
        let full_at = self.full_at.max(now).after(interval);
        if full_at.since(now) > interval * burst {
            return false;
        }
        self.full_at = full_at;
        true
    }
}

/// Addresses that are told apart: half a mebibyte.
const MOST: usize = 8192;

const SWEEP_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(100);

    #[test]
    fn an_address_has_its_burst_and_then_its_rate_and_others_have_theirs() {
        let mut rate = Rate::new(3, INTERVAL);
        let (here, there) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let allowed = |rate: &mut Rate, now| (0..10).filter(|_| rate.allows(now, here)).count();

        assert_eq!(allowed(&mut rate, at(0)), 3);
        assert_eq!(allowed(&mut rate, at(99)), 0);
        assert_eq!(allowed(&mut rate, at(200)), 2);
        assert!(rate.allows(at(200), there));
        assert_eq!(allowed(&mut rate, at(10_000)), 3);
    }

    #[test]
    fn made_up_addresses_share_one_bucket_beyond_a_bounded_number() {
        let mut rate = Rate::new(2, INTERVAL);
        let address = |number: u32| IpAddr::from(number.to_be_bytes());

        let allowed = (0..100_000).filter(|&number| rate.allows(at(0), address(number))).count();

        assert_eq!(allowed, MOST + 2);
        assert_eq!(rate.buckets.len(), MOST);
        assert!(rate.allows(at(1000), address(1_000_000)), "the flood has passed");
        assert_eq!(rate.buckets.len(), 1);
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO.after(Duration::from_millis(millis))
    }
}
