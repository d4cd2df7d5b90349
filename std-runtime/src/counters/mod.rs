//! What a node has done and refused, in numbers that only rise. Written once per batch, never per message.
//!
//! Messages sent are counted by the outboxes; here stand received ones, bytes, and everything dropped or refused, by reason.

mod fates;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use hyphal_core::wire::message::Compressed;
use hyphal_core::wire::reason::Reason;

use crate::store::StoreCounters;

pub use self::fates::{ByReliability, Fates};

/// The counters of one peer or of the whole node, written by links and listeners.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) bytes_sent: AtomicU64,
    pub(crate) bytes_received: AtomicU64,
    pub(crate) messages_received: AtomicU64,
    pub(crate) packed: Volume,
    pub(crate) unpacked: Volume,
    pub(crate) envelopes: Envelopes,
    pub(crate) vetting: Vetting,
    dropped: ByReason,
}

impl Tally {
    /// Takes note of `count` messages that were received and not delivered.
    pub(crate) fn drop_messages(&self, reason: Reason, count: u64) {
        self.dropped.add(reason, count);
    }

    pub(crate) fn dropped(&self) -> Vec<(Reason, u64)> {
        self.dropped.snapshot()
    }
}

/// Seals and signatures. Either takes a hundred times as long as to count it.
#[derive(Debug, Default)]
pub(crate) struct Envelopes {
    sealed: AtomicU64,
    signed: AtomicU64,
    opened: AtomicU64,
    verified: AtomicU64,
    refused: Refusals,
}

impl Envelopes {
    /// Takes note of a message that was sealed and signed, as far as it is either.
    pub(crate) fn close(&self, is_encrypted: bool, is_signed: bool) {
        self.sealed.fetch_add(u64::from(is_encrypted), Relaxed);
        self.signed.fetch_add(u64::from(is_signed), Relaxed);
    }

    /// Takes note of a message whose seal was opened and whose signature was verified, as far as it had either.
    pub(crate) fn open(&self, is_encrypted: bool, is_signed: bool) {
        self.opened.fetch_add(u64::from(is_encrypted), Relaxed);
        self.verified.fetch_add(u64::from(is_signed), Relaxed);
    }

    /// Takes note of an envelope of which nothing, or not all, was taken.
    pub(crate) fn refuse(&self, reason: Reason) {
        self.refused.add(reason);
    }

    pub(crate) fn snapshot(&self) -> Protected {
        Protected {
            sealed: self.sealed.load(Relaxed),
            signed: self.signed.load(Relaxed),
            opened: self.opened.load(Relaxed),
            verified: self.verified.load(Relaxed),
            refused: self.refused.snapshot(),
        }
    }
}

/// Counts by reason of what is rare: they take no memory where nothing was refused.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<BTreeMap<Reason, u64>>);

impl Refusals {
    pub(crate) fn add(&self, reason: Reason) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
    }

    pub(crate) fn snapshot(&self) -> Vec<(Reason, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(&reason, &count)| (reason, count)).collect()
    }
}

/// Certificates that peers showed, and the revocation lists that they sent and were sent.
#[derive(Debug, Default)]
pub(crate) struct Vetting {
    pub(crate) certificates_accepted: AtomicU64,
    pub(crate) certificates_refused: Refusals,
    pub(crate) lists_adopted: AtomicU64,
    pub(crate) lists_refused: Refusals,
    pub(crate) lists_sent: AtomicU64,
    pub(crate) lists_unsent: AtomicU64,
}

impl Vetting {
    pub(crate) fn snapshot(&self) -> Certification {
        Certification {
            certificates_accepted: self.certificates_accepted.load(Relaxed),
            certificates_refused: self.certificates_refused.snapshot(),
            lists_adopted: self.lists_adopted.load(Relaxed),
            lists_refused: self.lists_refused.snapshot(),
            lists_sent: self.lists_sent.load(Relaxed),
            lists_unsent: self.lists_unsent.load(Relaxed),
        }
    }
}

/// Rosters and settings of trust that were not taken.
#[derive(Debug, Default)]
pub(crate) struct RefusedReloads {
    pub(crate) unreadable: AtomicU64,
    pub(crate) trust: AtomicU64,
    pub(crate) peer: AtomicU64,
    pub(crate) room: AtomicU64,
}

