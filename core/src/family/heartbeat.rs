//! Signs of life for whoever is interested, with how the node fares.
//!
//! Sessions notice a dead peer by heartbeats of their own (`wire::control`); these are for nodes without a session to the
//! sender, for displays and for the balancing of load.

use super::{FamilySheet, Percent, body::message};
use crate::wire::family::Family;

/// The family in the registry.
pub(super) const SHEET: FamilySheet = FamilySheet {
    family: Family::Heartbeat,
    doc: "Signs of life for whoever is interested. Sessions notice a dead peer without them.",
    messages: &[Heartbeat::SHEET],
};

message! {
    /// A node lives, and how it fares.
    #[kind = 0x0100, version = 1]
    pub struct Heartbeat {
        /// The number of the heartbeat since the sender's start, so that gaps and repetitions show.
        pub sequence: u64,
        /// Seconds since the sender's start.
        pub uptime: u64,
        /// How busy the node is; absent if it does not know.
        pub load: Option<Percent>,
    }
}
