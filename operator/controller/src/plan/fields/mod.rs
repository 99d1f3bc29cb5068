//! What jobs of several kinds say in the same fields, for the engine. Each kind puts its own job together from these.

mod pod;
mod selector;
#[cfg(test)]
pub mod testing;

use std::collections::BTreeMap;

use ampacity_api::{
    Alternative, CapacityType, ConditionReason, DataSource, Objective, Placement, TopologyRequest,
};
use ampacity_catalog::Catalog;
use ampacity_placement as engine;
use ampacity_placement::{AcceleratorRequirement, EgressCost, Level, MicroUsd, Topology};
use k8s_openapi::api::core::v1::PodTemplateSpec;

pub use self::pod::pod_shape;
pub use self::selector::{label_selector, node_requirement, tolerations};
use crate::state::{
    Charge, JobContext, JobIssue, asked_part, engine_level, reserved_priority_class,
};

/// Priority of a job: the value of its PriorityClass, or 0 where it names none.
///
/// # Errors
/// When the class is not among `classes` (name to value), or is for the components of a cluster.
pub fn priority(
    class_name: Option<&str>,
    classes: &BTreeMap<String, i32>,
) -> Result<i32, JobIssue> {
    let Some(name) = class_name.filter(|name| !name.is_empty()) else {
        return Ok(0);
    };
    not_reserved(name, "spec.priorityClassName")?;
    classes.get(name).copied().ok_or_else(|| {
        JobIssue::new(
            "spec.priorityClassName",
            ConditionReason::UnknownPriorityClass,
            format!("no PriorityClass {name:?} exists; create it, or name another or none"),
        )
    })
}

/// Fails where a PriorityClass is for the components of a cluster.
fn not_reserved(class: &str, field: &str) -> Result<(), JobIssue> {
    match reserved_priority_class(class) {
        Some(message) => {
            let reason = ConditionReason::ReservedPriorityClass;
            Err(JobIssue::new(field, reason, message))
        }
        None => Ok(()),
    }
}

/// The alternatives of a job, whose throughput is divided by `throughput_divisor`.
///
/// # Errors
/// When there is none, a field of one cannot be used, or the template's pods would have a priority that no job may have.
pub fn alternatives(
    alternatives: &[Alternative],
    template: &PodTemplateSpec,
    throughput_divisor: i64,
    ctx: &JobContext<'_>,
) -> Result<Vec<engine::Alternative>, JobIssue> {
    if alternatives.is_empty() {
        return Err(JobIssue::new(
            "spec.alternatives",
            ConditionReason::Invalid,
            "there is no alternative; give at least one with a name, a device type and devicesPerReplica",
        ));
    }
    let pod = template.spec.as_ref();
    if let Some(class) = pod.and_then(|pod| pod.priority_class_name.as_deref()) {
        not_reserved(class, "spec.template.spec.priorityClassName")?;
    }
    alternatives
        .iter()
        .enumerate()
        .map(|(index, alternative)| {
            let field = format!("spec.alternatives[{index}]");
            Ok(engine::Alternative {
                name: alternative.name.clone(),
                accelerator: accelerator(alternative, &field, ctx.catalog)?,
                part: asked_part(alternative, &field)?,
                devices_per_replica: u32::try_from(alternative.devices_per_replica).unwrap_or(0),
                replicas: u32::try_from(alternative.replicas).unwrap_or(0),
                throughput_micro: alternative
                    .throughput
                    .map(|t| t.micros().div_euclid(throughput_divisor).max(1)),
                pod: pod_shape(template, alternative, &field)?,
            })
        })
        .collect()
}

