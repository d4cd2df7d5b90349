//! The whole life of one session in bytes, `vectors/transcript.json`: handshake, keys, records, close.
//!
//! Two ways lead to the same bytes. `computed` follows `docs/protocol.md` with nothing but hash, curve and cipher, from
//! hellos and plaintexts that are written out here by hand; `driven` lets two sessions talk, with scripted random bytes.
//! The file changes only together with the protocol: `HYPHAL_BLESS=1 cargo test -p hyphal-core --test transcript`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs;

use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit as _};
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::montgomery::MontgomeryPoint;
use curve25519_dalek::scalar::clamp_integer;
use hmac::{Hmac, Mac};
use hyphal_core::aead::ChaChaPoly;
use hyphal_core::identity::Identity;
use hyphal_core::ids::{Acquaintance, Hint, NodeId, NodeType, Priority};
use hyphal_core::outbox::{FixedStorage, Header, Outbox, Payload};
use hyphal_core::profile::Security;
use hyphal_core::session::{Config, Event, Expect, Received, Resumption, Session, Wall};
use hyphal_core::time::{Duration, Instant, TimeQuality, UnixTime};
use hyphal_core::wire::hello::NetworkTag;
use hyphal_core::wire::message::Methods;
use hyphal_core::wire::reason::Reason;
use rand_core::{TryCryptoRng, TryRng};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha2::{Digest, Sha256, Sha512};

/// Sections 3 and 4, written by hand.
const HELLOS: [&str; 2] = [
    // Versions 1 to 1, Hyphae, 4,096 and 2,048 bytes, 60 s, boot id, no time; TLV: the tag of `example`.
    "11 03 0000 00001000 0800 1770 a1a2a3a4a5a6a7a8 0000000000000000 00 81 08 NETWORK",
    // Versions 1 to 1, Sclerotia, 61,440 and 65,535 bytes, 5 s, boot id, synchronised time.
    "11 01 0000 0000f000 ffff 01f4 1122334455667788 00060a24181e4000 02",
];
const FRAME_ID: &str = "0123456789abcdef";

/// Sender (0 = initiator), counter and plaintext of every record, in the order in which they are written.
const RECORDS: [(usize, u64, &str); 7] = [
    // Accept.
    (1, 0, "01 0000 01"),
    // Ping 0, no messages; credit for 1 MiB.
    (1, 1, "18 0000 808040 00"),
    // Credit for 4 KiB, ping 0, pong 0; "hello" (Medium, type 0x1000, sequence 42); "world" (Low, same type, last, 10 s to live).
    (0, 0, "38 0006 8020 00 00 21 8020 05 2a 68656c6c6f 58 01 0a 776f726c64"),
    // Everything below 1 is done; pong 0.
    (1, 2, "24 0008 01 00"),
    // Close: Shutdown.
    (0, 1, "01 000a 03 0301"),
    // Had nobody closed, an hour later: pong 181, the next key follows; under that, pong 182.
    (0, LAST_OF_KEY, "60 728f b5"),
    (0, LAST_OF_KEY + 1, "20 7771 b6"),
];

/// The initiator's last record under its first key: before it come record 0, 180 pongs and 15 pings.
const LAST_OF_KEY: u64 = 196;

/// As [`RECORDS`], of the session that the initiator comes back for: Accept, and the ping that proves who is there, with credit.
const KK_RECORDS: [(usize, u64, &str); 2] = [(1, 0, "01 0000 01"), (0, 0, "18 0000 8020 00")];
const KK_FRAME_ID: &str = "fedcba9876543210";

const ROLES: [&str; 2] = ["initiator", "responder"];
const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/transcript.json");

#[test]
fn the_primitives_alone_give_the_transcript() {
    let computed = computed();
    if std::env::var_os("HYPHAL_BLESS").is_some() {
        let lines: Vec<String> =
            computed.iter().map(|(name, value)| format!("  \"{name}\": \"{value}\"")).collect();
        fs::write(PATH, format!("{{\n{}\n}}\n", lines.join(",\n"))).unwrap();
    }

    let stored = stored();

    assert_eq!(stored.len(), computed.len());
    for (name, value) in computed {
        assert_eq!(stored.get(&name), Some(&value), "{name}");
    }
}

#[test]
fn two_sessions_write_the_transcript_byte_for_byte() {
    let stored = stored();

    let written = [driven(), an_hour_of_heartbeats(), comes_back()].concat();

    assert_eq!(written.len(), 3 + RECORDS.len() + 2 + KK_RECORDS.len());
    for (name, bytes) in written {
        assert_eq!(stored.get(&name), Some(&hex(&bytes)), "{name}");
    }
}

