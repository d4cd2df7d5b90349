//! The store's file: who may open it, whose it is, and the disk below the database.
//!
//! ```text
//! offset  bytes  header, once, never rewritten
//!      0     16  "hyphal store\r\n\x1a\n"
//!     16      4  version of the format, little-endian
//!     20     32  id of the node whose store it is
//!     52      4  CRC-32 (ISO-HDLC) of the 52 bytes before
//!   4096      -  a redb database
//! ```
//! The header is read before anything else, so that a store of another node or release is known as such, and not as damage.
//! The file appears complete or not at all: it is made beside its place, synced and then renamed.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crc::{CRC_32_ISO_HDLC, Crc};
use hyphal_core::ids::NodeId;

use super::error::{StoreError, is_full};
use crate::disk;

/// The name of the file in the store's directory.
const NAME: &str = "guaranteed.store";
/// The version of the format that this release writes and reads: of the header, of the database and of its rows.
pub(super) const FORMAT: u32 = 1;
/// Where the database begins. A whole page, so that the database's pages stay aligned.
pub(super) const HEADER: u64 = 4096;

const MAGIC: [u8; 16] = *b"hyphal store\r\n\x1a\n";
const CHECKED: usize = 52;
pub(super) const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// Opens the file of the store in `directory` and locks it; makes both if they are missing. `initialise` gets the disk of a
/// new file, and what it has written is there when the file appears.
pub(super) fn open(
    directory: &Path,
    own: NodeId,
    initialise: impl Fn(Arc<dyn Disk>) -> Result<(), StoreError>,
) -> Result<(PathBuf, Arc<dyn Disk>), StoreError> {
    let path = directory.join(NAME);
    disk::create_directory(directory).map_err(|error| StoreError::io(directory, "make", error))?;
    // Whoever loses a race for the new file opens that of the other, who has it locked.
    let file = match open_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(directory, &path, own, initialise)?;
            open_file(&path)
        }
        other => other,
    }
    .map_err(|error| StoreError::io(&path, "open", error))?;
    let disk = claim(file, directory, &path, own)?;
    Ok((path, disk))
}

/// Whether there is a store in `directory` that `own` could open now, as far as its header tells. Changes nothing.
pub(super) fn inspect(directory: &Path, own: NodeId) -> Result<bool, StoreError> {
    let path = directory.join(NAME);
    match open_file(&path) {
        Ok(file) => claim(file, directory, &path, own).map(|_| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(StoreError::io(directory, "open", error))
        }
        Err(error) => Err(StoreError::io(&path, "open", error)),
    }
}

/// Locks the file and looks at whose it is.
pub(super) fn claim(
    file: File,
    directory: &Path,
    path: &Path,
    own: NodeId,
) -> Result<Arc<dyn Disk>, StoreError> {
    let metadata = file.metadata().map_err(|error| StoreError::io(path, "open", error))?;
    if !metadata.is_file() {
        let damage = "it is not a regular file".to_owned();
        return Err(StoreError::Corrupt { file: path.to_owned(), damage });
    }
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { directory: directory.to_owned() }),
        Err(TryLockError::Error(error)) => return Err(StoreError::io(path, "lock", error)),
    }
    let disk = Arc::new(StoreFile(Mutex::new(file)));
    let found = read_header(&*disk, path)?;
    if found != own {
        return Err(StoreError::OtherNode { directory: directory.to_owned(), found, own });
    }
    Ok(disk)
}

/// The bytes below the database; a file, or in tests one that fails.
pub(super) trait Disk: fmt::Debug + Send + Sync + 'static {
    fn len(&self) -> io::Result<u64>;
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Returns when all that was written would survive the loss of power.
    fn sync(&self) -> io::Result<()>;
}

/// The file itself.
#[derive(Debug)]
struct StoreFile(Mutex<File>);

impl StoreFile {
    fn file(&self) -> MutexGuard<'_, File> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StoreFile {
    fn drop(&mut self) {
        // A process that is being started from this one has the file, too, for a moment, and would keep the lock.
        let _ = self.file().unlock();
    }
}

impl Disk for StoreFile {
    fn len(&self) -> io::Result<u64> {
        self.file().metadata().map(|metadata| metadata.len())
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut file = self.file();
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(bytes)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.file();
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file().set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file().sync_data()
    }
}

/// What one opened database sees of the disk. When that one is given up, it is cut off: another may have the disk.
#[derive(Clone, Debug)]
pub(super) struct Access {
    disk: Arc<dyn Disk>,
    state: Arc<AccessState>,
}

