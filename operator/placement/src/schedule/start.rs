//! A start that lies ahead of a gang, and what a start is worth to it.

use crate::candidates::Score;
use crate::model::{JobSpec, Objective, PlacementDecision};

/// How a gang could start later.
#[derive(Clone, Debug)]
pub(crate) struct FutureStart {
    /// What it would hold then.
    pub(crate) decision: PlacementDecision,
    /// Seconds by which it would miss its deadline; 0 where it does not.
    pub(crate) late_seconds: i64,
    /// What it is worth.
    pub(crate) score: Score,
}

impl FutureStart {
    /// Least is best: on time before late, then the sooner start or the lesser delay, then the better score.
    pub(crate) fn key(&self) -> (bool, i64, Score) {
        let late = self.late_seconds > 0;
        let seconds = if late {
            self.late_seconds
        } else {
            self.decision.start_seconds
        };
        (late, seconds, self.score)
    }

    /// What it costs the job.
    pub(crate) fn start_cost(&self, job: &JobSpec) -> StartCost {
        StartCost::of(job, self.score, self.decision.start_seconds)
    }

    /// Whether it starts within so many seconds, and on time.
    pub(crate) fn is_within(&self, horizon_seconds: i64) -> bool {
        // A start at 0 is no later start: it comes of ends so absurd that time has no room for them.
        let start = self.decision.start_seconds;
        self.late_seconds == 0 && start > 0 && start <= horizon_seconds
    }

    /// Seconds from now until it ends.
    pub(crate) fn end_seconds(&self) -> i64 {
        let duration = self.decision.duration_seconds.unwrap_or(i64::MAX);
        self.decision.start_seconds.saturating_add(duration)
    }
}

/// What a start costs a job, least is best: what it is judged by, dollars, and how long it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StartCost {
    objective: i128,
    usd: i64,
    start_seconds: i64,
}

impl StartCost {
    /// More than anything costs.
    pub(crate) const WORST: Self = Self {
        objective: i128::MAX,
        usd: i64::MAX,
        start_seconds: i64::MAX,
    };

    /// Micro-dollars.
    pub(crate) fn usd(&self) -> i128 {
        i128::from(self.usd)
    }

    /// Whether it costs more than another one, whenever either starts.
    pub(crate) fn costs_more_than(&self, other: &Self) -> bool {
        (self.objective, self.usd) > (other.objective, other.usd)
    }

    /// Seconds until the start.
    pub(crate) fn waits(&self) -> i128 {
        i128::from(self.start_seconds)
    }

    /// Of a start in so many seconds. Where it is the end that counts, waiting counts as running does.
    pub(crate) fn of(job: &JobSpec, score: Score, start_seconds: i64) -> Self {
        let waits = match job.objective {
            Objective::Time => i128::from(start_seconds),
            Objective::Cost | Objective::Energy => 0,
        };
        Self {
            objective: score.objective.saturating_add(waits),
            usd: score.usd,
            start_seconds,
        }
    }
}
