//! What goes out over a peer's lanes: every stored message and its fate.
//!
//! ```text
//!   number ─▶ unstored ─▶ stored ─▶ (ready) ─▶ sent ─▶ delivered, unknown
//!                           └───────────┴───────┴────▶ leaving ─▶ gone: expired, cancelled, failed
//! ```
//! A message that leaves has its fate at once, but keeps its number until its removal is durable. Beside the store, about 100
//! bytes of memory are kept for each message, and payloads only of those that are sent next.

mod draft;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hyphal_core::ids::{MessageId, Priority, Reliability};
use hyphal_core::lane::SendLane;
use hyphal_core::outbox::{self, Header, Payload, Ticket};
use hyphal_core::time::{Instant, UnixTime};
use hyphal_core::wire::delivery::{Lane, LaneRefusal, LaneState};
use hyphal_core::wire::reason::Reason;
use tokio::sync::oneshot;

#[cfg(test)]
pub(super) use self::draft::Draft;
use self::draft::Unstored;
pub(super) use self::draft::{Accepted, Storing, Terms};
use super::{Attached, Lanes, RETRY_AFTER, may_tell, tell};
use crate::clock;
use crate::counters::{Fates, Sent};
use crate::hub::Hub;
use crate::locked::{Awaited, News};
use crate::peer::{self, Peer};
use crate::receipt::{Outcome, Outcomes};
use crate::store::{StoreFailure, StoredMessage, StoredSendLane};

/// The sending ends of the lanes to one peer.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    attached: Option<Attached>,
    classes: [Option<Box<End>>; Priority::ALL.len()],
    counts: Sent,
    /// Messages that were never delivered, by reason.
    drops: BTreeMap<Reason, u64>,
    /// How often a message was sent that may have been sent before.
    sent_again: u64,
    /// Receipts that somebody may wait for.
    receipts: usize,
    /// What is to be told when the lanes are unlocked.
    outcomes: Outcomes,
}

impl Awaited for Outgoing {
    fn take_news(&mut self) -> News {
        News { called: Vec::new(), outcomes: std::mem::take(&mut self.outcomes) }
    }
}

#[derive(Debug)]
struct End {
    lane: SendLane,
    /// Whether the store has to be told of the lane again.
    is_lost: bool,
    /// Messages that have no fate, or whose removal is not durable.
    outstanding: BTreeMap<u64, Outstanding>,
    /// Numbers that are given and not durable.
    unstored: BTreeMap<u64, Unstored>,
    /// The store was asked for all messages below, and for none from here on.
    append_from: u64,
    /// The number after the last one that is durable.
    durable: u64,
    /// When messages expire, and which.
    expiries: BTreeSet<(u64, u64)>,
    /// Messages that are sent next.
    ready: BTreeMap<u64, StoredMessage>,
    ready_bytes: usize,
    is_reading: bool,
    /// Messages that have met their fate and are to be removed.
    leaving: Vec<u64>,
    /// Of what was said of the lane last.
    told: Option<Ticket>,
    /// Whether the log has it that the peer takes nothing in this session: the peer may say so as often as it likes.
    is_refused: bool,
    /// Messages that were sent again, and not added up.
    sent_again: u64,
}

#[derive(Debug)]
struct Outstanding {
    /// Microseconds since 1970; `u64::MAX` if never.
    expires_at: u64,
    len: u32,
    is_leaving: bool,
    receipt: Option<oneshot::Sender<Outcome>>,
}

/// Where a Guaranteed message is to be called back.
#[derive(Clone, Debug)]
pub(crate) struct Called {
    lanes: Arc<Lanes>,
    class: Priority,
    id: MessageId,
}

impl Outgoing {
    pub(super) fn attached(&self) -> Option<&Attached> {
        self.attached.as_ref()
    }

    /// Whether no lane was ever used, or all have ended.
    pub(super) fn is_unused(&self) -> bool {
        self.classes.iter().all(Option::is_none)
    }

    /// Whether messages are on their way that the session may bring to their end.
    pub(super) fn is_moving(&self) -> bool {
        self.attached.as_ref().is_some_and(|attached| attached.keeps)
            && self.classes.iter().flatten().any(|end| !end.outstanding.is_empty())
    }

    pub(super) fn sent(&self) -> Sent {
        self.counts
    }

    pub(super) fn fates(&self) -> Fates {
        let Sent { sent, confirmed, unconfirmed, unknown, .. } = self.counts;
        let dropped = self.drops.iter().map(|(&reason, &count)| (reason, count)).collect();
        Fates { sent, confirmed, unconfirmed, unknown, dropped, requeued: self.sent_again }
    }

