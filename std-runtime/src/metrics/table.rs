//! The one table of metrics: name, unit, labels, meaning, and where the number comes from. docs/metrics.md is written from it.
//!
//! Names follow Prometheus: counters end in `_total`, units stand in the name. Labels are reasons, directions and ids of
//! peers, never what a peer chose. A new number of a node is a row here.

use ::metrics::Unit;
use hyphal_core::breaker;
use hyphal_core::health;

use super::{Metric, Sink, Snapshot};
use crate::counters::Compression;
use crate::node::PeerInfo;

pub(super) const METRICS: &[Metric] = &[
    // The node.
    gauge(
        "hyphal_node_info",
        None,
        &["id", "version"],
        "Always 1; the labels say which node of which version this is.",
        |s, sink| {
            sink.put([s.id.to_string().into(), env!("CARGO_PKG_VERSION").into()], 1);
        },
    ),
    gauge("hyphal_uptime_seconds", SECONDS, &[], "Since the node was started.", |s, sink| {
        sink.put([], s.uptime.as_secs_f64());
    }),
    // Messages that were sent: sent = confirmed + unconfirmed + unknown + dropped + queued + in flight + stored.
    counter(
        "hyphal_sent_messages_total",
        COUNT,
        &[],
        "Messages accepted for sending, counted for each receiver.",
        |s, sink| {
            sink.put([], s.counters.sent.sent);
        },
    ),
    counter(
        "hyphal_sent_confirmed_total",
        COUNT,
        &[],
        "Messages that the applications of peers have acknowledged.",
        |s, sink| {
            sink.put([], s.counters.sent.confirmed);
        },
    ),
    counter(
        "hyphal_sent_unconfirmed_total",
        COUNT,
        &[],
        "Messages that were sent and whose acknowledgement never came: perhaps delivered.",
        |s, sink| {
            sink.put([], s.counters.sent.unconfirmed);
        },
    ),
    counter(
        "hyphal_sent_unknown_total",
        COUNT,
        &[],
        "Guaranteed messages of which the receiver no longer knows whether they came.",
        |s, sink| {
            sink.put([], s.counters.sent.unknown);
        },
    ),
    counter(
        "hyphal_sent_dropped_total",
        COUNT,
        &["reason"],
        "Messages given up before they had left as a whole, the expired ones among them.",
        |s, sink| {
            sink.put_reasons(&s.counters.sent_dropped);
        },
    ),
    gauge("hyphal_sent_queued", COUNT, &[], "Messages that wait to be sent.", |s, sink| {
        sink.put([], s.counters.sent.queued);
    }),
    gauge("hyphal_sent_queued_bytes", BYTES, &[], "Payload bytes that wait to be sent.", |s, sink| {
        sink.put([], s.peers.iter().map(|peer| peer.queued_bytes).sum::<u64>());
    }),
    gauge("hyphal_sent_stored", COUNT, &[], "Guaranteed messages in the store.", |s, sink| {
        sink.put([], s.counters.sent.stored);
    }),
    gauge(
        "hyphal_sent_in_flight",
        COUNT,
        &[],
        "Messages that were sent and are kept or awaited until they are acknowledged.",
        |s, sink| {
            sink.put([], s.counters.sent.in_flight);
        },
    ),
    // Messages that were received.
    counter(
        "hyphal_received_messages_total",
        COUNT,
        &[],
        "Messages received whole, in time and for the first time; those that were not delivered after all, as NoReceiver, are in hyphal_received_dropped_total, too.",
        |s, sink| {
            sink.put([], s.counters.received);
        },
    ),
    counter(
        "hyphal_received_dropped_total",
        COUNT,
        &["reason"],
        "Messages received and not delivered.",
        |s, sink| {
            sink.put_reasons(&s.counters.received_dropped);
        },
    ),
    counter(
        "hyphal_seals_opened_total",
        COUNT,
        &[],
        "Messages received whose seals were opened; hyphal_received_dropped_total has the others: BadSeal.",
        |s, sink| {
            sink.put([], s.counters.seals_opened);
        },
    ),
    counter(
        "hyphal_signatures_verified_total",
        COUNT,
        &[],
        "Messages received whose signatures were verified; hyphal_received_dropped_total has the others: BadSignature.",
        |s, sink| {
            sink.put([], s.counters.signatures_verified);
        },
    ),
    // Bytes on links.
    counter(
        "hyphal_sent_bytes_total",
        BYTES,
        &[],
        "Bytes written to links, handshakes included.",
        |s, sink| {
            sink.put([], s.counters.bytes_sent);
        },
    ),
    counter(
        "hyphal_received_bytes_total",
        BYTES,
        &[],
        "Bytes read from links, handshakes included.",
        |s, sink| {
            sink.put([], s.counters.bytes_received);
        },
    ),
    // Compression.
    counter(
        "hyphal_compressed_messages_total",
        COUNT,
        &["direction"],
        "Messages that were sent or taken compressed; direction is sent or received.",
        |s, sink| {
            both_ways(s, sink, |compression| compression.messages);
        },
    ),
    counter(
        "hyphal_compressed_original_bytes_total",
        BYTES,
        &["direction"],
        "Bytes of their payloads as applications have them.",
        |s, sink| {
            both_ways(s, sink, |compression| compression.original);
        },
    ),
    counter(
        "hyphal_compressed_bytes_total",
        BYTES,
        &["direction"],
        "Bytes of the same compressed.",
        |s, sink| {
            both_ways(s, sink, |compression| compression.compressed);
        },
    ),
    // Connections, handshakes, sessions.
    counter(
        "hyphal_connections_accepted_total",
        COUNT,
        &[],
        "Connections that listeners accepted.",
        |s, sink| {
            sink.put([], s.counters.accepted);
        },
    ),
    counter(
        "hyphal_connections_dialled_total",
        COUNT,
        &[],
        "Connections that this node opened.",
        |s, sink| {
            sink.put([], s.counters.dialled);
        },
    ),
    counter(
        "hyphal_connections_refused_total",
        COUNT,
        &["reason"],
        "Connections turned away before a handshake.",
        |s, sink| {
            sink.put_reasons(&s.counters.refused);
        },
    ),
    gauge("hyphal_connections", COUNT, &[], "Connections that peers opened and that are open.", |s, sink| {
        sink.put([], s.holdings.connections);
    }),
    gauge("hyphal_handshakes", COUNT, &[], "Those of them whose handshake has not finished.", |s, sink| {
        sink.put([], s.holdings.handshakes);
    }),
    counter(
        "hyphal_handshakes_failed_total",
        COUNT,
        &["reason"],
        "Links that ended before a session was up, and dials that reached nobody.",
        |s, sink| {
            sink.put_reasons(&s.counters.failed);
        },
    ),
    counter(
        "hyphal_sessions_started_total",
        COUNT,
        &[],
        "Sessions that came up: handshakes that succeeded, of peers that were let in.",
        |s, sink| {
            sink.put([], s.counters.sessions);
        },
    ),
    counter("hyphal_sessions_ended_total", COUNT, &["reason"], "Sessions that ended.", |s, sink| {
        let failed = |reason| {
            s.counters.failed.iter().find(|(other, _)| *other == reason).map_or(0, |(_, count)| *count)
        };
        let ended =
            s.counters.closed.iter().map(|&(reason, count)| (reason, count.saturating_sub(failed(reason))));
        sink.put_reasons(&ended.filter(|&(_, count)| count != 0).collect::<Vec<_>>());
    }),
    counter(
        "hyphal_datagrams_dropped_total",
        COUNT,
        &["reason"],
        "Datagrams that were forged, damaged, doubled, late, or nobody's. Anybody can cause them.",
        |s, sink| {
            sink.put_reasons(&s.counters.strays);
        },
    ),
    // What was changed while it ran.
    counter(
        "hyphal_reloads_total",
        COUNT,
        &[],
        "Times that peers and trust were taken anew as a whole.",
        |s, sink| {
            sink.put([], s.counters.reloads);
        },
    ),
    // Memory.
    gauge(
        "hyphal_assembly_bytes",
        BYTES,
        &[],
        "Memory reserved for large messages that arrive.",
        |s, sink| {
            sink.put([], s.holdings.assembly_bytes);
        },
    ),
    gauge(
        "hyphal_assembly_limit_bytes",
        BYTES,
        &[],
        "The most that can be reserved so: limits.assembly_bytes.",
        |s, sink| {
            sink.put([], s.holdings.assembly_limit);
        },
    ),
    gauge(
        "hyphal_inbox_batches",
        COUNT,
        &[],
        "Batches of messages that wait until the application takes them.",
        |s, sink| {
            sink.put([], s.holdings.inbox_batches);
        },
    ),
    gauge("hyphal_inbox_bytes", BYTES, &[], "Bytes that these batches take up.", |s, sink| {
        sink.put([], s.holdings.inbox_bytes);
    }),
    // Peers.
    gauge("hyphal_peers", COUNT, &[], "Peers that the node knows.", |s, sink| {
        sink.put([], s.peers.len() as u64);
    }),
    gauge("hyphal_sessions", COUNT, &[], "Peers with which a session is up.", |s, sink| {
        sink.put([], s.peers.iter().filter(|peer| peer.status.session.is_some()).count() as u64);
    }),
    gauge(
        "hyphal_peers_unlisted",
        COUNT,
        &[],
        "Peers that are not shown one by one below: metrics_peers is less than there are.",
        |s, sink| {
            sink.put([], s.peers.len().saturating_sub(sink.listed()) as u64);
        },
    ),
    gauge("hyphal_peer_up", None, PEER, "1 while a session with the peer is up, else 0.", |_, sink| {
        sink.put_peers(|peer| Some(u64::from(peer.status.session.is_some())));
    }),
    gauge("hyphal_peer_health", None, PEER, "0 healthy, 1 degraded, 2 suspect, 3 down.", |_, sink| {
        sink.put_peers(|peer| Some(health_number(peer)));
    }),
    gauge(
        "hyphal_peer_breaker",
        None,
        PEER,
        "0 closed (everything passes), 1 half-open (one trial), 2 open (nothing).",
        |_, sink| {
            sink.put_peers(|peer| Some(breaker_number(peer)));
        },
    ),
    gauge(
        "hyphal_peer_rtt_seconds",
        SECONDS,
        PEER,
        "The smoothed round trip time of the session; absent without one.",
        |_, sink| {
            sink.put_peers(|peer| peer.status.rtt.map(|rtt| rtt.smoothed.as_secs_f64()));
        },
    ),
    counter("hyphal_peer_sessions_total", COUNT, PEER, "Sessions with the peer that came up.", |_, sink| {
        sink.put_peers(|peer| Some(peer.status.sessions));
    }),
    counter("hyphal_peer_sent_messages_total", COUNT, PEER, "As hyphal_sent_messages_total.", |_, sink| {
        sink.put_peers(|peer| Some(peer.sent.sent));
    }),
    counter("hyphal_peer_sent_confirmed_total", COUNT, PEER, "As hyphal_sent_confirmed_total.", |_, sink| {
        sink.put_peers(|peer| Some(peer.sent.confirmed));
    }),
    counter(
        "hyphal_peer_sent_unconfirmed_total",
        COUNT,
        PEER,
        "As hyphal_sent_unconfirmed_total.",
        |_, sink| {
            sink.put_peers(|peer| Some(peer.sent.unconfirmed));
        },
    ),
    counter("hyphal_peer_sent_unknown_total", COUNT, PEER, "As hyphal_sent_unknown_total.", |_, sink| {
        sink.put_peers(|peer| Some(peer.sent.unknown));
    }),
    gauge("hyphal_peer_sent_stored", COUNT, PEER, "As hyphal_sent_stored.", |_, sink| {
        sink.put_peers(|peer| Some(peer.sent.stored));
    }),
    counter(
        "hyphal_peer_sent_dropped_total",
        COUNT,
        &["peer", "reason"],
        "As hyphal_sent_dropped_total.",
        |_, sink| {
            sink.put_peers_reasons(|peer| &peer.sent_dropped);
        },
    ),
    gauge("hyphal_peer_sent_queued", COUNT, PEER, "As hyphal_sent_queued.", |_, sink| {
        sink.put_peers(|peer| Some(peer.sent.queued));
    }),
    gauge("hyphal_peer_sent_queued_bytes", BYTES, PEER, "As hyphal_sent_queued_bytes.", |_, sink| {
        sink.put_peers(|peer| Some(peer.queued_bytes));
    }),
    gauge("hyphal_peer_sent_in_flight", COUNT, PEER, "As hyphal_sent_in_flight.", |_, sink| {
        sink.put_peers(|peer| Some(peer.sent.in_flight));
    }),
    counter(
        "hyphal_peer_received_messages_total",
        COUNT,
        PEER,
        "As hyphal_received_messages_total.",
        |_, sink| {
            sink.put_peers(|peer| Some(peer.received));
        },
    ),
    counter(
        "hyphal_peer_received_dropped_total",
        COUNT,
        &["peer", "reason"],
        "As hyphal_received_dropped_total.",
        |_, sink| {
            sink.put_peers_reasons(|peer| &peer.received_dropped);
        },
    ),
    counter(
        "hyphal_peer_sent_bytes_total",
        BYTES,
        PEER,
        "Bytes written to the links of the peer since they came up.",
        |_, sink| {
            sink.put_peers(|peer| Some(peer.bytes_sent));
        },
    ),
    counter(
        "hyphal_peer_received_bytes_total",
        BYTES,
        PEER,
        "Bytes read from the links of the peer since they came up.",
        |_, sink| {
            sink.put_peers(|peer| Some(peer.bytes_received));
        },
    ),
];

