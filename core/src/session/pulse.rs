//! Heartbeats of both directions: ours on time, the peer's awaited, and a link that takes nothing noticed.
//!
//! Silence means that the peer does not speak, a stall that it does not listen. Round trips are measured by the pings.

use core::num::Wrapping;

use super::spread::Spread;
use crate::profile::Terms;
use crate::time::{Duration, Instant};
use crate::wire::record::RecordHeader;

/// Heartbeat intervals of the peer without a sign of life that make it silent.
const SILENT_AFTER: u32 = 4;

/// The shortest silence that counts: below it the scheduler of a busy host is mistaken for a dead peer.
const SHORTEST_SILENCE: Duration = Duration::from_millis(500);

/// How long beyond a heartbeat the link may take no record. With the longest heartbeat of 655 s it stays below the 1,048 s
/// after which the clock field of a record would be ambiguous.
const STALLED_AFTER: Duration = Duration::from_secs(300);

/// Pings that may be under way: a round trip is measured even where it takes several heartbeats.
const PINGS: usize = 8;

pub(super) struct Pulse {
    interval: Duration,
    /// When the next ping is due.
    ping_at: Instant,
    wants_ping: bool,
    /// The token of the next ping.
    token: Wrapping<u8>,
    /// The pings under way, each at its token modulo their number.
    pings: [Option<Ping>; PINGS],
    /// The peer's ping that is still to be answered.
    pong: Option<u8>,
    silence: Duration,
    /// When the peer counts as silent.
    silent_at: Instant,
    /// When the link last took a record.
    written_at: Instant,
    /// A round trip that the caller has not heard of.
    rtt: Option<Duration>,
}

#[derive(Clone, Copy)]
struct Ping {
    token: u8,
    sent_at: Instant,
    /// The record that carries it.
    counter: u64,
}

impl Pulse {
    /// The first ping is due at once, the second within the interval at this session's own place, the others an interval apart.
    pub(super) fn new(now: Instant, terms: &Terms, spread: Spread) -> Self {
        let interval = terms.heartbeat;
        let silence = (terms.peer_heartbeat * SILENT_AFTER).max(SHORTEST_SILENCE);
        Self {
            interval,
            ping_at: now.after(spread.first_interval(interval)),
            wants_ping: true,
            token: Wrapping(0),
            pings: [None; PINGS],
            pong: None,
            silence,
            silent_at: now.after(silence),
            written_at: now,
            rtt: None,
        }
    }

    /// Gives the record whose ping the peer answers.
    pub(super) fn handle_record(&mut self, now: Instant, header: &RecordHeader) -> Option<u64> {
        self.silent_at = now.after(self.silence);
        if let Some(token) = header.ping {
            self.pong = Some(token);
        }
        let answered = &mut self.pings[usize::from(header.pong?) % PINGS];
        let Ping { sent_at, counter, .. } = answered.take_if(|ping| header.pong == Some(ping.token))?;
        self.rtt = Some(now.since(sent_at));
        Some(counter)
    }

    /// The caller wants a round trip measured at once.
    pub(super) fn handle_ping_request(&mut self) {
        self.wants_ping = true;
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.ping_at <= now {
            self.wants_ping = true;
            self.ping_at = now.after(self.interval);
        }
    }

    /// A record without ping and pong was written.
    pub(super) fn handle_written(&mut self, now: Instant) {
        self.written_at = now;
    }

    /// Record `counter` was written with the ping and pong that stand in `header`.
    pub(super) fn handle_sent(&mut self, now: Instant, counter: u64, header: &RecordHeader) {
        self.written_at = now;
        if let Some(token) = header.ping {
            self.wants_ping = false;
            self.pings[usize::from(token) % PINGS] = Some(Ping { token, sent_at: now, counter });
            self.token += 1;
        }
        self.pong = None;
    }

    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.silent_at <= now
    }

    /// Whether the link has taken no record for so long that one was surely due.
    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        self.stalled_at() <= now
    }

    pub(super) fn due_at(&self) -> Instant {
        self.ping_at.min(self.stalled_at()).min(self.silent_at)
    }

    pub(super) fn wants_record(&self) -> bool {
        self.wants_ping || self.pong.is_some()
    }

    pub(super) fn ping_token(&self) -> Option<u8> {
        self.wants_ping.then_some(self.token.0)
    }

    pub(super) fn pong_token(&self) -> Option<u8> {
        self.pong
    }

    pub(super) fn poll_rtt(&mut self) -> Option<Duration> {
        self.rtt.take()
    }

    fn stalled_at(&self) -> Instant {
        self.written_at.after(self.interval).after(STALLED_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeType;
    use crate::profile::{End, Security};
    use crate::wire::hello::Hello;
    use crate::wire::message::Methods;

    #[test]
    fn a_round_trip_of_several_heartbeats_is_measured() {
        let mut pulse = pulse();

        for counter in 0..5 {
            let now = at(100 * counter);
            pulse.handle_timeout(now);
            let header = RecordHeader { ping: pulse.ping_token(), ..RecordHeader::default() };
            pulse.handle_sent(now, counter, &header);
        }
        let answered =
            pulse.handle_record(at(450), &RecordHeader { pong: Some(1), ..RecordHeader::default() });

        assert_eq!(answered, Some(1));
        assert_eq!(pulse.poll_rtt(), Some(Duration::from_millis(350)));
    }

    #[test]
    fn a_pong_that_answers_no_ping_or_one_answered_before_measures_nothing() {
        let mut pulse = pulse();
        let header = RecordHeader { ping: pulse.ping_token(), ..RecordHeader::default() };
        pulse.handle_sent(at(0), 0, &header);
        let pong = |token| RecordHeader { pong: Some(token), ..RecordHeader::default() };
        assert_eq!(pulse.handle_record(at(1), &pong(0)), Some(0));
        pulse.poll_rtt();

        for token in [0, 8, 200] {
            assert_eq!(pulse.handle_record(at(2), &pong(token)), None);
        }
        assert_eq!(pulse.poll_rtt(), None);
    }

    #[test]
    fn a_link_that_takes_nothing_is_stalled_before_the_clock_field_is_ambiguous() {
        let mut pulse = pulse();
        pulse.interval = Hello::MAX_HEARTBEAT;
        let limit = Duration::from_millis(16 * 65_536);

        assert!(!pulse.is_stalled(at(0).after(Hello::MAX_HEARTBEAT)));
        assert!(pulse.is_stalled(at(0).after(limit)));
        pulse.handle_written(at(1_000));
        assert!(!pulse.is_stalled(at(1_000).after(Hello::MAX_HEARTBEAT)));
    }

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1_000)
    }

    fn pulse() -> Pulse {
        let heartbeat = Duration::from_millis(100);
        let end =
            End { node_type: NodeType::Rhizomorph, max_record: 2048, methods: Methods::NONE, heartbeat };
        Pulse::new(at(0), &Terms::of(&end, &end, Security::Minimal), Spread::LATEST)
    }
}
