//! Many connections at once. Most are turned away, each with a reason, and nobody else notices.

use std::time::Instant;

use hyphal::{Limits, Reason};
use hyphal_core::wire::frame::Header;
use tracing::Level;

use crate::hand::{Attempt, Hand, Papers, message};
use crate::raw::Raw;
use crate::scene::{Scene, soon};

#[tokio::test]
async fn of_500_connections_from_one_address_only_a_few_are_let_in() {
    let begun_at = Instant::now();
    let mut scene = Scene::with(|victim| {
        let mut limits = Limits::default();
        limits.connections_per_address = SEATS;
        victim.limits(limits)
    })
    .await;
    let friends = 1;

    let mut crowd = Vec::with_capacity(500);
    for _ in 0..500 {
        crowd.push(Raw::connect(scene.address()).await);
    }
    scene.exchange().await;
    let (admitted, refused) = crowd.split_at_mut(SEATS - friends);

    for raw in refused {
        assert_eq!(raw.expect_refusal(Reason::Limit).await, (0, 0));
    }
    assert!(admitted.iter().all(|raw| !raw.has_ended()));
    let counters = scene.victim.counters();
    assert_eq!(counters.refused, [(Reason::Limit, 500 + 1 - SEATS as u64)]);
    assert_eq!(counters.accepted, 500 + 1);
    scene.log.assert_names(Reason::Limit);
    let lines = scene.log.count(Level::WARN, Reason::Limit);
    let periods = 1 + begun_at.elapsed().as_secs() as usize / 10;
    assert!(lines <= 10 * periods, "{lines} lines: whoever floods the port must not flood the log");

    let elsewhere = Raw::connect_from("127.0.0.2", scene.address()).await;
    let mut hand = Hand::shake_over(elsewhere, &Papers::new()).await;
    hand.send(&message(1, b"from elsewhere")).await;
    assert_eq!(scene.delivered().await.payload, "from elsewhere");
    scene.assert_friend_is_unharmed().await;

    drop(crowd);
    soon(until_admitted(&scene)).await;
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_node_with_too_many_handshakes_under_way_asks_to_come_back_later() {
    let mut scene = Scene::with(|victim| {
        let mut limits = Limits::default();
        limits.handshakes = 4;
        victim.limits(limits)
    })
    .await;
    let mut pending = Vec::new();
    for host in 2..6 {
        pending.push(Raw::connect_from(&format!("127.0.0.{host}"), scene.address()).await);
    }

    let mut late = Raw::connect_from("127.0.0.6", scene.address()).await;

    let (_, millis) = late.expect_refusal(Reason::Busy).await;
    assert!(millis > 0);
    assert_eq!(scene.victim.counters().refused, [(Reason::Busy, 1)]);
    scene.log.assert_names(Reason::Busy);
    assert!(pending.iter().all(|raw| !raw.has_ended()));
    scene.assert_friend_is_unharmed().await;

    drop(pending);
    soon(until_admitted(&scene)).await;
}

#[tokio::test]
async fn one_address_cannot_take_all_places_for_handshakes() {
    let mut scene = Scene::with(|victim| {
        let mut limits = Limits::default();
        limits.handshakes = 8;
        victim.limits(limits)
    })
    .await;
    let pending = [Raw::connect(scene.address()).await, Raw::connect(scene.address()).await];

    let mut third = Raw::connect(scene.address()).await;
    third.expect_refusal(Reason::Busy).await;

    let elsewhere = Raw::connect_from("127.0.0.2", scene.address()).await;
    let mut hand = Hand::shake_over(elsewhere, &Papers::new()).await;
    hand.send(&message(1, b"from elsewhere")).await;
    assert_eq!(scene.delivered().await.payload, "from elsewhere");
    drop(pending);
    soon(until_admitted(&scene)).await;
}

/// Knocks until there is a place: the victim has given back those of connections that ended.
async fn until_admitted(scene: &Scene) {
    loop {
        let (mut attempt, first) = Attempt::dial(Raw::connect(scene.address()).await, &Papers::new());
        attempt.raw.send(&first).await;
        let (Header { kind, .. }, _) = attempt.raw.frame().await;
        if kind == hyphal_core::wire::frame::Kind::Xx2 {
            break;
        }
    }
}

const SEATS: usize = 16;
