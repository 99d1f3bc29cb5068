//! The limits of a TrainingJob: which one it has reached, and how long an attempt may run in its member, whoever watches it.

use ampacity_api::{ConditionReason, Placement, TrainingJob, TrainingJobStatus};
use jiff::Timestamp;

/// Longest limit that a Job is given: ten years. A Job controller counts in nanoseconds, and ends a Job at once whose limit does not fit
/// (kubernetes/pkg/controller/job, `activeDeadlineSeconds`).
const LONGEST_SECONDS: i64 = 315_360_000;

/// A Job's time counts from when it was made, and `maxRuntimeSeconds` while all replicas run: so much longer than that it may be
/// there where the hub is away.
const START_ALLOWANCE_SECONDS: i64 = 1_800;

/// Seconds after its placement at which the first of the job's limits is reached: its deadline, its budget at the placement's price,
/// its longest runtime. `None`: it has none. At least 1, as the API wants it.
pub fn seconds_left(job: &TrainingJob, placement: &Placement) -> Option<i64> {
    let status = job.status.as_ref();
    let placed = placement.metadata.creation_timestamp.as_ref();
    let to_deadline = job
        .spec
        .deadline
        .as_ref()
        .zip(placed)
        .map(|(deadline, placed)| deadline.0.as_second().saturating_sub(placed.0.as_second()));
    let max_usd = job.spec.budget.as_ref().and_then(|budget| budget.max_usd);
    let per_hour = i128::from(placement.spec.usd_per_hour.micros());
    let to_budget = max_usd.filter(|_| per_hour > 0).map(|max| {
        let spent = status.and_then(|s| s.usd_accrued).unwrap_or_default();
        let left = i128::from(max.micros()) - i128::from(spent.micros());
        i64::try_from(left * 3600 / per_hour).unwrap_or(i64::MAX)
    });
    let to_runtime = job.spec.max_runtime_seconds.map(|max| {
        let ran = status.map_or(0, |s| s.run_seconds);
        max.saturating_sub(ran)
            .saturating_add(START_ALLOWANCE_SECONDS)
    });
    let limits = [to_deadline, to_budget, to_runtime];
    limits
        .into_iter()
        .flatten()
        .min()
        .map(|seconds| seconds.clamp(1, LONGEST_SECONDS))
}

/// The limit that a job has reached by what is counted in its status, if any, and what is said of it.
pub fn reached(
    job: &TrainingJob,
    counted: &TrainingJobStatus,
    now: Timestamp,
) -> Option<(ConditionReason, String)> {
    if let Some(deadline) = job.spec.deadline.as_ref().filter(|d| d.0 <= now) {
        let message = format!("its work was not done at spec.deadline, {}", deadline.0);
        return Some((ConditionReason::DeadlineExceeded, message));
    }
    let most = job.spec.budget.as_ref()?.max_usd?;
    let spent = counted.usd_accrued.unwrap_or_default();
    (spent.micros() >= most.micros()).then(|| {
        let message = format!(
            "its work was not done when it had cost {spent} USD; spec.budget.maxUsd is {most}"
        );
        (ConditionReason::BudgetExceeded, message)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::object;

    #[test]
    fn the_first_of_the_limits_counts() {
        let table = [
            (json!({}), json!({}), None),
            (json!({"maxRuntimeSeconds": 100}), json!({}), Some(1_900)),
            (
                json!({"maxRuntimeSeconds": 100}),
                json!({"runSeconds": 40}),
                Some(1_860),
            ),
            (
                json!({"deadline": "2025-06-15T16:06:40Z"}),
                json!({}),
                Some(3_600),
            ),
            (
                json!({"deadline": "2025-06-15T14:00:00Z"}),
                json!({}),
                Some(1),
            ),
            (json!({"budget": {"maxUsd": "10"}}), json!({}), Some(7_200)),
            // Further away than a Job controller can count.
            (
                json!({"deadline": "9999-01-01T00:00:00Z"}),
                json!({}),
                Some(315_360_000),
            ),
            (
                json!({"budget": {"maxUsd": "999999999999.999999"}}),
                json!({}),
                Some(315_360_000),
            ),
            (
                json!({"budget": {"maxUsd": "10"}}),
                json!({"usdAccrued": "7.5"}),
                Some(1_800),
            ),
            (
                json!({"budget": {"maxUsd": "10"}}),
                json!({"usdAccrued": "11"}),
                Some(1),
            ),
            (
                json!({"budget": {"maxUsd": "10"}, "maxRuntimeSeconds": 100}),
                json!({}),
                Some(1_900),
            ),
        ];
        for (mut spec, status, expected) in table {
            spec["alternatives"] = json!([]);
            let job: TrainingJob = object(json!({
                "apiVersion": "ampacity.dev/v1alpha1", "kind": "TrainingJob",
                "metadata": {"name": "llama"}, "spec": spec, "status": status,
            }));
            let mut placement = crate::testing::placement("TrainingJob", 1, &[("a", 1)]);
            placement.spec.usd_per_hour = "5".parse().unwrap();
            placement.metadata.creation_timestamp = Some(
                k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(crate::testing::NOW),
            );
            assert_eq!(seconds_left(&job, &placement), expected, "{spec} {status}");
        }
    }
}
