//! Files that appear complete or not at all, and what differs between operating systems about them.
//!
//! A draft is written beside its place, synced and renamed. Who may read it, and what is in it, is not decided here.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use tempfile::NamedTempFile;

/// The directory of a file, which is the working directory for a bare name.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Puts a finished draft, which lies in the same directory, in its place. One that exists is kept, as
/// [`AlreadyExists`](io::ErrorKind::AlreadyExists), unless `replaces`.
pub(crate) fn place(draft: NamedTempFile, path: &Path, replaces: bool) -> io::Result<()> {
    draft.as_file().sync_all()?;
    let placed = if replaces { draft.persist(path) } else { draft.persist_noclobber(path) };
    placed.map_err(|refused| refused.error)?;
    sync_directory(directory_of(path))
}

/// Makes a directory for its owner only, if it is missing, and those above it.
#[cfg(unix)]
pub(crate) fn create_directory(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

#[cfg(not(unix))]
pub(crate) fn create_directory(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)
}

/// Opens a file at once: without `O_NONBLOCK` a named pipe in its place would hold the process until somebody opens the other end.
#[cfg(unix)]
pub(crate) fn open_at_once(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    options.custom_flags(flags).open(path)
}

#[cfg(not(unix))]
pub(crate) fn open_at_once(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    options.open(path)
}

/// A renamed file is in its place after a crash only once its directory is synced.
#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}
