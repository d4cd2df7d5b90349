//! The last thing that a datagram session says, sealed once: a refusal, a rejection, or a close.
//!
//! It outlives the keys that it was sealed with. Nobody acknowledges it; only a rejection is said again, a few times, to an
//! initiator that repeats itself and so has not heard it.

use super::Path;
use super::up::Up;
use crate::aead::{Aead, TAG_LEN};
use crate::handshake::{Refused, Tell};
use crate::record::{KeyLife, Sealer};
use crate::session::Closed;
use crate::session::farewell::FAREWELL;
use crate::time::Instant;
use crate::wire::control::Control;
use crate::wire::datagram::{ConnectionId, Packet, Preamble, Truncated};
use crate::wire::frame::{Header, Kind, Refusal};
use crate::wire::reason::Reason;
use crate::wire::record::{Body, RecordHeader};

pub(super) struct Farewell {
    words: Words,
    path: Path,
    deadline_at: Instant,
    why: Closed,
}

impl Farewell {
    /// To a peer whose handshake is refused; `None` where nothing may be said.
    pub(super) fn refuse<A: Aead>(now: Instant, refused: Refused, path: Path) -> Option<Self> {
        let why = Closed::from(&refused);
        let refusal = Refusal { code: refused.reason.code(), detail: refused.detail };
        let words = match refused.tell {
            Tell::Nothing => None,
            Tell::Cleartext(frame_id) => Words::refusal(frame_id, &refusal),
            Tell::Sealed(cipher, key, cid) => {
                Words::reject(&mut Sealer::<A>::new(now, cipher, &key, KeyLife::of(None)), cid, refusal)
            }
        };
        words.map(|words| Self::new(now, words, path, why))
    }

    /// To a peer with whom there are keys; `None` if its address has shown too little for it.
    pub(super) fn close<A: Aead, const N: usize>(
        now: Instant,
        up: &mut Up<A, N>,
        reason: Reason,
    ) -> Option<Self> {
        let mut words = Words::new(0);
        words.len = up.write_close(now, reason, &mut words.bytes)?;
        Some(Self::new(now, words, up.path(), Closed::here(reason)))
    }

    fn new(now: Instant, words: Words, path: Path, why: Closed) -> Self {
        Self { words, path, deadline_at: now.after(FAREWELL), why }
    }

    pub(super) fn path(&self) -> Path {
        self.path
    }

    /// Why the session ends.
    pub(super) fn why(&self) -> Closed {
        self.why
    }

    /// When the session ends though it has not said it.
    pub(super) fn deadline_at(&self) -> Instant {
        self.deadline_at
    }

    /// A handshake packet came from `from`: says whether it calls for the last words again.
    pub(super) fn handle_packet(&mut self, from: Path) -> bool {
        let is_deaf = from == self.path && self.words.repeats > 0;
        if is_deaf {
            self.words.repeats -= 1;
            self.words.is_owed = true;
        }
        is_deaf
    }

    /// Writes the last words, if they are owed.
    pub(super) fn poll_transmit(&mut self, buf: &mut [u8]) -> Option<usize> {
        let words = &mut self.words;
        if !core::mem::take(&mut words.is_owed) {
            return None;
        }
        buf[..words.len].copy_from_slice(&words.bytes[..words.len]);
        Some(words.len)
    }

    /// Whether nothing will call for the words again.
    pub(super) fn is_final(&self) -> bool {
        self.words.repeats == 0
    }
}

struct Words {
    bytes: [u8; Words::MAX],
    len: usize,
    is_owed: bool,
    /// How often it is said again to a peer that has not heard it.
    repeats: u8,
}

impl Words {
    const MAX: usize = 256;
    /// How often a Reject is repeated to an initiator that repeats itself.
    const REPEATS: u8 = 3;

    fn new(repeats: u8) -> Self {
        Self { bytes: [0; Self::MAX], len: 0, is_owed: true, repeats }
    }

    fn refusal(frame_id: u64, refusal: &Refusal) -> Option<Self> {
        let mut words = Self::new(0);
        let mut payload = [0; Refusal::LEN];
        refusal.encode(&mut payload)?;
        words.len = Packet::encode(&Header::new(Kind::Refusal, frame_id), &payload, &mut words.bytes)?;
        Some(words)
    }

    fn reject<A: Aead>(sealer: &mut Sealer<A>, cid: ConnectionId, refusal: Refusal) -> Option<Self> {
        let mut words = Self::new(Self::REPEATS);
        let preamble = Preamble { phase: false, cid, counter: Truncated::of(0, None) };
        let at = preamble.encode(&mut words.bytes)?;
        let header = RecordHeader { body: Body::Control, ..RecordHeader::default() };
        let mut end = at + header.encode(&mut words.bytes[at..])?;
        end += Control::Reject(refusal).encode(&mut words.bytes[end..])? + TAG_LEN;
        let (preamble, sealed) = words.bytes[..end].split_at_mut(at);
        sealer.seal(preamble, sealed);
        words.len = end;
        Some(words)
    }
}
