//! What this end says in its hello, and how it judges the peer's: the checks that need no policy, and no pattern.

use super::{Config, Offer, Refused, Tell, Wall};
use crate::aead::{Aead, Cipher};
use crate::ids::NodeId;
use crate::noise::HandshakeState;
use crate::profile::{End, Terms};
use crate::time::{Duration, TimeQuality, UnixTime};
use crate::wire::datagram::ConnectionId;
use crate::wire::frame::{self, Refusal};
use crate::wire::hello::{Extensions, Hello, NetworkTag, Versions};
use crate::wire::reason::Reason;
use crate::wire::record as layout;
use crate::wire::tlv::Tlv;

/// Bytes of the longest hello that this end writes: an initiator's, on a datagram link.
pub(super) const HELLO_LEN: usize = Hello::LEN + 2 + NetworkTag::LEN + 2 + ConnectionId::MAX_LEN;

/// Bytes of the hello that an initiator with this connection id writes.
pub(super) fn initiators_hello_len(connection_id: ConnectionId) -> usize {
    let id = match connection_id.as_bytes().len() {
        0 => 0,
        len => Tlv::len_with(len),
    };
    Hello::LEN + Tlv::len_with(NetworkTag::LEN) + id
}

/// What both roles need until the end.
pub(super) struct Own {
    pub(super) config: Config,
    pub(super) wall: Wall,
    pub(super) id: NodeId,
    pub(super) dialled: bool,
    pub(super) connection_id: ConnectionId,
    pub(super) expect: Option<NodeId>,
    pub(super) capabilities: u16,
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
        // Any prober can read the responder's hello, so only the initiator names the network.
        let network = self.dialled.then_some(self.config.network);
        let extensions = Extensions { network, connection_id: self.connection_id, ..Extensions::default() };
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
    pub(super) fn on_hello(&self, id: NodeId, bytes: &[u8]) -> Result<Offer, Denial> {
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
        // Whoever does not understand a delegation would take the wrong key for the node's own.
        if extensions.delegation.is_some() {
            return Err(denial(Reason::UnknownCritical, 0));
        }
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
        Ok(Offer { id, hello, dialled: self.dialled, cipher, terms, connection_id })
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
