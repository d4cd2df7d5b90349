//! What comes in over a peer's lanes: which numbers the application got, and what is durable of what it committed.
//!
//! Commits that come while one is being saved are saved together after it, and told to the peer together. What is refused is told
//! too, and not remembered: it stays taken until the peer speaks of the lane in another session, and may come again then. What is
//! asked for again, as there is memory for it by now, is told as a refusal of its own kind, and not taken.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;

use hyphal_core::ids::{MessageId, Priority};
use hyphal_core::lane::ReceiveLane;
use hyphal_core::outbox::Ticket;
use hyphal_core::time::Instant;
use hyphal_core::wire::delivery::{Arrived, Lane, LaneRefusal, LaneState, WINDOW};
use hyphal_core::wire::reason::Reason;

use super::{Arrival, Fate, Lanes, RETRY_AFTER, may_tell, tell};
use crate::hub::Hub;
use crate::peer::Peer;
use crate::store::{Durable, StoreFailure, StoredReceiveLane};

/// The receiving ends of the lanes of one peer.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    classes: [Option<Box<End>>; Priority::ALL.len()],
    /// Links that give messages to applications at this moment.
    handing_out: usize,
}

#[derive(Debug)]
struct End {
    lane: ReceiveLane,
    /// Whether it was durable once, so that the sender may be told of it.
    is_durable: bool,
    is_saving: bool,
    /// The link over which the sender has spoken of the lane.
    heard: Option<u64>,
    /// Whether the sender is to be told.
    owes: bool,
    /// Whether the sender is to be told that nothing is taken.
    is_refused: bool,
    /// Of what was told last.
    told: Option<Ticket>,
    /// Numbers that are refused in this session. Like all that are taken, they lie within the window.
    refusals: BTreeMap<u64, Refused>,
}

/// Why a number is refused, and whether the sender was told.
#[derive(Clone, Copy, Debug)]
struct Refused {
    reason: Reason,
    is_told: bool,
}

/// While this lives, a link may have messages in its hands that an application is done with.
#[derive(Debug)]
pub(crate) struct HandingOut<'l> {
    lanes: &'l Lanes,
}

impl Drop for HandingOut<'_> {
    fn drop(&mut self) {
        self.lanes.incoming().handing_out -= 1;
        self.lanes.keeper.moved.notify_waiters();
    }
}

/// When to go on saving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retry {
    Now,
    Later,
}

impl End {
    fn new(lane: ReceiveLane, is_durable: bool) -> Self {
        Self {
            lane,
            is_durable,
            is_saving: false,
            heard: None,
            owes: false,
            is_refused: false,
            told: None,
            refusals: BTreeMap::new(),
        }
    }

    /// The sender speaks of the lane over the link of this token.
    fn handle_heard(&mut self, token: u64) {
        if self.heard.replace(token) != Some(token) {
            // It sends again what it has not heard of; whether it has heard of these, nobody here knows.
            std::mem::take(&mut self.refusals).into_keys().for_each(|number| self.lane.release(number));
        }
    }

    fn state(&self) -> LaneState {
        let state = self.lane.state();
        if self.is_refused { LaneState { arrived: None, ..state } } else { state }
    }

    /// The next numbers that the sender is to be told are refused.
    fn next_refusal(&self, class: Priority) -> Option<LaneRefusal> {
        let mut untold = self.refusals.iter().filter(|(_, refused)| !refused.is_told);
        let (&first, &Refused { reason, .. }) = untold.next()?;
        let follows = |(at, (number, refused)): &(u64, (&u64, &Refused))| {
            first.checked_add(*at) == Some(**number) && refused.reason == reason
        };
        let others = (1..WINDOW).zip(untold).take_while(follows).count() as u64;
        Some(LaneRefusal { class, epoch: self.lane.epoch(), code: reason.code(), first, count: 1 + others })
    }

    /// The sender is being told.
    fn handle_refusal_told(&mut self, refusal: &LaneRefusal) {
        let told = refusal.first..refusal.end();
        if refusal.reason() == Reason::NoRoom {
            // They may come again at once.
            self.refusals.retain(|number, _| !told.contains(number));
        } else {
            self.refusals.range_mut(told).for_each(|(_, refused)| refused.is_told = true);
        }
    }
}

impl Incoming {
    /// Another link has the peer's outbox. What is owed stays owed: the peer may have spoken over this link before, or over one
    /// that will have the outbox after it.
    pub(super) fn handle_session_start(&mut self) {
        for end in self.classes.iter_mut().flatten() {
            end.told = None;
        }
    }

