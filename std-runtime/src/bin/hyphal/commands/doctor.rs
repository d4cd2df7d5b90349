//! `hyphal doctor`: looks at everything a node needs before it runs, and says what to do about the rest.
//!
//! Changes nothing. Each check ends as ok, warn or fail; only fail changes the exit code.

use std::io::{self, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyphal::address::{Endpoint, PeerAddr};
use hyphal::config::{Config, TrustPolicy};
use hyphal::trust::{self, shown_time};
use hyphal::{
    Delegation, Identity, Node, NodeId, Reason, StartError, StoreError, TimeQuality, Trust, TrustSettings,
    UnixTime, keyfile,
};
use hyphal_core::time::Wall;
use serde::Serialize;
use tokio::time::Instant;

use super::reach::{self, Obstacle};
use super::start::{self, Setup};
use crate::cli::{DoctorArgs, Global};
use crate::output::{self, BAD, Exit, Failure, GOOD, HINT, WARN, moment, now};

/// Runs all checks and prints them in order.
pub(crate) fn run(global: &Global, args: &DoctorArgs) -> Result<Exit, Failure> {
    let mut checks = Vec::new();
    let config = match start::configuration(global, &args.node) {
        Ok(config) => Some(config),
        Err(failure) => {
            // A mistyped command line is no finding about this machine.
            if failure.exit == Exit::Usage {
                return Err(failure);
            }
            checks.push(Check::fail(Subject::Config, failure.message, failure.remedy));
            None
        }
    };
    let mut identity = None;
    let mut is_running = false;
    if let Some(config) = &config {
        output::start_quiet_logs(global, &config.log, "error");
        let (check, own) = check_key(&config.key);
        checks.push(check);
        check_config(config, own.as_ref().map(Identity::id), &mut checks);
        check_trust(config, own.as_ref().map(Identity::id), &mut checks);
        identity = own;
        for endpoint in &config.listen {
            let (check, is_used) = check_port(endpoint);
            checks.push(check);
            is_running |= is_used;
        }
        checks.extend(check_store(config, identity.as_ref().map(Identity::id), is_running));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("cannot start the runtime: {error}"),
            "raise the limit of open files: ulimit -n",
        )
    })?;
    runtime.block_on(async {
        checks.push(check_clock().await);
        if let Some(config) = &config {
            check_peers(config, identity, is_running, &mut checks).await;
        }
    });
    // A name that the resolver still works on must not hold the process.
    runtime.shutdown_background();

    if args.json {
        let ok = checks.iter().all(|check| check.outcome != Outcome::Fail);
        output::print_json(&Report { ok, checks: &checks })?;
    } else {
        print(&checks)?;
    }
    Ok(exit_of(&checks))
}

#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    checks: &'a [Check],
}

#[derive(Serialize)]
struct Check {
    subject: Subject,
    outcome: Outcome,
    message: String,
    remedy: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Subject {
    Key,
    Config,
    Trust,
    Clock,
    Port,
    Store,
    Peer,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Ok,
    Warn,
    Fail,
}

impl Check {
    fn ok(subject: Subject, message: impl Into<String>) -> Self {
        Self { subject, outcome: Outcome::Ok, message: message.into(), remedy: None }
    }

    fn warn(subject: Subject, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { subject, outcome: Outcome::Warn, message: message.into(), remedy: Some(remedy.into()) }
    }