#[test]
fn a_handshake_has_the_sizes_of_the_document() {
    let stored = stored();

    let frames = [1, 2, 3].map(|frame| stored[&format!("frame_{frame}")].len() / 2);
    let hellos = ROLES.map(|role| stored[&format!("{role}_hello")].len() / 2);

    assert_eq!(frames, [46, 139, 117]);
    assert_eq!(frames.iter().sum::<usize>() - 3 * 14, 260);
    assert_eq!(hellos, [39, 29]);
    let of_kk = [1, 2].map(|frame| stored[&format!("kk_frame_{frame}")].len() / 2);
    assert_eq!(of_kk, [109, 91]);
    assert_eq!(of_kk.iter().sum::<usize>() - 2 * 14, 172);
}

/// Every value of the transcript, from the secrets on, without any of the library's machines.
fn computed() -> Vec<(String, String)> {
    let mut values = Vec::new();
    let mut show = |name: String, bytes: &[u8]| values.push((name, hex(bytes)));
    let tag = &Sha256::digest(b"hyphal/1 network\0example")[..8];
    let hellos = HELLOS.map(|hello| unhex(&hello.replace("NETWORK", &hex(tag))));
    let [initiator, responder] = [0, 1].map(Secrets::of);
    for (role, secrets, hello) in [(0, &initiator, &hellos[0]), (1, &responder, &hellos[1])] {
        let name = |what: &str| format!("{}_{what}", ROLES[role]);
        show(name("seed"), &seed(role));
        show(name("static_secret"), &secrets.s);
        show(name("id"), &secrets.id);
        show(name("static_public"), &public(&secrets.s));
        show(name("random"), &random(role));
        show(name("ephemeral_secret"), &secrets.e);
        show(name("ephemeral_public"), &public(&secrets.e));
        show(name("hello"), hello);
    }

    let header = |kind: u8, len: usize| {
        let length = u32::try_from(10 + len).unwrap();
        [&length.to_be_bytes()[..], &[kind, 1], &unhex(FRAME_ID)].concat()
    };
    let prologue = [b"hyphal/1\x01\x01", &header(1, 32)[..]].concat();
    let mut noise = Symmetric::new("XX", &prologue);
    let (e, re) = (public(&initiator.e), public(&responder.e));
    let (s, rs) = (public(&initiator.s), public(&responder.s));

    noise.mix_hash(&e);
    noise.encrypt_and_hash(b"");
    let first = e.to_vec();
    noise.mix_hash(&re);
    noise.mix_key(&x25519(&initiator.e, &re));
    let sealed_static = noise.encrypt_and_hash(&rs);
    noise.mix_key(&x25519(&initiator.e, &rs));
    let second = [&re[..], &sealed_static, &noise.encrypt_and_hash(&hellos[1])].concat();
    let sealed_static = noise.encrypt_and_hash(&s);
    noise.mix_key(&x25519(&initiator.s, &re));
    let third = [sealed_static, noise.encrypt_and_hash(&hellos[0])].concat();

    show("prologue".to_owned(), &prologue);
    for (kind, message) in [(1, first), (2, second), (3, third)] {
        show(format!("frame_{kind}"), &[header(kind, message.len()), message].concat());
    }
    show("handshake_hash".to_owned(), &noise.h);
    show("chaining_key".to_owned(), &noise.ck);
    let split = hkdf(&noise.ck, b"");
    let keys = split.map(|key| hkdf(&key, b"hyphal/1 record ChaCha20-Poly1305")[0]);
    for role in [0, 1] {
        show(format!("{}_split_key", ROLES[role]), &split[role]);
        show(format!("{}_record_key", ROLES[role]), &keys[role]);
    }
    // The same plaintext, had both hellos said that AES is fast, and had the split key come out the same.
    let aes_key = hkdf(&split[0], b"hyphal/1 record AES-256-GCM")[0];
    let plaintext = unhex(RECORDS[2].2);
    let length = [u8::try_from(plaintext.len() + 16).unwrap()];
    let sealed = seal_with_aes(&aes_key, 1, &length, &plaintext);
    show("initiator_aes_record_key".to_owned(), &aes_key);
    show("initiator_aes_record_1".to_owned(), &[&length[..], &sealed].concat());
    let next_key = hkdf(&keys[0], b"hyphal/1 rekey")[0];
    show("initiator_next_record_key".to_owned(), &next_key);
    for (role, counter, plaintext) in RECORDS {
        let key = if counter > LAST_OF_KEY { &next_key } else { &keys[role] };
        let plaintext = unhex(plaintext);
        let length = [u8::try_from(plaintext.len() + 16).unwrap()];
        show(format!("{}_record_{counter}_plaintext", ROLES[role]), &plaintext);
        let sealed = seal(key, counter, &length, &plaintext);
        show(format!("{}_record_{counter}", ROLES[role]), &[&length[..], &sealed].concat());
    }
    let resumption = hkdf_third(&noise.ck, b"");
    let hints = [1, 2].map(|end| hmac(&resumption, &[&b"hyphal/1 hint"[..], &[end]].concat())[..8].to_vec());
    show("resumption_secret".to_owned(), &resumption);
    for role in [0, 1] {
        show(format!("{}_hint", ROLES[role]), &hints[role]);
    }
    values.extend(computed_kk(&hellos, &hints[0]));
    for (role, secrets) in [(0, &initiator), (1, &responder)] {
        let text = NodeId::from_bytes(secrets.id).to_string();
        values.push((format!("{}_id_text", ROLES[role]), text));
    }
    values
}

