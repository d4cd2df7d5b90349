//! The command line: every command with its arguments and its help. Nothing is done here.
//!
//! Flags that set something in the configuration keep their text: the configuration reads it, by the same rules as in
//! the file. All other values are parsed here and cannot be wrong afterwards.

mod ca;
mod key;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hyphal::Overflow;
use hyphal::address::PeerAddr;
use hyphal::compression::Method;
use hyphal::config::{Argument, Sources};
use hyphal_core::ids::{NodeId, Priority};
use serde::{Deserialize, Serialize};

pub(crate) use ca::{CaAction, CaArgs, CaDirectory, IssueArgs, ListArgs, RenewArgs, RevokeArgs};
pub(crate) use key::{BackupArgs, DelegateArgs, KeyArgs, KeyCommand, PassphraseFlags, RestoreArgs};

/// Secure messages between nodes.
///
/// Every link is encrypted and both ends are authenticated by their identity keys. Peers are written ID@ENDPOINT, where an
/// endpoint is HOST:PORT (TCP), udp://HOST:PORT, or serial:///dev/ttyX?baud=N.
#[derive(Debug, Parser)]
#[command(name = "hyphal", version, max_term_width = 100, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed while running, 2 wrong command line, 3 unusable configuration or key,
4 a peer is unreachable or too slow, 130 interrupted.

Settings come from the defaults, the file of --config, variables HYPHAL_*, and flags; the later wins.";

/// Flags that every command takes.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Configuration")]
pub(crate) struct Global {
    /// Read settings from this TOML file [variable: HYPHAL_CONFIG]
    #[arg(long, global = true, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Use the identity key in this file [variable: HYPHAL_KEY]
    #[arg(long, global = true, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    pub(crate) key: Option<String>,
    /// Belong to the network of this name [variable: HYPHAL_NETWORK]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) network: Option<String>,
    /// Log this to standard error: off, error, warn, info, debug, trace, or MODULE=LEVEL,... [variable: HYPHAL_LOG_FILTER]
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// Append the keys of every session to this file: whoever reads it can decrypt the traffic [variable: HYPHAL_KEY_LOG]
    #[arg(long, global = true, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    pub(crate) key_log: Option<String>,
    /// Set any setting, as limits.max_connections=50 or timeouts.connect=2s; may be repeated
    #[arg(long, global = true, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<Assignment>,
}

impl Global {
    /// The sources of the configuration: this process's environment, the file, and all flags.
    pub(crate) fn sources(&self, node: &NodeFlags) -> Sources {
        let mut sources = Sources { file: self.config.clone(), ..Sources::of_process() };
        let mut set = |flag: &str, setting: &str, values: &[String]| {
            if !values.is_empty() {
                let (flag, setting) = (flag.to_owned(), setting.to_owned());
                sources.arguments.push(Argument { flag, setting, values: values.to_vec() });
            }
        };
        for Assignment { setting, value } in &self.set {
            set("--set", setting, std::slice::from_ref(value));
        }
        set("--key", "key", self.key.as_slice());
        set("--key-log", "key_log", self.key_log.as_slice());
        set("--network", "network", self.network.as_slice());
        set("--log", "log.filter", self.log.as_slice());
        set("--listen", "listen", &node.listen);
        set("--peer", "peers", &node.peer);
        set("--node-type", "node_type", node.node_type.as_slice());
        set("--trust", "trust.policy", node.trust.as_slice());
        set("--metrics", "metrics", node.metrics.as_slice());
        set("--store", "store.directory", node.store.as_slice());
        sources
    }
}

/// Of the commands that join a network for one run, perhaps beside a node of the same machine
#[derive(Debug, Args)]
pub(crate) struct VisitorFlags {
    /// Use a fresh identity for this run only, as beside a running node; open networks admit it
    #[arg(long)]
    pub(crate) ephemeral_key: bool,
    #[command(flatten)]
    pub(crate) node: NodeFlags,
}

