//! Each Guaranteed message has one fate, and its receipt tells it however many sessions that took.

use std::time::Duration;

use hyphal::{Outcome, Reason, SendError};

use crate::guaranteed::{Place, files, guaranteed};
use crate::pair::{up, within};

#[tokio::test]
async fn a_receipt_outlives_the_sessions_that_its_message_took() {
    let (left, right) = (Place::new(), Place::new());
    let (receiver, sender) = (right.listen().await, left.dial(&right).await);
    let (_, receipt) = sender.send_direct_tracked(right.id(), 1, "x", guaranteed()).await.unwrap();
    within(receiver.recv()).await.unwrap();

    drop(receiver);
    let receiver = right.listen().await;

    assert_eq!(within(receiver.recv()).await.unwrap().payload, "x");
    let (outcome, _) =
        tokio::join!(within(receipt), tokio::time::timeout(Duration::from_secs(1), receiver.recv()));
    assert_eq!(outcome, Outcome::Delivered);
}

#[tokio::test]
async fn what_expires_in_the_store_is_expired_and_what_comes_after_it_arrives() {
    let (left, right) = (Place::new(), Place::new());
    let sender = left.dial(&right).await;
    let short = guaranteed().ttl(1);
    let (_, first) = sender.send_direct_tracked(right.id(), 1, "first", short).await.unwrap();
    let (_, second) = sender.send_direct_tracked(right.id(), 1, "second", guaranteed()).await.unwrap();
    let (_, third) = sender.send_direct_tracked(right.id(), 1, "third", short).await.unwrap();

    assert_eq!(within(first).await, Outcome::Expired);
    assert_eq!(within(third).await, Outcome::Expired);
    let receiver = right.listen().await;

    let message = within(receiver.recv()).await.unwrap();
    assert_eq!((message.payload.as_ref(), message.id.sequence), (&b"second"[..], 2));
    let (outcome, _) =
        tokio::join!(within(second), tokio::time::timeout(Duration::from_secs(1), receiver.recv()));
    assert_eq!(outcome, Outcome::Delivered);
    assert_eq!(sender.counters().sent.expired, 2);
}

#[tokio::test]
async fn a_message_lives_by_the_wall_clock_across_restarts() {
    let (left, right) = (Place::new(), Place::new());
    let sender = left.dial(&right).await;
    sender.send_direct(right.id(), 1, "short", guaranteed().ttl(1)).await.unwrap();
    sender.send_direct(right.id(), 1, "long", guaranteed()).await.unwrap();
    let before = sender.shutdown(Duration::ZERO).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;

    let sender = left.dial(&right).await;
    let receiver = right.listen().await;

    let message = within(receiver.recv()).await.unwrap();
    assert_eq!(message.payload, "long");
    let age = hyphal::UnixTime::from_micros(
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as u64,
    )
    .distance(message.timestamp);
    assert!(age >= Duration::from_secs(1), "{age:?}");
    // In the first life of its sender, where the machine stood still for a second.
    assert_eq!(before.expired + sender.counters().sent.expired, 1);
}

#[tokio::test]
async fn a_message_that_never_left_can_be_called_back() {
    let (left, right) = (Place::new(), Place::new());
    let sender = left.dial(&right).await;
    let (_, kept) = sender.send_direct_tracked(right.id(), 1, "kept", guaranteed()).await.unwrap();
    let (_, back) = sender.send_direct_tracked(right.id(), 1, "back", guaranteed()).await.unwrap();

    assert!(back.cancel());
    assert!(!back.cancel());

    assert_eq!(within(back).await, Outcome::Failed(Reason::Cancelled));
    let receiver = right.listen().await;
    assert_eq!(within(receiver.recv()).await.unwrap().payload, "kept");
    let (outcome, _) =
        tokio::join!(within(kept), tokio::time::timeout(Duration::from_secs(1), receiver.recv()));
    assert_eq!(outcome, Outcome::Delivered);
}

#[tokio::test]
async fn a_receiver_that_has_lost_its_store_answers_unknown_and_never_delivered() {
    let (left, right) = (Place::new(), Place::new());
    let (receiver, sender) = (right.listen().await, left.dial(&right).await);
    let (_, lost) = sender.send_direct_tracked(right.id(), 1, "lost", guaranteed()).await.unwrap();
    within(receiver.recv()).await.unwrap();
    receiver.shutdown(Duration::ZERO).await;
    for file in files(right.store.path()) {
        std::fs::remove_file(file).unwrap();
    }
    let (_, later) = sender.send_direct_tracked(right.id(), 1, "later", guaranteed()).await.unwrap();

    let receiver = right.listen().await;

    assert_eq!(within(lost).await, Outcome::Unknown);
    assert_eq!(within(receiver.recv()).await.unwrap().payload, "later");
    let (outcome, _) =
        tokio::join!(within(later), tokio::time::timeout(Duration::from_secs(1), receiver.recv()));
    assert_eq!(outcome, Outcome::Delivered);
    let sent = sender.counters().sent;
    assert_eq!((sent.unknown, sent.confirmed, sent.stored), (1, 1, 0));
}

#[tokio::test]
async fn messages_to_a_removed_peer_fail_and_those_after_it_is_added_again_arrive() {
    let (left, right) = (Place::new(), Place::new());
    let sender = left.dial(&right).await;
    let (_, receipt) = sender.send_direct_tracked(right.id(), 1, "old", guaranteed()).await.unwrap();

    sender.remove_peer(right.id()).await.unwrap();

    assert_eq!(within(receipt).await, Outcome::Failed(Reason::PeerGone));
    let refused = sender.send_direct(right.id(), 1, "x", guaranteed()).await;
    assert_eq!(refused, Err(SendError::UnknownPeer));
    let receiver = right.listen().await;
    let mut events = sender.events();
    let endpoint = receiver.local_addrs()[0].clone();
    sender.add_peer(right.id(), Some(endpoint)).await.unwrap();
    up(&mut events, right.id()).await;
    sender.send_direct(right.id(), 1, "new", guaranteed()).await.unwrap();
    assert_eq!(within(receiver.recv()).await.unwrap().payload, "new");
}
