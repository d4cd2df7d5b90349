//! How another key comes to stand for a node: the node's own key signs for it, and anyone can check that.
//!
//! What is delegated is an X25519 key, for handshakes and seals only; the node's signing key stays where it is, in a safe for
//! example. A delegation cannot be taken back, it ends. Invariant: an [`Identity`] with a delegation has the secret of the
//! key that the delegation is for.

use core::fmt;

use curve25519_dalek::montgomery::MontgomeryPoint;
use curve25519_dalek::scalar::clamp_integer;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{Identity, NotOwnKey, Warrant, verify};
use crate::time::UnixTime;
use crate::wire::delegation::Delegation;
use crate::wire::reason::Reason;

/// Why a key was not delegated to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DelegateError {
    /// This is a delegated key itself: only the node's own key can sign.
    NotOwnKey,
    /// The delegation would end before it begins.
    NeverValid,
}

impl Identity {
    /// Signs that the X25519 key `key` stands for this node, from `not_before` until `not_after`.
    ///
    /// For a key whose secret this end never sees, as that of a secure element; else see [`delegate`](Self::delegate).
    ///
    /// # Errors
    /// [`DelegateError`] if this is no node's own key, or the span is empty.
    pub fn delegate_to(
        &self,
        key: &[u8; 32],
        not_before: UnixTime,
        not_after: UnixTime,
    ) -> Result<Delegation, DelegateError> {
        if not_before >= not_after {
            return Err(DelegateError::NeverValid);
        }
        let signed = Delegation::signed_bytes(key, not_before, not_after);
        let signature = self.sign(&signed).map_err(|NotOwnKey| DelegateError::NotOwnKey)?;
        Ok(Delegation { id: self.id(), not_before, not_after, signature })
    }

    /// Draws a new key that stands for this node from `not_before` until `not_after`.
    ///
    /// # Errors
    /// As [`delegate_to`](Self::delegate_to).
    pub fn delegate(
        &self,
        not_before: UnixTime,
        not_after: UnixTime,
        random: &mut impl CryptoRng,
    ) -> Result<Self, DelegateError> {
        let mut drawn = Zeroizing::new([0; 32]);
        random.fill_bytes(&mut *drawn);
        let secret = Zeroizing::new(clamp_integer(*drawn));
        let key = MontgomeryPoint::mul_base_clamped(*secret).to_bytes();
        let delegation = self.delegate_to(&key, not_before, not_after)?;
        Ok(Self::with_delegated(*secret, key, delegation))
    }

    /// The identity of a node for which the key of this X25519 secret stands, as [`static_secret`](Self::static_secret) and
    /// [`delegation`](Self::delegation) gave it. Whether it is valid at this moment is not asked.
    ///
    /// # Errors
    /// [`Reason::BadDelegation`] if the delegation is not signed by the node that it names, or is for another key.
    pub fn from_delegation(secret: &[u8; 32], delegation: Delegation) -> Result<Self, Reason> {
        let secret = Zeroizing::new(clamp_integer(*secret));
        let key = MontgomeryPoint::mul_base_clamped(*secret).to_bytes();
        verify_delegation(&delegation, &key)?;
        Ok(Self::with_delegated(*secret, key, delegation))
    }

    fn with_delegated(static_secret: [u8; 32], static_public: [u8; 32], delegation: Delegation) -> Self {
        Self { warrant: Warrant::Delegation(delegation), static_secret, static_public, id: delegation.id }
    }
}

/// Whether the node that the delegation names has signed that `key` stands for it, strictly as [`verify`] says.
pub(crate) fn verify_delegation(delegation: &Delegation, key: &[u8; 32]) -> Result<(), Reason> {
    let Delegation { id, not_before, not_after, signature } = delegation;
    let signed = Delegation::signed_bytes(key, *not_before, *not_after);
    verify(id, &signed, signature).map_err(|_| Reason::BadDelegation)
}

impl fmt::Display for DelegateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOwnKey => {
                "this is a delegated key, and only the node's own key can sign for another one"
            }
            Self::NeverValid => "the delegation would end before it begins",
        })
    }
}