    /// A lane was in the store when it was opened.
    pub(super) fn restore(&mut self, stored: &StoredSendLane) {
        let StoredSendLane { key, epoch, base, fresh, next } = *stored;
        let lane = SendLane::restore(key.class, epoch, base, fresh, next);
        self.classes[key.class as usize] = Some(Box::new(End::new(lane)));
    }

    /// Messages of a lane were in the store when it was opened.
    pub(super) fn restore_messages(&mut self, class: Priority, messages: &[(u64, StoredMessage)]) {
        let Some(end) = &mut self.classes[class as usize] else { return };
        for (number, message) in messages {
            end.insert(*number, message.ttl, message.accepted_at, message.payload.len(), None);
            self.counts.sent += 1;
            self.counts.stored += 1;
        }
    }

    pub(super) fn handle_session_start(&mut self, attached: Attached) {
        let keeps = attached.keeps;
        self.attached = Some(attached);
        for end in self.classes.iter_mut().flatten() {
            end.forget_ready();
            end.told = None;
            end.is_refused = false;
            end.is_reading = false;
            if keeps {
                end.lane.handle_session_start();
            } else {
                end.lane.handle_session_end();
            }
        }
    }

    pub(super) fn handle_session_end(&mut self, token: u64) {
        if self.attached.take_if(|attached| attached.token == token).is_some() {
            for end in self.classes.iter_mut().flatten() {
                end.forget_ready();
                end.lane.handle_session_end();
            }
        }
    }

    /// No stored message can be delivered.
    pub(super) fn fail_all(&mut self, reason: Reason) {
        for class in Priority::ALL {
            let numbers = self.end(class).map(|end| end.outstanding.keys().copied().collect::<Vec<_>>());
            for number in numbers.into_iter().flatten() {
                self.leave(class, number, Outcome::Failed(reason));
            }
        }
    }

    fn end(&mut self, class: Priority) -> Option<&mut End> {
        self.classes[class as usize].as_deref_mut()
    }

    fn end_of(&mut self, class: Priority, epoch: u64) -> Option<&mut End> {
        self.end(class).filter(|end| end.lane.epoch() == epoch)
    }

    /// A stored message meets a fate that needs no word of the peer; says whether it had none.
    fn leave(&mut self, class: Priority, number: u64, outcome: Outcome) -> bool {
        let Some(end) = self.classes[class as usize].as_deref_mut() else { return false };
        if end.unstored.contains_key(&number) {
            return false;
        }
        let Some(message) = end.outstanding.get_mut(&number).filter(|message| !message.is_leaving) else {
            return false;
        };
        message.is_leaving = true;
        let (expires_at, receipt) = (message.expires_at, message.receipt.take());
        end.expiries.remove(&(expires_at, number));
        end.drop_ready(number);
        end.leaving.push(number);
        self.resolve(receipt, outcome);
        true
    }

    /// The peer has told of a message; nothing more is kept of it.
    fn settle(&mut self, class: Priority, number: u64, outcome: Outcome) -> bool {
        let Some(end) = self.classes[class as usize].as_deref_mut() else { return false };
        let Some(message) = end.outstanding.remove(&number) else { return false };
        end.expiries.remove(&(message.expires_at, number));
        end.drop_ready(number);
        if !message.is_leaving {
            self.resolve(message.receipt, outcome);
        }
        true
    }

    fn resolve(&mut self, receipt: Option<oneshot::Sender<Outcome>>, outcome: Outcome) {
        let reason = match outcome {
            Outcome::Expired => Some(Reason::Expired),
            Outcome::Failed(reason) => Some(reason),
            _ => None,
        };
        if let Some(reason) = reason {
            *self.drops.entry(reason).or_default() += 1;
        }
        let count = match outcome {
            Outcome::Delivered => &mut self.counts.confirmed,
            Outcome::Expired => &mut self.counts.expired,
            Outcome::Unconfirmed => &mut self.counts.unconfirmed,
            Outcome::Unknown => &mut self.counts.unknown,
            Outcome::Failed(_) => &mut self.counts.dropped,
        };
        *count += 1;
        self.counts.stored -= 1;
        if let Some(receipt) = receipt {
            self.receipts -= 1;
            self.outcomes.push(receipt, outcome);
        }
    }
}

