//! Secure messaging between nodes: the tokio runtime of the Hyphal protocol.
//!
//! Every link is mutually authenticated and encrypted; there is no other mode. A [`Node`] knows its peers by their
//! [`NodeId`], keeps one session with each of them alive, and tells what became of every message. Links run over TCP, UDP,
//! serial lines, and memory within one process: an [`Endpoint`](address::Endpoint) says which, and nothing else differs but
//! the order of messages, which only streams keep.
//!
//! ```no_run
//! use hyphal::{Identity, Node, SendOptions};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let friend = "…".parse::<hyphal::NodeId>()?;
//! let node = Node::builder()
//!     .identity(Identity::from_seed(&[0; 32])?)
//!     .network("example")
//!     .listen("0.0.0.0:4857")
//!     .peer(friend, "friend.example.org:4857")
//!     .start()
//!     .await?;
//! let (_id, receipt) = node.send_direct_tracked(friend, 0, "hello", SendOptions::default()).await?;
//! println!("{}", receipt.await);
//! while let Some(message) = node.recv().await {
//!     println!("{}: {:?}", message.source, message.payload);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Who waits for whom
//! All queues are bounded. A sender waits while its peer's queue is full ([`Node::send_direct`]), is told at once
//! ([`Node::try_send_direct`]), or has less urgent messages dropped ([`Overflow`]). A receiver that does not come back for more
//! gives its peers no credit, which in turn fills the senders' queues: nothing is dropped for lack of room in a queue.
//! *Delivered* means that the receiving application took the message and came back for more.
//!
//! A node that nobody receives from therefore comes to a stand once its inbox is full, acknowledgements of what it sent
//! included. An application that only sends says so by dropping a subscription, `drop(node.subscribe(Filter::all()))`:
//! from then on what nobody wants is dropped with [`Reason::NoReceiver`] and counted.
//!
//! # Large messages
//! A message of more than 16 KiB travels in parts, between which urgent ones pass. It arrives whole, put together in memory
//! that all peers share ([`Limits::assembly_bytes`]): a peer for whose message there is none waits, unless it holds some for
//! another message already; then this one is dropped with [`Reason::NoRoom`] and counted, and asked for again when there is some if it is
//! Guaranteed. A subscription that does not read keeps a bounded part of it. [`Node::subscribe_streams`] gives the parts as
//! they come instead. [`Receipt::progress`] tells how much has left, [`Receipt::cancel`] calls a message back.
//!
//! # Compression
//! Messages travel as they are, unless [`NodeBuilder::compress`] names their types: then each is compressed by itself for
//! peers that take it, and decompressed when the receiving application comes for it. [`compression`] says what it costs.
//!
//! # Message families
//! What nodes say of themselves, heartbeats, status, configuration and health, has types of its own in [`family`]:
//! [`Node::send_body`] and [`Outgoing::body`] send it, [`Message::body`] reads it, and says so if a newer node wrote it in
//! a version that this build does not know. Everything else is bytes, whose types applications number as they like.
//!
//! # Cancellation
//! Every future can be dropped at any time. A send that was dropped before it was ready has not sent; of a batch,
//! [`SendBatch::accepted`] tells how much was.

pub mod address;
pub mod compression;
pub mod config;
mod key_log;
pub mod keyfile;
pub mod metrics;
pub mod trust;

mod assembly;
mod body;
mod buffers;
mod builder;
mod cipher;
mod clock;
mod closing;
mod control;
mod counters;
mod delegation;
mod dial;
mod disk;
mod error;
mod event;
mod farewell;
mod guaranteed;
mod guests;
mod held;
mod hub;
mod inflow;
#[cfg(unix)]
mod line_listener;
mod link;
mod listener;
mod locked;
mod log;
mod mailbox;
mod memory;
mod message;
mod node;
mod opening;
mod options;
mod peer;
mod pulse;
mod queue;
mod rate;
mod receipt;
mod roster;
mod send;
#[cfg(unix)]
mod serial;
mod signal;
mod socket;
mod store;
mod stream;
mod subscription;
mod udp;

pub use hyphal_core::aead::Cipher;
pub use hyphal_core::breaker::State as BreakerState;
pub use hyphal_core::family;
pub use hyphal_core::health::State as HealthState;
pub use hyphal_core::identity::{BadNodeId, BadSeed, DelegateError, Identity, NotOwnKey};
pub use hyphal_core::ids::{MessageId, NodeId, NodeType, Priority, Reliability};
pub use hyphal_core::node::{Outcome as Verdict, PeerStatus, Removal, Trust};
pub use hyphal_core::profile::{self, Profile, Security, Terms};
pub use hyphal_core::recovery::{Recovery, recover_from_error};
pub use hyphal_core::time::{TimeQuality, UnixTime};
pub use hyphal_core::wire::delegation::Delegation;
pub use hyphal_core::wire::envelope::Envelope;
pub use hyphal_core::wire::family::Family;
pub use hyphal_core::wire::reason::Reason;

pub use builder::NodeBuilder;
pub use counters::{
    ByReliability, Certification, Compression, Counters, Fates, Protected, ReloadRefusals, Sent,
};
pub use error::{AddPeerError, BatchError, PeerError, ReloadError, SendError, StartError};
pub use event::{Event, Events};
pub use held::{HeldMessage, HeldSubscription};
pub use message::{Batch, Message, MessageRef, Outgoing, Overflow, Payload, SendOptions};
pub use node::{Node, PeerInfo};
pub use opening::verify_signed;
pub use options::{Keepalive, Limits, TcpOptions, Timeouts, UnknownTypes};
pub use receipt::{Outcome, Progress, Receipt};
pub use roster::{Reloaded, Roster};
pub use send::{Broadcast, SendBatch};
pub use store::{StoreCounters, StoreError, StoreFailure, StoreHoldings, StoreState, inspect_store};
pub use stream::{Incoming, IncomingStream, StreamError};
pub use subscription::{Filter, StreamSubscription, Subscription};
pub use trust::{TrustError, TrustSettings};
