//! A Guaranteed message in the hands of the application: it is committed when everyone who got it is done with it, may come
//! again when one of them let go of it before, and is refused when nobody will ever take it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use hyphal_core::ids::{MessageId, Priority};
use hyphal_core::wire::reason::Reason;

use super::{Lanes, message_id};

/// A message that was taken from its lane. Its end decides what the lane remembers.
#[derive(Debug)]
pub(crate) struct Arrival {
    lanes: Arc<Lanes>,
    class: Priority,
    epoch: u64,
    number: u64,
    is_committed: AtomicBool,
    is_let_go: AtomicBool,
    is_short: AtomicBool,
    /// The code of the reason why a receiver refuses it; 0 if none does.
    refusal: AtomicU16,
}

/// How the application's time with a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Everyone is done with it.
    Committed,
    /// Somebody let go of it: it may come again.
    LetGo,
    /// There was no memory for it when it came: it is to come again when there is.
    Short,
    /// Nobody will ever take it.
    Refused(Reason),
}

impl Arrival {
    pub(super) fn new(lanes: Arc<Lanes>, class: Priority, epoch: u64, number: u64) -> Self {
        let no = AtomicBool::new;
        let (is_committed, is_let_go, is_short) = (no(false), no(false), no(false));
        Self { lanes, class, epoch, number, is_committed, is_let_go, is_short, refusal: AtomicU16::new(0) }
    }

    /// The message's name as applications see it.
    pub(crate) fn id(&self) -> MessageId {
        message_id(self.epoch, self.number)
    }

    /// There is no memory for the message. Whoever reads it part by part may be done with it: others are not.
    pub(crate) fn fall_short(&self) {
        self.is_short.store(true, Ordering::Relaxed);
    }

    fn fate(&mut self) -> Fate {
        let (is_committed, is_let_go) = (*self.is_committed.get_mut(), *self.is_let_go.get_mut());
        match Reason::from_code(*self.refusal.get_mut()) {
            // Whoever let go of it may want it; but not what is of no use to anybody.
            Some(reason) if !(is_committed || is_let_go && reason == Reason::NoReceiver) => {
                Fate::Refused(reason)
            }
            _ if *self.is_short.get_mut() => Fate::Short,
            _ if is_committed && !is_let_go => Fate::Committed,
            _ => Fate::LetGo,
        }
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let fate = self.fate();
        self.lanes.handle_arrival_end(self.class, self.epoch, self.number, fate);
    }
}

/// One receiver's part of an [`Arrival`]. Dropped without [`commit`](Self::commit) or [`refuse`](Self::refuse), it lets go of
/// the message.
#[derive(Debug)]
pub(crate) struct Hold {
    /// `None` once it is committed or refused.
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

    /// The message itself, of which this receiver wants no part any more: somebody else decides what becomes of it.
    pub(crate) fn into_arrival(mut self) -> Option<Arc<Arrival>> {
        self.arrival.take()
    }

    /// The message is of no use here, however often it comes. What other receivers do with it counts more.
    pub(crate) fn refuse(mut self, reason: Reason) {
        if let Some(arrival) = self.arrival.take() {
            arrival.refusal.store(reason.code(), Ordering::Relaxed);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(arrival) = &self.arrival {
            arrival.is_let_go.store(true, Ordering::Relaxed);
        }
    }
}
