//! A run's fingerprint: two runs with equal fingerprints did the same things at the same times.
//!
//! FNV-1a over 64 bits; it finds accidents, not forgeries.

use hyphal_core::time::Instant;

/// A hash that everything observable in a run is fed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fingerprint {
    /// Adds something that happened at `now`.
    pub fn note(&mut self, now: Instant, what: &[u8]) {
        self.mix(&now.as_micros().to_be_bytes());
        self.mix(&(what.len() as u64).to_be_bytes());
        self.mix(what);
    }

    fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
