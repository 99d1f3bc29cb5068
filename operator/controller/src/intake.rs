//! What watches and links tell, taken into the [`World`](crate::world::World): what changed is marked for the cycle.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_api::{JobKind, labels};
use jiff::Timestamp;
use kube::Resource;

use crate::hub::HubChange;
use crate::inventory::{SlimResourceClaim, SlimResourceSlice};
use crate::member::{LinkEvent, MemberChange};
use crate::operator::Operator;
use crate::stocktake::reservation;
use crate::watch::Change;
use crate::world::{Cache, JobKey, Member, ObjectKey, Reach, World};

impl Operator {
    pub(crate) fn take_in_hub(&mut self, change: HubChange) {
        let hub = &mut self.world.hub;
        let job = |kind: JobKind| move |object: ObjectKey| JobKey { kind, object };
        match change {
            HubChange::Training(change) => {
                hub.readable_again(JobKind::TrainingJob, &change);
                self.world.dirty.jobs.extend(
                    hub.training
                        .apply(change)
                        .into_iter()
                        .map(job(JobKind::TrainingJob)),
                );
            }
            HubChange::Inference(change) => {
                hub.readable_again(JobKind::InferenceJob, &change);
                self.world.dirty.jobs.extend(
                    hub.inference
                        .apply(change)
                        .into_iter()
                        .map(job(JobKind::InferenceJob)),
                );
            }
            HubChange::Placement(change) => {
                let before: Vec<(ObjectKey, JobKey)> = match &change {
                    Change::All(_) | Change::Forgotten(_) => hub
                        .placements
                        .values()
                        .map(|p| (ObjectKey::of(p), World::job_of(p)))
                        .collect(),
                    Change::Applied(p) | Change::Deleted(p) => {
                        vec![(ObjectKey::of(&**p), World::job_of(p))]
                    }
                };
                let changed = hub.placements.apply(change);
                let before: BTreeMap<ObjectKey, JobKey> = before.into_iter().collect();
                for key in changed {
                    self.placement_changed(&key, before.get(&key));
                }
            }
            HubChange::Cluster(change) => {
                let changed = hub.clusters.apply(change);
                self.world
                    .dirty
                    .clusters
                    .extend(changed.iter().map(|k| k.name.clone()));
                self.report_due.extend(changed.into_iter().map(|k| k.name));
            }
            HubChange::AcceleratorType(change) => {
                self.world.dirty.facts |= !hub.accelerator_types.apply(change).is_empty()
            }
            HubChange::PriceSheet(change) => {
                self.world.dirty.facts |= !hub.price_sheets.apply(change).is_empty()
            }
            HubChange::PowerDomain(change) => {
                self.world.dirty.facts |= facts_changed(&mut hub.power_domains, change)
            }
            HubChange::PowerBudget(change) => {
                self.world.dirty.facts |= facts_changed(&mut hub.power_budgets, change)
            }
            HubChange::PriorityClass(change) => {
                if !hub.priority_classes.apply(change).is_empty() {
                    self.world.capacity_version += 1;
                }
            }
        }
    }

    /// A placement is new, changed or gone: the ledger and the job follow.
    pub(crate) fn placement_changed(&mut self, key: &ObjectKey, job_before: Option<&JobKey>) {
        if let Some(placement) = self.world.hub.placements.get(key) {
            let job = World::job_of(placement);
            self.world.attempts.add_placement(&job, key);
            self.record(key);
            self.world.dirty.jobs.insert(job);
        } else if let Some(job) = job_before {
            self.world.attempts.remove_placement(job, key);
            self.world.fleet.release(&key.to_string());
            self.world.capacity_version += 1;
            self.dispatched.remove(key);
            self.seen.remove(key);
            self.cleaned.remove(key);
            self.refused.remove(key);
            self.world.dirty.jobs.insert(job.clone());
        }
    }

    /// Records what a placement holds, and until when, where that is not what the ledger says.
    pub(crate) fn record(&mut self, key: &ObjectKey) {
        let Some(placement) = self.world.hub.placements.get(key) else {
            return;
        };
        let held = reservation(&self.world, placement);
        if self.world.fleet.reservation(&held.key) != Some(&held) {
            self.world.fleet.reserve(held);
        }
    }

    pub(crate) fn take_in_member(&mut self, cluster: &str, link: u64, event: LinkEvent) {
        let now = Timestamp::now();
        let Some(member) = self
            .world
            .members
            .get_mut(cluster)
            .filter(|m| m.link_number == link)
        else {
            return;
        };
        match event {
            LinkEvent::Connected { client, version } => {
                member.client = Some(client);
                member.version = Some(version);
                member.reach = Reach::Connected;
                member.last_seen = Some(now);
                member.watch_error = None;
                self.member_turned(cluster);
            }
            LinkEvent::Alive => {
                let was_out = member.reach != Reach::Connected;
                member.reach = Reach::Connected;
                member.last_seen = Some(now);
                if was_out {
                    self.member_turned(cluster);
                }
            }
            LinkEvent::Unreachable { reason, message } => {
                tracing::warn!(cluster, reason, %message, "member cannot be used");
                let since = match &member.reach {
                    Reach::Unreachable { since, .. } => *since,
                    _ => now,
                };
                member.reach = Reach::Unreachable {
                    since,
                    reason,
                    message,
                };
                self.member_turned(cluster);
            }
            LinkEvent::WatchFailed(error) => {
                tracing::warn!(cluster, %error, "watching a member failed; trying again");
                self.metrics.watch_failed(cluster);
                member.watch_error = Some(error);
                self.report_due.insert(cluster.to_owned());
            }
            LinkEvent::Changed(change) => self.take_in_member_change(cluster, change),
        }
    }

