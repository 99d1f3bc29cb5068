//! Nodes, slices and pods of kinds that the recorded fixtures do not show, as small tables.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::collections::BTreeMap;

use ampacity_api::accelerator_type::{AcceleratorMatch, AcceleratorPower};
use ampacity_api::{AcceleratorType, AcceleratorTypeSpec};
use ampacity_catalog::{Catalog, Prices};
use ampacity_controller::inventory::{
    DraFacts, FeedRules, HeldOnNode, MemberContext, NodeInventory, NoteReason, SlimNode, SlimPod,
    SlimResourceClaim, SlimResourceSlice, UnsupportedReason, node_spec, pod_usage,
};
use ampacity_placement::{CapacityType, Level};
use serde_json::{Value, json};

fn take_with(catalog: &Catalog, node: Value, slices: &[Value], held: &HeldOnNode) -> NodeInventory {
    let node: SlimNode = serde_json::from_value(node).unwrap();
    let slices: Vec<SlimResourceSlice> = slices
        .iter()
        .map(|s| serde_json::from_value(s.clone()).unwrap())
        .collect();
    let slices: Vec<&SlimResourceSlice> = slices.iter().collect();
    let ctx = MemberContext {
        cluster: "c",
        provider: "aws",
        region: "",
        topology_levels: &[],
        feeds: &FeedRules::default(),
        catalog,
        prices: &Prices::default(),
        dra: &DraFacts::default(),
    };
    node_spec(&ctx, &node, &slices, held)
}

fn take(node: Value, slices: &[Value]) -> NodeInventory {
    take_with(&Catalog::builtin(), node, slices, &HeldOnNode::default())
}

fn node(labels: Value, resources: Value) -> Value {
    json!({"metadata": {"name": "n", "labels": labels}, "status": {"capacity": resources, "allocatable": resources}})
}

fn seen(inventory: &NodeInventory) -> Vec<(&str, u32, u32)> {
    inventory
        .spec
        .devices
        .iter()
        .map(|g| (g.accelerator_type.as_str(), g.devices, g.held))
        .collect()
}

fn reasons(inventory: &NodeInventory) -> Vec<NoteReason> {
    let mut reasons: Vec<NoteReason> = inventory.notes.iter().map(|n| n.reason).collect();
    reasons.retain(|r| *r != NoteReason::MissingResource);
    reasons
}

