//! What a node has done and refused, in numbers that only rise. Written once per batch, never per message.
//!
//! Messages sent are counted by the outboxes; here stand received ones, bytes, and everything dropped or refused, by reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hyphal_core::wire::message::Compressed;
use hyphal_core::wire::reason::Reason;

/// The counters of one peer or of the whole node, written by links and listeners.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) bytes_sent: AtomicU64,
    pub(crate) bytes_received: AtomicU64,
    pub(crate) messages_received: AtomicU64,
    pub(crate) packed: Volume,
    pub(crate) unpacked: Volume,
    sealed: AtomicU64,
    signed: AtomicU64,
    dropped: ByReason,
}

impl Tally {
    /// Takes note of `count` messages that were received and not delivered.
    pub(crate) fn drop_messages(&self, reason: Reason, count: u64) {
        self.dropped.add(reason, count);
    }

    /// Takes note of a message whose seal was opened and whose signature was verified, as far as it had either.
    pub(crate) fn open_envelope(&self, is_encrypted: bool, is_signed: bool) {
        self.sealed.fetch_add(u64::from(is_encrypted), Relaxed);
        self.signed.fetch_add(u64::from(is_signed), Relaxed);
    }

    /// How many seals were opened and how many signatures verified.
    pub(crate) fn opened(&self) -> (u64, u64) {
        (self.sealed.load(Relaxed), self.signed.load(Relaxed))
    }

    pub(crate) fn dropped(&self) -> Vec<(Reason, u64)> {
        self.dropped.snapshot()
    }
}

/// Compressed messages and their bytes.
#[derive(Debug, Default)]
pub(crate) struct Volume {
    messages: AtomicU64,
    original: AtomicU64,
    compressed: AtomicU64,
}

impl Volume {
    /// Takes note of one message that takes up `len` bytes compressed.
    pub(crate) fn add(&self, compressed: Compressed, len: usize) {
        self.messages.fetch_add(1, Relaxed);
        self.original.fetch_add(u64::from(compressed.original), Relaxed);
        self.compressed.fetch_add(len as u64, Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Compression {
        Compression {
            messages: self.messages.load(Relaxed),
            original: self.original.load(Relaxed),
            compressed: self.compressed.load(Relaxed),
        }
    }
}

/// What concerns the node as a whole.
#[derive(Debug, Default)]
pub(crate) struct NodeTally {
    /// Shared with the subscriptions, which count what nobody read.
    pub(crate) traffic: Arc<Tally>,
    pub(crate) accepted: AtomicU64,
    pub(crate) dialled: AtomicU64,
    /// Sessions that came up and were let in.
    pub(crate) sessions: AtomicU64,
    /// Links that ended before, and dials that reached nobody, by reason.
    pub(crate) failed: ByReason,
    /// Links that ended or never came up, by reason.
    pub(crate) closed: ByReason,
    /// Connections that were turned away before any handshake.
    pub(crate) refused: ByReason,
    /// Datagrams that were dropped.
    pub(crate) strays: ByReason,
    pub(crate) reloads: AtomicU64,
}

/// One number for each reason. A reason that this build does not know cannot occur.
#[derive(Debug)]
pub(crate) struct ByReason(Box<[AtomicU64]>);

impl Default for ByReason {
    fn default() -> Self {
        Self(Reason::ALL.iter().map(|_| AtomicU64::new(0)).collect())
    }
}

impl ByReason {
    pub(crate) fn add(&self, reason: Reason, count: u64) {
        if let Ok(at) = Reason::ALL.binary_search(&reason) {
            self.0[at].fetch_add(count, Relaxed);
        }
    }

    /// Takes note of several at once.
    pub(crate) fn add_all(&self, counts: impl IntoIterator<Item = (Reason, u64)>) {
        counts.into_iter().for_each(|(reason, count)| self.add(reason, count));
    }

    pub(crate) fn snapshot(&self) -> Vec<(Reason, u64)> {
        let counts = self.0.iter().map(|count| count.load(Relaxed));
        Reason::ALL.iter().copied().zip(counts).filter(|&(_, count)| count != 0).collect()
    }
}

/// What became of messages that were sent, from [`Node::counters`](crate::Node::counters).
///
/// `confirmed + expired + dropped + unconfirmed + unknown + queued + in_flight + stored` is `sent`. Guaranteed messages are
/// `stored` from their acceptance to their end, however often they are sent; those that were in the store when the node
/// started count as sent, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// Messages accepted for sending.
    pub sent: u64,
    /// Acknowledged by the peer's application.
    pub confirmed: u64,
    /// Their time to live passed before they could be sent.
    pub expired: u64,
    /// Dropped for another reason before they could be sent.
    pub dropped: u64,
    /// Sent, and their session ended before they were acknowledged.
    pub unconfirmed: u64,
    /// Waiting to be sent at the moment.
    pub queued: u64,
    /// Sent and not yet acknowledged at the moment.
    pub in_flight: u64,
    /// Guaranteed messages of which the receiver no longer knows whether they came.
    pub unknown: u64,
    /// Guaranteed messages in the store at the moment, sent or not.
    pub stored: u64,
}

impl Sent {
    pub(crate) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.confirmed += other.confirmed;
        self.expired += other.expired;
        self.dropped += other.dropped;
        self.unconfirmed += other.unconfirmed;
        self.queued += other.queued;
        self.in_flight += other.in_flight;
        self.unknown += other.unknown;
        self.stored += other.stored;
    }
}

