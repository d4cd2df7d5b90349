//! The outbox of one peer: what waits to be sent to it, and what was sent but not yet acknowledged.
//!
//! It outlives sessions and is the sole owner of queued payloads. It is not a retransmitter: a message leaves when its
//! last byte is in a record, and what the outbox keeps afterwards is the watermarks from which its fate is told.
//!
//! Invariant: `pushed == confirmed + unconfirmed + dropped + in flight + queued`, after every call.

use core::num::NonZeroU64;

use crate::ids::{Priority, Reliability};
use crate::time::{Duration, Instant};
use crate::wire::message::{Compressed, FRAGMENT_LEN, Methods, Part};
use crate::wire::reason::Reason;

mod fixed;
mod flights;
mod progress;
#[cfg(feature = "alloc")]
mod shared;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use fixed::{FixedStorage, NotShared, TinyOutbox};
#[cfg(feature = "alloc")]
pub use shared::SharedStorage;

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
/// begins anew in the next.
#[derive(Debug)]
pub struct Outbox<S: Storage> {
    storage: S,
    /// The ordinal of the youngest message of each class.
    youngest: [u64; CLASSES],
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
    counters: Counters,
}

/// What becomes of a message that is taken.
#[derive(Clone, Copy, Debug, Default)]
enum Link {
    /// It leaves: the stream delivers it, or breaks.
    #[default]
    Stream,
    /// It is retained until the peer is done with it, to be written again. `parted` has a bit for each class of which a
    /// message was taken in parts that have not all arrived.
    Datagram { piece_len: u16, parted: u8 },
}

