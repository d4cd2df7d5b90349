//! A Guaranteed message in the hands of the application: it is committed when everyone who got it is done with it, and may
//! come again when one of them let go of it before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyphal_core::ids::{MessageId, Priority};

use super::{Lanes, message_id};

/// A message that was taken from its lane. Its end decides what the lane remembers.
#[derive(Debug)]
pub(crate) struct Arrival {
    lanes: Arc<Lanes>,
    class: Priority,
    epoch: u64,
    number: u64,
    is_committed: AtomicBool,
    is_refused: AtomicBool,
}

impl Arrival {
    pub(super) fn new(lanes: Arc<Lanes>, class: Priority, epoch: u64, number: u64) -> Self {
        let no = AtomicBool::new;
        Self { lanes, class, epoch, number, is_committed: no(false), is_refused: no(false) }
    }

    /// The message's name as applications see it.
    pub(crate) fn id(&self) -> MessageId {
        message_id(self.epoch, self.number)
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let is_done = *self.is_committed.get_mut() && !*self.is_refused.get_mut();
        self.lanes.handle_arrival_end(self.class, self.epoch, self.number, is_done);
    }
}

/// One receiver's part of an [`Arrival`]. Dropped without [`commit`](Self::commit), it refuses the message.
#[derive(Debug)]
pub(crate) struct Hold {
    /// `None` once it is committed.
    arrival: Option<Arc<Arrival>>,
}

impl Hold {
    pub(crate) fn new(arrival: &Arc<Arrival>) -> Self {
        Self { arrival: Some(Arc::clone(arrival)) }
    }

    /// The receiver is done with the message.
    pub(crate) fn commit(mut self) {
        if let Some(arrival) = self.arrival.take() {
            arrival.is_committed.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(arrival) = &self.arrival {
            arrival.is_refused.store(true, Ordering::Relaxed);
        }
    }
}
