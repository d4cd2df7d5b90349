//! Peers that say of lanes what cannot be, send what a lane does not allow, or never stop beginning new ones.

use std::num::NonZeroU64;

use hyphal::{Priority, Reason, Reliability, SendOptions, UnknownTypes};
use hyphal_core::wire::control::Control;
use hyphal_core::wire::delivery::{Arrived, Lane, LaneRefusal, LaneState};
use hyphal_core::wire::hello::Hello;
use hyphal_core::wire::message::{self, MessageHeader};
use hyphal_core::wire::record::{Body, RecordHeader};
use tempfile::TempDir;

use crate::hand::{Hand, Papers, message_header, messages};
use crate::scene::{Scene, soon};

#[tokio::test]
async fn a_number_of_a_lane_of_which_nothing_was_said_ends_the_session() {
    let (mut scene, _store, mut hand) = scene().await;

    hand.send(&messages(&[(numbered(1, 1), b"early")])).await;

    hand.expect_close(Reason::Violation).await;
    scene.assert_closed(Reason::Violation, 1);
    assert_eq!(scene.received_from_others(), 0);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_number_beyond_the_window_ends_the_session_and_one_within_arrives() {
    let (mut scene, _store, mut hand) = scene().await;
    let mut talk = Talk::open(&mut hand, 7).await;

    talk.hand.send(&messages(&[(numbered(2, 1024), b"the last one")])).await;
    assert_eq!(scene.delivered().await.id.sequence, 1024);
    talk.hand.send(&messages(&[(numbered(3, 1025), b"beyond")])).await;

    talk.expect_close(Reason::Violation).await;
    assert_eq!(scene.received_from_others(), 1);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_number_that_came_before_is_dropped_and_the_session_goes_on() {
    let (mut scene, _store, mut hand) = scene().await;
    let talk = Talk::open(&mut hand, 7).await;

    for sequence in 2..5 {
        talk.hand.send(&messages(&[(numbered(sequence, 1), b"again")])).await;
    }
    talk.hand.send(&messages(&[(numbered(5, 2), b"next")])).await;

    assert_eq!(scene.delivered().await.id.sequence, 1);
    assert_eq!(scene.delivered().await.id.sequence, 2);
    scene.assert_dropped(Reason::Duplicate, 2);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn another_life_of_a_lane_in_the_same_session_ends_it() {
    let (mut scene, _store, mut hand) = scene().await;
    let mut talk = Talk::open(&mut hand, 7).await;

    talk.say(2, 8).await;

    talk.expect_close(Reason::Violation).await;
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_word_that_is_malformed_ends_the_session() {
    for (kind, body) in [
        (Lane::KIND, &[1, 2][..]),
        (LaneState::KIND, &[9; 20]),
        (LaneRefusal::KIND, &[9; 20]),
        (Lane::KIND, &[]),
    ] {
        let (mut scene, _store, mut hand) = scene().await;

        hand.send(&messages(&[(word(1, kind), body)])).await;

        hand.expect_close(Reason::Malformed).await;
        scene.assert_closed(Reason::Malformed, 1);
        scene.assert_friend_is_unharmed().await;
    }
}

#[tokio::test]
async fn an_unknown_word_is_dropped() {
    let (mut scene, _store, mut hand) = scene().await;

    hand.send(&messages(&[(word(1, 0x0D77), b"what?"), (message_header(2), b"after it")])).await;

    assert_eq!(scene.delivered().await.payload, "after it");
    scene.assert_dropped(Reason::UnknownType, 1);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn the_same_word_a_thousand_times_is_answered_and_nothing_grows() {
    let (mut scene, _store, mut hand) = scene().await;
    let mut talk = Talk::open(&mut hand, 7).await;

    for sequence in 2..1002 {
        talk.say(sequence, 7).await;
    }
    talk.hand.send(&messages(&[(numbered(1002, 1), b"at last")])).await;

    assert_eq!(scene.delivered().await.payload, "at last");
    assert_eq!(talk.state().await.epoch, 7);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn who_acknowledges_what_was_never_sent_is_cut_off_and_the_message_stays() {
    let (mut scene, _store, mut hand) = scene().await;
    let mallory = Papers::new().identity.id();
    let options = SendOptions::default().ttl(0).reliability(Reliability::Guaranteed);
    soon(scene.victim.send_direct(mallory, 1, "never read", options)).await.unwrap();
    let mut talk = Talk { hand: &mut hand, previous: None };
    let lane = talk.lane().await;
    assert_eq!((lane.base, lane.fresh), (1, 1));

    let arrived = Arrived { since: 1, base: 2, bits: [0; Arrived::WORDS] };
    talk.answer(1, &LaneState { class: lane.class, epoch: lane.epoch, arrived: Some(arrived) }).await;

    talk.expect_close(Reason::Violation).await;
    assert_eq!(scene.victim.counters().sent.stored, 1);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_peer_that_takes_nothing_of_a_lane_is_counted_and_the_message_stays() {
    let (mut scene, _store, mut hand) = scene().await;
    let mallory = Papers::new().identity.id();
    let options = SendOptions::default().ttl(0).reliability(Reliability::Guaranteed);
    soon(scene.victim.send_direct(mallory, 1, "not wanted", options)).await.unwrap();
    let mut talk = Talk { hand: &mut hand, previous: None };
    let lane = talk.lane().await;

    talk.answer(1, &LaneState { class: lane.class, epoch: lane.epoch, arrived: None }).await;
    talk.hand.send(&messages(&[(message_header(2), b"after it")])).await;

    assert_eq!(scene.delivered().await.payload, "after it");
    scene.assert_shown("hyphal_lanes_refused_total 1").await;
    scene.assert_shown("hyphal_store_messages 1").await;
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_type_that_is_refused_is_answered_for_each_of_its_numbers_and_others_arrive() {
    let store = TempDir::new().unwrap();
    let mut scene =
        Scene::with(|victim| victim.store(store.path()).unknown_types(UnknownTypes::Refuse)).await;
    let mut hand = keeper(&scene).await;
    let mut talk = Talk::open(&mut hand, 7).await;
    let unknown = |sequence, number| MessageHeader { kind: 0x0E00, ..numbered(sequence, number) };

    talk.hand
        .send(&messages(&[
            (unknown(2, 1), b"what?"),
            (unknown(3, 2), b"what?"),
            (numbered(4, 3), b"known"),
            // It stays refused in this session.
            (numbered(5, 2), b"known by now"),
        ]))
        .await;

    assert_eq!(scene.delivered().await.payload, "known");
    let LaneRefusal { epoch, code, first, mut count, .. } = talk.refusal().await;
    while count < 2 {
        count += talk.refusal().await.count;
    }
    assert_eq!((epoch, code, first, count), (7, Reason::UnknownType.code(), 1, 2));
    assert_eq!(scene.victim.counters().received_dropped, [(Reason::Duplicate, 1), (Reason::UnknownType, 2)]);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn what_was_refused_in_one_session_is_judged_anew_in_the_next() {
    let store = TempDir::new().unwrap();
    let mut scene =
        Scene::with(|victim| victim.store(store.path()).unknown_types(UnknownTypes::Refuse)).await;
    let mut hand = keeper(&scene).await;
    let mut talk = Talk::open(&mut hand, 7).await;
    talk.hand.send(&messages(&[(MessageHeader { kind: 0x0E00, ..numbered(2, 1) }, b"what?")])).await;
    assert_eq!(talk.refusal().await.first, 1);
    drop(hand);

    let mut hand = keeper_booted(&scene, 8).await;
    let talk = Talk::open(&mut hand, 7).await;
    talk.hand.send(&messages(&[(numbered(2, 1), b"known by now")])).await;

    assert_eq!(scene.delivered().await.payload, "known by now");
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn who_refuses_what_was_never_sent_is_cut_off_and_the_message_stays() {
    let (mut scene, _store, mut hand) = scene().await;
    let mallory = Papers::new().identity.id();
    let options = SendOptions::default().ttl(0).reliability(Reliability::Guaranteed);
    soon(scene.victim.send_direct(mallory, 1, "never read", options)).await.unwrap();
    let mut talk = Talk { hand: &mut hand, previous: None };
    let Lane { class, epoch, .. } = talk.lane().await;

    let refusal = LaneRefusal { class, epoch, code: Reason::NoReceiver.code(), first: 1, count: 1 };
    talk.refuse(1, &refusal).await;

    talk.expect_close(Reason::Violation).await;
    assert_eq!(scene.victim.counters().sent.stored, 1);
    scene.assert_friend_is_unharmed().await;
}

#[tokio::test]
async fn a_node_without_a_store_drops_numbers_and_words() {
    let mut scene = Scene::new().await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
    let mut talk = Talk { hand: &mut hand, previous: None };

    talk.say(1, 7).await;
    talk.hand.send(&messages(&[(numbered(2, 1), b"x"), (message_header(3), b"after it")])).await;

    assert_eq!(scene.delivered().await.payload, "after it");
    scene.assert_dropped(Reason::NotKept, 2);
    scene.assert_friend_is_unharmed().await;
}

/// A victim with a store, and a peer that keeps Guaranteed messages too.
async fn scene() -> (Scene, TempDir, Hand) {
    let store = TempDir::new().unwrap();
    let scene = Scene::with(|victim| victim.store(store.path())).await;
    let hand = keeper(&scene).await;
    (scene, store, hand)
}

/// A peer that keeps Guaranteed messages.
async fn keeper(scene: &Scene) -> Hand {
    keeper_booted(scene, 7).await
}

/// The same in this life: it counts its messages from 1.
async fn keeper_booted(scene: &Scene, boot_id: u64) -> Hand {
    let mut papers = Papers { attempt: boot_id, ..Papers::new() };
    papers.hello.boot_id = boot_id;
    papers.hello.capabilities = Hello::KEEPS_GUARANTEED;
    Hand::shake(scene.address(), &papers).await
}

fn word(sequence: u64, kind: u16) -> MessageHeader {
    MessageHeader { kind, priority: Priority::Critical, ttl: 0, ..message_header(sequence) }
}

fn numbered(sequence: u64, number: u64) -> MessageHeader {
    MessageHeader { number: NonZeroU64::new(number), ..message_header(sequence) }
}

/// What the victim says about lanes.
struct Talk<'h> {
    hand: &'h mut Hand,
    previous: Option<u64>,
}

impl<'h> Talk<'h> {
    /// Begins a lane of class Medium, and has heard that it may.
    async fn open(hand: &'h mut Hand, epoch: u64) -> Self {
        let mut talk = Self { hand, previous: None };
        talk.say(1, epoch).await;
        let state = talk.state().await;
        assert_eq!((state.epoch, state.arrived.unwrap().base), (epoch, 1));
        talk
    }

    async fn say(&mut self, sequence: u64, epoch: u64) {
        let lane = Lane { class: Priority::Medium, epoch, base: 1, fresh: 1 };
        let mut body = [0; Lane::MAX_LEN];
        let len = lane.encode(&mut body).unwrap();
        self.hand.send(&messages(&[(word(sequence, Lane::KIND), &body[..len])])).await;
    }

    async fn answer(&mut self, sequence: u64, state: &LaneState) {
        let mut body = [0; LaneState::MAX_LEN];
        let len = state.encode(&mut body).unwrap();
        self.hand.send(&messages(&[(word(sequence, LaneState::KIND), &body[..len])])).await;
    }

    async fn refuse(&mut self, sequence: u64, refusal: &LaneRefusal) {
        let mut body = [0; LaneRefusal::MAX_LEN];
        let len = refusal.encode(&mut body).unwrap();
        self.hand.send(&messages(&[(word(sequence, LaneRefusal::KIND), &body[..len])])).await;
    }

    async fn refusal(&mut self) -> LaneRefusal {
        LaneRefusal::decode(&self.heard(LaneRefusal::KIND).await).unwrap()
    }

    async fn state(&mut self) -> LaneState {
        LaneState::decode(&self.heard(LaneState::KIND).await).unwrap()
    }

    async fn lane(&mut self) -> Lane {
        Lane::decode(&self.heard(Lane::KIND).await).unwrap()
    }

    /// The payload of the next message of this type.
    async fn heard(&mut self, kind: u16) -> Vec<u8> {
        loop {
            let plaintext = soon(self.hand.record()).await;
            let (header, body) = RecordHeader::decode(&plaintext).unwrap();
            assert_eq!(header.body, Body::Messages);
            let checked = message::check(body, self.previous).unwrap();
            self.previous = checked.last_sequence();
            if let Some(message) = checked.messages().find(|message| message.header.kind == kind) {
                return message.payload.to_vec();
            }
        }
    }

    /// The session ends for `reason`, whatever is said before.
    async fn expect_close(&mut self, reason: Reason) {
        loop {
            let plaintext = soon(self.hand.record()).await;
            let (header, body) = RecordHeader::decode(&plaintext).unwrap();
            if header.body == Body::Control {
                assert_eq!(Control::decode(body), Ok(Control::close(reason)));
                return;
            }
        }
    }
}
