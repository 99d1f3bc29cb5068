//! The few fields of Nodes, Pods, ResourceSlices and ResourceClaims that matter here.
//!
//! They are read from watches and from files alike. All labels are kept, since selectors need them; annotations and managed fields
//! are not.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::text::{metadata, or_default, some_text, some_text_map, some_time, text, text_map};

/// A Node.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, kube::Resource)]
#[resource(inherit = Node)]
#[serde(default)]
pub struct SlimNode {
    /// Metadata.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    /// Wanted state.
    #[serde(deserialize_with = "or_default")]
    pub spec: SlimNodeSpec,
    /// Observed state.
    #[serde(deserialize_with = "or_default")]
    pub status: SlimNodeStatus,
}

/// Wanted state of a Node.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SlimNodeSpec {
    /// Whether it is cordoned.
    #[serde(deserialize_with = "or_default")]
    pub unschedulable: bool,
    /// Taints.
    #[serde(deserialize_with = "or_default")]
    pub taints: Vec<SlimTaint>,
    /// The cloud's name of the machine.
    #[serde(rename = "providerID", deserialize_with = "some_text")]
    pub provider_id: Option<String>,
}

/// A taint.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SlimTaint {
    /// Key.
    #[serde(deserialize_with = "text")]
    pub key: String,
    /// Value.
    #[serde(deserialize_with = "text")]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule`, `NoExecute`; on devices `None` too.
    #[serde(deserialize_with = "text")]
    pub effect: String,
}

/// Observed state of a Node.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SlimNodeStatus {
    /// What the node has.
    #[serde(deserialize_with = "text_map")]
    pub capacity: BTreeMap<String, String>,
    /// What pods may use; `None` where the status does not say.
    #[serde(deserialize_with = "some_text_map")]
    pub allocatable: Option<BTreeMap<String, String>>,
    /// Conditions.
    #[serde(deserialize_with = "or_default")]
    pub conditions: Vec<SlimCondition>,
    /// Operating system and architecture.
    #[serde(deserialize_with = "or_default")]
    pub node_info: SlimNodeInfo,
}

/// Operating system of a Node.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SlimNodeInfo {
    /// `linux` or `windows`.
    #[serde(deserialize_with = "text")]
    pub operating_system: String,
}

/// A condition of a Node or a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SlimCondition {
    /// Type.
    #[serde(rename = "type", deserialize_with = "text")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    #[serde(deserialize_with = "text")]
    pub status: String,
    /// Reason.
    #[serde(deserialize_with = "some_text")]
    pub reason: Option<String>,
    /// Message.
    #[serde(deserialize_with = "some_text")]
    pub message: Option<String>,
    /// Since when it has this status.
    #[serde(deserialize_with = "some_time")]
    pub last_transition_time: Option<Timestamp>,
}

/// A Pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, kube::Resource)]
#[resource(inherit = Pod)]
#[serde(default)]
pub struct SlimPod {
    /// Metadata.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    /// Wanted state.
    #[serde(deserialize_with = "or_default")]
    pub spec: SlimPodSpec,
    /// Observed state.
    #[serde(deserialize_with = "or_default")]
    pub status: SlimPodStatus,
}

/// Wanted state of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SlimPodSpec {
    /// Node it is bound to.
    #[serde(deserialize_with = "some_text")]
    pub node_name: Option<String>,
    /// Containers.
    #[serde(deserialize_with = "or_default")]
    pub containers: Vec<SlimContainer>,
    /// Init containers; those that restart always are sidecars.
    #[serde(deserialize_with = "or_default")]
    pub init_containers: Vec<SlimContainer>,
    /// What the runtime class adds.
    #[serde(deserialize_with = "text_map")]
    pub overhead: BTreeMap<String, String>,
    /// Requests of the pod as a whole, where given.
    #[serde(deserialize_with = "or_default")]
    pub resources: SlimResources,
    /// DRA claims.
    #[serde(deserialize_with = "or_default")]
    pub resource_claims: Vec<SlimPodClaim>,
    /// Scheduling gates still on it.
    #[serde(deserialize_with = "or_default")]
    pub scheduling_gates: Vec<SlimGate>,
}

/// A container's requests.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SlimContainer {
    /// Requests and limits.
    #[serde(deserialize_with = "or_default")]
    pub resources: SlimResources,
    /// `Always` makes an init container a sidecar.
    #[serde(deserialize_with = "text")]
    pub restart_policy: String,
}

