//! The behaviour of [`Node`] as sentences, and its laws over random sequences of operations.

use super::*;
use crate::{
    backoff,
    ids::Hints,
    recovery::{Recovery, recover_from_error},
    time::Duration,
};
use proptest::prelude::*;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::{vec, vec::Vec};

type TestNode = Node<FixedTable<8>, ChaCha8Rng>;

#[test]
fn a_peer_to_dial_is_dialled_once_and_not_again_while_the_dial_is_outstanding() {
    let mut node = node(Trust::Pinned);
    node.add_peer(at(0), id(1), PeerConfig::default()).unwrap();

    let first = actions(&mut node);
    node.handle_timeout(at(1000));
    let second = actions(&mut node);

    assert_eq!(first, [Action::Dial { id: id(1), resumption: None }]);
    assert_eq!(second, []);
}

#[test]
fn a_peer_that_is_not_to_be_dialled_is_not() {
    let mut node = node(Trust::Pinned);

    node.add_peer(at(0), id(1), PeerConfig { dial: false, ..PeerConfig::default() }).unwrap();

    assert_eq!(actions(&mut node), []);
}

#[test]
fn a_failed_dial_is_repeated_after_a_wait_between_100_ms_and_30_s() {
    let mut node = node(Trust::Pinned);
    node.add_peer(at(0), id(1), PeerConfig::default()).unwrap();
    let mut now = at(0);

    for _ in 0..20 {
        assert_eq!(actions(&mut node), [Action::Dial { id: id(1), resumption: None }]);
        node.handle_dial_failed(now, &id(1), Reason::Unreachable);
        let DialStatus::At(due) = node.peer(&id(1)).unwrap().dial else { panic!("no dial is planned") };
        assert!((Duration::from_millis(100)..=Duration::from_secs(30)).contains(&due.since(now)));
        while node.peer(&id(1)).unwrap().dial != DialStatus::Due {
            now = node.poll_timeout().unwrap();
            node.handle_timeout(now);
        }
        assert!(now >= due);
    }
}

#[test]
fn an_open_breaker_holds_a_due_dial_back_and_lets_one_trial_pass_when_half_open() {
    let mut node = node(Trust::Pinned);
    node.add_peer(at(0), id(1), PeerConfig::default()).unwrap();
    let opened = fail_dials_until_open(&mut node, id(1));

    node.handle_timeout(opened.after(Duration::from_millis(9_999)));
    let while_open = actions(&mut node);
    node.handle_timeout(opened.after(Duration::from_secs(40)));

    assert_eq!(while_open, []);
    assert_eq!(actions(&mut node), [Action::Dial { id: id(1), resumption: None }]);
    assert_eq!(node.peer(&id(1)).unwrap().breaker, breaker::State::HalfOpen);
    node.handle_dial_failed(opened.after(Duration::from_secs(41)), &id(1), Reason::Unreachable);
    assert_eq!(node.peer(&id(1)).unwrap().breaker, breaker::State::Open);
}

#[test]
fn a_session_closes_a_half_open_breaker_and_makes_healthy() {
    let mut node = node(Trust::Pinned);
    node.add_peer(at(0), id(1), PeerConfig::default()).unwrap();
    let later = fail_dials_until_open(&mut node, id(1)).after(Duration::from_secs(40));
    node.handle_timeout(later);
    actions(&mut node);
    events(&mut node);

    node.handle_peer_up(later, id(1), dialled(1));

    assert_eq!(
        events(&mut node),
        [
            NodeEvent::PeerUp { id: id(1) },
            NodeEvent::Health { id: id(1), from: health::State::Down, to: health::State::Healthy },
            NodeEvent::Breaker { id: id(1), from: breaker::State::HalfOpen, to: breaker::State::Closed },
        ]
    );
}

#[test]
fn a_lost_peer_is_told_suspect_at_once_and_down_after_failed_dials() {
    let mut node = node(Trust::Pinned);
    node.add_peer(at(0), id(1), PeerConfig::default()).unwrap();
    actions(&mut node);
    node.handle_peer_up(at(0), id(1), dialled(1));
    events(&mut node);

    node.handle_peer_down(at(5), &id(1), 1, Reason::LinkLost);
    let lost = events(&mut node);
    fail_dials_until_open(&mut node, id(1));

    assert_eq!(
        lost,
        [
            NodeEvent::PeerDown { id: id(1), reason: Reason::LinkLost },
            NodeEvent::Health { id: id(1), from: health::State::Healthy, to: health::State::Suspect },
        ]
    );
    let to_down = NodeEvent::Health { id: id(1), from: health::State::Suspect, to: health::State::Down };
    assert!(events(&mut node).contains(&to_down));
}

