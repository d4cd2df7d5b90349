//! The receive filter of one peer: no message is delivered twice, none after its time to live.
//!
//! It outlives sessions, as the peer's epoch does. It is not replay protection of records, which their counters give.
//! Invariant: a message that was admitted once is never admitted again within its epoch.

use crate::ids::{MessageId, Priority};
use crate::time::Duration;
use crate::wire::reason::Reason;

/// Remembers which messages of one peer were admitted: per class a window of the last 1,024 sequence numbers.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    epoch: u64,
    windows: [Window; Priority::ALL.len()],
}

impl Filter {
    /// A filter that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Admits a message once. `age` is the time since it was sent, `ttl` its seconds to live (0 = it never expires).
    ///
    /// Another epoch than that of the last message means that the peer has booted: what was seen is forgotten.
    ///
    /// # Errors
    /// [`Reason::Expired`] if `age` has reached `ttl`; the message does not count as seen.
    /// [`Reason::Duplicate`] if it was admitted before, or lies 1,024 or more behind the newest of its class, where
    /// that is no longer known.
    #[inline]
    pub fn check(&mut self, id: MessageId, class: Priority, age: Duration, ttl: u32) -> Result<(), Reason> {
        if ttl != 0 && age >= Duration::from_secs(u64::from(ttl)) {
            return Err(Reason::Expired);
        }
        if id.epoch != self.epoch {
            *self = Self { epoch: id.epoch, ..Self::default() };
        }
        if self.windows[class as usize].admit(id.sequence) { Ok(()) } else { Err(Reason::Duplicate) }
    }
}

/// One bit per sequence number, at the number modulo the window's size.
#[derive(Clone, Debug, Default)]
struct Window {
    /// The highest number admitted, once there is one.
    newest: Option<u64>,
    seen: [u64; Window::WORDS],
}

impl Window {
    const SIZE: u64 = 1024;
    const WORDS: usize = 16;

    #[inline]
    fn admit(&mut self, sequence: u64) -> bool {
        let (word, bit) = Self::place(sequence);
        match self.newest {
            Some(newest) if sequence <= newest => {
                if newest - sequence >= Self::SIZE || self.seen[word] & bit != 0 {
                    return false;
                }
            }
            Some(newest) => {
                if sequence - newest > 1 {
                    self.forget(newest, sequence);
                }
                self.newest = Some(sequence);
            }
            None => self.newest = Some(sequence),
        }
        self.seen[word] |= bit;
        true
    }

    /// Clears the bits of the numbers between `newest` and `sequence`: they were skipped, not seen.
    fn forget(&mut self, newest: u64, sequence: u64) {
        if sequence - newest >= Self::SIZE {
            self.seen = [0; Self::WORDS];
            return;
        }
        let mut at = newest + 1;
        while at < sequence {
            let (word, bit) = Self::place(at);
            if bit == 1 && sequence - at >= 64 {
                self.seen[word] = 0;
                at += 64;
            } else {
                self.seen[word] &= !bit;
                at += 1;
            }
        }
    }

    #[inline]
    const fn place(sequence: u64) -> (usize, u64) {
        ((sequence % Self::SIZE / 64) as usize, 1 << (sequence % 64))
    }
}
