//! Messages that are sealed or signed, made into envelopes before they are queued.
//!
//! It takes its time (two or three multiplications on the curve, and every byte twice), so it runs on the caller's task and
//! under no lock: not of an outbox, nor of a lane, which has given a Guaranteed message its number before. What comes out is final:
//! whatever the message goes through, the same bytes are sent.

use bytes::Bytes;
use getrandom::SysRng;
use hyphal_core::identity::NotOwnKey;
use hyphal_core::ids::MessageId;
use hyphal_core::profile::Security;
use hyphal_core::seal::Binding;
use hyphal_core::sign::SignedBytes;
use hyphal_core::wire::envelope::{EnvelopeHeader, SEALED_TYPE, SIGNATURE_LEN};
use hyphal_core::wire::seal;
use rand_core::UnwrapErr;

use crate::builder::MAX_MESSAGE;
use crate::cipher::RingCipher;
use crate::clock;
use crate::error::SendError;
use crate::hub::Hub;
use crate::message::{Outgoing, SendOptions};
use crate::peer::Peer;

/// What is to be done to a message before it is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub(crate) seal: bool,
    pub(crate) sign: bool,
}

impl Wishes {
    /// What the options of a message to one peer say or, where they leave it open, the security of the node.
    #[inline]
    pub(crate) fn of(hub: &Hub, options: SendOptions) -> Self {
        let is_usual = hub.plan.session.security == Security::High;
        Self { seal: options.seal.unwrap_or(is_usual), sign: options.sign.unwrap_or(is_usual) }
    }

    /// The same for a broadcast, which is not sealed, unless its options ask for what cannot be.
    pub(crate) fn of_broadcast(hub: &Hub, options: SendOptions) -> Result<Self, SendError> {
        match options.seal {
            Some(true) => Err(SendError::SealedBroadcast),
            _ => Ok(Self { seal: false, ..Self::of(hub, options) }),
        }
    }

    /// Whether the message needs an envelope of its own.
    #[inline]
    pub(crate) fn need_envelope(self) -> bool {
        self.seal || self.sign
    }

    /// Bytes of the envelope, if it needs one, of a message to one peer with so long a payload; `None` if there is no such.
    pub(crate) fn stored_len(self, len: usize) -> Option<usize> {
        if !self.need_envelope() {
            return Some(len);
        }
        let payload_len = match self.seal {
            true => usize::try_from(seal::sealed_len(u32::try_from(len).ok()?)?).ok()?,
            false => len,
        };
        let signature_len = if self.sign { SIGNATURE_LEN } else { 0 };
        EnvelopeHeader::len_with(true).checked_add(payload_len)?.checked_add(signature_len)
    }

    /// The longest payload whose envelope has at most `max` bytes.
    pub(crate) fn longest(self, max: u32, has_target: bool) -> u32 {
        let signature_len = if self.sign { SIGNATURE_LEN } else { 0 };
        let header_len = EnvelopeHeader::len_with(has_target);
        let room = max.saturating_sub((header_len + signature_len) as u32);
        if self.seal { seal::longest(room).unwrap_or(0) } else { room }
    }
}

/// A message in its envelope.
#[derive(Clone, Debug)]
pub(crate) struct Closed {
    pub(crate) id: MessageId,
    pub(crate) bytes: Bytes,
    wishes: Wishes,
    has_target: bool,
}

impl Closed {
    /// What a refused envelope means for the payload in it.
    pub(crate) fn explain(&self, error: SendError) -> SendError {
        match error {
            SendError::TooLong { max } => {
                SendError::TooLong { max: self.wishes.longest(max, self.has_target) }
            }
            other => other,
        }
    }
}

/// Writes the envelope of a message to `target`, or to all peers, under this id.
///
/// # Errors
/// [`SendError::TooLong`], [`SendError::SealedBroadcast`], [`SendError::BadKey`],
/// [`SendError::DelegatedKey`].
pub(crate) fn close(
    hub: &Hub,
    target: Option<&Peer>,
    message: &Outgoing<'_>,
    wishes: Wishes,
    id: MessageId,
) -> Result<Closed, SendError> {
    let Wishes { seal, sign } = wishes;
    let payload = message.payload.as_slice();
    // What is too long for the peer is not worth the work.
    let max_envelope = target.map_or(MAX_MESSAGE, |peer| peer.lane().outbox.max_message().min(MAX_MESSAGE));
    let max = wishes.longest(max_envelope, target.is_some());
    let too_long = SendError::TooLong { max };
    let plain_len = u32::try_from(payload.len()).ok().filter(|len| *len <= max).ok_or(too_long)?;
    let header = EnvelopeHeader {
        message_id: id,
        source_node_id: hub.plan.identity.id(),
        target_node_id: target.map(|peer| peer.id),
        timestamp: clock::wall_time(),
        ttl: message.options.ttl,
        priority: message.options.priority,
        is_encrypted: seal,
        is_signed: sign,
        message_type: if seal { SEALED_TYPE } else { message.kind },
        payload_len: if seal { seal::sealed_len(plain_len).ok_or(too_long)? } else { plain_len },
    };
    let header_len = header.encoded_len();
    let signed_len = header_len + header.payload_len as usize;
    let mut bytes = vec![0; signed_len + if sign { SIGNATURE_LEN } else { 0 }];
    let (head, rest) = bytes.split_at_mut(header_len);
    let place = &mut rest[..header.payload_len as usize];
    match target {
        Some(peer) if seal => {
            let theirs = peer.sealing_key(header.timestamp).ok_or(SendError::BadKey)?;
            let ours = &hub.static_pair;
            let binding =
                Binding { network: hub.plan.session.network, header: &header, ours, theirs: &theirs };
            let random = &mut UnwrapErr(SysRng);
            binding
                .seal::<RingCipher>(message.kind, payload, random, place)
                .map_err(|_| SendError::BadKey)?;
        }
        None if seal => return Err(SendError::SealedBroadcast),
        _ => place.copy_from_slice(payload),
    }
    header.encode(head).ok_or(SendError::SealedBroadcast)?;
    if sign {
        let (signed, signature) = bytes.split_at_mut(signed_len);
        let mut hash = SignedBytes::new(hub.plan.session.network);
        hash.update(signed);
        signature
            .copy_from_slice(&hash.sign(&hub.plan.identity).map_err(|NotOwnKey| SendError::DelegatedKey)?);
    }
    if let Some(peer) = target {
        peer.tally.envelopes.close(seal, sign);
    }
    hub.tally.traffic.envelopes.close(seal, sign);
    Ok(Closed { id, bytes: bytes.into(), wishes, has_target: target.is_some() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_payload_fits_exactly_and_one_byte_more_does_not() {
        for (seal, sign) in [(true, false), (false, true), (true, true)] {
            let wishes = Wishes { seal, sign };
            for max in (400..500).chain(16_400..16_800).chain([1 << 20, MAX_MESSAGE]) {
                let longest = wishes.longest(max, true);
                let envelope_len = |plain: u32| {
                    let payload = if seal { seal::sealed_len(plain).unwrap() } else { plain };
                    100 + payload + if sign { 64 } else { 0 }
                };

                assert!(envelope_len(longest) <= max && envelope_len(longest + 1) > max, "{wishes:?} {max}");
            }
        }
    }
}
