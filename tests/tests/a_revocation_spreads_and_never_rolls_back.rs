//! A newer revocation list goes from node to node over the sessions that there are, ends those that it must, and gives way to
//! none that is older.

use hyphal_core::{
    node::{NodeEvent, PeerConfig},
    outbox::Header,
    time::Duration,
    wire::{reason::Reason, revocation::REVOCATIONS},
};
use hyphal_lab::{
    drive::Drive,
    link::{header, reliable},
    net::{Home, Net},
    network::StreamConditions,
    papers::{Authority, Unheard, at},
    seed::Seed,
};

/// A chain: the first knows the second only, and so on.
const FIRST: Home = 0;
const SECOND: Home = 1;
const THIRD: Home = 2;
/// Whose certificate is revoked; in a session with the third.
const REVOKED: Home = 3;
const CHAIN: [Home; 3] = [FIRST, SECOND, THIRD];
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn through_a_third_node_and_ends_the_session_that_it_must_in_any_weather() {
    for seed in Seed::series(5) {
        let mut scene = Scene::new(&seed);
        let published_at = scene.net.now();

        scene.publish(FIRST, 2, &[serial(REVOKED)]);
        scene.net.drive_for(Duration::from_secs(3));

        let [third, revoked] = [THIRD, REVOKED].map(|home| scene.net.id(home));
        let told = NodeEvent::PeerDown { id: revoked, reason: Reason::Revoked };
        assert!(scene.was_told(THIRD, &told), "the third ends it");
        assert!(
            scene.was_told(REVOKED, &NodeEvent::PeerDown { id: third, reason: Reason::Revoked }),
            "it hears why"
        );
        for home in CHAIN {
            assert_eq!(scene.net.papers(home).versions(), [2], "node {home}");
            assert!(scene.net.process(home).delivered.is_empty(), "lists are not for applications");
            let ended = scene
                .net
                .process(home)
                .events
                .iter()
                .filter(|(at, event)| *at > published_at && matches!(event, NodeEvent::PeerDown { .. }));
            assert_eq!(ended.count(), usize::from(home == THIRD), "nobody else's session ends");
        }
    }
}

#[test]
fn also_where_links_break_and_come_back_again_and_again() {
    for seed in Seed::series(5) {
        let mut scene = Scene::new(&seed);
        let mut chance = seed.generator("cuts");

        scene.publish(FIRST, 2, &[serial(REVOKED)]);
        for _ in 0..12 {
            let streams = scene.net.streams();
            // Among the last ones, most are in use.
            let recent = &streams[streams.len().saturating_sub(4)..];
            scene.net.network.cut_stream(recent[chance.index(recent.len())]);
            scene.net.drive_for(chance.span(Duration::from_millis(400)));
        }
        scene.net.drive_for(Duration::from_secs(60));

        for home in CHAIN {
            assert_eq!(scene.net.papers(home).versions(), [2], "node {home}");
        }
        let revoked = scene.net.id(REVOKED);
        let third = scene.net.process(THIRD);
        assert_eq!(third.node.peer(&revoked).expect("it was here").session, None);
        assert_eq!(scene.net.process(SECOND).node.sessions(), 2, "the others are together again");
    }
}

#[test]
fn to_a_node_that_was_away_when_it_comes_back_before_anybody_deceives_it() {
    for seed in Seed::series(4) {
        let mut scene = Scene::new(&seed);
        scene.publish(FIRST, 1, &[77]);
        scene.net.drive_for(Duration::from_secs(3));
        scene.net.kill(THIRD);

        scene.publish(FIRST, 2, &[serial(REVOKED)]);
        scene.net.drive_for(Duration::from_secs(3));
        assert_eq!(scene.net.papers(THIRD).versions(), [1]);
        scene.net.start(THIRD);
        scene.net.introduce(THIRD, SECOND, PeerConfig::default());
        scene.net.drive_for(Duration::from_secs(60));

        assert_eq!(scene.net.papers(THIRD).versions(), [2]);
        let (third, revoked) = (scene.net.id(THIRD), scene.net.id(REVOKED));
        let status = scene.net.process(REVOKED).node.peer(&third).expect("it is in the list");
        assert_eq!((status.session, status.last_reason), (None, Some(Reason::Revoked)));
        let known = scene.net.process(THIRD).node.peer(&revoked);
        assert!(known.is_none_or(|peer| peer.session.is_none()));
    }
}

