//! The established session: one record in, one record out, and the clockwork that keeps both ends alive.
//!
//! It is not the session's life: who may come in and how it ends is decided a level above. Every deadline that passed
//! becomes a want in `handle_timeout`, and the next record fulfils all wants at once.
//!
//! Invariant: a record is checked as a whole before anything of it takes effect.

use super::acks::Acks;
use super::credit::{Allowance, Grant};
use super::message::{Mark, Messages, Source, check, header_of};
use super::parts::Parts;
use super::standing::Standing;
use crate::aead::{Aead, TAG_LEN};
use crate::handshake::{Config, Counterpart, Finished};
use crate::ids::{Hints, Priority};
use crate::outbox::{Outbox, Storage};
use crate::record::{KeyLife, Opener, Sealer, SessionKeys};
use crate::time::{Duration, Instant};
use crate::wire::control::Control;
use crate::wire::message::{self, Encoder, FRAGMENT_LEN, MessageHeader, Part, Place};
use crate::wire::reason::Reason;
use crate::wire::record::{self as layout, Body, RecordHeader};

/// Sealed bytes of a record that many messages share: the longest that a two-byte length field names. Longer records
/// save next to nothing per message and make an urgent one wait.
const SHARED_LEN: usize = (1 << 14) - 1;

/// Sealed bytes of the longest record that is written: one whole part of a message.
pub(super) const MAX_SEALED_LEN: usize =
    RecordHeader::MAX_LEN + message::MAX_OVERHEAD + FRAGMENT_LEN + TAG_LEN;

