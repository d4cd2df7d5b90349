//! The records with something to deliver that were sent to a datagram peer: which have arrived, which are lost, and when to
//! ask. Loss detection and probe timeouts are those of RFC 9002, section 6.
//!
//! ```text
//!            acknowledged               done
//!   Flying ───────────────▶ Arrived ───────────▶ Gone
//!      │                       ▲                   ▲
//!      │ later ones arrived    │ acknowledged      │ its load is in another record
//!      └────────────────────▶ Lost ────────────────┘
//! ```
//!
//! What has arrived and waits for nothing more is gone at once, as a part of a message of which others are missing.
//! It knows what a record carries only by name. Invariant: each message or part is the load of one record at most, but for
//! what a full table of lost ones joins.

use super::rtt::Rtt;
use super::window::Window;
use crate::ids::Priority;
use crate::outbox::Ticket;
use crate::time::{Duration, Instant};
use crate::wire::ranges::Ranges;

/// How many records later than a missing one must have been sent to count it as lost: RFC 9002, section 6.1.1.
const PACKET_THRESHOLD: u64 = 3;

/// Places that only probes may take, so that a full table can still ask.
const PROBES: usize = 2;

/// What a record delivers, and who is told when it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Load {
    /// Nothing, or nothing any more.
    #[default]
    Nothing,
    /// The control message Drain.
    Drain,
    /// More credit, alone.
    Grant,
    /// The messages of the class from the first ordinal to the last, as far as the outbox still has them.
    Messages { class: Priority, first: u64, last: u64 },
    /// Some of a message's payload.
    Part { ticket: Ticket, offset: u32, len: u32 },
    /// The word that the message of the class which was begun last is given up.
    Abandonment { class: Priority },
    /// All parts of a message have arrived, the last of them with record `newest`; here only its end is waited for.
    Whole { ticket: Ticket, newest: u64 },
}

impl Load {
    /// Whether it is settled once all records below `done` are.
    fn is_done(&self, done: u64) -> bool {
        match self {
            Self::Whole { newest, .. } => *newest < done,
            _ => true,
        }
    }
}

/// A record that was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Record {
    pub(super) counter: u64,
    pub(super) sent_at: Instant,
    /// Bytes of the datagram.
    pub(super) len: u32,
    /// What its body counts as in credit.
    pub(super) cost: u64,
    pub(super) load: Load,
    pub(super) state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Gone,
    Flying,
    Arrived,
    Lost,
}

/// Up to `N` records, the oldest first.
pub(super) struct Sent<const N: usize> {
    ring: [Record; N],
    oldest: usize,
    len: usize,
    /// Records that fly.
    flying: usize,
    /// What they count as in credit.
    flying_cost: u64,
    /// The newest record of which the peer has said that it arrived.
    largest_acked: Option<u64>,
    /// When the next record counts as lost by time.
    loss_at: Option<Instant>,
    /// From when the probe timeout counts.
    probed_at: Instant,
    /// Probe timeouts in a row.
    timeouts: u32,
    /// Probes still to be sent.
    probes: u8,
    /// When the first round trip was measured: persistent congestion is not told before, section 7.6.2.
    measured_at: Option<Instant>,
}

/// A place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(usize);

impl<const N: usize> Sent<N> {
    pub(super) fn new(now: Instant) -> Self {
        const { assert!(N > 2 * PROBES, "a table has room for records beside the probes") };
        Self {
            ring: [Record::default(); N],
            oldest: 0,
            len: 0,
            flying: 0,
            flying_cost: 0,
            largest_acked: None,
            loss_at: None,
            probed_at: now,
            timeouts: 0,
            probes: 0,
            measured_at: None,
        }
    }

    /// Whether a record can be noted that is no probe.
    pub(super) fn has_room(&self) -> bool {
        self.len + PROBES < N
    }

    /// Whether a probe is due.
    pub(super) fn owes_probe(&self) -> bool {
        self.probes > 0
    }

    /// Whether the record of a probe can be noted.
    pub(super) fn has_room_for_probe(&self) -> bool {
        self.len < N
    }

