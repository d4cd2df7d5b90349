//! Peers that prove who they are and still do not belong here. Each hears why, in a record that only the victim can seal.

use std::time::Duration;

use hyphal::{Reason, TimeQuality, Trust, UnixTime};
use hyphal_core::wire::frame::{Kind, Refusal};
use hyphal_core::wire::hello::{Extensions, NetworkTag, Versions};

use crate::hand::{Attempt, Hand, Papers, hello, wall_time};
use crate::raw::{Raw, frame_of};
use crate::scene::{Scene, VICTIM};

#[tokio::test]
async fn a_peer_of_another_network_is_rejected() {
    let scene = Scene::new().await;
    let papers = Papers { network: NetworkTag::of("another one"), ..Papers::new() };

    reject(scene, &papers, Reason::Network).await;
}

#[tokio::test]
async fn a_peer_without_a_network_is_rejected() {
    let mut scene = Scene::new().await;
    let mut hello = Papers::new().hello_bytes();
    hello.truncate(29);
    let raw = Raw::connect(scene.address()).await;

    let mut hand = Hand::knock(raw, &Papers::new(), &hello).await;

    assert_eq!(hand.expect_reject(Reason::Network).await, 0);
    scene.assert_closed(Reason::Network, 1);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_frame_of_another_version_is_refused_with_the_versions_spoken_here() {
    let mut scene = Scene::new().await;
    let mut frame = frame_of(Kind::Xx1, 0xF0F0, b"who knows what version 2 has here");
    frame[5] = frame[5] & 0xF0 | 2;
    let mut raw = Raw::connect(scene.address()).await;

    raw.send(&frame).await;

    assert_eq!(raw.expect_refusal(Reason::Version).await, (0xF0F0, 0x0101));
    scene.assert_closed(Reason::Version, 1);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_hello_that_offers_another_version_than_its_frames_is_rejected() {
    let mut scene = Scene::new().await;
    let mut papers = Papers::new();
    papers.hello.versions = Versions::new(2, 3).unwrap();

    let mut hand = knock(&scene, &papers).await;

    assert_eq!(hand.expect_reject(Reason::Version).await, 0x0101);
    scene.assert_closed(Reason::Version, 1);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_synchronised_clock_too_far_off_is_rejected_with_the_victims_time() {
    let mut scene = Scene::new().await;
    let hour = 3_600_000_000;

    for (count, time) in (1..).zip([wall_time().as_micros() - hour, wall_time().as_micros() + hour]) {
        let mut papers = Papers::new();
        papers.hello.time = UnixTime::from_micros(time);
        let mut hand = knock(&scene, &papers).await;

        let detail = hand.expect_reject(Reason::ClockSkew).await;

        let told = UnixTime::from_micros(detail);
        assert!(told.distance(wall_time()) < Duration::from_secs(10), "{told:?}");
        scene.assert_closed(Reason::ClockSkew, count);
    }
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_clock_that_claims_nothing_is_not_compared() {
    let mut scene = Scene::new().await;
    let mut papers = Papers::new();
    papers.hello.time = UnixTime::from_micros(1);
    papers.hello.quality = TimeQuality::Unsynced;

    Hand::shake(scene.address(), &papers).await;

    assert_eq!(scene.closed_in_all(), 0);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_peer_that_nobody_added_is_rejected_where_peers_are_pinned() {
    let scene = Scene::with(|victim| victim.trust(Trust::Pinned)).await;

    reject(scene, &Papers::new(), Reason::Untrusted).await;
}

#[tokio::test]
async fn a_peer_with_a_copy_of_the_victims_own_key_is_rejected() {
    let scene = Scene::new().await;

    reject(scene, &Papers::of(VICTIM), Reason::OwnId).await;
}

#[tokio::test]
async fn a_hello_that_breaks_the_form_is_rejected() {
    let mut scene = Scene::new().await;
    let papers = Papers::new();
    let good = papers.hello_bytes();
    let with = |at: usize, bytes: &[u8]| {
        let mut hello = good.clone();
        hello[at..at + bytes.len()].copy_from_slice(bytes);
        hello
    };
    let and = |more: &[u8]| [&good, more].concat();
    let delegated =
        Extensions { network: Some(papers.network), delegation: Some(b"key"), ..Extensions::default() };
    let mut delegation = vec![0; hello().encoded_len(&delegated)];
    hello().encode(&delegated, &mut delegation).unwrap();
    let cases = [
        ("nothing", vec![], Reason::Malformed),
        ("cut short", good[..20].to_vec(), Reason::Malformed),
        ("no version", with(0, &[0x00]), Reason::Malformed),
        ("versions in the wrong order", with(0, &[0x31]), Reason::Malformed),
        ("an unknown node type", with(1, &[9]), Reason::Malformed),
        ("records too short to be useful", with(8, &[0, 100]), Reason::Malformed),
        ("no heartbeat", with(10, &[0, 0]), Reason::Malformed),
        ("an unknown quality of time", with(28, &[3]), Reason::Malformed),
        ("a field cut short", and(&[0x02, 40, 1]), Reason::Malformed),
        ("a field twice", and(&[0x41, 0, 0x41, 0]), Reason::Malformed),
        (
            "a network tag of another length",
            [&good[..29], &[0x81, 4, 1, 2, 3, 4]].concat(),
            Reason::Malformed,
        ),
        ("a critical field that is unknown", and(&[0xC1, 0]), Reason::UnknownCritical),
        ("a delegation of another length", delegation, Reason::Malformed),
    ];

    for (count, (name, hello, reason)) in (1..).zip(cases) {
        let before = scene.closed(reason);
        let raw = Raw::connect(scene.address()).await;
        let mut hand = Hand::knock(raw, &papers, &hello).await;

        assert_eq!(hand.expect_reject(reason).await, 0, "{name}");

        assert_eq!((scene.closed(reason), scene.closed_in_all()), (before + 1, count), "{name}");
        scene.log.assert_names(reason);
    }
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn an_unknown_field_that_is_not_critical_is_passed_over() {
    let mut scene = Scene::new().await;
    let papers = Papers::new();
    let hello = [papers.hello_bytes(), vec![0x41, 2, 1, 2]].concat();
    let mut attempt = Attempt::second(scene.address(), &papers).await;
    let third = attempt.flight(Kind::Xx3, &hello);

    attempt.raw.send(&third).await;

    assert_eq!(attempt.established().control().await, hyphal_core::wire::control::Control::Accept);
    scene.assert_friend_is_unharmed().await;
}

/// A stranger with `papers` is rejected for `reason` and has no session.
async fn reject(mut scene: Scene, papers: &Papers, reason: Reason) {
    let mut hand = knock(&scene, papers).await;

    assert_eq!(hand.expect_reject(reason).await, Refusal::new(reason).detail);

    scene.assert_closed(reason, 1);
    assert!(!scene.is_up(papers.identity.id()).await);
    scene.assert_friend_is_unharmed().await;
}

async fn knock(scene: &Scene, papers: &Papers) -> Hand {
    Hand::knock(Raw::connect(scene.address()).await, papers, &papers.hello_bytes()).await
}
