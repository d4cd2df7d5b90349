//! Sessions in order, messages that are not: each is dropped with a reason, and its neighbours arrive.

use hyphal::{Limits, NodeBuilder, Reason, SendError, SendOptions, UnknownTypes};
use hyphal_core::wire::message::MessageHeader;
use hyphal_core::wire::record;

use crate::hand::{Hand, Papers, message, message_header, messages};
use crate::scene::Scene;

#[tokio::test]
async fn a_message_over_the_limit_ends_the_session_of_its_sender() {
    let mut scene = Scene::with(narrow).await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
    let longest = vec![0x55; LONGEST as usize];
    hand.send(&message(1, &longest)).await;
    assert_eq!(scene.delivered().await.payload, longest);

    hand.send(&message(2, &vec![0x55; LONGEST as usize + 1])).await;

    hand.expect_close(Reason::TooLong).await;
    scene.assert_closed(Reason::TooLong, 1);
    assert_eq!(scene.received_from_others(), 1);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_well_behaved_sender_is_told_the_limit_before_anything_is_sent() {
    let mut scene = Scene::with(narrow).await;
    let victim = scene.victim.id();

    let sent = scene
        .friend
        .send_direct(victim, 1, vec![0; LONGEST as usize + 1], SendOptions::default())
        .await
        .map(drop);

    assert_eq!(sent, Err(SendError::TooLong { max: LONGEST }));
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_record_over_the_limit_is_refused_from_its_length_on() {
    let mut scene = Scene::new().await;
    let beyond = usize::from(u16::MAX) + 1;
    let mut length = vec![0; record::length_len(beyond)];
    record::encode_length(beyond, &mut length).unwrap();

    for (count, length) in (1..).zip([length, vec![0xFF, 0xFF, 0xFF]]) {
        let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
        let before = scene.bytes_read();
        hand.raw.send(&length).await;

        hand.expect_close(Reason::TooLong).await;

        scene.assert_closed(Reason::TooLong, count);
        assert!(scene.bytes_read() - before < 1024);
    }
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn an_unassigned_message_type_is_refused_where_that_is_configured_and_its_neighbours_arrive() {
    let mut scene = Scene::with(|victim| victim.unknown_types(UnknownTypes::Refuse)).await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;

    hand.send(&messages(&[
        (of_type(0x1000, 1), b"before"),
        (of_type(0x0E00, 2), b"unassigned"),
        (of_type(0x0FFF, 3), b"unassigned"),
        (of_type(0x1000, 4), b"after"),
    ]))
    .await;

    assert_eq!(scene.delivered().await.payload, "before");
    assert_eq!(scene.delivered().await.payload, "after");
    scene.assert_dropped(Reason::UnknownType, 2);
    assert_eq!(scene.closed_in_all(), 0);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn an_unknown_message_type_is_delivered_as_opaque_bytes() {
    let mut scene = Scene::new().await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;

    // Of a family that no program here speaks, and of none at all.
    for (sequence, kind) in (1..).zip([0x0577, 0x0E00]) {
        hand.send(&messages(&[(of_type(kind, sequence), b"\x00\xFFopaque")])).await;

        let delivered = scene.delivered().await;
        assert_eq!((delivered.kind, &delivered.payload[..]), (kind, &b"\x00\xFFopaque"[..]));
    }
    assert_eq!(scene.victim.counters().received_dropped, []);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_message_whose_time_to_live_has_passed_is_dropped() {
    let mut scene = Scene::new().await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
    // Ages are in units of 16 ms: 63 of them are just over a second.
    let old = MessageHeader { ttl: 1, age: 63, ..message_header(1) };
    let older = MessageHeader { ttl: 60, age: u32::MAX, ..message_header(2) };
    let eternal = MessageHeader { ttl: 0, age: u32::MAX, ..message_header(3) };

    hand.send(&messages(&[(old, b"too late"), (older, b"much too late"), (eternal, b"never too late")]))
        .await;

    assert_eq!(scene.delivered().await.payload, "never too late");
    scene.assert_dropped(Reason::Expired, 2);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_message_that_is_sent_again_is_dropped_also_over_a_later_session() {
    let mut scene = Scene::new().await;
    let papers = Papers::new();
    let mut hand = Hand::shake(scene.address(), &papers).await;
    hand.send(&message(5, b"once")).await;
    hand.send(&message(5, b"again")).await;
    assert_eq!(scene.delivered().await.payload, "once");

    let mut later = Hand::shake(scene.address(), &papers).await;
    later.send(&messages(&[(message_header(5), b"and again"), (message_header(6), b"another")])).await;

    assert_eq!(scene.delivered().await.payload, "another");
    scene.assert_dropped(Reason::Duplicate, 2);
    scene.assert_friend_is_unharmed().await;
}

fn of_type(kind: u16, sequence: u64) -> MessageHeader {
    MessageHeader { kind, ..message_header(sequence) }
}

fn narrow(victim: NodeBuilder) -> NodeBuilder {
    let mut limits = Limits::default();
    limits.max_message = LONGEST;
    victim.limits(limits)
}

const LONGEST: u32 = 1000;
