//! The few fields of workload objects that the operator follows in a member.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

/// A `batch/v1` Job, reduced to its outcome.
#[derive(Clone, Debug, Default, Serialize, Deserialize, kube::Resource)]
#[resource(inherit = Job)]
pub struct SlimJob {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Outcome.
    #[serde(default)]
    pub status: SlimJobStatus,
}

/// Outcome of a Job.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlimJobStatus {
    /// Pods that ended well.
    #[serde(default)]
    pub succeeded: i32,
    /// Pods that ended badly.
    #[serde(default)]
    pub failed: i32,
    /// Pods that run and are ready.
    #[serde(default)]
    pub ready: i32,
    /// `Complete`, `Failed`, …
    #[serde(default)]
    pub conditions: Vec<SlimCondition>,
}

/// A condition of a workload object.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SlimCondition {
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

impl SlimJob {
    /// The condition of this type, if it is true.
    pub fn condition(&self, type_: &str) -> Option<&SlimCondition> {
        self.status
            .conditions
            .iter()
            .find(|c| c.type_ == type_ && c.status == "True")
    }
}

/// An `apps/v1` Deployment, reduced to its replica counts.
#[derive(Clone, Debug, Default, Serialize, Deserialize, kube::Resource)]
#[resource(inherit = Deployment)]
pub struct SlimDeployment {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Wanted state.
    #[serde(default)]
    pub spec: SlimDeploymentSpec,
    /// Replica counts.
    #[serde(default)]
    pub status: SlimDeploymentStatus,
}

/// Wanted state of a Deployment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlimDeploymentSpec {
    /// Replicas wanted.
    #[serde(default)]
    pub replicas: i32,
}

/// Replica counts of a Deployment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlimDeploymentStatus {
    /// Pods that are ready.
    #[serde(default)]
    pub ready_replicas: i32,
}
