//! Messages as applications see them: on the way out, and received singly or a record at a time.
//!
//! Received payloads are slices of the buffer that the link read them into; nothing is copied. A batch keeps one
//! reference to that buffer for all its messages. Invariant: every [`Entry`] lies within its batch's record.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use hyphal_core::ids::{MessageId, NodeId, Priority, Reliability};
use hyphal_core::outbox;
use hyphal_core::time::UnixTime;
use hyphal_core::wire::message::Compressed;
use hyphal_core::wire::reason::Reason;

use crate::compression::Codec;

/// How a message is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendOptions {
    /// How urgent it is; within a class the order is kept.
    pub priority: Priority,
    /// Seconds after which the message is worthless, 0 = never. It is not sent or delivered later.
    pub ttl: u32,
    /// What happens while the queue to the peer is full.
    pub overflow: Overflow,
    /// Whether it is sealed end to end, so that nobody but the peer itself can read it, whatever it passes through. `None`: if it
    /// is for one peer and the security of this node is [`High`](crate::Security::High). A broadcast cannot be sealed.
    pub seal: Option<bool>,
    /// Whether it is signed, so that its receiver can show anyone who wrote it. `None`: if the security of this node is `High`.
    pub sign: Option<bool>,
    /// How much is done for it when its session ends before its acknowledgement, or a node. `None`: what the profile of the pair
    /// says.
    pub reliability: Option<Reliability>,
}

/// What happens to a message for which the queue to its peer has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// It waits for its turn.
    #[default]
    Wait,
    /// It is refused at once, as [`QueueFull`](crate::SendError::QueueFull); also if others wait for room.
    Fail,
    /// It drops queued messages that are not more urgent, as [`Reason::Shed`](crate::Reason::Shed): the least urgent first, and
    /// of a class the oldest, but no Guaranteed ones. Refused as `QueueFull` if that would not make room; then nothing is dropped.
    ///
    /// For values that the next one outdates, such as positions and measurements. It does not wait behind others that do,
    /// so these wait longer; only a broadcast is refused at a peer for which others wait.
    Shed,
}

impl SendOptions {
    /// Seconds that a message lives unless said otherwise.
    pub const DEFAULT_TTL: u32 = 60;

    /// The same with another priority.
    #[must_use]
    pub const fn priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// The same with another time to live, in seconds; 0 = it never expires.
    #[must_use]
    pub const fn ttl(self, ttl: u32) -> Self {
        Self { ttl, ..self }
    }

    /// The same with another answer to a full queue.
    #[must_use]
    pub const fn overflow(self, overflow: Overflow) -> Self {
        Self { overflow, ..self }
    }

    /// The same, sealed end to end or not. It costs about a tenth of a millisecond at each end, and 151 bytes and more.
    ///
    /// It is sealed to the key that the peer's last session has shown, and before the first one to the key of its id: a peer that runs
    /// with a delegated key cannot open that. Seal to such a peer after its [`PeerUp`](crate::Event::PeerUp).
    #[must_use]
    pub const fn seal(self, seal: bool) -> Self {
        Self { seal: Some(seal), ..self }
    }

    /// The same, signed or not.
    #[must_use]
    pub const fn sign(self, sign: bool) -> Self {
        Self { sign: Some(sign), ..self }
    }

    /// The same with this reliability.
    #[must_use]
    pub const fn reliability(self, reliability: Reliability) -> Self {
        Self { reliability: Some(reliability), ..self }
    }

    pub(crate) fn is_guaranteed(&self) -> bool {
        self.reliability == Some(Reliability::Guaranteed)
    }
}

impl Default for SendOptions {
    fn default() -> Self {
        Self {
            priority: Priority::default(),
            ttl: Self::DEFAULT_TTL,
            overflow: Overflow::default(),
            seal: None,
            sign: None,
            reliability: None,
        }
    }
}

/// What a message carries: bytes to copy, or bytes to share without copying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Copied into the peer's queue; best below a kilobyte.
    Copied(&'a [u8]),
    /// Shared with the queue; best for long payloads and for broadcasts.
    Shared(Bytes),
}

