//! What makes a node's name: the key pair behind a [`NodeId`], the two forms of its public key; in `text` its text form.
//!
//! A node's own key pair names it as Ed25519, and as X25519 (the same point in Montgomery form) is the static key of
//! handshakes; another static key can stand for it by its [`Delegation`]. The Montgomery form forgets the sign of the Edwards
//! x-coordinate, so ids have sign bit 0.
//! Invariant: on canonical prime-order points with sign bit 0, [`static_of_id`] and [`id_of_static`] are inverse to
//! each other; everything else is refused. What an id proves is not decided here: a finished handshake does that.

mod delegation;
mod text;

use core::fmt;

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::montgomery::MontgomeryPoint;
use curve25519_dalek::scalar::clamp_integer;
use curve25519_dalek::traits::Identity as _;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::ids::NodeId;
use crate::wire::delegation::Delegation;
use crate::wire::reason::Reason;

pub use crate::wire::envelope::SIGNATURE_LEN;
pub use delegation::DelegateError;
pub(crate) use delegation::verify_delegation;
pub use text::BadNodeId;

/// What a node is known by and proves itself with: its own key pair, or one that stands for it for a while.
///
/// The secrets are wiped when this is dropped, and `Debug` shows only the id. Whoever has only a delegated key is the node in
/// handshakes, and can open what is sealed to that key, but signs nothing.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Identity {
    warrant: Warrant,
    static_secret: [u8; 32],
    #[zeroize(skip)]
    static_public: [u8; 32],
    #[zeroize(skip)]
    id: NodeId,
}

/// Why the static key pair stands for the id.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
enum Warrant {
    /// It follows from the id's own seed.
    Seed([u8; 32]),
    /// The id's own key has said so.
    Delegation(#[zeroize(skip)] Delegation),
}

/// The seed's public key has sign bit 1, so it names no node. Half of all seeds do; draw another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSeed;

/// The key at hand is a delegated one, and only the node's own key can sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOwnKey;

impl Identity {
    /// Draws a new key pair: seeds until one's public key has sign bit 0, two on average.
    pub fn generate(random: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        loop {
            random.fill_bytes(&mut *seed);
            if let Ok(identity) = Self::from_seed(&seed) {
                return identity;
            }
        }
    }

    /// The key pair of an Ed25519 seed (the secret key of RFC 8032, section 5.1.5), as [`seed`](Self::seed) gave it.
    ///
    /// # Errors
    /// [`BadSeed`] if the public key's sign bit is 1.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, BadSeed> {
        let signing = SigningKey::from_bytes(seed);
        let public = signing.verifying_key();
        if has_sign_bit(public.as_bytes()) {
            return Err(BadSeed);
        }
        let mut unclamped = signing.to_scalar_bytes();
        let static_secret = clamp_integer(unclamped);
        unclamped.zeroize();
        Ok(Self {
            warrant: Warrant::Seed(*seed),
            static_secret,
            static_public: public.to_montgomery().to_bytes(),
            id: NodeId::from_bytes(public.to_bytes()),
        })
    }

    /// The secret that the whole identity follows from; store it where only the node can read it. A delegated key has none.
    pub const fn seed(&self) -> Option<&[u8; 32]> {
        match &self.warrant {
            Warrant::Seed(seed) => Some(seed),
            Warrant::Delegation(_) => None,
        }
    }

    /// Why another key than the node's own stands for it, if one does.
    pub const fn delegation(&self) -> Option<&Delegation> {
        match &self.warrant {
            Warrant::Seed(_) => None,
            Warrant::Delegation(delegation) => Some(delegation),
        }
    }

    /// The node's name.
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// The X25519 secret: the Ed25519 secret scalar, clamped, unless the key is a delegated one.
    pub const fn static_secret(&self) -> &[u8; 32] {
        &self.static_secret
    }

    /// The X25519 public key, which stands for the id in handshakes.
    pub const fn static_public(&self) -> &[u8; 32] {
        &self.static_public
    }

    /// The Ed25519 signature of `message` (RFC 8032, section 5.1.6); the same message always has the same.
    ///
    /// Every use begins its messages with a label of its own, so that what was signed for one is worth nothing in another.
    ///
    /// # Errors
    /// [`NotOwnKey`] if this is a delegated key: the node signs where its own key is.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_LEN], NotOwnKey> {
        let seed = self.seed().ok_or(NotOwnKey)?;
        Ok(SigningKey::from_bytes(seed).sign(message).to_bytes())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Display for BadSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the seed's public key has sign bit 1 and names no node")
    }
}