#[test]
fn whole_devices_of_every_cloud() {
    let it = "node.kubernetes.io/instance-type";
    let cases = [
        // One chip under two names, counted once.
        (
            json!({it: "trn1.32xlarge"}),
            json!({"aws.amazon.com/neuron": "16", "aws.amazon.com/neuroncore": "32"}),
            "aws-trainium1",
            16,
        ),
        (
            json!({it: "trn2.48xlarge"}),
            json!({"aws.amazon.com/neuron": "16", "aws.amazon.com/neuroncore": "128", "aws.amazon.com/neurondevice": "16"}),
            "aws-trainium2",
            16,
        ),
        (
            json!({it: "inf2.48xlarge"}),
            json!({"aws.amazon.com/neurondevice": "12", "aws.amazon.com/neuroncore": "24"}),
            "aws-inferentia2",
            12,
        ),
        (
            json!({"karpenter.k8s.aws/instance-accelerator-name": "trainium2"}),
            json!({"aws.amazon.com/neuron": "16"}),
            "aws-trainium2",
            16,
        ),
        (
            json!({it: "Standard_ND96isr_MI300X_v5"}),
            json!({"amd.com/gpu": "8"}),
            "amd-mi300x",
            8,
        ),
        (
            json!({"amd.com/gpu.product-name": "AMD_Instinct_MI325X_OAM", "amd.com/gpu.compute-memory-partition": "spx_nps1"}),
            json!({"amd.com/gpu": "8"}),
            "amd-mi325x",
            8,
        ),
        (
            json!({"amd.com/gpu.device-id": "74a1"}),
            json!({"amd.com/spx_nps1": "8"}),
            "amd-mi300x",
            8,
        ),
        (
            json!({it: "Standard_ND96isr_H100_v5", "kubernetes.azure.com/accelerator": "nvidia"}),
            json!({"nvidia.com/gpu": "8"}),
            "nvidia-h100-sxm5-80gb",
            8,
        ),
        (
            json!({"gpu.nvidia.com/class": "GB200", "gpu.nvidia.com/model": "GB200", "gpu.nvidia.com/vram": "186", "node.coreweave.cloud/type": "gb200-4x-l"}),
            json!({"nvidia.com/gpu": "4"}),
            "nvidia-gb200",
            4,
        ),
        (
            json!({"nvidia.com/gpu.product": "NVIDIA-GB200", "nvidia.com/gpu.memory": "189471"}),
            json!({"nvidia.com/gpu": "4"}),
            "nvidia-gb200",
            4,
        ),
        (
            json!({it: "BM.GPU.H100.8"}),
            json!({"nvidia.com/gpu": "8"}),
            "nvidia-h100-sxm5-80gb",
            8,
        ),
        (
            json!({it: "gx3d-160x1792x8gaudi3"}),
            json!({"habana.ai/gaudi": "8"}),
            "intel-gaudi3-hl-325l",
            8,
        ),
        (
            json!({"cloud.google.com/gke-tpu-accelerator": "tpu-v5p-slice", "cloud.google.com/gke-tpu-topology": "4x4x4", "cloud.google.com/gke-accelerator-count": "4"}),
            json!({"google.com/tpu": "4"}),
            "google-tpu-v5p",
            4,
        ),
        (
            json!({"cloud.google.com/gke-tpu-accelerator": "tpu7x"}),
            json!({"google.com/tpu": "4"}),
            "google-tpu7x",
            4,
        ),
        (
            json!({"beta.kubernetes.io/instance-type": "p3.16xlarge"}),
            json!({"nvidia.com/gpu": "8"}),
            "nvidia-v100-sxm2-16gb",
            8,
        ),
        (
            json!({"nvidia.com/gpu.product": "NVIDIA-A40", "nvidia.com/gpu.memory": "46068"}),
            json!({"nvidia.com/gpu": "2"}),
            "nvidia-a40",
            2,
        ),
        (
            json!({"nvidia.com/gpu.product": "NVIDIA-GeForce-RTX-4090"}),
            json!({"nvidia.com/gpu": "8"}),
            "nvidia-rtx-4090",
            8,
        ),
    ];
    for (labels, resources, expected, devices) in cases {
        let inventory = take(node(labels.clone(), resources), &[]);
        assert_eq!(
            seen(&inventory),
            [(expected, devices, 0)],
            "{labels} {:?}",
            inventory.notes
        );
    }
}

