//! A peer made by hand: it shakes hands step by step and seals whatever plaintext a test invents.
//!
//! The pieces are the library's codecs and its Noise; the session is not, since it cannot be made to break a rule. The
//! derivation of the record keys is written again from docs/protocol.md.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyphal::{Identity, NodeType, Reason, TimeQuality, UnixTime};
use hyphal_core::aead::{Aead, ChaChaPoly, TAG_LEN};
use hyphal_core::noise::{self, HandshakeState, KeyPair, Keys, Role, Secret, SplitKey};
use hyphal_core::wire::control::Control;
use hyphal_core::wire::frame::{Header, Kind, Refusal};
use hyphal_core::wire::hello::{Extensions, Hello, NetworkTag, Versions};
use hyphal_core::wire::message::{Encoder, MessageHeader, Place};
use hyphal_core::wire::record::{self, Body, RecordHeader};
use ring::hmac;

use crate::raw::{Raw, frame_of};
use crate::scene::{MALLORY, NETWORK, identity};

/// Who a hand-made peer claims to be.
pub(crate) struct Papers {
    pub(crate) identity: Identity,
    pub(crate) hello: Hello,
    pub(crate) network: NetworkTag,
    /// The attempt's id, from which its ephemeral key follows too.
    pub(crate) attempt: u64,
}

impl Papers {
    /// Flawless ones.
    pub(crate) fn new() -> Self {
        Self::of(MALLORY)
    }

    pub(crate) fn of(seed: u8) -> Self {
        Self { identity: identity(seed), hello: hello(), network: NetworkTag::of(NETWORK), attempt: 0xA77E }
    }

    pub(crate) fn hello_bytes(&self) -> Vec<u8> {
        let extensions = Extensions { network: Some(self.network), ..Extensions::default() };
        let mut bytes = vec![0; self.hello.encoded_len(&extensions)];
        self.hello.encode(&extensions, &mut bytes).unwrap();
        bytes
    }
}

/// A hello that every node accepts. Its long heartbeat lets a test take its time.
pub(crate) fn hello() -> Hello {
    Hello {
        versions: Versions::SUPPORTED,
        node_type: NodeType::Hyphae,
        capabilities: 0,
        max_message: 60 * 1024,
        max_record: u16::MAX,
        heartbeat: Duration::from_secs(600),
        boot_id: 7,
        time: wall_time(),
        quality: TimeQuality::Synced,
    }
}

pub(crate) fn wall_time() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UnixTime::from_micros(u64::try_from(since.as_micros()).unwrap())
}

/// A handshake under way.
pub(crate) struct Attempt {
    pub(crate) raw: Raw,
    id: u64,
    noise: HandshakeState<ChaChaPoly>,
    role: Role,
}

impl Attempt {
    /// The dialling end. `first` is its first flight.
    pub(crate) fn dial(raw: Raw, papers: &Papers) -> (Self, Vec<u8>) {
        let header = Header::new(Kind::Xx1, papers.attempt).to_bytes(noise::DH_LEN);
        let noise = state(Role::Initiator, &header, papers);
        let mut attempt = Self { raw, id: papers.attempt, noise, role: Role::Initiator };
        let first = attempt.flight(Kind::Xx1, &[]);
        (attempt, first)
    }

    /// The answering end: takes the first flight.
    pub(crate) async fn answer(mut raw: Raw, papers: &Papers) -> Self {
        let (header, mut payload) = raw.frame().await;
        let mut noise = state(Role::Responder, &header.to_bytes(payload.len()), papers);
        noise.read_message(&mut payload).unwrap();
        Self { raw, id: header.id, noise, role: Role::Responder }
    }

    /// The next flight with `payload` in it.
    pub(crate) fn flight(&mut self, kind: Kind, payload: &[u8]) -> Vec<u8> {
        let mut message = vec![0; 1536];
        let len = self.noise.write_message(payload, &mut message).unwrap();
        frame_of(kind, self.id, &message[..len])
    }

    /// Takes the other end's flight and gives the payload in it.
    pub(crate) async fn read_flight(&mut self) -> Vec<u8> {
        let (_, mut message) = self.raw.frame().await;
        self.noise.read_message(&mut message).unwrap().to_vec()
    }

    /// Goes up to the third flight, which it leaves to the caller.
    pub(crate) async fn second(address: SocketAddr, papers: &Papers) -> Self {
        let (mut attempt, first) = Self::dial(Raw::connect(address).await, papers);
        attempt.raw.send(&first).await;
        attempt.read_flight().await;
        attempt
    }

    /// All three flights have passed.
    pub(crate) fn established(self) -> Hand {
        let (to_responder, to_initiator) = self.noise.split().unwrap();
        let (sending, receiving) = match self.role {
            Role::Initiator => (to_responder, to_initiator),
            Role::Responder => (to_initiator, to_responder),
        };
        Hand { raw: self.raw, sealer: cipher(&sending), opener: cipher(&receiving), sealed: 0, opened: 0 }
    }
}

/// A hand-made peer with the keys of a session.
pub(crate) struct Hand {
    pub(crate) raw: Raw,
    sealer: ChaChaPoly,
    opener: ChaChaPoly,
    sealed: u64,
    opened: u64,
}

impl Hand {
    /// A session that the node at `address` has accepted.
    pub(crate) async fn shake(address: SocketAddr, papers: &Papers) -> Self {
        Self::shake_over(Raw::connect(address).await, papers).await
    }