impl<'a> Payload<'a> {
    #[inline]
    pub(crate) fn into_outbox(self) -> outbox::Payload<'a, Bytes> {
        match self {
            Self::Copied(bytes) => outbox::Payload::Copied(bytes),
            Self::Shared(bytes) => outbox::Payload::Shared(bytes),
        }
    }

    pub(crate) fn for_outbox(&self) -> outbox::Payload<'_, Bytes> {
        match self {
            Self::Copied(bytes) => outbox::Payload::Copied(bytes),
            Self::Shared(bytes) => outbox::Payload::Shared(bytes.clone()),
        }
    }

    pub(crate) fn into_shared(self) -> Bytes {
        match self {
            Self::Copied(bytes) => Bytes::copy_from_slice(bytes),
            Self::Shared(bytes) => bytes,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.as_slice().len()
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl<'a> From<&'a [u8]> for Payload<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Copied(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Payload<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Copied(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Payload<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Copied(bytes)
    }
}

impl<'a> From<&'a str> for Payload<'a> {
    fn from(text: &'a str) -> Self {
        Self::Copied(text.as_bytes())
    }
}

impl From<Vec<u8>> for Payload<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Shared(bytes.into())
    }
}

impl From<String> for Payload<'_> {
    fn from(text: String) -> Self {
        Self::Shared(text.into())
    }
}

impl From<Bytes> for Payload<'_> {
    fn from(bytes: Bytes) -> Self {
        Self::Shared(bytes)
    }
}

/// One message of a batch to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// The message type.
    pub kind: u16,
    /// What it carries.
    pub payload: Payload<'a>,
    /// How it is to be sent.
    pub options: SendOptions,
}

impl<'a> Outgoing<'a> {
    /// A message with default options.
    pub fn new(kind: u16, payload: impl Into<Payload<'a>>) -> Self {
        Self { kind, payload: payload.into(), options: SendOptions::default() }
    }
}

/// A received message; its payload shares the buffer that it was received in.
///
/// A kept message keeps that buffer, up to 256 KiB, alive: copy the payload of messages that are kept for long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Unique together with the source.
    pub id: MessageId,
    /// Who sent it, proven by the session it came over.
    pub source: NodeId,
    /// To whom it was sent: this node, or all peers of the source if `None`.
    pub target: Option<NodeId>,
    /// The message type.
    pub kind: u16,
    /// How urgent it is.
    pub priority: Priority,
    /// Seconds after its sending at which it is worthless; 0 = never.
    pub ttl: u32,
    /// When it was sent, by this node's clock: its arrival less the time it was under way.
    pub timestamp: UnixTime,
    /// What the application at the other end wrote.
    pub payload: Bytes,
    /// Whether it was sealed from end to end; links are always encrypted.
    pub is_encrypted: bool,
    /// Whether it was signed by its source: the signature has verified.
    pub is_signed: bool,
    envelope: Option<Bytes>,
}

impl Message {
    /// What a signed message came in: evidence of who wrote it, which anyone can verify at any time with
    /// [`verify_signed`](crate::verify_signed) and the name of the network.
    ///
    /// `None` for a message that was not signed, and for the head of a stream. Of a sealed message it is the sealed form, in
    /// memory of its own.
    pub fn envelope(&self) -> Option<&Bytes> {
        self.envelope.as_ref()
    }
}

/// A message of a [`Batch`], borrowed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageRef<'a> {
    /// Unique together with the source.
    pub id: MessageId,
    /// Who sent it, proven by the session it came over.
    pub source: NodeId,
    /// To whom it was sent: this node, or all peers of the source if `None`.
    pub target: Option<NodeId>,
    /// The message type.
    pub kind: u16,
    /// How urgent it is.
    pub priority: Priority,
    /// Seconds after its sending at which it is worthless; 0 = never.
    pub ttl: u32,
    /// When it was sent, by this node's clock: its arrival less the time it was under way.
    pub timestamp: UnixTime,
    /// What the application at the other end wrote.
    pub payload: &'a [u8],
    /// Whether it was sealed from end to end; links are always encrypted.
    pub is_encrypted: bool,
    /// Whether it was signed by its source: the signature has verified.
    pub is_signed: bool,
    /// See [`Message::envelope`].
    pub envelope: Option<&'a [u8]>,
}

