//! The outbox against a model that is too naive to be wrong: a list of every message ever pushed and its state.
//!
//! Sessions over streams and over datagrams alternate. Of what a session over datagrams may do, the steps leave out only what it
//! never does: it settles no message that it has not taken.

use super::tests::assert_balanced;
use super::*;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

const SLOTS: usize = 12;
const BYTES: usize = 512;

#[derive(Clone, Copy, Debug)]
enum Step {
    Push {
        class: Priority,
        len: usize,
        ttl: u32,
        reliability: Reliability,
    },
    MakeRoom {
        class: Priority,
        len: usize,
    },
    Next,
    /// Takes so many bytes, or all if there are no more.
    NextAndTake {
        len: usize,
    },
    Take {
        len: usize,
    },
    Cancel {
        class: Priority,
        ordinal: u64,
    },
    RecordWritten,
    Ack {
        behind: u64,
    },
    SessionStart {
        max: u32,
    },
    DatagramSessionStart {
        max: u32,
        piece_len: u16,
    },
    /// A record is lost, or a probe is due: asks for the first message of its load that is to be written again, and for no
    /// other of it.
    Retained {
        class: Priority,
        from: u64,
        more: u64,
    },
    /// The same for a part.
    RetainedPart {
        class: Priority,
        ordinal: u64,
        offset: u32,
        len: u32,
    },
    /// The peer is done with these, perhaps long after they were written again.
    Delivered {
        class: Priority,
        first: u64,
        more: u64,
    },
    /// The abandonment of the class is lost: asks for it again.
    Abandonment {
        class: Priority,
    },
    AbandonmentArrived {
        class: Priority,
    },
    PartsArrived {
        class: Priority,
    },
    SessionEnd,
    Wait {
        millis: u64,
    },
    Timeout,
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let class = prop::sample::select(Priority::ALL.to_vec());
    let (pushed, made_room_for) = (class.clone(), class.clone());
    let of_class = || prop::sample::select(Priority::ALL.to_vec());
    let max = || prop::sample::select(vec![40, 70, u32::MAX]);
    let len = || prop_oneof![0..80_usize, 0..80_usize, Just(BYTES), Just(BYTES + 1)];
    let ttl = prop::sample::select(vec![0, 1, 2, 5, 60]);
    let reliability = prop::sample::select(Reliability::ALL.to_vec());
    prop_oneof![
        12 => (pushed, len(), ttl, reliability)
            .prop_map(|(class, len, ttl, reliability)| Step::Push { class, len, ttl, reliability }),
        3 => (made_room_for, len()).prop_map(|(class, len)| Step::MakeRoom { class, len }),
        2 => Just(Step::Next),
        6 => Just(Step::NextAndTake { len: usize::MAX }),
        4 => (0..100_usize).prop_map(|len| Step::NextAndTake { len }),
        1 => prop::sample::select(vec![0, 10, usize::MAX]).prop_map(|len| Step::Take { len }),
        1 => (class, 0..30_u64).prop_map(|(class, ordinal)| Step::Cancel { class, ordinal }),
        6 => Just(Step::RecordWritten),
        3 => (0..12_u64).prop_map(|behind| Step::Ack { behind }),
        1 => max().prop_map(|max| Step::SessionStart { max }),
        2 => (max(), prop::sample::select(vec![10, 40])).prop_map(|(max, piece_len)| Step::DatagramSessionStart { max, piece_len }),
        4 => (of_class(), 0..30_u64, 0..8_u64).prop_map(|(class, from, more)| Step::Retained { class, from, more }),
        3 => (of_class(), 0..30_u64, 0..90_u32, 0..40_u32)
            .prop_map(|(class, ordinal, offset, len)| Step::RetainedPart { class, ordinal, offset, len }),
        5 => (of_class(), 1..30_u64, 0..8_u64).prop_map(|(class, first, more)| Step::Delivered { class, first, more }),
        2 => of_class().prop_map(|class| Step::PartsArrived { class }),
        2 => of_class().prop_map(|class| Step::Abandonment { class }),
        2 => of_class().prop_map(|class| Step::AbandonmentArrived { class }),
        1 => Just(Step::SessionEnd),
        4 => (0..1500_u64).prop_map(|millis| Step::Wait { millis }),
        1 => Just(Step::Timeout),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn fixed_storage_behaves_like_the_model(steps in prop::collection::vec(step(), 1..200)) {
        compare(FixedStorage::<BYTES, SLOTS, Vec<Fate>>::with_ledger(Vec::new()), SLOTS, &steps);
    }

    #[cfg(feature = "alloc")]
    #[test]
    fn shared_storage_behaves_like_the_model(steps in prop::collection::vec(step(), 1..200)) {
        let storage = SharedStorage::with_ledger(SLOTS, BYTES, Vec::new());
        compare(storage, SLOTS * SharedStorage::<()>::HELD, &steps);
    }
}

/// `held` messages may wait and be under way.
fn compare<S: Storage<Ledger = Vec<Fate>>>(storage: S, held: usize, steps: &[Step]) {
    let (mut outbox, mut model) = (Outbox::new(storage), Model { held, ..Model::default() });
    let (mut now, mut counter) = (Instant::ZERO, 0);

    for &step in steps {
        match step {
            Step::Push { class, len, ttl, reliability } => {
                // So far apart that a dozen messages are more than a receiver remembers.
                let sequence = model.messages.len() as u64 * 100;
                let header =
                    Header { kind: 3, priority: class, reliability, sequence, ttl, ..Header::default() };
                let payload = vec![model.messages.len() as u8; len];
                let pushed = outbox.push(now, header, Payload::Copied(&payload));
                assert_eq!(pushed, model.push(now, header, payload), "{step:?}");
            }
            Step::MakeRoom { class, len } => {
                assert_eq!(outbox.make_room(now, len, class), model.make_room(now, len, class), "{step:?}");
            }
            Step::Next => compare_next(&mut outbox, &mut model, now),
            Step::NextAndTake { len } => {
                compare_next(&mut outbox, &mut model, now);
                let len = model.share(len);
                outbox.take(len);
                model.take(len);
            }
            Step::Take { len } => {
                let len = model.share(len);
                outbox.take(len);
                model.take(len);
            }
            Step::Cancel { class, ordinal } => {
                let ticket = Ticket { class, ordinal };
                assert_eq!(outbox.cancel(ticket), model.cancel(ticket), "{step:?}");
            }
            Step::RecordWritten if model.datagrams.is_none() => {
                outbox.handle_record_written(counter);
                model.record_written(counter);
                counter += 1;
            }
            Step::Ack { behind } if model.datagrams.is_none() => {
                let through = counter.saturating_sub(behind);
                outbox.handle_ack(through);
                model.ack(through);
            }
            Step::SessionStart { max } => {
                outbox.handle_session_start(max);
                model.session_end();
                model.peer_max = Some(max);
                counter = 0;
            }
            Step::DatagramSessionStart { max, piece_len } => {
                outbox.handle_datagram_session_start(max, piece_len);
                model.session_end();
                model.peer_max = Some(max);
                model.datagrams = Some(Datagrams { piece_len, parted: [false; 4] });
            }
            Step::Retained { class, from, more } if model.datagrams.is_some() => {
                let shown = outbox.retained(now, class, from, from + more);
                assert_eq!(shown, model.retained(now, class, from, from + more), "{step:?}");
            }
            Step::RetainedPart { class, ordinal, offset, len } if model.datagrams.is_some() => {
                let ticket = Ticket { class, ordinal };
                let shown = outbox.retained_part(now, ticket, offset, len);
                assert_eq!(shown, model.retained_part(now, ticket, offset, len), "{step:?}");
            }
            Step::Delivered { class, first, more } if model.has_taken_all(class, first, first + more) => {
                outbox.handle_delivered(class, first, first + more);
                model.delivered(class, first, first + more);
            }
            Step::Abandonment { class } => {
                assert_eq!(outbox.abandonment(class), model.abandonment(class), "{step:?}");
            }
            Step::AbandonmentArrived { class } => {
                outbox.handle_abandonment_arrived(class);
                model.abandonment_arrived(class);
            }
            Step::PartsArrived { class } => {
                outbox.handle_parts_arrived(class);
                model.parts_arrived(class);
            }
            // What the session of this kind never does.
            Step::RecordWritten
            | Step::Ack { .. }
            | Step::Retained { .. }
            | Step::RetainedPart { .. }
            | Step::Delivered { .. } => {}
            Step::SessionEnd => {
                outbox.handle_session_end();
                model.session_end();
                counter = 0;
            }
            Step::Wait { millis } => now = now.after(Duration::from_millis(millis)),
            Step::Timeout => {
                outbox.handle_timeout(now);
                model.expire(now);
            }
            Step::Clear => {
                outbox.clear(Reason::Shutdown);
                model.withdraw_where(|m| m.state == State::Queued);
                model.drop_where(|m| m.state == State::Queued, Reason::Shutdown);
            }
        }
        model.learn(&core::mem::take(outbox.ledger()));
        model.compare(&outbox);
        assert_balanced(&outbox);
    }
}

fn compare_next<S: Storage>(outbox: &mut Outbox<S>, model: &mut Model, now: Instant) {
    let shown = outbox.next(now);
    model.next(now);
    let expected = match model.shown {
        None => None,
        Some(Shown::Message(i)) => {
            let message = &model.messages[i];
            let part = (message.written > 0).then(|| message.part(message.written));
            let (waited, payload) = (now.since(message.pushed_at), &message.payload[message.written..]);
            Some(Next { header: &message.header, waited, payload, part })
        }
        Some(Shown::Abandonment(i)) => {
            let message = &model.messages[i];
            let part = Some(message.part(message.payload.len()));
            Some(Next { header: &message.header, waited: Duration::ZERO, payload: &[], part })
        }
    };
    assert_eq!(shown, expected);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Queued,
    InFlight,
    Confirmed,
    Unconfirmed,
    Withdrawn,
    Dropped(Reason),
}

struct Message {
    header: Header,
    ticket: Ticket,
    payload: Vec<u8>,
    pushed_at: Instant,
    state: State,
    /// Bytes that this session has written of it.
    written: usize,
    /// Whether all of it was ever taken.
    was_taken: bool,
    /// Whether it takes up room until it is settled.
    is_kept: bool,
    /// Whether it was dropped when some bytes were written, and the peer does not know.
    is_abandoned: bool,
    /// Whether the peer was told so over datagrams, and may not have heard.
    is_told: bool,
    /// What the ledger was told.
    told: Option<State>,
}

#[derive(Clone, Copy)]
enum Shown {
    Message(usize),
    Abandonment(usize),
}

#[derive(Default)]
struct Model {
    /// How many messages may wait and be under way.
    held: usize,
    messages: Vec<Message>,
    shown: Option<Shown>,
    open: Vec<usize>,
    records: Vec<(u64, Vec<usize>)>,
    passed_over: [usize; 4],
    peer_max: Option<u32>,
    /// The session is one over datagrams.
    datagrams: Option<Datagrams>,
}

struct Datagrams {
    piece_len: u16,
    /// Classes of which a message went in parts that have not all arrived.
    parted: [bool; 4],
}

impl Model {
    fn push(&mut self, now: Instant, header: Header, payload: Vec<u8>) -> Result<Ticket, SendError> {
        let max = self.peer_max.unwrap_or(u32::MAX).min(BYTES as u32);
        if payload.len() > max as usize {
            return Err(SendError::TooLong { max });
        }
        if !self.has_room(payload.len()) {
            self.expire(now);
        }
        if !self.has_room(payload.len()) {
            return Err(SendError::QueueFull);
        }
        let class = header.priority;
        if self.queue(class).next().is_none() {
            self.passed_over[class as usize] = 0;
        }
        let ordinal = self.messages.iter().filter(|m| m.header.priority == class).count() as u64 + 1;
        let ticket = Ticket { class, ordinal };
        self.messages.push(Message {
            header,
            ticket,
            payload,
            pushed_at: now,
            state: State::Queued,
            written: 0,
            was_taken: false,
            is_kept: false,
            is_abandoned: false,
            is_told: false,
            told: None,
        });
        Ok(ticket)
    }

