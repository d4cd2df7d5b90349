//! What the store has done, in numbers that only rise, and what it holds. The thread that writes counts, once per commit.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use super::database::Changes;
use super::error::StoreFailure;

/// What the store of Guaranteed messages has done since it was opened, from [`Node::counters`](crate::Node::counters).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreCounters {
    /// Transactions that reached the disk: as many syncs, at least.
    pub commits: u64,
    /// Messages that were stored.
    pub appended: u64,
    /// Messages that were removed, having met their fate.
    pub removed: u64,
    /// States of receive lanes that were saved: what has arrived of a peer's messages.
    pub saved: u64,
    /// Receive lanes that made room for others: what came of those before is no longer known.
    pub forgotten: u64,
    /// Transactions that failed, by what was wrong.
    pub failed_commits: Vec<(StoreFailure, u64)>,
    /// Reads of messages that failed.
    pub failed_reads: Vec<(StoreFailure, u64)>,
    /// Messages that were not stored: their senders have heard why.
    pub refused: Vec<(StoreFailure, u64)>,
}

/// What the store of Guaranteed messages holds, from [`Node::snapshot`](crate::Node::snapshot).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreHoldings {
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes of messages that are stored or have room promised, each with 512 bytes more at most.
    pub bytes: u64,
    /// The most bytes that there can be of these.
    pub limit: u64,
    /// Messages in the file, those included that have met their fate and go with the next commit.
    pub messages: u64,
    /// Lanes to peers.
    pub send_lanes: u64,
    /// Lanes from peers.
    pub receive_lanes: u64,
    /// Whether it takes anything.
    pub state: StoreState,
}

/// Whether the store takes anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreState {
    /// It does.
    #[default]
    Good,
    /// The disk is full; it goes on when there is room.
    DiskFull,
    /// The disk fails; nothing more is taken until the node is started anew.
    Broken,
}

/// The counts of an open store.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    commits: AtomicU64,
    appended: AtomicU64,
    removed: AtomicU64,
    saved: AtomicU64,
    forgotten: AtomicU64,
    failed_commits: ByFailure,
    failed_reads: ByFailure,
    refused: ByFailure,
    file_bytes: AtomicU64,
    messages: AtomicU64,
    state: AtomicU8,
}

impl Numbers {
    /// Those of a store with so many messages.
    pub(super) fn new(messages: u64, file_bytes: u64) -> Self {
        Self { messages: messages.into(), file_bytes: file_bytes.into(), ..Self::default() }
    }

    /// A commit is on the disk, with so many states of receive lanes.
    pub(super) fn handle_commit(&self, changes: &Changes, saved: usize) {
        self.commits.fetch_add(1, Relaxed);
        self.appended.fetch_add(changes.appended, Relaxed);
        self.removed.fetch_add(changes.removed, Relaxed);
        self.saved.fetch_add(saved as u64, Relaxed);
        self.forgotten.fetch_add(changes.forgotten, Relaxed);
        // Only the thread that writes gets here.
        let messages = self.messages.load(Relaxed) + changes.appended;
        self.messages.store(messages.saturating_sub(changes.removed), Relaxed);
    }

    pub(super) fn handle_failed_commit(&self, failure: StoreFailure) {
        self.failed_commits.add(failure, 1);
    }

    pub(super) fn handle_failed_read(&self, failure: StoreFailure) {
        self.failed_reads.add(failure, 1);
    }

    /// So many messages were not stored.
    pub(super) fn handle_refused(&self, failure: StoreFailure, count: u64) {
        self.refused.add(failure, count);
    }

    pub(super) fn set_file_bytes(&self, bytes: u64) {
        self.file_bytes.store(bytes, Relaxed);
    }

    pub(super) fn set_state(&self, state: StoreState) {
        self.state.store(state as u8, Relaxed);
    }

    pub(super) fn counters(&self) -> StoreCounters {
        StoreCounters {
            commits: self.commits.load(Relaxed),
            appended: self.appended.load(Relaxed),
            removed: self.removed.load(Relaxed),
            saved: self.saved.load(Relaxed),
            forgotten: self.forgotten.load(Relaxed),
            failed_commits: self.failed_commits.snapshot(),
            failed_reads: self.failed_reads.snapshot(),
            refused: self.refused.snapshot(),
        }
    }

    /// What is known here of what the store holds.
    pub(super) fn holdings(&self) -> StoreHoldings {
        StoreHoldings {
            file_bytes: self.file_bytes.load(Relaxed),
            messages: self.messages.load(Relaxed),
            state: match self.state.load(Relaxed) {
                0 => StoreState::Good,
                1 => StoreState::DiskFull,
                _ => StoreState::Broken,
            },
            ..StoreHoldings::default()
        }
    }
}

/// One number for each failure.
#[derive(Debug, Default)]
struct ByFailure([AtomicU64; StoreFailure::ALL.len()]);

impl ByFailure {
    fn add(&self, failure: StoreFailure, count: u64) {
        self.0[failure as usize].fetch_add(count, Relaxed);
    }

    fn snapshot(&self) -> Vec<(StoreFailure, u64)> {
        let counts = self.0.iter().map(|count| count.load(Relaxed));
        StoreFailure::ALL.into_iter().zip(counts).filter(|&(_, count)| count != 0).collect()
    }
}
