//! A stream has no message boundaries: however the bytes fall into pieces, the same session comes of them.

use hyphal_core::time::Duration;
use hyphal_lab::{
    drive::Drive,
    link::header,
    network::{Segments, Side},
    pair::{Pair, Setup},
    seed::{Odds, Seed},
};

#[test]
fn byte_by_byte() {
    talks(&Seed::of(1), Segments::Every(1), Odds::NEVER);
}

#[test]
fn in_pieces_of_every_length_up_to_the_longest_flight() {
    for len in 2..=140 {
        talks(&Seed::of(len as u64), Segments::Every(len), Odds::NEVER);
    }
}

#[test]
fn in_random_pieces_with_stalls_between_them() {
    for seed in Seed::series(40) {
        talks(&seed, Segments::Random(50), Odds::percent(5));
    }
}

fn talks(seed: &Seed, segments: Segments, stalls: Odds) {
    let mut setup = Setup::new(seed);
    setup.conditions.segments = segments;
    setup.conditions.stalls = stalls;
    setup.conditions.stall = Duration::from_millis(20);
    let mut pair = Pair::up_with(seed, setup);

    pair.send(Side::Opener, header(1), b"there").expect("there is room");
    pair.send(Side::Target, header(1), b"and back").expect("there is room");
    pair.drive_for(Duration::from_secs(2));

    assert_eq!(pair.target().payloads(), [b"there"]);
    assert_eq!(pair.opener().payloads(), [b"and back"]);
}
