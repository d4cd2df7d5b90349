//! Storage on the heap, for nodes that have one: queues grow up to a limit and payloads may be shared between peers.
//!
//! Each class keeps its payloads in blocks of its own: within a class messages leave in order, so a waiting Low message cannot
//! keep chunks of long gone Critical ones alive. Without messages nothing is allocated once [`Storage::release`] was called.

use super::blocks::{Blocks, Place};
use super::{CLASSES, Entry, Header, Ledger, Payload, Storage, Verdict};
use crate::ids::{Priority, Reliability};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use bytes::Bytes;

/// Queues that grow on the heap up to a number of messages and of payload bytes.
///
/// The number of messages is of those that wait; with those that are retained there may be [`HELD`](Self::HELD) times as many,
/// so that a sender need not wait for each acknowledgement. Bytes count together.
///
/// Shared payloads count with their full length, though others may hold the same bytes, and compressed ones with that of
/// their original, so that [`Outbox::unpack`](super::Outbox::unpack) finds room for it. Beside the payload a message
/// takes 56 bytes. A chunk of 4 KiB is freed with its last message, so messages that outlive many others of their class
/// (a longer ttl in a queue that is not drained) keep up to 4 KiB each.
#[derive(Debug)]
pub struct SharedStorage<L = ()> {
    /// Exists from the first message on until the storage rests.
    lanes: Option<Box<[Lane; CLASSES]>>,
    messages: usize,
    bytes: usize,
    /// Messages and bytes that are retained.
    kept: usize,
    kept_bytes: usize,
    max_messages: usize,
    max_bytes: usize,
    ledger: L,
}

impl SharedStorage {
    /// Room for `max_messages` messages with `max_bytes` payload bytes in all.
    pub const fn new(max_messages: usize, max_bytes: usize) -> Self {
        Self::with_ledger(max_messages, max_bytes, ())
    }
}

impl<L> SharedStorage<L> {
    /// How many messages may wait and be retained for each that may wait.
    pub const HELD: usize = 4;

    /// The same with a ledger that learns the messages' fates.
    pub const fn with_ledger(max_messages: usize, max_bytes: usize, ledger: L) -> Self {
        Self { lanes: None, messages: 0, bytes: 0, kept: 0, kept_bytes: 0, max_messages, max_bytes, ledger }
    }

    #[inline]
    fn lane(&self, class: Priority) -> Option<&Lane> {
        Some(&self.lanes.as_ref()?[class as usize])
    }
}

impl<L: Ledger> Storage for SharedStorage<L> {
    type Shared = Bytes;
    type Ledger = L;

    #[inline]
    fn push(&mut self, entry: Entry, payload: Payload<'_, Bytes>) {
        let lane = &mut self.lanes.get_or_insert_default()[entry.header.priority as usize];
        let weight = Self::weight(&entry.header, payload.as_slice().len());
        let place = match payload {
            Payload::Copied(bytes) => lane.blocks.copy(bytes),
            Payload::Shared(bytes) => lane.blocks.share(bytes),
        };
        self.messages += 1;
        self.bytes += weight;
        lane.bytes += weight;
        lane.ring.push_back(Slot { entry, place });
    }

    #[inline]
    fn front(&self, class: Priority) -> Option<(&Entry, &[u8])> {
        let lane = self.lane(class)?;
        lane.shown(lane.ring.get(lane.taken)?)
    }

    // Without it a copy of the entry is made for each message that leaves, which costs as much again.
    #[inline(always)]
    fn pop(&mut self, class: Priority) -> Option<Entry> {
        let lane = &mut self.lanes.as_mut()?[class as usize];
        let Slot { entry, place } = match lane.taken {
            0 => lane.ring.pop_front()?,
            _ => lane.pop_behind()?,
        };
        let weight = Self::weight(&entry.header, lane.blocks.remove(place));
        lane.bytes -= weight;
        lane.shrink_if_empty();
        self.messages -= 1;
        self.bytes -= weight;
        Some(entry)
    }

    fn drop_where(&mut self, class: Priority, mut verdict: impl FnMut(&Entry) -> Verdict) {
        let Some(lanes) = &mut self.lanes else { return };
        let Lane { ring, taken, blocks, bytes, .. } = &mut lanes[class as usize];
        let mut at = 0;
        ring.retain(|Slot { entry, place }| {
            at += 1;
            if at <= *taken {
                return true;
            }
            let verdict = verdict(entry);
            if verdict == Verdict::Keep {
                return true;
            }
            self.messages -= 1;
            let weight = Self::weight(&entry.header, blocks.remove(*place));
            self.bytes -= weight;
            *bytes -= weight;
            if let Verdict::Drop(fate) = verdict {
                self.ledger.settle(fate);
            }
            false
        });
        lanes[class as usize].shrink_if_empty();
    }

