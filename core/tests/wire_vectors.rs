//! The golden vectors of `vectors/wire.json`, both ways: the codec writes exactly these bytes and reads them back.
//!
//! The vectors were computed from `docs/protocol.md` by a program that shares no code with this crate. They change only
//! together with the protocol.

use std::{fs, num::NonZeroU64, path::Path, time::Duration};

use hyphal_core::{
    aead::{Aead, ChaChaPoly},
    compress,
    identity::Identity,
    ids::{MessageId, NodeId, NodeType, Priority},
    time::{TimeQuality, UnixTime},
    wire::{
        cobs,
        control::Control,
        datagram::{self, ConnectionId, Packet, Peek, Preamble, Truncated},
        delegation::Delegation,
        envelope::Envelope,
        frame::{self, Compression, Decoded, Header, Kind, Refusal},
        hello::{Extensions, Hello, NetworkTag, Versions},
        message::{self, Compressed, Encoder, Message, MessageHeader, Method, Part, Place},
        ranges::Ranges,
        reason::Reason,
        record::{self, Body, RecordHeader},
        varint,
    },
};
use serde::Deserialize;

#[test]
fn every_varint_vector_holds_both_ways() {
    for vector in vectors().varint {
        let bytes = unhex(&vector.hex);
        let mut out = [0; varint::MAX_LEN];

        let written = varint::encode(vector.value, &mut out).unwrap();

        assert_eq!(out[..written], bytes);
        assert_eq!(varint::len(vector.value), bytes.len());
        assert_eq!(varint::decode(&bytes), Ok(Some((vector.value, bytes.len()))));
    }
}

#[test]
fn every_frame_vector_holds_both_ways() {
    for vector in vectors().frame {
        let bytes = unhex(&vector.hex);
        let payload = unhex(&vector.payload);
        let header = Header {
            kind: match vector.kind {
                1 => Kind::Xx1,
                2 => Kind::Xx2,
                3 => Kind::Xx3,
                4 => Kind::Kk1,
                5 => Kind::Kk2,
                6 => Kind::Retry,
                15 => Kind::Refusal,
                other => panic!("{}: no kind {other}", vector.name),
            },
            id: vector.id,
            checksum: vector.checksum,
            compression: match vector.compression {
                0 => Compression::None,
                1 => Compression::Lz4,
                2 => Compression::Zstd,
                other => panic!("{}: no compression {other}", vector.name),
            },
        };

        let mut out = vec![0; bytes.len()];
        let written = header.encode(&payload, &mut out);
        let decoded = frame::decode(&bytes, frame::MAX_UNAUTHENTICATED);

        assert_eq!((written, &out), (Some(bytes.len()), &bytes), "{}", vector.name);
        assert_eq!(header.to_bytes(payload.len()), bytes[..frame::HEADER_LEN], "{}", vector.name);
        let frame = frame::Frame { header, payload: payload.as_slice() };
        assert_eq!(decoded, Ok(Decoded::Frame { frame, used: bytes.len() }), "{}", vector.name);
    }
}

#[test]
fn every_refusal_vector_holds_both_ways() {
    for vector in vectors().refusal {
        let bytes = unhex(&vector.hex);
        let refusal = Refusal { code: vector.code, detail: vector.detail };

        let mut out = [0; Refusal::LEN];
        refusal.encode(&mut out).unwrap();

        assert_eq!(out[..], bytes);
        assert_eq!(Refusal::decode(&bytes), Ok(refusal));
    }
}

#[test]
fn every_packet_vector_holds_both_ways() {
    for vector in vectors().packet {
        let (bytes, cookie, payload) = (unhex(&vector.hex), unhex(&vector.cookie), unhex(&vector.payload));
        let kind = match vector.kind {
            1 => Kind::Xx1,
            6 => Kind::Retry,
            15 => Kind::Refusal,
            other => panic!("{}: no kind {other}", vector.name),
        };

        let mut out = vec![0; bytes.len()];
        let at = Packet::encode_header(&cookie, &mut out).unwrap();
        Header::new(kind, vector.id).encode(&payload, &mut out[at..]).unwrap();

        assert_eq!(out, bytes, "{}", vector.name);
        assert_eq!(datagram::peek(&bytes, 0), Ok(Peek::Handshake { frame_id: vector.id, kind }));
        assert_eq!(Packet::decode(&bytes).unwrap().cookie(&bytes), cookie);
    }
}

