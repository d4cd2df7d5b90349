//! From admitted messages to the queues of all who want them, and what waits where a queue is full.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use hyphal_core::session::Mark;
use hyphal_core::time::Instant;
use hyphal_core::wire::reason::Reason;

use super::admission::{Contents, Other};
use super::envelopes::open;
use super::parts::{Fragment, NoMemory};
use super::{Claim, Inflow, Item, count_received, drop_received, refuse};
use crate::assembly::Share;
use crate::clock;
use crate::guaranteed::{Arrival, Hold};
use crate::hub::Hub;
use crate::message::{Batch, Entry, Protection};
use crate::peer::Peer;
use crate::queue::{Delivery, Pushed, Queue};
use crate::signal::Consumption;

/// What waits for room in a queue, oldest first, and what it holds of the budget.
pub(super) struct Backlog {
    pub(super) queue: Arc<Queue>,
    pub(super) deliveries: VecDeque<(Delivery, Option<Share>)>,
}

impl Inflow {
    /// Hands the messages of a record to all who want them, in order.
    pub(crate) fn deliver(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        now: Instant,
        mark: Mark,
        bytes: Bytes,
        contents: Contents,
    ) {
        let Contents { mut entries, others, lists } = contents;
        let _handing_out = if others.is_empty() { None } else { peer.hand_out() };
        lists.into_iter().for_each(|list| self.handle_revocations(hub, peer, list));
        let signal = Arc::clone(&self.signal);
        let mut claim = Claim { signal: &signal, bytes: mark.bytes - self.received, consumption: None };
        self.received = mark.bytes;
        let mut behind = 0;
        for (before, Other { entry, full, arrival, number, part, compressed }) in others {
            let rest = entries.split_off(before - behind);
            behind = before;
            let entries = std::mem::replace(&mut entries, rest);
            self.deliver_entries(hub, peer, entries, &bytes, &mut claim);
            let bytes = bytes.slice(entry.range());
            match part {
                Some(part) => {
                    let fragment =
                        Fragment { entry, full, number, part, compressed, bytes, inner: OnceLock::new() };
                    self.deliver_part(hub, peer, now, fragment, &mut claim);
                }
                None if full => match open(hub, peer, &entry, bytes) {
                    Ok(batch) => self.deliver_batch(hub, peer, batch, arrival, &mut claim),
                    Err(reason) => {
                        refuse(arrival.as_ref(), reason);
                        drop_received(hub, peer, reason, 1);
                    }
                },
                None => {
                    let batch = batch_of(hub, peer, vec![Entry { offset: 0, ..entry }], bytes);
                    self.deliver_batch(hub, peer, Batch { compressed, ..batch }, arrival, &mut claim);
                }
            }
        }
        self.deliver_entries(hub, peer, entries, &bytes, &mut claim);
        let awaited = match &claim.consumption {
            Some(consumption) => Arc::downgrade(consumption),
            None => {
                self.signal.release(claim.bytes);
                Weak::new()
            }
        };
        self.await_consumption(mark, awaited);
    }

    fn deliver_entries(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        entries: Vec<Entry>,
        bytes: &Bytes,
        claim: &mut Claim<'_>,
    ) {
        if !entries.is_empty() {
            self.deliver_batch(hub, peer, batch_of(hub, peer, entries, bytes.clone()), None, claim);
        }
    }

    fn deliver_batch(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        batch: Batch,
        arrival: Option<Arc<Arrival>>,
        claim: &mut Claim<'_>,
    ) {
        if self.waiting.is_empty() {
            self.distribute(hub, peer, batch, arrival, &claim.consumption());
        } else {
            self.waiting.push_back(Item::Batch(batch, arrival, claim.consumption()));
        }
    }

    fn deliver_part(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        now: Instant,
        fragment: Fragment,
        claim: &mut Claim<'_>,
    ) {
        let kept_back = match self.waiting.is_empty() {
            true => self.handle_part(hub, peer, now, fragment, claim).err(),
            false => Some(NoMemory(fragment)),
        };
        if let Some(NoMemory(fragment)) = kept_back {
            self.waiting.push_back(Item::Part(fragment, claim.consumption()));
        }
    }

