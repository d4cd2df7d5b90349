//! What a certificate must say to let a node in, asked by the responder, who tells why not, and by the initiator, who does not.

use hyphal_core::{
    ids::{NodeType, Roles},
    node::{PeerConfig, PeerStatus},
    session::Expect,
    time::{Duration, Instant, TimeQuality, UnixTime},
    trust::{Authorities, Policy},
    wire::{certificate::Certificate, reason::Reason},
};
use hyphal_lab::{
    drive::Drive,
    net::{Home, Net},
    network::{PacketConditions, StreamConditions},
    packets::{PacketPair, PacketSetup},
    papers::{Authority, Papers, at},
    seed::{Odds, Seed},
};

/// Who judges.
const HOST: Home = 0;
/// Who is judged.
const GUEST: Home = 1;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// More than any weather takes.
const SOON: Duration = Duration::from_secs(4);

#[test]
fn nodes_with_certificates_of_one_authority_meet_in_any_weather() {
    for seed in Seed::series(8) {
        let mut scene = Scene::new(&seed);

        assert_eq!(scene.refusal_when_guest_dials(), None);
    }
}

#[test]
fn one_that_is_wrong_is_refused_with_the_reason_by_whoever_was_dialled_and_silently_by_whoever_dialled() {
    type Change = fn(&mut Scene);
    let cases: [(Reason, Change); 10] = [
        (Reason::NoCertificate, |scene| scene.guest().certificate = None),
        (Reason::BadCertificate, |scene| scene.change(|certificate| certificate.signature[7] ^= 1)),
        (Reason::BadCertificate, |scene| scene.change(|certificate| certificate.roles = Roles::from_bits(1))),
        (Reason::BadCertificate, |scene| {
            let of_host = scene.net.papers(HOST).certificate;
            scene.guest().certificate = of_host;
        }),
        (Reason::WrongRole, |scene| scene.guest().node_type = NodeType::Hyphae),
        (Reason::WrongRole, |scene| {
            scene.net.papers(HOST).authorities = scene.asks_for(Roles::from_bits(0b11));
        }),
        (Reason::Untrusted, |scene| {
            let id = scene.net.id(GUEST);
            let foreign = Authority::new(&mut Seed::of(99).generator("foreign"));
            scene.guest().certificate = Some(foreign.certificate(2, id, at(Duration::ZERO)..at(DAY)));
        }),
        (Reason::CertificateNotYetValid, |scene| scene.issue(SOON, DAY)),
        (Reason::CertificateExpired, |scene| scene.issue_ended()),
        (Reason::Revoked, |scene| {
            let list = scene.authority.list(1, &[1, 2, 3], at(DAY));
            scene.net.publish(HOST, &list).expect("it is news");
        }),
    ];
    for (number, (reason, change)) in cases.into_iter().enumerate() {
        for seed in Seed::series(2) {
            let mut told = Scene::new(&seed);
            change(&mut told);
            let mut untold = Scene::new(&seed);
            change(&mut untold);

            assert_eq!(told.refusal_when_guest_dials(), Some(reason), "case {number}");
            let (host, guest) = untold.refusals_when_host_dials();
            assert_eq!((host, guest), (Some(reason), None), "case {number}");
        }
    }
}

#[test]
fn a_role_that_is_asked_for_and_there_lets_in() {
    let mut scene = Scene::new(&Seed::of(1));
    scene.net.papers(HOST).authorities = scene.asks_for(Roles::from_bits(0b01));
    let certificate = scene.guest().certificate.expect("it has one");
    let certificate = scene.authority.sign(Certificate { roles: Roles::from_bits(0b11), ..certificate });
    scene.guest().certificate = Some(certificate);

    assert_eq!(scene.refusal_when_guest_dials(), None);
}

#[test]
fn one_that_is_not_valid_yet_lets_in_as_soon_as_the_clock_has_come_to_it_and_the_node_tries_again() {
    for seed in Seed::series(8) {
        let mut scene = Scene::new(&seed);
        let begins =
            Duration::from_secs(100).saturating_add(seed.generator("moment").span(Duration::from_secs(1000)));
        scene.issue(begins, DAY);
        scene.introduce(GUEST, HOST);

        let came_up = scene.net.drive_until(Duration::from_secs(2000), |net| sessions(net) == [1, 1]);

        assert!(came_up, "in the end it is let in");
        let (guest, begins) = (scene.net.id(GUEST), Instant::ZERO.after(begins));
        assert!(scene.net.now() >= begins);
        let dials = &scene.net.process(GUEST).dials;
        assert_eq!(
            dials.iter().filter(|(at, _)| *at >= begins).count(),
            1,
            "the first try that can succeed does"
        );
        assert_eq!(scene.net.process(HOST).node.peer(&guest).expect("it is here").sessions, 1);
    }
}

/// It knows no more of the time than that it is not before its newest list: section 17 of the protocol.
#[test]
fn a_node_without_a_clock_refuses_what_had_expired_when_its_newest_list_was_made() {
    let mut scene = Scene::new(&Seed::of(1));
    scene.net.papers(HOST).wall.quality = TimeQuality::None;
    scene.issue(SOON, DAY);
    assert_eq!(scene.refusal_when_guest_dials(), None, "whether it is valid yet cannot be told");

    let mut scene = Scene::new(&Seed::of(1));
    scene.net.papers(HOST).wall.quality = TimeQuality::None;
    scene.issue_ended();
    assert_eq!(scene.refusal_when_guest_dials(), None, "nor whether it still is");

    let mut scene = Scene::new(&Seed::of(1));
    scene.net.papers(HOST).wall.quality = TimeQuality::None;
    scene.issue_ended();
    let list = scene.authority.list(1, &[], at(DAY));
    scene.net.publish(HOST, &list).expect("it is news");
    assert_eq!(scene.refusal_when_guest_dials(), Some(Reason::CertificateExpired));
}

