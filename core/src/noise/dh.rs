//! Section 4.1 and 12.1: X25519 (RFC 7748) and its key pairs.
//!
//! Public keys are plain bytes and any 32 bytes are taken, as X25519 does; the one thing refused here is an all-zero
//! output. Which static keys name a node is `identity`'s rule.

use core::fmt;

use curve25519_dalek::{EdwardsPoint, MontgomeryPoint};

use super::Secret;
use crate::wire::reason::Reason;

/// Bytes of a public key and of a Diffie-Hellman output (`DHLEN`).
pub const DH_LEN: usize = 32;

/// An X25519 key pair. The secret half is wiped when this is dropped.
#[derive(Clone)]
pub struct KeyPair {
    secret: Secret,
    public: [u8; DH_LEN],
}

impl KeyPair {
    /// The pair of this secret, which is clamped when used (RFC 7748, section 5). Costs a multiplication of the base point.
    pub fn from_secret(secret: Secret) -> Self {
        let public = EdwardsPoint::mul_base_clamped(*secret.as_bytes()).to_montgomery().to_bytes();
        Self { secret, public }
    }

    /// Puts together a pair whose halves are known to belong to each other, as an identity's.
    pub const fn from_parts(secret: Secret, public: [u8; DH_LEN]) -> Self {
        Self { secret, public }
    }

    /// The public key.
    pub const fn public(&self) -> &[u8; DH_LEN] {
        &self.public
    }

    pub(crate) const fn secret(&self) -> &Secret {
        &self.secret
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

/// `DH(pair, public)`; an all-zero output, which any low-order `public` gives, is refused (RFC 7748, section 6.1).
pub(crate) fn dh(pair: &KeyPair, public: &[u8; DH_LEN]) -> Result<Secret, Reason> {
    let shared =
        Secret::from_bytes(MontgomeryPoint(*public).mul_clamped(*pair.secret().as_bytes()).to_bytes());
    let is_zero = shared.as_bytes().iter().fold(0, |all, byte| all | byte) == 0;
    if is_zero { Err(Reason::BadKey) } else { Ok(shared) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_agree_on_the_output() {
        let ours = KeyPair::from_secret(Secret::from_bytes([1; 32]));
        let theirs = KeyPair::from_secret(Secret::from_bytes([2; 32]));

        let here = dh(&ours, theirs.public()).unwrap();
        let there = dh(&theirs, ours.public()).unwrap();

        assert_eq!(here.as_bytes(), there.as_bytes());
    }

    #[test]
    fn every_low_order_key_is_refused() {
        let pair = KeyPair::from_secret(Secret::from_bytes([1; 32]));

        for bytes in low_order_keys() {
            assert_eq!(dh(&pair, &bytes).err(), Some(Reason::BadKey), "{bytes:02x?}");
        }
    }

    /// The u-coordinates of order 1, 2, 4 and 8 on the curve and its twist, and their encodings at or above p.
    fn low_order_keys() -> [[u8; 32]; 7] {
        let order_eight = curve25519_dalek::constants::EIGHT_TORSION[1].to_montgomery().to_bytes();
        let other_order_eight = curve25519_dalek::constants::EIGHT_TORSION[3].to_montgomery().to_bytes();
        let p = |low: u8| {
            let mut bytes = [0xFF; 32];
            bytes[0] = low;
            bytes[31] = 0x7F;
            bytes
        };
        let small = |low: u8| {
            let mut bytes = [0; 32];
            bytes[0] = low;
            bytes
        };
        [small(0), small(1), order_eight, other_order_eight, p(0xEC), p(0xED), p(0xEE)]
    }

    #[test]
    fn a_pair_prints_no_secret() {
        let pair = KeyPair::from_secret(Secret::from_bytes([0xA7; 32]));

        let text = std::format!("{pair:?} {:?}", pair.secret());

        assert!(!text.contains("167, 167") && !text.contains("a7a7"), "{text}");
    }
}
