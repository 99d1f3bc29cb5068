//! What the builders of a member's objects must know of the member, as its nodes show it.

use std::collections::BTreeMap;

use ampacity_api::Placement;
use ampacity_catalog::Family;
use ampacity_placement::Labels;
use kube::ResourceExt;

use super::Target;
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
    let Some(member) = operator.state.members.get(&spec.cluster) else {
        return target;
    };
    let labels_of = |name: &str| {
        member
            .nodes
            .get(&ObjectKey::new("", name))
            .map(|n| n.labels().clone())
    };
    let chosen: Vec<(String, Labels)> = spec
        .nodes
        .iter()
        .filter_map(|n| Some((n.name.clone(), labels_of(&n.name)?)))
        .collect();
    for (name, labels) in &chosen {
        if let Some(hostname) = labels.get("kubernetes.io/hostname") {
            target.hostnames.insert(name.clone(), hostname.clone());
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
    if operator
        .state
        .kinds
        .get(spec.job_ref.kind)
        .is_some_and(|facts| facts.replicas_move)
    {
        add_pool(&mut target, &chosen);
    }
    target
}

/// The label that tells the machine, and with it the device.
const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";

/// Labels of clusters and clouds that tell pools apart; those of the vendors are theirs to name.
const POOL_LABELS: [&str; 6] = [
    INSTANCE_TYPE,
    "topology.kubernetes.io/zone",
    "ampacity.dev/capacity-type",
    "karpenter.sh/capacity-type",
    "eks.amazonaws.com/capacityType",
    "cloud.google.com/gke-spot",
];

/// The pool of a placement whose replicas may move within it: the labels that its nodes share, where these tell the device, else the nodes.
fn add_pool(target: &mut Target, chosen: &[(String, Labels)]) {
    let mut shared: BTreeMap<String, String> = BTreeMap::new();
    if let Some((_, first)) = chosen.first() {
        let of_vendors = Family::all()
            .map(|family| family.pool_labels)
            .flat_map(|labels| labels.device.iter().chain(labels.others));
        for key in POOL_LABELS.iter().chain(of_vendors) {
            if let Some(value) = first
                .get(*key)
                .filter(|v| chosen.iter().all(|(_, l)| l.get(*key) == Some(v)))
            {
                shared.insert((*key).to_owned(), value.clone());
            }
        }
    }
    let mut tell_device = Family::all()
        .flat_map(|family| family.pool_labels.device)
        .chain([&INSTANCE_TYPE]);
    if tell_device.any(|key| shared.contains_key(*key)) {
        target.pool_labels = shared;
    }
    target.pool_nodes = chosen.iter().map(|(name, _)| name.clone()).collect();
}