    /// Gives messages that came in one piece to the subscriptions that take them, or to the inbox.
    pub(super) fn distribute(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        batch: Batch,
        arrival: Option<Arc<Arrival>>,
        consumption: &Arc<Consumption>,
    ) {
        count_received(hub, peer, batch.len() as u64);
        let arrival = arrival.as_ref();
        let Some(rest) = self.deliver_to_subscribers(hub, peer, batch, arrival, consumption) else { return };
        self.deliver_to_inbox(hub, peer, rest, arrival, consumption, None);
    }

    /// Gives each subscription what it takes; returns what none took.
    fn deliver_to_subscribers(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        mut batch: Batch,
        arrival: Option<&Arc<Arrival>>,
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
                let (record, protection) = (batch.record.clone(), batch.protection.clone());
                let batch = Batch { record, entries, protection, ..batch };
                let (consumption, hold) = (Some(Arc::clone(consumption)), arrival.map(Hold::new));
                let delivery = Delivery { batch, stream: None, consumption, hold };
                self.push(hub, peer, &subscriber.queue, delivery, None);
            }
        }
        let mut is_taken = is_taken.into_iter();
        batch.entries.retain(|_| !is_taken.next().unwrap_or(false));
        (!batch.entries.is_empty()).then_some(batch)
    }

    pub(super) fn deliver_to_inbox(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        batch: Batch,
        arrival: Option<&Arc<Arrival>>,
        consumption: &Arc<Consumption>,
        held: Option<Share>,
    ) {
        if hub.inbox.is_open() {
            let (consumption, hold) = (Some(Arc::clone(consumption)), arrival.map(Hold::new));
            let delivery = Delivery { batch, stream: None, consumption, hold };
            self.push(hub, peer, &hub.inbox.queue, delivery, held);
        } else if let (Some(guaranteed), Some(arrival)) = (&hub.guaranteed, arrival) {
            guaranteed.unclaimed().park(hub, batch, arrival);
        } else {
            drop_received(hub, peer, Reason::NoReceiver, batch.len() as u64);
        }
    }

    /// Queues a delivery, behind those that the queue did not take before.
    pub(super) fn push(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        queue: &Arc<Queue>,
        delivery: Delivery,
        held: Option<Share>,
    ) {
        if let Some(backlog) = self.held_back.iter_mut().find(|backlog| Arc::ptr_eq(&backlog.queue, queue)) {
            backlog.deliveries.push_back((delivery, held));
        } else if let Some(delivery) = self.offer(hub, peer, queue, delivery) {
            let deliveries = VecDeque::from([(delivery, held)]);
            self.held_back.push(Backlog { queue: Arc::clone(queue), deliveries });
        }
    }

    /// Offers a delivery to a queue; it comes back if the queue is full.
    pub(super) fn offer(
        &self,
        hub: &Hub,
        peer: &Peer,
        queue: &Queue,
        delivery: Delivery,
    ) -> Option<Delivery> {
        let is_guaranteed = delivery.hold.is_some();
        match queue.push(delivery, &self.signal) {
            Pushed::Queued => {
                // A subscription was made since the inbox was chosen.
                if std::ptr::eq(queue, &*hub.inbox.queue) && !hub.inbox.is_open() {
                    match &hub.guaranteed {
                        Some(guaranteed) if is_guaranteed => guaranteed.unclaimed().look_again(),
                        _ => hub.empty_unread_inbox(None),
                    }
                }
                None
            }
            Pushed::Full(delivery) => Some(delivery),
            Pushed::Closed(Delivery { batch, stream: None, hold: Some(hold), .. }) => {
                if let (Some(guaranteed), Some(arrival)) = (&hub.guaranteed, hold.into_arrival()) {
                    guaranteed.unclaimed().park(hub, batch, &arrival);
                }
                None
            }
            Pushed::Closed(delivery) => {
                // A stream that nobody reads is noticed with its next part.
                if delivery.stream.is_none() {
                    drop_received(hub, peer, Reason::NoReceiver, delivery.batch.len() as u64);
                }
                None
            }
        }
    }
}

pub(super) fn batch_of(hub: &Hub, peer: &Peer, entries: Vec<Entry>, record: Bytes) -> Batch {
    let own = hub.plan.identity.id();
    let received_at = clock::wall_time();
    let protection = Protection::default();
    Batch { record, compressed: None, entries, own, source: peer.id, received_at, protection }
}
