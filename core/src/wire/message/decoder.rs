//! Messages out of a record's body, which is checked as a whole before the first is handed out.

use core::num::NonZeroU64;

use super::layout::{
    AGE, BRIEF_TTL, BROADCAST, COMPRESSED, EXPLICIT, EXTENSION, FULL, Flags, LAST, NO_KIND, NUMBER, PART,
    Previous, SAME_KIND, TTL, TTL_AND_AGE,
};
use super::{Compressed, DEFAULT_TTL, Message, MessageHeader, Method, Methods, Part};
use crate::wire::cursor::Reader;
use crate::wire::family::Family;
use crate::wire::reason::Reason;

/// The messages' count and last sequence, of a body whose every byte was checked: the evidence that [`Messages`] needs.
#[derive(Clone, Copy, Debug)]
pub struct Checked<'a> {
    body: &'a [u8],
    previous_sequence: Option<u64>,
    last_sequence: Option<u64>,
    count: usize,
    longest: usize,
    has_parts: bool,
    methods: Methods,
}

impl<'a> Checked<'a> {
    /// How many messages there are.
    #[inline]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The sequence last received in this direction of the session: what the next [`check`] is given.
    #[inline]
    pub const fn last_sequence(&self) -> Option<u64> {
        self.last_sequence
    }

    /// Bytes of the longest payload, to hold against what this node said it takes: that of the whole message where this is
    /// a part of one, and that before compression where it is longer.
    #[inline]
    pub const fn longest(&self) -> usize {
        self.longest
    }

    /// Whether there is a part of a message among them.
    #[inline]
    pub const fn has_parts(&self) -> bool {
        self.has_parts
    }

    /// How messages among them are compressed, to hold against what this node said it takes.
    #[inline]
    pub const fn methods(&self) -> Methods {
        self.methods
    }

    /// The messages in order.
    #[inline]
    pub const fn messages(&self) -> Messages<'a> {
        Messages {
            reader: Reader::new(self.body),
            previous: Previous { kind: NO_KIND, sequence: self.previous_sequence },
            left: self.count,
        }
    }
}

/// Checks a record's body of messages as a whole.
///
/// `previous_sequence` is the one last received in this direction of the session, if any. [`Reason::Compression`] for a
/// compressed message of a family that never is, else [`Reason::Malformed`].
#[inline]
pub fn check(body: &[u8], previous_sequence: Option<u64>) -> Result<Checked<'_>, Reason> {
    let mut reader = Reader::new(body);
    let mut previous = Previous { kind: NO_KIND, sequence: previous_sequence };
    let mut count = 0;
    let mut longest = 0;
    let mut has_parts = false;
    let mut methods = Methods::NONE;
    while !reader.is_empty() {
        let Message { header, payload } = read(&mut reader, &mut previous)?;
        has_parts |= header.part.is_some();
        if let Some(compressed) = header.compressed {
            methods = methods.and(compressed.method);
            if !may_be_compressed(header.kind) {
                return Err(Reason::Compression);
            }
        }
        longest = longest.max(whole_len(&header, payload.len()));
        count += 1;
    }
    Ok(Checked {
        body,
        previous_sequence,
        last_sequence: previous.sequence,
        count,
        longest,
        has_parts,
        methods,
    })
}

/// Whether messages of this type may be compressed; of types without a family nobody knows better.
#[cold]
fn may_be_compressed(kind: u16) -> bool {
    Family::of(kind).is_none_or(Family::is_compressible)
}

/// The most bytes that a message of which `len` bytes are here takes up once it is whole and plain.
#[inline]
fn whole_len(header: &MessageHeader, len: usize) -> usize {
    let total = header.part.map_or(0, |part| part.total as usize);
    let original = header.compressed.map_or(0, |compressed| compressed.original as usize);
    len.max(total).max(original)
}

/// The messages of a [`Checked`] body, in order.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    reader: Reader<'a>,
    previous: Previous,
    left: usize,
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    #[inline]
    fn next(&mut self) -> Option<Message<'a>> {
        // `check` went over the same bytes with the same state: an error cannot come before the end.
        let message = read(&mut self.reader, &mut self.previous).ok()?;
        self.left = self.left.saturating_sub(1);
        Some(message)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Messages<'_> {}
impl core::iter::FusedIterator for Messages<'_> {}