#[test]
fn shares_are_no_devices() {
    use UnsupportedReason::{
        Cores, Partitioned, PassedThrough, Surplus, TimeSliced, UnknownModel, VirtualGpu,
    };
    let it = "node.kubernetes.io/instance-type";
    let t4 = "nvidia.com/gpu.product";
    let cases = [
        // More slices than two devices of four have.
        (
            json!({t4: "Tesla-T4", "nvidia.com/gpu.replicas": "4", "nvidia.com/gpu.count": "2"}),
            json!({"nvidia.com/gpu": "16"}),
            TimeSliced,
            16,
        ),
        // Smaller than a thousandth.
        (
            json!({t4: "Tesla-T4-SHARED", "nvidia.com/gpu.replicas": "2000"}),
            json!({"nvidia.com/gpu": "2000"}),
            TimeSliced,
            2000,
        ),
        (
            json!({t4: "Tesla-T4", "nvidia.com/gpu.sharing-strategy": "mps"}),
            json!({"nvidia.com/gpu": "10"}),
            TimeSliced,
            10,
        ),
        // A share of a share.
        (
            json!({t4: "A100-PCIE-40GB-MIG-1g.5gb-SHARED", "nvidia.com/gpu.count": "7", "nvidia.com/gpu.replicas": "2"}),
            json!({"nvidia.com/gpu": "14"}),
            TimeSliced,
            14,
        ),
        (
            json!({t4: "NVIDIA-A100-PCIE-40GB", "nvidia.com/mig-1g.5gb.replicas": "2"}),
            json!({"nvidia.com/mig-1g.5gb": "14"}),
            TimeSliced,
            14,
        ),
        (
            json!({t4: "NVIDIA-A100-PCIE-40GB"}),
            json!({"nvidia.com/mig-1g.5gb.shared": "14"}),
            TimeSliced,
            14,
        ),
        // Instances of a profile that nothing names.
        (
            json!({t4: "NVIDIA-A100-PCIE-40GB", "nvidia.com/gpu.slices.gi": "1"}),
            json!({"nvidia.com/gpu": "7"}),
            Partitioned,
            7,
        ),
        (
            json!({t4: "NVIDIA-A10-24Q", it: "Standard_NV36ads_A10_v5"}),
            json!({"nvidia.com/gpu": "1"}),
            VirtualGpu,
            1,
        ),
        (
            json!({it: "Standard_NV6ads_A10_v5"}),
            json!({"nvidia.com/gpu": "1"}),
            VirtualGpu,
            1,
        ),
        // More than there are, and nothing tells why.
        (
            json!({t4: "NVIDIA-A100-SXM4-80GB", "nvidia.com/gpu.count": "8"}),
            json!({"nvidia.com/gpu": "80"}),
            Surplus,
            80,
        ),
        (
            json!({it: "p5.48xlarge"}),
            json!({"nvidia.com/gpu": "80"}),
            Surplus,
            80,
        ),
        // No board of SXM modules has more than eight.
        (
            json!({t4: "NVIDIA-H100-80GB-HBM3"}),
            json!({"nvidia.com/gpu": "56"}),
            Surplus,
            56,
        ),
        (
            json!({t4: "NVIDIA-L4"}),
            json!({"nvidia.com/gpu": "40"}),
            Surplus,
            40,
        ),
        (
            json!({"amd.com/gpu.device-id": "74a5"}),
            json!({"amd.com/gpu": "63"}),
            Surplus,
            63,
        ),
        (
            json!({"amd.com/gpu.device-id": "74a1", "amd.com/gpu.cu-count": "38"}),
            json!({"amd.com/gpu": "64"}),
            Partitioned,
            64,
        ),
        (
            json!({"beta.amd.com/gpu.device-id.74a1": "4", "beta.amd.com/gpu.simd-count.608": "4"}),
            json!({"amd.com/gpu": "4"}),
            Partitioned,
            4,
        ),
        (
            json!({"habana.ai/device_type": "GAUDI2"}),
            json!({"habana.ai/gaudi": "16"}),
            Surplus,
            16,
        ),
        (json!({}), json!({"nvidia.com/pgpu": "8"}), PassedThrough, 8),
        (
            json!({"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM", "amd.com/gpu.compute-memory-partition": "cpx_nps4"}),
            json!({"amd.com/gpu": "64"}),
            Partitioned,
            64,
        ),
        (
            json!({"amd.com/gpu.device-id": "74a1"}),
            json!({"amd.com/cpx_nps1": "64"}),
            Partitioned,
            64,
        ),
        (
            json!({"gpu.intel.com/device-id.0300-56a0.count": "1", "gpu.intel.com/device-id.0300-56a0.present": "true"}),
            json!({"gpu.intel.com/i915": "10"}),
            TimeSliced,
            10,
        ),
        (
            json!({it: "inf2.xlarge"}),
            json!({"aws.amazon.com/neuroncore": "2"}),
            Cores,
            2,
        ),
        (
            json!({}),
            json!({"qualcomm.com/qaic": "32"}),
            UnknownModel,
            32,
        ),
        (json!({}), json!({"nvidia.com/gpu": "8"}), UnknownModel, 8),
        (
            json!({t4: "NVIDIA-FUTURE-9000"}),
            json!({"nvidia.com/gpu": "8"}),
            UnknownModel,
            8,
        ),
    ];
    for (labels, resources, reason, count) in cases {
        let inventory = take(node(labels.clone(), resources), &[]);
        assert_eq!(seen(&inventory), [], "{labels}");
        let unsupported: Vec<_> = inventory
            .unsupported
            .iter()
            .map(|u| (u.reason.clone(), u.count))
            .collect();
        assert_eq!(unsupported, [(reason, count)], "{labels}");
        assert!(!inventory.notes.is_empty(), "{labels}");
    }
}

