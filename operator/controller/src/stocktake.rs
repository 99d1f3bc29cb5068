//! Brings the engine's fleet up to date with what hub and members show. The inventory knows how a node is read; this
//! stage knows which nodes changed.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_api::{JobKind, MemberCluster, Placement};
use ampacity_catalog::{Catalog, Prices};
use ampacity_placement::{ClusterSpec, NodeShare, PowerIssue, Reservation, Watts};
use jiff::Timestamp;
use kube::ResourceExt;

use crate::inventory::{FeedRules, HeldOnNode, MemberContext, node_spec};
use crate::observe::expected_end;
use crate::translate::{pod_shape, power_spec};
use crate::world::{JobKey, Member, ObjectKey, World};

/// What the facts of the platform team had wrong, for the status of the objects concerned.
#[derive(Debug, Default)]
pub struct FactIssues {
    /// Power domains and budgets.
    pub power: Vec<PowerIssue>,
    /// Catalogue and prices, in words.
    pub notes: Vec<String>,
}

/// Takes the platform team's facts in: catalogue, prices, power. Every node is to be read again afterwards.
pub fn refresh_facts(world: &mut World, now: Timestamp) -> FactIssues {
    let mut issues = FactIssues::default();
    let (catalog, catalog_issues) = Catalog::with_overrides(world.hub.accelerator_types.values());
    issues
        .notes
        .extend(catalog_issues.iter().map(ToString::to_string));
    let (prices, price_issues) = Prices::from_sheets(world.hub.price_sheets.values(), now);
    issues
        .notes
        .extend(price_issues.iter().map(ToString::to_string));
    for accelerator in catalog.iter() {
        world.fleet.set_accelerator(accelerator.facts());
    }
    world.catalog = catalog;
    world.prices = prices;
    issues.power = world.fleet.set_power(power_spec(
        world.hub.power_domains.values(),
        world.hub.power_budgets.values(),
    ));
    world
        .dirty
        .clusters
        .extend(world.hub.clusters.values().map(ResourceExt::name_any));
    world.capacity_version += 1;
    issues
}

/// Reads changed clusters and nodes anew. Returns the clusters whose inventory changed.
pub fn take_stock(world: &mut World, now: Timestamp) -> BTreeSet<String> {
    let clusters = std::mem::take(&mut world.dirty.clusters);
    let mut nodes = std::mem::take(&mut world.dirty.nodes);
    let mut changed = clusters.clone();
    for name in &clusters {
        let Some(cluster) = world.hub.clusters.named(name) else {
            world.fleet.remove_cluster(name);
            world.capacity_version += 1;
            continue;
        };
        let reachable = world.members.get(name).is_some_and(Member::is_usable);
        world.fleet.set_cluster(cluster_spec(cluster, reachable));
        world.capacity_version += 1;
        if let Some(member) = world.members.get(name) {
            nodes.extend(
                member
                    .nodes
                    .keys()
                    .map(|key| (name.clone(), key.name.clone())),
            );
        }
    }
    if nodes.is_empty() {
        return changed;
    }
    let feeds: BTreeMap<String, FeedRules> = world
        .hub
        .clusters
        .values()
        .map(|c| {
            (
                c.name_any(),
                FeedRules::for_cluster(c, world.hub.power_domains.values()),
            )
        })
        .collect();
    let ours = nodes_with_ours(world, &nodes);
    let slices = slices_by_node(world, &nodes);
    for key in nodes {
        let (cluster, node) = (&key.0, &key.1);
        if let Some(feeds) = feeds.get(cluster) {
            let slices = slices.get(&key).map(Vec::as_slice).unwrap_or_default();
            read_node(
                world,
                feeds,
                cluster,
                node,
                slices,
                ours.contains(&key),
                now,
            );
        }
        changed.insert(key.0);
    }
    changed
}

