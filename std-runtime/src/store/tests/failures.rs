//! Disks that are slow, full or broken, below an open store.

use std::sync::Arc;

use super::super::database::{Index, Lease};
use super::super::writer::Batch;
use super::disk::TestDisk;
use super::*;

#[tokio::test]
async fn what_comes_while_the_disk_syncs_shares_the_next_commit() {
    let (store, disk) = store_on_disk();
    store.open_lane(lane(1), 1).await.unwrap();
    disk.hold_syncs(true);
    let first = append(&store, 1);
    tokio::task::spawn_blocking({
        let disk = disk.clone();
        move || disk.await_held_sync()
    })
    .await
    .unwrap();
    let before = store.counters();

    let waiting: Vec<_> = (2..=200).map(|number| append(&store, number)).collect();
    disk.hold_syncs(false);
    first.await.unwrap();
    for durable in waiting {
        durable.await.unwrap();
    }

    let after = store.counters();
    assert_eq!((after.commits - before.commits, after.appended - before.appended), (2, 200));
}

#[tokio::test]
async fn nothing_is_called_durable_before_its_sync() {
    let (store, disk) = store_on_disk();
    store.open_lane(lane(1), 1).await.unwrap();
    disk.hold_syncs(true);
    let mut durable = append(&store, 1);
    tokio::task::spawn_blocking({
        let disk = disk.clone();
        move || disk.await_held_sync()
    })
    .await
    .unwrap();

    let early = std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut durable).poll(context))).await;
    let seen = store.send_lanes()[0].next;
    disk.hold_syncs(false);

    assert_eq!((early, seen), (Poll::Pending, 1));
    assert_eq!(durable.await, Ok(()));
    assert_eq!(store.send_lanes()[0].next, 2);
}

#[tokio::test]
async fn a_full_disk_refuses_and_what_was_accepted_stays_readable() {
    let (store, disk) = store_on_disk();
    store.open_lane(lane(1), 1).await.unwrap();
    let accepted = fill(&store, &disk).await;

    assert_eq!(append(&store, accepted + 1).await, Err(StoreFailure::DiskFull));
    let (counters, holdings) = (store.counters(), store.holdings());
    assert_eq!((counters.appended, counters.refused), (accepted, vec![(StoreFailure::DiskFull, 2)]));
    assert_eq!(counters.failed_commits, [(StoreFailure::DiskFull, 1)], "the next is not tried at once");
    assert_eq!((holdings.messages, holdings.state), (accepted, StoreState::DiskFull));
    let expected: Vec<_> = (1..=accepted).collect();
    assert_eq!(read_all(&store).await, expected);
    assert_eq!(store.send_lanes()[0].next, accepted + 1);
    // As after a crash.
    let store = reopened(&disk);
    assert_eq!(read_all(&store).await, expected);
}

#[tokio::test]
async fn a_store_goes_on_when_the_disk_has_room_again() {
    let (store, disk) = store_that_retries(SOON);
    store.open_lane(lane(1), 1).await.unwrap();
    let accepted = fill(&store, &disk).await;

    disk.leave_room(usize::MAX);
    until(async || append(&store, accepted + 1).await.is_ok()).await;

    assert_eq!(store.holdings().state, StoreState::Good);
    assert_eq!(read_all(&store).await, (1..=accepted + 1).collect::<Vec<_>>());
    store.close().await;
    assert_eq!(read_all(&reopened(&disk)).await, (1..=accepted + 1).collect::<Vec<_>>());
}

#[tokio::test]
async fn messages_that_came_to_their_end_make_room_on_a_full_disk() {
    let (store, disk) = store_that_retries(SOON);
    store.open_lane(lane(1), 1).await.unwrap();
    let accepted = fill(&store, &disk).await;

    store.settle(lane(1), accepted, &[]);
    until(async || append(&store, accepted + 1).await.is_ok()).await;

    store.close().await;
    assert_eq!(read_all(&reopened(&disk)).await, [accepted, accepted + 1]);
}

