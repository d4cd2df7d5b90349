//! `hyphal doctor`: looks at everything a node needs before it runs, and says what to do about the rest.
//!
//! Changes nothing. Each check ends as ok, warn or fail; only fail changes the exit code.

use std::io::{self, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hyphal::address::PeerAddr;
use hyphal::config::{Config, TrustPolicy};
use hyphal::keyfile;
use hyphal_core::ids::NodeId;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::cli::{DoctorArgs, Global};
use crate::output::{self, BAD, Exit, Failure, GOOD, HINT, WARN};

/// Runs all checks and prints them in order.
pub(crate) fn run(global: &Global, args: &DoctorArgs) -> Result<Exit, Failure> {
    let mut checks = Vec::new();
    let config = match Config::load(&global.sources(&args.node)) {
        Ok(config) => Some(config),
        Err(error) => {
            let failure = Failure::from(error);
            // A mistyped command line is no finding about this machine.
            if failure.exit == Exit::Usage {
                return Err(failure);
            }
            checks.push(Check::fail(Subject::Config, failure.message, failure.remedy));
            None
        }
    };
    if let Some(config) = &config {
        output::start_logs(&config.log);
        let (check, id) = check_key(&config.key);
        checks.push(check);
        check_config(config, id, &mut checks);
        for address in &config.listen {
            checks.push(check_port(*address));
        }
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
            check_peers(config, &mut checks).await;
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
    Clock,
    Port,
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

fn check_key(path: &Path) -> (Check, Option<NodeId>) {
    match keyfile::read(path) {
        Ok(identity) => {
            let id = identity.id();
            (Check::ok(Subject::Key, format!("{} holds {id}", path.display())), Some(id))
        }
        Err(error) => (Check::fail(Subject::Key, error.to_string(), error.remedy()), None),
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
    if config.listen.is_empty() && config.peers.is_empty() {
        checks.push(Check::fail(
            Subject::Config,
            "the node neither listens nor has peers",
            "set listen or peers, or pass --listen or --peer",
        ));
    }
    if config.trust.policy == TrustPolicy::Open
        && config.listen.iter().any(|address| !address.ip().is_loopback())
    {
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

fn check_port(address: std::net::SocketAddr) -> Check {
    match TcpListener::bind(address) {
        Ok(_) => Check::ok(Subject::Port, format!("{address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Check::fail(
            Subject::Port,
            format!("{address} is in use"),
            "stop the program that uses it (a node that runs already?), or choose another address with --listen",
        ),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Check::fail(
            Subject::Port,
            format!("this user may not listen on {address}"),
            "choose a port above 1023 with --listen",
        ),
        Err(error) => Check::fail(
            Subject::Port,
            format!("cannot listen on {address}: {error}"),
            "choose an address of this machine with --listen",
        ),
    }
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

async fn check_peers(config: &Config, checks: &mut Vec<Check>) {
    let permits = Arc::new(Semaphore::new(PROBES_AT_ONCE));
    let timeout = config.timeouts.connect;
    let probes: Vec<_> = config
        .peers
        .iter()
        .cloned()
        .map(|peer| {
            let permits = Arc::clone(&permits);
            tokio::spawn(async move {
                let _permit = permits.acquire_owned().await;
                let outcome = probe(&peer, timeout).await;
                (peer, outcome)
            })
        })
        .collect();
    for running in probes {
        let Ok((peer, outcome)) = running.await else { continue };
        checks.push(match outcome {
            Ok(after) => Check::ok(
                Subject::Peer,
                format!("{peer} accepts connections ({:.1} ms)", after.as_secs_f64() * 1e3),
            ),
            Err(error) => Check::fail(
                Subject::Peer,
                format!("{peer} cannot be reached: {error}"),
                "check that its node runs and listens there, and that no firewall is between",
            ),
        });
    }
}

const PROBES_AT_ONCE: usize = 64;

/// Whether the peer answers, and how fast. Proves that something listens there, not who it is.
async fn probe(peer: &PeerAddr, timeout: Duration) -> io::Result<Duration> {
    let start = Instant::now();
    match tokio::time::timeout(timeout, TcpStream::connect(peer.endpoint())).await {
        Ok(connected) => connected.map(|_| start.elapsed()),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer within {}", humantime::format_duration(timeout)),
        )),
    }
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
            Subject::Clock => "clock",
            Subject::Port => "port",
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
    if failed(Subject::Config) || failed(Subject::Key) {
        Exit::Setup
    } else if failed(Subject::Port) || failed(Subject::Clock) {
        Exit::Failed
    } else if failed(Subject::Peer) {
        Exit::Unreachable
    } else {
        Exit::Done
    }
}