#[test]
fn every_vector_of_ranges_holds_both_ways() {
    for vector in vectors().ranges {
        let bytes = unhex(&vector.hex);
        let list = vector.ranges.iter().map(|&(first, last)| first..=last);
        let ranges = Ranges::new(Duration::from_micros(vector.delay_us), list).unwrap();

        let mut out = vec![0; bytes.len()];
        let written = ranges.encode(&mut out);

        assert_eq!((written, &out), (Some(bytes.len()), &bytes), "{}", vector.name);
        assert_eq!(Ranges::decode(&bytes), Ok((ranges, &[][..])), "{}", vector.name);
    }
}

#[test]
fn every_datagram_vector_holds_both_ways() {
    for vector in vectors().datagram {
        let (bytes, plaintext, cid) = (unhex(&vector.hex), unhex(&vector.plaintext), unhex(&vector.cid));
        let preamble = Preamble {
            phase: vector.phase,
            cid: ConnectionId::new(&cid).unwrap(),
            counter: Truncated::of(vector.counter, vector.acked),
        };
        let aead = ChaChaPoly::new(&unhex(&vector.key).try_into().unwrap());

        let mut out = vec![0; bytes.len()];
        let at = preamble.encode(&mut out).unwrap();
        let (before, sealed) = out.split_at_mut(at);
        sealed[..plaintext.len()].copy_from_slice(&plaintext);
        aead.seal(vector.counter, before, sealed);

        assert_eq!(out, bytes, "{}", vector.name);
        assert_eq!(Preamble::decode(&bytes, cid.len()), Ok(preamble));
        assert_eq!(preamble.counter.expand(vector.acked), vector.counter);
    }
}

#[test]
fn every_cobs_vector_holds_both_ways() {
    for vector in vectors().cobs {
        let (bytes, mut datagram) = (unhex(&vector.hex), unhex(&vector.datagram));

        let mut out = vec![0; cobs::max_encoded_len(datagram.len())];
        let written = cobs::encode(&datagram, &mut out).unwrap();
        let mut decoder = cobs::Decoder::<1300>::new();
        let fed = decoder.feed(&bytes);

        assert_eq!(out[..written], bytes, "{}", vector.name);
        assert_eq!(fed, cobs::Fed { used: bytes.len(), frame: Some(Ok(&mut datagram)) }, "{}", vector.name);
    }
}

#[test]
fn every_hello_vector_holds_both_ways() {
    for vector in vectors().hello {
        let bytes = unhex(&vector.hex);
        let [certificate, token, delegation] =
            [&vector.certificate, &vector.token, &vector.delegation].map(|hex| hex.as_deref().map(unhex));
        let extensions = Extensions {
            network: vector.network.as_deref().map(NetworkTag::of),
            certificate: certificate.as_deref(),
            token: token.as_deref(),
            delegation: delegation.as_deref(),
            connection_id: vector
                .connection_id
                .as_deref()
                .map_or(ConnectionId::NONE, |hex| ConnectionId::new(&unhex(hex)).unwrap()),
        };
        let hello = Hello {
            versions: Versions::new(vector.lowest, vector.highest).unwrap(),
            node_type: [NodeType::Sclerotia, NodeType::Rhizomorph, NodeType::Hyphae][vector.node_type - 1],
            capabilities: vector.capabilities,
            max_message: vector.max_message,
            max_record: vector.max_record,
            heartbeat: Duration::from_millis(vector.heartbeat_ms),
            boot_id: vector.boot_id,
            time: UnixTime::from_micros(vector.time),
            quality: [TimeQuality::None, TimeQuality::Unsynced, TimeQuality::Synced][vector.quality],
        };

        let mut out = vec![0; bytes.len()];
        let written = hello.encode(&extensions, &mut out);

        assert_eq!((written, &out), (Some(bytes.len()), &bytes), "{}", vector.name);
        assert_eq!(hello.encoded_len(&extensions), bytes.len(), "{}", vector.name);
        assert_eq!(Hello::decode(&bytes), Ok((hello, extensions)), "{}", vector.name);
    }
}

