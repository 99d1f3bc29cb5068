//! How one attempt is doing, from what its member shows.

use ampacity_api::ConditionReason;

use super::view::{MemberView, PlacementView};

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
    /// It is over and did not succeed.
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
            let disrupted = view
                .pods
                .is_some_and(|pods| pods.values().any(|p| p.disrupted));
            let reason = if disrupted || !view.lost_nodes.is_empty() {
                ConditionReason::NodeFailed
            } else {
                ConditionReason::ReplicaFailed
            };
            let message = condition
                .message
                .clone()
                .unwrap_or_else(|| "a replica failed".to_owned());
            return failed(reason, message);
        }
        if job.metadata.deletion_timestamp.is_some() {
            return failed(
                ConditionReason::Lost,
                format!("its Job in cluster {cluster} is being deleted by somebody else"),
            );
        }
    } else if view.was_dispatched {
        return failed(
            ConditionReason::Lost,
            format!("its Job in cluster {cluster} was deleted by somebody else"),
        );
    }
    if let Some(message) = view.refused {
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
    if let Some(message) = late(view) {
        let reason = ConditionReason::Unschedulable;
        return if view.ran() {
            failed(reason, message)
        } else {
            Outcome::NotStarted { reason, message }
        };
    }
    Outcome::InProgress
}

/// What is too late in starting, in words.
fn late(view: &PlacementView<'_>) -> Option<String> {
    let cluster = &view.placement.spec.cluster;
    if let Some((pod, said)) = view.late_pods.first() {
        let more = match view.late_pods.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        return Some(format!(
            "the scheduler of cluster {cluster} finds no node for pod {pod}{more}: {said}"
        ));
    }
    let job = view.workload.filter(|_| view.is_barren)?;
    let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
    let name = job.metadata.name.as_deref().unwrap_or_default();
    Some(format!(
        "cluster {cluster} made no pod of Job {name}, perhaps for a quota; `kubectl -n {namespace} describe job {name}` there says why"
    ))
}

#[cfg(test)]
mod tests;