impl End {
    fn new(lane: SendLane) -> Self {
        let next = lane.next_number();
        Self {
            lane,
            is_lost: false,
            outstanding: BTreeMap::new(),
            unstored: BTreeMap::new(),
            append_from: next,
            durable: next,
            expiries: BTreeSet::new(),
            ready: BTreeMap::new(),
            ready_bytes: 0,
            is_reading: false,
            leaving: Vec::new(),
            told: None,
            is_refused: false,
            sent_again: 0,
        }
    }

    fn insert(
        &mut self,
        number: u64,
        ttl: u32,
        accepted_at: UnixTime,
        len: usize,
        receipt: Option<oneshot::Sender<Outcome>>,
    ) {
        let lives = Duration::from_secs(u64::from(ttl)).as_micros();
        let expires_at = match ttl {
            0 => u64::MAX,
            _ => accepted_at.as_micros().saturating_add(u64::try_from(lives).unwrap_or(u64::MAX)),
        };
        if expires_at != u64::MAX {
            self.expiries.insert((expires_at, number));
        }
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.outstanding.insert(number, Outstanding { expires_at, len, is_leaving: false, receipt });
    }

    fn fate_of_expired(&self, number: u64) -> Outcome {
        if self.lane.was_sent(number) { Outcome::Unconfirmed } else { Outcome::Expired }
    }

    /// Keeps the payload of a message that will be sent soon. If there is no room for all, those that are sent first have it: the one
    /// whose turn it is must not wait for one behind it, nor for one that was sent while it was being read.
    fn prepare(&mut self, number: u64, message: StoredMessage) {
        let is_wanted = self.outstanding.get(&number).is_some_and(|message| !message.is_leaving);
        if !is_wanted || !self.lane.is_to_come(number) {
            return;
        }
        self.drop_ready(number);
        self.ready_bytes += message.payload.len();
        self.ready.insert(number, message);
        while self.ready_bytes > READY_BYTES
            && self.ready.len() > 1
            && let Some((_, last)) = self.ready.pop_last()
        {
            self.ready_bytes -= last.payload.len();
        }
    }

    fn drop_ready(&mut self, number: u64) -> Option<StoredMessage> {
        let message = self.ready.remove(&number)?;
        self.ready_bytes -= message.payload.len();
        Some(message)
    }

    fn forget_ready(&mut self) {
        self.ready.clear();
        self.ready_bytes = 0;
    }
}

impl Lanes {
    /// The peer speaks of a lane of this node's, over the link of this token.
    ///
    /// # Errors
    /// [`Reason::Violation`] if it acknowledges what was never sent.
    pub(crate) fn handle_state(self: &Arc<Self>, state: &LaneState, token: u64) -> Result<(), Reason> {
        let class = state.class;
        let mut outgoing = self.outgoing();
        let is_answer = outgoing.attached.as_ref().is_some_and(|attached| attached.token == token);
        let Some(end) = outgoing.end_of(class, state.epoch) else { return Ok(()) };
        if state.arrived.is_none() && !std::mem::replace(&mut end.is_refused, true) {
            self.keeper.refused_lanes.fetch_add(1, Relaxed);
            tracing::warn!(
                peer = %self.id,
                "the peer takes no Guaranteed messages of class {class:?}; they stay stored until its next session"
            );
        }
        let fates = end.lane.handle_state(state, is_answer)?;
        let unknown: Vec<_> =
            end.outstanding.range(fates.unknown.clone()).map(|(&number, _)| number).collect();
        let range = fates.delivered.clone();
        let mut delivered: Vec<_> = end.outstanding.range(range).map(|(&number, _)| number).collect();
        delivered.extend(fates.others().filter(|number| end.outstanding.contains_key(number)));
        let base = end.lane.base();
        for &number in &unknown {
            outgoing.settle(class, number, Outcome::Unknown);
        }
        for &number in &delivered {
            outgoing.settle(class, number, Outcome::Delivered);
        }
        if !unknown.is_empty() || !delivered.is_empty() {
            let above: Vec<_> = delivered.into_iter().filter(|&number| number >= base).collect();
            self.keeper.store.settle(self.key(class), base, &above);
        }
        self.call_link(&outgoing);
        Ok(())
    }

