//! Which member cluster the given objects belong to.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use ampacity_api::{MemberCluster, labels};
use ampacity_controller::state::{
    Change, Member, Reach, SlimDeviceTaintRule, SlimNode, SlimPod, SlimResourceClaim,
    SlimResourceSlice, State, pod_usage,
};
use jiff::Timestamp;
use kube::ResourceExt;

use super::objects::Objects;

/// Name of the cluster that nodes belong to where no MemberCluster is given.
const IMPLIED_CLUSTER: &str = "default";

/// Cluster and name of a node.
type NodeKey = (String, String);

/// What the given objects show of one member.
#[derive(Default)]
struct Shown {
    nodes: Vec<SlimNode>,
    pods: Vec<SlimPod>,
    slices: Vec<SlimResourceSlice>,
    claims: Vec<SlimResourceClaim>,
    taint_rules: Vec<SlimDeviceTaintRule>,
    /// Pods that have ended: they hold nothing, but tell of their nodes.
    ended: Vec<SlimPod>,
}

/// Puts clusters, nodes, pods and DRA objects into the state, as if their members had shown them; everything odd becomes a note.
pub(super) fn add_members(objects: &Objects, state: &mut State, notes: &mut Vec<String>) {
    let clusters = clusters(objects, notes);
    check_power_refs(objects, &clusters, notes);
    let mut shown: BTreeMap<&str, Shown> = clusters
        .keys()
        .map(|name| (name.as_str(), Shown::default()))
        .collect();
    let nodes = nodes(objects, &clusters, notes);
    let named = clusters_by_node(&nodes);
    add_pods(objects, &clusters, &named, &mut shown, notes);
    add_slices(objects, &clusters, &named, &mut shown, notes);
    add_claims(objects, &named, &mut shown, notes);
    add_taint_rules(objects, &clusters, &mut shown, notes);
    for ((cluster, _), node) in &nodes {
        if let Some(shown) = shown.get_mut(cluster.as_str()) {
            shown.nodes.push(node.clone());
        }
    }
    for (name, shown) in shown {
        let mut member = Member {
            reach: Reach::Connected,
            claims_unknown: objects.claims.is_empty(),
            pods: Default::default(),
            ..Member::new("", &state.kinds)
        };
        member.nodes.apply(Change::All(shown.nodes));
        for pod in shown.ended {
            member.signs.apply(&Change::Applied(Box::new(pod)));
        }
        let pods = Change::All(shown.pods);
        member.signs.apply(&pods);
        member.pods.apply(pods, Timestamp::UNIX_EPOCH);
        member.slices.apply(Change::All(shown.slices));
        member.claims.apply(Change::All(shown.claims));
        member.taint_rules.apply(Change::All(shown.taint_rules));
        for workloads in member.workloads.values_mut() {
            workloads.apply(Change::All(Vec::new()));
        }
        state.link_member(name, member);
    }
    let clusters = clusters.into_values().collect();
    state.hub.clusters.apply(Change::All(clusters));
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
                "MemberCluster {name}: spec.powerDomainRef names PowerDomain {:?}, which is not given: nothing is placed on nodes that hang on it until it is",
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

/// The nodes, by cluster and name.
fn nodes(
    objects: &Objects,
    clusters: &BTreeMap<String, MemberCluster>,
    notes: &mut Vec<String>,
) -> BTreeMap<NodeKey, SlimNode> {
    let mut nodes: BTreeMap<NodeKey, SlimNode> = BTreeMap::new();
    for given in &objects.nodes {
        let mut node = given.object.clone();
        if node.metadata.name.as_deref().is_none_or(str::is_empty) {
            let name = given.origin.stem();
            notes.push(format!(
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
                Entry::Occupied(_) => notes.push(format!(
                    "{}: node {cluster}/{name} is given more than once; the first is used",
                    given.origin.name()
                )),
            },
            Err(why) => notes.push(format!(
                "{}: node {name} is left out: {why}",
                given.origin.name()
            )),
        }
    }
    nodes
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

fn add_pods(
    objects: &Objects,
    clusters: &BTreeMap<String, MemberCluster>,
    nodes: &ClustersByNode<'_>,
    shown: &mut BTreeMap<&str, Shown>,
    notes: &mut Vec<String>,
) {
    let mut first = FirstPods::new();
    for (number, given) in objects.pods.iter().enumerate() {
        let pod = &given.object;
        let label = pod.labels().get(labels::CLUSTER);
        let Some(usage) = pod_usage(pod) else {
            // One whose node is not given tells nothing.
            let node = pod.spec.node_name.as_deref().unwrap_or_default();
            if let Ok(cluster) = bound_cluster(label, node, clusters, nodes)
                && let Some(shown) = shown.get_mut(cluster.as_str())
            {
                let mut pod = pod.clone();
                name_if_nameless(&mut pod.metadata, number);
                shown.ended.push(pod);
            }
            continue;
        };
        let cluster = match bound_cluster(label, &usage.node, clusters, nodes) {
            Ok(cluster) => cluster,
            Err(why) => {
                notes.push(format!(
                    "{}: pod {} is left out: {why}",
                    given.origin.name(),
                    pod.name_any()
                ));
                continue;
            }
        };
        if let Some(shown) = shown.get_mut(cluster.as_str()) {
            let mut pod = pod.clone();
            name_if_nameless(&mut pod.metadata, number);
            if let Some(note) =
                rename_if_second(&mut pod, &cluster, &usage.node, number, &mut first)
            {
                notes.push(format!("{}: {note}", given.origin.name()));
            }
            shown.pods.push(pod);
        }
    }
}

/// Node and UID of the first pod of a name, by cluster, namespace and name.
type FirstPods = BTreeMap<(String, Option<String>, String), (String, Option<String>)>;

/// Dumps of two clusters in one, or a pod that was made again between two dumps: what either of two pods of one name holds may
/// be held, so both are kept, the second under a name of its own; returns what to tell the user.
fn rename_if_second(
    pod: &mut SlimPod,
    cluster: &str,
    node: &str,
    number: usize,
    first: &mut FirstPods,
) -> Option<String> {
    let name = pod.name_any();
    let this = (node.to_owned(), pod.uid());
    match first.entry((cluster.to_owned(), pod.namespace(), name.clone())) {
        Entry::Vacant(entry) => {
            entry.insert(this);
            None
        }
        Entry::Occupied(entry) if *entry.get() == this => None,
        Entry::Occupied(entry) => {
            pod.metadata.name = Some(format!("{name} {number}"));
            Some(format!(
                "pod {name} is given on node {} and on node {node}, not as the same pod; both are counted. Where they are of two clusters, label them {}=NAME",
                entry.get().0,
                labels::CLUSTER
            ))
        }
    }
}

/// What is only part of a dump may have lost its name; two such objects are two all the same.
fn name_if_nameless(metadata: &mut kube::core::ObjectMeta, number: usize) {
    if metadata.name.as_deref().is_none_or(str::is_empty) {
        metadata.name = Some(format!("nameless {number}"));
    }
}

fn add_slices(
    objects: &Objects,
    clusters: &BTreeMap<String, MemberCluster>,
    nodes: &ClustersByNode<'_>,
    shown: &mut BTreeMap<&str, Shown>,
    notes: &mut Vec<String>,
) {
    for (number, given) in objects.slices.iter().enumerate() {
        let slice = &given.object;
        let on = slice.nodes();
        if on.is_empty() && slice.spec.devices.is_empty() {
            // Counters of a pool over several nodes: the pool is whole only with them.
            if let Ok(cluster) = cluster_of(slice.labels().get(labels::CLUSTER), clusters)
                && let Some(shown) = shown.get_mut(cluster)
            {
                let mut slice = slice.clone();
                name_if_nameless(&mut slice.metadata, number);
                shown.slices.push(slice);
            }
            continue;
        }
        if on.is_empty() {
            notes.push(format!(
                "{}: ResourceSlice {} names no node; its devices are left out",
                given.origin.name(),
                slice.name_any()
            ));
        }
        let mut of: BTreeSet<String> = BTreeSet::new();
        for node in on {
            match bound_cluster(slice.labels().get(labels::CLUSTER), node, clusters, nodes) {
                Ok(cluster) => drop(of.insert(cluster)),
                Err(why) => notes.push(format!(
                    "{}: ResourceSlice {} is left out: {why}",
                    given.origin.name(),
                    slice.name_any()
                )),
            }
        }
        for cluster in of {
            if let Some(shown) = shown.get_mut(cluster.as_str()) {
                let mut slice = slice.clone();
                name_if_nameless(&mut slice.metadata, number);
                shown.slices.push(slice);
            }
        }
    }
}

/// Claims hold devices of pools. A pool belongs to the cluster that has a slice of it; nearly all drivers name it after its node.
fn add_claims(
    objects: &Objects,
    nodes: &ClustersByNode<'_>,
    shown: &mut BTreeMap<&str, Shown>,
    notes: &mut Vec<String>,
) {
    let mut pools: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (cluster, of) in shown.iter() {
        for slice in &of.slices {
            let pool = slice.spec.pool.name.clone();
            pools.entry(pool).or_default().insert((*cluster).to_owned());
        }
    }
    for (node, clusters) in nodes {
        let of = pools.entry((*node).to_owned()).or_default();
        of.extend(clusters.iter().map(|cluster| (*cluster).to_owned()));
    }
    for (number, given) in objects.claims.iter().enumerate() {
        let claim = &given.object;
        let results = &claim.status.allocation.devices.results;
        let mut of: BTreeSet<&String> = results
            .iter()
            .filter_map(|r| pools.get(&r.pool))
            .flatten()
            .collect();
        if let Some(label) = claim.labels().get(labels::CLUSTER) {
            of.retain(|cluster| *cluster == label);
        } else if of.len() > 1 {
            let list: Vec<&str> = of.iter().map(|cluster| cluster.as_str()).collect();
            notes.push(format!(
                "{}: ResourceClaim {} holds devices of a pool that clusters {} all have; they count as held in each; label it {}=NAME",
                given.origin.name(),
                claim.name_any(),
                list.join(", "),
                labels::CLUSTER
            ));
        }
        for cluster in of {
            if let Some(shown) = shown.get_mut(cluster.as_str()) {
                let mut claim = claim.clone();
                name_if_nameless(&mut claim.metadata, number);
                shown.claims.push(claim);
            }
        }
    }
}

/// A rule without a label is taken for every cluster: which of several it is of nothing else says, and a device that is out of
/// service is not promised.
fn add_taint_rules(
    objects: &Objects,
    clusters: &BTreeMap<String, MemberCluster>,
    shown: &mut BTreeMap<&str, Shown>,
    notes: &mut Vec<String>,
) {
    for (number, given) in objects.taint_rules.iter().enumerate() {
        let mut rule = given.object.clone();
        name_if_nameless(&mut rule.metadata, number);
        let label = rule.labels().get(labels::CLUSTER).cloned();
        if let Some(label) = label
            .as_ref()
            .filter(|label| !clusters.contains_key(*label))
        {
            notes.push(format!(
                "{}: DeviceTaintRule {} is left out: label {} names MemberCluster {label:?}, which is not given; add it or correct the label",
                given.origin.name(),
                rule.name_any(),
                labels::CLUSTER
            ));
            continue;
        }
        if label.is_none() && clusters.len() > 1 {
            notes.push(format!(
                "{}: DeviceTaintRule {} counts in every cluster; label it {}=NAME where it is of one",
                given.origin.name(),
                rule.name_any(),
                labels::CLUSTER
            ));
        }
        for (name, shown) in shown.iter_mut() {
            if label.as_ref().is_none_or(|label| label == name) {
                shown.taint_rules.push(rule.clone());
            }
        }
    }
}
