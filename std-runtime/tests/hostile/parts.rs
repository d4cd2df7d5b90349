//! Messages in parts that contradict each other, never end, or take memory from others. What the session lets pass costs the
//! node no more than its budget, and what it does not let pass ends the session.

use std::time::Duration;

use hyphal::{Filter, Limits, NodeBuilder, Priority, Reason, SendOptions};
use hyphal_core::wire::message::{FRAGMENT_LEN, MessageHeader, Part};

use crate::hand::{Hand, Papers, message, message_header, messages};
use crate::scene::{Scene, soon, timeouts};

const TOTAL: u32 = 3 * FRAGMENT_LEN as u32;

#[tokio::test]
async fn parts_that_contradict_each_other_end_the_session() {
    let mut scene = Scene::new().await;
    let first = part(1, TOTAL, 0);
    let second = part(1, TOTAL, FRAGMENT_LEN as u32);
    let cases: [(&str, MessageHeader, usize); 9] = [
        ("another total", part(1, TOTAL + 1, FRAGMENT_LEN as u32), FRAGMENT_LEN),
        ("a gap", part(1, TOTAL, FRAGMENT_LEN as u32 + 1), 100),
        ("an overlap", part(1, TOTAL, FRAGMENT_LEN as u32 - 1), 100),
        ("the same part again", first, FRAGMENT_LEN),
        ("another type", MessageHeader { kind: 0x1001, ..second }, FRAGMENT_LEN),
        ("another time to live", MessageHeader { ttl: 61, ..second }, FRAGMENT_LEN),
        ("a broadcast of a sudden", MessageHeader { broadcast: true, ..second }, FRAGMENT_LEN),
        ("another message of the class begun", part(2, TOTAL, 0), FRAGMENT_LEN),
        ("a whole message of the class between", message_header(2), 10),
    ];

    for (count, (name, header, len)) in (1..).zip(cases) {
        let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
        hand.send(&messages(&[(first, &[1; FRAGMENT_LEN])])).await;
        hand.send(&messages(&[(header, &vec![2; len])])).await;

        let closed = soon(hand.control()).await;
        assert_eq!(closed, hyphal_core::wire::control::Control::close(Reason::Violation), "{name}");
        hand.raw.rest().await;
        scene.assert_closed(Reason::Violation, count);
    }
    assert_eq!(scene.received_from_others(), 0);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_message_that_begins_in_its_middle_ends_the_session() {
    let mut scene = Scene::new().await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;

    hand.send(&messages(&[(part(1, TOTAL, FRAGMENT_LEN as u32), &[1; FRAGMENT_LEN])])).await;

    hand.expect_close(Reason::Violation).await;
    scene.assert_closed(Reason::Violation, 1);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_message_announced_over_the_limit_ends_the_session_at_its_first_part() {
    let mut scene = Scene::new().await;
    let beyond = Limits::default().max_message + 1;

    for (count, total) in (1..).zip([beyond, u32::MAX]) {
        let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
        hand.send(&messages(&[(part(1, total, 0), &[1; 100])])).await;

        hand.expect_close(Reason::TooLong).await;
        scene.assert_closed(Reason::TooLong, count);
    }
    scene.assert_friend_is_unharmed().await;
}

/// The whole memory is announced away by messages of which one byte each ever comes: whoever waits for it gets it.
#[tokio::test]
async fn memory_that_is_announced_and_not_used_goes_to_those_who_wait() {
    let mut scene = Scene::with(narrow).await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
    for (sequence, priority) in (1..).zip(Priority::ALL) {
        let first = MessageHeader { priority, ..part(sequence, LONGEST, 0) };
        hand.send(&messages(&[(first, &[1])])).await;
    }
    // The last of these waits for the next.
    hand.send(&message(9, b"all announced")).await;

    let payload = vec![7; LONGEST as usize];
    let (friend, victim) = (&scene.friend, scene.victim.id());
    let (_, receipt) =
        friend.send_direct_tracked(victim, 1, payload.clone(), SendOptions::default()).await.unwrap();
    let arrived = scene.delivered_by_friend().await;

    assert!(arrived.payload == payload);
    scene.exchange().await;
    soon(receipt).await;
    let dropped = scene.victim.counters().received_dropped;
    let no_room = dropped.iter().find(|(reason, _)| *reason == Reason::NoRoom).map_or(0, |(_, count)| *count);
    assert!(no_room >= 1, "{dropped:?}");
    scene.assert_friend_is_unharmed().await;
}

/// Thousands of messages that are begun and given up at once leave nothing behind.
#[tokio::test]
async fn a_storm_of_abandoned_messages_costs_its_sender_only() {
    let mut scene = Scene::with(narrow).await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;

    for sequence in 1..=STORM {
        let priority = Priority::ALL[(sequence % 4) as usize];
        let begun = MessageHeader { priority, ..part(sequence, LONGEST, 0) };
        let given_up = MessageHeader { priority, ..part(sequence, LONGEST, LONGEST) };
        hand.send(&messages(&[(begun, &[1; 20])])).await;
        hand.send(&messages(&[(given_up, &[])])).await;
    }
    hand.send(&message(STORM + 1, b"after the storm")).await;

    assert_eq!(scene.delivered().await.payload, "after the storm");
    scene.assert_dropped(Reason::Cancelled, STORM);
    let payload = vec![7; LONGEST as usize];
    scene.friend.send_direct(scene.victim.id(), 1, payload, SendOptions::default()).await.unwrap();
    assert_eq!(scene.delivered_by_friend().await.payload.len(), LONGEST as usize, "the memory is all there");
    scene.assert_friend_is_unharmed().await;
}

/// The same against an application that reads parts and does not keep up.
#[tokio::test]
async fn streams_that_nobody_takes_are_bounded_by_the_queue_and_the_window() {
    let mut scene = Scene::with(|victim| victim).await;
    let mut papers = Papers::new();
    papers.hello.boot_id = 8;
    let unread = scene.victim.subscribe_streams(Filter::all().kind(0x1000).source(papers.identity.id()));
    let mut hand = Hand::shake(scene.address(), &papers).await;

    for sequence in 1..=STORM {
        let begun = part(sequence, TOTAL, 0);
        let given_up = part(sequence, TOTAL, TOTAL);
        hand.send(&messages(&[(begun, &[1; 20])])).await;
        hand.send(&messages(&[(given_up, &[])])).await;
    }
    scene.exchange().await;

    assert_eq!(scene.closed_in_all(), 0);
    drop(unread);
    scene.assert_friend_is_unharmed().await;
}

fn part(sequence: u64, total: u32, offset: u32) -> MessageHeader {
    MessageHeader { part: Some(Part { total, offset }), ..message_header(sequence) }
}

/// A victim with memory for one large message, and little patience for those that hold it.
fn narrow(victim: NodeBuilder) -> NodeBuilder {
    let mut limits = Limits::default();
    limits.max_message = LONGEST;
    limits.assembly_bytes = LONGEST as usize;
    let mut timeouts = timeouts();
    timeouts.write_stall = Duration::from_secs(1);
    victim.limits(limits).timeouts(timeouts)
}

const LONGEST: u32 = 1 << 20;
const STORM: u64 = 2000;
