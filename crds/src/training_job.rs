//! TrainingJob: a gang that runs to completion.

use k8s_openapi::{
    api::core::v1::PodTemplateSpec,
    apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time},
};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    decimal::Decimal,
    job::{
        Alternative, Budget, CapacityType, DataSource, Objective, TopologyRequest,
        all_capacity_types, default_queue,
    },
    schema,
    string_enum::string_enum,
    verdict::Verdict,
};

/// How often a job is started again when nothing is said.
pub const DEFAULT_MAX_RESTARTS: i32 = 10;

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

fn default_max_restarts() -> i32 {
    DEFAULT_MAX_RESTARTS
}

/// What a TrainingJob asks for.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "ampacity.dev",
    version = "v1alpha1",
    kind = "TrainingJob",
    namespaced,
    doc = "A gang of replicas that runs to completion on the device type, cluster and capacity type that does the work best.",
    status = "TrainingJobStatus",
    shortname = "tj",
    category = "ampacity",
    derive = "PartialEq",
    derive = "Default",
    validation = (
        "self.metadata.name.size() <= 52 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "metadata.name must be at most 52 characters of a-z, 0-9 and '-', start with a letter and end with a letter or digit: it becomes part of host names"
    ),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state", description = "Pending, Starting, Running, Suspended, Succeeded or Failed"),
    printcolumn(name = "Cluster", type_ = "string", json_path = ".status.placement.cluster", description = "Member cluster that it is placed in"),
    printcolumn(name = "Accelerator", type_ = "string", json_path = ".status.placement.acceleratorType", description = "Device type that it is placed on"),
    printcolumn(name = "Devices", type_ = "integer", json_path = ".status.placement.devices", description = "Devices of the whole gang, or MIG instances or time slices"),
    printcolumn(name = "Watts", type_ = "integer", json_path = ".status.placement.watts", description = "Watts reserved for the whole gang"),
    printcolumn(name = "USD/h", type_ = "string", json_path = ".status.placement.usdPerHour", description = "US dollars per hour of the whole gang; empty without a price"),
    printcolumn(name = "Finish", type_ = "string", json_path = ".status.estimatedCompletionTime", description = "When it should be done"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason", description = "What is wrong with it, in the way of a place, or keeps it from running"),
    printcolumn(name = "Queue", type_ = "string", json_path = ".spec.queue", description = "Queue that it waits in", priority = 1),
    printcolumn(name = "Alternative", type_ = "string", json_path = ".status.placement.alternative", description = "Alternative that was chosen", priority = 1),
    printcolumn(name = "MIG", type_ = "string", json_path = ".status.placement.migProfile", description = "Profile of its MIG instances; empty where devices are whole", priority = 1),
    printcolumn(name = "Milli", type_ = "integer", json_path = ".status.placement.millidevices", description = "Thousandths of a device that each replica has; empty where devices are whole", priority = 1),
    printcolumn(name = "Capacity", type_ = "string", json_path = ".status.placement.capacityType", description = "How the nodes are paid for", priority = 1),
    printcolumn(name = "Attempts", type_ = "integer", json_path = ".status.attempts", description = "Placements made so far", priority = 1),
    printcolumn(name = "USD", type_ = "string", json_path = ".status.usdAccrued", description = "US dollars spent so far", priority = 1),
    printcolumn(name = "Wh", type_ = "integer", json_path = ".status.wattHours", description = "Watt-hours used so far", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Time since it was created")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.work) != has(self.estimatedDurationSeconds)", "give exactly one of work and estimatedDurationSeconds"),
    validation = ("!has(self.work) || self.alternatives.all(a, has(a.throughput))", "with work.units, every alternative needs a throughput in units per second; or give estimatedDurationSeconds instead"),
    validation = ("(has(self.template.spec) && (self.template.spec.containers.size() == 0 || has(self.template.spec.containers[0].image))) || self.alternatives.all(a, has(a.image))", "there is no image to run: give one to the template's first container or to every alternative"),
    validation = Rule::new("!has(self.template.spec) || !has(self.template.spec.restartPolicy) || self.template.spec.restartPolicy == 'Never'").message("restartPolicy must be Never: when a replica fails, the whole gang is placed again").field_path(".template.spec.restartPolicy"),
    validation = Rule::new("oldSelf.suspend || self.alternatives == oldSelf.alternatives").message("alternatives can be changed only while the job is suspended: set suspend to true first").field_path(".alternatives").reason(Reason::FieldValueForbidden),
    validation = Rule::new("oldSelf.suspend || self.template == oldSelf.template").message("template can be changed only while the job is suspended: set suspend to true first").field_path(".template").reason(Reason::FieldValueForbidden),
    validation = Rule::new("oldSelf.suspend || (has(self.work) == has(oldSelf.work) && (!has(self.work) || self.work == oldSelf.work))").message("work can be changed only while the job is suspended: set suspend to true first").field_path(".work").reason(Reason::FieldValueForbidden),
    validation = Rule::new("oldSelf.suspend || (has(self.estimatedDurationSeconds) == has(oldSelf.estimatedDurationSeconds) && (!has(self.estimatedDurationSeconds) || self.estimatedDurationSeconds == oldSelf.estimatedDurationSeconds))").message("estimatedDurationSeconds can be changed only while the job is suspended: set suspend to true first").field_path(".estimatedDurationSeconds").reason(Reason::FieldValueForbidden),
    validation = Rule::new("oldSelf.suspend || (has(self.topology) == has(oldSelf.topology) && (!has(self.topology) || self.topology == oldSelf.topology))").message("topology can be changed only while the job is suspended: set suspend to true first").field_path(".topology").reason(Reason::FieldValueForbidden),
    validation = Rule::new("oldSelf.suspend || self.queue == oldSelf.queue").message("queue can be changed only while the job is suspended: set suspend to true first").field_path(".queue").reason(Reason::FieldValueForbidden)
)]
pub struct TrainingJobSpec {
    /// Queue that the job waits in, a DNS label. Default: `default`.
    #[serde(default = "default_queue")]
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub queue: String,
    /// PriorityClass of the hub that says how important the job is; higher is placed first. Default: none, priority 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub priority_class_name: Option<String>,
    /// What the best placement is best in: Cost (fewest dollars for the work), Time (earliest end) or Energy (fewest
    /// watt-hours). Default: Cost.
    #[serde(default)]
    pub objective: Objective,
    /// How much work there is; alternatives say how fast they do it. No default; exactly one of work and
    /// estimatedDurationSeconds is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work: Option<Work>,
    /// How long the job should run, in seconds, on any of its alternatives; 1 to 315360000 (ten years). No default; exactly one
    /// of work and estimatedDurationSeconds is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 315_360_000))]
    pub estimated_duration_seconds: Option<i64>,
    /// When the job must be done, RFC 3339. A job that cannot be done by then is not placed, and one that still runs then fails.
    /// Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self < timestamp('9999-01-01T00:00:00Z')", "must be before the year 9999"))]
    pub deadline: Option<Time>,
    /// What the job may cost; a placement that would cost more is not made. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// How nodes may be paid for: OnDemand, Spot, Reserved, Owned. A change takes effect at the next placement; what runs, runs on.
    /// Default: all four.
    #[serde(default = "all_capacity_types")]
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "set"))]
    pub capacity_types: Vec<CapacityType>,
    /// MemberClusters that the job may be placed in, by their labels. A change takes effect at the next placement; what runs, runs
    /// on. Default: all that allow its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_selector")]
    pub cluster_selector: Option<LabelSelector>,
    /// How close together the replicas must be. Default: within one cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology: Option<TopologyRequest>,
    /// Data that the job reads; at most 16 sources. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub data: Vec<DataSource>,
    /// How the job saves its work. Default: not at all, so that a restart starts from nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
    /// How often the gang is started again after a failure before the job fails, 0 to 1000. Default: 10.
    #[serde(default = "default_max_restarts")]
    #[schemars(range(min = 0, max = 1000))]
    pub max_restarts: i32,
    /// Longest time in seconds that the job may run, all attempts together; then it fails. 1 to 315360000. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 315_360_000))]
    pub max_runtime_seconds: Option<i64>,
    /// Whether the job is kept from running; a running job is stopped and gives back all that it holds. Default: false.
    #[serde(default)]
    pub suspend: bool,
    /// Seconds after its end that the job is deleted; 0 deletes it at once. Default: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 315_360_000))]
    pub ttl_seconds_after_finished: Option<i64>,
    /// Pod that each replica runs, as in a Deployment. The chosen alternative's image, env, args and resources and its
    /// accelerators are put into the first container. Default: one container `main` with the alternative's image.
    #[serde(default)]
    #[schemars(schema_with = "schema::pod_template")]
    pub template: PodTemplateSpec,
    /// Ways to run the job, 1 to 16, tried as equals; the objective chooses. Required.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub alternatives: Vec<Alternative>,
}

