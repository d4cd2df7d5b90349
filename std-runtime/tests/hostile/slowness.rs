//! Peers that say nothing, hardly anything, or never listen. The spans are scaled down from seconds to milliseconds.

use std::time::{Duration, Instant};

use hyphal::{Event, Limits, NodeBuilder, Reason, SendError, SendOptions, TcpOptions};
use hyphal_core::noise;
use hyphal_core::wire::frame::Kind;

use crate::hand::{Attempt, Hand, Papers, message};
use crate::raw::{Raw, frame_of};
use crate::scene::{Scene, soon, timeouts};

#[tokio::test]
async fn a_peer_that_connects_and_says_nothing_is_cut_off_in_time() {
    let mut scene = Scene::with(impatient).await;
    let begun_at = Instant::now();
    let mut raw = Raw::connect(scene.address()).await;
    scene.exchange().await;

    raw.expect_end().await;

    assert!(begun_at.elapsed() >= HANDSHAKE);
    scene.assert_closed(Reason::HandshakeTimeout, 1);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_peer_that_falls_silent_within_the_handshake_is_cut_off_in_time() {
    let mut scene = Scene::with(impatient).await;
    let begun_at = Instant::now();
    let mut attempt = Attempt::second(scene.address(), &Papers::new()).await;
    scene.exchange().await;

    attempt.raw.expect_end().await;

    assert!(begun_at.elapsed() >= HANDSHAKE);
    scene.assert_closed(Reason::HandshakeTimeout, 1);
    scene.assert_friend_is_unharmed().await;
}

/// In the proportion of a byte a second to the default handshake timeout: bytes win no time.
#[tokio::test]
async fn a_peer_that_sends_one_byte_after_another_is_cut_off_in_time() {
    let mut scene = Scene::with(impatient).await;
    let begun_at = Instant::now();
    let mut raw = Raw::connect(scene.address()).await;

    let mut frame = frame_of(Kind::Xx1, 1, &[9; noise::DH_LEN]).into_iter();
    for byte in frame.by_ref() {
        raw.send(&[byte]).await;
        if tokio::time::timeout(HANDSHAKE / 5, raw.fill()).await.is_ok() {
            break;
        }
    }

    raw.expect_end().await;
    assert!(frame.next().is_some(), "the end came before the last byte");
    assert!(begun_at.elapsed() >= HANDSHAKE);
    scene.assert_closed(Reason::HandshakeTimeout, 1);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_peer_that_misses_its_own_heartbeats_is_silent() {
    let mut scene = Scene::new().await;
    let mut hand = Hand::shake(scene.address(), &hasty()).await;

    hand.expect_close(Reason::Silent).await;

    scene.assert_closed(Reason::Silent, 1);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_peer_that_sends_one_byte_after_another_of_a_record_is_silent() {
    let mut scene = Scene::new().await;
    let mut hand = Hand::shake(scene.address(), &hasty()).await;
    let record = hand.seal(&message(1, &[7; 200]));

    for byte in record {
        // The next heartbeat of the victim is later than its patience, so what arrives is the end.
        hand.raw.send(&[byte]).await;
        if tokio::time::timeout(Duration::from_millis(20), hand.raw.fill())
            .await
            .is_ok_and(|_| scene.closed_in_all() > 0)
        {
            break;
        }
    }

    hand.expect_close(Reason::Silent).await;
    scene.assert_closed(Reason::Silent, 1);
    assert_eq!(scene.received_from_others(), 0);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_peer_that_never_reads_fills_its_own_queue_and_is_given_up() {
    let mut scene = Scene::with(|victim| {
        let mut limits = Limits::default();
        limits.outbox_bytes = QUEUE;
        limits.max_message = 64 * 1024;
        let mut timeouts = timeouts();
        timeouts.write_stall = STALL;
        let mut tcp = TcpOptions::default();
        tcp.send_buffer = Some(4096);
        victim.limits(limits).timeouts(timeouts).tcp(tcp)
    })
    .await;
    let papers = Papers::new();
    let mallory = papers.identity.id();
    let mut events = scene.victim.events();
    let mut hand = Hand::shake_over(Raw::connect_narrow(scene.address()).await, &papers).await;
    scene.exchange().await;
    let confirmed = scene.victim.counters().sent.confirmed;

    let payload = vec![0x55; 32 * 1024];
    let mut accepted = 0;
    let error = loop {
        match scene.victim.try_send_direct(mallory, 1, &payload, SendOptions::default()) {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, SendError::QueueFull);
    assert!(accepted * payload.len() <= QUEUE, "{accepted} messages wait");
    scene.exchange().await;
    let end = async {
        loop {
            if let Some(Event::PeerDown { peer, reason }) = events.recv().await
                && peer == mallory
            {
                break reason;
            }
        }
    };

    assert_eq!(soon(end).await, Reason::Stalled);
    scene.assert_closed(Reason::Stalled, 1);
    let sent = scene.victim.counters().sent;
    assert!(sent.confirmed >= confirmed && sent.unconfirmed > 0, "{sent:?}");
    assert_eq!(
        sent.sent,
        sent.confirmed + sent.expired + sent.dropped + sent.unconfirmed + sent.queued + sent.in_flight
    );
    let rest = hand.raw.rest().await;
    assert!(rest.len() < accepted * payload.len(), "what the system had buffered, and no more");
    scene.assert_friend_is_unharmed().await;
}

fn impatient(victim: NodeBuilder) -> NodeBuilder {
    let mut timeouts = timeouts();
    timeouts.handshake = HANDSHAKE;
    victim.timeouts(timeouts)
}

/// Papers of a peer that promises to be heard every 10 ms.
fn hasty() -> Papers {
    let mut papers = Papers::new();
    papers.hello.heartbeat = Duration::from_millis(10);
    papers
}

/// Long enough for the friend's handshake on a busy machine.
const HANDSHAKE: Duration = Duration::from_secs(3);
const STALL: Duration = Duration::from_millis(400);
const QUEUE: usize = 2 << 20;
