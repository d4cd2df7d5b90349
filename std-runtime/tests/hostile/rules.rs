//! Records that verify and break a rule. The session ends, the peer hears why, and nothing of the record takes effect.

use hyphal::Reason;
use hyphal_core::wire::control::Control;
use hyphal_core::wire::frame::Refusal;
use hyphal_core::wire::record::{Body, RecordHeader};

use crate::hand::{Hand, Papers, control, message, plaintext};
use crate::scene::Scene;

#[tokio::test]
async fn an_acknowledgement_of_what_was_never_sent_is_a_violation() {
    let mut scene = Scene::new().await;

    for (count, ack) in (1..).zip([1000, u64::MAX]) {
        let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
        let header = RecordHeader { ack: Some(ack), ..RecordHeader::default() };
        hand.send(&plaintext(header, &message(1, b"and a message")[3..])).await;

        hand.expect_close(Reason::Violation).await;

        scene.assert_closed(Reason::Violation, count);
    }
    assert_eq!(scene.received_from_others(), 0);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_malformed_record_ends_the_session_and_delivers_nothing() {
    let mut scene = Scene::new().await;
    let body = |body: &[u8]| plaintext(RecordHeader::default(), body);
    // One message: flags with an explicit sequence, type, length, sequence, payload.
    let good = [0x20, 1, 2, 7, b'o', b'k'];
    let cases = [
        ("a reserved bit of the kind", vec![0x80, 0, 0]),
        ("a body that does not exist", vec![0x02, 0, 0]),
        ("an acknowledgement cut short", vec![0x04, 0, 0, 0x80]),
        ("an acknowledgement in a longer form", vec![0x04, 0, 0, 0x80, 0x00]),
        ("a missing ping token", vec![0x10, 0, 0]),
        ("the type of a message before the first", body(&[0x28, 2, 7, b'o', b'k'])),
        ("the sequence after that of no message", body(&[0x00, 1, 2, b'o', b'k'])),
        ("a type beyond 16 bits", body(&[0x20, 0x80, 0x80, 0x04, 2, 7, b'o', b'k'])),
        ("a payload cut short", body(&[0x20, 1, 200, 7, b'o', b'k'])),
        ("a length of nearly 2^64", body(&[&[0x20, 1][..], &[0xFF; 9], &[0x01, 7]].concat())),
        (
            "a sequence after the last one",
            body(&[&[0x20, 1, 0][..], &[0xFF; 9], &[0x01, 0x00, 1, 0]].concat()),
        ),
        ("a reserved bit of an extension", body(&[0x60, 1, 2, 7, 0x04, b'o', b'k'])),
        (
            "a time to live beyond 32 bits",
            body(&[0x60, 1, 2, 7, 0x01, 0x80, 0x80, 0x80, 0x80, 0x10, b'o', b'k']),
        ),
        ("an envelope of nothing", body(&[0x80, 0])),
        ("a good message and half a one", body(&[&good[..], &[0x20, 1, 2]].concat())),
    ];

    for (count, (name, plaintext)) in (1..).zip(cases) {
        let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
        hand.send(&plaintext).await;

        assert_eq!(hand.control().await, Control::close(Reason::Malformed), "{name}");

        hand.raw.expect_end().await;
        scene.assert_closed(Reason::Malformed, count);
    }
    assert_eq!(scene.received_from_others(), 0);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_record_too_short_for_a_tag_is_malformed() {
    let mut scene = Scene::new().await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;

    hand.raw.send(&[18; 19]).await;

    hand.expect_close(Reason::Malformed).await;
    scene.assert_closed(Reason::Malformed, 1);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_control_message_that_does_not_belong_here_ends_the_session() {
    let mut scene = Scene::new().await;
    let body = |body: &[u8]| plaintext(RecordHeader { body: Body::Control, ..RecordHeader::default() }, body);
    let cases = [
        ("Accept by the initiator", control(Control::Accept), Reason::Violation),
        ("Reject by the initiator", control(Control::Reject(Refusal::new(Reason::Busy))), Reason::Violation),
        ("an unknown code", body(&[9]), Reason::Malformed),
        ("no code", body(&[]), Reason::Malformed),
        ("a close without a reason", body(&[3, 1]), Reason::Malformed),
        ("an unknown critical field", body(&[3, 3, 1, 0x81, 0]), Reason::UnknownCritical),
    ];

    for (count, (name, plaintext, reason)) in (1..).zip(cases) {
        let before = scene.closed(reason);
        let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
        hand.send(&plaintext).await;

        assert_eq!(hand.control().await, Control::close(reason), "{name}");

        hand.raw.expect_end().await;
        assert_eq!((scene.closed(reason), scene.closed_in_all()), (before + 1, count), "{name}");
        scene.log.assert_names(reason);
    }
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_close_for_a_reason_of_the_future_is_still_a_close() {
    let mut scene = Scene::new().await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;

    hand.send(&control(Control::Close { code: 0x7777 })).await;

    hand.raw.rest().await;
    scene.assert_closed(Reason::Unspecified, 1);
    scene.assert_friend_is_unharmed().await;
}
