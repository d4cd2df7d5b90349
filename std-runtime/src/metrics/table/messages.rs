//! What is counted of the messages to and from all peers together.

use super::{BYTES, COUNT, counter, gauge};
use crate::counters::{Compression, Fates};
use crate::metrics::{Metric, Sink, Snapshot};

pub(super) const METRICS: &[Metric] = &[
    // Messages that were sent: sent = confirmed + unconfirmed + unknown + dropped + queued + in flight + stored.
    counter(
        "hyphal_sent_messages_total",
        COUNT,
        &[],
        "Messages accepted for sending, counted for each receiver; revocation lists, which the node sends by itself, are among them.",
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
];

fn both_ways(s: &Snapshot, sink: &Sink<'_>, value: fn(&Compression) -> u64) {
    sink.put(["sent".into()], value(&s.counters.compressed_sent));
    sink.put(["received".into()], value(&s.counters.compressed_received));
}
