//! Hellos and their optional fields.

use super::*;

#[test]
fn a_hello_that_is_cut_short_is_malformed() {
    let bytes = bytes();

    for cut in 0..bytes.len() {
        assert_eq!(Hello::decode(&bytes[..cut]), Err(Reason::Malformed), "{cut} bytes");
    }
}

#[test]
fn a_span_of_versions_from_zero_or_backwards_is_malformed() {
    for versions in [0x00, 0x01, 0x21] {
        assert_eq!(Hello::decode(&with(0, &[versions])), Err(Reason::Malformed));
    }
}

#[test]
fn an_unknown_node_type_is_malformed() {
    for node_type in [0, 4, 255] {
        assert_eq!(Hello::decode(&with(1, &[node_type])), Err(Reason::Malformed));
    }
}

#[test]
fn a_largest_record_below_512_bytes_is_malformed() {
    assert_eq!(Hello::decode(&with(8, &511_u16.to_be_bytes())), Err(Reason::Malformed));
    assert!(Hello::decode(&with(8, &512_u16.to_be_bytes())).is_ok());
}

#[test]
fn a_heartbeat_interval_of_zero_is_malformed() {
    assert_eq!(Hello::decode(&with(10, &[0, 0])), Err(Reason::Malformed));
}

#[test]
fn an_unknown_quality_of_time_is_malformed() {
    assert_eq!(Hello::decode(&with(28, &[3])), Err(Reason::Malformed));
}

#[test]
fn a_time_without_quality_is_malformed() {
    assert_eq!(Hello::decode(&with(28, &[0])), Err(Reason::Malformed));
}

#[test]
fn the_methods_of_compression_are_the_bits_of_their_codes() {
    let takes = |capabilities| Hello { capabilities, ..hello() }.methods();

    assert_eq!(takes(0), Methods::NONE);
    assert_eq!(takes(0b10), Methods::NONE.and(Method::Lz4));
    assert_eq!(takes(0b100), Methods::NONE.and(Method::Zstd));
    assert_eq!(takes(0xFFFF), Methods::ALL);
    assert_eq!(takes(!0b110), Methods::NONE);
    assert_eq!(Methods::ALL.bits(), 0b110);
}

#[test]
fn capability_bits_of_the_future_are_ignored() {
    let bytes = with(2, &[0xFF, 0xFF]);

    let (decoded, _) = Hello::decode(&bytes).unwrap();

    assert_eq!(decoded, Hello { capabilities: 0xFFFF, ..hello() });
}

#[test]
fn the_capabilities_of_a_hello_that_is_refused_can_be_read_if_they_are_there() {
    let bytes = with(1, &[9, 0x80, 0x01]);

    assert_eq!(Hello::decode(&bytes), Err(Reason::Malformed));
    assert_eq!(Hello::peek_capabilities(&bytes), 0x8001);
    assert_eq!(Hello::peek_capabilities(&bytes[..4]), 0x8001);
    assert_eq!(Hello::peek_capabilities(&bytes[..3]), 0);
}

#[test]
fn an_unknown_critical_field_refuses_the_hello() {
    assert_eq!(Hello::decode(&followed_by(&[0x80 | 9, 0])), Err(Reason::UnknownCritical));
}

#[test]
fn an_unknown_field_that_is_not_critical_is_skipped() {
    let bytes = followed_by(&[9, 2, 0xAA, 0xBB, 3, 1, b't']);

    let (_, extensions) = Hello::decode(&bytes).unwrap();

    assert_eq!(extensions, Extensions { token: Some(b"t"), ..Extensions::default() });
}

#[test]
fn a_known_field_is_taken_with_and_without_the_critical_bit() {
    for critical in [0, 0x80] {
        let bytes = followed_by(&[critical | 1, 8, 1, 2, 3, 4, 5, 6, 7, 8]);

        let (_, extensions) = Hello::decode(&bytes).unwrap();

        assert_eq!(extensions.network, Some(NetworkTag::from_bytes([1, 2, 3, 4, 5, 6, 7, 8])));
    }
}

#[test]
fn a_type_that_comes_twice_is_malformed_known_or_not_critical_or_not() {
    for twice in [&[3, 0, 3, 0][..], &[9, 0, 9, 0], &[3, 0, 0x83, 0], &[127, 0, 127, 0]] {
        assert_eq!(Hello::decode(&followed_by(twice)), Err(Reason::Malformed));
    }
}

#[test]
fn a_field_that_is_cut_short_is_malformed() {
    for tail in [&[3][..], &[3, 0x80], &[3, 2, b't'], &[3, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]] {
        assert_eq!(Hello::decode(&followed_by(tail)), Err(Reason::Malformed));
    }
}

#[test]
fn a_network_tag_of_another_length_is_malformed() {
    assert_eq!(Hello::decode(&followed_by(&[1, 7, 1, 2, 3, 4, 5, 6, 7])), Err(Reason::Malformed));
    assert_eq!(Hello::decode(&followed_by(&[1, 0])), Err(Reason::Malformed));
}

#[test]
fn a_hello_out_of_bounds_is_not_written() {
    let none = Extensions::default();
    let mut out = [0; 64];

    for bad in [
        Hello { versions: Versions { lowest: 0, highest: 1 }, ..hello() },
        Hello { versions: Versions { lowest: 2, highest: 1 }, ..hello() },
        Hello { versions: Versions { lowest: 1, highest: 16 }, ..hello() },
        Hello { max_record: 511, ..hello() },
        Hello { heartbeat: Duration::ZERO, ..hello() },
        Hello { heartbeat: Hello::MAX_HEARTBEAT + Duration::from_micros(1), ..hello() },
        Hello { quality: TimeQuality::None, ..hello() },
    ] {
        assert_eq!(bad.encode(&none, &mut out), None, "{bad:?}");
    }
    assert_eq!(hello().encode(&none, &mut [0; 28]), None);
}

#[test]
fn a_heartbeat_between_two_steps_is_rounded_up() {
    let mut out = [0; Hello::LEN];

    Hello { heartbeat: Duration::from_micros(1), ..hello() }
        .encode(&Extensions::default(), &mut out)
        .unwrap();

    assert_eq!(Hello::decode(&out).unwrap().0.heartbeat, Duration::from_millis(10));
}

#[test]
fn the_version_in_common_is_the_highest_of_both_spans() {
    let span = |lowest, highest| Versions::new(lowest, highest).unwrap();

    assert_eq!(span(1, 3).common(span(2, 5)), Some(3));
    assert_eq!(span(1, 1).common(span(1, 1)), Some(1));
    assert_eq!(span(1, 2).common(span(3, 5)), None);
    assert_eq!(span(3, 5).common(span(1, 2)), None);
}

fn hello() -> Hello {
    Hello {
        versions: Versions::SUPPORTED,
        node_type: NodeType::Rhizomorph,
        capabilities: 0,
        max_message: 4096,
        max_record: 2048,
        heartbeat: Duration::from_secs(5),
        boot_id: 1,
        time: UnixTime::from_micros(1),
        quality: TimeQuality::Synced,
    }
}

fn bytes() -> Vec<u8> {
    let mut bytes = vec![0; Hello::LEN];
    hello().encode(&Extensions::default(), &mut bytes).unwrap();
    bytes
}

fn with(offset: usize, field: &[u8]) -> Vec<u8> {
    let mut bytes = bytes();
    bytes[offset..][..field.len()].copy_from_slice(field);
    bytes
}

fn followed_by(tail: &[u8]) -> Vec<u8> {
    [&bytes(), tail].concat()
}
