//! Messages in the body of a record.

use super::*;

#[test]
fn the_same_type_as_before_in_a_records_first_message_is_malformed() {
    assert_malformed(&[SAME_KIND, 0], Some(1));
}

#[test]
fn the_same_type_as_before_after_a_full_envelope_is_malformed() {
    assert_malformed(&[0, 7, 0, FULL, 0, SAME_KIND, 0], Some(1));
    assert_malformed(&[FULL, 0, SAME_KIND, 0], Some(1));
    assert!(message::check(&[0, 7, 0, FULL, 0, 0, 7, 0], Some(1)).is_ok());
}

#[test]
fn a_session_that_begins_without_an_explicit_sequence_is_malformed() {
    assert_malformed(&[0, 7, 0], None);
    assert!(message::check(&[EXPLICIT, 7, 0, 0], None).is_ok());
}

#[test]
fn a_full_envelope_is_counted_like_any_message() {
    assert_malformed(&[FULL, 0], None);

    let checked = message::check(&[FULL, 0, 0, 7, 0], Some(41)).unwrap();

    let sequences: Vec<u64> = checked.messages().map(|message| message.header.sequence).collect();
    assert_eq!((sequences, checked.last_sequence()), (vec![42, 43], Some(43)));
}

#[test]
fn a_sequence_after_the_last_possible_one_is_malformed() {
    assert_malformed(&[0, 7, 0], Some(u64::MAX));
}

#[test]
fn a_type_beyond_16_bits_is_malformed() {
    assert_malformed(&[0, 0x80, 0x80, 0x04, 0], Some(1));
}

#[test]
fn a_payload_beyond_the_record_is_malformed() {
    assert_malformed(&[0, 7, 3, 1, 2], Some(1));
    assert_malformed(&[0, 7, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1], Some(1));
}

#[test]
fn a_message_that_is_cut_short_anywhere_is_malformed() {
    let body = [EXPLICIT | EXTENSION, 0x80, 0x20, 2, 0x80, 0x01, 3, 5, 6, 1, 2];

    for cut in 1..body.len() {
        assert_malformed(&body[..cut], Some(1));
    }
    assert!(message::check(&body, Some(1)).is_ok());
}

#[test]
fn a_body_is_refused_as_a_whole_when_its_last_message_is_malformed() {
    assert_malformed(&[0, 7, 1, 1, 0, 7, 1], Some(1));
}

#[test]
fn a_reserved_bit_of_the_extension_is_malformed() {
    for bit in 5..8 {
        assert_malformed(&[EXTENSION, 7, 0, 1 << bit], Some(1));
    }
}

#[test]
fn a_ttl_or_age_beyond_32_bits_is_malformed() {
    for present in [1, 2] {
        assert_malformed(&[EXTENSION, 7, 0, present, 0x80, 0x80, 0x80, 0x80, 0x10], Some(1));
    }
}

#[test]
fn a_full_envelope_that_says_it_is_of_the_type_before_is_malformed() {
    assert_malformed(&[0, 7, 0, FULL | SAME_KIND, 0], Some(1));
}

#[test]
fn what_a_full_envelope_says_is_not_looked_at() {
    let body = [FULL | LAST, 0xFF, 1, 2];

    let checked = message::check(&body, Some(1)).unwrap();

    let [message] = checked.messages().collect::<Vec<_>>()[..] else { panic!("not one message") };
    assert_eq!((message.header.full, message.header.kind, message.payload), (true, 0, &body[1..]));
}

#[test]
fn the_number_zero_is_malformed() {
    for flags in [EXTENSION | FULL, EXTENSION] {
        let kind: &[u8] = if flags & FULL == 0 { &[7] } else { &[] };
        assert_malformed(&[&[flags], kind, &[0, NUMBER, 0]].concat(), Some(1));
        assert!(message::check(&[&[flags], kind, &[0, NUMBER, 1]].concat(), Some(1)).is_ok());
    }
}

