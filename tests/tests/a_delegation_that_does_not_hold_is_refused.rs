//! A delegation counts for one key, signed by the node that it names, within its times. Whoever comes with another one is told
//! why by a responder, and nothing by an initiator.

use hyphal_core::{
    identity::Identity,
    ids::{Hint, NodeId},
    session::{Expect, Resumption},
    time::{Duration, TimeQuality, UnixTime},
    wire::{delegation::Delegation, hello::Extensions, reason::Reason, tlv::Tlv},
};
use hyphal_lab::{
    drive::Drive,
    network::Side,
    pair::{EndSetup, Pair, Setup, acquaintance},
    scripted::Scripted,
    seed::Seed,
    subject::Subject,
};

/// The wall clock of the lab.
const NOW: u64 = 1_800_000_000_000_000;
const HINT: Hint = Hint::from_bytes([7; Hint::LEN]);
/// The type byte of the field in a hello, with and without the critical bit.
const CRITICAL: u8 = 0x84;
const PLAIN: u8 = 0x04;

#[test]
fn one_that_somebody_else_has_signed() {
    let world = World::new();
    // The thief has a key of its own, and says that it stands for somebody.
    let mut stolen = world.good();
    stolen.id = world.victim.id();

    assert_eq!(world.refused(&stolen.to_bytes()), Some(Reason::BadDelegation));
}

#[test]
fn one_for_another_key() {
    let world = World::new();
    let other = world.owner.delegate_to(&[9; 32], time(-1), time(1)).unwrap();

    assert_eq!(world.refused(&other.to_bytes()), Some(Reason::BadDelegation));
}

#[test]
fn one_with_a_flipped_bit_anywhere() {
    let world = World::new();
    let good = world.good().to_bytes();
    for place in (0..Delegation::LEN).step_by(5) {
        let mut bent = good;
        bent[place] ^= 1;

        assert_eq!(world.refused(&bent), Some(Reason::BadDelegation), "byte {place}");
    }
}

#[test]
fn one_of_an_id_that_no_node_can_have() {
    let world = World::new();
    let mut neutral = [0; NodeId::LEN];
    neutral[0] = 1;
    let nobody = Delegation { id: NodeId::from_bytes(neutral), ..world.good() };

    assert_eq!(world.refused(&nobody.to_bytes()), Some(Reason::BadDelegation));
}

#[test]
fn one_that_has_ended_or_not_begun() {
    let world = World::new();
    for (from, until) in [(-2, -1), (-1, 0), (1, 2)] {
        let delegation = world.delegation(time(from), time(until));

        assert_eq!(world.refused(&delegation.to_bytes()), Some(Reason::DelegationExpired), "{from} {until}");
    }
    assert_eq!(world.refused(&world.delegation(time(0), time(1)).to_bytes()), None);
}

#[test]
fn any_where_no_clock_can_tell() {
    for quality in [TimeQuality::None, TimeQuality::Unsynced, TimeQuality::Synced] {
        let mut setup = with_delegated_opener();
        setup.target().wall.quality = quality;
        let mut pair = Pair::with(&Seed::of(1), setup);

        pair.drive_for(Duration::from_millis(500));

        let expected = (quality == TimeQuality::None).then_some(Reason::DelegationExpired);
        assert_eq!(pair.target().link.closed_for(), expected);
        assert_eq!(pair.opener().link.closed_by_peer_for(), expected);
    }
}

