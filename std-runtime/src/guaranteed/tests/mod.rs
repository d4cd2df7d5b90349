//! Lanes between sessions that cross, end and begin: what is owed over which link, and whose turn does what.
//!
//! A real store and a real outbox; the links are their tokens, which take the turns that these tests give them.

mod drafts;

use std::cell::{Cell, RefCell};
use std::num::NonZeroU64;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyphal_core::identity::Identity;
use hyphal_core::wire::delivery::{self, Arrived, LaneState};
use hyphal_core::wire::message::DEFAULT_TTL;
use tempfile::TempDir;

use super::outgoing::Draft;
use super::*;
use crate::builder::NodeBuilder;
use crate::node::Node;
use crate::receipt::Outcome;
use crate::store::{StoreLimits, StoredMessage, StoredReceiveLane};

const PEER: NodeId = NodeId::from_bytes([2; 32]);
const CLASS: Priority = Priority::Medium;
const LIMITS: StoreLimits = StoreLimits { bytes: 1 << 20, receive_lanes: 9 };
/// Of the lane from the peer.
const EPOCH: u64 = 5;
/// The links of two sessions with one peer, of which the first makes way for the second.
const RETIRING: u64 = 1;
const STAYING: u64 = 2;

#[tokio::test]
async fn a_lane_announced_over_the_next_session_before_the_old_one_has_the_outbox_is_answered_there() {
    let scene = Scene::with_known_lane().await;

    scene.announce_lane(STAYING);
    scene.attach(RETIRING);
    let over_the_old_link = scene.turn(RETIRING);
    scene.let_go(RETIRING);
    scene.attach(STAYING);

    assert_eq!((over_the_old_link, scene.turn(STAYING)), (vec![], vec![LaneState::KIND]));
}

#[tokio::test]
async fn a_turn_of_the_old_link_forgets_no_answer_that_the_next_session_owes() {
    let scene = Scene::with_known_lane().await;
    scene.attach(RETIRING);
    scene.turn(RETIRING);

    // The sender is over at the session that stays, and this end is not.
    scene.announce_lane(STAYING);
    let over_the_old_link = scene.turn(RETIRING);
    scene.let_go(RETIRING);
    scene.attach(STAYING);

    assert_eq!((over_the_old_link, scene.turn(STAYING)), (vec![], vec![LaneState::KIND]));
}

#[tokio::test]
async fn a_turn_of_a_link_that_has_lost_the_outbox_leaves_the_work_to_the_one_that_has_it() {
    let scene = Scene::with_known_lane().await;
    scene.attach(RETIRING);
    scene.attach(STAYING);
    scene.turn(STAYING);

    scene.announce_lane(STAYING);
    let over_the_old_link = scene.turn(RETIRING);

    assert_eq!((over_the_old_link, scene.turn(STAYING)), (vec![], vec![LaneState::KIND]));
}

#[tokio::test]
async fn an_answer_that_was_queued_and_lost_with_its_session_is_given_when_the_sender_asks_in_the_next() {
    let scene = Scene::with_known_lane().await;
    scene.attach(RETIRING);
    scene.announce_lane(RETIRING);
    scene.lanes.feed(scene.node.hub(), &scene.peer, RETIRING, NOW);

    // It waits in the outbox, and goes with its session.
    scene.let_go(RETIRING);
    scene.attach(STAYING);
    let before_it_is_asked = scene.turn(STAYING);
    scene.announce_lane(STAYING);

    assert_eq!((before_it_is_asked, scene.turn(STAYING)), (vec![], vec![LaneState::KIND]));
}

#[tokio::test]
async fn a_message_whose_peer_proves_to_keep_none_while_it_is_being_stored_fails() {
    let scene = Scene::new().await;
    let message = scene.accept(b"too late");

    scene.attach_to(STAYING, false);
    message.storing.await.unwrap();

    assert_eq!(message.outcome.unwrap().try_recv(), Ok(Outcome::Failed(Reason::NotKept)));
}

#[tokio::test]
async fn one_message_at_a_time_has_its_turn_however_much_others_send() {
    let scene = Scene::new().await;
    let epoch = scene.accept_stored(b"one").await;
    scene.accept_stored(b"two").await;
    scene.attach(STAYING);
    scene.crowd_outbox();
    assert_eq!(scene.turn(STAYING), [delivery::Lane::KIND], "what is said of a lane waits for nobody");

    scene.answer_lane(CLASS, epoch, 1);
    scene.until(|| scene.numbers_queued() > 0).await;
    scene.settle_store().await;

    assert_eq!(scene.numbers_queued(), 1, "the other one waits until this one has left");
}

