//! The XX handshake of one stream link: frames, hellos and the checks that need no policy.
//!
//! ```text
//!   initiator                                          responder
//!   SendFirst   ── e ───────────────────────────────▶  AwaitFirst
//!   AwaitSecond ◀─────────────── e, ee, s, es, hello ── SendSecond
//!   Verdict
//!   SendThird   ── s, se, hello, network tag ───────▶  AwaitThird
//!   Done                                               Verdict, Done
//! ```
//!
//! It is not the session: it ends with keys and a proven peer, and Accept or Reject is the first record.
//! A frame is written once; the state behind it is gone afterwards. On `Err` the handshake is over.

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::aead::{Aead, Cipher};
use crate::identity::{self, Identity};
use crate::ids::{NodeId, NodeType};
use crate::noise::{self, HandshakeState, KeyPair, Keys, NoiseError, Role, Secret, SplitKey};
use crate::time::{Duration, Instant, TimeQuality, UnixTime};
use crate::wire::frame::{self, Compression, Decoded, Frame, Header, Kind, Refusal};
use crate::wire::hello::{Extensions, Hello, NetworkTag, Versions};
use crate::wire::reason::Reason;
use crate::wire::record as layout;

/// What a node says of itself in every handshake, and what it demands of the other end.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The network; a peer of another one is rejected.
    pub network: NetworkTag,
    /// What this node is in the network.
    pub node_type: NodeType,
    /// Random 64 bits drawn at every boot: the epoch of this node's message ids.
    pub boot_id: u64,
    /// The longest message payload that this node takes, in bytes.
    pub max_message: u32,
    /// The longest record that this node takes, in bytes after its length field; less than 512 counts as 512.
    pub max_record: u16,
    /// Bytes of received messages that this node holds at most while its application is not done with them; less than
    /// `max_record` counts as that.
    pub window: u32,
    /// How often this node lets a peer hear from it: 10 ms to 655 s, the nearest of which counts.
    pub heartbeat: Duration,
    /// How long a handshake may take in all.
    pub handshake_timeout: Duration,
    /// How far two synchronised clocks may lie apart.
    pub max_skew: Duration,
}

impl Config {
    /// The shortest heartbeat interval; a shorter one counts as this.
    pub const MIN_HEARTBEAT: Duration = Duration::from_millis(10);
}

/// The wall clock at the start of a handshake, and how far it can be trusted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wall {
    /// The time; zero if there is no clock.
    pub time: UnixTime,
    /// Its quality.
    pub quality: TimeQuality,
}

/// A peer whose key the handshake has proven, asking to be let in.
///
/// Made by the handshake only. The session waits until
/// [`handle_verdict`](crate::session::Session::handle_verdict).
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    id: NodeId,
    hello: Hello,
    dialled: bool,
    cipher: Cipher,
}

impl Offer {
    /// Who the peer is.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// What it says of itself.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// What seals the session's records.
    pub fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// Whether this end opened the link.
    pub fn dialled(&self) -> bool {
        self.dialled
    }
}

/// How a handshake failed, and what the other end may hear of it.
pub(crate) struct Refused {
    pub(crate) reason: Reason,
    /// What the protocol attaches to the reason: versions, the time, a delay.
    pub(crate) detail: u64,
    /// Whether the other end refused, not this one.
    pub(crate) by_peer: bool,
    pub(crate) tell: Tell,
}

/// Where a refusal can be said.
pub(crate) enum Tell {
    /// Nowhere: the link just ends. An initiator that refuses message 2 must not reveal its static key.
    Nothing,
    /// In a cleartext frame of the attempt with this id; the other end takes it as a hint.
    Cleartext(u64),
    /// In the first record, under this key.
    Sealed(Cipher, SplitKey),
}

impl Refused {
    fn silently(reason: Reason) -> Self {
        Self { reason, detail: 0, by_peer: false, tell: Tell::Nothing }
    }
}

/// What the handshake leaves behind: keys of both directions and the proven peer.
pub(crate) struct Finished {
    pub(crate) peer: Offer,
    pub(crate) sending: SplitKey,
    pub(crate) receiving: SplitKey,
}

pub(crate) struct Handshake<A> {
    step: Step<A>,
    own: Own,
    frame_id: u64,
}

/// What both roles need until the end.
struct Own {
    config: Config,
    wall: Wall,
    id: NodeId,
    dialled: bool,
    expect: Option<NodeId>,
    capabilities: u16,
}

