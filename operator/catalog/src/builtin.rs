//! The built-in data, parsed once.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use ampacity_placement::Watts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::accelerator::{Accelerator, AcceleratorPower, WattsBasis};
use crate::family::Family;
use crate::instance::InstanceShape;

const ACCELERATORS: &str = include_str!("../data/accelerators.csv");
const NAMES: &str = include_str!("../data/names.csv");
const INSTANCES: &str = include_str!("../data/instances.csv");

/// Who gives a device a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum NameKind {
    /// `nvidia.com/gpu.product` and DRA `productName`, as [`crate::ProductName::base`].
    Product,
    /// `cloud.google.com/gke-accelerator`.
    Gke,
    /// `cloud.google.com/gke-tpu-accelerator`.
    GkeTpu,
    /// Karpenter's and EKS Auto Mode's GPU and accelerator names; `name:MiB` where one name covers several sizes.
    Aws,
    /// `gpu.nvidia.com/model` and `gpu.nvidia.com/class`.
    Coreweave,
    /// `amd.com/gpu.product-name` and DRA `productName`.
    AmdProduct,
    /// PCI device ids of AMD.
    AmdPci,
    /// PCI device ids of Intel GPUs.
    IntelPci,
    /// Gaudi model names and PCI device ids.
    Gaudi,
    /// `tpuGen` of the TPU driver.
    TpuGen,
}

#[derive(Deserialize)]
struct AcceleratorRow {
    name: String,
    vendor: String,
    memory_gib: u32,
    bf16_tflops: u32,
    default_watts: i64,
    min_cap_watts: Option<i64>,
    max_cap_watts: Option<i64>,
    idle_watts: Option<i64>,
    host_overhead_watts: i64,
    devices_per_node: u32,
    watts_basis: Basis,
    overhead_basis: Basis,
    source: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Basis {
    Sheet,
    System,
    Estimate,
}

#[derive(Deserialize)]
struct NameRow {
    kind: NameKind,
    value: String,
    accelerator: String,
}

#[derive(Deserialize)]
struct InstanceRow {
    provider: String,
    instance_type: String,
    accelerator: String,
    devices: u32,
    vcpus: Option<u32>,
    memory_gib: Option<f64>,
}

/// Everything built in.
pub(crate) struct Builtin {
    pub(crate) accelerators: BTreeMap<String, Accelerator>,
    names: HashMap<(NameKind, String), String>,
    /// By instance type in lower case.
    pub(crate) instances: HashMap<String, InstanceShape>,
}

impl Builtin {
    /// The accelerator type that `kind` calls `value`. `value` is written as in `data/names.csv` (upper case for products).
    pub(crate) fn named(&self, kind: NameKind, value: &str) -> Option<&str> {
        self.names
            .get(&(kind, value.to_owned()))
            .map(String::as_str)
    }

    /// As [`Self::named`] where one name covers several memory sizes: the one within 10 % of `memory_mib`.
    pub(crate) fn named_with_memory(
        &self,
        kind: NameKind,
        value: &str,
        memory_mib: Option<u64>,
    ) -> Option<&str> {
        if let Some(plain) = self.named(kind, value) {
            return Some(plain);
        }
        let wanted = memory_mib?;
        [16_384_u64, 32_768, 40_960, 81_920]
            .into_iter()
            .filter(|size| wanted.abs_diff(*size) <= *size / 10)
            .find_map(|size| self.named(kind, &format!("{value}:{size}")))
    }
}

/// The built-in data. A row that cannot be read is left out; a test holds the files to having none.
pub(crate) fn data() -> &'static Builtin {
    static DATA: LazyLock<Builtin> = LazyLock::new(|| {
        let accelerators = rows::<AcceleratorRow>(ACCELERATORS)
            .flatten()
            .map(|row| (row.name.clone(), accelerator(row)))
            .collect();
        let names = rows::<NameRow>(NAMES)
            .flatten()
            .map(|row| ((row.kind, row.value), row.accelerator))
            .collect();
        let instances = rows::<InstanceRow>(INSTANCES)
            .flatten()
            .map(|row| (row.instance_type.to_ascii_lowercase(), shape(row)))
            .collect();
        Builtin {
            accelerators,
            names,
            instances,
        }
    });
    &DATA
}

fn rows<T: DeserializeOwned>(text: &'static str) -> impl Iterator<Item = Result<T, csv::Error>> {
    csv::Reader::from_reader(text.as_bytes()).into_deserialize()
}

