//! From an opened record to the queues of subscriptions, and back to its acknowledgement.
//!
//! ```text
//!   record ─▶ admit ─┬─ whole messages ──────────────────────────▶ queues
//!                    └─ parts ─▶ put together (`assembly`) ─┬─▶ queues
//!                                                           └─▶ streams, part by part
//! ```
//!
//! Records are acknowledged in order, when the application is done with all of their messages; parts of a message that is
//! put together here are done with at once, but for the last one. Credit is given back in whatever order the application is
//! done. What finds a queue full waits here, and so does everything behind a large message for which there is no memory: the
//! credit of the session bounds that, since the link always reads.
//!
//! A Guaranteed message that came when there was no memory for it, and could not wait, is let go of, and asked for again as
//! soon as there is some (`shortage`).

mod admission;
mod envelopes;
mod handout;
mod parts;
mod shortage;

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use hyphal_core::ids::{MessageId, Priority};
use hyphal_core::session::Mark;
use hyphal_core::time::Instant;
use hyphal_core::wire::reason::Reason;

pub(crate) use self::admission::Contents;
use self::handout::Backlog;
use self::parts::{Fragment, NoMemory, Unfinished};
use self::shortage::Shortages;
use crate::assembly::Budget;
use crate::guaranteed::{Arrival, Hold};
use crate::hub::Hub;
use crate::message::Batch;
use crate::peer::Peer;
use crate::signal::{Consumption, Signal};

/// The receiving side of a link.
pub(crate) struct Inflow {
    signal: Arc<Signal>,
    /// The link's.
    token: u64,
    /// The epochs of the lanes of which the peer has spoken in this session.
    lanes: [Option<u64>; Priority::ALL.len()],
    /// Delivered records, oldest first, and whether somebody still works on them.
    unconsumed: VecDeque<(Mark, Weak<Consumption>)>,
    /// Bytes of all records so far, as credit counts them.
    received: u64,
    /// What full queues did not take.
    held_back: Vec<Backlog>,
    /// Behind a message for which there is no memory: it, and all that came after it.
    waiting: VecDeque<Item>,
    /// Messages of which parts have come.
    unfinished: Vec<Unfinished>,
    /// The messages in parts that ended last.
    ended: VecDeque<(MessageId, bool)>,
    /// When the unfinished messages are next looked at.
    look_at: Option<Instant>,
    /// Guaranteed messages for which there was no memory.
    shortages: Shortages,
    budget: Arc<Budget>,
}

/// Something on its way to the application.
enum Item {
    /// Messages of a record, for whoever wants them.
    Batch(Batch, Option<Arc<Arrival>>, Arc<Consumption>),
    /// A part of a message.
    Part(Fragment, Arc<Consumption>),
}

/// A record's claim on the session's credit, handed to whoever works on it; given up at once if nobody does.
struct Claim<'s> {
    signal: &'s Arc<Signal>,
    bytes: u64,
    consumption: Option<Arc<Consumption>>,
}

impl Claim<'_> {
    fn consumption(&mut self) -> Arc<Consumption> {
        let Self { signal, bytes, consumption } = self;
        Arc::clone(consumption.get_or_insert_with(|| Arc::new(Consumption::new(signal, *bytes))))
    }
}

impl Inflow {
    pub(crate) fn new(signal: Arc<Signal>, token: u64, budget: Arc<Budget>) -> Self {
        Self {
            signal,
            token,
            lanes: [None; Priority::ALL.len()],
            unconsumed: VecDeque::new(),
            received: 0,
            held_back: Vec::new(),
            waiting: VecDeque::new(),
            unfinished: Vec::new(),
            ended: VecDeque::new(),
            look_at: None,
            shortages: Shortages::default(),
            budget,
        }
    }