impl<S: Storage> Outbox<S> {
    /// An empty outbox for one peer.
    pub fn new(storage: S) -> Self {
        Self {
            storage,
            youngest: [0; CLASSES],
            passed_over: [0; CLASSES],
            expires_at: NEVER,
            shown: Shown::Nothing,
            progress: Progress::default(),
            flights: Flights::default(),
            link: Link::Stream,
            peer_max: u32::MAX,
            peer_takes: Methods::ALL,
            counters: Counters::default(),
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
        self.counters.pushed += 1;
        self.storage.push(entry, payload);
        Ok(entry.ticket())
    }

    /// Makes room for a payload of `len` bytes at the cost of messages that are not more urgent than `priority`: the least
    /// urgent class goes first, and within a class the oldest. Says whether the payload would be queued now.
    ///
    /// They are dropped as [`Reason::Shed`]. Nothing is shed that need not go, and nothing at all if it would not suffice.
    pub fn make_room(&mut self, now: Instant, len: usize, priority: Priority) -> bool {
        if u32::try_from(len).map_or(true, |len| len > self.max_message()) {
            return false;
        }
        if !self.storage.has_room(len) {
            self.drop_expired(now);
        }
        let (lesser, more_urgent) = Priority::ALL.split_at(priority as usize + 1);
        let kept: usize = more_urgent.iter().map(|&class| self.storage.bytes_in(class)).sum();
        let suffices = kept as u64 + len as u64 <= u64::from(self.storage.max_payload());
        if suffices {
            for &class in lesser {
                while !self.storage.has_room(len) && self.storage.len(class) > 0 {
                    self.drop_front(class, Reason::Shed);
                }
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
                self.rest();
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
            Shown::Abandonment(class) => return self.progress.handle_told(class),
            Shown::Message(ticket) => ticket,
        };
        let whole_len = match self.storage.front(shown.class) {
            Some((entry, payload)) if entry.ordinal == shown.ordinal => payload.len(),
            _ => return,
        };
        if self.progress.written(shown.class).saturating_add(written) < whole_len {
            return self.take_part(shown, written, whole_len);
        }
        let is_parted = self.progress.written(shown.class) > 0;
        self.progress.handle_whole(shown.class);
        match &mut self.link {
            Link::Stream => {
                self.storage.pop(shown.class);
                self.flights.board(shown);
            }
            Link::Datagram { parted, .. } => {
                self.storage.retain(shown.class);
                if is_parted {
                    *parted |= 1 << shown.class as u8;
                }
            }
        }
        self.counters.written += 1;
        self.pass_over(shown.class);
        if self.storage.is_empty() {
            self.expires_at = NEVER;
        }
    }

    /// Drops a message that is queued, wherever it stands, and says whether it was. What is written as a whole stays.
    pub fn cancel(&mut self, ticket: Ticket) -> bool {
        let (counters, progress) = (&mut self.counters, &mut self.progress);
        let mut is_found = false;
        self.storage.drop_where(ticket.class, |entry| {
            if entry.ordinal != ticket.ordinal {
                return None;
            }
            is_found = true;
            counters.count_drop(Reason::Cancelled);
            progress.handle_dropped(entry);
            Some(Reason::Cancelled)
        });
        if self.storage.is_empty() {
            self.expires_at = NEVER;
        }
        self.rest();
        is_found
    }

    /// The open record was sealed with this counter and handed to the link. Does nothing if it holds no message.
    ///
    /// Counters rise within a session.
    #[inline]
    pub fn handle_record_written(&mut self, counter: u64) {
        self.flights.depart(counter);
    }

    /// The peer is done with all records whose counter is less than `through`: their messages are confirmed.
    ///
    /// The session has checked that those records were written. A record that is still open is never confirmed.
    pub fn handle_ack(&mut self, through: u64) {
        while let Some(flight) = self.flights.land(through) {
            self.counters.confirmed += flight.messages;
            for (class, through) in flight.watermarks() {
                self.storage.ledger().settle(Fate::Confirmed { class, through });
            }
        }
        self.rest();
    }

    /// What [`next`](Self::next) showed last and [`take`](Self::take) will take of, unless it is an abandonment.
    pub fn shown(&self) -> Option<Ticket> {
        match self.shown {
            Shown::Message(ticket) => Some(ticket),
            Shown::Nothing | Shown::Abandonment(_) => None,
        }
    }

    /// The first retained message of a class from ordinal `from` up to `last`, with its ordinal, to be written again.
    ///
    /// Those on the way that have expired are given up: they were written, so they are unconfirmed.
    pub fn retained(
        &mut self,
        now: Instant,
        class: Priority,
        from: u64,
        last: u64,
    ) -> Option<(u64, Next<'_>)> {
        self.give_up_expired(now, class, from, last);
        let (entry, payload) =
            self.storage.retained(class, from).filter(|(entry, _)| entry.ordinal <= last)?;
        let waited = now.since(entry.pushed_at);
        Some((entry.ordinal, Next { header: &entry.header, waited, payload, part: None }))
    }

    /// `len` payload bytes from `offset` on, taken before, of a message that is retained or has its turn, to be written again.
    pub fn retained_part(&mut self, now: Instant, ticket: Ticket, offset: u32, len: u32) -> Option<Next<'_>> {
        let Ticket { class, ordinal } = ticket;
        if self.give_up_expired(now, class, ordinal, ordinal) {
            // Only of the last one are parts still missing.
            self.handle_parts_arrived(class);
        }
        let is_it = |(entry, _): &(&Entry, &[u8])| entry.ordinal == ordinal;
        let retained = self.storage.retained(class, ordinal).filter(is_it);
        let (entry, payload) = retained.or_else(|| self.storage.front(class).filter(is_it))?;
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(usize::try_from(len).ok()?)?;
        let part = Some(Part { total: u32::try_from(payload.len()).ok()?, offset });
        let waited = now.since(entry.pushed_at);
        Some(Next { header: &entry.header, waited, payload: payload.get(start..end)?, part })
    }

    /// The peer is done with the retained messages of a class from ordinal `first` to `last`: they are confirmed and leave.
    pub fn handle_delivered(&mut self, class: Priority, first: u64, last: u64) {
        // One word for all of them, if nothing before them still waits.
        let are_oldest = self.storage.retained(class, 0).is_some_and(|(entry, _)| entry.ordinal >= first);
        let mut through = None;
        while let Some((entry, _)) = self.storage.retained(class, first)
            && entry.ordinal <= last
        {
            let ticket = entry.ticket();
            self.storage.forget(ticket.class, ticket.ordinal);
            self.counters.confirmed += 1;
            through = Some(ticket.ordinal);
            if !are_oldest {
                self.storage.ledger().settle(Fate::ConfirmedOne { ticket });
            }
        }
        if are_oldest && let Some(through) = through {
            self.storage.ledger().settle(Fate::Confirmed { class, through });
        }
        self.rest();
    }

    /// All parts of the message of a class that was taken in parts last have arrived: the next one may be.
    pub fn handle_parts_arrived(&mut self, class: Priority) {
        if let Link::Datagram { parted, .. } = &mut self.link {
            *parted &= !(1 << class as u8);
        }
    }

    /// A session with the peer is up over datagrams: what is taken is retained until
    /// [`handle_delivered`](Self::handle_delivered), and sessions call neither
    /// [`handle_record_written`](Self::handle_record_written) nor [`handle_ack`](Self::handle_ack).
    ///
    /// As [`handle_session_start`](Self::handle_session_start). A payload longer than `piece_len` may need several records:
    /// of those one of each class is under way at a time, until [`handle_parts_arrived`](Self::handle_parts_arrived).
    pub fn handle_datagram_session_start(&mut self, max_message: u32, piece_len: u16) {
        self.handle_session_start(max_message);
        self.link = Link::Datagram { piece_len, parted: 0 };
    }

    /// A session with the peer is up over a stream; the peer takes payloads of at most `max_message` bytes.
    ///
    /// Longer messages are dropped when their turn comes and refused by [`push`](Self::push), until another session
    /// says otherwise. What an earlier session left in flight becomes unconfirmed.
    pub fn handle_session_start(&mut self, max_message: u32) {
        self.handle_session_end();
        self.peer_max = max_message;
    }

    /// The peer of the session takes payloads that are compressed by these methods, and no others.
    ///
    /// Until a session says otherwise all are taken to be right. Messages that are compressed otherwise are dropped when
    /// their turn comes; [`unpack`](Self::unpack) before saves them.
    pub fn handle_methods(&mut self, takes: Methods) {
        self.peer_takes = takes;
    }

    /// Replaces the queued payloads that are compressed by another method than these with what `unpack` makes of them,
    /// where it makes something. A storage that shares no payloads keeps all as they are.
    pub fn unpack(&mut self, takes: Methods, mut unpack: impl FnMut(Compressed, &[u8]) -> Option<S::Shared>) {
        for class in Priority::ALL {
            self.storage.replace_where(class, |header, payload| {
                let compressed = header.compressed.filter(|compressed| !takes.has(compressed.method))?;
                let original = unpack(compressed, payload)?;
                header.compressed = None;
                Some(original)
            });
        }
    }

    /// The session ended: every message that was taken and not acknowledged becomes unconfirmed, as it may or may not
    /// have been delivered. Queued messages stay, and one that was taken in part is whole again.
    pub fn handle_session_end(&mut self) {
        self.shown = Shown::Nothing;
        self.progress.reset();
        let lost = self.flights.ground();
        self.counters.unconfirmed += lost.messages;
        for (class, through) in lost.watermarks() {
            self.storage.ledger().settle(Fate::Unconfirmed { class, through });
        }
        for class in Priority::ALL {
            self.give_up_retained(class);
        }
        self.link = Link::Stream;
        self.rest();
    }

    /// Drops every message that has expired, wherever it stands in its queue.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.drop_expired(now);
        self.rest();
    }

