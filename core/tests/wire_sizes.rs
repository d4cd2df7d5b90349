//! What the design promises of bytes on the wire (DESIGN, section 7: "8 + tag for one message, 3 in a batch").

use std::time::Duration;

use hyphal_core::{
    aead::TAG_LEN,
    ids::NodeType,
    time::{TimeQuality, UnixTime},
    wire::{
        control::Control,
        hello::{Extensions, Hello, NetworkTag, Versions},
        message::{Encoder, MessageHeader, Place},
        record::{self, RecordHeader},
    },
};

#[test]
fn one_small_message_of_any_type_takes_at_most_eight_bytes_beside_payload_and_tag() {
    for kind in [0, 0x007F, 0x0100, 0x1000, 0x3FFF, 0x4000, 0xFFFF] {
        let header = MessageHeader { kind, sequence: 1_000_000, ..small() };
        let mut body = [0; 256];
        let mut encoder = Encoder::new(&mut body, Some(999_999));

        assert!(encoder.push(&header, &[0; 64], Place::Last));

        let sealed_len = RecordHeader::default().encoded_len() + encoder.written() + TAG_LEN;
        let overhead = record::length_len(sealed_len) + sealed_len - 64 - TAG_LEN;
        assert!(overhead <= 8, "type {kind:#06x}: {overhead} bytes");
    }
}

#[test]
fn a_message_that_is_not_alone_in_its_record_takes_at_most_three_bytes_more_than_its_payload() {
    let mut body = [0; 16 * 1024];
    let mut encoder = Encoder::new(&mut body, Some(0));
    assert!(encoder.push(&MessageHeader { kind: 0x1000, sequence: 1, ..small() }, &[7; 64], Place::Inner));

    for (sequence, payload_len) in (2..200).zip([0, 1, 64, 127].into_iter().cycle()) {
        let before = encoder.written();
        assert!(encoder.push(
            &MessageHeader { kind: 0x1000, sequence, ..small() },
            &[7; 127][..payload_len],
            Place::Inner
        ));
        assert!(encoder.written() - before <= payload_len + 3);
    }
}

#[test]
fn a_record_of_sixteen_kibibytes_holds_240_messages_of_64_bytes() {
    let mut body = [0; 16 * 1024 - RecordHeader::MAX_LEN - TAG_LEN];
    let mut encoder = Encoder::new(&mut body, Some(0));

    for sequence in 1..=240 {
        assert!(encoder.push(&MessageHeader { sequence, ..small() }, &[7; 64], Place::Inner));
    }

    assert_eq!(encoder.count(), 240);
}

#[test]
fn a_hello_takes_29_bytes_and_its_network_tag_10() {
    let bare = Extensions::default();
    let tagged = Extensions { network: Some(NetworkTag::of("garden")), ..bare };
    let mut out = [0; 64];

    assert_eq!(hello().encode(&bare, &mut out), Some(29));
    assert_eq!(hello().encode(&tagged, &mut out), Some(29 + 10));
}

#[test]
fn an_accept_takes_one_byte() {
    assert_eq!(Control::Accept.encode(&mut [0; 1]), Some(1));
}

fn small() -> MessageHeader {
    MessageHeader { kind: 7, ..MessageHeader::default() }
}

fn hello() -> Hello {
    Hello {
        versions: Versions::SUPPORTED,
        node_type: NodeType::Sclerotia,
        capabilities: 0,
        max_message: 1 << 20,
        max_record: 16 * 1024,
        heartbeat: Duration::from_secs(5),
        boot_id: 1,
        time: UnixTime::from_micros(1),
        quality: TimeQuality::Synced,
    }
}
