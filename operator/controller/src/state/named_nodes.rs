//! Which nodes placements name.

use std::collections::BTreeMap;

use ampacity_api::Placement;

use super::key::ObjectKey;

/// The nodes that placements name. A node that is not there is lost to those, and of no interest otherwise.
#[derive(Debug, Default)]
pub struct NamedNodes {
    /// Number of placements by cluster and node.
    counts: BTreeMap<String, BTreeMap<String, usize>>,
    by_placement: BTreeMap<ObjectKey, (String, Vec<String>)>,
}

impl NamedNodes {
    /// Whether a placement names the node.
    pub fn contains(&self, cluster: &str, node: &str) -> bool {
        self.counts
            .get(cluster)
            .is_some_and(|nodes| nodes.contains_key(node))
    }

    /// The nodes of a cluster that placements name.
    pub fn of_cluster(&self, cluster: &str) -> impl Iterator<Item = &String> {
        self.counts
            .get(cluster)
            .into_iter()
            .flat_map(BTreeMap::keys)
    }

    pub(super) fn set(&mut self, key: &ObjectKey, placement: &Placement) {
        let spec = &placement.spec;
        let names: Vec<String> = spec.nodes.iter().map(|n| n.name.clone()).collect();
        let counts = self.counts.entry(spec.cluster.clone()).or_default();
        for name in &names {
            *counts.entry(name.clone()).or_default() += 1;
        }
        self.by_placement
            .insert(key.clone(), (spec.cluster.clone(), names));
    }

    /// Forgets a placement; returns its cluster and the nodes that it named.
    pub(super) fn take(&mut self, key: &ObjectKey) -> Option<(String, Vec<String>)> {
        let (cluster, names) = self.by_placement.remove(key)?;
        if let Some(counts) = self.counts.get_mut(&cluster) {
            for name in &names {
                if let Some(count) = counts.get_mut(name) {
                    *count -= 1;
                    if *count == 0 {
                        counts.remove(name);
                    }
                }
            }
            if counts.is_empty() {
                self.counts.remove(&cluster);
            }
        }
        Some((cluster, names))
    }
}
