//! Whom a node trusts, as a user says it and as a running node holds it; certificates and revocation lists in files.
//!
//! [`TrustSettings`] name a policy and files; a node reads them at its start, and again when it is told to
//! ([`Node::set_trust`](crate::Node::set_trust)). What is read is checked as a whole before anything of it counts.

mod arriving;
mod file;
mod lists;
mod warning;

use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;
use hyphal_core::identity::Identity;
use hyphal_core::ids::{NodeId, NodeType};
use hyphal_core::node::Trust;
use hyphal_core::session::Credentials;
use hyphal_core::time::{Instant, UnixTime, Wall};
use hyphal_core::wire::hello::NetworkTag;
use hyphal_core::wire::reason::Reason;

use crate::config::{self, TrustPolicy};

pub use file::{
    Existing, FileError, node_type_name, read_certificate, read_revocations, revocations_path, shown_time,
    write_certificate, write_revocations,
};
pub use hyphal_core::ids::Roles;
pub use hyphal_core::trust::{
    Authorities, AuthorityError, Credential, Policy, Revocations, Stale, sign_certificate, sign_revocations,
};
pub use hyphal_core::wire::certificate::Certificate;
pub use hyphal_core::wire::hello::NetworkTag as Network;
pub use hyphal_core::wire::revocation::{ListHeader, RevocationList};
pub use warning::TrustWarning;

pub(crate) use arriving::{Arriving, Refused};
pub(crate) use lists::persist;

/// Whom a node admits, and what it shows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrustSettings {
    /// Who is admitted.
    pub policy: Trust,
    /// The authorities whose certificates count; at least one under [`Trust::Certified`].
    pub authorities: Vec<NodeId>,
    /// Roles that a peer's certificate must have, all of them.
    pub roles: Roles,
    /// What an old or missing revocation list means.
    pub stale: Stale,
    /// File of this node's own certificate, which it shows to every peer under any policy.
    pub certificate: Option<PathBuf>,
    /// Directory in which the newest revocation list of each authority is kept. Without one lists are forgotten at the end.
    pub revocations: Option<PathBuf>,
}

impl TrustSettings {
    /// Settings of this policy, with nothing else said.
    pub fn new(policy: Trust) -> Self {
        Self { policy, ..Self::default() }
    }

    /// Reads the files and checks all.
    ///
    /// # Errors
    /// See [`TrustError`].
    pub fn load(&self, node: &Subject) -> Result<TrustState, TrustError> {
        if self.policy == Trust::Certified && self.authorities.is_empty() {
            return Err(TrustError::NoAuthority);
        }
        let mut authorities = Authorities::new(Policy { roles: self.roles, stale: self.stale }, RELEASED);
        for id in &self.authorities {
            authorities.add(*id).map_err(|error| TrustError::Authority { id: *id, error })?;
        }
        let certificate = match &self.certificate {
            Some(path) => Some(self.own_certificate(path.clone(), node)?),
            None => None,
        };
        if let Some(directory) = &self.revocations {
            lists::load(directory, node.network, &mut authorities)?;
        }
        Ok(TrustState { settings: self.clone(), authorities, certificate })
    }

    fn own_certificate(&self, path: PathBuf, node: &Subject) -> Result<Own, TrustError> {
        let certificate = read_certificate(&path).map_err(TrustError::File)?;
        match Credential::verify(&certificate, node.network, &node.id, node.node_type) {
            Ok(credential) => Ok(Own { certificate, credential }),
            Err(_) if certificate.node != node.id => {
                Err(TrustError::OtherNode { path, node: certificate.node })
            }
            Err(Reason::WrongRole) => Err(TrustError::OtherType { path, node_type: certificate.node_type }),
            Err(_) => Err(TrustError::BadCertificate { path }),
        }
    }
}

impl From<Trust> for TrustSettings {
    fn from(policy: Trust) -> Self {
        Self::new(policy)
    }
}

impl From<&config::Trust> for TrustSettings {
    fn from(config: &config::Trust) -> Self {
        Self {
            policy: match config.policy {
                TrustPolicy::Open => Trust::Open,
                TrustPolicy::Pinned => Trust::Pinned,
                TrustPolicy::Certified => Trust::Certified,
            },
            authorities: config.authorities.clone(),
            roles: config.roles.iter().fold(Roles::NONE, |all, role| all.with(*role)),
            stale: config.stale_list,
            certificate: config.certificate.clone(),
            revocations: config.revocations.clone(),
        }
    }
}

/// Whom settings are for.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// The node.
    pub id: NodeId,
    /// What it is.
    pub node_type: NodeType,
    /// Its network.
    pub network: NetworkTag,
}

/// What was read and checked: the whole of a node's trust at one moment.
#[derive(Clone, Debug)]
pub struct TrustState {
    pub(crate) settings: TrustSettings,
    pub(crate) authorities: Authorities<Bytes>,
    pub(crate) certificate: Option<Own>,
}

/// A node's own certificate, which has verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own {
    certificate: Certificate,
    credential: Credential,
}

