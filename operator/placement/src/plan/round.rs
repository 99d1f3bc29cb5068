//! What one cycle has placed so far, job by job, so that it can be moved about and taken back.

use std::collections::BTreeSet;

use super::ahead::Ahead;
use super::candidate::Score;
use super::class::Classes;
use super::gang::Found;
use super::promise::Promises;
use super::search::Bound;
use super::select::Pick;
use super::verdict::Missing;
use crate::arena::GroupIndex;
use crate::fleet::Fleet;
use crate::model::{JobSpec, Kind, Objective, PlacementDecision, Plan, PlanOptions};

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

/// A cycle in the making.
pub(crate) struct Round<'a, 'f> {
    /// The fleet, with what is placed reserved.
    pub(crate) fleet: &'f mut Fleet,
    /// Jobs in the order in which they are taken.
    pub(crate) entries: Vec<Entry<'a>>,
    /// What could run them.
    pub(crate) classes: Classes,
    /// Now, Unix seconds.
    pub(crate) now_seconds: i64,
    /// Starts up to so many seconds from now are asked for.
    pub(crate) horizon_seconds: i64,
    /// What the search for a better plan has proven of every plan of the round.
    pub(crate) bound: Option<Bound>,
    /// Starts that waiting gangs were promised.
    pub(crate) promises: Promises,
}

