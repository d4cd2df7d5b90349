//! Properties of every codec: what encodes decodes to the same value, and no bytes whatever make a decoder panic.
//!
//! The generator's seed is fixed, so a run repeats; proptest prints the failing input.

use std::{num::NonZeroU64, time::Duration};

use hyphal_core::{
    ids::{MessageId, NodeId, NodeType, Priority},
    time::{TimeQuality, UnixTime},
    wire::{
        control::Control,
        datagram::ConnectionId,
        delegation::Delegation,
        envelope::{Envelope, EnvelopeHeader, SEALED_TYPE},
        family::Family,
        frame::{self, Compression, Decoded, Frame, Header, Kind, Refusal},
        hello::{Extensions, Hello, NetworkTag, Versions},
        message::{self, Compressed, Encoder, Message, MessageHeader, Method, Part, Place},
        record::{self, Body, RecordHeader},
        varint,
    },
};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::select,
    test_runner::{Config, RngAlgorithm, RngSeed},
};

/// Those of a record that are read and written without a call, and their neighbours at each border.
#[test]
fn brief_messages_come_back_and_take_what_was_asked_for() {
    const BORDERS: [u32; 6] = [0, 1, 60, 127, 128, 300];
    let (mut previous, mut sequence) = (Some(0), 0);
    for (ttl, age, len) in BORDERS.iter().flat_map(|&ttl| {
        BORDERS.iter().flat_map(move |&age| [0, 1, 2, 3, 127, 128].map(|len| (ttl, age, len)))
    }) {
        let header = |sequence| MessageHeader { kind: 7, sequence, ttl, age, ..MessageHeader::default() };
        let payload = [0xA5; 128];
        let mut out = [0; 1024];
        let mut encoder = Encoder::new(&mut out, previous);
        // The second one is the brief one: the first says the type.
        let first = encoder.push(&header(sequence + 1), &payload[..len], Place::Inner);
        let needs = encoder.needs(&header(sequence + 2), len, Place::Inner);
        let before = encoder.written();
        let second = encoder.push(&header(sequence + 2), &payload[..len], Place::Inner);
        let written = encoder.written();

        assert!(first && second);
        assert_eq!(written - before, needs, "ttl {ttl}, age {age}, {len} bytes");
        // Exactly as much room as it takes is enough, and a byte less is not.
        let mut exact = vec![0; written];
        let mut encoder = Encoder::new(&mut exact, previous);
        assert!(encoder.push(&header(sequence + 1), &payload[..len], Place::Inner));
        assert!(encoder.push(&header(sequence + 2), &payload[..len], Place::Inner));
        assert_eq!(exact, out[..written]);
        let mut short = vec![0; written - 1];
        let mut encoder = Encoder::new(&mut short, previous);
        assert!(encoder.push(&header(sequence + 1), &payload[..len], Place::Inner));
        assert!(!encoder.push(&header(sequence + 2), &payload[..len], Place::Inner));
        let checked = message::check(&out[..written], previous).unwrap();
        let read: Vec<_> = checked.messages().collect();
        let expected =
            [1, 2].map(|next| Message { header: header(sequence + next), payload: &payload[..len] });
        assert_eq!(read, expected);
        for cut in before..written {
            let cut_short = message::check(&out[..cut], previous);
            assert_eq!(cut_short.is_ok(), cut == before, "cut to {cut} of {written}");
        }
        sequence += 2;
        previous = checked.last_sequence();
    }
}

