//! The handshake of one stream link, in either pattern: frames, hellos and the checks that need no policy.
//!
//! ```text
//!   XX, between strangers          initiator                                          responder
//!                                  SendXx1     ── e ───────────────────────────────▶  AwaitFirst
//!                                  AwaitXx2    ◀─────────────── e, ee, s, es, hello ── SendXx2
//!                                  AwaitVerdict
//!                                  SendXx3     ── s, se, hello, network tag ───────▶  AwaitXx3
//!                                  finished                                           AwaitVerdict, finished
//!
//!   KK, after an earlier session   SendKk1     ── hint, e, es, ss, hello, tag ─────▶  AwaitFirst
//!                                  │                                                  AwaitOwner, AwaitAgain
//!                                  │                                                  AwaitVerdict
//!                                  AwaitKk2    ◀──────────────── e, ee, se, hello ──  SendKk2
//!                                  AwaitVerdict, finished                             finished, to be proven
//!   its hint is unknown            │ AwaitKk2  ◀─────────────────────── refusal ────  SendUnknownHint
//!                                  └ SendXx1   ── as above ────────────────────────▶  AwaitFirst
//! ```
//!
//! It is not the session: it ends with keys and a proven peer, and Accept or Reject is the first record. Message 1 of KK
//! can be a replay, so a responder's peer is proven only by the first record that follows. A frame is written once; the
//! state behind it is gone afterwards. On `Err` the handshake is over.

mod attempt;
mod config;
mod counterpart;
mod own;
mod refusal;
mod resumption;

use rand_core::CryptoRng;

use crate::aead::{Aead, TAG_LEN};
use crate::ids::{Acquaintance, Hint, Hints, NodeId};
use crate::noise::{self, HandshakeState, KeyPair, Keys, Role, Secret, SplitKey};
use crate::time::{Instant, Wall};
use crate::wire::frame::{self, Compression, Decoded, Frame, Header, Kind, Refusal};
use crate::wire::hello::{Hello, Versions};
use crate::wire::reason::Reason;

pub use crate::ids::Resumption;
pub(crate) use attempt::LinkKind;
pub use config::{Config, Credentials};
pub use counterpart::{Counterpart, Offer};
pub(crate) use refusal::{Refused, Tell, write_refusal};
pub use resumption::Expect;

use attempt::{Attempt, Prologue};
use own::{Denial, HELLO_LEN, Own, ProvenKey};
use refusal::{believable, on_noise};

/// Bytes of the longest frame of a handshake: message 2 of XX, whose hello is shorter than an initiator's.
pub(crate) const MAX_FLIGHT_LEN: usize =
    frame::HEADER_LEN + 2 * noise::DH_LEN + TAG_LEN + HELLO_LEN + TAG_LEN;

/// What the handshake leaves behind: keys of both directions, the peer, and what the next handshake can begin with.
pub(crate) struct Finished {
    pub(crate) peer: Counterpart,
    pub(crate) sending: SplitKey,
    pub(crate) receiving: SplitKey,
    pub(crate) hints: Hints,
    /// Whether only the initiator's first record will prove to the responder that the initiator takes part.
    pub(crate) owes_proof: bool,
}

/// What the bytes at hand were.
#[expect(
    clippy::large_enum_variant,
    reason = "there is no heap to put an offer on, and one in a session's life"
)]
pub(crate) enum Heard {
    /// Not all of a frame, or nothing that is its turn before the caller has answered.
    NeedMore,
    /// A frame of this length.
    Absorbed(usize),
    /// A frame that names a hint; it must be given again once its owner is known.
    Hint(Hint),
    /// A frame of this length, and the peer that it proves.
    Offer(usize, Offer),
}

/// A frame that was written.
pub(crate) struct Flight {
    pub(crate) len: usize,
    /// The end of the handshake, if it was its last one.
    pub(crate) end: Option<Result<Finished, Refused>>,
}

pub(crate) struct Handshake<A> {
    step: Step<A>,
    own: Own,
    link: LinkKind,
    frame_id: u64,
}

enum Step<A> {
    SendXx1(HandshakeState<A>),
    AwaitXx2(HandshakeState<A>),
    SendXx3(HandshakeState<A>, Counterpart),

    SendKk1(HandshakeState<A>, Resumption, Otherwise),
    AwaitKk2(HandshakeState<A>, NodeId, Otherwise),

    /// Message 1 of either pattern, or of XX alone once a hint was unknown.
    AwaitFirst(Keys, Patterns),
    SendXx2(HandshakeState<A>),
    AwaitXx3(HandshakeState<A>),

