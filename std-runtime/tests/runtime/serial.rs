//! Nodes over a serial line: two pseudo-terminals with the test between them, which passes the bytes on and can disturb them.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use hyphal::{Event, Node, Outgoing, Reason, SendOptions};
use rand_core::{Rng, SeedableRng};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tempfile::TempDir;
use tokio::io::unix::AsyncFd;
use tokio::task::AbortHandle;

use crate::pair::{builder, find, up, within};

/// A line between two devices. Each is a link in a directory, so that another device can take its place.
struct Line {
    directory: TempDir,
    /// Of a thousand bytes in each direction, how many are damaged.
    noise: Arc<AtomicU32>,
    task: AbortHandle,
}

impl Line {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let noise = Arc::new(AtomicU32::new(0));
        let task = connect(directory.path(), Arc::clone(&noise));
        Self { directory, noise, task }
    }

    /// The device at one end.
    fn endpoint(&self, end: &str) -> String {
        format!("serial://{}?baud=230400", self.directory.path().join(end).display())
    }

    /// Both devices vanish, as when a cable is unplugged.
    fn unplug(&self) {
        self.task.abort();
        for end in ENDS {
            std::fs::remove_file(self.directory.path().join(end)).unwrap();
        }
    }

    /// They are there again, as other devices.
    fn plug_in(&mut self) {
        self.task = connect(self.directory.path(), Arc::clone(&self.noise));
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const ENDS: [&str; 2] = ["left", "right"];

fn connect(directory: &Path, noise: Arc<AtomicU32>) -> AbortHandle {
    let [(left, left_device), (right, right_device)] = [terminal(), terminal()];
    for (end, device) in ENDS.iter().zip([left_device, right_device]) {
        std::os::unix::fs::symlink(device, directory.join(end)).unwrap();
    }
    tokio::spawn(async move {
        let ((left, _left_open), (right, _right_open)) = (left, right);
        tokio::join!(carry(&left, &right, &noise, 1), carry(&right, &left, &noise, 2));
    })
    .abort_handle()
}

type Terminal = (AsyncFd<OwnedFd>, OwnedFd);

/// A pseudo-terminal: its near side, its far side held open so that the near one does not end before somebody opens the
/// device, and the path of the device.
fn terminal() -> (Terminal, PathBuf) {
    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    rustix::io::ioctl_fionbio(&near, true).unwrap();
    grantpt(&near).unwrap();
    unlockpt(&near).unwrap();
    let device = PathBuf::from(ptsname(&near, Vec::new()).unwrap().into_string().unwrap());
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
    let open = rustix::fs::open(&device, flags, rustix::fs::Mode::empty()).unwrap();
    let mut settings = tcgetattr(&open).unwrap();
    settings.make_raw();
    tcsetattr(&open, OptionalActions::Now, &settings).unwrap();
    #[expect(deprecated, reason = "the descriptor is owned; the successor is unsafe for all others")]
    let near = AsyncFd::new(near).unwrap();
    ((near, open), device)
}

async fn carry(from: &AsyncFd<OwnedFd>, to: &AsyncFd<OwnedFd>, noise: &AtomicU32, seed: u64) {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut bytes = [0; 256];
    loop {
        let Ok(len) = act(from, true, |fd| Ok(rustix::io::read(fd, &mut bytes)?)).await else { return };
        for byte in &mut bytes[..len] {
            if rng.next_u32() % 1000 < noise.load(Relaxed) {
                *byte ^= 1 << (rng.next_u32() % 8);
            }
        }
        let mut rest = &bytes[..len];
        while !rest.is_empty() {
            let Ok(len) = act(to, false, |fd| Ok(rustix::io::write(fd, rest)?)).await else { return };
            rest = &rest[len..];
        }
    }
}

async fn act(
    fd: &AsyncFd<OwnedFd>,
    is_read: bool,
    mut act: impl FnMut(&OwnedFd) -> io::Result<usize>,
) -> io::Result<usize> {
    loop {
        let mut guard = if is_read { fd.readable().await? } else { fd.writable().await? };
        if let Ok(done) = guard.try_io(|fd| act(fd.get_ref())) {
            return done;
        }
    }
}

async fn pair(line: &Line) -> (Node, Node) {
    let left = builder().listen(line.endpoint("left")).start().await.unwrap();
    let mut events = left.events();
    let right = builder().peer(left.id(), line.endpoint("right")).start().await.unwrap();
    up(&mut events, right.id()).await;
    (left, right)
}

async fn exchange(from: &Node, to: &Node, count: u32) {
    let messages = (0..count).map(|number| Outgoing::new(1, number.to_be_bytes().repeat(20)));
    assert_eq!(within(from.send_batch(to.id(), messages)).await, Ok(u64::from(count)));
    let mut seen = vec![false; count as usize];
    for _ in 0..count {
        let message = within(to.recv()).await.unwrap();
        let number = u32::from_be_bytes(message.payload[..4].try_into().unwrap());
        assert!(!std::mem::replace(&mut seen[number as usize], true), "{number} came twice");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_both_ways_over_a_serial_line_and_noise_costs_none() {
    let line = Line::new();
    let (left, right) = pair(&line).await;
    exchange(&left, &right, 100).await;

    line.noise.store(1, Relaxed);
    exchange(&left, &right, 100).await;
    exchange(&right, &left, 100).await;

    assert!(!left.counters().strays.is_empty() || !right.counters().strays.is_empty());
    assert_eq!(left.counters().closed, []);
}

#[tokio::test]
async fn a_node_on_a_serial_line_says_that_it_ends_and_the_next_session_begins_at_once() {
    let line = Line::new();
    let (left, right) = pair(&line).await;
    let mut events = left.events();

    within(right.shutdown(Duration::ZERO)).await;
    let down = find(&mut events, |event| matches!(event, Event::PeerDown { .. })).await;
    let next = builder().peer(left.id(), line.endpoint("right")).start().await.unwrap();
    up(&mut events, next.id()).await;

    assert_eq!(down, Event::PeerDown { peer: right.id(), reason: Reason::Shutdown });
    next.send_direct(left.id(), 1, "hello", SendOptions::default()).await.unwrap();
    assert_eq!(within(left.recv()).await.unwrap().payload, "hello");
}

#[tokio::test]
async fn a_dialler_that_vanished_without_a_word_can_come_again_at_once() {
    let line = Line::new();
    let (left, right) = pair(&line).await;
    let mut events = left.events();

    drop(right);
    let next = builder().peer(left.id(), line.endpoint("right")).start().await.unwrap();
    up(&mut events, next.id()).await;

    exchange(&next, &left, 10).await;
}

#[tokio::test]
async fn a_device_that_goes_away_is_opened_again_when_it_is_back() {
    let mut line = Line::new();
    let (left, right) = pair(&line).await;
    let mut events = left.events();

    line.unplug();
    find(&mut events, |event| matches!(event, Event::PeerDown { .. })).await;
    line.plug_in();
    up(&mut events, right.id()).await;

    exchange(&right, &left, 10).await;
}

#[tokio::test]
async fn what_is_no_serial_device_is_refused_at_the_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let endpoint = format!("serial://{}", file.path().display());

    let error = builder().listen(endpoint).start().await.unwrap_err().to_string();

    assert!(error.contains("it is no serial device"), "{error}");
}
