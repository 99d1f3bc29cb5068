//! The fleet: clusters, nodes, power and reservations, with the indexes that make planning cheap.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::cells::Cells;
use super::ledger::Ledger;
use super::node::Node;
use super::pool::{Cluster, Group, GroupKey, GroupsOfType, Pool, PoolKey};
use super::power::{PowerLedger, chargeable};
use super::symbols::Symbols;
use crate::arena::{Arena, ClusterIndex, GroupIndex, NodeIndex, PoolIndex};
use crate::model::{AcceleratorFacts, DevicePart, Level, PowerIssue, PowerSpec, PowerUsage};

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
    pub(super) group_by_key: BTreeMap<GroupKey, GroupIndex>,
    pub(crate) groups_by_type: BTreeMap<Arc<str>, GroupsOfType>,
    pub(crate) pools: Arena<PoolIndex, Pool>,
    pub(super) pool_by_key: HashMap<PoolKey, PoolIndex>,
    pub(crate) nodes: Arena<NodeIndex, Node>,
    pub(super) node_by_name: HashMap<ClusterIndex, HashMap<Arc<str>, NodeIndex>>,
    /// Changes whenever a node comes or goes.
    pub(super) membership: u64,
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

    /// The cluster of a group.
    pub(crate) fn cluster_of(&self, group: GroupIndex) -> ClusterIndex {
        self.groups[group].key.cluster
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

    /// Groups of an accelerator type.
    pub(crate) fn groups_of_name(&self, accelerator_type: &str) -> Vec<GroupIndex> {
        let groups = self.groups_by_type.get(accelerator_type);
        groups.map_or_else(Vec::new, |groups| groups.iter().collect())
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
}
