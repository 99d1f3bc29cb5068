//! Vendors: one file each, with everything that only this vendor has.
//!
//! ```text
//!  nvidia.rs, amd.rs, …  what a vendor has, as `FamilyFacts` (facts.rs)
//!           │
//!        FAMILIES        ◀── Family::all, resource_unit, family_of: how the rest of the product asks
//! ```
//!
//! To add a vendor: a file with its `mod` line, a line in [`FAMILIES`], and rows in `data/`. Nothing else lists vendors or their
//! strings.

mod amd;
pub(crate) mod aws;
mod cambricon;
pub(crate) mod facts;
mod google;
mod huawei;
mod hygon;
mod iluvatar;
mod intel;
mod metax;
pub(crate) mod nvidia;
mod qualcomm;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use self::facts::FamilyFacts;
use crate::resource::{Unit, has_form};

/// Every family, in the order in which a node's devices are listed.
static FAMILIES: &[FamilyFacts] = &[
    nvidia::GPUS,
    amd::GPUS,
    intel::GAUDI,
    intel::GPUS,
    aws::NEURONS,
    google::TPUS,
    qualcomm::CARDS,
    huawei::ASCENDS,
    cambricon::MLUS,
    hygon::DCUS,
    iluvatar::GPUS,
    metax::GPUS,
];

/// Kubernetes' own names for "a device of this class" (KEP-5004).
const OF_DEVICE_CLASS: &str = "deviceclass.resource.kubernetes.io/";

/// A family of devices that are found and asked for in the same way: one vendor's, or some of them. It stands for its
/// [`FamilyFacts`].
///
/// ```
/// use ampacity_catalog::{Family, Unit, resource_unit};
///
/// let (family, unit) = resource_unit("nvidia.com/mig-1g.5gb").ok_or("unknown")?;
/// assert_eq!((family.vendor, unit), ("nvidia", Unit::Partition));
/// assert_eq!(Family::of_type("intel", "intel-gaudi3-hl-325l").map(|f| f.name), Some("intel-gaudi"));
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy)]
pub struct Family {
    /// Place in [`FAMILIES`], by which families are the same and sorted.
    place: usize,
    facts: &'static FamilyFacts,
}

impl Family {
    /// Every family.
    pub fn all() -> impl Iterator<Item = Self> {
        FAMILIES
            .iter()
            .enumerate()
            .map(|(place, facts)| Self { place, facts })
    }

    /// The family of an accelerator type, by the vendor that AcceleratorType gives and its name.
    pub fn of_type(vendor: &str, accelerator_type: &str) -> Option<Self> {
        Self::all().find(|family| family.vendor == vendor && (family.has_type)(accelerator_type))
    }
}

impl Deref for Family {
    type Target = FamilyFacts;

