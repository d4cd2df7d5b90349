//! `cargo xtask test`: every check that a contributor or CI runs, in groups.
//!
//! This is the command line and nothing else. What is checked stands in `groups`, one file per concern; how a group's
//! verdict becomes a summary and an exit code stands in `run`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line speaks through its standard output"
)]

mod child;
mod groups;
mod install;
mod run;
mod workspace;

use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};

use groups::GROUPS;

/// The chores of the Hyphal workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Runs the checks: all of them, or the named groups in the order of the list.
    ///
    /// A check that cannot run on this machine is skipped with its reason; with CI=true in the environment it fails.
    /// What a check needs and lacks is installed, after a line that says what and why.
    Test {
        /// Lists the groups, one sentence each, and runs nothing.
        #[arg(long)]
        list: bool,
        /// The groups to run; without any, all.
        #[arg(value_name = "GROUP", value_parser = PossibleValuesParser::new(GROUPS.iter().map(|group| group.name)))]
        groups: Vec<String>,
    },
}

fn main() -> ExitCode {
    let Chore::Test { list, groups } = Cli::parse().chore;
    if list {
        run::print_list();
        return ExitCode::SUCCESS;
    }

    let checked = child::end_children_on_interrupt().and_then(|()| workspace::Workspace::locate());
    match checked {
        Ok(workspace) => run::run(&workspace, &groups),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
