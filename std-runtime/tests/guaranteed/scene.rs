//! The two processes, their files, and the account of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::actor::{ADDRESS, DIRECTORY, LIFE, PEER, ROLE};

/// Longer than anything takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Sender,
    Receiver,
}

/// A directory, and whoever runs.
pub(crate) struct Scene {
    directory: tempfile::TempDir,
    sender: Option<Running>,
    receiver: Option<Running>,
    /// Where sender and receiver listen, in all their lives after the first. Both dial, and often at once.
    addresses: [Option<String>; 2],
    lives: u32,
    /// The longest file that the sender may write, in blocks of 512 bytes.
    limit: Option<u32>,
}

/// A process, and what it says.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // SIGKILL; it may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the files say.
#[derive(Debug)]
#[expect(dead_code, reason = "printed")]
pub(crate) struct Account {
    pub(crate) accepted: usize,
    /// Accepted, or said to be delivered, and not received: in the end, what is lost.
    pub(crate) waiting: usize,
    /// Received twice by one process.
    pub(crate) doubled: usize,
    /// Received again after a kill of the receiver: it came between commit and acknowledgement, which the promise allows.
    pub(crate) repeated: usize,
    /// The same after a life of the receiver that ended in good order.
    pub(crate) forgotten: usize,
    /// Received, and in nobody's book: the sender was killed before it could write that it was accepted.
    pub(crate) unnoted: usize,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, sender: None, receiver: None, addresses: [None, None], lives: 0, limit: None }
    }

    /// The sender may write no file longer than so many blocks of 512 bytes.
    pub(crate) fn limit_files(&mut self, blocks: u32) {
        self.limit = Some(blocks);
    }

    pub(crate) fn unlimit_files(&mut self) {
        self.limit = None;
    }

    /// Starts who does not run.
    pub(crate) fn start_missing(&mut self) {
        if self.receiver.is_none() {
            self.receiver = Some(self.start("receiver"));
        }
        if self.sender.is_none() {
            self.sender = Some(self.start("sender"));
        }
    }

    /// Waits until the sender has had so many more messages accepted.
    pub(crate) fn await_accepted(&self, count: u64) {
        let sender = self.sender.as_ref().unwrap();
        (0..count).for_each(|_| drop(sender.line("accepted")));
    }

    /// Waits until the sender has a message refused; why.
    pub(crate) fn await_refusal(&mut self) -> String {
        let refusal = self.sender.as_ref().unwrap().line("refused ");
        self.kill(Who::Sender);
        refusal
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, who: Who) {
        match who {
            Who::Sender => self.sender = None,
            Who::Receiver => self.receiver = None,
        }
    }

    /// Has the receiver end in good order.
    pub(crate) fn end_receiver(&mut self) {
        let mut receiver = self.receiver.take().unwrap();
        let id = rustix::process::Pid::from_child(&receiver.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        let status = receiver.child.wait().unwrap();
        // One that was told so early that it did not listen for signals yet has just ended.
        assert!(
            status.success() || status.signal() == Some(rustix::process::Signal::TERM.as_raw()),
            "{status}"
        );
    }

    /// Lets everything that is stored be delivered.
    pub(crate) fn drain(&mut self) {
        self.sender = None;
        if self.receiver.is_none() {
            self.receiver = Some(self.start("receiver"));
        }
        let mut drained = self.start("drain");
        drained.line("drained");
        assert!(drained.child.wait().unwrap().success());
        self.receiver = None;
    }

    pub(crate) fn account(&self) -> Account {
        let mut accepted = BTreeSet::new();
        let mut delivered = BTreeSet::new();
        let mut got = BTreeMap::<String, BTreeSet<u32>>::new();
        let mut ended = BTreeSet::new();
        let (mut doubled, mut repeated, mut forgotten) = (0, 0, 0);
        for life in 1..=self.lives {
            let Ok(text) = std::fs::read_to_string(self.directory.path().join(format!("log-{life}"))) else {
                continue;
            };
            // A line without an end was cut off by the kill: what it tells of had not happened yet.
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            for line in whole.lines() {
                match line.split_once(' ') {
                    None => drop(ended.insert(life)),
                    Some(("accepted", message)) => drop(accepted.insert(message.to_owned())),
                    Some(("delivered", message)) => drop(delivered.insert(message.to_owned())),
                    Some((_, message)) => {
                        let lives = got.entry(message.to_owned()).or_default();
                        forgotten += usize::from(!lives.is_disjoint(&ended));
                        repeated += usize::from(!lives.is_empty() && !lives.contains(&life));
                        doubled += usize::from(!lives.insert(life));
                    }
                }
            }
        }
        let waiting = accepted.union(&delivered).filter(|message| !got.contains_key(*message)).count();
        let unnoted = got.keys().filter(|message| !accepted.contains(*message)).count();
        Account { accepted: accepted.len(), waiting, doubled, repeated, forgotten, unnoted }
    }

    fn start(&mut self, role: &str) -> Running {
        self.lives += 1;
        let program = std::env::current_exe().unwrap();
        let arguments = ["child", "--exact", "--ignored", "--nocapture"];
        let mut command = match self.limit.filter(|_| role == "sender") {
            Some(blocks) => {
                // Without the trap the system would end a process that writes more.
                let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
                let mut command = Command::new("sh");
                command.arg("-c").arg(script).arg(program).args(arguments);
                command
            }
            None => {
                let mut command = Command::new(program);
                command.args(arguments);
                command
            }
        };
        command.env(ROLE, role).env(DIRECTORY, self.directory.path()).env(LIFE, self.lives.to_string());
        let (own, other) = if role == "receiver" { (1, 0) } else { (0, 1) };
        command.env(ADDRESS, self.addresses[own].as_deref().unwrap_or("127.0.0.1:0"));
        command.envs(self.addresses[other].iter().map(|address| (PEER, address)));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (told, lines) = channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| told.send(line)).ok();
        });
        let running = Running { child, lines };
        // Afterwards nobody waits for anybody, so that both dial at once when both were killed.
        self.addresses[own].get_or_insert_with(|| running.line("address "));
        running
    }
}

impl Running {
    /// What follows `mark` in the next line that has it.
    fn line(&self, mark: &str) -> String {
        loop {
            let line =
                self.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("no '{mark}': {error}"));
            // The harness may have begun the line.
            if let Some((_, rest)) = line.split_once(mark) {
                return rest.to_owned();
            }
        }
    }
}

/// Where one process writes what happens.
pub(crate) fn log_of(directory: PathBuf, life: &str) -> std::fs::File {
    let path = directory.join(format!("log-{life}"));
    std::fs::OpenOptions::new().append(true).create_new(true).open(path).unwrap()
}
