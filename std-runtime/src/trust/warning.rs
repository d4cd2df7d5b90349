//! What is amiss with a node's trust and does not keep it from running: for its log, and with a remedy for `hyphal doctor`.

use std::fmt;
use std::time::Duration;

use hyphal_core::ids::NodeId;
use hyphal_core::node::Trust;
use hyphal_core::time::{UnixTime, Wall};
use hyphal_core::trust::Stale;

use super::{TrustState, shown_time};

/// Something that a person should look after, before peers refuse this node or it refuses them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustWarning {
    /// Certificates are asked for, and the node has none itself.
    NoCertificate,
    /// Certificates are asked for, and lists that come are not kept.
    NoDirectory,
    /// A list revokes the node's own certificate.
    Revoked {
        /// The certificate.
        serial: u64,
    },
    /// The node's own certificate has expired.
    Expired {
        /// The certificate.
        serial: u64,
        /// When it did.
        at: UnixTime,
    },
    /// The node's own certificate expires within a week.
    ExpiresSoon {
        /// The certificate.
        serial: u64,
        /// When it will.
        at: UnixTime,
    },
    /// There is no list of an authority.
    NoList {
        /// Whose.
        authority: NodeId,
        /// Whether its certificates are refused until there is one.
        refuses: bool,
    },
    /// A newer list of an authority is due.
    StaleList {
        /// Whose.
        authority: NodeId,
        /// Since when.
        due_at: UnixTime,
        /// Whether its certificates are refused until there is one.
        refuses: bool,
    },
}

impl TrustState {
    /// What is amiss and does not keep the node from running.
    pub fn warnings(&self, wall: Wall) -> Vec<TrustWarning> {
        let mut warnings = Vec::new();
        let asks = self.policy() == Trust::Certified;
        if asks && self.settings.certificate.is_none() {
            warnings.push(TrustWarning::NoCertificate);
        }
        if asks && self.settings.revocations.is_none() {
            warnings.push(TrustWarning::NoDirectory);
        }
        warnings.extend(self.warning_of_own(wall));
        let refuses = self.settings.stale == Stale::Strict;
        for (authority, list) in self.authorities.iter().filter(|_| asks) {
            match list {
                None => warnings.push(TrustWarning::NoList { authority, refuses }),
                Some(list) if self.authorities.is_stale(authority, wall) => {
                    let due_at = list.header().next_update;
                    warnings.push(TrustWarning::StaleList { authority, due_at, refuses });
                }
                Some(_) => {}
            }
        }
        warnings
    }

    fn warning_of_own(&self, wall: Wall) -> Option<TrustWarning> {
        let own = self.own()?;
        let (serial, at) = (own.serial(), own.not_after());
        let present = self.authorities.present(wall).earliest();
        let mut lists = self.authorities.iter().filter(|(id, _)| *id == own.authority());
        if lists.any(|(_, list)| list.is_some_and(|list| list.contains(serial))) {
            return Some(TrustWarning::Revoked { serial });
        }
        if present >= at {
            return Some(TrustWarning::Expired { serial, at });
        }
        (at.since(present) < RENEW_BEFORE).then_some(TrustWarning::ExpiresSoon { serial, at })
    }
}

impl TrustWarning {
    /// What a person does about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoCertificate => {
                "have one issued for this node's id (hyphal ca issue ID, where the authority is) and name its file in trust.certificate"
                    .to_owned()
            }
            Self::NoDirectory => {
                "set trust.revocations to a directory where the node may write".to_owned()
            }
            Self::Revoked { serial } => format!(
                "ask who has the authority why; if the node is to be let in again, have a new one issued (hyphal ca issue ID) and put it in the place of {serial}"
            ),
            Self::Expired { serial, .. } => format!(
                "renew it where the authority is, hyphal ca renew {serial}, and put the new one in its place; or a clock is wrong"
            ),
            Self::ExpiresSoon { serial, .. } => format!(
                "renew it where the authority is, hyphal ca renew {serial}, and put the new one in its place before then"
            ),
            Self::NoList { authority, .. } => format!(
                "copy {authority}.revocations from the authority's directory to that of trust.revocations"
            ),
            Self::StaleList { authority, .. } => format!(
                "sign a newer one where the authority is, hyphal ca revoke --refresh, and copy {authority}.revocations to trust.revocations of one node"
            ),
        }
    }
}

impl fmt::Display for TrustWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refused = |refuses: bool| match refuses {
            true => "; its certificates are not admitted until a newer one comes",
            false => "",
        };
        match self {
            Self::NoCertificate => {
                f.write_str("the node has no certificate of its own: peers that ask for one will refuse it")
            }
            Self::NoDirectory => {
                f.write_str("no directory for revocation lists is set: they are forgotten when the node ends")
            }
            Self::Revoked { serial } => write!(f, "this node's certificate {serial} has been revoked"),
            Self::Expired { at, .. } => {
                write!(f, "this node's certificate expired at {}: renew it", shown_time(*at))
            }
            Self::ExpiresSoon { at, .. } => {
                write!(f, "this node's certificate expires at {}: renew it soon", shown_time(*at))
            }
            Self::NoList { authority, refuses } => {
                write!(f, "there is no revocation list of authority {authority}{}", refused(*refuses))
            }
            Self::StaleList { authority, due_at, refuses } => write!(
                f,
                "the revocation list of authority {authority} was due for an update at {}{}",
                shown_time(*due_at),
                refused(*refuses)
            ),
        }
    }
}

/// How long before its end a certificate should be renewed.
const RENEW_BEFORE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