    /// Sheds as naively as can be: tries on a copy of the states whether it suffices.
    fn make_room(&mut self, now: Instant, len: usize, priority: Priority) -> bool {
        if len > self.peer_max.unwrap_or(u32::MAX).min(BYTES as u32) as usize {
            return false;
        }
        if !self.has_room(len) {
            self.expire(now);
        }
        let mut shed = Vec::new();
        while !self.has_room(len) {
            let may_go = |i: &usize| self.messages[*i].header.reliability != Reliability::Guaranteed;
            let mut classes = Priority::ALL.into_iter().filter(|&class| class <= priority);
            let oldest = classes.find_map(|class| self.queue(class).find(may_go));
            let Some(oldest) = oldest else {
                shed.into_iter().for_each(|i: usize| self.messages[i].state = State::Queued);
                return false;
            };
            self.messages[oldest].state = State::Dropped(Reason::Shed);
            shed.push(oldest);
        }
        shed.into_iter().for_each(|i| self.messages[i].drop_for(Reason::Shed));
        true
    }

    fn next(&mut self, now: Instant) {
        loop {
            let abandoned = Priority::ALL.into_iter().rev().find_map(|class| {
                self.messages.iter().position(|m| m.is_abandoned && m.header.priority == class)
            });
            if let Some(abandoned) = abandoned {
                self.shown = Some(Shown::Abandonment(abandoned));
                return;
            }
            let may_go = |&class: &Priority| self.queue(class).next().is_some() && !self.is_blocked(class);
            let waiting = || Priority::ALL.into_iter().rev().filter(may_go);
            let impatient = waiting().find(|&class| {
                class != Priority::Critical && self.passed_over[class as usize] >= [32, 16, 8][class as usize]
            });
            let first = impatient.or(waiting().next()).and_then(|class| self.queue(class).next());
            self.shown = first.map(Shown::Message);
            let Some(first) = first else { return };
            let message = &mut self.messages[first];
            if message.has_expired(now) {
                message.drop_for(Reason::Expired);
            } else if self.peer_max.is_some_and(|max| message.payload.len() > max as usize) {
                message.drop_for(Reason::PeerLimit);
            } else {
                return;
            }
        }
    }

