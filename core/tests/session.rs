//! A session between two ends in memory: what a handshake costs, and that messages, acknowledgements and a close arrive.

use hyphal_core::aead::ChaChaPoly;
use hyphal_core::identity::Identity;
use hyphal_core::ids::{Acquaintance, NodeType, Priority};
use hyphal_core::outbox::{FixedStorage, Header, Outbox, Payload};
use hyphal_core::profile::Security;
use hyphal_core::session::{Closed, Config, Event, Expect, Received, Session, Wall};
use hyphal_core::time::{Duration, Instant};
use hyphal_core::wire::hello::NetworkTag;
use hyphal_core::wire::message::Methods;
use hyphal_core::wire::reason::Reason;
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

const NOW: Instant = Instant::from_micros(1_000_000);

struct End {
    session: Session<ChaChaPoly>,
    outbox: Outbox<FixedStorage<4096, 16>>,
    wire: Vec<u8>,
    received: Vec<Vec<u8>>,
    flights: Vec<usize>,
    /// Whose hint it is, whatever the hint.
    knows: Option<Acquaintance>,
}

impl End {
    fn new(session: Session<ChaChaPoly>) -> Self {
        let outbox = Outbox::new(FixedStorage::default());
        Self { session, outbox, wire: Vec::new(), received: Vec::new(), flights: Vec::new(), knows: None }
    }

    fn push(&mut self, priority: Priority, payload: &[u8], sequence: u64) {
        let header = Header { kind: 7, priority, sequence, ttl: 60, ..Header::default() };
        self.outbox.push(NOW, header, Payload::Copied(payload)).unwrap();
    }

    fn transmit(&mut self, to: &mut Vec<u8>) -> bool {
        let mut buf = [0; 2048];
        let Some(len) = self.session.poll_transmit(NOW, &mut self.outbox, &mut buf) else { return false };
        self.flights.push(len);
        to.extend_from_slice(&buf[..len]);
        true
    }

    fn receive(&mut self) {
        let mut bytes = std::mem::take(&mut self.wire);
        let mut at = 0;
        loop {
            let input = self.session.handle_input(NOW, &mut self.outbox, &mut bytes[at..]);
            at += input.used;
            match input.received {
                Received::NeedMore => break,
                Received::Offer(_) => self.session.handle_verdict(NOW, &mut self.outbox, Ok(())),
                Received::Messages(messages) => {
                    let mark = messages.mark();
                    self.received.extend(messages.map(|message| message.payload.to_vec()));
                    self.session.handle_consumed(NOW, mark);
                }
                Received::Absorbed => {}
                Received::Hint(_) => self.session.handle_hint(self.knows),
                Received::Dropped(reason) => panic!("dropped: {reason}"),
            }
            if at == bytes.len() {
                break;
            }
        }
        bytes.drain(..at);
        self.wire = bytes;
    }
}

fn pair() -> (End, End) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let config = |boot_id| Config {
        network: NetworkTag::of("test"),
        node_type: NodeType::Hyphae,
        boot_id,
        max_message: 1024,
        max_record: 2048,
        window: 1 << 16,
        compression: Methods::NONE,
        keeps_guaranteed: false,
        heartbeat: Duration::from_secs(5),
        handshake_timeout: Duration::from_secs(5),
        max_skew: Duration::from_secs(60),
        security: Security::Minimal,
    };
    let (ours, theirs) = (Identity::generate(&mut rng), Identity::generate(&mut rng));
    let a = Session::connect(NOW, Wall::default(), &ours, config(1), Expect::Id(theirs.id()), &mut rng);
    let b = Session::accept(NOW, Wall::default(), &theirs, config(2), &mut rng);
    (End::new(a), End::new(b))
}

fn settle(a: &mut End, b: &mut End) {
    while a.transmit(&mut b.wire) | b.transmit(&mut a.wire) {
        a.receive();
        b.receive();
    }
}

#[test]
fn a_handshake_with_hellos_costs_260_bytes_beside_frame_headers() {
    let (mut a, mut b) = pair();

    settle(&mut a, &mut b);

    assert!(a.session.is_up() && b.session.is_up());
    let handshake: usize = a.flights[..2].iter().chain(&b.flights[..1]).map(|len| len - 14).sum();
    assert_eq!(handshake, 260);
    assert!(matches!(a.session.poll_event(), Some(Event::Up(_))));
    assert!(matches!(b.session.poll_event(), Some(Event::Up(_))));
}

