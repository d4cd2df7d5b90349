//! Envelopes that have come: checked, verified and opened, whole or while they arrive.
//!
//! ```text
//!   whole ─▶ header ─▶ signature ─▶ seal ─▶ message, with the envelope as evidence if it was signed
//!   parts ─▶ header ─▶ seal's head ─▶ chunk ─▶ chunk ─▶ ... ─▶ signature ─▶ last chunk
//! ```
//!
//! Invariant: nothing of a sealed payload is given on that its source has not sealed, at its place in this envelope; and the
//! last bytes of a signed one only when its signature has verified.

use bytes::{Bytes, BytesMut};
use hyphal_core::full::Carrier;
use hyphal_core::ids::MessageId;
use hyphal_core::seal::{Binding, Opening};
use hyphal_core::sign::{self, SignedBytes};
use hyphal_core::wire::envelope::{Envelope, EnvelopeHeader, SIGNATURE_LEN};
use hyphal_core::wire::family::Family;
use hyphal_core::wire::reason::Reason;
use hyphal_core::wire::revocation::REVOCATIONS;
use hyphal_core::wire::seal::{CHUNK_LEN, Form, HEAD_LEN, PLAINTEXT_AT};

use crate::assembly::Piece;
use crate::cipher::RingCipher;
use crate::hub::Hub;
use crate::message::Entry;
use crate::options::UnknownTypes;
use crate::peer::Peer;

/// Verifies that the source of an envelope signed it for the network of this name, and gives what it says.
///
/// For the evidence that [`Message::envelope`](crate::Message::envelope) gives, whenever and wherever it is looked at. Of a sealed
/// one the payload stays sealed: that its source sealed something for its target is what the signature says.
///
/// # Errors
/// [`Reason::BadSignature`] if it is not signed, by another key, over other bytes or for another network;
/// [`Reason::Malformed`] or [`Reason::Version`] if the bytes are no envelope.
pub fn verify_signed<'e>(network: &str, envelope: &'e [u8]) -> Result<Envelope<'e>, Reason> {
    sign::verify_envelope(hyphal_core::wire::hello::NetworkTag::of(network), envelope)
}

/// A message that was taken out of its envelope.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) id: MessageId,
    pub(crate) kind: u16,
    pub(crate) payload: Bytes,
    pub(crate) is_encrypted: bool,
    /// The envelope, if it was signed.
    pub(crate) evidence: Option<Bytes>,
}

/// Opens a whole envelope, which came in a message that said `entry`.
pub(crate) fn open(hub: &Hub, peer: &Peer, entry: &Entry, bytes: Bytes) -> Result<Opened, Reason> {
    match try_open(hub, peer, entry, bytes) {
        Ok(opened) => {
            note_opened(hub, peer, opened.is_encrypted, opened.evidence.is_some());
            Ok(opened)
        }
        Err(reason) => Err(note_refused(hub, peer, reason)),
    }
}

/// Takes note of an envelope of which all was taken, for the node and for the peer.
pub(crate) fn note_opened(hub: &Hub, peer: &Peer, is_encrypted: bool, is_signed: bool) {
    peer.tally.envelopes.open(is_encrypted, is_signed);
    hub.tally.traffic.envelopes.open(is_encrypted, is_signed);
}

/// Takes note of an envelope that is not taken, and why; gives the reason on.
pub(crate) fn note_refused(hub: &Hub, peer: &Peer, reason: Reason) -> Reason {
    peer.tally.envelopes.refuse(reason);
    hub.tally.traffic.envelopes.refuse(reason);
    reason
}

fn try_open(hub: &Hub, peer: &Peer, entry: &Entry, bytes: Bytes) -> Result<Opened, Reason> {
    let envelope = Envelope::decode(&bytes).map_err(|_| Reason::BadEnvelope)?;
    let header = envelope.header().ok_or(Reason::BadEnvelope)?;
    check(hub, peer, entry, &header, bytes.len() as u64)?;
    let evidence = header.is_signed.then(|| bytes.clone());
    if let Some(signature) = envelope.signature {
        let mut hash = SignedBytes::new(hub.plan.session.network);
        hash.update(&bytes[..envelope.signed_len()]);
        hash.verify(&header.source_node_id, signature)?;
    }
    let header_len = header.encoded_len();
    let (kind, payload) = match header.is_encrypted {
        true => unseal(hub, peer, &header, bytes)?,
        false => (header.message_type, bytes.slice(header_len..header_len + header.payload_len as usize)),
    };
    check_kind(hub, kind)?;
    // A Guaranteed one may come again until it is committed; its lane sees to the rest.
    if !entry.guaranteed && !peer.arrivals().envelopes().insert(header.message_id) {
        return Err(Reason::Duplicate);
    }
    Ok(Opened { id: header.message_id, kind, payload, is_encrypted: header.is_encrypted, evidence })
}

