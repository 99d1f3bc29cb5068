//! What is counted and measured, in Prometheus' text format.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ClusterLabel {
    cluster: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DomainLabel {
    domain: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CallLabel {
    call: String,
    outcome: String,
}

/// The operator's metrics; clones share the same values.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    epoch: Gauge<i64, AtomicI64>,
    considered: Counter,
    placed: Counter,
    plan_seconds: Histogram,
    waiting: Gauge<i64, AtomicI64>,
    watch_failures: Family<ClusterLabel, Counter>,
    calls: Family<CallLabel, Counter>,
    watts: Gauge<i64, AtomicI64>,
    headroom_watts: Family<DomainLabel, Gauge<i64, AtomicI64>>,
    usd_micro_per_hour: Gauge<i64, AtomicI64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let epoch = Gauge::default();
        let considered = Counter::default();
        let placed = Counter::default();
        let plan_seconds = Histogram::new(exponential_buckets(0.0001, 4.0, 10));
        let waiting = Gauge::default();
        let watch_failures = Family::default();
        let calls = Family::default();
        let watts = Gauge::default();
        let headroom_watts = Family::default();
        let usd_micro_per_hour = Gauge::default();
        let mut registry = Registry::with_prefix("ampacity");
        registry.register(
            "leader_epoch",
            "Fencing epoch while leading, 0 on standby",
            epoch.clone(),
        );
        registry.register(
            "jobs_considered",
            "Jobs handed to the engine",
            considered.clone(),
        );
        registry.register(
            "placements_decided",
            "Placements that the engine decided on",
            placed.clone(),
        );
        registry.register_with_unit(
            "plan",
            "Time of one planning cycle",
            Unit::Seconds,
            plan_seconds.clone(),
        );
        registry.register("jobs_waiting", "Jobs that want a place", waiting.clone());
        registry.register(
            "watch_failures",
            "Failed watches, by member cluster",
            Family::clone(&watch_failures),
        );
        registry.register(
            "api_calls",
            "API writes, by call and outcome",
            Family::clone(&calls),
        );
        registry.register(
            "power_domain_headroom_watts",
            "Watts that may still be reserved under a power domain; below 0 where it is overloaded",
            Family::clone(&headroom_watts),
        );
        registry.register("reserved_watts", "Watts of all placements", watts.clone());
        registry.register(
            "usd_micro_per_hour",
            "Millionths of a dollar per hour of all placements",
            usd_micro_per_hour.clone(),
        );
        Self {
            registry: Arc::new(registry),
            epoch,
            considered,
            placed,
            plan_seconds,
            waiting,
            watch_failures,
            calls,
            watts,
            headroom_watts,
            usd_micro_per_hour,
        }
    }
}

impl Metrics {
    /// Leadership was won.
    pub fn set_leading(&self, epoch: i64) {
        self.epoch.set(epoch);
    }

    /// A planning cycle ended.
    pub fn planned(&self, considered: usize, placed: usize, took: Duration) {
        self.considered.inc_by(considered as u64);
        self.placed.inc_by(placed as u64);
        self.plan_seconds.observe(took.as_secs_f64());
    }

    /// State of the ledger.
    pub fn set_held(&self, waiting: usize, watts: i64, usd_micro_per_hour: i64) {
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.watts.set(watts);
        self.usd_micro_per_hour.set(usd_micro_per_hour);
    }

    /// What is left under a power domain; `None`: it is not in force.
    pub fn set_headroom(&self, domain: &str, watts: Option<i64>) {
        let label = DomainLabel {
            domain: domain.to_owned(),
        };
        match watts {
            Some(watts) => drop(self.headroom_watts.get_or_create(&label).set(watts)),
            None => drop(self.headroom_watts.remove(&label)),
        }
    }

    /// A watch of a cluster failed.
    pub fn watch_failed(&self, cluster: &str) {
        self.watch_failures
            .get_or_create(&ClusterLabel {
                cluster: cluster.to_owned(),
            })
            .inc();
    }

    /// An API write ended.
    pub fn called(&self, call: &str, ok: bool) {
        let outcome = if ok { "ok" } else { "error" };
        self.calls
            .get_or_create(&CallLabel {
                call: call.to_owned(),
                outcome: outcome.to_owned(),
            })
            .inc();
    }

    /// Everything as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
