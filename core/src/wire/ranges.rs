//! Acknowledged ranges, protocol section 15: which records of a datagram link have arrived.
//!
//! They stand in front of the body of a record whose header has an ack, in the form of RFC 9000, section 19.3:
//! `largest varint | delay varint (8 us) | first range varint | count varint (0-15) | count x (gap varint, length varint)`.
//! The first range is `largest - first ..= largest`; each further one ends `gap + 2` below the start of the one before and
//! holds `length + 1` records.

use core::ops::RangeInclusive;

use super::{
    cursor::{Reader, Writer},
    reason::Reason,
    varint,
};
use crate::time::Duration;

/// Ranges of one acknowledgement at most. What arrived before them has been told before.
pub const MAX: usize = 16;
/// Bytes of the longest block that this module writes.
pub const MAX_LEN: usize =
    varint::MAX_LEN + DELAY_MAX_LEN + varint::MAX_LEN + 1 + (MAX - 1) * 2 * RANGE_MAX_LEN;

/// Up to [`MAX`] ranges of counters, the newest first, and how long the newest waited for its acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges {
    /// How long the receiver had the newest record before it wrote this; at most 33 s, in steps of 8 us.
    pub delay: Duration,
    /// Falling, and with at least one counter between each two.
    ranges: heapless::Vec<(u64, u64), MAX>,
}

impl Ranges {
    /// The first [`MAX`] of `ranges`, which come newest first and do not touch; `None` without any.
    pub fn new(delay: Duration, ranges: impl Iterator<Item = RangeInclusive<u64>>) -> Option<Self> {
        let ranges: heapless::Vec<_, MAX> = ranges.take(MAX).map(RangeInclusive::into_inner).collect();
        (!ranges.is_empty()).then_some(Self { delay, ranges })
    }

    /// The newest record of all.
    pub fn largest(&self) -> u64 {
        self.ranges.first().map_or(0, |&(_, last)| last)
    }

    /// The ranges, newest first.
    pub fn iter(&self) -> impl Iterator<Item = RangeInclusive<u64>> {
        self.ranges.iter().map(|&(first, last)| first..=last)
    }

    /// Whether record `counter` is among them.
    pub fn contains(&self, counter: u64) -> bool {
        self.iter().any(|range| range.contains(&counter))
    }

    /// Drops as many of the oldest ranges as it takes to have the block fit `len` bytes; `false` if not even the newest does.
    pub fn shorten(&mut self, len: usize) -> bool {
        let mut out = [0; MAX_LEN];
        let out = &mut out[..len.min(MAX_LEN)];
        while self.encode(out).is_none() {
            if self.ranges.len() <= 1 {
                return false;
            }
            self.ranges.pop();
        }
        true
    }

    /// Writes the block and returns its length; `None` if it does not fit.
    ///
    /// A gap or length of 2^28 and more ends the list early: what is left out is told by no one, which is always allowed.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let (&(first, last), others) = self.ranges.split_first()?;
        let mut below = first;
        let told = others.iter().take_while(|&&(first, last)| {
            let fits = below - last < RANGE_LIMIT && last - first < RANGE_LIMIT;
            below = first;
            fits
        });
        let count = told.count();
        let mut w = Writer::new(out);
        w.varint(last)?;
        w.varint(u64::from(self.delay_units()))?;
        w.varint(last - first)?;
        w.varint(u64::try_from(count).ok()?)?;
        let mut below = first;
        for &(first, last) in others.iter().take(count) {
            w.varint(below - last - 2)?;
            w.varint(last - first)?;
            below = first;
        }
        Some(w.written())
    }

    /// Reads the block at the front of a body and gives it with the rest.
    ///
    /// [`Reason::Malformed`] if a range would begin below zero, or there are more than [`MAX`].
    pub fn decode(body: &[u8]) -> Result<(Self, &[u8]), Reason> {
        let mut r = Reader::new(body);
        let mut last = r.varint()?;
        let units = u32::try_from(r.varint()?).map_err(|_| Reason::Malformed)?;
        let mut first = last.checked_sub(r.varint()?).ok_or(Reason::Malformed)?;
        let count = r.varint()?;
        let mut ranges = heapless::Vec::new();
        ranges.push((first, last)).map_err(|_| Reason::Malformed)?;
        for _ in 0..count {
            last =
                r.varint()?.checked_add(2).and_then(|gap| first.checked_sub(gap)).ok_or(Reason::Malformed)?;
            first = last.checked_sub(r.varint()?).ok_or(Reason::Malformed)?;
            ranges.push((first, last)).map_err(|_| Reason::Malformed)?;
        }
        let delay = UNIT * units.min(DELAY_LIMIT);
        Ok((Self { delay, ranges }, r.take_rest()))
    }

    fn delay_units(&self) -> u32 {
        u32::try_from(self.delay.as_micros() / UNIT.as_micros()).unwrap_or(u32::MAX).min(DELAY_LIMIT)
    }
}

