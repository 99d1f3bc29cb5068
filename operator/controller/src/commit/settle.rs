//! Writing down where replicas are that their member's scheduler placed, where that is not what was decided.

use std::collections::BTreeMap;

use ampacity_api::Placement;
use ampacity_api::placement::{NodeFeeds, NodeReplicas};

use super::shrink::rewrite;
use crate::runtime::Operator;
use crate::state::{ObjectKey, OurPod, feeds_of_nodes};

/// Has a Placement name the nodes that its replicas are on, once all of them are bound: of replicas that became fewer the member
/// keeps those that it likes. Until that is written both count, those named and those taken, since a restarted operator may see
/// the names alone.
pub fn settle(operator: &mut Operator, key: &ObjectKey) {
    let Some(placement) = operator.state.placement(key) else {
        return;
    };
    let Some(member) = operator.state.usable_member(placement) else {
        return;
    };
    let Some(nodes) = member
        .pods
        .of_placement(key)
        .and_then(|pods| settled(placement, pods))
    else {
        return;
    };
    let mut settled = placement.clone();
    settled.spec.power_domains = feeds_of_nodes(placement, nodes.iter().map(|n| n.name.as_str()))
        .into_iter()
        .map(|run| NodeFeeds {
            nodes: i32::try_from(run.nodes).unwrap_or(i32::MAX),
            domains: run.domains,
        })
        .collect();
    settled.spec.nodes = nodes;
    settled.spec.epoch = operator.epoch;
    rewrite(operator, key, settled, "settle placement");
}

/// The nodes that all replicas of a placement are on, where these are not the ones that it names.
fn settled(placement: &Placement, pods: &BTreeMap<String, OurPod>) -> Option<Vec<NodeReplicas>> {
    let holding = || pods.values().filter(|pod| pod.holds_devices());
    if holding().any(|pod| pod.terminating || pod.node.is_none()) {
        return None;
    }
    let count = |nodes: &mut BTreeMap<String, i32>, name: &str, replicas| {
        *nodes.entry(name.to_owned()).or_default() += replicas;
    };
    let (mut there, mut named) = (BTreeMap::new(), BTreeMap::new());
    for node in holding().filter_map(|pod| pod.node.as_deref()) {
        count(&mut there, node, 1);
    }
    for node in &placement.spec.nodes {
        count(&mut named, &node.name, node.replicas);
    }
    let all = there.values().sum::<i32>() == placement.spec.replicas;
    (all && there != named).then(|| {
        let nodes = there.into_iter();
        nodes
            .map(|(name, replicas)| NodeReplicas { name, replicas })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::pod;
    use crate::testing::placement;

    #[test]
    fn a_placement_is_settled_once_all_replicas_are_bound_and_elsewhere() {
        type Pods = &'static [Option<&'static str>];
        type Nodes = &'static [(&'static str, i32)];
        // Nodes of the pods, `None` for one that waits; whether the first is on its way out; what is to be written.
        let table: &[(Pods, bool, Option<Nodes>)] = &[
            (&[Some("a"), Some("b")], false, None),
            (&[Some("b"), Some("b")], false, Some(&[("b", 2)])),
            (&[Some("c"), Some("b")], false, Some(&[("b", 1), ("c", 1)])),
            (&[Some("b"), Some("b")], true, None),
            (&[Some("b"), None], false, None),
            (&[Some("b")], false, None),
            (&[Some("a"), Some("b"), Some("c")], false, None),
        ];
        let placement = placement("InferenceJob", 1, &[("a", 1), ("b", 1)]);
        for (nodes, first_goes, expected) in table {
            let pods = nodes.iter().enumerate().map(|(number, node)| {
                let pod = OurPod {
                    node: node.map(str::to_owned),
                    terminating: *first_goes && number == 0,
                    ..pod(true)
                };
                (format!("pod-{number}"), pod)
            });
            let found = settled(&placement, &pods.collect());
            let found: Option<Vec<(String, i32)>> =
                found.map(|nodes| nodes.into_iter().map(|n| (n.name, n.replicas)).collect());
            let expected = expected.map(|nodes| {
                nodes
                    .iter()
                    .map(|(name, count)| ((*name).to_owned(), *count))
                    .collect()
            });
            assert_eq!(found, expected, "{nodes:?} {first_goes}");
        }
    }
}
