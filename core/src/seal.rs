//! Sealing end to end (protocol section 16): the payload of an envelope, readable by its target alone.
//!
//! `Noise_K_25519_ChaChaPoly_SHA256` from the source's static to the target's, bound to the network and to the envelope's
//! whole header. Small plaintexts are sealed in one piece, larger ones in chunks that open one by one, so that neither
//! end holds more than one. It decides nothing about who the ends are: statics come in as arguments, so that a delegated
//! one can stand for a node's own. Who has the target's secret can also seal in anyone's name to it: see the document.

use core::fmt;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::aead::{Aead, TAG_LEN};
use crate::noise::{self, DH_LEN, HandshakeState, K, KeyPair, Keys, Misuse, NoiseError, Role, Secret};
use crate::wire::envelope::EnvelopeHeader;
use crate::wire::hello::NetworkTag;
use crate::wire::reason::Reason;
use crate::wire::seal::{self as layout, CHUNK_LEN, Form, HEAD_LEN, NOISE_AT, PLAINTEXT_AT, TYPE_LEN};

/// All that a seal is bound to: the network, the envelope around it, and the keys of both ends.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    /// The network of both ends.
    pub network: NetworkTag,
    /// The header of the envelope, complete: with the sealed payload's length, and whether a signature follows.
    pub header: &'a EnvelopeHeader,
    /// The static pair of this end: the source's to seal, the target's to open.
    pub ours: &'a KeyPair,
    /// The static key of the other end.
    pub theirs: &'a [u8; DH_LEN],
}

/// Why nothing was sealed. The content of the output is unspecified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// The target's key is none that a node has.
    BadKey,
    /// The header is not that of a sealed envelope with a target, or what was given has another length than it says.
    Mismatch,
}

/// What was sealed in an envelope.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened<'p> {
    /// The message type.
    pub kind: u16,
    /// The plaintext.
    pub plaintext: &'p mut [u8],
}

