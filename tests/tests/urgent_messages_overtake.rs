//! What is urgent leaves first, order within a class stays, and no class starves.

use hyphal_core::{ids::Priority, outbox::Header, time::Duration};
use hyphal_lab::{
    drive::Drive,
    link::header,
    network::Side,
    pair::{Pair, Setup},
    seed::Seed,
};

#[test]
fn critical_before_high_before_medium_before_low() {
    let seed = Seed::of(1);
    let mut pair = Pair::new(&seed);
    for (sequence, priority) in (0..).zip([0, 1, 2, 3, 0, 1, 2, 3].map(|class| Priority::ALL[class])) {
        pair.send(Side::Opener, Header { priority, ..header(sequence) }, &[]).expect("there is room");
    }

    pair.drive_until_up();
    pair.drive_for(Duration::from_millis(10));

    let sequences: Vec<u64> = pair.target().delivered.iter().map(|delivered| delivered.id.sequence).collect();
    assert_eq!(sequences, [3, 7, 2, 6, 1, 5, 0, 4]);
}

#[test]
fn a_critical_message_waits_for_one_record_at_most_on_a_busy_link() {
    let seed = Seed::of(2);
    let mut setup = Setup::new(&seed);
    setup.conditions.bandwidth = Some(1_000_000);
    setup.conditions.window = 16 * 1024;
    let mut pair = Pair::up_with(&seed, setup);
    for sequence in 0..200 {
        pair.send(Side::Opener, header(sequence), &[0; 4000]).expect("there is room");
    }
    pair.drive_for(Duration::from_millis(100));
    let sent_at = pair.now();

    let critical = Header { priority: Priority::Critical, ..header(1000) };
    pair.send(Side::Opener, critical, b"now").expect("there is room");
    pair.drive_for(Duration::from_secs(2));

    let delivered = &pair.target().delivered;
    let critical = delivered.iter().find(|delivered| delivered.id.sequence == 1000).expect("it came");
    // One full window is under way, one record of 16 KiB takes 16 ms, and the way 1 ms.
    assert!(critical.at.since(sent_at) < Duration::from_millis(40), "{:?}", critical.at.since(sent_at));
    assert_eq!(delivered.len(), 201);
    let others = delivered.iter().map(|delivered| delivered.id.sequence).filter(|sequence| *sequence < 1000);
    assert!(others.eq(0..200));
}

#[test]
fn low_messages_pass_while_critical_ones_keep_coming() {
    let mut pair = Pair::new(&Seed::of(3));
    for sequence in 0..100 {
        let critical = Header { priority: Priority::Critical, ..header(sequence) };
        pair.send(Side::Opener, critical, &[]).expect("there is room");
    }
    pair.send(Side::Opener, Header { priority: Priority::Low, ..header(100) }, &[]).expect("there is room");

    pair.drive_until_up();
    pair.drive_for(Duration::from_millis(10));

    let place = pair.target().delivered.iter().position(|delivered| delivered.priority == Priority::Low);
    assert_eq!(place, Some(32), "Low lets 32 others pass");
}