impl core::error::Error for DelegateError {}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng as _;

    use super::*;
    use crate::identity::id_of_static;
    use crate::noise::{KeyPair, Secret};

    const FROM: UnixTime = UnixTime::from_micros(1_000);
    const UNTIL: UnixTime = UnixTime::from_micros(2_000);

    fn random() -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(0x0064_656C_6567)
    }

    #[test]
    fn a_delegated_key_has_the_id_of_its_node_and_another_static() {
        let mut random = random();
        let own = Identity::generate(&mut random);

        let delegated = own.delegate(FROM, UNTIL, &mut random).unwrap();

        assert_eq!(delegated.id(), own.id());
        assert_ne!(delegated.static_public(), own.static_public());
        assert!(delegated.seed().is_none() && own.delegation().is_none());
        assert!(id_of_static(delegated.static_public()).is_ok(), "it is a valid key by itself");
        let pair = KeyPair::from_secret(Secret::from_bytes(*delegated.static_secret()));
        assert_eq!(pair.public(), delegated.static_public());
    }

    #[test]
    fn a_stored_delegated_key_gives_the_same_identity() {
        let mut random = random();
        let delegated = Identity::generate(&mut random).delegate(FROM, UNTIL, &mut random).unwrap();

        let again =
            Identity::from_delegation(delegated.static_secret(), *delegated.delegation().unwrap()).unwrap();

        assert_eq!(again.id(), delegated.id());
        assert_eq!(again.static_public(), delegated.static_public());
    }

    #[test]
    fn whatever_is_changed_of_a_delegation_the_signature_no_longer_holds() {
        let mut random = random();
        let (own, other) = (Identity::generate(&mut random), Identity::generate(&mut random));
        let key = *other.static_public();
        let good = own.delegate_to(&key, FROM, UNTIL).unwrap();
        let mut forged = good.signature;
        forged[0] ^= 1;

        assert_eq!(verify_delegation(&good, &key), Ok(()));
        for bad in [
            Delegation { id: other.id(), ..good },
            Delegation { not_before: UnixTime::from_micros(999), ..good },
            Delegation { not_after: UnixTime::from_micros(2_001), ..good },
            Delegation { signature: forged, ..good },
        ] {
            assert_eq!(verify_delegation(&bad, &key), Err(Reason::BadDelegation), "{bad:?}");
        }
        assert_eq!(verify_delegation(&good, own.static_public()), Err(Reason::BadDelegation));
    }

    /// S and S + L verify alike for a careless verifier; L is the order of the group, little-endian.
    #[test]
    fn a_malleable_signature_is_refused() {
        let mut random = random();
        let own = Identity::generate(&mut random);
        let key = [9; 32];
        let mut delegation = own.delegate_to(&key, FROM, UNTIL).unwrap();
        let mut order = [0_u8; 32];
        order[..16].copy_from_slice(&0x14DE_F9DE_A2F7_9CD6_5812_631A_5CF5_D3ED_u128.to_le_bytes());
        order[31] = 0x10;

        let mut carry = 0_u16;
        for (byte, more) in delegation.signature[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(more) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }

        assert_eq!(carry, 0);
        assert_eq!(verify_delegation(&delegation, &key), Err(Reason::BadDelegation));
    }

    /// Under the neutral point as key, R = S x B is a signature of every message.
    #[test]
    fn an_id_of_low_order_signs_nothing() {
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; crate::identity::SIGNATURE_LEN];
        signature[0] = 1;

        let delegation = Delegation {
            id: crate::ids::NodeId::from_bytes(neutral),
            not_before: FROM,
            not_after: UNTIL,
            signature,
        };

        assert_eq!(verify_delegation(&delegation, &[9; 32]), Err(Reason::BadDelegation));
    }

    #[test]
    fn only_an_own_key_delegates_and_only_for_a_while() {
        let mut random = random();
        let own = Identity::generate(&mut random);
        let delegated = own.delegate(FROM, UNTIL, &mut random).unwrap();

        assert_eq!(delegated.delegate(FROM, UNTIL, &mut random).err(), Some(DelegateError::NotOwnKey));
        assert_eq!(own.delegate(UNTIL, UNTIL, &mut random).err(), Some(DelegateError::NeverValid));
        assert_eq!(own.delegate_to(&[9; 32], UNTIL, FROM).err(), Some(DelegateError::NeverValid));
    }

    #[test]
    fn a_delegation_is_valid_from_its_first_moment_until_before_its_last() {
        let own = Identity::generate(&mut random());
        let delegation = own.delegate_to(&[9; 32], FROM, UNTIL).unwrap();

        let valid = [999, 1_000, 1_999, 2_000].map(|at| delegation.is_valid_at(UnixTime::from_micros(at)));

        assert_eq!(valid, [false, true, true, false]);
        assert_eq!(delegation.renew_at(), UnixTime::from_micros(1_750));
    }
}
