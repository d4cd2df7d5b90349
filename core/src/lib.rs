//! The Hyphal protocol as sans-IO state machines: no std, no I/O, no clock, and without feature `alloc` no heap.
//!
//! Bytes and the time go in, bytes and events come out; a runtime owns sockets, timers and threads. The machines:
//!
//! - [`Session`](session::Session) is one link to one peer over a stream: handshake, keys, records, credit, heartbeats.
//! - [`DatagramSession`](session::DatagramSession) is the same over datagrams, which it retransmits and paces; the
//!   [`Gate`](gate::Gate) stands before the sessions of a socket to which anybody can send.
//! - [`Outbox`](outbox::Outbox) is one per peer and outlives sessions: it owns what waits to be sent and keeps the books.
//! - [`Node`](node::Node) is the control plane: peers, policy, health, reconnects. It sees no payload.
//!
//! # The contract
//!
//! - `handle_*` is in, `poll_*` is out. The time comes first, as a number that never runs backwards: an
//!   [`Instant`](time::Instant) of the caller's monotonic clock.
//! - Polls may be called in any order and any number of times; each call leaves the machine consistent.
//! - On `Err` nothing has changed.
//! - After `handle_timeout(t)` and after everything due was polled, `poll_timeout` lies after `t`.
//! - Records are opened in place, and received messages borrow from the caller's buffer. Outgoing payloads are copied
//!   once at `push` (not at all when shared) and once into the record that is sealed around them.
//! - Noise from the network is `Dropped(reason)`, misuse an error, a lost peer an event. Nothing that a peer sends makes
//!   a machine panic, grow without bound, or stay silent about a loss.
//! - Randomness is drawn from a generator that the caller passes; a seeded run repeats bit for bit.
//!
//! # The drive loop
//!
//! Two ends in one thread, joined by two byte queues; a runtime has a socket in their place.
//!
//! ```
//! use hyphal_core::aead::ChaChaPoly;
//! use hyphal_core::identity::Identity;
//! use hyphal_core::ids::{NodeType, Priority};
//! use hyphal_core::outbox::{FixedStorage, Header, Payload, TinyOutbox};
//! use hyphal_core::profile::Security;
//! use hyphal_core::session::{Config, Expect, Received, Session, Wall};
//! use hyphal_core::time::{Duration, Instant};
//! use hyphal_core::wire::hello::NetworkTag;
//! use hyphal_core::wire::message::Methods;
//! # use rand_core::SeedableRng;
//!
//! struct End {
//!     session: Session<ChaChaPoly>,
//!     outbox: TinyOutbox,
//!     inbox: Vec<Vec<u8>>,
//! }
//!
//! impl End {
//!     /// Everything that a runtime does when its socket is readable, writable, or a deadline has passed.
//!     fn drive(&mut self, now: Instant, read: &mut Vec<u8>, write: &mut Vec<u8>) {
//!         let mut at = 0;
//!         while at < read.len() {
//!             let input = self.session.handle_input(now, &mut self.outbox, &mut read[at..]);
//!             at += input.used;
//!             match input.received {
//!                 Received::NeedMore => break,
//!                 Received::Absorbed => {}
//!                 // A node that keeps hints looks up whose it is; without one, a full handshake follows.
//!                 Received::Hint(_hint) => self.session.handle_hint(None),
//!                 // Policy decides here: whose key is that, and do we let it in?
//!                 Received::Offer(_peer) => self.session.handle_verdict(now, &mut self.outbox, Ok(())),
//!                 Received::Messages(messages) => {
//!                     let mark = messages.mark();
//!                     self.inbox.extend(messages.map(|message| message.payload.to_vec()));
//!                     self.session.handle_consumed(now, mark);
//!                 }
//!                 Received::Dropped(reason) => println!("dropped: {reason}"),
//!             }
//!         }
//!         read.drain(..at);
//!
//!         if self.session.poll_timeout(&self.outbox).is_some_and(|at| at <= now) {
//!             self.session.handle_timeout(now, &mut self.outbox);
//!         }
//!         // As long as the longest record of either end, so that no message waits for a larger buffer.
//!         let mut buf = [0; 1203];
//!         while let Some(len) = self.session.poll_transmit(now, &mut self.outbox, &mut buf) {
//!             write.extend_from_slice(&buf[..len]);
//!         }
//!         while let Some(event) = self.session.poll_event() {
//!             println!("{event:?}");
//!         }
//!     }
//! }
//!
//! let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7); // a test; a device has a true random source
//! let (alice, bob) = (Identity::generate(&mut rng), Identity::generate(&mut rng));
//! let config = Config {
//!     network: NetworkTag::of("example"),
//!     node_type: NodeType::Hyphae,
//!     boot_id: 1, // random at every boot
//!     max_message: 1024,
//!     max_record: 1200,
//!     window: 4096,
//!     compression: Methods::NONE,
//!     keeps_guaranteed: false,
//!     heartbeat: Duration::from_secs(5),
//!     handshake_timeout: Duration::from_secs(5),
//!     max_skew: Duration::from_secs(60),
//!     security: Security::Minimal,
//! };
//! let start = Instant::ZERO;
//! let dialler = Session::connect(start, Wall::default(), &alice, config, Expect::Id(bob.id()), &mut rng);
//! let listener = Session::accept(start, Wall::default(), &bob, config, &mut rng);
//! let mut a = End { session: dialler, outbox: TinyOutbox::new(FixedStorage::default()), inbox: vec![] };
//! let mut b = End { session: listener, outbox: TinyOutbox::new(FixedStorage::default()), inbox: vec![] };
//!
//! let header = Header { kind: 1, priority: Priority::High, sequence: 1, ttl: 30, ..Header::default() };
//! a.outbox.push(start, header, Payload::Copied(b"good morning")).unwrap();
//! let (mut to_a, mut to_b) = (vec![], vec![]);
//! for tick in 1..20 {
//!     let now = start.after(Duration::from_millis(10 * tick));
//!     a.drive(now, &mut to_a, &mut to_b);
//!     b.drive(now, &mut to_b, &mut to_a);
//! }
//! assert_eq!(b.inbox, [b"good morning"]);
//! assert_eq!(a.outbox.counters().confirmed, 1);
//! ```
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod aead;
pub mod assembly;
pub mod backoff;
pub mod breaker;
pub mod compress;
pub mod family;
pub mod filter;
pub mod full;
pub mod gate;
mod handshake;
pub mod health;
pub mod identity;
pub mod ids;
pub mod lane;
pub mod node;
pub mod noise;
pub mod outbox;
pub mod profile;
mod record;
pub mod recovery;
pub mod seal;
pub mod session;
pub mod sign;
pub mod time;
pub mod trust;
pub mod wire;
