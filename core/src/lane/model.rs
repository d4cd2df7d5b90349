//! Two lanes with their disks and a network that reorders, doubles and loses what they say, and crashes of either side at every
//! point: what the promise says, word for word, holds after every step, and nothing is left behind in the end.

use super::{ReceiveLane, SendLane};
use crate::ids::Priority;
use crate::wire::delivery::{Arrived, Lane, LaneRefusal, LaneState};
use crate::wire::reason::Reason;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, RngSeed};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::vec;
use std::vec::Vec;

proptest! {
    #![proptest_config(repeatable(600))]

    #[test]
    fn the_promise_holds_whatever_crashes_and_gets_lost(steps in prop::collection::vec(step(), 1..400)) {
        let mut world = World::new();

        for step in steps {
            world.take(step);
            world.check();
        }

        world.come_to_rest();
    }

}

proptest! {
    #![proptest_config(repeatable(12))]

    #[test]
    fn more_than_a_window_behind_one_number_passes_when_it_is_settled(
        hold in 1..1024_u64,
        cancel in any::<bool>(),
        crash in any::<bool>(),
    ) {
        let mut world = World::new();
        world.take(Step::Accept(3000));
        world.settle_disks();
        world.take(Step::StartSession);
        world.exchange_holding_back(hold);
        let handed_while_held = world.handed.keys().max().copied().unwrap_or_default();

        if crash { world.take(Step::CrashSender(0)); }
        if cancel { world.take(Step::CancelNumber(hold)); }
        world.come_to_rest();

        prop_assert_eq!(handed_while_held, hold + 1023);
        prop_assert!(world.handed.keys().max() == Some(&3000));
    }
}

fn repeatable(cases: u32) -> Config {
    Config {
        cases,
        max_shrink_iters: 20_000,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(0x1A4E),
        ..Config::default()
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Accept(u64),
    Cancel(u16),
    CancelNumber(u64),
    StartSession,
    EndSession,
    /// The sender says and sends all it may, or so much of it.
    Send(u8),
    /// One of the messages under way arrives, whichever; and perhaps stays under way.
    ToReceiver(u16, bool),
    ToSender(u16, bool),
    LoseToReceiver(u16),
    LoseToSender(u16),
    Commit(u16),
    Release(u16),
    /// The receiver refuses what its application was to have.
    Refuse(u16),
    /// The receiver has no memory for what its application was to have, lets go of it and asks for it again.
    AskAgain(u16),
    /// One of the refusals under way arrives, whichever, and perhaps stays; or it is lost.
    RefusalToSender(u16, bool),
    LoseRefusal(u16),
    Save,
    /// So many writes become durable.
    SyncSender(u8),
    SyncReceiver(u8),
    /// So many writes were durable, and nobody heard.
    CrashSender(u8),
    CrashReceiver(u8),
    Evict,
    WipeSender,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..4_u64).prop_map(Step::Accept),
        1 => (200..900_u64).prop_map(Step::Accept),
        2 => any::<u16>().prop_map(Step::Cancel),
        4 => Just(Step::StartSession),
        1 => Just(Step::EndSession),
        8 => any::<u8>().prop_map(Step::Send),
        14 => (any::<u16>(), prop::bool::weighted(0.1)).prop_map(|(at, stays)| Step::ToReceiver(at, stays)),
        10 => (any::<u16>(), prop::bool::weighted(0.1)).prop_map(|(at, stays)| Step::ToSender(at, stays)),
        1 => any::<u16>().prop_map(Step::LoseToReceiver),
        1 => any::<u16>().prop_map(Step::LoseToSender),
        12 => any::<u16>().prop_map(Step::Commit),
        2 => any::<u16>().prop_map(Step::Release),
        3 => any::<u16>().prop_map(Step::Refuse),
        3 => any::<u16>().prop_map(Step::AskAgain),
        3 => (any::<u16>(), prop::bool::weighted(0.1)).prop_map(|(at, stays)| Step::RefusalToSender(at, stays)),
        1 => any::<u16>().prop_map(Step::LoseRefusal),
        6 => Just(Step::Save),
        10 => (1..6_u8).prop_map(Step::SyncSender),
        8 => (1..4_u8).prop_map(Step::SyncReceiver),
        1 => (0..4_u8).prop_map(Step::CrashSender),
        1 => (0..4_u8).prop_map(Step::CrashReceiver),
        1 => Just(Step::Evict),
        1 => prop::bool::weighted(0.05).prop_map(|wipe| if wipe { Step::WipeSender } else { Step::Save }),
    ]
}

