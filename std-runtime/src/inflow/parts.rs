//! Messages in parts: put together for those who want them whole, handed on part by part to those who read streams.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use hyphal_core::ids::Priority;
use hyphal_core::time::Instant;
use hyphal_core::wire::message::{Compressed, Part};
use hyphal_core::wire::reason::Reason;
use hyphal_core::wire::revocation::{REVOCATIONS, RevocationList};

use super::envelopes::{Envelope, finish_envelope};
use super::handout::batch_of;
use super::{Claim, Inflow, count_received, drop_received, refuse};
use crate::assembly::{Growing, Parts, Piece, Readers, Reservation};
use crate::guaranteed::{Arrival, Hold};
use crate::hub::Hub;
use crate::message::{Batch, Entry};
use crate::opening;
use crate::opening::Flow;
use crate::peer::Peer;
use crate::queue::Delivery;
use crate::stream::{IncomingStream, StreamWriter};
use crate::subscription::Subscriber;

/// A part of a message, with its bytes.
pub(super) struct Fragment {
    pub(super) entry: Entry,
    pub(super) full: bool,
    pub(super) number: Option<u64>,
    pub(super) part: Part,
    pub(super) compressed: Option<Compressed>,
    pub(super) bytes: Bytes,
    /// The type of what is in an envelope, as far as this part tells, once somebody has looked: it may have to wait, and it takes time.
    pub(super) inner: OnceLock<Option<u16>>,
}

/// A message of which parts have come.
pub(super) struct Unfinished {
    pub(super) entry: Entry,
    /// A Guaranteed message, taken from its lane.
    pub(super) arrival: Option<Arc<Arrival>>,
    pub(super) compressed: Option<Compressed>,
    pub(super) parts: Parts,
    /// What is known of an envelope; `None` for other messages.
    pub(super) envelope: Option<Envelope>,
    /// For those who want it whole.
    pub(super) whole: Option<Growing>,
    /// For those who read it part by part.
    pub(super) streams: Vec<StreamWriter>,
    /// Whether it was counted as dropped.
    pub(super) is_counted: bool,
    /// When its last part came.
    pub(super) moved_at: Instant,
}

/// There is no memory for a message at the moment; its first part comes back.
pub(super) struct NoMemory(pub(super) Fragment);

impl Inflow {
    /// Takes a part of a message: begins the message with it, goes on, or ends it.
    pub(super) fn handle_part(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        now: Instant,
        fragment: Fragment,
        claim: &mut Claim<'_>,
    ) -> Result<(), NoMemory> {
        let Entry { id, broadcast, .. } = fragment.entry;
        let is_same = |other: &Unfinished| other.entry.id == id && other.entry.broadcast == broadcast;
        let at = match self.unfinished.iter().position(is_same) {
            Some(at) => at,
            None if self.ended.contains(&(id, broadcast)) => return Ok(()),
            // Given up before anything of it was taken here.
            None if fragment.part.is_abandonment() => {
                self.note_end(&fragment.entry);
                return Ok(());
            }
            None => {
                if peer.arrivals().of(broadcast).has_seen(id, fragment.entry.priority) {
                    self.note_end(&fragment.entry);
                    drop_received(hub, peer, Reason::Duplicate, 1);
                    return Ok(());
                }
                self.supersede(hub, peer, fragment.entry.priority);
                let Entry { priority, .. } = fragment.entry;
                let taken = fragment.number.map(|number| self.take_number(peer, priority, broadcast, number));
                let arrival = match taken.transpose() {
                    Ok(arrival) => arrival,
                    Err(reason) => {
                        self.note_end(&fragment.entry);
                        drop_received(hub, peer, reason, 1);
                        return Ok(());
                    }
                };
                let begun = self.begin(hub, peer, now, &fragment, arrival);
                let Some(begun) = begun else { return Err(NoMemory(fragment)) };
                self.unfinished.push(begun);
                self.unfinished.len() - 1
            }
        };
        if fragment.part.is_abandonment() {
            self.end(at).abandon(hub, peer);
            return Ok(());
        }
        let Fragment { entry, part, bytes, .. } = fragment;
        let message = &mut self.unfinished[at];
        message.moved_at = now;
        message.entry.age_millis = entry.age_millis;
        // Bytes of a whole message are copied; those of a stream are in use until they are read.
        let consumption = (!message.streams.is_empty()).then(|| claim.consumption());
        let piece = Piece { bytes, consumption };
        let pushed = match message.envelope {
            Some(_) => self.push_envelope(hub, peer, at, part, piece, claim),
            None => message.push(part.offset, piece),
        };
        if let Err(reason) = pushed {
            // On streams the session lets only sound parts pass; on datagrams nobody but this looks at them.
            let message = self.end(at);
            match reason {
                Reason::NoRoom => self.fall_short(message.arrival.as_ref(), entry.priority, part.total),
                _ => refuse(message.arrival.as_ref(), reason),
            }
            message.discard(hub, peer, reason);
            return Ok(());
        }
        let message = &mut self.unfinished[at];
        let awaits_takers = matches!(message.envelope, Some(Envelope::Begun(_)));
        if !awaits_takers && message.streams.is_empty() && message.whole.is_none() {
            message.count_drop(hub, peer, Reason::NoReceiver);
        }
        if message.parts.are_complete() {
            let message = self.end(at);
            self.finish(hub, peer, message, claim);
        }
        Ok(())
    }

