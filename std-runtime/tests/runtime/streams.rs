//! Large messages read part by part: in order and whole, at the reader's pace, and ended truthfully.

use std::time::Duration;

use hyphal::{
    Filter, Identity, Incoming, IncomingStream, Limits, Node, Outcome, Priority, Reason, SendOptions,
    StreamError, StreamSubscription,
};

use crate::large::noise;
use crate::pair::{alert, between, builder, dialling, identity, listening, pair, up, within};
use crate::port::Port;

const LEN: usize = 16 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_parts_of_a_stream_are_the_message() {
    let (left, right) = pair().await;
    let mut incoming = right.subscribe_streams(Filter::all());
    let payload = noise(LEN, 1);
    let options = SendOptions::default().priority(Priority::High);

    let (id, receipt) = left.send_direct_tracked(right.id(), 7, payload.clone(), options).await.unwrap();
    let mut stream = stream(&mut incoming).await;

    assert_eq!((stream.id(), stream.source(), stream.target()), (id, left.id(), Some(right.id())));
    assert_eq!((stream.kind(), stream.priority(), stream.ttl()), (7, Priority::High, options.ttl));
    assert_eq!((stream.total() as usize, stream.received()), (LEN, 0));
    let mut at = 0;
    while let Some(part) = within(stream.next()).await {
        let part = part.unwrap();
        assert!(payload[at..].starts_with(&part), "the bytes from {at} on");
        at += part.len();
        assert_eq!(stream.received() as usize, at);
    }
    assert_eq!(at, LEN);
    assert_eq!(within(receipt).await, Outcome::Delivered);
    assert!(within(stream.next()).await.is_none(), "it stays at its end");
    assert_eq!(right.counters().received, 1);
    assert_eq!(right.counters().received_dropped, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_messages_come_as_such_and_in_order_with_streams() {
    let (left, right) = pair().await;
    let mut incoming = right.subscribe_streams(Filter::all());
    let options = SendOptions::default();

    left.send_direct(right.id(), 1, "before", options).await.unwrap();
    left.send_direct(right.id(), 2, noise(100_000, 2), options).await.unwrap();
    left.send_direct(right.id(), 3, "after", options).await.unwrap();

    assert_eq!(message(&mut incoming).await, "before");
    let stream = stream(&mut incoming).await;
    assert_eq!(message(&mut incoming).await, "after");
    assert_eq!(collect(stream).await.unwrap().len(), 100_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_for_whole_messages_gets_the_same_message_whole() {
    let (left, right) = pair().await;
    let mut streams = right.subscribe_streams(Filter::all());
    let mut wholes = right.subscribe(Filter::all());
    let payload = noise(1 << 20, 3);

    left.send_direct(right.id(), 1, payload.clone(), SendOptions::default()).await.unwrap();

    let parts = collect(stream(&mut streams).await).await.unwrap();
    let whole = within(wholes.recv()).await.unwrap().payload;
    assert!(parts == payload && whole == payload);
    assert_eq!(right.counters().received, 1);
}

/// In time that passes only where nothing is left to do, so that it is the reader's pause in which the link has to be kept.
#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_its_time_slows_the_sender_and_keeps_the_session() {
    let left = alert().listen("memory://takes-its-time").start().await.unwrap();
    let (left, right) = between(left, alert()).await;
    let mut incoming = right.subscribe_streams(Filter::all());
    let payload = noise(LEN, 4);
    let options = SendOptions::default().ttl(0);
    let (_, receipt) = left.send_direct_tracked(right.id(), 1, payload.clone(), options).await.unwrap();
    let mut stream = stream(&mut incoming).await;

    // Several silences long.
    tokio::time::sleep(Duration::from_secs(120)).await;
    let written = receipt.progress().written;
    let read = right.counters().bytes_received;

    let window = Limits::default().window;
    assert!(written <= window, "{written} bytes left for a window of {window}");
    assert!(read <= u64::from(window) + 100_000, "{read} bytes were read from the link");
    let first = within(stream.next()).await.unwrap().unwrap();
    let rest = collect(stream).await.unwrap();
    assert!(payload.starts_with(&first) && payload.ends_with(&rest));
    assert_eq!(first.len() + rest.len(), LEN);
    assert_eq!(within(receipt).await, Outcome::Delivered);
    assert_eq!((left.counters().closed, right.counters().closed), (vec![], vec![]));
}

/// A reader that reads one stream to its end before it looks for anything else must get there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_overtake_a_stream_do_not_hold_it_up() {
    let (left, right) = pair().await;
    let mut incoming = right.subscribe_streams(Filter::all());
    let to = right.id();
    left.send_direct(to, 1, noise(LEN, 5), SendOptions::default()).await.unwrap();
    let mut stream = stream(&mut incoming).await;
    let mut sent = 0;

    while let Some(part) = within(stream.next()).await {
        part.unwrap();
        let urgent = SendOptions::default().priority(Priority::Critical);
        left.send_direct(to, 2, "urgent", urgent).await.unwrap();
        sent += 1;
    }

    for _ in 0..sent {
        assert_eq!(message(&mut incoming).await, "urgent");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_sender_gives_up_ends_with_that() {
    let (left, right) = pair().await;
    let mut incoming = right.subscribe_streams(Filter::all());
    let (_, receipt) =
        left.send_direct_tracked(right.id(), 1, noise(LEN, 6), SendOptions::default()).await.unwrap();
    let stream = stream(&mut incoming).await;

    assert!(receipt.cancel());

    assert_eq!(collect(stream).await, Err(StreamError::Abandoned));
    assert_eq!(within(receipt).await, Outcome::Failed(Reason::Cancelled));
    assert_eq!(right.counters().received_dropped, [(Reason::Cancelled, 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_session_ends_says_so_and_comes_again_with_the_same_id() {
    let seed = *identity().seed().unwrap();
    let port = Port::reserve();
    let living = || builder().identity(Identity::from_seed(&seed).unwrap()).listen(port.address);
    let right = living().start().await.unwrap();
    let mut events = right.events();
    let mut incoming = right.subscribe_streams(Filter::all());
    let left = dialling(builder(), &right).await;
    up(&mut events, left.id()).await;
    let payload = noise(LEN, 7);
    left.send_direct(right.id(), 1, payload.clone(), SendOptions::default()).await.unwrap();
    let mut first = stream(&mut incoming).await;
    let _part = within(first.next()).await.unwrap().unwrap();

    // The receiver goes and comes back.
    right.shutdown(Duration::ZERO).await;
    drop(right);
    let again = living().start().await.expect("its address is free");
    let mut incoming = again.subscribe_streams(Filter::all());

    let id = first.id();
    assert_eq!(collect(first).await, Err(StreamError::SessionEnded));
    let second = stream(&mut incoming).await;
    assert_eq!(second.id(), id);
    assert!(collect(second).await.unwrap() == payload);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest_of_a_stream_that_nobody_reads_on_is_passed_over() {
    let (left, right) = pair().await;
    let mut incoming = right.subscribe_streams(Filter::all());
    left.send_direct(right.id(), 1, noise(LEN, 8), SendOptions::default()).await.unwrap();
    left.send_direct(right.id(), 2, "next", SendOptions::default()).await.unwrap();

    drop(stream(&mut incoming).await);

    assert_eq!(message(&mut incoming).await, "next");
    assert_eq!(right.counters().received_dropped, [(Reason::NoReceiver, 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_end_with_their_node() {
    let (left, right) = pair().await;
    let mut incoming = right.subscribe_streams(Filter::all());
    left.send_direct(right.id(), 1, noise(LEN, 9), SendOptions::default()).await.unwrap();
    let stream = stream(&mut incoming).await;

    right.shutdown(Duration::ZERO).await;

    assert_eq!(collect(stream).await, Err(StreamError::SessionEnded));
    assert!(within(incoming.recv()).await.is_none());
    left.shutdown(Duration::ZERO).await;
}

/// A node whose memory for unfinished messages is taken still passes on what is read part by part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_take_no_memory_for_unfinished_messages() {
    let mut limits = Limits::default();
    limits.max_message = 4 << 20;
    limits.assembly_bytes = 4 << 20;
    let right = listening(builder().limits(limits)).await;
    let mut events = right.events();
    let mut incoming = right.subscribe_streams(Filter::all());
    let mut senders: Vec<Node> = Vec::new();
    let mut streams = Vec::new();
    for seed in 0..3 {
        let left = dialling(builder(), &right).await;
        up(&mut events, left.id()).await;
        left.send_direct(right.id(), 1, noise(4 << 20, seed), SendOptions::default()).await.unwrap();
        streams.push((seed, stream(&mut incoming).await));
        senders.push(left);
    }

    for (seed, stream) in streams.into_iter().rev() {
        assert!(collect(stream).await.unwrap() == noise(4 << 20, seed));
    }
}

async fn stream(incoming: &mut StreamSubscription) -> IncomingStream {
    match within(incoming.recv()).await {
        Some(Incoming::Stream(stream)) => stream,
        other => panic!("no stream: {other:?}"),
    }
}

async fn message(incoming: &mut StreamSubscription) -> bytes::Bytes {
    match within(incoming.recv()).await {
        Some(Incoming::Message(message)) => message.payload,
        other => panic!("no message: {other:?}"),
    }
}

pub(crate) async fn collect(mut stream: IncomingStream) -> Result<Vec<u8>, StreamError> {
    let mut bytes = Vec::new();
    while let Some(part) = within(stream.next()).await {
        bytes.extend_from_slice(&part?);
    }
    Ok(bytes)
}
