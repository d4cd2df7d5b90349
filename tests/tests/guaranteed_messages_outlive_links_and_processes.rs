//! Guaranteed messages of all classes in both directions between nodes whose links break, cross and go silent, and which are
//! killed: each is committed in the end, none is handed out again once it was, and those that come for the first time come in
//! the order of their lane.

use std::collections::{BTreeMap, BTreeSet};

use hyphal_core::{
    ids::{NodeId, Priority},
    node::{Config, PeerConfig, Trust},
    time::Duration,
    wire::reason::Reason,
};
use hyphal_lab::{
    drive::Drive,
    lanes::Handed,
    net::{Home, Net},
    network::{Side, StreamConditions},
    seed::{Chance, Odds, Seed},
};

#[test]
fn whatever_happens_to_links() {
    for seed in Seed::series(6) {
        let mut scene = Scene::new(&seed);
        for _ in 0..60 {
            scene.send_some();
            scene.take_some(Odds::percent(70));
            scene.break_something();
        }

        scene.come_to_rest();

        assert!(scene.sessions() > 2, "there were {} sessions", scene.sessions());
    }
}

#[test]
fn whatever_happens_to_processes() {
    for seed in Seed::series(6) {
        let mut scene = Scene::new(&seed);
        for _ in 0..60 {
            scene.send_some();
            scene.take_some(Odds::percent(50));
            if scene.chance.happens(Odds::percent(10)) {
                scene.kill_somebody();
            }
            scene.break_something();
        }

        scene.come_to_rest();
    }
}

/// More messages than a receiver's window behind one that the application keeps.
#[test]
fn though_the_window_closes_behind_one_that_is_held() {
    let mut scene = Scene::new(&Seed::of(1));
    for _ in 0..1500 {
        scene.send(0, Priority::High);
    }
    for _ in 0..40 {
        scene.net.drive_for(Duration::from_millis(200));
        scene.note_arrivals(1);
        while scene.held(1) > 1 {
            scene.commit(1, 1);
        }
    }
    assert_eq!(scene.handed[1].len(), 1024, "no number is further ahead than the window");

    scene.come_to_rest();
}

/// Two nodes that keep Guaranteed messages, and the books of both applications.
struct Scene {
    net: Net,
    chance: Chance,
    crosses: bool,
    /// Accepted, by the home of the sender.
    accepted: [BTreeMap<(Priority, u64), Vec<u8>>; 2],
    /// Handed out, and committed, by the home of the receiver.
    handed: [BTreeSet<(Priority, u64)>; 2],
    committed: [BTreeSet<(Priority, u64)>; 2],
    /// Of those that the application holds, how many were looked at.
    seen: [usize; 2],
}

impl Scene {
    fn new(seed: &Seed) -> Self {
        let conditions = StreamConditions { bandwidth: Some(100_000), ..StreamConditions::weather(seed) };
        let mut net = Net::new(seed, conditions);
        for home in [0, 1] {
            net.settle_node(Config { trust: Trust::Open, ..Config::default() });
            net.give_disk(home);
        }
        let mut scene = Self {
            net,
            chance: seed.generator("moves"),
            crosses: seed.number().is_multiple_of(2),
            accepted: Default::default(),
            handed: Default::default(),
            committed: Default::default(),
            seen: [0; 2],
        };
        scene.introduce(0);
        scene.introduce(1);
        scene
    }

    /// One of both dials, or both do.
    fn introduce(&mut self, home: Home) {
        let dial = home == 0 || self.crosses;
        self.net.introduce(home, 1 - home, PeerConfig { dial, ..PeerConfig::default() });
    }

    fn send_some(&mut self) {
        let from = self.chance.index(2);
        for _ in 0..self.chance.below(8) {
            let class = Priority::ALL[self.chance.index(4)];
            self.send(from, class);
        }
    }

    fn send(&mut self, from: Home, class: Priority) {
        let len = self.chance.index(100);
        let payload = self.chance.bytes(len);
        let number = self.net.send_guaranteed(from, 1 - from, class, &payload);
        let before = self.accepted[from].insert((class, number), payload);
        assert_eq!(before, None, "no number is given twice");
    }