impl Default for TrainingJobSpec {
    /// What the API server fills in; alternatives and the amount of work are still to be given.
    fn default() -> Self {
        Self {
            queue: default_queue(),
            priority_class_name: None,
            objective: Objective::default(),
            work: None,
            estimated_duration_seconds: None,
            deadline: None,
            budget: None,
            capacity_types: all_capacity_types(),
            cluster_selector: None,
            topology: None,
            data: Vec::new(),
            checkpoint: None,
            max_restarts: DEFAULT_MAX_RESTARTS,
            max_runtime_seconds: None,
            suspend: false,
            ttl_seconds_after_finished: None,
            template: PodTemplateSpec::default(),
            alternatives: Vec::new(),
        }
    }
}

/// How much work there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Work {
    /// Amount in the job's own units (steps, samples, tokens), 1 to 10^15. Required.
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_i64))]
    pub units: i64,
}

/// How a job saves its work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// Seconds between two checkpoints: the most work that a failure loses. 1 to 31536000. Required.
    #[schemars(range(min = 1, max = 31_536_000))]
    pub interval_seconds: i64,
    /// Seconds to load a checkpoint at a restart, 0 to 86400. Default: 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 86_400))]
    pub restore_seconds: i64,
}

string_enum! {
    /// Where a TrainingJob is in its life.
    #[derive(Default)]
    pub enum TrainingJobState {
        /// Not placed.
        #[default]
        Pending,
        /// Placed; not all replicas run yet.
        Starting,
        /// All replicas run.
        Running,
        /// Kept from running by `suspend`.
        Suspended,
        /// Done.
        Succeeded,
        /// Given up.
        Failed,
    }
}

