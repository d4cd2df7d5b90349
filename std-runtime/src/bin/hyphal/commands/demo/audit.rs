//! The audit: senders' books against receivers' logs. Pure: it reads lines and counts; it knows no process.
//!
//! One entry is a message and one of its targets. Each counts in exactly one of the columns, so that
//! `sent = delivered + expired + dropped + unconfirmed + lost`. The senders' word decides the column, and the logs are
//! held against it:
//!
//! - delivered: the sender calls it confirmed, and the target logged it;
//! - expired, dropped: the sender says so, and no one logged it;
//! - unconfirmed: its session died first, or its sender died before it could write the fate down;
//! - lost: all others. Confirmed and never logged; logged although it is said to have expired or been dropped; without a
//!   fate although its sender lived on; logged and in no book.

use std::collections::{BTreeMap, HashMap, HashSet};

use hyphal::MessageId;

use super::ledger::{Arrival, Entry, Fate};
use super::script::NODES;

/// One life of a node as sender.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    pub(super) index: usize,
    /// Whether this life ended by a kill, so that the end of its book may be missing.
    pub(super) was_killed: bool,
    pub(super) book: Vec<Entry>,
}

/// The logs of a node, one for each of its lives.
#[derive(Clone, Debug)]
pub(super) struct Receiver {
    pub(super) index: usize,
    pub(super) logs: Vec<Vec<Arrival>>,
}

/// What became of all messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Audit {
    pub(super) sent: u64,
    pub(super) delivered: u64,
    pub(super) expired: u64,
    pub(super) dropped: BTreeMap<String, u64>,
    pub(super) unconfirmed: u64,
    /// Of the unconfirmed ones, those that a receiver logged.
    pub(super) unconfirmed_arrived: u64,
    pub(super) lost: u64,
    /// Logged more than once in one life.
    pub(super) duplicates: u64,
    /// Logged in a life that was killed before it could acknowledge, and again in the next.
    pub(super) repeated: u64,
}

impl Audit {
    pub(super) fn of(senders: &[Sender], receivers: &[Receiver]) -> Self {
        let mut arrivals = Arrivals::of(receivers);
        let mut audit =
            Self { duplicates: arrivals.duplicates, repeated: arrivals.repeated, ..Self::default() };
        for sender in senders {
            audit.count(sender, &mut arrivals);
        }
        // What is left was delivered, and no book knows of it.
        let unknown = arrivals.unexplained();
        audit.sent += unknown;
        audit.lost += unknown;
        audit
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.values().sum()
    }

    fn count(&mut self, sender: &Sender, arrivals: &mut Arrivals) {
        let mut messages: BTreeMap<u64, Attempt> = BTreeMap::new();
        for entry in &sender.book {
            match entry {
                Entry::Try { number, target } => {
                    messages.entry(*number).or_default().target = *target;
                }
                Entry::Sent { number, id } => messages.entry(*number).or_default().id = Some(*id),
                Entry::Fate { number, target, fate } => {
                    messages.entry(*number).or_default().fates.insert(*target, fate.clone());
                }
            }
        }
        let mut nameless = Vec::new();
        for attempt in messages.values() {
            for target in attempt.targets(sender.index) {
                let Some(id) = attempt.id else {
                    match attempt.fates.get(&target) {
                        Some(Fate::Dropped(reason)) => self.drop_one(reason),
                        _ => nameless.push(target),
                    }
                    continue;
                };
                let has_arrived = arrivals.take(target, Arrival { source: sender.index, id });
                self.judge(attempt.fates.get(&target), has_arrived, sender.was_killed);
            }
        }
        // Sent in the very moment of the kill, before the id was written down: whatever else arrived from that life.
        for target in nameless {
            self.sent += 1;
            if sender.was_killed {
                self.unconfirmed += 1;
                self.unconfirmed_arrived += u64::from(arrivals.take_nameless(target, sender));
            } else {
                self.lost += 1;
            }
        }
    }

