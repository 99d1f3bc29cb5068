//! Clusters, nodes, devices and their prices.

use std::collections::BTreeMap;
use std::fmt;

use super::{DevicePart, DeviceShare, Labels, MicroUsd, Taint, Watts};

/// How capacity is paid for and whether it may be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CapacityType {
    /// Own hardware: priced per device and hour, plus electricity.
    Owned,
    /// Paid for in advance.
    Reserved,
    /// Cheap, and may be interrupted.
    Spot,
    /// List price, no commitment.
    OnDemand,
}

impl CapacityType {
    /// Every capacity type.
    pub const ALL: [Self; 4] = [Self::Owned, Self::Reserved, Self::Spot, Self::OnDemand];

    /// The name used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owned => "Owned",
            Self::Reserved => "Reserved",
            Self::Spot => "Spot",
            Self::OnDemand => "OnDemand",
        }
    }
}

/// Levels of the topology tree, tightest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// One node.
    Node,
    /// Nodes joined by the accelerators' own fabric (NVL72 rack, UltraServer, TPU slice).
    NvlinkDomain,
    /// One rack.
    Rack,
    /// One network block.
    Block,
    /// One availability zone.
    Zone,
    /// One cluster: always known, and the widest a gang may span.
    Cluster,
}

impl Level {
    /// Every level, tightest first.
    pub const ALL: [Self; 6] = [
        Self::Node,
        Self::NvlinkDomain,
        Self::Rack,
        Self::Block,
        Self::Zone,
        Self::Cluster,
    ];

    /// The name used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "Node",
            Self::NvlinkDomain => "NvlinkDomain",
            Self::Rack => "Rack",
            Self::Block => "Block",
            Self::Zone => "Zone",
            Self::Cluster => "Cluster",
        }
    }
}

/// Facts about one accelerator type that the engine needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcceleratorFacts {
    /// Name, such as `nvidia-h100-sxm5-80gb`.
    pub name: String,
    /// Vendor, such as `nvidia`.
    pub vendor: String,
    /// Memory of one device in GiB, rounded down.
    pub memory_gib: u32,
    /// Dense BF16 peak of one device in TFLOPS.
    pub bf16_tflops: u32,
    /// Power cap of one device when nothing else is asked for.
    pub default_watts: Watts,
    /// Host power (CPU, memory, fans, NICs, conversion loss) that comes with one device in use.
    pub host_overhead_watts: Watts,
}

impl AcceleratorFacts {
    /// Watts reserved for one device in use: its cap plus its share of the host.
    pub fn watts_in_use(&self) -> Watts {
        self.default_watts + self.host_overhead_watts
    }
}

/// One cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterSpec {
    /// Name of the MemberCluster.
    pub name: String,
    /// Its labels, for `clusterSelector`.
    pub labels: Labels,
    /// Provider, such as `aws` or `onprem`.
    pub provider: String,
    /// Region in the provider's words.
    pub region: String,
    /// Whether new work may be placed there now.
    pub reachable: bool,
    /// Namespaces whose jobs may run there; empty allows all.
    pub allowed_namespaces: Vec<String>,
}

/// A countable resource of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// What pods may use in all (allocatable).
    pub total: u64,
    /// What pods that hold no reservation here use.
    pub held: u64,
}

/// The devices of a node, or the parts of devices, that are asked for in one way.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceGroup {
    /// Accelerator type of every device in the group.
    pub accelerator_type: String,
    /// How a pod asks for one (extended resource name or DRA device class): opaque to the engine, equal within a pool.
    pub resource: String,
    /// What one unit is: a whole device or a part of one.
    pub part: DevicePart,
    /// The share of a device that one unit is charged, in dollars and watts. A whole device is always charged whole.
    pub share: DeviceShare,
    /// Healthy, allocatable units.
    pub devices: u32,
    /// Units held by pods that hold no reservation here.
    pub held: u32,
    /// Units beside `devices` that are there and that no pod can be given.
    pub unusable: u32,
    /// Why they are not usable, in words; equal words on several nodes are counted together.
    pub unusable_why: String,
    /// Whether the units of a node go to one replica, all of them or none: a TPU VM, whose chips are one machine to its runtime.
    pub whole_node: bool,
    /// Devices of this type on the node, whole ones and those in parts, over which the node's price is shared out. 0: as many
    /// as its groups of the type add up to.
    pub node_devices: u32,
    /// Taint keys that the pods made for this device tolerate by themselves.
    pub taint_keys: Vec<String>,
}

/// What one node costs. Without a node price and without a device price the node is unpriced.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodePrice {
    /// Price of the whole node per hour; a placement pays the share of the devices (or of parts of them) that it holds.
    pub usd_per_node_hour: Option<MicroUsd>,
    /// Price of one owned device per hour, without electricity.
    pub usd_per_device_hour: Option<MicroUsd>,
    /// Price of a kilowatt-hour; charged on the reserved watts × PUE where `usd_per_device_hour` is set.
    pub usd_per_kwh: MicroUsd,
    /// Power usage effectiveness of the site in millionths (1.2 is `1_200_000`).
    pub pue_micro: i64,
    /// Expected interruptions of one node per hour in millionths.
    pub interruptions_per_hour_micro: i64,
    /// Name of the PriceSheet the row came from.
    pub sheet: Option<String>,
}

impl NodePrice {
    /// Whether no price is known.
    pub fn is_unpriced(&self) -> bool {
        self.usd_per_node_hour.is_none() && self.usd_per_device_hour.is_none()
    }
}

/// Why a node takes no new work although it exists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeFault {
    /// `spec.unschedulable`.
    Cordoned,
    /// The kubelet is not ready.
    NotReady,
    /// A device or the node is reported unhealthy; the text names the condition.
    Unhealthy(String),
    /// It is being deleted or drained.
    Terminating,
}

impl fmt::Display for NodeFault {
    /// In words, such as stand in a verdict.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cordoned => "cordoned",
            Self::NotReady => "not ready",
            Self::Unhealthy(why) => why,
            Self::Terminating => "being drained or deleted",
        })
    }
}

/// One node with what it offers and what others hold of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSpec {
    /// Cluster it belongs to.
    pub cluster: String,
    /// Name, unique in its cluster.
    pub name: String,
    /// Instance type; empty where unknown.
    pub instance_type: String,
    /// Zone; empty where unknown.
    pub zone: String,
    /// Region; empty: the cluster's.
    pub region: String,
    /// How it is paid for.
    pub capacity_type: Option<CapacityType>,
    /// Its devices by type and part; almost always one group.
    pub devices: Vec<DeviceGroup>,
    /// CPU in millicores.
    pub cpu_milli: Amount,
    /// Memory in MiB.
    pub memory_mib: Amount,
    /// Pods.
    pub pod_slots: Amount,
    /// Other countable resources by name (`vpc.amazonaws.com/efa`, `hugepages-2Mi`, `ephemeral-storage`), in units or bytes. Of one
    /// that is not listed there is nothing.
    pub other: BTreeMap<String, Amount>,
    /// Labels.
    pub labels: Labels,
    /// Taints.
    pub taints: Vec<Taint>,
    /// Why it takes no new work, if so.
    pub fault: Option<NodeFault>,
    /// Topology domain per level between Node and Cluster, where known. Names are unique within the cluster and level. An empty
    /// zone is one that is not known, whatever `zone` says.
    pub domains: BTreeMap<Level, String>,
    /// Power domains that feed the node directly.
    pub feeds: Vec<String>,
    /// Price.
    pub price: NodePrice,
}
