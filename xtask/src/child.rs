//! Child processes: each is printed before it runs, inherits our output, and ends when we do.
//!
//! On Unix every child leads a process group of its own, so that a time limit or Ctrl-C ends what it started as well
//! (rustc, test binaries, QEMU). Elsewhere the console does that, and a time limit ends the child alone.

use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;
#[cfg(unix)]
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// The child that runs at the moment; zero if none does. Groups run one after the other, so one place is enough.
static RUNNING: AtomicU32 = AtomicU32::new(0);

/// Exit code of a shell command that Ctrl-C ended: 128 + SIGINT.
const INTERRUPTED: i32 = 130;

/// From here on Ctrl-C, a hang-up or a request to terminate ends the running child before this process.
pub(crate) fn end_children_on_interrupt() -> Result<()> {
    ctrlc::set_handler(|| {
        end(RUNNING.load(Ordering::SeqCst));
        std::process::exit(INTERRUPTED);
    })
    .context("cannot handle Ctrl-C")
}

/// Runs `command` to its end; an error unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let (status, _) = spawn_and_wait(command, None)?;
    succeed(command, status)
}

/// Runs `command` for `limit` at most; an error unless it succeeds within it.
pub(crate) fn run_within(limit: Duration, command: &mut Command) -> Result<()> {
    let (status, _) = spawn_and_wait(command, Some(limit))?;
    succeed(command, status)
}

/// What `command` prints on its standard output within `limit`; an error unless it succeeds.
pub(crate) fn output_within(limit: Duration, command: &mut Command) -> Result<Vec<u8>> {
    let (status, printed) = spawn_and_wait(command.stdout(Stdio::piped()), Some(limit))?;
    succeed(command, status)?;
    Ok(printed)
}

/// Whether `command` succeeds within `limit`; it runs unseen.
pub(crate) fn succeeds_within(limit: Duration, command: &mut Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    spawn_and_wait(quiet, Some(limit)).is_ok_and(|(status, _)| status.success())
}

/// Whether `command` succeeds; it runs unseen, and a program that does not exist is a no.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// What `command` prints on its standard output; an error unless it succeeds.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot start {}", line(command)))?;
    succeed(command, output.status)?;
    Ok(output.stdout)
}

/// How `command` ended, and what it printed if its standard output is a pipe.
fn spawn_and_wait(command: &mut Command, limit: Option<Duration>) -> Result<(ExitStatus, Vec<u8>)> {
    println!("$ {}", line(command));
    own_group(command.stdin(Stdio::null()));
    let mut child = command.spawn().with_context(|| format!("cannot start {}", line(command)))?;
    let id = child.id();
    RUNNING.store(id, Ordering::SeqCst);

    let (ended, awaits_end) = mpsc::channel::<()>();
    let watchdog = limit.map(|limit| {
        thread::spawn(move || {
            let overdue = awaits_end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if overdue {
                end(id);
            }
            overdue
        })
    });
    let mut printed = Vec::new();
    // To its end, which whoever inherited the pipe may put off: the limit covers that, too.
    let read = child.stdout.take().map_or(Ok(0), |mut pipe| pipe.read_to_end(&mut printed));
    let status = child.wait();
    RUNNING.store(0, Ordering::SeqCst);
    drop(ended);

    let overdue = watchdog.is_some_and(|watchdog| watchdog.join().unwrap_or(true));
    if let (true, Some(limit)) = (overdue, limit) {
        bail!("{} did not end within {} s", line(command), limit.as_secs());
    }
    read.with_context(|| format!("cannot read what {} prints", line(command)))?;
    Ok((status.with_context(|| format!("cannot wait for {}", line(command)))?, printed))
}

fn succeed(command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("{} ended with {status}", line(command));
    }
    Ok(())
}

/// The command as one would type it.
fn line(command: &Command) -> String {
    let set = command.get_envs().filter_map(|(key, value)| {
        value.map(|value| format!("{}={}", key.to_string_lossy(), quoted(&value.to_string_lossy())))
    });
    let program = std::path::Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    let arguments = command.get_args().map(|argument| quoted(&argument.to_string_lossy()));
    set.chain([program]).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    if word.contains(char::is_whitespace) { format!("'{word}'") } else { word.to_owned() }
}

#[cfg(unix)]
fn own_group(command: &mut Command) {
    std::os::unix::process::CommandExt::process_group(command, 0);
}

#[cfg(not(unix))]
fn own_group(_command: &mut Command) {}

/// Ends the process group that `leader` leads: asks it first, and after a grace period kills what is left of it. A group
/// that is gone already is as good.
#[cfg(unix)]
#[allow(clippy::disallowed_methods, reason = "there is no executor here whose thread it could block")]
fn end(leader: u32) {
    use nix::sys::signal::{Signal, killpg};
    use nix::unistd::Pid;

    let Ok(leader @ 1..) = i32::try_from(leader) else { return };
    let group = Pid::from_raw(leader);
    let _gone_already = killpg(group, Signal::SIGTERM);
    let asked_at = Instant::now();
    while killpg(group, None).is_ok() {
        if asked_at.elapsed() >= GRACE {
            let _gone_by_now = killpg(group, Signal::SIGKILL);
            return;
        }
        thread::sleep(GLANCE);
    }
}

/// How long a process group may take to end when it is asked to.
#[cfg(unix)]
const GRACE: Duration = Duration::from_secs(5);

/// How often a process group that is ending is looked at.
#[cfg(unix)]
const GLANCE: Duration = Duration::from_millis(50);

#[cfg(not(unix))]
fn end(_leader: u32) {}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_ignores_the_request_to_terminate_is_killed_when_its_time_is_over() {
        let mut stubborn = Command::new("sh");
        stubborn.args(["-c", "trap '' TERM; sleep 60; sleep 60"]);
        let begin = Instant::now();

        let ended = run_within(Duration::from_millis(200), &mut stubborn);

        assert!(ended.unwrap_err().to_string().ends_with("did not end within 0 s"));
        assert!(begin.elapsed() < Duration::from_secs(50), "{:?}", begin.elapsed());
    }

    #[test]
    fn what_a_child_prints_is_kept() {
        let printed = output_within(Duration::from_secs(60), Command::new("sh").args(["-c", "echo hello"]));

        assert_eq!(printed.unwrap(), b"hello\n");
    }
}
