//! Sending: one message, many to one peer, one to all. Numbers are given and messages queued under the lane's lock, so that
//! the order of numbers is the order of queues, which the receivers' duplicate filters count on.

use std::fmt;
use std::future::poll_fn;
use std::iter::Peekable;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyphal_core::ids::{MessageId, NodeId};
use hyphal_core::outbox::{self, Header, Ticket};
use hyphal_core::time::Instant;
use hyphal_core::wire::family::Family;
use hyphal_core::wire::revocation::REVOCATIONS;
use tokio::task::coop;

use crate::builder::MAX_MESSAGE;
use crate::closing::{self, Closed, Wishes};
use crate::compression::{Effort, Packed};
use crate::error::{BatchError, SendError};
use crate::guaranteed::{self, Convoy};
use crate::hub::Hub;
use crate::message::{Outgoing, Overflow, Payload, SendOptions};
use crate::peer::{Lane, Peer, Place};
use crate::receipt::{Receipt, Tracked};

/// Queues one message, or does what its options say if there is no room.
pub(crate) async fn send(
    hub: &Hub,
    peer: NodeId,
    message: Outgoing<'_>,
    is_tracked: bool,
) -> Result<(MessageId, Option<Receipt>), SendError> {
    check(&message)?;
    let mut place = Place::new(hub.peer(&peer).ok_or(SendError::UnknownPeer)?);
    if message.options.is_guaranteed() {
        return guaranteed::send(hub, Arc::clone(&place.peer), message, is_tracked).await;
    }
    let overflow = message.options.overflow;
    let form = prepare(hub, &place.peer, &message)?;
    let push = |lane: &mut Lane| push(hub, lane, &message, &form, is_tracked);
    let (id, tracked) = poll_fn(|cx| place.poll_push(cx, overflow, push)).await?;
    Ok((id, tracked.map(|tracked| Receipt::new(tracked, Arc::clone(&place.peer)))))
}

/// Queues one message if there is room at once, or if it makes room for itself.
pub(crate) fn try_send(
    hub: &Hub,
    peer: NodeId,
    message: &Outgoing<'_>,
    is_tracked: bool,
) -> Result<(MessageId, Option<Receipt>), SendError> {
    check(message)?;
    if message.options.is_guaranteed() {
        return Err(SendError::NotGuaranteed);
    }
    let peer = hub.peer(&peer).ok_or(SendError::UnknownPeer)?;
    let form = prepare(hub, &peer, message)?;
    let mut lane = peer.lane();
    let push = |lane: &mut Lane| push(hub, lane, message, &form, is_tracked);
    let pushed = match message.options.overflow {
        Overflow::Wait | Overflow::Fail => lane.try_push(push),
        Overflow::Shed => lane.push_first(push),
    };
    drop(lane);
    let (id, tracked) = pushed?;
    Ok((id, tracked.map(|tracked| Receipt::new(tracked, peer))))
}

/// What is queued of a message.
enum Form {
    /// Its payload.
    Plain,
    /// Its payload compressed, if the peer takes it so.
    Packed(Packed),
    /// Its envelope.
    Closed(Closed),
}

/// The message in its envelope if it is to be sealed or signed, or else compressed, if somebody wants that and the peer takes
/// it. Before the lane is locked: either takes its time.
fn prepare(hub: &Hub, peer: &Peer, message: &Outgoing<'_>) -> Result<Form, SendError> {
    let wishes = Wishes::of(hub, message.options);
    if wishes.need_envelope() {
        let id = hub.message_id(hub.sequence.fetch_add(1, Relaxed));
        return closing::close(hub, Some(peer), message, wishes, id).map(Form::Closed);
    }
    if !hub.codec.names(message.kind) {
        return Ok(Form::Plain);
    }
    let taker = peer.lane().taker();
    let packed = hub.codec.pack(message.kind, taker, message.payload.as_slice());
    Ok(packed.map_or(Form::Plain, Form::Packed))
}

