//! `hyphal id`: the id of the identity key, as peers write it.

use std::io::Write;

use hyphal::config::Config;
use hyphal::keyfile;
use serde_json::json;

use crate::cli::{Global, IdArgs, NodeFlags};
use crate::output::{self, Exit, Failure, HINT, moment};

/// Prints the id alone on a line, so that `$(hyphal id)` works.
pub(crate) fn run(global: &Global, args: &IdArgs) -> Result<Exit, Failure> {
    let config = Config::load(&global.sources(&NodeFlags::default()))?;
    let identity = keyfile::read(&config.key)?;
    let (id, delegation) = (identity.id(), identity.delegation());
    if args.json {
        let mut shown = json!({ "id": id.to_string(), "key": config.key.display().to_string() });
        if let Some(delegation) = delegation {
            shown["not_before"] = moment(delegation.not_before).into();
            shown["not_after"] = moment(delegation.not_after).into();
        }
        output::print_json(&shown)?;
        return Ok(Exit::Done);
    }
    writeln!(anstream::stdout(), "{id}")?;
    if let Some(delegation) = delegation {
        let (from, until) = (moment(delegation.not_before), moment(delegation.not_after));
        writeln!(anstream::stderr(), "{HINT}a delegated key, valid from {from} until {until}{HINT:#}")?;
    }
    Ok(Exit::Done)
}
