//! What keeps a pod from running, in the words of its member.

use ampacity_api::labels;

use super::slim::{SlimContainerStatus, SlimPod};
use super::text::shorten;

/// Most characters that are kept of what a member says of one pod.
const MOST_CHARACTERS: usize = 512;

/// Reasons of a waiting container that are part of every start.
const ORDINARY: [&str; 3] = ["", "ContainerCreating", "PodInitializing"];

/// Reasons that a kubelet gives for a pod that it will not run (kubernetes/pkg/kubelet: admission, eviction and shutdown managers).
const REJECTIONS: [&str; 7] = [
    "UnexpectedAdmissionError",
    "NodeAffinity",
    "NodePorts",
    "NodeShutdown",
    "Terminated",
    "TopologyAffinityError",
    "SysctlForbidden",
];
/// Reasons that begin like this: `OutOfcpu`, `OutOfnvidia.com/gpu`.
const OUT_OF: &str = "OutOf";

/// What keeps a pod from running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodWait {
    /// Scheduling gates are on it; the names of those that are not ours.
    Gated(String),
    /// No scheduler has looked at it.
    Unseen,
    /// The scheduler finds no node for it; its words.
    Unschedulable(String),
    /// It is bound, and its containers are being made: images are pulled, volumes mounted.
    Creating,
    /// A container cannot be started, or keeps ending; which, and why.
    Failing(String),
}

impl PodWait {
    /// What keeps a pod from running; `None` where it runs, has run or is on its way out.
    pub(super) fn of(pod: &SlimPod) -> Option<Self> {
        let status = &pod.status;
        if pod.metadata.deletion_timestamp.is_some()
            || matches!(status.phase.as_str(), "Succeeded" | "Failed")
        {
            return None;
        }
        if pod.spec.node_name.as_deref().is_none_or(str::is_empty) {
            let gates = &pod.spec.scheduling_gates;
            if !gates.is_empty() {
                let names = gates.iter().map(|gate| gate.name.as_str());
                let foreign: Vec<&str> = names.filter(|n| *n != labels::SCHEDULING_GATE).collect();
                return Some(Self::Gated(shorten(&foreign.join(", "), MOST_CHARACTERS)));
            }
            let scheduled = status.conditions.iter().find(|c| c.type_ == "PodScheduled");
            return Some(match scheduled {
                None => Self::Unseen,
                Some(said) => {
                    let words = said.message.as_deref().unwrap_or_default();
                    Self::Unschedulable(shorten(words, MOST_CHARACTERS))
                }
            });
        }
        let containers = status
            .init_container_statuses
            .iter()
            .chain(&status.container_statuses);
        if let Some(failing) = containers.clone().find_map(failing) {
            return Some(Self::Failing(shorten(&failing, MOST_CHARACTERS)));
        }
        let is_waiting = |container: &SlimContainerStatus| container.state.waiting.is_some();
        (status.phase == "Pending" || status.container_statuses.iter().any(is_waiting))
            .then_some(Self::Creating)
    }

    /// What it says, in words.
    pub fn words(&self) -> Option<&str> {
        match self {
            Self::Unschedulable(words) | Self::Failing(words) if !words.is_empty() => Some(words),
            _ => None,
        }
    }
}

/// Why a container cannot be started or keeps ending, if that is so.
fn failing(container: &SlimContainerStatus) -> Option<String> {
    let waiting = container.state.waiting.as_ref()?;
    if ORDINARY.contains(&waiting.reason.as_str()) {
        return None;
    }
    let mut words = format!("container {}: {}", container.name, waiting.reason);
    if !waiting.message.is_empty() {
        words.push_str(": ");
        words.push_str(&waiting.message);
    }
    if let Some(last) = &container.last_state.terminated {
        words.push_str(&format!(
            "; it last ended with exit code {}",
            last.exit_code
        ));
        if !last.reason.is_empty() {
            words.push_str(&format!(" ({})", last.reason));
        }
    }
    Some(words)
}