#[test]
fn unhealthy_and_nonsense_amounts_are_told_and_the_rest_goes_on() {
    let labels = json!({"nvidia.com/gpu.product": "NVIDIA-L4", "amd.com/gpu.device-id": "74a1"});
    let with = |gpu: Value| {
        let status = json!({"cpu": "8", "memory": "64Gi", "pods": "110", "nvidia.com/gpu": gpu, "amd.com/gpu": 2});
        take(node(labels.clone(), status), &[])
    };
    for bad in [json!("-1"), json!("eight"), json!("1e30"), json!([1])] {
        let inventory = with(bad.clone());
        assert_eq!(seen(&inventory), [("amd-mi300x", 2, 0)], "{bad}");
        let note = inventory
            .notes
            .iter()
            .find(|n| n.reason == NoteReason::BadNumber)
            .unwrap();
        assert!(
            note.to_string()
                .contains("node c/n: status.allocatable[nvidia.com/gpu]"),
            "{note}"
        );
    }
    let sick = json!({"metadata": {"name": "n", "labels": labels},
        "status": {"capacity": {"nvidia.com/gpu": "8"}, "allocatable": {"nvidia.com/gpu": "7", "cpu": "-4"}}});
    let inventory = take(sick, &[]);
    assert_eq!(seen(&inventory), [("nvidia-l4", 7, 0)]);
    assert!(reasons(&inventory).contains(&NoteReason::UnhealthyDevices));
    assert!(reasons(&inventory).contains(&NoteReason::BadNumber));
    assert_eq!(inventory.spec.cpu_milli.total, 0);
}

#[test]
fn a_users_match_names_what_is_unknown() {
    let mut spec = AcceleratorTypeSpec {
        vendor: "huawei".into(),
        memory_gib: 32,
        bf16_tflops: 280,
        power: AcceleratorPower {
            default_watts: 310,
            ..AcceleratorPower::default()
        },
        ..AcceleratorTypeSpec::default()
    };
    spec.match_ = Some(AcceleratorMatch {
        resource_names: vec!["huawei.com/Ascend910".into(), "example.com/npu".into()],
        ..AcceleratorMatch::default()
    });
    let (catalog, _) =
        Catalog::with_overrides([&AcceleratorType::new("huawei-ascend-910b4", spec)]);
    for resource in ["huawei.com/Ascend910", "example.com/npu"] {
        let inventory = take_with(
            &catalog,
            node(
                json!({}),
                json!({resource: "6", "huawei.com/Ascend910B4": "32"}),
            ),
            &[],
            &HeldOnNode::default(),
        );
        assert_eq!(
            seen(&inventory),
            [("huawei-ascend-910b4", 6, 0)],
            "{resource}"
        );
        assert!(
            inventory.spec.devices[0]
                .taint_keys
                .contains(&resource.to_owned())
        );
    }
}

fn pods(of: &[Value]) -> HeldOnNode {
    let usages: Vec<_> = of
        .iter()
        .map(|p| serde_json::from_value::<SlimPod>(p.clone()).unwrap())
        .filter_map(|p| pod_usage(&p))
        .collect();
    HeldOnNode::of_pods(&usages)
}

