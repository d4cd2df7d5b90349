//! How much of the store is taken, and how much of it waits for the disk: who wants more waits in line.
//!
//! Counted in units, so that the line holds for stores of any size. What a message takes depends on its length only, so
//! its removal gives back exactly what it took, also after a restart.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Room;
use super::error::StoreFailure;

/// Bytes of a unit, and what a message costs beside its payload: keys, its part of the tree's pages, rounding.
pub(super) const UNIT: usize = 256;
/// Units that may wait in memory for the disk; one message may be more. 16 MiB are a fifth of a second of a slow disk.
const QUEUE: u32 = 16 * 1024 * 1024 / UNIT as u32;

#[derive(Debug)]
pub(super) struct Rooms {
    limit: u32,
    stored: Arc<Semaphore>,
    queued: Arc<Semaphore>,
    /// By how much the store was over its limit when it was opened: what is given back goes here first.
    debt: Mutex<u64>,
}

impl Rooms {
    /// The rooms of a store in which `taken` units are taken already.
    pub(super) fn new(bytes: u64, taken: u64) -> Self {
        let limit = u32::try_from(bytes / UNIT as u64).unwrap_or(u32::MAX);
        let limit = limit.min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        let free = u64::from(limit).saturating_sub(taken);
        Self {
            limit,
            stored: Arc::new(Semaphore::new(usize::try_from(free).unwrap_or(0))),
            queued: Arc::new(Semaphore::new(QUEUE as usize)),
            debt: Mutex::new(taken.saturating_sub(u64::from(limit))),
        }
    }

    pub(super) async fn reserve(&self, bytes: usize) -> Result<Room, StoreFailure> {
        let (units, queued) = self.ask(bytes)?;
        let closed = |_| StoreFailure::Closed;
        let stored = self.stored.clone().acquire_many_owned(units).await.map_err(closed)?;
        let queued = self.queued.clone().acquire_many_owned(queued).await.map_err(closed)?;
        Ok(Room { stored, queued })
    }

    pub(super) fn try_reserve(&self, bytes: usize) -> Result<Room, StoreFailure> {
        let (units, queued) = self.ask(bytes)?;
        let refused = |error| match error {
            tokio::sync::TryAcquireError::Closed => StoreFailure::Closed,
            tokio::sync::TryAcquireError::NoPermits => StoreFailure::Full,
        };
        let stored = self.stored.clone().try_acquire_many_owned(units).map_err(refused)?;
        let queued = self.queued.clone().try_acquire_many_owned(queued).map_err(refused)?;
        Ok(Room { stored, queued })
    }

    pub(super) fn give_back(&self, units: u64) {
        let mut debt = self.debt.lock().unwrap_or_else(PoisonError::into_inner);
        let paid = units.min(*debt);
        *debt -= paid;
        self.stored.add_permits(usize::try_from(units - paid).unwrap_or(0));
    }

    /// The most bytes that can be taken.
    pub(super) fn limit(&self) -> u64 {
        u64::from(self.limit) * UNIT as u64
    }

    /// Bytes that are taken or promised.
    pub(super) fn taken(&self) -> u64 {
        let debt = *self.debt.lock().unwrap_or_else(PoisonError::into_inner);
        let free = u64::try_from(self.stored.available_permits()).unwrap_or(u64::MAX);
        (u64::from(self.limit).saturating_sub(free) + debt) * UNIT as u64
    }

    /// Everyone who waits, and whoever comes, hears that the store is closed.
    pub(super) fn close(&self) {
        self.stored.close();
        self.queued.close();
    }

    /// The units of a message, and those of them that count while it waits for the disk.
    fn ask(&self, bytes: usize) -> Result<(u32, u32), StoreFailure> {
        match u32::try_from(units(bytes)) {
            Ok(units) if units <= self.limit => Ok((units, units.min(QUEUE))),
            _ => Err(StoreFailure::TooLong),
        }
    }
}

/// Keeps the room of a message that is on the disk.
pub(super) fn keep(room: Room) {
    let Room { stored, queued } = room;
    stored.forget();
    drop::<OwnedSemaphorePermit>(queued);
}

/// Units of a message with a payload of this length.
pub(super) fn units(bytes: usize) -> u64 {
    (bytes.div_ceil(UNIT) + 1) as u64
}