#[test]
fn a_responder_tells_why_with_its_time_and_an_initiator_says_nothing() {
    let expired = |end: &mut EndSetup| {
        let mut chance = Seed::of(2).generator("delegated");
        end.identity = end.identity.delegate(time(-2), time(-1), chance.generator()).unwrap();
    };
    let mut setup = Setup::new(&Seed::of(1));
    expired(setup.opener());
    let mut told = Pair::with(&Seed::of(1), setup);
    let mut setup = Setup::new(&Seed::of(1));
    expired(setup.target());
    let mut untold = Pair::with(&Seed::of(1), setup);

    assert!(told.drive_until_closed() && untold.drive_until_closed());

    let closed = told.opener().link.closed.expect("it is closed").1;
    assert_eq!((closed.reason, closed.by_peer, closed.detail), (Reason::DelegationExpired, true, NOW));
    assert_eq!(untold.opener().link.closed_for(), Some(Reason::DelegationExpired));
    assert_eq!(untold.target().link.closed_for(), Some(Reason::LinkLost));
    let said = untold.network.stream_written(untold.stream, Side::Opener);
    assert_eq!(said.len(), 46, "frame 1 and nothing that would show who it is");
}

#[test]
fn one_that_comes_twice_or_has_another_length() {
    let world = World::new();
    let good = world.good().to_bytes();

    assert_eq!(world.refused_fields(&[(CRITICAL, &good), (CRITICAL, &good)]), Some(Reason::Malformed));
    assert_eq!(world.refused_fields(&[(CRITICAL, &good), (PLAIN, &good)]), Some(Reason::Malformed));
    for len in [0, Delegation::LEN - 1] {
        assert_eq!(world.refused(&good[..len]), Some(Reason::Malformed));
    }
    assert_eq!(world.refused(&[&good[..], &[0]].concat()), Some(Reason::Malformed));
    let mut backwards = world.good();
    (backwards.not_before, backwards.not_after) = (backwards.not_after, backwards.not_before);
    assert_eq!(world.refused(&backwards.to_bytes()), Some(Reason::Malformed));
}

#[test]
fn but_not_for_lack_of_the_critical_bit() {
    let world = World::new();

    assert_eq!(world.refused_fields(&[(PLAIN, &world.good().to_bytes())]), None);
    assert_eq!(world.refused_fields(&[(CRITICAL, &world.good().to_bytes())]), None);
}

#[test]
fn one_that_makes_the_peer_this_node_itself_or_another_than_was_dialled() {
    let seed = Seed::of(1);
    let mut chance = seed.generator("delegated");
    let mut own = Setup::new(&seed);
    own.target().identity = own.opener().identity.delegate(time(-1), time(1), chance.generator()).unwrap();
    let mut other = Setup::new(&seed);
    let dialled = other.target().identity.id();
    let somebody = Identity::generate(chance.generator());
    other.target().identity = somebody.delegate(time(-1), time(1), chance.generator()).unwrap();
    other.expect = Expect::Id(dialled);

    for (setup, reason) in [(own, Reason::OwnId), (other, Reason::UnexpectedId)] {
        let mut pair = Pair::with(&seed, setup);
        assert!(pair.drive_until_closed());
        assert_eq!(pair.opener().link.closed_for(), Some(reason));
    }
}

/// The responder's message 2 is what an initiator judges.
#[test]
fn by_an_initiator_as_by_a_responder() {
    let world = World::new();
    for (delegation, reason) in [
        (Delegation { id: world.victim.id(), ..world.good() }, Reason::BadDelegation),
        (world.delegation(time(-2), time(-1)), Reason::DelegationExpired),
    ] {
        let seed = Seed::of(4);
        let mut subject = Subject::dialling(&seed);
        let mut peer = Scripted::with_identity(&seed, &world.delegated);
        let bytes = delegation.to_bytes();
        let hello = peer.encode_hello(Extensions { delegation: Some(&bytes), ..Extensions::default() });

        let first = subject.say();
        let second = peer.second_with(&first, &hello);
        subject.hear(&second);

        assert_eq!(subject.link.closed_for(), Some(reason));
        assert!(subject.say().is_empty());
    }
}

#[test]
fn a_key_that_was_delegated_does_not_stand_for_its_node_by_itself() {
    let world = World::new();
    let plain = world.delegated_without_delegation();
    let mut subject = Subject::accepting(&Seed::of(5));
    let mut thief = Scripted::with_identity(&Seed::of(5), &world.delegated);

    let second = {
        subject.hear(&thief.first());
        subject.say()
    };
    subject.hear(&thief.third(&second));

    let seen = subject.link.session.peer().expect("it is let in, as a stranger").id();
    assert_eq!(seen, plain);
    assert_ne!(seen, world.owner.id());
}