/// Requests and limits.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SlimResources {
    /// Requests.
    #[serde(deserialize_with = "text_map")]
    pub requests: BTreeMap<String, String>,
    /// Limits; a limit without a request is the request.
    #[serde(deserialize_with = "text_map")]
    pub limits: BTreeMap<String, String>,
}

/// A claim that a pod names.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SlimPodClaim {
    /// Name within the pod.
    #[serde(deserialize_with = "text")]
    pub name: String,
    /// Name of the ResourceClaim, where it is named directly.
    #[serde(deserialize_with = "some_text")]
    pub resource_claim_name: Option<String>,
}

/// A scheduling gate.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SlimGate {
    /// Name.
    #[serde(deserialize_with = "text")]
    pub name: String,
}

/// Observed state of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SlimPodStatus {
    /// Phase.
    #[serde(deserialize_with = "text")]
    pub phase: String,
    /// Why it is in that phase, where the kubelet says so.
    #[serde(deserialize_with = "text")]
    pub reason: String,
    /// The same, in words.
    #[serde(deserialize_with = "text")]
    pub message: String,
    /// When the kubelet took it on.
    #[serde(deserialize_with = "some_time")]
    pub start_time: Option<Timestamp>,
    /// Node that it will have once what was preempted for it there has gone.
    #[serde(deserialize_with = "some_text")]
    pub nominated_node_name: Option<String>,
    /// The claim that the scheduler made for its extended resources, where DRA serves them.
    #[serde(deserialize_with = "or_default")]
    pub extended_resource_claim_status: SlimExtendedClaim,
    /// States of the init containers.
    #[serde(deserialize_with = "or_default")]
    pub init_container_statuses: Vec<SlimContainerStatus>,
    /// States of the containers.
    #[serde(deserialize_with = "or_default")]
    pub container_statuses: Vec<SlimContainerStatus>,
    /// Conditions.
    #[serde(deserialize_with = "or_default")]
    pub conditions: Vec<SlimCondition>,
    /// Claims that were made from the pod's templates.
    #[serde(deserialize_with = "or_default")]
    pub resource_claim_statuses: Vec<SlimPodClaim>,
}

/// How a container is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SlimContainerStatus {
    /// Name.
    #[serde(deserialize_with = "text")]
    pub name: String,
    /// Now.
    #[serde(deserialize_with = "or_default")]
    pub state: SlimContainerState,
    /// Before it was last started.
    #[serde(deserialize_with = "or_default")]
    pub last_state: SlimContainerState,
}

/// A state of a container; one that runs has neither.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SlimContainerState {
    /// Why it does not run yet.
    pub waiting: Option<SlimCause>,
    /// How it ended.
    pub terminated: Option<SlimCause>,
}

/// A reason with its message.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SlimCause {
    /// Exit code, of one that ended.
    #[serde(deserialize_with = "or_default")]
    pub exit_code: i32,
    /// Reason, such as `CrashLoopBackOff` or `OOMKilled`.
    #[serde(deserialize_with = "text")]
    pub reason: String,
    /// Message.
    #[serde(deserialize_with = "text")]
    pub message: String,
}

/// The claim of a pod's extended resources.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SlimExtendedClaim {
    /// Name of the ResourceClaim.
    #[serde(deserialize_with = "some_text")]
    pub resource_claim_name: Option<String>,
}

impl SlimTaint {
    /// Whether a device with this taint goes to no claim that does not tolerate it. An effect that is not known is none, as for
    /// the scheduler.
    pub fn keeps_claims_off(&self) -> bool {
        matches!(self.effect.as_str(), "NoSchedule" | "NoExecute")
    }
}

/// A ResourceSlice of `resource.k8s.io/v1`; the nesting of `v1beta1` is read too.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, kube::Resource)]
#[resource(inherit = ResourceSlice)]
#[serde(default)]
pub struct SlimResourceSlice {
    /// Metadata.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    /// Contents.
    #[serde(deserialize_with = "or_default")]
    pub spec: SlimSliceSpec,
}

impl SlimResourceSlice {
    /// Whether its pool may have slices of several nodes: a pool of one node is named after it, and its slices name the node.
    pub fn is_of_shared_pool(&self) -> bool {
        self.spec.node_name.as_deref() != Some(self.spec.pool.name.as_str())
    }

    /// The nodes that its devices are on: the one that it names, or those that its devices name.
    pub fn nodes(&self) -> BTreeSet<&str> {
        let devices = self.spec.devices.iter().map(|d| &d.node_name);
        std::iter::once(&self.spec.node_name)
            .chain(devices)
            .filter_map(Option::as_deref)
            .collect()
    }
}

