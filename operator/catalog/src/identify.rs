//! From what a node or a driver shows to the accelerator type.

use ampacity_api::accelerator_type::AcceleratorMatch;

use crate::accelerator::Accelerator;
use crate::builtin;
use crate::catalog::Catalog;
use crate::evidence::{Clues, DeviceQuery, Evidence, Found};
use crate::vendor::{Family, family_of};

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity<'a> {
    /// The type is known.
    Known {
        /// The type.
        accelerator: &'a Accelerator,
        /// What told it.
        evidence: Evidence,
        /// Evidence that says otherwise, for a note.
        doubt: Option<Evidence>,
    },
    /// There is a device, but nothing tells which.
    Unknown {
        /// What the node says about it, for a message. May be empty.
        seen: Vec<Evidence>,
    },
}

impl Identity<'_> {
    /// Whether a user's `match` tells it: what the user says of a device is not doubted.
    pub fn is_by_match(&self) -> bool {
        matches!(self, Self::Known { evidence, .. } if evidence.from == BY_MATCH)
    }
}

/// What told a type that a user's `match` gives.
const BY_MATCH: &str = "AcceleratorType match";

impl Catalog {
    /// Which accelerator type a device is.
    ///
    /// In this order: a user's `match`; what the driver says (DRA attributes); the vendor's labels; the cloud's labels; the
    /// instance type. A name is compared as a whole, never in part, so an A40 is never taken for an A100 with 40 GB.
    pub fn identify<'a>(&'a self, query: &DeviceQuery<'_>) -> Identity<'a> {
        if let Some((name, evidence)) = self.by_rule(query)
            && let Some(accelerator) = self.get(name)
        {
            return Identity::Known {
                accelerator,
                evidence,
                doubt: None,
            };
        }
        let mut clues = Clues::default();
        let found = family_of(query.resource)
            .and_then(|family| {
                (family.identify)(query, &mut clues).or_else(|| by_instance(family, query))
            })
            .and_then(|(name, evidence)| Some((self.get(&name)?, evidence)));
        match found {
            Some((accelerator, evidence)) => Identity::Known {
                accelerator,
                doubt: doubt(accelerator, query, &evidence),
                evidence,
            },
            None => {
                let mut seen = clues.seen;
                if !query.instance_type.is_empty() {
                    seen.push(Evidence::new("instance type", query.instance_type));
                }
                Identity::Unknown { seen }
            }
        }
    }

    /// Whether some AcceleratorType's `match` names this extended resource.
    pub fn claims(&self, resource: &str) -> bool {
        self.rules
            .iter()
            .any(|(_, rule)| rule.resource_names.iter().any(|r| r == resource))
    }

    /// The type that a user's `match` gives to a device, without the built-in rules.
    pub fn identify_by_match(&self, query: &DeviceQuery<'_>) -> Option<&Accelerator> {
        let (name, _) = self.by_rule(query)?;
        self.get(name)
    }

    fn by_rule(&self, query: &DeviceQuery<'_>) -> Option<(&str, Evidence)> {
        let (name, _) = self.rules.iter().find(|(_, rule)| fits(rule, query))?;
        Some((name, Evidence::new(BY_MATCH, name)))
    }
}

/// resourceNames AND (any of nodeLabels or instanceTypes, where given). A DRA device matches by its driver's name and by the
/// extended resources of the same family.
fn fits(rule: &AcceleratorMatch, query: &DeviceQuery<'_>) -> bool {
    let same_family = |resource: &String| {
        !query.resource.contains('/')
            && family_of(query.resource)
                .is_some_and(|family| family.device_resources.contains(&resource.as_str()))
    };
    let resource = rule
        .resource_names
        .iter()
        .any(|resource| resource == query.resource || same_family(resource));
    let by_label = rule.node_labels.iter().any(|wanted| {
        query
            .labels
            .get(&wanted.key)
            .is_some_and(|value| wanted.values.contains(value))
    });
    let by_instance = rule
        .instance_types
        .iter()
        .any(|t| t.eq_ignore_ascii_case(query.instance_type));
    let bare = rule.node_labels.is_empty() && rule.instance_types.is_empty();
    resource && (bare || by_label || by_instance)
}

fn by_instance(family: Family, query: &DeviceQuery<'_>) -> Found {
    if !(family.trusts_instance_type)(query) {
        return None;
    }
    let shape = builtin::shape(query.instance_type)?;
    let accelerator = builtin::data().accelerators.get(&shape.accelerator)?;
    (accelerator.family == Some(family)).then(|| {
        (
            shape.accelerator.clone(),
            Evidence::new("instance type", query.instance_type),
        )
    })
}

