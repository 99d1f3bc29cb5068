//! Where a node is and what machine it is, from well-known labels.

use ampacity_placement::Labels;

use crate::state::SlimNode;

const INSTANCE_TYPE: [&str; 3] = [
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "node.coreweave.cloud/type",
];
const ZONE: [&str; 2] = [
    "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/zone",
];
const REGION: [&str; 2] = [
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/region",
];
const OS: [&str; 2] = ["kubernetes.io/os", "beta.kubernetes.io/os"];

fn first<'a>(labels: &'a Labels, keys: &[&str]) -> &'a str {
    keys.iter()
        .find_map(|key| labels.get(*key).filter(|v| !v.is_empty()))
        .map_or("", String::as_str)
}

/// Instance type; empty where unknown.
pub(super) fn instance_type(labels: &Labels) -> &str {
    first(labels, &INSTANCE_TYPE)
}

/// Zone; empty where unknown. Azure writes the fault domain ("0") where a region has no zones: that is no zone.
pub(super) fn zone(labels: &Labels) -> &str {
    let zone = first(labels, &ZONE);
    if zone.bytes().all(|b| b.is_ascii_digit()) {
        ""
    } else {
        zone
    }
}

/// AWS' id of the zone, which is the same in every account; empty where unknown.
pub(super) fn zone_id(labels: &Labels) -> &str {
    first(labels, &["topology.k8s.aws/zone-id"])
}

/// Region; empty where unknown.
pub(super) fn region(labels: &Labels) -> &str {
    first(labels, &REGION)
}

/// The operating system where it is something else than Linux.
pub(super) fn foreign_os<'a>(node: &'a SlimNode, labels: &'a Labels) -> Option<&'a str> {
    let os = match first(labels, &OS) {
        "" => node.status.node_info.operating_system.as_str(),
        os => os,
    };
    (!os.is_empty() && os != "linux").then_some(os)
}
