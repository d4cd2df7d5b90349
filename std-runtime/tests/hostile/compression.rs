//! Compressed messages that are not what they say, or that nobody asked for.

use hyphal::Reason;
use hyphal::compression::Methods;
use hyphal_core::compress;
use hyphal_core::wire::message::{Compressed, MessageHeader, Method};

use crate::hand::{Hand, Papers, message_header, messages};
use crate::scene::Scene;

/// The longest payload that a victim takes by default.
const LONGEST: u32 = 16 << 20;

/// What a small record decompresses to.
const BOMB: u32 = 60 * 1024;

#[tokio::test]
async fn a_payload_that_does_not_decompress_is_dropped_alone_and_its_neighbours_arrive() {
    let mut scene = Scene::new().await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
    let good = lz4(&[b'x'; 500]);
    let nested = lz4(&good.repeat(40));
    let garbage: &[u8] = &[0xFF; 60];

    hand.send(&messages(&[
        (message_header(1), b"before"),
        (compressed(2, Method::Lz4, 500), garbage),
        (compressed(3, Method::Zstd, 500), garbage),
        (compressed(4, Method::Lz4, 499), &good),
        (compressed(5, Method::Lz4, 501), &good),
        (compressed(6, Method::Lz4, 500), &good[..good.len() - 1]),
        (compressed(7, Method::Lz4, BOMB), b""),
        (compressed(8, Method::Zstd, BOMB), b""),
        (compressed(9, Method::Lz4, 0), b"\0"),
        (compressed(10, Method::Zstd, 500), &good),
        (compressed(11, Method::Lz4, 500), &nested),
        (compressed(12, Method::Lz4, 500), &good),
        (message_header(13), b"after"),
    ]))
    .await;

    assert_eq!(scene.delivered().await.payload, "before");
    let empty = scene.delivered().await;
    assert_eq!((empty.id.sequence, empty.payload.len()), (9, 0), "a block of nothing is a block");
    assert_eq!(scene.delivered().await.payload, [b'x'; 500].as_slice());
    assert_eq!(scene.delivered().await.payload, "after");
    scene.assert_dropped(Reason::BadCompression, 9);
    scene.log.assert_names(Reason::BadCompression);
    assert_eq!(scene.closed_in_all(), 0);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_bomb_within_a_bomb_comes_out_as_the_inner_one() {
    let mut scene = Scene::new().await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
    let inner = lz4(&[0; 60_000]);
    let outer = lz4(&inner.repeat(20));

    hand.send(&messages(&[(compressed(1, Method::Lz4, inner.len() as u32 * 20), &outer)])).await;

    assert_eq!(scene.delivered().await.payload, inner.repeat(20));
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_record_full_of_bombs_takes_the_room_of_one_at_a_time() {
    let mut scene = Scene::new().await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
    let original = vec![0; BOMB as usize];
    let bomb = lz4(&original);
    let bombs: Vec<_> =
        (1..=60).map(|sequence| (compressed(sequence, Method::Lz4, BOMB), &bomb[..])).collect();

    hand.send(&messages(&bombs)).await;

    for sequence in 1..=60 {
        let message = scene.delivered().await;
        assert_eq!((message.id.sequence, message.payload.len()), (sequence, original.len()));
    }
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn an_original_over_the_limit_ends_the_session_unseen() {
    let mut scene = Scene::new().await;

    for (count, original) in (1..).zip([LONGEST + 1, 1 << 25, u32::MAX]) {
        let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
        hand.send(&messages(&[(compressed(count, Method::Zstd, original), b"small")])).await;

        hand.expect_close(Reason::TooLong).await;

        scene.assert_closed(Reason::TooLong, count);
    }
    assert_eq!(scene.received_from_others(), 0);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_method_that_was_not_announced_ends_the_session() {
    let mut scene = Scene::with(|victim| victim.accept_compressed(Methods::LZ4)).await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;

    hand.send(&messages(&[(message_header(1), b"good"), (compressed(2, Method::Zstd, 500), b"frame")])).await;

    hand.expect_close(Reason::Compression).await;
    scene.assert_closed(Reason::Compression, 1);
    assert_eq!(scene.received_from_others(), 0, "a record takes effect as a whole");
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn compressed_security_and_configuration_end_the_session() {
    let mut scene = Scene::new().await;
    let good = lz4(&[b'x'; 500]);

    for (count, kind) in (1..).zip([0x0300, 0x03FF, 0x0A00, 0x0AFF]) {
        let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
        let header = MessageHeader { kind, ..compressed(count, Method::Lz4, 500) };
        hand.send(&messages(&[(header, &good)])).await;

        hand.expect_close(Reason::Compression).await;

        scene.assert_closed(Reason::Compression, count);
    }
    assert_eq!(scene.received_from_others(), 0);
    scene.assert_friend_is_unharmed().await;
}

fn compressed(sequence: u64, method: Method, original: u32) -> MessageHeader {
    MessageHeader { compressed: Some(Compressed { method, original }), ..message_header(sequence) }
}

fn lz4(original: &[u8]) -> Vec<u8> {
    let mut out = vec![0; compress::room_for(original.len())];
    let len = compress::pack(original, &mut out).unwrap();
    out.truncate(len);
    out
}
