//! Nodes behave alike whatever carries their links.

use hyphal::address::{BadEndpoint, Endpoint};
use hyphal::{AddPeerError, Outgoing, Reason, SendOptions, StartError};

use crate::pair::{builder, dialling, find, first_reason, identity, up, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_one_process_exchange_messages_in_memory() {
    let left = builder().listen("memory://exchange").start().await.unwrap();
    let mut events = left.events();
    let right = dialling(builder(), &left).await;
    up(&mut events, right.id()).await;
    assert_eq!(left.local_addrs(), [Endpoint::Memory("exchange".to_owned())]);

    let messages = (0..1000_u32).map(|number| Outgoing::new(1, number.to_be_bytes().repeat(1000)));
    assert_eq!(within(right.send_batch(left.id(), messages)).await, Ok(1000));
    for number in 0..1000_u32 {
        let message = within(left.recv()).await.unwrap();
        assert_eq!((message.source, &message.payload[..4]), (right.id(), &number.to_be_bytes()[..]));
    }
    left.send_direct(right.id(), 1, "back", SendOptions::default()).await.unwrap();
    assert_eq!(within(right.recv()).await.unwrap().payload, "back");

    assert_eq!(within(right.ping(left.id())).await.map(|_| ()), Ok(()));
    assert_eq!((left.counters().accepted, right.counters().dialled), (1, 1));
}

#[tokio::test]
async fn a_node_that_ends_in_memory_says_so_and_is_found_again_by_its_name() {
    let seed = *identity().seed().unwrap();
    let restarting =
        || builder().identity(hyphal::Identity::from_seed(&seed).unwrap()).listen("memory://restart");
    let first = restarting().start().await.unwrap();
    let id = first.id();
    let other = builder().peer(id, "memory://restart").start().await.unwrap();
    let mut events = other.events();
    if other.peers().await[0].status.session.is_none() {
        up(&mut events, id).await;
    }

    within(first.shutdown(std::time::Duration::ZERO)).await;
    let down = find(&mut events, |event| matches!(event, hyphal::Event::PeerDown { .. })).await;
    let second = restarting().start().await.unwrap();
    up(&mut events, id).await;

    assert_eq!(down, hyphal::Event::PeerDown { peer: id, reason: Reason::Shutdown });
    assert_eq!(second.id(), id);
}

#[tokio::test]
async fn a_name_in_memory_where_nobody_listens_is_unreachable() {
    let node = builder().peer(identity().id(), "memory://nobody-there").start().await.unwrap();

    let reason = first_reason(&node).await;

    assert_eq!(reason, Reason::Unreachable);
}

#[tokio::test]
async fn a_name_in_memory_is_taken_by_one_node() {
    let _first = builder().listen("memory://taken").start().await.unwrap();

    let error = builder().listen("memory://taken").start().await.unwrap_err();

    assert!(matches!(error, StartError::Listen { .. }));
    assert_eq!(
        error.to_string(),
        "cannot listen on memory://taken: the name is in use; stop the other node or choose another name"
    );
}

#[tokio::test]
async fn a_node_listens_at_several_endpoints_of_any_kind() {
    let left = builder().listen("127.0.0.1:0").listen("memory://several").start().await.unwrap();
    let mut events = left.events();

    for endpoint in left.local_addrs().to_vec() {
        let right = builder().peer(left.id(), endpoint).start().await.unwrap();
        up(&mut events, right.id()).await;
    }

    assert_eq!(left.counters().accepted, 2);
}

#[tokio::test]
async fn a_text_that_is_no_endpoint_is_refused_at_the_start() {
    let error = builder().listen("carrier-pigeon://home").start().await.unwrap_err();

    assert!(
        matches!(&error, StartError::Endpoint(BadEndpoint::Scheme(scheme)) if scheme == "carrier-pigeon")
    );
    assert!(error.to_string().contains("there are tcp, udp, serial and memory"), "{error}");
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_dialled_is_refused_at_once() {
    let node = builder().start().await.unwrap();

    let added = node.add_peer(identity().id(), "127.0.0.1:0".parse().ok()).await;

    assert_eq!(added, Err(AddPeerError::Endpoint));
}
