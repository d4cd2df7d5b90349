//! The bounded queue between links and one subscription, in batches.
//!
//! A full queue is not an error: the link keeps the batch, and is woken when half of the queue is free.
//! Any number of links push, any number of readers pop; no lock is held while anyone waits, or is called: a waker may do anything.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

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
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    deliveries: VecDeque<Delivery>,
    bytes: usize,
    readers: Vec<Waker>,
    /// Links that hold a batch back.
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
}

impl Called {
    fn wake(self) {
        self.first.into_iter().chain(self.others).for_each(Waker::wake);
    }
}

impl Queue {
    pub(crate) fn new(max_batches: usize, max_bytes: usize) -> Self {
        Self { max_batches: max_batches.max(1), max_bytes, state: Mutex::default() }
    }

    /// Queues a delivery. One that alone exceeds the limit of bytes is taken when the queue is empty.
    pub(crate) fn push(&self, delivery: Delivery, link: &Arc<Signal>) -> Pushed {
        let mut state = self.state();
        if state.is_closed {
            return Pushed::Closed(delivery);
        }
        let footprint = delivery.batch.footprint();
        let fits = state.deliveries.len() < self.max_batches && state.bytes + footprint <= self.max_bytes;
        if !fits && !state.deliveries.is_empty() {
            // Links that have ended meanwhile need no call.
            state
                .blocked
                .retain(|blocked| blocked.strong_count() > 0 && !blocked.ptr_eq(&Arc::downgrade(link)));
            state.blocked.push(Arc::downgrade(link));
            return Pushed::Full(delivery);
        }
        state.bytes += footprint;
        state.deliveries.push_back(delivery);
        let called = state.call_readers();
        drop(state);
        called.wake();
        Pushed::Queued
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
        if is_half_free && !state.blocked.is_empty() {
            state.blocked.drain(..).filter_map(|link| link.upgrade()).for_each(|link| link.wake());
        }
        Some(delivery)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
