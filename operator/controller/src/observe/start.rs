//! What keeps a placement from running, and what of it has lasted too long.

use std::collections::BTreeMap;

use ampacity_api::{ConditionReason, Placement};
use jiff::Timestamp;

use crate::state::{Inquiry, OurPod, PodWait, Workload, missing_pods};

/// How many start deadlines a workload may go without all of its pods where nothing says why: its controller may be behind with many
/// others, which is no fault of this cluster.
const DEADLINES_WITHOUT_WORDS: i64 = 5;
/// How many start deadlines the containers of a bound pod may take to be made: large images and volumes do, and nothing is wrong
/// then.
const DEADLINES_CREATING: i64 = 15;
/// A pod that no scheduler has looked at for so many seconds is told of.
const UNSEEN_SECONDS: i64 = 5;

/// How long what goes wrong may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Seconds that a node may be out of order before what is on it counts as lost.
    pub node_grace_seconds: i64,
    /// Seconds that something may keep a replica from starting.
    pub start_deadline_seconds: i64,
}

/// A call on a placement that fails again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailingCall {
    /// What its server said last.
    pub words: String,
    /// For how many seconds it has been failing.
    pub seconds: i64,
}

/// Something that has lasted too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Late {
    /// What it is.
    pub reason: ConditionReason,
    /// In words, with those of the member.
    pub message: String,
    /// Replicas that it keeps from running.
    pub replicas: i32,
    /// Whether it was told by watches, which may be out of date.
    pub is_watched: bool,
}

/// What keeps a placement from running.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// What is wrong, as soon as something is; in words.
    pub trouble: Option<String>,
    /// What of it has lasted too long.
    pub late: Option<Late>,
}

/// What a start is judged by.
pub(super) struct StartFacts<'a> {
    pub(super) placement: &'a Placement,
    pub(super) workload: Option<&'a Workload>,
    pub(super) pods: Option<&'a BTreeMap<String, OurPod>>,
    pub(super) inquiry: Option<&'a Inquiry>,
    pub(super) failing_call: Option<&'a FailingCall>,
    pub(super) patience: Patience,
    pub(super) now: Timestamp,
}

