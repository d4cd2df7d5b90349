//! What the log says of refused connections and ended links: one line each, with the reason and what to do about it.
//!
//! Lines that anybody on the network can cause are limited in number; the counters miss nothing.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyphal_core::time::Instant;
use hyphal_core::wire::reason::Reason;

/// What a person can do about a refusal; empty if nothing.
pub(crate) const fn remedy(reason: Reason) -> &'static str {
    match reason {
        Reason::Version => "upgrade the older of the two nodes",
        Reason::Network => "use the same network name at both ends",
        Reason::ClockSkew => "synchronise the clocks of both machines",
        Reason::OwnId => "a node dials itself or its key was copied: give each node its own key",
        Reason::Untrusted => {
            "add the peer's id to peers or trust.admit; where certificates count, name its authority in trust.authorities"
        }
        Reason::Limit => "raise the limit of connections, or look for whoever opens so many",
        Reason::UnexpectedId => "check the id in the peer's address",
        Reason::BadKey => "the peer's key is broken: generate a new one there",
        Reason::BadDelegation => {
            "the peer's delegated key is forged or broken: make a new one where its own key is"
        }
        Reason::DelegationExpired => {
            "make a new delegated key for the node (hyphal key delegate), or check the clocks of both machines"
        }
        Reason::NoCertificate => {
            "issue one where the authority is (hyphal ca issue), and name it in trust.certificate"
        }
        Reason::BadCertificate => "issue the certificate anew where the authority is (hyphal ca issue)",
        Reason::CertificateExpired => {
            "renew the certificate where the authority is (hyphal ca renew), or check the clocks of both machines"
        }
        Reason::CertificateNotYetValid => "check the clocks of both machines and of the authority",
        Reason::Revoked => "a node that may come back gets a new certificate (hyphal ca issue)",
        Reason::WrongRole => {
            "compare node_type and trust.roles of both ends with what the authority says (hyphal ca list)"
        }
        Reason::StaleList => "sign a newer list where the authority is (hyphal ca revoke --refresh)",
        Reason::Unreachable => "check the address, the firewall, and whether the peer runs",
        Reason::Busy => "it passes; if not, raise the limit of handshakes",
        Reason::HandshakeTimeout => "check whether a Hyphal node runs at the other end",
        _ => "",
    }
}

/// Lets a few lines pass in each period and counts the rest.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    state: Mutex<Option<Period>>,
}

#[derive(Clone, Copy, Debug)]
struct Period {
    since: Instant,
    lines: u32,
}

impl Throttle {
    /// Whether a line may be written, and how many were not since the last one that was.
    pub(crate) fn pass(&self, now: Instant) -> Option<u32> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            Some(period) if now.since(period.since) < PERIOD => {
                period.lines += 1;
                (period.lines <= LINES).then_some(0)
            }
            period => {
                let missed = period.map_or(0, |period| period.lines.saturating_sub(LINES));
                *period = Some(Period { since: now, lines: 1 });
                Some(missed)
            }
        }
    }
}

const PERIOD: Duration = Duration::from_secs(10);
const LINES: u32 = 10;

/// What is logged on this thread meanwhile.
#[cfg(test)]
pub(crate) fn of(run: impl FnOnce()) -> String {
    use std::sync::LazyLock;

    use tracing::Dispatch;
    use tracing::subscriber::NoSubscriber;

    /// Where there is only one subscriber, whichever thread comes to a line of the program first decides with its own whether anybody
    /// wants it, once and for all: with these there are more, and all are asked.
    static OTHERS: LazyLock<[Dispatch; 2]> =
        LazyLock::new(|| [(); 2].map(|()| Dispatch::new(NoSubscriber::default())));

    #[derive(Clone, Default)]
    struct Log(std::sync::Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    LazyLock::force(&OTHERS);
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, run);
    String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_certificate_is_refused_for_has_a_remedy() {
        for reason in [
            Reason::NoCertificate,
            Reason::BadCertificate,
            Reason::CertificateExpired,
            Reason::CertificateNotYetValid,
            Reason::Revoked,
            Reason::WrongRole,
            Reason::StaleList,
        ] {
            assert_ne!(remedy(reason), "", "{}", reason.name());
        }
    }

    #[test]
    fn a_flood_writes_a_few_lines_only() {
        let throttle = Throttle::default();
        let (now, later) = (Instant::from_micros(1), Instant::from_micros(1).after(PERIOD));

        let passed = (0..1000).filter(|_| throttle.pass(now).is_some()).count();
        let next = throttle.pass(later);

        assert_eq!((passed, next), (LINES as usize, Some(1000 - LINES)));
    }

    #[test]
    fn a_line_that_another_thread_came_to_first_is_in_the_log_of_the_one_that_looks() {
        let write = || tracing::warn!("a line of this test only");

        let log = of(|| {
            std::thread::scope(|scope| scope.spawn(write).join().unwrap());
            write();
        });

        assert_eq!(log.matches("a line of this test only").count(), 1, "{log}");
    }
}
