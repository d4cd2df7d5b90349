//! The thread that writes. What is asked for while it syncs waits together and goes into the next commit.
//!
//! ```text
//!            commit                   a write found no room
//!   Good ◀──────────── Full ◀────────────────────────────── Good
//!     │                 │ every second: opened anew
//!     │ a sync or read failed, or what is there is damaged
//!     ▼                 ▼
//!   Broken, until the store is opened by another process or node
//! ```
//! After a failed sync nobody knows what is on the disk: the system may have dropped what it could not write. So nothing
//! follows it. A full disk has refused before anything was lost, so the store goes on when there is room.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use super::database::{Index, Lease, Leases, Opened};
use super::error::StoreFailure;
use super::file::{Access, Disk, Fault};
use super::numbers::{Numbers, StoreState};
use super::room::{self, Rooms};
use super::{LaneKey, Room, StoredMessage, StoredReceiveLane};

/// Bytes of messages in one commit. More would not make the sync cheaper, only later.
const BATCH: usize = 4 * 1024 * 1024;
/// How long removals wait for something to go with.
const REMOVE_AFTER: Duration = Duration::from_millis(50);
/// How long after a write that found no room the next one is tried.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What callers and the thread share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) rooms: Rooms,
    /// The thread alone writes to it, and reads it while it syncs.
    index: RwLock<Index>,
    pending: Mutex<Pending>,
    wake: Condvar,
    current: Mutex<Current>,
    /// Becomes true when the file is closed.
    closed: watch::Sender<bool>,
    pub(super) numbers: Numbers,
}

/// What readers get.
#[derive(Debug)]
enum Current {
    Open(Arc<Opened>),
    Failed(StoreFailure),
}

#[derive(Debug, Default)]
struct Pending {
    operations: Vec<Operation>,
    arrivals: BTreeMap<LaneKey, Arrival>,
    /// Somebody waits for an answer to one of these.
    is_urgent: bool,
    /// Removals whose commit failed.
    kept_back: BTreeMap<LaneKey, KeptBack>,
    is_closing: bool,
}

/// What goes into one commit.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// In the order in which they were asked for.
    pub(super) operations: Vec<Operation>,
    /// The newest state of each lane.
    pub(super) arrivals: BTreeMap<LaneKey, Arrival>,
}

#[derive(Debug)]
pub(super) enum Operation {
    Open { lane: LaneKey, epoch: u64, answer: Answer },
    Close { lane: LaneKey, epoch: u64 },
    Append { lane: LaneKey, number: u64, message: StoredMessage, room: Room, answer: Answer },
    Mark { lane: LaneKey, epoch: u64, fresh: u64, answer: Answer },
    Settle { lane: LaneKey, settled: Settled },
}

/// What was to be removed of a lane, and was not.
#[derive(Debug, Default)]
struct KeptBack {
    settled: Settled,
    /// The lane is to go as a whole, if it is of this epoch.
    closed: Option<u64>,
}

/// What is to be removed of a lane's messages: all below the base, and single ones.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) base: u64,
    pub(super) numbers: BTreeSet<u64>,
}

/// The state of a receive lane, and who waits for it to be on the disk.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) lane: StoredReceiveLane,
    answers: Vec<Answer>,
}

/// Where the outcome of a write is told.
pub(crate) type Answer = oneshot::Sender<Result<(), StoreFailure>>;

impl Shared {
    pub(super) fn new(rooms: Rooms, index: Index, opened: Opened, numbers: Numbers) -> Self {
        Self {
            rooms,
            index: RwLock::new(index),
            pending: Mutex::default(),
            wake: Condvar::new(),
            current: Mutex::new(Current::Open(Arc::new(opened))),
            closed: watch::Sender::new(false),
            numbers,
        }
    }

    pub(super) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn database(&self) -> Result<Arc<Opened>, StoreFailure> {
        match &*locked(&self.current) {
            Current::Open(opened) => Ok(opened.clone()),
            Current::Failed(failure) => Err(*failure),
        }
    }

    fn set_current(&self, current: Current) {
        *locked(&self.current) = current;
    }

    pub(super) fn push(&self, operation: Operation) {
        let mut pending = locked(&self.pending);
        if pending.is_closing {
            self.numbers.handle_refused(StoreFailure::Closed, u64::from(operation.is_append()));
            return operation.answer(Err(StoreFailure::Closed));
        }
        if let (Operation::Settle { lane, settled }, Some(Operation::Settle { lane: last, settled: before })) =
            (&operation, pending.operations.last_mut())
            && lane == last
        {
            return before.merge(settled);
        }
        pending.is_urgent |= operation.is_urgent();
        pending.operations.push(operation);
        drop(pending);
        self.wake.notify_one();
    }

