//! The receive filter of one peer: no message is delivered twice, none after its time to live.
//!
//! It outlives sessions, as the peer's epoch does. It is not replay protection of records, which their counters give.
//! Invariant: while the source stays in an epoch, a message that was admitted once is not admitted again. Another epoch starts
//! anew: its source has booted.

use crate::ids::{MessageId, Priority};
use crate::time::Duration;
use crate::wire::reason::Reason;

/// Remembers which messages of one peer were admitted: per class a window of the last 1,024 sequence numbers.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    epoch: u64,
    windows: [Window; Priority::ALL.len()],
}

impl Filter {
    /// A filter that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Admits a message once. `age` is the time since it was sent, `ttl` its seconds to live (0 = it never expires).
    ///
    /// Another epoch than that of the last message means that the peer has booted: what was seen is forgotten.
    ///
    /// # Errors
    /// [`Reason::Expired`] if `age` has reached `ttl`; the message does not count as seen.
    /// [`Reason::Duplicate`] if it was admitted before, or lies 1,024 or more behind the newest of its class, where
    /// that is no longer known.
    #[inline]
    pub fn check(&mut self, id: MessageId, class: Priority, age: Duration, ttl: u32) -> Result<(), Reason> {
        if ttl != 0 && age >= Duration::from_secs(u64::from(ttl)) {
            return Err(Reason::Expired);
        }
        if id.epoch != self.epoch {
            *self = Self { epoch: id.epoch, ..Self::default() };
        }
        if self.windows[class as usize].admit(id.sequence) { Ok(()) } else { Err(Reason::Duplicate) }
    }

    /// Whether [`check`](Self::check) would refuse the message as a duplicate. A message in parts is asked about when it begins
    /// and admitted when it is whole, so that one that was cut short can come again.
    pub fn has_seen(&self, id: MessageId, class: Priority) -> bool {
        id.epoch == self.epoch && self.windows[class as usize].has_seen(id.sequence)
    }
}

/// One bit per sequence number, at the number modulo the window's size.
#[derive(Clone, Debug, Default)]
struct Window {
    /// The highest number admitted, once there is one.
    newest: Option<u64>,
    seen: [u64; Window::WORDS],
}

impl Window {
    const SIZE: u64 = 1024;
    const WORDS: usize = 16;

    #[inline]
    fn admit(&mut self, sequence: u64) -> bool {
        let (word, bit) = Self::place(sequence);
        match self.newest {
            Some(newest) if sequence <= newest => {
                if newest - sequence >= Self::SIZE || self.seen[word] & bit != 0 {
                    return false;
                }
            }
            Some(newest) => {
                if sequence - newest > 1 {
                    self.forget(newest, sequence);
                }
                self.newest = Some(sequence);
            }
            None => self.newest = Some(sequence),
        }
        self.seen[word] |= bit;
        true
    }

    fn has_seen(&self, sequence: u64) -> bool {
        let (word, bit) = Self::place(sequence);
        self.newest.is_some_and(|newest| {
            sequence <= newest && (newest - sequence >= Self::SIZE || self.seen[word] & bit != 0)
        })
    }

    /// Clears the bits of the numbers between `newest` and `sequence`: they were skipped, not seen.
    fn forget(&mut self, newest: u64, sequence: u64) {
        if sequence - newest >= Self::SIZE {
            self.seen = [0; Self::WORDS];
            return;
        }
        let mut at = newest + 1;
        while at < sequence {
            let (word, bit) = Self::place(at);
            if bit == 1 && sequence - at >= 64 {
                self.seen[word] = 0;
                at += 64;
            } else {
                self.seen[word] &= !bit;
                at += 1;
            }
        }
    }

