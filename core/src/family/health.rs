//! How parts of the network are, and how reports about the same part become one.

use super::{FamilySheet, Text, body::message, field::choice};
use crate::wire::family::Family;

/// The family in the registry.
pub(super) const SHEET: FamilySheet = FamilySheet {
    family: Family::Health,
    doc: "How parts of the network are, and how several reports about the same part become one.",
    messages: &[HealthReport::SHEET],
};

message! {
    /// How something is, as the sender sees it.
    #[kind = 0x0400, version = 1]
    pub struct HealthReport<'a> {
        /// What kind of thing it is.
        pub kind: HealthKind,
        /// Which one, by a name that all who report on it use; empty for the sender itself.
        #[serde(borrow)]
        pub subject: Text<'a, 64>,
        /// How it is.
        pub level: HealthLevel,
        /// How this report becomes one with others about the same subject.
        pub aggregation: Aggregation,
        /// When it was seen so, in microseconds since 1970; absent if the node has no clock.
        pub measured_at: Option<u64>,
        /// More for people to read; empty if there is no more.
        #[serde(borrow)]
        pub detail: Text<'a, 256>,
    }
}

choice! {
    /// What a health report is about.
    pub enum HealthKind {
        /// A node as a whole.
        Node,
        /// The way to another node.
        Link,
        /// A service.
        Service,
        /// Where data is kept.
        Storage,
        /// Memory, energy, temperature and the like.
        Resource,
    }
}

choice! {
    /// How something is, the worse the later.
    pub enum HealthLevel {
        /// As it should be.
        Healthy,
        /// It works with less room, less speed or more failures.
        Degraded,
        /// It does not do what it is there for.
        Unhealthy,
        /// Harm is done or near: someone must act.
        Critical,
    }
}

choice! {
    /// How reports of several nodes about one subject become one.
    pub enum Aggregation {
        /// Each stands for itself.
        Apart,
        /// The newest holds.
        Newest,
        /// The worst level holds.
        Worst,
        /// The best level holds: one that can reach it is enough.
        Best,
        /// The level that most report holds, the worse of two that as many report.
        Majority,
    }
}
