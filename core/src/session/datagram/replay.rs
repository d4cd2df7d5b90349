//! Which records of a datagram link have been taken: none is taken twice, and the peer is told which have arrived.
//!
//! A window of 1,024 counters in a ring of bits, as in RFC 6479; what lies before it counts as taken. The acknowledged
//! ranges are read off the same bits, so what is acknowledged is what was taken, always.

use core::ops::RangeInclusive;

/// The counters that were taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Replay {
    newest: Option<u64>,
    /// The bit of each counter, at the counter modulo the window's size.
    taken: [u64; Replay::WORDS],
}

impl Replay {
    pub(super) const SIZE: u64 = 1024;
    const WORDS: usize = 16;

    /// The highest counter that was taken.
    pub(super) fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// Whether record `counter` was neither taken before nor lies before the window.
    pub(super) fn is_fresh(&self, counter: u64) -> bool {
        match self.newest {
            Some(newest) if counter <= newest => newest - counter < Self::SIZE && !self.is_taken(counter),
            _ => true,
        }
    }

    /// Record `counter`, which is fresh, was taken.
    pub(super) fn take(&mut self, counter: u64) {
        match self.newest {
            Some(newest) if counter > newest => self.forget(newest, counter),
            _ => {}
        }
        self.newest = self.newest.max(Some(counter));
        let (word, bit) = place(counter);
        self.taken[word] |= 1 << bit;
    }

    /// The ranges of taken counters within the window, newest first.
    pub(super) fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u64>> {
        let oldest = self.newest.map_or(0, |newest| newest.saturating_sub(Self::SIZE - 1));
        let mut next = self.newest;
        core::iter::from_fn(move || {
            let last = self.run(next?, oldest, false)?;
            let below = self.run(last, oldest, true);
            next = below;
            Some(below.map_or(oldest, |below| below + 1)..=last)
        })
    }

    /// The first counter from `at` down to `oldest` whose bit is not `is_taken`.
    fn run(&self, mut at: u64, oldest: u64, is_taken: bool) -> Option<u64> {
        loop {
            let (word, bit) = place(at);
            let same = if is_taken { self.taken[word] } else { !self.taken[word] };
            // The bits of the counters from `at` down to the start of its word, that of `at` on top.
            let length = u64::from((!(same << (63 - bit))).leading_zeros()).min(u64::from(bit) + 1);
            let is_over = length <= u64::from(bit);
            at = at.checked_sub(length).filter(|&at| at >= oldest)?;
            if is_over {
                return Some(at);
            }
        }
    }

    /// Clears the bits of the counters after `newest` up to `counter`: the ring has come round to them.
    fn forget(&mut self, newest: u64, counter: u64) {
        if counter - newest >= Self::SIZE {
            self.taken = [0; Self::WORDS];
            return;
        }
        let mut at = newest + 1;
        while at <= counter {
            let (word, bit) = place(at);
            if bit == 0 && counter - at >= 63 {
                self.taken[word] = 0;
                at += 64;
            } else {
                self.taken[word] &= !(1 << bit);
                at += 1;
            }
        }
    }

    fn is_taken(&self, counter: u64) -> bool {
        let (word, bit) = place(counter);
        self.taken[word] & 1 << bit != 0
    }
}

/// The word of a counter and its bit therein.
const fn place(counter: u64) -> (usize, u32) {
    ((counter % Replay::SIZE / 64) as usize, (counter % 64) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn a_record_is_taken_once_and_none_from_before_the_window() {
        let mut replay = Replay::default();
        replay.take(5000);

        assert!(!replay.is_fresh(5000) && replay.is_fresh(5001) && replay.is_fresh(5000 - 1023));
        assert!(!replay.is_fresh(5000 - 1024));
        replay.take(5000 - 1023);
        assert!(!replay.is_fresh(5000 - 1023));
    }

    #[test]
    fn the_last_counters_are_counters_like_others() {
        let mut replay = Replay::default();
        replay.take(u64::MAX);
        replay.take(u64::MAX - 2);

        assert_eq!(replay.ranges().collect::<Vec<_>>(), [u64::MAX..=u64::MAX, u64::MAX - 2..=u64::MAX - 2]);
    }

    proptest! {
        #[test]
        fn the_window_behaves_like_a_set(start in 0..3000_u64, jumps in prop::collection::vec((-1200..1200_i64, 0..6_u8), 1..400)) {
            let (mut replay, mut model, mut at) = (Replay::default(), BTreeSet::new(), start as i64);

            for (jump, rare) in jumps {
                at = (at + if rare == 0 { jump } else { jump % 4 }).max(0);
                let counter = at as u64;
                let too_old = model.last().is_some_and(|newest: &u64| newest.saturating_sub(counter) >= 1024);
                prop_assert_eq!(replay.is_fresh(counter), !too_old && !model.contains(&counter), "{}", counter);
                if replay.is_fresh(counter) {
                    replay.take(counter);
                    model.insert(counter);
                }
                prop_assert_eq!(replay.newest(), model.last().copied());
                prop_assert_eq!(replay.ranges().collect::<Vec<_>>(), ranges(&model));
            }
        }
    }

    /// The runs of the last 1,024 numbers of a set, newest first.
    fn ranges(set: &BTreeSet<u64>) -> Vec<RangeInclusive<u64>> {
        let oldest = set.last().map_or(0, |newest| newest.saturating_sub(1023));
        let mut ranges: Vec<RangeInclusive<u64>> = vec![];
        for &counter in set.range(oldest..).rev() {
            match ranges.last_mut() {
                Some(range) if *range.start() == counter + 1 => *range = counter..=*range.end(),
                _ => ranges.push(counter..=counter),
            }
        }
        ranges
    }
}