    /// The caller finds out whose hint it is.
    AwaitOwner(Keys, Hint),
    /// The frame with this hint again, whose owner is known or does not exist.
    AwaitAgain(Keys, Hint, Option<Acquaintance>),
    SendUnknownHint(Keys),
    SendKk2(HandshakeState<A>, Result<Counterpart, Denial>),

    /// The caller judges the peer.
    AwaitVerdict(HandshakeState<A>, Counterpart),
    Over,
}

/// With which messages a handshake may begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patterns {
    XxOrKk,
    Xx,
}

/// What an initiator goes on with if its hint is unknown. It is drawn beforehand: a handshake draws only when it begins.
struct Otherwise {
    frame_id: u64,
    s: KeyPair,
    e: Secret,
}

impl<A: Aead> Handshake<A> {
    /// The dialling end.
    pub(crate) fn initiator(
        now: Instant,
        credentials: Credentials<'_>,
        config: Config,
        wall: Wall,
        expect: Expect,
        link: LinkKind,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let attempt = Attempt { identity: credentials.identity, began_at: now, boot_id: config.boot_id };
        let own =
            Own { dialled: true, expect: expect.id(), ..own::<A>(now, credentials, config, wall, link) };
        let frame_id = rng.next_u64();
        let step = match expect {
            Expect::Anyone | Expect::Id(_) => {
                let prologue = xx_prologue(link, frame_id);
                let e = KeyPair::from_secret(attempt.ephemeral(prologue.as_bytes(), rng));
                Step::SendXx1(xx(Role::Initiator, &prologue, keys(attempt.static_pair(), e)))
            }
            Expect::Resume(resumption) => {
                let header = Header::new(Kind::Kk1, frame_id).to_bytes(kk1_len(&own));
                let prologue = Prologue::kk(link, &header, &resumption.hint);
                let peer = resumption.peer;
                let e = KeyPair::from_secret(attempt.ephemeral(prologue.as_bytes(), rng));
                let noise = kk(Role::Initiator, &prologue, keys(attempt.static_pair(), e), peer.key);
                let frame_id = rng.next_u64();
                let e = attempt.ephemeral(xx_prologue(link, frame_id).as_bytes(), rng);
                Step::SendKk1(noise, resumption, Otherwise { frame_id, s: attempt.static_pair(), e })
            }
        };
        Self { step, own, link, frame_id }
    }

    /// The accepting end.
    pub(crate) fn responder(
        now: Instant,
        credentials: Credentials<'_>,
        config: Config,
        wall: Wall,
        link: LinkKind,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let attempt = Attempt { identity: credentials.identity, began_at: now, boot_id: config.boot_id };
        let own = own::<A>(now, credentials, config, wall, link);
        let e = KeyPair::from_secret(attempt.ephemeral(&[], rng));
        let step = Step::AwaitFirst(keys(attempt.static_pair(), e), Patterns::XxOrKk);
        Self { step, own, link, frame_id: 0 }
    }

    /// The message id that the attempt's frames bear; 0 while a responder does not know it.
    pub(crate) const fn frame_id(&self) -> u64 {
        self.frame_id
    }

    /// Whether a frame of this kind and attempt has its turn. On a datagram link any other is a stray one.
    pub(crate) fn awaits(&self, kind: Kind, frame_id: u64) -> bool {
        match (&self.step, kind) {
            (Step::AwaitFirst(..), Kind::Xx1) | (Step::AwaitFirst(_, Patterns::XxOrKk), Kind::Kk1) => true,
            (Step::AwaitAgain(..), Kind::Kk1)
            | (Step::AwaitXx2(..), Kind::Xx2 | Kind::Refusal | Kind::Retry)
            | (Step::AwaitKk2(..), Kind::Kk2 | Kind::Refusal | Kind::Retry)
            | (Step::AwaitXx3(..), Kind::Xx3) => frame_id == self.frame_id,
            _ => false,
        }
    }