    fn judge(&mut self, fate: Option<&Fate>, has_arrived: bool, was_killed: bool) {
        match (fate, has_arrived) {
            (Some(Fate::Delivered), true) => self.delivered += 1,
            (Some(Fate::Expired), false) => self.expired += 1,
            (Some(Fate::Dropped(reason)), false) => return self.drop_one(reason),
            (Some(Fate::Unconfirmed), _) => self.leave_open(has_arrived),
            (None, _) if was_killed => self.leave_open(has_arrived),
            _ => self.lost += 1,
        }
        self.sent += 1;
    }

    fn leave_open(&mut self, has_arrived: bool) {
        self.unconfirmed += 1;
        self.unconfirmed_arrived += u64::from(has_arrived);
    }

    fn drop_one(&mut self, reason: &str) {
        self.sent += 1;
        *self.dropped.entry(reason.to_owned()).or_default() += 1;
    }
}

/// What became of Guaranteed messages, of which only those that were accepted count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Promises {
    pub(super) accepted: u64,
    /// Accepted, and never received.
    pub(super) lost: u64,
    /// Received again: a kill between a message and its acknowledgement may do that.
    pub(super) repeated: u64,
}

impl Promises {
    pub(super) fn of(accepted: &[Arrival], received: &[Arrival]) -> Self {
        let name = |message: &Arrival| (message.source, message.id);
        let known: HashSet<_> = received.iter().map(name).collect();
        Self {
            accepted: accepted.len() as u64,
            lost: accepted.iter().filter(|message| !known.contains(&name(message))).count() as u64,
            repeated: (received.len() - known.len()) as u64,
        }
    }
}

/// One message of a book.
#[derive(Debug, Default)]
struct Attempt {
    target: Option<usize>,
    id: Option<MessageId>,
    fates: HashMap<usize, Fate>,
}

impl Attempt {
    fn targets(&self, source: usize) -> impl Iterator<Item = usize> {
        let target = self.target;
        (0..NODES).filter(move |&node| node != source && target.is_none_or(|target| target == node))
    }
}

/// What receivers logged, by receiver and message, and whether a book knows of it.
struct Arrivals {
    known: HashMap<(usize, usize, MessageId), bool>,
    duplicates: u64,
    repeated: u64,
}

impl Arrivals {
    fn of(receivers: &[Receiver]) -> Self {
        let mut arrivals = Self { known: HashMap::new(), duplicates: 0, repeated: 0 };
        for receiver in receivers {
            for log in &receiver.logs {
                let mut in_this_life = HashSet::new();
                for Arrival { source, id } in log {
                    let is_known = arrivals.known.insert((receiver.index, *source, *id), false).is_some();
                    if !in_this_life.insert((*source, *id)) {
                        arrivals.duplicates += 1;
                    } else if is_known {
                        arrivals.repeated += 1;
                    }
                }
            }
        }
        arrivals
    }

    /// Whether this message arrived; from here on a book knows of it.
    fn take(&mut self, target: usize, arrival: Arrival) -> bool {
        self.known.get_mut(&(target, arrival.source, arrival.id)).map(|known| *known = true).is_some()
    }

    /// Takes a message of a killed sender that arrived and whose id is in no book.
    fn take_nameless(&mut self, target: usize, sender: &Sender) -> bool {
        let epoch = sender.book.iter().find_map(|entry| match entry {
            Entry::Sent { id, .. } => Some(id.epoch),
            Entry::Try { .. } | Entry::Fate { .. } => None,
        });
        self.known
            .iter_mut()
            .find(|((to, from, id), known)| {
                !**known
                    && (*to, *from) == (target, sender.index)
                    && epoch.is_none_or(|epoch| epoch == id.epoch)
            })
            .map(|(_, known)| *known = true)
            .is_some()
    }