proptest! {
    #![proptest_config(repeatable())]

    #[test]
    fn a_varint_comes_back(value in number()) {
        let mut out = [0; varint::MAX_LEN];

        let written = varint::encode(value, &mut out).unwrap();

        prop_assert_eq!(varint::len(value), written);
        prop_assert_eq!(varint::decode(&out[..written]), Ok(Some((value, written))));
        for cut in 0..written {
            prop_assert_eq!(varint::decode(&out[..cut]), Ok(None));
        }
    }

    #[test]
    fn a_varint_has_one_encoding(bytes in vec(any::<u8>(), 0..12)) {
        if let Ok(Some((value, used))) = varint::decode(&bytes) {
            let mut out = [0; varint::MAX_LEN];

            let written = varint::encode(value, &mut out).unwrap();

            prop_assert_eq!(&out[..written], &bytes[..used]);
        }
    }

    #[test]
    fn a_delegation_comes_back_unless_it_is_never_valid(bytes in vec(any::<u8>(), Delegation::LEN), cut in 0..Delegation::LEN) {
        let [from, until] = [32, 40].map(|at| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap()));
        let decoded = Delegation::decode(&bytes);

        prop_assert_eq!(decoded.is_ok(), from < until);
        if let Ok(delegation) = decoded {
            prop_assert_eq!(&delegation.to_bytes()[..], bytes.as_slice());
        }
        prop_assert!(Delegation::decode(&bytes[..cut]).is_err());
    }

    #[test]
    fn a_frame_comes_back(header in frame_header(), payload in vec(any::<u8>(), 0..300)) {
        let mut out = vec![0; header.frame_len(payload.len())];

        let used = header.encode(&payload, &mut out).unwrap();

        let frame = Frame { header, payload: payload.as_slice() };
        prop_assert_eq!(frame::decode(&out, frame::MAX_LEN), Ok(Decoded::Frame { frame, used }));
        for cut in 0..used {
            let decoded = frame::decode(&out[..cut], frame::MAX_LEN);
            let Ok(Decoded::Incomplete { need }) = decoded else { panic!("{decoded:?} of {cut} bytes") };
            prop_assert!(cut < need && need <= used);
        }
        let mut payload = payload.clone();
        let frame = Frame { header, payload: payload.as_mut_slice() };
        prop_assert_eq!(frame::decode_mut(&mut out, frame::MAX_LEN), Ok(Decoded::Frame { frame, used }));
    }

    #[test]
    fn a_hello_comes_back(
        hello in hello(),
        network in option::of(any::<[u8; 8]>()),
        values in (blob(), blob(), blob()),
        connection_id in vec(any::<u8>(), 0..=ConnectionId::MAX_LEN),
    ) {
        let (certificate, token, delegation) = &values;
        let extensions = Extensions {
            network: network.map(NetworkTag::from_bytes),
            certificate: certificate.as_deref(),
            token: token.as_deref(),
            delegation: delegation.as_deref(),
            connection_id: ConnectionId::new(&connection_id).unwrap(),
        };
        let mut out = vec![0; hello.encoded_len(&extensions)];

        let written = hello.encode(&extensions, &mut out);

        prop_assert_eq!(written, Some(out.len()));
        prop_assert_eq!(Hello::decode(&out), Ok((hello, extensions)));
    }

    #[test]
    fn a_record_header_comes_back(header in record_header(), body in vec(any::<u8>(), 0..50)) {
        let mut out = vec![0; header.encoded_len()];

        let written = header.encode(&mut out);
        out.extend(&body);

        prop_assert_eq!(written, Some(header.encoded_len()));
        prop_assert_eq!(RecordHeader::decode(&out), Ok((header, body.as_slice())));
    }

    #[test]
    fn a_control_message_comes_back(control in control()) {
        let mut out = [0; Control::MAX_LEN];

        let written = control.encode(&mut out).unwrap();

        prop_assert_eq!(Control::decode(&out[..written]), Ok(control));
    }

    #[test]
    fn an_envelope_comes_back(parts in parts()) {
        let envelope = parts.envelope();
        let mut out = vec![0; envelope.encoded_len()];

        let written = envelope.encode(&mut out);

        prop_assert_eq!(written, Some(out.len()));
        prop_assert_eq!(Envelope::decode(&out), Ok(envelope));
        let signature = envelope.signature.map_or(&[][..], |signature| signature.as_slice());
        prop_assert_eq!(&out[envelope.signed_len()..], signature);

        let header = envelope.header().unwrap();
        let header_len = header.encoded_len();
        prop_assert_eq!(header.envelope_len(), out.len() as u64);
        prop_assert_eq!(EnvelopeHeader::decode(&out), Ok(Some((header, header_len))));
        for cut in 0..header_len {
            prop_assert_eq!(EnvelopeHeader::decode(&out[..cut]), Ok(None));
        }
    }

    #[test]
    fn messages_come_back_in_order(
        previous in option::of(number()),
        items in vec(message(), 0..20),
        ends in any::<bool>(),
    ) {
        let mut out = vec![0; 16 * 1024];
        let mut encoder = Encoder::new(&mut out, previous);
        for (index, item) in items.iter().enumerate() {
            let place = if ends && index + 1 == items.len() { Place::Last } else { Place::Inner };
            let before = encoder.written();
            let (header, payload) = item;
            let needs = encoder.needs(header, payload.len(), place);
            prop_assert!(encoder.push(header, payload, place));
            prop_assert_eq!(encoder.written() - before, needs);
        }
        let (written, last_sequence) = (encoder.written(), encoder.last_sequence());

        let checked = message::check(&out[..written], previous).unwrap();

        prop_assert_eq!(checked.count(), items.len());
        prop_assert_eq!(checked.last_sequence(), last_sequence);
        prop_assert_eq!(checked.messages().len(), items.len());
        for (message, (header, payload)) in checked.messages().zip(&items) {
            prop_assert_eq!(message, Message { header: *header, payload });
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(mut bytes in vec(any::<u8>(), 0..400), max in 0..2000_usize) {
        let _ = frame::decode(&bytes, max);
        let _ = Refusal::decode(&bytes);
        let _ = Hello::decode(&bytes);
        let _ = record::decode_length(&bytes, max);
        let _ = RecordHeader::decode(&bytes);
        let _ = Control::decode(&bytes);
        let _ = Envelope::decode(&bytes);
        let _ = frame::decode_mut(&mut bytes, max);
        iterate(&bytes)?;
    }

    #[test]
    fn no_damage_to_well_formed_bytes_makes_a_decoder_panic(
        samples in (hello(), parts(), vec(message(), 1..8), frame_header()),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (hello, parts, items, header) = samples;
        let damaged = |mut bytes: Vec<u8>| {
            for (index, byte) in &damage {
                let at = index.index(bytes.len());
                bytes[at] = *byte;
            }
            bytes
        };
        let mut out = vec![0; 4096];

        let len = hello.encode(&Extensions { token: Some(b"token"), ..Extensions::default() }, &mut out).unwrap();
        let _ = Hello::decode(&damaged(out[..len].to_vec()));
        let len = parts.envelope().encode(&mut out).unwrap();
        let bytes = damaged(out[..len].to_vec());
        if let Ok(envelope) = Envelope::decode(&bytes) {
            let mut again = vec![0; bytes.len()];
            prop_assert_eq!(envelope.encode(&mut again), Some(bytes.len()));
            prop_assert_eq!(again, bytes);
        }
        let len = header.encode(&[1; 40], &mut out).unwrap();
        let _ = frame::decode(&damaged(out[..len].to_vec()), frame::MAX_LEN);
        let mut encoder = Encoder::new(&mut out, None);
        for (header, payload) in &items {
            encoder.push(header, payload, Place::Inner);
        }
        let len = encoder.written();
        iterate(&damaged(out[..len].to_vec()))?;
    }

    #[test]
    fn an_encoder_that_lacks_room_changes_nothing(
        room in 0..60_usize,
        headers in vec((message_header(), 0..40_usize), 1..5),
        ends in any::<bool>(),
    ) {
        let mut out = vec![0; room];
        let mut encoder = Encoder::new(&mut out, None);
        for (header, payload_len) in headers {
            let place = if ends { Place::Last } else { Place::Inner };
            let needs = encoder.needs(&header, payload_len, place);
            let before = (encoder.written(), encoder.count(), encoder.last_sequence());
            let fits = needs <= encoder.room();

            let pushed = encoder.push(&header, &vec![7; payload_len], place);

            prop_assert_eq!(pushed, fits);
            if !pushed {
                prop_assert_eq!((encoder.written(), encoder.count(), encoder.last_sequence()), before);
            }
        }
    }
}

/// Whatever `check` admits, the iterator yields to the end.
fn iterate(bytes: &[u8]) -> Result<(), TestCaseError> {
    for previous in [None, Some(7), Some(u64::MAX)] {
        if let Ok(checked) = message::check(bytes, previous) {
            prop_assert_eq!(checked.messages().count(), checked.count());
        }
    }
    Ok(())
}

fn repeatable() -> Config {
    Config {
        cases: 512,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(0x6879_7068_616C),
        failure_persistence: None,
        ..Config::default()
    }
}

/// Numbers of every length, edges included.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift),
        Just(0),
        Just(u64::MAX)
    ]
}

