//! Device families: which extended resources, DRA drivers and taints belong to the same silicon.

/// Devices that are found and asked for in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// NVIDIA GPUs.
    Nvidia,
    /// AMD Instinct and Radeon GPUs.
    Amd,
    /// Intel Gaudi.
    Gaudi,
    /// Intel GPUs.
    IntelGpu,
    /// AWS Trainium and Inferentia.
    Neuron,
    /// Google TPUs.
    Tpu,
    /// Qualcomm Cloud AI.
    Qualcomm,
    /// Huawei Ascend.
    Ascend,
    /// Cambricon MLU.
    Cambricon,
    /// Hygon DCU.
    Hygon,
    /// Iluvatar CoreX.
    Iluvatar,
    /// MetaX.
    Metax,
}

/// What one unit of an extended resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// A whole device.
    Device,
    /// A whole device under a second name; counted only where the first name is absent.
    DeviceAlias,
    /// A core of a device (NeuronCore).
    Core,
    /// A time slice or an MPS client of a device.
    TimeSlice,
    /// A hardware partition: a MIG instance, an AMD partition, a vNPU.
    Partition,
    /// A virtual GPU of a sharing layer (HAMi, Volcano).
    VirtualGpu,
    /// Memory, cores in percent or monitoring handles of a sharing layer: never devices.
    Measure,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 12] = [
        Self::Nvidia,
        Self::Amd,
        Self::Gaudi,
        Self::IntelGpu,
        Self::Neuron,
        Self::Tpu,
        Self::Qualcomm,
        Self::Ascend,
        Self::Cambricon,
        Self::Hygon,
        Self::Iluvatar,
        Self::Metax,
    ];

    /// The vendor's name, as AcceleratorType writes it.
    pub fn vendor(self) -> &'static str {
        match self {
            Self::Nvidia => "nvidia",
            Self::Amd => "amd",
            Self::Gaudi | Self::IntelGpu => "intel",
            Self::Neuron => "aws",
            Self::Tpu => "google",
            Self::Qualcomm => "qualcomm",
            Self::Ascend => "huawei",
            Self::Cambricon => "cambricon",
            Self::Hygon => "hygon",
            Self::Iluvatar => "iluvatar",
            Self::Metax => "metax",
        }
    }

    /// Extended resources of whole devices, the preferred one first.
    pub fn resources(self) -> &'static [&'static str] {
        match self {
            Self::Nvidia => &["nvidia.com/gpu"],
            Self::Amd => &["amd.com/gpu"],
            Self::Gaudi => &["habana.ai/gaudi"],
            Self::IntelGpu => &["gpu.intel.com/i915", "gpu.intel.com/xe"],
            Self::Neuron => &["aws.amazon.com/neuron", "aws.amazon.com/neurondevice"],
            Self::Tpu => &["google.com/tpu"],
            Self::Qualcomm => &["qualcomm.com/qaic"],
            Self::Ascend => &["huawei.com/Ascend910"],
            Self::Cambricon => &["cambricon.com/mlu"],
            Self::Hygon => &["hygon.com/dcunum"],
            Self::Iluvatar => &["iluvatar.ai/gpu"],
            Self::Metax => &["metax-tech.com/gpu"],
        }
    }

    /// DRA drivers; the device class of a whole device has the driver's name.
    pub fn dra_drivers(self) -> &'static [&'static str] {
        match self {
            Self::Nvidia => &["gpu.nvidia.com"],
            Self::Amd => &["gpu.amd.com"],
            Self::Gaudi => &["gaudi.intel.com"],
            Self::IntelGpu => &["gpu.intel.com"],
            Self::Neuron => &["neuron.aws.com"],
            Self::Tpu => &["tpu.google.com"],
            Self::Qualcomm
            | Self::Ascend
            | Self::Cambricon
            | Self::Hygon
            | Self::Iluvatar
            | Self::Metax => &[],
        }
    }

    /// Taint keys that mark nodes of this family; pods made for its devices tolerate them.
    pub fn taint_keys(self) -> &'static [&'static str] {
        match self {
            Self::Nvidia => &["nvidia.com/gpu"],
            Self::Amd => &["amd.com/gpu"],
            Self::Gaudi => &["habana.ai/gaudi"],
            Self::IntelGpu => &["gpu.intel.com/i915", "gpu.intel.com/xe"],
            Self::Neuron => &[
                "aws.amazon.com/neuron",
                "aws.amazon.com/neuroncore",
                "aws.amazon.com/neurondevice",
            ],
            Self::Tpu => &["google.com/tpu"],
            Self::Qualcomm => &["qualcomm.com/qaic"],
            Self::Ascend => &["huawei.com/Ascend910"],
            Self::Cambricon => &["cambricon.com/mlu"],
            Self::Hygon => &["hygon.com/dcunum"],
            Self::Iluvatar => &["iluvatar.ai/gpu"],
            Self::Metax => &["metax-tech.com/gpu"],
        }
    }
}