/// Evidence against the type: an instance type that holds another, or a memory size that is off by more than a sixth.
fn doubt(
    accelerator: &Accelerator,
    query: &DeviceQuery<'_>,
    told_by: &Evidence,
) -> Option<Evidence> {
    if told_by.from != "instance type"
        && let Some(shape) = builtin::shape(query.instance_type)
        && shape.accelerator != accelerator.name
    {
        return Some(Evidence::new("instance type", query.instance_type));
    }
    let memory = (accelerator.family?.device_memory_mib)(query)?;
    let expected = u64::from(accelerator.memory_gib) * 1024;
    (memory.abs_diff(expected).saturating_mul(6) > expected)
        .then(|| Evidence::new("device memory in MiB", &memory.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampacity_api::accelerator_type::{
        AcceleratorPower, AcceleratorType, AcceleratorTypeSpec, NodeLabelValues,
    };
    use ampacity_placement::Labels;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn name_of(
        catalog: &Catalog,
        resource: &str,
        pairs: &[(&str, &str)],
        instance_type: &str,
    ) -> Option<String> {
        let labels = labels(pairs);
        match catalog.identify(&DeviceQuery {
            resource,
            labels: &labels,
            instance_type,
            model: None,
            pci_id: None,
            memory_mib: None,
        }) {
            Identity::Known { accelerator, .. } => Some(accelerator.name.clone()),
            Identity::Unknown { .. } => None,
        }
    }

    #[test]
    fn labels_of_every_platform_tell_the_type() {
        let catalog = Catalog::builtin();
        let gpu = "nvidia.com/gpu";
        // Resource, labels, instance type, accelerator type.
        type Case = (
            &'static str,
            &'static [(&'static str, &'static str)],
            &'static str,
            Option<&'static str>,
        );
        let cases: &[Case] = &[
            (
                gpu,
                &[("nvidia.com/gpu.product", "NVIDIA-H100-80GB-HBM3")],
                "",
                Some("nvidia-h100-sxm5-80gb"),
            ),
            (
                gpu,
                &[("nvidia.com/gpu.product", "A100-SXM4-40GB")],
                "",
                Some("nvidia-a100-sxm4-40gb"),
            ),
            (
                gpu,
                &[("nvidia.com/gpu.product", "NVIDIA-A40")],
                "",
                Some("nvidia-a40"),
            ),
            (
                gpu,
                &[("nvidia.com/gpu.product", "Tesla-T4-SHARED")],
                "",
                Some("nvidia-t4"),
            ),
            (
                gpu,
                &[("nvidia.com/gpu.product", "GRID-A100-40C")],
                "",
                None,
            ),
            (
                gpu,
                &[("nvidia.com/gpu.product", "NVIDIA-FUTURE-9000")],
                "",
                None,
            ),
            (
                gpu,
                &[("cloud.google.com/gke-accelerator", "nvidia-h100-mega-80gb")],
                "",
                Some("nvidia-h100-sxm5-80gb"),
            ),
            (
                gpu,
                &[("cloud.google.com/gke-accelerator", "nvidia-tesla-k80")],
                "n1-standard-2",
                Some("nvidia-k80"),
            ),
            (
                gpu,
                &[
                    ("karpenter.k8s.aws/instance-gpu-name", "a100"),
                    ("karpenter.k8s.aws/instance-gpu-memory", "81920"),
                ],
                "",
                Some("nvidia-a100-sxm4-80gb"),
            ),
            (
                gpu,
                &[("karpenter.k8s.aws/instance-gpu-name", "a100")],
                "p4d.24xlarge",
                Some("nvidia-a100-sxm4-40gb"),
            ),
            (
                gpu,
                &[("eks.amazonaws.com/instance-gpu-name", "l40s")],
                "",
                Some("nvidia-l40s"),
            ),
            (
                gpu,
                &[
                    ("gpu.nvidia.com/model", "GB200"),
                    ("gpu.nvidia.com/vram", "186"),
                ],
                "",
                Some("nvidia-gb200"),
            ),
            (
                gpu,
                &[("gpu.nvidia.com/class", "H100_NVLINK_80GB")],
                "",
                Some("nvidia-h100-sxm5-80gb"),
            ),
            (
                gpu,
                &[("kubernetes.azure.com/accelerator", "nvidia")],
                "Standard_ND96isr_H100_v5",
                Some("nvidia-h100-sxm5-80gb"),
            ),
            (
                gpu,
                &[],
                "Standard_NC24ads_A100_v4",
                Some("nvidia-a100-80gb-pcie"),
            ),
            (gpu, &[], "BM.GPU.GB200-v3.4", Some("nvidia-gb200")),
            (gpu, &[], "k3s", None),
            (gpu, &[], "trn1.32xlarge", None),
            (
                "amd.com/gpu",
                &[("amd.com/gpu.product-name", "AMD_Instinct_MI300X_OAM")],
                "",
                Some("amd-mi300x"),
            ),
            (
                "amd.com/gpu",
                &[("beta.amd.com/gpu.device-id.74a1", "8")],
                "",
                Some("amd-mi300x"),
            ),
            (
                "amd.com/gpu",
                &[("amd.com/gpu.device-id", "75a3")],
                "",
                Some("amd-mi355x"),
            ),
            (
                "amd.com/gpu",
                &[("beta.amd.com/gpu.device-id.67df", "1")],
                "k3s",
                None,
            ),
            (
                "amd.com/gpu",
                &[],
                "Standard_ND96isr_MI300X_v5",
                Some("amd-mi300x"),
            ),
            ("amd.com/gpu", &[], "", None),
            (
                "habana.ai/gaudi",
                &[],
                "dl1.24xlarge",
                Some("intel-gaudi1-hl-205"),
            ),
            ("habana.ai/gaudi", &[], "", None),
            (
                "gpu.intel.com/i915",
                &[("gpu.intel.com/device-id.0300-56a0.present", "true")],
                "",
                Some("intel-arc-a770"),
            ),
            (
                "aws.amazon.com/neuron",
                &[("karpenter.k8s.aws/instance-accelerator-name", "trainium2")],
                "",
                Some("aws-trainium2"),
            ),
            (
                "aws.amazon.com/neuron",
                &[],
                "inf2.xlarge",
                Some("aws-inferentia2"),
            ),
            (
                "google.com/tpu",
                &[("cloud.google.com/gke-tpu-accelerator", "tpu-v6e-slice")],
                "",
                Some("google-tpu-v6e"),
            ),
            (
                "google.com/tpu",
                &[],
                "ct5p-hightpu-4t",
                Some("google-tpu-v5p"),
            ),
            (
                "huawei.com/Ascend910",
                &[("node.kubernetes.io/npu.chip.name", "910B4")],
                "",
                None,
            ),
        ];
        for (resource, pairs, instance_type, expected) in cases {
            assert_eq!(
                name_of(&catalog, resource, pairs, instance_type).as_deref(),
                *expected,
                "{resource} {pairs:?} {instance_type}"
            );
        }
    }

    #[test]
    fn a_match_wins_over_the_built_in_rules_on_its_nodes_only() {
        let mut spec = AcceleratorTypeSpec {
            vendor: "nvidia".into(),
            memory_gib: 64,
            bf16_tflops: 900,
            power: AcceleratorPower {
                default_watts: 500,
                ..AcceleratorPower::default()
            },
            ..AcceleratorTypeSpec::default()
        };
        spec.match_ = Some(AcceleratorMatch {
            resource_names: vec!["nvidia.com/gpu".into()],
            node_labels: vec![NodeLabelValues {
                key: "site".into(),
                values: vec!["leonardo".into()],
            }],
            instance_types: vec![],
        });
        let (catalog, issues) =
            Catalog::with_overrides([&AcceleratorType::new("custom-a100", spec)]);
        assert_eq!(issues, []);
        let product = ("nvidia.com/gpu.product", "NVIDIA-A100-SXM4-40GB");
        let on = |pairs: &[(&str, &str)], resource| name_of(&catalog, resource, pairs, "");
        assert_eq!(
            on(&[product, ("site", "leonardo")], "nvidia.com/gpu").as_deref(),
            Some("custom-a100")
        );
        assert_eq!(
            on(&[product, ("site", "leonardo")], "gpu.nvidia.com").as_deref(),
            Some("custom-a100"),
            "a DRA device of the same family"
        );
        assert_eq!(
            on(&[product], "nvidia.com/gpu").as_deref(),
            Some("nvidia-a100-sxm4-40gb")
        );
        assert_eq!(on(&[("site", "leonardo")], "amd.com/gpu"), None);
    }

    #[test]
    fn evidence_that_disagrees_is_told() {
        let catalog = Catalog::builtin();
        let labels = labels(&[
            ("nvidia.com/gpu.product", "NVIDIA-A100-SXM4-40GB"),
            ("nvidia.com/gpu.memory", "81920"),
        ]);
        let identity = catalog.identify(&DeviceQuery {
            resource: "nvidia.com/gpu",
            labels: &labels,
            instance_type: "",
            model: None,
            pci_id: None,
            memory_mib: None,
        });
        assert!(
            matches!(identity, Identity::Known { doubt: Some(ref d), .. } if d.value == "81920"),
            "{identity:?}"
        );
    }
}
