//! With the key log of one node, a recording of its session is readable, by the protocol document alone.

use std::collections::HashMap;
use std::fs;

use hyphal::{SendOptions, StartError};
use hyphal_core::aead::{Cipher, TAG_LEN};
use hyphal_core::wire::frame::{self, Decoded};
use hyphal_core::wire::record::{self, Body, RecordHeader};
use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::pair::{builder, listening, tcp_port, up, within};

#[tokio::test]
async fn a_recorded_session_is_readable_with_the_logged_keys() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.log");
    let server = listening(builder()).await;
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = relay.local_addr().unwrap().to_string();
    let target = tcp_port(&server);
    let recording = tokio::spawn(async move {
        let (client, _) = relay.accept().await.unwrap();
        let server = TcpStream::connect(target).await.unwrap();
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::join!(pass(from_client, to_server), pass(from_server, to_client))
    });
    let client = builder().key_log(&path).peer(server.id(), address).start().await.unwrap();
    let mut events = server.events();
    if server.peers().await.is_empty() {
        up(&mut events, client.id()).await;
    }

    within(client.send_direct(server.id(), 1, "a question", SendOptions::default())).await.unwrap();
    within(server.recv()).await.unwrap();
    within(server.send_direct(client.id(), 1, "an answer", SendOptions::default())).await.unwrap();
    within(client.recv()).await.unwrap();
    client.shutdown(std::time::Duration::ZERO).await;
    let (asked, answered) = within(recording).await.unwrap();

    let keys = keys_of(&fs::read_to_string(&path).unwrap());
    let Ok(Decoded::Frame { frame, .. }) = frame::decode(&asked, 4096) else { panic!("no frame") };
    let key = |sender: &str| keys[&(frame.header.id, sender.to_owned())];
    let (questions, answers) =
        (plaintexts(&asked, 2, key("initiator")), plaintexts(&answered, 1, key("responder")));
    assert!(questions.iter().any(|body| contains(body, b"a question")));
    assert!(answers.iter().any(|body| contains(body, b"an answer")));
    assert!(!contains(&asked, b"a question"));
}

#[cfg(unix)]
#[tokio::test]
async fn a_node_does_not_start_with_a_key_log_that_others_can_read() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.log");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();

    let started = builder().key_log(&path).start().await;

    assert!(matches!(started, Err(StartError::KeyLog { .. })));
}

/// Copies a stream until its end and gives what went through.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> Vec<u8> {
    let (mut all, mut part) = (Vec::new(), [0; 4096]);
    while let Ok(len @ 1..) = from.read(&mut part).await {
        all.extend_from_slice(&part[..len]);
        if to.write_all(&part[..len]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
    all
}

/// The lines of a key log, by frame id and sender.
fn keys_of(log: &str) -> HashMap<(u64, String), (Cipher, [u8; 32])> {
    let line = |line: &str| {
        let ["HYPHAL_KEY", id, sender, cipher, key] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("another line: {line}")
        };
        let cipher = [Cipher::ChaCha20Poly1305, Cipher::Aes256Gcm]
            .into_iter()
            .find(|known| known.name() == cipher)
            .unwrap();
        let byte = |at: usize| u8::from_str_radix(&key[2 * at..2 * at + 2], 16).unwrap();
        let id = u64::from_str_radix(id, 16).unwrap();
        ((id, sender.to_owned()), (cipher, std::array::from_fn(byte)))
    };
    log.lines().map(line).collect()
}

/// The bodies of all message records of one direction, behind the `frames` of its handshake.
fn plaintexts(mut bytes: &[u8], frames: usize, (cipher, key): (Cipher, [u8; 32])) -> Vec<Vec<u8>> {
    for _ in 0..frames {
        let Ok(Decoded::Frame { used, .. }) = frame::decode(bytes, 4096) else { panic!("no frame") };
        bytes = &bytes[used..];
    }
    let mut bodies = Vec::new();
    for counter in 0_u64.. {
        let Ok(Some((len, length_len))) = record::decode_length(bytes, usize::from(u16::MAX)) else { break };
        let (length, rest) = bytes.split_at(length_len);
        let plaintext = open(cipher, &key, counter, length, &rest[..len]);
        let (header, body) = RecordHeader::decode(&plaintext).unwrap();
        if header.body == Body::Messages {
            bodies.push(body.to_vec());
        }
        bytes = &rest[len..];
    }
    bodies
}

/// Opens a record as section 5 of the protocol document says, with none of the node's code.
fn open(cipher: Cipher, key: &[u8; 32], counter: u64, length: &[u8], sealed: &[u8]) -> Vec<u8> {
    let (algorithm, counter) = match cipher {
        Cipher::ChaCha20Poly1305 => (&CHACHA20_POLY1305, counter.to_le_bytes()),
        Cipher::Aes256Gcm => (&AES_256_GCM, counter.to_be_bytes()),
    };
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter);
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key).unwrap());
    let mut bytes = sealed.to_vec();
    key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(length), &mut bytes)
        .expect("the logged key opens every record");
    bytes.truncate(sealed.len() - TAG_LEN);
    bytes
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
