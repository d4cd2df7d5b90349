//! A node dies and comes back: the others notice, wait longer from dial to dial, and talk again soon after its return; and
//! every message is accounted for.

use std::collections::BTreeSet;

use hyphal_core::{
    breaker, health,
    node::{Config, NodeEvent, PeerConfig, Trust},
    time::{Duration, Instant},
    wire::reason::Reason,
};
use hyphal_lab::{
    drive::Drive,
    link::header,
    net::{Home, Net, Process},
    network::StreamConditions,
    seed::Seed,
    transcript::Fingerprint,
};

const SURVIVOR: Home = 0;
const VICTIM: Home = 1;

#[test]
fn a_killed_node_is_down_at_once() {
    let mut net = pair(&Seed::of(1));
    let killed_at = net.now();

    net.kill(VICTIM);
    net.drive_for(Duration::from_millis(10));

    let id = net.id(VICTIM);
    let event = NodeEvent::PeerDown { id, reason: Reason::LinkLost };
    let (at, _) = *net.process(SURVIVOR).events.iter().find(|(_, told)| *told == event).expect("it is told");
    assert_eq!(at.since(killed_at), Duration::from_millis(1));
    assert_eq!(health_of(&mut net), health::State::Suspect);
}

#[test]
fn an_unplugged_node_is_down_after_four_heartbeats() {
    let mut net = pair(&Seed::of(2));
    let unplugged_at = net.now();

    net.unplug(VICTIM);
    net.drive_for(Duration::from_secs(10));

    let id = net.id(VICTIM);
    let event = NodeEvent::PeerDown { id, reason: Reason::Silent };
    let (at, _) = *net.process(SURVIVOR).events.iter().find(|(_, told)| *told == event).expect("it is told");
    assert!((Duration::from_secs(3)..=Duration::from_millis(4001)).contains(&at.since(unplugged_at)));
}

#[test]
fn a_node_that_stays_away_is_given_up_step_by_step_and_dialled_ever_less() {
    let mut net = pair(&Seed::of(3));
    let killed_at = net.now();

    net.kill(VICTIM);
    net.drive_for(Duration::from_secs(600));

    assert_eq!(health_of(&mut net), health::State::Down);
    let id = net.id(VICTIM);
    let events = net.process(SURVIVOR).events.clone();
    let opened =
        events.iter().any(|(_, event)| matches!(event, NodeEvent::Breaker { to: breaker::State::Open, .. }));
    assert!(opened, "the breaker opens");
    let went_down = events.iter().any(
        |(_, event)| matches!(event, NodeEvent::Health { to: health::State::Down, id: of, .. } if *of == id),
    );
    assert!(went_down);
    let dials = dials_after(&mut net, killed_at);
    let within_minute = |minute: u64| {
        let range = minute * 60_000_000..(minute + 1) * 60_000_000;
        dials.iter().filter(|at| range.contains(&(at.since(killed_at).as_micros() as u64))).count()
    };
    assert!(within_minute(0) >= 4, "{} dials in the first minute", within_minute(0));
    for minute in 2..10 {
        assert!(
            (1..=7).contains(&within_minute(minute)),
            "{} dials in minute {minute}",
            within_minute(minute)
        );
    }
}

#[test]
fn a_restarted_node_is_a_new_one_with_the_same_name() {
    let mut net = pair(&Seed::of(4));
    let id = net.id(VICTIM);
    let first_boot =
        net.process(SURVIVOR).node.peer(&id).and_then(|peer| peer.session).map(|session| session.boot_id);

    net.kill(VICTIM);
    net.drive_for(Duration::from_millis(500));
    net.start(VICTIM);
    net.introduce(VICTIM, SURVIVOR, PeerConfig { dial: false, ..PeerConfig::default() });
    let is_back = net.drive_until(Duration::from_secs(40), |net| net.process(SURVIVOR).node.sessions() == 1);

    assert!(is_back);
    let boot =
        net.process(SURVIVOR).node.peer(&id).and_then(|peer| peer.session).map(|session| session.boot_id);
    assert_ne!(boot, first_boot);
    assert_eq!(health_of(&mut net), health::State::Healthy);
}

