//! The two ends of a lane: the Guaranteed messages of one class from one node to another, numbered 1, 2, 3 and so on.
//!
//! ```text
//!   SendLane                                              ReceiveLane
//!   accept ─▶ stored ─▶ next ───────── message n ───────▶ take ─▶ application ─▶ commit ─▶ snapshot ─▶ saved
//!                        ▲                                                                               │
//!              fates ◀───┴──────────── LaneState ◀───────────────────────────────────────────────────────┘
//! ```
//!
//! A lane outlives sessions and, in the caller's store, restarts. Pure: it knows numbers, neither bytes nor time nor disks. The
//! caller writes to its store what the lanes say is to be written, and tells them when that is durable.
//!
//! The promise: at least once, duplicates suppressed per (source, epoch, target, class) by a contiguous base and a
//! 1,024-bit window; skipped numbers are announced; the sender never exceeds the window; evicted filter state answers `unknown`,
//! never Delivered; a crash between commit and acknowledgement may redeliver.

mod receive;
mod send;
mod window;

#[cfg(test)]
mod model;

pub use receive::ReceiveLane;
pub use send::{Fates, SendLane};
