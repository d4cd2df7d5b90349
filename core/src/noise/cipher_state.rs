//! Section 5.1: a key and its nonce.
//!
//! It keeps the key's bytes and sets the cipher up for each use, two or three times in a handshake, so that the state
//! can be copied as a checkpoint whatever cipher is used.

use core::marker::PhantomData;

use super::Secret;
use crate::aead::{Aead, Forged, TAG_LEN};

pub(super) struct CipherState<A> {
    key: Option<Secret>,
    nonce: u64,
    aead: PhantomData<fn() -> A>,
}

impl<A: Aead> CipherState<A> {
    /// `InitializeKey`; without a key, texts pass unencrypted.
    pub(super) const fn new(key: Option<Secret>) -> Self {
        Self { key, nonce: 0, aead: PhantomData }
    }

    /// Bytes that encryption adds at this point: none without a key.
    pub(super) const fn overhead(&self) -> usize {
        if self.key.is_some() { TAG_LEN } else { 0 }
    }

    /// `EncryptWithAd` in place: `buf` is the plaintext and [`Self::overhead`] bytes of room.
    pub(super) fn encrypt_with_ad(&mut self, ad: &[u8], buf: &mut [u8]) {
        if let Some(key) = &self.key {
            A::new(key.as_bytes()).seal(self.nonce, ad, buf);
            self.nonce += 1;
        }
    }

    /// `DecryptWithAd` in place: the plaintext is `buf` without its last [`Self::overhead`] bytes.
    pub(super) fn decrypt_with_ad(&mut self, ad: &[u8], buf: &mut [u8]) -> Result<(), Forged> {
        if let Some(key) = &self.key {
            A::new(key.as_bytes()).open(self.nonce, ad, buf)?;
            self.nonce += 1;
        }
        Ok(())
    }
}

impl<A> Clone for CipherState<A> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), nonce: self.nonce, aead: PhantomData }
    }
}