impl core::error::Error for BadSeed {}

impl fmt::Display for NotOwnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is a delegated key, and only the node's own key can sign")
    }
}

impl core::error::Error for NotOwnKey {}

/// The id of the node whose X25519 key this is.
///
/// # Errors
/// [`Reason::BadKey`] if the key is not canonical (bit 255 set, or p and above), on the twist, of low order, or not of
/// prime order.
pub fn id_of_static(public: &[u8; 32]) -> Result<NodeId, Reason> {
    let point = MontgomeryPoint(*public).to_edwards(0).ok_or(Reason::BadKey)?;
    let is_canonical = point.to_montgomery().as_bytes() == public;
    if is_canonical && is_of_prime_order(&point) {
        Ok(NodeId::from_bytes(point.compress().to_bytes()))
    } else {
        Err(Reason::BadKey)
    }
}

/// The X25519 key of the node with this id.
///
/// # Errors
/// [`Reason::BadKey`] if no node can have this id: not canonical, not on the curve, sign bit 1, of low order, or not of
/// prime order.
pub fn static_of_id(id: &NodeId) -> Result<[u8; 32], Reason> {
    let compressed = CompressedEdwardsY(*id.as_bytes());
    let point = compressed.decompress().ok_or(Reason::BadKey)?;
    let is_canonical = point.compress() == compressed;
    if is_canonical && !has_sign_bit(id.as_bytes()) && is_of_prime_order(&point) {
        Ok(point.to_montgomery().to_bytes())
    } else {
        Err(Reason::BadKey)
    }
}

/// The X25519 key of a node whom a handshake has proven under this id, so that its order is known; `None` if no point has it.
pub(crate) fn static_of_proven_id(id: &NodeId) -> Option<[u8; 32]> {
    let point = CompressedEdwardsY(*id.as_bytes()).decompress()?;
    Some(point.to_montgomery().to_bytes())
}

/// Whether the node with this id has signed `message`, strictly: of each message and key one signature passes at most, the
/// one that the key's owner made.
///
/// # Errors
/// [`Reason::BadSignature`] if S is not below L, R is of low order or not in canonical form, the equation of RFC 8032,
/// section 5.1.7, does not hold without the cofactor, or no node can have this id (see [`static_of_id`]).
pub fn verify(id: &NodeId, message: &[u8], signature: &[u8; SIGNATURE_LEN]) -> Result<(), Reason> {
    let key = VerifyingKey::from_bytes(id.as_bytes()).map_err(|_| Reason::BadSignature)?;
    if static_of_id(id).is_err() {
        return Err(Reason::BadSignature);
    }
    key.verify_strict(message, &Signature::from_bytes(signature)).map_err(|_| Reason::BadSignature)
}

/// Of all points whose order divides the prime, only the neutral one has another order: 1.
fn is_of_prime_order(point: &EdwardsPoint) -> bool {
    *point != EdwardsPoint::identity() && point.is_torsion_free()
}