    /// A message is begun: an unfinished one of its priority was given up, though nothing of the sender's said so yet.
    ///
    /// So at most one message of each priority is unfinished, whatever a peer sends: over datagrams the session cannot tell.
    fn supersede(&mut self, hub: &Hub, peer: &Peer, priority: Priority) {
        if let Some(at) = self.unfinished.iter().position(|message| message.entry.priority == priority) {
            self.end(at).abandon(hub, peer);
        }
    }

    /// Nothing more of this unfinished message is taken.
    fn end(&mut self, at: usize) -> Unfinished {
        let message = self.unfinished.swap_remove(at);
        self.note_end(&message.entry);
        message
    }

    /// Parts of this message that come late, or again, begin nothing.
    fn note_end(&mut self, entry: &Entry) {
        if self.ended.len() == ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back((entry.id, entry.broadcast));
    }

    /// Looks who wants the message; `None` if that takes memory for which this link has to wait.
    pub(super) fn begin(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        now: Instant,
        first: &Fragment,
        arrival: Option<Arc<Arrival>>,
    ) -> Option<Unfinished> {
        let &Fragment { entry, full, part: Part { total, .. }, compressed, .. } = first;
        let mut message = Unfinished {
            entry,
            arrival,
            compressed,
            parts: Parts::new(total),
            envelope: full.then(|| Envelope::Begun(Vec::new())),
            whole: None,
            streams: Vec::new(),
            is_counted: false,
            moved_at: now,
        };
        let is_list = entry.kind == REVOCATIONS;
        if is_list && total as usize > RevocationList::MAX_LEN {
            hub.note_vetting(&peer.id, |vetting| vetting.lists_refused.add(Reason::TooLong));
            message.count_drop(hub, peer, Reason::TooLong);
            self.signal.close(Reason::Violation);
            return Some(message);
        }
        let subscribers = hub.registry.snapshot();
        if full {
            // Of what type it is may show later: whoever might want it whole must find it whole then.
            let might_take = |subscriber: &&Arc<Subscriber>| {
                !subscriber.takes_streams && subscriber.filter.takes_from(&peer.id)
            };
            let may_wait = message.arrival.is_some();
            if may_wait || hub.inbox.is_open() || subscribers.iter().any(|subscriber| might_take(&subscriber))
            {
                let kind_of = || match first.part.offset {
                    0 => Flow::kind_of(hub, peer, &message.named(), total, &first.bytes),
                    _ => None,
                };
                let kind = *first.inner.get_or_init(kind_of);
                let takes = |subscriber: &&Arc<Subscriber>| {
                    kind.is_none_or(|kind| subscriber.filter.takes(kind, entry.priority))
                };
                let readers = readers_of(hub, subscribers.iter().filter(might_take).filter(takes));
                self.hold_whole(hub, peer, now, &mut message, total, readers)?;
            }
            return Some(message);
        }
        let takes = |subscriber: &&Arc<Subscriber>| {
            !is_list
                && subscriber.filter.takes_from(&peer.id)
                && subscriber.filter.takes(entry.kind, entry.priority)
        };
        let mut takers = subscribers.iter().filter(takes).peekable();
        // One that is Guaranteed waits for somebody who takes it.
        let may_wait = message.arrival.is_some() || hub.inbox.is_open();
        let is_for_inbox = takers.peek().is_none() && may_wait;
        let (readers, others): (Vec<_>, Vec<_>) =
            takers.partition(|subscriber| subscriber.gets_parts(compressed.is_some()));
        if is_list || is_for_inbox || !others.is_empty() {
            let whole = if is_list { Readers::new() } else { readers_of(hub, others) };
            self.hold_whole(hub, peer, now, &mut message, total, whole)?;
        }
        for subscriber in readers {
            // The head of the message: what it carries comes by the stream.
            let batch =
                batch_of(hub, peer, vec![Entry { offset: 0, len: 0, ..message.named() }], Bytes::new());
            let Some(head) = batch.message(0) else { continue };
            let hold = message.arrival.as_ref().map(Hold::new);
            let (writer, stream) = IncomingStream::new(head, total, hold);
            message.streams.push(writer);
            let delivery = Delivery { batch, stream: Some(stream), consumption: None, hold: None };
            self.push(hub, peer, &subscriber.queue, delivery, None);
        }
        Some(message)
    }

