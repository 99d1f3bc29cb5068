//! Brings the engine's fleet up to date with what hub and members show. The inventory knows how a node is read; this
//! stage knows which nodes changed.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_api::labels;
use ampacity_catalog::{Catalog, Prices};
use ampacity_placement::PowerIssue;
use jiff::Timestamp;
use kube::ResourceExt;

use crate::dispatch::{HUB, PLACEMENT_UID};
use crate::holding::Outage;
use crate::inventory::{
    Failing, FeedRules, HeldOnNode, MemberContext, SlimResourceClaim, failing, node_spec,
};
use crate::translate::{cluster_spec, power_spec};
use crate::world::{Member, ObjectKey, World};

/// An object of the platform team that has no status: what is wrong with it is told by events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FactObject {
    /// The AcceleratorType of this name.
    AcceleratorType(String),
    /// The PriceSheet of this name.
    PriceSheet(String),
}

/// Something wrong with such an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactNote {
    /// The object, where it has a name.
    pub object: Option<FactObject>,
    /// What is wrong and what to do.
    pub text: String,
}

/// What the facts of the platform team had wrong, for the status and events of the objects concerned.
#[derive(Debug, Default)]
pub struct FactIssues {
    /// Power domains and budgets.
    pub power: Vec<PowerIssue>,
    /// Catalogue and prices.
    pub notes: Vec<FactNote>,
    /// When the next price sheet comes into force: the facts are to be taken in again then.
    pub next_prices: Option<Timestamp>,
}

/// Takes the platform team's facts in: catalogue, prices, power. Every node is to be read again afterwards.
pub fn refresh_facts(world: &mut World, now: Timestamp) -> FactIssues {
    let sheets = world.hub.price_sheets.values();
    let mut issues = FactIssues {
        next_prices: sheets
            .map(|sheet| sheet.spec.effective_from.0)
            .filter(|from| *from > now)
            .min(),
        ..FactIssues::default()
    };
    let (catalog, catalog_issues) = Catalog::with_overrides(world.hub.accelerator_types.values());
    issues.notes.extend(catalog_issues.iter().map(|issue| {
        let name = issue.name().map(ToOwned::to_owned);
        FactNote {
            object: name.map(FactObject::AcceleratorType),
            text: issue.to_string(),
        }
    }));
    let (prices, price_issues) = Prices::from_sheets(world.hub.price_sheets.values(), now);
    issues
        .notes
        .extend(price_issues.iter().map(|issue| FactNote {
            object: Some(FactObject::PriceSheet(issue.sheet().to_owned())),
            text: issue.to_string(),
        }));
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

/// Reads changed clusters and nodes anew.
pub fn take_stock(world: &mut World, now: Timestamp) {
    world.hold_again();
    let clusters = std::mem::take(&mut world.dirty.clusters);
    let mut nodes = std::mem::take(&mut world.dirty.nodes);
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
        // Those that are gone, perhaps since before this process looked, are lost to the placements that name them.
        let named = world.named.of_cluster(name);
        nodes.extend(named.map(|node| (name.clone(), node.clone())));
    }
    if nodes.is_empty() {
        return;
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
    let slices = slices_by_node(world, &nodes);
    let claims = claims_by_pool(world, &slices);
    for key in nodes {
        if let Some(feeds) = feeds.get(&key.0) {
            let reading = Reading {
                feeds,
                cluster: &key.0,
                node: &key.1,
                slices: slices.get(&key).map(Vec::as_slice).unwrap_or_default(),
                claims: claims.get(&key.0),
            };
            read_node(world, &reading, now);
        }
    }
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
    world: &World,
    slices: &BTreeMap<(String, String), Vec<ObjectKey>>,
) -> BTreeMap<String, BTreeMap<String, Vec<ObjectKey>>> {
    let clusters: BTreeSet<&String> = slices.keys().map(|(cluster, _)| cluster).collect();
    let mut found = BTreeMap::new();
    for cluster in clusters {
        let by_pool: &mut BTreeMap<String, Vec<ObjectKey>> =
            found.entry(cluster.clone()).or_default();
        let claims = world.members.get(cluster).into_iter();
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

/// Whether a claim was made for a placement of ours that is there.
fn is_ours(member: &Member, claim: &SlimResourceClaim) -> bool {
    let (labels, annotations) = (claim.labels(), claim.annotations());
    let (Some(name), Some(uid)) = (
        labels.get(labels::PLACEMENT),
        annotations.get(PLACEMENT_UID),
    ) else {
        return false;
    };
    let placement = ObjectKey::new(&claim.namespace().unwrap_or_default(), name);
    labels.get(HUB).map(String::as_str) == Some(member.pods.hub_name())
        && member.pods.is_live(&placement, uid)
}

/// A node that is to be read, and what is to be read with it.
struct Reading<'a> {
    feeds: &'a FeedRules,
    cluster: &'a str,
    node: &'a str,
    slices: &'a [ObjectKey],
    /// Claims of the cluster, by the pool of their devices.
    claims: Option<&'a BTreeMap<String, Vec<ObjectKey>>>,
}

fn read_node(world: &mut World, reading: &Reading<'_>, now: Timestamp) {
    let Reading {
        feeds,
        cluster,
        node,
        ..
    } = *reading;
    let is_named = world.named.contains(cluster, node);
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
        catalog: &world.catalog,
        prices: &world.prices,
    };
    let slices: Vec<_> = reading
        .slices
        .iter()
        .filter_map(|key| member.slices.get(key))
        .collect();
    let mut held = HeldOnNode::of_pods(member.pods.foreign_on(node));
    if !slices.is_empty() {
        let pools: BTreeSet<&String> = slices.iter().map(|s| &s.spec.pool.name).collect();
        let here = pools
            .into_iter()
            .filter_map(|pool| reading.claims?.get(pool))
            .flatten()
            .filter_map(|key| member.claims.get(key));
        held.add_claims(here.filter(|claim| !is_ours(member, claim)));
    }
    let inventory = node_spec(&context, object, &slices, &held);
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
        world.fleet.set_node(inventory.spec);
        world.capacity_version += 1;
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
pub(crate) mod tests;