    /// When to call [`handle_timeout`](Self::handle_timeout). May be too early after a message has left, never too late.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (self.expires_at != NEVER).then_some(self.expires_at)
    }

    /// Drops everything that is queued. What is in flight stays.
    pub fn clear(&mut self, reason: Reason) {
        self.drop_where(|_| Some(reason));
        self.rest();
    }

    /// Drops the broadcasts that are queued. What is in flight stays.
    pub fn clear_broadcasts(&mut self, reason: Reason) {
        self.drop_where(|entry| entry.header.broadcast.then_some(reason));
        self.rest();
    }

    /// What became of all messages since the outbox was made.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Messages that wait for their turn.
    pub fn queued(&self) -> usize {
        Priority::ALL.into_iter().map(|class| self.storage.len(class)).sum()
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

    /// Whether nothing is queued and nothing in flight. An idle outbox holds no buffers.
    pub fn is_idle(&self) -> bool {
        self.storage.is_empty()
            && self.storage.retained_len() == 0
            && self.flights.is_empty()
            && !self.progress.has_abandoned()
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
        for class in Priority::ALL.into_iter().rev() {
            if self.storage.len(class) == 0 || self.is_blocked(class) {
                continue;
            }
            if self.passed_over[class as usize] >= PATIENCE[class as usize] {
                return Some(class);
            }
            most_urgent = most_urgent.or(Some(class));
        }
        most_urgent
    }

    /// Whether the class's first message must wait for a retained one before it.
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
        let (Some((front, payload)), Some((oldest, _))) =
            (self.storage.front(class), self.storage.retained(class, 0))
        else {
            return false;
        };
        let span = front.header.sequence.saturating_sub(oldest.header.sequence);
        span >= REMEMBERED || (is_parted && payload.len() > usize::from(piece_len))
    }

    /// Settles the expired ones among the retained messages of a class from one ordinal to another, up to the first that
    /// lives, and says whether there was one.
    fn give_up_expired(&mut self, now: Instant, class: Priority, from: u64, last: u64) -> bool {
        let before = self.counters.unconfirmed;
        while let Some((entry, _)) = self.storage.retained(class, from)
            && entry.ordinal <= last
            && entry.has_expired(now)
        {
            let ticket = entry.ticket();
            self.storage.forget(ticket.class, ticket.ordinal);
            self.counters.unconfirmed += 1;
            self.storage.ledger().settle(Fate::UnconfirmedOne { ticket });
        }
        self.rest();
        self.counters.unconfirmed > before
    }

    /// Settles all retained messages of a class.
    fn give_up_retained(&mut self, class: Priority) {
        let mut through = None;
        while let Some((entry, _)) = self.storage.retained(class, 0) {
            let ticket = entry.ticket();
            self.storage.forget(ticket.class, ticket.ordinal);
            self.counters.unconfirmed += 1;
            through = Some(ticket.ordinal);
        }
        if let Some(through) = through {
            self.storage.ledger().settle(Fate::Unconfirmed { class, through });
        }
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

    fn drop_front(&mut self, class: Priority, reason: Reason) {
        let Some(entry) = self.storage.pop(class) else { return };
        self.progress.handle_dropped(&entry);
        self.counters.count_drop(reason);
        self.storage.ledger().settle(Fate::Dropped { ticket: entry.ticket(), reason });
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
        let (mut expires_at, counters, progress) = (NEVER, &mut self.counters, &mut self.progress);
        for class in Priority::ALL {
            self.storage.drop_where(class, |entry| {
                let reason = verdict(entry);
                match reason {
                    Some(reason) => {
                        counters.count_drop(reason);
                        progress.handle_dropped(entry);
                    }
                    None => expires_at = expires_at.min(entry.expires_at()),
                }
                reason
            });
        }
        self.expires_at = expires_at;
    }

    /// Gives the memory back when there is nothing left to keep.
    #[inline]
    fn rest(&mut self) {
        if self.is_idle() {
            self.storage.release();
        }
    }
}

