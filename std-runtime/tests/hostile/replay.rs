//! Genuine bytes, sent again by somebody who only recorded them.

use hyphal::Reason;
use hyphal_core::wire::control::Control;
use hyphal_core::wire::frame::{Kind, Refusal};

use crate::hand::{Attempt, Hand, Papers, message};
use crate::raw::{Raw, frame_of};
use crate::scene::Scene;

#[tokio::test]
async fn a_replayed_handshake_fails_and_leaves_the_genuine_session_alone() {
    let mut scene = Scene::new().await;
    let papers = Papers::new();
    let (mut attempt, first) = Attempt::dial(Raw::connect(scene.address()).await, &papers);
    attempt.raw.send(&first).await;
    attempt.read_flight().await;
    let third = attempt.flight(Kind::Xx3, &papers.hello_bytes());
    attempt.raw.send(&third).await;
    let mut genuine = attempt.established();
    assert_eq!(genuine.control().await, Control::Accept);
    let record = genuine.seal(&message(1, b"once"));
    genuine.raw.send(&record).await;
    assert_eq!(scene.delivered().await.payload, "once");

    let mut replayer = Raw::connect(scene.address()).await;
    replayer.send(&first).await;
    let (header, _) = replayer.frame().await;
    assert_eq!(header.kind, Kind::Xx2, "a first flight proves nothing, so it is answered");
    replayer.send(&[third, record].concat()).await;

    replayer.expect_end().await;
    scene.assert_closed(Reason::Forged, 1);
    genuine.send(&message(2, b"twice")).await;
    assert_eq!(scene.delivered().await.payload, "twice");
    assert_eq!(scene.received_from_others(), 2);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_replayed_record_is_not_delivered_again_and_ends_the_session() {
    let mut scene = Scene::new().await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
    let record = hand.seal(&message(1, b"once"));

    hand.raw.send(&record).await;
    hand.raw.send(&record).await;

    assert_eq!(scene.delivered().await.payload, "once");
    hand.expect_close(Reason::Forged).await;
    scene.assert_closed(Reason::Forged, 1);
    assert_eq!(scene.received_from_others(), 1);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_record_of_an_earlier_session_does_not_verify_in_a_later_one() {
    let mut scene = Scene::new().await;
    let papers = Papers::new();
    let mut earlier = Hand::shake(scene.address(), &papers).await;
    let record = earlier.seal(&message(1, b"once"));
    earlier.raw.send(&record).await;
    assert_eq!(scene.delivered().await.payload, "once");
    earlier.raw.finish().await;
    earlier.raw.rest().await;

    // The same ephemeral key even: the victim's own is fresh, and so are the session's keys.
    let mut later = Hand::shake(scene.address(), &papers).await;
    later.raw.send(&record).await;

    later.expect_close(Reason::Forged).await;
    assert_eq!((scene.closed(Reason::LinkLost), scene.closed(Reason::Forged)), (1, 1));
    assert_eq!(scene.received_from_others(), 1);
    scene.assert_friend_is_unharmed().await;
}

/// A hint that this node never gave costs its sender a round trip and nothing else; a second one on the connection ends it.
#[tokio::test]
async fn an_unknown_hint_is_refused_once_and_a_full_handshake_may_follow() {
    let mut scene = Scene::new().await;
    let reconnect = frame_of(Kind::Kk1, 9, &[0x51; 95]);

    let mut raw = Raw::connect(scene.address()).await;
    raw.send(&reconnect).await;
    let (header, refusal) = raw.frame().await;
    assert_eq!((header.kind, header.id), (Kind::Refusal, 9));
    assert_eq!(Refusal::decode(&refusal).unwrap(), Refusal::new(Reason::UnknownHint));
    let mut hand = Hand::shake_over(raw, &Papers::new()).await;
    hand.send(&message(1, b"after all")).await;
    assert_eq!(scene.delivered().await.payload, "after all");
    hand.raw.finish().await;
    hand.raw.rest().await;

    let mut stubborn = Raw::connect(scene.address()).await;
    stubborn.send(&reconnect).await;
    stubborn.frame().await;
    stubborn.send(&reconnect).await;
    stubborn.expect_end().await;

    assert_eq!((scene.closed(Reason::LinkLost), scene.closed(Reason::UnexpectedFrame)), (1, 1));
    scene.assert_friend_is_unharmed().await;
}