#[test]
fn every_delegation_vector_holds_both_ways() {
    for vector in vectors().delegation {
        let bytes = unhex(&vector.hex);
        let [key, seed, secret] = [&vector.static_public, &vector.seed, &vector.static_secret]
            .map(|hex| <[u8; 32]>::try_from(unhex(hex)).unwrap());
        let span = [vector.not_before, vector.not_after].map(UnixTime::from_micros);

        let signed = Delegation::signed_bytes(&key, span[0], span[1]);
        let delegation = Identity::from_seed(&seed).unwrap().delegate_to(&key, span[0], span[1]).unwrap();
        let identity = Identity::from_delegation(&secret, delegation).unwrap();

        assert_eq!(signed[..], unhex(&vector.signed), "{}", vector.name);
        assert_eq!(delegation.to_bytes()[..], bytes, "{}", vector.name);
        assert_eq!(Delegation::decode(&bytes), Ok(delegation), "{}", vector.name);
        assert_eq!((*identity.static_public(), identity.id()), (key, delegation.id), "{}", vector.name);
    }
}

#[test]
fn every_lz4_block_decompresses_to_its_original_and_no_other_length() {
    let blocks = vectors().compression.into_iter().filter(|vector| vector.method == Method::Lz4.code());
    for vector in blocks {
        let (packed, original) = (unhex(&vector.hex), unhex(&vector.original));
        let mut out = vec![0; original.len()];

        assert_eq!(compress::unpack(&packed, &mut out), Ok(()), "{}", vector.name);

        assert_eq!(out, original, "{}", vector.name);
        out.push(0);
        assert_eq!(compress::unpack(&packed, &mut out), Err(Reason::BadCompression), "{}", vector.name);
    }
}

#[test]
fn every_record_header_vector_holds_both_ways() {
    for vector in vectors().record_header {
        let bytes = unhex(&vector.hex);
        let rest = unhex(&vector.rest);
        let header = RecordHeader {
            body: if vector.body == "control" { Body::Control } else { Body::Messages },
            rekey: vector.rekey,
            clock: vector.clock,
            ack: vector.ack,
            credit: vector.credit,
            ping: vector.ping,
            pong: vector.pong,
        };

        let mut out = [0; RecordHeader::MAX_LEN];
        let written = header.encode(&mut out).unwrap();

        assert_eq!(out[..written], bytes[..bytes.len() - rest.len()], "{}", vector.name);
        assert_eq!(header.encoded_len(), written, "{}", vector.name);
        assert_eq!(RecordHeader::decode(&bytes), Ok((header, rest.as_slice())), "{}", vector.name);
    }
}

#[test]
fn every_record_length_vector_holds_both_ways() {
    for vector in vectors().record_length {
        let bytes = unhex(&vector.hex);

        let mut out = [0; record::MAX_LENGTH_LEN];
        let written = record::encode_length(vector.length, &mut out).unwrap();

        assert_eq!(out[..written], bytes);
        assert_eq!(record::length_len(vector.length), written);
        assert_eq!(record::decode_length(&bytes, record::MAX_LEN), Ok(Some((vector.length, written))));
    }
}

#[test]
fn every_envelope_vector_holds_both_ways() {
    for vector in vectors().envelope {
        let bytes = unhex(&vector.hex);
        let fields = vector.fields();
        let envelope = fields.envelope();

        let mut out = vec![0; bytes.len()];
        let written = envelope.encode(&mut out);

        assert_eq!((written, &out), (Some(bytes.len()), &bytes), "{}", vector.name);
        assert_eq!(envelope.encoded_len(), bytes.len(), "{}", vector.name);
        assert_eq!(Envelope::decode(&bytes), Ok(envelope), "{}", vector.name);
    }
}

#[test]
fn every_control_vector_holds_both_ways() {
    for vector in vectors().control {
        let bytes = unhex(&vector.hex);
        let control = match (vector.code, vector.detail) {
            (None, _) if vector.name == "drain" => Control::Drain,
            (None, _) => Control::Accept,
            (Some(code), Some(detail)) => Control::Reject(Refusal { code, detail }),
            (Some(code), None) => Control::Close { code },
        };

        let mut out = [0; Control::MAX_LEN];
        let written = control.encode(&mut out).unwrap();

        assert_eq!(out[..written], bytes, "{}", vector.name);
        assert_eq!(Control::decode(&bytes), Ok(control), "{}", vector.name);
    }
}

