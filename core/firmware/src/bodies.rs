//! Bodies of message families, written and read on the stack.

use hyphal_core::family::status::{Status, StatusUpdate};
use hyphal_core::family::{Body, Text, Unreadable};

use crate::require;

pub(crate) fn a_body_comes_back_and_a_newer_one_is_told() -> Result<(), &'static str> {
    let update = StatusUpdate {
        status: Status::Active,
        since: None,
        sessions: 1,
        software: Text::cut("hyphal-firmware"),
        detail: Text::cut(""),
    };
    let mut buf = [0; StatusUpdate::MAX_LEN];
    let len = update.encode(&mut buf).ok_or("a body did not fit its longest length")?;

    require(StatusUpdate::decode(StatusUpdate::KIND, &buf[..len]) == Ok(update), "the body changed")?;
    buf[0] += 1;
    let newer = StatusUpdate::decode(StatusUpdate::KIND, &buf[..len]);
    require(matches!(newer, Err(Unreadable::Version { version: 2, .. })), "a newer body was not told")
}
