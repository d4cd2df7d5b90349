//! What one attempt brings into its Noise state: the prologue, the keys, and an ephemeral that a weak random source spares.
//!
//! Every pattern and kind of link has a prologue of its own, so no message of one handshake verifies in another.

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::identity::Identity;
use crate::ids::Hint;
use crate::noise::{self, KeyPair, Secret};
use crate::time::Instant;
use crate::wire::datagram::ConnectionId;
use crate::wire::frame;

/// What carries the handshake's bytes, as the prologue names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkKind {
    /// Bytes in order, as over TCP.
    Stream,
    /// Datagrams, which the peer addresses to this connection id.
    Datagram(ConnectionId),
}

impl LinkKind {
    const fn id(self) -> u8 {
        match self {
            Self::Stream => 1,
            Self::Datagram(_) => 2,
        }
    }

    /// By what this end tells the link's records from those of others, where they need that.
    pub(super) const fn connection_id(self) -> ConnectionId {
        match self {
            Self::Stream => ConnectionId::NONE,
            Self::Datagram(cid) => cid,
        }
    }
}

/// The Noise pattern, as the prologue names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum PatternId {
    Xx = 1,
    Kk = 2,
}

/// `hyphal/1`, the pattern, the kind of link, and the cleartext in front of the first Noise message.
pub(super) struct Prologue {
    bytes: [u8; PROLOGUE_LEN],
    len: usize,
}

impl Prologue {
    /// The prologue of a first message behind this frame header.
    pub(super) fn xx(link: LinkKind, header: &[u8; frame::HEADER_LEN]) -> Self {
        Self::new(PatternId::Xx, link, header, &[])
    }

    /// The prologue of a first message behind this frame header and this hint.
    pub(super) fn kk(link: LinkKind, header: &[u8; frame::HEADER_LEN], hint: &Hint) -> Self {
        Self::new(PatternId::Kk, link, header, hint.as_bytes())
    }

    fn new(pattern: PatternId, link: LinkKind, header: &[u8; frame::HEADER_LEN], hint: &[u8]) -> Self {
        let mut prologue = Self { bytes: [0; PROLOGUE_LEN], len: 0 };
        for part in [LABEL.as_slice(), &[pattern as u8, link.id()], header, hint] {
            prologue.bytes[prologue.len..prologue.len + part.len()].copy_from_slice(part);
            prologue.len += part.len();
        }
        prologue
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What tells this attempt from all others of the same key, as far as this end knows at its start.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'i> {
    pub(super) identity: &'i Identity,
    pub(super) began_at: Instant,
    pub(super) boot_id: u64,
}

impl Attempt<'_> {
    /// Our static pair.
    pub(super) fn static_pair(&self) -> KeyPair {
        KeyPair::from_parts(
            Secret::from_bytes(*self.identity.static_secret()),
            *self.identity.static_public(),
        )
    }

    /// An ephemeral secret that is fresh if the random source is, or else if the boot id or the moment is: a source
    /// that repeats after every boot does not alone repeat a key. Nobody without the static secret can compute it.
    ///
    /// A responder does not know the prologue yet and gives none.
    pub(super) fn ephemeral(&self, prologue: &[u8], rng: &mut impl CryptoRng) -> Secret {
        let mut input = Zeroizing::new([0; EPHEMERAL_INPUT_LEN]);
        let (label, rest) = input.split_at_mut(EPHEMERAL_LABEL.len());
        let (random, rest) = rest.split_at_mut(noise::DH_LEN);
        let (boot_id, rest) = rest.split_at_mut(size_of::<u64>());
        let (began_at, rest) = rest.split_at_mut(size_of::<u64>());
        label.copy_from_slice(EPHEMERAL_LABEL);
        rng.fill_bytes(random);
        boot_id.copy_from_slice(&self.boot_id.to_be_bytes());
        began_at.copy_from_slice(&self.began_at.as_micros().to_be_bytes());
        rest[..prologue.len()].copy_from_slice(prologue);
        let len = EPHEMERAL_INPUT_LEN - PROLOGUE_LEN + prologue.len();
        noise::hkdf2(self.identity.static_secret(), &input[..len]).0
    }
}