fn push(
    hub: &Hub,
    lane: &mut Lane,
    message: &Outgoing<'_>,
    form: &Form,
    is_tracked: bool,
) -> Result<(MessageId, Option<Tracked>), SendError> {
    if is_tracked && !lane.outbox.ledger().has_room() {
        return Err(SendError::QueueFull);
    }
    let sequence = hub.sequence.fetch_add(1, Relaxed);
    let header = header(lane, message.kind, message.options, sequence);
    let now = hub.clock.now();
    let (id, (ticket, len)) = match form {
        Form::Closed(closed) => (closed.id, enqueue_closed(lane, now, message.options, header, closed)?),
        Form::Plain | Form::Packed(_) => {
            make_room(lane, now, message.options, message.payload.len());
            let packed = if let Form::Packed(packed) = form { Some(packed) } else { None };
            let queued = enqueue(hub, lane, now, header, message.payload.for_outbox(), packed)?;
            (hub.message_id(sequence), queued)
        }
    };
    let tracked = is_tracked.then(|| lane.outbox.ledger().track(ticket, len));
    wake(hub, lane);
    Ok((id, tracked))
}

/// Queues an envelope; gives its length.
fn enqueue_closed(
    lane: &mut Lane,
    now: Instant,
    options: SendOptions,
    header: Header,
    closed: &Closed,
) -> Result<(Ticket, usize), SendError> {
    let len = closed.bytes.len();
    make_room(lane, now, options, len);
    let header = Header { kind: 0, full: true, ..header };
    let pushed = lane.outbox.push(now, header, outbox::Payload::Shared(closed.bytes.clone()));
    pushed.map(|ticket| (ticket, len)).map_err(|error| closed.explain(error.into()))
}

/// Queues the compressed form if there is one and the peer takes it, else the payload as it is; gives the length of either.
fn enqueue(
    hub: &Hub,
    lane: &mut Lane,
    now: Instant,
    header: Header,
    payload: outbox::Payload<'_, Bytes>,
    packed: Option<&Packed>,
) -> Result<(Ticket, usize), SendError> {
    let Some(Packed { bytes, compressed }) =
        packed.filter(|packed| lane.taker().methods.has(packed.compressed.method))
    else {
        let len = payload.as_slice().len();
        return Ok((lane.outbox.push(now, header, payload)?, len));
    };
    let header = Header { compressed: Some(*compressed), ..header };
    let ticket = lane.outbox.push(now, header, outbox::Payload::Shared(bytes.clone()))?;
    hub.tally.traffic.packed.add(*compressed, bytes.len());
    Ok((ticket, bytes.len()))
}

/// Sheds other messages for the sake of one of `len` bytes, if its options say so.
#[inline]
fn make_room(lane: &mut Lane, now: Instant, options: SendOptions, len: usize) {
    if options.overflow == Overflow::Shed && !lane.outbox.space_for(len) {
        // Whether it sufficed shows when the message is pushed.
        lane.outbox.make_room(now, len, options.priority);
    }
}

/// A batch on its way into a peer's queue, from [`Node::send_batch`](crate::Node::send_batch).
///
/// Resolves to the number of accepted messages when the iterator has ended. It may be polled by reference and dropped at
/// any time: [`accepted`](Self::accepted) messages are queued, in order, and the others are not; of Guaranteed ones, some more
/// may be stored.
///
/// While it waits for room it keeps its place in the line for that peer, and whoever came later waits behind it:
/// poll it until it is ready, or drop it. One that is kept and not polled holds up all other waiting senders to the peer,
/// and `try_send_direct` is refused as `QueueFull` meanwhile. While its Guaranteed messages are on their way to the disk, it
/// holds up what is accepted later in their priorities in the same way.
#[must_use = "nothing is sent unless the batch is awaited"]
pub struct SendBatch<'m, I: Iterator<Item = Outgoing<'m>>> {
    hub: Arc<Hub>,
    place: Option<Place>,
    messages: Peekable<I>,
    /// The next message compressed, or found not worth it, while it waits for room.
    packed: Option<Option<Packed>>,
    /// The next message in its envelope, if it needs one.
    closed: Option<Closed>,
    /// Those that are being stored.
    convoy: Convoy,
    accepted: u64,
}

