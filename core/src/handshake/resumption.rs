//! How one session leads to the next: whom a dialler expects, and the hints that both ends keep.
//!
//! A hint only names; it proves nothing. What proves is KK, which needs the static keys of both ends.

use super::Counterpart;
use crate::aead::Aead;
use crate::ids::{Hint, Hints, NodeId, Resumption};
use crate::noise::{self, HandshakeState};

/// Whom the dialling end of a session expects to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Whoever is there.
    Anyone,
    /// This node and no other.
    Id(NodeId),
    /// This node and no other, by the way of an earlier session.
    Resume(Resumption),
}

impl Expect {
    /// The only id that may answer.
    pub const fn id(&self) -> Option<NodeId> {
        match self {
            Self::Anyone => None,
            Self::Id(id) => Some(*id),
            Self::Resume(resumption) => Some(resumption.peer.id),
        }
    }
}

/// The hints that a finished handshake leaves. They name both ends to each other and are random to anyone else.
pub(super) fn hints<A: Aead>(noise: &HandshakeState<A>, peer: &Counterpart) -> Hints {
    let secret = noise.resumption().expect("all messages have passed");
    let hint = |end: u8| {
        let full = noise::hmac(secret.as_bytes(), &[HINT_LABEL, &[end]]);
        let mut hint = [0; Hint::LEN];
        hint.copy_from_slice(&full.as_bytes()[..Hint::LEN]);
        Hint::from_bytes(hint)
    };
    let (initiators, responders) = (hint(1), hint(2));
    let key = peer.key;
    match peer.dialled {
        true => Hints { own: initiators, peers: responders, key },
        false => Hints { own: responders, peers: initiators, key },
    }
}

const HINT_LABEL: &[u8] = b"hyphal/1 hint";
