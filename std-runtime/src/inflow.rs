//! From an opened record to the queues of subscriptions, and back to its acknowledgement.
//!
//! Records are acknowledged in order, when the application is done with all of their messages. A batch that finds a queue
//! full is kept here until the queue has room. The link goes on reading: what it holds for the application, here and in
//! queues, is bounded by the credit that the peer was given.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use hyphal_core::ids::Priority;
use hyphal_core::session::{Mark, Message, Messages};
use hyphal_core::wire::family::Family;
use hyphal_core::wire::message::Compressed;
use hyphal_core::wire::reason::Reason;

use crate::clock;
use crate::hub::Hub;
use crate::message::{Batch, Entry, age_millis};
use crate::options::UnknownTypes;
use crate::peer::Peer;
use crate::queue::{Delivery, Pushed, Queue};
use crate::signal::{Consumption, Signal};

/// What a record brought, in order.
pub(crate) enum Arrival {
    /// Messages within the record.
    Entries(Vec<Entry>),
    /// A compressed one within the record.
    Packed(Entry, Compressed),
    /// A message that came in parts, put together.
    Whole(Entry, Option<Compressed>, Bytes),
}

impl Arrival {
    /// Whether the messages lie in the bytes of the record.
    pub(crate) const fn is_in_record(&self) -> bool {
        matches!(self, Self::Entries(_) | Self::Packed(..))
    }
}

/// The receiving side of a link.
pub(crate) struct Inflow {
    signal: Arc<Signal>,
    /// Delivered records, oldest first, and whether somebody still works on them.
    unconsumed: VecDeque<(Mark, Weak<Consumption>)>,
    /// What came so far of messages that are sent in parts, one of each priority at most.
    unfinished: [Vec<u8>; Priority::ALL.len()],
    /// What full queues did not take.
    held_back: Vec<Backlog>,
}

/// What waits for room in a queue, oldest first.
struct Backlog {
    queue: Arc<Queue>,
    deliveries: VecDeque<Delivery>,
}

impl Inflow {
    pub(crate) fn new(signal: Arc<Signal>) -> Self {
        Self { signal, unconsumed: VecDeque::new(), unfinished: Default::default(), held_back: Vec::new() }
    }

    /// The end of the last record up to which the application is done with everything, if there is a new one.
    pub(crate) fn poll_consumed(&mut self) -> Option<Mark> {
        let mut through = None;
        while let Some((mark, consumption)) = self.unconsumed.front() {
            if consumption.strong_count() > 0 {
                break;
            }
            through = Some(*mark);
            self.unconsumed.pop_front();
        }
        through
    }

    /// Admits each message once and in time; the others are counted. A message in parts is admitted with its last one.
    pub(crate) fn admit(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        messages: Messages<'_>,
        base: usize,
    ) -> Vec<Arrival> {
        let mut arrivals = Vec::new();
        let mut entries = Vec::with_capacity(messages.len());
        let mut seen = peer.arrivals();
        for message in messages {
            let whole = match &message {
                Ok(message) if message.part.is_some() => match self.append(message) {
                    Some(whole) => Some(whole),
                    None => continue,
                },
                _ => None,
            };
            let admitted = message.and_then(|message| {
                if hub.plan.unknown_types == UnknownTypes::Refuse && Family::of(message.kind).is_none() {
                    return Err(Reason::UnknownType);
                }
                let seen = if message.broadcast { &mut seen.broadcast } else { &mut seen.direct };
                seen.check(message.id, message.priority, message.age, message.ttl)?;
                Ok(message)
            });
            let message = match admitted {
                Ok(message) => message,
                Err(reason) => {
                    peer.tally.drop_messages(reason, 1);
                    hub.tally.traffic.drop_messages(reason, 1);
                    continue;
                }
            };
            if (whole.is_some() || message.compressed.is_some()) && !entries.is_empty() {
                arrivals.push(Arrival::Entries(std::mem::take(&mut entries)));
            }
            if let Some(whole) = whole {
                arrivals.push(Arrival::Whole(entry(&message, 0, whole.len()), message.compressed, whole));
                continue;
            }
            // The payload is a slice of the record that begins at `base`; an empty one may point anywhere.
            let offset = if message.payload.is_empty() { 0 } else { message.payload.as_ptr().addr() - base };
            let entry = entry(&message, offset, message.payload.len());
            match message.compressed {
                None => entries.push(entry),
                Some(compressed) => arrivals.push(Arrival::Packed(entry, compressed)),
            }
        }
        if !entries.is_empty() {
            arrivals.push(Arrival::Entries(entries));
        }
        arrivals
    }

    /// Hands the messages of a record to all who want them.
    pub(crate) fn deliver(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        mark: Mark,
        bytes: Bytes,
        arrivals: Vec<Arrival>,
    ) {
        if arrivals.is_empty() {
            self.await_consumption(mark, Weak::new());
            return;
        }
        let consumption = Arc::new(Consumption::new(&self.signal));
        self.await_consumption(mark, Arc::downgrade(&consumption));
        let own = hub.plan.identity.id();
        let received_at = clock::wall_time();
        for arrival in arrivals {
            let (record, compressed, entries) = match arrival {
                Arrival::Entries(entries) => (bytes.clone(), None, entries),
                Arrival::Packed(entry, compressed) => {
                    (bytes.slice(entry.range()), Some(compressed), vec![Entry { offset: 0, ..entry }])
                }
                Arrival::Whole(entry, compressed, whole) => (whole, compressed, vec![entry]),
            };
            let count = entries.len() as u64;
            peer.tally.messages_received.fetch_add(count, Relaxed);
            hub.tally.traffic.messages_received.fetch_add(count, Relaxed);
            let batch = Batch { record, compressed, entries, own, source: peer.id, received_at };
            let Some(rest) = self.deliver_to_subscribers(hub, peer, batch, &consumption) else { continue };
            if hub.inbox.is_open() {
                let delivery = Delivery { batch: rest, consumption: Arc::clone(&consumption) };
                self.push(hub, peer, &hub.inbox.queue, delivery);
            } else {
                drop_unread(hub, peer, rest.len());
            }
        }
    }

