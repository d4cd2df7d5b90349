//! Envelopes in records: opened when they are whole, or while their parts come.

use std::sync::Arc;

use bytes::Bytes;
use hyphal_core::wire::message::Part;
use hyphal_core::wire::reason::Reason;

use super::handout::batch_of;
use super::parts::{Unfinished, give};
use super::{Claim, Inflow};
use crate::assembly::{Growing, Piece, Reservation};
use crate::guaranteed::Hold;
use crate::hub::Hub;
use crate::message::{Batch, Entry, Protection};
use crate::opening;
use crate::opening::{Beginning, Flow, Opened};
use crate::peer::Peer;
use crate::queue::Delivery;
use crate::stream::{IncomingStream, StreamWriter};
use crate::subscription::Subscriber;

/// An envelope in parts.
pub(super) enum Envelope {
    /// Its first bytes, too few to tell who wants it.
    Begun(Vec<u8>),
    /// It is opened when it is whole.
    Whole,
    /// It is opened while it arrives.
    Flows(Box<Flow>),
}

impl Inflow {
    /// Takes the bytes of a part of an envelope.
    pub(super) fn push_envelope(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        at: usize,
        part: Part,
        piece: Piece,
        claim: &mut Claim<'_>,
    ) -> Result<(), Reason> {
        let mut in_order = Vec::new();
        self.unfinished[at].parts.insert(part.offset, piece, |piece| in_order.push(piece))?;
        for mut piece in in_order {
            let message = &mut self.unfinished[at];
            if let Some(whole) = &mut message.whole {
                whole.push(&piece.bytes);
            }
            if let Some(Envelope::Begun(first)) = &mut message.envelope {
                first.extend_from_slice(&piece.bytes);
                let first = std::mem::take(first);
                let Some(rest) = self.begin_envelope(hub, peer, at, part.total, first)? else { continue };
                piece = Piece { bytes: rest, consumption: None };
                if !self.unfinished[at].streams.is_empty() {
                    piece.consumption = Some(claim.consumption());
                }
            }
            let Unfinished { envelope, streams, .. } = &mut self.unfinished[at];
            if let Some(Envelope::Flows(flow)) = envelope {
                flow.push(piece, |piece| give(streams, piece))
                    .map_err(|reason| opening::note_refused(hub, peer, reason))?;
            }
        }
        Ok(())
    }

    /// Looks at the first bytes of an envelope: who wants it, and how. Gives those that a stream has not used.
    fn begin_envelope(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        at: usize,
        total: u32,
        first: Vec<u8>,
    ) -> Result<Option<Bytes>, Reason> {
        let subscribers = hub.registry.snapshot();
        let from_peer = |subscriber: &&Arc<Subscriber>| subscriber.filter.takes_from(&peer.id);
        let might_flow = subscribers.iter().filter(from_peer).any(|subscriber| subscriber.takes_streams);
        let message = &mut self.unfinished[at];
        let beginning = match might_flow {
            true => Flow::begin(hub, peer, &message.named(), total, &first)?,
            false => Beginning::Short,
        };
        let flow = match beginning {
            Beginning::Incomplete => {
                message.envelope = Some(Envelope::Begun(first));
                return Ok(None);
            }
            Beginning::Short => {
                message.envelope = Some(Envelope::Whole);
                if might_flow {
                    self.hold_late(hub, at, total, &first)?;
                }
                return Ok(None);
            }
            Beginning::Long(flow) => flow,
        };
        let takes =
            |subscriber: &&Arc<Subscriber>| subscriber.filter.takes(flow.kind, message.entry.priority);
        let (readers, others): (Vec<_>, Vec<_>) = subscribers
            .iter()
            .filter(from_peer)
            .filter(takes)
            .partition(|subscriber| subscriber.takes_streams);
        let may_wait = message.arrival.is_some() || hub.inbox.is_open();
        let is_wanted_whole = !others.is_empty() || readers.is_empty() && may_wait;
        if !is_wanted_whole {
            message.whole = None;
        }
        let entry = Entry { id: flow.id(), kind: flow.kind, offset: 0, len: 0, ..message.entry };
        let mut deliveries = Vec::new();
        for subscriber in readers {
            let protection =
                Protection { is_encrypted: flow.is_encrypted(), is_signed: flow.is_signed(), envelope: None };
            let batch = Batch { protection, ..batch_of(hub, peer, vec![entry], Bytes::new()) };
            let Some(head) = batch.message(0) else { continue };
            let hold = message.arrival.as_ref().map(Hold::new);
            let (writer, stream) = IncomingStream::new(head, flow.plain_len, hold);
            message.streams.push(writer);
            let delivery = Delivery { batch, stream: Some(stream), consumption: None, hold: None };
            deliveries.push((Arc::clone(&subscriber.queue), delivery));
        }
        let rest = Bytes::copy_from_slice(&first[flow.begun_with..]);
        message.envelope =
            Some(if message.streams.is_empty() { Envelope::Whole } else { Envelope::Flows(flow) });
        if is_wanted_whole {
            self.hold_late(hub, at, total, &first)?;
        }
        for (queue, delivery) in deliveries {
            self.push(hub, peer, &queue, delivery, None);
        }
        Ok(Some(rest))
    }

