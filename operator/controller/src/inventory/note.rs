//! What the inventory has to say about a node.

use std::fmt;

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoteReason {
    /// The node has no name.
    Unnamed,
    /// A number cannot be read or cannot be right.
    BadNumber,
    /// Labels or the instance type show devices that the node does not offer.
    LabelsWithoutCapacity,
    /// Devices whose model nothing tells.
    UnknownDevice,
    /// Two facts about the device disagree.
    ConflictingFacts,
    /// Devices that are there and not allocatable.
    UnhealthyDevices,
    /// Devices that are split up in a way that cannot be asked for.
    NotWholeDevices,
    /// The same devices are shown by a device plugin and by DRA.
    CountedOnce,
    /// A pool of ResourceSlices is being rewritten.
    IncompletePool,
    /// The node does not run Linux.
    NotLinux,
    /// A label's value is none that is known.
    UnknownLabelValue,
    /// The status leaves out CPU, memory or pods.
    MissingResource,
    /// Pods hold DRA claims that were not given.
    UnresolvedClaims,
    /// Pods of a placement hold more than is reserved for it.
    BeyondPlacement,
    /// A DRA driver does not run.
    DriverDown,
    /// The kubelet refuses pods.
    RefusesPods,
    /// A topology level is configured and the node has no label that tells its domain.
    UnknownTopology,
}

/// Something odd about a node, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryNote {
    /// Cluster.
    pub cluster: String,
    /// Node; empty where it has no name.
    pub node: String,
    /// What it is about.
    pub reason: NoteReason,
    /// The field, value and remedy, in words.
    pub message: String,
}

impl fmt::Display for InventoryNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = if self.node.is_empty() {
            "(unnamed)"
        } else {
            &self.node
        };
        write!(f, "node {}/{node}: {}", self.cluster, self.message)
    }
}

/// Why devices cannot be asked for, neither whole nor in parts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnsupportedReason {
    /// Nothing tells the model.
    UnknownModel,
    /// Time slices or MPS clients of which nothing tells how large they are.
    TimeSliced,
    /// Hardware partitions: AMD partitions, vNPUs, MIG instances of a profile that cannot be read.
    Partitioned,
    /// Virtual GPUs: GRID profiles, HAMi and Volcano shares, fractional cloud instances.
    VirtualGpu,
    /// Devices passed through to virtual machines.
    PassedThrough,
    /// More units than the node has devices.
    Surplus,
    /// Only single cores of the devices are offered.
    Cores,
    /// A graphics unit in a processor.
    Integrated,
    /// The devices are on a node that does not run Linux.
    NotLinux,
}

impl UnsupportedReason {
    /// What such devices are, for people: "4 × nvidia.com/gpu are ...".
    pub(super) fn words(&self) -> &'static str {
        match self {
            Self::TimeSliced => "shared by time slices or MPS",
            Self::Partitioned => "partitions of devices",
            Self::VirtualGpu => "virtual GPUs",
            Self::PassedThrough => "devices passed through to virtual machines",
            Self::Surplus => "more than the node has devices",
            Self::Cores => "single cores, and the device itself is not offered",
            Self::UnknownModel | Self::Integrated | Self::NotLinux => "no whole devices",
        }
    }
}

/// Devices, or shares of them, that are there and cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Extended resource or DRA driver.
    pub resource: String,
    /// Units of the resource: shares where it is shared, else devices.
    pub count: u64,
    /// Why.
    pub reason: UnsupportedReason,
    /// Accelerator type of the device underneath, where known.
    pub accelerator_type: Option<String>,
}

/// Collects notes about one node.
#[derive(Debug)]
pub(super) struct Notes<'a> {
    pub(super) cluster: &'a str,
    pub(super) node: &'a str,
    pub(super) notes: Vec<InventoryNote>,
}

impl Notes<'_> {
    pub(super) fn add(&mut self, reason: NoteReason, message: String) {
        self.notes.push(InventoryNote {
            cluster: self.cluster.to_owned(),
            node: self.node.to_owned(),
            reason,
            message,
        });
    }
}
