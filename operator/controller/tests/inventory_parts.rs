//! MIG instances and time slices as device plugins and DRA show them, in small tables.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use ampacity_catalog::{Catalog, Prices};
use ampacity_controller::inventory::{
    DraFacts, FeedRules, HeldOnNode, MemberContext, NodeInventory, NoteReason, SlimNode, SlimPod,
    SlimResourceClaim, SlimResourceSlice, UnsupportedReason, node_spec, pod_usage,
};
use ampacity_placement::DevicePart;
use serde_json::{Value, json};

fn take_with(node: Value, slices: &[Value], held: &HeldOnNode) -> NodeInventory {
    let node: SlimNode = serde_json::from_value(node).unwrap();
    let slices: Vec<SlimResourceSlice> = slices
        .iter()
        .map(|s| serde_json::from_value(s.clone()).unwrap())
        .collect();
    let slices: Vec<&SlimResourceSlice> = slices.iter().collect();
    let ctx = MemberContext {
        cluster: "c",
        provider: "onprem",
        region: "",
        topology_levels: &[],
        feeds: &FeedRules::default(),
        catalog: &Catalog::builtin(),
        prices: &Prices::default(),
        dra: &DraFacts::default(),
    };
    node_spec(&ctx, &node, &slices, held)
}

fn take(node: Value, slices: &[Value]) -> NodeInventory {
    take_with(node, slices, &HeldOnNode::default())
}

fn node(labels: Value, resources: Value) -> Value {
    json!({"metadata": {"name": "n", "labels": labels}, "status": {"capacity": resources, "allocatable": resources}})
}

/// `units × what (share of one) of so many devices, held as resource`.
fn seen(inventory: &NodeInventory) -> Vec<String> {
    let groups = inventory.spec.devices.iter();
    groups
        .map(|g| {
            let part = match &g.part {
                DevicePart::Whole => "whole".to_owned(),
                DevicePart::Mig(profile) => profile.clone(),
                DevicePart::Milli(unit) => format!("{unit}m"),
            };
            let (parts, of) = (g.share.parts(), g.share.of());
            format!(
                "{} {part} {parts}/{of} of {} {}, {} held, as {}",
                g.devices, g.node_devices, g.accelerator_type, g.held, g.resource
            )
        })
        .collect()
}

const PRODUCT: &str = "nvidia.com/gpu.product";

