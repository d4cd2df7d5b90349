//! The database in the file: what it holds, and how one batch changes it. Everything here blocks.
//!
//! A batch is one transaction: all of it is there, or nothing. The caller keeps an [`Index`] of what is there and changes it
//! only by what a commit has returned.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, mpsc};

use redb::{Database, ReadableDatabase, ReadableTable, Table};

use super::error::StoreError;
use super::file::{Access, Disk};
use super::room;
use super::rows::{self, LaneBytes, MESSAGES, RECEIVE_LANES, SEND_LANES};
use super::writer::{Batch, Operation};
use super::{LaneKey, StoredMessage, StoredReceiveLane, StoredSendLane};

/// Pages that are kept in memory. The system caches the file too; this is for the inner pages of the trees and the batch.
const CACHE: usize = 4 * 1024 * 1024;

/// Makes the database of a new file.
pub(super) fn initialise(disk: Arc<dyn Disk>, path: &Path) -> Result<(), StoreError> {
    let make = || {
        let database = builder().create_with_backend(Access::new(disk))?;
        let transaction = database.begin_write()?;
        transaction.open_table(SEND_LANES)?;
        transaction.open_table(MESSAGES)?;
        transaction.open_table(RECEIVE_LANES)?;
        transaction.commit()?;
        database.close()?;
        Ok(())
    };
    make().map_err(|error| not_opened(error, path, "make"))
}

/// What the store holds, but for the messages themselves.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) send: BTreeMap<LaneKey, StoredSendLane>,
    pub(super) receive: BTreeMap<LaneKey, Received>,
    /// The receive lanes by when they were last used, the oldest first.
    by_use: BTreeMap<u64, LaneKey>,
}

/// What was found in a database.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) index: Index,
    /// Units that its messages take.
    pub(super) taken: u64,
    pub(super) messages: u64,
}

/// A receive lane with the moment of its last use, a number that grows with each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    pub(super) lane: StoredReceiveLane,
    last_used: u64,
}

/// What a commit has changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    send: BTreeMap<LaneKey, Option<StoredSendLane>>,
    receive: BTreeMap<LaneKey, Option<Received>>,
    /// Units of the messages that were removed.
    pub(super) freed: u64,
    pub(super) appended: u64,
    pub(super) removed: u64,
    /// Receive lanes that made room for others.
    pub(super) forgotten: u64,
    /// The places in the batch of operations whose lane was not open, in order.
    pub(super) refused: Vec<usize>,
}

impl Index {
    pub(super) fn apply(&mut self, changes: &Changes) {
        for (key, lane) in &changes.send {
            match lane {
                Some(lane) => self.send.insert(*key, *lane),
                None => self.send.remove(key),
            };
        }
        for (key, received) in &changes.receive {
            let before = match received {
                Some(received) => {
                    self.by_use.insert(received.last_used, *key);
                    self.receive.insert(*key, *received)
                }
                None => self.receive.remove(key),
            };
            if let Some(before) = before {
                self.by_use.remove(&before.last_used);
            }
        }
    }

    /// Whether the lane is there, in its life of this epoch.
    pub(super) fn is_of(&self, lane: LaneKey, epoch: u64) -> bool {
        self.send.get(&lane).is_some_and(|lane| lane.epoch == epoch)
    }

    fn next_use(&self) -> u64 {
        self.by_use.last_key_value().map_or(0, |(last, _)| last.saturating_add(1))
    }
}

/// An open database and what it sees of the disk.
#[derive(Debug)]
pub(super) struct Opened {
    database: Database,
    access: Access,
    /// Goes last, when nothing else of this has the disk.
    _lease: Lease,
}

/// Whoever has a database open has a clone of this, and its [`Leases`] know when there is none left.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    _held: mpsc::Sender<Infallible>,
}

/// The databases of one disk: one that writes, and those given up that somebody still reads.
#[derive(Debug)]
pub(super) struct Leases(mpsc::Receiver<Infallible>);

impl Lease {
    pub(super) fn new() -> (Self, Leases) {
        let (lease, leases) = mpsc::channel();
        (Self { _held: lease }, Leases(leases))
    }
}

impl Leases {
    /// Returns when all are closed.
    pub(super) fn await_end(self) {
        // An error is the end of all senders, and nothing can be sent.
        let _ = self.0.recv();
    }
}

impl Opened {
    /// Opens the database, checking every page of it, and repairs it after a crash.
    pub(super) fn open(access: Access, lease: Lease, path: &Path) -> Result<Self, StoreError> {
        let open = || builder().set_check_integrity_on_open(true).create_with_backend(access.clone());
        match unpanicked(|| Ok(open()?)) {
            Ok(database) => Ok(Self { database, access, _lease: lease }),
            Err(error) => Err(not_opened(error, path, "open")),
        }
    }

    /// What the database holds.
    pub(super) fn load(&self, path: &Path) -> Result<Loaded, StoreError> {
        unpanicked(|| self.try_load()).map_err(|error| not_opened(error, path, "read"))
    }

