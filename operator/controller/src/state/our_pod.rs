//! A pod of one of our placements, and what it does.

use std::collections::BTreeMap;

use ampacity_api::{Placement, labels};
use jiff::Timestamp;

use super::pod_wait::{PodWait, rejection};
use super::slim::SlimPod;

/// Annotation and, since Kubernetes 1.28, label of an indexed Job's pods: their rank.
const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// The rank that the Job controller gave a pod, from its labels or its annotations; `None` for pods of no indexed Job.
fn rank_of(
    labels: Option<&BTreeMap<String, String>>,
    annotations: Option<&BTreeMap<String, String>>,
) -> Option<u32> {
    [annotations, labels]
        .into_iter()
        .flatten()
        .find_map(|map| map.get(COMPLETION_INDEX)?.parse().ok())
}

/// A pod of one of our placements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OurPod {
    /// UID.
    pub uid: String,
    /// Rank in a gang.
    pub rank: Option<u32>,
    /// Node it is bound to.
    pub node: Option<String>,
    /// Whether our scheduling gate is still on it.
    pub gated: bool,
    /// Whether it runs and is ready.
    pub ready: bool,
    /// Whether it ended well.
    pub succeeded: bool,
    /// Whether it ended badly.
    pub failed: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Whether it was disrupted (node lost, evicted, preempted) rather than failing by itself.
    pub disrupted: bool,
    /// What keeps it from running, if anything.
    pub waits: Option<PodWait>,
    /// Since when this process has seen it wait so. By this process's clock: the member's may be another.
    pub waits_since: Option<Timestamp>,
    /// Whether it has been ready, as far as this process has seen.
    pub was_ready: bool,
    /// Why the kubelet of its node would not run it, if it said so.
    pub rejected: Option<String>,
}

impl OurPod {
    /// Whether it is bound to a node and has not ended badly.
    pub fn is_bound(&self) -> bool {
        self.node.is_some() && !self.failed && !self.terminating
    }

    /// Whether it has been ready, runs on, and is not ready now.
    pub fn has_ceased(&self) -> bool {
        self.was_ready && !self.ready && self.is_bound() && !self.succeeded
    }

    /// Whether it still holds its devices.
    pub fn holds_devices(&self) -> bool {
        !self.succeeded && !self.failed
    }

    /// What a pod that is seen now does; `known`: as it was seen before.
    pub(super) fn seen(pod: &SlimPod, known: Option<&Self>, now: Timestamp) -> Self {
        let mut seen = our_pod(pod);
        let known = known.filter(|known| known.uid == seen.uid);
        seen.waits_since = waits_since(known, &seen, now);
        seen.was_ready = seen.ready || known.is_some_and(|known| known.was_ready);
        seen
    }
}

/// Pods that a placement's workload has yet to make, beside those that are on their way out.
pub fn missing_pods(placement: &Placement, pods: Option<&BTreeMap<String, OurPod>>) -> i32 {
    let there = pods.map_or(0, |pods| {
        pods.values()
            .filter(|pod| !pod.terminating && !pod.failed)
            .count()
    });
    let there = i32::try_from(there).unwrap_or(i32::MAX);
    placement.spec.replicas.saturating_sub(there).max(0)
}

fn our_pod(pod: &SlimPod) -> OurPod {
    let condition = |type_: &str, status: &str| {
        pod.status
            .conditions
            .iter()
            .find(|c| c.type_ == type_ && c.status == status)
    };
    let phase = pod.status.phase.as_str();
    OurPod {
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        rank: rank_of(
            pod.metadata.labels.as_ref(),
            pod.metadata.annotations.as_ref(),
        ),
        node: pod.spec.node_name.clone().filter(|n| !n.is_empty()),
        gated: pod
            .spec
            .scheduling_gates
            .iter()
            .any(|g| g.name == labels::SCHEDULING_GATE),
        ready: phase == "Running" && condition("Ready", "True").is_some(),
        succeeded: phase == "Succeeded",
        failed: phase == "Failed",
        terminating: pod.metadata.deletion_timestamp.is_some(),
        disrupted: condition("DisruptionTarget", "True").is_some(),
        waits: PodWait::of(pod),
        waits_since: None,
        was_ready: false,
        rejected: rejection(pod),
    }
}

/// Since when a pod has been waiting for what it waits for. One whose container keeps ending runs for a moment now and then: that
/// it was ready between is what begins its time anew.
fn waits_since(known: Option<&OurPod>, seen: &OurPod, now: Timestamp) -> Option<Timestamp> {
    let before = known.and_then(|known| Some((known.waits.as_ref(), known.waits_since?)));
    match (&seen.waits, before) {
        (None, Some((None | Some(PodWait::Failing(_)), since))) if !seen.ready => Some(since),
        (None, _) => None,
        (Some(_), None) => Some(now),
        (Some(PodWait::Failing(_)), Some((None | Some(PodWait::Failing(_)), since))) => Some(since),
        (Some(now_waits), Some((Some(waited), since))) => {
            let same = std::mem::discriminant(now_waits) == std::mem::discriminant(waited);
            Some(if same { since } else { now })
        }
        (Some(_), Some((None, _))) => Some(now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_is_read_from_annotation_or_label() {
        let map = |value: &str| BTreeMap::from([(COMPLETION_INDEX.to_owned(), value.to_owned())]);
        assert_eq!(rank_of(None, Some(&map("7"))), Some(7));
        assert_eq!(rank_of(Some(&map("8")), None), Some(8));
        assert_eq!(rank_of(Some(&map("8")), Some(&map("x"))), Some(8));
        assert_eq!(rank_of(Some(&map("-1")), Some(&BTreeMap::new())), None);
    }
}
