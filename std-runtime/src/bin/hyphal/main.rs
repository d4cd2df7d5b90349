//! The command `hyphal`: reads the command line, runs one command, turns its outcome into an exit code.
//!
//! Everything a command does stands in its file under `commands/`. Nothing else ends the process or decides a code.

mod cli;
mod commands;
mod output;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match commands::run(&cli) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.print();
            failure.exit.into()
        }
    }
}
