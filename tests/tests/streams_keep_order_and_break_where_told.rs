//! The ground under stream links: whatever the conditions, bytes arrive in order, unchanged, up to the fault a test set.

use hyphal_core::time::{Duration, Instant};
use hyphal_lab::{
    network::{Arrival, Segments, Side, StreamConditions, StreamId, VirtualNetwork},
    seed::{Odds, Seed},
};

const END: Instant = Instant::from_micros(3_600_000_000);

#[test]
fn bytes_arrive_in_order_under_any_conditions() {
    for seed in Seed::series(200) {
        let mut chance = seed.generator("conditions");
        let conditions = StreamConditions {
            jitter: Duration::from_millis(10),
            bandwidth: Some(1 + chance.below(1_000_000)),
            segments: Segments::Random(1 + chance.index(100)),
            stalls: Odds::percent(5),
            stall: Duration::from_millis(50),
            ..Default::default()
        };
        let mut network = VirtualNetwork::new(&seed);
        let stream = network.open_stream(conditions);
        let sent = chance.bytes(2000);

        for piece in sent.chunks(300) {
            network.write_stream(stream, Side::Opener, piece);
        }

        assert_eq!(read_all(&mut network).bytes, sent);
        assert_eq!(network.stream_written(stream, Side::Opener), sent);
    }
}

#[test]
fn segments_have_the_length_they_were_told() {
    let (mut network, stream) =
        network(StreamConditions { segments: Segments::Every(3), ..Default::default() });

    network.write_stream(stream, Side::Opener, b"12345678");

    assert_eq!(read_all(&mut network).lengths, [3, 3, 2]);
}

#[test]
fn a_cut_lets_the_bytes_before_it_through_and_ends_both_sides() {
    let (mut network, stream) = network(StreamConditions::default());
    network.cut_stream_after(stream, Side::Opener, 5);

    network.write_stream(stream, Side::Opener, b"123");
    network.write_stream(stream, Side::Opener, b"45678");
    network.write_stream(stream, Side::Opener, b"9");

    let read = read_all(&mut network);
    assert_eq!(read.bytes, b"12345");
    assert_eq!(read.ended, [Side::Opener, Side::Target]);
}

#[test]
fn a_flip_changes_one_byte_of_one_direction() {
    let (mut network, stream) =
        network(StreamConditions { segments: Segments::Every(2), ..Default::default() });
    network.flip_in_stream(stream, Side::Opener, 4, 0x80);

    network.write_stream(stream, Side::Opener, &[0; 7]);

    assert_eq!(read_all(&mut network).bytes, [0, 0, 0, 0, 0x80, 0, 0]);
}

#[test]
fn a_half_open_stream_loses_one_direction_without_a_sign() {
    let (mut network, stream) = network(StreamConditions::default());
    network.let_bytes_vanish(stream, Side::Opener);

    network.write_stream(stream, Side::Opener, b"lost");
    network.write_stream(stream, Side::Target, b"found");

    let read = read_all(&mut network);
    assert_eq!(read.bytes, b"found");
    assert!(read.ended.is_empty());
}

#[test]
fn a_reader_that_pauses_fills_the_window_and_gets_everything_later() {
    let (mut network, stream) = network(StreamConditions { window: 10, ..Default::default() });
    network.pause_reading(stream, Side::Target);

    network.write_stream(stream, Side::Opener, b"123456");
    assert_eq!(network.poll_arrival(Instant::from_micros(50_000)), None);
    let room = network.stream_room(stream, Side::Opener);
    network.resume_reading(stream, Side::Target);

    assert_eq!(room, 4);
    assert_eq!(read_all(&mut network).bytes, b"123456");
    assert_eq!(network.stream_room(stream, Side::Opener), 10);
}

#[test]
fn a_close_arrives_after_the_bytes_before_it() {
    let (mut network, stream) = network(StreamConditions { bandwidth: Some(1000), ..Default::default() });

    network.write_stream(stream, Side::Opener, b"last words");
    network.close_stream(stream, Side::Opener);

    let read = read_all(&mut network);
    assert_eq!(read.bytes, b"last words");
    assert_eq!(read.ended, [Side::Target]);
}

fn network(conditions: StreamConditions) -> (VirtualNetwork, StreamId) {
    let mut network = VirtualNetwork::new(&Seed::of(1));
    let stream = network.open_stream(conditions);
    (network, stream)
}

#[derive(Default)]
struct Read {
    bytes: Vec<u8>,
    lengths: Vec<usize>,
    ended: Vec<Side>,
}

fn read_all(network: &mut VirtualNetwork) -> Read {
    let mut read = Read::default();
    while let Some(arrival) = network.poll_arrival(END) {
        match arrival {
            Arrival::Bytes { bytes, .. } => {
                read.lengths.push(bytes.len());
                read.bytes.extend(bytes);
            }
            Arrival::Ended { to, .. } => read.ended.push(to),
            Arrival::Packet { .. } => panic!("a packet on a stream"),
        }
    }
    read.ended.sort_unstable();
    read
}
