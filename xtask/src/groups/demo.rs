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

/// Whether the account tells of a demonstration that went well. That it has all of its fields is for the command's own tests.
fn judge(account: &Map<String, Value>) -> Result<()> {
    let transports = account.get("transports").and_then(Value::as_array);
    let transports = transports.context("the account has no list in its field transports")?;
    for name in ["tcp", "udp"] {
        ensure!(transports.iter().any(|transport| transport == name), "no node was reached over {name}");
    }
    let count = |name: &str| {
        let count = account.get(name).and_then(Value::as_u64);
        count.with_context(|| format!("the account has no count in its field {name}"))
    };
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
    use serde_json::json;

    use super::*;

    /// The account of a demonstration that went well, but for one field.
    fn account_with(name: &str, value: Value) -> Map<String, Value> {
        let account = json!({
            "sent": 100, "delivered": 90, "expired": 10, "lost": 0, "duplicates": 0, "sealed_and_signed": 2,
            "guaranteed": 400, "guaranteed_lost": 0, "transports": ["tcp", "udp"],
        });
        let Value::Object(mut account) = account else { unreachable!("it is an object") };
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
    fn a_field_that_is_not_there_does_not_pass() {
        for name in ["sent", "delivered", "lost", "guaranteed_lost", "sealed_and_signed", "transports"] {
            let mut account = account_with("expired", 3.into());
            account.remove(name);

            let error = judge(&account).unwrap_err().to_string();

            assert!(error.ends_with(&format!("field {name}")), "{error}");
        }
    }
}
