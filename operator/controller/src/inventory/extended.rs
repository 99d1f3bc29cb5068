//! Devices that device plugins offer as extended resources.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_catalog::{
    Accelerator, Catalog, DeviceQuery, Family, Identity, InstanceShape, Unit, resource_unit,
};
use ampacity_placement::{DeviceGroup, Labels};

use super::held::HeldOnNode;
use super::note::{NoteReason, Notes, Unsupported, UnsupportedReason};
use super::parts::{self, Cut};
use super::resources::{Count, extended};
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
}

/// What was found on a node.
#[derive(Debug, Default)]
pub(super) struct Devices {
    pub(super) groups: Vec<(Option<Family>, DeviceGroup)>,
    pub(super) unsupported: Vec<Unsupported>,
    /// Families of which something is shown, usable or not.
    pub(super) shown: BTreeSet<Family>,
    /// Families of which pods may use something, whole or not.
    pub(super) offered: BTreeSet<Family>,
}

/// One extended resource with units.
pub(super) struct Offer<'a> {
    pub(super) resource: &'a str,
    pub(super) unit: Unit,
    pub(super) count: Count,
}

/// Finds the devices in a node's status.
pub(super) fn find(subject: &Subject<'_>, notes: &mut Notes<'_>) -> Devices {
    let mut devices = Devices::default();
    let mut families: BTreeMap<Family, Vec<Offer<'_>>> = BTreeMap::new();
    let status = &subject.node.status;
    let names: BTreeSet<&str> = status
        .capacity
        .keys()
        .chain(status.allocatable.iter().flat_map(|a| a.keys()))
        .map(String::as_str)
        .collect();
    for resource in names {
        match resource_unit(resource) {
            Some((family, unit)) => {
                let whole = matches!(unit, Unit::Device | Unit::DeviceAlias);
                let count = extended(
                    subject.node,
                    resource,
                    whole && !is_shared_by_design(resource),
                    notes,
                );
                // Left-overs of earlier configurations stay in the status as zeros.
                if count.capacity > 0 || count.allocatable > 0 {
                    families.entry(family).or_default().push(Offer {
                        resource,
                        unit,
                        count,
                    });
                }
            }
            None if subject.catalog.claims(resource) => {
                let count = extended(subject.node, resource, true, notes);
                let by_match = subject.catalog.identify_by_match(&subject.query(resource));
                if let Some(accelerator) = by_match {
                    note_unhealthy(resource, count, notes);
                    let whole = (resource, count, &Cut::Whole);
                    add_group(subject, &mut devices, None, whole, accelerator);
                }
            }
            None => {}
        }
    }
    for (family, offers) in families {
        devices.shown.insert(family);
        if offers.iter().any(|offer| offer.count.allocatable > 0) {
            devices.offered.insert(family);
        }
        family_devices(subject, family, &offers, &mut devices, notes);
    }
    parts::reconcile(subject, &mut devices, notes);
    devices
}

/// Intel's plugin offers a card many times over under the same name, so large numbers are no mistake.
fn is_shared_by_design(resource: &str) -> bool {
    matches!(
        resource,
        "gpu.intel.com/i915" | "gpu.intel.com/xe" | "nvidia.com/gpu"
    )
}

