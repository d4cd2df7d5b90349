//! The victim dials, and what answers is not what it looked for. It reveals nothing and never takes an answer on trust.

use std::time::Duration;

use hyphal::{NodeBuilder, Reason};
use hyphal_core::wire::control::Control;
use hyphal_core::wire::frame::{Kind, Refusal};
use hyphal_core::wire::hello::{Extensions, Versions};
use tokio::net::TcpListener;

use crate::hand::{Attempt, Hand, Papers, control, message};
use crate::raw::{Raw, frame_of};
use crate::scene::{ECHO, Scene, soon, timeouts};

#[tokio::test]
async fn another_node_than_the_dialled_one_learns_nothing() {
    let (mut scene, trap) = dialled(|victim| victim).await;

    let mut attempt = trap.answer(&Papers::of(ECHO)).await;

    attempt.raw.expect_end().await;
    trap.assert_failed(&mut scene, Reason::UnexpectedId).await;
}

#[tokio::test]
async fn an_answer_in_another_version_is_not_followed() {
    let (mut scene, trap) = dialled(|victim| victim).await;
    let mut papers = Papers::new();
    papers.hello.versions = Versions::new(2, 2).unwrap();

    let mut attempt = trap.answer(&papers).await;

    attempt.raw.expect_end().await;
    trap.assert_failed(&mut scene, Reason::Version).await;
}

#[tokio::test]
async fn an_answer_with_a_flipped_bit_is_forged() {
    let (mut scene, trap) = dialled(|victim| victim).await;
    let papers = Papers::new();
    let mut attempt = Attempt::answer(trap.accept().await, &papers).await;
    let mut second = attempt.flight(Kind::Xx2, &hello(&papers));
    *second.last_mut().unwrap() ^= 1;

    attempt.raw.send(&second).await;

    attempt.raw.expect_end().await;
    trap.assert_failed(&mut scene, Reason::Forged).await;
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let (mut scene, trap) = dialled(|victim| victim).await;
    let mut raw = trap.accept().await;

    let taken = raw.pump(&[0xEE; 64 * 1024], 256 << 20).await;

    assert!(taken < 256 << 20);
    trap.assert_failed(&mut scene, Reason::TooLong).await;
}

#[tokio::test]
async fn an_answer_that_never_comes_is_not_waited_for() {
    let (mut scene, trap) = dialled(|victim| {
        let mut timeouts = timeouts();
        // Long enough for the friend's handshake on a busy machine.
        timeouts.handshake = Duration::from_secs(3);
        victim.timeouts(timeouts)
    })
    .await;
    let mut raw = trap.accept().await;
    raw.frame().await;

    raw.expect_end().await;

    trap.assert_failed(&mut scene, Reason::HandshakeTimeout).await;
}

#[tokio::test]
async fn messages_before_accept_are_a_violation() {
    let (mut scene, trap) = dialled(|victim| victim).await;
    let mut hand = trap.shake().await;

    hand.send(&message(1, b"too early")).await;

    hand.raw.expect_end().await;
    trap.assert_failed(&mut scene, Reason::Violation).await;
}

#[tokio::test]
async fn a_close_in_the_place_of_accept_ends_the_attempt_for_its_reason() {
    let (mut scene, trap) = dialled(|victim| victim).await;
    let mut hand = trap.shake().await;

    hand.send(&control(Control::close(Reason::Shutdown))).await;

    hand.raw.expect_end().await;
    trap.assert_failed(&mut scene, Reason::Shutdown).await;
}

#[tokio::test]
async fn a_forged_accept_is_no_accept() {
    let (mut scene, trap) = dialled(|victim| victim).await;
    let mut hand = trap.shake().await;
    let mut accept = hand.seal(&control(Control::Accept));
    *accept.last_mut().unwrap() ^= 1;

    hand.raw.send(&accept).await;

    hand.raw.expect_end().await;
    trap.assert_failed(&mut scene, Reason::Forged).await;
}

#[tokio::test]
async fn a_second_accept_is_a_violation() {
    let (mut scene, trap) = dialled(|victim| victim).await;
    let mut hand = trap.shake().await;
    hand.send(&control(Control::Accept)).await;

    hand.send(&control(Control::Accept)).await;

    hand.expect_close(Reason::Violation).await;
    trap.assert_failed(&mut scene, Reason::Violation).await;
}

#[tokio::test]
async fn a_rejection_is_counted_by_its_reason() {
    let (mut scene, trap) = dialled(|victim| victim).await;
    let mut hand = trap.shake().await;

    hand.send(&control(Control::Reject(Refusal::new(Reason::Untrusted)))).await;

    hand.raw.expect_end().await;
    trap.assert_failed(&mut scene, Reason::Untrusted).await;
}

#[tokio::test]
async fn a_refusal_in_the_clear_is_a_hint_and_the_victim_comes_back() {
    let (mut scene, trap) = dialled(|victim| victim).await;
    let mut raw = trap.accept().await;
    let (header, _) = raw.frame().await;
    let mut refusal = [0; Refusal::LEN];
    // The hardest reason that a stranger on the path could forge: it would end all dialling if it were proven.
    Refusal::new(Reason::PeerRemoved).encode(&mut refusal).unwrap();

    raw.send(&frame_of(Kind::Refusal, header.id, &refusal)).await;

    raw.expect_end().await;
    scene.assert_closed(Reason::Busy, 1);
    let mut hand = trap.shake().await;
    hand.send(&control(Control::Accept)).await;
    hand.send(&message(1, b"good that you came back")).await;
    assert_eq!(scene.delivered().await.payload, "good that you came back");
    scene.assert_friend_is_unharmed().await;
}

/// A scene whose victim dials Mallory, and Mallory's listener.
async fn dialled(configure: impl FnOnce(NodeBuilder) -> NodeBuilder) -> (Scene, Trap) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().into();
    let scene = Scene::with(configure).await;
    scene.victim.add_peer(Papers::new().identity.id(), Some(endpoint)).await.unwrap();
    (scene, Trap { listener })
}

/// What the victim dials.
struct Trap {
    listener: TcpListener,
}

impl Trap {
    async fn accept(&self) -> Raw {
        Raw::new(soon(self.listener.accept()).await.unwrap().0)
    }

    /// Takes the first flight and sends the second.
    async fn answer(&self, papers: &Papers) -> Attempt {
        let mut attempt = Attempt::answer(self.accept().await, papers).await;
        let second = attempt.flight(Kind::Xx2, &hello(papers));
        attempt.raw.send(&second).await;
        attempt
    }

    /// All three flights; Accept is still to be sent.
    async fn shake(&self) -> Hand {
        let mut attempt = self.answer(&Papers::new()).await;
        attempt.read_flight().await;
        attempt.established()
    }

    /// The victim gave the attempt up for `reason`, delivered nothing, and has no session.
    async fn assert_failed(self, scene: &mut Scene, reason: Reason) {
        scene.assert_closed(reason, 1);
        let mallory = Papers::new().identity.id();
        assert!(!scene.is_up(mallory).await);
        scene.victim.remove_peer(mallory).await.unwrap();
        assert_eq!(scene.received_from_others(), 0);
        scene.assert_friend_is_unharmed().await;
    }
}

/// The hello of a responder, which names no network.
fn hello(papers: &Papers) -> Vec<u8> {
    let mut bytes = vec![0; papers.hello.encoded_len(&Extensions::default())];
    papers.hello.encode(&Extensions::default(), &mut bytes).unwrap();
    bytes
}
