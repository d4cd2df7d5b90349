//! The demonstration that the README promises, run as a reader would run it, and its account read as a script would.
//!
//! Invariant: an exit code of 0 is not believed by itself; the account has to say so, too.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};

use crate::child::{output_within, run};
use crate::groups::Failure;
use crate::workspace::Workspace;

/// Many times what the demonstration takes on two cores.
const LIMIT: Duration = Duration::from_secs(120);

/// The figures of the account, as docs/cli.md promises.
const FIGURES: [&str; 17] = [
    "sent",
    "delivered",
    "expired",
    "dropped",
    "unconfirmed",
    "lost",
    "duplicates",
    "repeated",
    "sealed_and_signed",
    "guaranteed",
    "guaranteed_lost",
    "guaranteed_repeated",
    "rtt_p50_us",
    "rtt_p99_us",
    "critical_wait_p99_us",
    "detect_ms",
    "reconnect_ms",
];

pub(super) fn check(workspace: &Workspace) -> Result<(), Failure> {
    const RELEASE: [&str; 6] = ["--locked", "--release", "--package", "hyphal", "--bin", "hyphal"];
    run(workspace.cargo().arg("build").args(RELEASE))?;
    let account = output_within(
        LIMIT,
        workspace.cargo().args(["run", "--quiet"]).args(RELEASE).args(["--", "demo", "--json"]),
    )?;
    println!("{}", String::from_utf8_lossy(&account).trim_end());
    let account: Map<String, Value> =
        serde_json::from_slice(&account).context("the account is no JSON object")?;
    judge(&account)?;
    Ok(())
}

/// Whether the account has all of its fields and tells of a demonstration that went well.
fn judge(account: &Map<String, Value>) -> Result<()> {
    for name in FIGURES {
        let is_number = account.get(name).is_some_and(Value::is_number);
        ensure!(is_number, "the account has no number in its field {name}");
    }
    let transports = account.get("transports").and_then(Value::as_array);
    let transports = transports.context("the account has no list in its field transports")?;
    for name in ["tcp", "udp"] {
        ensure!(transports.iter().any(|transport| transport == name), "no node was reached over {name}");
    }
    let count = |name: &str| account[name].as_u64().with_context(|| format!("{name} is no count"));
    let (sent, delivered) = (count("sent")?, count("delivered")?);
    ensure!(delivered > sent / 2, "of {sent} messages only {delivered} were delivered");
    for name in ["lost", "duplicates", "guaranteed_lost"] {
        let count = count(name)?;
        ensure!(count == 0, "{name} is {count}, not 0");
    }
    for name in ["sealed_and_signed", "guaranteed"] {
        ensure!(count(name)? > 0, "{name} is 0");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The account of a demonstration that went well, but for one field.
    fn account_with(name: &str, value: Value) -> Map<String, Value> {
        let mut account: Map<_, _> = FIGURES.iter().map(|name| ((*name).to_owned(), 0.into())).collect();
        account.insert("sent".to_owned(), 100.into());
        account.insert("delivered".to_owned(), 90.into());
        account.insert("detect_ms".to_owned(), 1.5.into());
        account.insert("sealed_and_signed".to_owned(), 2.into());
        account.insert("guaranteed".to_owned(), 400.into());
        account.insert("transports".to_owned(), ["tcp", "udp"].as_slice().into());
        account.insert(name.to_owned(), value);
        account
    }

    #[test]
    fn an_account_of_a_demonstration_that_went_well_passes() {
        judge(&account_with("expired", 3.into())).unwrap();
    }

    #[test]
    fn losses_duplicates_and_too_few_deliveries_do_not_pass() {
        for (name, value) in [("lost", 1), ("duplicates", 1), ("delivered", 50), ("guaranteed_lost", 1)] {
            assert!(judge(&account_with(name, value.into())).is_err(), "{name}");
        }
    }

    #[test]
    fn what_was_not_shown_does_not_pass() {
        for name in ["sealed_and_signed", "guaranteed"] {
            assert!(judge(&account_with(name, 0.into())).is_err(), "{name}");
        }
    }

    #[test]
    fn a_demonstration_over_one_transport_only_does_not_pass() {
        for only in ["tcp", "udp"] {
            assert!(judge(&account_with("transports", [only].as_slice().into())).is_err(), "{only}");
        }
    }

    #[test]
    fn every_field_has_to_be_there() {
        for name in FIGURES.into_iter().chain(["transports"]) {
            let mut account = account_with("expired", 3.into());
            account.remove(name);

            let error = judge(&account).unwrap_err().to_string();

            assert!(error.ends_with(&format!("field {name}")), "{error}");
        }
    }
}