impl<'m, I: Iterator<Item = Outgoing<'m>>> SendBatch<'m, I> {
    pub(crate) fn new(hub: Arc<Hub>, peer: NodeId, messages: I) -> Self {
        let place = hub.peer(&peer).map(Place::new);
        Self {
            hub,
            place,
            messages: messages.peekable(),
            packed: None,
            closed: None,
            convoy: Convoy::default(),
            accepted: 0,
        }
    }

    /// How many messages were queued so far, from the first on.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    fn poll_next_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Part, SendError>> {
        let Self { hub, place, messages, packed, closed, convoy, accepted } = self;
        let Some(place) = place else { return Poll::Ready(Err(SendError::UnknownPeer)) };
        if let Err(error) = ready!(convoy.poll_store(cx, hub, &place.peer, messages, accepted, check)) {
            return Poll::Ready(Err(error));
        }
        if messages.peek().is_none() {
            return Poll::Ready(Ok(Part::Last));
        }
        if closed.is_none()
            && let Some(message) = messages.peek()
            && let wishes = Wishes::of(hub, message.options)
            && wishes.need_envelope()
        {
            // Before the lane is locked.
            let id = hub.message_id(hub.sequence.fetch_add(1, Relaxed));
            let result =
                check(message).and_then(|()| closing::close(hub, Some(&place.peer), message, wishes, id));
            match result {
                Ok(made) => *closed = Some(made),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let overflow = messages.peek().map_or(Overflow::Wait, |message| message.options.overflow);
        place.poll_push(cx, overflow, |lane| {
            let now = hub.clock.now();
            let mut numbers = Numbers::new(hub);
            let mut run: Option<Run> = None;
            let mut pushed = 0;
            let mut read = 0;
            let result = loop {
                if let Some(run) = &run
                    && run.is_plain()
                    && let Err(error) = run.push_all(lane, now, messages, &mut numbers, &mut pushed)
                {
                    break Err(error);
                }
                if pushed == PART || read >= PART_BYTES {
                    break Ok(Part::More);
                }
                let Some(message) = messages.peek() else { break Ok(Part::Last) };
                if message.options.overflow != overflow || message.options.is_guaranteed() {
                    break Ok(Part::More);
                }
                if let Err(error) = check(message) {
                    break Err(error);
                }
                let Run { header, is_packing, needs_envelope, .. } =
                    *run.insert(Run::of(hub, lane, message.kind, message.options));
                if needs_envelope && closed.is_none() {
                    break Ok(Part::Closing);
                }
                let header = Header { sequence: numbers.peek(), ..header };
                if !needs_envelope {
                    make_room(lane, now, message.options, message.payload.len());
                }
                let payload = message.payload.for_outbox();
                let result = if let Some(closed) = closed {
                    enqueue_closed(lane, now, message.options, header, closed).map(drop)
                } else if is_packing {
                    let original = message.payload.as_slice();
                    let pack = || hub.codec.pack(message.kind, lane.taker(), original);
                    let packed = packed.get_or_insert_with(pack).as_ref();
                    read += original.len();
                    enqueue(hub, lane, now, header, payload, packed).map(drop)
                } else {
                    lane.outbox.push(now, header, payload).map(drop).map_err(SendError::from)
                };
                if let Err(error) = result {
                    break Err(error);
                }
                *packed = None;
                *closed = None;
                numbers.advance();
                messages.next();
                pushed += 1;
            };
            drop(numbers);
            *accepted += pushed;
            if pushed > 0 {
                wake(hub, lane);
            }
            // On a full queue the rest waits, and this sender keeps its place in line.
            result
        })
    }
}

