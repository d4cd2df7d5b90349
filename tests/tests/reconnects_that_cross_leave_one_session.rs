//! Both ends lose their link and dial with their hints at the same time: one session stays, the same at both ends, by the
//! rule that holds for first contacts.

use hyphal_core::{
    node::{Config, PeerConfig},
    time::Duration,
    wire::frame::Kind,
};
use hyphal_lab::{
    drive::Drive,
    net::{Home, Net},
    network::{Side, StreamConditions},
    seed::Seed,
};

#[test]
fn by_the_rule() {
    let mut crossed = 0;
    for seed in Seed::series(30) {
        // Longer than the waits before a dial differ, so that the dials pass each other.
        let delay = Duration::from_millis(150);
        let mut net = Net::new(&seed, StreamConditions { delay, ..StreamConditions::default() });
        net.settle_node(Config::default());
        net.settle_node(Config::default());
        net.introduce(0, 1, PeerConfig::default());
        net.introduce(1, 0, PeerConfig::default());
        net.drive_for(Duration::from_secs(20));
        let before = net.streams().len();
        net.streams().into_iter().for_each(|stream| net.network.cut_stream(stream));

        net.drive_for(Duration::from_secs(20));

        let since = net.streams().split_off(before);
        let first_kind = |stream| net.network.stream_written(stream, Side::Opener)[4];
        let kinds: Vec<u8> = since.into_iter().map(first_kind).collect();
        let is_crossed = kinds.starts_with(&[Kind::Kk1 as u8; 2]);
        crossed += u32::from(is_crossed);
        for home in 0..2 {
            assert_eq!((net.process(home).node.sessions(), net.process(home).sessions_up()), (1, 1));
        }
        let dialled = [dialled(&mut net, 0), dialled(&mut net, 1)];
        assert_ne!(dialled[0], dialled[1], "both ends keep the same session");
        if is_crossed {
            let smaller = if net.id(0) < net.id(1) { 0 } else { 1 };
            assert!(dialled[smaller], "the smaller initiator's");
        }
    }
    assert!(crossed >= 20, "{crossed} of 30 crossed");
}

fn dialled(net: &mut Net, home: Home) -> bool {
    let id = net.id(1 - home);
    net.process(home).node.peer(&id).and_then(|peer| peer.session).expect("it has a session").dialled
}