const COUNT: Option<Unit> = Some(Unit::Count);
const BYTES: Option<Unit> = Some(Unit::Bytes);
const SECONDS: Option<Unit> = Some(Unit::Seconds);
const PEER: &[&str] = &["peer"];

const fn counter(
    name: &'static str,
    unit: Option<Unit>,
    labels: &'static [&'static str],
    doc: &'static str,
    read: fn(&Snapshot, &Sink<'_>),
) -> Metric {
    Metric { name, unit, is_counter: true, labels, doc, read }
}

const fn gauge(
    name: &'static str,
    unit: Option<Unit>,
    labels: &'static [&'static str],
    doc: &'static str,
    read: fn(&Snapshot, &Sink<'_>),
) -> Metric {
    Metric { name, unit, is_counter: false, labels, doc, read }
}

fn both_ways(s: &Snapshot, sink: &Sink<'_>, value: fn(&Compression) -> u64) {
    sink.put(["sent".into()], value(&s.counters.compressed_sent));
    sink.put(["received".into()], value(&s.counters.compressed_received));
}

fn health_number(peer: &PeerInfo) -> u64 {
    match peer.status.health {
        health::State::Healthy => 0,
        health::State::Degraded => 1,
        health::State::Suspect => 2,
        health::State::Down => 3,
    }
}

fn breaker_number(peer: &PeerInfo) -> u64 {
    match peer.status.breaker {
        breaker::State::Closed => 0,
        breaker::State::HalfOpen => 1,
        breaker::State::Open => 2,
    }
}
