//! Brings the engine's fleet up to date with what hub and members show. `node.rs` knows how a node is read; this file knows
//! which nodes changed.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_api::labels;
use jiff::Timestamp;
use kube::ResourceExt;

use super::cluster::cluster_spec;
use super::dra_facts::DraFacts;
use super::feeds::FeedRules;
use super::health::failing;
use super::held::HeldOnNode;
use super::node::{MemberContext, node_spec};
use super::signs::take_signs;
use crate::state::{Failing, Member, ObjectKey, Outage, SlimResourceClaim, State};

/// Reads changed clusters and nodes anew.
pub fn refresh(state: &mut State, now: Timestamp) {
    state.hold_again();
    let clusters = std::mem::take(&mut state.dirty.clusters);
    let mut nodes = std::mem::take(&mut state.dirty.nodes);
    for name in &clusters {
        let Some(cluster) = state.hub.clusters.named(name) else {
            state.fleet.remove_cluster(name);
            state.capacity_version += 1;
            continue;
        };
        let reachable = state.members.get(name).is_some_and(Member::is_usable);
        state.fleet.set_cluster(cluster_spec(cluster, reachable));
        state.capacity_version += 1;
        if let Some(member) = state.members.get(name) {
            nodes.extend(
                member
                    .nodes
                    .keys()
                    .map(|key| (name.clone(), key.name.clone())),
            );
        }
        // Those that are gone, perhaps since before this process looked, are lost to the placements that name them.
        let named = state.named.of_cluster(name);
        nodes.extend(named.map(|node| (name.clone(), node.clone())));
    }
    if nodes.is_empty() {
        return;
    }
    let feeds: BTreeMap<String, FeedRules> = state
        .hub
        .clusters
        .values()
        .map(|c| {
            (
                c.name_any(),
                FeedRules::for_cluster(c, state.hub.power_domains.values()),
            )
        })
        .collect();
    let slices = slices_by_node(state, &nodes);
    let claims = claims_by_pool(state, &slices);
    let dra = dra_facts(state, &slices);
    let none = DraFacts::default();
    for key in nodes {
        if let Some(feeds) = feeds.get(&key.0) {
            let reading = Reading {
                feeds,
                cluster: &key.0,
                node: &key.1,
                slices: slices.get(&key).map(Vec::as_slice).unwrap_or_default(),
                claims: claims.get(&key.0),
                dra: dra.get(&key.0).unwrap_or(&none),
            };
            read_node(state, &reading, now);
        }
    }
}

/// Keys of the ResourceSlices of the nodes that are to be read, found in one pass.
fn slices_by_node(
    state: &State,
    nodes: &BTreeSet<(String, String)>,
) -> BTreeMap<(String, String), Vec<ObjectKey>> {
    let clusters: BTreeSet<&String> = nodes.iter().map(|(cluster, _)| cluster).collect();
    let mut found: BTreeMap<(String, String), Vec<ObjectKey>> = BTreeMap::new();
    for cluster in clusters {
        for slice in state
            .members
            .get(cluster)
            .into_iter()
            .flat_map(|m| m.slices.values())
        {
            for node in slice.nodes() {
                let key = (cluster.clone(), node.to_owned());
                if nodes.contains(&key) {
                    found.entry(key).or_default().push(ObjectKey::of(slice));
                }
            }
        }
    }
    found
}

/// Which pools' devices claims hold, by pool, found in one pass over each cluster whose nodes have slices.
fn claims_by_pool(
    state: &State,
    slices: &BTreeMap<(String, String), Vec<ObjectKey>>,
) -> BTreeMap<String, BTreeMap<String, Vec<ObjectKey>>> {
    let clusters: BTreeSet<&String> = slices.keys().map(|(cluster, _)| cluster).collect();
    let mut found = BTreeMap::new();
    for cluster in clusters {
        let by_pool: &mut BTreeMap<String, Vec<ObjectKey>> =
            found.entry(cluster.clone()).or_default();
        let claims = state.members.get(cluster).into_iter();
        for claim in claims.flat_map(|m| m.claims.values()) {
            let results = &claim.status.allocation.devices.results;
            let pools: BTreeSet<&String> = results.iter().map(|r| &r.pool).collect();
            for pool in pools {
                let keys = by_pool.entry(pool.clone()).or_default();
                keys.push(ObjectKey::of(claim));
            }
        }
    }
    found
}

