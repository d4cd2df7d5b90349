//! Datagrams on a serial line, protocol section 15: `COBS(datagram | crc32) | 00`.
//!
//! Consistent Overhead Byte Stuffing (Cheshire and Baker 1999) leaves no zero byte within a frame, so that a zero always
//! ends one: after noise or a start in the middle the next zero is where reading begins anew, and at most the frame that
//! was hit, and the one that the noise joined to it, are lost. The CRC-32 (ISO-HDLC, big-endian) finds what noise did to
//! a frame. It is no protection against an adversary; the seal inside is.

use crc::{CRC_32_ISO_HDLC, Crc};

use super::reason::Reason;

/// Bytes of the longest encoding of a datagram of `len` bytes, the zero at its end included.
pub const fn max_encoded_len(len: usize) -> usize {
    let stuffed = len + CHECKSUM_LEN;
    stuffed + stuffed.div_ceil(BLOCK_MAX) + 2
}

/// Writes the frame of `datagram` to `out` and returns its length; `None` if it does not fit.
///
/// [`max_encoded_len`] bytes are always enough.
pub fn encode(datagram: &[u8], out: &mut [u8]) -> Option<usize> {
    let checksum = CRC.checksum(datagram).to_be_bytes();
    let (mut code_at, mut at) = (0, 1);
    let mut code = 1;
    let mut close = |out: &mut [u8], at: &mut usize, code: &mut u8| -> Option<()> {
        *out.get_mut(code_at)? = *code;
        code_at = *at;
        *at += 1;
        *code = 1;
        Some(())
    };
    for &byte in datagram.iter().chain(&checksum) {
        // A full block ends without a zero of its own.
        if code == u8::MAX {
            close(out, &mut at, &mut code)?;
        }
        if byte == 0 {
            close(out, &mut at, &mut code)?;
        } else {
            *out.get_mut(at)? = byte;
            at += 1;
            code += 1;
        }
    }
    *out.get_mut(code_at)? = code;
    *out.get_mut(at)? = 0;
    Some(at + 1)
}

/// Takes bytes of a line as they come and gives datagrams. `N` is the longest frame without its zero; longer ones are noise.
#[derive(Clone, Debug)]
pub struct Decoder<const N: usize> {
    frame: [u8; N],
    len: usize,
    /// The frame under way is longer than it may be.
    is_overlong: bool,
}

/// What [`Decoder::feed`] made of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Fed<'d> {
    /// Bytes taken from the front; call again with the rest.
    pub used: usize,
    /// The datagram of the frame that ended with the last of them, or why it is none; `None` if no frame has ended.
    pub frame: Option<Result<&'d mut [u8], Reason>>,
}

impl<const N: usize> Default for Decoder<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Decoder<N> {
    /// A decoder at the start of a frame. One that starts in the middle of a frame loses that one.
    pub const fn new() -> Self {
        Self { frame: [0; N], len: 0, is_overlong: false }
    }

    /// Takes bytes up to the end of a frame, or all.
    ///
    /// A frame is refused as [`Reason::Malformed`] if it is no COBS, [`Reason::TooLong`] beyond `N` bytes and
    /// [`Reason::Checksum`] if its bytes were damaged. Zeros between frames are no frames.
    pub fn feed(&mut self, bytes: &[u8]) -> Fed<'_> {
        let mut used = 0;
        // Zeros with nothing before them: a line that is idle, or a sender that clears it.
        if self.len == 0 && !self.is_overlong {
            used = bytes.iter().take_while(|&&byte| byte == 0).count();
        }
        let rest = bytes.get(used..).unwrap_or_default();
        let end = rest.iter().position(|&byte| byte == 0);
        let piece = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        match self.frame.get_mut(self.len..).and_then(|room| room.get_mut(..piece.len())) {
            Some(room) => {
                room.copy_from_slice(piece);
                self.len += piece.len();
            }
            None => self.is_overlong = true,
        }
        used += piece.len();
        if end.is_none() {
            return Fed { used, frame: None };
        }
        let (len, is_overlong) = (core::mem::take(&mut self.len), core::mem::take(&mut self.is_overlong));
        let frame = match self.frame.get_mut(..len) {
            Some(frame) if !is_overlong => unstuff(frame),
            _ => Err(Reason::TooLong),
        };
        Fed { used: used + 1, frame: Some(frame) }
    }
}

/// Undoes the stuffing in place and checks the checksum.
fn unstuff(frame: &mut [u8]) -> Result<&mut [u8], Reason> {
    let (mut from, mut to) = (0, 0);
    while let Some(&code) = frame.get(from) {
        let block = from + 1..from + usize::from(code);
        let end = block.end;
        if code == 0 || end > frame.len() {
            return Err(Reason::Malformed);
        }
        let len = block.len();
        frame.copy_within(block, to);
        to += len;
        from = end;
        if code != u8::MAX && from < frame.len() {
            *frame.get_mut(to).ok_or(Reason::Malformed)? = 0;
            to += 1;
        }
    }
    let stuffed = frame.get_mut(..to).ok_or(Reason::Malformed)?;
    let (datagram, checksum) = stuffed.split_last_chunk_mut::<CHECKSUM_LEN>().ok_or(Reason::Malformed)?;
    if CRC.checksum(datagram) != u32::from_be_bytes(*checksum) {
        return Err(Reason::Checksum);
    }
    Ok(datagram)
}

