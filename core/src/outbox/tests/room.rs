//! What fits, what expires, and what makes way for something else.

use super::*;

for_every_storage! {
    a_full_queue_of_slots_refuses_and_changes_nothing
    a_full_queue_of_bytes_refuses_exactly_what_does_not_fit
    bytes_freed_in_any_order_can_be_used_again
    a_payload_longer_than_the_storage_is_too_long
    an_expired_message_is_never_shown
    a_message_with_ttl_zero_never_expires
    the_timeout_drops_expired_messages_behind_others
    a_full_queue_makes_room_by_dropping_what_expired
    a_queued_message_longer_than_the_peer_takes_is_dropped_on_its_turn
    a_message_longer_than_the_peer_takes_is_refused
    a_message_that_is_too_long_before_its_compression_is_refused
    the_least_urgent_and_oldest_messages_are_shed_first
    more_urgent_messages_are_never_shed
    nothing_is_shed_where_it_would_not_make_room
    nothing_is_shed_where_more_urgent_messages_have_all_places
    guaranteed_messages_are_never_shed
    what_expired_goes_before_anything_is_shed
    what_is_retained_takes_room_until_it_is_acknowledged
}

fn a_full_queue_of_slots_refuses_and_changes_nothing<S: Small>() {
    let mut outbox = S::small();
    for _ in 0..8 {
        push(&mut outbox, Low, 60, "x").unwrap();
    }
    let before = (outbox.counters(), outbox.poll_timeout(), outbox.queued_bytes());

    let refused = push(&mut outbox, Critical, 1, "y");

    assert_eq!(refused, Err(SendError::QueueFull));
    assert_eq!((outbox.counters(), outbox.poll_timeout(), outbox.queued_bytes()), before);
    assert!(!outbox.space_for(0));
}

fn a_full_queue_of_bytes_refuses_exactly_what_does_not_fit<S: Small>() {
    let mut outbox = S::small();
    push_len(&mut outbox, Medium, 200).unwrap();

    assert!(outbox.space_for(56) && !outbox.space_for(57));
    assert_eq!(push_len(&mut outbox, Medium, 57), Err(SendError::QueueFull));
    push_len(&mut outbox, Medium, 56).unwrap();

    assert_eq!(outbox.queued_bytes(), 256);
}

fn bytes_freed_in_any_order_can_be_used_again<S: Small>() {
    let mut outbox = S::small();
    // Low and High alternate by address; taking the High ones leaves gaps of 64 bytes that are not adjacent.
    for class in [Low, High, Low, High] {
        push_len(&mut outbox, class, 64).unwrap();
    }
    take(&mut outbox, 0).unwrap();
    take(&mut outbox, 0).unwrap();

    outbox.push(at(0), header(High, 0), Payload::Copied(&[9; 128])).unwrap();

    assert_eq!(outbox.next(at(0)).unwrap().payload, [9; 128]);
    outbox.take(usize::MAX);
    assert_eq!(outbox.next(at(0)).unwrap().payload, [64; 64], "what moved kept its bytes");
    outbox.take(usize::MAX);
    assert_eq!(outbox.next(at(0)).unwrap().payload, [64; 64]);
}

fn a_payload_longer_than_the_storage_is_too_long<S: Small>() {
    let mut outbox = S::small();

    let refused = push_len(&mut outbox, Medium, 257);

    assert_eq!(refused, Err(SendError::TooLong { max: 256 }));
    assert!(!outbox.space_for(257));
    push_len(&mut outbox, Medium, 256).unwrap();
}

fn an_expired_message_is_never_shown<S: Small>() {
    let mut outbox = S::small();
    let ticket = push(&mut outbox, Medium, 10, "old").unwrap();
    push(&mut outbox, Medium, 60, "fresh").unwrap();
    assert!(outbox.next(Instant::from_micros(9_999_999)).unwrap().payload == b"old");

    let next = outbox.next(at(10)).unwrap();

    assert_eq!(next.payload, b"fresh");
    assert_eq!(*outbox.ledger(), [Fate::Dropped { ticket, reason: Reason::Expired }]);
    assert_balanced(&outbox);
}