impl TrustState {
    /// Whether this says the same as `other`, but for the policy.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let settings = TrustSettings { policy: other.settings.policy, ..self.settings.clone() };
        let versions = |state: &Self| -> Vec<_> {
            state.authorities.iter().map(|(_, list)| list.map(|list| list.header().version)).collect()
        };
        settings == other.settings
            && self.certificate.map(|own| own.certificate) == other.certificate.map(|own| own.certificate)
            && versions(self) == versions(other)
    }

    /// How many lists there are here of which `other`, the state before, has none or an older one.
    pub(crate) fn newer_lists_than(&self, other: &Self) -> u64 {
        let lists = self.authorities.iter().filter_map(|(_, list)| list);
        let is_news = |list: &&Revocations<Bytes>| {
            let known = other.authorities.iter().find(|(id, _)| *id == list.header().authority);
            let known = known.and_then(|(_, list)| list);
            known.is_none_or(|known| known.header().version < list.header().version)
        };
        lists.filter(is_news).count() as u64
    }

    /// The policy.
    pub fn policy(&self) -> Trust {
        self.settings.policy
    }

    /// The authorities with their lists.
    pub fn authorities(&self) -> &Authorities<Bytes> {
        &self.authorities
    }

    /// What the node's own certificate says.
    pub fn own(&self) -> Option<&Credential> {
        self.certificate.as_ref().map(|own| &own.credential)
    }

    /// Whether a peer with this certificate is admitted; under another policy than that of certificates all are.
    pub(crate) fn admits(
        &self,
        credential: Result<Credential, Reason>,
        wall: Wall,
    ) -> Result<Credential, Reason> {
        match self.policy() {
            Trust::Certified => credential.and_then(|credential| {
                self.authorities.admits(&credential, wall)?;
                Ok(credential)
            }),
            Trust::Open | Trust::Pinned => credential,
        }
    }

    /// When this certificate expires by the clocks as they are.
    pub(crate) fn expires_at(
        &self,
        credential: &Result<Credential, Reason>,
        now: Instant,
        wall: Wall,
    ) -> Option<Instant> {
        self.authorities.expires_at(credential.as_ref().ok()?, now, wall)
    }

    /// What the node proves itself with.
    pub(crate) fn credentials<'c>(&'c self, identity: &'c Identity) -> Credentials<'c> {
        Credentials { identity, certificate: self.certificate.as_ref().map(|own| &own.certificate) }
    }
}

/// A time that has certainly passed: 2026-11-01. What a node without a clock begins with.
const RELEASED: UnixTime = UnixTime::from_micros(1_793_491_200_000_000);

/// Why settings were not taken.
#[derive(Debug)]
#[non_exhaustive]
pub enum TrustError {
    /// Certificates are asked for, and no authority is named.
    NoAuthority,
    /// An authority cannot be taken.
    Authority {
        /// Which one.
        id: NodeId,
        /// Why.
        error: AuthorityError,
    },
    /// A file or directory cannot be read.
    File(FileError),
    /// The node's certificate is for another node.
    OtherNode {
        /// The file.
        path: PathBuf,
        /// Whom it is for.
        node: NodeId,
    },
    /// The node's certificate is for another type of node.
    OtherType {
        /// The file.
        path: PathBuf,
        /// Which type it is for.
        node_type: NodeType,
    },
    /// The signature of the node's certificate does not verify in this network.
    BadCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A kept list is of another authority than its file says, or its signature does not verify in this network.
    BadList {
        /// The file.
        path: PathBuf,
    },
    /// The node has been shut down.
    Closed,
}

impl TrustError {
    /// What a person does about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoAuthority => {
                "set trust.authorities to the id of the network's authority; hyphal ca list prints it"
                    .to_owned()
            }
            Self::Authority { .. } => "correct trust.authorities".to_owned(),
            Self::File(FileError::Missing { noun: "certificate", .. }) => {
                "ask the authority for one: hyphal ca issue".to_owned()
            }
            Self::File(FileError::Missing { path, .. }) => format!("run: mkdir -p {}", path.display()),
            Self::File(error) => match error {
                FileError::Damaged { .. } => "copy it again from the authority's directory".to_owned(),
                _ => "check that you may use it".to_owned(),
            },
            Self::OtherNode { .. } => "use the certificate that was issued for this node's id".to_owned(),
            Self::OtherType { node_type, .. } => {
                format!(
                    "set node_type = \"{}\", or have another certificate issued",
                    node_type_name(*node_type)
                )
            }
            Self::BadCertificate { .. } => {
                "check network: a certificate holds in one network only; else copy it again".to_owned()
            }
            Self::BadList { .. } => {
                "check network, or remove the file and copy the authority's list there".to_owned()
            }
            Self::Closed => String::new(),
        }
    }
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAuthority => f.write_str("the policy asks for certificates, but no authority is named"),
            Self::Authority { id, error } => write!(f, "{id} cannot be an authority: {error}"),
            Self::File(error) => error.fmt(f),
            Self::OtherNode { path, node } => {
                write!(f, "the certificate {} is for node {node}", path.display())
            }
            Self::OtherType { path, node_type } => {
                write!(
                    f,
                    "the certificate {} is for a node of type {}",
                    path.display(),
                    node_type_name(*node_type)
                )
            }
            Self::BadCertificate { path } => {
                write!(
                    f,
                    "the signature of the certificate {} does not verify in this network",
                    path.display()
                )
            }
            Self::BadList { path } => {
                write!(
                    f,
                    "the revocation list {} does not verify for its authority in this network",
                    path.display()
                )
            }
            Self::Closed => f.write_str("the node has been shut down"),
        }
    }
}

impl std::error::Error for TrustError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            Self::Authority { error, .. } => Some(error),
            _ => None,
        }
    }
}
