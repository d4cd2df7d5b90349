//! A node that lost power and was started again has no hints, and its peer still has a session with the dead process. The boot
//! id settles it with the first thing that verifies, long before that session falls silent.

use hyphal_core::{
    node::{Config, NodeEvent, PeerConfig},
    time::{Duration, Instant},
    wire::{frame::Kind, reason::Reason},
};
use hyphal_lab::{
    drive::Drive,
    link::header,
    net::{Home, Net},
    network::{Side, StreamConditions},
    seed::Seed,
};

const SURVIVOR: Home = 0;
const VICTIM: Home = 1;
/// One way.
const DELAY: Duration = Duration::from_millis(20);
/// The old session would stand for four minutes.
const HEARTBEAT: Duration = Duration::from_secs(60);

#[test]
fn when_it_dials() {
    for seed in Seed::series(5) {
        let mut net = pair(&seed, PeerConfig { dial: false, ..PeerConfig::default() });
        let dead = net.unplug(VICTIM).boot_id;
        assert_eq!(boot_of_victim(&mut net).map(|(boot, _)| boot), Some(dead));

        net.start(VICTIM);
        net.introduce(VICTIM, SURVIVOR, PeerConfig::default());
        net.send(VICTIM, SURVIVOR, header(0), b"here again").expect("there is room");
        net.drive_for(Duration::from_secs(1));

        let dialled_at = net.process(VICTIM).dials[0].0;
        let boot = net.process(VICTIM).boot_id;
        let (seen, since) = boot_of_victim(&mut net).expect("it has a session");
        assert_eq!((seen, since.since(dialled_at)), (boot, DELAY * 3), "with frame 3 of XX");
        let survivor = net.process(SURVIVOR);
        assert_eq!(survivor.delivered.len(), 1);
        assert_eq!(survivor.sessions_up(), 1, "the old session is closed");
        let downs = survivor.events.iter().filter(|(_, event)| matches!(event, NodeEvent::PeerDown { .. }));
        assert_eq!(downs.count(), 0, "a replacement is not told");
    }
}

#[test]
fn when_it_is_dialled_with_a_hint_that_died_with_it() {
    for seed in Seed::series(5) {
        let mut net = pair(&seed, PeerConfig::default());
        net.kill(VICTIM);
        net.start(VICTIM);
        net.introduce(VICTIM, SURVIVOR, PeerConfig { dial: false, ..PeerConfig::default() });

        net.drive_for(Duration::from_secs(2));

        let dials = &net.process(SURVIVOR).dials;
        assert_eq!(dials.len(), 2, "on the same link");
        let dialled_at = dials[1].0;
        let boot = net.process(VICTIM).boot_id;
        let (seen, since) = boot_of_victim(&mut net).expect("it has a session");
        assert_eq!((seen, since.since(dialled_at)), (boot, DELAY * 6), "one round trip more than XX");
        let stream = net.streams()[1];
        assert_eq!(net.network.stream_written(stream, Side::Opener)[4], Kind::Kk1 as u8);
        let refusal = &net.network.stream_written(stream, Side::Target)[..24];
        assert_eq!(refusal[14..16], Reason::UnknownHint.code().to_be_bytes());
    }
}

#[test]
fn a_node_that_was_shut_down_in_good_order_is_not_asked_for_hints() {
    let mut net = pair(&Seed::of(9), PeerConfig::default());
    let survivor = net.id(SURVIVOR);
    net.close_session(VICTIM, survivor, Reason::Shutdown);
    net.drive_for(DELAY * 2);
    net.kill(VICTIM);
    net.start(VICTIM);
    net.introduce(VICTIM, SURVIVOR, PeerConfig { dial: false, ..PeerConfig::default() });

    net.drive_for(Duration::from_secs(5));

    let newest = *net.streams().last().expect("a stream");
    assert_eq!(net.network.stream_written(newest, Side::Opener)[4], Kind::Xx1 as u8);
    assert_eq!(net.process(SURVIVOR).sessions_up(), 1);
}

fn pair(seed: &Seed, survivors: PeerConfig) -> Net {
    let mut net = Net::new(seed, StreamConditions { delay: DELAY, ..StreamConditions::default() });
    net.heartbeat = HEARTBEAT;
    net.settle_node(Config::default());
    net.settle_node(Config::default());
    net.introduce(SURVIVOR, VICTIM, survivors);
    let victims = PeerConfig { dial: !survivors.dial, ..PeerConfig::default() };
    net.introduce(VICTIM, SURVIVOR, victims);
    net.drive_for(Duration::from_secs(30));
    net
}

/// The boot id of the session that the survivor has with the victim, and since when.
fn boot_of_victim(net: &mut Net) -> Option<(u64, Instant)> {
    let id = net.id(VICTIM);
    let peer = net.process(SURVIVOR).node.peer(&id)?;
    Some((peer.session?.boot_id, peer.connected_since?))
}
