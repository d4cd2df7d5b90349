//! A newer node is no enemy: what an older one does not know of it is opaque or refused, and the session lasts.

use hyphal::family::heartbeat::Heartbeat;
use hyphal::family::{Body, Unreadable};
use hyphal::{Reason, UnknownTypes};
use hyphal_core::wire::message::MessageHeader;

use crate::hand::{Hand, Papers, message_header, messages};
use crate::scene::Scene;

#[tokio::test]
async fn unknown_families_and_versions_are_delivered_as_they_came() {
    let mut scene = Scene::new().await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;

    hand.send(&newer_messages()).await;

    for (kind, payload, read) in expected() {
        let delivered = scene.delivered().await;
        assert_eq!((delivered.kind, &delivered.payload[..]), (kind, payload));
        assert_eq!(delivered.body::<Heartbeat>(), read, "{kind:#06x}");
    }
    assert_eq!(scene.victim.counters().received_dropped, []);
    assert_eq!(scene.received_from_others(), expected().len() as u64);
    assert_eq!(scene.closed_in_all(), 0);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn where_that_is_configured_unknown_families_are_refused_and_all_else_arrives() {
    let mut scene = Scene::with(|victim| victim.unknown_types(UnknownTypes::Refuse)).await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;

    hand.send(&newer_messages()).await;

    let of_families = expected().into_iter().filter(|(kind, ..)| *kind != UNASSIGNED);
    for (kind, payload, read) in of_families {
        let delivered = scene.delivered().await;
        assert_eq!((delivered.kind, &delivered.payload[..]), (kind, payload));
        assert_eq!(delivered.body::<Heartbeat>(), read, "{kind:#06x}");
    }
    scene.assert_dropped(Reason::UnknownType, 1);
    assert_eq!(scene.received_from_others(), expected().len() as u64 - 1);
    assert_eq!(scene.closed_in_all(), 0);
    scene.assert_friend_is_unharmed().await;
}

/// What a newer node may send, and what an older one makes of it that looks for heartbeats.
fn expected() -> [(u16, &'static [u8], Result<Heartbeat, Unreadable<'static>>); 6] {
    [
        // Of no family here.
        (UNASSIGNED, b"\x01new", Err(Unreadable::Kind(UNASSIGNED))),
        // Of a family without bodies here, and a type that its family does not have.
        (0x0577, b"\x00\xFFopaque", Err(Unreadable::Kind(0x0577))),
        (0x01FE, b"\x01\x00", Err(Unreadable::Kind(0x01FE))),
        // Of a version that comes later.
        (Heartbeat::KIND, b"\x02\x07more", Err(Unreadable::Version { version: 2, bytes: b"\x07more" })),
        // Nothing new: just wrong.
        (Heartbeat::KIND, b"\x01\x07", Err(Unreadable::Malformed)),
        (Heartbeat::KIND, b"\x01\x07\x3C\x00", Ok(Heartbeat { sequence: 7, uptime: 60, load: None })),
    ]
}

/// All of them in one record.
fn newer_messages() -> Vec<u8> {
    let list = expected();
    let of_type = |kind, sequence| MessageHeader { kind, ..message_header(sequence) };
    let list: Vec<_> = (1..).zip(list).map(|(at, (kind, payload, _))| (of_type(kind, at), payload)).collect();
    messages(&list)
}

const UNASSIGNED: u16 = 0x0E00;
