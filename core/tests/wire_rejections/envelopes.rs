//! Full envelopes.

use super::*;

#[test]
fn an_envelope_of_another_version_is_refused_as_such() {
    for version in [0, 2, 255] {
        assert_eq!(Envelope::decode(&with(0, version)), Err(Reason::Version));
    }
}

#[test]
fn an_envelope_with_a_reserved_flag_is_malformed() {
    for bit in 5..8 {
        assert_eq!(Envelope::decode(&with(1, 1 | 1 << bit)), Err(Reason::Malformed));
    }
}

#[test]
fn an_encrypted_broadcast_is_malformed_and_not_written() {
    let broadcast = Envelope { target_node_id: None, ..envelope() };
    let mut bytes = vec![0; broadcast.encoded_len()];
    broadcast.encode(&mut bytes).unwrap();
    bytes[1] |= 1 << 3;

    assert_eq!(Envelope::decode(&bytes), Err(Reason::Malformed));
    assert_eq!(Envelope { is_encrypted: true, ..broadcast }.encode(&mut bytes), None);
}

#[test]
fn an_encrypted_envelope_with_a_type_that_can_be_read_is_malformed_and_not_written() {
    let mut bytes = with(1, 1 | 1 << 3);

    assert_eq!(Envelope::decode(&bytes), Err(Reason::Malformed));
    assert_eq!(EnvelopeHeader::decode(&bytes), Err(Reason::Malformed));
    assert_eq!(Envelope { is_encrypted: true, ..envelope() }.encode(&mut bytes), None);
}

#[test]
fn a_header_of_another_version_is_refused_with_its_first_bytes() {
    assert_eq!(EnvelopeHeader::decode(&[1]), Ok(None));
    assert_eq!(EnvelopeHeader::decode(&[2]), Err(Reason::Version));
    assert_eq!(EnvelopeHeader::decode(&[2, 0, 0]), Err(Reason::Version));
}

#[test]
fn an_envelope_that_is_cut_short_anywhere_is_malformed() {
    let envelope = Envelope { signature: Some(&[9; 64]), ..envelope() };
    let mut bytes = vec![0; envelope.encoded_len()];
    envelope.encode(&mut bytes).unwrap();

    for cut in 0..bytes.len() {
        assert_eq!(Envelope::decode(&bytes[..cut]), Err(Reason::Malformed), "{cut} bytes");
    }
}

#[test]
fn anything_after_an_envelope_is_malformed() {
    let mut bytes = bytes();
    bytes.push(0);

    assert_eq!(Envelope::decode(&bytes), Err(Reason::Malformed));
}

#[test]
fn a_payload_beyond_the_envelope_is_malformed() {
    let mut bytes = bytes();
    let at = bytes.len() - envelope().payload.len() - 4;
    bytes[at..][..4].copy_from_slice(&[0xFF; 4]);

    assert_eq!(Envelope::decode(&bytes), Err(Reason::Malformed));
}

#[test]
fn an_envelope_does_not_fit_a_shorter_buffer() {
    for room in 0..envelope().encoded_len() {
        assert_eq!(envelope().encode(&mut vec![0; room]), None);
    }
}

fn bytes() -> Vec<u8> {
    let mut bytes = vec![0; envelope().encoded_len()];
    envelope().encode(&mut bytes).unwrap();
    bytes
}

fn with(offset: usize, byte: u8) -> Vec<u8> {
    let mut bytes = bytes();
    bytes[offset] = byte;
    bytes
}

fn envelope() -> Envelope<'static> {
    Envelope {
        message_id: MessageId { epoch: 1, sequence: 2 },
        source_node_id: NodeId::from_bytes([3; 32]),
        target_node_id: Some(NodeId::from_bytes([4; 32])),
        timestamp: UnixTime::from_micros(5),
        ttl: 60,
        priority: Priority::Medium,
        is_encrypted: false,
        payload: b"hi",
        signature: None,
        message_type: 0x1000,
    }
}