fn a_message_with_ttl_zero_never_expires<S: Small>() {
    let mut outbox = S::small();
    push(&mut outbox, Medium, 0, "for ever").unwrap();
    let end = Instant::from_micros(u64::MAX);

    outbox.handle_timeout(end);

    assert_eq!(outbox.poll_timeout(), None);
    assert_eq!(outbox.next(end).unwrap().payload, b"for ever");
}

fn the_timeout_drops_expired_messages_behind_others<S: Small>() {
    let mut outbox = S::small();
    push(&mut outbox, Medium, 60, "stays").unwrap();
    push(&mut outbox, Medium, 5, "expires").unwrap();
    push(&mut outbox, Medium, 0, "stays too").unwrap();
    assert_eq!(outbox.poll_timeout(), Some(at(5)));

    outbox.handle_timeout(at(5));

    assert_eq!(outbox.poll_timeout(), Some(at(60)));
    assert_eq!(outbox.counters().expired, 1);
    assert_eq!(drain(&mut outbox), ["stays", "stays too"]);
}

fn a_full_queue_makes_room_by_dropping_what_expired<S: Small>() {
    let mut outbox = S::small();
    for i in 0..8 {
        push(&mut outbox, Low, if i == 3 { 1 } else { 60 }, "x").unwrap();
    }

    let pushed = outbox.push(at(1), header(Low, 60), Payload::Copied(b"y"));

    assert_eq!(pushed, Ok(Ticket { class: Low, ordinal: 9 }));
    assert_eq!((outbox.queued(), outbox.counters().expired), (8, 1));
}

fn a_queued_message_longer_than_the_peer_takes_is_dropped_on_its_turn<S: Small>() {
    let mut outbox = S::small();
    let ticket = push_len(&mut outbox, Medium, 11).unwrap();
    push_len(&mut outbox, Medium, 10).unwrap();

    outbox.handle_session_start(10);
    assert_eq!(outbox.queued(), 2);
    let len = outbox.next(at(0)).unwrap().payload.len();

    assert_eq!(len, 10);
    assert_eq!(*outbox.ledger(), [Fate::Dropped { ticket, reason: Reason::PeerLimit }]);
    assert_eq!(outbox.counters().peer_limit, 1);
    assert_balanced(&outbox);
}

fn a_message_longer_than_the_peer_takes_is_refused<S: Small>() {
    let mut outbox = S::small();
    outbox.handle_session_start(10);

    assert_eq!(push_len(&mut outbox, Medium, 11), Err(SendError::TooLong { max: 10 }));
    outbox.handle_session_end();
    assert_eq!(push_len(&mut outbox, Medium, 11), Err(SendError::TooLong { max: 10 }));
    outbox.handle_session_start(11);
    push_len(&mut outbox, Medium, 11).unwrap();
}

fn a_message_that_is_too_long_before_its_compression_is_refused<S: Small>() {
    let mut outbox = S::small();
    let compressed = |original| Some(Compressed { method: Method::Lz4, original });
    let pushed_before = Header { compressed: compressed(101), ..header(Low, 0) };
    outbox.push(at(0), pushed_before, Payload::Copied(b"short")).unwrap();

    outbox.handle_session_start(100);

    let refused = outbox.push(at(0), pushed_before, Payload::Copied(b"short"));
    assert_eq!(refused, Err(SendError::TooLong { max: 100 }));
    assert_eq!(outbox.next(at(0)), None);
    assert_eq!(outbox.counters().peer_limit, 1);
    let fits = Header { compressed: compressed(100), ..header(Low, 0) };
    assert!(outbox.push(at(0), fits, Payload::Copied(b"short")).is_ok());
}

fn the_least_urgent_and_oldest_messages_are_shed_first<S: Small>() {
    let mut outbox = S::small();
    for (class, text) in [(Medium, "m1"), (Low, "l1"), (High, "h1"), (Low, "l2"), (Medium, "m2")] {
        push(&mut outbox, class, 0, text).unwrap();
    }
    push_len(&mut outbox, Critical, 240).unwrap();

    assert!(outbox.make_room(at(0), 10, Medium));

    let shed = |class, ordinal| Fate::Dropped { ticket: Ticket { class, ordinal }, reason: Reason::Shed };
    assert_eq!(outbox.ledger().as_slice(), [shed(Low, 1), shed(Low, 2)]);
    assert!(outbox.make_room(at(0), 12, Medium));
    assert_eq!(outbox.ledger().as_slice(), [shed(Low, 1), shed(Low, 2), shed(Medium, 1)]);
    assert_eq!(outbox.counters().shed, 3);
    assert_balanced(&outbox);
}

