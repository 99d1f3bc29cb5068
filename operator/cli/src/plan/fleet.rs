//! The fleet that the objects describe.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use ampacity_api::{JobKind, MemberCluster, PlacementPhase, labels};
use ampacity_catalog::{Catalog, Prices};
use ampacity_controller::inventory::{
    FeedRules, HeldOnNode, MemberContext, SlimNode, SlimResourceClaim, SlimResourceSlice,
    node_spec, pod_usage,
};
use ampacity_controller::translate::{
    Charge, ClusterSite, cluster_spec, planned_shares, power_spec, reservation,
};
use ampacity_placement::{Fleet, Reservation};
use jiff::Timestamp;
use kube::ResourceExt;

use super::objects::{Given, Objects};

/// Name of the cluster that nodes belong to where no MemberCluster is given.
const IMPLIED_CLUSTER: &str = "default";

/// What jobs are planned on.
pub(super) struct Scene {
    pub(super) fleet: Fleet,
    pub(super) catalog: Catalog,
    pub(super) prices: Prices,
    pub(super) sites: Vec<ClusterSite>,
    pub(super) notes: Vec<String>,
}

/// Builds the fleet; everything odd becomes a note.
pub(super) fn build(objects: &Objects, now: Timestamp) -> Scene {
    let types = objects.accelerator_types.values().map(|g| &g.object);
    let (catalog, catalog_issues) = Catalog::with_overrides(types);
    let sheets = objects.price_sheets.values().map(|g| &g.object);
    let (prices, price_issues) = Prices::from_sheets(sheets, now);
    let mut scene = Scene {
        fleet: Fleet::new(),
        catalog,
        prices,
        sites: Vec::new(),
        notes: Vec::new(),
    };
    scene
        .notes
        .extend(catalog_issues.iter().map(ToString::to_string));
    scene
        .notes
        .extend(price_issues.iter().map(ToString::to_string));
    for accelerator in scene.catalog.iter() {
        scene.fleet.set_accelerator(accelerator.facts());
    }
    let power = power_spec(
        objects.power_domains.values().map(|g| &g.object),
        objects.power_budgets.values().map(|g| &g.object),
    );
    let issues = scene.fleet.set_power(power);
    scene.notes.extend(issues.iter().map(ToString::to_string));

    let clusters = clusters(objects, &mut scene.notes);
    for cluster in clusters.values() {
        scene.sites.push(ClusterSite {
            name: cluster.name_any(),
            provider: cluster.spec.provider.clone(),
            region: cluster.spec.region.clone(),
        });
        scene.fleet.set_cluster(cluster_spec(cluster, true));
    }
    check_power_refs(objects, &clusters, &mut scene.notes);
    add_nodes(objects, &clusters, &mut scene);
    for reservation in reservations(objects) {
        scene.fleet.reserve(reservation);
    }
    scene
}

/// The MemberClusters, or the ones implied by nodes where none is given.
fn clusters(objects: &Objects, notes: &mut Vec<String>) -> BTreeMap<String, MemberCluster> {
    let given: BTreeMap<String, MemberCluster> = objects
        .clusters
        .values()
        .map(|g| (g.object.name_any(), g.object.clone()))
        .collect();
    if !given.is_empty() {
        return given;
    }
    let mut names: BTreeSet<String> = objects
        .nodes
        .iter()
        .filter_map(|g| g.object.labels().get(labels::CLUSTER).cloned())
        .collect();
    if names.is_empty()
        || objects
            .nodes
            .iter()
            .any(|g| !g.object.labels().contains_key(labels::CLUSTER))
    {
        names.insert(IMPLIED_CLUSTER.to_owned());
    }
    let list: Vec<&str> = names.iter().map(String::as_str).collect();
    notes.push(format!(
        "no MemberCluster is given: nodes are taken to be on premises, in cluster {}; give MemberClusters for provider, region and prices",
        list.join(", ")
    ));
    names
        .into_iter()
        .map(|name| {
            let mut cluster = MemberCluster::default();
            cluster.metadata.name = Some(name.clone());
            cluster.spec.provider = "onprem".to_owned();
            cluster.spec.region = "default".to_owned();
            (name, cluster)
        })
        .collect()
}

fn check_power_refs(
    objects: &Objects,
    clusters: &BTreeMap<String, MemberCluster>,
    notes: &mut Vec<String>,
) {
    let exists = |name: &str| {
        let key = (String::new(), name.to_owned());
        objects.power_domains.contains_key(&key)
    };
    for (name, cluster) in clusters {
        if let Some(domain) = &cluster.spec.power_domain_ref
            && !exists(&domain.name)
        {
            notes.push(format!(
                "MemberCluster {name}: spec.powerDomainRef names PowerDomain {:?}, which is not given; its watts are not limited",
                domain.name
            ));
        }
    }
    for given in objects.power_domains.values() {
        for member in &given.object.spec.members {
            if !clusters.contains_key(&member.cluster) {
                notes.push(format!(
                    "PowerDomain {}: spec.members names MemberCluster {:?}, which is not given",
                    given.object.name_any(),
                    member.cluster
                ));
            }
        }
    }
}

