//! Revocation lists that are forged, foreign, old, too long, or sent without end: none of them counts, and none costs much.

use std::path::Path;
use std::time::Duration;

use hyphal::trust::{
    ListHeader, Network, RevocationList, read_revocations, revocations_path, sign_revocations,
    write_revocations,
};
use hyphal::{Counters, Identity, NodeId, Priority, Reason, Trust, TrustSettings, UnixTime};
use hyphal_core::wire::message::{FRAGMENT_LEN, MessageHeader, Part};
use hyphal_core::wire::revocation::REVOCATIONS;
use tempfile::TempDir;

use crate::hand::{Hand, Papers, message_header, messages, wall_time};
use crate::scene::{NETWORK, Scene, identity, soon};

#[tokio::test]
async fn a_forged_list_ends_the_session_and_does_not_count() {
    let mut last_byte = list(AUTHORITY, NETWORK, 6, &[7]);
    *last_byte.last_mut().unwrap() ^= 1;
    let mut revoked = list(AUTHORITY, NETWORK, 6, &[7]);
    let serial = revoked.len() - 64 - 1;
    revoked[serial] ^= 1;
    let of_another_network = list(AUTHORITY, "another", 6, &[7]);
    for (forged, reason) in [
        (last_byte, Reason::BadSignature),
        (revoked, Reason::BadSignature),
        (of_another_network, Reason::BadSignature),
        (vec![1, 2, 3], Reason::Malformed),
        (Vec::new(), Reason::Malformed),
    ] {
        let (mut scene, kept, mut hand) = scene().await;

        hand.send(&messages(&[(header(1), &forged)])).await;

        hand.expect_close(Reason::Violation).await;
        scene.assert_closed(Reason::Violation, 1);
        scene.assert_dropped(reason, 1);
        assert_refused(&scene, reason, 1).await;
        assert_eq!(version(kept.path()), 5);
        assert_friend_is_unharmed(&mut scene).await;
    }
}

#[tokio::test]
async fn a_list_of_another_authority_is_dropped_and_the_session_goes_on() {
    let (mut scene, kept, mut hand) = scene().await;

    for sequence in 1..=100 {
        hand.send(&messages(&[(header(sequence), &list(FOREIGN, NETWORK, sequence, &[7]))])).await;
    }
    hand.send(&messages(&[(message_header(101), b"after them")])).await;

    assert_eq!(scene.delivered().await.payload, "after them");
    scene.assert_dropped(Reason::Untrusted, 100);
    assert_refused(&scene, Reason::Untrusted, 100).await;
    assert_eq!(std::fs::read_dir(kept.path()).unwrap().count(), 1);
    assert_friend_is_unharmed(&mut scene).await;
}

#[tokio::test]
async fn an_older_list_and_the_same_one_are_dropped_and_the_session_goes_on() {
    let (mut scene, kept, mut hand) = scene().await;

    hand.send(&messages(&[
        (header(1), &list(AUTHORITY, NETWORK, 4, &[])),
        (header(2), &list(AUTHORITY, NETWORK, 5, &[50])),
        (message_header(3), b"after them"),
    ]))
    .await;

    assert_eq!(scene.delivered().await.payload, "after them");
    scene.assert_dropped(Reason::Duplicate, 2);
    assert_refused(&scene, Reason::Duplicate, 2).await;
    assert_eq!(version(kept.path()), 5);
    assert_friend_is_unharmed(&mut scene).await;
}