    fn take(&mut self, len: usize) {
        let shown = match self.shown.take() {
            None => return,
            Some(Shown::Abandonment(shown)) => {
                self.messages[shown].is_abandoned = false;
                self.messages[shown].is_told = self.datagrams.is_some();
                return;
            }
            Some(Shown::Message(shown)) => shown,
        };
        let class = self.messages[shown].header.priority;
        let is_behind_kept = self
            .messages
            .iter()
            .any(|m| m.header.priority == class && m.state == State::InFlight && m.is_kept);
        let message = &mut self.messages[shown];
        if message.state != State::Queued {
            return;
        }
        let left = message.payload.len() - message.written;
        if len >= left {
            message.state = State::InFlight;
            message.was_taken = true;
            message.is_kept = message.header.reliability != Reliability::BestEffort
                || is_behind_kept
                || self.datagrams.is_some();
            match &mut self.datagrams {
                Some(datagrams) => datagrams.parted[class as usize] |= message.written > 0,
                None => self.open.push(shown),
            }
        } else if len > 0 {
            message.written += len;
        } else {
            return;
        }
        for class in Priority::ALL {
            self.passed_over[class as usize] += 1;
        }
        self.passed_over[self.messages[shown].header.priority as usize] = 0;
    }

    fn record_written(&mut self, counter: u64) {
        if self.open.is_empty() {
            return;
        }
        let mut record = (counter, core::mem::take(&mut self.open));
        if self.records.len() == Flights::MAX {
            let (_, newest) = self.records.pop().unwrap();
            record.1.extend(newest);
        }
        self.records.push(record);
    }

