//! What only a broken peer does, done by a peer whose state was bent.

use super::*;
use crate::aead::ChaChaPoly;
use crate::identity::Identity;
use crate::ids::{NodeType, Reliability};
use crate::outbox::{FixedStorage, Header, Payload, Ticket};
use crate::profile::Security;
use crate::time::Duration;
use crate::wire::hello::NetworkTag;
use crate::wire::message::Methods;
use rand_core::SeedableRng;

type Tiny = DatagramSession<ChaChaPoly, 8>;
type Queue = Outbox<FixedStorage<8192, 16>>;

#[test]
fn an_acknowledgement_of_what_was_never_sent_closes_the_session() {
    let mut scene = Scene::up();
    let State::Up { up } = &mut scene.ends[0].session.state else { panic!("not up") };
    up.pretend_to_have_received(scene.now, 5_000);

    scene.run();

    assert_eq!(scene.closed(1), Some((Reason::Violation, false)));
}

#[test]
fn the_bit_that_announces_a_key_on_streams_is_a_violation_here() {
    let mut scene = Scene::up();
    let State::Up { up } = &mut scene.ends[0].session.state else { panic!("not up") };
    let mut buf = [0; MAX_DATAGRAM];
    let len = up.write_with_rekey(scene.now, &mut buf);

    scene.give(1, &mut buf[..len]);

    assert_eq!(scene.closed(1), Some((Reason::Violation, false)));
}

#[test]
fn a_session_with_a_peer_takes_no_more_room_than_it_must() {
    // Of it 430 are the longest frame of a handshake, which is repeated byte by byte.
    assert!(size_of::<Tiny>() < 3 * 1024 + 256, "{}", size_of::<Tiny>());
}

#[test]
fn a_table_that_lost_records_fill_goes_on_when_the_path_does() {
    let mut scene = Scene::up();
    let mut buf = [0; MAX_DATAGRAM];
    for sequence in 0..6 {
        scene.push(sequence);
        assert!(scene.write(0, &mut buf).is_some(), "record {sequence} is written, and lost");
    }
    scene.push(6);
    assert_eq!(scene.write(0, &mut buf), None, "the table is full");
    // The answer to a ping tells that all are lost.
    scene.ends[0].session.handle_ping_request();
    scene.now = scene.now.after(Duration::from_millis(20));
    scene.run();

    scene.run_for(Duration::from_secs(3));

    assert_eq!(scene.ends[1].received, 7);
    assert_eq!(scene.ends[0].outbox.counters().confirmed, 7);
}

#[test]
fn a_lost_word_that_all_is_done_is_repeated_with_the_credit_that_was_lost_with_it() {
    let mut scene = Scene::hoarding();
    scene.lose_the_word();

    scene.run_for(Duration::from_secs(1));

    assert_eq!(scene.ends[0].outbox.counters().confirmed, 1);
    assert!(scene.ends[0].outbox.is_idle());
}

#[test]
fn a_lost_word_that_all_is_done_is_repeated_with_the_next_pong() {
    let mut scene = Scene::hoarding();
    // With a message, which comes again without it.
    scene.ends[1].outbox.push(scene.now, Header::default(), Payload::Copied(b"answer")).unwrap();
    scene.lose_the_word();
    scene.run_for(Duration::from_secs(1));
    assert_eq!(scene.ends[0].outbox.counters().confirmed, 0);

    scene.ends[0].session.handle_ping_request();
    scene.run();

    assert_eq!(scene.ends[0].outbox.counters().confirmed, 1);
    assert!(scene.ends[0].outbox.is_idle());
}

#[test]
fn the_word_that_a_message_is_given_up_is_said_until_it_arrives() {
    let mut scene = Scene::up();
    let mut buf = [0; MAX_DATAGRAM];
    scene.run_for(Duration::from_millis(100));
    let ticket = scene.push_of(0, 0, &[0; 3000]);
    let len = scene.write(0, &mut buf).unwrap();
    scene.give(1, &mut buf[..len]);
    assert!(scene.ends[0].outbox.cancel(ticket));
    scene.push_of(1, 0, &[1; 3000]);
    assert!(scene.write(0, &mut buf).is_some(), "it is said, and lost");

    scene.run_for(Duration::from_secs(3));

    let heard = &scene.ends[1].heard;
    assert_eq!(
        heard[..3],
        [(0, 0), (0, 3000), (1, 0)],
        "nothing is begun before the end of the other is known"
    );
    assert_eq!(heard.len(), 5);
    assert!(scene.ends[0].outbox.is_idle());
}

