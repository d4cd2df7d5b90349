//! The messages that were sent in parts and of which not all has arrived, at most one of each class. Parts arrive in any
//! order and are sent again alone, so only their bytes are counted.

use crate::ids::Priority;
use crate::outbox::Ticket;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parted {
    messages: [Option<Message>; Priority::ALL.len()],
}

#[derive(Clone, Copy, Debug)]
struct Message {
    ordinal: u64,
    total: u32,
    /// Bytes that have arrived.
    arrived: u32,
    /// The newest record that brought some of them.
    newest: u64,
}

impl Parted {
    /// A part of a message of `total` bytes was written.
    pub(super) fn handle_sent(&mut self, ticket: Ticket, total: u32) {
        let message = &mut self.messages[ticket.class as usize];
        if message.is_none_or(|message| message.ordinal != ticket.ordinal) {
            *message = Some(Message { ordinal: ticket.ordinal, total, arrived: 0, newest: 0 });
        }
    }

    /// `len` more bytes have arrived with record `counter`. If they were the last, gives the newest record that brought some.
    pub(super) fn handle_arrival(&mut self, counter: u64, ticket: Ticket, len: u32) -> Option<u64> {
        let slot = &mut self.messages[ticket.class as usize];
        let message = slot.as_mut().filter(|message| message.ordinal == ticket.ordinal)?;
        message.arrived = message.arrived.saturating_add(len);
        message.newest = message.newest.max(counter);
        let newest = (message.arrived >= message.total).then_some(message.newest);
        if newest.is_some() {
            *slot = None;
        }
        newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_whole_with_the_last_of_its_parts_whichever_that_is() {
        let (mut parted, ticket) = (Parted::default(), ticket(7));
        parted.handle_sent(ticket, 100);
        parted.handle_sent(ticket, 100);

        assert_eq!(parted.handle_arrival(9, ticket, 60), None);
        assert_eq!(parted.handle_arrival(8, ticket, 40), Some(9));
        assert_eq!(parted.handle_arrival(10, ticket, 40), None, "it is known no more");
    }

    #[test]
    fn parts_of_an_earlier_message_count_for_nothing() {
        let mut parted = Parted::default();
        parted.handle_sent(ticket(7), 100);
        parted.handle_sent(ticket(8), 50);

        assert_eq!(parted.handle_arrival(9, ticket(7), 100), None);
        assert_eq!(parted.handle_arrival(10, ticket(8), 50), Some(10));
    }

    fn ticket(ordinal: u64) -> Ticket {
        Ticket { class: Priority::Medium, ordinal }
    }
}
