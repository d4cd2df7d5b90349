//! Puts the parts of a message together, in any order, in a buffer of the caller: no heap, and bounded by both.
//!
//! On a stream parts come in order, so that nothing is missing but the end; over datagrams there may be many gaps. A node
//! that takes long messages of several priorities at a time has an assembly for each.

use core::num::NonZeroU64;

use crate::ids::{MessageId, Priority};
use crate::session::Message;
use crate::wire::message::{Compressed, Part};
use crate::wire::reason::Reason;

/// One message of one peer, in a buffer as long as the longest message that is taken, with at most `GAPS` gaps between the
/// parts that came.
#[derive(Debug)]
pub struct Assembly<'b, const GAPS: usize = 64> {
    buf: &'b mut [u8],
    gaps: Gaps<GAPS>,
    /// The message in hand, or the last one that was whole or given up.
    last: Option<Header>,
    is_unfinished: bool,
}

impl<'b, const GAPS: usize> Assembly<'b, GAPS> {
    /// An assembly without a message.
    pub fn new(buf: &'b mut [u8]) -> Self {
        Self { buf, gaps: Gaps::new(0), last: None, is_unfinished: false }
    }

    /// Takes a part, and gives the whole message with the last of them; a message that is not in parts is given as it is.
    ///
    /// A later message of the same priority takes the place of an unfinished one, of which nothing more can come then. An
    /// abandonment frees the assembly.
    ///
    /// # Errors
    /// On an error nothing has changed. [`Reason::TooLong`] if the whole does not fit the buffer; [`Reason::Violation`] if
    /// the part contradicts those before; [`Reason::Duplicate`] if its message was whole before, or another took its
    /// place; [`Reason::Limit`] if there would be too many gaps, or a message of another priority is unfinished here.
    pub fn handle_part<'s>(&'s mut self, message: &Message<'s>) -> Result<Option<Message<'s>>, Reason> {
        let Some(part) = message.part else { return Ok(Some(*message)) };
        let end = part.end(message.payload.len()).ok_or(Reason::Malformed)?;
        let header = Header::of(message, part);
        let is_first = self.is_first(&header)?;
        if part.is_abandonment() {
            self.last = Some(header);
            self.is_unfinished = false;
            return Ok(None);
        }
        if !is_first && self.last != Some(header) {
            return Err(Reason::Violation);
        }
        if part.total as usize > self.buf.len() {
            return Err(Reason::TooLong);
        }
        if is_first {
            let mut gaps = Gaps::new(part.total);
            gaps.fill(part.offset, end)?;
            (self.gaps, self.last, self.is_unfinished) = (gaps, Some(header), true);
        } else {
            self.gaps.fill(part.offset, end)?;
        }
        self.buf[part.offset as usize..end as usize].copy_from_slice(message.payload);
        if !self.gaps.is_empty() {
            return Ok(None);
        }
        self.is_unfinished = false;
        Ok(Some(Message { part: None, payload: &self.buf[..part.total as usize], ..*message }))
    }

    /// Whether some parts of a message came and others are missing.
    pub const fn is_unfinished(&self) -> bool {
        self.is_unfinished
    }

    /// Gives up what is unfinished, as at the end of the session that it came with.
    pub fn clear(&mut self) {
        self.last = None;
        self.is_unfinished = false;
    }

    /// Whether the part is the first that came of its message.
    fn is_first(&self, header: &Header) -> Result<bool, Reason> {
        let Some(last) = self.last else { return Ok(true) };
        if last.id == header.id {
            return if self.is_unfinished { Ok(false) } else { Err(Reason::Duplicate) };
        }
        if last.priority != header.priority {
            return if self.is_unfinished { Err(Reason::Limit) } else { Ok(true) };
        }
        // Within a priority, sequences rise; a broadcast got its own before it waited for room among the direct ones.
        let is_late = last.id.epoch == header.id.epoch
            && last.broadcast == header.broadcast
            && header.id.sequence < last.id.sequence;
        if is_late { Err(Reason::Duplicate) } else { Ok(true) }
    }
}

/// What all parts of a message say alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    id: MessageId,
    total: u32,
    ttl: u32,
    compressed: Option<Compressed>,
    number: Option<NonZeroU64>,
    kind: u16,
    full: bool,
    priority: Priority,
    broadcast: bool,
}

impl Header {
    fn of(message: &Message<'_>, part: Part) -> Self {
        let &Message { id, kind, full, priority, broadcast, ttl, compressed, number, .. } = message;
        Self { id, total: part.total, ttl, compressed, number, kind, full, priority, broadcast }
    }
}

