//! The end of a node's own delegation, told to the log in time: the node cannot renew it, as the key that signs is elsewhere.

use std::time::Duration;

use hyphal_core::time::UnixTime;
use hyphal_core::wire::delegation::Delegation;

use crate::clock;

/// Warns when it is time for a new delegated key, each day from then on, and when the key has ended.
pub(crate) async fn warn_before_the_end(delegation: Delegation) {
    sleep_until(delegation.renew_at()).await;
    while clock::wall_time() < delegation.not_after {
        tracing::warn!(
            "the delegated key of this node ends at {}; make a new one: hyphal key delegate",
            shown(delegation.not_after)
        );
        let tomorrow = UnixTime::from_micros(clock::wall_time().as_micros().saturating_add(DAY));
        sleep_until(tomorrow.min(delegation.not_after)).await;
    }
    tracing::error!(
        "the delegated key of this node has ended, so no peer admits it any more; start it again with a new one: hyphal key delegate"
    );
}

const DAY: u64 = 24 * 3600 * 1_000_000;

/// Looks at the clock every hour at least, since it can be set and the machine can sleep.
async fn sleep_until(time: UnixTime) {
    loop {
        let left = time.as_micros().saturating_sub(clock::wall_time().as_micros());
        if left == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_micros(left).min(Duration::from_secs(3600))).await;
    }
}

/// A moment of wall time for people, in UTC to the second.
pub(crate) fn shown(time: UnixTime) -> impl std::fmt::Display {
    // Later than the year 9999 there is no such text.
    let seconds = (time.as_micros() / 1_000_000).min(253_402_300_799);
    humantime::format_rfc3339_seconds(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}