enum Step<A> {
    SendFirst(HandshakeState<A>),
    AwaitFirst(Keys),
    SendSecond(HandshakeState<A>),
    AwaitSecond(HandshakeState<A>),
    AwaitThird(HandshakeState<A>),
    Verdict(HandshakeState<A>, Offer),
    SendThird(HandshakeState<A>, Offer),
    Over,
}

impl<A: Aead> Handshake<A> {
    /// The dialling end. `expect` is the id that must answer.
    pub(crate) fn initiator(
        now: Instant,
        identity: &Identity,
        config: Config,
        wall: Wall,
        expect: Option<NodeId>,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let frame_id = rng.next_u64();
        let prologue = prologue(&Header::new(Kind::Xx1, frame_id).to_bytes(noise::DH_LEN));
        let attempt = Attempt { began_at: now, boot_id: config.boot_id, prologue: &prologue };
        let noise = state(Role::Initiator, &prologue, keys(identity, &attempt, rng));
        let own =
            Own { config, wall, id: identity.id(), dialled: true, expect, capabilities: capabilities::<A>() };
        Self { step: Step::SendFirst(noise), own, frame_id }
    }

    /// The accepting end.
    pub(crate) fn responder(
        now: Instant,
        identity: &Identity,
        config: Config,
        wall: Wall,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let own = Own {
            config,
            wall,
            id: identity.id(),
            dialled: false,
            expect: None,
            capabilities: capabilities::<A>(),
        };
        let attempt = Attempt { began_at: now, boot_id: config.boot_id, prologue: &[] };
        Self { step: Step::AwaitFirst(keys(identity, &attempt, rng)), own, frame_id: 0 }
    }

    /// Takes the frame at the start of `bytes`: its length (0 = not all there) and the peer, once it is proven.
    pub(crate) fn handle_bytes(&mut self, bytes: &mut [u8]) -> Result<(usize, Option<Offer>), Refused> {
        let (frame, used) = match frame::decode_mut(bytes, frame::MAX_UNAUTHENTICATED) {
            Ok(Decoded::Incomplete { .. }) => return Ok((0, None)),
            Ok(Decoded::Frame { frame, used }) => (frame, used),
            Ok(Decoded::Foreign { id, .. }) => return Err(self.on_foreign(id)),
            Err(reason) => return Err(Refused::silently(reason)),
        };
        let Frame { header, payload } = frame;
        if header.compression != Compression::None {
            return Err(Refused::silently(Reason::Compression));
        }
        if header.kind == Kind::Refusal {
            return Err(self.on_refusal(header.id, payload));
        }
        let offer = match (core::mem::replace(&mut self.step, Step::Over), header.kind) {
            (Step::AwaitFirst(keys), Kind::Xx1) => {
                self.frame_id = header.id;
                let mut noise: HandshakeState<A> =
                    state(Role::Responder, &prologue(&header.to_bytes(payload.len())), keys);
                if !noise.read_message(payload).map_err(on_noise)?.is_empty() {
                    return Err(Refused::silently(Reason::Malformed));
                }
                self.step = Step::SendSecond(noise);
                None
            }
            (Step::AwaitSecond(mut noise), Kind::Xx2) if header.id == self.frame_id => {
                let hello = noise.read_message(payload).map_err(on_noise)?;
                let id = proven_id(&noise)?;
                let offer = self.own.on_hello(id, hello).map_err(|(reason, _)| Refused::silently(reason))?;
                self.step = Step::Verdict(noise, offer);
                Some(offer)
            }
            (Step::AwaitThird(mut noise), Kind::Xx3) if header.id == self.frame_id => {
                let hello = noise.read_message(payload).map_err(on_noise)?;
                let id = proven_id(&noise)?;
                match self.own.on_hello(id, hello) {
                    Ok(offer) => {
                        self.step = Step::Verdict(noise, offer);
                        Some(offer)
                    }
                    Err((reason, detail)) => {
                        return Err(self.own.refuse(&noise, self.own.cipher_with(hello), reason, detail));
                    }
                }
            }
            _ => return Err(Refused::silently(Reason::UnexpectedFrame)),
        };
        Ok((used, offer))
    }

    /// The local policy's answer to the offer; without an open offer nothing happens. The responder is finished by it.
    pub(crate) fn handle_verdict(
        &mut self,
        verdict: Result<(), Reason>,
    ) -> Result<Option<Finished>, Refused> {
        match core::mem::replace(&mut self.step, Step::Over) {
            Step::Verdict(noise, peer) => match verdict {
                Err(reason) => Err(self.own.refuse(&noise, peer.cipher, reason, 0)),
                Ok(()) if self.own.dialled => {
                    self.step = Step::SendThird(noise, peer);
                    Ok(None)
                }
                Ok(()) => Ok(Some(finish(&noise, peer))),
            },
            other => {
                self.step = other;
                Ok(None)
            }
        }
    }

