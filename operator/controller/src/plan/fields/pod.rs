//! What one replica's pod needs of a node.

use std::collections::BTreeMap;

use ampacity_api::{Alternative, ConditionReason};
use ampacity_placement::PodShape;
use k8s_openapi::api::core::v1::{Container, PodTemplateSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{node_requirement, tolerations};
use crate::state::{JobIssue, is_other_resource, parse_bytes, parse_milli};

const TEMPLATE: &str = "spec.template.spec";
const CPU: &str = "cpu";
const MEMORY: &str = "memory";

/// The pod that `template` makes for `alternative`, whose path is `field`: CPU, memory and other resources as the scheduler counts
/// them, node selector, affinity and tolerations. Accelerators are left out: the alternative says which and how many.
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
        containers = containers.plus(&Need::of(container.resources.as_ref(), patch, &path)?);
    }
    // A restartable init container (a sidecar) runs beside everything after it; any other runs alone, once.
    let mut sidecars = Need::default();
    let mut peak = Need::default();
    for (index, container) in pod.init_containers.iter().flatten().enumerate() {
        let path = format!("{TEMPLATE}.initContainers[{index}].resources");
        let need = sidecars
            .clone()
            .plus(&Need::of(container.resources.as_ref(), None, &path)?);
        peak = peak.max(&need);
        if is_sidecar(container) {
            sidecars = need;
        }
    }
    let mut need = containers.plus(&sidecars).max(&peak);
    // Resources of the whole pod, where given, are what the scheduler counts.
    if let Some(resources) = &pod.resources {
        let path = format!("{TEMPLATE}.resources");
        let whole = Need::of(Some(resources), None, &path)?;
        need = whole.or(need);
    }
    if let Some(overhead) = &pod.overhead {
        need = need.plus(&Need::read(overhead, &format!("{TEMPLATE}.overhead"))?);
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

/// What a container or a pod asks of its node, by resource: millicores of CPU, bytes of memory, units or bytes of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Need(BTreeMap<String, u64>);

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
        let mut need = BTreeMap::new();
        for (name, Quantity(text)) in amounts {
            let amount = match name.as_str() {
                CPU => parse_milli(text),
                MEMORY => parse_bytes(text),
                other if is_other_resource(other) => parse_bytes(text),
                _ => continue,
            };
            let amount = amount.map_err(|error| {
                JobIssue::new(
                    format!("{field}.{name}"),
                    ConditionReason::InvalidTemplate,
                    error.to_string(),
                )
            })?;
            need.insert(name.clone(), amount);
        }
        Ok(Self(need))
    }

    fn plus(mut self, other: &Self) -> Self {
        for (name, amount) in &other.0 {
            let sum = self.0.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
        self
    }

    fn max(mut self, other: &Self) -> Self {
        for (name, amount) in &other.0 {
            let most = self.0.entry(name.clone()).or_default();
            *most = (*most).max(*amount);
        }
        self
    }

    /// `self`, and `other` for what it does not name.
    fn or(mut self, other: Self) -> Self {
        for (name, amount) in other.0 {
            self.0.entry(name).or_insert(amount);
        }
        self
    }

    fn shape(mut self) -> PodShape {
        let cpu_milli = self.0.remove(CPU).unwrap_or(0);
        let memory_bytes = self.0.remove(MEMORY).unwrap_or(0);
        self.0.retain(|_, amount| *amount > 0);
        PodShape {
            cpu_milli,
            memory_mib: memory_bytes.div_ceil(1 << 20),
            other: self.0,
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
    fn other_resources_are_counted_too_and_accelerators_are_not() {
        let template = "{spec: {
            initContainers: [{name: i, resources: {requests: {ephemeral-storage: 9Gi}}}],
            containers: [
              {name: a, resources: {limits: {vpc.amazonaws.com/efa: 16, nvidia.com/gpu: 8, hugepages-2Mi: 1Gi, rdma/ib: 0}}},
              {name: b, resources: {requests: {vpc.amazonaws.com/efa: 16, ephemeral-storage: 1Gi}}}]}}";
        let patch = "{limits: {vpc.amazonaws.com/efa: 4}, requests: {rdma/hca: 1}}";
        let other = |resources: &str| {
            let other = shape(template, resources).unwrap().other;
            Vec::from_iter(other)
        };
        let expected = |list: &[(&str, u64)]| -> Vec<(String, u64)> {
            list.iter()
                .map(|(name, n)| ((*name).to_owned(), *n))
                .collect()
        };
        let (disk, pages) = (("ephemeral-storage", 9 << 30), ("hugepages-2Mi", 1 << 30));
        assert_eq!(
            other("null"),
            expected(&[disk, pages, ("vpc.amazonaws.com/efa", 32)])
        );
        assert_eq!(
            other(patch),
            expected(&[disk, pages, ("rdma/hca", 1), ("vpc.amazonaws.com/efa", 20)])
        );
        let whole = "{spec: {resources: {requests: {cpu: 9, hugepages-2Mi: 2Mi}}, containers: [{name: a, resources: {requests: {cpu: 1, memory: 1Gi, rdma/ib: 1}}}]}}";
        let seen = shape(whole, "null").unwrap();
        assert_eq!((seen.cpu_milli, seen.memory_mib), (9000, 1024));
        assert_eq!(
            Vec::from_iter(seen.other),
            expected(&[("hugepages-2Mi", 2 << 20), ("rdma/ib", 1)])
        );
    }

    #[test]
    fn a_bad_amount_and_a_fixed_node_are_named() {
        assert_eq!(
            shape(
                "{spec: {containers: [{name: a, resources: {limits: {rdma/ib: some}}}]}}",
                "null"
            )
            .unwrap_err(),
            "spec.template.spec.containers[0].resources.rdma/ib: \"some\" is not an amount; write a number of at least 0 with an optional suffix, such as \"500m\", \"8\" or \"64Gi\""
        );
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
