//! Groups and pools: nodes that differ in nothing that matters to a placement.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::arena::{CellIndex, ClusterIndex, FeedIndex, GroupIndex, NodeIndex, PoolIndex};
use crate::model::{
    CapacityType, ClusterSpec, DeviceGroup, DevicePart, DeviceShare, NodeFault, NodePrice,
    NodeSpec, Reservation, Taint, TaintEffect,
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
    /// The group of these devices of a node.
    pub(super) fn of(cluster: ClusterIndex, node: &NodeSpec, devices: &DeviceGroup) -> Self {
        Self {
            cluster,
            accelerator_type: devices.accelerator_type.as_str().into(),
            resource: devices.resource.as_str().into(),
            part: devices.part.clone(),
            share: share_of(devices),
            capacity_type: node.capacity_type.unwrap_or(CapacityType::OnDemand),
        }
    }

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
    /// Its place among the groups of its type.
    pub(crate) place: usize,
    /// Watts of one unit in use: the device's, or the part's share of the device and of its host, rounded up.
    pub(crate) watts_each: i64,
}

/// A group among those of its type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RankedGroup {
    /// The least [rate](crate::fleet::Fleet::rate) of its pools.
    pub(crate) rate: i128,
    /// The group.
    pub(crate) group: GroupIndex,
    /// Replicas of 1, 2, 4 and 8 devices that fit, as far as devices go.
    fits: [u32; SIZES],
}

/// Sizes of replicas for which a group says at a glance how many fit.
const SIZES: usize = 4;

impl RankedGroup {
    /// Whether so many replicas could fit. Cheap, and never wrong when it says no.
    pub(crate) fn may_hold(&self, replicas: u64, devices: u32) -> bool {
        // As many fit of a smaller size, or more.
        let size = devices.max(1).ilog2() as usize;
        let fits = self.fits.get(size.min(SIZES - 1)).copied();
        fits.is_none_or(|fits| u64::from(fits) >= replicas || fits == u32::MAX)
    }
}

/// Groups of one accelerator type.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupsOfType {
    /// Cheapest first. All that is asked of every group lies side by side.
    pub(crate) by_rate: Vec<RankedGroup>,
    /// Most pools of a group.
    pub(crate) most_pools: usize,
}

impl GroupsOfType {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_rate.len()
    }

    /// Each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = GroupIndex> + '_ {
        self.by_rate.iter().map(|ranked| ranked.group)
    }

    /// Puts a group where it belongs.
    pub(crate) fn set(&mut self, group: GroupIndex, rate: i128, pools: usize) {
        let known = self.by_rate.iter().position(|other| other.group == group);
        let fits = known.map_or([0; SIZES], |at| self.by_rate.remove(at).fits);
        let place = self
            .by_rate
            .partition_point(|other| (other.rate, other.group) < (rate, group));
        self.by_rate
            .insert(place, RankedGroup { rate, group, fits });
        self.most_pools = self.most_pools.max(pools);
    }

    /// Takes over how many replicas fit in the group at a place, by their devices.
    pub(crate) fn set_fits(&mut self, place: usize, fits: impl Fn(u32) -> u64) {
        if let Some(ranked) = self.by_rate.get_mut(place) {
            for (size, count) in ranked.fits.iter_mut().enumerate() {
                *count = u32::try_from(fits(1 << size)).unwrap_or(u32::MAX);
            }
        }
    }
}

/// Units of an extended resource beyond which pools are not told apart: what counts so many is no device but an amount, and may
/// differ between any two nodes.
const MOST_UNITS: u64 = 1024;

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
    /// Whether all of a node's units go to one replica.
    pub(crate) whole_node: bool,
    /// Extended resources of each node beside devices (`vpc.amazonaws.com/efa`, `rdma/ib`) with their units, up to
    /// [`MOST_UNITS`], so that nodes without them are passed over by the pool. Amounts that differ from node to node, such as
    /// disk, are the nodes' own.
    pub(crate) extended: Vec<(Arc<str>, u64)>,
    /// Price.
    pub(crate) price: NodePrice,
}

