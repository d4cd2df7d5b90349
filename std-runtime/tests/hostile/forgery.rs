//! Tags that do not verify, and keys that are none.

use hyphal::Reason;
use hyphal_core::wire::frame::Kind;

use crate::hand::{Attempt, Hand, Papers, message};
use crate::raw::{Raw, frame_of};
use crate::scene::Scene;

#[tokio::test]
async fn a_flipped_bit_in_a_record_ends_the_session_and_the_peer_hears_it() {
    let mut scene = Scene::new().await;
    let sealed_len = message(1, b"not quite what was sealed").len() + 16;

    // The first byte of the ciphertext, one in the middle, and the last one of the tag.
    for (count, at) in (1..).zip([0, sealed_len / 2, sealed_len - 1]) {
        let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
        let mut record = hand.seal(&message(1, b"not quite what was sealed"));
        record[1 + at] ^= 0x10;

        hand.raw.send(&record).await;

        hand.expect_close(Reason::Forged).await;
        scene.assert_closed(Reason::Forged, count);
    }
    assert_eq!(scene.received_from_others(), 0);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_changed_length_field_does_not_verify() {
    let mut scene = Scene::new().await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
    let mut record = hand.seal(&message(1, b"cut by a byte"));
    record[0] -= 1;

    hand.raw.send(&record).await;

    hand.expect_close(Reason::Forged).await;
    scene.assert_closed(Reason::Forged, 1);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_flipped_bit_in_the_third_flight_ends_the_handshake() {
    let mut scene = Scene::new().await;
    let papers = Papers::new();

    // In the sealed key, and in the sealed hello.
    for (count, at) in (1..).zip([20, 70]) {
        let mut attempt = Attempt::second(scene.address(), &papers).await;
        let mut third = attempt.flight(Kind::Xx3, &papers.hello_bytes());
        third[at] ^= 1;
        attempt.raw.send(&third).await;

        attempt.raw.expect_end().await;

        scene.assert_closed(Reason::Forged, count);
    }
    assert!(!scene.is_up(papers.identity.id()).await);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn an_ephemeral_key_that_is_none_is_refused() {
    let mut scene = Scene::new().await;
    let small = |first| {
        let mut key = [0; 32];
        key[0] = first;
        key
    };
    let cases = [("of order 2", small(0)), ("of order 4 or none", small(1)), ("on the twist", small(2))];

    for (count, (name, e)) in (1..).zip(cases) {
        let mut raw = Raw::connect(scene.address()).await;
        scene.exchange().await;
        raw.send(&frame_of(Kind::Xx1, 1, &e)).await;

        // The key only fails when the answer is written; the end does not wait for the handshake's timeout, which is far off.
        raw.expect_end().await;

        assert_eq!(scene.closed(Reason::BadKey), count, "{name}");
        scene.assert_closed(Reason::BadKey, count);
    }
    scene.assert_friend_is_unharmed().await;
}
