//! Placement: the durable decision for one attempt of one job. Written by the operator only.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    decimal::Decimal,
    job::{CapacityType, JobKind},
    schema,
    string_enum::string_enum,
};

/// Most nodes that one Placement names.
pub const MAX_NODES: usize = 16_384;

/// What was decided.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "ampacity.dev",
    version = "v1alpha1",
    kind = "Placement",
    namespaced,
    doc = "Where one attempt of one job runs and what it holds. Written by the operator; it holds devices and watts from when it exists until it is deleted.",
    status = "PlacementStatus",
    shortname = "pl",
    category = "ampacity",
    derive = "PartialEq",
    selectable = ".spec.cluster",
    selectable = ".spec.jobRef.name",
    printcolumn(
        name = "Phase",
        type_ = "string",
        json_path = ".status.phase",
        description = "Committed, Dispatched, Bound, Running, Succeeded, Failed or Released"
    ),
    printcolumn(
        name = "Job",
        type_ = "string",
        json_path = ".spec.jobRef.name",
        description = "Job that it belongs to"
    ),
    printcolumn(
        name = "Cluster",
        type_ = "string",
        json_path = ".spec.cluster",
        description = "Member cluster"
    ),
    printcolumn(
        name = "Accelerator",
        type_ = "string",
        json_path = ".spec.acceleratorType",
        description = "Device type"
    ),
    printcolumn(
        name = "Replicas",
        type_ = "integer",
        json_path = ".spec.replicas",
        description = "Replicas placed"
    ),
    printcolumn(
        name = "Watts",
        type_ = "integer",
        json_path = ".spec.watts",
        description = "Watts reserved"
    ),
    printcolumn(
        name = "USD/h",
        type_ = "string",
        json_path = ".spec.usdPerHour",
        description = "US dollars per hour; empty without a price"
    ),
    printcolumn(
        name = "Kind",
        type_ = "string",
        json_path = ".spec.jobRef.kind",
        description = "Kind of the job",
        priority = 1
    ),
    printcolumn(
        name = "Attempt",
        type_ = "integer",
        json_path = ".spec.attempt",
        description = "Attempt of the job, from 1",
        priority = 1
    ),
    printcolumn(
        name = "Alternative",
        type_ = "string",
        json_path = ".spec.alternative",
        description = "Alternative that was chosen",
        priority = 1
    ),
    printcolumn(
        name = "Capacity",
        type_ = "string",
        json_path = ".spec.capacityType",
        description = "How the nodes are paid for",
        priority = 1
    ),
    printcolumn(
        name = "MIG",
        type_ = "string",
        json_path = ".spec.migProfile",
        description = "Profile of its MIG instances; empty where devices are whole",
        priority = 1
    ),
    printcolumn(
        name = "Milli",
        type_ = "integer",
        json_path = ".spec.millidevices",
        description = "Thousandths of a device that each replica has; empty where devices are whole",
        priority = 1
    ),
    printcolumn(
        name = "Ready",
        type_ = "integer",
        json_path = ".status.readyReplicas",
        description = "Replicas that run",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since it was decided"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("self == oldSelf || oldSelf.jobRef.kind == 'InferenceJob'", "a Placement is a decision that was made and cannot be changed: delete it to take it back"),
    validation = ("!has(self.millidevices) || !has(self.migProfile)", "give at most one of millidevices and migProfile"),
    validation = ("self.jobRef == oldSelf.jobRef && self.cluster == oldSelf.cluster && self.alternative == oldSelf.alternative && self.acceleratorType == oldSelf.acceleratorType && self.capacityType == oldSelf.capacityType && self.devicesPerReplica == oldSelf.devicesPerReplica && has(self.migProfile) == has(oldSelf.migProfile) && (!has(self.migProfile) || self.migProfile == oldSelf.migProfile) && has(self.millidevices) == has(oldSelf.millidevices) && (!has(self.millidevices) || self.millidevices == oldSelf.millidevices) && self.resource == oldSelf.resource && self.attempt == oldSelf.attempt", "only epoch, replicas, nodes, watts, price and power cap of an InferenceJob's Placement can change: delete it to take it back")
)]
pub struct PlacementSpec {
    /// Job that is placed, in the same namespace.
    pub job_ref: JobRef,
    /// Attempt of the job, from 1.
    #[schemars(range(min = 1))]
    pub attempt: i32,
    /// Fencing epoch of the leader that decided: how often leadership had changed hands. A later leader's is higher.
    #[schemars(range(min = 0))]
    pub epoch: i64,
    /// Member cluster.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub cluster: String,
    /// Alternative of the job that was chosen.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub alternative: String,
    /// Device type.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub accelerator_type: String,
    /// How the nodes are paid for: OnDemand, Spot, Reserved or Owned.
    pub capacity_type: CapacityType,
    /// Whole devices of each replica; with migProfile, MIG instances; with millidevices, time slices.
    #[schemars(range(min = 1, max = 1024))]
    pub devices_per_replica: i32,
    /// Profile of the MIG instances that stand in for whole devices, such as `1g.10gb`. Default: no MIG instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = schema::MIG_PROFILE))]
    pub mig_profile: Option<String>,
    /// Size of the time slice that stands in for a whole device, in thousandths of one: what was given, which may be more than
    /// the job asks for. Default: no time slices.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub millidevices: Option<i32>,
    /// Replicas placed.
    #[schemars(range(min = 1, max = 100_000))]
    pub replicas: i32,
    /// Nodes with the replicas that each holds, in rank order; at most 16384.
    #[schemars(length(min = 1, max = 16_384))]
    pub nodes: Vec<NodeReplicas>,
    /// How the devices are asked for in that cluster.
    pub resource: DeviceResource,
    /// Power cap of each device, in watts. Default: the device's own limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub power_cap_watts: Option<i64>,
    /// Watts reserved for all replicas, hosts' share included.
    #[schemars(range(min = 0))]
    pub watts: i64,
    /// Power domains that the watts are charged to, in runs over the nodes in their order, also while the member cluster cannot be
    /// seen. Default: none; the nodes hang on no power domain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16_384))]
    pub power_domains: Vec<NodeFeeds>,
    /// US dollars per hour of all replicas; a decimal in quotes. Nodes without a price count nothing. Default: none; no node has a
    /// price, or they cost nothing.
    #[serde(default, skip_serializing_if = "Decimal::is_zero")]
    pub usd_per_hour: Decimal,
    /// PriceSheet that the price is from. Default: none; the nodes had no price.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub price_sheet: Option<String>,
}

