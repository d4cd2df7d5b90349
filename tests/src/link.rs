//! One end of a link as a runtime drives it: a session, the bytes read and not yet used, and a diary of what happened.
//!
//! It decides nothing: verdicts, acknowledgements and the choice of the outbox belong to whoever drives it.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU64,
};

use hyphal_core::{
    aead::ChaChaPoly,
    ids::{Hint, MessageId, NodeId, Priority, Reliability},
    outbox::{Fate, Header, Ledger, Outbox, SharedStorage},
    session::{Closed, Event, Mark, Offer, Received, Session},
    time::{Duration, Instant},
    wire::{
        message::{Compressed, Part},
        reason::Reason,
    },
};

/// An outbox whose every fate is written down.
pub type LabOutbox = Outbox<SharedStorage<Book>>;

/// The fates that an outbox told, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    /// All of them.
    pub fates: Vec<Fate>,
}

/// What became of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its receiver is done with it.
    Confirmed,
    /// It was written, and nobody knows whether it arrived.
    Unconfirmed,
    /// It was never written.
    Dropped(Reason),
}

impl Book {
    /// What became of each message that has met its fate, by class and ordinal: the first word on it counts, as fates of
    /// many tell of whichever had none before.
    pub fn outcomes(&self) -> BTreeMap<(Priority, u64), Outcome> {
        let mut outcomes = BTreeMap::new();
        for fate in &self.fates {
            let (class, span, outcome) = match *fate {
                Fate::Dropped { ticket, reason } => {
                    (ticket.class, ticket.ordinal..=ticket.ordinal, Outcome::Dropped(reason))
                }
                Fate::Unconfirmed { class, first, last } => (class, first..=last, Outcome::Unconfirmed),
                Fate::Confirmed { class, first, last } => (class, first..=last, Outcome::Confirmed),
            };
            for ordinal in span {
                outcomes.entry((class, ordinal)).or_insert(outcome);
            }
        }
        outcomes
    }

    /// The class and ordinal of every message that was confirmed.
    pub fn confirmed(&self) -> BTreeSet<(Priority, u64)> {
        let outcomes = self.outcomes().into_iter();
        outcomes.filter(|(_, outcome)| *outcome == Outcome::Confirmed).map(|(name, _)| name).collect()
    }
}

impl Ledger for Book {
    fn settle(&mut self, fate: Fate) {
        self.fates.push(fate);
    }
}

/// An empty outbox of the size that the lab uses: 1,024 messages, 1 MiB.
pub fn lab_outbox() -> LabOutbox {
    Outbox::new(SharedStorage::with_ledger(1024, 1 << 20, Book::default()))
}

/// The header of an ordinary message: of the application, Medium, direct, 60 s to live.
pub fn header(sequence: u64) -> Header {
    Header { kind: 0x1000, priority: Priority::Medium, sequence, ttl: 60, ..Header::default() }
}

/// The same, kept until it is acknowledged.
pub fn reliable(sequence: u64) -> Header {
    Header { reliability: Reliability::High, ..header(sequence) }
}

/// A message that arrived, copied out of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// When.
    pub at: Instant,
    /// The message's name.
    pub id: MessageId,
    /// The message type.
    pub kind: u16,
    /// How urgent it is.
    pub priority: Priority,
    /// Whether it went to every peer.
    pub broadcast: bool,
    /// Seconds to live.
    pub ttl: u32,
    /// How old it was.
    pub age: Duration,
    /// Whether the payload is an envelope.
    pub full: bool,
    /// Its number, if it is a message of a lane.
    pub number: Option<NonZeroU64>,
    /// Which part of a message it is, if not all of it.
    pub part: Option<Part>,
    /// How the whole payload is compressed, if it is.
    pub compressed: Option<Compressed>,
    /// What the sender wrote.
    pub payload: Vec<u8>,
}