/// Flags of the commands that run a node.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Node")]
pub(crate) struct NodeFlags {
    /// Accept connections here, as 0.0.0.0:4857, [::]:4857 or udp://0.0.0.0:4857; may be repeated [variable: HYPHAL_LISTEN]
    #[arg(long, value_name = "ENDPOINT")]
    pub(crate) listen: Vec<String>,
    /// Connect to this peer and stay connected; may be repeated [variable: HYPHAL_PEERS]
    #[arg(long, value_name = "ID@ENDPOINT")]
    pub(crate) peer: Vec<String>,
    /// What this node is: sclerotia (server), rhizomorph (relay), hyphae (client) [variable: HYPHAL_NODE_TYPE]
    #[arg(long, value_name = "TYPE")]
    pub(crate) node_type: Option<String>,
    /// Admit every node of the network (open), the listed ones (pinned), or those with a certificate (certified) [variable: HYPHAL_TRUST_POLICY]
    #[arg(long, value_name = "POLICY")]
    pub(crate) trust: Option<String>,
    /// Of `hyphal node` only, which sets it
    #[arg(skip)]
    pub(crate) metrics: Option<String>,
    /// Keep Guaranteed messages in this directory, which belongs to this node alone [variable: HYPHAL_STORE_DIRECTORY]
    #[arg(long, value_name = "DIRECTORY", value_hint = clap::ValueHint::DirPath)]
    pub(crate) store: Option<String>,
}

/// `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) setting: String,
    pub(crate) value: String,
}

impl FromStr for Assignment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (setting, value) = text.split_once('=').ok_or("there is no '=': write NAME=VALUE")?;
        Ok(Self { setting: setting.trim().to_owned(), value: value.trim().to_owned() })
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Keygen(KeygenArgs),
    Id(IdArgs),
    Key(KeyArgs),
    Ca(CaArgs),
    Doctor(DoctorArgs),
    Node(NodeArgs),
    Send(SendArgs),
    Listen(ListenArgs),
    Ping(PingArgs),
    Bench(BenchArgs),
    /// The other end of a measurement
    #[command(hide = true)]
    BenchPeer,
    Demo(DemoArgs),
    /// One node of the demo
    #[command(hide = true)]
    DemoNode,
    Completions(CompletionsArgs),
}

/// Make a new identity and store its key in a file for its owner only
///
/// Prints the id, which other nodes need to connect to this one.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hyphal keygen
  hyphal keygen --out /etc/hyphal/identity.key")]
pub(crate) struct KeygenArgs {
    /// Write the key to this file instead of the configured one
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,
    /// Replace an existing key; the identity in it is lost
    #[arg(long)]
    pub(crate) force: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Print the id of the identity key
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hyphal id
  hyphal id --key ./identity.key
  echo \"$(hyphal id)@$(hostname):4857\"    # what others pass as --peer")]
pub(crate) struct IdArgs {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Check key, configuration, certificate, store, clock, ports and peers, and say what to do
///
/// Changes nothing. Exits with 0 unless a check fails; warnings do not count.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hyphal doctor
  hyphal doctor --config /etc/hyphal.toml --json")]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) node: NodeFlags,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Run a node until Ctrl-C, then deliver what is queued and end
///
/// Peers, trust and log level are taken anew on SIGHUP and when the configuration file changes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hyphal node --listen 0.0.0.0:4857 --listen '[::]:4857'
  hyphal node --listen 0.0.0.0:4857 --listen udp://0.0.0.0:4857
  hyphal node --config /etc/hyphal.toml
  hyphal node --json | jq 'select(.peer)'
  hyphal node --metrics 127.0.0.1:4859    # and: curl http://127.0.0.1:4859/metrics
  hyphal node --listen 0.0.0.0:4857 --peer ID@relay.example.org:4857 --trust pinned")]
pub(crate) struct NodeArgs {
    /// Print one JSON object a line: the start with the addresses, what happens to peers, the end
    #[arg(long)]
    pub(crate) json: bool,
    /// Serve the node's numbers for Prometheus here, at /metrics, as 127.0.0.1:4859; without authentication [variable: HYPHAL_METRICS]
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) metrics: Option<String>,
    #[command(flatten)]
    pub(crate) node: NodeFlags,
}

