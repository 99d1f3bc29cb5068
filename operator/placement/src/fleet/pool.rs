//! Groups and pools: nodes that differ in nothing that matters to a placement.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::arena::{CellIndex, ClusterIndex, FeedIndex, GroupIndex, NodeIndex, PoolIndex};
use crate::model::{
    CapacityType, ClusterSpec, DevicePart, DeviceShare, NodeFault, NodePrice, Reservation, Taint,
};

/// One cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// What is known of it; `None` while only nodes or reservations have named it.
    pub(crate) spec: Option<ClusterSpec>,
    /// Groups in it.
    pub(crate) groups: Vec<GroupIndex>,
}

/// What a group's nodes have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupKey {
    /// Cluster.
    pub(crate) cluster: ClusterIndex,
    /// Accelerator type.
    pub(crate) accelerator_type: Arc<str>,
    /// How devices are asked for.
    pub(crate) resource: Arc<str>,
    /// What one unit is. All counts of devices below here are counts of such units.
    pub(crate) part: DevicePart,
    /// Share of a device that a unit is charged.
    pub(crate) share: DeviceShare,
    /// How it is paid for.
    pub(crate) capacity_type: CapacityType,
}

impl GroupKey {
    /// How well units of the group fit what a reservation holds, least is best; `None` where they are something else. A slice is
    /// known by its size, but a node may have been cut up anew under it.
    pub(crate) fn fit(&self, reservation: &Reservation) -> Option<u8> {
        if *self.accelerator_type != *reservation.accelerator_type {
            return None;
        }
        match (&reservation.part, &self.part) {
            (held, offered) if held == offered => Some(0),
            (DevicePart::Milli(_), DevicePart::Milli(_)) => Some(1),
            _ => None,
        }
    }
}

/// Nodes that one gang may span.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// What they have in common.
    pub(crate) key: GroupKey,
    /// Pools.
    pub(crate) pools: Vec<PoolIndex>,
    /// The cluster as a topology domain.
    pub(crate) root: CellIndex,
    /// Watts of one unit in use: the device's, or the part's share of the device and of its host, rounded up.
    pub(crate) watts_each: i64,
}

/// What a pool's nodes have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    /// Group.
    pub(crate) group: GroupIndex,
    /// Zone; empty where unknown.
    pub(crate) zone: Arc<str>,
    /// Instance type; empty where unknown.
    pub(crate) instance_type: Arc<str>,
    /// Devices of each node.
    pub(crate) devices: u32,
    /// Whole devices, and those in parts, over which the price of a node is shared out; at least 1.
    pub(crate) node_devices: u32,
    /// Power domains that feed them.
    pub(crate) feed: FeedIndex,
    /// Taints that keep pods away.
    pub(crate) taints: Vec<Taint>,
    /// Taint keys that the device's pods tolerate by themselves.
    pub(crate) taint_keys: Vec<String>,
    /// Price.
    pub(crate) price: NodePrice,
}

/// Interchangeable nodes.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    /// What they have in common.
    pub(crate) key: PoolKey,
    /// Nodes, by name.
    pub(crate) members: BTreeSet<(Arc<str>, NodeIndex)>,
    /// Nodes that take no new work, by why.
    pub(crate) faults: BTreeMap<NodeFault, u64>,
    /// Nodes by devices that nobody holds, faulty ones included.
    pub(crate) by_free: BTreeMap<u32, u64>,
}

impl Pool {
    /// How many nodes there are.
    pub(crate) fn nodes(&self) -> u64 {
        u64::try_from(self.members.len()).unwrap_or(u64::MAX)
    }

    /// Nodes that take no new work.
    pub(crate) fn faulty(&self) -> u64 {
        self.faults.values().sum()
    }

    /// Replicas of so many devices that fit, faulty nodes included.
    pub(crate) fn replicas_free(&self, devices: u32) -> u64 {
        self.by_free
            .iter()
            .map(|(free, nodes)| u64::from(free.checked_div(devices).unwrap_or(0)) * nodes)
            .sum()
    }
}
