//! The body of a datagram's record: which messages of the outbox go in it, for the first time or again.
//!
//! What is lost is not the record but its load: its messages, taken from the outbox once more, go into new records, as many
//! as there is room for. Invariant: nothing is taken from the outbox that was not written.

use super::loss::{Load, Sent};
use super::parted::Parted;
use crate::ids::Priority;
use crate::outbox::{Outbox, Storage};
use crate::session::message::header_of;
use crate::time::Instant;
use crate::wire::message::{self, Encoder, MessageHeader, Part};

/// Bytes that a new body leaves free, as it may be longer when it is sent again: a longer counter, an age of four bytes.
pub(super) const SLACK: usize = 12;

/// Bytes of a body with which it is worth to go on: what the next message needs, unless it goes in parts anyway.
pub(super) fn least_len<S: Storage>(now: Instant, outbox: &mut Outbox<S>, piece_len: usize) -> usize {
    let next = outbox.next(now).filter(|next| next.part.is_none() && next.payload.len() <= piece_len);
    SLACK + message::MAX_OVERHEAD + next.map_or(0, |next| next.payload.len())
}

/// Fills `body` with new messages of one class, or one part of a message longer than `piece_len`, which fits no record. Says
/// what was written and how long it is.
pub(super) fn write_new<S: Storage>(
    now: Instant,
    outbox: &mut Outbox<S>,
    parted: &mut Parted,
    piece_len: usize,
    body: &mut [u8],
) -> (Load, usize) {
    let room = body.len();
    let mut encoder = Encoder::new(body, None);
    let mut load = Load::Nothing;
    loop {
        let queued = outbox.queued();
        let Some(next) = outbox.next(now) else { break };
        let class = next.header.priority;
        if matches!(load, Load::Messages { class: begun, .. } if begun != class) {
            break;
        }
        let mut header = header_of(&next);
        let is_whole = next.part.is_none();
        let place = if queued == 1 { message::Place::Last } else { message::Place::Inner };
        if is_whole && encoder.written() + encoder.needs(&header, next.payload.len(), place) <= room {
            let len = next.payload.len();
            if !encoder.push(&header, next.payload, place) {
                break;
            }
            let Some(ticket) = outbox.shown() else { break };
            outbox.take(len);
            load = match load {
                Load::Messages { first, .. } => Load::Messages { class, first, last: ticket.ordinal },
                _ => Load::Messages { class, first: ticket.ordinal, last: ticket.ordinal },
            };
            continue;
        }
        // What fits a record waits for credit; only one message of a class is in parts at a time.
        if encoder.count() > 0 || (is_whole && next.payload.len() <= piece_len) {
            break;
        }
        let Some(piece) = cut(&encoder, &mut header, next.payload, room) else { break };
        if !encoder.push(&header, piece, message::Place::Last) {
            break;
        }
        let len = piece.len();
        if header.part.is_some_and(|part| part.is_abandonment()) {
            load = Load::Abandonment { class };
        } else if let (Some(ticket), Some(Part { total, offset }), Ok(part_len)) =
            (outbox.shown(), header.part, u32::try_from(len))
        {
            load = Load::Part { ticket, offset, len: part_len };
            parted.handle_sent(ticket, total);
        }
        outbox.take(len);
        break;
    }
    (load, encoder.written())
}

/// As much of the payload as an empty record has room for, as one part; `header` then says which.
fn cut<'p>(
    encoder: &Encoder<'_>,
    header: &mut MessageHeader,
    payload: &'p [u8],
    room: usize,
) -> Option<&'p [u8]> {
    let total = u32::try_from(payload.len()).ok()?;
    let part = *header.part.get_or_insert(Part { total, offset: 0 });
    let room = room.checked_sub(encoder.needs(header, 0, message::Place::Last))?;
    let piece = payload.get(..room.min(payload.len()))?;
    (!piece.is_empty() || part.is_abandonment()).then_some(piece)
}

/// Writes the oldest load that is lost, or for a probe unanswered, as far as `body` has room for it. Says what was written
/// and how long it is.
pub(super) fn write_again<S: Storage, const N: usize>(
    now: Instant,
    outbox: &mut Outbox<S>,
    sent: &mut Sent<N>,
    probes: bool,
    body: &mut [u8],
) -> (Load, usize) {
    // What is sent once and not known to be lost cannot go again: a ping asks for it.
    if sent.lost().is_none()
        && let Some((_, Load::Messages { class, first, last })) = sent.unanswered()
        && outbox.retains_best_effort(class, first, last)
    {
        return (Load::Nothing, 0);
    }
    while let Some((place, load)) = sent.lost().or_else(|| sent.unanswered().filter(|_| probes)) {
        let mut encoder = Encoder::new(body, None);
        let (written, rest) = match load {
            Load::Messages { class, first, last } => {
                write_messages_again(now, outbox, &mut encoder, (class, first, last))
            }
            Load::Part { ticket, offset, len } => match outbox.retained_part(now, ticket, offset, len) {
                None => (Load::Nothing, Load::Nothing),
                Some(next) if encoder.push(&header_of(&next), next.payload, message::Place::Last) => {
                    (load, Load::Nothing)
                }
                Some(_) => (Load::Nothing, load),
            },
            Load::Abandonment { class } => match outbox.abandonment(class) {
                None => (Load::Nothing, Load::Nothing),
                Some(next) if encoder.push(&header_of(&next), next.payload, message::Place::Last) => {
                    (load, Load::Nothing)
                }
                Some(_) => (Load::Nothing, load),
            },
            Load::Drain | Load::Grant | Load::Whole { .. } | Load::Nothing => return (Load::Nothing, 0),
        };
        let len = encoder.written();
        sent.reduce(place, rest);
        if len > 0 || rest != Load::Nothing {
            return (written, len);
        }
    }
    (Load::Nothing, 0)
}

/// Writes the retained messages of a class from an ordinal to another, as far as there is room: what was written, and what
/// was not.
fn write_messages_again<S: Storage>(
    now: Instant,
    outbox: &mut Outbox<S>,
    encoder: &mut Encoder<'_>,
    (class, first, last): (Priority, u64, u64),
) -> (Load, Load) {
    let (mut written, mut from) = (Load::Nothing, first);
    while let Some((ordinal, next)) = outbox.retained(now, class, from, last) {
        if !encoder.push(&header_of(&next), next.payload, message::Place::Inner) {
            return (written, Load::Messages { class, first: ordinal, last });
        }
        written = match written {
            Load::Messages { first, .. } => Load::Messages { class, first, last: ordinal },
            _ => Load::Messages { class, first: ordinal, last: ordinal },
        };
        from = ordinal + 1;
    }
    (written, Load::Nothing)
}
