//! A receiver that does not come back for more stops its senders, within bounds, and loses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use hyphal::{Limits, Node, NodeId, Outcome, Outgoing, Overflow, Priority, Reason, SendError, SendOptions};

use crate::pair::{between, builder, listening, within};

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
    let configured = || builder().limits(limits).tcp(tcp);
    let (receiver, sender) = between(listening(configured()).await, configured()).await;
    let (count, len, to) = (20_000_u64, 1000, receiver.id());

    let payload = vec![1; len];
    let mut batch = Box::pin(sender.send_batch(to, (0..count).map(|_| Outgoing::new(1, &payload))));
    // The receiver takes nothing, so the sender gets stuck: a round trip brings it no room. The session survives it, as both links
    // go on reading and writing.
    let mut accepted = u64::MAX;
    while accepted != batch.accepted() {
        accepted = batch.accepted();
        assert!(tokio::time::timeout(Duration::ZERO, &mut batch).await.is_err());
        assert!(within(receiver.ping(sender.id())).await.is_ok());
        assert!(within(sender.ping(to)).await.is_ok());
    }
    let held = receiver.counters().received;

    assert!(accepted < count / 10, "{accepted} messages were accepted without a receiver");
    assert!(held * (len as u64) <= 256 * 1024, "{held} messages wait at the receiver");
    let refused = sender.try_send_direct(to, 1, &payload, SendOptions::default());
    assert_eq!(refused, Err(SendError::QueueFull));

    let receiving = async {
        let mut received = 0;
        while received < count {
            received += within(receiver.recv_batch()).await.unwrap().len() as u64;
        }
    };
    let (sent, ()) = tokio::join!(&mut batch, receiving);
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

#[tokio::test]
async fn a_message_that_does_not_wait_is_refused_by_a_full_queue() {
    let (node, absent) = node_with_room_for(2).await;
    let fail = SendOptions::default().overflow(Overflow::Fail);
    node.send_direct(absent, 1, b"first", fail).await.unwrap();
    node.send_direct(absent, 1, b"second", fail).await.unwrap();

    let third = within(node.send_direct(absent, 1, b"third", fail)).await;
    let batch = within(node.send_batch(absent, [Outgoing { options: fail, ..Outgoing::new(1, b"x") }])).await;
    let broadcast = within(node.broadcast(1, b"all", fail)).await.unwrap();

    assert_eq!(third, Err(SendError::QueueFull));
    assert_eq!(batch.map_err(|error| (error.accepted, error.error)), Err((0, SendError::QueueFull)));
    assert_eq!(broadcast.refused, [(absent, SendError::QueueFull)]);
    assert_eq!(node.counters().sent.queued, 2);
}

#[tokio::test]
async fn a_message_that_sheds_drops_the_least_urgent_and_oldest_and_their_senders_hear_of_it() {
    let (node, absent) = node_with_room_for(3).await;
    let class = |priority| SendOptions::default().priority(priority).overflow(Overflow::Shed);
    let mut receipts = Vec::new();
    for priority in [Priority::Medium, Priority::Low, Priority::High] {
        receipts.push(node.send_direct_tracked(absent, 1, b"x", class(priority)).await.unwrap().1);
    }

    node.try_send_direct(absent, 1, b"for low", class(Priority::Medium)).unwrap();
    let batch = [Outgoing { options: class(Priority::Medium), ..Outgoing::new(1, b"for medium") }];
    assert_eq!(within(node.send_batch(absent, batch)).await, Ok(1));
    let refused = within(node.send_direct(absent, 1, b"too humble", class(Priority::Low))).await;
    let broadcast = within(node.broadcast(1, b"for medium", class(Priority::High))).await.unwrap();

    assert_eq!(refused, Err(SendError::QueueFull));
    assert_eq!(broadcast.accepted.len(), 1);
    let high = receipts.pop().unwrap();
    for shed in receipts {
        assert_eq!(within(shed).await, Outcome::Failed(Reason::Shed));
    }
    assert!(tokio::time::timeout(Duration::ZERO, high).await.is_err(), "a more urgent message stays");
    let sent = node.counters().sent;
    assert_eq!((sent.queued, sent.dropped, sent.sent), (3, 3, 6));
}

#[tokio::test]
async fn a_message_that_sheds_does_not_stand_behind_senders_that_wait() {
    let (node, absent) = node_with_room_for(1).await;
    node.send_direct(absent, 1, b"first", SendOptions::default()).await.unwrap();
    let waits = node.send_direct(absent, 1, b"waits", SendOptions::default());
    let mut waits = std::pin::pin!(waits);
    assert!(tokio::time::timeout(Duration::ZERO, &mut waits).await.is_err());
    let shed = SendOptions::default().overflow(Overflow::Shed);

    let direct = within(node.send_direct(absent, 1, b"fresh", shed)).await;
    let broadcast = within(node.broadcast(1, b"all", shed)).await.unwrap();

    assert!(direct.is_ok());
    assert_eq!(broadcast.refused, [(absent, SendError::QueueFull)]);
}

#[tokio::test]
async fn a_long_batch_that_never_waits_lets_other_tasks_have_their_turn() {
    let (node, absent) = node_with_room_for(4).await;
    let options = SendOptions::default().overflow(Overflow::Shed);
    let (had_turn, count) = (Arc::new(AtomicBool::new(false)), 1_000_000);
    let other = tokio::spawn({
        let had_turn = Arc::clone(&had_turn);
        async move { had_turn.store(true, Relaxed) }
    });

    let messages = (0..count)
        .take_while(|_| !had_turn.load(Relaxed))
        .map(|_| Outgoing { options, ..Outgoing::new(1, b"x") });
    let sent = within(node.send_batch(absent, messages)).await.unwrap();

    assert!(sent < count, "the only thread was the batch's until its end");
    within(other).await.unwrap();
}

/// A node whose queues hold so many messages, and a peer of it that is not there.
async fn node_with_room_for(messages: usize) -> (Node, NodeId) {
    let mut limits = Limits::default();
    limits.outbox_messages = messages;
    let node = listening(builder().limits(limits)).await;
    let absent = crate::pair::identity().id();
    node.add_peer(absent, None).await.unwrap();
    (node, absent)
}