fn pod(resource: &str, units: u32) -> Value {
    json!({"spec": {"nodeName": "n", "containers": [{"resources": {"limits": {resource: units.to_string(), "cpu": "2", "memory": "1Mi"}}}]}})
}

#[test]
fn pods_of_others_hold_devices_and_ours_do_not() {
    let mut ours = pod("nvidia.com/gpu", 4);
    ours["metadata"] = json!({"labels": {"ampacity.dev/placement": "p"}});
    let held = pods(&[pod("nvidia.com/gpu", 2), pod("nvidia.com/gpu", 1), ours]);
    let l4 = node(
        json!({"nvidia.com/gpu.product": "NVIDIA-L4"}),
        json!({"nvidia.com/gpu": "8"}),
    );
    let inventory = take_with(&Catalog::builtin(), l4, &[], &held);
    assert_eq!(seen(&inventory), [("nvidia-l4", 8, 3)]);
    assert_eq!(inventory.spec.cpu_milli.held, 4000);
    assert_eq!(inventory.spec.pod_slots.held, 2);
}

#[test]
fn cores_of_a_chip_hold_the_chip() {
    let trn2 = || {
        node(
            json!({"node.kubernetes.io/instance-type": "trn2.48xlarge"}),
            // Two physical cores make one logical core: four to a chip.
            json!({"aws.amazon.com/neuron": "16", "aws.amazon.com/neuroncore": "64"}),
        )
    };
    for (resource, units, chips) in [
        ("aws.amazon.com/neuron", 3, 3),
        ("aws.amazon.com/neuroncore", 4, 1),
        ("aws.amazon.com/neuroncore", 5, 2),
    ] {
        let inventory = take_with(
            &Catalog::builtin(),
            trn2(),
            &[],
            &pods(&[pod(resource, units)]),
        );
        assert_eq!(
            seen(&inventory),
            [("aws-trainium2", 16, chips)],
            "{units} × {resource}"
        );
    }
}

fn gpu(name: &str, product: &str, counters: Option<&str>) -> Value {
    let mut device = json!({"name": name, "attributes": {"type": {"string": "gpu"}, "productName": {"string": product}},
        "capacity": {"memory": {"value": "81559Mi"}}});
    if let Some(set) = counters {
        device["consumesCounters"] =
            json!([{"counterSet": set, "counters": {"memory": {"value": "80Gi"}}}]);
    }
    device
}

fn mig(name: &str, counters: &str) -> Value {
    json!({"name": name, "attributes": {"type": {"string": "mig"}, "profile": {"string": "1g.10gb"},
        "productName": {"string": "NVIDIA H100 80GB HBM3"}},
        "consumesCounters": [{"counterSet": counters}]})
}

fn slice(generation: i64, count: i64, devices: Value) -> Value {
    json!({"metadata": {"name": "s"}, "spec": {"driver": "gpu.nvidia.com", "nodeName": "n",
        "pool": {"name": "n", "generation": generation, "resourceSliceCount": count}, "devices": devices}})
}

const H100: &str = "NVIDIA H100 80GB HBM3";

