//! The established session over datagrams: one record in, one record out, and what keeps both ends in step though records
//! are lost, come late, or twice.
//!
//! It is not the session's life: that is decided a level above. Messages stay in the outbox until the peer is done with
//! them; what flies is named in [`Sent`], and what is lost is written anew into the next record.
//!
//! Invariant: a record is checked as a whole before anything of it takes effect, and what is not taken is not acknowledged.

use super::Path;
use super::arrivals::{Acknowledgement, Arrivals};
use super::loss::{Load, Record, Sent, State};
use super::route::Route;
use super::rtt::Rtt;
use super::window::Window;
use crate::aead::{Aead, TAG_LEN};
use crate::handshake::{Config, Counterpart, Finished};
use crate::ids::{Hints, Priority};
use crate::outbox::{Next, Outbox, Storage, Ticket};
use crate::record::{self, KeyLife, PhasedOpener, Sealer, SessionKeys};
use crate::session::clock::{self, PeerClock};
use crate::session::credit::{Allowance, Grant, cost};
use crate::session::pulse::Pulse;
use crate::session::renewal::Renewal;
use crate::session::spread::Spread;
use crate::session::up::{Mark, Messages, Source, ticks};
use crate::time::{Duration, Instant};
use crate::wire::control::Control;
use crate::wire::datagram::{ConnectionId, MAX_LEN, MAX_PREAMBLE_LEN, Preamble, Truncated};
use crate::wire::message::{self, Checked, Encoder, MessageHeader, Part};
use crate::wire::ranges::{self, Ranges};
use crate::wire::reason::Reason;
use crate::wire::record::{self as layout, Body, RecordHeader};

/// Bytes of a record around its body, at their longest.
const OVERHEAD: usize = MAX_PREAMBLE_LEN + RecordHeader::MAX_LEN + ranges::MAX_LEN + TAG_LEN;

/// The same without acknowledgement, credit and heartbeat.
const BARE_OVERHEAD: usize = MAX_PREAMBLE_LEN + layout::MIN_HEADER_LEN + TAG_LEN;

/// The least room for which a record is begun: what it takes without messages.
const LEAST_ROOM: usize = OVERHEAD + Control::MAX_LEN;

pub(super) struct Up<A, const N: usize> {
    peer: Counterpart,
    hints: Hints,
    own_cid: ConnectionId,
    sealer: Sealer<A>,
    opener: PhasedOpener<A>,
    established_at: Instant,
    arrivals: Arrivals,
    /// The newest record whose acknowledgement was taken: what it says is done, an older one may know less of.
    newest_ack: Option<u64>,
    sent: Sent<N>,
    rtt: Rtt,
    window: Window,
    allowance: Allowance,
    grant: Grant,
    /// The messages in parts of which not all has arrived, at most one of each class.
    parted: [Option<Parted>; Priority::ALL.len()],
    clock: PeerClock,
    spread: Spread,
    pulse: Pulse,
    renewal: Renewal,
    route: Route,
    /// Only the pace keeps a record with a load from being written.
    waits_for_pace: bool,
}

/// A message that is sent in parts.
#[derive(Clone, Copy, Debug)]
struct Parted {
    ordinal: u64,
    total: u32,
    /// Bytes that have arrived.
    arrived: u32,
    /// The newest record that brought some of them.
    newest: u64,
}

impl Parted {
    /// `len` more bytes have arrived with record `counter`; says whether they were the last.
    fn handle_arrival(&mut self, counter: u64, len: u32) -> bool {
        self.arrived = self.arrived.saturating_add(len);
        self.newest = self.newest.max(counter);
        self.arrived >= self.total
    }
}

/// An opened record of this session, not yet acted on.
pub(super) struct Opened<'d> {
    counter: u64,
    header: RecordHeader,
    ranges: Option<Ranges>,
    body: &'d [u8],
    datagram_len: usize,
}

/// What a record brought for the level above.
pub(super) enum Content<'d> {
    Nothing,
    Messages(Messages<'d>),
    Close {
        code: u16,
    },
    /// It was not taken, and is not acknowledged.
    Dropped(Reason),
}