    fn take_in_member_change(&mut self, cluster: &str, change: MemberChange) {
        let Some(member) = self.world.members.get_mut(cluster) else {
            return;
        };
        let was_usable = member.is_usable();
        let mut nodes = BTreeSet::new();
        let mut placements = BTreeSet::new();
        match change {
            MemberChange::Node(change) => {
                nodes.extend(member.nodes.apply(change).into_iter().map(|k| k.name))
            }
            MemberChange::Slice(change) => {
                nodes.extend(nodes_of_slices(member, &change));
                member.slices.apply(change);
            }
            MemberChange::Claim(change) => {
                // An allocation names pools, which are nodes for every driver that is read here.
                nodes.extend(nodes_of_claims(member, &change));
                member.claims.apply(change);
            }
            MemberChange::Pod(change) => {
                let touched = member.pods.apply(change);
                nodes = touched.nodes;
                placements = touched.placements;
            }
            MemberChange::Job(change) => {
                placements.extend(owners(&change));
                member.jobs.apply(change);
            }
            MemberChange::Deployment(change) => {
                placements.extend(owners(&change));
                member.deployments.apply(change);
            }
        }
        let turned = member.is_usable() != was_usable;
        self.world
            .dirty
            .nodes
            .extend(nodes.into_iter().map(|node| (cluster.to_owned(), node)));
        for key in placements {
            let Some(placement) = self
                .world
                .hub
                .placements
                .get(&key)
                .filter(|p| p.spec.cluster == cluster)
            else {
                continue;
            };
            self.world.dirty.jobs.insert(World::job_of(placement));
        }
        if turned {
            self.member_turned(cluster);
        }
    }

    /// A member became usable or stopped being it: its nodes, its jobs and its status are to be looked at.
    pub(crate) fn member_turned(&mut self, cluster: &str) {
        self.world.dirty.clusters.insert(cluster.to_owned());
        self.report_due.insert(cluster.to_owned());
        let jobs: Vec<JobKey> = self
            .world
            .hub
            .placements
            .values()
            .filter(|p| p.spec.cluster == cluster)
            .map(World::job_of)
            .collect();
        self.world.dirty.jobs.extend(jobs);
    }
}

/// Takes a change in; says whether a spec changed. Our own status writes must not count as new facts.
fn facts_changed<K: kube::Resource>(cache: &mut Cache<K>, change: Change<K>) -> bool {
    let generation =
        |cache: &Cache<K>, key: &ObjectKey| cache.get(key).map(|o| o.meta().generation);
    let before: BTreeMap<ObjectKey, Option<i64>> = cache
        .keys()
        .map(|key| (key.clone(), generation(cache, key).flatten()))
        .collect();
    cache
        .apply(change)
        .iter()
        .any(|key| before.get(key).copied() != generation(cache, key))
}

/// Placements that changed objects belong to.
fn owners<K: Resource>(change: &Change<K>) -> Vec<ObjectKey> {
    let owner = |object: &K| {
        let meta = object.meta();
        let name = meta.labels.as_ref()?.get(labels::PLACEMENT)?;
        Some(ObjectKey::new(
            meta.namespace.as_deref().unwrap_or_default(),
            name,
        ))
    };
    change.objects().iter().filter_map(owner).collect()
}

/// Nodes that changed slices are about, before and after the change.
fn nodes_of_slices(member: &Member, change: &Change<SlimResourceSlice>) -> Vec<String> {
    let node = |slice: &SlimResourceSlice| slice.spec.node_name.clone();
    let mut nodes: Vec<String> = change.objects().iter().filter_map(node).collect();
    match change {
        Change::All(_) => nodes.extend(member.slices.values().filter_map(node)),
        Change::Applied(slice) => {
            nodes.extend(member.slices.get(&ObjectKey::of(&**slice)).and_then(node))
        }
        Change::Deleted(_) | Change::Forgotten(_) => {}
    }
    nodes
}

/// Pools of the devices that changed claims hold or held.
fn nodes_of_claims(member: &Member, change: &Change<SlimResourceClaim>) -> Vec<String> {
    let pools = |claim: &SlimResourceClaim| -> Vec<String> {
        claim
            .status
            .allocation
            .devices
            .results
            .iter()
            .map(|r| r.pool.clone())
            .collect()
    };
    let mut nodes: Vec<String> = change.objects().iter().flat_map(pools).collect();
    match change {
        Change::All(_) => nodes.extend(member.claims.values().flat_map(pools)),
        Change::Applied(claim) => nodes.extend(
            member
                .claims
                .get(&ObjectKey::of(&**claim))
                .map(pools)
                .unwrap_or_default(),
        ),
        Change::Deleted(_) | Change::Forgotten(_) => {}
    }
    nodes
}
