//! Large messages on their way in: their parts put in order, within the memory that all links of a node share for it.
//!
//! ```text
//!   part ─▶ in order? ──yes──▶ sink: the buffer of a whole message, or the streams of those who read part by part
//!              └──no──▶ kept aside until the gap before it closes
//! ```
//!
//! Parts may come in any order, twice, or overlap. A buffer grows with the bytes that came, never with what was announced;
//! the announced length is reserved in the [`Budget`] at the first part. Invariant: whatever peers send, the buffers of all
//! whole messages together hold no more than the budget, and what is kept aside for one message no more than its length.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::{Buf, Bytes};
use hyphal_core::wire::reason::Reason;

use crate::signal::{Consumption, Signal};

/// The bytes that large messages of all links may hold.
///
/// Links that wait for some are served in the order in which they came, so that a long message is not passed by short ones for
/// ever. The last bytes, as many as the longest message has, are only for messages whose readers hold none: so one that does not
/// read does not keep out what is for others, which passes what waits for it.
#[derive(Debug)]
pub(crate) struct Budget {
    max: u64,
    /// How many are for readers that hold some already.
    common: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: u64,
    line: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    link: Weak<Signal>,
    len: u64,
    readers: Readers,
}

/// Whose a message is: of all subscriptions that get it whole.
pub(crate) type Readers = Vec<Arc<Account>>;

/// What the messages for one reader hold of a [`Budget`], under whose lock it changes.
#[derive(Debug, Default)]
pub(crate) struct Account {
    held: AtomicU64,
}

impl Account {
    fn holds_some(&self) -> bool {
        self.held.load(Relaxed) > 0
    }

    fn add(&self, len: u64) {
        self.held.fetch_add(len, Relaxed);
    }

    fn remove(&self, len: u64) {
        self.held.fetch_sub(len, Relaxed);
    }
}

impl Budget {
    /// `longest`: bytes of the longest message that is taken.
    pub(crate) fn new(max: usize, longest: u32) -> Self {
        let max = max as u64;
        // Where there is room for one long message only, short ones get on beside each other.
        Self { max, common: max - u64::from(longest).min(max / 2), state: Mutex::default() }
    }

    /// The bytes that are reserved at the moment, and the most that can be.
    pub(crate) fn occupied(&self) -> (u64, u64) {
        (self.state().held, self.max)
    }

    /// Whether a message of this length could ever be held.
    pub(crate) fn takes(&self, len: u32) -> bool {
        u64::from(len) <= self.max
    }

    /// Reserves `len` bytes if its readers may have them, whoever waits.
    pub(crate) fn reserve(self: &Arc<Self>, len: u32, readers: Readers) -> Option<Reservation> {
        let mut state = self.state();
        self.has_room(&state, len.into(), &readers).then(|| self.take(&mut state, len, readers))
    }

    /// Reserves `len` bytes if its readers may have them and nobody comes before; else the link stands in line and will be woken.
    pub(crate) fn reserve_in_line(
        self: &Arc<Self>,
        len: u32,
        readers: Readers,
        link: &Arc<Signal>,
    ) -> Option<Reservation> {
        let mut state = self.state();
        let own = Arc::downgrade(link);
        state.line.retain(|other| other.link.strong_count() > 0);
        let wish = Waiting { link: own.clone(), len: len.into(), readers: readers.clone() };
        match state.line.iter_mut().find(|other| other.link.ptr_eq(&own)) {
            Some(place) => *place = wish,
            None => state.line.push_back(wish),
        }
        if !self.next(&state).is_some_and(|next| Arc::ptr_eq(&next, link)) {
            return None;
        }
        let reserved = self.take(&mut state, len, readers);
        state.line.retain(|other| !other.link.ptr_eq(&own));
        // What is left may do for the next one.
        self.call(state);
        Some(reserved)
    }

