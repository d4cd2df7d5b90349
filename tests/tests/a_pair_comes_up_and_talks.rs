//! Two strangers on a good link: the handshake, messages both ways, and an orderly end.

use hyphal_core::{
    ids::{MessageId, Priority},
    outbox::Header,
    time::Duration,
    wire::reason::Reason,
};
use hyphal_lab::{drive::Drive, link::header, network::Side, pair::Pair, seed::Seed};

#[test]
fn both_ends_learn_who_the_other_is() {
    let mut pair = Pair::new(&Seed::of(1));

    pair.drive_until_up();

    let (opener, target) = (pair.opener().id, pair.target().id);
    assert_eq!(pair.opener().link.up.map(|(_, peer)| peer), Some(target));
    assert_eq!(pair.target().link.up.map(|(_, peer)| peer), Some(opener));
}

#[test]
fn a_message_arrives_with_everything_its_sender_said() {
    let mut pair = Pair::up(&Seed::of(2));
    let header = Header {
        kind: 0x0501,
        priority: Priority::High,
        broadcast: true,
        sequence: 7,
        ttl: 9,
        ..Header::default()
    };

    pair.send(Side::Opener, header, b"spore").expect("there is room");
    pair.drive_for(Duration::from_millis(10));

    let boot_id = pair.opener().boot_id;
    let [delivered] = pair.target().delivered.as_slice() else { panic!("not one message") };
    assert_eq!(delivered.id, MessageId { epoch: boot_id, sequence: 7 });
    assert_eq!((delivered.kind, delivered.priority), (0x0501, Priority::High));
    assert!(delivered.broadcast);
    assert_eq!(delivered.ttl, 9);
    assert_eq!(delivered.payload, b"spore");
}

#[test]
fn messages_keep_their_order_both_ways_at_once() {
    let mut pair = Pair::up(&Seed::of(3));
    let payloads: Vec<Vec<u8>> = (0..200u16).map(|n| n.to_be_bytes().repeat(usize::from(n))).collect();

    for (sequence, payload) in (0..).zip(&payloads) {
        pair.send(Side::Opener, header(sequence), payload).expect("there is room");
        pair.send(Side::Target, header(sequence), payload).expect("there is room");
    }
    pair.drive_for(Duration::from_secs(1));

    assert_eq!(pair.target().payloads(), payloads);
    assert_eq!(pair.opener().payloads(), payloads);
}

#[test]
fn a_close_tells_the_other_end_the_reason_after_all_messages() {
    let mut pair = Pair::up(&Seed::of(4));
    pair.send(Side::Opener, header(0), b"farewell").expect("there is room");
    pair.drive_for(Duration::ZERO);

    pair.close(Side::Opener, Reason::Shutdown);

    assert!(pair.drive_until_closed());
    assert_eq!(pair.target().payloads(), [b"farewell"]);
    assert_eq!(pair.target().link.closed_by_peer_for(), Some(Reason::Shutdown));
    assert_eq!(pair.opener().link.closed_for(), Some(Reason::Shutdown));
    assert_eq!(pair.opener().link.closed_by_peer_for(), None);
}
