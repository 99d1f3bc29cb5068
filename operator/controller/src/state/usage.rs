//! What one pod holds of its node.

use std::collections::BTreeMap;

use ampacity_api::labels;
use ampacity_catalog::resource_unit;

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
    /// Extended resources by name, in units.
    pub extended: BTreeMap<String, u64>,
    /// Names of the ResourceClaims that it uses.
    pub claims: Vec<String>,
}

/// What `pod` holds: `None` where it is bound to no node or has ended.
///
/// The amount of each resource is what the scheduler counts: the larger of the running containers with all sidecars and of any init
/// step with the sidecars started before it; requests of the pod as a whole stand in for CPU and memory; overhead comes on top.
/// Amounts that cannot be read count as nothing.
pub fn pod_usage(pod: &SlimPod) -> Option<PodUsage> {
    let node = pod.spec.node_name.clone().filter(|n| !n.is_empty())?;
    if matches!(pod.status.phase.as_str(), "Succeeded" | "Failed") {
        return None;
    }
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
        claims: claims(pod),
    })
}

fn is_sidecar(container: &SlimContainer) -> bool {
    container.restart_policy == "Always"
}

fn claims(pod: &SlimPod) -> Vec<String> {
    pod.spec
        .resource_claims
        .iter()
        .filter_map(|claim| {
            claim.resource_claim_name.clone().or_else(|| {
                pod.status
                    .resource_claim_statuses
                    .iter()
                    .find(|status| status.name == claim.name)?
                    .resource_claim_name
                    .clone()
            })
        })
        .collect()
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

/// CPU, memory and extended resources; disk and huge pages are left to the scheduler.
fn is_counted(resource: &str) -> bool {
    matches!(resource, "cpu" | "memory")
        || resource_unit(resource).is_some()
        || (resource.contains('/') && !resource.starts_with("kubernetes.io/"))
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
        assert!(pod(Some("n"), "Running").is_some());
        assert!(pod(Some("n"), "").is_some(), "a file without status");
    }

    #[test]
    fn claims_are_named_directly_or_by_their_template() {
        let pod = json!({"spec": {"nodeName": "n", "resourceClaims": [
                {"name": "a", "resourceClaimName": "mine"},
                {"name": "b", "resourceClaimTemplateName": "t"}]},
            "status": {"resourceClaimStatuses": [{"name": "b", "resourceClaimName": "t-x7k"}]}});
        assert_eq!(usage(pod).unwrap().claims, ["mine", "t-x7k"]);
    }
}
