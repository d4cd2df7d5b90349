//! Settings that one node gives another, and what became of them. Never compressed, as there may be secrets among them.
//!
//! Who may set what is the receiver's matter. Order is by version, not by arrival: a receiver keeps the highest version of
//! each key, so that updates may come twice and in any order.

use super::{FamilySheet, Octets, Text, body::message, field::choice};
use crate::wire::family::Family;

/// The family in the registry.
pub(super) const SHEET: FamilySheet = FamilySheet {
    family: Family::Configuration,
    doc: "Settings that one node gives another, and what became of them. Order is by version, not by arrival. Never \
          compressed, as there may be secrets among them.",
    messages: &[ConfigurationUpdate::SHEET, ConfigurationResult::SHEET],
};

message! {
    /// A key has another value.
    #[kind = 0x0300, version = 1]
    pub struct ConfigurationUpdate<'a> {
        /// Which setting.
        #[serde(borrow)]
        pub key: Text<'a, 128>,
        /// Rises with each update of the key; a receiver that has this one or a later one changes nothing.
        pub version: u64,
        /// What it is set to, in the setting's own form; absent if it goes back to its default.
        #[serde(borrow)]
        pub value: Option<Octets<'a, 4096>>,
    }
}

message! {
    /// What became of an update, told to whoever sent it.
    #[kind = 0x0301, version = 1]
    pub struct ConfigurationResult<'a> {
        /// Which setting.
        #[serde(borrow)]
        pub key: Text<'a, 128>,
        /// The version of the update.
        pub version: u64,
        /// What became of it.
        pub verdict: Verdict,
        /// Why, for people to read; empty if there is nothing to say.
        #[serde(borrow)]
        pub detail: Text<'a, 256>,
    }
}

choice! {
    /// What became of an update.
    pub enum Verdict {
        /// It holds.
        Applied,
        /// It holds from the next start on.
        Deferred,
        /// The receiver had this version or a later one.
        Outdated,
        /// The receiver has no such setting.
        UnknownKey,
        /// The value is none that the setting can have.
        BadValue,
        /// The sender may not set it.
        Forbidden,
    }
}
