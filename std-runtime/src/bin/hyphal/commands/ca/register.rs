//! What an authority remembers: every certificate that it has issued, which are revoked, and how far its lists have come.
//!
//! Values only, no clock and no files. A revoked serial stays here for good; whether a list needs it is decided anew for each
//! list, so that one that was signed by a wrong clock leaves nothing out of the next.

use std::time::Duration;

use hyphal::trust::{RevocationList, Roles, shown_time};
use hyphal::{NodeId, NodeType, UnixTime};
use serde::{Deserialize, Serialize};

/// The register of one authority.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Register {
    /// Of this file's form.
    pub(super) version: u8,
    /// The id, so that a register that lies beside another key is noticed.
    pub(super) authority: String,
    pub(super) network: String,
    /// When something was last issued or signed, microseconds since 1970: what the clock is held against.
    pub(super) changed_at: u64,
    pub(super) next_serial: u64,
    /// Of the current list.
    pub(super) list_version: u64,
    /// When the current list is due for an update, microseconds since 1970.
    pub(super) next_update: u64,
    pub(super) certificates: Vec<Entry>,
    /// Revoked certificates that were issued when this register was elsewhere: of them there is only the serial, so every list
    /// has it.
    pub(super) unregistered: Vec<u64>,
}

/// One certificate in the register. Times are microseconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) serial: u64,
    pub(super) node: String,
    pub(super) node_type: Type,
    pub(super) roles: u32,
    pub(super) not_before: u64,
    pub(super) not_after: u64,
    pub(super) revoked_at: Option<u64>,
}

/// A type of node as a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Type {
    Sclerotia,
    Rhizomorph,
    Hyphae,
}

/// How a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Valid,
    Expired,
    Revoked,
}

impl Register {
    pub(super) const VERSION: u8 = 1;

    /// The register of an authority that has issued and signed nothing yet.
    pub(super) fn new(authority: &NodeId, network: &str) -> Self {
        Self {
            version: Self::VERSION,
            authority: authority.to_string(),
            network: network.to_owned(),
            changed_at: 0,
            next_serial: 1,
            list_version: 0,
            next_update: 0,
            certificates: Vec::new(),
            unregistered: Vec::new(),
        }
    }

    /// Why the clock cannot be right, if so: it shows a time before the last change, or much later than an authority
    /// stays idle.
    pub(super) fn clock_doubt(&self, now: UnixTime) -> Option<String> {
        let changed_at = UnixTime::from_micros(self.changed_at);
        let shown = shown_time(now);
        let last = shown_time(changed_at);
        if changed_at.since(now) > STEPPED_BACK {
            return Some(format!(
                "the clock shows {shown}, and the authority last worked at {last}: it is behind, or was ahead then"
            ));
        }
        (now.since(changed_at) > LONGEST_IDLE).then(|| {
            format!(
                "the clock shows {shown}, more than a year after the authority last worked, at {last}: it may be ahead"
            )
        })
    }

    pub(super) fn entry(&self, serial: u64) -> Option<&Entry> {
        self.certificates.iter().find(|entry| entry.serial == serial)
    }

    /// Whether a certificate with this serial was issued, or may have been while this register was elsewhere.
    pub(super) fn may_have_issued(&self, serial: u64) -> bool {
        (1..self.next_serial).contains(&serial)
    }

    /// Revokes a certificate; says whether that is news.
    pub(super) fn revoke(&mut self, serial: u64, at: UnixTime) -> bool {
        if let Some(entry) = self.certificates.iter_mut().find(|entry| entry.serial == serial) {
            let is_news = entry.revoked_at.is_none();
            entry.revoked_at.get_or_insert(at.as_micros());
            return is_news;
        }
        match self.unregistered.binary_search(&serial) {
            Ok(_) => false,
            Err(place) => {
                self.unregistered.insert(place, serial);
                true
            }
        }
    }

    /// Takes up a list of the same authority, verified: goes on above its version, revokes what it revokes, and gives no serial
    /// that may have been given. Gives the serials that were revoked there only.
    pub(super) fn take_up(&mut self, list: &RevocationList<'_>) -> Vec<u64> {
        let header = list.header();
        self.list_version = self.list_version.max(header.version);
        self.changed_at = self.changed_at.max(header.issued_at.as_micros());
        let last = list.serials().last().unwrap_or(0).max(self.next_serial.saturating_sub(1));
        self.next_serial = last.saturating_add(SERIALS_ELSEWHERE).max(self.next_serial);
        list.serials().filter(|serial| self.revoke(*serial, header.issued_at)).collect()
    }

    /// The serials, rising, of a list that is signed at this time: of all revoked certificates that would hold otherwise.
    pub(super) fn listed(&self, now: UnixTime) -> Vec<u64> {
        let is_needed = |entry: &&Entry| entry.revoked_at.is_some() && entry.not_after > now.as_micros();
        let known = self.certificates.iter().filter(is_needed).map(|entry| entry.serial);
        let mut serials: Vec<u64> = known.chain(self.unregistered.iter().copied()).collect();
        serials.sort_unstable();
        serials.dedup();
        serials
    }
}

impl Entry {
    pub(super) fn state(&self, now: UnixTime) -> State {
        match self.revoked_at {
            Some(_) => State::Revoked,
            None if self.not_after <= now.as_micros() => State::Expired,
            None => State::Valid,
        }
    }

    pub(super) fn roles(&self) -> Roles {
        Roles::from_bits(self.roles)
    }
}

impl From<Type> for NodeType {
    fn from(node_type: Type) -> Self {
        match node_type {
            Type::Sclerotia => Self::Sclerotia,
            Type::Rhizomorph => Self::Rhizomorph,
            Type::Hyphae => Self::Hyphae,
        }
    }
}

/// Serials that are left out when a list is taken up: more than an authority issues between two copies of its directory.
const SERIALS_ELSEWHERE: u64 = 10_000;
/// What a clock may be set back by time synchronisation without a word.
const STEPPED_BACK: Duration = Duration::from_secs(5 * 60);
/// A list is due for an update every few weeks, so an authority that lives is at work far more often.
const LONGEST_IDLE: Duration = Duration::from_secs(366 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_that_a_list_of_a_wrong_clock_left_out_is_in_the_next_one() {
        let mut register = with_certificates(2);
        register.revoke(1, UnixTime::from_micros(10));

        let far_ahead = register.listed(UnixTime::from_micros(EXPIRY + 1));
        let right = register.listed(UnixTime::from_micros(20));

        assert_eq!((far_ahead, right), (vec![], vec![1]));
    }

    #[test]
    fn a_serial_without_a_certificate_is_in_every_list_and_once() {
        let mut register = with_certificates(1);

        let news =
            [register.revoke(7, UnixTime::from_micros(1)), register.revoke(7, UnixTime::from_micros(1))];

        assert_eq!(news, [true, false]);
        assert_eq!(register.listed(UnixTime::from_micros(EXPIRY + 1)), [7]);
    }

    fn with_certificates(count: u64) -> Register {
        let mut register = Register::new(&NodeId::from_bytes([1; 32]), "garden");
        register.next_serial = count + 1;
        register.certificates.extend((1..=count).map(|serial| Entry {
            serial,
            node: NodeId::from_bytes([2; 32]).to_string(),
            node_type: Type::Hyphae,
            roles: 0,
            not_before: 0,
            not_after: EXPIRY,
            revoked_at: None,
        }));
        register
    }

    const EXPIRY: u64 = 1000;
}