/// One message. Brief ones, nearly all of a full record, are read here without a call.
#[inline(always)]
fn read<'a>(r: &mut Reader<'a>, previous: &mut Previous) -> Result<Message<'a>, Reason> {
    if let &[flags, len, ref rest @ ..] = r.rest()
        && let flags = Flags(flags)
        && flags.is_brief()
        && len < 0x80
        && let Ok(kind) = u16::try_from(previous.kind)
        && let Some(sequence) = previous.next_sequence()
        && let Some((ttl, age, rest)) =
            if flags.has(EXTENSION) { read_brief(rest) } else { Some((DEFAULT_TTL, 0, rest)) }
        && let Some((payload, rest)) = rest.split_at_checked(usize::from(len))
    {
        *r = Reader::new(rest);
        previous.sequence = Some(sequence);
        let (priority, broadcast) = (flags.priority(), flags.has(BROADCAST));
        let (full, part, compressed, number) = (false, None, None, None);
        let header =
            MessageHeader { priority, broadcast, kind, full, sequence, ttl, age, part, compressed, number };
        return Ok(Message { header, payload });
    }
    let (header, payload) = read_any(r, previous)?;
    Ok(Message { header, payload })
}

/// Time to live and age from an extension that names nothing else, and the bytes behind; `None` if it does, or if they take
/// more than a byte each.
#[inline(always)]
fn read_brief(bytes: &[u8]) -> Option<(u32, u32, &[u8])> {
    let (ttl, age, rest) = match *bytes {
        [TTL, ttl, ref rest @ ..] => (ttl, 0, rest),
        [AGE, age, ref rest @ ..] => (BRIEF_TTL, age, rest),
        [TTL_AND_AGE, ttl, age, ref rest @ ..] => (ttl, age, rest),
        _ => return None,
    };
    (ttl < 0x80 && age < 0x80).then_some((ttl.into(), age.into(), rest))
}

/// Any message. In parts, so that a brief one need not go through the memory in which this one comes back.
#[inline(never)]
fn read_any<'a>(r: &mut Reader<'a>, previous: &mut Previous) -> Result<(MessageHeader, &'a [u8]), Reason> {
    let flags = Flags(r.u8()?);
    let full = flags.has(FULL);
    let kind = match (full, flags.has(SAME_KIND)) {
        (true, true) => return Err(Reason::Malformed),
        (true, false) => 0,
        (false, true) => u16::try_from(previous.kind).map_err(|_| Reason::Malformed)?,
        (false, false) => u16::try_from(r.varint()?).map_err(|_| Reason::Malformed)?,
    };
    let payload_len = if flags.has(LAST) { None } else { Some(r.varint()?) };
    let sequence =
        if flags.has(EXPLICIT) { r.varint()? } else { previous.next_sequence().ok_or(Reason::Malformed)? };
    let Extension { ttl, age, part, compressed, number } =
        if flags.has(EXTENSION) { Extension::read(r)? } else { Extension::NONE };
    let payload = match payload_len {
        Some(len) => r.take_u64(len)?,
        None => r.take_rest(),
    };
    if part.is_some_and(|part| part.end(payload.len()).is_none()) || full && compressed.is_some() {
        return Err(Reason::Malformed);
    }
    let header = MessageHeader {
        priority: flags.priority(),
        broadcast: flags.has(BROADCAST),
        kind,
        full,
        sequence,
        ttl,
        age,
        part,
        compressed,
        number,
    };
    *previous = Previous::of(&header);
    Ok((header, payload))
}

/// What the extension says.
struct Extension {
    ttl: u32,
    age: u32,
    part: Option<Part>,
    compressed: Option<Compressed>,
    number: Option<NonZeroU64>,
}

impl Extension {
    const NONE: Self = Self { ttl: DEFAULT_TTL, age: 0, part: None, compressed: None, number: None };

    #[cold]
    fn read(r: &mut Reader<'_>) -> Result<Self, Reason> {
        let present = r.u8()?;
        if present & !(TTL | AGE | PART | COMPRESSED | NUMBER) != 0 {
            return Err(Reason::Malformed);
        }
        let mut extension = Self::NONE;
        if present & TTL != 0 {
            extension.ttl = read_u32(r)?;
        }
        if present & AGE != 0 {
            extension.age = read_u32(r)?;
        }
        if present & PART != 0 {
            extension.part = Some(Part { total: read_u32(r)?, offset: read_u32(r)? });
        }
        if present & COMPRESSED != 0 {
            let method = Method::from_code(r.u8()?).ok_or(Reason::Malformed)?;
            extension.compressed = Some(Compressed { method, original: read_u32(r)? });
        }
        if present & NUMBER != 0 {
            extension.number = Some(NonZeroU64::new(r.varint()?).ok_or(Reason::Malformed)?);
        }
        Ok(extension)
    }
}

fn read_u32(r: &mut Reader<'_>) -> Result<u32, Reason> {
    u32::try_from(r.varint()?).map_err(|_| Reason::Malformed)
}
