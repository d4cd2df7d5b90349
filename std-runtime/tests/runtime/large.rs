//! Large messages between real nodes: whole, called back, expired, cut off by the end of a session, refused.

use std::time::Duration;

use bytes::Bytes;
use hyphal::{
    Filter, Incoming, Limits, Node, NodeId, Outcome, Priority, Reason, SendError, SendOptions, StreamError,
};

use crate::pair::{between, builder, dialling, listening, pair, up, within};
use crate::streams::collect;

/// As long as a node takes by default.
const LONGEST: usize = 16 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_16_mib_arrives_as_it_was_sent() {
    let (left, right) = pair().await;
    let payload = noise(LONGEST, 1);

    let (id, receipt) =
        left.send_direct_tracked(right.id(), 7, payload.clone(), SendOptions::default()).await.unwrap();
    let message = within(right.recv()).await.unwrap();

    assert_eq!((message.id, message.source, message.kind), (id, left.id(), 7));
    assert!(message.payload == payload, "the payload is another one");
    assert_eq!(receipt.progress().written, receipt.progress().total);
    assert_eq!(left.counters().sent.confirmed, 0, "confirmed when the application comes back for more");
    drop(right.subscribe(Filter::all()));
    tokio::select! {
        _ = right.recv() => panic!("there is no further message"),
        outcome = within(receipt) => assert_eq!(outcome, Outcome::Delivered),
    }
    assert_eq!(right.counters().received, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lengths_around_those_of_parts_and_records_arrive_in_order() {
    let (left, right) = pair().await;
    let parts = [1, 2, 3].map(|parts| parts * 16_384);
    let lens: Vec<usize> =
        parts.into_iter().chain([65_535, 1 << 20]).flat_map(|len| len - 2..=len + 2).collect();

    for (number, len) in lens.iter().enumerate() {
        let payload = noise(*len, number as u32);
        left.send_direct(right.id(), 1, payload, SendOptions::default()).await.unwrap();
        left.send_direct(right.id(), 2, &number.to_le_bytes()[..], SendOptions::default()).await.unwrap();
    }

    for (number, len) in lens.iter().enumerate() {
        let large = within(right.recv()).await.unwrap();
        assert!(large.payload == noise(*len, number as u32), "message {number} of {len} bytes");
        let small = within(right.recv()).await.unwrap();
        assert_eq!(small.payload, &number.to_le_bytes()[..]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn urgent_messages_pass_a_large_one_and_large_ones_of_all_classes_arrive() {
    let (left, right) = pair().await;
    let payload = noise(1 << 20, 3);

    for priority in [Priority::Low, Priority::Medium, Priority::High, Priority::Critical] {
        let options = SendOptions::default().priority(priority);
        left.send_direct(right.id(), priority as u16, payload.clone(), options).await.unwrap();
        left.send_direct(right.id(), 9, "behind it", options).await.unwrap();
    }

    let mut arrived = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..8 {
        let message = within(right.recv()).await.unwrap();
        arrived[message.priority as usize].push((message.kind, message.payload));
    }
    for (priority, of_class) in arrived.into_iter().enumerate() {
        assert_eq!(of_class.len(), 2);
        assert!(of_class[0] == (priority as u16, payload.clone()), "class {priority}");
        assert_eq!(of_class[1], (9, Bytes::from("behind it")), "class {priority}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_of_a_large_message_reaches_all_peers() {
    let hub = listening(builder()).await;
    let mut events = hub.events();
    let mut spokes = Vec::new();
    for _ in 0..3 {
        let spoke = dialling(builder(), &hub).await;
        up(&mut events, spoke.id()).await;
        spokes.push(spoke);
    }
    let payload = noise(3 << 20, 4);

    let sent = hub.broadcast(1, payload.clone(), SendOptions::default()).await.unwrap();

    assert_eq!((sent.accepted.len(), sent.refused.len()), (3, 0));
    for spoke in &spokes {
        let message = within(spoke.recv()).await.unwrap();
        assert_eq!((message.id, message.target), (sent.id, None));
        assert!(message.payload == payload);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_called_back_half_way_is_dropped_at_both_ends() {
    let (left, right) = pair().await;
    let stuck = Stuck::between(&left, &right, 0).await;

    let is_cancelled = stuck.receipt.cancel();

    assert!(is_cancelled && !stuck.receipt.cancel());
    assert_eq!(within(stuck.receipt).await, Outcome::Failed(Reason::Cancelled));
    assert_eq!(collect(stuck.unread).await, Err(StreamError::Abandoned));
    assert_eq!(next(&left, &right).await.payload, "next");
    assert_eq!(right.counters().received_dropped, [(Reason::Cancelled, 1)]);
    assert_eq!(left.counters().sent.dropped, 1);
    assert_eq!(left.counters().closed, []);
}

/// In time that passes only where nothing is left to do: not before the message is half way.
#[tokio::test(start_paused = true)]
async fn a_message_whose_time_passes_half_way_is_dropped_at_both_ends() {
    let left = builder().listen("memory://time-passes").start().await.unwrap();
    let (left, right) = between(left, builder()).await;
    let stuck = Stuck::between(&left, &right, 1).await;

    assert_eq!(within(stuck.receipt).await, Outcome::Expired);
    assert_eq!(collect(stuck.unread).await, Err(StreamError::Abandoned));

    assert_eq!(next(&left, &right).await.payload, "next");
    assert_eq!(right.counters().received_dropped, [(Reason::Cancelled, 1)]);
    assert_eq!(left.counters().sent.expired, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_cut_off_by_the_end_of_its_session_is_sent_again_and_delivered_once() {
    let left = listening(builder()).await;
    let right_identity = crate::pair::identity();
    let seed = *right_identity.seed().unwrap();
    let right = dialling(builder().identity(right_identity), &left).await;
    let mut events = left.events();
    if left.peers().await.iter().all(|peer| peer.status.session.is_none()) {
        up(&mut events, right.id()).await;
    }
    let to = right.id();
    let stuck = Stuck::between(&left, &right, 0).await;
    let id = stuck.id;

    right.shutdown(Duration::ZERO).await;
    drop(right);
    let identity = hyphal::Identity::from_seed(&seed).unwrap();
    let again = dialling(builder().identity(identity), &left).await;

    let message = within(again.recv()).await.unwrap();
    assert_eq!((message.id, message.source), (id, left.id()));
    assert!(message.payload == stuck.payload);
    left.send_direct(to, 2, "next", SendOptions::default()).await.unwrap();
    assert_eq!(within(again.recv()).await.unwrap().payload, "next");
    assert_eq!(within(stuck.receipt).await, Outcome::Delivered);
    assert_eq!(again.counters().received, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_too_small_is_known_before_a_byte_is_sent() {
    let right = listening(builder().limits(limits(|limits| limits.max_message = 1 << 20))).await;
    let mut events = right.events();
    let left = builder().known_peer(right.id()).start().await.unwrap();
    let (_, early) = left
        .send_direct_tracked(right.id(), 1, noise((1 << 20) + 1, 5), SendOptions::default())
        .await
        .unwrap();

    left.add_peer(right.id(), Some(right.local_addrs()[0].clone())).await.unwrap();
    up(&mut events, left.id()).await;

    assert_eq!(within(early).await, Outcome::Failed(Reason::PeerLimit));
    let late = left.send_direct(right.id(), 1, noise((1 << 20) + 1, 5), SendOptions::default()).await;
    assert_eq!(late, Err(SendError::TooLong { max: 1 << 20 }));
    assert_eq!(left.peers().await[0].max_message, 1 << 20);
    left.send_direct(right.id(), 1, noise(1 << 20, 6), SendOptions::default()).await.unwrap();
    assert!(within(right.recv()).await.unwrap().payload == noise(1 << 20, 6));
    assert!(left.counters().bytes_sent < (1 << 20) + 100_000, "only what it takes was sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_only_rises_and_ends_with_the_whole() {
    let (left, right) = pair().await;
    let Stuck { mut receipt, unread, .. } = Stuck::between(&left, &right, 0).await;
    let on_its_way = receipt.progress();

    let reading = tokio::spawn(collect(unread));
    let mut seen = vec![0, on_its_way.written];
    let outcome = within(async {
        loop {
            tokio::select! {
                outcome = &mut receipt => break outcome,
                () = tokio::task::yield_now() => {
                    let progress = receipt.progress();
                    assert_eq!(progress.total as usize, LONGEST);
                    seen.push(progress.written);
                }
            }
        }
    })
    .await;

    assert_eq!(outcome, Outcome::Delivered);
    assert!(seen.is_sorted(), "it went back");
    assert_eq!(receipt.progress().written as usize, LONGEST);
    assert!(on_its_way.written < on_its_way.total, "it was seen on its way");
    assert_eq!(within(reading).await.unwrap().unwrap().len(), LONGEST);
}

/// Many senders at once want three times the memory that the node has for them, all of the same class: none is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_wait_for_memory_that_others_hold() {
    let len = 1 << 20;
    let small = limits(|limits| {
        limits.max_message = len;
        limits.assembly_bytes = 2 * len as usize;
    });
    let receiver = listening(builder().limits(small)).await;
    let mut events = receiver.events();
    let mut senders = Vec::new();
    for _ in 0..6 {
        let sender = dialling(builder(), &receiver).await;
        up(&mut events, sender.id()).await;
        senders.push(sender);
    }

    let each = 3;
    for (seed, sender) in senders.iter().enumerate() {
        for _ in 0..each {
            let payload = noise(len as usize, seed as u32);
            sender.send_direct(receiver.id(), seed as u16, payload, SendOptions::default()).await.unwrap();
        }
    }

    for _ in 0..senders.len() * each {
        let message = within(receiver.recv()).await.unwrap();
        assert!(message.payload == noise(len as usize, message.kind.into()));
    }
    assert_eq!(receiver.counters().received_dropped, []);
    assert_eq!(receiver.counters().closed, []);
}

/// A message waits for memory, and by the time there is some nobody wants it any more: those behind it in line must not wait for
/// what it does not take.
#[tokio::test]
async fn who_waited_for_memory_that_it_needs_no_longer_keeps_nobody_waiting() {
    let len = 256 << 10;
    let small = limits(|limits| {
        limits.max_message = len;
        limits.assembly_bytes = len as usize;
        limits.queue_batches = 1;
    });
    let receiver = listening(builder().limits(small)).await;
    let (mut events, to) = (receiver.events(), receiver.id());
    let holder = dialling(builder(), &receiver).await;
    up(&mut events, holder.id()).await;
    let waiter = dialling(builder(), &receiver).await;
    up(&mut events, waiter.id()).await;
    let mut kept = receiver.subscribe(Filter::all().kind(1));
    let dropped = receiver.subscribe(Filter::all().kind(2));
    // Waits until the receiver has read as many bytes of its peer as its messages are long: the last one has begun there.
    let send = async |node: &Node, kind: u16, sent: u64| {
        let payload = noise(len as usize, kind.into());
        node.send_direct(to, kind, payload, SendOptions::default()).await.unwrap();
        within(async {
            while bytes_from(&receiver, node.id()).await < sent * u64::from(len) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    };
    // One fills the queue, the second has all of the memory, and the third waits for it.
    send(&holder, 1, 1).await;
    send(&holder, 1, 2).await;
    send(&waiter, 2, 1).await;

    drop(dropped);
    for _ in 0..2 {
        within(kept.recv()).await.unwrap();
    }
    holder.send_direct(to, 1, noise(len as usize, 3), SendOptions::default()).await.unwrap();

    assert!(within(kept.recv()).await.unwrap().payload == noise(len as usize, 3));
    assert_eq!(receiver.counters().received_dropped, [(Reason::NoReceiver, 1)]);
}

/// One subscription never reads, and has all of the memory that it may have: what is for others passes what waits for it, and is
/// as long as a message may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_never_reads_keeps_out_no_large_message_for_another() {
    let len = 256 << 10;
    let small = limits(|limits| {
        limits.max_message = len;
        limits.assembly_bytes = 4 * len as usize;
        limits.queue_batches = 1;
    });
    for (seal, sign) in [(false, false), (true, false)] {
        let receiver = listening(builder().limits(small)).await;
        let (mut events, to) = (receiver.events(), receiver.id());
        let mut unread = receiver.subscribe(Filter::all().kind(0x1001));
        let mut read = receiver.subscribe(Filter::all().kind(0x1002));
        // A sealed message is longer than what is in it.
        let payload = |seed| noise(len as usize - 1024, seed);
        let options = SendOptions::default().seal(seal).sign(sign);
        let mut holders = Vec::new();
        for _ in 0..2 {
            let holder = dialling(builder(), &receiver).await;
            up(&mut events, holder.id()).await;
            for seed in 0..4 {
                holder.send_direct(to, 0x1001, payload(seed), options).await.unwrap();
            }
            holders.push(holder);
        }
        within(async {
            while receiver.snapshot().await.holdings.assembly_bytes < 2 * u64::from(len) {
                tokio::task::yield_now().await;
            }
        })
        .await;

        let other = dialling(builder(), &receiver).await;
        up(&mut events, other.id()).await;
        for seed in 10..14 {
            other.send_direct(to, 0x1002, payload(seed), options).await.unwrap();
        }

        for seed in 10..14 {
            assert!(within(read.recv()).await.unwrap().payload == payload(seed), "sealed: {seal}");
        }
        for _ in 0..holders.len() * 4 {
            within(unread.recv()).await.unwrap();
        }
        assert_eq!(receiver.counters().received_dropped, []);
    }
}

/// A peer that holds memory already does not wait for more, as others may wait for what it holds: it loses the message.
///
/// On one thread: between two looks of the test its links do a few turns, so it sees the first message on its way.
#[tokio::test]
async fn a_second_message_of_one_peer_that_finds_no_memory_is_dropped_and_counted() {
    let len = 4 << 20;
    let small = limits(|limits| {
        limits.max_message = len;
        limits.assembly_bytes = len as usize;
    });
    let receiver = listening(builder().limits(small)).await;
    let mut events = receiver.events();
    let sender = dialling(builder(), &receiver).await;
    up(&mut events, sender.id()).await;

    // The second is more urgent and begins before the first has ended.
    let (_, first) = sender
        .send_direct_tracked(receiver.id(), 1, noise(len as usize, 1), SendOptions::default())
        .await
        .unwrap();
    while first.progress().written == 0 {
        tokio::task::yield_now().await;
    }
    let urgent = SendOptions::default().priority(Priority::Critical);
    sender.send_direct(receiver.id(), 2, noise(len as usize, 2), urgent).await.unwrap();
    assert!(first.progress().written < first.progress().total);

    let message = within(receiver.recv()).await.unwrap();
    sender
        .send_direct(receiver.id(), 3, "after them", SendOptions::default().priority(Priority::Low))
        .await
        .unwrap();
    assert!(message.payload == noise(len as usize, 1));
    assert_eq!(within(receiver.recv()).await.unwrap().payload, "after them");
    assert_eq!(receiver.counters().received_dropped, [(Reason::NoRoom, 1)]);
}

#[tokio::test]
async fn memory_for_unfinished_messages_must_do_for_the_longest() {
    let too_small = limits(|limits| limits.assembly_bytes = limits.max_message as usize - 1);

    let started = builder().limits(too_small).start().await;

    let error = started.err().unwrap().to_string();
    assert!(error.contains("limits.assembly_bytes"), "{error}");
}

/// The bytes that `node` has read from a peer.
async fn bytes_from(node: &Node, peer: NodeId) -> u64 {
    let peers = node.peers().await;
    peers.iter().find(|info| info.status.id == peer).map_or(0, |info| info.bytes_received)
}

/// A short message, asked for before it can arrive: a node that had subscriptions keeps nothing for those that ask later.
async fn next(left: &Node, right: &Node) -> hyphal::Message {
    let sending = left.send_direct(right.id(), 2, "next", SendOptions::default());
    let (received, sent) = within(async { tokio::join!(right.recv(), sending) }).await;
    sent.unwrap();
    received.unwrap()
}

/// A large message of which some has been sent, and which goes no further: nobody reads the stream that it comes as.
struct Stuck {
    id: hyphal::MessageId,
    payload: Bytes,
    receipt: hyphal::Receipt,
    unread: hyphal::IncomingStream,
}

impl Stuck {
    /// Waits until the message has begun to arrive and as much of it has left as is under way without anybody's reading.
    async fn between(left: &Node, right: &Node, ttl: u32) -> Self {
        let mut streams = right.subscribe_streams(Filter::all().kind(STUCK));
        let payload = noise(LONGEST, 8);
        let options = SendOptions::default().ttl(ttl);
        let sent = left.send_direct_tracked(right.id(), STUCK, payload.clone(), options).await;
        let (id, receipt) = sent.unwrap();
        let Some(Incoming::Stream(stream)) = within(streams.recv()).await else { panic!("no stream") };
        let half = Limits::default().window / 2;
        within(async {
            while receipt.progress().written < half {
                tokio::task::yield_now().await;
            }
        })
        .await;
        // Without a subscription for it, the message is taken whole if it comes again.
        drop(streams);
        Self { id, payload, receipt, unread: stream }
    }
}

const STUCK: u16 = 200;

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

/// Bytes that differ from place to place and from seed to seed.
pub(crate) fn noise(len: usize, seed: u32) -> Bytes {
    let words = (0_u32..).map(|i| (i ^ seed.rotate_left(16)).wrapping_mul(0x9E37_79B9).to_le_bytes());
    words.flatten().take(len).collect()
}
