//! Who is in the table: added, removed, strangers that come and go, and limits.

use super::*;

#[test]
fn removing_a_peer_closes_its_session_tells_it_and_frees_its_place() {
    let mut node = Node::new(own(), Config::default(), FixedTable::<1>::new(), rng());
    node.add_peer(at(0), id(1), PeerConfig::default()).unwrap();
    actions(&mut node);
    node.handle_peer_up(at(0), id(1), dialled(7));
    events(&mut node);

    node.remove_peer(&id(1)).unwrap();

    assert_eq!(node.peers().count(), 0);
    let reason = Reason::PeerRemoved;
    assert_eq!(actions(&mut node), [Action::Close { id: id(1), token: 7, reason }]);
    assert_eq!(
        events(&mut node),
        [
            NodeEvent::PeerDown { id: id(1), reason },
            NodeEvent::PeerRemoved { id: id(1), removal: Removal::ByUser },
        ]
    );
    assert_eq!(node.judge(&id(1), false, &NO_CERTIFICATE), Err(Reason::Untrusted));
    assert_eq!(node.add_peer(at(1), id(2), PeerConfig::default()), Ok(()));
}

#[test]
fn a_dial_that_succeeds_after_its_peer_was_removed_is_closed() {
    let mut node = node(Trust::Open);
    node.add_peer(at(0), id(1), PeerConfig::default()).unwrap();
    actions(&mut node);
    node.remove_peer(&id(1)).unwrap();

    let standing = node.handle_peer_up(at(1), id(1), dialled(1));

    assert_eq!(standing, Standing::CloseNew(Reason::PeerRemoved));
}

#[test]
fn a_peer_removed_and_added_again_while_it_is_dialled_is_not_dialled_twice() {
    let mut node = pinned_with(&[1]);
    assert_eq!(actions(&mut node), [dial(1)]);
    node.remove_peer(&id(1)).unwrap();
    while node.poll_event().is_some() {}

    node.add_peer(at(1), id(1), PeerConfig::default()).unwrap();

    assert_eq!(actions(&mut node), []);
    assert_eq!(node.handle_peer_up(at(2), id(1), dialled(1)), Standing::Keep);
}

#[test]
fn a_dial_of_the_older_addition_that_fails_schedules_the_next_one() {
    let mut node = dialling(1);
    node.remove_peer(&id(1)).unwrap();
    node.add_peer(at(1), id(1), PeerConfig::default()).unwrap();

    node.handle_dial_failed(at(2), &id(1), Reason::Unreachable);

    assert!(matches!(node.peer(&id(1)).unwrap().dial, DialStatus::At(_)));
}

#[test]
fn a_removed_peer_keeps_its_place_until_its_dial_is_answered_for() {
    for succeeds in [true, false] {
        let mut node = Node::new(own(), Config::default(), FixedTable::<1>::new(), rng());
        node.add_peer(at(0), id(1), PeerConfig::default()).unwrap();
        actions(&mut node);
        node.remove_peer(&id(1)).unwrap();
        while node.poll_event().is_some() {}
        assert_eq!(node.add_peer(at(1), id(2), PeerConfig::default()), Err(AddPeerError::Full));

        if succeeds {
            node.handle_peer_up(at(2), id(1), dialled(1));
        } else {
            node.handle_dial_failed(at(2), &id(1), Reason::Unreachable);
        }

        assert_eq!(node.add_peer(at(3), id(2), PeerConfig::default()), Ok(()));
    }
}

#[test]
fn a_peer_added_again_before_its_close_was_polled_still_has_its_old_session_closed() {
    let mut node = dialling(1);
    node.handle_peer_up(at(0), id(1), dialled(7));
    node.remove_peer(&id(1)).unwrap();
    node.add_peer(at(1), id(1), PeerConfig::default()).unwrap();

    let standing = node.handle_peer_up(at(1), id(1), dialled(8));

    assert_eq!(standing, Standing::ReplaceOld(7));
    assert_eq!(actions(&mut node), []);
}