/// A hello with a certificate is the longest one, and any flight of the handshake may be lost.
#[test]
fn over_datagrams_that_are_lost_it_lets_in_and_keeps_out_as_well() {
    for seed in Seed::series(8) {
        let mut chance = seed.generator("certificates");
        let authority = Authority::new(&mut chance);
        let is_good = seed.number().is_multiple_of(2);
        let valid =
            if is_good { at(Duration::ZERO)..at(DAY) } else { UnixTime::from_micros(0)..at(Duration::ZERO) };
        let conditions = PacketConditions {
            delay: Duration::from_millis(10),
            jitter: Duration::from_millis(20),
            loss: Odds::percent(10),
            duplicate: Odds::percent(10),
            ..PacketConditions::default()
        };
        let mut setup = PacketSetup { conditions, ..PacketSetup::new(&seed) };
        for (serial, end) in (1..).zip(&mut setup.ends) {
            let valid = if serial == 1 { valid.clone() } else { at(Duration::ZERO)..at(DAY) };
            let certificate = authority.certificate(serial, end.identity.id(), valid);
            let papers = Papers::of(&authority, Policy::default());
            end.papers = Some(Papers { certificate: Some(certificate), ..papers });
        }
        let mut pair = PacketPair::with(&seed, setup);
        let target = pair.target().id;

        // An attempt that only loses its datagrams is followed by another one.
        for _ in 0..10 {
            pair.drive_until(Duration::from_secs(10), |pair| {
                pair.opener().closed.is_some() || pair.opener().up.is_some()
            });
            match pair.opener().closed {
                Some((_, closed)) if closed.reason == Reason::HandshakeTimeout => {
                    pair.redial(Expect::Id(target));
                }
                _ => break,
            }
        }

        let told = pair.opener().closed.map(|(_, closed)| (closed.reason, closed.by_peer));
        assert_eq!(told, (!is_good).then_some((Reason::CertificateExpired, true)));
        assert_eq!(pair.opener().up.is_some(), is_good);
        pair.drive_for(Duration::from_secs(1));
        assert_eq!(pair.target().up.is_some(), is_good);
    }
}

/// Two nodes with good certificates that do not know of each other.
struct Scene {
    net: Net,
    authority: Authority,
}

impl Scene {
    fn new(seed: &Seed) -> Self {
        let authority = Authority::new(&mut seed.generator("authority"));
        let mut net = Net::new(seed, StreamConditions::weather(seed));
        for serial in [1, 2] {
            net.settle_member(&authority, serial, at(Duration::ZERO)..at(DAY));
        }
        Self { net, authority }
    }

    fn guest(&mut self) -> &mut Papers {
        self.net.papers(GUEST)
    }

    /// The guest gets a certificate for this time.
    fn issue(&mut self, from: Duration, until: Duration) {
        let id = self.net.id(GUEST);
        self.guest().certificate = Some(self.authority.certificate(2, id, at(from)..at(until)));
    }

    /// The guest gets one whose time is over at this moment.
    fn issue_ended(&mut self) {
        let id = self.net.id(GUEST);
        let before = UnixTime::from_micros(0)..at(Duration::ZERO);
        self.guest().certificate = Some(self.authority.certificate(2, id, before));
    }

    fn change(&mut self, change: impl FnOnce(&mut Certificate)) {
        change(self.guest().certificate.as_mut().expect("it has one"));
    }

    /// The same authority, asked for these roles.
    fn asks_for(&self, roles: Roles) -> Authorities<Vec<u8>> {
        Papers::of(&self.authority, Policy { roles, ..Policy::default() }).authorities
    }

    fn introduce(&mut self, home: Home, peer: Home) {
        self.net.introduce(home, peer, PeerConfig::default());
    }

    /// What the guest hears when it dials; nothing if it is let in.
    fn refusal_when_guest_dials(&mut self) -> Option<Reason> {
        self.introduce(GUEST, HOST);
        self.net.drive_until(SOON, |net| sessions(net) == [1, 1]);
        let host = self.net.id(HOST);
        let heard = self.net.process(GUEST).node.peer(&host).expect("it was introduced").last_reason;
        assert_eq!(sessions(&mut self.net), if heard.is_some() { [0, 0] } else { [1, 1] });
        heard
    }

    /// Why the host gives its dial up, and what the guest knows of it.
    fn refusals_when_host_dials(&mut self) -> (Option<Reason>, Option<Reason>) {
        self.introduce(HOST, GUEST);
        self.net.drive_for(SOON);
        assert_eq!(sessions(&mut self.net), [0, 0]);
        let (host, guest) = (self.net.id(HOST), self.net.id(GUEST));
        let of = |status: Option<PeerStatus>| status.and_then(|status| status.last_reason);
        (of(self.net.process(HOST).node.peer(&guest)), of(self.net.process(GUEST).node.peer(&host)))
    }
}

fn sessions(net: &mut Net) -> [usize; 2] {
    [HOST, GUEST].map(|home| net.process(home).node.sessions())
}
