//! Control messages.

use super::*;

#[test]
fn an_empty_control_message_is_malformed() {
    assert_eq!(Control::decode(&[]), Err(Reason::Malformed));
}

#[test]
fn an_unknown_code_is_malformed() {
    for code in [0, 5, 255] {
        assert_eq!(Control::decode(&[code]), Err(Reason::Malformed));
    }
}

#[test]
fn a_control_message_that_is_cut_short_is_malformed() {
    for bytes in [&[2, 2, 3][..], &[2, 2, 3, 0, 0, 0, 0, 0, 0, 0], &[3], &[3, 1]] {
        assert_eq!(Control::decode(bytes), Err(Reason::Malformed));
    }
}

#[test]
fn a_reason_of_the_future_keeps_its_code() {
    assert_eq!(Control::decode(&[3, 0xFE, 0xED]), Ok(Control::Close { code: 0xFEED }));
}

#[test]
fn an_optional_field_of_the_future_is_skipped_unless_it_is_critical() {
    assert_eq!(Control::decode(&[1, 1, 2, 0xAA, 0xBB]), Ok(Control::Accept));
    assert_eq!(Control::decode(&[1, 0x81, 0]), Err(Reason::UnknownCritical));
}

#[test]
fn an_optional_field_that_is_cut_short_or_comes_twice_is_malformed() {
    for bytes in [&[1, 1][..], &[1, 1, 1], &[1, 5, 0, 5, 0]] {
        assert_eq!(Control::decode(bytes), Err(Reason::Malformed));
    }
}

#[test]
fn a_control_message_does_not_fit_a_shorter_buffer() {
    let reject = Control::Reject(Refusal::new(Reason::Untrusted));

    for room in 0..Control::MAX_LEN {
        assert_eq!(reject.encode(&mut vec![0; room]), None);
    }
}
