//! What a caller may ask and tell a session at any time, whatever its state and whichever line carries it.
//!
//! [`Session`](super::Session) and [`DatagramSession`](super::DatagramSession) answer alike, and so have the same text: a
//! macro, as a trait would have to be imported by every caller.

/// Methods of a session with the fields `state`, `came_up` and `closed`, whose established state is of type `$up`.
macro_rules! questions {
    ($up:ty) => {
        /// Starts `outbox` for this session, if the session is up: its messages flow from the next
        /// [`poll_transmit`](Self::poll_transmit) on.
        pub fn attach<S: Storage>(&self, outbox: &mut Outbox<S>) {
            if let Some(up) = self.up() {
                up.start(outbox);
            }
        }

        /// The application is done with the messages of the record that `mark` ends and of all that arrived before it: the
        /// peer may know, and may send more.
        pub fn handle_consumed(&mut self, now: Instant, mark: Mark) {
            if let Some(up) = self.up_mut() {
                up.handle_consumed(now, mark);
            }
        }

        /// The application is done with so many bytes of messages in total, in whatever order: the peer may send more.
        ///
        /// Counted as in [`Mark::bytes`], of which each record adds its part. For callers whose applications take messages
        /// out of order; [`handle_consumed`](Self::handle_consumed) gives credit for all up to its mark by itself.
        pub fn handle_released(&mut self, total: u64) {
            if let Some(up) = self.up_mut() {
                up.handle_released(total);
            }
        }

        /// The caller wants a round trip measured at once, not only with the next heartbeat.
        pub fn handle_ping_request(&mut self) {
            if let Some(up) = self.up_mut() {
                up.handle_ping_request();
            }
        }

        /// The next fact that the caller has not heard yet.
        pub fn poll_event(&mut self) -> Option<Event> {
            if let Some(peer) = self.came_up.take() {
                return Some(Event::Up(peer));
            }
            if let Some(rtt) = self.up_mut().and_then(Up::poll_rtt) {
                return Some(Event::Rtt(rtt));
            }
            self.closed.take().map(Event::Closed)
        }

        /// Whether messages can flow.
        pub fn is_up(&self) -> bool {
            self.up().is_some()
        }

        /// Whether the session has ended; nobody needs the link under it, or its connection id, any more.
        pub fn is_closed(&self) -> bool {
            matches!(self.state, State::Closed)
        }

        /// The proven peer, once the session is up.
        pub fn peer(&self) -> Option<&Counterpart> {
            self.up().map(Up::peer)
        }

        /// With which hints either end may dial the other next, while the session is up. Each counts once.
        pub fn hints(&self) -> Option<Hints> {
            self.up().map(Up::hints)
        }

        /// The link under the session is gone, as at an end of file, an error, or with a socket that was closed.
        pub fn handle_link_lost<S: Storage>(&mut self, outbox: &mut Outbox<S>) {
            self.end(outbox, self.parting().unwrap_or(Closed::with_link()));
        }

        fn up(&self) -> Option<&$up> {
            match &self.state {
                State::Up { up } => Some(up),
                _ => None,
            }
        }

        fn up_mut(&mut self) -> Option<&mut $up> {
            match &mut self.state {
                State::Up { up } => Some(up),
                _ => None,
            }
        }

        /// Why the session ends, once that is decided and only the last words are to be written.
        fn parting(&self) -> Option<Closed> {
            match &self.state {
                State::Farewell(farewell) => Some(farewell.why()),
                _ => None,
            }
        }

        /// The last transition. Everything that the peer has not acknowledged is settled as unconfirmed.
        fn end<S: Storage>(&mut self, outbox: &mut Outbox<S>, why: Closed) {
            if !self.is_closed() {
                self.state = State::Closed;
                self.closed = Some(why);
                outbox.handle_session_end();
            }
        }
    };
}

pub(super) use questions;