    /// What the records count as in credit that may still arrive, as far as is known: neither acknowledged nor lost.
    pub(super) fn flying_cost(&self) -> u64 {
        self.flying_cost
    }

    pub(super) fn largest_acked(&self) -> Option<u64> {
        self.largest_acked
    }

    /// A record was written; counters rise.
    pub(super) fn push(&mut self, record: Record) {
        assert!(self.len < N, "the caller has asked whether there is room");
        self.ring[(self.oldest + self.len) % N] = Record { state: State::Flying, ..record };
        self.len += 1;
        self.flying += 1;
        self.flying_cost += record.cost;
        self.probed_at = record.sent_at;
        self.probes = self.probes.saturating_sub(1);
    }

    /// The peer says that these records have arrived: RFC 9002, A.7. `arrive` is told what each one carried, and says what
    /// waits for the application's end of it.
    pub(super) fn handle_ranges(
        &mut self,
        now: Instant,
        ranges: &Ranges,
        rtt: &mut Rtt,
        window: &mut Window,
        mut arrive: impl FnMut(u64, Load) -> Load,
    ) {
        // A ping that was answered has no place here, and tells as much of those sent before it.
        let mut is_news = self.largest_acked < Some(ranges.largest());
        self.largest_acked = self.largest_acked.max(Some(ranges.largest()));
        let mut news = None;
        for i in 0..self.len {
            let record = &mut self.ring[(self.oldest + i) % N];
            if record.counter > ranges.largest() {
                break;
            }
            if !matches!(record.state, State::Flying | State::Lost) || !ranges.contains(record.counter) {
                continue;
            }
            if record.state == State::Flying {
                self.flying -= 1;
                self.flying_cost -= record.cost;
                window.handle_arrived(record.sent_at, u64::from(record.len));
            }
            record.load = arrive(record.counter, record.load);
            record.state = if record.load == Load::Nothing { State::Gone } else { State::Arrived };
            news = Some((record.counter, record.sent_at));
            is_news = true;
        }
        if !is_news {
            return;
        }
        if let Some((newest, sent_at)) = news
            && newest == ranges.largest()
        {
            rtt.handle_sample(now.since(sent_at), ranges.delay);
            self.measured_at.get_or_insert(now);
        }
        self.timeouts = 0;
        self.probes = 0;
        self.detect(now, rtt, window);
    }

    /// The peer's application is done with all records below `done` that have arrived: their loads are settled.
    pub(super) fn handle_done(&mut self, done: u64, mut settle: impl FnMut(Load)) {
        for i in 0..self.len {
            let record = &mut self.ring[(self.oldest + i) % N];
            if record.counter >= done {
                break;
            }
            if record.state == State::Arrived && record.load.is_done(done) {
                record.state = State::Gone;
                settle(core::mem::take(&mut record.load));
            }
        }
        self.trim();
    }

