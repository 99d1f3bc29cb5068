//! What the inventory makes of nodes and ResourceSlices as real clusters show them. Each fixture names its source.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ampacity_catalog::{Catalog, Prices};
use ampacity_controller::inventory::{
    DraFacts, FeedRules, HeldOnNode, MemberContext, NodeInventory, SlimNode, SlimResourceSlice,
    node_spec,
};
use ampacity_placement::DevicePart;
use serde::de::DeserializeOwned;

/// Provider by the prefix of a fixture's name.
fn provider(file: &str) -> &'static str {
    match file.split('-').next().unwrap_or_default() {
        "eks" => "aws",
        "gke" | "gce" => "gcp",
        "aks" => "azure",
        "oke" => "oci",
        _ => "onprem",
    }
}

fn fixtures(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

fn documents<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.starts_with("# source"), "{path:?} names its source");
    // An unquoted hash such as 320e1851414 is text, as the command reads it.
    let options = serde_saphyr::options! {
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::AsString,
    };
    serde_saphyr::from_multiple_with_options(&text, options).unwrap()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

fn take(file: &str, node: &SlimNode, slices: &[&SlimResourceSlice]) -> NodeInventory {
    let catalog = Catalog::builtin();
    let prices = Prices::default();
    let feeds = FeedRules::default();
    let ctx = MemberContext {
        cluster: "c",
        provider: provider(file),
        region: "",
        topology_levels: &[],
        feeds: &feeds,
        catalog: &catalog,
        prices: &prices,
        dra: &DraFacts::default(),
    };
    node_spec(&ctx, node, slices, &HeldOnNode::default())
}

fn summary(inventory: &NodeInventory) -> String {
    let spec = &inventory.spec;
    let mut out = String::new();
    let capacity_type = spec.capacity_type.map_or("?", |c| c.as_str());
    writeln!(
        out,
        "node {:?} instance {:?} zone {:?} region {:?} {capacity_type}",
        spec.name, spec.instance_type, spec.zone, spec.region
    )
    .unwrap();
    writeln!(
        out,
        "  cpu {}m memory {}Mi pods {}",
        spec.cpu_milli.total, spec.memory_mib.total, spec.pod_slots.total
    )
    .unwrap();
    for group in &spec.devices {
        let part = match &group.part {
            DevicePart::Whole => String::new(),
            part => {
                let (parts, of) = (group.share.parts(), group.share.of());
                format!(" in {part} ({parts}/{of}) of {}", group.node_devices)
            }
        };
        writeln!(
            out,
            "  {} × {}{part} as {}, tolerates {}",
            group.devices,
            group.accelerator_type,
            group.resource,
            group.taint_keys.join(" ")
        )
        .unwrap();
    }
    for (level, domain) in &spec.domains {
        writeln!(out, "  {} {domain}", level.as_str()).unwrap();
    }
    for taint in &spec.taints {
        writeln!(
            out,
            "  taint {}={} {:?}",
            taint.key, taint.value, taint.effect
        )
        .unwrap();
    }
    if let Some(fault) = &spec.fault {
        writeln!(out, "  fault {fault:?}").unwrap();
    }
    for u in &inventory.unsupported {
        let of = u.accelerator_type.as_deref().unwrap_or("?");
        writeln!(
            out,
            "  unsupported {} × {} {:?} of {of}",
            u.count, u.resource, u.reason
        )
        .unwrap();
    }
    for note in &inventory.notes {
        writeln!(out, "  note {:?}: {}", note.reason, note.message).unwrap();
    }
    out
}

#[test]
fn nodes() {
    let files = fixtures("nodes");
    assert_eq!(files.len(), 28);
    for path in files {
        let name = stem(&path);
        let mut text = String::new();
        for node in documents::<SlimNode>(&path) {
            text.push_str(&summary(&take(&name, &node, &[])));
        }
        insta::assert_snapshot!(format!("node-{name}"), text);
    }
}

#[test]
fn resource_slices() {
    let files = fixtures("resourceslices");
    assert_eq!(files.len(), 13);
    for path in files {
        let name = stem(&path);
        let mut slices: Vec<SlimResourceSlice> = documents(&path);
        for slice in &mut slices {
            // A trimmed source leaves the node out; here it is given one.
            slice
                .spec
                .node_name
                .get_or_insert_with(|| "given-node".into());
        }
        let mut nodes: Vec<String> = slices
            .iter()
            .filter_map(|s| s.spec.node_name.clone())
            .collect();
        nodes.sort();
        nodes.dedup();
        let all: Vec<&SlimResourceSlice> = slices.iter().collect();
        let mut text = String::new();
        for name_of_node in nodes {
            let mut node = SlimNode::default();
            node.metadata.name = Some(name_of_node);
            text.push_str(&summary(&take(&name, &node, &all)));
        }
        insta::assert_snapshot!(format!("slices-{name}"), text);
    }
}

#[test]
fn labels_without_status_and_slices_together_give_the_devices_once() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let nodes: Vec<SlimNode> = documents(&folder.join("nodes/eks-p5-h100-x2-partial.yaml"));
    let slices: Vec<SlimResourceSlice> =
        documents(&folder.join("resourceslices/eks-p5-h100-x2.yaml"));
    let all: Vec<&SlimResourceSlice> = slices.iter().collect();
    for node in &nodes {
        let spec = take("eks", node, &all).spec;
        let seen: Vec<(&str, u32)> = spec
            .devices
            .iter()
            .map(|g| (g.accelerator_type.as_str(), g.devices))
            .collect();
        assert_eq!(seen, [("nvidia-h100-sxm5-80gb", 8)]);
    }
}
