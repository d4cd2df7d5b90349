//! Messages in a record, protocol section 6: many small ones, back to back, each saying only what differs from the last.
//!
//! `flags 1 | [type varint] | [length varint] | [sequence varint] | [extension] | payload`
//!
//! | bit | flag |
//! |---|---|
//! | 0-1 | priority |
//! | 2 | broadcast |
//! | 3 | same type as the message before |
//! | 4 | last: the payload runs to the end of the record |
//! | 5 | explicit sequence |
//! | 6 | extension: 1 byte of bits, then the fields that they name |
//! | 7 | full: the payload is an [`Envelope`](super::envelope::Envelope) and holds the type |
//!
//! | extension bit | field |
//! |---|---|
//! | 0 | ttl varint |
//! | 1 | age varint |
//! | 2 | [`Part`]: total varint, offset varint |
//! | 3 | [`Compressed`]: method 1, original length varint |
//! | 4 | number varint |
//!
//! This is the hot path: a 16 KiB record holds 240 messages. A body is checked as a whole before its first message is
//! delivered ([`check`]), so a record is taken or refused, never half. What a full message's envelope says is not looked at
//! here: its bytes may come in parts, and a wrong one costs that message, not the record.

use core::num::NonZeroU64;

use super::{
    cursor::{Reader, Writer},
    family::Family,
    reason::Reason,
    varint,
};
use crate::ids::Priority;

/// The ttl of a message that names none, seconds.
pub const DEFAULT_TTL: u32 = 60;
/// The longest bytes before a payload: flags, type, length, sequence, extension with ttl, age, part, compression and number.
pub const MAX_OVERHEAD: usize =
    1 + 3 + varint::MAX_LEN + varint::MAX_LEN + 1 + 5 + 5 + (5 + 5) + (1 + 5) + varint::MAX_LEN;
/// The most payload bytes of one part; a longer message is sent in several.
pub const FRAGMENT_LEN: usize = 16_384;
/// The longest bytes that say how a payload is compressed, where it would need no extension otherwise.
pub const MAX_COMPRESSED_LEN: usize = 1 + (1 + 5);

/// What a message says about itself beside its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageHeader {
    /// How urgent it is.
    pub priority: Priority,
    /// Whether it is for every peer of the sender.
    pub broadcast: bool,
    /// The message type, see [`family`](super::family); 0 in a full message, whose envelope says it.
    pub kind: u16,
    /// Whether the whole payload is an [`Envelope`](super::envelope::Envelope) in canonical form.
    pub full: bool,
    /// Counts the sender's messages since its boot id.
    pub sequence: u64,
    /// Seconds after which it is worthless; 0 = never.
    pub ttl: u32,
    /// How long it had waited when it was written, in [`TICK`](super::record::TICK)s.
    pub age: u32,
    /// Which part of a message's payload this is, if not all of it.
    pub part: Option<Part>,
    /// How the whole payload is compressed, if it is; a full one never is.
    pub compressed: Option<Compressed>,
    /// The number of a Guaranteed message in its lane.
    pub number: Option<NonZeroU64>,
}

/// The place of some of a message's payload in the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Part {
    /// Bytes of the whole payload as it is sent, after compression.
    pub total: u32,
    /// Where these bytes begin in it.
    pub offset: u32,
}

impl Part {
    /// Whether the sender gives the message up: nothing of it follows, and what was sent is worthless.
    #[inline]
    pub const fn is_abandonment(&self) -> bool {
        self.offset == self.total
    }

    /// Where these `len` bytes end in the whole; `None` if no such part may be written.
    #[inline]
    pub fn end(&self, len: usize) -> Option<u32> {
        let end = self.offset.checked_add(u32::try_from(len).ok()?)?;
        let is_sound = self.total > 0 && end <= self.total && (len > 0 || self.is_abandonment());
        is_sound.then_some(end)
    }
}

/// How a payload is compressed.
///
/// Without gaps, as every queued message has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(Rust, packed)]
pub struct Compressed {
    /// With what.
    pub method: Method,
    /// Bytes of the payload before compression.
    pub original: u32,
}

