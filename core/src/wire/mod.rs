//! Every byte layout of the protocol. Nothing outside this module knows an offset.

pub mod control;
pub mod envelope;
pub mod family;
pub mod frame;
pub mod hello;
pub mod message;
pub mod reason;
pub mod record;
pub mod varint;
