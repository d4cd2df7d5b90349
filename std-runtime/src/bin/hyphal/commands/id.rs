//! `hyphal id`: the id of the identity key, as peers write it.

use std::io::Write;

use hyphal::config::Config;
use hyphal::keyfile;
use serde_json::json;

use crate::cli::{Global, IdArgs, NodeFlags};
use crate::output::{self, Exit, Failure};

/// Prints the id alone on a line, so that `$(hyphal id)` works.
pub(crate) fn run(global: &Global, args: &IdArgs) -> Result<Exit, Failure> {
    let config = Config::load(&global.sources(&NodeFlags::default()))?;
    let id = keyfile::read(&config.key)?.id();
    if args.json {
        output::print_json(&json!({ "id": id.to_string(), "key": config.key.display().to_string() }))?;
    } else {
        writeln!(anstream::stdout(), "{id}")?;
    }
    Ok(Exit::Done)
}
