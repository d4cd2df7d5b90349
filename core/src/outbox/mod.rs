//! The outbox of one peer: what waits to be sent to it, and what was sent but not yet acknowledged.
//!
//! It outlives sessions and is the sole owner of queued payloads. A BestEffort message leaves a stream's outbox when its
//! last byte is in a record, and what is kept afterwards is the watermarks from which its fate is told. Every other one is
//! retained until it is acknowledged, and may be written again: see `retained`.
//!
//! Invariant: `pushed == confirmed + unconfirmed + dropped + withdrawn + in flight + queued`, after every call.

use crate::ids::{Priority, Reliability};
use crate::time::{Duration, Instant};
use crate::wire::message::{FRAGMENT_LEN, Methods, Part};
use crate::wire::reason::Reason;

#[cfg(feature = "alloc")]
mod blocks;
mod fate;
mod fixed;
mod flights;
mod progress;
mod retained;
#[cfg(feature = "alloc")]
mod shared;
mod storage;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use fate::{Counters, Fate, Ledger, Ticket};
pub use fixed::{FixedStorage, NotShared, TinyOutbox};
#[cfg(feature = "alloc")]
pub use shared::SharedStorage;
pub use storage::{Entry, Header, Payload, Storage, Verdict};

use fate::Books;
use flights::Flights;
use progress::Progress;

/// The queue of messages to one peer, four first-in first-out classes, and the account of what became of them.
///
/// - The application calls [`push`](Self::push).
/// - A session calls [`handle_session_start`](Self::handle_session_start) once, then for each record
///   [`next`](Self::next) and [`take`](Self::take) per message or part of one and
///   [`handle_record_written`](Self::handle_record_written) at its end, [`handle_ack`](Self::handle_ack) as
///   acknowledgements arrive, and [`handle_session_end`](Self::handle_session_end) once.
/// - Whoever keeps the time calls [`handle_timeout`](Self::handle_timeout) at [`poll_timeout`](Self::poll_timeout),
///   with or without a session.
///
/// # Order
/// Within a class, the order of `push`, always. Between classes the most urgent first, with one exception: a class that
/// was passed over as often as its patience says (High 8, Medium 16, Low 32 messages of other classes) while it had
/// messages gets one turn. If several are out of patience the more urgent goes first, so none waits longer than two
/// messages more. Each part of a message counts as a message.
///
/// # Parts
/// A message may be taken in parts. It is queued, and its payload kept, until all of it is taken. One that is dropped
/// after it was begun leaves an abandonment, which goes before everything else; one that is begun when the session ends
/// begins anew in the next. Over datagrams an abandonment is kept until it has arrived, and no other message of its class goes
/// in parts before.
#[derive(Debug)]
pub struct Outbox<S: Storage> {
    storage: S,
    /// The ordinal of the youngest message of each class.
    youngest: [u64; CLASSES],
    /// The ordinal of the last message of each class that was ever taken as a whole: no older one was never written.
    taken: [u64; CLASSES],
    /// How many messages of other classes were taken since each class had its turn.
    passed_over: [u8; CLASSES],
    /// No queued message expires before this; `NEVER` when nothing is queued.
    expires_at: Instant,
    /// What `next` showed last and `take` will take.
    shown: Shown,
    progress: Progress,
    flights: Flights,
    link: Link,
    peer_max: u32,
    peer_takes: Methods,
    /// Whether a Guaranteed message was pushed since they were withdrawn last.
    has_guaranteed: bool,
    books: Books,
}

/// What carries the messages that are taken.
#[derive(Clone, Copy, Debug, Default)]
enum Link {
    /// All of them arrive, or it breaks.
    #[default]
    Stream,
    /// Any of them may be lost. `parted` has a bit for each class of which a
    /// message was taken in parts that have not all arrived.
    Datagram { piece_len: u16, parted: u8 },
}

impl<S: Storage> Outbox<S> {
    /// An empty outbox for one peer.
    pub fn new(storage: S) -> Self {
        Self {
            storage,
            youngest: [0; CLASSES],
            taken: [0; CLASSES],
            passed_over: [0; CLASSES],
            expires_at: NEVER,
            shown: Shown::Nothing,
            progress: Progress::default(),
            flights: Flights::default(),
            link: Link::Stream,
            peer_max: u32::MAX,
            peer_takes: Methods::ALL,
            has_guaranteed: false,
            books: Books::default(),
        }
    }

