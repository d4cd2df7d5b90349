//! The Hyphal protocol as sans-IO state machines: no std, no I/O, no clock, and without feature `alloc` no heap.
//!
//! Bytes and the time go in, bytes and events come out; a runtime owns sockets, timers and threads.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod aead;
pub mod filter;
pub mod handshake;
pub mod identity;
pub mod ids;
pub mod node;
pub mod noise;
pub mod outbox;
pub mod record;
pub mod session;
pub mod time;
pub mod wire;
