//! Profiles: the numbers of a session that follow from what its two nodes are.
//!
//! ```text
//!                Sclerotia          Rhizomorph     Hyphae
//!   Sclerotia    HighPerformance    Adaptive       Lightweight
//!   Rhizomorph   Adaptive           Standard       Lightweight
//!   Hyphae       Lightweight        Lightweight    Lightweight
//! ```
//!
//! A profile is one row of numbers, shown in `docs/profiles.md`. [`Terms`] are what two certain nodes make of it: a pure
//! function of both hellos and of the least security that this end wants, so both ends come to the same profile without
//! a byte for it. Nothing here acts: sessions and runtimes read the terms.
//!
//! Invariant: a configuration raises the security level, and nothing lowers it; no level is unencrypted.

use core::fmt;

use crate::aead::TAG_LEN;
use crate::ids::{NodeType, Reliability};
use crate::time::Duration;
use crate::wire::hello::Hello;
use crate::wire::message::{self, FRAGMENT_LEN, Method, Methods};
use crate::wire::record::RecordHeader;

/// The name of a row of [`Numbers`], chosen by an unordered pair of node types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Two servers.
    HighPerformance,
    /// A server and a relay: falls back to what the weaker end can do.
    Adaptive,
    /// Two relays.
    Standard,
    /// A client or device, with whatever else.
    Lightweight,
}

/// What a profile says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The longest record that is written, in bytes after its length field. An urgent message waits for one such record at
    /// most. Over datagrams a record is no longer than its datagram.
    pub record: u16,
    /// How messages are compressed whose types the user has named, unless he has named the method too.
    pub compression: Compression,
    /// The reliability of messages whose sender does not say.
    pub reliability: Reliability,
    /// The least that is done for secrecy.
    pub security: Security,
    /// A heartbeat comes once in so many intervals of its sender's hello.
    pub heartbeats: u32,
}

impl Profile {
    /// All profiles, the richest first.
    pub const ALL: [Self; 4] = [Self::HighPerformance, Self::Adaptive, Self::Standard, Self::Lightweight];

    /// The profile of a pair, whichever end is which.
    pub const fn of(one: NodeType, other: NodeType) -> Self {
        use NodeType::{Hyphae, Rhizomorph, Sclerotia};
        match (one, other) {
            (Sclerotia, Sclerotia) => Self::HighPerformance,
            (Sclerotia, Rhizomorph) | (Rhizomorph, Sclerotia) => Self::Adaptive,
            (Rhizomorph, Rhizomorph) => Self::Standard,
            (Hyphae, _) | (_, Hyphae) => Self::Lightweight,
        }
    }

    /// The row of this profile; of [`Adaptive`](Self::Adaptive), where neither end falls short.
    pub const fn numbers(self) -> Numbers {
        match self {
            Self::HighPerformance => Numbers {
                record: WHOLE_PART,
                compression: Compression::Low,
                reliability: Reliability::High,
                security: Security::Standard,
                heartbeats: 1,
            },
            Self::Adaptive => Numbers {
                record: WHOLE_PART,
                compression: Compression::Medium,
                reliability: Reliability::High,
                security: Security::Standard,
                heartbeats: 1,
            },
            Self::Standard => Numbers {
                record: 8_192,
                compression: Compression::Medium,
                reliability: Reliability::High,
                security: Security::Standard,
                heartbeats: 1,
            },
            Self::Lightweight => Numbers {
                record: 4_096,
                compression: Compression::High,
                reliability: Reliability::BestEffort,
                security: Security::Minimal,
                heartbeats: 4,
            },
        }
    }

    /// The name, as listings show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HighPerformance => "HighPerformance",
            Self::Adaptive => "Adaptive",
            Self::Standard => "Standard",
            Self::Lightweight => "Lightweight",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is done for the secrecy of messages beyond the mutual authentication and encryption of the link, which every
/// session has. Each level includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Security {
    /// Link encryption; a key seals a bounded number of records.
    #[default]
    Minimal,
    /// Keys also change with time.
    Standard,
    /// Messages to one peer are sealed end to end and signed, unless their sender says otherwise.
    High,
}

