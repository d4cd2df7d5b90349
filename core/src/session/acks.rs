//! What this end owes the peer in acknowledgements. Counts records; knows no bytes.
//!
//! A record is done when the application is done with its messages, or at once when it carries none. Done is cumulative:
//! the acknowledgement says "all records below this counter".

use crate::time::{Duration, Instant};

/// Records with messages that are done before an acknowledgement is sent without waiting.
const PROMPT: u64 = 16;

/// How long an acknowledgement waits for company, as `max_ack_delay` of RFC 9000, section 18.2.
const DELAY: Duration = Duration::from_millis(25);

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Acks {
    /// Records received.
    received: u64,
    /// One past the last record that carried messages.
    eliciting: u64,
    /// One past the last record that the application is done with.
    consumed: u64,
    /// What the peer was told last.
    sent: u64,
    /// When waiting for company ends.
    due_at: Option<Instant>,
    /// The waiting is over.
    is_urgent: bool,
}

impl Acks {
    pub(crate) fn handle_record(&mut self, counter: u64, has_messages: bool) {
        self.received = counter + 1;
        if has_messages {
            self.eliciting = counter + 1;
        }
    }

    /// The application is done with record `counter` and all before it.
    pub(crate) fn handle_consumed(&mut self, now: Instant, counter: u64) {
        let through = counter.saturating_add(1).min(self.eliciting);
        if through <= self.consumed {
            return;
        }
        self.consumed = through;
        if through.saturating_sub(self.sent) >= PROMPT {
            self.is_urgent = true;
            self.due_at = None;
        } else if !self.is_urgent && self.due_at.is_none() {
            self.due_at = Some(now.after(DELAY));
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.due_at.is_some_and(|at| at <= now) {
            self.due_at = None;
            self.is_urgent = true;
        }
    }

    /// Whether the application is done with all messages that came.
    pub(crate) fn is_settled(&self) -> bool {
        self.consumed == self.eliciting
    }

    /// Whether an acknowledgement must go out now, alone if need be.
    pub(crate) fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    /// When it becomes urgent.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.due_at
    }

    /// What the next record should acknowledge, if the application is done with messages that the peer does not know of.
    pub(crate) fn pending(&self) -> Option<u64> {
        (self.is_urgent || self.due_at.is_some()).then(|| self.through())
    }

    /// A record that acknowledged all records below `through` was written.
    pub(crate) fn handle_sent(&mut self, through: u64) {
        self.sent = through;
        self.due_at = None;
        self.is_urgent = false;
    }

    fn through(&self) -> u64 {
        if self.is_settled() { self.received } else { self.consumed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_micros(5);

    #[test]
    fn records_without_messages_owe_nothing() {
        let mut acks = Acks::default();

        acks.handle_record(0, false);

        assert_eq!(acks.pending(), None);
    }

    #[test]
    fn an_acknowledgement_covers_the_empty_records_behind_it() {
        let mut acks = Acks::default();
        acks.handle_record(0, true);
        acks.handle_record(1, false);

        acks.handle_consumed(NOW, 0);

        assert_eq!(acks.pending(), Some(2));
        assert_eq!(acks.due_at(), Some(NOW.after(DELAY)));
    }

    #[test]
    fn what_the_application_still_holds_is_not_acknowledged() {
        let mut acks = Acks::default();
        acks.handle_record(0, true);
        acks.handle_record(1, true);
        acks.handle_record(2, false);

        acks.handle_consumed(NOW, 0);

        assert_eq!(acks.pending(), Some(1));
    }

    #[test]
    fn many_records_are_acknowledged_at_once() {
        let mut acks = Acks::default();
        for counter in 0..PROMPT {
            acks.handle_record(counter, true);
        }

        acks.handle_consumed(NOW, PROMPT - 1);

        assert!(acks.is_urgent());
        assert_eq!(acks.due_at(), None);
    }

    #[test]
    fn consuming_what_never_came_changes_nothing() {
        let mut acks = Acks::default();
        acks.handle_record(0, true);

        acks.handle_consumed(NOW, 700);

        assert_eq!(acks.pending(), Some(1));
    }
}
