//! The order in which jobs have their turn.

use std::cmp::Reverse;

use crate::model::JobSpec;

/// By priority, then by time of submission, then by key.
pub(crate) fn turn(job: &JobSpec) -> (Reverse<i32>, i64, &str) {
    (Reverse(job.priority), job.submitted_seconds, &job.key)
}