#[test]
fn a_message_after_the_last_is_not_written() {
    let mut body = [0; 64];
    let mut encoder = Encoder::new(&mut body, Some(1));
    assert!(encoder.push(&header(2), b"last", Place::Last));

    let pushed = encoder.push(&header(3), b"", Place::Inner);

    assert!(!pushed);
    assert_eq!((encoder.room(), encoder.count(), encoder.last_sequence()), (0, 1, Some(2)));
}

#[test]
fn a_full_envelope_with_a_type_or_compression_is_not_written() {
    let mut body = [0; 64];
    let mut encoder = Encoder::new(&mut body, Some(1));
    let full = MessageHeader { full: true, kind: 0, ..header(2) };
    let compressed = Some(Compressed { method: Method::Lz4, original: 9 });

    for header in [MessageHeader { kind: 7, ..full }, MessageHeader { compressed, ..full }] {
        assert!(!encoder.push(&header, b"envelope", Place::Inner), "{header:?}");
    }

    assert_eq!((encoder.written(), encoder.count()), (0, 0));
    assert!(encoder.push(&full, b"envelope", Place::Inner));
}

#[test]
fn the_longest_payload_of_a_body_is_known_before_the_first_is_delivered() {
    let body = [0, 7, 1, 1, SAME_KIND, 3, 1, 2, 3, SAME_KIND | LAST, 1, 2];

    assert_eq!(message::check(&body, Some(1)).unwrap().longest(), 3);
}

/// How many messages a body holds that begins a session.
fn check(body: &[u8]) -> Result<usize, Reason> {
    message::check(body, None).map(|checked| checked.count())
}

fn assert_malformed(body: &[u8], previous_sequence: Option<u64>) {
    assert_eq!(message::check(body, previous_sequence).unwrap_err(), Reason::Malformed);
}

#[test]
fn a_part_that_contradicts_itself_is_malformed_and_not_written() {
    // Length, total, offset.
    let parts = [(0, 0, 0), (1, 0, 0), (0, 9, 0), (0, 9, 8), (0, 9, 10), (2, 9, 8), (1, 9, 9), (9, 8, 0)];
    for (len, total, offset) in parts {
        let bytes =
            [&[EXPLICIT | EXTENSION, 7, len, 0, PART, total, offset][..], &[1; 9][..len.into()]].concat();
        assert_eq!(check(&bytes), Err(Reason::Malformed), "{len} bytes at {offset} of {total}");

        let part = Some(Part { total: total.into(), offset: offset.into() });
        let mut room = [0; 64];
        let mut encoder = Encoder::new(&mut room, None);
        assert!(!encoder.push(&MessageHeader { part, ..header(0) }, &[1; 9][..len.into()], Place::Inner));
        assert_eq!((encoder.written(), encoder.last_sequence()), (0, None));
    }
}

#[test]
fn a_part_may_be_all_of_a_message_its_end_or_its_abandonment() {
    for (len, total, offset) in [(9, 9, 0), (1, 9, 0), (1, 9, 8), (0, 9, 9)] {
        let bytes =
            [&[EXPLICIT | EXTENSION, 7, len, 0, PART, total, offset][..], &[1; 9][..len.into()]].concat();
        assert_eq!(check(&bytes), Ok(1), "{len} bytes at {offset} of {total}");
    }
}

#[test]
fn a_part_beyond_four_gibibytes_is_malformed() {
    let most = [0xFF, 0xFF, 0xFF, 0xFF, 0x0F];
    let more = [0x80, 0x80, 0x80, 0x80, 0x10];
    for (total, offset) in [(more, most), (most, more)] {
        let head = [EXPLICIT | EXTENSION | LAST, 7, 0, PART];
        assert_eq!(check(&[&head[..], &total, &offset, &[1]].concat()), Err(Reason::Malformed));
    }
    // Its last byte would be one too many.
    let head = [EXPLICIT | EXTENSION | LAST, 7, 0, PART];
    assert_eq!(check(&[&head[..], &most, &most, &[1]].concat()), Err(Reason::Malformed));
}

