//! Signed envelopes (protocol section 16): the source's Ed25519 signature over an envelope in canonical form.
//!
//! The bytes before the signature are hashed as they pass, so a large envelope is signed and verified without being held.
//! What is verified are the bytes that were received, never ones that were written again. A signature proves who wrote an
//! envelope, to everyone and for good; not that it is fresh, nor that its source is let in.

use sha2::{Digest, Sha256};

use crate::identity::{self, Identity, NotOwnKey};
use crate::ids::NodeId;
use crate::wire::envelope::{Envelope, SIGNATURE_LEN};
use crate::wire::hello::NetworkTag;
use crate::wire::reason::Reason;

/// The hash over the bytes of one envelope, up to its signature, as they come.
#[derive(Clone, Debug)]
pub struct SignedBytes {
    network: NetworkTag,
    hash: Sha256,
}

impl SignedBytes {
    /// Begins with an envelope of this network.
    pub fn new(network: NetworkTag) -> Self {
        Self { network, hash: Sha256::new() }
    }

    /// Takes the next bytes of the envelope.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }

    /// The signature of all that came, by its source.
    ///
    /// # Errors
    /// [`NotOwnKey`] if only a delegated key of the source is here.
    pub fn sign(self, source: &Identity) -> Result<[u8; SIGNATURE_LEN], NotOwnKey> {
        source.sign(&self.message())
    }

    /// Whether `source` has signed all that came.
    ///
    /// # Errors
    /// [`Reason::BadSignature`]; see [`identity::verify`] for all that this may be.
    pub fn verify(self, source: &NodeId, signature: &[u8; SIGNATURE_LEN]) -> Result<(), Reason> {
        identity::verify(source, &self.message(), signature)
    }

    /// What Ed25519 signs: label, network, hash.
    fn message(self) -> [u8; MESSAGE_LEN] {
        let mut message = [0; MESSAGE_LEN];
        let (label, rest) = message.split_at_mut(LABEL.len());
        let (network, hash) = rest.split_at_mut(NetworkTag::LEN);
        label.copy_from_slice(LABEL);
        network.copy_from_slice(self.network.as_bytes());
        hash.copy_from_slice(&self.hash.finalize());
        message
    }
}

/// Reads a signed envelope that fills `bytes` and verifies that its source signed it for this network.
///
/// Who keeps these bytes can show anyone what the source wrote; a sealed payload stays sealed meanwhile.
///
/// # Errors
/// [`Reason::BadSignature`], also if there is none; [`Reason::Version`] or [`Reason::Malformed`] if the bytes are no envelope.
pub fn verify_envelope(network: NetworkTag, bytes: &[u8]) -> Result<Envelope<'_>, Reason> {
    let envelope = Envelope::decode(bytes)?;
    let signature = envelope.signature.ok_or(Reason::BadSignature)?;
    let mut signed = SignedBytes::new(network);
    signed.update(&bytes[..envelope.signed_len()]);
    signed.verify(&envelope.source_node_id, signature)?;
    Ok(envelope)
}

const LABEL: &[u8; 15] = b"hyphal/1 signed";
const MESSAGE_LEN: usize = LABEL.len() + NetworkTag::LEN + 32;