fn small_number() -> impl Strategy<Value = u32> {
    prop_oneof![(any::<u32>(), 0..32_u32).prop_map(|(number, shift)| number >> shift), Just(60), Just(0)]
}

fn blob() -> impl Strategy<Value = Option<Vec<u8>>> {
    option::of(vec(any::<u8>(), 0..200))
}

fn frame_header() -> impl Strategy<Value = Header> {
    let kind =
        select(vec![Kind::Xx1, Kind::Xx2, Kind::Xx3, Kind::Kk1, Kind::Kk2, Kind::Retry, Kind::Refusal]);
    let compression = select(vec![Compression::None, Compression::Lz4, Compression::Zstd]);
    (kind, any::<u64>(), any::<bool>(), compression).prop_map(|(kind, id, checksum, compression)| Header {
        kind,
        id,
        checksum,
        compression,
    })
}

fn hello() -> impl Strategy<Value = Hello> {
    let versions = (1..=15_u8, 1..=15_u8).prop_map(|(a, b)| Versions::new(a.min(b), a.max(b)).unwrap());
    let node_type = select(vec![NodeType::Sclerotia, NodeType::Rhizomorph, NodeType::Hyphae]);
    let time = prop_oneof![
        Just((0, TimeQuality::None)),
        (number(), select(vec![TimeQuality::Unsynced, TimeQuality::Synced])),
    ];
    let limits = (any::<u16>(), any::<u32>(), 512..=u16::MAX, 1..=u16::MAX);
    (versions, node_type, limits, any::<u64>(), time).prop_map(
        |(
            versions,
            node_type,
            (capabilities, max_message, max_record, heartbeat),
            boot_id,
            (time, quality),
        )| Hello {
            versions,
            node_type,
            capabilities,
            max_message,
            max_record,
            heartbeat: Duration::from_millis(10 * u64::from(heartbeat)),
            boot_id,
            time: UnixTime::from_micros(time),
            quality,
        },
    )
}

