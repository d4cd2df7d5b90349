//! A peer with true keys that breaks the rules of parts or of credit ends its session, and makes nobody hold more.

use hyphal_core::{
    ids::Priority,
    time::Duration,
    wire::{
        control::Control,
        message::{Encoder, MessageHeader, Part, Place},
        reason::Reason,
        record::RecordHeader,
    },
};
use hyphal_lab::{link::header, scripted::Scripted, seed::Seed, subject::Subject};

#[test]
fn parts_that_overlap_leave_a_gap_or_belong_to_nothing() {
    for offset in [0, 1, 99, 101, 200] {
        let (mut subject, mut peer) = established();
        subject.hear(&peer.record(&pieces(&[(part(1, 1000, 0), 100)])));
        assert!(subject.link.session.is_up());

        subject.hear(&peer.record(&pieces(&[(part(1, 1000, offset), 100)])));

        assert_cut_off(&mut subject, &mut peer, Reason::Violation);
    }
}

#[test]
fn parts_that_contradict_the_first() {
    let next = part(1, 1000, 100);
    let others = [
        part(1, 1001, 100),
        part(2, 1000, 100),
        MessageHeader { kind: 9, ..next },
        MessageHeader { ttl: 9, ..next },
        MessageHeader { broadcast: true, ..next },
        MessageHeader { priority: Priority::Low, ..next },
    ];
    for other in others {
        let (mut subject, mut peer) = established();
        subject.hear(&peer.record(&pieces(&[(part(1, 1000, 0), 100)])));

        subject.hear(&peer.record(&pieces(&[(other, 100)])));

        assert_cut_off(&mut subject, &mut peer, Reason::Violation);
    }
}

#[test]
fn another_message_between_two_parts_of_the_same_priority() {
    let (mut subject, mut peer) = established();
    subject.hear(&peer.record(&pieces(&[(part(1, 1000, 0), 100)])));

    subject.hear(&peer.record(&pieces(&[(MessageHeader { part: None, ..part(2, 1, 0) }, 5)])));

    assert_cut_off(&mut subject, &mut peer, Reason::Violation);
    assert!(subject.delivered.iter().all(|message| message.part.is_some()));
}

#[test]
fn a_part_after_an_abandonment() {
    let (mut subject, mut peer) = established();
    subject.hear(&peer.record(&pieces(&[(part(1, 1000, 0), 100), (part(1, 1000, 1000), 0)])));
    assert!(subject.link.session.is_up());

    subject.hear(&peer.record(&pieces(&[(part(1, 1000, 100), 100)])));

    assert_cut_off(&mut subject, &mut peer, Reason::Violation);
}

#[test]
fn a_total_beyond_what_the_receiver_takes_ends_the_session_with_the_first_byte() {
    let (mut subject, mut peer) = established();

    subject.hear(&peer.record(&pieces(&[(part(1, 16_001, 0), 1)])));

    assert_cut_off(&mut subject, &mut peer, Reason::TooLong);
    assert!(subject.delivered.is_empty());
}

#[test]
fn a_flood_of_beginnings_has_no_more_than_four_unfinished_messages() {
    let (mut subject, mut peer) = established();
    for (sequence, priority) in (1..).zip(Priority::ALL) {
        subject.hear(&peer.record(&pieces(&[(MessageHeader { priority, ..part(sequence, 1000, 0) }, 1)])));
        assert!(subject.link.session.is_up());
    }

    subject.hear(&peer.record(&pieces(&[(part(9, 1000, 0), 1)])));

    assert_cut_off(&mut subject, &mut peer, Reason::Violation);
}

#[test]
fn parts_of_a_byte_each_are_counted_as_more_than_a_byte() {
    let (mut subject, mut peer) = established_with_a_slow_application();
    let mut heard = 0;

    for offset in 0..16_000 {
        subject.hear(&peer.record(&pieces(&[(part(1, 16_000, offset), 1)])));
        if !subject.link.session.is_up() {
            break;
        }
        heard += 1;
    }

    assert_cut_off(&mut subject, &mut peer, Reason::Violation);
    assert_eq!(heard, 32_768 / 64);
}

