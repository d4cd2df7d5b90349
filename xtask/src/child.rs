//! Child processes: each is printed before it runs, inherits our output, and ends when we do.
//!
//! On Unix every child leads a process group of its own, so that a time limit or Ctrl-C ends what it started as well
//! (rustc, test binaries, QEMU). Elsewhere the console does that, and a time limit ends the child alone.

use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

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
    let status = spawn_and_wait(command, None)?;
    succeed(command, status)
}

/// Runs `command` for `limit` at most; an error unless it succeeds within it.
pub(crate) fn run_within(limit: Duration, command: &mut Command) -> Result<()> {
    let status = spawn_and_wait(command, Some(limit))?;
    succeed(command, status)
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

fn spawn_and_wait(command: &mut Command, limit: Option<Duration>) -> Result<ExitStatus> {
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
    let status = child.wait();
    RUNNING.store(0, Ordering::SeqCst);
    drop(ended);

    let overdue = watchdog.is_some_and(|watchdog| watchdog.join().unwrap_or(true));
    if let (true, Some(limit)) = (overdue, limit) {
        bail!("{} did not end within {} s", line(command), limit.as_secs());
    }
    status.with_context(|| format!("cannot wait for {}", line(command)))
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

/// Ends the process group that `leader` leads; a group that is gone already is as good.
#[cfg(unix)]
fn end(leader: u32) {
    use nix::sys::signal::{Signal, killpg};
    use nix::unistd::Pid;

    let Ok(leader @ 1..) = i32::try_from(leader) else { return };
    let _gone_already = killpg(Pid::from_raw(leader), Signal::SIGTERM);
}

#[cfg(not(unix))]
fn end(_leader: u32) {}
