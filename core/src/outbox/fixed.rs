//! Storage of a fixed size: a byte arena and a table of slots, for nodes without a heap.
//!
//! Every slot in use is in two lists: the queue of its class, and the chain of payloads by address, whose gaps are the
//! free bytes. A payload takes the first gap that fits; if only the sum of the gaps fits, the arena is compacted, so a
//! push is refused exactly when slots or bytes are lacking. Both walks cost O(SLOTS), which is meant to be small.

use super::{CLASSES, Entry, Ledger, Outbox, Payload, Storage, Verdict};
use crate::ids::{Priority, Reliability};

/// The smallest outbox: 16 messages with 1,024 payload bytes in all, under 3 KiB.
pub type TinyOutbox<L = ()> = Outbox<FixedStorage<1024, 16, L>>;

/// Room for `SLOTS` messages (64 bytes each) with `BYTES` payload bytes in all, without a heap.
#[derive(Debug)]
pub struct FixedStorage<const BYTES: usize, const SLOTS: usize, L = ()> {
    arena: [u8; BYTES],
    slots: [Slot; SLOTS],
    /// The queues of the classes, then what is retained of each.
    queues: [Queue; 2 * CLASSES],
    /// The slot whose payload has the lowest address.
    lowest: Link,
    /// The first of the unused slots, linked by `behind`.
    unused: Link,
    used: u16,
    bytes: usize,
    /// Messages and bytes of them that are retained.
    kept: u16,
    kept_bytes: usize,
    ledger: L,
}

impl<const BYTES: usize, const SLOTS: usize> FixedStorage<BYTES, SLOTS> {
    /// An empty storage.
    pub const fn new() -> Self {
        Self::with_ledger(())
    }
}

impl<const BYTES: usize, const SLOTS: usize> Default for FixedStorage<BYTES, SLOTS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const BYTES: usize, const SLOTS: usize, L> FixedStorage<BYTES, SLOTS, L> {
    /// An empty storage with a ledger that learns the messages' fates.
    pub const fn with_ledger(ledger: L) -> Self {
        const { assert!(SLOTS < END as usize && BYTES <= u32::MAX as usize) };
        let mut slots = [Slot::UNUSED; SLOTS];
        let mut i = 1;
        while i < SLOTS {
            slots[i - 1].behind = i as Link;
            i += 1;
        }
        Self {
            arena: [0; BYTES],
            slots,
            queues: [Queue::EMPTY; 2 * CLASSES],
            lowest: END,
            unused: if SLOTS == 0 { END } else { 0 },
            used: 0,
            bytes: 0,
            kept: 0,
            kept_bytes: 0,
            ledger,
        }
    }

    /// The first gap of at least `len` bytes: where it starts, and the slot below it.
    fn gap(&self, len: usize) -> Option<(usize, Link)> {
        let (mut start, mut below, mut above) = (0, END, self.lowest);
        while let Some(slot) = self.slot(above) {
            if slot.start as usize - start >= len {
                break;
            }
            (start, below, above) = (slot.end(), above, slot.above);
        }
        let end = self.slot(above).map_or(BYTES, |slot| slot.start as usize);
        (end - start >= len).then_some((start, below))
    }

    /// Moves all payloads down until only the top of the arena is free.
    fn compact(&mut self) {
        let (mut end, mut at) = (0, self.lowest);
        while let Some(slot) = self.slots.get_mut(usize::from(at)) {
            self.arena.copy_within(slot.start as usize..slot.end(), end);
            slot.start = end as u32;
            end = slot.end();
            at = slot.above;
        }
    }

    /// Takes the slot behind `before` out of the queue (the queue's first if `before` is the end) and frees it.
    fn unlink(&mut self, queue: usize, before: Link) -> Option<Entry> {
        let at = self.unqueue(queue, before)?;
        let slot = *self.slot(at)?;
        if self.lowest == at {
            self.lowest = slot.above;
        } else if let Some(below) = self.slots.iter_mut().find(|below| below.above == at) {
            below.above = slot.above;
        }

        self.slots[usize::from(at)] = Slot { behind: self.unused, ..Slot::UNUSED };
        self.unused = at;
        self.used -= 1;
        self.bytes -= slot.len as usize;
        Some(slot.entry)
    }