impl Binding<'_> {
    /// Seals `plaintext` of type `kind` into `payload`, which has exactly the length that the header says; see
    /// [`sealed_len`](layout::sealed_len).
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal<A: Aead>(
        &self,
        kind: u16,
        plaintext: &[u8],
        random: &mut impl CryptoRng,
        payload: &mut [u8],
    ) -> Result<(), SealError> {
        if payload.len() != self.header.payload_len as usize || plaintext.len() != self.plain_len()? as usize
        {
            return Err(SealError::Mismatch);
        }
        if plaintext.len() <= CHUNK_LEN {
            payload[PLAINTEXT_AT..PLAINTEXT_AT + plaintext.len()].copy_from_slice(plaintext);
            return self.seal_in_place::<A>(kind, random, payload);
        }
        let (head, mut rest) = payload.split_first_chunk_mut().ok_or(SealError::Mismatch)?;
        let mut sealing = self.begin_seal::<A>(kind, random, head)?;
        for text in plaintext.chunks(CHUNK_LEN) {
            let chunk;
            (chunk, rest) = rest.split_at_mut(text.len() + TAG_LEN);
            chunk[..text.len()].copy_from_slice(text);
            sealing.seal(chunk)?;
        }
        Ok(())
    }

    /// Seals a plaintext of at most [`CHUNK_LEN`] bytes that stands in `payload` where its seal will have it: between the
    /// first [`PLAINTEXT_AT`] and the last [`TAG_LEN`] bytes.
    ///
    /// # Errors
    /// [`SealError`]; a header of a longer plaintext is a [`Mismatch`](SealError::Mismatch).
    pub fn seal_in_place<A: Aead>(
        &self,
        kind: u16,
        random: &mut impl CryptoRng,
        payload: &mut [u8],
    ) -> Result<(), SealError> {
        let plain_len = self.plain_len()? as usize;
        if plain_len > CHUNK_LEN || payload.len() != plain_len + HEAD_LEN {
            return Err(SealError::Mismatch);
        }
        self.write::<A>(Form::Whole, kind, plain_len, random, payload)?;
        Ok(())
    }

    /// Begins to seal a plaintext of more than [`CHUNK_LEN`] bytes: writes what goes before its chunks.
    ///
    /// # Errors
    /// [`SealError`]; a header of a shorter plaintext is a [`Mismatch`](SealError::Mismatch).
    pub fn begin_seal<A: Aead>(
        &self,
        kind: u16,
        random: &mut impl CryptoRng,
        head: &mut [u8; HEAD_LEN],
    ) -> Result<Sealing<A>, SealError> {
        let plain_len = self.plain_len()?;
        if Form::of(plain_len) != Form::Chunks {
            return Err(SealError::Mismatch);
        }
        let key = self.write::<A>(Form::Chunks, kind, 0, random, head)?;
        Ok(Sealing(Chunks { aead: A::new(key.as_bytes()), index: 0, plain_left: plain_len }))
    }

    /// Opens a whole sealed payload of either form in place.
    ///
    /// # Errors
    /// [`Reason::BadSeal`] for whatever is not exactly what the source sealed for this end in this envelope. What
    /// `payload` holds is spoilt.
    pub fn open<'p, A: Aead>(&self, payload: &'p mut [u8]) -> Result<Opened<'p>, Reason> {
        let (form, plain_len) = self.form()?;
        if payload.len() != self.header.payload_len as usize {
            return Err(Reason::BadSeal);
        }
        if form == Form::Whole {
            let (kind, _) = self.read::<A>(form, payload)?;
            let end = payload.len() - TAG_LEN;
            return Ok(Opened { kind, plaintext: &mut payload[PLAINTEXT_AT..end] });
        }
        let (head, chunks) = payload.split_first_chunk_mut().ok_or(Reason::BadSeal)?;
        let (kind, mut opening) = self.begin_open::<A>(head)?;
        let (mut from, mut to) = (0, 0);
        while let len @ 1.. = opening.next_len() {
            let chunk = chunks.get_mut(from..from + len).ok_or(Reason::BadSeal)?;
            let text_len = opening.open(chunk)?.len();
            chunks.copy_within(from..from + text_len, to);
            (from, to) = (from + len, to + text_len);
        }
        debug_assert_eq!(to, plain_len as usize, "the chunks of a payload are its plaintext");
        Ok(Opened { kind, plaintext: &mut chunks[..to] })
    }

    /// Opens what stands before the chunks of a large payload, in place, and says the message's type. The chunks follow.
    ///
    /// # Errors
    /// [`Reason::BadSeal`].
    pub fn begin_open<A: Aead>(&self, head: &mut [u8; HEAD_LEN]) -> Result<(u16, Opening<A>), Reason> {
        let (Form::Chunks, plain_len) = self.form()? else { return Err(Reason::BadSeal) };
        let (kind, key) = self.read::<A>(Form::Chunks, head)?;
        Ok((kind, Opening(Chunks { aead: A::new(key.as_bytes()), index: 0, plain_left: plain_len })))
    }

    /// The form of the payload, and how long its plaintext is; known before anything of it is.
    ///
    /// # Errors
    /// [`Reason::BadSeal`] if the header is not that of a sealed envelope.
    pub fn form(&self) -> Result<(Form, u32), Reason> {
        if !self.header.is_encrypted || self.header.target_node_id.is_none() {
            return Err(Reason::BadSeal);
        }
        layout::plain_len(self.header.payload_len)
    }

    fn plain_len(&self) -> Result<u32, SealError> {
        self.form().map(|(_, len)| len).map_err(|_| SealError::Mismatch)
    }

    /// Writes form, and the Noise message around the type and `plain_len` bytes that stand behind it.
    fn write<A: Aead>(
        &self,
        form: Form,
        kind: u16,
        plain_len: usize,
        random: &mut impl CryptoRng,
        out: &mut [u8],
    ) -> Result<Secret, SealError> {
        let mut prologue = [0; PROLOGUE_LEN];
        let prologue = self.prologue(&mut prologue).ok_or(SealError::Mismatch)?;
        let keys = Keys {
            s: Some(self.ours.clone()),
            e: Some(KeyPair::from_secret(self.ephemeral(prologue, random))),
            rs: Some(*self.theirs),
            psk: None,
        };
        let (head, message) = out.split_at_mut(NOISE_AT);
        head.fill(form.code());
        let place = message.get_mut(layout::TYPE_AT - NOISE_AT..).and_then(<[u8]>::first_chunk_mut);
        *place.ok_or(SealError::Mismatch)? = kind.to_be_bytes();
        let mut noise = HandshakeState::<A>::new(&K, Role::Initiator, prologue, keys)?;
        noise.write_message_around(TYPE_LEN + plain_len, message)?;
        Ok(noise.split()?.0)
    }

    /// Opens the Noise message behind the form, which fills `payload`, and says the type in it and the key for what follows.
    fn read<A: Aead>(&self, form: Form, payload: &mut [u8]) -> Result<(u16, Secret), Reason> {
        let mut prologue = [0; PROLOGUE_LEN];
        let prologue = self.prologue(&mut prologue).ok_or(Reason::BadSeal)?;
        let keys = Keys { s: Some(self.ours.clone()), e: None, rs: Some(*self.theirs), psk: None };
        let (code, message) = payload.split_first_mut().ok_or(Reason::BadSeal)?;
        if *code != form.code() {
            return Err(Reason::BadSeal);
        }
        let is_open = |_| Reason::BadSeal;
        let mut noise =
            HandshakeState::<A>::new(&K, Role::Responder, prologue, keys).map_err(|_| Reason::BadSeal)?;
        let plaintext = noise.read_message(message).map_err(is_open)?;
        let kind = plaintext.first_chunk().ok_or(Reason::BadSeal)?;
        let kind = u16::from_be_bytes(*kind);
        Ok((kind, noise.split().map_err(|_| Reason::BadSeal)?.0))
    }

    /// Label, network and the header in canonical form.
    fn prologue<'b>(&self, buf: &'b mut [u8; PROLOGUE_LEN]) -> Option<&'b [u8]> {
        let (label, rest) = buf.split_at_mut(LABEL.len());
        let (network, header) = rest.split_at_mut(NetworkTag::LEN);
        label.copy_from_slice(LABEL);
        network.copy_from_slice(self.network.as_bytes());
        let len = self.header.encode(header)?;
        Some(&buf[..LABEL.len() + NetworkTag::LEN + len])
    }

    /// An ephemeral secret that is fresh if the random source is, or else if the envelope's header is: a source that
    /// repeats does not alone repeat a key. Nobody without the static secret can compute it.
    fn ephemeral(&self, prologue: &[u8], random: &mut impl CryptoRng) -> Secret {
        let mut input = Zeroizing::new([0; EPHEMERAL_LABEL.len() + DH_LEN + PROLOGUE_LEN]);
        let (label, rest) = input.split_at_mut(EPHEMERAL_LABEL.len());
        let (drawn, rest) = rest.split_at_mut(DH_LEN);
        label.copy_from_slice(EPHEMERAL_LABEL);
        random.fill_bytes(drawn);
        rest[..prologue.len()].copy_from_slice(prologue);
        let len = EPHEMERAL_LABEL.len() + DH_LEN + prologue.len();
        noise::hkdf2(self.ours.secret().as_bytes(), &input[..len]).0
    }
}