/// Why a datagram was not opened.
pub(super) enum Unopened {
    /// It is not the peer's, or was here before.
    Stray(Reason),
    /// The peer broke a rule, or so much was forged that the keys are worn.
    Broken(Reason),
}

impl Opened<'_> {
    /// The control message, if the record carries one.
    pub(super) fn control(&self) -> Option<Result<Control, Reason>> {
        (self.header.body == Body::Control).then(|| Control::decode(self.body))
    }
}

impl<A: Aead, const N: usize> Up<A, N> {
    pub(super) fn new(
        now: Instant,
        config: &Config,
        finished: &Finished,
        own_cid: ConnectionId,
        route: Route,
        rtt: Rtt,
    ) -> Self {
        let peer = finished.peer;
        let spread = Spread::of(record::places(&finished.sending));
        Self {
            peer,
            hints: finished.hints,
            own_cid,
            sealer: Sealer::new(
                now,
                peer.cipher(),
                &finished.sending,
                KeyLife::of(peer.terms().security.rekey_after()),
            ),
            opener: PhasedOpener::new(peer.cipher(), &finished.receiving),
            established_at: now,
            arrivals: Arrivals::new(now),
            newest_ack: None,
            sent: Sent::new(now),
            rtt,
            window: Window::new(now),
            allowance: Allowance::new(peer.hello().max_record),
            grant: Grant::new(config.window, config.max_record.max(layout::MIN_MAX_LEN)),
            parted: [None; Priority::ALL.len()],
            clock: PeerClock::new(now),
            spread,
            pulse: Pulse::new(now, peer.terms(), spread),
            renewal: Renewal::new(now, spread),
            route,
            waits_for_pace: false,
        }
    }

    /// Accept has verified: session time starts here.
    pub(super) fn handle_accept(&mut self, now: Instant, opened: &Opened<'_>) {
        self.established_at = now;
        self.clock = PeerClock::new(now);
        self.pulse = Pulse::new(now, self.peer.terms(), self.spread);
        self.renewal = Renewal::new(now, self.spread);
        self.arrivals.handle_record(now, opened.counter, true, None);
        self.clock.handle_stamp(now, opened.header.clock);
    }

    /// The initiator has proven that it takes part, with a record of its own.
    pub(super) fn handle_proof(&mut self, now: Instant, from: Path) {
        if from == self.route.path() {
            self.route.handle_proof();
        }
        self.pulse = Pulse::new(now, self.peer.terms(), self.spread);
    }

    pub(super) fn peer(&self) -> &Counterpart {
        &self.peer
    }

    pub(super) fn hints(&self) -> Hints {
        self.hints
    }

    /// The keys, which are the first ones until a record was received.
    pub(super) fn keys(&self, frame_id: u64) -> SessionKeys {
        SessionKeys::of_datagrams(frame_id, self.peer.dialled(), &self.sealer, &self.opener)
    }

    /// Has the outbox send to this peer.
    pub(super) fn start<S: Storage>(&self, outbox: &mut Outbox<S>) {
        outbox.handle_datagram_session_start(self.max_message(), self.piece_len());
        outbox.handle_methods(self.peer.hello().methods());
    }

    pub(super) fn path(&self) -> Path {
        self.route.path()
    }

    pub(super) fn route(&mut self) -> &mut Route {
        &mut self.route
    }

    pub(super) fn rtt(&self) -> &Rtt {
        &self.rtt
    }

    /// The longest payload that the peer takes.
    fn max_message(&self) -> u32 {
        self.peer.hello().max_message
    }

    /// The longest payload that one record surely takes, if it carries nothing else.
    fn piece_len(&self) -> u16 {
        // A hello allows no less than 512.
        self.max_datagram().saturating_sub((BARE_OVERHEAD + SLACK + message::MAX_OVERHEAD) as u16)
    }

    fn max_datagram(&self) -> u16 {
        self.peer.terms().record.min(MAX_LEN as u16)
    }

