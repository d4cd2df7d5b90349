//! Which messages of a record are taken: each once, in time, and those of lanes as their lane awaits them. What nodes say among
//! themselves goes no further.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use hyphal_core::ids::Priority;
use hyphal_core::session::Message;
use hyphal_core::wire::delivery;
use hyphal_core::wire::delivery::{Lane, LaneRefusal, LaneState};
use hyphal_core::wire::family::Family;
use hyphal_core::wire::message::{Compressed, Part};
use hyphal_core::wire::reason::Reason;
use hyphal_core::wire::revocation::REVOCATIONS;

use super::{Inflow, drop_received, refuse};
use crate::guaranteed::Arrival;
use crate::hub::Hub;
use crate::message::{Entry, age_millis};
use crate::options::UnknownTypes;
use crate::peer::Peer;
use crate::trust::Refused;

/// The messages of a record that were admitted, by their places in it.
pub(crate) struct Contents {
    pub(super) entries: Vec<Entry>,
    /// What is not simply a message, and how many entries come before it.
    pub(super) others: Vec<(usize, Other)>,
    /// Revocation lists, which are for the node and not for its applications.
    pub(super) lists: Vec<Bytes>,
}

/// What a record holds beside messages that came whole and plain.
pub(super) struct Other {
    pub(super) entry: Entry,
    /// Whether it is an envelope, or part of one.
    pub(super) full: bool,
    /// A whole Guaranteed message, taken from its lane.
    pub(super) arrival: Option<Arc<Arrival>>,
    /// The number of a Guaranteed message of which this is a part.
    pub(super) number: Option<u64>,
    pub(super) part: Option<Part>,
    pub(super) compressed: Option<Compressed>,
}

