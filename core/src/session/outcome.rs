//! What a session tells its caller: what arrived, what happened, and why it ended. Plain values, the same over every line.

use crate::handshake::{Offer, Refused};
use crate::ids::{Hint, NodeId};
use crate::time::Duration;
use crate::wire::control::Control;
use crate::wire::reason::Reason;

use super::message::Messages;

/// Why and by whom a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The reason, this end's or the one that the peer gave.
    pub reason: Reason,
    /// Whether the peer ended it.
    pub by_peer: bool,
    /// What came with a rejection: see docs/protocol.md, sections 2 and 8; else zero.
    pub detail: u64,
}

/// A fact about the session, from [`Session::poll_event`](super::Session::poll_event).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Both ends are proven and admitted; messages flow.
    Up(NodeId),
    /// A round trip to the peer and back, application not included.
    Rtt(Duration),
    /// The end. No further event follows.
    Closed(Closed),
}

/// What [`Session::handle_input`](super::Session::handle_input) made of the bytes.
#[derive(Debug)]
pub struct Input<'d> {
    /// Bytes taken from the front of the input.
    pub used: usize,
    /// What they were.
    pub received: Received<'d>,
}

/// What arrived.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is no heap to put an offer on, and one in a session's life"
)]
pub enum Received<'d> {
    /// The input ends within a frame or record: call again with more bytes behind the same ones. `used` is 0.
    NeedMore,
    /// Taken; there is nothing for the application.
    Absorbed,
    /// The peer names this hint; the session waits for [`Session::handle_hint`](super::Session::handle_hint) and then for the
    /// same bytes again. `used` is 0.
    Hint(Hint),
    /// A peer has shown its key; the session waits for [`Session::handle_verdict`](super::Session::handle_verdict).
    Offer(Offer),
    /// Messages, opened in place.
    Messages(Messages<'d>),
    /// Refused, with the reason; the session says the same to the peer where the protocol allows it, and ends.
    Dropped(Reason),
}

impl Closed {
    /// This end ends it.
    pub(super) fn here(reason: Reason) -> Self {
        Self { reason, by_peer: false, detail: 0 }
    }

    /// The peer has said Close.
    pub(super) fn by_peer(code: u16) -> Self {
        Self { reason: Reason::from_code(code).unwrap_or(Reason::Unspecified), by_peer: true, detail: 0 }
    }

    /// The link broke under it.
    pub(super) fn with_link() -> Self {
        Self { reason: Reason::LinkLost, by_peer: true, detail: 0 }
    }
}

impl From<&Refused> for Closed {
    fn from(&Refused { reason, detail, by_peer, .. }: &Refused) -> Self {
        Self { reason, by_peer, detail }
    }
}

/// Whether the first record of a responder lets this end in; `control` is the control message in it, if there is one.
pub(super) fn admission(control: Option<Result<Control, Reason>>) -> Result<(), Closed> {
    match control {
        Some(Ok(Control::Accept)) => Ok(()),
        Some(Ok(Control::Reject(refusal))) => {
            let reason = refusal.reason().unwrap_or(Reason::Unspecified);
            Err(Closed { reason, by_peer: true, detail: refusal.detail })
        }
        // A responder may let us in and at once prefer another session: it says so without an Accept.
        Some(Ok(Control::Close { code })) => Err(Closed::by_peer(code)),
        Some(Err(reason)) => Err(Closed::here(reason)),
        // It says nothing else before it has heard of us.
        Some(Ok(Control::Drain)) | None => Err(Closed::here(Reason::Violation)),
    }
}
