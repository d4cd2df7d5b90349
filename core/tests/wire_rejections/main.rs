//! What every decoder refuses, and with which reason: one sentence for each rule of `docs/protocol.md`, sections 1 to 8.

mod controls;
mod envelopes;
mod frames;
mod hellos;
mod messages;
mod records;
mod varints;

use std::time::Duration;

use hyphal_core::{
    ids::{Hint, MessageId, NodeId, NodeType, Priority},
    time::{TimeQuality, UnixTime},
    wire::{
        control::Control,
        envelope::{Envelope, EnvelopeHeader},
        frame::{self, Compression, Decoded, Header, Kind, Refusal},
        hello::{Extensions, Hello, NetworkTag, Versions},
        message::{self, Compressed, Encoder, MessageHeader, Method, Methods, Part, Place},
        reason::Reason,
        record::{self, RecordHeader},
        varint,
    },
};
