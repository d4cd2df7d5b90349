//! What happens to messages, stores, certificates and configurations is in the table of metrics, each under its name: every test
//! makes it happen and reads the page.

use std::time::Duration;

use hyphal::trust::Roles;
use hyphal::{
    Limits, Node, Outcome, Overflow, Reason, Reliability, ReloadError, Roster, SendError, SendOptions, Trust,
};

use crate::certificates::{Authority, DAY, Member, await_session};
use crate::guaranteed::{Place, files, guaranteed};
use crate::page::{Page, serve, until};
use crate::pair::{builder, dialling, identity, listening, pair, within};

#[tokio::test]
async fn what_becomes_of_messages_is_told_by_their_reliability_for_each_peer_and_in_all() {
    let (left, right) = (Place::new(), Place::new());
    let (receiver, sender) = (right.listen().await, left.dial(&right).await);
    let ghost = identity().id();
    sender.add_peer(ghost, None).await.unwrap();
    let reading = tokio::spawn(async move { while receiver.recv().await.is_some() {} });
    await_session(&sender, right.id()).await;

    for (reliability, count) in Reliability::ALL.into_iter().zip(1..) {
        let options = SendOptions::default().reliability(reliability);
        for _ in 0..count {
            let (_, receipt) = sender.send_direct_tracked(right.id(), 1, "x", options).await.unwrap();
            assert_eq!(within(receipt).await, Outcome::Delivered);
            sender.send_direct(ghost, 1, "x", options).await.unwrap();
        }
    }

    let before = Page::of(&sender).await;
    for (reliability, count) in [("best-effort", 1), ("high", 2), ("guaranteed", 3)] {
        before.assert("hyphal_sent_accepted_total", &[("reliability", reliability)], 2 * count);
        before.assert("hyphal_sent_outcomes_total", &outcome(reliability, "Delivered"), count);
        before.assert("hyphal_sent_requeued_total", &[("reliability", reliability)], 0);
        before.assert("hyphal_sent_outstanding", &[("reliability", reliability)], count);
        for (peer, outstanding) in [(right.id(), 0), (ghost, count)] {
            let labels = &[("peer", &*peer.to_string()), ("reliability", reliability)];
            before.assert("hyphal_peer_sent_accepted_total", labels, count);
            before.assert("hyphal_peer_sent_outstanding", labels, outstanding);
        }
        let [reliability, outcome] = outcome(reliability, "Delivered");
        let labels = [("peer", &*right.id().to_string()), reliability, outcome];
        before.assert("hyphal_peer_sent_outcomes_total", &labels, count);
    }

    sender.remove_peer(ghost).await.unwrap();
    let after = Page::of(&sender).await;
    for (reliability, count) in [("best-effort", 1), ("high", 2), ("guaranteed", 3)] {
        after.assert("hyphal_sent_accepted_total", &[("reliability", reliability)], 2 * count);
        after.assert("hyphal_sent_outcomes_total", &outcome(reliability, "PeerGone"), count);
        after.assert("hyphal_sent_outstanding", &[("reliability", reliability)], 0);
    }
    after.assert("hyphal_sent_dropped_total", &[("reason", "PeerGone")], 6);
    reading.abort();
}

#[tokio::test]
async fn high_messages_of_a_session_that_ended_are_counted_as_put_back() {
    let (left, right) = (Place::new(), Place::new());
    let (receiver, sender) = (right.listen().await, left.dial(&right).await);
    let high = SendOptions::default().reliability(Reliability::High);
    for payload in ["one", "two"] {
        sender.send_direct(right.id(), 1, payload, high).await.unwrap();
        assert_eq!(within(receiver.recv()).await.unwrap().payload, payload);
    }
    // The second one is not acknowledged: its receiver never came back for more.
    within(until(|| sender.counters().sent.confirmed == 1)).await;

    drop(receiver);
    within(until(|| sender.counters().fates.high.requeued > 0)).await;

    let page = Page::of(&sender).await;
    page.assert("hyphal_sent_requeued_total", &[("reliability", "high")], 1);
    page.assert("hyphal_sent_outstanding", &[("reliability", "high")], 1);
    let labels = [("peer", &*right.id().to_string()), ("reliability", "high")];
    page.assert("hyphal_peer_sent_requeued_total", &labels, 1);
}

