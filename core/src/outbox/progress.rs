//! How far the first message of each class is written, when it is sent in parts, and what was begun and given up.
//!
//! Only the first message of a class can be partly written. When it is dropped, the peer is told that no more of it comes.
//!
//! ```text
//!          a part                dropped                over a stream
//!   Clean ───────▶ Begun ──────────────────▶ Abandoned ───────────────▶ Clean
//!      │             │ the last part             ▲  │                     ▲
//!      │◀────────────┘                           │  │ over datagrams      │ has arrived
//!      │   a part is lost for good               │  └────────▶ Told ──────┘
//!      └─────────────────────────────────────────┘
//! ```

use super::{CLASSES, Entry, Header, Ticket};
use crate::ids::Priority;
use crate::wire::message::Part;

#[derive(Debug, Default)]
pub(super) struct Progress {
    classes: [State; CLASSES],
    /// How many of them are abandoned.
    abandoned: u8,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Nothing of the first message is written.
    #[default]
    Clean,
    /// Some of it is.
    Begun { ordinal: u64, written: u32, total: u32 },
    /// It was dropped, and the peer does not know.
    Abandoned { header: Header, total: u32 },
    /// The peer was told over datagrams, and may not have heard.
    Told { header: Header, total: u32 },
}

impl Progress {
    /// Payload bytes of the class's first message that are written.
    #[inline]
    pub(super) fn written(&self, class: Priority) -> usize {
        match self.classes[class as usize] {
            State::Begun { written, .. } => written as usize,
            State::Clean | State::Abandoned { .. } | State::Told { .. } => 0,
        }
    }

    /// `len` more bytes of the class's first message are written, but not the last one.
    pub(super) fn handle_part(&mut self, ticket: Ticket, len: u32, total: u32) {
        let Ticket { class, ordinal } = ticket;
        let before = match self.classes[class as usize] {
            State::Begun { written, .. } => written,
            State::Clean => 0,
            // Nothing is begun before the end of the one before is heard.
            State::Abandoned { .. } | State::Told { .. } => return,
        };
        let written = before.saturating_add(len).min(total);
        self.classes[class as usize] = State::Begun { ordinal, written, total };
    }

    /// The class's first message has left the queue as a whole.
    #[inline]
    pub(super) fn handle_whole(&mut self, class: Priority) {
        let state = &mut self.classes[class as usize];
        if matches!(state, State::Begun { .. }) {
            *state = State::Clean;
        }
    }

    /// The message was dropped: if some of it was written, the peer must be told.
    #[inline]
    pub(super) fn handle_dropped(&mut self, entry: &Entry) {
        let state = &mut self.classes[entry.header.priority as usize];
        if let State::Begun { ordinal, total, .. } = *state
            && ordinal == entry.ordinal
        {
            *state = State::Abandoned { header: entry.header, total };
            self.abandoned += 1;
        }
    }

    /// A message of `total` bytes was written as a whole, and parts of it are lost for good.
    pub(super) fn handle_given_up(&mut self, header: Header, total: u32) {
        let state = &mut self.classes[header.priority as usize];
        if matches!(state, State::Clean) {
            *state = State::Abandoned { header, total };
            self.abandoned += 1;
        }
    }

    /// Whether there is an abandonment to write.
    #[inline]
    pub(super) const fn has_abandoned(&self) -> bool {
        self.abandoned > 0
    }

    /// The abandonment to write next: the message's header, and the part that says so.
    pub(super) fn abandoned(&self) -> Option<(&Header, Part)> {
        self.classes.iter().rev().find_map(|state| match state {
            State::Abandoned { header, total } => Some((header, end_of(*total))),
            State::Clean | State::Begun { .. } | State::Told { .. } => None,
        })
    }

    /// The class's abandonment is written; one that `may_be_lost` is remembered until it has arrived.
    pub(super) fn handle_told(&mut self, class: Priority, may_be_lost: bool) {
        let state = &mut self.classes[class as usize];
        if let State::Abandoned { header, total } = *state {
            *state = if may_be_lost { State::Told { header, total } } else { State::Clean };
            self.abandoned -= 1;
        }
    }

    /// The class's abandonment that was written and may not have arrived.
    pub(super) fn told(&self, class: Priority) -> Option<(&Header, Part)> {
        match &self.classes[class as usize] {
            State::Told { header, total } => Some((header, end_of(*total))),
            State::Clean | State::Begun { .. } | State::Abandoned { .. } => None,
        }
    }

    /// The class's abandonment has arrived.
    pub(super) fn handle_heard(&mut self, class: Priority) {
        let state = &mut self.classes[class as usize];
        if matches!(state, State::Told { .. }) {
            *state = State::Clean;
        }
    }

    /// Whether the peer may not know that the last message of the class which was begun is given up.
    pub(super) const fn is_given_up(&self, class: Priority) -> bool {
        matches!(self.classes[class as usize], State::Abandoned { .. } | State::Told { .. })
    }

    /// Whether there is such a message in any class.
    pub(super) fn has_given_up(&self) -> bool {
        Priority::ALL.into_iter().any(|class| self.is_given_up(class))
    }

    /// The peer forgets every unfinished message with its session.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Where an abandonment stands.
const fn end_of(total: u32) -> Part {
    Part { total, offset: total }
}
