//! What a link reports to the control task: once per heartbeat, and once after its end.
//!
//! It turns what the session and the outbox observe into differences; it judges nothing.

use std::time::Duration;

use hyphal_core::node::LinkReport;
use hyphal_core::outbox;
use hyphal_core::time::Instant;

/// The observations since the last report.
pub(crate) struct Pulse {
    interval: Duration,
    report_at: Option<Instant>,
    rtt: Option<Duration>,
    missed: u32,
    confirmed: u64,
    unconfirmed: u64,
}

impl Pulse {
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, report_at: None, rtt: None, missed: 0, confirmed: 0, unconfirmed: 0 }
    }

    /// The session is up; what the outbox counted before is not this link's.
    pub(crate) fn handle_up(&mut self, now: Instant, counters: outbox::Counters) {
        self.confirmed = counters.confirmed;
        self.unconfirmed = counters.unconfirmed;
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

    /// The report, if it is due.
    pub(crate) fn poll_report(
        &mut self,
        now: Instant,
        counters: impl FnOnce() -> outbox::Counters,
    ) -> Option<LinkReport> {
        if self.report_at.is_none_or(|at| at > now) {
            return None;
        }
        self.report_at = Some(now.after(self.interval));
        self.missed = if self.rtt.is_some() { 0 } else { self.missed.saturating_add(1) };
        Some(self.last_report(counters()))
    }

    /// What was observed since the last report.
    pub(crate) fn last_report(&mut self, counters: outbox::Counters) -> LinkReport {
        let report = LinkReport {
            rtt: self.rtt.take(),
            missed_heartbeats: self.missed,
            failures: 0,
            confirmed: counters.confirmed.saturating_sub(self.confirmed),
            unconfirmed: counters.unconfirmed.saturating_sub(self.unconfirmed),
        };
        self.confirmed = counters.confirmed;
        self.unconfirmed = counters.unconfirmed;
        report
    }

    /// The last report did not reach the control task: the next one tells the same.
    pub(crate) fn handle_unsent(&mut self, report: &LinkReport) {
        self.rtt = self.rtt.or(report.rtt);
        self.confirmed -= report.confirmed;
        self.unconfirmed -= report.unconfirmed;
    }
}
