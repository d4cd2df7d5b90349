//! Messages that leave in several parts, and those that are given up in between.

use super::*;

for_every_storage! {
    a_message_leaves_with_its_last_byte_and_is_confirmed_with_that_record
    a_more_urgent_message_comes_between_two_parts
    a_message_taken_in_part_begins_anew_in_the_next_session
    a_message_dropped_after_it_was_begun_is_abandoned_before_anything_else
    an_abandonment_is_forgotten_with_its_session
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
    begin_long(&mut outbox);

    push(&mut outbox, Critical, 0, "now").unwrap();

    assert_eq!(drain(&mut outbox), ["now", "ng"]);
}

fn a_message_taken_in_part_begins_anew_in_the_next_session<S: Small>() {
    let mut outbox = S::small();
    begin_long(&mut outbox);
    outbox.handle_record_written(0);

    outbox.handle_session_end();

    assert_eq!((outbox.counters().unconfirmed, outbox.queued()), (0, 1));
    assert_eq!(outbox.next(at(0)).unwrap().part, None);
    assert_eq!(drain(&mut outbox), ["long"]);
}

fn a_message_dropped_after_it_was_begun_is_abandoned_before_anything_else<S: Small>() {
    let drops: [fn(&mut Outbox<S>, Ticket); 5] = [
        |outbox, ticket| assert!(outbox.cancel(ticket)),
        |outbox, _| outbox.handle_timeout(at(60)),
        |outbox, _| outbox.clear_broadcasts(Reason::PeerGone),
        |outbox, _| outbox.clear_type(header(Low, 60).kind, Reason::Cancelled),
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
    let ticket = begin_long(&mut outbox);
    assert!(outbox.cancel(ticket) && outbox.has_next());

    outbox.handle_session_start(100);

    assert_eq!(outbox.next(at(0)), None);
    assert!(!outbox.has_next());
}

/// A message "long" of which two bytes were taken.
fn begin_long<S: Small>(outbox: &mut Outbox<S>) -> Ticket {
    let ticket = push(outbox, Low, 0, "long").unwrap();
    outbox.next(at(0)).unwrap();
    outbox.take(2);
    ticket
}
