//! What the fleet keeps of one node.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::symbols::{Symbol, Symbols};
use crate::arena::{CellIndex, ClusterIndex, FeedIndex, GroupIndex, PoolIndex, ReservationIndex};
use crate::model::{Amount, LabelSelector, NodeFault, NodeRequirement, Operator, Requirement};

/// The devices of one type on a node.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// Group.
    pub(crate) group: GroupIndex,
    /// Pool.
    pub(crate) pool: PoolIndex,
    /// Tightest topology domain.
    pub(crate) cell: CellIndex,
    /// Devices.
    pub(crate) devices: u32,
    /// Devices held by others.
    pub(crate) held: u32,
    /// Devices that nobody holds, whether or not the node is usable.
    pub(crate) free: u32,
    /// Free devices as the index has them: 0 where the node takes no new work.
    pub(crate) offered: u32,
    /// Units that no pod can be given, with why.
    pub(crate) unusable: Option<(Arc<str>, u32)>,
}

/// A reservation's part on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The reservation.
    pub(crate) reservation: ReservationIndex,
    /// Its replicas here.
    pub(crate) replicas: u32,
    /// Its watts here.
    pub(crate) watts: i64,
}

/// A reservation's part on a node that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AbsentHolder {
    /// The part.
    pub(crate) holder: Holder,
    /// The power domains that it is charged to: what cannot be seen may draw its watts all the same. `None`: not known.
    pub(crate) feed: Option<FeedIndex>,
}

/// A resource of a node beside devices, CPU, memory and pods.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Other {
    /// Its name.
    pub(crate) resource: Symbol,
    /// What there is.
    pub(crate) amount: Amount,
    /// What is left.
    pub(crate) free: u64,
}

/// What one replica needs of its node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReplicaNeed<'a> {
    /// Units of the group's devices.
    pub(crate) devices: u32,
    /// Millicores.
    pub(crate) cpu_milli: u64,
    /// MiB.
    pub(crate) memory_mib: u64,
    /// Other resources by name.
    pub(crate) other: &'a BTreeMap<String, u64>,
}

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Cluster.
    pub(crate) cluster: ClusterIndex,
    /// Name.
    pub(crate) name: Arc<str>,
    /// Labels, by key.
    pub(crate) labels: Box<[(Symbol, Symbol)]>,
    /// Why it takes no new work.
    pub(crate) fault: Option<Box<NodeFault>>,
    /// CPU in millicores.
    pub(crate) cpu: Amount,
    /// Memory in MiB.
    pub(crate) memory: Amount,
    /// Pods.
    pub(crate) pods: Amount,
    /// Millicores left.
    pub(crate) cpu_free: u64,
    /// MiB left.
    pub(crate) memory_free: u64,
    /// Pod slots left.
    pub(crate) pods_free: u64,
    /// Other resources that it has, by name.
    pub(crate) other: Box<[Other]>,
    /// Devices by type.
    pub(crate) slots: Box<[Slot]>,
    /// Reservations here.
    pub(crate) holders: Vec<Holder>,
    /// Power domains that feed it.
    pub(crate) feed: FeedIndex,
    /// Watts charged for devices that others hold.
    pub(crate) held_watts: i64,
}

impl Node {
    /// The devices of a group.
    pub(crate) fn slot(&self, group: GroupIndex) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.group == group)
    }

    /// Replicas that `free` devices and the rest of the node have room for.
    pub(crate) fn room(&self, free: u32, need: &ReplicaNeed<'_>, symbols: &Symbols) -> u64 {
        let by_devices = u64::from(free.checked_div(need.devices).unwrap_or(0));
        let room = by_devices
            .min(
                self.cpu_free
                    .checked_div(need.cpu_milli)
                    .unwrap_or(u64::MAX),
            )
            .min(
                self.memory_free
                    .checked_div(need.memory_mib)
                    .unwrap_or(u64::MAX),
            )
            .min(self.pods_free);
        // Few jobs ask for anything else.
        need.other.iter().fold(room, |room, (name, each)| {
            let free = self.other(name, symbols).map_or(0, |other| other.free);
            room.min(free.checked_div(*each).unwrap_or(u64::MAX))
        })
    }

    /// Another resource, by name; `None` where the node has none of it.
    pub(crate) fn other(&self, name: &str, symbols: &Symbols) -> Option<&Other> {
        let resource = symbols.find(name)?;
        self.other.iter().find(|other| other.resource == resource)
    }

    /// Whether a pod's node requirement holds here.
    pub(crate) fn satisfies(&self, requirement: &NodeRequirement, symbols: &Symbols) -> bool {
        self.selected(&requirement.all, symbols)
            && (requirement.any.is_empty()
                || requirement.any.iter().any(|term| {
                    term.admits_name(&self.name) && self.selected(&term.labels, symbols)
                }))
    }

    fn selected(&self, selector: &LabelSelector, symbols: &Symbols) -> bool {
        selector
            .0
            .iter()
            .all(|requirement| holds(requirement, self.label(&requirement.key, symbols)))
    }

    fn label<'a>(&self, key: &str, symbols: &'a Symbols) -> Option<&'a str> {
        let key = symbols.find(key)?;
        let at = self
            .labels
            .binary_search_by_key(&key, |(key, _)| *key)
            .ok()?;
        self.labels.get(at).map(|(_, value)| symbols.text(*value))
    }
}

/// Whether a label's value satisfies a requirement: the meaning of [`Requirement::matches`] for one value.
fn holds(requirement: &Requirement, value: Option<&str>) -> bool {
    let listed = |value: &str| requirement.values.iter().any(|v| v == value);
    let bound = || {
        requirement
            .values
            .first()
            .and_then(|v| v.parse::<i64>().ok())
    };
    let number = || value.and_then(|v| v.parse::<i64>().ok());
    match requirement.operator {
        Operator::In => value.is_some_and(listed),
        Operator::NotIn => !value.is_some_and(listed),
        Operator::Exists => value.is_some(),
        Operator::DoesNotExist => value.is_none(),
        Operator::Gt => number()
            .zip(bound())
            .is_some_and(|(value, bound)| value > bound),
        Operator::Lt => number()
            .zip(bound())
            .is_some_and(|(value, bound)| value < bound),
    }
}
