//! What the hub's API server holds.

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

    /// Whether every kind has been listed once, so that absence means absence. Without MemberClusters and Placements
    /// nothing can be placed; of the other kinds, each may be missing.
    pub fn is_synced(&self) -> bool {
        let has_jobs = |(kind, cache): (&JobKind, &Cache<StoredJob>)| {
            cache.is_synced() || self.absent.contains(kind.as_str())
        };
        self.placements.is_synced()
            && self.clusters.is_synced()
            && self.jobs.iter().all(has_jobs)
            && self.has_seen(&self.accelerator_types)
            && self.has_seen(&self.price_sheets)
            && self.has_seen(&self.power_domains)
            && self.has_seen(&self.power_budgets)
            && self.has_seen(&self.priority_classes)
            && self.has_seen(&self.resource_quotas)
    }

    fn has_seen<K: Resource<DynamicType = ()>>(&self, cache: &Cache<K>) -> bool {
        cache.is_synced() || self.absent.contains(&*K::kind(&()))
    }
}
