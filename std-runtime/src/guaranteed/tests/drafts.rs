//! Messages between their number and the store: who waits for whom, and what becomes of a number that is not used.

use std::pin::pin;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Wake;

use super::*;
use crate::message::{Outgoing, SendOptions};

#[tokio::test]
async fn a_message_that_is_ready_before_an_older_one_of_its_lane_is_stored_and_sent_after_it() {
    let scene = Scene::new().await;
    let long = scene.draft(CLASS, LONG);
    let mut short = scene.accept(b"short");
    scene.sync_store().await;
    let was_accepted = is_ready(&mut short.storing);
    let stored_before = scene.numbers_stored().await;

    let long = scene.store(long, LONG).unwrap();
    long.storing.await.unwrap();
    short.storing.await.unwrap();
    scene.open_lane(CLASS, long.id.epoch);

    assert_eq!((was_accepted, stored_before), (false, vec![]));
    assert_eq!((long.id.sequence, short.id.sequence), (1, 2));
    assert_eq!(scene.numbers_stored().await, [1, 2]);
    assert_eq!(scene.send_all(2).await, [1, 2]);
}

#[tokio::test]
async fn a_message_that_is_being_written_holds_up_neither_the_link_nor_other_classes() {
    let scene = Scene::new().await;
    let epoch = scene.accept_stored(b"before it").await;
    let _long = scene.draft(CLASS, LONG);

    let critical = scene.store(scene.draft(Priority::Critical, b"now"), b"now").unwrap();
    critical.storing.await.unwrap();
    scene.open_lane(Priority::Critical, critical.id.epoch);
    scene.open_lane(CLASS, epoch);

    assert_eq!(scene.send_all(2).await, [1, 1], "what was before it in its own lane, and what is of another");
}

#[tokio::test]
async fn a_message_that_is_given_up_while_it_is_written_holds_up_none_behind_it() {
    let scene = Scene::new().await;
    let first = scene.draft(CLASS, LONG);
    let second = scene.accept(b"second");

    drop(first);
    second.storing.await.unwrap();
    scene.open_lane(CLASS, second.id.epoch);

    assert_eq!(scene.numbers_stored().await, [2]);
    assert_eq!(scene.send_all(1).await, [2]);
    assert!(!scene.lanes.is_settled(), "the second is on its way");
    scene.answer_lane(CLASS, second.id.epoch, 3);
    assert!(scene.lanes.is_settled());
}

#[tokio::test]
async fn numbers_that_are_given_up_with_none_stored_behind_them_are_given_again() {
    let scene = Scene::new().await;
    scene.accept_stored(b"first").await;
    let (second, third, fourth) =
        (scene.draft(CLASS, LONG), scene.draft(CLASS, LONG), scene.draft(CLASS, LONG));

    drop(third);
    drop(second);
    drop(fourth);

    assert_eq!(scene.draft(CLASS, LONG).id().sequence, 2);
    let next = scene.accept(b"next");
    next.storing.await.unwrap();
    assert_eq!((next.id.sequence, scene.numbers_stored().await), (2, vec![1, 2]));
}

#[tokio::test]
async fn a_number_under_which_the_store_took_nothing_is_given_again() {
    let scene = Scene::new().await;
    let epoch = scene.accept_stored(b"first").await;
    // The store has lost the lane.
    scene.lanes.keeper.store.close_lane(scene.lanes.key(CLASS), epoch);

    let refused = scene.accept(b"second");
    let behind_it = scene.accept(b"third");
    let answers = (refused.storing.await, behind_it.storing.await);

    assert_eq!(answers, (Err(SendError::UnknownPeer), Err(SendError::UnknownPeer)));
    assert_eq!(scene.draft(CLASS, LONG).id().sequence, 2);
}

#[tokio::test]
async fn a_message_that_cannot_be_sealed_uses_up_no_number() {
    let scene = Scene::new().await;

    let refused = scene.node.send_direct(PEER, 0x1000, b"for nobody", sealed(true)).await;

    assert_eq!(refused.unwrap_err(), SendError::BadKey);
    assert_eq!(scene.accept(b"next").id.sequence, 1);
}

#[tokio::test]
async fn a_batch_ends_at_the_message_that_cannot_be_sealed() {
    let scene = Scene::new().await;
    let message = |seal| Outgoing { options: sealed(seal), ..Outgoing::new(0x1000, b"one of three") };

    let refused =
        scene.node.send_batch(PEER, [message(false), message(true), message(false)]).await.unwrap_err();

    assert_eq!((refused.accepted, refused.error), (1, SendError::BadKey));
    assert_eq!(scene.numbers_stored().await, [1]);
}

