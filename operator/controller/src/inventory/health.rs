//! Whether a node takes new work, and whether it loses the work that it has.

use ampacity_catalog::Family;
use ampacity_placement::{Labels, NodeFault};

use crate::state::{Failing, SlimCondition, SlimNode};

/// Conditions whose `True` is good. Anything else than `False` (a check that could not run) is no signal.
const GOOD_WHEN_TRUE: [&str; 5] = [
    // EKS node monitoring agent.
    "AcceleratedHardwareReady",
    "NetworkingReady",
    "StorageReady",
    "KernelReady",
    "ContainerRuntimeReady",
];

/// Conditions whose `True` is a fault, as Kubernetes and clouds report them; those of the vendors' own agents are in the catalogue.
const BAD_WHEN_TRUE: [&str; 43] = [
    // Kubelet and cloud controllers.
    "MemoryPressure",
    "DiskPressure",
    "PIDPressure",
    "NetworkUnavailable",
    // node-problem-detector.
    "KernelDeadlock",
    "ReadonlyFilesystem",
    "CorruptDockerOverlay2",
    "CorruptDockerOverlay2Problem",
    "XfsShutdown",
    "CperHardwareErrorFatal",
    "FrequentUnregisterNetDevice",
    "KubeletUnhealthy",
    "ContainerRuntimeUnhealthy",
    // AKS.
    "GPUMissing",
    "GPUXIDErrors",
    "XIDErrors",
    "NVLinkStatusInactive",
    "GPUNVLinkInactive",
    "IBLinkFlapping",
    "UnhealthyNvidiaDevicePlugin",
    "UnhealthyNvidiaDCGMServices",
    "FilesystemCorruptionProblem",
    "KubeletProblem",
    "ContainerRuntimeProblem",
    "VMEventScheduled",
    // OKE.
    "GpuCount",
    "GpuEcc",
    "GpuRowRemap",
    "GpuBus",
    "GpuBusError",
    "GpuPcie",
    "GpuFabricManager",
    "GpuBadPages",
    "GpuDriver",
    "GpuXid",
    "RdmaLink",
    "RdmaLinkFlapping",
    "RdmaWpaAuth",
    "RdmaRttcc",
    "OcaVersion",
    "PcieError",
    "EthLink",
    "CpuProfile",
];

/// Conditions of the node's own hardware whose fault ends what runs there. The others keep new work away and leave what runs
/// alone: a node that is short of disk, or due for maintenance next week, still does its work, and whoever drains it ends its
/// pods.
const ENDS_WORK: [&str; 14] = [
    "AcceleratedHardwareReady",
    "KernelDeadlock",
    "CperHardwareErrorFatal",
    "GPUMissing",
    "GPUXIDErrors",
    "XIDErrors",
    "NVLinkStatusInactive",
    "GPUNVLinkInactive",
    "GpuCount",
    "GpuEcc",
    "GpuBus",
    "GpuBusError",
    "GpuFabricManager",
    "GpuXid",
];

/// Labels whose listed values are a fault; `*` is any value but empty and `false`.
const BAD_LABELS: [(&str, &[&str]); 5] = [
    (
        "sagemaker.amazonaws.com/node-health-status",
        &[
            "Unschedulable",
            "UnschedulablePendingReboot",
            "UnschedulablePendingReplacement",
            "UnschedulablePendingReplace",
        ],
    ),
    (
        "oci.oraclecloud.com/host.health",
        &["UNHEALTHY", "IMPAIRED", "FAULTY", "CRITICAL", "DEGRADED"],
    ),
    (
        "oci.oraclecloud.com/host.maintenance.state",
        &["SCHEDULED", "IN_PROGRESS", "PENDING", "STARTED"],
    ),
    (
        "cloud.google.com/active-node-maintenance",
        &["true", "ONGOING", "ongoing"],
    ),
    (
        "node.coreweave.cloud/state",
        &["triage", "zap", "rma", "faulty"],
    ),
];

/// OKE writes one label for each fault.
const FAULT_LABEL_PREFIX: &str = "oci.oraclecloud.com/host.fault.";

/// Taints of nodes that are about to go.
const LEAVING_TAINTS: [&str; 8] = [
    "ToBeDeletedByClusterAutoscaler",
    "karpenter.sh/disrupted",
    "karpenter.sh/disruption",
    "cloud.google.com/impending-node-termination",
    "impending-node-termination",
    "node.kubernetes.io/out-of-service",
    "node.cloudprovider.kubernetes.io/shutdown",
    "aws-node-termination-handler/spot-itn",
];

