//! The other end, as a handshake has proven it. Made here alone, so that nobody else can vouch for a key.

use crate::aead::Cipher;
use crate::ids::NodeId;
use crate::noise;
use crate::profile::Terms;
use crate::time::{Instant, UnixTime};
use crate::trust::Credential;
use crate::wire::certificate::Certificate;
use crate::wire::datagram::ConnectionId;
use crate::wire::hello::{Hello, NetworkTag};
use crate::wire::reason::Reason;

/// A peer whose key and hello have verified.
#[derive(Clone, Copy, Debug)]
pub struct Counterpart {
    pub(super) id: NodeId,
    pub(super) key: [u8; noise::DH_LEN],
    pub(super) delegated_until: Option<UnixTime>,
    /// When the first delegation ends that the handshake rests on, this end's or the peer's.
    pub(super) expires_at: Option<Instant>,
    pub(super) hello: Hello,
    pub(super) dialled: bool,
    pub(super) cipher: Cipher,
    pub(super) terms: Terms,
    pub(super) connection_id: ConnectionId,
}

impl Counterpart {
    /// Who the peer is.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The X25519 key that stands for the peer in this session, its own or a delegated one: what is sealed to the peer is
    /// sealed to this key.
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// Until when the peer's key stands for it, if that is not its own key.
    pub fn delegated_until(&self) -> Option<UnixTime> {
        self.delegated_until
    }

    /// When the session ends because a delegation does, by this end's clock.
    pub(crate) fn expires_at(&self) -> Option<Instant> {
        self.expires_at
    }

    /// What it says of itself.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// What seals the session's records.
    pub fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// The profile of the pair, and the numbers that the session will run by.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Whether this end opened the link.
    pub fn dialled(&self) -> bool {
        self.dialled
    }

    /// What the records to it are addressed with, on a datagram link.
    pub fn connection_id(&self) -> ConnectionId {
        self.connection_id
    }
}

/// A peer whose key the handshake has proven, asking to be let in.
///
/// Made by the handshake only. The session waits until
/// [`handle_verdict`](crate::session::Session::handle_verdict).
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    pub(super) peer: Counterpart,
    pub(super) certificate: Result<Certificate, Reason>,
}

impl Offer {
    /// The certificate that the peer has shown, unverified.
    ///
    /// # Errors
    /// [`Reason::NoCertificate`], or [`Reason::BadCertificate`] for one that does not decode, as a newer form.
    pub fn certificate(&self) -> Result<&Certificate, Reason> {
        self.certificate.as_ref().map_err(|reason| *reason)
    }

    /// What its certificate is worth in this network, whoever the authority is. Takes the time of a signature; ask once, and
    /// only on a node that looks at certificates at all.
    ///
    /// # Errors
    /// Those of [`certificate`](Self::certificate) and [`Credential::verify`].
    pub fn credential(&self, network: NetworkTag) -> Result<Credential, Reason> {
        Credential::verify(self.certificate()?, network, &self.peer.id, self.peer.hello.node_type)
    }
}

impl core::ops::Deref for Offer {
    type Target = Counterpart;

    fn deref(&self) -> &Counterpart {
        &self.peer
    }
}
