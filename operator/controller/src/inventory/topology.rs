//! Topology domains of a node.

use std::collections::BTreeMap;

use ampacity_api::TopologyLevel;
use ampacity_api::member_cluster::TopologyLabel;
use ampacity_catalog::Family;
use ampacity_placement::{Labels, Level};

use crate::state::engine_level;

/// Labels of clouds and of Topograph that tell a level, where the cluster configures none for it. The first that is there wins;
/// all are looked at whatever the provider, since their keys say whose they are. Labels of a vendor's own fabric are in the
/// catalogue and come first. Sources: the clouds' label documentation and Topograph's node labels.
const DEFAULTS: [(Level, &[&str]); 3] = [
    (
        Level::NvlinkDomain,
        &[
            "ds.coreweave.com/nvlink.domain",
            "oci.oraclecloud.com/host.gpu_memory_fabric_id",
            // HyperPod: P6e-GB200 and Trn2 UltraServers.
            "topology.k8s.aws/ultraserver-id",
            "accelerator.topograph.run/domain",
            "network.topology.nvidia.com/accelerator",
        ],
    ),
    (
        Level::Rack,
        &[
            "topology.k8s.aws/network-node-layer-3",
            "cloud.google.com/gce-topology-subblock",
            "oci.oraclecloud.com/host.rack_id",
            "oci.oraclecloud.com/rdma.local_block_id",
            "node.coreweave.cloud/rack",
            "fabric.topograph.run/tier-1",
            "network.topology.nvidia.com/leaf",
            "topology.kubernetes.io/rack",
        ],
    ),
    (
        Level::Block,
        &[
            "topology.k8s.aws/network-node-layer-1",
            "cloud.google.com/gce-topology-block",
            "oci.oraclecloud.com/rdma.network_block_id",
            "oci.oraclecloud.com/rdma.local_block_id",
            "ib.coreweave.cloud/superpod",
            "kubernetes.azure.com/ppg",
            "fabric.topograph.run/tier-2",
            "network.topology.nvidia.com/spine",
            "topology.kubernetes.io/block",
        ],
    ),
];

/// The domain at each level between node and cluster, where a label tells it.
///
/// `configured` labels replace the defaults of their level; several for one level are tried in order. A level that is configured
/// and whose label the node lacks is unknown: nothing else is guessed for it.
pub(super) fn domains(
    labels: &Labels,
    zone: &str,
    configured: &[TopologyLabel],
) -> BTreeMap<Level, String> {
    let mut domains = BTreeMap::new();
    for level in [Level::NvlinkDomain, Level::Rack, Level::Block, Level::Zone] {
        let own: Vec<&str> = configured
            .iter()
            .filter(|entry| engine_level(entry.level) == level)
            .map(|entry| entry.node_label.as_str())
            .collect();
        let found = if own.is_empty() {
            default_domain(level, labels, zone)
        } else {
            own.iter()
                .find_map(|key| labels.get(*key).cloned())
                .filter(|value| !value.is_empty())
        };
        match found {
            Some(domain) => {
                domains.insert(level, domain);
            }
            // Said, since the engine takes the node's zone for a domain where nothing is said.
            None if level == Level::Zone && !own.is_empty() => {
                domains.insert(level, String::new());
            }
            None => {}
        }
    }
    domains
}

/// Levels that are configured and that no label of the node tells, with the labels that would.
pub(super) fn unknown_levels(
    labels: &Labels,
    configured: &[TopologyLabel],
) -> Vec<(TopologyLevel, String)> {
    let is_there = |key: &str| labels.get(key).is_some_and(|value| !value.is_empty());
    let mut unknown: Vec<(TopologyLevel, String)> = Vec::new();
    for entry in configured {
        let of_level = |other: &&TopologyLabel| other.level == entry.level;
        let mut keys = configured.iter().filter(of_level).map(|e| &*e.node_label);
        let is_listed = unknown.iter().any(|(level, _)| *level == entry.level);
        if !is_listed && !keys.clone().any(is_there) {
            let first = keys.next().unwrap_or_default().to_owned();
            let all = keys.fold(first, |all, key| format!("{all} or {key}"));
            unknown.push((entry.level, all));
        }
    }
    unknown
}

fn default_domain(level: Level, labels: &Labels, zone: &str) -> Option<String> {
    if level == Level::Zone {
        return Some(zone.to_owned()).filter(|z| !z.is_empty());
    }
    let by_label = |key: &&str| labels.get(*key).filter(|value| is_domain(value)).cloned();
    let mut of_clouds = DEFAULTS
        .iter()
        .filter(|(of, _)| *of == level)
        .flat_map(|(_, keys)| keys.iter());
    if level != Level::NvlinkDomain {
        return of_clouds.find_map(by_label);
    }
    Family::all()
        .flat_map(|family| family.fabric.labels)
        .chain(of_clouds)
        .find_map(by_label)
        .or_else(|| Family::all().find_map(|family| (family.fabric.domain)(labels)))
}

