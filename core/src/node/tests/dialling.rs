//! When peers are dialled, how long is waited after what, and what breaker and health make of it.

use super::*;

#[test]
fn a_peer_to_dial_is_dialled_once_and_not_again_while_the_dial_is_outstanding() {
    let mut node = pinned_with(&[1]);

    let first = actions(&mut node);
    node.handle_timeout(at(1000));
    let second = actions(&mut node);

    assert_eq!(first, [dial(1)]);
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
    let mut node = pinned_with(&[1]);
    let mut now = at(0);

    for _ in 0..20 {
        assert_eq!(actions(&mut node), [dial(1)]);
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
    let mut node = pinned_with(&[1]);
    let opened = fail_dials_until_open(&mut node, id(1));

    node.handle_timeout(opened.after(Duration::from_millis(9_999)));
    let while_open = actions(&mut node);
    node.handle_timeout(opened.after(Duration::from_secs(40)));

    assert_eq!(while_open, []);
    assert_eq!(actions(&mut node), [dial(1)]);
    assert_eq!(node.peer(&id(1)).unwrap().breaker, breaker::State::HalfOpen);
    node.handle_dial_failed(opened.after(Duration::from_secs(41)), &id(1), Reason::Unreachable);
    assert_eq!(node.peer(&id(1)).unwrap().breaker, breaker::State::Open);
}

#[test]
fn a_session_closes_a_half_open_breaker_and_makes_healthy() {
    let mut node = pinned_with(&[1]);
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
    let mut node = dialling(1);
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
        let mut node = pinned_with(&[1]);
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
        let mut node = dialling(1);

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
            assert_eq!(actions(&mut node), [dial(1)]);
        }
    }
}

#[test]
fn a_busy_peer_is_left_alone_for_as_long_as_it_asks_within_bounds() {
    for (asked, waited) in [(Duration::from_secs(20), 20), (Duration::from_secs(3600), 30)] {
        let mut node = dialling(1);

        node.handle_dial_refused(at(1), &id(1), Reason::Busy, asked);

        assert_eq!(node.peer(&id(1)).unwrap().dial, DialStatus::At(at(1 + waited)));
    }
}

#[test]
fn a_dial_that_lost_against_a_crossing_session_does_not_speak_against_the_peer() {
    let mut node = pinned_with(&[1]);
    assert_eq!(actions(&mut node), [dial(1)]);

    node.handle_dial_failed(at(1), &id(1), Reason::Replaced);

    assert_eq!(node.peer(&id(1)).unwrap().failures, 0);
}