/// Whether, and how, the node fails what runs on it; a cordon, which stops new work only, plays no part.
pub fn failing(node: &SlimNode) -> Option<Failing> {
    if is_not_ready(node) {
        return Some(Failing::Silent);
    }
    let broken = node
        .status
        .conditions
        .iter()
        .any(|c| ends_work(&c.type_) && is_bad(c));
    (broken || is_leaving(node)).then_some(Failing::Broken)
}

fn is_not_ready(node: &SlimNode) -> bool {
    let ready = |c: &&SlimCondition| c.type_ == "Ready";
    node.status
        .conditions
        .iter()
        .filter(ready)
        .any(|c| c.status != "True")
}

fn is_leaving(node: &SlimNode) -> bool {
    let leaving = |key: &str| LEAVING_TAINTS.contains(&key);
    node.metadata.deletion_timestamp.is_some()
        || node.spec.taints.iter().any(|taint| leaving(&taint.key))
}

/// Why the node takes no new work: the first of terminating, cordoned, not ready, unhealthy.
///
/// A node without a `Ready` condition (a file that leaves it out) counts as ready. Conditions that are in no list say nothing, since
/// their polarity is unknown.
pub(super) fn fault(node: &SlimNode, labels: &Labels) -> Option<NodeFault> {
    if is_leaving(node) {
        return Some(NodeFault::Terminating);
    }
    if node.spec.unschedulable {
        return Some(NodeFault::Cordoned);
    }
    if is_not_ready(node) {
        return Some(NodeFault::NotReady);
    }
    node.status
        .conditions
        .iter()
        .find(|c| is_bad(c))
        .map(|c| match &c.reason {
            Some(reason) => format!("{}={} ({reason})", c.type_, c.status),
            None => format!("{}={}", c.type_, c.status),
        })
        .or_else(|| bad_label(labels))
        .map(NodeFault::Unhealthy)
}

fn is_bad(condition: &SlimCondition) -> bool {
    let (type_, status) = (condition.type_.as_str(), condition.status.as_str());
    (GOOD_WHEN_TRUE.contains(&type_) && status == "False") || (is_fault(type_) && status == "True")
}

fn is_fault(type_: &str) -> bool {
    BAD_WHEN_TRUE.contains(&type_) || Family::all().any(|f| f.health.faults.contains(&type_))
}

fn ends_work(type_: &str) -> bool {
    ENDS_WORK.contains(&type_) || Family::all().any(|f| f.health.end_work.contains(&type_))
}