#[test]
fn a_message_that_expires_before_its_lost_part_is_sent_again_is_given_up_in_words() {
    let mut scene = Scene::up();
    let mut buf = [0; MAX_DATAGRAM];
    scene.run_for(Duration::from_millis(100));
    scene.push_of(0, 1, &[0; 3000]);
    for is_lost in [false, true, false] {
        let len = scene.write(0, &mut buf).unwrap();
        if !is_lost {
            scene.give(1, &mut buf[..len]);
        }
    }
    scene.now = scene.now.after(Duration::from_secs(2));

    scene.run_for(Duration::from_secs(3));

    let heard = &scene.ends[1].heard;
    assert_eq!((heard.len(), heard[2]), (3, (0, 3000)));
    assert_eq!(scene.ends[0].outbox.counters().unconfirmed, 1);
    assert!(scene.ends[0].outbox.is_idle());
}

#[test]
fn a_record_that_comes_after_it_was_thought_lost_gives_no_credit_twice() {
    let mut scene = Scene::up();
    let (mut buf, mut late) = ([0; MAX_DATAGRAM], [0; MAX_DATAGRAM]);
    scene.run_for(Duration::from_millis(100));
    scene.ends[1].hoards = true;
    scene.push_of(0, 0, &[0; 800]);
    let late_len = scene.write(0, &mut late).unwrap();
    for sequence in 1..4 {
        scene.push_of(sequence, 0, &[0; 800]);
        let len = scene.write(0, &mut buf).unwrap();
        scene.give(1, &mut buf[..len]);
    }
    scene.run_for(Duration::from_millis(50));
    assert_eq!(scene.ends[1].received, 4, "what was thought lost came again");
    scene.give(1, &mut late[..late_len]);
    scene.run_for(Duration::from_millis(100));

    // Five records of 800 bytes and more leave no room in a window of 4,096 bytes.
    scene.push_of(4, 0, &[0; 800]);
    scene.run_for(Duration::from_secs(1));

    assert_eq!(scene.ends[1].refused, []);
    scene.ends[1].hoards = false;
    scene.consume(1);
    scene.run_for(Duration::from_secs(10));
    assert_eq!(scene.ends[0].outbox.counters().confirmed, 5);
}

#[test]
fn the_word_that_a_message_is_given_up_counts_as_in_credit() {
    let mut scene = Scene::up();
    let mut buf = [0; MAX_DATAGRAM];
    scene.run_for(Duration::from_millis(100));
    scene.ends[1].hoards = true;
    for sequence in 0..3 {
        let ticket = scene.push_of(sequence, 0, &[0; 1200]);
        let len = scene.write(0, &mut buf).unwrap();
        scene.give(1, &mut buf[..len]);
        assert!(scene.ends[0].outbox.cancel(ticket));
        scene.run_for(Duration::from_secs(1));
    }
    assert_eq!(scene.ends[1].received, 6);

    // What is left of 4,096 bytes, but for three times 64.
    scene.push_of(3, 0, &[0; 500]);
    scene.run_for(Duration::from_secs(1));

    assert_eq!(scene.ends[1].refused, []);
    assert_eq!(scene.ends[1].received, 6);
}

struct End {
    session: Tiny,
    outbox: Queue,
    closed: Option<Closed>,
    /// Messages, and parts of them, that came.
    received: usize,
    /// The parts among them: of which message, and where they stand in it.
    heard: std::vec::Vec<(u64, u32)>,
    /// Why records were not taken.
    refused: std::vec::Vec<Reason>,
    /// Where the last record with messages ends.
    mark: Option<Mark>,
    /// Whether the application is not done with what comes.
    hoards: bool,
}

impl End {
    fn handle_timeout(&mut self, now: Instant) {
        self.session.handle_timeout(now, &mut self.outbox);
    }
}

/// Both ends of a line.
struct Scene {
    now: Instant,
    ends: [End; 2],
}

impl Scene {
    fn up() -> Self {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        let config = Config {
            network: NetworkTag::of("test"),
            node_type: NodeType::Hyphae,
            boot_id: 1,
            max_message: 4096,
            max_record: 1200,
            window: 4096,
            compression: Methods::NONE,
            keeps_guaranteed: false,
            heartbeat: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(5),
            max_skew: Duration::from_secs(60),
            security: Security::Minimal,
        };
        let (now, line, wall) = (Instant::from_micros(7), Path::default(), Wall::default());
        let identities = [Identity::generate(&mut rng), Identity::generate(&mut rng)];
        let (cid, expect) = (ConnectionId::NONE, Expect::Id(identities[1].id()));
        let dialling = Tiny::connect(now, wall, &identities[0], config, line, cid, expect, &mut rng);
        let dialled = Tiny::accept(now, wall, &identities[1], config, line, cid, &mut rng);
        let end = |session| End {
            session,
            outbox: Queue::new(FixedStorage::default()),
            closed: None,
            received: 0,
            heard: std::vec::Vec::new(),
            refused: std::vec::Vec::new(),
            mark: None,
            hoards: false,
        };
        let mut scene = Self { now, ends: [end(dialling), end(dialled)] };
        scene.run();
        assert!(scene.ends.iter().all(|end| end.session.is_up()));
        scene
    }

