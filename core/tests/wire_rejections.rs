//! What every decoder refuses, and with which reason: one sentence for each rule of `docs/protocol.md`, sections 1 to 8.

use std::time::Duration;

use hyphal_core::{
    ids::{Hint, MessageId, NodeId, NodeType, Priority},
    time::{TimeQuality, UnixTime},
    wire::{
        control::Control,
        envelope::{Envelope, EnvelopeHeader},
        frame::{self, Compression, Decoded, Header, Kind, Refusal},
        hello::{Extensions, Hello, NetworkTag, Versions},
        message::{self, Compressed, Encoder, MessageHeader, Method, Methods, Part, Place},
        reason::Reason,
        record::{self, RecordHeader},
        varint,
    },
};

mod varints {
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
}

mod frames {
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
}

mod hellos {
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
}

mod records {
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
}

mod messages {
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
        MessageHeader {
            priority: Priority::Medium,
            broadcast: false,
            kind: 7,
            full: false,
            sequence,
            ttl: 60,
            age: 0,
            part: None,
            compressed: None,
            number: None,
        }
    }

    const SAME_KIND: u8 = 1 << 3;
    const LAST: u8 = 1 << 4;
    const EXPLICIT: u8 = 1 << 5;
    const EXTENSION: u8 = 1 << 6;
    const FULL: u8 = 1 << 7;

    const PART: u8 = 1 << 2;
    const COMPRESSED: u8 = 1 << 3;
    const NUMBER: u8 = 1 << 4;
}

mod envelopes {
    use super::*;

    #[test]
    fn an_envelope_of_another_version_is_refused_as_such() {
        for version in [0, 2, 255] {
            assert_eq!(Envelope::decode(&with(0, version)), Err(Reason::Version));
        }
    }

    #[test]
    fn an_envelope_with_a_reserved_flag_is_malformed() {
        for bit in 5..8 {
            assert_eq!(Envelope::decode(&with(1, 1 | 1 << bit)), Err(Reason::Malformed));
        }
    }

    #[test]
    fn an_encrypted_broadcast_is_malformed_and_not_written() {
        let broadcast = Envelope { target_node_id: None, ..envelope() };
        let mut bytes = vec![0; broadcast.encoded_len()];
        broadcast.encode(&mut bytes).unwrap();
        bytes[1] |= 1 << 3;

        assert_eq!(Envelope::decode(&bytes), Err(Reason::Malformed));
        assert_eq!(Envelope { is_encrypted: true, ..broadcast }.encode(&mut bytes), None);
    }

    #[test]
    fn an_encrypted_envelope_with_a_type_that_can_be_read_is_malformed_and_not_written() {
        let mut bytes = with(1, 1 | 1 << 3);

        assert_eq!(Envelope::decode(&bytes), Err(Reason::Malformed));
        assert_eq!(EnvelopeHeader::decode(&bytes), Err(Reason::Malformed));
        assert_eq!(Envelope { is_encrypted: true, ..envelope() }.encode(&mut bytes), None);
    }

    #[test]
    fn a_header_of_another_version_is_refused_with_its_first_bytes() {
        assert_eq!(EnvelopeHeader::decode(&[1]), Ok(None));
        assert_eq!(EnvelopeHeader::decode(&[2]), Err(Reason::Version));
        assert_eq!(EnvelopeHeader::decode(&[2, 0, 0]), Err(Reason::Version));
    }

    #[test]
    fn an_envelope_that_is_cut_short_anywhere_is_malformed() {
        let envelope = Envelope { signature: Some(&[9; 64]), ..envelope() };
        let mut bytes = vec![0; envelope.encoded_len()];
        envelope.encode(&mut bytes).unwrap();

        for cut in 0..bytes.len() {
            assert_eq!(Envelope::decode(&bytes[..cut]), Err(Reason::Malformed), "{cut} bytes");
        }
    }

    #[test]
    fn anything_after_an_envelope_is_malformed() {
        let mut bytes = bytes();
        bytes.push(0);

        assert_eq!(Envelope::decode(&bytes), Err(Reason::Malformed));
    }

    #[test]
    fn a_payload_beyond_the_envelope_is_malformed() {
        let mut bytes = bytes();
        let at = bytes.len() - envelope().payload.len() - 4;
        bytes[at..][..4].copy_from_slice(&[0xFF; 4]);

        assert_eq!(Envelope::decode(&bytes), Err(Reason::Malformed));
    }

    #[test]
    fn an_envelope_does_not_fit_a_shorter_buffer() {
        for room in 0..envelope().encoded_len() {
            assert_eq!(envelope().encode(&mut vec![0; room]), None);
        }
    }

    fn bytes() -> Vec<u8> {
        let mut bytes = vec![0; envelope().encoded_len()];
        envelope().encode(&mut bytes).unwrap();
        bytes
    }

    fn with(offset: usize, byte: u8) -> Vec<u8> {
        let mut bytes = bytes();
        bytes[offset] = byte;
        bytes
    }
}

mod controls {
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
}

fn envelope() -> Envelope<'static> {
    Envelope {
        message_id: MessageId { epoch: 1, sequence: 2 },
        source_node_id: NodeId::from_bytes([3; 32]),
        target_node_id: Some(NodeId::from_bytes([4; 32])),
        timestamp: UnixTime::from_micros(5),
        ttl: 60,
        priority: Priority::Medium,
        is_encrypted: false,
        payload: b"hi",
        signature: None,
        message_type: 0x1000,
    }
}
