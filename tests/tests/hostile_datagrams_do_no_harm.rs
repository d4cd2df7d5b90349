//! Replayed, doubled, truncated, bent and invented datagrams cost a counter, never the session.

use hyphal_core::{
    session::{Expect, Path, Resumption},
    time::Duration,
    wire::{
        datagram::{MAX_LEN, Packet},
        frame::{Header, Kind, Refusal},
        reason::Reason,
    },
};
use hyphal_lab::{
    drive::Drive,
    link::header,
    network::{PacketConditions, Side},
    packets::{OPENER, PacketPair, PacketSetup, TARGET},
    pair::acquaintance,
    seed::{Odds, Seed},
};

const ELSEWHERE: Path = Path { address: [9; 16], port: 9 };

#[test]
fn replayed_records_are_dropped_as_duplicates() {
    let seed = Seed::of(1);
    let mut pair = PacketPair::up(&seed, PacketConditions::default());
    pair.send(Side::Opener, header(1), b"once").unwrap();
    pair.drive_for(Duration::from_millis(200));
    let recorded = pair.opener().sent.clone();
    let records: Vec<_> = recorded.iter().filter(|(_, bytes)| bytes[0] & 0x80 == 0).collect();

    for _ in 0..3 {
        for (_, record) in &records {
            pair.inject(Side::Target, OPENER, record);
            pair.inject(Side::Target, ELSEWHERE, record);
        }
        pair.settle();
    }

    assert_eq!(pair.target().payloads(), [b"once"]);
    assert_eq!(pair.target().dropped, vec![Reason::Duplicate; 6 * records.len()]);
    assert_goes_on(&mut pair);
    assert_eq!(pair.target().bytes_to(ELSEWHERE), 0, "a replay moves no address");
}

#[test]
fn truncated_bent_and_readdressed_records_are_dropped() {
    let seed = Seed::of(2);
    let mut pair = PacketPair::up(&seed, PacketConditions { loss: Odds::NEVER, ..Default::default() });
    // Nothing arrives from here on but what is injected.
    pair.send(Side::Opener, header(1), b"a message").unwrap();
    let before = pair.opener().sent.len();
    pair.settle();
    let (_, record) = pair.opener().sent[before].clone();

    for len in 0..record.len() {
        pair.inject(Side::Target, OPENER, &record[..len]);
    }
    for bit in 0..record.len() * 8 {
        let mut bent = record.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        pair.inject(Side::Target, OPENER, &bent);
    }
    pair.settle();

    assert!(pair.target().delivered.is_empty());
    assert_eq!(pair.target().dropped.len(), record.len() * 9);
    assert_goes_on(&mut pair);
}

#[test]
fn a_storm_of_forged_records_is_counted_and_nothing_else() {
    let seed = Seed::of(3);
    let mut pair = PacketPair::up(&seed, PacketConditions::default());
    let mut chance = seed.generator("storm");
    let sent_before = pair.target().sent.len();

    for _ in 0..20_000 {
        let mut forged = chance.bytes(40);
        // Well formed, for the right session, any counter, any phase.
        forged[0] &= 0x60;
        forged[1..3].copy_from_slice(&[8, 9]);
        pair.inject(Side::Target, OPENER, &forged);
    }
    pair.settle();

    let target = pair.target();
    assert!(target.dropped.iter().all(|reason| matches!(reason, Reason::Forged | Reason::Duplicate)));
    assert_eq!((target.dropped.len(), target.sent.len()), (20_000, sent_before));
    assert_goes_on(&mut pair);
}

#[test]
fn forged_packets_of_a_handshake_do_not_end_it() {
    let seed = Seed::of(4);
    for kind in [Kind::Xx2, Kind::Xx3, Kind::Kk2, Kind::Retry, Kind::Xx1, Kind::Kk1] {
        let mut pair = PacketPair::with(&seed, PacketSetup::new(&seed));
        pair.settle();
        let frame_id = pair.opener().session.as_ref().unwrap().frame_id();
        let mut forged = vec![0; 400];
        let at = Packet::encode_header(&[], &mut forged).unwrap();
        Header::new(kind, frame_id).encode(&[5; 125], &mut forged[at..]).unwrap();

        for _ in 0..3 {
            pair.inject(Side::Opener, TARGET, &forged);
            pair.inject(Side::Opener, ELSEWHERE, &forged);
        }
        pair.drive_until_up();

        assert_goes_on(&mut pair);
    }
}

#[test]
fn a_forged_refusal_of_another_attempt_or_without_an_id_is_ignored() {
    let seed = Seed::of(5);
    let mut pair = PacketPair::with(&seed, PacketSetup::new(&seed));
    pair.settle();
    let own = pair.opener().session.as_ref().unwrap().frame_id();
    let mut packet = [0; 100];

    for frame_id in [0, own ^ 1, u64::MAX] {
        let len = hyphal_core::gate::refuse(frame_id, &Refusal::new(Reason::Busy), &mut packet).unwrap();
        pair.inject(Side::Opener, TARGET, &packet[..len]);
    }
    pair.drive_until_up();

    assert_eq!(pair.opener().dropped, [Reason::UnexpectedFrame; 3]);
}

#[test]
fn a_flood_of_first_packets_gets_less_than_it_sends_and_opens_nothing() {
    let seed = Seed::of(6);
    let mut pair = PacketPair::with(&seed, PacketSetup::new(&seed));
    let mut chance = seed.generator("flood");

    for number in 0..2_000_u16 {
        let victim = Path { address: [3; 16], port: number };
        let mut first = vec![0; MAX_LEN];
        let cookie = chance.bytes(if number % 2 == 0 { 0 } else { 16 });
        let at = Packet::encode_header(&cookie, &mut first).unwrap();
        Header::new(Kind::Xx1, chance.below(u64::MAX)).encode(&chance.bytes(32), &mut first[at..]).unwrap();
        pair.inject(Side::Target, victim, &first);
    }
    pair.settle();

    assert_eq!(pair.target().accepted, 0, "no session, so no Diffie-Hellman");
    assert_eq!(pair.replies.len(), 2_000);
    assert!(pair.replies.iter().all(|(_, len)| *len < 60), "against 1,200 bytes each");
    pair.drive_until_up();
    assert_eq!(pair.target().accepted, 1);
}