/// The session that the initiator of the first one comes back for, by its hint.
fn computed_kk(hellos: &[Vec<u8>; 2], hint: &[u8]) -> Vec<(String, String)> {
    let mut values = Vec::new();
    let mut show = |name: &str, bytes: &[u8]| values.push((format!("kk_{name}"), hex(bytes)));
    let header = |kind: u8, len: usize| {
        let length = u32::try_from(10 + len).unwrap();
        [&length.to_be_bytes()[..], &[kind, 1], &unhex(KK_FRAME_ID)].concat()
    };
    let prologue = [b"hyphal/1\x02\x01", &header(4, 8 + 32 + 39 + 16)[..], hint].concat();
    let [initiator, responder] = [(0, &prologue[..]), (1, &[])].map(|(role, prologue)| {
        let Secrets { s, .. } = Secrets::of(role);
        Secrets { e: ephemeral(role, &s, &kk_random(role), "000000000013d620", prologue), s, id: [0; 32] }
    });
    for (role, secrets) in [(0, &initiator), (1, &responder)] {
        show(&format!("{}_random", ROLES[role]), &kk_random(role));
        show(&format!("{}_ephemeral_secret", ROLES[role]), &secrets.e);
        show(&format!("{}_ephemeral_public", ROLES[role]), &public(&secrets.e));
    }
    let (e, re) = (public(&initiator.e), public(&responder.e));
    let (s, rs) = (public(&initiator.s), public(&responder.s));

    let mut noise = Symmetric::new("KK", &prologue);
    noise.mix_hash(&s);
    noise.mix_hash(&rs);
    noise.mix_hash(&e);
    noise.mix_key(&x25519(&initiator.e, &rs));
    noise.mix_key(&x25519(&initiator.s, &rs));
    let first = [hint, &e, &noise.encrypt_and_hash(&hellos[0])].concat();
    noise.mix_hash(&re);
    noise.mix_key(&x25519(&initiator.e, &re));
    noise.mix_key(&x25519(&initiator.s, &re));
    let second = [&re[..], &noise.encrypt_and_hash(&hellos[1])].concat();

    show("prologue", &prologue);
    for (number, kind, message) in [(1, 4, first), (2, 5, second)] {
        show(&format!("frame_{number}"), &[header(kind, message.len()), message].concat());
    }
    show("handshake_hash", &noise.h);
    show("chaining_key", &noise.ck);
    let keys = hkdf(&noise.ck, b"").map(|key| hkdf(&key, b"hyphal/1 record ChaCha20-Poly1305")[0]);
    for role in [0, 1] {
        show(&format!("{}_record_key", ROLES[role]), &keys[role]);
    }
    for (role, counter, plaintext) in KK_RECORDS {
        let plaintext = unhex(plaintext);
        let length = [u8::try_from(plaintext.len() + 16).unwrap()];
        show(&format!("{}_record_{counter}_plaintext", ROLES[role]), &plaintext);
        let sealed = seal(&keys[role], counter, &length, &plaintext);
        show(&format!("{}_record_{counter}", ROLES[role]), &[&length[..], &sealed].concat());
    }
    values
}

struct Secrets {
    s: [u8; 32],
    e: [u8; 32],
    id: [u8; 32],
}

