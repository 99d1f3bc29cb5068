//! What TrainingJob and InferenceJob share.

use k8s_openapi::api::core::v1::{EnvVar, ResourceRequirements};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{decimal::Decimal, schema, string_enum::string_enum};

/// Queue of a job that names none.
pub const DEFAULT_QUEUE: &str = "default";

string_enum! {
    /// Kind of a job.
    pub enum JobKind {
        /// Runs to completion.
        TrainingJob,
        /// Runs until deleted.
        InferenceJob,
    }
}

string_enum! {
    /// What the best candidate is best in.
    #[derive(Default)]
    pub enum Objective {
        /// The fewest dollars for the work.
        #[default]
        Cost,
        /// The earliest end.
        Time,
        /// The fewest watt-hours for the work.
        Energy,
    }
}

string_enum! {
    /// How a node is paid for.
    pub enum CapacityType {
        /// By the hour, until given back.
        OnDemand,
        /// By the hour, and the provider may take it away.
        Spot,
        /// Paid for whether it is used or not.
        Reserved,
        /// Bought: what it costs is its write-off and its electricity.
        Owned,
    }
}

string_enum! {
    /// A level of the topology, narrowest first.
    pub enum TopologyLevel {
        /// One node.
        Node,
        /// Nodes on one NVLink (or ultraserver, or TPU slice) fabric.
        NvlinkDomain,
        /// Nodes of one rack.
        Rack,
        /// Nodes of one network block.
        Block,
        /// Nodes of one zone.
        Zone,
        /// Nodes of one cluster.
        Cluster,
    }
}

/// The default of `queue`.
pub(crate) fn default_queue() -> String {
    DEFAULT_QUEUE.to_owned()
}

/// The default of `capacityTypes`: all of them.
pub(crate) fn all_capacity_types() -> Vec<CapacityType> {
    CapacityType::ALL.to_vec()
}

fn one() -> i32 {
    1
}

/// One way to run a job: which devices, how many, how fast, and what to run on them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.acceleratorType) != has(self.selector)", "give exactly one of acceleratorType and selector"),
    validation = ("!has(self.millidevices) || !has(self.migProfile)", "give at most one of millidevices and migProfile: a replica gets a share of a device or MIG instances"),
    validation = ("!has(self.millidevices) || self.devicesPerReplica == 1", "with millidevices, devicesPerReplica must be 1: a replica gets a share of one device")
)]
pub struct Alternative {
    /// Name of the alternative, unique in the job; a DNS label of at most 63 characters. Required.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub name: String,
    /// Name of the AcceleratorType to run on, such as `nvidia-h100-sxm5-80gb`. No default; exactly one of acceleratorType
    /// and selector is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub accelerator_type: Option<String>,
    /// Which AcceleratorTypes to run on, by what they can do. No default; exactly one of acceleratorType and selector is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<AcceleratorSelector>,
    /// Whole devices that each replica gets, 1 to 1024; with migProfile, MIG instances; with millidevices it is 1. Required.
    #[schemars(range(min = 1, max = 1024))]
    pub devices_per_replica: i32,
    /// MIG instances of this profile instead of whole devices, as many as devicesPerReplica says; such as `1g.10gb`, at most 32
    /// characters. Charged by their compute slices: `1g.10gb` of an H100 pays a seventh of it. At most one of migProfile and
    /// millidevices is given. Default: whole devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = schema::MIG_PROFILE))]
    pub mig_profile: Option<String>,
    /// Share of one device that each replica needs at least, in thousandths, 1 to 999; devicesPerReplica is then 1. A replica
    /// gets one time slice (or MPS client) of a shared device, the cheapest that is large enough, and pays for that slice. At
    /// most one of millidevices and migProfile is given. Default: whole devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 999))]
    pub millidevices: Option<i32>,
    /// Replicas of a training gang, 1 to 100000, all started together or none. An InferenceJob has its own count in
    /// spec.replicas. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100_000))]
    pub replicas: i32,
    /// Work done per second, in the job's own units: by the whole gang of a TrainingJob, by one replica of an InferenceJob.
    /// A decimal in quotes, more than 0. Default: not known; a TrainingJob with work.units needs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("double(self) > 0.0", "throughput must be more than 0"))]
    pub throughput: Option<Decimal>,
    /// Image of the template's first container. Default: the template's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Environment of the first container, added to the template's by name; at most 128. Default: the template's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::env")]
    pub env: Vec<EnvVar>,
    /// Arguments of the first container, in place of the template's; at most 256. Default: the template's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 8192)))]
    pub args: Vec<String>,
    /// Resources of the first container, added to the template's by name; accelerators are filled in. Default: the template's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::resources")]
    pub resources: Option<ResourceRequirements>,
    /// RuntimeClass of the pods. Default: the template's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub runtime_class_name: Option<String>,
}

impl Default for Alternative {
    /// One replica of one device; name and device are still to be given.
    fn default() -> Self {
        Self {
            name: String::new(),
            accelerator_type: None,
            selector: None,
            devices_per_replica: 1,
            mig_profile: None,
            millidevices: None,
            replicas: 1,
            throughput: None,
            image: None,
            env: Vec::new(),
            args: Vec::new(),
            resources: None,
            runtime_class_name: None,
        }
    }
}

/// AcceleratorTypes by what they can do; all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.vendor) || has(self.minMemoryGib) || has(self.minBf16Tflops) || has(self.names)",
    "give at least one of vendor, minMemoryGib, minBf16Tflops and names"
))]
pub struct AcceleratorSelector {
    /// Vendor, as in AcceleratorType: `nvidia`, `amd`, `aws`, `google`, `intel`. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub vendor: Option<String>,
    /// Least memory of a device, in GiB. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_536))]
    pub min_memory_gib: Option<i64>,
    /// Least dense BF16 speed of a device, in TFLOPS. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub min_bf16_tflops: Option<i64>,
    /// Names of AcceleratorTypes to choose from; at most 32. Default: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN)))]
    pub names: Vec<String>,
}

/// What a TrainingJob may cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.maxUsd) || has(self.maxUsdPerHour)", "give at least one of maxUsd and maxUsdPerHour"))]
pub struct Budget {
    /// Most US dollars for the whole job, all attempts together; one that has cost so much fails. A decimal in quotes. Default: no
    /// limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_usd: Option<Decimal>,
    /// Most US dollars per hour while it runs. A decimal in quotes. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_usd_per_hour: Option<Decimal>,
}

/// How close together the replicas of a gang must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.required) || has(self.preferred)", "give at least one of required and preferred"))]
pub struct TopologyRequest {
    /// The whole gang lies within one domain of this level, or is not placed: Node, NvlinkDomain, Rack, Block, Zone or
    /// Cluster. Default: Cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<TopologyLevel>,
    /// The gang lies within one domain of this level where that is possible: Node, NvlinkDomain, Rack, Block, Zone or
    /// Cluster. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred: Option<TopologyLevel>,
}

/// Data that a job reads, and where it lies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataSource {
    /// Provider and region that the data lies in, such as `aws/us-east-1`. Required.
    #[schemars(length(min = 3, max = 127), regex(pattern = schema::LOCATION))]
    pub location: String,
    /// Size of the data, in GiB; it is paid for as egress when the job is placed elsewhere. Required.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub size_gib: i64,
}
