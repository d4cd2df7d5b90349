//! How much memory a large message takes beside itself. A process of its own, with this one test, since it is the process that is
//! measured.

#![cfg(target_os = "linux")]

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use hyphal::{Filter, Identity, Incoming, Node, Outcome, SendOptions, Trust};

const LEN: usize = 16 << 20;
const MIB: usize = 1 << 20;

/// Both nodes are in this process: the payload that is sent, and the one that is put together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_16_mib_takes_at_most_4_mib_beside_itself_at_each_end() {
    let node = |seed: u8| {
        let identity = Identity::from_seed(&[seed; 32]).unwrap();
        Node::builder().identity(identity).network("memory").trust(Trust::Open)
    };
    let right = node(7).listen(std::net::SocketAddr::from(([127, 0, 0, 1], 0))).start().await.unwrap();
    let left = node(9).peer(right.id(), right.local_addrs()[0].clone()).start().await.unwrap();
    let payload: Bytes = vec![0x5A; LEN].into();
    let mut streams = right.subscribe_streams(Filter::all().kind(2));
    // What a pair of nodes takes by itself, once it has spoken.
    exchange(&left, &right, "warm").await;

    let mut peaks = Vec::new();
    for _ in 0..3 {
        let before = start_measuring();
        exchange(&left, &right, payload.clone()).await;
        peaks.push(peak().saturating_sub(before));
    }
    let before = start_measuring();
    let (_, receipt) =
        left.send_direct_tracked(right.id(), 2, payload.clone(), SendOptions::default()).await.unwrap();
    let Some(Incoming::Stream(mut stream)) = streams.recv().await else { panic!("no stream") };
    while let Some(part) = stream.next().await {
        part.unwrap();
    }
    let streamed = peak().saturating_sub(before);

    assert_eq!(receipt.await, Outcome::Delivered);
    // The payload that is sent was there before.
    let worst = peaks.into_iter().max().unwrap();
    assert!(worst <= LEN + 8 * MIB, "{} MiB beside the message", worst.saturating_sub(LEN) / MIB);
    assert!(streamed <= 8 * MIB, "{} MiB for a stream", streamed / MIB);
    assert_eq!(payload.len(), LEN);
}

/// One message, taken and let go.
async fn exchange(left: &Node, right: &Node, payload: impl Into<Bytes>) {
    let payload = payload.into();
    let len = payload.len();
    // The receiver comes first: a node with subscriptions keeps no message of which nobody ever asked.
    let (message, sent) =
        tokio::join!(right.recv(), left.send_direct_tracked(right.id(), 1, payload, SendOptions::default()));
    let ((_, receipt), message) = (sent.unwrap(), message.unwrap());
    assert_eq!(message.payload.len(), len);
    drop(message);
    tokio::select! {
        _ = right.recv() => panic!("there is no further message"),
        outcome = tokio::time::timeout(Duration::from_secs(20), receipt) => {
            assert_eq!(outcome, Ok(Outcome::Delivered));
        }
    }
}

/// Forgets the highest resident memory so far; gives what is resident.
fn start_measuring() -> usize {
    fs::write("/proc/self/clear_refs", "5").unwrap();
    status("VmRSS:")
}

/// The highest resident memory since then.
fn peak() -> usize {
    status("VmHWM:")
}

fn status(field: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
