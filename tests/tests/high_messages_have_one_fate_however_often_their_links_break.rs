//! High messages between nodes that lose each other and meet again, at any moment and in any way: each is delivered once, in
//! the order of its class, or has a fate that says why it was not. And no other message is ever delivered twice.

use std::collections::{BTreeMap, BTreeSet};

use hyphal_core::{
    ids::{NodeId, Priority, Reliability},
    node::{Config, PeerConfig, Trust},
    outbox::{Header, Ticket},
    session::Expect,
    time::Duration,
    wire::reason::Reason,
};
use hyphal_lab::{
    drive::Drive,
    link::{Book, Delivered, Outcome, header},
    net::{Home, Net},
    network::{PacketConditions, Side, StreamConditions},
    packets::{LabSession, PacketPair, PacketSetup},
    seed::{Chance, Odds, Seed},
};

#[test]
fn over_streams_that_are_cut_stop_or_are_closed() {
    for seed in Seed::series(8) {
        let mut net = two_nodes(&seed);
        let mut chance = seed.generator("moves");
        let mut sent = [Sent::default(), Sent::default()];

        for _ in 0..60 {
            let from = chance.index(2);
            for _ in 0..chance.below(8) {
                let draft = Draft::new(&mut chance);
                let pushed = net.send(from, 1 - from, draft.header, &sent[from].next_payload(draft.len));
                sent[from].note(&draft, pushed.ok());
            }
            break_something(&mut net, &mut chance);
            net.drive_for(chance.span(Duration::from_millis(700)));
        }
        let come_to_rest =
            net.drive_until(Duration::from_secs(300), |net| [0, 1].iter().all(|home| is_idle(net, *home)));

        assert!(come_to_rest, "everything meets its fate");
        for (from, sent) in sent.iter().enumerate() {
            let (source, target) = (net.id(from), net.id(1 - from));
            let book = net.process(from).outbox(target).ledger().clone();
            let receiver = net.process(1 - from);
            assert!(receiver.delivered.iter().all(|(id, _)| *id == source));
            let delivered: Vec<_> = receiver.delivered.iter().map(|(_, message)| message.clone()).collect();
            let expired = receiver.filtered.iter().filter(|(_, reason)| *reason == Reason::Expired).count();
            sent.check(&book, &delivered, expired);
        }
        let sessions = net.process(0).node.peers().map(|peer| peer.sessions).sum::<u64>();
        assert!(sessions > 2, "there were {sessions} sessions");
    }
}

#[test]
fn over_datagrams_that_are_lost_between_sessions_that_end() {
    for seed in Seed::series(6) {
        let mut chance = seed.generator("moves");
        let conditions = PacketConditions {
            delay: Duration::from_millis(5),
            jitter: Duration::from_millis(10),
            loss: Odds::percent(chance.below(20)),
            reorder: Odds::percent(5),
            duplicate: Odds::percent(5),
            bandwidth: Some(100_000),
            ..PacketConditions::default()
        };
        let mut pair = PacketPair::with(&seed, PacketSetup { conditions, ..PacketSetup::new(&seed) });
        meet(&mut pair);
        let mut sent = [Sent::default(), Sent::default()];
        let mut sessions = 1;

        for _ in 0..40 {
            let from = Side::BOTH[chance.index(2)];
            for _ in 0..chance.below(8) {
                let draft = Draft::new(&mut chance);
                let payload = sent[from as usize].next_payload(draft.len);
                let header = Header { sequence: sent[from as usize].drafts, ..draft.header };
                let pushed = pair.send(from, header, &payload);
                sent[from as usize].note(&draft, pushed.ok());
            }
            pair.drive_for(chance.span(Duration::from_millis(500)));
            sessions += usize::from(end_session(&mut pair, &mut chance));
        }
        let come_to_rest = pair.drive_until(Duration::from_secs(300), |pair| {
            Side::BOTH.into_iter().all(|side| pair.end(side).outbox.is_idle())
        });

        assert!(come_to_rest, "everything meets its fate");
        for from in Side::BOTH {
            let book = pair.end(from).outbox.ledger().clone();
            let receiver = pair.end(from.other());
            let expired = receiver.filtered.iter().filter(|(_, reason)| *reason == Reason::Expired).count();
            // Datagrams keep no order.
            let mut delivered = receiver.delivered.clone();
            delivered.sort_by_key(|message| number(&message.payload));
            sent[from as usize].check(&book, &delivered, expired);
        }
        assert!(sessions > 2, "there were {sessions} sessions");
    }
}

/// One message as it is to be.
struct Draft {
    header: Header,
    len: usize,
}

impl Draft {
    fn new(chance: &mut Chance) -> Self {
        let priority = Priority::ALL[chance.index(4)];
        let reliability = match chance.below(4) {
            0 => Reliability::BestEffort,
            _ => Reliability::High,
        };
        let ttl = [0, 0, 60, 2][chance.index(4)];
        let len = if chance.happens(Odds::percent(10)) { 8000 } else { chance.index(400) };
        Self { header: Header { priority, reliability, ttl, ..header(0) }, len: 8 + len }
    }
}

/// What one node has sent, in order.
#[derive(Default)]
struct Sent {
    drafts: u64,
    messages: Vec<(u64, Header, Ticket)>,
}

impl Sent {
    /// A payload that says which message it is.
    fn next_payload(&mut self, len: usize) -> Vec<u8> {
        self.drafts += 1;
        let mut payload = self.drafts.to_be_bytes().to_vec();
        payload.resize(len, 0xa5);
        payload
    }