/// Send a message: the text given, a file, or standard input
///
/// Waits until the receiving application has taken it. A broadcast goes to all configured peers and waits for each. A long
/// message shows its progress on a terminal; Ctrl-C cancels it, and its receiver is told.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hyphal send --to ID@10.0.0.7:4857 'hello'
  hyphal send --to ID@udp://10.0.0.7:4857 'hello'
  hyphal send --to ID --file report.pdf --priority high
  hyphal send --to ID --seal --sign --reliability guaranteed --file contract.pdf
  date | hyphal send --broadcast --ttl 10

With the key of a node that runs, its session to the peer is replaced for a moment: use --ephemeral-key, or a key of its own.")]
#[command(group = clap::ArgGroup::new("receiver").required(true).args(["to", "broadcast"]))]
pub(crate) struct SendArgs {
    /// The text; without it and without --file, standard input is sent
    #[arg(value_name = "TEXT", conflicts_with = "file")]
    pub(crate) text: Option<String>,
    /// Send the content of this file; - is standard input
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Send to this peer: ID@ENDPOINT, or the ID of a configured peer
    #[arg(long, value_name = "PEER")]
    pub(crate) to: Option<Target>,
    /// Send to all configured peers
    #[arg(long)]
    pub(crate) broadcast: bool,
    /// How urgent the message is
    #[arg(long, value_enum, default_value_t = PriorityArg::Medium)]
    pub(crate) priority: PriorityArg,
    /// Drop the message when it could not be sent after this many seconds; 0 = never
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) ttl: u32,
    /// What to do if the queue to the peer is full
    #[arg(long, value_enum, default_value_t = OverflowArg::Wait)]
    pub(crate) overflow: OverflowArg,
    /// Seal the message, so that nobody but the peer itself can read it, whatever it passes through
    #[arg(long, conflicts_with = "broadcast")]
    pub(crate) seal: bool,
    /// Sign the message, so that its receiver can show anyone who wrote it
    #[arg(long)]
    pub(crate) sign: bool,
    /// What is done so that the message arrives; the default is what the profile of the pair says
    #[arg(long, value_enum, value_name = "CLASS")]
    pub(crate) reliability: Option<ReliabilityArg>,
    /// The message type, a number as 4096 or 0x1000; the default is the first one of applications
    #[arg(long = "type", value_name = "N", value_parser = message_type)]
    pub(crate) kind: Option<u16>,
    /// Compress the message, if its receiver takes that and it gets shorter
    #[arg(long, value_enum, value_name = "METHOD")]
    pub(crate) compress: Option<MethodArg>,
    /// Give up when the message is not confirmed, and nothing of it moved, for this time, as 5s
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = span)]
    pub(crate) timeout: Duration,
    /// Show no progress of a long message
    #[arg(long, short = 'q')]
    pub(crate) quiet: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) visitor: VisitorFlags,
}

impl SendArgs {
    /// Whether the message is to outlive restarts.
    pub(crate) fn is_guaranteed(&self) -> bool {
        self.reliability == Some(ReliabilityArg::Guaranteed)
    }
}

/// Print the messages that arrive, until Ctrl-C
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hyphal listen --listen 0.0.0.0:4857
  hyphal listen --peer ID@10.0.0.7:4857 --json | jq .payload
  hyphal listen --output inbox
  hyphal listen --count 1 --raw > report.pdf")]