fn family_devices(
    subject: &Subject<'_>,
    family: Family,
    offers: &[Offer<'_>],
    devices: &mut Devices,
    notes: &mut Notes<'_>,
) {
    let has = |unit: Unit| offers.iter().any(|o| o.unit == unit);
    let (has_device, has_alias) = (has(Unit::Device), has(Unit::DeviceAlias));
    let plain_amd = offers.iter().any(|o| o.resource == "amd.com/gpu");
    for offer in offers {
        let same_silicon = match offer.unit {
            Unit::Device => plain_amd && offer.resource != "amd.com/gpu",
            Unit::DeviceAlias => has_device,
            Unit::Core => has_device || has_alias,
            _ => false,
        };
        if same_silicon || offer.unit == Unit::Measure {
            continue;
        }
        note_unhealthy(offer.resource, offer.count, notes);
        if offer.count.allocatable == 0 {
            continue;
        }
        let query = subject.query(offer.resource);
        // Who names a partition or a core in a `match` makes it a type of its own.
        let by_match = matches!(offer.unit, Unit::Partition | Unit::Core)
            .then(|| subject.catalog.identify_by_match(&query))
            .flatten();
        if let Some(accelerator) = by_match {
            let whole = (offer.resource, offer.count, &Cut::Whole);
            add_group(subject, devices, Some(family), whole, accelerator);
            continue;
        }
        let cut = cut(subject, family, offer, offers);
        // A part is one of a device, so what is said of devices says what it is cut from.
        let query = match (&cut, family.resources().first()) {
            (Ok(Cut::Mig(_) | Cut::Slice(_)), Some(device)) => subject.query(device),
            _ => query,
        };
        let identity = subject.catalog.identify(&query);
        match (cut, identity) {
            (Err(reason), identity) => {
                let accelerator_type = match &identity {
                    Identity::Known { accelerator, .. } => Some(accelerator.name.clone()),
                    Identity::Unknown { .. } => None,
                };
                note_split(offer, &reason, notes);
                devices.unsupported.push(Unsupported {
                    resource: offer.resource.to_owned(),
                    count: offer.count.allocatable,
                    reason,
                    accelerator_type,
                });
            }
            (
                Ok(cut),
                Identity::Known {
                    accelerator,
                    evidence,
                    doubt,
                },
            ) => {
                if let Some(doubt) = doubt {
                    notes.add(
                        NoteReason::ConflictingFacts,
                        format!(
                            "{} are taken for {} because of {}={:?}, but {} is {:?}; correct the wrong one, or settle it with an AcceleratorType that has spec.match",
                            offer.resource,
                            accelerator.name,
                            evidence.from,
                            evidence.value,
                            doubt.from,
                            doubt.value
                        ),
                    );
                }
                let units = (offer.resource, offer.count, &cut);
                add_group(subject, devices, Some(family), units, accelerator);
            }
            (Ok(_), Identity::Unknown { seen }) => {
                let seen: Vec<String> = seen
                    .iter()
                    .map(|e| format!("{}={:?}", e.from, e.value))
                    .collect();
                let seen = if seen.is_empty() {
                    "no label tells the model".to_owned()
                } else {
                    format!("the model is not known from {}", seen.join(", "))
                };
                notes.add(
                    NoteReason::UnknownDevice,
                    format!(
                        "{} × {} cannot be used: {seen}; create an AcceleratorType with spec.match.resourceNames [{}] and this node's labels or instance type",
                        offer.count.allocatable, offer.resource, offer.resource
                    ),
                );
                devices.unsupported.push(Unsupported {
                    resource: offer.resource.to_owned(),
                    count: offer.count.allocatable,
                    reason: UnsupportedReason::UnknownModel,
                    accelerator_type: None,
                });
            }
        }
    }
}

fn note_split(offer: &Offer<'_>, reason: &UnsupportedReason, notes: &mut Notes<'_>) {
    let what = match reason {
        UnsupportedReason::TimeSliced => "shared by time slices or MPS",
        UnsupportedReason::Partitioned => "partitions of devices",
        UnsupportedReason::VirtualGpu => "virtual GPUs",
        UnsupportedReason::Cores => "single cores, and the device itself is not offered",
        UnsupportedReason::UnknownModel
        | UnsupportedReason::Integrated
        | UnsupportedReason::NotLinux => "no whole devices",
    };
    notes.add(
        NoteReason::NotWholeDevices,
        format!(
            "{} × {} are {what} and are not used for jobs that ask for whole devices",
            offer.count.allocatable, offer.resource
        ),
    );
}

fn note_unhealthy(resource: &str, count: Count, notes: &mut Notes<'_>) {
    if let Some(missing) = count
        .capacity
        .checked_sub(count.allocatable)
        .filter(|n| *n > 0)
    {
        notes.add(
            NoteReason::UnhealthyDevices,
            format!(
                "{missing} of {} × {resource} are not allocatable: the device plugin reports them unhealthy",
                count.capacity
            ),
        );
    }
}

fn add_group(
    subject: &Subject<'_>,
    devices: &mut Devices,
    family: Option<Family>,
    (resource, count, cut): (&str, Count, &Cut),
    accelerator: &Accelerator,
) {
    if count.allocatable == 0 {
        return;
    }
    let devices_count = u32::try_from(count.allocatable).unwrap_or(u32::MAX);
    let held = held_units(subject, family, resource);
    devices.groups.push((
        family,
        DeviceGroup {
            accelerator_type: accelerator.name.clone(),
            resource: resource.to_owned(),
            part: cut.part(),
            share: cut.share(&accelerator.name),
            devices: devices_count,
            held: u32::try_from(held).unwrap_or(u32::MAX).min(devices_count),
            node_devices: 0,
            taint_keys: taint_keys(family, resource),
        },
    ));
}

/// Devices that others hold, under whatever name they asked for them.
fn held_units(subject: &Subject<'_>, family: Option<Family>, resource: &str) -> u64 {
    let held = |name: &str| subject.held.extended.get(name).copied().unwrap_or_default();
    if family != Some(Family::Neuron) || resource.ends_with("neuroncore") {
        return held(resource);
    }
    let capacity =
        |name: &str| -> Option<u64> { subject.node.status.capacity.get(name)?.parse().ok() };
    let chips =
        capacity("aws.amazon.com/neuron").or_else(|| capacity("aws.amazon.com/neurondevice"));
    let cores_per_chip = capacity("aws.amazon.com/neuroncore")
        .zip(chips)
        .and_then(|(cores, chips)| cores.checked_div(chips))
        .unwrap_or(2)
        .max(1);
    held("aws.amazon.com/neuron")
        .saturating_add(held("aws.amazon.com/neurondevice"))
        .saturating_add(held("aws.amazon.com/neuroncore").div_ceil(cores_per_chip))
}

/// Taints that pods for the device tolerate by themselves.
pub(super) fn taint_keys(family: Option<Family>, resource: &str) -> Vec<String> {
    let mut keys = vec![resource.to_owned()];
    let known = family.map(Family::taint_keys).unwrap_or_default();
    keys.extend(known.iter().map(|key| (*key).to_owned()));
    keys.sort();
    keys.dedup();
    keys
}

/// What a unit is, or why it is nothing that can be asked for.
fn cut(
    subject: &Subject<'_>,
    family: Family,
    offer: &Offer<'_>,
    offers: &[Offer<'_>],
) -> Result<Cut, UnsupportedReason> {
    let asked_for = matches!(
        offer.unit,
        Unit::Device | Unit::DeviceAlias | Unit::TimeSlice | Unit::Partition
    );
    if family == Family::Nvidia && asked_for {
        return parts::nvidia(subject, offer, offers);
    }
    let reason = match (offer.unit, family) {
        (Unit::Device | Unit::DeviceAlias, Family::Amd) => amd_split(subject, offer),
        (Unit::Device | Unit::DeviceAlias, Family::IntelGpu) => intel_split(subject, offer),
        (Unit::Device | Unit::DeviceAlias, _) => None,
        (Unit::Core, _) => Some(UnsupportedReason::Cores),
        (Unit::TimeSlice, _) => Some(UnsupportedReason::TimeSliced),
        (Unit::Partition, _) => Some(UnsupportedReason::Partitioned),
        (Unit::VirtualGpu | Unit::Measure, _) => Some(UnsupportedReason::VirtualGpu),
    };
    reason.map_or(Ok(Cut::Whole), Err)
}

fn amd_split(subject: &Subject<'_>, offer: &Offer<'_>) -> Option<UnsupportedReason> {
    const PARTITION: [&str; 3] = [
        "amd.com/gpu.compute-memory-partition",
        "amd.com/gpu.compute-partition",
        "amd.com/compute-partition",
    ];
    let partitioned = PARTITION.iter().any(|key| {
        subject
            .labels
            .get(*key)
            .is_some_and(|mode| !mode.is_empty() && !mode.to_ascii_lowercase().starts_with("spx"))
    });
    let physical = subject.shape.map(|s| u64::from(s.devices));
    let more_than_there_are = physical.is_some_and(|n| n > 0 && offer.count.capacity > n);
    (partitioned || more_than_there_are).then_some(UnsupportedReason::Partitioned)
}

/// The plugin offers each card `-shared-dev-num` times; the labels count cards.
fn intel_split(subject: &Subject<'_>, offer: &Offer<'_>) -> Option<UnsupportedReason> {
    let cards: u64 = subject
        .labels
        .iter()
        .filter(|(key, _)| key.starts_with("gpu.intel.com/device-id.") && key.ends_with(".count"))
        .filter_map(|(_, value)| value.parse::<u64>().ok())
        .fold(0, u64::saturating_add);
    ((cards > 0 && offer.count.capacity > cards)
        || offer.count.capacity > super::resources::MAX_DEVICES)
        .then_some(UnsupportedReason::TimeSliced)
}
