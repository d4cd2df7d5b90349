//! Guaranteed messages arrive, whoever was absent or restarted when, and each is committed once.

use std::path::Path;
use std::time::Duration;

use hyphal::{
    Filter, HeldSubscription, Identity, Message, Node, NodeBuilder, Outcome, Outgoing, Overflow, Reason,
    Reliability, SendError, SendOptions,
};
use tempfile::TempDir;

use crate::pair::{builder, dialling, identity, listening, within};

/// Guaranteed, and worth something for ever.
pub(crate) fn guaranteed() -> SendOptions {
    SendOptions::default().ttl(0).reliability(Reliability::Guaranteed)
}

/// A node that can be started again with the same key, store and address.
pub(crate) struct Place {
    seed: [u8; 32],
    pub(crate) store: TempDir,
    pub(crate) address: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let identity = identity();
        let address = format!("memory://{}", identity.id());
        Self { seed: *identity.seed().unwrap(), store: TempDir::new().unwrap(), address }
    }

    pub(crate) fn id(&self) -> hyphal::NodeId {
        Identity::from_seed(&self.seed).unwrap().id()
    }

    pub(crate) fn builder(&self) -> NodeBuilder {
        builder().identity(Identity::from_seed(&self.seed).unwrap()).store(self.store.path())
    }

    /// Starts the node, which listens.
    pub(crate) async fn listen(&self) -> Node {
        start(|| self.builder().listen(self.address.as_str())).await
    }

    /// Starts the node, which dials another place.
    pub(crate) async fn dial(&self, other: &Self) -> Node {
        start(|| self.builder().peer(other.id(), other.address.as_str())).await
    }
}

