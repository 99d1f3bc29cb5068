//! TrainingJob and InferenceJob to the engine's job.

use std::collections::BTreeMap;

use ampacity_api::inference_job::SpreadBy;
use ampacity_api::{
    Alternative, CapacityType, ConditionReason, DataSource, Decimal, InferenceJob, Objective,
    TopologyLevel, TopologyRequest, TrainingJob, TrainingJobSpec,
};
use ampacity_catalog::{Catalog, Prices};
use ampacity_placement as engine;
use ampacity_placement::{
    AcceleratorRequirement, DollarBudget, EgressCost, JobSpec, Kind, Level, MicroUsd,
    PlacedReplicas, Topology, Work,
};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::ResourceExt;

use super::part::asked_part;
use super::{JobIssue, label_selector, pod_shape};

/// One whole in millionths.
const MICRO: i64 = 1_000_000;

/// Where a cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSite {
    /// Name of the MemberCluster.
    pub name: String,
    /// Provider, such as `aws`.
    pub provider: String,
    /// Region in the provider's words.
    pub region: String,
}

/// What jobs are translated with.
#[derive(Clone, Copy)]
pub struct JobContext<'a> {
    /// Known accelerator types.
    pub catalog: &'a Catalog,
    /// Prices, for egress.
    pub prices: &'a Prices,
    /// Every cluster that a job may be placed in.
    pub clusters: &'a [ClusterSite],
}

/// Priority of a job: the value of its PriorityClass, or 0 where it names none.
///
/// # Errors
/// When the class is not among `classes` (name to value).
pub fn priority(
    class_name: Option<&str>,
    classes: &BTreeMap<String, i32>,
) -> Result<i32, JobIssue> {
    let Some(name) = class_name.filter(|name| !name.is_empty()) else {
        return Ok(0);
    };
    classes.get(name).copied().ok_or_else(|| {
        JobIssue::new(
            "spec.priorityClassName",
            ConditionReason::UnknownPriorityClass,
            format!("no PriorityClass {name:?} exists; create it, or name another or none"),
        )
    })
}

/// The engine's job for a TrainingJob, with all of its work. What earlier attempts have spent is taken off the budget.
///
/// # Errors
/// When a field cannot be used; the issue names it.
pub fn training_spec(
    job: &TrainingJob,
    key: &str,
    priority: i32,
    ctx: &JobContext<'_>,
) -> Result<JobSpec, JobIssue> {
    let spec = &job.spec;
    let status = job.status.clone().unwrap_or_default();
    let (work, scale) = work(spec)?;
    let budget = spec.budget.unwrap_or_default();
    let spent = status.usd_accrued.map_or(0, Decimal::micros);
    let checkpoint = spec.checkpoint.unwrap_or_default();
    Ok(JobSpec {
        key: key.to_owned(),
        namespace: job.namespace().unwrap_or_else(|| "default".to_owned()),
        queue: spec.queue.clone(),
        priority,
        submitted_seconds: submitted_seconds(job.metadata.creation_timestamp.as_ref()),
        kind: Kind::Training {
            work: after_checkpoint(work, status.checkpointed_share),
            deadline_seconds: spec.deadline.as_ref().map(|t| t.0.as_second()),
            checkpoint_interval_seconds: checkpoint.interval_seconds,
            checkpoint_restore_seconds: checkpoint.restore_seconds,
            restores: status
                .checkpointed_share
                .is_some_and(|share| share.micros() > 0),
        },
        objective: objective(spec.objective),
        budget: DollarBudget {
            max_usd: budget
                .max_usd
                .map(|usd| MicroUsd(usd.micros().saturating_sub(spent).max(0))),
            max_usd_per_hour: budget.max_usd_per_hour.map(|usd| MicroUsd(usd.micros())),
        },
        capacity_types: spec
            .capacity_types
            .iter()
            .map(|c| capacity_type(*c))
            .collect(),
        clusters: label_selector(spec.cluster_selector.as_ref(), "spec.clusterSelector")?,
        excluded_clusters: Vec::new(),
        topology: topology(spec.topology),
        egress: egress(&spec.data, ctx),
        alternatives: alternatives(&spec.alternatives, &spec.template, scale, ctx)?,
    })
}

