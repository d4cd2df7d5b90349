//! Accepting connections on one address: within limits, and without spinning when file descriptors run out.
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

use crate::hub::{Doors, Hub};
use crate::link::{Link, Origin};
use crate::log::{Throttle, remedy};
use crate::socket;

/// Accepts connections until the node ends.
pub(crate) async fn listen(hub: Arc<Hub>, listener: TcpListener) {
    let refusals = Throttle::default();
    let mut pause = SHORTEST_PAUSE;
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                pause = SHORTEST_PAUSE;
                hub.tally.accepted.fetch_add(1, Ordering::Relaxed);
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
    let (seat, attempt) = match Doors::admit(hub, address.ip()) {
        Ok(places) => places,
        Err(reason) => {
            hub.tally.refused.add(reason, 1);
            if let Some(missed) = refusals.pass() {
                tracing::warn!(
                    %address, reason = reason.name(), remedy = remedy(reason), missed,
                    "connection refused: {reason}"
                );
            }
            refuse(&stream, reason);
            return;
        }
    };
    if let Err(error) = socket::prepare(&stream, &hub.plan.tcp) {
        tracing::debug!(%address, %error, "connection ended before it was set up");
        return;
    }
    let rng = &mut UnwrapErr(SysRng);
    let session = Session::accept(hub.clock.now(), hub.wall(), &hub.plan.identity, hub.plan.session, rng);
    let origin = Origin::Accepted { _seat: seat, attempt: Some(attempt) };
    let link = Link::new(Arc::clone(hub), stream, address, session, origin);
    hub.spawn(link.run());
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
const BUSY_MILLIS: u64 = 1000;

const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
