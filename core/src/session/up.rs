//! The established session: one record in, one record out, and the clockwork that keeps both ends alive.
//!
//! It is not the session's life: who may come in and how it ends is decided a level above. Every deadline that passed
//! becomes a want in `handle_timeout`, and the next record fulfils all wants at once.
//!
//! Invariant: a record is checked as a whole before anything of it takes effect.

use core::num::NonZeroU64;

use super::acks::Acks;
use super::clock::{self, PeerClock};
use super::credit::{Allowance, Grant};
use super::parts::Parts;
use super::pulse::Pulse;
use super::renewal::Renewal;
use super::spread::Spread;
use crate::aead::{Aead, TAG_LEN};
use crate::handshake::{Config, Counterpart, Finished};
use crate::ids::{Hints, MessageId, NodeId, Priority};
use crate::outbox::{Outbox, Storage};
use crate::record::{self, KeyLife, Opener, Sealer, SessionKeys};
use crate::time::{Duration, Instant};
use crate::wire::control::Control;
use crate::wire::message::{self, Compressed, Encoder, FRAGMENT_LEN, MessageHeader, Part, Place};
use crate::wire::reason::Reason;
use crate::wire::record::{self as layout, Body, RecordHeader};

/// Sealed bytes of a record that many messages share: the longest that a two-byte length field names. Longer records
/// save next to nothing per message and make an urgent one wait.
const SHARED_LEN: usize = (1 << 14) - 1;

/// Sealed bytes of the longest record that is written: one whole part of a message.
pub(super) const MAX_SEALED_LEN: usize =
    RecordHeader::MAX_LEN + message::MAX_OVERHEAD + FRAGMENT_LEN + TAG_LEN;

pub(super) struct Up<A> {
    peer: Counterpart,
    sealer: Sealer<A>,
    opener: Opener<A>,
    established_at: Instant,
    hints: Hints,
    first: First,
    messages: Sequences,
    /// The received messages that are not whole.
    parts: Parts,
    /// What this end may send, and what the peer may.
    allowance: Allowance,
    grant: Grant,
    acks: Acks,
    clock: PeerClock,
    spread: Spread,
    pulse: Pulse,
    renewal: Renewal,
}

/// What is special about the first record of this end, while it is still to be written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    /// The responder's is Accept.
    Accept,
    /// The initiator's after KK proves to the responder who is there: it carries no messages, which nobody awaits yet.
    Proof,
    /// Nothing, or it was written.
    Ordinary,
}

/// The sequences last written and last read, from which the next ones are told apart.
#[derive(Default)]
struct Sequences {
    written: Option<u64>,
    read: Option<u64>,
}

/// An opened record of this session, not yet acted on.
pub(super) struct Opened<'d> {
    pub(super) used: usize,
    counter: u64,
    header: RecordHeader,
    body: &'d [u8],
}

impl Opened<'_> {
    /// The control message, if the record carries one.
    pub(super) fn control(&self) -> Option<Result<Control, Reason>> {
        (self.header.body == Body::Control).then(|| Control::decode(self.body))
    }

    /// Whether there is a message in it, well-formed or not.
    pub(super) fn has_messages(&self) -> bool {
        self.header.body == Body::Messages && !self.body.is_empty()
    }
}

/// What a record brought for the level above.
pub(super) enum Content<'d> {
    Nothing,
    Messages(Messages<'d>),
    Close { code: u16 },
}

impl<A: Aead> Up<A> {
    pub(super) fn new(now: Instant, config: &Config, finished: &Finished) -> Self {
        let first = match (finished.peer.dialled(), finished.owes_proof) {
            (false, _) => First::Accept,
            (true, true) => First::Proof,
            (true, false) => First::Ordinary,
        };
        let spread = Spread::of(record::places(&finished.sending));
        Self {
            peer: finished.peer,
            sealer: Sealer::new(
                now,
                finished.peer.cipher(),
                &finished.sending,
                KeyLife::of(finished.peer.terms().security.rekey_after()),
            ),
            opener: Opener::new(finished.peer.cipher(), &finished.receiving),
            established_at: now,
            hints: finished.hints,
            first,
            messages: Sequences::default(),
            parts: Parts::default(),
            allowance: Allowance::new(finished.peer.hello().max_record),
            grant: Grant::new(config.window, config.max_record.max(layout::MIN_MAX_LEN)),
            acks: Acks::default(),
            clock: PeerClock::new(now),
            spread,
            pulse: Pulse::new(now, finished.peer.terms(), spread),
            renewal: Renewal::new(now, spread),
        }
    }

