//! All accelerator types that are known: the built-in ones and those of AcceleratorType objects.

use std::collections::BTreeMap;

use ampacity_api::accelerator_type::{AcceleratorMatch, AcceleratorType};
use ampacity_placement::Watts;

use crate::accelerator::{Accelerator, AcceleratorPower, WattsBasis};
use crate::builtin;
use crate::instance::InstanceShape;
use crate::vendor::{Family, family_of};

/// Accelerator types by name, and how nodes show them.
///
/// ```
/// use ampacity_catalog::Catalog;
///
/// let catalog = Catalog::builtin();
/// let h100 = catalog.get("nvidia-h100-sxm5-80gb").map(|a| a.facts().watts_in_use().0);
/// assert_eq!(h100, Some(1275));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    types: BTreeMap<String, Accelerator>,
    /// `match` rules of AcceleratorType objects, the more specific first, then by name.
    pub(crate) rules: Vec<(String, AcceleratorMatch)>,
}

/// Something wrong with an AcceleratorType object. The object is used as far as it can be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogIssue {
    /// The object has no name.
    #[error("an AcceleratorType has no metadata.name and is ignored; give it one")]
    Unnamed,
    /// A number is outside of what can be.
    #[error(
        "AcceleratorType {name:?}: {field} is {value}, which cannot be; the nearest possible value is used, correct it"
    )]
    OutOfRange {
        /// Name of the object.
        name: String,
        /// The field.
        field: &'static str,
        /// Its value.
        value: i64,
    },
    /// A new type that no node can be recognised by.
    #[error(
        "AcceleratorType {name:?} is no built-in type and has no spec.match, so no node will be taken to have it; add spec.match"
    )]
    NoMatch {
        /// Name of the object.
        name: String,
    },
}

impl CatalogIssue {
    /// Name of the AcceleratorType, where it has one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Unnamed => None,
            Self::OutOfRange { name, .. } | Self::NoMatch { name } => Some(name),
        }
    }
}

impl Catalog {
    /// The built-in types alone.
    pub fn builtin() -> Self {
        Self {
            types: builtin::data().accelerators.clone(),
            rules: Vec::new(),
        }
    }

