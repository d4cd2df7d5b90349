//! The sending end of a lane: which numbers were given, which may be sent, and which have met their fate.
//!
//! ```text
//!            handle_session_start                poll_lane                  handle_state: ready
//!   Silent ───────────────────────▶ Unannounced ───────────▶ Announced ─────────────────────────▶ Open
//!      ▲                                                         │ refused                          │
//!      └──────────── handle_session_end ─────────────────────────┴──────────────────────────────────┘
//! ```
//!
//! Invariant: a number is sent only within the window of the receiver's base as told in this session. What is sent, and what the
//! receiver is told, lies below a mark that is durable: so after a restart it is still known what never left.

use core::ops::Range;

use super::window::{Bits, Window, numbers};
use crate::ids::Priority;
use crate::wire::delivery::{Lane, LaneRefusal, LaneState, WINDOW};
use crate::wire::reason::Reason;

/// What a sender remembers of a lane beside its messages: about 350 bytes.
#[derive(Clone, Debug)]
pub struct SendLane {
    class: Priority,
    epoch: u64,
    /// What has met its fate.
    settled: Window,
    /// Below lies everything that was ever sent.
    fresh: u64,
    /// Nothing is sent from here on: the durable bound of `fresh`.
    mark: u64,
    /// A higher mark is being made durable.
    marking: u64,
    /// The number of the next message.
    next: u64,
    /// What was sent in this session and is to be sent again in it, of the window from `again_from` on.
    again: Bits,
    again_from: u64,
    talk: Talk,
}

/// What was said of the lane in this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Talk {
    /// There is no session, or the receiver takes nothing in this one.
    Silent,
    /// Nothing was said.
    Unannounced,
    /// The receiver has not answered.
    Announced {
        /// The base that was announced.
        announced: u64,
    },
    /// The receiver has answered.
    Open {
        /// The next number to send.
        cursor: u64,
        /// The receiver's base.
        base: u64,
        /// The base that was announced.
        announced: u64,
    },
}

impl SendLane {
    /// A lane that has never sent anything. `epoch` is random; both are to be stored before its first message.
    pub fn new(class: Priority, epoch: u64) -> Self {
        Self::restore(class, epoch, 1, 1, 1)
    }

    /// A lane as it was stored: everything below `base` has met its fate, nothing from `mark` on was ever sent, and `next`
    /// is the number after the last message that was stored.
    ///
    /// Numbers in between whose messages are not stored any more are to be [settled](Self::settle) when their turn comes.
    pub fn restore(class: Priority, epoch: u64, base: u64, mark: u64, next: u64) -> Self {
        let base = base.clamp(1, next);
        let fresh = mark.clamp(base, next);
        Self {
            class,
            epoch,
            settled: Window::new(base),
            fresh,
            mark: mark.max(base),
            marking: mark.max(base),
            next,
            again: Bits::default(),
            again_from: base,
            talk: Talk::Silent,
        }
    }

    /// What names this life of the lane.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Everything below has met its fate.
    pub const fn base(&self) -> u64 {
        self.settled.base()
    }

    /// The number that the next message gets.
    pub const fn next_number(&self) -> u64 {
        self.next
    }

    /// Whether every message has met its fate.
    pub const fn is_idle(&self) -> bool {
        self.settled.base() == self.next
    }

    /// Whether the receiver has answered in this session, and the turn of this number is yet to come in it.
    pub fn is_to_come(&self, number: u64) -> bool {
        matches!(self.talk, Talk::Open { cursor, .. } if cursor <= number || self.is_asked_for(number))
    }

    /// Whether the message of this number may have been sent.
    pub const fn was_sent(&self, number: u64) -> bool {
        number < self.fresh
    }