    /// The peer refuses messages of a lane of this node's, or asks for them again, over the link of this token.
    ///
    /// # Errors
    /// [`Reason::Violation`] if it refuses what was never sent.
    pub(crate) fn handle_refusal(self: &Arc<Self>, refusal: &LaneRefusal, token: u64) -> Result<(), Reason> {
        let class = refusal.class;
        let mut outgoing = self.outgoing();
        let is_answer = outgoing.attached.as_ref().is_some_and(|attached| attached.token == token);
        let Some(end) = outgoing.end_of(class, refusal.epoch) else { return Ok(()) };
        let refused = end.lane.handle_refusal(refusal, is_answer)?;
        let numbers: Vec<_> = end.outstanding.range(refused).map(|(&number, _)| number).collect();
        if let Some(first) = numbers.first() {
            let (count, reason) = (numbers.len(), refusal.reason());
            tracing::debug!(peer = %self.id, first, count, "Guaranteed messages are refused: {reason}");
        }
        for number in numbers {
            outgoing.leave(class, number, Outcome::Failed(refusal.reason()));
        }
        self.remove_left(&mut outgoing);
        self.call_link(&outgoing);
        Ok(())
    }

    /// Gives up what has expired; says when the next message does.
    pub(super) fn expire(self: &Arc<Self>, now: UnixTime) -> Option<u64> {
        let mut outgoing = self.outgoing();
        let mut next = None;
        for class in Priority::ALL {
            let Some(end) = outgoing.end(class) else { continue };
            let due = end.expiries.range(..=(now.as_micros(), u64::MAX));
            let due: Vec<_> = due.map(|&(_, number)| (number, end.fate_of_expired(number))).collect();
            for (number, outcome) in due {
                outgoing.leave(class, number, outcome);
            }
            let first = outgoing.end(class).and_then(|end| end.expiries.first()).map(|&(at, _)| at);
            next = next.into_iter().chain(first).min();
        }
        self.remove_left(&mut outgoing);
        next
    }

    /// Ends all lanes to the peer; what waits in them fails. Says whether there were any. The store sees to it that they go, however
    /// often it takes to try; only a crash before that brings them back.
    pub(super) fn close(self: &Arc<Self>, reason: Reason) -> bool {
        let mut outgoing = self.outgoing();
        outgoing.fail_all(reason);
        let mut had_lanes = false;
        for class in Priority::ALL {
            let Some(end) = outgoing.classes[class as usize].take() else { continue };
            had_lanes = true;
            // Those that were not durable were not accepted.
            outgoing.receipts -= end.outstanding.values().filter(|message| message.receipt.is_some()).count();
            self.keeper.store.close_lane(self.key(class), end.lane.epoch());
        }
        self.keeper.moved.notify_waiters();
        had_lanes
    }

    /// Has the store remove what has met its fate, and gives its numbers up when that is durable.
    pub(super) fn remove_left(self: &Arc<Self>, outgoing: &mut Outgoing) {
        for class in Priority::ALL {
            let Some(end) = outgoing.end(class) else { continue };
            let numbers = std::mem::take(&mut end.leaving);
            if numbers.is_empty() {
                continue;
            }
            self.keeper.store.settle(self.key(class), end.lane.base(), &numbers);
            let lanes = Arc::clone(self);
            self.keeper.runtime.spawn(lanes.watch_removal(class, end.lane.epoch(), numbers));
        }
        self.keeper.moved.notify_waiters();
    }

    async fn watch_removal(self: Arc<Self>, class: Priority, epoch: u64, numbers: Vec<u64>) {
        // Durable with everything that was asked for before.
        if !self.mark_durably(class, epoch, 0).await {
            return;
        }
        let mut outgoing = self.outgoing();
        let Some(end) = outgoing.end_of(class, epoch) else { return };
        for number in numbers {
            end.outstanding.remove(&number);
            end.lane.settle(number);
        }
        self.call_link(&outgoing);
    }

    async fn raise_mark(self: Arc<Self>, class: Priority, epoch: u64, mark: u64) {
        let is_durable = self.mark_durably(class, epoch, mark).await;
        if !is_durable {
            // It is asked for again at once when the link hears of it.
            tokio::time::sleep(RETRY_AFTER).await;
        }
        let mut outgoing = self.outgoing();
        let Some(end) = outgoing.end_of(class, epoch) else { return };
        if is_durable {
            end.lane.handle_marked(mark);
        } else {
            end.lane.handle_mark_failed();
        }
        self.call_link(&outgoing);
    }

    /// Raises the mark of a lane in the store, as soon as its disk takes it; says whether it ever will.
    async fn mark_durably(&self, class: Priority, epoch: u64, mark: u64) -> bool {
        loop {
            match self.keeper.store.mark(self.key(class), epoch, mark).await {
                Ok(()) => return true,
                Err(StoreFailure::DiskFull) => tokio::time::sleep(RETRY_AFTER).await,
                Err(failure) => {
                    tracing::debug!(peer = %self.id, "the store takes no marks: {failure}");
                    return false;
                }
            }
        }
    }