/// A method of compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Method {
    /// One LZ4 block.
    Lz4 = 1,
    /// One Zstandard frame.
    Zstd = 2,
}

impl Method {
    /// Every method, in order of code.
    pub const ALL: [Self; 2] = [Self::Lz4, Self::Zstd];

    /// The code on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The name as it stands in logs and configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The method with this code, if this version knows it.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Lz4),
            2 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Methods of compression: those that a node takes, as the capability bits of its hello, or those of some messages.
///
/// A method's bit is that of its code, so bit 0 is none's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Methods(u16);

impl Methods {
    /// No compression.
    pub const NONE: Self = Self(0);
    /// LZ4, which needs no heap and no memory beside the output.
    pub const LZ4: Self = Self::NONE.and(Method::Lz4);
    /// All that this version knows.
    pub const ALL: Self = Self::LZ4.and(Method::Zstd);

    /// The methods among capability bits; the other bits mean something else.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// As capability bits.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The same and this method.
    #[must_use]
    pub const fn and(self, method: Method) -> Self {
        Self(self.0 | 1 << method.code())
    }

    /// Whether the method is among them.
    #[inline]
    pub const fn has(self, method: Method) -> bool {
        self.0 & 1 << method.code() != 0
    }

    /// Whether all of `others` are among them.
    #[inline]
    pub const fn has_all(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }
}

impl FromIterator<Method> for Methods {
    fn from_iter<I: IntoIterator<Item = Method>>(methods: I) -> Self {
        methods.into_iter().fold(Self::NONE, Self::and)
    }
}

/// One message of a checked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it says about itself.
    pub header: MessageHeader,
    /// Its bytes, or those of this part of it.
    pub payload: &'a [u8],
}

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

/// What a message may refer back to.
#[derive(Clone, Copy, Debug)]
struct Previous {
    /// The type of the message before in this record, or [`NO_KIND`].
    kind: u32,
    /// The sequence of the message before in this direction of the session.
    sequence: Option<u64>,
}

/// The type of no message: above all of them.
const NO_KIND: u32 = u32::MAX;

impl Previous {
    #[inline]
    fn of(header: &MessageHeader) -> Self {
        // The type of a full message is not known before it is whole, and may be sealed.
        let kind = if header.full { NO_KIND } else { u32::from(header.kind) };
        Self { kind, sequence: Some(header.sequence) }
    }

    #[inline]
    fn next_sequence(&self) -> Option<u64> {
        self.sequence?.checked_add(1)
    }
}

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

/// The bits of the extension that a message needs.
#[inline]
fn extension_of(header: &MessageHeader) -> u8 {
    let mut present = 0;
    for (bit, is_present) in [
        (TTL, header.ttl != DEFAULT_TTL),
        (AGE, header.age != 0),
        (PART, header.part.is_some()),
        (COMPRESSED, header.compressed.is_some()),
        (NUMBER, header.number.is_some()),
    ] {
        present |= if is_present { bit } else { 0 };
    }
    present
}

#[derive(Clone, Copy)]
struct Flags(u8);

impl Flags {
    #[inline]
    const fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    #[inline]
    fn priority(self) -> Priority {
        Priority::ALL[usize::from(self.0 & PRIORITY_MASK)]
    }

    /// Whether the message takes nothing but flags, length and perhaps an extension before its payload.
    #[inline]
    const fn is_brief(self) -> bool {
        self.0 & (SAME_KIND | LAST | EXPLICIT | FULL) == SAME_KIND
    }

    /// Whether the message says its type.
    #[inline]
    const fn has_kind(self) -> bool {
        self.0 & (SAME_KIND | FULL) == 0
    }
}

/// The bytes that say what form a message has.
#[derive(Clone, Copy)]
struct Form {
    flags: Flags,
    /// The bits of the extension; 0 where there is none.
    extension: u8,
}