    /// Queues a message behind those of its class. The time to live counts from `now`.
    ///
    /// A full queue first drops what has expired. On `Err` nothing else has changed.
    ///
    /// # Errors
    /// [`SendError::TooLong`] if the storage or the peer of the last session can never take it;
    /// [`SendError::QueueFull`] if there is no room at the moment.
    #[inline]
    pub fn push(
        &mut self,
        now: Instant,
        header: Header,
        payload: Payload<'_, S::Shared>,
    ) -> Result<Ticket, SendError> {
        let len = S::weight(&header, payload.as_slice().len());
        let max = self.max_message();
        if u32::try_from(len).map_or(true, |len| len > max) || header.original() > self.peer_max {
            return Err(SendError::TooLong { max });
        }
        if !self.storage.has_room(len) {
            self.drop_expired(now);
            if !self.storage.has_room(len) {
                return Err(SendError::QueueFull);
            }
        }

        let class = header.priority;
        if self.storage.len(class) == 0 {
            self.passed_over[class as usize] = 0;
        }
        self.youngest[class as usize] += 1;
        let entry = Entry { header, ordinal: self.youngest[class as usize], pushed_at: now };
        self.expires_at = self.expires_at.min(entry.expires_at());
        self.books.of(header.reliability).pushed += 1;
        self.has_guaranteed |= header.reliability == Reliability::Guaranteed;
        self.storage.push(entry, payload);
        Ok(entry.ticket())
    }

    /// Makes room for a payload of `len` bytes at the cost of messages that are not more urgent than `priority`: the least
    /// urgent class goes first, and within a class the oldest. Says whether the payload would be queued now.
    ///
    /// They are dropped as [`Reason::Shed`]; Guaranteed ones never are. Nothing is shed that need not go, and nothing at all if
    /// it would not suffice.
    pub fn make_room(&mut self, now: Instant, len: usize, priority: Priority) -> bool {
        if u32::try_from(len).map_or(true, |len| len > self.max_message()) {
            return false;
        }
        if !self.storage.has_room(len) {
            self.drop_expired(now);
        }
        let (lesser, more_urgent) = Priority::ALL.split_at(priority as usize + 1);
        let mut messages = more_urgent.iter().map(|&class| self.storage.len(class)).sum();
        let mut bytes = more_urgent.iter().map(|&class| self.storage.bytes_in(class)).sum();
        if self.has_guaranteed {
            for &class in lesser {
                let (guaranteed, guaranteed_bytes) = self.storage.guaranteed_in(class);
                messages += guaranteed;
                bytes += guaranteed_bytes;
            }
        }
        let suffices = self.storage.has_room_beside(messages, bytes, len);
        if suffices {
            for &class in lesser {
                while !self.storage.has_room(len) && self.shed_oldest(class) {}
            }
        }
        let has_room = self.storage.has_room(len);
        self.rest();
        has_room
    }

