//! A network of discrete events under a virtual clock: byte streams and packet pipes between two sides each.
//!
//! It carries bytes and knows nothing of Hyphal. Time moves only in [`VirtualNetwork::poll_arrival`]; what arrives when
//! follows from the conditions of the links and the seed alone. Arrivals due at the same moment come in the order in
//! which they were scheduled.

mod packet;
mod stream;

use std::collections::BTreeMap;

use hyphal_core::time::Instant;

pub use packet::{PacketConditions, PipeId};
pub use stream::{Segments, StreamConditions, StreamId};

use crate::{
    seed::{Chance, Seed},
    transcript::Fingerprint,
};
use packet::Pipe;
use stream::Stream;

/// One of the two ends of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The end that opened the link.
    Opener,
    /// The end that the link was opened to.
    Target,
}

impl Side {
    /// Both ends.
    pub const BOTH: [Self; 2] = [Self::Opener, Self::Target];

    /// The end across the link.
    pub const fn other(self) -> Self {
        match self {
            Self::Opener => Self::Target,
            Self::Target => Self::Opener,
        }
    }
}

/// Something reached an end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The next bytes of a stream.
    Bytes {
        /// The stream.
        stream: StreamId,
        /// Who reads them.
        to: Side,
        /// The bytes, never none.
        bytes: Vec<u8>,
    },
    /// A stream ended: nothing more arrives at `to`, and what it writes goes nowhere.
    Ended {
        /// The stream.
        stream: StreamId,
        /// Who learns of it.
        to: Side,
    },
    /// A packet.
    Packet {
        /// The pipe.
        pipe: PipeId,
        /// Who receives it.
        to: Side,
        /// The packet's content.
        bytes: Vec<u8>,
    },
}

/// All links of one run, their clock and what is under way in them.
#[derive(Debug)]
pub struct VirtualNetwork {
    now: Instant,
    chance: Chance,
    due: BTreeMap<(Instant, u64), Due>,
    scheduled: u64,
    streams: Vec<Stream>,
    pipes: Vec<Pipe>,
    fingerprint: Fingerprint,
}

#[derive(Debug)]
enum Due {
    Segment { stream: StreamId, to: Side, bytes: Vec<u8> },
    End { stream: StreamId, to: Side },
    Packet { pipe: PipeId, to: Side, bytes: Vec<u8> },
}

impl VirtualNetwork {
    /// A network without links whose clock stands at zero.
    pub fn new(seed: &Seed) -> Self {
        Self {
            now: Instant::ZERO,
            chance: seed.generator("network"),
            due: BTreeMap::new(),
            scheduled: 0,
            streams: Vec::new(),
            pipes: Vec::new(),
            fingerprint: Fingerprint::default(),
        }
    }

    /// The virtual clock.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The hash of all that has arrived so far, and when.
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// When the next thing happens in the network, if anything is under way.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next arrival up to `until`; the clock moves to its moment, or to `until` if there is none.
    pub fn poll_arrival(&mut self, until: Instant) -> Option<Arrival> {
        while let Some(entry) = self.due.first_entry() {
            let (at, _) = *entry.key();
            if at > until {
                break;
            }
            let due = entry.remove();
            self.now = self.now.max(at);
            if let Some(arrival) = self.arrive(due) {
                return Some(arrival);
            }
        }
        self.now = self.now.max(until);
        None
    }

    fn arrive(&mut self, due: Due) -> Option<Arrival> {
        let arrival = match due {
            Due::Segment { stream, to, bytes } => self.segment_arrives(stream, to, bytes)?,
            Due::End { stream, to } => self.end_arrives(stream, to)?,
            Due::Packet { pipe, to, bytes } => Arrival::Packet { pipe, to, bytes },
        };
        match &arrival {
            Arrival::Bytes { bytes, .. } | Arrival::Packet { bytes, .. } => {
                self.fingerprint.note(self.now, bytes);
            }
            Arrival::Ended { .. } => self.fingerprint.note(self.now, b"ended"),
        }
        Some(arrival)
    }

    fn schedule(&mut self, at: Instant, due: Due) {
        self.due.insert((at, self.scheduled), due);
        self.scheduled += 1;
    }
}
