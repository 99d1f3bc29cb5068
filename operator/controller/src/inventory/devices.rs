//! The devices of one node: what is looked at to find them, and what was found.

use std::collections::BTreeSet;

use ampacity_catalog::{Catalog, DeviceQuery, Family, InstanceShape, NodeView, NotAskable};
use ampacity_placement::{DeviceGroup, Labels};

use super::dra_facts::DraFacts;
use super::held::HeldOnNode;
use super::note::{Unsupported, UnsupportedReason};
use crate::state::SlimNode;

/// A node as device discovery looks at it.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) node: &'a SlimNode,
    pub(super) labels: &'a Labels,
    pub(super) instance_type: &'a str,
    pub(super) shape: Option<&'a InstanceShape>,
    pub(super) catalog: &'a Catalog,
    pub(super) held: &'a HeldOnNode,
    pub(super) dra: &'a DraFacts,
}

impl<'a> Subject<'a> {
    /// The question which type a device of `resource` is, as far as the node itself tells.
    pub(super) fn query(&self, resource: &'a str) -> DeviceQuery<'a> {
        DeviceQuery {
            resource,
            labels: self.labels,
            instance_type: self.instance_type,
            model: None,
            pci_id: None,
            memory_mib: None,
        }
    }

    /// The node as its vendors' files look at it.
    pub(super) fn view(&self) -> NodeView<'a> {
        NodeView {
            labels: self.labels,
            annotations: self.node.metadata.annotations.as_ref(),
            shape: self.shape,
        }
    }
}

/// What was found on a node.
#[derive(Debug, Default)]
pub(super) struct Devices {
    pub(super) groups: Vec<(Option<Family>, DeviceGroup)>,
    pub(super) unsupported: Vec<Unsupported>,
    /// Families of which something is shown, usable or not.
    pub(super) shown: BTreeSet<Family>,
    /// Drivers whose pools are whole and list no device, with the pool.
    pub(super) empty_pools: Vec<(Family, String, String)>,
    /// Families of which pods may use something, whole or not.
    pub(super) offered: BTreeSet<Family>,
}

/// Where a node's devices are one machine, one of them that cannot be used takes the others with it.
pub(super) fn as_one_unit(mut group: DeviceGroup) -> DeviceGroup {
    if group.whole_node && group.unusable > 0 {
        group.unusable = group.unusable.saturating_add(group.devices);
        group.devices = 0;
    }
    group
}

/// Taints that pods for the device tolerate by themselves.
pub(super) fn taint_keys(family: Option<Family>, resource: &str) -> Vec<String> {
    let mut keys = vec![resource.to_owned()];
    let known = family.map(|f| f.taint_keys).unwrap_or_default();
    keys.extend(known.iter().map(|key| (*key).to_owned()));
    keys.sort();
    keys.dedup();
    keys
}

impl From<NotAskable> for UnsupportedReason {
    fn from(why: NotAskable) -> Self {
        match why {
            NotAskable::TimeSliced => Self::TimeSliced,
            NotAskable::Partitioned => Self::Partitioned,
            NotAskable::VirtualGpu => Self::VirtualGpu,
            NotAskable::Cores => Self::Cores,
            NotAskable::Integrated => Self::Integrated,
            NotAskable::PassedThrough => Self::PassedThrough,
            NotAskable::Surplus { .. } => Self::Surplus,
        }
    }
}
