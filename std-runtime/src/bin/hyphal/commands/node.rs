//! `hyphal node`: a node that runs until it is told to end, and then delivers what is queued.
//!
//! The first signal drains, the second one ends at once. Messages that arrive are acknowledged and logged; `listen`
//! prints them.

use std::io::Write;
use std::time::Duration;

use hyphal::{BreakerState, Event, Node, Removal};
use serde::Serialize;
use tokio::time::Instant;

use super::signals::Signals;
use super::start::{self, Key, Setup};
use crate::cli::{Global, NodeArgs};
use crate::output::{self, Exit, Failure, HINT};

/// Runs the node.
pub(crate) fn run(global: &Global, args: &NodeArgs) -> Result<Exit, Failure> {
    let setup = Setup::load(global, &args.node, Key::File)?;
    if setup.config.listen.is_empty() && setup.config.peers.is_empty() {
        return Err(Failure::new(
            Exit::Setup,
            "the node neither listens nor has peers",
            "set listen or peers, or pass --listen or --peer",
        ));
    }
    output::start_logs(&setup.config.log);
    start::block_on(&setup.config, serve(&setup, args.json))
}

async fn serve(setup: &Setup, is_json: bool) -> Result<Exit, Failure> {
    let mut signals = Signals::new()?;
    let node = setup.start().await?;
    let mut events = node.events();
    tell_start(&node, is_json)?;
    loop {
        tokio::select! {
            () = signals.recv() => break,
            event = events.recv() => match event {
                Some(event) if is_json => Line::of(event).map_or(Ok(()), |line| output::print_json(&line))?,
                Some(_) => {}
                None => break,
            },
            batch = node.recv_batch() => match batch {
                Some(batch) => {
                    tracing::info!(source = %batch.source(), count = batch.len(), "messages received");
                }
                None => break,
            },
        }
    }
    drain(setup, &node, &mut signals, is_json).await
}

fn tell_start(node: &Node, is_json: bool) -> Result<(), Failure> {
    let id = node.id().to_string();
    let addresses = start::addresses(node);
    if is_json {
        return output::print_json(&Line::Started { id, addresses });
    }
    let mut out = anstream::stdout().lock();
    writeln!(out, "id       {id}")?;
    for address in &addresses {
        writeln!(out, "address  {address}")?;
    }
    out.flush()?;
    // Nobody needs to see the hint.
    let _ = writeln!(anstream::stderr(), "{HINT}Ctrl-C delivers what is queued and ends{HINT:#}");
    Ok(())
}

async fn drain(setup: &Setup, node: &Node, signals: &mut Signals, is_json: bool) -> Result<Exit, Failure> {
    if is_json {
        output::print_json(&Line::Stopping)?;
    }
    let is_drained = tokio::select! {
        () = second_wish(signals) => {
            return Err(Failure::new(Exit::Interrupted, "ended before everything queued was delivered", ""));
        }
        is_drained = start::shut_down(node, setup.config.timeouts.drain) => is_drained,
    };
    if is_json {
        output::print_json(&Line::Stopped { drained: is_drained })?;
    }
    if is_drained {
        return Ok(Exit::Done);
    }
    Err(Failure::new(
        Exit::Failed,
        "some messages were not confirmed when the time to drain was over",
        "give them more time with --set timeouts.drain=30s",
    ))
}

/// A signal that is more than an echo: wrappers pass a signal on although the process group has got it, too.
async fn second_wish(signals: &mut Signals) {
    let first_at = Instant::now();
    loop {
        signals.recv().await;
        if first_at.elapsed() > ECHO {
            return;
        }
    }
}

const ECHO: Duration = Duration::from_millis(250);

/// One line of `--json`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line {
    Started { id: String, addresses: Vec<String> },
    PeerUp { peer: String },
    PeerDown { peer: String, reason: &'static str },
    Health { peer: String, from: String, to: String },
    Breaker { peer: String, from: &'static str, to: &'static str },
    PeerRemoved { peer: String, by: &'static str },
    Missed { count: u64 },
    Stopping,
    Stopped { drained: bool },
}

impl Line {
    /// `None` for an event that this command does not know.
    fn of(event: Event) -> Option<Self> {
        Some(match event {
            Event::PeerUp { peer } => Self::PeerUp { peer: peer.to_string() },
            Event::PeerDown { peer, reason } => {
                Self::PeerDown { peer: peer.to_string(), reason: reason.name() }
            }
            Event::Health { peer, from, to } => {
                Self::Health { peer: peer.to_string(), from: from.to_string(), to: to.to_string() }
            }
            Event::Breaker { peer, from, to } => {
                Self::Breaker { peer: peer.to_string(), from: breaker(from), to: breaker(to) }
            }
            Event::Removed { peer, removal } => Self::PeerRemoved {
                peer: peer.to_string(),
                by: match removal {
                    Removal::ByUser => "user",
                    Removal::Unhealthy => "health",
                },
            },
            Event::Missed(count) => Self::Missed { count },
            _ => return None,
        })
    }
}

const fn breaker(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed => "closed",
        BreakerState::Open => "open",
        BreakerState::HalfOpen => "half-open",
    }
}
