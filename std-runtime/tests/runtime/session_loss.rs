//! A peer that goes away is noticed, and a session comes back by itself.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use hyphal::{Event, Filter, HealthState, Identity, Limits, Outcome, Reason, Reliability, SendOptions};
use tokio::sync::oneshot;

use crate::page::until;
use crate::pair::{builder, dialling, find, identity, listening, pair, up, within};
use crate::port::Port;
use crate::relay::Relay;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_node_is_noticed_and_found_again_at_its_address() {
    let seed = *identity().seed().unwrap();
    let port = Port::reserve();
    let restarting = || builder().identity(Identity::from_seed(&seed).unwrap()).listen(port.address);
    let first = restarting().start().await.unwrap();
    let other = dialling(builder(), &first).await;
    let mut events = other.events();
    within(async {
        while other.peers().await[0].status.session.is_none() {
            events.recv().await;
        }
    })
    .await;

    drop(first);
    let id = Identity::from_seed(&seed).unwrap().id();
    find(&mut events, |event| matches!(event, Event::PeerDown { peer, .. } if *peer == id)).await;
    find(&mut events, |event| matches!(event, Event::Health { to: HealthState::Suspect, .. })).await;
    // The tasks of a dropped node end by and by, and its listener with them.
    let second = within(async {
        loop {
            match restarting().start().await {
                Ok(node) => return node,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    up(&mut events, id).await;

    other.send_direct(id, 1, "again", SendOptions::default()).await.unwrap();
    assert_eq!(within(second.recv()).await.unwrap().payload, "again");
}

#[tokio::test]
async fn when_a_session_ends_what_was_not_acknowledged_is_unconfirmed_or_as_high_waits_for_the_next() {
    let (left, right) = pair().await;
    let options = |reliability| SendOptions::default().reliability(reliability);
    let (_, once) =
        left.send_direct_tracked(right.id(), 1, "x", options(Reliability::BestEffort)).await.unwrap();
    left.send_direct(right.id(), 1, "y", options(Reliability::High)).await.unwrap();
    within(right.recv()).await.unwrap();

    drop(right);

    assert_eq!(within(once).await, Outcome::Unconfirmed);
    let sent = left.counters().sent;
    assert_eq!((sent.unconfirmed, sent.queued), (1, 1));
}

#[tokio::test]
async fn what_was_admitted_and_waits_for_a_slow_application_outlives_the_session_and_comes_once() {
    let mut limits = Limits::default();
    limits.queue_batches = 1;
    let right = listening(builder().limits(limits)).await;
    let relay = Relay::to(right.local_addrs()[0].socket_addr().unwrap()).await;
    let left = builder().peer(right.id(), relay.address.to_string()).start().await.unwrap();
    let mut subscription = right.subscribe(Filter::all());
    let mut receipts = Vec::new();
    for number in 0..5_u8 {
        // Each in a record of its own: one fits the queue, and the others wait for room.
        let high = SendOptions::default().reliability(Reliability::High);
        receipts.push(left.send_direct_tracked(right.id(), 1, [number].to_vec(), high).await.unwrap().1);
        within(async {
            while right.counters().received <= u64::from(number) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    // The dialling end, which comes back once it has noticed. The other one may notice only that the next session takes the place.
    let mut events = left.events();
    relay.cut_all();
    find(&mut events, |event| matches!(event, Event::PeerDown { .. })).await;
    up(&mut events, right.id()).await;

    // They were there, so the next session brings duplicates only, which are acknowledged.
    for receipt in receipts {
        assert_eq!(within(receipt).await, Outcome::Delivered);
    }
    for number in 0..5 {
        assert_eq!(within(subscription.recv()).await.unwrap().payload, [number].to_vec());
    }
    assert_eq!(
        (right.counters().received, right.counters().received_dropped),
        (5, vec![(Reason::Duplicate, 5)])
    );
}

#[tokio::test]
async fn a_removed_peer_hears_why_and_its_queue_is_dropped() {
    let (left, right) = pair().await;
    let mut events = right.events();

    left.remove_peer(right.id()).await.unwrap();

    let down = find(&mut events, |event| matches!(event, Event::PeerDown { .. })).await;
    assert_eq!(down, Event::PeerDown { peer: left.id(), reason: Reason::PeerRemoved });
    assert!(left.send_direct(right.id(), 1, "x", SendOptions::default()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_dial_each_other_end_up_with_one_session() {
    let left = listening(builder()).await;
    let right = listening(builder()).await;
    let (mut of_left, mut of_right) = (left.events(), right.events());

    left.add_peer(right.id(), Some(right.local_addrs()[0].clone())).await.unwrap();
    right.add_peer(left.id(), Some(left.local_addrs()[0].clone())).await.unwrap();
    up(&mut of_left, right.id()).await;
    up(&mut of_right, left.id()).await;

    // Each end knows of one session, it is the same one (dialled by one of them, accepted by the other), and it carries.
    // While the dials cross, the ends may hold different ones for a moment.
    within(async {
        loop {
            let ends = (left.peers().await[0].status.session, right.peers().await[0].status.session);
            if let (Some(of_left), Some(of_right)) = ends
                && of_left.dialled != of_right.dialled
                && left.ping(right.id()).await.is_ok()
                && right.ping(left.id()).await.is_ok()
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A host that stands still, as a laptop that sleeps or a virtual machine that is moved, must not lose sessions whose peers
/// went on speaking: what they said waits to be read when the host goes on.
#[test]
fn a_host_that_stood_still_keeps_the_sessions_whose_bytes_wait() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // The friend lives on a thread of its own, and speaks when the node has come to a standstill.
    let (tell, told) = oneshot::channel();
    let (stand_still, stands_still) = oneshot::channel();
    let (speak, spoken) = oneshot::channel();
    let (end, ended) = oneshot::channel::<()>();
    let friend = thread::spawn(move || {
        runtime().block_on(async {
            let friend = listening(builder()).await;
            tell.send((friend.id(), friend.local_addrs()[0].clone())).unwrap();
            let node = stands_still.await.unwrap();
            let before = friend.counters().bytes_sent;
            friend.send_direct(node, 1, "meanwhile", SendOptions::default().ttl(0)).await.unwrap();
            within(until(|| friend.counters().bytes_sent > before)).await;
            speak.send(()).unwrap();
            ended.await.unwrap();
            friend.counters()
        })
    });
    let frozen = runtime();
    let (node, peer) = frozen.block_on(async {
        let (id, endpoint) = told.await.unwrap();
        let node = builder().peer(id, endpoint).start().await.unwrap();
        let mut events = node.events();
        if node.peers().await[0].status.session.is_none() {
            up(&mut events, id).await;
        }
        (node, id)
    });

    stand_still.send(node.id()).unwrap();
    spoken.blocking_recv().unwrap();

    let counters = frozen.block_on(async {
        // Asked first, so that the link runs before the runtime has looked for bytes.
        let mut ping = pin!(node.ping(peer));
        assert!(poll_fn(|cx| Poll::Ready(ping.as_mut().poll(cx).is_pending())).await);
        // Longer than the silence that ends a session, in which the node's tasks do not run.
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(300)).await;
        tokio::time::resume();
        let rtt = within(ping).await;
        assert!(rtt.is_ok(), "{rtt:?}, {:?}", node.counters());
        assert_eq!(within(node.recv()).await.unwrap().payload, "meanwhile");
        node.counters()
    });
    assert_eq!((counters.dialled, counters.closed), (1, vec![]));
    end.send(()).unwrap();
    assert_eq!(friend.join().unwrap().closed, []);
}