    /// The built-in types with those of `types` added.
    ///
    /// An object of a built-in type's name stands in its place as a whole: fields that it leaves out are not filled in from the
    /// built-in type, except that without `match` nodes are recognised by the built-in rules. A `match` always wins over
    /// built-in rules on the nodes that it fits; of several that fit a node, one with labels or instance types wins over one
    /// with neither, then the first by name.
    pub fn with_overrides<'a>(
        types: impl IntoIterator<Item = &'a AcceleratorType>,
    ) -> (Self, Vec<CatalogIssue>) {
        let mut catalog = Self::builtin();
        let mut issues = Vec::new();
        for object in types {
            catalog.add(object, &mut issues);
        }
        catalog
            .rules
            .sort_by(|(a, x), (b, y)| is_bare(x).cmp(&is_bare(y)).then_with(|| a.cmp(b)));
        (catalog, issues)
    }

    fn add(&mut self, object: &AcceleratorType, issues: &mut Vec<CatalogIssue>) {
        let Some(name) = object.metadata.name.clone().filter(|n| !n.is_empty()) else {
            issues.push(CatalogIssue::Unnamed);
            return;
        };
        let spec = &object.spec;
        let mut bounded = |field, value: i64, low: i64, high: i64| {
            if !(low..=high).contains(&value) {
                issues.push(CatalogIssue::OutOfRange {
                    name: name.clone(),
                    field,
                    value,
                });
            }
            value.clamp(low, high)
        };
        let power = &spec.power;
        // The bounds are those of the custom resource's schema; files do not pass through it.
        let accelerator_power = AcceleratorPower {
            default_watts: Watts(bounded(
                "power.defaultWatts",
                power.default_watts,
                1,
                1_000_000,
            )),
            min_cap_watts: power
                .min_cap_watts
                .map(|w| Watts(bounded("power.minCapWatts", w, 1, 1_000_000))),
            max_cap_watts: power
                .max_cap_watts
                .map(|w| Watts(bounded("power.maxCapWatts", w, 1, 1_000_000))),
            idle_watts: power
                .idle_watts
                .map(|w| Watts(bounded("power.idleWatts", w, 0, 1_000_000))),
            host_overhead_watts: Watts(bounded(
                "power.hostOverheadWatts",
                power.host_overhead_watts.unwrap_or_default(),
                0,
                1_000_000,
            )),
            default_basis: WattsBasis::User,
            overhead_basis: WattsBasis::User,
        };
        let memory_gib = bounded("memoryGib", spec.memory_gib, 1, 65_536);
        let bf16_tflops = bounded("bf16Tflops", spec.bf16_tflops, 1, 10_000_000);
        let devices_per_node = spec
            .devices_per_node
            .map(|n| bounded("devicesPerNode", n.into(), 1, 1024));
        let small = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
        let builtin = self.types.get(&name);
        if builtin.is_none() && spec.match_.is_none() {
            issues.push(CatalogIssue::NoMatch { name: name.clone() });
        }
        let family = spec
            .match_
            .iter()
            .flat_map(|m| &m.resource_names)
            .find_map(|resource| family_of(resource))
            .or_else(|| Family::of_type(&spec.vendor, &name));
        let resource_names = match &spec.match_ {
            Some(rule) => rule.resource_names.clone(),
            None => builtin.map_or_else(
                || family.map(|f| f.requestable()).unwrap_or_default(),
                |b| b.resource_names.clone(),
            ),
        };
        if let Some(rule) = &spec.match_ {
            self.rules.push((name.clone(), rule.clone()));
        }
        self.types.insert(
            name.clone(),
            Accelerator {
                vendor: spec.vendor.clone(),
                memory_gib: small(memory_gib),
                bf16_tflops: small(bf16_tflops),
                devices_per_node: devices_per_node.map(small),
                power: accelerator_power,
                resource_names,
                family,
                source: format!("AcceleratorType {name}"),
                name,
            },
        );
    }

    /// The type of this name.
    pub fn get(&self, name: &str) -> Option<&Accelerator> {
        self.types.get(name)
    }

    /// The family of a built-in type.
    pub fn builtin_family(name: &str) -> Option<Family> {
        builtin::data().accelerators.get(name)?.family
    }

    /// Every type, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Accelerator> {
        self.types.values()
    }

    /// The known name closest to `name`, for an error message; `None` where nothing is close. A name that a known one begins
    /// with (`nvidia-v100`) is close, and so is one with a few wrong letters.
    pub fn suggest(&self, name: &str) -> Option<&str> {
        let wanted = name.to_ascii_lowercase().replace([' ', '_'], "-");
        let begins =
            |known: &&String| known.starts_with(&wanted) || known.contains(&format!("-{wanted}"));
        if wanted.len() >= 2
            && let Some(known) = self.types.keys().find(begins)
        {
            return Some(known);
        }
        let limit = (wanted.len() / 4).max(2);
        self.types
            .keys()
            .map(|known| (edit_distance(known, &wanted), known))
            .filter(|(distance, _)| *distance <= limit)
            .min()
            .map(|(_, known)| known.as_str())
    }

    /// What a cloud instance type holds, where it is known. A user's `match.instanceTypes` wins over the built-in list for
    /// the accelerator type, and counts the type's `devicesPerNode` where the list has no such instance.
    pub fn instance(&self, instance_type: &str) -> Option<InstanceShape> {
        let known = builtin::shape(instance_type);
        let claimed = self.rules.iter().find(|(_, rule)| {
            rule.instance_types
                .iter()
                .any(|t| t.eq_ignore_ascii_case(instance_type))
        });
        let Some((name, _)) = claimed else {
            return known.cloned();
        };
        match known {
            Some(shape) => Some(InstanceShape {
                accelerator: name.clone(),
                ..shape.clone()
            }),
            None => Some(InstanceShape {
                provider: String::new(),
                instance_type: instance_type.to_owned(),
                accelerator: name.clone(),
                devices: self.get(name)?.devices_per_node?,
                vcpus: None,
                memory_gib: None,
            }),
        }
    }
}

/// Whether a rule looks at nothing but the resource.
fn is_bare(rule: &AcceleratorMatch) -> bool {
    rule.node_labels.is_empty() && rule.instance_types.is_empty()
}