pub(crate) struct ListenArgs {
    /// End after this many messages
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Print messages of this type only; the others are taken and not shown
    #[arg(long = "type", value_name = "N", value_parser = message_type)]
    pub(crate) kind: Option<u16>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Write each payload to a file of its own in this directory, and print its path instead
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) output: Option<PathBuf>,
    /// Write the bytes of the payloads and nothing else
    #[arg(long, conflicts_with_all = ["json", "output"])]
    pub(crate) raw: bool,
    #[command(flatten)]
    pub(crate) visitor: VisitorFlags,
}

/// Measure the round trip to a peer over its encrypted link
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hyphal ping ID@10.0.0.7:4857
  hyphal ping ID -c 5 -i 200ms")]
pub(crate) struct PingArgs {
    /// The peer: ID@ENDPOINT, or the ID of a configured peer
    #[arg(value_name = "PEER")]
    pub(crate) target: Target,
    /// End after this many pings
    #[arg(long, short = 'c', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Wait this long between pings: seconds, or with a unit as 200ms
    #[arg(long, short = 'i', value_name = "SPAN", default_value = "1s", value_parser = span)]
    pub(crate) interval: Duration,
    /// Print one JSON object at the end
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) visitor: VisitorFlags,
}

/// Measure one encrypted link between two processes over loopback, or within this one
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) measure: Measure,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Measure {
    Throughput(ThroughputArgs),
    Latency(LatencyArgs),
}

/// Messages a second in one direction
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hyphal bench throughput --size 64 --batch
  hyphal bench throughput --size 1024 --seconds 10 --json
  hyphal bench throughput --transport udp --batch")]
pub(crate) struct ThroughputArgs {
    /// Bytes of a message
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    pub(crate) size: u32,
    /// What carries the link
    #[arg(long, value_enum, default_value_t = Transport::Tcp)]
    pub(crate) transport: Transport,
    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) seconds: u32,
    /// Hand the messages over in batches
    #[arg(long)]
    pub(crate) batch: bool,
    /// Whether messages are kept until they are acknowledged
    #[arg(long, value_enum, default_value_t = Sureness::High)]
    pub(crate) reliability: Sureness,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// The reliabilities that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Sureness {
    /// They are sent once
    BestEffort,
    /// They are kept, and sent again in later sessions
    High,
}

/// Round trips one after the other
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hyphal bench latency
  hyphal bench latency --size 1024 --count 100000 --json
  hyphal bench latency --transport memory")]
pub(crate) struct LatencyArgs {
    /// Bytes of a message
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    pub(crate) size: u32,
    /// What carries the link
    #[arg(long, value_enum, default_value_t = Transport::Tcp)]
    pub(crate) transport: Transport,
    /// How many round trips
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: u64,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// What carries the link of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    /// Loopback TCP between two processes
    Tcp,
    /// Loopback UDP between two processes
    Udp,
    /// Memory: both nodes in one process
    Memory,
}

/// Show a network of five nodes: messages, the death of a node, its return
///
/// Needs no set-up. Runs real processes on loopback, over TCP and one over UDP, with fresh identities in a temporary
/// directory, and ends with a table of what was sent and what became of it. Exits with 0 only if nothing was lost or delivered twice.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hyphal demo
  hyphal demo --json")]
pub(crate) struct DemoArgs {
    /// Print one JSON object instead of the table
    #[arg(long)]
    pub(crate) json: bool,
}

/// Print the completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hyphal completions bash > ~/.local/share/bash-completion/completions/hyphal
  hyphal completions zsh > ~/.zfunc/_hyphal
  hyphal completions fish > ~/.config/fish/completions/hyphal.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Whom a command addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A peer with its address.
    Address(PeerAddr),
    /// A peer whose address is configured.
    Id(NodeId),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('@') {
            return text
                .parse()
                .map(Self::Address)
                .map_err(|error: <PeerAddr as FromStr>::Err| error.to_string());
        }
        text.parse()
            .map(Self::Id)
            .map_err(|error: <NodeId as FromStr>::Err| format!("{error} (a peer is an ID, or ID@HOST:PORT)"))
    }
}

