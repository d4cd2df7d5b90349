//! The length fields and headers of records.

use super::*;

#[test]
fn a_record_beyond_the_limit_is_too_long_as_soon_as_its_length_is_there() {
    assert_eq!(record::decode_length(&[0x81, 0x04], 512), Err(Reason::TooLong));
    assert_eq!(record::decode_length(&[0x80, 0x04], 512), Ok(Some((512, 2))));
}

#[test]
fn a_length_field_of_more_than_three_bytes_is_too_long_at_the_third() {
    assert_eq!(record::decode_length(&[0x80; 3], usize::MAX), Err(Reason::TooLong));
    assert_eq!(record::decode_length(&[0x80, 0x80, 0x80, 0x01], usize::MAX), Err(Reason::TooLong));
    assert_eq!(record::decode_length(&[0x80, 0x80, 0x80, 0x00], usize::MAX), Err(Reason::TooLong));
    assert_eq!(record::decode_length(&[0x80; 2], usize::MAX), Ok(None));
}

#[test]
fn a_length_field_that_is_not_the_shortest_is_malformed() {
    assert_eq!(record::decode_length(&[0xA0, 0x00], usize::MAX), Err(Reason::Malformed));
}

#[test]
fn a_record_too_short_for_header_and_tag_is_malformed() {
    assert_eq!(record::decode_length(&[18], usize::MAX), Err(Reason::Malformed));
    assert_eq!(record::decode_length(&[19], usize::MAX), Ok(Some((19, 1))));
}

#[test]
fn a_length_beyond_three_bytes_is_not_written() {
    assert_eq!(record::encode_length(record::MAX_LEN + 1, &mut [0; 8]), None);
    assert_eq!(record::encode_length(128, &mut [0; 1]), None);
}

#[test]
fn a_record_of_an_unknown_body_or_with_a_reserved_bit_is_malformed() {
    for kind in [2, 3, 1 << 7, 3 << 6] {
        assert_eq!(RecordHeader::decode(&[kind, 0, 0]), Err(Reason::Malformed));
    }
}

#[test]
fn a_record_header_that_is_cut_short_is_malformed() {
    let bytes = [0b0011_1100, 0, 1, 5, 0x80, 0x01, 7, 8];

    for cut in 0..bytes.len() {
        assert_eq!(RecordHeader::decode(&bytes[..cut]), Err(Reason::Malformed), "{cut} bytes");
    }
    assert!(RecordHeader::decode(&bytes).is_ok());
}

#[test]
fn a_record_header_does_not_fit_a_shorter_buffer() {
    let header = RecordHeader { ack: Some(300), ping: Some(1), ..RecordHeader::default() };

    for room in 0..header.encoded_len() {
        assert_eq!(header.encode(&mut vec![0; room]), None);
    }
}
