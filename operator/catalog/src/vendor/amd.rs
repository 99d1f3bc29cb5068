//! AMD Instinct and Radeon GPUs.
//!
//! Sources: ROCm/k8s-device-plugin (README, cmd/k8s-node-labeller), ROCm/gpu-operator docs/device_plugin, the DRA driver of AMD,
//! node-problem-detector rules of the GPU Operator, HAMi's charts.

use super::facts::{FamilyFacts, Health, Sign};
use crate::evidence::{Clues, DeviceQuery, Found, pci_id};
use crate::part::{Cut, NodeView, NotAskable, Offer, by_unit};
use crate::published::{Dra, PublishedDevice, PublishedKind};
use crate::resource::Unit;

const GPU: &str = "amd.com/gpu";
/// Prefixes of the node labeller's keys, the older one last.
const LABEL_PREFIXES: [&str; 2] = ["amd.com", "beta.amd.com"];
/// Labels with the way in which all devices of the node are partitioned, such as `cpx_nps4`.
const PARTITION: [&str; 3] = [
    "amd.com/gpu.compute-memory-partition",
    "amd.com/gpu.compute-partition",
    "amd.com/compute-partition",
];

pub(super) const GPUS: FamilyFacts = FamilyFacts {
    name: "amd",
    vendor: "amd",
    resources: &[
        (GPU, Unit::Device),
        // The naming strategy `mixed` names devices by their partitioning; one partition is the whole device.
        ("amd.com/spx_*", Unit::DeviceAlias),
        ("amd.com/cpx_*", Unit::Partition),
        ("amd.com/dpx_*", Unit::Partition),
        ("amd.com/qpx_*", Unit::Partition),
        ("amd.com/tpx_*", Unit::Partition),
        // HAMi.
        ("amd.com/gpumem", Unit::Measure),
        ("amd.com/gpucores", Unit::Measure),
    ],
    device_resources: &[GPU],
    dra: Dra {
        drivers: &["gpu.amd.com"],
        model: |device| device.text("productName"),
        kind: published_kind,
        ..Dra::NONE
    },
    taint_keys: &[GPU],
    signs: &[
        Sign::LabelPrefix("amd.com/gpu."),
        Sign::LabelPrefix("beta.amd.com/gpu."),
    ],
    name_kinds: &["amd-product", "amd-pci"],
    identify,
    cut,
    health: Health {
        faults: &["AMDGPUUnhealthy", "AMDGPUXgmiError", "AMDGPUEccError"],
        end_work: &["AMDGPUUnhealthy", "AMDGPUXgmiError", "AMDGPUEccError"],
        bad_labels: &[],
    },
    ..FamilyFacts::NONE
};

fn identify(query: &DeviceQuery<'_>, clues: &mut Clues) -> Found {
    let product = |key: &str, text: &str, clues: &mut Clues| {
        let upper = text.to_ascii_uppercase().replace(['-', ' '], "_");
        let name = upper.trim_start_matches("AMD_");
        let name = name.trim_start_matches("INSTINCT_");
        clues.look_up("amd-product", key, text, name, None)
    };
    if let Some(found) = query
        .model
        .and_then(|text| product("productName", text, clues))
    {
        return Some(found);
    }
    for prefix in LABEL_PREFIXES {
        let key = format!("{prefix}/gpu.product-name");
        if let Some(found) = query
            .labels
            .get(&key)
            .and_then(|text| product(&key, text, clues))
        {
            return Some(found);
        }
    }
    for prefix in LABEL_PREFIXES {
        let key = format!("{prefix}/gpu.device-id");
        if let Some(id) = query.labels.get(&key)
            && let Some(found) = clues.look_up("amd-pci", &key, id, &pci_id(id), None)
        {
            return Some(found);
        }
        // The old labeller writes the value into the key: beta.amd.com/gpu.device-id.74a1=8.
        let old = format!("{key}.");
        let ids: Vec<&str> = query
            .labels
            .keys()
            .filter_map(|key| key.strip_prefix(&old))
            .collect();
        if let [id] = ids.as_slice()
            && let Some(found) = clues.look_up("amd-pci", &key, id, &pci_id(id), None)
        {
            return Some(found);
        }
    }
    None
}

fn published_kind(device: &dyn PublishedDevice) -> PublishedKind {
    let is_whole = device
        .text("partitionProfile")
        .is_none_or(|profile| profile.to_ascii_lowercase().starts_with("spx"));
    match device.text("type").unwrap_or_default() {
        "amdgpu" | "" if is_whole => PublishedKind::Whole,
        "amdgpu" | "" | "amdgpu-partition" => PublishedKind::Split(NotAskable::Partitioned),
        _ => PublishedKind::Other,
    }
}

/// Under the naming strategy `single` partitions have the name of devices.
fn cut(node: &NodeView<'_>, offer: &Offer<'_>, offers: &[Offer<'_>]) -> Result<Cut, NotAskable> {
    let partitioned = PARTITION.iter().any(|key| {
        node.labels
            .get(*key)
            .is_some_and(|mode| !mode.is_empty() && !mode.to_ascii_lowercase().starts_with("spx"))
    });
    let physical = node.shape.map(|shape| u64::from(shape.devices));
    let more_than_there_are = physical.is_some_and(|n| n > 0 && offer.count.capacity > n);
    let is_device = matches!(offer.unit, Unit::Device | Unit::DeviceAlias);
    if is_device && (partitioned || more_than_there_are) {
        return Err(NotAskable::Partitioned);
    }
    by_unit(node, offer, offers)
}
