//! How long a TrainingJob's work takes, and how much of it is left.

use ampacity_api::{Decimal, Placement, TrainingJob};

/// Seconds that all of the job's work takes on an alternative, if that can be told.
pub fn work_seconds(job: &TrainingJob, alternative: &str) -> Option<i64> {
    if let Some(seconds) = job.spec.estimated_duration_seconds {
        return Some(seconds);
    }
    let units = job.spec.work.as_ref()?.units;
    let throughput = job
        .spec
        .alternatives
        .iter()
        .find(|a| a.name == alternative)?
        .throughput?
        .micros();
    if throughput <= 0 {
        return None;
    }
    i64::try_from(i128::from(units) * 1_000_000 / i128::from(throughput)).ok()
}

/// When an attempt of a job should be over, Unix seconds, if that can be told: as the status says once it runs, until then
/// counted from its placement.
pub fn expected_end(job: &TrainingJob, placement: &Placement) -> Option<i64> {
    let status = job.status.as_ref();
    let ended = status.map_or(0, |status| status.ended_attempts);
    if placement.spec.attempt <= ended {
        return None;
    }
    if let Some(end) = status.and_then(|status| status.estimated_completion_time.as_ref()) {
        return Some(end.0.as_second());
    }
    let placed = placement.metadata.creation_timestamp.as_ref()?;
    let all = work_seconds(job, &placement.spec.alternative)?;
    let left = remaining_seconds(all, status.and_then(|status| status.checkpointed_share));
    Some(placed.0.as_second().saturating_add(left))
}

/// Seconds of work left after the share that a checkpoint holds.
pub fn remaining_seconds(all: i64, checkpointed: Option<Decimal>) -> i64 {
    let left = 1_000_000 - checkpointed.map_or(0, |s| s.micros()).clamp(0, 1_000_000);
    i64::try_from(i128::from(all) * i128::from(left) / 1_000_000).unwrap_or(i64::MAX)
}
