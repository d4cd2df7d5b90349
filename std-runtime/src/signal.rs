//! How a link is woken, and how it learns that the application is done with a record.
//!
//! One wake-up for all causes: new messages, consumed ones, room in a queue, an order to close. The link looks for itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};

use hyphal_core::wire::reason::Reason;
use tokio::sync::Notify;

/// What others may tell a link.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    notify: Notify,
    /// The code of the reason to close with; 0 = go on.
    close: AtomicU16,
    ping: AtomicBool,
    retire: AtomicBool,
    /// Bytes of records that the application is done with, in any order.
    released: AtomicU64,
}

impl Signal {
    /// Makes the link look around.
    pub(crate) fn wake(&self) {
        self.notify.notify_one();
    }

    /// Orders the link to end its session in good order.
    pub(crate) fn close(&self, reason: Reason) {
        self.close.store(reason.code(), Ordering::Release);
        self.wake();
    }

    /// The order to close, once.
    pub(crate) fn take_close(&self) -> Option<Reason> {
        match self.close.load(Ordering::Acquire) {
            0 => None,
            _ => Reason::from_code(self.close.swap(0, Ordering::AcqRel)),
        }
    }

    /// Orders the link to make way for another one without losing a message.
    pub(crate) fn retire(&self) {
        self.retire.store(true, Ordering::Release);
        self.wake();
    }

    /// The order to make way, once.
    pub(crate) fn take_retire(&self) -> bool {
        self.retire.load(Ordering::Acquire) && self.retire.swap(false, Ordering::AcqRel)
    }

    /// Asks the link to measure the round trip time.
    pub(crate) fn ping(&self) {
        self.ping.store(true, Ordering::Release);
        self.wake();
    }

    /// The wish to measure, once.
    pub(crate) fn take_ping(&self) -> bool {
        self.ping.load(Ordering::Acquire) && self.ping.swap(false, Ordering::AcqRel)
    }

    /// Credit for so many bytes may be given again.
    pub(crate) fn release(&self, bytes: u64) {
        self.released.fetch_add(bytes, Ordering::Release);
    }

    /// Bytes of all records that the application is done with.
    pub(crate) fn released(&self) -> u64 {
        self.released.load(Ordering::Acquire)
    }

    /// Resolves when the link was woken since it last waited.
    pub(crate) fn woken(&self) -> tokio::sync::futures::Notified<'_> {
        self.notify.notified()
    }
}

/// Lives as long as anybody still works on the messages of one record; its end lets the link acknowledge the record and give
/// credit for its bytes again.
#[derive(Debug)]
pub(crate) struct Consumption {
    signal: Arc<Signal>,
    bytes: u64,
}

impl Consumption {
    pub(crate) fn new(signal: &Arc<Signal>, bytes: u64) -> Self {
        Self { signal: Arc::clone(signal), bytes }
    }
}

impl Drop for Consumption {
    fn drop(&mut self) {
        self.signal.release(self.bytes);
        self.signal.wake();
    }
}
