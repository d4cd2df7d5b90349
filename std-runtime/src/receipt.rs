//! What becomes of one message, told to the caller who asked, and the way to call it back.
//!
//! The ledger sits inside the peer's outbox and hears every fate; it remembers only tracked messages, in the order of
//! their tickets, so a message that nobody tracks costs nothing. It is not a log.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyphal_core::ids::Priority;
use hyphal_core::outbox::{Fate, Ledger, Ticket};
use hyphal_core::wire::reason::Reason;
use tokio::sync::oneshot;

use crate::guaranteed::Called;
use crate::guests::Guests;
use crate::peer::Peer;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The application at the other end is done with the message: it came back for more, or acknowledged it. Of a Guaranteed
    /// message that is remembered durably there.
    Delivered,
    /// Its time to live passed before it could be sent.
    Expired,
    /// It was sent and not acknowledged, and is not sent again: it may or may not have been delivered. Of a Guaranteed message:
    /// its time to live passed meanwhile; or this node ended, and the message goes on at its next start.
    Unconfirmed,
    /// A Guaranteed message may have been sent before, and the receiver no longer knows whether it came: it was evicted there,
    /// or its store is gone. It may or may not have been delivered, and is not sent again.
    Unknown,
    /// It was never sent, and is not: why. Or its receiver refused a Guaranteed message, as one that nobody there receives
    /// ([`Reason::NoReceiver`]): no application had it, and it is not sent again.
    Failed(Reason),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered => f.write_str("delivered"),
            Self::Expired => f.write_str("expired before it could be sent"),
            Self::Unconfirmed => f.write_str("unconfirmed: the session ended before an acknowledgement"),
            Self::Unknown => f.write_str("unknown: the receiver has forgotten whether it came"),
            Self::Failed(reason) => write!(f, "failed: {reason}"),
        }
    }
}

/// A future that resolves to what became of a message. Dropping it changes nothing for the message.
#[must_use = "a receipt tells nothing unless it is awaited"]
pub struct Receipt {
    tracked: Tracked,
    peer: Arc<Peer>,
}

impl Receipt {
    pub(crate) fn new(tracked: Tracked, peer: Arc<Peer>) -> Self {
        Self { tracked, peer }
    }

    /// How much of the message has left.
    ///
    /// Large messages leave in parts. What has left is at most the window of the receiving node ahead of what its
    /// application has taken. If the session ends in between, the message begins anew in the next one.
    pub fn progress(&self) -> Progress {
        let Tracked { place, total, .. } = &self.tracked;
        let written = match place {
            Place::Outbox(ticket) => self.peer.lane().outbox.written(*ticket),
            Place::Lane(called) => called.written(),
        };
        Progress { written: written.min(*total), total: *total }
    }

    /// Calls the message back, unless all of it has left; says whether it did.
    ///
    /// The receipt then resolves to `Failed(Cancelled)`. A receiver of the first parts of a large message is told to drop
    /// them. `false` also if the message's fate was sealed before. A Guaranteed message can be called back until it is first
    /// handed to a session, and is removed from the store.
    pub fn cancel(&self) -> bool {
        match &self.tracked.place {
            Place::Outbox(ticket) => self.peer.lane().cancel(*ticket),
            Place::Lane(called) => called.cancel(),
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt")
            .field("peer", &self.peer.id)
            .field("total", &self.tracked.total)
            .finish_non_exhaustive()
    }
}

impl Future for Receipt {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        // Ledger and lanes go without a word only with their whole node, when nobody can know any more.
        Pin::new(&mut self.tracked.outcome).poll(cx).map(|outcome| outcome.unwrap_or(Outcome::Unconfirmed))
    }
}

/// How much of a message has left, from [`Receipt::progress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes of the payload that are in records on their way to the peer, or beyond.
    pub written: u32,
    /// Bytes of the payload as it is sent: compressed, if it is.
    pub total: u32,
}

/// A message whose fate will be told.
#[derive(Debug)]
pub(crate) struct Tracked {
    place: Place,
    total: u32,
    outcome: oneshot::Receiver<Outcome>,
}

/// Where the message waits, and who tells.
#[derive(Debug)]
enum Place {
    /// In the peer's outbox, whose ledger tells.
    Outbox(Ticket),
    /// In a lane of Guaranteed messages, which tells itself.
    Lane(Called),
}

impl Tracked {
    /// A Guaranteed message of so many bytes.
    pub(crate) fn in_lane(called: Called, len: usize, outcome: oneshot::Receiver<Outcome>) -> Self {
        // No longer message is accepted than 32 bits can tell.
        Self { place: Place::Lane(called), total: len as u32, outcome }
    }
}

/// The tracked messages of one outbox, per class in the order of their ordinals.
#[derive(Debug, Default)]
pub(crate) struct ReceiptLedger {
    awaited: Option<Box<[Awaited; Priority::ALL.len()]>>,
    count: usize,
    /// What is to be told when the outbox is unlocked.
    outcomes: Outcomes,
    /// Messages that are none of the application's.
    pub(crate) guests: Guests,
}

/// Outcomes on their way to the receipts.
#[derive(Debug, Default)]
pub(crate) struct Outcomes(Vec<(oneshot::Sender<Outcome>, Outcome)>);

impl Outcomes {
    pub(crate) fn push(&mut self, receipt: oneshot::Sender<Outcome>, outcome: Outcome) {
        self.0.push((receipt, outcome));
    }

