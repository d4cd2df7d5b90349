//! A large Guaranteed message for which there is no memory when it comes is delivered in the same session, as soon as there is.

use bytes::Bytes;
use hyphal::{Filter, Limits, Node, Outcome, Reason, SendOptions, Subscription};

use crate::guaranteed::{Place, guaranteed};
use crate::large::noise;
use crate::pair::{builder, dialling, up, within};

/// Of one message.
const LEN: usize = 256 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_given_up_for_want_of_memory_is_delivered_in_the_same_session_when_there_is_some() {
    let mut scene = Scene::new().await;
    let mut wanted = scene.receiver.subscribe_held(Filter::all().kind(WANTED));
    let to = scene.receiver.id();
    let payload = noise(LEN, 9);
    let (id, receipt) =
        scene.sender.send_direct_tracked(to, WANTED, payload.clone(), twice_in_memory()).await.unwrap();
    scene.given_up(1).await;
    scene.sender.send_direct(to, WANTED, "behind it", guaranteed()).await.unwrap();
    let behind = within(wanted.recv()).await.unwrap().acknowledge();

    scene.take_what_holds_memory().await;

    let message = within(wanted.recv()).await.unwrap().acknowledge();
    assert_eq!((behind.payload, behind.id.sequence), (Bytes::from("behind it"), id.sequence + 1));
    assert_eq!((message.id, message.source), (id, scene.sender.id()));
    assert!(message.payload == payload);
    assert_eq!(within(receipt).await, Outcome::Delivered);
    assert_eq!((scene.sender.counters().closed, scene.receiver.counters().closed), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_for_which_there_never_will_be_memory_fails_and_holds_nobody_up() {
    let scene = Scene::new().await;
    let mut wanted = scene.receiver.subscribe(Filter::all().kind(WANTED));
    let to = scene.receiver.id();

    let long = noise(MEMORY / 2, 9);
    let (_, receipt) = scene.sender.send_direct_tracked(to, WANTED, long, twice_in_memory()).await.unwrap();
    scene.sender.send_direct(to, WANTED, "behind it", guaranteed()).await.unwrap();

    assert_eq!(within(receipt).await, Outcome::Failed(Reason::TooLong));
    assert_eq!(within(wanted.recv()).await.unwrap().payload, "behind it");
}

/// A receiver whose memory for large messages is held, but for one message, by another sender's, which waits for its reader.
struct Scene {
    receiver: Node,
    sender: Node,
    holder: Node,
    slow: Subscription,
    _stores: [Place; 2],
}

impl Scene {
    async fn new() -> Self {
        let stores = [Place::new(), Place::new()];
        let mut limits = Limits::default();
        limits.max_message = MEMORY as u32;
        limits.assembly_bytes = MEMORY;
        limits.queue_batches = 1;
        let receiver =
            stores[0].builder().limits(limits).listen(stores[0].address.as_str()).start().await.unwrap();
        let mut events = receiver.events();
        let slow = receiver.subscribe(Filter::all().kind(HELD));
        let holder = dialling(builder(), &receiver).await;
        up(&mut events, holder.id()).await;
        let sender = stores[1].dial(&stores[0]).await;
        up(&mut events, sender.id()).await;
        // One fills the queue, and the next one waits for it in memory.
        for seed in [1, 2] {
            let sent =
                holder.send_direct_tracked(receiver.id(), HELD, noise(LEN, seed), SendOptions::default());
            let (_, receipt) = sent.await.unwrap();
            within(async {
                while receipt.progress().written < receipt.progress().total {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
        // What was written before is read with it.
        within(holder.ping(receiver.id())).await.unwrap();
        Self { receiver, sender, holder, slow, _stores: stores }
    }

    /// Waits until so many messages found no memory.
    async fn given_up(&self, count: u64) {
        within(async {
            while self.receiver.counters().received_dropped != [(Reason::NoRoom, count)] {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    async fn take_what_holds_memory(&mut self) {
        for seed in [1, 2] {
            let message = within(self.slow.recv()).await.unwrap();
            assert_eq!(message.source, self.holder.id());
            assert!(message.payload == noise(LEN, seed));
        }
    }
}

/// A sealed and signed message is held twice when it is whole: as it came, which is the evidence, and as it was meant.
fn twice_in_memory() -> SendOptions {
    guaranteed().seal(true).sign(true)
}

/// Does for two messages and not for three.
const MEMORY: usize = 2 * LEN + LEN / 2;

const HELD: u16 = 0x1001;
const WANTED: u16 = 0x1002;
