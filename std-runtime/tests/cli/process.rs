//! Running commands of a test: started with pipes, read line by line with a bound, ended by their own id.
//!
//! A process that a failed test leaves behind is killed when it is dropped.

use std::io::{BufRead, BufReader, PipeReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// Longer than anything a test waits for takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A started command.
pub(crate) struct Process {
    child: Child,
    out: Lines,
    err: Lines,
    /// The reading end of a standard output that nobody reads.
    _unread: Option<PipeReader>,
}

impl Process {
    /// Starts the command; its standard input is a pipe that stays open.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = spawn(command);
        let out = Lines::of(child.stdout.take().unwrap());
        let err = Lines::of(child.stderr.take().unwrap());
        Self { child, out, err, _unread: None }
    }

    /// Starts the command; the reader of its standard output has gone before it begins.
    pub(crate) fn start_unread(command: &mut Command) -> Self {
        let (reader, mut writer) = std::io::pipe().unwrap();
        drop(reader);
        // A process that another test starts at this moment holds a copy of the reader until it runs a program of its own.
        while writer.write(b"\n").is_ok() {
            thread::yield_now();
        }
        let mut child = command.stdin(Stdio::piped()).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let err = Lines::of(child.stderr.take().unwrap());
        Self { child, out: Lines::of(std::io::empty()), err, _unread: None }
    }

    /// Starts the command; its standard output goes to a file.
    pub(crate) fn start_into(command: &mut Command, file: std::fs::File) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(file).stderr(Stdio::piped()).spawn().unwrap();
        let err = Lines::of(child.stderr.take().unwrap());
        Self { child, out: Lines::of(std::io::empty()), err, _unread: None }
    }

    /// Starts the command; its standard output is a pipe that is full, and its reader does not read.
    #[cfg(unix)]
    pub(crate) fn start_stalled(command: &mut Command) -> Self {
        let (reader, mut writer) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        while writer.write(b"\n").is_ok() {}
        rustix::io::ioctl_fionbio(&writer, false).unwrap();
        let mut child = command.stdin(Stdio::piped()).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let err = Lines::of(child.stderr.take().unwrap());
        Self { child, out: Lines::of(std::io::empty()), err, _unread: Some(reader) }
    }

    /// The next line of standard output.
    pub(crate) fn line(&self) -> String {
        self.out.next().unwrap_or_else(|| panic!("no further line; standard error: {:?}", self.err.rest()))
    }

    /// The next line of standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// The JSON line, now or later, whose `event` is this.
    pub(crate) fn event(&self, name: &str) -> Value {
        loop {
            let line = self.json();
            if line["event"] == name {
                return line;
            }
        }
    }

    /// What follows `mark` in the first line of standard error that has it.
    pub(crate) fn err_after(&self, mark: &str) -> String {
        loop {
            let line = self.err.next().expect("a line of standard error");
            if let Some((_, rest)) = line.split_once(mark) {
                return rest.to_owned();
            }
        }
    }

    /// Writes to standard input and closes it.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.child.stdin.take().unwrap().write_all(bytes).unwrap();
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Waits for the end; gives the code, the lines of standard output that were not read, and standard error.
    pub(crate) fn end(mut self) -> (Option<i32>, Vec<String>, String) {
        // Both pipes are closed by the end of the process, so waiting for them bounds the wait for it.
        let (out, err) = (self.out.rest(), self.err.rest().join("\n"));
        (self.child.wait().unwrap().code(), out, err)
    }
}

fn spawn(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines of a pipe, read by a thread so that waiting has a bound.
struct Lines {
    lines: Receiver<String>,
}

impl Lines {
    fn of(pipe: impl std::io::Read + Send + 'static) -> Self {
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { lines }
    }

    fn next(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no line in time"),
        }
    }

    /// All lines up to the end of the process.
    fn rest(&self) -> Vec<String> {
        std::iter::from_fn(|| self.next()).collect()
    }
}
