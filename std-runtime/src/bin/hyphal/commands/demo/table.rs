//! The account of the demo as people read it. Numbers come from the audit; here they are only laid out.

use std::fmt;
use std::time::Duration;

use super::Account;
use super::script::Transport;
use crate::output::{BAD, GOOD};

/// An account as a table.
pub(super) struct Table<'a>(pub(super) &'a Account);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let account = self.0;
        let audit = &account.audit;
        writeln!(f)?;
        row(f, "sent", &audit.sent, "one for each message and receiver")?;
        row(f, "delivered", &audit.delivered, "confirmed to the sender, and in the receiver's log")?;
        row(f, "expired", &audit.expired, "their time to live ended while the receiver was dead")?;
        if audit.dropped.is_empty() {
            row(f, "dropped", &0, "")?;
        }
        for (reason, count) in &audit.dropped {
            row(f, "dropped", count, reason)?;
        }
        let arrived = format!("their session died first; {} of them had arrived", audit.unconfirmed_arrived);
        row(f, "unconfirmed", &audit.unconfirmed, &arrived)?;
        row(f, "lost", &audit.lost, "")?;
        row(f, "duplicates", &audit.duplicates, "")?;
        row(
            f,
            "repeated",
            &audit.repeated,
            "received before the receiver was killed, and not acknowledged yet",
        )?;
        writeln!(f)?;
        let promises = &account.promises;
        row(f, "sealed, signed", &account.sealed_and_signed, "a question and its answer")?;
        let kills = "accepted before their receiver and their sender were killed";
        row(f, "guaranteed", &promises.accepted, kills)?;
        row(f, "guaranteed, lost", &promises.lost, "")?;
        row(f, "  and repeated", &promises.repeated, "as above")?;
        writeln!(f)?;
        row(f, "round trip p50", &span(account.rtt_p50), "")?;
        row(f, "round trip p99", &span(account.rtt_p99), "")?;
        let during = "for Critical messages while 16 MiB were under way";
        row(f, "critical wait p99", &span(account.critical_wait_p99), during)?;
        row(f, "time to notice", &span(account.detect), "from the kill until the last node noticed")?;
        row(
            f,
            "time to reconnect",
            &span(account.reconnect),
            "from the restart until the last node was connected",
        )?;
        writeln!(f)?;
        for transport in Transport::ALL {
            let nodes = account.transports.iter().enumerate().filter(|(_, of_node)| **of_node == transport);
            let nodes: Vec<String> = nodes.map(|(index, _)| format!("node {index}")).collect();
            row(f, "reached over", &transport, &nodes.join(", "))?;
        }
        writeln!(f)?;
        if account.is_sound() {
            writeln!(f, "{GOOD}Nothing was lost, nothing was delivered twice.{GOOD:#}")
        } else {
            writeln!(f, "{BAD}Messages were lost or delivered twice.{BAD:#}")
        }
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, value: &dyn fmt::Display, remark: &str) -> fmt::Result {
    let value = value.to_string();
    let line = format!("  {name:<18}{value:>10}   {remark}");
    writeln!(f, "{}", line.trim_end())
}

/// A span in the unit in which people compare such spans.
pub(super) fn span(span: Duration) -> String {
    let micros = span.as_micros();
    match micros {
        0..1000 => format!("{micros} us"),
        1000..100_000 => format!("{:.1} ms", micros as f64 / 1000.0),
        100_000..1_000_000 => format!("{} ms", micros / 1000),
        _ => format!("{:.2} s", span.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_fitting_unit() {
        let shown = [7, 1_250, 250_000, 2_500_000].map(|micros| span(Duration::from_micros(micros)));

        assert_eq!(shown, ["7 us", "1.2 ms", "250 ms", "2.50 s"]);
    }
}
