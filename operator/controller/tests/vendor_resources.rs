//! Every extended resource that a vendor's file knows: templates may not ask for it, and the inventory knows what it is.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::collections::BTreeMap;

use ampacity_api::{Placement, TrainingJob};
use ampacity_catalog::{Catalog, Family, Prices, Unit};
use ampacity_controller::dispatch::{Target, is_accelerator_resource, training_objects};
use ampacity_controller::inventory::{
    FeedRules, HeldOnNode, MemberContext, NodeInventory, node_spec,
};
use serde_json::json;

/// One name of each form.
fn names() -> BTreeMap<String, Unit> {
    Family::all()
        .flat_map(|family| family.resources)
        .map(|(form, unit)| (form.replace('*', "x"), *unit))
        .collect()
}

fn take(resource: &str) -> NodeInventory {
    let has = json!({resource: "2"});
    let node = json!({"metadata": {"name": "n"}, "status": {"capacity": has, "allocatable": has}});
    let ctx = MemberContext {
        cluster: "c",
        provider: "onprem",
        region: "",
        topology_levels: &[],
        feeds: &FeedRules::default(),
        catalog: &Catalog::builtin(),
        prices: &Prices::default(),
    };
    let node = serde_json::from_value(node).unwrap();
    node_spec(&ctx, &node, &[], &HeldOnNode::default())
}

#[test]
fn the_inventory_tells_devices_and_shares_from_measures() {
    for (name, unit) in names() {
        let inventory = take(&name);
        let is_listed = inventory.spec.devices.iter().any(|g| g.resource == name)
            || inventory.unsupported.iter().any(|u| u.resource == name);
        let counts_devices = !matches!(unit, Unit::Measure | Unit::Monitor | Unit::Unlisted);
        assert_eq!(is_listed, counts_devices, "{name}");
    }
}

#[test]
fn a_template_keeps_none_of_them_but_handles_to_watch_by() {
    let names = names();
    let limits: BTreeMap<&String, &str> = names.keys().map(|name| (name, "2")).collect();
    let job: TrainingJob = serde_json::from_value(json!({
        "apiVersion": "ampacity.dev/v1alpha1", "kind": "TrainingJob",
        "metadata": {"name": "llama", "namespace": "research", "uid": "job-uid"},
        "spec": {
            "estimatedDurationSeconds": 60,
            "alternatives": [{"name": "a", "acceleratorType": "nvidia-l4", "devicesPerReplica": 1, "image": "i"}],
            "template": {"spec": {"containers": [{"name": "main", "resources": {"limits": limits}}]}},
        },
    }))
    .unwrap();
    let placement: Placement = serde_json::from_value(json!({
        "apiVersion": "ampacity.dev/v1alpha1", "kind": "Placement",
        "metadata": {"name": "llama-1", "namespace": "research", "uid": "placement-uid"},
        "spec": {
            "jobRef": {"kind": "TrainingJob", "name": "llama", "uid": "job-uid"},
            "attempt": 1, "epoch": 1, "cluster": "oslo", "alternative": "a",
            "acceleratorType": "nvidia-l4", "capacityType": "Owned", "devicesPerReplica": 1,
            "replicas": 1, "nodes": [{"name": "n", "replicas": 1}],
            "resource": {"resourceName": "nvidia.com/gpu"}, "watts": 132, "usdPerHour": "0",
        },
    }))
    .unwrap();
    let objects = training_objects(&job, &placement, &Target::default()).unwrap();
    let mut kept = names.clone();
    for removed in &objects.removed_requests {
        kept.remove(&removed.resource);
    }
    assert_eq!(
        kept,
        BTreeMap::from([("gpu.intel.com/x_monitoring".to_owned(), Unit::Monitor)])
    );
    for name in names.keys() {
        assert_eq!(
            is_accelerator_resource(name),
            !kept.contains_key(name),
            "{name}"
        );
    }
}