const LABEL: &[u8; 8] = b"hyphal/1";
/// The longest prologue: that of KK.
const PROLOGUE_LEN: usize = LABEL.len() + 2 + frame::HEADER_LEN + Hint::LEN;
const EPHEMERAL_LABEL: &[u8; 18] = b"hyphal/1 ephemeral";
const EPHEMERAL_INPUT_LEN: usize =
    EPHEMERAL_LABEL.len() + noise::DH_LEN + 2 * size_of::<u64>() + PROLOGUE_LEN;

#[cfg(test)]
mod tests {
    use core::convert::Infallible;

    use rand_core::{TryCryptoRng, TryRng};

    use super::*;

    const PROLOGUE: &[u8] = &[5; PROLOGUE_LEN];

    /// A random source that gives one byte over and over.
    struct Stuck(u8);

    impl TryRng for Stuck {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            Ok(u32::from_ne_bytes([self.0; 4]))
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            Ok(u64::from_ne_bytes([self.0; 8]))
        }

        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
            bytes.fill(self.0);
            Ok(())
        }
    }

    impl TryCryptoRng for Stuck {}

    fn identities() -> [Identity; 2] {
        let mut bytes = 0..=u8::MAX;
        let mut next = || bytes.find_map(|byte| Identity::from_seed(&[byte; 32]).ok()).unwrap();
        [next(), next()]
    }

    fn attempt(identity: &Identity) -> Attempt<'_> {
        Attempt { identity, began_at: Instant::from_micros(7), boot_id: 1 }
    }

    fn ephemeral(attempt: &Attempt<'_>, prologue: &[u8], byte: u8) -> [u8; noise::DH_LEN] {
        *attempt.ephemeral(prologue, &mut Stuck(byte)).as_bytes()
    }

    #[test]
    fn a_stuck_random_source_gives_another_ephemeral_after_each_boot_at_each_moment_and_in_each_attempt() {
        let [identity, other] = identities();
        let usual = attempt(&identity);
        let header = frame::Header::new(frame::Kind::Xx1, 3).to_bytes(1);
        let (stream, hint) = (LinkKind::Stream, Hint::from_bytes([3; Hint::LEN]));

        let others = [
            ephemeral(&Attempt { boot_id: 2, ..usual }, PROLOGUE, 9),
            ephemeral(&Attempt { began_at: Instant::from_micros(8), ..usual }, PROLOGUE, 9),
            ephemeral(&usual, &[6; PROLOGUE_LEN], 9),
            ephemeral(&usual, &[], 9),
            ephemeral(&attempt(&other), PROLOGUE, 9),
            ephemeral(&usual, Prologue::xx(stream, &header).as_bytes(), 9),
            ephemeral(&usual, Prologue::kk(stream, &header, &hint).as_bytes(), 9),
        ];

        assert_eq!(ephemeral(&usual, PROLOGUE, 9), ephemeral(&usual, PROLOGUE, 9));
        assert!(!others.contains(&ephemeral(&usual, PROLOGUE, 9)));
        assert_ne!(others[5], others[6], "an attempt that goes on with XX has another ephemeral");
    }

    #[test]
    fn what_the_random_source_gives_decides_the_ephemeral_and_is_never_it() {
        let [identity, _] = identities();
        let mut seen = [[0; noise::DH_LEN]; 256];

        for byte in 0..=255 {
            let secret = ephemeral(&attempt(&identity), PROLOGUE, byte);
            assert_ne!(secret, [byte; noise::DH_LEN]);
            assert!(!seen.contains(&secret), "{byte}");
            seen[usize::from(byte)] = secret;
        }
    }
}
