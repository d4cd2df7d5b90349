//! Credit over datagrams: nothing is held beyond the window, a lost update is told again, and no message is lost.

use hyphal_core::time::Duration;
use hyphal_lab::{
    drive::Drive,
    link::reliable,
    network::{PacketConditions, Side},
    packets::{PacketPair, PacketSetup},
    seed::{Odds, Seed},
};

const WINDOW: u32 = 20_000;

#[test]
fn a_receiver_that_hoards_holds_no_more_than_its_window_and_gets_the_rest_later() {
    for seed in Seed::series(10) {
        let mut setup = PacketSetup::new(&seed);
        setup.conditions = PacketConditions {
            loss: Odds::percent(10),
            reorder: Odds::percent(10),
            duplicate: Odds::percent(5),
            ..PacketConditions::default()
        };
        setup.ends[1].config.window = WINDOW;
        setup.ends[1].config.max_record = 1_200;
        let mut pair = PacketPair::with(&seed, setup);
        if !pair.drive_until(Duration::from_secs(6), |pair| {
            pair.opener().session.as_ref().is_some_and(|session| session.is_up())
        }) {
            continue;
        }
        pair.target().hoards = true;
        for sequence in 0..200 {
            pair.send(Side::Opener, reliable(sequence), &[sequence as u8; 500]).unwrap();
        }

        let mut most = 0;
        for _ in 0..40 {
            let before = pair.target().delivered.len();
            pair.target().hoards = true;
            pair.drive_for(Duration::from_millis(700));
            most = most.max(pair.target().delivered.len() - before);
            let now = pair.now();
            pair.target().consume(now);
        }
        pair.drive_for(Duration::from_secs(5));

        assert!(most * 500 <= WINDOW as usize, "{most} messages at once");
        assert_eq!(pair.target().delivered.len(), 200, "seed {}", seed.number());
        assert_eq!(pair.opener().outbox.counters().confirmed, 200, "seed {}", seed.number());
    }
}