#[tokio::test]
async fn the_news_sent_a_thousand_times_is_kept_once() {
    let (mut scene, kept, mut hand) = scene().await;
    let news = list(AUTHORITY, NETWORK, 6, &[7]);

    for sequence in 1..=1000 {
        hand.send(&messages(&[(header(sequence), &news)])).await;
    }
    hand.send(&messages(&[(message_header(1001), b"after them")])).await;

    assert_eq!(scene.delivered().await.payload, "after them");
    // It counts once its file is there.
    let adopted = || scene.victim.counters().certification.lists_adopted;
    soon(async {
        while adopted() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(version(kept.path()), 6);
    // Each was dropped without a look at its signature, whether the first was on the disk by then or not.
    scene.assert_dropped(Reason::Duplicate, 999);
    assert_refused(&scene, Reason::Duplicate, 999).await;
    let counters = scene.victim.counters();
    assert_eq!((counters.certification.lists_adopted, counters.lists_unkept), (1, 0));
    assert_friend_is_unharmed(&mut scene).await;
}

#[tokio::test]
async fn many_lists_each_newer_than_the_one_before_come_to_the_newest() {
    let (mut scene, kept, mut hand) = scene().await;

    for version in 6..=205 {
        hand.send(&messages(&[(header(version), &list(AUTHORITY, NETWORK, version, &[version]))])).await;
    }
    hand.send(&messages(&[(message_header(300), b"after them")])).await;

    assert_eq!(scene.delivered().await.payload, "after them");
    soon(async {
        while version(kept.path()) != 205 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_friend_is_unharmed(&mut scene).await;
}

#[tokio::test]
async fn a_list_longer_than_any_ends_the_session_before_it_is_there() {
    let (mut scene, _kept, mut hand) = scene().await;
    let total = u32::try_from(RevocationList::MAX_LEN).unwrap() + 1;
    let part = Some(Part { total, offset: 0 });

    hand.send(&messages(&[(MessageHeader { part, ..header(1) }, &[0; FRAGMENT_LEN])])).await;

    hand.expect_close(Reason::Violation).await;
    scene.assert_closed(Reason::Violation, 1);
    scene.assert_dropped(Reason::TooLong, 1);
    assert_friend_is_unharmed(&mut scene).await;
}

/// A victim that trusts everybody, knows an authority, and keeps the fifth list of it.
async fn scene() -> (Scene, TempDir, Hand) {
    let kept = TempDir::new().unwrap();
    let fifth = list(AUTHORITY, NETWORK, 5, &[50]);
    write_revocations(&path(kept.path()), &fifth, hyphal::trust::Existing::Keep).unwrap();
    let mut settings = TrustSettings::new(Trust::Open);
    settings.authorities = vec![identity(AUTHORITY).id()];
    settings.revocations = Some(kept.path().to_owned());
    let scene = Scene::with(|victim| victim.trust_settings(settings)).await;
    let mut hand = Hand::shake(scene.address(), &Papers::new()).await;
    // The list that the victim has goes to everybody first.
    hand.record().await;
    (scene, kept, hand)
}

/// Exchanges once more, over the session of the beginning. The friend knows no authority, and drops the lists that it is sent.
async fn assert_friend_is_unharmed(scene: &mut Scene) {
    scene.exchange().await;
    let Counters { dialled, closed, received_dropped, .. } = scene.friend.counters();
    assert_eq!((dialled, closed), (1, vec![]));
    assert!(received_dropped.iter().all(|(reason, _)| *reason == Reason::Untrusted), "{received_dropped:?}");
}

/// The page for Prometheus says how many lists were refused for the reason.
async fn assert_refused(scene: &Scene, reason: Reason, count: u64) {
    let name = reason.name();
    scene.assert_shown(&format!("hyphal_revocation_lists_refused_total{{reason=\"{name}\"}} {count}")).await;
}

fn list(authority: u8, network: &str, version: u64, serials: &[u64]) -> Vec<u8> {
    let authority: Identity = identity(authority);
    let now = wall_time().as_micros();
    let day = u64::try_from(Duration::from_secs(86_400).as_micros()).unwrap();
    let header = ListHeader {
        authority: authority.id(),
        version,
        issued_at: UnixTime::from_micros(now),
        next_update: UnixTime::from_micros(now + day),
    };
    let mut bytes = vec![0; RevocationList::len_with(serials.len())];
    sign_revocations(&authority, Network::of(network), header, serials, &mut bytes).unwrap();
    bytes
}

fn header(sequence: u64) -> MessageHeader {
    MessageHeader { kind: REVOCATIONS, priority: Priority::Critical, ..message_header(sequence) }
}

fn path(directory: &Path) -> std::path::PathBuf {
    let authority: NodeId = identity(AUTHORITY).id();
    revocations_path(directory, &authority)
}

/// The version of the list that is kept.
fn version(directory: &Path) -> u64 {
    let bytes = read_revocations(&path(directory)).unwrap();
    RevocationList::decode(&bytes).unwrap().header().version
}

const AUTHORITY: u8 = 10;
const FOREIGN: u8 = 11;
