//! What a cloud instance type holds.

/// Devices, CPUs and memory of an instance type, as the provider lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceShape {
    /// Provider, such as `aws`.
    pub provider: String,
    /// Instance type, such as `p5.48xlarge`.
    pub instance_type: String,
    /// Accelerator type.
    pub accelerator: String,
    /// Whole devices; 0 where the instance gets a fraction of one.
    pub devices: u32,
    /// Virtual CPUs, where known.
    pub vcpus: Option<u32>,
    /// Memory in GiB, where known.
    pub memory_gib: Option<u32>,
}

impl InstanceShape {
    /// Whether the instance gets a fraction of a device (`g6f.large`, `Standard_NV6ads_A10_v5`).
    pub fn is_fractional(&self) -> bool {
        self.devices == 0
    }
}