/// What an extended resource counts, or `None` where it is no accelerator (`cpu`, `rdma/ib`, `vpc.amazonaws.com/efa`).
pub fn resource_unit(resource: &str) -> Option<(Family, Unit)> {
    let (domain, name) = resource.split_once('/')?;
    Some(match (domain, name) {
        ("nvidia.com", "gpu") => (Family::Nvidia, Unit::Device),
        ("nvidia.com", "gpu.shared") => (Family::Nvidia, Unit::TimeSlice),
        ("nvidia.com", "gpumem" | "gpumem-percentage" | "gpucores" | "priority") => {
            (Family::Nvidia, Unit::Measure)
        }
        ("nvidia.com", n) if n.starts_with("mig-") => (Family::Nvidia, Unit::Partition),
        ("nvidia.com", n) if is_vgpu_resource(n) => (Family::Nvidia, Unit::VirtualGpu),
        ("volcano.sh", "vgpu-number") => (Family::Nvidia, Unit::VirtualGpu),
        ("volcano.sh", n) if n.starts_with("vgpu-") => (Family::Nvidia, Unit::Measure),
        ("volcano.sh", n) if n.starts_with("gpu-") => (Family::Nvidia, Unit::Measure),
        ("aliyun.com", "gpu-count") => (Family::Nvidia, Unit::VirtualGpu),
        ("aliyun.com", n) if n.starts_with("gpu-") => (Family::Nvidia, Unit::Measure),
        ("tencent.com", n) if n.starts_with("vcuda-") => (Family::Nvidia, Unit::Measure),
        ("amd.com", "gpu") => (Family::Amd, Unit::Device),
        ("amd.com", n) if n.starts_with("spx_") => (Family::Amd, Unit::Device),
        ("amd.com", n) if is_amd_partition(n) => (Family::Amd, Unit::Partition),
        ("amd.com", "gpumem" | "gpucores") => (Family::Amd, Unit::Measure),
        ("habana.ai", "gaudi" | "gaudi2" | "gaudi3" | "goya") => (Family::Gaudi, Unit::Device),
        ("gpu.intel.com", "i915" | "xe") => (Family::IntelGpu, Unit::Device),
        ("gpu.intel.com", n) if n.ends_with("_monitoring") => (Family::IntelGpu, Unit::Measure),
        ("gpu.intel.com", "millicores" | "memory.max" | "tiles") => {
            (Family::IntelGpu, Unit::Measure)
        }
        ("aws.amazon.com", "neuron") => (Family::Neuron, Unit::Device),
        ("aws.amazon.com", "neurondevice") => (Family::Neuron, Unit::DeviceAlias),
        ("aws.amazon.com", "neuroncore") => (Family::Neuron, Unit::Core),
        ("google.com", "tpu") => (Family::Tpu, Unit::Device),
        ("qualcomm.com", "qaic") => (Family::Qualcomm, Unit::Device),
        ("huawei.com", "Ascend910" | "Ascend310" | "Ascend310P" | "npu") => {
            (Family::Ascend, Unit::Device)
        }
        ("huawei.com", n) if n.ends_with("-memory") => (Family::Ascend, Unit::Measure),
        ("huawei.com", n) if n.starts_with("Ascend") && n.contains('-') => {
            (Family::Ascend, Unit::Partition)
        }
        // HAMi's typed names (Ascend910B4) count shares, not chips.
        ("huawei.com", n) if n.starts_with("Ascend") => (Family::Ascend, Unit::VirtualGpu),
        ("cambricon.com", "mlu") => (Family::Cambricon, Unit::Device),
        ("cambricon.com", "vmlu") => (Family::Cambricon, Unit::VirtualGpu),
        ("cambricon.com", n) if n.contains(".smlu.") => (Family::Cambricon, Unit::Measure),
        ("cambricon.com", n) if n.starts_with("mlu") => (Family::Cambricon, Unit::Device),
        ("hygon.com", "dcunum") => (Family::Hygon, Unit::Device),
        ("hygon.com", n) if n.starts_with("dcu") => (Family::Hygon, Unit::Measure),
        ("iluvatar.ai", "gpu" | "vgpu") => (Family::Iluvatar, Unit::Device),
        ("iluvatar.ai", _) => (Family::Iluvatar, Unit::Measure),
        ("metax-tech.com", "gpu") => (Family::Metax, Unit::Device),
        ("metax-tech.com", "sgpu") => (Family::Metax, Unit::VirtualGpu),
        ("metax-tech.com", _) => (Family::Metax, Unit::Measure),
        _ => return None,
    })
}

