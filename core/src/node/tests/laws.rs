//! The laws of [`Node`] over random sequences of operations.

use super::*;
use proptest::prelude::*;

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
            let session = SessionRef { boot_id, ..session(token, dialled) };
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
                node.handle_peer_up(at(turn), peer, session(token, dialled));
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