    /// Accept has verified: session time starts here.
    pub(super) fn handle_accept(&mut self, now: Instant) {
        self.established_at = now;
        self.clock = PeerClock::new(now);
        self.pulse = Pulse::new(now, self.peer.terms(), self.spread);
        self.renewal = Renewal::new(now, self.spread);
    }

    /// The initiator's first record has verified. Its silence counts from here.
    pub(super) fn handle_proof(&mut self, now: Instant) {
        self.pulse = Pulse::new(now, self.peer.terms(), self.spread);
    }

    pub(super) fn hints(&self) -> Hints {
        self.hints
    }

    /// The keys, which are the first ones until a record was received.
    pub(super) fn keys(&self, frame_id: u64) -> SessionKeys {
        SessionKeys::of(frame_id, self.peer.dialled(), self.peer.cipher(), &self.sealer, &self.opener)
    }

    pub(super) fn peer(&self) -> &Counterpart {
        &self.peer
    }

    /// The longest payload that the peer takes.
    pub(super) fn max_message(&self) -> u32 {
        self.peer.hello().max_message
    }

    /// Opens the record at the start of `bytes` in place; `None` if it is not all there.
    pub(super) fn open<'d>(
        &mut self,
        config: &Config,
        bytes: &'d mut [u8],
    ) -> Result<Option<Opened<'d>>, Reason> {
        let max = usize::from(config.max_record.max(layout::MIN_MAX_LEN));
        let Some((sealed_len, length_len)) = layout::decode_length(bytes, max)? else { return Ok(None) };
        let used = length_len + sealed_len;
        let Some(record) = bytes.get_mut(..used) else { return Ok(None) };
        let (length, sealed) = record.split_at_mut(length_len);
        let counter = self.opener.open(length, sealed).map_err(|_| Reason::Forged)?;
        let (header, body) = RecordHeader::decode(&sealed[..sealed_len - TAG_LEN])?;
        if header.rekey {
            self.opener.rekey();
        }
        Ok(Some(Opened { used, counter, header, body }))
    }

    /// Acts on a record; on `Err` the peer broke a rule and nothing has taken effect.
    pub(super) fn handle_record<'d, S: Storage>(
        &mut self,
        now: Instant,
        config: &Config,
        outbox: &mut Outbox<S>,
        opened: &Opened<'d>,
    ) -> Result<Content<'d>, Reason> {
        let Opened { counter, header, body, .. } = opened;
        if header.ack.is_some_and(|through| through > self.sealer.count()) {
            return Err(Reason::Violation);
        }
        let checked = match header.body {
            Body::Messages => Some(message::check(body, self.messages.read)?),
            Body::Control => None,
        };
        if checked.as_ref().is_some_and(|checked| checked.longest() as u64 > u64::from(config.max_message)) {
            return Err(Reason::TooLong);
        }
        if checked.as_ref().is_some_and(|checked| !config.compression.has_all(checked.methods())) {
            return Err(Reason::Compression);
        }
        let parts = checked.as_ref().map(|checked| self.parts.after(checked)).transpose()?;
        if checked.is_some() && !self.grant.allows(body.len()) {
            return Err(Reason::Violation);
        }
        if self.renewal.peer_drains() && checked.as_ref().is_some_and(|checked| checked.count() > 0) {
            return Err(Reason::Violation);
        }
        let control = opened.control().transpose()?;
        if matches!(control, Some(Control::Accept | Control::Reject(_))) {
            return Err(Reason::Violation);
        }

        let waited = self.clock.handle_stamp(now, header.clock);
        if let Some(counter) = self.pulse.handle_record(now, header) {
            self.sealer.handle_opened(counter + 1);
        }
        if let Some(through) = header.ack {
            outbox.handle_ack(through);
            self.sealer.handle_opened(through);
        }
        if let Some(total) = header.credit {
            self.allowance.handle_credit(total);
        }
        match control {
            Some(Control::Close { code }) => return Ok(Content::Close { code }),
            Some(Control::Drain) => self.renewal.handle_drain(now),
            _ => {}
        }
        let Some(checked) = checked.filter(|checked| checked.count() > 0) else {
            self.acks.handle_record(*counter, false);
            return Ok(Content::Nothing);
        };
        self.acks.handle_record(*counter, true);
        self.messages.read = checked.last_sequence();
        self.parts = parts.unwrap_or(self.parts);
        let source = Source { id: self.peer.id(), epoch: self.peer.hello().boot_id, waited };
        let mark = Mark { record: *counter, bytes: self.grant.handle_received(body.len()) };
        Ok(Content::Messages(Messages { inner: checked.messages(), source, mark }))
    }

    pub(super) fn handle_consumed(&mut self, now: Instant, mark: Mark) {
        self.acks.handle_consumed(now, mark.record);
        self.grant.handle_consumed(mark.bytes);
    }

    pub(super) fn handle_released(&mut self, total: u64) {
        self.grant.handle_consumed(total);
    }

    pub(super) fn handle_ping_request(&mut self) {
        self.pulse.handle_ping_request();
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.acks.handle_timeout(now);
        self.pulse.handle_timeout(now);
        self.renewal.handle_timeout(now);
    }

    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.pulse.is_silent(now)
    }

    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        self.pulse.is_stalled(now)
    }

    /// Whether a delegation has ended that the session rests on.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.peer.expires_at().is_some_and(|at| at <= now)
    }

    pub(super) fn is_worn(&self) -> bool {
        self.sealer.is_worn()
    }

    /// Whether both ends have stopped sending messages and each is done with all of the other's.
    pub(super) fn is_drained<S: Storage>(&self, outbox: &Outbox<S>) -> bool {
        self.renewal.is_agreed() && outbox.in_flight() == 0 && self.acks.is_settled()
    }

    /// The session makes way for another one.
    pub(super) fn retire(&mut self, now: Instant, reason: Reason) {
        self.renewal.retire(now, reason);
    }

    /// What the session closes with when it has made way.
    pub(super) fn reason_to_retire(&self) -> Reason {
        self.renewal.reason()
    }

    /// Whether the session should make way and the peer keeps it from ending in good order.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.renewal.is_over(now)
    }

    pub(super) fn deadline_at(&self) -> Instant {
        let always = self.pulse.due_at().min(self.renewal.due_at());
        [self.acks.due_at(), self.peer.expires_at()].into_iter().flatten().fold(always, Instant::min)
    }

    pub(super) fn poll_rtt(&mut self) -> Option<Duration> {
        self.pulse.poll_rtt()
    }

    /// Writes Accept, once.
    pub(super) fn poll_accept(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize> {
        if self.first != First::Accept {
            return None;
        }
        self.first = First::Ordinary;
        Some(self.write_control(now, Control::Accept, buf))
    }

    /// Writes the next record: Accept or Drain if it is due, else whatever of messages, acknowledgement and heartbeat is there.
    pub(super) fn poll_record<S: Storage>(
        &mut self,
        now: Instant,
        outbox: &mut Outbox<S>,
        buf: &mut [u8],
    ) -> Option<usize> {
        if let Some(len) = self.poll_accept(now, buf) {
            return Some(len);
        }
        if self.renewal.owes_drain() {
            self.renewal.handle_sent();
            return Some(self.write_control(now, Control::Drain, buf));
        }
        let is_proof = self.first == First::Proof;
        let has_messages = self.renewal.is_young() && outbox.has_next() && !is_proof;
        let is_due = self.acks.is_urgent() || self.grant.is_urgent() || self.pulse.wants_record() || is_proof;
        if !is_due && !has_messages {
            return None;
        }
        let header = RecordHeader {
            body: Body::Messages,
            rekey: self.sealer.is_rekey_due(now),
            clock: clock::stamp(self.established_at, now),
            ack: self.acks.pending(),
            credit: self.grant.pending(),
            ping: self.pulse.ping_token(),
            pong: self.pulse.pong_token(),
        };
        let header_len = header.encoded_len();
        // An upper bound of the record tells how long its length field can get; see `seal` for when it gets shorter.
        let most = header_len + TAG_LEN + most_bytes(outbox);
        let max_record = usize::from(self.peer.terms().record).min(buf.len() - layout::MAX_LENGTH_LEN);
        let room_at = layout::length_len(most.min(max_record));
        let body_at = room_at + header_len;
        let body_max = max_record - header_len - TAG_LEN;
        let shared_max = SHARED_LEN.min(max_record) - header_len - TAG_LEN;
        let credit = self.allowance.room();

        let mut encoder = Encoder::new(&mut buf[body_at..body_at + body_max], self.messages.written);
        loop {
            if !has_messages {
                break;
            }
            let queued = outbox.queued();
            let Some(next) = outbox.next(now) else { break };
            let is_message = !next.part.is_some_and(|part| part.is_abandonment());
            let place = if queued == usize::from(is_message) { Place::Last } else { Place::Inner };
            let mut header = MessageHeader {
                priority: next.header.priority,
                broadcast: next.header.broadcast,
                kind: next.header.kind,
                full: next.header.full,
                sequence: next.header.sequence,
                ttl: next.header.ttl,
                age: ticks(next.waited),
                part: next.part,
                compressed: next.header.compressed,
                number: next.header.number,
            };
            // A message too long to share has a record of its own.
            let is_first = encoder.count() == 0;
            let max = if is_first { body_max } else { shared_max };
            // An upper bound where it suffices, as it does but for the last messages of a record.
            let most = encoder.written() + message::MAX_OVERHEAD + next.payload.len();
            let needs = if most < shared_max.min(credit) {
                most
            } else {
                encoder.written() + encoder.needs(&header, next.payload.len(), place)
            };
            // What is too long for any record is written in parts, each alone in its record except the last.
            let is_whole = needs <= max && next.payload.len() <= FRAGMENT_LEN;
            let written = if is_whole {
                (needs <= credit && encoder.push(&header, next.payload, place)).then_some(next.payload.len())
            } else if is_first {
                write_part(&mut encoder, &mut header, next.payload, body_max, credit)
            } else {
                None
            };
            let Some(written) = written else { break };
            outbox.take(written);
            if !is_whole || needs >= shared_max {
                break;
            }
        }
        let (count, body_len) = (encoder.count(), encoder.written());
        if count == 0 && !is_due {
            return None;
        }
        self.first = First::Ordinary;
        self.messages.written = encoder.last_sequence();
        header.encode(&mut buf[room_at..body_at]).expect("its length was asked");
        let (len, counter) = seal(&mut self.sealer, room_at, header_len + body_len, buf);
        if header.rekey {
            self.sealer.rekey(now);
        }
        outbox.handle_record_written(counter);
        self.allowance.handle_sent(body_len);
        if let Some(total) = header.credit {
            self.grant.handle_sent(total);
        }
        if let Some(through) = header.ack {
            self.acks.handle_sent(through);
        }
        self.pulse.handle_sent(now, counter, &header);
        Some(len)
    }

    /// Writes the close, with the last acknowledgement.
    pub(super) fn write_close(&mut self, now: Instant, reason: Reason, buf: &mut [u8]) -> usize {
        self.write_control(now, Control::close(reason), buf)
    }

    fn write_control(&mut self, now: Instant, control: Control, buf: &mut [u8]) -> usize {
        let ack = self.acks.pending();
        let len = write_control(&mut self.sealer, control, clock::stamp(self.established_at, now), ack, buf);
        self.pulse.handle_written(now);
        if let Some(through) = ack {
            self.acks.handle_sent(through);
        }
        len
    }
}

