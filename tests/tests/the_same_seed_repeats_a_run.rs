//! A run is a function of its seed: the same one repeats it bit for bit, another one does not.

use hyphal_core::{ids::Priority, outbox::Header, time::Duration};
use hyphal_lab::{
    drive::Drive,
    link::header,
    network::{Segments, Side},
    pair::{Order, Pair, Setup},
    seed::{Odds, Seed},
    transcript::Fingerprint,
};

#[test]
fn bit_for_bit() {
    for seed in Seed::series(5) {
        let first = run(&seed);
        let again = run(&seed);

        assert_eq!(first, again);
    }
}

#[test]
fn another_seed_gives_another_run() {
    let runs: Vec<_> = Seed::series(5).map(|seed| run(&seed)).collect();

    for (at, run) in runs.iter().enumerate() {
        assert!(!runs[..at].contains(run));
    }
}

fn run(seed: &Seed) -> (Fingerprint, Fingerprint) {
    let mut chance = seed.generator("run");
    let mut setup = Setup::new(seed);
    setup.conditions.jitter = Duration::from_millis(8);
    setup.conditions.segments = Segments::Random(200);
    setup.conditions.stalls = Odds::percent(2);
    setup.conditions.stall = Duration::from_millis(100);
    setup.order = Order::shuffled(seed);
    let mut pair = Pair::up_with(seed, setup);
    for sequence in 0..100 {
        let side = Side::BOTH[chance.index(2)];
        let priority = Priority::ALL[chance.index(4)];
        let len = chance.index(500);
        let payload = chance.bytes(len);
        pair.send(side, Header { priority, ..header(sequence) }, &payload).expect("there is room");
        pair.drive_for(chance.span(Duration::from_millis(30)));
    }
    pair.drive_for(Duration::from_secs(5));
    pair.fingerprint()
}