    fn replace_where(
        &mut self,
        class: Priority,
        mut original: impl FnMut(&mut Header, &[u8]) -> Option<Bytes>,
    ) {
        let Some(lanes) = &mut self.lanes else { return };
        let Lane { ring, taken, blocks, bytes, .. } = &mut lanes[class as usize];
        for Slot { entry, place } in ring.range_mut(*taken..) {
            let Some(payload) = blocks.payload(*place) else { continue };
            let before = Self::weight(&entry.header, payload.len());
            if let Some(original) = original(&mut entry.header, payload) {
                let after = Self::weight(&entry.header, original.len());
                blocks.remove(*place);
                *place = blocks.share(original);
                *bytes = *bytes - before + after;
                self.bytes = self.bytes - before + after;
            }
        }
    }

    #[inline]
    fn weight(header: &Header, payload_len: usize) -> usize {
        header.compressed.map_or(payload_len, |compressed| payload_len.max(compressed.original as usize))
    }

    #[inline]
    fn len(&self, class: Priority) -> usize {
        self.lane(class).map_or(0, |lane| lane.ring.len() - lane.taken)
    }

    #[inline]
    fn messages(&self) -> usize {
        self.messages
    }

    #[inline]
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn bytes_in(&self, class: Priority) -> usize {
        self.lane(class).map_or(0, |lane| lane.bytes)
    }

    fn guaranteed_in(&self, class: Priority) -> (usize, usize) {
        let Some(lane) = self.lane(class) else { return (0, 0) };
        lane.ring
            .range(lane.taken..)
            .filter(|slot| slot.entry.header.reliability == Reliability::Guaranteed)
            .filter_map(|Slot { entry, place }| Some((entry, lane.blocks.payload(*place)?)))
            .map(|(entry, payload)| Self::weight(&entry.header, payload.len()))
            .fold((0, 0), |(messages, bytes), weight| (messages + 1, bytes + weight))
    }

    #[inline]
    fn has_room_beside(&self, messages: usize, bytes: usize, len: usize) -> bool {
        messages < self.max_messages
            && messages + self.kept < self.max_messages.saturating_mul(Self::HELD)
            && len <= self.max_bytes.saturating_sub(bytes + self.kept_bytes)
    }

    #[inline]
    fn max_payload(&self) -> u32 {
        u32::try_from(self.max_bytes).unwrap_or(u32::MAX)
    }

    #[inline]
    fn retain(&mut self, class: Priority) {
        let Some(lanes) = &mut self.lanes else { return };
        let lane = &mut lanes[class as usize];
        let Some((entry, payload)) = lane.ring.get(lane.taken).and_then(|slot| lane.shown(slot)) else {
            return;
        };
        let weight = Self::weight(&entry.header, payload.len());
        lane.taken += 1;
        lane.bytes -= weight;
        self.messages -= 1;
        self.bytes -= weight;
        self.kept += 1;
        self.kept_bytes += weight;
    }

    fn retained(&self, class: Priority, from: u64) -> Option<(&Entry, &[u8])> {
        let lane = self.lane(class)?;
        let at = lane.find(from);
        let kept = lane.ring.range(at.min(lane.taken)..lane.taken);
        kept.into_iter().find_map(|slot| lane.shown(slot))
    }

    fn forget(&mut self, class: Priority, ordinal: u64) {
        let Some(lanes) = &mut self.lanes else { return };
        let lane = &mut lanes[class as usize];
        let at = lane.find(ordinal);
        if at >= lane.taken {
            return;
        }
        let Slot { entry, place } = &mut lane.ring[at];
        if entry.ordinal != ordinal || place.is_none() {
            return;
        }
        let len = lane.blocks.remove(core::mem::replace(place, Place::NONE));
        self.kept -= 1;
        self.kept_bytes -= Self::weight(&entry.header, len);
        lane.handle_hole();
    }