    fn deref(&self) -> &FamilyFacts {
        self.facts
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Family {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Family {}

impl PartialOrd for Family {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Family {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place.cmp(&other.place)
    }
}

impl Hash for Family {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place.hash(state);
    }
}

/// What an extended resource counts, or `None` where it is no accelerator (`cpu`, `rdma/ib`, `vpc.amazonaws.com/efa`).
pub fn resource_unit(resource: &str) -> Option<(Family, Unit)> {
    if !resource.contains('/') {
        return None;
    }
    Family::all().find_map(|family| {
        let (_, unit) = family
            .resources
            .iter()
            .find(|(form, _)| has_form(resource, form))?;
        Some((family, *unit))
    })
}

/// Whether an extended resource stands for an accelerator or a share of one, by any name that a vendor's file has, or for a
/// device of a DRA class. Network devices (`vpc.amazonaws.com/efa`, `rdma/…`, `nvidia.com/mlnxnics`) are none, and neither is
/// a handle to watch devices by (`gpu.intel.com/i915_monitoring`).
pub fn is_accelerator_resource(name: &str) -> bool {
    name.starts_with(OF_DEVICE_CLASS)
        || resource_unit(name).is_some_and(|(_, unit)| unit.is_of_a_device())
}

/// The family of an extended resource, a DRA driver or a DRA device class.
pub fn family_of(resource_or_driver: &str) -> Option<Family> {
    if let Some((family, _)) = resource_unit(resource_or_driver) {
        return Some(family);
    }
    Family::all().find(|family| {
        let classes = [family.dra.drivers, family.dra.part_classes];
        classes.iter().any(|of| of.contains(&resource_or_driver))
    })
}

/// The DRA driver whose pod on a node has this name.
pub fn driver_of_pod(name: &str) -> Option<&'static str> {
    Family::all().find_map(|family| {
        let mut pods = family.dra.pods.iter();
        let driver = family.dra.drivers.first().copied();
        driver.filter(|_| pods.any(|form| has_form(name, form)))
    })
}

/// Whether a container's message says that it did not start because it could not be given a device.
pub fn is_failed_device_start(message: &str) -> bool {
    !message.is_empty()
        && Family::all().any(|family| {
            let mut texts = family.failed_starts.iter();
            texts.any(|text| message.contains(text))
        })
}

/// Whether the key of a node's annotation says something to a vendor's file.
pub fn is_kept_annotation(key: &str) -> bool {
    Family::all().any(|family| {
        let mut kept = family.annotation_keys.iter();
        kept.any(|prefix| key.starts_with(prefix))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::Catalog;

    #[test]
    fn resources_of_the_same_silicon_share_a_family() {
        let cases = [
            ("nvidia.com/gpu", Some(("nvidia", Unit::Device))),
            ("nvidia.com/gpu.shared", Some(("nvidia", Unit::TimeSlice))),
            ("nvidia.com/mig-1g.5gb", Some(("nvidia", Unit::Partition))),
            ("nvidia.com/mlnxnics", None),
            ("nvidia.com/pgpu", Some(("nvidia", Unit::PassedThrough))),
            (
                "nvidia.com/GA102GL_A10",
                Some(("nvidia", Unit::PassedThrough)),
            ),
            (
                "nvidia.com/TU104GL_Tesla_T4",
                Some(("nvidia", Unit::PassedThrough)),
            ),
            ("volcano.sh/vgpu-number", Some(("nvidia", Unit::VirtualGpu))),
            ("volcano.sh/vgpu-cores", Some(("nvidia", Unit::Measure))),
            ("amd.com/spx_nps1", Some(("amd", Unit::DeviceAlias))),
            ("amd.com/cpx_nps4", Some(("amd", Unit::Partition))),
            (
                "gpu.intel.com/i915_monitoring",
                Some(("intel-gpu", Unit::Monitor)),
            ),
            (
                "aws.amazon.com/neuroncore",
                Some(("aws-neuron", Unit::Core)),
            ),
            (
                "aws.amazon.com/neurondevice",
                Some(("aws-neuron", Unit::DeviceAlias)),
            ),
            (
                "huawei.com/Ascend910",
                Some(("huawei-ascend", Unit::Device)),
            ),
            (
                "huawei.com/Ascend910-5c.1cpu.8g",
                Some(("huawei-ascend", Unit::Partition)),
            ),
            (
                "huawei.com/Ascend910B4",
                Some(("huawei-ascend", Unit::VirtualGpu)),
            ),
            (
                "huawei.com/Ascend910B4-memory",
                Some(("huawei-ascend", Unit::Measure)),
            ),
            ("vpc.amazonaws.com/efa", None),
            ("cpu", None),
        ];
        for (resource, expected) in cases {
            let seen = resource_unit(resource).map(|(family, unit)| (family.name, unit));
            assert_eq!(seen, expected, "{resource}");
        }
        let name = |of: &str| family_of(of).map(|family| family.name);
        assert_eq!(name("gpu.nvidia.com"), Some("nvidia"));
        assert_eq!(name("mig.nvidia.com"), Some("nvidia"));
        assert_eq!(name("dra.net"), None);
        assert_eq!(name("compute-domain.nvidia.com"), None);
    }

    #[test]
    fn a_resource_of_a_vendor_is_an_accelerator_to_all() {
        // Names that one of two tables used to lack.
        let cases = [
            ("nvidia.com/priority", Unit::Measure),
            ("nvidia.com/GRID_A100-4C", Unit::VirtualGpu),
            ("nvidia.com/NVIDIA_A16-4Q", Unit::VirtualGpu),
            ("nvidia.com/gpu.large", Unit::Unlisted),
            ("nvidia.com/gpumem-percentage", Unit::Measure),
            ("nvidia.com/vgpu-large", Unit::Unlisted),
            ("volcano.sh/gpu-memory", Unit::Measure),
            ("aliyun.com/gpu-count", Unit::VirtualGpu),
            ("aliyun.com/gpu-mem", Unit::Measure),
            ("tencent.com/vcuda-core", Unit::Measure),
            ("amd.com/gpumem", Unit::Measure),
            ("amd.com/gpucores", Unit::Measure),
            ("habana.ai/gaudi2", Unit::Device),
            ("habana.ai/gaudi3", Unit::Device),
            ("habana.ai/goya", Unit::Device),
            ("gpu.intel.com/millicores", Unit::Measure),
            ("gpu.intel.com/sriov-gpudevice", Unit::Unlisted),
            ("aws.amazon.com/neuronx", Unit::Unlisted),
            ("qualcomm.com/qaic-ultra", Unit::Unlisted),
            ("huawei.com/npu", Unit::Device),
            ("huawei.com/npu-memory", Unit::Measure),
            ("cambricon.com/vmlu-large", Unit::Unlisted),
            ("cambricon.com/mlu.smlu.vcore", Unit::Measure),
            ("iluvatar.ai/BI-V150.vMem", Unit::Measure),
            ("metax-tech.com/vcore", Unit::Measure),
        ];
        for (resource, unit) in cases {
            assert_eq!(
                resource_unit(resource).map(|(_, unit)| unit),
                Some(unit),
                "{resource}"
            );
            assert!(is_accelerator_resource(resource), "{resource}");
        }
    }

    #[test]
    fn pods_of_drivers_are_known_by_their_names() {
        let cases = [
            (
                "nvidia-dra-driver-gpu-kubelet-plugin-x7k2p",
                Some("gpu.nvidia.com"),
            ),
            (
                "dra-driver-nvidia-gpu-kubelet-plugin-x7k2p",
                Some("gpu.nvidia.com"),
            ),
            ("nvidia-dra-driver-gpu-controller-x7k2p", None),
            (
                "site-k8s-gpu-dra-driver-kubeletplugin-2",
                Some("gpu.amd.com"),
            ),
            (
                "intel-gpu-resource-driver-kubelet-plugin-2",
                Some("gpu.intel.com"),
            ),
            (
                "intel-gaudi-resource-driver-kubelet-plugin-2",
                Some("gaudi.intel.com"),
            ),
            (
                "neuron-dra-driver-kubelet-plugin-prfn4",
                Some("neuron.aws.com"),
            ),
            ("nvidia-device-plugin-daemonset-2", None),
            ("", None),
        ];
        for (name, driver) in cases {
            assert_eq!(driver_of_pod(name), driver, "{name}");
        }
    }

    #[test]
    fn every_form_of_a_name_is_reached_and_of_one_family() {
        for family in Family::all() {
            for (form, unit) in family.resources {
                let name = form.replace('*', "x");
                assert_eq!(resource_unit(&name), Some((family, *unit)), "{name}");
                assert_eq!(
                    is_accelerator_resource(&name),
                    *unit != Unit::Monitor,
                    "{name}"
                );
            }
            for name in family.device_resources {
                let unit = resource_unit(name).map(|(_, unit)| unit);
                assert!(
                    matches!(unit, Some(Unit::Device | Unit::DeviceAlias)),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn families_are_told_apart() {
        let names: BTreeSet<&str> = Family::all().map(|family| family.name).collect();
        assert_eq!(names.len(), Family::all().count());
        for family in Family::all() {
            assert!(!family.vendor.is_empty(), "{family:?}");
            for driver in family.dra.drivers {
                assert_eq!(family_of(driver), Some(family), "{driver}");
            }
            for condition in family.health.end_work {
                assert!(family.health.faults.contains(condition), "{condition}");
            }
        }
    }

    #[test]
    fn cores_are_known_of_types_that_exist() {
        let catalog = Catalog::builtin();
        for family in Family::all() {
            if let crate::rendezvous::Processes::PerCore(cores) = family.rendezvous.processes {
                for cores in cores.of_types {
                    let known = catalog.get(cores.accelerator_type);
                    let of = known.and_then(|accelerator| accelerator.family);
                    assert_eq!(of, Some(family), "{}", cores.accelerator_type);
                }
            }
        }
    }
}
