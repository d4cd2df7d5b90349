//! A peer that goes away is noticed, and a session comes back by itself.

use hyphal::{Event, HealthState, Identity, Outcome, Reason, SendOptions};

use crate::pair::{builder, dialling, find, identity, listening, pair, up, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_node_is_noticed_and_found_again_at_its_address() {
    let seed = *identity().seed();
    let restarting = || builder().identity(Identity::from_seed(&seed).unwrap());
    let first = listening(restarting()).await;
    let address = first.local_addrs()[0];
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
            match restarting().listen(address).start().await {
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
async fn what_was_sent_and_not_acknowledged_is_unconfirmed_when_the_session_ends() {
    let (left, right) = pair().await;
    let (_, receipt) = left.send_direct_tracked(right.id(), 1, "x", SendOptions::default()).await.unwrap();
    within(right.recv()).await.unwrap();

    drop(right);

    assert_eq!(within(receipt).await, Outcome::Unconfirmed);
    assert_eq!(left.counters().sent.unconfirmed, 1);
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

    left.add_peer(right.id(), Some(right.local_addrs()[0].to_string())).await.unwrap();
    right.add_peer(left.id(), Some(left.local_addrs()[0].to_string())).await.unwrap();
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