/// Messages that arrived together, one or more, from one peer.
#[derive(Clone, Debug)]
pub struct Batch {
    pub(crate) record: Bytes,
    /// The record is the compressed payload of the one message; only until the application takes it.
    pub(crate) compressed: Option<Compressed>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) own: NodeId,
    pub(crate) source: NodeId,
    pub(crate) received_at: UnixTime,
    /// How the one message was protected; a batch of others was not.
    pub(crate) protection: Protection,
}

/// What a message had beyond the encryption of the link.
#[derive(Clone, Debug, Default)]
pub(crate) struct Protection {
    pub(crate) is_encrypted: bool,
    pub(crate) is_signed: bool,
    /// The envelope of a signed message.
    pub(crate) envelope: Option<Bytes>,
}

/// One message within the record of its batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) id: MessageId,
    pub(crate) offset: u32,
    pub(crate) len: u32,
    pub(crate) ttl: u32,
    pub(crate) age_millis: u32,
    pub(crate) kind: u16,
    pub(crate) priority: Priority,
    pub(crate) broadcast: bool,
    /// Whether its id is that of a Guaranteed message: the epoch is its lane's.
    pub(crate) guaranteed: bool,
}

impl Entry {
    /// Where the payload lies.
    #[inline]
    pub(crate) fn range(&self) -> Range<usize> {
        let start = self.offset as usize;
        start..start + self.len as usize
    }
}

impl Batch {
    /// Who sent the messages.
    pub fn source(&self) -> NodeId {
        self.source
    }

    /// How many messages there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The messages, in the order in which they were sent within each class.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = MessageRef<'_>> {
        self.entries.iter().map(|entry| self.borrowed(entry))
    }

    /// The message at `index`, owned.
    pub(crate) fn message(&self, index: usize) -> Option<Message> {
        let entry = self.entries.get(index)?;
        let MessageRef { id, source, target, kind, priority, ttl, timestamp, payload, .. } =
            self.borrowed(entry);
        let payload = if payload.is_empty() { Bytes::new() } else { self.record.slice_ref(payload) };
        let Protection { is_encrypted, is_signed, envelope } = self.protection.clone();
        Some(Message {
            id,
            source,
            target,
            kind,
            priority,
            ttl,
            timestamp,
            payload,
            is_encrypted,
            is_signed,
            envelope,
        })
    }

    /// The messages from `index` on, as a batch of their own; `None` if there are none.
    pub(crate) fn rest(mut self, index: usize) -> Option<Self> {
        self.entries.drain(..index.min(self.entries.len()));
        (!self.entries.is_empty()).then_some(self)
    }

    /// The batch with its message decompressed, if that one is compressed.
    ///
    /// # Errors
    /// [`Reason::BadCompression`]: the message is lost.
    #[inline]
    pub(crate) fn unpack(self, codec: &Codec) -> Result<Self, Reason> {
        match self.compressed {
            None => Ok(self),
            Some(compressed) => self.unpack_as(compressed, codec),
        }
    }

    #[cold]
    fn unpack_as(mut self, compressed: Compressed, codec: &Codec) -> Result<Self, Reason> {
        self.record = codec.unpack(compressed, &self.record)?;
        self.compressed = None;
        for entry in &mut self.entries {
            entry.len = compressed.original;
        }
        Ok(self)
    }

    /// The memory that the batch keeps, about.
    pub(crate) fn footprint(&self) -> usize {
        let envelope_len = self.protection.envelope.as_ref().map_or(0, Bytes::len);
        self.record.len() + envelope_len + self.entries.len() * size_of::<Entry>()
    }

    #[inline]
    fn borrowed(&self, entry: &Entry) -> MessageRef<'_> {
        let age = u64::from(entry.age_millis) * 1000;
        MessageRef {
            id: entry.id,
            source: self.source,
            target: if entry.broadcast { None } else { Some(self.own) },
            kind: entry.kind,
            priority: entry.priority,
            ttl: entry.ttl,
            timestamp: UnixTime::from_micros(self.received_at.as_micros().saturating_sub(age)),
            payload: &self.record[entry.range()],
            is_encrypted: self.protection.is_encrypted,
            is_signed: self.protection.is_signed,
            envelope: self.protection.envelope.as_deref(),
        }
    }
}

/// An age in the unit of an [`Entry`].
#[inline]
pub(crate) fn age_millis(age: Duration) -> u32 {
    u32::try_from(age.as_millis()).unwrap_or(u32::MAX)
}