impl TrainingJobState {
    /// Whether the job has come to its end.
    pub const fn is_finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// What became of a TrainingJob.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrainingJobStatus {
    /// Where the job is in its life: Pending, Starting, Running, Suspended, Succeeded or Failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<TrainingJobState>,
    /// Where the job runs, and what it holds there. Absent while it holds nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<JobPlacement>,
    /// What the last attempt that ended held. Absent before one has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_placement: Option<JobPlacement>,
    /// Placements made so far.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub attempts: i32,
    /// Attempts that have ended. A Placement of such an attempt holds nothing any more and is being removed.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub ended_attempts: i32,
    /// Share of the work that the last checkpoint of the ended attempts holds, 0 to 1; a decimal in quotes. Absent before
    /// an attempt with checkpoints has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpointed_share: Option<Decimal>,
    /// Up to when usdAccrued and wattHours count, RFC 3339. Absent while nothing is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accrued_time: Option<Time>,
    /// Starts again after its program failed, counted against spec.maxRestarts. Lost nodes and starts that a cluster refused are
    /// not counted.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub restarts: i32,
    /// Attempts in a row that came to nothing: the pause before the next grows with them. Begins anew once one has run for ten
    /// minutes, and with a change of the spec.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub failed_attempts: i32,
    /// When the job is placed again at the earliest, RFC 3339. Absent where it need not wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Time>,
    /// Seconds that all replicas ran together, all attempts, up to when they last stopped doing so.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub run_seconds: i64,
    /// US dollars spent so far, all attempts; a decimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_accrued: Option<Decimal>,
    /// Watt-hours used so far, all attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub watt_hours: Option<i64>,
    /// When the job first ran, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the job succeeded or failed, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// When the job should be done, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated_completion_time: Option<Time>,
    /// Why the job is not what it should be, in one word, for `kubectl get`: what is wrong with it, what is in the way of a place,
    /// or what keeps it from running. Absent where all is well and where `state` says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub reason: Option<String>,
    /// The metadata.generation that this status was worked out from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Answers to Valid, Placed, Running and Finished.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Why the job is not placed. Absent where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

/// Where a gang runs and what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobPlacement {
    /// Name of the Placement, in the job's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Member cluster.
    #[schemars(length(min = 1, max = 253))]
    pub cluster: String,
    /// Device type.
    #[schemars(length(min = 1, max = 253))]
    pub accelerator_type: String,
    /// How the nodes are paid for. Absent where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_type: Option<CapacityType>,
    /// Alternative of the job that was chosen.
    #[schemars(length(min = 1, max = 63))]
    pub alternative: String,
    /// Devices of the whole gang, or MIG instances or time slices.
    #[schemars(range(min = 0))]
    pub devices: i64,
    /// Profile of the MIG instances that stand in for whole devices. Absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub mig_profile: Option<String>,
    /// Thousandths of a device that each replica has. Absent where devices are whole or in MIG instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub millidevices: Option<i32>,
    /// US dollars per hour of the whole gang; a decimal. Absent where no node has a price, or they cost nothing.
    #[serde(default, skip_serializing_if = "Decimal::is_zero")]
    pub usd_per_hour: Decimal,
    /// Watts reserved for the whole gang.
    #[schemars(range(min = 0))]
    pub watts: i64,
}
