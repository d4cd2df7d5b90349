//! What cargo checks by itself: format, lints, tests, documentation.
//!
//! Core stands in each of them twice: a workspace build turns its feature `alloc` on, so it also runs alone without.

use std::time::Duration;

use crate::child::{run, run_within};
use crate::groups::{Failure, pages};
use crate::install::component;
use crate::workspace::Workspace;

/// Many times what building and running the tests takes on two cores; a test that hangs must not hang the checks.
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
    run_within(TEST_LIMIT, workspace.cargo().args(["test", "--locked", "--workspace", "--all-features"]))?;
    run_within(TEST_LIMIT, workspace.cargo().args(["test", "--locked", "-p", "hyphal-core"]))?;
    Ok(())
}

pub(super) fn docs(workspace: &Workspace) -> Result<(), Failure> {
    let mut doc = workspace.cargo();
    doc.env("RUSTDOCFLAGS", "-D warnings");
    run(doc.args(["doc", "--locked", "--workspace", "--no-deps", "--all-features"]))?;
    pages::check(workspace)
}