#[test]
fn compressed_security_and_configuration_are_refused_as_such() {
    for (kind, result) in [
        (0x02FF, Ok(1)),
        (0x0300, Err(Reason::Compression)),
        (0x03FF, Err(Reason::Compression)),
        (0x0400, Ok(1)),
        (0x09FF, Ok(1)),
        (0x0A00, Err(Reason::Compression)),
        (0x0AFF, Err(Reason::Compression)),
        (0x0B00, Ok(1)),
        (0x0D00, Ok(1)),
        (0x0E00, Ok(1)),
    ] {
        let kind: u16 = kind;
        let [low, high] = [kind as u8 & 0x7F | 0x80, (kind >> 7) as u8];
        let bytes = [EXPLICIT | EXTENSION, low, high, 1, 0, COMPRESSED, 1, 90, 0xAA];

        assert_eq!(check(&bytes), result, "{kind:#06x}");
    }
}

#[test]
fn a_body_tells_how_its_messages_are_compressed() {
    let lz4 = [EXPLICIT | EXTENSION, 7, 1, 0, COMPRESSED, 1, 90, 0xAA];
    let zstd = [EXPLICIT | EXTENSION, 7, 1, 1, COMPRESSED, 2, 90, 0xAA];
    let methods = |body: &[u8]| message::check(body, None).unwrap().methods();

    assert_eq!(methods(&lz4), Methods::LZ4);
    assert_eq!(methods(&[lz4, zstd].concat()), Methods::ALL);
    assert_eq!(methods(&[EXPLICIT, 7, 1, 0, 0xAA]), Methods::NONE);
}

#[test]
fn an_unknown_method_of_compression_is_malformed() {
    for method in [0, 3, 255] {
        let bytes = [EXPLICIT | EXTENSION, 7, 1, 0, COMPRESSED, method, 9, 0xAA];
        assert_eq!(check(&bytes), Err(Reason::Malformed), "method {method}");
    }
    assert_eq!(check(&[EXPLICIT | EXTENSION, 7, 1, 0, COMPRESSED, 1, 9, 0xAA]), Ok(1));
    assert_eq!(check(&[EXPLICIT | EXTENSION, 7, 1, 0, COMPRESSED, 2, 9, 0xAA]), Ok(1));
}

#[test]
fn a_full_envelope_may_come_in_parts_and_is_never_compressed() {
    let begins = [FULL | EXPLICIT | EXTENSION, 1, 0];

    assert_eq!(check(&[&begins[..], &[PART, 9, 0, 0xAA]].concat()), Ok(1));
    assert_eq!(check(&[&begins[..], &[COMPRESSED, 1, 9, 0xAA]].concat()), Err(Reason::Malformed));
}

#[test]
fn a_part_of_a_message_weighs_as_much_as_the_whole() {
    let part = [EXPLICIT | EXTENSION, 7, 1, 0, PART, 100, 4, 0xAA];
    let compressed = [EXPLICIT | EXTENSION, 7, 1, 0, COMPRESSED, 1, 90, 0xAA];

    assert_eq!(message::check(&part, None).unwrap().longest(), 100);
    assert_eq!(message::check(&compressed, None).unwrap().longest(), 90);
}

fn header(sequence: u64) -> MessageHeader {
    MessageHeader { kind: 7, sequence, ..MessageHeader::default() }
}

const SAME_KIND: u8 = 1 << 3;
const LAST: u8 = 1 << 4;
const EXPLICIT: u8 = 1 << 5;
const EXTENSION: u8 = 1 << 6;
const FULL: u8 = 1 << 7;

const PART: u8 = 1 << 2;
const COMPRESSED: u8 = 1 << 3;
const NUMBER: u8 = 1 << 4;
