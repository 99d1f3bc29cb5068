//! What one pod holds of its node.

use std::collections::BTreeMap;

use ampacity_api::labels;
use ampacity_catalog::{is_accelerator_resource, resource_unit};

use super::key::ObjectKey;
use super::quantity::{parse_bytes, parse_milli};
use super::slim::{SlimContainer, SlimPod, SlimResources};

/// What a pod holds of the node it is bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodUsage {
    /// The node.
    pub node: String,
    /// Name of the Ampacity placement that the pod belongs to: its devices are reserved already.
    pub placement: Option<String>,
    /// CPU in millicores.
    pub cpu_milli: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Other resources by name, in units or bytes: extended ones, disk, huge pages.
    pub extended: BTreeMap<String, u64>,
    /// ResourceClaims that it uses, but for the one of its extended resources.
    pub claims: Vec<ObjectKey>,
    /// Whether it uses a claim of which nothing tells the name.
    pub has_unnamed_claim: bool,
    /// The claim that the scheduler made for its extended resources, where DRA serves them (KEP-5004).
    pub extended_claim: Option<ObjectKey>,
    /// Set where this is what a pod of a placement of ours holds beyond what is reserved for it.
    pub beyond: Option<Beyond>,
}

/// What goes beyond a placement's reservation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beyond {
    /// The placement, as namespace/name.
    pub placement: String,
    /// Whether the pod itself has its place in the reservation, and only part of what it holds has none.
    pub is_counted: bool,
}

/// What `pod` holds: `None` where it is bound to no node or has ended. A pod that preempted others holds what was freed for it on
/// the node that it is nominated for.
///
/// The amount of each resource is what the scheduler counts: the larger of the running containers with all sidecars and of any init
/// step with the sidecars started before it; requests of the pod as a whole stand in for CPU and memory; overhead comes on top.
/// Amounts that cannot be read count as nothing.
pub fn pod_usage(pod: &SlimPod) -> Option<PodUsage> {
    if matches!(pod.status.phase.as_str(), "Succeeded" | "Failed") {
        return None;
    }
    let bound = pod.spec.node_name.clone().filter(|n| !n.is_empty());
    let node = bound.or_else(|| nominated(pod))?;
    let mut total = Amounts::default();
    for container in &pod.spec.containers {
        total.add(&Amounts::of(&container.resources));
    }
    let mut sidecars = Amounts::default();
    let mut steps = Amounts::default();
    for container in &pod.spec.init_containers {
        let amounts = Amounts::of(&container.resources);
        if is_sidecar(container) {
            sidecars.add(&amounts);
            steps.raise_to(&sidecars);
        } else {
            let mut step = sidecars.clone();
            step.add(&amounts);
            steps.raise_to(&step);
        }
    }
    total.add(&sidecars);
    total.raise_to(&steps);
    let whole_pod = Amounts::of(&pod.spec.resources);
    for resource in ["cpu", "memory"] {
        if let Some(amount) = whole_pod.0.get(resource) {
            total.0.insert(resource.to_owned(), *amount);
        }
    }
    total.add(&Amounts::of_map(&pod.spec.overhead));

    let mut take = |resource: &str| total.0.remove(resource).unwrap_or_default();
    Some(PodUsage {
        node,
        placement: pod
            .metadata
            .labels
            .as_ref()
            .and_then(|l| l.get(labels::PLACEMENT))
            .cloned(),
        cpu_milli: take("cpu"),
        memory_bytes: take("memory"),
        extended: total.0.into_iter().filter(|(_, n)| *n > 0).collect(),
        has_unnamed_claim: claim_names(pod).any(|name| name.is_none()),
        claims: claim_names(pod)
            .flatten()
            .map(|name| claim_key(pod, name))
            .collect(),
        extended_claim: pod
            .status
            .extended_resource_claim_status
            .resource_claim_name
            .as_deref()
            .map(|name| claim_key(pod, name)),
        beyond: None,
    })
}

