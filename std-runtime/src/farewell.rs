//! The end of a link: what the log says of it, and closing so that the peer reads the last words.

use std::time::Duration;

use hyphal_core::ids::NodeId;
use hyphal_core::session::Closed;
use hyphal_core::wire::reason::Reason;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::address::Endpoint;
use crate::hub::Hub;
use crate::log::remedy;

/// How long the last bytes may take to be written, and the peer to close its end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// Closes a stream. Where this end has said why, it waits for the peer to have read it: closing with unread bytes
/// would reset the connection and may destroy what the peer has not read yet.
pub(crate) async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin, why: Closed) {
    if why.by_peer || matches!(why.reason, Reason::LinkLost | Reason::Stalled | Reason::Silent) {
        return;
    }
    let rest = async {
        stream.shutdown().await?;
        let mut discarded = [0; 2048];
        let mut left = MOST_DISCARDED;
        while left > 0 {
            match stream.read(&mut discarded).await? {
                0 => break,
                len => left = left.saturating_sub(len),
            }
        }
        std::io::Result::Ok(())
    };
    // Whether the peer closed, went on sending or vanished: the connection is dropped.
    let _ = tokio::time::timeout(PATIENCE, rest).await;
}

/// Writes one line on how a link ended: refusals loudly, with a remedy, the ordinary ends of sessions quietly.
pub(crate) fn write_log(hub: &Hub, peer: Option<NodeId>, address: &Endpoint, was_up: bool, why: Closed) {
    let Closed { reason, by_peer, .. } = why;
    let peer = peer.map(|id| id.to_string()).unwrap_or_default();
    let side = if by_peer { "the peer" } else { "this node" };
    if was_up || matches!(reason, Reason::Shutdown | Reason::Replaced) {
        tracing::debug!(peer, %address, reason = reason.name(), by = side, "session ended: {reason}");
        return;
    }
    if let Some(missed) = hub.rejections.pass(hub.clock.now()) {
        tracing::warn!(
            peer, %address, reason = reason.name(), by = side, remedy = remedy(reason), missed,
            "connection rejected: {reason}"
        );
    }
}

/// Bytes that a peer may still send while the connection is closed.
const MOST_DISCARDED: usize = 1 << 20;
