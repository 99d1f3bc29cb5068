//! What a job still misses.

use crate::candidates::gang_size;
use crate::model::{Alternative, JobSpec, Kind};

/// What a job still misses; by default, what a gang without a place does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shortfall {
    /// Inference: replicas without a place.
    pub(crate) replicas: u32,
    /// Inference: dollars per hour of the replicas that the cycle gave one.
    pub(crate) spent_per_hour: i64,
}

impl Shortfall {
    /// Replicas that one candidate would have to take.
    pub(crate) fn of(self, job: &JobSpec, alternative: &Alternative) -> u64 {
        match job.kind {
            Kind::Training { .. } => gang_size(job, alternative),
            Kind::Inference { .. } => u64::from(self.replicas),
        }
    }
}
