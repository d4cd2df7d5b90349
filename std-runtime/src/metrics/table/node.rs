//! What is counted of the node as a whole: its connections, certificates, store, settings and memory.

use super::{BYTES, COUNT, SECONDS, counter, gauge};
use crate::counters::ReloadRefusals;
use crate::metrics::Metric;

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
    // Certificates and revocation lists.
    counter(
        "hyphal_certificates_accepted_total",
        COUNT,
        &[],
        "Certificates that peers showed in handshakes and that hold; under the policy certified, that admit them.",
        |s, sink| {
            sink.put([], s.counters.certification.certificates_accepted);
        },
    ),
    counter(
        "hyphal_certificates_refused_total",
        COUNT,
        &["reason"],
        "Certificates that do not; under the policy certified missing ones, too (NoCertificate). Whoever dials can cause them.",
        |s, sink| {
            sink.put_reasons(&s.counters.certification.certificates_refused);
        },
    ),
    counter(
        "hyphal_revocation_lists_adopted_total",
        COUNT,
        &["from"],
        "Newer revocation lists that count; from peer, or from file: read while the node ran.",
        |s, sink| {
            sink.put(["peer".into()], s.counters.certification.lists_adopted);
            sink.put(["file".into()], s.counters.lists_from_files);
        },
    ),
    counter(
        "hyphal_revocation_lists_refused_total",
        COUNT,
        &["reason"],
        "Revocation lists from peers that were not taken: not newer (Duplicate, which is usual), of an authority that is none here (Untrusted), broken or forged.",
        |s, sink| {
            sink.put_reasons(&s.counters.certification.lists_refused);
        },
    ),
    counter(
        "hyphal_revocation_lists_sent_total",
        COUNT,
        &[],
        "Times that a revocation list was queued for a peer.",
        |s, sink| {
            sink.put([], s.counters.certification.lists_sent);
        },
    ),
    counter(
        "hyphal_revocation_lists_unsent_total",
        COUNT,
        &[],
        "Times that a peer could take none, as its queue was full or the list is too long for it.",
        |s, sink| {
            sink.put([], s.counters.certification.lists_unsent);
        },
    ),
    counter(
        "hyphal_revocation_lists_unkept_total",
        COUNT,
        &[],
        "Revocation lists that count and could not be written down, so that they are not passed on: see the log.",
        |s, sink| {
            sink.put([], s.counters.lists_unkept);
        },
    ),
    gauge(
        "hyphal_certificate_expiry_seconds",
        SECONDS,
        &[],
        "When this node's certificate expires, in seconds since 1970; absent without one.",
        |s, sink| {
            sink.put_time(s.holdings.certificate_expires);
        },
    ),
    gauge(
        "hyphal_delegation_expiry_seconds",
        SECONDS,
        &[],
        "When the delegation of this node's key ends, in seconds since 1970; absent if the key is its own.",
        |s, sink| {
            sink.put_time(s.holdings.delegation_expires);
        },
    ),
    // The store of Guaranteed messages: stored before + appended - removed = messages.
    gauge(
        "hyphal_store_state",
        None,
        &[],
        "0 takes messages, 1 its disk is full, 2 its disk fails (start the node anew). Rows of the store are absent without one.",
        |s, sink| {
            sink.put_store(s, |store| store.state as u64);
        },
    ),
    gauge("hyphal_store_file_bytes", BYTES, &[], "Bytes of its file.", |s, sink| {
        sink.put_store(s, |store| store.file_bytes);
    }),
    gauge(
        "hyphal_store_bytes",
        BYTES,
        &[],
        "Bytes of messages in it or on their way into it, as store.bytes counts them.",
        |s, sink| {
            sink.put_store(s, |store| store.bytes);
        },
    ),
    gauge("hyphal_store_limit_bytes", BYTES, &[], "The most that these can be: store.bytes.", |s, sink| {
        sink.put_store(s, |store| store.limit);
    }),
    gauge(
        "hyphal_store_messages",
        COUNT,
        &[],
        "Messages in its file, those included that have an outcome and go with the next commit.",
        |s, sink| {
            sink.put_store(s, |store| store.messages);
        },
    ),
    gauge(
        "hyphal_store_lanes",
        COUNT,
        &["direction"],
        "Lanes in it; direction is sent or received.",
        |s, sink| {
            if let Some(store) = &s.holdings.store {
                sink.put(["sent".into()], store.send_lanes);
                sink.put(["received".into()], store.receive_lanes);
            }
        },
    ),
    counter(
        "hyphal_store_commits_total",
        COUNT,
        &[],
        "Transactions that are on its disk; each is a sync for all that came meanwhile.",
        |s, sink| {
            sink.put_stored(s, |store| store.commits);
        },
    ),
    counter("hyphal_store_appended_total", COUNT, &[], "Messages that were stored.", |s, sink| {
        sink.put_stored(s, |store| store.appended);
    }),
    counter(
        "hyphal_store_removed_total",
        COUNT,
        &[],
        "Messages that were removed, as they have an outcome.",
        |s, sink| {
            sink.put_stored(s, |store| store.removed);
        },
    ),
    counter(
        "hyphal_store_arrivals_saved_total",
        COUNT,
        &[],
        "Times that it was saved what has arrived of a lane of a peer.",
        |s, sink| {
            sink.put_stored(s, |store| store.saved);
        },
    ),
    counter(
        "hyphal_store_lanes_forgotten_total",
        COUNT,
        &[],
        "Lanes of peers that made room for others: what has arrived of them is no longer known.",
        |s, sink| {
            sink.put_stored(s, |store| store.forgotten);
        },
    ),
    counter(
        "hyphal_store_failures_total",
        COUNT,
        &["operation", "failure"],
        "What failed: a commit, a read of messages, or an append: a message that was refused. failure is Full (store.bytes), DiskFull, Broken, NoLane or Closed.",
        |s, sink| {
            if let Some(store) = &s.counters.store {
                sink.put_failures("commit", &store.failed_commits);
                sink.put_failures("read", &store.failed_reads);
                sink.put_failures("append", &store.refused);
            }
        },
    ),
    counter(
        "hyphal_lanes_refused_total",
        COUNT,
        &[],
        "Times that a peer said that it takes no Guaranteed messages of a class in this session; they stay stored.",
        |s, sink| {
            sink.put([], s.counters.lanes_refused);
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
    counter("hyphal_trust_changes_total", COUNT, &[], "Times that trust alone was taken anew.", |s, sink| {
        sink.put([], s.counters.trust_changes);
    }),
    counter(
        "hyphal_reloads_refused_total",
        COUNT,
        &["cause"],
        "Times that either was refused, the old one staying in force: the configuration is unreadable, or wrong in its trust (or a file that it names), a peer, or the room for peers.",
        |s, sink| {
            let ReloadRefusals { unreadable, trust, peer, room } = s.counters.reloads_refused;
            let counts = [("unreadable", unreadable), ("trust", trust), ("peer", peer), ("room", room)];
            counts.into_iter().for_each(|(cause, count)| sink.put([cause.into()], count));
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
];
