//! The one table of metrics: name, unit, labels, meaning, and where the number comes from. docs/metrics.md is written from it.
//!
//! Names follow Prometheus: counters end in `_total`, units stand in the name. Labels are reasons, directions and ids of
//! peers, never what a peer chose. A new number of a node is a row here.

use ::metrics::Unit;
use hyphal_core::breaker;
use hyphal_core::health;

use super::{Metric, Sink, Snapshot};
use crate::counters::{Compression, Fates, ReloadRefusals};
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
    // The same by reliability: accepted = outcomes + outstanding.
    counter(
        "hyphal_sent_accepted_total",
        COUNT,
        &["reliability"],
        "As hyphal_sent_messages_total, by reliability.",
        |s, sink| {
            sink.put_reliabilities(&s.counters.fates, |fates| fates.sent);
        },
    ),
    counter(
        "hyphal_sent_outcomes_total",
        COUNT,
        &["reliability", "outcome"],
        "What became of them: Delivered, Unconfirmed, Unknown, or the reason for which they were given up, as Expired.",
        |s, sink| {
            sink.put_outcomes(&s.counters.fates);
        },
    ),
    counter(
        "hyphal_sent_requeued_total",
        COUNT,
        &["reliability"],
        "How often a message was put back to be sent again: High ones when their session ended before their acknowledgement, Guaranteed ones when they are sent again.",
        |s, sink| {
            sink.put_reliabilities(&s.counters.fates, |fates| fates.requeued);
        },
    ),
    gauge(
        "hyphal_sent_outstanding",
        COUNT,
        &["reliability"],
        "Messages that have no outcome yet: queued, stored or in flight.",
        |s, sink| {
            sink.put_reliabilities(&s.counters.fates, Fates::outstanding);
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
    // Seals and signatures.
    counter(
        "hyphal_seals_made_total",
        COUNT,
        &[],
        "Messages that were sealed, queued afterwards or refused by a full queue.",
        |s, sink| {
            sink.put([], s.counters.protected.sealed);
        },
    ),
    counter(
        "hyphal_seals_opened_total",
        COUNT,
        &[],
        "Messages received whose seals were opened; hyphal_envelopes_refused_total has the others: BadSeal.",
        |s, sink| {
            sink.put([], s.counters.protected.opened);
        },
    ),
    counter(
        "hyphal_signatures_made_total",
        COUNT,
        &[],
        "Messages that were signed, queued afterwards or refused by a full queue; a broadcast is one.",
        |s, sink| {
            sink.put([], s.counters.protected.signed);
        },
    ),
    counter(
        "hyphal_signatures_verified_total",
        COUNT,
        &[],
        "Messages received whose signatures were verified; hyphal_envelopes_refused_total has the others: BadSignature.",
        |s, sink| {
            sink.put([], s.counters.protected.verified);
        },
    ),
    counter(
        "hyphal_envelopes_refused_total",
        COUNT,
        &["reason"],
        "Sealed or signed messages received and not taken: the seal does not open (BadSeal), the signature does not hold (BadSignature), or the envelope is wrong. hyphal_received_dropped_total has them, too.",
        |s, sink| {
            sink.put_reasons(&s.counters.protected.refused);
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
    counter(
        "hyphal_peer_sent_accepted_total",
        COUNT,
        &["peer", "reliability"],
        "As hyphal_sent_accepted_total.",
        |_, sink| {
            sink.put_peers_reliabilities(|fates| fates.sent);
        },
    ),
    counter(
        "hyphal_peer_sent_outcomes_total",
        COUNT,
        &["peer", "reliability", "outcome"],
        "As hyphal_sent_outcomes_total.",
        |_, sink| {
            sink.put_peers_outcomes();
        },
    ),
    counter(
        "hyphal_peer_sent_requeued_total",
        COUNT,
        &["peer", "reliability"],
        "As hyphal_sent_requeued_total.",
        |_, sink| {
            sink.put_peers_reliabilities(|fates| fates.requeued);
        },
    ),
    gauge(
        "hyphal_peer_sent_outstanding",
        COUNT,
        &["peer", "reliability"],
        "As hyphal_sent_outstanding.",
        |_, sink| {
            sink.put_peers_reliabilities(Fates::outstanding);
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
    counter("hyphal_peer_seals_made_total", COUNT, PEER, "As hyphal_seals_made_total.", |_, sink| {
        sink.put_peers(|peer| Some(peer.protected.sealed));
    }),
    counter("hyphal_peer_seals_opened_total", COUNT, PEER, "As hyphal_seals_opened_total.", |_, sink| {
        sink.put_peers(|peer| Some(peer.protected.opened));
    }),
    counter(
        "hyphal_peer_signatures_made_total",
        COUNT,
        PEER,
        "As hyphal_signatures_made_total, without broadcasts.",
        |_, sink| {
            sink.put_peers(|peer| Some(peer.protected.signed));
        },
    ),
    counter(
        "hyphal_peer_signatures_verified_total",
        COUNT,
        PEER,
        "As hyphal_signatures_verified_total.",
        |_, sink| {
            sink.put_peers(|peer| Some(peer.protected.verified));
        },
    ),
    counter(
        "hyphal_peer_envelopes_refused_total",
        COUNT,
        &["peer", "reason"],
        "As hyphal_envelopes_refused_total.",
        |_, sink| {
            sink.put_peers_reasons(|peer| &peer.protected.refused);
        },
    ),
    counter(
        "hyphal_peer_certificates_accepted_total",
        COUNT,
        PEER,
        "Certificates that the peer showed and that held, of sessions that came up.",
        |_, sink| {
            sink.put_peers(|peer| Some(peer.certification.certificates_accepted));
        },
    ),
    counter(
        "hyphal_peer_certificates_refused_total",
        COUNT,
        &["peer", "reason"],
        "As hyphal_certificates_refused_total; of peers that the node knew before only.",
        |_, sink| {
            sink.put_peers_reasons(|peer| &peer.certification.certificates_refused);
        },
    ),
    counter(
        "hyphal_peer_revocation_lists_adopted_total",
        COUNT,
        PEER,
        "Newer revocation lists from the peer that count.",
        |_, sink| {
            sink.put_peers(|peer| Some(peer.certification.lists_adopted));
        },
    ),
    counter(
        "hyphal_peer_revocation_lists_refused_total",
        COUNT,
        &["peer", "reason"],
        "As hyphal_revocation_lists_refused_total.",
        |_, sink| {
            sink.put_peers_reasons(|peer| &peer.certification.lists_refused);
        },
    ),
    counter(
        "hyphal_peer_revocation_lists_sent_total",
        COUNT,
        PEER,
        "As hyphal_revocation_lists_sent_total.",
        |_, sink| {
            sink.put_peers(|peer| Some(peer.certification.lists_sent));
        },
    ),
    counter(
        "hyphal_peer_revocation_lists_unsent_total",
        COUNT,
        PEER,
        "As hyphal_revocation_lists_unsent_total.",
        |_, sink| {
            sink.put_peers(|peer| Some(peer.certification.lists_unsent));
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