#[test]
fn a_flapping_peer_waits_longer_and_longer_and_a_settled_one_starts_again() {
    let waits = |lived: Duration| {
        let mut node = node(Trust::Pinned);
        node.add_peer(at(0), id(1), PeerConfig::default()).unwrap();
        let mut now = at(0);
        (0..40)
            .map(|token| {
                while actions(&mut node).is_empty() {
                    now = node.poll_timeout().unwrap();
                    node.handle_timeout(now);
                }
                node.handle_peer_up(now, id(1), dialled(token));
                now = now.after(lived);
                node.handle_peer_down(now, &id(1), token, Reason::LinkLost);
                let DialStatus::At(due) = node.peer(&id(1)).unwrap().dial else {
                    panic!("no dial is planned")
                };
                due.since(now)
            })
            .max()
            .unwrap()
    };

    let flapping = waits(Duration::from_secs(1));
    let settled = waits(Duration::from_secs(10));

    assert!(flapping > Duration::from_secs(5), "{flapping:?}");
    assert!(settled <= Duration::from_millis(200), "{settled:?}");
}

#[test]
fn a_rejection_waits_long_and_an_own_id_is_not_dialled_before_it_is_added_again() {
    for reason in Reason::ALL.iter().copied() {
        let mut node = node(Trust::Pinned);
        node.add_peer(at(0), id(1), PeerConfig::default()).unwrap();
        actions(&mut node);

        node.handle_dial_failed(at(0), &id(1), reason);

        match (recover_from_error(reason), node.peer(&id(1)).unwrap().dial) {
            (Recovery::GiveUp, dial) => assert_eq!(dial, DialStatus::GivenUp),
            (Recovery::RetryLater, DialStatus::At(due)) => {
                assert!((at(300)..=at(375)).contains(&due), "{}", reason.name());
            }
            (_, DialStatus::At(due)) => assert!(due <= at(30), "{}", reason.name()),
            (_, dial) => panic!("{}: {dial:?}", reason.name()),
        }
        node.handle_timeout(at(100_000));
        let gave_up = recover_from_error(reason) == Recovery::GiveUp;
        assert_eq!(actions(&mut node).is_empty(), gave_up);
        if gave_up {
            node.add_peer(at(100_000), id(1), PeerConfig::default()).unwrap();
            assert_eq!(actions(&mut node), [Action::Dial { id: id(1), resumption: None }]);
        }
    }
}

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
    let mut node = node(Trust::Pinned);
    node.add_peer(at(0), id(1), PeerConfig::default()).unwrap();
    assert_eq!(actions(&mut node), [Action::Dial { id: id(1), resumption: None }]);
    node.remove_peer(&id(1)).unwrap();
    while node.poll_event().is_some() {}

    node.add_peer(at(1), id(1), PeerConfig::default()).unwrap();

    assert_eq!(actions(&mut node), []);
    assert_eq!(node.handle_peer_up(at(2), id(1), dialled(1)), Standing::Keep);
}

