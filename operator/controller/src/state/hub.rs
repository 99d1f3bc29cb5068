//! What the hub's API server holds.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use ampacity_api::{
    AcceleratorType, JobKind, MemberCluster, Placement, PowerBudget, PowerDomain, PriceSheet,
};
use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::Resource;

use super::cache::Cache;
use super::change::Change;
use super::job::{Job, StoredJob};
use super::key::{HasMeta, JobKey, ObjectKey};
use super::kind::Kinds;

/// A job that exists but cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// What is wrong.
    pub error: String,
    /// Whether its owner has been told.
    pub is_told: bool,
}

/// The hub's objects, by kind.
#[derive(Debug, Default)]
pub struct Hub {
    /// Jobs, by their kind.
    pub jobs: BTreeMap<JobKind, Cache<StoredJob>>,
    /// Placements.
    pub placements: Cache<Placement>,
    /// Members.
    pub clusters: Cache<MemberCluster>,
    /// Accelerator types beside the built-in ones.
    pub accelerator_types: Cache<AcceleratorType>,
    /// Prices.
    pub price_sheets: Cache<PriceSheet>,
    /// Breaker tree.
    pub power_domains: Cache<PowerDomain>,
    /// Limits.
    pub power_budgets: Cache<PowerBudget>,
    /// Priorities.
    pub priority_classes: Cache<PriorityClass>,
    /// What Placements of a namespace may hold together.
    pub resource_quotas: Cache<ResourceQuota>,
    /// Jobs that exist but cannot be read, with what is wrong. They keep what they hold.
    pub unreadable: BTreeMap<JobKey, Unreadable>,
    /// Kinds that the API server does not know, so that there are no objects of them.
    pub absent: BTreeSet<String>,
}

impl Hub {
    /// A hub of which nothing is known but the kinds of jobs that it may hold.
    pub fn new(kinds: &Kinds) -> Self {
        Self {
            jobs: kinds.iter().map(|k| (k.kind, Cache::default())).collect(),
            ..Self::default()
        }
    }

    /// The job of this key.
    pub fn job(&self, key: &JobKey) -> Option<&dyn Job> {
        let stored = self.jobs.get(&key.kind)?.get(&key.object)?;
        Some(stored.job())
    }

    /// The job of this key as what its kind says it is.
    pub fn job_as<K: 'static>(&self, key: &JobKey) -> Option<&K> {
        self.job(key)?.as_any().downcast_ref()
    }

    /// The job that a placement was made for. A job of the same name that was made later is another; one without a
    /// UID, in a file, is any of its name.
    pub fn job_of(&self, placement: &Placement) -> Option<&dyn Job> {
        let job = self.job(&JobKey::of_placement(placement))?;
        let uid = job.metadata().uid.as_deref();
        uid.is_none_or(|uid| uid == placement.spec.job_ref.uid)
            .then_some(job)
    }

    /// Takes a change of jobs in; returns the jobs that changed.
    pub fn apply_jobs(&mut self, kind: JobKind, change: Change<StoredJob>) -> Vec<JobKey> {
        self.readable_again(kind, &change);
        let changed = self.jobs.entry(kind).or_default().apply(change);
        let key = |object| JobKey { kind, object };
        changed.into_iter().map(key).collect()
    }

    /// Objects of a change can be read, or are gone: they are unreadable no more.
    fn readable_again<K: HasMeta>(&mut self, kind: JobKind, change: &Change<K>) {
        let gone = match change {
            Change::Forgotten(key) => Some(key.clone()),
            _ => None,
        };
        for object in change.objects().iter().map(ObjectKey::of).chain(gone) {
            self.unreadable.remove(&JobKey { kind, object });
        }
    }

    /// Whether every kind has been listed once, so that absence means absence.
    pub fn is_synced(&self) -> bool {
        self.unread_kinds().is_empty()
    }

    /// Kinds that have not been listed yet. Without MemberClusters and Placements nothing can be placed; of the other kinds,
    /// each may be missing.
    pub fn unread_kinds(&self) -> Vec<String> {
        let jobs = self.jobs.iter().map(|(kind, cache)| {
            let is_read = cache.is_synced() || self.absent.contains(kind.as_str());
            (Cow::Borrowed(kind.as_str()), is_read)
        });
        let others = [
            (Placement::kind(&()), self.placements.is_synced()),
            (MemberCluster::kind(&()), self.clusters.is_synced()),
            self.seen(&self.accelerator_types),
            self.seen(&self.price_sheets),
            self.seen(&self.power_domains),
            self.seen(&self.power_budgets),
            self.seen(&self.priority_classes),
            self.seen(&self.resource_quotas),
        ];
        let unread = jobs.chain(others).filter(|(_, is_read)| !is_read);
        unread.map(|(kind, _)| kind.into_owned()).collect()
    }

    /// A kind, and whether it has been listed or is not there.
    fn seen<K: Resource<DynamicType = ()>>(&self, cache: &Cache<K>) -> (Cow<'static, str>, bool) {
        let kind = K::kind(&());
        let is_read = cache.is_synced() || self.absent.contains(&*kind);
        (kind, is_read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::kinds;

    #[test]
    fn a_hub_says_which_kinds_it_has_not_read() {
        let mut hub = Hub::new(&kinds());
        let all = [
            "TrainingJob",
            "InferenceJob",
            "Placement",
            "MemberCluster",
            "AcceleratorType",
            "PriceSheet",
            "PowerDomain",
            "PowerBudget",
            "PriorityClass",
            "ResourceQuota",
        ];
        assert_eq!(hub.unread_kinds(), all);
        for kind in [JobKind::TrainingJob, JobKind::InferenceJob] {
            hub.apply_jobs(kind, Change::All(Vec::new()));
        }
        hub.placements.apply(Change::All(Vec::new()));
        hub.clusters.apply(Change::All(Vec::new()));
        hub.accelerator_types.apply(Change::All(Vec::new()));
        hub.power_domains.apply(Change::All(Vec::new()));
        hub.power_budgets.apply(Change::All(Vec::new()));
        hub.priority_classes.apply(Change::All(Vec::new()));
        hub.resource_quotas.apply(Change::All(Vec::new()));
        assert_eq!(hub.unread_kinds(), ["PriceSheet"]);
        assert!(!hub.is_synced());
        hub.absent.insert("PriceSheet".to_owned());
        assert!(
            hub.is_synced(),
            "a kind that is not installed has no objects"
        );
    }
}