    /// Writes the flight that is due to `buf`, at least [`MIN_TRANSMIT`](crate::session::MIN_TRANSMIT) bytes. The initiator is finished by its last one.
    ///
    /// A flight can fail: what the peer's ephemeral is worth shows when the answer mixes it.
    pub(crate) fn poll_flight(
        &mut self,
        buf: &mut [u8],
    ) -> Result<Option<(usize, Option<Finished>)>, Refused> {
        let mut finished = None;
        let len = match core::mem::replace(&mut self.step, Step::Over) {
            Step::SendFirst(mut noise) => {
                let len = self.write(&mut noise, Kind::Xx1, false, buf)?;
                self.step = Step::AwaitSecond(noise);
                len
            }
            Step::SendSecond(mut noise) => {
                let len = self.write(&mut noise, Kind::Xx2, true, buf)?;
                self.step = Step::AwaitThird(noise);
                len
            }
            Step::SendThird(mut noise, peer) => {
                let len = self.write(&mut noise, Kind::Xx3, true, buf)?;
                finished = Some(finish(&noise, peer));
                len
            }
            other => {
                self.step = other;
                return Ok(None);
            }
        };
        Ok(Some((len, finished)))
    }

    fn write(
        &self,
        noise: &mut HandshakeState<A>,
        kind: Kind,
        with_hello: bool,
        buf: &mut [u8],
    ) -> Result<usize, Refused> {
        let mut hello = [0; HELLO_LEN];
        let hello = match with_hello {
            true => self.own.write_hello(&mut hello),
            false => &hello[..0],
        };
        let len = noise.write_message(hello, &mut buf[frame::HEADER_LEN..]).map_err(on_noise)?;
        Ok(Header::new(kind, self.frame_id).encode_around(len, buf).expect("the buffer holds any flight"))
    }

    fn on_foreign(&self, id: u64) -> Refused {
        let tell = match self.step {
            Step::AwaitFirst(_) => Tell::Cleartext(id),
            _ => Tell::Nothing,
        };
        let detail = Refusal::version(Versions::SUPPORTED).detail;
        Refused { reason: Reason::Version, detail, by_peer: false, tell }
    }

    fn on_refusal(&self, id: u64, payload: &[u8]) -> Refused {
        // A busy responder answers before it has read the attempt's id.
        let answers_us = self.own.dialled && (id == self.frame_id || id == 0);
        match Refusal::decode(payload) {
            Ok(refusal) if answers_us => {
                let (reason, detail) = believable(refusal);
                Refused { reason, detail, by_peer: true, tell: Tell::Nothing }
            }
            Ok(_) => Refused::silently(Reason::UnexpectedFrame),
            Err(reason) => Refused::silently(reason),
        }
    }
}

