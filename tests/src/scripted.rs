//! A peer that says what a test tells it to: it holds true keys, but no state machine keeps it from breaking a rule.
//!
//! It follows docs/protocol.md on its own and shares with the session only the primitives, so that an error in the
//! session's use of keys, prologue or nonces shows as a failed handshake here.

use hmac::{Hmac, KeyInit, Mac};
use hyphal_core::{
    aead::{Aead, ChaChaPoly, TAG_LEN},
    identity::Identity,
    ids::NodeId,
    noise::{DH_LEN, HandshakeState, KeyPair, Keys, Role, Secret, SplitKey, XX},
    time::UnixTime,
    wire::{
        frame::{HEADER_LEN, Header, Kind},
        hello::{Extensions, Hello, NetworkTag, Versions},
        record,
    },
};
use rand_core::Rng;
use sha2::Sha256;

use crate::{pair::lab_config, seed::Seed};

/// A scripted peer.
pub struct Scripted {
    /// Who it is.
    pub id: NodeId,
    /// What it says of itself; change it before the handshake to lie.
    pub hello: Hello,
    /// The network it names as an initiator.
    pub network: NetworkTag,
    keys: Option<Keys>,
    frame_id: u64,
    noise: Option<HandshakeState<ChaChaPoly>>,
    channel: Option<Channel>,
}

struct Channel {
    sealing: RecordKey,
    sealed: u64,
    opening: RecordKey,
    opened: u64,
}

/// The key of one direction, and how many it had before.
struct RecordKey {
    key: [u8; 32],
    replaced: u32,
}

impl Scripted {
    /// A peer of the lab's network, with the identity and ephemeral that `seed` gives.
    pub fn new(seed: &Seed) -> Self {
        let mut chance = seed.generator("scripted");
        let identity = Identity::generate(chance.generator());
        Self::with_identity(seed, &identity)
    }

    /// A peer with somebody's identity, its own or a stolen one.
    pub fn with_identity(seed: &Seed, identity: &Identity) -> Self {
        let mut chance = seed.generator("scripted session");
        let config = lab_config(chance.below(u64::MAX));
        let mut ephemeral = [0; DH_LEN];
        chance.generator().fill_bytes(&mut ephemeral);
        let keys = Keys {
            s: Some(KeyPair::from_secret(Secret::from_bytes(*identity.static_secret()))),
            e: Some(KeyPair::from_secret(Secret::from_bytes(ephemeral))),
            ..Keys::default()
        };
        Self {
            id: identity.id(),
            hello: Hello {
                versions: Versions::SUPPORTED,
                node_type: config.node_type,
                capabilities: 0,
                max_message: config.max_message,
                max_record: config.max_record,
                heartbeat: config.heartbeat,
                boot_id: config.boot_id,
                time: UnixTime::from_micros(1_800_000_000_000_000),
                quality: hyphal_core::time::TimeQuality::Synced,
            },
            network: config.network,
            keys: Some(keys),
            frame_id: chance.below(u64::MAX),
            noise: None,
            channel: None,
        }
    }

    /// Frame 1, as an initiator.
    pub fn first(&mut self) -> Vec<u8> {
        let header = Header::new(Kind::Xx1, self.frame_id);
        self.begin(Role::Initiator, &header.to_bytes(DH_LEN));
        self.write_frame(Kind::Xx1, &[])
    }

    /// Frame 2, as a responder who heard `first`.
    pub fn second(&mut self, first: &[u8]) -> Vec<u8> {
        let hello = self.encode_hello(Extensions::default());
        self.second_with(first, &hello)
    }

    /// Frame 2 with any bytes in the hello's place.
    pub fn second_with(&mut self, first: &[u8], hello: &[u8]) -> Vec<u8> {
        self.frame_id = u64::from_be_bytes(first[6..HEADER_LEN].try_into().expect("eight bytes"));
        self.begin(Role::Responder, &first[..HEADER_LEN]);
        self.read_frame(first);
        self.write_frame(Kind::Xx2, hello)
    }

    /// Frame 3, as an initiator who heard `second`.
    pub fn third(&mut self, second: &[u8]) -> Vec<u8> {
        let hello = self.encode_hello(Extensions { network: Some(self.network), ..Extensions::default() });
        self.third_with(second, &hello)
    }

    /// Frame 3 with any bytes in the hello's place.
    pub fn third_with(&mut self, second: &[u8], hello: &[u8]) -> Vec<u8> {
        self.read_frame(second);
        let frame = self.write_frame(Kind::Xx3, hello);
        let (to_responder, to_initiator) = self.split();
        self.channel = Some(Channel::new(&to_responder, &to_initiator));
        frame
    }