    async fn read(self: Arc<Self>, class: Priority, epoch: u64, from: u64) {
        let read = loop {
            match self.keeper.store.read(self.key(class), from, READ, READ_BYTES).await {
                Err(StoreFailure::DiskFull) => tokio::time::sleep(RETRY_AFTER).await,
                read => break read,
            }
        };
        let mut outgoing = self.outgoing();
        let Some(end) = outgoing.end_of(class, epoch) else { return };
        let messages = match read {
            Ok(messages) => messages,
            Err(failure) => {
                // They stay stored. The next session asks again.
                tracing::warn!(peer = %self.id, "stored messages cannot be read: {failure}");
                return;
            }
        };
        end.is_reading = false;
        if messages.first().is_none_or(|(first, _)| *first != from) {
            // Only what was removed meanwhile is not there.
            outgoing.leave(class, from, Outcome::Failed(Reason::StoreFailed));
        }
        if let Some(end) = outgoing.end(class) {
            messages.into_iter().for_each(|(number, message)| end.prepare(number, message));
        }
        self.remove_left(&mut outgoing);
        self.call_link(&outgoing);
    }

    /// Hands to the outbox what may be sent; says whether nothing is left that waits for its room.
    pub(super) fn send_messages(self: &Arc<Self>, hub: &Hub, peer: &Peer, token: u64, now: Instant) -> bool {
        let mut outgoing = self.outgoing();
        if outgoing.attached.as_ref().is_none_or(|attached| attached.token != token || !attached.keeps) {
            return true;
        }
        let wall = clock::wall_time();
        let mut is_done = true;
        for class in Priority::ALL.into_iter().rev() {
            while let Some(end) = outgoing.end(class) {
                let mut lane = peer.lane();
                if !lane.is_owned_by(token) {
                    return true;
                }
                is_done &= self.tell_lane(end, hub, &mut lane, now);
                let sent = self.send_class(end, class, hub, &mut lane, now, wall);
                drop(lane);
                let sent_again = std::mem::take(&mut end.sent_again);
                outgoing.sent_again += sent_again;
                match sent {
                    Ok(is_class_done) => {
                        is_done &= is_class_done;
                        break;
                    }
                    Err((number, outcome)) => {
                        outgoing.leave(class, number, outcome);
                    }
                }
            }
        }
        self.remove_left(&mut outgoing);
        is_done
    }

    fn tell_lane(&self, end: &mut End, hub: &Hub, lane: &mut peer::Lane, now: Instant) -> bool {
        if !may_tell(lane, end.told, Lane::MAX_LEN) {
            return false;
        }
        let Some(word) = end.lane.poll_lane() else { return true };
        let mut body = [0; Lane::MAX_LEN];
        let len = word.encode(&mut body).unwrap_or(0);
        end.told = tell(hub, lane, now, Lane::KIND, &body[..len]);
        true
    }