impl StartFacts<'_> {
    pub(super) fn judge(&self) -> Start {
        let held_up = [
            self.failing_call(),
            self.missing_pods(),
            self.waiting_pods(),
        ];
        let mut start = Start::default();
        for (trouble, late) in held_up.into_iter().flatten() {
            start.trouble = start.trouble.or(trouble);
            start.late = start.late.or(late);
        }
        start
    }

    fn cluster(&self) -> &str {
        &self.placement.spec.cluster
    }

    fn deadline(&self) -> i64 {
        self.patience.start_deadline_seconds
    }

    fn passed(&self, since: Timestamp) -> i64 {
        self.now.as_second() - since.as_second()
    }

    /// Its objects cannot be made, or its gates not be lifted.
    fn failing_call(&self) -> Option<(Option<String>, Option<Late>)> {
        let call = self.failing_call?;
        let trouble = format!("cluster {}: {}", self.cluster(), call.words);
        let late = (call.seconds >= self.deadline()).then(|| Late {
            reason: ConditionReason::DispatchRefused,
            message: format!("{trouble}; tried for {} s", call.seconds),
            replicas: self.placement.spec.replicas,
            is_watched: false,
        });
        Some((Some(trouble), late))
    }

    /// Its workload has fewer pods than replicas.
    fn missing_pods(&self) -> Option<(Option<String>, Option<Late>)> {
        let workload = self.workload?;
        let missing = missing_pods(self.placement, self.pods);
        let since = self.inquiry?.short_since.filter(|_| missing > 0)?;
        let replicas = self.placement.spec.replicas;
        let kind = self.placement.spec.job_ref.kind;
        let words = workload
            .condition("ReplicaFailure")
            .and_then(|c| c.message.clone())
            .or_else(|| self.inquiry.and_then(|inquiry| inquiry.words.clone()));
        let name = workload.metadata.name.as_deref().unwrap_or_default();
        let namespace = workload.metadata.namespace.as_deref().unwrap_or_default();
        let made = format!(
            "cluster {} made {} of {replicas} pods of {name}, which runs this {kind}",
            self.cluster(),
            replicas - missing
        );
        let (message, patience) = match &words {
            Some(words) => (format!("{made}: {words}"), self.deadline()),
            None => (
                format!(
                    "{made}, and does not say why; `kubectl -n {namespace} describe` of it there may, or whether it is suspended"
                ),
                self.deadline().saturating_mul(DEADLINES_WITHOUT_WORDS),
            ),
        };
        let late = (self.passed(since) >= patience).then(|| Late {
            reason: ConditionReason::PodsNotMade,
            message: message.clone(),
            replicas: missing,
            is_watched: true,
        });
        Some((words.map(|_| message), late))
    }

    /// Its pods are there and do not run.
    fn waiting_pods(&self) -> Option<(Option<String>, Option<Late>)> {
        let pods = self.pods?;
        let mut trouble: Option<(u8, String)> = None;
        let mut late: Option<(u8, ConditionReason, &str, &PodWait)> = None;
        let (mut late_unbound, mut late_bound) = (0_i32, 0_i32);
        for (name, pod) in pods {
            let (Some(wait), Some(since)) = (&pod.waits, pod.waits_since) else {
                if trouble.is_none() && pod.has_ceased() {
                    let said = format!(
                        "pod {name} was ready and is not any more in cluster {}; its readiness probe fails, or its node is not heard of",
                        self.cluster()
                    );
                    trouble = Some((LEAST, said));
                }
                continue;
            };
            let lasted = self.passed(since);
            if trouble
                .as_ref()
                .is_none_or(|(rank, _)| *rank > rank_of(wait))
                && let Some(said) = self.trouble(name, wait, lasted)
            {
                trouble = Some((rank_of(wait), said));
            }
            if !self.is_late(pod, wait, lasted) {
                continue;
            }
            if pod.node.is_some() {
                late_bound = late_bound.saturating_add(1);
            } else {
                late_unbound = late_unbound.saturating_add(1);
            }
            if late.is_none_or(|(rank, ..)| rank > rank_of(wait)) {
                late = Some((rank_of(wait), reason_of(wait), name, wait));
            }
        }
        let bound = pods.values().filter(|pod| pod.is_bound()).count();
        let unbound = self
            .placement
            .spec
            .replicas
            .saturating_sub(i32::try_from(bound).unwrap_or(i32::MAX))
            .max(0);
        let replicas = late_unbound.min(unbound).saturating_add(late_bound);
        let late = late
            .filter(|_| replicas > 0)
            .map(|(_, reason, name, wait)| Late {
                reason,
                message: self.late_message(name, wait, late_unbound.saturating_add(late_bound)),
                replicas,
                is_watched: true,
            });
        Some((trouble.map(|(_, said)| said), late))
    }

    fn is_late(&self, pod: &OurPod, wait: &PodWait, lasted: i64) -> bool {
        let patience = match wait {
            PodWait::Unseen | PodWait::Unschedulable(_) => self.deadline(),
            // One that served and then keeps ending does so by itself; another place would not help it.
            PodWait::Failing(_) if pod.was_ready => return false,
            PodWait::Failing(_) => self.deadline(),
            PodWait::Gated(_) | PodWait::Creating => {
                self.deadline().saturating_mul(DEADLINES_CREATING)
            }
        };
        lasted >= patience
    }

    /// What is wrong with a pod that waits, if that can be told yet.
    fn trouble(&self, name: &str, wait: &PodWait, lasted: i64) -> Option<String> {
        match wait {
            PodWait::Unschedulable(words) | PodWait::Failing(words) if !words.is_empty() => {
                Some(format!("pod {name}: {words}"))
            }
            PodWait::Unseen if lasted >= UNSEEN_SECONDS => Some(format!(
                "no scheduler of cluster {} has looked at pod {name} for {lasted} s; is the schedulerName of its template served there?",
                self.cluster()
            )),
            PodWait::Gated(gates) if !gates.is_empty() && lasted >= UNSEEN_SECONDS => {
                Some(format!(
                    "pod {name} waits in cluster {} for others to lift their scheduling gates: {gates}",
                    self.cluster()
                ))
            }
            _ => None,
        }
    }

    fn late_message(&self, pod: &str, wait: &PodWait, count: i32) -> String {
        let cluster = self.cluster();
        let more = match count {
            ..=1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        let namespace = self
            .placement
            .metadata
            .namespace
            .as_deref()
            .unwrap_or_default();
        match wait {
            PodWait::Unschedulable(words) => format!(
                "the scheduler of cluster {cluster} finds no node for pod {pod}{more}: {words}"
            ),
            PodWait::Unseen => format!(
                "no scheduler of cluster {cluster} has looked at pod {pod}{more}; see whether the schedulerName of its template is served there"
            ),
            PodWait::Failing(words) => {
                format!("pod {pod}{more} cannot start in cluster {cluster}: {words}")
            }
            PodWait::Gated(_) => format!(
                "a scheduling gate is still on pod {pod}{more} in cluster {cluster}; `kubectl -n {namespace} get pod {pod} -o yaml` there shows whose"
            ),
            PodWait::Creating => format!(
                "the containers of pod {pod}{more} in cluster {cluster} are not made; `kubectl -n {namespace} describe pod {pod}` there says why"
            ),
        }
    }
}

fn reason_of(wait: &PodWait) -> ConditionReason {
    match wait {
        PodWait::Unseen | PodWait::Unschedulable(_) => ConditionReason::Unschedulable,
        PodWait::Failing(_) | PodWait::Gated(_) | PodWait::Creating => ConditionReason::StartFailed,
    }
}

/// The rank of what is told only where nothing else is.
const LEAST: u8 = u8::MAX;

/// The most decisive first.
fn rank_of(wait: &PodWait) -> u8 {
    match wait {
        PodWait::Failing(_) => 0,
        PodWait::Unschedulable(_) => 1,
        PodWait::Unseen => 2,
        PodWait::Creating => 3,
        PodWait::Gated(_) => 4,
    }
}

#[cfg(test)]
mod tests;
