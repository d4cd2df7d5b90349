//! Guaranteed messages that nobody receives: they wait for somebody, and are refused when nobody comes, so that the lane goes on.

use std::time::Duration;

use hyphal::{Filter, Node, NodeBuilder, Outcome, Outgoing, Reason, Receipt};

use crate::guaranteed::{Place, guaranteed, settled};
use crate::pair::{timeouts, within};

#[tokio::test]
async fn a_message_that_nobody_receives_fails_and_is_not_sent_again() {
    let (left, right) = (Place::new(), Place::new());
    let (receiver, sender) =
        (listen(&right, patient(Duration::from_millis(50))).await, left.dial(&right).await);
    let mut subscription = receiver.subscribe(Filter::all().kind(1));

    let unwanted = tracked(&sender, &right, 9, "nobody").await;

    assert_eq!(within(unwanted).await, Outcome::Failed(Reason::NoReceiver));
    settled(&sender).await;
    assert_eq!(sender.counters().sent.dropped, 1);
    let dropped = receiver.counters().received_dropped;
    assert_eq!(dropped, [(Reason::NoReceiver, 1)]);
    // Whatever was refused is not taken in a later session either.
    drop(sender);
    let sender = left.dial(&right).await;
    let wanted = tracked(&sender, &right, 1, "somebody").await;
    assert_eq!(within(subscription.recv()).await.unwrap().payload, "somebody");
    commit(&mut subscription).await;
    assert_eq!(within(wanted).await, Outcome::Delivered);
    assert_eq!(receiver.counters().received_dropped, dropped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_that_nobody_receives_do_not_stop_the_others() {
    let (left, right) = (Place::new(), Place::new());
    let (receiver, sender) = (listen(&right, patient(Duration::ZERO)).await, left.dial(&right).await);
    let mut subscription = receiver.subscribe(Filter::all().kind(1));
    let kind = |number: u64| if number.is_multiple_of(100) { 1 } else { 9 };
    let texts: Vec<_> = (0..4000).map(|number: u64| number.to_string()).collect();
    let messages = (0..).zip(&texts).map(|(number, text)| Outgoing {
        options: guaranteed(),
        ..Outgoing::new(kind(number), text.as_str())
    });

    assert_eq!(within(sender.send_batch(right.id(), messages)).await, Ok(4000));

    for number in (0..4000).step_by(100) {
        assert_eq!(within(subscription.recv()).await.unwrap().payload, number.to_string());
    }
    commit(&mut subscription).await;
    settled(&sender).await;
    let sent = sender.counters().sent;
    assert_eq!((sent.confirmed, sent.dropped), (40, 3960), "{sent:?}");
}

#[tokio::test]
async fn who_subscribes_in_time_gets_what_waits_for_him_in_order() {
    let (left, right) = (Place::new(), Place::new());
    let (receiver, sender) = (listen(&right, patient(LONG)).await, left.dial(&right).await);
    let mut first = receiver.subscribe(Filter::all().kind(1));
    for text in ["a", "b", "c"] {
        drop(tracked(&sender, &right, 2, text).await);
    }
    drop(tracked(&sender, &right, 1, "has passed").await);
    within(first.recv()).await.unwrap();

    let mut second = receiver.subscribe(Filter::all().kind(2));
    let last = tracked(&sender, &right, 2, "d").await;

    for text in ["a", "b", "c", "d"] {
        assert_eq!(within(second.recv()).await.unwrap().payload, text);
    }
    commit(&mut second).await;
    assert_eq!(within(last).await, Outcome::Delivered);
}

#[tokio::test]
async fn what_came_before_the_first_subscription_is_the_beginning_of_it() {
    let (left, right) = (Place::new(), Place::new());
    let (receiver, sender) = (listen(&right, patient(LONG)).await, left.dial(&right).await);
    let early = tracked(&sender, &right, 1, "early").await;
    let other = tracked(&sender, &right, 2, "for another one").await;
    within(async {
        while receiver.counters().received < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;

    let mut first = receiver.subscribe(Filter::all().kind(1));
    let mut second = receiver.subscribe_held(Filter::all().kind(2));

    assert_eq!(within(first.recv()).await.unwrap().payload, "early");
    within(second.recv()).await.unwrap().acknowledge();
    assert_eq!(within(other).await, Outcome::Delivered);
    commit(&mut first).await;
    assert_eq!(within(early).await, Outcome::Delivered);
}

#[tokio::test]
async fn what_came_before_the_first_subscription_and_is_not_for_it_waits_no_longer_than_the_rest() {
    let (left, right) = (Place::new(), Place::new());
    let receiver = listen(&right, patient(Duration::from_millis(50))).await;
    let sender = left.dial(&right).await;
    let early = tracked(&sender, &right, 9, "nobody").await;
    within(async {
        while receiver.counters().received < 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;

    let _subscription = receiver.subscribe(Filter::all().kind(1));

    assert_eq!(within(early).await, Outcome::Failed(Reason::NoReceiver));
}

#[tokio::test]
async fn whoever_begins_to_receive_from_the_inbox_gets_what_waits() {
    let (left, right) = (Place::new(), Place::new());
    let (receiver, sender) = (listen(&right, patient(LONG)).await, left.dial(&right).await);
    let mut subscription = receiver.subscribe(Filter::all().kind(1));
    let unclaimed = tracked(&sender, &right, 2, "for the inbox").await;
    drop(tracked(&sender, &right, 1, "has passed").await);
    within(subscription.recv()).await.unwrap();

    assert_eq!(within(receiver.recv()).await.unwrap().payload, "for the inbox");
    drop(tokio::time::timeout(Duration::from_millis(1), receiver.recv()).await);

    assert_eq!(within(unclaimed).await, Outcome::Delivered);
}

#[tokio::test]
async fn more_than_a_quarter_of_the_inbox_is_refused_at_once() {
    let (left, right) = (Place::new(), Place::new());
    let receiver = listen(&right, |builder| patient(LONG)(builder).limits(inbox_of(12))).await;
    let sender = left.dial(&right).await;
    let _subscription = receiver.subscribe(Filter::all().kind(1));
    let mut receipts = Vec::new();

    for number in 0..4 {
        receipts.push(tracked(&sender, &right, 9, number.to_string()).await);
    }

    assert_eq!(within(receipts.pop().unwrap()).await, Outcome::Failed(Reason::NoReceiver));
    assert_eq!(sender.counters().sent.stored, 3);
}

#[tokio::test]
async fn a_peer_that_has_sent_more_than_may_wait_leaves_a_place_for_others() {
    let (left, other, right) = (Place::new(), Place::new(), Place::new());
    let receiver = listen(&right, |builder| patient(LONG)(builder).limits(inbox_of(4))).await;
    let (crowd, sender) = (left.dial(&right).await, other.dial(&right).await);
    let mut first = receiver.subscribe(Filter::all().kind(1));
    let waiting = tracked(&crowd, &right, 9, "waits").await;
    for _ in 0..4 {
        let refused = tracked(&crowd, &right, 9, "too much").await;
        assert_eq!(within(refused).await, Outcome::Failed(Reason::NoReceiver));
    }

    let of_other = tracked(&sender, &right, 9, "waits too").await;
    drop(tracked(&sender, &right, 1, "has passed").await);
    within(first.recv()).await.unwrap();
    let mut second = receiver.subscribe(Filter::all().kind(9));

    for text in ["waits", "waits too"] {
        assert_eq!(within(second.recv()).await.unwrap().payload, text);
    }
    commit(&mut second).await;
    assert_eq!((within(waiting).await, within(of_other).await), (Outcome::Delivered, Outcome::Delivered));
}

#[tokio::test]
async fn what_a_peer_had_in_the_inbox_takes_no_place_from_others() {
    let (left, other, right) = (Place::new(), Place::new(), Place::new());
    let receiver = listen(&right, |builder| patient(LONG)(builder).limits(inbox_of(4))).await;
    let (crowd, sender) = (left.dial(&right).await, other.dial(&right).await);
    for _ in 0..4 {
        drop(tracked(&crowd, &right, 9, "early").await);
    }
    within(async {
        while receiver.counters().received < 4 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;

    let mut first = receiver.subscribe(Filter::all().kind(1));
    let more = tracked(&crowd, &right, 9, "too much").await;
    let of_other = tracked(&sender, &right, 9, "waits too").await;
    drop(tracked(&sender, &right, 1, "has passed").await);
    within(first.recv()).await.unwrap();
    assert_eq!(within(more).await, Outcome::Failed(Reason::NoReceiver));
    let mut second = receiver.subscribe(Filter::all().kind(9));

    for text in ["early", "early", "early", "early", "waits too"] {
        assert_eq!(within(second.recv()).await.unwrap().payload, text);
    }
    commit(&mut second).await;
    assert_eq!(within(of_other).await, Outcome::Delivered);
}

#[tokio::test]
async fn a_large_message_is_refused_too() {
    let (left, right) = (Place::new(), Place::new());
    let receiver = listen(&right, patient(Duration::from_millis(50))).await;
    let sender = left.dial(&right).await;
    let _subscription = receiver.subscribe(Filter::all().kind(1));

    let refused = tracked(&sender, &right, 8, vec![0x5A; 1 << 20]).await;

    assert_eq!(within(refused).await, Outcome::Failed(Reason::NoReceiver));
}

#[tokio::test]
async fn a_large_message_waits_too() {
    let (left, right) = (Place::new(), Place::new());
    let (receiver, sender) = (listen(&right, patient(LONG)).await, left.dial(&right).await);
    let mut subscription = receiver.subscribe(Filter::all().kind(1));
    let large = vec![0x5A; 1 << 20];
    let claimed = tracked(&sender, &right, 9, large.clone()).await;
    drop(tracked(&sender, &right, 1, "has passed").await);
    within(subscription.recv()).await.unwrap();
    let mut late = receiver.subscribe_streams(Filter::all().kinds(8..=9));

    let Some(hyphal::Incoming::Message(message)) = within(late.recv()).await else {
        panic!("a whole message")
    };
    assert_eq!((message.kind, message.payload.len()), (9, large.len()));
    drop(tokio::time::timeout(Duration::from_millis(1), late.recv()).await);
    assert_eq!(within(claimed).await, Outcome::Delivered);
}

fn patient(unclaimed: Duration) -> impl FnOnce(NodeBuilder) -> NodeBuilder {
    let mut timeouts = timeouts();
    timeouts.unclaimed = unclaimed;
    move |builder| builder.timeouts(timeouts)
}

/// An inbox, and so a waiting room, of so many messages.
fn inbox_of(messages: usize) -> hyphal::Limits {
    let mut limits = hyphal::Limits::default();
    limits.queue_batches = messages;
    limits
}

async fn listen(place: &Place, configure: impl FnOnce(NodeBuilder) -> NodeBuilder) -> Node {
    configure(place.builder().listen(place.address.as_str())).start().await.unwrap()
}

async fn tracked(sender: &Node, to: &Place, kind: u16, payload: impl Into<hyphal::Payload<'_>>) -> Receipt {
    sender.send_direct_tracked(to.id(), kind, payload, guaranteed()).await.unwrap().1
}

/// Comes back for more, which commits what was taken.
async fn commit(subscription: &mut hyphal::Subscription) {
    drop(tokio::time::timeout(Duration::from_millis(1), subscription.recv()).await);
}

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(3600);
