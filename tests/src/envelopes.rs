//! Envelopes as nodes of the lab close and open them: sealed, signed, both, or neither.
//!
//! What a receiver does, in the order of section 16 of the protocol, with the core's own parts. It keeps what a runtime keeps
//! beside them: the ids that it has seen.

use std::collections::BTreeMap;

use hyphal_core::{
    aead::ChaChaPoly,
    full::{Carrier, SeenIds},
    identity::{self, Identity},
    ids::{MessageId, NodeId, Priority},
    noise::{KeyPair, Secret},
    outbox::Header,
    seal::Binding,
    sign::SignedBytes,
    time::UnixTime,
    wire::{
        envelope::{Envelope, EnvelopeHeader},
        hello::NetworkTag,
        reason::Reason,
        seal::{Form, HEAD_LEN, PLAINTEXT_AT, sealed_len},
    },
};

use crate::{
    link::{Delivered, reliable},
    seed::Chance,
};

/// What a node puts into an envelope, and how it closes it.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// Whom it is for.
    pub target: NodeId,
    /// The id's epoch, which is the boot id of the source, and its sequence.
    pub id: MessageId,
    /// For which network it is sealed and signed.
    pub network: NetworkTag,
    /// The message type.
    pub kind: u16,
    /// What the application writes.
    pub payload: &'a [u8],
    /// Whether it is sealed to the target.
    pub seal: bool,
    /// Whether its source signs it.
    pub sign: bool,
}

impl<'a> Draft<'a> {
    /// An ordinary one of the lab's network.
    pub fn new(target: NodeId, id: MessageId, payload: &'a [u8]) -> Self {
        let network = NetworkTag::of("lab");
        Self { target, id, network, kind: 0x1000, payload, seal: false, sign: false }
    }

    /// The envelope that `source` makes of it.
    ///
    /// # Panics
    /// If there is no such envelope, as to a target that is no node.
    pub fn close(&self, source: &Identity, chance: &mut Chance) -> Vec<u8> {
        let header = self.header(source.id());
        let mut bytes = vec![0; header.encoded_len()];
        header.encode(&mut bytes).expect("a header that is as it should be");
        if self.seal {
            let pair = key_pair(source);
            let theirs = identity::static_of_id(&self.target).expect("the target is a node");
            let binding = Binding { network: self.network, header: &header, ours: &pair, theirs: &theirs };
            let mut sealed = vec![0; header.payload_len as usize];
            binding
                .seal::<ChaChaPoly>(self.kind, self.payload, chance.generator(), &mut sealed)
                .expect("the header says how long the seal is");
            bytes.extend(sealed);
        } else {
            bytes.extend(self.payload);
        }
        if self.sign {
            let mut hash = SignedBytes::new(self.network);
            hash.update(&bytes);
            bytes.extend(hash.sign(source).expect("its own key"));
        }
        bytes
    }

    fn header(&self, source: NodeId) -> EnvelopeHeader {
        let Header { priority, ttl, .. } = carrier(0);
        let plain_len = u32::try_from(self.payload.len()).expect("a short payload");
        EnvelopeHeader {
            message_id: self.id,
            source_node_id: source,
            target_node_id: Some(self.target),
            timestamp: UnixTime::from_micros(1_800_000_000_000_000),
            ttl,
            priority,
            is_encrypted: self.seal,
            is_signed: self.sign,
            message_type: if self.seal { 0 } else { self.kind },
            payload_len: if self.seal { sealed_len(plain_len).expect("a short payload") } else { plain_len },
        }
    }
}

/// The header of the message that carries an envelope.
pub fn carrier(sequence: u64) -> Header {
    Header { kind: 0, full: true, priority: Priority::Medium, ..reliable(sequence) }
}

/// What was in an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The message type.
    pub kind: u16,
    /// What the application at the other end wrote.
    pub payload: Vec<u8>,
}

/// A node that opens envelopes.
pub struct Opener<'i> {
    identity: &'i Identity,
    seen: BTreeMap<NodeId, SeenIds<1024>>,
}

impl<'i> Opener<'i> {
    /// A node that has seen none.
    pub const fn new(identity: &'i Identity) -> Self {
        Self { identity, seen: BTreeMap::new() }
    }

    /// Opens the envelope that came in a message from `peer`.
    ///
    /// # Errors
    /// Why the message is dropped.
    pub fn open(&mut self, peer: NodeId, message: &Delivered) -> Result<Opened, Reason> {
        assert!(message.full, "only envelopes are opened");
        let bytes = &message.payload;
        let envelope = Envelope::decode(bytes).map_err(|_| Reason::BadEnvelope)?;
        let header = envelope.header().ok_or(Reason::BadEnvelope)?;
        let carrier = Carrier {
            priority: message.priority,
            broadcast: message.broadcast,
            ttl: message.ttl,
            peer,
            own: self.identity.id(),
            epoch: message.id.epoch,
            number: None,
            len: bytes.len() as u64,
        };
        carrier.check(&header)?;
        let seen = self.seen.entry(peer).or_default();
        if seen.has(header.message_id) {
            return Err(Reason::Duplicate);
        }
        if let Some(signature) = envelope.signature {
            let mut hash = SignedBytes::new(NetworkTag::of("lab"));
            hash.update(&bytes[..envelope.signed_len()]);
            hash.verify(&peer, signature)?;
        }
        let opened = match header.is_encrypted {
            true => unseal(self.identity, peer, &header, envelope.payload)?,
            false => Opened { kind: header.message_type, payload: envelope.payload.to_vec() },
        };
        seen.insert(header.message_id);
        Ok(opened)
    }
}

fn unseal(
    identity: &Identity,
    peer: NodeId,
    header: &EnvelopeHeader,
    sealed: &[u8],
) -> Result<Opened, Reason> {
    let pair = key_pair(identity);
    let theirs = identity::static_of_id(&peer).map_err(|_| Reason::BadSeal)?;
    let binding = Binding { network: NetworkTag::of("lab"), header, ours: &pair, theirs: &theirs };
    let (form, plain_len) = binding.form()?;
    let mut sealed = sealed.to_vec();
    let kind = binding.open::<ChaChaPoly>(&mut sealed)?.kind;
    let start = if form == Form::Whole { PLAINTEXT_AT } else { HEAD_LEN };
    Ok(Opened { kind, payload: sealed[start..start + plain_len as usize].to_vec() })
}

fn key_pair(identity: &Identity) -> KeyPair {
    KeyPair::from_parts(Secret::from_bytes(*identity.static_secret()), *identity.static_public())
}
