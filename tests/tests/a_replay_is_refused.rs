//! What was valid once is not valid again: neither a handshake message nor a record, in this session or another.

use hyphal_core::{time::Duration, wire::reason::Reason};
use hyphal_lab::{drive::Drive, link::header, network::Side, pair::Pair, seed::Seed};

/// The initiator's frames.
const FIRST: usize = 46;
const THIRD: usize = 117;

#[test]
fn a_handshake_message_replayed_within_its_handshake() {
    let mut pair = Pair::new(&Seed::of(1));
    pair.drive_until(Duration::from_secs(1), |pair| {
        !pair.network.stream_written(pair.stream, Side::Target).is_empty()
    });
    let first = pair.network.stream_written(pair.stream, Side::Opener)[..FIRST].to_vec();

    pair.inject(Side::Target, &first);

    assert!(pair.drive_until_closed());
    assert_eq!(pair.target().link.dropped, [Reason::UnexpectedFrame]);
    assert_eq!(pair.target().link.up, None);
}

#[test]
fn a_whole_handshake_replayed_to_a_responder_with_a_fresh_ephemeral() {
    let mut original = Pair::up(&Seed::of(2));
    original.send(Side::Opener, header(1), b"once").expect("there is room");
    original.drive_for(Duration::from_millis(100));
    let said = original.network.stream_written(original.stream, Side::Opener).to_vec();
    let mut pair = Pair::new(&Seed::of(3));
    pair.network.let_bytes_vanish(pair.stream, Side::Opener);

    pair.inject(Side::Target, &said);

    assert!(pair.drive_until_closed());
    assert_eq!(pair.target().link.dropped, [Reason::Forged]);
    assert_eq!(pair.target().link.up, None);
    assert!(pair.target().delivered.is_empty());
}

#[test]
fn a_handshake_message_replayed_into_an_established_session() {
    let mut pair = Pair::up(&Seed::of(4));
    let third = pair.network.stream_written(pair.stream, Side::Opener)[FIRST..FIRST + THIRD].to_vec();

    pair.inject(Side::Target, &third);
    assert!(pair.drive_until_closed());

    assert_eq!(pair.target().link.dropped.len(), 1);
    assert!(pair.target().delivered.is_empty());
}

#[test]
fn a_record_replayed_into_its_own_session() {
    let mut pair = Pair::up(&Seed::of(5));
    pair.drive_for(Duration::from_millis(100));
    let start = pair.network.stream_written(pair.stream, Side::Opener).len();
    pair.send(Side::Opener, header(1), b"once").expect("there is room");
    pair.drive_for(Duration::from_millis(10));
    let record = pair.network.stream_written(pair.stream, Side::Opener)[start..].to_vec();

    pair.inject(Side::Target, &record);
    assert!(pair.drive_until_closed());

    assert_eq!(pair.target().link.dropped, [Reason::Forged]);
    assert_eq!(pair.target().payloads(), [b"once"]);
    assert_eq!(pair.opener().link.closed_by_peer_for(), Some(Reason::Forged));
}

#[test]
fn a_record_reflected_to_its_sender() {
    let mut pair = Pair::up(&Seed::of(6));
    pair.drive_for(Duration::from_millis(100));
    let start = pair.network.stream_written(pair.stream, Side::Opener).len();
    pair.send(Side::Opener, header(1), b"mirror").expect("there is room");
    pair.drive_for(Duration::from_millis(10));
    let record = pair.network.stream_written(pair.stream, Side::Opener)[start..].to_vec();

    pair.inject(Side::Opener, &record);
    assert!(pair.drive_until_closed());

    assert_eq!(pair.opener().link.dropped, [Reason::Forged]);
    assert!(pair.opener().delivered.is_empty());
}
