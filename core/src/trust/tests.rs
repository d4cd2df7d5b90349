use std::vec;
use std::vec::Vec as StdVec;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;
use crate::identity::Identity;
use crate::ids::NodeType;
use crate::time::Duration;
use crate::wire::certificate::Certificate;
use crate::wire::hello::NetworkTag;
use crate::wire::revocation::ListHeader;

const DAY: u64 = 86_400_000_000;
const NOW: u64 = 20_000 * DAY;
const SEED: u64 = 0x74_7275_7374;

#[test]
fn a_certificate_of_an_authority_of_this_node_admits_whom_it_is_for() {
    let scene = Scene::new();

    assert_eq!(scene.judge(&scene.certificate()), Ok(()));
}

#[test]
fn a_certificate_for_another_node_network_or_type_does_not_verify() {
    let scene = Scene::new();
    let certificate = scene.certificate();
    let verify = |network, id: &NodeId, node_type| {
        Credential::verify(&certificate, network, id, node_type).map(|credential| credential.serial())
    };
    let (id, other) = (scene.node.id(), scene.authority.id());

    assert_eq!(verify(network(), &id, NodeType::Hyphae), Ok(9));
    assert_eq!(verify(network(), &other, NodeType::Hyphae), Err(Reason::BadCertificate));
    assert_eq!(verify(NetworkTag::of("moss"), &id, NodeType::Hyphae), Err(Reason::BadCertificate));
    assert_eq!(verify(network(), &id, NodeType::Sclerotia), Err(Reason::WrongRole));
}

#[test]
fn a_certificate_signed_by_another_key_than_it_names_does_not_verify() {
    let scene = Scene::new();
    let forged = Certificate {
        authority: scene.authority.id(),
        ..sign_certificate(&scene.other_authority, network(), scene.certificate()).unwrap()
    };

    assert_eq!(scene.judge(&forged), Err(Reason::BadCertificate));
}

/// S + L solves the same equation as S: the certificate would be another one with the same meaning.
#[test]
fn a_malleable_or_low_order_signature_does_not_verify() {
    const ORDER: [u8; 32] = [
        0xED, 0xD3, 0xF5, 0x5C, 0x1A, 0x63, 0x12, 0x58, 0xD6, 0x9C, 0xF7, 0xA2, 0xDE, 0xF9, 0xDE, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let scene = Scene::new();
    let mut malleable = scene.certificate();
    let mut carry = 0;
    for (place, order) in malleable.signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*place) + u16::from(order) + carry;
        *place = sum as u8;
        carry = sum >> 8;
    }
    let mut neutral = [0; 64];
    neutral[0] = 1;
    // The neutral element as authority and R, and S = 0, satisfy the equation for every message.
    let low_order = Certificate {
        authority: NodeId::from_bytes(neutral[..32].try_into().unwrap()),
        signature: neutral,
        ..scene.certificate()
    };

    assert_eq!(carry, 0, "S + L fits");
    assert_eq!(scene.judge(&malleable), Err(Reason::BadCertificate));
    assert_eq!(scene.judge(&low_order), Err(Reason::BadCertificate));
}

#[test]
fn a_certificate_of_a_foreign_authority_is_untrusted_however_good_it_is() {
    let scene = Scene::new();

    let foreign = sign_certificate(&scene.other_authority, network(), scene.certificate()).unwrap();

    assert_eq!(scene.judge(&foreign), Err(Reason::Untrusted));
}

#[test]
fn two_authorities_are_trusted_side_by_side_and_revoke_only_their_own() {
    let mut scene = Scene::new();
    scene.authorities.add(scene.other_authority.id()).unwrap();
    let other = sign_certificate(&scene.other_authority, network(), scene.certificate()).unwrap();
    let list = scene.list_of(&scene.other_authority, 1, &[9]);

    scene.authorities.adopt(list).unwrap();

    assert_eq!(scene.judge(&scene.certificate()), Ok(()));
    assert_eq!(scene.judge(&other), Err(Reason::Revoked));
}

#[test]
fn a_certificate_holds_from_its_first_moment_to_just_before_its_last() {
    let scene = Scene::new();
    let credential = scene.credential(&scene.certificate());
    let judge = |time| scene.authorities.admits(&credential, synced(time));

    assert_eq!(judge(NOW - DAY - 1), Err(Reason::CertificateNotYetValid));
    assert_eq!(judge(NOW - DAY), Ok(()));
    assert_eq!(judge(NOW + DAY - 1), Ok(()));
    assert_eq!(judge(NOW + DAY), Err(Reason::CertificateExpired));
    assert_eq!(judge(u64::MAX), Err(Reason::CertificateExpired));
}

#[test]
fn a_node_without_a_clock_refuses_only_what_has_certainly_expired() {
    let mut scene = Scene::new();
    let credential = scene.credential(&scene.certificate());
    let clockless = Wall::default();

    assert_eq!(scene.authorities.admits(&credential, clockless), Ok(()));
    assert_eq!(scene.authorities.expires_at(&credential, Instant::ZERO, clockless), None);

    scene.adopt_issued_at(1, NOW + DAY);
    assert_eq!(scene.authorities.admits(&credential, clockless), Err(Reason::CertificateExpired));
}