#[test]
fn every_message_vector_holds_both_ways() {
    let vectors = vectors();
    for vector in &vectors.messages {
        let bytes = unhex(&vector.hex);
        let payloads: Vec<_> = vector.messages.iter().map(|message| message.payload(&vectors)).collect();

        let mut out = vec![0; bytes.len()];
        let mut encoder = Encoder::new(&mut out, vector.previous_sequence);
        for (index, (message, payload)) in vector.messages.iter().zip(&payloads).enumerate() {
            let is_last = vector.last && index + 1 == vector.messages.len();
            let place = if is_last { Place::Last } else { Place::Inner };
            let before = encoder.written();
            let needs = encoder.needs(&message.header(), payload.len(), place);
            assert!(encoder.push(&message.header(), payload, place), "{}", vector.name);
            assert_eq!(encoder.written() - before, needs, "{}", vector.name);
        }
        let last_sequence = encoder.last_sequence();
        assert_eq!(encoder.written(), bytes.len(), "{}", vector.name);
        assert_eq!(out, bytes, "{}", vector.name);

        let checked = message::check(&bytes, vector.previous_sequence).unwrap();
        assert_eq!(checked.count(), vector.messages.len(), "{}", vector.name);
        assert_eq!(checked.last_sequence(), last_sequence, "{}", vector.name);
        for (read, (written, payload)) in checked.messages().zip(vector.messages.iter().zip(&payloads)) {
            assert_eq!(read, Message { header: written.header(), payload }, "{}", vector.name);
        }
    }
}

#[test]
fn the_message_vectors_hold_every_combination_of_flags() {
    let vectors = vectors();
    // The second of two messages carries the flags; the first takes 6 bytes: flags, type, length, sequence, "hi".
    let mut flags: Vec<u8> = vectors
        .messages
        .iter()
        .filter(|vector| vector.name.starts_with("flags_"))
        .map(|vector| unhex(&vector.hex)[6])
        .collect();

    flags.sort_unstable();

    // A full message cannot say that its type is that of the message before.
    let allowed = |flags: &u8| flags & 0x88 != 0x88;
    assert_eq!(flags, (0..=0xFF).filter(allowed).collect::<Vec<u8>>());
}

#[derive(Deserialize)]
struct PacketVector {
    name: String,
    cookie: String,
    kind: u8,
    id: u64,
    payload: String,
    hex: String,
}

#[derive(Deserialize)]
struct RangesVector {
    name: String,
    delay_us: u64,
    ranges: Vec<(u64, u64)>,
    hex: String,
}

#[derive(Deserialize)]
struct DatagramVector {
    name: String,
    key: String,
    phase: bool,
    cid: String,
    counter: u64,
    acked: Option<u64>,
    plaintext: String,
    hex: String,
}

#[derive(Deserialize)]
struct CobsVector {
    name: String,
    datagram: String,
    hex: String,
}

#[derive(Deserialize)]
struct Vectors {
    varint: Vec<VarintVector>,
    frame: Vec<FrameVector>,
    refusal: Vec<RefusalVector>,
    hello: Vec<HelloVector>,
    delegation: Vec<DelegationVector>,
    record_header: Vec<RecordVector>,
    record_length: Vec<LengthVector>,
    envelope: Vec<EnvelopeVector>,
    control: Vec<ControlVector>,
    messages: Vec<BodyVector>,
    compression: Vec<CompressionVector>,
    packet: Vec<PacketVector>,
    ranges: Vec<RangesVector>,
    datagram: Vec<DatagramVector>,
    cobs: Vec<CobsVector>,
}

#[derive(Deserialize)]
struct CompressionVector {
    name: String,
    method: u8,
    original: String,
    hex: String,
}

#[derive(Deserialize)]
struct VarintVector {
    value: u64,
    hex: String,
}

#[derive(Deserialize)]
struct FrameVector {
    name: String,
    kind: u8,
    id: u64,
    checksum: bool,
    compression: u8,
    payload: String,
    hex: String,
}

#[derive(Deserialize)]
struct RefusalVector {
    code: u16,
    detail: u64,
    hex: String,
}

