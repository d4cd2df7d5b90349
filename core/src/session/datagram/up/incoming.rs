//! One record in: opened, checked as a whole, and then acted on.

use super::{KEPT_TIMEOUTS, Up};
use crate::aead::{Aead, TAG_LEN};
use crate::handshake::Config;
use crate::outbox::{Outbox, Storage, Ticket};
use crate::session::datagram::Path;
use crate::session::datagram::loss::Load;
use crate::session::message::{Mark, Messages, Source, check};
use crate::time::Instant;
use crate::wire::control::Control;
use crate::wire::datagram::Preamble;
use crate::wire::message::{self, Checked};
use crate::wire::ranges::Ranges;
use crate::wire::reason::Reason;
use crate::wire::record::{Body, RecordHeader};

/// An opened record of this session, not yet acted on.
pub(in crate::session::datagram) struct Opened<'d> {
    pub(super) counter: u64,
    pub(super) header: RecordHeader,
    ranges: Option<Ranges>,
    body: &'d [u8],
    datagram_len: usize,
}

/// What a record brought for the level above.
pub(in crate::session::datagram) enum Content<'d> {
    Nothing,
    Messages(Messages<'d>),
    Close {
        code: u16,
    },
    /// It was not taken, and is not acknowledged.
    Dropped(Reason),
}

/// Why a datagram was not opened.
pub(in crate::session::datagram) enum Unopened {
    /// It is not the peer's, or was here before.
    Stray(Reason),
    /// The peer broke a rule, or so much was forged that the keys are worn.
    Broken(Reason),
}

impl Opened<'_> {
    /// The control message, if the record carries one.
    pub(in crate::session::datagram) fn control(&self) -> Option<Result<Control, Reason>> {
        (self.header.body == Body::Control).then(|| Control::decode(self.body))
    }
}

impl<A: Aead, const N: usize> Up<A, N> {
    /// Opens a record in place; nothing has taken effect but the key phase, which a verified tag has proven.
    pub(in crate::session::datagram) fn open<'d>(
        &mut self,
        now: Instant,
        datagram: &'d mut [u8],
    ) -> Result<Opened<'d>, Unopened> {
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
    pub(in crate::session::datagram) fn handle_record<'d, S: Storage>(
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
        // Credit counts from what the acknowledgement names.
        if header.ack.is_some() != header.credit.is_some() {
            return Err(Reason::Violation);
        }
        let written = self.sealer.count();
        if header.ack.is_some_and(|done| done > written)
            || ranges.as_ref().is_some_and(|ranges| ranges.largest() >= written)
        {
            return Err(Reason::Violation);
        }
        let checked = check(config, header.body, body, None)?;
        let control = opened.control().transpose()?;
        let is_misplaced = match control {
            Some(Control::Reject(_)) => true,
            Some(Control::Accept) => !self.standing.peer.dialled(),
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
            true => self.standing.clock.handle_stamp(now, header.clock),
            false => self.standing.clock.handle_late_stamp(now, header.clock),
        };
        if is_newest && self.route.handle_newest(from, opened.datagram_len) {
            self.handle_path_change(now);
        }
        if let Some(token) = header.pong {
            self.route.handle_pong(from, token);
        }
        if let Some(answered) = self.standing.pulse.handle_record(now, header) {
            self.sealer.handle_opened(answered + 1);
        }
        if let (Some(done), Some(ranges), Some(credit)) = (header.ack, ranges, header.credit) {
            self.handle_ack(now, *counter, (done, credit), ranges, outbox);
        }
        match control {
            Some(Control::Close { code }) => return Ok(Content::Close { code }),
            Some(Control::Drain) => self.standing.renewal.handle_drain(now),
            // The peer repeats itself, as it has heard nothing from us.
            Some(Control::Accept) => self.standing.pulse.handle_ping_request(),
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
        let source =
            Source { id: self.standing.peer.id(), epoch: self.standing.peer.hello().boot_id, waited };
        Ok(Content::Messages(Messages::new(checked.messages(), source, mark)))
    }

    fn handle_ack<S: Storage>(
        &mut self,
        now: Instant,
        counter: u64,
        (done, credit): (u64, u64),
        ranges: &Ranges,
        outbox: &mut Outbox<S>,
    ) {
        self.sealer.handle_opened(ranges.largest() + 1);
        let parted = &mut self.parted;
        let arrive = |counter, load| {
            let (ticket, len) = match load {
                Load::Part { ticket, len, .. } => (ticket, len),
                Load::Abandonment { class } => {
                    outbox.handle_abandonment_arrived(class);
                    return Load::Nothing;
                }
                _ => return load,
            };
            let Some(newest) = parted.handle_arrival(counter, ticket, len) else { return Load::Nothing };
            outbox.handle_parts_arrived(ticket.class);
            Load::Whole { ticket, newest }
        };
        self.sent.handle_ranges(now, ranges, &mut self.rtt, &mut self.window, arrive);
        // Records that were overtaken say what was done before others arrived that are not done, and that take credit.
        if self.newest_ack.is_some_and(|newest| counter < newest) {
            return;
        }
        self.newest_ack = Some(counter);
        self.credit = credit;
        self.sent.handle_done(done, |load| match load {
            Load::Messages { class, first, last } => outbox.handle_delivered(class, first, last),
            Load::Whole { ticket: Ticket { class, ordinal }, .. } => {
                outbox.handle_delivered(class, ordinal, ordinal);
            }
            Load::Nothing | Load::Drain | Load::Grant | Load::Part { .. } | Load::Abandonment { .. } => {}
        });
    }

    /// RFC 9000, section 9.4: nothing is known of the new path.
    fn handle_path_change(&mut self, now: Instant) {
        self.rtt.reset();
        self.window.reset(now);
        self.sent.handle_path_change();
        self.standing.pulse.handle_ping_request();
    }
}

/// Whether the end of a message in parts is among the messages of a record.
fn ends_message(checked: &Checked<'_>) -> bool {
    checked.has_parts()
        && checked.messages().any(|message::Message { header, payload }| {
            header.part.is_some_and(|part| part.end(payload.len()) == Some(part.total))
        })
}
