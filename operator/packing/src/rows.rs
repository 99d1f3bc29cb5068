//! Nodes and tasks as a trace lists them.

/// One node with up to [`MAX_DEVICES`](super::MAX_DEVICES) equal devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// Unique within the fleet.
    pub name: String,
    /// CPU in thousandths of a virtual core.
    pub cpu_milli: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Whole devices.
    pub devices: u8,
    /// Device model, empty when the node has no devices.
    pub model: String,
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRow {
    /// Unique within the list; the protocol sorts by it.
    pub name: String,
    /// CPU in thousandths of a virtual core.
    pub cpu_milli: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Devices asked for; 0 for a task that needs CPU and memory only.
    pub devices: u8,
    /// Share of each device in thousandths; below 1000 only with one device.
    pub device_milli: u16,
    /// Models that will do; empty means any.
    pub models: Vec<String>,
}