impl Form {
    /// Writes what is before the payload of a brief message and gives its length; `None` if the extension names more.
    #[inline]
    fn write_brief(self, len: u8, ttl: u8, age: u8, head: &mut [u8; BRIEF_OVERHEAD]) -> Option<usize> {
        let (rest, overhead) = match self.extension {
            0 => ([0, 0, 0], 2),
            TTL => ([TTL, ttl, 0], 4),
            AGE => ([AGE, age, 0], 4),
            TTL_AND_AGE => ([TTL_AND_AGE, ttl, age], 5),
            _ => return None,
        };
        let [extension, first, second] = rest;
        *head = [self.flags.0, len, extension, first, second];
        Some(overhead)
    }

    /// Bytes before the payload.
    #[inline]
    fn overhead(self, header: &MessageHeader, payload_len: usize) -> usize {
        let mut len = 1;
        if self.flags.has_kind() {
            len += varint::len(u64::from(header.kind));
        }
        if !self.flags.has(LAST) {
            len += length_len(payload_len);
        }
        if self.flags.has(EXPLICIT) {
            len += varint::len(header.sequence);
        }
        if self.flags.has(EXTENSION) {
            len += 1;
            if header.ttl != DEFAULT_TTL {
                len += varint::len(u64::from(header.ttl));
            }
            if header.age != 0 {
                len += varint::len(u64::from(header.age));
            }
            if let Some(Part { total, offset }) = header.part {
                len += varint::len(u64::from(total)) + varint::len(u64::from(offset));
            }
            if let Some(Compressed { original, .. }) = header.compressed {
                len += 1 + varint::len(u64::from(original));
            }
            if let Some(number) = header.number {
                len += varint::len(number.get());
            }
        }
        len
    }

    #[inline]
    fn write(self, header: &MessageHeader, payload_len: usize, out: &mut [u8]) -> Option<()> {
        let mut w = Writer::new(out);
        w.u8(self.flags.0)?;
        if self.flags.has_kind() {
            w.varint(u64::from(header.kind))?;
        }
        if !self.flags.has(LAST) {
            w.varint(u64::try_from(payload_len).ok()?)?;
        }
        if self.flags.has(EXPLICIT) {
            w.varint(header.sequence)?;
        }
        if self.flags.has(EXTENSION) {
            let present = self.extension;
            w.u8(present)?;
            if present & TTL != 0 {
                w.varint(u64::from(header.ttl))?;
            }
            if present & AGE != 0 {
                w.varint(u64::from(header.age))?;
            }
            if let Some(Part { total, offset }) = header.part {
                w.varint(u64::from(total))?;
                w.varint(u64::from(offset))?;
            }
            if let Some(Compressed { method, original }) = header.compressed {
                w.u8(method.code())?;
                w.varint(u64::from(original))?;
            }
            if let Some(number) = header.number {
                w.varint(number.get())?;
            }
        }
        Some(())
    }
}

/// The value as a varint of one byte, if it takes only one.
#[inline]
fn one_byte(value: impl TryInto<u8>) -> Option<u8> {
    value.try_into().ok().filter(|&byte| byte < 0x80)
}

#[inline]
const fn length_len(payload_len: usize) -> usize {
    varint::len(payload_len as u64)
}

/// The most bytes before the payload of a brief message: flags, length and extension with time to live and age, a byte each.
const BRIEF_OVERHEAD: usize = 5;

/// The time to live of a brief message that names none.
const BRIEF_TTL: u8 = DEFAULT_TTL as u8;

const PRIORITY_MASK: u8 = 0b11;
const BROADCAST: u8 = 1 << 2;
const SAME_KIND: u8 = 1 << 3;
const LAST: u8 = 1 << 4;
const EXPLICIT: u8 = 1 << 5;
const EXTENSION: u8 = 1 << 6;
const FULL: u8 = 1 << 7;

const TTL: u8 = 1 << 0;
const AGE: u8 = 1 << 1;
const PART: u8 = 1 << 2;
const COMPRESSED: u8 = 1 << 3;
const NUMBER: u8 = 1 << 4;
const TTL_AND_AGE: u8 = TTL | AGE;