/// What the outbox must know of a message beside its payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The message type; 0 of a full message.
    pub kind: u16,
    /// Whether the payload is an [`Envelope`](crate::wire::envelope::Envelope) in canonical form. Such a one is never compressed.
    pub full: bool,
    /// The class in which the message queues.
    pub priority: Priority,
    /// Whether the message goes to every peer.
    pub broadcast: bool,
    /// What is done for the message when a session ends before its acknowledgement.
    pub reliability: Reliability,
    /// The number in the message's id.
    pub sequence: u64,
    /// Seconds from `push` after which the message is worthless; 0 = it never expires.
    pub ttl: u32,
    /// How the payload is compressed, if it is.
    pub compressed: Option<Compressed>,
    /// The number of a Guaranteed message in its lane.
    pub number: Option<NonZeroU64>,
}

impl Header {
    /// Bytes of the payload before its compression; 0 if it is not compressed.
    #[inline]
    fn original(&self) -> u32 {
        self.compressed.map_or(0, |compressed| compressed.original)
    }
}

/// A payload on its way into a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a, S> {
    /// Bytes that the storage copies.
    Copied(&'a [u8]),
    /// Bytes that the storage shares with others who hold them.
    Shared(S),
}

impl<S: AsRef<[u8]>> Payload<'_, S> {
    /// The bytes.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Shared(bytes) => bytes.as_ref(),
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

