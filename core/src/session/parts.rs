//! Whether the parts of messages come as the protocol says: in order, without gaps, nothing of their priority between.
//!
//! It keeps no bytes. What passes here can be put together by appending.

use core::num::NonZeroU64;

use crate::ids::Priority;
use crate::wire::message::{Checked, Compressed, MessageHeader, Part};
use crate::wire::reason::Reason;

/// The messages of which some parts came, at most one of each priority.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parts {
    unfinished: [Option<Unfinished>; Priority::ALL.len()],
}

/// What the next part of a message must agree with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unfinished {
    sequence: u64,
    /// The whole length, and where the next part begins.
    part: Part,
    ttl: u32,
    compressed: Option<Compressed>,
    number: Option<NonZeroU64>,
    kind: u16,
    full: bool,
    broadcast: bool,
}

impl Parts {
    /// What is unfinished after these messages; [`Reason::Violation`] if they break a rule.
    #[inline]
    pub(super) fn after(&self, checked: &Checked<'_>) -> Result<Self, Reason> {
        let is_clean = self.unfinished.iter().all(Option::is_none);
        if is_clean && !checked.has_parts() { Ok(*self) } else { self.follow(checked) }
    }

    #[cold]
    fn follow(&self, checked: &Checked<'_>) -> Result<Self, Reason> {
        let mut parts = *self;
        for message in checked.messages() {
            parts.handle_message(&message.header, message.payload.len())?;
        }
        Ok(parts)
    }

    fn handle_message(&mut self, header: &MessageHeader, len: usize) -> Result<(), Reason> {
        let Some(part) = header.part else { return self.expect_nothing(header.priority) };
        let end = part.end(len).ok_or(Reason::Malformed)?;
        let next = Unfinished {
            sequence: header.sequence,
            part,
            ttl: header.ttl,
            compressed: header.compressed,
            number: header.number,
            kind: header.kind,
            full: header.full,
            broadcast: header.broadcast,
        };
        if part.offset == 0 {
            self.expect_nothing(header.priority)?;
        } else {
            let begun = self.unfinished[header.priority as usize].ok_or(Reason::Violation)?;
            let agrees = if part.is_abandonment() { begun.is_same_message(&next) } else { begun == next };
            if !agrees {
                return Err(Reason::Violation);
            }
        }
        let rest = Unfinished { part: Part { offset: end, ..part }, ..next };
        self.unfinished[header.priority as usize] = (end < part.total).then_some(rest);
        Ok(())
    }

    fn expect_nothing(&self, class: Priority) -> Result<(), Reason> {
        if self.unfinished[class as usize].is_none() { Ok(()) } else { Err(Reason::Violation) }
    }
}

