//! A session lasts no longer than the certificate that let its peer in: both ends hear why, and no way leads back but another
//! certificate.

use hyphal_core::{
    node::{NodeEvent, PeerConfig},
    time::{Duration, Instant, TimeQuality},
    wire::reason::Reason,
};
use hyphal_lab::{
    drive::Drive,
    link::{header, reliable},
    net::{Home, Net},
    network::StreamConditions,
    papers::{Authority, at},
    seed::Seed,
};

/// Who stays a member.
const HOST: Home = 0;
/// Whose certificate ends.
const GUEST: Home = 1;
const FOREVER: Duration = Duration::from_secs(1_000_000);

#[test]
fn at_that_moment_in_any_weather_and_both_ends_hear_why() {
    for seed in Seed::series(8) {
        let mut chance = seed.generator("moment");
        let ends = Duration::from_secs(5).saturating_add(chance.span(Duration::from_secs(40)));
        let (mut net, _) = certified(&seed, StreamConditions::weather(&seed), ends);

        let mut sent = 0;
        while net.now() < moment(ends) {
            net.send(GUEST, HOST, reliable(0), b"while it lasts").expect("there is room");
            sent += 1;
            let left = moment(ends).since(net.now());
            net.drive_for(left.min(Duration::from_millis(300)));
        }
        net.drive_for(Duration::from_secs(2));

        let (host, guest) = (net.id(HOST), net.id(GUEST));
        let told = NodeEvent::PeerDown { id: guest, reason: Reason::CertificateExpired };
        assert_eq!(told_at(&mut net, HOST, told), Some(moment(ends)), "not a moment later");
        let told = NodeEvent::PeerDown { id: host, reason: Reason::CertificateExpired };
        assert!(told_at(&mut net, GUEST, told).is_some_and(|at| at > moment(ends)), "it hears of it");
        let delivered = &net.process(HOST).delivered;
        assert!(delivered.len() <= sent && !delivered.is_empty());
        assert!(delivered.iter().all(|(_, message)| message.at <= moment(ends)));
    }
}

#[test]
fn and_the_peer_is_refused_until_it_has_another_one() {
    let ends = Duration::from_secs(10);
    let (mut net, authority) = certified(&Seed::of(1), StreamConditions::default(), ends);
    net.drive_for(Duration::from_secs(1000));
    let (host, guest) = (net.id(HOST), net.id(GUEST));
    let refused = net.process(GUEST).node.peer(&host).expect("it stays in the list");
    assert_eq!((refused.session, refused.last_reason), (None, Some(Reason::CertificateExpired)));
    let dials = net.process(GUEST).dials.len();
    assert!((2..10).contains(&dials), "it tries again now and then: {dials} dials");
    assert_eq!(net.process(HOST).node.peer(&guest).expect("a known stranger").sessions, 1);

    net.papers(GUEST).certificate = Some(authority.certificate(9, guest, at(ends)..at(FOREVER)));

    assert!(net.drive_until(Duration::from_secs(600), is_up), "it comes back");
    net.send(GUEST, HOST, header(0), b"back again").expect("there is room");
    net.drive_for(Duration::from_secs(1));
    assert_eq!(
        net.process(HOST).delivered.last().map(|(_, message)| &message.payload[..]),
        Some(&b"back again"[..])
    );
}

/// The hint of the session that broke lets nobody in whom the certificate does not.
#[test]
fn and_no_reconnect_outlives_it() {
    for seed in Seed::series(4) {
        let ends = Duration::from_secs(10);
        let (mut net, _) = certified(&seed, StreamConditions::default(), ends);
        net.drive_for(moment(ends).since(net.now()).saturating_sub(Duration::from_millis(1)));

        // The link breaks at the last moment: whoever dials again is too late.
        for stream in net.streams() {
            net.network.cut_stream(stream);
        }
        net.drive_for(Duration::from_secs(400));

        let (host, guest) = (net.id(HOST), net.id(GUEST));
        assert_eq!(net.process(HOST).node.peer(&guest).expect("a known stranger").sessions, 1);
        let last_reason = net.process(GUEST).node.peer(&host).expect("it is in the list").last_reason;
        assert_eq!(last_reason, Some(Reason::CertificateExpired));
    }
}

/// A wall clock that is set shows at the next review.
#[test]
fn also_when_the_clock_jumps() {
    let ends = Duration::from_secs(100_000);
    let (mut net, _) = certified(&Seed::of(2), StreamConditions::default(), ends);

    net.papers(HOST).wall.time = at(ends);
    net.review(HOST);
    net.drive_for(Duration::from_secs(1));

    let (host, guest) = (net.id(HOST), net.id(GUEST));
    for (home, other) in [(HOST, guest), (GUEST, host)] {
        let told = NodeEvent::PeerDown { id: other, reason: Reason::CertificateExpired };
        assert!(told_at(&mut net, home, told).is_some(), "node {home}");
    }
}

/// It cannot tell what time it is, so only what it has been told ends a session: see section 17 of the protocol.
#[test]
fn but_not_at_a_node_without_a_clock() {
    let ends = Duration::from_secs(10);
    let seed = Seed::of(3);
    let (mut net, _) = certified_by(&seed, StreamConditions::default(), ends, TimeQuality::None);

    net.drive_for(Duration::from_secs(100));

    assert!(is_up(&mut net));
}

/// Two nodes with a session, of which one's certificate ends after `ends`.
fn certified(seed: &Seed, conditions: StreamConditions, ends: Duration) -> (Net, Authority) {
    certified_by(seed, conditions, ends, TimeQuality::Synced)
}

fn certified_by(
    seed: &Seed,
    conditions: StreamConditions,
    ends: Duration,
    clock_of_host: TimeQuality,
) -> (Net, Authority) {
    let authority = Authority::new(&mut seed.generator("authority"));
    let mut net = Net::new(seed, conditions);
    net.settle_member(&authority, 1, at(Duration::ZERO)..at(FOREVER));
    net.settle_member(&authority, 2, at(Duration::ZERO)..at(ends));
    net.papers(HOST).wall.quality = clock_of_host;
    net.introduce(GUEST, HOST, PeerConfig::default());
    assert!(net.drive_until(Duration::from_secs(4), is_up), "they meet");
    (net, authority)
}

fn is_up(net: &mut Net) -> bool {
    [HOST, GUEST].into_iter().all(|home| net.process(home).node.sessions() == 1)
}

/// When the virtual clock shows this.
fn moment(since_start: Duration) -> Instant {
    Instant::ZERO.after(since_start)
}

fn told_at(net: &mut Net, home: Home, told: NodeEvent) -> Option<Instant> {
    net.process(home).events.iter().find(|(_, event)| *event == told).map(|(at, _)| *at)
}
