//! After a day a session makes way for a fresh handshake, and no message is lost, doubted or delivered twice over it.

use hyphal_core::{
    ids::Priority,
    node::{Config, NodeEvent, PeerConfig},
    outbox::Header,
    time::{Duration, Instant},
    wire::{control::Control, reason::Reason},
};
use hyphal_lab::{
    drive::Drive,
    link::header,
    net::{Home, Net},
    network::{Segments, Side, StreamConditions},
    pair::{Pair, Setup},
    scripted::Scripted,
    seed::Seed,
    subject::Subject,
};

/// A session lasts that long at most, and at least nineteen twentieths of it.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Rare, so that a day passes in few records.
const HEARTBEAT: Duration = Duration::from_secs(600);
const DIALLER: Home = 0;
const DIALLED: Home = 1;

#[test]
fn without_loss_doubt_or_repetition_while_both_ends_send() {
    for seed in Seed::series(8) {
        let mut chance = seed.generator("messages");
        let conditions = StreamConditions {
            delay: chance.span(Duration::from_millis(40)),
            jitter: Duration::from_millis(5),
            segments: Segments::Random(300),
            bandwidth: Some(100_000),
            ..StreamConditions::default()
        };
        // A first run tells when the session ends, so that both ends are busy then.
        let mut net = pair(&seed, conditions);
        net.drive_until(DAY, |net| ups(net, DIALLER).len() == 2);
        let renewed_at = net.now();
        let mut net = pair(&seed, conditions);
        let until_busy = renewed_at.since(net.now()) - Duration::from_secs(1);
        net.drive_for(until_busy);

        for _ in 0..400 {
            for (from, to) in [(DIALLER, DIALLED), (DIALLED, DIALLER)] {
                let priority = Priority::ALL[chance.index(4)];
                let len = 1 + chance.index(300);
                let payload = chance.bytes(len);
                net.send(from, to, Header { priority, ..header(0) }, &payload).expect("there is room");
            }
            net.drive_for(chance.span(Duration::from_millis(15)));
        }
        net.drive_for(Duration::from_secs(20));

        assert_eq!(ups(&mut net, DIALLER).len(), 2, "one session after the other");
        for (home, other) in [(DIALLER, DIALLED), (DIALLED, DIALLER)] {
            assert_eq!(downs(&mut net, home), [Reason::Worn]);
            let id = net.id(other);
            let process = net.process(home);
            let counters = process.outbox(id).counters();
            assert_eq!((counters.pushed, counters.confirmed), (400, 400), "{counters:?}");
            assert_eq!(process.delivered.len(), 400);
            assert_eq!(process.filtered, []);
        }
    }
}

#[test]
fn by_the_end_that_dialled_and_at_once() {
    let mut net = pair(&Seed::of(2), StreamConditions::default());
    let first_up = ups(&mut net, DIALLER)[0];

    net.drive_for(DAY + Duration::from_secs(1));

    let ups = ups(&mut net, DIALLER);
    let again = ups[1];
    assert!(again.since(first_up) >= DAY * 19 / 20);
    assert!(again.since(first_up) < DAY + Duration::from_millis(500), "{:?}", again.since(first_up));
    assert_eq!(net.process(DIALLER).dials.len(), 2);
    assert_eq!(net.process(DIALLED).dials.len(), 0);
}

#[test]
fn in_time_even_if_the_application_of_the_other_end_holds_on_to_messages() {
    let hoarding = || {
        let seed = Seed::of(3);
        let mut setup = Setup::new(&seed);
        setup.opener().config.heartbeat = HEARTBEAT;
        setup.target().config.heartbeat = HEARTBEAT;
        let mut pair = Pair::up_with(&seed, setup);
        pair.target().hoards = true;
        pair.send(Side::Opener, header(1), b"held").expect("there is room");
        pair
    };
    let mut pair = hoarding();
    pair.drive_until(DAY * 2, |pair| pair.opener().link.closed.is_some());
    let ends_at = pair.now();

    let mut pair = hoarding();
    let up_at = pair.now();
    pair.drive_for(ends_at.since(up_at) - Duration::from_secs(1));
    pair.send(Side::Opener, header(2), b"for the next session").expect("there is room");
    assert!(pair.opener().link.session.is_up());
    pair.drive_for(Duration::from_secs(2));

    let (closed_at, closed) = pair.opener().link.closed.expect("it is over");
    assert_eq!(closed.reason, Reason::Worn);
    assert!(closed_at.since(up_at) < DAY + Duration::from_millis(5100));
    let counters = pair.opener().outbox.counters();
    assert_eq!((counters.confirmed, counters.unconfirmed), (0, 1));
    assert_eq!(pair.opener().outbox.queued(), 1);
    assert_eq!(pair.target().delivered.len(), 1);
}

#[test]
fn a_peer_may_ask_for_it_earlier_and_must_then_send_no_more_messages() {
    let (mut subject, mut peer) = up(&Seed::of(4));

    subject.send(header(1), b"not any more");
    subject.hear(&peer.record(&[1, 0, 0, 4]));
    let said = peer.hear_records(&subject.say());

    assert_eq!(Control::decode(&said[0][3..]), Ok(Control::Drain));
    assert_eq!(Control::decode(&said[1][3..]), Ok(Control::close(Reason::Worn)));
    assert_eq!(said.len(), 2);
    assert_eq!(subject.outbox.queued(), 1);
}

#[test]
fn a_message_after_a_drain_breaks_the_rules() {
    let (mut subject, mut peer) = up(&Seed::of(5));
    subject.send(header(1), b"under way");
    subject.say();
    let message = [0, 0, 0, 0x31, 7, 1, b'x'];

    subject.hear(&peer.record(&[1, 0, 0, 4]));
    subject.hear(&peer.record(&message));

    assert_eq!(subject.link.dropped, [Reason::Violation]);
    assert_eq!(subject.delivered, []);
}

/// A responder under examination whose Accept and first ping a scripted peer has heard.
fn up(seed: &Seed) -> (Subject, Scripted) {
    let mut subject = Subject::accepting(seed);
    let mut peer = Scripted::new(seed);
    subject.hear_handshake(&mut peer);
    (subject, peer)
}

/// Two nodes, the first of which has dialled the other.
fn pair(seed: &Seed, conditions: StreamConditions) -> Net {
    let mut net = Net::new(seed, conditions);
    net.heartbeat = HEARTBEAT;
    for _ in [DIALLER, DIALLED] {
        net.settle_node(Config::default());
    }
    net.introduce(DIALLER, DIALLED, PeerConfig::default());
    net.introduce(DIALLED, DIALLER, PeerConfig { dial: false, ..PeerConfig::default() });
    let is_up = net.drive_until(Duration::from_secs(10), |net| {
        [DIALLER, DIALLED].into_iter().all(|home| !ups(net, home).is_empty())
    });
    assert!(is_up);
    net
}

fn ups(net: &mut Net, home: Home) -> Vec<Instant> {
    let events = net.process(home).events.iter();
    events.filter(|(_, event)| matches!(event, NodeEvent::PeerUp { .. })).map(|(at, _)| *at).collect()
}

fn downs(net: &mut Net, home: Home) -> Vec<Reason> {
    let reason = |(_, event): &(Instant, NodeEvent)| match event {
        NodeEvent::PeerDown { reason, .. } => Some(*reason),
        _ => None,
    };
    net.process(home).events.iter().filter_map(reason).collect()
}
