//! Section 4.1 and 12.1: X25519 (RFC 7748) and its key pairs.
//!
//! Public keys are plain bytes. It refuses points of the twist and all-zero outputs, nothing else: which static keys name
//! a node is `identity`'s rule.

use core::fmt;

use curve25519_dalek::{EdwardsPoint, MontgomeryPoint};
use zeroize::Zeroizing;

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

    /// The secret half, of which a hedged ephemeral is made.
    pub(crate) const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The public key.
    pub const fn public(&self) -> &[u8; DH_LEN] {
        &self.public
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

/// `DH(pair, public)`, refusing what no honest peer sends: points on the twist, and all that gives zero (RFC 7748,
/// section 6.1).
///
/// Multiplies on the Edwards curve: with vector instructions that takes half of the Montgomery ladder's time (31 us
/// against 60, and 8 for the change of form), and the check of static keys brings the code along anyway.
pub(super) fn dh(pair: &KeyPair, public: &[u8; DH_LEN]) -> Result<Secret, Reason> {
    let point = MontgomeryPoint(*public).to_edwards(0).ok_or(Reason::BadKey)?;
    let product = Zeroizing::new(point.mul_clamped(*pair.secret.as_bytes()));
    let shared = Secret::from_bytes(product.to_montgomery().to_bytes());
    let is_zero = shared.as_bytes().iter().fold(0, |all, byte| all | byte) == 0;
    if is_zero { Err(Reason::BadKey) } else { Ok(shared) }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION, X25519_BASEPOINT};
    use proptest::prelude::*;

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
    fn every_twist_point_is_refused() {
        let pair = KeyPair::from_secret(Secret::from_bytes([1; 32]));
        // u = 2 and u = -1 (p - 1) are on the twist.
        let (mut two, mut minus_one) = ([0; 32], [0xFF; 32]);
        two[0] = 2;
        (minus_one[0], minus_one[31]) = (0xEC, 0x7F);

        assert_eq!(dh(&pair, &two).err(), Some(Reason::BadKey));
        assert_eq!(dh(&pair, &minus_one).err(), Some(Reason::BadKey));
    }

    proptest! {
        #[test]
        fn outputs_are_those_of_the_montgomery_ladder(secret: [u8; 32], public: [u8; 32]) {
            let pair = KeyPair::from_secret(Secret::from_bytes(secret));
            let ladder = MontgomeryPoint(public).mul_clamped(secret).to_bytes();

            if let Ok(shared) = dh(&pair, &public) {
                prop_assert_eq!(shared.as_bytes(), &ladder);
            } else {
                prop_assert!(MontgomeryPoint(public).to_edwards(0).is_none());
            }
            prop_assert_eq!(pair.public(), &MontgomeryPoint(BASE).mul_clamped(secret).to_bytes());
        }

        /// The base point plus any point of low order, encoded canonically or not: all give the base point's output.
        #[test]
        fn a_low_order_part_changes_nothing(secret: [u8; 32], index in 0..8_usize) {
            let pair = KeyPair::from_secret(Secret::from_bytes(secret));
            let mixed = (ED25519_BASEPOINT_POINT + EIGHT_TORSION[index]).to_montgomery().to_bytes();
            let mut with_high_bit = mixed;
            with_high_bit[31] |= 0x80;

            for public in [mixed, with_high_bit] {
                let shared = dh(&pair, &public).unwrap();
                prop_assert_eq!(shared.as_bytes(), pair.public());
            }
        }
    }

    const BASE: [u8; 32] = *X25519_BASEPOINT.as_bytes();

    #[test]
    fn every_low_order_key_is_refused() {
        let pair = KeyPair::from_secret(Secret::from_bytes([1; 32]));

        for bytes in low_order_keys() {
            assert_eq!(dh(&pair, &bytes).err(), Some(Reason::BadKey), "{bytes:02x?}");
        }
    }

    /// The u-coordinates of order 1, 2, 4 and 8 on the curve and its twist, and their encodings at or above p.
    fn low_order_keys() -> [[u8; 32]; 7] {
        let order_eight = EIGHT_TORSION[1].to_montgomery().to_bytes();
        let other_order_eight = EIGHT_TORSION[3].to_montgomery().to_bytes();
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

        let text = std::format!("{pair:?} {:?}", pair.secret);

        assert!(!text.contains("167, 167") && !text.contains("a7a7"), "{text}");
    }
}
