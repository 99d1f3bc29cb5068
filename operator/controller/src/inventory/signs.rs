//! What pods tell of a node, put into what the engine knows of it.

use ampacity_catalog::family_of;
use ampacity_placement::NodeFault;
use jiff::Timestamp;

use super::node::NodeInventory;
use super::note::{NoteReason, Notes};
use crate::state::PodSigns;

/// Takes devices out whose DRA driver does not run, and the node itself where it refuses pods.
pub(super) fn take_signs(
    signs: &PodSigns,
    cluster: &str,
    node: &str,
    now: Timestamp,
    inventory: &mut NodeInventory,
) {
    let mut notes = Notes {
        cluster,
        node,
        notes: Vec::new(),
    };
    for down in signs.down_drivers(node) {
        let mut devices = 0_u32;
        // A class of the driver may have another name: the family tells.
        let family = family_of(down.driver);
        let groups = inventory.spec.devices.iter_mut();
        for group in groups.filter(|group| {
            !group.resource.contains('/')
                && family.is_some()
                && family_of(&group.resource) == family
        }) {
            devices = devices.saturating_add(group.devices);
            group.unusable = group.unusable.saturating_add(group.devices);
            group.unusable_why = format!(
                "the pod of DRA driver {} is not ready ({})",
                down.driver, down.why
            );
            // What is held of them stays held: it may run on.
            group.devices = 0;
        }
        if devices > 0 {
            notes.add(
                NoteReason::DriverDown,
                format!(
                    "{devices} devices of {} are not used while pod {} is not ready ({}); look at its log",
                    down.driver, down.pod, down.why
                ),
            );
        }
    }
    if let Some(why) = signs.refuses(node, now) {
        notes.add(
            NoteReason::RefusesPods,
            format!("nothing new is placed there for now: {why}; look at the kubelet and the device plugin"),
        );
        let fault = &mut inventory.spec.fault;
        *fault = fault.take().or(Some(NodeFault::Unhealthy(why)));
    }
    inventory.notes.append(&mut notes.notes);
}