#[derive(Debug, Default)]
struct AccessState {
    is_cut_off: AtomicBool,
    fault: AtomicU8,
}

/// What went wrong below a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A write found no room. What was there before is there still.
    Full,
    /// The disk is not to be trusted any more. After a failed sync this is so even if the next one succeeds: the system may have dropped
    /// what it could not write, and say so once only.
    Broken,
}

impl Access {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, state: Arc::default() }
    }

    /// Ends all access to the disk, also of reads under way.
    pub(super) fn cut_off(&self) {
        self.state.is_cut_off.store(true, Ordering::SeqCst);
    }

    /// The worst that has happened so far.
    pub(super) fn fault(&self) -> Option<Fault> {
        match self.state.fault.load(Ordering::SeqCst) {
            0 => None,
            FULL => Some(Fault::Full),
            _ => Some(Fault::Broken),
        }
    }

    fn check(&self) -> io::Result<()> {
        if self.state.is_cut_off.load(Ordering::SeqCst) {
            return Err(io::Error::other("the store was opened anew"));
        }
        Ok(())
    }

    fn note<T>(&self, result: io::Result<T>, fault: impl Fn(&io::Error) -> u8) -> io::Result<T> {
        if let Err(error) = &result {
            self.state.fault.fetch_max(fault(error), Ordering::SeqCst);
        }
        result
    }
}

const FULL: u8 = 1;
const BROKEN: u8 = 2;

impl redb::StorageBackend for Access {
    fn len(&self) -> io::Result<u64> {
        self.check()?;
        self.note(self.disk.len(), |_| BROKEN).map(|len| len.saturating_sub(HEADER))
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.check()?;
        self.note(self.disk.read(HEADER + offset, bytes), |_| BROKEN)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.note(self.disk.set_len(HEADER + len), write_fault)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.note(self.disk.sync(), |_| BROKEN)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.check()?;
        self.note(self.disk.write(HEADER + offset, bytes), write_fault)
    }
}

fn write_fault(error: &io::Error) -> u8 {
    if is_full(error) { FULL } else { BROKEN }
}

fn create(
    directory: &Path,
    path: &Path,
    own: NodeId,
    initialise: impl Fn(Arc<dyn Disk>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let failed = |error| StoreError::io(path, "make", error);
    // Created with O_EXCL and mode 0600.
    let draft = tempfile::Builder::new().prefix(".store-").tempfile_in(directory).map_err(failed)?;
    let file = draft.as_file();
    let mut header = [0; HEADER as usize];
    let checked = checked_header(own, FORMAT);
    header[..CHECKED].copy_from_slice(&checked);
    header[CHECKED..CHECKED + 4].copy_from_slice(&CHECKSUM.checksum(&checked).to_le_bytes());
    let disk = Arc::new(StoreFile(Mutex::new(file.try_clone().map_err(failed)?)));
    disk.write(0, &header).map_err(failed)?;
    initialise(disk)?;
    match disk::place(draft, path, false) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        placed => placed.map_err(failed),
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    disk::open_at_once(OpenOptions::new().read(true).write(true), path)
}

fn checked_header(own: NodeId, format: u32) -> [u8; CHECKED] {
    let mut bytes = [0; CHECKED];
    bytes[..16].copy_from_slice(&MAGIC);
    bytes[16..20].copy_from_slice(&format.to_le_bytes());
    bytes[20..].copy_from_slice(own.as_bytes());
    bytes
}

fn read_header(disk: &dyn Disk, path: &Path) -> Result<NodeId, StoreError> {
    let damaged = |damage: &str| StoreError::Corrupt { file: path.to_owned(), damage: damage.to_owned() };
    let mut bytes = [0; HEADER as usize];
    match disk.read(0, &mut bytes) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(damaged("it is shorter than its header"));
        }
        Err(error) => return Err(StoreError::io(path, "read", error)),
    }
    if bytes[..16] != MAGIC {
        return Err(damaged("it does not begin as a store does"));
    }
    if CHECKSUM.checksum(&bytes[..CHECKED]).to_le_bytes() != bytes[CHECKED..CHECKED + 4] {
        return Err(damaged("the checksum of its header does not match"));
    }
    let mut format = [0; 4];
    format.copy_from_slice(&bytes[16..20]);
    let found = u32::from_le_bytes(format);
    if found > FORMAT {
        return Err(StoreError::Newer { file: path.to_owned(), found, known: FORMAT });
    }
    let mut node = [0; NodeId::LEN];
    node.copy_from_slice(&bytes[20..CHECKED]);
    Ok(NodeId::from_bytes(node))
}
