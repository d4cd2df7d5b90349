//! What Prometheus reads are the numbers of the node, whatever else knocks at the port; and the document has every metric.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use hyphal::metrics::{Exposition, report_every, table};
use hyphal::{Filter, Limits, Node, NodeId, Outcome, Overflow, Reason, SendOptions};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::page::{Page, exchange, serve, until};
use crate::pair::{builder, identity, listening, pair, within};

#[tokio::test]
async fn a_scrape_shows_the_numbers_of_the_node_and_every_drop_by_its_reason() {
    let (left, right) = narrow_pair().await;
    let to_left = serve(&left, usize::MAX).await;
    let to_right = serve(&right, usize::MAX).await;
    traffic(&left, &right).await;

    let (left_page, right_page) = (Page::scrape(to_left).await, Page::scrape(to_right).await);

    // Known by the traffic, and as the node itself tells them.
    let (counters, peer) = (left.counters(), right.id());
    left_page.assert("hyphal_sent_messages_total", &[], 6);
    left_page.assert("hyphal_sent_confirmed_total", &[], counters.sent.confirmed);
    left_page.assert("hyphal_sent_dropped_total", &[("reason", "PeerGone")], 2);
    left_page.assert("hyphal_sent_dropped_total", &[("reason", "Shed")], 1);
    assert_eq!(counters.sent_dropped, [(Reason::Shed, 1), (Reason::PeerGone, 2)]);
    assert_eq!(counters.sent_dropped.iter().map(|(_, count)| count).sum::<u64>(), counters.sent.dropped);
    left_page.assert("hyphal_sessions_started_total", &[], 1);
    left_page.assert("hyphal_connections_accepted_total", &[], 1);
    left_page.assert("hyphal_sessions", &[], 1);
    left_page.assert("hyphal_peers", &[], 1);
    left_page.assert("hyphal_peers_unlisted", &[], 0);
    left_page.assert_peer("hyphal_peer_up", peer, 1);
    left_page.assert_peer("hyphal_peer_sessions_total", peer, 1);
    left_page.assert_peer("hyphal_peer_sent_messages_total", peer, 3);
    left_page.assert_peer("hyphal_peer_sent_confirmed_total", peer, 3);

    let counters = right.counters();
    assert_eq!(counters.received_dropped, [(Reason::NoReceiver, 2)]);
    right_page.assert("hyphal_received_messages_total", &[], 3);
    right_page.assert("hyphal_received_dropped_total", &[("reason", "NoReceiver")], 2);
    right_page.assert_peer("hyphal_peer_received_messages_total", left.id(), 3);
    let labels = [("peer", &*left.id().to_string()), ("reason", "NoReceiver")];
    right_page.assert("hyphal_peer_received_dropped_total", &labels, 2);
    right_page.assert("hyphal_connections_dialled_total", &[], 1);
    right_page.assert("hyphal_assembly_limit_bytes", &[], 64 * 1024 * 1024);
}

#[tokio::test]
async fn the_uptime_is_that_of_the_node() {
    let before = Instant::now();
    let node = listening(builder().identity(identity())).await;
    let started = Instant::now();

    let (at_least, uptime) = (started.elapsed(), node.snapshot().await.uptime);

    assert!((at_least..=before.elapsed()).contains(&uptime), "{uptime:?}");
}

#[tokio::test]
async fn failed_handshakes_and_lost_sessions_are_told_apart() {
    let here = listening(builder()).await;
    let address = serve(&here, usize::MAX).await;
    let elsewhere = crate::pair::dialling(builder().network("another"), &here).await;
    within(until(|| !here.counters().failed.is_empty())).await;
    elsewhere.shutdown(Duration::ZERO).await;
    let friend = crate::pair::dialling(builder(), &here).await;
    within(until(|| here.counters().sessions == 1 && friend.counters().sessions == 1)).await;
    friend.shutdown(Duration::ZERO).await;
    within(until(|| here.counters().closed.iter().any(|(reason, _)| *reason == Reason::Shutdown))).await;

    let page = Page::scrape(address).await;

    let failed = here.counters().failed;
    assert!(failed.iter().all(|(reason, _)| *reason == Reason::Network), "{failed:?}");
    page.assert("hyphal_handshakes_failed_total", &[("reason", "Network")], failed[0].1);
    page.assert("hyphal_sessions_ended_total", &[("reason", "Shutdown")], 1);
    page.assert("hyphal_sessions_started_total", &[], 1);
    assert!(page.value("hyphal_sessions_ended_total", &[("reason", "Network")]).is_none());
}