    /// Gives a message its number. It is to be stored before it is accepted; if that fails, it is to be
    /// [settled](Self::settle) once a later one is stored, or else [taken back](Self::take_back): a restart gives every number again
    /// from the last one stored on, so the receiver must not hear before that it is settled.
    pub const fn accept(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// Takes back the number that was given last, of a message that was not stored: the next message gets it. Says whether it was the
    /// last one and nothing was sent or settled under it.
    pub fn take_back(&mut self, number: u64) -> bool {
        let is_last = number.checked_add(1) == Some(self.next);
        let is_unused = is_last && number >= self.fresh && !self.settled.contains(number);
        if is_unused {
            self.next = number;
        }
        is_unused
    }

    /// A session with the receiver is up: the lane is announced when there is something to send or to hear of.
    pub fn handle_session_start(&mut self) {
        self.again = Bits::default();
        self.talk = Talk::Unannounced;
    }

    /// The session ended. What was sent and not acknowledged is sent again in the next.
    pub fn handle_session_end(&mut self) {
        self.again = Bits::default();
        self.talk = Talk::Silent;
    }

    /// What is to be said of the lane, once each time: before its first message in a session, and when numbers that were skipped
    /// hold the receiver's window up.
    pub fn poll_lane(&mut self) -> Option<Lane> {
        let told = self.settled.base().min(self.mark);
        match &mut self.talk {
            Talk::Unannounced if self.settled.base() < self.next => {
                self.talk = Talk::Announced { announced: told };
            }
            Talk::Open { base, announced, .. } if told > *base && told > *announced => *announced = told,
            _ => return None,
        }
        Some(Lane { class: self.class, epoch: self.epoch, base: told, fresh: self.fresh.max(told) })
    }

    /// The receiver speaks of the lane. What it settles is in the answer; a state of another life of the lane settles nothing.
    ///
    /// `is_answer`: it came over the session in which the lane was announced last. Another one still acknowledges, but
    /// opens nothing.
    ///
    /// # Errors
    /// [`Reason::Violation`] if it acknowledges what was never sent. Nothing has changed.
    pub fn handle_state(&mut self, state: &LaneState, is_answer: bool) -> Result<Fates, Reason> {
        if state.epoch != self.epoch || state.class != self.class {
            return Ok(Fates::NONE);
        }
        let Some(arrived) = &state.arrived else {
            if is_answer {
                self.talk = Talk::Silent;
            }
            return Ok(Fates::NONE);
        };
        let fresh = self.fresh.max(self.settled.base());
        if arrived.base > fresh || arrived.highest().is_some_and(|highest| highest >= fresh) {
            return Err(Reason::Violation);
        }
        let from = self.settled.base();
        let since = arrived.since.max(from);
        let fates = Fates {
            unknown: from..since,
            delivered: since..arrived.base.max(since),
            others: Window::of(arrived),
        };
        self.settled.raise_to(arrived.base);
        numbers(arrived).for_each(|number| {
            self.settled.insert(number);
        });
        match &mut self.talk {
            &mut Talk::Announced { announced } if is_answer => {
                self.talk = Talk::Open { cursor: self.settled.base(), base: arrived.base, announced };
            }
            Talk::Open { base, .. } => *base = arrived.base.max(*base),
            _ => {}
        }
        Ok(fates)
    }

    /// The receiver refuses messages: gives the numbers of which that holds. Their removal is made durable, and they are
    /// [settled](Self::settle); a number among them that has met its fate before keeps that.
    ///
    /// `is_answer` as for [`handle_state`](Self::handle_state): over another session than the one in which they were sent last it
    /// says nothing, since they may be taken in this one.
    ///
    /// What had come when there was no memory for it ([`Reason::NoRoom`]) is not lost: the receiver asks for it again, and it is sent
    /// again next. Of such numbers none is given.
    ///
    /// # Errors
    /// [`Reason::Violation`] if it refuses what was never sent.
    pub fn handle_refusal(&mut self, refusal: &LaneRefusal, is_answer: bool) -> Result<Range<u64>, Reason> {
        if refusal.epoch != self.epoch || refusal.class != self.class || !is_answer {
            return Ok(0..0);
        }
        if refusal.end() > self.fresh.max(self.settled.base()) {
            return Err(Reason::Violation);
        }
        if refusal.reason() == Reason::NoRoom {
            self.send_again(refusal.first..refusal.end());
            return Ok(0..0);
        }
        Ok(refusal.first..refusal.end())
    }

    /// Of these numbers, those that were sent in this session and have no fate are to be sent again in it.
    fn send_again(&mut self, numbers: Range<u64>) {
        let Talk::Open { cursor, .. } = self.talk else { return };
        self.forget_settled();
        let end = numbers.end.min(cursor).min(self.settled.end());
        for number in numbers.start.max(self.settled.base())..end {
            if !self.settled.contains(number) {
                self.again.set(number);
            }
        }
    }

    fn is_asked_for(&self, number: u64) -> bool {
        self.again_from <= number
            && number < self.again_from.saturating_add(WINDOW)
            && !self.settled.contains(number)
            && self.again.has(number)
    }

    /// The places of what lies below the base are those of numbers further on.
    fn forget_settled(&mut self) {
        let base = self.settled.base();
        self.again.clear_span(self.again_from, base);
        self.again_from = base;
    }

    /// The lowest number that is to be sent again.
    fn next_again(&mut self) -> Option<u64> {
        if self.again.is_empty() {
            return None;
        }
        self.forget_settled();
        let next = (self.settled.base()..self.settled.end()).find(|&number| self.is_asked_for(number));
        if next.is_none() {
            self.again = Bits::default();
        }
        next
    }

    /// The next number to send, if one may be sent now. Its message is then sent ([`handle_sent`](Self::handle_sent)), or passed
    /// over ([`pass`](Self::pass)) as it is being settled, or settled as it is not there any more.
    pub fn poll_next(&mut self) -> Option<u64> {
        if let Some(number) = self.next_again() {
            return Some(number);
        }
        let Talk::Open { cursor, base, .. } = &mut self.talk else { return None };
        *cursor = (*cursor).max(self.settled.base());
        let end = base.saturating_add(WINDOW).min(self.next).min(self.mark);
        while *cursor < end && self.settled.contains(*cursor) {
            *cursor += 1;
        }
        (*cursor < end).then_some(*cursor)
    }

    /// The message of this number was handed to the session.
    pub fn handle_sent(&mut self, number: u64) {
        self.fresh = self.fresh.max(number.saturating_add(1));
        self.pass(number);
    }

    /// The message of this number is not sent in this session, at least not now.
    pub fn pass(&mut self, number: u64) {
        if self.is_asked_for(number) {
            self.again.clear(number);
        }
        if let Talk::Open { cursor, .. } = &mut self.talk {
            *cursor = (*cursor).max(number.saturating_add(1));
        }
    }

    /// A message has met its fate in another way: it expired, was cancelled, or could never be sent. Its removal is durable, else it
    /// could come back after its number was given up.
    ///
    /// A number that lies beyond the window is not remembered: settle it again when its turn comes.
    pub fn settle(&mut self, number: u64) {
        if number < self.next {
            self.settled.insert(number);
        }
    }

    /// The mark that is to be made durable so that more may be sent, once each time.
    pub fn poll_mark(&mut self) -> Option<u64> {
        let Talk::Open { cursor, base, .. } = self.talk else { return None };
        let wanted = base.max(self.settled.base()).saturating_add(WINDOW);
        // Early enough that nobody waits for it, and once for half a window.
        let is_due = self.next > cursor && cursor.saturating_add(WINDOW / 2) >= self.marking;
        let holds_up_news = self.settled.base() > self.marking;
        if !(is_due || holds_up_news) || wanted <= self.marking {
            return None;
        }
        self.marking = wanted;
        Some(wanted)
    }

    /// The mark is durable.
    pub fn handle_marked(&mut self, mark: u64) {
        self.mark = self.mark.max(mark);
    }

    /// The mark could not be made durable: it is asked for again.
    pub const fn handle_mark_failed(&mut self) {
        self.marking = self.mark;
    }
}

/// What became of numbers of a lane: among them are numbers that were settled before, which nothing more becomes of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fates {
    /// The receiver has forgotten whether these came.
    pub unknown: Range<u64>,
    /// These are delivered.
    pub delivered: Range<u64>,
    others: Window,
}

