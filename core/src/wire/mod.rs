//! Every byte layout of the protocol. Nothing outside this module knows an offset.
//!
//! Codecs only: bytes to values and back, without policy, state or keys. Decoders are total: no input makes them panic,
//! and what they refuse carries a [`Reason`](reason::Reason). What encodes decodes to the same value.
//! The byte-level text is `docs/protocol.md`; module docs repeat its tables above the code that implements them.

pub mod certificate;
pub mod cobs;
pub mod control;
mod cursor;
pub mod datagram;
pub mod delegation;
pub mod delivery;
pub mod envelope;
pub mod family;
pub mod frame;
pub mod hello;
pub mod message;
pub mod ranges;
pub mod reason;
pub mod record;
pub mod revocation;
pub mod seal;
mod statement;
pub mod tlv;
pub mod varint;
