//! Groups and pools come into being with their first node, are kept in order of price, and go with their last node.

use std::collections::{BTreeMap, BTreeSet};

use super::index::Fleet;
use super::pool::{Group, GroupKey, Pool, PoolKey};
use crate::arena::{GroupIndex, NodeIndex, PoolIndex};

impl Fleet {
    pub(super) fn group_index(&mut self, key: GroupKey) -> GroupIndex {
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

    pub(super) fn pool_index(&mut self, key: PoolKey) -> PoolIndex {
        if let Some(&pool) = self.pool_by_key.get(&key) {
            return pool;
        }
        let group = key.group;
        let pool = self.pools.add(Pool {
            key: key.clone(),
            members: BTreeSet::new(),
            faults: BTreeMap::new(),
            by_free: BTreeMap::new(),
            unusable: BTreeMap::new(),
        });
        self.groups[group].pools.push(pool);
        self.pool_by_key.insert(key, pool);
        self.order_by_rate(group);
        pool
    }

    /// Brings a group's place among those of its type up to date: its pools or their watts have changed.
    pub(super) fn order_by_rate(&mut self, group: GroupIndex) {
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

    pub(super) fn unit_watts(&self, key: &GroupKey) -> i64 {
        key.share
            .of_amount(self.watts_in_use(&key.accelerator_type))
    }

    pub(super) fn pools_of(&self, node: NodeIndex) -> Vec<PoolIndex> {
        let slots = self.nodes[node].slots.iter();
        slots.map(|slot| slot.pool).collect()
    }

    /// Forgets those of the pools that have no nodes any more: prices change for as long as the fleet lives, and every price
    /// is a pool of its own.
    pub(super) fn forget_empty(&mut self, pools: Vec<PoolIndex>) {
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
}