/// The node that a pod is nominated for. One that waits for a gate is not about to come.
fn nominated(pod: &SlimPod) -> Option<String> {
    let comes = pod.metadata.deletion_timestamp.is_none() && pod.spec.scheduling_gates.is_empty();
    pod.status.nominated_node_name.clone().filter(|_| comes)
}

fn claim_key(pod: &SlimPod, name: &str) -> ObjectKey {
    ObjectKey::new(pod.metadata.namespace.as_deref().unwrap_or_default(), name)
}

fn is_sidecar(container: &SlimContainer) -> bool {
    container.restart_policy == "Always"
}

/// Names of the claims that a pod uses; `None` for one whose name is not given.
fn claim_names(pod: &SlimPod) -> impl Iterator<Item = Option<&str>> {
    pod.spec.resource_claims.iter().map(|claim| {
        claim.resource_claim_name.as_deref().or_else(|| {
            let mut made = pod.status.resource_claim_statuses.iter();
            made.find(|status| status.name == claim.name)?
                .resource_claim_name
                .as_deref()
        })
    })
}

/// Amounts by resource: millicores of CPU, bytes of memory, units of extended resources.
#[derive(Clone, Debug, Default)]
struct Amounts(BTreeMap<String, u64>);

impl Amounts {
    fn of(resources: &SlimResources) -> Self {
        let mut amounts = Self::of_map(&resources.limits);
        amounts.0.extend(Self::of_map(&resources.requests).0);
        amounts
    }

    fn of_map(map: &BTreeMap<String, String>) -> Self {
        Self(
            map.iter()
                .filter(|(resource, _)| is_counted(resource))
                .filter_map(|(resource, text)| {
                    let amount = if resource == "cpu" {
                        parse_milli(text)
                    } else {
                        parse_bytes(text)
                    };
                    Some((resource.clone(), amount.ok()?))
                })
                .collect(),
        )
    }

