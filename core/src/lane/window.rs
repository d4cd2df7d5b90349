//! A set of numbers: everything below a base, and some of the next 1,024. The base is the first number that is not in it.

use crate::wire::delivery::{Arrived, WINDOW};

/// One bit per number from a base on, at the number modulo the window's size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits([u64; Arrived::WORDS]);

impl Bits {
    pub(super) fn has(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.0[word] & bit != 0
    }

    pub(super) fn set(&mut self, number: u64) {
        let (word, bit) = place(number);
        self.0[word] |= bit;
    }

    pub(super) fn clear(&mut self, number: u64) {
        let (word, bit) = place(number);
        self.0[word] &= !bit;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0 == [0; Arrived::WORDS]
    }

    /// Clears the bits of the numbers from `from` up to `to`.
    pub(super) fn clear_span(&mut self, from: u64, to: u64) {
        if to.saturating_sub(from) >= WINDOW {
            *self = Self::default();
        } else {
            (from..to).for_each(|number| self.clear(number));
        }
    }
}

/// Where a number's bit is.
const fn place(number: u64) -> (usize, u64) {
    ((number % WINDOW / 64) as usize, 1 << (number % 64))
}

/// Everything below `base`, and what has its bit set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    base: u64,
    bits: Bits,
}

impl Window {
    /// No number at all.
    pub(super) const EMPTY: Self = Self { base: 0, bits: Bits([0; Arrived::WORDS]) };

    /// All numbers below `base`, and no others.
    pub(super) const fn new(base: u64) -> Self {
        Self { base, ..Self::EMPTY }
    }

    /// As the wire and the store have it.
    pub(super) fn of(arrived: &Arrived) -> Self {
        let mut window = Self::new(arrived.base);
        numbers(arrived).for_each(|number| window.bits.set(number));
        window.advance();
        window
    }

    /// As the wire and the store have it.
    pub(super) fn told(&self, since: u64) -> Arrived {
        let mut bits = [0; Arrived::WORDS];
        for (at, word) in (0_u64..).step_by(64).zip(&mut bits) {
            for bit in 0..64 {
                if self.base.checked_add(at + bit).is_some_and(|number| self.bits.has(number)) {
                    *word |= 1 << bit;
                }
            }
        }
        Arrived { since, base: self.base, bits }
    }

    /// The first number that is not in the set.
    pub(super) const fn base(&self) -> u64 {
        self.base
    }

    /// The first number that the set has no room for.
    pub(super) const fn end(&self) -> u64 {
        self.base.saturating_add(WINDOW)
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        number < self.base || (number < self.end() && self.bits.has(number))
    }

    /// Adds a number; says whether it is new. One that lies beyond the window is not added.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        if self.contains(number) || number >= self.end() {
            return false;
        }
        self.bits.set(number);
        self.advance();
        true
    }

    /// Adds everything below `base`.
    pub(super) fn raise_to(&mut self, base: u64) {
        if base > self.base {
            self.bits.clear_span(self.base, base);
            self.base = base;
            self.advance();
        }
    }

    /// The base goes on to the first number that is missing.
    fn advance(&mut self) {
        while self.bits.has(self.base) && self.base < u64::MAX {
            self.bits.clear(self.base);
            self.base += 1;
        }
    }
}

/// The numbers whose bits are set.
pub(super) fn numbers(arrived: &Arrived) -> impl Iterator<Item = u64> {
    let ahead = (0_u64..)
        .step_by(64)
        .zip(arrived.bits)
        .flat_map(|(at, word)| (0..64).filter(move |bit| word & 1 << bit != 0).map(move |bit| at + bit));
    let base = arrived.base;
    ahead.filter_map(move |ahead| base.checked_add(ahead))
}