#[derive(Deserialize)]
struct HelloVector {
    name: String,
    lowest: u8,
    highest: u8,
    node_type: usize,
    capabilities: u16,
    max_message: u32,
    max_record: u16,
    heartbeat_ms: u64,
    boot_id: u64,
    time: u64,
    quality: usize,
    network: Option<String>,
    certificate: Option<String>,
    token: Option<String>,
    delegation: Option<String>,
    connection_id: Option<String>,
    hex: String,
}

#[derive(Deserialize)]
struct DelegationVector {
    name: String,
    seed: String,
    static_secret: String,
    static_public: String,
    not_before: u64,
    not_after: u64,
    signed: String,
    hex: String,
}

#[derive(Deserialize)]
struct RecordVector {
    name: String,
    body: String,
    #[serde(default)]
    rekey: bool,
    clock: u16,
    ack: Option<u64>,
    credit: Option<u64>,
    ping: Option<u8>,
    pong: Option<u8>,
    rest: String,
    hex: String,
}

#[derive(Deserialize)]
struct LengthVector {
    length: usize,
    hex: String,
}

#[derive(Deserialize)]
struct EnvelopeVector {
    name: String,
    priority: usize,
    source: String,
    target: Option<String>,
    encrypted: bool,
    signature: Option<String>,
    message_type: u16,
    epoch: u64,
    sequence: u64,
    timestamp: u64,
    ttl: u32,
    payload: String,
    hex: String,
}

impl EnvelopeVector {
    fn fields(&self) -> EnvelopeFields<'_> {
        EnvelopeFields {
            vector: self,
            payload: unhex(&self.payload),
            signature: self.signature.as_deref().map(|hex| unhex(hex).try_into().unwrap()),
        }
    }
}

struct EnvelopeFields<'v> {
    vector: &'v EnvelopeVector,
    payload: Vec<u8>,
    signature: Option<[u8; 64]>,
}

impl EnvelopeFields<'_> {
    fn envelope(&self) -> Envelope<'_> {
        let node_id = |hex: &str| NodeId::from_bytes(unhex(hex).try_into().unwrap());
        Envelope {
            message_id: MessageId { epoch: self.vector.epoch, sequence: self.vector.sequence },
            source_node_id: node_id(&self.vector.source),
            target_node_id: self.vector.target.as_deref().map(node_id),
            timestamp: UnixTime::from_micros(self.vector.timestamp),
            ttl: self.vector.ttl,
            priority: Priority::ALL[self.vector.priority],
            is_encrypted: self.vector.encrypted,
            payload: &self.payload,
            signature: self.signature.as_ref(),
            message_type: self.vector.message_type,
        }
    }
}

#[derive(Deserialize)]
struct ControlVector {
    name: String,
    code: Option<u16>,
    detail: Option<u64>,
    hex: String,
}

#[derive(Deserialize)]
struct BodyVector {
    name: String,
    previous_sequence: Option<u64>,
    last: bool,
    messages: Vec<MessageVector>,
    hex: String,
}

#[derive(Deserialize)]
struct MessageVector {
    priority: usize,
    broadcast: bool,
    #[serde(default)]
    full: bool,
    kind: u16,
    sequence: u64,
    ttl: u32,
    age: u32,
    /// Total and offset.
    #[serde(default)]
    part: Option<(u32, u32)>,
    /// Method and original length.
    #[serde(default)]
    compressed: Option<(u8, u32)>,
    #[serde(default)]
    number: Option<NonZeroU64>,
    #[serde(default)]
    payload: String,
    /// The vector whose bytes are the payload.
    envelope: Option<String>,
}

impl MessageVector {
    fn header(&self) -> MessageHeader {
        MessageHeader {
            priority: Priority::ALL[self.priority],
            broadcast: self.broadcast,
            kind: self.kind,
            full: self.full,
            sequence: self.sequence,
            ttl: self.ttl,
            age: self.age,
            part: self.part.map(|(total, offset)| Part { total, offset }),
            compressed: self.compressed.map(|(method, original)| Compressed {
                method: Method::from_code(method).unwrap(),
                original,
            }),
            number: self.number,
        }
    }

    fn payload(&self, vectors: &Vectors) -> Vec<u8> {
        let Some(name) = &self.envelope else { return unhex(&self.payload) };
        let envelope = vectors.envelope.iter().find(|envelope| envelope.name == *name).unwrap();
        unhex(&envelope.hex)
    }
}

fn vectors() -> Vectors {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/wire.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn unhex(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "half a byte in {hex}");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}