const fn has_sign_bit(edwards: &[u8; 32]) -> bool {
    edwards[31] >> 7 == 1
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::{String, ToString};
    use std::vec::Vec;

    use curve25519_dalek::constants::EIGHT_TORSION;
    use curve25519_dalek::scalar::Scalar;
    use proptest::prelude::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::{Rng, SeedableRng};
    use sha2::{Digest, Sha512};

    use super::*;
    use crate::noise::{KeyPair, Secret};

    /// `docs/protocol.md`, section 9; computed by other code from RFC 8032, RFC 7748 and BIP 350.
    #[test]
    fn the_example_of_the_document_holds() {
        let seed = unhex("0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20");

        let identity = Identity::from_seed(&seed).unwrap();

        assert_eq!(
            hex(identity.static_secret()),
            "70788f1a0cea001a2631dae5d05dbd062008d5b30f50b9e29beb2a7822289044"
        );
        assert_eq!(
            hex(identity.id().as_bytes()),
            "79b5562e8fe654f94078b112e8a98ba7901f853ae695bed7e0e3910bad049664"
        );
        assert_eq!(
            hex(identity.static_public()),
            "4a3807d064d077181cc070989e76891d20dca5559548dc2c77c1a50273882b38"
        );
        assert_eq!(
            identity.id().to_string(),
            "hy10x64vt50ue20jsrckyfw32vt57gplpf6u62ma4lquwgshtgyjejqrydjdu"
        );
    }

    /// The seed 00 01 .. 1f belongs to the public key 03a107bf..5531b8, whose sign bit is 1.
    #[test]
    fn the_refused_seed_of_the_document_is_refused() {
        let seed: [u8; 32] = core::array::from_fn(|index| index as u8);

        assert_eq!(Identity::from_seed(&seed).err(), Some(BadSeed));
    }

    /// RFC 8032, section 7.1, test 1.
    #[test]
    fn an_id_is_the_ed25519_public_key_of_its_seed() {
        let seed = unhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");

        let id = Identity::from_seed(&seed).unwrap().id();

        assert_eq!(hex(id.as_bytes()), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    }

    #[test]
    fn the_static_pair_is_a_pair_and_names_the_same_node() {
        for identity in identities(20) {
            let secret = Secret::from_bytes(*identity.static_secret());

            assert_eq!(KeyPair::from_secret(secret).public(), identity.static_public());
            assert_eq!(id_of_static(identity.static_public()), Ok(identity.id()));
            assert_eq!(static_of_id(&identity.id()).as_ref(), Ok(identity.static_public()));
        }
    }

    #[test]
    fn a_stored_seed_gives_the_same_identity() {
        for identity in identities(5) {
            let again = Identity::from_seed(identity.seed().unwrap()).unwrap();

            assert_eq!(again.id(), identity.id());
            assert_eq!(again.static_secret(), identity.static_secret());
        }
    }

    #[test]
    fn a_seed_with_sign_bit_one_is_refused() {
        let mut random = random();
        let mut refused = 0;

        for _ in 0..40 {
            let mut seed = [0; 32];
            random.fill_bytes(&mut seed);
            let sign = SigningKey::from_bytes(&seed).verifying_key().to_bytes()[31] >> 7;
            assert_eq!(Identity::from_seed(&seed).is_err(), sign == 1);
            refused += sign;
        }

        assert!((5..35).contains(&refused), "{refused} of 40");
    }

    #[test]
    fn debug_shows_the_id_and_no_secret() {
        for identity in identities(5) {
            let text = format!("{identity:?}");

            assert!(text.contains(&identity.id().to_string()));
            for secret in [identity.seed().unwrap(), identity.static_secret()] {
                assert!(!text.contains(&hex(secret)) && !text.contains(&format!("{secret:?}")));
                assert!(!text.contains(&format!("{}, {}", secret[0], secret[1])));
            }
        }
    }

    #[test]
    fn ids_and_statics_of_low_order_are_refused() {
        for point in EIGHT_TORSION {
            let id = NodeId::from_bytes(point.compress().to_bytes());

            assert_eq!(static_of_id(&id), Err(Reason::BadKey), "{point:?}");
            assert_eq!(id_of_static(&point.to_montgomery().to_bytes()), Err(Reason::BadKey), "{point:?}");
        }
        for low in [0, 1] {
            let mut bytes = [0; 32];
            bytes[0] = low;
            assert_eq!(id_of_static(&bytes), Err(Reason::BadKey), "u = {low}");
        }
    }

    #[test]
    fn ids_and_statics_of_mixed_order_are_refused() {
        for identity in identities(4) {
            let point = CompressedEdwardsY(*identity.id().as_bytes()).decompress().unwrap();
            for torsion in &EIGHT_TORSION[1..] {
                let mut bytes = (point + torsion).compress().to_bytes();
                bytes[31] &= 0x7F;

                assert_eq!(static_of_id(&NodeId::from_bytes(bytes)), Err(Reason::BadKey));
                let mixed = (point + torsion).to_montgomery().to_bytes();
                assert_eq!(id_of_static(&mixed), Err(Reason::BadKey));
            }
        }
    }

    #[test]
    fn an_id_with_sign_bit_one_is_refused() {
        for identity in identities(4) {
            let mut bytes = *identity.id().as_bytes();
            bytes[31] |= 0x80;

            assert_eq!(static_of_id(&NodeId::from_bytes(bytes)), Err(Reason::BadKey));
        }
    }

    #[test]
    fn encodings_at_and_above_p_are_refused() {
        for low in 0xED..=0xFF {
            for high in [0x7F, 0xFF] {
                let mut bytes = [0xFF; 32];
                (bytes[0], bytes[31]) = (low, high);

                assert_eq!(id_of_static(&bytes), Err(Reason::BadKey), "u = p + {}", low - 0xED);
                assert_eq!(static_of_id(&NodeId::from_bytes(bytes)), Err(Reason::BadKey));
            }
        }
    }

    /// 9 + p is a second encoding of the base point; only the first one names it.
    #[test]
    fn a_second_encoding_of_a_good_point_is_refused() {
        let mut base = [0; 32];
        base[0] = 9;
        let mut above = [0xFF; 32];
        (above[0], above[31]) = (0xED + 9, 0x7F);
        let mut with_high_bit = base;
        with_high_bit[31] |= 0x80;

        assert!(id_of_static(&base).is_ok());
        assert_eq!(id_of_static(&above), Err(Reason::BadKey));
        assert_eq!(id_of_static(&with_high_bit), Err(Reason::BadKey));
    }

    #[test]
    fn statics_on_the_twist_are_refused() {
        let mut random = random();
        let mut on_twist = 0;
        for _ in 0..40 {
            let mut bytes = [0; 32];
            random.fill_bytes(&mut bytes);
            bytes[31] &= 0x7F;
            if MontgomeryPoint(bytes).to_edwards(0).is_none() {
                on_twist += 1;
                assert_eq!(id_of_static(&bytes), Err(Reason::BadKey));
            }
        }
        assert!((5..35).contains(&on_twist), "{on_twist} of 40");

        let mut minus_one = [0xFF; 32];
        (minus_one[0], minus_one[31]) = (0xEC, 0x7F);
        assert_eq!(id_of_static(&minus_one), Err(Reason::BadKey), "u = -1");
    }

    proptest! {
        #[test]
        fn whatever_passes_one_way_comes_back_the_other(bytes: [u8; 32]) {
            if let Ok(public) = static_of_id(&NodeId::from_bytes(bytes)) {
                prop_assert_eq!(id_of_static(&public), Ok(NodeId::from_bytes(bytes)));
            }
            if let Ok(id) = id_of_static(&bytes) {
                prop_assert_eq!(static_of_id(&id), Ok(bytes));
            }
        }
    }

    /// RFC 8032, section 7.1, test 2, whose key has sign bit 0.
    #[test]
    fn a_signature_is_that_of_rfc_8032_and_verifies() {
        let seed = unhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let identity = Identity::from_seed(&seed).unwrap();

        let signature = identity.sign(&[0x72]).unwrap();

        assert_eq!(
            hex(&signature),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
        assert_eq!(verify(&identity.id(), &[0x72], &signature), Ok(()));
    }

    #[test]
    fn a_signature_over_another_message_by_another_key_or_bent_in_any_bit_is_refused() {
        let [ours, theirs] = [0, 1].map(|index| identities(2).remove(index));
        let signature = ours.sign(b"message").unwrap();

        assert_eq!(verify(&ours.id(), b"message", &signature), Ok(()));
        assert_eq!(verify(&ours.id(), b"messagf", &signature), Err(Reason::BadSignature));
        assert_eq!(verify(&theirs.id(), b"message", &signature), Err(Reason::BadSignature));
        for bit in 0..SIGNATURE_LEN * 8 {
            let mut bent = signature;
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(verify(&ours.id(), b"message", &bent), Err(Reason::BadSignature), "bit {bit}");
        }
    }

    /// S + L solves the same equation: whoever takes it lets a signature be changed by anyone.
    #[test]
    fn a_malleable_signature_is_refused() {
        let identity = identities(1).remove(0);
        let mut signature = identity.sign(b"message").unwrap();
        let mut carry = 0;
        for (place, order) in signature[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*place) + u16::from(order) + carry;
            *place = sum as u8;
            carry = sum >> 8;
        }

        assert_eq!(carry, 0, "S + L still fits its field");
        assert_eq!(verify(&identity.id(), b"message", &signature), Err(Reason::BadSignature));
    }

    /// With a key of low order, R = [S]B holds for any message that hashes right; with R of low order too, S = 0 does.
    #[test]
    fn keys_and_commitments_of_low_order_are_refused_in_every_encoding() {
        let identity = identities(1).remove(0);
        for point in low_order_encodings() {
            let mut nothing = [0; SIGNATURE_LEN];
            nothing[..32].copy_from_slice(&point);
            let mut bent = identity.sign(b"message").unwrap();
            bent[..32].copy_from_slice(&point);
            for key in low_order_encodings() {
                let refused = verify(&NodeId::from_bytes(key), b"message", &nothing);
                assert_eq!(refused, Err(Reason::BadSignature), "{key:02x?}");
            }

            assert_eq!(verify(&identity.id(), b"message", &nothing), Err(Reason::BadSignature));
            assert_eq!(verify(&identity.id(), b"message", &bent), Err(Reason::BadSignature));
        }
    }

    /// Secret scalar 0 makes R of low order with an honest key: R = O, S = k a. Its owner can make it, and nobody else.
    #[test]
    fn a_commitment_of_low_order_is_refused_though_the_equation_holds() {
        let identity = identities(1).remove(0);
        let secret = Scalar::from_bytes_mod_order(*identity.static_secret());
        for torsion in EIGHT_TORSION {
            let r = torsion.compress().to_bytes();
            let s = challenge(&r, identity.id().as_bytes(), b"message") * secret;
            let signature = joined(&r, s);

            let holds = EdwardsPoint::mul_base(&s)
                == torsion
                    + challenge(&r, identity.id().as_bytes(), b"message")
                        * CompressedEdwardsY(*identity.id().as_bytes()).decompress().unwrap();
            assert_eq!(holds, torsion == EdwardsPoint::identity());
            assert_eq!(verify(&identity.id(), b"message", &signature), Err(Reason::BadSignature));
        }
    }

    /// A key with a part of low order: its owner finds messages that pass with the cofactor and not without, or by luck
    /// in both; so it is refused whatever the equation says.
    #[test]
    fn a_key_of_mixed_order_is_refused_though_the_equation_holds() {
        let identity = identities(1).remove(0);
        let secret = Scalar::from_bytes_mod_order(*identity.static_secret());
        let honest = CompressedEdwardsY(*identity.id().as_bytes()).decompress().unwrap();
        let mut held = 0;
        for torsion in &EIGHT_TORSION[1..] {
            let mixed = honest + torsion;
            let key = mixed.compress().to_bytes();
            for nonce in 1..40_u64 {
                let nonce = Scalar::from(nonce);
                let r = EdwardsPoint::mul_base(&nonce);
                let challenge = challenge(r.compress().as_bytes(), &key, b"message");
                let s = nonce + challenge * secret;
                held += usize::from(EdwardsPoint::mul_base(&s) == r + challenge * mixed);

                let signature = joined(r.compress().as_bytes(), s);
                assert_eq!(
                    verify(&NodeId::from_bytes(key), b"message", &signature),
                    Err(Reason::BadSignature)
                );
            }
        }
        assert!(held > 0, "one challenge in eight takes the part of low order away");
    }

    fn challenge(r: &[u8; 32], key: &[u8; 32], message: &[u8]) -> Scalar {
        let hash = Sha512::new().chain_update(r).chain_update(key).chain_update(message).finalize();
        Scalar::from_bytes_mod_order_wide(&hash.into())
    }

    fn joined(r: &[u8; 32], s: Scalar) -> [u8; SIGNATURE_LEN] {
        let mut signature = [0; SIGNATURE_LEN];
        signature[..32].copy_from_slice(r);
        signature[32..].copy_from_slice(s.as_bytes());
        signature
    }

    /// The points of order 1, 2, 4 and 8, each with both signs and, where there is one, with y at or above p.
    fn low_order_encodings() -> Vec<[u8; 32]> {
        let mut encodings: Vec<[u8; 32]> =
            EIGHT_TORSION.iter().map(|point| point.compress().to_bytes()).collect();
        for low in [0xEC, 0xED, 0xEE] {
            let mut y = [0xFF; 32];
            (y[0], y[31]) = (low, 0x7F);
            encodings.push(y);
        }
        let flipped = encodings.clone().into_iter().map(|mut y| {
            y[31] ^= 0x80;
            y
        });
        encodings.extend(flipped);
        encodings
    }

    /// L, the order of the base point, in little-endian.
    const ORDER: [u8; 32] = [
        0xED, 0xD3, 0xF5, 0x5C, 0x1A, 0x63, 0x12, 0x58, 0xD6, 0x9C, 0xF7, 0xA2, 0xDE, 0xF9, 0xDE, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];

    const SEED: u64 = 0x6879_7068_616C;

    fn random() -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(SEED)
    }

    fn identities(count: usize) -> Vec<Identity> {
        let mut random = random();
        (0..count).map(|_| Identity::generate(&mut random)).collect()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn unhex(text: &str) -> [u8; 32] {
        core::array::from_fn(|index| u8::from_str_radix(&text[2 * index..2 * index + 2], 16).unwrap())
    }
}
