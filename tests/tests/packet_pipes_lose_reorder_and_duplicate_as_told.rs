//! The ground under datagram links: what a pipe does to packets is what its conditions say, and repeatable.

use hyphal_core::time::{Duration, Instant};
use hyphal_lab::{
    network::{Arrival, PacketConditions, Side, VirtualNetwork},
    seed::{Odds, Seed},
};

const PACKETS: u32 = 20_000;
const END: Instant = Instant::from_micros(3_600_000_000);

#[test]
fn a_perfect_pipe_delivers_each_packet_once_in_order_and_on_time() {
    let seed = Seed::of(1);

    let arrivals = arrivals_of(&seed, PacketConditions::default());

    assert_eq!(arrivals.len(), PACKETS as usize);
    for (expected, (at, number)) in (0..PACKETS).zip(&arrivals) {
        assert_eq!(*number, expected);
        assert_eq!(at.as_micros(), u64::from(expected) * 1000 + 1000);
    }
}

#[test]
fn a_lossy_pipe_loses_its_share() {
    let seed = Seed::of(2);

    let arrivals = arrivals_of(&seed, PacketConditions { loss: Odds::percent(10), ..Default::default() });

    // 20,000 draws at 10 %: the mean of 2,000 lost has a standard deviation of 42; five of them either way.
    let lost = PACKETS as usize - arrivals.len();
    assert!((1788..=2212).contains(&lost), "{lost} packets were lost");
}

#[test]
fn a_duplicating_pipe_doubles_its_share_and_loses_none() {
    let seed = Seed::of(3);

    let arrivals = arrivals_of(&seed, PacketConditions { duplicate: Odds::percent(5), ..Default::default() });

    let mut numbers: Vec<_> = arrivals.iter().map(|(_, number)| *number).collect();
    let doubled = numbers.len() - PACKETS as usize;
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), PACKETS as usize);
    assert!((846..=1154).contains(&doubled), "{doubled} packets came twice");
}

#[test]
fn a_reordering_pipe_holds_back_its_share_by_the_span_it_was_told() {
    let seed = Seed::of(4);
    let conditions = PacketConditions { reorder: Odds::percent(20), ..Default::default() };

    let arrivals = arrivals_of(&seed, conditions);

    let late =
        arrivals.iter().filter(|(at, number)| at.as_micros() == u64::from(*number) * 1000 + 6000).count();
    assert_eq!(arrivals.len(), PACKETS as usize);
    assert!((3717..=4283).contains(&late), "{late} packets were held back");
    assert!(arrivals.windows(2).any(|pair| pair[0].1 > pair[1].1));
}

#[test]
fn a_pipe_with_bandwidth_takes_its_time_and_drops_what_is_too_long() {
    let seed = Seed::of(5);
    let mut network = VirtualNetwork::new(&seed);
    let conditions = PacketConditions { bandwidth: Some(100_000), largest: 1000, ..Default::default() };
    let pipe = network.open_pipe(conditions);

    network.send_packet(pipe, Side::Opener, &[1; 1000]);
    network.send_packet(pipe, Side::Opener, &[2; 1001]);
    network.send_packet(pipe, Side::Opener, &[3; 1000]);

    let mut arrivals = Vec::new();
    while let Some(Arrival::Packet { bytes, .. }) = network.poll_arrival(END) {
        arrivals.push((network.now().as_micros(), bytes[0]));
    }
    assert_eq!(arrivals, [(11_000, 1), (31_010, 3)]);
}

#[test]
fn the_same_seed_repeats_a_run_and_another_does_not() {
    let conditions = PacketConditions {
        jitter: Duration::from_millis(3),
        loss: Odds::percent(10),
        reorder: Odds::percent(10),
        duplicate: Odds::percent(10),
        ..Default::default()
    };

    let first = arrivals_of(&Seed::of(6), conditions);
    let again = arrivals_of(&Seed::of(6), conditions);

    assert_eq!(first, again);
    if std::env::var_os("HYPHAL_LAB_SEED").is_none() {
        assert_ne!(first, arrivals_of(&Seed::of(7), conditions));
    }
}

/// Sends one numbered packet a millisecond; answers when which number arrived.
fn arrivals_of(seed: &Seed, conditions: PacketConditions) -> Vec<(Instant, u32)> {
    let mut network = VirtualNetwork::new(seed);
    let pipe = network.open_pipe(conditions);
    let mut arrivals = Vec::new();
    for number in 0..PACKETS {
        let sent_at = Instant::from_micros(u64::from(number) * 1000);
        collect(&mut network, sent_at, &mut arrivals);
        network.send_packet(pipe, Side::Opener, &number.to_be_bytes());
    }
    collect(&mut network, END, &mut arrivals);
    arrivals
}

fn collect(network: &mut VirtualNetwork, until: Instant, arrivals: &mut Vec<(Instant, u32)>) {
    while let Some(arrival) = network.poll_arrival(until) {
        let Arrival::Packet { to: Side::Target, bytes, .. } = arrival else {
            panic!("not a packet: {arrival:?}")
        };
        arrivals.push((network.now(), u32::from_be_bytes(bytes.try_into().expect("four bytes"))));
    }
}