    /// Reserves memory for the whole message; `None` if this link has to wait for it.
    fn hold_whole(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        now: Instant,
        message: &mut Unfinished,
        total: u32,
        readers: Readers,
    ) -> Option<()> {
        match self.reserve(total, readers) {
            Ok(reservation) => {
                message.whole = Some(Growing::new(total, reservation));
                self.look_at.get_or_insert(now.after(hub.plan.timeouts.write_stall));
            }
            Err(Denied::Wait) => return None,
            Err(Denied::Never) => {
                message.count_drop(hub, peer, Reason::NoRoom);
                self.fall_short(message.arrival.as_ref(), message.entry.priority, total);
            }
        }
        Some(())
    }

    /// A link that holds memory itself must not wait for more: others may wait for what it holds.
    fn reserve(&self, total: u32, readers: Readers) -> Result<Reservation, Denied> {
        if !self.budget.takes(total) {
            return Err(Denied::Never);
        }
        if self.unfinished.iter().any(|message| message.whole.is_some()) {
            return self.budget.reserve(total, readers).ok_or(Denied::Never);
        }
        self.budget.reserve_in_line(total, readers, &self.signal).ok_or(Denied::Wait)
    }

    /// All parts have come.
    pub(super) fn finish(&mut self, hub: &Hub, peer: &Peer, message: Unfinished, claim: &mut Claim<'_>) {
        let Unfinished { entry, arrival, compressed, parts, envelope, whole, streams, is_counted, .. } =
            message;
        let was_read = !streams.is_empty();
        let is_full = envelope.is_some();
        let flowed = matches!(envelope, Some(Envelope::Flows(_)));
        if !was_read && whole.is_none() {
            if matches!(envelope, Some(Envelope::Begun(_))) && !is_counted {
                drop_received(hub, peer, opening::note_refused(hub, peer, Reason::BadEnvelope), 1);
            }
            return;
        }
        let age = Duration::from_millis(entry.age_millis.into());
        let admitted = peer.arrivals().of(entry.broadcast).check(entry.id, entry.priority, age, entry.ttl);
        let name = named(&entry, arrival.as_ref());
        let opened = admitted.and_then(|()| match (envelope, whole.map(Growing::finish)) {
            (Some(envelope), whole) => finish_envelope(hub, peer, &name, envelope, whole, &streams),
            (None, Some((payload, reservation))) => {
                let entry = Entry { offset: 0, len: payload.len() as u32, ..name };
                let batch = Batch { compressed, ..batch_of(hub, peer, vec![entry], payload) };
                Ok(Some((batch, reservation)))
            }
            (None, None) => Ok(None),
        });
        let whole = match opened {
            Ok(whole) => whole,
            Err(reason) => {
                streams.into_iter().for_each(|stream| stream.refuse(reason));
                match reason {
                    // What it says is held beside what proves it.
                    Reason::NoRoom => {
                        self.fall_short(arrival.as_ref(), entry.priority, parts.total().saturating_mul(2));
                    }
                    // Its sender gives it up itself.
                    Reason::Expired => {}
                    _ => refuse(arrival.as_ref(), reason),
                }
                if !is_counted {
                    drop_received(hub, peer, reason, 1);
                }
                return;
            }
        };
        count_received(hub, peer, 1);
        let Some((batch, reservation)) = whole else { return };
        if entry.kind == REVOCATIONS {
            self.handle_revocations(hub, peer, batch.record);
            return;
        }
        let consumption = claim.consumption();
        let Some(&entry) = batch.entries.first() else { return };
        let arrival = arrival.as_ref();
        let subscribers = hub.registry.snapshot();
        let takes = |subscriber: &&Arc<Subscriber>| {
            let got_parts = match is_full {
                true => flowed && subscriber.takes_streams,
                false => subscriber.gets_parts(compressed.is_some()),
            };
            let filter = &subscriber.filter;
            !got_parts && filter.takes_from(&peer.id) && filter.takes(entry.kind, entry.priority)
        };
        let takers: Vec<_> = subscribers.iter().filter(takes).collect();
        if takers.is_empty() && !was_read {
            let share = reservation.share(&[hub.inbox.queue.account()]).pop();
            self.deliver_to_inbox(hub, peer, batch, arrival, &consumption, share);
            return;
        }
        let accounts: Vec<_> = takers.iter().map(|subscriber| subscriber.queue.account()).collect();
        for (subscriber, share) in takers.iter().zip(reservation.share(&accounts)) {
            let (consumption, hold) = (Some(Arc::clone(&consumption)), arrival.map(Hold::new));
            let delivery = Delivery { batch: batch.clone(), stream: None, consumption, hold };
            self.push(hub, peer, &subscriber.queue, delivery, Some(share));
        }
    }
}

