//! The fleet: clusters, nodes, power and reservations, with the indexes that make planning cheap.
//!
//! Every change is incremental and goes one way: the node's free amounts are derived again from what others hold and what
//! reservations hold, and the difference moves through the node's own path of the [capacity index](cells). Nothing is
//! added up over time, so releasing what was reserved restores the state exactly.

mod cells;
mod copies;
mod ends;
mod ledger;
mod mix;
mod node;
mod nodes;
mod pool;
mod power;
mod symbols;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

pub(crate) use cells::Cells;
pub(crate) use ledger::Ledger;
pub(crate) use mix::{Sizes, stranded};
pub(crate) use node::{Node, Slot};
pub(crate) use pool::{Cluster, Group, GroupKey, OfType, Pool, PoolKey};
pub(crate) use power::{PowerLedger, PowerLimit, PowerShortage, PowerTrial, chargeable};
use symbols::Symbols;

use crate::arena::{Arena, ClusterIndex, GroupIndex, NodeIndex, PoolIndex};
use crate::model::{
    AcceleratorFacts, ClusterSpec, DevicePart, Level, NodeSpec, PowerIssue, PowerSpec, PowerUsage,
};

/// Devices of one type in one cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceCount {
    /// Devices there are, on nodes out of service too.
    pub total: u64,
    /// Devices that nobody holds, on nodes that take new work.
    pub free: u64,
}

/// Clusters with their nodes, the power that feeds them, and what is reserved.
///
/// Cheap to change, one node or reservation at a time, and to ask ([`Fleet::plan`]). Names are unique: setting a thing
/// again replaces it. Order of the calls does not matter to what is planned.
///
/// ```
/// use ampacity_placement::{Amount, ClusterSpec, DeviceGroup, Fleet, NodeSpec};
///
/// let mut fleet = Fleet::new();
/// fleet.set_cluster(ClusterSpec { name: "oslo".into(), reachable: true, ..ClusterSpec::default() });
/// fleet.set_node(NodeSpec {
///     cluster: "oslo".into(),
///     name: "n1".into(),
///     devices: vec![DeviceGroup { accelerator_type: "nvidia-l4".into(), devices: 4, held: 1, ..DeviceGroup::default() }],
///     pod_slots: Amount { total: 110, held: 4 },
///     ..NodeSpec::default()
/// });
/// assert_eq!(fleet.devices("oslo")["nvidia-l4"].free, 3);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    pub(crate) clusters: Arena<ClusterIndex, Cluster>,
    pub(crate) cluster_by_name: BTreeMap<Arc<str>, ClusterIndex>,
    pub(crate) groups: Arena<GroupIndex, Group>,
    group_by_key: BTreeMap<GroupKey, GroupIndex>,
    pub(crate) groups_by_type: BTreeMap<Arc<str>, OfType>,
    pub(crate) pools: Arena<PoolIndex, Pool>,
    pool_by_key: HashMap<PoolKey, PoolIndex>,
    pub(crate) nodes: Arena<NodeIndex, Node>,
    node_by_name: HashMap<ClusterIndex, HashMap<Arc<str>, NodeIndex>>,
    /// Changes whenever a node comes or goes.
    membership: u64,
    pub(crate) cells: Cells,
    pub(crate) facts: BTreeMap<String, AcceleratorFacts>,
    pub(crate) power: PowerLedger,
    pub(crate) ledger: Ledger,
    pub(crate) symbols: Symbols,
    /// Orders that all groups of a type have: level, devices, and how many groups there were.
    pub(crate) prepared: BTreeMap<Arc<str>, Vec<(Level, u32, usize)>>,
}

impl Fleet {
    /// An empty fleet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the facts of an accelerator type. A type without facts draws no watts and matches no selector.
    pub fn set_accelerator(&mut self, facts: AcceleratorFacts) {
        let name = facts.name.clone();
        if self.facts.insert(name.clone(), facts.clone()).as_ref() == Some(&facts) {
            return;
        }
        for group in self.groups_of_name(&name) {
            self.groups[group].watts_each = self.unit_watts(&self.groups[group].key);
            self.order_by_rate(group);
        }
        // Watts of devices that others hold were charged by the old facts.
        let holding: Vec<NodeIndex> = self
            .all_nodes()
            .filter(|&node| {
                self.nodes[node].slots.iter().any(|slot| {
                    slot.held > 0 && *self.groups[slot.group].key.accelerator_type == *name
                })
            })
            .collect();
        for node in holding {
            self.charge_held(node);
        }
    }

    /// Sets a cluster.
    pub fn set_cluster(&mut self, spec: ClusterSpec) {
        let cluster = self.cluster_index(&spec.name);
        self.clusters[cluster].spec = Some(spec);
    }