/// Levenshtein distance in bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let substituted = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = substituted.min(*cell + 1).min(left + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampacity_api::accelerator_type::{AcceleratorPower as ApiPower, AcceleratorTypeSpec};

    fn object(name: &str, spec: AcceleratorTypeSpec) -> AcceleratorType {
        AcceleratorType::new(name, spec)
    }

    fn spec(watts: i64) -> AcceleratorTypeSpec {
        AcceleratorTypeSpec {
            vendor: "nvidia".into(),
            memory_gib: 80,
            bf16_tflops: 989,
            power: ApiPower {
                default_watts: watts,
                ..ApiPower::default()
            },
            ..AcceleratorTypeSpec::default()
        }
    }

    #[test]
    fn names_follow_the_vendor_and_device() {
        let catalog = Catalog::builtin();
        for name in [
            "nvidia-h100-sxm5-80gb",
            "nvidia-l40s",
            "nvidia-gb300",
            "amd-mi300x",
            "aws-trainium2",
            "google-tpu-v6e",
            "google-tpu7x",
            "intel-gaudi3-hl-325l",
            "nvidia-t4",
        ] {
            assert!(catalog.get(name).is_some(), "{name}");
        }
        assert!(catalog.iter().count() >= 40);
    }

    #[test]
    fn a_gang_of_32_h100_reserves_40800_watts() {
        let catalog = Catalog::builtin();
        let h100 = catalog.get("nvidia-h100-sxm5-80gb").unwrap();
        assert_eq!(h100.memory_gib, 80);
        assert_eq!(h100.facts().watts_in_use().0 * 32, 40_800);
    }

    #[test]
    fn an_object_stands_in_the_place_of_the_built_in_type() {
        let (catalog, issues) =
            Catalog::with_overrides([&object("nvidia-h100-sxm5-80gb", spec(600))]);
        let h100 = catalog.get("nvidia-h100-sxm5-80gb").unwrap();
        assert_eq!(h100.power.default_watts, Watts(600));
        assert_eq!(h100.power.host_overhead_watts, Watts(0));
        assert_eq!(h100.power.default_basis, WattsBasis::User);
        assert!(h100.resource_names.contains(&"nvidia.com/gpu".to_owned()));
        assert_eq!(issues, []);
    }

    #[test]
    fn nonsense_is_reported_and_bounded() {
        let (catalog, issues) = Catalog::with_overrides([&object("x-1", spec(-5))]);
        assert_eq!(catalog.get("x-1").unwrap().power.default_watts, Watts(1));
        assert_eq!(
            issues,
            [
                CatalogIssue::OutOfRange {
                    name: "x-1".into(),
                    field: "power.defaultWatts",
                    value: -5
                },
                CatalogIssue::NoMatch { name: "x-1".into() },
            ]
        );
    }

    #[test]
    fn suggestions_are_close() {
        let catalog = Catalog::builtin();
        let cases = [
            ("nvidia-h100-sxm5-80g", Some("nvidia-h100-sxm5-80gb")),
            ("nvidia-l4os", Some("nvidia-l40s")),
            ("h200", Some("nvidia-h200-nvl")),
            ("nvidia-v100", Some("nvidia-v100-pcie-16gb")),
            ("MI300X", Some("amd-mi300x")),
            ("trainium2", Some("aws-trainium2")),
            ("something-else-entirely", None),
        ];
        for (wanted, expected) in cases {
            assert_eq!(catalog.suggest(wanted), expected, "{wanted}");
        }
    }

    #[test]
    fn instance_types_are_known() {
        let catalog = Catalog::builtin();
        let shape = |t: &str| catalog.instance(t).map(|s| (s.accelerator, s.devices));
        assert_eq!(
            shape("p5.48xlarge"),
            Some(("nvidia-h100-sxm5-80gb".into(), 8))
        );
        assert_eq!(
            shape("Standard_ND96isr_MI300X_v5"),
            Some(("amd-mi300x".into(), 8))
        );
        assert_eq!(shape("trn2.48xlarge"), Some(("aws-trainium2".into(), 16)));
        assert_eq!(shape("g6f.large"), Some(("nvidia-l4".into(), 0)));
        assert_eq!(shape("m7i.large"), None);
    }
}