impl Security {
    /// All levels, the lowest first.
    pub const ALL: [Self; 3] = [Self::Minimal, Self::Standard, Self::High];

    /// How long one key is used at most; `None` if only the number of its records counts.
    pub const fn rekey_after(self) -> Option<Duration> {
        match self {
            Self::Minimal => None,
            Self::Standard | Self::High => Some(Duration::from_secs(3600)),
        }
    }

    /// The name, as listings show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Minimal => "Minimal",
            Self::Standard => "Standard",
            Self::High => "High",
        }
    }
}

impl fmt::Display for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How hard messages are compressed whose types the user has named without a method. No others are compressed at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// Only what takes little time.
    Low,
    /// A balance.
    Medium,
    /// As few bytes as possible.
    High,
}

impl Compression {
    /// All levels, the lowest first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Medium, Self::High];

    /// The method for a peer that takes these: the level's own, else the other one, if any.
    pub const fn method(self, takes: Methods) -> Option<Method> {
        let (first, second) = match self {
            Self::Low => (Method::Lz4, Method::Zstd),
            Self::Medium | Self::High => (Method::Zstd, Method::Lz4),
        };
        if takes.has(first) {
            Some(first)
        } else if takes.has(second) {
            Some(second)
        } else {
            None
        }
    }

    /// Zstandard's level, where that is the method.
    pub const fn zstd_level(self) -> i32 {
        match self {
            Self::Low | Self::Medium => 1,
            Self::High => 3,
        }
    }

    /// The shortest payload that is worth a try, in bytes.
    pub const fn shortest(self) -> usize {
        match self {
            Self::Low => 1024,
            Self::Medium => 256,
            Self::High => 64,
        }
    }

    /// The name, as listings show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "Low",
            Self::Medium => "Medium",
            Self::High => "High",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// In what an end of an [`Adaptive`](Profile::Adaptive) pair falls short of the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shortfall {
    /// It takes no records as long as the profile's: they are as short as it wants.
    ShortRecords,
    /// It takes only records of less than [`SMALL_RECORD`] bytes, as small devices do: security falls to
    /// [`Minimal`](Security::Minimal), so that no key changes by time there.
    SmallRecords,
    /// It does not take Zstandard: compression falls to [`Low`](Compression::Low).
    NoZstandard,
}

impl Shortfall {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ShortRecords, Self::SmallRecords, Self::NoZstandard];

    /// What the end falls short in, and what follows from it.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::ShortRecords => "takes shorter records only",
            Self::SmallRecords => "takes small records only: security Minimal",
            Self::NoZstandard => "takes no Zstandard: compression Low",
        }
    }

    /// Whether an end has it.
    fn is_of(self, end: &End) -> bool {
        match self {
            Self::ShortRecords => end.max_record < Profile::Adaptive.numbers().record,
            Self::SmallRecords => end.max_record < SMALL_RECORD,
            Self::NoZstandard => !end.methods.has(Method::Zstd),
        }
    }
}

/// A set of shortfalls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shortfalls(u8);

impl Shortfalls {
    /// None at all.
    pub const NONE: Self = Self(0);

    fn of(end: &End) -> Self {
        let have = Shortfall::ALL.into_iter().filter(|shortfall| shortfall.is_of(end));
        Self(have.fold(0, |bits, shortfall| bits | 1 << shortfall as u8))
    }

    /// Whether this one is in it.
    pub const fn has(self, shortfall: Shortfall) -> bool {
        self.0 & 1 << shortfall as u8 != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that are in it.
    pub fn iter(self) -> impl Iterator<Item = Shortfall> {
        Shortfall::ALL.into_iter().filter(move |shortfall| self.has(*shortfall))
    }
}

/// What of a hello decides about the terms of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// What the node is.
    pub node_type: NodeType,
    /// The longest record that it takes.
    pub max_record: u16,
    /// The methods of compression that it takes.
    pub methods: Methods,
    /// Its heartbeat interval.
    pub heartbeat: Duration,
}