    /// Removes a cluster and its nodes. Reservations there stay recorded.
    pub fn remove_cluster(&mut self, name: &str) {
        let Some(&cluster) = self.cluster_by_name.get(name) else {
            return;
        };
        self.clusters[cluster].spec = None;
        let mut nodes: Vec<NodeIndex> = self
            .node_by_name
            .get(&cluster)
            .map(|nodes| nodes.values().copied().collect())
            .unwrap_or_default();
        nodes.sort_unstable();
        let mut left = Vec::new();
        for node in nodes {
            left.extend(self.pools_of(node));
            self.take_out(node);
        }
        self.forget_empty(left);
        self.settle();
    }

    /// Sets a node. What reservations hold on it is kept.
    pub fn set_node(&mut self, spec: NodeSpec) {
        let old = self.find_node(&spec.cluster, &spec.name);
        let left = old.map_or_else(Vec::new, |old| self.pools_of(old));
        self.put_in(spec);
        self.forget_empty(left);
        self.settle();
    }

    /// Removes a node. What reservations hold on it is remembered and counts again when the node comes back.
    pub fn remove_node(&mut self, cluster: &str, name: &str) {
        if let Some(node) = self.find_node(cluster, name) {
            let left = self.pools_of(node);
            self.take_out(node);
            self.forget_empty(left);
            self.settle();
        }
    }

    fn pools_of(&self, node: NodeIndex) -> Vec<PoolIndex> {
        let slots = self.nodes[node].slots.iter();
        slots.map(|slot| slot.pool).collect()
    }

    /// Forgets those of the pools that have no nodes any more: prices change for as long as the fleet lives, and every price
    /// is a pool of its own.
    fn forget_empty(&mut self, pools: Vec<PoolIndex>) {
        for pool in pools {
            let key = &self.pools[pool].key;
            if !self.pools[pool].members.is_empty() || self.pool_by_key.get(key) != Some(&pool) {
                continue;
            }
            let group = key.group;
            self.pool_by_key.remove(key);
            self.groups[group].pools.retain(|&other| other != pool);
            self.pools.retire(pool);
            self.order_by_rate(group);
        }
    }

    /// Replaces the power picture. What is reserved stays reserved and is charged to the new tree.
    ///
    /// Returns what is wrong with it. Domains stay in force as far as they can: a wrong link is left out, a limit never.
    pub fn set_power(&mut self, spec: PowerSpec) -> Vec<PowerIssue> {
        self.power.set(spec)
    }

    /// Load and limit of every power domain, by name.
    pub fn domain_usage(&self) -> Vec<PowerUsage> {
        self.power.domain_usage()
    }

    /// Load and limit of every power budget, by name.
    pub fn budget_usage(&self) -> Vec<PowerUsage> {
        self.power.budget_usage()
    }

    /// Whole devices of a cluster by accelerator type; parts of devices are not counted.
    pub fn devices(&self, cluster: &str) -> BTreeMap<String, DeviceCount> {
        let mut counts: BTreeMap<String, DeviceCount> = BTreeMap::new();
        let Some(&cluster) = self.cluster_by_name.get(cluster) else {
            return counts;
        };
        for &group in &self.clusters[cluster].groups {
            let group = &self.groups[group];
            if group.key.part != DevicePart::Whole {
                continue;
            }
            let total: u64 = group
                .pools
                .iter()
                .map(|&pool| &self.pools[pool])
                .map(|pool| pool.nodes() * u64::from(pool.key.devices))
                .sum();
            if total == 0 {
                continue;
            }
            let count = counts
                .entry(group.key.accelerator_type.to_string())
                .or_default();
            count.total += total;
            count.free += self.cells.get(group.root).free_devices;
        }
        counts
    }

    /// Watts of one device in use.
    pub(crate) fn watts_in_use(&self, accelerator_type: &str) -> i64 {
        self.facts
            .get(accelerator_type)
            .map_or(0, |facts| chargeable(facts.watts_in_use().0))
    }

    /// Watts of one unit of a group in use.
    pub(crate) fn watts_each(&self, group: GroupIndex) -> i64 {
        self.groups[group].watts_each
    }

    fn unit_watts(&self, key: &GroupKey) -> i64 {
        key.share
            .of_amount(self.watts_in_use(&key.accelerator_type))
    }

    /// Groups of an accelerator type.
    pub(crate) fn groups_of_name(&self, accelerator_type: &str) -> Vec<GroupIndex> {
        let groups = self.groups_by_type.get(accelerator_type);
        groups.map_or_else(Vec::new, |groups| groups.iter().collect())
    }

