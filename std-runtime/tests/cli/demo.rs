//! The demo with its real processes: it accounts for every message, and leaves nothing behind however it ends.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::home::Home;

#[test]
fn the_demo_accounts_for_every_message_and_leaves_no_file() {
    let home = Home::new();
    let temporary = home.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();

    let ran = home.hyphal_with(&[("TMPDIR", temporary.to_str().unwrap())], &["demo", "--json"]);

    assert_eq!(ran.code, Some(0), "{ran:?}");
    let account: Value = serde_json::from_str(&ran.out).unwrap();
    let fields: BTreeSet<_> = account.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, BTreeSet::from(FIELDS));
    let count = |field: &str| account[field].as_u64().unwrap();
    assert_eq!((count("lost"), count("duplicates")), (0, 0), "{account}");
    assert_eq!((count("sealed_and_signed"), count("guaranteed_lost")), (2, 0), "{account}");
    assert!(count("guaranteed") >= 400, "{account}");
    let settled = ["delivered", "expired", "dropped", "unconfirmed", "lost"].map(count);
    assert_eq!(count("sent"), settled.iter().sum::<u64>(), "{account}");
    assert_eq!(count("expired"), 4 * 8, "eight messages of each of the four that live: {account}");
    for measured in ["rtt_p50_us", "rtt_p99_us", "critical_wait_p99_us", "detect_ms", "reconnect_ms"] {
        assert!(account[measured].as_f64().unwrap() > 0.0, "{measured}: {account}");
    }
    assert_eq!(account["transports"], serde_json::json!(["tcp", "tcp", "tcp", "udp", "tcp"]));
    for told in ["Suspect", "Down", "the breaker for node 2 is open", "connected with it again"] {
        assert!(ran.err.contains(told), "{told}: {}", ran.err);
    }
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
}

const FIELDS: [&str; 18] = [
    "sent",
    "delivered",
    "expired",
    "dropped",
    "unconfirmed",
    "lost",
    "duplicates",
    "repeated",
    "sealed_and_signed",
    "guaranteed",
    "guaranteed_lost",
    "guaranteed_repeated",
    "rtt_p50_us",
    "rtt_p99_us",
    "critical_wait_p99_us",
    "detect_ms",
    "reconnect_ms",
    "transports",
];

/// How it ends before its time; processes are found in /proc.
#[cfg(target_os = "linux")]
mod interrupted {
    use std::io::{BufRead, BufReader};
    use std::path::PathBuf;
    use std::process::{Child, Command, Stdio};
    use std::sync::mpsc;
    use std::time::Duration;

    use rustix::process::{Pid, Signal, kill_process};

    use crate::home::Home;

    #[test]
    fn after_ctrl_c_no_process_and_no_file_of_the_demo_is_left() {
        let mut demo = Running::start();
        assert!(demo.nodes() >= FEWEST);

        demo.signal(Signal::INT);

        assert_eq!(demo.child.wait().unwrap().code(), Some(130));
        assert_eq!(demo.nodes(), 0);
        assert_eq!(demo.files(), 0);
    }

    #[test]
    fn the_nodes_of_a_demo_that_was_killed_end_and_clear_up() {
        let mut demo = Running::start();
        assert!(demo.nodes() >= FEWEST);

        demo.signal(Signal::KILL);
        demo.child.wait().unwrap();

        // The nodes have their standard error from the demo: it ends with the last of them.
        assert_eq!(demo.silence.recv_timeout(Duration::from_secs(20)), Ok(()));
        assert_eq!(demo.files(), 0);
    }

    /// A demo whose nodes are connected.
    struct Running {
        child: Child,
        temporary: PathBuf,
        /// Told when nobody can write to the standard error of the demo any more.
        silence: mpsc::Receiver<()>,
        _home: Home,
    }

    impl Running {
        fn start() -> Self {
            let home = Home::new();
            let temporary = home.path().join("tmp");
            std::fs::create_dir(&temporary).unwrap();
            let mut child = Command::new(env!("CARGO_BIN_EXE_hyphal"))
                .arg("demo")
                .env("TMPDIR", &temporary)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
            assert!(told.any(|line| line.unwrap().contains("authenticated and encrypted")));
            // Read on, so that the demo is not stopped by a full pipe.
            let (silent, silence) = mpsc::channel();
            std::thread::spawn(move || {
                told.for_each(drop);
                let _ = silent.send(());
            });
            Self { child, temporary, silence, _home: home }
        }

        /// The processes of the demo beside the first one, its orphans included: they alone have its directory in their
        /// environment, and those that have ended have none.
        fn nodes(&self) -> usize {
            let mark = format!("TMPDIR={}", self.temporary.display());
            let is_marked = |environment: &[u8]| {
                environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
            };
            let others = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
                let pid: u32 = entry.unwrap().file_name().to_str()?.parse().ok()?;
                (pid != self.child.id()).then_some(pid)
            });
            let environments = others.filter_map(|pid| std::fs::read(format!("/proc/{pid}/environ")).ok());
            environments.filter(|environment| is_marked(environment)).count()
        }

        fn signal(&self, signal: Signal) {
            kill_process(Pid::from_child(&self.child), signal).unwrap();
        }

        fn files(&self) -> usize {
            std::fs::read_dir(&self.temporary).unwrap().count()
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            // It has ended already unless the test failed.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    /// Of five nodes, one is killed and started again while the demo goes on.
    const FEWEST: usize = 4;
}
