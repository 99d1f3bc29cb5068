//! What pods tell of the nodes that they are on beside what they hold: which nodes refuse pods that ask for devices, and where a
//! DRA driver does not run.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_api::labels;
use ampacity_catalog::{driver_of_pod, is_accelerator_resource, is_failed_device_start};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::change::Change;
use super::key::ObjectKey;
use super::slim::{SlimCause, SlimPod};

/// How long a refusal counts against a node.
const WINDOW: SignedDuration = SignedDuration::from_mins(30);
/// Refusals within the window from which on a node takes nothing new. One or two happen where a pod and a change of the node meet.
const REFUSALS: usize = 3;
/// Most refusals that are remembered of a node.
const MOST_REFUSALS: usize = 64;
/// Longest message of a refusal, in characters.
const MAX_MESSAGE: usize = 160;

/// A pod that a node did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    at: Timestamp,
    why: String,
}

/// A pod of a DRA driver.
#[derive(Clone, Debug, PartialEq, Eq)]
struct DriverPod {
    driver: &'static str,
    /// Why it does not work, where that is so.
    down: Option<String>,
}

/// A DRA driver that does not run on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownDriver {
    /// Its name.
    pub driver: &'static str,
    /// Its pod.
    pub pod: ObjectKey,
    /// What is wrong with the pod.
    pub why: String,
}

/// What pods tell of their nodes.
#[derive(Debug, Default)]
pub struct PodSigns {
    /// Pods that a node refused, by node. They stay while they count, also where the pod is gone.
    refusals: BTreeMap<String, BTreeMap<ObjectKey, Refusal>>,
    /// When the last pod with devices started, by node.
    started: BTreeMap<String, Timestamp>,
    /// Pods of DRA drivers, by node.
    drivers: BTreeMap<String, BTreeMap<ObjectKey, DriverPod>>,
    /// The node of each of them.
    driver_nodes: BTreeMap<ObjectKey, String>,
}

impl PodSigns {
    /// Takes a change in; returns the nodes that are to be read again.
    pub fn apply(&mut self, change: &Change<SlimPod>) -> BTreeSet<String> {
        let mut touched = BTreeSet::new();
        match change {
            Change::Listing => {}
            Change::Applied(pod) => self.see(pod, &mut touched),
            Change::Deleted(pod) => self.forget_driver(&ObjectKey::of(&**pod), &mut touched),
            Change::Forgotten(key) => self.forget_driver(key, &mut touched),
            Change::All(pods) => {
                let mut gone: BTreeSet<ObjectKey> = self.driver_nodes.keys().cloned().collect();
                for pod in pods {
                    gone.remove(&ObjectKey::of(pod));
                    self.see(pod, &mut touched);
                }
                for key in gone {
                    self.forget_driver(&key, &mut touched);
                }
            }
        }
        touched
    }