    /// Shows what to write next, until [`take`](Self::take) takes of it or something more urgent comes.
    ///
    /// Messages that have expired or that the peer does not take are dropped on the way.
    #[inline]
    pub fn next(&mut self, now: Instant) -> Option<Next<'_>> {
        let class = loop {
            if self.progress.has_abandoned() {
                return self.next_abandonment();
            }
            let Some(class) = self.pick() else {
                self.shown = Shown::Nothing;
                return None;
            };
            let (entry, payload) = self.storage.front(class)?;
            let reason = if entry.has_expired(now) {
                Reason::Expired
            } else if payload.len() as u64 > u64::from(self.peer_max)
                || entry.header.original() > self.peer_max
            {
                Reason::PeerLimit
            } else if entry
                .header
                .compressed
                .is_some_and(|compressed| !self.peer_takes.has(compressed.method))
            {
                Reason::BadCompression
            } else {
                self.shown = Shown::Message(entry.ticket());
                break class;
            };
            self.drop_front(class, reason);
        };
        let written = self.progress.written(class);
        let (entry, whole) = self.storage.front(class)?;
        let payload = whole.get(written..)?;
        let part = if written > 0 || whole.len() > FRAGMENT_LEN {
            // Both are at most `peer_max`.
            Some(Part { total: whole.len() as u32, offset: written as u32 })
        } else {
            None
        };
        Some(Next { header: &entry.header, waited: now.since(entry.pushed_at), payload, part })
    }

    /// So many payload bytes of what [`next`](Self::next) showed last are written into the open record. With the last of
    /// them a message leaves the queue.
    ///
    /// Does nothing if nothing was shown since the last call, or if the message was dropped meanwhile.
    #[inline]
    pub fn take(&mut self, written: usize) {
        let shown = match core::mem::take(&mut self.shown) {
            Shown::Nothing => return,
            Shown::Abandonment(class) => {
                let may_be_lost = matches!(self.link, Link::Datagram { .. });
                return self.progress.handle_told(class, may_be_lost);
            }
            Shown::Message(ticket) => ticket,
        };
        let (reliability, whole_len) = match self.storage.front(shown.class) {
            Some((entry, payload)) if entry.ordinal == shown.ordinal => {
                (entry.header.reliability, payload.len())
            }
            _ => return,
        };
        if self.progress.written(shown.class).saturating_add(written) < whole_len {
            return self.take_part(shown, written, whole_len);
        }
        let is_parted = self.progress.written(shown.class) > 0;
        self.progress.handle_whole(shown.class);
        match &mut self.link {
            Link::Stream
                if reliability == Reliability::BestEffort && self.storage.retains_none(shown.class) =>
            {
                self.storage.pop(shown.class);
                self.flights.board(shown);
            }
            Link::Stream => {
                self.storage.retain(shown.class);
                self.flights.board_retained(shown);
            }
            Link::Datagram { parted, .. } => {
                self.storage.retain(shown.class);
                if is_parted {
                    *parted |= 1 << shown.class as u8;
                }
            }
        }
        let taken = &mut self.taken[shown.class as usize];
        if shown.ordinal > *taken {
            *taken = shown.ordinal;
            self.books.of(reliability).written += 1;
        }
        self.pass_over(shown.class);
        if self.storage.is_empty() {
            self.expires_at = NEVER;
        }
    }

    /// Drops a message that is queued, wherever it stands, and says whether it was, and was never written as a whole.
    ///
    /// What is in flight stays. One that waits to be written again goes, too, but as it may have been delivered it becomes
    /// unconfirmed, and the answer is `false`.
    pub fn cancel(&mut self, ticket: Ticket) -> bool {
        let is_written = ticket.ordinal <= self.taken[ticket.class as usize];
        let mut is_found = false;
        self.drop_in(ticket.class, |entry| {
            let is_it = entry.ordinal == ticket.ordinal;
            is_found |= is_it;
            is_it.then_some(Reason::Cancelled)
        });
        if self.storage.is_empty() {
            self.expires_at = NEVER;
        }
        self.rest();
        is_found && !is_written
    }

    /// The open record was sealed with this counter and handed to the link. Does nothing if it holds no message.
    ///
    /// Counters rise within a session.
    #[inline]
    pub fn handle_record_written(&mut self, counter: u64) {
        self.flights.depart(counter);
    }

    /// What [`next`](Self::next) showed last and [`take`](Self::take) will take of, unless it is an abandonment.
    pub fn shown(&self) -> Option<Ticket> {
        match self.shown {
            Shown::Message(ticket) => Some(ticket),
            Shown::Nothing | Shown::Abandonment(_) => None,
        }
    }

    /// Drops every message that has expired, wherever it stands in its queue, and gives memory back if nothing is left to keep.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.drop_expired(now);
        self.rest();
    }

    /// When to call [`handle_timeout`](Self::handle_timeout). May be too early after a message has left, never too late.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (self.expires_at != NEVER).then_some(self.expires_at)
    }

    /// Drops everything that is queued, and withdraws what is Guaranteed. What is in flight stays.
    pub fn clear(&mut self, reason: Reason) {
        self.withdraw();
        self.drop_where(|_| Some(reason));
        self.rest();
    }

    /// Drops the broadcasts that are queued. What is in flight stays.
    pub fn clear_broadcasts(&mut self, reason: Reason) {
        self.drop_where(|entry| entry.header.broadcast.then_some(reason));
        self.rest();
    }

    /// Drops the messages of a type that are queued. What is in flight stays.
    pub fn clear_type(&mut self, kind: u16, reason: Reason) {
        self.drop_where(|entry| (entry.header.kind == kind).then_some(reason));
        self.rest();
    }

    /// What became of all messages since the outbox was made.
    pub const fn counters(&self) -> Counters {
        self.books.total()
    }

    /// The same of BestEffort messages alone.
    pub const fn best_effort_counters(&self) -> Counters {
        self.books.best_effort
    }

    /// Messages that wait for their turn.
    pub fn queued(&self) -> usize {
        self.storage.messages()
    }

    /// Messages that take up room: those that wait, and those that are retained.
    pub fn held(&self) -> usize {
        self.queued() + self.storage.retained_len()
    }

    /// Their payload bytes.
    pub fn held_bytes(&self) -> usize {
        self.storage.bytes() + self.storage.retained_bytes()
    }

    /// Whether a message waits. It may prove expired when its turn comes.
    #[inline]
    pub fn has_queued(&self) -> bool {
        !self.storage.is_empty()
    }

    /// Whether [`next`](Self::next) may have something to show: a message, or the abandonment of one.
    #[inline]
    pub fn has_next(&self) -> bool {
        self.has_queued() || self.progress.has_abandoned()
    }

    /// Payload bytes of all queued messages, with what was taken of one that is not taken as a whole.
    pub fn queued_bytes(&self) -> usize {
        self.storage.bytes()
    }

    /// Payload bytes of a message that are taken; of one that has left the queue, more than any payload has.
    pub fn written(&self, ticket: Ticket) -> u32 {
        match self.storage.front(ticket.class) {
            Some((front, _)) if front.ordinal == ticket.ordinal => {
                u32::try_from(self.progress.written(ticket.class)).unwrap_or(u32::MAX)
            }
            Some((front, _)) if front.ordinal < ticket.ordinal => 0,
            _ => u32::MAX,
        }
    }

    /// Messages that were taken and neither confirmed nor given up.
    pub fn in_flight(&self) -> u64 {
        self.flights.messages() + self.storage.retained_len() as u64
    }

    /// Whether nothing is queued and nothing in flight. An idle outbox holds no buffers from the next timeout on.
    pub fn is_idle(&self) -> bool {
        self.storage.is_empty()
            && self.storage.retained_len() == 0
            && self.flights.is_empty()
            && !self.progress.has_given_up()
    }

    /// Whether a payload of `len` bytes would be queued without dropping what has expired.
    #[inline]
    pub fn space_for(&self, len: usize) -> bool {
        u32::try_from(len).is_ok_and(|len| len <= self.max_message()) && self.storage.has_room(len)
    }

    /// The longest payload that [`push`](Self::push) takes: the lesser of the storage's and the peer's limit.
    #[inline]
    pub fn max_message(&self) -> u32 {
        self.peer_max.min(self.storage.max_payload())
    }

    /// The ledger that learns the fate of every message.
    pub fn ledger(&mut self) -> &mut S::Ledger {
        self.storage.ledger()
    }

    /// The class whose turn it is.
    #[inline]
    fn pick(&self) -> Option<Priority> {
        let mut most_urgent = None;
        let mut left = self.storage.messages();
        for &class in Priority::ALL.iter().rev() {
            if left == 0 {
                break;
            }
            let len = self.storage.len(class);
            left -= len;
            if len == 0 || self.is_blocked(class) {
                continue;
            }
            if self.passed_over[class as usize] >= PATIENCE[class as usize] {
                return Some(class);
            }
            most_urgent = most_urgent.or(Some(class));
        }
        most_urgent
    }

    /// Whether the class's first message must wait for one before it, which is retained or given up.
    #[inline]
    fn is_blocked(&self, class: Priority) -> bool {
        match self.link {
            Link::Stream => false,
            Link::Datagram { piece_len, parted } => {
                self.is_far_ahead(class, piece_len, parted & 1 << class as u8 != 0)
            }
        }
    }

    fn is_far_ahead(&self, class: Priority, piece_len: u16, is_parted: bool) -> bool {
        let Some((front, payload)) = self.storage.front(class) else { return false };
        let goes_in_parts = payload.len() > usize::from(piece_len);
        if goes_in_parts && self.progress.is_given_up(class) {
            return true;
        }
        let Some((oldest, _)) = self.storage.retained(class, 0) else { return false };
        let span = front.header.sequence.saturating_sub(oldest.header.sequence);
        span >= REMEMBERED || (is_parted && goes_in_parts)
    }

    /// A message of `taken` had its turn; the others went without.
    #[inline]
    fn pass_over(&mut self, taken: Priority) {
        for passed_over in &mut self.passed_over {
            *passed_over = passed_over.saturating_add(1);
        }
        self.passed_over[taken as usize] = 0;
    }

    #[cold]
    fn next_abandonment(&mut self) -> Option<Next<'_>> {
        let (header, part) = self.progress.abandoned()?;
        self.shown = Shown::Abandonment(header.priority);
        Some(Next { header, waited: Duration::ZERO, payload: &[], part: Some(part) })
    }

    /// Notes that `len` more bytes are written of a message of `whole_len`, which has had its turn and stays.
    #[cold]
    fn take_part(&mut self, ticket: Ticket, len: usize, whole_len: usize) {
        if let (Ok(len), Ok(total)) = (u32::try_from(len), u32::try_from(whole_len))
            && len > 0
        {
            self.progress.handle_part(ticket, len, total);
            self.pass_over(ticket.class);
        }
    }

    /// Sheds the oldest message of the class that may go; says whether there was one.
    fn shed_oldest(&mut self, class: Priority) -> bool {
        match self.storage.front(class) {
            None => false,
            Some((front, _)) if front.header.reliability != Reliability::Guaranteed => {
                self.drop_front(class, Reason::Shed);
                true
            }
            Some(_) => {
                let mut is_shed = false;
                self.drop_in(class, |entry| {
                    let goes = !is_shed && entry.header.reliability != Reliability::Guaranteed;
                    is_shed |= goes;
                    goes.then_some(Reason::Shed)
                });
                is_shed
            }
        }
    }

    fn drop_front(&mut self, class: Priority, reason: Reason) {
        let Some(entry) = self.storage.pop(class) else { return };
        self.progress.handle_dropped(&entry);
        let fate = fate_of(&entry, reason, &self.taken, &mut self.books);
        self.storage.ledger().settle(fate);
        if self.storage.is_empty() {
            self.expires_at = NEVER;
        }
    }

    #[cold]
    fn drop_expired(&mut self, now: Instant) {
        if now >= self.expires_at {
            self.drop_where(|entry| entry.has_expired(now).then_some(Reason::Expired));
        }
    }

    /// Drops the queued messages for which `verdict` has a reason; what remains sets the next expiry.
    fn drop_where(&mut self, verdict: impl Fn(&Entry) -> Option<Reason>) {
        let mut expires_at = NEVER;
        for class in Priority::ALL {
            self.drop_in(class, |entry| {
                let reason = verdict(entry);
                if reason.is_none() {
                    expires_at = expires_at.min(entry.expires_at());
                }
                reason
            });
        }
        self.expires_at = expires_at;
    }

    /// Drops the queued messages of a class for which `verdict` has a reason.
    fn drop_in(&mut self, class: Priority, mut verdict: impl FnMut(&Entry) -> Option<Reason>) {
        let Self { storage, taken, progress, books, .. } = self;
        storage.drop_where(class, |entry| match verdict(entry) {
            None => Verdict::Keep,
            Some(reason) => {
                progress.handle_dropped(entry);
                Verdict::Drop(fate_of(entry, reason, taken, books))
            }
        });
    }

    /// Gives the memory back when there is nothing left to keep. Not where messages come and go: a busy outbox is empty for a
    /// moment again and again, and getting memory anew costs three times as much as queueing a small message.
    #[inline]
    fn rest(&mut self) {
        if self.is_idle() {
            self.storage.release();
        }
    }
}

