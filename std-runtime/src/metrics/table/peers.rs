//! What is counted of each peer that is shown by itself: most of what is counted in total.

use hyphal_core::{breaker, health};

use super::{BYTES, COUNT, SECONDS, counter, gauge};
use crate::counters::Fates;
use crate::metrics::Metric;
use crate::node::PeerInfo;

pub(super) const METRICS: &[Metric] = &[
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

const PEER: &[&str] = &["peer"];

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
