//! Whose turn it is, and what is shown of a message.

use super::*;

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
    an_empty_payload_is_a_message
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

fn an_empty_payload_is_a_message<S: Small>() {
    let mut outbox = S::small();

    for text in ["", "a", "", "b"] {
        push(&mut outbox, Medium, 0, text).unwrap();
    }

    assert_eq!(drain(&mut outbox), ["", "a", "", "b"]);
}
