//! The two clocks of a node: a monotonic one that the protocol counts in, and wall time for hellos and timestamps.
//!
//! The only place of this crate that reads a clock for the protocol. One reading serves a whole turn of a link. It is the runtime's
//! clock, the one that timers follow: where a test stops that one, the protocol's time stands still with it.

use std::time::{Duration, SystemTime};

use hyphal_core::time::{Instant, UnixTime};
use tokio::time::Instant as RuntimeInstant;

/// A monotonic clock that starts with its node, at [`BEGINNING`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: RuntimeInstant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: RuntimeInstant::now() }
    }

    /// The protocol's time.
    pub(crate) fn now(self) -> Instant {
        BEGINNING.after(self.start.elapsed())
    }

    /// Since the node was started; the protocol's time counts from long before that.
    pub(crate) fn running(self) -> Duration {
        self.start.elapsed()
    }

    /// The moment of the runtime's clock at which the protocol's time is `at`.
    pub(crate) fn deadline(self, at: Instant) -> RuntimeInstant {
        // The protocol counts whole microseconds and rounds down, so a deadline must not come a fraction early.
        let after = at.since(BEGINNING).min(FAR) + Duration::from_micros(1);
        self.start + after
    }
}

/// Wall time, or the start of 1970 on a machine whose clock lies before it.
pub(crate) fn wall_time() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// What a node's clock says when it starts: messages may be older than the process that sends them.
const BEGINNING: Instant = Instant::from_micros(30 * 365 * 86_400 * 1_000_000);

/// Later than any node lives, and far from what the operating system's clock can represent.
const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);