/// Names a message within its outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The class in which the message queues.
    pub class: Priority,
    /// Counts the messages of the class, from 1.
    pub ordinal: u64,
}

/// What became of one or many messages. Each message meets exactly one fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The peer acknowledged every message of the class up to `through` that has met no fate before.
    Confirmed {
        /// The class.
        class: Priority,
        /// The ordinal of the last message that this tells of.
        through: u64,
    },
    /// The session ended before an acknowledgement: every message of the class up to `through` that has met no fate
    /// before was written, or was about to be, and may have been delivered.
    Unconfirmed {
        /// The class.
        class: Priority,
        /// The ordinal of the last message that this tells of.
        through: u64,
    },
    /// The peer acknowledged this message, while older ones of its class still wait.
    ConfirmedOne {
        /// Which one.
        ticket: Ticket,
    },
    /// This message was written at least once, was not acknowledged, and expired before it could be written again.
    UnconfirmedOne {
        /// Which one.
        ticket: Ticket,
    },
    /// One message was dropped from the queue, never written as a whole.
    Dropped {
        /// Which one.
        ticket: Ticket,
        /// Why.
        reason: Reason,
    },
}

/// Someone who wants to know the fate of every message, as a caller who waits for a confirmation.
pub trait Ledger {
    /// Takes note of a fate. Called while the outbox is in use, so it must be quick and must not block.
    fn settle(&mut self, fate: Fate);
}

impl Ledger for () {
    #[inline]
    fn settle(&mut self, _: Fate) {}
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

/// What became of all messages of an outbox. Each field only rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Queued by `push`.
    pub pushed: u64,
    /// Taken into a record; later confirmed, unconfirmed or still in flight.
    pub written: u64,
    /// Acknowledged by the peer.
    pub confirmed: u64,
    /// In flight when their session ended.
    pub unconfirmed: u64,
    /// Dropped since their time to live had passed.
    pub expired: u64,
    /// Dropped since the peer takes no message that long.
    pub peer_limit: u64,
    /// Dropped since the peer was removed.
    pub peer_gone: u64,
    /// Dropped since the sender wanted it no more.
    pub cancelled: u64,
    /// Dropped by `make_room` for the sake of others.
    pub shed: u64,
    /// Dropped by `clear` for any other reason.
    pub cleared: u64,
}

impl Counters {
    /// All that were dropped, whatever the reason.
    pub const fn dropped(&self) -> u64 {
        self.expired + self.peer_limit + self.peer_gone + self.cancelled + self.shed + self.cleared
    }