#[tokio::test]
async fn a_message_whose_peer_is_removed_while_it_is_written_is_not_accepted_and_neither_is_what_waits_for_it()
 {
    let scene = Scene::new().await;
    let long = scene.draft(CLASS, LONG);
    let waiting = scene.accept(b"behind it");

    scene.lanes.close(Reason::PeerGone);
    let long = scene.store(long, LONG).map(|accepted| accepted.id);
    let next = scene.accept(b"to a new peer of the same id");
    next.storing.await.unwrap();

    assert_eq!(long.unwrap_err(), SendError::UnknownPeer);
    assert_eq!(waiting.storing.await, Err(SendError::UnknownPeer));
    assert_eq!((next.id.sequence, scene.numbers_stored().await), (1, vec![1]));
}

#[tokio::test]
async fn a_message_whose_peer_is_removed_while_it_waits_for_room_is_not_accepted() {
    let scene = Scene::new().await;
    scene.node.add_peer(PEER, None).await.unwrap();
    let store = &scene.lanes.keeper.store;
    let everything = usize::try_from(store.holdings().limit).unwrap() - 256;
    let room = store.try_reserve(everything).unwrap();
    let mut sending = pin!(scene.node.send_direct(PEER, 0x1000, b"too late", sealed(false)));
    let waits = sending.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending();

    scene.node.remove_peer(PEER).await.unwrap();
    drop(room);

    assert!(waits);
    assert_eq!(sending.await.map(drop), Err(SendError::UnknownPeer));
    assert_eq!(scene.numbers_stored().await, [0; 0]);
}

#[tokio::test]
async fn a_message_that_is_written_after_the_store_was_closed_is_not_accepted_and_neither_is_what_waits_for_it()
 {
    let scene = Scene::new().await;
    let long = scene.draft(CLASS, LONG);
    let room = scene.lanes.try_reserve(LONG.len()).unwrap();
    let waiting = scene.accept(b"behind it");

    scene.lanes.keeper.store.close().await;
    let long = long.store(room, message(LONG)).unwrap();

    assert_eq!(long.storing.await, Err(SendError::Closed));
    assert_eq!(waiting.storing.await, Err(SendError::Closed));
}

#[tokio::test]
async fn a_message_whose_peer_proves_to_keep_none_while_it_is_being_written_fails() {
    let scene = Scene::new().await;
    let draft = scene.draft(CLASS, LONG);

    scene.attach_to(STAYING, false);
    let message = scene.store(draft, LONG).unwrap();
    message.storing.await.unwrap();

    assert_eq!(message.outcome.unwrap().try_recv(), Ok(Outcome::Failed(Reason::NotKept)));
}

#[tokio::test]
async fn nobody_hears_of_a_fate_under_the_lock() {
    let scene = Scene::new().await;
    let accepted = scene.accept(b"to a peer that is removed");
    accepted.storing.await.unwrap();
    let calls = Arc::new(Unlocked { lanes: Arc::clone(&scene.lanes), calls: AtomicUsize::new(0) });
    let waker = Waker::from(Arc::clone(&calls));
    let mut outcome = pin!(accepted.outcome.unwrap());
    assert!(outcome.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());

    scene.lanes.close(Reason::PeerGone);

    assert_eq!(calls.calls.load(Relaxed), 1);
    assert_eq!(outcome.await, Ok(Outcome::Failed(Reason::PeerGone)));
}

struct Unlocked {
    lanes: Arc<Lanes>,
    calls: AtomicUsize,
}

impl Wake for Unlocked {
    fn wake(self: Arc<Self>) {
        self.calls.fetch_add(usize::from(self.lanes.outgoing.try_lock().is_ok()), Relaxed);
    }
}

impl Scene {
    /// The session is up, and the peer takes messages of the lane.
    fn open_lane(&self, class: Priority, epoch: u64) {
        if self.lanes.outgoing().attached().is_none() {
            self.attach(STAYING);
        }
        self.turn(STAYING);
        self.answer_lane(class, epoch, 1);
    }

    /// The numbers of the messages in the store.
    async fn numbers_stored(&self) -> Vec<u64> {
        let stored = self.lanes.keeper.store.read(self.lanes.key(CLASS), 1, 100, 1 << 20).await.unwrap();
        stored.into_iter().map(|(number, _)| number).collect()
    }
}

fn sealed(seal: bool) -> SendOptions {
    SendOptions::default().reliability(Reliability::Guaranteed).seal(seal)
}

const LONG: &[u8] = &[7; 10_000];
