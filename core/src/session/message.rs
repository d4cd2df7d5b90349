//! Messages on their way through a session: as they leave the outbox, and as they are handed out. Nothing of them is copied.

use core::num::NonZeroU64;

use crate::handshake::Config;
use crate::ids::{MessageId, NodeId, Priority};
use crate::outbox::Next;
use crate::time::Duration;
use crate::wire::message::{self, Checked, Compressed, MessageHeader, Part};
use crate::wire::reason::Reason;
use crate::wire::record::{self as layout, Body};

/// The messages of one record, opened in place: nothing of them is copied.
#[derive(Clone, Debug)]
pub struct Messages<'d> {
    inner: message::Messages<'d>,
    source: Source,
    mark: Mark,
}

/// How far a session's messages have come: what [`handle_consumed`](super::Session::handle_consumed) is told when the
/// application is done with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The record's counter.
    pub record: u64,
    /// Bytes of all messages received in this session, up to the end of the record, as credit counts them.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) id: NodeId,
    pub(super) epoch: u64,
    pub(super) waited: Duration,
}

/// One message of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'d> {
    /// Unique together with the source.
    pub id: MessageId,
    /// The message type; 0 of a full message, whose envelope says it.
    pub kind: u16,
    /// Whether the whole payload is an [`Envelope`](crate::wire::envelope::Envelope), which nobody has looked at yet.
    pub full: bool,
    /// How urgent it is.
    pub priority: Priority,
    /// Whether it was sent to all peers of the source.
    pub broadcast: bool,
    /// Seconds from its sending after which it is worthless; 0 = never.
    pub ttl: u32,
    /// How long ago it was sent.
    pub age: Duration,
    /// Which part of a message the payload is, if not all of it.
    pub part: Option<Part>,
    /// How the whole payload is compressed, if it is.
    pub compressed: Option<Compressed>,
    /// The number of a Guaranteed message in its lane.
    pub number: Option<NonZeroU64>,
    /// What the application wrote.
    pub payload: &'d [u8],
}

impl<'d> Messages<'d> {
    pub(super) fn new(inner: message::Messages<'d>, source: Source, mark: Mark) -> Self {
        Self { inner, source, mark }
    }

    /// Where the record ends, for [`handle_consumed`](super::Session::handle_consumed).
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// Who sent the messages.
    pub fn source(&self) -> NodeId {
        self.source.id
    }
}

impl<'d> Iterator for Messages<'d> {
    type Item = Message<'d>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let message::Message { header, payload } = self.inner.next()?;
        Some(Message {
            id: MessageId { epoch: self.source.epoch, sequence: header.sequence },
            kind: header.kind,
            full: header.full,
            priority: header.priority,
            broadcast: header.broadcast,
            ttl: header.ttl,
            age: self.source.waited + layout::TICK * header.age,
            part: header.part,
            compressed: header.compressed,
            number: header.number,
            payload,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}

impl ExactSizeIterator for Messages<'_> {}

/// Checks the messages of a record, if it carries any, and whether this end takes such; see [`message::check`] for `last`.
pub(super) fn check<'d>(
    config: &Config,
    body: Body,
    bytes: &'d [u8],
    last: Option<u64>,
) -> Result<Option<Checked<'d>>, Reason> {
    let Body::Messages = body else { return Ok(None) };
    let checked = message::check(bytes, last)?;
    if checked.longest() as u64 > u64::from(config.max_message) {
        return Err(Reason::TooLong);
    }
    if !config.compression.has_all(checked.methods()) {
        return Err(Reason::Compression);
    }
    Ok(Some(checked))
}

/// What a message that is next says of itself on the wire.
pub(super) fn header_of(next: &Next<'_>) -> MessageHeader {
    MessageHeader {
        priority: next.header.priority,
        broadcast: next.header.broadcast,
        kind: next.header.kind,
        full: next.header.full,
        sequence: next.header.sequence,
        ttl: next.header.ttl,
        age: ticks(next.waited),
        part: next.part,
        compressed: next.header.compressed,
        number: next.header.number,
    }
}

/// How long a message has waited, in the unit of its age.
fn ticks(waited: Duration) -> u32 {
    u32::try_from(waited.as_micros() / layout::TICK.as_micros()).unwrap_or(u32::MAX)
}