#[tokio::test]
async fn a_large_message_that_is_read_from_the_store_is_not_kept_out_by_one_that_comes_after_it() {
    static LARGE: [u8; 1 << 20] = [7; 1 << 20];
    let scene = Scene::new().await;
    let epoch = scene.accept_stored(&LARGE).await;
    scene.attach(STAYING);
    scene.turn(STAYING);

    // Whoever accepts it has it in memory, while the one before it is on the disk only.
    scene.answer_lane(CLASS, epoch, 1);
    scene.accept_stored(&LARGE).await;

    assert_eq!(scene.send_all(2).await, [1, 2]);
}

#[tokio::test]
async fn a_large_message_that_comes_from_the_store_after_it_was_sent_keeps_out_none_behind_it() {
    static LARGE: [u8; 1 << 20] = [7; 1 << 20];
    let scene = Scene::new().await;
    let mut first = scene.accept(b"called back");
    (&mut first.storing).await.unwrap();
    let mut second = scene.accept(&LARGE);
    scene.attach(STAYING);
    scene.turn(STAYING);
    scene.answer_lane(CLASS, first.id.epoch, 1);
    scene.feed();
    scene.settle_store_without_turns().await;

    // The first is being read, with the second behind it, which is in memory now; and then need not be read any more.
    scene.feed();
    assert!(is_ready(&mut second.storing), "it is durable");
    assert!(Called::new(Arc::clone(&scene.lanes), CLASS, first.id).cancel());
    scene.feed();
    let mut sent = Vec::new();
    scene.drain(&mut sent);
    scene.settle_store_without_turns().await;
    scene.accept_stored(&LARGE).await;

    assert_eq!((sent, scene.send_all(1).await), (vec![2], vec![3]));
}

#[tokio::test]
async fn what_is_acknowledged_at_the_last_moment_is_in_the_store_when_it_is_closed() {
    let scene = Scene::with_known_lane().await;
    scene.announce_lane(STAYING);
    let arrival = scene.lanes.take(CLASS, EPOCH, 4).unwrap();

    Hold::new(&arrival).commit();
    drop(arrival);
    scene.node.hub().guaranteed.as_ref().unwrap().close().await;

    let store = Store::open(scene.directory.path(), scene.node.id(), LIMITS).unwrap();
    assert_eq!(store.receive_lane(scene.lanes.key(CLASS)).map(|lane| lane.base), Some(5));
    store.close().await;
}

/// A node without links, and a peer of it.
struct Scene {
    node: Node,
    peer: Arc<Peer>,
    lanes: Arc<Lanes>,
    /// Records that left.
    records: Cell<u64>,
    directory: TempDir,
}

impl Scene {
    async fn new() -> Self {
        Self::with_store(|_| async {}).await
    }

    /// The receiving end of a lane is in the store.
    async fn with_known_lane() -> Self {
        Self::with_store(|store| async move {
            let key = LaneKey { node: PEER, class: CLASS };
            let arrivals = StoredReceiveLane { key, epoch: EPOCH, since: 1, base: 4, window: [0; 16] };
            store.save_arrivals(arrivals).await.unwrap();
        })
        .await
    }