    #[inline]
    pub(crate) fn tell(&mut self) {
        for (receipt, outcome) in self.0.drain(..) {
            // Whoever dropped the receipt does not want to know.
            let _ = receipt.send(outcome);
        }
    }
}

type Awaited = VecDeque<(u64, oneshot::Sender<Outcome>)>;

impl ReceiptLedger {
    /// How many messages to one peer may be tracked at once.
    pub(crate) const MAX: usize = 65_536;

    /// Whether another message can be tracked.
    pub(crate) fn has_room(&self) -> bool {
        self.count < Self::MAX
    }

    /// Tracks a message of so many bytes that was pushed just now.
    pub(crate) fn track(&mut self, ticket: Ticket, len: usize) -> Tracked {
        let (sender, outcome) = oneshot::channel();
        self.awaited.get_or_insert_default()[ticket.class as usize].push_back((ticket.ordinal, sender));
        self.count += 1;
        // No outbox takes a longer one than 32 bits can tell.
        Tracked { place: Place::Outbox(ticket), total: len as u32, outcome }
    }

    /// What is to be told under no lock, as whoever hears of it may do anything.
    #[inline]
    pub(crate) fn take_outcomes(&mut self) -> Outcomes {
        std::mem::take(&mut self.outcomes)
    }

    /// Settles all of the class from ordinal `first` to `last` that are not yet.
    fn settle_range(&mut self, class: Priority, first: u64, last: u64, outcome: Outcome) {
        let Some(awaited) = &mut self.awaited else { return };
        let awaited = &mut awaited[class as usize];
        let from = awaited.partition_point(|(ordinal, _)| *ordinal < first);
        let to = awaited.partition_point(|(ordinal, _)| *ordinal <= last);
        self.count -= to - from;
        self.outcomes.0.extend(awaited.drain(from..to).map(|(_, receipt)| (receipt, outcome)));
    }

    fn settle_one(&mut self, ticket: Ticket, outcome: Outcome) {
        let Some(awaited) = &mut self.awaited else { return };
        let awaited = &mut awaited[ticket.class as usize];
        let Ok(at) = awaited.binary_search_by_key(&ticket.ordinal, |(ordinal, _)| *ordinal) else { return };
        if let Some((_, receipt)) = awaited.remove(at) {
            self.count -= 1;
            self.outcomes.push(receipt, outcome);
        }
    }
}

impl Ledger for ReceiptLedger {
    fn settle(&mut self, fate: Fate) {
        self.guests.settle(fate);
        if self.awaited.is_none() {
            return;
        }
        match fate {
            Fate::Confirmed { class, first, last } => {
                self.settle_range(class, first, last, Outcome::Delivered);
            }
            Fate::Unconfirmed { class, first, last } => {
                self.settle_range(class, first, last, Outcome::Unconfirmed);
            }
            Fate::Dropped { ticket, reason: Reason::Expired } => self.settle_one(ticket, Outcome::Expired),
            Fate::Dropped { ticket, reason } => self.settle_one(ticket, Outcome::Failed(reason)),
        }
        if self.count == 0 {
            self.awaited = None;
        }
    }

    fn handle_withdrawn(&mut self) {
        self.guests.handle_withdrawn();
    }
}

#[cfg(test)]
mod tests {
    use hyphal_core::identity::Identity;

    use super::*;

    fn ticket(ordinal: u64) -> Ticket {
        Ticket { class: Priority::High, ordinal }
    }

    fn receipt(ledger: &mut ReceiptLedger, ordinal: u64) -> Receipt {
        let id = Identity::from_seed(&[7; 32]).unwrap().id();
        Receipt::new(ledger.track(ticket(ordinal), 0), Arc::new(Peer::new(id, 1, 1)))
    }

    #[tokio::test]
    async fn each_tracked_message_learns_its_own_fate() {
        let mut ledger = ReceiptLedger::default();
        let [first, second, third, fourth] = [1, 5, 6, 9].map(|ordinal| receipt(&mut ledger, ordinal));

        ledger.settle(Fate::Dropped { ticket: ticket(5), reason: Reason::Expired });
        ledger.settle(Fate::Dropped { ticket: ticket(7), reason: Reason::PeerGone });
        ledger.settle(Fate::Confirmed { class: Priority::Low, first: 1, last: 100 });
        ledger.settle(Fate::Confirmed { class: Priority::High, first: 6, last: 8 });
        ledger.settle(Fate::Confirmed { class: Priority::High, first: 1, last: 6 });
        ledger.settle(Fate::Unconfirmed { class: Priority::High, first: 1, last: 9 });
        ledger.take_outcomes().tell();

        assert_eq!(first.await, Outcome::Delivered);
        assert_eq!(second.await, Outcome::Expired);
        assert_eq!(third.await, Outcome::Delivered);
        assert_eq!(fourth.await, Outcome::Unconfirmed);
        assert!(ledger.awaited.is_none(), "a ledger without tracked messages holds no memory");
    }

    #[tokio::test]
    async fn a_receipt_of_a_node_that_is_gone_is_unconfirmed() {
        let mut ledger = ReceiptLedger::default();
        let receipt = receipt(&mut ledger, 1);

        drop(ledger);

        assert_eq!(receipt.await, Outcome::Unconfirmed);
    }
}
