//! The public Noise test vectors of this suite, both ends, message by message and on into transport messages.
//!
//! Pattern tables are read here from the specification's notation (sections 7.4, 7.5, 18.1 and the psk rule of 9), so
//! that the library holds the three patterns which the protocol uses; those are compared with the tables below.
//! See `vectors/README.md` for the file's origin and form.

use hyphal_core::aead::{Aead, ChaChaPoly, TAG_LEN};
use hyphal_core::noise::{self, HandshakeState, KeyPair, Keys, Pattern, Role, Secret, Token};
use serde::Deserialize;

/// name, statics known beforehand (`i`nitiator's, `r`esponder's), messages.
const PATTERNS: &[(&str, &str, &str)] = &[
    ("N", "r", "e es"),
    ("K", "ir", "e es ss"),
    ("X", "r", "e es s ss"),
    ("NN", "", "e | e ee"),
    ("NK", "r", "e es | e ee"),
    ("NX", "", "e | e ee s es"),
    ("KN", "i", "e | e ee se"),
    ("KK", "ir", "e es ss | e ee se"),
    ("KX", "i", "e | e ee se s es"),
    ("XN", "", "e | e ee | s se"),
    ("XK", "r", "e es | e ee | s se"),
    ("XX", "", "e | e ee s es | s se"),
    ("IN", "", "e s | e ee se"),
    ("IK", "r", "e es s ss | e ee se"),
    ("IX", "", "e s | e ee se s es"),
    ("NK1", "r", "e | e ee es"),
    ("NX1", "", "e | e ee s | es"),
    ("X1N", "", "e | e ee | s | se"),
    ("X1K", "r", "e es | e ee | s | se"),
    ("XK1", "r", "e | e ee es | s se"),
    ("X1K1", "r", "e | e ee es | s | se"),
    ("X1X", "", "e | e ee s es | s | se"),
    ("XX1", "", "e | e ee s | es s se"),
    ("X1X1", "", "e | e ee s | es s | se"),
    ("K1N", "i", "e | e ee | se"),
    ("K1K", "ir", "e es | e ee | se"),
    ("KK1", "ir", "e | e ee se es"),
    ("K1K1", "ir", "e | e ee es | se"),
    ("K1X", "i", "e | e ee s es | se"),
    ("KX1", "i", "e | e ee se s | es"),
    ("K1X1", "i", "e | e ee s | se es"),
    ("I1N", "", "e s | e ee | se"),
    ("I1K", "r", "e es s | e ee | se"),
    ("IK1", "r", "e s | e ee se es"),
    ("I1K1", "r", "e s | e ee es | se"),
    ("I1X", "", "e s | e ee s es | se"),
    ("IX1", "", "e s | e ee se s | es"),
    ("I1X1", "", "e s | e ee s | se es"),
];

#[test]
fn every_public_vector_passes() {
    let file: File =
        serde_json::from_str(include_str!("vectors/noise-25519-chachapoly-sha256.json")).unwrap();

    for vector in &file.vectors {
        vector.check();
    }

    assert_eq!(file.vectors.len(), 59);
}

#[test]
fn the_patterns_of_the_protocol_are_those_of_the_specification() {
    for ours in [&noise::XX, &noise::KK, &noise::K] {
        let specified = pattern(ours.protocol_name);

        assert_eq!(ours.messages, specified.messages, "{}", ours.protocol_name);
        assert_eq!(ours.knows_initiator, specified.knows_initiator, "{}", ours.protocol_name);
        assert_eq!(ours.knows_responder, specified.knows_responder, "{}", ours.protocol_name);
    }
}

#[derive(Deserialize)]
struct File {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    protocol_name: String,
    init_prologue: String,
    init_static: Option<String>,
    init_ephemeral: String,
    init_remote_static: Option<String>,
    init_psks: Option<Vec<String>>,
    resp_prologue: String,
    resp_static: Option<String>,
    resp_ephemeral: Option<String>,
    resp_remote_static: Option<String>,
    resp_psks: Option<Vec<String>>,
    handshake_hash: String,
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    payload: String,
    ciphertext: String,
}

impl Vector {
    fn check(&self) {
        let name = &self.protocol_name;
        let pattern = pattern(name);
        let mut initiator = self.initiator(pattern);
        let mut responder = self.responder(pattern);
        let (handshake, transport) = self.messages.split_at(pattern.messages.len());

        for (index, message) in handshake.iter().enumerate() {
            let (writer, reader) = if index % 2 == 0 {
                (&mut initiator, &mut responder)
            } else {
                (&mut responder, &mut initiator)
            };
            let mut buf = [0; 512];
            let len = writer.write_message(&unhex(&message.payload), &mut buf).unwrap();
            assert_eq!(hex(&buf[..len]), message.ciphertext, "{name}, message {index}");
            let payload = reader.read_message(&mut buf[..len]).unwrap();
            assert_eq!(hex(payload), message.payload, "{name}, message {index}");
        }

        for end in [&initiator, &responder] {
            assert!(end.is_finished(), "{name}");
            assert_eq!(hex(end.handshake_hash()), self.handshake_hash, "{name}");
        }
        self.check_remote_statics(pattern, &initiator, &responder);
        check_transport(name, pattern, &initiator, &responder, transport);
    }