    /// Whether something is on its way to an application, to the disk or, over a session, to the peer.
    pub(super) fn is_moving(&self, attached: Option<u64>) -> bool {
        let owes = |end: &End| {
            let is_silent = !end.owes && end.refusals.values().all(|refused| refused.is_told);
            !is_silent && attached.is_some() && end.heard == attached
        };
        self.handing_out > 0 || self.classes.iter().flatten().any(|end| end.is_saving || owes(end))
    }

    fn end(&mut self, class: Priority, epoch: u64) -> Option<&mut End> {
        self.classes[class as usize].as_deref_mut().filter(|end| end.lane.epoch() == epoch)
    }
}

impl Lanes {
    /// The peer speaks of one of its lanes, over the link of this token; `is_first` if it did not before in this session.
    ///
    /// # Errors
    /// [`Reason::LaneUnknown`]: nothing of it is taken, and the peer is told.
    pub(crate) fn handle_lane(
        self: &Arc<Self>,
        lane: &Lane,
        token: u64,
        is_first: bool,
    ) -> Result<(), Reason> {
        let mut incoming = self.incoming();
        if incoming.end(lane.class, lane.epoch).is_none() {
            let key = self.key(lane.class);
            let stored = self.keeper.store.receive_lane(key).filter(|stored| stored.epoch == lane.epoch);
            let end = match stored {
                Some(StoredReceiveLane { epoch, since, base, window, .. }) => {
                    let arrived = Arrived { since, base, bits: window };
                    End::new(ReceiveLane::restore(lane.class, epoch, &arrived), true)
                }
                None => End::new(ReceiveLane::open(lane), false),
            };
            incoming.classes[lane.class as usize] = Some(Box::new(end));
        }
        let Some(end) = incoming.end(lane.class, lane.epoch) else { return Err(Reason::LaneUnknown) };
        end.handle_heard(token);
        let handled = end.lane.handle_lane(lane, is_first);
        if handled.is_ok() {
            // The sender has settled what lies below.
            end.refusals = end.refusals.split_off(&lane.base);
        }
        // What is refused stays so for the session.
        end.is_refused = handled.is_err() || end.is_refused && !is_first;
        if end.is_durable || end.is_refused {
            end.owes = true;
        } else {
            self.save(end, lane.class);
        }
        self.has_work.store(true, Release);
        handled
    }

    /// A message of a lane goes to the application.
    ///
    /// # Errors
    /// [`Reason::Duplicate`]; [`Reason::Violation`] if the peer may not send it.
    pub(crate) fn take(
        self: &Arc<Self>,
        class: Priority,
        epoch: u64,
        number: u64,
    ) -> Result<Arc<Arrival>, Reason> {
        let mut incoming = self.incoming();
        let end = incoming.end(class, epoch).filter(|end| end.is_durable && !end.is_refused);
        end.ok_or(Reason::Violation)?.lane.take(number)?;
        Ok(Arc::new(Arrival::new(Arc::clone(self), class, epoch, number)))
    }

