//! A broadcast reaches every peer once, under one id.

use std::future::poll_fn;
use std::task::Poll;

use hyphal::{Event, Limits, Outcome, Outgoing, Reason, SendError, SendOptions, TcpOptions};

use crate::pair::{builder, dialling, find, identity, listening, up, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_peer_gets_a_broadcast_once_and_confirms_it() {
    let hub = listening(builder()).await;
    let mut events = hub.events();
    let mut leaves = Vec::new();
    for _ in 0..5 {
        let leaf = dialling(builder(), &hub).await;
        up(&mut events, leaf.id()).await;
        leaves.push(leaf);
    }

    let sent = hub.broadcast_tracked(3, vec![9; 60 * 1024], SendOptions::default()).await.unwrap();

    for leaf in &leaves {
        let message = within(leaf.recv()).await.unwrap();
        assert_eq!((message.id, message.source, message.target), (sent.id, hub.id(), None));
        assert_eq!(message.payload, vec![9; 60 * 1024]);
    }
    assert_eq!((sent.accepted.len(), sent.refused.len()), (5, 0));
    let receivers: Vec<_> =
        leaves.iter().cloned().map(|leaf| tokio::spawn(async move { leaf.recv().await })).collect();
    for (_, receipt) in sent.accepted {
        assert_eq!(within(receipt.unwrap()).await, Outcome::Delivered);
    }
    receivers.iter().for_each(|receiver| receiver.abort());
    assert!(leaves.iter().all(|leaf| leaf.counters().received == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broadcasts_among_a_stream_of_direct_messages_are_not_taken_for_duplicates() {
    let hub = listening(builder()).await;
    let mut events = hub.events();
    let leaf = dialling(builder(), &hub).await;
    up(&mut events, leaf.id()).await;
    let (direct, broadcasts) = (50_000_u64, 500_u64);
    let (sender, to) = (hub.clone(), leaf.id());
    let stream = tokio::spawn(async move {
        sender.send_batch(to, (0..direct).map(|_| hyphal::Outgoing::new(1, b"direct"))).await
    });
    let sender = hub.clone();
    let waves = tokio::spawn(async move {
        for _ in 0..broadcasts {
            sender.broadcast(2, b"all", SendOptions::default()).await.unwrap();
        }
    });

    let mut received = 0;
    while received < direct + broadcasts {
        received += within(leaf.recv_batch()).await.unwrap().len() as u64;
    }

    stream.await.unwrap().unwrap();
    waves.await.unwrap();
    assert_eq!(leaf.counters().received_dropped, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_stops_waiting_for_a_peer_that_goes_away() {
    let mut limits = Limits::default();
    limits.outbox_messages = 4;
    let leaf = listening(builder()).await;
    let hub = dialling(builder().limits(limits), &leaf).await;
    let mut events = hub.events();
    let to = leaf.id();
    if hub.peers().await[0].status.session.is_none() {
        up(&mut events, to).await;
    }
    // The leaf takes nothing: the stream in front gets stuck, and the broadcast waits behind it.
    let payload = vec![1; 60 * 1024];
    let mut stream = Box::pin(hub.send_batch(to, (0..100_000).map(|_| Outgoing::new(1, &payload))));
    let mut wave = Box::pin(hub.broadcast(1, b"all", SendOptions::default()));
    within(async {
        let mut accepted = u64::MAX;
        while accepted != stream.accepted() {
            accepted = stream.accepted();
            let stuck = tokio::time::timeout(std::time::Duration::from_secs(1), &mut stream).await;
            assert!(stuck.is_err());
        }
    })
    .await;
    let waits = poll_fn(|cx| Poll::Ready(wave.as_mut().poll(cx).is_pending())).await;

    drop(leaf);
    find(&mut events, |event| matches!(event, Event::PeerDown { .. })).await;

    assert!(waits);
    let sent = within(wave).await.unwrap();
    assert_eq!(sent.refused, [(to, SendError::QueueFull)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absent_strangers_cost_a_broadcast_nothing_and_absent_known_peers_get_it_later() {
    let hub = listening(builder()).await;
    let known = identity().id();
    hub.add_peer(known, None).await.unwrap();
    let mut events = hub.events();
    let stranger = dialling(builder(), &hub).await;
    let id = stranger.id();
    up(&mut events, id).await;
    drop(stranger);
    find(&mut events, |event| matches!(event, Event::PeerDown { .. })).await;

    let sent = hub.broadcast(1, b"all", SendOptions::default()).await.unwrap();
    hub.send_direct(id, 1, "you", SendOptions::default()).await.unwrap();

    let accepted: Vec<_> = sent.accepted.iter().map(|(peer, _)| *peer).collect();
    assert_eq!((accepted, sent.refused), (vec![known], vec![]));
    assert_eq!(hub.counters().sent.queued, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broadcasts_that_a_stranger_leaves_in_its_queue_are_dropped_and_direct_messages_are_kept() {
    let mut tcp = TcpOptions::default();
    tcp.send_buffer = Some(64 * 1024);
    tcp.receive_buffer = Some(64 * 1024);
    let mut limits = Limits::default();
    limits.queue_batches = 4;
    limits.queue_bytes = 256 * 1024;
    let hub = listening(builder().tcp(tcp)).await;
    let mut events = hub.events();
    // It takes nothing, so most of what follows stays queued.
    let stranger = dialling(builder().tcp(tcp).limits(limits), &hub).await;
    let id = stranger.id();
    up(&mut events, id).await;
    let mut receipts = Vec::new();
    for _ in 0..64 {
        let sent = hub.broadcast_tracked(1, vec![1; 60 * 1024], SendOptions::default()).await.unwrap();
        receipts.extend(sent.accepted.into_iter().filter_map(|(_, receipt)| receipt));
    }
    hub.send_direct(id, 1, "you", SendOptions::default()).await.unwrap();

    drop(stranger);
    find(&mut events, |event| matches!(event, Event::PeerDown { .. })).await;

    assert_eq!(within(receipts.pop().unwrap()).await, Outcome::Failed(Reason::PeerGone));
    assert_eq!(hub.counters().sent.queued, 1);
}
