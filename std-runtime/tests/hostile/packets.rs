//! A peer over UDP with true keys and bad manners: it acknowledges what was never sent, takes more than it was granted, and
//! begins messages that it never ends.
//!
//! The session of the library shakes hands; from then on every record is sealed by hand.

use std::net::SocketAddr;
use std::time::Instant;

use hyphal::{Limits, NodeBuilder, NodeType, Priority, Reason};
use hyphal_core::aead::{Aead, ChaChaPoly, TAG_LEN};
use hyphal_core::outbox::{FixedStorage, Outbox};
use hyphal_core::profile::Security;
use hyphal_core::session::{
    Config, ConnectionId, DatagramSession, Expect, MAX_DATAGRAM, Path, Received, SessionKeys, Wall,
};
use hyphal_core::time::Duration;
use hyphal_core::wire::control::Control;
use hyphal_core::wire::datagram::{MAX_PREAMBLE_LEN, Preamble, Truncated, is_handshake};
use hyphal_core::wire::hello::NetworkTag;
use hyphal_core::wire::message::{MessageHeader, Methods, Part};
use hyphal_core::wire::ranges::{self, Ranges};
use hyphal_core::wire::record::{Body, RecordHeader};
use rand_core::SeedableRng;
use tokio::net::UdpSocket;

use crate::hand::{message, message_header, messages, plaintext};
use crate::scene::{MALLORY, NETWORK, Scene, identity, soon};

type ByHand = DatagramSession<ChaChaPoly, 16>;

