//! Nothing waits for company: an idle link sends at once, and what comes while a link is busy shares its records.

use hyphal_core::time::Duration;
use hyphal_lab::{
    drive::Drive,
    link::header,
    network::{Side, StreamConditions},
    pair::{Pair, Setup},
    scripted::Scripted,
    seed::Seed,
    subject::Subject,
};

#[test]
fn a_message_on_an_idle_link_leaves_at_once_in_a_record_of_its_own() {
    let (mut subject, mut peer) = up(&Seed::of(1));

    for sequence in 1..=20 {
        subject.send(header(sequence), b"alone");
        let records = peer.hear_records(&subject.say());

        assert_eq!(records.len(), 1);
        assert!(records[0].ends_with(b"alone"));
    }
}

#[test]
fn what_waited_for_the_link_fills_its_records() {
    let (mut subject, mut peer) = up(&Seed::of(2));
    for sequence in 1..=1_000 {
        subject.send(header(sequence), &[7; 100]);
    }

    let records = peer.hear_records(&subject.say());

    let full = &records[..records.len() - 1];
    assert!(full.iter().all(|record| record.len() > 16_000), "{} records", records.len());
}

#[test]
fn an_idle_link_adds_no_delay_to_the_way() {
    let seed = Seed::of(3);
    let delay = Duration::from_millis(10);
    let conditions = StreamConditions { delay, ..StreamConditions::default() };
    let mut pair = Pair::up_with(&seed, Setup { conditions, ..Setup::new(&seed) });
    pair.drive_for(Duration::from_millis(300));
    let sent_at = pair.now();

    pair.send(Side::Opener, header(1), b"at once").expect("there is room");
    pair.drive_until(Duration::from_secs(1), |pair| !pair.target().delivered.is_empty());

    assert_eq!(pair.now().since(sent_at), delay);
}

/// A responder under examination whose Accept and first ping a scripted peer has heard.
fn up(seed: &Seed) -> (Subject, Scripted) {
    let mut subject = Subject::accepting(seed);
    let mut peer = Scripted::new(seed);
    subject.hear_handshake(&mut peer);
    (subject, peer)
}
