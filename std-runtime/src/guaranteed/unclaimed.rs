//! Guaranteed messages that nobody receives: they wait a while for somebody who does, and are refused then.
//!
//! An application makes its subscriptions one after another, and peers do not wait for that. But a message that waits for ever
//! keeps its number, and 1,023 numbers later its lane stands still: so waiting has an end, and what would take more memory than
//! the inbox may have is refused at once, and so is what is more than one peer's share of it: whatever a peer sends, there is a place
//! for others. Acknowledgements of other messages do not wait for these.
//!
//! Invariant: what is here matches no subscription, and the inbox was closed when it came.

use std::collections::VecDeque;
use std::collections::btree_map::{BTreeMap, Entry};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyphal_core::ids::NodeId;
use hyphal_core::wire::reason::Reason;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Arrival, Hold};
use crate::hub::Hub;
use crate::message::{self, Batch};
use crate::queue::{Delivery, Queue};
use crate::subscription::Filter;

/// The waiting room of one node.
#[derive(Debug)]
pub(crate) struct Unclaimed {
    patience: Duration,
    /// What all may have here together.
    room: Extent,
    state: Mutex<State>,
    /// Somebody came, or somebody waits where nobody did.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Oldest first.
    waiting: VecDeque<Waiting>,
    /// What was taken in of all, without what came out of the inbox: that has bounded it, and it takes no place from others.
    taken: Extent,
    /// All that waits, by who sent it.
    by_peer: BTreeMap<NodeId, Extent>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    messages: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    until: Instant,
    /// One message.
    batch: Batch,
    arrival: Arc<Arrival>,
    is_from_inbox: bool,
}

impl Unclaimed {
    pub(crate) fn new(patience: Duration, max_messages: usize, max_bytes: usize) -> Self {
        let room = Extent { messages: max_messages, bytes: max_bytes };
        Self { patience, room, state: Mutex::default(), changed: Notify::new() }
    }

    /// Takes a message in. One for which there is no room is refused.
    pub(crate) fn park(&self, hub: &Hub, batch: Batch, arrival: &Arc<Arrival>) {
        let mut state = self.state();
        // Somebody may have come since the link looked.
        if offer(hub, &batch, arrival) {
            return;
        }
        let batch = compact(batch);
        let of_peer = state.by_peer.get(&batch.source()).copied().unwrap_or_default();
        let has_room = state.taken.has_room(&batch, self.room) && of_peer.has_room(&batch, self.room.share());
        if self.patience.is_zero() || !has_room {
            drop(state);
            return refuse(hub, &batch, arrival);
        }
        let (until, arrival) = (Instant::now() + self.patience, Arc::clone(arrival));
        state.push(Waiting { until, batch, arrival, is_from_inbox: false });
        if state.waiting.len() == 1 {
            self.changed.notify_one();
        }
    }

    /// Somebody receives what `filter` takes: his queue begins with what waited for him. `publish` shows the queue to the links.
    pub(crate) fn claim<S>(
        &self,
        hub: &Hub,
        filter: Filter,
        queue: Queue,
        publish: impl FnOnce(Filter, Queue) -> S,
    ) -> S {
        let mut state = self.state();
        self.take_inbox(hub, &mut state);
        state.retain(|waiting| {
            let is_claimed = is_taken(&filter, &waiting.batch);
            if is_claimed {
                queue.push_over(delivery(&waiting.batch, &waiting.arrival));
            }
            !is_claimed
        });
        if !state.waiting.is_empty() {
            // What was in the inbox, and is not for him, has begun to wait.
            self.changed.notify_one();
        }
        // Under the lock, so that nothing younger is before these in the queue.
        publish(filter, queue)
    }

    /// The inbox was opened, or a link has put a message into it after it was closed.
    pub(crate) fn look_again(&self) {
        self.changed.notify_one();
    }

    /// Waits until no message is being given to an application: one that is done with it counts as committed afterwards.
    pub(crate) fn finish_handing_out(&self) {
        drop(self.state());
    }