impl Own {
    fn write_hello<'b>(&self, buf: &'b mut [u8; HELLO_LEN]) -> &'b [u8] {
        let hello = Hello {
            versions: Versions::SUPPORTED,
            node_type: self.config.node_type,
            capabilities: self.capabilities,
            max_message: self.config.max_message,
            max_record: self.config.max_record.max(layout::MIN_MAX_LEN),
            heartbeat: self.config.heartbeat.clamp(Config::MIN_HEARTBEAT, Hello::MAX_HEARTBEAT),
            boot_id: self.config.boot_id,
            time: match self.wall.quality {
                TimeQuality::None => UnixTime::default(),
                _ => self.wall.time,
            },
            quality: self.wall.quality,
        };
        // Any prober can read the responder's hello, so only the initiator names the network.
        let network = self.dialled.then_some(self.config.network);
        let len = hello
            .encode(&Extensions { network, ..Extensions::default() }, buf)
            .expect("every field is within its bounds");
        &buf[..len]
    }

    /// The checks that depend on both hellos alone; on `Err` the reason and its detail.
    fn on_hello(&self, id: NodeId, bytes: &[u8]) -> Result<Offer, (Reason, u64)> {
        let (hello, extensions) = Hello::decode(bytes).map_err(|reason| (reason, 0))?;
        let versions = Refusal::version(Versions::SUPPORTED);
        // The version in the frames is cleartext; what both ends really offered stands here.
        if hello.versions.common(Versions::SUPPORTED) != Some(frame::VERSION) {
            return Err((Reason::Version, versions.detail));
        }
        // Whoever does not understand a delegation would take the wrong key for the node's own.
        if extensions.delegation.is_some() {
            return Err((Reason::UnknownCritical, 0));
        }
        if id == self.id {
            return Err((Reason::OwnId, 0));
        }
        if self.expect.is_some_and(|expected| expected != id) {
            return Err((Reason::UnexpectedId, 0));
        }
        if !self.dialled && extensions.network != Some(self.config.network) {
            return Err((Reason::Network, 0));
        }
        let both_synced = hello.quality == TimeQuality::Synced && self.wall.quality == TimeQuality::Synced;
        if both_synced && hello.time.distance(self.wall.time) > self.config.max_skew {
            return Err((Reason::ClockSkew, self.wall.time.as_micros()));
        }
        Ok(Offer { id, hello, dialled: self.dialled, cipher: self.cipher_with(bytes) })
    }

    /// What seals the records, by the capabilities of both hellos alone: this end's and `hello`, valid or not.
    fn cipher_with(&self, hello: &[u8]) -> Cipher {
        match self.capabilities & Hello::peek_capabilities(hello) & Hello::FAST_AES {
            0 => Cipher::ChaCha20Poly1305,
            _ => Cipher::Aes256Gcm,
        }
    }

    /// A refusal by this end, after the peer's hello was read.
    fn refuse<A: Aead>(
        &self,
        noise: &HandshakeState<A>,
        cipher: Cipher,
        reason: Reason,
        detail: u64,
    ) -> Refused {
        let tell = match self.dialled {
            true => Tell::Nothing,
            false => Tell::Sealed(cipher, split(noise).1),
        };
        Refused { reason, detail, by_peer: false, tell }
    }
}

/// What to make of a refusal that anyone on the path can forge. A node has no other reasons to refuse in the clear, and one
/// that ends all dialling, as that this node was removed, must come from the peer itself.
fn believable(refusal: Refusal) -> (Reason, u64) {
    match refusal.reason() {
        Some(reason @ (Reason::Version | Reason::Limit | Reason::Busy)) => (reason, refusal.detail),
        _ => (Reason::Busy, 0),
    }
}

fn capabilities<A: Aead>() -> u16 {
    if A::has_fast_aes() { Hello::FAST_AES } else { 0 }
}

fn state<A: Aead>(role: Role, prologue: &[u8], keys: Keys) -> HandshakeState<A> {
    HandshakeState::new(&noise::XX, role, prologue, keys).expect("XX has no pre-messages")
}

/// The keys towards the responder and towards the initiator.
fn split<A: Aead>(noise: &HandshakeState<A>) -> (SplitKey, SplitKey) {
    noise.split().expect("all three messages have passed")
}

fn finish<A: Aead>(noise: &HandshakeState<A>, peer: Offer) -> Finished {
    let (to_responder, to_initiator) = split(noise);
    match peer.dialled {
        true => Finished { peer, sending: to_responder, receiving: to_initiator },
        false => Finished { peer, sending: to_initiator, receiving: to_responder },
    }
}

fn keys(identity: &Identity, attempt: &Attempt<'_>, rng: &mut impl CryptoRng) -> Keys {
    Keys {
        s: Some(KeyPair::from_parts(
            Secret::from_bytes(*identity.static_secret()),
            *identity.static_public(),
        )),
        e: Some(KeyPair::from_secret(attempt.ephemeral(identity.static_secret(), rng))),
        ..Keys::default()
    }
}

/// `hyphal/1`, pattern XX, link kind stream, and the cleartext in front of message 1.
fn prologue(header: &[u8]) -> [u8; PROLOGUE_LEN] {
    let mut prologue = [0; PROLOGUE_LEN];
    let (label, rest) = prologue.split_at_mut(LABEL.len());
    label.copy_from_slice(LABEL);
    rest.copy_from_slice(header);
    prologue
}

fn proven_id<A: Aead>(noise: &HandshakeState<A>) -> Result<NodeId, Refused> {
    let key = noise.remote_static().ok_or_else(|| Refused::silently(Reason::BadKey))?;
    identity::id_of_static(key).map_err(Refused::silently)
}

/// What tells this attempt from all others of the same key, as far as this end knows at its start.
struct Attempt<'p> {
    began_at: Instant,
    boot_id: u64,
    /// The prologue of an initiator; a responder does not know it yet and has none.
    prologue: &'p [u8],
}

