//! What is counted and measured, in the OpenMetrics text format. `docs/src/operations/monitoring.md` lists it, and a test
//! compares that list with what is registered here.

mod family;
mod labels;
mod measures;
mod registration;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use self::family::{Counters, Gauges, Histograms};
pub use self::labels::{
    BudgetLabel, ClusterDevices, ClusterLabel, ClusterReason, DomainLabel, QueueDevices,
    QueueLabel, WaitingDevices,
};
use self::labels::{CallLabel, ReasonLabel};
pub use self::measures::Measures;
#[cfg(test)]
use self::registration::MetricFacts;
use self::registration::Registration;

/// The hub among the clusters of calls, watches and log lines.
pub const HUB_CLUSTER: &str = "hub";

/// From 0.1 ms to 26 s: steps of the loop.
fn step_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 4.0, 10))
}

/// From 1 s to 3 days: how long people wait.
fn wait_seconds() -> Histogram {
    Histogram::new([
        1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0, 259_200.0,
    ])
}

/// The operator's metrics; clones share the same values.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    #[cfg(test)]
    facts: Arc<[MetricFacts]>,
    epoch: Gauge,
    inbox_wait_seconds: Histogram,
    turn_seconds: Histogram,
    plan_seconds: Histogram,
    considered: Counter,
    decided: Counter,
    calls: Counters<CallLabel>,
    watch_failures: Counters<ClusterLabel>,
    refusals: Counters<ClusterReason>,
    time_to_placement_seconds: Histograms<ClusterDevices>,
    restarts: Counters<ReasonLabel>,
    finished: Counters<ReasonLabel>,
    waiting: Gauges<QueueLabel>,
    longest_wait_seconds: Gauges<QueueLabel>,
    devices: Gauges<ClusterDevices>,
    devices_free: Gauges<ClusterDevices>,
    devices_used: Gauges<QueueDevices>,
    devices_waiting: Gauges<WaitingDevices>,
    cluster_reachable: Gauges<ClusterLabel>,
    cluster_unreachable: Gauges<ClusterReason>,
    cluster_last_seen: Gauges<ClusterLabel>,
    reserved_watts: Gauge,
    usd_per_hour: Gauge<f64, AtomicU64>,
    domain_usable_watts: Gauges<DomainLabel>,
    domain_reserved_watts: Gauges<DomainLabel>,
    domain_headroom_watts: Gauges<DomainLabel>,
    domain_overload_watts: Gauges<DomainLabel>,
    budget_headroom_watts: Gauges<BudgetLabel>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut new = Registration::new();
        Self {
            epoch: new.gauge("leader_epoch", "Fencing epoch while leading, 0 on standby"),
            inbox_wait_seconds: new.histogram(
                "inbox_wait_seconds",
                "Time from an event of a watch, or the answer to a call, until the loop takes it in",
                step_seconds,
            ),
            turn_seconds: new.histogram(
                "turn_seconds",
                "Time of one turn of the loop: what arrived, inventory, jobs, plan",
                step_seconds,
            ),
            plan_seconds: new.histogram(
                "plan_seconds",
                "Time of one planning cycle",
                step_seconds,
            ),
            considered: new.counter("jobs_considered", "Jobs handed to the engine"),
            decided: new.counter(
                "placements_decided",
                "Placements that the engine decided on",
            ),
            calls: new.counters("api_calls", "API writes, by call and outcome"),
            watch_failures: new.counters("watch_failures", "Failed watches, by cluster"),
            refusals: new.counters(
                "refusals",
                "Placements whose objects a member's API server refused",
            ),
            time_to_placement_seconds: new.histograms(
                "job_time_to_placement_seconds",
                "Time from the creation of a job to its first placement",
                wait_seconds,
            ),
            restarts: new.counters(
                "restarts",
                "Attempts that ended and are placed again, by reason",
            ),
            finished: new.counters("jobs_finished", "Jobs that came to their end, by reason"),
            waiting: new.gauges("jobs_waiting", "Jobs that want a place"),
            longest_wait_seconds: new.gauges(
                "jobs_waiting_longest_seconds",
                "Age of the oldest job that wants a place",
            ),
            devices: new.gauges("devices", "Whole devices that nodes have"),
            devices_free: new.gauges(
                "devices_free",
                "Whole devices that nobody holds, on nodes that can take pods",
            ),
            devices_used: new.gauges("devices_used", "Whole devices that placements hold"),
            devices_waiting: new.gauges(
                "devices_waiting",
                "Whole devices that waiting jobs ask for; a job counts under each type of its alternatives",
            ),
            cluster_reachable: new.gauges(
                "cluster_reachable",
                "1 while the operator is in touch with a cluster, else 0",
            ),
            cluster_unreachable: new.gauges(
                "cluster_unreachable",
                "1 under the reason why a cluster cannot be reached",
            ),
            cluster_last_seen: new.gauges(
                "cluster_last_seen_timestamp_seconds",
                "When a cluster last answered, Unix time",
            ),
            reserved_watts: new.gauge("reserved_watts", "Watts of all placements"),
            usd_per_hour: new.decimal_gauge(
                "usd_per_hour",
                "US dollars per hour of all placements; nodes without a price count nothing",
            ),
            domain_usable_watts: new.gauges(
                "power_domain_usable_watts",
                "Watts that may be reserved under a power domain",
            ),
            domain_reserved_watts: new.gauges(
                "power_domain_reserved_watts",
                "Watts reserved under a power domain, losses included",
            ),
            domain_headroom_watts: new.gauges(
                "power_domain_headroom_watts",
                "Watts that may still be reserved under a power domain; below 0 where it is overloaded",
            ),
            domain_overload_watts: new.gauges(
                "power_domain_overload_watts",
                "Watts reserved under a power domain beyond what may be; 0 where all is well",
            ),
            budget_headroom_watts: new.gauges(
                "power_budget_headroom_watts",
                "Watts that may still be reserved under a power budget; below 0 where it is overloaded",
            ),
            #[cfg(test)]
            facts: new.facts.into(),
            registry: Arc::new(new.registry),
        }
    }
}