    fn see(&mut self, pod: &SlimPod, touched: &mut BTreeSet<String>) {
        let Some(node) = pod.spec.node_name.as_deref().filter(|n| !n.is_empty()) else {
            return;
        };
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        if let Some(driver) = driver_of_pod(name).filter(|_| may_be_of_a_driver(pod)) {
            self.see_driver(pod, node, driver, touched);
            return;
        }
        if !asks_for_devices(pod) {
            return;
        }
        let phase = pod.status.phase.as_str();
        // A pod that was never taken on has no start of its own.
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let Some(at) = pod.status.start_time.or(created) else {
            return;
        };
        if let Some(why) = refusal(pod) {
            let of_node = self.refusals.entry(node.to_owned()).or_default();
            if of_node
                .insert(ObjectKey::of(pod), Refusal { at, why })
                .is_none()
            {
                touched.insert(node.to_owned());
            }
            while of_node.len() > MOST_REFUSALS {
                let oldest = of_node.iter().min_by_key(|(_, refusal)| refusal.at);
                let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
                    break;
                };
                of_node.remove(&oldest);
            }
        } else if matches!(phase, "Running" | "Succeeded") {
            let last = self.started.entry(node.to_owned()).or_insert(at);
            *last = (*last).max(at);
            if self.refusals.contains_key(node) {
                touched.insert(node.to_owned());
            }
        }
    }

    fn see_driver(
        &mut self,
        pod: &SlimPod,
        node: &str,
        driver: &'static str,
        touched: &mut BTreeSet<String>,
    ) {
        let key = ObjectKey::of(pod);
        if matches!(pod.status.phase.as_str(), "Succeeded" | "Failed") {
            self.forget_driver(&key, touched);
            return;
        }
        let seen = DriverPod {
            driver,
            down: trouble(pod),
        };
        let of_node = self.drivers.entry(node.to_owned()).or_default();
        if of_node.get(&key) != Some(&seen) {
            of_node.insert(key.clone(), seen);
            touched.insert(node.to_owned());
        }
        self.driver_nodes.insert(key, node.to_owned());
    }

    fn forget_driver(&mut self, key: &ObjectKey, touched: &mut BTreeSet<String>) {
        let Some(node) = self.driver_nodes.remove(key) else {
            return;
        };
        if let Some(of_node) = self.drivers.get_mut(&node) {
            of_node.remove(key);
            if of_node.is_empty() {
                self.drivers.remove(&node);
            }
        }
        touched.insert(node);
    }

    /// A node is gone: what was told of it says nothing of another of its name.
    pub fn forget_node(&mut self, node: &str) {
        self.refusals.remove(node);
        self.started.remove(node);
    }

    /// Why a node is to be left alone because of the pods that it refused: enough of them within the last half hour, and none that
    /// asks for devices has started since.
    pub fn refuses(&self, node: &str, now: Timestamp) -> Option<String> {
        let started = self.started.get(node);
        let recent: Vec<&Refusal> = self
            .refusals
            .get(node)?
            .values()
            .filter(|refusal| now.duration_since(refusal.at) <= WINDOW)
            .filter(|refusal| started.is_none_or(|started| *started < refusal.at))
            .collect();
        let last = recent.iter().max_by_key(|refusal| refusal.at)?;
        (recent.len() >= REFUSALS).then(|| {
            format!(
                "it refused {} pods that ask for devices within {} minutes, the last at {}: {}",
                recent.len(),
                WINDOW.as_mins(),
                last.at,
                last.why
            )
        })
    }

    /// DRA drivers of which a pod is on the node and none there works.
    pub fn down_drivers(&self, node: &str) -> Vec<DownDriver> {
        let mut down: BTreeMap<&'static str, Option<DownDriver>> = BTreeMap::new();
        for (key, pod) in self.drivers.get(node).into_iter().flatten() {
            let this = pod.down.as_ref().map(|why| DownDriver {
                driver: pod.driver,
                pod: key.clone(),
                why: why.clone(),
            });
            down.entry(pod.driver)
                .and_modify(|known| {
                    if this.is_none() {
                        *known = None;
                    }
                })
                .or_insert(this);
        }
        down.into_values().flatten().collect()
    }
}

/// Whether a pod may be of a driver: those run from DaemonSets or static files. A name alone, anybody may give to a job.
fn may_be_of_a_driver(pod: &SlimPod) -> bool {
    let mut owners = pod.metadata.owner_references.iter().flatten();
    let controller = owners.find(|owner| owner.controller == Some(true));
    controller.is_none_or(|owner| matches!(owner.kind.as_str(), "DaemonSet" | "Node"))
        && !pod.labels().contains_key(labels::PLACEMENT)
}

fn asks_for_devices(pod: &SlimPod) -> bool {
    let containers = pod.spec.containers.iter().chain(&pod.spec.init_containers);
    let mut amounts = containers.flat_map(|c| [&c.resources.requests, &c.resources.limits]);
    !pod.spec.resource_claims.is_empty()
        || amounts.any(|amounts| amounts.keys().any(|name| is_accelerator_resource(name)))
}

/// Reasons of the kubelet for turning down a pod that the scheduler gave it, which speak of the node. Others, such as
/// `NodeAffinity` or `NodeShutdown`, speak of the pod or of a node that says so itself.
fn is_refusal(reason: &str) -> bool {
    matches!(
        reason,
        "UnexpectedAdmissionError" | "TopologyAffinityError" | "InvalidNodeInfo"
    ) || reason.starts_with("OutOf")
}

/// Why the node did not start a pod; `None` where it did, may yet, or the pod itself is to blame.
fn refusal(pod: &SlimPod) -> Option<String> {
    let status = &pod.status;
    if status.phase == "Failed" && is_refusal(&status.reason) {
        return Some(told(&status.reason, &status.message));
    }
    causes(pod)
        .find(|cause| is_failed_device_start(&cause.message))
        .map(|cause| told(&cause.reason, &cause.message))
}

