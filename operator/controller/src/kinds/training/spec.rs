//! A TrainingJob to the engine's job.

use ampacity_api::{ConditionReason, Decimal, TrainingJob, TrainingJobSpec};
use ampacity_placement::{DollarBudget, JobSpec, Kind, MicroUsd, Work};
use kube::ResourceExt;

use crate::plan::fields::{
    alternatives, capacity_type, egress, label_selector, objective, submitted_seconds, topology,
};
use crate::state::{JobContext, JobIssue};

/// One whole in millionths.
const MICRO: i64 = 1_000_000;

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

#[cfg(test)]
mod tests {
    use ampacity_placement::{Kind, Work};
    use std::collections::BTreeMap;

    use super::*;
    use crate::plan::fields::priority;
    use crate::plan::fields::testing::TestContext;

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

    fn spec(yaml: &str) -> Result<JobSpec, String> {
        let job: TrainingJob = serde_saphyr::from_str(yaml).unwrap();
        training_spec(&job, "k", 7, &TestContext::two_clusters().context())
            .map_err(|issue| issue.to_string())
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
                "{tolerations:",
                "{priorityClassName: system-node-critical, tolerations:",
                "spec.template.spec.priorityClassName: PriorityClass \"system-node-critical\" is for the components of a cluster, whose pods displace all others; name one of your own, or none",
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
        let classes = BTreeMap::from([("system-cluster-critical".to_owned(), 2_000_000_000)]);
        let reserved = priority(Some("system-cluster-critical"), &classes).unwrap_err();
        assert_eq!(reserved.reason, ConditionReason::ReservedPriorityClass);
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
}
