//! Streams: bytes arrive in order, unchanged and once, but in any pieces, late, behind a stall, or no longer at all.
//!
//! A stream accepts only so many bytes that nobody has read yet, as a socket does. Faults are placed at exact byte
//! offsets of one direction, so that a test can name the byte that is flipped or after which the link is cut.

use std::collections::VecDeque;

use hyphal_core::time::{Duration, Instant};

use super::{Arrival, Due, Side, VirtualNetwork};
use crate::seed::{Odds, Seed};

/// Names a stream of one [`VirtualNetwork`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(usize);

/// How a stream carries bytes, the same in both directions.
#[derive(Clone, Copy, Debug)]
pub struct StreamConditions {
    /// How long a byte is under way at least.
    pub delay: Duration,
    /// How much longer a piece may be under way.
    pub jitter: Duration,
    /// Bytes a second, if limited.
    pub bandwidth: Option<u64>,
    /// Into which pieces the bytes fall.
    pub segments: Segments,
    /// How likely a piece waits for [`stall`](Self::stall), and all behind it with it.
    pub stalls: Odds,
    /// How long a stalled piece waits.
    pub stall: Duration,
    /// How many bytes may be written that have not been delivered.
    pub window: usize,
}

impl Default for StreamConditions {
    /// A good local network: 1 ms one way, everything in one piece.
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(1),
            jitter: Duration::ZERO,
            bandwidth: None,
            segments: Segments::Whole,
            stalls: Odds::NEVER,
            stall: Duration::ZERO,
            window: 256 * 1024,
        }
    }
}

impl StreamConditions {
    /// A link as `seed` gives it, on which bytes are late, in pieces, and stall: up to 81 ms one way, with 40 ms of jitter.
    pub fn weather(seed: &Seed) -> Self {
        let mut chance = seed.generator("weather");
        Self {
            delay: Duration::from_millis(1).saturating_add(chance.span(Duration::from_millis(80))),
            jitter: chance.span(Duration::from_millis(40)),
            segments: Segments::Random(200),
            stalls: Odds::percent(5),
            stall: Duration::from_millis(50),
            ..Self::default()
        }
    }
}

/// Into which pieces a stream's bytes fall on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segments {
    /// Each write arrives as a whole.
    Whole,
    /// Pieces of this many bytes, the last of a write shorter.
    Every(usize),
    /// Pieces of random length from one byte up to this many.
    Random(usize),
}

#[derive(Debug)]
pub(super) struct Stream {
    conditions: StreamConditions,
    directions: [Direction; 2],
}

/// What flows to one side.
#[derive(Debug, Default)]
struct Direction {
    written: Vec<u8>,
    under_way: usize,
    /// No later piece arrives before this.
    last_arrival: Instant,
    line_free_at: Instant,
    cut_after: Option<usize>,
    vanishes_after: Option<usize>,
    flips: Vec<(usize, u8)>,
    vanishes: bool,
    paused: bool,
    held: VecDeque<Due>,
    over: bool,
}

impl VirtualNetwork {
    /// Opens a stream; it carries bytes at once.
    pub fn open_stream(&mut self, conditions: StreamConditions) -> StreamId {
        self.streams.push(Stream { conditions, directions: Default::default() });
        StreamId(self.streams.len() - 1)
    }

    /// How many bytes `from` may write at the moment.
    pub fn stream_room(&self, stream: StreamId, from: Side) -> usize {
        let window = self.streams[stream.0].conditions.window;
        let direction = self.towards(stream, from.other());
        if direction.over { usize::MAX } else { window.saturating_sub(direction.under_way) }
    }

    /// Sends `bytes` from one side to the other.
    ///
    /// # Panics
    /// If there is no [room](Self::stream_room) for them: the driver has to look before it writes.
    pub fn write_stream(&mut self, stream: StreamId, from: Side, bytes: &[u8]) {
        assert!(bytes.len() <= self.stream_room(stream, from), "a write beyond the stream's window");
        let start = self.towards(stream, from.other()).written.len();
        self.towards_mut(stream, from.other()).written.extend_from_slice(bytes);
        let mut done = 0;
        while done < bytes.len() {
            let len = self.segment_len(stream, bytes.len() - done);
            self.send_segment(stream, from.other(), start + done, bytes[done..done + len].to_vec());
            done += len;
        }
    }

    /// All bytes that `from` wrote so far, delivered or not.
    pub fn stream_written(&self, stream: StreamId, from: Side) -> &[u8] {
        &self.towards(stream, from.other()).written
    }

    /// `from` closes the stream: the other side reads to the end and learns of it; what it writes then goes nowhere.
    ///
    /// In a direction where bytes vanish the close vanishes too.
    pub fn close_stream(&mut self, stream: StreamId, from: Side) {
        let was_over = std::mem::replace(&mut self.towards_mut(stream, from).over, true);
        if was_over || self.towards(stream, from.other()).vanishes {
            return;
        }
        let at = self.end_of(stream, from.other());
        self.schedule(at, Due::End { stream, to: from.other() });
    }

    /// The stream breaks at this moment; both sides learn of it at once and what was under way is gone.
    pub fn cut_stream(&mut self, stream: StreamId) {
        for side in Side::BOTH {
            let direction = self.towards_mut(stream, side);
            direction.cut_after = Some(0);
            direction.held.clear();
            direction.paused = false;
            if !direction.over {
                self.schedule(self.now, Due::End { stream, to: side });
            }
        }
    }