fn more_urgent_messages_are_never_shed<S: Small>() {
    let mut outbox = S::small();
    for _ in 0..8 {
        push(&mut outbox, High, 0, "h").unwrap();
    }

    assert!(!outbox.make_room(at(0), 1, Medium));
    assert!(outbox.make_room(at(0), 1, High));

    assert_eq!(outbox.queued(), 7);
}

fn guaranteed_messages_are_never_shed<S: Small>() {
    let mut outbox = S::small();
    let header = |sequence| Header {
        priority: Low,
        reliability: Reliability::Guaranteed,
        sequence,
        ..Header::default()
    };
    outbox.push(at(0), header(1), Payload::Copied(&[0; 100])).unwrap();
    push_len(&mut outbox, Low, 100).unwrap();

    assert!(!outbox.make_room(at(0), 157, Critical));
    assert_eq!((outbox.queued(), outbox.counters().shed), (2, 0));
    assert!(outbox.make_room(at(0), 156, Critical));

    assert_eq!((outbox.queued(), outbox.counters().shed), (1, 1));
    let left = outbox.next(at(0)).unwrap();
    assert_eq!((left.header.reliability, left.payload.len()), (Reliability::Guaranteed, 100));
    for sequence in 2..9 {
        outbox.push(at(0), header(sequence), Payload::Copied(&[])).unwrap();
    }
    assert!(!outbox.make_room(at(0), 1, Critical));
    assert_balanced(&outbox);
}

fn nothing_is_shed_where_it_would_not_make_room<S: Small>() {
    let mut outbox = S::small();
    push_len(&mut outbox, High, 200).unwrap();
    push_len(&mut outbox, Low, 50).unwrap();

    assert!(!outbox.make_room(at(0), 57, Medium));
    assert!(!outbox.make_room(at(0), 257, Critical));

    assert_eq!((outbox.queued(), outbox.counters().shed), (2, 0));
    assert!(outbox.make_room(at(0), 56, Medium));
}

fn nothing_is_shed_where_more_urgent_messages_have_all_places<S: Small>() {
    let mut outbox = S::small();
    for class in [High, High, High, High, High, High, High, Low] {
        push(&mut outbox, class, 60, "x").unwrap();
    }
    assert!(outbox.make_room(at(0), 1, Medium), "the Low one goes");
    push(&mut outbox, High, 60, "x").unwrap();

    assert!(!outbox.make_room(at(0), 1, Medium));

    assert_eq!((outbox.queued(), outbox.counters().shed), (8, 1));
}

fn what_expired_goes_before_anything_is_shed<S: Small>() {
    let mut outbox = S::small();
    push(&mut outbox, Low, 0, "old").unwrap();
    for _ in 0..7 {
        push(&mut outbox, Critical, 1, "short").unwrap();
    }

    assert!(outbox.make_room(at(1), 5, Low));

    assert_eq!((outbox.counters().expired, outbox.counters().shed), (7, 0));
    assert_eq!(drain(&mut outbox), ["old"]);
}

fn what_is_retained_takes_room_until_it_is_acknowledged<S: Small>() {
    let mut outbox = S::small();
    let text = "x".repeat(32);
    for _ in 0..8 {
        push_as(&mut outbox, Reliability::High, 0, &text);
    }
    drain(&mut outbox);
    outbox.handle_record_written(0);
    assert_eq!((outbox.queued(), outbox.held(), outbox.held_bytes()), (0, 8, 256));
    assert_eq!(push(&mut outbox, Medium, 0, "y"), Err(SendError::QueueFull));

    outbox.handle_ack(1);

    assert_eq!((outbox.held(), outbox.held_bytes()), (0, 0));
    push(&mut outbox, Medium, 0, "y").unwrap();
    assert_balanced(&outbox);
}
