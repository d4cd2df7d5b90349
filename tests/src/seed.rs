//! Where a run's randomness comes from, and how a failed run names it.
//!
//! `HYPHAL_LAB_SEED=0x2a cargo test NAME` replays the run that printed seed 0x2a.

use hyphal_core::time::Duration;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// The number from which all randomness of one run is drawn. When the test panics it is printed.
#[derive(Debug)]
pub struct Seed {
    number: u64,
}

impl Seed {
    /// The seed of a test with one run: `number`, or what `HYPHAL_LAB_SEED` says.
    pub fn of(number: u64) -> Self {
        Self { number: chosen_by_caller().unwrap_or(number) }
    }

    /// The seeds of a test with `count` runs; only the one that `HYPHAL_LAB_SEED` names, if it names one.
    pub fn series(count: u64) -> impl Iterator<Item = Self> {
        let numbers = chosen_by_caller().map_or(0..count, |number| number..number + 1);
        numbers.map(|number| Self { number })
    }

    /// The number itself.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// An independent generator for the part of the run called `label`.
    ///
    /// Parts draw from different streams, so that one part drawing more does not change what another sees.
    pub fn generator(&self, label: &str) -> Chance {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.number.to_be_bytes());
        for (at, byte) in label.bytes().enumerate() {
            key[8 + at % 24] = key[8 + at % 24].rotate_left(3) ^ byte;
        }
        Chance { generator: ChaCha8Rng::from_seed(key) }
    }
}

impl Drop for Seed {
    #[expect(clippy::print_stderr, reason = "the one place where the lab talks: how to replay a failed test")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay this run with HYPHAL_LAB_SEED={:#x}", self.number);
        }
    }
}

/// A seeded stream of chance.
#[derive(Clone, Debug)]
pub struct Chance {
    generator: ChaCha8Rng,
}

impl Chance {
    /// A number from 0 up to and without `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // The high half of a product is uniform up to end / 2^64, far below what any test can see.
        let product = u128::from(self.generator.next_u64()) * u128::from(end);
        (product >> 64) as u64
    }

    /// An index into something of `len` items.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// Whether something happens that has `odds`.
    pub fn happens(&mut self, odds: Odds) -> bool {
        self.below(Odds::CERTAIN.0) < odds.0
    }

    /// A span from zero up to `most`.
    pub fn span(&mut self, most: Duration) -> Duration {
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(self.below(micros.saturating_add(1)))
    }

    /// `len` random bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.generator.fill_bytes(&mut bytes);
        bytes
    }

    /// Puts `items` into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }

    /// The generator underneath, for machines that take one.
    pub const fn generator(&mut self) -> &mut ChaCha8Rng {
        &mut self.generator
    }
}

/// How likely something is, in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Odds(u64);

impl Odds {
    /// It never happens.
    pub const NEVER: Self = Self(0);
    /// It always happens.
    pub const CERTAIN: Self = Self(1_000_000);

    /// It happens `percent` times in a hundred.
    pub const fn percent(percent: u64) -> Self {
        Self(percent * 10_000)
    }
}

fn chosen_by_caller() -> Option<u64> {
    let text = std::env::var("HYPHAL_LAB_SEED").ok()?;
    let number = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    Some(number.unwrap_or_else(|_| panic!("HYPHAL_LAB_SEED is a number such as 42 or 0x2a, not {text:?}")))
}
