//! What a varint is not.

use super::*;

#[test]
fn a_varint_that_is_not_the_shortest_is_malformed() {
    for bytes in [&[0x80, 0x00][..], &[0xFF, 0x80, 0x00], &[0x81, 0x80, 0x80, 0x00]] {
        assert_eq!(varint::decode(bytes), Err(Reason::Malformed));
    }
}

#[test]
fn a_varint_of_two_to_the_64_or_more_is_malformed() {
    let mut bytes = [0x80; 10];
    bytes[9] = 0x02;

    assert_eq!(varint::decode(&bytes), Err(Reason::Malformed));
}

#[test]
fn a_varint_that_goes_on_after_ten_bytes_is_malformed_at_the_tenth() {
    assert_eq!(varint::decode(&[0x80; 10]), Err(Reason::Malformed));
    assert_eq!(varint::decode(&[0x80; 9]), Ok(None));
}

#[test]
fn a_varint_does_not_fit_a_shorter_buffer() {
    assert_eq!(varint::encode(300, &mut [0; 1]), None);
    assert_eq!(varint::encode(0, &mut []), None);
}
