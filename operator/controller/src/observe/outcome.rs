//! How one attempt is doing, from what its member shows.

use std::collections::BTreeMap;

use ampacity_api::member_cluster::UnreachableAction;
use ampacity_api::{ConditionReason, MemberCluster, Placement};
use jiff::Timestamp;

use crate::member::SlimJob;
use crate::pods::OurPod;
use crate::world::{Member, ObjectKey, Reach};

/// The member of a placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberView {
    /// It answers and has been read.
    Current,
    /// Linked a moment ago, as after a start of the operator: it has not had the time to show anything.
    NotRead,
    /// Silent for less than its policy says, or not to be read whole.
    Silent,
    /// Silent for longer than its policy says, and the policy is to replace.
    GivenUp,
    /// No MemberCluster of that name any more.
    Removed,
}

/// What a member shows of a placement.
#[derive(Clone, Debug)]
pub struct PlacementView<'a> {
    /// The placement.
    pub placement: &'a Placement,
    /// Its member.
    pub member: MemberView,
    /// Its Job.
    pub job: Option<&'a SlimJob>,
    /// Its pods.
    pub pods: Option<&'a BTreeMap<String, OurPod>>,
    /// A node of it that has been out of order for longer than the grace, with what is wrong.
    pub lost_node: Option<String>,
    /// Whether its objects were seen in the member before.
    pub was_dispatched: bool,
    /// Why the member refuses its objects.
    pub refused: Option<&'a str>,
}

impl<'a> PlacementView<'a> {
    /// Looks a placement up in what its member shows.
    pub fn new(
        placement: &'a Placement,
        cluster: Option<&MemberCluster>,
        member: Option<&'a Member>,
        node_grace_seconds: i64,
        now: Timestamp,
    ) -> Self {
        let key = ObjectKey::of(placement);
        let view = match (cluster, member) {
            (None, _) => MemberView::Removed,
            (Some(_), None) => MemberView::NotRead,
            (Some(_), Some(member)) if member.is_being_read(now) => MemberView::NotRead,
            (Some(cluster), Some(member)) => match &member.reach {
                Reach::Connected if member.is_synced() => MemberView::Current,
                Reach::Unreachable { since, .. } => {
                    let policy = &cluster.spec.unreachable;
                    let silent_seconds = now.as_second() - since.as_second();
                    if policy.action == UnreachableAction::Replace
                        && silent_seconds >= policy.after_seconds
                    {
                        MemberView::GivenUp
                    } else {
                        MemberView::Silent
                    }
                }
                Reach::Connected | Reach::Connecting => MemberView::Silent,
            },
        };
        let lost_node = member.and_then(|member| {
            placement.spec.nodes.iter().find_map(|node| {
                let since = member.faulty_since.get(&node.name)?;
                (now.as_second() - since.as_second() >= node_grace_seconds)
                    .then(|| node.name.clone())
            })
        });
        Self {
            placement,
            member: view,
            job: member.and_then(|m| m.jobs.get(&key)),
            pods: member.and_then(|m| m.pods.of_placement(&key)),
            lost_node,
            was_dispatched: false,
            refused: None,
        }
    }

    /// Pods that run and are ready.
    pub fn ready(&self) -> i32 {
        self.count(|p| p.ready || p.succeeded)
    }

    /// Pods bound to a node.
    pub fn bound(&self) -> i32 {
        self.count(|p| p.node.is_some() && !p.failed)
    }

    fn count(&self, which: impl Fn(&OurPod) -> bool) -> i32 {
        let count = self.pods.map_or(0, |pods| {
            pods.values().filter(|p| !p.terminating && which(p)).count()
        });
        i32::try_from(count).unwrap_or(i32::MAX)
    }
}

/// How an attempt is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on, as far as can be told yet.
    InProgress,
    /// Nobody knows: the member is silent.
    Unknown,
    /// All replicas succeeded.
    Succeeded,
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
    if let Some(job) = view.job {
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
            let reason = if disrupted || view.lost_node.is_some() {
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
        return failed(ConditionReason::DispatchRefused, message.to_owned());
    }
    if let Some(node) = &view.lost_node {
        return failed(
            ConditionReason::NodeFailed,
            format!("node {node} of cluster {cluster} is gone or not ready"),
        );
    }
    Outcome::InProgress
}