/// Starts a node as soon as what its predecessor held is free.
async fn start(builder: impl Fn() -> NodeBuilder) -> Node {
    within(async {
        loop {
            match builder().start().await {
                Ok(node) => return node,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    })
    .await
}

/// The number that a test has put into a message.
fn number(message: &Message) -> u64 {
    std::str::from_utf8(&message.payload).unwrap().parse().unwrap()
}

async fn send(node: &Node, to: hyphal::NodeId, numbers: std::ops::Range<u64>) {
    for number in numbers {
        node.send_direct(to, 1, number.to_string(), guaranteed()).await.unwrap();
    }
}

async fn take(node: &Node, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    for _ in 0..count {
        numbers.push(number(&within(node.recv()).await.unwrap()));
    }
    numbers
}

/// Waits until nothing is stored any more.
pub(crate) async fn settled(node: &Node) {
    within(async {
        while node.counters().sent.stored > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn assert_adds_up(node: &Node) {
    let sent = node.counters().sent;
    let known = sent.confirmed + sent.expired + sent.dropped + sent.unconfirmed + sent.unknown;
    assert_eq!(sent.sent, known + sent.queued + sent.in_flight + sent.stored, "{sent:?}");
}

#[tokio::test]
async fn a_node_that_cannot_start_leaves_its_store_to_the_next_attempt() {
    let place = Place::new();
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let wrong = [
        place.builder().listen(taken.local_addr().unwrap()),
        place.builder().peer(place.id(), "127.0.0.1:1"),
        place.builder().key_log("/nowhere/at/all"),
    ];

    for builder in wrong {
        let refused = builder.start().await;

        assert!(refused.is_err());
        let node = place.builder().start().await.expect("the store is free at once");
        node.shutdown(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn what_is_accepted_before_the_peer_was_ever_there_is_delivered_when_it_comes() {
    let (left, right) = (Place::new(), Place::new());
    let sender = left.dial(&right).await;
    send(&sender, right.id(), 0..5).await;
    assert_eq!(sender.counters().sent.stored, 5);

    let receiver = right.listen().await;

    assert_eq!(take(&receiver, 5).await, [0, 1, 2, 3, 4]);
    drop(tokio::time::timeout(Duration::from_millis(1), receiver.recv()).await);
    settled(&sender).await;
    assert_eq!(sender.counters().sent.confirmed, 5);
    assert_adds_up(&sender);
}

#[tokio::test]
async fn the_id_of_a_message_is_the_one_that_its_sender_was_given() {
    let (left, right) = (Place::new(), Place::new());
    let (receiver, sender) = (right.listen().await, left.dial(&right).await);

    let first = sender.send_direct(right.id(), 1, "a", guaranteed()).await.unwrap();
    let second = sender.send_direct(right.id(), 1, "b", guaranteed()).await.unwrap();

    assert_eq!((first.sequence, second.sequence, first.epoch), (1, 2, second.epoch));
    assert_eq!(within(receiver.recv()).await.unwrap().id, first);
    assert_eq!(within(receiver.recv()).await.unwrap().id, second);
}

#[tokio::test]
async fn what_the_application_has_not_committed_comes_again_after_a_restart_of_the_receiver() {
    let (left, right) = (Place::new(), Place::new());
    let (receiver, sender) = (right.listen().await, left.dial(&right).await);
    send(&sender, right.id(), 0..3).await;
    assert_eq!(take(&receiver, 2).await, [0, 1]);

    // The second message was taken, and its receiver did not come back.
    drop(receiver);
    let receiver = right.listen().await;

    let again = take(&receiver, 1).await[0];
    assert!(again <= 1, "{again}");
    let mut next = again;
    while next < 2 {
        next = take(&receiver, 1).await[0];
    }
    drop(tokio::time::timeout(Duration::from_millis(1), receiver.recv()).await);
    settled(&sender).await;
    assert_eq!(sender.counters().sent.confirmed, 3);
}

#[tokio::test]
async fn what_is_stored_is_sent_after_a_restart_of_the_sender() {
    let (left, right) = (Place::new(), Place::new());
    let sender = left.dial(&right).await;
    send(&sender, right.id(), 0..4).await;

    let last = sender.shutdown(Duration::ZERO).await;
    let sender = left.dial(&right).await;
    let receiver = right.listen().await;

    assert_eq!((last.sent, last.stored, last.dropped, last.queued), (4, 4, 0, 0));
    assert_eq!(take(&receiver, 4).await, [0, 1, 2, 3]);
    drop(tokio::time::timeout(Duration::from_millis(1), receiver.recv()).await);
    settled(&sender).await;
    assert_adds_up(&sender);
}

#[tokio::test]
async fn numbers_go_on_after_restarts_of_both_and_nothing_comes_twice() {
    let (left, right) = (Place::new(), Place::new());
    let mut numbers = Vec::new();

    for round in 0..4 {
        let (receiver, sender) = (right.listen().await, left.dial(&right).await);
        send(&sender, right.id(), 10 * round..10 * round + 10).await;
        numbers.extend(take(&receiver, 10).await);
        drop(tokio::time::timeout(Duration::from_millis(1), receiver.recv()).await);
        settled(&sender).await;
        sender.shutdown(Duration::from_secs(5)).await;
        receiver.shutdown(Duration::from_secs(5)).await;
    }

    assert_eq!(numbers, Vec::from_iter(0..40));
}

#[tokio::test]
async fn what_was_sealed_and_signed_before_both_restarted_is_opened_and_proves_its_source_after_it() {
    let (left, right) = (Place::new(), Place::new());
    let closed = guaranteed().seal(true).sign(true);
    let sender = left.dial(&right).await;
    let first = sender.send_direct(right.id(), 1, "before anybody met", closed).await.unwrap();
    let receiver = right.listen().await;
    let taken = within(receiver.recv()).await.unwrap();
    assert_eq!((taken.id, taken.is_encrypted, taken.is_signed), (first, true, true));
    // Nobody commits it; both end, and another message is accepted while the receiver is away.
    receiver.shutdown(Duration::ZERO).await;
    let second = sender.send_direct(right.id(), 1, "while it was away", closed).await.unwrap();
    assert_eq!(sender.shutdown(Duration::ZERO).await.stored, 2);

    let (receiver, sender) = (right.listen().await, left.dial(&right).await);

    for (id, text) in [(first, "before anybody met"), (second, "while it was away")] {
        let message = within(receiver.recv()).await.unwrap();
        assert_eq!((message.id, &message.payload[..], message.is_encrypted), (id, text.as_bytes(), true));
        let evidence = hyphal::verify_signed("test", message.envelope().unwrap()).unwrap();
        assert_eq!((evidence.source_node_id, evidence.message_id), (left.id(), id));
    }
    drop(tokio::time::timeout(Duration::from_millis(1), receiver.recv()).await);
    settled(&sender).await;
    assert_eq!(sender.counters().sent.confirmed, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_a_window_arrives_in_order() {
    let (left, right) = (Place::new(), Place::new());
    let (receiver, sender) = (right.listen().await, left.dial(&right).await);
    let texts: Vec<_> = (0..5000).map(|number: u64| number.to_string()).collect();
    let messages =
        texts.iter().map(|text| Outgoing { options: guaranteed(), ..Outgoing::new(1, text.as_str()) });

    let sent = within(sender.send_batch(right.id(), messages)).await;

    assert_eq!(sent, Ok(5000));
    assert_eq!(take(&receiver, 5000).await, Vec::from_iter(0..5000));
    drop(tokio::time::timeout(Duration::from_millis(1), receiver.recv()).await);
    settled(&sender).await;
    assert_eq!(sender.counters().sent.confirmed, 5000);
}

#[tokio::test]
async fn a_message_whose_acknowledgement_is_withheld_comes_again_and_others_do_not() {
    let (left, right) = (Place::new(), Place::new());
    let (receiver, sender) = (right.listen().await, left.dial(&right).await);
    let mut held = receiver.subscribe_held(Filter::all());
    send(&sender, right.id(), 0..3).await;

    let messages = [next(&mut held).await, next(&mut held).await, next(&mut held).await];
    let [first, second, third] = messages;
    assert_eq!((number(&first), number(&second), number(&third)), (0, 1, 2));
    third.acknowledge();
    first.acknowledge();
    within(async {
        while sender.counters().sent.confirmed < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    drop(second);
    receiver.shutdown(Duration::ZERO).await;
    let receiver = right.listen().await;
    let mut held = receiver.subscribe_held(Filter::all());

    let again = next(&mut held).await;
    assert_eq!(number(&again), 1);
    again.acknowledge();
    settled(&sender).await;
    assert_eq!(sender.counters().sent.confirmed, 3);
}

#[tokio::test]
async fn a_message_that_was_let_go_comes_again_with_the_next_session() {
    let (left, right) = (Place::new(), Place::new());
    let (receiver, sender) = (right.listen().await, left.dial(&right).await);
    let mut held = receiver.subscribe_held(Filter::all());
    send(&sender, right.id(), 0..1).await;
    drop(next(&mut held).await);

    drop(sender);
    let sender = left.dial(&right).await;

    let again = next(&mut held).await;
    assert_eq!(number(&again), 0);
    again.acknowledge();
    settled(&sender).await;
}

#[tokio::test]
async fn large_messages_are_guaranteed_too_whole_and_as_streams() {
    let (left, right) = (Place::new(), Place::new());
    let (receiver, sender) = (right.listen().await, left.dial(&right).await);
    let mut streams = receiver.subscribe_streams(Filter::all().kind(2));
    let mut whole = receiver.subscribe(Filter::all().kind(1));
    let payload = vec![0x5A; 3 << 20];

    sender.send_direct(right.id(), 1, payload.clone(), guaranteed()).await.unwrap();
    sender.send_direct(right.id(), 2, payload.clone(), guaranteed()).await.unwrap();

    assert_eq!(within(whole.recv()).await.unwrap().payload, payload);
    drop(tokio::time::timeout(Duration::from_millis(1), whole.recv()).await);
    let Some(hyphal::Incoming::Stream(mut stream)) = within(streams.recv()).await else { panic!("a stream") };
    let mut read = 0;
    while let Some(part) = within(stream.next()).await {
        read += part.unwrap().len();
    }
    assert_eq!((read, stream.id().sequence), (payload.len(), 2));
    settled(&sender).await;
    assert_eq!(sender.counters().sent.confirmed, 2);
}

#[tokio::test]
async fn lanes_to_many_peers_do_not_know_each_other() {
    let (left, others) = (Place::new(), Vec::from_iter((0..8).map(|_| Place::new())));
    let mut builder = left.builder().listen(left.address.as_str());
    for other in &others {
        builder = builder.known_peer(other.id());
    }
    let sender = builder.start().await.unwrap();
    for other in &others {
        send(&sender, other.id(), 0..20).await;
    }

    for other in &others[1..] {
        let receiver = other.dial(&left).await;
        assert_eq!(take(&receiver, 20).await, Vec::from_iter(0..20));
        receiver.shutdown(Duration::from_secs(5)).await;
    }

    assert!(sender.counters().sent.stored >= 20);
    assert_adds_up(&sender);
}

#[tokio::test]
async fn a_full_store_is_waited_for_or_refused_as_the_sender_says() {
    let (left, right) = (Place::new(), Place::new());
    let mut limits = hyphal::Limits::default();
    limits.max_message = 4096;
    limits.store_bytes = 8192;
    let sender =
        left.builder().limits(limits).peer(right.id(), right.address.as_str()).start().await.unwrap();
    let payload = vec![0; 3000];
    let now = guaranteed().overflow(Overflow::Fail);
    let mut stored = 0;
    let refused = loop {
        match sender.send_direct(right.id(), 1, payload.clone(), now).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((stored, refused), (2, SendError::StoreFull));

    let mut waiting = Box::pin(sender.send_direct(right.id(), 1, payload.clone(), guaranteed()));
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut waiting).await.is_err());
    let receiver = right.listen().await;
    for _ in 0..3 {
        tokio::select! {
            message = within(receiver.recv()) => drop(message.unwrap()),
            sent = &mut waiting, if stored == 2 => { sent.unwrap(); stored += 1; within(receiver.recv()).await.unwrap(); }
        }
    }

    assert_adds_up(&sender);
}

#[tokio::test]
async fn a_node_without_a_store_neither_sends_nor_takes_guaranteed_messages() {
    let (left, right) = (Place::new(), Place::new());
    let poor = listening(builder()).await;
    let sender = left.builder().peer(poor.id(), poor.local_addrs()[0].to_string()).start().await.unwrap();

    let (_, receipt) = match sender.send_direct_tracked(poor.id(), 1, "x", guaranteed()).await {
        Ok(sent) => sent,
        Err(error) => return assert_eq!(error, SendError::NotKept),
    };
    assert_eq!(within(receipt).await, Outcome::Failed(Reason::NotKept));
    let refused = sender.send_direct(poor.id(), 1, "x", guaranteed()).await;
    assert_eq!(refused, Err(SendError::NotKept));

    let other = dialling(builder(), &poor).await;
    assert_eq!(other.send_direct(poor.id(), 1, "x", guaranteed()).await, Err(SendError::NoStore));
    let _ = right;
}

#[tokio::test]
async fn a_guaranteed_message_is_neither_broadcast_nor_sent_without_waiting() {
    let (left, right) = (Place::new(), Place::new());
    let sender = left.dial(&right).await;

    let broadcast = sender.broadcast(1, "x", guaranteed()).await;
    let at_once = sender.try_send_direct(right.id(), 1, "x", guaranteed());

    assert_eq!(broadcast.map(drop), Err(SendError::NotGuaranteed));
    assert_eq!(at_once.map(drop), Err(SendError::NotGuaranteed));
}

async fn next(held: &mut HeldSubscription) -> hyphal::HeldMessage {
    within(held.recv()).await.unwrap()
}

/// The store's file, for tests that take it away.
pub(crate) fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}
