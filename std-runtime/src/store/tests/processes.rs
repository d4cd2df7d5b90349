//! Real processes: one is killed in the middle of its writes, two want the same store.
//!
//! The other process is this test program again, which runs `child` only.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::*;

const DIRECTORY: &str = "STORE_TEST_DIRECTORY";
const SENDERS: u16 = 8;

#[tokio::test]
async fn a_killed_process_has_lost_nothing_that_it_accepted() {
    let seed = u64::from(std::process::id());
    #[expect(clippy::print_stdout, reason = "a failed test shows its seed")]
    {
        println!("seed {seed}");
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let mut accepted = BTreeMap::<u16, u64>::new();
    let mut rounds = 0;

    while rounds < 5 || (rounds < 40 && begun.elapsed() < Duration::from_secs(5)) {
        let (mut child, mut lines) = start_child(directory.path());
        for _ in 0..rng.next_u32() % 200 {
            note(&mut accepted, lines.next());
        }
        child.kill().unwrap();
        lines.for_each(|line| note(&mut accepted, Some(line)));
        child.wait().unwrap();

        let store = open(directory.path());
        for (sender, last) in &accepted {
            let key = lane_of(*sender);
            let lane = store.send_lanes().into_iter().find(|lane| lane.key == key).unwrap();
            assert!(
                lane.next > *last,
                "round {rounds}: {last} of sender {sender} is lost, next is {}",
                lane.next
            );
            let found = store.read(key, 1, usize::MAX, usize::MAX).await.unwrap();
            let expected: Vec<_> =
                (lane.base..lane.next).map(|number| (number, numbered(*sender, number))).collect();
            assert_eq!(found, expected, "round {rounds}");
        }
        store.close().await;
        rounds += 1;
    }
    assert!(accepted.values().sum::<u64>() > 0, "the child has accepted nothing");
}

#[tokio::test]
async fn a_process_that_was_started_meanwhile_and_still_has_the_file_does_not_keep_the_lock() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).close().await;
    let path = directory.path().join("guaranteed.store");
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    // What a child has between its fork and the program that it becomes.
    let inherited = file.try_clone().unwrap();

    let claimed = file::claim(file, directory.path(), &path, own()).unwrap();
    let while_claimed = Store::open(directory.path(), own(), LIMITS).map(drop);
    drop(claimed);
    let store = open(directory.path());

    assert!(matches!(while_claimed, Err(StoreError::Locked { .. })), "{while_claimed:?}");
    store.close().await;
    drop(inherited);
}

#[tokio::test]
async fn a_second_process_hears_that_the_store_is_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let (mut child, mut lines) = start_child(directory.path());
    lines.next().unwrap();

    let found = Store::open(directory.path(), own(), LIMITS);
    child.kill().unwrap();
    child.wait().unwrap();

    assert!(matches!(found, Err(StoreError::Locked { .. })), "{found:?}");
    open(directory.path());
}

/// Appends until it is killed, and prints what was accepted.
#[tokio::test]
#[ignore = "the other process of the tests above"]
async fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let store = open(Path::new(&directory));
    let begun = Instant::now();
    let lanes: BTreeMap<_, _> = store.send_lanes().into_iter().map(|lane| (lane.key, lane)).collect();
    let tasks: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (store, lane) = (store.clone(), lanes.get(&lane_of(sender)).copied());
            tokio::spawn(async move {
                if lane.is_none() {
                    drop(store.open_lane(lane_of(sender), 1));
                }
                for number in lane.map_or(1, |lane| lane.next).. {
                    accept(&store, lane_of(sender), number, &numbered(sender, number)).await.unwrap();
                    let line = format!("accepted {sender} {number}\n");
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                    store.settle(lane_of(sender), number.saturating_sub(20), &[]);
                    // Should nobody kill it.
                    assert!(begun.elapsed() < Duration::from_secs(60));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

fn numbered(sender: u16, number: u64) -> StoredMessage {
    let seed = u64::from(sender) << 32 | number;
    message((seed.wrapping_mul(2_654_435_761) >> 7) as usize % 6000, seed)
}

fn start_child(directory: &Path) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["store::tests::processes::child", "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let accepted = |line: std::io::Result<String>| {
        // The harness may have begun the line.
        line.ok().and_then(|line| line.split_once("accepted ").map(|(_, rest)| rest.to_owned()))
    };
    (child, lines.filter_map(accepted))
}

fn note(accepted: &mut BTreeMap<u16, u64>, line: Option<String>) {
    let line = line.expect("the child goes on");
    let (sender, number) = line.split_once(' ').unwrap();
    let last = accepted.entry(sender.parse().unwrap()).or_default();
    *last = number.parse::<u64>().unwrap().max(*last);
}
