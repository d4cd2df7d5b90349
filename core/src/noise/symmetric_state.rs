//! Section 5.2: the chaining key `ck`, the handshake hash `h` and the cipher that follows from them.

use sha2::{Digest, Sha256};

use super::cipher_state::CipherState;
use super::{NoiseError, Secret, SplitKey, hkdf2, hkdf3};
use crate::aead::Aead;
use crate::wire::reason::Reason;

pub(super) struct SymmetricState<A> {
    cipher: CipherState<A>,
    ck: Secret,
    h: [u8; 32],
}

impl<A: Aead> SymmetricState<A> {
    /// `InitializeSymmetric`.
    pub(super) fn new(protocol_name: &str) -> Self {
        let mut h = [0; 32];
        match h.get_mut(..protocol_name.len()) {
            Some(start) => start.copy_from_slice(protocol_name.as_bytes()),
            None => h = Sha256::digest(protocol_name).into(),
        }
        Self { cipher: CipherState::new(None), ck: Secret::from_bytes(h), h }
    }

    /// `MixKey`.
    pub(super) fn mix_key(&mut self, input: &[u8]) {
        let (ck, key) = hkdf2(self.ck.as_bytes(), input);
        self.ck = ck;
        self.cipher = CipherState::new(Some(key));
    }

    /// `MixHash`.
    pub(super) fn mix_hash(&mut self, bytes: &[u8]) {
        self.h = Sha256::new().chain_update(self.h).chain_update(bytes).finalize().into();
    }

    /// `MixKeyAndHash`.
    pub(super) fn mix_key_and_hash(&mut self, input: &[u8]) {
        let (ck, mixed, key) = hkdf3(self.ck.as_bytes(), input);
        self.ck = ck;
        self.mix_hash(mixed.as_bytes());
        self.cipher = CipherState::new(Some(key));
    }

    /// `GetHandshakeHash`.
    pub(super) const fn handshake_hash(&self) -> &[u8; 32] {
        &self.h
    }

    /// Bytes that encryption adds at this point.
    pub(super) const fn overhead(&self) -> usize {
        self.cipher.overhead()
    }

    /// `EncryptAndHash` in place: `buf` is the plaintext and [`Self::overhead`] bytes of room.
    pub(super) fn encrypt_and_hash(&mut self, buf: &mut [u8]) {
        self.cipher.encrypt_with_ad(&self.h, buf);
        self.mix_hash(buf);
    }

    /// `DecryptAndHash` in place; returns the plaintext. The hash takes the ciphertext, so it moves on before `buf` does.
    ///
    /// On `Err` this state is spent: work on a copy.
    pub(super) fn decrypt_and_hash<'b>(&mut self, buf: &'b mut [u8]) -> Result<&'b mut [u8], NoiseError> {
        let plain_len = buf.len().checked_sub(self.overhead()).ok_or(Reason::Malformed)?;
        let ad = self.h;
        self.mix_hash(buf);
        self.cipher.decrypt_with_ad(&ad, buf).map_err(|_| Reason::Forged)?;
        Ok(&mut buf[..plain_len])
    }

    /// `Split`: the initiator's sending key first.
    pub(super) fn split(&self) -> (SplitKey, SplitKey) {
        hkdf2(self.ck.as_bytes(), &[])
    }

    /// What `Split` would give as a third output.
    pub(super) fn resumption(&self) -> Secret {
        hkdf3(self.ck.as_bytes(), &[]).2
    }
}

impl<A> Clone for SymmetricState<A> {
    fn clone(&self) -> Self {
        Self { cipher: self.cipher.clone(), ck: self.ck.clone(), h: self.h }
    }
}
