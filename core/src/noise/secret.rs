//! Thirty-two bytes that must not leak: wiped when dropped, never printed, compared by nobody.

use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// A 32-byte secret that is wiped when dropped and that `Debug` does not show.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

/// One of the two keys that a finished handshake yields, one for each direction.
pub type SplitKey = Secret;

impl Secret {
    /// Takes up `bytes`; wiping the array that they came from is left to the caller.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of the secret.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
