//! The jobs of a cycle and what each has.

use super::start::FutureStart;
use crate::arena::GroupIndex;
use crate::candidates::Score;
use crate::model::{JobSpec, Kind, Objective, PlacementDecision};
use crate::nodes::{NodeAllocation, Shortfall};

/// A decision that is in force.
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    /// The decision.
    pub(crate) decision: PlacementDecision,
    /// Where a gang is; `None` for inference.
    pub(crate) placement: Option<GangPlacement>,
}

/// Where a gang is.
#[derive(Clone, Debug)]
pub(crate) struct GangPlacement {
    /// Position of the alternative.
    pub(crate) alternative: usize,
    /// Group.
    pub(crate) group: GroupIndex,
    /// What it is worth.
    pub(crate) score: Score,
    /// Nodes.
    pub(crate) allocations: Vec<NodeAllocation>,
}

/// A job of the cycle.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    /// The job.
    pub(crate) job: &'a JobSpec,
    /// Its class.
    pub(crate) class: usize,
    /// What it has: at most one for a gang.
    pub(crate) assignments: Vec<Assignment>,
    /// What it still misses.
    pub(crate) shortfall: Option<Shortfall>,
    /// How it could start later, where it is a gang that waits and that is known.
    pub(crate) future_start: Option<FutureStart>,
    /// How many promises were made before its turn: those that it has to keep.
    pub(crate) keeps: usize,
}

impl Entry<'_> {
    /// Whether it is a gang without a place.
    pub(crate) fn is_pending(&self) -> bool {
        self.is_gang() && self.assignments.is_empty()
    }

    pub(crate) fn is_gang(&self) -> bool {
        matches!(self.job.kind, Kind::Training { .. })
    }

    /// Whether it is a gang that is judged by dollars.
    pub(crate) fn by_dollars(&self) -> bool {
        self.is_gang() && self.job.objective == Objective::Cost
    }

    /// Where it is, if it is a gang with a place.
    pub(crate) fn placement(&self) -> Option<&GangPlacement> {
        self.assignments.first()?.placement.as_ref()
    }

    /// What a gang that has a place costs.
    pub(crate) fn usd(&self) -> Option<i64> {
        self.assignments
            .first()
            .map(|assignment| assignment.decision.usd_total.0)
    }
}

/// A job that is pending, and its shortfall.
#[derive(Clone, Debug)]
pub(crate) struct PendingJob<'a> {
    /// The job.
    pub(crate) job: &'a JobSpec,
    /// Its class.
    pub(crate) class: usize,
    /// What it misses.
    pub(crate) shortfall: Shortfall,
    /// How it could start later.
    pub(crate) future_start: Option<FutureStart>,
    /// How many promises it has to keep.
    pub(crate) keeps: usize,
}