/// What is to be written, in order.
#[derive(Clone, Copy, Debug)]
enum Write {
    Append(u64),
    Mark(u64),
    Remove { number: u64, skip: bool },
}

#[derive(Clone, Debug)]
struct SenderDisk {
    epoch: u64,
    mark: u64,
    next: u64,
    messages: BTreeSet<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Packet {
    Lane(Lane),
    Message { epoch: u64, number: u64 },
}

struct World {
    sender: SendLane,
    /// Stored or being stored, without a fate.
    outstanding: BTreeSet<u64>,
    /// Not stored yet.
    pending: BTreeSet<u64>,
    cancelled: BTreeSet<u64>,
    disk: SenderDisk,
    writes: VecDeque<Write>,

    receiver: Option<ReceiveLane>,
    /// What the application holds: of which life of the lane, and which number.
    held: Vec<(u64, u64)>,
    /// A snapshot that is made durable, and who waits to hear.
    kept: Option<(u64, Arrived)>,
    saves: VecDeque<(u64, Arrived)>,
    /// The life of the lane that was durable once since the receiver started.
    opened: Option<u64>,

    is_up: bool,
    /// Whether the receiver was told of the lane in this session, and has answered.
    is_told: bool,
    answers: bool,
    to_receiver: Vec<Packet>,
    to_sender: Vec<LaneState>,
    refusals: Vec<LaneRefusal>,
    /// What the receiver refuses in this session: of which life, and which number.
    refused: BTreeSet<(u64, u64)>,
    /// What the sender was told is refused.
    failed: BTreeSet<u64>,

    /// Everything the application has committed.
    committed: BTreeSet<u64>,
    handed: BTreeMap<u64, u32>,
    accepted: BTreeSet<u64>,
    /// Those of which the sender was told that nobody knows, or that were cancelled.
    excused: BTreeSet<u64>,
    evictions: u32,
}

impl World {
    fn new() -> Self {
        let disk = SenderDisk { epoch: 1, mark: 1, next: 1, messages: BTreeSet::new() };
        Self {
            sender: SendLane::new(Priority::High, 1),
            outstanding: BTreeSet::new(),
            pending: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            disk,
            writes: VecDeque::new(),
            receiver: None,
            held: Vec::new(),
            kept: None,
            saves: VecDeque::new(),
            opened: None,
            is_up: false,
            is_told: false,
            answers: false,
            to_receiver: Vec::new(),
            to_sender: Vec::new(),
            refusals: Vec::new(),
            refused: BTreeSet::new(),
            failed: BTreeSet::new(),
            committed: BTreeSet::new(),
            handed: BTreeMap::new(),
            accepted: BTreeSet::new(),
            excused: BTreeSet::new(),
            evictions: 0,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Accept(count) => (0..count).for_each(|_| {
                let number = self.sender.accept();
                self.outstanding.insert(number);
                self.pending.insert(number);
                self.writes.push_back(Write::Append(number));
            }),
            Step::Cancel(at) => {
                if let Some(&number) = nth(&self.outstanding, at) {
                    self.cancel(number);
                }
            }
            Step::CancelNumber(number) => self.cancel(number),
            Step::StartSession => {
                self.end_session();
                self.is_up = true;
                self.sender.handle_session_start();
            }
            Step::EndSession => self.end_session(),
            Step::Send(limit) => self.send(u32::from(limit)),
            Step::ToReceiver(at, stays) => {
                if let Some(packet) = pick(&mut self.to_receiver, at, stays) {
                    self.arrive(packet);
                }
            }
            Step::ToSender(at, stays) => {
                if let Some(state) = pick(&mut self.to_sender, at, stays) {
                    self.hear(&state);
                }
            }
            Step::LoseToReceiver(at) => drop(pick(&mut self.to_receiver, at, false)),
            Step::LoseToSender(at) => drop(pick(&mut self.to_sender, at, false)),
            Step::Commit(at) => {
                if let Some((epoch, number)) = pick(&mut self.held, at, false) {
                    self.commit(epoch, number);
                }
            }
            Step::Release(at) => {
                if let Some((epoch, number)) = pick(&mut self.held, at, false)
                    && let Some(lane) = self.receiver.as_mut().filter(|lane| lane.epoch() == epoch)
                {
                    lane.release(number);
                }
            }
            Step::Refuse(at) => {
                if let Some((epoch, number)) = pick(&mut self.held, at, false)
                    && self.receiver.as_ref().is_some_and(|l| l.epoch() == epoch && l.has_taken(number))
                {
                    self.refuse(epoch, number);
                }
            }
            Step::AskAgain(at) => {
                if let Some((epoch, number)) = pick(&mut self.held, at, false)
                    && let Some(lane) = self.receiver.as_mut().filter(|lane| lane.epoch() == epoch)
                {
                    lane.release(number);
                    self.tell_refusal(epoch, number, Reason::NoRoom);
                }
            }
            Step::RefusalToSender(at, stays) => {
                if let Some(refusal) = pick(&mut self.refusals, at, stays) {
                    self.hear_refusal(&refusal);
                }
            }
            Step::LoseRefusal(at) => drop(pick(&mut self.refusals, at, false)),
            Step::Save => {
                if let Some(lane) = self.receiver.as_ref().filter(|lane| lane.is_unsaved()) {
                    self.saves.push_back((lane.epoch(), lane.snapshot()));
                }
            }
            Step::SyncSender(count) => (0..count).for_each(|_| self.sync_sender(true)),
            Step::SyncReceiver(count) => (0..count).for_each(|_| self.sync_receiver(true)),
            Step::CrashSender(written) => {
                (0..written).for_each(|_| self.sync_sender(false));
                self.crash_sender();
            }
            Step::CrashReceiver(written) => {
                (0..written).for_each(|_| self.sync_receiver(false));
                self.crash_receiver();
            }
            Step::Evict => {
                self.kept = None;
                self.evictions += 1;
                if !self.is_up {
                    self.receiver = None;
                    self.opened = None;
                    self.refused.clear();
                }
            }
            Step::WipeSender => {
                self.excused.extend(&self.outstanding);
                let epoch = self.disk.epoch + 1;
                self.disk = SenderDisk { epoch, mark: 1, next: 1, messages: BTreeSet::new() };
                // The books are those of one life.
                self.committed.clear();
                self.handed.clear();
                self.accepted.clear();
                self.excused.clear();
                self.failed.clear();
                self.crash_sender();
                self.sender = SendLane::new(Priority::High, epoch);
            }
        }
    }

