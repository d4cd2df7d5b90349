//! `hyphal bench`: one encrypted link over loopback between this process and another one, or in the memory of this one,
//! through the public API.
//!
//! Both ends are nodes with fresh identities that are stored nowhere. This one listens and measures; the other one
//! (`peer`) dials and sends, or echoes. Nothing inside the measured loops allocates or reads a clock for each message but
//! what the measured API and the round trip itself need.

mod latency;
mod peer;
mod throughput;

use std::fmt;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::process::Stdio;
use std::time::Duration;

use hyphal::address::Endpoint;
use hyphal::{Limits, Node, NodeId, Reliability, SendOptions};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;

use super::start::fresh_identity;
use crate::cli::{BenchArgs, Measure, Sureness, Transport};
use crate::output::{self, Exit, Failure};

pub(crate) use peer::run as run_peer;

/// Measures and prints.
pub(crate) fn run(args: &BenchArgs) -> Result<Exit, Failure> {
    let transport = match &args.measure {
        Measure::Throughput(args) => args.transport,
        Measure::Latency(args) => args.transport,
    };
    let runtime = runtime(if transport == Transport::Memory { 1 } else { 2 })?;
    let (figures, is_json) = match &args.measure {
        Measure::Throughput(args) => (runtime.block_on(throughput::measure(args))?, args.json),
        Measure::Latency(args) => {
            let measured = latency::measure(args.transport, args.size, args.count);
            (runtime.block_on(measured)?, args.json)
        }
    };
    if is_json {
        output::print_json(&figures)?;
    } else {
        write!(anstream::stdout(), "{figures}")?;
    }
    Ok(Exit::Done)
}

/// What was measured. The names are stable; what a measurement does not tell is null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Figures {
    msgs_per_s: Option<f64>,
    mib_per_s: Option<f64>,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    p999_us: Option<f64>,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            ("messages/s", self.msgs_per_s, 0),
            ("MiB/s", self.mib_per_s, 1),
            ("p50 us", self.p50_us, 1),
            ("p99 us", self.p99_us, 1),
            ("p99.9 us", self.p999_us, 1),
        ];
        for (name, value, decimals) in rows {
            if let Some(value) = value {
                writeln!(f, "  {name:<12}{value:>14.decimals$}")?;
            }
        }
        Ok(())
    }
}

/// What the other node is and does; for a process its only line of input. It ends when its input does.
#[derive(Debug, Serialize, Deserialize)]
struct Assignment {
    /// Its secret key, fresh, for this run only.
    seed: [u8; 32],
    /// Whom to dial.
    id: String,
    endpoint: String,
    work: Work,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Work {
    /// Sends messages of this size without end, each with its number in front.
    Flood { size: usize, batch: bool, reliability: Sureness },
    /// Sends back what comes.
    Echo,
}

/// The other node, which ends when this goes.
struct Peer {
    id: NodeId,
    life: Life,
}

enum Life {
    Process { child: Box<Child>, _input: ChildStdin },
    Task(JoinHandle<Result<(), Failure>>),
}

impl Peer {
    /// The end of the other node, which never ends by itself in good order.
    async fn fail(&mut self) -> Failure {
        let how = match &mut self.life {
            Life::Process { child, .. } => match child.wait().await {
                Ok(status) => format!("process ended: {status}"),
                Err(error) => format!("process ended: {error}"),
            },
            Life::Task(task) => match task.await {
                Ok(Ok(())) => "node ended".to_owned(),
                Ok(Err(failure)) => return failure,
                Err(error) => format!("node ended: {error}"),
            },
        };
        Failure::new(Exit::Failed, format!("the other {how}"), "")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // A process is killed as its handle goes.
        if let Life::Task(task) = &self.life {
            task.abort();
        }
    }
}

/// A node that listens, and another one that dials it and does `work`.
async fn begin(transport: Transport, work: Work) -> Result<(Node, Peer), Failure> {
    let identity = fresh_identity();
    let theirs = fresh_identity();
    let seed = *theirs.seed().expect("a fresh identity is an own key");
    let here = match transport {
        Transport::Tcp => Endpoint::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        Transport::Udp => Endpoint::Udp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()),
        Transport::Memory => Endpoint::Memory(NETWORK.to_owned()),
    };
    let node = Node::builder()
        .identity(identity)
        .network(NETWORK)
        .listen(here)
        .known_peer(theirs.id())
        .start()
        .await?;
    let endpoint = node.local_addrs()[0].to_string();
    let assignment = Assignment { seed, id: node.id().to_string(), endpoint, work };
    let life = match transport {
        Transport::Tcp | Transport::Udp => begin_process(&assignment).await?,
        Transport::Memory => Life::Task(tokio::spawn(peer::work(assignment))),
    };
    Ok((node, Peer { id: theirs.id(), life }))
}

async fn begin_process(assignment: &Assignment) -> Result<Life, Failure> {
    let cannot = |error| Failure::new(Exit::Failed, format!("cannot start a second process: {error}"), "");
    let mut child = Command::new(std::env::current_exe().map_err(cannot)?)
        .arg("bench-peer")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(cannot)?;
    let Some(mut input) = child.stdin.take() else {
        return Err(Failure::new(Exit::Failed, "a process was started without pipes", ""));
    };
    let mut line = serde_json::to_vec(assignment).map_err(|error| cannot(error.into()))?;
    line.push(b'\n');
    input.write_all(&line).await.map_err(cannot)?;
    Ok(Life::Process { child: Box::new(child), _input: input })
}

/// Refuses a size that no node takes.
fn check(size: u32) -> Result<usize, Failure> {
    let max = Limits::default().max_message;
    if size > max {
        return Err(Failure::new(
            Exit::Usage,
            format!("a message has {max} bytes at most"),
            format!("pass --size {max}"),
        ));
    }
    Ok(size as usize)
}

/// The runtime of one of so many processes that share the cores of this machine: with more threads than cores it would be
/// measured how they wait for each other.
fn runtime(processes: usize) -> Result<tokio::runtime::Runtime, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads((cores / processes).max(1))
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot start: {error}"), ""))
}

fn stuck() -> Failure {
    Failure::new(Exit::Failed, "no messages arrive from the other node", "run it on a less busy machine")
}

const NETWORK: &str = "hyphal-bench";

/// The first message type of applications.
const KIND: u16 = 0;

/// Nothing expires while it is measured.
fn options(reliability: Sureness) -> SendOptions {
    let reliability = match reliability {
        Sureness::BestEffort => Reliability::BestEffort,
        Sureness::High => Reliability::High,
    };
    SendOptions::default().ttl(0).seal(false).sign(false).reliability(reliability)
}

/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_names_every_figure_and_those_not_measured_are_null() {
        let figures = Figures { msgs_per_s: Some(5.5), mib_per_s: Some(0.25), ..Figures::default() };

        let json = serde_json::to_string(&figures).unwrap();

        let expected = r#"{"msgs_per_s":5.5,"mib_per_s":0.25,"p50_us":null,"p99_us":null,"p999_us":null}"#;
        assert_eq!(json, expected);
        assert_eq!(figures.to_string().lines().count(), 2);
    }
}