    fn fail(subject: Subject, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { subject, outcome: Outcome::Fail, message: message.into(), remedy: Some(remedy.into()) }
    }
}

fn check_key(path: &Path) -> (Check, Option<Identity>) {
    match keyfile::read(path) {
        Ok(identity) => {
            let check = match identity.delegation() {
                None => Check::ok(Subject::Key, format!("{} holds {}", path.display(), identity.id())),
                Some(delegation) => check_delegation(path, delegation),
            };
            (check, Some(identity))
        }
        Err(error) => (Check::fail(Subject::Key, error.to_string(), error.remedy()), None),
    }
}

/// Whether a delegated key counts at this moment, and for how long it will.
fn check_delegation(path: &Path, delegation: &Delegation) -> Check {
    let now = now();
    let until = moment(delegation.not_after);
    let message = format!("{} holds a key that stands for {} until {until}", path.display(), delegation.id);
    let renew = "make a new one where the node's own key is: hyphal key delegate";
    if now >= delegation.not_after {
        Check::fail(
            Subject::Key,
            format!("the delegated key in {} has ended at {until}", path.display()),
            renew,
        )
    } else if now < delegation.not_before {
        let from = moment(delegation.not_before);
        let message = format!("the delegated key in {} is valid from {from} on only", path.display());
        Check::fail(
            Subject::Key,
            message,
            "check the clock of this machine, and of the one that made the key",
        )
    } else if now >= delegation.renew_at() {
        Check::warn(Subject::Key, message, renew)
    } else {
        Check::ok(Subject::Key, message)
    }
}

/// Values that are valid one by one and make no sense together.
fn check_config(config: &Config, own: Option<NodeId>, checks: &mut Vec<Check>) {
    let before = checks.len();
    if own.is_some_and(|own| config.peers.iter().any(|peer| peer.id == own)) {
        checks.push(Check::fail(
            Subject::Config,
            "peers lists this node's own id",
            "remove it from peers; if another machine has the same key, give one of them a new one: hyphal keygen",
        ));
    }
    if config.trust.policy == TrustPolicy::Pinned && config.peers.is_empty() && config.trust.admit.is_empty()
    {
        checks.push(Check::fail(
            Subject::Config,
            "trust.policy is pinned and no id is listed, so nobody can connect",
            "add ids to peers or trust.admit",
        ));
    }
    if let Some(path) = &config.key_log {
        checks.push(Check::warn(
            Subject::Config,
            format!("key_log is set: whoever reads {} can decrypt this node's traffic", path.display()),
            "when the recording is done, unset key_log and delete the file",
        ));
    }
    if config.listen.is_empty() && config.peers.is_empty() {
        checks.push(Check::fail(
            Subject::Config,
            "the node neither listens nor has peers",
            "set listen or peers, or pass --listen or --peer",
        ));
    }
    if config.trust.policy == TrustPolicy::Open && config.listen.iter().any(is_outside) {
        checks.push(Check::warn(
            Subject::Config,
            "everyone who knows the network's name can connect from outside of this machine",
            "set trust.policy = \"pinned\", if that is not meant",
        ));
    }
    if checks.len() == before {
        checks.push(Check::ok(
            Subject::Config,
            format!("network {}, {} peers", config.network, config.peers.len()),
        ));
    }
}

/// Certificate, authorities and lists, where the configuration has any.
fn check_trust(config: &Config, own: Option<NodeId>, checks: &mut Vec<Check>) {
    let settings = TrustSettings::from(&config.trust);
    if settings.policy != Trust::Certified
        && settings.certificate.is_none()
        && settings.authorities.is_empty()
    {
        return;
    }
    let Some(id) = own else {
        checks.push(Check::warn(
            Subject::Trust,
            "the certificate was not checked, because there is no key that it could be for",
            "see the key above, then run this again",
        ));
        return;
    };
    let subject =
        trust::Subject { id, node_type: config.node_type, network: trust::Network::of(&config.network) };
    let state = match settings.load(&subject) {
        Ok(state) => state,
        Err(error) => {
            checks.push(Check::fail(Subject::Trust, error.to_string(), error.remedy()));
            return;
        }
    };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = UnixTime::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX));
    let warnings = state.warnings(Wall { time, quality: TimeQuality::Unsynced });
    let is_fine = warnings.is_empty();
    checks.extend(
        warnings.iter().map(|warning| Check::warn(Subject::Trust, warning.to_string(), warning.remedy())),
    );
    if is_fine {
        let until = state
            .own()
            .map(|own| format!("certificate {} until {}", own.serial(), shown_time(own.not_after())));
        let lists = state.authorities().iter().filter(|(_, list)| list.is_some()).count();
        let until = until.unwrap_or_else(|| "no certificate".to_owned());
        checks.push(Check::ok(
            Subject::Trust,
            format!("{until}, {lists} revocation {}", if lists == 1 { "list" } else { "lists" }),
        ));
    }
}

