//! Receiving: who wants which messages, and the two ways to take them, one at a time or a batch at a time.
//!
//! The acknowledgement follows the application: a message counts as delivered when its receiver comes back for more, so
//! the subscription keeps the last batch unacknowledged until then; or when its receiver says so, where it wants to. It never
//! buffers beyond its queue.

use std::future::poll_fn;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use hyphal_core::ids::{NodeId, Priority};
use hyphal_core::wire::reason::Reason;

use crate::compression::Codec;
use crate::counters::Tally;
use crate::guaranteed::Hold;
use crate::held::{HeldMessage, HeldSubscription};
use crate::message::{Batch, Message};
use crate::queue::{Delivery, Queue};
use crate::signal::Consumption;
use crate::stream::Incoming;

/// Which messages a subscription receives. What is not restricted is not looked at: the default takes all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    kinds: Vec<RangeInclusive<u16>>,
    sources: Vec<NodeId>,
    priorities: Vec<Priority>,
}

impl Filter {
    /// Takes every message.
    pub fn all() -> Self {
        Self::default()
    }

    /// Takes this message type, beside those named before.
    #[must_use]
    pub fn kind(self, kind: u16) -> Self {
        self.kinds(kind..=kind)
    }

    /// Takes these message types, beside those named before.
    #[must_use]
    pub fn kinds(mut self, kinds: RangeInclusive<u16>) -> Self {
        self.kinds.push(kinds);
        self
    }

    /// Takes messages of this node, beside those named before.
    #[must_use]
    pub fn source(mut self, source: NodeId) -> Self {
        self.sources.push(source);
        self
    }

    /// Takes messages of this class, beside those named before.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priorities.push(priority);
        self
    }

    pub(crate) fn takes_from(&self, source: &NodeId) -> bool {
        self.sources.is_empty() || self.sources.contains(source)
    }

    /// Whether a message of a source that it takes from is wanted.
    pub(crate) fn takes(&self, kind: u16, priority: Priority) -> bool {
        (self.kinds.is_empty() || self.kinds.iter().any(|kinds| kinds.contains(&kind)))
            && (self.priorities.is_empty() || self.priorities.contains(&priority))
    }
}

/// Received messages that match a [`Filter`], in order. Dropping it ends the subscription; messages that wait in it then count
/// as dropped with [`Reason::NoReceiver`], and senders are not told the difference.
///
/// A message that matches several subscriptions goes to each. While its queue is full the peers whose messages it would
/// take are given no credit for more, so a slow receiver slows its senders and loses nothing.
#[derive(Debug)]
pub struct Subscription {
    reader: Reader,
    subscriber: Arc<Subscriber>,
}

impl Subscription {
    /// The next message; `None` when the node has been shut down and everything was taken.
    ///
    /// Cancellation safe. Asking for the next message acknowledges the batch that the last one was the end of.
    pub async fn recv(&mut self) -> Option<Message> {
        poll_fn(|cx| self.reader.poll_recv(cx)).await
    }

    /// The next messages that arrived together; `None` when the node has been shut down and everything was taken.
    ///
    /// Cancellation safe. Asking for the next batch acknowledges the one before.
    pub async fn recv_batch(&mut self) -> Option<Batch> {
        poll_fn(|cx| self.reader.poll_recv_batch(cx)).await
    }
}

impl Subscription {
    /// The next message, to be acknowledged by whoever has it.
    pub(crate) fn poll_held(&mut self, cx: &Context<'_>) -> Poll<Option<HeldMessage>> {
        self.reader.poll_held(cx)
    }
}

impl Stream for Subscription {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.reader.poll_recv(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let registry = &self.reader.registry;
        registry.remove(&self.subscriber);
        let unread = self.reader.unread() + self.subscriber.queue.close(false);
        registry.tally.drop_messages(Reason::NoReceiver, unread);
    }
}

/// A [`Subscription`] that gets large messages part by part, while they arrive. Made by
/// [`Node::subscribe_streams`](crate::Node::subscribe_streams).
///
/// Messages that came in one piece come as such, in order with the beginnings of streams; so do compressed ones, whose parts are
/// of no use without the others.
#[derive(Debug)]
pub struct StreamSubscription {
    inner: Subscription,
}