    /// Refuses what has waited long enough, until the node ends.
    pub(crate) async fn watch(hub: Arc<Hub>) {
        let Some(guaranteed) = &hub.guaranteed else { return };
        let unclaimed = guaranteed.unclaimed();
        loop {
            let next = unclaimed.sweep(&hub);
            let pause = async {
                match next {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = unclaimed.changed.notified() => {}
                () = hub.control.closed() => return,
                () = pause => {}
            }
        }
    }

    /// Gives what somebody takes by now to him, and refuses what is due; says when the next one is.
    fn sweep(&self, hub: &Hub) -> Option<Instant> {
        let mut due = Vec::new();
        let mut state = self.state();
        self.take_inbox(hub, &mut state);
        let now = Instant::now();
        state.retain(|Waiting { until, batch, arrival, .. }| {
            if offer(hub, batch, arrival) {
                return false;
            }
            if *until <= now {
                due.push((batch.clone(), Arc::clone(arrival)));
            }
            *until > now
        });
        let next = state.waiting.front().map(|waiting| waiting.until);
        drop(state);
        due.iter().for_each(|(batch, arrival)| refuse(hub, batch, arrival));
        next
    }

    /// What came before the first subscription was made lies in the inbox. Where nobody reads that, it waits here.
    fn take_inbox(&self, hub: &Hub, state: &mut State) {
        if hub.inbox.is_open() {
            return;
        }
        let until = Instant::now() + self.patience;
        for Delivery { batch, hold, .. } in hub.inbox.queue.take_held() {
            // The inbox has bounded them.
            if let Some(arrival) = hold.and_then(Hold::into_arrival) {
                state.push(Waiting { until, batch: compact(batch), arrival, is_from_inbox: true });
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, waiting: Waiting) {
        if !waiting.is_from_inbox {
            self.taken.add(&waiting.batch);
        }
        self.by_peer.entry(waiting.batch.source()).or_default().add(&waiting.batch);
        self.waiting.push_back(waiting);
    }

    fn retain(&mut self, mut stays: impl FnMut(&Waiting) -> bool) {
        let Self { waiting, taken, by_peer } = self;
        waiting.retain(|waiting| {
            let is_staying = stays(waiting);
            if !is_staying {
                if !waiting.is_from_inbox {
                    taken.remove(&waiting.batch);
                }
                if let Entry::Occupied(mut of_peer) = by_peer.entry(waiting.batch.source()) {
                    of_peer.get_mut().remove(&waiting.batch);
                    if of_peer.get().messages == 0 {
                        of_peer.remove();
                    }
                }
            }
            is_staying
        });
    }
}

impl Extent {
    /// What one peer may have of it.
    fn share(self) -> Self {
        Self { messages: self.messages / SHARES, bytes: self.bytes / SHARES }
    }

    /// Whether the message may be added, up to `most`. A single one always may.
    fn has_room(self, batch: &Batch, most: Self) -> bool {
        let fits = self.messages < most.messages && self.bytes + batch.footprint() <= most.bytes;
        self.messages == 0 || fits
    }

    fn add(&mut self, batch: &Batch) {
        self.messages += 1;
        self.bytes += batch.footprint();
    }

    fn remove(&mut self, batch: &Batch) {
        self.messages -= 1;
        self.bytes -= batch.footprint();
    }
}

/// Gives a message to whoever takes it; says whether anybody does.
fn offer(hub: &Hub, batch: &Batch, arrival: &Arc<Arrival>) -> bool {
    let mut is_taken_by_any = false;
    for subscriber in hub.registry.snapshot().iter() {
        if is_taken(&subscriber.filter, batch) {
            is_taken_by_any |= subscriber.queue.push_over(delivery(batch, arrival));
        }
    }
    is_taken_by_any || hub.inbox.is_open() && hub.inbox.queue.push_over(delivery(batch, arrival))
}

fn is_taken(filter: &Filter, batch: &Batch) -> bool {
    let takes = |entry: &message::Entry| filter.takes(entry.kind, entry.priority);
    filter.takes_from(&batch.source()) && batch.entries.iter().any(takes)
}

fn delivery(batch: &Batch, arrival: &Arc<Arrival>) -> Delivery {
    Delivery { batch: batch.clone(), stream: None, consumption: None, hold: Some(Hold::new(arrival)) }
}

/// The message without the record that it came in, which is much longer than most messages.
fn compact(batch: Batch) -> Batch {
    match batch.entries.first() {
        Some(entry) if batch.record.len() <= SMALL => {
            let record = Bytes::copy_from_slice(&batch.record[entry.range()]);
            Batch { record, entries: vec![message::Entry { offset: 0, ..*entry }], ..batch }
        }
        _ => batch,
    }
}

fn refuse(hub: &Hub, batch: &Batch, arrival: &Arc<Arrival>) {
    let source = batch.source();
    tracing::debug!(peer = %source, "a Guaranteed message is refused: nobody receives it");
    hub.note_unreceived(&source, 1);
    Hold::new(arrival).refuse(Reason::NoReceiver);
}

/// One peer may have one part of so many, or one message.
const SHARES: usize = 4;

/// Bytes of a record up to which one is a slice of a buffer that is read into: longer ones were put together for themselves.
const SMALL: usize = 64 * 1024;
