//! The built command in a world of its own: an empty home, no variables of whoever runs the tests.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use socket2::{Domain, Socket, Type};

use crate::process::Process;

/// A home directory that is removed at the end.
pub(crate) struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file below the home directory, in its place: who watches it may find it empty first.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Replaces a file below the home directory: who watches it finds the old text or the new one, and nothing in between.
    pub(crate) fn replace(&self, name: &str, text: &str) {
        let beside = self.write(&format!("{name}.new"), text);
        std::fs::rename(beside, self.path().join(name)).unwrap();
    }

    pub(crate) fn hyphal(&self, arguments: &[&str]) -> Ran {
        self.hyphal_with(&[], arguments)
    }

    /// Runs the command with these variables beside `HOME` and `PATH`.
    pub(crate) fn hyphal_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let output =
            self.command(arguments).envs(variables.iter().copied()).stdin(Stdio::null()).output().unwrap();
        Ran::new(&output)
    }

    /// The command, not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hyphal"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(self.path());
        command
    }

    /// Starts a command that goes on running.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        Process::start(&mut self.command(arguments))
    }

    /// Makes the key `NAME.key` and gives its id.
    pub(crate) fn keygen(&self, name: &str) -> String {
        let made = self.hyphal(&["keygen", "--out", &format!("{name}.key")]);
        assert_eq!(made.code, Some(0), "{made:?}");
        made.out.trim().to_owned()
    }

    /// Starts `hyphal listen` with a fresh key on a free port; gives it and its address.
    pub(crate) fn listen(&self, arguments: &[&str]) -> (Process, String) {
        let listener = self.start(&[&LISTEN, arguments].concat());
        let address = listener.err_after("listening on ");
        (listener, address)
    }

    /// The same with its standard output in a file.
    pub(crate) fn listen_into(&self, file: &Path, arguments: &[&str]) -> (Process, String) {
        let file = std::fs::File::create(file).unwrap();
        let listener = Process::start_into(&mut self.command(&[&LISTEN, arguments].concat()), file);
        let address = listener.err_after("listening on ");
        (listener, address)
    }
}

const LISTEN: [&str; 4] = ["listen", "--ephemeral-key", "--listen", "127.0.0.1:0"];

/// A port of this machine where nobody listens, nor can while this lives: whoever connects is refused.
pub(crate) struct DeafPort {
    socket: Socket,
}

impl DeafPort {
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        Self { socket }
    }

    /// The address of a peer of this id that would listen here.
    pub(crate) fn address_of(&self, id: &str) -> String {
        format!("{id}@{}", self.socket.local_addr().unwrap().as_socket().unwrap())
    }
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn new(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}
