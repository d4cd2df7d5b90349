//! Passphrases typed at a terminal: it shows none of them, and is as before when somebody interrupts the question.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::home::Home;

#[test]
fn a_passphrase_is_asked_for_twice_and_never_shown() {
    let home = Home::new();
    home.keygen("own");
    let mut terminal =
        Terminal::running(&home, &["key", "backup", "--key", "own.key", "--out", "own.backup"]);

    for question in ["Passphrase: ", "Passphrase again: "] {
        terminal.read_to(question);
        terminal.await_silence();
        terminal.type_in(b"six words nobody puts together\n");
    }

    let (status, _) = terminal.await_end();
    let shown = terminal.end();
    assert_eq!(status.code(), Some(0), "{shown}");
    assert!(!shown.contains("six words"), "{shown}");
    let backup = std::fs::read_to_string(home.path().join("own.backup")).unwrap();
    assert!(backup.starts_with("hyphal-backup-v1\n"), "{backup}");
}

#[test]
fn whoever_interrupts_the_question_finds_his_terminal_and_his_files_as_they_were() {
    let home = Home::new();
    home.keygen("own");
    home.write("passphrase", "six words nobody puts together\n");
    let backup =
        ["key", "backup", "--key", "own.key", "--passphrase-file", "passphrase", "--out", "old.backup"];
    assert_eq!(home.hyphal(&backup).code, Some(0));
    let cases: [(&[&str], &str); 2] = [
        (&["key", "backup", "--key", "own.key", "--out", "new"], "Passphrase: "),
        (&["key", "restore", "old.backup", "--out", "new"], "Passphrase: "),
    ];
    for (arguments, question) in cases {
        let mut terminal = Terminal::running(&home, arguments);
        terminal.read_to(question);
        terminal.await_silence();

        terminal.type_in(b"half of it\x03");

        let (status, echo) = terminal.await_end();
        let shown = terminal.end();
        assert_eq!((status.code(), echo), (Some(130), true), "{arguments:?}: {shown}");
        assert!(shown.contains("nothing was written"), "{shown}");
        assert!(!shown.contains("half of it") && !home.path().join("new").exists(), "{shown}");
    }
}

/// A command on a terminal of its own.
struct Terminal {
    keyboard: File,
    /// The end that the command has, for a look at how it is set.
    line: File,
    shown: String,
    screen: Receiver<Vec<u8>>,
    child: Child,
}

impl Terminal {
    fn running(home: &Home, arguments: &[&str]) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let path = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
        // A terminal of the command, not of the test, nor of what other tests start meanwhile.
        let line: File =
            rustix::fs::open(path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
                .unwrap()
                .into();
        let own = home.command(arguments);
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).arg(own.get_program()).args(arguments);
        command.env_clear().env("HOME", home.path()).current_dir(home.path());
        command.stdin(line.try_clone().unwrap());
        command.stdout(line.try_clone().unwrap()).stderr(line.try_clone().unwrap());
        let child = command.spawn().unwrap();
        drop(command);
        let keyboard = File::from(keyboard);
        let (sender, screen) = channel();
        let mut reader = keyboard.try_clone().unwrap();
        thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(len @ 1..) = reader.read(&mut bytes) {
                if sender.send(bytes[..len].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { keyboard, line, shown: String::new(), screen, child }
    }

    /// Waits until the terminal shows this.
    fn read_to(&mut self, text: &str) {
        while !self.shown.contains(text) {
            let bytes = self.screen.recv_timeout(PATIENCE);
            self.shown +=
                &String::from_utf8_lossy(&bytes.unwrap_or_else(|_| panic!("{text}: {}", self.shown)));
        }
    }

    /// Waits until the terminal shows nothing of what is typed.
    fn await_silence(&self) {
        let until = std::time::Instant::now() + PATIENCE;
        while self.has_echo() {
            assert!(std::time::Instant::now() < until, "the terminal still shows what is typed");
            thread::yield_now();
        }
    }

    fn type_in(&mut self, bytes: &[u8]) {
        self.keyboard.write_all(bytes).unwrap();
    }

    fn has_echo(&self) -> bool {
        tcgetattr(&self.line).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    /// Waits for the end of the command; says whether the terminal shows what is typed then.
    fn await_end(&mut self) -> (ExitStatus, bool) {
        (self.child.wait().unwrap(), self.has_echo())
    }

    /// All that the terminal has shown.
    fn end(mut self) -> String {
        // With its last holder the line ends, and so does the reader.
        drop(self.line);
        while let Ok(bytes) = self.screen.recv_timeout(PATIENCE) {
            self.shown += &String::from_utf8_lossy(&bytes);
        }
        self.shown
    }
}

/// Longer than anything takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);
