//! What was taken and is not settled: acknowledgements, writing again, and the end of a session.
//!
//! | | over a stream | over datagrams | when the session ends |
//! |---|---|---|---|
//! | BestEffort | leaves when it is taken, or is retained if others before it are | is retained; if its record is lost it is given up, unless it went in parts | unconfirmed |
//! | High | is retained until it is acknowledged | the same, and written again when lost | queued again, before all others of its class |
//! | Guaranteed | as High | as High | withdrawn, as what waits |
//!
//! A class's messages are taken in the order of their ordinals, in every session: what is queued again has lower ones than
//! what waits. So one ordinal for each class tells what was ever taken as a whole, and an acknowledgement is one range.

use super::fate::{Fate, Ledger, Ticket};
use super::storage::{Entry, Storage, Verdict};
use super::{Link, NEVER, Next, Outbox, Shown};
use crate::ids::{Priority, Reliability};
use crate::time::{Duration, Instant};
use crate::wire::message::{Compressed, Methods, Part};

impl<S: Storage> Outbox<S> {
    /// The peer is done with all records whose counter is less than `through`: their messages are confirmed.
    ///
    /// The session has checked that those records were written. A record that is still open is never confirmed.
    pub fn handle_ack(&mut self, through: u64) {
        while let Some(flight) = self.flights.land(through) {
            // What is not retained is BestEffort.
            self.books.best_effort.confirmed += flight.messages;
            for (class, last) in flight.watermarks() {
                let (best_effort, kept) = self.storage.forget_through(class, last);
                self.books.best_effort.confirmed += best_effort;
                self.books.kept.confirmed += kept;
                self.storage.ledger().settle(Fate::Confirmed { class, first: 1, last });
            }
        }
    }

    /// The first retained message of a class from ordinal `from` up to `last`, with its ordinal, to be written again.
    ///
    /// Those on the way that have expired or are BestEffort are given up: they were written, so they are unconfirmed.
    pub fn retained(
        &mut self,
        now: Instant,
        class: Priority,
        from: u64,
        last: u64,
    ) -> Option<(u64, Next<'_>)> {
        self.give_up_where(class, from, last, |entry| {
            entry.has_expired(now) || entry.header.reliability == Reliability::BestEffort
        });
        let (entry, payload) =
            self.storage.retained(class, from).filter(|(entry, _)| entry.ordinal <= last)?;
        let waited = now.since(entry.pushed_at);
        Some((entry.ordinal, Next { header: &entry.header, waited, payload, part: None }))
    }

