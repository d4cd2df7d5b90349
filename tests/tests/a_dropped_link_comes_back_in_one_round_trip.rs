//! Two nodes that had a session need one round trip for the next one, by themselves: after a lost link and at a renewal.

use hyphal_core::{
    node::{Config, NodeEvent, PeerConfig},
    time::{Duration, Instant},
    wire::frame::Kind,
};
use hyphal_lab::{
    drive::Drive,
    link::header,
    net::{Home, Net},
    network::{Segments, Side, StreamConditions},
    seed::Seed,
};

const DIALLER: Home = 0;
const DIALLED: Home = 1;
/// One way.
const DELAY: Duration = Duration::from_millis(40);

#[test]
fn a_lost_link() {
    for seed in Seed::series(10) {
        let mut net = pair(&seed);
        let first = net.streams()[0];

        net.network.cut_stream(first);
        net.drive_for(Duration::from_millis(1));
        net.send(DIALLER, DIALLED, header(0), b"waiting").expect("there is room");
        net.drive_for(Duration::from_secs(2));

        let dials = net.process(DIALLER).dials.clone();
        let ups = [DIALLER, DIALLED].map(|home| ups(&mut net, home));
        assert_eq!((dials.len(), ups[0].len(), ups[1].len()), (2, 2, 2));
        assert_eq!(ups[0][0].since(dials[0].0), DELAY * 4, "strangers take two round trips");
        assert_eq!(ups[0][1].since(dials[1].0), DELAY * 2, "acquaintances one");
        assert_eq!(ups[1][1].since(dials[1].0), DELAY * 3, "and the first record is the proof");
        let delivered = &net.process(DIALLED).delivered;
        assert_eq!(delivered.len(), 1);
        assert_eq!(delivered[0].1.at.since(dials[1].0), DELAY * 3);
    }
}

#[test]
fn a_lost_link_again_and_again() {
    let mut net = pair(&Seed::of(1));

    for round in 1..=20 {
        let newest = *net.streams().last().expect("a stream");
        net.network.cut_stream(newest);
        let is_back = net.drive_until(Duration::from_secs(40), |net| {
            net.streams().len() == round + 1 && net.process(DIALLED).sessions_up() == 1
        });

        assert!(is_back);
        assert_eq!(first_kind(&net, round), Kind::Kk1 as u8, "round {round}");
    }
}

#[test]
fn a_link_that_is_cut_before_the_proof_costs_a_full_handshake() {
    let mut net = pair(&Seed::of(2));
    let first = net.streams()[0];
    net.network.cut_stream(first);
    net.drive_until(Duration::from_secs(2), |net| net.streams().len() == 2);
    let second = net.streams()[1];
    net.network.cut_stream_after(second, Side::Opener, 109);

    net.drive_for(Duration::from_secs(10));

    assert_eq!(net.streams().len(), 3);
    assert_eq!(net.process(DIALLED).sessions_up(), 1);
    let kinds: Vec<u8> = (0..3).map(|at| first_kind(&net, at)).collect();
    assert_eq!(kinds, [Kind::Xx1, Kind::Kk1, Kind::Kk1].map(|kind| kind as u8));
    // The responder never was in the session whose hint this is.
    let answer = net.network.stream_written(net.streams()[2], Side::Target)[4];
    assert_eq!(answer, Kind::Refusal as u8);
}

#[test]
fn a_renewed_session() {
    let seed = Seed::of(3);
    let mut net = Net::new(&seed, StreamConditions { delay: DELAY, ..StreamConditions::default() });
    net.heartbeat = Duration::from_secs(600);
    introduced(&mut net);

    net.drive_for(Duration::from_secs(2 * 24 * 3600 + 60));

    let kinds: Vec<u8> = (0..net.streams().len()).map(|at| first_kind(&net, at)).collect();
    assert_eq!(kinds, [Kind::Xx1, Kind::Kk1, Kind::Kk1].map(|kind| kind as u8));
    assert_eq!(net.process(DIALLER).sessions_up(), 1);
}

#[test]
fn in_any_pieces() {
    for seed in Seed::series(10) {
        let conditions = StreamConditions { segments: Segments::Random(9), ..StreamConditions::default() };
        let mut net = Net::new(&seed, conditions);
        introduced(&mut net);
        net.drive_for(Duration::from_secs(20));
        let first = net.streams()[0];

        net.network.cut_stream(first);
        net.drive_for(Duration::from_secs(5));

        assert_eq!(first_kind(&net, 1), Kind::Kk1 as u8);
        assert_eq!((net.streams().len(), net.process(DIALLED).sessions_up()), (2, 1));
    }
}

fn pair(seed: &Seed) -> Net {
    let mut net = Net::new(seed, StreamConditions { delay: DELAY, ..StreamConditions::default() });
    introduced(&mut net);
    net.drive_for(Duration::from_secs(20));
    net
}

fn introduced(net: &mut Net) {
    net.settle_node(Config::default());
    net.settle_node(Config::default());
    net.introduce(DIALLER, DIALLED, PeerConfig::default());
    net.introduce(DIALLED, DIALLER, PeerConfig { dial: false, ..PeerConfig::default() });
}

fn ups(net: &mut Net, home: Home) -> Vec<Instant> {
    let is_up = |event: &NodeEvent| matches!(event, NodeEvent::PeerUp { .. });
    net.process(home).events.iter().filter(|(_, event)| is_up(event)).map(|(at, _)| *at).collect()
}

/// The kind of the first frame on the stream that was opened as number `at`.
fn first_kind(net: &Net, at: usize) -> u8 {
    net.network.stream_written(net.streams()[at], Side::Opener)[4]
}
