//! Accepting connections at one endpoint: within limits, and without spinning when file descriptors run out.
//!
//! Who is turned away hears why, if it can be told without keeping anything of it for long.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use getrandom::SysRng;
use hyphal_core::session::Session;
use hyphal_core::wire::frame::{Header, Kind, Refusal};
use hyphal_core::wire::reason::Reason;
use rand_core::UnwrapErr;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::address::Endpoint;
use crate::hub::{Doors, Hub};
#[cfg(unix)]
use crate::line_listener::LineListener;
use crate::link::{Line, Link, OnDatagrams, OnStream, Origin, StreamLine, UdpLine};
use crate::log::{Throttle, remedy};
use crate::memory::MemoryListener;
use crate::options::TcpOptions;
use crate::socket;
use crate::udp::{Berth, Door, UdpPort, path_of};

/// Where connections arrive.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Memory(MemoryListener),
    Udp(Arc<UdpPort>),
    #[cfg(unix)]
    Serial(LineListener),
}

impl Listener {
    /// Begins to listen; a name gives a listener for each of its addresses.
    pub(crate) async fn bind(endpoint: &Endpoint, options: &TcpOptions) -> io::Result<Vec<Self>> {
        match endpoint {
            Endpoint::Tcp(place) => {
                let mut listeners = Vec::new();
                for address in tokio::net::lookup_host(place.to_string()).await? {
                    listeners.push(Self::Tcp(socket::listen(address, options)?));
                }
                Ok(listeners)
            }
            Endpoint::Memory(name) => Ok(vec![Self::Memory(MemoryListener::bind(name, options.backlog)?)]),
            Endpoint::Udp(place) => {
                let mut listeners = Vec::new();
                for address in tokio::net::lookup_host(place.to_string()).await? {
                    listeners.push(Self::Udp(UdpPort::bind(address)?));
                }
                Ok(listeners)
            }
            #[cfg(unix)]
            Endpoint::Serial { path, baud } => Ok(vec![Self::Serial(LineListener::open(path, *baud)?)]),
            #[cfg(not(unix))]
            Endpoint::Serial { .. } => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "there are no serial links on this system"))
            }
        }
    }

    /// Where others reach it.
    pub(crate) fn endpoint(&self) -> io::Result<Endpoint> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Endpoint::from),
            Self::Memory(listener) => Ok(Endpoint::Memory(listener.name().to_owned())),
            Self::Udp(port) => Ok(Endpoint::Udp(port.address().into())),
            #[cfg(unix)]
            Self::Serial(listener) => Ok(listener.endpoint()),
        }
    }

    /// Starts a task that accepts connections until the node ends; gives what stops it before, unless existing links need it.
    pub(crate) fn spawn(self, hub: &Arc<Hub>) -> Option<AbortHandle> {
        match self {
            Self::Tcp(listener) => Some(hub.spawn(listen(Arc::clone(hub), listener))),
            Self::Memory(listener) => Some(hub.spawn(listen_in_memory(Arc::clone(hub), listener))),
            Self::Udp(port) => {
                hub.spawn(port.receive(Arc::clone(hub), Some(Door::new())));
                None
            }
            #[cfg(unix)]
            Self::Serial(listener) => Some(hub.spawn(listener.listen(Arc::clone(hub)))),
        }
    }
}

async fn listen_in_memory(hub: Arc<Hub>, mut listener: MemoryListener) {
    let remote = Endpoint::Memory(listener.name().to_owned());
    let refusals = Throttle::default();
    loop {
        let stream = listener.accept().await;
        // Whoever is refused sees the end of the stream; the reason stands in the log of the same process.
        if let Ok(origin) = admit(&hub, &remote, &refusals) {
            run(&hub, StreamLine::new(stream), remote.clone(), origin);
        }
    }
}