/// Messages of a batch with the same type and options: what is the same for all of them is found out once.
#[derive(Clone, Copy)]
struct Run {
    options: SendOptions,
    /// Without the number.
    header: Header,
    is_packing: bool,
    needs_envelope: bool,
}

impl Run {
    fn of(hub: &Hub, lane: &Lane, kind: u16, options: SendOptions) -> Self {
        Self {
            options,
            header: header(lane, kind, options, 0),
            is_packing: hub.codec.names(kind),
            needs_envelope: Wishes::of(hub, options).need_envelope(),
        }
    }

    /// Whether the messages are queued as they are, where there is room.
    fn is_plain(&self) -> bool {
        !self.is_packing && !self.needs_envelope
    }

    /// Queues the next messages as long as they belong to the run and there is room: the hot path of small messages.
    #[inline]
    fn push_all<'m>(
        &self,
        lane: &mut Lane,
        now: Instant,
        messages: &mut Peekable<impl Iterator<Item = Outgoing<'m>>>,
        numbers: &mut Numbers<'_>,
        pushed: &mut u64,
    ) -> Result<(), SendError> {
        let Self { options, header, .. } = *self;
        while *pushed < PART
            && let Some(message) = messages.next_if(|message| {
                message.kind == header.kind
                    && message.options == options
                    && message.payload.len() <= MAX_MESSAGE as usize
                    && lane.outbox.space_for(message.payload.len())
            })
        {
            let payload = message.payload.into_outbox();
            lane.outbox.push(now, Header { sequence: numbers.peek(), ..header }, payload)?;
            numbers.advance();
            *pushed += 1;
        }
        Ok(())
    }
}

/// Messages that are queued under one lock; the link gets its turn in between.
const PART: u64 = 1024;

/// Envelopes that are made before other tasks get their turn.
const CLOSED: u32 = 16;

/// Bytes that are compressed under one lock.
const PART_BYTES: usize = 64 * 1024;

impl<'m, I: Iterator<Item = Outgoing<'m>>> fmt::Debug for SendBatch<'m, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendBatch").field("accepted", &self.accepted).finish_non_exhaustive()
    }
}

/// How much of a batch is done.
enum Part {
    More,
    /// The next message needs an envelope.
    Closing,
    Last,
}

impl<'m, I: Iterator<Item = Outgoing<'m>> + Unpin> Future for SendBatch<'m, I> {
    type Output = Result<u64, BatchError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut made = 0;
        loop {
            // A queue that sheds, or that a link empties meanwhile, is never full.
            let turn = ready!(coop::poll_proceed(cx));
            let part = ready!(self.poll_next_part(cx));
            turn.made_progress();
            match part {
                Ok(Part::More) => {}
                Ok(Part::Closing) if made < CLOSED => made += 1,
                Ok(Part::Closing) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(Part::Last) => return Poll::Ready(Ok(self.accepted)),
                Err(error) => return Poll::Ready(Err(BatchError { accepted: self.accepted, error })),
            }
        }
    }
}

/// Numbers for a batch, taken in spans; what is left of the last span is given back if nobody took one meanwhile.
struct Numbers<'h> {
    hub: &'h Hub,
    next: u64,
    end: u64,
}

impl<'h> Numbers<'h> {
    const SPAN: u64 = 64;

    fn new(hub: &'h Hub) -> Self {
        Self { hub, next: 0, end: 0 }
    }

    #[inline]
    fn peek(&mut self) -> u64 {
        if self.next == self.end {
            self.next = self.hub.sequence.fetch_add(Self::SPAN, Relaxed);
            self.end = self.next + Self::SPAN;
        }
        self.next
    }

    #[inline]
    fn advance(&mut self) {
        self.next += 1;
    }
}