pub(super) struct Up<A> {
    standing: Standing,
    sealer: Sealer<A>,
    opener: Opener<A>,
    first: First,
    messages: Sequences,
    /// The received messages that are not whole.
    parts: Parts,
    /// What this end may send, and what the peer may.
    allowance: Allowance,
    grant: Grant,
    acks: Acks,
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
        Self {
            standing: Standing::new(now, finished),
            sealer: Sealer::new(
                now,
                finished.peer.cipher(),
                &finished.sending,
                KeyLife::of(finished.peer.terms().security.rekey_after()),
            ),
            opener: Opener::new(finished.peer.cipher(), &finished.receiving),
            first,
            messages: Sequences::default(),
            parts: Parts::default(),
            allowance: Allowance::new(finished.peer.hello().max_record),
            grant: Grant::new(config.window, config.max_record.max(layout::MIN_MAX_LEN)),
            acks: Acks::default(),
        }
    }

    /// Accept has verified: session time starts here.
    pub(super) fn handle_accept(&mut self, now: Instant) {
        self.standing.handle_accept(now);
    }

    /// The initiator's first record has verified. Its silence counts from here.
    pub(super) fn handle_proof(&mut self, now: Instant) {
        self.standing.handle_proof(now);
    }

    pub(super) fn hints(&self) -> Hints {
        self.standing.hints
    }

    /// The keys, which are the first ones until a record was received.
    pub(super) fn keys(&self, frame_id: u64) -> SessionKeys {
        SessionKeys::of(
            frame_id,
            self.standing.peer.dialled(),
            self.standing.peer.cipher(),
            &self.sealer,
            &self.opener,
        )
    }

    pub(super) fn peer(&self) -> &Counterpart {
        &self.standing.peer
    }

    /// Has the outbox send to this peer.
    pub(super) fn start<S: Storage>(&self, outbox: &mut Outbox<S>) {
        outbox.handle_session_start(self.standing.peer.hello().max_message);
        outbox.handle_methods(self.standing.peer.hello().methods());
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
        let checked = check(config, header.body, body, self.messages.read)?;
        let parts = checked.as_ref().map(|checked| self.parts.after(checked)).transpose()?;
        if checked.is_some() && !self.grant.allows(body.len()) {
            return Err(Reason::Violation);
        }
        if self.standing.renewal.peer_drains() && checked.as_ref().is_some_and(|checked| checked.count() > 0)
        {
            return Err(Reason::Violation);
        }
        let control = opened.control().transpose()?;
        if matches!(control, Some(Control::Accept | Control::Reject(_))) {
            return Err(Reason::Violation);
        }

        let waited = self.standing.clock.handle_stamp(now, header.clock);
        if let Some(counter) = self.standing.pulse.handle_record(now, header) {
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
            Some(Control::Drain) => self.standing.renewal.handle_drain(now),
            _ => {}
        }
        let Some(checked) = checked.filter(|checked| checked.count() > 0) else {
            self.acks.handle_record(*counter, false);
            return Ok(Content::Nothing);
        };
        self.acks.handle_record(*counter, true);
        self.messages.read = checked.last_sequence();
        self.parts = parts.unwrap_or(self.parts);
        let source =
            Source { id: self.standing.peer.id(), epoch: self.standing.peer.hello().boot_id, waited };
        let mark = Mark { record: *counter, bytes: self.grant.handle_received(body.len()) };
        Ok(Content::Messages(Messages::new(checked.messages(), source, mark)))
    }

    pub(super) fn handle_consumed(&mut self, now: Instant, mark: Mark) {
        self.acks.handle_consumed(now, mark.record);
        self.grant.handle_consumed(mark.bytes);
    }

    pub(super) fn handle_released(&mut self, total: u64) {
        self.grant.handle_consumed(total);
    }

    pub(super) fn handle_ping_request(&mut self) {
        self.standing.pulse.handle_ping_request();
    }

    /// Does what is due, and says with which reason the session ends if it cannot go on.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Reason> {
        if let Some(reason) = self.standing.failure(now) {
            return Some(reason);
        }
        self.acks.handle_timeout(now);
        self.standing.handle_timeout(now);
        self.standing.overdue(now)
    }

    /// With which reason the session ends: its keys are worn, or it has made way and each end is done with all of the other's.
    pub(super) fn reason_to_end<S: Storage>(&self, outbox: &Outbox<S>) -> Option<Reason> {
        if self.sealer.is_worn() {
            return Some(Reason::Worn);
        }
        let is_drained =
            self.standing.renewal.is_agreed() && outbox.in_flight() == 0 && self.acks.is_settled();
        is_drained.then(|| self.standing.renewal.reason())
    }

    /// The session makes way for another one.
    pub(super) fn retire(&mut self, now: Instant, reason: Reason) {
        self.standing.renewal.retire(now, reason);
    }

    pub(super) fn deadline_at(&self) -> Instant {
        let standing = self.standing.due_at();
        self.acks.due_at().map_or(standing, |at| standing.min(at))
    }

    pub(super) fn poll_rtt(&mut self) -> Option<Duration> {
        self.standing.poll_rtt()
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
        if self.standing.renewal.owes_drain() {
            self.standing.renewal.handle_sent();
            return Some(self.write_control(now, Control::Drain, buf));
        }
        let is_proof = self.first == First::Proof;
        let has_messages = self.standing.renewal.is_young() && outbox.has_next() && !is_proof;
        let is_due =
            self.acks.is_urgent() || self.grant.is_urgent() || self.standing.pulse.wants_record() || is_proof;
        if !is_due && !has_messages {
            return None;
        }
        let header = RecordHeader {
            body: Body::Messages,
            rekey: self.sealer.is_rekey_due(now),
            clock: self.standing.stamp(now),
            ack: self.acks.pending(),
            credit: self.grant.pending(),
            ping: self.standing.pulse.ping_token(),
            pong: self.standing.pulse.pong_token(),
        };
        let header_len = header.encoded_len();
        // An upper bound of the record tells how long its length field can get; see `seal` for when it gets shorter.
        let most = header_len + TAG_LEN + most_bytes(outbox);
        let max_record =
            usize::from(self.standing.peer.terms().record).min(buf.len() - layout::MAX_LENGTH_LEN);
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
            let mut header = header_of(&next);
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
        self.standing.pulse.handle_sent(now, counter, &header);
        Some(len)
    }

    /// Writes the close, with the last acknowledgement.
    pub(super) fn write_close(&mut self, now: Instant, reason: Reason, buf: &mut [u8]) -> usize {
        self.write_control(now, Control::close(reason), buf)
    }

    fn write_control(&mut self, now: Instant, control: Control, buf: &mut [u8]) -> usize {
        let ack = self.acks.pending();
        let len = write_control(&mut self.sealer, control, self.standing.stamp(now), ack, buf);
        self.standing.pulse.handle_written(now);
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