fn bad_label(labels: &Labels) -> Option<String> {
    let of_vendors = Family::all().flat_map(|family| family.health.bad_labels);
    let listed = of_vendors.chain(&BAD_LABELS).find_map(|(key, bad)| {
        let value = labels.get(*key)?;
        let any = bad.contains(&"*") && !value.is_empty() && value != "false";
        (any || bad.iter().any(|b| b.eq_ignore_ascii_case(value))).then(|| format!("{key}={value}"))
    });
    listed.or_else(|| {
        labels
            .iter()
            .find(|(key, value)| {
                key.starts_with(FAULT_LABEL_PREFIX) && !value.is_empty() && *value != "false"
            })
            .map(|(key, value)| format!("{key}={value}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fault_of(value: serde_json::Value) -> Option<NodeFault> {
        let node: SlimNode = serde_json::from_value(value).unwrap();
        let labels = node.metadata.labels.clone().unwrap_or_default();
        fault(&node, &labels)
    }

    #[test]
    fn each_condition_has_its_own_polarity() {
        let cases = [
            ("Ready", "True", None),
            ("Ready", "Unknown", Some(NodeFault::NotReady)),
            ("Ready", "False", Some(NodeFault::NotReady)),
            ("AcceleratedHardwareReady", "True", None),
            ("AcceleratedHardwareReady", "Unknown", None),
            (
                "AcceleratedHardwareReady",
                "False",
                Some(NodeFault::Unhealthy(
                    "AcceleratedHardwareReady=False".into(),
                )),
            ),
            (
                "NetworkingReady",
                "False",
                Some(NodeFault::Unhealthy("NetworkingReady=False".into())),
            ),
            (
                "XidCriticalError",
                "True",
                Some(NodeFault::Unhealthy("XidCriticalError=True".into())),
            ),
            ("XidCriticalError", "False", None),
            ("GpuEcc", "False", None),
            ("GpuEcc", "Unknown", None),
            (
                "GpuEcc",
                "True",
                Some(NodeFault::Unhealthy("GpuEcc=True".into())),
            ),
            ("NetworkUnavailable", "False", None),
            (
                "KernelDeadlock",
                "True",
                Some(NodeFault::Unhealthy("KernelDeadlock=True".into())),
            ),
            ("SomethingOfASite", "False", None),
            ("SomethingOfASite", "True", None),
        ];
        for (type_, status, expected) in cases {
            let node = json!({"status": {"conditions": [{"type": type_, "status": status}]}});
            assert_eq!(fault_of(node), expected, "{type_}={status}");
        }
    }

    #[test]
    fn labels_and_taints_tell_too() {
        let labelled =
            |key: &str, value: &str| fault_of(json!({"metadata": {"labels": {key: value}}}));
        let unhealthy =
            |key: &str, value: &str| Some(NodeFault::Unhealthy(format!("{key}={value}")));
        for (key, value, bad) in [
            ("dgxc.nvidia.com/nvsentinel-state", "quarantined", true),
            (
                "dgxc.nvidia.com/nvsentinel-state",
                "remediation-succeeded",
                false,
            ),
            ("k8saas.nvidia.com/cordon-by", "nvsentinel", true),
            (
                "sagemaker.amazonaws.com/node-health-status",
                "Schedulable",
                false,
            ),
            (
                "sagemaker.amazonaws.com/node-health-status",
                "UnschedulablePendingReboot",
                true,
            ),
            ("oci.oraclecloud.com/host.fault.gpu_ecc", "true", true),
            ("oci.oraclecloud.com/host.health", "HEALTHY", false),
        ] {
            let expected = if bad { unhealthy(key, value) } else { None };
            assert_eq!(labelled(key, value), expected, "{key}={value}");
        }
        let tainted = json!({"spec": {"taints": [{"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}]}});
        assert_eq!(fault_of(tainted), Some(NodeFault::Terminating));
    }

    #[test]
    fn the_gravest_fault_is_told() {
        let node = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"unschedulable": true}});
        assert_eq!(fault_of(node), Some(NodeFault::Terminating));
        let node = json!({"spec": {"unschedulable": true}, "status": {"conditions": [{"type": "Ready", "status": "False"}]}});
        assert_eq!(fault_of(node), Some(NodeFault::Cordoned));
    }

    #[test]
    fn what_ends_work_is_told_from_what_keeps_new_work_away() {
        let node = |unschedulable: bool, conditions: &[(&str, &str)], taint: Option<&str>| {
            let conditions: Vec<_> = conditions
                .iter()
                .map(|(type_, status)| json!({"type": type_, "status": status}))
                .collect();
            let taints: Vec<_> = taint.iter().map(|key| json!({"key": key})).collect();
            let value = json!({
                "metadata": {"labels": {"oci.oraclecloud.com/host.maintenance.state": "SCHEDULED"}},
                "spec": {"unschedulable": unschedulable, "taints": taints},
                "status": {"conditions": conditions},
            });
            failing(&serde_json::from_value(value).unwrap())
        };
        let (silent, broken) = (Some(Failing::Silent), Some(Failing::Broken));
        for (unschedulable, conditions, taint, expected) in [
            (false, &[][..], None, None),
            (true, &[("Ready", "True")], None, None),
            (false, &[("Ready", "False")], None, silent),
            (false, &[("Ready", "Unknown")], None, silent),
            (true, &[("Ready", "Unknown")], None, silent),
            (false, &[("MemoryPressure", "True")], None, None),
            (false, &[("DiskPressure", "True")], None, None),
            (false, &[("VMEventScheduled", "True")], None, None),
            (false, &[("GpuThermalWatch", "True")], None, None),
            (true, &[("GPUMissing", "True")], None, broken),
            (
                false,
                &[("AcceleratedHardwareReady", "False")],
                None,
                broken,
            ),
            (false, &[("AcceleratedHardwareReady", "True")], None, None),
            (false, &[], Some("karpenter.sh/disrupted"), broken),
            (
                false,
                &[("Ready", "Unknown")],
                Some("karpenter.sh/disrupted"),
                silent,
            ),
        ] {
            let found = node(unschedulable, conditions, taint);
            assert_eq!(found, expected, "{unschedulable} {conditions:?} {taint:?}");
        }
        for known in ENDS_WORK {
            assert!(
                GOOD_WHEN_TRUE.contains(&known) || BAD_WHEN_TRUE.contains(&known),
                "{known}"
            );
        }
    }
}