    fn try_load(&self) -> Result<Loaded, redb::Error> {
        let transaction = self.database.begin_read()?;
        let mut index = Index::default();
        for row in transaction.open_table(SEND_LANES)?.iter()? {
            let (key, row) = row?;
            let lane = rows::send_lane(key.value(), row.value()).ok_or_else(damaged)?;
            index.send.insert(lane.key, lane);
        }
        for row in transaction.open_table(RECEIVE_LANES)?.iter()? {
            let (key, row) = row?;
            let (lane, last_used) = rows::receive_lane(key.value(), row.value()).ok_or_else(damaged)?;
            index.receive.insert(lane.key, Received { lane, last_used });
            index.by_use.insert(last_used, lane.key);
        }
        let (mut taken, mut messages) = (0, 0);
        for row in transaction.open_table(MESSAGES)?.iter()? {
            let (key, row) = row?;
            let (lane, number) = key.value();
            let lane = rows::lane_of(lane).and_then(|key| index.send.get(&key)).ok_or_else(damaged)?;
            if !(lane.base..lane.next).contains(&number) {
                return Err(damaged());
            }
            taken += units_of(row.value());
            messages += 1;
        }
        Ok(Loaded { index, taken, messages })
    }

    /// Writes a batch; when this returns, it is on the disk.
    pub(super) fn commit(
        &self,
        index: &Index,
        receive_lanes: usize,
        batch: &Batch,
    ) -> Result<Changes, redb::Error> {
        unpanicked(|| {
            let transaction = self.database.begin_write()?;
            let mut change = Change {
                index,
                send: transaction.open_table(SEND_LANES)?,
                messages: transaction.open_table(MESSAGES)?,
                receive: transaction.open_table(RECEIVE_LANES)?,
                changes: Changes::default(),
            };
            change.operations(&batch.operations)?;
            change.arrivals(batch, receive_lanes)?;
            let changes = change.finish()?;
            transaction.commit()?;
            Ok(changes)
        })
    }

    /// Makes the database agree with the index: it may hold a commit that it reported as failed.
    pub(super) fn reconcile(&self, index: &Index) -> Result<(), redb::Error> {
        unpanicked(|| {
            let Loaded { index: found, .. } = self.try_load()?;
            if found.send == index.send {
                return Ok(());
            }
            let transaction = self.database.begin_write()?;
            {
                let mut lanes = transaction.open_table(SEND_LANES)?;
                let mut messages = transaction.open_table(MESSAGES)?;
                for key in found.send.keys() {
                    let bytes = rows::lane_bytes(*key);
                    let next = index.send.get(key).map_or(0, |lane| lane.next);
                    messages.retain_in((&bytes, next)..=(&bytes, u64::MAX), |_, _| false)?;
                    match index.send.get(key) {
                        Some(lane) => lanes.insert(&bytes, &rows::send_row(lane))?,
                        None => lanes.remove(&bytes)?,
                    };
                }
            }
            transaction.commit()?;
            Ok(())
        })
    }

    pub(super) fn read(
        &self,
        lane: LaneKey,
        numbers: Range<u64>,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<Vec<(u64, StoredMessage)>, redb::Error> {
        unpanicked(|| {
            let messages = self.database.begin_read()?.open_table(MESSAGES)?;
            let bytes = rows::lane_bytes(lane);
            let mut found = Vec::new();
            let mut size = 0;
            for row in messages.range((&bytes, numbers.start)..(&bytes, numbers.end))? {
                if found.len() >= max_messages || size >= max_bytes {
                    break;
                }
                let (key, row) = row?;
                let number = key.value().1;
                let message = rows::message(&bytes, number, row.value()).ok_or_else(damaged)?;
                size += message.payload.len();
                found.push((number, message));
            }
            Ok(found)
        })
    }

    /// The disk as the database sees it.
    pub(super) fn access(&self) -> &Access {
        &self.access
    }
}

/// One transaction under way.
struct Change<'a> {
    index: &'a Index,
    send: Table<'a, &'static LaneBytes, &'static [u8; 32]>,
    messages: Table<'a, (&'static LaneBytes, u64), &'static [u8]>,
    receive: Table<'a, &'static LaneBytes, &'static [u8; 160]>,
    changes: Changes,
}