impl From<&Hello> for End {
    fn from(hello: &Hello) -> Self {
        Self {
            node_type: hello.node_type,
            max_record: hello.max_record,
            methods: hello.methods(),
            heartbeat: hello.heartbeat,
        }
    }
}

/// What two nodes make of their profile: the numbers that their session runs by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The profile of the pair.
    pub profile: Profile,
    /// The longest record that this end writes, in bytes after its length field.
    pub record: u16,
    /// How messages are compressed whose types the user has named without a method.
    pub compression: Compression,
    /// The reliability of messages whose sender does not say.
    pub reliability: Reliability,
    /// What is done for secrecy; more than the profile says if this end is configured so.
    pub security: Security,
    /// How often this end lets the peer hear from it.
    pub heartbeat: Duration,
    /// How often the peer lets this end hear from it.
    pub peer_heartbeat: Duration,
    /// In what this end falls short of the profile, so that it fell back.
    pub own_shortfalls: Shortfalls,
    /// In what the peer falls short of it.
    pub peer_shortfalls: Shortfalls,
}

impl Terms {
    /// The terms between `own` and `peer`. `least` raises the security level of this end; it never lowers it.
    pub fn of(own: &End, peer: &End, least: Security) -> Self {
        let profile = Profile::of(own.node_type, peer.node_type);
        let Numbers { record, compression, reliability, security, heartbeats } = profile.numbers();
        let shortfalls = |end| match profile {
            Profile::Adaptive => Shortfalls::of(end),
            _ => Shortfalls::NONE,
        };
        let (own_shortfalls, peer_shortfalls) = (shortfalls(own), shortfalls(peer));
        let has = |shortfall| own_shortfalls.has(shortfall) || peer_shortfalls.has(shortfall);
        let longest = match has(Shortfall::ShortRecords) {
            true => own.max_record.min(peer.max_record),
            false => peer.max_record,
        };
        let heartbeat = |end: &End| (end.heartbeat * heartbeats).min(Hello::MAX_HEARTBEAT);
        Self {
            profile,
            record: record.min(longest),
            compression: if has(Shortfall::NoZstandard) { Compression::Low } else { compression },
            reliability,
            security: if has(Shortfall::SmallRecords) { Security::Minimal } else { security }.max(least),
            heartbeat: heartbeat(own),
            peer_heartbeat: heartbeat(peer),
            own_shortfalls,
            peer_shortfalls,
        }
    }

    /// Whether the pair does less than its profile says, as one end falls short.
    pub const fn has_fallen_back(&self) -> bool {
        !self.own_shortfalls.is_empty() || !self.peer_shortfalls.is_empty()
    }
}

impl fmt::Display for Terms {
    /// The profile, and why it fell back: `Adaptive, fallen back (the peer takes no Zstandard: compression Low)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.profile.name())?;
        if !self.has_fallen_back() {
            return Ok(());
        }
        f.write_str(", fallen back (")?;
        let own = self.own_shortfalls.iter().map(|shortfall| ("this node", shortfall));
        let peer = self.peer_shortfalls.iter().map(|shortfall| ("the peer", shortfall));
        for (n, (end, shortfall)) in own.chain(peer).enumerate() {
            let gap = if n == 0 { "" } else { "; " };
            write!(f, "{gap}{end} {}", shortfall.meaning())?;
        }
        f.write_str(")")
    }
}

/// The record that holds one whole part of a message, at its longest.
const WHOLE_PART: u16 = {
    let len = RecordHeader::MAX_LEN + message::MAX_OVERHEAD + FRAGMENT_LEN + TAG_LEN;
    assert!(len <= u16::MAX as usize, "the length of a record is named by a u16 in a hello");
    len as u16
};

/// Who takes no records as long as this counts as a small device.
pub const SMALL_RECORD: u16 = 4_096;