#[test]
fn more_than_the_credit_that_was_given() {
    let (mut subject, mut peer) = established_with_a_slow_application();
    let mut heard = 0;

    for sequence in 0..100 {
        let plain = MessageHeader { part: None, ..part(sequence, 1, 0) };
        let record = pieces(&[(plain, 1000)]);
        let body_len = record.len() - RecordHeader::default().encoded_len();
        subject.hear(&peer.record(&record));
        if !subject.link.session.is_up() {
            break;
        }
        heard += body_len;
    }

    assert_cut_off(&mut subject, &mut peer, Reason::Violation);
    assert!(heard <= 32_768, "{heard}");
}

#[test]
fn credit_that_goes_backwards_takes_nothing_back() {
    let (mut subject, mut peer) = established();
    for total in [1 << 20, 0, 5, u64::MAX, 1] {
        subject.hear(&peer.record(&empty(RecordHeader { credit: Some(total), ..RecordHeader::default() })));
    }

    for sequence in 0..100 {
        subject.send(header(sequence), &[0; 1000]);
    }
    peer.hear_records(&subject.say());

    assert!(subject.link.session.is_up());
    assert_eq!(subject.outbox.queued(), 0);
}

#[test]
fn a_peer_that_gives_no_credit_gets_one_record_and_heartbeats() {
    let (mut subject, mut peer) = established();
    for sequence in 0..100 {
        subject.send(header(sequence), &[0; 1000]);
    }

    let said = peer.hear_records(&subject.say());

    assert!(subject.outbox.queued() > 80, "{} wait", subject.outbox.queued());
    let bodies = said.iter().map(|record| RecordHeader::decode(record).expect("a record").1.len());
    assert!(bodies.sum::<usize>() <= usize::from(peer.hello.max_record));
    subject.wait(Duration::from_secs(1));
    assert!(!subject.say().is_empty(), "heartbeats need no credit");
}

/// The session has ended for this reason and told it to the peer.
fn assert_cut_off(subject: &mut Subject, peer: &mut Scripted, reason: Reason) {
    let records = peer.hear_records(&subject.say());
    let (_, body) = RecordHeader::decode(records.last().expect("a close")).expect("a record");
    assert_eq!(Control::decode(body), Ok(Control::close(reason)));
    assert_eq!(subject.link.closed_for(), Some(reason));
}

/// A responder and the scripted peer that dialled it.
fn established() -> (Subject, Scripted) {
    let seed = Seed::of(1);
    dial(Subject::accepting(&seed), &seed)
}

/// The same with a responder whose application is never done, and a window of 32 KiB.
fn established_with_a_slow_application() -> (Subject, Scripted) {
    let seed = Seed::of(1);
    dial(Subject::accepting_slowly(&seed, 32_768), &seed)
}

fn dial(mut subject: Subject, seed: &Seed) -> (Subject, Scripted) {
    let mut peer = Scripted::new(seed);
    subject.hear_handshake(&mut peer);
    (subject, peer)
}

/// The header of `len` bytes at `offset` of a message of `total`.
fn part(sequence: u64, total: u32, offset: u32) -> MessageHeader {
    MessageHeader { kind: 0x1000, sequence, part: Some(Part { total, offset }), ..MessageHeader::default() }
}

/// The plaintext of a record with these messages.
fn pieces(messages: &[(MessageHeader, usize)]) -> Vec<u8> {
    let mut body = vec![0; 8192];
    // Whatever was said before, every sequence is said anew.
    let mut encoder = Encoder::new(&mut body, None);
    for (header, len) in messages {
        assert!(encoder.push(header, &vec![7; *len], Place::Inner));
    }
    let len = encoder.written();
    [&empty(RecordHeader::default())[..], &body[..len]].concat()
}

fn empty(header: RecordHeader) -> Vec<u8> {
    let mut plaintext = vec![0; header.encoded_len()];
    header.encode(&mut plaintext).expect("it fits");
    plaintext
}
