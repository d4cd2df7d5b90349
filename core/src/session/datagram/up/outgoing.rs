//! One record out: an acknowledgement, credit and a heartbeat where they are due, and around them what is new, or again what
//! was lost. Each is sealed and noted in one place, [`finish`](Up::finish).

use super::{KEPT_TIMEOUTS, Up};
use crate::aead::{Aead, TAG_LEN};
use crate::outbox::{Outbox, Storage};
use crate::session::credit::cost;
use crate::session::datagram::arrivals::Acknowledgement;
use crate::session::datagram::body::{self, SLACK};
use crate::session::datagram::loss::{Load, Record, State};
use crate::time::Instant;
use crate::wire::control::Control;
use crate::wire::datagram::{MAX_PREAMBLE_LEN, Preamble, Truncated};
use crate::wire::ranges;
use crate::wire::reason::Reason;
use crate::wire::record::{Body, RecordHeader};

/// Bytes of a record around its body, at their longest.
const OVERHEAD: usize = MAX_PREAMBLE_LEN + RecordHeader::MAX_LEN + ranges::MAX_LEN + TAG_LEN;

/// The least room for which a record is begun: what it takes without messages.
const LEAST_ROOM: usize = OVERHEAD + Control::MAX_LEN;

/// Bytes of the longest record without acknowledgement and messages.
const ACCEPT_ROOM: usize = MAX_PREAMBLE_LEN + 5 + 3 + TAG_LEN;

impl<A: Aead, const N: usize> Up<A, N> {
    /// Writes the next record: whatever of lost messages, new ones, acknowledgement and heartbeat is there.
    pub(in crate::session::datagram) fn poll_record<S: Storage>(
        &mut self,
        now: Instant,
        outbox: &mut Outbox<S>,
        buf: &mut [u8],
    ) -> Option<usize> {
        let room = buf.len().min(usize::from(self.max_datagram())).min(self.route.room());
        if room < LEAST_ROOM {
            return self.poll_heartbeat(now, room, buf);
        }
        if self.is_rekey_due(now) {
            self.sealer.rekey(now);
        }
        self.waits_for_pace = false;
        self.sent.make_room();
        let probes = self.sent.owes_probe();
        let again = self.sent.lost().or_else(|| self.sent.unanswered().filter(|_| probes));
        let has_new = self.standing.renewal.is_young() && outbox.has_next();
        // It promises that nothing more comes, and what is lost comes again.
        let owes_drain = self.standing.renewal.owes_drain() && outbox.in_flight() == 0;
        let grants_again = match again {
            Some((place, Load::Grant)) => {
                self.sent.reduce(place, Load::Nothing);
                self.standing.pulse.handle_ping_request();
                true
            }
            _ => false,
        };
        let again = again.filter(|_| !grants_again);
        let may_load = match probes {
            true => self.sent.has_room_for_probe(),
            false if again.is_none() && !has_new && !owes_drain => false,
            false => self.may_send(now, again.is_some()),
        };
        if may_load && (owes_drain || matches!(again, Some((_, Load::Drain)))) {
            if let Some((place, Load::Drain)) = again {
                self.sent.reduce(place, Load::Nothing);
            }
            self.standing.renewal.handle_sent();
            return Some(self.write_control(now, Control::Drain, Load::Drain, &mut buf[..room]));
        }
        if may_load && again.is_some() {
            // Alone in its record, or what once filled one would find no room beside an acknowledgement.
            let header = self.header(now);
            let at = self.begin(&header, None, buf);
            let body_max = (room - TAG_LEN - at).min(self.credit_room());
            let (load, body_len) =
                body::write_again(now, outbox, &mut self.sent, probes, &mut buf[at..at + body_max]);
            if body_len > 0 {
                return Some(self.finish(now, &header, load, (at, body_len), buf));
            }
        }
        if probes {
            // There may be no room for a load, or none to carry: a ping is answered all the same.
            self.standing.pulse.handle_ping_request();
            self.sent.handle_empty_probe();
        }
        let loads = may_load && has_new && (probes || self.sent.has_room());
        self.write_mixed(now, outbox, (loads, grants_again), &mut buf[..room])
    }

