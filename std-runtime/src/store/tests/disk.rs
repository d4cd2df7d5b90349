//! Disks that fail as told: they fill up, fail to sync, stop while they sync, and lose power.

use std::io;
use std::sync::{Condvar, Mutex};

use rand_core::Rng;

use super::super::file::Disk;

/// A disk in memory. What was not synced is lost with the power, but for a part that nobody chooses.
#[derive(Debug, Default)]
pub(super) struct TestDisk {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug)]
struct State {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<Step>,
    /// Writes beyond this length find no room.
    room: usize,
    syncs_fail: bool,
    reads_fail: bool,
    /// Syncs wait.
    is_held: bool,
    waiting: usize,
    /// Reads wait.
    are_reads_held: bool,
    reads_waiting: usize,
    /// Writes and syncs until the power is lost.
    power: Option<u32>,
}

#[derive(Clone, Debug)]
enum Step {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

/// What a disk writes at once.
const SECTOR: usize = 512;

impl Default for State {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            synced: Vec::new(),
            unsynced: Vec::new(),
            room: usize::MAX,
            syncs_fail: false,
            reads_fail: false,
            is_held: false,
            waiting: 0,
            are_reads_held: false,
            reads_waiting: 0,
            power: None,
        }
    }
}

impl TestDisk {
    /// A disk that holds these bytes.
    pub(super) fn holding(bytes: Vec<u8>) -> Self {
        let state = State { synced: bytes.clone(), bytes, ..State::default() };
        Self { state: Mutex::new(state), wake: Condvar::new() }
    }

    /// From now on there is room for this many bytes more than there are.
    pub(super) fn leave_room(&self, bytes: usize) {
        let mut state = self.state.lock().unwrap();
        state.room = state.bytes.len().saturating_add(bytes);
    }

    /// From now on no write finds room, wherever it goes.
    pub(super) fn refuse_writes(&self) {
        self.state.lock().unwrap().room = 0;
    }

    pub(super) fn fail_syncs(&self, fail: bool) {
        self.state.lock().unwrap().syncs_fail = fail;
    }

    pub(super) fn fail_reads(&self) {
        self.state.lock().unwrap().reads_fail = true;
    }

    /// Holds all syncs, or lets them go on.
    pub(super) fn hold_syncs(&self, hold: bool) {
        self.state.lock().unwrap().is_held = hold;
        self.wake.notify_all();
    }

    /// Returns when a sync is held.
    pub(super) fn await_held_sync(&self) {
        let state = self.state.lock().unwrap();
        drop(self.wake.wait_while(state, |state| state.waiting == 0).unwrap());
    }

    /// Holds all reads, or lets them go on.
    pub(super) fn hold_reads(&self, hold: bool) {
        self.state.lock().unwrap().are_reads_held = hold;
        self.wake.notify_all();
    }

    /// Returns when a read is held.
    pub(super) fn await_held_read(&self) {
        let state = self.state.lock().unwrap();
        drop(self.wake.wait_while(state, |state| state.reads_waiting == 0).unwrap());
    }

    /// The power goes after this many more writes and syncs.
    pub(super) fn lose_power_after(&self, operations: u32) {
        self.state.lock().unwrap().power = Some(operations);
    }

    /// What is on the disk when the power comes back: all that was synced, and any sectors of the rest.
    pub(super) fn after_power_loss(&self, rng: &mut impl Rng) -> Vec<u8> {
        let state = self.state.lock().unwrap();
        let mut bytes = state.synced.clone();
        for step in &state.unsynced {
            match step {
                Step::Length(length) if rng.next_u32().is_multiple_of(2) => bytes.resize(*length, 0),
                Step::Length(_) => {}
                Step::Write { offset, bytes: written } => {
                    for (place, sector) in written.chunks(SECTOR).enumerate() {
                        if rng.next_u32().is_multiple_of(2) {
                            put(&mut bytes, offset + place * SECTOR, sector);
                        }
                    }
                }
            }
        }
        bytes
    }

    /// All bytes as they are read.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.state.lock().unwrap().bytes.clone()
    }
}

impl State {
    fn spend_power(&mut self) -> io::Result<()> {
        match &mut self.power {
            Some(0) => Err(io::Error::other("no power")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Disk for TestDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.reads_waiting += 1;
        self.wake.notify_all();
        let mut state = self.wake.wait_while(state, |state| state.are_reads_held).unwrap();
        state.reads_waiting -= 1;
        if state.reads_fail {
            return Err(io::Error::other("a sector cannot be read"));
        }
        let from = offset as usize;
        let found = state.bytes.get(from..from + bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(found);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.spend_power()?;
        let offset = offset as usize;
        if offset + bytes.len() > state.room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        put(&mut state.bytes, offset, bytes);
        state.unsynced.push(Step::Write { offset, bytes: bytes.to_vec() });
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        // As with files, a hole takes no room.
        let mut state = self.state.lock().unwrap();
        state.spend_power()?;
        state.bytes.resize(len as usize, 0);
        state.unsynced.push(Step::Length(len as usize));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.waiting += 1;
        self.wake.notify_all();
        let mut state = self.wake.wait_while(state, |state| state.is_held).unwrap();
        state.waiting -= 1;
        state.spend_power()?;
        if state.syncs_fail {
            return Err(io::Error::other("the disk fails"));
        }
        state.synced = state.bytes.clone();
        state.unsynced.clear();
        Ok(())
    }
}

fn put(image: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[offset..end].copy_from_slice(bytes);
}
