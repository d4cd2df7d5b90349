//! The laboratory: a virtual network under a virtual clock, and Hyphal sessions and nodes that live in it.
//!
//! Nothing here reads a clock, opens a socket or draws system randomness: a run is a pure function of its seed, and the
//! same seed repeats it bit for bit. It models links and drives the public API of `hyphal-core` as a runtime would; it
//! never looks inside a machine. Each behaviour that the protocol promises has one file under `tests/`.

pub mod drive;
pub mod envelopes;
pub mod lanes;
pub mod link;
pub mod net;
pub mod network;
pub mod packets;
pub mod pair;
pub mod papers;
pub mod scripted;
pub mod seed;
pub mod subject;
pub mod transcript;
