//! What one replica's pod needs of a node.

use std::collections::BTreeMap;

use ampacity_api::{Alternative, ConditionReason};
use ampacity_placement::PodShape;
use k8s_openapi::api::core::v1::{Container, PodTemplateSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{node_requirement, tolerations};
use crate::state::{JobIssue, QuantityError, parse_bytes, parse_milli};

const TEMPLATE: &str = "spec.template.spec";

/// The pod that `template` makes for `alternative`, whose path is `field`: CPU and memory as the scheduler counts them,
/// node selector, affinity and tolerations.
///
/// # Errors
/// When a quantity, selector or toleration cannot be used, or the template names its node itself.
pub fn pod_shape(
    template: &PodTemplateSpec,
    alternative: &Alternative,
    field: &str,
) -> Result<PodShape, JobIssue> {
    let Some(pod) = &template.spec else {
        let resources = alternative.resources.as_ref();
        let need = Need::of(resources, None, &format!("{field}.resources"))?;
        return Ok(need.shape());
    };
    if pod
        .node_name
        .as_deref()
        .is_some_and(|name| !name.is_empty())
    {
        return Err(JobIssue::new(
            format!("{TEMPLATE}.nodeName"),
            ConditionReason::InvalidTemplate,
            "the node is chosen by Ampacity; remove the field, or select nodes with nodeSelector",
        ));
    }

    let mut containers = Need::default();
    for (index, container) in pod.containers.iter().enumerate() {
        let patch = (index == 0)
            .then_some(alternative.resources.as_ref())
            .flatten();
        let path = if patch.is_some() {
            format!("{field}.resources")
        } else {
            format!("{TEMPLATE}.containers[{index}].resources")
        };
        containers = containers.plus(Need::of(container.resources.as_ref(), patch, &path)?);
    }
    // A restartable init container (a sidecar) runs beside everything after it; any other runs alone, once.
    let mut sidecars = Need::default();
    let mut peak = Need::default();
    for (index, container) in pod.init_containers.iter().flatten().enumerate() {
        let path = format!("{TEMPLATE}.initContainers[{index}].resources");
        let need = sidecars.plus(Need::of(container.resources.as_ref(), None, &path)?);
        if is_sidecar(container) {
            sidecars = need;
        }
        peak = peak.max(need);
    }
    let mut need = containers.plus(sidecars).max(peak);
    // Resources of the whole pod, where given, are what the scheduler counts.
    if let Some(resources) = &pod.resources {
        let path = format!("{TEMPLATE}.resources");
        let whole = Need::of(Some(resources), None, &path)?;
        need = whole.or(need, resources);
    }
    if let Some(overhead) = &pod.overhead {
        need = need.plus(Need::read(overhead, &format!("{TEMPLATE}.overhead"))?);
    }
    Ok(PodShape {
        nodes: node_requirement(pod, TEMPLATE)?,
        tolerations: tolerations(pod, TEMPLATE)?,
        ..need.shape()
    })
}

fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// CPU and memory of a container or a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Need {
    cpu_milli: u64,
    memory_bytes: u64,
}

impl Need {
    /// Requests, or limits where there is no request; `patch` goes over `base` by name.
    fn of(
        base: Option<&ResourceRequirements>,
        patch: Option<&ResourceRequirements>,
        field: &str,
    ) -> Result<Self, JobIssue> {
        let mut amounts: BTreeMap<String, Quantity> = BTreeMap::new();
        let merged = |pick: fn(&ResourceRequirements) -> Option<&BTreeMap<String, Quantity>>| {
            [base, patch]
                .into_iter()
                .flatten()
                .filter_map(pick)
                .flatten()
                .map(|(name, amount)| (name.clone(), amount.clone()))
        };
        amounts.extend(merged(|r| r.limits.as_ref()));
        amounts.extend(merged(|r| r.requests.as_ref()));
        Self::read(&amounts, field)
    }

