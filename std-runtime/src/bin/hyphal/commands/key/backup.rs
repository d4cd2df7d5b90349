//! `hyphal key backup`: the identity as text that a passphrase opens.

use std::io::{self, Write};

use getrandom::{SysRng, rand_core::TryRng as _};
use hyphal::config::Config;
use hyphal::keyfile::{self, Existing};

use super::{must_not_exist, not_written, paper, passphrase};
use crate::cli::{BackupArgs, Global, NodeFlags};
use crate::output::{Exit, Failure, HINT};

/// Prints the backup, or writes it to a file for its owner only; it was opened again before.
pub(super) fn run(global: &Global, args: &BackupArgs) -> Result<Exit, Failure> {
    let config = Config::load(&global.sources(&NodeFlags::default()))?;
    if let Some(out) = &args.out {
        must_not_exist(out)?;
    }
    let identity = keyfile::read(&config.key)?;
    let Some(seed) = identity.seed() else {
        return Err(Failure::new(
            Exit::Setup,
            format!("{} holds a delegated key, which needs no backup", config.key.display()),
            "back up the node's own key, with --key; in a delegated one's place make a new one: hyphal key delegate",
        ));
    };
    let passphrase = passphrase::choose(&args.passphrase)?;
    let mut salt = [0; paper::SALT_LEN];
    SysRng
        .try_fill_bytes(&mut salt)
        .map_err(|_| Failure::new(Exit::Failed, "the operating system gives no random bytes", ""))?;
    let text = paper::write(seed, identity.id(), &passphrase, salt, paper::Cost::USUAL);
    // What nobody can open is worse than no backup.
    match paper::read(&text, &passphrase) {
        Ok(again) if again.id() == identity.id() => {}
        _ => {
            return Err(Failure::new(
                Exit::Failed,
                "the backup cannot be opened again; nothing was written",
                "",
            ));
        }
    }
    match &args.out {
        Some(out) => {
            keyfile::create_private(out, text.as_bytes(), Existing::Keep).map_err(not_written)?;
            writeln!(
                anstream::stderr(),
                "{HINT}the backup of {} lies in {}{HINT:#}",
                identity.id(),
                out.display()
            )?;
        }
        None => {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()?;
        }
    }
    Ok(Exit::Done)
}
