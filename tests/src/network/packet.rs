//! Packet pipes: each packet arrives whole or not at all, perhaps twice, perhaps after those sent later.
//!
//! The ground for datagram links; a pipe knows no addresses and never changes a packet's bytes.

use hyphal_core::time::{Duration, Instant};

use super::{Due, Side, VirtualNetwork, stream::transmission_time};
use crate::seed::Odds;

/// Names a packet pipe of one [`VirtualNetwork`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PipeId(usize);

/// How a pipe carries packets, the same in both directions.
#[derive(Clone, Copy, Debug)]
pub struct PacketConditions {
    /// How long a packet is under way at least.
    pub delay: Duration,
    /// How much longer it may be under way; packets may overtake each other within it.
    pub jitter: Duration,
    /// How likely a packet is lost.
    pub loss: Odds,
    /// How likely a packet is held back for [`held_back`](Self::held_back), so that later ones overtake it.
    pub reorder: Odds,
    /// How long such a packet is held back.
    pub held_back: Duration,
    /// How likely a packet arrives twice; the copy is delayed on its own.
    pub duplicate: Odds,
    /// Bytes a second, if limited.
    pub bandwidth: Option<u64>,
    /// The longest packet that passes; longer ones are lost.
    pub largest: usize,
}

impl Default for PacketConditions {
    /// A good local network: 1 ms one way, nothing lost, packets of up to 1,500 bytes.
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(1),
            jitter: Duration::ZERO,
            loss: Odds::NEVER,
            reorder: Odds::NEVER,
            held_back: Duration::from_millis(5),
            duplicate: Odds::NEVER,
            bandwidth: None,
            largest: 1500,
        }
    }
}

#[derive(Debug)]
pub(super) struct Pipe {
    conditions: PacketConditions,
    line_free_at: [Instant; 2],
}

impl VirtualNetwork {
    /// Opens a packet pipe between two sides.
    pub fn open_pipe(&mut self, conditions: PacketConditions) -> PipeId {
        self.pipes.push(Pipe { conditions, line_free_at: [Instant::ZERO; 2] });
        PipeId(self.pipes.len() - 1)
    }

    /// Sends one packet; whether and when it arrives is the pipe's decision.
    pub fn send_packet(&mut self, pipe: PipeId, from: Side, bytes: &[u8]) {
        let conditions = self.pipes[pipe.0].conditions;
        let departure = self.packet_departure(pipe, from, bytes.len());
        if bytes.len() > conditions.largest || self.chance.happens(conditions.loss) {
            return;
        }
        let copies = if self.chance.happens(conditions.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            let mut under_way = conditions.delay + self.chance.span(conditions.jitter);
            if self.chance.happens(conditions.reorder) {
                under_way += conditions.held_back;
            }
            let packet = Due::Packet { pipe, to: from.other(), bytes: bytes.to_vec() };
            self.schedule(departure.after(under_way), packet);
        }
    }

    fn packet_departure(&mut self, pipe: PipeId, from: Side, len: usize) -> Instant {
        let now = self.now;
        let pipe = &mut self.pipes[pipe.0];
        let on_the_line =
            pipe.conditions.bandwidth.map_or(Duration::ZERO, |rate| transmission_time(len, rate));
        let line_free_at = &mut pipe.line_free_at[from as usize];
        *line_free_at = (*line_free_at).max(now).after(on_the_line);
        *line_free_at
    }
}
