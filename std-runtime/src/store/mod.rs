//! What outlives this process: Guaranteed messages on their way out, and what has come in of every peer's lanes.
//!
//! One file in one directory, held by one process. A thread of its own writes: whatever was asked for while it synced goes into the next
//! commit together, so many messages share one sync. A commit is whole or not there, whenever the process or the
//! machine stops. The store knows nothing of sessions and makes no decisions about lanes.
//!
//! Invariant: what a [`Durable`] has answered with `Ok` is on the disk (`fdatasync`, `F_FULLFSYNC` on Apple) and is there
//! after any restart; what it answered with an error is not accepted, and may be on the disk or not.

mod database;
mod error;
mod file;
mod numbers;
mod room;
mod rows;
#[cfg(test)]
mod tests;
mod writer;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyphal_core::ids::{NodeId, Priority};
use hyphal_core::time::UnixTime;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use self::database::{Lease, Loaded, Opened};
pub use self::error::{StoreError, StoreFailure};
use self::file::{Access, Disk};
use self::numbers::Numbers;
pub use self::numbers::{StoreCounters, StoreHoldings, StoreState};
use self::room::Rooms;
pub(crate) use self::writer::Answer;
use self::writer::{Operation, Settled, Shared, Writer};

/// Whether there is a store of the node `own` in `directory`, and none of another node, of a newer release, damaged at its beginning,
/// or in use. Changes nothing; that the rest of it is whole is seen when a node starts with it.
///
/// # Errors
/// [`StoreError`] says what is wrong and what to do.
pub fn inspect_store(directory: &Path, own: NodeId) -> Result<bool, StoreError> {
    file::inspect(directory, own)
}

/// The open store. Clones share it; the last one to go closes it as [`close`](Self::close) does.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    handle: Arc<Handle>,
}

/// What the store may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreLimits {
    /// Bytes of messages on their way out, each counted with 512 bytes more at most.
    pub(crate) bytes: u64,
    /// Receive lanes; beyond them the least recently used one is forgotten.
    pub(crate) receive_lanes: usize,
}

/// The other node and the class of a lane: the target of a send lane, the source of a receive lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LaneKey {
    pub(crate) node: NodeId,
    pub(crate) class: Priority,
}

/// A lane of this node as it is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredSendLane {
    pub(crate) key: LaneKey,
    pub(crate) epoch: u64,
    /// All numbers below are settled.
    pub(crate) base: u64,
    /// Nothing from here on was ever sent; 1 at first. May lie beyond `next`.
    pub(crate) fresh: u64,
    /// The number after the last one that was accepted; 1 at first. It survives the removal of that message.
    pub(crate) next: u64,
}

/// What has come in of a peer's lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredReceiveLane {
    pub(crate) key: LaneKey,
    pub(crate) epoch: u64,
    /// Of numbers below, nobody knows whether they came.
    pub(crate) since: u64,
    /// All numbers from `since` on and below have come.
    pub(crate) base: u64,
    /// Which of the numbers from `base` on have come. What a bit stands for is the lane's business.
    pub(crate) window: [u64; 16],
}

/// A Guaranteed message between its acceptance and its end. Its lane has the target and the class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredMessage {
    /// The message type; 0 if `full`.
    pub(crate) kind: u16,
    /// Seconds to live from `accepted_at` on; 0 = for ever.
    pub(crate) ttl: u32,
    pub(crate) accepted_at: UnixTime,
    /// The payload is an envelope in canonical form.
    pub(crate) full: bool,
    pub(crate) payload: Bytes,
}

/// Room for one message, held from [`Store::reserve`] to [`Store::append`]. Dropped, it is free again.
#[derive(Debug)]
pub(crate) struct Room {
    stored: OwnedSemaphorePermit,
    /// Counts while the message waits for the disk.
    queued: OwnedSemaphorePermit,
}

/// Resolves when the write is on the disk, or has failed. Dropping it changes nothing: the write goes on.
#[derive(Debug)]
pub(crate) struct Durable(oneshot::Receiver<Result<(), StoreFailure>>);

impl Durable {
    /// What waits for a write that is yet to be asked for, and what that is answered with. Resolves with
    /// [`Closed`](StoreFailure::Closed) if it never is.
    pub(crate) fn asked() -> (Answer, Self) {
        let (answer, answered) = oneshot::channel();
        (answer, Self(answered))
    }
}

