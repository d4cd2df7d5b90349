//! Where the peer is, and how much may be sent there before it has shown that it receives there.
//!
//! ```text
//!   accepted ── the peer proves itself ──▶ Proven ── a newer record comes from elsewhere ──▶ Moved
//!                                            ▲                                                 │
//!                                            └── a ping was echoed from there, or back home ◀──┘
//! ```
//!
//! A stranger gets no more bytes than it sent; an address that a proven peer seems to have moved to gets three times as
//! much as came from there (RFC 9000, sections 8.1 and 9.3), so that nobody can be flooded by forged source addresses.

/// Where a datagram comes from or goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// The address; of IPv4 in its mapped form.
    pub address: [u8; 16],
    /// The port.
    pub port: u16,
}

impl Path {
    /// Whether this is a line with two ends, which has no addresses: the default. Nobody can be flooded over it by a forged
    /// source, so there first packets are not padded and nothing is limited.
    pub fn is_line(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    path: Path,
    state: State,
    /// The last address that was proven.
    home: Option<Path>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Proven,
    Accepted { received: u64, sent: u64 },
    Moved { received: u64, sent: u64, pings: Option<Pings> },
}

/// The tokens of the pings that were sent to an address.
#[derive(Clone, Copy, Debug)]
struct Pings {
    first: u8,
    last: u8,
}

/// How many times the bytes that came from an address may be sent there.
const FACTOR: u64 = 3;

impl Route {
    /// To an address of this end's own choice.
    pub(super) fn dialled(path: Path) -> Self {
        Self { path, state: State::Proven, home: Some(path) }
    }

    /// To an address that somebody has sent from.
    pub(super) fn accepted(path: Path) -> Self {
        match path.is_line() {
            true => Self::dialled(path),
            false => Self { path, state: State::Accepted { received: 0, sent: 0 }, home: None },
        }
    }

    pub(super) fn path(&self) -> Path {
        self.path
    }

    /// How many bytes may be sent now.
    pub(super) fn room(&self) -> usize {
        let room = match self.state {
            State::Proven => return usize::MAX,
            State::Accepted { received, sent } => received.saturating_sub(sent),
            State::Moved { received, sent, .. } => received.saturating_mul(FACTOR).saturating_sub(sent),
        };
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    pub(super) fn handle_sent(&mut self, len: usize) {
        match &mut self.state {
            State::Proven => {}
            State::Accepted { sent, .. } | State::Moved { sent, .. } => *sent += len as u64,
        }
    }

    /// Something came from `from`, proven or not.
    pub(super) fn handle_received(&mut self, from: Path, len: usize) {
        match &mut self.state {
            State::Accepted { received, .. } | State::Moved { received, .. } if from == self.path => {
                *received += len as u64;
            }
            _ => {}
        }
    }

    /// The peer has answered from its address what was sent there.
    pub(super) fn handle_proof(&mut self) {
        self.state = State::Proven;
        self.home = Some(self.path);
    }

    /// The newest record of all, of `len` bytes, came from `from`. Says whether the peer is somewhere else than before.
    pub(super) fn handle_newest(&mut self, from: Path, len: usize) -> bool {
        if from == self.path {
            return false;
        }
        self.path = from;
        self.state = match self.home {
            Some(home) if home == from => State::Proven,
            _ => State::Moved { received: len as u64, sent: 0, pings: None },
        };
        true
    }

    /// A ping was sent.
    pub(super) fn handle_ping(&mut self, token: u8) {
        if let State::Moved { pings, .. } = &mut self.state {
            let first = pings.map_or(token, |pings| pings.first);
            *pings = Some(Pings { first, last: token });
        }
    }

    /// A pong came from `from`.
    pub(super) fn handle_pong(&mut self, from: Path, token: u8) {
        if let State::Moved { pings: Some(Pings { first, last }), .. } = self.state
            && from == self.path
            && token.wrapping_sub(first) <= last.wrapping_sub(first)
        {
            self.handle_proof();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Path = Path { address: [1; 16], port: 1 };
    const AWAY: Path = Path { address: [2; 16], port: 2 };

    #[test]
    fn a_stranger_gets_no_more_than_it_sent_until_it_has_answered() {
        let mut route = Route::accepted(HOME);
        assert_eq!(route.room(), 0);

        route.handle_received(AWAY, 500);
        route.handle_received(HOME, 100);
        assert_eq!(route.room(), 100);
        route.handle_sent(60);
        assert_eq!(route.room(), 40);

        route.handle_proof();
        assert_eq!(route.room(), usize::MAX);
    }

    #[test]
    fn a_line_has_two_ends_and_no_limits() {
        assert_eq!(Route::accepted(Path::default()).room(), usize::MAX);
    }

    #[test]
    fn a_new_address_gets_three_times_what_came_from_it_until_a_ping_is_echoed_from_there() {
        let mut route = Route::dialled(HOME);

        assert!(route.handle_newest(AWAY, 100));
        assert_eq!((route.path(), route.room()), (AWAY, 300));
        route.handle_sent(250);
        route.handle_received(AWAY, 10);
        assert_eq!(route.room(), 80);

        route.handle_pong(AWAY, 3);
        assert_eq!(route.room(), 80, "no ping was sent there");
        route.handle_ping(255);
        route.handle_ping(0);
        route.handle_pong(HOME, 255);
        route.handle_pong(AWAY, 1);
        assert_eq!(route.room(), 80, "from elsewhere, or of another ping");
        route.handle_pong(AWAY, 255);
        assert_eq!(route.room(), usize::MAX);
    }

    #[test]
    fn a_stolen_address_is_returned_without_limits() {
        let mut route = Route::dialled(HOME);
        route.handle_newest(AWAY, 100);

        assert!(route.handle_newest(HOME, 50));

        assert_eq!((route.path(), route.room()), (HOME, usize::MAX));
        assert!(!route.handle_newest(HOME, 50));
    }
}