/// What has its turn, as [`Outbox::next`] shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next<'a> {
    /// As it was pushed.
    pub header: &'a Header,
    /// How long the message has been in the queue.
    pub waited: Duration,
    /// What is left of the payload.
    pub payload: &'a [u8],
    /// Where that begins, if some of it was taken before or it is too long for one part; or an abandonment, which has no
    /// payload.
    pub part: Option<Part>,
}

/// What [`Outbox::next`] showed last.
#[derive(Clone, Copy, Debug, Default)]
enum Shown {
    #[default]
    Nothing,
    Message(Ticket),
    Abandonment(Priority),
}

/// Why a message was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// There is no room at the moment: wait until messages have left, or give up.
    QueueFull,
    /// The payload can never be queued here: split it.
    TooLong {
        /// The longest payload that can, in bytes.
        max: u32,
    },
}

impl core::fmt::Display for SendError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::QueueFull => f.write_str("the queue to the peer is full"),
            Self::TooLong { max } => write!(f, "the payload is longer than {max} bytes"),
        }
    }
}

impl core::error::Error for SendError {}

/// What becomes of a queued message that is dropped, as it is counted.
fn fate_of(entry: &Entry, reason: Reason, taken: &[u64; CLASSES], books: &mut Books) -> Fate {
    let counters = books.of(entry.header.reliability);
    let ticket = entry.ticket();
    if ticket.ordinal <= taken[ticket.class as usize] {
        counters.unconfirmed += 1;
        return Fate::unconfirmed(ticket);
    }
    counters.count_drop(reason);
    Fate::Dropped { ticket, reason }
}

/// Priority classes; a class's index is its priority as a number.
const CLASSES: usize = Priority::ALL.len();

/// How many messages of other classes a class lets pass before it gets a turn. The shares that this guarantees, 1/9,
/// 1/17 and 1/33, leave Critical four fifths of a saturated link. Critical is always first and needs none.
const PATIENCE: [u8; CLASSES] = [32, 16, 8, u8::MAX];

/// How many sequences of a class a receiver remembers at least (docs/protocol.md, section 6). One that is sent again may lie
/// no further back than that, or it would be taken for a duplicate.
const REMEMBERED: u64 = 1024;

const NEVER: Instant = Instant::from_micros(u64::MAX);
