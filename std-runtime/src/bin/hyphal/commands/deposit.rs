//! Payloads in files, one for each message, in a directory that a person chose.
//!
//! A file has its name only once it is whole: until then it is a temporary one, which goes with whoever writes it. Where
//! Guaranteed messages are taken it outlives a loss of power by then: their sender is told that they never come again. Names are
//! made of the source and the message's id alone; nothing that a peer writes can choose a path.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyphal::{MessageId, NodeId};
use tempfile::NamedTempFile;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use crate::output::{Exit, Failure};

/// The directory.
#[derive(Clone, Debug)]
pub(crate) struct Deposit {
    directory: Arc<Path>,
    is_synced: bool,
}

/// A whole file.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) path: PathBuf,
    pub(crate) len: u64,
}

impl Deposit {
    /// Takes a directory, made if there is none. `is_synced`: files wait for the disk, which takes some milliseconds each.
    pub(crate) fn open(directory: &Path, is_synced: bool) -> Result<Self, Failure> {
        std::fs::create_dir_all(directory).map_err(|error| unwritable(directory, &error))?;
        Ok(Self { directory: directory.into(), is_synced })
    }

    /// Begins a file.
    pub(crate) fn begin(&self) -> Result<Unfinished, Failure> {
        let begun = || {
            let file = tempfile::Builder::new().prefix(".").suffix(".part").tempfile_in(&self.directory)?;
            let writer = File::from_std(file.as_file().try_clone()?);
            Ok(Unfinished { deposit: self.clone(), file, writer, len: 0 })
        };
        begun().map_err(|error| unwritable(&self.directory, &error))
    }

    /// Writes a whole payload.
    pub(crate) async fn store(
        &self,
        source: NodeId,
        id: MessageId,
        payload: &[u8],
    ) -> Result<Stored, Failure> {
        let mut file = self.begin()?;
        file.write(payload).await?;
        file.finish(source, id).await
    }
}

/// A file that grows. It is removed when it goes before it was finished.
#[derive(Debug)]
pub(crate) struct Unfinished {
    deposit: Deposit,
    file: NamedTempFile,
    writer: File,
    len: u64,
}

impl Unfinished {
    /// Appends bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.writer.write_all(bytes).await;
        written.map_err(|error| unwritable(&self.deposit.directory, &error))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Gives the file its name. One of an earlier arrival of the same message is replaced.
    pub(crate) async fn finish(mut self, source: NodeId, id: MessageId) -> Result<Stored, Failure> {
        let Deposit { directory, is_synced } = self.deposit;
        let failed = |error: std::io::Error| unwritable(&directory, &error);
        self.writer.flush().await.map_err(failed)?;
        if is_synced {
            self.writer.sync_all().await.map_err(failed)?;
        }
        let path = directory.join(format!("{source}-{id}"));
        self.file.persist(&path).map_err(|refused| failed(refused.error))?;
        if is_synced {
            sync_directory(&directory).await.map_err(failed)?;
        }
        Ok(Stored { path, len: self.len })
    }
}

/// A renamed file is in its place after a loss of power only once its directory is synced.
#[cfg(unix)]
async fn sync_directory(directory: &Path) -> std::io::Result<()> {
    File::open(directory).await?.sync_all().await
}

#[cfg(not(unix))]
async fn sync_directory(_: &Path) -> std::io::Result<()> {
    Ok(())
}

fn unwritable(directory: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("cannot write to {}: {error}", directory.display()),
        "check the directory, its permissions and its free space, or pass another one with --output",
    )
}
