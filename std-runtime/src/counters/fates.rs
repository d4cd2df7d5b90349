//! What became of messages that were sent, for each reliability: the same books as [`Sent`](super::Sent), kept apart.
//!
//! Nothing is counted here: outboxes and lanes count, and this adds up what they say when somebody asks. Invariant: each
//! message is in one of the three books, and has one fate there at most.

use hyphal_core::ids::Reliability;
use hyphal_core::wire::reason::Reason;

/// What became of the messages of each reliability, from [`Node::counters`](crate::Node::counters) and
/// [`Node::peers`](crate::Node::peers).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ByReliability {
    /// Of BestEffort messages.
    pub best_effort: Fates,
    /// Of High ones.
    pub high: Fates,
    /// Of Guaranteed ones.
    pub guaranteed: Fates,
}

/// What became of the messages of one reliability.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fates {
    /// Messages accepted for sending.
    pub sent: u64,
    /// Acknowledged by the peer's application.
    pub confirmed: u64,
    /// Sent, not acknowledged, and not sent again.
    pub unconfirmed: u64,
    /// Of which the receiver no longer knows whether they came; Guaranteed ones only.
    pub unknown: u64,
    /// Given up before they had left as a whole, by reason, the expired ones among them.
    pub dropped: Vec<(Reason, u64)>,
    /// How often one was put back to be sent again, as its session had ended before its acknowledgement. No fate: it comes on
    /// top, and a message may have been put back many times.
    pub requeued: u64,
}

impl ByReliability {
    /// Each reliability with its fates, the least reliable first.
    pub fn iter(&self) -> impl Iterator<Item = (Reliability, &Fates)> {
        let Self { best_effort, high, guaranteed } = self;
        Reliability::ALL.into_iter().zip([best_effort, high, guaranteed])
    }

    /// What was given up of all of them, by reason.
    pub(crate) fn dropped(&self) -> Vec<(Reason, u64)> {
        let mut all = Vec::new();
        self.iter().for_each(|(_, fates)| add_reasons(&mut all, &fates.dropped));
        all
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let Self { best_effort, high, guaranteed } = other;
        self.best_effort.add(best_effort);
        self.high.add(high);
        self.guaranteed.add(guaranteed);
    }
}

impl Fates {
    /// Those that have no fate yet: they wait, are stored, or are sent and not acknowledged.
    pub fn outstanding(&self) -> u64 {
        let dropped: u64 = self.dropped.iter().map(|(_, count)| count).sum();
        self.sent.saturating_sub(self.confirmed + self.unconfirmed + self.unknown + dropped)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let Self { sent, confirmed, unconfirmed, unknown, dropped, requeued } = other;
        self.sent += sent;
        self.confirmed += confirmed;
        self.unconfirmed += unconfirmed;
        self.unknown += unknown;
        self.requeued += requeued;
        add_reasons(&mut self.dropped, dropped);
    }
}

/// Adds counts to others; both are in the order of their reasons.
fn add_reasons(counts: &mut Vec<(Reason, u64)>, others: &[(Reason, u64)]) {
    for &(reason, count) in others {
        match counts.binary_search_by_key(&reason, |(known, _)| *known) {
            Ok(at) => counts[at].1 += count,
            Err(at) => counts.insert(at, (reason, count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates_add_up_by_reliability_and_reason() {
        let high = Fates {
            sent: 10,
            confirmed: 3,
            unconfirmed: 1,
            requeued: 7,
            dropped: vec![(Reason::Expired, 2), (Reason::PeerGone, 1)],
            ..Fates::default()
        };
        let low =
            Fates { sent: 4, dropped: vec![(Reason::Shed, 1), (Reason::PeerGone, 2)], ..Fates::default() };
        let mut all = ByReliability { best_effort: low.clone(), high: high.clone(), ..Default::default() };

        all.add(&ByReliability { high, ..Default::default() });

        assert_eq!((all.high.sent, all.high.requeued, all.high.outstanding()), (20, 14, 6));
        assert_eq!((all.best_effort, all.guaranteed.outstanding()), (low, 0));
    }

    #[test]
    fn reasons_of_all_reliabilities_are_told_together_and_in_order() {
        let fates = |dropped: &[(Reason, u64)]| Fates { dropped: dropped.to_vec(), ..Fates::default() };
        let all = ByReliability {
            best_effort: fates(&[(Reason::Shed, 1), (Reason::PeerGone, 2)]),
            high: fates(&[(Reason::Expired, 3), (Reason::PeerGone, 4)]),
            guaranteed: fates(&[(Reason::NotKept, 5)]),
        };

        let dropped = all.dropped();

        let expected = [(Reason::Expired, 3), (Reason::Shed, 1), (Reason::PeerGone, 6), (Reason::NotKept, 5)];
        assert_eq!(dropped, expected);
    }
}
