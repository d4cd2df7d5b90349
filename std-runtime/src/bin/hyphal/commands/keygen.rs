//! `hyphal keygen`: draws a new identity and stores its key.

use std::io::Write;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use hyphal::config::Config;
use hyphal::keyfile::{self, Existing};
use hyphal_core::identity::Identity;
use serde_json::json;

use crate::cli::{Global, KeygenArgs, NodeFlags};
use crate::output::{self, Exit, Failure, HINT};

/// Prints the id on standard output and where the key lies on standard error.
pub(crate) fn run(global: &Global, args: &KeygenArgs) -> Result<Exit, Failure> {
    let path = match &args.out {
        Some(path) => path.clone(),
        None => Config::load(&global.sources(&NodeFlags::default()))?.key,
    };
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    // Without a source of randomness there is no identity to speak of, so a failing one ends the process.
    let identity = Identity::generate(&mut UnwrapErr(SysRng));
    keyfile::create(&path, &identity, existing)?;
    let id = identity.id();
    if args.json {
        output::print_json(&json!({ "id": id.to_string(), "key": path.display().to_string() }))?;
    } else {
        writeln!(anstream::stdout(), "{id}")?;
        writeln!(
            anstream::stderr(),
            "{HINT}the key lies in {}: keep it secret, keep a copy{HINT:#}",
            path.display()
        )?;
    }
    Ok(Exit::Done)
}
