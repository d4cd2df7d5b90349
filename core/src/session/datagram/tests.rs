//! What only a broken peer does, done by a peer whose state was bent.

use super::*;
use crate::aead::ChaChaPoly;
use crate::ids::NodeType;
use crate::outbox::{FixedStorage, TinyOutbox};
use crate::time::Duration;
use crate::wire::hello::NetworkTag;
use crate::wire::message::Methods;
use rand_core::SeedableRng;

type Tiny = DatagramSession<ChaChaPoly, 8>;

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
    assert!(size_of::<Tiny>() < 3 * 1024, "{}", size_of::<Tiny>());
}

struct End {
    session: Tiny,
    outbox: TinyOutbox,
    closed: Option<Closed>,
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
            max_message: 1024,
            max_record: 1200,
            window: 4096,
            compression: Methods::NONE,
            heartbeat: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(5),
            max_skew: Duration::from_secs(60),
        };
        let (now, line, wall) = (Instant::from_micros(7), Path::default(), Wall::default());
        let identities = [Identity::generate(&mut rng), Identity::generate(&mut rng)];
        let (cid, expect) = (ConnectionId::NONE, Expect::Id(identities[1].id()));
        let dialling = Tiny::connect(now, wall, &identities[0], config, line, cid, expect, &mut rng);
        let dialled = Tiny::accept(now, wall, &identities[1], config, line, cid, &mut rng);
        let end = |session| End { session, outbox: TinyOutbox::new(FixedStorage::default()), closed: None };
        let mut scene = Self { now, ends: [end(dialling), end(dialled)] };
        scene.run();
        assert!(scene.ends.iter().all(|end| end.session.is_up()));
        scene
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
        if let Received::Offer(_) = session.handle_datagram(self.now, outbox, Path::default(), datagram) {
            session.handle_verdict(self.now, outbox, Ok(()));
        }
        self.run_events(to);
    }

    fn run_events(&mut self, of: usize) {
        let mut buf = [0; MAX_DATAGRAM];
        let End { session, outbox, closed } = &mut self.ends[of];
        if matches!(session.state, State::Farewell { .. })
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
