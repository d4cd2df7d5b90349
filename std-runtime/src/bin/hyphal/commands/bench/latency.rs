//! Round trips one after the other: a message to the other node and its echo back.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use hyphal::{Node, NodeId};
use tokio::time::timeout;

use super::{Figures, KIND, PATIENCE, Work, begin, check, options, stuck};
use crate::cli::{Sureness, Transport};
use crate::output::{Exit, Failure};

pub(super) async fn measure(transport: Transport, size: u32, count: u64) -> Result<Figures, Failure> {
    let size = check(size)?;
    let (node, mut peer) = begin(transport, Work::Echo).await?;
    // A task of its own, as in an application: the main thread is no worker of the runtime.
    let mut measuring = tokio::spawn(round_trips(node, peer.id, size, count));
    let measured = tokio::select! {
        measured = &mut measuring => measured,
        failure = peer.fail() => {
            measuring.abort();
            return Err(failure);
        }
    };
    let histogram = measured.map_err(|error| Failure::new(Exit::Failed, error.to_string(), ""))??;
    let micros = |quantile| Some(histogram.value_at_quantile(quantile) as f64 / 1000.0);
    Ok(Figures { p50_us: micros(0.5), p99_us: micros(0.99), p999_us: micros(0.999), ..Figures::default() })
}

/// Nanoseconds of `count` round trips, after as many unmeasured ones as bring caches and buffers up.
async fn round_trips(node: Node, peer: NodeId, size: usize, count: u64) -> Result<Histogram<u64>, Failure> {
    let mut histogram = Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).map_err(|error| broken(&error))?;
    let payload = vec![0x5A; size];
    timeout(PATIENCE, async {
        for _ in 0..(count / 10).clamp(10, 1000) {
            round_trip(&node, peer, &payload).await?;
        }
        Ok::<(), Failure>(())
    })
    .await
    .map_err(|_| stuck())??;
    // The end of one is the beginning of the next.
    let mut begun_at = Instant::now();
    for _ in 0..count {
        round_trip(&node, peer, &payload).await?;
        let ended_at = Instant::now();
        let nanos = (ended_at - begun_at).as_nanos();
        histogram.saturating_record(u64::try_from(nanos).unwrap_or(u64::MAX));
        begun_at = ended_at;
    }
    Ok(histogram)
}

#[inline]
async fn round_trip(node: &Node, peer: NodeId, payload: &[u8]) -> Result<(), Failure> {
    node.send_direct(peer, KIND, payload, options(Sureness::High)).await.map_err(|error| broken(&error))?;
    let echo = node.recv().await.ok_or_else(stuck)?;
    if echo.payload.len() != payload.len() {
        return Err(broken(&"an echo has another length than its message"));
    }
    Ok(())
}

fn broken(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, format!("the measurement failed: {error}"), "")
}

const LONGEST_NS: u64 = Duration::from_secs(60).as_nanos() as u64;

/// Significant decimal digits of the histogram.
const DIGITS: u8 = 3;