/// Seals the chunks of a large payload, in order and each in place.
pub struct Sealing<A>(Chunks<A>);

impl<A: Aead> Sealing<A> {
    /// Plaintext bytes of the next chunk; 0 when all are sealed.
    pub fn next_len(&self) -> usize {
        self.0.next_plain_len()
    }

    /// Seals the next chunk: [`next_len`](Self::next_len) bytes of plaintext and room for a tag.
    ///
    /// # Errors
    /// [`SealError::Mismatch`] for another length, or behind the last chunk.
    pub fn seal(&mut self, chunk: &mut [u8]) -> Result<(), SealError> {
        let chunks = &mut self.0;
        let (len, next) = (chunks.next_plain_len(), chunks.index.checked_add(1));
        let (true, Some(next)) = (len > 0 && chunk.len() == len + TAG_LEN, next) else {
            return Err(SealError::Mismatch);
        };
        chunks.aead.seal(u64::from(chunks.index), &chunks.next_ad(), chunk);
        chunks.advance(len, next);
        Ok(())
    }
}

/// Opens the chunks of a large payload, in order and each in place: what one gives is proven to be the source's, at this
/// place of this message.
pub struct Opening<A>(Chunks<A>);

impl<A: Aead> Opening<A> {
    /// Bytes of the next chunk with its tag; 0 when all are open, and only then is the message whole.
    pub fn next_len(&self) -> usize {
        match self.0.next_plain_len() {
            0 => 0,
            len => len + TAG_LEN,
        }
    }