/// The cluster of an object: its label, else the only one there is.
fn cluster_of<'a>(
    label: Option<&String>,
    clusters: &'a BTreeMap<String, MemberCluster>,
) -> Result<&'a str, String> {
    match label {
        Some(name) => clusters.get_key_value(name).map(|(name, _)| name.as_str()).ok_or_else(|| {
            format!("label {} names MemberCluster {name:?}, which is not given; add it or correct the label", labels::CLUSTER)
        }),
        None if clusters.len() == 1 => Ok(clusters.keys().next().map_or("", String::as_str)),
        None => Err(format!(
            "there are {} MemberClusters and nothing says to which it belongs; label it {}=NAME",
            clusters.len(),
            labels::CLUSTER
        )),
    }
}

/// Cluster and name of a node.
type NodeKey = (String, String);

fn add_nodes(objects: &Objects, clusters: &BTreeMap<String, MemberCluster>, scene: &mut Scene) {
    let mut nodes: BTreeMap<NodeKey, SlimNode> = BTreeMap::new();
    for given in &objects.nodes {
        let mut node = given.object.clone();
        if node.metadata.name.as_deref().is_none_or(str::is_empty) {
            let name = given.origin.stem();
            scene.notes.push(format!(
                "{}: the Node has no metadata.name; it is called {name} here",
                given.origin.name()
            ));
            node.metadata.name = Some(name);
        }
        let name = node.name_any();
        let cluster = match node.labels().get(labels::CLUSTER) {
            // Where no MemberCluster is given, the nodes that name none have one of their own.
            None if objects.clusters.is_empty() => Ok(IMPLIED_CLUSTER),
            label => cluster_of(label, clusters),
        };
        match cluster {
            Ok(cluster) => match nodes.entry((cluster.to_owned(), name.clone())) {
                Entry::Vacant(entry) => {
                    entry.insert(node);
                }
                Entry::Occupied(_) => scene.notes.push(format!(
                    "{}: node {cluster}/{name} is given more than once; the first is used",
                    given.origin.name()
                )),
            },
            Err(why) => scene.notes.push(format!(
                "{}: node {name} is left out: {why}",
                given.origin.name()
            )),
        }
    }
    let named = clusters_by_node(&nodes);
    let held = held(objects, clusters, &named, &mut scene.notes);
    let slices = slices(objects, clusters, &named, &mut scene.notes);
    let domains: Vec<_> = objects.power_domains.values().map(|g| &g.object).collect();
    let feeds: BTreeMap<&str, FeedRules> = clusters
        .iter()
        .map(|(name, cluster)| {
            let rules = FeedRules::for_cluster(cluster, domains.iter().copied());
            (name.as_str(), rules)
        })
        .collect();
    let nothing = HeldOnNode::default();
    for (key, node) in &nodes {
        let (Some(cluster), Some(feeds)) = (clusters.get(&key.0), feeds.get(key.0.as_str())) else {
            continue;
        };
        let context = MemberContext {
            cluster: &key.0,
            provider: &cluster.spec.provider,
            region: &cluster.spec.region,
            topology_levels: &cluster.spec.topology_levels,
            feeds,
            catalog: &scene.catalog,
            prices: &scene.prices,
        };
        let slices = slices.get(key).map(Vec::as_slice).unwrap_or_default();
        let inventory = node_spec(&context, node, slices, held.get(key).unwrap_or(&nothing));
        scene
            .notes
            .extend(inventory.notes.iter().map(ToString::to_string));
        scene.fleet.set_node(inventory.spec);
    }
}

/// Clusters that have a node of a name, by that name.
type ClustersByNode<'a> = BTreeMap<&'a str, Vec<&'a str>>;

fn clusters_by_node(nodes: &BTreeMap<NodeKey, SlimNode>) -> ClustersByNode<'_> {
    let mut named = ClustersByNode::new();
    for (cluster, node) in nodes.keys() {
        named.entry(node).or_default().push(cluster);
    }
    named
}

/// Which cluster an object bound to `node` belongs to: its label, else the one cluster that has such a node.
fn bound_cluster(
    label: Option<&String>,
    node: &str,
    clusters: &BTreeMap<String, MemberCluster>,
    nodes: &ClustersByNode<'_>,
) -> Result<String, String> {
    if label.is_some() {
        return cluster_of(label, clusters).map(str::to_owned);
    }
    match nodes.get(node).map(Vec::as_slice).unwrap_or_default() {
        [] => Err(format!("its node {node:?} is not given")),
        [cluster] => Ok((*cluster).to_owned()),
        several => Err(format!(
            "clusters {} all have a node {node:?}; label it {}=NAME",
            several.join(", "),
            labels::CLUSTER
        )),
    }
}

