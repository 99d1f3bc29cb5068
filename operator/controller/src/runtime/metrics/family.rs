//! Metrics with labels of which some go again: what is said of an object must not outlive it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::labels::LabelSet;

/// A metric per label set; clones share them.
#[derive(Clone)]
pub(super) struct Labelled<L, M> {
    family: Family<L, M, fn() -> M>,
    shown: Arc<Mutex<BTreeSet<L>>>,
}

impl<L: LabelSet, M: Clone> Labelled<L, M> {
    pub(super) fn new(new_metric: fn() -> M) -> Self {
        Self {
            family: Family::new_with_constructor(new_metric),
            shown: Arc::default(),
        }
    }

    /// The family, for the registry.
    pub(super) fn family(&self) -> Family<L, M, fn() -> M> {
        self.family.clone()
    }

    /// The sets are plain values: a panic elsewhere leaves nothing half done in them.
    fn shown(&self) -> MutexGuard<'_, BTreeSet<L>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The metric of a label set, which is shown from now on.
    pub(super) fn of(&self, labels: &L) -> M {
        let mut shown = self.shown();
        if !shown.contains(labels) {
            shown.insert(labels.clone());
        }
        self.family.get_or_create_owned(labels)
    }

    /// Shows no label set any more but those that `keep` names.
    pub(super) fn retain(&self, keep: impl Fn(&L) -> bool) {
        self.shown().retain(|labels| {
            let keeps = keep(labels);
            if !keeps {
                self.family.remove(labels);
            }
            keeps
        });
    }
}

/// A counter per label set.
pub(super) type Counters<L> = Labelled<L, Counter>;
/// A histogram per label set.
pub(super) type Histograms<L> = Labelled<L, Histogram>;
/// A gauge per label set.
pub(super) type Gauges<L> = Labelled<L, Gauge>;

impl<L: LabelSet> Gauges<L> {
    /// Shows these values and no others.
    pub(super) fn set_all(&self, values: BTreeMap<L, i64>) {
        self.retain(|labels| values.contains_key(labels));
        for (labels, value) in values {
            self.of(&labels).set(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::labels::ClusterLabel;
    use super::*;

    fn cluster(name: &str) -> ClusterLabel {
        ClusterLabel {
            cluster: name.to_owned(),
        }
    }

    #[test]
    fn what_is_set_no_longer_is_shown_no_longer() {
        let gauges: Gauges<ClusterLabel> = Gauges::new(Gauge::default);
        gauges.set_all([(cluster("a"), 1), (cluster("b"), 2)].into());
        gauges.set_all([(cluster("b"), 3)].into());
        let family = gauges.family();
        assert!(family.get(&cluster("a")).is_none());
        assert_eq!(family.get(&cluster("b")).map(|g| g.get()), Some(3));
        gauges.set_all(BTreeMap::new());
        assert!(family.get(&cluster("b")).is_none());
    }

    #[test]
    fn counters_are_kept_and_counted_on() {
        let counters: Counters<ClusterLabel> = Counters::new(Counter::default);
        counters.of(&cluster("a")).inc();
        counters.of(&cluster("b")).inc();
        counters.retain(|labels| labels.cluster == "b");
        assert_eq!(counters.of(&cluster("b")).inc(), 1, "counted before");
        assert_eq!(counters.of(&cluster("a")).inc(), 0, "begun anew");
    }
}
