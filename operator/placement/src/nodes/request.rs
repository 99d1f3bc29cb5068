//! A request for nodes of one group, and what of them it is given.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::arena::{GroupIndex, NodeIndex, PoolIndex};
use crate::candidates::{PoolUse, requirement};
use crate::fleet::{Fleet, ReplicaNeed};
use crate::model::{Alternative, NodeRequirement};

/// What is looked for within one group.
#[derive(Clone, Debug)]
pub(crate) struct NodeRequest<'a> {
    /// Group.
    pub(crate) group: GroupIndex,
    /// Admitted pools in index order; `None` admits every pool of the group.
    pub(crate) pools: Option<Vec<PoolIndex>>,
    /// Cheaper pools first: the rank of each admitted pool where prices differ.
    pub(crate) ranks: Option<BTreeMap<PoolIndex, u32>>,
    /// Replicas.
    pub(crate) replicas: u64,
    /// Devices of one.
    pub(crate) devices: u32,
    /// Millicores of one.
    pub(crate) cpu_milli: u64,
    /// MiB of one.
    pub(crate) memory_mib: u64,
    /// Other resources of one.
    pub(crate) other: &'a BTreeMap<String, u64>,
    /// Watts of one device.
    pub(crate) watts_each: i64,
    /// Condition on each node.
    pub(crate) requirement: Option<&'a NodeRequirement>,
}

impl NodeRequest<'_> {
    /// Whether a pool may be used.
    pub(crate) fn admits(&self, pool: PoolIndex) -> bool {
        self.pools
            .as_ref()
            .is_none_or(|pools| pools.binary_search(&pool).is_ok())
    }

    /// What one replica needs of its node.
    pub(crate) fn need(&self) -> ReplicaNeed<'_> {
        ReplicaNeed {
            devices: self.devices,
            cpu_milli: self.cpu_milli,
            memory_mib: self.memory_mib,
            other: self.other,
        }
    }

    /// Rank of a pool by price: 0 where prices do not differ.
    pub(super) fn rank(&self, pool: PoolIndex) -> u32 {
        self.ranks
            .as_ref()
            .and_then(|ranks| ranks.get(&pool).copied())
            .unwrap_or(0)
    }
}

/// Replicas on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeAllocation {
    /// Node.
    pub(crate) node: NodeIndex,
    /// Its pool in the group.
    pub(crate) pool: PoolIndex,
    /// Replicas.
    pub(crate) replicas: u32,
}

/// Replicas in all.
pub(crate) fn total(allocations: &[NodeAllocation]) -> u64 {
    allocations
        .iter()
        .map(|allocation| u64::from(allocation.replicas))
        .sum()
}

impl Fleet {
    /// What is looked for when an alternative is tried on a group.
    pub(crate) fn node_request<'a>(
        &self,
        alternative: &'a Alternative,
        group: GroupIndex,
        replicas: u64,
        pools: Option<Vec<PoolIndex>>,
    ) -> NodeRequest<'a> {
        NodeRequest {
            group,
            pools,
            ranks: None,
            replicas,
            devices: alternative.devices_per_replica,
            cpu_milli: alternative.pod.cpu_milli,
            memory_mib: alternative.pod.memory_mib,
            other: &alternative.pod.other,
            watts_each: self.watts_each(group),
            requirement: requirement(&alternative.pod),
        }
    }

    /// Devices and nodes by pool.
    pub(crate) fn uses(&self, allocations: &[NodeAllocation], devices: u32) -> Vec<PoolUse> {
        let mut uses: BTreeMap<PoolIndex, PoolUse> = BTreeMap::new();
        for allocation in allocations {
            let part = uses.entry(allocation.pool).or_insert(PoolUse {
                pool: allocation.pool,
                devices: 0,
                nodes: 0,
            });
            part.devices += u64::from(devices) * u64::from(allocation.replicas);
            part.nodes += 1;
        }
        // By name, not by index: which price sheet is named first must not depend on the order of calls.
        let mut uses: Vec<PoolUse> = uses.into_values().collect();
        uses.sort_by(|a, b| {
            let key = |part: &PoolUse| {
                let pool = &self.pools[part.pool].key;
                (Reverse(part.devices), pool.zone.clone(), pool.price.clone())
            };
            key(a).cmp(&key(b))
        });
        uses
    }
}
