//! `hyphal key restore`: the identity back from its backup, into a new key file.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use hyphal::config::Config;
use hyphal::keyfile::{self, Existing};
use serde_json::json;

use super::{must_not_exist, not_written, paper, passphrase};
use crate::cli::{Global, NodeFlags, RestoreArgs};
use crate::output::{self, Exit, Failure, HINT};

/// Much longer than any backup with remarks.
const LONGEST_FILE: u64 = 64 * 1024;

/// Prints the id on standard output and where the key lies on standard error.
pub(super) fn run(global: &Global, args: &RestoreArgs) -> Result<Exit, Failure> {
    let path = match &args.out {
        Some(path) => path.clone(),
        None => Config::load(&global.sources(&NodeFlags::default()))?.key,
    };
    must_not_exist(&path)?;
    let text = read(&args.file).map_err(|error| {
        let message = format!("cannot read the backup {}: {error}", args.file.display());
        Failure::new(Exit::Setup, message, "name the file, or - for standard input")
    })?;
    let sealed = paper::parse(&text).map_err(damaged)?;
    let passphrase = passphrase::ask(&args.passphrase)?;
    let identity = sealed.open(&passphrase).map_err(damaged)?;
    keyfile::create(&path, &identity, Existing::Keep).map_err(not_written)?;
    let id = identity.id();
    if args.json {
        output::print_json(&json!({ "id": id.to_string(), "key": path.display().to_string() }))?;
    } else {
        writeln!(anstream::stdout(), "{id}")?;
        writeln!(anstream::stderr(), "{HINT}the key lies in {}: keep it secret{HINT:#}", path.display())?;
    }
    Ok(Exit::Done)
}

fn read(file: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    match file == Path::new("-") {
        true => io::stdin().take(LONGEST_FILE).read_to_end(&mut bytes)?,
        false => File::open(file)?.take(LONGEST_FILE).read_to_end(&mut bytes)?,
    };
    // A character that is no text is told with its line.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn damaged(damage: paper::Damage) -> Failure {
    Failure::new(Exit::Setup, damage.to_string(), damage.remedy())
}
