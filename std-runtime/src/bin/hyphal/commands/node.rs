//! `hyphal node`: a node that runs until it is told to end, and then delivers what is queued.
//!
//! The first signal drains, the second one ends at once, whether anybody reads what it prints or not. Messages that
//! arrive are acknowledged; `listen` prints them.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use hyphal::metrics::Server;
use hyphal::{BreakerState, Event, Events, Node, NodeId, Removal, Terms, Trust};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::reload::{Outcome, Reloads};
use super::signals::Signals;
use super::start::{self, Key, Setup};
use crate::cli::{Global, NodeArgs, NodeFlags};
use crate::output::{self, Exit, Failure, HINT, LogFilter, Results, WARN};

/// Runs the node.
pub(crate) fn run(global: &Global, args: &NodeArgs) -> Result<Exit, Failure> {
    let flags = NodeFlags { metrics: args.metrics.clone(), ..args.node.clone() };
    let setup = Setup::load(global, &flags, Key::File)?;
    if setup.config.listen.is_empty() && setup.config.peers.is_empty() {
        return Err(Failure::new(
            Exit::Setup,
            "the node neither listens nor has peers",
            "set listen or peers, or pass --listen or --peer",
        ));
    }
    let logs = output::start_logs(&setup.config.log);
    start::block_on(&setup.config, serve(global, &flags, &setup, logs, args.json))
}

async fn serve(
    global: &Global,
    flags: &NodeFlags,
    setup: &Setup,
    logs: LogFilter,
    is_json: bool,
) -> Result<Exit, Failure> {
    let mut signals = Signals::new()?;
    let mut reloads = Reloads::new(global, flags, setup.config.clone(), logs)?;
    let metrics = bind_metrics(setup.config.metrics).await?;
    let node = setup.start().await?;
    let mut events = node.events();
    let mut results = Results::new();
    let page = metrics.as_ref().map(|(_, page)| page.clone());
    let _serving =
        metrics.map(|(server, _)| Serving::start(server, node.clone(), setup.config.metrics_peers));
    let (lines, mut reloaded) = mpsc::channel(UNREAD);
    let running = async {
        tell_start(&node, page, &mut results, is_json).await?;
        tokio::select! {
            () = take_messages(&node) => Ok(()),
            told = tell_events(&node, &mut events, &mut reloaded, &mut results), if is_json => told,
            ended = reload(&node, &mut reloads, lines) => ended,
        }
    };
    tokio::select! {
        () = signals.recv() => {}
        ended = running => ended?,
    }
    drain(setup, &node, &mut signals, is_json.then_some(results)).await
}

/// Opens the port for the numbers, if there is to be one; gives it and the address of the page.
async fn bind_metrics(address: Option<SocketAddr>) -> Result<Option<(Server, String)>, Failure> {
    use std::io::ErrorKind::{AddrInUse, PermissionDenied};
    let Some(address) = address else { return Ok(None) };
    let bound = match Server::bind(address).await {
        Ok(server) => server.local_addr().map(|bound| (server, bound)),
        Err(error) => Err(error),
    };
    let (server, bound) = bound.map_err(|error| {
        let (message, remedy) = match error.kind() {
            AddrInUse => (
                format!("{address} is in use, so no metrics can be served there"),
                "stop the program that uses it (a node that runs already?), or choose another port with --metrics",
            ),
            PermissionDenied => (
                format!("this user may not serve metrics on {address}"),
                "choose a port above 1023 with --metrics",
            ),
            _ => (
                format!("cannot serve metrics on {address}: {error}"),
                "choose an address of this machine with --metrics, as 127.0.0.1:4859",
            ),
        };
        Failure::new(Exit::Failed, message, remedy)
    })?;
    if !bound.ip().to_canonical().is_loopback() {
        // A standard error that is gone has no reader.
        let _ = writeln!(
            anstream::stderr(),
            "{WARN}warning:{WARN:#} whoever reaches {bound} reads the metrics of this node, ids of its peers included: there is no authentication"
        );
    }
    Ok(Some((server, format!("http://{bound}/metrics"))))
}

/// The page of numbers, which ends with the command.
struct Serving(AbortHandle);

impl Serving {
    fn start(server: Server, node: Node, peers: usize) -> Self {
        Self(tokio::spawn(server.run(node, peers)).abort_handle())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn tell_start(
    node: &Node,
    metrics: Option<String>,
    results: &mut Results,
    is_json: bool,
) -> Result<(), Failure> {
    let id = node.id().to_string();
    let addresses = start::addresses(node);
    if is_json {
        return results.json(&Line::Started { id, addresses, metrics }).await;
    }
    let addresses: String = addresses.iter().map(|address| format!("address  {address}\n")).collect();
    let metrics = metrics.map(|page| format!("metrics  {page}\n")).unwrap_or_default();
    results.text(&format!("id       {id}\n{addresses}{metrics}")).await?;
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

/// Takes the configuration anew whenever there is reason to. Whoever reads the lines and has stopped does not hold it up.
async fn reload(node: &Node, reloads: &mut Reloads<'_>, told: mpsc::Sender<Line>) -> Result<(), Failure> {
    loop {
        reloads.wanted().await;
        // Its log line says the same.
        let _ = told.try_send(Line::of_reload(reloads.reload(node).await));
    }
}

async fn tell_events(
    node: &Node,
    events: &mut Events,
    reloaded: &mut mpsc::Receiver<Line>,
    results: &mut Results,
) -> Result<(), Failure> {
    loop {
        let line = tokio::select! {
            event = events.recv() => match event {
                Some(event) => Line::of(node, event),
                None => return Ok(()),
            },
            Some(line) = reloaded.recv() => Some(line),
        };
        if let Some(line) = line {
            results.json(&line).await?;
        }
    }
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

/// Lines about reloads that a reader may lie behind.
const UNREAD: usize = 64;

const ECHO: Duration = Duration::from_millis(250);

/// One line of `--json`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line {
    Started {
        id: String,
        addresses: Vec<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        metrics: Option<String>,
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
    Reloaded {
        added: Vec<String>,
        changed: Vec<String>,
        removed: Vec<String>,
        trust: Option<&'static str>,
        certificates: bool,
        next_start: Vec<&'static str>,
    },
    ReloadRefused {
        problem: String,
        remedy: String,
    },
    Stopping,
    Stopped {
        drained: bool,
    },
}

impl Line {
    fn of_reload(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Taken(reloaded, next_start) => {
                let text = |ids: &[NodeId]| ids.iter().map(NodeId::to_string).collect();
                Self::Reloaded {
                    added: text(&reloaded.added),
                    changed: text(&reloaded.changed),
                    removed: text(&reloaded.removed),
                    trust: reloaded.trust.map(|(_, to)| trust(to)),
                    certificates: reloaded.certificates,
                    next_start,
                }
            }
            Outcome::Refused(failure) => {
                Self::ReloadRefused { problem: failure.message, remedy: failure.remedy }
            }
        }
    }

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

const fn trust(trust: Trust) -> &'static str {
    match trust {
        Trust::Open => "open",
        Trust::Pinned => "pinned",
        Trust::Certified => "certified",
    }
}

const fn breaker(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed => "closed",
        BreakerState::Open => "open",
        BreakerState::HalfOpen => "half-open",
    }
}