    /// The link does not wait any more.
    pub(crate) fn leave_line(&self, link: &Arc<Signal>) {
        let mut state = self.state();
        let own = Arc::downgrade(link);
        let before = state.line.len();
        state.line.retain(|other| !other.link.ptr_eq(&own));
        if state.line.len() < before {
            self.call(state);
        }
    }

    /// Whether a link waits for bytes that others hold.
    pub(crate) fn is_short(&self) -> bool {
        self.state().line.iter().any(|waiting| waiting.link.strong_count() > 0)
    }

    fn has_room(&self, state: &State, len: u64, readers: &[Arc<Account>]) -> bool {
        let held = state.held + len;
        held <= self.common || held <= self.max && !readers.iter().any(|reader| reader.holds_some())
    }

    fn take(self: &Arc<Self>, state: &mut State, len: u32, readers: Readers) -> Reservation {
        let len = u64::from(len);
        state.held += len;
        readers.iter().for_each(|reader| reader.add(len));
        Reservation { budget: Arc::clone(self), len, readers }
    }

    /// The first in line that may have what it waits for. What waits for its own readers to take what they hold is passed, but
    /// not by what is for one of them; what waits for others is not passed.
    fn next(&self, state: &State) -> Option<Arc<Signal>> {
        let mut passed: Vec<&Arc<Account>> = Vec::new();
        for Waiting { link, len, readers } in &state.line {
            let Some(link) = link.upgrade() else { continue };
            let is_behind =
                readers.iter().any(|reader| passed.iter().any(|other| Arc::ptr_eq(other, reader)));
            if !is_behind && self.has_room(state, *len, readers) {
                return Some(link);
            }
            if !readers.iter().any(|reader| reader.holds_some()) {
                return None;
            }
            for reader in readers.iter().filter(|reader| reader.holds_some()) {
                if !passed.iter().any(|other| Arc::ptr_eq(other, reader)) {
                    passed.push(reader);
                }
            }
        }
        None
    }

    /// Wakes whoever is next.
    fn call(&self, state: MutexGuard<'_, State>) {
        let next = self.next(&state);
        drop(state);
        if let Some(link) = next {
            link.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of a [`Budget`], given back when this goes.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    len: u64,
    /// In whose accounts the bytes are.
    readers: Readers,
}

impl Reservation {
    /// Reserves as many bytes again, if they are free; says whether they are.
    pub(crate) fn double(&mut self) -> bool {
        let mut state = self.budget.state();
        if state.held + self.len > self.budget.max {
            return false;
        }
        state.held += self.len;
        self.readers.iter().for_each(|reader| reader.add(self.len));
        drop(state);
        self.len *= 2;
        true
    }

    /// The message is whole: gives each of those who get it a share, which is in the account of that reader until it has it.
    pub(crate) fn share(mut self, readers: &[&Arc<Account>]) -> Vec<Share> {
        let state = self.budget.state();
        // Nobody is woken in between: the bytes are held as before.
        self.readers.iter().for_each(|reader| reader.remove(self.len));
        readers.iter().for_each(|reader| reader.add(self.len));
        drop(state);
        self.readers = Vec::new();
        let whole = Arc::new(self);
        let share = |reader: &&Arc<Account>| Share { whole: Arc::clone(&whole), reader: Arc::clone(reader) };
        readers.iter().map(share).collect()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        state.held -= self.len;
        self.readers.iter().for_each(|reader| reader.remove(self.len));
        self.budget.call(state);
    }
}

/// What one reader's copy of a message holds; all copies are the same bytes.
#[derive(Debug)]
pub(crate) struct Share {
    whole: Arc<Reservation>,
    reader: Arc<Account>,
}

impl Drop for Share {
    fn drop(&mut self) {
        let state = self.whole.budget.state();
        self.reader.remove(self.whole.len);
        self.whole.budget.call(state);
    }
}

/// Received bytes of a payload, and what holds back their acknowledgement.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) bytes: Bytes,
    pub(crate) consumption: Option<Arc<Consumption>>,
}

/// The parts of one message, put in order.
#[derive(Debug)]
pub(crate) struct Parts {
    total: u32,
    /// All bytes before this one have come.
    front: u32,
    /// Pieces behind a gap, by the offset of their first byte.
    aside: BTreeMap<u32, Piece>,
}

impl Parts {
    pub(crate) fn new(total: u32) -> Self {
        Self { total, front: 0, aside: BTreeMap::new() }
    }

