//! Types and reasons of conditions, and how a condition is set.
//!
//! Programs may rely on every word here; messages are for people and may change.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::string_enum::string_enum;

/// Longest message that is kept, in characters.
pub const MAX_MESSAGE: usize = 4096;

string_enum! {
    /// The question that a condition answers.
    pub enum ConditionType {
        /// Jobs, MemberCluster: whether what the spec says makes sense together with what it names.
        Valid,
        /// Jobs: whether it has a place.
        Placed,
        /// Jobs, Placement: whether all replicas run.
        Running,
        /// TrainingJob, Placement: whether it has come to its end.
        Finished,
        /// MemberCluster: whether the operator is in touch with it.
        Reachable,
        /// MemberCluster, PowerDomain: whether it is being deleted, and what keeps it.
        Terminating,
        /// PowerDomain, PowerBudget: whether it is in force.
        Ready,
        /// PowerDomain, PowerBudget: whether more is reserved than may be drawn.
        Overloaded,
    }
}

string_enum! {
    /// Why a condition is what it is.
    pub enum ConditionReason {
        // Valid
        /// Nothing is wrong.
        Accepted,
        /// The job names an accelerator type that nobody knows.
        UnknownAcceleratorType,
        /// The job names a PriorityClass that the hub does not have.
        UnknownPriorityClass,
        /// The job names a PriorityClass that is for the components of a cluster.
        ReservedPriorityClass,
        /// The job is in a namespace that is the clusters' or the operator's own.
        ReservedNamespace,
        /// The object names a MemberCluster that does not exist.
        UnknownCluster,
        /// The object names a PowerDomain that does not exist.
        UnknownPowerDomain,
        /// The pod template cannot be used.
        InvalidTemplate,
        /// A selector cannot be used.
        InvalidSelector,
        /// The object cannot be used for another reason; the message says which.
        Invalid,

        // Placed
        /// It has a place.
        Placed,
        /// Some replicas of an InferenceJob have a place.
        PartlyPlaced,
        /// It waits for its turn.
        Queued,
        /// No candidate can take it; the verdict says why.
        NoCandidate,
        /// It is suspended.
        Suspended,
        /// It gave back its place to be placed again.
        Replacing,
        /// It has come to its end and holds nothing.
        Released,
        /// An InferenceJob of 0 replicas needs no place.
        ScaledToZero,

        // Running
        /// Its objects are being made in the member cluster.
        Dispatching,
        /// Its pods are being bound or started.
        Starting,
        /// All replicas run.
        AllReplicasRunning,
        /// Some replicas do not run.
        ReplicasNotReady,
        /// It has no place.
        NotPlaced,
        /// The member cluster that it runs in cannot be reached; what it does is not known.
        ClusterUnreachable,
        /// It is being stopped.
        Stopping,
        /// The member cluster refused its objects; the message says why.
        DispatchRefused,

        // Finished
        /// All replicas succeeded.
        Succeeded,
        /// It failed more often than spec.maxRestarts allows.
        MaxRestartsExceeded,
        /// It ran longer than spec.maxRuntimeSeconds allows.
        MaxRuntimeExceeded,
        /// A replica failed; the gang is placed again.
        ReplicaFailed,
        /// A node failed; the gang is placed again.
        NodeFailed,
        /// The scheduler of the member cluster found no node for a replica in time; it is placed again.
        Unschedulable,
        /// A replica could not be started in the member cluster in time; it is placed again.
        StartFailed,
        /// The member cluster did not make all pods, for a quota perhaps; it is placed again.
        PodsNotMade,
        /// The kubelet of its node would not run a replica; it is placed again.
        NodeRefused,
        /// Its deadline passed before its work was done.
        DeadlineExceeded,
        /// It has cost what spec.budget.maxUsd allows before its work was done.
        BudgetExceeded,
        /// Its objects were removed from the member cluster by somebody else.
        Lost,
        /// It failed for another reason; the message says which.
        Failed,

        // Reachable
        /// The API server answers and all is read.
        Connected,
        /// The operator is connecting for the first time.
        Connecting,
        /// The Secret does not exist or lacks the key.
        SecretMissing,
        /// The Secret's content is no kubeconfig that can be used.
        KubeconfigInvalid,
        /// The API server does not take the credentials.
        Unauthorized,
        /// The credentials do not allow what the operator needs.
        Forbidden,
        /// The API server does not answer.
        ConnectionFailed,
        /// The API server is of a version that is not supported.
        UnsupportedVersion,
        /// The credentials lead to another cluster than before.
        OtherCluster,
        /// The credentials lead to the cluster that another MemberCluster leads to.
        SameCluster,

        // Terminating
        /// What runs in the cluster is being ended and placed elsewhere.
        Draining,
        /// Jobs run in the cluster, and spec.deletion says to wait for their end.
        InUse,

        // Ready
        /// In force.
        InForce,
        /// Its parents lead back to itself.
        Cycle,
        /// A parent does not exist.
        UnknownParent,

        // Overloaded
        /// What is reserved may be drawn.
        WithinLimit,
        /// More is reserved than may be drawn: the limit was lowered under what runs, or it was not known when that was placed.
        OverLimit,
    }
}

