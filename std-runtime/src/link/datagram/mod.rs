//! Lines whose datagrams are lost, doubled and reordered: a place at a UDP socket, or a serial port.
//!
//! Both give whole datagrams to the session and send what it writes, one after the other. What the line loses the session
//! sends again; so an error of one datagram is no error of the line.

#[cfg(unix)]
mod serial;
mod udp;

use bytes::{Bytes, BytesMut};
use hyphal_core::ids::Hint;
use hyphal_core::session::{Message, Path, Received};
use hyphal_core::time::Instant;
use hyphal_core::wire::reason::Reason;

use super::{Desk, OnDatagrams, Turn};

#[cfg(unix)]
pub(crate) use self::serial::{SerialLine, beginning};
pub(crate) use self::udp::UdpLine;

/// What became of a datagram.
enum Taken {
    /// The session has it.
    Done,
    /// The session has it, and before the next one something else is due.
    Due(Turn),
    /// The session wants to know whose the hint is, and then the datagram again.
    Ask(Hint, BytesMut),
}

impl Desk<OnDatagrams> {
    /// Gives the session a datagram, which is a part of an allocation of `shared` bytes.
    fn take_datagram(&mut self, now: Instant, from: Path, mut datagram: BytesMut, shared: usize) -> Taken {
        let base = datagram.as_ptr().addr();
        let received =
            self.with_outbox(|session, outbox| session.handle_datagram(now, outbox, from, &mut datagram));
        match received {
            Received::NeedMore | Received::Absorbed => {}
            Received::Hint(hint) => return Taken::Ask(hint, datagram),
            Received::Offer(offer) => return Taken::Due(Turn::Offer(Box::new(offer))),
            Received::Messages(messages) if self.peer.is_none() => {
                // The record that proves the peer may carry its first messages, which wait for the verdict on the session.
                let mark = messages.mark();
                let messages = messages.map(|message| Early::of(&message, base)).collect();
                self.early = Some(Box::new(EarlyRecord { mark, messages, bytes: datagram.freeze() }));
            }
            Received::Messages(messages) => {
                if let Some((mark, contents)) = self.admit(messages, base) {
                    self.deliver(now, mark, freeze(datagram, shared), contents);
                }
            }
            Received::Dropped(reason) => self.tell_stray(reason),
        }
        if self.is_news() { Taken::Due(Turn::Busy) } else { Taken::Done }
    }

    /// What nobody answers for is no fault of the peer, and anybody can cause it.
    fn tell_stray(&self, reason: Reason) {
        self.hub.tally.strays.add(reason, 1);
        tracing::trace!(address = %self.remote, reason = reason.name(), "datagram dropped: {reason}");
    }
}

/// The bytes for the messages in them; a small part of a large allocation is copied, so as not to keep it alive.
fn freeze(datagram: BytesMut, shared: usize) -> Bytes {
    if datagram.len() * SHARED_PART < shared { Bytes::copy_from_slice(&datagram) } else { datagram.freeze() }
}

/// Messages that came with the proof of their sender, until the control task lets it stay.
pub(super) struct EarlyRecord {
    pub(super) mark: hyphal_core::session::Mark,
    pub(super) messages: Vec<Early>,
    pub(super) bytes: Bytes,
}

/// A message of an [`EarlyRecord`], with the place of its payload.
pub(super) struct Early {
    header: Message<'static>,
    offset: usize,
    len: usize,
}

impl Early {
    fn of(message: &Message<'_>, base: usize) -> Self {
        let Message { id, kind, full, priority, broadcast, ttl, age, part, compressed, number, payload } =
            *message;
        let offset = if payload.is_empty() { 0 } else { payload.as_ptr().addr() - base };
        let payload_len = payload.len();
        let payload = &[];
        let header =
            Message { id, kind, full, priority, broadcast, ttl, age, part, compressed, number, payload };
        Self { header, offset, len: payload_len }
    }

    /// The message as it was.
    pub(super) fn message<'d>(&self, bytes: &'d [u8]) -> Message<'d> {
        Message { payload: &bytes[self.offset..][..self.len], ..self.header }
    }
}

/// As for the buffers of streams: what waits in a queue keeps at most so many times its size alive.
const SHARED_PART: usize = 32;