impl Metrics {
    /// Leadership was won.
    pub fn set_leading(&self, epoch: i64) {
        self.epoch.set(epoch);
    }

    /// Something that waited for so long in the inbox is taken in.
    pub fn waited(&self, in_inbox: Duration) {
        self.inbox_wait_seconds.observe(in_inbox.as_secs_f64());
    }

    /// A turn of the loop ended.
    pub fn turned(&self, took: Duration) {
        self.turn_seconds.observe(took.as_secs_f64());
    }

    /// A planning cycle ended.
    pub fn planned(&self, considered: usize, decided: usize, took: Duration) {
        self.considered.inc_by(considered as u64);
        self.decided.inc_by(decided as u64);
        self.plan_seconds.observe(took.as_secs_f64());
    }

    /// A watch of a cluster failed; of the hub: [`HUB_CLUSTER`].
    pub fn watch_failed(&self, cluster: &str) {
        self.watch_failures.of(&of_cluster(cluster)).inc();
    }

    /// An API write ended.
    pub fn called(&self, call: &str, ok: bool) {
        let outcome = if ok { "ok" } else { "error" };
        let labels = CallLabel {
            call: call.to_owned(),
            outcome: outcome.to_owned(),
        };
        self.calls.of(&labels).inc();
    }

    /// A member's API server refused the objects of a placement.
    pub fn refused(&self, cluster: &str, reason: &str) {
        let labels = ClusterReason {
            cluster: cluster.to_owned(),
            reason: reason.to_owned(),
        };
        self.refusals.of(&labels).inc();
    }

    /// The first placement of a job is written, so long after its creation.
    pub fn placed(&self, cluster: &str, accelerator_type: &str, after_seconds: i64) {
        let labels = ClusterDevices {
            cluster: cluster.to_owned(),
            accelerator_type: accelerator_type.to_owned(),
        };
        // No job waits for so long that a double cannot hold its seconds.
        let seconds = after_seconds.max(0) as f64;
        self.time_to_placement_seconds.of(&labels).observe(seconds);
    }

    /// An attempt of a job ended and is placed again.
    pub fn restarted(&self, reason: &'static str) {
        self.restarts.of(&of_reason(reason)).inc();
    }

    /// A job came to its end.
    pub fn finished(&self, reason: &'static str) {
        self.finished.of(&of_reason(reason)).inc();
    }

    /// Shows what was measured and nothing that was measured before; what was counted of clusters that are gone goes, too.
    pub fn show(&self, measures: Measures) {
        let clusters: BTreeSet<&str> = measures
            .cluster_reachable
            .keys()
            .map(|labels| labels.cluster.as_str())
            .chain([HUB_CLUSTER])
            .collect();
        self.watch_failures
            .retain(|labels| clusters.contains(labels.cluster.as_str()));
        self.refusals
            .retain(|labels| clusters.contains(labels.cluster.as_str()));
        self.time_to_placement_seconds
            .retain(|labels| clusters.contains(labels.cluster.as_str()));
        self.waiting.set_all(measures.waiting);
        self.longest_wait_seconds
            .set_all(measures.longest_wait_seconds);
        self.devices.set_all(measures.devices);
        self.devices_free.set_all(measures.devices_free);
        self.devices_used.set_all(measures.devices_used);
        self.devices_waiting.set_all(measures.devices_waiting);
        self.cluster_reachable.set_all(measures.cluster_reachable);
        self.cluster_unreachable
            .set_all(measures.cluster_unreachable);
        self.cluster_last_seen.set_all(measures.cluster_last_seen);
        self.reserved_watts.set(measures.reserved_watts);
        self.usd_per_hour
            .set(measures.usd_micro_per_hour as f64 / 1_000_000.0);
        let overload = measures.domain_headroom_watts.iter();
        let overload = overload.map(|(labels, left)| (labels.clone(), (-left).max(0)));
        self.domain_overload_watts.set_all(overload.collect());
        self.domain_usable_watts
            .set_all(measures.domain_usable_watts);
        self.domain_reserved_watts
            .set_all(measures.domain_reserved_watts);
        self.domain_headroom_watts
            .set_all(measures.domain_headroom_watts);
        self.budget_headroom_watts
            .set_all(measures.budget_headroom_watts);
    }

    /// Everything as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn of_cluster(cluster: &str) -> ClusterLabel {
    ClusterLabel {
        cluster: cluster.to_owned(),
    }
}

fn of_reason(reason: &str) -> ReasonLabel {
    ReasonLabel {
        reason: reason.to_owned(),
    }
}
