//! Ranks and nodes.

use ampacity_api::placement::NodeReplicas;

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
    #[cfg(test)]
    pub fn ranks(&self) -> u32 {
        self.ends.last().map_or(0, |(end, _)| *end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The node of one rank, by a plain walk.
    fn node_of_rank(nodes: &[NodeReplicas], rank: u32) -> Option<&str> {
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
}