fn accelerator(row: AcceleratorRow) -> Accelerator {
    let basis = |basis| match basis {
        Basis::Sheet => WattsBasis::Sheet,
        Basis::System => WattsBasis::System,
        Basis::Estimate => WattsBasis::Estimate,
    };
    let family = family_of_type(&row.vendor, &row.name);
    Accelerator {
        resource_names: resource_names(family),
        family,
        name: row.name,
        vendor: row.vendor,
        memory_gib: row.memory_gib,
        bf16_tflops: row.bf16_tflops,
        devices_per_node: Some(row.devices_per_node),
        power: AcceleratorPower {
            default_watts: Watts(row.default_watts),
            min_cap_watts: row.min_cap_watts.map(Watts),
            max_cap_watts: row.max_cap_watts.map(Watts),
            idle_watts: row.idle_watts.map(Watts),
            host_overhead_watts: Watts(row.host_overhead_watts),
            default_basis: basis(row.watts_basis),
            overhead_basis: basis(row.overhead_basis),
        },
        source: row.source,
    }
}

/// The family of a type by vendor; Intel has two, told apart by the name.
pub(crate) fn family_of_type(vendor: &str, name: &str) -> Option<Family> {
    match vendor {
        "nvidia" => Some(Family::Nvidia),
        "amd" => Some(Family::Amd),
        "intel" if name.contains("gaudi") => Some(Family::Gaudi),
        "intel" => Some(Family::IntelGpu),
        "aws" => Some(Family::Neuron),
        "google" => Some(Family::Tpu),
        "qualcomm" => Some(Family::Qualcomm),
        "huawei" => Some(Family::Ascend),
        "cambricon" => Some(Family::Cambricon),
        _ => None,
    }
}

/// Names under which whole devices of a family are asked for: extended resources, then DRA device classes.
pub(crate) fn resource_names(family: Option<Family>) -> Vec<String> {
    let Some(family) = family else {
        return Vec::new();
    };
    family
        .resources()
        .iter()
        .chain(family.dra_drivers())
        .map(|name| (*name).to_owned())
        .collect()
}

fn shape(row: InstanceRow) -> InstanceShape {
    InstanceShape {
        provider: row.provider,
        instance_type: row.instance_type,
        accelerator: row.accelerator,
        devices: row.devices,
        vcpus: row.vcpus,
        memory_gib: row.memory_gib.map(|gib| gib.floor() as u32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_tells_sizes_apart_whatever_number_stands_there() {
        let named = |mib| data().named_with_memory(NameKind::Aws, "a100", mib);
        let table = [
            (Some(40_960), Some("nvidia-a100-sxm4-40gb")),
            (Some(40_960 - 4096), Some("nvidia-a100-sxm4-40gb")),
            (Some(40_960 - 4097), None),
            (Some(81_920 + 8192), Some("nvidia-a100-sxm4-80gb")),
            (Some(u64::MAX), None),
            (Some(0), None),
            (None, None),
        ];
        for (mib, expected) in table {
            assert_eq!(named(mib), expected, "{mib:?}");
        }
    }

    #[test]
    fn every_row_is_read_and_names_a_type_that_exists() {
        let lines = |text: &str| text.lines().count() - 1;
        let data = data();
        assert_eq!(data.accelerators.len(), lines(ACCELERATORS));
        assert_eq!(data.names.len(), lines(NAMES), "no spelling stands twice");
        assert_eq!(
            data.instances.len(),
            lines(INSTANCES),
            "no instance type stands twice"
        );
        for name in data.names.values() {
            assert!(data.accelerators.contains_key(name), "{name}");
        }
        for shape in data.instances.values() {
            assert!(
                data.accelerators.contains_key(&shape.accelerator),
                "{shape:?}"
            );
        }
    }

    #[test]
    fn facts_are_plausible_and_sourced() {
        for a in data().accelerators.values() {
            let power = &a.power;
            assert!(!a.source.is_empty(), "{}", a.name);
            assert!((1..=512).contains(&a.memory_gib), "{}", a.name);
            assert!((30..=2000).contains(&power.default_watts.0), "{}", a.name);
            assert!(power.host_overhead_watts.0 > 0, "{}", a.name);
            let min = power.min_cap_watts.unwrap_or(Watts(1));
            assert!(min <= power.default_watts, "{}", a.name);
            assert!(
                power.max_cap_watts.unwrap_or(Watts::MAX) >= min,
                "{}",
                a.name
            );
            assert!(
                power.idle_watts.unwrap_or_default() < power.default_watts,
                "{}",
                a.name
            );
            assert!(a.name.starts_with(&a.vendor), "{}", a.name);
        }
    }

    #[test]
    fn an_ambiguous_name_needs_the_memory() {
        let a100 = |memory| data().named_with_memory(NameKind::Aws, "a100", memory);
        assert_eq!(a100(Some(40_960)), Some("nvidia-a100-sxm4-40gb"));
        assert_eq!(a100(Some(81_920)), Some("nvidia-a100-sxm4-80gb"));
        assert_eq!(a100(None), None);
        assert_eq!(a100(Some(12)), None);
    }
}
