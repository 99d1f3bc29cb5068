//! Registers metrics, and remembers what was registered: the book and the dashboard are checked against it.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use super::family::{Counters, Gauges, Histograms, Labelled};
use super::labels::LabelSet;

/// In front of every name.
const PREFIX: &str = "ampacity";

/// What is known of a metric, whether it has a value or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricFacts {
    /// Its name, as it is queried; of a histogram, without `_bucket`, `_sum` and `_count`.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub type_: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
}

/// A registry in the making.
pub(super) struct Registration {
    pub(super) registry: Registry,
    pub(super) facts: Vec<MetricFacts>,
}

impl Registration {
    pub(super) fn new() -> Self {
        Self {
            registry: Registry::with_prefix(PREFIX),
            facts: Vec::new(),
        }
    }

    fn add<M: TypedMetric>(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
        metric: impl Metric,
    ) {
        // The exposition format ends the names of counters so.
        let suffix = match M::TYPE.as_str() {
            "counter" => "_total",
            _ => "",
        };
        self.facts.push(MetricFacts {
            name: format!("{PREFIX}_{name}{suffix}"),
            type_: M::TYPE.as_str(),
            labels,
        });
        self.registry.register(name, help, metric);
    }

    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str) -> Gauge {
        let gauge = Gauge::default();
        self.add::<Gauge>(name, help, &[], gauge.clone());
        gauge
    }

    /// A gauge of something that has fractions.
    pub(super) fn decimal_gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
    ) -> Gauge<f64, AtomicU64> {
        let gauge = Gauge::default();
        self.add::<Gauge>(name, help, &[], gauge.clone());
        gauge
    }

    pub(super) fn counter(&mut self, name: &'static str, help: &'static str) -> Counter {
        let counter = Counter::default();
        self.add::<Counter>(name, help, &[], counter.clone());
        counter
    }

    pub(super) fn histogram(
        &mut self,
        name: &'static str,
        help: &'static str,
        new_histogram: fn() -> Histogram,
    ) -> Histogram {
        let histogram = new_histogram();
        self.add::<Histogram>(name, help, &[], histogram.clone());
        histogram
    }

    pub(super) fn gauges<L: LabelSet>(
        &mut self,
        name: &'static str,
        help: &'static str,
    ) -> Gauges<L> {
        let gauges = Labelled::new(Gauge::default);
        self.add::<Gauge>(name, help, L::NAMES, gauges.family());
        gauges
    }

    pub(super) fn counters<L: LabelSet>(
        &mut self,
        name: &'static str,
        help: &'static str,
    ) -> Counters<L> {
        let counters = Labelled::new(Counter::default);
        self.add::<Counter>(name, help, L::NAMES, counters.family());
        counters
    }

    pub(super) fn histograms<L: LabelSet>(
        &mut self,
        name: &'static str,
        help: &'static str,
        new_histogram: fn() -> Histogram,
    ) -> Histograms<L> {
        let histograms = Labelled::new(new_histogram);
        self.add::<Histogram>(name, help, L::NAMES, histograms.family());
        histograms
    }
}
