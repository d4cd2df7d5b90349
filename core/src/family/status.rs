//! What a node is doing as a whole, told when it changes.

use super::{FamilySheet, Text, body::message, field::choice};
use crate::wire::family::Family;

/// The family in the registry.
pub(super) const SHEET: FamilySheet = FamilySheet {
    family: Family::Status,
    doc: "What a node is doing as a whole, told when it changes.",
    messages: &[StatusUpdate::SHEET],
};

message! {
    /// The sender's status is another, or is told again to those who came later.
    #[kind = 0x0200, version = 1]
    pub struct StatusUpdate<'a> {
        /// What the node is doing.
        pub status: Status,
        /// When that began, in microseconds since 1970; absent if the node has no clock.
        pub since: Option<u64>,
        /// With how many peers it has sessions.
        pub sessions: u32,
        /// What the node runs, as `hyphal 0.1.0`.
        #[serde(borrow)]
        pub software: Text<'a, 64>,
        /// More for people to read; empty if there is no more.
        #[serde(borrow)]
        pub detail: Text<'a, 256>,
    }
}

choice! {
    /// What a node is doing.
    pub enum Status {
        /// It comes up and is not ready yet.
        Starting,
        /// It does all that it is there for.
        Active,
        /// It does less than that, or more slowly.
        Degraded,
        /// People work on it, and what it says may change at any time.
        Maintenance,
        /// It takes nothing new and finishes what it has.
        Draining,
        /// It ends.
        Stopping,
    }
}
