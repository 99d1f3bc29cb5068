//! Everything the operator knows, as plain maps: what the hub wants, what each member shows, what the engine holds.
//!
//! All of it is rebuilt from the API servers at every start. Watches and the results of our own writes change it; the
//! stages of the pipeline read it. What changed is remembered in [`Dirty`], so that a cycle looks at nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ampacity_api::{
    AcceleratorType, InferenceJob, JobKind, MemberCluster, Placement, PowerBudget, PowerDomain,
    PriceSheet, TrainingJob,
};
use ampacity_catalog::{Catalog, Prices};
use ampacity_placement::Fleet;
use jiff::Timestamp;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Client, Resource};

use crate::dispatch::{PLACEMENT_UID, inference_name, training_name};
use crate::holding::{NamedNodes, Outage};
use crate::inventory::{SlimNode, SlimResourceClaim, SlimResourceSlice};
use crate::member::{Link, SlimDeployment, SlimJob};
use crate::pods::PodIndex;
use crate::queue::Attempts;
use crate::watch::{Change, WatchFailure};

/// Namespace and name; the namespace is empty for cluster-scoped objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectKey {
    /// Key of an object.
    pub fn of<K: Resource>(object: &K) -> Self {
        Self {
            namespace: object.meta().namespace.clone().unwrap_or_default(),
            name: object.meta().name.clone().unwrap_or_default(),
        }
    }

    /// Key from its parts.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// One job of either kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey {
    /// Kind.
    pub kind: JobKind,
    /// Namespace and name.
    pub object: ObjectKey,
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.object)
    }
}

/// Objects of one kind, as last seen.
#[derive(Debug)]
pub struct Cache<K> {
    items: BTreeMap<ObjectKey, K>,
    synced: bool,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self {
            items: BTreeMap::new(),
            synced: false,
        }
    }
}

impl<K: Resource> Cache<K> {
    /// Whether a full list has been seen.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// The object of this key.
    pub fn get(&self, key: &ObjectKey) -> Option<&K> {
        self.items.get(key)
    }

    /// The cluster-scoped object of this name.
    pub fn named(&self, name: &str) -> Option<&K> {
        self.items.get(&ObjectKey::new("", name))
    }

    /// Every object.
    pub fn values(&self) -> impl Iterator<Item = &K> {
        self.items.values()
    }

    /// Every key.
    pub fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.items.keys()
    }

    /// Takes a change in; returns the keys that changed. An object older than the one known is ignored: the result of
    /// our own write may arrive before the watch has caught up with it.
    pub fn apply(&mut self, change: Change<K>) -> Vec<ObjectKey> {
        match change {
            Change::Applied(object) => {
                let key = ObjectKey::of(&*object);
                if self
                    .items
                    .get(&key)
                    .is_some_and(|old| !is_newer(&*object, old))
                {
                    return Vec::new();
                }
                self.items.insert(key.clone(), *object);
                vec![key]
            }
            Change::Deleted(object) => {
                let key = ObjectKey::of(&*object);
                let same = self
                    .items
                    .get(&key)
                    .is_some_and(|old| old.meta().uid == object.meta().uid);
                if same {
                    self.items.remove(&key);
                    vec![key]
                } else {
                    Vec::new()
                }
            }
            Change::Forgotten(key) => self.items.remove(&key).map(|_| key).into_iter().collect(),
            Change::All(objects) => {
                self.synced = true;
                let mut old = std::mem::take(&mut self.items);
                let mut changed = Vec::new();
                for object in objects {
                    let key = ObjectKey::of(&object);
                    let before = old.remove(&key);
                    if before
                        .is_none_or(|b| b.meta().resource_version != object.meta().resource_version)
                    {
                        changed.push(key.clone());
                    }
                    self.items.insert(key, object);
                }
                changed.extend(old.into_keys());
                changed
            }
        }
    }

    /// Takes in the result of our own update, unless the object is gone meanwhile.
    pub fn updated(&mut self, object: K) {
        if self.items.contains_key(&ObjectKey::of(&object)) {
            self.apply(Change::Applied(Box::new(object)));
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.items.clear();
        self.synced = false;
    }
}