/// Writes a record with one control message and gives its length.
pub(super) fn write_control<A: Aead>(
    sealer: &mut Sealer<A>,
    control: Control,
    clock: u16,
    ack: Option<u64>,
    buf: &mut [u8],
) -> usize {
    let header = RecordHeader { body: Body::Control, clock, ack, ..RecordHeader::default() };
    let header_len = header.encode(&mut buf[1..]).expect("the buffer has room for a control record");
    let body_len =
        control.encode(&mut buf[1 + header_len..]).expect("the buffer has room for a control record");
    seal(sealer, 1, header_len + body_len, buf).0
}

/// Seals the plaintext of `len` bytes at `buf[room_at..]` and puts its length field in front, at the start of `buf`.
///
/// `room_at` is as long as the length field can get; if it gets shorter the record moves forward.
fn seal<A: Aead>(sealer: &mut Sealer<A>, room_at: usize, len: usize, buf: &mut [u8]) -> (usize, u64) {
    let sealed_len = len + TAG_LEN;
    let start = room_at - layout::length_len(sealed_len);
    let (room, sealed) = buf.split_at_mut(room_at);
    layout::encode_length(sealed_len, &mut room[start..]).expect("its length was asked");
    let counter = sealer.seal(&room[start..], &mut sealed[..sealed_len]);
    let end = room_at + sealed_len;
    if start > 0 {
        buf.copy_within(start..end, 0);
    }
    (end - start, counter)
}