    fn initiator(&self, pattern: &'static Pattern) -> HandshakeState<ChaChaPoly> {
        let keys = Keys {
            s: self.init_static.as_deref().map(pair),
            e: Some(pair(&self.init_ephemeral)),
            rs: self.init_remote_static.as_deref().map(key),
            psk: psk(self.init_psks.as_deref()),
        };
        HandshakeState::new(pattern, Role::Initiator, &unhex(&self.init_prologue), keys).unwrap()
    }

    fn responder(&self, pattern: &'static Pattern) -> HandshakeState<ChaChaPoly> {
        let keys = Keys {
            s: self.resp_static.as_deref().map(pair),
            e: self.resp_ephemeral.as_deref().map(pair),
            rs: self.resp_remote_static.as_deref().map(key),
            psk: psk(self.resp_psks.as_deref()),
        };
        HandshakeState::new(pattern, Role::Responder, &unhex(&self.resp_prologue), keys).unwrap()
    }

    fn check_remote_statics(
        &self,
        pattern: &Pattern,
        initiator: &HandshakeState<ChaChaPoly>,
        responder: &HandshakeState<ChaChaPoly>,
    ) {
        let public = |secret: &Option<String>| secret.as_deref().map(|secret| *pair(secret).public());
        let sends_static = |parity| {
            let sent = pattern.messages.iter().enumerate().filter(|(index, _)| index % 2 == parity);
            sent.into_iter().any(|(_, tokens)| tokens.contains(&Token::S))
        };
        if pattern.knows_responder || sends_static(1) {
            assert_eq!(
                initiator.remote_static().copied(),
                public(&self.resp_static),
                "{}",
                self.protocol_name
            );
        }
        if pattern.knows_initiator || sends_static(0) {
            assert_eq!(
                responder.remote_static().copied(),
                public(&self.init_static),
                "{}",
                self.protocol_name
            );
        }
    }
}

/// Messages go on alternating after the handshake; in one-way patterns the initiator writes them all.
fn check_transport(
    name: &str,
    pattern: &Pattern,
    initiator: &HandshakeState<ChaChaPoly>,
    responder: &HandshakeState<ChaChaPoly>,
    messages: &[Message],
) {
    let (from_initiator, from_responder) = initiator.split().unwrap();
    let theirs = responder.split().unwrap();
    assert_eq!(from_initiator.as_bytes(), theirs.0.as_bytes(), "{name}");
    assert_eq!(from_responder.as_bytes(), theirs.1.as_bytes(), "{name}");
    let aeads = [from_initiator, from_responder].map(|key| ChaChaPoly::new(key.as_bytes()));
    let is_one_way = pattern.messages.len() == 1;
    let mut nonces = [0, 0];

    for (index, message) in messages.iter().enumerate() {
        let writer = if is_one_way { 0 } else { (pattern.messages.len() + index) % 2 };
        let mut buf = unhex(&message.payload);
        buf.extend([0; TAG_LEN]);

        aeads[writer].seal(nonces[writer], &[], &mut buf);
        assert_eq!(hex(&buf), message.ciphertext, "{name}, transport message {index}");
        aeads[writer].open(nonces[writer], &[], &mut buf).unwrap();
        assert_eq!(hex(&buf[..buf.len() - TAG_LEN]), message.payload, "{name}, transport message {index}");

        nonces[writer] += 1;
    }
}

/// The pattern of a full protocol name, with its psk modifier applied. Leaked: a table lives as long as the test.
fn pattern(protocol_name: &str) -> &'static Pattern {
    let name = protocol_name.split('_').nth(1).unwrap();
    let (base, psk) = match name.split_once("psk") {
        Some((base, place)) => (base, Some(place.parse::<usize>().unwrap())),
        None => (name, None),
    };
    let (_, known, notation) = PATTERNS.iter().find(|(name, ..)| *name == base).unwrap();
    let mut messages: Vec<Vec<Token>> =
        notation.split('|').map(|message| message.split_whitespace().map(token).collect()).collect();
    match psk {
        Some(0) => messages[0].insert(0, Token::Psk),
        Some(place) => messages[place - 1].push(Token::Psk),
        None => {}
    }
    let messages: Vec<&'static [Token]> = messages.into_iter().map(|tokens| &*tokens.leak()).collect();
    Box::leak(Box::new(Pattern {
        protocol_name: protocol_name.to_owned().leak(),
        knows_initiator: known.contains('i'),
        knows_responder: known.contains('r'),
        messages: messages.leak(),
    }))
}

fn token(notation: &str) -> Token {
    match notation {
        "e" => Token::E,
        "s" => Token::S,
        "ee" => Token::EE,
        "es" => Token::ES,
        "se" => Token::SE,
        "ss" => Token::SS,
        other => panic!("no token: {other}"),
    }
}

fn pair(secret: &str) -> KeyPair {
    KeyPair::from_secret(Secret::from_bytes(key(secret)))
}

/// Every vector has at most one pre-shared key.
fn psk(psks: Option<&[String]>) -> Option<Secret> {
    psks.map(|psks| match psks {
        [psk] => Secret::from_bytes(key(psk)),
        more => panic!("{} pre-shared keys", more.len()),
    })
}

fn key(text: &str) -> [u8; 32] {
    unhex(text).try_into().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
