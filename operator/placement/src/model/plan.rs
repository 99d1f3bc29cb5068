//! What the engine decides, and why.

use super::{CapacityType, DevicePart, Level, MicroUsd, PowerClosure, Reservation, Watts};

/// One chosen candidate. A training job has exactly one; an inference job has one per cluster and pool used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementDecision {
    /// Key of the job.
    pub job: String,
    /// What it holds while it runs.
    pub reservation: Reservation,
    /// Name of the alternative.
    pub alternative: String,
    /// How devices are asked for there.
    pub resource: String,
    /// How it is paid for.
    pub capacity_type: CapacityType,
    /// Cap of each device; where a part of one is held, of the whole device.
    pub power_cap_watts: Watts,
    /// Price per hour of what it holds.
    pub usd_per_hour: MicroUsd,
    /// Training: everything until the work is done: hours, egress, expected loss to interruption. Inference: egress.
    pub usd_total: MicroUsd,
    /// Of `usd_total`: egress.
    pub usd_egress: MicroUsd,
    /// Seconds from now until it starts. Where that is not 0, nothing is reserved yet: the next plan decides anew.
    pub start_seconds: i64,
    /// Seconds it runs; `None` for inference.
    pub duration_seconds: Option<i64>,
    /// PriceSheet the price came from.
    pub price_sheet: Option<String>,
    /// Whether a node without any price is part of it.
    pub unpriced: bool,
}

impl PlacementDecision {
    /// Replicas in all.
    pub fn replicas(&self) -> u32 {
        self.reservation
            .nodes
            .iter()
            .fold(0, |sum, n| sum.saturating_add(n.replicas))
    }
}

/// Most kinds of parts that one reason lists.
pub const MOST_PARTS: usize = 8;

/// Most nodes that one fix names.
pub const MOST_NAMED: usize = 8;

