//! How a node is paid for.

use ampacity_api::labels::CAPACITY_TYPE;
use ampacity_placement::{CapacityType, Labels};

use super::note::{NoteReason, Notes};
use crate::state::SlimTaint;

/// The labels that say so, the first that is there and can be read wins: our own, Karpenter's, EKS', GKE's, AKS', then those that
/// are seen on nodes of the same clouds and of others.
type Rule = (&'static str, fn(&str) -> Option<CapacityType>);

const RULES: [Rule; 23] = [
    (CAPACITY_TYPE, word),
    ("karpenter.sh/capacity-type", word),
    ("eks.amazonaws.com/capacityType", word),
    ("cloud.google.com/gke-spot", spot_if_true),
    ("cloud.google.com/gke-preemptible", spot_if_true),
    ("cloud.google.com/gke-provisioning", gke_provisioning),
    ("cloud.google.com/reservation-name", reserved_if_set),
    (
        "cloud.google.com/reservation-affinity",
        reserved_if_specific,
    ),
    ("kubernetes.azure.com/scalesetpriority", azure_priority),
    ("kubernetes.azure.com/priority", azure_priority),
    ("oci.oraclecloud.com/oke-is-preemptible", spot_if_true),
    ("topology.k8s.aws/capacity-block-id", reserved_if_set),
    ("sagemaker.amazonaws.com/capacity-type", word),
    ("node.kubernetes.io/lifecycle", spot_lifecycle),
    ("node-lifecycle", spot_lifecycle),
    ("kops.k8s.io/instance-lifecycle", spot_lifecycle),
    ("doks.digitalocean.com/spot", spot_if_true),
    // Cluster API and OpenShift put the label without a value on interruptible machines.
    ("cluster.x-k8s.io/interruptible", spot_unless_false),
    (
        "machine.openshift.io/interruptible-instance",
        spot_unless_false,
    ),
    // Spot Ocean: spot or od.
    ("spotinst.io/node-lifecycle", spot_lifecycle),
    // CAST AI; a node that stands in for a spot one is on demand, whatever else it is called.
    ("scheduling.cast.ai/spot-fallback", on_demand_if_true),
    ("scheduling.cast.ai/spot", spot_unless_false),
    ("node-role.kubernetes.io/spot-worker", spot_unless_false),
];

/// Taints that only interruptible nodes have.
const SPOT_TAINTS: [(&str, &str); 5] = [
    ("scheduling.cast.ai/spot", ""),
    ("kubernetes.azure.com/scalesetpriority", "spot"),
    ("cloud.google.com/gke-spot", "true"),
    ("cloud.google.com/gke-preemptible", "true"),
    ("oci.oraclecloud.com/oke-is-preemptible", ""),
];

/// The capacity type of a node. Without any label: `Owned` where the provider is `onprem`, else `OnDemand`.
pub(super) fn capacity_type(
    labels: &Labels,
    taints: &[SlimTaint],
    provider: &str,
    notes: &mut Notes<'_>,
) -> CapacityType {
    for (key, read) in RULES {
        let Some(value) = labels.get(key) else {
            continue;
        };
        match read(value) {
            Some(capacity_type) => return capacity_type,
            // A word that should have been one of a few; flags that are off say nothing.
            None if key == CAPACITY_TYPE || key == "karpenter.sh/capacity-type" => notes.add(
                NoteReason::UnknownLabelValue,
                format!(
                    "label {key}={value:?} is no capacity type and is ignored; use Owned, Reserved, Spot or OnDemand"
                ),
            ),
            None => {}
        }
    }
    let spot_taint = taints.iter().any(|taint| {
        SPOT_TAINTS
            .iter()
            .any(|(key, value)| taint.key == *key && (value.is_empty() || taint.value == *value))
    });
    if spot_taint {
        CapacityType::Spot
    } else if provider == "onprem" {
        CapacityType::Owned
    } else {
        CapacityType::OnDemand
    }
}

fn word(value: &str) -> Option<CapacityType> {
    let plain: String = value
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_ascii_lowercase();
    match plain.as_str() {
        "spot" => Some(CapacityType::Spot),
        "ondemand" => Some(CapacityType::OnDemand),
        "reserved" | "capacityblock" => Some(CapacityType::Reserved),
        "owned" => Some(CapacityType::Owned),
        _ => None,
    }
}

fn spot_if_true(value: &str) -> Option<CapacityType> {
    (value == "true").then_some(CapacityType::Spot)
}

fn spot_unless_false(value: &str) -> Option<CapacityType> {
    (!value.eq_ignore_ascii_case("false")).then_some(CapacityType::Spot)
}

fn on_demand_if_true(value: &str) -> Option<CapacityType> {
    (value == "true").then_some(CapacityType::OnDemand)
}

fn gke_provisioning(value: &str) -> Option<CapacityType> {
    matches!(value, "spot" | "preemptible").then_some(CapacityType::Spot)
}

fn azure_priority(value: &str) -> Option<CapacityType> {
    value
        .eq_ignore_ascii_case("spot")
        .then_some(CapacityType::Spot)
}

fn reserved_if_set(value: &str) -> Option<CapacityType> {
    (!value.is_empty()).then_some(CapacityType::Reserved)
}

fn reserved_if_specific(value: &str) -> Option<CapacityType> {
    (value == "specific").then_some(CapacityType::Reserved)
}

/// Only that a node can be taken away is said by a lifecycle: `normal` is an owned node's too.
fn spot_lifecycle(value: &str) -> Option<CapacityType> {
    matches!(
        value.to_ascii_lowercase().as_str(),
        "spot" | "ec2spot" | "preemptible"
    )
    .then_some(CapacityType::Spot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use CapacityType::{OnDemand, Owned, Reserved, Spot};

    #[test]
    fn labels_are_read_in_order() {
        type Case = (
            &'static [(&'static str, &'static str)],
            &'static str,
            CapacityType,
        );
        let cases: &[Case] = &[
            (&[], "onprem", Owned),
            (&[], "aws", OnDemand),
            (&[], "", OnDemand),
            (
                &[
                    ("ampacity.dev/capacity-type", "Reserved"),
                    ("karpenter.sh/capacity-type", "spot"),
                ],
                "aws",
                Reserved,
            ),
            (
                &[
                    ("ampacity.dev/capacity-type", "nonsense"),
                    ("karpenter.sh/capacity-type", "spot"),
                ],
                "aws",
                Spot,
            ),
            (
                &[("karpenter.sh/capacity-type", "on-demand")],
                "onprem",
                OnDemand,
            ),
            (
                &[("karpenter.sh/capacity-type", "reserved")],
                "aws",
                Reserved,
            ),
            (&[("eks.amazonaws.com/capacityType", "SPOT")], "aws", Spot),
            (
                &[("eks.amazonaws.com/capacityType", "ON_DEMAND")],
                "aws",
                OnDemand,
            ),
            (
                &[("eks.amazonaws.com/capacityType", "CAPACITY_BLOCK")],
                "aws",
                Reserved,
            ),
            (&[("cloud.google.com/gke-spot", "true")], "gcp", Spot),
            (&[("cloud.google.com/gke-spot", "false")], "gcp", OnDemand),
            (
                &[
                    ("cloud.google.com/gke-preemptible", "true"),
                    ("cloud.google.com/gke-provisioning", "preemptible"),
                ],
                "gcp",
                Spot,
            ),
            (
                &[("cloud.google.com/gke-provisioning", "standard")],
                "gcp",
                OnDemand,
            ),
            (
                &[("cloud.google.com/reservation-name", "h100-block")],
                "gcp",
                Reserved,
            ),
            (
                &[("kubernetes.azure.com/scalesetpriority", "spot")],
                "azure",
                Spot,
            ),
            (&[("kubernetes.azure.com/priority", "spot")], "azure", Spot),
            (
                &[("kubernetes.azure.com/scalesetpriority", "regular")],
                "azure",
                OnDemand,
            ),
            (&[("node.kubernetes.io/lifecycle", "spot")], "aws", Spot),
            (
                &[("node.kubernetes.io/lifecycle", "normal")],
                "aws",
                OnDemand,
            ),
            (&[("cluster.x-k8s.io/interruptible", "")], "aws", Spot),
            (
                &[("cluster.x-k8s.io/interruptible", "false")],
                "aws",
                OnDemand,
            ),
            (
                &[("machine.openshift.io/interruptible-instance", "")],
                "gcp",
                Spot,
            ),
            (&[("spotinst.io/node-lifecycle", "spot")], "aws", Spot),
            (&[("spotinst.io/node-lifecycle", "od")], "aws", OnDemand),
            (&[("scheduling.cast.ai/spot", "true")], "aws", Spot),
            (
                &[
                    ("scheduling.cast.ai/spot", "true"),
                    ("scheduling.cast.ai/spot-fallback", "true"),
                ],
                "aws",
                OnDemand,
            ),
            (
                &[
                    ("eks.amazonaws.com/capacityType", "ON_DEMAND"),
                    ("cluster.x-k8s.io/interruptible", ""),
                ],
                "aws",
                OnDemand,
            ),
            (&[("node-lifecycle", "normal")], "onprem", Owned),
            (&[("lifecycle", "normal")], "onprem", Owned),
            (&[("lifecycle", "spot")], "onprem", Owned),
        ];
        for (pairs, provider, expected) in cases {
            let labels = pairs
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect();
            let mut notes = Notes {
                cluster: "c",
                node: "n",
                notes: vec![],
            };
            assert_eq!(
                capacity_type(&labels, &[], provider, &mut notes),
                *expected,
                "{pairs:?}"
            );
            assert_eq!(
                notes.notes.len(),
                usize::from(pairs.iter().any(|p| p.1 == "nonsense"))
            );
        }
    }

    #[test]
    fn a_spot_taint_tells_where_no_label_does() {
        let taint = SlimTaint {
            key: "kubernetes.azure.com/scalesetpriority".into(),
            value: "spot".into(),
            effect: "NoSchedule".into(),
        };
        let mut notes = Notes {
            cluster: "c",
            node: "n",
            notes: vec![],
        };
        assert_eq!(
            capacity_type(&Labels::new(), &[taint], "azure", &mut notes),
            Spot
        );
    }
}