/// Why the kubelet of its node would not run a pod, if it said so.
pub(super) fn rejection(pod: &SlimPod) -> Option<String> {
    let status = &pod.status;
    let reason = status.reason.as_str();
    let is_rejected =
        status.phase == "Failed" && (REJECTIONS.contains(&reason) || reason.starts_with(OUT_OF));
    is_rejected.then(|| shorten(&format!("{reason}: {}", status.message), MOST_CHARACTERS))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::object;

    fn wait_of(pod: Value) -> Option<PodWait> {
        PodWait::of(&object(pod))
    }

    #[test]
    fn what_keeps_a_pod_is_told_in_the_words_of_its_member() {
        let bound = json!({"nodeName": "a"});
        let waiting = |reason: &str, message: &str| json!({"name": "main", "state": {"waiting": {"reason": reason, "message": message}}});
        let running = json!({"name": "main", "state": {"running": {}}});
        let pending = |statuses: Value| json!({"phase": "Pending", "containerStatuses": statuses});
        let failing = |words: &str| Some(PodWait::Failing(words.to_owned()));
        let table = [
            (
                json!({}),
                json!({"phase": "Pending"}),
                Some(PodWait::Unseen),
            ),
            (
                json!({"schedulingGates": [{"name": labels::SCHEDULING_GATE}]}),
                json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
                Some(PodWait::Gated(String::new())),
            ),
            (
                json!({"schedulingGates": [{"name": labels::SCHEDULING_GATE}, {"name": "example.com/quota"}, {"name": "x"}]}),
                json!({"phase": "Pending"}),
                Some(PodWait::Gated("example.com/quota, x".to_owned())),
            ),
            (
                json!({}),
                json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}]}),
                Some(PodWait::Unschedulable("0/3 nodes are available".to_owned())),
            ),
            (
                bound.clone(),
                json!({"phase": "Pending"}),
                Some(PodWait::Creating),
            ),
            (
                bound.clone(),
                pending(json!([waiting("ContainerCreating", "")])),
                Some(PodWait::Creating),
            ),
            (
                bound.clone(),
                pending(json!([waiting(
                    "ImagePullBackOff",
                    "Back-off pulling image \"x\""
                )])),
                failing("container main: ImagePullBackOff: Back-off pulling image \"x\""),
            ),
            (
                bound.clone(),
                json!({"phase": "Pending", "initContainerStatuses": [waiting("CreateContainerConfigError", "configmap \"c\" not found")],
                    "containerStatuses": [waiting("PodInitializing", "")]}),
                failing("container main: CreateContainerConfigError: configmap \"c\" not found"),
            ),
            (
                bound.clone(),
                json!({"phase": "Running", "containerStatuses": [{"name": "main",
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}]}),
                failing("container main: CrashLoopBackOff; it last ended with exit code 1 (Error)"),
            ),
            (
                bound.clone(),
                json!({"phase": "Running", "containerStatuses": [running]}),
                None,
            ),
            (bound, json!({"phase": "Failed"}), None),
        ];
        for (spec, status, expected) in table {
            let pod = json!({"metadata": {"name": "p"}, "spec": spec, "status": status});
            assert_eq!(wait_of(pod.clone()), expected, "{pod}");
        }
        let long = wait_of(
            json!({"metadata": {"name": "p"}, "spec": {"nodeName": "a"}, "status":
            {"phase": "Pending", "containerStatuses": [waiting("ErrImagePull", &"é".repeat(10_000))]}}),
        );
        let Some(PodWait::Failing(words)) = long else {
            panic!("{long:?}")
        };
        assert!(words.chars().count() <= MOST_CHARACTERS && words.ends_with('…'));
    }

    #[test]
    fn a_pod_that_its_node_would_not_take_is_told_from_one_that_failed() {
        for (phase, reason, expected) in [
            ("Failed", "UnexpectedAdmissionError", true),
            ("Failed", "OutOfnvidia.com/gpu", true),
            ("Failed", "", false),
            ("Failed", "DeadlineExceeded", false),
            ("Running", "OutOfcpu", false),
        ] {
            let pod: SlimPod = object(json!({"metadata": {"name": "p"},
                "status": {"phase": phase, "reason": reason, "message": "no"}}));
            assert_eq!(rejection(&pod).is_some(), expected, "{phase} {reason}");
        }
    }
}