    /// Takes the frame at the start of `bytes`.
    ///
    /// A message that does not verify ends nothing here: on a datagram link the true one may follow.
    pub(crate) fn handle_bytes(&mut self, bytes: &mut [u8]) -> Result<Heard, Refused> {
        // What comes behind the frame that the caller is asked about has its turn after the answer.
        if matches!(self.step, Step::AwaitOwner(..) | Step::AwaitVerdict(..)) {
            return Ok(Heard::NeedMore);
        }
        let (frame, used) = match frame::decode_mut(bytes, frame::MAX_UNAUTHENTICATED) {
            Ok(Decoded::Incomplete { .. }) => return Ok(Heard::NeedMore),
            Ok(Decoded::Frame { frame, used }) => (frame, used),
            Ok(Decoded::Foreign { id, .. }) => return Err(self.on_foreign(id)),
            Err(reason) => return Err(Refused::silently(reason)),
        };
        let Frame { header, payload } = frame;
        if header.compression != Compression::None {
            return Err(Refused::silently(Reason::Compression));
        }
        if header.kind == Kind::Refusal {
            self.on_refusal(header.id, payload)?;
            return Ok(Heard::Absorbed(used));
        }
        let is_of_attempt = header.id == self.frame_id;
        match (core::mem::replace(&mut self.step, Step::Over), header.kind) {
            (Step::AwaitFirst(keys, _), Kind::Xx1) => {
                self.frame_id = header.id;
                let prologue = Prologue::xx(self.link, &header.to_bytes(payload.len()));
                let mut noise: HandshakeState<A> = xx(Role::Responder, &prologue, keys);
                if !noise.read_message(payload).map_err(on_noise)?.is_empty() {
                    return Err(Refused::silently(Reason::Malformed));
                }
                self.step = Step::SendXx2(noise);
                Ok(Heard::Absorbed(used))
            }
            (Step::AwaitFirst(keys, Patterns::XxOrKk), Kind::Kk1) => {
                let (hint, _) = frame::split_hint_mut(payload).map_err(Refused::silently)?;
                self.frame_id = header.id;
                self.step = Step::AwaitOwner(keys, hint);
                Ok(Heard::Hint(hint))
            }
            (Step::AwaitAgain(keys, hint, owner), Kind::Kk1) if is_of_attempt => {
                let (named, message) = frame::split_hint_mut(payload).map_err(Refused::silently)?;
                if named != hint {
                    return Err(Refused::silently(Reason::UnexpectedFrame));
                }
                let Some(owner) = owner else {
                    self.step = Step::SendUnknownHint(keys);
                    return Ok(Heard::Absorbed(used));
                };
                let header = header.to_bytes(Hint::LEN + message.len());
                let prologue = Prologue::kk(self.link, &header, &hint);
                let mut noise: HandshakeState<A> = kk(Role::Responder, &prologue, keys, owner.key);
                let hello = noise.read_message(message).map_err(on_noise)?;
                // Nobody else was given the hint.
                self.own.expect = Some(owner.id);
                let key = ProvenKey::known(&noise, owner.id)?;
                match self.own.on_hello(&key, hello) {
                    Ok(offer) => Ok(self.offer(used, noise, offer)),
                    Err(denial) => {
                        self.step = Step::SendKk2(noise, Err(denial));
                        Ok(Heard::Absorbed(used))
                    }
                }
            }
            (Step::AwaitXx2(mut noise), Kind::Xx2) if is_of_attempt => {
                let hello = match noise.read_message(payload) {
                    Ok(hello) => hello,
                    Err(error) => {
                        self.step = Step::AwaitXx2(noise);
                        return Err(on_noise(error));
                    }
                };
                let key = ProvenKey::received(&noise)?;
                let offer =
                    self.own.on_hello(&key, hello).map_err(|denial| Refused::silently(denial.reason))?;
                Ok(self.offer(used, noise, offer))
            }
            (Step::AwaitKk2(mut noise, id, otherwise), Kind::Kk2) if is_of_attempt => {
                let hello = match noise.read_message(payload) {
                    Ok(hello) => hello,
                    Err(error) => {
                        self.step = Step::AwaitKk2(noise, id, otherwise);
                        return Err(on_noise(error));
                    }
                };
                let key = ProvenKey::known(&noise, id)?;
                let offer =
                    self.own.on_hello(&key, hello).map_err(|denial| Refused::silently(denial.reason))?;
                Ok(self.offer(used, noise, offer))
            }
            (Step::AwaitXx3(mut noise), Kind::Xx3) if is_of_attempt => {
                let hello = match noise.read_message(payload) {
                    Ok(hello) => hello,
                    Err(error) => {
                        self.step = Step::AwaitXx3(noise);
                        return Err(on_noise(error));
                    }
                };
                let key = ProvenKey::received(&noise)?;
                match self.own.on_hello(&key, hello) {
                    Ok(offer) => Ok(self.offer(used, noise, offer)),
                    Err(denial) => Err(self.own.refuse(&noise, denial)),
                }
            }
            _ => Err(Refused::silently(Reason::UnexpectedFrame)),
        }
    }

