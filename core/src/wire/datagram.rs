//! The datagram, protocol section 15: one handshake packet or one record, whole, on links that lose and reorder.
//!
//! Handshake packet: `80 | cookie length u8 (0-32) | cookie | frame | zero padding`.
//! Record: `first byte | receiver's connection id (0-3) | counter, low 2 or 4 bytes | sealed`.
//!
//! | bit of a record's first byte | meaning |
//! |---|---|
//! | 7 | zero |
//! | 6 | the counter field has 4 bytes, else 2 |
//! | 5 | key phase |
//! | 0-4 | zero |

use super::{
    cursor::{Reader, Writer},
    frame::{self, Decoded, Kind},
    reason::Reason,
};
use crate::aead::TAG_LEN;

/// The longest datagram that is ever sent, as RFC 9000, section 14: it passes every path that carries IPv6.
pub const MAX_LEN: usize = 1200;
/// The longest cookie.
pub const MAX_COOKIE_LEN: usize = 32;
/// Bytes before a record's sealed part, at their longest.
pub const MAX_PREAMBLE_LEN: usize = 1 + ConnectionId::MAX_LEN + 4;

/// What a receiver tells its sessions apart by: 0 to 3 bytes of its own choice, in every record to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    len: u8,
    bytes: [u8; Self::MAX_LEN],
}

impl ConnectionId {
    /// Bytes of the longest.
    pub const MAX_LEN: usize = 3;
    /// No bytes, where a link carries one session only.
    pub const NONE: Self = Self { len: 0, bytes: [0; Self::MAX_LEN] };

    /// The id with these bytes; `None` if there are more than [`MAX_LEN`](Self::MAX_LEN).
    pub fn new(id: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::MAX_LEN];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        Some(Self { len: u8::try_from(id.len()).ok()?, bytes })
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// What a datagram is for, as far as it shows before any key: for whoever owns the socket and many sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peek {
    /// A handshake packet.
    Handshake {
        /// Names the attempt.
        frame_id: u64,
        /// What the frame is.
        kind: Kind,
    },
    /// A record for the session with this connection id.
    Record {
        /// The receiver's id.
        cid: ConnectionId,
    },
}

/// Says what a datagram is for. `own_cid_len` is the length of this node's connection ids.
///
/// [`Reason::Version`] for a frame of another version; what else is refused is [`Reason::Malformed`] or the frame's reason.
pub fn peek(datagram: &[u8], own_cid_len: usize) -> Result<Peek, Reason> {
    if is_handshake(datagram) {
        let packet = Packet::decode(datagram)?;
        let frame = packet.frame(datagram).ok_or(Reason::Malformed)?;
        return match frame::decode(frame, frame::MAX_UNAUTHENTICATED)? {
            Decoded::Frame { frame, .. } => {
                Ok(Peek::Handshake { frame_id: frame.header.id, kind: frame.header.kind })
            }
            Decoded::Foreign { .. } => Err(Reason::Version),
            Decoded::Incomplete { .. } => Err(Reason::Malformed),
        };
    }
    let mut r = Reader::new(datagram);
    let first = r.u8()?;
    if first & RESERVED != 0 {
        return Err(Reason::Malformed);
    }
    let cid = r.rest().get(..own_cid_len).and_then(ConnectionId::new).ok_or(Reason::Malformed)?;
    Ok(Peek::Record { cid })
}

/// Whether the datagram is a handshake packet, by its first byte.
pub fn is_handshake(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & HANDSHAKE != 0)
}

/// Where the parts of a handshake packet stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    cookie_len: u8,
}

impl Packet {
    /// Bytes before the frame with a cookie of this length.
    pub const fn header_len(cookie_len: usize) -> usize {
        HEADER_LEN + cookie_len
    }

    /// Writes the packet's header with `cookie` to the front of `out` and returns its length: the frame goes behind it.
    ///
    /// `None` if it does not fit, or the cookie is longer than [`MAX_COOKIE_LEN`].
    pub fn encode_header(cookie: &[u8], out: &mut [u8]) -> Option<usize> {
        let len = u8::try_from(cookie.len()).ok().filter(|&len| usize::from(len) <= MAX_COOKIE_LEN)?;
        let mut w = Writer::new(out);
        w.u8(HANDSHAKE)?;
        w.u8(len)?;
        w.bytes(cookie)?;
        Some(w.written())
    }

    /// Writes a packet around a short frame, without cookie and padding, and returns its length; `None` if it does not fit.
    pub fn encode(header: &frame::Header, payload: &[u8], out: &mut [u8]) -> Option<usize> {
        let at = Self::encode_header(&[], out)?;
        Some(at + header.encode(payload, out.get_mut(at..)?)?)
    }

