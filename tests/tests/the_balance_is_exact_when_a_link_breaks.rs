//! Sent = confirmed + expired + dropped + unconfirmed + in flight + queued, wherever the link is cut; and what the sender
//! calls confirmed was delivered.

use std::collections::{BTreeMap, BTreeSet};

use hyphal_core::{ids::Priority, outbox::Header, time::Duration, wire::reason::Reason};
use hyphal_lab::{
    drive::Drive,
    link::header,
    network::{Segments, Side},
    pair::{Pair, Setup},
    seed::Seed,
};

#[test]
fn everything_acknowledged_is_confirmed() {
    let mut pair = Pair::up(&Seed::of(1));
    for sequence in 0..100 {
        pair.send(Side::Opener, header(sequence), b"count me").expect("there is room");
    }

    pair.drive_for(Duration::from_millis(200));

    let counters = pair.opener().outbox.counters();
    assert_eq!((counters.pushed, counters.confirmed), (100, 100));
    assert!(pair.opener().outbox.is_idle());
}

#[test]
fn what_the_application_still_holds_is_not_confirmed() {
    let mut pair = Pair::up(&Seed::of(2));
    pair.target().hoards = true;
    pair.send(Side::Opener, header(1), b"held").expect("there is room");

    pair.drive_for(Duration::from_secs(60));

    assert_eq!(pair.target().delivered.len(), 1);
    assert_eq!(pair.opener().outbox.counters().confirmed, 0);
    assert_eq!(pair.opener().outbox.in_flight(), 1);
}

#[test]
fn wherever_the_link_is_cut() {
    for seed in Seed::series(60) {
        let mut chance = seed.generator("cut");
        let mut setup = Setup::new(&seed);
        setup.conditions.segments = Segments::Random(400);
        setup.conditions.jitter = Duration::from_millis(5);
        setup.conditions.bandwidth = Some(200_000);
        setup.conditions.window = 4096;
        setup.buffer = 1024;
        let mut pair = Pair::up_with(&seed, setup);
        let cutter = Side::BOTH[chance.index(2)];
        let offset = pair.network.stream_written(pair.stream, cutter).len() + chance.index(20_000);
        pair.network.cut_stream_after(pair.stream, cutter, offset);

        let mut sent = [BTreeMap::new(), BTreeMap::new()];
        for sequence in 0..150 {
            for side in Side::BOTH {
                let priority = Priority::ALL[chance.index(4)];
                let ttl = 1 + chance.below(2) as u32;
                let payload = chance.bytes(sequence as usize % 300);
                let header = Header { priority, ttl, ..header(sequence) };
                let ticket = pair.send(side, header, &payload).expect("there is room");
                sent[side as usize].insert(sequence, (ticket.class, ticket.ordinal));
            }
            pair.drive_for(chance.span(Duration::from_millis(3)));
        }
        pair.drive_for(Duration::from_millis(500));
        if pair.opener().link.closed.is_none() {
            pair.network.cut_stream(pair.stream);
        }
        pair.drive_for(Duration::from_secs(1));

        for side in Side::BOTH {
            check_balance(&mut pair, side, &sent[side as usize]);
        }
    }
}

fn check_balance(pair: &mut Pair, side: Side, sent: &BTreeMap<u64, (Priority, u64)>) {
    let other = pair.end(side.other());
    let delivered = other.delivered.iter().map(|message| message.id.sequence);
    let filtered = other.filtered.iter().map(|(id, _)| id.sequence);
    let received: BTreeSet<u64> = delivered.chain(filtered).collect();
    let arrived = other.delivered.len() + other.filtered.len();
    let end = pair.end(side);
    assert_eq!(end.link.closed_for(), Some(Reason::LinkLost));
    let counters = end.outbox.counters();
    assert_eq!(end.outbox.in_flight(), 0, "nothing is in flight without a session");
    let accounted =
        counters.confirmed + counters.unconfirmed + counters.dropped() + end.outbox.queued() as u64;
    assert_eq!(counters.pushed, accounted, "{counters:?}");
    assert_eq!(counters.written, counters.confirmed + counters.unconfirmed);
    assert!(counters.confirmed <= arrived as u64, "confirmed what did not arrive");
    assert!(arrived as u64 <= counters.written, "arrived without having been written");
    // What is confirmed was taken by the other end: delivered, or kept back by its filter for a reason.
    let confirmed = end.outbox.ledger().confirmed();
    assert_eq!(confirmed.len() as u64, counters.confirmed);
    for (sequence, ticket) in sent {
        assert!(!confirmed.contains(ticket) || received.contains(sequence), "{ticket:?} is lost");
    }
}