#[tokio::test]
async fn an_acknowledgement_of_what_was_never_sent_is_a_violation() {
    for (ack, arrived) in [(100_000, 0), (0, 100_000)] {
        let mut scene = Scene::with(over_udp).await;
        let mut hand = PacketHand::shake(&scene).await;
        let mut body = [0; ranges::MAX_LEN];
        let ranges = Ranges::new(Duration::ZERO, [arrived..=arrived].into_iter()).unwrap();
        let len = ranges.encode(&mut body).unwrap();

        hand.send(&plaintext(RecordHeader { ack: Some(ack), ..RecordHeader::default() }, &body[..len])).await;

        assert_eq!(hand.control().await, Control::close(Reason::Violation));
        // Over datagrams no end of a connection says that the victim is done.
        soon(async {
            while scene.closed_in_all() == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        scene.assert_closed(Reason::Violation, 1);
        scene.assert_friend_is_unharmed().await;
    }
}

/// Of each priority one message is unfinished at most: whoever begins another has given up the one before.
#[tokio::test]
async fn messages_that_are_begun_without_end_leave_one_of_each_priority() {
    let mut scene = Scene::with(over_udp).await;
    let mut hand = PacketHand::shake(&scene).await;
    let mut sequence = 0;

    for round in 0..20_u64 {
        for _ in 0..50 {
            sequence += 1;
            hand.send(&messages(&[(begun(sequence), &[1])])).await;
        }
        // Short enough a run for every buffer on the way, and then a sign that it has passed.
        hand.send(&message(10_000 + round, b"passed")).await;
        assert_eq!(scene.delivered().await.payload, "passed");
    }
    // What belongs to one that was given up begins nothing, and the last one is still whole in the end.
    let second = |of| MessageHeader { part: Some(Part { total: 2, offset: 1 }), ..begun(of) };
    hand.send(&messages(&[(second(sequence - 1), &[2])])).await;
    hand.send(&messages(&[(second(sequence), &[2])])).await;

    assert_eq!(scene.delivered().await.payload, [1, 2].as_slice());
    scene.assert_dropped(Reason::Cancelled, sequence - 1);
    assert_eq!(scene.closed_in_all(), 0);
    scene.assert_friend_is_unharmed().await;
}

/// More than the whole window, which nobody takes: what exceeds it is dropped, and the session goes on.
#[tokio::test]
async fn more_than_the_credit_that_was_given_is_dropped() {
    let (window, payload) = (1 << 16, [7; 1000]);
    let mut limits = Limits::default();
    limits.window = window;
    let mut scene = Scene::with(|victim| over_udp(victim).limits(limits)).await;
    let mut hand = PacketHand::shake(&scene).await;

    let window = u64::from(window);
    let count = 2 * window / 1000;
    for sequence in 1..=count {
        hand.send(&message(sequence, &payload)).await;
        if sequence % 50 == 0 {
            scene.exchange().await;
        }
    }
    scene.exchange().await;

    let taken = scene.received_from_others();
    assert!(0 < taken && taken * 1000 <= window, "{taken} of {count}");
    assert_eq!(scene.closed_in_all(), 0);
    scene.assert_friend_is_unharmed().await;
}

fn begun(sequence: u64) -> MessageHeader {
    MessageHeader {
        priority: Priority::Low,
        part: Some(Part { total: 2, offset: 0 }),
        ..message_header(sequence)
    }
}

fn over_udp(victim: NodeBuilder) -> NodeBuilder {
    victim.listen("udp://127.0.0.1:0")
}

/// A peer over UDP that seals whatever plaintext a test invents.
struct PacketHand {
    socket: UdpSocket,
    cid: ConnectionId,
    sealer: ChaChaPoly,
    opener: ChaChaPoly,
    sealed: u32,
    newest: Option<u64>,
}

impl PacketHand {
    const CID: [u8; 3] = [1, 2, 3];

    async fn shake(scene: &Scene) -> Self {
        let udp = scene.victim.local_addrs().iter().rev().find_map(hyphal::address::Endpoint::socket_addr);
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect::<SocketAddr>(udp.unwrap()).await.unwrap();
        let (begun, rng) = (Instant::now(), &mut rand_chacha::ChaCha8Rng::seed_from_u64(31));
        let now = || hyphal_core::time::Instant::from_micros(begun.elapsed().as_micros() as u64);
        let path = Path { address: [1; 16], port: 1 };
        let own_cid = ConnectionId::new(&Self::CID).unwrap();
        let mut outbox = Outbox::new(FixedStorage::<1024, 16>::default());
        let mut session = ByHand::connect(
            now(),
            Wall::default(),
            &identity(MALLORY),
            config(),
            path,
            own_cid,
            Expect::Anyone,
            rng,
        );
        session.log_keys();
        let (mut keys, mut cid): (Option<SessionKeys>, _) = (None, None);
        let mut buf = [0; MAX_DATAGRAM];
        while cid.is_none() {
            while let Some(len) = session.poll_transmit(now(), &mut outbox, &mut buf) {
                keys = keys.or_else(|| session.poll_keys());
                if !is_handshake(&buf[..len]) {
                    cid = Some(Preamble::decode(&buf[..len], Self::CID.len()).unwrap().cid);
                }
                socket.send(&buf[..len]).await.unwrap();
            }
            if cid.is_none() {
                let len = soon(socket.recv(&mut buf)).await.unwrap();
                if let Received::Offer(_) = session.handle_datagram(now(), &mut outbox, path, &mut buf[..len])
                {
                    session.handle_verdict(now(), &mut outbox, Ok(()));
                }
                keys = keys.or_else(|| session.poll_keys());
            }
        }
        let keys = keys.unwrap();
        Self {
            socket,
            cid: cid.unwrap(),
            sealer: ChaChaPoly::new(keys.initiator()),
            opener: ChaChaPoly::new(keys.responder()),
            sealed: 100,
            newest: None,
        }
    }

    async fn send(&mut self, plaintext: &[u8]) {
        let preamble = Preamble { phase: false, cid: self.cid, counter: Truncated::Long(self.sealed) };
        let mut header = [0; MAX_PREAMBLE_LEN];
        let len = preamble.encode(&mut header).unwrap();
        let mut sealed = [plaintext, &[0; TAG_LEN]].concat();
        self.sealer.seal(self.sealed.into(), &header[..len], &mut sealed);
        self.sealed += 1;
        self.socket.send(&[&header[..len], &sealed].concat()).await.unwrap();
    }

    /// The next control message that is not Accept.
    async fn control(&mut self) -> Control {
        let mut buf = [0; MAX_DATAGRAM];
        loop {
            let len = soon(self.socket.recv(&mut buf)).await.unwrap();
            if is_handshake(&buf[..len]) {
                continue;
            }
            let preamble = Preamble::decode(&buf[..len], Self::CID.len()).unwrap();
            let counter = preamble.counter.expand(self.newest);
            let (header, sealed) = buf[..len].split_at_mut(preamble.encoded_len());
            self.opener.open(counter, header, sealed).unwrap();
            self.newest = self.newest.max(Some(counter));
            let (header, mut body) = RecordHeader::decode(&sealed[..sealed.len() - TAG_LEN]).unwrap();
            if header.ack.is_some() {
                (_, body) = Ranges::decode(body).unwrap();
            }
            if header.body == Body::Control {
                match Control::decode(body).unwrap() {
                    Control::Accept => {}
                    control => return control,
                }
            }
        }
    }
}

fn config() -> Config {
    Config {
        network: NetworkTag::of(NETWORK),
        node_type: NodeType::Hyphae,
        boot_id: 7,
        max_message: 60 * 1024,
        max_record: 1200,
        window: 4096,
        compression: Methods::NONE,
        keeps_guaranteed: false,
        heartbeat: Duration::from_secs(600),
        handshake_timeout: Duration::from_secs(5),
        max_skew: Duration::from_secs(60),
        security: Security::Minimal,
    }
}