#[test]
fn a_dial_of_the_older_addition_that_fails_schedules_the_next_one() {
    let mut node = node(Trust::Pinned);
    node.add_peer(at(0), id(1), PeerConfig::default()).unwrap();
    actions(&mut node);
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
fn a_busy_peer_is_left_alone_for_as_long_as_it_asks_within_bounds() {
    for (asked, waited) in [(Duration::from_secs(20), 20), (Duration::from_secs(3600), 30)] {
        let mut node = node(Trust::Pinned);
        node.add_peer(at(0), id(1), PeerConfig::default()).unwrap();
        actions(&mut node);

        node.handle_dial_refused(at(1), &id(1), Reason::Busy, asked);

        assert_eq!(node.peer(&id(1)).unwrap().dial, DialStatus::At(at(1 + waited)));
    }
}

#[test]
fn a_peer_added_again_before_its_close_was_polled_still_has_its_old_session_closed() {
    let mut node = node(Trust::Pinned);
    node.add_peer(at(0), id(1), PeerConfig::default()).unwrap();
    actions(&mut node);
    node.handle_peer_up(at(0), id(1), dialled(7));
    node.remove_peer(&id(1)).unwrap();
    node.add_peer(at(1), id(1), PeerConfig::default()).unwrap();

    let standing = node.handle_peer_up(at(1), id(1), dialled(8));

    assert_eq!(standing, Standing::ReplaceOld(7));
    assert_eq!(actions(&mut node), []);
}

#[test]
fn judging_names_the_own_id_strangers_and_limits() {
    let pinned = node(Trust::Pinned);
    let config = Config { trust: Trust::Open, max_sessions: 1, ..Config::default() };
    let mut open = Node::new(own(), config, FixedTable::<8>::new(), rng());
    open.handle_peer_up(at(0), id(1), accepted(1));

    assert_eq!(pinned.judge(&own(), false, &NO_CERTIFICATE), Err(Reason::OwnId));
    assert_eq!(pinned.judge(&id(1), false, &NO_CERTIFICATE), Err(Reason::Untrusted));
    assert_eq!(open.judge(&id(1), false, &NO_CERTIFICATE), Ok(()));
    assert_eq!(open.judge(&id(2), false, &NO_CERTIFICATE), Err(Reason::Limit));
}

#[test]
fn under_certified_trust_the_certificate_decides_and_not_the_list() {
    let mut node = node(Trust::Certified);
    node.add_peer(at(0), id(1), PeerConfig { dial: false, ..PeerConfig::default() }).unwrap();

    assert_eq!(node.judge(&id(1), false, &NO_CERTIFICATE), Err(Reason::NoCertificate));
    assert_eq!(node.judge(&id(2), false, &Err(Reason::Revoked)), Err(Reason::Revoked));
    assert_eq!(node.judge(&id(2), false, &Ok(credential(1))), Ok(()));
    let standing = node.handle_peer_up(at(0), id(2), accepted(1));
    assert_eq!(standing, Standing::CloseNew(Reason::NoCertificate), "what came up meanwhile is judged again");
}

#[test]
fn a_session_ends_when_its_certificate_expires_and_the_peer_is_dialled_after_the_long_wait() {
    let mut node = node(Trust::Certified);
    node.add_peer(at(0), id(1), PeerConfig::default()).unwrap();
    actions(&mut node);
    node.handle_peer_up(
        at(0),
        id(1),
        SessionRef { hints: Some(some_hints()), ..certified(dialled(1), at(60)) },
    );
    events(&mut node);

    node.handle_timeout(at(59));
    assert_eq!(actions(&mut node), []);
    assert_eq!(node.poll_timeout(), Some(at(60)));
    node.handle_timeout(at(60));

    let reason = Reason::CertificateExpired;
    assert_eq!(actions(&mut node), [Action::Close { id: id(1), token: 1, reason }]);
    assert_eq!(events(&mut node)[0], NodeEvent::PeerDown { id: id(1), reason });
    let dial = node.peer(&id(1)).unwrap().dial;
    assert!(matches!(dial, DialStatus::At(due_at) if due_at >= at(60 + 5 * 60)), "{dial:?}");
    assert_eq!(node.take_hint(&some_hints().peers), None);
}

#[test]
fn under_another_policy_a_certificate_may_expire() {
    let mut node = node(Trust::Open);
    node.handle_peer_up(at(0), id(1), certified(accepted(1), at(60)));

    node.handle_timeout(at(61));

    assert_eq!(actions(&mut node), []);
}

#[test]
fn a_review_closes_what_is_revoked_and_moves_the_end_of_the_others() {
    let mut node = node(Trust::Certified);
    for number in 1..=3_u8 {
        let session = certified(accepted(u64::from(number)), at(60));
        let session = SessionRef { credential: Ok(credential(u64::from(number))), ..session };
        node.handle_peer_up(at(0), id(number), session);
    }
    events(&mut node);

    node.review(at(1), |credential| match credential.serial() {
        2 => Err(Reason::Revoked),
        _ => Ok(Some(at(90))),
    });

    assert_eq!(actions(&mut node), [Action::Close { id: id(2), token: 2, reason: Reason::Revoked }]);
    node.handle_timeout(at(61));
    assert_eq!(actions(&mut node), []);
    assert_eq!(node.sessions(), 2);
    node.handle_timeout(at(90));
    assert_eq!(actions(&mut node).len(), 2);
}

#[test]
fn sessions_without_a_certificate_are_closed_when_certificates_are_asked_for() {
    let mut node = node(Trust::Open);
    node.handle_peer_up(at(0), id(1), certified(accepted(1), at(60)));
    node.handle_peer_up(at(0), id(2), accepted(2));
    events(&mut node);

    node.set_trust(at(1), Trust::Certified);

    let reason = Reason::NoCertificate;
    assert_eq!(actions(&mut node), [Action::Close { id: id(2), token: 2, reason }]);
}

#[test]
fn strangers_that_a_stricter_trust_does_not_admit_are_closed_and_forgotten() {
    let mut node = node(Trust::Open);
    let hints = Hints { own: Hint::from_bytes([1; 8]), peers: Hint::from_bytes([2; 8]), key: KEY };
    node.add_peer(at(0), id(1), PeerConfig { dial: false, ..PeerConfig::default() }).unwrap();
    node.handle_peer_up(at(0), id(1), accepted(1));
    node.handle_peer_up(at(0), id(2), SessionRef { hints: Some(hints), ..accepted(2) });
    events(&mut node);

    node.set_trust(at(1), Trust::Pinned);

    let reason = Reason::Untrusted;
    assert_eq!(actions(&mut node), [Action::Close { id: id(2), token: 2, reason }]);
    let told = events(&mut node);
    assert_eq!(told[0], NodeEvent::PeerDown { id: id(2), reason });
    assert_eq!(node.peer(&id(2)).unwrap().failures, 0, "nothing speaks against it");
    assert!(node.peer(&id(1)).unwrap().session.is_some(), "a peer that was added stays");
    assert_eq!(node.take_hint(&hints.peers), None);
    assert_eq!(node.judge(&id(2), false, &NO_CERTIFICATE), Err(Reason::Untrusted), "also while it is listed");
    let standing = node.handle_peer_up(at(2), id(2), accepted(3));
    assert_eq!(standing, Standing::CloseNew(Reason::Untrusted), "also if it was judged before");
    node.handle_peer_down(at(3), &id(2), 2, reason);
    assert_eq!((actions(&mut node), events(&mut node)), (vec![], vec![]));

    node.set_trust(at(4), Trust::Open);
    assert_eq!(node.handle_peer_up(at(5), id(2), accepted(4)), Standing::Keep);
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
        node.handle_peer_up(
            at(0),
            id(1),
            SessionRef {
                token: 1,
                boot_id: 1,
                dialled: !dialled,
                hints: None,
                credential: NO_CERTIFICATE,
                certified_until: None,
            },
        );

        let standing = node.handle_peer_up(
            at(1),
            id(1),
            SessionRef {
                token: 2,
                boot_id: 2,
                dialled,
                hints: None,
                credential: NO_CERTIFICATE,
                certified_until: None,
            },
        );

        assert_eq!(standing, Standing::ReplaceOld(1));
    }
}

