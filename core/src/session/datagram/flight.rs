//! A handshake packet that was written once and is repeated byte by byte until it is answered: RFC 9002, section 6.2.
//!
//! Written anew it would need the keys of its making again; what a lost packet costs must not be a second ephemeral.

use super::rtt::Rtt;
use crate::handshake::MAX_FLIGHT_LEN;
use crate::time::{Duration, Instant};
use crate::wire::datagram::{MAX_COOKIE_LEN, MAX_LEN, Packet};
use crate::wire::frame::{self, Decoded, Kind};

#[derive(Clone, Debug)]
pub(super) struct Flight {
    frame: [u8; MAX_FLIGHT_LEN],
    len: usize,
    /// The packet that it answers, which calls for it again.
    answers: Option<Kind>,
    sent_at: Instant,
    /// When it is repeated.
    due_at: Instant,
    timeouts: u32,
    /// It must be written.
    is_owed: bool,
    is_repeated: bool,
}

impl Flight {
    /// The frame of a flight that is to be written.
    pub(super) fn new(now: Instant, frame: &[u8], answers: Option<Kind>) -> Self {
        let mut bytes = [0; MAX_FLIGHT_LEN];
        bytes[..frame.len()].copy_from_slice(frame);
        let len = frame.len();
        Self {
            frame: bytes,
            len,
            answers,
            sent_at: now,
            due_at: now,
            timeouts: 0,
            is_owed: true,
            is_repeated: false,
        }
    }

    /// Another packet came of the attempt: whether that one calls for this flight again.
    pub(super) fn handle_repetition(&mut self, kind: Kind) -> bool {
        let calls = self.answers == Some(kind);
        self.is_owed |= calls;
        calls
    }

    /// Whether it refuses an attempt: it is said once.
    pub(super) fn is_refusal(&self) -> bool {
        let frame = frame::decode(&self.frame[..self.len], frame::MAX_UNAUTHENTICATED);
        matches!(frame, Ok(Decoded::Frame { frame, .. }) if frame.header.kind == Kind::Refusal)
    }

    /// It must be sent again at once, in another form: with a cookie.
    pub(super) fn handle_retry(&mut self) {
        self.is_owed = true;
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.due_at <= now {
            self.is_owed = true;
            self.timeouts = self.timeouts.saturating_add(1);
        }
    }

    /// When it is repeated, unless it waits to be written already.
    pub(super) fn due_at(&self) -> Option<Instant> {
        (!self.is_owed).then_some(self.due_at)
    }

    /// The time since it was written, if it was written once: what answers it tells the round trip (RFC 9002, 5.1).
    pub(super) fn round_trip(&self, now: Instant) -> Option<Duration> {
        (!self.is_owed && !self.is_repeated).then(|| now.since(self.sent_at))
    }

    /// Writes the packet to `buf` if it is owed and at most `room` bytes, padded to a full datagram where it `pads`.
    pub(super) fn poll_packet(
        &mut self,
        now: Instant,
        rtt: &Rtt,
        cookie: &Cookie,
        pads: bool,
        room: usize,
        buf: &mut [u8],
    ) -> Option<usize> {
        let cookie = cookie.as_bytes();
        let written = Packet::header_len(cookie.len()) + self.len;
        let len = if pads { written.max(MAX_LEN) } else { written };
        if !self.is_owed || len > room || len > buf.len() {
            return None;
        }
        let at = Packet::encode_header(cookie, buf)?;
        buf[at..written].copy_from_slice(&self.frame[..self.len]);
        buf[written..len].fill(0);
        self.is_repeated |= self.sent_at != now || self.timeouts > 0;
        self.is_owed = false;
        self.sent_at = now;
        self.due_at = now.after(rtt.handshake_timeout(self.timeouts));
        Some(len)
    }
}

/// What a gate gave this end for its first packet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cookie {
    bytes: [u8; MAX_COOKIE_LEN],
    len: usize,
    /// How many came.
    count: u8,
}

impl Cookie {
    /// Cookies that are taken in one attempt: they grow old, but nobody asks for ever new ones.
    const MOST: u8 = 3;

    /// The cookie in a retry, if it is one.
    pub(super) fn take(&mut self, cookie: &[u8]) -> bool {
        let Some(room) = self.bytes.get_mut(..cookie.len()).filter(|_| self.count < Self::MOST) else {
            return false;
        };
        room.copy_from_slice(cookie);
        self.len = cookie.len();
        self.count += 1;
        true
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
