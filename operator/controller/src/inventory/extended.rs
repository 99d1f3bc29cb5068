//! Devices that device plugins offer as extended resources.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_catalog::{
    Accelerator, Count, Cut, Family, Identity, InstanceShape, NotAskable, Offer, Unit,
    resource_unit,
};
use ampacity_placement::DeviceGroup;

use super::devices::{Devices, Subject, as_one_unit, taint_keys};
use super::note::{NoteReason, Notes, Unsupported, UnsupportedReason};
use super::parts;
use super::resources::extended;

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
            Some((family, unit)) if unit != Unit::Unlisted => {
                let whole = matches!(unit, Unit::Device | Unit::DeviceAlias);
                let count = extended(
                    subject.node,
                    resource,
                    whole && !family.shareable_resources.contains(&resource),
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
            _ if subject.catalog.claims(resource) => {
                let count = extended(subject.node, resource, true, notes);
                let by_match = subject.catalog.identify_by_match(&subject.query(resource));
                if let Some(accelerator) = by_match {
                    note_unhealthy(resource, count, notes);
                    let whole = (resource, count, &Cut::Whole);
                    add_group(subject, &mut devices, None, whole, accelerator);
                    // Whatever else the labels say of such devices, here they are.
                    devices.shown.extend(accelerator.family);
                }
            }
            _ => {}
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

fn family_devices(
    subject: &Subject<'_>,
    family: Family,
    offers: &[Offer<'_>],
    devices: &mut Devices,
    notes: &mut Notes<'_>,
) {
    let before = devices.groups.len();
    let mut idle: Vec<(&Offer<'_>, Cut, &Accelerator)> = Vec::new();
    let has = |unit: Unit| offers.iter().any(|o| o.unit == unit);
    let (has_device, has_alias) = (has(Unit::Device), has(Unit::DeviceAlias));
    for offer in offers {
        let same_silicon = match offer.unit {
            Unit::DeviceAlias => has_device,
            Unit::Core => has_device || has_alias,
            _ => false,
        };
        if same_silicon || matches!(offer.unit, Unit::Measure | Unit::Monitor) {
            continue;
        }
        note_unhealthy(offer.resource, offer.count, notes);
        let query = subject.query(offer.resource);
        // Who names a partition, a core or a device of a virtual machine in a `match` makes it a type of its own.
        let by_match = matches!(
            offer.unit,
            Unit::Partition | Unit::Core | Unit::PassedThrough
        )
        .then(|| subject.catalog.identify_by_match(&query))
        .flatten();
        if offer.count.allocatable == 0 {
            let identity = subject.catalog.identify(&query);
            let known = by_match.map(|accelerator| (Cut::Whole, accelerator));
            let by_labels = || match ((family.cut)(&subject.view(), offer, offers), identity) {
                (Ok(Cut::Whole), Identity::Known { accelerator, .. }) => {
                    Some((Cut::Whole, accelerator))
                }
                _ => None,
            };
            idle.extend(known.or_else(by_labels).map(|(cut, a)| (offer, cut, a)));
            continue;
        }
        if let Some(accelerator) = by_match {
            let whole = (offer.resource, offer.count, &Cut::Whole);
            add_group(subject, devices, Some(family), whole, accelerator);
            continue;
        }
        let cut = (family.cut)(&subject.view(), offer, offers);
        // A part is one of a device, so what is said of devices says what it is cut from.
        let query = match (&cut, family.device_resource()) {
            (Ok(Cut::Mig(_) | Cut::Slice(_)), Some(device)) => subject.query(device),
            _ => query,
        };
        let identity = subject.catalog.identify(&query);
        let cut = match (cut, &identity) {
            // Whoever names the resource in a `match` says what a unit of it is.
            (Err(NotAskable::Surplus { .. }), identity) if identity.is_by_match() => Ok(Cut::Whole),
            (Ok(cut), Identity::Known { accelerator, .. }) if !identity.is_by_match() => {
                no_surplus(subject, family, offer, cut, accelerator)
            }
            (cut, _) => cut,
        };
        match (cut, identity) {
            (Err(why), identity) => {
                let reason = UnsupportedReason::from(why);
                let accelerator_type = match &identity {
                    Identity::Known { accelerator, .. } => Some(accelerator.name.clone()),
                    Identity::Unknown { .. } => None,
                };
                note_split(offer, why, &reason, notes);
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
    // Left-overs of an earlier configuration beside devices that can be used say nothing; where none can be, these are what is there.
    if devices.groups.len() == before {
        for (offer, cut, accelerator) in idle {
            let units = (offer.resource, offer.count, &cut);
            add_group(subject, devices, Some(family), units, accelerator);
        }
    }
}

/// Whole devices are no more than the instance type has, or than any machine with the type has: what is beyond that counts shares,
/// or is wrong.
fn no_surplus(
    subject: &Subject<'_>,
    family: Family,
    offer: &Offer<'_>,
    cut: Cut,
    accelerator: &Accelerator,
) -> Result<Cut, NotAskable> {
    // Where a label counts the devices, the vendor's file has compared already.
    if cut != Cut::Whole || (family.physical_devices)(&subject.view()).is_some() {
        return Ok(cut);
    }
    let of_family = |shape: &&InstanceShape| {
        let type_ = subject.catalog.get(&shape.accelerator);
        type_.is_some_and(|type_| type_.family == Some(family)) && shape.devices > 0
    };
    let by_instance = subject.shape.filter(of_family);
    let by_instance = by_instance.map(|shape| (u64::from(shape.devices), "the instance type"));
    let by_type = (family.most_devices)(&accelerator.name).map(|most| (most, "the device type"));
    let units = offer.count.capacity.max(offer.count.allocatable);
    match by_instance
        .into_iter()
        .chain(by_type)
        .find(|(most, _)| units > *most)
    {
        Some((there_are, told_by)) => Err(NotAskable::Surplus { there_are, told_by }),
        None => Ok(cut),
    }
}

fn note_split(
    offer: &Offer<'_>,
    why: NotAskable,
    reason: &UnsupportedReason,
    notes: &mut Notes<'_>,
) {
    let (units, resource) = (offer.count.allocatable, offer.resource);
    let (about, message) = match why {
        NotAskable::Surplus { there_are, told_by } => (
            NoteReason::ConflictingFacts,
            format!(
                "{units} × {resource} are offered, but {told_by} tells of {there_are}: the count and what the node says of itself disagree, so they are not used for jobs that ask for whole devices; correct the label or the device plugin, or say with an AcceleratorType that has spec.match what they are"
            ),
        ),
        NotAskable::PassedThrough => (
            NoteReason::NotWholeDevices,
            format!(
                "{units} × {resource} are {} and are not used for jobs that ask for devices of containers; to use them, create an AcceleratorType with spec.match.resourceNames [{resource}]",
                reason.words()
            ),
        ),
        _ => (
            NoteReason::NotWholeDevices,
            format!(
                "{units} × {resource} are {} and are not used for jobs that ask for whole devices",
                reason.words()
            ),
        ),
    };
    notes.add(about, message);
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
                "{missing} of {} × {resource} are not allocatable: the device plugin reports them unhealthy, or does not run",
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
    let devices_count = u32::try_from(count.allocatable).unwrap_or(u32::MAX);
    let held = held_units(subject, family, resource);
    let unusable = count.capacity.saturating_sub(count.allocatable);
    if count.capacity.max(count.allocatable) == 0 {
        return;
    }
    devices.groups.push((
        family,
        as_one_unit(DeviceGroup {
            accelerator_type: accelerator.name.clone(),
            resource: resource.to_owned(),
            part: cut.part(),
            share: cut.share(&accelerator.name),
            devices: devices_count,
            held: u32::try_from(held).unwrap_or(u32::MAX).min(devices_count),
            unusable: u32::try_from(unusable).unwrap_or(u32::MAX),
            unusable_why: if unusable > 0 {
                format!(
                    "units of {resource} are not allocatable: the device plugin reports them unhealthy, or does not run"
                )
            } else {
                String::new()
            },
            whole_node: *cut == Cut::Whole && family.is_some_and(|family| family.whole_nodes),
            node_devices: 0,
            taint_keys: taint_keys(family, resource),
        }),
    ));
}

/// Devices that others hold, under whatever name they asked for them.
fn held_units(subject: &Subject<'_>, family: Option<Family>, resource: &str) -> u64 {
    let held = |name: &str| subject.held.extended.get(name).copied().unwrap_or_default();
    let by_core = family.and_then(|family| {
        let is_core = |(_, unit): &&(&str, Unit)| *unit == Unit::Core;
        let (core, _) = family.resources.iter().find(is_core)?;
        Some((family, *core, family.cores_per_device?))
    });
    let Some((family, core, cores_per_device)) = by_core.filter(|(_, core, _)| *core != resource)
    else {
        return held(resource);
    };
    let capacity =
        |name: &str| -> Option<u64> { subject.node.status.capacity.get(name)?.parse().ok() };
    let names = family.device_resources;
    let devices = names.iter().find_map(|name| capacity(name));
    let cores_per_device = capacity(core)
        .zip(devices)
        .and_then(|(cores, devices)| cores.checked_div(devices))
        .unwrap_or(cores_per_device)
        .max(1);
    names
        .iter()
        .map(|name| held(name))
        .fold(0, u64::saturating_add)
        .saturating_add(held(core).div_ceil(cores_per_device))
}
