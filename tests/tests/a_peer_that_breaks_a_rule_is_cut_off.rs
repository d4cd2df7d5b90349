//! A peer with true keys and bad manners: each broken rule ends the session with its reason, which the peer hears.

use hyphal_core::{
    outbox::Counters,
    time::Duration,
    wire::{
        control::Control,
        frame::Refusal,
        hello::{Extensions, Versions},
        message::{Encoder, MessageHeader, Place},
        reason::Reason,
        record::{Body, RecordHeader},
    },
};
use hyphal_lab::{link::header, scripted::Scripted, seed::Seed, subject::Subject};

#[test]
fn a_scripted_peer_that_keeps_the_rules_is_heard() {
    let (mut subject, mut peer) = established();

    subject.hear(&peer.record(&messages(RecordHeader::default(), b"well-behaved")));

    assert_eq!(subject.delivered.len(), 1);
    assert_eq!(subject.delivered[0].payload, b"well-behaved");
    assert_eq!(subject.delivered[0].id.epoch, peer.hello.boot_id);
    assert!(subject.link.session.is_up());
}

#[test]
fn a_scripted_responder_that_keeps_the_rules_is_heard() {
    let seed = Seed::of(1);
    let (mut subject, mut peer) = (Subject::dialling(&seed), Scripted::new(&seed));
    let second = peer.second(&subject.say());
    subject.hear(&second);
    peer.hear_third(&subject.say());

    let accept = control(Control::Accept);
    subject.hear(&peer.record(&accept));

    assert!(subject.link.session.is_up());
    assert_eq!(subject.link.up.map(|(_, id)| id), Some(peer.id));
}

#[test]
fn acknowledging_what_was_never_sent() {
    let (mut subject, mut peer) = established();
    subject.send(header(1), b"unconfirmed");
    peer.hear_records(&subject.say());

    subject.hear(&peer.record(&empty(RecordHeader { ack: Some(100), ..Default::default() })));

    assert_cut_off(&mut subject, &mut peer, Reason::Violation);
    let expected = Counters { pushed: 1, written: 1, unconfirmed: 1, ..Counters::default() };
    assert_eq!(subject.outbox.counters(), expected);
}

#[test]
fn acknowledging_less_than_before_takes_nothing_back() {
    let (mut subject, mut peer) = established();
    for sequence in 0..2 {
        subject.send(header(sequence), b"confirmed");
        peer.hear_records(&subject.say());
    }

    for through in [4, 0, 1, 4] {
        subject.hear(&peer.record(&empty(RecordHeader { ack: Some(through), ..Default::default() })));
    }

    assert!(subject.link.session.is_up());
    assert_eq!(subject.outbox.counters().confirmed, 2);
}

#[test]
fn a_clock_that_jumps_ages_its_own_messages_and_nothing_else() {
    let (mut subject, mut peer) = established();

    for clock in [0, u16::MAX, 1, 0x8000, 0x7FFF, 0, u16::MAX] {
        subject.hear(&peer.record(&messages(RecordHeader { clock, ..Default::default() }, b"early or late")));
        subject.wait(Duration::from_millis(1));
    }
    subject.send(header(1), b"unmoved");

    assert_eq!(subject.delivered.len(), 7, "the application judges the age");
    assert!(subject.link.session.is_up());
    assert!(!peer.hear_records(&subject.say()).is_empty());
}

#[test]
fn a_clock_of_its_own_that_leaps_ends_a_session_in_good_order_at_most() {
    for hours in [1, 30, 24 * 365 * 1_000] {
        let (mut subject, _) = established();
        subject.send(header(1), b"before the leap");
        subject.say();

        subject.wait(Duration::from_secs(hours * 3600));
        subject.say();
        subject.wait(Duration::from_secs(10));

        assert!(subject.link.session.is_closed(), "{hours} hours");
        assert_eq!(subject.outbox.counters().unconfirmed, 1);
    }
}

#[test]
fn accepting_or_rejecting_an_established_session() {
    for control_message in [Control::Accept, Control::Reject(Refusal::new(Reason::Limit))] {
        let (mut subject, mut peer) = established();

        subject.hear(&peer.record(&control(control_message)));

        assert_cut_off(&mut subject, &mut peer, Reason::Violation);
    }
}

