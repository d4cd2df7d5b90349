//! From an opened record to the queues of subscriptions, and back to its acknowledgement.
//!
//! ```text
//!   record ─▶ admit ─┬─ whole messages ──────────────────────────▶ queues
//!                    └─ parts ─▶ put together (`assembly`) ─┬─▶ queues
//!                                                           └─▶ streams, part by part
//! ```
//!
//! Records are acknowledged in order, when the application is done with all of their messages; parts of a message that is
//! put together here are done with at once, but for the last one. Credit is given back in whatever order the application is
//! done. What finds a queue full waits here, and so does everything behind a large message for which there is no memory: the
//! credit of the session bounds that, since the link always reads.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use hyphal_core::ids::{MessageId, Priority};
use hyphal_core::session::{Mark, Message};
use hyphal_core::time::Instant;
use hyphal_core::wire::delivery::{self, Lane, LaneRefusal, LaneState};
use hyphal_core::wire::family::Family;
use hyphal_core::wire::message::{Compressed, Part};
use hyphal_core::wire::reason::Reason;
use hyphal_core::wire::revocation::{REVOCATIONS, RevocationList};

use crate::assembly::{Budget, Growing, Parts, Piece, Reservation};
use crate::clock;
use crate::guaranteed::{Arrival, Hold};
use crate::hub::Hub;
use crate::message::{Batch, Entry, Protection, age_millis};
use crate::opening::{self, Beginning, Flow, Opened};
use crate::options::UnknownTypes;
use crate::peer::Peer;
use crate::queue::{Delivery, Pushed, Queue};
use crate::signal::{Consumption, Signal};
use crate::stream::{IncomingStream, StreamWriter};
use crate::subscription::Subscriber;
use crate::trust::Refused;

/// The receiving side of a link.
pub(crate) struct Inflow {
    signal: Arc<Signal>,
    /// The link's.
    token: u64,
    /// The epochs of the lanes of which the peer has spoken in this session.
    lanes: [Option<u64>; Priority::ALL.len()],
    /// Delivered records, oldest first, and whether somebody still works on them.
    unconsumed: VecDeque<(Mark, Weak<Consumption>)>,
    /// Bytes of all records so far, as credit counts them.
    received: u64,
    /// What full queues did not take.
    held_back: Vec<Backlog>,
    /// Behind a message for which there is no memory: it, and all that came after it.
    waiting: VecDeque<Item>,
    /// Messages of which parts have come.
    unfinished: Vec<Unfinished>,
    /// The messages in parts that ended last.
    ended: VecDeque<(MessageId, bool)>,
    /// When the unfinished messages are next looked at.
    look_at: Option<Instant>,
    budget: Arc<Budget>,
}

/// Something on its way to the application.
enum Item {
    /// Messages of a record, for whoever wants them.
    Batch(Batch, Option<Arc<Arrival>>, Arc<Consumption>),
    /// A part of a message.
    Part(Fragment, Arc<Consumption>),
}

/// What waits for room in a queue, oldest first, and what it holds of the budget.
struct Backlog {
    queue: Arc<Queue>,
    deliveries: VecDeque<(Delivery, Option<Arc<Reservation>>)>,
}

/// A record's claim on the session's credit, handed to whoever works on it; given up at once if nobody does.
struct Claim<'s> {
    signal: &'s Arc<Signal>,
    bytes: u64,
    consumption: Option<Arc<Consumption>>,
}

impl Claim<'_> {
    fn consumption(&mut self) -> Arc<Consumption> {
        let Self { signal, bytes, consumption } = self;
        Arc::clone(consumption.get_or_insert_with(|| Arc::new(Consumption::new(signal, *bytes))))
    }
}

/// The messages of a record that were admitted, by their places in it.
pub(crate) struct Contents {
    entries: Vec<Entry>,
    /// What is not simply a message, and how many entries come before it.
    others: Vec<(usize, Other)>,
    /// Revocation lists, which are for the node and not for its applications.
    lists: Vec<Bytes>,
}

