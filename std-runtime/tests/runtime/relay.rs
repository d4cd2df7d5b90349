//! A relay on the path between two nodes: it carries bytes, remembers how each connection began, and fails on demand.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A relay that listens on loopback.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    connections: Arc<Mutex<Vec<Connection>>>,
}

/// What became of one connection.
struct Connection {
    /// The first bytes of the dialling end and of the other.
    said: [Said; 2],
    state: watch::Sender<State>,
}

type Said = Arc<Mutex<Vec<u8>>>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Carrying,
    /// Both ends still see a connection, which carries nothing.
    Frozen,
    Cut,
}

impl Relay {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let relay = Self { address, target: Arc::new(Mutex::new(target)), connections: Arc::default() };
        let (target, connections) = (Arc::clone(&relay.target), Arc::clone(&relay.connections));
        tokio::spawn(async move {
            while let Ok((dialler, _)) = listener.accept().await {
                let at = *target.lock().unwrap();
                if let Ok(dialled) = TcpStream::connect(at).await {
                    connections.lock().unwrap().push(Connection::between(dialler, dialled));
                }
            }
        });
        relay
    }

    /// Carries the connections that come from here on to another target.
    pub(crate) fn retarget(&self, target: SocketAddr) {
        *self.target.lock().unwrap() = target;
    }

    pub(crate) fn cut_all(&self) {
        self.set_all(State::Cut);
    }

    pub(crate) fn freeze_all(&self) {
        self.set_all(State::Frozen);
    }

    /// The kinds of the first frames that both ends of each connection sent.
    pub(crate) fn first_kinds(&self) -> Vec<[Option<u8>; 2]> {
        let kind = |said: &Said| said.lock().unwrap().get(4).copied();
        let connections = self.connections.lock().unwrap();
        connections.iter().map(|connection| connection.said.each_ref().map(kind)).collect()
    }

    fn set_all(&self, state: State) {
        for connection in self.connections.lock().unwrap().iter() {
            connection.state.send_replace(state);
        }
    }
}

impl Connection {
    fn between(dialler: TcpStream, dialled: TcpStream) -> Self {
        let (state, _) = watch::channel(State::Carrying);
        let said: [Said; 2] = Default::default();
        let (from_dialler, to_dialler) = dialler.into_split();
        let (from_dialled, to_dialled) = dialled.into_split();
        tokio::spawn(carry(from_dialler, to_dialled, Arc::clone(&said[0]), state.subscribe()));
        tokio::spawn(carry(from_dialled, to_dialler, Arc::clone(&said[1]), state.subscribe()));
        Self { said, state }
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    said: Said,
    mut state: watch::Receiver<State>,
) {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let now = *state.borrow_and_update();
        let read = tokio::select! {
            _ = state.changed() => continue,
            read = from.read(&mut bytes), if now == State::Carrying => read,
            () = std::future::ready(()), if now == State::Cut => return,
        };
        // What came when it no longer carried: even the end of one side stays unseen by the other.
        if *state.borrow() != State::Carrying {
            continue;
        }
        let Ok(len @ 1..) = read else { return };
        {
            let mut said = said.lock().unwrap();
            if said.len() < 5 {
                said.extend_from_slice(&bytes[..len]);
            }
        }
        if to.write_all(&bytes[..len]).await.is_err() {
            return;
        }
    }
}