    /// Reads the packet's header.
    pub fn decode(datagram: &[u8]) -> Result<Self, Reason> {
        let mut r = Reader::new(datagram);
        if r.u8()? != HANDSHAKE {
            return Err(Reason::Malformed);
        }
        let cookie_len = r.u8()?;
        if usize::from(cookie_len) > MAX_COOKIE_LEN || r.rest().len() < usize::from(cookie_len) {
            return Err(Reason::Malformed);
        }
        Ok(Self { cookie_len })
    }

    /// The cookie; empty if there is none.
    pub fn cookie<'d>(&self, datagram: &'d [u8]) -> &'d [u8] {
        datagram.get(HEADER_LEN..self.frame_at()).unwrap_or_default()
    }

    /// The frame and what follows it.
    pub fn frame<'d>(&self, datagram: &'d [u8]) -> Option<&'d [u8]> {
        datagram.get(self.frame_at()..)
    }

    /// As [`frame`](Self::frame), to be decrypted in place.
    pub fn frame_mut<'d>(&self, datagram: &'d mut [u8]) -> Option<&'d mut [u8]> {
        datagram.get_mut(self.frame_at()..)
    }

    fn frame_at(&self) -> usize {
        HEADER_LEN + usize::from(self.cookie_len)
    }
}

/// What stands in the clear before a record: the associated data of its seal, as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// The parity of the key's number in its direction.
    pub phase: bool,
    /// The receiver's connection id.
    pub cid: ConnectionId,
    /// The low bytes of the counter.
    pub counter: Truncated,
}

/// The low bytes of a record's counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncated {
    /// Two bytes.
    Short(u16),
    /// Four bytes.
    Long(u32),
}

impl Truncated {
    /// The field of record `counter` for a receiver who surely knows of `acked`, if of any: RFC 9000, section 17.1 and A.2.
    ///
    /// The field spans at least twice as much as may lie between what the receiver knows and this record.
    pub fn of(counter: u64, acked: Option<u64>) -> Self {
        let unknown = acked.map_or(counter.saturating_add(1), |acked| counter.saturating_sub(acked));
        let [_, _, _, _, a, b, c, d] = counter.to_be_bytes();
        if unknown < 1 << 15 {
            Self::Short(u16::from_be_bytes([c, d]))
        } else {
            Self::Long(u32::from_be_bytes([a, b, c, d]))
        }
    }

    /// The full counter: the one nearest to `newest + 1`, RFC 9000, A.3. `newest` is the highest that has verified, if any.
    pub fn expand(self, newest: Option<u64>) -> u64 {
        let (low, bits) = match self {
            Self::Short(low) => (u64::from(low), 16),
            Self::Long(low) => (u64::from(low), 32),
        };
        let expected = newest.map_or(0, |newest| newest.saturating_add(1));
        let (window, half) = (1 << bits, 1 << (bits - 1));
        let candidate = expected & !(window - 1) | low;
        if candidate.saturating_add(half) <= expected {
            candidate.checked_add(window).unwrap_or(candidate)
        } else if candidate > expected.saturating_add(half) && candidate >= window {
            candidate - window
        } else {
            candidate
        }
    }
}

impl Preamble {
    /// Bytes of the preamble.
    pub fn encoded_len(&self) -> usize {
        1 + usize::from(self.cid.len)
            + match self.counter {
                Truncated::Short(_) => 2,
                Truncated::Long(_) => 4,
            }
    }

    /// Writes the preamble and returns its length; `None` if it does not fit.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let long = match self.counter {
            Truncated::Short(_) => 0,
            Truncated::Long(_) => LONG_COUNTER,
        };
        let mut w = Writer::new(out);
        w.u8(long | if self.phase { PHASE } else { 0 })?;
        w.bytes(self.cid.as_bytes())?;
        match self.counter {
            Truncated::Short(low) => w.u16(low)?,
            Truncated::Long(low) => w.u32(low)?,
        }
        Some(w.written())
    }

    /// Reads the preamble of a record to a node with connection ids of `cid_len` bytes; the seal must have room behind it.
    pub fn decode(datagram: &[u8], cid_len: usize) -> Result<Self, Reason> {
        let mut r = Reader::new(datagram);
        let first = r.u8()?;
        if first & (HANDSHAKE | RESERVED) != 0 {
            return Err(Reason::Malformed);
        }
        let mut cid = ConnectionId::NONE;
        for byte in cid.bytes.get_mut(..cid_len).ok_or(Reason::Malformed)? {
            *byte = r.u8()?;
        }
        cid.len = u8::try_from(cid_len).map_err(|_| Reason::Malformed)?;
        let counter = match first & LONG_COUNTER {
            0 => Truncated::Short(r.u16()?),
            _ => Truncated::Long(r.u32()?),
        };
        if r.rest().len() < TAG_LEN {
            return Err(Reason::Malformed);
        }
        Ok(Self { phase: first & PHASE != 0, cid, counter })
    }
}