#[test]
fn a_stranger_becomes_an_entry_that_is_never_dialled_and_goes_after_a_day_down() {
    let mut node = node(Trust::Open);
    node.handle_peer_up(at(0), id(1), accepted(1));
    node.handle_peer_down(at(10), &id(1), 1, Reason::LinkLost);
    events(&mut node);
    assert_eq!(node.peer(&id(1)).unwrap().config, None);

    let mut told = vec![];
    while let Some(deadline) = node.poll_timeout() {
        node.handle_timeout(deadline);
        assert_eq!(actions(&mut node), []);
        told.extend(events(&mut node));
    }

    assert_eq!(told.last(), Some(&NodeEvent::PeerRemoved { id: id(1), removal: Removal::Unhealthy }));
    assert_eq!(node.peers().count(), 0);
}

#[test]
fn a_configured_peer_stays_in_the_list_however_long_it_is_down() {
    let mut node = node(Trust::Pinned);
    node.add_peer(at(0), id(1), PeerConfig { dial: false, ..PeerConfig::default() }).unwrap();

    node.handle_timeout(at(40));
    node.handle_timeout(at(100_000_000));

    assert_eq!(node.peer(&id(1)).unwrap().health, health::State::Down);
    assert_eq!(node.poll_timeout(), None);
}

#[test]
fn a_full_table_gives_an_absent_strangers_place_to_a_configured_peer_and_counts_it() {
    let config = Config { trust: Trust::Open, ..Config::default() };
    let mut node = Node::new(own(), config, FixedTable::<2>::new(), rng());
    node.handle_peer_up(at(0), id(1), accepted(1));
    node.handle_peer_up(at(0), id(2), accepted(2));
    let while_connected = node.add_peer(at(1), id(3), PeerConfig::default());
    node.handle_peer_down(at(2), &id(1), 1, Reason::LinkLost);
    events(&mut node);

    let after = node.add_peer(at(3), id(3), PeerConfig::default());

    assert_eq!((while_connected, after), (Err(AddPeerError::Full), Ok(())));
    assert_eq!(node.peers().map(|peer| peer.id).collect::<Vec<_>>(), [id(2), id(3)]);
    assert_eq!(node.evicted(), 1);
    assert_eq!((node.poll_evicted(), node.poll_evicted()), (Some(id(1)), None));
    assert_eq!(node.judge(&id(4), false, &NO_CERTIFICATE), Err(Reason::Limit));
}

#[test]
fn errors_change_nothing() {
    let mut node = Node::new(own(), Config::default(), FixedTable::<1>::new(), rng());
    node.add_peer(at(0), id(1), PeerConfig::default()).unwrap();
    let before = std::format!("{node:?}");

    assert_eq!(node.add_peer(at(1), own(), PeerConfig::default()), Err(AddPeerError::OwnId));
    assert_eq!(node.add_peer(at(1), id(2), PeerConfig::default()), Err(AddPeerError::Full));
    assert_eq!(node.remove_peer(&id(2)), Err(UnknownPeer));
    assert_eq!(node.update_peer_health(at(1), &id(2), Outcome::Failure), Err(UnknownPeer));

    assert_eq!(std::format!("{node:?}"), before);
}

#[cfg(feature = "alloc")]
#[test]
fn a_growing_table_keeps_thousands_of_peers_in_order_up_to_its_maximum() {
    let mut node = Node::new(own(), Config::default(), GrowingTable::new(3000), rng());
    let many = |n: u32| {
        let mut bytes = [1; NodeId::LEN];
        bytes[..4].copy_from_slice(&n.wrapping_mul(0x9E37_79B1).to_be_bytes());
        NodeId::from_bytes(bytes)
    };

    for n in 0..3000 {
        node.add_peer(at(0), many(n), PeerConfig::default()).unwrap();
    }

    assert_eq!(node.add_peer(at(0), many(3000), PeerConfig::default()), Err(AddPeerError::Full));
    assert!(node.peers().is_sorted_by(|a, b| a.id < b.id));
    assert!((0..3000).all(|n| node.peer(&many(n)).is_some()));
}
