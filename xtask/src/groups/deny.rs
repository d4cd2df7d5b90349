//! The rules of deny.toml about what we depend on, held by cargo-deny.

use std::process::Command;
use std::time::Duration;

use crate::child::{run, succeeds_within};
use crate::groups::Failure;
use crate::install;
use crate::workspace::Workspace;

/// Beyond this the advisory database counts as out of reach.
const FETCH_LIMIT: Duration = Duration::from_secs(120);

pub(super) fn check(workspace: &Workspace) -> Result<(), Failure> {
    let program = install::cargo_deny(workspace)?;
    let deny = || {
        let mut deny = Command::new(&program);
        deny.current_dir(workspace.root());
        deny
    };

    run(deny().args(["--all-features", "--locked", "check", "licenses", "bans", "sources"]))?;

    // The advisory database is a repository of its own. A machine that cannot reach it still checks all the rest, so
    // its absence is said aloud and fails nothing.
    if !succeeds_within(FETCH_LIMIT, deny().args(["fetch", "db"])) {
        println!("advisories: not checked, because the advisory database cannot be fetched from here");
        return Ok(());
    }
    run(deny().args(["--all-features", "--locked", "check", "--disable-fetch", "advisories"]))?;
    Ok(())
}
