//! The plain values of core, on a 32-bit processor: what a host with 64-bit words would not notice.

use hyphal_core::ids::{MessageId, NodeId, Priority};
use hyphal_core::time::{Duration, Instant};
use hyphal_core::wire::reason::Reason;

use crate::require;

pub(crate) fn ids_and_priorities_keep_their_values() -> Result<(), &'static str> {
    let id = NodeId::from_bytes([7; NodeId::LEN]);
    require(id.as_bytes() == &[7; NodeId::LEN], "an id's bytes changed")?;

    let early = MessageId { epoch: 1, sequence: u64::from(u32::MAX) };
    let late = MessageId { epoch: 1, sequence: u64::from(u32::MAX) + 1 };
    require(early < late, "a sequence wrapped at 32 bits")?;

    let in_order = Priority::ALL.iter().enumerate().all(|(at, priority)| *priority as usize == at);
    require(in_order, "a priority is not its own index")
}

pub(crate) fn times_saturate_at_both_ends() -> Result<(), &'static str> {
    let hour = Duration::from_secs(3600);
    let end = Instant::from_micros(u64::MAX);

    require(end.after(hour) == end, "a time ran over its end")?;
    require(Instant::ZERO.since(end) == Duration::ZERO, "a span became negative")?;
    require(
        Instant::ZERO.after(hour).as_micros() == 3_600_000_000,
        "an hour in microseconds lost its upper word",
    )
}

pub(crate) fn reason_codes_lead_back_to_their_reasons() -> Result<(), &'static str> {
    let lead_back = Reason::ALL.iter().all(|reason| Reason::from_code(*reason as u16) == Some(*reason));
    require(lead_back, "a code led to another reason")
}
