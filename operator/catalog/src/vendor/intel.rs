//! Intel: Gaudi and GPUs.
//!
//! Sources: the device plugins of Habana and Intel (docs and NFD labels), HabanaAI's node labels, intel/intel-resource-drivers-for-kubernetes.

use ampacity_placement::Labels;

use super::aws;
use super::facts::{FamilyFacts, Sign};
use crate::evidence::{Clues, DeviceQuery, Evidence, Found, pci_id};
use crate::part::{Cut, MAX_DEVICES_PER_NODE, NodeView, NotAskable, Offer, by_unit};
use crate::published::{Dra, PublishedDevice, PublishedKind};
use crate::resource::Unit;

const GAUDI_DEVICE: &str = "habana.ai/gaudi";
const GAUDI2: &str = "habana.ai/gaudi2";
const GAUDI3: &str = "habana.ai/gaudi3";
const I915: &str = "gpu.intel.com/i915";
const XE: &str = "gpu.intel.com/xe";
/// NFD's labels `gpu.intel.com/device-id.<class>-<id>.present` and `….count`.
const DEVICE_ID: &str = "gpu.intel.com/device-id";

pub(super) const GAUDI: FamilyFacts = FamilyFacts {
    name: "intel-gaudi",
    vendor: "intel",
    has_type: |name| name.contains("gaudi"),
    resources: &[
        (GAUDI_DEVICE, Unit::Device),
        (GAUDI2, Unit::Device),
        (GAUDI3, Unit::Device),
        ("habana.ai/goya", Unit::Device),
    ],
    device_resources: &[GAUDI_DEVICE],
    most_devices: |_| Some(8),
    dra: Dra {
        drivers: &["gaudi.intel.com"],
        pods: &["*intel-gaudi-resource-driver-kubelet-plugin-*"],
        model,
        // `0000-a0-00-0-0x1020`
        pci_id: |device| device.name().rsplit_once("-0x").map(|(_, id)| id),
        ..Dra::NONE
    },
    taint_keys: &[GAUDI_DEVICE],
    signs: &[Sign::Label("feature.node.kubernetes.io/pci-1da3.present")],
    name_kinds: &["gaudi", aws::NAMES],
    identify: identify_gaudi,
    ..FamilyFacts::NONE
};

pub(super) const GPUS: FamilyFacts = FamilyFacts {
    name: "intel-gpu",
    vendor: "intel",
    resources: &[
        (I915, Unit::Device),
        (XE, Unit::Device),
        ("gpu.intel.com/*_monitoring", Unit::Monitor),
        ("gpu.intel.com/millicores", Unit::Measure),
        ("gpu.intel.com/memory.max", Unit::Measure),
        ("gpu.intel.com/tiles", Unit::Measure),
        ("gpu.intel.com/*", Unit::Unlisted),
    ],
    device_resources: &[I915, XE],
    // The plugin offers each card `-shared-dev-num` times.
    shareable_resources: &[I915, XE],
    most_devices: |_| Some(32),
    dra: Dra {
        drivers: &["gpu.intel.com"],
        pods: &["*intel-gpu-resource-driver-kubelet-plugin-*"],
        model,
        pci_id: |device| device.text("pciId"),
        kind: published_gpu,
        ..Dra::NONE
    },
    taint_keys: &[I915, XE],
    signs: &[Sign::LabelPrefix("gpu.intel.com/device-id.")],
    name_kinds: &["intel-pci"],
    identify: identify_gpu,
    cut: cut_gpu,
    ..FamilyFacts::NONE
};

fn model(device: &dyn PublishedDevice) -> Option<&str> {
    device.text("model").filter(|model| *model != "Unknown")
}

fn identify_gaudi(query: &DeviceQuery<'_>, clues: &mut Clues) -> Found {
    let name = |key: &str, text: &str, clues: &mut Clues| {
        let value = text.to_ascii_uppercase().replace([' ', '_'], "-");
        let value = value
            .trim_start_matches("INTEL-")
            .trim_start_matches("HABANA-");
        clues.look_up("gaudi", key, text, value, None)
    };
    if let Some(found) = query.model.and_then(|text| name("model", text, clues)) {
        return Some(found);
    }
    if let Some(found) = query
        .pci_id
        .and_then(|id| name("PCI device id", &pci_id(id), clues))
    {
        return Some(found);
    }
    for key in [
        "habana.ai/device_type",
        "habana.ai/hpu.product",
        "habana.ai/product",
    ] {
        if let Some(found) = query
            .labels
            .get(key)
            .and_then(|text| name(key, text, clues))
        {
            return Some(found);
        }
    }
    match query.resource {
        GAUDI2 => return name("resource", "gaudi2", clues),
        GAUDI3 => return name("resource", "gaudi3", clues),
        _ => {}
    }
    aws::by_instance_labels(query, clues)
}

fn identify_gpu(query: &DeviceQuery<'_>, clues: &mut Clues) -> Found {
    if let Some(id) = query.pci_id {
        return clues.look_up("intel-pci", "pciId", id, &pci_id(id), None);
    }
    let ids: Vec<&str> = device_ids(query.labels).collect();
    let [id] = ids.as_slice() else {
        let seen = ids.iter().map(|id| Evidence::new(DEVICE_ID, id));
        clues.seen.extend(seen);
        return None;
    };
    clues.look_up("intel-pci", DEVICE_ID, id, &pci_id(id), None)
}

/// PCI ids of `gpu.intel.com/device-id.<class>-<id>.present`.
fn device_ids(labels: &Labels) -> impl Iterator<Item = &str> {
    labels.keys().filter_map(|key| {
        let rest = key.strip_prefix(DEVICE_ID)?.strip_prefix('.')?;
        let (_, id) = rest.strip_suffix(".present")?.split_once('-')?;
        Some(id)
    })
}

fn published_gpu(device: &dyn PublishedDevice) -> PublishedKind {
    match device.text("type") {
        Some("vf") => PublishedKind::Split(NotAskable::Partitioned),
        _ if device.memory_mib() == Some(0) => PublishedKind::Split(NotAskable::Integrated),
        _ => PublishedKind::Whole,
    }
}

/// More units than the labels count cards are shares.
fn cut_gpu(
    node: &NodeView<'_>,
    offer: &Offer<'_>,
    offers: &[Offer<'_>],
) -> Result<Cut, NotAskable> {
    let cards: u64 = node
        .labels
        .iter()
        .filter(|(key, _)| key.starts_with("gpu.intel.com/device-id.") && key.ends_with(".count"))
        .filter_map(|(_, value)| value.parse::<u64>().ok())
        .fold(0, u64::saturating_add);
    let units = offer.count.capacity;
    let is_device = matches!(offer.unit, Unit::Device | Unit::DeviceAlias);
    if is_device && ((cards > 0 && units > cards) || units > MAX_DEVICES_PER_NODE) {
        return Err(NotAskable::TimeSliced);
    }
    by_unit(node, offer, offers)
}
