//! Copies of a node, for a trial: "would the job fit if there were n more of these?"

use std::sync::Arc;

use super::counts::count_down;
use super::index::Fleet;
use super::node::Node;
use crate::arena::{GroupIndex, NodeIndex};
use crate::model::{Level, NodeSpec};

impl Fleet {
    /// A node like another one, in the domains that it has of a group, with nothing on it but what daemons use.
    pub(crate) fn spec_like(&self, template: NodeIndex, group: GroupIndex) -> NodeSpec {
        let node = &self.nodes[template];
        let mut spec = NodeSpec {
            cluster: self.clusters[node.cluster].name.to_string(),
            cpu_milli: node.cpu,
            memory_mib: node.memory,
            pod_slots: node.pods,
            other: node
                .other
                .iter()
                .map(|other| {
                    let name = self.symbols.text(other.resource).to_owned();
                    (name, other.amount)
                })
                .collect(),
            labels: node
                .labels
                .iter()
                .map(|(key, value)| {
                    let text = |symbol| self.symbols.text(symbol).to_owned();
                    (text(*key), text(*value))
                })
                .collect(),
            feeds: self.power.feed_names(node.feed).to_vec(),
            ..NodeSpec::default()
        };
        for slot in &node.slots {
            let key = &self.pools[slot.pool].key;
            key.describe(&self.groups[slot.group].key, &mut spec);
        }
        let mut cell = node.slot(group).map(|slot| slot.cell);
        while let Some(at) = cell {
            let here = self.cells.get(at);
            if here.level != Level::Cluster {
                spec.domains.insert(here.level, here.name.to_string());
            }
            cell = here.parent;
        }
        spec
    }

    /// Adds nodes like one that nothing is placed on, for a trial. They share the original's labels and are no members
    /// of its pool, so that they cost little. Call [`Self::settle`] afterwards, and take them out before the original.
    pub(crate) fn put_in_copies(
        &mut self,
        of: NodeIndex,
        names: impl Iterator<Item = Arc<str>>,
    ) -> Vec<NodeIndex> {
        let original = self.nodes[of].clone();
        let mut copies = Vec::new();
        for name in names {
            let copy = self.nodes.add(Node {
                name: name.clone(),
                ..original.clone()
            });
            for slot in &original.slots {
                self.cells.attach(slot.cell);
                self.cells
                    .shift(slot.cell, slot.pool, (copy, &name), 0, slot.offered);
                let by_free = &mut self.pools[slot.pool].by_free;
                *by_free.entry(slot.free).or_default() += 1;
            }
            // Reservations find their nodes by name.
            let registered = self.node_by_name.entry(original.cluster).or_default();
            registered.insert(name, copy);
            copies.push(copy);
        }
        copies
    }

    /// Takes copies out again; nothing may be placed on them any more.
    pub(crate) fn take_out_copies(&mut self, copies: &[NodeIndex]) {
        for &copy in copies {
            let node = &self.nodes[copy];
            for slot in &node.slots {
                self.cells
                    .shift(slot.cell, slot.pool, (copy, &node.name), slot.offered, 0);
            }
        }
        // Cells that become empty are retired, so orders must not hear of them later.
        self.settle();
        for &copy in copies {
            for slot in &std::mem::take(&mut self.nodes[copy].slots) {
                self.cells.detach(slot.cell);
                count_down(&mut self.pools[slot.pool].by_free, &slot.free);
            }
            let node = &self.nodes[copy];
            if let Some(registered) = self.node_by_name.get_mut(&node.cluster) {
                registered.remove(&node.name);
            }
            self.nodes.retire(copy);
        }
    }
}