const HEADER_LEN: usize = 2;
const HANDSHAKE: u8 = 1 << 7;
const LONG_COUNTER: u8 = 1 << 6;
const PHASE: u8 = 1 << 5;
const RESERVED: u8 = 0b1_1111;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_9000_expands_as_printed_there() {
        assert_eq!(Truncated::Short(0x9b32).expand(Some(0xa82f_30ea)), 0xa82f_9b32);
    }

    #[test]
    fn a_preamble_is_read_as_it_was_written_and_nothing_shorter_is_one() {
        let cid = ConnectionId::new(&[7, 8, 9]).unwrap();
        for counter in [Truncated::Short(0xFFFE), Truncated::Long(0x0102_0304)] {
            for phase in [false, true] {
                let preamble = Preamble { phase, cid, counter };
                let mut out = [0; MAX_PREAMBLE_LEN + TAG_LEN];

                let len = preamble.encode(&mut out).unwrap();

                assert_eq!(len, preamble.encoded_len());
                assert_eq!(Preamble::decode(&out[..len + TAG_LEN], 3), Ok(preamble));
                assert_eq!(peek(&out, 3), Ok(Peek::Record { cid }));
                for short in 0..len + TAG_LEN {
                    assert_eq!(Preamble::decode(&out[..short], 3), Err(Reason::Malformed));
                }
            }
        }
    }

    #[test]
    fn reserved_bits_are_refused() {
        for bit in 0..5 {
            let datagram = [1 << bit; 40];
            assert_eq!(Preamble::decode(&datagram, 0), Err(Reason::Malformed));
            assert_eq!(peek(&datagram, 0), Err(Reason::Malformed));
        }
        for first in 0x81..=0xFF {
            assert_eq!(Packet::decode(&[first, 0, 0]), Err(Reason::Malformed));
        }
    }

    #[test]
    fn a_handshake_packet_shows_its_cookie_its_attempt_and_its_kind_through_the_padding() {
        let mut out = [0; 200];
        let at = Packet::encode_header(&[5; 24], &mut out).unwrap();
        frame::Header::new(Kind::Xx1, 77).encode(&[1; 32], &mut out[at..]).unwrap();

        let packet = Packet::decode(&out).unwrap();

        assert_eq!((at, packet.cookie(&out)), (Packet::header_len(24), &[5; 24][..]));
        assert_eq!(peek(&out, 3), Ok(Peek::Handshake { frame_id: 77, kind: Kind::Xx1 }));
        assert_eq!(Packet::encode_header(&[5; 33], &mut out), None);
        assert_eq!(Packet::decode(&[0x80, 33]), Err(Reason::Malformed));
        assert_eq!(Packet::decode(&[0x80, 3, 1, 2]), Err(Reason::Malformed));
    }

    proptest! {
        /// The nearest number with these low bits, found by trying all.
        #[test]
        fn the_full_counter_is_the_nearest_to_the_expected_one(newest in 0..1_u64 << 20, low: u16) {
            let expected = newest + 1;
            let nearest = (0..20_u64)
                .map(|high| high << 16 | u64::from(low))
                // Of two equally near ones the RFC's takes the later.
                .min_by_key(|full| (full.abs_diff(expected), u64::MAX - full));

            prop_assert_eq!(Some(Truncated::Short(low).expand(Some(newest))), nearest);
        }

        #[test]
        fn what_is_truncated_for_a_receiver_expands_there_to_the_same(
            acked in proptest::option::of(0..1_u64 << 48), ahead in 0..1_u64 << 20, seen in 0..1_u64 << 20,
        ) {
            let counter = acked.map_or(ahead, |acked| acked + 1 + ahead);
            // The receiver has seen the acknowledged record and perhaps some after it, this one not among them.
            let newest = acked.map(|acked| acked + seen.min(ahead));

            prop_assert_eq!(Truncated::of(counter, acked).expand(newest), counter);
        }

        #[test]
        fn no_counter_field_makes_the_decoder_panic(newest: Option<u64>, low: u32) {
            Truncated::Long(low).expand(newest);
            Truncated::Short(low.to_be_bytes()[0].into()).expand(newest);
        }

        #[test]
        fn any_bytes_are_something_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80), cid_len in 0..6_usize) {
            let _ = peek(&bytes, cid_len);
            let _ = Preamble::decode(&bytes, cid_len);
        }
    }
}
