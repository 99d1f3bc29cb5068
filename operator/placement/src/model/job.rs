//! What is to be placed.

use std::collections::BTreeMap;

use super::{
    CapacityType, DevicePart, LabelSelector, Level, MicroUsd, NodeRequirement, Toleration,
};

/// What a job is judged by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Objective {
    /// The fewest dollars for the work.
    #[default]
    Cost,
    /// The earliest end.
    Time,
    /// The fewest watt-hours for the work.
    Energy,
}

/// How much there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Work {
    /// Units of work in the job's own measure, in millionths; done at an alternative's throughput.
    UnitsMicro(i64),
    /// The same duration on every alternative, in seconds.
    DurationSeconds(i64),
}

/// Dollar limits of one job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DollarBudget {
    /// Most that the whole run may cost.
    pub max_usd: Option<MicroUsd>,
    /// Most that an hour may cost.
    pub max_usd_per_hour: Option<MicroUsd>,
}

/// Where a data set lies, for egress cost.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EgressCost {
    /// Cluster that the data would be moved to.
    pub cluster: String,
    /// What moving all of the job's data there costs.
    pub usd: MicroUsd,
}

/// Topology wishes. `required` is `Cluster` unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Topology {
    /// All replicas lie in one domain of this level.
    pub required: Level,
    /// As `required`, but only if it costs nothing that is required.
    pub preferred: Option<Level>,
}

impl Default for Topology {
    fn default() -> Self {
        Self {
            required: Level::Cluster,
            preferred: None,
        }
    }
}

/// Spread of inference replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Spread {
    /// Over domains of this level (Node, Zone or Cluster).
    pub by: Level,
    /// Most by which the fullest eligible domain may exceed the emptiest.
    pub max_skew: u32,
}

/// Which accelerator types an alternative may use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AcceleratorRequirement {
    /// Exactly this type.
    Named(String),
    /// Any type with these properties.
    Selected {
        /// Vendor; `None` allows any.
        vendor: Option<String>,
        /// Least memory of a device in GiB.
        min_memory_gib: u32,
        /// Least dense BF16 peak of a device in TFLOPS.
        min_bf16_tflops: u32,
        /// Allowed names; empty allows any.
        names: Vec<String>,
    },
}

/// What one replica's pod needs beside devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PodShape {
    /// CPU requests in millicores.
    pub cpu_milli: u64,
    /// Memory requests in MiB, rounded up.
    pub memory_mib: u64,
    /// Requests of other resources by name, in units or bytes; none of 0.
    pub other: BTreeMap<String, u64>,
    /// Node selector and required node affinity.
    pub nodes: NodeRequirement,
    /// Tolerations.
    pub tolerations: Vec<Toleration>,
}

/// One way to run a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Alternative {
    /// Name, unique in the job.
    pub name: String,
    /// Device types.
    pub accelerator: AcceleratorRequirement,
    /// What one unit must be: a whole device or a part of one.
    pub part: DevicePart,
    /// Units of one replica; at least 1.
    pub devices_per_replica: u32,
    /// Replicas of the gang. Ignored for inference, where the job says how many.
    pub replicas: u32,
    /// Millionths of a unit per second: of the whole gang (training) or of one replica (inference).
    pub throughput_micro: Option<i64>,
    /// The pod.
    pub pod: PodShape,
}

/// Replicas of an inference job that are placed already; spread counts them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlacedReplicas {
    /// Cluster.
    pub cluster: String,
    /// Node.
    pub node: String,
    /// How many.
    pub replicas: u32,
    /// What they cost per hour together; counts against the job's hourly budget.
    pub usd_per_hour: MicroUsd,
}

/// What kind of work it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A gang: all replicas start together in one cluster, or none does. Ends when the work is done.
    Training {
        /// The work.
        work: Work,
        /// Latest end, Unix seconds.
        deadline_seconds: Option<i64>,
        /// Seconds between checkpoints; work since the last one is lost at an interruption. 0: no checkpoints.
        checkpoint_interval_seconds: i64,
        /// Seconds to restore one.
        checkpoint_restore_seconds: i64,
        /// Whether it starts from a checkpoint: that is restored before its work goes on.
        restores: bool,
    },
    /// Replicas that each stand alone, in any number of clusters and on any of the alternatives.
    Inference {
        /// Replicas to place now, beside those in `placed`.
        replicas: u32,
        /// Replicas placed already.
        placed: Vec<PlacedReplicas>,
        /// Spread of all replicas.
        spread: Option<Spread>,
    },
}

impl Kind {
    /// What replicas that are placed already cost per hour.
    pub(crate) fn placed_usd_per_hour(&self) -> MicroUsd {
        match self {
            Self::Training { .. } => MicroUsd::ZERO,
            Self::Inference { placed, .. } => placed.iter().map(|p| p.usd_per_hour).sum(),
        }
    }
}

/// One job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JobSpec {
    /// Unique key chosen by the caller; reservations carry it.
    pub key: String,
    /// Namespace, for clusters that allow only some.
    pub namespace: String,
    /// Queue, for budgets.
    pub queue: String,
    /// Higher first.
    pub priority: i32,
    /// Tie-break between equal priorities: earlier first (Unix seconds of creation).
    pub submitted_seconds: i64,
    /// What kind of work.
    pub kind: Kind,
    /// What it is judged by.
    pub objective: Objective,
    /// Dollar limits.
    pub budget: DollarBudget,
    /// Capacity types it may use.
    pub capacity_types: Vec<CapacityType>,
    /// Clusters it may use.
    pub clusters: LabelSelector,
    /// Clusters it must not use now (left because of a failure, say).
    pub excluded_clusters: Vec<String>,
    /// Topology.
    pub topology: Topology,
    /// Cost of moving its data, per cluster; clusters not named cost nothing.
    pub egress: Vec<EgressCost>,
    /// Ways to run it, equals.
    pub alternatives: Vec<Alternative>,
}