fn record_header() -> impl Strategy<Value = RecordHeader> {
    let body = select(vec![Body::Messages, Body::Control]);
    let tokens = (option::of(any::<u8>()), option::of(any::<u8>()));
    (body, any::<bool>(), any::<u16>(), option::of(number()), option::of(number()), tokens).prop_map(
        |(body, rekey, clock, ack, credit, (ping, pong))| RecordHeader {
            body,
            rekey,
            clock,
            ack,
            credit,
            ping,
            pong,
        },
    )
}

fn control() -> impl Strategy<Value = Control> {
    prop_oneof![
        Just(Control::Accept),
        Just(Control::Drain),
        (any::<u16>(), any::<u64>()).prop_map(|(code, detail)| Control::Reject(Refusal { code, detail })),
        any::<u16>().prop_map(|code| Control::Close { code }),
    ]
}

fn message_header() -> impl Strategy<Value = MessageHeader> {
    let kind = prop_oneof![Just(7), Just(0x1000), any::<u16>()];
    let sequence = prop_oneof![0..4_u64, number()];
    let class = (select(Priority::ALL.to_vec()), any::<bool>());
    let form = (prop::bool::weighted(0.2), option::of(compressed()), number().prop_map(NonZeroU64::new));
    (class, kind, sequence, small_number(), small_number(), form).prop_map(
        |((priority, broadcast), kind, sequence, ttl, age, (full, compressed, number))| {
            let kind: u16 = if full { 0 } else { kind };
            let may_be_compressed = !full && Family::of(kind).is_none_or(Family::is_compressible);
            MessageHeader {
                priority,
                broadcast,
                kind,
                full,
                sequence,
                ttl,
                age,
                part: None,
                compressed: compressed.filter(|_| may_be_compressed),
                number,
            }
        },
    )
}

fn compressed() -> impl Strategy<Value = Compressed> {
    (select(Method::ALL.to_vec()), small_number())
        .prop_map(|(method, original)| Compressed { method, original })
}

/// A message, or a part of one: with so many bytes of the whole before and behind it.
fn message() -> impl Strategy<Value = (MessageHeader, Vec<u8>)> {
    let around = option::of((small_number(), small_number()));
    (message_header(), vec(any::<u8>(), 0..200), around).prop_map(|(header, payload, around)| {
        let len = payload.len() as u32;
        let part = around.map(|(before, behind)| {
            let offset = before.saturating_sub(len);
            // No bytes at all are an abandonment, which stands at the end.
            let behind = if len == 0 { 0 } else { behind.min(u32::MAX - offset - len) };
            Part { total: offset + len + behind, offset }
        });
        (MessageHeader { part: part.filter(|part| part.total > 0), ..header }, payload)
    })
}

#[derive(Clone, Debug)]
struct Parts {
    id: (u64, u64),
    source: [u8; 32],
    target: Option<[u8; 32]>,
    rest: (u64, u32, u16),
    priority: Priority,
    is_encrypted: bool,
    payload: Vec<u8>,
    signature: Option<[u8; 64]>,
}

impl Parts {
    fn envelope(&self) -> Envelope<'_> {
        let is_encrypted = self.is_encrypted && self.target.is_some();
        let (epoch, sequence) = self.id;
        let (timestamp, ttl, message_type) = self.rest;
        Envelope {
            message_id: MessageId { epoch, sequence },
            source_node_id: NodeId::from_bytes(self.source),
            target_node_id: self.target.map(NodeId::from_bytes),
            timestamp: UnixTime::from_micros(timestamp),
            ttl,
            priority: self.priority,
            is_encrypted,
            payload: &self.payload,
            signature: self.signature.as_ref(),
            message_type: if is_encrypted { SEALED_TYPE } else { message_type },
        }
    }
}

fn parts() -> impl Strategy<Value = Parts> {
    let ids = (any::<(u64, u64)>(), any::<[u8; 32]>(), option::of(any::<[u8; 32]>()));
    let signature = option::of(any::<[u8; 32]>())
        .prop_map(|half| half.map(|half| core::array::from_fn(|at| half[at % half.len()])));
    let rest = (any::<u64>(), small_number(), any::<u16>());
    (ids, rest, select(Priority::ALL.to_vec()), any::<bool>(), vec(any::<u8>(), 0..100), signature).prop_map(
        |((id, source, target), rest, priority, is_encrypted, payload, signature)| Parts {
            id,
            source,
            target,
            rest,
            priority,
            is_encrypted,
            payload,
            signature,
        },
    )
}
