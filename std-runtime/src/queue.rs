//! The bounded queue between links and one subscription, in batches.
//!
//! A full queue is not an error: the link keeps the batch, and is woken when half of the queue is free. Links that wait are served
//! in the order in which they came, so that one that has ever more to give does not keep others out.
//! Any number of links push, any number of readers pop; no lock is held while anyone waits, or is called: a waker may do anything.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use crate::assembly::Account;
use crate::guaranteed::Hold;
use crate::message::Batch;
use crate::signal::{Consumption, Signal};
use crate::stream::IncomingStream;

/// A batch on its way to the application, and what holds back its acknowledgement.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) batch: Batch,
    /// What brings the payload of the batch's only message, if that comes in parts and is read so.
    pub(crate) stream: Option<IncomingStream>,
    /// None for a stream, whose parts are acknowledged one by one.
    pub(crate) consumption: Option<Arc<Consumption>>,
    /// Of a Guaranteed message, which is then the only one of the batch. A stream has its own.
    pub(crate) hold: Option<Hold>,
}

/// What became of a delivery.
#[derive(Debug)]
pub(crate) enum Pushed {
    /// A reader will get it.
    Queued,
    /// The queue is full; the link will be woken.
    Full(Delivery),
    /// Nobody will ever read it.
    Closed(Delivery),
}

/// Deliveries that wait for the application.
#[derive(Debug)]
pub(crate) struct Queue {
    max_batches: usize,
    max_bytes: usize,
    /// What large messages for its readers hold before they are here.
    account: Arc<Account>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    deliveries: VecDeque<Delivery>,
    bytes: usize,
    readers: Vec<Waker>,
    /// Links that hold a batch back, in the order in which they came.
    blocked: Vec<Weak<Signal>>,
    is_closed: bool,
}

/// Readers to be woken. One, as there mostly is, takes no memory.
struct Called {
    first: Option<Waker>,
    others: Vec<Waker>,
}

impl State {
    fn call_readers(&mut self) -> Called {
        let first = self.readers.pop();
        let others = if self.readers.is_empty() { Vec::new() } else { std::mem::take(&mut self.readers) };
        Called { first, others }
    }

    /// Whether no other link comes first. Those that have ended do not.
    fn is_turn_of(&mut self, link: &Arc<Signal>) -> bool {
        self.blocked.retain(|blocked| blocked.strong_count() > 0);
        self.blocked.first().is_none_or(|first| is_same(first, link))
    }

    /// Takes a place at the end of the line, or keeps the one that the link has.
    fn wait(&mut self, link: &Arc<Signal>) {
        if !self.blocked.iter().any(|blocked| is_same(blocked, link)) {
            self.blocked.push(Arc::downgrade(link));
        }
    }

    /// The link gives up its place, if it has one; gives whoever is first then.
    fn leave(&mut self, link: &Arc<Signal>) -> Option<Arc<Signal>> {
        let at = self.blocked.iter().position(|blocked| is_same(blocked, link))?;
        self.blocked.remove(at);
        self.blocked.iter().find_map(Weak::upgrade)
    }
}

fn is_same(blocked: &Weak<Signal>, link: &Arc<Signal>) -> bool {
    std::ptr::eq(blocked.as_ptr(), Arc::as_ptr(link))
}

impl Called {
    fn wake(self) {
        self.first.into_iter().chain(self.others).for_each(Waker::wake);
    }
}

impl Queue {
    pub(crate) fn new(max_batches: usize, max_bytes: usize) -> Self {
        Self { max_batches: max_batches.max(1), max_bytes, account: Arc::default(), state: Mutex::default() }
    }

    /// What large messages for its readers hold before they are here.
    pub(crate) const fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Queues a delivery, if it is the link's turn. One that alone exceeds the limit of bytes is taken when the queue is empty, and
    /// so is any, whoever waits.
    pub(crate) fn push(&self, delivery: Delivery, link: &Arc<Signal>) -> Pushed {
        let mut state = self.state();
        if state.is_closed {
            return Pushed::Closed(delivery);
        }
        let footprint = delivery.batch.footprint();
        let fits = state.deliveries.len() < self.max_batches && state.bytes + footprint <= self.max_bytes;
        let is_taken = state.deliveries.is_empty() || fits && state.is_turn_of(link);
        if !is_taken {
            state.wait(link);
            return Pushed::Full(delivery);
        }
        state.bytes += footprint;
        state.deliveries.push_back(delivery);
        let (called, next) = (state.call_readers(), state.leave(link));
        drop(state);
        called.wake();
        // What is left may do for it.
        if let Some(next) = next {
            next.wake();
        }
        Pushed::Queued
    }

    /// The link has nothing more for this queue.
    pub(crate) fn leave_line(&self, link: &Arc<Signal>) {
        let next = self.state().leave(link);
        if let Some(next) = next {
            next.wake();
        }
    }

    /// Queues a delivery that is in memory already, whatever is in the queue; says whether somebody will get it.
    pub(crate) fn push_over(&self, delivery: Delivery) -> bool {
        let mut state = self.state();
        if state.is_closed {
            return false;
        }
        state.bytes += delivery.batch.footprint();
        state.deliveries.push_back(delivery);
        let called = state.call_readers();
        drop(state);
        called.wake();
        true
    }