    /// Takes the slot behind `before` out of the queue (the queue's first if `before` is the end) and says which it was.
    fn unqueue(&mut self, queue: usize, before: Link) -> Option<Link> {
        let queue = &mut self.queues[queue];
        let at = self.slots.get(usize::from(before)).map_or(queue.first, |slot| slot.behind);
        let behind = self.slots.get(usize::from(at))?.behind;
        match self.slots.get_mut(usize::from(before)) {
            Some(before) => before.behind = behind,
            None => queue.first = behind,
        }
        if queue.last == at {
            queue.last = before;
        }
        queue.len -= 1;
        Some(at)
    }

    /// Puts a slot that is in no queue at the end of one.
    fn enqueue(&mut self, queue: usize, at: Link) {
        let queue = &mut self.queues[queue];
        match self.slots.get_mut(usize::from(queue.last)) {
            Some(last) => last.behind = at,
            None => queue.first = at,
        }
        queue.last = at;
        queue.len += 1;
        if let Some(slot) = self.slots.get_mut(usize::from(at)) {
            slot.behind = END;
        }
    }

    /// The slots of a queue, the first first.
    fn links(&self, queue: usize) -> impl Iterator<Item = (Link, &Slot)> {
        self.links_from(self.queues[queue].first)
    }

    /// A slot and those behind it.
    fn links_from(&self, mut at: Link) -> impl Iterator<Item = (Link, &Slot)> {
        core::iter::from_fn(move || {
            let (link, slot) = (at, self.slot(at)?);
            at = slot.behind;
            Some((link, slot))
        })
    }

    fn slot(&self, at: Link) -> Option<&Slot> {
        self.slots.get(usize::from(at))
    }
}

impl<const BYTES: usize, const SLOTS: usize, L: Ledger> Storage for FixedStorage<BYTES, SLOTS, L> {
    type Shared = NotShared;
    type Ledger = L;

    fn push(&mut self, entry: Entry, payload: Payload<'_, NotShared>) {
        let payload = payload.as_slice();
        assert!(self.has_room(payload.len()), "the caller has asked whether there is room");
        let gap = self.gap(payload.len()).or_else(|| {
            self.compact();
            self.gap(payload.len())
        });
        let Some((start, below)) = gap else { return };
        self.arena[start..start + payload.len()].copy_from_slice(payload);

        let at = self.unused;
        let behind = self.slots[usize::from(at)].behind;
        let above = match self.slots.get_mut(usize::from(below)) {
            Some(below) => core::mem::replace(&mut below.above, at),
            None => core::mem::replace(&mut self.lowest, at),
        };
        // Both fit: an arena is at most u32::MAX bytes, as `with_ledger` proves.
        self.slots[usize::from(at)] =
            Slot { entry, start: start as u32, len: payload.len() as u32, behind: END, above };
        self.unused = behind;
        self.used += 1;
        self.bytes += payload.len();

        self.enqueue(entry.header.priority as usize, at);
    }

    fn front(&self, class: Priority) -> Option<(&Entry, &[u8])> {
        let slot = self.slot(self.queues[class as usize].first)?;
        Some((&slot.entry, &self.arena[slot.start as usize..slot.end()]))
    }

    fn pop(&mut self, class: Priority) -> Option<Entry> {
        self.unlink(class as usize, END)
    }

    fn drop_where(&mut self, class: Priority, mut verdict: impl FnMut(&Entry) -> Verdict) {
        let (mut before, mut at) = (END, self.queues[class as usize].first);
        while let Some(slot) = self.slot(at) {
            let behind = slot.behind;
            match verdict(&slot.entry) {
                Verdict::Keep => before = at,
                Verdict::Withdraw => {
                    self.unlink(class as usize, before);
                }
                Verdict::Drop(fate) => {
                    self.unlink(class as usize, before);
                    self.ledger.settle(fate);
                }
            }
            at = behind;
        }
    }

    fn len(&self, class: Priority) -> usize {
        usize::from(self.queues[class as usize].len)
    }

    fn messages(&self) -> usize {
        usize::from(self.used - self.kept)
    }

    fn bytes(&self) -> usize {
        self.bytes - self.kept_bytes
    }

    fn bytes_in(&self, class: Priority) -> usize {
        let first = self.slot(self.queues[class as usize].first);
        core::iter::successors(first, |slot| self.slot(slot.behind)).map(|slot| slot.len as usize).sum()
    }

    fn guaranteed_in(&self, class: Priority) -> (usize, usize) {
        let first = self.slot(self.queues[class as usize].first);
        core::iter::successors(first, |slot| self.slot(slot.behind))
            .filter(|slot| slot.entry.header.reliability == Reliability::Guaranteed)
            .fold((0, 0), |(messages, bytes), slot| (messages + 1, bytes + slot.len as usize))
    }