    /// How many bytes the message has.
    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    /// Whether all bytes have come.
    pub(crate) fn are_complete(&self) -> bool {
        self.front == self.total
    }

    /// Takes a piece and gives on, in order and each byte once, what no gap holds back any more.
    ///
    /// # Errors
    /// [`Reason::Violation`] if the piece reaches beyond the end, or if more pieces are kept aside than any sender has
    /// under way ([`GAPS`]).
    pub(crate) fn insert(
        &mut self,
        offset: u32,
        piece: Piece,
        mut give: impl FnMut(Piece),
    ) -> Result<(), Reason> {
        let len = u32::try_from(piece.bytes.len()).map_err(|_| Reason::Violation)?;
        if offset.checked_add(len).is_none_or(|end| end > self.total) {
            return Err(Reason::Violation);
        }
        if offset > self.front {
            return self.keep_aside(offset, piece);
        }
        self.advance(offset, piece, &mut give);
        while let Some(first) = self.aside.first_entry()
            && *first.key() <= self.front
        {
            let (offset, piece) = first.remove_entry();
            self.advance(offset, piece, &mut give);
        }
        Ok(())
    }

    /// Keeps of a piece what no other one has, so that each byte is held once.
    fn keep_aside(&mut self, mut offset: u32, mut piece: Piece) -> Result<(), Reason> {
        if let Some((start, before)) = self.aside.range(..=offset).next_back() {
            let known = (*start as usize + before.bytes.len()).saturating_sub(offset as usize);
            if known >= piece.bytes.len() {
                return Ok(());
            }
            piece.bytes.advance(known);
            // Less than the piece, which ends within the message, whose length is 32 bits; so are the other two.
            offset += known as u32;
        }
        let end = offset + piece.bytes.len() as u32;
        while let Some((&start, after)) = self.aside.range(offset..end).next() {
            if start + after.bytes.len() as u32 > end {
                piece.bytes.truncate((start - offset) as usize);
                break;
            }
            self.aside.remove(&start);
        }
        if piece.bytes.is_empty() {
            return Ok(());
        }
        if self.aside.len() == GAPS {
            return Err(Reason::Violation);
        }
        // A slice would keep the whole buffer that it was read into alive, for as long as the gap is open.
        let bytes = Bytes::copy_from_slice(&piece.bytes);
        self.aside.insert(offset, Piece { bytes, ..piece });
        Ok(())
    }

    /// Gives on what is new of a piece that begins at the front or before it.
    fn advance(&mut self, offset: u32, mut piece: Piece, give: &mut impl FnMut(Piece)) {
        let known = (self.front - offset) as usize;
        if known >= piece.bytes.len() {
            return;
        }
        piece.bytes.advance(known);
        // No longer than the message, whose length is 32 bits.
        self.front += piece.bytes.len() as u32;
        give(piece);
    }
}

/// The payload of a whole message while it arrives.
#[derive(Debug)]
pub(crate) struct Growing {
    bytes: Vec<u8>,
    total: usize,
    reservation: Reservation,
}

impl Growing {
    pub(crate) fn new(total: u32, reservation: Reservation) -> Self {
        Self { bytes: Vec::new(), total: total as usize, reservation }
    }