#[tokio::test]
async fn guaranteed_messages_that_are_sent_again_are_counted() {
    let (left, right) = (Place::new(), Place::new());
    let (receiver, sender) = (right.listen().await, left.dial(&right).await);
    sender.send_direct(right.id(), 1, "x", guaranteed()).await.unwrap();
    within(receiver.recv()).await.unwrap();
    assert_eq!(sender.counters().fates.guaranteed.requeued, 0);

    drop(receiver);
    let receiver = right.listen().await;
    within(receiver.recv()).await.unwrap();

    let page = Page::of(&sender).await;
    page.assert("hyphal_sent_requeued_total", &[("reliability", "guaranteed")], 1);
    page.assert("hyphal_sent_accepted_total", &[("reliability", "guaranteed")], 1);
}

#[tokio::test]
async fn a_store_tells_what_it_holds_and_what_it_has_done() {
    let (left, right) = (Place::new(), Place::new());
    let sender = left.dial(&right).await;
    for _ in 0..5 {
        sender.send_direct(right.id(), 1, vec![7; 1000], guaranteed()).await.unwrap();
    }

    let page = Page::of(&sender).await;
    page.assert("hyphal_store_state", &[], 0);
    page.assert("hyphal_store_messages", &[], 5);
    page.assert("hyphal_store_appended_total", &[], 5);
    page.assert("hyphal_store_lanes", &[("direction", "sent")], 1);
    page.assert("hyphal_store_bytes", &[], 5 * 1280);
    page.assert("hyphal_store_limit_bytes", &[], Limits::default().store_bytes);
    let len = files(left.store.path()).iter().map(|file| file.metadata().unwrap().len()).max().unwrap();
    page.assert("hyphal_store_file_bytes", &[], len);
    let commits = page.value("hyphal_store_commits_total", &[]).unwrap();
    assert!((1.0..=7.0).contains(&commits), "{commits}");

    let receiver = right.listen().await;
    let reader = receiver.clone();
    let reading = tokio::spawn(async move { while reader.recv().await.is_some() {} });
    // The thread that writes counts one after the other.
    let page = within(async {
        loop {
            let page = Page::of(&sender).await;
            let value = |name| page.value(name, &[]).unwrap();
            if value("hyphal_store_messages") == 0.0 && value("hyphal_store_removed_total") == 5.0 {
                return page;
            }
        }
    })
    .await;
    page.assert("hyphal_store_bytes", &[], 0);
    let page = Page::of(&receiver).await;
    page.assert("hyphal_store_lanes", &[("direction", "received")], 1);
    assert!(page.value("hyphal_store_arrivals_saved_total", &[]).unwrap() >= 1.0);
    reading.abort();
}

#[tokio::test]
async fn a_node_without_a_store_shows_nothing_of_one() {
    let node = listening(builder()).await;

    let page = Page::of(&node).await;

    assert!(!page.series.keys().any(|series| series.starts_with("hyphal_store_")), "{}", page.text);
}

#[tokio::test]
async fn a_message_for_which_the_store_has_no_room_is_counted() {
    let (left, right) = (Place::new(), Place::new());
    let mut limits = Limits::default();
    limits.max_message = 10_000;
    limits.store_bytes = 20_000;
    let sender = left.builder().limits(limits).known_peer(right.id()).start().await.unwrap();
    let hasty = guaranteed().overflow(Overflow::Fail);
    sender.send_direct(right.id(), 1, vec![0; 9000], hasty).await.unwrap();
    sender.send_direct(right.id(), 1, vec![0; 9000], hasty).await.unwrap();

    let single = sender.send_direct(right.id(), 1, vec![0; 9000], hasty).await;
    let outgoing = hyphal::Outgoing { options: hasty, ..hyphal::Outgoing::new(1, vec![0; 9000]) };
    let batch = sender.send_batch(right.id(), [outgoing]).await;

    assert_eq!(single, Err(SendError::StoreFull));
    assert_eq!(batch.map_err(|error| error.error), Err(SendError::StoreFull));
    let page = Page::of(&sender).await;
    page.assert("hyphal_store_failures_total", &[("operation", "append"), ("failure", "Full")], 2);
    page.assert("hyphal_sent_accepted_total", &[("reliability", "guaranteed")], 2);
}

