//! Compression of single messages, for the types that somebody named, and never with a memory of other messages.
//!
//! ```text
//!   push:  a rule names the type, the peer takes the method, it gets shorter ─▶ queued compressed, else as it is
//!   pop:   the application comes for the message ─▶ decompressed into exactly the room that it names, or dropped
//! ```
//! What waits in a queue stays compressed, so no peer can make a node hold more than one decompressed message for each
//! receiver, whatever it sends. Invariant: output has its bound before it is produced.

mod codec;
mod rule;

pub(crate) use codec::{Codec, Effort, Packed, Taker};
pub use hyphal_core::wire::message::{Method, Methods};
pub use rule::{BadRule, Rule};