    pub(super) fn save(&self, lane: StoredReceiveLane, answer: Answer) {
        let mut pending = locked(&self.pending);
        if pending.is_closing {
            return tell(answer, Err(StoreFailure::Closed));
        }
        pending.is_urgent = true;
        let arrival = pending.arrivals.entry(lane.key).or_insert(Arrival { lane, answers: Vec::new() });
        arrival.lane = lane;
        arrival.answers.push(answer);
        drop(pending);
        self.wake.notify_one();
    }

    /// The thread is to finish what was asked for, and end.
    pub(super) fn begin_close(&self) {
        locked(&self.pending).is_closing = true;
        self.rooms.close();
        self.wake.notify_one();
    }

    pub(super) fn closed(&self) -> watch::Receiver<bool> {
        self.closed.subscribe()
    }

    /// Waits for something to write. `None` when there will be nothing more. `is_shut`: nobody can read until the store is opened anew,
    /// so there is a batch by then, be it an empty one.
    fn next_batch(&self, hold: Option<Instant>, is_shut: bool) -> Option<Batch> {
        let mut pending = locked(&self.pending);
        let mut idle_until = hold;
        while !pending.is_urgent && !pending.is_closing {
            if pending.is_empty() && !is_shut {
                pending = self.wake.wait(pending).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let now = Instant::now();
            let until = *idle_until.get_or_insert(now + REMOVE_AFTER);
            if until <= now {
                break;
            }
            let waited = self.wake.wait_timeout(pending, until - now);
            pending = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        (!pending.is_empty() || is_shut && !pending.is_closing).then(|| pending.take())
    }

    /// What was not written: removals are tried again, everything else is answered.
    fn give_up(&self, batch: Batch, failure: StoreFailure) {
        let refused = batch.operations.iter().filter(|operation| operation.is_append()).count();
        self.numbers.handle_refused(failure, refused as u64);
        let mut pending = locked(&self.pending);
        for operation in batch.operations {
            match operation {
                Operation::Settle { lane, settled } => {
                    pending.kept_back.entry(lane).or_default().settled.merge(&settled);
                }
                // One that never got onto the disk need not leave it, so each lane has one epoch to remove at most.
                Operation::Close { lane, epoch } if self.index().is_of(lane, epoch) => {
                    pending.kept_back.entry(lane).or_default().closed = Some(epoch);
                }
                other => other.answer(Err(failure)),
            }
        }
        drop(pending);
        batch.arrivals.into_values().for_each(|arrival| arrival.answer(Err(failure)));
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.operations.is_empty() && self.arrivals.is_empty() && self.kept_back.is_empty()
    }

    fn take(&mut self) -> Batch {
        let mut bytes = 0;
        let fits = self.operations.iter().position(|operation| {
            let is_full = bytes >= BATCH;
            bytes += operation.len();
            is_full
        });
        let later = self.operations.split_off(fits.unwrap_or(self.operations.len()));
        self.is_urgent = later.iter().any(Operation::is_urgent);
        let asked = std::mem::replace(&mut self.operations, later);
        let kept_back = std::mem::take(&mut self.kept_back).into_iter();
        let kept_back = kept_back.flat_map(|(lane, KeptBack { settled, closed })| {
            let close = closed.map(|epoch| Operation::Close { lane, epoch });
            std::iter::once(Operation::Settle { lane, settled }).chain(close)
        });
        Batch { operations: kept_back.chain(asked).collect(), arrivals: std::mem::take(&mut self.arrivals) }
    }
}

impl Batch {
    /// The part that needs the least room and makes the most: what failed to be removed before, and arrivals.
    fn split_small(&mut self) -> Self {
        let kept_back = self.operations.iter().take_while(|operation| !operation.is_urgent()).count();
        let asked = self.operations.split_off(kept_back);
        Self {
            operations: std::mem::replace(&mut self.operations, asked),
            arrivals: std::mem::take(&mut self.arrivals),
        }
    }

    fn is_empty(&self) -> bool {
        self.operations.is_empty() && self.arrivals.is_empty()
    }
}

impl Operation {
    fn len(&self) -> usize {
        match self {
            Self::Append { message, .. } => message.payload.len() + room::UNIT,
            _ => room::UNIT,
        }
    }

    fn is_append(&self) -> bool {
        matches!(self, Self::Append { .. })
    }

    /// Whether somebody waits for an answer.
    fn is_urgent(&self) -> bool {
        !matches!(self, Self::Settle { .. } | Self::Close { .. })
    }

    fn answer(self, result: Result<(), StoreFailure>) {
        match self {
            Self::Open { answer, .. } | Self::Mark { answer, .. } => tell(answer, result),
            Self::Append { room, answer, .. } => {
                if result.is_ok() {
                    room::keep(room);
                } else {
                    drop(room);
                }
                tell(answer, result);
            }
            Self::Settle { .. } | Self::Close { .. } => {}
        }
    }
}

impl Settled {
    pub(super) fn merge(&mut self, other: &Self) {
        self.base = self.base.max(other.base);
        self.numbers.extend(&other.numbers);
    }
}

impl Arrival {
    fn answer(self, result: Result<(), StoreFailure>) {
        self.answers.into_iter().for_each(|answer| tell(answer, result));
    }
}

/// Whoever has dropped its future does not want to know.
fn tell(answer: Answer, result: Result<(), StoreFailure>) {
    let _ = answer.send(result);
}

/// The thread's own.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) disk: Arc<dyn Disk>,
    lease: Lease,
    leases: Leases,
    pub(super) path: PathBuf,
    pub(super) receive_lanes: usize,
    retry_after: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Good,
    Full { retry_at: Instant },
    Broken,
}

impl Writer {
    /// `retry_after`: how long after a write that found no room the next one is tried.
    pub(super) fn new(
        shared: Arc<Shared>,
        disk: Arc<dyn Disk>,
        (lease, leases): (Lease, Leases),
        path: PathBuf,
        receive_lanes: usize,
        retry_after: Duration,
    ) -> Self {
        Self { shared, disk, lease, leases, path, receive_lanes, retry_after, state: State::Good }
    }

