//! Messages into a record's body.

use super::MessageHeader;
use super::layout::{
    BRIEF_OVERHEAD, BROADCAST, EXPLICIT, EXTENSION, FULL, Flags, Form, LAST, NO_KIND, Previous, SAME_KIND,
    extension_of, one_byte,
};

/// Whether anything follows a message in its record; the last one needs no length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// More messages may follow.
    Inner,
    /// Nothing follows: the encoder is closed.
    Last,
}

/// Writes messages into a record's body, one after another, choosing the shortest form of each.
///
/// On `false` nothing has changed: the message does not fit, and may be tried in the next record.
#[derive(Debug)]
pub struct Encoder<'b> {
    body: &'b mut [u8],
    at: usize,
    count: usize,
    previous: Previous,
}

impl<'b> Encoder<'b> {
    /// An encoder into `body`, the whole room that the record has for messages.
    ///
    /// `previous_sequence` is the one last written in this direction of the session, if any.
    #[inline]
    pub fn new(body: &'b mut [u8], previous_sequence: Option<u64>) -> Self {
        Self { body, at: 0, count: 0, previous: Previous { kind: NO_KIND, sequence: previous_sequence } }
    }

    /// Exactly the bytes that [`push`](Self::push) would write next for this message.
    #[inline]
    pub fn needs(&self, header: &MessageHeader, payload_len: usize, place: Place) -> usize {
        self.form(header, place).overhead(header, payload_len).saturating_add(payload_len)
    }

    /// Writes a message, or returns `false` if it does not fit, contradicts itself, or the encoder is closed.
    #[inline]
    pub fn push(&mut self, header: &MessageHeader, payload: &[u8], place: Place) -> bool {
        let form = self.form(header, place);
        if form.flags.is_brief()
            && let Some(len) = one_byte(payload.len())
            && let Some(ttl) = one_byte(header.ttl)
            && let Some(age) = one_byte(header.age)
            && let Some(room) = self.body.get_mut(self.at..)
            && let Some((head, _)) = room.split_first_chunk_mut::<BRIEF_OVERHEAD>()
            && let Some(overhead) = form.write_brief(len, ttl, age, head)
            && let Some(body) = room.get_mut(overhead..overhead + payload.len())
        {
            body.copy_from_slice(payload);
            self.previous.sequence = Some(header.sequence);
            self.at += overhead + payload.len();
            self.count += 1;
            return true;
        }
        self.push_any(form, header, payload, place)
    }

    /// Bytes written so far.
    #[inline]
    pub const fn written(&self) -> usize {
        self.at
    }

    /// Bytes of room left; 0 when closed.
    #[inline]
    pub const fn room(&self) -> usize {
        self.body.len() - self.at
    }

    /// Messages written so far.
    #[inline]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The sequence last written in this direction of the session: what the next record's encoder is given.
    #[inline]
    pub const fn last_sequence(&self) -> Option<u64> {
        self.previous.sequence
    }

    #[inline(never)]
    fn push_any(&mut self, form: Form, header: &MessageHeader, payload: &[u8], place: Place) -> bool {
        if header.part.is_some_and(|part| part.end(payload.len()).is_none())
            || header.full && (header.kind != 0 || header.compressed.is_some())
        {
            return false;
        }
        let overhead = form.overhead(header, payload.len());
        let Some(room) = self.body.get_mut(self.at..) else { return false };
        let Some((head, rest)) = room.split_at_mut_checked(overhead) else { return false };
        let Some(body) = rest.get_mut(..payload.len()) else { return false };
        if form.write(header, payload.len(), head).is_none() {
            return false;
        }
        body.copy_from_slice(payload);
        self.previous = Previous::of(header);
        self.advance(overhead + payload.len(), place);
        true
    }

    #[inline]
    fn advance(&mut self, len: usize, place: Place) {
        self.at += len;
        self.count += 1;
        if place == Place::Last {
            let body = core::mem::take(&mut self.body);
            self.body = body.get_mut(..self.at).unwrap_or_default();
        }
    }

    #[inline]
    fn form(&self, header: &MessageHeader, place: Place) -> Form {
        let mut flags = header.priority as u8;
        if header.broadcast {
            flags |= BROADCAST;
        }
        if header.full {
            flags |= FULL;
        } else if self.previous.kind == u32::from(header.kind) {
            flags |= SAME_KIND;
        }
        if place == Place::Last {
            flags |= LAST;
        }
        if self.previous.next_sequence() != Some(header.sequence) {
            flags |= EXPLICIT;
        }
        let extension = extension_of(header);
        if extension != 0 {
            flags |= EXTENSION;
        }
        Form { flags: Flags(flags), extension }
    }
}
