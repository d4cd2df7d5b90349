//! What a full envelope must agree with before its seal or its signature is looked at (protocol section 16): the message
//! that carried it, and the session that this came over.
//!
//! Values only: it verifies nothing, and knows no keys. In this version an envelope comes from its source itself, so what
//! the session has proven of the peer is held against what the envelope says.

use crate::ids::{MessageId, NodeId, Priority};
use crate::wire::envelope::EnvelopeHeader;
use crate::wire::reason::Reason;

/// The message that carried an envelope, and between whom.
#[derive(Clone, Copy, Debug)]
pub struct Carrier {
    /// The priority of the message.
    pub priority: Priority,
    /// Whether the message is for every peer of the sender.
    pub broadcast: bool,
    /// The time to live of the message.
    pub ttl: u32,
    /// The session's peer.
    pub peer: NodeId,
    /// This node.
    pub own: NodeId,
    /// The epoch that the envelope's id must have: the boot id of the peer, or that of the lane.
    pub epoch: u64,
    /// The number that the envelope's id must have, if the message is one of a lane.
    pub number: Option<u64>,
    /// Bytes of the whole envelope as the message announced them.
    pub len: u64,
}

impl Carrier {
    /// Whether the envelope with this header may come this way.
    ///
    /// # Errors
    /// [`Reason::ForeignSource`] if its source is another node than the peer, [`Reason::NotForMe`] if its target is neither
    /// this node nor everyone, [`Reason::BadEnvelope`] if it contradicts the message or the session in anything else.
    pub fn check(&self, header: &EnvelopeHeader) -> Result<(), Reason> {
        if header.source_node_id != self.peer {
            return Err(Reason::ForeignSource);
        }
        if header.target_node_id.is_some_and(|target| target != self.own) {
            return Err(Reason::NotForMe);
        }
        let agrees = header.priority == self.priority
            && header.target_node_id.is_none() == self.broadcast
            && header.ttl == self.ttl
            && header.message_id.epoch == self.epoch
            && self.number.is_none_or(|number| header.message_id.sequence == number)
            && header.envelope_len() == self.len;
        if agrees { Ok(()) } else { Err(Reason::BadEnvelope) }
    }
}

/// The ids of the last `N` envelopes of one peer: none of them counts again, whatever message it comes in.
///
/// Ids are drawn before an envelope is sealed, so they come out of order, and a window over them would refuse true ones.
/// What was forgotten could be sent again by its source alone, who could as well send it under another id.
#[derive(Clone, Debug)]
pub struct SeenIds<const N: usize> {
    epoch: u64,
    sequences: [u64; N],
    known: usize,
    /// Where the next one goes.
    next: usize,
}

impl<const N: usize> SeenIds<N> {
    /// Nothing seen.
    pub const fn new() -> Self {
        Self { epoch: 0, sequences: [0; N], known: 0, next: 0 }
    }

    /// Whether the envelope with this id is among them.
    pub fn has(&self, id: MessageId) -> bool {
        id.epoch == self.epoch && self.sequences[..self.known].contains(&id.sequence)
    }

    /// Remembers the id of an envelope that was taken; `false` if it was among them before. Another epoch than the last
    /// one's means that the source has booted: what was seen is forgotten.
    pub fn insert(&mut self, id: MessageId) -> bool {
        if self.has(id) {
            return false;
        }
        if id.epoch != self.epoch {
            (self.epoch, self.known, self.next) = (id.epoch, 0, 0);
        }
        if let Some(place) = self.sequences.get_mut(self.next) {
            *place = id.sequence;
            self.known = self.known.max(self.next + 1);
            self.next = (self.next + 1) % N;
        }
        true
    }
}

