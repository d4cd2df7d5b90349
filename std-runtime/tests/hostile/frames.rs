//! Before the handshake has proven anything: bytes that are no frames, and frames that nobody awaits.

use hyphal::Reason;
use hyphal_core::noise;
use hyphal_core::wire::frame::{self, Compression, HEADER_LEN, Header, Kind, Refusal};

use crate::hand::{Attempt, Papers};
use crate::raw::{Raw, encode, frame_of};
use crate::scene::Scene;

#[tokio::test]
async fn garbage_ends_the_connection_before_it_is_awaited_in_full() {
    let mut scene = Scene::new().await;
    let random = garbage(0x6A7B, 4096);
    let other_protocols: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.7\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        &random,
    ];

    for (index, bytes) in (1..).zip(other_protocols) {
        let mut raw = Raw::connect(scene.address()).await;
        raw.send(bytes).await;

        raw.expect_end().await;

        scene.assert_closed(Reason::TooLong, index);
        scene.assert_friend_is_unharmed().await;
    }
}

#[tokio::test]
async fn a_truncated_frame_is_waited_for_and_counts_as_a_lost_connection() {
    let mut scene = Scene::new().await;
    let whole = frame_of(Kind::Xx1, 1, &[9; noise::DH_LEN]);

    for (count, len) in (1..).zip([0, 1, 4, HEADER_LEN, whole.len() - 1]) {
        let mut raw = Raw::connect(scene.address()).await;
        raw.send(&whole[..len]).await;
        scene.exchange().await;
        assert!(!raw.has_ended(), "{len} bytes may still become a frame");

        raw.finish().await;
        raw.expect_end().await;

        scene.assert_closed(Reason::LinkLost, count);
        scene.assert_friend_is_unharmed().await;
    }
}

#[tokio::test]
async fn a_frame_beyond_the_limit_is_refused_from_its_length_on() {
    let mut scene = Scene::new().await;
    let longest = u32::try_from(frame::MAX_UNAUTHENTICATED - 4).unwrap();

    let mut within = Raw::connect(scene.address()).await;
    within.send(&longest.to_be_bytes()).await;
    let mut beyond = Raw::connect(scene.address()).await;
    beyond.send(&(longest + 1).to_be_bytes()).await;

    beyond.expect_end().await;
    assert!(!within.has_ended());
    scene.assert_closed(Reason::TooLong, 1);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_length_of_four_gibibytes_costs_one_small_read() {
    let mut scene = Scene::new().await;
    let before = scene.bytes_read();
    let mut raw = Raw::connect(scene.address()).await;
    raw.send(&u32::MAX.to_be_bytes()).await;

    let taken = raw.pump(&[0x55; 64 * 1024], MOST).await;

    assert!(taken < MOST, "the connection was to end before {taken} bytes");
    assert!(raw.rest().await.is_empty());
    scene.assert_closed(Reason::TooLong, 1);
    let read = scene.bytes_read() - before;
    assert!(read <= 8 * 1024, "{read} bytes were read");
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_checksum_that_does_not_verify_is_refused() {
    let mut scene = Scene::new().await;
    let header = Header { checksum: true, ..Header::new(Kind::Xx1, 1) };
    let mut bent = encode(header, &[9; noise::DH_LEN]);
    bent[HEADER_LEN] ^= 1;
    let mut raw = Raw::connect(scene.address()).await;

    raw.send(&bent).await;

    raw.expect_end().await;
    scene.assert_closed(Reason::Checksum, 1);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_frame_that_no_handshake_begins_with_ends_the_connection() {
    let mut scene = Scene::new().await;
    let e = [9; noise::DH_LEN];
    let with_flags = |flags: u16, payload: &[u8]| {
        let mut frame = frame_of(Kind::Xx1, 1, payload);
        frame[4..6].copy_from_slice(&flags.to_be_bytes());
        frame
    };
    let lz4 = Header { compression: Compression::Lz4, ..Header::new(Kind::Xx1, 1) };
    let mut refusal = [0; Refusal::LEN];
    Refusal::new(Reason::Busy).encode(&mut refusal).unwrap();
    let cases = [
        ("a length too short for a header", vec![0, 0, 0, 9, 1, 1, 0, 0, 0, 0, 0, 0, 0], Reason::Malformed),
        ("a kind that does not exist", with_flags(0x0901, &e), Reason::Malformed),
        ("a reserved flag", with_flags(0x1101, &e), Reason::Malformed),
        ("half a hint", frame_of(Kind::Kk1, 1, &[9; 7]), Reason::Malformed),
        ("the answer to a hint", frame_of(Kind::Kk2, 1, &[9; 77]), Reason::UnexpectedFrame),
        ("an unknown compression", with_flags(0x0171, &e), Reason::Compression),
        ("a compressed flight", encode(lz4, &e), Reason::Compression),
        ("the answer to a first flight", frame_of(Kind::Xx2, 1, &[9; 128]), Reason::UnexpectedFrame),
        ("the third flight", frame_of(Kind::Xx3, 1, &[9; 128]), Reason::UnexpectedFrame),
        ("a refusal of nothing", frame_of(Kind::Refusal, 1, &refusal), Reason::UnexpectedFrame),
        ("a refusal cut short", frame_of(Kind::Refusal, 1, &refusal[..3]), Reason::Malformed),
        ("a flight without a key", frame_of(Kind::Xx1, 1, &[]), Reason::Malformed),
        ("a flight with half a key", frame_of(Kind::Xx1, 1, &e[..16]), Reason::Malformed),
        ("a first flight with a payload", frame_of(Kind::Xx1, 1, &[9; 40]), Reason::Malformed),
    ];

    for (count, (name, bytes, reason)) in (1..).zip(cases) {
        let before = scene.closed(reason);
        let mut raw = Raw::connect(scene.address()).await;
        raw.send(&bytes).await;

        raw.expect_end().await;

        assert_eq!((scene.closed(reason), scene.closed_in_all()), (before + 1, count), "{name}");
        scene.log.assert_names(reason);
    }
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_third_flight_of_another_attempt_is_unexpected() {
    let mut scene = Scene::new().await;
    let papers = Papers::new();
    let mut attempt = Attempt::second(scene.address(), &papers).await;
    let mut third = attempt.flight(Kind::Xx3, &papers.hello_bytes());
    third[HEADER_LEN - 1] ^= 1;

    attempt.raw.send(&third).await;

    attempt.raw.expect_end().await;
    scene.assert_closed(Reason::UnexpectedFrame, 1);
    scene.assert_friend_is_unharmed().await;
}

/// Bytes without any sense, the same ones for the same seed (SplitMix64).
fn garbage(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut word = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    };
    // A length within the limit would be waited for.
    let first = word() | 1 << 63;
    std::iter::once(first).chain(std::iter::repeat_with(word)).flat_map(u64::to_be_bytes).take(len).collect()
}

/// More than the system buffers on the way to the victim, and than it discards of a connection that it has ended.
const MOST: usize = 256 << 20;