    /// Whom the hint was given to, if anybody; without a hint in question nothing happens.
    pub(crate) fn handle_hint(&mut self, owner: Option<Acquaintance>) {
        self.step = match core::mem::replace(&mut self.step, Step::Over) {
            Step::AwaitOwner(keys, hint) => Step::AwaitAgain(keys, hint, owner),
            other => other,
        };
    }

    /// The local policy's answer to the offer; without an open offer nothing happens. Whoever has no more message to write is
    /// finished by it.
    pub(crate) fn handle_verdict(
        &mut self,
        verdict: Result<(), Reason>,
    ) -> Result<Option<Finished>, Refused> {
        match core::mem::replace(&mut self.step, Step::Over) {
            Step::AwaitVerdict(noise, peer) => {
                let denied = |reason| {
                    let Counterpart { cipher, connection_id, .. } = peer;
                    Denial { cipher, reason, detail: 0, connection_id }
                };
                match verdict {
                    Ok(()) if noise.is_finished() => return Ok(Some(finish(&noise, peer))),
                    Ok(()) if self.own.dialled => self.step = Step::SendXx3(noise, peer),
                    Err(reason) if noise.is_finished() || self.own.dialled => {
                        return Err(self.own.refuse(&noise, denied(reason)));
                    }
                    // The keys under which the initiator can hear of it follow from message 2.
                    verdict => self.step = Step::SendKk2(noise, verdict.map(|()| peer).map_err(denied)),
                }
            }
            other => self.step = other,
        }
        Ok(None)
    }

    /// Writes the flight that is due to `buf`, at least [`MIN_TRANSMIT`](crate::session::MIN_TRANSMIT) bytes.
    ///
    /// A flight can fail: what the peer's ephemeral is worth shows when the answer mixes it.
    pub(crate) fn poll_flight(&mut self, buf: &mut [u8]) -> Result<Option<Flight>, Refused> {
        let mut end = None;
        let len = match core::mem::replace(&mut self.step, Step::Over) {
            Step::SendXx1(mut noise) => {
                let len = self.write(&mut noise, Kind::Xx1, &[], false, buf)?;
                self.step = Step::AwaitXx2(noise);
                len
            }
            Step::SendXx2(mut noise) => {
                let len = self.write(&mut noise, Kind::Xx2, &[], true, buf)?;
                self.step = Step::AwaitXx3(noise);
                len
            }
            Step::SendXx3(mut noise, peer) => {
                let len = self.write(&mut noise, Kind::Xx3, &[], true, buf)?;
                end = Some(Ok(finish(&noise, peer)));
                len
            }
            Step::SendKk1(mut noise, Resumption { peer, hint }, otherwise) => {
                let len = self.write(&mut noise, Kind::Kk1, hint.as_bytes(), true, buf)?;
                self.step = Step::AwaitKk2(noise, peer.id, otherwise);
                len
            }
            Step::SendKk2(mut noise, peer) => {
                let len = self.write(&mut noise, Kind::Kk2, &[], true, buf)?;
                end = Some(match peer {
                    Ok(peer) => Ok(finish(&noise, peer)),
                    Err(denial) => Err(self.own.refuse(&noise, denial)),
                });
                len
            }
            Step::SendUnknownHint(keys) => {
                self.step = Step::AwaitFirst(keys, Patterns::Xx);
                write_refusal(&Refusal::new(Reason::UnknownHint), self.frame_id, buf)
            }
            other => {
                self.step = other;
                return Ok(None);
            }
        };
        Ok(Some(Flight { len, end }))
    }

    fn offer(&mut self, used: usize, noise: HandshakeState<A>, offer: Offer) -> Heard {
        self.step = Step::AwaitVerdict(noise, offer.peer);
        Heard::Offer(used, offer)
    }

    fn write(
        &self,
        noise: &mut HandshakeState<A>,
        kind: Kind,
        hint: &[u8],
        with_hello: bool,
        buf: &mut [u8],
    ) -> Result<usize, Refused> {
        let mut hello = [0; HELLO_LEN];
        let hello = match with_hello {
            true => self.own.write_hello(&mut hello),
            false => &hello[..0],
        };
        let (before, message) = buf[frame::HEADER_LEN..].split_at_mut(hint.len());
        before.copy_from_slice(hint);
        let len = hint.len() + noise.write_message(hello, message).map_err(on_noise)?;
        Ok(Header::new(kind, self.frame_id).encode_around(len, buf).expect("the buffer holds any flight"))
    }

