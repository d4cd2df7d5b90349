//! `hyphal key`: what is done with an identity key beside using it. Nothing here replaces a file.

mod backup;
mod delegate;
mod paper;
mod passphrase;
mod restore;

use std::path::Path;

use hyphal::keyfile::KeyFileError;

use crate::cli::{Global, KeyArgs, KeyCommand};
use crate::output::{Exit, Failure};

/// Runs the command of the group.
pub(crate) fn run(global: &Global, args: &KeyArgs) -> Result<Exit, Failure> {
    match &args.command {
        KeyCommand::Delegate(args) => delegate::run(global, args),
        KeyCommand::Backup(args) => backup::run(global, args),
        KeyCommand::Restore(args) => restore::run(global, args),
    }
}

/// A file that was not written. Where one is in the way, the remedy of `keygen` would be to lose a key.
fn not_written(error: KeyFileError) -> Failure {
    match &error {
        KeyFileError::Exists { .. } => Failure::new(
            Exit::Setup,
            error.to_string(),
            "name another file with --out; this command replaces none",
        ),
        _ => error.into(),
    }
}

/// Refuses before anything is asked or computed if the file is there.
fn must_not_exist(path: &Path) -> Result<(), Failure> {
    match path.symlink_metadata() {
        Ok(_) => Err(not_written(KeyFileError::Exists { path: path.to_owned() })),
        Err(_) => Ok(()),
    }
}