    /// A message has arrived, with which the application is not done; that it arrived was heard.
    fn hoarding() -> Self {
        let (mut scene, mut buf) = (Self::up(), [0; MAX_DATAGRAM]);
        scene.run_for(Duration::from_millis(100));
        scene.push(0);
        let len = scene.write(0, &mut buf).unwrap();
        scene.ends[1].hoards = true;
        scene.give(1, &mut buf[..len]);
        scene.run_for(Duration::from_millis(100));
        scene
    }

    /// The application is done with it, which is said once, and lost.
    fn lose_the_word(&mut self) {
        self.consume(1);
        self.now = self.now.after(Duration::from_millis(25));
        self.ends[1].handle_timeout(self.now);
        assert!(self.write(1, &mut [0; MAX_DATAGRAM]).is_some());
    }

    /// Carries datagrams until both ends are quiet.
    fn run(&mut self) {
        let mut buf = [0; MAX_DATAGRAM];
        let mut any = true;
        while core::mem::take(&mut any) {
            for from in 0..2 {
                let End { session, outbox, .. } = &mut self.ends[from];
                if let Some(len) = session.poll_transmit(self.now, outbox, &mut buf) {
                    any = true;
                    self.give(1 - from, &mut buf[..len]);
                }
            }
        }
    }

    fn give(&mut self, to: usize, datagram: &mut [u8]) {
        let End { session, outbox, .. } = &mut self.ends[to];
        match session.handle_datagram(self.now, outbox, Path::default(), datagram) {
            Received::Offer(_) => session.handle_verdict(self.now, outbox, Ok(())),
            Received::Messages(messages) => {
                let mark = messages.mark();
                let end = &mut self.ends[to];
                end.received += messages.len();
                end.heard
                    .extend(messages.filter_map(|message| Some((message.id.sequence, message.part?.offset))));
                end.mark = Some(mark);
                if !end.hoards {
                    self.consume(to);
                }
            }
            Received::Dropped(reason) => self.ends[to].refused.push(reason),
            _ => {}
        }
        self.run_events(to);
    }

    /// The application is done with all that came.
    fn consume(&mut self, of: usize) {
        let End { session, mark, .. } = &mut self.ends[of];
        if let Some(mark) = mark.take() {
            session.handle_consumed(self.now, mark);
        }
    }

    /// Queues a message at the dialling end.
    fn push(&mut self, sequence: u64) {
        self.push_of(sequence, 0, b"message");
    }

    fn push_of(&mut self, sequence: u64, ttl: u32, payload: &[u8]) -> Ticket {
        let header = Header { sequence, reliability: Reliability::High, ttl, ..Header::default() };
        self.ends[0].outbox.push(self.now, header, Payload::Copied(payload)).unwrap()
    }

    fn write(&mut self, from: usize, buf: &mut [u8]) -> Option<usize> {
        let End { session, outbox, .. } = &mut self.ends[from];
        session.poll_transmit(self.now, outbox, buf)
    }

    /// Carries datagrams for a while, at once.
    fn run_for(&mut self, span: Duration) {
        let until = self.now.after(span);
        loop {
            self.run();
            let due_at = self.ends.iter().filter_map(|end| end.session.poll_timeout(&end.outbox)).min();
            let Some(due_at) = due_at.filter(|at| *at <= until) else { break };
            self.now = due_at.max(self.now);
            self.ends.iter_mut().for_each(|end| end.handle_timeout(self.now));
        }
        self.now = until;
    }

    fn run_events(&mut self, of: usize) {
        let mut buf = [0; MAX_DATAGRAM];
        let End { session, outbox, closed, .. } = &mut self.ends[of];
        if matches!(session.state, State::Farewell(_))
            && let Some(len) = session.poll_transmit(self.now, outbox, &mut buf)
        {
            while let Some(event) = session.poll_event() {
                if let Event::Closed(why) = event {
                    *closed = Some(why);
                }
            }
            return self.give(1 - of, &mut buf[..len]);
        }
        while let Some(event) = session.poll_event() {
            if let Event::Closed(why) = event {
                *closed = Some(why);
            }
        }
    }

    fn closed(&self, of: usize) -> Option<(Reason, bool)> {
        self.ends[of].closed.map(|closed| (closed.reason, closed.by_peer))
    }
}