#[test]
fn one_that_has_ended_in_a_reconnect() {
    let seed = Seed::of(6);
    for delegated in [0, 1] {
        let mut setup = Setup::new(&seed);
        let mut chance = seed.generator("delegated");
        let end = &mut setup.ends[delegated];
        end.identity = end.identity.delegate(time(-2), time(-1), chance.generator()).unwrap();
        let [opener, target] = [0, 1].map(|end: usize| acquaintance(&setup.ends[end].identity));
        setup.expect = Expect::Resume(Resumption { peer: target, hint: HINT });
        setup.target().given.insert(HINT, opener);
        let mut pair = Pair::with(&seed, setup);

        assert!(pair.drive_until_closed());

        assert_eq!(pair.opener().link.closed_for(), Some(Reason::DelegationExpired));
        assert_eq!((pair.opener().link.up, pair.target().link.up), (None, None));
    }
}

/// Somebody whose key was delegated to, somebody else, and a responder that judges.
struct World {
    owner: Identity,
    victim: Identity,
    delegated: Identity,
}

impl World {
    fn new() -> Self {
        let mut chance = Seed::of(3).generator("world");
        let owner = Identity::generate(chance.generator());
        let victim = Identity::generate(chance.generator());
        let delegated = owner.delegate(time(-1), time(1), chance.generator()).unwrap();
        Self { owner, victim, delegated }
    }

    fn good(&self) -> Delegation {
        *self.delegated.delegation().expect("it is a delegated key")
    }

    fn delegation(&self, from: UnixTime, until: UnixTime) -> Delegation {
        self.owner.delegate_to(self.delegated.static_public(), from, until).unwrap()
    }

    /// Whose own key the delegated one is: a node that nobody knows.
    fn delegated_without_delegation(&self) -> NodeId {
        hyphal_core::identity::id_of_static(self.delegated.static_public()).expect("it is a valid key")
    }

    /// Why a responder refuses the delegated key with these bytes as its delegation.
    fn refused(&self, delegation: &[u8]) -> Option<Reason> {
        self.refused_fields(&[(CRITICAL, delegation)])
    }

    /// Why a responder refuses the delegated key with these fields at the end of the hello.
    fn refused_fields(&self, fields: &[(u8, &[u8])]) -> Option<Reason> {
        let seed = Seed::of(3);
        let mut subject = Subject::accepting(&seed);
        let mut peer = Scripted::with_identity(&seed, &self.delegated);
        let mut hello =
            peer.encode_hello(Extensions { network: Some(peer.network), ..Extensions::default() });
        for (kind, value) in fields {
            let len = u8::try_from(value.len()).expect("a short value");
            assert_eq!(Tlv::len_with(value.len()), 2 + value.len());
            hello.extend([*kind, len]);
            hello.extend(*value);
        }

        subject.hear(&peer.first());
        let second = subject.say();
        subject.hear(&peer.third_with(&second, &hello));
        subject.say();

        let reason = subject.link.closed_for();
        assert_eq!(subject.link.session.is_up(), reason.is_none());
        assert!(
            reason.is_some() || subject.link.session.peer().is_some_and(|peer| peer.id() == self.owner.id())
        );
        reason
    }
}

fn with_delegated_opener() -> Setup {
    let mut setup = Setup::new(&Seed::of(1));
    let mut chance = Seed::of(1).generator("delegated");
    let opener = setup.opener();
    opener.identity = opener.identity.delegate(time(-1), time(1), chance.generator()).unwrap();
    setup
}

/// The lab's wall clock and some seconds.
fn time(seconds: i64) -> UnixTime {
    UnixTime::from_micros(NOW.saturating_add_signed(seconds * 1_000_000))
}