/// The job that a Placement belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobRef {
    /// Kind of the job: TrainingJob or InferenceJob.
    pub kind: JobKind,
    /// Name of the job.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub name: String,
    /// UID of the job: a job of the same name made later is another.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
}

/// A node and how many replicas it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeReplicas {
    /// Name of the node.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Replicas on it.
    #[schemars(range(min = 1, max = 100_000))]
    pub replicas: i32,
}

/// So many nodes in a row that hang on the same power domains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeFeeds {
    /// How many nodes.
    #[schemars(range(min = 1, max = 16_384))]
    pub nodes: i32,
    /// Names of the power domains that feed them; several are A/B feeds, each of which carries the whole load.
    #[schemars(length(max = 8), inner(length(min = 1, max = 253)))]
    pub domains: Vec<String>,
}

/// How a device is asked for: an extended resource or a DRA device class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.resourceName) != has(self.deviceClassName)", "give exactly one of resourceName and deviceClassName"))]
pub struct DeviceResource {
    /// Extended resource of a device plugin, such as `nvidia.com/gpu`. No default; exactly one of resourceName and
    /// deviceClassName is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317), regex(pattern = schema::QUALIFIED_NAME))]
    pub resource_name: Option<String>,
    /// DRA DeviceClass, such as `gpu.nvidia.com`. No default; exactly one of resourceName and deviceClassName is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub device_class_name: Option<String>,
}

string_enum! {
    /// How far a Placement has come.
    #[derive(Default)]
    pub enum PlacementPhase {
        /// Decided; nothing is in the member cluster yet.
        #[default]
        Committed,
        /// Its objects are in the member cluster.
        Dispatched,
        /// All its pods are bound to nodes.
        Bound,
        /// All its replicas run.
        Running,
        /// All its replicas succeeded.
        Succeeded,
        /// It failed as a whole.
        Failed,
        /// Nothing of it is left in the member cluster.
        Released,
    }
}

impl PlacementPhase {
    /// Whether nothing of the placement runs any more.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Released)
    }
}

/// What the member cluster shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlacementStatus {
    /// How far it has come: Committed, Dispatched, Bound, Running, Succeeded, Failed or Released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<PlacementPhase>,
    /// Replicas that run.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub ready_replicas: i32,
    /// When it first ran, RFC 3339; dollars and watt-hours count from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it ended, RFC 3339; dollars and watt-hours count up to here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// What happened last, in words; at most 1024 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// The metadata.generation that this status was worked out from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Answers to Running and Finished.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}
