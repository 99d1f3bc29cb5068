//! Everything the operator knows, as plain maps: what the hub wants, what each member shows, what the engine holds.
//!
//! All of it is rebuilt from the API servers at every start. Watches and the results of our own writes change it; the
//! stages of the pipeline read it. What changed is remembered in [`Dirty`], so that a cycle looks at nothing else.
//!
//! This folder is at the bottom: it knows no stage, and of a kind of job only the facts in [`kind`] and the trait in [`job`].

mod burst;
mod cache;
mod change;
mod clock_steps;
mod cover;
mod dirty;
mod facts;
mod hub;
mod inquiry;
mod issue;
mod job;
mod jobs;
mod key;
mod kind;
mod level;
mod member;
mod named_nodes;
mod object;
mod our_pod;
mod outage;
mod part;
mod placements;
mod pod_signs;
mod pod_wait;
mod pods;
mod quantity;
mod quota;
mod reach;
mod reservations;
mod reserved;
mod slim;
mod taint_rule;
mod text;
mod timers;
mod usage;
mod watch_health;
mod workload;

use std::collections::BTreeMap;

use ampacity_api::Placement;
use ampacity_catalog::{Catalog, Prices};
use ampacity_placement::Fleet;
use jiff::Timestamp;

pub use burst::BurstDetector;
pub use cache::Cache;
pub use change::{Change, WatchFailure};
pub use clock_steps::ClockSteps;
pub use cover::Cover;
pub use dirty::Dirty;
pub use facts::{FactIssues, FactNote, FactObject};
pub use hub::{Hub, Unreadable};
pub use inquiry::{Confirmation, Inquiry};
pub use issue::JobIssue;
pub use job::{ClusterSite, Demand, DeviceDemand, Job, JobContext, StoredJob};
pub use jobs::{Avoided, JobRecord, JobState, Jobs, Waiting, Why};
pub use key::{HasMeta, JobKey, ObjectKey};
pub use kind::{KindFacts, Kinds, ServiceScope};
pub use level::engine_level;
pub use member::{Link, LinkSource, Member};
pub use named_nodes::NamedNodes;
pub use object::{ApiObject, NamespacedObject};
pub use our_pod::{OurPod, missing_pods};
pub use outage::{Failing, Outage};
pub use part::{PartFields, asked_part, device_name, device_part};
pub use placements::{PlacementState, Placements, Progress};
pub use pod_signs::{DownDriver, PodSigns};
pub use pod_wait::PodWait;
pub use pods::{PodIndex, Touched};
pub use quantity::{QuantityError, parse_bytes, parse_milli};
pub use quota::{QuotaResource, QuotaShortage, QuotaUnit};
pub use reach::{Cause, Reach};
pub use reservations::{
    Charge, actual_shares, feeds_of_nodes, moving_placements, planned_shares, reservation,
};
pub use reserved::{reserved_namespace, reserved_priority_class};
pub use slim::{
    SlimAttribute, SlimCondition, SlimContainer, SlimDevice, SlimNode, SlimPod, SlimResourceClaim,
    SlimResourceSlice, SlimResources, SlimTaint,
};
pub use taint_rule::SlimDeviceTaintRule;
pub use text::shorten;
pub use timers::Timers;
pub use usage::{Beyond, PodUsage, is_other_resource, pod_usage};
pub use watch_health::WatchHealth;
pub use workload::{Workload, WorkloadCondition};

/// Everything the operator knows.
pub struct State {
    /// Every kind of job.
    pub kinds: Kinds,
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
    /// Who wants a place, and why those wait that have none.
    pub jobs: Jobs,
    /// How far placements have come.
    pub placements: Placements,
    /// Placements that were decided and are not seen in the hub yet, of namespaces with a ResourceQuota.
    pub being_written: BTreeMap<ObjectKey, Placement>,
    /// What is wrong with catalogue, prices and power.
    pub fact_issues: FactIssues,
    /// Which nodes placements name.
    pub named: NamedNodes,
    /// Jobs that are to be looked at again when it is time.
    pub timers: Timers,
    /// Whether many jobs are being started at once.
    pub burst: BurstDetector,
    /// Grows whenever something happened that may let a waiting job fit.
    pub capacity_version: u64,
    /// Namespace of the operator, whose jobs are never placed; `None` where there is no operator, as in a plan from files.
    pub own_namespace: Option<String>,
    /// Jumps of this machine's clock.
    pub clock_steps: ClockSteps,
    /// What changed.
    pub dirty: Dirty,
}

impl State {
    /// Nothing is known yet but the kinds of jobs that there are.
    pub fn new(kinds: Kinds) -> Self {
        Self {
            hub: Hub::new(&kinds),
            kinds,
            members: BTreeMap::new(),
            fleet: Fleet::new(),
            catalog: Catalog::builtin(),
            prices: Prices::default(),
            jobs: Jobs::default(),
            placements: Placements::default(),
            being_written: BTreeMap::new(),
            fact_issues: FactIssues::default(),
            named: NamedNodes::default(),
            timers: Timers::default(),
            burst: BurstDetector::default(),
            capacity_version: 1,
            own_namespace: None,
            clock_steps: ClockSteps::default(),
            dirty: Dirty {
                facts: true,
                ..Dirty::default()
            },
        }
    }