impl Change<'_> {
    fn operations(&mut self, operations: &[Operation]) -> Result<(), redb::Error> {
        for (place, operation) in operations.iter().enumerate() {
            let is_known = match operation {
                Operation::Open { lane, epoch, .. } => self.open(*lane, *epoch)?,
                Operation::Close { lane, epoch } => self.close(*lane, *epoch)?,
                Operation::Append { lane, number, message, .. } => self.append(*lane, *number, message)?,
                Operation::Mark { lane, epoch, fresh, .. } => self.mark(*lane, *epoch, *fresh),
                Operation::Settle { lane, settled } => self.settle(*lane, settled.base, &settled.numbers)?,
            };
            if !is_known {
                self.changes.refused.push(place);
            }
        }
        Ok(())
    }

    fn lane(&self, key: LaneKey) -> Option<StoredSendLane> {
        match self.changes.send.get(&key) {
            Some(changed) => *changed,
            None => self.index.send.get(&key).copied(),
        }
    }

    fn open(&mut self, key: LaneKey, epoch: u64) -> Result<bool, redb::Error> {
        self.remove(key, 0..u64::MAX)?;
        self.changes.send.insert(key, Some(StoredSendLane { key, epoch, base: 1, fresh: 1, next: 1 }));
        Ok(true)
    }

    fn close(&mut self, key: LaneKey, epoch: u64) -> Result<bool, redb::Error> {
        if self.lane(key).is_some_and(|lane| lane.epoch == epoch) {
            self.remove(key, 0..u64::MAX)?;
            self.changes.send.insert(key, None);
        }
        Ok(true)
    }

    fn append(&mut self, key: LaneKey, number: u64, message: &StoredMessage) -> Result<bool, redb::Error> {
        let Some(mut lane) = self.lane(key) else { return Ok(false) };
        let bytes = rows::lane_bytes(key);
        if number < lane.next {
            self.remove(key, number..number.saturating_add(1))?;
        }
        let length = rows::HEAD + message.payload.len();
        let mut row = self.messages.insert_reserve((&bytes, number), length)?;
        rows::write_message(row.as_mut(), &bytes, number, message);
        lane.next = lane.next.max(number.saturating_add(1));
        self.changes.send.insert(key, Some(lane));
        self.changes.appended += 1;
        Ok(true)
    }

    fn mark(&mut self, key: LaneKey, epoch: u64, fresh: u64) -> bool {
        let Some(mut lane) = self.lane(key).filter(|lane| lane.epoch == epoch) else { return false };
        lane.fresh = lane.fresh.max(fresh);
        self.changes.send.insert(key, Some(lane));
        true
    }

    fn settle<'n>(
        &mut self,
        key: LaneKey,
        base: u64,
        numbers: impl IntoIterator<Item = &'n u64>,
    ) -> Result<bool, redb::Error> {
        let Some(mut lane) = self.lane(key) else { return Ok(true) };
        if base > lane.base {
            let base = base.min(lane.next);
            self.remove(key, lane.base..base)?;
            lane.base = base;
            self.changes.send.insert(key, Some(lane));
        }
        for number in numbers {
            self.remove(key, *number..number.saturating_add(1))?;
        }
        Ok(true)
    }

    fn remove(&mut self, key: LaneKey, numbers: Range<u64>) -> Result<(), redb::Error> {
        let bytes = rows::lane_bytes(key);
        let range = (&bytes, numbers.start)..(&bytes, numbers.end);
        for removed in self.messages.extract_from_if(range, |_, _| true)? {
            let (_, row) = removed?;
            self.changes.freed += units_of(row.value());
            self.changes.removed += 1;
        }
        Ok(())
    }

    fn arrivals(&mut self, batch: &Batch, limit: usize) -> Result<(), redb::Error> {
        let mut count = self.index.receive.len();
        for (last_used, (key, arrival)) in (self.index.next_use()..).zip(&batch.arrivals) {
            let was_known = self.index.receive.contains_key(key);
            self.changes.receive.insert(*key, Some(Received { lane: arrival.lane, last_used }));
            count += usize::from(!was_known);
        }
        // Of those that were there before; what this batch saves is younger than all of them.
        let oldest = self.index.by_use.values().filter(|key| !batch.arrivals.contains_key(key));
        for key in oldest.take(count.saturating_sub(limit)) {
            self.changes.receive.insert(*key, None);
            self.changes.forgotten += 1;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Changes, redb::Error> {
        for (key, lane) in &self.changes.send {
            let bytes = rows::lane_bytes(*key);
            match lane {
                Some(lane) => self.send.insert(&bytes, &rows::send_row(lane))?,
                None => self.send.remove(&bytes)?,
            };
        }
        for (key, received) in &self.changes.receive {
            let bytes = rows::lane_bytes(*key);
            match received {
                Some(received) => {
                    self.receive.insert(&bytes, &rows::receive_row(&received.lane, received.last_used))?
                }
                None => self.receive.remove(&bytes)?,
            };
        }
        Ok(self.changes)
    }
}

fn units_of(row: &[u8]) -> u64 {
    room::units(row.len().saturating_sub(rows::HEAD))
}

fn builder() -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE);
    builder
}

fn damaged() -> redb::Error {
    redb::Error::Corrupted("a row is not as it was written".to_owned())
}

/// The database says of most damage what it is, but where it takes its pages for its own it may panic. Whoever wrote the file, that must
/// not end the node.
fn unpanicked<T>(run: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        Err(redb::Error::Corrupted("the database met something that it never writes".to_owned()))
    })
}

fn not_opened(error: redb::Error, path: &Path, doing: &'static str) -> StoreError {
    match error {
        redb::Error::Io(error)
            if !matches!(
                error.kind(),
                std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof
            ) =>
        {
            StoreError::io(path, doing, error)
        }
        redb::Error::Corrupted(damage) => StoreError::Corrupt { file: path.to_owned(), damage },
        other => StoreError::Corrupt { file: path.to_owned(), damage: other.to_string() },
    }
}
