//! Who is admitted under which policy, and whose session ends when policy, certificates or lists change.

use super::*;

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
