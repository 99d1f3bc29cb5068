//! From what a node or a driver shows to the accelerator type.

use ampacity_api::accelerator_type::AcceleratorMatch;
use ampacity_placement::Labels;

use crate::accelerator::Accelerator;
use crate::builtin::{NameKind, data};
use crate::catalog::Catalog;
use crate::family::{Family, family_of};
use crate::instance;
use crate::product::{ProductName, Sharing};

/// What is known about a device.
#[derive(Clone, Copy, Debug)]
pub struct DeviceQuery<'a> {
    /// Extended resource (`nvidia.com/gpu`) or DRA driver (`gpu.nvidia.com`) that shows it.
    pub resource: &'a str,
    /// Labels of its node.
    pub labels: &'a Labels,
    /// Instance type of its node; empty where unknown.
    pub instance_type: &'a str,
    /// Product or model that the DRA driver gives.
    pub model: Option<&'a str>,
    /// PCI device id that the DRA driver gives, such as `0xe211`.
    pub pci_id: Option<&'a str>,
    /// Memory of the device in MiB, where the DRA driver gives it; otherwise it is read from the labels.
    pub memory_mib: Option<u64>,
}

/// What told the type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Label key, attribute, `instance type` or `AcceleratorType match`.
    pub from: String,
    /// Its value.
    pub value: String,
}

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
        let mut seen = Vec::new();
        let found = family_of(query.resource)
            .and_then(|family| candidates(family, query, &mut seen))
            .and_then(|(name, evidence)| Some((self.get(&name)?, evidence)));
        match found {
            Some((accelerator, evidence)) => Identity::Known {
                accelerator,
                doubt: doubt(accelerator, query, &evidence),
                evidence,
            },
            None => {
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
        Some((name, Evidence::new("AcceleratorType match", name)))
    }
}

impl Evidence {
    fn new(from: &str, value: &str) -> Self {
        Self {
            from: from.to_owned(),
            value: value.to_owned(),
        }
    }
}

