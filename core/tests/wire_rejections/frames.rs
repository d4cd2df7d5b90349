//! Frames and refusals: docs/protocol.md, sections 2 and 3.

use super::*;

#[test]
fn a_frame_beyond_the_limit_is_refused_from_its_first_four_bytes() {
    let length = (1536 - 4 + 1_u32).to_be_bytes();

    let decoded = frame::decode(&length, frame::MAX_UNAUTHENTICATED);

    assert_eq!(decoded, Err(Reason::TooLong));
}

#[test]
fn a_frame_at_the_limit_is_awaited() {
    let length = (1536 - 4_u32).to_be_bytes();

    let decoded = frame::decode(&length, frame::MAX_UNAUTHENTICATED);

    assert_eq!(decoded, Ok(Decoded::Incomplete { need: 1536 }));
}

#[test]
fn no_limit_of_the_caller_admits_a_frame_beyond_sixteen_mebibytes() {
    assert_eq!(frame::decode(&[0xFF; 4], usize::MAX), Err(Reason::TooLong));
    assert_eq!(header().encode(&vec![0; frame::MAX_LEN], &mut vec![0; frame::MAX_LEN + 14]), None);
}

#[test]
fn a_frame_too_short_for_its_header_is_malformed() {
    assert_eq!(frame::decode(&9_u32.to_be_bytes(), 1536), Err(Reason::Malformed));
}

#[test]
fn a_frame_too_short_for_its_checksum_is_malformed() {
    let mut bytes = frame(header(), &[0; 3]);
    bytes[5] |= 0x80;

    assert_eq!(frame::decode(&bytes, 1536), Err(Reason::Malformed));
}

#[test]
fn a_flipped_bit_anywhere_behind_the_flags_of_a_checked_frame_is_a_wrong_checksum() {
    let good = frame(Header { checksum: true, ..header() }, b"payload");

    for bit in 8 * 6..8 * good.len() {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);

        assert_eq!(frame::decode(&bytes, 1536), Err(Reason::Checksum), "bit {bit}");
    }
}

#[test]
fn a_frame_with_a_reserved_flag_is_malformed() {
    for bit in 4..8 {
        let mut bytes = frame(header(), b"payload");
        bytes[4] |= 1 << bit;

        assert_eq!(frame::decode(&bytes, 1536), Err(Reason::Malformed));
    }
}

#[test]
fn a_frame_of_an_unknown_compression_is_refused_as_such() {
    for method in 3..8 {
        let mut bytes = frame(header(), b"payload");
        bytes[5] |= method << 4;

        assert_eq!(frame::decode(&bytes, 1536), Err(Reason::Compression));
    }
}

#[test]
fn a_frame_of_an_invalid_kind_is_malformed() {
    for kind in [0, 7, 8, 9, 10, 11, 12, 13, 14] {
        assert_eq!(frame::decode(&of_kind(kind), 1536), Err(Reason::Malformed));
    }
}

#[test]
fn a_payload_shorter_than_a_hint_names_none() {
    for len in 0..Hint::LEN {
        assert_eq!(frame::split_hint_mut(&mut vec![7; len]), Err(Reason::Malformed));
    }
    let whole = &mut [7; Hint::LEN + 1];
    assert_eq!(frame::split_hint_mut(whole), Ok((Hint::from_bytes([7; Hint::LEN]), &mut [7][..])));
}

#[test]
fn a_frame_of_another_version_is_read_up_to_its_id_whatever_else_it_says() {
    let mut bytes = frame(header(), b"payload");
    bytes[4] = 0xFF;
    bytes[5] = 0xF2;

    let decoded = frame::decode(&bytes, 1536);

    assert_eq!(decoded, Ok(Decoded::Foreign { version: 2, id: header().id, used: bytes.len() }));
}

#[test]
fn what_follows_a_frame_is_left_alone() {
    let mut bytes = frame(header(), b"payload");
    let used = bytes.len();
    bytes.extend([0xFF; 20]);

    let decoded = frame::decode(&bytes, 1536);

    let frame = frame::Frame { header: header(), payload: &b"payload"[..] };
    assert_eq!(decoded, Ok(Decoded::Frame { frame, used }));
}

#[test]
fn a_frame_written_around_its_payload_equals_one_around_a_copy() {
    for checksum in [false, true] {
        let header = Header { checksum, ..header() };
        let mut buf = vec![0; header.frame_len(7)];
        buf[frame::HEADER_LEN..][..7].copy_from_slice(b"payload");

        let written = header.encode_around(7, &mut buf);

        assert_eq!(written, Some(buf.len()));
        assert_eq!(buf, frame(header, b"payload"));
    }
}

#[test]
fn a_frame_does_not_fit_a_shorter_buffer() {
    let header = Header { checksum: true, ..header() };

    for room in 0..header.frame_len(7) {
        assert_eq!(header.encode(b"payload", &mut vec![0; room]), None);
    }
}

#[test]
fn a_refusal_of_another_length_is_malformed() {
    assert_eq!(Refusal::decode(&[0; 9]), Err(Reason::Malformed));
    assert_eq!(Refusal::decode(&[0; 11]), Err(Reason::Malformed));
}

#[test]
fn a_refusal_with_a_reason_of_the_future_keeps_its_code() {
    let refusal = Refusal::decode(&[0xFE, 0xED, 0, 0, 0, 0, 0, 0, 0, 7]).unwrap();

    assert_eq!(refusal, Refusal { code: 0xFEED, detail: 7 });
    assert_eq!(refusal.reason(), None);
}

#[test]
fn a_refusal_for_the_version_says_which_ones_are_spoken() {
    let spoken = Versions::new(2, 5).unwrap();
    let nonsense = Refusal { code: Reason::Version.code(), detail: 0x0502 };

    assert_eq!(Refusal::version(spoken).detail, 0x0205);
    assert_eq!(Refusal::version(spoken).versions(), Some(spoken));
    assert_eq!(nonsense.versions(), None);
    assert_eq!(Refusal { detail: 0x1_0000_0205, ..nonsense }.versions(), None);
    assert_eq!(Refusal { detail: 0x0205, ..Refusal::new(Reason::Busy) }.versions(), None);
}

fn header() -> Header {
    Header { checksum: false, compression: Compression::None, kind: Kind::Xx1, id: 0x0102_0304_0506_0708 }
}

fn frame(header: Header, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; header.frame_len(payload.len())];
    header.encode(payload, &mut bytes).unwrap();
    bytes
}

fn of_kind(kind: u8) -> Vec<u8> {
    let mut bytes = frame(header(), b"payload");
    bytes[4] = kind;
    bytes
}
