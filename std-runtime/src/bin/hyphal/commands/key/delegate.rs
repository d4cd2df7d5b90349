//! `hyphal key delegate`: a key that stands for the node for some days, signed by its identity key.

use std::io::Write;
use std::time::Duration;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use hyphal::config::Config;
use hyphal::keyfile::{self, Existing};
use hyphal::{DelegateError, UnixTime};
use serde_json::json;

use super::{must_not_exist, not_written};
use crate::cli::{DelegateArgs, Global, NodeFlags};
use crate::output::{self, Exit, Failure, HINT, moment};

/// How far the key counts before it was made, for peers whose clocks are slow.
const EARLIER: Duration = Duration::from_secs(10 * 60);

/// Prints the id on standard output, and where the key lies and until when it counts on standard error.
pub(super) fn run(global: &Global, args: &DelegateArgs) -> Result<Exit, Failure> {
    let config = Config::load(&global.sources(&NodeFlags::default()))?;
    must_not_exist(&args.out)?;
    let own = keyfile::read(&config.key)?;
    let now = output::now().as_micros();
    let span = Duration::from_secs(u64::from(args.days) * 24 * 3600);
    let not_before = UnixTime::from_micros(now.saturating_sub(micros(EARLIER)));
    let not_after = UnixTime::from_micros(now.saturating_add(micros(span)));
    let delegated = own.delegate(not_before, not_after, &mut UnwrapErr(SysRng)).map_err(|error| {
        let remedy = match error {
            DelegateError::NotOwnKey => "name the identity key with --key, where it is",
            DelegateError::NeverValid => "check the clock of this machine: hyphal doctor",
        };
        Failure::new(Exit::Setup, format!("{}: {error}", config.key.display()), remedy)
    })?;
    keyfile::create(&args.out, &delegated, Existing::Keep).map_err(not_written)?;
    let (id, until) = (delegated.id(), moment(not_after));
    if args.json {
        let key = args.out.display().to_string();
        let not_before = moment(not_before);
        output::print_json(
            &json!({ "id": id.to_string(), "key": key, "not_before": not_before, "not_after": until }),
        )?;
    } else {
        writeln!(anstream::stdout(), "{id}")?;
        writeln!(
            anstream::stderr(),
            "{HINT}the key in {} stands for this id until {until}: use it as --key, and make the next one in time{HINT:#}",
            args.out.display()
        )?;
    }
    Ok(Exit::Done)
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