/// What a record holds beside messages that came whole and plain.
struct Other {
    entry: Entry,
    /// Whether it is an envelope, or part of one.
    full: bool,
    /// A whole Guaranteed message, taken from its lane.
    arrival: Option<Arc<Arrival>>,
    /// The number of a Guaranteed message of which this is a part.
    number: Option<u64>,
    part: Option<Part>,
    compressed: Option<Compressed>,
}

/// A part of a message, with its bytes.
struct Fragment {
    entry: Entry,
    full: bool,
    number: Option<u64>,
    part: Part,
    compressed: Option<Compressed>,
    bytes: Bytes,
}

/// A message of which parts have come.
struct Unfinished {
    entry: Entry,
    /// A Guaranteed message, taken from its lane.
    arrival: Option<Arc<Arrival>>,
    compressed: Option<Compressed>,
    parts: Parts,
    /// What is known of an envelope; `None` for other messages.
    envelope: Option<Envelope>,
    /// For those who want it whole.
    whole: Option<Growing>,
    /// For those who read it part by part.
    streams: Vec<StreamWriter>,
    /// Whether it was counted as dropped.
    is_counted: bool,
    /// When its last part came.
    moved_at: Instant,
}

/// An envelope in parts.
enum Envelope {
    /// Its first bytes, too few to tell who wants it.
    Begun(Vec<u8>),
    /// It is opened when it is whole.
    Whole,
    /// It is opened while it arrives.
    Flows(Box<Flow>),
}

/// There is no memory for a message at the moment; its first part comes back.
struct NoMemory(Fragment);

impl Inflow {
    pub(crate) fn new(signal: Arc<Signal>, token: u64, budget: Arc<Budget>) -> Self {
        Self {
            signal,
            token,
            lanes: [None; Priority::ALL.len()],
            unconsumed: VecDeque::new(),
            received: 0,
            held_back: Vec::new(),
            waiting: VecDeque::new(),
            unfinished: Vec::new(),
            ended: VecDeque::new(),
            look_at: None,
            budget,
        }
    }

