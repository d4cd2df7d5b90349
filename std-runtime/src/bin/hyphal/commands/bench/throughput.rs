//! Messages a second in one direction, counted by the receiver in a window after a warm-up.
//!
//! Every message carries its number where it has room for it: a missing one, or one out of order, fails the measurement,
//! except over datagrams, where order is not kept.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use hyphal::Node;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::{Figures, PATIENCE, Work, begin, check, stuck};
use crate::cli::{ThroughputArgs, Transport};
use crate::output::{Exit, Failure};

pub(super) async fn measure(args: &ThroughputArgs) -> Result<Figures, Failure> {
    let &ThroughputArgs { size, transport, seconds, batch, reliability, .. } = args;
    let size = check(size)?;
    let window = Duration::from_secs(seconds.into());
    let (node, mut peer) = begin(transport, Work::Flood { size, batch, reliability }).await?;
    let is_in_order = transport != Transport::Udp;
    let counter = Counter { node, size, is_in_order, phase: Arc::default(), count: 0 };
    let phase = Arc::clone(&counter.phase);
    let (arrived, first) = oneshot::channel();
    // A task of its own, as in an application: the main thread is no worker of the runtime.
    let mut counting = tokio::spawn(counter.run(batch, arrived));
    let clock = tokio::spawn(async move {
        // Without a first message there is nothing to measure, and the other node says why.
        if first.await.is_err() {
            return;
        }
        sleep(WARM_UP).await;
        phase.store(MEASURING, Ordering::Relaxed);
        sleep(window).await;
        phase.store(OVER, Ordering::Relaxed);
    });
    let counted = tokio::select! {
        counted = timeout(WARM_UP + window + PATIENCE, &mut counting) => counted.map_err(|_| stuck()),
        failure = peer.fail() => Err(failure),
    };
    clock.abort();
    counting.abort();
    let Counted { count, span } =
        counted?.map_err(|error| Failure::new(Exit::Failed, error.to_string(), ""))??;
    let msgs_per_s = count as f64 / span.as_secs_f64();
    let mib_per_s = msgs_per_s * size as f64 / f64::from(1 << 20);
    Ok(Figures { msgs_per_s: Some(msgs_per_s), mib_per_s: Some(mib_per_s), ..Figures::default() })
}

/// From the first message on, so it covers the growth of queues and windows, however long processes and handshake take.
const WARM_UP: Duration = Duration::from_secs(1);

const MEASURING: u8 = 1;
const OVER: u8 = 2;

/// What arrived in the window.
struct Counted {
    count: u64,
    span: Duration,
}

struct Counter {
    node: Node,
    size: usize,
    /// Whether the link keeps the order. Over datagrams a lost one comes later than those behind it.
    is_in_order: bool,
    /// Tells the loop when the window begins and ends, so that it reads no clock in between.
    phase: Arc<AtomicU8>,
    count: u64,
}

impl Counter {
    /// Tells when the first message has `arrived`.
    async fn run(mut self, batch: bool, arrived: oneshot::Sender<()>) -> Result<Counted, Failure> {
        // Empty batches are none that count.
        while self.count == 0 {
            self.receive(batch).await?;
        }
        let _ = arrived.send(());
        self.receive_while(0, batch).await?;
        let (begun_at, before) = (Instant::now(), self.count);
        // Once at least: on a busy machine the window may have passed before this task runs again.
        self.receive(batch).await?;
        self.receive_while(MEASURING, batch).await?;
        Ok(Counted { count: self.count - before, span: begun_at.elapsed() })
    }

    async fn receive_while(&mut self, phase: u8, batch: bool) -> Result<(), Failure> {
        while self.phase.load(Ordering::Relaxed) == phase {
            self.receive(batch).await?;
        }
        Ok(())
    }

    #[inline]
    async fn receive(&mut self, batch: bool) -> Result<(), Failure> {
        if batch {
            let batch = self.node.recv_batch().await.ok_or_else(stuck)?;
            batch.iter().try_for_each(|message| self.count_one(message.payload))
        } else {
            let message = self.node.recv().await.ok_or_else(stuck)?;
            self.count_one(&message.payload)
        }
    }

    #[inline]
    fn count_one(&mut self, payload: &[u8]) -> Result<(), Failure> {
        if payload.len() != self.size {
            return Err(wrong(format_args!(
                "a message has {} bytes instead of {}",
                payload.len(),
                self.size
            )));
        }
        if self.is_in_order
            && let Some(number) = payload.first_chunk()
        {
            let number = u64::from_le_bytes(*number);
            if number != self.count {
                return Err(wrong(format_args!("message {number} came where {} was due", self.count)));
            }
        }
        self.count += 1;
        Ok(())
    }
}

#[cold]
fn wrong(what: fmt::Arguments<'_>) -> Failure {
    Failure::new(Exit::Failed, format!("the link is not sound: {what}"), "")
}
