//! The numbers of a node for whoever watches over it: through the `metrics` facade, or as a page for Prometheus.
//!
//! ```text
//!   Node ──▶ Snapshot ──▶ table ──▶ any `metrics::Recorder`      record, report_every
//!                                └▶ Exposition ──▶ Server         GET /metrics
//! ```
//! A node counts for itself, in atomics that links touch once per batch, whether anybody looks or not; here these counts are
//! read, not kept a second time. So watching costs nothing on the way of a message, and all ways of watching show the numbers
//! of [`Node::counters`] and [`Node::peers`]. Invariant: the number of series is bounded by the table and by how many peers
//! the caller wants to see one by one; nothing that a peer sends becomes a label.

mod exposition;
mod server;
mod table;

use std::time::Duration;

use ::metrics::{Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit};
use hyphal_core::ids::{NodeId, Reliability};
use hyphal_core::time::UnixTime;
use hyphal_core::wire::reason::Reason;
use tokio::time::MissedTickBehavior;

use crate::counters::{ByReliability, Counters, Fates};
use crate::guaranteed::Guaranteed;
use crate::node::{Node, PeerInfo};
use crate::store::{StoreCounters, StoreFailure, StoreHoldings};
use crate::trust::Credential;

pub use exposition::Exposition;
pub use server::Server;

/// One metric as the documentation shows it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Metric {
    /// The name.
    pub name: &'static str,
    /// What it counts; `None` where that has no unit.
    pub unit: Option<Unit>,
    /// Whether the number only rises.
    pub is_counter: bool,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it means.
    pub doc: &'static str,
    read: fn(&Snapshot, &Sink<'_>),
}

/// All metrics, in the order of the documentation.
pub fn table() -> impl Iterator<Item = &'static Metric> {
    table::metrics()
}

/// All numbers of a node at one moment, about: each is exact, but they are not read at once.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// Whose numbers they are.
    pub id: NodeId,
    /// For how long the node has run.
    pub uptime: Duration,
    /// What it has done.
    pub counters: Counters,
    /// Its peers.
    pub peers: Vec<PeerInfo>,
    /// What it holds.
    pub holdings: Holdings,
}

/// What a node holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holdings {
    /// Connections that peers opened.
    pub connections: u64,
    /// Those of them whose handshake has not finished.
    pub handshakes: u64,
    /// Bytes reserved for large messages that arrive.
    pub assembly_bytes: u64,
    /// The most bytes that can be reserved so.
    pub assembly_limit: u64,
    /// Batches of messages that wait in the inbox.
    pub inbox_batches: u64,
    /// Bytes that these take up.
    pub inbox_bytes: u64,
    /// The store of Guaranteed messages; `None` if the node has none.
    pub store: Option<StoreHoldings>,
    /// When its own certificate expires, if it has one.
    pub certificate_expires: Option<UnixTime>,
    /// When the delegation of its key ends, if that is a delegated one.
    pub delegation_expires: Option<UnixTime>,
}

impl Node {
    /// All numbers of the node, for [`Snapshot::record`].
    pub async fn snapshot(&self) -> Snapshot {
        let peers = self.peers().await;
        let hub = self.hub();
        let (connections, handshakes) = hub.doors.occupied();
        let (assembly_bytes, assembly_limit) = hub.budget.occupied();
        let (inbox_batches, inbox_bytes) = hub.inbox.queue.occupied();
        Snapshot {
            id: self.id(),
            uptime: hub.clock.running(),
            counters: self.counters(),
            peers,
            holdings: Holdings {
                connections: connections as u64,
                handshakes: handshakes as u64,
                assembly_bytes,
                assembly_limit,
                inbox_batches: inbox_batches as u64,
                inbox_bytes: inbox_bytes as u64,
                store: hub.guaranteed.as_ref().map(Guaranteed::store_holdings),
                certificate_expires: hub.trust().own().map(Credential::not_after),
                delegation_expires: hub.plan.identity.delegation().map(|delegation| delegation.not_after),
            },
        }
    }
}

impl Snapshot {
    /// Hands every number to `recorder`, with its description: counters as absolute values, so a recorder that is used
    /// again goes on where it was.
    ///
    /// At most `peers` of them are shown one by one: those that were added first, then those with a session; the rest is in
    /// the totals, and `hyphal_peers_unlisted` tells how many that are. One that is shown no longer keeps its last numbers in
    /// a recorder that keeps series: give such a one 0 peers, or let it forget idle ones.
    pub fn record(&self, recorder: &dyn Recorder, peers: usize) {
        let mut listed: Vec<_> = self.peers.iter().collect();
        listed.sort_by_key(|peer| {
            (peer.status.config.is_none(), peer.status.session.is_none(), peer.status.id)
        });
        listed.truncate(peers);
        let listed = listed.into_iter().map(|info| Listed { label: info.status.id.to_string().into(), info });
        let listed: Vec<_> = listed.collect();
        for metric in table::metrics() {
            metric.describe(recorder);
            (metric.read)(self, &Sink { recorder, metric, listed: &listed });
        }
    }
}

impl Metric {
    fn describe(&self, recorder: &dyn Recorder) {
        let name = KeyName::from_const_str(self.name);
        if self.is_counter {
            recorder.describe_counter(name, self.unit, self.doc.into());
        } else {
            recorder.describe_gauge(name, self.unit, self.doc.into());
        }
    }
}

/// Reports the numbers of `node` to the process's recorder (`metrics::set_global_recorder`), at once and then every
/// `interval`, until the node has been shut down.
///
/// For exporters that push, or that serve a page of their own. See [`Snapshot::record`] for `peers`.
pub async fn report_every(node: Node, interval: Duration, peers: usize) {
    let mut ticks = tokio::time::interval(interval.max(SHORTEST_INTERVAL));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_last = tokio::select! {
            _ = ticks.tick() => false,
            () = node.hub().control.closed() => true,
        };
        let snapshot = node.snapshot().await;
        ::metrics::with_recorder(|recorder| snapshot.record(recorder, peers));
        if is_last {
            return;
        }
    }
}

