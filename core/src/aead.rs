//! The seam between the protocol and an implementation of its authenticated cipher.
//!
//! One trait, one portable implementation. It is not a cipher suite registry: the handshake always uses
//! ChaCha20-Poly1305 (RFC 8439), and records use AES-256-GCM instead where both ends have hardware for it. A runtime may
//! bring a faster implementation of the first, and one of the second.

use core::fmt;

use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};

/// Bytes that sealing adds.
pub const TAG_LEN: usize = 16;

/// The text was not sealed with this key, nonce and associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forged;

/// What seals the records of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cipher {
    /// ChaCha20-Poly1305 (RFC 8439), which every node has.
    ChaCha20Poly1305,
    /// AES-256-GCM (NIST SP 800-38D), if both ends say that it is fast there.
    Aes256Gcm,
}

impl Cipher {
    /// The name as it stands in logs and in key labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChaCha20Poly1305 => "ChaCha20-Poly1305",
            Self::Aes256Gcm => "AES-256-GCM",
        }
    }
}

impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A keyed AEAD with a 64-bit nonce, as `ENCRYPT` and `DECRYPT` of the Noise specification, section 4.2.
pub trait Aead: Sized {
    /// Takes up `key` for ChaCha20-Poly1305; implementations wipe their copy when dropped, where their library can.
    fn new(key: &[u8; 32]) -> Self;

    /// Takes up `key` for `cipher`, which is [`Cipher::Aes256Gcm`] only if [`has_fast_aes`](Self::has_fast_aes).
    ///
    /// The nonce of AES-256-GCM is 4 zero bytes and the counter in big-endian, as in the Noise specification, section 12.4.
    fn record(cipher: Cipher, key: &[u8; 32]) -> Self {
        match cipher {
            Cipher::ChaCha20Poly1305 => Self::new(key),
            Cipher::Aes256Gcm => unreachable!("a node without fast AES never agrees to AES-256-GCM"),
        }
    }

    /// Whether this implementation has AES-256-GCM, and this machine instructions for it; always the same answer.
    fn has_fast_aes() -> bool {
        false
    }

    /// Seals in place: `buf` is the plaintext followed by [`TAG_LEN`] bytes of room for the tag.
    fn seal(&self, nonce: u64, ad: &[u8], buf: &mut [u8]);

    /// Opens in place: `buf` is ciphertext and tag; on success the first `buf.len() - TAG_LEN` bytes are plaintext.
    ///
    /// On `Err` the content of `buf` is unspecified.
    fn open(&self, nonce: u64, ad: &[u8], buf: &mut [u8]) -> Result<(), Forged>;
}

/// ChaCha20-Poly1305 (RFC 8439) in portable Rust, for devices and as the default everywhere.
///
/// The nonce is 4 zero bytes and the counter in little-endian, as in the Noise specification, section 12.3.
/// The key is wiped when this is dropped.
pub struct ChaChaPoly(ChaCha20Poly1305);

impl Aead for ChaChaPoly {
    fn new(key: &[u8; 32]) -> Self {
        Self(ChaCha20Poly1305::new(key.into()))
    }

    /// # Panics
    /// If `buf` has no room for the tag.
    fn seal(&self, nonce: u64, ad: &[u8], buf: &mut [u8]) {
        let (text, room) = buf.split_last_chunk_mut::<TAG_LEN>().expect("the caller leaves room for the tag");
        let tag = self
            .0
            .encrypt_inout_detached(&nonce_bytes(nonce).into(), ad, text.into())
            .expect("no text reaches the cipher's limit of 256 GiB");
        *room = tag.into();
    }

    fn open(&self, nonce: u64, ad: &[u8], buf: &mut [u8]) -> Result<(), Forged> {
        let (text, tag) = buf.split_last_chunk_mut::<TAG_LEN>().ok_or(Forged)?;
        self.0
            .decrypt_inout_detached(&nonce_bytes(nonce).into(), ad, text.into(), &(*tag).into())
            .map_err(|_| Forged)
    }
}

fn nonce_bytes(nonce: u64) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&nonce.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    #[test]
    fn a_sealed_text_opens_with_the_same_key_nonce_and_associated_data() {
        let aead = ChaChaPoly::new(&KEY);
        let mut buf = *b"spores________________";
        buf[6..].fill(0xAA);

        aead.seal(3, b"ad", &mut buf);

        assert_ne!(&buf[..6], b"spores");
        assert_eq!(aead.open(3, b"ad", &mut buf), Ok(()));
        assert_eq!(&buf[..6], b"spores");
    }

    #[test]
    fn another_key_nonce_associated_data_or_any_flipped_bit_is_forged() {
        let aead = ChaChaPoly::new(&KEY);
        let mut sealed = [0x55; 5 + TAG_LEN];
        aead.seal(9, b"ad", &mut sealed);

        assert_eq!(ChaChaPoly::new(&[8; 32]).open(9, b"ad", &mut sealed.clone()), Err(Forged));
        assert_eq!(aead.open(10, b"ad", &mut sealed.clone()), Err(Forged));
        assert_eq!(aead.open(9, b"aD", &mut sealed.clone()), Err(Forged));
        for bit in 0..sealed.len() * 8 {
            let mut bent = sealed;
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(aead.open(9, b"ad", &mut bent), Err(Forged), "bit {bit}");
        }
        assert_eq!(aead.open(9, b"ad", &mut sealed), Ok(()));
    }

    /// RFC 8439, section 2.8.2, cannot be reached with this nonce format; the public Noise vectors check the function.
    /// Here only that the library was built to wipe its keys, which is a feature of it.
    #[test]
    fn the_key_is_wiped_when_the_cipher_is_dropped() {
        fn is_wiped<T: zeroize::ZeroizeOnDrop>() {}

        is_wiped::<ChaCha20Poly1305>();
    }

    #[test]
    fn a_text_shorter_than_a_tag_is_forged() {
        let aead = ChaChaPoly::new(&KEY);

        for len in 0..TAG_LEN {
            assert_eq!(aead.open(0, b"", &mut [0; TAG_LEN][..len]), Err(Forged));
        }
    }
}
