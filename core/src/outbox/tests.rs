//! The rules of the outbox as sentences, each told for every storage.

use super::*;
use crate::wire::message::{Compressed, Method};
use Priority::{Critical, High, Low, Medium};
use std::vec::Vec;

impl Ledger for Vec<Fate> {
    fn settle(&mut self, fate: Fate) {
        self.push(fate);
    }
}

/// Room for eight messages with 256 bytes in all.
trait Small: Storage<Ledger = Vec<Fate>> {
    fn small() -> Outbox<Self>
    where
        Self: Sized;
}

impl Small for FixedStorage<256, 8, Vec<Fate>> {
    fn small() -> Outbox<Self> {
        Outbox::new(Self::with_ledger(Vec::new()))
    }
}

#[cfg(feature = "alloc")]
impl Small for SharedStorage<Vec<Fate>> {
    fn small() -> Outbox<Self> {
        Outbox::new(Self::with_ledger(8, 256, Vec::new()))
    }
}

macro_rules! for_every_storage {
    ($($claim:ident)+) => {
        mod fixed_storage {
            $(#[test] fn $claim() { super::$claim::<super::FixedStorage<256, 8, std::vec::Vec<super::Fate>>>(); })+
        }
        #[cfg(feature = "alloc")]
        mod shared_storage {
            $(#[test] fn $claim() { super::$claim::<super::SharedStorage<std::vec::Vec<super::Fate>>>(); })+
        }
    };
}

for_every_storage! {
    messages_of_a_class_leave_in_the_order_of_push
    the_most_urgent_class_goes_first
    a_class_out_of_patience_gets_one_turn
    all_classes_progress_under_a_flood_of_critical_messages
    patience_counts_only_while_the_class_has_messages
    next_shows_what_was_pushed_and_how_long_it_waited
    next_shows_the_same_message_until_it_is_taken
    take_without_next_takes_nothing
    a_message_dropped_after_it_was_shown_is_not_taken
    a_full_queue_of_slots_refuses_and_changes_nothing
    a_full_queue_of_bytes_refuses_exactly_what_does_not_fit
    bytes_freed_in_any_order_can_be_used_again
    a_payload_longer_than_the_storage_is_too_long
    an_empty_payload_is_a_message
    an_expired_message_is_never_shown
    a_message_with_ttl_zero_never_expires
    the_timeout_drops_expired_messages_behind_others
    a_full_queue_makes_room_by_dropping_what_expired
    an_acknowledgement_confirms_the_records_before_it
    a_record_that_is_still_open_is_never_confirmed
    acknowledging_more_than_was_written_confirms_what_was_written
    more_records_than_flights_are_all_confirmed_in_the_end
    the_end_of_a_session_leaves_what_was_taken_unconfirmed
    a_session_that_starts_before_the_last_ended_ends_it
    a_new_session_counts_its_records_from_zero
    a_queued_message_longer_than_the_peer_takes_is_dropped_on_its_turn
    a_message_longer_than_the_peer_takes_is_refused
    clear_drops_what_is_queued_and_keeps_what_is_in_flight
    clear_broadcasts_keeps_direct_messages
    dropped_messages_do_not_move_the_watermarks
    a_message_leaves_with_its_last_byte_and_is_confirmed_with_that_record
    a_more_urgent_message_comes_between_two_parts
    a_message_taken_in_part_begins_anew_in_the_next_session
    a_cancelled_message_leaves_no_trace_if_nothing_of_it_was_taken
    a_message_dropped_after_it_was_begun_is_abandoned_before_anything_else
    an_abandonment_is_forgotten_with_its_session
    what_is_in_flight_cannot_be_cancelled
    a_message_that_is_too_long_before_its_compression_is_refused
    the_least_urgent_and_oldest_messages_are_shed_first
    more_urgent_messages_are_never_shed
    nothing_is_shed_where_it_would_not_make_room
    what_expired_goes_before_anything_is_shed
    high_messages_go_back_to_the_front_in_order_when_a_session_ends
    what_was_written_once_is_never_called_expired_or_cancelled
    guaranteed_messages_are_withdrawn_with_their_session
    what_is_retained_takes_room_until_it_is_acknowledged
    a_best_effort_message_in_a_lost_datagram_is_given_up_and_a_high_one_is_shown_again
}

fn messages_of_a_class_leave_in_the_order_of_push<S: Small>() {
    let mut outbox = S::small();

    for text in ["a", "b", "c"] {
        push(&mut outbox, Medium, 0, text).unwrap();
    }

    assert_eq!(drain(&mut outbox), ["a", "b", "c"]);
}

fn the_most_urgent_class_goes_first<S: Small>() {
    let mut outbox = S::small();

    for (class, text) in [(Low, "low"), (High, "high"), (Critical, "critical"), (Medium, "medium")] {
        push(&mut outbox, class, 0, text).unwrap();
    }

    assert_eq!(drain(&mut outbox), ["critical", "high", "medium", "low"]);
}

fn a_class_out_of_patience_gets_one_turn<S: Small>() {
    for (class, patience) in [(High, 8), (Medium, 16), (Low, 32)] {
        let mut outbox = S::small();
        push(&mut outbox, class, 0, "patient").unwrap();
        push(&mut outbox, class, 0, "patient").unwrap();

        let taken: Vec<_> = (0..2 * (patience + 1))
            .map(|_| {
                push(&mut outbox, Critical, 0, "critical").unwrap();
                let text = take(&mut outbox, 0).unwrap();
                if text == "patient" {
                    // One Critical message would be left over; the next round brings its own.
                    take(&mut outbox, 0).unwrap();
                }
                text
            })
            .collect();

        let turns: Vec<_> = (0..taken.len()).filter(|&i| taken[i] == "patient").collect();
        assert_eq!(turns[0], patience, "{class:?} waits for {patience} others, no longer");
        assert_eq!(turns.len(), 2, "one turn at a time");
    }
}

fn all_classes_progress_under_a_flood_of_critical_messages<S: Small>() {
    let mut outbox = S::small();
    let mut turns = [0; CLASSES];
    let texts = ["low", "medium", "high", "critical"];
    for (class, text) in Priority::ALL.into_iter().zip(texts) {
        push(&mut outbox, class, 0, text).unwrap();
    }

    for _ in 0..33 * 17 * 9 {
        let text = take(&mut outbox, 0).unwrap();
        let class = texts.iter().position(|&t| t == text).unwrap();
        turns[class] += 1;
        push(&mut outbox, Priority::ALL[class], 0, texts[class]).unwrap();
    }

    let total: i32 = turns.iter().sum();
    assert!(turns[3] > total * 7 / 10, "Critical keeps most of the turns: {turns:?}");
    assert!(turns[2] > turns[1] && turns[1] > turns[0], "{turns:?}");
    assert!(turns[0] >= total / 35, "a class waits at most two turns beyond its patience: {turns:?}");
}

fn patience_counts_only_while_the_class_has_messages<S: Small>() {
    let mut outbox = S::small();
    for _ in 0..100 {
        push(&mut outbox, Critical, 0, "critical").unwrap();
        take(&mut outbox, 0).unwrap();
    }

    push(&mut outbox, High, 0, "high").unwrap();
    push(&mut outbox, Critical, 0, "critical").unwrap();

    assert_eq!(drain(&mut outbox), ["critical", "high"]);
}

fn next_shows_what_was_pushed_and_how_long_it_waited<S: Small>() {
    let mut outbox = S::small();
    let header =
        Header { kind: 7, priority: High, broadcast: true, sequence: 99, ttl: 60, ..Header::default() };

    outbox.push(at(2), header, Payload::Copied(b"hello")).unwrap();
    let next = outbox.next(at(5));

    assert_eq!(
        next,
        Some(Next { header: &header, waited: Duration::from_secs(3), payload: b"hello", part: None })
    );
}

fn next_shows_the_same_message_until_it_is_taken<S: Small>() {
    let mut outbox = S::small();
    push(&mut outbox, Medium, 0, "a").unwrap();
    push(&mut outbox, Medium, 0, "b").unwrap();

    let first = outbox.next(at(0)).unwrap().payload.to_vec();
    let again = outbox.next(at(0)).unwrap().payload.to_vec();

    assert_eq!((first, again), (b"a".to_vec(), b"a".to_vec()));
    assert_eq!(outbox.queued(), 2);
}

fn take_without_next_takes_nothing<S: Small>() {
    let mut outbox = S::small();
    push(&mut outbox, Medium, 0, "a").unwrap();
    push(&mut outbox, Medium, 0, "b").unwrap();

    outbox.take(usize::MAX);
    outbox.next(at(0)).unwrap();
    outbox.take(usize::MAX);
    outbox.take(usize::MAX);

    assert_eq!((outbox.queued(), outbox.in_flight()), (1, 1));
    assert_balanced(&outbox);
}

fn a_message_dropped_after_it_was_shown_is_not_taken<S: Small>() {
    let mut outbox = S::small();
    push(&mut outbox, Medium, 1, "short-lived").unwrap();
    push(&mut outbox, Medium, 0, "other").unwrap();
    outbox.next(at(0)).unwrap();

    outbox.handle_timeout(at(1));
    outbox.take(usize::MAX);

    assert_eq!((outbox.queued(), outbox.in_flight(), outbox.counters().expired), (1, 0, 1));
    assert_balanced(&outbox);
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

fn an_empty_payload_is_a_message<S: Small>() {
    let mut outbox = S::small();

    for text in ["", "a", "", "b"] {
        push(&mut outbox, Medium, 0, text).unwrap();
    }

    assert_eq!(drain(&mut outbox), ["", "a", "", "b"]);
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

fn an_acknowledgement_confirms_the_records_before_it<S: Small>() {
    let mut outbox = S::small();
    write_record(&mut outbox, 0, &[Medium, Medium]);
    write_record(&mut outbox, 1, &[]);
    write_record(&mut outbox, 2, &[Medium, High]);

    outbox.handle_ack(2);
    assert_eq!(*outbox.ledger(), [Fate::Confirmed { class: Medium, first: 1, last: 2 }]);
    assert_eq!((outbox.counters().confirmed, outbox.in_flight()), (2, 2));

    outbox.handle_ack(3);
    assert_eq!(
        outbox.ledger()[1..],
        [
            Fate::Confirmed { class: Medium, first: 1, last: 3 },
            Fate::Confirmed { class: High, first: 1, last: 1 }
        ]
    );
    assert!(outbox.is_idle());
    assert_balanced(&outbox);
}

fn a_record_that_is_still_open_is_never_confirmed<S: Small>() {
    let mut outbox = S::small();
    push(&mut outbox, Medium, 0, "a").unwrap();
    take(&mut outbox, 0).unwrap();

    outbox.handle_ack(u64::MAX);

    assert_eq!((outbox.counters().confirmed, outbox.in_flight()), (0, 1));
}

fn acknowledging_more_than_was_written_confirms_what_was_written<S: Small>() {
    let mut outbox = S::small();
    outbox.handle_ack(17);
    write_record(&mut outbox, 0, &[Low]);

    outbox.handle_ack(1_000);
    outbox.handle_ack(1_000);

    assert_eq!(*outbox.ledger(), [Fate::Confirmed { class: Low, first: 1, last: 1 }]);
    assert_balanced(&outbox);
}

fn more_records_than_flights_are_all_confirmed_in_the_end<S: Small>() {
    let mut outbox = S::small();
    for counter in 0..20 {
        write_record(&mut outbox, counter, &[Medium]);
    }

    outbox.handle_ack(7);
    assert_eq!(outbox.counters().confirmed, 7, "the records before the joined ones keep their precision");
    outbox.handle_ack(19);
    assert_eq!(outbox.counters().confirmed, 7, "the joined ones wait for the last of them");
    outbox.handle_ack(20);

    assert_eq!((outbox.counters().confirmed, outbox.in_flight()), (20, 0));
    assert_eq!(outbox.ledger().last(), Some(&Fate::Confirmed { class: Medium, first: 1, last: 20 }));
}

fn the_end_of_a_session_leaves_what_was_taken_unconfirmed<S: Small>() {
    let mut outbox = S::small();
    write_record(&mut outbox, 0, &[Medium]);
    push(&mut outbox, High, 0, "taken into a record that is never written").unwrap();
    take(&mut outbox, 0).unwrap();
    push(&mut outbox, High, 0, "queued").unwrap();

    outbox.handle_session_end();
    outbox.handle_session_end();
    outbox.handle_ack(1);

    assert_eq!(
        *outbox.ledger(),
        [
            Fate::Unconfirmed { class: Medium, first: 1, last: 1 },
            Fate::Unconfirmed { class: High, first: 1, last: 1 }
        ]
    );
    let counters = outbox.counters();
    assert_eq!((counters.unconfirmed, counters.confirmed, outbox.queued()), (2, 0, 1));
    assert_balanced(&outbox);
}

fn a_session_that_starts_before_the_last_ended_ends_it<S: Small>() {
    let mut outbox = S::small();
    write_record(&mut outbox, 5, &[Medium]);

    outbox.handle_session_start(64);

    assert_eq!((outbox.counters().unconfirmed, outbox.in_flight()), (1, 0));
}

fn a_new_session_counts_its_records_from_zero<S: Small>() {
    let mut outbox = S::small();
    write_record(&mut outbox, 50, &[Medium]);
    outbox.handle_session_end();

    outbox.handle_session_start(64);
    write_record(&mut outbox, 0, &[Medium]);
    outbox.handle_ack(1);

    assert_eq!((outbox.counters().unconfirmed, outbox.counters().confirmed), (1, 1));
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

fn clear_drops_what_is_queued_and_keeps_what_is_in_flight<S: Small>() {
    let mut outbox = S::small();
    write_record(&mut outbox, 0, &[Medium]);
    push(&mut outbox, Low, 60, "a").unwrap();
    push(&mut outbox, Critical, 60, "b").unwrap();

    outbox.clear(Reason::PeerGone);

    assert_eq!((outbox.queued(), outbox.queued_bytes(), outbox.in_flight()), (0, 0, 1));
    assert_eq!(outbox.counters().peer_gone, 2);
    assert_eq!(outbox.poll_timeout(), None);
    outbox.handle_ack(1);
    assert!(outbox.is_idle());
    assert_balanced(&outbox);
}

fn clear_broadcasts_keeps_direct_messages<S: Small>() {
    let mut outbox = S::small();
    push(&mut outbox, Medium, 60, "direct").unwrap();
    let broadcast = Header { broadcast: true, ..header(Medium, 60) };
    outbox.push(at(0), broadcast, Payload::Copied(b"all")).unwrap();

    outbox.clear_broadcasts(Reason::PeerGone);

    assert_eq!(outbox.counters().peer_gone, 1);
    assert_eq!(drain(&mut outbox), ["direct"]);
}

fn dropped_messages_do_not_move_the_watermarks<S: Small>() {
    let mut outbox = S::small();
    write_record(&mut outbox, 0, &[Medium]);
    push(&mut outbox, Medium, 1, "expires").unwrap();
    outbox.handle_timeout(at(1));
    write_record(&mut outbox, 1, &[Medium]);

    outbox.handle_ack(2);

    let dropped = Fate::Dropped { ticket: Ticket { class: Medium, ordinal: 2 }, reason: Reason::Expired };
    let confirmed = |last| Fate::Confirmed { class: Medium, first: 1, last };
    assert_eq!(*outbox.ledger(), [dropped, confirmed(1), confirmed(3)]);
    assert_eq!(outbox.counters().confirmed, 2);
}

fn a_message_leaves_with_its_last_byte_and_is_confirmed_with_that_record<S: Small>() {
    let mut outbox = S::small();
    push(&mut outbox, Medium, 60, "abcdef").unwrap();

    for (offset, len, left) in [(0, 4, "abcdef"), (4, 1, "ef"), (5, 1, "f")] {
        let next = outbox.next(at(0)).unwrap();
        assert_eq!(next.payload, left.as_bytes());
        assert_eq!(next.part, (offset > 0).then_some(Part { total: 6, offset }));
        assert_eq!(outbox.in_flight(), 0);
        outbox.take(len);
        outbox.handle_record_written(offset.into());
    }

    assert_eq!((outbox.queued(), outbox.in_flight()), (0, 1));
    outbox.handle_ack(5);
    assert_eq!(outbox.counters().confirmed, 0);
    outbox.handle_ack(6);
    assert_eq!(*outbox.ledger(), [Fate::Confirmed { class: Medium, first: 1, last: 1 }]);
    assert_balanced(&outbox);
}

fn a_more_urgent_message_comes_between_two_parts<S: Small>() {
    let mut outbox = S::small();
    push(&mut outbox, Low, 0, "long").unwrap();
    outbox.next(at(0)).unwrap();
    outbox.take(2);

    push(&mut outbox, Critical, 0, "now").unwrap();

    assert_eq!(drain(&mut outbox), ["now", "ng"]);
}

fn a_message_taken_in_part_begins_anew_in_the_next_session<S: Small>() {
    let mut outbox = S::small();
    push(&mut outbox, Low, 0, "long").unwrap();
    outbox.next(at(0)).unwrap();
    outbox.take(2);
    outbox.handle_record_written(0);

    outbox.handle_session_end();

    assert_eq!((outbox.counters().unconfirmed, outbox.queued()), (0, 1));
    assert_eq!(outbox.next(at(0)).unwrap().part, None);
    assert_eq!(drain(&mut outbox), ["long"]);
}

fn a_cancelled_message_leaves_no_trace_if_nothing_of_it_was_taken<S: Small>() {
    let mut outbox = S::small();
    push(&mut outbox, Low, 0, "first").unwrap();
    let ticket = push(&mut outbox, Low, 0, "second").unwrap();

    assert!(outbox.cancel(ticket));

    assert_eq!(drain(&mut outbox), ["first"]);
    assert_eq!(outbox.counters().cancelled, 1);
    assert_eq!(*outbox.ledger(), [Fate::Dropped { ticket, reason: Reason::Cancelled }]);
    assert!(!outbox.cancel(ticket));
    assert_balanced(&outbox);
}

fn a_message_dropped_after_it_was_begun_is_abandoned_before_anything_else<S: Small>() {
    let drops: [fn(&mut Outbox<S>, Ticket); 4] = [
        |outbox, ticket| assert!(outbox.cancel(ticket)),
        |outbox, _| outbox.handle_timeout(at(60)),
        |outbox, _| outbox.clear_broadcasts(Reason::PeerGone),
        |outbox, _| outbox.clear(Reason::PeerGone),
    ];
    for drop in drops {
        let mut outbox = S::small();
        let header = Header { broadcast: true, sequence: 7, ..header(Low, 60) };
        let ticket = outbox.push(at(0), header, Payload::Copied(b"long")).unwrap();
        outbox.next(at(0)).unwrap();
        outbox.take(2);

        drop(&mut outbox, ticket);
        push(&mut outbox, Critical, 0, "now").unwrap();

        let next = outbox.next(at(60)).unwrap();
        assert_eq!((next.header, next.payload), (&header, &b""[..]));
        assert_eq!(next.part, Some(Part { total: 4, offset: 4 }));
        outbox.take(0);
        assert_eq!(drain(&mut outbox), ["now"]);
        assert!(!outbox.has_next());
        assert_balanced(&outbox);
    }
}

fn an_abandonment_is_forgotten_with_its_session<S: Small>() {
    let mut outbox = S::small();
    let ticket = push(&mut outbox, Low, 0, "long").unwrap();
    outbox.next(at(0)).unwrap();
    outbox.take(2);
    assert!(outbox.cancel(ticket) && outbox.has_next());

    outbox.handle_session_start(100);

    assert_eq!(outbox.next(at(0)), None);
    assert!(!outbox.has_next());
}

fn what_is_in_flight_cannot_be_cancelled<S: Small>() {
    let mut outbox = S::small();
    let ticket = push(&mut outbox, Low, 0, "long").unwrap();
    outbox.next(at(0)).unwrap();
    outbox.take(4);

    assert!(!outbox.cancel(ticket));

    assert_eq!(outbox.in_flight(), 1);
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

fn nothing_is_shed_where_it_would_not_make_room<S: Small>() {
    let mut outbox = S::small();
    push_len(&mut outbox, High, 200).unwrap();
    push_len(&mut outbox, Low, 50).unwrap();

    assert!(!outbox.make_room(at(0), 57, Medium));
    assert!(!outbox.make_room(at(0), 257, Critical));

    assert_eq!((outbox.queued(), outbox.counters().shed), (2, 0));
    assert!(outbox.make_room(at(0), 56, Medium));
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

#[test]
fn the_smallest_outbox_fits_a_small_device() {
    assert!(size_of::<TinyOutbox>() <= 3072, "{}", size_of::<TinyOutbox>());
}

#[cfg(feature = "alloc")]
mod heap {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn an_idle_outbox_takes_little() {
        assert!(size_of::<Outbox<SharedStorage>>() <= 864, "{}", size_of::<Outbox<SharedStorage>>());
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
            (packed != b"c").then(|| bytes::Bytes::from(packed.repeat(3)))
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
}

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

fn high_messages_go_back_to_the_front_in_order_when_a_session_ends<S: Small>() {
    let mut outbox = S::small();
    outbox.handle_session_start(64);
    for (text, reliability) in [
        ("first", Reliability::High),
        ("once", Reliability::BestEffort),
        ("second", Reliability::High),
        ("queued", Reliability::BestEffort),
    ] {
        push_as(&mut outbox, reliability, 0, text);
    }
    (0..3).for_each(|_| drop(take(&mut outbox, 0)));
    outbox.handle_record_written(0);

    outbox.handle_session_end();

    assert_eq!(*outbox.ledger(), [Fate::Unconfirmed { class: Medium, first: 2, last: 2 }]);
    assert_eq!((outbox.queued(), outbox.in_flight(), outbox.counters().requeued), (3, 0, 2));
    assert_balanced(&outbox);
    outbox.handle_session_start(64);
    assert_eq!(drain(&mut outbox), ["first", "second", "queued"]);
    outbox.handle_record_written(0);
    outbox.handle_ack(1);
    assert_eq!(outbox.ledger().last(), Some(&Fate::Confirmed { class: Medium, first: 1, last: 4 }));
    assert!(outbox.is_idle());
    assert_balanced(&outbox);
}

fn what_was_written_once_is_never_called_expired_or_cancelled<S: Small>() {
    let mut outbox = S::small();
    let [short, cancelled, cleared] =
        [5, 0, 0].map(|ttl| push_as(&mut outbox, Reliability::High, ttl, "perhaps there"));
    (0..3).for_each(|_| drop(take(&mut outbox, 0)));
    outbox.handle_session_end();
    let never = push_as(&mut outbox, Reliability::High, 0, "never written");
    assert_eq!(outbox.poll_timeout(), Some(at(5)));

    outbox.handle_timeout(at(5));
    assert!(!outbox.cancel(cancelled), "it may have been delivered");
    assert!(outbox.cancel(never));
    outbox.clear(Reason::PeerGone);

    assert_eq!(
        *outbox.ledger(),
        [
            Fate::unconfirmed(short),
            Fate::unconfirmed(cancelled),
            Fate::Dropped { ticket: never, reason: Reason::Cancelled },
            Fate::unconfirmed(cleared),
        ]
    );
    assert_eq!((outbox.counters().unconfirmed, outbox.counters().dropped()), (3, 1));
    assert_balanced(&outbox);
}

fn guaranteed_messages_are_withdrawn_with_their_session<S: Small>() {
    let mut outbox = S::small();
    for text in ["in flight", "queued"] {
        push_as(&mut outbox, Reliability::Guaranteed, 0, text);
    }
    take(&mut outbox, 0).unwrap();
    push_as(&mut outbox, Reliability::BestEffort, 0, "stays");

    outbox.handle_session_end();

    assert!(outbox.ledger().is_empty(), "their lane tells what becomes of them");
    assert_eq!(outbox.counters().withdrawn, 2);
    assert_eq!(drain(&mut outbox), ["stays"]);
    assert_balanced(&outbox);
}

fn what_is_retained_takes_room_until_it_is_acknowledged<S: Small>() {
    let mut outbox = S::small();
    for _ in 0..8 {
        push_as(&mut outbox, Reliability::High, 0, "x");
    }
    drain(&mut outbox);
    outbox.handle_record_written(0);
    assert_eq!((outbox.queued(), outbox.held(), outbox.held_bytes()), (0, 8, 8));
    assert_eq!(push(&mut outbox, Medium, 0, "y"), Err(SendError::QueueFull));

    outbox.handle_ack(1);

    assert_eq!((outbox.held(), outbox.held_bytes()), (0, 0));
    push(&mut outbox, Medium, 0, "y").unwrap();
    assert_balanced(&outbox);
}

fn a_best_effort_message_in_a_lost_datagram_is_given_up_and_a_high_one_is_shown_again<S: Small>() {
    let mut outbox = S::small();
    outbox.handle_datagram_session_start(256, 100);
    let once = push_as(&mut outbox, Reliability::BestEffort, 0, "once");
    push_as(&mut outbox, Reliability::High, 0, "again");
    drain(&mut outbox);
    assert!(outbox.retains_best_effort(Medium, 1, 2) && !outbox.retains_best_effort(Medium, 2, 2));

    let (ordinal, next) = outbox.retained(at(1), Medium, 1, 2).unwrap();

    assert_eq!((ordinal, next.payload), (2, &b"again"[..]));
    assert_eq!(*outbox.ledger(), [Fate::unconfirmed(once)]);
    outbox.handle_session_end();
    assert_eq!(drain(&mut outbox), ["again"]);
    assert_balanced(&outbox);
}

fn push_as<S: Small>(outbox: &mut Outbox<S>, reliability: Reliability, ttl: u32, text: &str) -> Ticket {
    let header = Header { reliability, ..header(Medium, ttl) };
    outbox.push(at(0), header, Payload::Copied(text.as_bytes())).unwrap()
}

fn header(priority: Priority, ttl: u32) -> Header {
    Header { kind: 1, priority, ttl, ..Header::default() }
}

fn push<S: Storage>(
    outbox: &mut Outbox<S>,
    class: Priority,
    ttl: u32,
    text: &str,
) -> Result<Ticket, SendError> {
    outbox.push(at(0), header(class, ttl), Payload::Copied(text.as_bytes()))
}

/// A message that never expires, its payload `len` bytes with the value `len`.
fn push_len<S: Storage>(outbox: &mut Outbox<S>, class: Priority, len: usize) -> Result<Ticket, SendError> {
    outbox.push(at(0), header(class, 0), Payload::Copied(&std::vec![len as u8; len]))
}

fn take<S: Storage>(outbox: &mut Outbox<S>, seconds: u64) -> Option<std::string::String> {
    let payload = outbox.next(at(seconds))?.payload.to_vec();
    outbox.take(payload.len());
    Some(std::string::String::from_utf8_lossy(&payload).into_owned())
}

fn drain<S: Storage>(outbox: &mut Outbox<S>) -> Vec<std::string::String> {
    core::iter::from_fn(|| take(outbox, 0)).collect()
}

/// One message of each class, pushed and written into the record with this counter.
fn write_record<S: Storage>(outbox: &mut Outbox<S>, counter: u64, classes: &[Priority]) {
    for &class in classes {
        push(outbox, class, 0, "x").unwrap();
    }
    assert_eq!(drain(outbox).len(), classes.len());
    outbox.handle_record_written(counter);
}

/// The invariant of the outbox.
pub(super) fn assert_balanced<S: Storage>(outbox: &Outbox<S>) {
    let counters = outbox.counters();
    let settled = counters.confirmed + counters.unconfirmed + counters.dropped() + counters.withdrawn;
    assert_eq!(counters.pushed, settled + outbox.in_flight() + outbox.queued() as u64, "{counters:?}");
    let written = counters.confirmed + counters.unconfirmed + outbox.in_flight();
    let at_most = written + counters.withdrawn + counters.requeued.min(outbox.queued() as u64);
    assert!((written..=at_most).contains(&counters.written), "{counters:?}");
    assert_eq!(outbox.has_queued(), outbox.queued() != 0);
}