/// Reading all numbers takes a lock of each peer for a moment.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// A peer that is shown by itself.
struct Listed<'s> {
    label: SharedString,
    info: &'s PeerInfo,
}

/// Takes the values of one metric.
struct Sink<'s> {
    recorder: &'s dyn Recorder,
    metric: &'s Metric,
    listed: &'s [Listed<'s>],
}

impl Sink<'_> {
    /// The value of the metric, or of one of its series: with a value for each of its labels.
    fn put<const N: usize>(&self, labels: [SharedString; N], value: impl Into<Value>) {
        debug_assert_eq!(self.metric.labels.len(), N, "{}", self.metric.name);
        let labels = self.metric.labels.iter().zip(labels).map(|(name, value)| Label::new(*name, value));
        let key = Key::from_parts(self.metric.name, labels.collect::<Vec<_>>());
        match value.into() {
            Value::Count(count) if self.metric.is_counter => {
                self.recorder.register_counter(&key, &METADATA).absolute(count);
            }
            Value::Count(count) => self.recorder.register_gauge(&key, &METADATA).set(count as f64),
            Value::Measure(measure) => self.recorder.register_gauge(&key, &METADATA).set(measure),
        }
    }

    /// A value for each reason that has one.
    fn put_reasons(&self, counts: &[(Reason, u64)]) {
        counts.iter().for_each(|&(reason, count)| self.put([reason.name().into()], count));
    }

    /// A value for each reliability.
    fn put_reliabilities(&self, fates: &ByReliability, value: impl Fn(&Fates) -> u64) {
        fates.iter().for_each(|(reliability, fates)| self.put([reliability.name().into()], value(fates)));
    }

    /// How many messages of each reliability met each outcome, where any did.
    fn put_outcomes(&self, fates: &ByReliability) {
        for (reliability, outcome, count) in outcomes(fates) {
            self.put([reliability.name().into(), outcome.into()], count);
        }
    }

    /// A number of what the store holds, if there is one.
    fn put_store(&self, s: &Snapshot, value: impl Fn(&StoreHoldings) -> u64) {
        if let Some(store) = &s.holdings.store {
            self.put([], value(store));
        }
    }

    /// A number of what the store has done, if there is one.
    fn put_stored(&self, s: &Snapshot, value: impl Fn(&StoreCounters) -> u64) {
        if let Some(store) = &s.counters.store {
            self.put([], value(store));
        }
    }

    /// A value for each way in which an operation of the store failed.
    fn put_failures(&self, operation: &'static str, counts: &[(StoreFailure, u64)]) {
        for &(failure, count) in counts {
            self.put([operation.into(), failure.name().into()], count);
        }
    }

    /// A moment, if there is one.
    fn put_time(&self, time: Option<UnixTime>) {
        if let Some(time) = time {
            self.put([], time.as_micros() as f64 / 1e6);
        }
    }

    /// A value for each peer that is shown and each reliability of which messages were sent to it.
    fn put_peers_reliabilities(&self, value: impl Fn(&Fates) -> u64) {
        for Listed { label, info } in self.listed {
            for (reliability, fates) in info.fates.iter().filter(|(_, fates)| fates.sent > 0) {
                self.put([label.clone(), reliability.name().into()], value(fates));
            }
        }
    }

    /// How many messages of each reliability to each peer that is shown met each outcome, where any did.
    fn put_peers_outcomes(&self) {
        for Listed { label, info } in self.listed {
            for (reliability, outcome, count) in outcomes(&info.fates) {
                self.put([label.clone(), reliability.name().into(), outcome.into()], count);
            }
        }
    }

    /// A value for each peer that is shown and has one.
    fn put_peers<V: Into<Value>>(&self, value: impl Fn(&PeerInfo) -> Option<V>) {
        for Listed { label, info } in self.listed {
            if let Some(value) = value(info) {
                self.put([label.clone()], value);
            }
        }
    }

    /// A value for each peer that is shown and each reason that has one there.
    fn put_peers_reasons(&self, counts: impl Fn(&PeerInfo) -> &[(Reason, u64)]) {
        for Listed { label, info } in self.listed {
            for &(reason, count) in counts(info) {
                self.put([label.clone(), reason.name().into()], count);
            }
        }
    }

    /// How many peers are shown.
    fn listed(&self) -> usize {
        self.listed.len()
    }
}

/// The outcomes that occurred: how a receipt names them, and of failures the reason.
fn outcomes(fates: &ByReliability) -> impl Iterator<Item = (Reliability, &'static str, u64)> {
    fates.iter().flat_map(|(reliability, fates)| {
        let Fates { confirmed, unconfirmed, unknown, .. } = *fates;
        let told = [("Delivered", confirmed), ("Unconfirmed", unconfirmed), ("Unknown", unknown)];
        let dropped = fates.dropped.iter().map(|(reason, count)| (reason.name(), *count));
        let all = told.into_iter().chain(dropped).filter(|&(_, count)| count != 0);
        all.map(move |(outcome, count)| (reliability, outcome, count))
    })
}

/// A number as a recorder takes it.
enum Value {
    Count(u64),
    Measure(f64),
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<f64> for Value {
    fn from(measure: f64) -> Self {
        Self::Measure(measure)
    }
}

/// The facade's filters see one target and one level for all.
static METADATA: Metadata<'static> = Metadata::new("hyphal", Level::INFO, Some(module_path!()));