/// Keys of the ResourceSlices of the nodes that are to be read, found in one pass.
fn slices_by_node(
    world: &World,
    nodes: &BTreeSet<(String, String)>,
) -> BTreeMap<(String, String), Vec<ObjectKey>> {
    let clusters: BTreeSet<&String> = nodes.iter().map(|(cluster, _)| cluster).collect();
    let mut found: BTreeMap<(String, String), Vec<ObjectKey>> = BTreeMap::new();
    for cluster in clusters {
        for slice in world
            .members
            .get(cluster)
            .into_iter()
            .flat_map(|m| m.slices.values())
        {
            let Some(node) = &slice.spec.node_name else {
                continue;
            };
            let key = (cluster.clone(), node.clone());
            if nodes.contains(&key) {
                found.entry(key).or_default().push(ObjectKey::of(slice));
            }
        }
    }
    found
}

fn cluster_spec(cluster: &MemberCluster, reachable: bool) -> ClusterSpec {
    ClusterSpec {
        name: cluster.name_any(),
        labels: cluster.labels().clone(),
        provider: cluster.spec.provider.clone(),
        region: cluster.spec.region.clone(),
        reachable: reachable && cluster.metadata.deletion_timestamp.is_none(),
        allowed_namespaces: cluster.spec.allowed_namespaces.clone(),
    }
}

/// Nodes among `nodes` that a placement of ours names.
fn nodes_with_ours(
    world: &World,
    nodes: &BTreeSet<(String, String)>,
) -> BTreeSet<(String, String)> {
    let named = world.hub.placements.values().flat_map(|p| {
        p.spec
            .nodes
            .iter()
            .map(|n| (p.spec.cluster.clone(), n.name.clone()))
    });
    named.filter(|key| nodes.contains(key)).collect()
}

fn read_node(
    world: &mut World,
    feeds: &FeedRules,
    cluster: &str,
    node: &str,
    slices: &[ObjectKey],
    has_ours: bool,
    now: Timestamp,
) {
    let Some(spec) = world.hub.clusters.named(cluster).map(|c| c.spec.clone()) else {
        return;
    };
    let Some(member) = world.members.get_mut(cluster) else {
        return;
    };
    let Some(object) = member.nodes.get(&ObjectKey::new("", node)) else {
        world.fleet.remove_node(cluster, node);
        member.specs.remove(node);
        member.notes.remove(node);
        if member.nodes.is_synced() && has_ours {
            member.faulty_since.entry(node.to_owned()).or_insert(now);
        } else {
            member.faulty_since.remove(node);
        }
        return;
    };
    let context = MemberContext {
        cluster,
        provider: &spec.provider,
        region: &spec.region,
        topology_levels: &spec.topology_levels,
        feeds,
        catalog: &world.catalog,
        prices: &world.prices,
    };
    let slices: Vec<_> = slices
        .iter()
        .filter_map(|key| member.slices.get(key))
        .collect();
    let mut held = HeldOnNode::of_pods(member.pods.foreign_on(node));
    if !slices.is_empty() {
        let pools: BTreeSet<&str> = slices.iter().map(|s| s.spec.pool.name.as_str()).collect();
        let here = member.claims.values().filter(|claim| {
            claim
                .status
                .allocation
                .devices
                .results
                .iter()
                .any(|r| pools.contains(r.pool.as_str()))
        });
        held.add_claims(here);
    }
    let inventory = node_spec(&context, object, &slices, &held);
    let notes: Vec<String> = inventory.notes.iter().map(ToString::to_string).collect();
    // Cordoning stops new work only; a node that is down or broken loses what runs on it.
    let down = matches!(
        inventory.spec.fault,
        Some(
            ampacity_placement::NodeFault::NotReady
                | ampacity_placement::NodeFault::Unhealthy(_)
                | ampacity_placement::NodeFault::Terminating
        )
    );
    if down && has_ours {
        member.faulty_since.entry(node.to_owned()).or_insert(now);
    } else {
        member.faulty_since.remove(node);
    }
    if notes.is_empty() {
        member.notes.remove(node);
    } else {
        member.notes.insert(node.to_owned(), notes);
    }
    for group in &inventory.spec.devices {
        if member.taint_keys.get(&group.resource) != Some(&group.taint_keys) {
            member
                .taint_keys
                .insert(group.resource.clone(), group.taint_keys.clone());
        }
    }
    if member.specs.get(node) != Some(&inventory.spec) {
        member.specs.insert(node.to_owned(), inventory.spec.clone());
        world.fleet.set_node(inventory.spec);
        world.capacity_version += 1;
    }
}