    fn cancel(&mut self, number: u64) {
        if self.outstanding.contains(&number)
            && !self.pending.contains(&number)
            && self.cancelled.insert(number)
        {
            self.writes.push_back(Write::Remove { number, skip: true });
        }
    }

    fn send(&mut self, limit: u32) {
        if let Some(mark) = self.sender.poll_mark() {
            self.writes.push_back(Write::Mark(mark));
        }
        if !self.is_up {
            assert_eq!(self.sender.poll_next(), None);
            return;
        }
        if let Some(lane) = self.sender.poll_lane() {
            self.to_receiver.push(Packet::Lane(lane));
        }
        for _ in 0..limit {
            let Some(number) = self.sender.poll_next() else { break };
            if self.pending.contains(&number) {
                break;
            }
            if self.cancelled.contains(&number) {
                self.sender.pass(number);
            } else if self.outstanding.contains(&number) {
                assert!(number < self.disk.mark, "sent beyond the mark");
                self.sender.handle_sent(number);
                self.to_receiver.push(Packet::Message { epoch: self.disk.epoch, number });
            } else {
                self.sender.settle(number);
            }
        }
    }

    fn arrive(&mut self, packet: Packet) {
        match packet {
            Packet::Lane(lane) => {
                let known = self.receiver.as_mut().filter(|known| known.epoch() == lane.epoch);
                let is_first = !std::mem::replace(&mut self.is_told, true);
                match known {
                    Some(known) => {
                        if is_first {
                            // They are judged anew.
                            let refused = std::mem::take(&mut self.refused).into_iter();
                            refused
                                .filter(|(epoch, _)| *epoch == lane.epoch)
                                .for_each(|(_, n)| known.release(n));
                        }
                        assert_eq!(known.handle_lane(&lane, is_first), Ok(()));
                        if self.opened == Some(lane.epoch) {
                            self.answers = true;
                            self.tell();
                        }
                    }
                    None => {
                        let opened = ReceiveLane::open(&lane);
                        self.saves.push_back((lane.epoch, opened.snapshot()));
                        self.receiver = Some(opened);
                        self.refused.clear();
                    }
                }
            }
            Packet::Message { epoch, number } => {
                assert!(self.answers, "a message before the lane was ready");
                let lane = self.receiver.as_mut().expect("the lane is there");
                assert_eq!(lane.epoch(), epoch);
                match lane.take(number) {
                    Ok(()) => {
                        let is_durable = self.kept.is_some_and(|(kept, arrived)| {
                            kept == epoch && arrived.contains(number) && number >= arrived.since
                        });
                        assert!(!is_durable, "{number} was handed out after it was remembered durably");
                        assert!(!self.held.contains(&(epoch, number)), "{number} was handed out twice");
                        assert!(
                            !self.failed.contains(&number),
                            "{number} was handed out, and called refused"
                        );
                        self.held.push((epoch, number));
                        *self.handed.entry(number).or_default() += 1;
                    }
                    Err(Reason::Duplicate) => {}
                    Err(reason) => panic!("{number}: {reason}"),
                }
            }
        }
    }

