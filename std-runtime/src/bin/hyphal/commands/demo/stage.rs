//! The stage of the demo: the processes, the directory, and what is known from the nodes' reports.
//!
//! Reports change what is known; steps of the play wait until it is as they want. Invariant: a process lives no longer than
//! its [`Stage`], whichever step is given up, and neither does the directory.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use hyphal::keyfile::{self, Existing};
use serde::Serialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

use super::super::start::fresh_identity;
use super::audit::{Audit, Promises, Receiver, Sender};
use super::ledger::{self, Arrival};
use super::script::{self, Addresses, Breaker, Health, KEEPERS, NODES, Order, Report, Setup, Transport};
use crate::output::{BAD, Exit, Failure, GOOD, HINT, WARN};

/// Everything that has to be gone in the end, and what is known of it.
pub(super) struct Stage {
    // Processes are killed before their files go.
    nodes: [Role; NODES],
    directory: TempDir,
    ids: Vec<String>,
    reports: mpsc::Receiver<Heard>,
    ears: mpsc::Sender<Heard>,
    begun_at: Instant,
    /// The node that was killed, while the others are watched for what they say about it.
    absent: Option<usize>,
}

/// A node as the stage knows it, over all its lives.
#[derive(Default)]
struct Role {
    process: Option<Process>,
    life: u32,
    addresses: Option<Addresses>,
    is_listening: bool,
    views: [View; NODES],
    /// In this life.
    sent: u64,
    /// At the beginning of the last act.
    sent_before: u64,
    has_expired: bool,
    is_expecting: bool,
    has_transferred: bool,
    /// Sealed and signed messages that came, and those that it sent and of which it knows the fate.
    opened: u64,
    confided: u64,
    /// Guaranteed messages that were accepted in this life, and whether all are delivered.
    promised: u64,
    has_delivered: bool,
    waits_us: Option<Vec<u64>>,
    rtts_us: Option<Vec<u64>>,
}

/// What a node thinks of another one.
#[derive(Clone, Copy, Default)]
struct View {
    is_up: bool,
    is_down: bool,
    is_open: bool,
    up_at: Option<Instant>,
    /// While the session is up, nothing was noticed.
    noticed_at: Option<Instant>,
    /// Since the death.
    was_open: bool,
}

struct Process {
    child: Child,
    orders: ChildStdin,
}

/// A report, from which node in which life, and when it came; `None` at the end of its output.
struct Heard {
    index: usize,
    life: u32,
    at: Instant,
    report: Option<Report>,
}

impl Stage {
    /// Makes the directory and an identity for every node.
    pub(super) fn build() -> Result<Self, Failure> {
        let directory = tempfile::Builder::new().prefix("hyphal-demo-").tempdir();
        let directory = directory.map_err(|error| {
            Failure::new(
                Exit::Failed,
                format!("cannot make a temporary directory: {error}"),
                "set TMPDIR to a directory that can be written to",
            )
        })?;
        let (ears, reports) = mpsc::channel(1024);
        let mut stage = Self {
            nodes: Default::default(),
            directory,
            ids: Vec::with_capacity(NODES),
            reports,
            ears,
            begun_at: Instant::now(),
            absent: None,
        };
        for index in 0..NODES {
            let identity = fresh_identity();
            keyfile::create(&stage.setup(index).key(index), &identity, Existing::Keep)?;
            stage.ids.push(identity.id().to_string());
        }
        Ok(stage)
    }

    pub(super) fn directory(&self) -> impl fmt::Display {
        self.directory.path().display()
    }

    /// Where a node is to listen: at free ports the first time, at the same ones again.
    fn listen(&self, index: usize) -> Addresses {
        let known = self.nodes[index].addresses.clone();
        known.unwrap_or_else(|| Addresses::free(Transport::OF_NODES[index]))
    }

    fn setup(&self, index: usize) -> Setup {
        let node = &self.nodes[index];
        Setup {
            index,
            life: node.life,
            directory: self.directory.path().to_owned(),
            ids: self.ids.clone(),
            listen: self.listen(index),
        }
    }

    /// Starts the process of a node.
    pub(super) async fn start(&mut self, index: usize) -> Result<Instant, Failure> {
        self.nodes[index].life += 1;
        let setup = self.setup(index);
        let started_at = Instant::now();
        let (process, output) = Process::spawn()?;
        let node = &mut self.nodes[index];
        // Known before anything is waited for: whoever gives up waiting finds it, and waits for its end.
        let process = node.process.insert(process);
        process.write(&setup).await.map_err(|error| failed(index, &error))?;
        let ears = self.ears.clone();
        tokio::spawn(listen(output, index, setup.life, ears));
        node.sent = 0;
        node.sent_before = 0;
        node.promised = 0;
        node.has_delivered = false;
        node.views = Default::default();
        self.absent = None;
        Ok(started_at)
    }