    /// Writes a record with whatever of new messages, acknowledgement, credit and heartbeat is there; messages if it `loads`,
    /// and all credit if it `grants_again`.
    fn write_mixed<S: Storage>(
        &mut self,
        now: Instant,
        outbox: &mut Outbox<S>,
        (mut loads, grants_again): (bool, bool),
        buf: &mut [u8],
    ) -> Option<usize> {
        let is_due = self.arrivals.is_urgent() || self.standing.pulse.wants_record();
        if !is_due && !loads {
            return None;
        }
        // With every pong, whether or not anything is new: an acknowledgement that was lost is not missed by a peer whose
        // records have all arrived, and which still waits to hear that they are done. Credit counts from what it names.
        let tells_all =
            self.standing.pulse.pong_token().is_some() || grants_again || self.grant.pending().is_some();
        let mut told = if tells_all { self.arrivals.current(now) } else { self.arrivals.pending(now) };
        let mut header = RecordHeader {
            ack: told.as_ref().map(|told| told.done),
            credit: told.as_ref().map(|_| self.grant.left()),
            ping: self.standing.pulse.ping_token(),
            pong: self.standing.pulse.pong_token(),
            ..self.header(now)
        };
        if loads {
            // Old ranges make way for a message that would travel whole, and if that does not do, one of both goes first.
            let reserved = self.preamble().encoded_len()
                + TAG_LEN
                + body::least_len(now, outbox, self.piece_len().into());
            let left = buf.len().saturating_sub(reserved).checked_sub(header.encoded_len());
            let has_room = match &mut told {
                Some(told) => left.is_some_and(|left| told.ranges.shorten(left)),
                None => left.is_some(),
            };
            if !has_room && is_due {
                loads = false;
            } else if !has_room {
                (told, header) = (None, self.header(now));
            }
        }
        let at = self.begin(&header, told.as_ref(), buf);
        let (load, body_len) = match loads {
            true => {
                let body_max = (buf.len() - TAG_LEN - at).saturating_sub(SLACK).min(self.credit_room());
                let piece_len = self.piece_len().into();
                body::write_new(now, outbox, &mut self.parted, piece_len, &mut buf[at..at + body_max])
            }
            false => (Load::Nothing, 0),
        };
        if body_len == 0 && !is_due {
            return None;
        }
        // What a peer may wait for with nothing under way is asked about like a message.
        let is_raised = header.credit.is_some() && (grants_again || self.grant.total() > self.grant.told());
        let load = match load {
            Load::Nothing if body_len == 0 && is_raised && self.sent.has_room() => Load::Grant,
            load => load,
        };
        Some(self.finish(now, &header, load, (at, body_len), buf))
    }

    /// Writes Accept, which is repeated from above until it is answered.
    pub(in crate::session::datagram) fn write_accept(
        &mut self,
        now: Instant,
        buf: &mut [u8],
    ) -> Option<usize> {
        let room = buf.len().min(self.route.room());
        (room >= ACCEPT_ROOM)
            .then(|| self.write_control(now, Control::Accept, Load::Nothing, &mut buf[..room]))
    }

    /// Writes the close, with the last acknowledgement.
    pub(in crate::session::datagram) fn write_close(
        &mut self,
        now: Instant,
        reason: Reason,
        buf: &mut [u8],
    ) -> Option<usize> {
        let room = buf.len().min(self.route.room());
        (room >= ACCEPT_ROOM)
            .then(|| self.write_control(now, Control::close(reason), Load::Nothing, &mut buf[..room]))
    }

    /// A ping or pong alone, where not even an acknowledgement has room: to an address that has shown too little.
    fn poll_heartbeat(&mut self, now: Instant, room: usize, buf: &mut [u8]) -> Option<usize> {
        if room < ACCEPT_ROOM || !self.standing.pulse.wants_record() {
            return None;
        }
        let (ping, pong) = (self.standing.pulse.ping_token(), self.standing.pulse.pong_token());
        let header = RecordHeader { ping, pong, ..self.header(now) };
        let at = self.begin(&header, None, buf);
        Some(self.finish(now, &header, Load::Nothing, (at, 0), buf))
    }

