//! What an authority signs, protocol section 17: a label of its own for each kind of statement, the network, and a digest.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 20 | label |
//! | 20 | 8 | network tag |
//! | 28 | 32 | SHA-256 of the statement without its signature |
//!
//! The digest keeps what is signed short, however long a list is.

use sha2::{Digest, Sha256};

use super::hello::NetworkTag;

/// Bytes that are signed.
pub(crate) const LEN: usize = LABEL_LEN + NetworkTag::LEN + DIGEST_LEN;

const LABEL_LEN: usize = 20;
const DIGEST_LEN: usize = 32;

/// What is signed of a statement with these bytes in this network.
pub(super) fn of(label: &[u8; LABEL_LEN], network: NetworkTag, bytes: &[u8]) -> [u8; LEN] {
    let mut signed = [0; LEN];
    let (to_label, rest) = signed.split_at_mut(LABEL_LEN);
    let (to_network, to_digest) = rest.split_at_mut(NetworkTag::LEN);
    to_label.copy_from_slice(label);
    to_network.copy_from_slice(network.as_bytes());
    to_digest.copy_from_slice(&Sha256::digest(bytes));
    signed
}
