//! What the store promises, on real files and on disks that fail as told.

mod disk;
mod errors;
mod failures;
mod power;
mod processes;

use std::path::Path;
use std::time::Duration;

use super::*;

#[tokio::test]
async fn what_was_accepted_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let messages =
        [message(0, 7), message(100_000, 8), StoredMessage { full: true, kind: 0, ..message(300, 9) }];
    store.open_lane(lane(1), 77).await.unwrap();
    for (number, message) in (1..).zip(&messages) {
        accept(&store, lane(1), number, message).await.unwrap();
    }

    store.close().await;
    let store = open(directory.path());

    assert_eq!(store.send_lanes(), [StoredSendLane { key: lane(1), epoch: 77, base: 1, fresh: 1, next: 4 }]);
    let read = store.read(lane(1), 1, 100, usize::MAX).await.unwrap();
    assert_eq!(read, (1..).zip(messages).collect::<Vec<_>>());
    assert_eq!((store.holdings().messages, store.counters().appended), (3, 0));
}

#[tokio::test]
async fn numbers_go_on_where_they_were_when_all_messages_are_gone() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.open_lane(lane(1), 77).await.unwrap();
    for number in 1..=3 {
        accept(&store, lane(1), number, &message(10, 0)).await.unwrap();
    }
    store.settle(lane(1), 4, &[]);

    store.close().await;
    let store = open(directory.path());

    assert_eq!(store.send_lanes(), [StoredSendLane { key: lane(1), epoch: 77, base: 4, fresh: 1, next: 4 }]);
    assert_eq!(store.read(lane(1), 1, 100, usize::MAX).await.unwrap(), []);
    assert_eq!(store.holdings().bytes, 0);
}

#[tokio::test]
async fn single_numbers_are_removed_before_those_below_them() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.open_lane(lane(1), 77).await.unwrap();
    for number in 1..=5 {
        accept(&store, lane(1), number, &message(10, 0)).await.unwrap();
    }

    store.settle(lane(1), 1, &[2, 4]);
    store.close().await;
    let store = open(directory.path());

    assert_eq!(numbers(&store, lane(1), 1).await, [1, 3, 5]);
    assert_eq!(store.send_lanes()[0].base, 1);
    assert_eq!(numbers(&store, lane(1), 2).await, [3, 5]);
}

#[tokio::test]
async fn a_mark_only_rises_and_brings_what_was_asked_for_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.open_lane(lane(1), 77).await.unwrap();
    for number in 1..=3 {
        accept(&store, lane(1), number, &message(10, 0)).await.unwrap();
    }

    store.settle(lane(1), 3, &[]);
    store.mark(lane(1), 77, 9).await.unwrap();
    store.mark(lane(1), 77, 4).await.unwrap();
    let of_another_life = store.mark(lane(1), 76, 20).await;

    assert_eq!(store.send_lanes(), [StoredSendLane { key: lane(1), epoch: 77, base: 3, fresh: 9, next: 4 }]);
    assert_eq!(of_another_life, Err(StoreFailure::NoLane));
    assert_eq!(store.mark(lane(2), 77, 2).await, Err(StoreFailure::NoLane));
    assert_eq!(numbers(&store, lane(1), 1).await, [3]);
}

#[tokio::test]
async fn reads_are_bounded_by_messages_and_by_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.open_lane(lane(1), 77).await.unwrap();
    for number in 1..=9 {
        accept(&store, lane(1), number, &message(1000, 0)).await.unwrap();
    }

    assert_eq!(store.read(lane(1), 3, 4, usize::MAX).await.unwrap().len(), 4);
    assert_eq!(store.read(lane(1), 3, 100, 2000).await.unwrap().len(), 2);
    assert_eq!(store.read(lane(1), 3, 100, 1).await.unwrap().len(), 1);
    assert_eq!(store.read(lane(2), 1, 100, usize::MAX).await.unwrap(), []);
}

#[tokio::test]
async fn lanes_do_not_touch_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let urgent = LaneKey { class: Priority::Critical, ..lane(1) };
    for key in [lane(1), lane(2), urgent] {
        store.open_lane(key, 1).await.unwrap();
        accept(&store, key, 1, &message(5, 0)).await.unwrap();
        accept(&store, key, 2, &message(5, 0)).await.unwrap();
    }

    store.settle(lane(1), 2, &[]);
    store.close_lane(urgent, 1);
    accept_nothing_else(&store).await;

    assert_eq!(numbers(&store, lane(1), 1).await, [2]);
    assert_eq!(numbers(&store, lane(2), 1).await, [1, 2]);
    assert_eq!(numbers(&store, urgent, 1).await, [0; 0]);
    assert_eq!(accept(&store, urgent, 3, &message(5, 0)).await, Err(StoreFailure::NoLane));
    assert_eq!(store.counters().refused, [(StoreFailure::NoLane, 1)]);
    assert_eq!(store.holdings().bytes, 3 * 512);
}