fn accelerator(
    alternative: &Alternative,
    field: &str,
    catalog: &Catalog,
) -> Result<AcceleratorRequirement, JobIssue> {
    if let Some(name) = &alternative.accelerator_type {
        known(name, &format!("{field}.acceleratorType"), catalog)?;
        return Ok(AcceleratorRequirement::Named(name.clone()));
    }
    let Some(selector) = &alternative.selector else {
        return Err(JobIssue::new(
            format!("{field}.acceleratorType"),
            ConditionReason::Invalid,
            "no device is named; give acceleratorType or selector",
        ));
    };
    for (index, name) in selector.names.iter().enumerate() {
        known(name, &format!("{field}.selector.names[{index}]"), catalog)?;
    }
    let least = |amount: Option<i64>| u32::try_from(amount.unwrap_or(0).max(0)).unwrap_or(u32::MAX);
    Ok(AcceleratorRequirement::Selected {
        vendor: selector.vendor.clone(),
        min_memory_gib: least(selector.min_memory_gib),
        min_bf16_tflops: least(selector.min_bf16_tflops),
        names: selector.names.clone(),
    })
}

fn known(name: &str, field: &str, catalog: &Catalog) -> Result<(), JobIssue> {
    if catalog.get(name).is_some() {
        return Ok(());
    }
    let advice = match catalog.suggest(name) {
        Some(nearest) => format!("did you mean {nearest:?}? Otherwise"),
        None => "to use it,".to_owned(),
    };
    Err(JobIssue::new(
        field,
        ConditionReason::UnknownAcceleratorType,
        format!(
            "no accelerator type is named {name:?}; {advice} create an AcceleratorType of that name"
        ),
    ))
}

/// When a job was submitted, Unix seconds; 0 where it was never stored.
pub fn submitted_seconds(
    created: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,
) -> i64 {
    created.map_or(0, |time| time.0.as_second())
}

/// What the best candidate of a job is best in.
pub fn objective(objective: Objective) -> engine::Objective {
    match objective {
        Objective::Cost => engine::Objective::Cost,
        Objective::Time => engine::Objective::Time,
        Objective::Energy => engine::Objective::Energy,
    }
}

/// How nodes may be paid for.
pub fn capacity_type(capacity_type: CapacityType) -> engine::CapacityType {
    match capacity_type {
        CapacityType::OnDemand => engine::CapacityType::OnDemand,
        CapacityType::Spot => engine::CapacityType::Spot,
        CapacityType::Reserved => engine::CapacityType::Reserved,
        CapacityType::Owned => engine::CapacityType::Owned,
    }
}

/// How close together replicas must be.
pub fn topology(request: Option<TopologyRequest>) -> Topology {
    let request = request.unwrap_or_default();
    Topology {
        required: request.required.map_or(Level::Cluster, engine_level),
        preferred: request.preferred.map(engine_level),
    }
}

/// What moving all data to each cluster costs; clusters where it costs nothing are left out.
pub fn egress(data: &[DataSource], ctx: &JobContext<'_>) -> Vec<EgressCost> {
    ctx.clusters
        .iter()
        .filter_map(|cluster| {
            let to = format!("{}/{}", cluster.provider, cluster.region);
            let usd: MicroUsd = data
                .iter()
                .filter(|source| source.location != to)
                .map(|source| {
                    let size_gib = u64::try_from(source.size_gib).unwrap_or(0);
                    ctx.prices.egress_usd(&source.location, &to, size_gib)
                })
                .sum();
            (usd != MicroUsd::ZERO).then(|| EgressCost {
                cluster: cluster.name.clone(),
                usd,
            })
        })
        .collect()
}

/// What a replica of a placement is charged, from its job's template and alternatives. `ends_seconds`: when what it holds should
/// be free again, where that is known.
pub fn charge(
    queue: &str,
    template: &PodTemplateSpec,
    alternatives: &[Alternative],
    placement: &Placement,
    ends_seconds: Option<i64>,
) -> Charge {
    let chosen = alternatives
        .iter()
        .find(|a| a.name == placement.spec.alternative);
    let shape = chosen.and_then(|a| pod_shape(template, a, "spec").ok());
    Charge {
        queue: queue.to_owned(),
        cpu_milli: shape.as_ref().map_or(0, |s| s.cpu_milli),
        memory_mib: shape.as_ref().map_or(0, |s| s.memory_mib),
        other: shape.map(|s| s.other).unwrap_or_default(),
        ends_seconds,
    }
}
