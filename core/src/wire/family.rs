//! The families of message types: who numbers what. Numbers only; what a type means is not decided here.
//!
//! All families that the network will speak are reserved from the start, so that no application takes their numbers.

use core::{fmt, ops::RangeInclusive};

/// A range of message types with one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// What applications say to each other.
    Application,
    /// Signs of life.
    Heartbeat,
    /// Status updates.
    Status,
    /// Configuration updates.
    Configuration,
    /// Health and its aggregation.
    Health,
    /// Proposals, votes, commits.
    Consensus,
    /// The network's shared records.
    Spore,
    /// Requests, responses and events of services.
    Service,
    /// Allocation of resources.
    Resource,
    /// Transfers, rewards, metrics.
    Economic,
    /// Authentication and alerts.
    Security,
    /// Synchronisation of state.
    Synchronisation,
    /// Coordination over layers, policy, compliance.
    Coordination,
    /// What nodes say to each other about lanes of Guaranteed messages. No application writes or reads it.
    Delivery,
}

impl Family {
    /// Every range of assigned message types, in order. 0x0E00 to 0x0FFF are unassigned.
    pub const RANGES: [(RangeInclusive<u16>, Self, &'static str); 15] = [
        (0x0000..=0x00FF, Self::Application, "application"),
        (0x0100..=0x01FF, Self::Heartbeat, "heartbeat"),
        (0x0200..=0x02FF, Self::Status, "status"),
        (0x0300..=0x03FF, Self::Configuration, "configuration"),
        (0x0400..=0x04FF, Self::Health, "health"),
        (0x0500..=0x05FF, Self::Consensus, "consensus"),
        (0x0600..=0x06FF, Self::Spore, "spore"),
        (0x0700..=0x07FF, Self::Service, "service"),
        (0x0800..=0x08FF, Self::Resource, "resource"),
        (0x0900..=0x09FF, Self::Economic, "economic"),
        (0x0A00..=0x0AFF, Self::Security, "security"),
        (0x0B00..=0x0BFF, Self::Synchronisation, "synchronisation"),
        (0x0C00..=0x0CFF, Self::Coordination, "coordination"),
        (0x0D00..=0x0DFF, Self::Delivery, "delivery"),
        (0x1000..=0xFFFF, Self::Application, "application"),
    ];

    /// The family of a message type; `None` if it is unassigned.
    pub fn of(message_type: u16) -> Option<Self> {
        Self::RANGES.iter().find(|(range, ..)| range.contains(&message_type)).map(|&(_, family, _)| family)
    }

    /// Whether messages of the family may be compressed at all.
    ///
    /// Not where secrets stand beside what others can choose: the length of a compressed message tells how alike the two
    /// are (CRIME, Rizzo and Duong 2012).
    pub const fn is_compressible(self) -> bool {
        !matches!(self, Self::Configuration | Self::Security)
    }

    /// The name as it stands in logs and configuration.
    pub fn name(self) -> &'static str {
        Self::RANGES.iter().find(|&&(_, family, _)| family == self).map_or("", |&(.., name)| name)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
