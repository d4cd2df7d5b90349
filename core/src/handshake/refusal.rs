//! How a handshake fails: with which reason, and what the other end may hear of it or be believed.

use crate::aead::Cipher;
use crate::noise::{NoiseError, SplitKey};
use crate::wire::datagram::ConnectionId;
use crate::wire::frame::{Header, Kind, Refusal};
use crate::wire::reason::Reason;

/// How a handshake failed, and what the other end may hear of it.
pub(crate) struct Refused {
    pub(crate) reason: Reason,
    /// What the protocol attaches to the reason: versions, the time, a delay.
    pub(crate) detail: u64,
    /// Whether the other end refused, not this one.
    pub(crate) by_peer: bool,
    pub(crate) tell: Tell,
}

/// Where a refusal can be said.
pub(crate) enum Tell {
    /// Nowhere: the link just ends. An initiator that refuses message 2 of XX must not reveal its static key.
    Nothing,
    /// In a cleartext frame of the attempt with this id; the other end takes it as a hint.
    Cleartext(u64),
    /// In the first record, under this key and to this connection id.
    Sealed(Cipher, SplitKey, ConnectionId),
}

impl Refused {
    pub(super) fn silently(reason: Reason) -> Self {
        Self { reason, detail: 0, by_peer: false, tell: Tell::Nothing }
    }
}

/// Writes a frame with a refusal and gives its length.
pub(crate) fn write_refusal(refusal: &Refusal, frame_id: u64, buf: &mut [u8]) -> usize {
    let mut payload = [0; Refusal::LEN];
    let written =
        refusal.encode(&mut payload).and_then(|_| Header::new(Kind::Refusal, frame_id).encode(&payload, buf));
    written.expect("the buffer has room for a refusal")
}

/// What to make of a refusal that anyone on the path can forge. A node has no other reasons to refuse in the clear, and one
/// that ends all dialling, as that this node was removed, must come from the peer itself.
pub(super) fn believable(refusal: Refusal) -> (Reason, u64) {
    match refusal.reason() {
        Some(reason @ (Reason::Version | Reason::Limit | Reason::Busy)) => (reason, refusal.detail),
        _ => (Reason::Busy, 0),
    }
}

pub(super) fn on_noise(error: NoiseError) -> Refused {
    match error {
        NoiseError::Refused(reason) => Refused::silently(reason),
        NoiseError::Misuse(misuse) => unreachable!("the steps go in turn, with all keys and room: {misuse}"),
    }
}