/// Whether `new` was written after `old`. Resource versions of one object grow; those that are no numbers cannot be
/// compared, and then the last one seen counts.
fn is_newer<K: Resource>(new: &K, old: &K) -> bool {
    if new.meta().uid != old.meta().uid {
        return true;
    }
    let version = |object: &K| {
        object
            .meta()
            .resource_version
            .as_ref()
            .and_then(|v| v.parse::<u64>().ok())
    };
    match (version(new), version(old)) {
        (Some(new), Some(old)) => new > old,
        _ => new.meta().resource_version != old.meta().resource_version,
    }
}

/// What the hub's API server holds.
#[derive(Debug, Default)]
pub struct Hub {
    /// Training jobs.
    pub training: Cache<TrainingJob>,
    /// Inference jobs.
    pub inference: Cache<InferenceJob>,
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
    /// Jobs that exist but cannot be read, with what is wrong. They keep what they hold.
    pub unreadable: BTreeMap<JobKey, String>,
    /// Kinds that the API server does not know, so that there are no objects of them.
    pub absent: BTreeSet<String>,
}

impl Hub {
    /// Objects of a change can be read, or are gone: they are unreadable no more.
    pub fn readable_again<K: Resource>(&mut self, kind: JobKind, change: &Change<K>) {
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
        self.placements.is_synced()
            && self.clusters.is_synced()
            && self.has_seen(&self.training)
            && self.has_seen(&self.inference)
            && self.has_seen(&self.accelerator_types)
            && self.has_seen(&self.price_sheets)
            && self.has_seen(&self.power_domains)
            && self.has_seen(&self.power_budgets)
            && self.has_seen(&self.priority_classes)
    }

    fn has_seen<K: Resource<DynamicType = ()>>(&self, cache: &Cache<K>) -> bool {
        cache.is_synced() || self.absent.contains(&*K::kind(&()))
    }
}

/// Whether a member answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// No attempt has ended yet.
    #[default]
    Connecting,
    /// It answers.
    Connected,
    /// It does not, or may not be used.
    Unreachable {
        /// Since when.
        since: Timestamp,
        /// Machine-readable reason.
        reason: &'static str,
        /// What happened and what to do.
        message: String,
    },
}

/// How long a new member may take to be read before it counts as one that cannot be.
const FIRST_LOOK_SECONDS: i64 = 10;

/// What one member shows.
#[derive(Default)]
pub struct Member {
    /// The running link.
    pub link: Option<Link>,
    /// Number of the link: events of an earlier one are ignored.
    pub link_number: u64,
    /// When the link was made.
    pub linked_at: Option<Timestamp>,
    /// Client, once connected.
    pub client: Option<Client>,
    /// Version of its API server.
    pub version: Option<String>,
    /// Whether it answers.
    pub reach: Reach,
    /// When it last answered.
    pub last_seen: Option<Timestamp>,
    /// What was wrong with a watch last, and when. It is tried every few seconds.
    pub watch_failed: Option<(WatchFailure, Timestamp)>,
    /// Nodes.
    pub nodes: Cache<SlimNode>,
    /// DRA devices.
    pub slices: Cache<SlimResourceSlice>,
    /// DRA allocations.
    pub claims: Cache<SlimResourceClaim>,
    /// Pods.
    pub pods: PodIndex,
    /// Our Jobs.
    pub jobs: Cache<SlimJob>,
    /// Our Deployments.
    pub deployments: Cache<SlimDeployment>,
    /// Nodes that are out of order, and those that are gone while a placement names them.
    pub outages: BTreeMap<String, Outage>,
    /// Taints that pods tolerate because they ask for a device, by how the device is asked for.
    pub taint_keys: BTreeMap<String, Vec<String>>,
    /// What the engine was told of each node: heartbeats change objects, but not this.
    pub specs: BTreeMap<String, ampacity_placement::NodeSpec>,
    /// What the inventory found odd, by node.
    pub notes: BTreeMap<String, Vec<String>>,
}

impl Member {
    /// Whether everything needed has been listed, so that absence means absence. Kinds that the member does not serve count
    /// as listed.
    pub fn is_synced(&self) -> bool {
        self.nodes.is_synced()
            && self.pods.is_synced()
            && self.jobs.is_synced()
            && self.deployments.is_synced()
            && self.slices.is_synced()
            && self.claims.is_synced()
    }

    /// The Job that was made from this very placement.
    pub fn job_of(&self, placement: &Placement) -> Option<&SlimJob> {
        let spec = &placement.spec;
        let name = training_name(&spec.job_ref.name, spec.attempt, spec.replicas);
        self.jobs
            .get(&made_from(placement, &name))
            .filter(|job| is_made_from(&job.metadata, placement))
    }