#[test]
fn and_an_older_one_changes_nothing_wherever_it_comes_from() {
    for seed in Seed::series(4) {
        let mut scene = Scene::new(&seed);
        scene.publish(FIRST, 5, &[serial(REVOKED)]);
        scene.net.drive_for(Duration::from_secs(3));
        let older = scene.authority.list(4, &[], at(DAY));

        // An operator, a newcomer who has no newer one, and a node that starts again with what it had kept.
        assert_eq!(scene.net.publish(FIRST, &older), Err(Unheard::NoNews(Reason::Duplicate)));
        let newcomer = scene.net.settle_member(&scene.authority, 50, at(Duration::ZERO)..at(DAY));
        scene.net.publish(newcomer, &older).expect("it has none yet");
        scene.net.introduce(newcomer, THIRD, PeerConfig::default());
        scene.net.drive_for(Duration::from_secs(3));
        scene.net.kill(SECOND);
        scene.net.start(SECOND);
        scene.net.introduce(SECOND, THIRD, PeerConfig::default());
        scene.net.drive_for(Duration::from_secs(30));

        for home in [FIRST, SECOND, THIRD, newcomer] {
            assert_eq!(scene.net.papers(home).versions(), [5], "node {home}");
        }
        assert!(scene.net.process(THIRD).unheard.contains(&Unheard::NoNews(Reason::Duplicate)));
        let (third, revoked) = (scene.net.id(THIRD), scene.net.id(REVOKED));
        assert_eq!(scene.net.process(REVOKED).node.peer(&third).expect("it is in the list").session, None);
        assert_eq!(scene.net.process(THIRD).node.peer(&revoked).expect("it was here").session, None);
    }
}

#[test]
fn but_one_that_is_forged_ends_the_session_that_it_came_over_and_goes_no_further() {
    let forgeries: [fn(&Scene) -> Vec<u8>; 4] = [
        |scene| flipped(scene.authority.list(9, &[serial(FIRST)], at(DAY)), -1),
        // Its version is raised after it was signed.
        |scene| flipped(scene.authority.list(1, &[serial(FIRST)], at(DAY)), 33),
        |scene| scene.authority.list(9, &[serial(FIRST)], at(DAY))[..100].to_vec(),
        |_| Vec::new(),
    ];
    for (number, forge) in forgeries.into_iter().enumerate() {
        let mut scene = Scene::new(&Seed::of(number as u64));
        let forged = forge(&scene);

        let list = Header { kind: REVOCATIONS, ..reliable(0) };
        scene.net.send(REVOKED, THIRD, list, &forged).expect("there is room");
        scene.net.drive_for(Duration::from_secs(1));

        let [third, revoked] = [THIRD, REVOKED].map(|home| scene.net.id(home));
        assert!(scene.was_told(THIRD, &NodeEvent::PeerDown { id: revoked, reason: Reason::Violation }));
        assert!(scene.was_told(REVOKED, &NodeEvent::PeerDown { id: third, reason: Reason::Violation }));
        for home in CHAIN {
            assert!(scene.net.papers(home).versions().is_empty(), "case {number}, node {home}");
        }
        assert_eq!(scene.net.process(SECOND).node.sessions(), 2, "the others stay together");
    }
}

#[test]
fn and_one_of_a_foreign_authority_is_dropped_while_the_session_goes_on() {
    let mut scene = Scene::new(&Seed::of(1));
    let foreign = Authority::new(&mut Seed::of(2).generator("foreign")).list(9, &[serial(FIRST)], at(DAY));

    let list = Header { kind: REVOCATIONS, ..reliable(0) };
    scene.net.send(REVOKED, THIRD, list, &foreign).expect("there is room");
    scene.net.send(REVOKED, THIRD, header(0), b"and this arrives").expect("there is room");
    scene.net.drive_for(Duration::from_secs(1));

    let third = scene.net.process(THIRD);
    assert_eq!(third.unheard, [Unheard::NoNews(Reason::Untrusted)]);
    assert_eq!(third.delivered.len(), 1);
}

/// A chain of members, and at its end one more.
struct Scene {
    net: Net,
    authority: Authority,
}

impl Scene {
    fn new(seed: &Seed) -> Self {
        let authority = Authority::new(&mut seed.generator("authority"));
        let mut net = Net::new(seed, StreamConditions::weather(seed));
        for home in [FIRST, SECOND, THIRD, REVOKED] {
            assert_eq!(net.settle_member(&authority, serial(home), at(Duration::ZERO)..at(DAY)), home);
        }
        for (home, peer) in [(FIRST, SECOND), (THIRD, SECOND), (REVOKED, THIRD)] {
            net.introduce(home, peer, PeerConfig::default());
        }
        let sessions = |net: &mut Net| [0, 1, 2, 3].map(|home| net.process(home).node.sessions());
        let met = net.drive_until(Duration::from_secs(5), |net| sessions(net) == [1, 2, 2, 1]);
        assert!(met, "they meet: {:?}", sessions(&mut net));
        Self { net, authority }
    }

    fn publish(&mut self, home: Home, version: u64, serials: &[u64]) {
        let list = self.authority.list(version, serials, at(DAY));
        self.net.publish(home, &list).expect("it is news");
    }

    fn was_told(&mut self, home: Home, told: &NodeEvent) -> bool {
        self.net.process(home).events.iter().any(|(_, event)| event == told)
    }
}

/// The serial of the certificate of whoever lives there.
fn serial(home: Home) -> u64 {
    home as u64 + 1
}

/// The list with one bit changed, counted from its end if `place` is negative.
fn flipped(mut list: Vec<u8>, place: isize) -> Vec<u8> {
    let place = usize::try_from(place).unwrap_or_else(|_| list.len() - place.unsigned_abs());
    list[place] ^= 1;
    list
}
