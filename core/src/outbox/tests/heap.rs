//! What only the storage on the heap does: shared and compressed payloads, long messages, and what all that takes.

use super::*;
use bytes::Bytes;

#[test]
fn an_idle_outbox_takes_little() {
    assert!(size_of::<Outbox<SharedStorage>>() <= 960, "{}", size_of::<Outbox<SharedStorage>>());
}

#[test]
fn what_is_under_way_leaves_its_place_to_what_waits_up_to_four_times_as_much() {
    let mut outbox = Outbox::new(SharedStorage::new(2, 256));
    outbox.handle_session_start(256);
    let header = Header { reliability: Reliability::High, ..header(Medium, 60) };
    for _ in 0..8 {
        outbox.push(at(0), header, Payload::Copied(b"xx")).unwrap();
        let len = outbox.next(at(0)).unwrap().payload.len();
        outbox.take(len);
    }
    outbox.handle_record_written(0);

    let refused = outbox.push(at(0), header, Payload::Copied(b"xx"));

    assert_eq!((refused, outbox.held()), (Err(SendError::QueueFull), 8));
    outbox.handle_ack(1);
    outbox.push(at(0), header, Payload::Copied(b"xx")).unwrap();
    assert_balanced(&outbox);
}

#[test]
fn a_compressed_payload_counts_as_its_original() {
    let mut outbox = Outbox::new(SharedStorage::new(8, 256));
    let push = |outbox: &mut Outbox<_>, original| {
        outbox.push(at(0), packed(Method::Lz4, original), Payload::Copied(b"xx"))
    };

    assert_eq!(push(&mut outbox, 257), Err(SendError::TooLong { max: 256 }));
    push(&mut outbox, 200).unwrap();
    assert_eq!(push(&mut outbox, 57), Err(SendError::QueueFull));
    push(&mut outbox, 56).unwrap();
    assert_eq!(outbox.queued_bytes(), 256);
    drain(&mut outbox);

    assert_eq!(outbox.queued_bytes(), 0);
    assert_balanced(&outbox);
}

#[test]
fn what_the_peer_does_not_take_compressed_is_unpacked_in_its_place() {
    let mut outbox = Outbox::new(SharedStorage::new(8, 256));
    for (method, text) in [(Method::Zstd, b"a"), (Method::Lz4, b"b"), (Method::Zstd, b"c")] {
        outbox.push(at(0), packed(method, 3), Payload::Copied(text)).unwrap();
    }
    push(&mut outbox, Medium, 60, "d").unwrap();

    outbox.unpack(Methods::LZ4, |compressed, packed| {
        assert_eq!(compressed.method, Method::Zstd);
        (packed != b"c").then(|| Bytes::from(packed.repeat(3)))
    });
    outbox.handle_session_start(256);
    outbox.handle_methods(Methods::LZ4);

    assert_eq!(outbox.queued_bytes(), 10);
    let first = outbox.next(at(1)).unwrap();
    assert_eq!((first.payload, first.header.compressed), (&b"aaa"[..], None));
    assert_eq!(drain(&mut outbox), ["aaa", "b", "d"], "what could not be unpacked is dropped");
    assert_eq!((outbox.queued_bytes(), outbox.counters().dropped()), (0, 1));
    assert_balanced(&outbox);
}

fn packed(method: Method, original: u32) -> Header {
    Header { compressed: Some(Compressed { method, original }), ..header(Medium, 60) }
}

#[test]
fn a_shared_payload_is_not_copied_and_is_let_go_when_taken() {
    let mut outbox = Outbox::new(SharedStorage::new(8, 1 << 20));
    let payload = Bytes::from(std::vec![7; 5000]);

    outbox.push(at(0), header(Medium, 0), Payload::Shared(payload.clone())).unwrap();

    assert_eq!(outbox.next(at(0)).unwrap().payload.as_ptr(), payload.as_ptr());
    outbox.take(usize::MAX);
    assert!(payload.is_unique());
}

#[test]
fn a_payload_too_long_for_one_part_is_shown_as_its_first() {
    let mut outbox = Outbox::new(SharedStorage::new(8, 1 << 20));
    for len in [FRAGMENT_LEN, FRAGMENT_LEN + 1] {
        outbox.push(at(0), header(Medium, 0), Payload::Copied(&std::vec![7; len])).unwrap();
    }

    assert_eq!(outbox.next(at(0)).unwrap().part, None);
    outbox.take(FRAGMENT_LEN);
    assert_eq!(outbox.next(at(0)).unwrap().part, Some(Part { total: 16_385, offset: 0 }));
}

#[test]
fn a_queued_message_takes_80_bytes_beside_its_payload() {
    assert_eq!(size_of::<(Entry, Bytes)>(), 80);
}

#[test]
fn payloads_of_every_length_survive_their_chunks() {
    let mut outbox = Outbox::new(SharedStorage::new(4096, 1 << 24));

    for len in 0..2048_usize {
        let bytes = std::vec![(len % 251) as u8; len];
        outbox.push(at(0), header(Medium, 0), Payload::Copied(&bytes)).unwrap();
    }

    for len in 0..2048_usize {
        let next = outbox.next(at(0)).unwrap();
        assert_eq!(next.payload, std::vec![(len % 251) as u8; len]);
        outbox.take(usize::MAX);
    }
    assert_eq!(outbox.queued_bytes(), 0);
}