impl Secrets {
    fn of(role: usize) -> Self {
        let digest = Sha512::digest(seed(role));
        let s = clamp_integer(*digest.first_chunk().unwrap());
        let id = EdwardsPoint::mul_base_clamped(s).compress().to_bytes();
        assert_eq!(id[31] >> 7, 0, "the seed of the {} names a node", ROLES[role]);
        let prologue = unhex(["68797068616c2f3101010000002a01010123456789abcdef", ""][role]);
        let e = ephemeral(role, &s, &random(role), "00000000000f4240", &prologue);
        Self { s, e, id }
    }
}

/// Section 9: the label, 32 random bytes, boot id, the moment in microseconds, the initiator's prologue.
fn ephemeral(role: usize, s: &[u8; 32], random: &[u8; 32], began_at: &str, prologue: &[u8]) -> [u8; 32] {
    let boot_id = ["a1a2a3a4a5a6a7a8", "1122334455667788"][role];
    let attempt = [unhex(boot_id), unhex(began_at), prologue.to_vec()].concat();
    hkdf(s, &[b"hyphal/1 ephemeral", &random[..], &attempt].concat())[0]
}

/// Section 5.2 of the Noise specification, written down once more.
struct Symmetric {
    h: [u8; 32],
    ck: [u8; 32],
    key: Option<([u8; 32], u64)>,
}

impl Symmetric {
    fn new(pattern: &str, prologue: &[u8]) -> Self {
        let h = format!("Noise_{pattern}_25519_ChaChaPoly_SHA256").into_bytes().try_into().unwrap();
        let mut symmetric = Self { h, ck: h, key: None };
        symmetric.mix_hash(prologue);
        symmetric
    }

    fn mix_hash(&mut self, bytes: &[u8]) {
        self.h = Sha256::new().chain_update(self.h).chain_update(bytes).finalize().into();
    }

    fn mix_key(&mut self, input: &[u8]) {
        let [ck, key] = hkdf(&self.ck, input);
        self.ck = ck;
        self.key = Some((key, 0));
    }

    fn encrypt_and_hash(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let sealed = match &mut self.key {
            None => plaintext.to_vec(),
            Some((key, nonce)) => {
                *nonce += 1;
                seal(key, *nonce - 1, &self.h, plaintext)
            }
        };
        self.mix_hash(&sealed);
        sealed
    }
}

fn hkdf(chaining_key: &[u8; 32], input: &[u8]) -> [[u8; 32]; 2] {
    let extracted = hmac(chaining_key, input);
    let first = hmac(&extracted, &[1]);
    [first, hmac(&extracted, &[&first[..], &[2]].concat())]
}

fn hkdf_third(chaining_key: &[u8; 32], input: &[u8]) -> [u8; 32] {
    let [_, second] = hkdf(chaining_key, input);
    hmac(&hmac(chaining_key, input), &[&second[..], &[3]].concat())
}

fn hmac(key: &[u8; 32], bytes: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(bytes);
    mac.finalize().into_bytes().into()
}

fn seal(key: &[u8; 32], counter: u64, ad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    let mut buf = plaintext.to_vec();
    let cipher = ChaCha20Poly1305::new(key.into());
    let tag = cipher.encrypt_inout_detached(&nonce.into(), ad, buf.as_mut_slice().into()).unwrap();
    buf.extend_from_slice(&tag);
    buf
}

fn seal_with_aes(key: &[u8; 32], counter: u64, ad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
    let mut buf = plaintext.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::from(ad), &mut buf).unwrap();
    buf
}

fn x25519(secret: &[u8; 32], public: &[u8; 32]) -> [u8; 32] {
    MontgomeryPoint(*public).mul_clamped(*secret).to_bytes()
}

fn public(secret: &[u8; 32]) -> [u8; 32] {
    let mut nine = [0; 32];
    nine[0] = 9;
    x25519(secret, &nine)
}

/// What two sessions put on the wire, by name.
fn driven() -> Vec<(String, Vec<u8>)> {
    let (mut i, mut r, mut written) = talk();
    i.session.close(at(200), Reason::Shutdown);
    let close = i.transmit(200).unwrap();
    r.receive(200, &close);

    assert!(i.session.is_closed() && r.session.is_closed());
    written.push(("initiator_record_1".to_owned(), close));
    written
}

