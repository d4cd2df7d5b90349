//! Shutting down sends what is queued, says goodbye, and gives the last numbers.

use std::time::Duration;

use hyphal::{Event, Outgoing, Reason, SendError, SendOptions};

use crate::pair::{PATIENCE, find, pair, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_queued_arrives_before_the_node_goes() {
    let (left, right) = pair().await;
    let mut events = right.events();
    let count = 5000_u64;
    left.send_batch(right.id(), (0..count).map(|_| Outgoing::new(1, b"last words"))).await.unwrap();
    let receiver = right.clone();
    let receiving = tokio::spawn(async move {
        let mut received = 0;
        while received < count {
            received += receiver.recv_batch().await.unwrap().len() as u64;
        }
        receiver.recv_batch().await
    });

    let sent = within(left.shutdown(PATIENCE)).await;

    assert_eq!((sent.sent, sent.confirmed), (count, count));
    let down = find(&mut events, |event| matches!(event, Event::PeerDown { .. })).await;
    assert_eq!(down, Event::PeerDown { peer: left.id(), reason: Reason::Shutdown });
    let late = left.send_direct(right.id(), 1, "late", SendOptions::default()).await;
    assert_eq!(late, Err(SendError::Closed));
    assert!(left.recv().await.is_none());
    receiving.abort();
}

#[tokio::test]
async fn draining_gives_up_after_its_time() {
    let (left, right) = pair().await;
    left.send_direct(right.id(), 1, "nobody takes it", SendOptions::default()).await.unwrap();

    let sent = within(left.shutdown(Duration::from_millis(100))).await;

    assert_eq!((sent.sent, sent.unconfirmed), (1, 1));
}

#[tokio::test]
async fn dropping_the_last_handle_ends_all_tasks() {
    let (left, right) = pair().await;
    let mut events = right.events();

    drop(left);

    find(&mut events, |event| matches!(event, Event::PeerDown { .. })).await;
}
