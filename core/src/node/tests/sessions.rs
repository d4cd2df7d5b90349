//! Which of several sessions with one peer stays, and what is told of those that come and go.

use super::*;

#[test]
fn reports_count_messages_even_of_an_ended_session_but_only_the_present_one_degrades() {
    let mut node = node(Trust::Open);
    node.handle_peer_up(at(0), id(1), accepted(1));
    node.handle_peer_up(at(1), id(1), accepted(2));
    let bad = LinkReport { missed_heartbeats: 2, confirmed: 3, unconfirmed: 4, ..LinkReport::default() };

    node.handle_report(&id(1), 1, &bad);
    let after_old = node.peer(&id(1)).unwrap();
    node.handle_report(&id(1), 2, &bad);
    let after_new = node.peer(&id(1)).unwrap();

    assert_eq!((after_old.confirmed, after_old.unconfirmed), (3, 4));
    assert_eq!(after_old.health, health::State::Healthy);
    assert_eq!(after_new.health, health::State::Degraded);
}

#[test]
fn a_session_that_came_and_went_between_polls_is_told_as_both() {
    let mut node = node(Trust::Open);
    node.handle_peer_up(at(0), id(1), accepted(1));

    node.handle_peer_down(at(1), &id(1), 1, Reason::Silent);

    let told = events(&mut node);
    assert_eq!(
        told[..2],
        [NodeEvent::PeerUp { id: id(1) }, NodeEvent::PeerDown { id: id(1), reason: Reason::Silent }]
    );
}

#[test]
fn the_end_of_a_replaced_session_changes_nothing() {
    let mut node = node(Trust::Open);
    node.handle_peer_up(at(0), id(1), accepted(1));
    let standing = node.handle_peer_up(at(1), id(1), accepted(2));
    let before = node.peer(&id(1));

    node.handle_peer_down(at(2), &id(1), 1, Reason::Replaced);

    assert_eq!(standing, Standing::ReplaceOld(1));
    assert_eq!(node.peer(&id(1)), before);
}

#[test]
fn another_boot_of_the_peer_takes_the_place_of_the_old_session_whoever_dialled() {
    for dialled in [true, false] {
        let mut node = node(Trust::Open);
        node.add_peer(at(0), id(1), PeerConfig::default()).unwrap();
        node.handle_peer_up(at(0), id(1), session(1, !dialled));

        let standing = node.handle_peer_up(at(1), id(1), SessionRef { boot_id: 2, ..session(2, dialled) });

        assert_eq!(standing, Standing::ReplaceOld(1));
    }
}

#[test]
fn of_two_young_sessions_that_crossed_the_one_of_the_larger_initiator_retires() {
    for (peer, dialled_wins) in [(id(1), own() < id(1)), (id(255), own() < id(255))] {
        for dialled_first in [true, false] {
            let mut node = node(Trust::Open);
            node.add_peer(at(0), peer, PeerConfig::default()).unwrap();
            node.handle_peer_up(at(0), peer, session(1, dialled_first));

            let standing = node.handle_peer_up(at(1), peer, session(2, !dialled_first));

            let expected =
                if dialled_first == dialled_wins { Standing::RetireNew } else { Standing::RetireOld(1) };
            assert_eq!(standing, expected);
            assert_eq!(node.sessions(), 1);
        }
    }
}

#[test]
fn a_session_too_old_to_have_crossed_gives_way_whoever_dialled() {
    for (dialled, peer) in [(true, id(1)), (true, id(255)), (false, id(1)), (false, id(255))] {
        let mut node = node(Trust::Open);
        node.add_peer(at(0), peer, PeerConfig::default()).unwrap();
        node.handle_peer_up(at(0), peer, session(1, !dialled));

        let later = at(0).after(CROSSING).after(Duration::from_millis(1));
        let standing = node.handle_peer_up(later, peer, session(2, dialled));

        assert_eq!(standing, Standing::ReplaceOld(1));
    }
}