#[test]
fn a_record_whose_plaintext_is_nonsense() {
    for plaintext in
        [&[][..], &[0], &[0, 0], &[0xC0, 0, 0], &[2, 0, 0], &[1, 0, 0], &[1, 0, 0, 9], &[4, 0, 0, 0x80]]
    {
        let (mut subject, mut peer) = established();

        subject.hear(&peer.record(plaintext));

        assert_cut_off(&mut subject, &mut peer, Reason::Malformed);
    }
}

#[test]
fn a_message_that_is_cut_short_takes_those_before_it_along() {
    let (mut subject, mut peer) = established();
    let mut plaintext = messages(RecordHeader::default(), b"whole");
    plaintext.extend([0x20, 0, 200, 1, 2, 3]);

    subject.hear(&peer.record(&plaintext));

    assert!(subject.delivered.is_empty(), "a record counts as a whole or not at all");
    assert_cut_off(&mut subject, &mut peer, Reason::Malformed);
}

#[test]
fn a_message_over_the_limit() {
    let (mut subject, mut peer) = established();

    subject.hear(&peer.record(&messages(RecordHeader::default(), &[0; 16_001])));

    assert!(subject.delivered.is_empty());
    assert_cut_off(&mut subject, &mut peer, Reason::TooLong);
}

#[test]
fn a_record_over_the_limit() {
    let (mut subject, mut peer) = established();

    subject.hear(&peer.record(&messages(RecordHeader::default(), &[0; 16_384])));

    assert!(subject.delivered.is_empty());
    assert_cut_off(&mut subject, &mut peer, Reason::TooLong);
}

#[test]
fn a_message_type_of_no_family_is_handed_on_as_opaque_bytes() {
    let (mut subject, mut peer) = established();
    let mut body = [0; 100];
    let mut encoder = Encoder::new(&mut body, None);
    for (sequence, kind) in (0..).zip([0x1000, 0x0DFF, 0x1000]) {
        assert!(encoder.push(&message_header(kind, sequence), &[1], Place::Inner));
    }
    let len = encoder.written();

    subject.hear(&peer.record(&[&empty(RecordHeader::default())[..], &body[..len]].concat()));

    let sequences: Vec<u64> = subject.delivered.iter().map(|delivered| delivered.id.sequence).collect();
    assert_eq!(sequences, [0, 1, 2]);
    assert!(subject.link.dropped.is_empty());
    assert!(subject.link.session.is_up());
}

#[test]
fn a_close_with_an_unknown_reason_closes_all_the_same() {
    let (mut subject, mut peer) = established();

    subject.hear(&peer.record(&control(Control::Close { code: 0xFFFF })));

    let (_, closed) = subject.link.closed.expect("it is closed");
    assert!(closed.by_peer);
    assert!(subject.say().is_empty());
}

#[test]
fn records_before_accept() {
    let seed = Seed::of(1);
    let (mut subject, mut peer) = (Subject::dialling(&seed), Scripted::new(&seed));
    let second = peer.second(&subject.say());
    subject.hear(&second);
    peer.hear_third(&subject.say());

    subject.hear(&peer.record(&messages(RecordHeader::default(), b"too early")));

    assert!(subject.delivered.is_empty());
    assert_eq!(subject.link.up, None);
    assert_eq!(subject.link.closed_for(), Some(Reason::Violation));
}

#[test]
fn versions_that_were_not_offered_in_the_clear_are_refused_under_the_seal() {
    let reason = refused_hello(|peer| peer.hello.versions = Versions::new(2, 3).expect("in order"));

    assert_eq!(reason, Reason::Version);
}

#[test]
fn a_hello_with_an_unknown_critical_extension() {
    let reason = refused_hello_bytes(|peer| {
        let extensions = Extensions { network: Some(peer.network), ..Extensions::default() };
        [peer.encode_hello(extensions), vec![0x80 | 9, 1, 0]].concat()
    });

    assert_eq!(reason, Reason::UnknownCritical);
}

#[test]
fn a_hello_without_a_network() {
    let reason = refused_hello_bytes(|peer| peer.encode_hello(Extensions::default()));

    assert_eq!(reason, Reason::Network);
}

