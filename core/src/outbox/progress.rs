//! How far the first message of each class is written, when it is sent in parts, and what was begun and given up.
//!
//! Only the first message of a class can be partly written. When it is dropped, the peer is told that no more of it comes.

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
}

impl Progress {
    /// Payload bytes of the class's first message that are written.
    #[inline]
    pub(super) fn written(&self, class: Priority) -> usize {
        match self.classes[class as usize] {
            State::Begun { written, .. } => written as usize,
            State::Clean | State::Abandoned { .. } => 0,
        }
    }

    /// `len` more bytes of the class's first message are written, but not the last one.
    pub(super) fn handle_part(&mut self, ticket: Ticket, len: u32, total: u32) {
        let Ticket { class, ordinal } = ticket;
        let before = match self.classes[class as usize] {
            State::Begun { written, .. } => written,
            State::Clean | State::Abandoned { .. } => 0,
        };
        let written = before.saturating_add(len).min(total);
        self.classes[class as usize] = State::Begun { ordinal, written, total };
    }

    /// The class's first message has left the queue as a whole.
    #[inline]
    pub(super) fn handle_whole(&mut self, class: Priority) {
        self.classes[class as usize] = State::Clean;
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

    /// Whether there is an abandonment to write.
    #[inline]
    pub(super) const fn has_abandoned(&self) -> bool {
        self.abandoned > 0
    }

    /// The abandonment to write next: the message's header, and the part that says so.
    pub(super) fn abandoned(&self) -> Option<(&Header, Part)> {
        self.classes.iter().rev().find_map(|state| match state {
            State::Abandoned { header, total } => Some((header, Part { total: *total, offset: *total })),
            State::Clean | State::Begun { .. } => None,
        })
    }

    /// The class's abandonment is written.
    pub(super) fn handle_told(&mut self, class: Priority) {
        let state = &mut self.classes[class as usize];
        if matches!(state, State::Abandoned { .. }) {
            *state = State::Clean;
            self.abandoned -= 1;
        }
    }

    /// The peer forgets every unfinished message with its session.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}