#[test]
fn an_admitted_stranger_that_says_no_more_gets_no_more_than_it_sent() {
    let seed = Seed::of(7);
    let mut pair = PacketPair::with(&seed, PacketSetup::new(&seed));
    pair.drive_until(Duration::from_secs(1), |pair| pair.target().accepted == 1);
    // It never hears, and never says, anything again.
    pair.opener().address = ELSEWHERE;
    pair.opener().session = None;

    pair.drive_for(Duration::from_secs(20));

    let (sent, heard) = (pair.target().bytes_to(OPENER), pair.target().heard[&OPENER]);
    assert!(sent > 0 && sent <= heard, "{sent} of {heard}");
    assert_eq!(pair.target().closed.map(|(_, closed)| closed.reason), Some(Reason::HandshakeTimeout));
}

#[test]
fn a_reconnect_takes_one_round_trip_and_its_first_packet_is_good_once() {
    let seed = Seed::of(8);
    let mut first = PacketPair::up(&seed, PacketConditions::default());
    let (hints, peers) = (
        first.opener().session.as_ref().unwrap().hints().unwrap(),
        first.target().session.as_ref().unwrap().hints().unwrap(),
    );
    assert_eq!(hints.own, peers.peers);
    let mut setup = PacketSetup::new(&seed);
    let [opener, target] = [0, 1].map(|end: usize| acquaintance(&setup.ends[end].identity));
    setup.ends[1].given = [(hints.own, opener)].into();
    setup.expect = Expect::Resume(Resumption { peer: target, hint: hints.own });
    let mut pair = PacketPair::with(&seed, setup);

    pair.drive_until_up();
    assert!(pair.now().as_micros() <= 4_000, "two round trips of 2 ms, the proof included: {:?}", pair.now());
    let (_, message_1) = pair.opener().sent[0].clone();
    assert_goes_on(&mut pair);

    // The same packet from elsewhere, after its session has ended: the hint is used up.
    pair.close(Side::Opener, Reason::Shutdown);
    pair.drive_for(Duration::from_secs(1));
    pair.inject(Side::Target, ELSEWHERE, &message_1);
    pair.drive_for(Duration::from_secs(6));

    let target = pair.target();
    assert_eq!(target.closed.map(|(_, closed)| closed.reason), Some(Reason::UnknownHint));
    assert!(target.bytes_to(ELSEWHERE) < 60);
}

#[test]
fn a_first_packet_of_a_reconnect_that_comes_from_elsewhere_first_brings_up_nothing() {
    let seed = Seed::of(10);
    let mut first = PacketPair::up(&seed, PacketConditions::default());
    let hint = first.opener().session.as_ref().unwrap().hints().unwrap().own;
    let mut setup = PacketSetup::new(&seed);
    let [opener, target] = [0, 1].map(|end: usize| acquaintance(&setup.ends[end].identity));
    setup.ends[1].given = [(hint, opener)].into();
    setup.expect = Expect::Resume(Resumption { peer: target, hint });
    let mut pair = PacketPair::with(&seed, setup);
    // The true packet was caught on its way; the opener hears nothing from its own address.
    pair.opener().address = ELSEWHERE;
    pair.drive_until(Duration::from_millis(100), |pair| !pair.opener().sent.is_empty());
    let (_, message_1) = pair.opener().sent[0].clone();
    pair.opener().session = None;

    let thief = Path { address: [8; 16], port: 8 };
    for _ in 0..5 {
        pair.inject(Side::Target, thief, &message_1);
        pair.inject(Side::Target, ELSEWHERE, &message_1);
    }
    pair.drive_for(Duration::from_secs(20));

    let target = pair.target();
    assert_eq!((target.up, target.accepted > 0), (None, true));
    let (sent, heard) = (target.bytes_to(thief), target.heard[&thief]);
    assert!(0 < sent && sent <= heard, "the hint was good: {sent} of {heard}");
    assert!(target.delivered.is_empty());
}

#[test]
fn a_forgotten_hint_leads_to_the_other_handshake() {
    let seed = Seed::of(9);
    let mut setup = PacketSetup::new(&seed);
    let peer = acquaintance(&setup.ends[1].identity);
    let hint = hyphal_core::ids::Hint::from_bytes([4; 8]);
    setup.expect = Expect::Resume(Resumption { peer, hint });
    let mut pair = PacketPair::with(&seed, setup);

    pair.drive_until_up();

    assert_eq!(pair.target().accepted, 2, "one session refused the hint, the other came up");
    assert_goes_on(&mut pair);
}

/// Both ends still hear each other.
fn assert_goes_on(pair: &mut PacketPair) {
    let (before, after) = (pair.target().delivered.len(), header(1_000));
    pair.send(Side::Opener, after, b"still here").unwrap();
    pair.send(Side::Target, after, b"so am I").unwrap();
    let is_done = pair.drive_until(Duration::from_secs(5), |pair| {
        pair.opener().outbox.is_idle() && pair.target().outbox.is_idle()
    });
    let closed = [pair.opener().closed, pair.target().closed];
    assert!(is_done, "{closed:?}");
    assert!(pair.target().delivered.len() > before);
    assert_eq!(pair.opener().delivered.last().unwrap().payload, b"so am I");
}
