//! What a link reports to the control task: once per heartbeat, and once after its end.
//!
//! It turns what the session and the outbox observe into differences; it judges nothing.

use std::time::Duration;

use hyphal_core::node::LinkReport;
use hyphal_core::time::Instant;

/// The observations since the last report.
pub(crate) struct Pulse {
    interval: Duration,
    report_at: Option<Instant>,
    rtt: Option<Duration>,
    missed: u32,
    /// What no report has told yet.
    unsent: Settled,
}

impl Pulse {
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, report_at: None, rtt: None, missed: 0, unsent: Settled::default() }
    }

    /// The session is up, with heartbeats so far apart.
    pub(crate) fn handle_up(&mut self, now: Instant, interval: Duration) {
        self.interval = interval;
        // Half an interval after each heartbeat, so that its answer has had time to arrive.
        self.report_at = Some(now.after(self.interval + self.interval / 2));
    }

    /// A heartbeat was answered.
    pub(crate) fn handle_rtt(&mut self, rtt: Duration) {
        self.rtt = Some(rtt);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.report_at
    }

    /// The report, if it is due; `settled` gives what the outbox settled since somebody reported it last.
    pub(crate) fn poll_report(
        &mut self,
        now: Instant,
        settled: impl FnOnce() -> Settled,
    ) -> Option<LinkReport> {
        if self.report_at.is_none_or(|at| at > now) {
            return None;
        }
        self.report_at = Some(now.after(self.interval));
        self.missed = if self.rtt.is_some() { 0 } else { self.missed.saturating_add(1) };
        Some(self.last_report(settled()))
    }

    /// What was observed since the last report.
    pub(crate) fn last_report(&mut self, settled: Settled) -> LinkReport {
        let unsent = std::mem::take(&mut self.unsent);
        LinkReport {
            rtt: self.rtt.take(),
            missed_heartbeats: self.missed,
            failures: 0,
            confirmed: unsent.confirmed + settled.confirmed,
            unconfirmed: unsent.unconfirmed + settled.unconfirmed,
        }
    }

    /// The last report did not reach the control task: the next one tells the same.
    pub(crate) fn handle_unsent(&mut self, report: &LinkReport) {
        self.rtt = self.rtt.or(report.rtt);
        self.unsent = Settled { confirmed: report.confirmed, unconfirmed: report.unconfirmed };
    }
}

/// Messages whose fate was settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) confirmed: u64,
    pub(crate) unconfirmed: u64,
}
