//! How one attempt is doing, from what its member shows.

use std::collections::BTreeMap;

use ampacity_api::ConditionReason;

use super::view::{MemberView, PlacementView};
use crate::state::{Workload, WorkloadCondition};

/// How an attempt is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on, as far as can be told yet.
    InProgress,
    /// Nobody knows: the member is silent.
    Unknown,
    /// All replicas succeeded.
    Succeeded,
    /// It is over before anything ran: the cluster would not have it. That says nothing of the job.
    NotStarted {
        /// Why.
        reason: ConditionReason,
        /// Why, in words.
        message: String,
    },
    /// Its program failed, so many times since it was placed.
    ProgramFailed {
        /// How many times: a single replica is run again in its member.
        failures: i32,
        /// Why, in words.
        message: String,
    },
    /// It ran for as long as it was given in the member.
    OutOfTime {
        /// In the member's words.
        message: String,
    },
    /// It is over and did not succeed, by none of its doing.
    Failed {
        /// Why.
        reason: ConditionReason,
        /// Why, in words.
        message: String,
    },
}

/// How the attempt of a training job is doing.
pub fn outcome(view: &PlacementView<'_>) -> Outcome {
    let cluster = &view.placement.spec.cluster;
    let failed = |reason, message| Outcome::Failed { reason, message };
    match view.member {
        MemberView::NotRead => return Outcome::InProgress,
        MemberView::Silent => return Outcome::Unknown,
        MemberView::GivenUp => {
            return failed(
                ConditionReason::ClusterUnreachable,
                format!("cluster {cluster} has been unreachable for longer than its policy allows"),
            );
        }
        MemberView::Removed => {
            return failed(
                ConditionReason::UnknownCluster,
                format!("MemberCluster {cluster} was removed"),
            );
        }
        MemberView::Current => {}
    }
    if let Some(job) = view.workload {
        if job.condition("Complete").is_some() || job.condition("SuccessCriteriaMet").is_some() {
            return Outcome::Succeeded;
        }
        if let Some(condition) = job
            .condition("Failed")
            .or_else(|| job.condition("FailureTarget"))
        {
            return job_failed(view, job, condition);
        }
        if job.metadata.deletion_timestamp.is_some() {
            return failed(
                ConditionReason::Lost,
                format!("its Job in cluster {cluster} is being deleted by somebody else"),
            );
        }
    } else if view.known.was_dispatched {
        return failed(
            ConditionReason::Lost,
            format!("its Job in cluster {cluster} was deleted by somebody else"),
        );
    }
    if let Some(message) = view.known.refused {
        return Outcome::NotStarted {
            reason: ConditionReason::DispatchRefused,
            message: message.to_owned(),
        };
    }
    if let Some(node) = view.lost_nodes.first() {
        return failed(
            ConditionReason::NodeFailed,
            format!("node {node} of cluster {cluster} is gone or not ready"),
        );
    }
    if let Some(late) = &view.start.late {
        let (reason, message) = (late.reason, late.message.clone());
        return if view.ran() {
            failed(reason, message)
        } else {
            Outcome::NotStarted { reason, message }
        };
    }
    Outcome::InProgress
}

/// Why the Job of an attempt failed: by its program, by a limit of time, or by something that is none of its doing.
fn job_failed(view: &PlacementView<'_>, job: &Workload, condition: &WorkloadCondition) -> Outcome {
    let cluster = &view.placement.spec.cluster;
    let pods = || view.pods.into_iter().flat_map(BTreeMap::values);
    if let Some(words) = pods().find_map(|pod| pod.rejected.as_ref()) {
        let (reason, message) = (
            ConditionReason::NodeRefused,
            format!("a node of cluster {cluster} would not run a replica: {words}"),
        );
        return if view.ran() {
            Outcome::Failed { reason, message }
        } else {
            Outcome::NotStarted { reason, message }
        };
    }
    let message = condition
        .message
        .clone()
        .unwrap_or_else(|| "a replica failed".to_owned());
    if condition.reason.as_deref() == Some(DEADLINE_EXCEEDED) {
        return Outcome::OutOfTime { message };
    }
    let reason = if pods().any(|pod| pod.disrupted) || view.has_failing_nodes {
        ConditionReason::NodeFailed
    } else {
        ConditionReason::ReplicaFailed
    };
    if reason != ConditionReason::ReplicaFailed {
        return Outcome::Failed { reason, message };
    }
    // Those that the Job controller made again count as restarts too. It says that a Job fails before it has counted the last.
    let failed = pods().filter(|pod| pod.failed).count();
    let seen = i32::try_from(failed)
        .unwrap_or(i32::MAX)
        .max(job.status.failed);
    let failures = match condition.reason.as_deref() {
        Some(BACKOFF_LIMIT_EXCEEDED) => job.spec.backoff_limit.saturating_add(1),
        // A gang fails with its first pod, whatever becomes of the others.
        _ if job.spec.backoff_limit == 0 => 1,
        _ => seen,
    };
    Outcome::ProgramFailed {
        failures: failures.max(1),
        message,
    }
}

/// Reason of a Job whose pods failed more often than its `backoffLimit` allows.
const BACKOFF_LIMIT_EXCEEDED: &str = "BackoffLimitExceeded";

/// Reason of a Job that ran for longer than its `activeDeadlineSeconds`.
const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";

#[cfg(test)]
mod tests;
