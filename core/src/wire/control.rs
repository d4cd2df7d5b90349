//! Control messages, protocol section 8: the body of a record of kind 1. Authenticated, unlike a frame's refusal.
//!
//! | code | fields |
//! |---|---|
//! | 1 Accept | none |
//! | 2 Reject | reason u16, detail u64 |
//! | 3 Close | reason u16 |
//! | 4 Drain | none |
//!
//! Optional fields follow; none is assigned in version 1.

use super::{
    cursor::{Reader, Writer},
    frame::Refusal,
    reason::Reason,
    tlv::Tlvs,
};

/// What one end tells the other about the session itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// The responder takes the initiator as peer.
    Accept,
    /// The responder does not take the initiator as peer.
    Reject(Refusal),
    /// The sender ends the session.
    Close {
        /// The reason's code, perhaps one that a newer version knows.
        code: u16,
    },
    /// The sender sends no more messages in this session, and the receiver shall send none either.
    Drain,
}

impl Control {
    /// Bytes of the longest control message that this version writes.
    pub const MAX_LEN: usize = 1 + Refusal::LEN;

    /// A close for `reason`.
    pub const fn close(reason: Reason) -> Self {
        Self::Close { code: reason.code() }
    }

    /// Writes the message and returns its length; `None` if it does not fit.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let mut w = Writer::new(out);
        match self {
            Self::Accept => w.u8(ACCEPT)?,
            Self::Reject(refusal) => {
                w.u8(REJECT)?;
                refusal.write(&mut w)?;
            }
            Self::Close { code } => {
                w.u8(CLOSE)?;
                w.u16(*code)?;
            }
            Self::Drain => w.u8(DRAIN)?,
        }
        Some(w.written())
    }

    /// Reads a record's body.
    ///
    /// [`Reason::Malformed`] for an unknown code, [`Reason::UnknownCritical`] for a critical optional field.
    pub fn decode(body: &[u8]) -> Result<Self, Reason> {
        let mut r = Reader::new(body);
        let control = match r.u8()? {
            ACCEPT => Self::Accept,
            REJECT => Self::Reject(Refusal::read(&mut r)?),
            CLOSE => Self::Close { code: r.u16()? },
            DRAIN => Self::Drain,
            _ => return Err(Reason::Malformed),
        };
        let mut tlvs = Tlvs::new(r);
        while let Some(tlv) = tlvs.next()? {
            tlv.skip()?;
        }
        Ok(control)
    }
}

const ACCEPT: u8 = 1;
const REJECT: u8 = 2;
const CLOSE: u8 = 3;
const DRAIN: u8 = 4;
