//! One file for each command; this one finds it.

mod bench;
pub(crate) mod ca;
mod completions;
mod demo;
mod deposit;
mod doctor;
mod id;
mod key;
mod keygen;
mod listen;
mod node;
mod ping;
mod progress;
mod reach;
mod reload;
mod send;
mod signals;
mod start;
mod watch;

use crate::cli::{Cli, Command};
use crate::output::{Exit, Failure};

/// Runs the command of this command line.
pub(crate) fn run(cli: &Cli) -> Result<Exit, Failure> {
    match &cli.command {
        Command::Keygen(args) => keygen::run(&cli.global, args),
        Command::Id(args) => id::run(&cli.global, args),
        Command::Key(args) => key::run(&cli.global, args),
        Command::Ca(args) => ca::run(&cli.global, args),
        Command::Doctor(args) => doctor::run(&cli.global, args),
        Command::Completions(args) => completions::run(args),
        Command::Node(args) => node::run(&cli.global, args),
        Command::Send(args) => send::run(&cli.global, args),
        Command::Listen(args) => listen::run(&cli.global, args),
        Command::Ping(args) => ping::run(&cli.global, args),
        Command::Bench(args) => bench::run(args),
        Command::BenchPeer => bench::run_peer(),
        Command::Demo(args) => demo::run(args),
        Command::DemoNode => demo::run_actor(),
    }
}
