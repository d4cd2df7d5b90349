//! The seam between the protocol and an implementation of its authenticated cipher.
//!
//! One trait, one portable implementation. It is not a cipher suite registry: the handshake always uses
//! ChaCha20-Poly1305 (RFC 8439), and a runtime may bring a faster implementation of the same function.

/// Bytes that sealing adds.
pub const TAG_LEN: usize = 16;

/// The text was not sealed with this key, nonce and associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forged;

/// A keyed AEAD with a 64-bit nonce, as `ENCRYPT` and `DECRYPT` of the Noise specification, section 4.2.
pub trait Aead: Sized {
    /// Takes up `key`; implementations wipe their copy when dropped, where their library can.
    fn new(key: &[u8; 32]) -> Self;

    /// Seals in place: `buf` is the plaintext followed by [`TAG_LEN`] bytes of room for the tag.
    fn seal(&self, nonce: u64, ad: &[u8], buf: &mut [u8]);

    /// Opens in place: `buf` is ciphertext and tag; on success the first `buf.len() - TAG_LEN` bytes are plaintext.
    ///
    /// On `Err` the content of `buf` is unspecified.
    fn open(&self, nonce: u64, ad: &[u8], buf: &mut [u8]) -> Result<(), Forged>;
}