impl Drop for Numbers<'_> {
    fn drop(&mut self) {
        if self.next != self.end {
            // Numbers that nobody gives back are skipped, which costs a few bytes.
            let _ = self.hub.sequence.compare_exchange(self.end, self.next, Relaxed, Relaxed);
        }
    }
}

/// What became of a broadcast at each peer.
#[derive(Debug)]
#[non_exhaustive]
pub struct Broadcast {
    /// The id of the message, the same for all peers.
    pub id: MessageId,
    /// The peers in whose queues it is, with a receipt each if the broadcast is tracked.
    pub accepted: Vec<(NodeId, Option<Receipt>)>,
    /// The peers that will not get it, and why.
    pub refused: Vec<(NodeId, SendError)>,
}

/// Queues one message for all peers, sharing its payload. Unless its options say otherwise, waits for room at peers as long
/// as they have a session; the others take it if there is room at once, and strangers that are not here are passed over.
pub(crate) async fn broadcast(
    hub: &Hub,
    kind: u16,
    payload: Payload<'_>,
    options: SendOptions,
    is_tracked: bool,
) -> Result<Broadcast, SendError> {
    let payload = payload.into_shared();
    let message = Outgoing { kind, payload: Payload::Shared(payload), options };
    check(&message)?;
    if options.is_guaranteed() {
        return Err(SendError::NotGuaranteed);
    }
    let wishes = Wishes::of_broadcast(hub, options)?;
    let closed = if wishes.need_envelope() {
        let id = hub.message_id(hub.sequence.fetch_add(1, Relaxed));
        Some(closing::close(hub, None, &message, wishes, id)?)
    } else {
        None
    };
    let peers = hub.peers();
    let (mut wave, mut places) = Wave::begin(hub, message, closed, is_tracked, &peers);
    poll_fn(|cx| {
        places.retain_mut(|place| match place.poll_push_attached(cx, |lane| wave.push(hub, lane)) {
            Poll::Ready(result) => {
                wave.settle(&place.peer, result);
                false
            }
            Poll::Pending => true,
        });
        if places.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    Ok(wave.result)
}

/// One broadcast under way.
struct Wave {
    now: Instant,
    kind: u16,
    sequence: u64,
    options: SendOptions,
    payload: Bytes,
    /// Compressed in each way that the profile of some peer asks for.
    packed: Vec<(Effort, Option<Packed>)>,
    /// Its envelope, if it is signed.
    closed: Option<Closed>,
    is_tracked: bool,
    result: Broadcast,
}

impl Wave {
    /// Gives the broadcast its number and queues it wherever there is room; gives places in line where it is worth waiting.
    ///
    /// Under the lock of broadcasts, so that every peer's line has them in the order of their numbers.
    fn begin(
        hub: &Hub,
        message: Outgoing<'_>,
        closed: Option<Closed>,
        is_tracked: bool,
        peers: &[Arc<Peer>],
    ) -> (Self, Vec<Place>) {
        let Outgoing { kind, payload, options } = message;
        let payload = payload.into_shared();
        let packed = match &closed {
            Some(_) => Vec::new(),
            None => pack_for_all(hub, kind, &payload, peers),
        };
        let _turn = hub.broadcasts.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = hub.sequence.fetch_add(1, Relaxed);
        let mut wave = Self {
            now: hub.clock.now(),
            kind,
            sequence,
            options,
            payload,
            packed,
            is_tracked,
            result: Broadcast {
                id: closed.as_ref().map_or(hub.message_id(sequence), |closed| closed.id),
                accepted: Vec::with_capacity(peers.len()),
                refused: Vec::new(),
            },
            closed,
        };
        let mut places = Vec::new();
        for peer in peers {
            let mut lane = peer.lane();
            if !lane.takes_broadcasts() {
                continue;
            }
            match lane.try_push(|lane| wave.push(hub, lane)) {
                Err(SendError::QueueFull) if options.overflow == Overflow::Wait && lane.is_attached() => {
                    let number = lane.reserve_place();
                    drop(lane);
                    places.push(Place { peer: Arc::clone(peer), number });
                }
                result => {
                    drop(lane);
                    wave.settle(peer, result);
                }
            }
        }
        (wave, places)
    }

    fn push(&self, hub: &Hub, lane: &mut Lane) -> Result<Option<Tracked>, SendError> {
        let has_room = !self.is_tracked || lane.outbox.ledger().has_room();
        // A stranger may have gone away while the broadcast waited for it.
        if !has_room || !lane.takes_broadcasts() {
            return Err(SendError::QueueFull);
        }
        let (ticket, len) = match &self.closed {
            Some(closed) => enqueue_closed(lane, self.now, self.options, self.header(lane), closed)?,
            None => self.enqueue(hub, lane)?,
        };
        let tracked = self.is_tracked.then(|| lane.outbox.ledger().track(ticket, len));
        wake(hub, lane);
        Ok(tracked)
    }

    fn enqueue(&self, hub: &Hub, lane: &mut Lane) -> Result<(Ticket, usize), SendError> {
        make_room(lane, self.now, self.options, self.payload.len());
        let payload = outbox::Payload::Shared(self.payload.clone());
        let effort = hub.codec.effort_for(self.kind, lane.taker());
        let packed = self.packed.iter().find(|(made_by, _)| Some(*made_by) == effort);
        let packed = packed.and_then(|(_, packed)| packed.as_ref());
        enqueue(hub, lane, self.now, self.header(lane), payload, packed)
    }

    fn header(&self, lane: &Lane) -> Header {
        Header { broadcast: true, ..header(lane, self.kind, self.options, self.sequence) }
    }

    fn settle(&mut self, peer: &Arc<Peer>, result: Result<Option<Tracked>, SendError>) {
        match result {
            Ok(tracked) => {
                let receipt = tracked.map(|tracked| Receipt::new(tracked, Arc::clone(peer)));
                self.result.accepted.push((peer.id, receipt));
            }
            Err(error) => self.result.refused.push((peer.id, error)),
        }
    }
}

/// The payload compressed once in each way that some peer asks for. A peer that asks for another one by the time of its turn gets the original.
fn pack_for_all(hub: &Hub, kind: u16, payload: &[u8], peers: &[Arc<Peer>]) -> Vec<(Effort, Option<Packed>)> {
    let mut packed: Vec<(Effort, Option<Packed>)> = Vec::new();
    if hub.codec.names(kind) {
        for effort in peers.iter().filter_map(|peer| hub.codec.effort_for(kind, peer.lane().taker())) {
            if packed.iter().all(|(made_by, _)| *made_by != effort) {
                packed.push((effort, hub.codec.press(effort, payload)));
            }
        }
    }
    packed
}

/// What no peer takes, whatever its state.
fn check(message: &Outgoing<'_>) -> Result<(), SendError> {
    match Family::of(message.kind) {
        None => return Err(SendError::UnknownType),
        Some(Family::Delivery) => return Err(SendError::ReservedType),
        Some(_) => {}
    }
    if message.kind == REVOCATIONS {
        return Err(SendError::ReservedType);
    }
    if message.payload.len() > MAX_MESSAGE as usize {
        return Err(SendError::TooLong { max: MAX_MESSAGE });
    }
    Ok(())
}

/// What the outbox must know of a direct message.
fn header(lane: &Lane, kind: u16, options: SendOptions, sequence: u64) -> Header {
    let reliability = lane.reliability(options.reliability);
    Header { kind, priority: options.priority, reliability, sequence, ttl: options.ttl, ..Header::default() }
}

/// Wakes the link, or whoever sees to the messages of peers without one.
fn wake(hub: &Hub, lane: &Lane) {
    if !lane.wake_link() {
        hub.unattended.notify_one();
    }
}
