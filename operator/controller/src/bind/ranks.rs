//! Ranks and nodes.

use std::collections::BTreeMap;

use ampacity_api::placement::NodeReplicas;

/// Annotation and, since Kubernetes 1.28, label of an indexed Job's pods: their rank.
const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// The rank that the Job controller gave a pod, from its labels or its annotations; `None` for pods of no indexed Job.
pub fn rank_of(
    labels: Option<&BTreeMap<String, String>>,
    annotations: Option<&BTreeMap<String, String>>,
) -> Option<u32> {
    [annotations, labels]
        .into_iter()
        .flatten()
        .find_map(|map| map.get(COMPLETION_INDEX)?.parse().ok())
}

/// The node that each rank of a placement goes to: the first node takes the first ranks, and so on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RankMap {
    /// By node, in rank order: the rank after its last, and its name.
    ends: Vec<(u32, String)>,
}

impl RankMap {
    /// From the nodes of a placement. Counts below one hold no rank.
    pub fn new(nodes: &[NodeReplicas]) -> Self {
        let mut end = 0_u32;
        let ends = nodes
            .iter()
            .filter_map(|node| {
                let replicas = u32::try_from(node.replicas).ok().filter(|n| *n > 0)?;
                end = end.saturating_add(replicas);
                Some((end, node.name.clone()))
            })
            .collect();
        Self { ends }
    }

    /// The node of a rank; `None` beyond the last. Costs the logarithm of the number of nodes.
    pub fn node_of(&self, rank: u32) -> Option<&str> {
        let index = self.ends.partition_point(|(end, _)| *end <= rank);
        self.ends.get(index).map(|(_, name)| name.as_str())
    }

    /// How many ranks there are.
    pub fn ranks(&self) -> u32 {
        self.ends.last().map_or(0, |(end, _)| *end)
    }
}

/// The node of one rank. For all ranks of a gang make a [`RankMap`] once.
pub fn node_of_rank(nodes: &[NodeReplicas], rank: u32) -> Option<&str> {
    let mut left = i64::from(rank);
    nodes.iter().find_map(|node| {
        let here = i64::from(node.replicas.max(0));
        if left < here {
            return Some(node.name.as_str());
        }
        left -= here;
        None
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(name: &str, replicas: i32) -> NodeReplicas {
        NodeReplicas {
            name: name.to_owned(),
            replicas,
        }
    }

    #[test]
    fn ranks_fill_nodes_in_order() {
        let nodes = [node("a", 2), node("gone", 0), node("b", 1), node("a", 1)];
        let map = RankMap::new(&nodes);
        let expected = [Some("a"), Some("a"), Some("b"), Some("a"), None];
        for (rank, name) in (0_u32..).zip(expected) {
            assert_eq!(map.node_of(rank), name, "rank {rank}");
        }
        assert_eq!(map.ranks(), 4);
        assert_eq!(RankMap::new(&[]).node_of(0), None);
    }

    proptest! {
        #[test]
        fn the_map_and_the_plain_walk_agree(counts in proptest::collection::vec(-1..5_i32, 0..20), rank in 0..100_u32) {
            let nodes: Vec<_> = counts.iter().enumerate().map(|(i, n)| node(&format!("n{i}"), *n)).collect();
            let map = RankMap::new(&nodes);
            prop_assert_eq!(map.node_of(rank), node_of_rank(&nodes, rank));
        }
    }

    #[test]
    fn a_rank_is_read_from_annotation_or_label() {
        let map = |value: &str| BTreeMap::from([(COMPLETION_INDEX.to_owned(), value.to_owned())]);
        assert_eq!(rank_of(None, Some(&map("7"))), Some(7));
        assert_eq!(rank_of(Some(&map("8")), None), Some(8));
        assert_eq!(rank_of(Some(&map("8")), Some(&map("x"))), Some(8));
        assert_eq!(rank_of(Some(&map("-1")), Some(&BTreeMap::new())), None);
    }
}
