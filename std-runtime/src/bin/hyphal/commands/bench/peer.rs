//! The other node of a measurement: it dials and sends as fast as the link takes it, or echoes. It measures nothing.

use std::collections::VecDeque;
use std::io::{self, BufRead};

use bytes::{Bytes, BytesMut};
use hyphal::{Identity, Node, NodeId, Outgoing, SendError, SendOptions};

use super::{Assignment, KIND, NETWORK, Work, options, runtime};
use crate::cli::Sureness;
use crate::output::{Exit, Failure};

/// Does the work until the input ends.
pub(crate) fn run() -> Result<Exit, Failure> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let assignment: Assignment = serde_json::from_str(&line).map_err(|_| {
        Failure::new(Exit::Usage, "this command is a part of the measurements", "run: hyphal bench latency")
    })?;
    // The thread that waits for the end of the input cannot be interrupted, so it ends the process by the return of this.
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = ended.send(());
    });
    let runtime = runtime(2)?;
    let mut work = runtime.spawn(work(assignment));
    runtime.block_on(async {
        tokio::select! {
            _ = end => Ok(Exit::Done),
            worked = &mut work => {
                let () = worked.map_err(|error| Failure::new(Exit::Failed, error.to_string(), ""))??;
                Ok(Exit::Done)
            }
        }
    })
}

pub(super) async fn work(assignment: Assignment) -> Result<(), Failure> {
    let Assignment { seed, id, endpoint, work } = assignment;
    let wrong = |error: &dyn std::error::Error| Failure::new(Exit::Usage, error.to_string(), "");
    let identity = Identity::from_seed(&seed).map_err(|error| wrong(&error))?;
    let peer: NodeId = id.parse().map_err(|error: hyphal::BadNodeId| wrong(&error))?;
    let node = Node::builder().identity(identity).network(NETWORK).peer(peer, endpoint).start().await?;
    let worked = match work {
        Work::Flood { size, batch: true, reliability } => {
            flood_in_batches(&node, peer, size, options(reliability)).await
        }
        Work::Flood { size, batch: false, reliability } => {
            flood(&node, peer, size, options(reliability)).await
        }
        Work::Echo => echo(&node, peer).await,
    };
    worked.map_err(|error| Failure::new(Exit::Failed, error.to_string(), ""))
}

/// One buffer for all messages; each gets its number in front.
async fn flood(node: &Node, peer: NodeId, size: usize, options: SendOptions) -> Result<(), SendError> {
    if size > COPIED_MAX {
        return flood_with_shared(node, peer, size, options).await;
    }
    let mut message = vec![0x5A; size];
    for number in 0_u64.. {
        write_number(&mut message, number);
        node.send_direct(peer, KIND, &message[..], options).await?;
    }
    Ok(())
}

/// Buffers that the queue shares and that come back once their message has left: the way to send long ones.
async fn flood_with_shared(
    node: &Node,
    peer: NodeId,
    size: usize,
    options: SendOptions,
) -> Result<(), SendError> {
    let mut buffers = VecDeque::new();
    for number in 0_u64.. {
        let front: Option<Bytes> = buffers.pop_front();
        let mut message = match front.map(Bytes::try_into_mut) {
            Some(Ok(free)) => free,
            // The oldest is under way still, so all are.
            Some(Err(taken)) => {
                buffers.push_front(taken);
                BytesMut::from(&vec![0x5A; size][..])
            }
            None => BytesMut::from(&vec![0x5A; size][..]),
        };
        write_number(&mut message, number);
        let message = message.freeze();
        buffers.push_back(message.clone());
        node.send_direct(peer, KIND, message, options).await?;
    }
    Ok(())
}

/// One buffer for all batches, with the messages side by side.
async fn flood_in_batches(
    node: &Node,
    peer: NodeId,
    size: usize,
    options: SendOptions,
) -> Result<(), SendError> {
    let count = (BATCH_BYTES / size.max(1)).clamp(1, BATCH);
    let mut messages = vec![0x5A; size * count];
    let mut number = 0;
    loop {
        for index in 0..count {
            write_number(&mut messages[index * size..][..size], number);
            number += 1;
        }
        let batch = (0..count).map(|index| Outgoing {
            kind: KIND,
            payload: messages[index * size..][..size].into(),
            options,
        });
        node.send_batch(peer, batch).await.map_err(|error| error.error)?;
    }
}

#[inline]
fn write_number(message: &mut [u8], number: u64) {
    if let Some(head) = message.first_chunk_mut() {
        *head = number.to_le_bytes();
    }
}

async fn echo(node: &Node, peer: NodeId) -> Result<(), SendError> {
    let options = options(Sureness::High);
    while let Some(message) = node.recv().await {
        node.send_direct(peer, KIND, message.payload, options).await?;
    }
    Ok(())
}

/// The longest message that is copied into the queue.
const COPIED_MAX: usize = 64 * 1024;

/// Messages of a batch, as long as they are short: half of what a peer's queue holds by default.
const BATCH: usize = 4096;

/// Bytes of a batch, within what the second-level cache of a core holds.
const BATCH_BYTES: usize = 256 * 1024;
