//! What runs a placement in its member, reduced to the few fields that are followed.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{ApiResource, NamespaceResourceScope};
use serde::{Deserialize, Serialize};

/// A Job, a Deployment or whatever else a kind of job is run by.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Workload {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Wanted state.
    #[serde(default)]
    pub spec: WorkloadSpec,
    /// Outcome.
    #[serde(default)]
    pub status: WorkloadStatus,
}

/// Wanted state of a workload.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadSpec {
    /// Replicas wanted, where it has such a number.
    #[serde(default)]
    pub replicas: i32,
    /// Seconds after its start at which a Job ends, whatever becomes of it.
    #[serde(default)]
    pub active_deadline_seconds: Option<i64>,
    /// How often a Job makes pods that failed again.
    #[serde(default)]
    pub backoff_limit: i32,
}

/// Outcome of a workload.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// `Complete`, `Failed`, …
    #[serde(default)]
    pub conditions: Vec<WorkloadCondition>,
    /// Pods of a Job that failed and count.
    #[serde(default)]
    pub failed: i32,
}

/// A condition of a workload.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WorkloadCondition {
    /// Type.
    #[serde(rename = "type", default)]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    #[serde(default)]
    pub status: String,
    /// Reason.
    #[serde(default)]
    pub reason: Option<String>,
    /// Message.
    #[serde(default)]
    pub message: Option<String>,
}

impl Workload {
    /// The condition of this type, if it is true.
    pub fn condition(&self, type_: &str) -> Option<&WorkloadCondition> {
        let mut conditions = self.status.conditions.iter();
        conditions.find(|c| c.type_ == type_ && c.status == "True")
    }
}

/// Of whatever resource it is read as.
impl Resource for Workload {
    type DynamicType = ApiResource;
    type Scope = NamespaceResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn api_version(resource: &ApiResource) -> Cow<'_, str> {
        resource.api_version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
