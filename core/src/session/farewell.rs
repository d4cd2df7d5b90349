//! The last thing that a session over a stream says: a refusal, a rejection, or a close. It waits for the link to take it,
//! and not for long.

use super::outcome::Closed;
use super::up::{self, Up};
use crate::aead::Aead;
use crate::handshake::{self, Refused, Tell};
use crate::record::{KeyLife, Sealer};
use crate::time::{Duration, Instant};
use crate::wire::control::Control;
use crate::wire::frame::Refusal;
use crate::wire::reason::Reason;

/// How long the last bytes of a session may wait to be written.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);

pub(super) struct Farewell<A> {
    words: Words<A>,
    deadline_at: Instant,
    why: Closed,
}

#[expect(clippy::large_enum_variant, reason = "a state lives in place: there is no heap to box it")]
enum Words<A> {
    Refusal { frame_id: u64, refusal: Refusal },
    Reject { sealer: Sealer<A>, refusal: Refusal },
    Close { up: Up<A>, reason: Reason },
}

impl<A: Aead> Farewell<A> {
    /// To a peer whose handshake is refused; `None` where nothing may be said.
    pub(super) fn refuse(now: Instant, refused: Refused) -> Option<Self> {
        let why = Closed::from(&refused);
        let refusal = Refusal { code: refused.reason.code(), detail: refused.detail };
        let words = match refused.tell {
            Tell::Nothing => return None,
            Tell::Cleartext(frame_id) => Words::Refusal { frame_id, refusal },
            Tell::Sealed(cipher, key, _) => {
                Words::Reject { sealer: Sealer::new(now, cipher, &key, KeyLife::of(None)), refusal }
            }
        };
        Some(Self::new(now, words, why))
    }

    /// To a peer with whom there are keys.
    pub(super) fn close(now: Instant, up: Up<A>, reason: Reason) -> Self {
        Self::new(now, Words::Close { up, reason }, Closed::here(reason))
    }

    fn new(now: Instant, words: Words<A>, why: Closed) -> Self {
        Self { words, deadline_at: now.after(FAREWELL), why }
    }

    /// Why the session ends.
    pub(super) fn why(&self) -> Closed {
        self.why
    }

    /// When the session ends though it has not said it.
    pub(super) fn deadline_at(&self) -> Instant {
        self.deadline_at
    }

    /// Writes the words, and says how long they are.
    pub(super) fn write(&mut self, now: Instant, buf: &mut [u8]) -> usize {
        match &mut self.words {
            Words::Refusal { frame_id, refusal } => handshake::write_refusal(refusal, *frame_id, buf),
            Words::Reject { sealer, refusal } => {
                up::write_control(sealer, Control::Reject(*refusal), 0, None, buf)
            }
            Words::Close { up, reason } => up.write_close(now, *reason, buf),
        }
    }
}
