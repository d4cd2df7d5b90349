//! Who is admitted by certificate: a pure function of the time, the certificate, the revocation list and the policy.
//!
//! ```text
//!   bytes of a hello ─▶ Certificate ── verify: signature, id, node type ──▶ Credential ─┐
//!   bytes of a list  ─▶ RevocationList ─ verify: signature ─▶ Revocations ─ adopt: newer ┼▶ Authorities::admits
//!   clock ─▶ Wall ─▶ Present ────────────────────────────────────────────────────────────┘
//! ```
//!
//! No clock, no files, no sessions: the caller reads the clock, keeps the newest lists where they survive, and asks again
//! when the time, a list or the policy has changed. Invariant: of an authority only a newer list ever takes a list's place.

mod credential;
mod revocations;

use heapless::Vec;

use crate::identity;
use crate::ids::{NodeId, Roles};
use crate::time::{Instant, TimeQuality, UnixTime, Wall};
use crate::wire::reason::Reason;
use crate::wire::revocation::RevocationList;

pub use credential::{Credential, sign_certificate};
pub use revocations::{Revocations, sign_revocations};

/// What a node asks of certificates, beside that they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Roles that a certificate must have, all of them.
    pub roles: Roles,
    /// What an old revocation list means.
    pub stale: Stale,
}

/// What it means that a newer revocation list of an authority is due, or that there is none at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stale {
    /// Certificates of the authority are admitted by the list that there is; the user should be warned.
    #[default]
    Warn,
    /// Certificates of the authority are not admitted. Sessions that are up stay: a new list can come over them.
    Strict,
}

/// What is known of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// It is this, by the clock.
    At(UnixTime),
    /// There is no clock, but it is not earlier than this.
    NotBefore(UnixTime),
}

impl Present {
    /// The time, or the earliest that it can be.
    pub const fn earliest(self) -> UnixTime {
        match self {
            Self::At(time) | Self::NotBefore(time) => time,
        }
    }
}

/// The authorities whose certificates a node takes, with the newest revocation list of each in storage `B`.
#[derive(Clone, Debug)]
pub struct Authorities<B> {
    policy: Policy,
    not_earlier: UnixTime,
    known: Vec<Authority<B>, MAX_AUTHORITIES>,
}

#[derive(Clone, Debug)]
struct Authority<B> {
    id: NodeId,
    list: Option<Revocations<B>>,
}

/// Authorities that a node can have.
pub const MAX_AUTHORITIES: usize = 8;

/// Why an authority was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorityError {
    /// No key pair can have this id.
    Invalid,
    /// It is there already.
    Twice,
    /// There are [`MAX_AUTHORITIES`] already.
    Full,
}

impl core::fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Invalid => f.write_str("it is not the id of a key pair"),
            Self::Twice => f.write_str("it is named twice"),
            Self::Full => write!(f, "a node has at most {MAX_AUTHORITIES} authorities"),
        }
    }
}

impl core::error::Error for AuthorityError {}

impl<B: AsRef<[u8]>> Authorities<B> {
    /// No authority yet. `not_earlier` is a time that has certainly passed, as that of the build: what a node without a clock
    /// goes by, until it has newer lists.
    pub const fn new(policy: Policy, not_earlier: UnixTime) -> Self {
        Self { policy, not_earlier, known: Vec::new() }
    }

    /// Trusts this authority.
    ///
    /// # Errors
    /// See [`AuthorityError`]; then nothing has changed.
    pub fn add(&mut self, id: NodeId) -> Result<(), AuthorityError> {
        if identity::static_of_id(&id).is_err() {
            return Err(AuthorityError::Invalid);
        }
        if self.find(&id).is_some() {
            return Err(AuthorityError::Twice);
        }
        self.known.push(Authority { id, list: None }).map_err(|_| AuthorityError::Full)
    }