/// Whether others than this machine may reach the endpoint.
fn is_outside(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Memory(_) => false,
        endpoint => endpoint.socket_addr().is_none_or(|address| !address.ip().is_loopback()),
    }
}

/// Whether a node could listen there, and whether something does already: a running node, most likely.
fn check_port(endpoint: &Endpoint) -> (Check, bool) {
    let tried = match endpoint {
        Endpoint::Tcp(place) => TcpListener::bind(place.to_string()).map(drop),
        Endpoint::Udp(place) => UdpSocket::bind(place.to_string()).map(drop),
        // The device would be taken from a node that runs; whether it is there can be seen without.
        Endpoint::Serial { path, .. } => std::fs::metadata(path).map(drop),
        // A name in memory is always free in a process of its own.
        _ => Ok(()),
    };
    let Err(error) = tried else {
        return (Check::ok(Subject::Port, format!("{endpoint} is free")), false);
    };
    let is_used = error.kind() == io::ErrorKind::AddrInUse;
    let failure = Failure::from(StartError::Listen { endpoint: endpoint.clone(), error });
    (Check::fail(Subject::Port, failure.message, failure.remedy), is_used)
}

/// Whether the store, if there is to be one, can be this node's.
fn check_store(config: &Config, own: Option<NodeId>, is_running: bool) -> Option<Check> {
    let directory = config.store.directory.as_ref()?;
    let Some(own) = own else {
        return Some(Check::warn(
            Subject::Store,
            "the store was not checked, because there is no key that it could belong to",
            "see the key above, then run this again",
        ));
    };
    let shown = directory.display();
    Some(match hyphal::inspect_store(directory, own) {
        Ok(true) => Check::ok(Subject::Store, format!("{shown} is this node's")),
        Ok(false) => Check::ok(Subject::Store, format!("{shown} is made when the node starts")),
        Err(StoreError::Locked { .. }) if is_running => {
            Check::ok(Subject::Store, format!("{shown} is in use, by the node that runs here most likely"))
        }
        Err(error) => Check::fail(Subject::Store, error.to_string(), error.remedy()),
    })
}

async fn check_clock() -> Check {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if now < EARLIEST_TIME {
        return Check::fail(
            Subject::Clock,
            "the clock shows a time before this release",
            "set it, and start an NTP service",
        );
    }
    match is_clock_synchronised().await {
        Some(true) => Check::ok(Subject::Clock, "synchronised"),
        Some(false) => Check::warn(
            Subject::Clock,
            "the clock is not synchronised",
            "start an NTP service, as: timedatectl set-ntp true",
        ),
        None => Check::ok(Subject::Clock, "plausible; this system does not tell whether it is synchronised"),
    }
}

/// 2026-01-01T00:00:00Z: no release is older.
const EARLIEST_TIME: Duration = Duration::from_secs(1_767_225_600);

/// What systemd knows, which includes chrony and ntpd because it asks the kernel. `None` where there is no systemd.
async fn is_clock_synchronised() -> Option<bool> {
    if Path::new("/run/systemd/timesync/synchronized").exists() {
        return Some(true);
    }
    let mut command = tokio::process::Command::new("timedatectl");
    command.args(["show", "--property=NTPSynchronized", "--value"]).kill_on_drop(true);
    let answer = tokio::time::timeout(Duration::from_secs(2), command.output()).await.ok()?.ok()?;
    match answer.stdout.trim_ascii() {
        b"yes" => Some(true),
        b"no" => Some(false),
        _ => None,
    }
}

