//! The address of a peer follows its newest record, carefully: what is stolen is returned, and nobody is flooded.

use hyphal_core::{session::Path, time::Duration};
use hyphal_lab::{
    drive::Drive,
    link::header,
    network::{PacketConditions, Side},
    packets::{OPENER, PacketPair},
    seed::Seed,
};

const MOVED: Path = Path { address: [5; 16], port: 5005 };
const VICTIM: Path = Path { address: [6; 16], port: 6006 };

#[test]
fn a_peer_that_moves_is_followed_and_proven_by_an_echo() {
    let seed = Seed::of(1);
    let mut pair = PacketPair::up(&seed, PacketConditions::default());
    pair.drive_for(Duration::from_millis(500));

    pair.opener().address = MOVED;
    pair.send(Side::Opener, header(1), b"from elsewhere").unwrap();
    pair.drive_for(Duration::from_secs(3));
    for sequence in 1..40 {
        pair.send(Side::Target, header(sequence), &[1; 900]).unwrap();
    }
    let is_done = pair.drive_until(Duration::from_secs(5), |pair| pair.target().outbox.is_idle());

    assert!(is_done, "an address that has echoed a ping has no limit");
    assert_eq!(pair.opener().delivered.len(), 39);
    assert!(pair.target().bytes_to(MOVED) > 3 * pair.target().heard[&MOVED]);
}

#[test]
fn a_stolen_address_gets_three_times_what_came_from_it_and_is_returned() {
    let seed = Seed::of(2);
    let mut pair = PacketPair::up(&seed, PacketConditions::default());
    pair.drive_for(Duration::from_millis(500));

    // A thief takes the peer's newest record off the line and sends it on from the victim's address.
    let before = pair.opener().sent.len();
    pair.opener().address = VICTIM;
    pair.send(Side::Opener, header(1), b"stolen").unwrap();
    pair.settle();
    assert!(pair.opener().sent.len() > before);
    pair.drive_until(Duration::from_secs(1), |pair| pair.target().heard.contains_key(&VICTIM));
    pair.opener().address = OPENER;
    for sequence in 1..40 {
        pair.send(Side::Target, header(sequence), &[1; 900]).unwrap();
    }
    pair.drive_for(Duration::from_millis(100));

    let (sent, heard) = (pair.target().bytes_to(VICTIM), pair.target().heard[&VICTIM]);
    assert!(sent <= 3 * heard, "{sent} for {heard}");

    // The peer speaks again, and gets everything where it is.
    let is_done = pair.drive_until(Duration::from_secs(10), |pair| pair.target().outbox.is_idle());
    assert!(is_done);
    assert_eq!(pair.opener().delivered.len(), 39);
    assert!(pair.target().bytes_to(VICTIM) <= 3 * pair.target().heard[&VICTIM]);
}

#[test]
fn an_overtaken_record_moves_nothing() {
    let seed = Seed::of(3);
    let mut pair = PacketPair::up(&seed, PacketConditions::default());
    pair.drive_for(Duration::from_millis(500));
    // The record is lost on its way to the peer, and a thief has a copy.
    pair.opener().address = MOVED;
    pair.send(Side::Opener, header(1), b"held back").unwrap();
    let target = std::mem::replace(&mut pair.target().address, VICTIM);
    let before = pair.opener().sent.len();
    pair.settle();
    let (_, held) = pair.opener().sent[before].clone();
    pair.target().address = target;
    pair.opener().address = OPENER;
    pair.drive_for(Duration::from_secs(2));

    pair.inject(Side::Target, VICTIM, &held);
    pair.drive_for(Duration::from_secs(2));

    assert_eq!(pair.target().bytes_to(VICTIM), 0);
    assert_eq!(pair.target().payloads(), [b"held back"]);
}
