//! The key log: a file from which whoever owns it can decrypt recordings of this node's sessions, for the search of faults.
//!
//! Opt-in, and as secret as the traffic itself. Invariant: keys are only ever written to a regular file that nobody but its
//! owner can read.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use hyphal_core::session::SessionKeys;
use zeroize::Zeroizing;

/// An open key log.
#[derive(Debug)]
pub(crate) struct KeyLog {
    file: Mutex<File>,
}

impl KeyLog {
    /// Opens the file for appending, or makes it with mode 0600.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        let file = options.open(path)?;
        check_access(&file)?;
        Ok(Self { file: Mutex::new(file) })
    }

    /// Appends a line for each direction of a session, in one write.
    pub(crate) fn write(&self, keys: &SessionKeys) -> io::Result<()> {
        let mut lines = Zeroizing::new(Vec::with_capacity(256));
        for (sender, key) in [("initiator", keys.initiator()), ("responder", keys.responder())] {
            write!(lines, "HYPHAL_KEY {:016x} {sender} {} ", keys.frame_id(), keys.cipher().name())?;
            key.iter().try_for_each(|byte| write!(lines, "{byte:02x}"))?;
            lines.push(b'\n');
        }
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&lines)
    }
}

/// Looks at the open file, not at the path: nobody can exchange it in between.
fn check_access(file: &File) -> io::Result<()> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "another user owns it"));
        }
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            let text = format!("its mode {mode:04o} lets others at it");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn a_new_key_log_is_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.log");

        KeyLog::open(&path).unwrap();

        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    }

    #[test]
    fn a_file_that_others_can_read_or_write_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.log");
        fs::write(&path, "").unwrap();

        for mode in [0o640, 0o604, 0o620, 0o602, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(KeyLog::open(&path).unwrap_err().kind(), io::ErrorKind::PermissionDenied, "{mode:o}");
        }
        assert!(KeyLog::open(directory.path()).is_err(), "a directory is no log");
    }
}