fn held(
    objects: &Objects,
    clusters: &BTreeMap<String, MemberCluster>,
    nodes: &ClustersByNode<'_>,
    notes: &mut Vec<String>,
) -> BTreeMap<NodeKey, HeldOnNode> {
    let mut held: BTreeMap<NodeKey, HeldOnNode> = BTreeMap::new();
    for given in &objects.pods {
        let pod = &given.object;
        let Some(mut usage) = pod_usage(pod) else {
            continue;
        };
        // What a Placement holds is reserved from the Placement; without it, the pod is like anybody else's.
        if let Some(placement) = &usage.placement {
            let key = (pod.namespace().unwrap_or_default(), placement.clone());
            if !objects.placements.contains_key(&key) {
                usage.placement = None;
            }
        }
        match bound_cluster(
            pod.labels().get(labels::CLUSTER),
            &usage.node,
            clusters,
            nodes,
        ) {
            Ok(cluster) => {
                let key = (cluster, usage.node.clone());
                held.entry(key).or_default().add(&usage);
            }
            Err(why) => notes.push(format!(
                "{}: pod {} is left out: {why}",
                given.origin.name(),
                pod.name_any()
            )),
        }
    }
    if objects.claims.is_empty() {
        return held;
    }
    let mut claims: BTreeMap<String, Vec<&SlimResourceClaim>> = BTreeMap::new();
    for given in &objects.claims {
        let claim = &given.object;
        claims.entry(claim.name_any()).or_default().push(claim);
    }
    for (key, on_node) in &mut held {
        let used = on_node.claims.clone();
        let used = used.iter().filter_map(|name| claims.get(name)).flatten();
        let here = used.copied().filter(|claim| {
            let label = claim.labels().get(labels::CLUSTER);
            let placement = claim.labels().get(labels::PLACEMENT).map(|name| {
                let namespace = claim.namespace().unwrap_or_default();
                (namespace, name.clone())
            });
            let reserved = placement.is_some_and(|key| objects.placements.contains_key(&key));
            label.is_none_or(|cluster| *cluster == key.0) && !reserved
        });
        on_node.add_claims(here);
    }
    held
}

fn slices<'a>(
    objects: &'a Objects,
    clusters: &BTreeMap<String, MemberCluster>,
    nodes: &ClustersByNode<'_>,
    notes: &mut Vec<String>,
) -> BTreeMap<NodeKey, Vec<&'a SlimResourceSlice>> {
    let mut slices: BTreeMap<NodeKey, Vec<&SlimResourceSlice>> = BTreeMap::new();
    for given in &objects.slices {
        let slice = &given.object;
        let on = slice.nodes();
        if on.is_empty() {
            notes.push(format!(
                "{}: ResourceSlice {} names no node; its devices are left out",
                given.origin.name(),
                slice.name_any()
            ));
        }
        for node in on {
            match bound_cluster(slice.labels().get(labels::CLUSTER), node, clusters, nodes) {
                Ok(cluster) => slices
                    .entry((cluster, node.to_owned()))
                    .or_default()
                    .push(slice),
                Err(why) => notes.push(format!(
                    "{}: ResourceSlice {} is left out: {why}",
                    given.origin.name(),
                    slice.name_any()
                )),
            }
        }
    }
    slices
}

/// Whether a Placement still holds what it names.
pub(super) fn holds(given: &Given<ampacity_api::Placement>, objects: &Objects) -> bool {
    let placement = &given.object;
    let phase = placement.status.as_ref().and_then(|status| status.phase);
    let ended = matches!(
        phase,
        Some(PlacementPhase::Succeeded | PlacementPhase::Failed | PlacementPhase::Released)
    );
    let key = (
        placement.namespace().unwrap_or_default(),
        placement.spec.job_ref.name.clone(),
    );
    let ended_attempts = match placement.spec.job_ref.kind {
        JobKind::TrainingJob => objects
            .training
            .get(&key)
            .and_then(|job| job.object.status.as_ref())
            .map_or(0, |status| status.ended_attempts),
        JobKind::InferenceJob => 0,
    };
    !ended && placement.spec.attempt > ended_attempts
}

/// What the given Placements hold.
fn reservations(objects: &Objects) -> Vec<Reservation> {
    let in_force = objects
        .placements
        .values()
        .filter(|given| holds(given, objects));
    in_force
        .map(|given| {
            let placement = &given.object;
            let spec = &placement.spec;
            let job = (
                placement.namespace().unwrap_or_default(),
                spec.job_ref.name.clone(),
            );
            let charge = match spec.job_ref.kind {
                JobKind::TrainingJob => objects
                    .training
                    .get(&job)
                    .map(|j| Charge::of_training(&j.object, placement)),
                JobKind::InferenceJob => objects
                    .inference
                    .get(&job)
                    .map(|j| Charge::of_inference(&j.object, placement)),
            };
            reservation(
                placement,
                charge.unwrap_or_default(),
                planned_shares(placement),
            )
        })
        .collect()
}