impl Future for Durable {
    type Output = Result<(), StoreFailure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(StoreFailure::Closed)))
    }
}

impl Store {
    /// Opens the store in `directory`, which is made (mode 0700) if it is missing. Reads the whole file and checks its
    /// checksums, so it blocks for as long as the disk takes.
    ///
    /// # Errors
    /// [`StoreError`] says what is wrong and what to do.
    pub(crate) fn open(directory: &Path, own: NodeId, limits: StoreLimits) -> Result<Self, StoreError> {
        let initialise = |disk| database::initialise(disk, directory);
        let (path, disk) = file::open(directory, own, initialise)?;
        Self::open_on(disk, path, limits, writer::RETRY_AFTER)
    }

    fn open_on(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        limits: StoreLimits,
        retry_after: Duration,
    ) -> Result<Self, StoreError> {
        let (lease, leases) = Lease::new();
        let opened = Opened::open(Access::new(disk.clone()), lease.clone(), &path)?;
        let Loaded { index, taken, messages } = opened.load(&path)?;
        let file_bytes = disk.len().map_err(|error| StoreError::io(&path, "open", error))?;
        let numbers = Numbers::new(messages, file_bytes);
        let shared = Arc::new(Shared::new(Rooms::new(limits.bytes, taken), index, opened, numbers));
        let leases = (lease, leases);
        let writer =
            Writer::new(shared.clone(), disk, leases, path.clone(), limits.receive_lanes, retry_after);
        let thread = std::thread::Builder::new().name("hyphal-store".to_owned());
        thread.spawn(move || writer.run()).map_err(|error| StoreError::io(&path, "start writing", error))?;
        Ok(Self { handle: Arc::new(Handle { shared }) })
    }

    /// This node's lanes, as they are on the disk now.
    pub(crate) fn send_lanes(&self) -> Vec<StoredSendLane> {
        self.handle.shared.index().send.values().copied().collect()
    }

    /// The receive lanes, as they are on the disk now.
    #[cfg(test)]
    pub(crate) fn receive_lanes(&self) -> Vec<StoredReceiveLane> {
        self.handle.shared.index().receive.values().map(|received| received.lane).collect()
    }

    /// One receive lane, as it is on the disk now. `None` if it never was there, or was forgotten for others.
    pub(crate) fn receive_lane(&self, lane: LaneKey) -> Option<StoredReceiveLane> {
        self.handle.shared.index().receive.get(&lane).map(|received| received.lane)
    }

    /// Begins a lane with `base`, `fresh` and `next` 1. One of the same key is replaced, with its messages. Appends may follow at
    /// once: they become durable with it or after it, never before.
    pub(crate) fn open_lane(&self, lane: LaneKey, epoch: u64) -> Durable {
        self.push(|answer| Operation::Open { lane, epoch, answer })
    }

    /// Removes a lane with all its messages, if it is of this epoch; this happens with one of the next commits. A full disk delays it
    /// until there is room, or until the store is opened again: then the lane is there still, unless the last try at
    /// [`close`](Self::close) has succeeded.
    pub(crate) fn close_lane(&self, lane: LaneKey, epoch: u64) {
        self.handle.shared.push(Operation::Close { lane, epoch });
    }

    /// Room for a message with a payload of `bytes`, if there is some now and nobody waits.
    ///
    /// # Errors
    /// [`Full`](StoreFailure::Full), [`TooLong`](StoreFailure::TooLong), [`Closed`](StoreFailure::Closed).
    pub(crate) fn try_reserve(&self, bytes: usize) -> Result<Room, StoreFailure> {
        self.handle.shared.rooms.try_reserve(bytes)
    }

    /// Room for a message with a payload of `bytes`, as soon as there is some; first come, first served.
    ///
    /// # Errors
    /// [`TooLong`](StoreFailure::TooLong), [`Closed`](StoreFailure::Closed).
    pub(crate) async fn reserve(&self, bytes: usize) -> Result<Room, StoreFailure> {
        self.handle.shared.rooms.reserve(bytes).await
    }

    /// Accepts a message. `Ok` of the [`Durable`] that waits for the answer is what the application may be told as accepted. The
    /// caller gives numbers in rising order from 1 on; a number whose append failed is left out, or given again as it never left
    /// this node.
    pub(crate) fn append(
        &self,
        room: Room,
        lane: LaneKey,
        number: u64,
        message: StoredMessage,
        answer: Answer,
    ) {
        self.handle.shared.push(Operation::Append { lane, number, message, room, answer });
    }