#[tokio::test]
async fn a_lane_that_a_full_disk_kept_from_going_goes_when_there_is_room() {
    let (store, disk) = full_store().await;

    store.close_lane(lane(1), 1);
    // The first failure was the message's.
    until(async || store.counters().failed_commits[0].1 >= 2).await;
    let on_the_full_disk = store.send_lanes().len();
    disk.leave_room(usize::MAX);
    until(async || store.send_lanes().is_empty()).await;

    assert_eq!((on_the_full_disk, store.holdings().bytes), (1, 0));
    // As after a crash.
    assert_eq!(reopened(&disk).send_lanes(), []);
}

#[tokio::test]
async fn a_lane_whose_end_was_kept_back_may_begin_anew() {
    let (store, disk) = full_store().await;

    store.close_lane(lane(1), 1);
    let refused = store.open_lane(lane(1), 2).await;
    store.close_lane(lane(1), 2);
    disk.leave_room(usize::MAX);
    until(async || store.open_lane(lane(1), 3).await.is_ok()).await;
    append(&store, 1).await.unwrap();
    store.close().await;

    assert_eq!(refused, Err(StoreFailure::DiskFull));
    let store = reopened(&disk);
    assert_eq!(store.send_lanes()[0].epoch, 3);
    assert_eq!(read_all(&store).await, [1]);
}

#[tokio::test]
async fn a_lane_ends_on_a_full_disk_before_the_store_is_closed() {
    let (store, disk) = store_on_disk();
    store.open_lane(lane(1), 1).await.unwrap();
    fill(&store, &disk).await;

    store.close_lane(lane(1), 1);
    store.close().await;

    assert_eq!(reopened(&disk).send_lanes(), []);
}

