//! Names of what an InferenceJob is made of: the same for the same job and attempt.

use ampacity_api::Placement;
use kube::ResourceExt;

use crate::dispatch::{MAX_LABEL, bounded};

/// Name of the Placement of an attempt: `<job>-i<number>`. No TrainingJob's can look like it, whatever its name.
pub fn placement_name(job: &str, attempt: i32) -> String {
    format!("{job}-i{attempt}")
}

/// Name of the Deployment of a placement.
pub fn workload_name(placement: &Placement) -> String {
    inference_name(&placement.name_any())
}

/// Name of the Deployment and of its claim template: the placement's, as far as it fits a pod's host name.
pub fn inference_name(placement: &str) -> String {
    // `<name>-<ReplicaSet hash, up to 10>-<5>` stays a host name.
    bounded(placement, MAX_LABEL - 17)
}

/// Name of the Service that all of an inference job's replicas in a cluster share: the job's.
pub fn service_name(job: &str) -> String {
    bounded(job, MAX_LABEL)
}
