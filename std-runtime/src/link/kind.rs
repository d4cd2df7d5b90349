//! What a link asks of its session, whichever kind of line carries it. Both kinds of the core's sessions answer alike.

use hyphal_core::ids::{Acquaintance, Hints};
use hyphal_core::session::{Counterpart, DatagramSession, Event, Mark, Session, SessionKeys};
use hyphal_core::time::Instant;
use hyphal_core::wire::reason::Reason;

use crate::cipher::RingCipher;
use crate::peer::Outbox;

/// A session over a stream.
pub(crate) type OnStream = Session<RingCipher>;

/// A session over datagrams.
pub(crate) type OnDatagrams = DatagramSession<RingCipher, IN_FLIGHT>;

/// Records with messages that are under way at once, at 72 bytes of memory each whether the link is busy or not: what fills a path
/// of 10 ms with 60 Mbit/s. Bulk between servers belongs on TCP.
pub(crate) const IN_FLIGHT: usize = 64;

/// A session of either kind.
pub(crate) trait LinkSession: Send + 'static {
    fn handle_hint(&mut self, owner: Option<Acquaintance>);
    fn handle_verdict(&mut self, now: Instant, outbox: &mut Outbox, verdict: Result<(), Reason>);
    fn handle_consumed(&mut self, now: Instant, mark: Mark);
    fn handle_released(&mut self, total: u64);
    fn handle_ping_request(&mut self);
    fn handle_timeout(&mut self, now: Instant, outbox: &mut Outbox);
    fn handle_link_lost(&mut self, outbox: &mut Outbox);
    fn retire(&mut self, now: Instant, outbox: &mut Outbox, reason: Reason);
    fn log_keys(&mut self);
    fn poll_keys(&mut self) -> Option<SessionKeys>;
    fn close(&mut self, now: Instant, outbox: &mut Outbox, reason: Reason);
    fn attach(&self, outbox: &mut Outbox);
    fn poll_timeout(&self, outbox: &Outbox) -> Option<Instant>;
    fn poll_event(&mut self) -> Option<Event>;
    fn is_up(&self) -> bool;
    fn is_closed(&self) -> bool;
    fn peer(&self) -> Option<&Counterpart>;
    fn hints(&self) -> Option<Hints>;
}

/// The methods that are called alike.
macro_rules! forward {
    () => {
        fn handle_hint(&mut self, owner: Option<Acquaintance>) {
            self.handle_hint(owner);
        }

        fn handle_verdict(&mut self, now: Instant, outbox: &mut Outbox, verdict: Result<(), Reason>) {
            self.handle_verdict(now, outbox, verdict);
        }

        fn handle_consumed(&mut self, now: Instant, mark: Mark) {
            self.handle_consumed(now, mark);
        }

        fn handle_released(&mut self, total: u64) {
            self.handle_released(total);
        }

        fn handle_ping_request(&mut self) {
            self.handle_ping_request();
        }

        fn handle_timeout(&mut self, now: Instant, outbox: &mut Outbox) {
            self.handle_timeout(now, outbox);
        }

        fn handle_link_lost(&mut self, outbox: &mut Outbox) {
            self.handle_link_lost(outbox);
        }

        fn log_keys(&mut self) {
            self.log_keys();
        }

        fn poll_keys(&mut self) -> Option<SessionKeys> {
            self.poll_keys()
        }

        fn attach(&self, outbox: &mut Outbox) {
            self.attach(outbox);
        }

        fn poll_timeout(&self, outbox: &Outbox) -> Option<Instant> {
            self.poll_timeout(outbox)
        }

        fn poll_event(&mut self) -> Option<Event> {
            self.poll_event()
        }

        fn is_up(&self) -> bool {
            self.is_up()
        }

        fn is_closed(&self) -> bool {
            self.is_closed()
        }

        fn peer(&self) -> Option<&Counterpart> {
            self.peer()
        }

        fn hints(&self) -> Option<Hints> {
            self.hints()
        }
    };
}

impl LinkSession for OnStream {
    forward!();

    fn retire(&mut self, now: Instant, _: &mut Outbox, reason: Reason) {
        self.retire(now, reason);
    }

    fn close(&mut self, now: Instant, _: &mut Outbox, reason: Reason) {
        self.close(now, reason);
    }
}

impl LinkSession for OnDatagrams {
    forward!();

    fn retire(&mut self, now: Instant, outbox: &mut Outbox, reason: Reason) {
        self.retire(now, outbox, reason);
    }

    fn close(&mut self, now: Instant, outbox: &mut Outbox, reason: Reason) {
        self.close(now, outbox, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_of_either_kind_are_small_enough_for_many() {
        use std::mem::size_of;

        let sizes = (size_of::<OnStream>(), size_of::<OnDatagrams>());

        // Over datagrams 8 KiB, and the longest frame of a handshake, which is written once and repeated.
        assert!(sizes.0 <= 3 * 1024 && sizes.1 <= 8 * 1024 + 512, "{sizes:?}");
    }
}