#[tokio::test]
async fn only_as_many_peers_are_shown_as_is_wanted_and_the_rest_is_counted() {
    let node = listening(builder()).await;
    let added: Vec<NodeId> = (0..5).map(|_| crate::pair::identity().id()).collect();
    for id in &added {
        node.add_peer(*id, None).await.unwrap();
    }

    for (wanted, shown) in [(0, 0), (2, 2), (usize::MAX, 5)] {
        let address = serve(&node, wanted).await;
        let page = Page::scrape(address).await;

        let series = page.series.keys().filter(|series| series.starts_with("hyphal_peer_up{")).count();
        assert_eq!(series, shown);
        page.assert("hyphal_peers_unlisted", &[], 5 - shown as u64);
        page.assert("hyphal_peers", &[], 5);
    }
}

#[tokio::test]
async fn a_peer_that_was_removed_leaves_no_series_and_stays_in_the_totals() {
    let (left, right) = pair().await;
    let address = serve(&left, usize::MAX).await;
    let options = SendOptions::default();
    let (_, receipt) = left.send_direct_tracked(right.id(), 1, "one", options).await.unwrap();
    within(right.recv()).await.unwrap();
    let reader = right.clone();
    let _reading = tokio::spawn(async move { reader.recv().await });
    within(receipt).await;
    let before = Page::scrape(address).await;
    before.assert_peer("hyphal_peer_sent_messages_total", right.id(), 1);

    right.shutdown(Duration::ZERO).await;
    left.remove_peer(right.id()).await.unwrap();
    let after = Page::scrape(address).await;

    assert!(!after.text.contains(&right.id().to_string()));
    after.assert("hyphal_sent_messages_total", &[], 1);
    after.assert("hyphal_sent_confirmed_total", &[], 1);
}