/// Messages that were compressed, and the bytes of their payloads, from [`Node::counters`](crate::Node::counters).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compression {
    /// How many messages.
    pub messages: u64,
    /// Bytes of their payloads as the application has them.
    pub original: u64,
    /// Bytes of the same compressed.
    pub compressed: u64,
}

/// The numbers of a node since its start, from [`Node::counters`](crate::Node::counters).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Outgoing messages to all peers, removed ones included.
    pub sent: Sent,
    /// Outgoing messages that were given up before they had left as a whole, by reason, the expired ones among them.
    pub sent_dropped: Vec<(Reason, u64)>,
    /// Messages received whole, in time and for the first time. Those of them that were not delivered after all, as nobody wanted
    /// them (`NoReceiver`), are in `received_dropped`, too.
    pub received: u64,
    /// Messages received and not delivered, by reason.
    pub received_dropped: Vec<(Reason, u64)>,
    /// Messages received whose seals were opened. Seals that do not open are in `received_dropped`.
    pub seals_opened: u64,
    /// Messages received whose signatures were verified. Those that do not hold are in `received_dropped`.
    pub signatures_verified: u64,
    /// Bytes written to links, handshakes included.
    pub bytes_sent: u64,
    /// Bytes read from links, handshakes included.
    pub bytes_received: u64,
    /// Messages queued compressed, counted for each peer. Those that would not have got shorter are not among them.
    pub compressed_sent: Compression,
    /// Messages that applications have taken and that came compressed, counted for each receiver.
    pub compressed_received: Compression,
    /// Connections that listeners accepted.
    pub accepted: u64,
    /// Connections that this node opened.
    pub dialled: u64,
    /// Connections turned away before a handshake, by reason.
    pub refused: Vec<(Reason, u64)>,
    /// Datagrams that were dropped, by reason: forged, damaged, doubled, late, or nobody's. Anybody can cause them.
    pub strays: Vec<(Reason, u64)>,
    /// Sessions that came up.
    pub sessions: u64,
    /// Links that ended before a session was up, and dials that reached nobody, by reason.
    pub failed: Vec<(Reason, u64)>,
    /// Links that ended, those of `failed` included, by reason.
    pub closed: Vec<(Reason, u64)>,
    /// Times that peers and trust were taken anew as a whole.
    pub reloads: u64,
}
