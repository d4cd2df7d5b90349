//! From the number of a message to the disk.
//!
//! ```text
//!   number ─▶ Unwritten ─▶ Written ─▶ Storing ─▶ stored
//!                 │                      │ failed
//!                 └───────▶ GivenUp ◀────┘
//! ```
//! A message is written (sealed, signed) under no lock, and by whoever sends it: one of the same lane that is ready earlier waits for
//! those before it, so the store hears of numbers in their order, and of a number that is given up nobody waits.
//!
//! Invariant: a number that is given up is settled only when a later one is durable, and is given again if there is none. A restart
//! begins after the last durable number; the peer must not have heard that one beyond was settled.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use getrandom::SysRng;
use hyphal_core::ids::{MessageId, Priority};
use hyphal_core::lane::SendLane;
use hyphal_core::time::UnixTime;
use hyphal_core::wire::reason::Reason;
use rand_core::TryRng;
use tokio::sync::oneshot;

use super::{End, Outcome, Outgoing, Outstanding};
use crate::error::SendError;
use crate::guaranteed::{Lanes, message_id};
use crate::receipt::ReceiptLedger;
use crate::store::{Answer, Durable, Room, StoreFailure, StoredMessage};

/// What is known of a message before it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Seconds to live from `accepted_at` on; 0 = for ever.
    pub(crate) ttl: u32,
    pub(crate) accepted_at: UnixTime,
    /// Bytes that it takes in the store.
    pub(crate) len: usize,
    /// Whether somebody wants to know its fate.
    pub(crate) is_tracked: bool,
}

/// A message that has its number and is being written. Dropped, it never was.
#[must_use = "those behind it wait for it"]
pub(crate) struct Draft {
    lanes: Arc<Lanes>,
    class: Priority,
    id: MessageId,
    outcome: Option<oneshot::Receiver<Outcome>>,
    is_written: bool,
}

/// A message that has its number and is being stored.
pub(crate) struct Accepted {
    pub(crate) id: MessageId,
    /// What tells of its fate, if it is tracked.
    pub(crate) outcome: Option<oneshot::Receiver<Outcome>>,
    /// Resolves when the message is durable, or could not be stored.
    pub(crate) storing: Storing,
}

/// A message on its way to the disk. Dropped before, the message is accepted all the same if it gets there.
#[must_use = "nothing is accepted before it is stored"]
pub(crate) struct Storing {
    state: Option<(Arc<Lanes>, Priority, MessageId, StoredMessage, Durable)>,
}

/// What holds a number that is not durable.
#[derive(Debug)]
pub(super) enum Unstored {
    /// Its message is being sealed or signed.
    Unwritten,
    /// Its message waits for those before it.
    Written { room: Room, message: StoredMessage, answer: Answer },
    /// The store was asked for it.
    Storing,
    /// It has no message.
    GivenUp,
}

impl Draft {
    /// The id that the message has, in its envelope too.
    pub(crate) const fn id(&self) -> MessageId {
        self.id
    }

    /// Begins to store the message, or has it stored after those before it.
    ///
    /// # Errors
    /// [`SendError::UnknownPeer`] if the peer was removed meanwhile.
    pub(crate) fn store(mut self, room: Room, message: StoredMessage) -> Result<Accepted, SendError> {
        let (lanes, class, id) = (Arc::clone(&self.lanes), self.class, self.id);
        let mut outgoing = lanes.outgoing();
        let end = outgoing.end_of(class, id.epoch).ok_or(SendError::UnknownPeer)?;
        let (answer, durable) = Durable::asked();
        let written = Unstored::Written { room, message: message.clone(), answer };
        end.unstored.insert(id.sequence, written);
        self.is_written = true;
        lanes.append_written(end, class);
        drop(outgoing);
        let storing = Storing { state: Some((lanes, class, id, message, durable)) };
        Ok(Accepted { id, outcome: self.outcome.take(), storing })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.is_written {
            return;
        }
        let mut outgoing = self.lanes.outgoing();
        outgoing.give_up(self.class, self.id);
        if let Some(end) = outgoing.end_of(self.class, self.id.epoch) {
            self.lanes.append_written(end, self.class);
        }
        self.lanes.call_link(&outgoing);
    }
}

impl Outgoing {
    /// Nothing is stored under this number.
    fn give_up(&mut self, class: Priority, id: MessageId) {
        let Some(end) = self.end_of(class, id.epoch) else { return };
        end.give_up(id.sequence);
        if let Some(Outstanding { expires_at, receipt, .. }) = end.outstanding.remove(&id.sequence) {
            end.expiries.remove(&(expires_at, id.sequence));
            self.receipts -= usize::from(receipt.is_some());
        }
    }
}

impl End {
    fn give_up(&mut self, number: u64) {
        if number < self.durable {
            self.unstored.remove(&number);
            self.lane.settle(number);
            return;
        }
        self.unstored.insert(number, Unstored::GivenUp);
        while let Some(last) = self.unstored.last_entry()
            && matches!(last.get(), Unstored::GivenUp)
            && self.lane.take_back(*last.key())
        {
            last.remove();
        }
        self.append_from = self.append_from.min(self.lane.next_number());
    }

    /// The message of this number is on the disk.
    fn handle_durable(&mut self, number: u64) {
        self.unstored.remove(&number);
        self.durable = self.durable.max(number.saturating_add(1));
        let given_up =
            self.unstored.extract_if(..self.durable, |_, place| matches!(place, Unstored::GivenUp));
        given_up.for_each(|(number, _)| self.lane.settle(number));
    }
}