/// An upper bound of the bytes that all that waits would take in one record.
fn most_bytes<S: Storage>(outbox: &Outbox<S>) -> usize {
    outbox.queued_bytes() + (outbox.queued() + Priority::ALL.len()) * message::MAX_OVERHEAD
}

/// Writes as much of the payload as an empty record and the credit take, as a part of which `header` then tells; says how much.
#[cold]
fn write_part(
    encoder: &mut Encoder<'_>,
    header: &mut MessageHeader,
    payload: &[u8],
    body_max: usize,
    credit: usize,
) -> Option<usize> {
    let total = u32::try_from(payload.len()).ok()?;
    header.part.get_or_insert(Part { total, offset: 0 });
    let room = body_max.checked_sub(encoder.needs(header, 0, Place::Last))?;
    let piece = payload.get(..room.min(FRAGMENT_LEN).min(payload.len()))?;
    let is_written = !piece.is_empty()
        && encoder.needs(header, piece.len(), Place::Last) <= credit
        && encoder.push(header, piece, Place::Last);
    is_written.then_some(piece.len())
}

pub(super) fn ticks(waited: Duration) -> u32 {
    u32::try_from(waited.as_micros() / layout::TICK.as_micros()).unwrap_or(u32::MAX)
}

/// The messages of one record, opened in place: nothing of them is copied.
#[derive(Clone, Debug)]
pub struct Messages<'d> {
    inner: message::Messages<'d>,
    source: Source,
    mark: Mark,
}

