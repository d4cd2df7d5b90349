//! What cargo checks by itself: format, lints, tests, documentation.
//!
//! Core stands in each of them twice: a workspace build turns its feature `alloc` on, so it also runs alone without.

use std::time::Duration;

use crate::child::{run, run_within};
use crate::groups::{Failure, pages};
use crate::install::component;
use crate::workspace::Workspace;

/// Many times what running the tests takes on two cores; a test that hangs must not hang the checks.
const TEST_LIMIT: Duration = Duration::from_secs(30 * 60);

pub(super) fn fmt(workspace: &Workspace) -> Result<(), Failure> {
    component(workspace, "rustfmt", "fmt")?;
    run(workspace.cargo().args(["fmt", "--all", "--", "--check"]))?;
    run(workspace.cargo().args(["fmt", "--manifest-path", "core/firmware/Cargo.toml", "--", "--check"]))?;
    Ok(())
}

pub(super) fn clippy(workspace: &Workspace) -> Result<(), Failure> {
    const DENY: [&str; 3] = ["--", "-D", "warnings"];
    component(workspace, "clippy", "clippy")?;
    run(workspace
        .cargo()
        .args(["clippy", "--locked", "--workspace", "--all-targets", "--all-features"])
        .args(DENY))?;
    run(workspace.cargo().args(["clippy", "--locked", "-p", "hyphal-core", "--all-targets"]).args(DENY))?;
    Ok(())
}

pub(super) fn test(workspace: &Workspace) -> Result<(), Failure> {
    for tests in [["--workspace", "--all-features"], ["-p", "hyphal-core"]] {
        let test = || {
            let mut test = workspace.cargo();
            test.args(["test", "--locked"]).args(tests);
            test
        };
        // A build ends, however long it takes on a machine that is slow and has nothing yet.
        run(test().arg("--no-run"))?;
        run_within(TEST_LIMIT, &mut test())?;
    }
    Ok(())
}

pub(super) fn docs(workspace: &Workspace) -> Result<(), Failure> {
    let mut doc = workspace.cargo();
    doc.env("RUSTDOCFLAGS", "-D warnings");
    run(doc.args(["doc", "--locked", "--workspace", "--no-deps", "--all-features"]))?;
    pages::check(workspace)
}