/// The initiator's records around its first change of keys, if the two sessions stay up without a word.
fn an_hour_of_heartbeats() -> Vec<(String, Vec<u8>)> {
    let (mut i, mut r, _) = talk();
    let (mut counter, mut written) = (1, Vec::new());
    while counter < LAST_OF_KEY + 2 {
        let next =
            [&i, &r].into_iter().filter_map(|end| end.session.poll_timeout(&end.outbox)).min().unwrap();
        // The clock of this test counts whole milliseconds.
        let millis = u64::try_from(next.since(at(0)).as_micros().div_ceil(1000)).unwrap();
        for end in [&mut i, &mut r] {
            end.session.handle_timeout(at(millis), &mut end.outbox);
        }
        loop {
            let (said, answered) = (i.transmit(millis), r.transmit(millis));
            if said.is_none() && answered.is_none() {
                break;
            }
            if let Some(bytes) = answered {
                i.receive(millis, &bytes);
            }
            if let Some(bytes) = said {
                r.receive(millis, &bytes);
                written.push((format!("initiator_record_{counter}"), bytes));
                counter += 1;
            }
        }
    }
    assert!(i.session.is_up() && r.session.is_up());
    written.split_off(written.len() - 2)
}

/// The frames and first records of the next session of the same two, by the initiator's hint.
fn comes_back() -> Vec<(String, Vec<u8>)> {
    let (i, r, _) = talk();
    let (own, given) = (i.session.hints().unwrap().own, r.session.hints().unwrap().peers);
    let wall = Wall { time: UnixTime::from_micros(1_700_000_000_000_000), quality: TimeQuality::Synced };
    let identities = [0, 1].map(|role| Identity::from_seed(&seed(role)).unwrap());
    let expect = Expect::Resume(Resumption { peer: acquaintance(&identities[1]), hint: own });
    // What the attempt would go on with if the hint were unknown is drawn as well.
    let mut script = Script([&unhex(KK_FRAME_ID)[..], &kk_random(0), &[7; 8 + 32]].concat());
    let i = Session::connect(at(300), Wall::default(), &identities[0], config(0), expect, &mut script);
    let mut script = Script(kk_random(1).to_vec());
    let r = Session::accept(at(300), wall, &identities[1], config(1), &mut script);
    let (mut i, mut r) = (End::new(i), End::new(r));
    r.given = Some((given, acquaintance(&identities[0])));
    let mut written = Vec::new();
    let mut pass = |name: &str, from: &mut End, to: &mut End, millis| {
        let bytes = from.transmit(millis).unwrap_or_else(|| panic!("{name} is due"));
        to.receive(millis, &bytes);
        written.push((format!("kk_{name}"), bytes));
    };

    pass("frame_1", &mut i, &mut r, 300);
    pass("frame_2", &mut r, &mut i, 310);
    pass("responder_record_0", &mut r, &mut i, 310);
    assert!(i.session.is_up() && !r.session.is_up());
    pass("initiator_record_0", &mut i, &mut r, 310);

    assert!(r.session.is_up());
    written
}

/// Handshake and first words; both sessions are up.
fn talk() -> (End, End, Vec<(String, Vec<u8>)>) {
    let wall = Wall { time: UnixTime::from_micros(1_700_000_000_000_000), quality: TimeQuality::Synced };
    let identities = [0, 1].map(|role| Identity::from_seed(&seed(role)).unwrap());
    let dialled = Expect::Id(identities[1].id());
    let mut script = Script([unhex(FRAME_ID), random(0).to_vec()].concat());
    let i = Session::connect(at(0), Wall::default(), &identities[0], config(0), dialled, &mut script);
    let mut script = Script(random(1).to_vec());
    let r = Session::accept(at(0), wall, &identities[1], config(1), &mut script);
    let (mut i, mut r) = (End::new(i), End::new(r));
    let mut written = Vec::new();
    let mut pass = |name: &str, from: &mut End, to: &mut End, millis| {
        let bytes = from.transmit(millis).unwrap_or_else(|| panic!("{name} is due"));
        to.receive(millis, &bytes);
        written.push((name.to_owned(), bytes));
    };

    pass("frame_1", &mut i, &mut r, 0);
    pass("frame_2", &mut r, &mut i, 0);
    pass("frame_3", &mut i, &mut r, 20);
    // The responder's session time starts at its verdict, the initiator's where it takes Accept.
    let accept = r.transmit(20).unwrap();
    i.receive(30, &accept);
    let ping = r.transmit(20).unwrap();
    i.receive(30, &ping);
    i.push(130, Priority::Medium, b"hello", 42, 60);
    i.push(130, Priority::Low, b"world", 43, 10);
    pass("initiator_record_0", &mut i, &mut r, 130);
    pass("responder_record_2", &mut r, &mut i, 150);
    assert_eq!(i.outbox.counters().confirmed, 2);
    assert_eq!(i.session.poll_event(), Some(Event::Up(identities[1].id())));
    assert_eq!(i.session.poll_event(), Some(Event::Rtt(Duration::from_millis(20))));
    assert_eq!(r.received, [b"hello", b"world"]);
    written.push(("responder_record_0".to_owned(), accept));
    written.push(("responder_record_1".to_owned(), ping));
    (i, r, written)
}

