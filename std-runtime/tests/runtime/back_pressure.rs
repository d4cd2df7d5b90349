//! A receiver that does not come back for more stops its senders, within bounds, and loses nothing.

use std::time::Duration;

use hyphal::{Limits, Outgoing, SendError, SendOptions};

use crate::pair::{builder, dialling, listening, up, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_receiver_blocks_its_sender_and_nothing_is_lost() {
    let mut limits = Limits::default();
    limits.queue_batches = 4;
    limits.queue_bytes = 64 * 1024;
    limits.window = 256 * 1024;
    limits.outbox_messages = 256;
    let mut tcp = hyphal::TcpOptions::default();
    tcp.send_buffer = Some(64 * 1024);
    tcp.receive_buffer = Some(64 * 1024);
    let receiver = listening(builder().limits(limits).tcp(tcp)).await;
    let mut events = receiver.events();
    let sender = dialling(builder().limits(limits).tcp(tcp), &receiver).await;
    up(&mut events, sender.id()).await;
    let (count, len, to) = (20_000_u64, 1000, receiver.id());

    let payload = vec![1; len];
    let mut batch = Box::pin(sender.send_batch(to, (0..count).map(|_| Outgoing::new(1, &payload))));
    // The receiver takes nothing, so the sender gets stuck: several silences long, as the session must survive it.
    let stuck = tokio::time::timeout(Duration::from_secs(3), &mut batch).await;
    let accepted = batch.accepted();
    let held = receiver.counters().received;

    assert!(stuck.is_err());
    assert!(accepted < count / 10, "{accepted} messages were accepted without a receiver");
    assert!(held * (len as u64) <= 256 * 1024, "{held} messages wait at the receiver");
    let refused = sender.try_send_direct(to, 1, &payload, SendOptions::default());
    assert_eq!(refused, Err(SendError::QueueFull));

    let receiving = async {
        let mut received = 0;
        while received < count {
            received += receiver.recv_batch().await.unwrap().len() as u64;
        }
    };
    let (sent, ()) = within(async { tokio::join!(&mut batch, receiving) }).await;
    assert_eq!(sent, Ok(count));
    assert_eq!(receiver.counters().closed, [], "the session survived the pause");
}

#[tokio::test]
async fn a_batch_that_is_given_up_says_how_much_was_accepted() {
    let mut limits = Limits::default();
    limits.outbox_messages = 100;
    let node = listening(builder().limits(limits)).await;
    let absent = crate::pair::identity().id();
    node.add_peer(absent, None).await.unwrap();

    let mut batch = Box::pin(node.send_batch(absent, (0..150).map(|_| Outgoing::new(1, b"x"))));
    let stuck = tokio::time::timeout(Duration::from_millis(100), &mut batch).await;

    assert!(stuck.is_err());
    assert_eq!(batch.accepted(), 100);
    drop(batch);
    assert_eq!(node.counters().sent.queued, 100);
}
