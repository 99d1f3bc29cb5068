//! A cycle in which what runs may make way.

use super::{JobSpec, PlacementDecision};

/// A gang that runs, and that may be stopped or moved for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningJob {
    /// The job as it would wait if it were stopped now: with the work since its last checkpoint still to do, and restoring
    /// that before it goes on. Its priority is compared with that of the others.
    pub job: JobSpec,
    /// What it was given. The reservation is recorded in the fleet, or is by the cycle.
    pub decision: PlacementDecision,
    /// Seconds until it ends if it goes on where it is.
    pub left_seconds: i64,
}

/// The outcome of a cycle in which what runs may make way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replan {
    /// What starts now, reserved in the fleet already: jobs that waited, and running ones at their new place. In order of
    /// priority.
    pub placements: Vec<PlacementDecision>,
    /// Keys of the running jobs that are stopped where they are, whether they go on elsewhere or wait. In order of priority.
    pub stopped: Vec<String>,
    /// Keys of the jobs that wait, wholly or, for inference, in part. [`Fleet::plan`](crate::Fleet::plan) says why.
    pub waiting: Vec<String>,
}