    /// The authorities, in the order in which they were added, with their lists.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (NodeId, Option<&Revocations<B>>)> {
        self.known.iter().map(|authority| (authority.id, authority.list.as_ref()))
    }

    /// What is asked of certificates.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What these authorities and a clock tell of the time.
    ///
    /// A synchronised clock is taken at its word. One that runs free, as after a power loss, cannot be earlier than what has
    /// certainly passed: the newest list's issue. Without a clock that is all there is.
    pub fn present(&self, wall: Wall) -> Present {
        let issued =
            self.known.iter().filter_map(|authority| Some(authority.list.as_ref()?.header().issued_at));
        let earliest = issued.fold(self.not_earlier, UnixTime::max);
        match wall.quality {
            TimeQuality::Synced => Present::At(wall.time),
            TimeQuality::Unsynced => Present::At(wall.time.max(earliest)),
            TimeQuality::None => Present::NotBefore(earliest),
        }
    }

    /// Whether a node with this credential is admitted at this time.
    ///
    /// # Errors
    /// In this order: [`Reason::Untrusted`] for a foreign authority, [`Reason::CertificateNotYetValid`] (never without a
    /// clock), [`Reason::CertificateExpired`], [`Reason::Revoked`], [`Reason::WrongRole`], [`Reason::StaleList`].
    pub fn admits(&self, credential: &Credential, wall: Wall) -> Result<(), Reason> {
        self.confirms(credential, wall)?;
        match self.policy.stale {
            Stale::Strict if self.is_stale(credential.authority(), wall) => Err(Reason::StaleList),
            Stale::Strict | Stale::Warn => Ok(()),
        }
    }

    /// Whether a node that was admitted may stay: as [`admits`](Self::admits), but an old list ends no session, since a newer
    /// one can only come over sessions.
    ///
    /// # Errors
    /// Those of [`admits`](Self::admits), without the last.
    pub fn confirms(&self, credential: &Credential, wall: Wall) -> Result<(), Reason> {
        let authority = self.find(&credential.authority()).ok_or(Reason::Untrusted)?;
        let present = self.present(wall);
        if let Present::At(now) = present
            && now < credential.not_before()
        {
            return Err(Reason::CertificateNotYetValid);
        }
        if present.earliest() >= credential.not_after() {
            return Err(Reason::CertificateExpired);
        }
        if authority.list.as_ref().is_some_and(|list| list.contains(credential.serial())) {
            return Err(Reason::Revoked);
        }
        if !credential.roles().contain(self.policy.roles) {
            return Err(Reason::WrongRole);
        }
        Ok(())
    }

    /// When the credential expires by this reading of the clocks; never without a wall clock.
    pub fn expires_at(&self, credential: &Credential, now: Instant, wall: Wall) -> Option<Instant> {
        match self.present(wall) {
            Present::At(present) => Some(now.after(credential.not_after().since(present))),
            Present::NotBefore(_) => None,
        }
    }

    /// Whether a newer list of this authority is due, or there is none.
    pub fn is_stale(&self, authority: NodeId, wall: Wall) -> bool {
        let list = self.find(&authority).and_then(|authority| authority.list.as_ref());
        list.is_none_or(|list| self.present(wall).earliest() >= list.header().next_update)
    }

    /// Whether a list would be news: of an authority of this node, and newer than what is here. Costs no signature; ask
    /// before [`Revocations::verify`].
    ///
    /// # Errors
    /// [`Reason::Untrusted`] for another authority, [`Reason::Duplicate`] if the list is not newer.
    pub fn is_news(&self, list: &RevocationList<'_>) -> Result<(), Reason> {
        let authority = self.find(&list.header().authority).ok_or(Reason::Untrusted)?;
        match &authority.list {
            Some(known) if known.header().version >= list.header().version => Err(Reason::Duplicate),
            _ => Ok(()),
        }
    }

    /// Takes a verified list in the place of an older one. The caller then asks again about every session.
    ///
    /// # Errors
    /// Those of [`is_news`](Self::is_news); then nothing has changed.
    pub fn adopt(&mut self, list: Revocations<B>) -> Result<(), Reason> {
        self.is_news(&list.list())?;
        let id = list.header().authority;
        let place = self.known.iter_mut().find(|authority| authority.id == id).ok_or(Reason::Untrusted)?;
        place.list = Some(list);
        Ok(())
    }

    fn find(&self, id: &NodeId) -> Option<&Authority<B>> {
        self.known.iter().find(|authority| authority.id == *id)
    }
}

impl<B: AsRef<[u8]> + Clone> Authorities<B> {
    /// Takes over the newer lists of those authorities that are also here: for a policy that takes another one's place.
    pub fn inherit(&mut self, before: &Self) {
        for list in before.known.iter().filter_map(|authority| authority.list.clone()) {
            // What is not newer or of no authority any more is not wanted.
            let _ = self.adopt(list);
        }
    }
}

#[cfg(test)]
mod tests;
