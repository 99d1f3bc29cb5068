//! What the builders of a member's objects must know of the member, as its nodes show it.

use ampacity_api::Placement;
use kube::ResourceExt;

use super::Target;
use super::fence::fence_seconds;
use crate::runtime::Operator;
use crate::state::ObjectKey;

/// What the builders must know of the member.
pub fn target(operator: &Operator, placement: &Placement) -> Target {
    let spec = &placement.spec;
    let vendor = operator
        .state
        .catalog
        .get(&spec.accelerator_type)
        .map(|a| a.vendor.clone())
        .unwrap_or_default();
    let mut target = Target {
        hub: operator.config.hub_name.clone(),
        vendor,
        ..Target::default()
    };
    target.fence_seconds = fence_seconds(operator, &spec.cluster);
    let Some(member) = operator.state.members.get(&spec.cluster) else {
        return target;
    };
    for node in &spec.nodes {
        let shown = member.nodes.get(&ObjectKey::new("", &node.name));
        if let Some(hostname) = shown.and_then(|n| n.labels().get("kubernetes.io/hostname")) {
            target.hostnames.insert(node.name.clone(), hostname.clone());
        }
    }
    let resource = spec
        .resource
        .resource_name
        .as_ref()
        .or(spec.resource.device_class_name.as_ref());
    target.tolerated_taint_keys = resource
        .and_then(|r| member.taint_keys.get(r))
        .cloned()
        .unwrap_or_default();
    target
}