#[tokio::test]
async fn certificates_that_are_taken_and_refused_are_counted() {
    let authority = Authority::new();
    let [own, good, revoked] = [1, 2, 3].map(|serial| Member::new(&authority, serial, Roles::NONE, DAY));
    own.keep(&authority.list(1, &[3]));
    let known = revoked.id();
    let node = listening(own.builder().known_peer(known)).await;
    let address = serve(&node, usize::MAX).await;

    let friend = dialling(good.builder(), &node).await;
    await_session(&friend, node.id()).await;
    let _refused = dialling(revoked.builder(), &node).await;
    let _bare = dialling(builder(), &node).await;
    let refused = |reason| {
        let refused = node.counters().certification.certificates_refused;
        refused.iter().any(|(found, _)| *found == reason)
    };
    within(until(|| refused(Reason::Revoked) && refused(Reason::NoCertificate))).await;

    let page = Page::scrape(address).await;
    page.assert("hyphal_certificates_accepted_total", &[], 1);
    page.assert_peer("hyphal_peer_certificates_accepted_total", friend.id(), 1);
    page.assert_peer("hyphal_peer_certificates_accepted_total", known, 0);
    let of_known = [("peer", &*known.to_string()), ("reason", "Revoked")];
    assert!(page.value("hyphal_peer_certificates_refused_total", &of_known).unwrap() >= 1.0);
    for reason in ["Revoked", "NoCertificate"] {
        // Whoever is refused tries again after a while.
        assert!(page.value("hyphal_certificates_refused_total", &[("reason", reason)]).unwrap() >= 1.0);
    }
    assert!(page.value("hyphal_certificate_expiry_seconds", &[]).unwrap() > 1.7e9);
    assert!(page.value("hyphal_delegation_expiry_seconds", &[]).is_none());
}

#[tokio::test]
async fn who_asks_for_no_certificate_refuses_none_that_is_missing() {
    let (left, _right) = pair().await;

    let page = Page::of(&left).await;

    page.assert("hyphal_certificates_accepted_total", &[], 0);
    assert!(page.value("hyphal_certificates_refused_total", &[("reason", "NoCertificate")]).is_none());
}

#[tokio::test]
async fn revocation_lists_that_are_adopted_refused_and_sent_on_are_counted() {
    let authority = Authority::new();
    let [first, second] = [1, 2].map(|serial| Member::new(&authority, serial, Roles::NONE, DAY));
    let ahead = listening(first.builder()).await;
    let behind = dialling(second.builder(), &ahead).await;
    await_session(&ahead, behind.id()).await;
    await_session(&behind, ahead.id()).await;

    first.keep(&authority.list(1, &[99]));
    ahead.set_trust(first.settings()).await.unwrap();
    // Its own list comes back to it, and is no news.
    let lists = |node: &Node| node.counters().certification;
    within(until(|| lists(&behind).lists_adopted == 1 && !lists(&ahead).lists_refused.is_empty())).await;

    let page = Page::of(&ahead).await;
    page.assert("hyphal_revocation_lists_adopted_total", &[("from", "file")], 1);
    page.assert("hyphal_revocation_lists_adopted_total", &[("from", "peer")], 0);
    page.assert("hyphal_revocation_lists_sent_total", &[], 1);
    page.assert_peer("hyphal_peer_revocation_lists_sent_total", behind.id(), 1);
    page.assert("hyphal_revocation_lists_refused_total", &[("reason", "Duplicate")], 1);
    let of_behind = [("peer", &*behind.id().to_string()), ("reason", "Duplicate")];
    page.assert("hyphal_peer_revocation_lists_refused_total", &of_behind, 1);
    page.assert("hyphal_trust_changes_total", &[], 1);
    let page = Page::of(&behind).await;
    page.assert("hyphal_revocation_lists_adopted_total", &[("from", "peer")], 1);
    page.assert_peer("hyphal_peer_revocation_lists_adopted_total", ahead.id(), 1);
    page.assert("hyphal_revocation_lists_sent_total", &[], 1);
    page.assert("hyphal_revocation_lists_unkept_total", &[], 0);
}

