//! Sealed and signed messages between real nodes: small and large, whole and as streams, in batches and broadcasts.

use hyphal::{
    Filter, Incoming, Limits, MessageId, Node, Outcome, Outgoing, Priority, Reason, Security, SendError,
    SendOptions, verify_signed,
};

use crate::large::noise;
use crate::pair::{builder, dialling, identity, listening, pair, up, within};

const CHUNK: usize = 16_384;
const LARGE: usize = 5 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lengths_around_those_of_chunks_and_parts_arrive_sealed_and_signed() {
    let (left, right) = pair().await;
    let lens =
        [0, 1, CHUNK - 152, CHUNK - 151, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 4 * CHUNK + 1, 1 << 20];
    for (seal, sign) in [(true, false), (false, true), (true, true)] {
        let options = SendOptions::default().seal(seal).sign(sign).priority(Priority::High);
        for len in lens {
            let payload = noise(len, 1);

            let id = left.send_direct(right.id(), 0x1234, payload.clone(), options).await.unwrap();

            let message = within(right.recv()).await.unwrap();
            assert!(message.payload == payload, "{len} bytes");
            assert_eq!((message.id, message.kind, message.source), (id, 0x1234, left.id()));
            assert_eq!((message.target, message.priority), (Some(right.id()), Priority::High));
            assert_eq!((message.is_encrypted, message.is_signed), (seal, sign));
            assert_eq!(message.envelope().is_some(), sign);
        }
    }
    assert_eq!(right.counters().received_dropped, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_message_is_neither() {
    let (left, right) = pair().await;

    left.send_direct(right.id(), 1, "plain", SendOptions::default()).await.unwrap();

    let message = within(right.recv()).await.unwrap();
    assert!(!message.is_encrypted && !message.is_signed && message.envelope().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_of_a_sealed_message_tells_that_it_was_delivered() {
    let (left, right) = pair().await;
    let options = SendOptions::default().seal(true).sign(true);

    let (_, receipt) = left.send_direct_tracked(right.id(), 1, "sealed", options).await.unwrap();
    within(right.recv()).await.unwrap();
    drop(right.subscribe(Filter::all()));

    tokio::select! {
        _ = right.recv() => panic!("there is no further message"),
        outcome = within(receipt) => assert_eq!(outcome, Outcome::Delivered),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_evidence_of_a_signed_message_convinces_anyone_and_nothing_else_does() {
    let (left, right) = pair().await;
    for seal in [false, true] {
        let options = SendOptions::default().seal(seal).sign(true);
        left.send_direct(right.id(), 0x1000, "I owe you one", options).await.unwrap();
        let message = within(right.recv()).await.unwrap();
        let evidence = message.envelope().unwrap().to_vec();

        let envelope = verify_signed("test", &evidence).unwrap();

        assert_eq!((envelope.source_node_id, envelope.message_id), (left.id(), message.id));
        assert_eq!(envelope.payload == b"I owe you one", !seal);
        assert_eq!(verify_signed("another", &evidence), Err(Reason::BadSignature));
        let mut bent = evidence.clone();
        bent[100] ^= 1;
        assert_eq!(verify_signed("test", &bent), Err(Reason::BadSignature));
        assert!(verify_signed("test", &evidence[1..]).is_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_sealed_message_streams_chunk_by_chunk_and_takes_no_memory_for_the_whole() {
    let mut limits = Limits::default();
    limits.assembly_bytes = limits.max_message as usize;
    let left = listening(builder()).await;
    let mut events = left.events();
    let right = dialling(builder().limits(limits), &left).await;
    up(&mut events, right.id()).await;
    let mut streams = right.subscribe_streams(Filter::all().kind(0x1000));
    for (seal, sign) in [(true, false), (false, true), (true, true)] {
        let options = SendOptions::default().seal(seal).sign(sign);
        let payload = noise(LARGE, 2);

        let (id, receipt) =
            left.send_direct_tracked(right.id(), 0x1000, payload.clone(), options).await.unwrap();

        let Some(Incoming::Stream(mut stream)) = within(streams.recv()).await else { panic!("no stream") };
        assert_eq!((stream.id(), stream.kind(), stream.total() as usize), (id, 0x1000, LARGE));
        assert_eq!((stream.is_encrypted(), stream.is_signed()), (seal, sign));
        let mut at = 0;
        while let Some(part) = within(stream.next()).await {
            let part = part.unwrap();
            assert!(payload[at..].starts_with(&part), "the bytes from {at} on");
            at += part.len();
        }
        assert_eq!(at, LARGE);
        assert_eq!(within(receipt).await, Outcome::Delivered);
    }
    assert_eq!(right.counters().received_dropped, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_wants_the_whole_message_gets_it_beside_a_stream() {
    let (left, right) = pair().await;
    let mut streams = right.subscribe_streams(Filter::all().kind(1));
    let mut wholes = right.subscribe(Filter::all().kind(1));
    let options = SendOptions::default().seal(true).sign(true);
    let payload = noise(1 << 20, 3);

    left.send_direct(right.id(), 1, payload.clone(), options).await.unwrap();
    left.send_direct(right.id(), 1, "short", options).await.unwrap();

    let Some(Incoming::Stream(stream)) = within(streams.recv()).await else { panic!("no stream") };
    assert!(within(crate::streams::collect(stream)).await.unwrap() == payload);
    let whole = within(wholes.recv()).await.unwrap();
    assert!(whole.payload == payload && whole.is_encrypted && whole.envelope().is_some());
    let Some(Incoming::Message(short)) = within(streams.recv()).await else { panic!("a stream") };
    assert!(short.payload == "short" && short.is_encrypted && short.is_signed);
    assert_eq!(within(wholes.recv()).await.unwrap().payload, "short");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealed_messages_of_a_batch_arrive_in_order_among_plain_ones() {
    let (left, right) = pair().await;
    let options =
        |number: u32| SendOptions::default().seal(number.is_multiple_of(3)).sign(number.is_multiple_of(5));
    let outgoing = move |number: u32| Outgoing {
        kind: 1,
        payload: number.to_be_bytes().to_vec().into(),
        options: options(number),
    };

    let sent = tokio::spawn({
        let (left, peer) = (left.clone(), right.id());
        async move { left.send_batch(peer, (0..300).map(outgoing)).await }
    });

    for number in 0..300_u32 {
        let message = within(right.recv()).await.unwrap();
        assert_eq!(&message.payload[..], number.to_be_bytes());
        assert_eq!(
            (message.is_encrypted, message.is_signed),
            (number.is_multiple_of(3), number.is_multiple_of(5))
        );
    }
    assert_eq!(within(sent).await.unwrap(), Ok(300));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_can_be_signed_and_not_sealed() {
    let (left, right) = pair().await;

    let refused = left.broadcast(1, "secret", SendOptions::default().seal(true)).await;
    let sent = left.broadcast(1, "public", SendOptions::default().sign(true)).await.unwrap();

    assert_eq!(refused.err(), Some(SendError::SealedBroadcast));
    let message = within(right.recv()).await.unwrap();
    assert_eq!((message.id, message.target, &message.payload[..]), (sent.id, None, &b"public"[..]));
    assert!(message.is_signed && !message.is_encrypted);
    assert!(verify_signed("test", message.envelope().unwrap()).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn high_security_seals_and_signs_unless_the_sender_says_otherwise() {
    let left = listening(builder().security(Security::High)).await;
    let mut events = left.events();
    let right = dialling(builder(), &left).await;
    up(&mut events, right.id()).await;
    let usual = SendOptions::default();

    left.send_direct(right.id(), 1, "usual", usual).await.unwrap();
    left.send_direct(right.id(), 1, "plain", usual.seal(false).sign(false)).await.unwrap();
    left.broadcast(1, "to all", usual).await.unwrap();

    let mut seen = Vec::new();
    for _ in 0..3 {
        let message = within(right.recv()).await.unwrap();
        seen.push((message.payload.to_vec(), message.is_encrypted, message.is_signed));
    }
    seen.sort();
    assert_eq!(
        seen,
        [
            (b"plain".to_vec(), false, false),
            (b"to all".to_vec(), false, true),
            (b"usual".to_vec(), true, true)
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_message_is_never_compressed() {
    let left = listening(builder().compress("0x1000=zstd".parse().unwrap())).await;
    let mut events = left.events();
    let right = dialling(builder(), &left).await;
    up(&mut events, right.id()).await;
    let payload = vec![b'a'; 100_000];

    left.send_direct(right.id(), 0x1000, payload.clone(), SendOptions::default().seal(true)).await.unwrap();

    assert!(within(right.recv()).await.unwrap().payload == payload);
    assert_eq!(left.counters().compressed_sent.messages, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_payload_leaves_room_for_its_envelope() {
    let mut limits = Limits::default();
    limits.max_message = 50_000;
    let left = listening(builder()).await;
    let mut events = left.events();
    let right = dialling(builder().limits(limits), &left).await;
    up(&mut events, right.id()).await;
    // What has arrived has shown the sender the limits of the receiver.
    left.send_direct(right.id(), 1, "first", SendOptions::default()).await.unwrap();
    within(right.recv()).await.unwrap();
    for (seal, sign) in [(true, false), (false, true), (true, true)] {
        let options = SendOptions::default().seal(seal).sign(sign);

        let refused = left.send_direct(right.id(), 1, vec![0; 50_000], options).await;
        let Err(SendError::TooLong { max }) = refused else { panic!("{refused:?}") };
        let beyond = left.send_direct(right.id(), 1, vec![0; max as usize + 1], options).await;
        left.send_direct(right.id(), 1, vec![0; max as usize], options).await.unwrap();

        assert_eq!(beyond, Err(SendError::TooLong { max }));
        assert_eq!(within(right.recv()).await.unwrap().payload.len(), max as usize);
        assert!(max > 49_000);
    }
}

#[tokio::test]
async fn nothing_is_sealed_to_an_id_that_no_node_can_have() {
    // Of low order.
    let mut nobody = [0; 32];
    nobody[0] = 1;
    let nobody = hyphal::NodeId::from_bytes(nobody);
    let node = builder().identity(identity()).known_peer(nobody).start().await.unwrap();

    let sealed = node.send_direct(nobody, 1, "secret", SendOptions::default().seal(true)).await;
    let tried = node.try_send_direct(nobody, 1, "secret", SendOptions::default().seal(true));
    let mut batch = node.send_batch(nobody, [secret()]);

    assert_eq!(sealed, Err(SendError::BadKey));
    assert_eq!(tried, Err(SendError::BadKey));
    assert_eq!((&mut batch).await.map_err(|error| error.error), Err(SendError::BadKey));
    assert_eq!(batch.accepted(), 0);
}

/// The envelope waits in the queue as it was made; ids tell messages apart, whatever they are in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_sealed_for_an_absent_peer_arrive_when_it_comes() {
    let (first, second) = (identity(), identity());
    let second_id = second.id();
    let left = builder().identity(first).known_peer(second_id).listen("127.0.0.1:0").start().await.unwrap();
    let mut ids: Vec<MessageId> = Vec::new();
    for number in 0..20 {
        let options = SendOptions::default().seal(number % 2 == 0).sign(true);
        ids.push(left.send_direct(second_id, 1, vec![number], options).await.unwrap());
    }

    let right: Node = dialling(builder().identity(second), &left).await;

    for (number, id) in (0..).zip(&ids) {
        let message = within(right.recv()).await.unwrap();
        assert_eq!((&message.payload[..], message.id), (&[number][..], *id));
    }
    ids.dedup();
    assert_eq!(ids.len(), 20);
}

fn secret() -> Outgoing<'static> {
    Outgoing { options: SendOptions::default().seal(true), ..Outgoing::new(1, "secret") }
}
