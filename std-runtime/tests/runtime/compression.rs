//! Messages of named types travel compressed to peers that take it, and arrive as they were sent.

use hyphal::compression::{Method, Methods, Rule};
use hyphal::{Compression, Node, NodeBuilder, Outcome, Outgoing, SendOptions};

use crate::pair::{between, builder, dialling, identity, listening, up, within};

const LZ4: u16 = 0x1000;
const ZSTD: u16 = 0x2000;
const PLAIN: u16 = 0x3000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_compressed_arrives_as_it_was_sent_among_messages_that_are_not() {
    let (left, right) = pair_with(compressing(), builder()).await;
    let kinds = [PLAIN, LZ4, ZSTD, LZ4, PLAIN, ZSTD, ZSTD, PLAIN];
    let messages = || (0..800_usize).map(|i| (kinds[i % kinds.len()], text(i % 3000)));

    let sent = left.send_batch(right.id(), messages().map(|(kind, text)| Outgoing::new(kind, text)));
    within(async { tokio::join!(async { assert_eq!(sent.await, Ok(800)) }, expect(&right, messages())) })
        .await;

    let (sent, received) = (left.counters().compressed_sent, right.counters().compressed_received);
    assert_eq!(sent, received);
    assert!(sent.messages > 400, "{sent:?}");
    assert!(sent.compressed * 2 < sent.original, "{sent:?}");
    assert!(left.counters().bytes_sent < sent.original, "the wire carried less than what was sent");
    assert_eq!(right.counters().received_dropped, []);
}

#[tokio::test]
async fn every_way_to_send_compresses() {
    let (left, right) = pair_with(compressing(), builder()).await;
    let (to, options, text) = (right.id(), SendOptions::default(), text(2000));

    left.send_direct(to, ZSTD, text.clone(), options).await.unwrap();
    left.try_send_direct(to, ZSTD, &text, options).unwrap();
    let (_, receipt) = left.send_direct_tracked(to, LZ4, &text, options).await.unwrap();
    assert_eq!(left.broadcast(LZ4, &text, options).await.unwrap().accepted.len(), 1);
    within(expect(&right, [ZSTD, ZSTD, LZ4, LZ4].map(|kind| (kind, text.clone())))).await;
    tokio::spawn(async move { right.recv().await });

    assert_eq!(within(receipt).await, Outcome::Delivered);
    assert_eq!(left.counters().compressed_sent.messages, 4);
}

#[tokio::test]
async fn what_a_peer_does_not_take_compressed_reaches_it_as_it_is() {
    for (accepted, lz4, zstd) in [(Methods::NONE, 0, 0), (Methods::LZ4, 1, 0)] {
        let (left, right) = pair_with(compressing(), builder().accept_compressed(accepted)).await;

        for kind in [LZ4, ZSTD] {
            left.send_direct(right.id(), kind, text(2000), SendOptions::default()).await.unwrap();
        }
        left.broadcast(ZSTD, text(500), SendOptions::default()).await.unwrap();

        within(expect(&right, [(LZ4, text(2000)), (ZSTD, text(2000)), (ZSTD, text(500))])).await;
        assert_eq!(left.counters().compressed_sent.messages, lz4 + zstd);
        assert_eq!(right.counters().closed, []);
    }
}

#[tokio::test]
async fn what_was_compressed_before_the_peer_said_what_it_takes_is_not_lost() {
    let who = identity();
    let left = listening(compressing().known_peer(who.id())).await;
    let mut events = left.events();
    for i in 0..100 {
        let kind = if i % 2 == 0 { LZ4 } else { ZSTD };
        left.send_direct(who.id(), kind, text(1000 + i), SendOptions::default()).await.unwrap();
    }
    assert_eq!(left.counters().compressed_sent.messages, 100, "nothing spoke against it");

    let right = dialling(builder().identity(who).accept_compressed(Methods::LZ4), &left).await;

    up(&mut events, right.id()).await;
    let kind = |i| if i % 2 == 0 { LZ4 } else { ZSTD };
    within(expect(&right, (0..100).map(|i| (kind(i), text(1000 + i))))).await;
    assert_eq!(right.counters().compressed_received.messages, 50);
    assert_eq!((right.counters().closed, right.counters().received_dropped), (vec![], vec![]));
}

#[tokio::test]
async fn nothing_is_compressed_unless_somebody_wants_it() {
    let (left, right) = pair_with(builder(), builder()).await;

    left.send_direct(right.id(), LZ4, text(5000), SendOptions::default()).await.unwrap();

    within(expect(&right, [(LZ4, text(5000))])).await;
    assert_eq!(left.counters().compressed_sent, Compression::default());
}

#[tokio::test]
async fn each_subscription_gets_the_message_decompressed() {
    let (left, right) = pair_with(compressing(), builder()).await;
    let mut one = right.subscribe(hyphal::Filter::all().kind(ZSTD));
    let mut other = right.subscribe(hyphal::Filter::all());

    left.send_direct(right.id(), ZSTD, text(900), SendOptions::default()).await.unwrap();

    let batch = within(other.recv_batch()).await.unwrap();
    assert_eq!(batch.iter().map(|message| message.payload.to_vec()).collect::<Vec<_>>(), [text(900)]);
    assert_eq!(within(one.recv()).await.unwrap().payload, text(900));
    assert_eq!(right.counters().compressed_received.messages, 2);
}

fn compressing() -> NodeBuilder {
    let rule = |kind, method| Rule::new(kind..=kind, method).unwrap();
    builder().compress(rule(LZ4, Method::Lz4)).compress(rule(ZSTD, Method::Zstd))
}

/// The first node listens, the second has dialled it; both know what the other takes.
async fn pair_with(left: NodeBuilder, right: NodeBuilder) -> (Node, Node) {
    between(listening(left).await, right).await
}

async fn expect(node: &Node, messages: impl IntoIterator<Item = (u16, Vec<u8>)>) {
    for (kind, payload) in messages {
        let message = node.recv().await.unwrap();
        assert_eq!(message.kind, kind);
        assert_eq!(message.payload, payload);
    }
}

fn text(len: usize) -> Vec<u8> {
    (0..).flat_map(|i| format!("reading {i}: 21.{} degrees\n", i % 10).into_bytes()).take(len).collect()
}