impl Attempt<'_> {
    /// An ephemeral secret that is fresh if the random source is, or else if the boot id or the moment is: a source
    /// that repeats after every boot does not alone repeat a key. Nobody without the static secret can compute it.
    fn ephemeral(&self, static_secret: &[u8; noise::DH_LEN], rng: &mut impl CryptoRng) -> Secret {
        let mut input = Zeroizing::new([0; EPHEMERAL_INPUT_LEN]);
        let (label, rest) = input.split_at_mut(EPHEMERAL_LABEL.len());
        let (random, rest) = rest.split_at_mut(noise::DH_LEN);
        let (boot_id, rest) = rest.split_at_mut(size_of::<u64>());
        let (began_at, prologue) = rest.split_at_mut(size_of::<u64>());
        label.copy_from_slice(EPHEMERAL_LABEL);
        rng.fill_bytes(random);
        boot_id.copy_from_slice(&self.boot_id.to_be_bytes());
        began_at.copy_from_slice(&self.began_at.as_micros().to_be_bytes());
        prologue[..self.prologue.len()].copy_from_slice(self.prologue);
        let len = EPHEMERAL_INPUT_LEN - PROLOGUE_LEN + self.prologue.len();
        noise::hkdf2(static_secret, &input[..len]).0
    }
}

fn on_noise(error: NoiseError) -> Refused {
    match error {
        NoiseError::Refused(reason) => Refused::silently(reason),
        NoiseError::Misuse(misuse) => unreachable!("the steps go in turn, with all keys and room: {misuse}"),
    }
}

/// The protocol's name, then the ids of pattern XX and of stream links.
const LABEL: &[u8; 10] = b"hyphal/1\x01\x01";
const PROLOGUE_LEN: usize = LABEL.len() + frame::HEADER_LEN;
const HELLO_LEN: usize = Hello::LEN + 2 + NetworkTag::LEN;
const EPHEMERAL_LABEL: &[u8; 18] = b"hyphal/1 ephemeral";
const EPHEMERAL_INPUT_LEN: usize =
    EPHEMERAL_LABEL.len() + noise::DH_LEN + 2 * size_of::<u64>() + PROLOGUE_LEN;

#[cfg(test)]
mod tests {
    use core::convert::Infallible;

    use rand_core::{TryCryptoRng, TryRng};

    use super::*;

    const STATIC_SECRET: [u8; noise::DH_LEN] = [3; noise::DH_LEN];
    const ATTEMPT: Attempt<'_> =
        Attempt { began_at: Instant::from_micros(7), boot_id: 1, prologue: &[5; PROLOGUE_LEN] };

    /// A random source that gives one byte over and over.
    struct Stuck(u8);

    impl TryRng for Stuck {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            Ok(u32::from_ne_bytes([self.0; 4]))
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            Ok(u64::from_ne_bytes([self.0; 8]))
        }

        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
            bytes.fill(self.0);
            Ok(())
        }
    }

    impl TryCryptoRng for Stuck {}

    fn ephemeral(attempt: &Attempt<'_>, static_secret: [u8; noise::DH_LEN], byte: u8) -> [u8; noise::DH_LEN] {
        *attempt.ephemeral(&static_secret, &mut Stuck(byte)).as_bytes()
    }

    #[test]
    fn a_stuck_random_source_gives_another_ephemeral_after_each_boot_at_each_moment_and_in_each_attempt() {
        let usual = ephemeral(&ATTEMPT, STATIC_SECRET, 9);

        let others = [
            ephemeral(&Attempt { boot_id: 2, ..ATTEMPT }, STATIC_SECRET, 9),
            ephemeral(&Attempt { began_at: Instant::from_micros(8), ..ATTEMPT }, STATIC_SECRET, 9),
            ephemeral(&Attempt { prologue: &[6; PROLOGUE_LEN], ..ATTEMPT }, STATIC_SECRET, 9),
            ephemeral(&Attempt { prologue: &[], ..ATTEMPT }, STATIC_SECRET, 9),
            ephemeral(&ATTEMPT, [4; noise::DH_LEN], 9),
        ];

        assert_eq!(usual, ephemeral(&ATTEMPT, STATIC_SECRET, 9));
        assert!(!others.contains(&usual));
    }

    #[test]
    fn what_the_random_source_gives_decides_the_ephemeral_and_is_never_it() {
        let mut seen = [[0; noise::DH_LEN]; 256];

        for byte in 0..=255 {
            let secret = ephemeral(&ATTEMPT, STATIC_SECRET, byte);
            assert_ne!(secret, [byte; noise::DH_LEN]);
            assert!(!seen.contains(&secret), "{byte}");
            seen[usize::from(byte)] = secret;
        }
    }
}
