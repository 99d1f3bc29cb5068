//! Amounts in a node's status.

use std::collections::BTreeMap;

use ampacity_catalog::{Count, InstanceShape, MAX_DEVICES_PER_NODE};
use ampacity_placement::Amount;

use super::note::{NoteReason, Notes};
use crate::state::SlimNode;
use crate::state::{is_other_resource, parse_bytes, parse_milli};

/// No node has more shares of devices.
const MAX_SHARES: u64 = 10_000_000;
/// 100,000 cores.
const MAX_CPU_MILLI: u64 = 100_000_000;
/// One pebibyte.
const MAX_MEMORY_BYTES: u64 = 1 << 50;
const MAX_PODS: u64 = 100_000;
/// The kubelet's default where nothing is said.
const DEFAULT_PODS: u64 = 110;

const MIB: u64 = 1 << 20;

/// What pods may use of a resource, as text: `allocatable`, or `capacity` where the status has no `allocatable` at all.
fn usable<'a>(node: &'a SlimNode, resource: &str) -> Option<&'a str> {
    node.status
        .allocatable
        .as_ref()
        .unwrap_or(&node.status.capacity)
        .get(resource)
        .map(String::as_str)
}

/// The field that [`usable`] reads.
fn usable_field(node: &SlimNode, resource: &str) -> String {
    let map = if node.status.allocatable.is_some() {
        "allocatable"
    } else {
        "capacity"
    };
    format!("status.{map}[{resource}]")
}

/// Units of an extended resource. What cannot be read counts as none, and of a part of a unit nothing, each with a note.
pub(super) fn extended(
    node: &SlimNode,
    resource: &str,
    whole_devices: bool,
    notes: &mut Notes<'_>,
) -> Count {
    let limit = if whole_devices {
        MAX_DEVICES_PER_NODE
    } else {
        MAX_SHARES
    };
    let mut read = |text: Option<&str>, field: String| {
        let text = text?;
        match parse_milli(text).map(|milli| (milli / 1000, milli % 1000)) {
            Ok((units, 0)) if units <= limit => Some(units),
            Ok((units, _)) if units < limit => {
                notes.add(
                    NoteReason::BadNumber,
                    format!(
                        "{field} is {text:?}; devices are counted whole, so {units} of them are used, repair the device plugin"
                    ),
                );
                Some(units)
            }
            _ => {
                notes.add(
                    NoteReason::BadNumber,
                    format!(
                        "{field} is {text:?}, which is no count of devices from 0 to {limit}; they are not used, repair the device plugin"
                    ),
                );
                None
            }
        }
    };
    let allocatable = read(usable(node, resource), usable_field(node, resource));
    let capacity = match &node.status.allocatable {
        None => allocatable,
        Some(_) => read(
            node.status.capacity.get(resource).map(String::as_str),
            format!("status.capacity[{resource}]"),
        ),
    };
    let allocatable = allocatable.unwrap_or_default();
    Count {
        capacity: capacity.unwrap_or(allocatable),
        allocatable,
    }
}

/// Millicores, MiB and pods that pods may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Basics {
    pub(super) cpu_milli: u64,
    pub(super) memory_mib: u64,
    pub(super) pods: u64,
}

/// CPU, memory and pods. An amount that is left out (only files do that) is the instance type's, or no limit where that is unknown
/// too; an amount that cannot be read is nothing.
pub(super) fn basics(
    node: &SlimNode,
    shape: Option<&InstanceShape>,
    notes: &mut Notes<'_>,
) -> Basics {
    let mut missing = Vec::new();
    let mut read = |resource: &'static str, limit: u64, absent: u64| {
        let Some(text) = usable(node, resource) else {
            missing.push(resource);
            return absent;
        };
        let parsed = if resource == "cpu" {
            parse_milli(text)
        } else {
            parse_bytes(text)
        };
        match parsed {
            Ok(amount) if amount <= limit => amount,
            _ => {
                let field = usable_field(node, resource);
                notes.add(
                    NoteReason::BadNumber,
                    format!("{field} is {text:?}, which cannot be; none of it is used, look at the node's kubelet"),
                );
                0
            }
        }
    };
    let vcpus = shape.and_then(|s| s.vcpus).map(|n| u64::from(n) * 1000);
    let gib = shape
        .and_then(|s| s.memory_gib)
        .map(|n| u64::from(n) * 1024 * MIB);
    let basics = Basics {
        cpu_milli: read("cpu", MAX_CPU_MILLI, vcpus.unwrap_or(MAX_CPU_MILLI)),
        memory_mib: read("memory", MAX_MEMORY_BYTES, gib.unwrap_or(MAX_MEMORY_BYTES)) / MIB,
        pods: read("pods", MAX_PODS, DEFAULT_PODS),
    };
    // Only worth a word where the status offers something else.
    let offers = !node.status.capacity.is_empty()
        || node
            .status
            .allocatable
            .as_ref()
            .is_some_and(|a| !a.is_empty());
    if offers && !missing.is_empty() {
        notes.add(
            NoteReason::MissingResource,
            format!(
                "the status leaves out {}; the instance type's amount is taken, or no limit where that is unknown",
                missing.join(", ")
            ),
        );
    }
    basics
}

/// What a node has beside CPU, memory, pods and accelerators: extended resources such as NICs, disk, huge pages.
///
/// Of what the status does not list there is nothing, but for disk, which every node has: a file that leaves it out says nothing
/// of it. An amount that cannot be read is nothing, with a note.
pub(super) fn others(
    node: &SlimNode,
    held: &BTreeMap<String, u64>,
    notes: &mut Notes<'_>,
) -> BTreeMap<String, Amount> {
    let listed = node
        .status
        .allocatable
        .as_ref()
        .unwrap_or(&node.status.capacity);
    let mut others = BTreeMap::new();
    for (name, text) in listed.iter().filter(|(name, _)| is_other_resource(name)) {
        match parse_bytes(text) {
            Ok(0) => {}
            Ok(total) => {
                let held = held.get(name).copied().unwrap_or(0);
                others.insert(name.clone(), Amount { total, held });
            }
            Err(_) => notes.add(
                NoteReason::BadNumber,
                format!(
                    "{} is {text:?}, which is no amount; none of it is used, look at the node's device plugin",
                    usable_field(node, name)
                ),
            ),
        }
    }
    const DISK: &str = "ephemeral-storage";
    if usable(node, DISK).is_none() && !node.status.capacity.contains_key(DISK) {
        let total = u64::MAX;
        others.insert(DISK.to_owned(), Amount { total, held: 0 });
    }
    others
}

/// Held bytes as MiB, rounded up.
pub(super) fn held_mib(bytes: u64) -> u64 {
    bytes.div_ceil(MIB)
}