#[test]
fn a_hello_that_is_cut_short() {
    let reason = refused_hello_bytes(|peer| peer.encode_hello(Extensions::default())[..28].to_vec());

    assert_eq!(reason, Reason::Malformed);
}

#[test]
fn an_initiator_with_the_responders_own_identity() {
    let seed = Seed::of(1);
    let mut subject = Subject::accepting(&seed);
    let mut peer = Scripted::with_identity(&seed, &subject.identity);
    subject.hear(&peer.first());
    let third = peer.third(&subject.say());

    subject.hear(&third);

    assert_eq!(peer.id, subject.identity.id());
    assert_eq!(rejection(&mut subject, &mut peer), Reason::OwnId);
}

fn refused_hello(lie: impl FnOnce(&mut Scripted)) -> Reason {
    refused_hello_bytes(|peer| {
        lie(peer);
        peer.encode_hello(Extensions { network: Some(peer.network), ..Extensions::default() })
    })
}

/// Has a responder hear `hello` in message 3, and gives the reason that it says back.
fn refused_hello_bytes(hello: impl FnOnce(&mut Scripted) -> Vec<u8>) -> Reason {
    let seed = Seed::of(1);
    let (mut subject, mut peer) = (Subject::accepting(&seed), Scripted::new(&seed));
    let hello = hello(&mut peer);
    subject.hear(&peer.first());
    let third = peer.third_with(&subject.say(), &hello);

    subject.hear(&third);

    rejection(&mut subject, &mut peer)
}

/// The reason in the only record that the subject writes; its own must be the same.
fn rejection(subject: &mut Subject, peer: &mut Scripted) -> Reason {
    let records = peer.hear_records(&subject.say());
    let [plaintext] = records.as_slice() else { panic!("{} records", records.len()) };
    let (_, body) = RecordHeader::decode(plaintext).expect("a record");
    let Ok(Control::Reject(refusal)) = Control::decode(body) else { panic!("not a reject") };
    let reason = refusal.reason().expect("a known reason");
    assert_eq!(subject.link.closed_for(), Some(reason));
    assert_eq!(subject.link.up, None);
    reason
}

/// The subject ended the session for `reason` and says so in its last record.
fn assert_cut_off(subject: &mut Subject, peer: &mut Scripted, reason: Reason) {
    assert_eq!(subject.link.dropped, [reason]);
    let records = peer.hear_records(&subject.say());
    let (_, body) = RecordHeader::decode(records.last().expect("a last record")).expect("a record");
    assert_eq!(Control::decode(body), Ok(Control::close(reason)));
    let (_, closed) = subject.link.closed.expect("it is closed");
    assert_eq!((closed.reason, closed.by_peer), (reason, false));
    subject.wait(Duration::from_secs(60));
    assert!(subject.say().is_empty(), "nothing follows the end");
}

/// A responder and the scripted peer that dialled it, both past the handshake and all first records.
fn established() -> (Subject, Scripted) {
    let seed = Seed::of(1);
    let (mut subject, mut peer) = (Subject::accepting(&seed), Scripted::new(&seed));
    let records = subject.hear_handshake(&mut peer);
    let (_, body) = RecordHeader::decode(&records[0]).expect("a record");
    assert_eq!(Control::decode(body), Ok(Control::Accept));
    (subject, peer)
}

fn message_header(kind: u16, sequence: u64) -> MessageHeader {
    MessageHeader { kind, sequence, ..MessageHeader::default() }
}

fn empty(header: RecordHeader) -> Vec<u8> {
    let mut plaintext = vec![0; header.encoded_len()];
    header.encode(&mut plaintext).expect("it fits");
    plaintext
}

fn messages(header: RecordHeader, payload: &[u8]) -> Vec<u8> {
    let mut body = vec![0; payload.len() + 50];
    let mut encoder = Encoder::new(&mut body, None);
    assert!(encoder.push(&message_header(0x1000, 1), payload, Place::Inner));
    let len = encoder.written();
    [&empty(header)[..], &body[..len]].concat()
}

fn control(control: Control) -> Vec<u8> {
    let mut body = [0; Control::MAX_LEN];
    let len = control.encode(&mut body).expect("it fits");
    let header = RecordHeader { body: Body::Control, ..Default::default() };
    [&empty(header)[..], &body[..len]].concat()
}