/// [`Priority`] as a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PriorityArg {
    Low,
    Medium,
    High,
    Critical,
}

impl PriorityArg {
    /// The word for a class.
    pub(crate) const fn name(priority: Priority) -> &'static str {
        match priority {
            Priority::Low => "low",
            Priority::Medium => "medium",
            Priority::High => "high",
            Priority::Critical => "critical",
        }
    }
}

impl From<PriorityArg> for Priority {
    fn from(priority: PriorityArg) -> Self {
        match priority {
            PriorityArg::Low => Self::Low,
            PriorityArg::Medium => Self::Medium,
            PriorityArg::High => Self::High,
            PriorityArg::Critical => Self::Critical,
        }
    }
}

/// A method of compression, as a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MethodArg {
    Lz4,
    Zstd,
}

impl From<MethodArg> for Method {
    fn from(method: MethodArg) -> Self {
        match method {
            MethodArg::Lz4 => Self::Lz4,
            MethodArg::Zstd => Self::Zstd,
        }
    }
}

/// What becomes of a message that finds the queue full.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum OverflowArg {
    /// Wait for room
    Wait,
    /// Give up at once
    Fail,
    /// Drop queued messages that are not more urgent
    Shed,
}

/// What is done so that a message arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReliabilityArg {
    /// Send it once
    BestEffort,
    /// Send it again in later sessions, until its time to live ends
    High,
    /// The same, and keep it in the store over restarts of both ends
    Guaranteed,
}

impl From<ReliabilityArg> for hyphal::Reliability {
    fn from(reliability: ReliabilityArg) -> Self {
        match reliability {
            ReliabilityArg::BestEffort => Self::BestEffort,
            ReliabilityArg::High => Self::High,
            ReliabilityArg::Guaranteed => Self::Guaranteed,
        }
    }
}

impl From<OverflowArg> for Overflow {
    fn from(overflow: OverflowArg) -> Self {
        match overflow {
            OverflowArg::Wait => Self::Wait,
            OverflowArg::Fail => Self::Fail,
            OverflowArg::Shed => Self::Shed,
        }
    }
}

/// Parses a message type, as documents and settings write it: 4096 or 0x1000.
fn message_type(text: &str) -> Result<u16, &'static str> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|_| "a message type is a number from 0 to 65535, or from 0x0 to 0xffff")
}

/// Seconds as a plain number, as `ping -i 0.2` takes them, or a span with its unit.
fn span(text: &str) -> Result<Duration, String> {
    let span = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    match span {
        Some(span) if !span.is_zero() => Ok(span),
        _ => Err("a span is a number of seconds above 0, or has a unit, as 200ms or 5s".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn spans_are_seconds_or_carry_a_unit() {
        assert_eq!(span("2"), Ok(Duration::from_secs(2)));
        assert_eq!(span("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(span("200ms"), Ok(Duration::from_millis(200)));
        for bad in ["", "0", "-1", "nan", "inf", "1e300", "5 parsecs"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn global_flags_stand_before_or_after_the_command() {
        let before = Cli::try_parse_from(["hyphal", "--network", "a", "id"]).unwrap();
        let after = Cli::try_parse_from(["hyphal", "id", "--network", "a"]).unwrap();

        assert_eq!(before.global.network.as_deref(), Some("a"));
        assert_eq!(after.global.network.as_deref(), Some("a"));
    }

    #[test]
    fn a_message_has_exactly_one_kind_of_receiver() {
        assert!(Cli::try_parse_from(["hyphal", "send", "text"]).is_err());
        assert!(Cli::try_parse_from(["hyphal", "send", "--broadcast", "text"]).is_ok());
        assert!(Cli::try_parse_from(["hyphal", "send", "--broadcast", "--file", "x", "text"]).is_err());
    }
}