    /// Hears frame 3, as a responder.
    pub fn hear_third(&mut self, third: &[u8]) {
        self.read_frame(third);
        let (to_responder, to_initiator) = self.split();
        self.channel = Some(Channel::new(&to_initiator, &to_responder));
    }

    /// The hello as it is sent, with `extensions`.
    pub fn encode_hello(&self, extensions: Extensions<'_>) -> Vec<u8> {
        let mut hello = vec![0; self.hello.encoded_len(&extensions)];
        self.hello.encode(&extensions, &mut hello).expect("the hello fits");
        hello
    }

    /// The next record, whatever `plaintext` is.
    pub fn record(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let channel = self.channel.as_mut().expect("the handshake is over");
        let sealed_len = plaintext.len() + TAG_LEN;
        let mut length = [0; record::MAX_LENGTH_LEN];
        let length_len = record::encode_length(sealed_len, &mut length).expect("a record's length");
        let mut sealed = plaintext.to_vec();
        sealed.resize(sealed_len, 0);
        channel.sealing.cipher().seal(channel.sealed, &length[..length_len], &mut sealed);
        channel.sealing.follow(plaintext);
        channel.sealed += 1;
        [&length[..length_len], &sealed].concat()
    }

    /// The plaintexts of all records in `bytes`, which must be valid and complete.
    pub fn hear_records(&mut self, mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let channel = self.channel.as_mut().expect("the handshake is over");
        let mut plaintexts = Vec::new();
        while !bytes.is_empty() {
            let decoded = record::decode_length(bytes, record::MAX_LEN).expect("a record's length");
            let (sealed_len, length_len) = decoded.expect("a whole record");
            let (length, rest) = bytes.split_at(length_len);
            let (sealed, rest) = rest.split_at(sealed_len);
            let mut plaintext = sealed.to_vec();
            let opened = channel.opening.cipher().open(channel.opened, length, &mut plaintext);
            opened.expect("the record verifies");
            channel.opened += 1;
            plaintext.truncate(sealed_len - TAG_LEN);
            channel.opening.follow(&plaintext);
            plaintexts.push(plaintext);
            bytes = rest;
        }
        plaintexts
    }

    /// How often the other end has changed its key.
    pub fn rekeys_heard(&self) -> u32 {
        self.channel.as_ref().map_or(0, |channel| channel.opening.replaced)
    }

    fn begin(&mut self, role: Role, first_header: &[u8]) {
        let prologue = [b"hyphal/1\x01\x01", first_header].concat();
        let keys = self.keys.take().expect("one handshake only");
        self.noise = Some(HandshakeState::new(&XX, role, &prologue, keys).expect("XX needs nothing else"));
    }

    fn write_frame(&mut self, kind: Kind, payload: &[u8]) -> Vec<u8> {
        let noise = self.noise.as_mut().expect("the handshake has begun");
        let mut message = vec![0; 1024];
        let len = noise.write_message(payload, &mut message).expect("it is this side's turn");
        let mut frame = vec![0; 1100];
        let len = Header::new(kind, self.frame_id).encode(&message[..len], &mut frame).expect("it fits");
        frame.truncate(len);
        frame
    }

    fn read_frame(&mut self, frame: &[u8]) {
        let noise = self.noise.as_mut().expect("the handshake has begun");
        noise.read_message(&mut frame[HEADER_LEN..].to_vec()).expect("the handshake message verifies");
    }

    fn split(&self) -> (SplitKey, SplitKey) {
        let noise = self.noise.as_ref().expect("the handshake has begun");
        noise.split().expect("the handshake is over")
    }
}

impl Channel {
    fn new(sealing: &SplitKey, opening: &SplitKey) -> Self {
        Self { sealing: RecordKey::first(sealing), sealed: 0, opening: RecordKey::first(opening), opened: 0 }
    }
}

impl RecordKey {
    fn first(split: &SplitKey) -> Self {
        Self { key: first_output(split.as_bytes(), b"hyphal/1 record ChaCha20-Poly1305"), replaced: 0 }
    }

    fn cipher(&self) -> ChaChaPoly {
        ChaChaPoly::new(&self.key)
    }

    /// Goes on to the next key if the record says so.
    fn follow(&mut self, plaintext: &[u8]) {
        if plaintext.first().is_some_and(|kind| kind & 1 << 6 != 0) {
            self.key = first_output(&self.key, b"hyphal/1 rekey");
            self.replaced += 1;
        }
    }
}

/// The first output of HKDF.
fn first_output(key: &[u8; 32], label: &[u8]) -> [u8; 32] {
    hmac(&hmac(key, label), &[1])
}

fn hmac(key: &[u8; 32], input: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(input);
    mac.finalize().into_bytes().into()
}
