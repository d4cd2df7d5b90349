//! Time as numbers that the caller passes in. Nothing in this crate reads a clock.
//!
//! [`Instant`] is monotonic and has no epoch; [`UnixTime`] is wall time and may be unknown. They never mix.

pub use core::time::Duration;

/// A moment of the caller's monotonic clock, in microseconds since whatever start the caller chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The start of the caller's clock.
    pub const ZERO: Self = Self(0);

    /// The moment `micros` microseconds after the clock's start.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the clock's start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The span from `earlier` to this moment; zero if `earlier` lies later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The moment `span` later; the end of time if that overflows.
    pub const fn after(self, span: Duration) -> Self {
        let micros = span.as_micros();
        Self(self.0.saturating_add(if micros > u64::MAX as u128 { u64::MAX } else { micros as u64 }))
    }
}

/// Wall time: microseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u64);

impl UnixTime {
    /// The moment `micros` microseconds after 1970.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The span from `earlier` to this moment; zero if `earlier` lies later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// How far two wall times lie apart, whichever is later.
    pub const fn distance(self, other: Self) -> Duration {
        Duration::from_micros(self.0.abs_diff(other.0))
    }
}

/// How far a wall time can be trusted; only two synchronised clocks are compared for skew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum TimeQuality {
    /// There is no wall clock; the time is zero.
    #[default]
    None = 0,
    /// A clock that nothing disciplines, as after a power loss.
    Unsynced = 1,
    /// A clock disciplined by NTP, GNSS or a trusted peer.
    Synced = 2,
}

/// A reading of the wall clock, and how far it can be trusted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wall {
    /// The time; zero if there is no clock.
    pub time: UnixTime,
    /// Its quality.
    pub quality: TimeQuality,
}
