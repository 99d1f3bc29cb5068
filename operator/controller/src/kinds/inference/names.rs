//! Names of what an InferenceJob is made of: the same for the same job and attempt, and for nothing else.

use ampacity_api::Placement;
use kube::ResourceExt;

use crate::dispatch::{MAX_LABEL, bounded, bounded_subdomain, shortened};
use crate::kinds::GANG;

/// Name of the Placement of an attempt: `<job>-i<number>`. No TrainingJob's can look like it, whatever its name.
pub fn placement_name(job: &str, attempt: i32) -> String {
    bounded_subdomain(&format!("{job}-i{attempt}"))
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

/// Name of the Service that all of an inference job's replicas in a cluster share: the job's, unless that could be the Service of
/// a gang.
pub fn service_name(job: &str) -> String {
    if job.ends_with(GANG) {
        return shortened(job, MAX_LABEL);
    }
    bounded(job, MAX_LABEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_called_as_the_job_wherever_it_can_be() {
        let longest = "a".repeat(63);
        for kept in [
            "chat",
            "llama-1",
            "deepseek-r1",
            "gang",
            "gang-8",
            longest.as_str(),
        ] {
            assert_eq!(service_name(kept), kept);
        }
        for (altered, head) in [("wolf-gang", "wolf-gang-x"), ("8b.chat", "j-8b-chat-x")] {
            let name = service_name(altered);
            assert!(name.starts_with(head), "{name}");
        }
    }
}