/// Why a candidate was not taken. Every variant carries the numbers that decided.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The job's `clusterSelector` leaves the cluster out.
    ClusterNotSelected,
    /// The cluster does not admit the job's namespace.
    NamespaceNotAllowed,
    /// The cluster cannot be reached.
    ClusterUnreachable,
    /// The caller keeps the job out of the cluster for a while (`excluded_clusters`): something there did not work.
    ClusterAvoided,
    /// No node of the cluster has a device that the alternative may use.
    NoSuchAccelerator {
        /// What was asked for.
        wanted: String,
    },
    /// Nodes of the cluster have the device, but not the part of it, or not whole.
    NoSuchPart {
        /// The devices that were asked for.
        wanted: String,
        /// What a unit must be.
        part: DevicePart,
        /// What units there are instead, with their number; the largest parts first, at most [`MOST_PARTS`].
        exists: Vec<(DevicePart, u64)>,
    },
    /// The job does not allow the capacity type.
    CapacityTypeNotAllowed {
        /// The pool's capacity type.
        capacity_type: CapacityType,
    },
    /// Too few devices exist there, even when everything else is gone.
    InsufficientCapacity {
        /// Devices needed.
        needed: u64,
        /// Devices there are.
        total: u64,
    },
    /// Devices enough exist, but nodes with enough of them for a replica are too few, even when everything else is gone.
    NodesTooSmall {
        /// Replicas needed.
        needed: u64,
        /// Replicas that nodes could hold.
        fitting: u64,
        /// Devices of one replica.
        devices_per_replica: u32,
        /// Devices there are.
        total: u64,
    },
    /// Too few devices are free.
    InsufficientDevices {
        /// Devices needed.
        needed: u64,
        /// Devices free on usable nodes.
        available: u64,
    },
    /// Enough devices are free, but not enough on single nodes for whole replicas.
    Fragmented {
        /// Replicas needed.
        needed: u64,
        /// Replicas that fit.
        fitting: u64,
        /// Devices free.
        available: u64,
    },
    /// Nodes have the devices but not the CPU.
    InsufficientCpu {
        /// Replicas needed.
        needed: u64,
        /// Replicas that fit.
        fitting: u64,
        /// Millicores one replica needs.
        cpu_milli: u64,
    },
    /// Nodes have the devices but not the memory.
    InsufficientMemory {
        /// Replicas needed.
        needed: u64,
        /// Replicas that fit.
        fitting: u64,
        /// MiB one replica needs.
        memory_mib: u64,
    },
    /// Nodes have the devices but not another resource that the template asks for.
    InsufficientResource {
        /// Name of the resource.
        resource: String,
        /// Replicas needed.
        needed: u64,
        /// Replicas that fit.
        fitting: u64,
        /// Units or bytes that one replica needs.
        each: u64,
    },
    /// A node is one unit, and a replica asks for only some of its devices, or for more.
    NodeIsOneUnit {
        /// Devices that a replica asks for.
        devices_per_replica: u32,
        /// Devices of such a node.
        node_devices: u32,
        /// Nodes kept out by it.
        nodes: u64,
    },
    /// Nodes have no pod slot left.
    InsufficientPodSlots {
        /// Replicas needed.
        needed: u64,
        /// Replicas that fit.
        fitting: u64,
    },
    /// A taint is not tolerated.
    TaintNotTolerated {
        /// `key=value:Effect`.
        taint: String,
        /// Nodes kept out by it.
        nodes: u64,
    },
    /// The node selector or required affinity leaves nodes out.
    NodeSelectorMismatch {
        /// Nodes left out.
        nodes: u64,
    },
    /// Nodes are cordoned, not ready or unhealthy.
    NodesUnavailable {
        /// Nodes out.
        nodes: u64,
        /// The most frequent fault.
        fault: String,
    },
    /// No single domain of the required level holds the gang.
    TopologyTooSmall {
        /// Required level.
        level: Level,
        /// Replicas needed.
        needed: u64,
        /// Most replicas that fit in one domain.
        fitting: u64,
    },
    /// Nodes do not carry the label of the required level.
    TopologyUnknown {
        /// Required level.
        level: Level,
    },
    /// A power domain has too little headroom.
    PowerDomainExceeded {
        /// The domain.
        domain: String,
        /// Watts the gang would add there.
        needed_watts: Watts,
        /// Watts left there.
        headroom_watts: Watts,
    },
    /// Nodes are said to hang on a power domain that does not exist: nobody knows what it can carry.
    UnknownPowerDomain {
        /// Its name.
        domain: String,
        /// Watts the gang would add there.
        needed_watts: Watts,
    },
    /// Nodes hang on a power domain that carries nothing new, whatever its limit.
    PowerDomainClosed {
        /// Its name.
        domain: String,
        /// Why it carries nothing new.
        why: PowerClosure,
        /// Watts the gang would add there.
        needed_watts: Watts,
    },
    /// A power budget has too little headroom.
    PowerBudgetExceeded {
        /// The budget.
        budget: String,
        /// Watts the gang would add under it.
        needed_watts: Watts,
        /// Watts left under it.
        headroom_watts: Watts,
    },
    /// The whole run costs more than `budget.maxUsd`.
    DollarBudgetExceeded {
        /// What it would cost.
        needed_usd: MicroUsd,
        /// The limit.
        limit_usd: MicroUsd,
    },
    /// An hour costs more than `budget.maxUsdPerHour`.
    HourlyBudgetExceeded {
        /// What an hour would cost.
        needed_usd_per_hour: MicroUsd,
        /// The limit.
        limit_usd_per_hour: MicroUsd,
    },
    /// The node has no price and the job has a budget.
    Unpriced,
    /// The work cannot be done by the deadline there.
    DeadlineMissed {
        /// Seconds by which it is missed.
        late_seconds: i64,
    },
    /// The alternative's throughput is missing or zero, so the work would never end.
    NoThroughput,
    /// Spread leaves no room.
    SpreadExceeded {
        /// The level.
        level: Level,
        /// The allowed skew.
        max_skew: u32,
    },
    /// There is room, but it was promised to gangs that come first, and the job would not be over by then.
    Promised {
        /// Gangs that were promised a start in this plan.
        gangs: u64,
    },
    /// The job asks for nothing or for something that cannot be.
    Invalid {
        /// What is wrong and what to do.
        message: String,
    },
}

/// One reason with where it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub reason: Reason,
    /// Cluster, where it concerns one.
    pub cluster: Option<String>,
    /// Alternative, where it concerns one.
    pub alternative: Option<String>,
    /// How many candidates were refused for it.
    pub count: u64,
}

