//! The table of metrics: name, unit, labels, meaning, and where the number comes from. docs/metrics.md is written from it.
//!
//! Names follow Prometheus: counters end in `_total`, units stand in the name. Labels are reasons, directions and ids of
//! peers, never what a peer chose. A new number of a node is a row here, in the file of what it tells of.

mod messages;
mod node;
mod peers;

use ::metrics::Unit;

use super::{Metric, Sink, Snapshot};

/// All rows, in the order of the document.
pub(super) fn metrics() -> impl Iterator<Item = &'static Metric> {
    [node::METRICS, messages::METRICS, peers::METRICS].into_iter().flatten()
}

const COUNT: Option<Unit> = Some(Unit::Count);
const BYTES: Option<Unit> = Some(Unit::Bytes);
const SECONDS: Option<Unit> = Some(Unit::Seconds);

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