    /// The envelope is wanted whole, which could not be foreseen: there is room for it now, or there is none.
    fn hold_late(&mut self, hub: &Hub, at: usize, total: u32, first: &[u8]) -> Result<(), Reason> {
        let message = &self.unfinished[at];
        if message.whole.is_some() || message.is_counted {
            return Ok(());
        }
        let reservation = self.budget.reserve(total, Vec::new()).ok_or(Reason::NoRoom)?;
        self.look_at.get_or_insert(message.moved_at.after(hub.plan.timeouts.write_stall));
        let mut whole = Growing::new(total, reservation);
        whole.push(first);
        self.unfinished[at].whole = Some(whole);
        Ok(())
    }
}

/// The message in a whole envelope, as a batch of its own.
pub(super) fn open(hub: &Hub, peer: &Peer, entry: &Entry, bytes: Bytes) -> Result<Batch, Reason> {
    let Opened { id, kind, payload, is_encrypted, evidence } = opening::open(hub, peer, entry, bytes)?;
    // No envelope is longer than 32 bits tell, and what was in it is shorter.
    let entry = Entry { id, kind, offset: 0, len: payload.len() as u32, ..*entry };
    let protection = Protection { is_encrypted, is_signed: evidence.is_some(), envelope: evidence };
    Ok(Batch { protection, ..batch_of(hub, peer, vec![entry], payload) })
}

/// All parts of an envelope have come: opens what was put together of it, and gives those who read it part by part the last one.
pub(super) fn finish_envelope(
    hub: &Hub,
    peer: &Peer,
    entry: &Entry,
    envelope: Envelope,
    whole: Option<(Bytes, Reservation)>,
    streams: &[StreamWriter],
) -> Result<Option<(Batch, Reservation)>, Reason> {
    let flow = match envelope {
        Envelope::Flows(flow) => {
            let (id, is_encrypted, is_signed) = (flow.id(), flow.is_encrypted(), flow.is_signed());
            let last = flow.finish().map_err(|reason| opening::note_refused(hub, peer, reason))?;
            Some((id, is_encrypted, is_signed, last))
        }
        Envelope::Begun(_) | Envelope::Whole => None,
    };
    let opened = match whole {
        Some((bytes, mut reservation)) => {
            if opening::is_kept_twice(&bytes) && !reservation.double() {
                return Err(Reason::NoRoom);
            }
            Some((open(hub, peer, entry, bytes)?, reservation))
        }
        None => None,
    };
    if let Some((id, is_encrypted, is_signed, last)) = flow {
        // Of a message that was put together, too, this was done there.
        if opened.is_none() {
            if !entry.guaranteed && !peer.arrivals().envelopes().insert(id) {
                return Err(opening::note_refused(hub, peer, Reason::Duplicate));
            }
            opening::note_opened(hub, peer, is_encrypted, is_signed);
        }
        for stream in streams {
            stream.push(Piece { bytes: last.bytes.clone(), consumption: last.consumption.clone() });
        }
    }
    Ok(opened)
}
