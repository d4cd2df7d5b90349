//! The demonstration that the README promises, run as a reader would run it.

use std::time::Duration;

use crate::child::{run, run_within};
use crate::groups::Failure;
use crate::workspace::Workspace;

/// Many times what the demonstration takes on two cores.
const LIMIT: Duration = Duration::from_secs(120);

pub(super) fn check(workspace: &Workspace) -> Result<(), Failure> {
    const RELEASE: [&str; 6] = ["--locked", "--release", "--package", "hyphal", "--bin", "hyphal"];
    run(workspace.cargo().arg("build").args(RELEASE))?;
    run_within(
        LIMIT,
        workspace.cargo().args(["run", "--quiet"]).args(RELEASE).args(["--", "demo", "--json"]),
    )?;
    Ok(())
}