    /// Lets a node connect to all others.
    pub(super) async fn meet(&mut self, index: usize) -> Result<(), Failure> {
        let addresses = self.nodes.iter().filter_map(|node| node.addresses.clone()).collect();
        self.order(index, &Order::Meet { addresses }).await
    }

    /// Gives an order to a node.
    pub(super) async fn order(&mut self, index: usize, order: &Order) -> Result<(), Failure> {
        let Some(process) = &mut self.nodes[index].process else { return Ok(()) };
        process.write(order).await.map_err(|error| failed(index, &error))
    }

    /// Gives an order to all nodes that live.
    pub(super) async fn order_all(&mut self, order: &Order) -> Result<(), Failure> {
        for index in 0..NODES {
            self.order(index, order).await?;
        }
        Ok(())
    }

    /// Kills a node without a warning.
    pub(super) async fn kill(&mut self, index: usize) -> Result<Instant, Failure> {
        self.absent = Some(index);
        let killed_at = Instant::now();
        for node in &mut self.nodes {
            // Whoever has lost or given up the node before says so only once.
            let View { is_up, is_down, is_open, .. } = node.views[index];
            let noticed_at = (!is_up).then_some(killed_at);
            node.views[index] = View { is_up, is_down, is_open, up_at: None, noticed_at, was_open: is_open };
        }
        let node = &mut self.nodes[index];
        if let Some(process) = &mut node.process {
            process.child.kill().await.map_err(|error| failed(index, &error))?;
        }
        node.process = None;
        node.is_listening = false;
        Ok(killed_at)
    }

