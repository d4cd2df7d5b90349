//! `hyphal node`: a node that runs until it is told to end, and then delivers what is queued.
//!
//! The first signal drains, the second one ends at once, whether anybody reads what it prints or not. Messages that
//! arrive are acknowledged; `listen` prints them.

use std::io::Write;
use std::time::Duration;

use hyphal::{BreakerState, Event, Events, Node, Removal, Terms};
use serde::Serialize;
use tokio::time::Instant;

use super::signals::Signals;
use super::start::{self, Key, Setup};
use crate::cli::{Global, NodeArgs};
use crate::output::{self, Exit, Failure, HINT, Results};

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
    let mut results = Results::new();
    let running = async {
        tell_start(&node, &mut results, is_json).await?;
        tokio::select! {
            () = take_messages(&node) => Ok(()),
            told = tell_events(&node, &mut events, &mut results), if is_json => told,
        }
    };
    tokio::select! {
        () = signals.recv() => {}
        ended = running => ended?,
    }
    drain(setup, &node, &mut signals, is_json.then_some(results)).await
}

async fn tell_start(node: &Node, results: &mut Results, is_json: bool) -> Result<(), Failure> {
    let id = node.id().to_string();
    let addresses = start::addresses(node);
    if is_json {
        return results.json(&Line::Started { id, addresses }).await;
    }
    let addresses: String = addresses.iter().map(|address| format!("address  {address}\n")).collect();
    results.text(&format!("id       {id}\n{addresses}")).await?;
    // Nobody needs to see the hint.
    let _ = writeln!(anstream::stderr(), "{HINT}Ctrl-C delivers what is queued and ends{HINT:#}");
    Ok(())
}

/// Takes and so acknowledges what arrives, up to the end of the node.
async fn take_messages(node: &Node) {
    while let Some(batch) = node.recv_batch().await {
        // At a level that is off by default: peers decide how many of these lines there are.
        tracing::debug!(source = %batch.source(), count = batch.len(), "messages received");
    }
}

async fn tell_events(node: &Node, events: &mut Events, results: &mut Results) -> Result<(), Failure> {
    while let Some(event) = events.recv().await {
        if let Some(line) = Line::of(node, event) {
            results.json(&line).await?;
        }
    }
    Ok(())
}

async fn drain(
    setup: &Setup,
    node: &Node,
    signals: &mut Signals,
    mut results: Option<Results>,
) -> Result<Exit, Failure> {
    let ended = async {
        let (is_drained, told) = tokio::join!(
            start::shut_down(node, setup.config.timeouts.drain),
            tell_end(results.as_mut(), &Line::Stopping)
        );
        let told = told.and(tell_end(results.as_mut(), &Line::Stopped { drained: is_drained }).await);
        (is_drained, told)
    };
    let (is_drained, told) = tokio::select! {
        () = second_wish(signals) => {
            return Err(Failure::new(Exit::Interrupted, "ended before everything queued was delivered", ""));
        }
        ended = ended => ended,
    };
    if is_drained {
        return told.map(|()| Exit::Done);
    }
    Err(Failure::new(
        Exit::Failed,
        "some messages were not confirmed when the time to drain was over",
        "give them more time with --set timeouts.drain=30s",
    ))
}

async fn tell_end(results: Option<&mut Results>, line: &Line) -> Result<(), Failure> {
    match results {
        Some(results) => output::farewell(results.json(line)).await,
        None => Ok(()),
    }
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
    Started {
        id: String,
        addresses: Vec<String>,
    },
    PeerUp {
        peer: String,
        profile: Option<&'static str>,
        security: Option<&'static str>,
        fallen_back: Option<String>,
    },
    PeerDown {
        peer: String,
        reason: &'static str,
    },
    Health {
        peer: String,
        from: String,
        to: String,
    },
    Breaker {
        peer: String,
        from: &'static str,
        to: &'static str,
    },
    PeerRemoved {
        peer: String,
        by: &'static str,
    },
    Missed {
        count: u64,
    },
    Stopping,
    Stopped {
        drained: bool,
    },
}

impl Line {
    /// `None` for an event that this command does not know.
    fn of(node: &Node, event: Event) -> Option<Self> {
        Some(match event {
            Event::PeerUp { peer } => {
                let terms = node.terms(peer);
                Self::PeerUp {
                    peer: peer.to_string(),
                    profile: terms.map(|terms| terms.profile.name()),
                    security: terms.map(|terms| terms.security.name()),
                    fallen_back: terms.filter(Terms::has_fallen_back).map(|terms| terms.to_string()),
                }
            }
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