impl Lanes {
    /// Gives a message its number.
    ///
    /// # Errors
    /// [`SendError::NotKept`] if the peer of this session keeps no such messages; [`SendError::QueueFull`] if it is tracked
    /// and too many are.
    pub(crate) fn number(self: &Arc<Self>, class: Priority, terms: Terms) -> Result<Draft, SendError> {
        let mut outgoing = self.outgoing();
        if outgoing.attached.as_ref().is_some_and(|attached| !attached.keeps) {
            return Err(SendError::NotKept);
        }
        if terms.is_tracked && outgoing.receipts >= ReceiptLedger::MAX {
            return Err(SendError::QueueFull);
        }
        let is_attached = outgoing.attached.is_some();
        let place = &mut outgoing.classes[class as usize];
        let end = match place {
            Some(end) => end,
            None => {
                let epoch = SysRng.try_next_u64().map_err(|_| SendError::StoreFailed)?;
                let mut end = End { is_lost: true, ..End::new(SendLane::new(class, epoch)) };
                if is_attached {
                    end.lane.handle_session_start();
                }
                place.insert(Box::new(end))
            }
        };
        let (receipt, outcome) = match terms.is_tracked {
            true => {
                let (receipt, outcome) = oneshot::channel();
                (Some(receipt), Some(outcome))
            }
            false => (None, None),
        };
        let number = end.lane.accept();
        let id = message_id(end.lane.epoch(), number);
        end.insert(number, terms.ttl, terms.accepted_at, terms.len, receipt);
        end.unstored.insert(number, Unstored::Unwritten);
        outgoing.receipts += usize::from(terms.is_tracked);
        Ok(Draft { lanes: Arc::clone(self), class, id, outcome, is_written: false })
    }

    /// Asks the store for what is written, up to the first message that is not. Under the lock, so that the store hears of numbers in
    /// their order.
    fn append_written(self: &Arc<Self>, end: &mut End, class: Priority) {
        while let Some(place) = end.unstored.get_mut(&end.append_from)
            && !matches!(place, Unstored::Unwritten)
        {
            let number = end.append_from;
            end.append_from += 1;
            if !matches!(place, Unstored::Written { .. }) {
                continue;
            }
            let written = std::mem::replace(place, Unstored::Storing);
            if std::mem::replace(&mut end.is_lost, false) {
                let epoch = end.lane.epoch();
                let opening = self.keeper.store.open_lane(self.key(class), epoch);
                self.keeper.runtime.spawn(Arc::clone(self).watch_opening(class, epoch, opening));
            }
            if let Unstored::Written { room, message, answer } = written {
                self.keeper.store.append(room, self.key(class), number, message, answer);
            }
        }
    }

    async fn watch_opening(self: Arc<Self>, class: Priority, epoch: u64, opening: Durable) {
        if opening.await.is_err()
            && let Some(end) = self.outgoing().end_of(class, epoch)
        {
            // The next message tries again.
            end.is_lost = true;
        }
    }

    /// A message is durable, or could not be stored.
    fn handle_stored(
        self: &Arc<Self>,
        class: Priority,
        id: MessageId,
        message: StoredMessage,
        stored: Result<(), StoreFailure>,
    ) -> Result<(), SendError> {
        let MessageId { epoch, sequence: number } = id;
        let mut outgoing = self.outgoing();
        // The peer was removed meanwhile.
        let end = outgoing.end_of(class, epoch).ok_or(SendError::UnknownPeer)?;
        if let Err(failure) = stored {
            tracing::debug!(peer = %self.id, "a message is not stored: {failure}");
            outgoing.give_up(class, id);
            self.call_link(&outgoing);
            return Err(failure.into());
        }
        end.handle_durable(number);
        let is_first_to_expire = end.expiries.first().is_some_and(|&(_, first)| first == number);
        end.prepare(number, message);
        outgoing.counts.sent += 1;
        outgoing.counts.stored += 1;
        if outgoing.attached.as_ref().is_some_and(|attached| !attached.keeps) {
            // Its session came up while the message was on its way to the disk.
            outgoing.leave(class, number, Outcome::Failed(Reason::NotKept));
            self.remove_left(&mut outgoing);
        }
        self.call_link(&outgoing);
        if is_first_to_expire {
            self.keeper.expiry.notify_one();
        }
        Ok(())
    }
}

impl Future for Storing {
    type Output = Result<(), SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some((.., durable)) = &mut self.state else { return Poll::Ready(Err(SendError::Closed)) };
        let Poll::Ready(stored) = Pin::new(durable).poll(cx) else { return Poll::Pending };
        match self.state.take() {
            Some((lanes, class, id, message, _)) => {
                Poll::Ready(lanes.handle_stored(class, id, message, stored))
            }
            None => Poll::Ready(Err(SendError::Closed)),
        }
    }
}

impl Drop for Storing {
    fn drop(&mut self) {
        if let Some((lanes, class, id, message, durable)) = self.state.take() {
            let runtime = lanes.keeper.runtime.clone();
            runtime.spawn(async move {
                let stored = durable.await;
                // Nobody is there to hear why it was not.
                let _ = lanes.handle_stored(class, id, message, stored);
            });
        }
    }
}
