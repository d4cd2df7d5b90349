//! Revocation lists that are of nobody here, no news, forged or broken: each is refused and counted for its reason, and only who
//! could not have meant well is cut off.

use hyphal::trust::{ListHeader, Network, RevocationList, TrustSettings, sign_revocations};
use hyphal::{Identity, Reason, Trust, UnixTime};
use hyphal_core::wire::message::MessageHeader;
use hyphal_core::wire::revocation::REVOCATIONS;

use crate::hand::{Hand, Papers, message_header, messages};
use crate::scene::{NETWORK, Scene, identity as seeded, soon};

#[tokio::test]
async fn a_list_that_nobody_here_awaits_costs_its_sender_nothing_and_is_counted() {
    let mut scene = scene().await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
    let (known, stranger) = (list(&seeded(AUTHORITY), 5), list(&seeded(STRANGER), 1));

    for (sequence, bytes) in (1..).zip([&known, &stranger]) {
        hand.send(&carrying(sequence, bytes)).await;
    }
    soon(async {
        while scene.victim.counters().certification.lists_from_peers == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    hand.send(&carrying(3, &known)).await;
    hand.send(&messages(&[(message_header(4), b"after")])).await;

    assert_eq!(scene.delivered().await.payload, "after");
    let lists = scene.victim.counters().certification;
    assert_eq!((lists.lists_from_peers, lists.lists_unkept), (1, 0));
    for reason in ["Duplicate", "Untrusted"] {
        scene.assert_shown(&format!("hyphal_revocation_lists_refused_total{{reason=\"{reason}\"}} 1")).await;
    }
    assert_eq!(scene.closed_in_all(), 0);
    // The friend was given the list, for which it has no use.
    scene.exchange().await;
}

#[tokio::test]
async fn a_list_that_is_forged_or_broken_ends_the_session_and_is_counted() {
    let sound = list(&seeded(AUTHORITY), 5);
    let mut forged = sound.clone();
    *forged.last_mut().unwrap() ^= 1;
    for (bytes, reason) in [(forged, Reason::BadSignature), (sound[..50].to_vec(), Reason::Malformed)] {
        let mut scene = scene().await;
        let mut hand = Hand::shake(scene.address(), &Papers::new()).await;

        hand.send(&carrying(1, &bytes)).await;

        hand.expect_close(Reason::Violation).await;
        let name = reason.name();
        scene.assert_shown(&format!("hyphal_revocation_lists_refused_total{{reason=\"{name}\"}} 1")).await;
        assert_eq!(scene.victim.counters().certification.lists_from_peers, 0);
        scene.assert_friend_is_unharmed().await;
    }
}

/// A victim that knows one authority and asks nobody for a certificate.
async fn scene() -> Scene {
    let mut settings = TrustSettings::new(Trust::Open);
    settings.authorities = vec![seeded(AUTHORITY).id()];
    Scene::with(|victim| victim.trust_settings(settings)).await
}

fn carrying(sequence: u64, list: &[u8]) -> Vec<u8> {
    messages(&[(MessageHeader { kind: REVOCATIONS, ..message_header(sequence) }, list)])
}

fn list(authority: &Identity, version: u64) -> Vec<u8> {
    let header = ListHeader {
        authority: authority.id(),
        version,
        issued_at: UnixTime::from_micros(1),
        next_update: UnixTime::from_micros(u64::MAX),
    };
    let mut bytes = vec![0; RevocationList::len_with(1)];
    sign_revocations(authority, Network::of(NETWORK), header, &[77], &mut bytes).unwrap();
    bytes
}

const AUTHORITY: u8 = 50;
const STRANGER: u8 = 60;