impl StreamSubscription {
    /// The next message, or the beginning of one; `None` when the node has been shut down and everything was taken.
    ///
    /// Cancellation safe. Asking for the next one acknowledges the batch that the last one was the end of; a stream is
    /// acknowledged by its own reader. Read streams in tasks of their own where other messages must not wait for them.
    pub async fn recv(&mut self) -> Option<Incoming> {
        poll_fn(|cx| self.inner.reader.poll_incoming(cx)).await
    }
}

impl Stream for StreamSubscription {
    type Item = Incoming;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        self.inner.reader.poll_incoming(cx)
    }
}

/// The taking end of a queue: what was handed out and not yet acknowledged.
#[derive(Debug)]
pub(crate) struct Reader {
    queue: Arc<Queue>,
    registry: Arc<Registry>,
    current: Option<Current>,
    /// Of the batch handed out last.
    held: Option<(Option<Arc<Consumption>>, Option<Hold>)>,
}

#[derive(Debug)]
struct Current {
    delivery: Delivery,
    next: usize,
}

impl Reader {
    pub(crate) fn new(queue: Arc<Queue>, registry: Arc<Registry>) -> Self {
        Self { queue, registry, current: None, held: None }
    }

    /// Messages of the batch in hand that were not taken.
    fn unread(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| (current.delivery.batch.len() - current.next) as u64)
    }

    /// The next message. Deliveries of streams are for [`poll_incoming`](Self::poll_incoming) only.
    pub(crate) fn poll_recv(&mut self, cx: &Context<'_>) -> Poll<Option<Message>> {
        self.poll_incoming(cx).map(|incoming| match incoming? {
            Incoming::Message(message) => Some(message),
            Incoming::Stream(_) => None,
        })
    }

    pub(crate) fn poll_incoming(&mut self, cx: &Context<'_>) -> Poll<Option<Incoming>> {
        self.acknowledge();
        loop {
            if let Some(current) = &mut self.current {
                if let Some(stream) = current.delivery.stream.take() {
                    self.current = None;
                    return Poll::Ready(Some(Incoming::Stream(stream)));
                }
                if let Some(message) = current.delivery.batch.message(current.next) {
                    current.next += 1;
                    return Poll::Ready(Some(Incoming::Message(message)));
                }
            }
            if let Some(hold) = self.current.take().and_then(|current| current.delivery.hold) {
                hold.commit();
            }
            match self.poll_pop(cx) {
                Poll::Ready(Some(delivery)) => self.current = Some(Current { delivery, next: 0 }),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    pub(crate) fn poll_recv_batch(&mut self, cx: &Context<'_>) -> Poll<Option<Batch>> {
        self.acknowledge();
        if let Some(Current { delivery: Delivery { batch, consumption, hold, .. }, next }) =
            self.current.take()
        {
            match batch.rest(next) {
                Some(rest) => {
                    self.held = Some((consumption, hold));
                    return Poll::Ready(Some(rest));
                }
                None => hold.into_iter().for_each(Hold::commit),
            }
        }
        self.poll_pop(cx).map(|delivery| {
            let Delivery { batch, consumption, hold, .. } = delivery?;
            self.held = Some((consumption, hold));
            Some(batch)
        })
    }

    /// The next message, which is acknowledged by whoever has it.
    pub(crate) fn poll_held(&mut self, cx: &Context<'_>) -> Poll<Option<HeldMessage>> {
        loop {
            if let Some(Current { delivery, next }) = &mut self.current
                && let Some(message) = delivery.batch.message(*next)
            {
                *next += 1;
                // Whoever has the last one of the batch acknowledges it, though nobody may come back for more.
                let consumption = match *next < delivery.batch.len() {
                    true => delivery.consumption.clone(),
                    false => delivery.consumption.take(),
                };
                // A Guaranteed message is alone in its batch.
                let hold = delivery.hold.take();
                let tally = Arc::clone(&self.registry.tally);
                return Poll::Ready(Some(HeldMessage::new(message, consumption, hold, tally)));
            }
            self.current = None;
            match ready!(self.poll_pop(cx)) {
                Some(delivery) => self.current = Some(Current { delivery, next: 0 }),
                None => return Poll::Ready(None),
            }
        }
    }

    /// The receiver came back: it is done with what it had.
    fn acknowledge(&mut self) {
        if let Some((_, Some(hold))) = self.held.take() {
            hold.commit();
        }
    }

    /// Takes the oldest delivery and decompresses it, now that somebody wants it. What cannot be decompressed is dropped.
    fn poll_pop(&self, cx: &Context<'_>) -> Poll<Option<Delivery>> {
        let Some(Delivery { batch, stream, consumption, hold }) = ready!(self.queue.poll_pop(cx)) else {
            return Poll::Ready(None);
        };
        let Registry { tally, codec, .. } = &*self.registry;
        let (source, compressed) = (batch.source(), batch.compressed);
        let packed_len = batch.record.len();
        match batch.unpack(codec) {
            Ok(batch) => {
                if let Some(compressed) = compressed {
                    tally.unpacked.add(compressed, packed_len);
                }
                Poll::Ready(Some(Delivery { batch, stream, consumption, hold }))
            }
            Err(reason) => {
                tracing::debug!(peer = %source, reason = reason.name(), "message dropped: {reason}");
                tally.drop_messages(reason, 1);
                // It would come again as it is.
                hold.into_iter().for_each(|hold| hold.refuse(reason));
                // A peer that sends many of them must not keep the application's task from everything else.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

/// One subscription as the links see it.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) filter: Filter,
    /// Whether large messages come part by part.
    pub(crate) takes_streams: bool,
    pub(crate) queue: Arc<Queue>,
}

impl Subscriber {
    /// Whether it gets the parts of a large message. Those of a compressed one are of no use without the others.
    pub(crate) fn gets_parts(&self, is_compressed: bool) -> bool {
        self.takes_streams && !is_compressed
    }
}

/// All subscriptions of a node; links walk an immutable snapshot.
#[derive(Debug)]
pub(crate) struct Registry {
    /// The node's, for messages that a subscription held when it was dropped.
    tally: Arc<Tally>,
    codec: Arc<Codec>,
    subscribers: RwLock<Arc<Vec<Arc<Subscriber>>>>,
}

impl Registry {
    pub(crate) fn new(tally: Arc<Tally>, codec: Arc<Codec>) -> Self {
        Self { tally, codec, subscribers: RwLock::default() }
    }

    pub(crate) fn snapshot(&self) -> Arc<Vec<Arc<Subscriber>>> {
        Arc::clone(&self.subscribers.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn subscribe(self: &Arc<Self>, filter: Filter, queue: Queue) -> Subscription {
        self.add(filter, false, queue)
    }

    pub(crate) fn subscribe_streams(self: &Arc<Self>, filter: Filter, queue: Queue) -> StreamSubscription {
        StreamSubscription { inner: self.add(filter, true, queue) }
    }

    pub(crate) fn subscribe_held(self: &Arc<Self>, filter: Filter, queue: Queue) -> HeldSubscription {
        HeldSubscription::new(self.add(filter, false, queue))
    }

    fn add(self: &Arc<Self>, filter: Filter, takes_streams: bool, queue: Queue) -> Subscription {
        let queue = Arc::new(queue);
        let subscriber = Arc::new(Subscriber { filter, takes_streams, queue: Arc::clone(&queue) });
        self.change(|subscribers| subscribers.push(Arc::clone(&subscriber)));
        Subscription { reader: Reader::new(queue, Arc::clone(self)), subscriber }
    }

    /// No message will arrive any more; what is queued can still be taken.
    pub(crate) fn close(&self) {
        for subscriber in self.snapshot().iter() {
            subscriber.queue.close(true);
        }
    }

    fn remove(&self, subscriber: &Arc<Subscriber>) {
        self.change(|subscribers| subscribers.retain(|other| !Arc::ptr_eq(other, subscriber)));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Subscriber>>)) {
        let mut subscribers = self.subscribers.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut subscribers));
    }
}