    /// Appends a part to those that came before; gives all of the message with the last one.
    ///
    /// The session has checked that parts come in order, and that the whole is no longer than this node takes.
    fn append(&mut self, message: &Message<'_>) -> Option<Bytes> {
        let part = message.part?;
        let unfinished = &mut self.unfinished[message.priority as usize];
        if part.is_abandonment() {
            *unfinished = Vec::new();
            return None;
        }
        unfinished.extend_from_slice(message.payload);
        (part.end(message.payload.len()) == Some(part.total)).then(|| std::mem::take(unfinished).into())
    }

    /// Gives each subscription what it takes; returns what none took.
    fn deliver_to_subscribers(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        mut batch: Batch,
        consumption: &Arc<Consumption>,
    ) -> Option<Batch> {
        let subscribers = hub.registry.snapshot();
        if subscribers.is_empty() {
            return Some(batch);
        }
        let mut is_taken = vec![false; batch.len()];
        for subscriber in subscribers.iter().filter(|subscriber| subscriber.filter.takes_from(&peer.id)) {
            let mut entries = Vec::new();
            for (entry, is_taken) in batch.entries.iter().zip(&mut is_taken) {
                if subscriber.filter.takes(entry.kind, entry.priority) {
                    *is_taken = true;
                    entries.push(*entry);
                }
            }
            if !entries.is_empty() {
                let batch = Batch { record: batch.record.clone(), entries, ..batch };
                let delivery = Delivery { batch, consumption: Arc::clone(consumption) };
                self.push(hub, peer, &subscriber.queue, delivery);
            }
        }
        let mut is_taken = is_taken.into_iter();
        batch.entries.retain(|_| !is_taken.next().unwrap_or(false));
        (!batch.entries.is_empty()).then_some(batch)
    }

    /// Tries again what full queues did not take.
    pub(crate) fn retry(&mut self, hub: &Hub) {
        let Self { signal, held_back, .. } = self;
        held_back.retain_mut(|Backlog { queue, deliveries }| {
            while let Some(delivery) = deliveries.pop_front() {
                match queue.push(delivery, signal) {
                    Pushed::Queued => {}
                    Pushed::Full(delivery) => {
                        deliveries.push_front(delivery);
                        return true;
                    }
                    Pushed::Closed(delivery) => {
                        hub.tally.traffic.drop_messages(Reason::NoReceiver, delivery.batch.len() as u64);
                    }
                }
            }
            false
        });
    }

    /// Remembers a record until nobody works on it.
    ///
    /// Acknowledgements are cumulative, so a record that is done already is covered by the next one: only records that somebody
    /// holds take room, and their number is bounded by the queues, whatever a peer sends.
    fn await_consumption(&mut self, mark: Mark, consumption: Weak<Consumption>) {
        let waits_for_others = self.unconsumed.len() > 1;
        match self.unconsumed.back_mut() {
            Some(last) if waits_for_others && last.1.strong_count() == 0 => *last = (mark, consumption),
            _ => self.unconsumed.push_back((mark, consumption)),
        }
    }

    fn push(&mut self, hub: &Hub, peer: &Peer, queue: &Arc<Queue>, delivery: Delivery) {
        // Nothing overtakes what waits already.
        if let Some(backlog) = self.held_back.iter_mut().find(|backlog| Arc::ptr_eq(&backlog.queue, queue)) {
            backlog.deliveries.push_back(delivery);
            return;
        }
        match queue.push(delivery, &self.signal) {
            Pushed::Queued => {}
            Pushed::Full(delivery) => {
                let deliveries = VecDeque::from([delivery]);
                self.held_back.push(Backlog { queue: Arc::clone(queue), deliveries });
            }
            Pushed::Closed(delivery) => drop_unread(hub, peer, delivery.batch.len()),
        }
    }
}

/// The message without its payload, which is `len` bytes from `offset`.
fn entry(message: &Message<'_>, offset: usize, len: usize) -> Entry {
    Entry {
        id: message.id,
        // Neither a record of 64 KiB nor a message is longer.
        offset: offset as u32,
        len: len as u32,
        ttl: message.ttl,
        age_millis: age_millis(message.age),
        kind: message.kind,
        priority: message.priority,
        broadcast: message.broadcast,
    }
}

fn drop_unread(hub: &Hub, peer: &Peer, count: usize) {
    peer.tally.drop_messages(Reason::NoReceiver, count as u64);
    hub.tally.traffic.drop_messages(Reason::NoReceiver, count as u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_nobody_holds_take_no_room_behind_one_that_somebody_does() {
        let signal = Arc::new(Signal::default());
        let mut inflow = Inflow::new(Arc::clone(&signal));
        let held = Arc::new(Consumption::new(&signal));
        inflow.await_consumption(mark(0), Arc::downgrade(&held));

        for record in 1..10_000 {
            inflow.await_consumption(mark(record), Weak::new());
        }

        assert_eq!(inflow.unconsumed.len(), 2);
        assert_eq!(inflow.poll_consumed(), None);
        drop(held);
        assert_eq!(inflow.poll_consumed(), Some(mark(9_999)));
    }

    fn mark(record: u64) -> Mark {
        Mark { record, bytes: 0 }
    }
}
