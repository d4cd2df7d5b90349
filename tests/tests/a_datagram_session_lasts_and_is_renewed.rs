//! Over days and bad pipes: keys change by the phase bit, sessions are renewed, clocks may leap, lines are noisy.

use hyphal_core::{
    session::Path,
    time::Duration,
    wire::{cobs, reason::Reason},
};
use hyphal_lab::{
    drive::Drive,
    link::reliable,
    network::{PacketConditions, Side},
    packets::{LabSession, PacketPair, PacketSetup},
    seed::{Odds, Seed},
};

const BAD: PacketConditions = PacketConditions {
    delay: Duration::from_millis(10),
    jitter: Duration::from_millis(4),
    loss: Odds::percent(10),
    reorder: Odds::percent(20),
    held_back: Duration::from_millis(30),
    duplicate: Odds::percent(5),
    bandwidth: None,
    largest: 1200,
};

#[test]
fn keys_change_by_the_phase_bit_while_messages_flow() {
    let seed = Seed::of(1);
    let mut pair = slow_hearts(&seed, BAD);

    for sequence in 0..500 {
        pair.send(Side::Opener, reliable(sequence), b"at any time").unwrap();
        pair.drive_for(Duration::from_secs(30));
    }

    let phases: Vec<_> = records(&pair.opener().sent).map(|record| record[0] & 0x20).collect();
    let changes = phases.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!((3..=4).contains(&changes), "{changes} changes in 4 hours and 10 minutes");
    assert_eq!(pair.target().delivered.len(), 500);
    assert!(!pair.target().dropped.contains(&Reason::Forged));
}

#[test]
fn a_day_old_session_drains_and_closes_without_doubt() {
    for seed in Seed::series(2) {
        let mut pair = slow_hearts(&seed, BAD);
        pair.drive_for(Duration::from_secs(23 * 3600));

        let is_over = (1..730).any(|sequence| {
            let _ = pair.send(Side::Opener, reliable(sequence), b"on the way");
            pair.drive_for(Duration::from_secs(10));
            pair.opener().closed.is_some() && pair.target().closed.is_some()
        });

        assert!(is_over);
        let reasons = [pair.opener().closed, pair.target().closed].map(|closed| closed.unwrap().1.reason);
        // A Close that is lost is told by silence.
        assert!(reasons.iter().all(|reason| matches!(reason, Reason::Worn | Reason::Silent)), "{reasons:?}");
        assert!(reasons.contains(&Reason::Worn));
        let counters = pair.opener().outbox.counters();
        assert_eq!(counters.written, counters.confirmed + counters.unconfirmed);
    }
}

#[test]
fn a_session_that_makes_way_for_another_leaves_no_message_in_doubt() {
    for seed in Seed::series(8) {
        let mut pair = PacketPair::up(&seed, BAD);
        for sequence in 0..300 {
            for side in Side::BOTH {
                pair.send(side, reliable(sequence), &[7; 400]).unwrap();
            }
        }
        pair.drive_for(Duration::from_millis(60));

        let now = pair.now();
        let opener = pair.opener();
        opener.session.as_mut().unwrap().retire(now, &mut opener.outbox, Reason::Replaced);
        let is_over = pair.drive_until(Duration::from_secs(10), |pair| {
            pair.opener().closed.is_some() && pair.target().closed.is_some()
        });

        assert!(is_over);
        let reasons = [pair.opener().closed, pair.target().closed].map(|closed| closed.unwrap().1.reason);
        assert!(reasons.contains(&Reason::Replaced) || reasons.contains(&Reason::Worn), "{reasons:?}");
        for (from, to) in [(Side::Opener, Side::Target), (Side::Target, Side::Opener)] {
            let counters = pair.end(from).outbox.counters();
            assert!(counters.written > 0 && counters.written < 300, "some are left for the other session");
            assert_eq!((counters.confirmed, counters.unconfirmed), (counters.written, 0));
            assert_eq!(pair.end(to).delivered.len() as u64, counters.written);
        }
    }
}

#[test]
fn a_clock_that_leaps_ends_a_session_in_good_order_at_most() {
    let seed = Seed::of(3);
    for hours in [1, 30, 24 * 365] {
        let mut pair = PacketPair::up(&seed, PacketConditions::default());
        pair.send(Side::Opener, reliable(1), b"before the leap").unwrap();
        pair.drive_for(Duration::from_millis(100));

        let later = pair.now().after(Duration::from_secs(hours * 3600));
        let opener = pair.opener();
        let session: &mut LabSession = opener.session.as_mut().unwrap();
        session.handle_timeout(later, &mut opener.outbox);
        let mut buffer = [0; 1200];
        while session.poll_transmit(later, &mut opener.outbox, &mut buffer).is_some() {}
        session.handle_timeout(later.after(Duration::from_secs(2)), &mut opener.outbox);

        assert!(session.is_closed());
        assert!(opener.outbox.is_idle());
    }
}

#[test]
fn a_noisy_line_carries_a_session_in_frames() {
    let seed = Seed::of(4);
    let mut chance = seed.generator("noise");
    let mut setup = PacketSetup::new(&seed);
    setup.line = true;
    let mut pair = PacketPair::with(&seed, setup);
    // The pair carries whole datagrams; the line between is this: frames, and noise before every third of them.
    pair.drive_until_up();
    assert!(pair.opener().sent.iter().all(|(to, bytes)| to.is_line() && bytes.len() < 200), "no padding");
    pair.send(Side::Opener, reliable(1), b"over the line").unwrap();
    pair.drive_for(Duration::from_millis(100));
    assert_eq!(pair.target().payloads(), [b"over the line"]);

    let (mut line, mut frame) = (cobs::Decoder::<1300>::new(), [0; 1300]);
    let sent = pair.opener().sent.clone();
    let (mut came, mut damaged) = (Vec::new(), 0);
    for (i, (_, datagram)) in sent.iter().enumerate() {
        let mut bytes = if i % 3 == 2 { chance.bytes(40) } else { Vec::new() };
        let len = cobs::encode(datagram, &mut frame).unwrap();
        bytes.extend_from_slice(&frame[..len]);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let cobs::Fed { used, frame } = line.feed(rest);
            match frame {
                Some(Ok(datagram)) => came.push(datagram.to_vec()),
                Some(Err(_)) => damaged += 1,
                None => {}
            }
            rest = &rest[used..];
        }
    }
    let noises = sent.len() / 3;
    assert!(
        damaged >= noises && came.len() == sent.len() - noises,
        "noise costs the frame that it joins, no other"
    );
    for datagram in &came {
        pair.inject(Side::Target, Path::default(), datagram);
    }
    pair.drive_for(Duration::from_millis(100));
    assert!(pair.target().session.as_ref().unwrap().is_up(), "all of it was here before");
}

/// A pair whose heartbeats are far apart, as it lives long.
fn slow_hearts(seed: &Seed, conditions: PacketConditions) -> PacketPair {
    let mut setup = PacketSetup { conditions, ..PacketSetup::new(seed) };
    for end in &mut setup.ends {
        end.config.heartbeat = Duration::from_secs(60);
        end.config.handshake_timeout = Duration::from_secs(20);
    }
    let mut pair = PacketPair::with(seed, setup);
    pair.drive_until_up();
    pair
}

fn records(sent: &[(Path, Vec<u8>)]) -> impl Iterator<Item = &[u8]> {
    sent.iter().map(|(_, bytes)| &bytes[..]).filter(|bytes| bytes[0] & 0x80 == 0)
}
