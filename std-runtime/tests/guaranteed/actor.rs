//! One of the two nodes, in its process: it does its part until it is killed, and writes down what happens.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyphal::{Filter, Identity, MessageId, Node, Outcome, Priority, Reliability, SendOptions};

use tokio::signal::unix::{SignalKind, signal};

use crate::scene;

pub(crate) const ROLE: &str = "GUARANTEED_ROLE";
pub(crate) const DIRECTORY: &str = "GUARANTEED_DIRECTORY";
pub(crate) const LIFE: &str = "GUARANTEED_LIFE";
pub(crate) const ADDRESS: &str = "GUARANTEED_ADDRESS";
pub(crate) const PEER: &str = "GUARANTEED_PEER";

const SENDER: u8 = 1;
const RECEIVER: u8 = 2;
const SENDING: usize = 12;

/// Whoever started this is gone if it runs longer.
const LONGEST_LIFE: Duration = Duration::from_secs(180);

pub(crate) fn run() {
    // Without a role somebody has run all ignored tests.
    let Ok(role) = std::env::var(ROLE) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let life = async {
        match role.as_str() {
            "receiver" => receive().await,
            "sender" => send().await,
            _ => drain().await,
        }
    };
    runtime.block_on(async { tokio::time::timeout(LONGEST_LIFE, life).await }).unwrap();
}

/// Takes messages until it is told to end: then all that it has acknowledged is known, here and at the sender.
async fn receive() {
    let mut told = signal(SignalKind::terminate()).unwrap();
    let node = started(RECEIVER, SENDER).await;
    let mut held = node.subscribe_held(Filter::all());
    let log = log();
    loop {
        let message = tokio::select! {
            message = held.recv() => message.unwrap(),
            _ = told.recv() => break,
        };
        note(&log, "got", message.id);
        drop(message.acknowledge());
    }
    node.shutdown(Duration::from_secs(5)).await;
    write(&log, "ended");
}

async fn send() {
    let node = Arc::new(started(SENDER, RECEIVER).await);
    let log = Arc::new(log());
    let tasks: Vec<_> =
        (0..SENDING).map(|task| tokio::spawn(send_on(node.clone(), log.clone(), task))).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn send_on(node: Arc<Node>, log: Arc<File>, task: usize) {
    let priority = Priority::ALL[task % Priority::ALL.len()];
    let options = SendOptions::default().reliability(Reliability::Guaranteed).priority(priority).ttl(0);
    for count in 0_usize.. {
        // Some travel in parts, and a few are longer than what waits in memory for its turn.
        let len = match count % 32 {
            31 => (1 + task % 3) << 20,
            _ => (count * 7919 + task * 131) % 20_000,
        };
        let payload = vec![task as u8; len];
        match node.send_direct_tracked(id(RECEIVER), 1, payload.as_slice(), options).await {
            Ok((id, receipt)) => {
                note(&log, "accepted", id);
                say("accepted");
                let log = log.clone();
                tokio::spawn(async move {
                    if receipt.await == Outcome::Delivered {
                        note(&log, "delivered", id);
                    }
                });
            }
            Err(error) => {
                say(&format!("refused {error}"));
                return;
            }
        }
    }
}

/// Sends nothing more, and ends when everything that is stored has been acknowledged.
async fn drain() {
    let node = started(SENDER, RECEIVER).await;
    while node.counters().sent.stored > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    node.shutdown(Duration::from_secs(5)).await;
    say("drained");
}

/// A node that listens where it did before and dials the other one, if it knows where.
async fn started(own: u8, other: u8) -> Node {
    let store = PathBuf::from(variable(DIRECTORY)).join(format!("store-{own}"));
    let builder = Node::builder().identity(identity(own)).network("guaranteed").store(store);
    let builder = builder.listen(variable(ADDRESS).as_str());
    let node = match std::env::var(PEER) {
        Ok(address) => builder.peer(id(other), address.as_str()).start().await.unwrap(),
        Err(_) => builder.known_peer(id(other)).start().await.unwrap(),
    };
    say(&format!("address {}", node.local_addrs()[0].socket_addr().unwrap()));
    node
}

fn id(who: u8) -> hyphal::NodeId {
    identity(who).id()
}

/// The same in every life; every other seed makes an identity.
fn identity(who: u8) -> Identity {
    let mut seeds =
        (0..=u8::MAX).map(|last| std::array::from_fn(|place| if place == 31 { last } else { who }));
    seeds.find_map(|seed| Identity::from_seed(&seed).ok()).unwrap()
}

fn log() -> File {
    scene::log_of(PathBuf::from(variable(DIRECTORY)), &variable(LIFE))
}

fn note(log: &File, what: &str, id: MessageId) {
    write(log, &format!("{what} {id}"));
}

fn write(mut log: &File, line: &str) {
    log.write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn say(line: &str) {
    // The reader has stopped before this process is killed.
    let _ = std::io::stdout().write_all(format!("{line}\n").as_bytes());
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap()
}