/// The smallest change that would place the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fix {
    /// Add nodes like those of a pool.
    AddNodes {
        /// Cluster.
        cluster: String,
        /// Instance type or, without one, accelerator type.
        pool: String,
        /// How many.
        nodes: u64,
        /// Their devices.
        accelerator_type: String,
        /// Devices of each.
        devices_per_node: u32,
        /// How they are paid for.
        capacity_type: CapacityType,
    },
    /// Create a power domain that nodes are said to hang on.
    CreatePowerDomain {
        /// Its name.
        domain: String,
        /// Watts that it must be able to carry.
        usable_watts: Watts,
    },
    /// Raise the limit of a power domain.
    RaisePowerDomain {
        /// The domain.
        domain: String,
        /// By how much.
        by_watts: Watts,
    },
    /// Raise a power budget.
    RaisePowerBudget {
        /// The budget.
        budget: String,
        /// By how much.
        by_watts: Watts,
    },
    /// Raise several limits on watts: each alone is too low.
    RaisePowerLimits {
        /// [`Fix::RaisePowerDomain`], [`Fix::CreatePowerDomain`] and [`Fix::RaisePowerBudget`].
        limits: Vec<Fix>,
    },
    /// Raise `budget.maxUsd` to this.
    RaiseMaxUsd {
        /// New limit.
        to: MicroUsd,
    },
    /// Raise `budget.maxUsdPerHour` to this.
    RaiseMaxUsdPerHour {
        /// New limit.
        to: MicroUsd,
    },
    /// Require a wider topology level.
    RelaxTopology {
        /// The level that works.
        to: Level,
    },
    /// Allow another capacity type.
    AllowCapacityType {
        /// Which.
        capacity_type: CapacityType,
    },
    /// Wait until what holds the room has ended: nothing has to be changed.
    WaitUntil {
        /// Seconds from now.
        start_seconds: i64,
    },
    /// Move the deadline.
    ExtendDeadline {
        /// By how many seconds.
        by_seconds: i64,
    },
    /// Ask for another part of the device, or for a whole one.
    ChangePart {
        /// The alternative.
        alternative: String,
        /// What works.
        part: DevicePart,
    },
    /// Free devices that others hold.
    FreeDevices {
        /// Cluster.
        cluster: String,
        /// How many.
        devices: u64,
        /// Which.
        accelerator_type: String,
        /// Nodes that have them.
        nodes: u64,
        /// Which, at most [`MOST_NAMED`].
        on: Vec<String>,
    },
    /// Return nodes to service (uncordon, repair).
    RestoreNodes {
        /// Cluster.
        cluster: String,
        /// How many.
        nodes: u64,
        /// Which, at most [`MOST_NAMED`].
        names: Vec<String>,
    },
    /// Correct the job; the reasons say how.
    ChangeJob,
}

/// A job, or the rest of an inference job, that could not be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplaced {
    /// Key of the job.
    pub job: String,
    /// Replicas missing (inference; a gang misses all).
    pub replicas: u32,
    /// Typed reasons, most telling first, bounded.
    pub reasons: Vec<Refusal>,
    /// Whether there were more than are listed. The last ones then stand, with their count, for all others of their kind.
    pub reasons_cut: bool,
    /// Smallest change that would place it, where one is known.
    pub fix: Option<Fix>,
    /// Earliest start of a gang in seconds from now, where known: when running jobs, and the jobs that this plan starts, have
    /// ended as expected and the gangs before it have started.
    pub earliest_start_seconds: Option<i64>,
}

/// How good the plan is known to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proof {
    /// No better plan exists.
    Optimal,
    /// No plan is cheaper by more than this.
    GapAtMost(MicroUsd),
    /// The improvement step was stopped at its limit; no bound is known.
    #[default]
    StoppedAtLimit,
}

/// Options of one cycle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// Now, Unix seconds: deadlines and waiting are counted from here.
    pub now_seconds: i64,
    /// Starts up to so many seconds from now are placements too. 0: only what starts now.
    pub horizon_seconds: i64,
}

/// How much a cycle may try to better the plan that it made job by job.
///
/// Counted in trials, not by a clock, so that the same input gives the same plan on any machine. One trial is one job
/// tried on one candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Most trials. 0 leaves the plan as it was made.
    pub trials: u64,
}

impl Default for Effort {
    /// So many that a plan of some dozens of jobs comes close to the optimum, and that a plan of ten thousand takes little longer.
    fn default() -> Self {
        Self { trials: 360_000 }
    }
}

/// The outcome of one cycle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What starts now, reserved in the fleet already; after it, in order of the jobs, what starts within the horizon, which
    /// holds nothing yet.
    pub placements: Vec<PlacementDecision>,
    /// What does not.
    pub unplaced: Vec<Unplaced>,
    /// How good it is.
    pub proof: Proof,
}