/// A fabric that is not up yet shows an empty or an all-zero id; without a cluster id there is no domain.
fn is_domain(value: &str) -> bool {
    let cluster = value.split('.').next().unwrap_or_default();
    !cluster.is_empty()
        && !cluster.bytes().all(|b| matches!(b, b'0' | b'-'))
        && !matches!(value, "none" | "unknown" | "N/A")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)], configured: &[TopologyLabel]) -> BTreeMap<Level, String> {
        let labels = pairs
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect();
        domains(&labels, "z", configured)
    }

    #[test]
    fn every_provider_has_its_labels() {
        type Case = (
            &'static [(&'static str, &'static str)],
            Level,
            Option<&'static str>,
        );
        let cases: &[Case] = &[
            (
                &[
                    ("topology.k8s.aws/network-node-layer-1", "nn-1"),
                    ("topology.k8s.aws/network-node-layer-3", "nn-3"),
                ],
                Level::Block,
                Some("nn-1"),
            ),
            (
                &[
                    ("topology.k8s.aws/network-node-layer-1", "nn-1"),
                    ("topology.k8s.aws/network-node-layer-3", "nn-3"),
                ],
                Level::Rack,
                Some("nn-3"),
            ),
            (
                &[("cloud.google.com/gce-topology-block", "b")],
                Level::Block,
                Some("b"),
            ),
            (
                &[
                    ("oci.oraclecloud.com/rdma.local_block_id", "l"),
                    ("oci.oraclecloud.com/rdma.network_block_id", "n"),
                ],
                Level::Block,
                Some("n"),
            ),
            (
                &[("oci.oraclecloud.com/host.rack_id", "r")],
                Level::Rack,
                Some("r"),
            ),
            (
                &[("ds.coreweave.com/nvlink.domain", "d1")],
                Level::NvlinkDomain,
                Some("d1"),
            ),
            (
                &[("node.coreweave.cloud/rack", "042")],
                Level::Rack,
                Some("042"),
            ),
            (
                &[("nvidia.com/gpu.clique", "5b-c1.3")],
                Level::NvlinkDomain,
                Some("5b-c1.3"),
            ),
            (
                &[("topology.k8s.aws/ultraserver-id", "us-0")],
                Level::NvlinkDomain,
                Some("us-0"),
            ),
            (
                &[("nvidia.com/gpu.imex-domain", "5b-c1.3")],
                Level::NvlinkDomain,
                Some("5b-c1.3"),
            ),
            (&[("nvidia.com/gpu.clique", "")], Level::NvlinkDomain, None),
            (
                &[(
                    "nvidia.com/gpu.clique",
                    "00000000-0000-0000-0000-000000000000.0",
                )],
                Level::NvlinkDomain,
                None,
            ),
            (
                &[
                    ("cloud.google.com/gke-accelerator", "nvidia-gb200"),
                    ("cloud.google.com/gce-topology-subblock", "s"),
                ],
                Level::NvlinkDomain,
                Some("s"),
            ),
            (
                &[
                    ("cloud.google.com/gke-tpu-topology", "4x4"),
                    ("cloud.google.com/gke-accelerator-count", "4"),
                    ("cloud.google.com/gke-nodepool", "p"),
                ],
                Level::NvlinkDomain,
                Some("p"),
            ),
            (
                &[
                    ("cloud.google.com/gke-tpu-topology", "1x1"),
                    ("cloud.google.com/gke-accelerator-count", "1"),
                    ("cloud.google.com/gke-nodepool", "p"),
                ],
                Level::NvlinkDomain,
                None,
            ),
            (&[], Level::Zone, Some("z")),
        ];
        for (pairs, level, expected) in cases {
            assert_eq!(
                of(pairs, &[]).get(level).map(String::as_str),
                *expected,
                "{pairs:?}"
            );
        }
    }

    #[test]
    fn a_configured_label_replaces_the_defaults_of_its_level() {
        let configured = [TopologyLabel {
            level: TopologyLevel::Block,
            node_label: "site/hall".into(),
        }];
        let aws = ("topology.k8s.aws/network-node-layer-1", "nn-1");
        assert_eq!(
            of(&[aws, ("site/hall", "h7")], &configured)[&Level::Block],
            "h7"
        );
        assert_eq!(of(&[aws], &configured).get(&Level::Block), None);
    }

    #[test]
    fn a_node_without_a_configured_zone_is_in_none() {
        let zone = |key: &str| TopologyLabel {
            level: TopologyLevel::Zone,
            node_label: key.into(),
        };
        let configured = [zone("site/hall"), zone("site/room")];
        assert_eq!(of(&[], &configured)[&Level::Zone], "");
        assert_eq!(of(&[("site/room", "r")], &configured)[&Level::Zone], "r");
        let unknown = unknown_levels(&Labels::new(), &configured);
        assert_eq!(
            unknown,
            [(TopologyLevel::Zone, "site/hall or site/room".to_owned())]
        );
    }
}