/// Opens the seal in place if nobody else holds the bytes, else in a copy.
fn unseal(hub: &Hub, peer: &Peer, header: &EnvelopeHeader, bytes: Bytes) -> Result<(u16, Bytes), Reason> {
    let theirs = peer.static_key().ok_or(Reason::BadSeal)?;
    let binding =
        Binding { network: hub.plan.session.network, header, ours: &hub.static_pair, theirs: &theirs };
    let (form, plain_len) = binding.form()?;
    let mut bytes = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&*shared));
    let start = header.encoded_len();
    let payload = bytes.get_mut(start..start + header.payload_len as usize).ok_or(Reason::BadSeal)?;
    let kind = binding.open::<RingCipher>(payload)?.kind;
    let start = start + if form == Form::Whole { PLAINTEXT_AT } else { HEAD_LEN };
    Ok((kind, bytes.freeze().slice(start..start + plain_len as usize)))
}

/// Whether the envelope may come this way, and for the first time.
fn check(hub: &Hub, peer: &Peer, entry: &Entry, header: &EnvelopeHeader, len: u64) -> Result<(), Reason> {
    let carrier = Carrier {
        priority: entry.priority,
        broadcast: entry.broadcast,
        ttl: entry.ttl,
        peer: peer.id,
        own: hub.plan.identity.id(),
        epoch: entry.id.epoch,
        number: entry.guaranteed.then_some(entry.id.sequence),
        len,
    };
    carrier.check(header)?;
    let is_known = !entry.guaranteed && peer.arrivals().envelopes().has(header.message_id);
    if is_known { Err(Reason::Duplicate) } else { Ok(()) }
}

fn check_kind(hub: &Hub, kind: u16) -> Result<(), Reason> {
    let is_refused = match Family::of(kind) {
        None => hub.plan.unknown_types == UnknownTypes::Refuse,
        // What nodes say among themselves they do not seal.
        Some(family) => family == Family::Delivery || kind == REVOCATIONS,
    };
    if is_refused { Err(Reason::UnknownType) } else { Ok(()) }
}

/// Whether an envelope that begins so needs memory for its payload and for itself: the evidence stays sealed.
pub(crate) fn is_kept_twice(bytes: &[u8]) -> bool {
    matches!(EnvelopeHeader::decode(bytes), Ok(Some((header, _))) if header.is_signed && header.is_encrypted)
}

/// What the first bytes of an envelope in parts say.
pub(crate) enum Beginning {
    /// More bytes are needed to tell.
    Incomplete,
    /// It is taken only as a whole: what is in it is no longer than what comes in one piece otherwise.
    Short,
    /// It can be opened while it arrives.
    Long(Box<Flow>),
}

/// A long envelope that is opened while it arrives.
pub(crate) struct Flow {
    header: EnvelopeHeader,
    pub(crate) kind: u16,
    /// Bytes of what was sealed or signed.
    pub(crate) plain_len: u32,
    hash: Option<SignedBytes>,
    body: Body,
    /// Bytes of the payload, as it travels, that have not come yet.
    payload_left: usize,
    signature: Vec<u8>,
    /// The last bytes, until the signature has verified.
    last: Option<Piece>,
    /// How many of the first bytes were looked at.
    pub(crate) begun_with: usize,
}

enum Body {
    Clear,
    Sealed { opening: Box<Opening<RingCipher>>, chunk: BytesMut },
}

impl Flow {
    /// Looks at the first bytes of an envelope of `total` bytes.
    pub(crate) fn begin(
        hub: &Hub,
        peer: &Peer,
        entry: &Entry,
        total: u32,
        bytes: &[u8],
    ) -> Result<Beginning, Reason> {
        Self::try_begin(hub, peer, entry, total, bytes).map_err(|reason| note_refused(hub, peer, reason))
    }

    /// The type of the message in an envelope of `total` bytes, if its first bytes tell.
    pub(crate) fn kind_of(hub: &Hub, peer: &Peer, entry: &Entry, total: u32, first: &[u8]) -> Option<u16> {
        match Self::try_begin(hub, peer, entry, total, first) {
            Ok(Beginning::Long(flow)) => Some(flow.kind),
            _ => None,
        }
    }