    async fn with_store<F: Future<Output = ()>>(fill: impl FnOnce(Store) -> F) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let own = Identity::from_seed(&[1; 32]).unwrap();
        let store = Store::open(directory.path(), own.id(), LIMITS).unwrap();
        fill(store.clone()).await;
        store.close().await;
        let node =
            NodeBuilder::new().identity(own).network("test").store(directory.path()).start().await.unwrap();
        let peer = node.hub().peer_or_new(PEER);
        let lanes = Arc::clone(peer.lanes.as_ref().unwrap());
        Self { node, peer, lanes, records: Cell::new(0), directory }
    }

    /// The link has the outbox from here on, and its session is up.
    fn attach(&self, token: u64) {
        self.attach_to(token, true);
    }

    fn attach_to(&self, token: u64, keeps: bool) {
        let signal = Arc::new(Signal::default());
        self.peer.lane().hand_to(token, Arc::clone(&signal));
        self.lanes.handle_session_start(token, &signal, keeps);
    }

    /// The session of the link has ended.
    fn let_go(&self, token: u64) {
        self.peer.lane().detach(token);
        self.lanes.handle_session_end(token);
    }

    /// The peer speaks of its lane, for the first time over this link.
    fn announce_lane(&self, token: u64) {
        let announced = delivery::Lane { class: CLASS, epoch: EPOCH, base: 1, fresh: 9 };
        self.lanes.handle_lane(&announced, token, true).unwrap();
    }

    /// Gives the link a turn, and says of which types the messages are that it then has to say of lanes. They leave, and arrive.
    fn turn(&self, token: u64) -> Vec<u16> {
        self.lanes.feed(self.node.hub(), &self.peer, token, NOW);
        let mut said = Vec::new();
        let mut lane = self.peer.lane();
        while let Some(next) = lane.outbox.next(NOW)
            && delivery::is_delivery(next.header.kind)
        {
            said.push(next.header.kind);
            lane.outbox.take(usize::MAX);
            let record = self.records.replace(self.records.get() + 1);
            lane.outbox.handle_record_written(record);
            lane.outbox.handle_ack(record + 1);
        }
        said
    }

    /// Gives a message to the peer its number.
    fn draft(&self, class: Priority, payload: &[u8]) -> Draft {
        let StoredMessage { ttl, accepted_at, .. } = message(b"");
        let terms = Terms { ttl, accepted_at, len: payload.len(), is_tracked: true };
        self.lanes.number(class, terms).unwrap()
    }

    /// Begins to store a message that has its number.
    fn store(&self, draft: Draft, payload: &'static [u8]) -> Result<Accepted, SendError> {
        let room = self.lanes.try_reserve(payload.len()).unwrap();
        draft.store(room, message(payload))
    }

    /// Begins to store a message to the peer.
    fn accept(&self, payload: &'static [u8]) -> Accepted {
        self.store(self.draft(CLASS, payload), payload).unwrap()
    }

    /// Stores a message to the peer, and says of which epoch its lane is.
    async fn accept_stored(&self, payload: &'static [u8]) -> u64 {
        let accepted = self.accept(payload);
        accepted.storing.await.unwrap();
        accepted.id.epoch
    }

    /// All messages of this node's lane below `base` have come, and the peer takes more.
    fn answer_lane(&self, class: Priority, epoch: u64, base: u64) {
        let arrived = Arrived { since: 1, base, bits: [0; Arrived::WORDS] };
        let state = LaneState { class, epoch, arrived: Some(arrived) };
        self.lanes.handle_state(&state, STAYING).unwrap();
    }

    /// Others send more than the outbox shall hold before it takes messages of lanes.
    fn crowd_outbox(&self) {
        let header = Header { priority: Priority::Low, ..Header::default() };
        for _ in 0..1000 {
            self.peer.lane().outbox.push(NOW, header, Payload::Copied(b"crowd")).unwrap();
        }
    }

    /// Messages of lanes that wait in the outbox.
    fn numbers_queued(&self) -> u64 {
        let mut lane = self.peer.lane();
        let queued = lane.outbox.queued() as u64;
        queued - lane.sent().queued
    }

    /// Gives the link turns until it is so: the mark is made durable before the first message leaves, and what was stored for an absent
    /// peer is read again.
    async fn until(&self, is_so: impl Fn() -> bool) {
        let turns = async {
            while !is_so() {
                self.take_turns().await;
            }
        };
        tokio::time::timeout(PATIENCE, turns).await.expect("it happens in time");
    }

    /// Has the link send all that it may, which is at least so many; the numbers of it, in order.
    async fn send_all(&self, count: usize) -> Vec<u64> {
        let sent = RefCell::default();
        self.until(|| {
            self.drain(&mut sent.borrow_mut());
            sent.borrow().len() >= count
        })
        .await;
        self.settle_store().await;
        let mut sent = sent.into_inner();
        self.drain(&mut sent);
        sent
    }

    /// Everything in the outbox leaves; adds the numbers of it.
    fn drain(&self, numbers: &mut Vec<u64>) {
        let mut lane = self.peer.lane();
        while let Some(next) = lane.outbox.next(NOW) {
            numbers.extend(next.header.number.map(NonZeroU64::get));
            lane.outbox.take(usize::MAX);
        }
    }

    /// Everything that the lanes have asked of the store to write by now is durable, and they have heard of it.
    async fn settle_store(&self) {
        // Those who ask are tasks: they have their turns, then what they asked for is done, and they have a turn to hear of it.
        self.take_turns().await;
        self.sync_store().await;
        self.take_turns().await;
    }

    /// Waits until the store has done what it was asked for before: it answers in this order, though it knows no lane of this epoch.
    async fn sync_store(&self) {
        assert_eq!(
            self.lanes.keeper.store.mark(self.lanes.key(CLASS), 0, 0).await,
            Err(StoreFailure::NoLane)
        );
    }

    /// As [`settle_store`](Self::settle_store), while the link has no turn.
    async fn settle_store_without_turns(&self) {
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        self.sync_store().await;
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
    }

    fn feed(&self) {
        self.lanes.feed(self.node.hub(), &self.peer, STAYING, NOW);
    }

    async fn take_turns(&self) {
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
            self.feed();
        }
    }
}

fn is_ready(storing: &mut Storing) -> bool {
    matches!(Pin::new(storing).poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(_))
}

fn message(payload: &'static [u8]) -> StoredMessage {
    StoredMessage {
        kind: 0x1000,
        ttl: DEFAULT_TTL,
        accepted_at: clock::wall_time(),
        full: false,
        payload: Bytes::from_static(payload),
    }
}

/// More than any task needs that has been called.
const TURNS: usize = 100;
/// Longer than a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(20);
const NOW: Instant = Instant::from_micros(1_000_000);
