//! Dialling a peer: the name is resolved at every dial, and its addresses are tried in turn.
//!
//! A dial ends in a link, which tells the control task what became of it, or in one `DialFailed`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use getrandom::SysRng;
use hyphal_core::ids::{Hint, NodeId};
use hyphal_core::session::{Expect, Resumption, Session};
use hyphal_core::wire::reason::Reason;
use rand_core::UnwrapErr;
use tokio::net::TcpStream;

use crate::control::Command;
use crate::hub::Hub;
use crate::link::{Link, Origin};
use crate::log::remedy;
use crate::socket;

/// Connects to `endpoint` (`host:port`), where `id` must answer, by the hint of an earlier session if there is one, and runs the link until it ends.
pub(crate) async fn dial(hub: Arc<Hub>, id: NodeId, hint: Option<Hint>, endpoint: String) {
    let connected = tokio::select! {
        connected = connect(&hub, &endpoint) => connected,
        // Without a control task there is nothing left to dial for.
        () = hub.control.closed() => return,
    };
    match connected {
        Ok((stream, address)) => {
            hub.tally.dialled.fetch_add(1, Ordering::Relaxed);
            let rng = &mut UnwrapErr(SysRng);
            let now = hub.clock.now();
            let expect = hint.map_or(Expect::Id(id), |hint| Expect::Resume(Resumption { id, hint }));
            let session =
                Session::connect(now, hub.wall(), &hub.plan.identity, hub.plan.session, expect, rng);
            Link::new(hub, stream, address, session, Origin::Dialled(id)).run().await;
        }
        Err(error) => {
            let reason = Reason::Unreachable;
            hub.tally.closed.add(reason, 1);
            tracing::info!(
                peer = %id, address = endpoint, reason = reason.name(), remedy = remedy(reason),
                "cannot connect: {error}"
            );
            // A control task that has ended meanwhile does not need to know.
            let _ = hub.control.send(Command::DialFailed { id, reason }).await;
        }
    }
}

async fn connect(hub: &Hub, endpoint: &str) -> io::Result<(TcpStream, SocketAddr)> {
    let timeout = hub.plan.timeouts.connect;
    let addresses = tokio::time::timeout(timeout, tokio::net::lookup_host(endpoint)).await??;
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match socket::connect(address, &hub.plan.tcp, timeout).await {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
