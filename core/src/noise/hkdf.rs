//! Section 4.3: HMAC-SHA256 and HKDF with two or three outputs.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::Secret;

/// `HKDF(chaining_key, input, 2)`.
pub(crate) fn hkdf2(chaining_key: &[u8; 32], input: &[u8]) -> (Secret, Secret) {
    let extracted = hmac(chaining_key, &[input]);
    let first = hmac(extracted.as_bytes(), &[&[1]]);
    let second = hmac(extracted.as_bytes(), &[first.as_bytes(), &[2]]);
    (first, second)
}

/// `HKDF(chaining_key, input, 3)`.
pub(crate) fn hkdf3(chaining_key: &[u8; 32], input: &[u8]) -> (Secret, Secret, Secret) {
    let extracted = hmac(chaining_key, &[input]);
    let first = hmac(extracted.as_bytes(), &[&[1]]);
    let second = hmac(extracted.as_bytes(), &[first.as_bytes(), &[2]]);
    let third = hmac(extracted.as_bytes(), &[second.as_bytes(), &[3]]);
    (first, second, third)
}

/// `HMAC-HASH(key, parts...)`.
pub(crate) fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> Secret {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    Secret::from_bytes(mac.finalize().into_bytes().into())
}