    fn note(&mut self, draft: &Draft, ticket: Option<Ticket>) {
        // A full outbox has accepted nothing.
        self.messages.extend(ticket.map(|ticket| (self.drafts, draft.header, ticket)));
    }

    /// Holds what the sender was told against what the receiver got, of which it dropped so many messages for their age.
    fn check(&self, book: &Book, delivered: &[Delivered], expired_there: usize) {
        let outcomes = book.outcomes();
        let numbers: Vec<u64> = delivered.iter().map(|message| number(&message.payload)).collect();
        let times = |number: u64| numbers.iter().filter(|delivered| **delivered == number).count();
        let mut confirmed_in_vain = 0;
        for (number, header, ticket) in &self.messages {
            let outcome = *outcomes.get(&(ticket.class, ticket.ordinal)).expect("each message has its fate");
            let expires = header.ttl != 0;
            match (outcome, times(*number)) {
                (Outcome::Confirmed, 1) => {}
                // Its receiver is done with a message, too, that came too late.
                (Outcome::Confirmed, 0) if expires => confirmed_in_vain += 1,
                (Outcome::Dropped(Reason::Expired), 0) if expires => {}
                (Outcome::Unconfirmed, 0 | 1) => {
                    assert!(
                        expires || header.reliability == Reliability::BestEffort,
                        "{number} waits for ever"
                    );
                }
                wrong => panic!("message {number}, {header:?}: {wrong:?}"),
            }
        }
        assert!(confirmed_in_vain <= expired_there, "{confirmed_in_vain} confirmed messages never arrived");
        let accepted: BTreeSet<u64> = self.messages.iter().map(|(number, ..)| *number).collect();
        assert!(numbers.iter().all(|number| accepted.contains(number)));
        let mut last: BTreeMap<Priority, u64> = BTreeMap::new();
        for (number, message) in numbers.iter().zip(delivered) {
            let before = last.insert(message.priority, *number);
            assert!(before.is_none_or(|before| before < *number), "{before:?} before {number}");
        }
    }
}

fn number(payload: &[u8]) -> u64 {
    u64::from_be_bytes(*payload.first_chunk().expect("every payload begins with a number"))
}

/// Two nodes that know each other, of which one dials, or both.
fn two_nodes(seed: &Seed) -> Net {
    let conditions = StreamConditions { bandwidth: Some(100_000), ..StreamConditions::weather(seed) };
    let mut net = Net::new(seed, conditions);
    for _ in 0..2 {
        net.settle_node(Config { trust: Trust::Open, ..Config::default() });
    }
    net.introduce(0, 1, PeerConfig::default());
    net.introduce(1, 0, PeerConfig { dial: seed.number().is_multiple_of(2), ..PeerConfig::default() });
    net
}

fn is_idle(net: &mut Net, home: Home) -> bool {
    let peer = net.id(1 - home);
    net.process(home).outbox(peer).is_idle()
}

/// Does to the youngest link what links suffer; mostly nothing.
fn break_something(net: &mut Net, chance: &mut Chance) {
    let Some(&stream) = net.streams().last() else { return };
    let side = Side::BOTH[chance.index(2)];
    match chance.below(12) {
        0 => net.network.cut_stream(stream),
        1 => {
            let written = net.network.stream_written(stream, side).len();
            net.network.cut_stream_after(stream, side, written + chance.index(3000));
        }
        // Nobody hears that it is broken.
        2 => net.network.let_bytes_vanish(stream, side),
        3 => {
            let written = net.network.stream_written(stream, side).len();
            net.network.vanish_after(stream, side, written + chance.index(3000));
        }
        4 => net.displace(side as Home),
        5 => {
            let peer: NodeId = net.id(1 - side as Home);
            net.close_session(side as Home, peer, Reason::Shutdown);
        }
        _ => {}
    }
}

/// Ends the session in good order, or because nothing arrives any more, and begins the next; says whether it did.
fn end_session(pair: &mut PacketPair, chance: &mut Chance) -> bool {
    match chance.below(8) {
        0 => pair.close(Side::BOTH[chance.index(2)], Reason::Shutdown),
        1 => {
            pair.is_dark = true;
            pair.drive_for(Duration::from_secs(10));
            pair.is_dark = false;
        }
        _ => return false,
    }
    let closed = |pair: &mut PacketPair| Side::BOTH.into_iter().all(|side| pair.end(side).closed.is_some());
    let have_closed = pair.drive_until(Duration::from_secs(10), closed);
    let closed = (pair.opener().closed, pair.target().closed);
    assert!(have_closed, "both ends notice: {closed:?}");
    let target = pair.target().id;
    pair.redial(Expect::Id(target));
    meet(pair);
    true
}

/// Dials until both are up: what is lost may be a handshake.
fn meet(pair: &mut PacketPair) {
    let target = pair.target().id;
    for _ in 0..20 {
        let is_over = pair.drive_until(Duration::from_secs(30), |pair| {
            pair.opener().closed.is_some() || Side::BOTH.into_iter().all(|side| is_up(pair, side))
        });
        assert!(is_over, "an attempt comes to its end");
        if pair.opener().closed.is_none() {
            return;
        }
        pair.redial(Expect::Id(target));
    }
    panic!("they never meet");
}

fn is_up(pair: &mut PacketPair, side: Side) -> bool {
    pair.end(side).session.as_ref().is_some_and(LabSession::is_up)
}