fn causes(pod: &SlimPod) -> impl Iterator<Item = &SlimCause> {
    let states = pod.status.container_statuses.iter().map(|c| &c.state);
    states
        .flat_map(|state| [&state.waiting, &state.terminated])
        .flatten()
        .filter(|cause| !cause.reason.is_empty())
}

fn told(reason: &str, message: &str) -> String {
    let message = message
        .strip_prefix("Pod was rejected: ")
        .unwrap_or(message);
    match message {
        "" => reason.to_owned(),
        message => {
            let message: String = message.chars().take(MAX_MESSAGE).collect();
            format!("{reason} ({message})")
        }
    }
}

/// What keeps a driver's pod from working. One of which nothing is said works.
fn trouble(pod: &SlimPod) -> Option<String> {
    if pod.metadata.deletion_timestamp.is_some() {
        return Some("terminating".to_owned());
    }
    let fails =
        |cause: &&SlimCause| cause.reason.ends_with("BackOff") || cause.reason.contains("Err");
    let cause = causes(pod).find(fails).map(|cause| cause.reason.clone());
    let ready = pod.status.conditions.iter().find(|c| c.type_ == "Ready");
    match ready {
        Some(ready) if ready.status == "True" => None,
        Some(ready) => cause
            .or_else(|| ready.reason.clone())
            .or_else(|| Some("not ready".to_owned())),
        None => cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::object;
    use serde_json::{Value, json};

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn pod(name: &str, minute: i64, status: Value) -> SlimPod {
        let mut value = json!({
            "metadata": {"name": name, "namespace": "team"},
            "spec": {"nodeName": "n", "containers": [{"resources": {"limits": {"nvidia.com/gpu": 1}}}]},
            "status": status,
        });
        value["status"]["startTime"] = at(minute).to_string().into();
        object(value)
    }

    fn rejected(name: &str, minute: i64) -> SlimPod {
        let status = json!({"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "Pod was rejected: Allocate failed"});
        pod(name, minute, status)
    }

    fn signs(pods: Vec<SlimPod>) -> PodSigns {
        let mut signs = PodSigns::default();
        signs.apply(&Change::All(pods));
        signs
    }

    #[test]
    fn a_node_that_refuses_pods_is_left_alone_for_a_while() {
        let three = || vec![rejected("a", 0), rejected("b", 1), rejected("c", 2)];
        let with = |more: SlimPod| {
            let mut pods = three();
            pods.push(more);
            signs(pods)
        };
        let running = |minute| pod("r", minute, json!({"phase": "Running"}));
        let cuda = json!({"phase": "Pending", "containerStatuses": [{"state": {"waiting":
            {"reason": "RunContainerError", "message": "nvidia-container-cli: initialization error: driver error"}}}]});
        let own = json!({"phase": "Running", "containerStatuses": [{"state": {"terminated":
            {"reason": "StartError", "message": "exec: \"trian\": not found"}}}]});
        let evicted = json!({"phase": "Failed", "reason": "Evicted"});
        let odd = |status: &Value| {
            signs(
                (0..4)
                    .map(|n| pod(&format!("o{n}"), n, status.clone()))
                    .collect(),
            )
        };
        let cases = [
            ("two", signs(three().split_off(1)), 3, false),
            ("three", signs(three()), 3, true),
            ("three, long ago", signs(three()), 33, false),
            ("one of them is too old", signs(three()), 31, false),
            ("one started since", with(running(5)), 6, false),
            ("one started before", with(running(1)), 6, false),
            ("one started before them all", with(running(-1)), 6, true),
            ("containers without a device", odd(&cuda), 4, true),
            ("a wrong command", odd(&own), 4, false),
            ("evicted", odd(&evicted), 4, false),
        ];
        for (what, signs, now, expected) in cases {
            assert_eq!(signs.refuses("n", at(now)).is_some(), expected, "{what}");
            assert_eq!(signs.refuses("m", at(now)), None, "{what}");
        }
        assert_eq!(
            signs(three()).refuses("n", at(3)).as_deref(),
            Some(
                "it refused 3 pods that ask for devices within 30 minutes, the last at 1970-01-01T00:02:00Z: UnexpectedAdmissionError (Allocate failed)"
            )
        );
    }

    #[test]
    fn refusals_are_remembered_when_the_pods_are_gone_and_never_without_bound() {
        let mut signs = PodSigns::default();
        for n in 0..200 {
            let touched = signs.apply(&Change::Applied(Box::new(rejected(&format!("p{n}"), n))));
            assert!(touched.contains("n"));
            signs.apply(&Change::Deleted(Box::new(rejected(&format!("p{n}"), n))));
        }
        assert_eq!(signs.refusals["n"].len(), MOST_REFUSALS);
        assert!(signs.refuses("n", at(200)).is_some());
        signs.apply(&Change::All(Vec::new()));
        assert!(signs.refuses("n", at(200)).is_some());
    }

    #[test]
    fn what_was_told_of_a_node_goes_with_it() {
        let running = pod("r", -1, json!({"phase": "Running"}));
        let mut signs = signs(vec![
            rejected("a", 0),
            rejected("b", 1),
            rejected("c", 2),
            running,
        ]);
        assert!(signs.refuses("n", at(3)).is_some());
        signs.forget_node("n");
        assert_eq!(signs.refuses("n", at(3)), None);
        assert!(signs.refusals.is_empty() && signs.started.is_empty());
    }

    #[test]
    fn a_job_whose_pods_are_called_like_a_drivers_takes_no_node_out_of_service() {
        let waits = json!({"phase": "Running", "containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]});
        let owned_by = |kind: &str| json!([{"apiVersion": "x/v1", "kind": kind, "name": "o", "uid": "u", "controller": true}]);
        let ours = json!({labels::PLACEMENT: "a-1"});
        let table = [
            (json!([]), json!({}), true),
            (owned_by("DaemonSet"), json!({}), true),
            (owned_by("Node"), json!({}), true),
            (owned_by("Job"), json!({}), false),
            (owned_by("ReplicaSet"), json!({}), false),
            (json!([]), ours.clone(), false),
            (owned_by("DaemonSet"), ours, false),
        ];
        for (owners, labels, counts) in table {
            let pod = object::<SlimPod>(json!({
                "metadata": {"name": "nvidia-dra-driver-gpu-kubelet-plugin-x", "namespace": "team", "labels": labels, "ownerReferences": owners},
                "spec": {"nodeName": "n"}, "status": waits,
            }));
            let down = signs(vec![pod]).down_drivers("n");
            assert_eq!(!down.is_empty(), counts, "{owners} {labels}");
        }
    }

    #[test]
    fn a_driver_is_down_where_none_of_its_pods_works() {
        let driver = |suffix: &str, status: Value| {
            object::<SlimPod>(json!({
                "metadata": {"name": format!("nvidia-dra-driver-gpu-kubelet-plugin-{suffix}"), "namespace": "nvidia"},
                "spec": {"nodeName": "n"}, "status": status,
            }))
        };
        let ready = |status: &str| json!({"phase": "Running", "conditions": [{"type": "Ready", "status": status, "reason": "ContainersNotReady"}]});
        let waits = json!({"phase": "Running", "containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]});
        let cases = [
            ("ready", vec![ready("True")], None),
            ("nothing is said", vec![json!({"phase": "Running"})], None),
            (
                "not ready",
                vec![ready("False")],
                Some("ContainersNotReady"),
            ),
            ("crashes", vec![waits.clone()], Some("CrashLoopBackOff")),
            (
                "a new one is ready",
                vec![ready("True"), ready("False")],
                None,
            ),
            (
                "an old one is ready",
                vec![ready("False"), ready("True")],
                None,
            ),
            ("evicted", vec![json!({"phase": "Failed"})], None),
            ("none", vec![], None),
        ];
        for (what, pods, expected) in cases {
            let pods = pods.into_iter().enumerate();
            let signs = signs(
                pods.map(|(n, status)| driver(&n.to_string(), status))
                    .collect(),
            );
            let down = signs.down_drivers("n");
            let why: Vec<&str> = down.iter().map(|d| d.why.as_str()).collect();
            assert_eq!(why, Vec::from_iter(expected), "{what}");
        }
        let mut signs = signs(vec![driver("a", waits)]);
        let touched = signs.apply(&Change::Applied(Box::new(driver("a", ready("True")))));
        assert!(touched.contains("n") && signs.down_drivers("n").is_empty());
        let again = signs.apply(&Change::Applied(Box::new(driver("a", ready("True")))));
        assert!(again.is_empty(), "nothing changed");
        signs.apply(&Change::All(Vec::new()));
        assert!(signs.drivers.is_empty() && signs.driver_nodes.is_empty());
    }
}
