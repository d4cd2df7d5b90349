//! What becomes of what was written: acknowledged, left over by a session, or written again in the next.

use super::*;

for_every_storage! {
    an_acknowledgement_confirms_the_records_before_it
    a_record_that_is_still_open_is_never_confirmed
    acknowledging_more_than_was_written_confirms_what_was_written
    more_records_than_flights_are_all_confirmed_in_the_end
    the_end_of_a_session_leaves_what_was_taken_unconfirmed
    a_session_that_starts_before_the_last_ended_ends_it
    a_new_session_counts_its_records_from_zero
    clear_drops_what_is_queued_and_keeps_what_is_in_flight
    clear_broadcasts_keeps_direct_messages
    clear_type_keeps_messages_of_other_types
    dropped_messages_do_not_move_the_watermarks
    a_cancelled_message_leaves_no_trace_if_nothing_of_it_was_taken
    what_is_in_flight_cannot_be_cancelled
    high_messages_go_back_to_the_front_in_order_when_a_session_ends
    what_was_written_once_is_never_called_expired_or_cancelled
    guaranteed_messages_are_withdrawn_with_their_session
    a_best_effort_message_in_a_lost_datagram_is_given_up_and_a_high_one_is_shown_again
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

fn clear_type_keeps_messages_of_other_types<S: Small>() {
    let mut outbox = S::small();
    let of_another = header(Medium, 60).kind + 1;
    push(&mut outbox, Medium, 60, "stays").unwrap();
    outbox.push(at(0), Header { kind: of_another, ..header(Medium, 0) }, Payload::Copied(b"goes")).unwrap();

    outbox.clear_type(of_another, Reason::Cancelled);

    assert_eq!(outbox.counters().cancelled, 1);
    assert_eq!(drain(&mut outbox), ["stays"]);
    assert_balanced(&outbox);
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

fn what_is_in_flight_cannot_be_cancelled<S: Small>() {
    let mut outbox = S::small();
    let ticket = push(&mut outbox, Low, 0, "long").unwrap();
    outbox.next(at(0)).unwrap();
    outbox.take(4);

    assert!(!outbox.cancel(ticket));

    assert_eq!(outbox.in_flight(), 1);
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
