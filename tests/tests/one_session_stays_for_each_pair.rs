//! However many connections two nodes make to each other, one session stays, and both ends keep the same one.

use hyphal_core::{
    node::{Config, NodeEvent, PeerConfig, Trust},
    time::Duration,
};
use hyphal_lab::{
    drive::Drive,
    link::header,
    net::{Home, Net},
    network::{Segments, StreamConditions},
    seed::Seed,
};

#[test]
fn of_crossing_connects() {
    for seed in Seed::series(30) {
        let mut net = acquainted(&seed, 2);

        net.drive_for(Duration::from_secs(5));

        check_mesh(&mut net, 2);
        let dialled: Vec<bool> = (0..2).map(|home| session_of(&mut net, home, 1 - home).dialled).collect();
        assert_ne!(dialled[0], dialled[1], "both ends keep the same session");
        let smaller = if net.id(0) < net.id(1) { 0 } else { 1 };
        assert!(net.process(0).dials.len() + net.process(1).dials.len() >= 2);
        assert!(session_of(&mut net, smaller, 1 - smaller).dialled, "the smaller initiator's");
    }
}

#[test]
fn of_crossing_connects_without_losing_doubting_or_repeating_a_message() {
    for seed in Seed::series(200) {
        let mut chance = seed.generator("crossing");
        let conditions = StreamConditions {
            delay: chance.span(Duration::from_millis(60)),
            jitter: chance.span(Duration::from_millis(20)),
            segments: Segments::Random(200),
            ..StreamConditions::default()
        };
        let mut net = acquainted_over(&seed, 2, conditions);
        let mut sent = [0_usize; 2];
        for _ in 0..60 {
            for (from, to) in [(0, 1), (1, 0)] {
                if chance.below(2) == 0 {
                    net.send(from, to, header(0), &[1]).expect("there is room");
                    sent[from] += 1;
                }
            }
            net.drive_for(chance.span(Duration::from_millis(10)));
        }
        net.drive_for(Duration::from_secs(10));

        check_mesh(&mut net, 2);
        for (from, to) in [(0, 1), (1, 0)] {
            let to_id = net.id(to);
            let counters = net.process(from).outbox(to_id).counters();
            assert_eq!((counters.pushed, counters.confirmed), (sent[from] as u64, sent[from] as u64));
            assert_eq!(net.process(to).delivered.len(), sent[from]);
            assert_eq!(net.process(to).filtered, []);
        }
    }
}

#[test]
fn in_a_mesh_where_everyone_dials_everyone() {
    for seed in Seed::series(8) {
        let mut net = acquainted(&seed, 5);
        send_all_to_all(&mut net, 0);

        net.drive_for(Duration::from_secs(10));
        check_mesh(&mut net, 5);
        send_all_to_all(&mut net, 1);
        net.drive_for(Duration::from_secs(1));

        for from in 0..5 {
            for to in (0..5).filter(|to| *to != from) {
                let to_id = net.id(to);
                let counters = net.process(from).outbox(to_id).counters();
                assert_eq!(received(&mut net, from, to, 0), 1);
                assert_eq!(received(&mut net, from, to, 1), 1);
                assert_eq!(counters.confirmed, 2, "{from} to {to}: {counters:?}");
            }
        }
    }
}

fn send_all_to_all(net: &mut Net, round: u8) {
    for from in 0..5 {
        for to in (0..5).filter(|to| *to != from) {
            net.send(from, to, header(0), &[round]).expect("there is room");
        }
    }
}

fn received(net: &mut Net, from: Home, to: Home, round: u8) -> usize {
    let from = net.id(from);
    let delivered = &net.process(to).delivered;
    delivered.iter().filter(|(source, message)| *source == from && message.payload == [round]).count()
}

#[test]
fn of_two_processes_with_the_same_key_the_later() {
    let seed = Seed::of(1);
    let mut net = Net::new(&seed, StreamConditions::default());
    let server = net.settle_node(Config { trust: Trust::Open, ..Config::default() });
    let original = net.settle_node(Config::default());
    let stolen = net.identity(original).clone();
    net.introduce(original, server, PeerConfig::default());
    net.drive_for(Duration::from_secs(1));
    let first_boot = net.process(original).boot_id;
    let (id, seen) = (net.id(original), session_of(&mut net, server, original).boot_id);
    assert_eq!(seen, first_boot);

    let copy = net.settle_identity(stolen, Config::default());
    net.introduce(copy, server, PeerConfig::default());
    net.drive_for(Duration::from_millis(50));

    let copy_boot = net.process(copy).boot_id;
    assert_eq!(session_of(&mut net, server, original).boot_id, copy_boot);
    assert_eq!(net.process(server).sessions_up(), 1);
    assert_eq!(net.process(server).node.sessions(), 1);
    let told = &net.process(server).events;
    let ups = told.iter().filter(|(_, event)| *event == NodeEvent::PeerUp { id }).count();
    assert_eq!(ups, 1, "a replacement is not told");
}

#[test]
fn a_node_cannot_be_its_own_peer() {
    let seed = Seed::of(2);
    let mut net = Net::new(&seed, StreamConditions::default());
    let original = net.settle_node(Config { trust: Trust::Open, ..Config::default() });
    let own_key = net.identity(original).clone();
    let copy = net.settle_identity(own_key, Config { trust: Trust::Open, ..Config::default() });

    let own = net.id(copy);
    let refused =
        net.process(copy).node.add_peer(hyphal_core::time::Instant::ZERO, own, PeerConfig::default());

    assert!(refused.is_err());
}

/// `count` nodes that know each other, all dialling all, over links with jitter and in pieces.
fn acquainted(seed: &Seed, count: usize) -> Net {
    let conditions = StreamConditions {
        jitter: Duration::from_millis(3),
        segments: Segments::Random(100),
        ..StreamConditions::default()
    };
    acquainted_over(seed, count, conditions)
}

fn acquainted_over(seed: &Seed, count: usize, conditions: StreamConditions) -> Net {
    let mut net = Net::new(seed, conditions);
    for _ in 0..count {
        net.settle_node(Config::default());
    }
    for home in 0..count {
        for peer in (0..count).filter(|peer| *peer != home) {
            net.introduce(home, peer, PeerConfig::default());
        }
    }
    net
}

fn check_mesh(net: &mut Net, count: usize) {
    for home in 0..count {
        assert_eq!(net.process(home).node.sessions(), count - 1);
        assert_eq!(net.process(home).sessions_up(), count - 1);
    }
}

fn session_of(net: &mut Net, home: Home, peer: Home) -> hyphal_core::node::SessionRef {
    let id = net.id(peer);
    net.process(home).node.peer(&id).expect("it is known").session.expect("it has a session")
}