    fn add(&mut self, other: &Self) {
        for (resource, amount) in &other.0 {
            let sum = self.0.entry(resource.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }

    fn raise_to(&mut self, other: &Self) {
        for (resource, amount) in &other.0 {
            let sum = self.0.entry(resource.clone()).or_default();
            *sum = (*sum).max(*amount);
        }
    }
}

/// All that a node may run out of: CPU, memory, accelerators and the others.
fn is_counted(resource: &str) -> bool {
    matches!(resource, "cpu" | "memory")
        || resource_unit(resource).is_some()
        || is_other_resource(resource)
}

/// Whether a resource is counted beside CPU, memory, pods and accelerators: disk, huge pages, extended resources. Names of
/// `kubernetes.io` are no extended resources: some schedulers keep amounts of their own there, which change all the time.
pub fn is_other_resource(resource: &str) -> bool {
    resource == "ephemeral-storage"
        || resource.starts_with("hugepages-")
        || (resource.contains('/')
            && !resource.starts_with("kubernetes.io/")
            && !is_accelerator_resource(resource))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn usage(value: serde_json::Value) -> Option<PodUsage> {
        pod_usage(&serde_json::from_value(value).unwrap())
    }

    fn cpu(n: u32) -> serde_json::Value {
        json!({"resources": {"requests": {"cpu": n.to_string()}}})
    }

    #[test]
    fn init_steps_sidecars_and_overhead_count_as_the_scheduler_counts() {
        let sidecar = |n: u32| {
            let mut c = cpu(n);
            c["restartPolicy"] = "Always".into();
            c
        };
        let cases = [
            (json!([]), json!([cpu(2), cpu(3)]), 5),
            (json!([cpu(8)]), json!([cpu(2), cpu(3)]), 8),
            (json!([sidecar(1)]), json!([cpu(2)]), 3),
            (json!([sidecar(1), cpu(8)]), json!([cpu(2)]), 9),
            (json!([cpu(8), sidecar(1)]), json!([cpu(2)]), 8),
            (json!([sidecar(1), cpu(2), sidecar(4)]), json!([cpu(1)]), 6),
        ];
        for (init, containers, cores) in cases {
            let pod = json!({"spec": {"nodeName": "n", "initContainers": init, "containers": containers,
                "overhead": {"cpu": "250m"}}});
            assert_eq!(
                usage(pod.clone()).unwrap().cpu_milli,
                cores * 1000 + 250,
                "{pod}"
            );
        }
    }

    #[test]
    fn devices_are_taken_from_limits_where_requests_are_silent() {
        let pod = json!({"metadata": {"labels": {"ampacity.dev/placement": "p"}},
            "spec": {"nodeName": "n", "containers": [
                {"resources": {"limits": {"nvidia.com/gpu": 4, "memory": "1Gi"}}},
                {"resources": {"requests": {"nvidia.com/gpu": "2"}, "limits": {"nvidia.com/gpu": "2"}}},
            ]}, "status": {"phase": "Running"}});
        let usage = usage(pod).unwrap();
        assert_eq!(
            usage.extended,
            BTreeMap::from([("nvidia.com/gpu".into(), 6)])
        );
        assert_eq!(usage.memory_bytes, 1 << 30);
        assert_eq!(usage.placement.as_deref(), Some("p"));
    }

    #[test]
    fn pods_that_ended_or_wait_hold_nothing() {
        let pod = |node: Option<&str>, phase: &str| {
            usage(
                json!({"spec": {"nodeName": node, "containers": [cpu(1)]}, "status": {"phase": phase}}),
            )
        };
        assert_eq!(pod(Some("n"), "Succeeded"), None);
        assert_eq!(pod(Some("n"), "Failed"), None);
        assert_eq!(pod(None, "Pending"), None);
        let nominated = |change: fn(&mut serde_json::Value)| {
            let mut pod = json!({"metadata": {}, "spec": {"containers": [cpu(1)]},
                "status": {"phase": "Pending", "nominatedNodeName": "n"}});
            change(&mut pod);
            usage(pod).map(|usage| usage.node)
        };
        assert_eq!(nominated(|_| ()).as_deref(), Some("n"));
        assert_eq!(nominated(|p| p["status"]["phase"] = "Failed".into()), None);
        assert_eq!(
            nominated(|p| p["spec"]["schedulingGates"] = json!([{"name": "wait"}])),
            None
        );
        assert_eq!(
            nominated(|p| p["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into()),
            None
        );
        assert!(pod(Some("n"), "Running").is_some());
        assert!(pod(Some("n"), "").is_some(), "a file without status");
    }

    #[test]
    fn claims_are_named_directly_or_by_their_template() {
        let pod = json!({"metadata": {"namespace": "team"}, "spec": {"nodeName": "n", "resourceClaims": [
                {"name": "a", "resourceClaimName": "mine"},
                {"name": "b", "resourceClaimTemplateName": "t"}]},
            "status": {"resourceClaimStatuses": [{"name": "b", "resourceClaimName": "t-x7k"}],
                "extendedResourceClaimStatus": {"resourceClaimName": "ext"}}});
        let key = |name| ObjectKey::new("team", name);
        let seen = usage(pod.clone()).unwrap();
        assert_eq!(seen.claims, [key("mine"), key("t-x7k")]);
        assert_eq!(seen.extended_claim, Some(key("ext")));
        assert!(!seen.has_unnamed_claim);
        let mut trimmed = pod;
        trimmed["status"] = json!({});
        let seen = usage(trimmed).unwrap();
        assert_eq!(seen.claims, [key("mine")]);
        assert!(seen.has_unnamed_claim);
    }

    #[test]
    fn all_that_a_node_may_run_out_of_is_counted() {
        let pod = json!({"spec": {"nodeName": "n", "containers": [{"resources": {"requests": {
            "ephemeral-storage": "1Gi", "hugepages-2Mi": "4Mi", "vpc.amazonaws.com/efa": "4",
            "kubernetes.io/odd": "1", "storage": "1Gi"}}}]}});
        let expected = [
            ("ephemeral-storage", 1 << 30),
            ("hugepages-2Mi", 4 << 20),
            ("vpc.amazonaws.com/efa", 4),
        ];
        let expected = expected.map(|(name, n)| (name.to_owned(), n));
        assert_eq!(usage(pod).unwrap().extended, BTreeMap::from(expected));
    }
}