    /// Writes until the store is closed.
    pub(super) fn run(mut self) {
        while let Some(batch) = self.shared.next_batch(self.hold(), self.is_shut()) {
            self.write(batch);
            if !matches!(self.state, State::Good) && self.shared.is_closing_without_answers() {
                self.remove_at_last();
                break;
            }
        }
        self.shared.set_current(Current::Failed(StoreFailure::Closed));
        let Self { shared, disk, lease, leases, .. } = self;
        // The lock goes with the last one who has the file, and somebody may still read.
        drop((disk, lease));
        leases.await_end();
        shared.closed.send_replace(true);
    }

    /// A disk that had no room for something may have enough for removals alone, however short ago that was.
    fn remove_at_last(&mut self) {
        if matches!(self.state, State::Full { .. })
            && let Some(removals) = self.shared.next_batch(None, false)
        {
            self.commit(removals);
        }
    }

    fn hold(&self) -> Option<Instant> {
        match self.state {
            State::Good => None,
            State::Full { retry_at } => Some(retry_at),
            State::Broken => Some(Instant::now() + Duration::from_secs(3600)),
        }
    }

    /// Whether a full disk had no room even to open the store anew.
    fn is_shut(&self) -> bool {
        matches!(self.state, State::Full { .. }) && self.shared.database().is_err()
    }

    fn write(&mut self, mut batch: Batch) {
        match self.state {
            State::Good => self.commit(batch),
            State::Broken => self.shared.give_up(batch, StoreFailure::Broken),
            State::Full { retry_at } if Instant::now() < retry_at => {
                self.shared.give_up(batch, StoreFailure::DiskFull);
            }
            State::Full { .. } if batch.is_empty() => self.open_for_readers(),
            State::Full { .. } => {
                let small = batch.split_small();
                if !small.is_empty() {
                    self.commit(small);
                }
                match self.state {
                    State::Broken => self.shared.give_up(batch, StoreFailure::Broken),
                    State::Full { retry_at } if Instant::now() < retry_at => {
                        self.shared.give_up(batch, StoreFailure::DiskFull);
                    }
                    _ if batch.is_empty() => {}
                    _ => self.commit(batch),
                }
            }
        }
    }