    #[inline]
    const fn place(sequence: u64) -> (usize, u64) {
        ((sequence % Self::SIZE / 64) as usize, 1 << (sequence % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    #[test]
    fn a_message_is_admitted_once() {
        let mut filter = Filter::new();

        assert_eq!(check(&mut filter, 1, 0), Ok(()));
        assert_eq!(check(&mut filter, 1, 0), Err(Reason::Duplicate));
    }

    #[test]
    fn asking_whether_a_message_was_seen_tells_what_admitting_it_would_say() {
        let mut filter = Filter::new();
        let id = |sequence| MessageId { epoch: 1, sequence };
        for sequence in [5000, 4100, 4500] {
            filter.check(id(sequence), Priority::High, Duration::ZERO, 0).unwrap();
        }

        for sequence in (3900..5100).rev() {
            let seen = filter.has_seen(id(sequence), Priority::High);
            let admitted = filter.clone().check(id(sequence), Priority::High, Duration::ZERO, 0);
            assert_eq!(seen, admitted.is_err(), "{sequence}");
        }
        assert!(!filter.has_seen(MessageId { epoch: 2, sequence: 5000 }, Priority::High));
        assert!(!filter.has_seen(id(5000), Priority::Low));
    }

    #[test]
    fn late_messages_are_admitted_within_the_window_only() {
        let mut filter = Filter::new();
        check(&mut filter, 1, 5000).unwrap();

        assert_eq!(check(&mut filter, 1, 5000 - 1023), Ok(()));
        assert_eq!(check(&mut filter, 1, 5000 - 1024), Err(Reason::Duplicate));
    }

    #[test]
    fn skipped_numbers_do_not_count_as_seen() {
        let mut filter = Filter::new();
        (0..1024).for_each(|sequence| check(&mut filter, 1, sequence).unwrap());

        check(&mut filter, 1, 1500).unwrap();

        assert!((1024..1500).all(|sequence| check(&mut filter, 1, sequence).is_ok()));
        assert!((477..1024).all(|sequence| check(&mut filter, 1, sequence).is_err()));
    }

    #[test]
    fn each_class_has_its_own_window() {
        let mut filter = Filter::new();
        let id = |sequence| MessageId { epoch: 1, sequence };
        filter.check(id(9000), Priority::Critical, Duration::ZERO, 0).unwrap();

        assert_eq!(filter.check(id(1), Priority::Low, Duration::ZERO, 0), Ok(()));
    }

    #[test]
    fn a_new_epoch_forgets_the_old_one() {
        let mut filter = Filter::new();
        check(&mut filter, 1, 7).unwrap();

        assert_eq!(check(&mut filter, 2, 7), Ok(()));
        assert_eq!(check(&mut filter, 2, 7), Err(Reason::Duplicate));
    }

    #[test]
    fn an_expired_message_does_not_count_as_seen() {
        let mut filter = Filter::new();
        let id = MessageId { epoch: 1, sequence: 3 };

        let expired = filter.check(id, Priority::Low, Duration::from_secs(60), 60);

        assert_eq!(expired, Err(Reason::Expired));
        assert_eq!(filter.check(id, Priority::Low, Duration::from_micros(59_999_999), 60), Ok(()));
        assert_eq!(filter.check(id, Priority::Low, Duration::from_secs(60), 60), Err(Reason::Expired));
    }

    #[test]
    fn a_message_with_ttl_zero_never_expires() {
        let mut filter = Filter::new();

        let id = MessageId { epoch: 1, sequence: 3 };

        assert_eq!(filter.check(id, Priority::Low, Duration::MAX, 0), Ok(()));
    }

    #[test]
    fn the_highest_numbers_are_numbers_like_others() {
        let mut filter = Filter::new();
        check(&mut filter, 1, u64::MAX).unwrap();

        assert_eq!(check(&mut filter, 1, u64::MAX), Err(Reason::Duplicate));
        assert_eq!(check(&mut filter, 1, u64::MAX - 1), Ok(()));
        assert_eq!(check(&mut filter, 1, 0), Err(Reason::Duplicate));
    }

    proptest! {
        #[test]
        fn the_window_behaves_like_a_set(jumps in prop::collection::vec((-1200..1200_i64, 0..8_u8), 1..300)) {
            let (mut filter, mut seen, mut at) = (Filter::new(), BTreeSet::new(), 10_000_i64);
            let sequences: Vec<_> = jumps
                .into_iter()
                .map(|(jump, rare)| {
                    at = (at + if rare == 0 { jump } else { jump % 3 + 1 }).max(0);
                    at as u64
                })
                .collect();

            for sequence in sequences {
                let too_old = seen.last().is_some_and(|newest: &u64| newest.saturating_sub(sequence) >= 1024);
                let fresh = !too_old && seen.insert(sequence);
                prop_assert_eq!(check(&mut filter, 1, sequence).is_ok(), fresh, "sequence {}", sequence);
            }
        }
    }

    fn check(filter: &mut Filter, epoch: u64, sequence: u64) -> Result<(), Reason> {
        filter.check(MessageId { epoch, sequence }, Priority::Medium, Duration::ZERO, 60)
    }
}