    fn read(amounts: &BTreeMap<String, Quantity>, field: &str) -> Result<Self, JobIssue> {
        let read =
            |name: &str, parse: fn(&str) -> Result<u64, QuantityError>| match amounts.get(name) {
                None => Ok(0),
                Some(Quantity(text)) => parse(text).map_err(|error| {
                    JobIssue::new(
                        format!("{field}.{name}"),
                        ConditionReason::InvalidTemplate,
                        error.to_string(),
                    )
                }),
            };
        Ok(Self {
            cpu_milli: read("cpu", parse_milli)?,
            memory_bytes: read("memory", parse_bytes)?,
        })
    }

    fn plus(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_add(other.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
        }
    }

    fn max(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.max(other.cpu_milli),
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
        }
    }

    /// `self` for what `given` names, `other` for the rest.
    fn or(self, other: Self, given: &ResourceRequirements) -> Self {
        let names = |name: &str| {
            [&given.requests, &given.limits]
                .into_iter()
                .flatten()
                .any(|amounts| amounts.contains_key(name))
        };
        Self {
            cpu_milli: if names("cpu") {
                self.cpu_milli
            } else {
                other.cpu_milli
            },
            memory_bytes: if names("memory") {
                self.memory_bytes
            } else {
                other.memory_bytes
            },
        }
    }

    fn shape(self) -> PodShape {
        PodShape {
            cpu_milli: self.cpu_milli,
            memory_mib: self.memory_bytes.div_ceil(1 << 20),
            ..PodShape::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(template: &str, resources: &str) -> Result<PodShape, String> {
        let template: PodTemplateSpec = serde_saphyr::from_str(template).unwrap();
        let alternative = Alternative {
            resources: serde_saphyr::from_str(resources).unwrap(),
            ..Alternative::default()
        };
        pod_shape(&template, &alternative, "spec.alternatives[0]").map_err(|e| e.to_string())
    }

    #[test]
    fn cpu_and_memory_are_counted_as_the_scheduler_counts_them() {
        let cases = [
            (
                "two containers add up",
                "{spec: {containers: [{name: a, resources: {requests: {cpu: 1, memory: 1Gi}}}, {name: b, resources: {requests: {cpu: 500m, memory: 512Mi}}}]}}",
                "null",
                (1500, 1536),
            ),
            (
                "a limit without a request is the request",
                "{spec: {containers: [{name: a, resources: {limits: {cpu: 2, memory: 1}}}]}}",
                "null",
                (2000, 1),
            ),
            (
                "the alternative's resources go over the first container's",
                "{spec: {containers: [{name: a, resources: {requests: {cpu: 1, memory: 1Gi}}}, {name: b, resources: {requests: {cpu: 1}}}]}}",
                "{requests: {cpu: 8}}",
                (9000, 1024),
            ),
            (
                "an init container runs alone, a sidecar beside everything after it",
                "{spec: {initContainers: [{name: s, restartPolicy: Always, resources: {requests: {cpu: 1}}}, {name: i, resources: {requests: {cpu: 5}}}], containers: [{name: a, resources: {requests: {cpu: 2}}}]}}",
                "null",
                (6000, 0),
            ),
            (
                "overhead comes on top",
                "{spec: {overhead: {cpu: 250m}, containers: [{name: a, resources: {requests: {cpu: 1}}}]}}",
                "null",
                (1250, 0),
            ),
            (
                "no template: the alternative's resources",
                "{}",
                "{requests: {memory: 10Gi}}",
                (0, 10_240),
            ),
        ];
        for (what, template, resources, expected) in cases {
            let shape = shape(template, resources).unwrap();
            assert_eq!((shape.cpu_milli, shape.memory_mib), expected, "{what}");
        }
    }

    #[test]
    fn a_bad_amount_and_a_fixed_node_are_named() {
        assert_eq!(
            shape(
                "{spec: {containers: [{name: a, resources: {requests: {memory: 12GB}}}]}}",
                "null"
            )
            .unwrap_err(),
            "spec.template.spec.containers[0].resources.memory: \"12GB\" is not an amount; write a number of at least 0 with an optional suffix, such as \"500m\", \"8\" or \"64Gi\""
        );
        assert!(
            shape("{spec: {nodeName: n1, containers: []}}", "null")
                .unwrap_err()
                .starts_with("spec.template.spec.nodeName: ")
        );
    }
}