impl Inflow {
    /// Admits each message once and in time; the others are counted. `base` is where the record's bytes begin.
    pub(crate) fn admit<'m>(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        messages: impl ExactSizeIterator<Item = Message<'m>>,
        base: usize,
    ) -> Contents {
        let mut contents =
            Contents { entries: Vec::with_capacity(messages.len()), others: Vec::new(), lists: Vec::new() };
        let mut arrivals = peer.arrivals();
        for message in messages {
            // The type of an envelope shows when it is open.
            let checked = if hub.plan.unknown_types == UnknownTypes::Refuse
                && !message.full
                && Family::of(message.kind).is_none()
            {
                Err(Reason::UnknownType)
            } else if message.part.is_none() {
                arrivals.of(message.broadcast).check(message.id, message.priority, message.age, message.ttl)
            } else {
                // A message in parts is admitted when it is whole.
                Ok(())
            };
            // What nodes say about lanes goes no further, and a Guaranteed message is one of those that its lane awaits.
            let is_for_lanes = delivery::is_delivery(message.kind) && !message.full;
            let taken = match (checked, message.number) {
                (Err(reason @ Reason::UnknownType), Some(number)) => {
                    let taken = self.take_number(peer, message.priority, message.broadcast, number.get());
                    refuse(taken.ok().as_ref(), reason);
                    Err(reason)
                }
                (Err(reason), _) => Err(reason),
                (Ok(()), _) if is_for_lanes => match self.handle_word(hub, peer, &message) {
                    Ok(()) => continue,
                    Err(reason) => Err(reason),
                },
                (Ok(()), Some(number)) if message.part.is_none() => {
                    self.take_number(peer, message.priority, message.broadcast, number.get()).map(Some)
                }
                (Ok(()), _) => Ok(None),
            };
            let arrival = match taken {
                Ok(arrival) => arrival,
                Err(reason) => {
                    drop_received(hub, peer, reason, 1);
                    continue;
                }
            };
            if message.kind == REVOCATIONS && message.part.is_none() {
                contents.lists.push(Bytes::copy_from_slice(message.payload));
                continue;
            }
            // The payload is a slice of the record that begins at `base`; an empty one may point anywhere.
            let offset = if message.payload.is_empty() { 0 } else { message.payload.as_ptr().addr() - base };
            let entry = Entry {
                id: arrival.as_ref().map_or(message.id, |arrival| arrival.id()),
                // A record is at most 64 KiB long.
                offset: offset as u32,
                len: message.payload.len() as u32,
                ttl: message.ttl,
                age_millis: age_millis(message.age),
                kind: message.kind,
                priority: message.priority,
                broadcast: message.broadcast,
                guaranteed: arrival.is_some(),
            };
            match (message.part, message.compressed, arrival, message.full) {
                (None, None, None, false) => contents.entries.push(entry),
                (part, compressed, arrival, full) => {
                    let number = message.number.map(NonZeroU64::get);
                    let other = Other { entry, full, arrival, number, part, compressed };
                    contents.others.push((contents.entries.len(), other));
                }
            }
        }
        contents
    }

    /// The peer speaks of a lane: of one of its own, or of one of this node's.
    fn handle_word(&mut self, hub: &Hub, peer: &Peer, message: &Message<'_>) -> Result<(), Reason> {
        let lanes = peer.lanes.as_ref().ok_or(Reason::NotKept)?;
        let is_plain = message.part.is_none() && message.compressed.is_none() && !message.broadcast;
        let handled = match message.kind {
            _ if !is_plain => Err(Reason::Malformed),
            Lane::KIND => Lane::decode(message.payload).and_then(|lane| {
                let before = self.lanes[lane.class as usize].replace(lane.epoch);
                // A lane has one life in a session.
                match before {
                    Some(epoch) if epoch != lane.epoch => Err(Reason::Violation),
                    _ => lanes.handle_lane(&lane, self.token, before.is_none()),
                }
            }),
            LaneState::KIND => {
                LaneState::decode(message.payload).and_then(|state| lanes.handle_state(&state, self.token))
            }
            LaneRefusal::KIND => LaneRefusal::decode(message.payload)
                .and_then(|refusal| lanes.handle_refusal(&refusal, self.token)),
            _ => Err(Reason::UnknownType),
        };
        if let Err(reason @ (Reason::Malformed | Reason::Violation)) = handled {
            self.signal.close(reason);
        }
        if let Err(reason) = handled {
            tracing::debug!(peer = %peer.id, reason = reason.name(), "word about a lane refused: {reason}");
        }
        if hub.is_draining.load(Relaxed) {
            hub.drained.notify_waiters();
        }
        handled
    }

    /// Takes a Guaranteed message from its lane. A peer that sends what the lane does not allow has broken a rule.
    pub(super) fn take_number(
        &self,
        peer: &Peer,
        class: Priority,
        broadcast: bool,
        number: u64,
    ) -> Result<Arc<Arrival>, Reason> {
        let lanes = peer.lanes.as_ref().ok_or(Reason::NotKept)?;
        let epoch = self.lanes[class as usize].filter(|_| !broadcast);
        let taken = epoch.ok_or(Reason::Violation).and_then(|epoch| lanes.take(class, epoch, number));
        if taken.as_ref().err() == Some(&Reason::Violation) {
            self.signal.close(Reason::Violation);
        }
        taken
    }

    /// Takes a revocation list. What is no news is dropped; one that does not verify ends the session.
    pub(super) fn handle_revocations(&self, hub: &Hub, peer: &Peer, bytes: Bytes) {
        let Err(refused) = hub.lists.take(hub, peer.id, bytes) else { return };
        let (Refused::NoNews(reason) | Refused::Forged(reason)) = refused;
        hub.note_vetting(&peer.id, |vetting| vetting.lists_refused.add(reason));
        drop_received(hub, peer, reason, 1);
        if matches!(refused, Refused::Forged(_)) {
            tracing::warn!(peer = %peer.id, reason = reason.name(), "a revocation list from the peer is forged or broken: {reason}");
            self.signal.close(Reason::Violation);
        }
    }
}