    /// Lets all nodes end in good order.
    pub(super) async fn dismiss(&mut self) -> Result<(), Failure> {
        self.order_all(&Order::Quit).await?;
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let Some(process) = &mut node.process else { continue };
            // One that does not end is killed with the stage.
            match tokio::time::timeout(PATIENCE, process.child.wait()).await {
                Ok(Ok(status)) if status.success() => node.process = None,
                Ok(Ok(status)) => return Err(failed(index, &format_args!("it ended with {status}"))),
                Ok(Err(error)) => return Err(failed(index, &error)),
                Err(_) => return Err(failed(index, &"it does not end")),
            }
        }
        Ok(())
    }

    /// Ends what still runs and removes the directory.
    pub(super) async fn clear(mut self) -> Result<(), Failure> {
        for node in &mut self.nodes {
            if let Some(mut process) = node.process.take() {
                // Only a process that has ended cannot be killed.
                let _ = process.child.kill().await;
            }
        }
        let path = self.directory.path().display().to_string();
        self.directory.close().map_err(|error| {
            Failure::new(Exit::Failed, format!("cannot remove {path}: {error}"), "remove it by hand")
        })
    }

    /// Takes reports until what is known is as wanted.
    pub(super) async fn wait(&mut self, what: &str, is_met: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !is_met(self) {
            let heard = tokio::time::timeout_at(deadline, self.reports.recv()).await;
            let Ok(Some(heard)) = heard else {
                return Err(Failure::new(
                    Exit::Failed,
                    format!("after {} s of waiting it is not the case that {what}", PATIENCE.as_secs()),
                    "run it again on a less busy machine",
                ));
            };
            self.handle(heard)?;
        }
        Ok(())
    }

    fn handle(&mut self, heard: Heard) -> Result<(), Failure> {
        let Heard { index, life, at, report } = heard;
        let node = &mut self.nodes[index];
        if node.life != life || node.process.is_none() {
            return Ok(());
        }
        let Some(report) = report else { return Err(failed(index, &"its process ended")) };
        match report {
            Report::Ready { addresses } => {
                node.addresses = Some(addresses);
                node.is_listening = true;
            }
            Report::Up { peer } => {
                node.views[peer] =
                    View { is_up: true, up_at: Some(at), noticed_at: None, ..node.views[peer] };
            }
            Report::Down { peer, reason } => {
                let is_absent = self.absent == Some(peer);
                node.views[peer].is_up = false;
                node.views[peer].noticed_at.get_or_insert(at);
                if is_absent {
                    self.say(format_args!("  node {index}: the session with node {peer} ended: {reason}"));
                }
            }
            Report::Health { peer, state } => {
                let is_absent = self.absent == Some(peer);
                let view = &mut node.views[peer];
                view.is_down = state == Health::Down;
                if matches!(state, Health::Suspect | Health::Down) {
                    view.noticed_at.get_or_insert(at);
                }
                if is_absent {
                    self.say(format_args!("  node {index}: node {peer} is {}", shown(state)));
                }
            }
            Report::Breaker { peer, state } => {
                let is_absent = self.absent == Some(peer);
                let view = &mut node.views[peer];
                view.is_open = state == Breaker::Open;
                view.was_open |= view.is_open;
                if is_absent && state == Breaker::Open {
                    self.say(format_args!("  node {index}: the breaker for node {peer} is {BAD}open{BAD:#}"));
                }
            }
            Report::Sent { count } => node.sent = count,
            Report::Expired => node.has_expired = true,
            Report::Expecting => node.is_expecting = true,
            Report::Transferred => node.has_transferred = true,
            Report::Opened => node.opened += 1,
            Report::Confided => node.confided += 1,
            Report::Promised { count } => node.promised = node.promised.max(count),
            Report::Delivered => node.has_delivered = true,
            Report::Waits { waits_us } => node.waits_us = Some(waits_us),
            Report::Settled { rtts_us } => node.rtts_us = Some(rtts_us),
            Report::Failed { message } => return Err(failed(index, &message)),
        }
        Ok(())
    }

    pub(super) fn all_listen(&self) -> bool {
        self.nodes.iter().all(|node| node.is_listening)
    }

    /// Whether every node has a session with every other one.
    pub(super) fn all_are_connected(&self) -> bool {
        let is_up = |(at, node): (usize, &Role)| (0..NODES).all(|peer| peer == at || node.views[peer].is_up);
        self.nodes.iter().enumerate().all(is_up)
    }

    pub(super) fn all_have_sent(&self, count: u64) -> bool {
        self.nodes.iter().all(|node| node.sent >= count)
    }

    /// Whether every node has sent this many messages since the act began.
    pub(super) fn all_have_sent_more(&self, count: u64) -> bool {
        self.nodes.iter().all(|node| node.sent >= node.sent_before + count)
    }

    pub(super) fn begin_act(&mut self) {
        for node in &mut self.nodes {
            node.sent_before = node.sent;
        }
    }

    /// Whether all nodes that live have noticed the death.
    pub(super) fn all_noticed(&self) -> bool {
        self.views_of_absent().all(|view| view.noticed_at.is_some())
    }

    /// Whether all nodes that live call the dead one Down and have opened its breaker.
    pub(super) fn all_gave_up(&self) -> bool {
        self.views_of_absent().all(|view| view.is_down && view.was_open)
    }

    pub(super) fn all_have_expired(&self) -> bool {
        self.nodes.iter().all(|node| node.process.is_none() || node.has_expired)
    }

    pub(super) fn all_have_settled(&self) -> bool {
        self.nodes.iter().all(|node| node.rtts_us.is_some())
    }

    pub(super) fn is_expecting(&self, index: usize) -> bool {
        self.nodes[index].is_expecting
    }

    pub(super) fn has_transferred(&self, index: usize) -> bool {
        self.nodes[index].has_transferred
    }

    /// Sealed and signed messages that came, to all nodes.
    pub(super) fn opened(&self) -> u64 {
        self.nodes.iter().map(|node| node.opened).sum()
    }

    /// Sealed and signed messages whose fate is known, of all nodes.
    pub(super) fn confided(&self) -> u64 {
        self.nodes.iter().map(|node| node.confided).sum()
    }

    /// Whether a node has accepted this many Guaranteed messages in this life.
    pub(super) fn has_promised(&self, index: usize, count: u64) -> bool {
        self.nodes[index].promised >= count
    }

    pub(super) fn has_delivered(&self, index: usize) -> bool {
        self.nodes[index].has_delivered
    }

    pub(super) fn has_accounted(&self, index: usize) -> bool {
        self.nodes[index].waits_us.is_some()
    }

    /// How long Critical messages were under way to a node during a transfer, in microseconds, in rising order.
    pub(super) fn take_waits(&mut self, index: usize) -> Vec<u64> {
        let mut waits = self.nodes[index].waits_us.take().unwrap_or_default();
        waits.sort_unstable();
        waits
    }

    fn views_of_absent(&self) -> impl Iterator<Item = &View> {
        let absent = self.absent.unwrap_or(NODES);
        self.nodes
            .iter()
            .enumerate()
            .filter(move |(at, _)| *at != absent)
            .filter_map(move |(_, node)| node.views.get(absent))
    }

    /// How long after the kill the last node noticed.
    pub(super) fn noticed_by_all_after(&self, killed_at: Instant) -> Duration {
        let last = self.views_of_absent().filter_map(|view| view.noticed_at).max();
        last.map_or(Duration::ZERO, |at| at.saturating_duration_since(killed_at))
    }

    /// How long after its start the last node had a session with the one that came back.
    pub(super) fn connected_with_all_after(&self, started_at: Instant, index: usize) -> Duration {
        let last = self.nodes.iter().filter_map(|node| node.views[index].up_at).max();
        last.map_or(Duration::ZERO, |at| at.saturating_duration_since(started_at))
    }

    /// All round trips that were measured, in microseconds, in rising order.
    pub(super) fn take_rtts(&mut self) -> Vec<u64> {
        let mut rtts: Vec<u64> =
            self.nodes.iter_mut().filter_map(|node| node.rtts_us.as_mut()).flat_map(std::mem::take).collect();
        rtts.sort_unstable();
        rtts
    }

    /// Reads all books and logs and holds them against each other. Call it when no node runs.
    pub(super) fn audit(&self) -> Result<Audit, Failure> {
        let mut senders = Vec::new();
        let mut receivers = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let setup = self.setup(index);
            let mut logs = Vec::new();
            for life in 1..=node.life {
                let book = read(&setup.book(index, life))?;
                // Only the last life ended in good order.
                senders.push(Sender { index, was_killed: life < node.life, book });
                logs.push(read::<Arrival>(&setup.log(index, life))?);
            }
            receivers.push(Receiver { index, logs });
        }
        Ok(Audit::of(&senders, &receivers))
    }

    /// Holds the Guaranteed messages that were accepted against those that came. Call it when no node runs.
    pub(super) fn promises(&self) -> Result<Promises, Failure> {
        let [from, to] = KEEPERS;
        let read_all = |index: usize, file: fn(&Setup, usize, u32) -> std::path::PathBuf| {
            let setup = self.setup(index);
            let lives = (1..=self.nodes[index].life).map(|life| read::<Arrival>(&file(&setup, index, life)));
            lives.collect::<Result<Vec<_>, _>>().map(|lives| lives.concat())
        };
        Ok(Promises::of(&read_all(from, Setup::promises)?, &read_all(to, Setup::kept)?))
    }

    /// Tells on standard error what happens.
    pub(super) fn say(&self, what: fmt::Arguments<'_>) {
        let elapsed = self.begun_at.elapsed().as_secs_f64();
        // A reader that has gone must not end the demo half-way.
        let _ = writeln!(anstream::stderr(), "{HINT}{elapsed:6.2} s{HINT:#}  {what}");
    }
}