#[test]
fn partitions_that_could_be_cut_are_not_counted_beside_the_whole_device() {
    let counters = json!({"metadata": {"name": "s0"}, "spec": {"driver": "gpu.nvidia.com", "nodeName": "n",
        "pool": {"name": "n", "generation": 1, "resourceSliceCount": 2},
        "sharedCounters": [{"name": "gpu-0-counters", "counters": {"memory": {"value": "80Gi"}}}]}});
    let devices = slice(
        1,
        2,
        json!([
            gpu("gpu-0", H100, Some("gpu-0-counters")),
            gpu("gpu-1", H100, Some("gpu-1-counters")),
            mig("gpu-0-mig-1g10gb-19-0", "gpu-0-counters"),
            mig("gpu-0-mig-1g10gb-19-1", "gpu-0-counters")
        ]),
    );
    let bare = || node(json!({}), json!({}));
    let inventory = take(bare(), &[counters.clone(), devices.clone()]);
    assert_eq!(seen(&inventory), [("nvidia-h100-sxm5-80gb", 2, 0)]);
    assert_eq!(inventory.unsupported, []);

    // A claim of a partition takes its whole device away.
    let claim: SlimResourceClaim = serde_json::from_value(
        json!({"metadata": {"name": "x"}, "status": {"allocation": {"devices": {"results": [
        {"driver": "gpu.nvidia.com", "pool": "n", "device": "gpu-0-mig-1g10gb-19-1"},
        {"driver": "gpu.nvidia.com", "pool": "n", "device": "gpu-1", "adminAccess": true},
        {"driver": "gpu.nvidia.com", "pool": "other", "device": "gpu-1"}]}}}}),
    )
    .unwrap();
    let mut held = HeldOnNode::default();
    held.add_claims([&claim]);
    let inventory = take_with(
        &Catalog::builtin(),
        bare(),
        &[counters, devices.clone()],
        &held,
    );
    assert_eq!(seen(&inventory), [("nvidia-h100-sxm5-80gb", 2, 1)]);

    // Without the counters' slice the pool is not whole.
    let inventory = take(bare(), &[devices]);
    assert_eq!(seen(&inventory), []);
    assert_eq!(reasons(&inventory), [NoteReason::IncompletePool]);
}

#[test]
fn only_the_newest_generation_counts() {
    let old = slice(
        1,
        1,
        json!([gpu("gpu-0", H100, None), gpu("gpu-1", H100, None)]),
    );
    let new = slice(2, 1, json!([gpu("gpu-0", H100, None)]));
    let inventory = take(node(json!({}), json!({})), &[old, new]);
    assert_eq!(seen(&inventory), [("nvidia-h100-sxm5-80gb", 1, 0)]);
}