    fn forget_through(&mut self, class: Priority, ordinal: u64) -> (u64, u64) {
        let Some(lanes) = &mut self.lanes else { return (0, 0) };
        let lane = &mut lanes[class as usize];
        let (mut count, mut best_effort, mut bytes) = (0, 0, 0);
        while lane.taken > 0
            && let Some(Slot { entry, place }) = lane.ring.front()
            && entry.ordinal <= ordinal
        {
            if place.is_none() {
                lane.holes -= 1;
            } else {
                bytes += Self::weight(&entry.header, lane.blocks.remove(*place));
                count += 1;
                best_effort += usize::from(entry.header.reliability == Reliability::BestEffort);
            }
            lane.ring.pop_front();
            lane.taken -= 1;
        }
        lane.shrink_if_empty();
        self.kept -= count;
        self.kept_bytes -= bytes;
        (best_effort as u64, (count - best_effort) as u64)
    }

    fn requeue(&mut self, class: Priority) {
        let Some(lanes) = &mut self.lanes else { return };
        let lane = &mut lanes[class as usize];
        lane.close_holes();
        let kept = lane.ring.range(..lane.taken).filter_map(|slot| lane.shown(slot));
        let kept = kept.map(|(entry, payload)| Self::weight(&entry.header, payload.len()));
        let bytes: usize = kept.sum();
        self.messages += lane.taken;
        self.kept -= lane.taken;
        lane.taken = 0;
        lane.bytes += bytes;
        self.bytes += bytes;
        self.kept_bytes -= bytes;
    }

    fn retained_len(&self) -> usize {
        self.kept
    }

    fn retained_bytes(&self) -> usize {
        self.kept_bytes
    }

    #[inline]
    fn release(&mut self) {
        if self.messages == 0 && self.kept == 0 {
            self.lanes = None;
        }
    }

    fn ledger(&mut self) -> &mut L {
        &mut self.ledger
    }
}

/// One class: what is retained of it and behind that its queue, in one ring, and their payloads.
#[derive(Debug, Default)]
struct Lane {
    /// By ordinal.
    ring: VecDeque<Slot>,
    /// How many of the ring are retained, or holes between those.
    taken: usize,
    /// How many of these are holes.
    holes: usize,
    /// Payload bytes in the queue.
    bytes: usize,
    blocks: Blocks,
}

/// A message. One that left behind others that are retained has no payload: it is a hole.
#[derive(Clone, Copy, Debug)]
struct Slot {
    entry: Entry,
    place: Place,
}

/// The documents say so.
const _: () = assert!(size_of::<Slot>() <= 56);

impl Lane {
    /// A message and its payload, unless it is a hole.
    #[inline]
    fn shown<'a>(&'a self, slot: &'a Slot) -> Option<(&'a Entry, &'a [u8])> {
        Some((&slot.entry, self.blocks.payload(slot.place)?))
    }

    /// The place of the first message with this ordinal or a higher one.
    fn find(&self, ordinal: u64) -> usize {
        self.ring.partition_point(|slot| slot.entry.ordinal < ordinal)
    }

    /// Takes the first message of the queue where others before it are retained.
    #[cold]
    fn pop_behind(&mut self) -> Option<Slot> {
        let slot = self.ring.get_mut(self.taken)?;
        let popped = *slot;
        slot.place = Place::NONE;
        self.taken += 1;
        self.handle_hole();
        Some(popped)
    }

    /// There is one hole more: those at the front go, and when holes are most of what is there, all.
    fn handle_hole(&mut self) {
        self.holes += 1;
        while self.holes > 0 && self.ring.pop_front_if(|slot| slot.place.is_none()).is_some() {
            self.taken -= 1;
            self.holes -= 1;
        }
        if self.holes > HOLES && self.holes > self.ring.len() / 2 {
            self.close_holes();
        }
        self.shrink_if_empty();
    }

    fn close_holes(&mut self) {
        if self.holes > 0 {
            self.ring.retain(|slot| !slot.place.is_none());
            self.taken -= self.holes;
            self.holes = 0;
        }
    }

    #[inline]
    fn shrink_if_empty(&mut self) {
        if self.ring.is_empty() && self.ring.capacity() > KEPT {
            self.ring.shrink_to(KEPT);
            self.blocks.shrink();
        }
    }
}

/// Holes that are not worth the work to close them.
const HOLES: usize = 64;

/// Places (56 bytes each) that a drained queue keeps while the outbox is busy, so that bursts need not grow it again:
/// growing costs as much again as the push itself.
const KEPT: usize = 8192;