/// Pools over several nodes and DeviceTaintRules of each cluster whose nodes have slices, found in one pass.
fn dra_facts(
    state: &State,
    slices: &BTreeMap<(String, String), Vec<ObjectKey>>,
) -> BTreeMap<String, DraFacts> {
    let clusters: BTreeSet<&String> = slices.keys().map(|(cluster, _)| cluster).collect();
    let members = clusters.into_iter().filter_map(|cluster| {
        let member = state.members.get(cluster)?;
        let facts = DraFacts::of(member.slices.values(), member.taint_rules.values());
        Some((cluster.clone(), facts))
    });
    members.collect()
}

/// Whether a claim was made for a placement of ours that is there, which has reserved what it holds.
fn is_ours(member: &Member, claim: &SlimResourceClaim) -> bool {
    let (pods, own) = (&member.pods, claim.labels());
    let Some(name) = own.get(labels::PLACEMENT) else {
        return pods
            .served_by(claim)
            .is_some_and(|(placement, uid)| pods.covers_claim(placement, uid, claim));
    };
    let uid = claim.annotations().get(labels::PLACEMENT_UID);
    let placement = ObjectKey::new(&claim.namespace().unwrap_or_default(), name);
    pods.is_of_hub(own.get(labels::HUB))
        && pods.covers_claim(&placement, uid.map_or("", String::as_str), claim)
}

/// A node that is to be read, and what is to be read with it.
struct Reading<'a> {
    feeds: &'a FeedRules,
    cluster: &'a str,
    node: &'a str,
    slices: &'a [ObjectKey],
    /// Claims of the cluster, by the pool of their devices.
    claims: Option<&'a BTreeMap<String, Vec<ObjectKey>>>,
    dra: &'a DraFacts,
}

fn read_node(state: &mut State, reading: &Reading<'_>, now: Timestamp) {
    let Reading {
        feeds,
        cluster,
        node,
        dra,
        ..
    } = *reading;
    let is_named = state.named.contains(cluster, node);
    let Some(spec) = state.hub.clusters.named(cluster).map(|c| c.spec.clone()) else {
        return;
    };
    let Some(member) = state.members.get_mut(cluster) else {
        return;
    };
    let Some(object) = member.nodes.get(&ObjectKey::new("", node)) else {
        state.fleet.remove_node(cluster, node);
        member.specs.remove(node);
        member.notes.remove(node);
        member.signs.forget_node(node);
        let lost = (member.nodes.is_synced() && is_named).then_some(Failing::Silent);
        note_outage(member, node, lost, now);
        return;
    };
    let context = MemberContext {
        cluster,
        provider: &spec.provider,
        region: &spec.region,
        topology_levels: &spec.topology_levels,
        feeds,
        catalog: &state.catalog,
        prices: &state.prices,
        dra,
    };
    let slices: Vec<_> = reading
        .slices
        .iter()
        .filter_map(|key| member.slices.get(key))
        .collect();
    let mut held = HeldOnNode::of_pods(member.pods.foreign_on(node));
    if !slices.is_empty() && !member.claims_unknown {
        let pools: BTreeSet<&String> = slices.iter().map(|s| &s.spec.pool.name).collect();
        let here = pools
            .into_iter()
            .filter_map(|pool| reading.claims?.get(pool))
            .flatten()
            .filter_map(|key| member.claims.get(key));
        held.add_claims(here.filter(|claim| !is_ours(member, claim)));
        held.resolve(|key| member.claims.get(key));
    }
    let mut inventory = node_spec(&context, object, &slices, &held);
    take_signs(&member.signs, cluster, node, now, &mut inventory);
    let failing = failing(object);
    let notes: Vec<String> = inventory.notes.iter().map(ToString::to_string).collect();
    note_outage(member, node, failing, now);
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
        state.fleet.set_node(inventory.spec);
        state.capacity_version += 1;
    }
}

fn note_outage(member: &mut Member, node: &str, failing: Option<Failing>, now: Timestamp) {
    let known = member.outages.get(node).copied();
    match Outage::next(known, failing, now) {
        Some(outage) => drop(member.outages.insert(node.to_owned(), outage)),
        None => drop(member.outages.remove(node)),
    }
}

#[cfg(test)]
mod tests;
