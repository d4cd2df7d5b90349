//! What nodes of the lab admit each other by: an authority with its certificates and lists, and what one node has of them.
//!
//! It keeps what a runtime keeps for the core's `trust`, and asks it; it decides nothing. Invariant: as on a disk, what a
//! node has adopted outlives its processes.

use std::ops::Range;

use hyphal_core::{
    identity::Identity,
    ids::{NodeId, NodeType, Roles},
    node::NO_CERTIFICATE,
    session::{Credentials, Offer, Wall},
    time::{Duration, Instant, TimeQuality, UnixTime},
    trust::{Authorities, Credential, Policy, Revocations, sign_certificate, sign_revocations},
    wire::{
        certificate::Certificate,
        hello::NetworkTag,
        reason::Reason,
        revocation::{ListHeader, RevocationList},
    },
};

use crate::seed::Chance;

/// An authority of the lab's network.
pub struct Authority {
    identity: Identity,
}

impl Authority {
    /// An authority with a fresh key.
    pub fn new(chance: &mut Chance) -> Self {
        Self { identity: Identity::generate(chance.generator()) }
    }

    /// Its id.
    pub fn id(&self) -> NodeId {
        self.identity.id()
    }

    /// A certificate for a node of the lab's usual type, without roles.
    pub fn certificate(&self, serial: u64, node: NodeId, valid: Range<UnixTime>) -> Certificate {
        self.sign(Certificate {
            authority: self.id(),
            serial,
            node,
            node_type: NodeType::Sclerotia,
            roles: Roles::NONE,
            not_before: valid.start,
            not_after: valid.end,
            signature: [0; 64],
        })
    }

    /// Any certificate, as one of this authority.
    ///
    /// # Panics
    /// Never: the key is the authority's own.
    pub fn sign(&self, certificate: Certificate) -> Certificate {
        sign_certificate(&self.identity, NetworkTag::of("lab"), certificate).expect("the key is its own")
    }

    /// A list of revoked serials, of the beginning of the run.
    ///
    /// # Panics
    /// If the serials do not rise, or the list would be stale from its start.
    pub fn list(&self, version: u64, serials: &[u64], next_update: UnixTime) -> Vec<u8> {
        let header = ListHeader { authority: self.id(), version, issued_at: at(Duration::ZERO), next_update };
        let mut bytes = vec![0; RevocationList::len_with(serials.len())];
        sign_revocations(&self.identity, NetworkTag::of("lab"), header, serials, &mut bytes)
            .expect("a list that can be signed");
        bytes
    }
}

/// What a node shows of itself, and goes by.
#[derive(Clone)]
pub struct Papers {
    /// What it calls itself.
    pub node_type: NodeType,
    /// What it shows to every peer.
    pub certificate: Option<Certificate>,
    /// Whose certificates count, and the newest list of each.
    pub authorities: Authorities<Vec<u8>>,
    /// What its wall clock shows when the virtual clock shows zero.
    pub wall: Wall,
}

impl Default for Papers {
    /// A node that knows no authority, nor what time it is.
    fn default() -> Self {
        Self {
            node_type: NodeType::Sclerotia,
            certificate: None,
            authorities: Authorities::new(Policy::default(), UnixTime::from_micros(0)),
            wall: Wall { time: UnixTime::from_micros(1), quality: TimeQuality::Unsynced },
        }
    }
}

impl Papers {
    /// A node that takes the certificates of one authority by a clock that goes right.
    ///
    /// # Panics
    /// Never: an authority's id is that of a key.
    pub fn of(authority: &Authority, policy: Policy) -> Self {
        let mut authorities = Authorities::new(policy, UnixTime::from_micros(0));
        authorities.add(authority.id()).expect("it is an authority, and the first");
        let wall = Wall { time: at(Duration::ZERO), quality: TimeQuality::Synced };
        Self { authorities, wall, ..Self::default() }
    }

    /// The node's wall clock.
    pub fn wall(&self, now: Instant) -> Wall {
        let micros = self.wall.time.as_micros() + now.as_micros();
        Wall { time: UnixTime::from_micros(micros), ..self.wall }
    }

    /// What the node proves itself with.
    pub fn credentials<'c>(&'c self, identity: &'c Identity) -> Credentials<'c> {
        Credentials { identity, certificate: self.certificate.as_ref() }
    }

    /// What the certificate of somebody who offers himself is worth by its signature; nothing, where nobody asks for one.
    pub fn credential(&self, offer: &Offer) -> Result<Credential, Reason> {
        if self.authorities.iter().len() == 0 {
            return NO_CERTIFICATE;
        }
        offer.credential(NetworkTag::of("lab"))
    }

    /// Whether it is admitted now.
    ///
    /// # Errors
    /// What the policy has against it.
    pub fn admits(&self, now: Instant, credential: Result<Credential, Reason>) -> Result<Credential, Reason> {
        let credential = credential?;
        self.authorities.admits(&credential, self.wall(now))?;
        Ok(credential)
    }

    /// Whether who was admitted may stay, and until when.
    ///
    /// # Errors
    /// What the policy has against it.
    pub fn confirms(&self, now: Instant, credential: &Credential) -> Result<Option<Instant>, Reason> {
        self.authorities.confirms(credential, self.wall(now))?;
        Ok(self.authorities.expires_at(credential, now, self.wall(now)))
    }

    /// Takes a list that is new and verifies.
    ///
    /// # Errors
    /// Why it was not taken; [`Unheard::Forged`] is for the peer to answer for.
    pub fn take_list(&mut self, bytes: &[u8]) -> Result<(), Unheard> {
        let list = RevocationList::decode(bytes).map_err(Unheard::Forged)?;
        self.authorities.is_news(&list).map_err(Unheard::NoNews)?;
        let list = Revocations::verify(bytes.to_vec(), NetworkTag::of("lab")).map_err(Unheard::Forged)?;
        self.authorities.adopt(list).map_err(Unheard::NoNews)
    }

    /// The newest lists.
    pub fn lists(&self) -> Vec<Vec<u8>> {
        self.authorities.iter().filter_map(|(_, list)| Some(list?.bytes().clone())).collect()
    }

    /// The versions of the newest lists.
    pub fn versions(&self) -> Vec<u64> {
        self.authorities.iter().filter_map(|(_, list)| Some(list?.header().version)).collect()
    }
}

/// Why a list was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unheard {
    /// It is of another authority, or not newer.
    NoNews(Reason),
    /// Nobody passes on what does not verify.
    Forged(Reason),
}

/// The wall time when the virtual clock, which begins at zero, shows this.
pub fn at(since_start: Duration) -> UnixTime {
    let micros = u64::try_from(since_start.as_micros()).expect("a short time");
    UnixTime::from_micros(START + micros)
}

/// The wall time at the beginning of a run.
const START: u64 = 1_800_000_000_000_000;
