//! Subscriptions take what matches their filter; the rest goes to the inbox.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use hyphal::{Filter, Outcome, Outgoing, Priority, Reason, SendOptions};

use crate::pair::{pair, within};

#[tokio::test]
async fn each_subscription_gets_what_matches_and_the_inbox_the_rest() {
    let (left, right) = pair().await;
    let mut kinds = right.subscribe(Filter::all().kinds(10..=19));
    let mut urgent = right.subscribe(Filter::all().priority(Priority::Critical).source(left.id()));
    let mut foreign = right.subscribe(Filter::all().source(right.id()));
    // Asked for before anything comes: a node with subscriptions keeps nothing else of what they do not take.
    let mut rest = pin!(right.recv());
    assert!(poll_fn(|cx| Poll::Ready(rest.as_mut().poll(cx).is_pending())).await);

    let urgent_options = SendOptions::default().priority(Priority::Critical);
    left.send_direct(right.id(), 10, "kind", SendOptions::default()).await.unwrap();
    left.send_direct(right.id(), 11, "both", urgent_options).await.unwrap();
    left.send_direct(right.id(), 30, "urgent", urgent_options).await.unwrap();
    left.send_direct(right.id(), 40, "neither", SendOptions::default()).await.unwrap();

    let mut of_kinds =
        vec![within(kinds.recv()).await.unwrap().payload, within(kinds.recv()).await.unwrap().payload];
    of_kinds.sort();
    assert_eq!(of_kinds, ["both", "kind"]);
    assert_eq!(within(urgent.recv()).await.unwrap().payload, "both");
    assert_eq!(within(urgent.recv()).await.unwrap().payload, "urgent");
    assert_eq!(within(rest).await.unwrap().payload, "neither");
    let nothing = tokio::time::timeout(std::time::Duration::from_millis(50), foreign.recv()).await;
    assert!(nothing.is_err());
}

#[tokio::test]
async fn a_node_that_only_subscribes_does_not_stall_on_what_nobody_takes() {
    let (left, right) = pair().await;
    let mut wanted = right.subscribe(Filter::all().kind(1));

    left.send_batch(right.id(), (0..10_000).map(|_| Outgoing::new(2, b"unwanted"))).await.unwrap();
    left.send_direct(right.id(), 1, "wanted", SendOptions::default()).await.unwrap();

    assert_eq!(within(wanted.recv()).await.unwrap().payload, "wanted");
    assert_eq!(right.counters().received_dropped, [(Reason::NoReceiver, 10_000)]);
}

#[tokio::test]
async fn what_came_before_the_first_subscription_is_the_beginning_of_it_or_holds_up_no_acknowledgement() {
    let (left, right) = pair().await;
    let early = ["early", "early and wanted", "early too"];
    let messages = [2, 1, 2].into_iter().zip(early).map(|(kind, text)| Outgoing::new(kind, text.as_bytes()));
    left.send_batch(right.id(), messages).await.unwrap();
    within(async {
        while right.counters().received < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;

    let mut wanted = right.subscribe(Filter::all().kind(1));
    assert_eq!(within(wanted.recv()).await.unwrap().payload, "early and wanted");
    let (_, receipt) =
        left.send_direct_tracked(right.id(), 1, "wanted", SendOptions::default()).await.unwrap();
    assert_eq!(within(wanted.recv()).await.unwrap().payload, "wanted");
    let more = tokio::spawn(async move { wanted.recv().await });

    assert_eq!(within(receipt).await, Outcome::Delivered);
    assert_eq!(right.counters().received_dropped, [(Reason::NoReceiver, 2)]);
    more.abort();
}

#[tokio::test]
async fn a_batch_of_which_some_were_taken_singly_gives_the_rest() {
    let (left, right) = pair().await;
    left.send_batch(right.id(), [b"a", b"b", b"c"].map(|payload| Outgoing::new(1, payload))).await.unwrap();

    let first = within(right.recv()).await.unwrap();
    let mut rest = 0;
    while rest < 2 {
        rest += within(right.recv_batch()).await.unwrap().len();
    }

    assert_eq!((&first.payload[..], rest), (&b"a"[..], 2));
}

#[tokio::test]
async fn what_a_dropped_subscription_held_is_counted() {
    let (left, right) = pair().await;
    let mut all = right.subscribe(Filter::all());
    for number in 0..3_u8 {
        left.send_direct(right.id(), 1, &[number], SendOptions::default()).await.unwrap();
    }
    let (_, last) = left.send_direct_tracked(right.id(), 1, "last", SendOptions::default()).await.unwrap();
    within(all.recv()).await.unwrap();

    drop(all);

    assert_eq!(within(last).await, Outcome::Delivered);
    assert_eq!(right.counters().received_dropped, [(Reason::NoReceiver, 3)]);
}

/// A receiver may do other things between two messages, however long they take.
#[tokio::test]
async fn a_message_that_was_acknowledged_counts_though_its_receiver_asks_for_no_other() {
    let (left, right) = pair().await;
    let mut held = right.subscribe_held(Filter::all());
    let (_, receipt) = left.send_direct_tracked(right.id(), 1, "only", SendOptions::default()).await.unwrap();
    let message = within(held.recv()).await.unwrap();

    message.acknowledge();

    assert_eq!(within(receipt).await, Outcome::Delivered);
    drop(held);
}