impl<const N: usize> Default for SeenIds<N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixTime;

    const PEER: NodeId = NodeId::from_bytes([1; 32]);
    const OWN: NodeId = NodeId::from_bytes([2; 32]);
    const OTHER: NodeId = NodeId::from_bytes([3; 32]);

    #[test]
    fn an_envelope_that_agrees_with_its_message_and_session_passes() {
        assert_eq!(verdict(|_| ()), Ok(()));
        assert_eq!(verdict(|header| header.message_id.sequence = 99), Ok(()));
        assert_eq!(verdict(|header| header.timestamp = UnixTime::from_micros(5)), Ok(()));
    }

    #[test]
    fn an_envelope_of_another_source_is_foreign_and_one_for_another_target_is_not_for_this_node() {
        assert_eq!(verdict(|header| header.source_node_id = OTHER), Err(Reason::ForeignSource));
        assert_eq!(verdict(|header| header.source_node_id = OWN), Err(Reason::ForeignSource));
        assert_eq!(verdict(|header| header.target_node_id = Some(OTHER)), Err(Reason::NotForMe));
        assert_eq!(verdict(|header| header.target_node_id = Some(PEER)), Err(Reason::NotForMe));
    }

    #[test]
    fn an_envelope_that_says_anything_else_than_its_message_or_session_is_refused() {
        let lies: [fn(&mut EnvelopeHeader); 6] = [
            |header| header.target_node_id = None,
            |header| header.priority = Priority::Critical,
            |header| header.ttl = 61,
            |header| header.message_id.epoch = 8,
            |header| header.payload_len = 6,
            |header| header.is_signed = true,
        ];

        for (index, lie) in lies.into_iter().enumerate() {
            assert_eq!(verdict(lie), Err(Reason::BadEnvelope), "lie {index}");
        }
    }

    #[test]
    fn an_envelope_of_a_lane_has_the_number_of_its_message() {
        let header = honest();
        let carrier = |number| Carrier { number: Some(number), ..carrier(&header) };

        assert_eq!(carrier(42).check(&header), Ok(()));
        assert_eq!(carrier(41).check(&header), Err(Reason::BadEnvelope));
    }

    #[test]
    fn an_id_counts_once_in_any_order_until_as_many_others_came() {
        let mut seen = SeenIds::<4>::new();
        let id = |sequence| MessageId { epoch: 7, sequence };

        for sequence in [5, 0, u64::MAX, 3] {
            assert!(!seen.has(id(sequence)) && seen.insert(id(sequence)));
        }

        for sequence in [3, u64::MAX, 0, 5] {
            assert!(seen.has(id(sequence)) && !seen.insert(id(sequence)), "{sequence}");
        }
        assert!(seen.insert(id(4)) && !seen.has(id(5)) && seen.has(id(0)));
    }

    #[test]
    fn another_epoch_forgets_what_was_seen() {
        let mut seen = SeenIds::<4>::new();
        seen.insert(MessageId { epoch: 7, sequence: 1 });

        assert!(!seen.has(MessageId { epoch: 8, sequence: 1 }));
        assert!(seen.insert(MessageId { epoch: 8, sequence: 1 }));
        assert!(!seen.insert(MessageId { epoch: 8, sequence: 1 }));
    }

    fn verdict(lie: impl FnOnce(&mut EnvelopeHeader)) -> Result<(), Reason> {
        let mut header = honest();
        let carrier = carrier(&header);
        lie(&mut header);
        carrier.check(&header)
    }

    fn carrier(header: &EnvelopeHeader) -> Carrier {
        Carrier {
            priority: Priority::High,
            broadcast: false,
            ttl: 60,
            peer: PEER,
            own: OWN,
            epoch: 7,
            number: None,
            len: header.envelope_len(),
        }
    }

    fn honest() -> EnvelopeHeader {
        EnvelopeHeader {
            message_id: MessageId { epoch: 7, sequence: 42 },
            source_node_id: PEER,
            target_node_id: Some(OWN),
            timestamp: UnixTime::from_micros(1),
            ttl: 60,
            priority: Priority::High,
            is_encrypted: false,
            is_signed: false,
            message_type: 0x1000,
            payload_len: 5,
        }
    }
}