    fn on_foreign(&self, id: u64) -> Refused {
        let tell = match self.step {
            Step::AwaitFirst(..) => Tell::Cleartext(id),
            _ => Tell::Nothing,
        };
        let detail = Refusal::version(Versions::SUPPORTED).detail;
        Refused { reason: Reason::Version, detail, by_peer: false, tell }
    }

    /// A refusal in the clear ends the attempt, unless it only says that the hint is unknown.
    fn on_refusal(&mut self, id: u64, payload: &[u8]) -> Result<(), Refused> {
        let refusal = Refusal::decode(payload).map_err(Refused::silently)?;
        // A busy responder answers before it has read the attempt's id.
        if !self.own.dialled || id != self.frame_id && id != 0 {
            return Err(Refused::silently(Reason::UnexpectedFrame));
        }
        if let Step::AwaitKk2(..) = self.step
            && id == self.frame_id
            && refusal.reason() == Some(Reason::UnknownHint)
            && let Step::AwaitKk2(_, _, otherwise) = core::mem::replace(&mut self.step, Step::Over)
        {
            // Anyone on the path can say so: the same id must answer, with the same checks, to other keys.
            let Otherwise { frame_id, s, e } = otherwise;
            let keys = keys(s, KeyPair::from_secret(e));
            self.frame_id = frame_id;
            self.step = Step::SendXx1(xx(Role::Initiator, &xx_prologue(self.link, frame_id), keys));
            return Ok(());
        }
        let (reason, detail) = believable(refusal);
        Err(Refused { reason, detail, by_peer: true, tell: Tell::Nothing })
    }
}

/// What a responder of this node says and knows when a handshake begins.
fn own<A: Aead>(
    now: Instant,
    Credentials { identity, certificate }: Credentials<'_>,
    config: Config,
    wall: Wall,
    link: LinkKind,
) -> Own {
    Own {
        config,
        wall,
        began_at: now,
        id: identity.id(),
        certificate: certificate.copied(),
        delegation: identity.delegation().copied(),
        dialled: false,
        connection_id: link.connection_id(),
        expect: None,
        capabilities: capabilities::<A>(&config),
    }
}

fn capabilities<A: Aead>(config: &Config) -> u16 {
    let fast_aes = if A::has_fast_aes() { Hello::FAST_AES } else { 0 };
    let keeps_guaranteed = if config.keeps_guaranteed { Hello::KEEPS_GUARANTEED } else { 0 };
    fast_aes | config.compression.bits() | keeps_guaranteed
}

fn keys(s: KeyPair, e: KeyPair) -> Keys {
    Keys { s: Some(s), e: Some(e), ..Keys::default() }
}

fn xx<A: Aead>(role: Role, prologue: &Prologue, keys: Keys) -> HandshakeState<A> {
    HandshakeState::new(&noise::XX, role, prologue.as_bytes(), keys).expect("XX has no pre-messages")
}

fn kk<A: Aead>(role: Role, prologue: &Prologue, keys: Keys, peer: [u8; noise::DH_LEN]) -> HandshakeState<A> {
    let keys = Keys { rs: Some(peer), ..keys };
    HandshakeState::new(&noise::KK, role, prologue.as_bytes(), keys).expect("both statics are given")
}

/// The prologue of an initiator that begins with XX.
fn xx_prologue(link: LinkKind, frame_id: u64) -> Prologue {
    Prologue::xx(link, &Header::new(Kind::Xx1, frame_id).to_bytes(noise::DH_LEN))
}

/// The keys towards the responder and towards the initiator.
fn split<A: Aead>(noise: &HandshakeState<A>) -> (SplitKey, SplitKey) {
    noise.split().expect("all messages have passed")
}

fn finish<A: Aead>(noise: &HandshakeState<A>, peer: Counterpart) -> Finished {
    let (to_responder, to_initiator) = split(noise);
    let hints = resumption::hints(noise, &peer);
    let owes_proof = noise.pattern().knows_initiator;
    let (sending, receiving) = match peer.dialled {
        true => (to_responder, to_initiator),
        false => (to_initiator, to_responder),
    };
    Finished { peer, sending, receiving, hints, owes_proof }
}

/// Bytes of the payload of a frame with message 1 of KK, as this end writes it.
fn kk1_len(own: &Own) -> usize {
    Hint::LEN + noise::DH_LEN + own.write_hello(&mut [0; HELLO_LEN]).len() + TAG_LEN
}