    /// A link begins to give messages to applications. They may be done with one, and shut the node down, before the link has let
    /// go of it: only then it counts as committed.
    pub(crate) fn hand_out(&self) -> HandingOut<'_> {
        self.incoming().handing_out += 1;
        HandingOut { lanes: self }
    }

    /// There is memory by now for a message that came over the link of this token when there was none: asks for it again, unless it
    /// has met its fate or came again.
    pub(crate) fn ask_again(&self, class: Priority, id: MessageId, token: u64) {
        let mut incoming = self.incoming();
        let end = incoming.end(class, id.epoch).filter(|end| end.heard == Some(token));
        let Some(end) = end.filter(|end| end.lane.check(id.sequence).is_ok()) else { return };
        end.refusals.insert(id.sequence, Refused { reason: Reason::NoRoom, is_told: false });
        drop(incoming);
        self.call_link(&self.outgoing());
    }

    /// Nobody has the message any more.
    pub(super) fn handle_arrival_end(self: &Arc<Self>, class: Priority, epoch: u64, number: u64, fate: Fate) {
        let mut incoming = self.incoming();
        let Some(end) = incoming.end(class, epoch) else { return };
        match fate {
            Fate::LetGo => end.lane.release(number),
            Fate::Short => {
                end.lane.release(number);
                drop(incoming);
                // It may be asked for again.
                self.call_link(&self.outgoing());
            }
            Fate::Committed => {
                if end.lane.commit(number) {
                    self.save(end, class);
                }
            }
            // The sender may have settled it meanwhile.
            Fate::Refused(reason) if end.lane.has_taken(number) => {
                end.refusals.insert(number, Refused { reason, is_told: false });
                drop(incoming);
                self.call_link(&self.outgoing());
            }
            Fate::Refused(_) => {}
        }
    }

    /// Makes durable what is not, unless somebody does already.
    fn save(self: &Arc<Self>, end: &mut End, class: Priority) {
        if !std::mem::replace(&mut end.is_saving, true) {
            let lanes = Arc::clone(self);
            self.keeper.runtime.spawn(lanes.save_all(class, end.lane.epoch()));
        }
    }

    async fn save_all(self: Arc<Self>, class: Priority, epoch: u64) {
        while let Some((snapshot, durable)) = self.next_save(class, epoch) {
            let saved = durable.await;
            if self.handle_saved(class, epoch, &snapshot, saved) == Retry::Later {
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
        self.call_link(&self.outgoing());
    }

    /// Has the store save what it does not have, if there is something.
    fn next_save(&self, class: Priority, epoch: u64) -> Option<(Arrived, Durable)> {
        let mut incoming = self.incoming();
        let end = incoming.end(class, epoch)?;
        if !end.is_saving || end.is_durable && !end.lane.is_unsaved() {
            end.is_saving = false;
            return None;
        }
        Some(self.save_arrivals(end, class))
    }

    /// Under the lock, so that the store hears of snapshots in their order.
    fn save_arrivals(&self, end: &mut End, class: Priority) -> (Arrived, Durable) {
        let snapshot = end.lane.snapshot();
        let Arrived { since, base, bits: window } = snapshot;
        let stored = StoredReceiveLane { key: self.key(class), epoch: end.lane.epoch(), since, base, window };
        (snapshot, self.keeper.store.save_arrivals(stored))
    }

    /// Has the store save what was committed last; nobody waits to tell the peer of it.
    pub(super) fn save_last(&self) {
        let mut incoming = self.incoming();
        for (class, end) in Priority::ALL.into_iter().zip(&mut incoming.classes) {
            if let Some(end) = end.as_deref_mut().filter(|end| end.is_durable && end.lane.is_unsaved()) {
                drop(self.save_arrivals(end, class));
            }
        }
    }

    fn handle_saved(
        &self,
        class: Priority,
        epoch: u64,
        snapshot: &Arrived,
        saved: Result<(), StoreFailure>,
    ) -> Retry {
        let mut incoming = self.incoming();
        let Some(end) = incoming.end(class, epoch) else { return Retry::Now };
        match saved {
            Ok(()) => {
                end.lane.handle_saved(snapshot);
                end.is_durable = true;
                end.owes = true;
            }
            Err(failure @ (StoreFailure::Broken | StoreFailure::Closed)) => {
                tracing::debug!(peer = %self.id, "arrivals are not saved: {failure}");
                end.is_saving = false;
                end.is_refused |= !end.is_durable;
                end.owes |= end.is_refused;
            }
            Err(failure) => {
                tracing::debug!(peer = %self.id, "arrivals are not saved yet: {failure}");
                return Retry::Later;
            }
        }
        drop(incoming);
        self.call_link(&self.outgoing());
        Retry::Now
    }

    /// Tells the peer what has arrived, if it is to know; says whether nothing is left to say.
    pub(super) fn tell_states(&self, hub: &Hub, peer: &Peer, token: u64, now: Instant) -> bool {
        let mut is_done = true;
        let mut incoming = self.incoming();
        for (class, end) in Priority::ALL.into_iter().zip(&mut incoming.classes) {
            let Some(end) = end.as_deref_mut() else { continue };
            let refusal = end.next_refusal(class);
            // If the peer has not spoken of the lane in this session, it will be told when it does. Or it has already spoken in
            // the next one, whose link has yet to get the outbox from this one: then that link owes it.
            if !(end.owes || refusal.is_some()) || end.heard != Some(token) {
                continue;
            }
            let mut lane = peer.lane();
            if !lane.is_owned_by(token) {
                return true;
            }
            let mut body = [0; LaneState::MAX_LEN];
            let (kind, len) = match &refusal {
                Some(refusal) if !end.owes => (LaneRefusal::KIND, refusal.encode(&mut body)),
                _ => (LaneState::KIND, end.state().encode(&mut body)),
            };
            let len = len.unwrap_or(0);
            if may_tell(&lane, end.told, len)
                && let Some(ticket) = tell(hub, &mut lane, now, kind, &body[..len])
            {
                end.told = Some(ticket);
                match &refusal {
                    Some(refusal) if !end.owes => end.handle_refusal_told(refusal),
                    _ => end.owes = false,
                }
                is_done &= end.next_refusal(class).is_none();
            } else {
                is_done = false;
            }
        }
        is_done
    }
}
