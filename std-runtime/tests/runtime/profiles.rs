//! What two nodes are decides how they talk; the listing of peers says the profile, and where it fell back.

use hyphal::NodeType::{Hyphae, Rhizomorph, Sclerotia};
use hyphal::compression::{Methods, Rule};
use hyphal::profile::{Compression, Profile, Shortfall};
use hyphal::{Node, NodeBuilder, Reliability, Security, SendOptions, Terms};

use crate::pair::{between, builder, dialling, listening, up, within};

#[tokio::test]
async fn every_pair_of_types_comes_up_with_its_profile_at_both_ends_and_talks() {
    let types = [Sclerotia, Rhizomorph, Hyphae];
    for (one, other) in types.into_iter().flat_map(|one| types.map(|other| (one, other))) {
        let (left, right) = pair_of(builder().node_type(one), builder().node_type(other)).await;
        let profile = Profile::of(one, other);

        left.send_direct(right.id(), 0, "hello", SendOptions::default()).await.unwrap();

        assert_eq!(within(right.recv()).await.unwrap().payload, "hello");
        for (node, peer) in [(&left, &right), (&right, &left)] {
            let terms = terms(node, peer).await;
            assert_eq!((terms.profile, terms.security), (profile, profile.numbers().security));
            assert_eq!((terms.has_fallen_back(), node.terms(peer.id())), (false, Some(terms)));
        }
    }
}

#[tokio::test]
async fn an_adaptive_pair_says_which_end_made_it_fall_back_and_why() {
    let weak = builder().node_type(Rhizomorph).accept_compressed(Methods::LZ4);

    let (server, relay) = pair_of(builder(), weak).await;

    let (at_server, at_relay) = (terms(&server, &relay).await, terms(&relay, &server).await);
    assert!(at_server.peer_shortfalls.has(Shortfall::NoZstandard) && at_server.own_shortfalls.is_empty());
    assert!(at_relay.own_shortfalls.has(Shortfall::NoZstandard) && at_relay.peer_shortfalls.is_empty());
    assert_eq!((at_server.compression, at_relay.compression), (Compression::Low, Compression::Low));
    assert_eq!(at_server.to_string(), "Adaptive, fallen back (the peer takes no Zstandard: compression Low)");
}

#[tokio::test]
async fn the_terms_of_the_last_session_stay_in_the_listing_of_an_absent_peer() {
    let (left, right) = pair_of(builder(), builder().node_type(Hyphae)).await;
    let (id, mut events) = (right.id(), left.events());

    right.shutdown(std::time::Duration::ZERO).await;

    crate::pair::find(&mut events, |event| matches!(event, hyphal::Event::PeerDown { .. })).await;
    assert_eq!(left.terms(id).unwrap().profile, Profile::Lightweight);
    let nobody = crate::pair::identity().id();
    assert_eq!(left.terms(nobody), None);
}

#[tokio::test]
async fn security_is_raised_where_it_is_configured_and_lowered_nowhere() {
    let device = builder().node_type(Hyphae).security(Security::High);

    let (server, device) = pair_of(builder(), device).await;

    assert_eq!(terms(&device, &server).await.security, Security::High);
    assert_eq!(terms(&server, &device).await.security, Security::Minimal);
    let (left, right) = pair_of(builder().security(Security::Minimal), builder()).await;
    assert_eq!(terms(&left, &right).await.security, Security::Standard);
}

#[tokio::test]
async fn what_a_sender_leaves_open_is_as_reliable_as_the_profile_says() {
    for (other, of_default) in [(Hyphae, Reliability::BestEffort), (Sclerotia, Reliability::High)] {
        let (left, right) = pair_of(builder(), builder().node_type(other)).await;
        let (id, mut events) = (right.id(), left.events());
        for options in [
            SendOptions::default(),
            SendOptions::default().reliability(Reliability::BestEffort),
            SendOptions::default().reliability(Reliability::High),
        ] {
            left.send_direct(id, 0, "x", options).await.unwrap();
        }
        // Taken, but nobody has come back for more: none of them is acknowledged.
        assert_eq!(within(right.recv_batch()).await.unwrap().len(), 3);

        drop(right);

        crate::pair::find(&mut events, |event| matches!(event, hyphal::Event::PeerDown { .. })).await;
        let sent = left.counters().sent;
        let kept = 1 + u64::from(of_default == Reliability::High);
        assert_eq!((sent.queued, sent.unconfirmed), (kept, 3 - kept), "{other:?}: {sent:?}");
    }
}

#[tokio::test]
async fn a_type_named_with_auto_is_compressed_as_the_profile_says_to_each_peer() {
    let hub = listening(builder().compress(Rule::auto(0x1000..=0x1000).unwrap())).await;
    let mut events = hub.events();
    let server = dialling(builder(), &hub).await;
    up(&mut events, server.id()).await;
    let device = dialling(builder().node_type(Hyphae), &hub).await;
    up(&mut events, device.id()).await;
    // Shorter than what is worth a try between servers, and longer than that for a device.
    let text = "a line as the one before; ".repeat(20);
    assert!((Compression::High.shortest()..Compression::Low.shortest()).contains(&text.len()));

    let sent = hub.broadcast(0x1000, text.as_str(), SendOptions::default()).await.unwrap();

    assert_eq!(sent.accepted.len(), 2);
    for node in [&server, &device] {
        assert_eq!(within(node.recv()).await.unwrap().payload, text);
    }
    assert_eq!(server.counters().compressed_received.messages, 0);
    assert_eq!(device.counters().compressed_received.messages, 1);
}

/// Two nodes, of which the second dials, with a session between them.
async fn pair_of(left: NodeBuilder, right: NodeBuilder) -> (Node, Node) {
    between(listening(left).await, right).await
}

/// What the listing of `node` says about `peer`.
async fn terms(node: &Node, peer: &Node) -> Terms {
    let listed = node.peers().await;
    listed.iter().find(|info| info.status.id == peer.id()).unwrap().terms.unwrap()
}
