//! Two nodes exchange messages of all priorities and sizes, in both kinds of runtime.

use std::thread;
use std::time::{Duration, Instant};

use hyphal::{Event, Family, Outcome, Outgoing, PeerError, Priority, SendError, SendOptions};

use crate::pair::{builder, find, listening, pair, up, within};

const SIZES: [usize; 9] = [0, 1, 2, 63, 64, 1000, 4096, 16_500, 60 * 1024];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_all_sizes_and_priorities_arrive_unchanged() {
    exchange().await;
}

#[tokio::test]
async fn everything_works_on_one_thread() {
    exchange().await;
}

async fn exchange() {
    let (left, right) = pair().await;
    for priority in Priority::ALL {
        for size in SIZES {
            let payload: Vec<u8> = (0..size).map(|i| (i * 7 % 251) as u8).collect();
            let options = SendOptions::default().priority(priority);

            let id = within(left.send_direct(right.id(), 7, &payload, options)).await.unwrap();
            let message = within(right.recv()).await.unwrap();

            assert_eq!(message.id, id);
            assert_eq!((message.source, message.target), (left.id(), Some(right.id())));
            assert_eq!((message.kind, message.priority, message.ttl), (7, priority, 60));
            assert_eq!(message.payload, payload);
        }
    }
}

#[tokio::test]
async fn the_answer_takes_the_same_link_back() {
    let (left, right) = pair().await;

    left.send_direct(right.id(), 1, "ping", SendOptions::default()).await.unwrap();
    let question = within(right.recv()).await.unwrap();
    right.send_direct(question.source, 2, "pong", SendOptions::default()).await.unwrap();

    assert_eq!(within(left.recv()).await.unwrap().payload, "pong");
    assert_eq!(left.counters().accepted, 1);
    assert_eq!(left.counters().dialled, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_arrives_complete_and_in_order() {
    let (left, right) = pair().await;
    let count = 100_000_u64;
    let to = right.id();
    let sender = left.clone();
    let sending = tokio::spawn(async move {
        sender.send_batch(to, (0..count).map(|number| Outgoing::new(5, number.to_be_bytes().to_vec()))).await
    });

    let mut next = 0_u64;
    while next < count {
        let batch = within(right.recv_batch()).await.unwrap();
        for message in batch.iter() {
            assert_eq!(message.payload, next.to_be_bytes());
            next += 1;
        }
    }

    assert_eq!(sending.await.unwrap(), Ok(count));
    assert_eq!(right.counters().received_dropped, []);
}

#[tokio::test]
async fn a_receipt_says_delivered_when_the_receiver_comes_back_for_more() {
    let (left, right) = pair().await;
    let (_, mut receipt) =
        left.send_direct_tracked(right.id(), 1, "first", SendOptions::default()).await.unwrap();
    within(right.recv()).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), &mut receipt).await;

    let comes_back = tokio::spawn(async move { right.recv().await });

    assert!(early.is_err(), "the receiver still works on it");
    assert_eq!(within(receipt).await, Outcome::Delivered);
    comes_back.abort();
}

#[tokio::test]
async fn an_expired_message_is_not_sent_and_its_receipt_says_so() {
    let (left, right) = pair().await;
    let absent = crate::pair::identity().id();
    left.add_peer(absent, None).await.unwrap();

    let options = SendOptions::default().ttl(1);
    let (_, receipt) = left.send_direct_tracked(absent, 1, "too late", options).await.unwrap();

    assert_eq!(within(receipt).await, Outcome::Expired);
    assert_eq!(left.counters().sent.expired, 1);
    drop(right);
}

#[tokio::test]
async fn misuse_is_told_at_once() {
    let (left, right) = pair().await;
    let (nobody, options) = (crate::pair::identity().id(), SendOptions::default());
    let unassigned = (0..=u16::MAX).find(|kind| Family::of(*kind).is_none()).unwrap();

    assert_eq!(left.send_direct(nobody, 1, "x", options).await, Err(SendError::UnknownPeer));
    assert_eq!(left.send_direct(right.id(), unassigned, "x", options).await, Err(SendError::UnknownType));
    let longer_than_the_peer_takes = left.send_direct(right.id(), 1, vec![0; (16 << 20) + 1], options).await;
    assert_eq!(longer_than_the_peer_takes, Err(SendError::TooLong { max: 16 << 20 }));
}

#[tokio::test]
async fn a_ping_measures_the_round_trip() {
    let began = Instant::now();
    let (left, right) = pair().await;

    let rtt = within(left.ping(right.id())).await.unwrap();

    assert!(rtt <= began.elapsed());
}

/// The friend stands still, so that nothing but the removal can end the wait for its answer.
#[tokio::test]
async fn a_ping_ends_with_the_removal_of_its_peer() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let (freeze, frozen) = tokio::sync::oneshot::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let friend = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let friend = listening(builder()).await;
            let mut events = friend.events();
            tell.send((friend.id(), friend.local_addrs()[0].clone())).unwrap();
            find(&mut events, |event| matches!(event, Event::PeerUp { .. })).await;
            freeze.send(friend.counters().bytes_sent).unwrap();
            let _ = ended.recv();
        });
    });
    let (id, endpoint) = told.await.unwrap();
    let node = builder().start().await.unwrap();
    let mut events = node.events();
    node.add_peer(id, Some(endpoint)).await.unwrap();
    up(&mut events, id).await;
    let carried = frozen.await.unwrap();
    // An answer to the session's own first ping may be under way.
    within(async {
        while node.counters().bytes_received < carried {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut unanswered = Box::pin(node.ping(id));
    assert!(tokio::time::timeout(Duration::ZERO, &mut unanswered).await.is_err());

    node.remove_peer(id).await.unwrap();

    assert_eq!(within(&mut unanswered).await, Err(PeerError::NotConnected));
    end.send(()).unwrap();
    friend.join().unwrap();
}