    /// Whether something waits for room.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.held_back.is_empty() || !self.waiting.is_empty()
    }

    /// Whether there is something to [try again](Self::retry).
    pub(crate) fn is_waiting(&self) -> bool {
        self.is_blocked() || !self.shortages.is_empty()
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

    /// Tries again what had to wait.
    pub(crate) fn retry(&mut self, hub: &Hub, peer: &Peer, now: Instant) {
        let _handing_out = peer.hand_out();
        for mut backlog in std::mem::take(&mut self.held_back) {
            while let Some((delivery, held)) = backlog.deliveries.pop_front() {
                if let Some(delivery) = self.offer(hub, peer, &backlog.queue, delivery) {
                    backlog.deliveries.push_front((delivery, held));
                    self.held_back.push(backlog);
                    break;
                }
            }
        }
        while let Some(item) = self.waiting.pop_front() {
            match item {
                Item::Batch(batch, arrival, consumption) => {
                    self.distribute(hub, peer, batch, arrival, &consumption);
                }
                Item::Part(fragment, consumption) => {
                    let signal = Arc::clone(&self.signal);
                    let mut claim = Claim { signal: &signal, bytes: 0, consumption: Some(consumption) };
                    if let Err(NoMemory(fragment)) = self.handle_part(hub, peer, now, fragment, &mut claim) {
                        self.waiting.push_front(Item::Part(fragment, claim.consumption()));
                        return;
                    }
                    // It may have got on without the memory, as nobody wants it any more.
                    self.budget.leave_line(&self.signal);
                }
            }
        }
        self.ask_again(peer);
    }

    /// Gives up messages that do not get on while others wait for the memory that they hold.
    pub(crate) fn handle_timeout(&mut self, hub: &Hub, peer: &Peer, now: Instant) {
        if self.look_at.is_none_or(|at| at > now) {
            return;
        }
        let patience = hub.plan.timeouts.write_stall;
        // What waits here may be parts of the very messages.
        if self.waiting.is_empty() && self.budget.is_short() {
            for message in &mut self.unfinished {
                if message.whole.is_some() && message.moved_at.after(patience) <= now {
                    message.whole = None;
                    message.count_drop(hub, peer, Reason::NoRoom);
                    let len = message.parts.total();
                    let Unfinished { arrival, entry, .. } = &*message;
                    self.shortages.note(&self.budget, arrival.as_ref(), entry.priority, len);
                }
            }
        }
        let holds = self.unfinished.iter().any(|message| message.whole.is_some());
        self.look_at = holds.then(|| now.after(patience));
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.look_at
    }

    /// The session ended. What it did not finish will come again in another one; what was admitted would be taken for a duplicate
    /// then, so it stays. Says whether something waits for room.
    pub(crate) fn close(&mut self, hub: &Hub, peer: &Peer) -> bool {
        let _handing_out = peer.hand_out();
        self.unfinished.clear();
        self.shortages = Shortages::default();
        self.look_at = None;
        self.budget.leave_line(&self.signal);
        for item in std::mem::take(&mut self.waiting) {
            if let Item::Batch(batch, arrival, consumption) = item {
                self.distribute(hub, peer, batch, arrival, &consumption);
            }
        }
        for backlog in &mut self.held_back {
            // What is left is given by somebody else.
            backlog.queue.leave_line(&self.signal);
            // No more parts come to a stream.
            backlog.deliveries.retain(|(delivery, _)| delivery.stream.is_none());
        }
        self.held_back.retain(|backlog| !backlog.deliveries.is_empty());
        self.is_blocked()
    }

    /// Gives what waits for room to its queues, after the session: at most [`LEFTOVERS`] times a window of each peer, whatever it
    /// does. What is beyond that is dropped.
    pub(crate) async fn hand_over(mut self, hub: Arc<Hub>, peer: Arc<Peer>) {
        if peer.leftovers.fetch_add(1, Relaxed) < LEFTOVERS {
            // The link may still wait at its own.
            self.signal = Arc::default();
            self.retry(&hub, &peer, hub.clock.now());
            while self.is_blocked() {
                self.signal.woken().await;
                self.retry(&hub, &peer, hub.clock.now());
            }
        } else {
            let deliveries = self.held_back.iter().flat_map(|backlog| &backlog.deliveries);
            // What is Guaranteed comes again.
            let lost = deliveries.filter(|(delivery, _)| delivery.hold.is_none());
            let count = lost.map(|(delivery, _)| delivery.batch.len() as u64).sum();
            drop_received(&hub, &peer, Reason::NoReceiver, count);
        }
        peer.leftovers.fetch_sub(1, Relaxed);
    }

    /// Remembers a record until nobody works on it.
    ///
    /// Acknowledgements are cumulative, so a record that is done already is covered by the next one: only records that somebody
    /// holds take room, and their number is bounded by the session's credit, whatever a peer sends.
    fn await_consumption(&mut self, mark: Mark, consumption: Weak<Consumption>) {
        let waits_for_others = self.unconsumed.len() > 1;
        match self.unconsumed.back_mut() {
            Some(last) if waits_for_others && last.1.strong_count() == 0 => *last = (mark, consumption),
            _ => self.unconsumed.push_back((mark, consumption)),
        }
    }
}

/// Nothing good will ever come of the message, however often it comes.
fn refuse(arrival: Option<&Arc<Arrival>>, reason: Reason) {
    if let Some(arrival) = arrival {
        Hold::new(arrival).refuse(reason);
    }
}

fn count_received(hub: &Hub, peer: &Peer, count: u64) {
    peer.tally.messages_received.fetch_add(count, Relaxed);
    hub.tally.traffic.messages_received.fetch_add(count, Relaxed);
}

fn drop_received(hub: &Hub, peer: &Peer, reason: Reason, count: u64) {
    peer.tally.drop_messages(reason, count);
    hub.tally.traffic.drop_messages(reason, count);
}

/// Ended sessions of one peer whose messages wait for room in the queues of applications.
const LEFTOVERS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_nobody_holds_take_no_room_behind_one_that_somebody_does() {
        let signal = Arc::new(Signal::default());
        let mut inflow = Inflow::new(Arc::clone(&signal), 1, Arc::new(Budget::new(0, 0)));
        let held = Arc::new(Consumption::new(&signal, 1));
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
