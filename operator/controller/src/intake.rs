//! What watches and links tell, taken into the [`World`](crate::world::World): what changed is marked for the cycle.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_api::{GROUP, JobKind, MemberCluster, VERSION, labels};
use jiff::Timestamp;
use kube::Resource;

use crate::act::HUB_STATUS;
use crate::hub::HubChange;
use crate::inventory::{SlimResourceClaim, SlimResourceSlice};
use crate::member::{LinkEvent, MemberChange};
use crate::operator::{Operator, Then};
use crate::stocktake::reservation;
use crate::watch::{Change, WatchFailure};
use crate::world::{Cache, JobKey, Member, ObjectKey, Reach, World};

impl Operator {
    /// A watch of the hub failed. A kind that the API server does not know at all has no objects, and must not keep the
    /// operator from the others.
    pub(crate) fn hub_watch_failed(&mut self, kind: String, failure: &WatchFailure) {
        self.metrics.watch_failed("hub");
        if failure.code != Some(404) {
            tracing::warn!(%kind, error = %failure.message, "watching the hub failed; trying again");
            return;
        }
        let hub = self.hub.clone();
        // An API server that starts may not serve a kind yet; one that lists its neighbours and not this kind does not know it.
        self.start(HUB_STATUS, format!("discover/{kind}"), async move {
            let version = format!("{GROUP}/{VERSION}");
            let known = hub.list_api_group_resources(&version).await;
            Box::new(move |operator: &mut Operator| {
                let is_absent = known.is_ok_and(|known| {
                    let kinds: BTreeSet<&String> = known.resources.iter().map(|r| &r.kind).collect();
                    !kinds.is_empty() && !kinds.contains(&kind)
                });
                if is_absent && operator.world.hub.absent.insert(kind.clone()) {
                    tracing::error!(%kind, "the hub has no CRD of this kind: install it with `ampacity crds | kubectl apply --server-side -f -`; the other kinds are served meanwhile");
                }
            }) as Then
        });
    }

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
                let fact = |cluster: &MemberCluster| {
                    let meta = &cluster.metadata;
                    (
                        meta.generation,
                        meta.labels.clone(),
                        meta.deletion_timestamp.clone(),
                    )
                };
                let changed = changed_facts(&mut hub.clusters, change, fact);
                self.world
                    .dirty
                    .clusters
                    .extend(changed.into_iter().map(|k| k.name));
            }
            HubChange::AcceleratorType(change) => {
                self.world.dirty.facts |= !hub.accelerator_types.apply(change).is_empty()
            }
            HubChange::PriceSheet(change) => {
                self.world.dirty.facts |= !hub.price_sheets.apply(change).is_empty()
            }
            HubChange::PowerDomain(change) => {
                self.world.dirty.facts |=
                    !changed_facts(&mut hub.power_domains, change, generation).is_empty()
            }
            HubChange::PowerBudget(change) => {
                self.world.dirty.facts |=
                    !changed_facts(&mut hub.power_budgets, change, generation).is_empty()
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
            let held = reservation(&self.world, placement);
            self.world.attempts.add_placement(&job, key);
            if self.world.fleet.reservation(&held.key) != Some(&held) {
                self.world.fleet.reserve(held);
            }
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
                member.watch_failed = None;
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
            LinkEvent::WatchFailed(failure) => {
                tracing::warn!(cluster, error = %failure.message, "watching a member failed; trying again");
                self.metrics.watch_failed(cluster);
                member.watch_failed = Some((failure, now));
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

/// Takes a change in; returns the keys whose fact changed. Our own status writes must not count as news.
fn changed_facts<K: Resource, F: PartialEq>(
    cache: &mut Cache<K>,
    change: Change<K>,
    fact: impl Fn(&K) -> F,
) -> Vec<ObjectKey> {
    // A change says which keys it may touch, or that it may touch all.
    let touched: Vec<ObjectKey> = match &change {
        Change::All(_) => cache.keys().cloned().collect(),
        Change::Forgotten(key) => vec![key.clone()],
        _ => change.objects().iter().map(ObjectKey::of).collect(),
    };
    let before: BTreeMap<ObjectKey, F> = touched
        .into_iter()
        .filter_map(|key| Some((key.clone(), fact(cache.get(&key)?))))
        .collect();
    let mut changed = cache.apply(change);
    changed.retain(|key| before.get(key) != cache.get(key).map(&fact).as_ref());
    changed
}

fn generation<K: Resource>(object: &K) -> Option<i64> {
    object.meta().generation
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