#[tokio::test]
async fn whatever_clients_do_links_go_on_and_so_do_scrapes() {
    let (left, right) = pair().await;
    let address = serve(&left, usize::MAX).await;

    // Garbage, much of it, other requests, half of one, and nothing at all.
    let mut long = b"GET /metrics HTTP/1.1\r\nX: ".to_vec();
    long.resize(1024 * 1024, b'x');
    for (sent, status) in [
        (&b"\x00\xFF\x13garbage\r\n\r\n"[..], "400"),
        (&long, "431"),
        (b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "405"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "404"),
        (b"GET /../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", "404"),
        (b"HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "200"),
    ] {
        let answer = exchange(address, sent).await;
        // Of a request that is cut off while it is sent, the answer may be lost with the connection.
        let is_lost = answer.is_empty() && sent.len() > 64 * 1024;
        assert!(is_lost || answer.split(' ').nth(1) == Some(status), "{status}: {answer}");
    }
    let mut idle = Vec::new();
    for _ in 0..100 {
        let mut client = TcpStream::connect(address).await.unwrap();
        // Those without a seat may be gone by now.
        let _ = client.write_all(b"GET /met").await;
        idle.push(client);
    }

    // The links notice nothing while all seats are taken.
    left.send_direct(right.id(), 1, "still here", SendOptions::default()).await.unwrap();
    assert_eq!(within(right.recv()).await.unwrap().payload, "still here");
    assert_eq!(left.counters().sessions, 1);
    assert_eq!(left.counters().closed, []);

    drop(idle);
    let page = within(async {
        loop {
            // Until the seats of those who left are free.
            if let Some(page) = Page::try_scrape(address).await {
                return page;
            }
            tokio::task::yield_now().await;
        }
    });
    page.await.assert("hyphal_sessions_started_total", &[], 1);
}

#[tokio::test]
async fn the_facade_gets_the_same_numbers() {
    let (left, right) = narrow_pair().await;
    traffic(&left, &right).await;
    let page = Exposition::default();

    left.snapshot().await.record(&page, usize::MAX);
    // A recorder that is used again goes on where it was.
    left.snapshot().await.record(&page, usize::MAX);

    let page = Page::parse(page.to_string());
    page.assert("hyphal_sent_messages_total", &[], left.counters().sent.sent);
    page.assert_peer("hyphal_peer_sent_messages_total", right.id(), 3);
}

#[tokio::test]
async fn reporting_ends_with_the_node() {
    let node = listening(builder()).await;
    let reporting = tokio::spawn(report_every(node.clone(), Duration::from_secs(3600), 0));

    node.shutdown(Duration::ZERO).await;

    within(reporting).await.unwrap();
}

#[test]
fn the_document_has_every_metric() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let expected = document();

    if std::env::var_os("HYPHAL_BLESS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();

    assert_eq!(written, expected, "docs/metrics.md is stale: run the tests with HYPHAL_BLESS=1");
}

#[test]
fn names_follow_the_rules_of_prometheus() {
    for metric in table() {
        let name = metric.name;
        assert!(
            name.starts_with("hyphal_") && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
            "{name}"
        );
        assert_eq!(name.ends_with("_total"), metric.is_counter, "{name}");
        assert_eq!(table().filter(|other| other.name == name).count(), 1, "{name}");
        assert_eq!(metric.labels.contains(&"peer"), name.starts_with("hyphal_peer_"), "{name}");
    }
}

/// Six messages of `left`: three arrive at `right`, whose application wants one of them; of three for a peer that never comes,
/// one makes way for another, and two go with the peer.
async fn traffic(left: &Node, right: &Node) {
    let options = SendOptions::default();
    let mut wanted = right.subscribe(Filter::all().kind(1));
    // It ends with the test.
    tokio::spawn(async move { while wanted.recv().await.is_some() {} });
    for kind in 1..=3 {
        let (_, receipt) = left.send_direct_tracked(right.id(), kind, "known", options).await.unwrap();
        assert_eq!(within(receipt).await, Outcome::Delivered);
    }
    let ghost = crate::pair::identity().id();
    left.add_peer(ghost, None).await.unwrap();
    for overflow in [Overflow::Wait, Overflow::Wait, Overflow::Shed] {
        left.send_direct(ghost, 1, "for nobody", options.overflow(overflow)).await.unwrap();
    }
    left.remove_peer(ghost).await.unwrap();
}

/// Two nodes with a session; the first queues two messages for a peer at most.
async fn narrow_pair() -> (Node, Node) {
    let mut limits = Limits::default();
    limits.outbox_messages = 2;
    let left = listening(builder().limits(limits)).await;
    let right = crate::pair::dialling(builder(), &left).await;
    within(until(|| left.counters().sessions == 1 && right.counters().sessions == 1)).await;
    (left, right)
}

fn document() -> String {
    let mut out = INTRODUCTION.to_owned();
    for metric in table() {
        let kind = if metric.is_counter { "counter" } else { "gauge" };
        let unit = metric.unit.map_or("", |unit| unit.as_str());
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(out, "| `{}` | {kind} | {unit} | {} | {} |", metric.name, labels.join(", "), metric.doc)
            .unwrap();
    }
    out
}

const INTRODUCTION: &str = "# The numbers of a node

Written by `std-runtime/tests/runtime/metrics.rs` from the table in `std-runtime/src/metrics/table/`.

`hyphal node --metrics 127.0.0.1:4859` serves them for Prometheus at `http://127.0.0.1:4859/metrics`. There is **no
authentication**: whoever reaches the address reads all of this, the ids of peers included, so it should be one of the loopback,
or behind something that asks who is there; the command warns of others. Clients can take 16 connections and 10 seconds each,
and nothing else of the node.

```yaml
scrape_configs:
  - job_name: hyphal
    static_configs: [{ targets: [\"127.0.0.1:4859\"] }]
```

A program with a node of its own has the same numbers through the `metrics` facade, for any exporter:
`hyphal::metrics::report_every` hands them to the global recorder, `Snapshot::record` to any, `hyphal::metrics::Server` serves them.

The node counts whether anybody looks or not, and numbers are read when they are asked for: watching costs nothing on the way of
a message. Counters begin with the start of the node. Of removed peers nothing is shown by itself any more; what they
counted stays in the totals.

**Labels.** `reason` is a reason's name ([protocol.md](protocol.md), section 10; [recovery.md](recovery.md) says what happens
then); one that never occurred has no series. `outcome` is what a receipt says (`Delivered`, `Unconfirmed`, `Unknown`) or, of a
message that was given up, the reason. `reliability` is best-effort, high or guaranteed; a peer to which none of a kind was sent has no
series of that. `peer` is the id of a peer. Nothing that a peer chooses becomes a label, and at most `metrics_peers` peers are
shown one by one, those that were added first, then those with a session; 0 shows totals only.

**The balance.** sent = confirmed + unconfirmed + unknown + dropped (by reason) + queued + in flight + stored; and for each
reliability, accepted = outcomes + outstanding.

| name | kind | unit | labels | meaning |
|---|---|---|---|---|
";