#[test]
fn the_time_of_the_build_is_enough_to_know_that_a_certificate_has_expired() {
    let mut scene = Scene::new();
    scene.authorities = Authorities::new(Policy::default(), UnixTime::from_micros(NOW + DAY));
    scene.authorities.add(scene.authority.id()).unwrap();

    assert_eq!(
        scene.authorities.admits(&scene.credential(&scene.certificate()), Wall::default()),
        Err(Reason::CertificateExpired)
    );
}

#[test]
fn a_clock_that_runs_free_is_never_earlier_than_the_newest_list() {
    let mut scene = Scene::new();
    let credential = scene.credential(&scene.certificate());
    let after_power_loss = Wall { time: UnixTime::from_micros(5), quality: TimeQuality::Unsynced };

    assert_eq!(scene.authorities.admits(&credential, after_power_loss), Err(Reason::CertificateNotYetValid));

    scene.adopt_issued_at(1, NOW);
    assert_eq!(scene.authorities.admits(&credential, after_power_loss), Ok(()));
    assert_eq!(scene.authorities.present(synced(5)), Present::At(UnixTime::from_micros(5)));
}

#[test]
fn a_credential_expires_when_the_clock_will_say_so() {
    let scene = Scene::new();
    let credential = scene.credential(&scene.certificate());
    let now = Instant::from_micros(77);

    let expires_at = scene.authorities.expires_at(&credential, now, synced(NOW));

    assert_eq!(expires_at, Some(now.after(Duration::from_micros(DAY))));
    assert_eq!(scene.authorities.expires_at(&credential, now, synced(NOW + 9 * DAY)), Some(now));
}

#[test]
fn a_revoked_certificate_is_refused_and_the_one_after_it_is_not() {
    let mut scene = Scene::new();
    let list = scene.list(1, &[3, 9]);

    scene.authorities.adopt(list).unwrap();

    assert_eq!(scene.judge(&scene.certificate()), Err(Reason::Revoked));
    assert_eq!(scene.judge(&scene.signed(Certificate { serial: 10, ..scene.certificate() })), Ok(()));
}

#[test]
fn all_required_roles_must_be_there() {
    let mut scene = Scene::new();
    scene.require(Roles::named("relay").unwrap().with(Roles::named("time").unwrap()), Stale::Warn);
    let with = |bits| {
        scene.judge(&scene.signed(Certificate { roles: Roles::from_bits(bits), ..scene.certificate() }))
    };

    for (bits, verdict) in [
        (0, Err(Reason::WrongRole)),
        (0b1, Err(Reason::WrongRole)),
        (0b10000, Err(Reason::WrongRole)),
        (0b10001, Ok(())),
        (u32::MAX, Ok(())),
    ] {
        assert_eq!(with(bits), verdict, "{bits:b}");
    }
}

#[test]
fn only_a_newer_list_takes_a_lists_place() {
    let mut scene = Scene::new();
    let [one, two, again] = [scene.list(1, &[]), scene.list(2, &[9]), scene.list(2, &[])];
    scene.authorities.adopt(two).unwrap();

    for older in [one, again] {
        assert_eq!(scene.authorities.is_news(&older.list()), Err(Reason::Duplicate));
        assert_eq!(scene.authorities.adopt(older), Err(Reason::Duplicate));
    }

    assert_eq!(scene.judge(&scene.certificate()), Err(Reason::Revoked));
}

#[test]
fn a_list_of_a_foreign_authority_is_no_news() {
    let mut scene = Scene::new();
    let foreign = scene.list_of(&scene.other_authority, 1, &[9]);

    assert_eq!(scene.authorities.is_news(&foreign.list()), Err(Reason::Untrusted));
    assert_eq!(scene.authorities.adopt(foreign), Err(Reason::Untrusted));
}

#[test]
fn a_forged_list_and_one_of_another_network_do_not_verify() {
    let scene = Scene::new();
    let good = scene.list(1, &[]).bytes().clone();
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;

    assert!(Revocations::verify(good.clone(), network()).is_ok());
    assert_eq!(Revocations::verify(forged, network()).map(drop), Err(Reason::BadSignature));
    assert_eq!(Revocations::verify(good, NetworkTag::of("moss")).map(drop), Err(Reason::BadSignature));
}

#[test]
fn a_stale_or_missing_list_refuses_only_the_strict_and_ends_no_session() {
    let mut scene = Scene::new();
    let credential = scene.credential(&scene.certificate());
    let judge = |scene: &Scene, time| scene.authorities.admits(&credential, synced(time));
    assert!(scene.authorities.is_stale(scene.authority.id(), synced(NOW)), "there is none");
    assert_eq!(judge(&scene, NOW), Ok(()));

    scene.require(Roles::NONE, Stale::Strict);
    assert_eq!(judge(&scene, NOW), Err(Reason::StaleList));
    scene.adopt_issued_at(1, NOW - DAY);
    assert_eq!(judge(&scene, NOW - 1), Ok(()));
    assert_eq!(judge(&scene, NOW), Err(Reason::StaleList), "a newer one is due a day after the issue");
    assert_eq!(scene.authorities.confirms(&credential, synced(NOW)), Ok(()));
    assert_eq!(
        scene.authorities.admits(&credential, Wall::default()),
        Ok(()),
        "nobody knows without a clock"
    );
}