    fn unexplained(&self) -> u64 {
        self.known.values().filter(|known| !**known).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::lines;
    use super::*;

    #[test]
    fn a_promise_is_kept_by_a_message_that_came_at_least_once() {
        let accepted = lines("0 9 1\n0 9 2\n0 9 3\n").unwrap();
        let received = lines("0 9 1\n0 9 3\n0 9 3\n0 9 4\n").unwrap();

        assert_eq!(Promises::of(&accepted, &received), Promises { accepted: 3, lost: 1, repeated: 1 });
    }

    /// Node 0 sends, node 1 receives.
    fn audit(was_killed: bool, book: &str, log: &str) -> Audit {
        audit_of_lives(was_killed, book, &[log])
    }

    fn audit_of_lives(was_killed: bool, book: &str, logs: &[&str]) -> Audit {
        let sender = Sender { index: 0, was_killed, book: lines(book).unwrap() };
        let logs = logs.iter().map(|log| lines(log).unwrap()).collect();
        let receiver = Receiver { index: 1, logs };
        Audit::of(&[sender], &[receiver])
    }

    #[test]
    fn a_confirmed_message_in_the_log_is_delivered() {
        let audit = audit(false, "try 0 1\nsent 0 9 1\nfate 0 1 delivered\n", "0 9 1\n");

        assert_eq!(audit, Audit { sent: 1, delivered: 1, ..Audit::default() });
    }

    #[test]
    fn a_confirmed_message_in_no_log_is_lost() {
        let audit = audit(false, "try 0 1\nsent 0 9 1\nfate 0 1 delivered\n", "");

        assert_eq!(audit, Audit { sent: 1, lost: 1, ..Audit::default() });
    }

    #[test]
    fn a_logged_message_in_no_book_is_lost() {
        let audit = audit(false, "", "0 9 1\n");

        assert_eq!(audit, Audit { sent: 1, lost: 1, ..Audit::default() });
    }

    #[test]
    fn a_message_without_a_fate_is_lost_unless_its_sender_was_killed() {
        let book = "try 0 1\nsent 0 9 1\n";

        assert_eq!(audit(false, book, ""), Audit { sent: 1, lost: 1, ..Audit::default() });
        assert_eq!(audit(true, book, ""), Audit { sent: 1, unconfirmed: 1, ..Audit::default() });
    }

    #[test]
    fn a_message_without_an_id_explains_one_arrival_if_its_sender_was_killed() {
        let book = "try 0 1\nsent 0 9 1\nfate 0 1 delivered\ntry 1 1\n";

        let one = audit(true, book, "0 9 1\n0 9 2\n");
        let two = audit(true, book, "0 9 1\n0 9 2\n0 9 3\n");

        let expected =
            Audit { sent: 2, delivered: 1, unconfirmed: 1, unconfirmed_arrived: 1, ..Audit::default() };
        assert_eq!(one, expected);
        assert_eq!(two, Audit { sent: 3, lost: 1, ..expected });
    }

    #[test]
    fn a_message_logged_twice_by_one_receiver_is_a_duplicate() {
        let audit = audit(false, "try 0 1\nsent 0 9 1\nfate 0 1 delivered\n", "0 9 1\n0 9 1\n");

        assert_eq!(audit, Audit { sent: 1, delivered: 1, duplicates: 1, ..Audit::default() });
    }

    #[test]
    fn a_message_logged_again_after_a_death_of_its_receiver_is_repeated() {
        let book = "try 0 1\nsent 0 9 1\nfate 0 1 delivered\n";

        let audit = audit_of_lives(false, book, &["0 9 1\n", "0 9 1\n0 9 1\n"]);

        assert_eq!(audit, Audit { sent: 1, delivered: 1, duplicates: 1, repeated: 1, ..Audit::default() });
    }

    #[test]
    fn an_expired_message_counts_as_such_only_if_nobody_got_it() {
        let book = "try 0 1\nsent 0 9 1\nfate 0 1 expired\n";

        assert_eq!(audit(false, book, ""), Audit { sent: 1, expired: 1, ..Audit::default() });
        assert_eq!(audit(false, book, "0 9 1\n"), Audit { sent: 1, lost: 1, ..Audit::default() });
    }

    #[test]
    fn a_broadcast_counts_once_for_each_peer() {
        let book = "try 0 *\nsent 0 9 1\nfate 0 1 delivered\nfate 0 2 unconfirmed\n\
                    fate 0 3 dropped not accepted, the queue was full\nfate 0 4 expired\n";

        let audit = audit(false, book, "0 9 1\n");

        assert_eq!((audit.sent, audit.delivered, audit.unconfirmed), (4, 1, 1));
        assert_eq!((audit.expired, audit.dropped(), audit.lost), (1, 1, 0));
    }
}
