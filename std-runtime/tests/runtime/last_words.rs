//! What a peer said last is heard, even by a node that got no turn until long after the peer had gone.

use std::thread;
use std::time::Duration;

use hyphal::{Event, Outgoing, Reason};

use crate::pair::{builder, find, listening, sending};

/// The first write to a connection that the peer has left breaks it, and what came before waits to be read.
#[test]
fn a_node_that_stood_still_while_its_peer_left_and_has_much_to_say_hears_why() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (tell, told) = tokio::sync::oneshot::channel();
    let (leave, leaves) = tokio::sync::oneshot::channel::<()>();
    let friend = thread::spawn(move || {
        runtime().block_on(async {
            let friend = listening(builder()).await;
            let mut events = friend.events();
            tell.send((friend.id(), friend.local_addrs()[0].clone())).unwrap();
            find(&mut events, |event| matches!(event, Event::PeerUp { .. })).await;
            leaves.await.unwrap();
            friend.shutdown(Duration::ZERO).await;
        });
    });
    runtime().block_on(async {
        let (peer, endpoint) = told.await.unwrap();
        let node = builder().peer(peer, endpoint).start().await.unwrap();
        sending(&node, peer).await;
        let mut events = node.events();
        leave.send(()).unwrap();
        // Nothing of the node moves meanwhile.
        friend.join().unwrap();

        let payload = vec![1; 60 * 1024];
        assert_eq!(node.send_batch(peer, (0..5).map(|_| Outgoing::new(1, &payload))).await, Ok(5));

        let down = find(&mut events, |event| matches!(event, Event::PeerDown { .. })).await;
        assert_eq!(down, Event::PeerDown { peer, reason: Reason::Shutdown });
    });
}