/// The unit of the delay: that of RFC 9000 with its default exponent.
const UNIT: Duration = Duration::from_micros(8);
/// The longest delay that is told or believed: what fits three bytes is 16 s, far beyond any acknowledgement's.
const DELAY_LIMIT: u32 = (1 << 21) - 1;
const DELAY_MAX_LEN: usize = 3;
/// Gaps and lengths below this take at most four bytes.
const RANGE_LIMIT: u64 = 1 << 28;
const RANGE_MAX_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn ranges_are_written_as_in_rfc_9000_and_read_back() {
        let ranges = ranges(&[20..=25, 10..=17, 3..=3]);
        let mut out = [0; MAX_LEN];

        let len = ranges.encode(&mut out).unwrap();

        assert_eq!(out[..len], [25, 100, 5, 2, 1, 7, 5, 0]);
        out[len] = 0xEE;
        assert_eq!(Ranges::decode(&out[..=len]), Ok((ranges.clone(), &[0xEE][..])));
        assert!(ranges.contains(3) && ranges.contains(17) && !ranges.contains(18) && !ranges.contains(2));
    }

    #[test]
    fn ranges_below_zero_and_more_than_sixteen_are_refused() {
        for block in [&[3, 0, 4, 0][..], &[3, 0, 1, 1, 1, 0], &[3, 0, 0, 1, 0, 2], &[3, 0, 0, 1, 0], &[]] {
            assert_eq!(Ranges::decode(block), Err(Reason::Malformed), "{block:?}");
        }
        let mut many = [0; 64];
        many[..4].copy_from_slice(&[100, 0, 0, 16]);
        assert_eq!(Ranges::decode(&many), Err(Reason::Malformed));
        many[3] = 15;
        assert!(Ranges::decode(&many).is_ok());
    }

    #[test]
    fn a_block_that_must_be_shorter_keeps_the_newest_ranges() {
        let mut ranges = ranges(&[20..=25, 10..=17, 3..=3]);

        assert!(ranges.shorten(8) && ranges.iter().count() == 3);
        assert!(ranges.shorten(7));
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [20..=25, 10..=17]);
        assert!(ranges.shorten(4) && !ranges.shorten(3));
        assert_eq!(ranges.largest(), 25);
    }

    #[test]
    fn the_longest_block_fits_and_a_gap_beyond_bounds_ends_the_list() {
        let wide = |i: u64| (i * (1 << 29))..=(i * (1 << 29) + (1 << 28) - 1);
        let long: Vec<_> =
            (0..16).rev().map(|i| (u64::MAX - (15 - i) * ((1 << 28) - 2)) - 1).map(|at| at..=at).collect();

        for ranges in [ranges(&[wide(2), wide(1)]), ranges(&long)] {
            let mut out = [0; MAX_LEN];
            let len = ranges.encode(&mut out).unwrap();
            let (read, _) = Ranges::decode(&out[..len]).unwrap();
            assert!(ranges.iter().zip(read.iter()).all(|(ours, theirs)| ours == theirs));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(steps in prop::collection::vec((0..300_u64, 0..300_u64), 1..20), micros in 0..100_000_u64) {
            let mut at = 20_000;
            let list: Vec<_> = steps.into_iter().map(|(gap, len)| {
                let last = at - gap - 2;
                at = last - len;
                at..=last
            }).collect();
            let ranges = Ranges::new(Duration::from_micros(micros * 8), list.iter().cloned()).unwrap();
            let mut out = [0; MAX_LEN];

            let len = ranges.encode(&mut out).unwrap();

            prop_assert_eq!(Ranges::decode(&out[..len]), Ok((ranges, &[][..])));
        }

        #[test]
        fn any_bytes_are_a_block_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Ranges::decode(&bytes);
        }
    }

    fn ranges(list: &[RangeInclusive<u64>]) -> Ranges {
        Ranges::new(Duration::from_micros(800), list.iter().cloned()).unwrap()
    }
}