/// How long a step of the play may take, and the end of a process.
const PATIENCE: Duration = Duration::from_secs(60);

impl Process {
    fn spawn() -> Result<(Self, ChildStdout), Failure> {
        let cannot = |error| Failure::new(Exit::Failed, format!("cannot start a process: {error}"), "");
        let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
        command.arg("demo-node").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        // Ctrl-C is for the demo alone, which sees to its nodes.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn().map_err(cannot)?;
        let (Some(orders), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::new(Exit::Failed, "a process was started without pipes", ""));
        };
        Ok((Self { child, orders }, output))
    }

    async fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        self.orders.write_all(&script::line(line)?).await
    }
}

fn shown(state: Health) -> String {
    let (style, word) = match state {
        Health::Healthy => (GOOD, "Healthy"),
        Health::Degraded => (WARN, "Degraded"),
        Health::Suspect => (WARN, "Suspect"),
        Health::Down => (BAD, "Down"),
    };
    format!("{style}{word}{style:#}")
}

/// Hears the reports of a process until its end.
async fn listen(output: ChildStdout, index: usize, life: u32, ears: mpsc::Sender<Heard>) {
    let mut lines = BufReader::new(output).lines();
    loop {
        let report = match lines.next_line().await {
            Ok(Some(line)) => serde_json::from_str(&line).ok(),
            _ => None,
        };
        let is_end = report.is_none();
        if ears.send(Heard { index, life, at: Instant::now(), report }).await.is_err() || is_end {
            return;
        }
    }
}

fn read<T: std::str::FromStr<Err = ledger::BadLine>>(path: &Path) -> Result<Vec<T>, Failure> {
    let unreadable = |what: &dyn fmt::Display| {
        Failure::new(Exit::Failed, format!("cannot read {}: {what}", path.display()), "")
    };
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(&error))?;
    ledger::lines(&text).map_err(|_| unreadable(&"there is a line that does not belong there"))
}

fn failed(index: usize, what: &dyn fmt::Display) -> Failure {
    Failure::new(Exit::Failed, format!("node {index} of the demo failed: {what}"), "")
}