    /// Takes all Guaranteed messages out of the queue, oldest first.
    pub(crate) fn take_held(&self) -> VecDeque<Delivery> {
        self.take_where(|delivery| delivery.hold.is_some())
    }

    /// Takes all other messages out of the queue, oldest first.
    pub(crate) fn take_unheld(&self) -> VecDeque<Delivery> {
        self.take_where(|delivery| delivery.hold.is_none())
    }

    fn take_where(&self, is_meant: impl Fn(&Delivery) -> bool) -> VecDeque<Delivery> {
        let mut state = self.state();
        let all = std::mem::take(&mut state.deliveries).into_iter();
        let (taken, others): (VecDeque<_>, VecDeque<_>) = all.partition(is_meant);
        state.deliveries = others;
        state.bytes -= taken.iter().map(|delivery| delivery.batch.footprint()).sum::<usize>();
        let blocked = if taken.is_empty() { Vec::new() } else { std::mem::take(&mut state.blocked) };
        drop(state);
        blocked.iter().filter_map(Weak::upgrade).for_each(|link| link.wake());
        taken
    }

    /// Takes the oldest delivery; `None` once the queue is closed and empty.
    pub(crate) fn poll_pop(&self, cx: &Context<'_>) -> Poll<Option<Delivery>> {
        let mut state = self.state();
        if let Some(delivery) = self.pop(&mut state) {
            return Poll::Ready(Some(delivery));
        }
        if state.is_closed {
            return Poll::Ready(None);
        }
        if !state.readers.iter().any(|reader| reader.will_wake(cx.waker())) {
            state.readers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// How many deliveries wait, and how many bytes they take up.
    pub(crate) fn occupied(&self) -> (usize, usize) {
        let state = self.state();
        (state.deliveries.len(), state.bytes)
    }

    /// Takes nothing more. With `drain` readers still get what is queued, else it is dropped; says how many messages were.
    pub(crate) fn close(&self, drain: bool) -> u64 {
        let mut state = self.state();
        state.is_closed = true;
        let dropped = if drain { VecDeque::new() } else { std::mem::take(&mut state.deliveries) };
        if !drain {
            state.bytes = 0;
        }
        let (called, blocked) = (state.call_readers(), std::mem::take(&mut state.blocked));
        drop(state);
        called.wake();
        // The links count streams that nobody reads.
        let unread = dropped.iter().filter(|delivery| delivery.stream.is_none());
        let unread = unread.map(|delivery| delivery.batch.len() as u64).sum();
        drop(dropped);
        blocked.iter().filter_map(Weak::upgrade).for_each(|link| link.wake());
        unread
    }

    fn pop(&self, state: &mut State) -> Option<Delivery> {
        let delivery = state.deliveries.pop_front()?;
        state.bytes -= delivery.batch.footprint();
        let is_half_free =
            state.deliveries.len() <= self.max_batches / 2 && state.bytes <= self.max_bytes / 2;
        if is_half_free {
            // Each keeps its place until it has had its turn.
            state.blocked.iter().filter_map(Weak::upgrade).for_each(|link| link.wake());
        }
        Some(delivery)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;

    use bytes::Bytes;
    use hyphal_core::ids::NodeId;
    use hyphal_core::time::UnixTime;

    use super::*;
    use crate::message::Protection;

    #[test]
    fn a_link_that_always_has_more_does_not_keep_another_one_out() {
        let queue = Queue::new(8, usize::MAX);
        let [busy, other] = [(); 2].map(|()| Arc::new(Signal::default()));
        let fill = || while matches!(queue.push(delivery(1), &busy), Pushed::Queued) {};
        fill();
        assert!(matches!(queue.push(delivery(1), &other), Pushed::Full(_)));

        let taken = (0..100).find(|_| {
            assert!(queue.poll_pop(&Context::from_waker(Waker::noop())).is_ready());
            if is_woken(&busy) {
                fill();
            }
            is_woken(&other) && matches!(queue.push(delivery(1), &other), Pushed::Queued)
        });

        assert!(taken.is_some(), "the other one never had its turn");
    }

    #[test]
    fn a_long_delivery_is_not_passed_by_short_ones_for_ever() {
        let queue = Queue::new(usize::MAX, 1000);
        let [short, long] = [(); 2].map(|()| Arc::new(Signal::default()));
        let fill = || while matches!(queue.push(delivery(100), &short), Pushed::Queued) {};
        fill();
        assert!(matches!(queue.push(delivery(900), &long), Pushed::Full(_)));

        let taken = (0..100).find(|_| {
            assert!(queue.poll_pop(&Context::from_waker(Waker::noop())).is_ready());
            let is_taken = is_woken(&long) && matches!(queue.push(delivery(900), &long), Pushed::Queued);
            if is_woken(&short) {
                fill();
            }
            is_taken
        });

        assert!(taken.is_some(), "the long one never had its turn");
    }

    fn is_woken(link: &Signal) -> bool {
        pin!(link.woken()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn delivery(len: usize) -> Delivery {
        let batch = Batch {
            record: Bytes::from(vec![0; len]),
            compressed: None,
            entries: Vec::new(),
            own: NodeId::from_bytes([1; 32]),
            source: NodeId::from_bytes([2; 32]),
            received_at: UnixTime::from_micros(0),
            protection: Protection::default(),
        };
        Delivery { batch, stream: None, consumption: None, hold: None }
    }
}