    /// The Deployment that was made from this very placement.
    pub fn deployment_of(&self, placement: &Placement) -> Option<&SlimDeployment> {
        let name = inference_name(placement.metadata.name.as_deref().unwrap_or_default());
        self.deployments
            .get(&made_from(placement, &name))
            .filter(|deployment| is_made_from(&deployment.metadata, placement))
    }

    /// Whether the member shows the workload of a placement.
    pub fn has_workload(&self, placement: &Placement) -> bool {
        match placement.spec.job_ref.kind {
            JobKind::TrainingJob => self.job_of(placement).is_some(),
            JobKind::InferenceJob => self.deployment_of(placement).is_some(),
        }
    }

    /// Whether it was linked a moment ago and has yet to show everything: nothing is concluded from what is missing.
    pub fn is_being_read(&self, now: Timestamp) -> bool {
        !self.is_synced()
            && !matches!(self.reach, Reach::Unreachable { .. })
            && self
                .linked_at
                .is_none_or(|at| now.as_second() - at.as_second() < FIRST_LOOK_SECONDS)
    }

    /// Whether new work may go there.
    pub fn is_usable(&self) -> bool {
        self.reach == Reach::Connected && self.is_synced()
    }
}

fn made_from(placement: &Placement, name: &str) -> ObjectKey {
    ObjectKey::new(
        placement.metadata.namespace.as_deref().unwrap_or_default(),
        name,
    )
}

/// An object of that name may be of an earlier placement, or of anybody.
fn is_made_from(meta: &ObjectMeta, placement: &Placement) -> bool {
    let uid = meta.annotations.as_ref().and_then(|a| a.get(PLACEMENT_UID));
    uid == placement.metadata.uid.as_ref()
}

/// What changed since the last cycle.
#[derive(Debug, Default)]
pub struct Dirty {
    /// Jobs to look at.
    pub jobs: BTreeSet<JobKey>,
    /// Nodes to take stock of, by cluster.
    pub nodes: BTreeSet<(String, String)>,
    /// Placements whose part of the ledger is to be worked out again.
    pub placements: BTreeSet<ObjectKey>,
    /// Clusters in which something may run whose Placement is gone.
    pub orphans: BTreeSet<String>,
    /// Clusters to take stock of as a whole.
    pub clusters: BTreeSet<String>,
    /// Catalogue, prices or power changed.
    pub facts: bool,
}

/// Everything the operator knows.
pub struct World {
    /// What the hub wants.
    pub hub: Hub,
    /// What each member shows.
    pub members: BTreeMap<String, Member>,
    /// What the engine holds.
    pub fleet: Fleet,
    /// Accelerator facts.
    pub catalog: Catalog,
    /// Prices in force.
    pub prices: Prices,
    /// Attempts in flight and verdicts of jobs that wait.
    pub attempts: Attempts,
    /// Which nodes placements name.
    pub named: NamedNodes,
    /// Grows whenever something happened that may let a waiting job fit.
    pub capacity_version: u64,
    /// What changed.
    pub dirty: Dirty,
}

impl Default for World {
    fn default() -> Self {
        Self {
            hub: Hub::default(),
            members: BTreeMap::new(),
            fleet: Fleet::new(),
            catalog: Catalog::builtin(),
            prices: Prices::default(),
            attempts: Attempts::default(),
            named: NamedNodes::default(),
            capacity_version: 1,
            dirty: Dirty {
                facts: true,
                ..Dirty::default()
            },
        }
    }
}

impl World {
    /// The placements of a job, oldest attempt first. A placement of an earlier job of the same name is not among them.
    pub fn placements_of<'a>(
        &'a self,
        job: &'a JobKey,
        uid: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Placement> {
        self.placements_by_name(job)
            .filter(move |p| uid.is_none_or(|uid| p.spec.job_ref.uid == uid))
    }

    fn placements_by_name<'a>(&'a self, job: &'a JobKey) -> impl Iterator<Item = &'a Placement> {
        self.attempts
            .placements_of(job)
            .filter_map(|key| self.hub.placements.get(key))
    }

    /// The job that a placement belongs to.
    pub fn job_of(placement: &Placement) -> JobKey {
        let namespace = placement.metadata.namespace.as_deref().unwrap_or_default();
        JobKey {
            kind: placement.spec.job_ref.kind,
            object: ObjectKey::new(namespace, &placement.spec.job_ref.name),
        }
    }
}
