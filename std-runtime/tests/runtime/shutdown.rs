//! Shutting down sends what is queued, says goodbye, and gives the last numbers.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use hyphal::{
    Event, Filter, Node, NodeId, Outcome, Outgoing, Reason, Receipt, SendError, SendOptions, Sent,
    Subscription,
};
use hyphal_core::node::DialStatus;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use crate::guaranteed::{Place, guaranteed};
use crate::page::until;
use crate::pair::{PATIENCE, builder, find, identity, listening, pair, tcp_port, within};

#[tokio::test]
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
async fn a_receiver_that_leaves_as_soon_as_it_has_a_guaranteed_message_confirms_it() {
    let (left, right) = (Place::new(), Place::new());
    let (receiver, sender) = (right.listen().await, left.dial(&right).await);
    let messages = receiver.subscribe(Filter::all());
    let hasty = Arc::new(Hasty { node: receiver, messages: Mutex::new(messages), ending: Mutex::default() });
    Arc::clone(&hasty).wake();

    let (_, receipt) = sender.send_direct_tracked(right.id(), 1, "the last", guaranteed()).await.unwrap();

    within(async {
        while hasty.ending.lock().unwrap().is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let ending = hasty.ending.lock().unwrap().take().unwrap();
    within(ending).await;
    assert_eq!(within(receipt).await, Outcome::Delivered);
}

#[tokio::test]
async fn draining_gives_up_after_its_time() {
    let (left, right) = pair().await;
    left.send_direct(right.id(), 1, "nobody takes it", SendOptions::default()).await.unwrap();
    within(until(|| left.counters().sent.in_flight == 1)).await;

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

#[tokio::test]
async fn what_never_left_is_dropped_with_the_node_and_its_receipts_say_so() {
    let node = listening(builder()).await;
    let absent = identity().id();
    node.add_peer(absent, None).await.unwrap();
    let (_, receipt) = node.send_direct_tracked(absent, 1, "unsent", SendOptions::default()).await.unwrap();

    let sent = within(node.shutdown(Duration::ZERO)).await;

    assert_eq!(within(receipt).await, Outcome::Failed(Reason::Shutdown));
    assert_eq!((sent.sent, sent.queued, sent.dropped), (1, 1, 0));
    assert_eq!((node.counters().sent.queued, node.counters().sent.dropped), (0, 1));
}

#[tokio::test]
async fn who_drains_does_not_wait_for_a_peer_that_is_removed() {
    let (node, absent, receipt) = with_unsent().await;
    let mut ending = pin!(node.shutdown(LONG));
    // Until nothing moves any more.
    assert!(tokio::time::timeout(Duration::from_millis(500), &mut ending).await.is_err());

    node.remove_peer(absent).await.unwrap();

    let sent = within(ending).await;
    assert_eq!(within(receipt).await, Outcome::Failed(Reason::PeerGone));
    assert_eq!((sent.sent, sent.queued, sent.dropped), (1, 0, 1));
}

#[tokio::test]
async fn who_drains_does_not_wait_for_a_message_that_is_called_back() {
    let (node, _, receipt) = with_unsent().await;
    let mut ending = pin!(node.shutdown(LONG));
    // Until nothing moves any more.
    assert!(tokio::time::timeout(Duration::from_millis(500), &mut ending).await.is_err());

    assert!(receipt.cancel());

    let sent = within(ending).await;
    assert_eq!((sent.sent, sent.queued, sent.dropped), (1, 0, 1));
}

/// A node with a message for a peer that is not there.
async fn with_unsent() -> (Node, NodeId, Receipt) {
    let node = listening(builder()).await;
    let absent = identity().id();
    node.add_peer(absent, None).await.unwrap();
    let (_, receipt) = node.send_direct_tracked(absent, 1, "unsent", SendOptions::default()).await.unwrap();
    (node, absent, receipt)
}

#[tokio::test]
async fn a_second_shutdown_waits_for_nothing_and_gives_the_same_numbers() {
    let node = listening(builder()).await;
    let absent = identity().id();
    node.add_peer(absent, None).await.unwrap();
    node.send_direct(absent, 1, "unsent", SendOptions::default()).await.unwrap();
    // Polled first, so that it waits for the absent peer when the second one comes.
    let (first, second) =
        within(async { tokio::join!(biased; node.shutdown(LONG), node.shutdown(Duration::ZERO)) }).await;

    let third = within(node.shutdown(LONG)).await;

    assert_eq!((first, second), (third, third));
}

#[tokio::test]
async fn a_handshake_that_stands_still_does_not_hold_a_shutdown_up() {
    let node = listening(builder()).await;
    let mut silent = TcpStream::connect(tcp_port(&node)).await.unwrap();
    within(until(|| node.counters().accepted > 0)).await;

    assert_ends_without_waiting(&node).await;

    let mut rest = Vec::new();
    within(silent.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(node.counters().closed, [(Reason::Shutdown, 1)]);
}

#[tokio::test]
async fn a_dial_that_nobody_answers_does_not_hold_a_shutdown_up() {
    // A listener whose queue is full: the system leaves further connections unanswered.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let crowded = socket.listen(1).unwrap();
    let address = crowded.local_addr().unwrap();
    let mut crowd = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await
    {
        crowd.push(stream);
    }
    let node = listening(builder().peer(identity().id(), address.to_string())).await;
    while node.peers().await[0].status.dial != DialStatus::Outstanding {
        tokio::task::yield_now().await;
    }

    assert_ends_without_waiting(&node).await;
}

/// Shuts the node down in time that passes only where nothing is left to do but to wait.
async fn assert_ends_without_waiting(node: &Node) {
    tokio::time::pause();
    let began = Instant::now();
    within(node.shutdown(Duration::ZERO)).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    tokio::time::resume();
}

/// Longer than any test may take.
const LONG: Duration = Duration::from_secs(3600);

/// A receiver that takes a message, is done with it, and shuts its node down while whoever gave it the message still does so: where
/// it is called, the link has not gone on.
struct Hasty {
    node: Node,
    messages: Mutex<Subscription>,
    ending: Mutex<Option<Ending>>,
}

type Ending = Pin<Box<dyn Future<Output = Sent> + Send>>;

impl Wake for Hasty {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        let cx = &mut Context::from_waker(&waker);
        let mut messages = self.messages.lock().unwrap();
        let Poll::Ready(Some(_)) = pin!(messages.recv()).poll(cx) else { return };
        // Coming back acknowledges it.
        assert!(pin!(messages.recv()).poll(cx).is_pending());
        drop(messages);
        let node = self.node.clone();
        let mut ending: Ending = Box::pin(async move { node.shutdown(PATIENCE).await });
        assert!(ending.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        *self.ending.lock().unwrap() = Some(ending);
    }
}