/// How far a session's messages have come: what [`handle_consumed`](super::Session::handle_consumed) is told when the
/// application is done with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The record's counter.
    pub record: u64,
    /// Bytes of all messages received in this session, up to the end of the record, as credit counts them.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) id: NodeId,
    pub(super) epoch: u64,
    pub(super) waited: Duration,
}

/// One message of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'d> {
    /// Unique together with the source.
    pub id: MessageId,
    /// The message type; 0 of a full message, whose envelope says it.
    pub kind: u16,
    /// Whether the whole payload is an [`Envelope`](crate::wire::envelope::Envelope), which nobody has looked at yet.
    pub full: bool,
    /// How urgent it is.
    pub priority: Priority,
    /// Whether it was sent to all peers of the source.
    pub broadcast: bool,
    /// Seconds from its sending after which it is worthless; 0 = never.
    pub ttl: u32,
    /// How long ago it was sent.
    pub age: Duration,
    /// Which part of a message the payload is, if not all of it.
    pub part: Option<Part>,
    /// How the whole payload is compressed, if it is.
    pub compressed: Option<Compressed>,
    /// The number of a Guaranteed message in its lane.
    pub number: Option<NonZeroU64>,
    /// What the application wrote.
    pub payload: &'d [u8],
}

impl<'d> Messages<'d> {
    pub(super) fn new(inner: message::Messages<'d>, source: Source, mark: Mark) -> Self {
        Self { inner, source, mark }
    }

    /// Where the record ends, for [`handle_consumed`](super::Session::handle_consumed).
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// Who sent the messages.
    pub fn source(&self) -> NodeId {
        self.source.id
    }
}

impl<'d> Iterator for Messages<'d> {
    type Item = Message<'d>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let message::Message { header, payload } = self.inner.next()?;
        Some(Message {
            id: MessageId { epoch: self.source.epoch, sequence: header.sequence },
            kind: header.kind,
            full: header.full,
            priority: header.priority,
            broadcast: header.broadcast,
            ttl: header.ttl,
            age: self.source.waited + layout::TICK * header.age,
            part: header.part,
            compressed: header.compressed,
            number: header.number,
            payload,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}

impl ExactSizeIterator for Messages<'_> {}
