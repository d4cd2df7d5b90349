//! Why a store was not opened, and why a write to an open one failed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use hyphal_core::ids::NodeId;

/// Why the store of Guaranteed messages was not opened. Nothing in it has been changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process, or another node of this process, has the store open.
    Locked {
        /// The store's directory.
        directory: PathBuf,
    },
    /// What is in the file is damaged, or no store.
    Corrupt {
        /// The store's file.
        file: PathBuf,
        /// Where it was noticed.
        damage: String,
    },
    /// A newer release wrote the store.
    Newer {
        /// The store's file.
        file: PathBuf,
        /// The version of its format.
        found: u32,
        /// The newest version that this release reads.
        known: u32,
    },
    /// The store belongs to another node: its lanes continue that node's numbers, so nobody else can use it.
    OtherNode {
        /// The store's directory.
        directory: PathBuf,
        /// Whose store it is.
        found: NodeId,
        /// Who asked for it.
        own: NodeId,
    },
    /// The path, or what lies above it, is a file.
    NotADirectory {
        /// The path.
        directory: PathBuf,
    },
    /// The user who runs the process may not use it.
    Permission {
        /// The directory or file.
        path: PathBuf,
        /// What was tried, as a verb: "open", "make".
        doing: &'static str,
    },
    /// The disk has no room for the store.
    DiskFull {
        /// The store's file.
        file: PathBuf,
    },
    /// The operating system refused otherwise.
    Io {
        /// The directory or file.
        path: PathBuf,
        /// What was tried, as a verb: "open", "make".
        doing: &'static str,
        /// The system's answer.
        error: io::Error,
    },
}

impl StoreError {
    /// What a person does about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Locked { .. } => {
                "stop the other process, or give this node a directory of its own (store.directory)".to_owned()
            }
            Self::Corrupt { file, .. } => format!(
                "check the disk; to go on without what the store held, move {} away: its messages are lost, and peers \
                 may deliver again what they sent before",
                file.display()
            ),
            Self::Newer { .. } => "use the release of hyphal that wrote it, or a newer one".to_owned(),
            Self::OtherNode { .. } => {
                "use the identity key of that node, or give this node a directory of its own (store.directory)"
                    .to_owned()
            }
            Self::NotADirectory { .. } => "name a directory with store.directory".to_owned(),
            Self::Permission { path, .. } => {
                format!("let the user who runs the node read and write {}", path.display())
            }
            Self::DiskFull { .. } => "make room on the disk, or choose another directory (store.directory)".to_owned(),
            Self::Io { path, .. } => format!("check that you may use {} and that its disk works", path.display()),
        }
    }

    pub(super) fn io(path: &Path, doing: &'static str, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                Self::NotADirectory { directory: path }
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Permission { path, doing }
            }
            _ if is_full(&error) => Self::DiskFull { file: path },
            _ => Self::Io { path, doing, error },
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { directory } => {
                write!(f, "the store {} is in use by another process", directory.display())
            }
            Self::Corrupt { file, damage } => write!(f, "the store {} is damaged: {damage}", file.display()),
            Self::Newer { file, found, known } => write!(
                f,
                "the store {} has format {found}, and this release reads up to format {known}",
                file.display()
            ),
            Self::OtherNode { directory, found, own } => {
                write!(f, "the store {} belongs to node {found}, and this is node {own}", directory.display())
            }
            Self::NotADirectory { directory } => {
                write!(f, "the store {} is not a directory", directory.display())
            }
            Self::Permission { path, doing } => {
                write!(f, "cannot {doing} the store {}: permission denied", path.display())
            }
            Self::DiskFull { file } => {
                write!(f, "cannot write the store {}: the disk is full", file.display())
            }
            Self::Io { path, doing, error } => {
                write!(f, "cannot {doing} the store {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// Why the open store did not keep or give something. What it acknowledged before is untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreFailure {
    /// The store holds as many bytes as it may: wait until peers have acknowledged, or raise `store.bytes`.
    Full,
    /// The message alone is larger than what the store may hold: raise `store.bytes`.
    TooLong,
    /// The disk is full; the store tries again by itself, so make room.
    DiskFull,
    /// The disk fails. Nothing is accepted until the node is started anew; the log has what the system said.
    Broken,
    /// The lane was not opened, or has been closed.
    NoLane,
    /// The store has been closed.
    Closed,
}

impl StoreFailure {
    /// All of them, in order.
    pub(super) const ALL: [Self; 6] =
        [Self::Full, Self::TooLong, Self::DiskFull, Self::Broken, Self::NoLane, Self::Closed];

    /// The name as it stands in the numbers of a node.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "Full",
            Self::TooLong => "TooLong",
            Self::DiskFull => "DiskFull",
            Self::Broken => "Broken",
            Self::NoLane => "NoLane",
            Self::Closed => "Closed",
        }
    }
}

impl fmt::Display for StoreFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the store is full; wait until peers have acknowledged, or raise store.bytes",
            Self::TooLong => "the message is larger than the whole store; raise store.bytes",
            Self::DiskFull => "the disk of the store is full; make room on it",
            Self::Broken => {
                "the disk of the store fails; see the log, and start the node anew when it is repaired"
            }
            Self::NoLane => "the lane is not open",
            Self::Closed => "the store has been closed",
        })
    }
}

impl std::error::Error for StoreFailure {}

/// Whether room on the disk, in the quota or under the size limit would help.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
