//! The rules of deny.toml about what we depend on, held by cargo-deny.

use std::process::Command;
use std::time::Duration;

use crate::child::{run, succeeds_within};
use crate::groups::Failure;
use crate::install;
use crate::workspace::Workspace;

/// The workspace and the firmware, which has a lock file of its own.
const MANIFESTS: [&str; 2] = ["Cargo.toml", "core/firmware/Cargo.toml"];

const RULES: &str = "deny.toml";

/// Beyond this the advisory database counts as out of reach.
const FETCH_LIMIT: Duration = Duration::from_secs(120);

pub(super) fn check(workspace: &Workspace) -> Result<(), Failure> {
    let program = install::cargo_deny(workspace)?;
    let deny = |manifest: &str| {
        let mut deny = Command::new(&program);
        deny.current_dir(workspace.root()).args(["--config", RULES, "--manifest-path", manifest]);
        deny.args(["--all-features", "--locked"]);
        deny
    };

    for manifest in MANIFESTS {
        run(deny(manifest).args(["check", "licenses", "bans", "sources"]))?;
    }

    // The advisory database is a repository of its own. A machine that cannot reach it still checks all the rest, so
    // its absence is said aloud and fails nothing.
    let [first, ..] = MANIFESTS;
    if !succeeds_within(FETCH_LIMIT, deny(first).args(["fetch", "db"])) {
        println!("advisories: not checked, because the advisory database cannot be fetched from here");
        return Ok(());
    }
    for manifest in MANIFESTS {
        run(deny(manifest).args(["check", "--disable-fetch", "advisories"]))?;
    }
    Ok(())
}