    /// The applications commit some of what they hold, let go of some, and keep the rest.
    fn take_some(&mut self, commits: Odds) {
        for home in [0, 1] {
            self.note_arrivals(home);
            let mut at = 0;
            while at < self.held(home) {
                if self.chance.happens(commits) {
                    self.commit(home, at);
                } else if self.chance.happens(Odds::percent(20)) {
                    let lanes = self.net.process(home).lanes.as_mut().expect("it keeps them");
                    lanes.release(at);
                    self.seen[home] -= 1;
                } else {
                    at += 1;
                }
            }
        }
    }

    fn held(&mut self, home: Home) -> usize {
        self.net.process(home).lanes.as_ref().expect("it keeps them").held.len()
    }

    /// Looks at what was handed out since the last time.
    fn note_arrivals(&mut self, home: Home) {
        let held = self.net.process(home).lanes.as_ref().expect("it keeps them").held.clone();
        let (before, new) = held.split_at(self.seen[home]);
        for (at, Handed { class, number, payload, .. }) in new.iter().enumerate() {
            let name = (*class, *number);
            assert_eq!(self.accepted[1 - home].get(&name), Some(payload), "as it was sent");
            assert!(!self.committed[home].contains(&name), "{name:?} comes after it was committed");
            let earlier = before.iter().chain(&new[..at]);
            assert!(earlier.clone().all(|held| (held.class, held.number) != name), "{name:?} is there twice");
            if self.handed[home].insert(name) {
                let later = self.handed[home].range((*class, number + 1)..=(*class, u64::MAX)).next();
                assert_eq!(later, None, "{name:?} comes for the first time, after a later one");
            }
        }
        self.seen[home] = held.len();
    }

    fn commit(&mut self, home: Home, at: usize) {
        let Handed { class, number, .. } = self.net.commit(home, at);
        assert!(self.committed[home].insert((class, number)));
        self.seen[home] -= 1;
    }

    /// Kills a node, and starts it again after a while.
    fn kill_somebody(&mut self) {
        let home = self.chance.index(2);
        self.note_arrivals(home);
        self.net.kill(home);
        self.net.drive_for(self.chance.span(Duration::from_millis(300)));
        self.net.start(home);
        self.seen[home] = 0;
        self.introduce(home);
    }

    /// Does to the youngest link what links suffer, mostly nothing; and lets time pass.
    fn break_something(&mut self) {
        let side = Side::BOTH[self.chance.index(2)];
        if let Some(&stream) = self.net.streams().last() {
            let written = self.net.network.stream_written(stream, side).len();
            match self.chance.below(12) {
                0 => self.net.network.cut_stream(stream),
                1 => {
                    let offset = written + self.chance.index(1000);
                    self.net.network.cut_stream_after(stream, side, offset);
                }
                2 => self.net.network.let_bytes_vanish(stream, side),
                3 => self.net.displace(side as Home),
                4 => {
                    let peer: NodeId = self.net.id(1 - side as Home);
                    self.net.close_session(side as Home, peer, Reason::Shutdown);
                }
                _ => {}
            }
        }
        self.net.drive_for(self.chance.span(Duration::from_millis(700)));
    }

    /// Nothing goes wrong any more, and the applications commit all they get: every message meets its fate.
    fn come_to_rest(&mut self) {
        // What an application let go of comes again in the next session.
        self.net.displace(0);
        for _ in 0..300 {
            self.net.drive_for(Duration::from_millis(500));
            for home in [0, 1] {
                self.note_arrivals(home);
                (0..self.held(home)).for_each(|_| self.commit(home, 0));
            }
            if [0, 1].into_iter().all(|home| self.net.disk(home).outstanding() == 0) {
                break;
            }
        }
        for home in [0, 1] {
            assert_eq!(self.net.disk(home).outstanding(), 0, "node {home} waits for fates");
            let accepted: BTreeSet<_> = self.accepted[home].keys().copied().collect();
            assert_eq!(self.committed[1 - home], accepted, "all that was accepted is committed");
            let lanes = self.net.process(home).lanes.as_ref().expect("it keeps them");
            assert!(lanes.unknown.is_empty(), "no receiver has forgotten anything");
        }
    }

    fn sessions(&mut self) -> u64 {
        self.net.process(0).node.peers().map(|peer| peer.sessions).sum()
    }
}
