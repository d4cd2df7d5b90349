//! The arguments of `hyphal key`: what is made of an identity key.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Let another key stand for the node, back its identity up, and get it back
///
/// docs/keys.md tells when to do which.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    Delegate(DelegateArgs),
    Backup(BackupArgs),
    Restore(RestoreArgs),
}

/// Make a key that stands for the node for some days, so that the identity key can stay in a safe place
///
/// The new file is used as --key by the node. It signs nothing, and nobody can call it back: it ends by itself.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hyphal key delegate --key /media/safe/identity.key --out node.key
  hyphal key delegate --days 7 --out node.key")]
pub(crate) struct DelegateArgs {
    /// Write the new key to this file, which must not exist
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    pub(crate) out: PathBuf,
    /// Days from now until the key ends
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=366))]
    pub(crate) days: u16,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Write the identity as text that only a passphrase opens: for paper, or a file in another place
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hyphal key backup | lpr
  hyphal key backup --out /media/stick/identity.backup
  hyphal key backup --passphrase-file /run/secrets/backup > identity.backup")]
pub(crate) struct BackupArgs {
    /// Write the backup to this file, which must not exist, instead of standard output
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseFlags,
}

/// Get the identity back from a backup, into a key file that does not exist yet
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hyphal key restore identity.backup
  hyphal key restore - --out identity.key     # type it, then Ctrl-D")]
pub(crate) struct RestoreArgs {
    /// The backup; - reads standard input
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Write the key to this file instead of the configured one; it must not exist
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseFlags,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where a passphrase comes from. Never the command line, which others can see.
#[derive(Debug, Args)]
pub(crate) struct PassphraseFlags {
    /// Read the passphrase from the first line of this file, or /dev/fd/N, instead of asking at the terminal
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    pub(crate) passphrase_file: Option<PathBuf>,
}