impl Unfinished {
    /// Whether both are parts of one message, as far as an abandonment says.
    fn is_same_message(&self, other: &Self) -> bool {
        let name = |it: &Self| (it.sequence, it.kind, it.full, it.broadcast, it.part.total);
        name(self) == name(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::{self, Encoder, Method, Place};

    #[test]
    fn the_parts_of_a_message_pass_in_order() {
        let parts = Parts::default();

        let parts = after(parts, &[(part(10, 0), 4)]).unwrap();
        let parts = after(parts, &[(part(10, 4), 5), (part(10, 9), 1), (whole(), 3)]).unwrap();

        assert!(parts.unfinished.iter().all(Option::is_none));
    }

    #[test]
    fn four_priorities_have_an_unfinished_message_each() {
        let mut parts = Parts::default();

        for priority in Priority::ALL {
            parts = after(parts, &[(MessageHeader { priority, ..part(10, 0) }, 4)]).unwrap();
        }
        for priority in Priority::ALL {
            parts = after(parts, &[(MessageHeader { priority, ..part(10, 4) }, 6)]).unwrap();
        }

        assert!(parts.unfinished.iter().all(Option::is_none));
    }

    #[test]
    fn a_gap_an_overlap_or_a_part_of_nothing_is_a_violation() {
        let begun = after(Parts::default(), &[(part(10, 0), 4)]).unwrap();

        for offset in [0, 1, 3, 5, 9] {
            assert_eq!(after(begun, &[(part(10, offset), 1)]), Err(Reason::Violation), "{offset}");
        }
        for offset in 1..10 {
            assert_eq!(after(Parts::default(), &[(part(10, offset), 1)]), Err(Reason::Violation));
        }
        assert_eq!(after(Parts::default(), &[(part(10, 10), 0)]), Err(Reason::Violation));
    }

    #[test]
    fn a_part_that_says_something_else_than_the_first_is_a_violation() {
        let begun = after(Parts::default(), &[(part(10, 0), 4)]).unwrap();
        let next = part(10, 4);
        let compressed = Some(Compressed { method: Method::Lz4, original: 70 });
        let others = [
            part(11, 4),
            MessageHeader { sequence: 8, ..next },
            MessageHeader { kind: 8, ..next },
            MessageHeader { broadcast: true, ..next },
            MessageHeader { ttl: 61, ..next },
            MessageHeader { compressed, ..next },
            MessageHeader { number: NonZeroU64::new(9), ..next },
            MessageHeader { full: true, kind: 0, ..next },
        ];

        for other in others {
            assert_eq!(after(begun, &[(other, 1)]), Err(Reason::Violation), "{other:?}");
        }
        assert!(after(begun, &[(MessageHeader { age: 5, ..next }, 1)]).is_ok());
    }

    #[test]
    fn nothing_of_the_same_priority_comes_between() {
        let begun = after(Parts::default(), &[(part(10, 0), 4)]).unwrap();

        assert_eq!(after(begun, &[(whole(), 1)]), Err(Reason::Violation));
        for priority in [Priority::Low, Priority::High, Priority::Critical] {
            assert!(after(begun, &[(MessageHeader { priority, ..whole() }, 1)]).is_ok());
        }
    }

    #[test]
    fn after_an_abandonment_nothing_of_the_message_comes() {
        let begun = after(Parts::default(), &[(part(10, 0), 4)]).unwrap();
        let abandonment = MessageHeader { ttl: 0, ..part(10, 10) };

        let parts = after(begun, &[(abandonment, 0)]).unwrap();

        for rest in [(part(10, 4), 6), (part(10, 9), 1), (abandonment, 0)] {
            assert_eq!(after(parts, &[rest]), Err(Reason::Violation));
        }
        assert_eq!(
            after(begun, &[(MessageHeader { sequence: 8, ..abandonment }, 0)]),
            Err(Reason::Violation)
        );
        assert!(after(parts, &[(part(10, 0), 4), (part(10, 4), 6)]).is_ok());
    }

    #[test]
    fn a_record_that_breaks_a_rule_changes_nothing() {
        let begun = after(Parts::default(), &[(part(10, 0), 4)]).unwrap();

        assert!(after(begun, &[(part(10, 4), 6), (part(10, 4), 6)]).is_err());

        assert!(after(begun, &[(part(10, 4), 6)]).is_ok());
    }

    fn whole() -> MessageHeader {
        MessageHeader { kind: 7, sequence: 7, ..MessageHeader::default() }
    }

    fn part(total: u32, offset: u32) -> MessageHeader {
        MessageHeader { part: Some(Part { total, offset }), ..whole() }
    }

    fn after(parts: Parts, messages: &[(MessageHeader, usize)]) -> Result<Parts, Reason> {
        let mut body = [0; 512];
        let mut encoder = Encoder::new(&mut body, None);
        for (header, len) in messages {
            assert!(encoder.push(header, &[0; 64][..*len], Place::Inner));
        }
        let len = encoder.written();
        parts.after(&message::check(&body[..len], None).unwrap())
    }

    impl PartialEq for Parts {
        fn eq(&self, other: &Self) -> bool {
            self.unfinished == other.unfinished
        }
    }
}