    fn hear(&mut self, state: &LaneState) {
        let mut bytes = [0; LaneState::MAX_LEN];
        let len = state.encode(&mut bytes).expect("it fits");
        assert_eq!(LaneState::decode(&bytes[..len]), Ok(*state));

        let fates = self.sender.handle_state(state, true).expect("the receiver is honest");
        let delivered = fates.delivered.clone().chain(fates.others());
        for number in delivered {
            if self.outstanding.remove(&number) {
                let was_cancelled = self.cancelled.contains(&number);
                assert!(was_cancelled || self.committed.contains(&number), "{number} is called delivered");
                self.writes.push_back(Write::Remove { number, skip: false });
            }
        }
        for number in fates.unknown.clone() {
            if self.outstanding.remove(&number) {
                assert!(self.evictions > 0, "{number} is called unknown");
                self.excused.insert(number);
                self.writes.push_back(Write::Remove { number, skip: false });
            }
        }
    }

    fn refuse(&mut self, epoch: u64, number: u64) {
        self.refused.insert((epoch, number));
        self.tell_refusal(epoch, number, Reason::NoReceiver);
    }

    fn tell_refusal(&mut self, epoch: u64, number: u64, reason: Reason) {
        if self.is_up && self.is_told {
            let code = reason.code();
            self.refusals.push(LaneRefusal { class: Priority::High, epoch, code, first: number, count: 1 });
        }
    }

    fn hear_refusal(&mut self, refusal: &LaneRefusal) {
        for number in self.sender.handle_refusal(refusal, true).expect("the receiver is honest") {
            let has_no_fate = self.outstanding.contains(&number) && !self.cancelled.contains(&number);
            if has_no_fate {
                assert!(!self.committed.contains(&number), "{number} is committed, and called refused");
                self.failed.insert(number);
                self.cancel(number);
            }
        }
    }

    fn commit(&mut self, epoch: u64, number: u64) {
        if epoch == self.disk.epoch {
            self.committed.insert(number);
        }
        if let Some(lane) = self.receiver.as_mut().filter(|lane| lane.epoch() == epoch) {
            lane.commit(number);
        }
    }

    /// The receiver tells what it has, if it may.
    fn tell(&mut self) {
        if self.is_up
            && self.answers
            && let Some(lane) = &self.receiver
        {
            let state = lane.state();
            let arrived = state.arrived.expect("it is not refused");
            if let Some((epoch, kept)) = self.kept.filter(|_| self.evictions == 0) {
                assert_eq!(epoch, lane.epoch());
                let skipped = |number| !self.committed.contains(&number);
                let mut told = (arrived.since..arrived.base).chain(super::window::numbers(&arrived));
                assert!(told.all(|number| kept.contains(number) || skipped(number)), "told, not kept");
            }
            self.to_sender.push(state);
        }
    }

    fn sync_sender(&mut self, is_heard: bool) {
        let Some(write) = self.writes.pop_front() else { return };
        match write {
            Write::Append(number) => {
                self.disk.messages.insert(number);
                self.disk.next = self.disk.next.max(number + 1);
                if is_heard {
                    self.pending.remove(&number);
                    self.accepted.insert(number);
                }
            }
            Write::Mark(mark) => {
                self.disk.mark = self.disk.mark.max(mark);
                if is_heard {
                    self.sender.handle_marked(mark);
                }
            }
            Write::Remove { number, skip } => {
                self.disk.messages.remove(&number);
                if skip {
                    self.excused.insert(number);
                }
                if is_heard && skip {
                    self.outstanding.remove(&number);
                    self.cancelled.remove(&number);
                    self.sender.settle(number);
                }
            }
        }
    }