#[test]
fn messages_arrive_most_urgent_first_and_are_confirmed() {
    let (mut a, mut b) = pair();
    settle(&mut a, &mut b);
    a.push(Priority::Low, b"low", 1);
    a.push(Priority::Critical, b"critical", 2);
    a.push(Priority::Low, &[7; 1000], 3);

    settle(&mut a, &mut b);
    let later = NOW.after(Duration::from_millis(30));
    b.session.handle_timeout(later, &mut b.outbox);
    settle(&mut a, &mut b);

    assert_eq!(b.received, [b"critical".to_vec(), b"low".to_vec(), vec![7; 1000]]);
    assert_eq!(a.outbox.counters().confirmed, 3);
    assert!(a.outbox.is_idle());
}

#[test]
fn one_small_message_costs_eight_bytes_beside_tag_and_payload() {
    let (mut a, mut b) = pair();
    settle(&mut a, &mut b);
    a.push(Priority::High, b"first", 1);
    settle(&mut a, &mut b);
    let before = a.flights.len();

    a.push(Priority::High, &[1; 16], 2);
    settle(&mut a, &mut b);

    assert!(a.flights[before] <= 16 + 16 + 8, "{}", a.flights[before]);
}

#[test]
fn a_close_tells_the_peer_why() {
    let (mut a, mut b) = pair();
    settle(&mut a, &mut b);
    while a.session.poll_event().is_some() || b.session.poll_event().is_some() {}

    a.session.close(NOW, Reason::Shutdown);
    settle(&mut a, &mut b);

    let closed = |event| match event {
        Some(Event::Closed(closed)) => (closed.reason, closed.by_peer),
        other => panic!("{other:?}"),
    };
    assert_eq!(closed(a.session.poll_event()), (Reason::Shutdown, false));
    assert_eq!(closed(b.session.poll_event()), (Reason::Shutdown, true));
}

#[test]
fn a_responder_that_closes_before_its_accept_is_written_tells_the_reason() {
    let (mut a, mut b) = pair();
    while !b.session.is_up() {
        a.transmit(&mut b.wire);
        b.receive();
        if !b.session.is_up() {
            b.transmit(&mut a.wire);
            a.receive();
        }
    }

    b.session.close(NOW, Reason::Replaced);
    b.transmit(&mut a.wire);
    let input = a.session.handle_input(NOW, &mut a.outbox, &mut a.wire);

    assert!(matches!(input.received, Received::Dropped(Reason::Replaced)), "{:?}", input.received);
    let closed = Closed { reason: Reason::Replaced, by_peer: true, detail: 0 };
    assert_eq!(a.session.poll_event(), Some(Event::Closed(closed)));
}

#[test]
fn an_initiator_whose_ephemeral_is_no_key_is_refused() {
    // Of low order; and u = 2, which is on the twist.
    for first_byte in [0, 1, 2] {
        let (mut a, mut b) = pair();
        a.transmit(&mut b.wire);
        b.wire[14..46].fill(0);
        b.wire[14] = first_byte;

        b.receive();

        assert!(!b.transmit(&mut a.wire), "{first_byte}");
        let closed = Closed { reason: Reason::BadKey, by_peer: false, detail: 0 };
        assert_eq!(b.session.poll_event(), Some(Event::Closed(closed)), "{first_byte}");
    }
}

#[test]
fn a_session_is_less_than_one_and_a_half_kibibytes_of_state() {
    assert!(size_of::<Session<ChaChaPoly>>() < 1536, "{}", size_of::<Session<ChaChaPoly>>());
}

#[test]
fn a_session_that_ends_at_once_is_still_told_as_up_first() {
    let (mut a, mut b) = pair();
    settle(&mut a, &mut b);

    b.session.close(NOW, Reason::Shutdown);
    settle(&mut a, &mut b);

    assert!(matches!(a.session.poll_event(), Some(Event::Up(_))));
    assert!(matches!(a.session.poll_event(), Some(Event::Closed(_))));
}
