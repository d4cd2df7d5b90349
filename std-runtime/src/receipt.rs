//! What became of one message, told to the caller who asked.
//!
//! The ledger sits inside the peer's outbox and hears every fate; it remembers only tracked messages, in the order of
//! their tickets, so a message that nobody tracks costs nothing. It is not a log.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyphal_core::ids::Priority;
use hyphal_core::outbox::{Fate, Ledger, Ticket};
use hyphal_core::wire::reason::Reason;
use tokio::sync::oneshot;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The application at the other end took the message and came back for more.
    Delivered,
    /// Its time to live passed before it could be sent.
    Expired,
    /// The session ended after it was sent and before it was acknowledged: it may or may not have been delivered.
    Unconfirmed,
    /// It was dropped before it was sent.
    Dropped(Reason),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered => f.write_str("delivered"),
            Self::Expired => f.write_str("expired before it could be sent"),
            Self::Unconfirmed => f.write_str("unconfirmed: the session ended before an acknowledgement"),
            Self::Dropped(reason) => write!(f, "dropped: {reason}"),
        }
    }
}

/// A future that resolves to what became of a message. Dropping it changes nothing for the message.
#[derive(Debug)]
#[must_use = "a receipt tells nothing unless it is awaited"]
pub struct Receipt {
    outcome: oneshot::Receiver<Outcome>,
}

impl Future for Receipt {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        // The ledger goes without a word only with its whole node, when nobody can know any more.
        Pin::new(&mut self.outcome).poll(cx).map(|outcome| outcome.unwrap_or(Outcome::Unconfirmed))
    }
}

/// The tracked messages of one outbox, per class in the order of their ordinals.
#[derive(Debug, Default)]
pub(crate) struct ReceiptLedger {
    awaited: Option<Box<[Awaited; Priority::ALL.len()]>>,
    count: usize,
}

type Awaited = VecDeque<(u64, oneshot::Sender<Outcome>)>;

impl ReceiptLedger {
    /// How many messages to one peer may be tracked at once.
    pub(crate) const MAX: usize = 65_536;

    /// Whether another message can be tracked.
    pub(crate) fn has_room(&self) -> bool {
        self.count < Self::MAX
    }

    /// Tracks a message that was pushed just now.
    pub(crate) fn track(&mut self, ticket: Ticket) -> Receipt {
        let (sender, outcome) = oneshot::channel();
        self.awaited.get_or_insert_default()[ticket.class as usize].push_back((ticket.ordinal, sender));
        self.count += 1;
        Receipt { outcome }
    }

    fn settle_through(&mut self, class: Priority, through: u64, outcome: Outcome) {
        let Some(awaited) = &mut self.awaited else { return };
        let awaited = &mut awaited[class as usize];
        while awaited.front().is_some_and(|(ordinal, _)| *ordinal <= through) {
            if let Some((_, receipt)) = awaited.pop_front() {
                self.count -= 1;
                // Whoever dropped the receipt does not want to know.
                let _ = receipt.send(outcome);
            }
        }
    }

    fn settle_one(&mut self, ticket: Ticket, outcome: Outcome) {
        let Some(awaited) = &mut self.awaited else { return };
        let awaited = &mut awaited[ticket.class as usize];
        let Ok(at) = awaited.binary_search_by_key(&ticket.ordinal, |(ordinal, _)| *ordinal) else { return };
        if let Some((_, receipt)) = awaited.remove(at) {
            self.count -= 1;
            let _ = receipt.send(outcome);
        }
    }
}

impl Ledger for ReceiptLedger {
    fn settle(&mut self, fate: Fate) {
        if self.awaited.is_none() {
            return;
        }
        match fate {
            Fate::Confirmed { class, through } => self.settle_through(class, through, Outcome::Delivered),
            Fate::Unconfirmed { class, through } => self.settle_through(class, through, Outcome::Unconfirmed),
            Fate::ConfirmedOne { ticket } => self.settle_one(ticket, Outcome::Delivered),
            Fate::UnconfirmedOne { ticket } => self.settle_one(ticket, Outcome::Unconfirmed),
            Fate::Dropped { ticket, reason: Reason::Expired } => self.settle_one(ticket, Outcome::Expired),
            Fate::Dropped { ticket, reason } => self.settle_one(ticket, Outcome::Dropped(reason)),
        }
        if self.count == 0 {
            self.awaited = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(ordinal: u64) -> Ticket {
        Ticket { class: Priority::High, ordinal }
    }

    #[tokio::test]
    async fn each_tracked_message_learns_its_own_fate() {
        let mut ledger = ReceiptLedger::default();
        let [first, second, third, fourth] = [1, 5, 6, 9].map(|ordinal| ledger.track(ticket(ordinal)));

        ledger.settle(Fate::Dropped { ticket: ticket(5), reason: Reason::Expired });
        ledger.settle(Fate::Dropped { ticket: ticket(7), reason: Reason::PeerGone });
        ledger.settle(Fate::Confirmed { class: Priority::Low, through: 100 });
        ledger.settle(Fate::Confirmed { class: Priority::High, through: 6 });
        ledger.settle(Fate::Unconfirmed { class: Priority::High, through: 9 });

        assert_eq!(first.await, Outcome::Delivered);
        assert_eq!(second.await, Outcome::Expired);
        assert_eq!(third.await, Outcome::Delivered);
        assert_eq!(fourth.await, Outcome::Unconfirmed);
        assert!(ledger.awaited.is_none(), "a ledger without tracked messages holds no memory");
    }

    #[tokio::test]
    async fn a_receipt_of_a_node_that_is_gone_is_unconfirmed() {
        let mut ledger = ReceiptLedger::default();
        let receipt = ledger.track(ticket(1));

        drop(ledger);

        assert_eq!(receipt.await, Outcome::Unconfirmed);
    }
}