    fn has_room_beside(&self, messages: usize, bytes: usize, len: usize) -> bool {
        messages + usize::from(self.kept) < SLOTS && len <= BYTES.saturating_sub(bytes + self.kept_bytes)
    }

    fn max_payload(&self) -> u32 {
        BYTES as u32
    }

    fn retain(&mut self, class: Priority) {
        let Some(at) = self.unqueue(class as usize, END) else { return };
        self.enqueue(CLASSES + class as usize, at);
        self.kept += 1;
        self.kept_bytes += self.slot(at).map_or(0, |slot| slot.len as usize);
    }

    fn retained(&self, class: Priority, from: u64) -> Option<(&Entry, &[u8])> {
        let (_, slot) = self.links(CLASSES + class as usize).find(|(_, slot)| slot.entry.ordinal >= from)?;
        Some((&slot.entry, &self.arena[slot.start as usize..slot.end()]))
    }

    fn forget(&mut self, class: Priority, ordinal: u64) {
        let queue = CLASSES + class as usize;
        let mut before = END;
        let found = self.links(queue).find_map(|(at, slot)| {
            let found = (slot.entry.ordinal == ordinal).then_some((before, slot.len));
            before = at;
            found
        });
        if let Some((before, len)) = found {
            self.unlink(queue, before);
            self.kept -= 1;
            self.kept_bytes -= len as usize;
        }
    }

    fn forget_through(&mut self, class: Priority, ordinal: u64) -> (u64, u64) {
        let queue = CLASSES + class as usize;
        let (mut best_effort, mut others) = (0, 0);
        while let Some(slot) = self.slot(self.queues[queue].first)
            && slot.entry.ordinal <= ordinal
        {
            let (len, reliability) = (slot.len as usize, slot.entry.header.reliability);
            self.unlink(queue, END);
            self.kept -= 1;
            self.kept_bytes -= len;
            *if reliability == Reliability::BestEffort { &mut best_effort } else { &mut others } += 1;
        }
        (best_effort, others)
    }

    fn requeue(&mut self, class: Priority) {
        let kept = core::mem::replace(&mut self.queues[CLASSES + class as usize], Queue::EMPTY);
        let bytes: usize = self.links_from(kept.first).map(|(_, slot)| slot.len as usize).sum();
        let Some(last) = self.slots.get_mut(usize::from(kept.last)) else { return };
        let queue = &mut self.queues[class as usize];
        last.behind = queue.first;
        queue.first = kept.first;
        if queue.len == 0 {
            queue.last = kept.last;
        }
        queue.len += kept.len;
        self.kept -= kept.len;
        self.kept_bytes -= bytes;
    }

    fn retained_len(&self) -> usize {
        usize::from(self.kept)
    }

    fn retained_bytes(&self) -> usize {
        self.kept_bytes
    }

    fn release(&mut self) {}

    fn ledger(&mut self) -> &mut L {
        &mut self.ledger
    }
}

/// There are no shared payloads without a heap: this type has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotShared {}

impl AsRef<[u8]> for NotShared {
    fn as_ref(&self) -> &[u8] {
        match *self {}
    }
}

/// One message; its payload is `len` bytes of the arena from `start`.
#[derive(Clone, Copy, Debug)]
struct Slot {
    entry: Entry,
    start: u32,
    len: u32,
    /// The next slot of the queue, or of the unused ones.
    behind: Link,
    /// The slot with the next higher payload.
    above: Link,
}

impl Slot {
    const UNUSED: Self = Self {
        entry: Entry {
            header: super::Header {
                kind: 0,
                full: false,
                priority: Priority::Low,
                broadcast: false,
                reliability: Reliability::BestEffort,
                sequence: 0,
                ttl: 0,
                compressed: None,
                number: None,
            },
            ordinal: 0,
            pushed_at: crate::time::Instant::ZERO,
        },
        start: 0,
        len: 0,
        behind: END,
        above: END,
    };

    const fn end(&self) -> usize {
        self.start as usize + self.len as usize
    }
}

#[derive(Clone, Copy, Debug)]
struct Queue {
    first: Link,
    last: Link,
    len: u16,
}

impl Queue {
    const EMPTY: Self = Self { first: END, last: END, len: 0 };
}

/// The index of a slot, or [`END`].
type Link = u16;

/// No slot: an index that is out of every table's bounds.
const END: Link = Link::MAX;