    fn commit(&mut self, batch: Batch) {
        let database = match self.shared.database().or_else(|_| self.reopen()) {
            Ok(database) => database,
            Err(failure) => {
                self.shared.numbers.handle_failed_commit(failure);
                self.note_state();
                return self.shared.give_up(batch, failure);
            }
        };
        let committed = database.commit(&self.shared.index(), self.receive_lanes, &batch);
        match committed {
            Ok(changes) => {
                if matches!(self.state, State::Full { .. }) {
                    tracing::info!(store = %self.path.display(), "the store can write again");
                    self.state = State::Good;
                }
                // Before the index: whoever finds there what the commit has done finds it in all numbers.
                self.shared.rooms.give_back(changes.freed);
                self.shared.numbers.handle_commit(&changes, batch.arrivals.len());
                self.shared.index.write().unwrap_or_else(PoisonError::into_inner).apply(&changes);
                self.note_file();
                self.note_state();
                self.shared.answer_all(batch, &changes.refused);
            }
            Err(error) => {
                self.fail(database.access(), &error);
                drop(database);
                let failure = self.failure();
                self.shared.numbers.handle_failed_commit(failure);
                self.note_state();
                self.shared.give_up(batch, failure);
                if matches!(self.state, State::Full { .. }) {
                    // For those who read; if there is no room even for that, it is tried again until there is.
                    let _ = self.reopen();
                    self.note_state();
                }
            }
        }
    }

    /// There is nothing to write, and a full disk had no room to open the store anew for those who read.
    fn open_for_readers(&mut self) {
        if let Err(failure) = self.reopen() {
            self.shared.numbers.handle_failed_commit(failure);
        }
        self.note_state();
    }

    /// Takes note of how long the file is.
    fn note_file(&self) {
        // A disk that does not tell has a length all the same, the last one.
        if let Ok(len) = self.disk.len() {
            self.shared.numbers.set_file_bytes(len);
        }
    }

    fn note_state(&self) {
        self.shared.numbers.set_state(match self.state {
            State::Good => StoreState::Good,
            State::Full { .. } => StoreState::DiskFull,
            State::Broken => StoreState::Broken,
        });
    }

    fn failure(&self) -> StoreFailure {
        if matches!(self.state, State::Broken) { StoreFailure::Broken } else { StoreFailure::DiskFull }
    }

    /// A database has met an error, or could not be opened; `access` tells which. Without any fault below, what is on the disk is damaged.
    fn fail(&mut self, access: &Access, error: &dyn fmt::Display) {
        let store = self.path.display();
        if access.fault() == Some(Fault::Full) {
            if !matches!(self.state, State::Full { .. }) {
                tracing::warn!(%store, "the store cannot write: {error}; it goes on when there is room on the disk");
            }
            self.state = State::Full { retry_at: Instant::now() + self.retry_after };
        } else {
            tracing::error!(%store, "the store fails: {error}; it accepts nothing more, check the disk and start the node anew");
            self.state = State::Broken;
        }
        access.cut_off();
        self.shared.set_current(Current::Failed(self.failure()));
    }

    /// A database that has met an error takes nothing more, so another one is opened on the same file.
    fn reopen(&mut self) -> Result<Arc<Opened>, StoreFailure> {
        let access = Access::new(self.disk.clone());
        let opened = Opened::open(access.clone(), self.lease.clone(), &self.path);
        let opened = opened.map_err(|error| error.to_string()).and_then(|opened| {
            let agrees = opened.reconcile(&self.shared.index());
            agrees.map(|()| opened).map_err(|error| error.to_string())
        });
        match opened {
            Ok(opened) => {
                let opened = Arc::new(opened);
                self.shared.set_current(Current::Open(opened.clone()));
                Ok(opened)
            }
            Err(error) => {
                self.fail(&access, &error);
                Err(self.failure())
            }
        }
    }
}

impl Shared {
    /// Whether only removals are left that a disk without room has refused already.
    fn is_closing_without_answers(&self) -> bool {
        let pending = locked(&self.pending);
        pending.is_closing && !pending.is_urgent
    }

    fn answer_all(&self, batch: Batch, refused: &[usize]) {
        let mut refused = refused.iter().peekable();
        for (place, operation) in batch.operations.into_iter().enumerate() {
            let is_refused = refused.next_if(|next| **next == place).is_some();
            if is_refused {
                self.numbers.handle_refused(StoreFailure::NoLane, u64::from(operation.is_append()));
            }
            operation.answer(if is_refused { Err(StoreFailure::NoLane) } else { Ok(()) });
        }
        batch.arrivals.into_values().for_each(|arrival| arrival.answer(Ok(())));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