    /// Whether something waits for room.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.held_back.is_empty() || !self.waiting.is_empty()
    }

    /// The end of the last record up to which the application is done with everything, if there is a new one.
    pub(crate) fn poll_consumed(&mut self) -> Option<Mark> {
        let mut through = None;
        while let Some((mark, consumption)) = self.unconsumed.front() {
            if consumption.strong_count() > 0 {
                break;
            }
            through = Some(*mark);
            self.unconsumed.pop_front();
        }
        through
    }

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
    fn take_number(
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

    /// Hands the messages of a record to all who want them, in order.
    pub(crate) fn deliver(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        now: Instant,
        mark: Mark,
        bytes: Bytes,
        contents: Contents,
    ) {
        let Contents { mut entries, others, lists } = contents;
        lists.into_iter().for_each(|list| self.handle_revocations(hub, peer, list));
        let signal = Arc::clone(&self.signal);
        let mut claim = Claim { signal: &signal, bytes: mark.bytes - self.received, consumption: None };
        self.received = mark.bytes;
        let mut behind = 0;
        for (before, Other { entry, full, arrival, number, part, compressed }) in others {
            let rest = entries.split_off(before - behind);
            behind = before;
            let entries = std::mem::replace(&mut entries, rest);
            self.deliver_entries(hub, peer, entries, &bytes, &mut claim);
            let bytes = bytes.slice(entry.range());
            match part {
                Some(part) => {
                    let fragment = Fragment { entry, full, number, part, compressed, bytes };
                    self.deliver_part(hub, peer, now, fragment, &mut claim);
                }
                None if full => match open(hub, peer, &entry, bytes) {
                    Ok(batch) => self.deliver_batch(hub, peer, batch, arrival, &mut claim),
                    Err(reason) => {
                        refuse(arrival.as_ref(), reason);
                        drop_received(hub, peer, reason, 1);
                    }
                },
                None => {
                    let batch = batch_of(hub, peer, vec![Entry { offset: 0, ..entry }], bytes);
                    self.deliver_batch(hub, peer, Batch { compressed, ..batch }, arrival, &mut claim);
                }
            }
        }
        self.deliver_entries(hub, peer, entries, &bytes, &mut claim);
        let awaited = match &claim.consumption {
            Some(consumption) => Arc::downgrade(consumption),
            None => {
                self.signal.release(claim.bytes);
                Weak::new()
            }
        };
        self.await_consumption(mark, awaited);
    }

    fn deliver_entries(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        entries: Vec<Entry>,
        bytes: &Bytes,
        claim: &mut Claim<'_>,
    ) {
        if !entries.is_empty() {
            self.deliver_batch(hub, peer, batch_of(hub, peer, entries, bytes.clone()), None, claim);
        }
    }

    fn deliver_batch(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        batch: Batch,
        arrival: Option<Arc<Arrival>>,
        claim: &mut Claim<'_>,
    ) {
        if self.waiting.is_empty() {
            self.distribute(hub, peer, batch, arrival, &claim.consumption());
        } else {
            self.waiting.push_back(Item::Batch(batch, arrival, claim.consumption()));
        }
    }

    fn deliver_part(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        now: Instant,
        fragment: Fragment,
        claim: &mut Claim<'_>,
    ) {
        let kept_back = match self.waiting.is_empty() {
            true => self.handle_part(hub, peer, now, fragment, claim).err(),
            false => Some(NoMemory(fragment)),
        };
        if let Some(NoMemory(fragment)) = kept_back {
            self.waiting.push_back(Item::Part(fragment, claim.consumption()));
        }
    }

    /// Tries again what had to wait.
    pub(crate) fn retry(&mut self, hub: &Hub, peer: &Peer, now: Instant) {
        for mut backlog in std::mem::take(&mut self.held_back) {
            while let Some((delivery, held)) = backlog.deliveries.pop_front() {
                if let Some(delivery) = self.offer(hub, peer, &backlog.queue, delivery) {
                    backlog.deliveries.push_front((delivery, held));
                    self.held_back.push(backlog);
                    break;
                }
            }
        }
        while let Some(item) = self.waiting.pop_front() {
            match item {
                Item::Batch(batch, arrival, consumption) => {
                    self.distribute(hub, peer, batch, arrival, &consumption);
                }
                Item::Part(fragment, consumption) => {
                    let signal = Arc::clone(&self.signal);
                    let mut claim = Claim { signal: &signal, bytes: 0, consumption: Some(consumption) };
                    if let Err(NoMemory(fragment)) = self.handle_part(hub, peer, now, fragment, &mut claim) {
                        self.waiting.push_front(Item::Part(fragment, claim.consumption()));
                        return;
                    }
                }
            }
        }
    }

    /// Gives messages that came in one piece to the subscriptions that take them, or to the inbox.
    fn distribute(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        batch: Batch,
        arrival: Option<Arc<Arrival>>,
        consumption: &Arc<Consumption>,
    ) {
        count_received(hub, peer, batch.len() as u64);
        let arrival = arrival.as_ref();
        let Some(rest) = self.deliver_to_subscribers(hub, peer, batch, arrival, consumption) else { return };
        self.deliver_to_inbox(hub, peer, rest, arrival, consumption, None);
    }

    /// Gives each subscription what it takes; returns what none took.
    fn deliver_to_subscribers(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        mut batch: Batch,
        arrival: Option<&Arc<Arrival>>,
        consumption: &Arc<Consumption>,
    ) -> Option<Batch> {
        let subscribers = hub.registry.snapshot();
        if subscribers.is_empty() {
            return Some(batch);
        }
        let mut is_taken = vec![false; batch.len()];
        for subscriber in subscribers.iter().filter(|subscriber| subscriber.filter.takes_from(&peer.id)) {
            let mut entries = Vec::new();
            for (entry, is_taken) in batch.entries.iter().zip(&mut is_taken) {
                if subscriber.filter.takes(entry.kind, entry.priority) {
                    *is_taken = true;
                    entries.push(*entry);
                }
            }
            if !entries.is_empty() {
                let (record, protection) = (batch.record.clone(), batch.protection.clone());
                let batch = Batch { record, entries, protection, ..batch };
                let (consumption, hold) = (Some(Arc::clone(consumption)), arrival.map(Hold::new));
                let delivery = Delivery { batch, stream: None, consumption, hold };
                self.push(hub, peer, &subscriber.queue, delivery, None);
            }
        }
        let mut is_taken = is_taken.into_iter();
        batch.entries.retain(|_| !is_taken.next().unwrap_or(false));
        (!batch.entries.is_empty()).then_some(batch)
    }

    fn deliver_to_inbox(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        batch: Batch,
        arrival: Option<&Arc<Arrival>>,
        consumption: &Arc<Consumption>,
        held: Option<Arc<Reservation>>,
    ) {
        if hub.inbox.is_open() {
            let (consumption, hold) = (Some(Arc::clone(consumption)), arrival.map(Hold::new));
            let delivery = Delivery { batch, stream: None, consumption, hold };
            self.push(hub, peer, &hub.inbox.queue, delivery, held);
        } else if let (Some(guaranteed), Some(arrival)) = (&hub.guaranteed, arrival) {
            guaranteed.unclaimed().park(hub, batch, arrival);
        } else {
            drop_received(hub, peer, Reason::NoReceiver, batch.len() as u64);
        }
    }

    /// Takes a part of a message: begins the message with it, goes on, or ends it.
    fn handle_part(
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
            if reason != Reason::NoRoom {
                refuse(message.arrival.as_ref(), reason);
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
    fn begin(
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
            hub.tally.vetting.lists_refused.add(Reason::TooLong);
            message.count_drop(hub, peer, Reason::TooLong);
            self.signal.close(Reason::Violation);
            return Some(message);
        }
        let subscribers = hub.registry.snapshot();
        if full {
            // Of what type it is shows later: whoever might want it whole must find it whole then.
            let might_take = |subscriber: &Arc<Subscriber>| {
                !subscriber.takes_streams && subscriber.filter.takes_from(&peer.id)
            };
            let may_wait = message.arrival.is_some();
            if may_wait || hub.inbox.is_open() || subscribers.iter().any(might_take) {
                self.hold_whole(hub, peer, now, &mut message, total)?;
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
            self.hold_whole(hub, peer, now, &mut message, total)?;
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
    ) -> Option<()> {
        match self.reserve(total) {
            Ok(reservation) => {
                message.whole = Some(Growing::new(total, reservation));
                self.look_at.get_or_insert(now.after(hub.plan.timeouts.write_stall));
            }
            Err(Denied::Wait) => return None,
            Err(Denied::Never) => message.count_drop(hub, peer, Reason::NoRoom),
        }
        Some(())
    }

    /// Takes the bytes of a part of an envelope.
    fn push_envelope(
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
        let reservation = self.budget.reserve(total).ok_or(Reason::NoRoom)?;
        self.look_at.get_or_insert(message.moved_at.after(hub.plan.timeouts.write_stall));
        let mut whole = Growing::new(total, reservation);
        whole.push(first);
        self.unfinished[at].whole = Some(whole);
        Ok(())
    }

    /// A link that holds memory itself must not wait for more: others may wait for what it holds.
    fn reserve(&self, total: u32) -> Result<Reservation, Denied> {
        if !self.budget.takes(total) {
            return Err(Denied::Never);
        }
        if self.unfinished.iter().any(|message| message.whole.is_some()) {
            return self.budget.reserve(total).ok_or(Denied::Never);
        }
        self.budget.reserve_in_line(total, &self.signal).ok_or(Denied::Wait)
    }

    /// All parts have come.
    fn finish(&mut self, hub: &Hub, peer: &Peer, message: Unfinished, claim: &mut Claim<'_>) {
        let Unfinished { entry, arrival, compressed, envelope, whole, streams, is_counted, .. } = message;
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
                // There may be room another time, and what has expired its sender gives up itself.
                if !matches!(reason, Reason::NoRoom | Reason::Expired) {
                    refuse(arrival.as_ref(), reason);
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
        let (held, consumption) = (Some(Arc::new(reservation)), claim.consumption());
        let Some(&entry) = batch.entries.first() else { return };
        let arrival = arrival.as_ref();
        let mut is_taken = was_read;
        for subscriber in hub.registry.snapshot().iter() {
            let Subscriber { filter, queue, .. } = &**subscriber;
            let got_parts = match is_full {
                true => flowed && subscriber.takes_streams,
                false => subscriber.gets_parts(compressed.is_some()),
            };
            if !got_parts && filter.takes_from(&peer.id) && filter.takes(entry.kind, entry.priority) {
                is_taken = true;
                let (consumption, hold) = (Some(Arc::clone(&consumption)), arrival.map(Hold::new));
                let delivery = Delivery { batch: batch.clone(), stream: None, consumption, hold };
                self.push(hub, peer, queue, delivery, held.clone());
            }
        }
        if !is_taken {
            self.deliver_to_inbox(hub, peer, batch, arrival, &consumption, held);
        }
    }

    /// Takes a revocation list. What is no news is dropped; one that does not verify ends the session.
    fn handle_revocations(&self, hub: &Hub, peer: &Peer, bytes: Bytes) {
        let Err(refused) = hub.lists.take(hub, bytes) else { return };
        let (Refused::NoNews(reason) | Refused::Forged(reason)) = refused;
        hub.tally.vetting.lists_refused.add(reason);
        drop_received(hub, peer, reason, 1);
        if matches!(refused, Refused::Forged(_)) {
            tracing::warn!(peer = %peer.id, reason = reason.name(), "a revocation list from the peer is forged or broken: {reason}");
            self.signal.close(Reason::Violation);
        }
    }

    /// Gives up messages that do not get on while others wait for the memory that they hold.
    pub(crate) fn handle_timeout(&mut self, hub: &Hub, peer: &Peer, now: Instant) {
        if self.look_at.is_none_or(|at| at > now) {
            return;
        }
        let patience = hub.plan.timeouts.write_stall;
        // What waits here may be parts of the very messages.
        if self.waiting.is_empty() && self.budget.is_short() {
            for message in &mut self.unfinished {
                if message.whole.is_some() && message.moved_at.after(patience) <= now {
                    message.whole = None;
                    message.count_drop(hub, peer, Reason::NoRoom);
                }
            }
        }
        let holds = self.unfinished.iter().any(|message| message.whole.is_some());
        self.look_at = holds.then(|| now.after(patience));
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.look_at
    }

    /// The session ended. What it did not finish will come again in another one; what was admitted would be taken for a duplicate
    /// then, so it stays. Says whether something waits for room.
    pub(crate) fn close(&mut self, hub: &Hub, peer: &Peer) -> bool {
        self.unfinished.clear();
        self.look_at = None;
        self.budget.leave_line(&self.signal);
        for item in std::mem::take(&mut self.waiting) {
            if let Item::Batch(batch, arrival, consumption) = item {
                self.distribute(hub, peer, batch, arrival, &consumption);
            }
        }
        for backlog in &mut self.held_back {
            // No more parts come to a stream.
            backlog.deliveries.retain(|(delivery, _)| delivery.stream.is_none());
        }
        self.held_back.retain(|backlog| !backlog.deliveries.is_empty());
        self.is_blocked()
    }

    /// Gives what waits for room to its queues, after the session: at most [`LEFTOVERS`] times a window of each peer, whatever it
    /// does. What is beyond that is dropped.
    pub(crate) async fn hand_over(mut self, hub: Arc<Hub>, peer: Arc<Peer>) {
        if peer.leftovers.fetch_add(1, Relaxed) < LEFTOVERS {
            // The link may still wait at its own.
            self.signal = Arc::default();
            self.retry(&hub, &peer, hub.clock.now());
            while self.is_blocked() {
                self.signal.woken().await;
                self.retry(&hub, &peer, hub.clock.now());
            }
        } else {
            let deliveries = self.held_back.iter().flat_map(|backlog| &backlog.deliveries);
            // What is Guaranteed comes again.
            let lost = deliveries.filter(|(delivery, _)| delivery.hold.is_none());
            let count = lost.map(|(delivery, _)| delivery.batch.len() as u64).sum();
            drop_received(&hub, &peer, Reason::NoReceiver, count);
        }
        peer.leftovers.fetch_sub(1, Relaxed);
    }

    /// Remembers a record until nobody works on it.
    ///
    /// Acknowledgements are cumulative, so a record that is done already is covered by the next one: only records that somebody
    /// holds take room, and their number is bounded by the session's credit, whatever a peer sends.
    fn await_consumption(&mut self, mark: Mark, consumption: Weak<Consumption>) {
        let waits_for_others = self.unconsumed.len() > 1;
        match self.unconsumed.back_mut() {
            Some(last) if waits_for_others && last.1.strong_count() == 0 => *last = (mark, consumption),
            _ => self.unconsumed.push_back((mark, consumption)),
        }
    }

    /// Queues a delivery, behind those that the queue did not take before.
    fn push(
        &mut self,
        hub: &Hub,
        peer: &Peer,
        queue: &Arc<Queue>,
        delivery: Delivery,
        held: Option<Arc<Reservation>>,
    ) {
        if let Some(backlog) = self.held_back.iter_mut().find(|backlog| Arc::ptr_eq(&backlog.queue, queue)) {
            backlog.deliveries.push_back((delivery, held));
        } else if let Some(delivery) = self.offer(hub, peer, queue, delivery) {
            let deliveries = VecDeque::from([(delivery, held)]);
            self.held_back.push(Backlog { queue: Arc::clone(queue), deliveries });
        }
    }

    /// Offers a delivery to a queue; it comes back if the queue is full.
    fn offer(&self, hub: &Hub, peer: &Peer, queue: &Queue, delivery: Delivery) -> Option<Delivery> {
        let is_guaranteed = delivery.hold.is_some();
        match queue.push(delivery, &self.signal) {
            Pushed::Queued => {
                // A subscription was made since the inbox was chosen.
                if is_guaranteed
                    && std::ptr::eq(queue, &*hub.inbox.queue)
                    && !hub.inbox.is_open()
                    && let Some(guaranteed) = &hub.guaranteed
                {
                    guaranteed.unclaimed().look_again();
                }
                None
            }
            Pushed::Full(delivery) => Some(delivery),
            Pushed::Closed(Delivery { batch, stream: None, hold: Some(hold), .. }) => {
                if let (Some(guaranteed), Some(arrival)) = (&hub.guaranteed, hold.into_arrival()) {
                    guaranteed.unclaimed().park(hub, batch, &arrival);
                }
                None
            }
            Pushed::Closed(delivery) => {
                // A stream that nobody reads is noticed with its next part.
                if delivery.stream.is_none() {
                    drop_received(hub, peer, Reason::NoReceiver, delivery.batch.len() as u64);
                }
                None
            }
        }
    }
}

impl Unfinished {
    /// Takes the bytes of a part.
    fn push(&mut self, offset: u32, piece: Piece) -> Result<(), Reason> {
        let Self { parts, whole, streams, .. } = self;
        parts.insert(offset, piece, |piece| {
            if let Some(whole) = whole {
                whole.push(&piece.bytes);
            }
            give(streams, piece);
        })
    }

    /// What the message says of itself, under the name that applications see.
    fn named(&self) -> Entry {
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
    fn count_drop(&mut self, hub: &Hub, peer: &Peer, reason: Reason) {
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
fn give(streams: &mut Vec<StreamWriter>, piece: Piece) {
    streams.retain(|stream| {
        let consumption = piece.consumption.clone();
        stream.push(Piece { bytes: piece.bytes.clone(), consumption })
    });
}

/// The message in a whole envelope, as a batch of its own.
fn open(hub: &Hub, peer: &Peer, entry: &Entry, bytes: Bytes) -> Result<Batch, Reason> {
    let Opened { id, kind, payload, is_encrypted, evidence } = opening::open(hub, peer, entry, bytes)?;
    // No envelope is longer than 32 bits tell, and what was in it is shorter.
    let entry = Entry { id, kind, offset: 0, len: payload.len() as u32, ..*entry };
    let protection = Protection { is_encrypted, is_signed: evidence.is_some(), envelope: evidence };
    Ok(Batch { protection, ..batch_of(hub, peer, vec![entry], payload) })
}

/// All parts of an envelope have come: opens what was put together of it, and gives those who read it part by part the last one.
fn finish_envelope(
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

/// The entry of a message in parts, under the name that applications see.
fn named(entry: &Entry, arrival: Option<&Arc<Arrival>>) -> Entry {
    match arrival {
        Some(arrival) => Entry { id: arrival.id(), guaranteed: true, ..*entry },
        None => *entry,
    }
}

/// Nothing good will ever come of the message, however often it comes.
fn refuse(arrival: Option<&Arc<Arrival>>, reason: Reason) {
    if let Some(arrival) = arrival {
        Hold::new(arrival).refuse(reason);
    }
}

fn batch_of(hub: &Hub, peer: &Peer, entries: Vec<Entry>, record: Bytes) -> Batch {
    let own = hub.plan.identity.id();
    let received_at = clock::wall_time();
    let protection = Protection::default();
    Batch { record, compressed: None, entries, own, source: peer.id, received_at, protection }
}

fn count_received(hub: &Hub, peer: &Peer, count: u64) {
    peer.tally.messages_received.fetch_add(count, Relaxed);
    hub.tally.traffic.messages_received.fetch_add(count, Relaxed);
}

fn drop_received(hub: &Hub, peer: &Peer, reason: Reason, count: u64) {
    peer.tally.drop_messages(reason, count);
    hub.tally.traffic.drop_messages(reason, count);
}

/// Ended sessions of one peer whose messages wait for room in the queues of applications.
const LEFTOVERS: usize = 4;

/// Messages in parts that are remembered after their end: more than a datagram is late by on any sane path.
const ENDED: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_nobody_holds_take_no_room_behind_one_that_somebody_does() {
        let signal = Arc::new(Signal::default());
        let mut inflow = Inflow::new(Arc::clone(&signal), 1, Arc::new(Budget::new(0)));
        let held = Arc::new(Consumption::new(&signal, 1));
        inflow.await_consumption(mark(0), Arc::downgrade(&held));

        for record in 1..10_000 {
            inflow.await_consumption(mark(record), Weak::new());
        }

        assert_eq!(inflow.unconsumed.len(), 2);
        assert_eq!(inflow.poll_consumed(), None);
        drop(held);
        assert_eq!(inflow.poll_consumed(), Some(mark(9_999)));
    }

    fn mark(record: u64) -> Mark {
        Mark { record, bytes: 0 }
    }
}