    /// Brings a group's place among those of its type up to date: its pools or their watts have changed.
    fn order_by_rate(&mut self, group: GroupIndex) {
        let Group {
            pools, watts_each, ..
        } = &self.groups[group];
        let rates = pools.iter().map(|&pool| self.rate(pool, *watts_each));
        let (least, count) = (rates.min().unwrap_or(0), pools.len());
        let name = self.groups[group].key.accelerator_type.clone();
        let of_type = self.groups_by_type.entry(name).or_default();
        of_type.set(group, least, count);
        for (place, group) in of_type.iter().enumerate() {
            self.groups[group].place = place;
        }
    }

    /// Brings what is derived from free devices up to date after a batch of changes to nodes.
    pub(crate) fn settle(&mut self) {
        for root in self.cells.settle() {
            let root = self.cells.get(root);
            let group = &self.groups[root.group];
            if let Some(of_type) = self.groups_by_type.get_mut(&group.key.accelerator_type) {
                of_type.set_fits(group.place, |devices| root.capacity(devices, |_| true));
            }
        }
    }

    pub(crate) fn cluster_index(&mut self, name: &str) -> ClusterIndex {
        if let Some(&cluster) = self.cluster_by_name.get(name) {
            return cluster;
        }
        let name: Arc<str> = name.into();
        let cluster = self.clusters.add(Cluster {
            name: name.clone(),
            ..Cluster::default()
        });
        self.cluster_by_name.insert(name, cluster);
        cluster
    }

    pub(crate) fn find_node(&self, cluster: &str, name: &str) -> Option<NodeIndex> {
        let cluster = self.cluster_by_name.get(cluster)?;
        self.node_by_name.get(cluster)?.get(name).copied()
    }

    pub(crate) fn node_in(&self, cluster: ClusterIndex, name: &str) -> Option<NodeIndex> {
        self.node_by_name.get(&cluster)?.get(name).copied()
    }

    /// Every node, in no particular order.
    pub(crate) fn all_nodes(&self) -> impl Iterator<Item = NodeIndex> + '_ {
        self.node_by_name
            .values()
            .flat_map(|nodes| nodes.values().copied())
    }

    /// Every node of a cluster, in no particular order.
    pub(crate) fn nodes_of(&self, cluster: ClusterIndex) -> impl Iterator<Item = NodeIndex> + '_ {
        self.node_by_name
            .get(&cluster)
            .into_iter()
            .flat_map(|nodes| nodes.values().copied())
    }

    fn group_index(&mut self, key: GroupKey) -> GroupIndex {
        if let Some(&group) = self.group_by_key.get(&key) {
            return group;
        }
        let cluster_name = self.clusters[key.cluster].name.clone();
        // The root cell carries the group's index: made first, then the group that will get that index.
        let next = self.groups.next_key();
        let root = self.cells.root(next, &cluster_name);
        let group = self.groups.add(Group {
            key: key.clone(),
            pools: Vec::new(),
            root,
            place: 0,
            watts_each: self.unit_watts(&key),
        });
        self.clusters[key.cluster].groups.push(group);
        self.group_by_key.insert(key, group);
        self.order_by_rate(group);
        group
    }

    fn pool_index(&mut self, key: PoolKey) -> PoolIndex {
        if let Some(&pool) = self.pool_by_key.get(&key) {
            return pool;
        }
        let group = key.group;
        let pool = self.pools.add(Pool {
            key: key.clone(),
            members: BTreeSet::new(),
            faults: BTreeMap::new(),
            by_free: BTreeMap::new(),
        });
        self.groups[group].pools.push(pool);
        self.pool_by_key.insert(key, pool);
        self.order_by_rate(group);
        pool
    }
}

/// Takes one from a counter and forgets it at zero.
fn count_down<K: Ord + Clone>(counts: &mut BTreeMap<K, u64>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Amount, DeviceGroup, MicroUsd, NodePrice};

    #[test]
    fn prices_may_change_for_ever() {
        let mut fleet = Fleet::new();
        for usd in 0..1000 {
            for name in ["a", "b"] {
                fleet.set_node(NodeSpec {
                    cluster: "c".into(),
                    name: name.into(),
                    devices: vec![DeviceGroup {
                        accelerator_type: "t".into(),
                        devices: 8,
                        ..DeviceGroup::default()
                    }],
                    pod_slots: Amount { total: 9, held: 0 },
                    price: NodePrice {
                        usd_per_node_hour: Some(MicroUsd(usd)),
                        ..NodePrice::default()
                    },
                    ..NodeSpec::default()
                });
            }
        }
        assert_eq!(fleet.pools.len(), 2, "one is let go once the next is there");
        assert_eq!(fleet.pool_by_key.len(), 1);
        let of_type = &fleet.groups_by_type["t"];
        assert_eq!(of_type.by_rate[0].rate, 999 * 1_000_000 / 8);
        fleet.remove_node("c", "a");
        fleet.remove_node("c", "b");
        assert!(fleet.pool_by_key.is_empty());
    }
}