#[test]
fn a_plugin_and_slices_on_one_node_count_once() {
    let devices = slice(
        1,
        1,
        json!([gpu("gpu-0", H100, None), gpu("gpu-1", H100, None)]),
    );
    let plugin = node(
        json!({"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}),
        json!({"nvidia.com/gpu": "2"}),
    );
    let inventory = take(plugin, std::slice::from_ref(&devices));
    assert_eq!(seen(&inventory), [("nvidia-h100-sxm5-80gb", 2, 0)]);
    assert_eq!(inventory.spec.devices[0].resource, "nvidia.com/gpu");
    assert_eq!(reasons(&inventory), [NoteReason::CountedOnce]);

    // A plugin that offers nothing leaves the devices to DRA.
    let idle = node(
        json!({"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}),
        json!({"nvidia.com/gpu": "0"}),
    );
    let inventory = take(idle, &[devices]);
    assert_eq!(inventory.spec.devices[0].resource, "gpu.nvidia.com");
    assert_eq!(reasons(&inventory), []);
}

#[test]
fn what_a_node_has_beside_devices_is_read() {
    let others = |resources: Value, held: &HeldOnNode| {
        let inventory = take_with(&Catalog::builtin(), node(json!({}), resources), &[], held);
        let reasons = reasons(&inventory);
        let other = inventory.spec.other.into_iter();
        let other = other.map(|(name, amount)| (name, amount.total, amount.held));
        (other.collect::<Vec<_>>(), reasons)
    };
    let has = json!({"cpu": "8", "memory": "1Gi", "pods": "9", "nvidia.com/gpu": "0", "vpc.amazonaws.com/efa": "32",
        "hugepages-2Mi": "4Mi", "hugepages-1Gi": "0", "ephemeral-storage": "1Ki", "kubernetes.io/batch-cpu": "900",
        "attachable-volumes-aws-ebs": "39", "rdma/ib": "many"});
    let mut held = HeldOnNode::default();
    held.extended.insert("vpc.amazonaws.com/efa".into(), 4);
    let (other, reasons) = others(has, &held);
    let expected = [
        ("ephemeral-storage".to_owned(), 1024, 0),
        ("hugepages-2Mi".to_owned(), 4 << 20, 0),
        ("vpc.amazonaws.com/efa".to_owned(), 32, 4),
    ];
    assert_eq!(other, expected);
    assert_eq!(reasons, [NoteReason::BadNumber]);
    // A file that leaves the disk out says nothing of it.
    let (other, _) = others(json!({"cpu": "8"}), &HeldOnNode::default());
    assert_eq!(other, [("ephemeral-storage".to_owned(), u64::MAX, 0)]);
}

#[test]
fn a_device_with_half_the_memory_of_its_type_is_a_part_of_one() {
    let of = |memory: &str| {
        let device = json!({"name": "gpu-0", "attributes": {"type": {"string": "amdgpu"},
            "productName": {"string": "AMD Instinct MI300X"}}, "capacity": {"memory": {"value": memory}}});
        let slice = json!({"metadata": {"name": "s"}, "spec": {"driver": "gpu.amd.com", "nodeName": "n",
            "pool": {"name": "n", "generation": 1, "resourceSliceCount": 1}, "devices": [device]}});
        take(node(json!({}), json!({})), &[slice])
    };
    assert_eq!(seen(&of("191Gi")), [("amd-mi300x", 1, 0)]);
    let part = of("24Gi");
    assert_eq!(seen(&part), []);
    assert_eq!(part.unsupported[0].reason, UnsupportedReason::Partitioned);
}

#[test]
fn tainted_devices_and_other_drivers_attributes() {
    let mut sick = gpu("gpu-1", H100, None);
    sick["taints"] = json!([{"key": "gpu.nvidia.com/xid", "value": "79", "effect": "NoSchedule"}]);
    let mut watched = gpu("gpu-2", H100, None);
    watched["taints"] = json!([{"key": "gpu.nvidia.com/unmonitored", "effect": "None"}]);
    let inventory = take(
        node(json!({}), json!({})),
        &[slice(
            1,
            1,
            json!([gpu("gpu-0", H100, None), sick, watched]),
        )],
    );
    assert_eq!(seen(&inventory), [("nvidia-h100-sxm5-80gb", 2, 0)]);
    assert_eq!(reasons(&inventory), [NoteReason::UnhealthyDevices]);

    let of = |driver: &str, devices: Value| {
        let slice = json!({"metadata": {"name": "s"}, "spec": {"driver": driver, "nodeName": "n", "pool": {"name": "n"}, "devices": devices}});
        let inventory = take(node(json!({}), json!({})), &[slice]);
        inventory
            .spec
            .devices
            .iter()
            .map(|g| (g.accelerator_type.clone(), g.devices))
            .collect::<BTreeMap<_, _>>()
    };
    let one = |name: &str| BTreeMap::from([(name.to_owned(), 1)]);
    assert_eq!(
        of(
            "neuron.aws.com",
            json!([
            {"name": "neuron-0", "attributes": {"instanceType": {"string": "trn2.48xlarge"}, "resourceType": {"string": "neuron_device"}}},
            {"name": "node", "attributes": {"instanceType": {"string": "trn2.48xlarge"}, "resourceType": {"string": "neuron_node"}}}])
        ),
        one("aws-trainium2")
    );
    // Every chip of a TPU host shows the same uuid; names tell them apart.
    assert_eq!(
        of(
            "tpu.google.com",
            json!([
            {"name": "tpu-0", "attributes": {"tpuGen": {"string": "v6e"}, "uuid": {"string": "u"}}},
            {"name": "tpu-1", "attributes": {"tpuGen": {"string": "v6e"}, "uuid": {"string": "u"}}}])
        ),
        BTreeMap::from([("google-tpu-v6e".to_owned(), 2)])
    );
    assert_eq!(
        of(
            "gaudi.intel.com",
            json!([
            {"name": "0000-a0-00-0-0x1060", "attributes": {"healthy": {"bool": true}}},
            {"name": "0000-b0-00-0-0x1060", "attributes": {"healthy": {"bool": false}}}])
        ),
        one("intel-gaudi3-hl-325l")
    );
    assert_eq!(
        of(
            "gpu.amd.com",
            json!([
            {"name": "gpu-0", "attributes": {"type": {"string": "amdgpu"}, "productName": {"string": "AMD_Instinct_MI300X_OAM"}}},
            {"name": "gpu-1", "attributes": {"type": {"string": "amdgpu-partition"}, "productName": {"string": "AMD_Instinct_MI300X_OAM"}}}])
        ),
        one("amd-mi300x")
    );
    // The nesting of v1beta1.
    assert_eq!(
        of(
            "gpu.nvidia.com",
            json!([{"name": "gpu-0", "basic": {"attributes": {"type": {"string": "gpu"}, "productName": {"string": "Tesla T4"}}}}])
        ),
        one("nvidia-t4")
    );
    assert_eq!(
        of("compute-domain.nvidia.com", json!([{"name": "channel-0"}])),
        BTreeMap::new()
    );
}

#[test]
fn a_gb200_rack_of_coreweave_is_one_nvlink_domain() {
    let inventory = take(
        node(
            json!({"gpu.nvidia.com/model": "GB200", "ds.coreweave.com/nvlink.domain": "DH4-001-US", "node.coreweave.cloud/rack": "r1",
                "backend.coreweave.cloud/superpod": "s", "kubernetes.io/arch": "arm64"}),
            json!({"nvidia.com/gpu": "4", "cpu": "144", "memory": "960Gi", "pods": "110"}),
        ),
        &[],
    );
    assert_eq!(inventory.spec.domains[&Level::NvlinkDomain], "DH4-001-US");
    assert_eq!(inventory.spec.domains[&Level::Rack], "r1");
    assert_eq!(reasons(&inventory), []);
}

#[test]
fn windows_offers_nothing() {
    let inventory = take(
        node(
            json!({"kubernetes.io/os": "windows", "node.kubernetes.io/instance-type": "Standard_NC4as_T4_v3"}),
            json!({"nvidia.com/gpu": "1", "cpu": "4", "memory": "28Gi", "pods": "30"}),
        ),
        &[],
    );
    assert_eq!(seen(&inventory), []);
    assert_eq!(inventory.unsupported[0].reason, UnsupportedReason::NotLinux);
    let spec = &inventory.spec;
    assert_eq!((spec.cpu_milli.total, spec.pod_slots.total), (0, 0));
    assert_eq!(reasons(&inventory), [NoteReason::NotLinux]);
}

#[test]
fn slim_objects_drop_what_is_not_needed_and_read_loose_scalars() {
    let node: SlimNode = serde_json::from_value(json!({
        "metadata": {"name": "n", "managedFields": [{"manager": "kubelet"}], "labels": {"nvidia.com/gpu.count": 8, "on": true},
            "annotations": {"big": "x", "hami.io/node-nvidia-register": "long"}},
        "spec": {"taints": null}, "status": {"capacity": {"cpu": 96}, "conditions": null}}))
    .unwrap();
    assert_eq!(node.metadata.managed_fields, None);
    let labels = node.metadata.labels.unwrap();
    assert_eq!(labels["nvidia.com/gpu.count"], "8");
    assert_eq!(labels["on"], "true");
    assert_eq!(
        node.metadata.annotations.unwrap(),
        BTreeMap::from([("hami.io/node-nvidia-register".to_owned(), String::new())])
    );
    assert_eq!(node.status.capacity["cpu"], "96");
}

#[test]
fn capacity_type_comes_from_the_node() {
    let inventory = take(
        node(json!({"cloud.google.com/gke-spot": "true"}), json!({})),
        &[],
    );
    assert_eq!(inventory.spec.capacity_type, Some(CapacityType::Spot));
}