#[test]
fn parts_are_groups_of_their_own() {
    let h100 = "NVIDIA-H100-80GB-HBM3";
    let cases: Vec<(&str, Value, Value, &[&str])> = vec![
        (
            "MIG mixed: the cards without MIG stay whole",
            json!({PRODUCT: h100, "nvidia.com/gpu.count": "8", "nvidia.com/mig.strategy": "mixed", "nvidia.com/gpu.replicas": "1"}),
            json!({"nvidia.com/gpu": "6", "nvidia.com/mig-3g.40gb": "4", "nvidia.com/mig-1g.10gb.me": "0"}),
            &[
                "6 whole 1/1 of 8 nvidia-h100-sxm5-80gb, 0 held, as nvidia.com/gpu",
                "4 3g.40gb 3/7 of 8 nvidia-h100-sxm5-80gb, 0 held, as nvidia.com/mig-3g.40gb",
            ],
        ),
        (
            "attributes of a profile, and an A30, which has four slices",
            json!({PRODUCT: "NVIDIA-A30"}),
            json!({"nvidia.com/mig-1g.6gb.me": "1", "nvidia.com/mig-1c.2g.12gb": "2"}),
            &[
                "2 1c.2g.12gb 1/4 of 0 nvidia-a30, 0 held, as nvidia.com/mig-1c.2g.12gb",
                "1 1g.6gb.me 1/4 of 0 nvidia-a30, 0 held, as nvidia.com/mig-1g.6gb.me",
            ],
        ),
        (
            "MIG single: the label counts instances",
            json!({PRODUCT: "A100-PCIE-40GB-MIG-1g.5gb", "nvidia.com/gpu.count": "7", "nvidia.com/gpu.memory": "4864", "nvidia.com/gpu.slices.gi": "1"}),
            json!({"nvidia.com/gpu": "7"}),
            &["7 1g.5gb 1/7 of 0 nvidia-a100-pcie-40gb, 0 held, as nvidia.com/gpu"],
        ),
        (
            "GKE's partitions",
            json!({"cloud.google.com/gke-accelerator": "nvidia-tesla-a100", "cloud.google.com/gke-gpu-partition-size": "2g.10gb", "cloud.google.com/gke-accelerator-count": "2"}),
            json!({"nvidia.com/gpu": "6"}),
            &["6 2g.10gb 2/7 of 2 nvidia-a100-sxm4-40gb, 0 held, as nvidia.com/gpu"],
        ),
        (
            "time slices under the plain name",
            json!({PRODUCT: "Tesla-T4-SHARED", "nvidia.com/gpu.replicas": "4", "nvidia.com/gpu.count": "4"}),
            json!({"nvidia.com/gpu": "16"}),
            &["16 250m 1/4 of 4 nvidia-t4, 0 held, as nvidia.com/gpu"],
        ),
        (
            "a third is 333 thousandths and pays for a third",
            json!({PRODUCT: "Tesla-T4-SHARED", "nvidia.com/gpu.replicas": "3"}),
            json!({"nvidia.com/gpu": "6"}),
            &["6 333m 1/3 of 0 nvidia-t4, 0 held, as nvidia.com/gpu"],
        ),
        (
            "renamed, beside whole devices",
            json!({PRODUCT: "Tesla-T4", "nvidia.com/gpu.replicas": "10", "nvidia.com/gpu.count": "4"}),
            json!({"nvidia.com/gpu": "2", "nvidia.com/gpu.shared": "20"}),
            &[
                "2 whole 1/1 of 4 nvidia-t4, 0 held, as nvidia.com/gpu",
                "20 100m 1/10 of 4 nvidia-t4, 0 held, as nvidia.com/gpu.shared",
            ],
        ),
        (
            "renamed, counted from the devices",
            json!({PRODUCT: "Tesla-T4", "nvidia.com/gpu.count": "4"}),
            json!({"nvidia.com/gpu.shared": "8"}),
            &["8 500m 1/2 of 4 nvidia-t4, 0 held, as nvidia.com/gpu.shared"],
        ),
        (
            "MPS",
            json!({PRODUCT: "NVIDIA-L4-SHARED", "nvidia.com/gpu.sharing-strategy": "mps", "nvidia.com/gpu.replicas": "2", "nvidia.com/gpu.count": "1"}),
            json!({"nvidia.com/gpu": "2"}),
            &["2 500m 1/2 of 1 nvidia-l4, 0 held, as nvidia.com/gpu"],
        ),
        (
            "GKE's time sharing",
            json!({"cloud.google.com/gke-accelerator": "nvidia-l4", "cloud.google.com/gke-max-shared-clients-per-gpu": "8"}),
            json!({"nvidia.com/gpu": "8"}),
            &["8 125m 1/8 of 0 nvidia-l4, 0 held, as nvidia.com/gpu"],
        ),
    ];
    for (name, labels, resources, expected) in cases {
        let inventory = take(node(labels, resources), &[]);
        assert_eq!(seen(&inventory), expected, "{name}");
        assert_eq!(inventory.unsupported, [], "{name}");
        let notes: Vec<_> = inventory.notes.iter().map(|n| n.reason).collect();
        assert_eq!(notes, [NoteReason::MissingResource], "{name}");
    }
}

#[test]
fn silicon_that_is_offered_twice_counts_as_whole() {
    let labels = json!({PRODUCT: "NVIDIA-H100-80GB-HBM3", "nvidia.com/gpu.count": "1"});
    let both = json!({"nvidia.com/gpu": "1", "nvidia.com/mig-1g.10gb": "7"});
    let inventory = take(node(labels, both), &[]);
    assert_eq!(
        seen(&inventory),
        ["1 whole 1/1 of 0 nvidia-h100-sxm5-80gb, 0 held, as nvidia.com/gpu"]
    );
    let unsupported = &inventory.unsupported[0];
    assert_eq!(
        (&unsupported.reason, unsupported.count),
        (&UnsupportedReason::Partitioned, 7)
    );
    let conflict = |n: &&_| matches!(n, NoteReason::ConflictingFacts);
    let mut notes = inventory.notes.iter().map(|n| &n.reason);
    assert!(notes.any(|n| conflict(&n)), "{:?}", inventory.notes);
}