    fn ack(&mut self, through: u64) {
        while self.records.first().is_some_and(|&(counter, _)| counter < through) {
            for i in self.records.remove(0).1 {
                self.messages[i].state = State::Confirmed;
            }
        }
    }

    /// Whether the class's first message would be too far ahead of a kept one for the receiver to tell them from others, or
    /// would go in parts while another one does.
    fn is_blocked(&self, class: Priority) -> bool {
        let Some(Datagrams { piece_len, parted }) = &self.datagrams else { return false };
        let Some(first) = self.queue(class).next().map(|first| &self.messages[first]) else { return false };
        let goes_in_parts = first.payload.len() > usize::from(*piece_len);
        if goes_in_parts && self.given_up(class).is_some() {
            return true;
        }
        let Some(kept) = self.kept(class, 0, u64::MAX).next().map(|kept| &self.messages[kept]) else {
            return false;
        };
        first.header.sequence >= kept.header.sequence + 1024 || parted[class as usize] && goes_in_parts
    }

    /// The message of a class that is given up though the peer may not know.
    fn given_up(&self, class: Priority) -> Option<usize> {
        let is_given_up = |m: &Message| m.ticket.class == class && (m.is_abandoned || m.is_told);
        self.messages.iter().position(is_given_up)
    }

    fn abandonment(&self, class: Priority) -> Option<Next<'_>> {
        let message = &self.messages[self.given_up(class).filter(|&i| self.messages[i].is_told)?];
        let part = Some(message.part(message.payload.len()));
        Some(Next { header: &message.header, waited: Duration::ZERO, payload: &[], part })
    }

