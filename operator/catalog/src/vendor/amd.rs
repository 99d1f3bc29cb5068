//! AMD Instinct and Radeon GPUs.
//!
//! Sources: ROCm/k8s-device-plugin (README, cmd/k8s-node-labeller), ROCm/gpu-operator docs/device_plugin, the DRA driver of AMD,
//! node-problem-detector rules of the GPU Operator, HAMi's charts.

use ampacity_placement::Labels;

use super::facts::{FamilyFacts, Health, Sign};
use crate::evidence::{Clues, DeviceQuery, Found, pci_id};
use crate::part::{Cut, NodeView, NotAskable, Offer, by_unit};
use crate::published::{Dra, PublishedDevice, PublishedKind};
use crate::resource::Unit;

const GPU: &str = "amd.com/gpu";
/// SIMD units of a compute unit.
const SIMDS_PER_UNIT: u64 = 4;
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
    most_devices,
    dra: Dra {
        drivers: &["gpu.amd.com"],
        pods: &["*k8s-gpu-dra-driver-kubeletplugin-*"],
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

/// A baseboard of OAM modules has 8. Cards: no server chassis, expansion included, has more than 32.
fn most_devices(accelerator_type: &str) -> Option<u64> {
    let is_module = |name: &&str| accelerator_type.ends_with(*name);
    let modules = ["mi300x", "mi325x", "mi350x", "mi355x"];
    Some(if modules.iter().any(is_module) { 8 } else { 32 })
}

/// Compute units and memory in GiB of a whole device, by PCI id. AMD's data sheets.
const WHOLE: [(&[&str], u64, u64); 6] = [
    (&["738c", "738e"], 120, 32),
    (&["740f"], 104, 64),
    (&["74a0"], 228, 128),
    (&["74a1", "74a9", "74b5", "74bd"], 304, 192),
    (&["74a5", "74b9"], 304, 256),
    (&["75a0", "75a3", "75b0", "75b3"], 256, 288),
];

/// Whether the labels count fewer compute units, or less memory, than a whole device of that id has: half of them or less.
fn is_smaller_than_whole(labels: &Labels) -> bool {
    let Some(id) = label(labels, "device-id").map(|id| pci_id(&id)) else {
        return false;
    };
    let whole = WHOLE.iter().find(|(ids, ..)| ids.contains(&id.as_str()));
    let Some((_, compute_units, memory_gib)) = whole else {
        return false;
    };
    let number = |name: &str| label(labels, name)?.parse::<u64>().ok();
    let units = number("cu-count").or_else(|| Some(number("simd-count")? / SIMDS_PER_UNIT));
    // `24G`, `191G`: rounded down.
    let memory = label(labels, "vram").and_then(|text| text.strip_suffix('G')?.parse::<u64>().ok());
    units.is_some_and(|n| n > 0 && n * 2 <= *compute_units)
        || memory.is_some_and(|n| n > 0 && n * 2 <= *memory_gib)
}

/// A label of the node labeller: `amd.com/gpu.cu-count=38`, or as it used to be, `beta.amd.com/gpu.cu-count.38=8`.
fn label(labels: &Labels, name: &str) -> Option<String> {
    LABEL_PREFIXES.iter().find_map(|prefix| {
        let key = format!("{prefix}/gpu.{name}");
        if let Some(value) = labels.get(&key) {
            return Some(value.clone());
        }
        let old = format!("{key}.");
        let mut values = labels.keys().filter_map(|key| key.strip_prefix(&old));
        let only = values.next()?;
        values.next().is_none().then(|| only.to_owned())
    })
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
    if is_device && (partitioned || more_than_there_are || is_smaller_than_whole(node.labels)) {
        return Err(NotAskable::Partitioned);
    }
    by_unit(node, offer, offers)
}
