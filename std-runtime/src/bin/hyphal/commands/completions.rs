//! `hyphal completions`: the script that teaches a shell to complete this command line.

use std::io::{self, Write};

use clap::CommandFactory;

use crate::cli::{Cli, CompletionsArgs};
use crate::output::{Exit, Failure};

/// Writes the script to standard output.
pub(crate) fn run(args: &CompletionsArgs) -> Result<Exit, Failure> {
    // The generator panics when its writer fails, and a pipe may be closed at any time.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut visible(), "hyphal", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(Exit::Done)
}

/// The command line without the commands that only the program itself uses; the generator knows no hidden ones.
fn visible() -> clap::Command {
    let all = Cli::command();
    let commands = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    clap::Command::new("hyphal").args(all.get_arguments().cloned()).subcommands(commands)
}