    fn abandonment_arrived(&mut self, class: Priority) {
        self.messages.iter_mut().filter(|m| m.ticket.class == class).for_each(|m| m.is_told = false);
    }

    /// How much a session takes of what is shown, which would like to take `len`: over datagrams all of what fits a record.
    fn share(&self, len: usize) -> usize {
        match (&self.datagrams, self.shown) {
            (Some(datagrams), Some(Shown::Message(i)))
                if self.messages[i].payload.len() <= usize::from(datagrams.piece_len) =>
            {
                usize::MAX
            }
            _ => len,
        }
    }

    /// What is kept of a class until its fate is known, by ordinal.
    fn kept(&self, class: Priority, from: u64, last: u64) -> impl Iterator<Item = usize> {
        (0..self.messages.len()).filter(move |&i| {
            let message = &self.messages[i];
            message.ticket.class == class
                && (from..=last).contains(&message.ticket.ordinal)
                && message.state == State::InFlight
                && message.is_kept
        })
    }

    fn retained(&mut self, now: Instant, class: Priority, from: u64, last: u64) -> Option<(u64, Next<'_>)> {
        let kept: Vec<usize> = self.kept(class, from, last).collect();
        for i in kept {
            let message = &mut self.messages[i];
            if message.has_expired(now) || message.header.reliability == Reliability::BestEffort {
                message.state = State::Unconfirmed;
                continue;
            }
            let message = &self.messages[i];
            let (waited, payload) = (now.since(message.pushed_at), message.payload.as_slice());
            return Some((
                message.ticket.ordinal,
                Next { header: &message.header, waited, payload, part: None },
            ));
        }
        None
    }