/// Only the work after the last checkpoint is left to do, and never nothing.
fn after_checkpoint(work: Work, share: Option<Decimal>) -> Work {
    let share = share.map_or(0, Decimal::micros).clamp(0, 1_000_000);
    let left = |all: i64| {
        let left = i128::from(all) * i128::from(1_000_000 - share) / 1_000_000;
        i64::try_from(left).unwrap_or(all).max(1)
    };
    match work {
        Work::UnitsMicro(units) => Work::UnitsMicro(left(units)),
        Work::DurationSeconds(seconds) => Work::DurationSeconds(left(seconds)),
    }
}

/// The engine's job for the replicas of an InferenceJob that have no place yet.
///
/// # Errors
/// When a field cannot be used; the issue names it.
pub fn inference_spec(
    job: &InferenceJob,
    key: &str,
    priority: i32,
    placed: Vec<PlacedReplicas>,
    ctx: &JobContext<'_>,
) -> Result<JobSpec, JobIssue> {
    let spec = &job.spec;
    let already = placed
        .iter()
        .fold(0_u32, |sum, p| sum.saturating_add(p.replicas));
    let replicas = u32::try_from(spec.replicas).unwrap_or(0);
    Ok(JobSpec {
        key: key.to_owned(),
        namespace: job.namespace().unwrap_or_else(|| "default".to_owned()),
        queue: spec.queue.clone(),
        priority,
        submitted_seconds: submitted_seconds(job.metadata.creation_timestamp.as_ref()),
        kind: Kind::Inference {
            replicas: replicas.saturating_sub(already),
            placed,
            spread: spec.spread.map(|spread| engine::Spread {
                by: match spread.by {
                    SpreadBy::Node => Level::Node,
                    SpreadBy::Zone => Level::Zone,
                    SpreadBy::Cluster => Level::Cluster,
                },
                max_skew: u32::try_from(spread.max_skew).unwrap_or(1),
            }),
        },
        objective: objective(spec.objective),
        budget: DollarBudget {
            max_usd: None,
            max_usd_per_hour: spec.budget.map(|b| MicroUsd(b.max_usd_per_hour.micros())),
        },
        capacity_types: spec
            .capacity_types
            .iter()
            .map(|c| capacity_type(*c))
            .collect(),
        clusters: label_selector(spec.cluster_selector.as_ref(), "spec.clusterSelector")?,
        excluded_clusters: Vec::new(),
        topology: Topology::default(),
        egress: Vec::new(),
        alternatives: alternatives(&spec.alternatives, &spec.template, 1, ctx)?,
    })
}

/// The work, and what throughput must be divided by to go with it: more than 9.2 × 10¹² units do not fit into millionths,
/// so units and throughput are then counted in tens, hundreds, …
fn work(spec: &TrainingJobSpec) -> Result<(Work, i64), JobIssue> {
    match (spec.work, spec.estimated_duration_seconds) {
        (Some(work), _) => {
            let mut units = i128::from(work.units.max(0)) * i128::from(MICRO);
            let mut scale = 1_i64;
            while units > i128::from(i64::MAX) {
                units /= 10;
                scale = scale.saturating_mul(10);
            }
            let units = i64::try_from(units).unwrap_or(i64::MAX);
            Ok((Work::UnitsMicro(units), scale))
        }
        (None, Some(seconds)) => Ok((Work::DurationSeconds(seconds), 1)),
        (None, None) => Err(JobIssue::new(
            "spec.work",
            ConditionReason::Invalid,
            "how much there is to do is missing; give work.units or estimatedDurationSeconds",
        )),
    }
}