impl<'a, 'f> Round<'a, 'f> {
    /// A cycle over valid jobs in the order in which they are to be taken.
    pub(crate) fn new(fleet: &'f mut Fleet, jobs: &[&'a JobSpec], options: &PlanOptions) -> Self {
        for job in jobs {
            if matches!(job.kind, Kind::Training { .. }) {
                fleet.prepare(job);
            }
        }
        let (classes, of) = Classes::sort(fleet, jobs);
        let entries = jobs
            .iter()
            .zip(of)
            .map(|(&job, class)| Entry {
                job,
                class,
                seats: Vec::new(),
                missing: None,
                ahead: None,
                keeps: 0,
            })
            .collect();
        Self {
            fleet,
            entries,
            classes,
            now_seconds: options.now_seconds,
            horizon_seconds: options.horizon_seconds,
            bound: None,
            promises: Promises::new(options.horizon_seconds),
        }
    }

    /// Places every job that has room, one after the other.
    pub(crate) fn place_all(&mut self) {
        for at in 0..self.entries.len() {
            let Some(Entry { job, class, .. }) = self.entries.get(at) else {
                continue;
            };
            let (job, class) = (*job, *class);
            if matches!(job.kind, Kind::Inference { .. }) {
                self.fill_in(at);
                continue;
            }
            let found = match self.classes.get_mut(class) {
                Some(slate) => self.fleet.best_of_class(job, slate, self.now_seconds),
                None => None,
            };
            self.seat(at, found);
        }
    }

    /// Places what fits of an inference job.
    pub(crate) fn fill_in(&mut self, at: usize) {
        let Some(entry) = self.entries.get_mut(at) else {
            return;
        };
        let filled = self.fleet.place_replicas(entry.job);
        let spent_per_hour = filled
            .decisions
            .iter()
            .map(|decision| decision.usd_per_hour.0)
            .fold(0, i64::saturating_add);
        let seat = |decision| Seat {
            decision,
            place: None,
        };
        entry.seats = filled.decisions.into_iter().map(seat).collect();
        entry.missing = (filled.missing > 0).then_some(Missing {
            replicas: filled.missing,
            spent_per_hour,
        });
    }

    /// Gives a gang what was found for it.
    pub(crate) fn seat(&mut self, at: usize, found: Option<Found>) -> bool {
        let Some(entry) = self.entries.get_mut(at) else {
            return false;
        };
        let found = found.and_then(|mut found| {
            let decision = self.fleet.decision(entry.job, &mut found)?;
            Some((found, decision))
        });
        entry.missing = found.is_none().then_some(Missing::default());
        let Some((found, mut decision)) = found else {
            return false;
        };
        let duration = decision.duration_seconds;
        decision.reservation.ends_seconds =
            duration.map(|seconds| self.now_seconds.saturating_add(seconds));
        self.fleet
            .reserve_on(decision.reservation.clone(), found.nodes());
        let place = Some(Place {
            alternative: found.alternative,
            group: found.group,
            score: found.score,
            picks: found.picks,
        });
        entry.seats.push(Seat { decision, place });
        true
    }

    /// Takes back what a job has.
    pub(crate) fn unseat(&mut self, at: usize) -> Vec<Seat> {
        let Some(entry) = self.entries.get_mut(at) else {
            return Vec::new();
        };
        let seats = std::mem::take(&mut entry.seats);
        for seat in &seats {
            self.fleet.release(&seat.decision.reservation.key);
        }
        seats
    }

    /// Puts a job back as it was.
    pub(crate) fn reseat(&mut self, at: usize, seats: Vec<Seat>, missing: Option<Missing>) {
        self.unseat(at);
        for seat in &seats {
            self.fleet.reserve(seat.decision.reservation.clone());
        }
        if let Some(entry) = self.entries.get_mut(at) {
            (entry.seats, entry.missing) = (seats, missing);
        }
    }

    /// The best way to run a gang as the fleet is now.
    pub(crate) fn best_now(&self, at: usize) -> Option<Found> {
        let entry = self.entries.get(at)?;
        let slate = self.classes.get(entry.class)?;
        let known = slate.candidates.iter().map(|c| (c, None));
        self.fleet
            .best_gang(entry.job, known, self.now_seconds)
            .or_else(|| {
                if slate.complete {
                    return None;
                }
                let all = self.fleet.candidates(entry.job);
                let all = all.iter().map(|c| (c, None));
                self.fleet.best_gang(entry.job, all, self.now_seconds)
            })
    }

    /// Sees to it that no gang waits that would fit, not even in what jobs of lower priority have: what was moved may
    /// have made room.
    pub(crate) fn uphold_priorities(&mut self) {
        loop {
            let hopeful: Vec<usize> = (0..self.entries.len())
                .filter(|&at| self.is_hopeful(at))
                .collect();
            for &at in &hopeful {
                let found = self.best_now(at);
                self.seat(at, found);
            }
            let priorities: BTreeSet<i32> = hopeful
                .iter()
                .filter_map(|&at| self.entries.get(at))
                .filter(|entry| entry.waits())
                .map(|entry| entry.job.priority)
                .collect();
            if !priorities.into_iter().rev().any(|p| self.overtake(p)) {
                return;
            }
        }
    }

    /// Whether a gang waits although the fleet could hold it if it were alone.
    pub(crate) fn is_hopeful(&self, at: usize) -> bool {
        self.entries.get(at).is_some_and(|entry| {
            entry.waits()
                && self
                    .classes
                    .get(entry.class)
                    .is_some_and(|slate| !slate.candidates.is_empty())
        })
    }

    /// Places waiting gangs of a priority in what lower ones have; the lower ones then take what is left.
    fn overtake(&mut self, priority: i32) -> bool {
        let lower: Vec<usize> = (0..self.entries.len())
            .filter(|&at| {
                self.entries
                    .get(at)
                    .is_some_and(|e| e.job.priority < priority && !e.seats.is_empty())
            })
            .collect();
        if lower.is_empty() {
            return false;
        }
        let before: Vec<_> = lower
            .iter()
            .map(|&at| {
                let missing = self.entries.get(at).and_then(|entry| entry.missing);
                (at, self.unseat(at), missing)
            })
            .collect();
        let mut overtook = false;
        for at in 0..self.entries.len() {
            let of_priority = self
                .entries
                .get(at)
                .is_some_and(|entry| entry.job.priority == priority);
            if of_priority && self.is_hopeful(at) {
                let found = self.best_now(at);
                overtook |= self.seat(at, found);
            }
        }
        for (at, seats, missing) in before {
            if !overtook {
                self.reseat(at, seats, missing);
            } else if self.entries.get(at).is_some_and(Entry::is_gang) {
                let found = self.best_now(at);
                self.seat(at, found);
            } else {
                self.fill_in(at);
            }
        }
        overtook
    }

    /// Hands over what was decided and returns who waits. A gang that is to start within the horizon does not.
    pub(crate) fn finish(self, plan: &mut Plan) -> Vec<Waiting<'a>> {
        let mut waiting = Vec::new();
        let mut later = Vec::new();
        for entry in self.entries {
            let decisions = entry.seats.into_iter().map(|seat| seat.decision);
            plan.placements.extend(decisions);
            let Some(missing) = entry.missing else {
                continue;
            };
            match entry.ahead {
                Some(ahead) if ahead.is_within(self.horizon_seconds) => later.push(ahead.decision),
                ahead => waiting.push(Waiting {
                    job: entry.job,
                    class: entry.class,
                    missing,
                    ahead,
                    keeps: entry.keeps,
                }),
            }
        }
        plan.placements.append(&mut later);
        waiting
    }
}
