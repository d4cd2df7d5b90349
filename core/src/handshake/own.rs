//! What this end says in its hello, and how it judges the peer's: the checks that need no policy, and no pattern.

use super::{Config, Counterpart, Offer, Refused, Tell};
use crate::aead::{Aead, Cipher};
use crate::identity;
use crate::ids::NodeId;
use crate::noise::{self, HandshakeState};
use crate::profile::{End, Terms};
use crate::time::{Duration, Instant, TimeQuality, UnixTime, Wall};
use crate::wire::certificate::Certificate;
use crate::wire::datagram::ConnectionId;
use crate::wire::delegation::Delegation;
use crate::wire::frame::{self, Refusal};
use crate::wire::hello::{Extensions, Hello, NetworkTag, Versions};
use crate::wire::reason::Reason;
use crate::wire::record as layout;
use crate::wire::tlv::Tlv;

/// Bytes of the longest hello that this end writes: an initiator's, on a datagram link.
pub(crate) const HELLO_LEN: usize = Hello::LEN
    + Tlv::len_with(NetworkTag::LEN)
    + Tlv::len_with(Certificate::LEN)
    + Tlv::len_with(Delegation::LEN)
    + Tlv::len_with(ConnectionId::MAX_LEN);

/// What both roles need until the end.
pub(super) struct Own {
    pub(super) config: Config,
    pub(super) wall: Wall,
    pub(super) began_at: Instant,
    pub(super) id: NodeId,
    pub(super) certificate: Option<Certificate>,
    /// Why our static key stands for the id, if it is not the id's own.
    pub(super) delegation: Option<Delegation>,
    pub(super) dialled: bool,
    pub(super) connection_id: ConnectionId,
    pub(super) expect: Option<NodeId>,
    pub(super) capabilities: u16,
}

/// A static key that the handshake proves, and the node whose own it is, if any.
pub(super) struct ProvenKey {
    key: [u8; noise::DH_LEN],
    owner: Option<NodeId>,
}

impl ProvenKey {
    /// The key that has come with the handshake; refused if it is none.
    pub(super) fn received<A: Aead>(noise: &HandshakeState<A>) -> Result<Self, Refused> {
        let key = remote_static(noise)?;
        let owner = identity::id_of_static(&key).map_err(Refused::silently)?;
        Ok(Self { key, owner: Some(owner) })
    }

    /// The key that an earlier session with this node has proven, its own or a delegated one.
    pub(super) fn known<A: Aead>(noise: &HandshakeState<A>, id: NodeId) -> Result<Self, Refused> {
        let key = remote_static(noise)?;
        let is_own = identity::static_of_proven_id(&id) == Some(key);
        Ok(Self { key, owner: is_own.then_some(id) })
    }
}

fn remote_static<A: Aead>(noise: &HandshakeState<A>) -> Result<[u8; noise::DH_LEN], Refused> {
    noise.remote_static().copied().ok_or_else(|| Refused::silently(Reason::BadKey))
}

/// Why a proven peer is not let in, and what seals the record that says so.
pub(super) struct Denial {
    pub(super) cipher: Cipher,
    pub(super) reason: Reason,
    pub(super) detail: u64,
    /// What that record is addressed with, as far as the peer could say.
    pub(super) connection_id: ConnectionId,
}