#[test]
fn messages_queued_meanwhile_arrive_after_the_return_once_each() {
    let mut net = pair(&Seed::of(5));
    net.kill(VICTIM);
    net.drive_for(Duration::from_millis(100));
    for number in 0..50u8 {
        net.send(SURVIVOR, VICTIM, header(0), &[number]).expect("there is room");
    }

    net.start(VICTIM);
    net.introduce(VICTIM, SURVIVOR, PeerConfig::default());
    net.drive_for(Duration::from_secs(5));

    let payloads: Vec<u8> =
        net.process(VICTIM).delivered.iter().map(|(_, message)| message.payload[0]).collect();
    assert_eq!(payloads, (0..50).collect::<Vec<_>>());
}

#[test]
fn the_books_balance_however_often_a_node_dies() {
    for seed in Seed::series(12) {
        let (books, _) = die_often(&seed);

        assert_eq!(books.lost, 0, "confirmed, but in nobody's log");
        assert_eq!(books.duplicates, 0);
        assert_eq!(books.sent, books.confirmed + books.unconfirmed + books.expired + books.queued);
        assert!(books.delivered <= books.confirmed + books.unconfirmed);
        assert!(books.confirmed > 0 && books.delivered >= books.confirmed);
    }
}

#[test]
fn the_same_seed_repeats_all_of_it() {
    for seed in Seed::series(3) {
        assert_eq!(die_often(&seed), die_often(&seed));
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Books {
    sent: u64,
    confirmed: u64,
    unconfirmed: u64,
    expired: u64,
    queued: u64,
    delivered: u64,
    duplicates: u64,
    lost: u64,
}

impl Books {
    /// Takes up what a process received in its life.
    fn log(&mut self, process: &Process, received: &mut BTreeSet<Vec<u8>>) {
        for (_, message) in &process.delivered {
            self.delivered += 1;
            self.duplicates += u64::from(!received.insert(message.payload.clone()));
        }
    }
}

/// One node sends all the time to another one that is killed at random moments and restarted.
fn die_often(seed: &Seed) -> (Books, (Fingerprint, Fingerprint)) {
    let mut chance = seed.generator("deaths");
    let mut net = pair(seed);
    let (mut received, mut books) = (BTreeSet::new(), Books::default());
    for _ in 0..6 {
        for _ in 0..chance.index(40) {
            net.send(SURVIVOR, VICTIM, header(0), &books.sent.to_be_bytes()).expect("there is room");
            books.sent += 1;
            net.drive_for(chance.span(Duration::from_millis(20)));
        }
        let dead = if chance.index(2) == 0 { net.kill(VICTIM) } else { net.unplug(VICTIM) };
        books.log(&dead, &mut received);
        net.drive_for(chance.span(Duration::from_secs(8)));
        net.start(VICTIM);
        net.introduce(VICTIM, SURVIVOR, PeerConfig::default());
        net.drive_for(chance.span(Duration::from_secs(3)));
    }
    net.drive_for(Duration::from_secs(60));
    books.log(net.process(VICTIM), &mut received);
    let id = net.id(VICTIM);
    let outbox = net.process(SURVIVOR).outbox(id);
    let counters = outbox.counters();
    assert_eq!(outbox.in_flight(), 0);
    books.confirmed = counters.confirmed;
    books.unconfirmed = counters.unconfirmed;
    books.expired = counters.expired;
    books.queued = outbox.queued() as u64;
    // All messages are of one class, so the ordinal of each is one more than its number.
    let confirmed = outbox.ledger().confirmed();
    assert_eq!(confirmed.len() as u64, books.confirmed);
    let is_lost = |ordinal: u64| !received.contains((ordinal - 1).to_be_bytes().as_slice());
    books.lost = confirmed.iter().filter(|(_, ordinal)| is_lost(*ordinal)).count() as u64;
    (books, net.fingerprint())
}

fn pair(seed: &Seed) -> Net {
    let mut net = Net::new(seed, StreamConditions::default());
    net.settle_node(Config { trust: Trust::Pinned, ..Config::default() });
    net.settle_node(Config::default());
    net.introduce(SURVIVOR, VICTIM, PeerConfig::default());
    net.introduce(VICTIM, SURVIVOR, PeerConfig { dial: false, ..PeerConfig::default() });
    net.drive_for(Duration::from_secs(20));
    assert_eq!(net.process(SURVIVOR).node.sessions(), 1);
    net
}

fn health_of(net: &mut Net) -> health::State {
    let id = net.id(VICTIM);
    net.process(SURVIVOR).node.peer(&id).expect("it is known").health
}

fn dials_after(net: &mut Net, start: Instant) -> Vec<Instant> {
    net.process(SURVIVOR).dials.iter().map(|(at, _)| *at).filter(|at| *at > start).collect()
}
