//! The keys of a session's records: seals and opens, and counts. Knows neither layouts nor messages.
//!
//! Invariant: a counter value is used for one record only, and moves on opening only after the tag verified.

use crate::aead::{Aead, Forged};
use crate::noise::{self, SplitKey};

/// What binds a record key to its cipher, so that no two ciphers ever share a key.
const LABEL: &[u8] = b"hyphal/1 record ChaCha20-Poly1305";

/// Records that one key may seal. Far below the 2^64 - 1 of the Noise specification, so that no path can reach it.
const KEY_LIFE: u64 = 1 << 48;

/// The sending direction of a session.
pub(crate) struct Sealer<A> {
    aead: A,
    counter: u64,
}

impl<A: Aead> Sealer<A> {
    pub(crate) fn new(split: &SplitKey) -> Self {
        Self { aead: cipher(split), counter: 0 }
    }

    /// Records sealed so far, which is also the counter of the next one.
    pub(crate) fn count(&self) -> u64 {
        self.counter
    }

    /// Whether the key has sealed as many records as it may but one: the last is for the close.
    pub(crate) fn is_worn(&self) -> bool {
        self.counter >= KEY_LIFE - 1
    }

    /// Seals `buf`, a plaintext followed by room for the tag, and gives the record's counter.
    pub(crate) fn seal(&mut self, header: &[u8], buf: &mut [u8]) -> u64 {
        let counter = self.counter;
        assert!(counter < KEY_LIFE, "the session closes before its key is worn");
        self.aead.seal(counter, header, buf);
        self.counter += 1;
        counter
    }
}

/// The receiving direction of a session.
pub(crate) struct Opener<A> {
    aead: A,
    counter: u64,
}

impl<A: Aead> Opener<A> {
    pub(crate) fn new(split: &SplitKey) -> Self {
        Self { aead: cipher(split), counter: 0 }
    }

    /// Opens `buf`, ciphertext and tag, as the next record in order, and gives its counter.
    pub(crate) fn open(&mut self, header: &[u8], buf: &mut [u8]) -> Result<u64, Forged> {
        let counter = self.counter;
        if counter >= KEY_LIFE {
            return Err(Forged);
        }
        self.aead.open(counter, header, buf)?;
        self.counter += 1;
        Ok(counter)
    }
}

fn cipher<A: Aead>(split: &SplitKey) -> A {
    let (key, _) = noise::hkdf2(split.as_bytes(), LABEL);
    A::new(key.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aead::{ChaChaPoly, TAG_LEN};
    use crate::noise::Secret;

    #[test]
    fn a_worn_key_seals_one_more_record_which_the_peer_opens() {
        let split = Secret::from_bytes([7; 32]);
        let mut sealer: Sealer<ChaChaPoly> = Sealer::new(&split);
        let mut opener: Opener<ChaChaPoly> = Opener::new(&split);
        (sealer.counter, opener.counter) = (KEY_LIFE - 2, KEY_LIFE - 2);
        let mut buf = [0; TAG_LEN];

        assert!(!sealer.is_worn());
        sealer.seal(&[], &mut buf);
        assert_eq!(opener.open(&[], &mut buf), Ok(KEY_LIFE - 2));

        assert!(sealer.is_worn());
        sealer.seal(&[], &mut buf);
        assert_eq!(opener.open(&[], &mut buf), Ok(KEY_LIFE - 1));
        assert_eq!(opener.open(&[], &mut buf), Err(Forged));
    }
}
