//! What watches and links tell, taken into the [`World`](crate::world::World): what changed is marked for the cycle.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_api::{GROUP, JobKind, MemberCluster, VERSION, labels};
use jiff::Timestamp;
use kube::Resource;

use crate::act::HUB_STATUS;
use crate::holding::{following_pods, reservation};
use crate::hub::HubChange;
use crate::inventory::{SlimResourceClaim, SlimResourceSlice};
use crate::look::placement_effect;
use crate::member::{LinkEvent, MemberChange};
use crate::operator::{Operator, Then};
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
                let changed = hub.training.apply(change).into_iter();
                self.jobs_changed(changed.map(job(JobKind::TrainingJob)).collect());
            }
            HubChange::Inference(change) => {
                hub.readable_again(JobKind::InferenceJob, &change);
                let changed = hub.inference.apply(change).into_iter();
                self.jobs_changed(changed.map(job(JobKind::InferenceJob)).collect());
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

    /// Jobs are new, changed or gone. What a replica holds beside devices stands in the job, which may be read after its
    /// placements.
    fn jobs_changed(&mut self, jobs: Vec<JobKey>) {
        for job in &jobs {
            let placements = self.world.attempts.placements_of(job).cloned();
            self.world.dirty.placements.extend(placements);
        }
        self.world.dirty.jobs.extend(jobs);
    }

    /// A placement is new, changed or gone: what it holds and its job follow.
    pub(crate) fn placement_changed(&mut self, key: &ObjectKey, job_before: Option<&JobKey>) {
        self.world.follow_placement(key);
        if let Some(placement) = self.world.hub.placements.get(key) {
            let job = World::job_of(placement);
            self.world.attempts.add_placement(&job, key);
            self.world.dirty.jobs.insert(job);
        } else if let Some(job) = job_before {
            self.world.attempts.remove_placement(job, key);
            // Somebody may have taken its finalizer off: then its objects are still there.
            let claimed = |(name, member): (&String, &Member)| {
                member.pods.is_claimed(key).then(|| name.clone())
            };
            let claimed = self.world.members.iter().filter_map(claimed);
            self.world.dirty.orphans.extend(claimed);
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
        let workloads = matches!(
            change,
            MemberChange::Job(Change::Applied(_)) | MemberChange::Deployment(Change::Applied(_))
        );
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
        let following: Vec<ObjectKey> = following_pods(&self.world, &placements).collect();
        self.world.dirty.placements.extend(following);
        for key in placements {
            let Some(placement) = self
                .world
                .hub
                .placements
                .get(&key)
                .filter(|p| p.spec.cluster == cluster)
            else {
                // Unless the Placement is just being written, this is an orphan.
                if workloads && !self.effects.is_running(&placement_effect(&key)) {
                    self.world.dirty.orphans.insert(cluster.to_owned());
                }
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
        self.world.dirty.orphans.insert(cluster.to_owned());
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
fn nodes_of_slices(member: &Member, change: &Change<SlimResourceSlice>) -> BTreeSet<String> {
    let before: Vec<&SlimResourceSlice> = match change {
        Change::All(_) => member.slices.values().collect(),
        Change::Applied(slice) => member
            .slices
            .get(&ObjectKey::of(&**slice))
            .into_iter()
            .collect(),
        Change::Deleted(_) => Vec::new(),
        Change::Forgotten(key) => member.slices.get(key).into_iter().collect(),
    };
    let slices = change.objects().iter().chain(before);
    slices
        .flat_map(SlimResourceSlice::nodes)
        .map(str::to_owned)
        .collect()
}

/// Nodes whose devices changed claims hold or held.
fn nodes_of_claims(member: &Member, change: &Change<SlimResourceClaim>) -> BTreeSet<String> {
    let before: Vec<&SlimResourceClaim> = match change {
        Change::All(_) => member.claims.values().collect(),
        Change::Applied(claim) => member
            .claims
            .get(&ObjectKey::of(&**claim))
            .into_iter()
            .collect(),
        Change::Deleted(_) => Vec::new(),
        Change::Forgotten(key) => member.claims.get(key).into_iter().collect(),
    };
    let claims = change.objects().iter().chain(before);
    let pools: BTreeSet<&String> = claims
        .flat_map(|claim| &claim.status.allocation.devices.results)
        .map(|result| &result.pool)
        .collect();
    let is_node = |pool: &&&String| member.nodes.get(&ObjectKey::new("", pool)).is_some();
    // An allocation names pools, and most drivers name a pool after its node.
    let (nodes, others): (Vec<&String>, Vec<&String>) =
        pools.iter().copied().partition(|pool| is_node(&pool));
    let mut found: BTreeSet<String> = nodes.into_iter().cloned().collect();
    if !others.is_empty() {
        let of_pools = member.slices.values();
        let of_pools = of_pools.filter(|slice| others.contains(&&slice.spec.pool.name));
        found.extend(
            of_pools
                .flat_map(SlimResourceSlice::nodes)
                .map(str::to_owned),
        );
    }
    found
}
