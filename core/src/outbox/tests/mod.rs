//! The rules of the outbox as sentences, each told for every storage; here is what they are told with.

mod fates;
#[cfg(feature = "alloc")]
mod heap;
mod parts;
mod room;
mod turns;

use super::*;
use crate::wire::message::{Compressed, Method};
use Priority::{Critical, High, Low, Medium};
use std::vec::Vec;

impl Ledger for Vec<Fate> {
    fn settle(&mut self, fate: Fate) {
        self.push(fate);
    }
}

/// Room for eight messages with 256 bytes in all.
trait Small: Storage<Ledger = Vec<Fate>> {
    fn small() -> Outbox<Self>
    where
        Self: Sized;
}

impl Small for FixedStorage<256, 8, Vec<Fate>> {
    fn small() -> Outbox<Self> {
        Outbox::new(Self::with_ledger(Vec::new()))
    }
}

#[cfg(feature = "alloc")]
impl Small for SharedStorage<Vec<Fate>> {
    fn small() -> Outbox<Self> {
        Outbox::new(Self::with_ledger(8, 256, Vec::new()))
    }
}

/// Tests each claim, a function over a storage, for all of them.
macro_rules! for_every_storage {
    ($($claim:ident)+) => {
        mod fixed_storage {
            $(#[test] fn $claim() { super::$claim::<super::FixedStorage<256, 8, std::vec::Vec<super::Fate>>>(); })+
        }
        #[cfg(feature = "alloc")]
        mod shared_storage {
            $(#[test] fn $claim() { super::$claim::<super::SharedStorage<std::vec::Vec<super::Fate>>>(); })+
        }
    };
}

use for_every_storage;

#[test]
fn the_smallest_outbox_fits_a_small_device() {
    assert!(size_of::<TinyOutbox>() <= 3072, "{}", size_of::<TinyOutbox>());
}

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

fn push_as<S: Small>(outbox: &mut Outbox<S>, reliability: Reliability, ttl: u32, text: &str) -> Ticket {
    let header = Header { reliability, ..header(Medium, ttl) };
    outbox.push(at(0), header, Payload::Copied(text.as_bytes())).unwrap()
}

fn header(priority: Priority, ttl: u32) -> Header {
    Header { kind: 1, priority, ttl, ..Header::default() }
}

fn push<S: Storage>(
    outbox: &mut Outbox<S>,
    class: Priority,
    ttl: u32,
    text: &str,
) -> Result<Ticket, SendError> {
    outbox.push(at(0), header(class, ttl), Payload::Copied(text.as_bytes()))
}

/// A message that never expires, its payload `len` bytes with the value `len`.
fn push_len<S: Storage>(outbox: &mut Outbox<S>, class: Priority, len: usize) -> Result<Ticket, SendError> {
    outbox.push(at(0), header(class, 0), Payload::Copied(&std::vec![len as u8; len]))
}

fn take<S: Storage>(outbox: &mut Outbox<S>, seconds: u64) -> Option<std::string::String> {
    let payload = outbox.next(at(seconds))?.payload.to_vec();
    outbox.take(payload.len());
    Some(std::string::String::from_utf8_lossy(&payload).into_owned())
}

fn drain<S: Storage>(outbox: &mut Outbox<S>) -> Vec<std::string::String> {
    core::iter::from_fn(|| take(outbox, 0)).collect()
}

/// One message of each class, pushed and written into the record with this counter.
fn write_record<S: Storage>(outbox: &mut Outbox<S>, counter: u64, classes: &[Priority]) {
    for &class in classes {
        push(outbox, class, 0, "x").unwrap();
    }
    assert_eq!(drain(outbox).len(), classes.len());
    outbox.handle_record_written(counter);
}

/// The invariant of the outbox.
pub(super) fn assert_balanced<S: Storage>(outbox: &Outbox<S>) {
    let counters = outbox.counters();
    let settled = counters.confirmed + counters.unconfirmed + counters.dropped() + counters.withdrawn;
    assert_eq!(counters.pushed, settled + outbox.in_flight() + outbox.queued() as u64, "{counters:?}");
    let written = counters.confirmed + counters.unconfirmed + outbox.in_flight();
    let at_most = written + counters.withdrawn + counters.requeued.min(outbox.queued() as u64);
    assert!((written..=at_most).contains(&counters.written), "{counters:?}");
    assert_eq!(outbox.has_queued(), outbox.queued() != 0);
}