    /// Opens a record in place; nothing has taken effect but the key phase, which a verified tag has proven.
    pub(super) fn open<'d>(&mut self, now: Instant, datagram: &'d mut [u8]) -> Result<Opened<'d>, Unopened> {
        let cid_len = self.own_cid.as_bytes().len();
        let preamble = Preamble::decode(datagram, cid_len).map_err(Unopened::Stray)?;
        if preamble.cid != self.own_cid {
            return Err(Unopened::Stray(Reason::UnexpectedFrame));
        }
        let counter = preamble.counter.expand(self.arrivals.newest());
        if !self.arrivals.is_fresh(counter) {
            return Err(Unopened::Stray(Reason::Duplicate));
        }
        let datagram_len = datagram.len();
        let (header, sealed) = datagram.split_at_mut(preamble.encoded_len());
        let keep = self.rtt.probe_timeout(0) * KEPT_TIMEOUTS;
        if self.opener.open(now, keep, (counter, preamble.phase), header, sealed).is_err() {
            return Err(match self.opener.is_worn() {
                true => Unopened::Broken(Reason::Worn),
                false => Unopened::Stray(Reason::Forged),
            });
        }
        let plaintext = &sealed[..sealed.len() - TAG_LEN];
        let (header, body) = RecordHeader::decode(plaintext).map_err(Unopened::Broken)?;
        let (ranges, body) = match header.ack {
            Some(_) => Ranges::decode(body).map(|(ranges, rest)| (Some(ranges), rest)),
            None => Ok((None, body)),
        }
        .map_err(Unopened::Broken)?;
        Ok(Opened { counter, header, ranges, body, datagram_len })
    }

    /// Acts on a record that came from `from`; on `Err` the peer broke a rule and nothing has taken effect.
    pub(super) fn handle_record<'d, S: Storage>(
        &mut self,
        now: Instant,
        config: &Config,
        outbox: &mut Outbox<S>,
        from: Path,
        opened: &Opened<'d>,
    ) -> Result<Content<'d>, Reason> {
        let Opened { counter, header, ranges, body, .. } = opened;
        // The next key is announced by the phase bit alone.
        if header.rekey {
            return Err(Reason::Violation);
        }
        let written = self.sealer.count();
        if header.ack.is_some_and(|done| done > written)
            || ranges.as_ref().is_some_and(|ranges| ranges.largest() >= written)
        {
            return Err(Reason::Violation);
        }
        let checked = match header.body {
            Body::Messages => Some(message::check(body, None)?),
            Body::Control => None,
        };
        if checked.as_ref().is_some_and(|checked| checked.longest() as u64 > u64::from(config.max_message)) {
            return Err(Reason::TooLong);
        }
        if checked.as_ref().is_some_and(|checked| !config.compression.has_all(checked.methods())) {
            return Err(Reason::Compression);
        }
        let control = opened.control().transpose()?;
        let is_misplaced = match control {
            Some(Control::Reject(_)) => true,
            Some(Control::Accept) => !self.peer.dialled(),
            _ => false,
        };
        if is_misplaced {
            return Err(Reason::Violation);
        }
        let checked = checked.filter(|checked| checked.count() > 0);
        if checked.is_some() && !self.grant.allows(body.len()) {
            return Ok(Content::Dropped(Reason::Limit));
        }

        let is_newest = self.arrivals.newest().is_none_or(|newest| *counter > newest);
        let waited = match is_newest {
            true => self.clock.handle_stamp(now, header.clock),
            false => self.clock.handle_late_stamp(now, header.clock),
        };
        if is_newest && self.route.handle_newest(from, opened.datagram_len) {
            self.handle_path_change(now);
        }
        if let Some(token) = header.pong {
            self.route.handle_pong(from, token);
        }
        if let Some(answered) = self.pulse.handle_record(now, header) {
            self.sealer.handle_opened(answered + 1);
        }
        if let Some(credit) = header.credit {
            self.allowance.handle_credit(credit);
        }
        if let (Some(done), Some(ranges)) = (header.ack, ranges) {
            self.handle_ack(now, *counter, done, ranges, outbox);
        }
        match control {
            Some(Control::Close { code }) => return Ok(Content::Close { code }),
            Some(Control::Drain) => self.renewal.handle_drain(now),
            // The peer repeats itself, as it has heard nothing from us.
            Some(Control::Accept) => self.pulse.handle_ping_request(),
            _ => {}
        }
        let is_eliciting = control.is_some() || header.ping.is_some();
        let Some(checked) = checked else {
            self.arrivals.handle_record(now, *counter, is_eliciting, None);
            return Ok(Content::Nothing);
        };
        let mark = Mark { record: *counter, bytes: self.grant.handle_received(body.len()) };
        self.arrivals.handle_record(now, *counter, true, Some(mark.bytes));
        // The next message in parts waits for the word that this one has arrived.
        if ends_message(&checked) {
            self.arrivals.hurry();
        }
        let source = Source { id: self.peer.id(), epoch: self.peer.hello().boot_id, waited };
        Ok(Content::Messages(Messages::new(checked.messages(), source, mark)))
    }

    fn handle_ack<S: Storage>(
        &mut self,
        now: Instant,
        counter: u64,
        done: u64,
        ranges: &Ranges,
        outbox: &mut Outbox<S>,
    ) {
        self.sealer.handle_opened(ranges.largest() + 1);
        let parted = &mut self.parted;
        let arrive = |counter, load| {
            let Load::Part { ticket, len, .. } = load else { return load };
            let slot = &mut parted[ticket.class as usize];
            let Some(message) = slot.as_mut().filter(|message| message.ordinal == ticket.ordinal) else {
                return Load::Nothing;
            };
            if !message.handle_arrival(counter, len) {
                return Load::Nothing;
            }
            let newest = message.newest;
            *slot = None;
            outbox.handle_parts_arrived(ticket.class);
            Load::Whole { ticket, newest }
        };
        let lost = self.sent.handle_ranges(now, ranges, &mut self.rtt, &mut self.window, arrive);
        self.allowance.handle_lost(lost);
        // Records that were overtaken say what was done before others arrived that are not done.
        if self.newest_ack.is_some_and(|newest| counter < newest) {
            return;
        }
        self.newest_ack = Some(counter);
        self.sent.handle_done(done, |load| match load {
            Load::Messages { class, first, last } => outbox.handle_delivered(class, first, last),
            Load::Whole { ticket: Ticket { class, ordinal }, .. } => {
                outbox.handle_delivered(class, ordinal, ordinal);
            }
            Load::Nothing | Load::Drain | Load::Grant | Load::Part { .. } => {}
        });
    }

    /// RFC 9000, section 9.4: nothing is known of the new path.
    fn handle_path_change(&mut self, now: Instant) {
        self.rtt.reset();
        self.window.reset(now);
        self.sent.handle_path_change();
        self.pulse.handle_ping_request();
    }

    pub(super) fn handle_consumed(&mut self, now: Instant, mark: Mark) {
        self.arrivals.handle_consumed(now, mark.bytes);
        self.handle_released(mark.bytes);
    }

    pub(super) fn handle_released(&mut self, total: u64) {
        if self.grant.handle_consumed(total) && self.grant.is_urgent() {
            // A ping, as what is not answered is told again.
            self.pulse.handle_ping_request();
        }
    }

    pub(super) fn handle_ping_request(&mut self) {
        self.pulse.handle_ping_request();
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.arrivals.handle_timeout(now);
        self.pulse.handle_timeout(now);
        self.renewal.handle_timeout(now);
        self.opener.handle_timeout(now);
        let lost = self.sent.handle_timeout(now, &self.rtt, &mut self.window);
        self.allowance.handle_lost(lost);
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
        self.renewal.is_agreed()
            && outbox.in_flight() == 0
            && self.arrivals.is_settled()
            && !self.sent.carries(|load| *load == Load::Drain)
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
        let paced_at = self.waits_for_pace.then(|| self.window.paced_at(self.rtt.smoothed()));
        let expires_at = self.peer.expires_at();
        let sometimes =
            [self.arrivals.due_at(), self.opener.due_at(), self.sent.due_at(&self.rtt), paced_at, expires_at];
        sometimes.into_iter().flatten().fold(always, Instant::min)
    }

    pub(super) fn poll_rtt(&mut self) -> Option<Duration> {
        self.pulse.poll_rtt()
    }

    /// Writes the next record: whatever of lost messages, new ones, acknowledgement and heartbeat is there.
    pub(super) fn poll_record<S: Storage>(
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
        let has_new = self.renewal.is_young() && outbox.has_next();
        // It promises that nothing more comes, and what is lost comes again.
        let owes_drain = self.renewal.owes_drain() && outbox.in_flight() == 0;
        let grants_again = match again {
            Some((place, Load::Grant)) => {
                self.sent.reduce(place, Load::Nothing);
                self.pulse.handle_ping_request();
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
            self.renewal.handle_sent();
            return Some(self.write_control(now, Control::Drain, Load::Drain, &mut buf[..room]));
        }
        if may_load && again.is_some() {
            // Alone in its record, or what once filled one would find no room beside an acknowledgement.
            let header = self.header(now);
            let at = self.begin(&header, None, buf);
            let (load, body_len) = self.write_again(now, outbox, probes, &mut buf[at..room - TAG_LEN]);
            if body_len > 0 {
                return Some(self.finish(now, &header, load, (at, body_len), buf));
            }
        }
        if probes {
            // There may be no room for a load, or none to carry: a ping is answered all the same.
            self.pulse.handle_ping_request();
            self.sent.handle_empty_probe();
        }
        let is_due = self.arrivals.is_urgent() || self.pulse.wants_record();
        let loads = may_load && has_new && (probes || self.sent.has_room());
        if !is_due && !loads {
            return None;
        }
        // With every pong, whether or not anything is new: an acknowledgement that was lost is not missed by a peer whose
        // records have all arrived, and which still waits to hear that they are done.
        let mut told = match self.pulse.pong_token() {
            Some(_) => self.arrivals.current(now),
            None => self.arrivals.pending(now),
        };
        let mut header = RecordHeader {
            ack: told.as_ref().map(|told| told.done),
            credit: match told.is_some() || grants_again {
                true => Some(self.grant.total()),
                false => self.grant.pending(),
            },
            ping: self.pulse.ping_token(),
            pong: self.pulse.pong_token(),
            ..self.header(now)
        };
        let mut loads = loads;
        if loads {
            // Old ranges make way for a message that would travel whole, and if that does not do, one of both goes first.
            let reserved = self.preamble().encoded_len() + TAG_LEN + self.least_body(now, outbox);
            let left = room.saturating_sub(reserved).checked_sub(header.encoded_len());
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
            true => self.write_new(now, outbox, &mut buf[at..room - TAG_LEN]),
            false => (Load::Nothing, 0),
        };
        if body_len == 0 && !is_due {
            return None;
        }
        // What a peer may wait for with nothing under way is asked about like a message.
        let is_raised = header.credit.is_some_and(|credit| grants_again || credit > self.grant.told());
        let load = match load {
            Load::Nothing if body_len == 0 && is_raised && self.sent.has_room() => Load::Grant,
            load => load,
        };
        Some(self.finish(now, &header, load, (at, body_len), buf))
    }

    /// Writes Accept, which is repeated from above until it is answered.
    pub(super) fn write_accept(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize> {
        let room = buf.len().min(self.route.room());
        (room >= ACCEPT_ROOM)
            .then(|| self.write_control(now, Control::Accept, Load::Nothing, &mut buf[..room]))
    }

    /// Writes the close, with the last acknowledgement.
    pub(super) fn write_close(&mut self, now: Instant, reason: Reason, buf: &mut [u8]) -> Option<usize> {
        let room = buf.len().min(self.route.room());
        (room >= ACCEPT_ROOM)
            .then(|| self.write_control(now, Control::close(reason), Load::Nothing, &mut buf[..room]))
    }

    /// A ping or pong alone, where not even an acknowledgement has room: to an address that has shown too little.
    fn poll_heartbeat(&mut self, now: Instant, room: usize, buf: &mut [u8]) -> Option<usize> {
        if room < ACCEPT_ROOM || !self.pulse.wants_record() {
            return None;
        }
        let (ping, pong) = (self.pulse.ping_token(), self.pulse.pong_token());
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
        RecordHeader { clock: clock::stamp(self.established_at, now), ..RecordHeader::default() }
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
        if let Some(credit) = header.credit {
            self.grant.handle_sent(credit);
        }
        if let Some(token) = header.ping {
            self.route.handle_ping(token);
        }
        match header.ping.is_some() || header.pong.is_some() {
            true => self.pulse.handle_sent(now, counter, header),
            false => self.pulse.handle_written(now),
        }
        self.route.handle_sent(len);
        if load != Load::Nothing {
            self.window.handle_sent(now, len as u64, self.rtt.smoothed());
            let counts = matches!(load, Load::Messages { .. } | Load::Part { .. });
            let cost = if counts { cost(body_len) } else { 0 };
            self.allowance.handle_sent(if counts { body_len } else { 0 });
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
            ..self.header(now)
        };
        let at = self.begin(&header, told.as_ref(), buf);
        let body_len = control.encode(&mut buf[at..]).expect("the caller has asked for room");
        self.finish(now, &header, load, (at, body_len), buf)
    }

    fn preamble(&self) -> Preamble {
        Preamble {
            phase: self.sealer.phase(),
            cid: self.peer.connection_id(),
            counter: Truncated::of(self.sealer.count(), self.sent.largest_acked()),
        }
    }

    /// Writes the oldest load that is lost, or for a probe unanswered, as far as it has room.
    fn write_again<S: Storage>(
        &mut self,
        now: Instant,
        outbox: &mut Outbox<S>,
        probes: bool,
        body: &mut [u8],
    ) -> (Load, usize) {
        let room = body.len().min(self.allowance.room());
        // What is sent once and not known to be lost cannot go again: a ping asks for it.
        if self.sent.lost().is_none()
            && let Some((_, Load::Messages { class, first, last })) = self.sent.unanswered()
            && outbox.retains_best_effort(class, first, last)
        {
            return (Load::Nothing, 0);
        }
        while let Some((place, load)) = self.sent.lost().or_else(|| self.sent.unanswered().filter(|_| probes))
        {
            let mut encoder = Encoder::new(&mut body[..room], None);
            let (written, rest) = match load {
                Load::Messages { class, first, last } => {
                    write_messages_again(now, outbox, &mut encoder, (class, first, last))
                }
                Load::Part { ticket, offset, len } => match outbox.retained_part(now, ticket, offset, len) {
                    None => (Load::Nothing, Load::Nothing),
                    Some(next) if encoder.push(&header_of(&next), next.payload, message::Place::Last) => {
                        (load, Load::Nothing)
                    }
                    Some(_) => (Load::Nothing, load),
                },
                Load::Drain | Load::Grant | Load::Whole { .. } | Load::Nothing => return (Load::Nothing, 0),
            };
            let len = encoder.written();
            self.sent.reduce(place, rest);
            if len > 0 || rest != Load::Nothing {
                return (written, len);
            }
        }
        (Load::Nothing, 0)
    }

    /// Bytes of a body with which it is worth to go on: what the next message needs, unless it goes in parts anyway.
    fn least_body<S: Storage>(&self, now: Instant, outbox: &mut Outbox<S>) -> usize {
        let piece_len = usize::from(self.piece_len());
        let next = outbox.next(now).filter(|next| next.part.is_none() && next.payload.len() <= piece_len);
        SLACK + message::MAX_OVERHEAD + next.map_or(0, |next| next.payload.len())
    }

    /// Writes new messages of one class, or one part of a message.
    fn write_new<S: Storage>(
        &mut self,
        now: Instant,
        outbox: &mut Outbox<S>,
        body: &mut [u8],
    ) -> (Load, usize) {
        let room = body.len().saturating_sub(SLACK).min(self.allowance.room());
        let piece_len = usize::from(self.piece_len());
        let mut encoder = Encoder::new(&mut body[..room], None);
        let mut load = Load::Nothing;
        loop {
            let queued = outbox.queued();
            let Some(next) = outbox.next(now) else { break };
            let class = next.header.priority;
            if matches!(load, Load::Messages { class: begun, .. } if begun != class) {
                break;
            }
            let mut header = header_of(&next);
            let is_whole = next.part.is_none();
            let place = if queued == 1 { message::Place::Last } else { message::Place::Inner };
            if is_whole && encoder.written() + encoder.needs(&header, next.payload.len(), place) <= room {
                let len = next.payload.len();
                if !encoder.push(&header, next.payload, place) {
                    break;
                }
                let Some(ticket) = outbox.shown() else { break };
                outbox.take(len);
                load = match load {
                    Load::Messages { first, .. } => Load::Messages { class, first, last: ticket.ordinal },
                    _ => Load::Messages { class, first: ticket.ordinal, last: ticket.ordinal },
                };
                continue;
            }
            // What fits a record waits for credit; only one message of a class is in parts at a time.
            if encoder.count() > 0 || (is_whole && next.payload.len() <= piece_len) {
                break;
            }
            let Some(piece) = cut(&encoder, &mut header, next.payload, room) else { break };
            if !encoder.push(&header, piece, message::Place::Last) {
                break;
            }
            let len = piece.len();
            // An abandonment has no ticket: it is said once, and what it abandons is forgotten with the next message.
            if let (Some(ticket), Some(Part { total, offset }), Ok(part_len)) =
                (outbox.shown(), header.part, u32::try_from(len))
            {
                load = Load::Part { ticket, offset, len: part_len };
                let parted = &mut self.parted[class as usize];
                if parted.is_none_or(|parted| parted.ordinal != ticket.ordinal) {
                    *parted = Some(Parted { ordinal: ticket.ordinal, total, arrived: 0, newest: 0 });
                }
            }
            outbox.take(len);
            break;
        }
        (load, encoder.written())
    }
}

/// Whether the end of a message in parts is among the messages of a record.
fn ends_message(checked: &Checked<'_>) -> bool {
    checked.has_parts()
        && checked.messages().any(|message::Message { header, payload }| {
            header.part.is_some_and(|part| part.end(payload.len()) == Some(part.total))
        })
}

/// Writes the retained messages of a class from an ordinal to another, as far as there is room: what was written, and what
/// was not.
fn write_messages_again<S: Storage>(
    now: Instant,
    outbox: &mut Outbox<S>,
    encoder: &mut Encoder<'_>,
    (class, first, last): (Priority, u64, u64),
) -> (Load, Load) {
    let (mut written, mut from) = (Load::Nothing, first);
    while let Some((ordinal, next)) = outbox.retained(now, class, from, last) {
        if !encoder.push(&header_of(&next), next.payload, message::Place::Inner) {
            return (written, Load::Messages { class, first: ordinal, last });
        }
        written = match written {
            Load::Messages { first, .. } => Load::Messages { class, first, last: ordinal },
            _ => Load::Messages { class, first: ordinal, last: ordinal },
        };
        from = ordinal + 1;
    }
    (written, Load::Nothing)
}

/// As much of the payload as an empty record has room for, as one part; `header` then says which.
fn cut<'p>(
    encoder: &Encoder<'_>,
    header: &mut MessageHeader,
    payload: &'p [u8],
    room: usize,
) -> Option<&'p [u8]> {
    let total = u32::try_from(payload.len()).ok()?;
    let part = *header.part.get_or_insert(Part { total, offset: 0 });
    let room = room.checked_sub(encoder.needs(header, 0, message::Place::Last))?;
    let piece = payload.get(..room.min(payload.len()))?;
    (!piece.is_empty() || part.is_abandonment()).then_some(piece)
}

fn header_of(next: &Next<'_>) -> MessageHeader {
    MessageHeader {
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
    }
}

/// Probe timeouts for which the key before the current one is kept: RFC 9001, section 6.5.
const KEPT_TIMEOUTS: u32 = 3;

/// Bytes that a new body leaves free, as it may be longer when it is sent again: a longer counter, an age of four bytes.
const SLACK: usize = 12;

/// Bytes of the longest record without acknowledgement and messages.
const ACCEPT_ROOM: usize = MAX_PREAMBLE_LEN + 5 + 3 + TAG_LEN;

#[cfg(test)]
impl<A: Aead, const N: usize> Up<A, N> {
    /// Has the next acknowledgement name a record that never came.
    pub(super) fn pretend_to_have_received(&mut self, now: Instant, counter: u64) {
        self.arrivals.handle_record(now, counter, true, None);
    }

    /// Writes a record whose header says that the next key follows.
    pub(super) fn write_with_rekey(&mut self, now: Instant, buf: &mut [u8]) -> usize {
        let header = RecordHeader { rekey: true, ..self.header(now) };
        let at = self.begin(&header, None, buf);
        self.finish(now, &header, Load::Nothing, (at, 0), buf)
    }
}