    /// The durable messages of a lane from number `from` on, in order: at most `max_messages`, and no more once their
    /// payloads exceed `max_bytes` (so at least one, if there is one). Includes what was settled but is not removed yet.
    ///
    /// # Errors
    /// [`DiskFull`](StoreFailure::DiskFull) while a full disk cannot even be read, [`Broken`](StoreFailure::Broken) if it does not give
    /// messages back as they were, [`Closed`](StoreFailure::Closed).
    pub(crate) async fn read(
        &self,
        lane: LaneKey,
        from: u64,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<Vec<(u64, StoredMessage)>, StoreFailure> {
        let shared = &self.handle.shared;
        loop {
            // What a failed commit may have left lies beyond.
            let Some(next) = shared.index().send.get(&lane).map(|lane| lane.next) else {
                return Ok(Vec::new());
            };
            let database = shared.database()?;
            let read = {
                let database = database.clone();
                move || database.read(lane, from..next, max_messages, max_bytes)
            };
            match tokio::task::spawn_blocking(read).await {
                Ok(Ok(messages)) => return Ok(messages),
                // The runtime shuts down.
                Err(_) => return Err(StoreFailure::Closed),
                Ok(Err(error)) => {
                    // A failed write meanwhile has ended the reads too; the store may have been opened anew.
                    let current = shared.database()?;
                    if Arc::ptr_eq(&current, &database) {
                        tracing::error!("a message cannot be read from the store: {error}");
                        shared.numbers.handle_failed_read(StoreFailure::Broken);
                        return Err(StoreFailure::Broken);
                    }
                }
            }
        }
    }

    /// Everything below `base`, and `numbers`, has come to its end and may be removed; this happens with one of the next commits.
    /// What a crash undoes of it is only sent again.
    pub(crate) fn settle(&self, lane: LaneKey, base: u64, numbers: &[u64]) {
        let settled = Settled { base, numbers: numbers.iter().copied().collect() };
        self.handle.shared.push(Operation::Settle { lane, settled });
    }

    /// Raises `fresh` of a lane, if it is of this epoch and its `fresh` is less. What was asked for before, removals too, is on the disk
    /// when this is.
    pub(crate) fn mark(&self, lane: LaneKey, epoch: u64, fresh: u64) -> Durable {
        self.push(|answer| Operation::Mark { lane, epoch, fresh, answer })
    }

    /// Keeps what has come in of a lane; a new lane may push out the least recently used one. The newest state of a lane wins, and all
    /// who wait for an older one are answered with it.
    pub(crate) fn save_arrivals(&self, arrivals: StoredReceiveLane) -> Durable {
        let (answer, durable) = Durable::asked();
        self.handle.shared.save(arrivals, answer);
        durable
    }

    /// What was done since the store was opened.
    pub(crate) fn counters(&self) -> StoreCounters {
        self.handle.shared.numbers.counters()
    }

    /// What there is at the moment.
    pub(crate) fn holdings(&self) -> StoreHoldings {
        let Shared { rooms, numbers, .. } = &*self.handle.shared;
        let index = self.handle.shared.index();
        StoreHoldings {
            bytes: rooms.taken(),
            limit: rooms.limit(),
            send_lanes: index.send.len() as u64,
            receive_lanes: index.receive.len() as u64,
            ..numbers.holdings()
        }
    }

    /// A sender was told that there is no room for its message.
    pub(crate) fn count_full(&self) {
        self.handle.shared.numbers.handle_refused(StoreFailure::Full, 1);
    }

    /// Commits what was asked for, tries once more what a full disk has kept from being removed, closes the file and releases it to others. All later calls answer
    /// [`Closed`](StoreFailure::Closed).
    pub(crate) async fn close(&self) {
        self.handle.shared.begin_close();
        let mut closed = self.handle.shared.closed();
        // An error would mean that the sender is gone, which this handle holds.
        let _ = closed.wait_for(|closed| *closed).await;
    }

    fn push(&self, operation: impl FnOnce(Answer) -> Operation) -> Durable {
        let (answer, durable) = Durable::asked();
        self.handle.shared.push(operation(answer));
        durable
    }
}

/// Ends the thread when nobody has the store any more.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.begin_close();
    }
}
