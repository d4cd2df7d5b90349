//! The promise of Guaranteed messages, held against real processes that are killed, or end in good order, at random moments.
//!
//! Sender and receiver are this test program again, which runs `child` only. Both write what happens into files, line by
//! line, each line by one write as it happens: a message is `accepted` when the call returned, and `got` before it is acknowledged.

#![cfg(unix)]

mod actor;
mod scene;

use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use scene::{Scene, Who};

#[test]
fn nothing_that_was_accepted_is_lost_whoever_is_killed_when() {
    let mut rng = seeded();
    let mut scene = Scene::new();
    let begun = Instant::now();
    let mut rounds = 0;

    while rounds < 6 || (rounds < 60 && begun.elapsed() < Duration::from_secs(10)) {
        // A full store would have the sender wait for a receiver that is not there. Filling what is free takes far more messages than
        // a round waits for.
        if scene.account().waiting > MOST_WAITING {
            scene.drain();
        }
        scene.start_missing();
        scene.await_accepted(u64::from(rng.next_u32() % 120));
        match rng.next_u32() % 4 {
            0 => scene.kill(Who::Sender),
            1 => scene.kill(Who::Receiver),
            2 => scene.end_receiver(),
            _ => {
                scene.kill(Who::Receiver);
                scene.await_accepted(u64::from(rng.next_u32() % 40));
                scene.kill(Who::Sender);
            }
        }
        // What waits must not wait for further messages, or for nothing.
        if rng.next_u32().is_multiple_of(3) {
            scene.drain();
        }
        rounds += 1;
    }
    scene.drain();

    let account = scene.account();
    report(&format!("{rounds} rounds: {account:?}"));
    assert!(account.accepted > 0);
    assert_eq!(
        (account.waiting, account.doubled),
        (0, 0),
        "lost, or doubled within one life of the receiver"
    );
    assert_eq!(account.forgotten, 0, "came again to a receiver that had ended in good order");
}

#[test]
fn a_full_disk_refuses_messages_and_loses_none_that_was_accepted() {
    let mut scene = Scene::new();
    scene.limit_files(4096);
    scene.start_missing();

    let refusal = scene.await_refusal();
    assert!(refusal.contains("is full; make room"), "{refusal}");
    scene.unlimit_files();
    scene.drain();

    let account = scene.account();
    report(&format!("{account:?}"));
    assert!(account.accepted > 0);
    assert_eq!((account.waiting, account.doubled), (0, 0));
}

/// The other process of the tests above.
#[test]
#[ignore = "a part of the other tests"]
fn child() {
    actor::run();
}

/// Messages, of 74 KiB on average, in a store for 256 MiB.
const MOST_WAITING: usize = 1000;

fn seeded() -> ChaCha8Rng {
    let seed = std::env::var("GUARANTEED_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    report(&format!("seed {seed}; replay with GUARANTEED_SEED={seed}"));
    ChaCha8Rng::seed_from_u64(seed)
}

#[expect(clippy::print_stdout, reason = "a failed test shows its seed")]
fn report(line: &str) {
    println!("{line}");
}