#[tokio::test]
async fn a_lane_that_is_opened_again_begins_anew() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.open_lane(lane(1), 1).await.unwrap();
    accept(&store, lane(1), 1, &message(5, 0)).await.unwrap();

    drop(store.open_lane(lane(1), 2));
    let appended = accept(&store, lane(1), 1, &message(6, 1)).await;

    assert_eq!(appended, Ok(()));
    assert_eq!(store.send_lanes(), [StoredSendLane { key: lane(1), epoch: 2, base: 1, fresh: 1, next: 2 }]);
    let read = store.read(lane(1), 1, 100, usize::MAX).await.unwrap();
    assert_eq!(read, [(1, message(6, 1))]);
}

#[tokio::test]
async fn the_end_of_a_lane_leaves_its_next_life_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.open_lane(lane(1), 1).await.unwrap();
    accept(&store, lane(1), 1, &message(5, 0)).await.unwrap();
    store.open_lane(lane(1), 2).await.unwrap();
    accept(&store, lane(1), 1, &message(6, 1)).await.unwrap();

    store.close_lane(lane(1), 1);

    assert_eq!(numbers(&store, lane(1), 1).await, [1]);
    assert_eq!(store.send_lanes(), [StoredSendLane { key: lane(1), epoch: 2, base: 1, fresh: 1, next: 2 }]);
}

#[tokio::test]
async fn a_number_may_be_given_again_and_the_last_message_counts() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.open_lane(lane(1), 1).await.unwrap();

    for length in [5000, 5] {
        accept(&store, lane(1), 1, &message(length, 0)).await.unwrap();
    }

    assert_eq!(store.read(lane(1), 1, 9, usize::MAX).await.unwrap(), [(1, message(5, 0))]);
    assert_eq!(store.holdings().bytes, 512);
    let counters = store.counters();
    assert_eq!((counters.appended, counters.removed, store.holdings().messages), (2, 1, 1));
}

#[tokio::test]
async fn a_full_store_makes_room_when_messages_are_settled() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), StoreLimits { bytes: 4096, ..LIMITS });
    store.open_lane(lane(1), 1).await.unwrap();
    for number in 1..=2 {
        accept(&store, lane(1), number, &message(1700, 0)).await.unwrap();
    }
    assert_eq!(store.try_reserve(100).unwrap_err(), StoreFailure::Full);
    assert_eq!(store.try_reserve(5000).unwrap_err(), StoreFailure::TooLong);
    assert_eq!(store.reserve(5000).await.unwrap_err(), StoreFailure::TooLong);
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.reserve(1700).await.map(|room| (room, store)) }
    });

    store.settle(lane(1), 2, &[]);
    let (room, _) = waiting.await.unwrap().unwrap();

    assert_eq!(append_in(&store, room, lane(1), 3, message(1700, 0)).await, Ok(()));
    assert_eq!(numbers(&store, lane(1), 1).await, [2, 3]);
}

#[tokio::test]
async fn room_that_is_not_used_is_free_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), StoreLimits { bytes: 4096, ..LIMITS });

    let room = store.try_reserve(3000).unwrap();
    assert_eq!(store.try_reserve(3000).unwrap_err(), StoreFailure::Full);
    drop(room);

    assert!(store.try_reserve(3000).is_ok());
}

#[tokio::test]
async fn a_store_above_its_limit_takes_nothing_until_it_is_below() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.open_lane(lane(1), 1).await.unwrap();
    for number in 1..=4 {
        accept(&store, lane(1), number, &message(1000, 0)).await.unwrap();
    }
    store.close().await;
    let store = open_with(directory.path(), StoreLimits { bytes: 2560, ..LIMITS });
    assert_eq!(store.holdings().bytes, 4 * 1280);

    store.settle(lane(1), 3, &[]);
    accept_nothing_else(&store).await;
    assert_eq!(store.try_reserve(1000).unwrap_err(), StoreFailure::Full);
    store.settle(lane(1), 4, &[]);
    accept_nothing_else(&store).await;

    assert!(store.try_reserve(1000).is_ok());
}

#[tokio::test]
async fn arrivals_are_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut arrivals = arrivals(1, 5);
    arrivals.window[15] = u64::MAX;
    store.save_arrivals(arrivals).await.unwrap();
    store.save_arrivals(StoredReceiveLane { base: 6, ..arrivals }).await.unwrap();

    store.close().await;
    let store = open(directory.path());

    assert_eq!(store.receive_lane(lane(1)), Some(StoredReceiveLane { base: 6, ..arrivals }));
    assert_eq!(store.receive_lanes(), [StoredReceiveLane { base: 6, ..arrivals }]);
    assert_eq!(store.receive_lane(lane(2)), None);
}