/// What is missing of a number of bytes: at most `N` gaps between those that came.
#[derive(Clone, Copy, Debug)]
pub struct Gaps<const N: usize> {
    /// Ascending, neither empty nor touching.
    gaps: [Gap; N],
    len: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Gap {
    start: u32,
    end: u32,
}

impl<const N: usize> Gaps<N> {
    /// All of `total` bytes is missing.
    pub fn new(total: u32) -> Self {
        const { assert!(N > 0) };
        let mut gaps = [Gap::default(); N];
        gaps[0].end = total;
        Self { gaps, len: usize::from(total > 0) }
    }

    /// The bytes from `start` until before `end` came; some or all of them may have come before.
    ///
    /// # Errors
    /// [`Reason::Limit`] if there would be more than `N` gaps; then nothing has changed.
    pub fn fill(&mut self, start: u32, end: u32) -> Result<(), Reason> {
        if start >= end {
            return Ok(());
        }
        let gaps = &mut self.gaps;
        if let Some(at) = gaps[..self.len].iter().position(|gap| gap.start < start && end < gap.end) {
            if self.len == N {
                return Err(Reason::Limit);
            }
            gaps.copy_within(at..self.len, at + 1);
            gaps[at].end = start;
            gaps[at + 1].start = end;
            self.len += 1;
            return Ok(());
        }
        let mut kept = 0;
        for at in 0..self.len {
            let mut gap = gaps[at];
            if start <= gap.start {
                gap.start = gap.start.max(end.min(gap.end));
            } else if end >= gap.end {
                gap.end = gap.end.min(start);
            }
            if gap.start < gap.end {
                gaps[kept] = gap;
                kept += 1;
            }
        }
        self.len = kept;
        Ok(())
    }

    /// Whether nothing is missing.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that are missing.
    pub fn missing(&self) -> u32 {
        self.gaps[..self.len].iter().map(|gap| gap.end - gap.start).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;
    use crate::wire::message::Method;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn any_split_in_any_order_with_any_repeats_gives_the_message_once(
            whole in prop::collection::vec(any::<u8>(), 1..600),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
            repeats in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..20),
            keys in prop::collection::vec(any::<u32>(), 64),
        ) {
            let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(whole.len()) + 1).collect();
            ends.push(whole.len());
            ends.sort_unstable();
            ends.dedup();
            let mut ranges: Vec<_> =
                ends.iter().scan(0, |start, &end| Some((core::mem::replace(start, end), end))).collect();
            ranges.extend(repeats.iter().map(|(a, b)| {
                let (a, b) = (a.index(whole.len()), b.index(whole.len()));
                (a.min(b), a.max(b) + 1)
            }));
            let mut keyed: Vec<_> = keys.into_iter().zip(ranges).collect();
            keyed.sort_unstable();
            let mut buf = vec![0; 600];
            let mut assembly: Assembly<'_, 64> = Assembly::new(&mut buf);
            let mut is_there = vec![false; whole.len()];

            for (_, (start, end)) in keyed {
                let was_whole = is_there.iter().all(|is_there| *is_there);
                is_there[start..end].fill(true);
                let is_whole = is_there.iter().all(|is_there| *is_there);
                let given = assembly.handle_part(&part_of(&whole, start, end));
                if was_whole {
                    prop_assert_eq!(given, Err(Reason::Duplicate));
                } else {
                    let expected = Message { part: None, payload: &whole[..], ..part_of(&whole, 0, 1) };
                    prop_assert_eq!(given, Ok(is_whole.then_some(expected)));
                }
            }
        }

