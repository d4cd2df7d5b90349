//! What a session leaves for the next one: whom a hint names, once, and for how long.

use super::*;

#[test]
fn a_dial_names_the_hint_of_the_session_before_it_once() {
    let mut node = dialling(1);
    node.handle_peer_up(at(0), id(1), with_hints(dialled(1), 1));
    node.handle_peer_down(at(20), &id(1), 1, Reason::LinkLost);

    assert_eq!(next_hint(&mut node, at(60)), Some(hint(1)));
    node.handle_dial_failed(at(60), &id(1), Reason::HandshakeTimeout);
    assert_eq!(next_hint(&mut node, at(120)), None);
}

#[test]
fn a_hint_that_nobody_was_reached_to_hear_is_named_again() {
    let mut node = dialling(1);
    node.handle_peer_up(at(0), id(1), with_hints(dialled(1), 1));
    node.handle_peer_down(at(20), &id(1), 1, Reason::LinkLost);

    for later in 1..4 {
        assert_eq!(next_hint(&mut node, at(200 * later)), Some(hint(1)));
        node.handle_dial_failed(at(200 * later), &id(1), Reason::Unreachable);
    }
}

#[test]
fn a_hint_of_the_peer_is_known_once_and_so_is_that_of_its_newest_session_alone() {
    let mut node = pinned_with(&[1, 2]);
    node.handle_peer_up(at(0), id(1), with_hints(accepted(1), 1));
    node.handle_peer_up(at(0), id(2), with_hints(accepted(2), 3));

    assert_eq!(node.take_hint(&hint(1)), None, "that is our own");
    assert_eq!(node.take_hint(&hint(2)), Some(known(1)));
    assert_eq!(node.take_hint(&hint(2)), None);

    node.handle_peer_up(at(30), id(2), with_hints(accepted(3), 5));
    assert_eq!(node.take_hint(&hint(4)), None);
    assert_eq!(node.take_hint(&hint(6)), Some(known(2)));
}

#[test]
fn a_session_that_is_not_kept_leaves_no_hints() {
    let own_dials_win = own() < id(1);
    let mut node = pinned_with(&[1]);
    let (kept, lost) = if own_dials_win { (dialled(1), accepted(2)) } else { (accepted(1), dialled(2)) };
    node.handle_peer_up(at(0), id(1), with_hints(kept, 1));

    let standing = node.handle_peer_up(at(1), id(1), with_hints(lost, 3));

    assert_eq!(standing, Standing::RetireNew);
    assert_eq!((node.take_hint(&hint(4)), node.take_hint(&hint(2))), (None, Some(known(1))));
}

#[test]
fn hints_live_as_long_as_their_session_and_a_day() {
    const DAY: u64 = 24 * 60 * 60;
    for (later, owner) in [(DAY - 1, Some(known(1))), (DAY, None)] {
        let mut node = pinned_with(&[1]);
        node.handle_peer_up(at(0), id(1), with_hints(accepted(1), 1));
        node.handle_timeout(at(3 * DAY));
        node.handle_peer_down(at(3 * DAY), &id(1), 1, Reason::Worn);

        node.handle_timeout(at(3 * DAY + later));

        assert_eq!(node.take_hint(&hint(2)), owner);
    }
}

#[test]
fn hints_are_forgotten_where_the_ends_disagree_or_the_peers_process_ends() {
    for reason in [Reason::PeerRemoved, Reason::Untrusted, Reason::Network, Reason::Shutdown] {
        let mut node = pinned_with(&[1]);
        node.handle_peer_up(at(0), id(1), with_hints(accepted(1), 1));

        node.handle_peer_down(at(1), &id(1), 1, reason);

        assert_eq!(node.take_hint(&hint(2)), None, "{reason:?}");
    }
    let mut node = pinned_with(&[1]);
    node.handle_peer_up(at(0), id(1), with_hints(accepted(1), 1));
    node.remove_peer(&id(1)).unwrap();
    assert_eq!(node.take_hint(&hint(2)), None);
}

#[test]
fn a_listing_shows_no_hints() {
    let mut node = pinned_with(&[1]);

    node.handle_peer_up(at(0), id(1), with_hints(accepted(1), 1));

    assert_eq!(node.peer(&id(1)).unwrap().session, Some(accepted(1)));
}

/// The hint of the dial that is due by `now`.
fn next_hint(node: &mut TestNode, now: Instant) -> Option<Hint> {
    node.handle_timeout(now);
    match actions(node)[..] {
        [Action::Dial { resumption, .. }] => resumption.map(|resumption| {
            assert_eq!(resumption.peer, known(1));
            resumption.hint
        }),
        ref other => panic!("{other:?}"),
    }
}
