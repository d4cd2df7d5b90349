//! The keys of a session are replaced again and again, in each direction by its sender, and nobody notices.

use hyphal_core::{
    time::Duration,
    wire::{reason::Reason, record::RecordHeader},
};
use hyphal_lab::{
    drive::Drive,
    link::header,
    network::{Segments, Side},
    pair::{Pair, Setup},
    scripted::Scripted,
    seed::Seed,
    subject::Subject,
};

const REKEY: u8 = 1 << 6;
const PING: u8 = 1 << 4;

#[test]
fn each_hour_by_a_sender_who_hears_answers() {
    let (mut subject, mut peer) = up(&Seed::of(1));

    // The session itself ends after a day.
    for minutes in (5..23 * 60).step_by(5) {
        subject.wait(Duration::from_secs(300));
        answer(&mut subject, &mut peer);
        assert_eq!(peer.rekeys_heard(), minutes / 60, "after {minutes} minutes");
    }

    subject.send(header(1), b"still understood");
    let records = peer.hear_records(&subject.say());
    assert!(records.last().expect("a record").ends_with(b"still understood"));
}

#[test]
fn never_by_a_sender_who_cannot_know_that_the_key_in_use_arrived() {
    let (mut subject, mut peer) = up(&Seed::of(2));

    for _ in 0..40 {
        subject.wait(Duration::from_secs(300));
        // Alive, but answering nothing.
        subject.hear(&peer.record(&[0, 0, 0]));
        peer.hear_records(&subject.say());
    }

    assert!(subject.link.session.is_up());
    // The ping under the first key was answered, none under the second.
    assert_eq!(peer.rekeys_heard(), 1);
}

#[test]
fn as_often_as_the_peer_likes_with_any_record() {
    let (mut subject, mut peer) = up(&Seed::of(3));

    for sequence in 0..100_u8 {
        subject.hear(&peer.record(&[REKEY, 0, 0, 0x31, 0x80, 0x20, sequence, sequence]));
        subject.hear(&peer.record(&[REKEY | PING, 0, 0, sequence]));
        subject.hear(&peer.record(&[0, 0, 0]));
    }

    assert!(subject.link.session.is_up());
    let payloads: Vec<&[u8]> = subject.delivered.iter().map(|message| &message.payload[..]).collect();
    assert_eq!(payloads, (0..100_u8).map(|sequence| vec![sequence]).collect::<Vec<_>>());
}

#[test]
fn not_because_somebody_on_the_way_flips_the_bit() {
    let (mut subject, mut peer) = up(&Seed::of(4));
    let mut record = peer.record(&[0, 0, 0]);
    // Behind the length field, the first byte under the seal is the kind.
    record[1] ^= REKEY;

    subject.hear(&record);

    assert_eq!(subject.link.dropped, [Reason::Forged]);
    assert!(!subject.link.session.is_up());
}

#[test]
fn between_two_sessions_that_talk_all_day() {
    for seed in Seed::series(4) {
        let mut setup = Setup::new(&seed);
        for end in &mut setup.ends {
            end.config.heartbeat = Duration::from_secs(300);
        }
        setup.conditions.delay = Duration::from_millis(20);
        setup.conditions.segments = Segments::Random(50);
        let mut pair = Pair::up_with(&seed, setup);

        for sequence in 0..22 * 12 {
            for side in Side::BOTH {
                pair.send(side, header(sequence), &sequence.to_be_bytes()).expect("there is room");
            }
            pair.drive_for(Duration::from_secs(300));
        }

        for side in Side::BOTH {
            let end = pair.end(side);
            assert!(end.link.session.is_up());
            assert!(end.outbox.is_idle());
            let expected: Vec<[u8; 8]> = (0..22 * 12_u64).map(u64::to_be_bytes).collect();
            assert_eq!(end.payloads(), expected);
        }
    }
}

/// A responder under examination and a peer with rare heartbeats that has heard its first records.
fn up(seed: &Seed) -> (Subject, Scripted) {
    let mut subject = Subject::accepting(seed);
    let mut peer = Scripted::new(seed);
    peer.hello.heartbeat = Duration::from_secs(600);
    subject.hear(&peer.first());
    let third = peer.third(&subject.say());
    subject.hear(&third);
    answer(&mut subject, &mut peer);
    (subject, peer)
}

/// Hears what the subject has to say and answers its pings.
fn answer(subject: &mut Subject, peer: &mut Scripted) {
    for plaintext in peer.hear_records(&subject.say()) {
        let (header, _) = RecordHeader::decode(&plaintext).expect("a record");
        if let Some(token) = header.ping {
            subject.hear(&peer.record(&[1 << 5, 0, 0, token]));
        }
    }
}
