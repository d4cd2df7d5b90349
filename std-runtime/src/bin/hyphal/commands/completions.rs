//! `hyphal completions`: the script that teaches a shell to complete this command line.

use std::io::{self, Write};

use clap::CommandFactory;

use crate::cli::{Cli, CompletionsArgs};
use crate::output::{Exit, Failure};

/// Writes the script to standard output.
pub(crate) fn run(args: &CompletionsArgs) -> Result<Exit, Failure> {
    // The generator panics when its writer fails, and a pipe may be closed at any time.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "hyphal", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(Exit::Done)
}