/// Whose memory a message is held in: that of the subscriptions that take it, or of the inbox if there are none.
fn readers_of<'s>(hub: &Hub, takers: impl IntoIterator<Item = &'s Arc<Subscriber>>) -> Readers {
    let readers: Readers =
        takers.into_iter().map(|subscriber| Arc::clone(subscriber.queue.account())).collect();
    match readers.is_empty() && hub.inbox.is_open() {
        true => vec![Arc::clone(hub.inbox.queue.account())],
        false => readers,
    }
}

impl Unfinished {
    /// Takes the bytes of a part.
    pub(super) fn push(&mut self, offset: u32, piece: Piece) -> Result<(), Reason> {
        let Self { parts, whole, streams, .. } = self;
        parts.insert(offset, piece, |piece| {
            if let Some(whole) = whole {
                whole.push(&piece.bytes);
            }
            give(streams, piece);
        })
    }

    /// What the message says of itself, under the name that applications see.
    pub(super) fn named(&self) -> Entry {
        named(&self.entry, self.arrival.as_ref())
    }

    /// The sender has given the message up.
    fn abandon(mut self, hub: &Hub, peer: &Peer) {
        self.count_drop(hub, peer, Reason::Cancelled);
        self.streams.into_iter().for_each(StreamWriter::abandon);
    }

    /// Nothing good comes of the message.
    fn discard(mut self, hub: &Hub, peer: &Peer, reason: Reason) {
        self.count_drop(hub, peer, reason);
        self.streams.into_iter().for_each(|stream| stream.refuse(reason));
    }

    /// The message is not delivered to all who wanted it; it counts once.
    pub(super) fn count_drop(&mut self, hub: &Hub, peer: &Peer, reason: Reason) {
        if !std::mem::replace(&mut self.is_counted, true) {
            drop_received(hub, peer, reason, 1);
        }
    }
}

/// Why there is no memory for a message.
enum Denied {
    /// Others hold it, and will give it back.
    Wait,
    /// Nobody must wait for it.
    Never,
}

/// Gives the streams a piece, and forgets those that nobody reads.
pub(super) fn give(streams: &mut Vec<StreamWriter>, piece: Piece) {
    streams.retain(|stream| {
        let consumption = piece.consumption.clone();
        stream.push(Piece { bytes: piece.bytes.clone(), consumption })
    });
}

/// The entry of a message in parts, under the name that applications see.
pub(super) fn named(entry: &Entry, arrival: Option<&Arc<Arrival>>) -> Entry {
    match arrival {
        Some(arrival) => Entry { id: arrival.id(), guaranteed: true, ..*entry },
        None => *entry,
    }
}

/// Messages in parts that are remembered after their end: more than a datagram is late by on any sane path.
const ENDED: usize = 32;
