//! The built-in types and instances, parsed once.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use ampacity_placement::Watts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::accelerator::{Accelerator, AcceleratorPower, WattsBasis};
use crate::instance::InstanceShape;
use crate::vendor::Family;

const ACCELERATORS: &str = include_str!("../data/accelerators.csv");
const INSTANCES: &str = include_str!("../data/instances.csv");

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
    /// By instance type in lower case.
    pub(crate) instances: HashMap<String, InstanceShape>,
}

/// The built-in data. A row that cannot be read is left out; a test holds the files to having none.
pub(crate) fn data() -> &'static Builtin {
    static DATA: LazyLock<Builtin> = LazyLock::new(|| {
        let accelerators = rows::<AcceleratorRow>(ACCELERATORS)
            .flatten()
            .map(|row| (row.name.clone(), accelerator(row)))
            .collect();
        let instances = rows::<InstanceRow>(INSTANCES)
            .flatten()
            .map(|row| (row.instance_type.to_ascii_lowercase(), instance(row)))
            .collect();
        Builtin {
            accelerators,
            instances,
        }
    });
    &DATA
}

/// What an instance type holds. Upper and lower case are the same; an unknown one is `None`.
pub(crate) fn shape(instance_type: &str) -> Option<&'static InstanceShape> {
    data().instances.get(&instance_type.to_ascii_lowercase())
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
    let family = Family::of_type(&row.vendor, &row.name);
    Accelerator {
        resource_names: family.map(|f| f.requestable()).unwrap_or_default(),
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

fn instance(row: InstanceRow) -> InstanceShape {
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
    use crate::names;

    #[test]
    fn every_row_is_read_and_names_a_type_that_exists() {
        let lines = |text: &str| text.lines().count() - 1;
        let data = data();
        assert_eq!(data.accelerators.len(), lines(ACCELERATORS));
        assert_eq!(
            data.instances.len(),
            lines(INSTANCES),
            "no instance type stands twice"
        );
        for row in names::rows() {
            assert!(
                data.accelerators.contains_key(&row.accelerator),
                "{}",
                row.accelerator
            );
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
}