    fn sync_receiver(&mut self, is_heard: bool) {
        let Some((epoch, arrived)) = self.saves.pop_front() else { return };
        self.kept = Some((epoch, arrived));
        if is_heard && let Some(lane) = self.receiver.as_mut().filter(|lane| lane.epoch() == epoch) {
            lane.handle_saved(&arrived);
            self.opened = Some(epoch);
            self.answers |= self.is_told;
            self.tell();
        }
    }

    fn crash_sender(&mut self) {
        self.writes.clear();
        self.cancelled.clear();
        self.pending.clear();
        self.outstanding = self.disk.messages.clone();
        // Whoever was told of these is gone, and they are sent again.
        self.failed.retain(|number| !self.disk.messages.contains(number));
        let SenderDisk { epoch, mark, next, .. } = self.disk;
        let base = self.outstanding.first().copied().unwrap_or(next);
        self.sender = SendLane::restore(Priority::High, epoch, base, mark, next);
        self.end_session();
    }

    fn crash_receiver(&mut self) {
        self.saves.clear();
        self.held.clear();
        self.refused.clear();
        let restored = |(epoch, arrived)| ReceiveLane::restore(Priority::High, epoch, &arrived);
        self.receiver = self.kept.map(restored);
        self.opened = self.kept.map(|(epoch, _)| epoch);
        self.end_session();
    }

    fn end_session(&mut self) {
        self.is_up = false;
        self.is_told = false;
        self.answers = false;
        self.to_receiver.clear();
        self.to_sender.clear();
        self.refusals.clear();
        self.sender.handle_session_end();
    }

    fn check(&self) {
        let missing = |number: &&u64| {
            !self.outstanding.contains(number)
                && !self.committed.contains(number)
                && !self.excused.contains(number)
        };
        assert_eq!(self.accepted.iter().find(missing), None, "accepted, and nowhere");
    }

    fn settle_disks(&mut self) {
        while !self.writes.is_empty() {
            self.sync_sender(true);
        }
        while !self.saves.is_empty() {
            self.sync_receiver(true);
        }
    }

    /// One session goes on until nothing moves, while the application keeps one number to itself.
    fn exchange_holding_back(&mut self, kept: u64) {
        loop {
            let before = (self.outstanding.len(), self.committed.len());
            self.send(10_000);
            self.settle_disks();
            while !self.to_receiver.is_empty() {
                self.take(Step::ToReceiver(0, false));
            }
            let (held, free) = std::mem::take(&mut self.held).into_iter().partition(|&(_, n)| n == kept);
            self.held = held;
            for (epoch, number) in Vec::from_iter(free) {
                self.commit(epoch, number);
            }
            self.take(Step::Save);
            self.settle_disks();
            while !self.refusals.is_empty() {
                self.take(Step::RefusalToSender(0, false));
            }
            while !self.to_sender.is_empty() {
                self.take(Step::ToSender(0, false));
            }
            self.settle_disks();
            self.check();
            let is_still = before == (self.outstanding.len(), self.committed.len());
            if is_still && self.to_receiver.is_empty() && !self.sends_something() {
                break;
            }
        }
    }

    /// Whether the sender has something to say or to send.
    fn sends_something(&mut self) -> bool {
        self.send(10_000);
        !self.writes.is_empty() || !self.to_receiver.is_empty()
    }

    /// Nothing goes wrong any more: every message meets its fate.
    fn come_to_rest(&mut self) {
        self.settle_disks();
        self.take(Step::StartSession);
        self.exchange_holding_back(u64::MAX);

        assert!(self.outstanding.is_empty(), "without a fate: {:?}", self.outstanding);
        assert!(self.sender.is_idle());
        let lost = |number: &&u64| !self.committed.contains(number) && !self.excused.contains(number);
        assert_eq!(self.accepted.iter().find(lost), None, "accepted and lost");
    }
}

fn nth(numbers: &BTreeSet<u64>, at: u16) -> Option<&u64> {
    numbers.iter().nth(usize::from(at) % numbers.len().max(1))
}

/// Something of a bag, which it leaves unless it `stays`.
fn pick<T: Copy>(bag: &mut Vec<T>, at: u16, stays: bool) -> Option<T> {
    if bag.is_empty() {
        return None;
    }
    let at = usize::from(at) % bag.len();
    Some(if stays { bag[at] } else { bag.remove(at) })
}
