//! An end that stops reading on purpose takes nobody for dead, is not taken for dead, and misses nothing.

use hyphal_core::time::Duration;
use hyphal_lab::{
    link::header,
    network::Side,
    pair::{Pair, Setup},
    seed::Seed,
};

#[test]
fn a_pause_of_a_minute_holds_the_sender_back_and_loses_nothing() {
    let seed = Seed::of(1);
    let mut setup = Setup::new(&seed);
    setup.conditions.window = 32 * 1024;
    let mut pair = Pair::up_with(&seed, setup);
    pair.target().link.session.handle_pause();
    pair.network.pause_reading(pair.stream, Side::Target);
    for sequence in 0..100 {
        pair.send(Side::Opener, header(sequence), &[0; 1000]).expect("there is room");
    }

    pair.drive_for(Duration::from_secs(50));
    let waiting = pair.opener().outbox.queued();
    let now = pair.now();
    pair.target().link.session.handle_resume(now);
    pair.network.resume_reading(pair.stream, Side::Target);
    pair.drive_for(Duration::from_secs(1));

    assert!(waiting > 60, "the window holds 32 KiB, so most still wait: {waiting}");
    let sequences: Vec<u64> = pair.target().delivered.iter().map(|delivered| delivered.id.sequence).collect();
    assert_eq!(sequences, (0..100).collect::<Vec<_>>());
    assert!(pair.opener().link.session.is_up());
    assert!(pair.target().link.session.is_up());
    assert_eq!(pair.opener().outbox.counters().confirmed, 100);
}