    pub(crate) async fn shake_over(raw: Raw, papers: &Papers) -> Self {
        let mut hand = Self::knock(raw, papers, &papers.hello_bytes()).await;
        assert_eq!(hand.control().await, Control::Accept);
        hand
    }

    /// All three flights with `hello` in the last one; the answer is still to be read.
    pub(crate) async fn knock(raw: Raw, papers: &Papers, hello: &[u8]) -> Self {
        let (mut attempt, first) = Attempt::dial(raw, papers);
        attempt.raw.send(&first).await;
        attempt.read_flight().await;
        let third = attempt.flight(Kind::Xx3, hello);
        attempt.raw.send(&third).await;
        attempt.established()
    }

    /// The next record, with `plaintext` inside.
    pub(crate) fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let sealed_len = plaintext.len() + TAG_LEN;
        let mut bytes = vec![0; record::length_len(sealed_len)];
        record::encode_length(sealed_len, &mut bytes).unwrap();
        let mut sealed = [plaintext, &[0; TAG_LEN]].concat();
        self.sealer.seal(self.sealed, &bytes, &mut sealed);
        self.sealed += 1;
        bytes.extend(sealed);
        bytes
    }

    pub(crate) async fn send(&mut self, plaintext: &[u8]) {
        let record = self.seal(plaintext);
        self.raw.send(&record).await;
    }

    /// The plaintext of the next record.
    pub(crate) async fn record(&mut self) -> Vec<u8> {
        loop {
            let unread = self.raw.unread();
            if let Some((sealed_len, length_len)) = record::decode_length(unread, record::MAX_LEN).unwrap()
                && unread.len() >= length_len + sealed_len
            {
                let mut length: Vec<u8> = unread.drain(..length_len + sealed_len).collect();
                let mut sealed = length.split_off(length_len);
                self.opener.open(self.opened, &length, &mut sealed).unwrap();
                self.opened += 1;
                sealed.truncate(sealed_len - TAG_LEN);
                return sealed;
            }
            assert!(self.raw.fill().await, "the connection ended without a further record");
        }
    }

    /// The next control message; heartbeats and acknowledgements before it are passed over.
    pub(crate) async fn control(&mut self) -> Control {
        loop {
            let plaintext = self.record().await;
            let (header, body) = RecordHeader::decode(&plaintext).unwrap();
            match header.body {
                Body::Control => return Control::decode(body).unwrap(),
                Body::Messages => assert!(body.is_empty(), "a message where none is expected"),
            }
        }
    }

    /// The other end closes the session for `reason`, and the connection with it.
    pub(crate) async fn expect_close(&mut self, reason: Reason) {
        assert_eq!(self.control().await, Control::close(reason));
        self.raw.expect_end().await;
    }

    /// The other end rejects the attempt for `reason`, and ends the connection; gives the detail.
    pub(crate) async fn expect_reject(&mut self, reason: Reason) -> u64 {
        let Control::Reject(Refusal { code, detail }) = self.control().await else { panic!("no rejection") };
        assert_eq!(Reason::from_code(code), Some(reason));
        self.raw.expect_end().await;
        detail
    }
}

/// The plaintext of a record of messages, without anything in its header.
pub(crate) fn messages(list: &[(MessageHeader, &[u8])]) -> Vec<u8> {
    let mut body = vec![0; 128 * 1024];
    let mut encoder = Encoder::new(&mut body, None);
    for (header, payload) in list {
        assert!(encoder.push(header, payload, Place::Inner));
    }
    let len = encoder.written();
    plaintext(RecordHeader::default(), &body[..len])
}

/// The plaintext of a record with one application message.
pub(crate) fn message(sequence: u64, payload: &[u8]) -> Vec<u8> {
    messages(&[(message_header(sequence), payload)])
}

pub(crate) fn message_header(sequence: u64) -> MessageHeader {
    MessageHeader { kind: 0x1000, sequence, ..MessageHeader::default() }
}

/// The plaintext of a record with one control message.
pub(crate) fn control(control: Control) -> Vec<u8> {
    let mut body = [0; Control::MAX_LEN];
    let len = control.encode(&mut body).unwrap();
    plaintext(RecordHeader { body: Body::Control, ..RecordHeader::default() }, &body[..len])
}

pub(crate) fn plaintext(header: RecordHeader, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; header.encoded_len()];
    header.encode(&mut bytes).unwrap();
    bytes.extend_from_slice(body);
    bytes
}

fn state(role: Role, header: &[u8], papers: &Papers) -> HandshakeState<ChaChaPoly> {
    let prologue = [b"hyphal/1\x01\x01", header].concat();
    let own = &papers.identity;
    let mut ephemeral = [0x5E; 32];
    ephemeral[..8].copy_from_slice(&papers.attempt.to_be_bytes());
    let keys = Keys {
        s: Some(KeyPair::from_parts(Secret::from_bytes(*own.static_secret()), *own.static_public())),
        e: Some(KeyPair::from_secret(Secret::from_bytes(ephemeral))),
        ..Keys::default()
    };
    HandshakeState::new(&noise::XX, role, &prologue, keys).unwrap()
}

/// The cipher of one direction, protocol section 9: the first output of HKDF over the Split key and the label.
fn cipher(split: &SplitKey) -> ChaChaPoly {
    let hmac = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
    let extracted = hmac(split.as_bytes(), b"hyphal/1 record ChaCha20-Poly1305");
    let key = hmac(extracted.as_ref(), &[1]);
    ChaChaPoly::new(key.as_ref().try_into().unwrap())
}