/// Meets every peer: a whole handshake through a node that only dials.
async fn check_peers(config: &Config, identity: Option<Identity>, is_running: bool, checks: &mut Vec<Check>) {
    if config.peers.is_empty() {
        return;
    }
    let Some(identity) = identity else {
        checks.push(Check::warn(
            Subject::Peer,
            "the peers were not checked, because there is no key to meet them with",
            "see the key above, then run this again",
        ));
        return;
    };
    // A second session with the same key would take the place of the running node's.
    let own = identity.id();
    let mut setup = match is_running {
        true => Setup::ephemeral(config.clone()),
        false => Setup { config: config.clone(), identity },
    };
    setup.dial_only();
    // Reported with the configuration.
    setup.config.peers.retain(|peer| peer.id != own);
    let node = match setup.start().await {
        Ok(node) => node,
        Err(failure) => {
            checks.push(Check::fail(Subject::Peer, failure.message, failure.remedy));
            return;
        }
    };
    let deadline = Instant::now() + config.timeouts.connect + config.timeouts.handshake;
    for peer in &setup.config.peers {
        // The node dials all peers at once, so waiting for one after the other takes as long as the slowest.
        let met = reach::session(&node, &config.network, peer.id, deadline).await;
        checks.push(match met {
            Ok(()) => Check::ok(
                Subject::Peer,
                format!(
                    "{peer} proved its id and admits this node{}{}",
                    rtt(&node, peer).await,
                    profile(&node, peer)
                ),
            ),
            Err(Obstacle { reason: Some(Reason::Untrusted | Reason::NoCertificate), .. }) if is_running => Check::ok(
                Subject::Peer,
                format!(
                    "{peer} proved its id; whether it admits this node is not checked while a node runs here"
                ),
            ),
            Err(obstacle) => {
                Check::fail(Subject::Peer, format!("{peer}: {}", obstacle.message), obstacle.remedy)
            }
        });
    }
    start::shut_down(&node, Duration::ZERO).await;
}

/// The round trip over the session, if it can be measured.
async fn rtt(node: &Node, peer: &PeerAddr) -> String {
    match tokio::time::timeout(Duration::from_secs(1), node.ping(peer.id)).await {
        Ok(Ok(rtt)) => format!(" ({:.1} ms)", rtt.as_secs_f64() * 1e3),
        _ => String::new(),
    }
}

/// What follows from the types of both nodes, and where it falls back.
fn profile(node: &Node, peer: &PeerAddr) -> String {
    node.terms(peer.id).map_or_else(String::new, |terms| format!("; profile {terms}"))
}

fn print(checks: &[Check]) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    for check in checks {
        let (style, word) = match check.outcome {
            Outcome::Ok => (GOOD, "ok  "),
            Outcome::Warn => (WARN, "warn"),
            Outcome::Fail => (BAD, "fail"),
        };
        let subject = match check.subject {
            Subject::Key => "key",
            Subject::Config => "config",
            Subject::Trust => "trust",
            Subject::Clock => "clock",
            Subject::Port => "port",
            Subject::Store => "store",
            Subject::Peer => "peer",
        };
        writeln!(out, "{style}{word}{style:#}  {subject:<6}  {}", check.message)?;
        if let Some(remedy) = &check.remedy {
            writeln!(out, "              {HINT}help:{HINT:#} {remedy}")?;
        }
    }
    Ok(())
}

/// The code of the gravest failure: nothing runs without key and configuration, a port concerns this machine alone.
fn exit_of(checks: &[Check]) -> Exit {
    let failed =
        |subject| checks.iter().any(|check| check.outcome == Outcome::Fail && check.subject == subject);
    if failed(Subject::Config) || failed(Subject::Key) || failed(Subject::Trust) || failed(Subject::Store) {
        Exit::Setup
    } else if failed(Subject::Port) || failed(Subject::Clock) {
        Exit::Failed
    } else if failed(Subject::Peer) {
        Exit::Unreachable
    } else {
        Exit::Done
    }
}