    /// Whether loss, window and table let a record with a load go; if only the pace does not, it is waited for.
    fn may_send(&mut self, now: Instant, is_again: bool) -> bool {
        // What is lost may take the places kept for probes: with nothing else flying no probe would ever be due, and a table
        // that lost records fill would stay full.
        let has_room = if is_again { self.sent.has_room_for_probe() } else { self.sent.has_room() };
        if !has_room || !self.window.has_room() {
            return false;
        }
        self.waits_for_pace = self.window.paced_at(self.rtt.smoothed()) > now;
        !self.waits_for_pace
    }

    /// Not before the key before is forgotten at the other end: RFC 9001, section 6.5.
    fn is_rekey_due(&self, now: Instant) -> bool {
        self.sealer.is_rekey_due(now)
            && now.since(self.sealer.since()) >= self.rtt.probe_timeout(0) * KEPT_TIMEOUTS
    }

    fn header(&self, now: Instant) -> RecordHeader {
        RecordHeader { clock: self.standing.stamp(now), ..RecordHeader::default() }
    }

    /// Writes all that stands before the body and says where that begins.
    fn begin(&mut self, header: &RecordHeader, told: Option<&Acknowledgement>, buf: &mut [u8]) -> usize {
        let mut at = self.preamble().encode(buf).expect("the caller has asked for room");
        at += header.encode(&mut buf[at..]).expect("the caller has asked for room");
        if let Some(told) = told {
            at += told.ranges.encode(&mut buf[at..]).expect("the caller has asked for room");
        }
        at
    }

    /// Seals the record whose body of `body_len` bytes stands at `at`, and notes it. Gives its length.
    fn finish(
        &mut self,
        now: Instant,
        header: &RecordHeader,
        load: Load,
        (at, body_len): (usize, usize),
        buf: &mut [u8],
    ) -> usize {
        let len = at + body_len + TAG_LEN;
        let (preamble, sealed) = buf[..len].split_at_mut(self.preamble().encoded_len());
        let counter = self.sealer.seal(preamble, sealed);
        if header.ack.is_some() {
            self.arrivals.handle_sent();
        }
        if header.credit.is_some() {
            self.grant.handle_sent(self.grant.total());
        }
        if let Some(token) = header.ping {
            self.route.handle_ping(token);
        }
        match header.ping.is_some() || header.pong.is_some() {
            true => self.standing.pulse.handle_sent(now, counter, header),
            false => self.standing.pulse.handle_written(now),
        }
        self.route.handle_sent(len);
        if load != Load::Nothing {
            self.window.handle_sent(now, len as u64, self.rtt.smoothed());
            let counts = matches!(load, Load::Messages { .. } | Load::Part { .. } | Load::Abandonment { .. });
            let cost = if counts { cost(body_len) } else { 0 };
            let len = len as u32;
            self.sent.push(Record { counter, sent_at: now, len, cost, load, state: State::Flying });
        }
        len
    }

    fn write_control(&mut self, now: Instant, control: Control, load: Load, buf: &mut [u8]) -> usize {
        // A Close is the last chance to say what came.
        let told = self.arrivals.current(now).filter(|_| buf.len() >= LEAST_ROOM);
        let header = RecordHeader {
            body: Body::Control,
            ack: told.as_ref().map(|told| told.done),
            credit: told.as_ref().map(|_| self.grant.left()),
            ..self.header(now)
        };
        let at = self.begin(&header, told.as_ref(), buf);
        let body_len = control.encode(&mut buf[at..]).expect("the caller has asked for room");
        self.finish(now, &header, load, (at, body_len), buf)
    }

    fn preamble(&self) -> Preamble {
        Preamble {
            phase: self.sealer.phase(),
            cid: self.standing.peer.connection_id(),
            counter: Truncated::of(self.sealer.count(), self.sent.largest_acked()),
        }
    }
}

#[cfg(test)]
impl<A: Aead, const N: usize> Up<A, N> {
    /// Writes a record whose header says that the next key follows.
    pub(in crate::session::datagram) fn write_with_rekey(&mut self, now: Instant, buf: &mut [u8]) -> usize {
        let header = RecordHeader { rekey: true, ..self.header(now) };
        let at = self.begin(&header, None, buf);
        self.finish(now, &header, Load::Nothing, (at, 0), buf)
    }
}