#[tokio::test]
async fn a_list_that_cannot_be_written_down_or_is_too_long_for_a_peer_is_counted() {
    let authority = Authority::new();
    let [first, second] = [1, 2].map(|serial| Member::new(&authority, serial, Roles::NONE, DAY));
    let ahead = listening(first.builder()).await;
    let mut limits = Limits::default();
    limits.max_message = 20_000;
    let behind = dialling(second.builder().limits(limits), &ahead).await;
    await_session(&behind, ahead.id()).await;
    // What has arrived has shown the sender the limits of the receiver.
    let (_, receipt) =
        ahead.send_direct_tracked(behind.id(), 1, "first", SendOptions::default()).await.unwrap();
    within(behind.recv()).await.unwrap();
    std::fs::remove_dir_all(second.directory.path()).unwrap();

    first.keep(&authority.list(1, &[99]));
    ahead.set_trust(first.settings()).await.unwrap();
    within(until(|| behind.counters().lists_unkept == 1)).await;
    let long: Vec<_> = (100..4100).collect();
    first.keep(&authority.list(2, &long));
    ahead.set_trust(first.settings()).await.unwrap();

    let page = Page::of(&ahead).await;
    page.assert("hyphal_revocation_lists_unsent_total", &[], 1);
    page.assert_peer("hyphal_peer_revocation_lists_unsent_total", behind.id(), 1);
    page.assert("hyphal_revocation_lists_sent_total", &[], 1);
    let page = Page::of(&behind).await;
    page.assert("hyphal_revocation_lists_adopted_total", &[("from", "peer")], 1);
    page.assert("hyphal_revocation_lists_unkept_total", &[], 1);
    page.assert("hyphal_revocation_lists_sent_total", &[], 0);
    drop(receipt);
}

#[tokio::test]
async fn rosters_and_settings_that_are_refused_are_counted_by_their_cause() {
    let mut limits = Limits::default();
    limits.peers = 1;
    let node = builder().limits(limits).start().await.unwrap();
    let many = (0..2).fold(Roster::new(Trust::Open), |all, _| all.known_peer(identity().id()));

    node.reload(Roster::new(Trust::Open)).await.unwrap();
    assert!(matches!(node.reload(many).await, Err(ReloadError::Full { .. })));
    let own = Roster::new(Trust::Open).known_peer(node.id());
    assert!(matches!(node.reload(own).await, Err(ReloadError::Peer { .. })));
    assert!(matches!(node.reload(Roster::new(Trust::Certified)).await, Err(ReloadError::Trust { .. })));
    assert!(node.set_trust(Trust::Certified).await.is_err());
    node.set_trust(Trust::Pinned).await.unwrap();
    node.note_unreadable_roster();

    let page = Page::of(&node).await;
    page.assert("hyphal_reloads_total", &[], 1);
    page.assert("hyphal_trust_changes_total", &[], 1);
    for (cause, count) in [("unreadable", 1), ("trust", 2), ("peer", 1), ("room", 1)] {
        page.assert("hyphal_reloads_refused_total", &[("cause", cause)], count);
    }
}

#[tokio::test]
async fn a_node_that_was_shut_down_has_refused_nothing() {
    let node = builder().start().await.unwrap();

    node.shutdown(Duration::ZERO).await;
    assert_eq!(node.reload(Roster::default()).await, Err(ReloadError::Closed));

    assert_eq!(node.counters().reloads_refused, hyphal::ReloadRefusals::default());
}

#[tokio::test]
async fn seals_and_signatures_are_counted_where_they_are_made_and_where_they_are_opened() {
    let (left, right) = pair().await;
    for (seal, sign) in [(true, false), (false, true), (true, true), (true, true)] {
        let options = SendOptions::default().seal(seal).sign(sign);
        left.send_direct(right.id(), 1, "x", options).await.unwrap();
        within(right.recv()).await.unwrap();
    }
    left.broadcast(1, "to all", SendOptions::default().sign(true)).await.unwrap();
    within(right.recv()).await.unwrap();

    let page = Page::of(&left).await;
    page.assert("hyphal_seals_made_total", &[], 3);
    page.assert("hyphal_signatures_made_total", &[], 4);
    page.assert_peer("hyphal_peer_seals_made_total", right.id(), 3);
    page.assert_peer("hyphal_peer_signatures_made_total", right.id(), 3);
    page.assert_peer("hyphal_peer_seals_opened_total", right.id(), 0);
    let page = Page::of(&right).await;
    page.assert("hyphal_seals_opened_total", &[], 3);
    page.assert("hyphal_signatures_verified_total", &[], 4);
    page.assert_peer("hyphal_peer_seals_opened_total", left.id(), 3);
    page.assert_peer("hyphal_peer_signatures_verified_total", left.id(), 4);
}

fn outcome<'l>(reliability: &'l str, outcome: &'l str) -> [(&'l str, &'l str); 2] {
    [("reliability", reliability), ("outcome", outcome)]
}