fn acquaintance(identity: &Identity) -> Acquaintance {
    Acquaintance { id: identity.id(), key: *identity.static_public() }
}

struct End {
    session: Session<ChaChaPoly>,
    outbox: Outbox<FixedStorage<1024, 8>>,
    received: Vec<Vec<u8>>,
    /// A hint, and whom it was given to.
    given: Option<(Hint, Acquaintance)>,
}

impl End {
    fn new(session: Session<ChaChaPoly>) -> Self {
        Self { session, outbox: Outbox::new(FixedStorage::default()), received: Vec::new(), given: None }
    }

    fn push(&mut self, millis: u64, priority: Priority, payload: &[u8], sequence: u64, ttl: u32) {
        let header = Header { kind: 0x1000, priority, sequence, ttl, ..Header::default() };
        self.outbox.push(at(millis), header, Payload::Copied(payload)).unwrap();
    }

    fn transmit(&mut self, millis: u64) -> Option<Vec<u8>> {
        let mut buf = [0; 2048];
        let len = self.session.poll_transmit(at(millis), &mut self.outbox, &mut buf)?;
        Some(buf[..len].to_vec())
    }

    fn receive(&mut self, millis: u64, bytes: &[u8]) {
        let mut copy = bytes.to_vec();
        let input = self.session.handle_input(at(millis), &mut self.outbox, &mut copy);
        assert!(input.used == bytes.len() || matches!(input.received, Received::Hint(_)));
        match input.received {
            Received::Hint(hint) => {
                let owner = self.given.take_if(|(given, _)| *given == hint).map(|(_, id)| id);
                self.session.handle_hint(owner);
                self.receive(millis, bytes);
            }
            Received::Offer(_) => self.session.handle_verdict(at(millis), &mut self.outbox, Ok(())),
            Received::Messages(messages) => {
                let mark = messages.mark();
                self.received.extend(messages.map(|message| message.payload.to_vec()));
                self.session.handle_consumed(at(millis), mark);
            }
            Received::Absorbed => {}
            other => panic!("{other:?}"),
        }
    }
}

fn config(role: usize) -> Config {
    let initiator = Config {
        network: NetworkTag::of("example"),
        node_type: NodeType::Hyphae,
        boot_id: 0xA1A2_A3A4_A5A6_A7A8,
        max_message: 4096,
        max_record: 2048,
        window: 4096,
        compression: Methods::NONE,
        keeps_guaranteed: false,
        heartbeat: Duration::from_secs(60),
        handshake_timeout: Duration::from_secs(5),
        max_skew: Duration::from_secs(60),
        security: Security::Standard,
    };
    let responder = Config {
        node_type: NodeType::Sclerotia,
        boot_id: 0x1122_3344_5566_7788,
        max_message: 61_440,
        max_record: 65_535,
        window: 1 << 20,
        heartbeat: Duration::from_secs(5),
        ..initiator
    };
    [initiator, responder][role]
}

/// A random source that gives these bytes and no others.
struct Script(Vec<u8>);

impl Script {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.0[..bytes.len()]);
        self.0.drain(..bytes.len());
    }
}

impl TryRng for Script {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_be_bytes(self.take()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_be_bytes(self.take()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Script {}

fn seed(role: usize) -> [u8; 32] {
    counted_from([0x01, 0x81][role])
}

fn random(role: usize) -> [u8; 32] {
    counted_from([0x41, 0x61][role])
}

fn kk_random(role: usize) -> [u8; 32] {
    counted_from([0xA1, 0xC1][role])
}

fn counted_from(first: u8) -> [u8; 32] {
    std::array::from_fn(|index| first + u8::try_from(index).unwrap())
}

fn at(millis: u64) -> Instant {
    Instant::from_micros(1_000_000 + 1_000 * millis)
}

fn stored() -> BTreeMap<String, String> {
    serde_json::from_str(&fs::read_to_string(PATH).unwrap()).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