#[test]
fn of_two_young_sessions_that_crossed_the_one_of_the_larger_initiator_retires() {
    for (peer, dialled_wins) in [(id(1), own() < id(1)), (id(255), own() < id(255))] {
        for dialled_first in [true, false] {
            let mut node = node(Trust::Open);
            node.add_peer(at(0), peer, PeerConfig::default()).unwrap();
            let session = |token, dialled| SessionRef {
                token,
                boot_id: 1,
                dialled,
                hints: None,
                credential: NO_CERTIFICATE,
                certified_until: None,
            };
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
        node.handle_peer_up(
            at(0),
            peer,
            SessionRef {
                token: 1,
                boot_id: 1,
                dialled: !dialled,
                hints: None,
                credential: NO_CERTIFICATE,
                certified_until: None,
            },
        );

        let later = at(0).after(CROSSING).after(Duration::from_millis(1));
        let standing = node.handle_peer_up(
            later,
            peer,
            SessionRef {
                token: 2,
                boot_id: 1,
                dialled,
                hints: None,
                credential: NO_CERTIFICATE,
                certified_until: None,
            },
        );

        assert_eq!(standing, Standing::ReplaceOld(1));
    }
}

#[test]
fn a_dial_that_lost_against_a_crossing_session_does_not_speak_against_the_peer() {
    let mut node = node(Trust::Pinned);
    node.add_peer(at(0), id(1), PeerConfig::default()).unwrap();
    assert_eq!(actions(&mut node), [Action::Dial { id: id(1), resumption: None }]);

    node.handle_dial_failed(at(1), &id(1), Reason::Replaced);

    assert_eq!(node.peer(&id(1)).unwrap().failures, 0);
}

#[test]
fn a_dial_names_the_hint_of_the_session_before_it_once() {
    let mut node = pinned_with(&[1]);
    actions(&mut node);
    node.handle_peer_up(at(0), id(1), with_hints(dialled(1), 1));
    node.handle_peer_down(at(20), &id(1), 1, Reason::LinkLost);

    assert_eq!(next_hint(&mut node, at(60)), Some(hint(1)));
    node.handle_dial_failed(at(60), &id(1), Reason::HandshakeTimeout);
    assert_eq!(next_hint(&mut node, at(120)), None);
}

#[test]
fn a_hint_that_nobody_was_reached_to_hear_is_named_again() {
    let mut node = pinned_with(&[1]);
    actions(&mut node);
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

/// One thing that may happen to a node.
#[derive(Clone, Debug)]
enum Op {
    Add(u8, bool),
    Remove(u8),
    Outcome(u8, bool),
    Up(u8, u64, u64, bool),
    Down(u8, u64, usize),
    Report(u8, u64, u32),
    DialFailed(u8, usize),
    Trust(Trust),
    Timeout,
}

fn op() -> impl Strategy<Value = Op> {
    let peer = 0..6_u8;
    let token = 0..12_u64;
    prop_oneof![
        2 => (peer.clone(), any::<bool>()).prop_map(|(p, d)| Op::Add(p, d)),
        1 => peer.clone().prop_map(Op::Remove),
        1 => (peer.clone(), any::<bool>()).prop_map(|(p, s)| Op::Outcome(p, s)),
        3 => (peer.clone(), token.clone(), 0..2_u64, any::<bool>()).prop_map(|(p, t, b, d)| Op::Up(p, t, b, d)),
        2 => (peer.clone(), token.clone(), 0..Reason::ALL.len()).prop_map(|(p, t, r)| Op::Down(p, t, r)),
        1 => (peer.clone(), token, 0..4_u32).prop_map(|(p, t, m)| Op::Report(p, t, m)),
        2 => (peer, 0..Reason::ALL.len()).prop_map(|(p, r)| Op::DialFailed(p, r)),
        1 => prop_oneof![Just(Trust::Open), Just(Trust::Pinned)].prop_map(Op::Trust),
        2 => Just(Op::Timeout),
    ]
}

fn apply(node: &mut Node<FixedTable<4>, ChaCha8Rng>, now: Instant, op: &Op) {
    match *op {
        Op::Add(peer, dial) => {
            let _full = node.add_peer(now, id(peer), PeerConfig { dial, ..PeerConfig::default() });
        }
        Op::Remove(peer) => {
            let _unknown = node.remove_peer(&id(peer));
        }
        Op::Outcome(peer, good) => {
            let outcome = if good { Outcome::Success } else { Outcome::Failure };
            let _unknown = node.update_peer_health(now, &id(peer), outcome);
        }
        Op::Up(peer, token, boot_id, dialled) => {
            let session = SessionRef {
                token,
                boot_id,
                dialled,
                hints: None,
                credential: NO_CERTIFICATE,
                certified_until: None,
            };
            node.handle_peer_up(now, id(peer), with_hints(session, peer));
        }
        Op::Down(peer, token, reason) => node.handle_peer_down(now, &id(peer), token, Reason::ALL[reason]),
        Op::Report(peer, token, missed_heartbeats) => {
            node.handle_report(&id(peer), token, &LinkReport { missed_heartbeats, ..LinkReport::default() });
        }
        Op::DialFailed(peer, reason) => node.handle_dial_failed(now, &id(peer), Reason::ALL[reason]),
        Op::Trust(trust) => node.set_trust(now, trust),
        Op::Timeout => node.handle_timeout(now),
    }
}

fn open_node(seed: u64) -> Node<FixedTable<4>, ChaCha8Rng> {
    let config = Config { trust: Trust::Open, max_sessions: 3, ..Config::default() };
    Node::new(own(), config, FixedTable::new(), ChaCha8Rng::seed_from_u64(seed))
}

proptest! {
    #[test]
    fn the_order_of_polling_does_not_matter(seed: u64, ops in prop::collection::vec((op(), 0..40_000_000_u64), 0..80)) {
        let (mut left, mut right) = (open_node(seed), open_node(seed));
        let mut now = at(0);

        for (op, passed) in &ops {
            now = now.after(Duration::from_micros(*passed));
            apply(&mut left, now, op);
            apply(&mut right, now, op);

            let (left_actions, left_events) = (drain(|| left.poll_action()), drain(|| left.poll_event()));
            let mut right_events = vec![];
            let mut right_actions = vec![];
            loop {
                let deadline = right.poll_timeout();
                let (event, action) = (right.poll_event(), right.poll_action());
                prop_assert_eq!(right.poll_timeout(), deadline);
                if event.is_none() && action.is_none() {
                    break;
                }
                right_events.extend(event);
                right_actions.extend(action);
            }

            prop_assert_eq!(left_actions, right_actions);
            prop_assert_eq!(left_events, right_events);
            prop_assert_eq!(std::format!("{left:?}"), std::format!("{right:?}"));
        }
    }

    #[test]
    fn the_books_are_true_and_a_deadline_after_a_timeout_lies_after_it(
        seed: u64,
        ops in prop::collection::vec((op(), 0..40_000_000_u64, any::<bool>()), 0..80),
    ) {
        let mut node = open_node(seed);
        let mut now = at(0);

        for (op, passed, polls) in &ops {
            now = now.after(Duration::from_micros(*passed));
            apply(&mut node, now, op);
            node.handle_timeout(now);
            prop_assert!(node.poll_timeout().is_none_or(|deadline| deadline > now));

            let peers: Vec<_> = (0..node.table.len()).filter_map(|i| node.table.peer(i)).collect();
            prop_assert!(peers.is_sorted_by(|a, b| a.id < b.id));
            prop_assert_eq!(node.actions, peers.iter().filter(|peer| peer.has_action()).count());
            prop_assert_eq!(node.events, peers.iter().filter(|peer| peer.has_event()).count());
            prop_assert_eq!(node.sessions, peers.iter().filter(|peer| peer.session().is_some()).count());
            prop_assert!(node.sessions <= 3);
            prop_assert!(!peers.iter().any(|peer| peer.is_gone()));
            let earliest = peers.iter().filter_map(|peer| peer.deadline(&node.config)).min();
            prop_assert!(earliest.is_none_or(|deadline| node.poll_timeout().is_some_and(|wake| wake <= deadline)));
            for status in node.peers() {
                let up = matches!(status.health, health::State::Healthy | health::State::Degraded);
                prop_assert_eq!(up, status.session.is_some());
                prop_assert!(status.session.is_none() || matches!(status.dial, DialStatus::Idle | DialStatus::Outstanding));
                prop_assert!(status.dial != DialStatus::Due || status.breaker != breaker::State::Open);
            }
            if *polls {
                drain(|| node.poll_event());
                drain(|| node.poll_action());
                prop_assert_eq!((node.actions, node.events), (0, 0));
            }
        }
    }

    #[test]
    fn errors_of_any_state_change_nothing(seed: u64, ops in prop::collection::vec((op(), 0..40_000_000_u64), 0..40), peer in 0..6_u8) {
        let mut node = open_node(seed);
        let mut now = at(0);
        for (op, passed) in &ops {
            now = now.after(Duration::from_micros(*passed));
            apply(&mut node, now, op);
        }
        let before = std::format!("{node:?}");

        let failed = [
            node.update_peer_health(now, &id(100), Outcome::Failure).is_err(),
            node.remove_peer(&id(100)).is_err(),
            node.add_peer(now, own(), PeerConfig::default()).is_err(),
            node.judge(&id(peer), false, &NO_CERTIFICATE).is_err(),
        ];
        prop_assert!(failed[..3].iter().all(|failed| *failed));
        prop_assert_eq!(&std::format!("{node:?}"), &before);

        if node.add_peer(now, id(peer), PeerConfig::default()).is_err() {
            prop_assert_eq!(std::format!("{node:?}"), before);
        }
    }

    /// Sessions by the same initiator come up in order at both ends; how those of the two initiators mix is free.
    #[test]
    fn both_ends_keep_the_same_session_in_whatever_order_they_see_them(
        by_small in 0..4_u64, by_large in 0..4_u64, small_mix: u64, large_mix: u64,
    ) {
        let survivor = |own: NodeId, peer: NodeId, mix: u64| {
            let config = Config { trust: Trust::Open, ..Config::default() };
            let mut node = Node::new(own, config, FixedTable::<1>::new(), rng());
            node.add_peer(at(0), peer, PeerConfig::default()).unwrap();
            let (mut small, mut large) = (0..by_small, 100..100 + by_large);
            for turn in 0.. {
                let from_small = mix >> (turn % 64) & 1 == 0;
                let next = if from_small { small.next().or_else(|| large.next()) } else { large.next().or_else(|| small.next()) };
                let Some(token) = next else { break };
                let dialled = (token < 100) == (own < peer);
                node.handle_peer_up(at(turn), peer, SessionRef { token, boot_id: 1, dialled, hints: None, credential: NO_CERTIFICATE, certified_until: None });
            }
            node.peer(&peer).unwrap().session.map(|session| session.token)
        };

        let at_small = survivor(id(1), id(2), small_mix);
        let at_large = survivor(id(2), id(1), large_mix);

        prop_assert_eq!(at_small, at_large);
        let expected = if by_small > 0 { Some(by_small - 1) } else { by_large.checked_sub(1).map(|last| 100 + last) };
        prop_assert_eq!(at_small, expected);
    }
}

fn node(trust: Trust) -> TestNode {
    Node::new(own(), Config { trust, ..Config::default() }, FixedTable::new(), rng())
}

/// A node that was told to dial these peers.
fn pinned_with(peers: &[u8]) -> TestNode {
    let mut node = node(Trust::Pinned);
    for peer in peers {
        node.add_peer(at(0), id(*peer), PeerConfig::default()).unwrap();
    }
    node
}

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(7)
}

fn own() -> NodeId {
    id(0x80)
}

fn id(n: u8) -> NodeId {
    NodeId::from_bytes([n; NodeId::LEN])
}

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
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

/// A session whose own hint is that of `number`, and the peer's the next.
fn with_hints(session: SessionRef, number: u8) -> SessionRef {
    SessionRef { hints: Some(Hints { own: hint(number), peers: hint(number + 1), key: KEY }), ..session }
}

/// The key that stands for every peer.
const KEY: [u8; 32] = [9; 32];

fn known(number: u8) -> Acquaintance {
    Acquaintance { id: id(number), key: KEY }
}

fn hint(number: u8) -> Hint {
    Hint::from_bytes([number; Hint::LEN])
}

fn some_hints() -> Hints {
    Hints { own: hint(7), peers: hint(8), key: KEY }
}

/// The session of a peer with certificate 1 that expires at this moment.
fn certified(session: SessionRef, until: Instant) -> SessionRef {
    SessionRef { credential: Ok(credential(1)), certified_until: Some(until), ..session }
}

fn credential(serial: u64) -> Credential {
    Credential::sample(id(1), serial)
}

fn dialled(token: u64) -> SessionRef {
    SessionRef {
        token,
        boot_id: 1,
        dialled: true,
        hints: None,
        credential: NO_CERTIFICATE,
        certified_until: None,
    }
}

fn accepted(token: u64) -> SessionRef {
    SessionRef {
        token,
        boot_id: 1,
        dialled: false,
        hints: None,
        credential: NO_CERTIFICATE,
        certified_until: None,
    }
}

fn actions<T: Table>(node: &mut Node<T, ChaCha8Rng>) -> Vec<Action> {
    drain(|| node.poll_action())
}

fn events<T: Table>(node: &mut Node<T, ChaCha8Rng>) -> Vec<NodeEvent> {
    drain(|| node.poll_event())
}

fn drain<O>(poll: impl FnMut() -> Option<O>) -> Vec<O> {
    core::iter::from_fn(poll).collect()
}

/// Fails every dial of the peer until its breaker opens, and returns when that was.
fn fail_dials_until_open(node: &mut TestNode, id: NodeId) -> Instant {
    let mut now = at(10);
    loop {
        node.handle_timeout(now);
        if actions(node).contains(&Action::Dial { id, resumption: None }) {
            node.handle_dial_failed(now, &id, Reason::Unreachable);
            if node.peer(&id).unwrap().breaker == breaker::State::Open {
                return now;
            }
        }
        now = now.after(backoff::Policy::default().floor);
    }
}
