//! Making a Placement smaller.

use std::collections::BTreeSet;

use ampacity_api::placement::{NodeFeeds, NodeReplicas};
use ampacity_api::{Decimal, Placement};
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};

use crate::runtime::{HUB, Operator, Then, failpoint, placement_call};
use crate::state::ObjectKey;

/// Makes a placement smaller. What was on lost nodes goes first.
pub fn shrink(operator: &mut Operator, key: &ObjectKey, replicas: i32, lost: &BTreeSet<String>) {
    let Some(placement) = operator.state.placement(key) else {
        return;
    };
    let (old, mut smaller) = (i64::from(placement.spec.replicas.max(1)), placement.clone());
    take_replicas(
        &mut smaller.spec.nodes,
        placement.spec.replicas - replicas,
        lost,
    );
    smaller.spec.power_domains = feeds_of_rest(placement, &smaller.spec.nodes);
    smaller.spec.replicas = replicas;
    smaller.spec.epoch = operator.epoch;
    smaller.spec.watts = smaller.spec.watts * i64::from(replicas) / old;
    smaller.spec.usd_per_hour =
        Decimal::from_micros(smaller.spec.usd_per_hour.micros() / old * i64::from(replicas));
    rewrite(operator, key, smaller, "shrink placement");
}

/// Has a Placement written anew, if it is still the one that was decided on.
pub(super) fn rewrite(
    operator: &mut Operator,
    key: &ObjectKey,
    placement: Placement,
    call: &'static str,
) {
    let (hub, key) = (operator.hub.clone(), key.clone());
    operator.start(HUB, placement_call(&key.clone()), async move {
        let replaced = replace_placement(&hub, &placement).await;
        Box::new(move |operator: &mut Operator| {
            let result = replaced.map(|written| {
                operator.state.hub.placements.updated(written);
                operator.state.capacity_version += 1;
                operator.state.placement_changed(&key, None);
            });
            operator.retry_if_failed(call, &key, result);
        }) as Then
    });
}

/// Changes how many replicas a Placement holds, if it is still the one that was decided on.
///
/// # Errors
/// The API server's, a conflict among them.
async fn replace_placement(hub: &Client, placement: &Placement) -> Result<Placement, kube::Error> {
    let api: Api<Placement> =
        Api::namespaced(hub.clone(), &placement.namespace().unwrap_or_default());
    failpoint("shrink.before");
    let replaced = api
        .replace(&placement.name_any(), &PostParams::default(), placement)
        .await?;
    failpoint("shrink.written");
    Ok(replaced)
}

/// The power domains of the nodes that are left of a placement's, which are in the same order.
fn feeds_of_rest(placement: &Placement, left: &[NodeReplicas]) -> Vec<NodeFeeds> {
    let runs = placement.spec.power_domains.iter();
    let domains = runs.flat_map(|run| (0..run.nodes).map(move |_| &run.domains));
    let mut left = left.iter().map(|node| &node.name).peekable();
    let mut rest: Vec<NodeFeeds> = Vec::new();
    for (node, domains) in placement.spec.nodes.iter().zip(domains) {
        if left.next_if(|name| **name == node.name).is_none() {
            continue;
        }
        match rest.last_mut() {
            Some(run) if run.domains == *domains => run.nodes += 1,
            _ => rest.push(NodeFeeds {
                nodes: 1,
                domains: domains.clone(),
            }),
        }
    }
    rest
}

/// Takes replicas off nodes, off those that are lost first and off the last ones first.
fn take_replicas(nodes: &mut Vec<NodeReplicas>, mut excess: i32, lost: &BTreeSet<String>) {
    for of_lost in [true, false] {
        for node in nodes.iter_mut().rev() {
            if lost.contains(&node.name) == of_lost {
                let fewer = excess.min(node.replicas).max(0);
                node.replicas -= fewer;
                excess -= fewer;
            }
        }
    }
    nodes.retain(|n| n.replicas > 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_what_a_smaller_placement_gives_up() {
        type Nodes = &'static [(&'static str, i32)];
        let table: &[(&[&str], i32, Nodes)] = &[
            (&[], 1, &[("a", 2), ("b", 1)]),
            (&[], 3, &[("a", 1)]),
            (&["a"], 1, &[("a", 1), ("b", 1), ("c", 1)]),
            (&["a"], 2, &[("b", 1), ("c", 1)]),
            (&["b"], 2, &[("a", 2)]),
            (&["gone"], 1, &[("a", 2), ("b", 1)]),
            (&["a", "b", "c"], 4, &[]),
        ];
        for (lost, excess, expected) in table {
            let mut nodes: Vec<NodeReplicas> = [("a", 2), ("b", 1), ("c", 1)]
                .map(|(name, replicas)| NodeReplicas {
                    name: name.to_owned(),
                    replicas,
                })
                .into();
            let lost = lost.iter().map(|name| (*name).to_owned()).collect();
            take_replicas(&mut nodes, *excess, &lost);
            let left: Vec<(&str, i32)> = nodes
                .iter()
                .map(|n| (n.name.as_str(), n.replicas))
                .collect();
            assert_eq!(left, *expected, "{excess} fewer, {lost:?} lost");
        }
    }

    #[test]
    fn nodes_that_stay_keep_their_power_domains() {
        let placement: Placement =
            crate::testing::placement("InferenceJob", 1, &[("a", 1), ("b", 1), ("c", 1), ("d", 1)]);
        let run = |nodes, domain: &str| NodeFeeds {
            nodes,
            domains: vec![domain.to_owned()],
        };
        let with = |power_domains| {
            let mut placement = placement.clone();
            placement.spec.power_domains = power_domains;
            placement
        };
        let two = with(vec![run(2, "x"), run(2, "y")]);
        for (left, expected) in [
            (&["a", "b", "c", "d"][..], vec![run(2, "x"), run(2, "y")]),
            (&["b", "c", "d"], vec![run(1, "x"), run(2, "y")]),
            (&["a", "d"], vec![run(1, "x"), run(1, "y")]),
            (&["c"], vec![run(1, "y")]),
            (&[], vec![]),
        ] {
            let nodes = two.spec.nodes.iter();
            let nodes = nodes.filter(|node| left.contains(&node.name.as_str()));
            let rest = feeds_of_rest(&two, &nodes.cloned().collect::<Vec<_>>());
            assert_eq!(rest, expected, "{left:?}");
        }
        let none = with(Vec::new());
        assert_eq!(feeds_of_rest(&none, &none.spec.nodes), []);
    }
}
