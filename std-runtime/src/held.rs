//! Messages that their receiver acknowledges itself, one by one and in any order, as after a commit of its own.
//!
//! Until then the sender's receipt stays open, the session gives no credit for the record that a message came in, and a
//! Guaranteed message is not committed.

use std::future::poll_fn;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use hyphal_core::wire::reason::Reason;

use crate::counters::Tally;
use crate::guaranteed::Hold;
use crate::message::Message;
use crate::signal::Consumption;
use crate::subscription::Subscription;

/// A [`Subscription`] whose messages are acknowledged one by one. Made by
/// [`Node::subscribe_held`](crate::Node::subscribe_held).
#[derive(Debug)]
pub struct HeldSubscription {
    inner: Subscription,
}

impl HeldSubscription {
    pub(crate) fn new(inner: Subscription) -> Self {
        Self { inner }
    }

    /// The next message; `None` when the node has been shut down and everything was taken.
    ///
    /// Cancellation safe. It acknowledges nothing. A session acknowledges in order and gives credit only for what was
    /// acknowledged, so a receiver that keeps many messages slows their sender down until it stops.
    pub async fn recv(&mut self) -> Option<HeldMessage> {
        poll_fn(|cx| self.inner.poll_held(cx)).await
    }
}

impl Stream for HeldSubscription {
    type Item = HeldMessage;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<HeldMessage>> {
        self.inner.poll_held(cx)
    }
}

/// A [`Message`] that waits for its acknowledgement.
///
/// Dropped without it, a Guaranteed message is not committed: it comes again in the next session with its sender, or after a
/// restart of either node. Any other message cannot come again: it counts as dropped with
/// [`Reason::NoReceiver`](crate::Reason::NoReceiver), and its sender is not told the difference.
#[derive(Debug)]
#[must_use = "a message that is not acknowledged is dropped or comes again"]
pub struct HeldMessage {
    message: Message,
    consumption: Option<Arc<Consumption>>,
    hold: Option<Hold>,
    tally: Option<Arc<Tally>>,
}

impl HeldMessage {
    pub(crate) fn new(
        message: Message,
        consumption: Option<Arc<Consumption>>,
        hold: Option<Hold>,
        tally: Arc<Tally>,
    ) -> Self {
        // A Guaranteed message that is let go is not lost.
        let tally = hold.is_none().then_some(tally);
        Self { message, consumption, hold, tally }
    }

    /// The receiver is done with the message; gives it back. What its sender is told waits for no one else but other
    /// subscriptions that have it too and, of a Guaranteed message, for the store.
    pub fn acknowledge(mut self) -> Message {
        self.tally = None;
        if let Some(hold) = self.hold.take() {
            hold.commit();
        }
        self.consumption = None;
        self.message.clone()
    }

    /// The message; it can be kept beyond its acknowledgement.
    pub fn message(&self) -> &Message {
        &self.message
    }
}

impl Deref for HeldMessage {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

impl Drop for HeldMessage {
    fn drop(&mut self) {
        if let Some(tally) = &self.tally {
            tally.drop_messages(Reason::NoReceiver, 1);
        }
    }
}