    /// The stream breaks right after the byte before `offset` of what `from` writes was delivered.
    pub fn cut_stream_after(&mut self, stream: StreamId, from: Side, offset: usize) {
        self.towards_mut(stream, from.other()).cut_after = Some(offset);
    }

    /// The byte at `offset` of all that `from` writes, if not yet written, is xored with `mask` on its way.
    pub fn flip_in_stream(&mut self, stream: StreamId, from: Side, offset: usize, mask: u8) {
        self.towards_mut(stream, from.other()).flips.push((offset, mask));
    }

    /// What `from` writes from now on is lost without a sign: the stream is half open.
    pub fn let_bytes_vanish(&mut self, stream: StreamId, from: Side) {
        self.towards_mut(stream, from.other()).vanishes = true;
    }

    /// What `from` writes from the byte at `offset` on is lost without a sign.
    pub fn vanish_after(&mut self, stream: StreamId, from: Side, offset: usize) {
        self.towards_mut(stream, from.other()).vanishes_after = Some(offset);
    }

    /// `to` does not read until [`resume_reading`](Self::resume_reading); the window towards it fills up.
    pub fn pause_reading(&mut self, stream: StreamId, to: Side) {
        self.towards_mut(stream, to).paused = true;
    }

    /// `to` reads again what has come in the meantime.
    pub fn resume_reading(&mut self, stream: StreamId, to: Side) {
        let direction = self.towards_mut(stream, to);
        direction.paused = false;
        let held = std::mem::take(&mut direction.held);
        for due in held {
            self.schedule(self.now, due);
        }
    }

    pub(super) fn segment_arrives(&mut self, stream: StreamId, to: Side, bytes: Vec<u8>) -> Option<Arrival> {
        let direction = self.towards_mut(stream, to);
        if direction.over {
            return None;
        }
        if direction.paused {
            direction.held.push_back(Due::Segment { stream, to, bytes });
            return None;
        }
        direction.under_way -= bytes.len();
        Some(Arrival::Bytes { stream, to, bytes })
    }

    pub(super) fn end_arrives(&mut self, stream: StreamId, to: Side) -> Option<Arrival> {
        let direction = self.towards_mut(stream, to);
        if direction.over {
            return None;
        }
        if direction.paused {
            direction.held.push_back(Due::End { stream, to });
            return None;
        }
        direction.over = true;
        self.towards_mut(stream, to.other()).vanishes = true;
        Some(Arrival::Ended { stream, to })
    }

    fn send_segment(&mut self, stream: StreamId, to: Side, offset: usize, mut bytes: Vec<u8>) {
        let direction = self.towards_mut(stream, to);
        if direction.vanishes || direction.over {
            return;
        }
        let end = offset + bytes.len();
        let cut = direction.cut_after.filter(|at| *at <= end);
        if let Some(at) = cut {
            bytes.truncate(at.saturating_sub(offset));
            direction.vanishes = true;
        }
        if let Some(at) = direction.vanishes_after.filter(|at| *at < end) {
            bytes.truncate(at.saturating_sub(offset));
            direction.vanishes = true;
        }
        for (at, mask) in &direction.flips {
            if let Some(byte) = at.checked_sub(offset).and_then(|at| bytes.get_mut(at)) {
                *byte ^= mask;
            }
        }
        direction.under_way += bytes.len();
        let at = self.arrival_of(stream, to, bytes.len());
        if !bytes.is_empty() {
            self.schedule(at, Due::Segment { stream, to, bytes });
        }
        if cut.is_some() {
            for side in Side::BOTH {
                self.schedule(at, Due::End { stream, to: side });
            }
        }
    }

    fn arrival_of(&mut self, stream: StreamId, to: Side, len: usize) -> Instant {
        let conditions = self.streams[stream.0].conditions;
        let mut under_way = conditions.delay + self.chance.span(conditions.jitter);
        if self.chance.happens(conditions.stalls) {
            under_way += conditions.stall;
        }
        let now = self.now;
        let direction = self.towards_mut(stream, to);
        let on_the_line = conditions.bandwidth.map_or(Duration::ZERO, |rate| transmission_time(len, rate));
        direction.line_free_at = direction.line_free_at.max(now).after(on_the_line);
        direction.last_arrival = direction.line_free_at.after(under_way).max(direction.last_arrival);
        direction.last_arrival
    }

    fn end_of(&self, stream: StreamId, to: Side) -> Instant {
        let delay = self.streams[stream.0].conditions.delay;
        self.towards(stream, to).last_arrival.max(self.now.after(delay))
    }

    fn segment_len(&mut self, stream: StreamId, rest: usize) -> usize {
        match self.streams[stream.0].conditions.segments {
            Segments::Whole => rest,
            Segments::Every(len) => len.clamp(1, rest),
            Segments::Random(most) => (1 + self.chance.index(most)).min(rest),
        }
    }

    fn towards(&self, stream: StreamId, to: Side) -> &Direction {
        &self.streams[stream.0].directions[to as usize]
    }

    fn towards_mut(&mut self, stream: StreamId, to: Side) -> &mut Direction {
        &mut self.streams[stream.0].directions[to as usize]
    }
}

pub(super) fn transmission_time(len: usize, bytes_per_second: u64) -> Duration {
    Duration::from_micros((len as u64 * 1_000_000).div_ceil(bytes_per_second))
}