        #[test]
        fn gaps_are_what_a_list_of_bytes_says(
            total in 1..200_u32,
            fills in prop::collection::vec((0..220_u32, 0..60_u32), 0..60),
        ) {
            let (mut gaps, mut missing) = (Gaps::<4>::new(total), vec![true; total as usize]);
            for (start, len) in fills {
                let (start, end) = (start.min(total), (start + len).min(total));
                let mut after = missing.clone();
                after[start as usize..end as usize].fill(false);
                let stretches = after.chunk_by(|one, next| one == next).filter(|stretch| stretch[0]).count();

                let filled = gaps.fill(start, end);

                prop_assert_eq!(filled.is_err(), stretches > 4);
                if filled.is_ok() {
                    missing = after;
                }
                let count = missing.iter().filter(|missing| **missing).count();
                prop_assert_eq!(gaps.missing() as usize, count);
                prop_assert_eq!(gaps.is_empty(), count == 0);
            }
        }
    }

    #[test]
    fn a_message_that_is_whole_passes_through() {
        let mut buf = [0; 0];
        let mut assembly: Assembly<'_> = Assembly::new(&mut buf);
        let message = Message { part: None, ..part_of(b"whole", 0, 5) };

        assert_eq!(assembly.handle_part(&message), Ok(Some(message)));
    }

    #[test]
    fn a_message_longer_than_the_buffer_is_refused_with_its_first_part() {
        let mut buf = [0; 4];
        let mut assembly: Assembly<'_> = Assembly::new(&mut buf);

        assert_eq!(assembly.handle_part(&part_of(b"abcde", 0, 1)), Err(Reason::TooLong));
        assert!(!assembly.is_unfinished());
        assert_eq!(assembly.handle_part(&part_of(b"abcd", 0, 1)), Ok(None));
    }

    #[test]
    fn a_part_that_contradicts_those_before_is_refused_and_changes_nothing() {
        let mut buf = [0; 100];
        let mut assembly: Assembly<'_> = Assembly::new(&mut buf);
        assembly.handle_part(&part_of(b"abc", 0, 1)).unwrap();
        let next = part_of(b"abc", 1, 3);
        let others = [
            Message { part: Some(Part { total: 4, offset: 1 }), ..next },
            Message { kind: 8, ..next },
            Message { broadcast: true, ..next },
            Message { ttl: 5, ..next },
            Message { compressed: Some(Compressed { method: Method::Zstd, original: 9 }), ..next },
        ];

        for other in others {
            assert_eq!(assembly.handle_part(&other), Err(Reason::Violation), "{other:?}");
        }

        assert_eq!(assembly.handle_part(&next).unwrap().unwrap().payload, b"abc");
    }

    #[test]
    fn an_abandonment_frees_the_assembly_and_the_rest_is_a_duplicate() {
        let mut buf = [0; 100];
        let mut assembly: Assembly<'_> = Assembly::new(&mut buf);
        assembly.handle_part(&part_of(b"abc", 0, 1)).unwrap();

        assert_eq!(assembly.handle_part(&part_of(b"abc", 3, 3)), Ok(None));

        assert!(!assembly.is_unfinished());
        assert_eq!(assembly.handle_part(&part_of(b"abc", 1, 3)), Err(Reason::Duplicate));
    }

    #[test]
    fn a_later_message_of_the_priority_takes_the_place_and_an_earlier_one_does_not() {
        let mut buf = [0; 100];
        let mut assembly: Assembly<'_> = Assembly::new(&mut buf);
        let numbered = |sequence, message| Message { id: MessageId { epoch: 1, sequence }, ..message };
        assembly.handle_part(&numbered(5, part_of(b"abc", 0, 1))).unwrap();

        let early = numbered(4, part_of(b"abc", 0, 1));
        assert_eq!(assembly.handle_part(&early), Err(Reason::Duplicate));
        let urgent = Message { priority: Priority::Critical, ..numbered(6, part_of(b"abc", 0, 1)) };
        assert_eq!(assembly.handle_part(&urgent), Err(Reason::Limit));
        assert_eq!(assembly.handle_part(&numbered(6, part_of(b"xyz", 0, 1))), Ok(None));

        let whole = assembly.handle_part(&numbered(6, part_of(b"xyz", 1, 3))).unwrap().unwrap();
        assert_eq!(whole.payload, b"xyz");
    }

    #[test]
    fn a_broadcast_that_waited_behind_later_direct_messages_is_no_late_one() {
        let mut buf = [0; 100];
        let mut assembly: Assembly<'_> = Assembly::new(&mut buf);
        assembly.handle_part(&part_of(b"abc", 0, 3)).unwrap().unwrap();

        let id = MessageId { epoch: 1, sequence: 4 };
        let broadcast = Message { id, broadcast: true, ..part_of(b"xyz", 0, 3) };

        assert_eq!(assembly.handle_part(&broadcast).unwrap().unwrap().payload, b"xyz");
    }

    #[test]
    fn more_gaps_than_agreed_are_refused() {
        let mut buf = [0; 100];
        let mut assembly: Assembly<'_, 2> = Assembly::new(&mut buf);
        assembly.handle_part(&part_of(b"abcdefg", 1, 2)).unwrap();

        assert_eq!(assembly.handle_part(&part_of(b"abcdefg", 3, 4)), Err(Reason::Limit));

        assert_eq!(assembly.handle_part(&part_of(b"abcdefg", 0, 1)), Ok(None));
        assert_eq!(assembly.handle_part(&part_of(b"abcdefg", 3, 4)), Ok(None));
    }

    fn part_of(whole: &[u8], start: usize, end: usize) -> Message<'_> {
        Message {
            id: MessageId { epoch: 1, sequence: 5 },
            kind: 7,
            full: false,
            priority: Priority::Low,
            broadcast: false,
            ttl: 60,
            age: Duration::ZERO,
            part: Some(Part { total: whole.len() as u32, offset: start as u32 }),
            compressed: None,
            number: None,
            payload: &whole[start..end],
        }
    }
}
