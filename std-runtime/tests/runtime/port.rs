//! A port of loopback for one test: nothing listens there unless the test does, before, between and after.
//!
//! A port that was free a moment ago may be somebody else's by now, as tests and programs beside this one are given ports all the
//! time. A socket that is bound and does not listen keeps it from all who ask for any port, not from who names it.

use std::net::SocketAddr;

use tokio::net::TcpSocket;

/// A port that is kept for as long as this lives.
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    _held: TcpSocket,
}

impl Port {
    pub(crate) fn reserve() -> Self {
        let held = TcpSocket::new_v4().unwrap();
        // As the listeners of nodes have it: so they can share it.
        held.set_reuseaddr(true).unwrap();
        held.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Self { address: held.local_addr().unwrap(), _held: held }
    }
}
