//! Guaranteed messages for which there was no memory when they came, and which could not wait: they are let go of, and asked for
//! again in the same session, one after another, when there is memory for them.
//!
//! Invariant: a message is asked for only when its lane would take it again, so that it is not dropped as a duplicate then; and
//! while the link holds no memory itself, so that nobody waits for anybody who waits.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use hyphal_core::ids::{MessageId, Priority};
use hyphal_core::wire::reason::Reason;

use super::{Inflow, refuse};
use crate::assembly::Budget;
use crate::guaranteed::Arrival;
use crate::peer::Peer;

/// What is to be asked for again over one link: at most the windows of the lanes of a peer.
#[derive(Debug, Default)]
pub(super) struct Shortages {
    oldest_first: VecDeque<Shortage>,
}

#[derive(Debug)]
struct Shortage {
    class: Priority,
    id: MessageId,
    /// Bytes that it takes.
    len: u32,
    /// As long as somebody has it, its number is taken.
    arrival: Weak<Arrival>,
}

impl Shortages {
    pub(super) fn is_empty(&self) -> bool {
        self.oldest_first.is_empty()
    }

    /// Takes note of a message that needs `len` bytes. If there never will be so many, it is refused.
    pub(super) fn note(
        &mut self,
        budget: &Budget,
        arrival: Option<&Arc<Arrival>>,
        class: Priority,
        len: u32,
    ) {
        let Some(arrival) = arrival else { return };
        if !budget.takes(len) {
            return refuse(Some(arrival), Reason::TooLong);
        }
        arrival.fall_short();
        let id = arrival.id();
        self.oldest_first.retain(|other| (other.class, other.id) != (class, id));
        self.oldest_first.push_back(Shortage { class, id, len, arrival: Arc::downgrade(arrival) });
    }
}

impl Inflow {
    /// There is no memory for a message that cannot wait for it.
    pub(super) fn fall_short(&mut self, arrival: Option<&Arc<Arrival>>, class: Priority, len: u32) {
        self.shortages.note(&self.budget, arrival, class, len);
    }

    /// Asks for the messages again for which there is memory by now.
    pub(super) fn ask_again(&mut self, peer: &Peer) {
        let holds_memory = self.unfinished.iter().any(|message| message.whole.is_some());
        let Some(lanes) = peer.lanes.as_ref().filter(|_| !holds_memory && self.waiting.is_empty()) else {
            return;
        };
        let is_free = |shortage: &Shortage| shortage.arrival.strong_count() == 0;
        while let Some(at) = self.shortages.oldest_first.iter().position(is_free) {
            let Shortage { class, id, len, .. } = self.shortages.oldest_first[at];
            // That there is memory is all that counts: it is reserved when the message comes.
            if self.budget.reserve_in_line(len, Vec::new(), &self.signal).is_none() {
                return;
            }
            lanes.ask_again(class, id, self.token);
            self.shortages.oldest_first.remove(at);
        }
    }
}
