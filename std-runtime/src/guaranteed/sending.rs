//! Guaranteed messages on their way to the disk: one, or many of a batch that share its syncs.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyphal_core::ids::MessageId;

use super::{Accepted, Called, Lanes, Storing, Terms};
use crate::clock;
use crate::closing::{self, Wishes};
use crate::error::SendError;
use crate::hub::Hub;
use crate::message::{Outgoing, Overflow, SendOptions};
use crate::peer::Peer;
use crate::receipt::{Receipt, Tracked};
use crate::store::{Room, StoredMessage};

/// Stores one message; it is accepted then.
pub(crate) async fn send(
    hub: &Hub,
    peer: Arc<Peer>,
    message: Outgoing<'_>,
    is_tracked: bool,
) -> Result<(MessageId, Option<Receipt>), SendError> {
    let (lanes, len) = lanes_for(hub, &peer, &message)?;
    let room = match message.options.overflow {
        Overflow::Wait => lanes.reserve(len).await,
        Overflow::Fail | Overflow::Shed => lanes.try_reserve(len),
    }
    .map_err(|error| lanes.note_refused(error))?;
    let class = message.options.priority;
    let Accepted { id, outcome, storing } = accept(hub, &peer, lanes, message, len, room, is_tracked)?;
    storing.await?;
    let called = || Called::new(Arc::clone(lanes), class, id);
    let receipt =
        outcome.map(|outcome| Receipt::new(Tracked::in_lane(called(), len, outcome), Arc::clone(&peer)));
    Ok((id, receipt))
}

/// The lanes that the message may go into, and the bytes that it takes there.
fn lanes_for<'p>(
    hub: &Hub,
    peer: &'p Peer,
    message: &Outgoing<'_>,
) -> Result<(&'p Arc<Lanes>, usize), SendError> {
    let lane = peer.lane();
    lane.check_open()?;
    let max = lane.outbox.max_message();
    drop(lane);
    let wishes = Wishes::of(hub, message.options);
    let len = wishes.stored_len(message.payload.len()).filter(|len| *len <= max as usize);
    let max = if wishes.need_envelope() { wishes.longest(max, true) } else { max };
    let len = len.ok_or(SendError::TooLong { max })?;
    Ok((peer.lanes.as_ref().ok_or(SendError::NoStore)?, len))
}

/// Gives the message its number, seals and signs it with that if it is to be, and begins to store it. `len`: the bytes that it
/// takes in the store.
fn accept(
    hub: &Hub,
    peer: &Peer,
    lanes: &Arc<Lanes>,
    message: Outgoing<'_>,
    len: usize,
    room: Room,
    is_tracked: bool,
) -> Result<Accepted, SendError> {
    // The peer may have been removed while the message waited for room: what it gets then, nobody would ever see to.
    peer.lane().check_open()?;
    let (options, accepted_at) = (message.options, clock::wall_time());
    let SendOptions { ttl, priority, .. } = options;
    let draft = lanes.number(priority, Terms { ttl, accepted_at, len, is_tracked })?;
    let wishes = Wishes::of(hub, options);
    let full = wishes.need_envelope();
    let (kind, payload) = match full {
        true => (0, closing::close(hub, Some(peer), &message, wishes, draft.id())?.bytes),
        false => (message.kind, message.payload.into_shared()),
    };
    draft.store(room, StoredMessage { kind, ttl, accepted_at, full, payload })
}

/// The Guaranteed messages of a batch that are not durable yet, oldest first.
#[derive(Default)]
pub(crate) struct Convoy {
    storing: VecDeque<Storing>,
    /// Why the message after them was not taken, though it had room: it is not among those that are yet to come.
    refused: Option<SendError>,
    /// Room for the next one.
    reserving: Option<Reserving>,
}

type Reserving = Pin<Box<dyn Future<Output = Result<Room, SendError>> + Send>>;

impl Convoy {
    /// Takes the Guaranteed messages that `next` gives, as `peek` shows them, until there is none or it has to wait; counts in
    /// `accepted` those that are durable. Ready when all are.
    pub(crate) fn poll_store<'m, I: Iterator<Item = Outgoing<'m>>>(
        &mut self,
        cx: &mut Context<'_>,
        hub: &Hub,
        peer: &Peer,
        messages: &mut std::iter::Peekable<I>,
        accepted: &mut u64,
        check: impl Fn(&Outgoing<'_>) -> Result<(), SendError>,
    ) -> Poll<Result<(), SendError>> {
        loop {
            let mut refused = None;
            while self.storing.len() < CONVOY
                && self.refused.is_none()
                && let Some(message) = messages.peek()
                && message.options.is_guaranteed()
            {
                let begun = check(message).and_then(|()| lanes_for(hub, peer, message));
                let overflow = message.options.overflow;
                let room = begun.map(|(lanes, len)| {
                    self.poll_room(cx, lanes, len, overflow).map(|room| (lanes, len, room))
                });
                match room {
                    Ok(Poll::Ready((lanes, len, Ok(room)))) => {
                        let Some(message) = messages.next() else { break };
                        match accept(hub, peer, lanes, message, len, room, false) {
                            Ok(Accepted { storing, .. }) => self.storing.push_back(storing),
                            Err(error) => self.refused = Some(error),
                        }
                    }
                    Ok(Poll::Ready((.., Err(error)))) | Err(error) => refused = Some(error),
                    Ok(Poll::Pending) => break,
                }
                if refused.is_some() {
                    break;
                }
            }
            match self.storing.front_mut().map(|storing| Pin::new(storing).poll(cx)) {
                Some(Poll::Ready(Ok(()))) => {
                    self.storing.pop_front();
                    *accepted += 1;
                }
                Some(Poll::Ready(Err(error))) => {
                    self.storing.pop_front();
                    return Poll::Ready(Err(error));
                }
                Some(Poll::Pending) => {
                    // What was refused before it was taken is refused again when those before it are durable.
                    return Poll::Pending;
                }
                None => match self.refused.take().or(refused) {
                    Some(error) => {
                        let noted = peer.lanes.as_ref().map_or(error, |lanes| lanes.note_refused(error));
                        return Poll::Ready(Err(noted));
                    }
                    None if self.reserving.is_some() => return Poll::Pending,
                    None => return Poll::Ready(Ok(())),
                },
            }
        }
    }

    fn poll_room(
        &mut self,
        cx: &mut Context<'_>,
        lanes: &Arc<Lanes>,
        len: usize,
        overflow: Overflow,
    ) -> Poll<Result<Room, SendError>> {
        if self.reserving.is_none() {
            let room = lanes.try_reserve(len);
            let is_full = matches!(room, Err(SendError::StoreFull));
            if !is_full || overflow != Overflow::Wait {
                return Poll::Ready(room);
            }
            let lanes = Arc::clone(lanes);
            self.reserving = Some(Box::pin(async move { lanes.reserve(len).await }));
        }
        let Some(reserving) = &mut self.reserving else { return Poll::Pending };
        let room = std::task::ready!(reserving.as_mut().poll(cx));
        self.reserving = None;
        Poll::Ready(room)
    }
}

impl fmt::Debug for Convoy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Convoy").field("storing", &self.storing.len()).finish_non_exhaustive()
    }
}

/// Messages of one batch that wait for the disk together.
const CONVOY: usize = 4096;
