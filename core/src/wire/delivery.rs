//! Messages of the family *delivery*, protocol section 18: how two nodes agree on what became of Guaranteed messages.
//!
//! | type | message | fields |
//! |---|---|---|
//! | 0x0D00 | [`Lane`] | class u8, epoch u64, base varint, fresh varint |
//! | 0x0D01 | [`LaneState`] | class u8, epoch u64, status u8; if that is 0: since varint, base varint, window |
//! | 0x0D02 | [`LaneRefusal`] | class u8, epoch u64, reason u16, first varint, count varint |
//!
//! Nodes write and read them; applications never see one. Every body has exactly one encoding and at most
//! [`LaneState::MAX_LEN`] bytes. What the numbers mean, [`lane`](crate::lane) decides.

use super::{
    cursor::{Reader, Writer},
    reason::Reason,
    varint,
};
use crate::ids::Priority;

/// Numbers of one lane that a receiver tells apart, and that a sender may have under way, from the base on.
pub const WINDOW: u64 = 1024;

/// Whether messages of this type belong to the family: asked of every message, so it looks nothing up.
#[inline]
pub const fn is_delivery(kind: u16) -> bool {
    kind >> 8 == Lane::KIND >> 8
}

/// What the sender of a lane says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    /// The class of its messages.
    pub class: Priority,
    /// What names this life of the lane.
    pub epoch: u64,
    /// Everything below has met its fate: it is acknowledged, or was skipped. At least 1.
    pub base: u64,
    /// From here on nothing was ever sent; at least `base`.
    pub fresh: u64,
}

impl Lane {
    /// The message type.
    pub const KIND: u16 = 0x0D00;
    /// Bytes of the longest encoding.
    pub const MAX_LEN: usize = 1 + 8 + 2 * varint::MAX_LEN;

    /// Writes the body and returns its length; `None` if it does not fit, or contradicts itself.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        if !self.is_sound() {
            return None;
        }
        let mut w = Writer::new(out);
        w.u8(self.class as u8)?;
        w.u64(self.epoch)?;
        w.varint(self.base)?;
        w.varint(self.fresh)?;
        Some(w.written())
    }

    /// Reads a body; [`Reason::Malformed`] for anything that [`encode`](Self::encode) does not write.
    pub fn decode(body: &[u8]) -> Result<Self, Reason> {
        let mut r = Reader::new(body);
        let lane = Self { class: class(&mut r)?, epoch: r.u64()?, base: r.varint()?, fresh: r.varint()? };
        if r.is_empty() && lane.is_sound() { Ok(lane) } else { Err(Reason::Malformed) }
    }

    const fn is_sound(&self) -> bool {
        1 <= self.base && self.base <= self.fresh
    }
}

/// What the receiver of a lane says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneState {
    /// The class of its messages.
    pub class: Priority,
    /// What names this life of the lane.
    pub epoch: u64,
    /// What the receiver has; `None` if it takes no messages of the lane at present.
    pub arrived: Option<Arrived>,
}

impl LaneState {
    /// The message type.
    pub const KIND: u16 = 0x0D01;
    /// Bytes of the longest encoding.
    pub const MAX_LEN: usize = 1 + 8 + 1 + 2 * varint::MAX_LEN + Arrived::BYTES;

    /// Writes the body and returns its length; `None` if it does not fit, or contradicts itself.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let mut w = Writer::new(out);
        w.u8(self.class as u8)?;
        w.u64(self.epoch)?;
        match &self.arrived {
            Some(arrived) => {
                if !arrived.is_sound() {
                    return None;
                }
                w.u8(READY)?;
                w.varint(arrived.since)?;
                w.varint(arrived.base)?;
                let bits = arrived.bits.map(u64::to_le_bytes);
                let bytes = bits.as_flattened();
                let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
                w.bytes(bytes.get(..used)?)?;
            }
            None => w.u8(REFUSED)?,
        }
        Some(w.written())
    }

    /// Reads a body; [`Reason::Malformed`] for anything that [`encode`](Self::encode) does not write.
    pub fn decode(body: &[u8]) -> Result<Self, Reason> {
        let mut r = Reader::new(body);
        let (class, epoch) = (class(&mut r)?, r.u64()?);
        let arrived = match r.u8()? {
            READY => {
                let (since, base) = (r.varint()?, r.varint()?);
                Some(Arrived { since, base, bits: bits(r.take_rest())? })
            }
            REFUSED if r.is_empty() => None,
            _ => return Err(Reason::Malformed),
        };
        if arrived.is_none_or(|arrived| arrived.is_sound()) {
            Ok(Self { class, epoch, arrived })
        } else {
            Err(Reason::Malformed)
        }
    }
}