    /// Sends what it may of one class. `Err`: this message has met its fate before.
    fn send_class(
        self: &Arc<Self>,
        end: &mut End,
        class: Priority,
        hub: &Hub,
        lane: &mut peer::Lane,
        now: Instant,
        wall: UnixTime,
    ) -> Result<bool, (u64, Outcome)> {
        let epoch = end.lane.epoch();
        if let Some(mark) = end.lane.poll_mark() {
            self.keeper.runtime.spawn(Arc::clone(self).raise_mark(class, epoch, mark));
        }
        while let Some(number) = end.lane.poll_next() {
            if end.unstored.contains_key(&number) {
                return Ok(true);
            }
            match end.outstanding.get(&number) {
                // Its removal is durable, as it was not in the store any more.
                None => end.lane.settle(number),
                Some(message) if message.is_leaving => end.lane.pass(number),
                Some(message) if message.expires_at <= wall.as_micros() => {
                    return Err((number, end.fate_of_expired(number)));
                }
                Some(_) => {
                    let is_long = lane.outbox.queued() >= AHEAD || lane.outbox.queued_bytes() >= AHEAD_BYTES;
                    // However much others send, one at a time has its turn.
                    if is_long && !lane.outbox.ledger().guests.is_empty() {
                        return Ok(false);
                    }
                    let Some(message) = end.ready.get(&number) else {
                        if !std::mem::replace(&mut end.is_reading, true) {
                            self.keeper.runtime.spawn(Arc::clone(self).read(class, epoch, number));
                        }
                        return Ok(true);
                    };
                    let header = Header {
                        kind: message.kind,
                        full: message.full,
                        priority: class,
                        reliability: Reliability::Guaranteed,
                        sequence: hub.sequence.fetch_add(1, Relaxed),
                        ttl: message.ttl,
                        number: std::num::NonZeroU64::new(number),
                        ..Header::default()
                    };
                    let age = wall.as_micros().saturating_sub(message.accepted_at.as_micros());
                    let accepted_at = Instant::from_micros(now.as_micros().saturating_sub(age));
                    let payload = Payload::Shared(message.payload.clone());
                    match lane.outbox.push(accepted_at, header, payload) {
                        Ok(ticket) => {
                            lane.outbox.ledger().guests.handle_pushed(ticket);
                            end.drop_ready(number);
                            end.sent_again += u64::from(end.lane.was_sent(number));
                            end.lane.handle_sent(number);
                        }
                        Err(outbox::SendError::QueueFull) => return Ok(false),
                        Err(outbox::SendError::TooLong { .. }) => {
                            return Err((number, Outcome::Failed(Reason::PeerLimit)));
                        }
                    }
                }
            }
        }
        Ok(true)
    }
}

impl Called {
    pub(crate) fn new(lanes: Arc<Lanes>, class: Priority, id: MessageId) -> Self {
        Self { lanes, class, id }
    }

    /// Calls the message back, unless it may have left; says whether it did.
    pub(crate) fn cancel(&self) -> bool {
        let Self { lanes, class, id } = self;
        let mut outgoing = lanes.outgoing();
        let end = outgoing.end_of(*class, id.epoch);
        if end.is_none_or(|end| end.lane.was_sent(id.sequence)) {
            return false;
        }
        let is_cancelled = outgoing.leave(*class, id.sequence, Outcome::Failed(Reason::Cancelled));
        lanes.remove_left(&mut outgoing);
        is_cancelled
    }

    /// Bytes of the message that may have left: all or nothing.
    pub(crate) fn written(&self) -> u32 {
        let mut outgoing = self.lanes.outgoing();
        let Some(end) = outgoing.end_of(self.class, self.id.epoch) else { return u32::MAX };
        match end.outstanding.get(&self.id.sequence) {
            Some(_) if !end.lane.was_sent(self.id.sequence) => 0,
            Some(message) => message.len,
            None => u32::MAX,
        }
    }
}

/// Bytes of payloads that wait in memory for their turn, for each lane.
const READY_BYTES: usize = 1 << 20;

/// Messages, and their bytes, that are read from the store at once.
const READ: usize = 256;
const READ_BYTES: usize = 256 << 10;

/// Messages, and their bytes, in the peer's outbox beyond which no Guaranteed one is added.
const AHEAD: usize = 256;
const AHEAD_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use hyphal_core::ids::NodeId;
    use tokio::sync::Notify;

    use super::super::{Guaranteed, Unclaimed};
    use super::*;
    use crate::signal::Signal;
    use crate::store::{LaneKey, Store, StoreLimits};

    #[tokio::test]
    async fn a_peer_that_says_again_and_again_that_it_takes_nothing_is_one_line_of_the_log_in_a_session() {
        let (peer, class, epoch) = (NodeId::from_bytes([2; 32]), Priority::Medium, 5);
        let directory = tempfile::tempdir().unwrap();
        let limits = StoreLimits { bytes: 1 << 20, receive_lanes: 9 };
        let store = Store::open(directory.path(), NodeId::from_bytes([1; 32]), limits).unwrap();
        store.open_lane(LaneKey { node: peer, class }, epoch).await.unwrap();
        let unclaimed = Unclaimed::new(Duration::ZERO, 1, 1);
        let lanes = Guaranteed::open(store, unclaimed, Arc::new(Notify::new())).await.unwrap().lanes(peer);

        let text = crate::log::of(|| {
            for token in [1, 2] {
                lanes.handle_session_start(token, &Arc::new(Signal::default()), true);
                for _ in 0..100 {
                    let refusal = LaneState { class, epoch, arrived: None };
                    let _ = lanes.handle_state(&refusal, token);
                }
                lanes.handle_session_end(token);
            }
        });

        assert_eq!(text.matches("takes no Guaranteed messages").count(), 2, "{text}");
    }
}
