//! What the command tells people and scripts: exit codes, one-sentence failures, styles, log lines.
//!
//! Results go to standard output, everything else to standard error. Styles vanish where the output is no terminal or
//! `NO_COLOR` is set; the text is the same in both cases.

use std::io::{self, IsTerminal, Write};
#[cfg(unix)]
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anstyle::{AnsiColor, Style};
use hyphal::UnixTime;
use hyphal::config::{Config, ConfigError, Log, LogFormat, Origin};
use hyphal::keyfile::KeyFileError;
#[cfg(unix)]
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use tokio::io::{AsyncWriteExt, Stdout};
use tokio::time::sleep;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

use crate::cli::Global;

/// How a command ended, as scripts see it. The numbers are documented in docs/cli.md and stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything asked for was done.
    Done = 0,
    /// Something failed while the command ran.
    Failed = 1,
    /// The command line is wrong; also the code of the argument parser.
    Usage = 2,
    /// The configuration or the identity key cannot be used.
    Setup = 3,
    /// A peer did not answer, or not in time.
    Unreachable = 4,
    /// A signal ended the command before it was done.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked for: one sentence, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What happened, without a final stop.
    pub(crate) message: String,
    /// What to do; empty if there is nothing to add.
    pub(crate) remedy: String,
}

impl Failure {
    /// A failure with this code, sentence and remedy.
    pub(crate) fn new(exit: Exit, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { exit, message: message.into(), remedy: remedy.into() }
    }

    /// Writes the failure to standard error.
    pub(crate) fn print(&self) {
        if self.message.is_empty() {
            return;
        }
        let mut err = anstream::stderr().lock();
        // There is nobody left to tell if standard error is closed.
        let _ = writeln!(err, "{BAD}error:{BAD:#} {}", self.message);
        if !self.remedy.is_empty() {
            let _ = writeln!(err, "  {HINT}help:{HINT:#} {}", self.remedy);
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let is_usage = matches!(&error.origin, Origin::Flag(flag) if flag != "--config");
        let exit = if is_usage { Exit::Usage } else { Exit::Setup };
        Self::new(exit, error.to_string(), error.remedy)
    }
}

impl From<KeyFileError> for Failure {
    fn from(error: KeyFileError) -> Self {
        Self::new(Exit::Setup, error.to_string(), error.remedy())
    }
}

impl From<io::Error> for Failure {
    /// A failed write of results. A reader that has gone, as in `hyphal listen | head -1`, is no error to report.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Done, "", "");
        }
        Self::new(Exit::Failed, format!("cannot write the output: {error}"), "")
    }
}

/// Writes one JSON object on one line.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value).map_err(io::Error::from)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Standard output of a command that has to hear signals while it prints: a reader of the pipe that has stopped keeps a
/// write from ending, and must keep nothing else.
pub(crate) struct Results {
    out: Stdout,
}

impl Results {
    /// Standard output. Nothing else may write to it meanwhile.
    pub(crate) fn new() -> Self {
        Self { out: tokio::io::stdout() }
    }

    /// Writes the text and waits until it has left. Given up in between, it leaves later and in order, or not at all.
    pub(crate) async fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes()).await?;
        Ok(self.out.flush().await?)
    }

    /// Writes one JSON object on one line, as [`Results::text`] does.
    pub(crate) async fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let mut line = serde_json::to_string(value).map_err(io::Error::from)?;
        line.push('\n');
        self.text(&line).await
    }
}

/// The last words of a command that was told to end: they are written unless nobody reads them for a while. However long
/// this machine takes to write them where there is room, it is no reason to leave them out.
pub(crate) async fn farewell(words: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::select! {
        biased;
        told = words => told,
        () = unread(io::stdout()) => Ok(()),
    }
}

/// Resolves when there is no room in this output after a while, so that nobody seems to read it.
#[cfg(unix)]
async fn unread(out: impl AsFd) {
    loop {
        sleep(LONGEST_FAREWELL).await;
        let mut asked = [PollFd::new(&out, PollFlags::OUT)];
        if !poll(&mut asked, Some(&Timespec::default())).is_ok_and(|ready| ready > 0) {
            return;
        }
    }
}

/// Resolves after a while: whether the output is read cannot be known here.
#[cfg(not(unix))]
async fn unread(_: io::Stdout) {
    sleep(LONGEST_FAREWELL).await;
}

const LONGEST_FAREWELL: Duration = Duration::from_secs(1);

/// The log of a command with results of its own: only `level` and above, unless the user chose what is logged.
pub(crate) fn start_quiet_logs(global: &Global, log: &Log, level: &str) {
    let mut log = log.clone();
    if global.log.is_none() && log.filter == Config::with_key(PathBuf::new()).log.filter {
        level.clone_into(&mut log.filter);
    }
    let _ = start_logs(&log);
}

/// What is logged, for whoever may change it while the command runs.
pub(crate) type LogFilter = reload::Handle<Targets, Registry>;

/// Starts the log on standard error. Call it once, after the configuration was read.
pub(crate) fn start_logs(log: &Log) -> LogFilter {
    let (filter, handle) = reload::Layer::new(targets(log));
    let lines =
        tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(filter);
    match log.format {
        LogFormat::Text => registry.with(lines).init(),
        LogFormat::Json => registry.with(lines.json()).init(),
    }
    handle
}

/// What a checked configuration wants logged.
pub(crate) fn targets(log: &Log) -> Targets {
    log.filter.parse().unwrap_or_default()
}

/// The wall time of this moment.
pub(crate) fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// A moment of wall time, in UTC to the second.
pub(crate) fn moment(time: UnixTime) -> String {
    // Later than the year 9999 there is no such text.
    let seconds = (time.as_micros() / 1_000_000).min(253_402_300_799);
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

/// Good news.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Something to look at.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default().bold();
/// Bad news.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What to do.
pub(crate) const HINT: Style = AnsiColor::Cyan.on_default();

#[cfg(all(test, unix))]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn only_an_output_without_room_counts_as_unread() {
        let (_reader, mut writer) = io::pipe().unwrap();
        let with_room = timeout(2 * LONGEST_FAREWELL, unread(&writer)).await;

        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        while writer.write(b"\n").is_ok() {}
        let without_room = timeout(Duration::from_secs(60), unread(&writer)).await;

        assert!(with_room.is_err() && without_room.is_ok());
    }
}
