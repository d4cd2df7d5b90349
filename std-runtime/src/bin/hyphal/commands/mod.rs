//! One file for each command; this one finds it.

mod completions;
mod doctor;
mod id;
mod keygen;

use crate::cli::{Cli, Command};
use crate::output::{Exit, Failure};

/// Runs the command of this command line.
pub(crate) fn run(cli: &Cli) -> Result<Exit, Failure> {
    match &cli.command {
        Command::Keygen(args) => keygen::run(&cli.global, args),
        Command::Id(args) => id::run(&cli.global, args),
        Command::Doctor(args) => doctor::run(&cli.global, args),
        Command::Completions(args) => completions::run(args),
        Command::Node(_)
        | Command::Send(_)
        | Command::Listen(_)
        | Command::Ping(_)
        | Command::Bench(_)
        | Command::Demo(_) => Err(Failure::new(Exit::Usage, "this build has no such command", "")),
    }
}
