//! Listening on a serial port: one session at a time, and the port opened anew when its device goes away and comes back.

use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use getrandom::SysRng;
use hyphal_core::session::{ConnectionId, Path};
use hyphal_core::wire::reason::Reason;
use rand_core::UnwrapErr;
use tokio::sync::oneshot;

use crate::address::Endpoint;
use crate::hub::Hub;
use crate::link::{Link, OnDatagrams, SerialLine, beginning};
use crate::listener;
use crate::log::Throttle;
use crate::serial::SerialPort;

/// A port that waits for whoever is at the other end.
pub(crate) struct LineListener {
    path: PathBuf,
    baud: u32,
    port: SerialPort,
}

impl LineListener {
    pub(crate) fn open(path: &std::path::Path, baud: u32) -> std::io::Result<Self> {
        Ok(Self { path: path.to_owned(), baud, port: SerialPort::open(path, baud)? })
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::Serial { path: self.path.clone(), baud: self.baud }
    }

    /// Runs one session after the other until the node ends.
    pub(crate) async fn listen(self, hub: Arc<Hub>) {
        let remote = self.endpoint();
        let Self { path, baud, mut port } = self;
        let refusals = Throttle::default();
        loop {
            if let Some(packet) = await_beginning(&hub, &mut port).await
                && let Ok(origin) = listener::admit(&hub, &remote, &refusals)
            {
                port.put_back(packet);
                let (lender, given_back) = oneshot::channel();
                let (plan, trust) = (&hub.plan, hub.trust());
                let credentials = trust.credentials(&plan.identity);
                let (now, rng) = (hub.clock.now(), &mut UnwrapErr(SysRng));
                let (path, cid) = (Path::default(), ConnectionId::NONE);
                let session = OnDatagrams::accept(now, hub.wall(), credentials, plan.session, path, cid, rng);
                let line = SerialLine::lent(port, lender);
                hub.spawn(Link::new(Arc::clone(&hub), line, remote.clone(), session, origin).run());
                // The link ends without giving the port back only if the node does.
                let Ok(returned) = given_back.await else { return };
                port = returned;
            }
            if port.is_broken() {
                drop(port);
                tracing::warn!(address = %remote, "the serial device is gone; it is opened again when it is back");
                port = reopen(&path, baud).await;
                tracing::info!(address = %remote, "the serial device is back");
            }
        }
    }
}

/// Waits for a packet that begins a session; `None` if the device failed.
async fn await_beginning(hub: &Hub, port: &mut SerialPort) -> Option<BytesMut> {
    loop {
        match poll_fn(|cx| port.poll_datagram(cx)).await {
            Ok(Ok(packet)) if beginning(&packet).is_some() => return Some(packet),
            Ok(Ok(_)) => hub.tally.strays.add(Reason::UnexpectedFrame, 1),
            Ok(Err(reason)) => hub.tally.strays.add(reason, 1),
            Err(error) => {
                tracing::debug!(%error, "the serial device failed");
                return None;
            }
        }
    }
}

async fn reopen(path: &std::path::Path, baud: u32) -> SerialPort {
    let mut pause = SHORTEST_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        match SerialPort::open(path, baud) {
            Ok(port) => return port,
            Err(_) => pause = (pause * 2).min(LONGEST_PAUSE),
        }
    }
}

const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