impl Own {
    pub(super) fn write_hello<'b>(&self, buf: &'b mut [u8; HELLO_LEN]) -> &'b [u8] {
        let hello = Hello {
            versions: Versions::SUPPORTED,
            node_type: self.config.node_type,
            capabilities: self.capabilities,
            max_message: self.config.max_message,
            max_record: self.max_record(),
            heartbeat: self.heartbeat(),
            boot_id: self.config.boot_id,
            time: match self.wall.quality {
                TimeQuality::None => UnixTime::default(),
                _ => self.wall.time,
            },
            quality: self.wall.quality,
        };
        let certificate = self.certificate.map(|certificate| certificate.to_bytes());
        let delegation = self.delegation.map(|delegation| delegation.to_bytes());
        let extensions = Extensions {
            // Any prober can read the responder's hello, so only the initiator names the network.
            network: self.dialled.then_some(self.config.network),
            certificate: certificate.as_ref().map(|bytes| bytes.as_slice()),
            delegation: delegation.as_ref().map(|bytes| bytes.as_slice()),
            connection_id: self.connection_id,
            ..Extensions::default()
        };
        let len = hello.encode(&extensions, buf).expect("every field is within its bounds");
        &buf[..len]
    }

    fn max_record(&self) -> u16 {
        self.config.max_record.max(layout::MIN_MAX_LEN)
    }

    fn heartbeat(&self) -> Duration {
        self.config.heartbeat.clamp(Config::MIN_HEARTBEAT, Hello::MAX_HEARTBEAT)
    }

    /// The checks that depend on both hellos alone.
    pub(super) fn on_hello(&self, key: &ProvenKey, bytes: &[u8]) -> Result<Offer, Denial> {
        let cipher = self.cipher_with(bytes);
        let (hello, extensions) = Hello::decode(bytes).map_err(|reason| Denial {
            cipher,
            reason,
            detail: 0,
            connection_id: ConnectionId::NONE,
        })?;
        let connection_id = extensions.connection_id;
        let denial = |reason, detail| Denial { cipher, reason, detail, connection_id };
        // The version in the frames is cleartext; what both ends really offered stands here.
        if hello.versions.common(Versions::SUPPORTED) != Some(frame::VERSION) {
            return Err(denial(Reason::Version, Refusal::version(Versions::SUPPORTED).detail));
        }
        let delegation = extensions.delegation.map(Delegation::decode).transpose();
        let delegation = delegation.map_err(|reason| denial(reason, 0))?;
        let id = match (&delegation, key.owner) {
            (Some(delegation), _) => {
                self.check_delegation(delegation, key).map_err(|reason| match reason {
                    Reason::DelegationExpired => denial(reason, self.wall.time.as_micros()),
                    _ => denial(reason, 0),
                })?;
                delegation.id
            }
            (None, Some(owner)) => owner,
            // It stood for a node in an earlier session by a delegation that it does not show again.
            (None, None) => return Err(denial(Reason::BadDelegation, 0)),
        };
        if id == self.id {
            return Err(denial(Reason::OwnId, 0));
        }
        if self.expect.is_some_and(|expected| expected != id) {
            return Err(denial(Reason::UnexpectedId, 0));
        }
        if !self.dialled && extensions.network != Some(self.config.network) {
            return Err(denial(Reason::Network, 0));
        }
        let both_synced = hello.quality == TimeQuality::Synced && self.wall.quality == TimeQuality::Synced;
        if both_synced && hello.time.distance(self.wall.time) > self.config.max_skew {
            return Err(denial(Reason::ClockSkew, self.wall.time.as_micros()));
        }
        let own = End {
            node_type: self.config.node_type,
            max_record: self.max_record(),
            methods: self.config.compression,
            heartbeat: self.heartbeat(),
        };
        let terms = Terms::of(&own, &End::from(&hello), self.config.security);
        let delegations = [self.delegation, delegation];
        let peer = Counterpart {
            id,
            key: key.key,
            delegated_until: delegation.map(|delegation| delegation.not_after),
            expires_at: delegations.iter().flatten().filter_map(|one| self.end_of(one)).min(),
            hello,
            dialled: self.dialled,
            cipher,
            terms,
            connection_id,
        };
        // A form that this version does not know costs nothing where nobody asks for certificates.
        let certificate = extensions.certificate.map_or(Err(Reason::NoCertificate), Certificate::decode);
        Ok(Offer { peer, certificate })
    }

    /// Whether the peer's key stands for the node that it names, at this moment.
    fn check_delegation(&self, delegation: &Delegation, key: &ProvenKey) -> Result<(), Reason> {
        identity::verify_delegation(delegation, &key.key)?;
        // Whoever cannot tell the time cannot tell either whether a key that was stolen last year still counts.
        let is_valid = self.wall.quality != TimeQuality::None && delegation.is_valid_at(self.wall.time);
        if is_valid { Ok(()) } else { Err(Reason::DelegationExpired) }
    }

    /// When a delegation ends, by the clock at the start of the handshake; unknown without one.
    fn end_of(&self, delegation: &Delegation) -> Option<Instant> {
        let left = delegation.not_after.as_micros().saturating_sub(self.wall.time.as_micros());
        (self.wall.quality != TimeQuality::None).then(|| self.began_at.after(Duration::from_micros(left)))
    }

    /// What seals the records, by the capabilities of both hellos alone: this end's and `hello`, valid or not.
    fn cipher_with(&self, hello: &[u8]) -> Cipher {
        match self.capabilities & Hello::peek_capabilities(hello) & Hello::FAST_AES {
            0 => Cipher::ChaCha20Poly1305,
            _ => Cipher::Aes256Gcm,
        }
    }

    /// A refusal by this end, after all messages of the handshake have passed.
    pub(super) fn refuse<A: Aead>(&self, noise: &HandshakeState<A>, denial: Denial) -> Refused {
        let Denial { cipher, reason, detail, connection_id } = denial;
        let tell = match self.dialled {
            true => Tell::Nothing,
            false => Tell::Sealed(cipher, super::split(noise).1, connection_id),
        };
        Refused { reason, detail, by_peer: false, tell }
    }
}