/// The answer that a condition gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionStatus {
    /// Yes.
    True,
    /// No.
    False,
    /// Not known now.
    Unknown,
}

impl ConditionStatus {
    /// The word that stands in the object.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(yes: bool) -> Self {
        if yes { Self::True } else { Self::False }
    }
}

/// A condition about to be set; see [`set_condition`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCondition {
    /// The question.
    pub type_: ConditionType,
    /// The answer.
    pub status: ConditionStatus,
    /// Why.
    pub reason: ConditionReason,
    /// Why, in words; cut at [`MAX_MESSAGE`] characters.
    pub message: String,
    /// The `metadata.generation` that the answer is about.
    pub observed_generation: Option<i64>,
}

impl NewCondition {
    /// An answer with an empty message, about no generation.
    pub fn new(
        type_: ConditionType,
        status: impl Into<ConditionStatus>,
        reason: ConditionReason,
    ) -> Self {
        Self {
            type_,
            status: status.into(),
            reason,
            message: String::new(),
            observed_generation: None,
        }
    }

    /// The same with a message.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// The same about a generation.
    #[must_use]
    pub fn observed_generation(mut self, generation: Option<i64>) -> Self {
        self.observed_generation = generation;
        self
    }
}

/// Puts `new` in place of the condition of its type, or adds it. Returns whether anything changed.
///
/// `lastTransitionTime` moves to `now` only when the status changes, and nothing changes at all when the same condition
/// is set again, so that a status built twice from the same facts is the same object.
pub fn set_condition(conditions: &mut Vec<Condition>, new: NewCondition, now: &Time) -> bool {
    let message = match new.message.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => new.message.get(..end).unwrap_or_default().to_owned(),
        None => new.message,
    };
    let mut condition = Condition {
        type_: new.type_.as_str().to_owned(),
        status: new.status.as_str().to_owned(),
        reason: new.reason.as_str().to_owned(),
        message,
        observed_generation: new.observed_generation,
        last_transition_time: now.clone(),
    };
    match conditions
        .iter_mut()
        .find(|old| old.type_ == condition.type_)
    {
        None => {
            conditions.push(condition);
            true
        }
        Some(old) => {
            if old.status == condition.status {
                condition.last_transition_time = old.last_transition_time.clone();
            }
            let changed = *old != condition;
            *old = condition;
            changed
        }
    }
}

/// The condition of a type, where there is one.
pub fn find_condition(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions
        .iter()
        .find(|condition| condition.type_ == type_.as_str())
}

/// Whether the condition of a type is there and `True`.
pub fn is_true(conditions: &[Condition], type_: ConditionType) -> bool {
    find_condition(conditions, type_).is_some_and(|condition| condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time(jiff::Timestamp::from_second(seconds).unwrap())
    }

    fn placed(status: bool, message: &str) -> NewCondition {
        let reason = if status {
            ConditionReason::Placed
        } else {
            ConditionReason::Queued
        };
        NewCondition::new(ConditionType::Placed, status, reason)
            .message(message)
            .observed_generation(Some(3))
    }

    #[test]
    fn transition_time_moves_only_with_the_status() {
        let mut conditions = Vec::new();
        assert!(set_condition(&mut conditions, placed(false, "a"), &at(10)));
        assert!(
            !set_condition(&mut conditions, placed(false, "a"), &at(20)),
            "the same again changes nothing"
        );
        assert!(
            set_condition(&mut conditions, placed(false, "b"), &at(30)),
            "another message is a change"
        );
        assert_eq!(conditions[0].last_transition_time, at(10));
        assert!(set_condition(&mut conditions, placed(true, "b"), &at(40)));
        assert_eq!(conditions[0].last_transition_time, at(40));
        assert_eq!(conditions.len(), 1);
        assert!(is_true(&conditions, ConditionType::Placed));
        assert!(!is_true(&conditions, ConditionType::Running));
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let mut conditions = Vec::new();
        set_condition(
            &mut conditions,
            placed(false, &"é".repeat(MAX_MESSAGE + 1)),
            &at(0),
        );
        assert_eq!(conditions[0].message.chars().count(), MAX_MESSAGE);
    }

    #[test]
    fn reasons_match_the_pattern_of_metav1() {
        for reason in ConditionReason::ALL {
            assert!(
                reason
                    .as_str()
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric()),
                "{reason}"
            );
            assert_eq!(reason.as_str().parse(), Ok(*reason));
        }
    }
}