    fn count_drop(&mut self, reason: Reason) {
        *match reason {
            Reason::Expired => &mut self.expired,
            Reason::PeerLimit => &mut self.peer_limit,
            Reason::PeerGone => &mut self.peer_gone,
            Reason::Cancelled => &mut self.cancelled,
            Reason::Shed => &mut self.shed,
            _ => &mut self.cleared,
        } += 1;
    }
}

/// A queued message without its payload, as a [`Storage`] keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// As it was pushed.
    pub header: Header,
    /// The message's number within its class.
    pub ordinal: u64,
    /// When it was pushed.
    pub pushed_at: Instant,
}

impl Entry {
    /// The name of the message.
    #[inline]
    pub const fn ticket(&self) -> Ticket {
        Ticket { class: self.header.priority, ordinal: self.ordinal }
    }

    #[inline]
    fn expires_at(&self) -> Instant {
        if self.header.ttl == 0 {
            return NEVER;
        }
        let life = u64::from(self.header.ttl) * 1_000_000;
        Instant::from_micros(self.pushed_at.as_micros().saturating_add(life))
    }

    #[inline]
    fn has_expired(&self, now: Instant) -> bool {
        self.header.ttl != 0 && now >= self.expires_at()
    }
}

/// Where an outbox keeps its messages: four first-in first-out queues, bounded together in messages and bytes.
///
/// A message's queue is that of its priority.
pub trait Storage {
    /// A payload that is stored without being copied.
    type Shared: AsRef<[u8]>;
    /// Who learns the messages' fates.
    type Ledger: Ledger;

    /// Appends a message to its queue. The caller has asked [`has_room`](Self::has_room).
    fn push(&mut self, entry: Entry, payload: Payload<'_, Self::Shared>);
    /// The oldest message of the queue.
    fn front(&self, class: Priority) -> Option<(&Entry, &[u8])>;
    /// Removes the oldest message of the queue.
    fn pop(&mut self, class: Priority) -> Option<Entry>;
    /// Asks `verdict` for every message of the queue, oldest first, removes those with a reason and tells the ledger.
    fn drop_where(&mut self, class: Priority, verdict: impl FnMut(&Entry) -> Option<Reason>);
    /// Asks `original` for every message of the queue and, where it gives one, keeps that payload in place of the old one.
    ///
    /// What is not compressed any more weighs as much as before. A storage without shared payloads does nothing.
    fn replace_where(
        &mut self,
        _class: Priority,
        _original: impl FnMut(&mut Header, &[u8]) -> Option<Self::Shared>,
    ) {
    }
    /// What a payload of this length counts in [`bytes`](Self::bytes) and [`has_room`](Self::has_room): at least its length.
    fn weight(_header: &Header, payload_len: usize) -> usize {
        payload_len
    }
    /// Messages in the queue.
    fn len(&self, class: Priority) -> usize;
    /// Whether all queues are empty.
    fn is_empty(&self) -> bool;
    /// Payload bytes in all queues.
    fn bytes(&self) -> usize;
    /// Payload bytes in the queue.
    fn bytes_in(&self, class: Priority) -> usize;
    /// Whether a payload of this length can be pushed now.
    fn has_room(&self, len: usize) -> bool;
    /// The longest payload that an empty storage takes.
    fn max_payload(&self) -> u32;
    /// Moves the oldest message of the queue to the retained ones of its class, behind those that are there.
    fn retain(&mut self, class: Priority);
    /// The first retained message of the class whose ordinal is at least `from`.
    fn retained(&self, class: Priority, from: u64) -> Option<(&Entry, &[u8])>;
    /// Removes a retained message.
    fn forget(&mut self, class: Priority, ordinal: u64);
    /// Retained messages of all classes. They take room like queued ones, and count in nothing else.
    fn retained_len(&self) -> usize;
    /// Gives back memory that empty queues do not need.
    fn release(&mut self);
    /// The ledger.
    fn ledger(&mut self) -> &mut Self::Ledger;
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