    /// `len` payload bytes from `offset` on, taken before, of a message that is retained or has its turn, to be written again.
    ///
    /// One that has expired is given up, which leaves an abandonment.
    pub fn retained_part(&mut self, now: Instant, ticket: Ticket, offset: u32, len: u32) -> Option<Next<'_>> {
        let Ticket { class, ordinal } = ticket;
        self.give_up_parts(now, ticket);
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
        while let Some((entry, _)) = self.storage.retained(class, first)
            && entry.ordinal <= last
        {
            let (ordinal, reliability) = (entry.ordinal, entry.header.reliability);
            self.storage.forget(class, ordinal);
            self.books.of(reliability).confirmed += 1;
        }
        self.storage.ledger().settle(Fate::Confirmed { class, first, last });
    }

    /// All parts of the message of a class that was taken in parts last have arrived: the next one may be.
    pub fn handle_parts_arrived(&mut self, class: Priority) {
        if let Link::Datagram { parted, .. } = &mut self.link {
            *parted &= !(1 << class as u8);
        }
    }

    /// The abandonment of a class's message that was taken and has not arrived, to be written again.
    pub fn abandonment(&self, class: Priority) -> Option<Next<'_>> {
        let (header, part) = self.progress.told(class)?;
        Some(Next { header, waited: Duration::ZERO, payload: &[], part: Some(part) })
    }

    /// The abandonment of a class's message has arrived: the next one may be taken in parts.
    pub fn handle_abandonment_arrived(&mut self, class: Priority) {
        self.progress.handle_heard(class);
        self.rest();
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

    /// Whether there is a BestEffort message among the retained ones of a class from one ordinal to another.
    pub fn retains_best_effort(&self, class: Priority, first: u64, last: u64) -> bool {
        let mut from = first;
        while let Some((entry, _)) = self.storage.retained(class, from)
            && entry.ordinal <= last
        {
            if entry.header.reliability == Reliability::BestEffort {
                return true;
            }
            from = entry.ordinal + 1;
        }
        false
    }

    /// The session ended: of what was taken and not acknowledged the BestEffort messages become unconfirmed, as they may
    /// or may not have been delivered, High ones are queued again before all others of their class, and Guaranteed ones
    /// are withdrawn, those that wait too. Other queued messages stay, and one that was taken in part is whole again.
    pub fn handle_session_end(&mut self) {
        self.shown = Shown::Nothing;
        self.progress.reset();
        let lost = self.flights.ground();
        self.books.best_effort.unconfirmed += lost.messages;
        self.withdraw();
        for class in Priority::ALL {
            self.settle_retained(class, lost.through(class));
        }
        self.storage.ledger().handle_withdrawn();
        self.link = Link::Stream;
        self.rest();
    }

    /// Withdraws the Guaranteed messages that are queued.
    pub(super) fn withdraw(&mut self) {
        self.has_guaranteed = false;
        for class in Priority::ALL {
            let Self { storage, progress, books, .. } = self;
            storage.drop_where(class, |entry| {
                if entry.header.reliability != Reliability::Guaranteed {
                    return Verdict::Keep;
                }
                progress.handle_dropped(entry);
                books.kept.withdrawn += 1;
                Verdict::Withdraw
            });
        }
        if self.storage.is_empty() {
            self.expires_at = NEVER;
        }
    }

    /// Settles all retained messages of a class, or queues them again. `flown` is the last ordinal that is in flight
    /// without being retained, or any before.
    fn settle_retained(&mut self, class: Priority, flown: u64) {
        let was_empty = self.storage.len(class) == 0;
        let (mut from, mut first, mut last) = (1, 1, flown);
        while let Some((entry, _)) = self.storage.retained(class, from) {
            let ordinal = entry.ordinal;
            from = ordinal + 1;
            if entry.header.reliability == Reliability::BestEffort {
                self.storage.forget(class, ordinal);
                self.books.best_effort.unconfirmed += 1;
                last = last.max(ordinal);
                continue;
            }
            if entry.header.reliability == Reliability::High {
                self.expires_at = self.expires_at.min(entry.expires_at());
                self.books.kept.requeued += 1;
            } else {
                self.storage.forget(class, ordinal);
                self.books.kept.withdrawn += 1;
            }
            self.tell_unconfirmed(class, first, last.min(ordinal - 1));
            first = from;
        }
        self.tell_unconfirmed(class, first, last);
        self.storage.requeue(class);
        if was_empty {
            self.passed_over[class as usize] = 0;
        }
    }

    /// Gives up a retained message of which parts are missing, if it has expired: the peer is told, as no more of it comes.
    fn give_up_parts(&mut self, now: Instant, ticket: Ticket) {
        let Ticket { class, ordinal } = ticket;
        let Some((entry, payload)) = self.storage.retained(class, ordinal) else { return };
        if entry.ordinal != ordinal || !entry.has_expired(now) {
            return;
        }
        // Only of the last one are parts still missing.
        if let Link::Datagram { parted, .. } = &mut self.link
            && *parted & 1 << class as u8 != 0
        {
            *parted &= !(1 << class as u8);
            // It is at most `peer_max` long.
            self.progress.handle_given_up(entry.header, payload.len() as u32);
        }
        self.give_up_where(class, ordinal, ordinal, |_| true);
    }

    fn tell_unconfirmed(&mut self, class: Priority, first: u64, last: u64) {
        if first <= last {
            self.storage.ledger().settle(Fate::Unconfirmed { class, first, last });
        }
    }

    /// Settles the retained messages of a class that match, from one ordinal to another, up to the first that does not.
    fn give_up_where(
        &mut self,
        class: Priority,
        from: u64,
        last: u64,
        mut matches: impl FnMut(&Entry) -> bool,
    ) {
        while let Some((entry, _)) = self.storage.retained(class, from)
            && entry.ordinal <= last
            && matches(entry)
        {
            let (ticket, reliability) = (entry.ticket(), entry.header.reliability);
            self.storage.forget(ticket.class, ticket.ordinal);
            self.books.of(reliability).unconfirmed += 1;
            self.storage.ledger().settle(Fate::unconfirmed(ticket));
        }
        self.rest();
    }
}