/// Contents of a ResourceSlice.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SlimSliceSpec {
    /// Driver.
    #[serde(deserialize_with = "text")]
    pub driver: String,
    /// Node that the devices belong to.
    #[serde(deserialize_with = "some_text")]
    pub node_name: Option<String>,
    /// Pool.
    #[serde(deserialize_with = "or_default")]
    pub pool: SlimPool,
    /// Devices.
    #[serde(deserialize_with = "or_default")]
    pub devices: Vec<SlimDevice>,
}

/// Pool of a ResourceSlice.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SlimPool {
    /// Name; usually the node's.
    #[serde(deserialize_with = "text")]
    pub name: String,
    /// Only slices of the highest generation count.
    #[serde(deserialize_with = "or_default")]
    pub generation: i64,
    /// Slices that make the pool whole; `None` where it is not said.
    pub resource_slice_count: Option<i64>,
}

/// A device of a ResourceSlice.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SlimDevice {
    /// Name, unique in the pool.
    #[serde(deserialize_with = "text")]
    pub name: String,
    /// Attributes by name, with or without the driver's domain in front.
    #[serde(deserialize_with = "or_default")]
    pub attributes: BTreeMap<String, SlimAttribute>,
    /// Capacities by name.
    #[serde(deserialize_with = "or_default")]
    pub capacity: BTreeMap<String, SlimCapacity>,
    /// Taints.
    #[serde(deserialize_with = "or_default")]
    pub taints: Vec<SlimTaint>,
    /// Counter sets that using it draws on.
    #[serde(deserialize_with = "or_default")]
    pub consumes_counters: Vec<SlimCounters>,
    /// Node, where each device of the slice names its own.
    #[serde(deserialize_with = "some_text")]
    pub node_name: Option<String>,
    /// Whether several claims may share it.
    #[serde(deserialize_with = "or_default")]
    pub allow_multiple_allocations: bool,
    /// Where `v1beta1` keeps attributes and capacity.
    pub basic: Option<Box<SlimDevice>>,
}

/// A counter set that a device draws on.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SlimCounters {
    /// Name of the counter set.
    #[serde(deserialize_with = "text")]
    pub counter_set: String,
}

/// An attribute's value.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SlimAttribute {
    /// Text.
    #[serde(deserialize_with = "some_text")]
    pub string: Option<String>,
    /// Truth value.
    pub bool: Option<bool>,
    /// Whole number.
    pub int: Option<i64>,
    /// Version.
    #[serde(deserialize_with = "some_text")]
    pub version: Option<String>,
}

/// A capacity's value.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SlimCapacity {
    /// Quantity.
    #[serde(deserialize_with = "text")]
    pub value: String,
}

/// A ResourceClaim.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, kube::Resource)]
#[resource(inherit = ResourceClaim)]
#[serde(default)]
pub struct SlimResourceClaim {
    /// Metadata.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    /// Observed state.
    #[serde(deserialize_with = "or_default")]
    pub status: SlimClaimStatus,
}

/// Observed state of a ResourceClaim.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SlimClaimStatus {
    /// What was allocated.
    #[serde(deserialize_with = "or_default")]
    pub allocation: SlimAllocation,
    /// Who may use it now: pods, mostly.
    #[serde(rename = "reservedFor", deserialize_with = "or_default")]
    pub reserved_for: Vec<SlimClaimUser>,
}

/// Who uses a ResourceClaim.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SlimClaimUser {
    /// Resource in the plural: `pods`.
    #[serde(deserialize_with = "text")]
    pub resource: String,
    /// Name.
    #[serde(deserialize_with = "text")]
    pub name: String,
}

/// An allocation.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SlimAllocation {
    /// Devices.
    #[serde(deserialize_with = "or_default")]
    pub devices: SlimAllocatedDevices,
}

/// Devices of an allocation.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SlimAllocatedDevices {
    /// One entry for each device.
    #[serde(deserialize_with = "or_default")]
    pub results: Vec<SlimAllocatedDevice>,
}

/// One allocated device.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SlimAllocatedDevice {
    /// Driver.
    #[serde(deserialize_with = "text")]
    pub driver: String,
    /// Pool.
    #[serde(deserialize_with = "text")]
    pub pool: String,
    /// Device.
    #[serde(deserialize_with = "text")]
    pub device: String,
    /// Whether it only looks on and holds nothing.
    #[serde(deserialize_with = "or_default")]
    pub admin_access: bool,
}
