//! Before a session is up a peer may send anything: each kind of bad frame ends the attempt at once, with its reason, and
//! without a buffer for what it promised.

use hyphal_core::{
    time::Duration,
    wire::{
        frame::{self, Compression, Decoded, Header, Kind, MAX_UNAUTHENTICATED, Refusal},
        reason::Reason,
    },
};
use hyphal_lab::{
    scripted::Scripted,
    seed::Seed,
    subject::{Subject, converse},
};

#[test]
fn other_protocols_are_garbage() {
    for greeting in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01\x02\x00\x01\x00", b"SSH-2.0-OpenSSH_9.6\r\n"]
    {
        for mut subject in both() {
            subject.hear(greeting);

            assert_eq!(subject.link.dropped, [Reason::TooLong]);
            assert_ended(&mut subject);
        }
    }
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_anything_of_it_has_come() {
    for length in [MAX_UNAUTHENTICATED as u32 - 3, 16 << 20, u32::MAX] {
        for mut subject in both() {
            subject.hear(&length.to_be_bytes());

            assert_eq!(subject.link.dropped, [Reason::TooLong], "length {length}");
            assert_ended(&mut subject);
        }
    }
}

#[test]
fn a_length_below_the_header_is_malformed() {
    for length in 0..10u32 {
        for mut subject in both() {
            subject.hear(&[&length.to_be_bytes()[..], &[0; 20]].concat());

            assert_eq!(subject.link.dropped, [Reason::Malformed], "length {length}");
            assert_ended(&mut subject);
        }
    }
}

#[test]
fn a_truncated_frame_is_awaited_and_no_longer_than_the_handshake_may_take() {
    let first = Scripted::new(&Seed::of(1)).first();
    for len in 0..first.len() {
        let mut subject = Subject::accepting(&Seed::of(1));

        subject.hear(&first[..len]);
        subject.wait(Duration::from_millis(4_999));
        assert_eq!(subject.link.closed, None);
        subject.wait(Duration::from_millis(1));

        assert_eq!(subject.link.closed_for(), Some(Reason::HandshakeTimeout));
        assert_ended(&mut subject);
    }
}

#[test]
fn a_wrong_checksum() {
    let mut frame = first_frame(|header| header.checksum = true);
    *frame.last_mut().expect("a frame") ^= 1;

    assert_eq!(refused(&frame), Reason::Checksum);
}

#[test]
fn a_right_checksum_is_as_good_as_none() {
    let seed = Seed::of(1);
    let mut subject = Subject::accepting(&seed);

    subject.hear(&first_frame(|header| header.checksum = true));

    assert_eq!(subject.link.dropped, []);
    assert_eq!(subject.say().len(), 139);
}

#[test]
fn a_compressed_frame() {
    for compression in [Compression::Lz4, Compression::Zstd] {
        assert_eq!(refused(&first_frame(|header| header.compression = compression)), Reason::Compression);
    }
}

#[test]
fn a_frame_of_a_later_step() {
    for kind in [Kind::Xx2, Kind::Xx3, Kind::Kk2] {
        assert_eq!(refused(&first_frame(|header| header.kind = kind)), Reason::UnexpectedFrame);
    }
}

#[test]
fn a_first_message_of_the_wrong_length() {
    for len in [0, 31, 33, 200] {
        let mut frame = vec![0; 300];
        let frame_len = Header::new(Kind::Xx1, 1).encode(&vec![9; len], &mut frame).expect("it fits");

        assert_eq!(refused(&frame[..frame_len]), Reason::Malformed, "{len} bytes");
    }
}

#[test]
fn a_first_message_with_an_ephemeral_that_no_honest_peer_sends() {
    let mut on_the_twist = [0; 32];
    on_the_twist[0] = 2;
    for ephemeral in [[0; 32], on_the_twist] {
        let mut frame = vec![0; 300];
        let len = Header::new(Kind::Xx1, 1).encode(&ephemeral, &mut frame).expect("it fits");
        let mut subject = Subject::accepting(&Seed::of(1));

        subject.hear(&frame[..len]);
        let answer = subject.say();

        assert!(answer.is_empty(), "nothing is sealed under a key that everybody knows");
        assert_eq!(subject.link.closed_for(), Some(Reason::BadKey));
    }
}

#[test]
fn another_version_is_answered_in_the_clear_with_ours() {
    let mut first = Scripted::new(&Seed::of(1)).first();
    first[5] = first[5] & 0xF0 | 2;
    let mut subject = Subject::accepting(&Seed::of(1));

    subject.hear(&first);

    let answer = subject.say();
    let Ok(Decoded::Frame { frame, .. }) = frame::decode(&answer, MAX_UNAUTHENTICATED) else {
        panic!("no frame")
    };
    assert_eq!(frame.header.kind, Kind::Refusal);
    assert_eq!(frame.header.id.to_be_bytes(), first[6..14]);
    let refusal = Refusal::decode(frame.payload).expect("a refusal");
    assert_eq!(refusal.reason(), Some(Reason::Version));
    assert_eq!(refusal.detail, 0x0101);
    assert_eq!(subject.link.closed_for(), Some(Reason::Version));
}

#[test]
fn a_refusal_in_the_clear_fails_the_attempt_it_names_and_says_who_said_it() {
    let mut subject = Subject::dialling(&Seed::of(1));
    let first = subject.say();
    let id = u64::from_be_bytes(first[6..14].try_into().expect("eight bytes"));

    subject.hear(&refusal(id, Refusal { code: Reason::Busy.code(), detail: 700 }));

    let (_, closed) = subject.link.closed.expect("it is closed");
    assert_eq!((closed.reason, closed.by_peer, closed.detail), (Reason::Busy, true, 700));
    assert_ended(&mut subject);
}

#[test]
fn a_refusal_after_the_handshake_is_noise() {
    let seed = Seed::of(1);
    let (mut one, mut other) = (Subject::dialling(&seed), Subject::accepting(&Seed::of(2)));
    converse(&mut one, &mut other);
    assert!(one.link.session.is_up());

    one.hear(&refusal(1, Refusal::new(Reason::Busy)));

    assert_ne!(one.link.closed.map(|(_, closed)| closed.by_peer), Some(true));
}

fn both() -> [Subject; 2] {
    let mut dialling = Subject::dialling(&Seed::of(1));
    dialling.say();
    [dialling, Subject::accepting(&Seed::of(1))]
}

/// The simplest valid ephemeral key, u = 9.
const BASE_POINT: [u8; 32] = {
    let mut point = [0; 32];
    point[0] = 9;
    point
};

fn first_frame(change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut header = Header::new(Kind::Xx1, 1);
    change(&mut header);
    let mut frame = vec![0; 100];
    let len = header.encode(&BASE_POINT, &mut frame).expect("it fits");
    frame.truncate(len);
    frame
}

fn refusal(id: u64, refusal: Refusal) -> Vec<u8> {
    let (mut payload, mut frame) = ([0; Refusal::LEN], vec![0; 100]);
    refusal.encode(&mut payload).expect("it fits");
    let len = Header::new(Kind::Refusal, id).encode(&payload, &mut frame).expect("it fits");
    frame.truncate(len);
    frame
}

fn refused(frame: &[u8]) -> Reason {
    let mut subject = Subject::accepting(&Seed::of(1));
    subject.hear(frame);
    let [reason] = subject.link.dropped[..] else { panic!("{:?}", subject.link.dropped) };
    assert_ended(&mut subject);
    reason
}

/// It is over, nobody was let in, and nothing but one frame of farewell was said.
fn assert_ended(subject: &mut Subject) {
    assert!(subject.say().len() <= 24);
    subject.wait(Duration::from_secs(1));
    assert!(subject.link.session.is_closed());
    assert!(subject.link.closed.is_some());
    assert_eq!(subject.link.up, None);
    assert_eq!(subject.link.session.poll_timeout(&subject.outbox), None);
}