    /// The placement of this key, while it exists.
    pub fn placement(&self, key: &ObjectKey) -> Option<&Placement> {
        self.hub.placements.get(key)
    }

    /// The placements of a job of this name, by their names: also those of an earlier job of the name.
    pub fn placements_of<'a>(&'a self, job: &'a JobKey) -> impl Iterator<Item = &'a Placement> {
        let keys = self.placements.of_job(job);
        keys.filter_map(|key| self.hub.placements.get(key))
    }

    /// The member of a placement, where new work may go there.
    pub fn usable_member(&self, placement: &Placement) -> Option<&Member> {
        let member = self.members.get(&placement.spec.cluster)?;
        member.is_usable().then_some(member)
    }

    /// A placement is new, changed or gone: ledger, nodes and pods follow.
    pub fn follow_placement(&mut self, key: &ObjectKey) {
        let mut named = Vec::new();
        if let Some((cluster, nodes)) = self.named.take(key) {
            named.extend(nodes.into_iter().map(|node| (cluster.clone(), node)));
            let moved = self
                .hub
                .placements
                .get(key)
                .is_none_or(|p| p.spec.cluster != cluster);
            if moved {
                self.recognise(&cluster, key, None);
            }
        }
        if let Some(placement) = self.hub.placements.get(key) {
            self.named.set(key, placement);
            let cluster = placement.spec.cluster.clone();
            let nodes = placement.spec.nodes.iter();
            named.extend(nodes.map(|node| (cluster.clone(), node.name.clone())));
            self.hold(key);
        } else {
            self.fleet.release(&key.to_string());
            self.capacity_version += 1;
        }
        // Nodes that are there are read whatever names them; one that is not is lost only to who names it.
        let absent = |(cluster, node): &(String, String)| {
            let member = self.members.get(cluster);
            member.is_some_and(|m| m.nodes.get(&ObjectKey::new("", node)).is_none())
        };
        named.retain(absent);
        self.dirty.nodes.extend(named);
    }

    /// Records what a placement holds and until when, and what its pods may therefore hold; whether that is new.
    pub fn hold(&mut self, key: &ObjectKey) -> bool {
        let Some(placement) = self.hub.placements.get(key) else {
            return false;
        };
        let held = reservation(self, placement);
        let cover = Cover::of(placement, &held);
        let cluster = placement.spec.cluster.clone();
        self.recognise(&cluster, key, Some(cover));
        let is_new = self.fleet.reservation(&held.key) != Some(&held);
        if is_new {
            self.fleet.reserve(held);
        }
        is_new
    }

    fn recognise(&mut self, cluster: &str, key: &ObjectKey, cover: Option<Cover>) {
        let Some(member) = self.members.get_mut(cluster) else {
            return;
        };
        let touched = member.pods.recognise(key, cover);
        let nodes = touched.nodes.into_iter();
        self.dirty
            .nodes
            .extend(nodes.map(|node| (cluster.to_owned(), node)));
        if !touched.placements.is_empty() {
            self.dirty.placements.insert(key.clone());
        }
    }

    /// A member is linked anew: nothing of an earlier link counts any more, neither its nodes nor its pods.
    pub fn link_member(&mut self, cluster: &str, mut member: Member) {
        for placement in self.hub.placements.values() {
            if placement.spec.cluster == cluster {
                let cover = Cover::of(placement, &reservation(self, placement));
                member
                    .pods
                    .recognise(&ObjectKey::of(placement), Some(cover));
            }
        }
        self.members.insert(cluster.to_owned(), member);
        self.fleet.remove_cluster(cluster);
        self.dirty.clusters.insert(cluster.to_owned());
    }

    /// Works out again what placements hold whose job or pods changed.
    pub fn hold_again(&mut self) {
        for key in std::mem::take(&mut self.dirty.placements) {
            if self.hold(&key) {
                self.capacity_version += 1;
            }
        }
    }

    /// A placement is new, changed or gone: what it holds and its job follow. `job_before`: whose it was before the change.
    pub fn placement_changed(&mut self, key: &ObjectKey, job_before: Option<&JobKey>) {
        self.follow_placement(key);
        if let Some(placement) = self.hub.placements.get(key) {
            self.placements.add(placement);
            self.dirty.jobs.insert(JobKey::of_placement(placement));
        } else if let Some(job) = job_before {
            self.placements.remove(job, key);
            // Somebody may have taken its finalizer off: then its objects are still there.
            let claimed = |(name, member): (&String, &Member)| {
                member.pods.is_claimed(key).then(|| name.clone())
            };
            let claimed = self.members.iter().filter_map(claimed);
            self.dirty.orphans.extend(claimed);
            self.dirty.jobs.insert(job.clone());
        }
    }

    /// A member became usable or stopped being it: its nodes, its jobs and its status are to be looked at.
    pub fn member_turned(&mut self, cluster: &str) {
        self.dirty.orphans.insert(cluster.to_owned());
        self.dirty.clusters.insert(cluster.to_owned());
        let placements = self.hub.placements.values();
        let jobs = placements
            .filter(|p| p.spec.cluster == cluster)
            .map(JobKey::of_placement);
        self.dirty.jobs.extend(jobs);
    }

    /// Has a job reconciled again after some seconds, or sooner where that was asked for before.
    pub fn requeue_after(&mut self, job: &JobKey, now: Timestamp, seconds: i64) {
        self.timers.set(job, now, seconds);
    }
}