async fn listen(hub: Arc<Hub>, listener: TcpListener) {
    let refusals = Throttle::default();
    let mut pause = SHORTEST_PAUSE;
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                pause = SHORTEST_PAUSE;
                accept(&hub, stream, address, &refusals);
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                // Out of descriptors or memory: accepting again at once would fail again, at full speed.
                if pause == SHORTEST_PAUSE {
                    tracing::warn!(%error, "cannot accept connections; raise the limit of open files (ulimit -n)");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

fn accept(hub: &Arc<Hub>, stream: TcpStream, address: SocketAddr, refusals: &Throttle) {
    let remote = Endpoint::from(address);
    let origin = match admit(hub, &remote, refusals) {
        Ok(origin) => origin,
        Err(reason) => return refuse(&stream, reason),
    };
    if let Err(error) = socket::prepare(&stream, &hub.plan.tcp) {
        tracing::debug!(%address, %error, "connection ended before it was set up");
        return;
    }
    run(hub, StreamLine::new(stream), remote, origin);
}

/// Gives a connection its places, or says why there are none.
pub(crate) fn admit(hub: &Arc<Hub>, remote: &Endpoint, refusals: &Throttle) -> Result<Origin, Reason> {
    hub.tally.accepted.fetch_add(1, Ordering::Relaxed);
    let places = Doors::admit(hub, remote.socket_addr().map(|address| address.ip()));
    let (seat, attempt) = places.inspect_err(|&reason| {
        hub.tally.refused.add(reason, 1);
        if let Some(missed) = refusals.pass(hub.clock.now()) {
            tracing::warn!(
                address = %remote, reason = reason.name(), remedy = remedy(reason), missed,
                "connection refused: {reason}"
            );
        }
    })?;
    Ok(Origin::Accepted { _seat: seat, attempt: Some(attempt) })
}

/// Begins a session with whoever sent a first packet from `from`.
pub(crate) fn run_datagrams(
    hub: &Arc<Hub>,
    berth: Berth,
    from: SocketAddr,
    remote: Endpoint,
    origin: Origin,
) {
    let (rng, cid) = (&mut UnwrapErr(SysRng), berth.cid);
    let (plan, trust, now) = (&hub.plan, hub.trust(), hub.clock.now());
    let credentials = trust.credentials(&plan.identity);
    let session = OnDatagrams::accept(now, hub.wall(), credentials, plan.session, path_of(from), cid, rng);
    let line = UdpLine::new(berth, from);
    hub.spawn(Link::new(Arc::clone(hub), line, remote, session, origin).run());
}

fn run(hub: &Arc<Hub>, line: impl Line<Session = OnStream>, remote: Endpoint, origin: Origin) {
    let rng = &mut UnwrapErr(SysRng);
    let (plan, trust) = (&hub.plan, hub.trust());
    let credentials = trust.credentials(&plan.identity);
    let session = Session::accept(hub.clock.now(), hub.wall(), credentials, plan.session, rng);
    hub.spawn(Link::new(Arc::clone(hub), line, remote, session, origin).run());
}

/// Says why the connection is refused. Its attempt's id was not read, so the refusal carries none.
fn refuse(stream: &TcpStream, reason: Reason) {
    let refusal = match reason {
        Reason::Busy => Refusal { detail: BUSY_MILLIS, ..Refusal::new(reason) },
        _ => Refusal::new(reason),
    };
    let (mut payload, mut frame) = ([0; Refusal::LEN], [0; 64]);
    let len = refusal
        .encode(&mut payload)
        .and_then(|len| Header::new(Kind::Refusal, 0).encode(&payload[..len], &mut frame));
    // What arrived already is taken, since closing with unread bytes would reset the connection and lose the refusal.
    let _ = stream.try_read(&mut [0; 256]);
    // A fresh socket has room for it; if not, the peer sees the end of the connection instead.
    let _ = len.map(|len| stream.try_write(&frame[..len]));
}

/// Whether the peer went away before its connection was accepted, which says nothing about this node.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// What a refused peer is told to wait before it tries again.
pub(crate) const BUSY_MILLIS: u64 = 1000;

const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