#[test]
fn what_other_pods_hold_is_held_in_its_own_group() {
    let pod = |resource: &str, units: u32| -> SlimPod {
        let pod = json!({"spec": {"nodeName": "n", "containers": [{"resources": {"limits": {resource: units}}}]}});
        serde_json::from_value(pod).unwrap()
    };
    let pods = [
        pod("nvidia.com/mig-1g.10gb", 2),
        pod("nvidia.com/mig-1g.10gb", 1),
        pod("nvidia.com/gpu", 1),
    ];
    let usage: Vec<_> = pods.iter().filter_map(pod_usage).collect();
    let labels = json!({PRODUCT: "NVIDIA-H100-80GB-HBM3", "nvidia.com/gpu.count": "8"});
    let resources = json!({"nvidia.com/gpu": "6", "nvidia.com/mig-1g.10gb": "14"});
    let inventory = take_with(node(labels, resources), &[], &HeldOnNode::of_pods(&usage));
    assert_eq!(
        seen(&inventory),
        [
            "6 whole 1/1 of 8 nvidia-h100-sxm5-80gb, 1 held, as nvidia.com/gpu",
            "14 1g.10gb 1/7 of 8 nvidia-h100-sxm5-80gb, 3 held, as nvidia.com/mig-1g.10gb"
        ]
    );
}

/// Devices that DRA publishes in one slice.
fn published(devices: Value) -> Value {
    json!({"metadata": {"name": "s"}, "spec": {"driver": "gpu.nvidia.com", "nodeName": "n",
        "pool": {"name": "n", "generation": 1, "resourceSliceCount": 1}, "devices": devices}})
}

fn gpu(name: &str, uuid: &str) -> Value {
    json!({"name": name, "attributes": {"type": {"string": "gpu"}, "uuid": {"string": uuid},
        "productName": {"string": "NVIDIA H100 80GB HBM3"}}, "capacity": {"memory": {"value": "81559Mi"}}})
}

fn mig(name: &str, profile: &str, parent: &str) -> Value {
    json!({"name": name, "attributes": {"type": {"string": "mig"}, "profile": {"string": profile},
        "parentUUID": {"string": parent}, "productName": {"string": "NVIDIA H100 80GB HBM3"}},
        "capacity": {"memory": {"value": "9856Mi"}}})
}

#[test]
fn instances_that_dra_publishes_are_asked_for_by_their_class_and_profile() {
    let slice = published(json!([
        gpu("gpu-0", "GPU-0"),
        mig("gpu-1-mig-0", "1g.10gb", "GPU-1"),
        mig("gpu-1-mig-1", "1g.10gb", "GPU-1"),
        mig("gpu-1-mig-2", "1g.10gb+me", "GPU-1"),
        mig("gpu-2-mig-0", "3g.40gb", "GPU-2"),
        // Cut from a device that is listed as a whole.
        mig("gpu-0-mig-0", "1g.10gb", "GPU-0"),
    ]));
    let expected = |held: u32| {
        [
            "1 whole 1/1 of 3 nvidia-h100-sxm5-80gb, 0 held, as gpu.nvidia.com".to_owned(),
            format!("2 1g.10gb 1/7 of 3 nvidia-h100-sxm5-80gb, {held} held, as mig.nvidia.com"),
            "1 1g.10gb.me 1/7 of 3 nvidia-h100-sxm5-80gb, 0 held, as mig.nvidia.com".to_owned(),
            "1 3g.40gb 3/7 of 3 nvidia-h100-sxm5-80gb, 0 held, as mig.nvidia.com".to_owned(),
        ]
    };
    let bare = || node(json!({}), json!({}));
    assert_eq!(
        seen(&take(bare(), std::slice::from_ref(&slice))),
        expected(0)
    );

    let claim: SlimResourceClaim = serde_json::from_value(
        json!({"metadata": {"name": "x"}, "status": {"allocation": {"devices": {"results": [
            {"driver": "gpu.nvidia.com", "pool": "n", "device": "gpu-1-mig-1"}]}}}}),
    )
    .unwrap();
    let mut held = HeldOnNode::default();
    held.add_claims([&claim]);
    assert_eq!(seen(&take_with(bare(), &[slice], &held)), expected(1));
}

#[test]
fn instances_that_could_be_made_are_not_counted() {
    let instance = |name: &str| {
        let mut device = mig(name, "1g.10gb", "GPU-0");
        device["consumesCounters"] = json!([{"counterSet": "gpu-0-counters"}]);
        device
    };
    let slice = published(json!([instance("a"), instance("b")]));
    let inventory = take(node(json!({}), json!({})), &[slice]);
    assert!(seen(&inventory).is_empty());
    let unsupported = &inventory.unsupported[0];
    assert_eq!(
        (&unsupported.reason, unsupported.count),
        (&UnsupportedReason::Partitioned, 2)
    );
}
