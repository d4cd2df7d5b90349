//! On an idle link both ends hear from each other often enough, and learn how long the way is.

use hyphal_core::time::{Duration, Instant};
use hyphal_lab::{
    drive::Drive,
    network::Side,
    pair::{Pair, Setup},
    seed::Seed,
};

#[test]
fn an_idle_link_stays_up_for_hours() {
    let mut pair = Pair::up(&Seed::of(1));

    pair.drive_for(Duration::from_secs(2 * 3600));

    for side in Side::BOTH {
        let end = pair.end(side);
        assert!(end.link.session.is_up());
        assert!(end.link.round_trips.len() >= 7_190);
        assert!(end.link.dropped.is_empty());
    }
}

#[test]
fn the_round_trip_is_that_of_the_link_to_the_microsecond() {
    for millis in [0, 1, 20, 300] {
        let seed = Seed::of(2);
        let mut setup = Setup::new(&seed);
        setup.conditions.delay = Duration::from_millis(millis);
        let mut pair = Pair::up_with(&seed, setup);

        pair.drive_for(Duration::from_secs(60));

        for side in Side::BOTH {
            let round_trips = &pair.end(side).link.round_trips;
            assert!(round_trips.len() >= 58, "{} measurements in a minute", round_trips.len());
            assert!(round_trips.iter().all(|round_trip| *round_trip == Duration::from_millis(2 * millis)));
        }
    }
}

#[test]
fn ends_with_different_heartbeats_do_not_take_each_other_for_dead() {
    let seed = Seed::of(3);
    let mut setup = Setup::new(&seed);
    setup.opener().config.heartbeat = Duration::from_millis(50);
    setup.target().config.heartbeat = Duration::from_secs(60);
    let mut pair = Pair::up_with(&seed, setup);

    pair.drive_for(Duration::from_secs(600));

    assert!(pair.opener().link.session.is_up());
    assert!(pair.target().link.session.is_up());
}

#[test]
fn links_made_in_the_same_instant_do_not_beat_together() {
    const INTERVAL: Duration = Duration::from_secs(1);
    let mut tenths = [0; 10];
    for seed in Seed::series(100) {
        let mut pair = Pair::up(&seed);
        let up_at = pair.now();
        let mut beats: Vec<Instant> = Vec::new();
        pair.drive_until(Duration::from_secs(5), |pair| {
            if pair.opener().link.round_trips.len() > beats.len() {
                beats.push(pair.now());
            }
            false
        });

        assert!(beats.windows(2).all(|beats| beats[1].since(beats[0]) <= INTERVAL), "{beats:?}");
        let place = beats[beats.len() - 1].since(up_at).as_micros() % INTERVAL.as_micros();
        tenths[(place * 10 / INTERVAL.as_micros()) as usize] += 1;
    }

    assert!(tenths.iter().all(|links| *links < 25), "{tenths:?}");
}