#[tokio::test]
async fn the_least_recently_used_receive_lane_gives_way() {
    let directory = tempfile::tempdir().unwrap();
    let limits = StoreLimits { receive_lanes: 3, ..LIMITS };
    let store = open_with(directory.path(), limits);
    for source in [1, 2, 3, 1] {
        store.save_arrivals(arrivals(source, 1)).await.unwrap();
    }
    store.close().await;
    let store = open_with(directory.path(), limits);

    store.save_arrivals(arrivals(4, 1)).await.unwrap();
    store.save_arrivals(arrivals(5, 1)).await.unwrap();

    let kept: Vec<_> = store.receive_lanes().iter().map(|lane| lane.key).collect();
    assert_eq!(kept, [lane(1), lane(4), lane(5)]);
    assert_eq!((store.counters().forgotten, store.holdings().receive_lanes), (2, 3));
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.open_lane(lane(1), 1).await.unwrap();
    let room = store.try_reserve(5).unwrap();

    store.close().await;

    assert_eq!(append_in(&store, room, lane(1), 1, message(5, 0)).await, Err(StoreFailure::Closed));
    assert_eq!(store.counters().refused, [(StoreFailure::Closed, 1)]);
    assert_eq!(store.save_arrivals(arrivals(1, 1)).await, Err(StoreFailure::Closed));
    assert_eq!(store.reserve(5).await.unwrap_err(), StoreFailure::Closed);
    assert_eq!(store.read(lane(1), 1, 1, 1).await, Err(StoreFailure::Closed));
}

/// How fast it is: `cargo test --release -p hyphal --lib store -- --ignored --nocapture measure`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
#[expect(clippy::print_stdout, reason = "its result")]
async fn measure_appends() {
    let directory =
        tempfile::tempdir_in(std::env::var_os("STORE_MEASURE_DIRECTORY").unwrap_or(".".into())).unwrap();
    for (senders, payload) in [(1, 64), (16, 64), (256, 64), (1, 16_000), (16, 16_000), (256, 16_000)] {
        let path = directory.path().join(format!("{senders}-{payload}"));
        let store = open_with(&path, StoreLimits { bytes: 1 << 32, ..LIMITS });
        for sender in 0..senders {
            store.open_lane(lane_of(sender), 1).await.unwrap();
        }
        let (before, begun) = (store.counters(), std::time::Instant::now());
        let tasks: Vec<_> = (0..senders)
            .map(|sender| {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut number = 0;
                    while begun.elapsed() < Duration::from_secs(2) {
                        number += 1;
                        accept(&store, lane_of(sender), number, &message(payload, 1)).await.unwrap();
                        store.settle(lane_of(sender), number.saturating_sub(100), &[]);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let (after, seconds) = (store.counters(), begun.elapsed().as_secs_f64());
        let per_second = |count: u64| (count as f64 / seconds) as u64;
        println!(
            "{senders:3} senders of {payload:5} B: {:6} appends/s, {:4} commits/s",
            per_second(after.appended - before.appended),
            per_second(after.commits - before.commits),
        );
        store.close().await;
    }
}

const LIMITS: StoreLimits = StoreLimits { bytes: 64 << 20, receive_lanes: 100 };

fn own() -> NodeId {
    NodeId::from_bytes([200; 32])
}

fn open(directory: &Path) -> Store {
    open_with(directory, LIMITS)
}

fn open_with(directory: &Path, limits: StoreLimits) -> Store {
    Store::open(directory, own(), limits).unwrap()
}

fn lane(node: u8) -> LaneKey {
    LaneKey { node: NodeId::from_bytes([node; 32]), class: Priority::Medium }
}

fn lane_of(node: u16) -> LaneKey {
    let mut id = [9; 32];
    id[..2].copy_from_slice(&node.to_be_bytes());
    LaneKey { node: NodeId::from_bytes(id), class: Priority::Medium }
}

fn message(length: usize, seed: u64) -> StoredMessage {
    StoredMessage {
        kind: 0x1234,
        ttl: 60,
        accepted_at: UnixTime::from_micros(1_000_000 + seed),
        full: false,
        payload: payload(length, seed),
    }
}

/// Bytes that follow from the seed.
fn payload(length: usize, seed: u64) -> Bytes {
    (0..length as u64).map(|at| (seed.wrapping_mul(31).wrapping_add(at * 7) >> 2) as u8).collect()
}

fn arrivals(source: u8, base: u64) -> StoredReceiveLane {
    StoredReceiveLane { key: lane(source), epoch: 5, since: 1, base, window: [base; 16] }
}

async fn accept(
    store: &Store,
    lane: LaneKey,
    number: u64,
    message: &StoredMessage,
) -> Result<(), StoreFailure> {
    let room = store.reserve(message.payload.len()).await?;
    append_in(store, room, lane, number, message.clone()).await
}

fn append_in(store: &Store, room: Room, lane: LaneKey, number: u64, message: StoredMessage) -> Durable {
    let (answer, durable) = Durable::asked();
    store.append(room, lane, number, message, answer);
    durable
}

/// Returns when all that was asked for before is on the disk.
async fn accept_nothing_else(store: &Store) {
    assert_eq!(store.mark(lane(255), 1, 1).await, Err(StoreFailure::NoLane));
}

async fn numbers(store: &Store, lane: LaneKey, from: u64) -> Vec<u64> {
    // What was settled goes with the next commit.
    accept_nothing_else(store).await;
    let read = store.read(lane, from, usize::MAX, usize::MAX).await.unwrap();
    read.into_iter().map(|(number, _)| number).collect()
}
