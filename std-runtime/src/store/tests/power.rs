//! The power goes at every kind of moment: what a commit had returned is there, and no commit is there in part.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use tokio::sync::oneshot;

use super::super::database::{self, Index, Lease, Opened};
use super::super::room::Rooms;
use super::super::writer::{Batch, Operation, Settled};
use super::disk::TestDisk;
use super::*;

/// What a lane holds, as a model keeps it.
type Model = BTreeMap<u64, StoredMessage>;

#[tokio::test]
async fn a_loss_of_power_undoes_no_commit_and_halves_none() {
    for seed in 0..60 {
        #[expect(clippy::print_stdout, reason = "a failed test shows its seed")]
        {
            println!("seed {seed}");
        }
        lose_power(&mut ChaCha8Rng::seed_from_u64(seed));
    }
}

fn lose_power(rng: &mut ChaCha8Rng) {
    let disk = Arc::new(TestDisk::default());
    database::initialise(disk.clone(), Path::new("test")).unwrap();
    let mut model = Model::new();
    let mut next = 1;

    // Several losses one after another: what a repair writes can be cut off too.
    let mut image = disk.bytes();
    for _ in 0..4 {
        let disk = Arc::new(TestDisk::holding(std::mem::take(&mut image)));
        let operations = rng.next_u32() % 200;
        disk.lose_power_after(operations);
        let mut unsure = None;
        if let Ok(opened) = open(disk.clone()) {
            let Loaded { mut index, .. } = opened.load(Path::new("test")).unwrap();
            check(&opened, &model, None);
            loop {
                let (batch, after) = batch(&model, &mut next, &index, rng);
                match opened.commit(&index, 9, &batch) {
                    Ok(changes) => {
                        index.apply(&changes);
                        model = after;
                    }
                    Err(_) => {
                        unsure = Some(after);
                        break;
                    }
                }
            }
            opened.access().cut_off();
        }
        image = disk.after_power_loss(rng);

        let opened = open(Arc::new(TestDisk::holding(image.clone())));
        let opened = opened.unwrap_or_else(|error| panic!("after {operations} writes: {error}"));
        opened.load(Path::new("test")).unwrap();
        model = check(&opened, &model, unsure);
    }
}

fn open(disk: Arc<TestDisk>) -> Result<Opened, StoreError> {
    Opened::open(Access::new(disk), Lease::new().0, Path::new("test"))
}

/// The model that the database agrees with: the last commit that returned, or the one under way.
fn check(opened: &Opened, model: &Model, unsure: Option<Model>) -> Model {
    let found: Model =
        opened.read(lane(1), 0..u64::MAX, usize::MAX, usize::MAX).unwrap().into_iter().collect();
    if unsure.as_ref() == Some(&found) {
        return found;
    }
    let numbers = |model: &Model| model.keys().copied().collect::<Vec<_>>();
    assert!(found == *model, "{:?} instead of {:?}", numbers(&found), numbers(model));
    found
}

fn batch(model: &Model, next: &mut u64, index: &Index, rng: &mut ChaCha8Rng) -> (Batch, Model) {
    let rooms = Rooms::new(1 << 30, 0);
    let mut after = model.clone();
    let mut batch = Batch::default();
    if index.send.is_empty() {
        batch.operations.push(Operation::Open { lane: lane(1), epoch: 1, answer: oneshot::channel().0 });
    }
    for _ in 0..rng.next_u32() % 6 {
        let message = message(rng.next_u32() as usize % 9000, u64::from(rng.next_u32()));
        let room = rooms.try_reserve(message.payload.len()).unwrap();
        after.insert(*next, message.clone());
        let answer = oneshot::channel().0;
        batch.operations.push(Operation::Append { lane: lane(1), number: *next, message, room, answer });
        *next += 1;
    }
    if let (Some(first), 0) = (model.keys().next(), rng.next_u32() % 2) {
        let base = first + u64::from(rng.next_u32()) % 4;
        after.retain(|number, _| *number >= base);
        let settled = Settled { base, ..Settled::default() };
        batch.operations.push(Operation::Settle { lane: lane(1), settled });
    }
    (batch, after)
}