/// Messages of a lane that its receiver will never hand to anyone, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneRefusal {
    /// The class of its messages.
    pub class: Priority,
    /// What names this life of the lane.
    pub epoch: u64,
    /// The code of the reason, which may be one that this version does not know.
    pub code: u16,
    /// The first number; at least 1.
    pub first: u64,
    /// How many numbers from there on; at least 1 and at most [`WINDOW`].
    pub count: u64,
}

impl LaneRefusal {
    /// The message type.
    pub const KIND: u16 = 0x0D02;
    /// Bytes of the longest encoding.
    pub const MAX_LEN: usize = 1 + 8 + 2 + varint::MAX_LEN + 2;

    /// Why, as far as this version knows.
    pub fn reason(&self) -> Reason {
        Reason::from_code(self.code).unwrap_or(Reason::Unspecified)
    }

    /// The number after the last one.
    pub const fn end(&self) -> u64 {
        self.first.saturating_add(self.count)
    }

    /// Writes the body and returns its length; `None` if it does not fit, or contradicts itself.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        if !self.is_sound() {
            return None;
        }
        let mut w = Writer::new(out);
        w.u8(self.class as u8)?;
        w.u64(self.epoch)?;
        w.u16(self.code)?;
        w.varint(self.first)?;
        w.varint(self.count)?;
        Some(w.written())
    }

    /// Reads a body; [`Reason::Malformed`] for anything that [`encode`](Self::encode) does not write.
    pub fn decode(body: &[u8]) -> Result<Self, Reason> {
        let mut r = Reader::new(body);
        let (class, epoch, code) = (class(&mut r)?, r.u64()?, r.u16()?);
        let refusal = Self { class, epoch, code, first: r.varint()?, count: r.varint()? };
        if r.is_empty() && refusal.is_sound() { Ok(refusal) } else { Err(Reason::Malformed) }
    }

    const fn is_sound(&self) -> bool {
        1 <= self.first
            && 1 <= self.count
            && self.count <= WINDOW
            && self.first.checked_add(self.count).is_some()
    }
}

/// Which numbers of a lane a receiver is done with: committed by its application, and remembered durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// What this filter knows begins here: of numbers below, nobody knows whether they arrived. At least 1.
    pub since: u64,
    /// From `since` on, everything below has arrived or was skipped by its sender; this number has not. At least `since`.
    pub base: u64,
    /// Bit `i` of word `j`: `base + 64 j + i` has arrived. The first is never set.
    pub bits: [u64; Arrived::WORDS],
}

impl Arrived {
    /// Words of the window.
    pub const WORDS: usize = 16;
    const BYTES: usize = Self::WORDS * 8;

    /// Whether the number has arrived, or was skipped by its sender. Nobody knows of those below [`since`](Self::since).
    pub fn contains(&self, number: u64) -> bool {
        match number.checked_sub(self.base) {
            None => number >= self.since,
            Some(ahead) => usize::try_from(ahead / 64)
                .ok()
                .and_then(|word| self.bits.get(word))
                .is_some_and(|word| word & 1 << (ahead % 64) != 0),
        }
    }

    /// The highest number in the window that has arrived, if any.
    pub fn highest(&self) -> Option<u64> {
        let word = self.bits.iter().rposition(|&word| word != 0)?;
        let bit = u64::from(self.bits.get(word)?.ilog2());
        self.base.checked_add(64 * word as u64 + bit)
    }

    fn is_sound(&self) -> bool {
        let fits = self.bits.iter().all(|&word| word == 0) || self.highest().is_some();
        1 <= self.since && self.since <= self.base && self.bits[0] & 1 == 0 && fits
    }
}

const READY: u8 = 0;
const REFUSED: u8 = 1;

fn class(r: &mut Reader<'_>) -> Result<Priority, Reason> {
    Priority::ALL.get(usize::from(r.u8()?)).copied().ok_or(Reason::Malformed)
}

/// The window from its bytes, of which those behind the last set bit are left out.
fn bits(bytes: &[u8]) -> Result<[u64; Arrived::WORDS], Reason> {
    if bytes.len() > Arrived::BYTES || bytes.last() == Some(&0) {
        return Err(Reason::Malformed);
    }
    let mut bits = [0; Arrived::WORDS];
    for (word, bytes) in bits.iter_mut().zip(bytes.chunks(8)) {
        let mut whole = [0; 8];
        whole.iter_mut().zip(bytes).for_each(|(to, &from)| *to = from);
        *word = u64::from_le_bytes(whole);
    }
    Ok(bits)
}
