//! Runs groups one after the other and sums up: a line per group, then the closing line `N passed, N failed`.
//!
//! Invariant: a check that could not run is never counted as passed; under `CI=true` it counts as failed.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::groups::{Failure, GROUPS, Group};
use crate::workspace::Workspace;

/// Prints every group's name with its sentence.
pub(crate) fn print_list() {
    let width = GROUPS.iter().map(|group| group.name.len()).max().unwrap_or(0);
    for group in GROUPS {
        println!("{:width$}  {}", group.name, group.about);
    }
}

/// Runs the groups named in `wanted` (all, if none is) and returns the process's exit code.
pub(crate) fn run(workspace: &Workspace, wanted: &[String]) -> ExitCode {
    let strict = std::env::var("CI").is_ok_and(|value| value == "true");
    let chosen =
        GROUPS.iter().filter(|group| wanted.is_empty() || wanted.iter().any(|name| name == group.name));

    let results: Vec<_> = chosen.map(|group| run_group(workspace, group, strict)).collect();

    summarise(&results);
    let failed = results.iter().any(|result| matches!(result.verdict, Verdict::Failed(_)));
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

struct GroupResult {
    name: &'static str,
    verdict: Verdict,
    took: Duration,
}

enum Verdict {
    Passed,
    Failed(String),
    Skipped(String),
}

fn run_group(workspace: &Workspace, group: &Group, strict: bool) -> GroupResult {
    println!("\n=== {}: {}", group.name, group.about);
    let start = Instant::now();
    let verdict = match (group.run)(workspace) {
        Ok(()) => Verdict::Passed,
        Err(Failure::CannotRun(reason)) if strict => {
            Verdict::Failed(format!("cannot run, and CI=true: {reason}"))
        }
        Err(Failure::CannotRun(reason)) => Verdict::Skipped(reason),
        Err(Failure::Failed(error)) => Verdict::Failed(format!("{error:#}")),
    };
    GroupResult { name: group.name, verdict, took: start.elapsed() }
}

fn summarise(results: &[GroupResult]) {
    let width = results.iter().map(|result| result.name.len()).max().unwrap_or(0);
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    println!("\n=== summary");
    for GroupResult { name, verdict, took } in results {
        let (word, reason) = match verdict {
            Verdict::Passed => (counted(&mut passed, "passed"), ""),
            Verdict::Failed(reason) => (counted(&mut failed, "FAILED"), reason.as_str()),
            Verdict::Skipped(reason) => (counted(&mut skipped, "skipped"), reason.as_str()),
        };
        println!("{}", format!("{name:width$}  {word:7}  {:6.1} s  {reason}", took.as_secs_f64()).trim_end());
    }
    println!();
    if skipped == 0 {
        println!("{passed} passed, {failed} failed");
    } else {
        println!("{passed} passed, {failed} failed, {skipped} skipped");
    }
}

fn counted(count: &mut u32, word: &'static str) -> &'static str {
    *count += 1;
    word
}