    /// Finds what is lost by time, or asks for a probe.
    pub(super) fn handle_timeout(&mut self, now: Instant, rtt: &Rtt, window: &mut Window) {
        if self.due_at(rtt).is_none_or(|at| at > now) {
            return;
        }
        if self.loss_at.is_some() {
            return self.detect(now, rtt, window);
        }
        self.timeouts = self.timeouts.saturating_add(1);
        self.probed_at = now;
        self.probes = PROBES as u8;
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(super) fn due_at(&self, rtt: &Rtt) -> Option<Instant> {
        if self.flying == 0 {
            return None;
        }
        Some(self.loss_at.unwrap_or_else(|| self.probed_at.after(rtt.probe_timeout(self.timeouts))))
    }

    /// The oldest record whose load is to be sent again because it is lost.
    pub(super) fn lost(&self) -> Option<(Place, Load)> {
        self.find(|record| record.state == State::Lost)
    }

    /// The oldest record whose load a probe may carry.
    pub(super) fn unanswered(&self) -> Option<(Place, Load)> {
        self.find(|record| record.state == State::Flying && record.load != Load::Nothing)
    }

    /// Leaves `rest` of the load of a record whose other part was sent again or is worth nothing any more.
    pub(super) fn reduce(&mut self, place: Place, rest: Load) {
        let record = &mut self.ring[place.0];
        record.load = rest;
        if record.state == State::Lost && rest == Load::Nothing {
            record.state = State::Gone;
            self.trim();
        }
    }

    /// Makes a place where lost records fill them all: what was sent again in part kept its place, and took another one. With
    /// nothing flying no acknowledgement would ever free any.
    ///
    /// Gaps are closed, and if that does not do two lost records of one class become one; what lies between them is sent
    /// twice, if it has arrived. It is never a message in parts, which goes by parts alone: what was sent again in part can be
    /// joined with its rest, and nothing else fills the table.
    pub(super) fn make_room(&mut self) {
        if self.has_room_for_probe() || self.flying > 0 {
            return;
        }
        self.compact();
        if self.has_room_for_probe() {
            return;
        }
        for i in 0..self.len {
            let Some((Place(earlier), class, first, last)) = self.lost_messages(i) else { continue };
            let joined = (i + 1..self.len).filter_map(|j| self.lost_messages(j)).find_map(
                |(place, other, other_first, other_last)| {
                    let (first, last) = (first.min(other_first), last.max(other_last));
                    (other == class && !self.has_parts_within(class, first, last))
                        .then_some((place, first, last))
                },
            );
            let Some((Place(later), first, last)) = joined else { continue };
            self.ring[later].load = Load::Messages { class, first, last };
            self.ring[earlier].load = Load::Nothing;
            self.ring[earlier].state = State::Gone;
            self.compact();
            return;
        }
    }

    /// What the record at this place of the order carries, if it is lost and carries messages.
    fn lost_messages(&self, i: usize) -> Option<(Place, Priority, u64, u64)> {
        let place = (self.oldest + i) % N;
        match self.ring[place] {
            Record { state: State::Lost, load: Load::Messages { class, first, last }, .. } => {
                Some((Place(place), class, first, last))
            }
            _ => None,
        }
    }

    /// Whether a message of a class from one ordinal to another went in parts and is not settled.
    fn has_parts_within(&self, class: Priority, first: u64, last: u64) -> bool {
        self.carries(|load| match load {
            Load::Part { ticket, .. } | Load::Whole { ticket, .. } => {
                ticket.class == class && (first..=last).contains(&ticket.ordinal)
            }
            _ => false,
        })
    }

    /// Closes the gaps that records have left which are gone.
    fn compact(&mut self) {
        let mut kept = 0;
        for i in 0..self.len {
            let record = self.ring[(self.oldest + i) % N];
            if record.state != State::Gone {
                self.ring[(self.oldest + kept) % N] = record;
                kept += 1;
            }
        }
        self.len = kept;
    }

    /// A probe was sent that has no load and so no place here.
    pub(super) fn handle_empty_probe(&mut self) {
        self.probes = self.probes.saturating_sub(1);
    }

    /// Whether a record of them carries a load for which `is_such` holds.
    pub(super) fn carries(&self, is_such: impl Fn(&Load) -> bool) -> bool {
        (0..self.len).any(|i| is_such(&self.ring[(self.oldest + i) % N].load))
    }

    /// Forgets the measured silence, as the path is another one.
    pub(super) fn handle_path_change(&mut self) {
        self.timeouts = 0;
        self.measured_at = None;
    }

    /// Section 6.1, and section 7.6 for what is found.
    fn detect(&mut self, now: Instant, rtt: &Rtt, window: &mut Window) {
        self.loss_at = None;
        let Some(largest) = self.largest_acked else { return };
        let delay = rtt.loss_delay();
        let (mut newest_lost, mut silence) = (None, Silence::default());
        for i in 0..self.len {
            let record = &mut self.ring[(self.oldest + i) % N];
            if record.counter > largest {
                break;
            }
            if record.state != State::Flying {
                silence = Silence { longest: silence.longest, since: None };
                continue;
            }
            let lost_at = record.sent_at.after(delay);
            if lost_at > now && largest - record.counter < PACKET_THRESHOLD {
                self.loss_at = Some(self.loss_at.map_or(lost_at, |at| at.min(lost_at)));
                silence.since = None;
                continue;
            }
            record.state = if record.load == Load::Nothing { State::Gone } else { State::Lost };
            self.flying -= 1;
            self.flying_cost -= record.cost;
            window.handle_lost(u64::from(record.len));
            newest_lost = Some(record.sent_at);
            if self.measured_at.is_some_and(|since| record.sent_at > since) {
                silence.extend(record.sent_at);
            }
        }
        if let Some(sent_at) = newest_lost {
            window.handle_congestion(now, sent_at);
            if silence.longest > rtt.persistent_congestion() {
                window.handle_persistent_congestion();
            }
        }
        self.trim();
    }

    fn find(&self, is_such: impl Fn(&Record) -> bool) -> Option<(Place, Load)> {
        let places = (0..self.len).map(|i| (self.oldest + i) % N);
        places
            .map(|at| (Place(at), &self.ring[at]))
            .find(|(_, record)| is_such(record))
            .map(|(place, record)| (place, record.load))
    }

    /// Gives up the places at the front that nothing needs any more.
    fn trim(&mut self) {
        while self.len > 0 && self.ring[self.oldest].state == State::Gone {
            self.oldest = (self.oldest + 1) % N;
            self.len -= 1;
        }
    }
}

/// The longest span between two lost records with only lost ones between them.
#[derive(Clone, Copy, Debug, Default)]
struct Silence {
    since: Option<Instant>,
    longest: Duration,
}

impl Silence {
    fn extend(&mut self, sent_at: Instant) {
        let since = *self.since.get_or_insert(sent_at);
        self.longest = self.longest.max(sent_at.since(since));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::ops::RangeInclusive;
    use std::vec;
    use std::vec::Vec;

    const RTT: Duration = Duration::from_millis(100);
    const LEN: u32 = 1200;

    #[test]
    fn three_later_records_that_arrived_make_one_lost() {
        let mut scene = Scene::measured();
        (1..=5).for_each(|counter| scene.send(counter));

        scene.ack(&[2..=3]);
        assert!(scene.lost().is_empty());

        scene.ack(&[2..=4]);
        assert_eq!(scene.lost(), [1]);
    }

    #[test]
    fn a_round_trip_and_an_eighth_after_it_was_sent_a_passed_over_record_is_lost() {
        let mut scene = Scene::measured();
        scene.send(1);
        scene.wait(1);
        scene.send(2);
        scene.wait(100);

        scene.ack(&[2..=2]);
        assert!(scene.lost().is_empty());
        let due_at = scene.sent.due_at(&scene.rtt).unwrap();
        assert_eq!(due_at, at(101 + 11).after(Duration::from_micros(500)));

        scene.now = due_at;
        scene.timeout();
        assert_eq!(scene.lost(), [1]);
    }

    #[test]
    fn without_any_answer_nothing_is_lost_but_probes_are_owed_at_doubling_spans() {
        let mut scene = Scene::measured();
        scene.send(1);
        scene.send(2);
        let mut spans = vec![];

        for _ in 0..4 {
            let due_at = scene.sent.due_at(&scene.rtt).unwrap();
            spans.push(due_at.since(scene.now).as_millis());
            scene.now = due_at;
            scene.timeout();
            assert!(scene.sent.owes_probe());
        }

        // Smoothed 100 ms, variation 50 ms, 25 ms of the peer's delay: sections 6.2.1.
        assert_eq!(spans, [325, 650, 1300, 2600]);
        assert!(scene.lost().is_empty());
        scene.ack(&[2..=2]);
        assert!(!scene.sent.owes_probe());
    }

    #[test]
    fn a_record_thought_lost_that_arrived_after_all_needs_no_second_sending() {
        let mut scene = Scene::measured();
        (1..=4).for_each(|counter| scene.send(counter));
        scene.ack(&[4..=4]);
        assert_eq!(scene.lost(), [1]);

        scene.ack(&[1..=1, 4..=4]);

        assert!(scene.lost().is_empty());
        assert_eq!(scene.done(5), [1, 4]);
    }

    #[test]
    fn a_load_is_settled_when_its_record_has_arrived_and_the_application_is_done() {
        let mut scene = Scene::measured();
        (1..=3).for_each(|counter| scene.send(counter));

        scene.ack(&[2..=3]);
        assert_eq!(scene.done(3), [2]);
        scene.ack(&[1..=3]);
        assert_eq!(scene.done(4), [1, 3]);
        assert_eq!(scene.sent.len, 0);
    }

    #[test]
    fn what_is_sent_again_makes_room_and_what_is_left_of_it_stays_lost() {
        let mut scene = Scene::measured();
        scene.sent.push(Record {
            load: Load::Messages { class: Priority::Low, first: 1, last: 9 },
            ..scene.record(1)
        });
        (2..=4).for_each(|counter| scene.send(counter));
        scene.ack(&[2..=4]);

        let (place, _) = scene.sent.lost().unwrap();
        let rest = Load::Messages { class: Priority::Low, first: 5, last: 9 };
        scene.sent.reduce(place, rest);
        assert_eq!(scene.sent.lost(), Some((place, rest)));

        scene.sent.reduce(place, Load::Nothing);
        scene.done(5);
        assert!(scene.sent.lost().is_none() && scene.sent.len == 0);
    }

    #[test]
    fn three_probe_timeouts_of_silence_are_persistent_congestion() {
        // The second sample of 100 ms makes the variation 37.5 ms and the limit 825 ms.
        for (span, is_persistent) in [(800, false), (850, true)] {
            let mut scene = Scene::measured();
            scene.wait(1);
            scene.send(1);
            scene.wait(span);
            scene.send(2);
            (3..=5).for_each(|counter| scene.send(counter));
            scene.wait(100);

            scene.ack(&[5..=5]);

            assert_eq!(scene.lost(), [1, 2]);
            let mut room = 0;
            while scene.window.has_room() {
                scene.window.handle_sent(scene.now, u64::from(LEN), RTT);
                room += 1;
            }
            // Records 3 and 4 still fly: one was sent too recently to be lost.
            assert_eq!(room == 0, is_persistent, "{span}: {room}");
        }
    }

    #[test]
    fn an_answered_ping_tells_of_the_loss_of_what_was_sent_before() {
        let mut scene = Scene::measured();
        scene.send(1);
        scene.wait(500);

        scene.ack(&[9..=9]);

        assert_eq!(scene.lost(), [1]);
    }

    #[test]
    fn a_full_table_still_has_room_for_probes() {
        let mut scene = Scene::measured();
        let mut counter = 1;
        while scene.sent.has_room() {
            scene.send(counter);
            counter += 1;
        }

        scene.now = scene.sent.due_at(&scene.rtt).unwrap();
        scene.timeout();

        for probe in 0..PROBES as u64 {
            assert!(scene.sent.owes_probe() && scene.sent.has_room_for_probe());
            scene.send(counter + probe);
        }
        assert!(!scene.sent.owes_probe() && !scene.sent.has_room_for_probe());
    }

    #[test]
    fn a_table_full_of_lost_records_makes_room_and_forgets_no_message() {
        let mut scene = Scene::measured();
        for counter in 1..=16 {
            let load = Load::Messages { class: Priority::Low, first: 2 * counter, last: 2 * counter + 1 };
            scene.sent.push(Record { load, ..scene.record(counter) });
        }
        scene.wait(500);
        scene.ack(&[99..=99]);
        assert!(!scene.sent.has_room_for_probe());

        scene.sent.make_room();

        assert!(scene.sent.has_room_for_probe());
        let mut awaited = 2;
        while let Some((place, load)) = scene.sent.lost() {
            let Load::Messages { first, last, .. } = load else { panic!("{load:?}") };
            assert_eq!(first, awaited);
            awaited = last + 1;
            scene.sent.reduce(place, Load::Nothing);
        }
        assert_eq!(awaited, 34);
    }

    #[test]
    fn lost_records_on_either_side_of_a_message_in_parts_are_not_joined() {
        let mut scene = Scene::measured();
        let (messages, part) = (
            |first, last| Load::Messages { class: Priority::Low, first, last },
            |offset| Load::Part { ticket: Ticket { class: Priority::Low, ordinal: 2 }, offset, len: 1000 },
        );
        let parts = (0..12).map(|i| part(i * 1000));
        let loads =
            [messages(1, 1)].into_iter().chain(parts).chain([messages(3, 3), messages(4, 6), part(12_000)]);
        for (counter, load) in (1..).zip(loads) {
            scene.sent.push(Record { load, ..scene.record(counter) });
        }
        scene.wait(500);
        scene.ack(&[99..=99]);

        scene.sent.make_room();

        let ring = (0..scene.sent.len).map(|i| scene.sent.ring[(scene.sent.oldest + i) % 16].load);
        let kept: Vec<_> = ring.filter(|load| matches!(load, Load::Messages { .. })).collect();
        assert_eq!(kept, [messages(1, 1), messages(3, 6)]);
    }

    #[test]
    fn a_lost_record_before_many_that_are_gone_can_be_sent_again() {
        let mut scene = Scene::measured();
        let load = Load::Messages { class: Priority::Low, first: 1, last: 1 };
        (1..=16).for_each(|counter| scene.sent.push(Record { load, ..scene.record(counter) }));
        scene.ack(&[2..=16]);
        scene.done(17);
        assert!(!scene.sent.has_room_for_probe());

        scene.sent.make_room();

        assert!(scene.sent.has_room_for_probe());
        assert_eq!(scene.sent.lost().map(|(_, load)| load), Some(load));
    }

    struct Scene {
        sent: Sent<16>,
        rtt: Rtt,
        window: Window,
        now: Instant,
    }

    impl Scene {
        /// A round trip of 100 ms was measured with record 0.
        fn measured() -> Self {
            let now = at(0);
            let mut scene = Self { sent: Sent::new(now), rtt: Rtt::default(), window: Window::new(now), now };
            scene.rtt.handle_sample(RTT, Duration::ZERO);
            scene.sent.measured_at = Some(now);
            scene
        }

        fn record(&self, counter: u64) -> Record {
            let load = Load::Messages { class: Priority::Low, first: counter, last: counter };
            Record { counter, sent_at: self.now, len: LEN, cost: 1000, load, state: State::Flying }
        }

        fn send(&mut self, counter: u64) {
            self.sent.push(self.record(counter));
            self.window.handle_sent(self.now, u64::from(LEN), RTT);
        }

        fn wait(&mut self, millis: u64) {
            self.now = self.now.after(Duration::from_millis(millis));
        }

        fn ack(&mut self, ranges: &[RangeInclusive<u64>]) {
            let ranges = Ranges::new(Duration::ZERO, ranges.iter().rev().cloned()).unwrap();
            let Self { sent, rtt, window, now } = self;
            sent.handle_ranges(*now, &ranges, rtt, window, |_, load| load);
            // The tests speak of a round trip that stays.
            *rtt = Rtt::default();
            rtt.handle_sample(RTT, Duration::ZERO);
        }

        fn timeout(&mut self) {
            self.sent.handle_timeout(self.now, &self.rtt, &mut self.window);
        }

        fn done(&mut self, done: u64) -> Vec<u64> {
            let mut settled = vec![];
            self.sent.handle_done(done, |load| {
                if let Load::Messages { first, .. } = load {
                    settled.push(first);
                }
            });
            settled
        }

        fn lost(&self) -> Vec<u64> {
            let records = (0..self.sent.len).map(|i| &self.sent.ring[(self.sent.oldest + i) % 16]);
            records.filter(|record| record.state == State::Lost).map(|record| record.counter).collect()
        }
    }

    fn at(millis: u64) -> Instant {
        Instant::from_micros((1000 + millis) * 1000)
    }
}
