//! The behaviour of [`Node`] as sentences, by subject, and its laws; here are the scenes that they begin with.

mod dialling;
mod hints;
mod laws;
mod listing;
mod sessions;
mod trust;

use super::*;
use crate::{
    backoff,
    ids::Hints,
    recovery::{Recovery, recover_from_error},
    time::Duration,
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::{vec, vec::Vec};

type TestNode = Node<FixedTable<8>, ChaCha8Rng>;

fn node(trust: Trust) -> TestNode {
    Node::new(own(), Config { trust, ..Config::default() }, FixedTable::new(), rng())
}

/// A node that was told to dial these peers.
fn pinned_with(peers: &[u8]) -> TestNode {
    let mut node = node(Trust::Pinned);
    for peer in peers {
        node.add_peer(at(0), id(*peer), PeerConfig::default()).unwrap();
    }
    node
}

/// A node whose dial of this peer is outstanding.
fn dialling(peer: u8) -> TestNode {
    let mut node = pinned_with(&[peer]);
    assert_eq!(actions(&mut node), [dial(peer)]);
    node
}

/// What has a peer dialled that has left no hint.
fn dial(peer: u8) -> Action {
    Action::Dial { id: id(peer), resumption: None }
}

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(7)
}

fn own() -> NodeId {
    id(0x80)
}

fn id(n: u8) -> NodeId {
    NodeId::from_bytes([n; NodeId::LEN])
}

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

/// A session whose own hint is that of `number`, and the peer's the next.
fn with_hints(session: SessionRef, number: u8) -> SessionRef {
    SessionRef { hints: Some(Hints { own: hint(number), peers: hint(number + 1), key: KEY }), ..session }
}

/// The key that stands for every peer.
const KEY: [u8; 32] = [9; 32];

fn known(number: u8) -> Acquaintance {
    Acquaintance { id: id(number), key: KEY }
}

fn hint(number: u8) -> Hint {
    Hint::from_bytes([number; Hint::LEN])
}

fn some_hints() -> Hints {
    Hints { own: hint(7), peers: hint(8), key: KEY }
}

/// The session of a peer with certificate 1 that expires at this moment.
fn certified(session: SessionRef, until: Instant) -> SessionRef {
    SessionRef { credential: Ok(credential(1)), certified_until: Some(until), ..session }
}

fn credential(serial: u64) -> Credential {
    Credential::sample(id(1), serial)
}

fn dialled(token: u64) -> SessionRef {
    session(token, true)
}

fn accepted(token: u64) -> SessionRef {
    session(token, false)
}

/// A session in the first boot of a peer without a certificate.
fn session(token: u64, dialled: bool) -> SessionRef {
    SessionRef { token, boot_id: 1, dialled, hints: None, credential: NO_CERTIFICATE, certified_until: None }
}

fn actions<T: Table>(node: &mut Node<T, ChaCha8Rng>) -> Vec<Action> {
    drain(|| node.poll_action())
}

fn events<T: Table>(node: &mut Node<T, ChaCha8Rng>) -> Vec<NodeEvent> {
    drain(|| node.poll_event())
}

fn drain<O>(poll: impl FnMut() -> Option<O>) -> Vec<O> {
    core::iter::from_fn(poll).collect()
}

/// Fails every dial of the peer until its breaker opens, and returns when that was.
fn fail_dials_until_open(node: &mut TestNode, id: NodeId) -> Instant {
    let mut now = at(10);
    loop {
        node.handle_timeout(now);
        if actions(node).contains(&Action::Dial { id, resumption: None }) {
            node.handle_dial_failed(now, &id, Reason::Unreachable);
            if node.peer(&id).unwrap().breaker == breaker::State::Open {
                return now;
            }
        }
        now = now.after(backoff::Policy::default().floor);
    }
}