/// The family of an extended resource, a DRA driver or a DRA device class.
pub fn family_of(resource_or_driver: &str) -> Option<Family> {
    if let Some((family, _)) = resource_unit(resource_or_driver) {
        return Some(family);
    }
    Family::ALL
        .into_iter()
        .find(|family| family.dra_drivers().contains(&resource_or_driver))
}

/// KubeVirt's vGPU resources carry the profile: `nvidia.com/GRID_A100-4C`, `nvidia.com/NVIDIA_A16-4Q`.
fn is_vgpu_resource(name: &str) -> bool {
    name.starts_with("GRID_") || name.starts_with("NVIDIA_") || name == "vgpu"
}

/// AMD's names under the `mixed` naming strategy: `cpx_nps1`, `dpx_nps2`.
fn is_amd_partition(name: &str) -> bool {
    ["cpx_", "dpx_", "qpx_", "tpx_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_of_the_same_silicon_share_a_family() {
        let cases = [
            ("nvidia.com/gpu", Some((Family::Nvidia, Unit::Device))),
            (
                "nvidia.com/gpu.shared",
                Some((Family::Nvidia, Unit::TimeSlice)),
            ),
            (
                "nvidia.com/mig-1g.5gb",
                Some((Family::Nvidia, Unit::Partition)),
            ),
            ("nvidia.com/mlnxnics", None),
            (
                "volcano.sh/vgpu-number",
                Some((Family::Nvidia, Unit::VirtualGpu)),
            ),
            (
                "volcano.sh/vgpu-cores",
                Some((Family::Nvidia, Unit::Measure)),
            ),
            ("amd.com/spx_nps1", Some((Family::Amd, Unit::Device))),
            ("amd.com/cpx_nps4", Some((Family::Amd, Unit::Partition))),
            (
                "gpu.intel.com/i915_monitoring",
                Some((Family::IntelGpu, Unit::Measure)),
            ),
            (
                "aws.amazon.com/neuroncore",
                Some((Family::Neuron, Unit::Core)),
            ),
            (
                "aws.amazon.com/neurondevice",
                Some((Family::Neuron, Unit::DeviceAlias)),
            ),
            ("huawei.com/Ascend910", Some((Family::Ascend, Unit::Device))),
            (
                "huawei.com/Ascend910-5c.1cpu.8g",
                Some((Family::Ascend, Unit::Partition)),
            ),
            (
                "huawei.com/Ascend910B4",
                Some((Family::Ascend, Unit::VirtualGpu)),
            ),
            (
                "huawei.com/Ascend910B4-memory",
                Some((Family::Ascend, Unit::Measure)),
            ),
            ("vpc.amazonaws.com/efa", None),
            ("cpu", None),
        ];
        for (resource, expected) in cases {
            assert_eq!(resource_unit(resource), expected, "{resource}");
        }
        assert_eq!(family_of("gpu.nvidia.com"), Some(Family::Nvidia));
        assert_eq!(family_of("dra.net"), None);
        assert_eq!(family_of("compute-domain.nvidia.com"), None);
    }
}