impl RefusedReloads {
    pub(crate) fn snapshot(&self) -> ReloadRefusals {
        ReloadRefusals {
            unreadable: self.unreadable.load(Relaxed),
            trust: self.trust.load(Relaxed),
            peer: self.peer.load(Relaxed),
            room: self.room.load(Relaxed),
        }
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
    pub(crate) trust_changes: AtomicU64,
    pub(crate) refused_reloads: RefusedReloads,
    pub(crate) lists_from_files: AtomicU64,
    pub(crate) lists_unkept: AtomicU64,
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

/// Seals and signatures, from [`Node::counters`](crate::Node::counters) and [`Node::peers`](crate::Node::peers).
///
/// Streams count with their last byte, messages before they are queued; one that is refused by a full queue was sealed, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Protected {
    /// Messages that were sealed here.
    pub sealed: u64,
    /// Messages that were signed here.
    pub signed: u64,
    /// Messages received whose seals were opened.
    pub opened: u64,
    /// Messages received whose signatures were verified.
    pub verified: u64,
    /// Messages received in envelopes that were not taken, by reason: `BadSeal` if a seal did not open, `BadSignature` if a
    /// signature did not hold, others if what the envelope says of itself is wrong. They are in `received_dropped`, too.
    pub refused: Vec<(Reason, u64)>,
}

/// What came of certificates and revocation lists, from [`Node::counters`](crate::Node::counters) and
/// [`Node::peers`](crate::Node::peers). For a peer, certificates count as accepted with the session, and as refused if the node knew the
/// peer before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Certification {
    /// Certificates that peers showed in handshakes and that hold; under [`Trust::Certified`](crate::Trust::Certified), that
    /// admit them.
    pub certificates_accepted: u64,
    /// Certificates that do not, by reason; under [`Trust::Certified`](crate::Trust::Certified) missing ones, too
    /// (`NoCertificate`). Whoever gets as far as a handshake can cause them.
    pub certificates_refused: Vec<(Reason, u64)>,
    /// Newer revocation lists that came from peers and count.
    pub lists_adopted: u64,
    /// Lists from peers that were not taken, by reason: `Duplicate` if not newer than what is known, which is usual, `Untrusted` if of
    /// an authority that is none here, others if broken or forged.
    pub lists_refused: Vec<(Reason, u64)>,
    /// Times that a list was queued for a peer.
    pub lists_sent: u64,
    /// Times that a peer could not take one: it is too long for it, or its queue is full. It gets the list with its next session.
    pub lists_unsent: u64,
}

/// Rosters and settings of trust that were refused, the old ones staying in force, from
/// [`Node::counters`](crate::Node::counters).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReloadRefusals {
    /// What the user wrote could not be read: see [`Node::note_unreadable_roster`](crate::Node::note_unreadable_roster).
    pub unreadable: u64,
    /// Trust is wrong, or a file that it names.
    pub trust: u64,
    /// A peer cannot be added.
    pub peer: u64,
    /// There is no room for so many peers.
    pub room: u64,
}

/// The numbers of a node since its start, from [`Node::counters`](crate::Node::counters).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Outgoing messages to all peers, removed ones included.
    pub sent: Sent,
    /// Outgoing messages that were given up before they had left as a whole, by reason, the expired ones among them.
    pub sent_dropped: Vec<(Reason, u64)>,
    /// The same for each reliability, and how often messages were put back to be sent again.
    pub fates: ByReliability,
    /// Messages received whole, in time and for the first time. Those of them that were not delivered after all, as nobody wanted
    /// them (`NoReceiver`), are in `received_dropped`, too.
    pub received: u64,
    /// Messages received and not delivered, by reason.
    pub received_dropped: Vec<(Reason, u64)>,
    /// Seals and signatures, made and opened.
    pub protected: Protected,
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
    /// Times that trust alone was taken anew.
    pub trust_changes: u64,
    /// Rosters and settings of trust that were refused.
    pub reloads_refused: ReloadRefusals,
    /// Certificates and revocation lists.
    pub certification: Certification,
    /// Newer revocation lists that were read from files while the node ran, and count.
    pub lists_from_files: u64,
    /// Lists that count and could not be written down, so that they are not passed on: see the log.
    pub lists_unkept: u64,
    /// Times that a peer said, in a session, that it takes no Guaranteed messages of a class: they stay stored.
    pub lanes_refused: u64,
    /// The store of Guaranteed messages; `None` if the node has none.
    pub store: Option<StoreCounters>,
}
