//! The Noise Protocol Framework, revision 34, for one suite: 25519, ChaChaPoly, SHA256.
//!
//! The files mirror the specification: `cipher_state`, `symmetric_state` and `handshake_state` are its sections 5.1 to
//! 5.3, `pattern` its sections 7 to 9, `hkdf` 4.3, `dh` 12.1. It is not a general Noise library: no fallback, no
//! rekey, and transport messages belong to `record`, which takes the keys of [`HandshakeState::split`].
//! On `Err` nothing has changed: a forged message leaves the handshake waiting for the true one.

mod cipher_state;
mod dh;
mod handshake_state;
mod hkdf;
mod pattern;
mod secret;
mod symmetric_state;

use core::fmt;

pub use dh::{DH_LEN, KeyPair};
pub use handshake_state::{HandshakeState, Keys, Role};
pub use pattern::{K, KK, Pattern, Token, XX};
pub use secret::{Secret, SplitKey};

pub(crate) use hkdf::{hkdf2, hkdf3, hmac};

use dh::dh;

use crate::wire::reason::Reason;

/// The longest Noise message, in bytes (section 3 of the specification).
pub const MAX_MESSAGE_LEN: usize = 65_535;

/// Why a handshake message was neither written nor read. Nothing has changed; the buffer's content is unspecified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoiseError {
    /// The peer's bytes do not pass: `Malformed` (too short or too long), `Forged` (a tag does not verify) or `BadKey`
    /// (a key is on the twist or of low order). Network noise: count it and wait, or close.
    Refused(Reason),
    /// The caller's mistake, whatever the peer sent.
    Misuse(Misuse),
}

/// How this module was used against its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misuse {
    /// The other role's message is due, or the handshake is already (or, for `split`, not yet) finished.
    OutOfTurn,
    /// The pattern needs a key that was not among [`Keys`].
    MissingKey,
    /// The message does not fit the output buffer, or is longer than [`MAX_MESSAGE_LEN`].
    NoRoom,
}

impl From<Misuse> for NoiseError {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

impl From<Reason> for NoiseError {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}

impl fmt::Display for NoiseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => reason.fmt(f),
            Self::Misuse(misuse) => misuse.fmt(f),
        }
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfTurn => "this handshake step is not due",
            Self::MissingKey => "the handshake pattern needs a key that was not given",
            Self::NoRoom => "the handshake message does not fit",
        })
    }
}

impl core::error::Error for NoiseError {}
impl core::error::Error for Misuse {}