const CHECKSUM_LEN: usize = 4;
/// Bytes without a zero that one code byte covers.
const BLOCK_MAX: usize = 254;

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    const LONGEST: usize = 600;
    type Line = Decoder<{ max_encoded_len(LONGEST) }>;

    #[test]
    fn an_example_of_the_stuffing() {
        let mut out = [0; 16];

        let len = encode(&[0x11, 0, 0x22], &mut out).unwrap();

        let [a, b, c, d] = CRC.checksum(&[0x11, 0, 0x22]).to_be_bytes();
        assert_eq!(out[..len], [2, 0x11, 6, 0x22, a, b, c, d, 0]);
    }

    #[test]
    fn a_flipped_bit_costs_the_frame_and_no_other() {
        let mut stream = encoded(&[&[1, 2, 3], &[4, 0, 5], &[6]]);
        stream[1] ^= 0x40;

        assert_eq!(frames(&stream), [Err(Reason::Checksum), Ok(vec![4, 0, 5]), Ok(vec![6])]);
    }

    #[test]
    fn a_zero_out_of_noise_costs_the_frame_it_hits_and_no_other() {
        let mut stream = encoded(&[&[1, 2, 3], &[4, 0, 5]]);
        stream[2] = 0;

        let frames = frames(&stream);

        assert!(frames[..2].iter().all(Result::is_err), "{frames:?}");
        assert_eq!(frames[2..], [Ok(vec![4, 0, 5])]);
    }

    #[test]
    fn a_lost_zero_costs_the_two_frames_it_divided() {
        let mut stream = encoded(&[&[1, 2, 3]]);
        stream.pop();
        stream.extend(encoded(&[&[4, 0, 5], &[6]]));

        let frames = frames(&stream);

        assert!(frames[0].is_err() && frames.len() == 2, "{frames:?}");
        assert_eq!(frames[1], Ok(vec![6]));
    }

    #[test]
    fn a_frame_that_never_ends_is_noise_and_the_next_one_is_read() {
        let mut stream = vec![7; 5000];
        stream.push(0);
        stream.extend(encoded(&[&[6]]));

        assert_eq!(frames(&stream), [Err(Reason::TooLong), Ok(vec![6])]);
    }

    #[test]
    fn the_longest_frame_has_room_and_one_byte_less_is_refused() {
        for byte in [0, 1] {
            let datagram = [byte; LONGEST];
            let mut out = [0; max_encoded_len(LONGEST)];
            let len = encode(&datagram, &mut out).unwrap();

            assert_eq!(encode(&datagram, &mut out[..len - 1]), None);
            encode(&datagram, &mut out).unwrap();
            assert_eq!(frames(&out[..len]), [Ok(datagram.to_vec())]);
        }
    }

    proptest! {
        #[test]
        fn every_datagram_comes_back_in_any_pieces(
            datagrams in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..LONGEST), 1..5),
            piece in 1..700_usize,
        ) {
            let stream = encoded(&datagrams.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let mut line = Line::new();
            let mut read = vec![];
            for piece in stream.chunks(piece) {
                feed(&mut line, piece, &mut read);
            }

            prop_assert_eq!(read, datagrams.into_iter().map(Ok).collect::<Vec<_>>());
        }

        #[test]
        fn after_any_noise_the_second_frame_is_read(noise in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut stream = noise;
            stream.extend(encoded(&[&[1, 0, 2], &[3, 0, 4]]));

            let frames = frames(&stream);

            prop_assert_eq!(frames.last(), Some(&Ok(vec![3, 0, 4])));
        }
    }

    fn encoded(datagrams: &[&[u8]]) -> Vec<u8> {
        let mut stream = vec![];
        for datagram in datagrams {
            let mut out = vec![0; max_encoded_len(datagram.len())];
            let len = encode(datagram, &mut out).unwrap();
            stream.extend_from_slice(&out[..len]);
        }
        stream
    }

    fn frames(stream: &[u8]) -> Vec<Result<Vec<u8>, Reason>> {
        let mut read = vec![];
        feed(&mut Line::new(), stream, &mut read);
        read
    }

    fn feed(line: &mut Line, mut bytes: &[u8], read: &mut Vec<Result<Vec<u8>, Reason>>) {
        while !bytes.is_empty() {
            let Fed { used, frame } = line.feed(bytes);
            read.extend(frame.map(|frame| frame.map(|datagram| datagram.to_vec())));
            bytes = &bytes[used..];
        }
    }
}