#[test]
fn a_new_policy_takes_over_the_newer_lists_of_the_authorities_that_stay() {
    let mut scene = Scene::new();
    scene.authorities.add(scene.other_authority.id()).unwrap();
    for list in [scene.list(5, &[9]), scene.list_of(&scene.other_authority, 5, &[])] {
        scene.authorities.adopt(list).unwrap();
    }
    let mut next = Authorities::new(Policy::default(), UnixTime::default());
    next.add(scene.authority.id()).unwrap();
    next.adopt(scene.list(4, &[])).unwrap();

    next.inherit(&scene.authorities);

    let versions: StdVec<_> = next.iter().map(|(_, list)| list.unwrap().header().version).collect();
    assert_eq!(versions, [5]);
}

#[test]
fn an_authority_must_be_a_key_that_is_not_there_yet_and_there_are_eight_at_most() {
    let mut random = ChaCha20Rng::seed_from_u64(SEED);
    let mut authorities = Authorities::<StdVec<u8>>::new(Policy::default(), UnixTime::default());
    let ids: StdVec<_> = (0..MAX_AUTHORITIES).map(|_| Identity::generate(&mut random).id()).collect();

    assert_eq!(authorities.add(NodeId::from_bytes([0; 32])), Err(AuthorityError::Invalid));
    assert!(ids.iter().all(|id| authorities.add(*id).is_ok()));
    assert_eq!(authorities.add(ids[0]), Err(AuthorityError::Twice));
    assert_eq!(authorities.add(Identity::generate(&mut random).id()), Err(AuthorityError::Full));
}

/// A node of type Hyphae with certificate 9, from a day ago to a day ahead, and whoever judges it.
struct Scene {
    authority: Identity,
    other_authority: Identity,
    node: Identity,
    authorities: Authorities<StdVec<u8>>,
}

impl Scene {
    fn new() -> Self {
        let mut random = ChaCha20Rng::seed_from_u64(SEED);
        let [authority, other_authority, node] = core::array::from_fn(|_| Identity::generate(&mut random));
        let mut authorities = Authorities::new(Policy::default(), UnixTime::default());
        authorities.add(authority.id()).unwrap();
        Self { authority, other_authority, node, authorities }
    }

    fn certificate(&self) -> Certificate {
        self.signed(Certificate {
            authority: self.authority.id(),
            serial: 9,
            node: self.node.id(),
            node_type: NodeType::Hyphae,
            roles: Roles::NONE,
            not_before: UnixTime::from_micros(NOW - DAY),
            not_after: UnixTime::from_micros(NOW + DAY),
            signature: [0; 64],
        })
    }

    fn signed(&self, certificate: Certificate) -> Certificate {
        sign_certificate(&self.authority, network(), certificate).unwrap()
    }

    fn credential(&self, certificate: &Certificate) -> Credential {
        Credential::verify(certificate, network(), &self.node.id(), NodeType::Hyphae).unwrap()
    }

    fn judge(&self, certificate: &Certificate) -> Result<(), Reason> {
        let credential = Credential::verify(certificate, network(), &self.node.id(), NodeType::Hyphae)?;
        self.authorities.admits(&credential, synced(NOW))
    }

    fn list(&self, version: u64, serials: &[u64]) -> Revocations<StdVec<u8>> {
        self.list_of(&self.authority, version, serials)
    }

    fn list_of(&self, authority: &Identity, version: u64, serials: &[u64]) -> Revocations<StdVec<u8>> {
        signed_list(authority, version, NOW - DAY, serials)
    }

    fn adopt_issued_at(&mut self, version: u64, issued_at: u64) {
        self.authorities.adopt(signed_list(&self.authority, version, issued_at, &[])).unwrap();
    }

    fn require(&mut self, roles: Roles, stale: Stale) {
        self.authorities.policy = Policy { roles, stale };
    }
}

fn signed_list(
    authority: &Identity,
    version: u64,
    issued_at: u64,
    serials: &[u64],
) -> Revocations<StdVec<u8>> {
    let mut bytes = vec![0; RevocationList::len_with(serials.len())];
    let header = ListHeader {
        authority: authority.id(),
        version,
        issued_at: UnixTime::from_micros(issued_at),
        next_update: UnixTime::from_micros(issued_at + DAY),
    };
    sign_revocations(authority, network(), header, serials, &mut bytes).unwrap();
    Revocations::verify(bytes, network()).unwrap()
}

fn synced(time: u64) -> Wall {
    Wall { time: UnixTime::from_micros(time), quality: TimeQuality::Synced }
}

fn network() -> NetworkTag {
    NetworkTag::of("garden")
}
