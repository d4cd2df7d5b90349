//! Two sessions of one identity: a peer that booted again, or a copied key. One stays, and the other hears why it ends.

use hyphal::Reason;

use crate::hand::{Hand, Papers, message};
use crate::scene::Scene;

#[tokio::test]
async fn a_peer_that_has_booted_again_takes_the_place_of_its_old_session() {
    let mut papers = Papers::new();
    papers.hello.boot_id += 1;

    replace(papers).await;
}

#[tokio::test]
async fn of_two_sessions_that_one_peer_has_dialled_the_newer_stays() {
    replace(Papers::new()).await;
}

async fn replace(newer: Papers) {
    let mut scene = Scene::new().await;
    let mut old = Hand::shake(scene.address(), &Papers::new()).await;
    old.send(&message(1, b"over the old one")).await;
    assert_eq!(scene.delivered().await.payload, "over the old one");

    let mut new = Hand::shake(scene.address(), &newer).await;

    old.expect_close(Reason::Replaced).await;
    new.send(&message(2, b"over the new one")).await;
    assert_eq!(scene.delivered().await.payload, "over the new one");
    assert!(!new.raw.has_ended());
    assert!(scene.is_up(newer.identity.id()).await);
    scene.assert_closed(Reason::Replaced, 1);
    scene.assert_friend_is_unharmed().await;
}
