//! Dialling a peer: a name is resolved at every dial, and its addresses are tried in turn.
//!
//! A dial ends in a link, which tells the control task what became of it, or in one `DialFailed`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use getrandom::SysRng;
use hyphal_core::ids::NodeId;
use hyphal_core::session::{ConnectionId, Expect, Path, Resumption, Session};
use hyphal_core::wire::reason::Reason;
use rand_core::UnwrapErr;
use tokio::io::DuplexStream;
use tokio::net::TcpStream;

use crate::address::{Endpoint, HostPort};
use crate::control::Command;
use crate::hub::Hub;
#[cfg(unix)]
use crate::link::SerialLine;
use crate::link::{Line, Link, OnDatagrams, OnStream, Origin, StreamLine, UdpLine};
use crate::log::remedy;
#[cfg(unix)]
use crate::serial::SerialPort;
use crate::udp::path_of;
use crate::{memory, socket};

/// Connects to `endpoint`, where `id` must answer, by the hint of an earlier session if there is one, and runs the link until
/// it ends.
pub(crate) async fn dial(hub: Arc<Hub>, id: NodeId, resumption: Option<Resumption>, endpoint: Endpoint) {
    let expect = resumption.map_or(Expect::Id(id), Expect::Resume);
    let dialled = tokio::select! {
        dialled = connect(&hub, &endpoint) => dialled,
        // Without a control task there is nothing left to dial for.
        () = hub.control.closed() => return,
    };
    match dialled {
        Ok(Dialled::Tcp(line, address)) => run(hub, expect, id, line, address.into()).await,
        Ok(Dialled::Udp(line, address)) => {
            let (path, cid) = (path_of(address), line.cid());
            run_datagrams(hub, expect, id, line, path, cid, Endpoint::Udp(address.into())).await;
        }
        #[cfg(unix)]
        Ok(Dialled::Serial(line)) => {
            run_datagrams(hub, expect, id, line, Path::default(), ConnectionId::NONE, endpoint).await;
        }
        Ok(Dialled::Memory(line)) => run(hub, expect, id, line, endpoint).await,
        Err(error) => {
            let reason = Reason::Unreachable;
            hub.tally.failed.add(reason, 1);
            hub.tally.closed.add(reason, 1);
            tracing::info!(
                peer = %id, address = %endpoint, reason = reason.name(), remedy = remedy(reason),
                "cannot connect: {error}"
            );
            // A control task that has ended meanwhile does not need to know.
            let _ = hub.control.send(Command::DialFailed { id, reason, least_wait: Duration::ZERO }).await;
        }
    }
}

/// The line that a dial has made.
enum Dialled {
    Tcp(StreamLine<TcpStream>, SocketAddr),
    Memory(StreamLine<DuplexStream>),
    Udp(UdpLine, SocketAddr),
    #[cfg(unix)]
    Serial(SerialLine),
}

async fn connect(hub: &Arc<Hub>, endpoint: &Endpoint) -> io::Result<Dialled> {
    match endpoint {
        Endpoint::Tcp(place) => {
            let (stream, address) = connect_tcp(hub, place).await?;
            Ok(Dialled::Tcp(StreamLine::new(stream), address))
        }
        Endpoint::Memory(name) => Ok(Dialled::Memory(StreamLine::new(memory::connect(name)?))),
        Endpoint::Udp(place) => {
            let found = tokio::net::lookup_host(place.to_string());
            let mut addresses = tokio::time::timeout(hub.plan.timeouts.connect, found).await??;
            let address = addresses.next().ok_or_else(no_address)?;
            Ok(Dialled::Udp(UdpLine::new(hub.dialling_port(address)?.berth(), address), address))
        }
        #[cfg(unix)]
        Endpoint::Serial { path, baud } => {
            Ok(Dialled::Serial(SerialLine::dialled(SerialPort::open(path, *baud)?)))
        }
        #[cfg(not(unix))]
        Endpoint::Serial { .. } => Err(io::ErrorKind::Unsupported.into()),
    }
}

async fn run(
    hub: Arc<Hub>,
    expect: Expect,
    id: NodeId,
    line: impl Line<Session = OnStream>,
    remote: Endpoint,
) {
    hub.tally.dialled.fetch_add(1, Ordering::Relaxed);
    let rng = &mut UnwrapErr(SysRng);
    let now = hub.clock.now();
    let (plan, trust) = (&hub.plan, hub.trust());
    let credentials = trust.credentials(&plan.identity);
    let session = Session::connect(now, hub.wall(), credentials, plan.session, expect, rng);
    Link::new(hub, line, remote, session, Origin::Dialled(id)).run().await;
}

async fn run_datagrams(
    hub: Arc<Hub>,
    expect: Expect,
    id: NodeId,
    line: impl Line<Session = OnDatagrams>,
    path: Path,
    cid: ConnectionId,
    remote: Endpoint,
) {
    hub.tally.dialled.fetch_add(1, Ordering::Relaxed);
    let (rng, now) = (&mut UnwrapErr(SysRng), hub.clock.now());
    let (plan, trust) = (&hub.plan, hub.trust());
    let credentials = trust.credentials(&plan.identity);
    let session = OnDatagrams::connect(now, hub.wall(), credentials, plan.session, path, cid, expect, rng);
    Link::new(hub, line, remote, session, Origin::Dialled(id)).run().await;
}

fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
}

async fn connect_tcp(hub: &Hub, place: &HostPort) -> io::Result<(TcpStream, SocketAddr)> {
    let timeout = hub.plan.timeouts.connect;
    let addresses = tokio::time::timeout(timeout, tokio::net::lookup_host(place.to_string())).await??;
    let mut failure = no_address();
    for address in addresses {
        match socket::connect(address, &hub.plan.tcp, timeout).await {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