    fn try_begin(
        hub: &Hub,
        peer: &Peer,
        entry: &Entry,
        total: u32,
        bytes: &[u8],
    ) -> Result<Beginning, Reason> {
        let decoded = EnvelopeHeader::decode(bytes).map_err(|_| Reason::BadEnvelope)?;
        let Some((header, header_len)) = decoded else { return Ok(Beginning::Incomplete) };
        check(hub, peer, entry, &header, u64::from(total))?;
        let theirs = peer.static_key().ok_or(Reason::BadSeal)?;
        let binding = Binding {
            network: hub.plan.session.network,
            header: &header,
            ours: &hub.static_pair,
            theirs: &theirs,
        };
        let plain_len = if header.is_encrypted { binding.form()?.1 } else { header.payload_len };
        if plain_len as usize <= CHUNK_LEN {
            return Ok(Beginning::Short);
        }
        let head_len = header_len + if header.is_encrypted { HEAD_LEN } else { 0 };
        let Some(begun_with) = bytes.get(..head_len) else { return Ok(Beginning::Incomplete) };
        let (kind, body) = match begun_with[header_len..].first_chunk() {
            Some(head) if header.is_encrypted => {
                let (kind, opening) = binding.begin_open::<RingCipher>(&mut { *head })?;
                (kind, Body::Sealed { opening: Box::new(opening), chunk: BytesMut::new() })
            }
            _ => (header.message_type, Body::Clear),
        };
        check_kind(hub, kind)?;
        let mut hash = header.is_signed.then(|| SignedBytes::new(hub.plan.session.network));
        if let Some(hash) = &mut hash {
            hash.update(begun_with);
        }
        Ok(Beginning::Long(Box::new(Self {
            header,
            kind,
            plain_len,
            hash,
            body,
            payload_left: header.payload_len as usize - (head_len - header_len),
            signature: Vec::new(),
            last: None,
            begun_with: head_len,
        })))
    }

    pub(crate) fn id(&self) -> MessageId {
        self.header.message_id
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.header.is_encrypted
    }

    pub(crate) fn is_signed(&self) -> bool {
        self.header.is_signed
    }

    /// Takes the next bytes and gives on what is proven of them.
    pub(crate) fn push(&mut self, mut piece: Piece, mut give: impl FnMut(Piece)) -> Result<(), Reason> {
        let of_payload = piece.bytes.len().min(self.payload_left);
        self.signature.extend_from_slice(&piece.bytes[of_payload..]);
        piece.bytes.truncate(of_payload);
        if piece.bytes.is_empty() {
            return Ok(());
        }
        if let Some(hash) = &mut self.hash {
            hash.update(&piece.bytes);
        }
        self.payload_left -= of_payload;
        let Self { body, last, payload_left, .. } = self;
        match body {
            Body::Clear if *payload_left == 0 => *last = Some(piece),
            Body::Clear => give(piece),
            Body::Sealed { opening, chunk } => {
                let mut rest = &piece.bytes[..];
                while !rest.is_empty() {
                    let len = opening.next_len();
                    if len == 0 {
                        return Err(Reason::BadSeal);
                    }
                    let (now, later) = rest.split_at(rest.len().min(len.saturating_sub(chunk.len())));
                    if chunk.capacity() == 0 {
                        chunk.reserve(len);
                    }
                    chunk.extend_from_slice(now);
                    rest = later;
                    if chunk.len() < len {
                        break;
                    }
                    let plain_len = opening.open(chunk)?.len();
                    let mut plaintext = std::mem::take(chunk);
                    plaintext.truncate(plain_len);
                    let consumption = piece.consumption.clone();
                    let opened = Piece { bytes: plaintext.freeze(), consumption };
                    if opening.next_len() == 0 {
                        *last = Some(opened);
                    } else {
                        give(opened);
                    }
                }
            }
        }
        Ok(())
    }

    /// All bytes have come: gives the last of them if they are the source's.
    pub(crate) fn finish(self) -> Result<Piece, Reason> {
        let Self { header, hash, signature, last, .. } = self;
        if let Some(hash) = hash {
            let signature: &[u8; SIGNATURE_LEN] =
                signature.as_slice().try_into().map_err(|_| Reason::BadEnvelope)?;
            hash.verify(&header.source_node_id, signature)?;
        }
        last.ok_or(Reason::BadEnvelope)
    }
}
