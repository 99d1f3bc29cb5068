//! The jobs of a cycle and what each has.

use super::start::Ahead;
use crate::arena::GroupIndex;
use crate::candidates::Score;
use crate::model::{JobSpec, Kind, Objective, PlacementDecision};
use crate::nodes::{Missing, Pick};

/// A decision that is in force.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    /// The decision.
    pub(crate) decision: PlacementDecision,
    /// Where a gang is; `None` for inference.
    pub(crate) place: Option<Place>,
}

/// Where a gang is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Position of the alternative.
    pub(crate) alternative: usize,
    /// Group.
    pub(crate) group: GroupIndex,
    /// What it is worth.
    pub(crate) score: Score,
    /// Nodes.
    pub(crate) picks: Vec<Pick>,
}

/// A job of the cycle.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    /// The job.
    pub(crate) job: &'a JobSpec,
    /// Its class.
    pub(crate) class: usize,
    /// What it has: at most one for a gang.
    pub(crate) seats: Vec<Seat>,
    /// What it still misses.
    pub(crate) missing: Option<Missing>,
    /// How it could start later, where it is a gang that waits and that is known.
    pub(crate) ahead: Option<Ahead>,
    /// How many promises were made before its turn: those that it has to keep.
    pub(crate) keeps: usize,
}

impl Entry<'_> {
    /// Whether it is a gang without a place.
    pub(crate) fn waits(&self) -> bool {
        self.is_gang() && self.seats.is_empty()
    }

    pub(crate) fn is_gang(&self) -> bool {
        matches!(self.job.kind, Kind::Training { .. })
    }

    /// Whether it is a gang that is judged by dollars.
    pub(crate) fn by_dollars(&self) -> bool {
        self.is_gang() && self.job.objective == Objective::Cost
    }

    /// Where it is, if it is a gang with a place.
    pub(crate) fn place(&self) -> Option<&Place> {
        self.seats.first()?.place.as_ref()
    }

    /// What a gang that has a place costs.
    pub(crate) fn usd(&self) -> Option<i64> {
        self.seats.first().map(|seat| seat.decision.usd_total.0)
    }
}

/// A job that waits, and what it misses.
#[derive(Clone, Debug)]
pub(crate) struct Waiting<'a> {
    /// The job.
    pub(crate) job: &'a JobSpec,
    /// Its class.
    pub(crate) class: usize,
    /// What it misses.
    pub(crate) missing: Missing,
    /// How it could start later.
    pub(crate) ahead: Option<Ahead>,
    /// How many promises it has to keep.
    pub(crate) keeps: usize,
}