#[tokio::test]
async fn a_store_that_somebody_reads_while_it_is_closed_has_let_go_of_the_disk_when_it_is() {
    let (store, disk) = store_read_from_disk().await;
    disk.hold_reads(true);
    let reading = tokio::spawn({
        let store = store.clone();
        async move { store.read(lane(1), 1, usize::MAX, usize::MAX).await }
    });
    tokio::task::spawn_blocking({
        let disk = disk.clone();
        move || disk.await_held_read()
    })
    .await
    .unwrap();

    let closing = tokio::spawn({
        let store = store.clone();
        async move { store.close().await }
    });
    until(async || store.handle.shared.database().is_err()).await;
    disk.hold_reads(false);
    closing.await.unwrap();

    assert_eq!(Arc::strong_count(&disk), 1, "only this test has it");
    drop(reading);
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_accepted_and_nothing_accepted_is_lost() {
    let (store, disk) = store_on_disk();
    store.open_lane(lane(1), 1).await.unwrap();
    for number in 1..=20 {
        append(&store, number).await.unwrap();
    }

    disk.fail_syncs(true);
    let failed = append(&store, 21).await;
    disk.fail_syncs(false);
    let after = append(&store, 22).await;
    let saved = store.save_arrivals(arrivals(1, 1)).await;
    store.close().await;

    assert_eq!(
        (failed, after, saved),
        (Err(StoreFailure::Broken), Err(StoreFailure::Broken), Err(StoreFailure::Broken))
    );
    let counters = store.counters();
    assert_eq!(counters.failed_commits, [(StoreFailure::Broken, 1)]);
    assert_eq!((counters.appended, counters.refused), (20, vec![(StoreFailure::Broken, 2)]));
    assert_eq!(store.holdings().state, StoreState::Broken);
    let found = read_all(&reopened(&disk)).await;
    assert_eq!(found[..20], (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_full_disk_that_fails_when_the_store_is_opened_anew_is_broken() {
    let (store, disk) = store_on_disk();
    store.open_lane(lane(1), 1).await.unwrap();

    // What is written was not read before, so only opening anew reads.
    disk.fail_reads();
    let accepted = fill(&store, &disk).await;
    disk.leave_room(usize::MAX);
    let after = append(&store, accepted + 1).await;

    assert_eq!((after, store.holdings().state), (Err(StoreFailure::Broken), StoreState::Broken));
    assert_eq!(store.read(lane(1), 1, 1, 1).await, Err(StoreFailure::Broken));
    let counters = store.counters();
    assert_eq!(counters.failed_commits, [(StoreFailure::DiskFull, 1)], "a broken disk is not tried");
    assert_eq!(counters.refused, [(StoreFailure::DiskFull, 1), (StoreFailure::Broken, 1)]);
}

#[tokio::test]
async fn a_disk_without_room_even_to_open_the_store_anew_is_full_until_there_is() {
    let (store, disk) = store_that_retries(SOON);
    store.open_lane(lane(1), 1).await.unwrap();
    append(&store, 1).await.unwrap();

    disk.refuse_writes();
    let refused = append(&store, 2).await;
    let read = store.read(lane(1), 1, 1, 1).await;
    until(async || append(&store, 2).await.is_err() && store.counters().failed_commits[0].1 > 1).await;
    let (state, failed) = (store.holdings().state, store.counters().failed_commits);
    disk.leave_room(usize::MAX);
    until(async || append(&store, 2).await.is_ok()).await;

    assert_eq!((refused, read), (Err(StoreFailure::DiskFull), Err(StoreFailure::DiskFull)));
    assert_eq!((state, failed.len(), failed[0].0), (StoreState::DiskFull, 1, StoreFailure::DiskFull));
    assert_eq!((read_all(&store).await, store.holdings().state), (vec![1, 2], StoreState::Good));
}

#[tokio::test]
async fn a_store_that_found_no_room_even_to_be_opened_anew_is_read_again_when_there_is_though_nobody_writes()
{
    let (store, disk) = store_that_retries(SOON);
    store.open_lane(lane(1), 1).await.unwrap();
    append(&store, 1).await.unwrap();
    disk.refuse_writes();
    let refused = append(&store, 2).await;
    let read = store.read(lane(1), 1, 1, 1).await;

    disk.leave_room(usize::MAX);

    assert_eq!((refused, read), (Err(StoreFailure::DiskFull), Err(StoreFailure::DiskFull)));
    until(async || store.read(lane(1), 1, 1, 1).await.is_ok()).await;
    assert_eq!(read_all(&store).await, [1]);
}

#[test]
fn each_change_of_a_disk_is_one_line_of_the_log() {
    let (full, broken) = (TestDisk::default(), TestDisk::default());
    let logged = |disk: TestDisk, fail: fn(&TestDisk)| {
        let disk = Arc::new(disk);
        database::initialise(disk.clone(), Path::new("test")).unwrap();
        crate::log::of(|| write_once(&disk, || fail(&disk)))
    };

    let of_full = logged(full, TestDisk::refuse_writes);
    let of_broken = logged(broken, |disk| {
        disk.refuse_writes();
        disk.fail_reads();
    });

    let lines = |log: &str, level: &str| log.lines().filter(|line| line.contains(level)).count();
    assert_eq!((lines(&of_full, "WARN"), lines(&of_full, "ERROR")), (1, 0), "{of_full}");
    assert_eq!((lines(&of_broken, "WARN"), lines(&of_broken, "ERROR")), (1, 1), "{of_broken}");
}

#[tokio::test]
async fn a_message_that_the_disk_does_not_give_back_is_counted() {
    let (store, disk) = store_read_from_disk().await;

    disk.fail_reads();
    let read = store.read(lane(1), 1, usize::MAX, usize::MAX).await;

    assert_eq!(read, Err(StoreFailure::Broken));
    assert_eq!(store.counters().failed_reads, [(StoreFailure::Broken, 1)]);
}

#[tokio::test]
async fn room_of_what_was_refused_is_free_again() {
    let (store, disk) = store_on_disk();
    store.open_lane(lane(1), 1).await.unwrap();
    let accepted = fill(&store, &disk).await;

    for _ in 0..100 {
        assert_eq!(append(&store, accepted + 1).await, Err(StoreFailure::DiskFull));
    }

    assert_eq!(store.holdings().bytes, accepted * (LENGTH as u64 + 256));
}

/// Ends a lane, with this thread as the one that writes, on a disk that has begun to fail: two tries, as the store is closed.
fn write_once(disk: &Arc<TestDisk>, fail: impl FnOnce()) {
    let path = PathBuf::from("test");
    let (lease, leases) = Lease::new();
    let opened = Opened::open(Access::new(disk.clone()), lease.clone(), &path).unwrap();
    // What a commit has touched is in memory, so that the next one begins without reads.
    let (answer, _durable) = oneshot::channel();
    let operations = vec![Operation::Open { lane: lane(1), epoch: 1, answer }];
    opened.commit(&Index::default(), 1, &Batch { operations, ..Batch::default() }).unwrap();
    let index = opened.load(&path).unwrap().index;
    let shared = Arc::new(Shared::new(Rooms::new(1 << 20, 0), index, opened, Numbers::new(0, 0)));
    let writer = Writer::new(shared.clone(), disk.clone(), (lease, leases), path, 1, NEVER);
    fail();
    shared.push(Operation::Close { lane: lane(1), epoch: 1 });
    shared.begin_close();
    writer.run();
}

const LENGTH: usize = 2048;

/// A store that does not try a full disk again while a test runs.
fn store_on_disk() -> (Store, Arc<TestDisk>) {
    store_that_retries(NEVER)
}

/// A store that tries a full disk again after this span.
fn store_that_retries(after: Duration) -> (Store, Arc<TestDisk>) {
    let disk = Arc::new(TestDisk::default());
    database::initialise(disk.clone(), Path::new("test")).unwrap();
    (open_on(disk.clone(), after), disk)
}

const NEVER: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(20);

/// A store on another disk with the same bytes: whoever has the first one has no part in it.
fn reopened(disk: &TestDisk) -> Store {
    open_on(Arc::new(TestDisk::holding(disk.bytes())), NEVER)
}

fn open_on(disk: Arc<TestDisk>, retry_after: Duration) -> Store {
    Store::open_on(disk, PathBuf::from("test"), LIMITS, retry_after).unwrap()
}

fn append(store: &Store, number: u64) -> Durable {
    let room = store.try_reserve(LENGTH).unwrap();
    append_in(store, room, lane(1), number, message(LENGTH, number))
}

/// A store of ten messages, which are together more than is kept in memory.
async fn store_read_from_disk() -> (Store, Arc<TestDisk>) {
    let (store, disk) = store_on_disk();
    store.open_lane(lane(1), 1).await.unwrap();
    for number in 1..=10 {
        accept(&store, lane(1), number, &message(1 << 20, number)).await.unwrap();
    }
    (store, disk)
}

/// A store with a lane, on a disk that it has filled, and that takes no write any more, though it is tried again and again.
async fn full_store() -> (Store, Arc<TestDisk>) {
    let (store, disk) = store_that_retries(SOON);
    store.open_lane(lane(1), 1).await.unwrap();
    fill(&store, &disk).await;
    disk.refuse_writes();
    (store, disk)
}

/// Appends until the disk is full; the number of the last message that was accepted.
async fn fill(store: &Store, disk: &TestDisk) -> u64 {
    disk.leave_room(64 * 1024);
    let mut number = 0;
    while append(store, number + 1).await.is_ok() {
        number += 1;
        assert!(number < 100_000, "the disk does not fill");
    }
    assert!(number > 0);
    number
}

async fn read_all(store: &Store) -> Vec<u64> {
    let read = store.read(lane(1), 1, usize::MAX, usize::MAX).await.unwrap();
    for (number, found) in &read {
        assert_eq!(*found, message(LENGTH, *number));
    }
    read.into_iter().map(|(number, _)| number).collect()
}

async fn until(condition: impl AsyncFn() -> bool) {
    let met = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), met).await.expect("in half a minute");
}