    /// Appends bytes. The buffer grows by factors, up to the exact length, so that a third of a message is copied twice at
    /// most, and a message that was announced and never came costs at most four times the bytes that did.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let needed = self.bytes.len() + bytes.len();
        if needed > self.bytes.capacity() {
            let wanted = needed.max(self.bytes.capacity() * GROWTH).max(SMALLEST).min(self.total.max(needed));
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The payload, and what it takes of the budget for as long as this node's queues do not count it.
    pub(crate) fn finish(self) -> (Bytes, Reservation) {
        (self.bytes.into(), self.reservation)
    }
}

/// Pieces behind gaps for one message: what a sender on a datagram link may have under way.
pub(crate) const GAPS: usize = 1024;

/// The first allocation for a message.
const SMALLEST: usize = 64 * 1024;

const GROWTH: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_in_any_order_twice_and_overlapping_make_the_message_once() {
        for seed in 1..=200_u64 {
            let mut random = seed;
            let mut draw = move |below: u32| {
                // SplitMix64.
                random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let mut z = (random ^ (random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                u32::try_from((z >> 33) % u64::from(below)).unwrap()
            };
            let message: Vec<u8> = (0..2000 + draw(3000)).map(|i| (i % 251) as u8).collect();
            let total = message.len() as u32;
            let mut spans = Vec::new();
            let mut at = 0;
            while at < total {
                let len = (1 + draw(200)).min(total - at);
                let before = draw(at + 1).min(40);
                spans.push((at - before, len + before));
                at += len;
            }
            for _ in 0..10 {
                spans.push(spans[draw(spans.len() as u32) as usize]);
            }
            for last in (1..spans.len()).rev() {
                spans.swap(last, draw(last as u32 + 1) as usize);
            }
            let mut parts = Parts::new(total);
            let mut given = Vec::new();

            for (offset, len) in spans {
                let bytes = &message[offset as usize..][..len as usize];
                let inserted = parts.insert(offset, piece(bytes), |piece| given.extend(piece.bytes));
                assert_eq!(inserted, Ok(()), "seed {seed}");
            }

            assert!(parts.are_complete(), "seed {seed}");
            assert_eq!(given, message, "seed {seed}");
            assert!(parts.aside.is_empty(), "seed {seed}");
        }
    }

    #[test]
    fn a_piece_beyond_the_end_is_a_violation() {
        let mut parts = Parts::new(10);

        assert_eq!(parts.insert(5, piece(&[0; 6]), drop), Err(Reason::Violation));
        assert_eq!(parts.insert(u32::MAX, piece(&[0; 6]), drop), Err(Reason::Violation));
    }

    #[test]
    fn each_byte_is_kept_aside_once() {
        let mut parts = Parts::new(1000);

        for offset in (1..=900).chain((1..=900).rev()) {
            parts.insert(offset, piece(&[0; 100]), drop).unwrap();
        }

        assert_eq!(parts.aside.values().map(|piece| piece.bytes.len()).sum::<usize>(), 999);
    }

    #[test]
    fn no_more_gaps_are_remembered_than_a_sender_can_make() {
        let mut parts = Parts::new(u32::MAX);

        let kept = (1..).map_while(|gap| parts.insert(gap * 2, piece(&[0]), drop).ok()).count();

        assert_eq!(kept, GAPS);
    }

    #[test]
    fn a_buffer_grows_with_what_came_and_not_with_what_was_announced() {
        let budget = Arc::new(Budget::new(64 << 20, 16 << 20));
        let mut growing = Growing::new(16 << 20, budget.reserve(16 << 20, Vec::new()).unwrap());

        growing.push(&[1]);
        let after_one = growing.bytes.capacity();
        let part = [7; 16 * 1024];
        while growing.bytes.len() < 1 << 20 {
            growing.push(&part);
        }

        assert!(after_one <= SMALLEST);
        assert!(growing.bytes.capacity() <= 4 << 20);
        while growing.bytes.len() < 16 << 20 {
            growing.push(&part[..part.len().min((16 << 20) - growing.bytes.len())]);
        }
        assert_eq!(growing.bytes.capacity(), 16 << 20, "no byte more than the message has");
    }

    #[test]
    fn a_budget_is_never_exceeded_and_comes_back_whole() {
        let budget = Arc::new(Budget::new(100, 100));

        let first = budget.reserve(60, Vec::new());
        let second = budget.reserve(41, Vec::new());
        let third = budget.reserve(40, Vec::new());

        assert!(first.is_some() && second.is_none() && third.is_some());
        drop((first, third));
        assert!(budget.reserve(100, Vec::new()).is_some());
        assert!(!budget.takes(101) && budget.takes(100));
    }

    #[test]
    fn links_wait_in_line_and_a_long_message_is_not_passed_by_short_ones() {
        let budget = Arc::new(Budget::new(100, 100));
        let [long, short] = [(); 2].map(|()| Arc::new(Signal::default()));
        let held = budget.reserve(60, Vec::new()).unwrap();

        assert!(budget.reserve_in_line(50, Vec::new(), &long).is_none());
        assert!(budget.reserve_in_line(10, Vec::new(), &short).is_none(), "somebody came before");
        assert!(budget.is_short());
        drop(held);
        let long_one = budget.reserve_in_line(50, Vec::new(), &long);
        let short_one = budget.reserve_in_line(10, Vec::new(), &short);

        assert!(long_one.is_some() && short_one.is_some());
        assert!(!budget.is_short());
    }

    #[test]
    fn a_link_that_ends_leaves_the_line() {
        let budget = Arc::new(Budget::new(100, 100));
        let [gone, left, next] = [(); 3].map(|()| Arc::new(Signal::default()));
        let _held = budget.reserve(100, Vec::new()).unwrap();
        budget.reserve_in_line(50, Vec::new(), &gone);
        budget.reserve_in_line(50, Vec::new(), &left);

        drop(gone);
        budget.leave_line(&left);

        assert!(!budget.is_short());
        drop(_held);
        assert!(budget.reserve_in_line(50, Vec::new(), &next).is_some());
    }

    #[test]
    fn what_one_reader_holds_leaves_room_for_the_longest_message_of_another() {
        let budget = Arc::new(Budget::new(400, 100));
        let [unread, read] = [(); 2].map(|()| Arc::new(Account::default()));
        let link = Arc::new(Signal::default());

        let of_unread: Vec<_> =
            std::iter::from_fn(|| budget.reserve(30, vec![Arc::clone(&unread)])).collect();

        assert_eq!(of_unread.len(), 10);
        assert!(budget.reserve_in_line(30, vec![Arc::clone(&unread)], &link).is_none());
        let other = Arc::new(Signal::default());
        for _ in 0..3 {
            assert!(budget.reserve_in_line(100, vec![Arc::clone(&read)], &other).is_some(), "it passes");
        }
        let both = vec![Arc::clone(&unread), Arc::clone(&read)];
        assert!(budget.reserve(30, both).is_none(), "it is for the one that does not read, too");
        drop(of_unread);
        assert!(budget.reserve_in_line(30, vec![unread], &link).is_some());
        assert_eq!(budget.occupied().0, 0);
    }

    #[test]
    fn a_reader_that_has_its_copy_is_not_charged_for_that_of_another() {
        let budget = Arc::new(Budget::new(200, 100));
        let [unread, read] = [(); 2].map(|()| Arc::new(Account::default()));
        let for_both = budget.reserve(90, vec![Arc::clone(&unread), Arc::clone(&read)]).unwrap();

        let shares = for_both.share(&[&unread, &read]);
        assert!(budget.reserve(90, vec![Arc::clone(&read)]).is_none());
        let [of_unread, of_read] = <[Share; 2]>::try_from(shares).unwrap();
        drop(of_read);

        assert!(budget.reserve(90, vec![read]).is_some());
        assert!(budget.reserve(90, vec![Arc::clone(&unread)]).is_none());
        assert_eq!(budget.occupied().0, 90);
        drop(of_unread);
        assert_eq!(budget.occupied().0, 0);
    }

    fn piece(bytes: &[u8]) -> Piece {
        Piece { bytes: Bytes::copy_from_slice(bytes), consumption: None }
    }
}
