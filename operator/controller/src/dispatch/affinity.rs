//! Required node affinity: what was placed, and whatever the template requires itself.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{DispatchError, Target};

/// Most host names in one requirement. A pod carries its affinity, so that a gang's size counts twice.
pub const MAX_HOSTNAMES: usize = 64;

const HOSTNAME: &str = "kubernetes.io/hostname";
const DO_NOT_SCHEDULE: &str = "DoNotSchedule";

/// Terms of which one must hold; none: nothing is required.
pub type Terms = Vec<NodeSelectorTerm>;

/// Exactly this node. By its name, which is unique and which kube-scheduler looks up without going through all nodes.
pub fn one_node(name: &str) -> Terms {
    vec![NodeSelectorTerm {
        match_fields: Some(vec![requirement("metadata.name", vec![name.to_owned()])]),
        match_expressions: None,
    }]
}

/// The nodes of a gang, by host name while they are few and all have one; else not at all, as each pod is pinned to its node
/// before its gate is lifted.
pub fn node_set(nodes: &[&str], target: &Target) -> Terms {
    match hostnames(nodes, target) {
        Some(hosts) if hosts.len() <= MAX_HOSTNAMES => vec![expression(HOSTNAME, hosts)],
        _ => Terms::new(),
    }
}

/// Any of these nodes and no other. By name, as no label is sure to be on these alone.
pub fn any_of(nodes: &[&str]) -> Terms {
    nodes.iter().flat_map(|node| one_node(node)).collect()
}

/// Puts as many of the pods that `selector` selects on each of the nodes that `pod` requires, where they have the label that tells
/// them apart, and the template does not spread its pods over nodes itself.
pub fn spread_evenly(
    pod: &mut PodSpec,
    nodes: &[&str],
    target: &Target,
    selector: BTreeMap<String, String>,
) {
    let constraints = pod.topology_spread_constraints.get_or_insert_default();
    // The API server refuses a second constraint of the kind on one key; the user's own stays.
    let is_taken = constraints
        .iter()
        .any(|c| c.topology_key == HOSTNAME && c.when_unsatisfiable == DO_NOT_SCHEDULE);
    if !is_taken && nodes.len() > 1 && hostnames(nodes, target).is_some() {
        constraints.push(TopologySpreadConstraint {
            topology_key: HOSTNAME.to_owned(),
            max_skew: 1,
            when_unsatisfiable: DO_NOT_SCHEDULE.to_owned(),
            label_selector: Some(LabelSelector {
                match_labels: Some(selector),
                match_expressions: None,
            }),
            ..TopologySpreadConstraint::default()
        });
    }
    if constraints.is_empty() {
        pod.topology_spread_constraints = None;
    }
}

/// Makes `pod` require one of `terms` beside what it requires already.
pub fn require(pod: &mut PodSpec, terms: &[NodeSelectorTerm]) -> Result<(), DispatchError> {
    if terms.is_empty() {
        return Ok(());
    }
    let node_affinity = pod
        .affinity
        .get_or_insert_default()
        .node_affinity
        .get_or_insert_default();
    let own = node_affinity
        .required_during_scheduling_ignored_during_execution
        .take();
    let all = match own {
        None => terms.to_vec(),
        Some(selector) => {
            // A term without requirements matches no node; with ours added it would match, so it goes.
            let mut own = selector.node_selector_terms;
            own.retain(|term| !is_empty(term));
            if own.is_empty() {
                return Err(DispatchError::EmptyAffinity);
            }
            own.iter()
                .flat_map(|theirs| terms.iter().map(|ours| both(theirs, ours)))
                .collect()
        }
    };
    node_affinity.required_during_scheduling_ignored_during_execution = Some(NodeSelector {
        node_selector_terms: all,
    });
    Ok(())
}

/// A term that holds where both hold.
pub fn both(theirs: &NodeSelectorTerm, ours: &NodeSelectorTerm) -> NodeSelectorTerm {
    // Theirs first: the API server lets a gated pod's requirements only be added to, at the end.
    let join = |a: &Option<Vec<NodeSelectorRequirement>>,
                b: &Option<Vec<NodeSelectorRequirement>>| {
        let joined: Vec<_> = a.iter().chain(b).flatten().cloned().collect();
        (!joined.is_empty()).then_some(joined)
    };
    NodeSelectorTerm {
        match_expressions: join(&theirs.match_expressions, &ours.match_expressions),
        match_fields: join(&theirs.match_fields, &ours.match_fields),
    }
}

fn is_empty(term: &NodeSelectorTerm) -> bool {
    let none =
        |list: &Option<Vec<NodeSelectorRequirement>>| list.as_ref().is_none_or(Vec::is_empty);
    none(&term.match_expressions) && none(&term.match_fields)
}

/// Host name labels of `nodes`, sorted; `None` when one of them has none.
fn hostnames(nodes: &[&str], target: &Target) -> Option<Vec<String>> {
    let mut hosts: Vec<String> = nodes
        .iter()
        .map(|node| target.hostnames.get(*node).cloned())
        .collect::<Option<_>>()?;
    hosts.sort();
    hosts.dedup();
    Some(hosts)
}

fn expression(key: &str, values: Vec<String>) -> NodeSelectorTerm {
    NodeSelectorTerm {
        match_expressions: Some(vec![requirement(key, values)]),
        match_fields: None,
    }
}

fn requirement(key: &str, values: Vec<String>) -> NodeSelectorRequirement {
    NodeSelectorRequirement {
        key: key.to_owned(),
        operator: "In".to_owned(),
        values: Some(values),
    }
}