    /// Opens the next chunk, exactly [`next_len`](Self::next_len) bytes, and returns its plaintext.
    ///
    /// # Errors
    /// [`Reason::BadSeal`] for anything but the source's chunk at this place. Nothing has changed, but what `chunk` holds
    /// is spoilt.
    pub fn open<'c>(&mut self, chunk: &'c mut [u8]) -> Result<&'c mut [u8], Reason> {
        let chunks = &mut self.0;
        let (len, next) = (chunks.next_plain_len(), chunks.index.checked_add(1));
        let (true, Some(next)) = (len > 0 && chunk.len() == len + TAG_LEN, next) else {
            return Err(Reason::BadSeal);
        };
        let opened = chunks.aead.open(u64::from(chunks.index), &chunks.next_ad(), chunk);
        opened.map_err(|_| Reason::BadSeal)?;
        chunks.advance(len, next);
        Ok(&mut chunk[..len])
    }
}

struct Chunks<A> {
    aead: A,
    index: u32,
    plain_left: u32,
}

impl<A> Chunks<A> {
    const fn next_plain_len(&self) -> usize {
        let left = self.plain_left as usize;
        if left < CHUNK_LEN { left } else { CHUNK_LEN }
    }

    /// Whether the next chunk is the last.
    const fn next_ad(&self) -> [u8; 1] {
        [(self.plain_left as usize <= CHUNK_LEN) as u8]
    }

    fn advance(&mut self, len: usize, next: u32) {
        self.index = next;
        self.plain_left = self.plain_left.saturating_sub(u32::try_from(len).unwrap_or(u32::MAX));
    }
}

impl<A> fmt::Debug for Sealing<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealing").field("plain_left", &self.0.plain_left).finish_non_exhaustive()
    }
}

impl<A> fmt::Debug for Opening<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").field("plain_left", &self.0.plain_left).finish_non_exhaustive()
    }
}

impl From<NoiseError> for SealError {
    fn from(error: NoiseError) -> Self {
        match error {
            NoiseError::Refused(_) => Self::BadKey,
            NoiseError::Misuse(misuse) => misuse.into(),
        }
    }
}

impl From<Misuse> for SealError {
    fn from(_: Misuse) -> Self {
        Self::Mismatch
    }
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadKey => "the target's key is none that a node has",
            Self::Mismatch => "the envelope's header does not describe this sealed payload",
        })
    }
}

impl core::error::Error for SealError {}

const LABEL: &[u8; 13] = b"hyphal/1 seal";
const EPHEMERAL_LABEL: &[u8; 23] = b"hyphal/1 seal ephemeral";
const PROLOGUE_LEN: usize = LABEL.len() + NetworkTag::LEN + EnvelopeHeader::MAX_LEN;