fn alternatives(
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

/// What moving all data to each cluster costs; clusters where it costs nothing are left out.
fn egress(data: &[DataSource], ctx: &JobContext<'_>) -> Vec<EgressCost> {
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

fn submitted_seconds(
    created: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,
) -> i64 {
    created.map_or(0, |time| time.0.as_second())
}

fn objective(objective: Objective) -> engine::Objective {
    match objective {
        Objective::Cost => engine::Objective::Cost,
        Objective::Time => engine::Objective::Time,
        Objective::Energy => engine::Objective::Energy,
    }
}

fn capacity_type(capacity_type: CapacityType) -> engine::CapacityType {
    match capacity_type {
        CapacityType::OnDemand => engine::CapacityType::OnDemand,
        CapacityType::Spot => engine::CapacityType::Spot,
        CapacityType::Reserved => engine::CapacityType::Reserved,
        CapacityType::Owned => engine::CapacityType::Owned,
    }
}

fn level(level: TopologyLevel) -> Level {
    match level {
        TopologyLevel::Node => Level::Node,
        TopologyLevel::NvlinkDomain => Level::NvlinkDomain,
        TopologyLevel::Rack => Level::Rack,
        TopologyLevel::Block => Level::Block,
        TopologyLevel::Zone => Level::Zone,
        TopologyLevel::Cluster => Level::Cluster,
    }
}

fn topology(request: Option<TopologyRequest>) -> Topology {
    let request = request.unwrap_or_default();
    Topology {
        required: request.required.map_or(Level::Cluster, level),
        preferred: request.preferred.map(level),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "
metadata: {name: llama-8b, namespace: research, creationTimestamp: '2026-01-01T00:00:10Z'}
spec:
  work: {units: 120000}
  deadline: '2026-12-01T08:00:00Z'
  budget: {maxUsd: '900', maxUsdPerHour: '60.5'}
  capacityTypes: [Spot, Owned]
  clusterSelector: {matchLabels: {tier: prod}}
  topology: {preferred: Rack}
  data: [{location: aws/us-east-1, sizeGib: 500}]
  checkpoint: {intervalSeconds: 600, restoreSeconds: 120}
  template: {spec: {tolerations: [{operator: Exists}], containers: [{name: main, image: a, resources: {requests: {cpu: 2}}}]}}
  alternatives:
  - {name: h100, acceleratorType: nvidia-h100-sxm5-80gb, devicesPerReplica: 8, replicas: 4, throughput: '10.4'}
  - {name: any, selector: {vendor: amd, minMemoryGib: 100}, devicesPerReplica: 4, throughput: '0.000001'}
status: {usdAccrued: '100.5'}
";

    struct Facts {
        catalog: Catalog,
        prices: Prices,
        clusters: Vec<ClusterSite>,
    }

    impl Facts {
        fn new() -> Self {
            let sheets: Vec<ampacity_api::PriceSheet> = serde_saphyr::from_str(
                "
- metadata: {name: s}
  spec:
    provider: aws
    source: test
    effectiveFrom: '2026-01-01T00:00:00Z'
    egress: [{from: aws/us-east-1, to: gcp/us-central1, usdPerGib: '0.09'}]
",
            )
            .unwrap();
            let now = "2026-07-01T00:00:00Z".parse().unwrap();
            let site = |name: &str, provider: &str, region: &str| ClusterSite {
                name: name.into(),
                provider: provider.into(),
                region: region.into(),
            };
            Self {
                catalog: Catalog::builtin(),
                prices: Prices::from_sheets(&sheets, now).0,
                clusters: vec![
                    site("near", "aws", "us-east-1"),
                    site("far", "gcp", "us-central1"),
                ],
            }
        }

        fn context(&self) -> JobContext<'_> {
            JobContext {
                catalog: &self.catalog,
                prices: &self.prices,
                clusters: &self.clusters,
            }
        }
    }

    fn spec(yaml: &str) -> Result<JobSpec, String> {
        let job: TrainingJob = serde_saphyr::from_str(yaml).unwrap();
        training_spec(&job, "k", 7, &Facts::new().context()).map_err(|issue| issue.to_string())
    }

    #[test]
    fn a_training_job_keeps_everything_it_says() {
        insta::assert_debug_snapshot!(spec(JOB).unwrap());
    }

    #[test]
    fn an_issue_names_the_field_and_what_to_do() {
        let cases = [
            (
                "nvidia-h100-sxm5-80gb",
                "nvidia-h100-sxm-80gb",
                "spec.alternatives[0].acceleratorType: no accelerator type is named \"nvidia-h100-sxm-80gb\"; did you mean \"nvidia-h100-sxm5-80gb\"? Otherwise create an AcceleratorType of that name",
            ),
            (
                "vendor: amd",
                "names: [zzzzzzzz]",
                "spec.alternatives[1].selector.names[0]: no accelerator type is named \"zzzzzzzz\"; to use it, create an AcceleratorType of that name",
            ),
            (
                "cpu: 2",
                "cpu: lots",
                "spec.template.spec.containers[0].resources.cpu: \"lots\" is not an amount; write a number of at least 0 with an optional suffix, such as \"500m\", \"8\" or \"64Gi\"",
            ),
            (
                "  work: {units: 120000}\n",
                "",
                "spec.work: how much there is to do is missing; give work.units or estimatedDurationSeconds",
            ),
        ];
        for (from, to, message) in cases {
            assert!(JOB.contains(from));
            assert_eq!(spec(&JOB.replace(from, to)).unwrap_err(), message);
        }
        assert_eq!(
            priority(Some("high"), &BTreeMap::new())
                .unwrap_err()
                .to_string(),
            "spec.priorityClassName: no PriorityClass \"high\" exists; create it, or name another or none"
        );
        assert_eq!(priority(None, &BTreeMap::new()), Ok(0));
    }

    #[test]
    fn huge_amounts_of_work_keep_their_duration() {
        let spec = spec(
            &JOB.replace("units: 120000", "units: 1000000000000000")
                .replace("'10.4'", "'400000'"),
        )
        .unwrap();
        let Kind::Training {
            work: Work::UnitsMicro(units),
            ..
        } = spec.kind
        else {
            panic!("not training");
        };
        let throughput = spec.alternatives[0].throughput_micro.unwrap();
        // 10^15 units at 4 × 10^5 per second.
        assert_eq!(units / throughput, 2_500_000_000);
    }

    #[test]
    fn what_was_saved_is_restored_and_not_done_again() {
        for (share, left, restores) in [("0.25", 90_000, true), ("0", 120_000, false)] {
            let with_status = JOB.replace(
                "usdAccrued: '100.5'",
                &format!("checkpointedShare: '{share}'"),
            );
            let Kind::Training {
                work: Work::UnitsMicro(units),
                restores: given,
                ..
            } = spec(&with_status).unwrap().kind
            else {
                panic!("not training");
            };
            assert_eq!((units / 1_000_000, given), (left, restores), "{share}");
        }
    }

    #[test]
    fn inference_asks_for_what_is_not_placed_yet() {
        let job: InferenceJob = serde_saphyr::from_str(
            "
metadata: {name: chat}
spec:
  replicas: 6
  budget: {maxUsdPerHour: '3'}
  spread: {by: Zone, maxSkew: 2}
  alternatives: [{name: l40s, acceleratorType: nvidia-l40s, devicesPerReplica: 1, image: a}]
",
        )
        .unwrap();
        let placed = vec![PlacedReplicas {
            cluster: "near".into(),
            node: "n1".into(),
            replicas: 4,
            usd_per_hour: MicroUsd(1_000_000),
        }];
        let spec = inference_spec(&job, "k", 0, placed, &Facts::new().context()).unwrap();
        let Kind::Inference {
            replicas, spread, ..
        } = spec.kind
        else {
            panic!("not inference");
        };
        assert_eq!(replicas, 2);
        assert_eq!(
            spread,
            Some(engine::Spread {
                by: Level::Zone,
                max_skew: 2
            })
        );
        assert_eq!(spec.budget.max_usd_per_hour, Some(MicroUsd(3_000_000)));
        assert_eq!(spec.namespace, "default");
    }
}