/// What a placement holds, for the ledger. Where pods of an inference job were bound by the member's scheduler, they
/// count on the node that they are on rather than on the one planned.
pub fn reservation(world: &World, placement: &Placement) -> Reservation {
    let spec = &placement.spec;
    let job = World::job_of(placement);
    let (cpu_milli, memory_mib) = replica_shape(world, &job, &spec.alternative);
    let planned = spec
        .nodes
        .iter()
        .map(|n| NodeShare {
            name: n.name.clone(),
            replicas: n.replicas.unsigned_abs(),
        })
        .collect();
    let nodes = match spec.job_ref.kind {
        JobKind::TrainingJob => planned,
        JobKind::InferenceJob => actual_nodes(world, placement, planned),
    };
    Reservation {
        key: ObjectKey::of(placement).to_string(),
        queue: queue_of(world, &job),
        cluster: spec.cluster.clone(),
        accelerator_type: spec.accelerator_type.clone(),
        devices_per_replica: spec.devices_per_replica.unsigned_abs(),
        cpu_milli,
        memory_mib,
        nodes,
        watts: Watts(spec.watts),
        ends_seconds: world
            .hub
            .training
            .get(&job.object)
            .filter(|_| job.kind == JobKind::TrainingJob)
            .filter(|j| j.metadata.uid.as_deref() == Some(&spec.job_ref.uid))
            .and_then(|j| expected_end(j, placement)),
    }
}

fn actual_nodes(world: &World, placement: &Placement, planned: Vec<NodeShare>) -> Vec<NodeShare> {
    let pods = world
        .members
        .get(&placement.spec.cluster)
        .and_then(|m| m.pods.of_placement(&ObjectKey::of(placement)));
    let mut bound: BTreeMap<String, u32> = BTreeMap::new();
    for pod in pods
        .into_iter()
        .flat_map(|p| p.values())
        .filter(|p| p.holds_devices())
    {
        if let Some(node) = &pod.node {
            *bound.entry(node.clone()).or_default() += 1;
        }
    }
    let mut missing = planned
        .iter()
        .map(|n| n.replicas)
        .sum::<u32>()
        .saturating_sub(bound.values().sum());
    for share in &planned {
        let here = bound.get(&share.name).copied().unwrap_or(0);
        let more = share.replicas.saturating_sub(here).min(missing);
        if more > 0 {
            *bound.entry(share.name.clone()).or_default() += more;
            missing -= more;
        }
    }
    bound
        .into_iter()
        .map(|(name, replicas)| NodeShare { name, replicas })
        .collect()
}

fn replica_shape(world: &World, job: &JobKey, alternative: &str) -> (u64, u64) {
    let (template, alternatives) = match job.kind {
        JobKind::TrainingJob => match world.hub.training.get(&job.object) {
            Some(job) => (&job.spec.template, &job.spec.alternatives),
            None => return (0, 0),
        },
        JobKind::InferenceJob => match world.hub.inference.get(&job.object) {
            Some(job) => (&job.spec.template, &job.spec.alternatives),
            None => return (0, 0),
        },
    };
    alternatives
        .iter()
        .find(|a| a.name == alternative)
        .and_then(|a| pod_shape(template, a, "spec").ok())
        .map_or((0, 0), |shape| (shape.cpu_milli, shape.memory_mib))
}

fn queue_of(world: &World, job: &JobKey) -> String {
    match job.kind {
        JobKind::TrainingJob => world
            .hub
            .training
            .get(&job.object)
            .map(|j| j.spec.queue.clone()),
        JobKind::InferenceJob => world
            .hub
            .inference
            .get(&job.object)
            .map(|j| j.spec.queue.clone()),
    }
    .unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests;