impl Fates {
    const NONE: Self = Self { unknown: 0..0, delivered: 0..0, others: Window::EMPTY };

    /// Further numbers that are delivered, in order.
    pub fn others(&self) -> impl Iterator<Item = u64> + '_ {
        (self.others.base()..self.others.end()).filter(|&number| self.others.contains(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::delivery::Arrived;

    #[test]
    fn a_number_is_taken_back_and_given_again_only_while_it_is_the_last_and_nothing_of_it_was_told() {
        let mut lane = SendLane::new(Priority::High, 7);
        let (first, second) = (lane.accept(), lane.accept());

        assert!(!lane.take_back(first), "another one was given since");
        assert!(lane.take_back(second));
        assert_eq!(lane.accept(), second);

        lane.settle(second);
        assert!(!lane.take_back(second), "the peer may have heard that it is settled");
    }

    #[test]
    fn a_number_that_was_sent_is_not_taken_back() {
        let mut lane = SendLane::new(Priority::High, 7);
        let number = lane.accept();
        lane.handle_session_start();
        let Lane { base, .. } = lane.poll_lane().expect("the lane is announced");
        let arrived = Some(Arrived { since: base, base, bits: [0; Arrived::WORDS] });
        lane.handle_state(&LaneState { class: Priority::High, epoch: 7, arrived }, true).unwrap();
        let mark = lane.poll_mark().expect("it lies above the mark");
        lane.handle_marked(mark);
        assert_eq!(lane.poll_next(), Some(number));
        lane.handle_sent(number);

        assert!(!lane.take_back(number));
    }

    #[test]
    fn what_the_receiver_had_no_room_for_is_sent_again_in_the_same_session_before_what_is_new() {
        let mut lane = open_lane(4);
        for _ in 0..3 {
            let number = lane.poll_next().expect("it may be sent");
            lane.handle_sent(number);
        }

        let refused = lane.handle_refusal(&no_room(1, 2), true);

        assert_eq!(refused, Ok(0..0), "nothing has failed");
        assert!(lane.is_to_come(2) && !lane.is_to_come(3));
        lane.settle(1);
        for number in [2, 4] {
            assert_eq!(lane.poll_next(), Some(number));
            lane.handle_sent(number);
        }
        assert_eq!(lane.poll_next(), None);
    }

    #[test]
    fn what_was_not_sent_in_this_session_is_not_asked_for_in_it() {
        let mut lane = open_lane(3);
        for number in [1, 2] {
            lane.handle_sent(number);
        }

        lane.handle_refusal(&no_room(1, 2), false).unwrap();
        assert_eq!(lane.poll_next(), Some(3), "it was said over another session");
        lane.handle_refusal(&no_room(1, 2), true).unwrap();
        lane.handle_session_start();
        answer(&mut lane);

        let mut sent = std::vec::Vec::new();
        while let Some(number) = lane.poll_next() {
            lane.handle_sent(number);
            sent.push(number);
        }
        assert_eq!(sent, [1, 2, 3], "each once");
    }

    #[test]
    fn what_is_asked_for_again_keeps_its_place_when_the_window_goes_round() {
        let mut lane = open_lane(2000);
        for number in 1..=1024 {
            assert_eq!(lane.poll_next(), Some(number));
            lane.handle_sent(number);
        }
        lane.handle_refusal(&no_room(1, 1), true).unwrap();
        lane.settle(1);
        let state = state(Arrived { since: 1, base: 2, bits: [0; Arrived::WORDS] });
        lane.handle_state(&state, true).unwrap();
        let mark = lane.poll_mark().expect("the window has gone on");
        lane.handle_marked(mark);

        assert!(lane.is_to_come(1025));
        assert_eq!(lane.poll_next(), Some(1025));
        lane.handle_sent(1025);
        assert!(!lane.is_to_come(1025), "its place in the window was that of 1");
    }

    /// A lane of so many messages to which the receiver has answered.
    fn open_lane(messages: u64) -> SendLane {
        let mut lane = SendLane::new(Priority::High, 7);
        for _ in 0..messages {
            lane.accept();
        }
        lane.handle_session_start();
        answer(&mut lane);
        let mark = lane.poll_mark().expect("nothing may be sent before");
        lane.handle_marked(mark);
        lane
    }

    fn answer(lane: &mut SendLane) {
        let Lane { base, .. } = lane.poll_lane().expect("the lane is announced");
        lane.handle_state(&state(Arrived { since: base, base, bits: [0; Arrived::WORDS] }), true).unwrap();
    }

    fn state(arrived: Arrived) -> LaneState {
        LaneState { class: Priority::High, epoch: 7, arrived: Some(arrived) }
    }

    fn no_room(first: u64, count: u64) -> LaneRefusal {
        LaneRefusal { class: Priority::High, epoch: 7, code: Reason::NoRoom.code(), first, count }
    }
}
