//! Clusters that have a device, but not in the part that is asked for.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::arena::{ClusterIndex, GroupIndex};
use crate::fleet::Fleet;
use crate::model::{Alternative, DevicePart, DeviceShare, MOST_PARTS, Reason};

impl Fleet {
    /// Groups by cluster with nodes of the alternative's types that come in another part than it asks for.
    pub(super) fn other_parts(
        &self,
        alternative: &Alternative,
    ) -> BTreeMap<ClusterIndex, Vec<GroupIndex>> {
        let mut others: BTreeMap<ClusterIndex, Vec<GroupIndex>> = BTreeMap::new();
        for group in self.groups_of_type(&alternative.accelerator) {
            let key = &self.groups[group].key;
            let has_nodes = self.cells.get(self.groups[group].root).nodes > 0;
            if has_nodes && !alternative.part.is_served_by(&key.part) {
                others.entry(key.cluster).or_default().push(group);
            }
        }
        others
    }

    /// Why a cluster without the device as it is asked for is none: it has it in other parts, or not at all.
    pub(super) fn lacks(
        &self,
        alternative: &Alternative,
        wanted: String,
        others: &[GroupIndex],
    ) -> Reason {
        let mut units: BTreeMap<(DeviceShare, DevicePart), u64> = BTreeMap::new();
        for &group in others {
            let group = &self.groups[group];
            let all = group.pools.iter().map(|&pool| &self.pools[pool]);
            let all = all.map(|pool| pool.nodes().saturating_mul(u64::from(pool.key.devices)));
            let sum = units
                .entry((group.key.share, group.key.part.clone()))
                .or_default();
            *sum = all.fold(*sum, u64::saturating_add);
        }
        if units.is_empty() {
            return Reason::NoSuchAccelerator { wanted };
        }
        let mut exists: Vec<_> = units.into_iter().collect();
        exists.sort_by_key(|((share, _), _)| Reverse(share.of_amount(1_000_000)));
        let mut parts: Vec<(DevicePart, u64)> = Vec::new();
        for ((_, part), units) in exists {
            match parts.iter_mut().find(|(known, _)| *known == part) {
                Some((_, sum)) => *sum = sum.saturating_add(units),
                None => parts.push((part, units)),
            }
        }
        parts.truncate(MOST_PARTS);
        Reason::NoSuchPart {
            wanted,
            part: alternative.part.clone(),
            exists: parts,
        }
    }
}