    fn retained_part(&mut self, now: Instant, ticket: Ticket, offset: u32, len: u32) -> Option<Next<'_>> {
        let Ticket { class, ordinal } = ticket;
        let kept = self.kept(class, ordinal, ordinal).next();
        if let Some(i) = kept.filter(|&i| self.messages[i].has_expired(now)) {
            let is_parted = self.datagrams.as_ref().is_some_and(|datagrams| datagrams.parted[class as usize]);
            let is_begun = self.queue(class).next().is_some_and(|first| self.messages[first].written > 0);
            self.messages[i].state = State::Unconfirmed;
            self.messages[i].is_abandoned = is_parted && !is_begun && self.given_up(class).is_none();
            self.parts_arrived(class);
        }
        let is_it = |&i: &usize| self.messages[i].ticket == ticket;
        let kept = self.kept(class, ordinal, ordinal).next();
        let message = &self.messages[kept.or_else(|| self.queue(class).next().filter(is_it))?];
        let payload = message.payload.get(offset as usize..(offset + len) as usize)?;
        let waited = now.since(message.pushed_at);
        Some(Next { header: &message.header, waited, payload, part: Some(message.part(offset as usize)) })
    }

    /// Whether each message of the class in this span was taken as a whole in this session over datagrams, or has its fate.
    fn has_taken_all(&self, class: Priority, first: u64, last: u64) -> bool {
        let has_been = |ordinal| {
            let message = self.messages.iter().find(|m| m.ticket == Ticket { class, ordinal });
            message.is_some_and(|m| m.state != State::Queued)
        };
        self.datagrams.is_some() && (first..=last).all(has_been)
    }

    fn delivered(&mut self, class: Priority, first: u64, last: u64) {
        let kept: Vec<usize> = self.kept(class, first, last).collect();
        kept.into_iter().for_each(|i| self.messages[i].state = State::Confirmed);
    }

    fn parts_arrived(&mut self, class: Priority) {
        if let Some(datagrams) = &mut self.datagrams {
            datagrams.parted[class as usize] = false;
        }
    }

    fn session_end(&mut self) {
        self.datagrams = None;
        (self.shown, self.open, self.records) = (None, Vec::new(), Vec::new());
        self.messages.iter_mut().for_each(|m| (m.written, m.is_abandoned, m.is_told) = (0, false, false));
        self.withdraw_where(|m| matches!(m.state, State::Queued | State::InFlight));
        let was_empty = Priority::ALL.map(|class| self.queue(class).next().is_none());
        for m in self.messages.iter_mut().filter(|m| m.state == State::InFlight) {
            m.state = match m.header.reliability {
                Reliability::BestEffort => State::Unconfirmed,
                _ => State::Queued,
            };
        }
        for class in Priority::ALL.into_iter().filter(|&class| was_empty[class as usize]) {
            self.passed_over[class as usize] = 0;
        }
    }

    /// Guaranteed messages go without a word.
    fn withdraw_where(&mut self, which: impl Fn(&Message) -> bool) {
        let withdrawn = |m: &&mut Message| m.header.reliability == Reliability::Guaranteed && which(m);
        for message in self.messages.iter_mut().filter(withdrawn) {
            message.state = State::Withdrawn;
            message.is_abandoned = message.written > 0;
        }
    }

    fn expire(&mut self, now: Instant) {
        self.drop_where(|m| m.state == State::Queued && m.has_expired(now), Reason::Expired);
    }

    fn cancel(&mut self, ticket: Ticket) -> bool {
        let is_it = |m: &Message| m.state == State::Queued && m.ticket == ticket;
        let is_certain = self.messages.iter().any(|m| is_it(m) && !m.was_taken);
        self.drop_where(is_it, Reason::Cancelled);
        is_certain
    }

    fn drop_where(&mut self, which: impl Fn(&Message) -> bool, reason: Reason) {
        self.messages.iter_mut().filter(|m| which(m)).for_each(|m| m.drop_for(reason));
    }

    /// Applies fates as a caller's ledger would: watermarks tell of everything that has met no fate before.
    fn learn(&mut self, fates: &[Fate]) {
        for &fate in fates {
            let (class, range, state) = match fate {
                Fate::Confirmed { class, first, last } => (class, first..=last, State::Confirmed),
                Fate::Unconfirmed { class, first, last } => (class, first..=last, State::Unconfirmed),
                Fate::Dropped { ticket, reason } => {
                    self.learn_one(ticket, State::Dropped(reason));
                    continue;
                }
            };
            let is_told = |m: &&mut Message| m.ticket.class == class && range.contains(&m.ticket.ordinal);
            let told = self.messages.iter_mut().filter(|m| is_told(m) && m.state != State::Withdrawn);
            for message in told {
                message.told.get_or_insert(state);
            }
        }
    }

    fn learn_one(&mut self, ticket: Ticket, state: State) {
        let settled = self.messages.iter_mut().find(|m| m.ticket == ticket).unwrap();
        assert_eq!(settled.told, None, "each message meets one fate");
        settled.told = Some(state);
    }

    /// What is counted of the messages that match.
    fn count(&self, matches: impl Fn(&Message) -> bool) -> Counters {
        let mut counters = Counters::default();
        for message in self.messages.iter().filter(|message| matches(message)) {
            counters.pushed += 1;
            counters.written += u64::from(message.was_taken);
            match message.state {
                State::Queued | State::InFlight => {}
                State::Confirmed => counters.confirmed += 1,
                State::Unconfirmed => counters.unconfirmed += 1,
                State::Withdrawn => counters.withdrawn += 1,
                State::Dropped(reason) => counters.count_drop(reason),
            }
        }
        counters
    }

    fn compare<S: Storage>(&self, outbox: &Outbox<S>) {
        let requeued = outbox.counters().requeued;
        assert_eq!(outbox.counters(), Counters { requeued, ..self.count(|_| true) });
        let is_best_effort = |m: &Message| m.header.reliability == Reliability::BestEffort;
        assert_eq!(outbox.best_effort_counters(), self.count(is_best_effort));
        for message in &self.messages {
            let settled = !matches!(message.state, State::Queued | State::InFlight | State::Withdrawn);
            assert_eq!(message.told, settled.then_some(message.state), "{:?}", message.ticket);
        }
        let queued = || self.messages.iter().filter(|m| m.state == State::Queued);
        assert_eq!(outbox.queued(), queued().count());
        assert_eq!(outbox.queued_bytes(), queued().map(|m| m.payload.len()).sum::<usize>());
        let in_flight = self.messages.iter().filter(|m| m.state == State::InFlight).count();
        assert_eq!(outbox.in_flight(), in_flight as u64);
        let is_abandoned = self.messages.iter().any(|m| m.is_abandoned);
        let is_given_up = is_abandoned || self.messages.iter().any(|m| m.is_told);
        assert_eq!(outbox.is_idle(), queued().count() + in_flight == 0 && !is_given_up);
        assert_eq!(outbox.has_next(), queued().count() > 0 || is_abandoned);
        let expires_at = queued().filter_map(Message::expires_at).min();
        match (outbox.poll_timeout(), expires_at) {
            (Some(polled), Some(expires_at)) => assert!(polled <= expires_at),
            (None, Some(_)) => panic!("an expiry would be missed"),
            (_, None) => {}
        }
    }

    fn has_room(&self, len: usize) -> bool {
        let is_queued = |m: &&Message| m.state == State::Queued;
        let is_held = |m: &&Message| is_queued(m) || m.state == State::InFlight && m.is_kept;
        let held = || self.messages.iter().filter(is_held);
        self.messages.iter().filter(is_queued).count() < SLOTS
            && held().count() < self.held
            && held().map(|m| m.payload.len()).sum::<usize>() + len <= BYTES
    }

    fn queue(&self, class: Priority) -> impl Iterator<Item = usize> {
        (0..self.messages.len()).filter(move |&i| {
            self.messages[i].header.priority == class && self.messages[i].state == State::Queued
        })
    }
}

impl Message {
    fn part(&self, offset: usize) -> Part {
        Part { total: self.payload.len() as u32, offset: offset as u32 }
    }

    fn drop_for(&mut self, reason: Reason) {
        self.state = if self.was_taken { State::Unconfirmed } else { State::Dropped(reason) };
        self.is_abandoned = self.written > 0;
    }

    fn expires_at(&self) -> Option<Instant> {
        let ttl = self.header.ttl;
        (ttl != 0).then(|| self.pushed_at.after(Duration::from_secs(u64::from(ttl))))
    }

    fn has_expired(&self, now: Instant) -> bool {
        self.expires_at().is_some_and(|expires_at| expires_at <= now)
    }
}