/// resourceNames AND (any of nodeLabels or instanceTypes, where given). A DRA device matches by its driver's name and by the
/// extended resources of the same family.
fn fits(rule: &AcceleratorMatch, query: &DeviceQuery<'_>) -> bool {
    let same_family = |resource: &String| {
        !query.resource.contains('/')
            && family_of(query.resource)
                .is_some_and(|family| family.resources().contains(&resource.as_str()))
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

type Found = Option<(String, Evidence)>;

fn candidates(family: Family, query: &DeviceQuery<'_>, seen: &mut Vec<Evidence>) -> Found {
    match family {
        Family::Nvidia => nvidia(query, seen),
        Family::Amd => amd(query, seen),
        Family::Gaudi => gaudi(query, seen),
        Family::IntelGpu => intel_gpu(query, seen),
        Family::Tpu => tpu(query, seen),
        Family::Neuron => aws_label(query, seen),
        Family::Qualcomm
        | Family::Ascend
        | Family::Cambricon
        | Family::Hygon
        | Family::Iluvatar
        | Family::Metax => {
            see_labels(
                query,
                &[
                    "node.kubernetes.io/npu.chip.name",
                    "accelerator",
                    "servertype",
                ],
                seen,
            );
            None
        }
    }
    .or_else(|| by_instance(family, query))
}

/// Looks `value` up; a value that leads nowhere is remembered as seen.
fn look_up(
    kind: NameKind,
    key: &str,
    shown: &str,
    value: &str,
    memory_mib: Option<u64>,
    seen: &mut Vec<Evidence>,
) -> Found {
    let evidence = Evidence::new(key, shown);
    match data().named_with_memory(kind, value, memory_mib) {
        Some(name) => Some((name.to_owned(), evidence)),
        None => {
            seen.push(evidence);
            None
        }
    }
}

fn see_labels(query: &DeviceQuery<'_>, keys: &[&str], seen: &mut Vec<Evidence>) {
    for key in keys {
        if let Some(value) = query.labels.get(*key) {
            seen.push(Evidence::new(key, value));
        }
    }
}

fn nvidia(query: &DeviceQuery<'_>, seen: &mut Vec<Evidence>) -> Found {
    let memory = query.memory_mib.or_else(|| label_memory_mib(query.labels));
    let mut product = |key: &str, text: &str| {
        let name = ProductName::parse(text);
        if name.sharing == Sharing::VirtualGpu {
            seen.push(Evidence::new(key, text));
            return None;
        }
        look_up(NameKind::Product, key, text, &name.base, memory, seen)
    };
    if let Some(model) = query.model.filter(|m| !m.is_empty()) {
        // The driver names each device itself; labels would only speak for the node's first.
        return product("productName", model);
    }
    const PRODUCT: &str = "nvidia.com/gpu.product";
    if let Some(found) = query.labels.get(PRODUCT).and_then(|p| product(PRODUCT, p)) {
        return Some(found);
    }
    const GKE: &str = "cloud.google.com/gke-accelerator";
    if let Some(found) = query
        .labels
        .get(GKE)
        .and_then(|v| look_up(NameKind::Gke, GKE, v, &v.to_ascii_lowercase(), memory, seen))
    {
        return Some(found);
    }
    for key in ["gpu.nvidia.com/model", "gpu.nvidia.com/class"] {
        if let Some(found) = query.labels.get(key).and_then(|v| {
            let value = v.to_ascii_uppercase().replace(['-', ' '], "_");
            look_up(NameKind::Coreweave, key, v, &value, memory, seen)
        }) {
            return Some(found);
        }
    }
    aws_label(query, seen)
}

/// Karpenter and EKS Auto Mode.
fn aws_label(query: &DeviceQuery<'_>, seen: &mut Vec<Evidence>) -> Found {
    for prefix in ["karpenter.k8s.aws", "eks.amazonaws.com"] {
        let memory = query
            .labels
            .get(&format!("{prefix}/instance-gpu-memory"))
            .and_then(|m| m.parse().ok());
        for what in ["instance-gpu-name", "instance-accelerator-name"] {
            let key = format!("{prefix}/{what}");
            if let Some(value) = query.labels.get(&key)
                && let Some(found) = look_up(
                    NameKind::Aws,
                    &key,
                    value,
                    &value.to_ascii_lowercase(),
                    memory,
                    seen,
                )
            {
                return Some(found);
            }
        }
    }
    None
}

fn amd(query: &DeviceQuery<'_>, seen: &mut Vec<Evidence>) -> Found {
    let mut product = |key: &str, text: &str| {
        let upper = text.to_ascii_uppercase().replace(['-', ' '], "_");
        let name = upper.trim_start_matches("AMD_");
        let name = name.trim_start_matches("INSTINCT_");
        look_up(NameKind::AmdProduct, key, text, name, None, seen)
    };
    if let Some(found) = query.model.and_then(|m| product("productName", m)) {
        return Some(found);
    }
    for prefix in ["amd.com", "beta.amd.com"] {
        let key = format!("{prefix}/gpu.product-name");
        if let Some(found) = query.labels.get(&key).and_then(|v| product(&key, v)) {
            return Some(found);
        }
    }
    for prefix in ["amd.com", "beta.amd.com"] {
        let key = format!("{prefix}/gpu.device-id");
        if let Some(value) = query.labels.get(&key)
            && let Some(found) = look_up(NameKind::AmdPci, &key, value, &pci(value), None, seen)
        {
            return Some(found);
        }
        // The old labeller writes the value into the key: beta.amd.com/gpu.device-id.74a1=8.
        let old = format!("{key}.");
        let ids: Vec<&str> = query
            .labels
            .keys()
            .filter_map(|k| k.strip_prefix(&old))
            .collect();
        if let [id] = ids.as_slice()
            && let Some(found) = look_up(NameKind::AmdPci, &key, id, &pci(id), None, seen)
        {
            return Some(found);
        }
    }
    None
}

fn gaudi(query: &DeviceQuery<'_>, seen: &mut Vec<Evidence>) -> Found {
    let mut name = |key: &str, text: &str| {
        let value = text.to_ascii_uppercase().replace([' ', '_'], "-");
        let value = value
            .trim_start_matches("INTEL-")
            .trim_start_matches("HABANA-");
        look_up(NameKind::Gaudi, key, text, value, None, seen)
    };
    if let Some(found) = query.model.and_then(|m| name("model", m)) {
        return Some(found);
    }
    if let Some(found) = query.pci_id.and_then(|id| name("PCI device id", &pci(id))) {
        return Some(found);
    }
    for key in [
        "habana.ai/device_type",
        "habana.ai/hpu.product",
        "habana.ai/product",
    ] {
        if let Some(found) = query.labels.get(key).and_then(|v| name(key, v)) {
            return Some(found);
        }
    }
    match query.resource {
        "habana.ai/gaudi2" => return name("resource", "gaudi2"),
        "habana.ai/gaudi3" => return name("resource", "gaudi3"),
        _ => {}
    }
    aws_label(query, seen)
}

fn intel_gpu(query: &DeviceQuery<'_>, seen: &mut Vec<Evidence>) -> Found {
    if let Some(id) = query.pci_id {
        return look_up(NameKind::IntelPci, "pciId", id, &pci(id), None, seen);
    }
    let ids: Vec<&str> = intel_device_ids(query.labels).collect();
    let [id] = ids.as_slice() else {
        seen.extend(
            ids.iter()
                .map(|id| Evidence::new("gpu.intel.com/device-id", id)),
        );
        return None;
    };
    look_up(
        NameKind::IntelPci,
        "gpu.intel.com/device-id",
        id,
        &pci(id),
        None,
        seen,
    )
}

/// PCI ids of `gpu.intel.com/device-id.<class>-<id>.present`.
fn intel_device_ids(labels: &Labels) -> impl Iterator<Item = &str> {
    labels.keys().filter_map(|key| {
        let rest = key.strip_prefix("gpu.intel.com/device-id.")?;
        let (_, id) = rest.strip_suffix(".present")?.split_once('-')?;
        Some(id)
    })
}

fn tpu(query: &DeviceQuery<'_>, seen: &mut Vec<Evidence>) -> Found {
    if let Some(generation) = query.model {
        let value = generation.to_ascii_lowercase();
        if let Some(found) = look_up(NameKind::TpuGen, "tpuGen", generation, &value, None, seen) {
            return Some(found);
        }
    }
    const KEY: &str = "cloud.google.com/gke-tpu-accelerator";
    let value = query.labels.get(KEY)?;
    look_up(
        NameKind::GkeTpu,
        KEY,
        value,
        &value.to_ascii_lowercase(),
        None,
        seen,
    )
}

fn by_instance(family: Family, query: &DeviceQuery<'_>) -> Found {
    // What the driver said about this very device is not overruled by what the instance type usually holds.
    if query.model.is_some_and(|m| !m.is_empty() && m != "Unknown") && family == Family::Nvidia {
        return None;
    }
    let shape = instance::shape(query.instance_type)?;
    let accelerator = data().accelerators.get(&shape.accelerator)?;
    (accelerator.family == Some(family)).then(|| {
        (
            shape.accelerator.clone(),
            Evidence::new("instance type", query.instance_type),
        )
    })
}

/// Memory of one device in MiB from labels; CoreWeave's `vram` is in GiB.
fn label_memory_mib(labels: &Labels) -> Option<u64> {
    let number = |key: &str| labels.get(key)?.parse::<u64>().ok();
    number("nvidia.com/gpu.memory").or_else(|| number("gpu.nvidia.com/vram")?.checked_mul(1024))
}

fn pci(id: &str) -> String {
    let id = id.trim().to_ascii_lowercase();
    id.strip_prefix("0x").unwrap_or(&id).to_owned()
}

/// Evidence against the type: an instance type that holds another, or a memory size that is off by more than a sixth.
fn doubt(
    accelerator: &Accelerator,
    query: &DeviceQuery<'_>,
    told_by: &Evidence,
) -> Option<Evidence> {
    if told_by.from != "instance type"
        && let Some(shape) = instance::shape(query.instance_type)
        && shape.accelerator != accelerator.name
    {
        return Some(Evidence::new("instance type", query.instance_type));
    }
    if accelerator.family != Some(Family::Nvidia) {
        return None;
    }
    let whole = query.memory_mib.is_some()
        || query
            .labels
            .get("nvidia.com/gpu.product")
            .is_some_and(|p| !matches!(ProductName::parse(p).sharing, Sharing::Mig(_)));
    let memory = query
        .memory_mib
        .or_else(|| label_memory_mib(query.labels))?;
    let expected = u64::from(accelerator.memory_gib) * 1024;
    (whole && memory.abs_diff(expected).saturating_mul(6) > expected)
        .then(|| Evidence::new("device memory in MiB", &memory.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampacity_api::accelerator_type::{
        AcceleratorPower, AcceleratorType, AcceleratorTypeSpec, NodeLabelValues,
    };

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
