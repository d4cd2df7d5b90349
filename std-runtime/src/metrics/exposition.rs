//! A recorder that keeps the last value of every series and writes all of them as Prometheus reads them: text format 0.0.4.
//!
//! For counters and gauges, as the table has no other; histograms are not kept. It is made anew for every page, so that a peer
//! that is gone leaves no series behind. Invariant: a page is the same for the same numbers, in order of names and labels.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::metrics::atomics::AtomicU64;
use ::metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// The numbers of one page.
#[derive(Debug, Default)]
pub struct Exposition {
    metrics: Mutex<BTreeMap<String, Series>>,
}

impl Exposition {
    /// The type of the content that [`Display`](fmt::Display) writes, as HTTP names it.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    fn metrics(&self) -> MutexGuard<'_, BTreeMap<String, Series>> {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn describe(&self, name: &KeyName, kind: Kind, doc: SharedString) {
        let mut metrics = self.metrics();
        let series = metrics.entry(name.as_str().to_owned()).or_default();
        // Also where it has no value: without peers, what is told of each.
        (series.kind, series.doc) = (kind, doc);
    }

    fn register(&self, key: &Key, kind: Kind) -> Arc<AtomicU64> {
        let mut metrics = self.metrics();
        let series = metrics.entry(key.name().to_owned()).or_default();
        series.kind = kind;
        Arc::clone(series.values.entry(labels_of(key)).or_default())
    }
}

impl Recorder for Exposition {
    fn describe_counter(&self, name: KeyName, _unit: Option<Unit>, doc: SharedString) {
        self.describe(&name, Kind::Counter, doc);
    }

    fn describe_gauge(&self, name: KeyName, _unit: Option<Unit>, doc: SharedString) {
        self.describe(&name, Kind::Gauge, doc);
    }

    fn describe_histogram(&self, _name: KeyName, _unit: Option<Unit>, _doc: SharedString) {}

    fn register_counter(&self, key: &Key, _metadata: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.register(key, Kind::Counter))
    }

    fn register_gauge(&self, key: &Key, _metadata: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.register(key, Kind::Gauge))
    }

    fn register_histogram(&self, _key: &Key, _metadata: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

impl fmt::Display for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, Series { kind, doc, values }) in self.metrics().iter() {
            write!(f, "# HELP {name} ")?;
            write_escaped(f, doc, false)?;
            writeln!(f, "\n# TYPE {name} {}", kind.name())?;
            for (labels, value) in values {
                write!(f, "{name}{labels} ")?;
                let bits = value.load(Relaxed);
                match kind {
                    Kind::Counter => writeln!(f, "{bits}")?,
                    Kind::Gauge => writeln!(f, "{}", f64::from_bits(bits))?,
                }
            }
        }
        Ok(())
    }
}

/// All series of one metric, by their labels as they are written.
#[derive(Debug, Default)]
struct Series {
    kind: Kind,
    doc: SharedString,
    values: BTreeMap<String, Arc<AtomicU64>>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Kind {
    #[default]
    Counter,
    Gauge,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// `{name="value",...}`, or nothing.
fn labels_of(key: &Key) -> String {
    let mut text = String::new();
    for label in key.labels() {
        text.push(if text.is_empty() { '{' } else { ',' });
        text.push_str(label.key());
        text.push_str("=\"");
        // Writing to a string does not fail.
        let _ = write_escaped(&mut text, label.value(), true);
        text.push('"');
    }
    if !text.is_empty() {
        text.push('}');
    }
    text
}

/// Backslashes and line ends would end the line or hide its end; so would quotes within quotes.
fn write_escaped(out: &mut impl Write, text: &str, is_quoted: bool) -> fmt::Result {
    for character in text.chars() {
        match character {
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '"' if is_quoted => out.write_str("\\\"")?,
            other => out.write_char(other)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ::metrics::{Label, Level};

    use super::*;

    #[test]
    fn a_page_has_help_and_type_and_every_series_in_order() {
        let page = Exposition::default();
        page.describe_gauge("b".into(), None, "what\nb \\ is".into());
        page.describe_counter("a_total".into(), None, "what a is".into());
        page.register_gauge(&Key::from_name("b"), &METADATA).set(1.5);
        for (value, count) in [("z", 3), ("\"\\\n", u64::MAX)] {
            let key = Key::from_parts("a_total", vec![Label::new("x", "1"), Label::new("y", value)]);
            page.register_counter(&key, &METADATA).absolute(count);
        }

        let written = page.to_string();

        let expected = [
            "# HELP a_total what a is",
            "# TYPE a_total counter",
            r#"a_total{x="1",y="\"\\\n"} 18446744073709551615"#,
            r#"a_total{x="1",y="z"} 3"#,
            r"# HELP b what\nb \\ is",
            "# TYPE b gauge",
            "b 1.5",
            "",
        ];
        assert_eq!(written, expected.join("\n"));
    }

    #[test]
    fn a_metric_without_values_is_described() {
        let page = Exposition::default();

        page.describe_counter("a_total".into(), None, "none yet".into());
        page.describe_gauge("b".into(), None, "nor here".into());

        let described =
            "# HELP a_total none yet\n# TYPE a_total counter\n# HELP b nor here\n# TYPE b gauge\n";
        assert_eq!(page.to_string(), described);
    }

    const METADATA: Metadata<'static> = Metadata::new("test", Level::INFO, None);
}
