//! Counts silicon once where a node offers devices and parts of devices.

use std::collections::BTreeSet;

use ampacity_catalog::Family;
use ampacity_placement::{DeviceGroup, DevicePart};

use super::devices::{Devices, Subject};
use super::note::{NoteReason, Notes, Unsupported, UnsupportedReason};

/// Of each family that has parts: gives parts the number of devices that the node's price is shared out over, and takes parts out
/// where they and the whole devices are more than there are.
pub(super) fn reconcile(subject: &Subject<'_>, devices: &mut Devices, notes: &mut Notes<'_>) {
    let families: BTreeSet<Family> = devices
        .groups
        .iter()
        .filter(|(_, group)| is_part(group))
        .filter_map(|(family, _)| *family)
        .collect();
    for family in families {
        if let Some(physical) = (family.physical_devices)(&subject.view()) {
            reconcile_family(family, physical, devices, notes);
        }
    }
}

fn is_part(group: &DeviceGroup) -> bool {
    group.part != DevicePart::Whole
}

fn reconcile_family(family: Family, physical: u64, devices: &mut Devices, notes: &mut Notes<'_>) {
    let ours = |of: &Option<Family>| *of == Some(family);
    let groups = devices.groups.iter().filter(|(of, _)| ours(of));
    // In thousandths, each group rounded down: seven sevenths are one device.
    let milli = groups.fold(0_u64, |sum, (_, group)| {
        let share = group.share;
        let each = 1_000_000 * u64::from(share.parts()) / u64::from(share.of());
        sum.saturating_add(each.saturating_mul(group.devices.into()) / 1000)
    });
    if milli <= physical.saturating_mul(1000) {
        for (of, group) in &mut devices.groups {
            if ours(of) {
                group.node_devices = u32::try_from(physical).unwrap_or(u32::MAX);
            }
        }
        return;
    }
    notes.add(
        NoteReason::ConflictingFacts,
        format!(
            "whole devices, MIG instances and time slices add up to more than the {physical} devices that the node's labels or its instance type tell of: only the whole ones are used; repair the device plugin or the labels"
        ),
    );
    let (kept, parts): (Vec<_>, Vec<_>) = std::mem::take(&mut devices.groups)
        .into_iter()
        .partition(|(of, group)| !(ours(of) && is_part(group)));
    devices.groups = kept;
    devices
        .unsupported
        .extend(parts.into_iter().map(|(_, group)| Unsupported {
            resource: group.resource,
            count: group.devices.into(),
            reason: match group.part {
                DevicePart::Milli(_) => UnsupportedReason::TimeSliced,
                _ => UnsupportedReason::Partitioned,
            },
            accelerator_type: Some(group.accelerator_type),
        }));
}