impl PoolKey {
    /// The pool of these devices of a node.
    pub(super) fn of(
        group: GroupIndex,
        node: &NodeSpec,
        devices: &DeviceGroup,
        zone: &Arc<str>,
        feed: FeedIndex,
    ) -> Self {
        let mut taints: Vec<Taint> = node
            .taints
            .iter()
            .filter(|taint| taint.effect != TaintEffect::PreferNoSchedule)
            .cloned()
            .collect();
        taints.sort();
        taints.dedup();
        let mut taint_keys = devices.taint_keys.clone();
        taint_keys.sort();
        taint_keys.dedup();
        Self {
            group,
            zone: zone.clone(),
            instance_type: node.instance_type.as_str().into(),
            devices: devices.devices,
            node_devices: node_devices(&node.devices, devices),
            feed,
            taints,
            taint_keys,
            whole_node: devices.whole_node,
            extended: node
                .other
                .iter()
                .filter(|(name, amount)| name.contains('/') && amount.total > 0)
                .map(|(name, amount)| (name.as_str().into(), amount.total.min(MOST_UNITS)))
                .collect(),
            price: node.price.clone(),
        }
    }

    /// The first resource of which no node of the pool has enough for one replica, with what that needs. Resources that are no
    /// extended ones are the nodes' own affair.
    pub(crate) fn lacks<'a>(&self, wanted: &'a BTreeMap<String, u64>) -> Option<(&'a str, u64)> {
        let has = |name: &str| {
            let listed = self.extended.iter().find(|(known, _)| **known == *name);
            listed.map_or(0, |(_, units)| *units)
        };
        wanted
            .iter()
            .find(|(name, each)| name.contains('/') && has(name) < (**each).min(MOST_UNITS))
            .map(|(name, each)| (name.as_str(), *each))
    }

    /// Makes a node one of the pool, but for its feeds. Every field is named, so that what pools are told apart by is not
    /// forgotten in nodes that are added on trial.
    pub(super) fn describe(&self, group: &GroupKey, node: &mut NodeSpec) {
        let Self {
            group: _,
            zone,
            instance_type,
            devices,
            node_devices,
            feed: _,
            taints,
            taint_keys,
            whole_node,
            // Part of the node's other resources, which are copied from the node itself.
            extended: _,
            price,
        } = self;
        let GroupKey {
            cluster: _,
            accelerator_type,
            resource,
            part,
            share,
            capacity_type,
        } = group;
        node.capacity_type = Some(*capacity_type);
        node.devices.push(DeviceGroup {
            accelerator_type: accelerator_type.to_string(),
            resource: resource.to_string(),
            part: part.clone(),
            share: *share,
            devices: *devices,
            held: 0,
            unusable: 0,
            unusable_why: String::new(),
            whole_node: *whole_node,
            node_devices: *node_devices,
            taint_keys: taint_keys.clone(),
        });
        node.instance_type = instance_type.to_string();
        node.zone = zone.to_string();
        node.taints.clone_from(taints);
        node.price = price.clone();
    }
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
    /// Nodes with units that no pod can be given, by why.
    pub(crate) unusable: BTreeMap<Arc<str>, Unusable>,
}

/// Units that are there and that no pod can be given.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unusable {
    /// Nodes with such units.
    pub(crate) nodes: u64,
    /// The units.
    pub(crate) units: u64,
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

/// What a unit of a group is charged: a whole device is charged whole.
fn share_of(group: &DeviceGroup) -> DeviceShare {
    match group.part {
        DevicePart::Whole => DeviceShare::WHOLE,
        _ => group.share,
    }
}

/// Devices over which the price of a node is shared out, as far as the type of `group` goes: what is said, but no less than its
/// groups of the type add up to.
fn node_devices(groups: &[DeviceGroup], group: &DeviceGroup) -> u32 {
    const MICRO: u64 = 1_000_000;
    // Each group rounded down and the sum rounded up, so that seven sevenths are one device.
    let (mut micro, mut said) = (0_u64, 0);
    for other in groups {
        if other.accelerator_type == group.accelerator_type {
            let share = share_of(other);
            let each = u64::from(share.parts()) * MICRO / u64::from(share.of());
            micro = micro.saturating_add(each.saturating_mul(u64::from(other.devices)));
            said = said.max(other.node_devices);
        }
    }
    let counted = u32::try_from(micro.div_ceil(MICRO)).unwrap_or(u32::MAX);
    counted.max(said).max(1)
}
