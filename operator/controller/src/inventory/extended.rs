//! Devices that device plugins offer as extended resources.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_catalog::{Accelerator, Count, Cut, Family, Identity, Offer, Unit, resource_unit};
use ampacity_placement::DeviceGroup;

use super::devices::{Devices, Subject, taint_keys};
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
        let cut = (family.cut)(&subject.view(), offer, offers);
        // A part is one of a device, so what is said of devices says what it is cut from.
        let query = match (&cut, family.device_resource()) {
            (Ok(Cut::Mig(_) | Cut::Slice(_)), Some(device)) => subject.query(device),
            _ => query,
        };
        let identity = subject.catalog.identify(&query);
        match (cut, identity) {
            (Err(why), identity) => {
                let reason = UnsupportedReason::from(why);
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
    notes.add(
        NoteReason::NotWholeDevices,
        format!(
            "{} × {} are {} and are not used for jobs that ask for whole devices",
            offer.count.allocatable,
            offer.resource,
            reason.words()
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