/// What one step of reading made of the bytes at hand.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "as the session's own")]
pub enum Reading {
    /// All that can be used was used.
    Done,
    /// Something was taken that concerns the session only.
    Absorbed,
    /// A peer names a hint.
    Hint(Hint),
    /// A peer asks to be let in.
    Offer(Offer),
    /// The messages of one record.
    Messages {
        /// Where the record ends.
        mark: Mark,
        /// The messages.
        messages: Vec<Delivered>,
    },
    /// The session refused what it read.
    Dropped(Reason),
}

/// A session with its unread bytes and its diary.
pub struct LinkEnd {
    /// The session.
    pub session: Session<ChaChaPoly>,
    unread: Vec<u8>,
    /// Why the session refused input or a single message, in order.
    pub dropped: Vec<Reason>,
    /// Which hints it was asked about, in order.
    pub hints: Vec<Hint>,
    /// Who asked to be let in, in order.
    pub offers: Vec<Offer>,
    /// Measured round trips, in order.
    pub round_trips: Vec<Duration>,
    /// When the session came up, and with whom.
    pub up: Option<(Instant, NodeId)>,
    /// When and how the session ended.
    pub closed: Option<(Instant, Closed)>,
}

impl LinkEnd {
    /// An end whose session has just begun.
    pub const fn new(session: Session<ChaChaPoly>) -> Self {
        Self {
            session,
            unread: Vec::new(),
            dropped: Vec::new(),
            hints: Vec::new(),
            offers: Vec::new(),
            round_trips: Vec::new(),
            up: None,
            closed: None,
        }
    }

    /// Bytes came from the link.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// Lets the session take the next piece of what came.
    pub fn read(&mut self, now: Instant, outbox: &mut LabOutbox) -> Reading {
        if self.unread.is_empty() {
            return Reading::Done;
        }
        let input = self.session.handle_input(now, outbox, &mut self.unread);
        let used = input.used;
        let reading = match input.received {
            Received::NeedMore => {
                assert_eq!(used, 0, "a session that needs more has used nothing");
                return Reading::Done;
            }
            Received::Absorbed => Reading::Absorbed,
            Received::Hint(hint) => {
                self.hints.push(hint);
                Reading::Hint(hint)
            }
            Received::Offer(offer) => {
                self.offers.push(offer);
                Reading::Offer(offer)
            }
            Received::Messages(messages) => {
                let mark = messages.mark();
                let messages = messages
                    .map(|message| Delivered {
                        at: now,
                        id: message.id,
                        kind: message.kind,
                        priority: message.priority,
                        broadcast: message.broadcast,
                        ttl: message.ttl,
                        age: message.age,
                        full: message.full,
                        number: message.number,
                        part: message.part,
                        compressed: message.compressed,
                        payload: message.payload.to_vec(),
                    })
                    .collect();
                Reading::Messages { mark, messages }
            }
            Received::Dropped(reason) => {
                self.dropped.push(reason);
                Reading::Dropped(reason)
            }
        };
        assert!(used <= self.unread.len(), "a session cannot use more than there is");
        self.unread.drain(..used);
        reading
    }

    /// Takes the session's events into the diary, and says whether there was one.
    pub fn note_events(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some(event) = self.session.poll_event() {
            any = true;
            assert!(self.closed.is_none(), "{event:?} after the end");
            match event {
                Event::Up(peer) => {
                    assert_eq!(self.up.replace((now, peer)), None, "a session comes up once");
                }
                Event::Rtt(round_trip) => self.round_trips.push(round_trip),
                Event::Closed(closed) => self.closed = Some((now, closed)),
            }
        }
        any
    }

    /// Why the session ended, if it did.
    pub fn closed_for(&self) -> Option<Reason> {
        self.closed.map(|(_, closed)| closed.reason)
    }

    /// Why the session ended, if the peer ended it.
    pub fn closed_by_peer_for(&self) -> Option<Reason> {
        self.closed.filter(|(_, closed)| closed.by_peer).map(|(_, closed)| closed.reason)
    }
}
